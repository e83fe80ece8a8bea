/* Owns the SQL of what apps have found over a project: drift over time, counts of an app, its newest values. */
#include <math.h>
#include "base/mem.h"
#include "store.h"

/* MLRun's end of a window is the microsecond before ours, which is the one that names the step. */
rc_t store_drift_bins(struct db *db, int32_t project_id, int64_t from_us, int64_t to_us, int64_t step_us,
                      struct drift_bin **ret, size_t *n, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    const struct db_value params[] = {DBV_I64(project_id), DBV_I64(from_us), DBV_I64(to_us), DBV_I64(step_us)};
    rc_t rc = db_exec(db,
                      "SELECT bin, CAST(sum(CASE WHEN worst = 1 THEN 1 ELSE 0 END) AS bigint),"
                      " CAST(sum(CASE WHEN worst = 2 THEN 1 ELSE 0 END) AS bigint) FROM ("
                      "  SELECT (window_end_us - 1) / CAST($4 AS bigint) * CAST($4 AS bigint) AS bin, endpoint_id,"
                      "   max(status) AS worst FROM results"
                      "  WHERE project_id = $1 AND window_end_us > $2 AND window_end_us <= $3 AND status IN (1, 2)"
                      "  GROUP BY 1, endpoint_id) x GROUP BY bin ORDER BY bin",
                      params, 4, &rows, e);
    if (rc != OK)
        return rc;
    *n = db_rows_n(rows);
    *ret = mem_array(*n, sizeof **ret);
    for (size_t i = 0; i < *n; i++)
        (*ret)[i] = (struct drift_bin){db_i64(rows, i, 0), db_i64(rows, i, 1), db_i64(rows, i, 2)};
    return OK;
}

rc_t store_found(struct db *db, int32_t project_id, int64_t from_us, int64_t to_us, struct app_found **ret, size_t *n,
                 struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    const struct db_value params[] = {DBV_I64(project_id), DBV_I64(from_us), DBV_I64(to_us)};
    rc_t rc = db_exec(db,
                      "SELECT m.app_id, CAST(sum(CASE WHEN r.status = 1 THEN 1 ELSE 0 END) AS bigint),"
                      " CAST(sum(CASE WHEN r.status = 2 THEN 1 ELSE 0 END) AS bigint), count(DISTINCT r.endpoint_id)"
                      " FROM results r JOIN metrics m ON m.id = r.metric_id"
                      " WHERE r.project_id = $1 AND r.window_end_us > $2 AND r.window_end_us <= $3 GROUP BY m.app_id",
                      params, 3, &rows, e);
    if (rc != OK)
        return rc;
    *n = db_rows_n(rows);
    *ret = mem_array(*n, sizeof **ret);
    for (size_t i = 0; i < *n; i++)
        (*ret)[i] = (struct app_found){(int32_t)db_i64(rows, i, 0), db_i64(rows, i, 1), db_i64(rows, i, 2),
                                       db_i64(rows, i, 3)};
    return OK;
}

rc_t store_newest(struct db *db, int32_t project_id, int32_t app_id, int64_t from_us, int64_t to_us,
                  struct newest_value **ret, size_t *n, struct db_rows **ret_rows, struct err *e)
{
    struct db_rows *rows = NULL;
    const struct db_value params[] = {DBV_I64(project_id), DBV_I64(app_id), DBV_I64(from_us), DBV_I64(to_us)};
    rc_t rc = db_exec(db,
                      "SELECT m.name, m.type, m.result_kind, r.status, r.value, r.window_end_us"
                      " FROM metrics m JOIN results r ON r.project_id = m.project_id AND r.metric_id = m.id"
                      "  AND r.window_end_us = (SELECT max(x.window_end_us) FROM results x WHERE x.project_id = $1"
                      "   AND x.metric_id = m.id AND x.window_end_us > $3 AND x.window_end_us <= $4)"
                      " WHERE m.project_id = $1 AND m.app_id = $2 AND r.window_end_us > $3 AND r.window_end_us <= $4"
                      " ORDER BY m.type, m.name, m.id, r.status DESC, r.value DESC",
                      params, 4, &rows, e);
    if (rc != OK)
        return rc;
    struct newest_value *v = mem_array(db_rows_n(rows), sizeof *v);
    size_t k = 0;
    for (size_t i = 0; i < db_rows_n(rows); i++) {
        const struct newest_value now = {.name = db_text(rows, i, 0),
                                         .is_result = db_i64(rows, i, 1) == 0,
                                         .kind = (int)db_i64(rows, i, 2),
                                         .status = db_null(rows, i, 3) ? -1 : (int)db_i64(rows, i, 3),
                                         .value = db_null(rows, i, 4) ? NAN : db_f64(rows, i, 4),
                                         .end_us = db_i64(rows, i, 5)};
        if (k == 0 || v[k - 1].is_result != now.is_result || !str_eq(v[k - 1].name, now.name))
            v[k++] = now;
    }
    *ret = v;
    *n = k;
    *ret_rows = rows;
    return OK;
}

rc_t store_statistics(struct db *db, int32_t project_id, int64_t endpoint_id, const char *name, int64_t from_us,
                      int64_t to_us, int64_t limit, struct statistic_text **ret, size_t *n, struct db_rows **ret_rows,
                      struct err *e)
{
    struct db_rows *rows = NULL;
    const struct db_value params[] = {DBV_I64(project_id), DBV_I64(endpoint_id), DBV_TEXTZ(name),
                                      DBV_I64(from_us),    DBV_I64(to_us),       DBV_I64(limit)};
    rc_t rc = db_exec(db,
                      "SELECT window_end_us, body FROM app_statistics WHERE project_id = $1 AND endpoint_id = $2"
                      " AND name = $3 AND window_end_us > $4 AND window_end_us <= $5 AND app_id = ("
                      "  SELECT app_id FROM app_statistics WHERE project_id = $1 AND endpoint_id = $2 AND name = $3"
                      "  AND window_end_us > $4 AND window_end_us <= $5 ORDER BY window_end_us DESC, app_id LIMIT 1)"
                      " ORDER BY window_end_us DESC LIMIT $6",
                      params, 6, &rows, e);
    if (rc != OK)
        return rc;
    *n = db_rows_n(rows);
    *ret = mem_array(*n, sizeof **ret);
    for (size_t i = 0; i < *n; i++)
        (*ret)[*n - 1 - i] = (struct statistic_text){db_i64(rows, i, 0), db_text(rows, i, 1)};
    *ret_rows = rows;
    return OK;
}
