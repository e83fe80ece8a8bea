/* The serving spec of a deployed function: what MLRun's serving code starts with, as the environment variable SERVING_SPEC_ENV. */
#pragma once
#include "object.h"

/* Keeps the spec of a function as it is deployed now; in the caller's transaction. */
rc_t serving_store(struct call *c, const struct project *p, const struct object *function, struct str tag,
                   struct err *e) MUST_CHECK;
/* Appends it as text. brokers (may be empty): where a function sends that tracks its models and does not say where to. E_NOTFOUND: the
 * function is not deployed. */
rc_t serving_text(struct call *c, const struct project *p, struct str name, struct str tag, struct str brokers,
                  struct buf *out, struct err *e) MUST_CHECK;
