/* Names, topics, uids: MLRun's vectors and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "event/names.h"
#include "event/reject.h"

static void valid_names(void **state)
{
    (void)state;
    char long_text[200];
    memset(long_text, 'a', sizeof long_text);
    assert_true(name_is_project(STR("a")) && name_is_project(STR("my-proj")) && name_is_project(STR("0-1")));
    assert_true(name_is_project((struct str){long_text, 63}) && !name_is_project((struct str){long_text, 64}));
    assert_false(name_is_project(STR("")) || name_is_project(STR("-a")) || name_is_project(STR("a-")) ||
                 name_is_project(STR("A")) || name_is_project(STR("a_b")) || name_is_project(STR("a\n")) ||
                 name_is_project(STR("a.b")));
    assert_true(name_is_uid(STR("2f9d6f3c7a5b4c1e8d0a1b2c3d4e5f60")) && name_is_uid(STR("A_b-9")));
    assert_true(name_is_uid((struct str){long_text, 64}) && !name_is_uid((struct str){long_text, 65}));
    assert_false(name_is_uid(STR("")) || name_is_uid(STR("a b")) || name_is_uid(STR("a/b")) ||
                 name_is_uid((struct str){"a\0", 2}) || name_is_uid(STR("../x")));
    assert_true(name_is_metric(STR("tvd_mean")) && name_is_metric(STR("_x")) && name_is_metric(STR("A1")));
    assert_false(name_is_metric(STR("1a")) || name_is_metric(STR("a-b")) || name_is_metric(STR("")) ||
                 name_is_metric(STR("a b")));
    assert_true(name_is_app(STR("histogram-data-drift")) && !name_is_app(STR("a.b")) && !name_is_app(STR("")));
    assert_true(name_is_app_allowed(STR("my_app")) && name_is_app_allowed(STR("histogram-data-drift")));
    assert_false(name_is_app_allowed(STR("model-monitoring-writer")) || name_is_app_allowed(STR("mlrun-infra")) ||
                 name_is_app_allowed(STR("my-batch")));
}

static void topics(void **state)
{
    (void)state;
    char t[NAME_TOPIC_MAX + 1];
    struct err e;
    assert_int_equal(topic_stream(t, "abc123", STR("my-proj"), &e), OK);
    assert_string_equal(t, "monitoring_stream_abc123_my-proj_v1");
    assert_int_equal(topic_function(t, "abc123", STR("my-proj"), str_of(function_name(FUNCTION_WRITER)), &e), OK);
    assert_string_equal(t, "monitoring_stream_abc123_my-proj_model-monitoring-writer_v1");
    assert_int_equal(topic_dlt(t, "monitoring_stream_abc123_my-proj_v1", &e), OK);
    assert_string_equal(t, "monitoring_stream_abc123_my-proj_v1.dlt");
    assert_int_equal(topic_stream(t, "", STR("my-proj"), &e), E_INVALID);
    assert_int_equal(topic_stream(t, "a b", STR("my-proj"), &e), E_INVALID);
    assert_int_equal(topic_stream(t, "a", STR("My-proj"), &e), E_INVALID);
    assert_int_equal(topic_function(t, "a", STR("p"), STR("f/g"), &e), E_INVALID);
    char long_topic[300];
    memset(long_topic, 'a', 247);
    long_topic[247] = '\0';
    assert_int_equal(topic_dlt(t, long_topic, &e), E_INVALID);
    assert_string_equal(t, "monitoring_stream_abc123_my-proj_v1.dlt"); /* untouched */
}

static void full_names(void **state)
{
    (void)state;
    char t[NAME_FQN_MAX + 1];
    struct fqn f;
    struct err e;
    (void)fqn_metric(t, STR("my-proj"), STR("histogram-data-drift"), true, STR("general_drift"));
    assert_string_equal(t, "my-proj.histogram-data-drift.result.general_drift");
    assert_int_equal(fqn_parse(str_of(t), &f, &e), OK);
    assert_true(f.is_result && str_eqz(f.project, "my-proj") && str_eqz(f.app, "histogram-data-drift") &&
                str_eqz(f.name, "general_drift"));
    (void)fqn_instance(t, STR("u1"), STR("app"), STR("r"));
    assert_string_equal(t, "u1.app.result.r");
    assert_int_equal(fqn_parse(STR("p.a.metric.m"), &f, &e), OK);
    assert_false(f.is_result);
    static const char *const bad[] = {
        "",           "p", "p.a.metric", "p.a.metric.", "p.a.other.m", "P.a.metric.m", "p.a.metric.m.n", "p..metric.m",
        ".a.metric.m"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(fqn_parse(str_of(bad[i]), &f, &e), E_INVALID);
}

static void function_uris(void **state)
{
    (void)state;
    static const struct {
        const char *in, *project, *function, *tag, *hash;
    } rows[] = {
        {"my-proj/serving", "my-proj", "serving", "", ""},
        {"my-proj/serving:latest", "my-proj", "serving", "latest", ""},
        {"my-proj/serving@ab12", "my-proj", "serving", "", "ab12"},
        {"my-proj/serving:v1@ab12", "my-proj", "serving", "v1", "ab12"},
        {"serving:v1", "", "serving", "v1", ""},
        {"my-proj/f0d1e2c3b4a5968778695a4b3c2d1e0f99887766", "my-proj", "f0d1e2c3b4a5968778695a4b3c2d1e0f99887766", "", ""},
    };
    struct function_uri u;
    struct err e;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(function_uri_parse(str_of(rows[i].in), &u, &e), OK);
        assert_true(str_eqz(u.project, rows[i].project) && str_eqz(u.function, rows[i].function));
        assert_true(str_eqz(u.tag, rows[i].tag) && str_eqz(u.hash_key, rows[i].hash));
    }
    static const char *const bad[] = {"", "/", "p/", "p/f/g", "P!/f", "p/f:a b", "/f", "p/:tag", "p/f@x\x01"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(function_uri_parse(str_of(bad[i]), &u, &e), E_INVALID);
    assert_int_equal(function_uri_parse((struct str){NULL, 0}, &u, &e), E_INVALID);
}

/* The ids MLRun 1.7 made of these. */
static void legacy_uids(void **state)
{
    (void)state;
    char out[41];
    struct function_uri u;
    struct err e;
    assert_int_equal(function_uri_parse(STR("my-proj/serving:latest"), &u, &e), OK);
    uid_legacy(out, &u, STR("my-model"), STR("v1"));
    assert_string_equal(out, "5dc9d8be817169f1fcd55c0bce4e2924674239c3");
    assert_int_equal(function_uri_parse(STR("my-proj/serving"), &u, &e), OK);
    uid_legacy(out, &u, STR("my-model"), STR(""));
    assert_string_equal(out, "c8e5cd97dd02642ac90fd969ab47facf03c3bb83");
    assert_true(uid_is_legacy(str_of(out)));
    assert_false(uid_is_legacy(STR("2f9d6f3c7a5b4c1e8d0a1b2c3d4e5f60")) ||
                 uid_is_legacy(STR("g8e5cd97dd02642ac90fd969ab47facf03c3bb83")));
}

static void reject_table(void **state)
{
    (void)state;
    for (int i = REJECT_NONE; i < REJECT_CODES; i++) {
        enum reject_code code = (enum reject_code)i;
        assert_non_null(reject_name(code));
        assert_true(strlen(reject_title(code)) > 0);
        assert_true(i == REJECT_NONE || (reject_http_status(code) >= 400 && reject_http_status(code) <= 500));
    }
    struct reject why;
    char long_field[500];
    memset(long_field, 'x', sizeof long_field - 1);
    long_field[sizeof long_field - 1] = '\0';
    assert_int_equal(reject_set(&why, REJECT_BAD_TIME, long_field, 7, "%s", long_field), E_INVALID);
    assert_int_equal(strlen(why.field), sizeof why.field - 1);
    assert_int_equal(strlen(why.text), sizeof why.text - 1);
    assert_int_equal(why.position, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_names),   cmocka_unit_test(topics),      cmocka_unit_test(full_names),
        cmocka_unit_test(function_uris), cmocka_unit_test(legacy_uids), cmocka_unit_test(reject_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
