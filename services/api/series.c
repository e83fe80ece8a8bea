/* Owns what is shown of a series of values besides themselves. All of it is counted on the values as they are stored. */
#include "series.h"

#include <math.h>
#include <stdlib.h>
#include "base/mem.h"
#include "json/doc.h"

/* ---- fewer points ---- */
/* NaN is lower than any value. */
static bool higher(const struct result_point *a, const struct result_point *b)
{
    if (a->status != b->status)
        return a->status > b->status;
    return a->value > b->value || (isnan(b->value) && !isnan(a->value));
}

size_t series_thin(struct result_point *p, size_t n, size_t max)
{
    size_t parts = max / 2, kept = 0;
    if (n <= max)
        return n;
    for (size_t part = 0; part < parts; part++) {
        size_t from = part * n / parts, to = (part + 1) * n / parts, low = from, high = from;
        for (size_t i = from; i < to; i++) {
            if (higher(&p[i], &p[high]))
                high = i;
            if (higher(&p[low], &p[i]))
                low = i;
        }
        struct result_point first = p[low < high ? low : high], second = p[low < high ? high : low];
        p[kept++] = first; /* never past what was read: a part has two points at least */
        if (low != high)
            p[kept++] = second;
    }
    return kept;
}

/* ---- histogram ---- */
static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* As numpy's percentile does, between two values linearly. */
static double quantile(const double *x, size_t n, double q)
{
    double at = q * (double)(n - 1);
    size_t below = (size_t)at;
    return below + 1 < n ? x[below] + (at - (double)below) * (x[below + 1] - x[below]) : x[n - 1];
}

static size_t bins_of(const double *x, size_t n, int64_t bins)
{
    if (bins != SERIES_BINS_AUTO)
        return (size_t)bins;
    double width = 2 * (quantile(x, n, 0.75) - quantile(x, n, 0.25)) / cbrt((double)n), span = x[n - 1] - x[0];
    if (!(width > 0) || !(span / width < SERIES_BINS_MAX))
        return (size_t)ceil(log2((double)n)) + 1;
    return span > 0 ? (size_t)ceil(span / width) : 1;
}

static void write_bins(struct json_writer *w, const double *x, size_t n, size_t bins)
{
    double low = x[0], high = x[n - 1];
    if (!(low < high)) {
        low -= 0.5;
        high += 0.5;
    }
    double *edges = mem_array(bins + 1, sizeof *edges);
    for (size_t i = 0; i < bins; i++)
        edges[i] = low + (double)i * ((high - low) / (double)bins);
    edges[bins] = high;
    jw_key(w, "edges");
    jw_array(w);
    for (size_t i = 0; i <= bins; i++)
        jw_f64(w, edges[i]);
    jw_array_end(w);
    jw_key(w, "counts");
    jw_array(w);
    for (size_t i = 0, at = 0; i < bins; i++) {
        size_t from = at;
        while (at < n && (x[at] < edges[i + 1] || i + 1 == bins))
            at++;
        jw_i64(w, (int64_t)(at - from));
    }
    jw_array_end(w);
    mem_free(edges);
}

static void write_summary(struct json_writer *w, const double *x, size_t n)
{
    double mean = 0, square = 0;
    for (size_t i = 0; i < n; i++)
        mean += x[i] / (double)n;
    for (size_t i = 0; i < n; i++)
        square += (x[i] - mean) * (x[i] - mean);
    jw_kv_f64(w, "mean", mean);
    jw_kv_f64(w, "std", n > 1 ? sqrt(square / (double)(n - 1)) : 0);
    jw_kv_f64(w, "min", x[0]);
    jw_kv_f64(w, "p50", quantile(x, n, 0.5));
    jw_kv_f64(w, "p95", quantile(x, n, 0.95));
    jw_kv_f64(w, "max", x[n - 1]);
}

void series_write_histogram(struct json_writer *w, const struct result_point *p, size_t n, int64_t bins)
{
    double *x = mem_array(n, sizeof *x);
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        if (isfinite(p[i].value))
            x[k++] = p[i].value;
    qsort(x, k, sizeof *x, ascending);
    jw_object(w);
    jw_kv_i64(w, "n", (int64_t)k);
    if (k) {
        write_summary(w, x, k);
        write_bins(w, x, k, bins_of(x, k, bins));
    }
    jw_object_end(w);
    mem_free(x);
}

/* ---- thresholds ---- */
static bool read_thresholds(struct str extra, double *potential, double *detected)
{
    CLEANUP(json_freep) struct json *j = NULL;
    struct err ignored = {0};
    return extra.n && json_parse(&j, extra.p, extra.n, NULL, &ignored) == OK &&
           json_need_f64(j, "potential", potential, &ignored) == OK &&
           json_need_f64(j, "detected", detected, &ignored) == OK;
}

void series_write_thresholds(struct json_writer *w, const struct result_point *p, size_t n)
{
    double potential, detected;
    while (n && !read_thresholds(p[n - 1].extra, &potential, &detected))
        n--;
    if (n == 0) {
        jw_null(w);
        return;
    }
    jw_object(w);
    jw_kv_f64(w, "potential", potential);
    jw_kv_f64(w, "detected", detected);
    jw_kv_strz(w, "direction", detected < potential ? "below" : "above");
    jw_object_end(w);
}
