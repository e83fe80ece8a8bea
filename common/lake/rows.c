/* Rows of one file to be: taking events in, in little memory. */
#include "lake/lake_rows.h"
#include "base/mem.h"
#include "lake/lake_duck.h"

static struct column *copy_columns(const struct column *from, size_t n)
{
    struct column *to = mem_array(n + 1, sizeof *to);
    for (size_t i = 0; i < n; i++)
        to[i] = (struct column){mem_dupz(from[i].name), from[i].type};
    return to;
}

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
    f->schema = *s;
    f->schema.features = copy_columns(s->features, s->n_features);
    f->schema.labels = copy_columns(s->labels, s->n_labels);
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
    buf_done(&f->text);
    mem_free(f);
}

int64_t lake_file_bytes(const struct lake_file *f)
{
    size_t own = sizeof *f + 256 + f->n_cols * (sizeof(struct column) + 32);
    return (int64_t)(own + f->cap_events * sizeof *f->events + f->cap_rows * f->n_cols * sizeof *f->cells + f->text.cap);
}

static size_t grown(size_t cap, size_t need)
{
    size_t more = cap ? cap + cap / 2 : 4;
    return more > need ? more : need;
}

static void make_room(struct lake_file *f, size_t rows)
{
    if (f->n_events == f->cap_events) {
        f->cap_events = grown(f->cap_events, f->n_events + 1);
        f->events = mem_grow(f->events, f->cap_events, sizeof *f->events);
    }
    if (f->n_rows + rows > f->cap_rows) {
        f->cap_rows = grown(f->cap_rows, f->n_rows + rows);
        f->cells = mem_grow(f->cells, f->cap_rows, f->n_cols ? f->n_cols * sizeof *f->cells : 1);
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

/* false: the value's type is not the column's. */
static bool take_value(struct lake_file *f, const struct value *v, enum column_type type, union cell *ret)
{
    if (column_is_double(type) && type != COLUMN_UNKNOWN && (v->type == VALUE_NUMBER || v->type == VALUE_BOOL)) {
        ret->num = v->num;
        return true;
    }
    if ((type == COLUMN_STRING && v->type == VALUE_STRING) || (type == COLUMN_JSON && v->type == VALUE_JSON)) {
        ret->text = keep(f, v->s);
        return true;
    }
    *ret = null_cell(type);
    return v->type == VALUE_NULL;
}

static size_t take_row(struct lake_file *f, const struct column *cols, size_t n_cols, const struct value *values,
                       size_t n_values, union cell *to)
{
    size_t nulled = 0;
    for (size_t i = 0; i < n_values; i++)
        nulled += !take_value(f, &values[i], cols[i].type, &to[i]);
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
    if (f->text.len > UINT32_MAX / 2 && f->text.len + text_size(ev) >= UINT32_MAX)
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
    for (size_t r = 0; r < ev->n_rows; r++) {
        union cell *cells = f->cells + (f->n_rows + r) * f->n_cols;
        nulled += take_row(f, s->features, s->n_features, ev->inputs + r * ev->n_cols, ev->n_cols, cells);
        nulled += take_row(f, s->labels, s->n_labels, ev->outputs + r * ev->n_label_cols, ev->n_label_cols,
                           cells + s->n_features);
    }
    f->min_us = f->n_rows && f->min_us < ev->when_us ? f->min_us : ev->when_us;
    f->max_us = f->n_rows && f->max_us > ev->when_us ? f->max_us : ev->when_us;
    f->n_rows += ev->n_rows;
    *ret_nulled = nulled;
    return OK;
}
