/* Prometheus metrics: rows ⇒ cells updated by any thread ⇒ text format 0.0.4.
 *
 * To add a metric: one row in the owner's table. A row has up to two labels, each with a fixed list of values or with a cap
 * on how many it may learn; what comes after the cap is counted as "other".
 *
 *     enum { M_EVENTS, M_FLUSH_SECONDS };
 *     static const struct metric_row rows[] = {
 *         [M_EVENTS] = {.name = "modelmon_stream_events_total", .kind = METRIC_COUNTER, .help = "Events taken in.",
 *                       .labels = {{.name = "trigger", .values = (const char *const[]){"http", "kafka", NULL}}}},
 *         [M_FLUSH_SECONDS] = {.name = "modelmon_stream_flush_seconds", .kind = METRIC_HISTOGRAM, .help = "…"},
 *     };
 *     static struct metric_set metrics = METRIC_SET(rows);
 *     …
 *     metrics_register(&metrics);                                  // once, at open
 *     metric_add(metrics_at(&metrics, M_EVENTS, TRIGGER_HTTP, 0), 1);
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/str.h"

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric_label {
    const char *name;          /* NULL: no such label */
    const char *const *values; /* NULL-ended; NULL: values are learned by metrics_label */
    size_t cap;                /* how many may be learned, "other" not counted */
};

struct metric_row {
    const char *name, *help;
    enum metric_kind kind;
    struct metric_label labels[2];
    double scale;          /* COUNTER: shown as count × scale (0 means 1): microseconds as seconds with 1e-6 */
    const double *buckets; /* HISTOGRAM: upper bounds; NULL: 1 ms … 10 s */
    size_t bucket_count;
};

struct metric; /* one cell */

struct metric_set {
    const struct metric_row *rows;
    size_t count;
    struct metric_cells *cells; /* one a row, made by metrics_register */
    struct metric_set *next;
};
#define METRIC_SET(row_array)                                                                                          \
    {                                                                                                                  \
        .rows = (row_array), .count = sizeof(row_array) / sizeof *(row_array)                                          \
    }

void metrics_register(struct metric_set *set);            /* again is fine */
void metrics_on_render(void (*fn)(void *arg), void *arg); /* called before each rendering: for gauges that are looked up */
void metrics_off_render(void (*fn)(void *arg), void *arg);

/* The cell of a row at the values' indices (0 where there is no label). Stays valid: keep it for hot paths. */
struct metric *metrics_at(const struct metric_set *set, size_t row, size_t first, size_t second);
/* The index of a learned value: learns it below the cap, else that of "other". */
size_t metrics_label(struct metric_set *set, size_t row, size_t label, struct str value);

void metric_add(struct metric *m, int64_t n);    /* COUNTER: n >= 0 */
void metric_set(struct metric *m, double v);     /* GAUGE */
void metric_observe(struct metric *m, double v); /* HISTOGRAM */
double metric_read(const struct metric *m);      /* counter × scale, gauge, or a histogram's count */

void metrics_render(struct buf *to);   /* all registered sets, and process_* */
void metrics_markdown(struct buf *to); /* name, kind, labels, help */
