/* PostgreSQL in its own words: the database itself, staging tables, day partitions, the leader's lock. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/time.h"
#include "db/pg.h"

#define DAYS_LOCK "7305813000000000001" /* advisory, for the makers of partitions */
#define DAYS_A_STEP 14 /* each partition takes some ten locks of the server's table (64 × connections) */
#define DAY_MIN INT64_C(-62135596800000000) /* the years that names have four digits for */
#define DAY_MAX INT64_C(253402300800000000)

/* --- the database --- */
/* One statement on a connection of its own; *conn is NULL afterwards when it was lost. */
static rc_t admin(const struct pg *pg, PGconn **conn, const char *sql, const char *param, char **ret, struct err *e)
{
    struct pg other = {.conn = *conn, .statement_us = pg->statement_us};
    int sent = param ? PQsendQueryParams(*conn, sql, 1, NULL, &param, NULL, NULL, 0) : PQsendQuery(*conn, sql);
    PGresult *res = NULL;
    rc_t rc = sent ? pg_finish(&other, &res, e) : pg_lost(&other, NULL, e);
    if (!rc && ret)
        *ret = PQntuples(res) ? mem_dupz(PQgetvalue(res, 0, 0)) : NULL;
    PQclear(res);
    *conn = other.conn;
    return rc;
}

static bool is_there(struct pg *pg, struct err *e)
{
    PGconn *conn = pg_connect_to(pg, NULL, e);
    bool there = conn != NULL;
    PQfinish(conn);
    return there;
}

static rc_t create_on(const struct pg *pg, PGconn **conn, struct err *e)
{
    CLEANUP(mem_freep) char *sql = NULL;
    struct err why;
    rc_t rc = admin(pg, conn,
                    "SELECT format('CREATE DATABASE %I TEMPLATE template0 ENCODING ''UTF8''', $1::text) "
                    "WHERE NOT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1::text)",
                    pg_dbname(pg), &sql, &why);
    if (rc)
        return err_quote(e, rc, "%s", why.text);
    if (!sql)
        return E_AGAIN; /* it is there and does not let us in: e says why already */
    rc = admin(pg, conn, sql, NULL, NULL, e);
    return rc ? E_AGAIN : OK; /* without the right to: somebody else has to make it */
}

/* After a failed attempt to connect, whose words are in e. libpq does not tell why it was refused, so the server is asked for
 * its list of databases. */
static rc_t pg_create(void *self, struct err *e)
{
    struct pg *pg = self;
    struct err raced;
    if (!pg->tried)
        return E_AGAIN; /* the back-off is for every database of the server */
    PGconn *conn = pg_connect_to(pg, "postgres", &raced);
    if (!conn)
        return E_AGAIN; /* e says what is wrong with the database that is wanted */
    rc_t rc = create_on(pg, &conn, e);
    PQfinish(conn);
    if (rc && is_there(pg, &raced)) /* 42P04 or 23505: another made it meanwhile */
        rc = OK;
    pg->next_attempt_us = 0;
    return rc;
}

static rc_t pg_has_table(void *self, const char *table, bool *ret, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = pg_exec(self, "SELECT to_regclass($1) IS NOT NULL", DB_PARAMS(DBV_TEXTZ(table)), &rows, e);
    if (!rc)
        *ret = db_bool(rows, 0, 0);
    return rc;
}

static rc_t pg_tx_lock(void *self, int64_t key, struct err *e)
{
    return pg_exec(self, "SELECT pg_advisory_xact_lock($1)", DB_PARAMS(DBV_I64(key)), NULL, e);
}

/* --- staging --- */
static rc_t pg_stage(void *self, const char *stage, const char *like, struct err *e)
{
    struct pg *pg = self;
    void *now = (void *)(uintptr_t)pg->transactions, *used = map_get(&pg->stages, str_of(stage));
    CLEANUP(buf_done) struct buf sql = {0};
    if (!used)
        buf_addf(&sql, "CREATE TEMP TABLE IF NOT EXISTS %s (LIKE %s INCLUDING DEFAULTS) ON COMMIT DELETE ROWS", stage, like);
    if (!used || used == now)
        buf_addf(&sql, ";DELETE FROM %s", stage);
    rc_t rc = sql.len ? pg_script(pg, sql.data, e) : OK;
    if (!rc)
        map_put(&pg->stages, str_of(stage), now);
    return rc;
}

/* --- days --- */
/* A partition is made apart and then attached: that does not wait for readers and writers of the table, nor they for it.
 * What is there is asked of pg_class: to_regclass() may answer from before the lock. */
static const char days_head[] = "DO $days$ DECLARE\n"
                                "  daily CONSTANT text[] := ARRAY[";
static const char days_body[] =
    "]::bigint[];\n"
    "  day bigint; parent text; part text; locked boolean := false;\n"
    "  home CONSTANT oid := current_schema()::regnamespace;\n"
    "BEGIN\n"
    "  FOREACH day IN ARRAY days LOOP FOREACH parent IN ARRAY daily LOOP\n"
    "    part := parent || '_p' || to_char(to_timestamp(day / 1000000) AT TIME ZONE 'UTC', 'YYYYMMDD');\n"
    "    PERFORM FROM pg_class WHERE relname = part AND relnamespace = home;\n"
    "    CONTINUE WHEN FOUND;\n"
    "    IF NOT locked THEN\n"
    "      PERFORM pg_advisory_xact_lock(" DAYS_LOCK ");\n"
    "      locked := true;\n"
    "      PERFORM FROM pg_class WHERE relname = part AND relnamespace = home;\n"
    "      CONTINUE WHEN FOUND;\n"
    "    END IF;\n"
    "    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', part, parent);\n"
    "    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)',\n"
    "                   parent, part, day, day + 86400000000);\n"
    "  END LOOP; END LOOP;\n"
    "END $days$";

static struct str day_key(const int64_t *day)
{
    return (struct str){(const char *)day, sizeof *day};
}

static rc_t days_make(struct pg *pg, const int64_t *days, size_t n, struct err *e)
{
    CLEANUP(buf_done) struct buf sql = {0};
    buf_addz(&sql, days_head);
    for (size_t i = 0; i < db_dailies_n; i++)
        buf_addf(&sql, "%s'%s'", i ? "," : "", db_dailies[i].table);
    buf_addz(&sql, "]; days CONSTANT bigint[] := ARRAY[");
    for (size_t i = 0; i < n; i++)
        buf_addf(&sql, "%s%lld", i ? "," : "", (long long)days[i]);
    buf_addz(&sql, days_body);
    rc_t rc = pg_script(pg, sql.data, e);
    for (size_t i = 0; i < n && !rc; i++)
        map_put(&pg->days, day_key(&days[i]), PG_SET);
    return rc;
}

static rc_t pg_days_ensure(void *self, const int64_t *days_us, size_t n, struct err *e)
{
    struct pg *pg = self;
    int64_t step[DAYS_A_STEP];
    size_t held = 0;
    rc_t rc = OK;
    for (size_t i = 0; i < n && !rc; i++) {
        if (days_us[i] < DAY_MIN || days_us[i] >= DAY_MAX)
            return err_set(e, E_INVALID, "no day: %lld", (long long)days_us[i]);
        int64_t day = time_floor(days_us[i], USEC_PER_DAY);
        bool known = map_get(&pg->days, day_key(&day)) != NULL;
        for (size_t j = 0; j < held && !known; j++)
            known = step[j] == day;
        if (!known)
            step[held++] = day;
        if (held == DAYS_A_STEP) {
            rc = days_make(pg, step, held, e);
            held = 0;
        }
    }
    if (!rc && held)
        rc = days_make(pg, step, held, e);
    return rc;
}

static rc_t pg_day_next(void *self, const char *table, int64_t from_us, int64_t *ret_us, bool *ret_there, struct err *e)
{
    int64_t from = from_us < DAY_MIN ? DAY_MIN : from_us >= DAY_MAX ? DAY_MAX - 1 : from_us;
    struct civil c = time_civil(from);
    char first[96];
    snprintf(first, sizeof first, "%s_p%04d%02d%02d", table, c.year, c.month, c.day);
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = pg_exec(self,
                      "SELECT CAST(extract(epoch FROM to_date(right(p.relname::text, 8), 'YYYYMMDD')) AS bigint) "
                      "FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhrelid WHERE i.inhparent = to_regclass($1) "
                      "AND p.relname::text COLLATE \"C\" >= $2 ORDER BY p.relname::text COLLATE \"C\" LIMIT 1",
                      DB_PARAMS(DBV_TEXTZ(table), DBV_TEXTZ(first)), &rows, e);
    if (rc)
        return rc;
    *ret_there = db_rows_n(rows) > 0;
    if (*ret_there)
        *ret_us = db_i64(rows, 0, 0) * USEC_PER_SEC;
    return OK;
}

/* The lock that DROP takes waits for who writes to the day; from then on nobody does. */
static rc_t pg_day_drop(void *self, const char *table, int64_t cutoff_us, int64_t *ret_end_us, bool *ret_whole,
                        struct err *e)
{
    struct pg *pg = self;
    struct civil c = time_civil(time_floor(cutoff_us, USEC_PER_DAY));
    char first_kept[96];
    snprintf(first_kept, sizeof first_kept, "%s_p%04d%02d%02d", table, c.year, c.month, c.day);
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    *ret_end_us = 0;
    rc_t rc = pg_exec(pg,
                      "SELECT quote_ident(p.relname::text), CAST(extract(epoch FROM to_date(right(p.relname::text, 8), "
                      "'YYYYMMDD')) AS bigint) FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhrelid "
                      "WHERE i.inhparent = to_regclass($1) AND p.relname::text COLLATE \"C\" < $2 "
                      "ORDER BY p.relname::text COLLATE \"C\" LIMIT 1",
                      DB_PARAMS(DBV_TEXTZ(table), DBV_TEXTZ(first_kept)), &rows, e);
    if (rc || db_rows_n(rows) == 0)
        return rc;
    CLEANUP(buf_done) struct buf sql = {0};
    buf_addf(&sql, "SET LOCAL lock_timeout = 1000; DROP TABLE %.*s", STR_FMT(db_text(rows, 0, 0))); /* who waits makes others wait */
    rc = pg_script(pg, sql.data, e);
    if (rc)
        return rc;
    map_done(&pg->days);
    pg->days = (struct map){0};
    *ret_end_us = db_i64(rows, 0, 1) * USEC_PER_SEC + USEC_PER_DAY;
    *ret_whole = true;
    return OK;
}

/* --- leadership --- */
/* Behind a transaction pooler a session's lock belongs to nobody: three transactions must meet the same backend. */
static rc_t own_backend(struct pg *pg, struct err *e)
{
    int64_t pids[3] = {0};
    for (size_t i = 0; i < 3; i++) {
        CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
        rc_t rc = pg_exec(pg, "SELECT pg_backend_pid()", NULL, 0, &rows, e);
        if (rc)
            return rc;
        pids[i] = db_i64(rows, 0, 0);
    }
    if (pids[0] != pids[1] || pids[1] != pids[2])
        return err_set(e, E_FATAL, "DATABASE_URL leads to a transaction pooler: leadership needs the server itself");
    return OK;
}

static rc_t lock_take(struct pg *pg, const char *name, bool *ret, struct err *e)
{
    uint64_t key[2];
    hash128(name, strlen(name), key);
    rc_t rc = own_backend(pg, e);
    if (!rc && PQserverVersion(pg->conn) >= 140000) /* notices our end within a second, also in a long statement */
        rc = pg_exec(pg, "SELECT set_config('client_connection_check_interval', '1000', false)", NULL, 0, NULL, e);
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    if (!rc)
        rc = pg_exec(pg, "SELECT pg_try_advisory_lock($1)", DB_PARAMS(DBV_I64((int64_t)key[0])), &rows, e);
    if (rc)
        return rc;
    *ret = db_bool(rows, 0, 0);
    if (*ret)
        map_put(&pg->locks, str_of(name), PG_SET);
    return OK;
}

static rc_t pg_lock_try(void *self, const char *name, bool *ret, struct err *e)
{
    struct pg *pg = self;
    if (!map_get(&pg->locks, str_of(name)))
        return lock_take(pg, name, ret, e);
    rc_t rc = pg_exec(pg, "SELECT 1", NULL, 0, NULL, e); /* held as long as the connection answers */
    if (!rc)
        *ret = true;
    return rc;
}

const struct db_dialect pg_dialect = {
    .migrations = migrations_postgres,
    .migrations_n = &migrations_postgres_n,
    .arrays = true,
    .lateral = true,
    .labels = {.has = {"jsonb_exists(labels::jsonb, ", ")"}, .is = {"labels::jsonb ->> ", " = ", ""}},
    .create = pg_create,
    .has_table = pg_has_table,
    .tx_lock = pg_tx_lock,
    .stage = pg_stage,
    .days_ensure = pg_days_ensure,
    .day_drop = pg_day_drop,
    .day_next = pg_day_next,
    .lock_try = pg_lock_try,
};
