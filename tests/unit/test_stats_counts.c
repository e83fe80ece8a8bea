/* Counts against the plainest search there is, over edges and values chosen to be difficult; merging; privacy of texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "stats/counts.h"
#include "stats/drift.h"
#include "stats/reference_parts.h"

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

/* A numeric feature with these edges, all counts 1. */
static struct feature_ref *feature_with(struct reference *r, const double *edges, uint32_t n_bins)
{
    struct feature_ref *f;
    struct err e;
    char name[24];
    int n = snprintf(name, sizeof name, "f%zu", r->n);
    assert_int_equal(reference_add_feature(r, (struct str){name, (size_t)n}, &f, &e), OK);
    feature_ref_bins(r, f, n_bins);
    memcpy(f->edges, edges, (n_bins + 1) * sizeof *edges);
    for (uint32_t i = 0; i < n_bins; i++)
        f->counts[i] = 1;
    feature_ref_finish(f);
    return f;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct naive {
    uint64_t cells[REFERENCE_BINS_MAX], under, at_max, over, neg_inf, pos_inf, missing;
};

static void naive_add(struct naive *k, const struct feature_ref *f, double x)
{
    const double *e = f->edges;
    uint32_t n = f->n_bins;
    if (x != x)
        k->missing++;
    else if (x == -INFINITY)
        k->neg_inf++;
    else if (x == INFINITY)
        k->pos_inf++;
    else if (x < e[0])
        k->under++;
    else if (x == e[n])
        k->at_max++;
    else if (x > e[n])
        k->over++;
    else
        for (uint32_t i = 0; i < n; i++)
            if (e[i] <= x && x < e[i + 1])
                k->cells[i]++;
}

static void same(const struct feature_counts *c, const struct naive *k)
{
    assert_memory_equal(c->cells, k->cells, c->n_cells * sizeof *c->cells);
    assert_int_equal(c->under, k->under);
    assert_int_equal(c->at_max, k->at_max);
    assert_int_equal(c->over, k->over);
    assert_int_equal(c->neg_inf, k->neg_inf);
    assert_int_equal(c->pos_inf, k->pos_inf);
    assert_int_equal(c->missing, k->missing);
}

/* Every edge and its neighbours, what is special, and random values in and around the range. */
static size_t difficult(const struct feature_ref *f, uint64_t *state, double *x, size_t room)
{
    static const double special[] = {NAN, INFINITY, -INFINITY, DBL_MAX, -DBL_MAX, 0, -0.0, DBL_MIN, 5e-324, -5e-324};
    size_t n = 0;
    for (size_t i = 0; i < sizeof special / sizeof special[0]; i++)
        x[n++] = special[i];
    for (uint32_t i = 0; i <= f->n_bins && n + 3 < room; i++) {
        x[n++] = f->edges[i];
        x[n++] = nextafter(f->edges[i], INFINITY);
        x[n++] = nextafter(f->edges[i], -INFINITY);
    }
    double lo = f->edges[0], width = f->edges[f->n_bins] - lo;
    while (n < room)
        x[n++] = lo + width * (unit(state) * 1.2 - 0.1);
    return n;
}

#define ROOM 6000

static void check_feature(const struct feature_ref *f, uint64_t *state)
{
    static double x[ROOM];
    struct feature_counts one, column;
    struct naive k;
    size_t n = difficult(f, state, x, ROOM - next(state) % 5);
    memset(&k, 0, sizeof k);
    counts_init(&one, f, NULL);
    counts_init(&column, f, NULL);
    for (size_t i = 0; i < n; i++) {
        naive_add(&k, f, x[i]);
        counts_add_f64(&one, f, x[i]);
    }
    counts_add_column(&column, f, x, n / 3);
    counts_add_column(&column, f, x + n / 3, 1);
    counts_add_column(&column, f, x + n / 3 + 1, n - n / 3 - 1);
    counts_add_column(&column, f, x, 0);
    same(&one, &k);
    same(&column, &k);
    assert_int_equal(counts_total(&one), n);
    assert_int_equal(one.moments.n, column.moments.n);
    assert_true(one.moments.min == column.moments.min && one.moments.max == column.moments.max);
    counts_done(&one);
    counts_done(&column);
}

static void test_bins_are_exact_for_uniform_edges(void **state)
{
    (void)state;
    uint64_t seed = 88172645463325252u;
    struct reference *r = reference_new();
    size_t uniform = 0, all = 0;
    for (int i = 0; i < 300; i++) {
        double edges[REFERENCE_BINS_MAX + 2], scale = pow(10, (int)(next(&seed) % 601) - 300);
        double lo = (unit(&seed) - 0.5) * scale * (i % 3 ? 1 : 1e12), width = unit(&seed) * scale;
        uint32_t n = i % 5 ? 20 : 1 + (uint32_t)(next(&seed) % 1000);
        for (uint32_t k = 0; k <= n; k++)
            edges[k] = k * (width / n) + lo;
        if (!(edges[0] < edges[n]))
            continue;
        struct feature_ref *f = feature_with(r, edges, n);
        all++;
        uniform += f->uniform;
        check_feature(f, &seed);
    }
    assert_true(all > 200);
    assert_true(uniform > all / 2);
    reference_free(r);
}

static void test_bins_are_exact_for_any_edges(void **state)
{
    (void)state;
    uint64_t seed = 4101842887655102017u;
    struct reference *r = reference_new();
    size_t searched = 0;
    for (int i = 0; i < 300; i++) {
        double edges[REFERENCE_BINS_MAX + 2];
        uint32_t n = 1 + (uint32_t)(next(&seed) % (i % 10 ? 40 : REFERENCE_BINS_MAX));
        for (uint32_t k = 0; k <= n; k++)
            edges[k] = i % 2 ? exp(unit(&seed) * 30 - 15) : floor(unit(&seed) * 30); /* the second: with doubles */
        qsort(edges, n + 1, sizeof edges[0], ascending);
        if (!(edges[0] < edges[n]))
            continue;
        struct feature_ref *f = feature_with(r, edges, n);
        searched += !f->uniform;
        check_feature(f, &seed);
    }
    assert_true(searched > 200);
    reference_free(r);
}

static void test_extreme_ranges(void **state)
{
    (void)state;
    uint64_t seed = 77;
    static const double edges[][3] = {
        {-DBL_MAX, 0, DBL_MAX}, {0, 5e-324, 1e-323}, {1e16, 1e16 + 2, 1e16 + 4}, {-1e-310, 0, 1e-310}, {-1, -1, 1}};
    struct reference *r = reference_new();
    for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++)
        check_feature(feature_with(r, edges[i], 2), &seed);
    reference_free(r);
}

static void test_moments_of_a_column(void **state)
{
    (void)state;
    uint64_t seed = 5;
    struct reference *r = reference_new();
    struct feature_ref *f = feature_with(r, (const double[]){-1, 1}, 1);
    double x[5003];
    long double sum = 0, m2 = 0;
    size_t n = sizeof x / sizeof x[0], finite = 0;
    for (size_t i = 0; i < n; i++) {
        x[i] = i % 7 == 3 ? NAN : 1e6 + unit(&seed);
        if (i % 7 != 3) {
            sum += x[i];
            finite++;
        }
    }
    long double mean = sum / finite;
    for (size_t i = 0; i < n; i++)
        m2 += isnan(x[i]) ? 0 : (x[i] - mean) * (x[i] - mean);
    struct feature_counts c;
    counts_init(&c, f, NULL);
    counts_add_column(&c, f, x, n);
    assert_int_equal(c.moments.n, finite);
    assert_true(fabs(c.moments.mean - (double)mean) < 1e-9);
    assert_true(fabs(moments_std(&c.moments) - (double)sqrtl(m2 / (finite - 1))) < 1e-9);
    counts_done(&c);
    reference_free(r);
}

/* Drift of data against itself is exactly 0, however narrow or wide the range. */
static void test_identical_data_does_not_drift(void **state)
{
    (void)state;
    uint64_t seed = 2463534242u;
    struct drift_options o = drift_options_default(DRIFT_EDGES_CLOSED);
    for (int i = 0; i < 400; i++) {
        struct reference *r = reference_new();
        struct err e;
        double x[600];
        size_t n = 30 + next(&seed) % 570;
        double scale = pow(10, (int)(next(&seed) % 40) - 20), base = i % 4 ? 0 : 1e6 * scale * unit(&seed);
        if (i % 9 == 0) /* a range of a few units in the last place */
            base = scale * 4e15;
        for (size_t k = 0; k < n; k++) {
            double u = unit(&seed);
            x[k] = base + scale * (i % 3 == 0 ? floor(u * 10) : i % 3 == 1 ? u : u * u * u * 1e3);
            if (i % 5 == 0 && k % 50 == 0)
                x[k] = k % 100 ? INFINITY : -INFINITY;
        }
        assert_int_equal(reference_add_f64(r, STR("x"), false, x, n, &e), OK);
        struct feature_counts c;
        struct drift_result got;
        counts_init(&c, &r->features[0], NULL);
        counts_add_column(&c, &r->features[0], x, n);
        drift_compute(r, &(struct drift_column){&c, false}, n, &o, &got);
        assert_int_equal(got.features[0].outcome, DRIFT_OK);
        if (got.general_drift != 0)
            fail_msg("round %d: %g", i, got.general_drift);
        assert_int_equal(got.status, DRIFT_NONE);
        drift_result_done(&got);
        counts_done(&c);
        reference_free(r);
    }
}

/* --- texts --- */

static struct reference *colours(void)
{
    struct reference *r = reference_new();
    struct err e;
    const struct stat_value v[] = {{STAT_TEXT, 0, STR("red")},
                                   {STAT_TEXT, 0, STR("green")},
                                   {STAT_TEXT, 0, STR("red")},
                                   {STAT_TEXT, 0, STR("")},
                                   {STAT_MISSING, 0, STR("")}};
    assert_int_equal(reference_add_values(r, STR("colour"), false, v, 5, &e), OK);
    return r;
}

static void test_texts_of_a_reference(void **state)
{
    (void)state;
    struct reference *r = colours();
    const struct feature_ref *f = &r->features[0];
    struct feature_counts c;
    char prompt[300];
    memset(prompt, 'p', sizeof prompt);
    assert_int_equal(f->n_categories, 3);
    counts_init(&c, f, NULL);
    counts_add_text(&c, f, STR("red"));
    counts_add_text(&c, f, STR("blue"));
    counts_add_text(&c, f, (struct str){NULL, 0}); /* empty text is a category here */
    counts_add_text(&c, f, (struct str){prompt, sizeof prompt});
    counts_add_text(&c, f, (struct str){prompt, 65});
    counts_add_bool(&c, f, true);
    counts_add_f64(&c, f, 3);
    counts_add_f64(&c, f, NAN);
    counts_add_value(&c, f, &(struct stat_value){STAT_OTHER, 0, STR("")});
    assert_int_equal(c.cells[0], 1); /* "" green red */
    assert_int_equal(c.cells[1], 0);
    assert_int_equal(c.cells[2], 1);
    assert_int_equal(c.text->other, 2);
    assert_int_equal(c.text->longs[0], 1);
    assert_int_equal(c.text->longs[2], 1);
    assert_int_equal(c.wrong_type, 2);
    assert_int_equal(c.missing, 1);
    assert_int_equal(counts_texts(&c), 6);
    assert_int_equal(counts_total(&c), 9);
    counts_done(&c);
    reference_free(r);
}

static void test_length_classes(void **state)
{
    (void)state;
    assert_int_equal(long_class(65), 0);
    assert_int_equal(long_class(128), 0);
    assert_int_equal(long_class(129), 1);
    assert_int_equal(long_class(8192), 6);
    assert_int_equal(long_class(8193), 7);
    assert_int_equal(long_class(SIZE_MAX), 7);
}

static void test_without_a_reference(void **state)
{
    (void)state;
    struct feature_counts c;
    counts_init(&c, NULL, NULL);
    for (int i = 0; i < 1000; i++) {
        char name[16];
        int n = snprintf(name, sizeof name, "t%03d", i % 500);
        counts_add_text(&c, NULL, (struct str){name, (size_t)n});
        counts_add_f64(&c, NULL, i);
    }
    counts_add_bool(&c, NULL, true);
    counts_add_f64(&c, NULL, INFINITY);
    assert_int_equal(c.text->n_texts, COUNTS_TEXTS_MAX);
    assert_int_equal(counts_texts(&c), 1000);
    assert_int_equal(counts_numbers(&c), 1002);
    assert_int_equal(c.sketch->count, 1001);
    assert_true(fabs(sketch_quantile(c.sketch, 0.5) - 499) < 6);
    counts_clear(&c);
    assert_int_equal(counts_total(&c), 0);
    counts_add_text(&c, NULL, STR("again"));
    assert_int_equal(c.text->n_texts, 1);
    counts_done(&c);
}

/* --- merging --- */

static void fill(struct feature_counts *c, const struct feature_ref *f, uint64_t *seed)
{
    counts_init(c, f, NULL);
    for (uint64_t n = next(seed) % 200; n > 0; n--) {
        double x = (double)(next(seed) % 64) - 16; /* whole numbers: moments add without rounding */
        counts_add_f64(c, f, next(seed) % 20 ? x : x > 8 ? INFINITY : NAN);
        char name[8];
        int len = snprintf(name, sizeof name, "c%u", (unsigned)(next(seed) % 40));
        if (next(seed) % 3 == 0)
            counts_add_text(c, f, (struct str){name, (size_t)len});
    }
}

static void close_enough(double a, double b)
{
    assert_true(fabs(a - b) <= 1e-9 * fmax(1, fabs(b)));
}

static void equal(const struct feature_counts *a, const struct feature_counts *b)
{
    if (a->n_cells)
        assert_memory_equal(a->cells, b->cells, a->n_cells * sizeof *a->cells);
    assert_memory_equal(&a->under, &b->under,
                        offsetof(struct feature_counts, moments) - offsetof(struct feature_counts, under));
    assert_int_equal(a->moments.n, b->moments.n);
    close_enough(a->moments.mean, b->moments.mean);
    close_enough(a->moments.m2, b->moments.m2);
    assert_true(a->moments.min == b->moments.min && a->moments.max == b->moments.max);
    assert_int_equal(counts_texts(a), counts_texts(b));
    if (a->text && b->text) {
        assert_int_equal(a->text->n_texts, b->text->n_texts);
        for (uint32_t i = 0; i < a->text->n_texts; i++) {
            assert_string_equal(a->text->texts[i].text, b->text->texts[i].text);
            assert_int_equal(a->text->texts[i].n, b->text->texts[i].n);
        }
    }
    if (a->sketch && b->sketch) {
        assert_int_equal(a->sketch->n_buckets, b->sketch->n_buckets);
        for (uint32_t i = 0; i < a->sketch->n_buckets; i++) {
            assert_int_equal(a->sketch->buckets[i].key, b->sketch->buckets[i].key);
            assert_int_equal(a->sketch->buckets[i].n, b->sketch->buckets[i].n);
        }
    }
}

static void test_merge_is_associative(void **state)
{
    (void)state;
    uint64_t seed = 99;
    struct err e;
    struct reference *r = colours();
    struct feature_ref *numeric = feature_with(r, (const double[]){0, 8, 16, 32}, 3);
    const struct feature_ref *kinds[] = {numeric, &r->features[0], NULL};
    for (int round = 0; round < 60; round++) {
        const struct feature_ref *f = kinds[round % 3];
        struct feature_counts a, b, c, left, right;
        uint64_t s = seed += 1000003;
        fill(&a, f, &s);
        fill(&b, f, &s);
        fill(&c, f, &s);
        counts_init(&left, f, NULL);
        counts_init(&right, f, NULL);
        assert_int_equal(counts_merge(&left, &a, &e), OK); /* (a + b) + c */
        assert_int_equal(counts_merge(&left, &b, &e), OK);
        assert_int_equal(counts_merge(&left, &c, &e), OK);
        assert_int_equal(counts_merge(&right, &c, &e), OK); /* (c + b) + a */
        assert_int_equal(counts_merge(&right, &b, &e), OK);
        assert_int_equal(counts_merge(&right, &a, &e), OK);
        equal(&left, &right);
        assert_int_equal(counts_total(&left), counts_total(&a) + counts_total(&b) + counts_total(&c));
        counts_done(&a);
        counts_done(&b);
        counts_done(&c);
        counts_done(&left);
        counts_done(&right);
    }
    reference_free(r);
}

static void test_merge_of_other_shapes_is_refused(void **state)
{
    (void)state;
    struct reference *r = colours();
    struct feature_ref *two = feature_with(r, (const double[]){0, 1, 2}, 2);
    struct feature_ref *three = feature_with(r, (const double[]){0, 1, 2, 3}, 3);
    struct feature_counts a, b, c;
    struct err e;
    two = &r->features[1];
    counts_init(&a, two, NULL);
    counts_init(&b, three, NULL);
    counts_init(&c, NULL, NULL);
    counts_add_f64(&b, three, 1);
    counts_add_f64(&c, NULL, 1);
    assert_int_equal(counts_merge(&a, &b, &e), E_INVALID);
    assert_int_equal(counts_merge(&a, &c, &e), E_INVALID);
    assert_int_equal(counts_total(&a), 0);
    counts_done(&a);
    counts_done(&b);
    counts_done(&c);
    reference_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bins_are_exact_for_uniform_edges),
        cmocka_unit_test(test_bins_are_exact_for_any_edges),
        cmocka_unit_test(test_extreme_ranges),
        cmocka_unit_test(test_moments_of_a_column),
        cmocka_unit_test(test_identical_data_does_not_drift),
        cmocka_unit_test(test_texts_of_a_reference),
        cmocka_unit_test(test_length_classes),
        cmocka_unit_test(test_without_a_reference),
        cmocka_unit_test(test_merge_is_associative),
        cmocka_unit_test(test_merge_of_other_shapes_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
