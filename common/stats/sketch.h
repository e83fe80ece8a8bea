/* Quantiles within 1 % of the true value, of any number of doubles of any sign, mergeable.
 * Source: DDSketch, Masson, Rim, Lee, PVLDB 12(12), 2019: logarithmic buckets with gamma = (1+a)/(1-a), a = 0.01; here
 * buckets are a sorted sparse array, negative numbers have mirrored keys, and 0 is a bucket of its own.
 * Past max_buckets the buckets nearest to 0 fold into the bucket 0, so a merge gives the same in any order.
 * NaN and infinities are not taken. Owns its buckets; not shared between threads. Units are the caller's. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/rc.h"

#define SKETCH_MAX_BUCKETS 2048u

struct sketch_bucket {
    int32_t key;
    uint64_t n;
};

struct sketch {
    struct sketch_bucket *buckets;        /* ascending keys = ascending values */
    uint32_t n_buckets, cap, max_buckets; /* max_buckets 0 is SKETCH_MAX_BUCKETS */
    uint64_t count;
    double sum, min, max; /* min and max only when count > 0 */
};

void sketch_done(struct sketch *s);          /* frees, leaves an empty one; NULL is fine. {0} is an empty sketch */
size_t sketch_bytes(const struct sketch *s); /* of memory that s points at, as the heap has it */
void sketch_clear(struct sketch *s);         /* keeps the memory */
bool sketch_add(struct sketch *s, double x); /* false: not finite, not counted */
void sketch_merge(struct sketch *dst, const struct sketch *src);
double sketch_quantile(const struct sketch *s, double q); /* q in [0,1]; exact at 0 and 1; NaN when empty */
double sketch_bucket_low(int32_t key); /* a bucket's bounds, for drawing: low <= |x| < high in magnitude */
double sketch_bucket_high(int32_t key);
