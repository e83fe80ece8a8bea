/* The SQLite driver's own state and the steps its files share. */
#pragma once
#include <sqlite3.h>

#include "base/clock.h"
#include "base/map.h"
#include "db/driver.h"

/* One database file as this process sees it: shared by its connections, one of which may write at a time. */
struct sqlite_file;
struct sqlite_file *sqlite_file_get(const char *path);
void sqlite_file_put(struct sqlite_file *f);
bool sqlite_file_lock(struct sqlite_file *f, int64_t timeout_us); /* false: out of time */
void sqlite_file_unlock(struct sqlite_file *f);

enum sqlite_kind { /* what a column was declared as */
                   KIND_ANY,
                   KIND_I16,
                   KIND_I32,
                   KIND_I64,
                   KIND_F64,
                   KIND_BOOL,
                   KIND_STRING,
                   KIND_BYTES,
};

struct sqlite_statement {
    sqlite3_stmt *stmt;
    size_t n_params, n_cols;
    unsigned short *values; /* of each of SQLite's parameters: which of the caller's */
    unsigned char *kinds;   /* of the columns */
};

struct sqlite {
    char *path;
    int64_t statement_us, lock_us;
    struct sqlite_file *file;
    sqlite3 *conn; /* NULL: not open */
    int64_t deadline_us;
    bool tx, writing; /* BEGIN was said; the writer's lock is ours */
    bool failed;      /* a statement of the transaction has failed: it cannot be committed */
    struct map statements;
    struct map stages; /* temporary tables that are there → the transaction that used each last */
    uint64_t transactions;
    struct map locks; /* name → lock file's descriptor, and one */
};

/* SQLite's answer in our codes; the words are the connection's. */
rc_t sqlite_failed(const struct sqlite *s, int code, struct err *e);
rc_t sqlite_open_file(struct sqlite *s, bool create, struct err *e) MUST_CHECK;
rc_t sqlite_begin(void *self, struct err *e) MUST_CHECK;
rc_t sqlite_commit(void *self, struct err *e) MUST_CHECK;
void sqlite_rollback(void *self);
rc_t sqlite_exec(void *self, const char *sql, const struct db_value *params, size_t n, struct db_rows **ret_rows,
                 struct err *e) MUST_CHECK;
rc_t sqlite_script(void *self, const char *sql, struct err *e) MUST_CHECK;
rc_t sqlite_copy(void *self, const char *table, const char *columns, const struct db_value *values, size_t n_rows,
                 size_t n_cols, struct err *e) MUST_CHECK;
void sqlite_statements_forget(struct sqlite *s);
/* The writer's lock for a statement outside of a transaction, or in it nothing. */
rc_t sqlite_write_begin(struct sqlite *s, struct err *e) MUST_CHECK;
void sqlite_write_end(struct sqlite *s);
/* Functions that PostgreSQL has and SQLite has not, for the SQL both run. */
int sqlite_functions_add(sqlite3 *conn);
extern const struct db_dialect sqlite_dialect;
