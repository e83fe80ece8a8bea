/* Quantiles within 1 %, for any spread and sign; merging in any order; the cap. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "stats/codec.h"
#include "stats/sketch.h"

#define N 5000

static uint64_t next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static double unit(uint64_t *state)
{
    return (double)(next(state) >> 11) * 0x1p-53;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void check_quantiles(double *x, size_t n)
{
    static const double qs[] = {0, 0.001, 0.01, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1};
    struct sketch s = {0};
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        assert_true(sketch_add(&s, x[i]));
        sum += x[i];
    }
    qsort(x, n, sizeof *x, ascending);
    for (size_t i = 0; i < sizeof qs / sizeof qs[0]; i++) {
        double want = x[(size_t)(qs[i] * (double)(n - 1))], got = sketch_quantile(&s, qs[i]);
        if (fabs(got - want) > 0.0100001 * fabs(want))
            fail_msg("quantile %g: %.17g, want %.17g", qs[i], got, want);
    }
    assert_int_equal(s.count, n);
    assert_true(s.min == x[0] && s.max == x[n - 1] && s.sum == sum);
    sketch_done(&s);
}

static void test_quantiles_are_within_one_percent(void **state)
{
    (void)state;
    uint64_t seed = 17;
    static double x[N];
    for (int kind = 0; kind < 5; kind++) {
        for (size_t i = 0; i < N; i++) {
            double u = unit(&seed);
            x[i] = kind == 0   ? 100 + 1e6 * u * u * u /* latencies */
                   : kind == 1 ? exp(u * 20 - 10) * (next(&seed) % 2 ? 1 : -1)
                   : kind == 2 ? (double)(next(&seed) % 5) - 2
                   : kind == 3 ? 42
                               : u - 0.5;
        }
        check_quantiles(x, N);
    }
}

static void test_extreme_values(void **state)
{
    (void)state;
    double x[] = {5e-324, -5e-324, DBL_MIN, DBL_MAX, -DBL_MAX, 0, -0.0, 1, -1};
    struct sketch s = {0};
    for (size_t i = 0; i < sizeof x / sizeof x[0]; i++)
        assert_true(sketch_add(&s, x[i]));
    assert_false(sketch_add(&s, NAN));
    assert_false(sketch_add(&s, INFINITY));
    assert_false(sketch_add(&s, -INFINITY));
    assert_int_equal(s.count, 9);
    for (uint32_t i = 1; i < s.n_buckets; i++)
        assert_true(s.buckets[i - 1].key < s.buckets[i].key);
    assert_true(sketch_quantile(&s, 0.5) == 0);
    assert_true(isnan(sketch_quantile(&(struct sketch){0}, 0.5)));
    assert_true(isnan(sketch_quantile(&s, NAN)));
    sketch_done(&s);
    sketch_done(NULL);
}

static void test_bounds_hold_the_value(void **state)
{
    (void)state;
    uint64_t seed = 23;
    for (int i = 0; i < 1000; i++) {
        struct sketch s = {0};
        double x = exp(unit(&seed) * 200 - 100);
        assert_true(sketch_add(&s, x));
        double low = sketch_bucket_low(s.buckets[0].key), high = sketch_bucket_high(s.buckets[0].key);
        assert_true(low * (1 - 1e-9) <= x && x <= high * (1 + 1e-9) && high / low < 1.0203);
        sketch_done(&s);
    }
}

static void same(const struct sketch *a, const struct sketch *b)
{
    assert_int_equal(a->count, b->count);
    assert_int_equal(a->n_buckets, b->n_buckets);
    for (uint32_t i = 0; i < a->n_buckets; i++) {
        assert_int_equal(a->buckets[i].key, b->buckets[i].key);
        assert_int_equal(a->buckets[i].n, b->buckets[i].n);
    }
    assert_true(a->min == b->min && a->max == b->max);
}

/* With a cap of 30 that all three go past: what stays does not depend on the order. */
static void test_merge_is_associative_past_the_cap(void **state)
{
    (void)state;
    uint64_t seed = 31;
    for (int round = 0; round < 50; round++) {
        struct sketch part[3], left = {.max_buckets = 30}, right = {.max_buckets = 30}, all = {.max_buckets = 30};
        for (int p = 0; p < 3; p++) {
            part[p] = (struct sketch){.max_buckets = 30};
            for (int i = 0; i < 100; i++) {
                double x = exp(unit(&seed) * 8 - 4) * (next(&seed) % 3 ? 1 : -1);
                (void)sketch_add(&part[p], x); /* finite */
                (void)sketch_add(&all, x);
            }
            assert_true(part[p].n_buckets <= 30);
        }
        for (int p = 0; p < 3; p++) {
            sketch_merge(&left, &part[p]);
            sketch_merge(&right, &part[2 - p]);
        }
        assert_int_equal(left.n_buckets, 30);
        same(&left, &right);
        same(&left, &all);
        for (int p = 0; p < 3; p++)
            sketch_done(&part[p]);
        sketch_done(&left);
        sketch_done(&right);
        sketch_done(&all);
    }
}

static void test_bytes(void **state)
{
    (void)state;
    uint64_t seed = 41;
    for (int n = 0; n < 60; n++) {
        struct sketch s = {0}, back = {0};
        struct buf b = {0};
        uint64_t count;
        for (int i = 0; i < n * n; i++)
            (void)sketch_add(&s, exp(unit(&seed) * n) * (i % 3 ? 1 : -1)); /* finite */
        sketch_encode(&s, true, &b);
        struct codec_in in = {(unsigned char *)b.data, (unsigned char *)b.data + b.len, false};
        assert_true(sketch_decode(&back, &in, true, &count));
        assert_int_equal(count, n * n);
        assert_ptr_equal(in.p, in.end);
        same(&s, &back);
        assert_true(s.sum == back.sum);
        if (n == 1)
            assert_true(b.len <= 16);
        buf_done(&b);
        sketch_done(&s);
        sketch_done(&back);
    }
}

static void test_numbers_of_the_codec(void **state)
{
    (void)state;
    static const double x[] = {0,       -0.0,   1,     -1,       0.5,       1e15,       0x1p48,    -0x1p48,
                               DBL_MAX, 5e-324, 1e300, INFINITY, -INFINITY, 0x1p47 + 1, -(0x1p47), 281474976710655.0};
    static const uint64_t u[] = {0, 1, 127, 128, 16383, 16384, UINT32_MAX, UINT64_MAX - 1, UINT64_MAX};
    struct buf b = {0};
    for (size_t i = 0; i < sizeof x / sizeof x[0]; i++)
        put_f64(&b, x[i]);
    for (size_t i = 0; i < sizeof u / sizeof u[0]; i++)
        put_uint(&b, u[i]);
    struct codec_in in = {(unsigned char *)b.data, (unsigned char *)b.data + b.len, false};
    for (size_t i = 0; i < sizeof x / sizeof x[0]; i++) {
        double got = get_f64(&in);
        assert_memory_equal(&got, &x[i], sizeof got);
    }
    for (size_t i = 0; i < sizeof u / sizeof u[0]; i++)
        assert_true(get_uint(&in) == u[i]);
    assert_false(in.bad);
    assert_int_equal(get_uint(&in), 0);
    assert_true(in.bad);
    static const unsigned char longer[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
    in = (struct codec_in){longer, longer + sizeof longer, false};
    (void)get_uint(&in); /* more than 64 bits */
    assert_true(in.bad);
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quantiles_are_within_one_percent),
        cmocka_unit_test(test_extreme_values),
        cmocka_unit_test(test_bounds_hold_the_value),
        cmocka_unit_test(test_merge_is_associative_past_the_cap),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_numbers_of_the_codec),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
