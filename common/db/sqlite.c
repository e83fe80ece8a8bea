/* SQLite: the connection, its transactions, and what its errors mean. WAL with a sync at each commit: what was committed
 * outlives the machine. Writers of this process take turns (sqlite_file.c), so a transaction never has to be given up
 * half-way; checkpoints, too, happen only while the turn is ours. */
#include "db/sqlite.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"

#define SCHEME "sqlite://"
#define LOCK_MAX_US (5 * USEC_PER_SEC)
#define OPS_A_LOOK 10000 /* steps of SQLite's machine between two looks at the clock */

/* --- what errors mean --- */
static const struct {
    int code;
    rc_t rc;
} codes[] = {
    {SQLITE_CONSTRAINT, E_CONFLICT}, {SQLITE_TOOBIG, E_INVALID}, {SQLITE_MISMATCH, E_INVALID}, {SQLITE_RANGE, E_FATAL},
    {SQLITE_ERROR, E_FATAL},         {SQLITE_MISUSE, E_FATAL},   {SQLITE_CORRUPT, E_FATAL},    {SQLITE_NOTADB, E_FATAL},
};

static rc_t code_rc(int code)
{
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (codes[i].code == (code & 0xff))
            return codes[i].rc;
    return E_AGAIN; /* busy, interrupted, full, I/O: the machine's state, not ours */
}

rc_t sqlite_failed(const struct sqlite *s, int code, struct err *e)
{
    if ((code & 0xff) == SQLITE_FULL)
        return err_set(e, code_rc(code),
                       "SQLite %d: the disk is full: make room on the disk of the database; it then goes on by itself",
                       code);
    return err_quote(e, code_rc(code), "SQLite %d: %s", code, s->conn ? sqlite3_errmsg(s->conn) : sqlite3_errstr(code));
}

/* --- the connection --- */
static int out_of_time(void *self)
{
    const struct sqlite *s = self;
    return clock_mono_us() > s->deadline_us;
}

static int simple(struct sqlite *s, const char *sql)
{
    return sqlite3_exec(s->conn, sql, NULL, NULL, NULL);
}

static int set_up(struct sqlite *s)
{
    (void)sqlite3_extended_result_codes(s->conn, 1);
    (void)sqlite3_busy_timeout(s->conn, (int)(s->lock_us / 1000)); /* for writers of other processes */
    sqlite3_progress_handler(s->conn, OPS_A_LOOK, out_of_time, s);
    int code = simple(s, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"
                         "PRAGMA temp_store = MEMORY; PRAGMA cache_size = -4000; PRAGMA journal_size_limit = 67108864;"
                         "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON");
    return code ? code : sqlite_functions_add(s->conn);
}

static rc_t folder_make(const char *path, struct err *e)
{
    CLEANUP(mem_freep) char *dir = mem_dupz(path);
    for (char *p = strchr(dir + 1, '/'); p; p = strchr(p + 1, '/')) {
        *p = '\0';
        if (mkdir(dir, 0700) && errno != EEXIST)
            return err_set(e, E_AGAIN, "making the folder %s: %s", dir, strerror(errno));
        *p = '/';
    }
    return OK;
}

rc_t sqlite_open_file(struct sqlite *s, bool create, struct err *e)
{
    rc_t rc = create ? folder_make(s->path, e) : OK;
    if (rc)
        return rc;
    if (!create && access(s->path, F_OK))
        return err_set(e, E_AGAIN, "there is no database %s yet", s->path);
    if (create && !sqlite_file_lock(s->file, s->lock_us)) /* only a new file is written to */
        return err_set(e, E_AGAIN, "another writer of %s takes long", s->path);
    s->deadline_us = clock_mono_us() + s->statement_us;
    int code = sqlite3_open_v2(s->path, &s->conn,
                               SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (create ? SQLITE_OPEN_CREATE : 0), NULL);
    if (code == SQLITE_OK)
        code = set_up(s);
    if (code != SQLITE_OK) {
        rc = sqlite_failed(s, code, e);
        rc = err_prefix(e, rc, "opening %s: ", s->path);
        (void)sqlite3_close_v2(s->conn); /* it was never used */
        s->conn = NULL;
    }
    if (create)
        sqlite_file_unlock(s->file);
    return rc;
}

static rc_t sqlite_ready(void *self, bool connect, struct err *e)
{
    struct sqlite *s = self;
    if (s->conn)
        return OK;
    return connect ? sqlite_open_file(s, false, e) : err_set(e, E_AGAIN, "%s is not open", s->path);
}

static int64_t sqlite_generation(const void *self)
{
    const struct sqlite *s = self;
    return s->conn != NULL;
}

/* --- transactions --- */
rc_t sqlite_write_begin(struct sqlite *s, struct err *e)
{
    if (s->writing)
        return OK;
    if (!sqlite_file_lock(s->file, s->lock_us))
        return err_set(e, E_AGAIN, "another writer of the database takes longer than %lld ms",
                       (long long)(s->lock_us / 1000));
    s->writing = true;
    return OK;
}

void sqlite_write_end(struct sqlite *s)
{
    if (s->tx || !s->writing)
        return;
    s->writing = false;
    sqlite_file_unlock(s->file);
}

rc_t sqlite_begin(void *self, struct err *e)
{
    struct sqlite *s = self;
    rc_t rc = sqlite_write_begin(s, e);
    if (rc)
        return rc;
    s->deadline_us = clock_mono_us() + s->statement_us;
    int code = simple(s, "BEGIN IMMEDIATE");
    if (code != SQLITE_OK) {
        rc = sqlite_failed(s, code, e);
        sqlite_write_end(s);
        return rc;
    }
    s->tx = true;
    s->failed = false;
    return OK;
}

static void stages_forget(struct sqlite *s)
{
    map_done(&s->stages);
    s->stages = (struct map){0};
}

/* Staging tables that were made in a transaction go with it when it is not committed, whoever rolls it back. */
static void end(struct sqlite *s, bool committed)
{
    if (!committed)
        stages_forget(s);
    s->deadline_us = INT64_MAX; /* a rollback is never broken off */
    if (!sqlite3_get_autocommit(s->conn))
        (void)simple(s, "ROLLBACK"); /* fails only when SQLite has rolled back already */
    s->tx = s->failed = false;
    s->transactions++;
    sqlite_write_end(s);
}

/* The rows of staging tables go with their transaction. */
static int stages_empty(struct sqlite *s)
{
    struct map_iter it = {0};
    int code = SQLITE_OK;
    while (code == SQLITE_OK && map_next(&s->stages, &it)) {
        CLEANUP(buf_done) struct buf sql = {0};
        if (it.value != (void *)(uintptr_t)s->transactions)
            continue;
        buf_addf(&sql, "DELETE FROM temp.%.*s", STR_FMT(it.key));
        code = simple(s, sql.data);
    }
    return code;
}

/* After an I/O error nobody knows whether the commit is in the WAL: a crash now could bring it back. */
rc_t sqlite_commit(void *self, struct err *e)
{
    struct sqlite *s = self;
    if (s->failed || sqlite3_get_autocommit(s->conn)) {
        end(s, false);
        return err_set(e, E_AGAIN, "not committed: a statement of the transaction had failed");
    }
    s->deadline_us = clock_mono_us() + s->statement_us;
    int code = stages_empty(s);
    bool asked = code == SQLITE_OK;
    if (asked)
        code = simple(s, "COMMIT");
    rc_t rc = OK;
    if (code != SQLITE_OK) {
        bool unknown = asked && (code & 0xff) == SQLITE_IOERR;
        (void)sqlite_failed(s, code, e);
        rc = err_prefix(e, unknown ? E_UNKNOWN : E_AGAIN, unknown ? "committing: " : "not committed: ");
    }
    end(s, rc == OK);
    return rc;
}

void sqlite_rollback(void *self)
{
    struct sqlite *s = self;
    end(s, false);
}

/* --- life --- */
static bool sqlite_accepts(const char *url)
{
    return strncmp(url, SCHEME, sizeof SCHEME - 1) == 0;
}

/* The folder's own name, so that two spellings of a path are one file. */
static char *path_own(const char *path)
{
    const char *slash = strrchr(path, '/');
    CLEANUP(mem_freep) char *dir = mem_dup(path, slash == path ? 1 : (size_t)(slash - path));
    char real[PATH_MAX];
    if (!realpath(dir, real))
        return mem_dupz(path);
    struct buf b = {0};
    buf_addf(&b, "%s%s", strcmp(real, "/") == 0 ? "" : real, slash);
    return buf_take(&b);
}

static rc_t sqlite_check(const char *url, struct err *e)
{
    const char *path = url + sizeof SCHEME - 1;
    if (*path != '/' || path[strlen(path) - 1] == '/' || strchr(path, '?'))
        return err_set(e, E_INVALID, "sqlite:// wants the absolute path of a file and nothing else");
    return OK;
}

static rc_t sqlite_open(const struct db_config *cfg, void **ret_self, struct err *e)
{
    const char *path = cfg->url + sizeof SCHEME - 1;
    if (sqlite_check(cfg->url, e))
        return E_INVALID;
    if (sqlite3_threadsafe() == 0)
        return err_set(e, E_INVALID, "this SQLite library is built without threads");
    struct sqlite *s = mem_alloc(sizeof *s);
    s->path = path_own(path);
    s->statement_us = cfg->statement_us > 0 ? cfg->statement_us : 30 * USEC_PER_SEC;
    s->lock_us = s->statement_us / 2 < LOCK_MAX_US ? s->statement_us / 2 : LOCK_MAX_US;
    s->transactions = 1;
    s->file = sqlite_file_get(s->path);
    *ret_self = s;
    return OK;
}

static void sqlite_close(void *self)
{
    struct sqlite *s = self;
    struct map_iter it = {0};
    if (s->tx)
        end(s, false);
    sqlite_statements_forget(s);
    stages_forget(s);
    while (map_next(&s->locks, &it))
        (void)close((int)(uintptr_t)it.value - 1); /* and with it the lock */
    map_done(&s->locks);
    bool ours = sqlite_file_lock(s->file, LOCK_MAX_US); /* the last connection makes a checkpoint */
    (void)sqlite3_close_v2(s->conn);
    if (ours)
        sqlite_file_unlock(s->file);
    sqlite_file_put(s->file);
    mem_free(s->path);
    mem_free(s);
}

static const struct db_ops sqlite_ops = {
    .name = "sqlite",
    .accepts = sqlite_accepts,
    .check = sqlite_check,
    .open = sqlite_open,
    .close = sqlite_close,
    .generation = sqlite_generation,
    .ready = sqlite_ready,
    .begin = sqlite_begin,
    .exec = sqlite_exec,
    .script = sqlite_script,
    .copy = sqlite_copy,
    .commit = sqlite_commit,
    .rollback = sqlite_rollback,
};
const struct db_driver db_sqlite = {&sqlite_ops, &sqlite_dialect};
