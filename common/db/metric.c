/* Names of results and metrics, and their values as the API reads them. */
#include <limits.h>

#include "base/mem.h"
#include "db/driver.h"
#include "db/result.h"

/* Read first: an insert that meets a row would use up a number of the sequence each time. */
rc_t metric_intern(struct db *db, int32_t project_id, int32_t app_id, enum metric_type type, struct str name,
                   int result_kind, int32_t *ret, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    struct db_value values[] = {DBV_I64(project_id), DBV_I64(app_id), DBV_I64(type), DBV_TEXT(name), DBV_I64(result_kind)};
    rc_t rc = db_one(db,
                     "SELECT id FROM metrics WHERE project_id = $1 AND app_id = $2 AND type = $3 AND name = $4 "
                     "AND ($5 < 0 OR result_kind = $5)",
                     values, 5, &rows, e);
    if (rc == E_NOTFOUND)
        rc = db_one(db,
                    "INSERT INTO metrics (project_id, app_id, type, name, result_kind) VALUES ($1, $2, $3, $4, "
                    "CASE WHEN $5 >= 0 THEN $5 END) ON CONFLICT (project_id, app_id, type, name) "
                    "DO UPDATE SET result_kind = COALESCE(EXCLUDED.result_kind, metrics.result_kind) RETURNING id",
                    values, 5, &rows, e);
    if (!rc)
        *ret = DB_I32(rows, 0, 0);
    return rc;
}

rc_t metrics_list(struct db *db, int32_t project_id, int64_t endpoint_id, struct metric_entry **ret, size_t *n,
                  struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_exec(
        db,
        "SELECT m.id, a.name, m.name, m.type, COALESCE(m.result_kind, -1) FROM metrics m "
        "JOIN apps a ON a.id = m.app_id WHERE m.project_id = $1 AND ($2 = 0 OR EXISTS "
        "(SELECT 1 FROM results r WHERE r.project_id = $1 AND r.endpoint_id = $2 AND r.metric_id = m.id)) "
        "ORDER BY a.name, m.type, m.name",
        DB_PARAMS(DBV_I64(project_id), DBV_I64(endpoint_id)), &rows, e);
    if (rc)
        return rc;
    *n = db_rows_n(rows);
    *ret = mem_array(*n, sizeof **ret);
    for (size_t i = 0; i < *n; i++)
        (*ret)[i] = (struct metric_entry){.id = DB_I32(rows, i, 0),
                                          .app = db_dup(rows, i, 1),
                                          .name = db_dup(rows, i, 2),
                                          .type = (enum metric_type)db_i64(rows, i, 3),
                                          .result_kind = DB_I32(rows, i, 4)};
    return OK;
}

void metrics_free(struct metric_entry *m, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        mem_free(m[i].app);
        mem_free(m[i].name);
    }
    mem_free(m);
}

rc_t results_read(struct db *db, int32_t project_id, int64_t endpoint_id, int32_t metric_id, int64_t from_us,
                  int64_t to_us, struct result_point **ret, size_t *n, struct db_rows **ret_rows, struct err *e)
{
    struct db_rows *rows = NULL;
    rc_t rc = db_exec(
        db,
        "SELECT window_start_us, window_end_us, value, status, revision, extra FROM results "
        "WHERE project_id = $1 AND endpoint_id = $2 AND metric_id = $3 AND window_end_us >= $4 "
        "AND window_end_us <= $5 ORDER BY window_end_us, window_start_us",
        DB_PARAMS(DBV_I64(project_id), DBV_I64(endpoint_id), DBV_I64(metric_id), DBV_I64(from_us), DBV_I64(to_us)),
        &rows, e);
    if (rc)
        return rc;
    *n = db_rows_n(rows);
    *ret = mem_array(*n, sizeof **ret);
    for (size_t i = 0; i < *n; i++)
        (*ret)[i] = (struct result_point){
            .start_us = db_i64(rows, i, 0),
            .end_us = db_i64(rows, i, 1),
            .value = db_f64(rows, i, 2),
            .status = db_null(rows, i, 3) ? INT_MIN : DB_I32(rows, i, 3),
            .revision = DB_I32(rows, i, 4),
            .extra = db_text(rows, i, 5),
        };
    *ret_rows = rows;
    return OK;
}
