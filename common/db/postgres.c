/* PostgreSQL through libpq, never blocking past a deadline: the connection, its loss and return, and what its errors mean. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "db/pg.h"

#define BACKOFF_MIN_US (100 * USEC_PER_MSEC)
#define BACKOFF_MAX_US (5 * USEC_PER_SEC)
#define IDLE_IN_TRANSACTION_MS 15000
#define LOCK_TIMEOUT_MAX_US (5 * USEC_PER_SEC)

/* --- what errors mean: the first row whose letters begin the SQLSTATE --- */
static const struct {
    const char *state;
    rc_t rc;
} states[] = {
    {"23514", E_AGAIN}, /* no partition for the row: its day was dropped behind our back */
    {"0A000", E_AGAIN}, /* "cached plan must not change result type": the statements are prepared anew */
    {"22", E_INVALID},  /* data */
    {"23", E_CONFLICT}, /* constraints */
    {"42", E_FATAL},    /* our SQL, or rights we do not have */
    {"54", E_INVALID},  /* row or index entry too large */
    {"P0", E_FATAL},    /* raised by our own blocks */
    {"", E_AGAIN},      /* 40 55 57 08 53 25 26 28 58 XX: the server's state, not ours */
};

rc_t pg_state_rc(const char *state)
{
    size_t i = 0;
    while (strncmp(states[i].state, state, strlen(states[i].state)) != 0)
        i++;
    return states[i].rc;
}

static int first_line(const char *text)
{
    return (int)strcspn(text, "\r\n");
}

/* --- the socket --- */
int64_t pg_deadline(const struct pg *pg)
{
    return clock_mono_us() + pg->statement_us + PG_GRACE_US;
}

static int poll_until(int fd, short events, int64_t deadline_us)
{
    for (;;) {
        int64_t left = deadline_us - clock_mono_us();
        struct pollfd p = {.fd = fd, .events = events};
        int n = poll(&p, 1, left > 0 ? (int)((left + 999) / 1000) : 0);
        if (n > 0)
            return p.revents;
        if (n == 0 && left <= 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return -1;
    }
}

rc_t pg_wait(struct pg *pg, bool writable, int64_t deadline_us, struct err *e)
{
    int got = poll_until(PQsocket(pg->conn), (short)(POLLIN | (writable ? POLLOUT : 0)), deadline_us);
    if (got <= 0)
        return pg_lost(pg, "no answer in time", e);
    if ((got & ~POLLOUT) && !PQconsumeInput(pg->conn))
        return pg_lost(pg, NULL, e);
    return OK;
}

/* --- the connection --- */
static void forget(struct pg *pg)
{
    map_done(&pg->statements);
    map_done(&pg->stages);
    map_done(&pg->locks);
    pg_copies_forget(pg);
    pg->statements = pg->stages = pg->locks = (struct map){0};
    pg->n_statements = 0;
}

rc_t pg_lost(struct pg *pg, const char *doing, struct err *e)
{
    const char *text = doing ? doing : PQerrorMessage(pg->conn);
    snprintf(pg->last_error, sizeof pg->last_error, "%.*s", first_line(text), text);
    PQfinish(pg->conn);
    pg->conn = NULL;
    forget(pg);
    pg->next_attempt_us = clock_mono_us() + BACKOFF_MIN_US;
    return err_quote(e, E_AGAIN, "connection to PostgreSQL lost: %s", pg->last_error);
}

static void ignore_notice(void *arg, const PGresult *res)
{
    (void)arg, (void)res;
}

const char *pg_dbname(const struct pg *pg)
{
    for (const PQconninfoOption *o = pg->options; o->keyword; o++)
        if (strcmp(o->keyword, "dbname") == 0 && o->val && *o->val)
            return o->val;
    for (const PQconninfoOption *o = pg->options; o->keyword; o++)
        if (strcmp(o->keyword, "user") == 0 && o->val && *o->val)
            return o->val;
    return "";
}

/* The URL's options come last and win; only dbname (when given) and the encoding are ours in any case. */
static PGconn *start(const struct pg *pg, const char *dbname)
{
    char session[256], options[sizeof session + PG_OPTION_MAX + 2];
    int64_t lock_us = pg->statement_us / 2 < LOCK_TIMEOUT_MAX_US ? pg->statement_us / 2 : LOCK_TIMEOUT_MAX_US;
    snprintf(session, sizeof session,
             "-c statement_timeout=%lld -c lock_timeout=%lld -c idle_in_transaction_session_timeout=%d -c jit=off",
             (long long)(pg->statement_us / 1000), (long long)(lock_us / 1000), IDLE_IN_TRANSACTION_MS);
    snprintf(options, sizeof options, "%s", session);
    const char *defaults[][2] = {
        {"keepalives_idle", "5"},     {"keepalives_interval", "2"}, {"keepalives_count", "2"},
        {"tcp_user_timeout", "5000"}, {"gssencmode", "disable"},    {"fallback_application_name", pg->app_name},
        {"options", options},         {"client_encoding", "UTF8"},
    };
    enum { N_DEFAULTS = sizeof defaults / sizeof *defaults };
    const char *keys[128] = {0}, *values[128] = {0};
    size_t n = 0;
    for (; n < N_DEFAULTS; n++) {
        keys[n] = defaults[n][0];
        values[n] = defaults[n][1];
    }
    for (const PQconninfoOption *o = pg->options; o->keyword && n < 120; o++) {
        if (!o->val || !*o->val || strcmp(o->keyword, "client_encoding") == 0)
            continue;
        if (strcmp(o->keyword, "options") == 0) {
            snprintf(options, sizeof options, "%s %s", session, o->val);
            continue;
        }
        keys[n] = o->keyword;
        values[n++] = o->val;
    }
    if (dbname) {
        keys[n] = "dbname";
        values[n] = dbname;
    }
    return PQconnectStartParams(keys, values, 0);
}

static bool connect_poll(PGconn *conn, int64_t deadline_us)
{
    if (!conn || PQstatus(conn) == CONNECTION_BAD)
        return false;
    PostgresPollingStatusType want = PGRES_POLLING_WRITING;
    while (want != PGRES_POLLING_OK && want != PGRES_POLLING_FAILED) {
        short events = want == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        if (poll_until(PQsocket(conn), events, deadline_us) <= 0)
            return false;
        want = PQconnectPoll(conn);
    }
    return want == PGRES_POLLING_OK;
}

PGconn *pg_connect_to(struct pg *pg, const char *dbname, struct err *e)
{
    PGconn *conn = start(pg, dbname);
    const char *why = NULL;
    if (!connect_poll(conn, clock_mono_us() + pg->connect_us))
        why = conn && *PQerrorMessage(conn) ? PQerrorMessage(conn) : "no answer in time";
    else if (PQsetnonblocking(conn, 1) != 0)
        why = PQerrorMessage(conn);
    else if (!PQparameterStatus(conn, "client_encoding") ||
             strcmp(PQparameterStatus(conn, "client_encoding"), "UTF8") != 0)
        why = "the server does not speak UTF8";
    if (!why) {
        PQsetNoticeReceiver(conn, ignore_notice, NULL);
        return conn;
    }
    snprintf(pg->last_error, sizeof pg->last_error, "%.*s", first_line(why), why);
    (void)err_quote(e, E_AGAIN, "connecting to PostgreSQL: %s", pg->last_error);
    PQfinish(conn);
    return NULL;
}

static rc_t reconnect(struct pg *pg, struct err *e)
{
    int64_t now = clock_mono_us();
    pg->tried = now >= pg->next_attempt_us;
    if (!pg->tried)
        return err_quote(e, E_AGAIN, "no connection to PostgreSQL, next attempt in %lld ms: %s",
                         (long long)((pg->next_attempt_us - now + 999) / 1000), pg->last_error);
    PGconn *conn = pg_connect_to(pg, NULL, e);
    if (!conn) {
        int64_t next = pg->backoff_us * 2;
        pg->backoff_us = next < BACKOFF_MIN_US ? BACKOFF_MIN_US : next > BACKOFF_MAX_US ? BACKOFF_MAX_US : next;
        pg->next_attempt_us = clock_mono_us() + pg->backoff_us;
        return E_AGAIN;
    }
    pg->conn = conn;
    pg->generation++;
    pg->backoff_us = pg->next_attempt_us = 0;
    return OK;
}

/* Between commands nothing is to be read but the news of the connection's end (or a notice). */
static void look(struct pg *pg)
{
    struct err ignored;
    while (pg->conn && poll_until(PQsocket(pg->conn), POLLIN, 0) != 0) {
        if (PQconsumeInput(pg->conn) && PQstatus(pg->conn) == CONNECTION_OK) {
            PQclear(PQisBusy(pg->conn) ? NULL : PQgetResult(pg->conn));
            continue;
        }
        (void)pg_lost(pg, NULL, &ignored);
        pg->next_attempt_us = 0; /* nothing was tried on it: the first attempt is free */
    }
}

static rc_t pg_ready(void *self, bool connect, struct err *e)
{
    struct pg *pg = self;
    look(pg);
    if (pg->conn)
        return OK;
    return connect ? reconnect(pg, e) : err_quote(e, E_AGAIN, "connection to PostgreSQL lost: %s", pg->last_error);
}

static int64_t pg_generation(const void *self)
{
    const struct pg *pg = self;
    return pg->conn ? pg->generation : 0;
}

/* --- results --- */
static rc_t failed(struct pg *pg, const PGresult *res, struct err *e)
{
    const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    if (!state)
        return pg_lost(pg, NULL, e);
    rc_t rc = err_quote(e, pg_state_rc(state), "PostgreSQL %s: %s", state, text ? text : "");
    if (strcmp(state, "0A000") == 0 || strncmp(state, "26", 2) == 0) {
        map_done(&pg->statements); /* numbers go on: the old ones stay until the connection ends */
        pg->statements = (struct map){0};
    }
    if (strcmp(state, "23514") == 0) {
        map_done(&pg->days);
        pg->days = (struct map){0};
    }
    if (PQstatus(pg->conn) != CONNECTION_OK)
        (void)pg_lost(pg, text, NULL);
    return rc;
}

rc_t pg_finish(struct pg *pg, PGresult **ret, struct err *e)
{
    int64_t deadline = pg_deadline(pg);
    PGresult *last = NULL, *res = NULL;
    bool bad = false;
    for (;;) {
        int unsent = PQflush(pg->conn);
        rc_t rc = unsent < 0 ? pg_lost(pg, NULL, e) : OK;
        if (!rc && (unsent || PQisBusy(pg->conn))) {
            rc = pg_wait(pg, unsent, deadline, e);
            if (!rc)
                continue;
        }
        if (rc) {
            PQclear(last);
            return rc;
        }
        res = PQgetResult(pg->conn);
        if (!res)
            break;
        if (bad) {
            PQclear(res);
        } else {
            PQclear(last);
            last = res;
        }
        ExecStatusType status = PQresultStatus(last);
        bad = status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK && status != PGRES_COPY_IN;
        if (status == PGRES_COPY_IN)
            break;
        if (PQstatus(pg->conn) != CONNECTION_OK)
            break;
    }
    if (!last)
        return pg_lost(pg, "no result", e);
    if (bad) {
        rc_t rc = failed(pg, last, e);
        PQclear(last);
        return rc;
    }
    *ret = last;
    return OK;
}

rc_t pg_script(void *self, const char *sql, struct err *e)
{
    struct pg *pg = self;
    if (!PQsendQuery(pg->conn, sql))
        return pg_lost(pg, NULL, e);
    PGresult *res = NULL;
    rc_t rc = pg_finish(pg, &res, e);
    PQclear(res);
    return rc;
}

static rc_t pg_begin(void *self, struct err *e)
{
    return pg_exec(self, "BEGIN", NULL, 0, NULL, e);
}

/* Only an ordinary ERROR answer means "not committed": after a FATAL one, or none, nobody here knows. */
static rc_t pg_commit(void *self, struct err *e)
{
    struct pg *pg = self;
    PGresult *res = NULL;
    pg->transactions++;
    rc_t rc = PQsendQuery(pg->conn, "COMMIT") ? pg_finish(pg, &res, e) : pg_lost(pg, NULL, e);
    bool done = !rc && strcmp(PQcmdStatus(res), "COMMIT") == 0;
    PQclear(res);
    if (done)
        return OK;
    if (!pg->conn)
        return err_prefix(e, E_UNKNOWN, "the answer to COMMIT was lost: ");
    map_done(&pg->stages); /* a transaction that failed took its temporary tables along */
    pg->stages = (struct map){0};
    return rc ? err_prefix(e, E_AGAIN, "not committed: ")
              : err_set(e, E_AGAIN, "not committed: a statement of the transaction had failed");
}

static void pg_rollback(void *self)
{
    struct pg *pg = self;
    struct err ignored;
    pg->transactions++;
    map_done(&pg->stages);
    pg->stages = (struct map){0};
    if (pg_script(pg, "ROLLBACK", &ignored) && pg->conn)
        (void)pg_lost(pg, "ROLLBACK was refused", &ignored); /* never go on inside a transaction nobody wants */
}

/* --- life --- */
static bool pg_accepts(const char *url)
{
    return strncmp(url, "postgres://", 11) == 0 || strncmp(url, "postgresql://", 13) == 0 ||
           (strchr(url, '=') && !strstr(url, "://"));
}

static rc_t pg_check(const char *url, struct err *e)
{
    PQconninfoOption *options = NULL;
    rc_t rc = pg_address_parse(url, &options, e);
    PQconninfoFree(options);
    return rc;
}

static rc_t pg_open(const struct db_config *cfg, void **ret_self, struct err *e)
{
    PQconninfoOption *options = NULL;
    rc_t rc = pg_address_parse(cfg->url, &options, e);
    if (rc)
        return rc;
    struct pg *pg = mem_alloc(sizeof *pg);
    pg->options = options;
    pg->transactions = 1;
    pg->app_name = mem_dupz(cfg->app_name ? cfg->app_name : "modelmon");
    pg->connect_us = cfg->connect_us > 0 ? cfg->connect_us : 3 * USEC_PER_SEC;
    pg->statement_us = cfg->statement_us > 0 ? cfg->statement_us : 30 * USEC_PER_SEC;
    snprintf(pg->last_error, sizeof pg->last_error, "not tried yet");
    *ret_self = pg;
    return OK;
}

static void pg_close(void *self)
{
    struct pg *pg = self;
    PQfinish(pg->conn);
    forget(pg);
    map_done(&pg->days);
    buf_done(&pg->out);
    PQconninfoFree(pg->options);
    mem_free(pg->app_name);
    mem_free(pg);
}

static const struct db_ops pg_ops = {
    .name = "postgres",
    .accepts = pg_accepts,
    .check = pg_check,
    .open = pg_open,
    .close = pg_close,
    .generation = pg_generation,
    .ready = pg_ready,
    .begin = pg_begin,
    .exec = pg_exec,
    .script = pg_script,
    .copy = pg_copy,
    .commit = pg_commit,
    .rollback = pg_rollback,
};
const struct db_driver db_postgres = {&pg_ops, &pg_dialect};
