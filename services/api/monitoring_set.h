/* The monitoring feature set of an endpoint: how MLRun's clients find and read its rows in the lake. It is not stored: it is the
 * endpoint's record and columns as they are now. */
#pragma once
#include "object.h"

/* store://feature-sets/PROJECT/monitoring-FUNCTION-NAME:UID_ */
void monitoring_set_uri(const struct endpoint *ep, const char *project, struct buf *out);
/* Answers the one that name and reference (UID_) name; E_NOTFOUND without words: they name none. */
rc_t monitoring_set_answer(struct call *c, const struct project *p, struct str name, struct str reference,
                           struct err *e) MUST_CHECK;
