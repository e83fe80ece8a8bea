/* SQLite: statements with bound parameters, prepared once a connection; their rows; bulk load. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <strings.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/text.h"
#include "db/sqlite.h"

#define MAX_STATEMENTS 256
#define MAX_PARAMS 4096

/* SQLite makes NULL of a NaN. It is kept as these bytes, which, as in PostgreSQL, are larger than every number. */
static const char nan_bytes[] = {'N', 'a', 'N', (char)0xf8, (char)0x7f};

/* --- preparing --- */
static void statement_free(struct sqlite_statement *st)
{
    (void)sqlite3_finalize(st->stmt); /* repeats the error of the last step */
    mem_free(st->values);
    mem_free(st->kinds);
    mem_free(st);
}

void sqlite_statements_forget(struct sqlite *s)
{
    struct map_iter it = {0};
    while (map_next(&s->statements, &it))
        statement_free(it.value);
    map_done(&s->statements);
    s->statements = (struct map){0};
}

static enum sqlite_kind kind_of(const char *declared)
{
    static const struct {
        const char *name;
        enum sqlite_kind kind;
    } rows[] = {
        {"smallint", KIND_I16},         {"integer", KIND_I32}, {"bigint", KIND_I64},
        {"double precision", KIND_F64}, {"real", KIND_F64},    {"boolean", KIND_BOOL},
        {"text", KIND_STRING},          {"bytea", KIND_BYTES}, {"blob", KIND_BYTES},
    };
    for (size_t i = 0; declared && i < sizeof rows / sizeof *rows; i++)
        if (strcasecmp(declared, rows[i].name) == 0)
            return rows[i].kind;
    return KIND_ANY;
}

/* BEGIN IMMEDIATE has locked everything: what PostgreSQL is told to lock at the end of a SELECT is said already. */
static size_t without_row_locks(const char *sql)
{
    static const char *const tails[] = {" FOR UPDATE", " FOR SHARE"};
    size_t n = strlen(sql);
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        size_t tail = strlen(tails[i]);
        if (n > tail && strcmp(sql + n - tail, tails[i]) == 0)
            return n - tail;
    }
    return n;
}

/* $3 is a name to SQLite, with a number in the order of appearance. */
static rc_t map_params(struct sqlite_statement *st, struct err *e)
{
    st->n_params = (size_t)sqlite3_bind_parameter_count(st->stmt);
    st->values = mem_array(st->n_params + 1, sizeof *st->values);
    for (size_t i = 0; i < st->n_params; i++) {
        const char *name = sqlite3_bind_parameter_name(st->stmt, (int)i + 1);
        long at = name && *name == '$' ? strtol(name + 1, NULL, 10) : 0;
        if (at < 1 || at > MAX_PARAMS)
            return err_set(e, E_FATAL, "no parameter: %s", name ? name : "?");
        st->values[i] = (unsigned short)(at - 1);
    }
    return OK;
}

static rc_t prepare(struct sqlite *s, const char *sql, struct sqlite_statement **ret, struct err *e)
{
    struct sqlite_statement *st = map_get(&s->statements, str_of(sql));
    if (st) {
        *ret = st;
        return OK;
    }
    sqlite3_stmt *stmt = NULL;
    size_t n = without_row_locks(sql);
    if (n > INT_MAX)
        return err_set(e, E_INVALID, "a statement of %zu bytes", n);
    int code = sqlite3_prepare_v3(s->conn, sql, (int)n, SQLITE_PREPARE_PERSISTENT, &stmt, NULL);
    if (code != SQLITE_OK)
        return sqlite_failed(s, code, e);
    if (!stmt)
        return err_set(e, E_FATAL, "an empty statement");
    if (s->statements.len >= MAX_STATEMENTS) /* lists with filters make new texts: all are made again */
        sqlite_statements_forget(s);
    st = mem_alloc(sizeof *st);
    st->stmt = stmt;
    st->n_cols = (size_t)sqlite3_column_count(stmt);
    st->kinds = mem_array(st->n_cols + 1, sizeof *st->kinds);
    for (size_t i = 0; i < st->n_cols; i++)
        st->kinds[i] = (unsigned char)kind_of(sqlite3_column_decltype(stmt, (int)i));
    rc_t rc = map_params(st, e);
    if (rc) {
        statement_free(st);
        return rc;
    }
    map_put(&s->statements, str_of(sql), st);
    *ret = st;
    return OK;
}

/* --- binding --- */
static rc_t bind(struct sqlite *s, sqlite3_stmt *stmt, int at, const struct db_value *v, struct err *e)
{
    int code = SQLITE_OK;
    const char *p = v->type >= DB_TEXT && v->s.n ? v->s.p : "";
    switch (v->type) {
    case DB_NULL:
        code = sqlite3_bind_null(stmt, at);
        break;
    case DB_I64:
        code = sqlite3_bind_int64(stmt, at, v->i64);
        break;
    case DB_F64:
        code = isnan(v->f64) ? sqlite3_bind_blob(stmt, at, nan_bytes, sizeof nan_bytes, SQLITE_STATIC)
                             : sqlite3_bind_double(stmt, at, v->f64);
        break;
    case DB_BOOL:
        code = sqlite3_bind_int(stmt, at, v->b);
        break;
    case DB_TEXT:
        if (v->s.n && memchr(v->s.p, '\0', v->s.n))
            return err_set(e, E_INVALID, "text with a NUL byte in it (parameter %d)", at);
        if (!text_is_utf8(v->s))
            return err_set(e, E_INVALID, "text that is not UTF-8 (parameter %d)", at);
        code = sqlite3_bind_text64(stmt, at, p, v->s.n, SQLITE_STATIC, SQLITE_UTF8);
        break;
    case DB_BYTES:
        code = sqlite3_bind_blob64(stmt, at, p, v->s.n, SQLITE_STATIC);
        break;
    }
    return code == SQLITE_OK ? OK : sqlite_failed(s, code, e);
}

static rc_t bind_all(struct sqlite *s, const struct sqlite_statement *st, const struct db_value *params, size_t n,
                     struct err *e)
{
    rc_t rc = OK;
    for (size_t i = 0; i < st->n_params && !rc; i++)
        rc = st->values[i] < n ? bind(s, st->stmt, (int)i + 1, &params[st->values[i]], e)
                               : err_set(e, E_FATAL, "parameter $%d is not given", st->values[i] + 1);
    return rc;
}

/* --- rows --- */
static void arena_free(void *arena)
{
    arena_done(arena);
    mem_free(arena);
}

static struct db_value read_cell(sqlite3_stmt *stmt, int col, enum sqlite_kind kind, struct arena *texts)
{
    switch (sqlite3_column_type(stmt, col)) {
    case SQLITE_INTEGER:
        if (kind == KIND_BOOL)
            return DBV_BOOL(sqlite3_column_int64(stmt, col) != 0);
        return kind == KIND_F64 ? DBV_F64(sqlite3_column_double(stmt, col)) : DBV_I64(sqlite3_column_int64(stmt, col));
    case SQLITE_FLOAT:
        return DBV_F64(sqlite3_column_double(stmt, col));
    case SQLITE_TEXT: {
        const char *p = (const char *)sqlite3_column_text(stmt, col);
        return DBV_TEXT(arena_str(texts, ((struct str){p, (size_t)sqlite3_column_bytes(stmt, col)})));
    }
    case SQLITE_BLOB: {
        struct str s = {sqlite3_column_blob(stmt, col), (size_t)sqlite3_column_bytes(stmt, col)};
        if (kind != KIND_BYTES && str_eq(s, (struct str){nan_bytes, sizeof nan_bytes}))
            return DBV_F64((double)NAN);
        return DBV_BYTES(arena_str(texts, s));
    }
    default:
        return DBV_NULL;
    }
}

static struct db_rows *rows_new(size_t cols)
{
    struct db_rows *r = db_rows_new(0, cols);
    r->owner = mem_alloc(sizeof(struct arena));
    r->owner_free = arena_free;
    return r;
}

static void read_row(struct db_rows *r, const struct sqlite_statement *st, size_t *cap)
{
    if (r->n == *cap) {
        *cap = *cap ? *cap * 2 : 8;
        r->cells = mem_grow(r->cells, *cap * r->cols + 1, sizeof *r->cells);
    }
    for (size_t i = 0; i < r->cols; i++)
        r->cells[r->n * r->cols + i] = read_cell(st->stmt, (int)i, st->kinds[i], r->owner);
    r->n++;
}

static rc_t run(struct sqlite *s, struct sqlite_statement *st, struct db_rows **ret_rows, struct err *e)
{
    struct db_rows *r = ret_rows ? rows_new(st->n_cols) : NULL;
    size_t cap = 0;
    int code;
    s->deadline_us = clock_mono_us() + s->statement_us;
    while ((code = sqlite3_step(st->stmt)) == SQLITE_ROW)
        if (r)
            read_row(r, st, &cap);
    rc_t rc = code == SQLITE_DONE ? OK : sqlite_failed(s, code, e);
    if (r)
        r->affected = sqlite3_stmt_readonly(st->stmt) ? (int64_t)r->n : sqlite3_changes64(s->conn);
    (void)sqlite3_reset(st->stmt); /* repeats the error of the step */
    if (rc)
        db_rows_free(r);
    else if (ret_rows)
        *ret_rows = r;
    return rc;
}

/* --- one statement --- */
/* As in PostgreSQL, what fails inside a transaction ends it, unless it goes back to a savepoint. */
static rc_t may_run(struct sqlite *s, const char *sql, struct err *e)
{
    if (!s->failed)
        return OK;
    if (strncmp(sql, "ROLLBACK TO", 11) != 0 || sqlite3_get_autocommit(s->conn))
        return err_set(e, E_AGAIN, "a statement of the transaction had failed: it can only be rolled back");
    s->failed = false;
    return OK;
}

rc_t sqlite_exec(void *self, const char *sql, const struct db_value *params, size_t n, struct db_rows **ret_rows,
                 struct err *e)
{
    struct sqlite *s = self;
    struct sqlite_statement *st = NULL;
    if (n > MAX_PARAMS)
        return err_set(e, E_INVALID, "more than %d parameters", MAX_PARAMS);
    rc_t rc = may_run(s, sql, e);
    if (rc)
        return rc;
    rc = prepare(s, sql, &st, e);
    if (!rc)
        rc = bind_all(s, st, params, n, e);
    if (!rc && !s->tx && !sqlite3_stmt_readonly(st->stmt))
        rc = sqlite_write_begin(s, e);
    if (!rc)
        rc = run(s, st, ret_rows, e);
    if (st)
        (void)sqlite3_clear_bindings(st->stmt); /* always OK; the values are the caller's */
    s->failed = s->failed || (rc && s->tx);
    sqlite_write_end(s);
    return rc;
}

rc_t sqlite_script(void *self, const char *sql, struct err *e)
{
    struct sqlite *s = self;
    bool own = !s->tx;
    rc_t rc = own ? sqlite_begin(s, e) : may_run(s, sql, e);
    if (rc)
        return rc;
    s->deadline_us = clock_mono_us() + s->statement_us;
    int code = sqlite3_exec(s->conn, sql, NULL, NULL, NULL);
    if (code == SQLITE_OK)
        return own ? sqlite_commit(s, e) : OK;
    rc = sqlite_failed(s, code, e);
    s->failed = true;
    if (own)
        sqlite_rollback(s);
    return rc;
}

/* --- bulk --- */
static rc_t fits(enum sqlite_kind kind, const struct db_value *v, struct err *e)
{
    static const enum db_type types[] = {
        [KIND_I16] = DB_I64,   [KIND_I32] = DB_I64,     [KIND_I64] = DB_I64,     [KIND_F64] = DB_F64,
        [KIND_BOOL] = DB_BOOL, [KIND_STRING] = DB_TEXT, [KIND_BYTES] = DB_BYTES,
    };
    if (v->type == DB_NULL || kind == KIND_ANY)
        return OK;
    if (v->type != types[kind])
        return err_set(e, E_FATAL, "a value of another type than its column");
    bool narrow = (kind == KIND_I16 && (v->i64 < INT16_MIN || v->i64 > INT16_MAX)) ||
                  (kind == KIND_I32 && (v->i64 < INT32_MIN || v->i64 > INT32_MAX));
    return narrow ? err_set(e, E_INVALID, "%lld is too large for its column", (long long)v->i64) : OK;
}

/* *ret_insert: the statement; *ret_shape: one that knows the columns' types. */
static rc_t copy_prepare(struct sqlite *s, const char *table, const char *columns, size_t n_cols,
                         struct sqlite_statement **ret_insert, struct sqlite_statement **ret_shape, struct err *e)
{
    CLEANUP(buf_done) struct buf sql = {0};
    buf_addf(&sql, "SELECT %s FROM %s LIMIT 0", columns, table);
    rc_t rc = prepare(s, sql.data, ret_shape, e);
    if (!rc && (*ret_shape)->n_cols != n_cols)
        rc = err_set(e, E_FATAL, "%zu values for %zu columns", n_cols, (*ret_shape)->n_cols);
    if (rc)
        return rc;
    buf_clear(&sql);
    buf_addf(&sql, "INSERT INTO %s (%s) VALUES (", table, columns);
    for (size_t i = 0; i < n_cols; i++)
        buf_addf(&sql, "%s$%zu", i ? ", " : "", i + 1);
    buf_addc(&sql, ')');
    return prepare(s, sql.data, ret_insert, e);
}

static rc_t copy_row(struct sqlite *s, const struct sqlite_statement *insert, const struct sqlite_statement *shape,
                     const struct db_value *row, struct err *e)
{
    rc_t rc = OK;
    for (size_t i = 0; i < shape->n_cols && !rc; i++)
        rc = fits(shape->kinds[i], &row[i], e);
    for (size_t i = 0; i < shape->n_cols && !rc; i++)
        rc = bind(s, insert->stmt, (int)i + 1, &row[i], e);
    if (rc)
        return rc;
    int code = sqlite3_step(insert->stmt);
    rc = code == SQLITE_DONE ? OK : sqlite_failed(s, code, e);
    (void)sqlite3_reset(insert->stmt); /* repeats the error of the step */
    return rc;
}

static rc_t copy_rows(struct sqlite *s, const char *table, const char *columns, const struct db_value *values,
                      size_t n_rows, size_t n_cols, struct err *e)
{
    struct sqlite_statement *insert = NULL, *shape = NULL;
    if (s->statements.len + 2 > MAX_STATEMENTS) /* so that neither of the two pushes the other out */
        sqlite_statements_forget(s);
    rc_t rc = copy_prepare(s, table, columns, n_cols, &insert, &shape, e);
    s->deadline_us = clock_mono_us() + s->statement_us;
    for (size_t i = 0; i < n_rows && !rc; i++)
        rc = copy_row(s, insert, shape, values + i * n_cols, e);
    if (insert)
        (void)sqlite3_clear_bindings(insert->stmt); /* always OK */
    return rc;
}

rc_t sqlite_copy(void *self, const char *table, const char *columns, const struct db_value *values, size_t n_rows,
                 size_t n_cols, struct err *e)
{
    struct sqlite *s = self;
    bool own = !s->tx;
    rc_t rc = own ? sqlite_begin(s, e) : may_run(s, "", e);
    if (rc)
        return rc;
    rc = copy_rows(s, table, columns, values, n_rows, n_cols, e);
    s->failed = s->failed || rc;
    if (own && !rc)
        return sqlite_commit(s, e);
    if (own)
        sqlite_rollback(s);
    return rc;
}
