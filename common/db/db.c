/* The database seam: options, the table of drivers, transactions over whichever driver the URL names. */
#include "db/driver.h"

#include "base/clock.h"
#include "base/crash.h"
#include "base/mem.h"

#define AT(field) offsetof(struct db_config, field)
/* To add a database: 1. a file with its db_ops and db_dialect, 2. its migrations, 3. a row here. */
static const struct db_driver *const drivers[] = {
    &db_postgres,
    &db_sqlite,
};

static const struct db_driver *driver_of(const char *url)
{
    for (size_t i = 0; i < sizeof drivers / sizeof *drivers; i++)
        if (drivers[i]->ops->accepts(url))
            return drivers[i];
    return NULL;
}

static rc_t check_url(const char *url, struct err *e)
{
    const struct db_driver *driver = driver_of(url);
    if (driver)
        return driver->ops->check(url, e);
    return err_set(e, E_INVALID, "it names no database that is known here (postgresql://…, sqlite:///path)");
}

const struct config_key db_keys[] = {
    {.env = "DATABASE_URL",
     .def = "postgresql://postgres@127.0.0.1:5432/modelmon",
     .type = CONFIG_STR,
     .flags = CONFIG_SECRET | CONFIG_REQUIRED,
     .offset = AT(url),
     .check = check_url,
     .help = "Where the database is; its own options (sslmode, options, …) are kept. Or sqlite:///path/of/a/file."},
    {.env = "DATABASE_CONNECT_TIMEOUT",
     .def = "3s",
     .type = CONFIG_DURATION,
     .offset = AT(connect_us),
     .min = 100 * USEC_PER_MSEC,
     .max = 60 * USEC_PER_SEC,
     .help = "Longest wait for a new connection."},
    {.env = "DATABASE_STATEMENT_TIMEOUT",
     .def = "30s",
     .type = CONFIG_DURATION,
     .offset = AT(statement_us),
     .min = 100 * USEC_PER_MSEC,
     .max = 3600 * USEC_PER_SEC,
     .help = "Longest run of one statement."},
    {.env = "DATABASE_MIGRATE",
     .def = "true",
     .type = CONFIG_BOOL,
     .offset = AT(migrate),
     .help = "Apply missing migrations at start; false: wait until somebody has."},
};
const size_t db_keys_n = sizeof db_keys / sizeof *db_keys;

const struct db_daily db_dailies[] = {
    {"slots", "slot_start_us"},   {"windows", "window_end_us"},        {"manifest", "hour_us"},
    {"results", "window_end_us"}, {"app_statistics", "window_end_us"}, {"dead_letters", "at_us"},
    {"labels", "when_us"},
};
const size_t db_dailies_n = sizeof db_dailies / sizeof *db_dailies;

/* --- life --- */
rc_t db_open(struct db **ret, const struct db_config *cfg, struct err *e)
{
    void *self = NULL;
    rc_t rc = check_url(cfg->url ? cfg->url : "", e);
    if (rc)
        return err_prefix(e, rc, "DATABASE_URL: ");
    const struct db_driver *driver = driver_of(cfg->url);
    rc = driver->ops->open(cfg, &self, e);
    if (rc)
        return rc;
    struct db *db = mem_alloc(sizeof *db);
    *db = (struct db){.ops = driver->ops, .dialect = driver->dialect, .self = self, .migrate = cfg->migrate};
    *ret = db;
    return OK;
}

void db_free(struct db *db)
{
    if (!db)
        return;
    db->ops->close(db->self);
    mem_free(db);
}

bool db_alive(const struct db *db)
{
    return db->ops->generation(db->self) != 0;
}

/* Inside a transaction only the connection that has it will do: its end is never hidden by a reconnect. */
static rc_t ready(struct db *db, struct err *e)
{
    rc_t rc = db->ops->ready(db->self, !db->in_tx, e);
    if (db->in_tx && db->ops->generation(db->self) != db->tx_generation)
        return err_set(e, E_AGAIN, "the connection was lost, and the transaction with it");
    return rc;
}

/* --- statements --- */
rc_t db_exec(struct db *db, const char *sql, const struct db_value *params, size_t n, struct db_rows **ret_rows,
             struct err *e)
{
    rc_t rc = ready(db, e);
    return rc ? rc : db->ops->exec(db->self, sql, params, n, ret_rows, e);
}

rc_t db_run(struct db *db, const char *sql, const struct db_value *params, size_t n, int64_t *ret_affected, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_exec(db, sql, params, n, &rows, e);
    if (!rc && ret_affected)
        *ret_affected = db_rows_affected(rows);
    return rc;
}

rc_t db_one(struct db *db, const char *sql, const struct db_value *params, size_t n, struct db_rows **ret_rows,
            struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_exec(db, sql, params, n, &rows, e);
    if (rc)
        return rc;
    if (!db_rows_n(rows))
        return err_set(e, E_NOTFOUND, "not in the database");
    *ret_rows = rows;
    rows = NULL;
    return OK;
}

rc_t db_script(struct db *db, const char *sql, struct err *e)
{
    rc_t rc = ready(db, e);
    return rc ? rc : db->ops->script(db->self, sql, e);
}

rc_t db_day_next(struct db *db, const char *table, int64_t from_us, int64_t *ret_us, bool *ret_there, struct err *e)
{
    rc_t rc = ready(db, e);
    return rc ? rc : db->dialect->day_next(db->self, table, from_us, ret_us, ret_there, e);
}

rc_t db_copy(struct db *db, const char *table, const char *columns, const struct db_value *values, size_t n_rows,
             size_t n_cols, struct err *e)
{
    if (!n_rows)
        return OK;
    rc_t rc = ready(db, e);
    return rc ? rc : db->ops->copy(db->self, table, columns, values, n_rows, n_cols, e);
}

rc_t db_stage(struct db *db, const char *stage, const char *like, struct err *e)
{
    if (!db->in_tx)
        return err_set(e, E_FATAL, "staging needs a transaction: its rows would be gone at once");
    rc_t rc = ready(db, e);
    return rc ? rc : db->dialect->stage(db->self, stage, like, e);
}

/* --- transactions --- */
rc_t db_begin(struct db *db, struct err *e)
{
    if (db->in_tx && db->ops->generation(db->self) == db->tx_generation)
        return err_set(e, E_FATAL, "a transaction is open already");
    db->in_tx = false;
    rc_t rc = ready(db, e);
    if (!rc)
        rc = db->ops->begin(db->self, e);
    if (rc)
        return rc;
    db->in_tx = true;
    db->tx_generation = db->ops->generation(db->self);
    CRASH_POINT(db_begin);
    return OK;
}

rc_t db_commit(struct db *db, struct err *e)
{
    if (!db->in_tx)
        return err_set(e, E_FATAL, "no transaction is open");
    rc_t rc = ready(db, e);
    db->in_tx = false;
    CRASH_POINT(db_before_commit);
    rc = rc ? rc : db->ops->commit(db->self, e);
    CRASH_POINT(db_commit);
    return rc;
}

void db_rollback(struct db *db)
{
    if (!db->in_tx)
        return;
    db->in_tx = false;
    if (db->ops->generation(db->self) == db->tx_generation)
        db->ops->rollback(db->self);
}

rc_t db_scope_begin(struct db *db, bool *ret_own, struct err *e)
{
    bool own = !db->in_tx;
    rc_t rc = own ? db_begin(db, e) : OK;
    if (!rc)
        *ret_own = own;
    return rc;
}

rc_t db_scope_end(struct db *db, bool own, rc_t rc, struct err *e)
{
    if (!own)
        return rc;
    if (rc) {
        db_rollback(db);
        return rc;
    }
    rc = db_commit(db, e);
    return rc == E_UNKNOWN ? E_AGAIN : rc;
}

/* --- dialect --- */
bool db_has_lateral(const struct db *db)
{
    return db->dialect->lateral;
}

rc_t db_tx_lock(struct db *db, int64_t key, struct err *e)
{
    rc_t rc = ready(db, e);
    return rc ? rc : db->dialect->tx_lock(db->self, key, e);
}

rc_t db_days_ensure(struct db *db, const int64_t *days_us, size_t n, struct err *e)
{
    if (db->in_tx)
        return err_set(e, E_FATAL, "days are made outside of a transaction");
    rc_t rc = ready(db, e);
    rc = rc ? rc : db->dialect->days_ensure(db->self, days_us, n, e);
    CRASH_POINT(db_days);
    return rc;
}

/* In a transaction. */
static rc_t day_drop(struct db *db, const char *table, int64_t cutoff_us, db_needed_fn *needed, int64_t *ret_end_us,
                     bool *ret_whole, struct err *e)
{
    int64_t from = INT64_MAX;
    rc_t rc = db->dialect->day_drop(db->self, table, cutoff_us, ret_end_us, ret_whole, e);
    if (!rc && *ret_end_us && needed)
        rc = needed(db, &from, e);
    return !rc && from < *ret_end_us ? err_set(e, E_CONFLICT, "the day is needed still") : rc;
}

rc_t db_days_drop_but(struct db *db, const char *table, int64_t cutoff_us, db_needed_fn *needed, int *ret_dropped,
                      struct err *e)
{
    if (db->in_tx)
        return err_set(e, E_FATAL, "days are dropped outside of a transaction");
    int dropped = 0;
    rc_t rc = OK;
    for (int64_t end = 1; !rc && end;) {
        bool whole = false, own = false;
        rc = db_scope_begin(db, &own, e);
        if (!rc)
            rc = db_scope_end(db, own, day_drop(db, table, cutoff_us, needed, &end, &whole, e), e);
        dropped += !rc && end && whole;
        if (!rc && end)
            CRASH_POINT(retention_day);
    }
    if (rc == E_CONFLICT) /* it stays, and all after it */
        rc = OK;
    if (!rc && ret_dropped)
        *ret_dropped = dropped;
    return rc;
}

rc_t db_days_drop(struct db *db, const char *table, int64_t cutoff_us, int *ret_dropped, struct err *e)
{
    return db_days_drop_but(db, table, cutoff_us, NULL, ret_dropped, e);
}

rc_t db_lock_try(struct db *db, const char *name, bool *ret, struct err *e)
{
    rc_t rc = ready(db, e);
    return rc ? rc : db->dialect->lock_try(db->self, name, ret, e);
}
