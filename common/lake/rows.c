/* Rows of one file to be: taking events in, in little memory. */
#include "lake/lake_rows.h"
#include <math.h>
#include "base/mem.h"
#include "json/write.h"
#include "lake/lake_duck.h"

#define OTHERS_MAX                                                                                                     \
    ((size_t)64 << 20) /* bytes of one event's: long names are repeated in each row; beyond it they are missing */
#define OTHERS_ROW (32u << 20) /* what one row may go beyond it: its values, and all names of a schema */

static char *copy_str(struct str s)
{
    return mem_dup(s.n ? s.p : "", s.n);
}

struct lake_file *lake_file_new(const struct lake_endpoint *ep, int64_t hour_us)
{
    struct lake_file *f = mem_alloc(sizeof *f);
    const struct schema *s = ep->schema;
    f->project_id = ep->project_id;
    f->endpoint_id = ep->endpoint_id;
    f->endpoint_type = ep->endpoint_type;
    f->hour_us = hour_us;
    f->project = copy_str(ep->project);
    f->uid = copy_str(ep->uid);
    f->name = copy_str(ep->name);
    f->function_uri = copy_str(ep->function_uri);
    f->model_class = copy_str(ep->model_class);
    schema_copy(&f->schema, s);
    f->n_cols = s->n_features + s->n_labels;
    return f;
}

void lake_file_free(struct lake_file *f)
{
    if (!f)
        return;
    mem_free(f->project);
    mem_free(f->uid);
    mem_free(f->name);
    mem_free(f->function_uri);
    mem_free(f->model_class);
    schema_done(&f->schema);
    mem_free(f->events);
    mem_free(f->cells);
    mem_free(f->others);
    lake_names_free(f->names, f->n_cols);
    buf_done(&f->text);
    mem_free(f);
}

int64_t lake_file_bytes(const struct lake_file *f)
{
    size_t own = sizeof *f + 256 + f->schema.mem.total;
    size_t row = f->n_cols * sizeof *f->cells + (f->others ? sizeof *f->others : 0);
    return (int64_t)(own + f->cap_events * sizeof *f->events + f->cap_rows * row + f->text.cap);
}

static size_t grown(size_t cap, size_t need)
{
    size_t more = cap ? cap + cap / 2 : 4;
    return more > need ? more : need;
}

static struct text_at *none_from(struct text_at *texts, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        texts[i] = TEXT_NONE;
    return texts;
}

static void make_room(struct lake_file *f, size_t rows)
{
    if (f->n_events == f->cap_events) {
        f->cap_events = grown(f->cap_events, f->n_events + 1);
        f->events = mem_grow(f->events, f->cap_events, sizeof *f->events);
    }
    if (f->n_rows + rows > f->cap_rows) {
        size_t before = f->cap_rows;
        f->cap_rows = grown(f->cap_rows, f->n_rows + rows);
        f->cells = mem_grow(f->cells, f->cap_rows, f->n_cols ? f->n_cols * sizeof *f->cells : 1);
        if (f->others)
            f->others = none_from(mem_grow(f->others, f->cap_rows, sizeof *f->others), before, f->cap_rows);
    }
}

static struct text_at keep(struct lake_file *f, struct str s)
{
    struct text_at t = {(uint32_t)f->text.len, (uint32_t)s.n};
    buf_add(&f->text, s.p, s.n);
    return t;
}

static union cell null_cell(enum column_type type)
{
    return column_is_double(type) ? (union cell){.bits = CELL_NULL} : (union cell){.text = TEXT_NONE};
}

/* Whether the cell, read with its column's type, does not say what the value was. NaN counts as missing whatever the type. */
static bool is_other(const struct value *v, enum column_type type)
{
    switch (v->type) {
    case VALUE_NULL:
        return false;
    case VALUE_NUMBER:
        return type == COLUMN_BOOL ? v->num == 0 || v->num == 1 : type != COLUMN_NUMBER && !isnan(v->num);
    case VALUE_BOOL:
        return type != COLUMN_BOOL;
    case VALUE_STRING:
        return type != COLUMN_STRING;
    case VALUE_JSON:
        return type != COLUMN_JSON;
    }
    return false;
}

static void write_value(struct json_writer *w, const struct value *v)
{
    if (v->type == VALUE_NUMBER)
        jw_f64(w, v->num);
    else if (v->type == VALUE_BOOL)
        jw_bool(w, v->num != 0);
    else if (v->type == VALUE_STRING)
        jw_str(w, v->s);
    else
        jw_raw(w, v->s);
}

/* {"column": value as it came, …} of the values of a row that their cells do not tell. */
static void keep_others(struct lake_file *f, size_t row, const struct value *inputs, size_t n_inputs,
                        const struct value *outputs, size_t n_outputs)
{
    struct json_writer w;
    size_t start = f->text.len, n_features = f->schema.n_features;
    bool any = false;
    if (!f->names)
        f->names = lake_file_names(&f->schema);
    jw_init(&w, &f->text, JSON_NAN_TOKEN);
    jw_object(&w);
    for (size_t i = 0; i < n_inputs + n_outputs; i++) {
        const struct value *v = i < n_inputs ? &inputs[i] : &outputs[i - n_inputs];
        size_t col = i < n_inputs ? i : n_features + i - n_inputs;
        if (!is_other(v, col < n_features ? f->schema.features[col].type : f->schema.labels[col - n_features].type))
            continue;
        jw_key(&w, f->names[col]);
        write_value(&w, v);
        any = true;
    }
    jw_object_end(&w);
    if (!any) { /* NaN where a text was to be */
        f->text.len = start;
        return;
    }
    if (!f->others)
        f->others = none_from(mem_array(f->cap_rows, sizeof *f->others), 0, f->cap_rows);
    f->others[row] = (struct text_at){(uint32_t)start, (uint32_t)(f->text.len - start)};
}

/* false: the value's type is not the column's. *odd: perhaps is_other. */
static bool take_value(struct lake_file *f, const struct value *v, enum column_type type, union cell *ret, bool *odd)
{
    if (type == COLUMN_NUMBER && v->type == VALUE_NUMBER) { /* nearly all */
        ret->num = v->num;
        return true;
    }
    if (column_is_double(type) && type != COLUMN_UNKNOWN && (v->type == VALUE_NUMBER || v->type == VALUE_BOOL)) {
        ret->num = v->num;
        *odd |= (v->type == VALUE_BOOL) != (type == COLUMN_BOOL);
        return true;
    }
    if ((type == COLUMN_STRING && v->type == VALUE_STRING) || (type == COLUMN_JSON && v->type == VALUE_JSON)) {
        ret->text = keep(f, v->s);
        return true;
    }
    *ret = null_cell(type);
    *odd |= v->type != VALUE_NULL;
    return v->type == VALUE_NULL;
}

static size_t take_row(struct lake_file *f, const struct column *cols, size_t n_cols, const struct value *values,
                       size_t n_values, union cell *to, bool *odd)
{
    size_t nulled = 0;
    for (size_t i = 0; i < n_values; i++)
        nulled += !take_value(f, &values[i], cols[i].type, &to[i], odd);
    for (size_t i = n_values; i < n_cols; i++)
        to[i] = null_cell(cols[i].type);
    return nulled;
}

static size_t text_size(const struct inference_event *ev)
{
    size_t n = ev->request_id.n + ev->labels.n + ev->metrics.n;
    for (size_t i = 0; i < ev->n_rows * ev->n_cols; i++)
        n += ev->inputs[i].s.n;
    for (size_t i = 0; i < ev->n_rows * ev->n_label_cols; i++)
        n += ev->outputs[i].s.n;
    return n;
}

rc_t lake_file_add(struct lake_file *f, const struct inference_event *ev, int64_t offset, int64_t first_request_us,
                   size_t *ret_nulled, struct err *e)
{
    const struct schema *s = &f->schema;
    size_t nulled = 0;
    if (ev->n_cols > s->n_features || ev->n_label_cols > s->n_labels)
        return err_set(e, E_INVALID, "%zu + %zu values a row for %zu + %zu columns", ev->n_cols, ev->n_label_cols,
                       s->n_features, s->n_labels);
    if (f->text.len > UINT32_MAX / 2 && f->text.len + text_size(ev) + OTHERS_MAX + OTHERS_ROW >= UINT32_MAX)
        return err_set(e, E_LIMIT, "the texts of one file are at 4 GiB");
    make_room(f, ev->n_rows);
    struct lake_event *to = &f->events[f->n_events++];
    *to = (struct lake_event){
        .offset = offset,
        .when_us = ev->when_us,
        .latency_us = ev->latency_us,
        .first_request_us = first_request_us,
        .sample_count = ev->effective_sample_count,
        .prediction_count = ev->estimated_prediction_count,
        .request_id = ev->request_id.p ? keep(f, ev->request_id) : TEXT_NONE,
        .labels = ev->labels.n ? keep(f, ev->labels) : TEXT_NONE,
        .metrics = ev->metrics.n ? keep(f, ev->metrics) : TEXT_NONE,
        .n_rows = (uint32_t)ev->n_rows,
    };
    size_t text_max = f->text.len + OTHERS_MAX;
    for (size_t r = 0; r < ev->n_rows; r++) {
        union cell *cells = f->cells + (f->n_rows + r) * f->n_cols;
        const struct value *inputs = ev->inputs + r * ev->n_cols, *outputs = ev->outputs + r * ev->n_label_cols;
        bool odd = false;
        nulled += take_row(f, s->features, s->n_features, inputs, ev->n_cols, cells, &odd);
        nulled += take_row(f, s->labels, s->n_labels, outputs, ev->n_label_cols, cells + s->n_features, &odd);
        if (odd && f->text.len <= text_max)
            keep_others(f, f->n_rows + r, inputs, ev->n_cols, outputs, ev->n_label_cols);
    }
    f->min_us = f->n_rows && f->min_us < ev->when_us ? f->min_us : ev->when_us;
    f->max_us = f->n_rows && f->max_us > ev->when_us ? f->max_us : ev->when_us;
    f->n_rows += ev->n_rows;
    *ret_nulled = nulled;
    return OK;
}
