/* Reading the first rows: once their times alone, to find where they end, then their columns, some at a time. */
#include "app/first_rows.h"
#include <stdlib.h>
#include "app/values.h"
#include "base/mem.h"
#include "json/write.h"
#include "stats/reference.h"

#define TIES_MAX 100000           /* rows of the last instant that are taken beyond n */
#define VALUES_AT_ONCE (1u << 20) /* bounds memory: 32 MiB, and the texts */

struct files {
    struct db_rows *held;
    struct manifest_row *rows;
    const char **paths; /* of rows */
    size_t n;
};

struct times {
    int64_t *v;
    size_t n, cap;
};

struct span { /* which rows, and room for the columns of one reading */
    const struct schema *schema;
    size_t first, n_columns; /* of the schema, features before labels */
    int64_t until_us;
    struct stat_value *values; /* column by column, cap each */
    size_t n, cap;
    struct arena *texts;
};

void first_rows_done(struct first_rows *f)
{
    buf_done(&f->statistics);
    buf_done(&f->labels);
    *f = (struct first_rows){0};
}

/* ---- files ---- */
static int by_end(const void *a, const void *b)
{
    const struct manifest_row *x = a, *y = b;
    return (x->max_us > y->max_us) - (x->max_us < y->max_us);
}

/* Drops those that begin after n rows have ended: a row in them has at least n before it. */
static void keep_first(struct files *f, int64_t n)
{
    int64_t have = 0, bound = INT64_MAX;
    size_t kept = 0;
    qsort(f->rows, f->n, sizeof *f->rows, by_end);
    for (size_t i = 0; i < f->n && bound == INT64_MAX; i++) {
        have += f->rows[i].rows;
        bound = have >= n ? f->rows[i].max_us : INT64_MAX;
    }
    for (size_t i = 0; i < f->n; i++)
        if (f->rows[i].min_us <= bound)
            f->rows[kept++] = f->rows[i];
    f->n = kept;
}

static rc_t files_find(struct db *db, const struct endpoint *ep, int64_t n, int64_t end_us, struct arena *a,
                       struct files *f, struct err *e)
{
    int64_t rows = 0;
    rc_t rc = manifest_files(db, ep->project_id, ep->id, 0, end_us, &f->rows, &f->n, &f->held, e);
    for (size_t i = 0; !rc && i < f->n; i++)
        rows += f->rows[i].rows;
    if (!rc && rows < n)
        rc = err_set(e, E_NOTFOUND, "the lake has %lld rows of the endpoint", (long long)rows);
    if (rc)
        return rc;
    keep_first(f, n);
    f->paths = arena_array(a, f->n + 1, sizeof *f->paths);
    for (size_t i = 0; i < f->n; i++)
        f->paths[i] = arena_dup(a, f->rows[i].path.p, f->rows[i].path.n);
    return OK;
}

/* ---- where they end ---- */
static rc_t note_times(void *arg, const struct lake_batch *b, struct err *e)
{
    struct times *t = arg;
    (void)e; /* cannot fail */
    if (t->n + b->n_rows > t->cap) {
        t->cap = 2 * t->cap + b->n_rows;
        t->v = mem_grow(t->v, t->cap, sizeof *t->v);
    }
    memcpy(t->v + t->n, b->when_us, b->n_rows * sizeof *t->v);
    t->n += b->n_rows;
    return OK;
}

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static rc_t find_end(struct lake_reader *r, const struct files *f, int64_t n, int64_t end_us, int64_t *ret_us,
                     int64_t *ret_rows, struct err *e)
{
    struct times t = {0};
    rc_t rc = lake_read(r, f->paths, f->n, NULL, 0, 0, end_us, note_times, &t, e);
    if (!rc && t.n < (size_t)n)
        rc = err_set(e, E_NOTFOUND, "the lake has %zu rows of the endpoint", t.n);
    if (!rc) {
        qsort(t.v, t.n, sizeof *t.v, ascending);
        size_t last = (size_t)n;
        while (last < t.n && t.v[last] == t.v[n - 1] && last < (size_t)n + TIES_MAX)
            last++;
        *ret_us = t.v[n - 1];
        *ret_rows = (int64_t)last;
    }
    mem_free(t.v);
    return rc;
}

/* ---- columns ---- */
static const struct column *column_at(const struct schema *s, size_t i)
{
    return i < s->n_features ? &s->features[i] : &s->labels[i - s->n_features];
}

static void take_row(void *arg, int64_t when_us, const struct stat_value *values)
{
    struct span *s = arg;
    (void)when_us;
    if (s->n == s->cap)
        return;
    for (size_t c = 0; c < s->n_columns; c++) {
        struct stat_value v = values[c];
        if (v.kind == STAT_TEXT)
            v.text = arena_str(s->texts, v.text);
        s->values[c * s->cap + s->n] = v;
    }
    s->n++;
}

/* So that a mean does not depend on the order of adding. Texts are sorted where they are counted. */
static int by_number(const void *a, const void *b)
{
    const struct stat_value *x = a, *y = b;
    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    return (x->num > y->num) - (x->num < y->num);
}

static rc_t add_columns(struct lake_reader *r, const struct values_file *files, size_t n,
                        struct values_schemas *schemas, struct span *s, struct reference *to, struct err *e)
{
    struct arena mem = {0};
    const struct values_query q = {
        .schema = s->schema, .first = s->first, .n = s->n_columns, .end_us = s->until_us + 1, .fn = take_row, .arg = s};
    s->texts = &mem;
    s->n = 0;
    rc_t rc = values_read(r, &q, files, n, values_schema_stored, schemas, e);
    for (size_t i = 0; !rc && i < s->n_columns; i++) {
        struct stat_value *column = s->values + i * s->cap;
        size_t at = s->first + i;
        qsort(column, s->n, sizeof *column, by_number);
        rc = reference_add_values(to, str_of(column_at(s->schema, at)->name), at >= s->schema->n_features, column, s->n, e);
    }
    arena_done(&mem);
    return rc;
}

static rc_t read_columns(struct lake_reader *r, struct values_schemas *schemas, const struct files *f,
                         const struct schema *schema, int64_t until_us, int64_t rows, struct reference *to, struct err *e)
{
    size_t all = schema->n_features + schema->n_labels, at_once = VALUES_AT_ONCE / (size_t)rows;
    at_once = at_once == 0 ? 1 : at_once < all ? at_once : all;
    struct span s = {.schema = schema, .until_us = until_us, .cap = (size_t)rows};
    struct values_file *files = mem_array(f->n + 1, sizeof *files);
    for (size_t i = 0; i < f->n; i++)
        files[i] = (struct values_file){f->paths[i], f->rows[i].schema_version};
    s.values = mem_array(at_once * s.cap + 1, sizeof *s.values);
    rc_t rc = OK;
    for (; !rc && s.first < all; s.first += s.n_columns) {
        s.n_columns = all - s.first < at_once ? all - s.first : at_once;
        rc = add_columns(r, files, f->n, schemas, &s, to, e);
    }
    mem_free(s.values);
    mem_free(files);
    return rc;
}

/* ---- all of it ---- */
static void print_labels(const struct schema *s, struct buf *out)
{
    struct json_writer w;
    jw_init(&w, out, JSON_NAN_NULL);
    jw_array(&w);
    for (size_t i = 0; i < s->n_labels; i++)
        jw_strz(&w, s->labels[i].name);
    jw_array_end(&w);
}

static rc_t make(struct lake_reader *r, struct values_schemas *schemas, const struct files *f,
                 const struct schema *schema, int64_t n, int64_t end_us, struct first_rows *ret, struct err *e)
{
    CLEANUP(reference_freep) struct reference *ref = reference_new();
    struct first_rows made = {0};
    rc_t rc = find_end(r, f, n, end_us, &made.until_us, &made.rows, e);
    if (!rc)
        rc = read_columns(r, schemas, f, schema, made.until_us, made.rows, ref, e);
    if (rc)
        return rc;
    reference_to_json(ref, false, &made.statistics);
    print_labels(schema, &made.labels);
    *ret = made;
    return OK;
}

rc_t first_rows_read(struct lake_reader *r, struct db *db, const struct endpoint *ep, int64_t n, int64_t end_us,
                     struct first_rows *ret, struct err *e)
{
    struct arena mem = {0};
    struct files f = {0};
    struct endpoint_schema row = {0};
    struct schema schema = {0};
    struct values_schemas schemas = {.db = db, .endpoint_id = ep->id};
    rc_t rc = schema_get(db, ep->id, 0, 0, &row, e);
    if (!rc)
        rc = schema_parse(str_of(row.document), &schema, e);
    if (!rc)
        rc = files_find(db, ep, n, end_us, &mem, &f, e);
    if (!rc)
        rc = make(r, &schemas, &f, &schema, n, end_us, ret, e);
    mem_free(f.rows);
    db_rows_free(f.held);
    schema_done(&schema);
    schema_done(&schemas.schema);
    endpoint_schema_done(&row);
    arena_done(&mem);
    return rc;
}
