/* Reading rows back, the files of one schema at a time. */
#include "app/values.h"
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "db/endpoint.h"
#include "json/reader.h"

struct scan { /* of the files of one schema */
    const struct values_query *q;
    const char **names;      /* in the files: of the columns they have, and LAKE_OTHER */
    enum column_type *types; /* the same */
    size_t *places;          /* the same: which of the query's */
    size_t n;
    struct stat_value *values; /* of a row: q->n */
    struct json_reader json;
};

/* Parquet has two types of columns, the schema knows what is in them: 0 or 1 of a bool column is a bool, the text of a JSON
 * column is an array or an object. */
struct stat_value value_of_lake(const struct lake_column *c, enum column_type type, size_t row)
{
    if (c->missing[row])
        return (struct stat_value){.kind = STAT_MISSING};
    if (c->text)
        return type == COLUMN_JSON ? (struct stat_value){.kind = STAT_OTHER}
                                   : (struct stat_value){.kind = STAT_TEXT, .text = c->text[row]};
    bool is_bool = type == COLUMN_BOOL && (c->num[row] == 0 || c->num[row] == 1);
    return (struct stat_value){.kind = is_bool ? STAT_BOOL : STAT_NUMBER, .num = c->num[row]};
}

/* ---- columns ---- */
static const struct column *column_at(const struct schema *s, size_t i)
{
    return i < s->n_features ? &s->features[i] : &s->labels[i - s->n_features];
}

/* The same column in another schema: of its side and name. SIZE_MAX: none. */
static size_t find_column(const struct schema *in, const struct schema *of, size_t i)
{
    bool is_label = i >= of->n_features;
    size_t from = is_label ? in->n_features : 0, to = is_label ? in->n_features + in->n_labels : in->n_features;
    const char *name = column_at(of, i)->name;
    size_t guess = is_label ? from + i - of->n_features : i;
    if (guess < to && strcmp(column_at(in, guess)->name, name) == 0)
        return guess;
    for (size_t k = from; k < to; k++)
        if (strcmp(column_at(in, k)->name, name) == 0)
            return k;
    return SIZE_MAX;
}

/* names: of all columns of schema in a file. */
static void find_columns(struct scan *s, const struct schema *schema, char *const *names)
{
    s->n = 0;
    for (size_t i = 0; i < s->q->n; i++) {
        size_t at = find_column(schema, s->q->schema, s->q->first + i);
        if (at == SIZE_MAX)
            continue;
        s->names[s->n] = names[at];
        s->types[s->n] = column_at(schema, at)->type;
        s->places[s->n++] = i;
    }
    s->names[s->n] = LAKE_OTHER;
}

/* ---- rows ---- */
static bool read_other(struct json_reader *r, struct stat_value *ret)
{
    struct json_value v;
    switch (jr_value(r, &v)) {
    case JSON_NULL:
        *ret = (struct stat_value){.kind = STAT_MISSING};
        return true;
    case JSON_BOOL:
        *ret = (struct stat_value){.kind = STAT_BOOL, .num = v.b};
        return true;
    case JSON_NUMBER:
        *ret = (struct stat_value){.kind = STAT_NUMBER, .num = v.num.f64};
        return true;
    case JSON_STRING:
        *ret = (struct stat_value){.kind = STAT_TEXT, .text = v.s};
        return true;
    case JSON_ARRAY:
    case JSON_OBJECT:
        *ret = (struct stat_value){.kind = STAT_OTHER};
        return true;
    case JSON_NONE:
        break;
    }
    return false;
}

static rc_t take_others(struct scan *s, struct str text, struct err *e)
{
    const struct json_limits limits = {.depth = JSON_DEPTH_MAX,
                                       .values = INFERENCE_BYTES_MAX,
                                       .bytes = 64u << 20,
                                       .string_bytes = 8 * INFERENCE_STRING_MAX,
                                       .keys = 2 * INFERENCE_COLS_MAX,
                                       .accept_nan = true};
    struct str key;
    size_t at = 0; /* the order of both is the file's */
    jr_init(&s->json, text.p, text.n, &limits);
    for (bool in = jr_object(&s->json); in && jr_key(&s->json, &key);) {
        struct stat_value v;
        size_t tried = 0;
        for (; tried < s->n && !str_eqz(key, s->names[at]); tried++)
            at = at + 1 < s->n ? at + 1 : 0;
        if (!read_other(&s->json, &v))
            break;
        if (tried < s->n)
            s->values[s->places[at]] = v;
    }
    return jr_end(&s->json) ? OK : err_prefix(e, jr_error(&s->json, e), LAKE_OTHER ": ");
}

static rc_t take_batch(void *arg, const struct lake_batch *b, struct err *e)
{
    struct scan *s = arg;
    const struct lake_column *other = &b->cols[s->n];
    rc_t rc = OK;
    for (size_t row = 0; !rc && row < b->n_rows; row++) {
        for (size_t i = 0; i < s->n; i++)
            s->values[s->places[i]] = value_of_lake(&b->cols[i], s->types[i], row);
        if (other->text && !other->missing[row])
            rc = take_others(s, other->text[row], e);
        if (!rc)
            s->q->fn(s->q->arg, b->when_us[row], s->values);
    }
    return rc == E_LIMIT ? E_INVALID : rc;
}

/* ---- files ---- */
static rc_t read_files(struct lake_reader *r, struct scan *s, const struct schema *schema, const char *const *paths,
                       size_t n, struct err *e)
{
    char **names = lake_file_names(schema);
    find_columns(s, schema, names);
    for (size_t i = 0; i < s->q->n; i++)
        s->values[i] = (struct stat_value){.kind = STAT_MISSING};
    rc_t rc = lake_read(r, paths, n, s->names, s->n + 1, s->q->start_us, s->q->end_us, take_batch, s, e);
    lake_names_free(names, schema->n_features + schema->n_labels);
    return rc;
}

static int by_version(const void *a, const void *b)
{
    const struct values_file *x = a, *y = b;
    return (x->schema_version > y->schema_version) - (x->schema_version < y->schema_version);
}

rc_t values_read(struct lake_reader *r, const struct values_query *q, const struct values_file *files, size_t n,
                 values_schema_fn *schema_of, void *arg, struct err *e)
{
    CLEANUP(mem_freep) struct values_file *sorted = mem_array(n + 1, sizeof *sorted);
    CLEANUP(mem_freep) const char **paths = mem_array(n + 1, sizeof *paths);
    struct scan s = {.q = q,
                     .names = mem_array(q->n + 1, sizeof *s.names),
                     .types = mem_array(q->n + 1, sizeof *s.types),
                     .places = mem_array(q->n + 1, sizeof *s.places),
                     .values = mem_array(q->n + 1, sizeof *s.values)};
    rc_t rc = OK;
    if (n) {
        memcpy(sorted, files, n * sizeof *sorted);
        qsort(sorted, n, sizeof *sorted, by_version);
    }
    for (size_t i = 0, end; !rc && i < n; i = end) {
        const struct schema *schema = NULL;
        for (end = i; end < n && sorted[end].schema_version == sorted[i].schema_version; end++)
            paths[end - i] = sorted[end].path;
        rc = schema_of(arg, sorted[i].schema_version, &schema, e);
        if (!rc || rc == E_NOTFOUND)
            rc = read_files(r, &s, rc ? q->schema : schema, paths, end - i, e);
    }
    jr_done(&s.json);
    mem_free(s.names);
    mem_free(s.types);
    mem_free(s.places);
    mem_free(s.values);
    return rc;
}

rc_t values_schema_stored(void *arg, int version, const struct schema **ret, struct err *e)
{
    struct values_schemas *s = arg;
    struct endpoint_schema row = {0};
    rc_t rc = version > 0 ? schema_get(s->db, s->endpoint_id, version, 0, &row, e)
                          : err_set(e, E_NOTFOUND, "a file of no schema");
    schema_done(&s->schema);
    if (!rc)
        rc = schema_parse(str_of(row.document), &s->schema, e);
    endpoint_schema_done(&row);
    if (!rc)
        *ret = &s->schema;
    return rc;
}
