/* Owns the relative-error buckets: adding, folding, merging, quantiles and their bytes. */
#include "stats/sketch.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "stats/codec.h"

#define ACCURACY 0.01
#define GAMMA ((1 + ACCURACY) / (1 - ACCURACY))
#define LN_GAMMA 0.020000666706669543 /* log(GAMMA) */
#define KEY_ZERO_AT 40000             /* key of magnitude 1; the doubles need -37222 .. 35489 around it */
#define KEY_LIMIT 80000
#define BUCKETS_HARD_MAX 8192u

void sketch_done(struct sketch *s)
{
    if (s == NULL)
        return;
    mem_free(s->buckets);
    *s = (struct sketch){.max_buckets = s->max_buckets};
}

size_t sketch_bytes(const struct sketch *s)
{
    return s->cap ? s->cap * sizeof *s->buckets + MEM_OVERHEAD : 0;
}

void sketch_clear(struct sketch *s)
{
    s->n_buckets = 0;
    s->count = 0;
    s->sum = s->min = s->max = 0;
}

static int32_t key_of(double x)
{
    if (x == 0)
        return 0;
    int32_t key = (int32_t)ceil(log(fabs(x)) / LN_GAMMA) + KEY_ZERO_AT;
    return x < 0 ? -key : key;
}

static int32_t magnitude(int32_t key)
{
    return key < 0 ? -key : key;
}

double sketch_bucket_low(int32_t key)
{
    return key == 0 ? 0 : exp((magnitude(key) - 1 - KEY_ZERO_AT) * LN_GAMMA);
}

double sketch_bucket_high(int32_t key)
{
    return key == 0 ? 0 : exp((magnitude(key) - KEY_ZERO_AT) * LN_GAMMA);
}

static double value_of(int32_t key)
{
    if (key == 0)
        return 0;
    double v = exp((magnitude(key) - KEY_ZERO_AT) * LN_GAMMA) * (2 / (GAMMA + 1));
    return key < 0 ? -v : v;
}

/* The first bucket whose key is not below key. */
static uint32_t lower_bound(const struct sketch *s, int32_t key)
{
    uint32_t lo = 0, hi = s->n_buckets;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (s->buckets[mid].key < key)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static void insert_at(struct sketch *s, uint32_t at, int32_t key, uint64_t n)
{
    if (s->n_buckets == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 4;
        s->buckets = mem_grow(s->buckets, s->cap, sizeof *s->buckets);
    }
    memmove(&s->buckets[at + 1], &s->buckets[at], (s->n_buckets - at) * sizeof *s->buckets);
    s->buckets[at] = (struct sketch_bucket){key, n};
    s->n_buckets++;
}

static void remove_at(struct sketch *s, uint32_t at)
{
    memmove(&s->buckets[at], &s->buckets[at + 1], (s->n_buckets - at - 1) * sizeof *s->buckets);
    s->n_buckets--;
}

static void bucket_add(struct sketch *s, int32_t key, uint64_t n)
{
    uint32_t at = lower_bound(s, key);
    if (at < s->n_buckets && s->buckets[at].key == key)
        s->buckets[at].n += n;
    else
        insert_at(s, at, key, n);
}

/* Of the buckets besides 0, those of the largest magnitudes stay (a tie: the positive one), so what stays does not
 * depend on the order in which things came. */
static void fold(struct sketch *s)
{
    uint32_t max = s->max_buckets ? s->max_buckets : SKETCH_MAX_BUCKETS;
    for (;;) {
        uint32_t zero = lower_bound(s, 0);
        bool has_zero = zero < s->n_buckets && s->buckets[zero].key == 0;
        if (s->n_buckets - (has_zero ? 1 : 0) < max)
            return;
        uint32_t above = zero + (has_zero ? 1 : 0);
        bool up = above<s->n_buckets, down = zero> 0;
        uint32_t victim = up && (!down || s->buckets[above].key < -s->buckets[zero - 1].key) ? above : zero - 1;
        uint64_t n = s->buckets[victim].n;
        remove_at(s, victim);
        bucket_add(s, 0, n);
    }
}

bool sketch_add(struct sketch *s, double x)
{
    if (!isfinite(x))
        return false;
    bucket_add(s, key_of(x), 1);
    fold(s);
    s->min = s->count == 0 || x < s->min ? x : s->min;
    s->max = s->count == 0 || x > s->max ? x : s->max;
    s->count++;
    s->sum += x;
    return true;
}

static void range_add(struct sketch *dst, uint64_t count, double sum, double min, double max)
{
    dst->min = dst->count == 0 || min < dst->min ? min : dst->min;
    dst->max = dst->count == 0 || max > dst->max ? max : dst->max;
    dst->count += count;
    dst->sum += sum;
}

void sketch_merge(struct sketch *dst, const struct sketch *src)
{
    if (src->count == 0)
        return;
    for (uint32_t i = 0; i < src->n_buckets; i++)
        bucket_add(dst, src->buckets[i].key, src->buckets[i].n);
    fold(dst);
    range_add(dst, src->count, src->sum, src->min, src->max);
}

double sketch_quantile(const struct sketch *s, double q)
{
    if (s->count == 0 || isnan(q))
        return NAN;
    if (q <= 0)
        return s->min;
    if (q >= 1)
        return s->max;
    double rank = q * (double)(s->count - 1);
    uint64_t seen = 0;
    for (uint32_t i = 0; i < s->n_buckets; i++) {
        seen += s->buckets[i].n;
        if ((double)seen > rank)
            return fmin(fmax(value_of(s->buckets[i].key), s->min), s->max);
    }
    return s->max;
}

/* Layout: number of buckets; if any: first key (zigzag), then gaps - 1, each with its count; with range: the only value of
 * a sketch of one, else sum, min, max. */
void sketch_encode(const struct sketch *s, bool with_range, struct buf *out)
{
    put_uint(out, s->n_buckets);
    if (s->n_buckets == 0)
        return;
    int32_t before = 0;
    for (uint32_t i = 0; i < s->n_buckets; i++) {
        int32_t key = s->buckets[i].key;
        if (i == 0)
            put_int(out, key);
        else
            put_uint(out, (uint64_t)((int64_t)key - before - 1));
        put_uint(out, s->buckets[i].n);
        before = key;
    }
    if (!with_range)
        return;
    put_f64(out, s->sum);
    if (s->count > 1) {
        put_f64(out, s->min);
        put_f64(out, s->max);
    }
}

static bool read_key(struct codec_in *in, bool first, int64_t *key)
{
    if (first)
        *key = unzigzag(get_uint_max(in, 2 * KEY_LIMIT + 1));
    else
        *key += (int64_t)get_uint_max(in, 2 * KEY_LIMIT) + 1;
    if (*key < -KEY_LIMIT || *key > KEY_LIMIT)
        in->bad = true;
    return !in->bad;
}

bool sketch_decode(struct sketch *dst, struct codec_in *in, bool with_range, uint64_t *ret_count)
{
    uint64_t n = get_uint_max(in, BUCKETS_HARD_MAX), count = 0;
    int64_t key = 0;
    for (uint64_t i = 0; i < n; i++) {
        if (!read_key(in, i == 0, &key))
            return false;
        uint64_t c = get_uint_max(in, CODEC_COUNT_MAX);
        count += c;
        if (in->bad || c == 0 || count > CODEC_COUNT_MAX)
            return false;
        if (dst)
            bucket_add(dst, (int32_t)key, c);
    }
    *ret_count = count;
    if (in->bad || count == 0 || !with_range) {
        if (dst && n)
            fold(dst);
        if (dst && !with_range)
            dst->count += count;
        return !in->bad;
    }
    double sum = get_f64(in);
    double min = count > 1 ? get_f64(in) : sum, max = count > 1 ? get_f64(in) : sum;
    if (in->bad || isnan(min) || isnan(max) || min > max)
        return false;
    if (dst) {
        fold(dst);
        range_add(dst, count, sum, min, max);
    }
    return true;
}
