/* The simulated database as its clients see it: connections that break, statements that wait, the seam. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "transactions.h"
#include "world.h"

#define CONNS_MAX 256
#define GHOSTS_MAX 256
#define STAGES_MAX 16
#define LOCK_WAIT_US (2 * USEC_PER_SEC)
#define SLICE_US (20 * USEC_PER_MSEC)

struct conn {
    struct proc *proc;
    struct tx *tx;
    int64_t generation;
};

static struct {
    struct conn *conns[CONNS_MAX];
    size_t n_conns;
    struct ghost {
        struct tx *tx;
        int64_t at_us;
        bool commit;
    } ghosts[GHOSTS_MAX]; /* transactions whose client has gone */
    size_t n_ghosts;
    struct staged {
        char *stage, *like;
    } stages[STAGES_MAX];
    size_t n_stages, n_stages_made;
    struct conn *leader;  /* who has the one session lock there is */
    int64_t leader_until; /* it is gone, and the server notices then; 0: it is there */
    int64_t generations;
} s;

/* ---- connections ---- */
static void ghost(struct tx *tx, int64_t after_us, bool commit)
{
    if (s.n_ghosts == GHOSTS_MAX)
        abort();
    s.ghosts[s.n_ghosts++] = (struct ghost){tx, clock_mono_us() + after_us, commit};
}

/* The client's side ends now, the server's when it notices. */
static void lose(struct conn *c)
{
    int64_t notices = world_chance(500) ? 0 : world_below(1500 * USEC_PER_MSEC);
    if (c->tx) {
        ghost(c->tx, notices, false);
        c->tx = NULL;
    }
    if (s.leader == c)
        s.leader_until = clock_mono_us() + notices;
    c->generation = 0;
}

static void ghosts_step(void)
{
    int64_t now = clock_mono_us();
    for (size_t i = 0; i < s.n_ghosts;) {
        if (s.ghosts[i].at_us > now) {
            i++;
            continue;
        }
        struct tx *tx = s.ghosts[i].tx;
        bool commit = s.ghosts[i].commit;
        s.ghosts[i] = s.ghosts[--s.n_ghosts];
        struct err e;
        if (!commit)
            tx_rollback(tx);
        else if (tx_commit(tx, &e) == OK)
            world_say("a COMMIT is done late");
    }
    if (s.leader && s.leader_until && s.leader_until <= now) {
        s.leader = NULL;
        s.leader_until = 0;
    }
}

static void server(void *arg)
{
    (void)arg;
    for (;;) {
        world_sleep(30 * USEC_PER_MSEC);
        ghosts_step();
    }
}

void sim_store_kill(int64_t down_us)
{
    faults.db_down_until = clock_mono_us() + down_us;
    for (size_t i = 0; i < s.n_conns; i++) {
        if (s.conns[i]->tx)
            tx_rollback(s.conns[i]->tx);
        s.conns[i]->tx = NULL;
        s.conns[i]->generation = 0;
    }
    while (s.n_ghosts)
        tx_rollback(s.ghosts[--s.n_ghosts].tx);
    s.leader = NULL;
    s.leader_until = 0;
}

void sim_store_cut(struct proc *p)
{
    for (size_t i = 0; i < s.n_conns; i++)
        if (s.conns[i]->proc == p && s.conns[i]->generation)
            lose(s.conns[i]);
}

void sim_store_ended(struct proc *p)
{
    sim_store_cut(p);
    size_t kept = 0;
    for (size_t i = 0; i < s.n_conns; i++)
        if (s.conns[i]->proc != p)
            s.conns[kept++] = s.conns[i];
    s.n_conns = kept; /* their memory was the process's */
}

static bool breaks(struct conn *c)
{
    if (!c->proc || !world_chance(faults.per_mille_db))
        return false;
    world_say("a connection breaks");
    lose(c);
    return true;
}

static rc_t gone(struct err *e)
{
    return err_set(e, E_AGAIN, "the connection is gone");
}

/* ---- statements ---- */
/* Until something changes; false: it has taken too long, or the connection is gone. */
static bool wait_for_lock(const struct conn *c, int64_t generation, int64_t until)
{
    if (clock_mono_us() >= until || !proc_now())
        return false;
    (void)world_wait(tx_ends(), clock_mono_us() + SLICE_US);
    return c->generation == generation;
}

static bool is_read(const char *sql)
{
    return strncmp(sql, "SELECT", 6) == 0;
}

static rc_t write_op(struct conn *c, struct op *op, struct db_rows **ret, struct err *e)
{
    int64_t until = clock_mono_us() + LOCK_WAIT_US, generation = c->generation;
    for (;;) {
        bool met = false;
        struct db_rows *rows = NULL;
        rc_t rc = tx_write(c->tx, op, &met, &rows, e);
        if (rc || !met) {
            if (ret)
                *ret = rows;
            else
                db_rows_free(rows);
            return rc;
        }
        db_rows_free(rows);
        if (!wait_for_lock(c, generation, until))
            return c->generation == generation ? err_set(e, E_AGAIN, "a lock takes long, or is a dead-lock") : gone(e);
    }
}

/* " FOR UPDATE" or " FOR SHARE" at the end: the rows it names. */
static bool locks_rows(const char *sql, bool *ret_shared, size_t *ret_len)
{
    static const struct {
        const char *tail;
        bool shared;
    } tails[] = {{" FOR UPDATE", false}, {" FOR SHARE", true}};
    size_t n = strlen(sql);
    for (size_t i = 0; i < 2; i++) {
        size_t t = strlen(tails[i].tail);
        if (n > t && strcmp(sql + n - t, tails[i].tail) == 0) {
            *ret_shared = tails[i].shared;
            *ret_len = n - t;
            return true;
        }
    }
    return false;
}

static rc_t lock_rows(struct conn *c, const char *sql, const struct db_value *params, size_t n, struct err *e)
{
    bool shared;
    size_t len;
    const char *from = strstr(sql, " FROM ");
    if (!c->tx || !from || !locks_rows(sql, &shared, &len))
        return OK;
    char text[600], table[64] = "";
    (void)snprintf(text, sizeof text, "SELECT rowid%.*s", (int)(len - (size_t)(from - sql)), from);
    (void)sscanf(from, " FROM %60[a-z_]", table);
    int64_t until = clock_mono_us() + LOCK_WAIT_US, generation = c->generation;
    for (;;) {
        struct db_rows *rows = NULL;
        tx_put_in(c->tx);
        rc_t rc = sqlite_exec(tx_sqlite(), text, params, n, &rows, e);
        if (rc)
            return rc;
        uint64_t keys[256];
        size_t n_keys = rows->n < 256 ? rows->n : 256;
        for (size_t i = 0; i < n_keys; i++) {
            int64_t row = db_i64(rows, i, 0);
            keys[i] = tx_mix(tx_mix(1, table, strlen(table)), &row, sizeof row);
        }
        db_rows_free(rows);
        if (!tx_meets(c->tx, keys, n_keys, shared)) {
            for (size_t i = 0; i < n_keys; i++)
                tx_lock_add(c->tx, keys[i], shared);
            return OK;
        }
        if (!wait_for_lock(c, generation, until))
            return c->generation == generation ? err_set(e, E_AGAIN, "a lock takes long, or is a dead-lock") : gone(e);
    }
}

static rc_t read_op(struct conn *c, struct op *op, struct db_rows **ret, struct err *e)
{
    rc_t rc = lock_rows(c, op->sql, op->values, op->n, e);
    if (rc)
        return rc;
    tx_put_in(c->tx);
    if (c->tx && c->tx->doomed)
        return err_set(e, E_AGAIN, "it could not be serialised");
    return tx_apply(op, ret, e);
}

/* Others have their turn before it, and the connection may break before or after. */
static rc_t run_op(struct conn *c, struct op *op, struct db_rows **ret, struct err *e)
{
    int64_t generation = c->generation;
    if (c->proc) {
        world_point();
        if (c->tx && world_chance(faults.per_mille_interleave))
            world_sleep(world_chance(100) ? world_below(300 * USEC_PER_MSEC) : world_below(8 * USEC_PER_MSEC));
    }
    if (c->generation != generation || (breaks(c)))
        return gone(e);
    if (c->tx && c->tx->failed && strncmp(op->sql, "ROLLBACK TO", 11) != 0)
        return err_set(e, E_AGAIN, "a statement of the transaction had failed");
    world_note(tx_mix(3, op->sql, strlen(op->sql)));
    struct db_rows *rows = NULL;
    bool read = op->kind == OP_EXEC && is_read(op->sql);
    rc_t rc = read ? read_op(c, op, &rows, e) : write_op(c, op, &rows, e);
    if (c->tx)
        c->tx->failed = rc != OK;
    else if (!rc && !read)
        tx_committed_alone();
    if (c->generation != generation || breaks(c)) {
        db_rows_free(rows);
        return gone(e);
    }
    if (rc == OK && ret)
        *ret = rows;
    else
        db_rows_free(rows);
    return rc;
}

/* ---- the seam ---- */
static bool accepts(const char *url)
{
    return strcmp(url, SIM_URL) == 0;
}

static rc_t check(const char *url, struct err *e)
{
    (void)url, (void)e;
    return OK;
}

static rc_t open_conn(const struct db_config *cfg, void **ret, struct err *e)
{
    (void)cfg, (void)e;
    struct conn *c = mem_alloc(sizeof *c);
    if (s.n_conns == CONNS_MAX)
        abort();
    c->proc = proc_now();
    s.conns[s.n_conns++] = c;
    *ret = c;
    return OK;
}

static void close_conn(void *self)
{
    struct conn *c = self;
    lose(c);
    if (s.leader == c)
        s.leader_until = clock_mono_us(); /* it said good-bye */
    for (size_t i = 0; i < s.n_conns; i++)
        if (s.conns[i] == c) {
            s.conns[i] = s.conns[--s.n_conns];
            break;
        }
    mem_free(c);
}

static int64_t generation_of(const void *self)
{
    return ((const struct conn *)self)->generation;
}

static rc_t ready(void *self, bool connect, struct err *e)
{
    struct conn *c = self;
    if (c->generation)
        return OK;
    if (!connect)
        return gone(e);
    world_point();
    if (faults.db_down_until > clock_mono_us())
        return err_set(e, E_AGAIN, "the server does not answer");
    c->generation = ++s.generations;
    return OK;
}

static rc_t begin(void *self, struct err *e)
{
    struct conn *c = self;
    if (breaks(c))
        return gone(e);
    c->tx = tx_new();
    return OK;
}

static rc_t exec(void *self, const char *sql, const struct db_value *params, size_t n, struct db_rows **ret_rows,
                 struct err *e)
{
    struct op op = {.kind = OP_EXEC, .sql = (char *)(uintptr_t)sql, .values = (struct db_value *)(uintptr_t)params, .n = n};
    return run_op(self, &op, ret_rows, e);
}

static rc_t copy(void *self, const char *table, const char *columns, const struct db_value *values, size_t n_rows,
                 size_t n_cols, struct err *e)
{
    struct op op = {.kind = OP_COPY,
                    .sql = (char *)(uintptr_t)table,
                    .columns = (char *)(uintptr_t)columns,
                    .values = (struct db_value *)(uintptr_t)values,
                    .n = n_rows * n_cols,
                    .n_rows = n_rows,
                    .n_cols = n_cols};
    return run_op(self, &op, NULL, e);
}

static rc_t script(void *self, const char *sql, struct err *e)
{
    (void)self;
    return sqlite_script(tx_sqlite(), sql, e);
}

/* The answer may be lost: done, not done, or done when the server gets to it. */
static rc_t commit(void *self, struct err *e)
{
    struct conn *c = self;
    struct tx *tx = c->tx;
    int64_t generation = c->generation;
    if (c->proc)
        world_point();
    if (c->generation != generation) /* as it was about to be said */
        return gone(e);
    rc_t rc = OK;
    struct err ignored;
    if (c->proc && world_chance(faults.per_mille_commit)) {
        c->tx = NULL;
        int64_t how = world_below(3);
        world_say("the answer to a COMMIT is lost: %s", how == 0 ? "not done" : how == 1 ? "done" : "done later");
        if (how == 0)
            ghost(tx, world_below(USEC_PER_SEC), false);
        else if (how == 2)
            ghost(tx, world_below(2 * USEC_PER_SEC), true);
        else if (tx_commit(tx, &ignored))
            world_say("… and it could not be serialised");
        lose(c);
        return err_set(e, E_UNKNOWN, "the answer was lost");
    }
    c->tx = NULL;
    rc = tx_commit(tx, e);
    if (c->proc)
        world_point();
    return rc;
}

static void rollback(void *self)
{
    struct conn *c = self;
    if (c->tx)
        tx_rollback(c->tx);
    c->tx = NULL;
}

static rc_t create(void *self, struct err *e)
{
    (void)self, (void)e;
    return OK;
}

static rc_t has_table(void *self, const char *table, bool *ret, struct err *e)
{
    (void)self;
    return sqlite_dialect.has_table(tx_sqlite(), table, ret, e);
}

static rc_t tx_lock(void *self, int64_t key, struct err *e)
{
    struct conn *c = self;
    uint64_t at = tx_mix(99, &key, sizeof key);
    int64_t until = clock_mono_us() + LOCK_WAIT_US, generation = c->generation;
    while (tx_meets(c->tx, &at, 1, false))
        if (!wait_for_lock(c, generation, until))
            return err_set(e, E_AGAIN, "a lock takes long, or is a dead-lock");
    if (!c->tx)
        return gone(e);
    tx_lock_add(c->tx, at, false);
    return OK;
}

/* A new one is made when the seed is over: until then it lives in the transaction that all of the seed is. */
static void stage_make(const char *stage, const char *like)
{
    struct err e;
    map_done(&tx_sqlite()->stages); /* it is asked once and for all */
    tx_sqlite()->stages = (struct map){0};
    if (sqlite_dialect.stage(tx_sqlite(), stage, like, &e))
        abort();
}

static rc_t stage(void *self, const char *stage, const char *like, struct err *e)
{
    bool known = false;
    for (size_t i = 0; i < s.n_stages; i++)
        known = known || strcmp(s.stages[i].stage, stage) == 0;
    if (!known && s.n_stages < STAGES_MAX)
        s.stages[s.n_stages++] = (struct staged){mem_dupz(stage), mem_dupz(like)};
    if (!known) {
        tx_put_in(NULL);
        stage_make(stage, like);
    }
    struct op op = {.kind = OP_STAGE, .sql = (char *)(uintptr_t)stage};
    return run_op(self, &op, NULL, e);
}

static rc_t days_ensure(void *self, const int64_t *days_us, size_t n, struct err *e)
{
    struct conn *c = self;
    world_point();
    return breaks(c) ? gone(e) : sqlite_dialect.days_ensure(tx_sqlite(), days_us, n, e);
}

static rc_t day_drop(void *self, const char *table, int64_t cutoff_us, int64_t *ret_end_us, bool *ret_whole, struct err *e)
{
    (void)self, (void)table, (void)cutoff_us, (void)e;
    *ret_end_us = 0; /* a seed is no day long */
    *ret_whole = true;
    return OK;
}

static rc_t day_next(void *self, const char *table, int64_t from_us, int64_t *ret_us, bool *ret_there, struct err *e)
{
    (void)self;
    tx_put_in(NULL);
    return sqlite_dialect.day_next(tx_sqlite(), table, from_us, ret_us, ret_there, e);
}

static rc_t lock_try(void *self, const char *name, bool *ret, struct err *e)
{
    struct conn *c = self;
    (void)name;
    world_point();
    if (!c->generation || breaks(c))
        return gone(e);
    if (!s.leader) {
        s.leader = c;
        s.leader_until = 0;
    }
    *ret = s.leader == c && !s.leader_until;
    return OK;
}

static const struct db_ops ops = {.name = "sim",
                                  .accepts = accepts,
                                  .check = check,
                                  .open = open_conn,
                                  .close = close_conn,
                                  .generation = generation_of,
                                  .ready = ready,
                                  .begin = begin,
                                  .exec = exec,
                                  .script = script,
                                  .copy = copy,
                                  .commit = commit,
                                  .rollback = rollback};
static const struct db_dialect dialect = {
    .migrations = migrations_sqlite,
    .migrations_n = &migrations_sqlite_n,
    .arrays = false,
    .lateral = false,
    .labels = {.has = {"", ""}, .is = {"", "", ""}},
    .create = create,
    .has_table = has_table,
    .tx_lock = tx_lock,
    .stage = stage,
    .days_ensure = days_ensure,
    .day_drop = day_drop,
    .day_next = day_next,
    .lock_try = lock_try,
};
const struct db_driver db_postgres = {&ops, &dialect};

void sim_store_open(void)
{
    tx_open();
    struct db *db = NULL;
    struct err e = {{0}};
    rc_t rc = db_open(&db, &(struct db_config){.url = (char *)(uintptr_t)SIM_URL, .migrate = true}, &e);
    if (rc == OK)
        rc = db_migrate(db, &e);
    if (rc) {
        (void)fprintf(stderr, "the store: %s\n", e.text);
        abort();
    }
    db_free(db);
}

void sim_store_begin(void)
{
    tx_begin_all();
    s.n_conns = s.n_ghosts = 0;
    s.leader = NULL;
    s.leader_until = s.generations = 0;
    (void)proc_start("database", server, NULL);
}

void sim_store_end(void)
{
    tx_end_all();
    for (; s.n_stages_made < s.n_stages; s.n_stages_made++)
        stage_make(s.stages[s.n_stages_made].stage, s.stages[s.n_stages_made].like);
}
