/* The database seam: one connection, statements with bound parameters, bulk copy, transactions.
 * A driver is one `const struct db_ops` and one row of drivers[] in db.c: postgres, sqlite.
 * Thread rule: a struct db belongs to one thread. A lost connection is re-made by the next call after
 * a back-off; a call on a dead one answers E_AGAIN (or E_UNKNOWN for a commit whose answer was lost).
 * SQL is written in the part that PostgreSQL and SQLite share ($1.. parameters, ON CONFLICT, RETURNING);
 * what differs lives in the driver. Bulk writes are copy-into-staging + one set-based statement. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/rc.h"
#include "base/str.h"
#include "config/config.h"

struct db;
struct db_rows;

enum db_type { DB_NULL, DB_I64, DB_F64, DB_BOOL, DB_TEXT, DB_BYTES };

/* A parameter or a cell to copy: borrowed until the call returns. */
struct db_value {
    enum db_type type;
    union {
        int64_t i64;
        double f64;
        bool b;
        struct str s; /* TEXT: no NUL inside (E_INVALID); BYTES: any */
    };
};
#define DBV_NULL ((struct db_value){.type = DB_NULL})
#define DBV_I64(v) ((struct db_value){.type = DB_I64, .i64 = (v)})
#define DBV_F64(v) ((struct db_value){.type = DB_F64, .f64 = (v)})
#define DBV_BOOL(v) ((struct db_value){.type = DB_BOOL, .b = (v)})
#define DBV_TEXT(v) ((struct db_value){.type = DB_TEXT, .s = (v)})
#define DBV_TEXTZ(z) ((struct db_value){.type = DB_TEXT, .s = str_of(z)})
#define DBV_BYTES(v) ((struct db_value){.type = DB_BYTES, .s = (v)})

struct db_config {
    char *url;            /* DATABASE_URL, secret */
    int64_t connect_us;   /* DATABASE_CONNECT_TIMEOUT */
    int64_t statement_us; /* DATABASE_STATEMENT_TIMEOUT */
    bool migrate;         /* DATABASE_MIGRATE, true: apply missing migrations at start */
    char *app_name;       /* shown in pg_stat_activity; set by the service */
};
extern const struct config_key db_keys[];
extern const size_t db_keys_n;

/* Opens lazily: OK even when the server is down (the first call answers E_AGAIN then). E_INVALID: bad URL. */
rc_t db_open(struct db **ret, const struct db_config *cfg, struct err *e) MUST_CHECK;
void db_free(struct db *db);
bool db_alive(const struct db *db);

/* Runs one statement. ret_rows may be NULL. Rows are the caller's: db_rows_free.
 * E_AGAIN: not done, worth retrying (connection lost, serialisation, lock time-out, server starting);
 * a running transaction is then gone. (Outside a transaction the answer may be what was lost: the statement may have
 * been done after all; those of db/ can all be repeated.) E_CONFLICT: a unique or foreign key said no. E_INVALID: bad data. E_FATAL: our SQL is wrong. */
rc_t db_exec(struct db *db, const char *sql, const struct db_value *params, size_t n, struct db_rows **ret_rows,
             struct err *e) MUST_CHECK;
size_t db_rows_n(const struct db_rows *r);
int64_t db_rows_affected(const struct db_rows *r);
bool db_null(const struct db_rows *r, size_t row, size_t col);
int64_t db_i64(const struct db_rows *r, size_t row, size_t col); /* NULL gives 0 */
double db_f64(const struct db_rows *r, size_t row, size_t col);
bool db_bool(const struct db_rows *r, size_t row, size_t col);
struct str db_text(const struct db_rows *r, size_t row, size_t col); /* TEXT or BYTES; borrowed from r */
void db_rows_free(struct db_rows *r);
void db_rows_freep(struct db_rows **r);

/* Whether FROM may have LATERAL in it (PostgreSQL); else (SQLite) a subquery for each value does the same. */
bool db_has_lateral(const struct db *db);

rc_t db_begin(struct db *db, struct err *e) MUST_CHECK;
/* OK; E_AGAIN: surely not committed; E_UNKNOWN: the answer was lost, re-read before deciding. */
rc_t db_commit(struct db *db, struct err *e) MUST_CHECK;
void db_rollback(struct db *db); /* also right when no transaction is open */

/* Bulk load: values is n_rows × n_cols, row by row. columns is "a, b, c" in that order; table and columns
 * come from our own sources only. Types must be the columns' (I64 for every integer width). */
rc_t db_copy(struct db *db, const char *table, const char *columns, const struct db_value *values, size_t n_rows,
             size_t n_cols, struct err *e) MUST_CHECK;
/* A temporary table shaped like `like`, empty after this call, emptied by the transaction's end:
 * db_stage(db, "stage_results", "results"). Inside a transaction. */
rc_t db_stage(struct db *db, const char *stage, const char *like, struct err *e) MUST_CHECK;

/* The days (any instants in them) get their partitions in every time-keyed table. Own transaction; cheap when there. A row
 * whose day has been dropped meanwhile answers E_AGAIN: ensure its day again. E_INVALID: not in the years 1 to 9999. */
rc_t db_days_ensure(struct db *db, const int64_t *days_us, size_t n, struct err *e) MUST_CHECK;
/* Drops whole days of table that end before cutoff_us. ret_dropped may be NULL. */
rc_t db_days_drop(struct db *db, const char *table, int64_t cutoff_us, int *ret_dropped, struct err *e) MUST_CHECK;
/* The same, but needed() is asked in the transaction of each day, when nobody can write to that day any more: a day that ends
 * after *ret_from_us, and all after it, stay. */
typedef rc_t db_needed_fn(struct db *db, int64_t *ret_from_us, struct err *e);
rc_t db_days_drop_but(struct db *db, const char *table, int64_t cutoff_us, db_needed_fn *needed, int *ret_dropped,
                      struct err *e) MUST_CHECK;

/* A lock held by this connection as long as it lives (leadership). *ret false: another has it. Asking again for a lock that is
 * held asks the server whether the connection lives: the leader's check. E_FATAL: behind a transaction pooler. */
rc_t db_lock_try(struct db *db, const char *name, bool *ret, struct err *e) MUST_CHECK;

/* Migrations: applied once under a lock, numbered, checksummed, each in a transaction.
 * db_migrate makes the database if it is missing. db_schema_check: OK when the database has just the version
 * this binary knows; E_AGAIN with words "database is at 2, this binary wants 1: …" otherwise. */
rc_t db_migrate(struct db *db, struct err *e) MUST_CHECK;
rc_t db_schema_check(struct db *db, struct err *e) MUST_CHECK;
/* What tells this database from another, also one made anew under its name: when its first migration was applied. */
rc_t db_identity(struct db *db, int64_t *ret, struct err *e) MUST_CHECK;
/* What every service does before its first statement: db_migrate when cfg->migrate, else db_schema_check.
 * E_AGAIN with words until the database is there and right; the caller waits, shows the words in /readyz, and asks again. */
rc_t db_ready(struct db *db, struct err *e) MUST_CHECK;
