/* Background tasks: what a client waits for after a request that MLRun's server does in the background. */
#pragma once
#include "object.h"

/* A new task that has succeeded: what it stands for was done before. In the caller's transaction; *ret is object_done's. */
rc_t task_put(struct call *c, const struct project *p, const char *kind, struct object *ret, struct err *e) MUST_CHECK;
