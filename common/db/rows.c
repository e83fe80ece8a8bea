/* Reading a result set: typed access to its cells. */
#include <assert.h>

#include "base/mem.h"
#include "db/driver.h"

struct db_rows *db_rows_new(size_t n, size_t cols)
{
    struct db_rows *r = mem_alloc(sizeof *r);
    r->n = n;
    r->cols = cols;
    r->cells = mem_array(n * cols + 1, sizeof *r->cells);
    return r;
}

size_t db_rows_n(const struct db_rows *r)
{
    return r ? r->n : 0;
}

int64_t db_rows_affected(const struct db_rows *r)
{
    return r ? r->affected : 0;
}

static const struct db_value *cell(const struct db_rows *r, size_t row, size_t col)
{
    assert(r && row < r->n && col < r->cols);
    return &r->cells[row * r->cols + col];
}

bool db_null(const struct db_rows *r, size_t row, size_t col)
{
    return cell(r, row, col)->type == DB_NULL;
}

int64_t db_i64(const struct db_rows *r, size_t row, size_t col)
{
    const struct db_value *v = cell(r, row, col);
    if (v->type == DB_NULL)
        return 0;
    assert(v->type == DB_I64 || v->type == DB_BOOL);
    return v->type == DB_I64 ? v->i64 : v->b;
}

double db_f64(const struct db_rows *r, size_t row, size_t col)
{
    const struct db_value *v = cell(r, row, col);
    if (v->type == DB_NULL)
        return 0;
    assert(v->type == DB_F64 || v->type == DB_I64);
    return v->type == DB_F64 ? v->f64 : (double)v->i64;
}

bool db_bool(const struct db_rows *r, size_t row, size_t col)
{
    const struct db_value *v = cell(r, row, col);
    if (v->type == DB_NULL)
        return false;
    assert(v->type == DB_BOOL || v->type == DB_I64);
    return v->type == DB_BOOL ? v->b : v->i64 != 0; /* SQLite's truth is a number */
}

struct str db_text(const struct db_rows *r, size_t row, size_t col)
{
    const struct db_value *v = cell(r, row, col);
    if (v->type == DB_NULL)
        return (struct str){"", 0};
    assert(v->type == DB_TEXT || v->type == DB_BYTES);
    return v->s;
}

char *db_dup(const struct db_rows *r, size_t row, size_t col)
{
    struct str s = db_text(r, row, col);
    return mem_dup(s.p, s.n);
}

void db_rows_free(struct db_rows *r)
{
    if (!r)
        return;
    if (r->owner_free)
        r->owner_free(r->owner);
    mem_free(r->cells);
    mem_free(r);
}

void db_rows_freep(struct db_rows **r)
{
    db_rows_free(*r);
    *r = NULL;
}
