/* Results, metrics and statistics of apps; interned metric names. */
#pragma once
#include "db/db.h"

enum metric_type { METRIC_RESULT = 0, METRIC_METRIC = 1 };
/* Insert-or-read the id of a name. Own statement (not in the batch's transaction: ids are never taken back). */
rc_t metric_intern(struct db *db, int32_t project_id, int32_t app_id, enum metric_type type, struct str name,
                   int result_kind, int32_t *ret, struct err *e) MUST_CHECK;

struct result_row {
    int32_t project_id, metric_id;
    int64_t endpoint_id, start_us, end_us;
    int revision;
    double value;
    int status; /* of results; INT_MIN for metrics: NULL */
    struct str extra, traceparent;
};
/* Upsert: a row changes only for a higher revision, or the same revision with other values (then it is replaced);
 * the same input twice changes nothing. Inside the caller's transaction; days must be there. *ret_changed counts. */
rc_t results_upsert(struct db *db, const struct result_row *rows, size_t n, int64_t now_us, int64_t *ret_changed,
                    struct err *e) MUST_CHECK;

struct app_statistic_row {
    int32_t project_id, app_id;
    int64_t endpoint_id, start_us, end_us, timestamp_us;
    int revision;
    struct str name, body;
};
rc_t app_statistics_upsert(struct db *db, const struct app_statistic_row *rows, size_t n, int64_t now_us,
                           struct err *e) MUST_CHECK;
/* Newest of a name ("current_stats", "drift_measures") of any app, or of app_id when > 0. Body is a copy: mem_free. E_NOTFOUND. */
rc_t app_statistic_latest(struct db *db, int32_t project_id, int64_t endpoint_id, int32_t app_id, const char *name,
                          char **ret_body, int64_t *ret_timestamp_us, struct err *e) MUST_CHECK;

/* All that an app has reported of an endpoint (0: of every one of the project). In steps, each its own: outside of a transaction; once
 * more deletes the rest. */
rc_t results_delete(struct db *db, int32_t project_id, int32_t app_id, int64_t endpoint_id, struct err *e) MUST_CHECK;

struct metric_entry {
    int32_t id;
    char *app, *name;
    enum metric_type type;
    int result_kind; /* -1: none */
};
/* Metrics that this endpoint has values of (endpoint 0: the project's). */
rc_t metrics_list(struct db *db, int32_t project_id, int64_t endpoint_id, struct metric_entry **ret, size_t *n,
                  struct err *e) MUST_CHECK;
void metrics_free(struct metric_entry *m, size_t n);

struct result_point {
    int64_t start_us, end_us;
    double value;
    int status, revision;
    struct str extra; /* borrowed from *ret_rows */
};
rc_t results_read(struct db *db, int32_t project_id, int64_t endpoint_id, int32_t metric_id, int64_t from_us,
                  int64_t to_us, struct result_point **ret, size_t *n, struct db_rows **ret_rows, struct err *e) MUST_CHECK;
