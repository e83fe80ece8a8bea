/* What a database driver is, and what the files of this folder share. Not for other folders. */
#pragma once
#include "base/map.h"
#include "db/db.h"

struct migration {
    int version;
    const char *name;
    const char *sql;
};
extern const struct migration migrations_postgres[];
extern const size_t migrations_postgres_n;
extern const struct migration migrations_sqlite[];
extern const size_t migrations_sqlite_n;

/* A result set, read out of the driver's own once: cells are plain, text points into owner. */
struct db_rows {
    size_t n, cols;
    int64_t affected;
    struct db_value *cells;
    void *owner;
    void (*owner_free)(void *owner);
};
struct db_rows *db_rows_new(size_t n, size_t cols);

/* The connection. Every function but open and close is called after ready() said OK. */
struct db_ops {
    const char *name;
    bool (*accepts)(const char *url);
    rc_t (*check)(const char *url, struct err *e); /* of one it accepts: can it be right? Words without the URL */
    rc_t (*open)(const struct db_config *cfg, void **ret_self, struct err *e);
    void (*close)(void *self);
    /* The number of the connection: another one after each reconnect, 0: none. */
    int64_t (*generation)(const void *self);
    /* Looks whether the connection is still there, and makes one when it is not and `connect` is set. */
    rc_t (*ready)(void *self, bool connect, struct err *e);
    rc_t (*begin)(void *self, struct err *e);
    rc_t (*exec)(void *self, const char *sql, const struct db_value *params, size_t n, struct db_rows **ret_rows,
                 struct err *e);
    /* Many statements in one text, without parameters; outside a transaction they are one. */
    rc_t (*script)(void *self, const char *sql, struct err *e);
    rc_t (*copy)(void *self, const char *table, const char *columns, const struct db_value *values, size_t n_rows,
                 size_t n_cols, struct err *e);
    rc_t (*commit)(void *self, struct err *e);
    void (*rollback)(void *self);
};

/* What each database does in its own words. */
struct db_dialect {
    const struct migration *migrations;
    const size_t *migrations_n;
    /* Many keys are best said in one statement, as an array: each statement is a round trip. */
    bool arrays;
    bool lateral;
    /* Conditions on endpoints.labels, cut where the numbers of parameters belong: it has a key; a key has a value. */
    struct {
        const char *has[2], *is[3];
    } labels;
    rc_t (*create)(void *self, struct err *e); /* the database itself, when it is missing */
    rc_t (*has_table)(void *self, const char *table, bool *ret, struct err *e);
    rc_t (*tx_lock)(void *self, int64_t key, struct err *e); /* held until the transaction's end; waits for others */
    rc_t (*stage)(void *self, const char *stage, const char *like, struct err *e);
    rc_t (*days_ensure)(void *self, const int64_t *days_us, size_t n, struct err *e);
    /* In a transaction: takes (some of) the rows of the oldest day that ends by cutoff_us. *ret_end_us: where it ends, 0: there is
     * none; *ret_whole: none of it is left. */
    rc_t (*day_drop)(void *self, const char *table, int64_t cutoff_us, int64_t *ret_end_us, bool *ret_whole, struct err *e);
    /* The first day of table that may have rows and does not end by from_us; *ret_there false: there is none. */
    rc_t (*day_next)(void *self, const char *table, int64_t from_us, int64_t *ret_us, bool *ret_there, struct err *e);
    rc_t (*lock_try)(void *self, const char *name, bool *ret, struct err *e);
};

struct db_driver {
    const struct db_ops *ops;
    const struct db_dialect *dialect;
};
extern const struct db_driver db_postgres, db_sqlite;

/* Tables whose rows belong to a day, and the column that says which. */
struct db_daily {
    const char *table, *column;
};
extern const struct db_daily db_dailies[];
extern const size_t db_dailies_n;

struct db {
    const struct db_ops *ops;
    const struct db_dialect *dialect;
    void *self;
    bool migrate; /* db_ready does it */
    bool in_tx;
    int64_t tx_generation; /* the connection that has the transaction */
};

/* For functions that need a transaction: joins the caller's, or opens one that db_scope_end commits (rc OK) or rolls
 * back. A lost commit answer becomes E_AGAIN here: use it only where doing the same again is harmless. */
rc_t db_scope_begin(struct db *db, bool *ret_own, struct err *e) MUST_CHECK;
rc_t db_scope_end(struct db *db, bool own, rc_t rc, struct err *e) MUST_CHECK;

/* db_exec that wants rows: E_NOTFOUND when there are none. */
rc_t db_one(struct db *db, const char *sql, const struct db_value *params, size_t n, struct db_rows **ret_rows,
            struct err *e) MUST_CHECK;
/* db_exec without rows; ret_affected may be NULL. */
rc_t db_run(struct db *db, const char *sql, const struct db_value *params, size_t n, int64_t *ret_affected,
            struct err *e) MUST_CHECK;
rc_t db_day_next(struct db *db, const char *table, int64_t from_us, int64_t *ret_us, bool *ret_there,
                 struct err *e) MUST_CHECK; /* the dialect's */
rc_t db_script(struct db *db, const char *sql, struct err *e) MUST_CHECK;
/* Inside a transaction: waits until no other transaction has the lock of this number. */
rc_t db_tx_lock(struct db *db, int64_t key, struct err *e) MUST_CHECK;

char *db_dup(const struct db_rows *r, size_t row, size_t col); /* a cell's text, the caller's */
#define DB_I32(r, row, col) ((int32_t)db_i64((r), (row), (col)))
#define DB_PARAMS(...)                                                                                                 \
    (const struct db_value[]){__VA_ARGS__}, sizeof((const struct db_value[]){__VA_ARGS__}) / sizeof(struct db_value)
