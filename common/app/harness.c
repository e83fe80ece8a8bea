/* An app on rows in memory. */
#include "app/harness.h"
#include <math.h>
#include <stdlib.h>
#include "base/clock.h"
#include "base/mem.h"

#define START_US INT64_C(1735689600000000) /* 2025-01-01 */
#define PERIOD_US (600 * USEC_PER_SEC)

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
    const struct config_spec spec = {
        .program = app->name, .summary = app->summary, .tables = &table, .table_count = app->n_keys ? 1 : 0};
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
    if (!rc && app->check)
        rc = app->check(opts, e);
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

static struct slot *count_rows(const struct harness_case *c, const struct slot_layout *l)
{
    size_t width = c->n_features + c->n_labels;
    struct slot *s = slot_new(l);
    s->rows = s->requests = c->n_rows;
    s->estimated = (double)c->n_rows;
    for (size_t i = 0; i < c->n_rows * width; i++)
        slot_add_f64(s, i % width, c->rows[i]);
    return s;
}

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
    const struct endpoint ep = {.id = 1, .project_id = 1, .uid = uid, .name = name};
    struct slot_layout layout = {0};
    make_layout(c, &r->mem, &layout);
    struct slot *window = count_rows(c, &layout);
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
