/* The serving spec of a deployed function: what MLRun's serving code starts with, as the environment variable SERVING_SPEC_ENV. */
#pragma once
#include "object.h"

/* Keeps the spec of a function as it is deployed now; in the caller's transaction. */
rc_t serving_store(struct call *c, const struct project *p, const struct object *function, struct str tag,
                   struct err *e) MUST_CHECK;
