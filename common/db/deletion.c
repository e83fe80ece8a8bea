/* Deleting the rows of endpoints that are gone, a few days of one table at a time. */
#include "db/deletion.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/time.h"
#include "db/driver.h"

#define DAYS_A_STEP 7 /* PostgreSQL locks each of their partitions and indexes; SQLite keeps other writers waiting */

/* Labels have its uid alone, which a new endpoint may have again. */
static const struct {
    const char *name;
    bool by_uid;
} tables[] = {
    {"slots", false},          {"windows", false},      {"manifest", false}, {"results", false},
    {"app_statistics", false}, {"dead_letters", false}, {"labels", true},
};
enum { N_TABLES = sizeof tables / sizeof *tables };

void deletion_done(struct deletion *d)
{
    mem_free(d->project);
    mem_free(d->uid);
    *d = (struct deletion){0};
}

rc_t deletion_next(struct db *db, int64_t now_us, struct deletion *ret, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_one(db,
                     "SELECT endpoint_id, deleted_us, project_id, project, uid, step FROM deleted_endpoints "
                     "WHERE due_us <= $1 ORDER BY step, due_us, endpoint_id LIMIT 1",
                     DB_PARAMS(DBV_I64(now_us)), &rows, e);
    if (!rc)
        *ret = (struct deletion){
            .endpoint_id = db_i64(rows, 0, 0),
            .deleted_us = db_i64(rows, 0, 1),
            .project_id = DB_I32(rows, 0, 2),
            .project = db_dup(rows, 0, 3),
            .uid = db_dup(rows, 0, 4),
            .step = (enum deletion_step)DB_I32(rows, 0, 5),
        };
    return rc;
}

rc_t deletion_set(struct db *db, int64_t endpoint_id, enum deletion_step step, int64_t due_us, struct err *e)
{
    return db_run(db, "UPDATE deleted_endpoints SET step = $2, due_us = $3 WHERE endpoint_id = $1",
                  DB_PARAMS(DBV_I64(endpoint_id), DBV_I64(step), DBV_I64(due_us)), NULL, e);
}

rc_t deletion_end(struct db *db, int64_t endpoint_id, struct err *e)
{
    return db_run(db, "DELETE FROM deleted_endpoints WHERE endpoint_id = $1", DB_PARAMS(DBV_I64(endpoint_id)), NULL, e);
}

static const char *day_column(const char *table)
{
    for (size_t i = 0; i < db_dailies_n; i++)
        if (strcmp(db_dailies[i].table, table) == 0)
            return db_dailies[i].column;
    return NULL;
}

static void add_condition(struct buf *sql, const struct deletion *d, bool by_uid)
{
    long long id = d->endpoint_id;
    buf_addf(sql, "project_id = %d AND ", (int)d->project_id);
    if (by_uid)
        buf_addf(sql,
                 "endpoint_uid = (SELECT uid FROM deleted_endpoints WHERE endpoint_id = %lld) AND "
                 "written_us <= (SELECT deleted_us FROM deleted_endpoints WHERE endpoint_id = %lld)",
                 id, id);
    else
        buf_addf(sql, "endpoint_id = %lld", id);
}

/* In numbers, not parameters: of a prepared statement the server may make a plan for every day there is. */
static rc_t delete_days(struct db *db, const struct deletion *d, size_t table, int64_t from_us, struct err *e)
{
    CLEANUP(buf_done) struct buf sql = {0};
    const char *column = day_column(tables[table].name);
    buf_addf(&sql, "DELETE FROM %s WHERE ", tables[table].name);
    add_condition(&sql, d, tables[table].by_uid);
    buf_addf(&sql, " AND %s >= %lld AND %s < %lld", column, (long long)from_us, column,
             (long long)(from_us + DAYS_A_STEP * USEC_PER_DAY));
    return db_script(db, sql.data, e);
}

/* One step: the next days of this table that there are, or on to the next table. */
static rc_t step(struct db *db, const struct deletion *d, struct deletion_cursor *at, struct err *e)
{
    int64_t from = 0;
    bool there = false;
    rc_t rc = db_day_next(db, tables[at->table].name, at->started ? at->day_us : INT64_MIN, &from, &there, e);
    if (!rc && there)
        rc = delete_days(db, d, at->table, from, e);
    if (rc)
        return rc;
    at->started = there;
    at->day_us = from + DAYS_A_STEP * USEC_PER_DAY;
    at->table += !there;
    return OK;
}

rc_t deletion_rows(struct db *db, const struct deletion *d, struct deletion_cursor *at, int64_t deadline_us,
                   bool *ret_more, struct err *e)
{
    rc_t rc = OK;
    if (at->endpoint_id != d->endpoint_id) {
        *at = (struct deletion_cursor){.endpoint_id = d->endpoint_id};
        rc = db_run(db, "DELETE FROM pending_windows WHERE project_id = $1 AND endpoint_id = $2",
                    DB_PARAMS(DBV_I64(d->project_id), DBV_I64(d->endpoint_id)), NULL, e);
    }
    for (bool first = true; !rc && at->table < N_TABLES && (first || clock_mono_us() < deadline_us); first = false)
        rc = step(db, d, at, e);
    if (rc)
        return rc;
    *ret_more = at->table < N_TABLES;
    if (!*ret_more)
        *at = (struct deletion_cursor){0};
    return OK;
}
