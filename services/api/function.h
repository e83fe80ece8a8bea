/* Functions as clients store them. */
#pragma once
#include "object.h"

/* Stores this version under the tag (and as latest); its hash is in out and in o's metadata. Own transaction. */
rc_t function_store(struct call *c, struct object *o, struct str tag, bool versioned, char hash[41], struct err *e) MUST_CHECK;
/* The one that is meant: by hash, else by tag, else the latest. */
struct document_filter function_filter(const struct project *p, struct str name, struct str tag, struct str hash);
