/* CSV files for the harness, and the --try of every app. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "app/harness.h"
#include "base/mem.h"
#include "base/num.h"

#define CSV_BYTES_MAX (256u << 20)
#define CSV_COLUMNS_MAX 4096u
#define OPTIONS_MAX 256

enum role { ROLE_FEATURE, ROLE_LABEL, ROLE_LATENCY, ROLE_METRICS, ROLE_ERROR };

struct csv {
    struct str text; /* what is left of it */
    size_t line;
    struct arena *mem;
};

/* ---- the text ---- */
static rc_t read_whole(const char *path, struct buf *ret, struct err *e)
{
    FILE *f = fopen(path, "rbe");
    if (!f)
        return err_set(e, errno == ENOENT ? E_NOTFOUND : E_INVALID, "%s", strerror(errno));
    char piece[65536];
    for (size_t n; (n = fread(piece, 1, sizeof piece, f)) > 0 && ret->len <= CSV_BYTES_MAX;)
        buf_add(ret, piece, n);
    bool bad = ferror(f);
    (void)fclose(f); /* it was only read */
    if (bad)
        return err_set(e, E_INVALID, "cannot be read");
    if (ret->len > CSV_BYTES_MAX)
        return err_set(e, E_LIMIT, "larger than %u MiB: the harness is for samples", CSV_BYTES_MAX >> 20);
    return OK;
}

/* A quoted field, from behind its first quote. */
static rc_t quoted(struct csv *c, struct str *ret, struct err *e)
{
    size_t n = 0, i = 0, began = c->line, end = 0;
    while (end < c->text.n && (c->text.p[end] != '"' || (end + 1 < c->text.n && c->text.p[end + 1] == '"')))
        end += c->text.p[end] == '"' ? 2 : 1;
    char *to = arena_alloc(c->mem, end + 1);
    for (; i < c->text.n; i++) {
        if (c->text.p[i] == '"' && (i + 1 == c->text.n || c->text.p[i + 1] != '"'))
            break;
        i += c->text.p[i] == '"';
        c->line += c->text.p[i] == '\n';
        to[n++] = c->text.p[i];
    }
    if (i == c->text.n)
        return err_set(e, E_INVALID, "line %zu: a quote that does not end", began);
    *ret = (struct str){to, n};
    c->text = (struct str){c->text.p + i + 1, c->text.n - i - 1};
    return OK;
}

static rc_t field(struct csv *c, struct str *ret, struct err *e)
{
    if (c->text.n && c->text.p[0] == '"') {
        c->text = (struct str){c->text.p + 1, c->text.n - 1};
        return quoted(c, ret, e);
    }
    size_t n = 0;
    while (n < c->text.n && c->text.p[n] != ',' && c->text.p[n] != '\n' && c->text.p[n] != '\r')
        n++;
    *ret = (struct str){c->text.p, n};
    c->text = (struct str){c->text.p + n, c->text.n - n};
    return OK;
}

/* One record into fields[max]; *ret_n of them. */
static rc_t record(struct csv *c, struct str *fields, size_t max, size_t *ret_n, struct err *e)
{
    size_t line = ++c->line, n = 0;
    for (bool more = true; more;) {
        if (n == max)
            return err_set(e, E_INVALID, "line %zu: more fields than columns (%zu)", line, max);
        rc_t rc = field(c, &fields[n++], e);
        if (rc)
            return rc;
        more = c->text.n && c->text.p[0] == ',';
        if (!more && c->text.n && c->text.p[0] == '\r')
            c->text = (struct str){c->text.p + 1, c->text.n - 1};
        if (!more && c->text.n && c->text.p[0] != '\n')
            return err_set(e, E_INVALID, "line %zu: text behind a quoted field", line);
        if (c->text.n)
            c->text = (struct str){c->text.p + 1, c->text.n - 1};
    }
    *ret_n = n;
    return OK;
}

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

static rc_t check_labels(struct str labels, const struct str *head, size_t width, struct err *e)
{
    for (size_t at = 0; at < labels.n;) {
        const char *comma = memchr(labels.p + at, ',', labels.n - at);
        struct str name = {labels.p + at, (comma ? (size_t)(comma - labels.p) : labels.n) - at};
        size_t i = 0;
        while (i < width && !str_eq(head[i], name))
            i++;
        if (name.n && i == width)
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

struct table {
    struct str *head, *cells; /* width a row */
    size_t width, n, cap;
};

static rc_t read_table(struct csv *c, struct table *t, struct err *e)
{
    t->head = arena_array(c->mem, CSV_COLUMNS_MAX, sizeof *t->head);
    rc_t rc = record(c, t->head, CSV_COLUMNS_MAX, &t->width, e);
    for (size_t i = 0; !rc && i < t->width; i++)
        for (size_t j = 0; j <= i; j++)
            if (t->head[i].n == 0 || (j < i && str_eq(t->head[i], t->head[j])))
                return err_set(e, E_INVALID, "the header's column %zu has no name of its own", i + 1);
    while (!rc && c->text.n) {
        size_t n = 0;
        if (t->n == t->cap) {
            t->cap = t->cap ? t->cap * 2 : 1024;
            t->cells = mem_grow(t->cells, t->cap * t->width, sizeof *t->cells);
        }
        rc = record(c, t->cells + t->n * t->width, t->width, &n, e);
        if (!rc && n == 1 && t->cells[t->n * t->width].n == 0 && t->width > 1)
            continue; /* an empty line */
        if (!rc && n != t->width)
            rc = err_set(e, E_INVALID, "line %zu: %zu fields, the header has %zu", c->line, n, t->width);
        t->n++;
    }
    return rc;
}

static bool all_numbers(const struct table *t, size_t column)
{
    double ignored;
    for (size_t i = 0; i < t->n; i++) {
        struct str s = t->cells[i * t->width + column];
        if (s.n && num_f64(s, &ignored))
            return false;
    }
    return true;
}

static struct stat_value value_of(struct str s, bool numbers)
{
    struct stat_value v = {.kind = s.n == 0 ? STAT_MISSING : numbers ? STAT_NUMBER : STAT_TEXT, .text = s};
    if (v.kind == STAT_NUMBER && num_f64(s, &v.num))
        v.kind = STAT_MISSING;
    return v;
}

static const char **names_of(const struct table *t, const enum role *roles, enum role role, struct arena *a, size_t *ret_n)
{
    const char **names = arena_array(a, t->width + 1, sizeof *names);
    size_t n = 0;
    for (size_t i = 0; i < t->width; i++)
        if (roles[i] == role)
            names[n++] = arena_dup(a, t->head[i].p, t->head[i].n);
    *ret_n = n;
    return names;
}

/* Rows without an error, features first; what is not a feature or label into arrays of its own. */
static void fill(const struct table *t, const enum role *roles, struct harness_csv *ret)
{
    struct harness_case *c = &ret->rows;
    struct arena *a = &ret->mem;
    c->features = names_of(t, roles, ROLE_FEATURE, a, &c->n_features);
    c->labels = names_of(t, roles, ROLE_LABEL, a, &c->n_labels);
    size_t width = c->n_features + c->n_labels, rows = 0;
    struct stat_value *values = arena_array(a, t->n * width + 1, sizeof *values);
    double *latency = arena_array(a, t->n + 1, sizeof *latency);
    struct str *metrics = arena_array(a, t->n + 1, sizeof *metrics);
    bool *numbers = arena_array(a, t->width + 1, sizeof *numbers);
    for (size_t i = 0; i < t->width; i++)
        numbers[i] = all_numbers(t, i);
    for (size_t r = 0; r < t->n; r++) {
        size_t at[2] = {0, c->n_features};
        bool failed = false;
        latency[rows] = NAN;
        for (size_t i = 0; i < t->width; i++) {
            struct stat_value v = value_of(t->cells[r * t->width + i], numbers[i]);
            if (roles[i] == ROLE_FEATURE || roles[i] == ROLE_LABEL)
                values[rows * width + at[roles[i] == ROLE_LABEL]++] = v;
            else if (roles[i] == ROLE_LATENCY && v.kind == STAT_NUMBER)
                latency[rows] = v.num;
            else if (roles[i] == ROLE_METRICS)
                metrics[rows] = v.text;
            else if (roles[i] == ROLE_ERROR && v.text.n)
                failed = true;
        }
        rows += !failed;
        c->errors += failed;
    }
    c->values = values;
    c->latency_us = latency;
    c->metrics = metrics;
    c->n_rows = rows;
}

rc_t harness_read_csv(const char *path, struct str labels, struct harness_csv *ret, struct err *e)
{
    struct harness_csv out = {0};
    struct buf text = {0};
    struct table t = {0};
    rc_t rc = read_whole(path, &text, e);
    struct csv c = {.text = arena_str(&out.mem, buf_str(&text)), .mem = &out.mem};
    buf_done(&text);
    if (c.text.n >= 3 && memcmp(c.text.p, "\xEF\xBB\xBF", 3) == 0)
        c.text = (struct str){c.text.p + 3, c.text.n - 3};
    if (!rc)
        rc = read_table(&c, &t, e);
    if (!rc)
        rc = check_labels(labels, t.head, t.width, e);
    if (!rc) {
        enum role *roles = arena_array(&out.mem, t.width + 1, sizeof *roles);
        for (size_t i = 0; i < t.width; i++)
            roles[i] = role_of(t.head[i], labels);
        fill(&t, roles, &out);
    }
    mem_free(t.cells);
    if (rc)
        arena_done(&out.mem);
    else
        *ret = out;
    return rc ? err_prefix(e, rc, "%s: ", path) : OK;
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
