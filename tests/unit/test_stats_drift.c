/* Drift: every outcome and reason, labels apart, limits, texts, and numbers that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "json/doc.h"
#include "json/write.h"
#include "stats/drift.h"
#include "stats/reference_parts.h"

#define ROWS 100

/* x, y numeric; c text; n without statistics; out a label. */
struct setting {
    struct reference *reference;
    struct slot_layout layout;
    struct slot *slot;
};

static void open_setting(struct setting *s)
{
    struct err e;
    double x[ROWS], nan = NAN;
    struct stat_value c[ROWS];
    const struct str features[] = {STR("x"), STR("y"), STR("c"), STR("n"), STR("extra")}, labels[] = {STR("out")};
    for (int i = 0; i < ROWS; i++) {
        x[i] = i;
        c[i] = (struct stat_value){STAT_TEXT, 0, i % 4 ? STR("often") : STR("seldom")};
    }
    struct reference *r = s->reference = reference_new();
    assert_int_equal(reference_add_f64(r, STR("x"), false, x, ROWS, &e), OK);
    assert_int_equal(reference_add_f64(r, STR("y"), false, x, ROWS, &e), OK);
    assert_int_equal(reference_add_values(r, STR("c"), false, c, ROWS, &e), OK);
    assert_int_equal(reference_add_f64(r, STR("n"), false, &nan, 1, &e), OK);
    assert_int_equal(reference_add_f64(r, STR("out"), true, x, ROWS, &e), OK);
    assert_int_equal(reference_add_f64(r, STR("gone"), false, x, ROWS, &e), OK);
    slot_layout_init(&s->layout, features, 5, labels, 1, r);
    s->slot = slot_new(&s->layout);
}

static void close_setting(struct setting *s)
{
    slot_free(s->slot);
    slot_layout_done(&s->layout);
    reference_free(s->reference);
}

/* The training rows again; from row `from` on they are moved out of the range. */
static void same_rows(struct setting *s, double label_shift)
{
    for (int i = 0; i < ROWS; i++) {
        slot_add_f64(s->slot, 0, i);
        slot_add_f64(s->slot, 1, i);
        slot_add(s->slot, 2, &(struct stat_value){STAT_TEXT, 0, i % 4 ? STR("often") : STR("seldom")});
        slot_add_f64(s->slot, 4, i);
        slot_add_f64(s->slot, 5, i + label_shift);
    }
    s->slot->rows += ROWS;
}

static void test_identical_rows(void **state)
{
    (void)state;
    struct setting s;
    struct drift_result r;
    struct drift_options o = drift_options_default(DRIFT_EDGES_CLOSED);
    open_setting(&s);
    same_rows(&s, 0);
    drift_compute_slot(&s.layout, s.slot, &o, &r);
    assert_int_equal(r.n_features, 6);
    assert_int_equal(r.n_compared, 3); /* x y c */
    assert_int_equal(r.n_labels, 1);
    assert_true(r.general_drift == 0 && r.prediction_drift == 0);
    assert_int_equal(r.status, DRIFT_NONE);
    assert_int_equal(r.prediction_status, DRIFT_NONE);
    assert_int_equal(r.features[3].outcome, DRIFT_NO_REFERENCE_HIST);
    assert_int_equal(r.features[5].outcome, DRIFT_MISSING_COLUMN);
    drift_result_done(&r);
    close_setting(&s);
}

static void test_labels_are_apart_in_closed_mode_alone(void **state)
{
    (void)state;
    struct setting s;
    struct drift_result closed, mlrun;
    struct drift_options o = drift_options_default(DRIFT_EDGES_CLOSED), m = drift_options_default(DRIFT_EDGES_MLRUN);
    open_setting(&s);
    same_rows(&s, 1000);
    drift_compute_slot(&s.layout, s.slot, &o, &closed);
    drift_compute_slot(&s.layout, s.slot, &m, &mlrun);
    assert_true(closed.general_drift == 0 && closed.prediction_drift == 1);
    assert_int_equal(closed.status, DRIFT_NONE);
    assert_int_equal(closed.prediction_status, DRIFT_DETECTED);
    assert_true(closed.features[4].is_label);
    /* theirs: the mean of x, y (one of a hundred values at the maximum moves) and out */
    double one = (mlrun.features[0].distance[DISTANCE_TVD] + mlrun.features[0].distance[DISTANCE_HELLINGER]) / 2;
    assert_int_equal(mlrun.n_compared, 3);
    assert_true(one > 0 && fabs(mlrun.general_drift - (2 * one + 1) / 3) < 1e-12);
    assert_true(mlrun.prediction_drift == 1);
    assert_int_equal(mlrun.features[2].outcome, DRIFT_NOT_IN_MLRUN);
    drift_result_done(&closed);
    drift_result_done(&mlrun);
    close_setting(&s);
}

static void test_outcomes(void **state)
{
    (void)state;
    struct setting s;
    struct drift_result r;
    struct drift_options o = drift_options_default(DRIFT_EDGES_CLOSED);
    open_setting(&s);
    for (int i = 0; i < ROWS; i++) {
        slot_add_f64(s.slot, 0, NAN);
        slot_add(s.slot, 1, &(struct stat_value){STAT_TEXT, 0, STR("a word")});
        slot_add_f64(s.slot, 2, 3);
    }
    s.slot->rows = ROWS;
    drift_compute_slot(&s.layout, s.slot, &o, &r);
    assert_string_equal(drift_outcome_name(r.features[0].outcome), "all_missing");
    assert_string_equal(drift_outcome_name(r.features[1].outcome), "wrong_type");
    assert_string_equal(drift_outcome_name(r.features[2].outcome), "wrong_type");
    assert_string_equal(drift_outcome_name(r.features[3].outcome), "no_reference_hist");
    assert_string_equal(drift_outcome_name(r.features[4].outcome), "no_samples");
    assert_string_equal(drift_outcome_name(r.features[5].outcome), "missing_column");
    assert_true(r.features[0].missing == ROWS && r.features[1].wrong_type == ROWS && r.features[1].used == 0);
    assert_true(isnan(r.general_drift) && isnan(r.mean[DISTANCE_KLD]) && isnan(r.prediction_drift));
    assert_int_equal(r.status, DRIFT_IRRELEVANT);
    assert_string_equal(r.reason, "no_comparable_feature");
    struct buf b = {0};
    drift_measures_json(&r, &b);
    assert_string_equal(b.data, "{\"tvd_mean\":null,\"hellinger_mean\":null,\"kld_mean\":null}");
    buf_done(&b);
    drift_result_done(&r);
    close_setting(&s);
}

static void test_reasons(void **state)
{
    (void)state;
    struct setting s;
    struct drift_result r;
    struct drift_options o = drift_options_default(DRIFT_EDGES_CLOSED);
    open_setting(&s);
    same_rows(&s, 0);
    o.min_samples = ROWS + 1;
    drift_compute_slot(&s.layout, s.slot, &o, &r);
    assert_int_equal(r.status, DRIFT_IRRELEVANT);
    assert_int_equal(r.prediction_status, DRIFT_IRRELEVANT);
    assert_string_equal(r.reason, "insufficient_samples");
    assert_true(r.general_drift == 0); /* the numbers are there all the same */
    drift_result_done(&r);
    o.min_samples = ROWS;
    drift_compute_slot(&s.layout, s.slot, &o, &r);
    assert_int_equal(r.status, DRIFT_NONE);
    assert_string_equal(r.reason, "");
    drift_result_done(&r);
    drift_compute(NULL, NULL, ROWS, &o, &r);
    assert_int_equal(r.status, DRIFT_IRRELEVANT);
    assert_string_equal(r.reason, "no_reference");
    assert_int_equal(r.n_features, 0);
    drift_result_done(&r);
    close_setting(&s);
}

static void test_counts_of_another_reference_are_not_compared(void **state)
{
    (void)state;
    struct setting s;
    struct drift_feature f;
    struct feature_counts c;
    open_setting(&s);
    counts_init(&c, NULL, NULL);
    counts_add_f64(&c, NULL, 1);
    drift_feature(&s.reference->features[0], &c, DRIFT_EDGES_CLOSED, &f);
    assert_int_equal(f.outcome, DRIFT_MISSING_COLUMN);
    counts_done(&c);
    close_setting(&s);
}

static void test_thresholds(void **state)
{
    (void)state;
    struct drift_options o = {.potential = 0.3, .detected = 0.6};
    assert_int_equal(drift_classify(0.29999, &o), DRIFT_NONE);
    assert_int_equal(drift_classify(0.3, &o), DRIFT_POTENTIAL);
    assert_int_equal(drift_classify(0.6, &o), DRIFT_DETECTED);
    assert_int_equal(drift_classify(1.0000000000000002, &o), DRIFT_DETECTED);
    assert_int_equal(drift_classify(NAN, &o), DRIFT_IRRELEVANT);
}

/* The captured histogram whose TVD is 1.0000000000000004: MLRun writes no result for it. */
static void test_rounding_above_one_is_cut(void **state)
{
    (void)state;
    static const unsigned sample[] = {13, 20, 14, 19, 6},
                          train[] = {5, 13, 12, 7, 7, 9, 10, 13, 8, 13, 15, 10, 11, 10, 7, 8, 14};
    struct reference *r = reference_new();
    struct feature_ref *f;
    struct feature_counts c;
    struct drift_result got;
    struct drift_options o = drift_options_default(DRIFT_EDGES_MLRUN);
    struct err e;
    assert_int_equal(reference_add_feature(r, STR("x"), &f, &e), OK);
    feature_ref_bins(r, f, 20);
    f->mlrun_hist = true;
    f->stats->count = 172;
    for (uint32_t i = 0; i <= 20; i++)
        f->edges[i] = i;
    feature_ref_finish(f);
    for (uint32_t i = 0; i < 17; i++)
        *(i < 16 ? &f->counts[i + 4] : &f->stats->over) = train[i];
    counts_init(&c, f, NULL);
    c.under = sample[0];
    for (uint32_t i = 1; i < 5; i++)
        c.cells[i - 1] = sample[i];
    drift_compute(r, &(struct drift_column){&c, false}, 72, &o, &got);
    assert_true(got.mean[DISTANCE_TVD] == 1 && got.general_drift == 1);
    assert_int_equal(got.status, DRIFT_DETECTED);
    drift_result_done(&got);
    counts_done(&c);
    reference_free(r);
}

static double text_drift(const struct feature_ref *f, const char *const *texts, size_t n)
{
    struct feature_counts c;
    struct drift_feature got;
    counts_init(&c, f, NULL);
    for (size_t i = 0; i < n; i++)
        counts_add_text(&c, f, str_of(texts[i]));
    drift_feature(f, &c, DRIFT_EDGES_CLOSED, &got);
    counts_done(&c);
    assert_int_equal(got.outcome, DRIFT_OK);
    return got.distance[DISTANCE_TVD];
}

static void test_texts(void **state)
{
    (void)state;
    static const char prompt[] = "a text that is longer than sixty-four bytes and is therefore counted by length alone";
    struct setting s;
    open_setting(&s);
    const struct feature_ref *f = reference_find(s.reference, STR("c")); /* often 75, seldom 25 */
    assert_true(fabs(text_drift(f, (const char *const[]){"often", "often", "often", "seldom"}, 4)) < 1e-15);
    assert_true(fabs(text_drift(f, (const char *const[]){"often"}, 1) - 0.25) < 1e-15);
    assert_true(text_drift(f, (const char *const[]){"new", "newer"}, 2) == 1);
    assert_true(text_drift(f, (const char *const[]){prompt}, 1) == 1);
    close_setting(&s);
}

/* Known by its most frequent value alone: everything else, long texts too, is one cell. */
static void test_texts_of_a_partial_reference(void **state)
{
    (void)state;
    static const char stats[] = "{\"c\":{\"count\":60,\"unique\":3,\"top\":\"a\",\"freq\":30}}";
    static const char prompt[] = "a text that is longer than sixty-four bytes and is therefore counted by length alone";
    struct json *j = NULL;
    struct reference *r = NULL;
    struct err e;
    assert_int_equal(json_parse(&j, stats, sizeof stats - 1, NULL, &e), OK);
    assert_int_equal(reference_from_json(&r, j, NULL, 0, &e), OK);
    json_free(j);
    assert_true(text_drift(&r->features[0], (const char *const[]){"a", prompt}, 2) == 0);
    assert_true(text_drift(&r->features[0], (const char *const[]){"a", "z", "a", "y"}, 4) == 0);
    assert_true(text_drift(&r->features[0], (const char *const[]){"z"}, 1) == 0.5);
    reference_free(r);
}

/* What is said of one column of these values against training of those; "": nothing. */
static void must_say(const struct stat_value *training, size_t n_training, const struct stat_value *now, size_t n_now,
                     const char *want)
{
    struct err e;
    struct buf b = {0}, back = {0};
    struct json_writer w;
    struct reference *r = reference_new(), *read = NULL;
    assert_int_equal(reference_add_values(r, STR("c"), false, training, n_training, &e), OK);
    reference_to_json(r, false, &back); /* as it is stored */
    assert_int_equal(reference_from_text(&read, buf_str(&back), NULL, 0, &e), OK);
    struct feature_counts c;
    counts_init(&c, &read->features[0], NULL);
    for (size_t i = 0; i < n_now; i++)
        counts_add_value(&c, &read->features[0], &now[i]);
    jw_init(&w, &b, JSON_NAN_NULL);
    jw_object(&w);
    assert_true(drift_news_json(&read->features[0], &c, &w) == (*want != '\0'));
    jw_object_end(&w);
    assert_int_equal(b.len, strlen(want) + 2);
    assert_memory_equal(b.data + 1, want, strlen(want));
    counts_done(&c);
    reference_free(read);
    reference_free(r);
    buf_done(&back);
    buf_done(&b);
}

static struct stat_value text_value(const char *s)
{
    return (struct stat_value){.kind = STAT_TEXT, .text = str_of(s)};
}

static void test_new_and_vanished_texts(void **state)
{
    (void)state;
    struct stat_value t[100], now[50];
    for (int i = 0; i < 100; i++)
        t[i] = text_value(i < 50 ? "Rome" : i < 98 ? "Os\"lo" : "rare");
    for (int i = 0; i < 50; i++)
        now[i] = text_value(i % 2 ? "Rome" : "Os\"lo");
    must_say(t, 100, now, 50, ""); /* rare: one would be expected, that proves nothing */
    for (int i = 0; i < 50; i++)
        now[i] = text_value(i < 40 ? "Rome" : i < 45 ? "Bonn" : "Kiel");
    must_say(t, 100, now, 50, "\"new_values\":10,\"vanished\":[\"Os\\\"lo\"]");
    must_say(t, 100, now, 9, ""); /* 4 would be expected */
}

static void test_new_and_vanished_codes(void **state)
{
    (void)state;
    struct stat_value t[100], now[60];
    for (int i = 0; i < 100; i++)
        t[i] = (struct stat_value){.kind = STAT_NUMBER, .num = (double[]){1, 2, 5}[i % 3]};
    for (int i = 0; i < 60; i++)
        now[i] = t[i];
    must_say(t, 100, now, 60, "");
    for (int i = 0; i < 60; i++)
        now[i].num = i < 30 ? 1 : i < 40 ? 5 : i < 45 ? 3 : i < 50 ? 2.5 : 9;
    must_say(t, 100, now, 60, "\"new_values\":20,\"new\":[\"3\"],\"vanished\":[\"2\"]");
    for (int i = 0; i < 100; i++)
        t[i].num = i * 0.123; /* no codes: nothing is new */
    must_say(t, 100, now, 60, "");
}

static void test_new_and_vanished_booleans(void **state)
{
    (void)state;
    struct stat_value t[100], now[20];
    for (int i = 0; i < 100; i++)
        t[i] = (struct stat_value){.kind = STAT_BOOL, .num = i % 2};
    for (int i = 0; i < 20; i++)
        now[i] = (struct stat_value){.kind = STAT_BOOL, .num = 1};
    must_say(t, 100, now, 20, "\"vanished\":[\"False\"]");
    for (int i = 0; i < 100; i++)
        t[i].num = 1;
    now[0].num = 0;
    must_say(t, 100, now, 20, "\"new_values\":1");
}

static void test_current_stats(void **state)
{
    (void)state;
    struct setting s;
    struct drift_column columns[6];
    struct buf b = {0};
    struct json *j = NULL;
    struct err e;
    open_setting(&s);
    same_rows(&s, 0);
    slot_add_f64(s.slot, 0, INFINITY);
    slot_add_f64(s.slot, 0, -5);
    slot_add(s.slot, 2, &(struct stat_value){STAT_TEXT, 0, STR("new")});
    drift_columns_of(&s.layout, s.slot, columns);
    drift_current_stats_json(s.reference, columns, DRIFT_EDGES_CLOSED, &b);
    assert_int_equal(json_parse(&j, b.data, b.len, NULL, &e), OK);
    assert_null(json_get(j, "extra"));
    assert_null(json_get(j, "gone"));
    const struct json *x = json_get(j, "x"), *c = json_get(j, "c");
    int64_t n;
    assert_int_equal(json_need_i64(x, "count", &n, &e), OK);
    assert_int_equal(n, ROWS + 2);
    const struct json *cells = json_at(json_get(x, "hist"), 0);
    assert_int_equal(json_len(cells), 22);
    assert_int_equal(json_len(json_at(json_get(x, "hist"), 1)), 23);
    static const int64_t want[] = {1, 5, 5}; /* -5, then five a bin */
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(json_i64(json_at(cells, i), &n, &e), OK);
        assert_int_equal(n, want[i]);
    }
    assert_int_equal(json_i64(json_at(cells, 21), &n, &e), OK);
    assert_int_equal(n, 1); /* infinity */
    struct str top;
    assert_int_equal(json_need_str(c, "top", &top, &e), OK);
    assert_string_equal(top.p, "often");
    assert_int_equal(json_need_i64(c, "other", &n, &e), OK);
    assert_int_equal(n, 1);
    json_free(j);
    buf_done(&b);
    close_setting(&s);
}

static void thresholds_have_one_rule(void **state)
{
    (void)state;
    struct err e = {{0}};
    assert_int_equal(drift_check_thresholds(0.5, 0.7, &e), OK);
    const double wrong[][2] = {{0, 0.5}, {0.5, 0.5}, {0.7, 0.5}, {0.5, 1}, {NAN, 0.5}, {0.5, NAN}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(drift_check_thresholds(wrong[i][0], wrong[i][1], &e), E_INVALID);
    assert_non_null(strstr(e.text, "0 < potential < detected < 1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thresholds_have_one_rule),
        cmocka_unit_test(test_identical_rows),
        cmocka_unit_test(test_labels_are_apart_in_closed_mode_alone),
        cmocka_unit_test(test_outcomes),
        cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_counts_of_another_reference_are_not_compared),
        cmocka_unit_test(test_thresholds),
        cmocka_unit_test(test_rounding_above_one_is_cut),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_texts_of_a_partial_reference),
        cmocka_unit_test(test_new_and_vanished_texts),
        cmocka_unit_test(test_new_and_vanished_codes),
        cmocka_unit_test(test_new_and_vanished_booleans),
        cmocka_unit_test(test_current_stats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
