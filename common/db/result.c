/* Results and statistics of apps: upserts by revision, and what the API reads. */
#include "db/result.h"

#include <limits.h>
#include <stdlib.h>

#include "base/mem.h"
#include "db/driver.h"

/* A row changes for a higher revision, or for the same one with other values. */
#define CHANGES(table, values)                                                                                         \
    "EXCLUDED.revision > " table ".revision OR (EXCLUDED.revision = " table ".revision AND " values ")"

/* --- one row a key --- */
struct item {
    int64_t key[5];
    struct str name;
    int revision;
    size_t at; /* in the caller's rows */
};

static int str_order(struct str a, struct str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n ? memcmp(a.p, b.p, n) : 0;
    return c ? c : (a.n > b.n) - (a.n < b.n);
}

static int key_order(const struct item *x, const struct item *y)
{
    for (size_t i = 0; i < 5; i++)
        if (x->key[i] != y->key[i])
            return x->key[i] < y->key[i] ? -1 : 1;
    return str_order(x->name, y->name);
}

static int item_order(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    int c = key_order(x, y);
    if (c)
        return c;
    if (x->revision != y->revision)
        return x->revision < y->revision ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

/* Sorts by key (neighbours in the index, and two writers do not cross) and keeps of each the highest revision's last. */
static size_t items_settle(struct item *items, size_t n)
{
    size_t kept = 0;
    qsort(items, n, sizeof *items, item_order);
    for (size_t i = 0; i < n; i++)
        if (i + 1 == n || key_order(&items[i], &items[i + 1]) != 0)
            items[kept++] = items[i];
    return kept;
}

/* Most rows are new: they are copied straight into the table, twice as fast. The first that is not takes it all back. */
static rc_t copy_new(struct db *db, const char *table, const char *columns, const struct db_value *values, size_t n,
                     size_t cols, struct err *e)
{
    rc_t rc = db_run(db, "SAVEPOINT all_new", NULL, 0, NULL, e);
    if (rc)
        return rc;
    rc_t copied = db_copy(db, table, columns, values, n, cols, e);
    if (!copied)
        return db_run(db, "RELEASE SAVEPOINT all_new", NULL, 0, NULL, e);
    if (copied != E_CONFLICT)
        return copied;
    rc = db_run(db, "ROLLBACK TO SAVEPOINT all_new", NULL, 0, NULL, e);
    return rc ? rc : E_CONFLICT;
}

/* first: every row is a first revision, which only a replay has brought before. */
static rc_t upsert(struct db *db, const char *stage, const char *table, const char *columns, const char *merge,
                   bool first, const struct db_value *values, size_t n, size_t cols, int64_t *ret_changed, struct err *e)
{
    int64_t changed = (int64_t)n;
    rc_t rc = first && n ? copy_new(db, table, columns, values, n, cols, e) : E_CONFLICT;
    if (rc == E_CONFLICT) {
        rc = n ? db_stage(db, stage, table, e) : OK;
        if (!rc)
            rc = db_copy(db, stage, columns, values, n, cols, e);
        if (!rc && n)
            rc = db_run(db, merge, NULL, 0, &changed, e);
    }
    if (!rc && ret_changed)
        *ret_changed = changed;
    return rc;
}

static bool all_first(const struct item *items, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (items[i].revision > 1)
            return false;
    return true;
}

/* --- results --- */
#define RESULT                                                                                                         \
    "project_id, endpoint_id, metric_id, window_start_us, window_end_us, revision, value, status, extra, "             \
    "traceparent, "                                                                                                    \
    "written_us"
enum { RESULT_COLS = 11 };

rc_t results_upsert(struct db *db, const struct result_row *rows, size_t n, int64_t now_us, int64_t *ret_changed,
                    struct err *e)
{
    static const char merge[] =
        "INSERT INTO results (" RESULT ") SELECT " RESULT " FROM stage_results WHERE true "
        "ON CONFLICT (project_id, endpoint_id, metric_id, window_end_us, window_start_us, segment) DO UPDATE SET "
        "revision = EXCLUDED.revision, value = EXCLUDED.value, status = EXCLUDED.status, extra = EXCLUDED.extra, "
        "traceparent = EXCLUDED.traceparent, written_us = EXCLUDED.written_us "
        "WHERE " CHANGES("results", "(EXCLUDED.value, EXCLUDED.status, EXCLUDED.extra) IS DISTINCT FROM "
                                    "(results.value, results.status, results.extra)");
    CLEANUP(mem_freep) struct item *items = mem_array(n, sizeof *items);
    for (size_t i = 0; i < n; i++)
        items[i] = (struct item){
            .key = {rows[i].project_id, rows[i].endpoint_id, rows[i].metric_id, rows[i].end_us, rows[i].start_us},
            .revision = rows[i].revision,
            .at = i};
    size_t kept = items_settle(items, n);
    CLEANUP(mem_freep) struct db_value *values = mem_array(kept * RESULT_COLS, sizeof *values);
    for (size_t i = 0; i < kept; i++) {
        const struct result_row *r = &rows[items[i].at];
        const struct db_value row[RESULT_COLS] = {
            DBV_I64(r->project_id), DBV_I64(r->endpoint_id),
            DBV_I64(r->metric_id),  DBV_I64(r->start_us),
            DBV_I64(r->end_us),     DBV_I64(r->revision),
            DBV_F64(r->value),      r->status == INT_MIN ? DBV_NULL : DBV_I64(r->status),
            DBV_TEXT(r->extra),     DBV_TEXT(r->traceparent),
            DBV_I64(now_us),
        };
        memcpy(&values[i * RESULT_COLS], row, sizeof row);
    }
    return upsert(db, "stage_results", "results", RESULT, merge, all_first(items, kept), values, kept, RESULT_COLS,
                  ret_changed, e);
}

/* --- statistics of apps --- */
#define STATISTIC                                                                                                      \
    "project_id, endpoint_id, app_id, name, window_start_us, window_end_us, revision, body, timestamp_us, written_us"
enum { STATISTIC_COLS = 10 };

rc_t app_statistics_upsert(struct db *db, const struct app_statistic_row *rows, size_t n, int64_t now_us, struct err *e)
{
    static const char merge[] =
        "INSERT INTO app_statistics (" STATISTIC ") SELECT " STATISTIC " FROM stage_app_statistics WHERE true "
        "ON CONFLICT (project_id, endpoint_id, app_id, name, window_end_us, window_start_us, segment) DO UPDATE SET "
        "revision = EXCLUDED.revision, body = EXCLUDED.body, timestamp_us = EXCLUDED.timestamp_us, "
        "written_us = EXCLUDED.written_us "
        "WHERE " CHANGES("app_statistics", "(EXCLUDED.body, EXCLUDED.timestamp_us) IS DISTINCT FROM "
                                           "(app_statistics.body, app_statistics.timestamp_us)");
    CLEANUP(mem_freep) struct item *items = mem_array(n, sizeof *items);
    for (size_t i = 0; i < n; i++)
        items[i] = (struct item){
            .key = {rows[i].project_id, rows[i].endpoint_id, rows[i].app_id, rows[i].end_us, rows[i].start_us},
            .name = rows[i].name,
            .revision = rows[i].revision,
            .at = i};
    size_t kept = items_settle(items, n);
    CLEANUP(mem_freep) struct db_value *values = mem_array(kept * STATISTIC_COLS, sizeof *values);
    for (size_t i = 0; i < kept; i++) {
        const struct app_statistic_row *r = &rows[items[i].at];
        const struct db_value row[STATISTIC_COLS] = {
            DBV_I64(r->project_id),   DBV_I64(r->endpoint_id), DBV_I64(r->app_id),   DBV_TEXT(r->name),
            DBV_I64(r->start_us),     DBV_I64(r->end_us),      DBV_I64(r->revision), DBV_TEXT(r->body),
            DBV_I64(r->timestamp_us), DBV_I64(now_us),
        };
        memcpy(&values[i * STATISTIC_COLS], row, sizeof row);
    }
    return upsert(db, "stage_app_statistics", "app_statistics", STATISTIC, merge, all_first(items, kept), values, kept,
                  STATISTIC_COLS, NULL, e);
}

rc_t app_statistic_latest(struct db *db, int32_t project_id, int64_t endpoint_id, int32_t app_id, const char *name,
                          char **ret_body, int64_t *ret_timestamp_us, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_one(
        db,
        "SELECT body, timestamp_us FROM app_statistics WHERE project_id = $1 AND endpoint_id = $2 "
        "AND name = $3 AND ($4 <= 0 OR app_id = $4) ORDER BY window_end_us DESC, timestamp_us DESC LIMIT 1",
        DB_PARAMS(DBV_I64(project_id), DBV_I64(endpoint_id), DBV_TEXTZ(name), DBV_I64(app_id)), &rows, e);
    if (rc == E_NOTFOUND)
        return err_set(e, rc, "no %s yet", name);
    if (rc)
        return rc;
    *ret_body = db_dup(rows, 0, 0);
    *ret_timestamp_us = db_i64(rows, 0, 1);
    return OK;
}
