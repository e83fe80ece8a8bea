/* Rows of inference events: MLRun's rules (inference.h), without what they lose.
 * The hot case is a list of lists of numbers; everything else may be slow but must be right. */
#include "event/rows.h"

#include <string.h>

#include "base/mem.h"
#include "base/text.h"

#define CELLS_KEPT 65536

void rows_reset(struct rows *rows)
{
    rows->form = ROWS_ABSENT;
    rows->n_values = rows->n_names = rows->count = rows->n_cols = rows->offset = 0;
    rows->has_list = rows->by_name_is_set = rows->each_is_row = false;
    rows->shape.code = REJECT_NONE;
    if (rows->by_name.len > 0)
        map_done(&rows->by_name);
    if (rows->cap > CELLS_KEPT) { /* one huge event must not cost its memory for ever */
        mem_free(rows->values);
        rows->values = NULL;
        rows->cap = 0;
    }
}

void rows_done(struct rows *rows)
{
    mem_free(rows->values);
    mem_free(rows->names);
    map_done(&rows->by_name);
    *rows = (struct rows){0};
}

bool rows_wrong(struct rows *rows, const struct json_reader *r, enum reject_code code, size_t offset, const char *text)
{
    char path[sizeof rows->shape.field];
    if (rows->shape.code == REJECT_NONE) {
        (void)jr_path(r, path, sizeof path); /* cut to fit */
        (void)reject_set(&rows->shape, code, path, offset, "%s", text);
    }
    return true;
}

static struct value *add_value(struct rows *rows)
{
    if (rows->n_values == rows->cap) {
        rows->cap = rows->cap ? rows->cap * 2 : 64;
        rows->values = mem_grow(rows->values, rows->cap, sizeof *rows->values);
    }
    return &rows->values[rows->n_values++];
}

static void add_name(struct rows *rows, struct str name)
{
    if (rows->n_names == rows->cap_names) {
        rows->cap_names = rows->cap_names ? rows->cap_names * 2 : 64;
        rows->names = mem_grow(rows->names, rows->cap_names, sizeof *rows->names);
    }
    rows->names[rows->n_names++] = name;
}

static void normalise_names(struct rows *rows, struct arena *a)
{
    for (size_t i = 0; i < rows->n_names; i++) {
        struct str *name = &rows->names[i];
        if (text_is_norm_name(*name))
            continue;
        char *copy = arena_alloc(a, name->n + 1);
        *name = (struct str){copy, text_norm_name(copy, *name)};
    }
}

/* One value of a row. Arrays and objects stay text. */
static bool read_cell(struct rows *rows, struct json_reader *r)
{
    const struct str none = {"", 0};
    struct json_value in;
    enum json_type type = jr_value(r, &in);
    if (type == JSON_NONE)
        return false;
    struct value *v = add_value(rows);
    v->is_int = false;
    v->num = 0;
    switch (type) {
    case JSON_NUMBER:
        v->type = VALUE_NUMBER;
        v->is_int = in.num.is_int;
        v->num = in.num.f64;
        v->s = (struct str){in.num.text.p, (size_t)(r->at - in.num.text.p)};
        break;
    case JSON_STRING:
        v->type = VALUE_STRING;
        v->s = in.s;
        break;
    case JSON_BOOL:
        v->type = VALUE_BOOL;
        v->num = in.b;
        v->s = none;
        break;
    case JSON_NULL:
        v->type = VALUE_NULL;
        v->s = none;
        break;
    default:
        v->type = VALUE_JSON;
        v->s = in.s;
        rows->has_list |= type == JSON_ARRAY;
        break;
    }
    return true;
}

static bool read_list_row(struct rows *rows, struct json_reader *r)
{
    struct json_number num;
    size_t offset = jr_offset(r), before = rows->n_values;
    if (!jr_array(r))
        return false;
    while (jr_item(r)) {
        if (!read_cell(rows, r))
            return false;
        while (jr_number_item(r, &num))
            *add_value(rows) = (struct value){VALUE_NUMBER, num.is_int, num.f64, num.text};
    }
    if (jr_failed(r))
        return false;
    size_t n = rows->n_values - before;
    if (rows->count++ == 0)
        rows->n_cols = n;
    else if (n != rows->n_cols)
        return rows_wrong(rows, r, REJECT_RAGGED_ROWS, offset, "this row has another number of values than the first");
    return true;
}

/* --- lists of objects */

/* The column of a key: most often the one that is due; else by a table, made when it is first needed. */
static bool find_column(struct rows *rows, struct str key, size_t due, size_t *ret)
{
    if (due < rows->n_names && str_eq(rows->names[due], key)) {
        *ret = due;
        return true;
    }
    if (rows->by_name.len == 0)
        for (size_t i = 0; i < rows->n_names; i++)
            (void)map_put(&rows->by_name, rows->names[i], &rows->names[i]); /* the keys of one object differ */
    const struct str *found = map_get(&rows->by_name, key);
    *ret = found ? (size_t)(found - rows->names) : 0;
    return found != NULL;
}

/* The first object names the columns and their order. */
static bool read_first_dict(struct rows *rows, struct json_reader *r)
{
    struct str key;
    while (jr_key(r, &key)) {
        add_name(rows, key);
        if (!read_cell(rows, r))
            return false;
    }
    rows->n_cols = rows->n_names;
    return !jr_failed(r);
}

static bool read_next_dict(struct rows *rows, struct json_reader *r, size_t offset)
{
    size_t at = rows->n_values, n = 0, column;
    struct str key;
    bool known = true;
    for (size_t i = 0; i < rows->n_cols; i++)
        *add_value(rows) = (struct value){VALUE_NULL, false, 0, {"", 0}};
    for (; jr_key(r, &key); n++) {
        if (!read_cell(rows, r))
            return false;
        rows->n_values--;
        if (find_column(rows, key, n, &column))
            rows->values[at + column] = rows->values[rows->n_values];
        else
            known = false;
    }
    if (jr_failed(r))
        return false;
    return (known && n == rows->n_cols) ||
           rows_wrong(rows, r, REJECT_DICT_ROWS, offset, "the keys of this row are not those of the first");
}

static bool read_dict_row(struct rows *rows, struct json_reader *r)
{
    size_t offset = jr_offset(r);
    if (!jr_object(r))
        return false;
    return rows->count++ == 0 ? read_first_dict(rows, r) : read_next_dict(rows, r, offset);
}

/* --- lists */

/* The list's text again, now as one row: what was taken for rows were values after all. */
static bool read_again_flat(struct rows *rows, struct arena *a)
{
    struct json_reader again = {0};
    const struct json_limits limits = {.depth = JSON_DEPTH_MAX,
                                       .values = INFERENCE_BYTES_MAX,
                                       .bytes = INFERENCE_BYTES_MAX,
                                       .string_bytes = INFERENCE_STRING_MAX,
                                       .keys = INFERENCE_BYTES_MAX,
                                       .accept_nan = true};
    rows->n_values = rows->n_names = rows->n_cols = rows->count = 0;
    rows->has_list = false;
    rows->form = ROWS_FLAT;
    rows->shape.code = REJECT_NONE;
    jr_init(&again, rows->text.p, rows->text.n, &limits);
    bool ok = jr_array(&again);
    while (ok && jr_item(&again))
        ok = read_cell(rows, &again);
    for (size_t i = 0; i < rows->n_values; i++) /* unescaped strings live in `again` */
        if (rows->values[i].type == VALUE_STRING)
            rows->values[i].s = arena_str(a, rows->values[i].s);
    rows->count = rows->n_values;
    ok = ok && !jr_failed(&again);
    jr_done(&again);
    return ok;
}

static bool read_item(struct rows *rows, struct json_reader *r)
{
    if (rows->form == ROWS_LISTS)
        return read_list_row(rows, r);
    if (rows->form == ROWS_DICTS)
        return read_dict_row(rows, r);
    rows->count++;
    return read_cell(rows, r);
}

static bool read_list(struct rows *rows, struct json_reader *r, struct arena *a)
{
    const char *start = r->start + jr_offset(r);
    bool mixed = false;
    rows->form = ROWS_LISTS;
    if (!jr_array(r))
        return false;
    while (jr_item(r)) {
        enum json_type type = jr_peek(r);
        enum rows_form form = type == JSON_ARRAY ? ROWS_LISTS : type == JSON_OBJECT ? ROWS_DICTS : ROWS_FLAT;
        if (rows->count == 0)
            rows->form = form;
        mixed = mixed || (rows->form != ROWS_FLAT && form != rows->form);
        if (!(mixed ? jr_skip(r, NULL) : read_item(rows, r)))
            return false;
    }
    if (jr_failed(r))
        return false;
    rows->text = (struct str){start, (size_t)(r->at - start)};
    if (!mixed)
        return true;
    if (rows->form == ROWS_DICTS)
        return rows_wrong(rows, r, REJECT_DICT_ROWS, rows->offset, "objects stand among rows that are none");
    return read_again_flat(rows, a);
}

/* --- an object of columns */

/* The table stands column by column: turn it. */
static void transpose(struct rows *rows)
{
    size_t n_rows = rows->count, n_cols = rows->n_cols;
    if (n_rows < 2 || n_cols < 2)
        return;
    struct value *by_row = mem_array(rows->n_values, sizeof *by_row);
    for (size_t c = 0; c < n_cols; c++)
        for (size_t i = 0; i < n_rows; i++)
            by_row[i * n_cols + c] = rows->values[c * n_rows + i];
    mem_free(rows->values);
    rows->values = by_row;
    rows->cap = rows->n_values;
}

static bool read_column(struct rows *rows, struct json_reader *r)
{
    if (!jr_array(r))
        return false;
    while (jr_item(r))
        if (!read_cell(rows, r))
            return false;
    return !jr_failed(r);
}

static bool read_columns(struct rows *rows, struct json_reader *r)
{
    const char *start = r->start + jr_offset(r);
    struct str key;
    bool lists = false, equal = true;
    rows->form = ROWS_COLUMNS;
    if (!jr_object(r))
        return false;
    while (jr_key(r, &key)) {
        bool is_list = jr_peek(r) == JSON_ARRAY;
        size_t before = rows->n_values;
        if (!(is_list ? read_column(rows, r) : read_cell(rows, r)))
            return false;
        size_t n = rows->n_values - before;
        if (rows->n_names == 0) {
            lists = is_list;
            rows->count = n;
        }
        equal = equal && is_list == lists && n == rows->count;
        add_name(rows, key);
    }
    if (jr_failed(r))
        return false;
    rows->text = (struct str){start, (size_t)(r->at - start)};
    rows->n_cols = rows->n_names;
    if (equal)
        transpose(rows);
    else
        (void)rows_wrong(rows, r, REJECT_RAGGED_ROWS, rows->offset, "the columns have unequal lengths");
    return true;
}

/* --- */

bool rows_read(struct rows *rows, struct json_reader *r, struct arena *a)
{
    rows->offset = jr_offset(r);
    switch (jr_peek(r)) {
    case JSON_NONE:
        return false;
    case JSON_NULL:
        return jr_null(r);
    case JSON_ARRAY:
        return read_list(rows, r, a);
    case JSON_OBJECT:
        return read_columns(rows, r);
    default:
        rows->form = ROWS_SCALAR;
        rows->count = 1;
        return read_cell(rows, r);
    }
}

bool rows_add_cell(struct rows *rows, struct json_reader *r)
{
    return read_cell(rows, r);
}

void rows_add_name(struct rows *rows, struct str name)
{
    add_name(rows, name);
}

bool schema_read(struct schema *schema, struct json_reader *r, const char *field)
{
    schema->field = field;
    schema->offset = jr_offset(r);
    if (jr_take_null(r))
        return true;
    struct str name;
    if (!jr_array(r))
        return false;
    schema->is_set = true;
    while (jr_item(r)) {
        if (!jr_str(r, &name))
            return false;
        if (schema->n == schema->cap) {
            schema->cap = schema->cap ? schema->cap * 2 : 64;
            schema->names = mem_grow(schema->names, schema->cap, sizeof *schema->names);
        }
        schema->names[schema->n++] = name;
    }
    return !jr_failed(r);
}

/* One value stands for the whole: the text of the object. */
static void make_single(struct rows *rows)
{
    rows->n_values = rows->n_names = 0;
    *add_value(rows) = (struct value){VALUE_JSON, false, 0, rows->text};
    rows->form = ROWS_SCALAR;
    rows->count = 1;
}

static void one_row(struct rows *rows)
{
    rows->n_cols = rows->n_values;
    rows->count = 1;
}

static void one_column(struct rows *rows)
{
    rows->n_cols = 1;
    rows->count = rows->n_values;
}

static rc_t give_shape(const struct rows *rows, struct reject *why)
{
    *why = rows->shape;
    return E_INVALID;
}

static rc_t check_size(const struct rows *rows, const char *field, struct reject *why)
{
    if (rows->count > INFERENCE_ROWS_MAX)
        return reject_set(why, REJECT_TOO_MANY_ROWS, field, rows->offset, "%zu rows, at most %u are taken", rows->count,
                          INFERENCE_ROWS_MAX);
    if (rows->n_cols > INFERENCE_COLS_MAX)
        return reject_set(why, REJECT_TOO_MANY_FEATURES, field, rows->offset,
                          "%zu values in a row, at most %u are taken", rows->n_cols, INFERENCE_COLS_MAX);
    return OK;
}

/* Names: the objects' keys, else the schema's. */
static rc_t settle_names(struct rows *rows, struct schema *schema, struct arena *a, const char *field, struct reject *why)
{
    rows->by_name_is_set = rows->n_names > 0;
    rows->names_field = rows->by_name_is_set ? field : schema->is_set ? schema->field : NULL;
    if (!rows->by_name_is_set && schema->is_set) {
        if (schema->n != rows->n_cols)
            return reject_set(why, REJECT_SCHEMA_MISMATCH, schema->field, schema->offset,
                              "there are %zu names, the rows have %zu values", schema->n, rows->n_cols);
        for (size_t i = 0; i < schema->n; i++)
            add_name(rows, schema->names[i]);
    }
    normalise_names(rows, a);
    return OK;
}

rc_t rows_settle_inputs(struct rows *rows, struct schema *schema, struct arena *a, const char *field, struct reject *why)
{
    if (rows->form == ROWS_ABSENT)
        return reject_set(why, REJECT_MISSING_INPUTS, field, rows->offset, "there are no inputs");
    if (rows->shape.code != REJECT_NONE)
        return give_shape(rows, why);
    if (rows->form == ROWS_FLAT && !rows->has_list && (rows->each_is_row || (schema->is_set && schema->n == 1)))
        one_column(rows); /* the graph steps send the only column of an object as it is */
    else if (rows->form == ROWS_FLAT || rows->form == ROWS_SCALAR)
        one_row(rows);
    if (rows->count == 0 || rows->n_cols == 0)
        return reject_set(why, REJECT_MISSING_INPUTS, field, rows->offset, "there is no value in the inputs");
    rc_t rc = check_size(rows, field, why);
    return rc == OK ? settle_names(rows, schema, a, field, why) : rc;
}

rc_t rows_settle_outputs(struct rows *rows, struct schema *schema, size_t n_rows, struct arena *a, const char *field,
                         struct reject *why)
{
    if (rows->form == ROWS_ABSENT)
        return reject_set(why, REJECT_MISSING_OUTPUTS, field, rows->offset, "there are no outputs");
    if (rows->form == ROWS_COLUMNS && n_rows == 1 && (rows->shape.code != REJECT_NONE || rows->count != 1))
        make_single(rows); /* an answer that is an object, not a table */
    else if (rows->shape.code != REJECT_NONE)
        return give_shape(rows, why);
    if (rows->form == ROWS_FLAT && rows->count == n_rows) {
        if (rows->has_list && n_rows > 1)
            return reject_set(why, REJECT_RAGGED_ROWS, field, rows->offset, "some outputs are lists and some are not");
        one_column(rows);
    } else if (rows->form == ROWS_FLAT || rows->form == ROWS_SCALAR) {
        one_row(rows);
    }
    if (rows->count != n_rows)
        return reject_set(why, REJECT_ROW_COUNT_MISMATCH, field, rows->offset, "%zu rows of outputs for %zu of inputs",
                          rows->count, n_rows);
    if (rows->n_cols == 0)
        return reject_set(why, REJECT_MISSING_OUTPUTS, field, rows->offset, "there is no value in the outputs");
    rc_t rc = check_size(rows, field, why);
    return rc == OK ? settle_names(rows, schema, a, field, why) : rc;
}
