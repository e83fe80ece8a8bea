/* Files for the harness, and the --try of every app. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "app/harness.h"
#include "base/mem.h"
#include "lake/table.h"

#define VALUES_BYTES_MAX (256u << 20)
#define OPTIONS_MAX 256

enum role { ROLE_FEATURE, ROLE_LABEL, ROLE_LATENCY, ROLE_METRICS, ROLE_ERROR };

/* ---- columns ---- */
static bool is_in(struct str list, struct str name)
{
    for (size_t at = 0; at <= list.n && list.n;) {
        const char *comma = memchr(list.p + at, ',', list.n - at);
        size_t end = comma ? (size_t)(comma - list.p) : list.n;
        if (str_eq((struct str){list.p + at, end - at}, name))
            return true;
        at = end + 1;
    }
    return false;
}

static rc_t check_labels(struct str labels, const struct lake_table *t, struct err *e)
{
    const struct lake_table_column *columns;
    size_t n = lake_table_columns(t, &columns);
    for (size_t at = 0; at < labels.n;) {
        const char *comma = memchr(labels.p + at, ',', labels.n - at);
        struct str name = {labels.p + at, (comma ? (size_t)(comma - labels.p) : labels.n) - at};
        size_t i = 0;
        while (i < n && !str_eqz(name, columns[i].name))
            i++;
        if (name.n && i == n)
            return err_set(e, E_INVALID, "there is no column %.*s", STR_FMT(name));
        at += name.n + 1;
    }
    return OK;
}

static enum role role_of(struct str name, struct str labels)
{
    if (is_in(labels, name))
        return ROLE_LABEL;
    return str_eqz(name, "latency")   ? ROLE_LATENCY
           : str_eqz(name, "metrics") ? ROLE_METRICS
           : str_eqz(name, "error")   ? ROLE_ERROR
                                      : ROLE_FEATURE;
}

/* ---- rows ---- */
/* Rows without an error, features first; what is neither feature nor label in arrays of its own. */
struct filling {
    struct harness_csv *to;
    const enum role *roles;
    size_t *places; /* of a feature or label in its row */
    struct stat_value *values;
    double *latency;
    struct str *metrics;
    size_t cap, bytes;
};

static void name_columns(const struct lake_table *t, struct str labels, struct filling *f)
{
    struct harness_case *c = &f->to->rows;
    struct arena *a = &f->to->mem;
    const struct lake_table_column *columns;
    size_t n = lake_table_columns(t, &columns);
    enum role *roles = arena_array(a, n + 1, sizeof *roles);
    const char **features = arena_array(a, n + 1, sizeof *features), **named = arena_array(a, n + 1, sizeof *named);
    f->places = arena_array(a, n + 1, sizeof *f->places);
    c->n_features = c->n_labels = 0;
    for (size_t i = 0; i < n; i++) {
        struct str name = str_of(columns[i].name);
        roles[i] = role_of(name, labels);
        if (roles[i] == ROLE_FEATURE)
            features[f->places[i] = c->n_features++] = arena_dup(a, name.p, name.n);
        else if (roles[i] == ROLE_LABEL)
            named[f->places[i] = c->n_labels++] = arena_dup(a, name.p, name.n);
    }
    for (size_t i = 0; i < n; i++)
        f->places[i] += roles[i] == ROLE_LABEL ? c->n_features : 0;
    f->roles = roles;
    c->features = features;
    c->labels = named;
}

static struct stat_value value_of(const struct lake_column *c, size_t row, struct arena *a)
{
    if (c->missing[row])
        return (struct stat_value){.kind = STAT_MISSING};
    if (c->type == COLUMN_STRING)
        return (struct stat_value){.kind = STAT_TEXT, .text = arena_str(a, c->text[row])};
    return (struct stat_value){.kind = c->type == COLUMN_BOOL ? STAT_BOOL : STAT_NUMBER, .num = c->num[row]};
}

static void make_room(struct filling *f, size_t more)
{
    const struct harness_case *c = &f->to->rows;
    if (c->n_rows + more <= f->cap)
        return;
    f->cap = f->cap ? 2 * f->cap : 4096;
    f->values = mem_grow(f->values, f->cap * (c->n_features + c->n_labels) + 1, sizeof *f->values);
    f->latency = mem_grow(f->latency, f->cap, sizeof *f->latency);
    f->metrics = mem_grow(f->metrics, f->cap, sizeof *f->metrics);
}

static void take_row(struct filling *f, const struct lake_batch *b, size_t row)
{
    struct harness_case *c = &f->to->rows;
    struct stat_value *values = f->values + c->n_rows * (c->n_features + c->n_labels);
    bool failed = false;
    f->latency[c->n_rows] = NAN;
    f->metrics[c->n_rows] = (struct str){0};
    for (size_t i = 0; i < b->n_cols; i++) {
        struct stat_value v = value_of(&b->cols[i], row, &f->to->mem);
        f->bytes += sizeof v + v.text.n;
        if (f->roles[i] == ROLE_FEATURE || f->roles[i] == ROLE_LABEL)
            values[f->places[i]] = v;
        else if (f->roles[i] == ROLE_LATENCY && v.kind == STAT_NUMBER)
            f->latency[c->n_rows] = v.num;
        else if (f->roles[i] == ROLE_METRICS)
            f->metrics[c->n_rows] = v.text;
        else if (f->roles[i] == ROLE_ERROR)
            failed = v.kind == STAT_BOOL ? v.num != 0 : v.kind != STAT_MISSING;
    }
    c->n_rows += !failed;
    c->errors += failed;
}

static rc_t take_batch(void *arg, const struct lake_batch *b, struct err *e)
{
    struct filling *f = arg;
    make_room(f, b->n_rows);
    for (size_t i = 0; i < b->n_rows; i++)
        take_row(f, b, i);
    if (f->bytes <= VALUES_BYTES_MAX)
        return OK;
    return err_set(e, E_LIMIT, "more than %u MiB of values: the harness is for samples", VALUES_BYTES_MAX >> 20);
}

static void keep(struct filling *f)
{
    struct harness_case *c = &f->to->rows;
    size_t n = c->n_rows * (c->n_features + c->n_labels);
    struct stat_value *values = arena_array(&f->to->mem, n + 1, sizeof *values);
    double *latency = arena_array(&f->to->mem, c->n_rows + 1, sizeof *latency);
    struct str *metrics = arena_array(&f->to->mem, c->n_rows + 1, sizeof *metrics);
    if (c->n_rows) {
        memcpy(values, f->values, n * sizeof *values);
        memcpy(latency, f->latency, c->n_rows * sizeof *latency);
        memcpy(metrics, f->metrics, c->n_rows * sizeof *metrics);
    }
    c->values = values;
    c->latency_us = latency;
    c->metrics = metrics;
}

static rc_t read_rows(struct lake_table *t, struct str labels, struct harness_csv *ret, struct err *e)
{
    struct filling f = {.to = ret};
    name_columns(t, labels, &f);
    rc_t rc = lake_table_read(t, take_batch, &f, e);
    if (rc == OK)
        keep(&f);
    mem_free(f.values);
    mem_free(f.latency);
    mem_free(f.metrics);
    return rc;
}

rc_t harness_read_csv(const char *path, struct str labels, struct harness_csv *ret, struct err *e)
{
    struct harness_csv out = {0};
    struct lake_table *t = NULL;
    rc_t rc = lake_table_open(&t, path, e);
    if (rc)
        return rc;
    rc = check_labels(labels, t, e);
    for (bool again = rc == OK; again;) {
        harness_csv_done(&out);
        out = (struct harness_csv){0};
        rc = read_rows(t, labels, &out, e);
        again = rc == E_AGAIN; /* once: the types of its columns are known then */
    }
    lake_table_free(t);
    if (rc == OK)
        *ret = out;
    else
        harness_csv_done(&out);
    return rc && !strstr(e->text, path) ? err_prefix(e, rc, "%s: ", path) : rc;
}

void harness_csv_done(struct harness_csv *c)
{
    arena_done(&c->mem);
}

rc_t harness_reference(const struct harness_csv *c, struct reference **ret, struct err *e)
{
    size_t width = c->rows.n_features + c->rows.n_labels;
    struct reference *r = reference_new();
    struct stat_value *column = mem_array(c->rows.n_rows + 1, sizeof *column);
    rc_t rc = OK;
    for (size_t i = 0; !rc && i < width; i++) {
        bool label = i >= c->rows.n_features;
        for (size_t row = 0; row < c->rows.n_rows; row++)
            column[row] = c->rows.values[row * width + i];
        rc = reference_add_values(r, str_of(label ? c->rows.labels[i - c->rows.n_features] : c->rows.features[i]),
                                  label, column, c->rows.n_rows, e);
    }
    mem_free(column);
    if (rc) {
        reference_free(r);
        return rc;
    }
    r->version = 1;
    *ret = r;
    return OK;
}

/* ---- --try ---- */
static const char *flag_value(const char *arg, const char *flag)
{
    size_t n = strlen(flag);
    return strncmp(arg, flag, n) == 0 && arg[n] == '=' ? arg + n + 1 : NULL;
}

static rc_t try_files(const struct app *app, const char *rows, const char *training, struct str labels,
                      const char *const *options, struct err *e)
{
    struct harness_csv sample = {0}, trained = {0};
    struct reference *ref = NULL;
    struct harness_answer a = {0};
    rc_t rc = harness_read_csv(rows, labels, &sample, e);
    if (!rc && training)
        rc = harness_read_csv(training, labels, &trained, e);
    if (!rc && training)
        rc = harness_reference(&trained, &ref, e);
    sample.rows.reference = ref;
    sample.rows.options = options;
    if (!rc)
        rc = harness_run(app, &sample.rows, &a, e);
    for (size_t i = 0; !rc && i < a.out.n; i++)
        (void)printf("%.*s\n", STR_FMT(a.events[i]));
    harness_done(&a);
    reference_free(ref);
    harness_csv_done(&sample);
    harness_csv_done(&trained);
    return rc;
}

int harness_main(const struct app *app, int argc, char **argv)
{
    const char *rows = NULL, *training = NULL, *labels = "", *options[OPTIONS_MAX + 1] = {0};
    size_t n = 0;
    for (int i = 1; i < argc; i++) {
        const char *v;
        if ((v = flag_value(argv[i], "--try")))
            rows = v;
        else if ((v = flag_value(argv[i], "--try-reference")))
            training = v;
        else if ((v = flag_value(argv[i], "--try-labels")))
            labels = v;
        else if (n < OPTIONS_MAX && strncmp(argv[i], "--", 2) == 0)
            options[n++] = argv[i] + 2;
    }
    if (!rows)
        return -1;
    struct err e = {{0}};
    if (try_files(app, rows, training, str_of(labels), options, &e) == OK)
        return 0;
    (void)fprintf(stderr, "%s: %s\n", app->name, e.text);
    return 2;
}
