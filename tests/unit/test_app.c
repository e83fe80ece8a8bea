/* The default app through the SDK's harness, and the SDK's own handling of what an app answers. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>
#include "app/harness.h"
#include "base/mem.h"
#include "event/result.h"
#include "json/doc.h"

#include "histogram-drift-app/drift_app.c"

#define ROWS 400u

static const char *const features[] = {"a", "b"};
static const char *const labels[] = {"y"};

/* Deterministic, spread over [0,1). */
static double spread(size_t i, size_t column)
{
    return fmod((double)(i * 7919u + column * 104729u) * 0.6180339887498949, 1.0);
}

static struct reference *make_reference(bool with_label)
{
    struct reference *r = reference_new();
    double x[ROWS];
    struct err e;
    for (size_t c = 0; c < 2 + (size_t)with_label; c++) {
        for (size_t i = 0; i < ROWS; i++)
            x[i] = spread(i, c);
        assert_int_equal(reference_add_f64(r, c < 2 ? str_of(features[c]) : STR("y"), c == 2, x, ROWS, &e), OK);
    }
    r->version = 3;
    return r;
}

static void fill(double rows[3 * ROWS], double shift)
{
    for (size_t i = 0; i < ROWS; i++)
        for (size_t c = 0; c < 3; c++)
            rows[i * 3 + c] = spread(i, c) + (c < 2 ? shift : 0);
}

static struct harness_case make_case(const double *rows, const struct reference *ref)
{
    return (struct harness_case){
        .features = features, .n_features = 2, .labels = labels, .n_labels = 1, .rows = rows, .n_rows = ROWS, .reference = ref};
}

static void must_run(const struct harness_case *c, struct harness_answer *a)
{
    struct err e = {{0}};
    rc_t rc = harness_run(&drift_app, c, a, &e);
    if (rc)
        fail_msg("%s", e.text);
}

static struct json *extra_of(const struct app_item *it)
{
    struct json *j = NULL;
    struct err e;
    assert_int_equal(json_parse(&j, it->json.p, it->json.n, NULL, &e), OK);
    return j;
}

static struct str text_at(const struct json *j, const char *key)
{
    struct str s = {0};
    struct err e;
    assert_int_equal(json_need_str(j, key, &s, &e), OK);
    return s;
}

static void test_same_data_does_not_drift(void **state)
{
    (void)state;
    double rows[3 * ROWS];
    struct reference *ref = make_reference(false);
    struct harness_answer a = {0};
    fill(rows, 0);
    struct harness_case c = make_case(rows, ref);
    must_run(&c, &a);
    const struct app_item *general = harness_find(&a, "general_drift");
    assert_non_null(general);
    assert_true(general->value == 0);
    assert_int_equal(general->status, STATUS_NO_DETECTION);
    assert_int_equal(general->kind, KIND_DATA_DRIFT);
    harness_done(&a);
    reference_free(ref);
}

static void test_moved_data_is_detected_feature_by_feature(void **state)
{
    (void)state;
    double rows[3 * ROWS];
    struct reference *ref = make_reference(false);
    struct harness_answer a = {0};
    fill(rows, 5);
    struct harness_case c = make_case(rows, ref);
    must_run(&c, &a);
    const struct app_item *general = harness_find(&a, "general_drift");
    assert_true(general->value > 0.99);
    assert_int_equal(general->status, STATUS_DETECTED);
    struct json *extra = extra_of(general);
    const struct json *feature = json_get(json_get(extra, "features"), "b");
    assert_true(str_eqz(text_at(feature, "outcome"), "ok"));
    double tvd = 0;
    int64_t n = 0;
    struct err e;
    assert_int_equal(json_need_f64(feature, "tvd", &tvd, &e), OK);
    assert_true(tvd > 0.99);
    assert_int_equal(json_need_i64(extra, "samples", &n, &e), OK);
    assert_int_equal(n, ROWS);
    assert_int_equal(json_need_i64(extra, "reference_version", &n, &e), OK);
    assert_int_equal(n, 3);
    json_free(extra);
    harness_done(&a);
    reference_free(ref);
}

static void test_outputs_come_in_mlruns_order(void **state)
{
    (void)state;
    static const char *const order[] = {"general_drift", "prediction_drift", "hellinger_mean", "kld_mean",
                                        "tvd_mean",      "current_stats",    "drift_measures"};
    double rows[3 * ROWS];
    struct reference *ref = make_reference(true);
    struct harness_answer a = {0};
    fill(rows, 0.2);
    struct harness_case c = make_case(rows, ref);
    must_run(&c, &a);
    assert_int_equal(a.out.n, 7);
    for (size_t i = 0; i < 7; i++)
        assert_true(str_eqz(a.out.items[i].name, order[i]));
    assert_true(harness_find(&a, "prediction_drift")->value == 0); /* the label did not move, the features did */
    assert_true(harness_find(&a, "general_drift")->value > 0);
    assert_int_equal(harness_find(&a, "current_stats")->timestamp_us, INT64_C(1735690200000000));
    harness_done(&a);
    reference_free(ref);
}

static void test_without_reference_says_so(void **state)
{
    (void)state;
    double rows[3 * ROWS];
    struct harness_answer a = {0};
    fill(rows, 0);
    struct harness_case c = make_case(rows, NULL);
    must_run(&c, &a);
    assert_int_equal(a.out.n, 1);
    assert_int_equal(a.out.items[0].status, STATUS_IRRELEVANT);
    struct json *extra = extra_of(&a.out.items[0]);
    assert_true(str_eqz(text_at(extra, "reason"), "no_reference"));
    json_free(extra);
    harness_done(&a);
}

static void test_too_few_rows_say_so(void **state)
{
    (void)state;
    double rows[3 * ROWS];
    struct reference *ref = make_reference(false);
    struct harness_answer a = {0};
    fill(rows, 5);
    struct harness_case c = make_case(rows, ref);
    c.n_rows = 29;
    must_run(&c, &a);
    assert_int_equal(harness_find(&a, "general_drift")->status, STATUS_IRRELEVANT);
    struct json *extra = extra_of(harness_find(&a, "general_drift"));
    assert_true(str_eqz(text_at(extra, "reason"), "insufficient_samples"));
    json_free(extra);
    c.n_rows = 30;
    must_run(&c, &a);
    assert_int_equal(harness_find(&a, "general_drift")->status, STATUS_DETECTED);
    const char *const options[] = {"MIN_SAMPLES=31", NULL};
    c.options = options;
    must_run(&c, &a);
    assert_int_equal(harness_find(&a, "general_drift")->status, STATUS_IRRELEVANT);
    harness_done(&a);
    reference_free(ref);
}

static void test_mlrun_edges_and_no_minimum(void **state)
{
    (void)state;
    const char *const options[] = {"DRIFT_EDGES=mlrun", NULL};
    double rows[3 * ROWS];
    struct reference *ref = make_reference(false);
    struct harness_answer a = {0};
    fill(rows, 5);
    struct harness_case c = make_case(rows, ref);
    c.options = options;
    c.n_rows = 1;
    must_run(&c, &a);
    assert_int_equal(harness_find(&a, "general_drift")->status, STATUS_DETECTED);
    struct json *extra = extra_of(harness_find(&a, "general_drift"));
    assert_true(str_eqz(text_at(extra, "edges"), "mlrun"));
    json_free(extra);
    harness_done(&a);
    reference_free(ref);
}

static void test_thresholds_must_fit(void **state)
{
    (void)state;
    static const char *const bad[][3] = {
        {"DRIFT_POTENTIAL=0.8", NULL}, {"DRIFT_DETECTED=1", NULL}, {"DRIFT_POTENTIAL=0", NULL}, {"DRIFT_EDGES=open", NULL}};
    double rows[3 * ROWS];
    fill(rows, 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct harness_answer a = {0};
        struct err e = {{0}};
        struct harness_case c = make_case(rows, NULL);
        c.options = bad[i];
        assert_int_equal(harness_run(&drift_app, &c, &a, &e), E_INVALID);
        assert_non_null(strstr(e.text, "DRIFT_"));
        harness_done(&a);
    }
}

static void test_all_missing_column_has_its_own_outcome(void **state)
{
    (void)state;
    double rows[3 * ROWS];
    struct reference *ref = make_reference(false);
    struct harness_answer a = {0};
    fill(rows, 0);
    for (size_t i = 0; i < ROWS; i++)
        rows[i * 3 + 1] = NAN;
    struct harness_case c = make_case(rows, ref);
    must_run(&c, &a);
    const struct app_item *general = harness_find(&a, "general_drift");
    assert_int_equal(general->status, STATUS_NO_DETECTION); /* by the other one */
    struct json *extra = extra_of(general);
    assert_true(str_eqz(text_at(json_get(json_get(extra, "features"), "b"), "outcome"), "all_missing"));
    json_free(extra);
    harness_done(&a);
    reference_free(ref);
}

/* Both directions of the wire: what is sent reads back as what was answered, and again gives the same bytes. */
static void test_events_read_back_and_repeat(void **state)
{
    (void)state;
    double rows[3 * ROWS];
    struct reference *ref = make_reference(true);
    struct harness_answer a = {0}, b = {0};
    fill(rows, 0.3);
    struct harness_case c = make_case(rows, ref);
    must_run(&c, &a);
    must_run(&c, &b);
    assert_int_equal(a.out.n, b.out.n);
    for (size_t i = 0; i < a.out.n; i++) {
        struct arena mem = {0};
        struct result_event ev;
        struct reject why = {0};
        assert_true(str_eq(a.events[i], b.events[i]));
        if (result_decode(a.events[i].p, a.events[i].n, &mem, &ev, &why))
            fail_msg("%s: %s", why.field, why.text);
        assert_true(str_eq(ev.name, a.out.items[i].name));
        assert_int_equal(ev.event_kind, a.out.items[i].type);
        assert_int_equal(ev.start_us, INT64_C(1735689600000000));
        assert_int_equal(ev.end_us, INT64_C(1735690200000000));
        assert_int_equal(ev.revision, 1);
        if (ev.event_kind != RESULT_STATS)
            assert_true(ev.value == a.out.items[i].value);
        arena_done(&mem);
    }
    harness_done(&a);
    harness_done(&b);
    reference_free(ref);
}

static rc_t track_badly(const void *opts, const struct app_input *in, struct app_output *out, struct err *e)
{
    (void)opts, (void)in, (void)e;
    app_metric(out, "not a name", 1);
    return OK;
}

static rc_t track_sorry(const void *opts, const struct app_input *in, struct app_output *out, struct err *e)
{
    (void)opts, (void)in, (void)out;
    return err_set(e, E_INVALID, "no such column");
}

static void test_an_apps_mistakes_are_its_own(void **state)
{
    (void)state;
    const struct app bad = {.name = "bad", .summary = "", .track = track_badly};
    const struct app sorry = {.name = "sorry", .summary = "", .track = track_sorry};
    double rows[3 * ROWS];
    struct harness_answer a = {0};
    struct err e = {{0}};
    fill(rows, 0);
    struct harness_case c = make_case(rows, NULL);
    assert_int_equal(harness_run(&bad, &c, &a, &e), E_INVALID);
    assert_non_null(strstr(e.text, "not a name"));
    assert_int_equal(harness_run(&sorry, &c, &a, &e), E_INVALID);
    assert_string_equal(e.text, "no such column");
    harness_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_data_does_not_drift),
        cmocka_unit_test(test_moved_data_is_detected_feature_by_feature),
        cmocka_unit_test(test_outputs_come_in_mlruns_order),
        cmocka_unit_test(test_without_reference_says_so),
        cmocka_unit_test(test_too_few_rows_say_so),
        cmocka_unit_test(test_mlrun_edges_and_no_minimum),
        cmocka_unit_test(test_thresholds_must_fit),
        cmocka_unit_test(test_all_missing_column_has_its_own_outcome),
        cmocka_unit_test(test_events_read_back_and_repeat),
        cmocka_unit_test(test_an_apps_mistakes_are_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
