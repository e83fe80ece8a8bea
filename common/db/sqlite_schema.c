/* SQLite in its own words: the database file, staging tables, days (there are none: plain tables), the leader's lock. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/time.h"
#include "db/sqlite.h"

#define DAY_MIN INT64_C(-62135596800000000)
#define DAY_MAX INT64_C(253402300800000000)
#define DROP_A_STEP 2000 /* rows in one transaction: others write in between */

static rc_t sqlite_create(void *self, struct err *e)
{
    return sqlite_open_file(self, true, e);
}

static rc_t sqlite_has_table(void *self, const char *table, bool *ret, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = sqlite_exec(self, "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = $1",
                          DB_PARAMS(DBV_TEXTZ(table)), &rows, e);
    if (!rc)
        *ret = db_i64(rows, 0, 0) > 0;
    return rc;
}

/* BEGIN IMMEDIATE lets one writer in: it has this lock, and every other. */
static rc_t sqlite_tx_lock(void *self, int64_t key, struct err *e)
{
    const struct sqlite *s = self;
    (void)key;
    return s->tx ? OK : err_set(e, E_FATAL, "a lock until the transaction's end needs a transaction");
}

/* --- staging --- */
static rc_t stage_make(struct sqlite *s, const char *stage, const char *like, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *cols = NULL;
    CLEANUP(buf_done) struct buf sql = {0};
    rc_t rc = sqlite_exec(s, "SELECT name, type, \"notnull\", dflt_value FROM pragma_table_info($1)",
                          DB_PARAMS(DBV_TEXTZ(like)), &cols, e);
    if (rc)
        return rc;
    buf_addf(&sql, "CREATE TEMP TABLE IF NOT EXISTS %s", stage);
    for (size_t i = 0; i < db_rows_n(cols); i++) {
        buf_addf(&sql, "%s\"%.*s\" %.*s%s", i ? ", " : " (", STR_FMT(db_text(cols, i, 0)), STR_FMT(db_text(cols, i, 1)),
                 db_i64(cols, i, 2) ? " NOT NULL" : "");
        if (!db_null(cols, i, 3))
            buf_addf(&sql, " DEFAULT %.*s", STR_FMT(db_text(cols, i, 3)));
    }
    buf_addc(&sql, ')');
    return sqlite_script(s, sql.data, e);
}

static rc_t sqlite_stage(void *self, const char *stage, const char *like, struct err *e)
{
    struct sqlite *s = self;
    void *now = (void *)(uintptr_t)s->transactions, *used = map_get(&s->stages, str_of(stage));
    CLEANUP(buf_done) struct buf sql = {0};
    rc_t rc = used ? OK : stage_make(s, stage, like, e);
    buf_addf(&sql, "DELETE FROM temp.%s", stage);
    if (!rc && used == now)
        rc = sqlite_script(s, sql.data, e);
    if (!rc)
        map_put(&s->stages, str_of(stage), now);
    return rc;
}

/* --- days --- */
static rc_t sqlite_days_ensure(void *self, const int64_t *days_us, size_t n, struct err *e)
{
    (void)self;
    for (size_t i = 0; i < n; i++)
        if (days_us[i] < DAY_MIN || days_us[i] >= DAY_MAX)
            return err_set(e, E_INVALID, "no day: %lld", (long long)days_us[i]);
    return OK;
}

static const char *time_column(const char *table)
{
    for (size_t i = 0; i < db_dailies_n; i++)
        if (strcmp(db_dailies[i].table, table) == 0)
            return db_dailies[i].column;
    return NULL;
}

static rc_t sqlite_day_drop(void *self, const char *table, int64_t cutoff_us, int64_t *ret_end_us, bool *ret_whole,
                            struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL, *done = NULL;
    CLEANUP(buf_done) struct buf sql = {0};
    const char *column = time_column(table);
    if (!column)
        return err_set(e, E_FATAL, "%s has no days", table);
    *ret_end_us = 0;
    buf_addf(&sql, "SELECT min(%s) FROM %s", column, table);
    rc_t rc = sqlite_exec(self, sql.data, NULL, 0, &rows, e);
    if (rc || db_null(rows, 0, 0) || db_i64(rows, 0, 0) >= time_floor(cutoff_us, USEC_PER_DAY))
        return rc;
    int64_t end = time_floor(db_i64(rows, 0, 0), USEC_PER_DAY) + USEC_PER_DAY;
    buf_clear(&sql);
    buf_addf(&sql, "DELETE FROM %s WHERE rowid IN (SELECT rowid FROM %s WHERE %s < $1 LIMIT %d)", table, table, column,
             DROP_A_STEP);
    rc = sqlite_exec(self, sql.data, DB_PARAMS(DBV_I64(end)), &done, e);
    if (rc)
        return rc;
    *ret_end_us = end;
    *ret_whole = db_rows_affected(done) < DROP_A_STEP;
    return OK;
}

static rc_t sqlite_day_next(void *self, const char *table, int64_t from_us, int64_t *ret_us, bool *ret_there, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    CLEANUP(buf_done) struct buf sql = {0};
    const char *column = time_column(table);
    if (!column)
        return err_set(e, E_FATAL, "%s has no days", table);
    buf_addf(&sql, "SELECT min(%s) FROM %s WHERE %s >= $1", column, table, column);
    rc_t rc = sqlite_exec(self, sql.data, DB_PARAMS(DBV_I64(from_us)), &rows, e);
    if (rc)
        return rc;
    *ret_there = !db_null(rows, 0, 0);
    if (*ret_there)
        *ret_us = time_floor(db_i64(rows, 0, 0), USEC_PER_DAY);
    return OK;
}

/* --- leadership --- */
/* A lock file beside the database: it is this connection's until that, or the process, ends. */
static rc_t sqlite_lock_try(void *self, const char *name, bool *ret, struct err *e)
{
    struct sqlite *s = self;
    if (map_get(&s->locks, str_of(name))) {
        *ret = true;
        return OK;
    }
    uint64_t key[2];
    CLEANUP(buf_done) struct buf path = {0};
    hash128(name, strlen(name), key);
    buf_addf(&path, "%s.lock-%016llx", s->path, (unsigned long long)key[0]);
    int fd = open(path.data, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_set(e, E_AGAIN, "opening %s: %s", path.data, strerror(errno));
    bool mine = flock(fd, LOCK_EX | LOCK_NB) == 0;
    int why = errno;
    if (mine)
        map_put(&s->locks, str_of(name), (void *)(uintptr_t)(fd + 1));
    else
        (void)close(fd); /* nothing was written */
    if (!mine && why != EWOULDBLOCK)
        return err_set(e, E_AGAIN, "locking %s: %s", path.data, strerror(why));
    *ret = mine;
    return OK;
}

const struct db_dialect sqlite_dialect = {
    .migrations = migrations_sqlite,
    .migrations_n = &migrations_sqlite_n,
    .arrays = false,
    .lateral = false,
    .labels =
        {.has = {"EXISTS (SELECT 1 FROM json_each(labels) WHERE key = ", ")"},
         .is = {"EXISTS (SELECT 1 FROM json_each(labels) WHERE key = ",
                " AND CASE type WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' ELSE CAST(value AS text) END = ", ")"}},
    .create = sqlite_create,
    .has_table = sqlite_has_table,
    .tx_lock = sqlite_tx_lock,
    .stage = sqlite_stage,
    .days_ensure = sqlite_days_ensure,
    .day_drop = sqlite_day_drop,
    .day_next = sqlite_day_next,
    .lock_try = sqlite_lock_try,
};
