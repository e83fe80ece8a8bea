/* Statistics slots and the windows they make pending; written by statistics inside its ledger transaction. */
#pragma once
#include "db/db.h"

struct slot_row {
    int32_t project_id;
    int64_t endpoint_id, slot_start_us, slot_us;
    int schema_version, reference_version;
    struct str topic;
    int32_t partition;
    int64_t flush_offset, requests, rows, errors;
    double estimated;
    int format;
    struct str body;
};
/* Appends. Inside the caller's transaction; the days must be there (db_days_ensure). */
rc_t slots_append(struct db *db, const struct slot_row *rows, size_t n, struct err *e) MUST_CHECK;
/* All rows of slots that lie whole in [start, end). Strings are borrowed from *ret_rows (free it after use). */
rc_t slots_read(struct db *db, int32_t project_id, int64_t endpoint_id, int64_t start_us, int64_t end_us,
                struct slot_row **ret, size_t *n, struct db_rows **ret_rows, struct err *e) MUST_CHECK;
/* Deletes exactly the rows given (by key) and inserts the folded ones; one transaction of its own. E_CONFLICT: not all were there. */
rc_t slots_fold(struct db *db, const struct slot_row *read, size_t n_read, const struct slot_row *folded,
                size_t n_folded, struct err *e) MUST_CHECK;
/* Rows of the slots that lie whole in [start, end), by the versions that they were counted under. mem_free. */
struct slot_version {
    int schema_version, reference_version;
    int64_t rows;
};
rc_t slots_versions(struct db *db, int32_t project_id, int64_t endpoint_id, int64_t start_us, int64_t end_us,
                    struct slot_version **ret, size_t *n, struct err *e) MUST_CHECK;
/* Rows of all slots of an endpoint that end at end_us or before. */
rc_t slots_rows_until(struct db *db, int32_t project_id, int64_t endpoint_id, int64_t end_us, int64_t *ret,
                      struct err *e) MUST_CHECK;
/* Per slot of one endpoint: requests, rows, errors, estimated summed into steps of step_us in [from, to). For charts and the invocation count. */
struct slot_sum {
    int64_t start_us, requests, rows, errors;
    double estimated;
};
rc_t slots_sums(struct db *db, int32_t project_id, int64_t endpoint_id, int64_t from_us, int64_t to_us, int64_t step_us,
                struct slot_sum **ret, size_t *n, struct err *e) MUST_CHECK;

struct pending_window {
    int32_t project_id;
    int64_t endpoint_id, start_us, end_us, rows, last_handled_us;
    struct str traceparent;
};
/* Upsert: rows add up, last_handled grows. Inside the caller's transaction. */
rc_t pending_add(struct db *db, const struct pending_window *w, size_t n, struct err *e) MUST_CHECK;
