/* Documents and the writer: what is read is printed again, getters say what is wrong and where. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "json/doc.h"

static struct json *parse(const char *text)
{
    struct json *j = NULL;
    struct err e = {0};
    if (json_parse(&j, text, strlen(text), &(struct json_limits){.accept_nan = true}, &e) != OK)
        fail_msg("%s: %s", text, e.text);
    return j;
}

static void prints_what_it_read(void **state)
{
    (void)state;
    static const char *const same[] = {
        "null",
        "true",
        "[]",
        "{}",
        "[1,-2,3.5,1e300]",
        "{\"a\":{\"b\":[{\"c\":null},false]},\"d\":\"x\"}",
        "\"\\\"\\\\ \\n\\t\\u0001 \xC3\xA9 \xF0\x9F\x98\x80\"",
        "9007199254740993",
        "-9223372036854775808",
        "9223372036854775807",
        "0.1",
        "0.12345678901234568",
        "[NaN,Infinity,-Infinity]",
        "5e-324",
        "-0",
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        struct buf out = {0};
        struct json *j = parse(same[i]), *copy = json_dup(j);
        json_print(j, JSON_NAN_TOKEN, &out);
        assert_string_equal(out.data, same[i]);
        buf_clear(&out);
        json_print(copy, JSON_NAN_TOKEN, &out);
        assert_string_equal(out.data, same[i]);
        json_free(copy);
        json_free(j);
        buf_done(&out);
    }
    struct buf out = {0};
    struct json *j = parse(" { \"x\" : [ NaN , 1.0 , 100 ] } ");
    json_print(j, JSON_NAN_NULL, &out);
    assert_string_equal(out.data, "{\"x\":[null,1,100]}");
    json_free(j);
    buf_done(&out);
}

static void refuses_with_path(void **state)
{
    (void)state;
    struct json *j = (struct json *)(void *)&j;
    struct err e;
    static const char text[] = "{\"spec\":{\"names\":[\"a\",\"a\xFF\"]}}";
    assert_int_equal(json_parse(&j, text, sizeof text - 1, NULL, &e), E_INVALID);
    assert_string_equal(e.text, "spec.names[1], byte 24: this is not UTF-8");
    assert_ptr_equal(j, (void *)&j); /* untouched */
    assert_int_equal(json_parse(&j, "[1] 2", 5, NULL, &e), E_INVALID);
    assert_int_equal(json_parse(&j, "[NaN]", 5, NULL, &e), E_INVALID);
    assert_int_equal(json_parse(&j, "{\"a\":1,\"a\":2}", 13, NULL, &e), E_INVALID);
    assert_int_equal(json_parse(&j, "[[[]]]", 6, &(struct json_limits){.depth = 2}, &e), E_LIMIT);
    assert_int_equal(json_parse(&j, "", 0, NULL, &e), E_INVALID);
    assert_int_equal(json_parse(&j, NULL, 0, NULL, &e), E_INVALID);
}

static void getters(void **state)
{
    (void)state;
    struct json *j = parse(
        "{\"spec\":{\"feature_names\":[\"a\",\"b\",3],\"n\":7,\"w\":7.0,\"f\":0.5,\"big\":9007199254740993,"
        "\"huge\":1e300,\"on\":true,\"off\":false,\"none\":null,\"s\":\"text\",\"S\":\"other\"}}");
    struct json *spec = NULL, *names = NULL, *other = NULL;
    struct err e;
    struct str s;
    int64_t i;
    double d;
    bool b;
    assert_int_equal(json_need_object(j, "spec", &spec, &e), OK);
    assert_int_equal(json_need_array(spec, "feature_names", &names, &e), OK);
    assert_int_equal(json_len(names), 3);
    assert_int_equal(json_str(json_at(names, 2), &s, &e), E_INVALID);
    assert_string_equal(e.text, "spec.feature_names[2]: a string is wanted, this is a number");
    assert_int_equal(json_str(json_at(names, 1), &s, &e), OK);
    assert_true(str_eqz(s, "b"));
    assert_null(json_at(names, 3));
    assert_int_equal(json_need_i64(spec, "n", &i, &e), OK);
    assert_int_equal(i, 7);
    assert_int_equal(json_need_i64(spec, "w", &i, &e), OK);
    assert_int_equal(i, 7);
    assert_int_equal(json_need_i64(spec, "big", &i, &e), OK);
    assert_true(i == INT64_C(9007199254740993));
    assert_int_equal(json_need_i64(spec, "f", &i, &e), E_INVALID);
    assert_string_equal(e.text, "spec.f: a whole number is wanted");
    assert_int_equal(json_need_i64(spec, "huge", &i, &e), E_INVALID);
    assert_int_equal(json_need_f64(spec, "n", &d, &e), OK);
    assert_true(d == 7);
    assert_int_equal(json_need_bool(spec, "on", &b, &e), OK);
    assert_true(b);
    assert_int_equal(json_need_bool(spec, "off", &b, &e), OK);
    assert_false(b);
    assert_int_equal(json_need_str(spec, "S", &s, &e), OK); /* by exact case */
    assert_true(str_eqz(s, "other"));
    assert_int_equal(json_need_str(spec, "Feature_Names", &s, &e), E_INVALID);
    assert_string_equal(e.text, "spec.Feature_Names: is missing");
    assert_int_equal(json_need_str(spec, "none", &s, &e), E_INVALID);
    assert_string_equal(e.text, "spec.none: may not be null");
    assert_int_equal(json_need_array(j, "spec", &other, &e), E_INVALID);
    assert_string_equal(e.text, "spec: an array is wanted, this is an object");
    assert_int_equal(json_need_str(names, "x", &s, &e), E_INVALID);
    assert_string_equal(e.text, "spec.feature_names: an object is wanted, this is an array");
    s = STR("default");
    assert_int_equal(json_opt_str(spec, "absent", &s, &e), OK);
    assert_int_equal(json_opt_str(spec, "none", &s, &e), OK);
    assert_true(str_eqz(s, "default"));
    assert_int_equal(json_opt_str(spec, "n", &s, &e), E_INVALID);
    assert_int_equal(json_complain(spec, &e, "must be %d", 3), E_INVALID);
    assert_string_equal(e.text, "spec: must be 3");
    assert_null(json_get(names, "x"));
    assert_null(json_get(NULL, "x"));
    assert_int_equal(json_type(NULL), JSON_NONE);
    json_free(j);
    json_free(NULL);
}

static void builds(void **state)
{
    (void)state;
    struct json *j = json_new_object(), *child = json_new_array();
    struct buf out = {0};
    json_set_strz(j, "name", "old");
    json_set_i64(j, "big", INT64_C(-9007199254740993));
    json_set_f64(j, "nan", NAN);
    json_set_bool(j, "on", true);
    json_set_strz(j, "none", NULL);
    json_add_i64(child, 1);
    json_add_f64(child, 0.1);
    json_add_strz(child, "x");
    json_add_null(child);
    json_add_bool(child, false);
    json_set_i64(json_add_object(child), "k", 2);
    json_add_str(json_add_array(child), (struct str){"a\0b", 3});
    json_set_take(j, "list", child);
    json_set_str(j, "name", STR("new")); /* moves to the end */
    json_set_null(j, "gone");
    json_del(j, "gone");
    json_del(j, "never there");
    json_print(j, JSON_NAN_NULL, &out);
    assert_string_equal(out.data,
                        "{\"big\":-9007199254740993,\"nan\":null,\"on\":true,\"none\":null,\"list\":[1,0.1,\"x\","
                        "null,false,{\"k\":2},[\"a\\u0000b\"]],\"name\":\"new\"}");
    int n = 0;
    for (struct json *m = json_first(j); m; m = json_next(m))
        n += json_key(m) != NULL;
    assert_int_equal(n, 6);
    buf_done(&out);
    json_freep(&j);
    assert_null(j);

    j = json_new_array();
    child = json_new_object();
    json_set_i64(json_set_object(child, "o"), "x", 1);
    json_add_i64(json_set_array(child, "a"), 2);
    json_add_take(j, child);
    json_print(j, JSON_NAN_NULL, &out);
    assert_string_equal(out.data, "[{\"o\":{\"x\":1},\"a\":[2]}]");
    buf_done(&out);
    json_free(j);
}

static void writer(void **state)
{
    (void)state;
    struct buf out = {0};
    struct json_writer w;
    jw_init(&w, &out, JSON_NAN_TOKEN);
    jw_object(&w);
    jw_kv_strz(&w, "s", "a\"b\\c\n\x01\x7F");
    jw_kv_str(&w, "bad", (struct str){"x\xFFy\xE2\x82", 5});
    jw_kv_i64(&w, "min", INT64_MIN);
    jw_kv_i64(&w, "neg", -5);
    jw_key(&w, "u");
    jw_u64(&w, UINT64_MAX);
    jw_kv_f64(&w, "f", 0.1);
    jw_kv_f64(&w, "nan", NAN);
    jw_kv_bool(&w, "t", true);
    jw_kv_strz(&w, "null", NULL);
    jw_key(&w, "list");
    jw_array(&w);
    jw_i64(&w, -1);
    jw_i64(&w, -2);
    jw_array(&w);
    jw_array_end(&w);
    jw_object(&w);
    jw_object_end(&w);
    jw_raw(&w, STR("{\"raw\":1}"));
    jw_array_end(&w);
    jw_key(&w, "data");
    size_t mark = jw_nested(&w);
    jw_object(&w);
    jw_kv_strz(&w, "in", "q\"");
    jw_object_end(&w);
    jw_nested_end(&w, mark);
    jw_kv_i64(&w, "after", 1);
    jw_object_end(&w);
    assert_string_equal(out.data,
                        "{\"s\":\"a\\\"b\\\\c\\n\\u0001\\u007f\",\"bad\":\"x\xEF\xBF\xBDy\xEF\xBF\xBD\xEF\xBF\xBD\","
                        "\"min\":-9223372036854775808,\"neg\":-5,\"u\":18446744073709551615,\"f\":0.1,\"nan\":NaN,"
                        "\"t\":true,\"null\":null,\"list\":[-1,-2,[],{},{\"raw\":1}],"
                        "\"data\":\"{\\\"in\\\":\\\"q\\\\\\\"\\\"}\",\"after\":1}");
    buf_clear(&out);
    jw_init(&w, &out, JSON_NAN_NULL);
    jw_array(&w);
    jw_f64(&w, INFINITY);
    jw_f64(&w, -INFINITY);
    jw_array_end(&w);
    assert_string_equal(out.data, "[null,null]");
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prints_what_it_read),
        cmocka_unit_test(refuses_with_path),
        cmocka_unit_test(getters),
        cmocka_unit_test(builds),
        cmocka_unit_test(writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
