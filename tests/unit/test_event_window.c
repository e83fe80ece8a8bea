/* Window events: ours there and back, MLRun's own controller's, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "event/window.h"
#include "json/doc.h"
#include "vectors.h"

#define T0 INT64_C(1735689600000000) /* 2025-01-01 00:00:00 UTC */
#define MINUTE INT64_C(60000000)

static void round_trip(void **state)
{
    (void)state;
    const struct str files[] = {STR("key=u/a.parquet"), STR("key=u/b \"x\".parquet")};
    const struct window_event ev = {
        .project = STR("my-proj"),
        .endpoint_id = STR("2f9d6f3c7a5b4c1e8d0a1b2c3d4e5f60"),
        .endpoint_name = STR("my \"model\""),
        .endpoint_updated = STR("2025-01-01T00:00:00+00:00"),
        .application_name = STR("my-app"),
        .traceparent = STR("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        .start_us = T0,
        .end_us = T0 + 10 * MINUTE,
        .revision = 2,
        .reference_version = 5,
        .files = files,
        .n_files = 2,
    };
    struct buf out = {0};
    struct arena a = {0};
    struct window_event got;
    struct reject why;
    window_encode(&ev, &out);
    assert_string_equal(out.data,
                        "{\"start_infer_time\":\"2024-12-31 23:59:59.999999+00:00\","
                        "\"end_infer_time\":\"2025-01-01 00:09:59.999999+00:00\","
                        "\"endpoint_id\":\"2f9d6f3c7a5b4c1e8d0a1b2c3d4e5f60\",\"endpoint_name\":\"my \\\"model\\\"\","
                        "\"endpoint_updated\":\"2025-01-01T00:00:00+00:00\",\"application_name\":\"my-app\","
                        "\"modelmon\":{\"project\":\"my-proj\",\"window_start_us\":1735689600000000,"
                        "\"window_end_us\":1735690200000000,\"revision\":2,\"reference_version\":5,"
                        "\"traceparent\":\"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\","
                        "\"files\":[\"key=u/a.parquet\",\"key=u/b \\\"x\\\".parquet\"]}}");
    assert_int_equal(window_decode(out.data, out.len, &a, &got, &why), OK);
    memset(out.data, 'x', out.len); /* nothing is borrowed from the text */
    assert_true(str_eq(got.project, ev.project) && str_eq(got.endpoint_id, ev.endpoint_id));
    assert_true(str_eq(got.endpoint_name, ev.endpoint_name) && str_eq(got.endpoint_updated, ev.endpoint_updated));
    assert_true(str_eq(got.application_name, ev.application_name) && str_eq(got.traceparent, ev.traceparent));
    assert_true(got.start_us == ev.start_us && got.end_us == ev.end_us && got.revision == 2 && got.is_exact);
    assert_int_equal(got.reference_version, 5);
    assert_int_equal(got.n_files, 2);
    assert_true(str_eq(got.files[0], files[0]) && str_eq(got.files[1], files[1]));
    buf_done(&out);
    arena_done(&a);
}

/* Sub-second windows go through `modelmon` exactly, though MLRun's fields cannot tell them. */
static void exact_times(void **state)
{
    (void)state;
    struct buf out = {0};
    struct arena a = {0};
    struct window_event got, ev = {.endpoint_id = STR("u"),
                                   .endpoint_name = STR("m"),
                                   .endpoint_updated = STR(""),
                                   .application_name = STR("a"),
                                   .start_us = T0 + 500001,
                                   .end_us = T0 + 750000,
                                   .reference_version = -1};
    struct reject why;
    window_encode(&ev, &out);
    assert_int_equal(window_decode(out.data, out.len, &a, &got, &why), OK);
    assert_true(got.start_us == ev.start_us && got.end_us == ev.end_us && got.reference_version == -1);
    assert_int_equal(got.n_files, 0);
    buf_done(&out);
    arena_done(&a);
}

static void many_files(void **state)
{
    (void)state;
    enum { FILES = 1000 };
    static char names[FILES][16];
    static struct str files[FILES];
    for (size_t i = 0; i < FILES; i++)
        files[i] = (struct str){names[i], (size_t)snprintf(names[i], sizeof names[i], "f%zu.parquet", i)};
    struct window_event got, ev = {.endpoint_id = STR("u"),
                                   .endpoint_name = STR("m"),
                                   .endpoint_updated = STR(""),
                                   .application_name = STR("a"),
                                   .start_us = T0,
                                   .end_us = T0 + MINUTE,
                                   .files = files,
                                   .n_files = FILES};
    struct buf out = {0};
    struct arena a = {0};
    struct reject why;
    window_encode(&ev, &out);
    assert_int_equal(window_decode(out.data, out.len, &a, &got, &why), OK);
    assert_int_equal(got.n_files, FILES);
    for (size_t i = 0; i < FILES; i++)
        assert_true(str_eq(got.files[i], files[i]));
    buf_done(&out);
    arena_done(&a);
}

/* MLRun's controller: six windows of ten minutes, each begun 86.4 ms early. */
static void captured_events(void **state)
{
    (void)state;
    struct json *j = vectors_load("controller_events.json");
    struct arena a = {0};
    struct buf text = {0};
    struct window_event got;
    struct reject why;
    int64_t start = T0;
    for (struct json *m = json_first(json_get(j, "app")); m; m = json_next(m), start += 10 * MINUTE) {
        buf_clear(&text);
        json_print(json_get(m, "value"), JSON_NAN_TOKEN, &text);
        assert_int_equal(window_decode(text.data, text.len, &a, &got, &why), OK);
        assert_true(got.start_us == start && got.end_us == start + 10 * MINUTE && !got.is_exact);
        assert_true(str_eqz(got.endpoint_name, "my-model") && str_eqz(got.application_name, "histogram-data-drift"));
        assert_true(str_eqz(got.endpoint_updated, "2025-01-01T00:00:00+00:00") && got.project.n == 0);
        assert_true(got.revision == 0 && got.reference_version == -1 && got.n_files == 0);
    }
    assert_true(start == T0 + 60 * MINUTE);
    json_free(j);
    buf_done(&text);
    arena_done(&a);
}

static void times_in(void **state)
{
    (void)state;
    assert_true(window_time_in(T0 - 1) == T0 && window_time_in(T0) == T0 && window_time_in(T0 + 1) == T0 + 1);
    assert_true(window_time_in(T0 + 499999) == T0 + 499999);
    assert_true(window_start_in(T0 - 86400) == T0 && window_start_in(T0 - 1) == T0 && window_start_in(T0) == T0);
    assert_true(window_time_in(-1) == 0 && window_time_in(-1000001) == -1000000 && window_time_out(0) == -1);
}

#define HEAD "{\"endpoint_id\":\"u\",\"endpoint_name\":\"m\",\"application_name\":\"a\","
#define TIMES "\"start_infer_time\":\"2025-01-01 00:00:00+00:00\",\"end_infer_time\":\"2025-01-01 00:10:00+00:00\""

static void refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum reject_code code;
        const char *field;
    } rows[] = {
        {"", REJECT_MALFORMED_JSON, ""},
        {"[]", REJECT_WRONG_TYPE, ""},
        {"{" TIMES "}", REJECT_MISSING_FIELD, "endpoint_id"},
        {HEAD "\"x\":1}", REJECT_MISSING_FIELD, "start_infer_time"},
        {HEAD "\"start_infer_time\":\"2025-01-01\"}", REJECT_MISSING_FIELD, "end_infer_time"},
        {HEAD "\"start_infer_time\":\"now\",\"end_infer_time\":\"2025-01-01\"}", REJECT_BAD_TIME, "start_infer_time"},
        {HEAD "\"start_infer_time\":5,\"end_infer_time\":\"2025-01-01\"}", REJECT_WRONG_TYPE, "start_infer_time"},
        {HEAD "\"start_infer_time\":\"2025-01-02\",\"end_infer_time\":\"2025-01-01\"}", REJECT_BAD_VALUE, "end_infer_time"},
        {"{\"endpoint_id\":\"a/b\",\"endpoint_name\":\"m\",\"application_name\":\"a\"," TIMES "}", REJECT_BAD_NAME,
         "endpoint_id"},
        {"{\"endpoint_id\":\"u\",\"endpoint_name\":\"m\",\"application_name\":\"a b\"," TIMES "}", REJECT_BAD_NAME,
         "application_name"},
        {HEAD TIMES ",\"modelmon\":[]}", REJECT_WRONG_TYPE, "modelmon"},
        {HEAD TIMES ",\"modelmon\":{\"revision\":\"1\"}}", REJECT_WRONG_TYPE, "modelmon.revision"},
        {HEAD TIMES ",\"modelmon\":{\"revision\":-1}}", REJECT_BAD_VALUE, "modelmon.revision"},
        {HEAD TIMES ",\"modelmon\":{\"project\":\"P!\"}}", REJECT_BAD_NAME, "modelmon.project"},
        {HEAD TIMES ",\"modelmon\":{\"files\":[1]}}", REJECT_WRONG_TYPE, "modelmon.files[0]"},
        {HEAD TIMES ",\"modelmon\":{\"window_start_us\":5,\"window_end_us\":9223372036854775807}}", REJECT_BAD_VALUE,
         "modelmon.window_end_us"},
        {HEAD TIMES ",\"modelmon\":{\"window_start_us\":5,\"window_end_us\":5}}", REJECT_BAD_VALUE, "end_infer_time"},
    };
    struct arena a = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct window_event ev;
        struct reject why = {0};
        if (window_decode(rows[i].text, strlen(rows[i].text), &a, &ev, &why) != E_INVALID || why.code != rows[i].code ||
            strcmp(why.field, rows[i].field) != 0)
            fail_msg("%s: %s at \"%s\"", rows[i].text, reject_name(why.code), why.field);
    }
    arena_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),      cmocka_unit_test(exact_times), cmocka_unit_test(many_files),
        cmocka_unit_test(captured_events), cmocka_unit_test(times_in),    cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
