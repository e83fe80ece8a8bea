/* What an app has reported is taken back, a few days a statement: one that names no day would lock every partition there is. */
#include "base/clock.h"
#include "db/driver.h"
#include "db/result.h"

#define DAYS_A_STEP 4
#define USEC_PER_DAY (INT64_C(86400) * USEC_PER_SEC)

static const struct {
    const char *table, *of_app;
} reported[] = {
    {"results", "metric_id IN (SELECT id FROM metrics WHERE project_id = $1 AND app_id = $2)"},
    {"app_statistics", "app_id = $2"},
};

static rc_t delete_days(struct db *db, size_t at, int32_t project_id, int32_t app_id, int64_t endpoint_id,
                        int64_t from_us, struct err *e)
{
    CLEANUP(buf_done) struct buf sql = {0};
    buf_addf(&sql,
             "DELETE FROM %s WHERE project_id = $1 AND %s AND ($3 = 0 OR endpoint_id = $3)"
             " AND window_end_us >= $4 AND window_end_us < $5",
             reported[at].table, reported[at].of_app);
    return db_run(db, sql.data,
                  DB_PARAMS(DBV_I64(project_id), DBV_I64(app_id), DBV_I64(endpoint_id), DBV_I64(from_us),
                            DBV_I64(from_us + DAYS_A_STEP * USEC_PER_DAY)),
                  NULL, e);
}

rc_t results_delete(struct db *db, int32_t project_id, int32_t app_id, int64_t endpoint_id, struct err *e)
{
    rc_t rc = OK;
    for (size_t at = 0; rc == OK && at < sizeof reported / sizeof *reported; at++) {
        int64_t day = INT64_MIN;
        bool there = true;
        while (rc == OK && there) {
            rc = db_day_next(db, reported[at].table, day, &day, &there, e);
            if (rc == OK && there)
                rc = delete_days(db, at, project_id, app_id, endpoint_id, day, e);
            day += there ? DAYS_A_STEP * USEC_PER_DAY : 0;
        }
    }
    return rc;
}
