/* An app on rows in memory. */
#include "app/harness.h"
#include <math.h>
#include <stdlib.h>
#include "app/source.h"
#include "base/clock.h"
#include "base/mem.h"

#define START_US INT64_C(1735689600000000) /* 2025-01-01 */
#define PERIOD_US (600 * USEC_PER_SEC)
#define BATCH_ROWS 1000u

struct memory_source {
    struct app_source ops;
    const struct harness_case *c;
    const struct slot_layout *layout;
};

/* NAME_OF_IT=value as --name-of-it=value. */
static char *flag_of(struct arena *a, const char *option)
{
    char *flag = arena_printf(a, "--%s", option);
    for (char *p = flag; *p && *p != '='; p++)
        *p = *p == '_' ? '-' : *p >= 'A' && *p <= 'Z' ? (char)(*p - 'A' + 'a') : *p;
    return flag;
}

static rc_t bind_options(const struct app *app, const struct harness_case *c, struct arena *a, void *opts,
                         struct config **ret, struct err *e)
{
    const struct config_table table = {app->name, app->keys, app->n_keys, opts};
    const struct config_spec spec = {.program = app->name,
                                     .summary = app->summary,
                                     .tables = &table,
                                     .table_count = app->n_keys ? 1 : 0,
                                     .rules = app_rules(app, opts, NULL, a),
                                     .rule_count = app->n_rules};
    size_t n = 0;
    while (c->options && c->options[n])
        n++;
    char **argv = arena_array(a, n + 2, sizeof *argv);
    argv[0] = arena_printf(a, "%s", app->name);
    for (size_t i = 0; i < n; i++)
        argv[i + 1] = flag_of(a, c->options[i]);
    struct buf faults = {0};
    rc_t rc = config_load(ret, &spec, (int)n + 1, argv, &faults);
    if (rc)
        rc = err_set(e, rc, "%s", faults.data ? faults.data : "");
    buf_done(&faults);
    return rc;
}

static void make_layout(const struct harness_case *c, struct arena *a, struct slot_layout *ret)
{
    struct str *names = arena_array(a, c->n_features + c->n_labels + 1, sizeof *names);
    for (size_t i = 0; i < c->n_features; i++)
        names[i] = str_of(c->features[i]);
    for (size_t i = 0; i < c->n_labels; i++)
        names[c->n_features + i] = str_of(c->labels[i]);
    slot_layout_init(ret, names, c->n_features, names + c->n_features, c->n_labels, c->reference);
}

static struct stat_value value_of(const struct harness_case *c, size_t i)
{
    if (c->values)
        return c->values[i];
    return (struct stat_value){.kind = isnan(c->rows[i]) ? STAT_MISSING : STAT_NUMBER, .num = c->rows[i]};
}

static struct slot *count_rows(const struct harness_case *c, const struct slot_layout *l)
{
    size_t width = c->n_features + c->n_labels;
    struct slot *s = slot_new(l);
    s->rows = c->n_rows;
    s->requests = c->n_rows + c->errors;
    s->errors = c->errors;
    s->estimated = (double)c->n_rows;
    for (size_t i = 0; i < c->n_rows * width; i++) {
        struct stat_value v = value_of(c, i);
        slot_add(s, i % width, &v);
    }
    for (size_t i = 0; c->latency_us && i < c->n_rows; i++)
        (void)sketch_add(&s->latency, c->latency_us[i]); /* a missing one is not counted */
    return s;
}

/* ---- what the app reads beyond ---- */
static size_t column_at(const struct harness_case *c, const char *name)
{
    for (size_t i = 0; i < c->n_features + c->n_labels; i++)
        if (strcmp(i < c->n_features ? c->features[i] : c->labels[i - c->n_features], name) == 0)
            return i;
    return SIZE_MAX;
}

static struct stat_value cell(const struct harness_case *c, const char *name, size_t row)
{
    size_t at = column_at(c, name);
    if (at != SIZE_MAX)
        return value_of(c, row * (c->n_features + c->n_labels) + at);
    if (strcmp(name, "latency") == 0 && c->latency_us && !isnan(c->latency_us[row]))
        return (struct stat_value){.kind = STAT_NUMBER, .num = c->latency_us[row]};
    if (strcmp(name, "metrics") == 0 && c->metrics && c->metrics[row].n)
        return (struct stat_value){.kind = STAT_TEXT, .text = c->metrics[row]};
    return (struct stat_value){.kind = STAT_MISSING};
}

static struct lake_column make_column(const struct harness_case *c, const char *name, size_t first, size_t n,
                                      struct arena *a)
{
    double *num = arena_array(a, n, sizeof *num);
    struct str *text = arena_array(a, n, sizeof *text);
    unsigned char *missing = arena_array(a, n, 1);
    struct lake_column col = {.type = COLUMN_NUMBER, .num = num, .text = text, .missing = missing};
    for (size_t i = 0; i < n; i++)
        if (cell(c, name, first + i).kind == STAT_TEXT)
            col.type = COLUMN_STRING;
    for (size_t i = 0; i < n; i++) {
        struct stat_value v = cell(c, name, first + i);
        bool fits = col.type == COLUMN_STRING ? v.kind == STAT_TEXT : v.kind == STAT_NUMBER || v.kind == STAT_BOOL;
        num[i] = fits ? v.num : NAN;
        text[i] = v.text;
        missing[i] = !fits;
    }
    return col;
}

static rc_t memory_rows(struct app_source *src, const struct app_input *in, const char *const *columns, size_t n,
                        lake_batch_fn *fn, void *arg, struct err *e)
{
    const struct harness_case *c = ((struct memory_source *)src)->c;
    rc_t rc = OK;
    for (size_t first = 0; !rc && first < c->n_rows; first += BATCH_ROWS) {
        size_t rows = c->n_rows - first < BATCH_ROWS ? c->n_rows - first : BATCH_ROWS;
        struct arena mem = {0};
        struct lake_column *cols = arena_array(&mem, n + 1, sizeof *cols);
        int64_t *when = arena_array(&mem, rows, sizeof *when);
        for (size_t i = 0; i < n; i++)
            cols[i] = make_column(c, columns[i], first, rows, &mem);
        for (size_t i = 0; i < rows; i++)
            when[i] = in->start_us;
        rc = fn(arg, &(struct lake_batch){.n_rows = rows, .n_cols = n, .cols = cols, .when_us = when}, e);
        arena_done(&mem);
    }
    return rc;
}

static rc_t memory_totals(struct app_source *src, int64_t start_us, int64_t end_us, struct app_totals *ret, struct err *e)
{
    const struct harness_case *c = ((struct memory_source *)src)->c;
    (void)e;
    *ret = (struct app_totals){0};
    for (size_t i = 0; i < c->n_earlier; i++)
        if (c->earlier[i].start_us >= start_us && c->earlier[i].end_us <= end_us) {
            ret->requests += c->earlier[i].totals.requests;
            ret->rows += c->earlier[i].totals.rows;
            ret->errors += c->earlier[i].totals.errors;
            ret->estimated += c->earlier[i].totals.estimated;
        }
    return OK;
}

static rc_t memory_earlier(struct app_source *src, const struct app_input *in, int64_t start_us, int64_t end_us,
                           struct slot **ret, struct err *e)
{
    const struct memory_source *m = (struct memory_source *)src;
    struct slot *sum = slot_new(in->layout);
    rc_t rc = OK;
    for (size_t i = 0; !rc && i < m->c->n_earlier; i++) {
        const struct harness_earlier *w = &m->c->earlier[i];
        if (!w->rows || w->start_us < start_us || w->end_us > end_us)
            continue;
        const struct harness_case one = {
            .n_features = m->c->n_features, .n_labels = m->c->n_labels, .rows = w->rows, .n_rows = (size_t)w->totals.rows};
        struct slot *s = count_rows(&one, m->layout);
        rc = slot_merge(sum, s, e);
        slot_free(s);
    }
    if (rc)
        slot_free(sum);
    else
        *ret = sum;
    return rc;
}

/* ---- the run ---- */
static void encode_all(struct harness_answer *r, const struct app_input *in)
{
    r->events = arena_array(&r->mem, r->out.n + 1, sizeof *r->events);
    for (size_t i = 0; i < r->out.n; i++) {
        struct buf text = {0};
        app_output_encode(&r->out.items[i], in, (struct str){0}, &text);
        r->events[i] = arena_str(&r->mem, buf_str(&text));
        buf_done(&text);
    }
}

static rc_t run(const struct app *app, const struct harness_case *c, const void *opts, struct harness_answer *r,
                struct err *e)
{
    static char uid[] = "00000000000000000000000000000001", name[] = "harness";
    const struct endpoint ep = {.id = 1, .project_id = 1, .uid = uid, .name = name, .first_request_us = c->first_request_us};
    struct slot_layout layout = {0};
    make_layout(c, &r->mem, &layout);
    struct slot *window = count_rows(c, &layout);
    struct memory_source source = {{memory_rows, memory_totals, memory_earlier}, c, &layout};
    const struct app_input in = {
        .project = STR("harness"),
        .application = str_of(app->name),
        .endpoint = &ep,
        .start_us = c->end_us ? c->start_us : START_US,
        .end_us = c->end_us ? c->end_us : START_US + PERIOD_US,
        .revision = 1,
        .reference = c->reference,
        .window = window,
        .layout = &layout,
        .arena = &r->mem,
        .source = &source.ops,
    };
    rc_t rc = app->track(opts, &in, &r->out, e);
    if (!rc && r->out.fault.text[0]) {
        *e = r->out.fault;
        rc = E_INVALID;
    }
    if (!rc)
        encode_all(r, &in);
    slot_free(window);
    slot_layout_done(&layout);
    return rc;
}

rc_t harness_run(const struct app *app, const struct harness_case *c, struct harness_answer *ret, struct err *e)
{
    struct config *cfg = NULL;
    harness_done(ret);
    *ret = (struct harness_answer){0};
    ret->out.arena = &ret->mem;
    void *opts = arena_alloc(&ret->mem, app->opts_size ? app->opts_size : 1);
    rc_t rc = bind_options(app, c, &ret->mem, opts, &cfg, e);
    if (!rc)
        rc = run(app, c, opts, ret, e);
    config_free(cfg);
    return rc;
}

const struct app_item *harness_find(const struct harness_answer *a, const char *name)
{
    for (size_t i = 0; i < a->out.n; i++)
        if (str_eqz(a->out.items[i].name, name))
            return &a->out.items[i];
    return NULL;
}

void harness_done(struct harness_answer *a)
{
    app_output_done(&a->out);
    arena_done(&a->mem);
}
