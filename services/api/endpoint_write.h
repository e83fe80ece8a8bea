/* The making of endpoint records, for the routes that do. */
#pragma once
#include "api.h"

/* The endpoint that a record describes is made, or the one it means changed as creation-strategy says (db/endpoint.h), with its columns
 * and its reference: the record's, else those of the model artifact it names. *ret is endpoint_done's. In a transaction: another create
 * of the name, which may delete this record, comes before all of it or after. */
rc_t endpoint_make(struct call *c, const struct project *p, struct json *record, const char *strategy,
                   struct endpoint *ret, struct err *e) MUST_CHECK;
