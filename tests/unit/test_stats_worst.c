/* The features that drift: in words, as the member of extra data, and read from a text that is cut off. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "json/doc.h"
#include "json/write.h"
#include "stats/worst.h"

static void check_words(size_t potential, size_t detected, const char *want)
{
    const struct drift_worst w = {
        .compared = 7, .potential = potential, .detected = detected, .drift = 0.57, .feature = STR("age")};
    struct buf out = {0};
    drift_worst_words(&w, &out);
    assert_string_equal(out.data ? out.data : "", want);
    buf_done(&out);
}

static void test_words(void **state)
{
    (void)state;
    check_words(0, 0, "");
    check_words(1, 0, "1 of 7 features drifts possibly: age 0.57");
    check_words(2, 0, "2 of 7 features drift possibly: most age 0.57");
    check_words(0, 1, "1 of 7 features drifts: age 0.57");
    check_words(1, 2, "2 of 7 features drift, 1 drifts possibly: most age 0.57");
}

static void test_what_is_not_compared_is_counted_and_named(void **state)
{
    (void)state;
    struct drift_worst w = {.compared = 4, .lost = 3, .potential = 1, .drift = 0.57, .feature = STR("age")};
    struct buf out = {0};
    size_t n = 0;
    drift_worst_words(&w, &out);
    assert_string_equal(out.data, "1 of 7 features drifts possibly: age 0.57");
    buf_clear(&out);
    drift_lost_words(&w, &out);
    drift_lost_name(STR("area"), STR("wrong_type"), &n, &out);
    drift_lost_name(STR("on"), STR("missing_column"), &n, &out);
    assert_string_equal(out.data, "3 of 7 features are not compared: area (wrong type), on (missing column)");
    buf_clear(&out);
    while (n < 20)
        drift_lost_name(STR("x"), STR("all_missing"), &n, &out);
    assert_non_null(strstr(out.data, ", x (all missing), …"));
    assert_int_equal(out.data[out.len - 1], (char)0xa6); /* the ellipsis is last, and once */
    buf_clear(&out);
    w.lost = 0;
    drift_lost_words(&w, &out);
    assert_int_equal(out.len, 0);
    buf_done(&out);
    for (int i = DRIFT_OK; i <= DRIFT_TOO_MANY_VALUES; i++)
        assert_int_equal(drift_outcome_of(str_of(drift_outcome_name((enum drift_outcome)i))), i);
    assert_false(drift_outcome_lost(drift_outcome_of(STR("no_reference_hist"))));
    assert_int_equal(drift_outcome_of(STR("new")), DRIFT_OK);
}

static void test_inputs_that_were_compared_alone_count(void **state)
{
    (void)state;
    struct drift_feature f[] = {
        {.name = STR("calm"), .distance = {[DISTANCE_TVD] = 0.1, [DISTANCE_HELLINGER] = 0.1}},
        {.name = STR("age"), .distance = {[DISTANCE_TVD] = 0.9, [DISTANCE_HELLINGER] = 0.7}},
        {.name = STR("wary"), .distance = {[DISTANCE_TVD] = 0.6, [DISTANCE_HELLINGER] = 0.5}},
        {.name = STR("gone"), .outcome = DRIFT_MISSING_COLUMN},
        {.name = STR("out"), .is_label = true, .distance = {[DISTANCE_TVD] = 1, [DISTANCE_HELLINGER] = 1}}};
    struct drift_result r = {.features = f, .n_features = 5, .status = DRIFT_NONE};
    const struct drift_options o = drift_options_default(DRIFT_EDGES_CLOSED);
    struct drift_worst w = drift_worst_of(&r, &o);
    assert_int_equal(w.compared, 3);
    assert_int_equal(w.lost, 1);
    assert_int_equal(w.detected, 1);
    assert_int_equal(w.potential, 1);
    assert_true(str_eqz(w.feature, "age"));
    assert_true(fabs(w.drift - 0.8) < 1e-12);
    r.status = DRIFT_IRRELEVANT; /* too few rows say nothing of a feature either */
    w = drift_worst_of(&r, &o);
    assert_int_equal(w.compared, 0);
}

/* Wherever the text ends: all of it, or nothing. A name that looks like the member is a name. */
static void test_a_text_that_is_cut_off(void **state)
{
    (void)state;
    const struct drift_worst w = {.compared = 3, .lost = 2, .detected = 1, .drift = 0.8, .feature = STR("\"worst\":{\"}\\")};
    struct buf text = {0};
    struct json_writer to;
    jw_init(&to, &text, JSON_NAN_NULL);
    jw_object(&to);
    jw_kv_i64(&to, "first", 1);
    drift_worst_json(&w, &to);
    size_t end = text.len;
    jw_kv_i64(&to, "samples", 1);
    jw_object_end(&to);
    for (size_t n = 0; n <= text.len; n++) {
        struct json *own;
        struct drift_worst got;
        assert_int_equal(drift_worst_head((struct str){text.data, n}, &got, &own), n >= end);
        if (n >= end)
            assert_true(str_eq(got.feature, w.feature) && got.detected == 1 && got.compared == 3 && got.lost == 2 &&
                        got.drift > 0.79);
        json_free(own);
    }
    buf_done(&text);
}

static void test_what_is_none(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "", "{}", "\"worst\":{\"feature\":\"\"}",
        "{\"worst\":{\"compared\":1,\"potential\":1,\"detected\":1,\"drift\":1,\"feature\":\"a\"}",
        "{\"worst\":{\"compared\":1,\"potential\":-1,\"detected\":1,\"drift\":1,\"feature\":\"a\"}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct json *own;
        struct drift_worst got;
        assert_false(drift_worst_head(str_of(texts[i]), &got, &own));
        assert_int_equal(got.compared, 0);
        json_free(own);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_what_is_not_compared_is_counted_and_named),
        cmocka_unit_test(test_inputs_that_were_compared_alone_count),
        cmocka_unit_test(test_a_text_that_is_cut_off),
        cmocka_unit_test(test_what_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
