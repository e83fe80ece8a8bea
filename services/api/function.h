/* Functions as clients store them. */
#pragma once
#include "object.h"

/* The tag that the query or the object says, else latest. */
rc_t function_tag(struct call *c, const struct object *o, struct str *ret, struct err *e) MUST_CHECK;
/* Stores this version under the tag (and as latest); its hash is in out and in o's metadata. In a
 * transaction. */
rc_t function_store(struct call *c, struct object *o, struct str tag, bool versioned, char hash[41], struct err *e) MUST_CHECK;
/* The one that is meant: by hash, else by tag, else the latest. */
struct document_filter function_filter(const struct project *p, struct str name, struct str tag, struct str hash);
