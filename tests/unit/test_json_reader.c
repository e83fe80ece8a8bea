/* The strict reader: what must be taken, what must be refused with which code at which byte, paths, limits, pulling. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "json/reader.h"

static char *last_text; /* paths borrow from it until the next verdict */

/* The text in memory of its own size, so that a read beyond its end is found. */
static bool verdict(const char *text, size_t n, const struct json_limits *limits, struct json_reader *r)
{
    free(last_text);
    last_text = malloc(n ? n : 1);
    assert_non_null(last_text);
    memcpy(last_text, text, n);
    jr_init(r, last_text, n, limits);
    return jr_skip(r, NULL) && jr_end(r);
}

static void taken(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "null",
        "true",
        "false",
        "0",
        "-0",
        "1e5",
        "1E+2",
        "0.5e-7",
        "\"\"",
        "\"a\"",
        "[]",
        "{}",
        " [ ] ",
        "\t{\r\n}\n",
        "[1,2]",
        "[[],[[]],{}]",
        "{\"a\":1,\"b\":[null]}",
        "{\"\":0}",
        "{\"a\":{\"a\":{\"a\":1}}}",
        "[\"\\u0041\"]",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
        "\"\\uD834\\uDD1E\"",
        "\"\\uFFFF\"",
        "\"\\u0001\"",
        "\"\x7F\"",
        "\"\xC3\xA9\"",
        "\"\xE2\x82\xAC\"",
        "\"\xF0\x9F\x98\x80\"",
        "\"\xF4\x8F\xBF\xBF\"",
        "\"\xEF\xBB\xBF\"",
        "[1 , 2 ]",
        "{\"a\" : 1 , \"b\":2}",
        "123456789012345678901234567890",
        "-1.7976931348623157e308",
        "1e-400",
        "\"a very long string without any escape at all, longer than one step of the scanner\"",
        "[{\"a\":1},{\"a\":2}]",
    };
    struct json_reader r = {0};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (!verdict(texts[i], strlen(texts[i]), NULL, &r))
            fail_msg("refused: %s: %s at %zu", texts[i], json_error_name(r.error.code), r.error.offset);
    jr_done(&r);
}

#define T(text) text, sizeof(text) - 1
static const struct {
    const char *text;
    size_t n;
    enum json_error code;
    size_t offset;
} bad[] = {
    {T(""), JSON_E_EOF, 0},
    {T("  "), JSON_E_EOF, 2},
    {T("nul"), JSON_E_EOF, 3},
    {T("nulL"), JSON_E_SYNTAX, 3},
    {T("True"), JSON_E_SYNTAX, 0},
    {T("undefined"), JSON_E_SYNTAX, 0},
    {T("NaN"), JSON_E_SYNTAX, 0},
    {T("[1,]"), JSON_E_SYNTAX, 3},
    {T("[,1]"), JSON_E_SYNTAX, 1},
    {T("[1,,2]"), JSON_E_SYNTAX, 3},
    {T("[1 2]"), JSON_E_SYNTAX, 3},
    {T("[1"), JSON_E_EOF, 2},
    {T("["), JSON_E_EOF, 1},
    {T("]"), JSON_E_SYNTAX, 0},
    {T("[1}"), JSON_E_SYNTAX, 2},
    {T("{\"a\":1]"), JSON_E_SYNTAX, 6},
    {T("{"), JSON_E_EOF, 1},
    {T("{\"a\""), JSON_E_EOF, 4},
    {T("{\"a\":"), JSON_E_EOF, 5},
    {T("{\"a\":1"), JSON_E_EOF, 6},
    {T("{\"a\":1,"), JSON_E_EOF, 7},
    {T("{\"a\":1,}"), JSON_E_SYNTAX, 7},
    {T("{\"a\" 1}"), JSON_E_SYNTAX, 5},
    {T("{\"a\":}"), JSON_E_SYNTAX, 5},
    {T("{a:1}"), JSON_E_SYNTAX, 1},
    {T("{'a':1}"), JSON_E_SYNTAX, 1},
    {T("{1:1}"), JSON_E_SYNTAX, 1},
    {T("{,}"), JSON_E_SYNTAX, 1},
    {T("1 1"), JSON_E_TRAILING, 2},
    {T("{}}"), JSON_E_TRAILING, 2},
    {T("[]\0"), JSON_E_TRAILING, 2},
    {T("\0"), JSON_E_SYNTAX, 0},
    {T("\xEF\xBB\xBF{}"), JSON_E_SYNTAX, 0},
    {T("\v1"), JSON_E_SYNTAX, 0},
    {T("\xC2\xA0"
       "1"),
     JSON_E_SYNTAX, 0},
    {T("// c\n1"), JSON_E_SYNTAX, 0},
    {T("[1/**/]"), JSON_E_SYNTAX, 2},
    {T("\"a"), JSON_E_EOF, 2},
    {T("\""), JSON_E_EOF, 1},
    {T("'a'"), JSON_E_SYNTAX, 0},
    {T("\"a\nb\""), JSON_E_CONTROL, 2},
    {T("\"a\tb\""), JSON_E_CONTROL, 2},
    {T("\"a\0b\""), JSON_E_CONTROL, 2},
    {T("\"0123456789\x1F\""), JSON_E_CONTROL, 11},
    {T("\"\\x41\""), JSON_E_ESCAPE, 1},
    {T("\"\\'\""), JSON_E_ESCAPE, 1},
    {T("\"\\"), JSON_E_ESCAPE, 1},
    {T("\"\\\0\""), JSON_E_ESCAPE, 1},
    {T("\"\\u12\""), JSON_E_ESCAPE, 1},
    {T("\"\\u12G4\""), JSON_E_ESCAPE, 1},
    {T("\"\\u0000\""), JSON_E_ESCAPE, 1},
    {T("\"\\uD800\""), JSON_E_ESCAPE, 1},
    {T("\"\\uD800\\u0041\""), JSON_E_ESCAPE, 1},
    {T("\"\\uD800\\uD800\""), JSON_E_ESCAPE, 1},
    {T("\"\\uDC00\\uD800\""), JSON_E_ESCAPE, 1},
    {T("\"\\uD83D\\"), JSON_E_ESCAPE, 1},
    {T("\"\x80\""), JSON_E_UTF8, 1},
    {T("\"\xC0\xAF\""), JSON_E_UTF8, 1},
    {T("\"\xC1\xBF\""), JSON_E_UTF8, 1},
    {T("\"\xC3\""), JSON_E_UTF8, 1},
    {T("\"\xE0\x80\x80\""), JSON_E_UTF8, 1},
    {T("\"\xED\xA0\x80\""), JSON_E_UTF8, 1},
    {T("\"\xF0\x80\x80\x80\""), JSON_E_UTF8, 1},
    {T("\"\xF4\x90\x80\x80\""), JSON_E_UTF8, 1},
    {T("\"\xF5\x80\x80\x80\""), JSON_E_UTF8, 1},
    {T("\"\xFF\""), JSON_E_UTF8, 1},
    {T("\"\xE2\x82"), JSON_E_UTF8, 1},
    {T("\"abcdefgh\xE2\x28\xA1\""), JSON_E_UTF8, 9},
    {T("{\"\xFF\":1}"), JSON_E_UTF8, 2},
    {T("{\"a\":1,\"a\":2}"), JSON_E_DUPLICATE, 7},
    {T("{\"a\":1,\"b\":1,\"\\u0061\":2}"), JSON_E_DUPLICATE, 13},
    {T("[{\"x\":{\"k\":0,\"k\":0}}]"), JSON_E_DUPLICATE, 13},
    {T("{\"\":1,\"\":1}"), JSON_E_DUPLICATE, 6},
    {T("1e999"), JSON_E_RANGE, 0},
    {T("[1,-1e999]"), JSON_E_RANGE, 3},
    {T("1e"), JSON_E_EOF, 2},
    {T("[1e]"), JSON_E_NUMBER, 3},
    {T("[1.]"), JSON_E_NUMBER, 3},
    {T("[-]"), JSON_E_NUMBER, 2},
    {T("[01]"), JSON_E_SYNTAX, 2},
    {T("[+1]"), JSON_E_SYNTAX, 1},
    {T("[.1]"), JSON_E_SYNTAX, 1},
    {T("[1.5.5]"), JSON_E_SYNTAX, 4},
};

static void refused(void **state)
{
    (void)state;
    struct json_reader r = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (verdict(bad[i].text, bad[i].n, NULL, &r))
            fail_msg("taken: %s", bad[i].text);
        if (r.error.code != bad[i].code || r.error.offset != bad[i].offset)
            fail_msg("%s: %s at %zu, want %s at %zu", bad[i].text, json_error_name(r.error.code), r.error.offset,
                     json_error_name(bad[i].code), bad[i].offset);
    }
    jr_done(&r);
}

/* Every proper prefix of a document is refused; so is every byte turned into a control character. */
static void truncated_and_broken(void **state)
{
    (void)state;
    static const char text[] =
        "{\"k\\u00e9y\":[1.5e3,-0,true,false,null,\"\xF0\x9F\x98\x80 s\\n\"],\"o\":{\"a\":[[]]}}";
    const size_t n = sizeof text - 1;
    struct json_reader r = {0};
    assert_true(verdict(text, n, NULL, &r));
    for (size_t i = 0; i < n; i++) {
        assert_false(verdict(text, i, NULL, &r));
        assert_true(r.error.offset <= i);
        char broken[sizeof text];
        memcpy(broken, text, n);
        broken[i] = 0x01;
        assert_false(verdict(broken, n, NULL, &r));
    }
    jr_done(&r);
}

static void limits(void **state)
{
    (void)state;
    struct json_reader r = {0};
    char deep[200];
    memset(deep, '[', 100);
    memset(deep + 100, ']', 100);
    assert_true(verdict(deep + 68, 64, NULL, &r)); /* 32 levels */
    assert_false(verdict(deep + 67, 66, NULL, &r));
    assert_int_equal(r.error.code, JSON_E_DEPTH);
    assert_int_equal(r.error.offset, 32);
    assert_true(verdict(deep + 36, 128, &(struct json_limits){.depth = 64}, &r));
    assert_false(verdict(deep + 35, 130, &(struct json_limits){.depth = 1000}, &r));
    assert_int_equal(r.error.code, JSON_E_DEPTH);

    assert_true(verdict(T("[1,2,3]"), &(struct json_limits){.values = 4}, &r));
    assert_false(verdict(T("[1,2,3]"), &(struct json_limits){.values = 3}, &r));
    assert_int_equal(r.error.code, JSON_E_VALUES);
    assert_true(verdict(T("[1,2]"), &(struct json_limits){.bytes = 5}, &r));
    assert_false(verdict(T("[1,2]"), &(struct json_limits){.bytes = 4}, &r));
    assert_int_equal(r.error.code, JSON_E_BYTES);
    assert_true(verdict(T("\"abc\""), &(struct json_limits){.string_bytes = 3}, &r));
    assert_false(verdict(T("\"abc\""), &(struct json_limits){.string_bytes = 2}, &r));
    assert_int_equal(r.error.code, JSON_E_STRING_BYTES);
    assert_false(verdict(T("{\"abc\":1}"), &(struct json_limits){.string_bytes = 2}, &r));
    assert_int_equal(r.error.code, JSON_E_STRING_BYTES);
    assert_false(verdict(T("{\"a\":1,\"b\":2}"), &(struct json_limits){.keys = 1}, &r));
    assert_int_equal(r.error.code, JSON_E_KEYS);
    jr_done(&r);
}

/* Far more keys than are compared one by one; nested objects in between have keys of their own. */
static void duplicates_among_many_keys(void **state)
{
    (void)state;
    struct json_reader r = {0};
    struct json_limits many = {.values = 100000, .keys = 5000};
    for (int n = 1; n < 3000; n += n < 40 ? 1 : 371) {
        for (int again = -1; again < n; again += n < 40 ? 1 : 173) {
            struct buf b = {0};
            buf_addc(&b, '{');
            for (int i = 0; i < n; i++)
                buf_addf(&b, "%s\"key number %d\":{\"key number %d\":1,\"x\":[{}]}", i ? "," : "", i, n - i);
            size_t at = b.len + 1;
            if (again >= 0)
                buf_addf(&b, ",\"key number %d\":0", again);
            buf_addc(&b, '}');
            bool ok = verdict(b.data, b.len, &many, &r);
            assert_int_equal(ok, again < 0);
            if (again >= 0) {
                assert_int_equal(r.error.code, JSON_E_DUPLICATE);
                assert_int_equal(r.error.offset, at);
            }
            buf_done(&b);
        }
    }
    jr_done(&r);
}

static void pulls_values(void **state)
{
    (void)state;
    static const char text[] = " {\"s\":\"plain\",\"e\":\"a\\n\\u00e9\\ud83d\\ude00\",\"i\":-42,\"d\":2.5,\"t\":true,"
                               "\"n\":null,\"raw\": [1, {\"x\": \"]\"}] ,\"list\":[1,2,3]} ";
    struct json_reader r = {0};
    struct str key, s = {NULL, 0}, raw = {NULL, 0};
    int64_t i = 0, sum = 0;
    double d = 0;
    bool t = false;
    int keys = 0;
    for (int round = 0; round < 3; round++) { /* the same reader again */
        jr_init(&r, text, sizeof text - 1, NULL);
        sum = 0;
        keys = 0;
        assert_int_equal(jr_peek(&r), JSON_OBJECT);
        assert_true(jr_object(&r));
        for (; jr_key(&r, &key); keys++) {
            if (str_eqz(key, "s")) {
                assert_true(jr_str(&r, &s));
                assert_true(str_eqz(s, "plain") && s.p > text && s.p < text + sizeof text); /* borrowed */
            } else if (str_eqz(key, "e")) {
                assert_true(jr_str(&r, &s));
                assert_true(str_eqz(s, "a\n\xC3\xA9\xF0\x9F\x98\x80"));
            } else if (str_eqz(key, "i")) {
                assert_true(jr_i64(&r, &i));
            } else if (str_eqz(key, "d")) {
                assert_true(jr_f64(&r, &d));
            } else if (str_eqz(key, "t")) {
                assert_false(jr_take_null(&r));
                assert_true(jr_bool(&r, &t));
            } else if (str_eqz(key, "n")) {
                assert_true(jr_take_null(&r));
            } else if (str_eqz(key, "raw")) {
                assert_true(jr_skip(&r, &raw));
                assert_true(str_eqz(raw, "[1, {\"x\": \"]\"}]"));
            } else {
                assert_true(jr_array(&r));
                for (int64_t v; jr_item(&r); sum += v)
                    assert_true(jr_i64(&r, &v));
            }
        }
        assert_true(jr_end(&r));
        assert_int_equal(keys, 8);
        assert_true(i == -42 && d == 2.5 && t && sum == 6);
    }
    jr_done(&r);
}

static void types_and_paths(void **state)
{
    (void)state;
    static const char text[] = "{\"request\":{\"id\":\"x\",\"inputs\":[[1,2],[3,\"four\"]]}}";
    struct json_reader r = {0};
    struct str key;
    struct err e;
    char path[64];
    double v;
    jr_init(&r, text, sizeof text - 1, NULL);
    assert_true(jr_object(&r) && jr_key(&r, &key) && jr_object(&r) && jr_key(&r, &key));
    assert_true(jr_skip(&r, NULL) && jr_key(&r, &key) && jr_array(&r));
    assert_true(jr_item(&r) && jr_skip(&r, NULL) && jr_item(&r) && jr_array(&r));
    assert_true(jr_item(&r) && jr_f64(&r, &v) && jr_item(&r));
    assert_false(jr_f64(&r, &v));
    assert_int_equal(r.error.code, JSON_E_TYPE);
    assert_int_equal(r.error.want, JSON_NUMBER);
    assert_int_equal(r.error.got, JSON_STRING);
    assert_int_equal(r.error.offset, strstr(text, "\"four") - text);
    assert_int_equal(jr_path(&r, path, sizeof path), strlen("request.inputs[1][1]"));
    assert_string_equal(path, "request.inputs[1][1]");
    assert_int_equal(jr_error(&r, &e), E_INVALID);
    assert_string_equal(e.text, "request.inputs[1][1], byte 40: a number is wanted, this is a string");
    assert_false(jr_item(&r)); /* sticky */
    assert_false(jr_end(&r));
    assert_int_equal(jr_path(&r, path, 8), 7);
    assert_string_equal(path, "request");

    static const char odd[] = "{\"a b\\u0007\\\"\":[{\"\\u00e9\":x}]}";
    assert_false(verdict(odd, sizeof odd - 1, NULL, &r));
    (void)jr_path(&r, path, sizeof path);
    assert_string_equal(path, "[\"a b??\"][0][\"\xC3\xA9\"]");
    assert_false(verdict(T("[0,1,[5,5,}]"), NULL, &r));
    (void)jr_path(&r, path, sizeof path);
    assert_string_equal(path, "[2][2]");

    jr_init(&r, T("[3.0]"), NULL);
    int64_t i;
    assert_true(jr_array(&r) && jr_item(&r));
    assert_false(jr_i64(&r, &i));
    assert_int_equal(r.error.code, JSON_E_RANGE);
    assert_int_equal(jr_error(&r, &e), E_INVALID);
    assert_false(verdict(T("[1,2,3]"), &(struct json_limits){.values = 3}, &r));
    assert_int_equal(jr_error(&r, &e), E_LIMIT);
    jr_done(&r);
}

/* Sums an array: by jr_item alone, or with the numbers behind an item taken by jr_number_item. */
static bool sum_array(struct json_reader *r, const char *text, size_t n, bool in_runs, double *ret_sum)
{
    const struct json_limits limits = {.accept_nan = true, .values = 8};
    struct json_value v;
    struct json_number num;
    *ret_sum = 0;
    jr_init(r, text, n, &limits);
    (void)jr_array(r);
    while (jr_item(r)) {
        enum json_type type = jr_value(r, &v);
        *ret_sum += type == JSON_NUMBER ? v.num.f64 : type == JSON_STRING ? 1000 : 0;
        while (in_runs && jr_number_item(r, &num))
            *ret_sum += num.f64 + (num.text.n == 0);
    }
    return jr_end(r);
}

static void numbers_in_runs(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "[1,2,3]",
        "[ 1 , -2.5 ,\n3e2 ]",
        "[1,\"a\",2,3]",
        "[\"a\",1,2]",
        "[1]",
        "[]",
        "[1,]",
        "[1,2,]",
        "[1,02]",
        "[1,2 3]",
        "[1,2.]",
        "[1,2",
        "[1,2,",
        "[1,-",
        "[1,1e999,2]",
        "[1,-Infinity,2]",
        "[1,Infinity]",
        "[1,null,2]",
        "[1,[2],3]",
        "[1,2,3,4,5,6,7]",
        "[1,2,3,4,5,6,7,8]",
        "[1,2],3",
    };
    struct json_reader r = {0};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        double one = 0, runs = 0;
        bool ok = sum_array(&r, texts[i], strlen(texts[i]), false, &one);
        enum json_error code = r.error.code;
        size_t at = r.error.offset;
        if (sum_array(&r, texts[i], strlen(texts[i]), true, &runs) != ok || r.error.code != code ||
            r.error.offset != at || (ok && one != runs))
            fail_msg("%s: %g at once and %g in runs, %s at %zu", texts[i], one, runs, json_error_name(r.error.code),
                     r.error.offset);
    }
    jr_done(&r);
}

/* What was unescaped outlives the reader. */
static void strings_elsewhere(void **state)
{
    (void)state;
    static const char text[] = "[\"a\\n\\u00e9\",\"b\"]";
    struct arena a = {0};
    struct json_reader r = {0};
    struct str s = {0};
    jr_init(&r, T(text), NULL);
    jr_strings(&r, &a);
    assert_true(jr_array(&r) && jr_item(&r) && jr_str(&r, &s));
    jr_init(&r, T("[\"\\t\\t\\t\\t\"]"), NULL);
    struct str other;
    assert_true(jr_array(&r) && jr_item(&r) && jr_str(&r, &other));
    jr_done(&r);
    assert_true(str_eqz(s, "a\n\xC3\xA9"));
    arena_done(&a);
}

static void every_error_has_words(void **state)
{
    (void)state;
    for (int i = JSON_OK; i <= JSON_E_KEYS; i++) {
        assert_true(strlen(json_error_name((enum json_error)i)) > 0);
        assert_true(strlen(json_error_text((enum json_error)i)) > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(taken),
        cmocka_unit_test(refused),
        cmocka_unit_test(truncated_and_broken),
        cmocka_unit_test(limits),
        cmocka_unit_test(duplicates_among_many_keys),
        cmocka_unit_test(pulls_values),
        cmocka_unit_test(types_and_paths),
        cmocka_unit_test(numbers_in_runs),
        cmocka_unit_test(strings_elsewhere),
        cmocka_unit_test(every_error_has_words),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(last_text);
    return failed;
}
