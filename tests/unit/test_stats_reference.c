/* References: from rows, from MLRun's statistics, and back; what is refused, and what is not kept. */
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
#include "json/doc.h"
#include "base/text.h"
#include "stats/reference.h"
#include "stats/slot.h"

#define NUM(v) ((struct stat_value){STAT_NUMBER, (v), {NULL, 0}})
#define BOOL(v) ((struct stat_value){STAT_BOOL, (v), {NULL, 0}})
#define TEXT(v) ((struct stat_value){STAT_TEXT, 0, STR(v)})
#define NONE ((struct stat_value){STAT_MISSING, 0, {NULL, 0}})
#define COUNT(a) (sizeof(a) / sizeof(a)[0])

static rc_t parse(struct reference **ret, const char *text, const struct str *labels, size_t n_labels, struct err *e)
{
    struct json *j = NULL;
    assert_int_equal(json_parse(&j, text, strlen(text), NULL, e), OK);
    rc_t rc = reference_from_json(ret, j, labels, n_labels, e);
    json_free(j);
    return rc;
}

static struct reference *parsed(const char *text)
{
    struct reference *r = NULL;
    struct err e;
    if (parse(&r, text, NULL, 0, &e))
        fail_msg("%s", e.text);
    return r;
}

static struct buf printed(const struct reference *r, bool padded)
{
    struct buf b = {0};
    reference_to_json(r, padded, &b);
    return b;
}

/* All kinds of features, made of rows. */
static struct reference *everything(void)
{
    struct reference *r = reference_new();
    struct err e;
    char prompt[200];
    memset(prompt, 'p', sizeof prompt);
    const double plain[] = {1, 2, 2.5, 3, 10}, dirty[] = {NAN, 1, 2, INFINITY, INFINITY, -INFINITY, 3};
    const double nothing[] = {NAN, NAN}, huge[] = {-1.7e308, 1.7e308, 0};
    const struct stat_value bools[] = {BOOL(1), BOOL(0), BOOL(1)};
    const struct stat_value texts[] = {
        TEXT("b"), TEXT("a"), TEXT("b"), NONE, NUM(4), TEXT(""), {STAT_TEXT, 0, {prompt, sizeof prompt}}};
    const struct stat_value mixed[] = {NUM(1), NUM(2), TEXT("N/A"), {STAT_OTHER, 0, {NULL, 0}}};
    assert_int_equal(reference_add_f64(r, STR("plain"), false, plain, COUNT(plain), &e), OK);
    assert_int_equal(reference_add_f64(r, STR("dirty"), false, dirty, COUNT(dirty), &e), OK);
    assert_int_equal(reference_add_f64(r, STR("nothing"), false, nothing, COUNT(nothing), &e), OK);
    assert_int_equal(reference_add_f64(r, STR("huge"), false, huge, COUNT(huge), &e), OK);
    assert_int_equal(reference_add_values(r, STR("bools"), true, bools, COUNT(bools), &e), OK);
    assert_int_equal(reference_add_values(r, STR("texts"), false, texts, COUNT(texts), &e), OK);
    assert_int_equal(reference_add_values(r, STR("mixed"), false, mixed, COUNT(mixed), &e), OK);
    assert_int_equal(reference_add_f64(r, STR("empty"), false, NULL, 0, &e), OK);
    return r;
}

static void test_rows_make_features(void **state)
{
    (void)state;
    struct reference *r = everything();
    const struct feature_ref *f = reference_find(r, STR("dirty"));
    assert_int_equal(f->kind, FEATURE_NUMERIC);
    assert_false(f->mlrun_hist);
    assert_true(f->stats->missing == 1 && f->stats->pos_inf == 2 && f->stats->neg_inf == 1 && f->stats->over == 2 &&
                f->stats->under == 1);
    assert_true(f->stats->count == 6 && f->stats->mean == 2 && f->stats->min == 1 && f->stats->max == 3);
    assert_true(f->counts[0] == 1 && f->counts[10] == 1 && f->counts[19] == 1);
    assert_int_equal(reference_find(r, STR("nothing"))->kind, FEATURE_NONE);
    assert_int_equal(reference_find(r, STR("empty"))->kind, FEATURE_NONE);
    f = reference_find(r, STR("huge"));
    assert_true(f->kind == FEATURE_NUMERIC && !f->mlrun_hist && !f->uniform);
    assert_true(f->counts[0] == 1 && f->counts[10] == 1 && f->counts[19] == 1);
    f = reference_find(r, STR("bools"));
    assert_true(f->is_bool && f->is_label && f->mlrun_hist && f->counts[0] == 1 && f->counts[19] == 2);
    f = reference_find(r, STR("texts"));
    assert_int_equal(f->kind, FEATURE_CATEGORICAL);
    assert_int_equal(f->n_categories, 3);
    assert_true(str_eqz(f->categories[0].text, "") && str_eqz(f->categories[2].text, "b"));
    assert_true(f->categories[2].count == 2 && f->stats->longs[1] == 1 && f->stats->wrong_type == 1 &&
                f->stats->missing == 1);
    assert_true(f->stats->count == 5 && f->stats->unique == 4);
    f = reference_find(r, STR("mixed"));
    assert_true(f->kind == FEATURE_NUMERIC && f->stats->wrong_type == 2 && !f->mlrun_hist);
    assert_true(reference_find(r, STR("plain"))->mlrun_hist && reference_find(r, STR("plain"))->uniform);
    reference_free(r);
}

/* A constant, small or too large for half a step to matter, is inside its own histogram. */
static void test_constants(void **state)
{
    (void)state;
    static const double values[] = {0, 5, -3.25, 1e15, 1e17, -1e300, DBL_MAX, -DBL_MAX, 5e-324};
    for (size_t i = 0; i < COUNT(values); i++) {
        struct reference *r = reference_new();
        struct err e;
        double x[] = {values[i], values[i], values[i]}, sum = 0;
        assert_int_equal(reference_add_f64(r, STR("c"), false, x, 3, &e), OK);
        const struct feature_ref *f = &r->features[0];
        assert_true(f->edges[0] <= values[i] && values[i] <= f->edges[20] && f->edges[0] < f->edges[20]);
        for (int k = 0; k < 20; k++)
            sum += f->counts[k];
        assert_true(sum == 3);
        if (i < 3)
            assert_true(f->edges[0] == values[i] - 0.5 && f->edges[20] == values[i] + 0.5 && f->counts[10] == 3);
        reference_free(r);
    }
}

static void test_text_and_back(void **state)
{
    (void)state;
    struct reference *r = everything();
    for (int padded = 0; padded < 2; padded++) {
        struct buf one = printed(r, padded);
        struct reference *back = parsed(one.data);
        struct buf two = printed(back, padded), other = printed(r, !padded), other_back = printed(back, !padded);
        assert_string_equal(one.data, two.data);
        assert_string_equal(other.data, other_back.data); /* it was not only the same text, it is the same reference */
        assert_int_equal(back->n, r->n);
        for (size_t i = 0; i < r->n; i++) {
            const struct feature_ref *a = &r->features[i], *b = &back->features[i];
            assert_int_equal(a->kind, b->kind);
            assert_int_equal(a->is_label, b->is_label);
            assert_int_equal(a->is_bool, b->is_bool);
            assert_int_equal(a->mlrun_hist, b->mlrun_hist);
            assert_int_equal(a->uniform, b->uniform);
            if (a->kind == FEATURE_NUMERIC) {
                assert_int_equal(a->padded, b->padded);
                assert_true(a->stats->under == b->stats->under && a->stats->over == b->stats->over);
                assert_memory_equal(a->edges, b->edges, (a->n_bins + 1) * sizeof *a->edges);
                assert_memory_equal(a->counts, b->counts, a->n_bins * sizeof *a->counts);
            }
        }
        buf_done(&one);
        buf_done(&two);
        buf_done(&other);
        buf_done(&other_back);
        reference_free(back);
    }
    reference_free(r);
}

static void test_padding(void **state)
{
    (void)state;
    struct reference *r = parsed("{\"x\":{\"count\":3,\"hist\":[[1,2],[0,1,2]]},"
                                 "\"y\":{\"count\":6,\"hist\":[[1,1,2,2],[-1.7976931348623157e308,0,1,2,"
                                 "1.7976931348623157e308]]}}");
    assert_false(r->features[0].padded);
    assert_true(r->features[1].padded && r->features[1].n_bins == 2);
    assert_true(r->features[1].stats->under == 1 && r->features[1].stats->over == 2 && r->features[1].edges[2] == 2);
    struct buf b = printed(r, true);
    assert_non_null(strstr(b.data, "[[0,1,2,0],[-1.7976931348623157e308,0,1,2,1.7976931348623157e308]]"));
    assert_non_null(strstr(b.data, "[[1,1,2,2],[-1.7976931348623157e308,0,1,2,1.7976931348623157e308]]"));
    buf_done(&b);
    reference_free(r);
}

static void test_mlruns_text_columns_are_known_by_their_top(void **state)
{
    (void)state;
    struct reference *r = parsed("{\"c\":{\"count\":60,\"unique\":3,\"top\":\"a\",\"freq\":20},"
                                 "\"long\":{\"count\":2,\"unique\":2,\"freq\":1,\"top\":\""
                                 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"},"
                                 "\"odd\":{\"count\":2,\"top\":\"a\",\"freq\":3},\"bare\":{}}");
    assert_true(r->features[0].kind == FEATURE_CATEGORICAL && r->features[0].partial);
    assert_true(r->features[0].categories[0].count == 20 && r->features[0].stats->other == 40);
    for (size_t i = 1; i < 4; i++)
        assert_int_equal(r->features[i].kind, FEATURE_NONE);
    reference_free(r);
}

static void test_labels_and_words_for_numbers(void **state)
{
    (void)state;
    struct reference *r = NULL;
    struct err e;
    const struct str labels[] = {STR("y out"), STR("not there")};
    assert_int_equal(parse(&r, "{\"x\":{\"count\":1,\"mean\":\"Infinity\",\"std\":\"NaN\",\"min\":null},\"y_(out)\":{}}",
                           labels, 2, &e),
                     OK);
    assert_true(isinf(r->features[0].stats->mean) && isnan(r->features[0].stats->std) && isnan(r->features[0].stats->min));
    assert_true(!r->features[0].is_label && r->features[1].is_label);
    reference_free(r);
}

static void test_what_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "[]",
        "{\"x\":3}",
        "{\"\":{}}",
        "{\"x\":{\"hist\":7}}",
        "{\"x\":{\"hist\":[[1]]}}",
        "{\"x\":{\"hist\":[[1],[0,1],[2]]}}",
        "{\"x\":{\"hist\":[[],[0]]}}",
        "{\"x\":{\"hist\":[[1,2],[0,1]]}}",
        "{\"x\":{\"hist\":[[1,-2],[0,1,2]]}}",
        "{\"x\":{\"hist\":[[1,\"2\"],[0,1,2]]}}",
        "{\"x\":{\"hist\":[[1,2],[0,2,1]]}}",
        "{\"x\":{\"hist\":[[1,2],[1,1,1]]}}",
        "{\"x\":{\"hist\":[[1,2],[0,null,1]]}}",
        "{\"x\":{\"top\":\"a\",\"modelmon\":{\"categories\":{\"a\":-1}}}}",
        "{\"x\":{\"top\":\"a\",\"modelmon\":{\"categories\":{\"a\":\"b\"}}}}",
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct reference *r = NULL;
        struct err e = {""};
        if (parse(&r, bad[i], NULL, 0, &e) != E_INVALID)
            fail_msg("taken: %s", bad[i]);
        assert_null(r);
        assert_true(strlen(e.text) > 10);
        if (strstr(bad[i], "\"x\"") && strstr(bad[i], "hist"))
            assert_non_null(strstr(e.text, "x"));
    }
}

static void test_too_many_bins(void **state)
{
    (void)state;
    struct buf b = {0};
    struct reference *r = NULL;
    struct err e;
    buf_addz(&b, "{\"x\":{\"hist\":[[0");
    for (unsigned i = 1; i <= REFERENCE_BINS_MAX; i++)
        buf_addz(&b, ",1");
    buf_addz(&b, "],[0");
    for (unsigned i = 1; i <= REFERENCE_BINS_MAX + 1; i++)
        buf_addf(&b, ",%u", i);
    buf_addz(&b, "]]}}");
    assert_int_equal(parse(&r, b.data, NULL, 0, &e), E_INVALID);
    assert_null(r);
    buf_done(&b);
}

static void test_names(void **state)
{
    (void)state;
    struct reference *r = reference_new();
    struct err e;
    double x = 1;
    assert_int_equal(reference_add_f64(r, STR("sepal length (cm)"), false, &x, 1, &e), OK);
    assert_int_equal(reference_add_f64(r, STR("sepal_length_cm"), false, &x, 1, &e), OK);
    assert_int_equal(reference_add_f64(r, STR("sepal_length_cm"), false, &x, 1, &e), E_INVALID);
    assert_int_equal(reference_add_f64(r, STR(""), false, &x, 1, &e), E_INVALID);
    assert_int_equal(r->n, 2);
    assert_int_equal(reference_index(r, STR("sepal_length_cm")), 1); /* exact first */
    assert_int_equal(reference_index(r, STR("sepal length cm")), 0);
    assert_int_equal(reference_index(r, STR("sepal_length")), 2);
    assert_int_equal(reference_index(r, STR("sepal_length_cm_")), 2);
    assert_null(reference_find(r, STR("petal")));
    reference_free(r);
}

/* An event's name is found by its normal form, whatever stands in it. */
static void test_names_of_events(void **state)
{
    (void)state;
    static const char *const names[] = {"a b",
                                        "a (b)",
                                        "a\tb",
                                        "a\nb",
                                        "a\xC2\xA0"
                                        "b",
                                        "(a)",
                                        "\xE2\x82\xAC 1"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct reference *r = reference_new();
        struct err e;
        char out[16];
        double x = 1;
        assert_int_equal(reference_add_f64(r, str_of(names[i]), false, &x, 1, &e), OK);
        assert_int_equal(reference_index(r, (struct str){out, text_norm_name(out, str_of(names[i]))}), 0);
        reference_free(r);
    }
}

/* 64 categories by frequency, the rest is other; long texts are in no output. */
static void test_categories_are_bounded_and_private(void **state)
{
    (void)state;
    struct reference *r = reference_new();
    struct err e;
    char names[200][8], secret[100];
    struct stat_value v[400];
    size_t n = 0;
    memset(secret, 's', sizeof secret);
    for (int i = 0; i < 200; i++) {
        struct str s = {names[i], (size_t)snprintf(names[i], sizeof names[i], "c%03d", i)};
        for (int k = 0; k < (i >= 150 ? 3 : 1) && n < 399; k++)
            v[n++] = (struct stat_value){STAT_TEXT, 0, s};
    }
    v[n++] = (struct stat_value){STAT_TEXT, 0, {secret, sizeof secret}};
    assert_int_equal(reference_add_values(r, STR("c"), false, v, n, &e), OK);
    const struct feature_ref *f = &r->features[0];
    assert_int_equal(f->n_categories, CATEGORIES_MAX);
    uint64_t kept = 0;
    for (uint32_t i = 0; i < f->n_categories; i++) {
        kept += f->categories[i].count;
        if (i > 0)
            assert_true(strcmp(f->categories[i - 1].text.p, f->categories[i].text.p) < 0);
    }
    assert_int_equal(kept, 50 * 3 + 14);
    assert_int_equal(f->stats->other, 200 - 64);
    assert_true(f->stats->unique == 201 && f->stats->longs[0] == 1);
    struct buf b = printed(r, true);
    assert_null(strstr(b.data, "sssss"));
    buf_done(&b);
    reference_free(r);
}

/* A slot with this reference in which every feature has seen numbers and texts, as bytes. */
static struct buf counted(const struct reference *r)
{
    struct str names[16];
    struct slot_layout l;
    struct buf b = {0};
    for (size_t i = 0; i < r->n; i++)
        names[i] = r->features[i].name;
    slot_layout_init(&l, names, r->n, NULL, 0, r);
    struct slot *s = slot_new(&l);
    for (size_t i = 0; i < r->n; i++) {
        for (double x = -20; x < 20; x += 0.25)
            slot_add_f64(s, i, x);
        slot_add(s, i, &TEXT("a"));
        slot_add(s, i, &TEXT("unheard of"));
        slot_add(s, i, &BOOL(1));
    }
    slot_encode(s, &b);
    slot_free(s);
    slot_layout_done(&l);
    return b;
}

static void a_trimmed_reference_counts_alike(void **state)
{
    (void)state;
    struct reference *r = everything();
    size_t before = r->mem.total;
    struct buf want = counted(r);
    reference_trim(r);
    assert_true(r->mem.total < before);
    assert_null(r->features[0].counts);
    struct buf got = counted(r);
    assert_int_equal(got.len, want.len);
    assert_memory_equal(got.data, want.data, want.len);
    buf_done(&want);
    buf_done(&got);
    reference_free(r);
}

/* Whoever holds ten thousand references pays for what a histogram is made of, not for each edge. */
static void even_edges_are_given_back(void **state)
{
    (void)state;
    double x[50], kept[6][REFERENCE_BINS + 1];
    struct err e;
    struct reference *r = reference_new();
    for (size_t f = 0; f < 6; f++) {
        for (size_t i = 0; i < 50; i++)
            x[i] = pow(10, 3.0 * (double)f - 6) * ((double)(i * 7919 % 101) / 3 - 11);
        char name[8];
        (void)snprintf(name, sizeof name, "f%zu", f);
        assert_int_equal(reference_add_f64(r, str_of(name), false, x, 50, &e), OK);
        assert_true(r->features[f].even);
        memcpy(kept[f], r->features[f].edges, sizeof kept[f]);
    }
    reference_trim(r);
    for (size_t f = 0; f < 6; f++) {
        assert_null(r->features[f].edges);
        for (uint32_t i = 0; i <= REFERENCE_BINS; i++)
            assert_memory_equal(&(double){feature_edge(&r->features[f], i)}, &kept[f][i], sizeof(double));
        assert_true(isnan(feature_edge(&r->features[f], REFERENCE_BINS + 1)));
    }
    assert_true(reference_bytes(r) < sizeof *r + 6 * 144);
    reference_free(r);
    r = parsed("{\"x\":{\"count\":6,\"hist\":[[1,2,3],[0,1,2,5]]}}");
    assert_false(r->features[0].even);
    reference_trim(r);
    assert_true(r->features[0].edges[3] == 5);
    reference_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_trimmed_reference_counts_alike),
        cmocka_unit_test(even_edges_are_given_back),
        cmocka_unit_test(test_rows_make_features),
        cmocka_unit_test(test_constants),
        cmocka_unit_test(test_text_and_back),
        cmocka_unit_test(test_padding),
        cmocka_unit_test(test_mlruns_text_columns_are_known_by_their_top),
        cmocka_unit_test(test_labels_and_words_for_numbers),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_too_many_bins),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_names_of_events),
        cmocka_unit_test(test_categories_are_bounded_and_private),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
