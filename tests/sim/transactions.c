/* The simulated database's transactions and locks, over one SQLite connection. */
#include "transactions.h"
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "db/driver.h"
#include "world.h"

#define LOCKS_MAX 4096
#define TOUCHED_MAX 4096

struct lock {
    uint64_t key;
    const struct tx *by;
    bool shared;
};
static struct {
    struct sqlite core;
    struct tx *applied;
    size_t n_open;
    struct lock locks[LOCKS_MAX];
    size_t n_locks;
    uint64_t touched[TOUCHED_MAX];
    size_t n_touched;
    unsigned tables;
    int64_t statements;
    void (*on_commit)(unsigned tables);
} s;

/* ---- SQLite ---- */
void tx_plain(const char *sql)
{
    if (sqlite3_exec(s.core.conn, sql, NULL, NULL, NULL) != SQLITE_OK) {
        world_violation("the simulation's own SQL failed: %s: %s", sql, sqlite3_errmsg(s.core.conn));
        abort();
    }
}

uint64_t tx_mix(uint64_t h, const void *p, size_t n)
{
    const unsigned char *at = p;
    for (size_t i = 0; i < n; i++)
        h = (h ^ at[i]) * UINT64_C(0x100000001b3);
    return h;
}

static void on_change(void *arg, int what, const char *database, const char *table, sqlite3_int64 row)
{
    static const struct {
        const char *name;
        enum sim_table bit;
    } watched[] = {{"ledger", TABLE_LEDGER}, {"windows", TABLE_WINDOWS}, {"pending_windows", TABLE_PENDING},
                   {"outbox", TABLE_OUTBOX}, {"slots", TABLE_SLOTS},     {"results", TABLE_RESULTS}};
    (void)arg;
    if (strcmp(database, "main") != 0 || strcmp(table, "change_seq") == 0) /* numbers of a sequence are nobody's */
        return;
    for (size_t i = 0; i < sizeof watched / sizeof *watched; i++)
        if (strcmp(table, watched[i].name) == 0)
            s.tables |= watched[i].bit;
    if (what == SQLITE_INSERT || s.n_touched == TOUCHED_MAX)
        return;
    s.touched[s.n_touched++] = tx_mix(tx_mix(1, table, strlen(table)), &row, sizeof row);
}

static uint64_t digest(const struct db_rows *r)
{
    uint64_t h = tx_mix(7, &r->affected, sizeof r->affected);
    for (size_t i = 0; i < r->n * r->cols; i++) {
        const struct db_value *v = &r->cells[i];
        h = v->type >= DB_TEXT   ? tx_mix(h, v->s.p, v->s.n)
            : v->type == DB_NULL ? h * 31
                                 : tx_mix(h, &v->i64, v->type == DB_BOOL ? 1 : 8);
    }
    return h;
}

static rc_t stage_now(const char *stage, struct err *e)
{
    char sql[100];
    (void)snprintf(sql, sizeof sql, "DELETE FROM temp.%s", stage);
    return sqlite_exec(&s.core, sql, NULL, 0, NULL, e);
}

rc_t tx_apply(struct op *op, struct db_rows **ret, struct err *e)
{
    struct db_rows *rows = NULL;
    rc_t rc = OK;
    s.core.failed = false;
    s.statements++;
    switch (op->kind) {
    case OP_EXEC:
        rc = sqlite_exec(&s.core, op->sql, op->values, op->n, &rows, e);
        break;
    case OP_COPY:
        rc = sqlite_copy(&s.core, op->sql, op->columns, op->values, op->n_rows, op->n_cols, e);
        break;
    case OP_STAGE:
        rc = stage_now(op->sql, e);
        break;
    }
    s.core.failed = false;
    op->did = rows ? digest(rows) : (uint64_t)rc;
    if (rc == OK && ret) {
        *ret = rows;
        rows = NULL;
    }
    db_rows_free(rows);
    return rc;
}

/* ---- transactions ---- */
static void take_out(void)
{
    if (!s.applied)
        return;
    tx_plain("ROLLBACK TO t");
    tx_plain("RELEASE t");
    s.applied = NULL;
}

void tx_put_in(struct tx *tx)
{
    if (s.applied == tx)
        return;
    take_out();
    if (!tx || tx->n == 0)
        return;
    tx_plain("SAVEPOINT t");
    s.applied = tx;
    for (size_t i = 0; i < tx->n && !tx->doomed; i++) {
        uint64_t did = tx->ops[i].did;
        struct err e;
        rc_t rc = tx_apply(&tx->ops[i], NULL, &e);
        tx->doomed = rc != OK || tx->ops[i].did != did;
    }
    s.n_touched = 0;
}

struct tx *tx_new(void)
{
    s.n_open++;
    return mem_alloc(sizeof(struct tx));
}

static void op_done(struct op *op)
{
    for (size_t i = 0; i < op->n; i++)
        if (op->values[i].type >= DB_TEXT)
            mem_free((char *)(uintptr_t)op->values[i].s.p);
    mem_free(op->values);
    mem_free(op->sql);
    mem_free(op->columns);
}

static void tx_free(struct tx *tx)
{
    size_t kept = 0;
    for (size_t i = 0; i < s.n_locks; i++)
        if (s.locks[i].by != tx)
            s.locks[kept++] = s.locks[i];
    s.n_locks = kept;
    for (size_t i = 0; i < tx->n; i++)
        op_done(&tx->ops[i]);
    mem_free(tx->ops);
    mem_free(tx);
    s.n_open--;
    world_notify(&s);
}

void tx_rollback(struct tx *tx)
{
    if (s.applied == tx)
        take_out();
    tx_free(tx);
}

static void committed(unsigned tables)
{
    if (tables && s.on_commit)
        s.on_commit(tables);
}

rc_t tx_commit(struct tx *tx, struct err *e)
{
    tx_put_in(tx);
    if (tx->failed || tx->doomed) {
        tx_rollback(tx);
        return err_set(e, E_AGAIN, "not committed: it could not be serialised, or a statement had failed");
    }
    if (s.applied == tx && tx->n) {
        tx_plain("RELEASE t");
        s.applied = NULL;
    }
    unsigned tables = tx->tables;
    tx_free(tx);
    committed(tables);
    return OK;
}

/* ---- locks ---- */
static bool lock_met(const struct tx *tx, uint64_t key, bool shared)
{
    for (size_t i = 0; i < s.n_locks; i++)
        if (s.locks[i].key == key && s.locks[i].by != tx && !(shared && s.locks[i].shared))
            return true;
    return false;
}

void tx_lock_add(const struct tx *tx, uint64_t key, bool shared)
{
    if (!tx)
        return;
    for (size_t i = 0; i < s.n_locks; i++)
        if (s.locks[i].key == key && s.locks[i].by == tx) {
            s.locks[i].shared = s.locks[i].shared && shared;
            return;
        }
    if (s.n_locks == LOCKS_MAX)
        abort();
    s.locks[s.n_locks++] = (struct lock){key, tx, shared};
}

bool tx_meets(const struct tx *tx, const uint64_t *keys, size_t n, bool shared)
{
    for (size_t i = 0; i < n; i++)
        if (lock_met(tx, keys[i], shared))
            return true;
    return false;
}

/* ---- statements that change something ---- */
static struct db_value *values_copy(const struct db_value *v, size_t n)
{
    struct db_value *out = mem_array(n + 1, sizeof *out);
    for (size_t i = 0; i < n; i++) {
        out[i] = v[i];
        if (v[i].type >= DB_TEXT)
            out[i].s = (struct str){mem_dup(v[i].s.n ? v[i].s.p : "", v[i].s.n), v[i].s.n};
    }
    return out;
}

static void tx_record(struct tx *tx, const struct op *op)
{
    if (tx->n == tx->cap) {
        tx->cap = tx->cap ? tx->cap * 2 : 16;
        tx->ops = mem_grow(tx->ops, tx->cap, sizeof *tx->ops);
    }
    struct op *own = &tx->ops[tx->n++];
    *own = *op;
    own->sql = mem_dupz(op->sql);
    own->columns = op->columns ? mem_dupz(op->columns) : NULL;
    own->values = values_copy(op->values, op->n);
    tx->tables |= s.tables;
}

/* Done, or taken back because of a lock (*ret_met). */
rc_t tx_write(struct tx *tx, struct op *op, bool *ret_met, struct db_rows **ret, struct err *e)
{
    tx_put_in(tx);
    if (tx && tx->doomed)
        return err_set(e, E_AGAIN, "it could not be serialised");
    bool control = op->kind == OP_EXEC && (strncmp(op->sql, "SAVEPOINT", 9) == 0 ||
                                           strncmp(op->sql, "RELEASE", 7) == 0 || strncmp(op->sql, "ROLLBACK", 8) == 0);
    bool guarded = s.n_open > (tx != NULL) && !control;
    if (tx && s.applied != tx) {
        tx_plain("SAVEPOINT t");
        s.applied = tx;
    }
    if (guarded)
        tx_plain("SAVEPOINT o");
    s.n_touched = s.tables = 0;
    rc_t rc = tx_apply(op, ret, e);
    *ret_met = rc == OK && guarded && tx_meets(tx, s.touched, s.n_touched, false);
    if (guarded && (rc || *ret_met))
        tx_plain("ROLLBACK TO o");
    if (guarded)
        tx_plain("RELEASE o");
    if (rc || *ret_met)
        return rc;
    for (size_t i = 0; i < s.n_touched; i++)
        tx_lock_add(tx, s.touched[i], false);
    if (tx)
        tx_record(tx, op);
    return OK;
}

/* ---- life ---- */
/* ---- life ---- */
void tx_open(void)
{
    s.core.statement_us = INT64_C(3600) * USEC_PER_SEC;
    s.core.tx = s.core.writing = true;
    s.core.transactions = 1;
    if (sqlite3_open(":memory:", &s.core.conn) != SQLITE_OK)
        abort();
    (void)sqlite3_extended_result_codes(s.core.conn, 1);
    tx_plain("PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -20000");
    if (sqlite_functions_add(s.core.conn) != SQLITE_OK)
        abort();
    (void)sqlite3_update_hook(s.core.conn, on_change, NULL);
}

void tx_begin_all(void)
{
    tx_plain("BEGIN");
    s.n_locks = s.n_open = 0;
    s.applied = NULL;
    s.statements = 0;
}

void tx_end_all(void)
{
    take_out();
    tx_plain("ROLLBACK");
}

struct sqlite *tx_sqlite(void)
{
    return &s.core;
}

const void *tx_ends(void)
{
    return &s;
}

void tx_committed_alone(void)
{
    committed(s.tables);
}

struct db_rows *sim_store_read(const char *sql, const struct db_value *params, size_t n)
{
    struct db_rows *rows = NULL;
    struct err e = {{0}};
    take_out(); /* it comes in again with its next statement */
    if (sqlite_exec(&s.core, sql, params, n, &rows, &e)) {
        world_violation("the checker's SQL: %s: %s", sql, e.text);
        abort();
    }
    return rows;
}

void sim_store_on_commit(void (*fn)(unsigned tables))
{
    s.on_commit = fn;
}

int64_t sim_store_statements(void)
{
    return s.statements;
}
