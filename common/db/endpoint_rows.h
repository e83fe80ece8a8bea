/* What the files about endpoints share: the columns of a record and the order of changes. Not for other folders. */
#pragma once
#include "db/driver.h"
#include "db/endpoint.h"

#define ENDPOINT                                                                                                       \
    "id, project_id, uid, name, function_name, function_tag, function_uri, model_name, model_class, model_uri, "       \
    "monitoring_mode, labels, document, endpoint_type, mode, sampling_percentage, self_registered, latest, "           \
    "first_request_us, last_request_us, schema_version, reference_version, created_us, updated_us, change_seq"

struct endpoint endpoint_read(const struct db_rows *r, size_t i);
rc_t endpoint_one(struct db *db, const char *sql, const struct db_value *params, size_t n, struct endpoint *ret,
                  struct err *e) MUST_CHECK;

/* Inside a transaction: from here to its end no other changes records or schemas, so that numbers from change_seq and
 * endpoint_schemas.seq appear in their order and a reader of "what is newer than n" misses nothing. */
rc_t change_lock(struct db *db, struct err *e) MUST_CHECK;

/* Inserts ep (uid, names and settings; flags as they are) unless its uid is there: *ret_made false. */
rc_t endpoint_insert(struct db *db, const struct endpoint *ep, struct endpoint *ret, bool *ret_made, struct err *e) MUST_CHECK;
/* The others of the same project, name, function and tag are not the latest any more. */
rc_t endpoint_outdate_others(struct db *db, const struct endpoint *ep, bool self_registered_only, struct err *e) MUST_CHECK;
