/* What the files of the simulated database share: transactions over one SQLite connection, and their locks. One transaction's changes are
 * in SQLite at a time; the others' are taken out, and put in again when their turn comes. */
#pragma once
#include "db/sqlite.h"
#include "store.h"

struct op {
    enum { OP_EXEC, OP_COPY, OP_STAGE } kind;
    char *sql, *columns; /* of COPY and STAGE: the table, and its columns or what it is like */
    struct db_value *values;
    size_t n, n_rows, n_cols;
    uint64_t did; /* what it answered */
};
struct tx {
    struct op *ops;
    size_t n, cap;
    unsigned tables;
    bool failed, doomed; /* doomed: done again it did something else */
};

void tx_open(void); /* once */
void tx_begin_all(void);
void tx_end_all(void);
struct sqlite *tx_sqlite(void);
uint64_t tx_mix(uint64_t h, const void *p, size_t n);
void tx_plain(const char *sql); /* the simulation's own SQL */

struct tx *tx_new(void);
void tx_put_in(struct tx *tx); /* NULL: only what is committed is there */
rc_t tx_apply(struct op *op, struct db_rows **ret, struct err *e) MUST_CHECK;
/* tx NULL: a statement of its own. Done, or taken back because it met a lock (*ret_met). */
rc_t tx_write(struct tx *tx, struct op *op, bool *ret_met, struct db_rows **ret, struct err *e) MUST_CHECK;
rc_t tx_commit(struct tx *tx, struct err *e) MUST_CHECK;
void tx_rollback(struct tx *tx);
void tx_committed_alone(void); /* a statement of its own was done */

/* Locks, to the end of the transaction; who waits is told (world_notify) by each end. */
bool tx_meets(const struct tx *tx, const uint64_t *keys, size_t n, bool shared);
void tx_lock_add(const struct tx *tx, uint64_t key, bool shared); /* tx NULL: none */
const void *tx_ends(void);                                        /* the key to wait for */
