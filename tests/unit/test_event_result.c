/* Writer events: MLRun's captured ones, ours there and back, what is refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "event/result.h"
#include "json/doc.h"
#include "vectors.h"

#define T0 INT64_C(1735689600000000) /* 2025-01-01 00:00:00 UTC */
#define MINUTE INT64_C(60000000)

static struct result_event decode_ok(const char *text, struct arena *a)
{
    struct result_event ev;
    struct reject why = {0};
    if (result_decode(text, strlen(text), a, &ev, &why) != OK)
        fail_msg("%s\nrefused: %s at %s: %s", text, reject_name(why.code), why.field, why.text);
    return ev;
}

static void captured_events(void **state)
{
    (void)state;
    static const struct {
        enum result_event_kind event_kind;
        const char *name;
        double value;
        enum result_kind kind;
        enum result_status status;
        const char *json;
    } want[] = {
        {RESULT_RESULT, "general_drift", 0.81, KIND_DATA_DRIFT, STATUS_DETECTED, "{\"k\": \"v\"}"},
        {RESULT_RESULT, "r2", 0.51, KIND_APP_ANOMALY, STATUS_POTENTIAL, "{}"},
        {RESULT_RESULT, "r3", 0.1, KIND_CONCEPT_DRIFT, STATUS_NO_DETECTION, "{}"},
        {RESULT_METRIC, "hellinger_mean", 0.5, 0, 0, ""},
        {RESULT_STATS, "current_stats", 0, 0, 0, "{\"f0\": {\"count\": 2.0, \"hist\": [[1, 1], [0.0, 1.0, 2.0]]}}"},
        {RESULT_STATS, "drift_measures", 0, 0, 0, "{\"f0\": {\"tvd\": 0.1}, \"tvd_mean\": 0.1}"},
    };
    struct json *j = vectors_load("writer.json");
    struct buf text = {0};
    struct arena a = {0};
    size_t i = 0;
    for (struct json *m = json_first(json_get(j, "writer_stream_events")); m; m = json_next(m), i++) {
        buf_clear(&text);
        json_print(m, JSON_NAN_TOKEN, &text);
        struct result_event ev = decode_ok(text.data, &a);
        assert_true(i < sizeof want / sizeof *want);
        assert_int_equal(ev.event_kind, want[i].event_kind);
        assert_true(str_eqz(ev.name, want[i].name) && ev.value == want[i].value);
        assert_true(ev.kind == want[i].kind && ev.status == want[i].status);
        assert_true(str_eqz(ev.event_kind == RESULT_STATS ? ev.stats : ev.extra_data, want[i].json));
        assert_true(str_eqz(ev.endpoint_id, "2f9d6f3c7a5b4c1e8d0a1b2c3d4e5f60"));
        assert_true(str_eqz(ev.endpoint_name, "my-model") && str_eqz(ev.application_name, "histogram-data-drift"));
        assert_true(ev.start_us == T0 && ev.end_us == T0 + 10 * MINUTE && !ev.is_exact && ev.revision == 0);
        assert_true(ev.event_kind != RESULT_STATS || ev.timestamp_us == T0 + 10 * MINUTE - 1);
    }
    assert_int_equal(i, 6);
    json_free(j);
    buf_done(&text);
    arena_done(&a);
}

static void same(const struct result_event *x, const struct result_event *y)
{
    assert_true(str_eq(x->project, y->project) && str_eq(x->endpoint_id, y->endpoint_id));
    assert_true(str_eq(x->endpoint_name, y->endpoint_name) && str_eq(x->application_name, y->application_name));
    assert_true(str_eq(x->traceparent, y->traceparent) && str_eq(x->name, y->name));
    assert_true(x->start_us == y->start_us && x->end_us == y->end_us && x->revision == y->revision);
    assert_true(x->reference_version == y->reference_version);
    assert_int_equal(x->event_kind, y->event_kind);
    assert_true(x->value == y->value || (isnan(x->value) && isnan(y->value)));
    assert_true(x->kind == y->kind && x->status == y->status);
    assert_true(str_eq(x->extra_data, y->extra_data) && str_eq(x->stats, y->stats));
}

static void round_trip(void **state)
{
    (void)state;
    struct result_event ev = {.project = STR("my-proj"),
                              .endpoint_id = STR("u1"),
                              .endpoint_name = STR("a \"b\"\n"),
                              .application_name = STR("my-app"),
                              .traceparent = STR(""),
                              .start_us = T0 + 500000,
                              .end_us = T0 + 750000,
                              .revision = 3,
                              .reference_version = 7,
                              .event_kind = RESULT_RESULT,
                              .name = STR("general_drift"),
                              .value = 0.123456789012345678,
                              .kind = KIND_DATA_DRIFT,
                              .status = STATUS_IRRELEVANT,
                              .extra_data = STR("{\"reason\":\"no_reference\",\"x\":NaN,\"t\":\"\\\"\xC3\xA9\"}"),
                              .stats = STR("")};
    struct buf out = {0};
    struct arena a = {0};
    const double values[] = {0.123456789012345678, NAN, INFINITY, -INFINITY, 1, 5e-324};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        ev.value = values[i];
        buf_clear(&out);
        result_encode(&ev, &out);
        struct result_event got = decode_ok(out.data, &a);
        same(&ev, &got);
        assert_true(got.is_exact);
    }
    ev.event_kind = RESULT_METRIC;
    ev.extra_data = STR("");
    ev.status = STATUS_NO_DETECTION;
    ev.kind = KIND_DATA_DRIFT;
    buf_clear(&out);
    result_encode(&ev, &out);
    struct result_event got = decode_ok(out.data, &a);
    same(&ev, &got);
    ev.event_kind = RESULT_STATS;
    ev.stats = STR("{\"f0\":{\"hist\":[[1,2],[-1.7976931348623157e+308,0,1]],\"m\":NaN}}");
    ev.timestamp_us = T0 + 5;
    ev.value = 0;
    buf_clear(&out);
    result_encode(&ev, &out);
    got = decode_ok(out.data, &a);
    same(&ev, &got);
    assert_true(got.timestamp_us == T0 + 5);
    buf_done(&out);
    arena_done(&a);
}

/* The wire form, to the letter. */
static void encoded_form(void **state)
{
    (void)state;
    const struct result_event ev = {.project = STR("p"),
                                    .endpoint_id = STR("u"),
                                    .endpoint_name = STR("m"),
                                    .application_name = STR("a"),
                                    .start_us = T0,
                                    .end_us = T0 + MINUTE,
                                    .reference_version = -1,
                                    .name = STR("r"),
                                    .value = NAN,
                                    .kind = KIND_APP_ANOMALY,
                                    .status = STATUS_DETECTED,
                                    .extra_data = STR("{\"k\":\"v\"}")};
    struct buf out = {0};
    result_encode(&ev, &out);
    assert_string_equal(
        out.data, "{\"endpoint_name\":\"m\",\"application_name\":\"a\",\"endpoint_id\":\"u\","
                  "\"start_infer_time\":\"2024-12-31 23:59:59.999999+00:00\","
                  "\"end_infer_time\":\"2025-01-01 00:00:59.999999+00:00\",\"event_kind\":\"result\","
                  "\"data\":\"{\\\"result_name\\\":\\\"r\\\",\\\"result_value\\\":NaN,\\\"result_kind\\\":4,"
                  "\\\"result_status\\\":2,\\\"result_extra_data\\\":\\\"{\\\\\\\"k\\\\\\\":\\\\\\\"v\\\\\\\"}\\\"}\","
                  "\"modelmon\":{\"project\":\"p\",\"window_start_us\":1735689600000000,"
                  "\"window_end_us\":1735689660000000,\"revision\":0}}");
    buf_done(&out);
}

#define HEAD                                                                                                           \
    "{\"endpoint_id\":\"u\",\"endpoint_name\":\"m\",\"application_name\":\"a\","                                       \
    "\"start_infer_time\":\"2025-01-01 00:00:00+00:00\",\"end_infer_time\":\"2025-01-01 00:10:00+00:00\","
#define RESULT(data) HEAD "\"data\":\"{" data "}\"}"
#define METRIC(data) HEAD "\"event_kind\":\"metric\",\"data\":\"{" data "}\"}"
#define STATS(data) HEAD "\"event_kind\":\"stats\",\"data\":\"{" data "}\"}"
#define FULL "\\\"result_name\\\":\\\"r\\\",\\\"result_value\\\":1,\\\"result_kind\\\":0,\\\"result_status\\\":0"

static void taken(void **state)
{
    (void)state;
    struct arena a = {0};
    struct result_event ev = decode_ok(RESULT(FULL), &a); /* no event_kind: a result; no extra data: {} */
    assert_true(ev.event_kind == RESULT_RESULT && str_eqz(ev.extra_data, "{}") && ev.project.n == 0);
    assert_true(ev.start_us == T0 && ev.end_us == T0 + 10 * MINUTE && ev.reference_version == -1);
    ev = decode_ok(RESULT(FULL ",\\\"result_extra_data\\\":null"), &a);
    assert_true(str_eqz(ev.extra_data, "{}"));
    ev = decode_ok(METRIC("\\\"metric_name\\\":\\\"m\\\",\\\"metric_value\\\":-Infinity"), &a);
    assert_true(isinf(ev.value) && ev.value < 0);
    ev = decode_ok(METRIC("\\\"metric_name\\\":\\\"m\\\",\\\"metric_value\\\":null"), &a);
    assert_true(isnan(ev.value));
    ev = decode_ok(STATS("\\\"stats_name\\\":\\\"s\\\",\\\"stats\\\":{}"), &a);
    assert_true(str_eqz(ev.stats, "{}") && ev.timestamp_us == ev.end_us);
    arena_done(&a);
}

static void refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum reject_code code;
        const char *field;
    } rows[] = {
        {"", REJECT_MALFORMED_JSON, ""},
        {"{}", REJECT_MISSING_FIELD, "endpoint_id"},
        {HEAD "\"x\":1}", REJECT_MISSING_FIELD, "data"},
        {HEAD "\"data\":{}}", REJECT_WRONG_TYPE, "data"},
        {HEAD "\"data\":\"\"}", REJECT_MALFORMED_JSON, "data"},
        {HEAD "\"data\":\"[]\"}", REJECT_WRONG_TYPE, "data"},
        {HEAD "\"data\":\"{}\",\"event_kind\":\"other\"}", REJECT_UNKNOWN_KIND, "event_kind"},
        {HEAD "\"data\":\"{}\",\"modelmon\":{\"project\":\"-\"}}", REJECT_BAD_NAME, "modelmon.project"},
        {RESULT(""), REJECT_MISSING_FIELD, "data.result_name"},
        {RESULT("\\\"result_name\\\":5"), REJECT_WRONG_TYPE, "data.result_name"},
        {RESULT("\\\"result_name\\\":\\\"1a\\\""), REJECT_BAD_NAME, "data.result_name"},
        {RESULT("\\\"result_name\\\":\\\"r\\\""), REJECT_MISSING_FIELD, "data.result_value"},
        {RESULT("\\\"result_name\\\":\\\"r\\\",\\\"result_value\\\":1"), REJECT_MISSING_FIELD, "data.result_kind"},
        {RESULT("\\\"result_name\\\":\\\"r\\\",\\\"result_value\\\":\\\"1\\\""), REJECT_WRONG_TYPE, "data.result_value"},
        {RESULT("\\\"result_name\\\":\\\"r\\\",\\\"result_value\\\":1,\\\"result_kind\\\":5,\\\"result_status\\\":0"),
         REJECT_BAD_VALUE, "data.result_kind"},
        {RESULT("\\\"result_name\\\":\\\"r\\\",\\\"result_value\\\":1,\\\"result_kind\\\":0,\\\"result_status\\\":3"),
         REJECT_BAD_VALUE, "data.result_status"},
        {RESULT("\\\"result_name\\\":\\\"r\\\",\\\"result_value\\\":1,\\\"result_kind\\\":0.5"), REJECT_BAD_VALUE,
         "data.result_kind"},
        {RESULT(FULL ",\\\"result_extra_data\\\":\\\"[]\\\""), REJECT_MALFORMED_JSON, "data.result_extra_data"},
        {RESULT(FULL ",\\\"result_extra_data\\\":\\\"{\\\""), REJECT_MALFORMED_JSON, "data.result_extra_data"},
        {RESULT(FULL ",\\\"result_extra_data\\\":{}"), REJECT_WRONG_TYPE, "data.result_extra_data"},
        {METRIC("\\\"metric_name\\\":\\\"m\\\""), REJECT_MISSING_FIELD, "data.metric_value"},
        {METRIC("\\\"result_name\\\":\\\"m\\\",\\\"result_value\\\":1"), REJECT_MISSING_FIELD, "data.metric_name"},
        {STATS("\\\"stats_name\\\":\\\"s\\\""), REJECT_MISSING_FIELD, "data.stats"},
        {STATS("\\\"stats_name\\\":\\\"s\\\",\\\"stats\\\":[]"), REJECT_WRONG_TYPE, "data.stats"},
        {STATS("\\\"stats_name\\\":\\\"s\\\",\\\"stats\\\":{\\\"a\\\":1,}"), REJECT_MALFORMED_JSON, "data.stats"},
        {STATS("\\\"stats_name\\\":\\\"s\\\",\\\"stats\\\":{},\\\"timestamp\\\":\\\"x\\\""), REJECT_BAD_TIME,
         "data.timestamp"},
    };
    struct arena a = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct result_event ev;
        struct reject why = {0};
        if (result_decode(rows[i].text, strlen(rows[i].text), &a, &ev, &why) != E_INVALID || why.code != rows[i].code ||
            strcmp(why.field, rows[i].field) != 0)
            fail_msg("%s: %s at \"%s\"", rows[i].text, reject_name(why.code), why.field);
    }
    arena_done(&a);
}

/* MLRun cuts extra data at 998 characters; here they have room, up to a limit that is said. */
static void extra_data_size(void **state)
{
    (void)state;
    struct result_event ev = {.endpoint_id = STR("u"),
                              .endpoint_name = STR("m"),
                              .application_name = STR("a"),
                              .start_us = T0,
                              .end_us = T0 + MINUTE,
                              .name = STR("r")};
    struct arena a = {0};
    for (size_t more = 0; more < 2; more++) {
        struct buf extra = {0}, out = {0};
        struct result_event got;
        struct reject why = {0};
        buf_addz(&extra, "{\"k\":\"");
        while (extra.len < RESULT_EXTRA_MAX - 2 + more)
            buf_addc(&extra, 'x');
        buf_addz(&extra, "\"}");
        ev.extra_data = buf_str(&extra);
        result_encode(&ev, &out);
        assert_int_equal(result_decode(out.data, out.len, &a, &got, &why), more ? E_INVALID : OK);
        if (more)
            assert_int_equal(why.code, REJECT_TOO_LARGE);
        else
            assert_true(str_eq(got.extra_data, ev.extra_data));
        buf_done(&extra);
        buf_done(&out);
    }
    arena_done(&a);
}

static void names_of_numbers(void **state)
{
    (void)state;
    assert_string_equal(result_kind_name(KIND_APP_ANOMALY), "mm_app_anomaly");
    assert_string_equal(result_kind_name(KIND_DATA_DRIFT), "data_drift");
    assert_string_equal(result_status_name(STATUS_IRRELEVANT), "irrelevant");
    assert_string_equal(result_status_name(STATUS_DETECTED), "detected");
    assert_string_equal(result_event_kind_name(RESULT_STATS), "stats");
}

static void statuses_have_words(void **state)
{
    (void)state;
    static const char *const words[] = {"no verdict", "no drift", "possible drift", "drift detected"};
    for (int status = -1; status <= 2; status++)
        assert_string_equal(result_status_words(status), words[status + 1]);
    assert_string_equal(result_status_words(-7), words[0]); /* a database may hold anything */
    assert_string_equal(result_status_words(3), words[0]);
    assert_string_equal(result_found_words(2), "problem"); /* of what is no drift */
    assert_string_equal(result_found_words(3), words[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(captured_events), cmocka_unit_test(round_trip),       cmocka_unit_test(encoded_form),
        cmocka_unit_test(taken),           cmocka_unit_test(refused),          cmocka_unit_test(statuses_have_words),
        cmocka_unit_test(extra_data_size), cmocka_unit_test(names_of_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
