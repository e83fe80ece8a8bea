/* Owns the binning of training data, number for number as numpy does it, and pandas' describe().
 * Source of the rule: numpy 1.26 lib/histograms.py (histogram with an integer number of bins) and core/function_base.py
 * (linspace); pandas describe with linear percentiles. */
#include <math.h>
#include <stdlib.h>

#include "stats/counts.h"
#include "stats/reference_parts.h"

#define HALF_WIDTH_SHARE 0x1p-40 /* of a constant too large for +-0.5 to change it */

static void range_of(const double *x, size_t n, double *ret_min, double *ret_max)
{
    double min = x[0], max = x[0];
    for (size_t i = 1; i < n; i++) {
        min = x[i] < min ? x[i] : min;
        max = x[i] > max ? x[i] : max;
    }
    *ret_min = min;
    *ret_max = max;
}

/* linspace(min, max, n_bins + 1); where the range overflows, a weighted mean of both ends. */
static void fill_edges(struct feature_ref *f, double min, double max)
{
    double n = f->n_bins, delta = max - min, step = delta / n;
    for (uint32_t i = 0; i < f->n_bins; i++) {
        if (isinf(delta))
            f->edges[i] = min * (1 - i / n) + max * (i / n);
        else
            f->edges[i] = (step == 0 ? i / n * delta : i * step) + min;
    }
    f->edges[f->n_bins] = max;
}

static bool ascending(const struct feature_ref *f)
{
    for (uint32_t i = 0; i < f->n_bins; i++)
        if (!(f->edges[i] < f->edges[i + 1]))
            return false;
    return true;
}

/* numpy's index: scaled, then one step down or up if the edges say so; the last bin is closed. */
static uint32_t numpy_bin(const struct feature_ref *f, double x, double range)
{
    double at = (x - f->edges[0]) / range * f->n_bins;
    uint32_t i = (uint32_t)at;
    if (i >= f->n_bins)
        i = f->n_bins - 1;
    if (x < f->edges[i])
        i--;
    if (x >= f->edges[i + 1] && i != f->n_bins - 1)
        i++;
    return i;
}

bool histogram_make(struct reference *r, struct feature_ref *f, const double *x, size_t n)
{
    double min, max;
    range_of(x, n, &min, &max);
    if (min == max) {
        double half = min - 0.5 < min && min < min + 0.5 ? 0.5 : fabs(min) * HALF_WIDTH_SHARE;
        min -= half;
        max += half;
        min = isinf(min) ? x[0] : min;
        max = isinf(max) ? x[0] : max;
    }
    feature_ref_bins(r, f, REFERENCE_BINS);
    fill_edges(f, min, max);
    feature_ref_finish(f);
    bool numpy = isfinite(max - min) && ascending(f);
    for (size_t i = 0; i < n; i++) {
        int32_t at = numpy ? (int32_t)numpy_bin(f, x[i], max - min) : feature_bin(f, x[i]);
        f->counts[at < (int32_t)f->n_bins ? at : (int32_t)f->n_bins - 1] += 1;
    }
    return numpy;
}

static int ascending_f64(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double percentile(const double *sorted, size_t n, double q)
{
    double at = (double)(n - 1) * q, whole = floor(at), t = at - whole;
    size_t i = (size_t)whole;
    double a = sorted[i], b = sorted[i + 1 < n ? i + 1 : i];
    return t >= 0.5 ? b - (b - a) * (1 - t) : a + (b - a) * t;
}

void describe(struct feature_ref *f, double *x, size_t n)
{
    double sum = 0, m2 = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    f->stats->mean = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        m2 += (x[i] - f->stats->mean) * (x[i] - f->stats->mean);
    f->stats->std = n > 1 ? sqrt(m2 / (double)(n - 1)) : NAN;
    qsort(x, n, sizeof *x, ascending_f64);
    f->stats->min = x[0];
    f->stats->max = x[n - 1];
    f->stats->p25 = percentile(x, n, 0.25);
    f->stats->p50 = percentile(x, n, 0.50);
    f->stats->p75 = percentile(x, n, 0.75);
}
