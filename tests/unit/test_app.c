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
    assert_true(str_eqz(text_at(extra, "text"),
                        "there is no reference to compare with: modelmon reference harness/harness --csv FILE"));
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
    static const char *const bad[][3] = {{"DRIFT_POTENTIAL=0.8", NULL},
                                         {"DRIFT_DETECTED=1", NULL},
                                         {"DRIFT_POTENTIAL=0", NULL},
                                         {"DRIFT_EDGES=open", NULL},
                                         {"DRIFT_METRICS=psi,psy", NULL}};
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

/* ---- DRIFT_METRICS ---- */
static void test_more_metrics_only_when_asked_for(void **state)
{
    (void)state;
    static const char *const names[] = {"psi_mean", "jensen_shannon_mean", "wasserstein_mean", "chi2_mean"};
    const char *const all[] = {"DRIFT_METRICS=psi,jensen_shannon, wasserstein,chi2", NULL};
    double rows[3 * ROWS];
    struct reference *ref = make_reference(true);
    struct harness_answer a = {0}, plain = {0};
    fill(rows, 0.25);
    struct harness_case c = make_case(rows, ref);
    must_run(&c, &plain);
    c.options = all;
    must_run(&c, &a);
    assert_int_equal(a.out.n, plain.out.n + 4);
    for (size_t i = 0; i < 4; i++)
        assert_null(harness_find(&plain, names[i]));
    /* a quarter of the range to the right; what is beyond the range counts as just outside of it: 0.25 - 0.25 * (0.125 - 0.025) */
    assert_true(fabs(harness_find(&a, "wasserstein_mean")->value - 0.225) < 0.005);
    assert_true(harness_find(&a, "psi_mean")->value > 1);
    assert_true(harness_find(&a, "jensen_shannon_mean")->value > 0.4 && harness_find(&a, "jensen_shannon_mean")->value < 0.7);
    assert_true(harness_find(&a, "chi2_mean")->value > 5);
    assert_true(harness_find(&a, "general_drift")->value == harness_find(&plain, "general_drift")->value);
    struct json *extra = extra_of(harness_find(&a, "general_drift"));
    double w = 0;
    struct err e;
    assert_int_equal(json_need_f64(json_get(json_get(extra, "features"), "y"), "wasserstein", &w, &e), OK);
    assert_true(w == 0); /* the label did not move, and is not in the mean */
    json_free(extra);
    harness_done(&a);
    harness_done(&plain);
    reference_free(ref);
}

static void test_drift_against_the_window_before(void **state)
{
    (void)state;
    const char *const options[] = {"DRIFT_METRICS=previous", NULL};
    const int64_t start = INT64_C(1735689600000000), period = 600000000;
    double rows[3 * ROWS], before[3 * ROWS];
    struct reference *ref = make_reference(false);
    struct harness_answer a = {0};
    fill(rows, 0.3);
    fill(before, 0.3);
    struct harness_earlier window = {start - period, start, {.requests = ROWS, .rows = ROWS}, before};
    struct harness_case c = make_case(rows, ref);
    c.options = options;
    must_run(&c, &a);
    assert_null(harness_find(&a, "previous_drift")); /* there was none */
    c.earlier = &window;
    c.n_earlier = 1;
    must_run(&c, &a);
    assert_true(harness_find(&a, "previous_drift")->value == 0); /* as the one before, far from the training set */
    assert_true(harness_find(&a, "general_drift")->value > 0.2);
    fill(before, 0);
    must_run(&c, &a);
    assert_true(fabs(harness_find(&a, "previous_tvd_mean")->value - 0.3) < 0.03);
    harness_done(&a);
    reference_free(ref);
}

static void test_quality_of_the_values_themselves(void **state)
{
    (void)state;
    const char *const options[] = {"DRIFT_METRICS=quality", NULL};
    double rows[3 * ROWS];
    struct reference *ref = make_reference(false);
    struct harness_answer a = {0};
    fill(rows, 0);
    for (size_t i = 0; i < ROWS; i++) {
        if (i % 4 == 0)
            rows[i * 3] = NAN;
        if (i % 10 == 0)
            rows[i * 3 + 1] = i % 20 ? 7 : -INFINITY;
    }
    struct stat_value values[3 * ROWS];
    for (size_t i = 0; i < 3u * ROWS; i++)
        values[i] = (struct stat_value){.kind = isnan(rows[i]) ? STAT_MISSING : STAT_NUMBER, .num = rows[i]};
    for (size_t i = 0; i < ROWS; i += 8)
        values[i * 3 + 1] = (struct stat_value){.kind = STAT_TEXT, .text = STR("x")};
    struct harness_case c = make_case(NULL, ref);
    c.values = values;
    c.options = options;
    must_run(&c, &a);
    const double wrong = 50.0 / ROWS, outside = 30.0 / 350; /* of the 40 outside each fourth became a text */
    assert_true(harness_find(&a, "missing_share")->value == 0.125);
    assert_true(harness_find(&a, "wrong_type_share")->value == wrong / 2);
    assert_true(fabs(harness_find(&a, "out_of_range_share")->value - outside / 2) < 1e-12);
    struct json *quality = extra_of(harness_find(&a, "data_quality"));
    double x = 0;
    struct err e;
    assert_int_equal(json_need_f64(json_get(quality, "b"), "wrong_type", &x, &e), OK);
    assert_true(x == wrong);
    json_free(quality);
    harness_done(&a);
    reference_free(ref);
}

/* ---- the SDK ---- */
static rc_t track_judged(const void *opts, const struct app_input *in, struct app_output *out, struct err *e)
{
    (void)opts, (void)in, (void)e;
    const struct app_thresholds high = {0.5, 0.7}, low = {0.5, 0.1}, one = {0.5, NAN}, none = {NAN, NAN};
    app_result_judged(out, "high", 0.7, KIND_APP_ANOMALY, &high, STR("{\"why\":1}"));
    app_result_judged(out, "low", 0.1, KIND_APP_ANOMALY, &low, STR("{}"));
    app_result_judged(out, "middle", 0.3, KIND_APP_ANOMALY, &low, (struct str){0});
    app_result_judged(out, "fine", 0.6, KIND_APP_ANOMALY, &low, (struct str){0});
    app_result_judged(out, "one", 9, KIND_APP_ANOMALY, &one, (struct str){0});
    app_result_judged(out, "none", 9, KIND_APP_ANOMALY, &none, (struct str){0});
    app_result_judged(out, "nan", NAN, KIND_APP_ANOMALY, &high, (struct str){0});
    app_artifact(out, in, "table", STR("{\"rows\":[1,2]}"));
    return OK;
}

static void test_thresholds_judge_and_are_written(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int status;
    } want[] = {{"high", STATUS_DETECTED},     {"low", STATUS_DETECTED},  {"middle", STATUS_POTENTIAL},
                {"fine", STATUS_NO_DETECTION}, {"one", STATUS_POTENTIAL}, {"none", STATUS_IRRELEVANT},
                {"nan", STATUS_IRRELEVANT}};
    const struct app judged = {.name = "judged", .summary = "", .track = track_judged};
    double rows[3 * ROWS];
    struct harness_answer a = {0};
    struct err e = {{0}};
    fill(rows, 0);
    struct harness_case c = make_case(rows, NULL);
    assert_int_equal(harness_run(&judged, &c, &a, &e), OK);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++)
        assert_int_equal(harness_find(&a, want[i].name)->status, want[i].status);
    assert_true(str_eqz(harness_find(&a, "high")->json, "{\"potential\":0.5,\"detected\":0.7,\"why\":1}"));
    assert_true(str_eqz(harness_find(&a, "one")->json, "{\"potential\":0.5,\"detected\":null}"));
    assert_int_equal(harness_find(&a, "table")->type, RESULT_STATS);
    harness_done(&a);
}

static rc_t track_no_json(const void *opts, const struct app_input *in, struct app_output *out, struct err *e)
{
    (void)opts, (void)in, (void)e;
    app_result(out, "fine", 1, KIND_APP_ANOMALY, 0, STR("{\"cut\":"));
    return OK;
}

static rc_t track_status(const void *opts, const struct app_input *in, struct app_output *out, struct err *e)
{
    (void)opts, (void)in, (void)e;
    app_result(out, "fine", 1, KIND_APP_ANOMALY, 7, (struct str){0});
    return OK;
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
    const struct app no_json = {.name = "j", .summary = "", .track = track_no_json};
    const struct app status = {.name = "s", .summary = "", .track = track_status};
    assert_int_equal(harness_run(&no_json, &c, &a, &e), E_INVALID);
    assert_non_null(strstr(e.text, "no JSON object"));
    assert_int_equal(harness_run(&status, &c, &a, &e), E_INVALID);
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
        cmocka_unit_test(test_more_metrics_only_when_asked_for),
        cmocka_unit_test(test_drift_against_the_window_before),
        cmocka_unit_test(test_quality_of_the_values_themselves),
        cmocka_unit_test(test_thresholds_judge_and_are_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
