/* Tensors of the V2 inference protocol (KServe, Triton, MLServer) as rows: the first dimension is the row. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "event/decoder.h"

#define RANK_MAX 16

struct tensor {
    struct str name;
    enum json_type wants; /* of its values; JSON_NONE: any */
    bool has_data, has_shape;
    size_t rank, rows, cols;
    size_t first, n; /* its values */
    size_t at;       /* byte in the list */
};

struct reading {
    struct json_reader r;
    struct rows *rows;
    struct tensor *tensors;
    size_t n, cap;
    const char *field;
    struct reject *why;
    bool refused;
};

bool tensors_are(const struct rows *rows)
{
    bool shape = false, type = false;
    for (size_t i = 0; rows->form == ROWS_DICTS && i < rows->n_names; i++) {
        shape |= str_eqz(rows->names[i], "shape");
        type |= str_eqz(rows->names[i], "datatype");
    }
    return shape && type;
}

static bool refuse(struct reading *g, enum reject_code code, size_t at, const char *text)
{
    char path[64], field[96];
    if (jr_failed(&g->r))
        return false;
    (void)jr_path(&g->r, path, sizeof path);
    (void)snprintf(field, sizeof field, "%s%s", g->field, path); /* cut to fit */
    (void)reject_set(g->why, code, field, g->rows->offset + at, "%s", text);
    g->refused = true;
    return false;
}

static bool read_shape(struct reading *g, struct tensor *t)
{
    int64_t dim;
    t->has_shape = true;
    t->rank = 0;
    t->rows = t->cols = 1;
    if (!jr_array(&g->r))
        return false;
    while (jr_item(&g->r)) {
        size_t at = jr_offset(&g->r);
        if (!jr_i64(&g->r, &dim))
            return false;
        if (dim < 0 || dim > INFERENCE_BYTES_MAX || t->rank == RANK_MAX)
            return refuse(g, REJECT_BAD_VALUE, at, "no tensor has this shape");
        size_t *into = t->rank++ == 0 ? &t->rows : &t->cols;
        *into *= (size_t)dim;
        if (*into > INFERENCE_BYTES_MAX)
            return refuse(g, REJECT_TOO_LARGE, at, "the tensor has more values than the record has bytes");
    }
    return !jr_failed(&g->r);
}

static bool read_datatype(struct reading *g, struct tensor *t)
{
    static const struct {
        const char *name;
        enum json_type wants;
    } types[] = {{"BOOL", JSON_BOOL},     {"UINT8", JSON_NUMBER}, {"UINT16", JSON_NUMBER}, {"UINT32", JSON_NUMBER},
                 {"UINT64", JSON_NUMBER}, {"INT8", JSON_NUMBER},  {"INT16", JSON_NUMBER},  {"INT32", JSON_NUMBER},
                 {"INT64", JSON_NUMBER},  {"FP16", JSON_NUMBER},  {"BF16", JSON_NUMBER},   {"FP32", JSON_NUMBER},
                 {"FP64", JSON_NUMBER},   {"BYTES", JSON_STRING}};
    struct str name;
    size_t at = jr_offset(&g->r);
    if (!jr_str(&g->r, &name))
        return false;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (str_eqz(name, types[i].name)) {
            t->wants = types[i].wants;
            return true;
        }
    return refuse(g, REJECT_BAD_VALUE, at, "the V2 protocol has no such datatype");
}

/* Flat, or nested in row-major order: the protocol lets both. No deeper than the reader's limit. */
static bool read_data(struct reading *g)
{
    if (jr_peek(&g->r) != JSON_ARRAY)
        return rows_add_cell(g->rows, &g->r);
    if (!jr_array(&g->r))
        return false;
    while (jr_item(&g->r))
        if (!read_data(g))
            return false;
    return !jr_failed(&g->r);
}

static bool read_member(struct reading *g, struct tensor *t, struct str key)
{
    if (str_eqz(key, "name"))
        return jr_str(&g->r, &t->name);
    if (str_eqz(key, "shape"))
        return read_shape(g, t);
    if (str_eqz(key, "datatype"))
        return read_datatype(g, t);
    if (!str_eqz(key, "data"))
        return jr_skip(&g->r, NULL);
    t->has_data = true;
    t->first = g->rows->n_values;
    if (jr_peek(&g->r) != JSON_ARRAY)
        return refuse(g, REJECT_WRONG_TYPE, jr_offset(&g->r), "the data of a tensor is a list");
    bool ok = read_data(g);
    t->n = g->rows->n_values - t->first;
    return ok;
}

static bool check_values(struct reading *g, const struct tensor *t)
{
    for (size_t i = t->first; i < t->first + t->n; i++) {
        enum value_type type = g->rows->values[i].type;
        bool fits = type == VALUE_NULL || (t->wants == JSON_NUMBER && type == VALUE_NUMBER) ||
                    (t->wants == JSON_BOOL && type == VALUE_BOOL) || (t->wants == JSON_STRING && type == VALUE_STRING);
        if (!fits)
            return refuse(g, REJECT_WRONG_TYPE, t->at, "a value of the tensor is not of its datatype");
    }
    return true;
}

static bool check_tensor(struct reading *g, const struct tensor *t)
{
    if (!t->has_data)
        return refuse(g, REJECT_MISSING_FIELD, t->at, "the tensor has no data in the JSON (binary tensors are not taken)");
    if (!t->has_shape || t->name.n == 0 || t->wants == JSON_NONE)
        return refuse(g, REJECT_MISSING_FIELD, t->at, "a tensor needs name, shape, datatype and data");
    if (t->rows * t->cols != t->n)
        return refuse(g, REJECT_ROW_COUNT_MISMATCH, t->at, "the data has another number of values than the shape");
    if (t->rows != g->tensors[0].rows)
        return refuse(g, REJECT_RAGGED_ROWS, t->at, "the tensors have unequal numbers of rows");
    return check_values(g, t);
}

static bool read_tensor(struct reading *g)
{
    struct str key;
    if (g->n == g->cap) {
        g->cap = g->cap ? g->cap * 2 : 16;
        g->tensors = mem_grow(g->tensors, g->cap, sizeof *g->tensors);
    }
    struct tensor *t = &g->tensors[g->n++];
    *t = (struct tensor){.at = jr_offset(&g->r)};
    if (!jr_object(&g->r))
        return false;
    while (jr_key(&g->r, &key))
        if (!read_member(g, t, key))
            return false;
    return !jr_failed(&g->r) && check_tensor(g, t);
}

static bool read_all(struct reading *g)
{
    if (!jr_array(&g->r))
        return false;
    while (jr_item(&g->r))
        if (!read_tensor(g))
            return false;
    return jr_end(&g->r);
}

/* Strings with escapes live in the reader, which ends here. */
static void keep_strings(struct reading *g, struct arena *a)
{
    for (size_t i = 0; i < g->rows->n_values; i++)
        if (g->rows->values[i].type == VALUE_STRING)
            g->rows->values[i].s = arena_str(a, g->rows->values[i].s);
}

/* Tensors stand one after the other: each becomes columns. */
static void place(struct reading *g)
{
    struct rows *rows = g->rows;
    size_t n_rows = rows->count, n_cols = rows->n_cols, from = 0;
    if (g->n == 1 || rows->n_values == 0)
        return;
    struct value *by_row = mem_array(rows->n_values, sizeof *by_row);
    for (size_t t = 0; t < g->n; from += g->tensors[t++].cols)
        for (size_t i = 0; i < n_rows; i++)
            memcpy(&by_row[i * n_cols + from], &rows->values[g->tensors[t].first + i * g->tensors[t].cols],
                   g->tensors[t].cols * sizeof *by_row);
    mem_free(rows->values);
    rows->values = by_row;
    rows->cap = rows->n_values;
}

static bool name_columns(struct reading *g, struct arena *a)
{
    struct map seen = {0};
    bool unique = true;
    for (size_t t = 0; t < g->n && unique; t++)
        for (size_t c = 0; c < g->tensors[t].cols && unique; c++) {
            struct str name = g->tensors[t].name;
            name = g->tensors[t].cols == 1 ? arena_str(a, name) : str_of(arena_printf(a, "%.*s_%zu", STR_FMT(name), c));
            unique = map_put(&seen, name, g) == NULL;
            rows_add_name(g->rows, name);
        }
    map_done(&seen);
    return unique || refuse(g, REJECT_BAD_VALUE, 0, "two columns of the tensors have the same name");
}

static bool make_rows(struct reading *g, struct arena *a, bool is_output)
{
    struct rows *rows = g->rows;
    rows->count = g->n ? g->tensors[0].rows : 0;
    rows->n_cols = 0;
    for (size_t t = 0; t < g->n; t++)
        rows->n_cols += g->tensors[t].cols;
    rows->form = is_output && g->n == 1 && g->tensors[0].rank == 1 ? ROWS_FLAT : ROWS_LISTS;
    keep_strings(g, a);
    if (rows->n_cols > INFERENCE_COLS_MAX)
        return refuse(g, REJECT_TOO_MANY_FEATURES, 0, "a row of the tensors has more values than are taken");
    place(g);
    return g->n == 1 || name_columns(g, a);
}

rc_t tensors_settle(struct rows *rows, struct arena *a, bool is_output, const char *field, struct reject *why)
{
    struct reading g = {.rows = rows, .field = field, .why = why};
    struct reject failed;
    struct str text = rows->text;
    rows->n_values = rows->n_names = 0;
    rows->has_list = false;
    rows->shape.code = REJECT_NONE; /* tensors need not have the same keys */
    jr_init(&g.r, text.p, text.n, &inference_limits);
    bool ok = read_all(&g) && make_rows(&g, a, is_output);
    if (!ok && !g.refused) {
        (void)reject_reader(&failed, &g.r);
        (void)reject_set(why, failed.code, field, rows->offset + failed.position, "%s", failed.text);
    }
    jr_done(&g.r);
    mem_free(g.tensors);
    return ok ? OK : E_INVALID;
}
