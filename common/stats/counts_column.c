/* Owns counting a whole column: the hot path from rows to metrics.
 *
 * A block stays in the first-level cache and is gone over three times:
 *   1. four values at a time: sum, range, how many are NaN, -inf, +inf or the last edge, and a guess of the bin;
 *   2. four at a time: squared distances from the block's mean;
 *   3. one at a time: the guess is corrected by the edges and counted, in four tables in turn, since two
 *      increments of one counter in a row wait for each other.
 * NaN lands in bin 0 and is taken out at the end; so are the infinities out of the two outer cells. */
#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "stats/counts.h"

#define LANES 4
#define BLOCK 1024
#define CHUNK ((size_t)1 << 30) /* values a run, so that 32-bit counters cannot wrap */

typedef double vec __attribute__((vector_size(8 * LANES)));
typedef int64_t mask __attribute__((vector_size(8 * LANES)));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));

struct column_tables {
    uint32_t n[LANES][REFERENCE_BINS_MAX + 4]; /* [bin + 1] */
    uint64_t nan, neg_inf, pos_inf, at_max;
};

#define SPLAT(x) ((vec){(x), (x), (x), (x)})
#define PICK(m, a, b) ((vec)(((mask)(a) & (m)) | ((mask)(b) & ~(m))))
#define LOAD(v, p) memcpy(&(v), (p), sizeof(v))
#define INLINE static inline __attribute__((always_inline))

/* Pass 1 and 2 over n (a multiple of LANES, at most BLOCK) values. */
INLINE void scan_block(const struct feature_ref *f, const double *x, size_t n, struct column_tables *t,
                       struct moments *ret, int32_t *guess)
{
    const vec lo = SPLAT(f->first), top = SPLAT(f->last), inv = SPLAT(f->inv_width);
    const vec bins = SPLAT((double)f->n_bins), zero = SPLAT(0), big = SPLAT(DBL_MAX), inf = SPLAT(INFINITY);
    vec sum = zero, min = inf, max = -inf;
    mask finite = {0}, nan = {0}, neg = {0}, pos = {0}, at_top = {0};
    for (size_t i = 0; i < n; i += LANES) {
        vec v;
        LOAD(v, x + i);
        mask ok = (v <= big) & (v >= -big);
        finite += ok;
        nan += v != v;
        neg += v == -inf;
        pos += v == inf;
        at_top += v == top;
        sum += (vec)((mask)v & ok);
        vec less = PICK(ok, v, inf), more = PICK(ok, v, -inf);
        min = PICK(less < min, less, min);
        max = PICK(more > max, more, max);
        vec at = (v - lo) * inv;
        at = (vec)((mask)at & (at > zero));
        at = PICK(at < bins, at, bins);
        ints g = __builtin_convertvector(at, ints);
        memcpy(guess + i, &g, sizeof g);
    }
    *ret = (struct moments){.min = INFINITY, .max = -INFINITY};
    double total = 0;
    for (int k = 0; k < LANES; k++) { /* a true lane counted -1 */
        ret->n -= (uint64_t)finite[k];
        t->nan -= (uint64_t)nan[k];
        t->neg_inf -= (uint64_t)neg[k];
        t->pos_inf -= (uint64_t)pos[k];
        t->at_max -= (uint64_t)at_top[k];
        total += sum[k];
        ret->min = min[k] < ret->min ? min[k] : ret->min;
        ret->max = max[k] > ret->max ? max[k] : ret->max;
    }
    if (ret->n == 0)
        return;
    ret->mean = total / (double)ret->n;
    const vec mean = SPLAT(ret->mean);
    vec m2 = zero;
    for (size_t i = 0; i < n; i += LANES) {
        vec v;
        LOAD(v, x + i);
        mask ok = (v <= big) & (v >= -big);
        vec d = (vec)((mask)(v - mean) & ok);
        m2 += d * d;
    }
    ret->m2 = (m2[0] + m2[1]) + (m2[2] + m2[3]);
}

INLINE void count_guessed(const struct feature_ref *f, const double *x, size_t n, struct column_tables *t,
                          const int32_t *guess)
{
    const double *edges = f->edges;
    for (size_t i = 0; i < n; i += LANES) {
        for (size_t k = 0; k < LANES; k++) {
            double v = x[i + k];
            int32_t g = guess[i + k];
            g += (v >= edges[g + 1]) - (v < edges[g]);
            t->n[k][g + 1]++;
        }
    }
}

INLINE void count_searched(const struct feature_ref *f, const double *x, size_t n, struct column_tables *t)
{
    for (size_t i = 0; i < n; i++)
        t->n[i % LANES][isnan(x[i]) ? 1 : feature_bin(f, x[i]) + 1]++;
}

INLINE void count_run(const struct feature_ref *f, const double *x, size_t n, struct column_tables *t, struct moments *sum)
{
    int32_t guess[BLOCK];
    double tail[BLOCK];
    while (n) {
        size_t take = n < BLOCK ? n : BLOCK, width = (take + LANES - 1) / LANES * LANES;
        const double *block = x;
        if (width != take) {
            memcpy(tail, x, take * sizeof *x);
            for (size_t i = take; i < width; i++)
                tail[i] = NAN;
            block = tail;
        }
        struct moments m;
        scan_block(f, block, width, t, &m, guess);
        if (f->uniform)
            count_guessed(f, block, width, t, guess);
        else
            count_searched(f, block, width, t);
        t->nan -= width - take;
        t->n[0][1] -= (uint32_t)(width - take);
        moments_merge(sum, &m);
        x += take;
        n -= take;
    }
}

static void count_run_any(const struct feature_ref *f, const double *x, size_t n, struct column_tables *t,
                          struct moments *sum)
{
    count_run(f, x, n, t, sum);
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void count_run_avx2(const struct feature_ref *f, const double *x, size_t n,
                                                           struct column_tables *t, struct moments *sum)
{
    count_run(f, x, n, t, sum);
}
#endif

static void count_numeric(struct feature_counts *c, const struct feature_ref *f, const double *x, size_t n)
{
    struct column_tables t;
    t.nan = t.neg_inf = t.pos_inf = t.at_max = 0;
    for (int k = 0; k < LANES; k++)
        memset(t.n[k], 0, (f->n_bins + 2) * sizeof t.n[k][0]);
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2"))
        count_run_avx2(f, x, n, &t, &c->moments);
    else
        count_run_any(f, x, n, &t, &c->moments);
#else
    count_run_any(f, x, n, &t, &c->moments);
#endif
    uint32_t n_bins = f->n_bins;
    for (uint32_t i = 0; i <= n_bins + 1; i++)
        for (int k = 1; k < LANES; k++)
            t.n[0][i] += t.n[k][i];
    c->under += t.n[0][0] - t.neg_inf;
    for (uint32_t i = 0; i < n_bins; i++)
        c->cells[i] += t.n[0][i + 1];
    c->cells[0] -= t.nan;
    c->over += t.n[0][n_bins + 1] - t.at_max - t.pos_inf;
    c->at_max += t.at_max;
    c->neg_inf += t.neg_inf;
    c->pos_inf += t.pos_inf;
    c->missing += t.nan;
}

void counts_add_column(struct feature_counts *c, const struct feature_ref *f, const double *x, size_t n)
{
    if (c->kind != FEATURE_NUMERIC) {
        for (size_t i = 0; i < n; i++)
            counts_add_f64(c, f, x[i]);
        return;
    }
    assert(f->edges && f->n_bins <= REFERENCE_BINS_MAX);
    for (; n > CHUNK; x += CHUNK, n -= CHUNK)
        count_numeric(c, f, x, CHUNK);
    count_numeric(c, f, x, n);
}
