/* Metric cells: made once from rows, updated by atomics, never moved. */
#include "metrics/metrics.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/text.h"
#include "metrics/process.h"

struct metric {
    const struct metric_row *row;
    _Atomic int64_t count;    /* COUNTER; of a HISTOGRAM: all observations */
    _Atomic uint64_t bits;    /* GAUGE: the value; HISTOGRAM: the sum; a double's bits */
    _Atomic int64_t *buckets; /* HISTOGRAM: not cumulative, the last is above all bounds */
    atomic_bool used;
};

struct metric_cells {
    struct metric *cells; /* dim[0] × dim[1] */
    size_t dim[2];
    struct map learned[2]; /* value → index + 1 */
    char **names[2];       /* learned values by index; [cap] is "other" */
    size_t known[2];
};

struct render_hook {
    void (*fn)(void *arg);
    void *arg;
};

static const double default_buckets[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
static const char *const kind_names[] = {"counter", "gauge", "histogram"};

static struct metric_set *first_set, *last_set;
static struct render_hook hooks[64];
static size_t hook_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static const double *buckets_of(const struct metric_row *row, size_t *ret_count)
{
    *ret_count = row->buckets ? row->bucket_count : sizeof default_buckets / sizeof *default_buckets;
    return row->buckets ? row->buckets : default_buckets;
}

static size_t label_dim(const struct metric_label *label)
{
    if (label->name == NULL)
        return 1;
    size_t n = 0;
    while (label->values && label->values[n])
        n++;
    return label->values ? n : label->cap + 1;
}

static void make_cells(struct metric_cells *c, const struct metric_row *row)
{
    for (size_t l = 0; l < 2; l++) {
        c->dim[l] = label_dim(&row->labels[l]);
        if (row->labels[l].name && row->labels[l].values == NULL) {
            c->names[l] = mem_array(c->dim[l], sizeof *c->names[l]);
            c->names[l][row->labels[l].cap] = mem_dupz("other");
        }
    }
    c->cells = mem_array(c->dim[0] * c->dim[1], sizeof *c->cells);
    for (size_t i = 0; i < c->dim[0] * c->dim[1]; i++) {
        size_t n;
        c->cells[i].row = row;
        (void)buckets_of(row, &n);
        if (row->kind == METRIC_HISTOGRAM)
            c->cells[i].buckets = mem_array(n + 1, sizeof *c->cells[i].buckets);
    }
}

void metrics_register(struct metric_set *set)
{
    (void)pthread_mutex_lock(&lock); /* a plain mutex fails only by misuse; so below */
    if (set->cells == NULL) {
        struct metric_cells *cells = mem_array(set->count, sizeof *cells);
        for (size_t i = 0; i < set->count; i++)
            make_cells(&cells[i], &set->rows[i]);
        set->cells = cells;
        if (last_set)
            last_set->next = set;
        else
            first_set = set;
        last_set = set;
    }
    (void)pthread_mutex_unlock(&lock);
}

void metrics_on_render(void (*fn)(void *arg), void *arg)
{
    (void)pthread_mutex_lock(&lock);
    assert(hook_count < sizeof hooks / sizeof *hooks);
    hooks[hook_count++] = (struct render_hook){fn, arg};
    (void)pthread_mutex_unlock(&lock);
}

void metrics_off_render(void (*fn)(void *arg), void *arg)
{
    (void)pthread_mutex_lock(&lock);
    for (size_t i = 0; i < hook_count; i++) {
        if (hooks[i].fn == fn && hooks[i].arg == arg) {
            hooks[i] = hooks[--hook_count];
            break;
        }
    }
    (void)pthread_mutex_unlock(&lock);
}

struct metric *metrics_at(const struct metric_set *set, size_t row, size_t first, size_t second)
{
    assert(set->cells != NULL && row < set->count);
    const struct metric_cells *c = &set->cells[row];
    assert(first < c->dim[0] && second < c->dim[1]);
    return &c->cells[first * c->dim[1] + second];
}

size_t metrics_label(struct metric_set *set, size_t row, size_t label, struct str value)
{
    assert(set->cells != NULL && row < set->count && label < 2);
    struct metric_cells *c = &set->cells[row];
    size_t cap = set->rows[row].labels[label].cap, at = cap;
    assert(c->names[label] != NULL);
    (void)pthread_mutex_lock(&lock);
    void *found = map_get(&c->learned[label], value);
    if (found) {
        at = (size_t)(uintptr_t)found - 1;
    } else if (c->known[label] < cap && text_is_utf8(value)) {
        at = c->known[label]++;
        c->names[label][at] = mem_dup(value.p, value.n);
        (void)map_put(&c->learned[label], value, (void *)(uintptr_t)(at + 1)); /* was not there */
    }
    (void)pthread_mutex_unlock(&lock);
    return at;
}

/* ---- updates ---- */

static void touch(struct metric *m)
{
    if (!atomic_load_explicit(&m->used, memory_order_relaxed))
        atomic_store_explicit(&m->used, true, memory_order_relaxed);
}

static double from_bits(uint64_t bits)
{
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static uint64_t to_bits(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

void metric_add(struct metric *m, int64_t n)
{
    atomic_fetch_add_explicit(&m->count, n, memory_order_relaxed);
    touch(m);
}

void metric_set(struct metric *m, double v)
{
    atomic_store_explicit(&m->bits, to_bits(v), memory_order_relaxed);
    touch(m);
}

void metric_observe(struct metric *m, double v)
{
    size_t n, i = 0;
    const double *bounds = buckets_of(m->row, &n);
    while (i < n && !(v <= bounds[i]))
        i++;
    atomic_fetch_add_explicit(&m->buckets[i], 1, memory_order_relaxed);
    uint64_t old = atomic_load_explicit(&m->bits, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&m->bits, &old, to_bits(from_bits(old) + v), memory_order_relaxed,
                                                  memory_order_relaxed))
        ;
    atomic_fetch_add_explicit(&m->count, 1, memory_order_relaxed);
    touch(m);
}

double metric_read(const struct metric *m)
{
    if (m->row->kind == METRIC_GAUGE)
        return from_bits(atomic_load_explicit(&m->bits, memory_order_relaxed));
    double scale = m->row->kind == METRIC_COUNTER && m->row->scale != 0 ? m->row->scale : 1;
    return (double)atomic_load_explicit(&m->count, memory_order_relaxed) * scale;
}

/* ---- text ---- */

static void add_number(struct buf *to, double v)
{
    char text[32];
    if (isinf(v))
        buf_addz(to, v > 0 ? "+Inf" : "-Inf");
    else
        buf_add(to, text, num_print_f64(text, v));
}

static void add_escaped(struct buf *to, const char *text, bool quotes)
{
    for (const char *c = text; *c; c++) {
        if (*c == '\n')
            buf_addz(to, "\\n");
        else if (*c == '\\')
            buf_addz(to, "\\\\");
        else if (*c == '"' && quotes)
            buf_addz(to, "\\\"");
        else
            buf_addc(to, *c);
    }
}

static const char *value_name(const struct metric_row *row, const struct metric_cells *c, size_t label, size_t at)
{
    return row->labels[label].values ? row->labels[label].values[at] : c->names[label][at];
}

/* {a="x",b="y",le="0.1"}; nothing without labels. le NULL: none. */
static void add_labels(struct buf *to, const struct metric_row *row, const struct metric_cells *c, const size_t at[2],
                       const double *le)
{
    char before = '{';
    for (size_t l = 0; l < 2; l++) {
        if (row->labels[l].name == NULL)
            continue;
        buf_addf(to, "%c%s=\"", before, row->labels[l].name);
        add_escaped(to, value_name(row, c, l, at[l]), true);
        buf_addc(to, '"');
        before = ',';
    }
    if (le) {
        buf_addf(to, "%cle=\"", before);
        add_number(to, *le);
        buf_addc(to, '"');
        before = ',';
    }
    if (before == ',')
        buf_addc(to, '}');
}

static void add_line(struct buf *to, const struct metric_row *row, const struct metric_cells *c, const size_t at[2],
                     const char *suffix, const double *le, double v)
{
    buf_addf(to, "%s%s", row->name, suffix);
    add_labels(to, row, c, at, le);
    buf_addc(to, ' ');
    add_number(to, v);
    buf_addc(to, '\n');
}

static void add_histogram(struct buf *to, const struct metric_cells *c, const struct metric *m, const size_t at[2])
{
    size_t n;
    const double *bounds = buckets_of(m->row, &n);
    int64_t sum = 0;
    for (size_t i = 0; i <= n; i++) {
        double le = i < n ? bounds[i] : INFINITY;
        sum += atomic_load_explicit(&m->buckets[i], memory_order_relaxed);
        add_line(to, m->row, c, at, "_bucket", &le, (double)sum);
    }
    add_line(to, m->row, c, at, "_sum", NULL, from_bits(atomic_load_explicit(&m->bits, memory_order_relaxed)));
    add_line(to, m->row, c, at, "_count", NULL, (double)sum); /* equal to the last bucket, also during updates */
}

/* Cells with fixed labels are shown from the start, so that rates see the first event; learned ones once used. */
static bool shown(const struct metric_row *row, const struct metric *m)
{
    bool learned = false;
    for (size_t l = 0; l < 2; l++)
        learned = learned || (row->labels[l].name && row->labels[l].values == NULL);
    return !learned || atomic_load_explicit(&m->used, memory_order_relaxed);
}

static void render_row(struct buf *to, const struct metric_row *row, const struct metric_cells *c)
{
    buf_addf(to, "# HELP %s ", row->name);
    add_escaped(to, row->help, false);
    buf_addf(to, "\n# TYPE %s %s\n", row->name, kind_names[row->kind]);
    for (size_t a = 0; a < c->dim[0]; a++) {
        for (size_t b = 0; b < c->dim[1]; b++) {
            const struct metric *m = &c->cells[a * c->dim[1] + b];
            const size_t at[2] = {a, b};
            if (!shown(row, m))
                continue;
            if (row->kind == METRIC_HISTOGRAM)
                add_histogram(to, c, m, at);
            else
                add_line(to, row, c, at, "", NULL, metric_read(m));
        }
    }
}

void metrics_render(struct buf *to)
{
    struct render_hook now[sizeof hooks / sizeof *hooks];
    process_refresh();
    (void)pthread_mutex_lock(&lock);
    size_t n = hook_count;
    memcpy(now, hooks, sizeof now);
    (void)pthread_mutex_unlock(&lock);
    for (size_t i = 0; i < n; i++)
        now[i].fn(now[i].arg);
    (void)pthread_mutex_lock(&lock); /* learned names do not grow meanwhile */
    for (const struct metric_set *set = first_set; set; set = set->next)
        for (size_t i = 0; i < set->count; i++)
            render_row(to, &set->rows[i], &set->cells[i]);
    (void)pthread_mutex_unlock(&lock);
}

void metrics_markdown(struct buf *to)
{
    process_refresh();
    buf_addz(to, "| metric | kind | labels | meaning |\n|---|---|---|---|\n");
    (void)pthread_mutex_lock(&lock);
    for (const struct metric_set *set = first_set; set; set = set->next) {
        for (size_t i = 0; i < set->count; i++) {
            const struct metric_row *row = &set->rows[i];
            buf_addf(to, "| `%s` | %s |", row->name, kind_names[row->kind]);
            for (size_t l = 0; l < 2; l++)
                if (row->labels[l].name)
                    buf_addf(to, "%s `%s`", l ? "," : "", row->labels[l].name);
            buf_addf(to, " | %s |\n", row->help);
        }
    }
    (void)pthread_mutex_unlock(&lock);
}
