/* The making of endpoint records, for the routes that do. */
#pragma once
#include "api.h"

/* The endpoint that a record describes is made, or the one it means changed as creation-strategy says (db/endpoint.h), with its columns
 * and its reference: the record's, else those of the model artifact it names. *ret is endpoint_done's. In a transaction: another create
 * of the name, which may delete this record, comes before all of it or after. */
rc_t endpoint_make(struct call *c, const struct project *p, struct json *record, const char *strategy,
                   struct endpoint *ret, struct err *e) MUST_CHECK;
/* The same in a transaction of its own, answered: 201. */
rc_t endpoint_post(struct call *c, const struct project *p, struct json *record, const char *strategy,
                   struct err *e) MUST_CHECK;
/* Takes the fields that the query's attribute-key names from a record into the one it means; answers its uid. */
rc_t endpoint_patch(struct call *c, const struct project *p, struct json *record, struct err *e) MUST_CHECK;
