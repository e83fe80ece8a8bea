/* Error texts, buffers, arenas, text, digests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/rc.h"
#include "base/sha.h"
#include "base/text.h"

static void errors_are_cut_between_characters(void **state)
{
    (void)state;
    struct err e;
    char text[400];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    for (size_t i = 0; i + 2 < sizeof text; i += 2)
        memcpy(text + i, "\xC3\xA9", 2);
    for (size_t shift = 0; shift < 3; shift++) {
        assert_int_equal(err_set(&e, E_LIMIT, "%.*s%s", (int)shift, "abc", text), E_LIMIT);
        assert_true(strlen(e.text) >= sizeof e.text - 3);
        assert_true(text_is_utf8(str_of(e.text)));
    }
    assert_int_equal(err_set(&e, E_AGAIN, "no answer from %s", "kafka"), E_AGAIN);
    assert_int_equal(err_prefix(&e, E_FATAL, "topic %d: ", 7), E_FATAL);
    assert_string_equal(e.text, "topic 7: no answer from kafka");
    for (int i = 0; i < 100; i++)
        (void)err_prefix(&e, OK, "\xC3\xA9");
    assert_true(strlen(e.text) < sizeof e.text);
    assert_true(text_is_utf8(str_of(e.text)));
    assert_false(err_quotes(&e));
    assert_int_equal(err_quote(&e, E_AGAIN, "server: %s", text), E_AGAIN);
    assert_true(err_quotes(&e) && strlen(e.text) < sizeof e.text - 1);
    assert_int_equal(err_prefix(&e, E_AGAIN, "asking: "), E_AGAIN);
    assert_true(err_quotes(&e)); /* still, and in a copy */
    struct err copy = e;
    assert_true(err_quotes(&copy));
    assert_int_equal(err_set(&e, E_AGAIN, "ours"), E_AGAIN);
    assert_false(err_quotes(&e));
    assert_int_equal(err_set(NULL, E_NOTFOUND, "x"), E_NOTFOUND);
    assert_string_equal(rc_name(E_UNKNOWN), "unknown outcome");
}

static void buffers_grow_and_stay_terminated(void **state)
{
    (void)state;
    struct buf b = {0};
    size_t moves = 0, cap = 0;
    assert_int_equal(buf_str(&b).n, 0);
    for (size_t i = 0; i < 100000; i++) {
        buf_addc(&b, (char)('a' + i % 26));
        if (b.cap != cap) {
            cap = b.cap;
            moves++;
        }
        assert_int_equal(b.data[b.len], '\0');
    }
    assert_true(moves < 20); /* doubling */
    buf_clear(&b);
    for (int i = 0; i < 300; i++)
        buf_addf(&b, "%d,", i);
    assert_int_equal(strlen(b.data), b.len);
    assert_memory_equal(b.data, "0,1,2,3,", 8);
    assert_string_equal(b.data + b.len - 8, "298,299,");
    char *text = buf_take(&b);
    assert_int_equal(b.len, 0);
    mem_free(text);
    text = buf_take(&b);
    assert_string_equal(text, "");
    mem_free(text);
    buf_addf(&b, "%s", "");
    assert_string_equal(b.data, "");
    buf_done(&b);
    buf_done(NULL);
}

static void arenas_are_aligned_zeroed_and_reused(void **state)
{
    (void)state;
    struct arena a = {0};
    for (int round = 0; round < 5; round++) {
        for (size_t n = 0; n < 3000; n += 7) {
            unsigned char *p = arena_alloc(&a, n);
            assert_int_equal((uintptr_t)p % 16, 0);
            for (size_t i = 0; i < n; i++)
                assert_int_equal(p[i], 0);
            memset(p, 0xAA, n);
        }
        size_t total = a.total;
        arena_reset(&a);
        assert_true(a.total > 0 && a.total <= total);
    }
    assert_string_equal(arena_dup(&a, "abcd", 3), "abc");
    assert_string_equal(arena_printf(&a, "%s-%05d", "x", 42), "x-00042");
    char *large = arena_alloc(&a, 5u << 20);
    large[(5u << 20) - 1] = 'x';
    arena_done(&a);
    arena_done(NULL);
}

static struct str escaped(struct buf *b, struct str s)
{
    buf_clear(b);
    text_add_json(b, s);
    return buf_str(b);
}

static void text_is_escaped(void **state)
{
    (void)state;
    struct buf b = {0};
    assert_true(str_eqz(escaped(&b, STR("a\"b\\c\n\t\r\b\f\v\x01\x7F")),
                        "\"a\\\"b\\\\c\\n\\t\\r\\b\\f\\u000b\\u0001\\u007f\""));
    assert_true(str_eqz(escaped(&b, STR("\xC3\xA9\xF0\x9F\x98\x80")), "\"\xC3\xA9\xF0\x9F\x98\x80\""));
    assert_true(str_eqz(escaped(&b, STR("a\xFFz\xC3")), "\"a\xEF\xBF\xBDz\xEF\xBF\xBD\""));
    assert_true(str_eqz(escaped(&b, (struct str){"\0", 1}), "\"\\u0000\""));
    assert_true(str_eqz(escaped(&b, (struct str){NULL, 0}), "\"\""));
    buf_clear(&b);
    text_add_html(&b, STR("<a href=\"x\">'&'"));
    assert_string_equal(b.data, "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;");
    buf_done(&b);
}

static void utf8_is_judged(void **state)
{
    (void)state;
    static const char *const good[] = {
        "", "abc", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"};
    static const char *const bad[] = {"\x80",         "\xC0\x80",         "\xC1\xBF",         "\xE0\x9F\xBF",
                                      "\xED\xA0\x80", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80",
                                      "\xC2",         "\xE1\x80",         "\xF1\x80\x80",     "a\xFE"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(text_is_utf8(str_of(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (text_is_utf8(str_of(bad[i])))
            fail_msg("bad[%zu] taken", i);
}

static void names_have_a_normal_form(void **state)
{
    (void)state;
    static const struct {
        const char *in, *want; /* want: what MLRun's norm_column_name says */
    } rows[] = {
        {"x y", "x_y"},     {"sepal length (cm)", "sepal_length_cm"},     {"a\tb\nc", "a\tb\nc"}, {"()", ""},
        {"plain", "plain"}, {"\xC3\xA9 \xC2\xA0z", "\xC3\xA9_\xC2\xA0z"}, {"a  (b) ", "a__b_"},   {"", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char out[64];
        struct str in = str_of(rows[i].in), want = str_of(rows[i].want);
        assert_true(str_eq((struct str){out, text_norm_name(out, in)}, want));
        assert_int_equal(text_is_norm_name(in), str_eq(in, want));
        assert_true(text_same_norm_name(in, want) && text_same_norm_name(want, in));
        assert_false(text_same_norm_name(in, STR("another")));
    }
    assert_false(text_same_norm_name(STR("a\tb"), STR("a_b")));
    assert_false(text_same_norm_name(STR("ab"), STR("a")));
}

static void digests_are_the_standards(void **state)
{
    (void)state;
    char one[SHA1_TEXT], two[SHA256_TEXT], three[SHA256_TEXT], path[] = "/tmp/test-base-XXXXXX";
    struct err e;
    sha1_hex("abc", 3, one);
    assert_string_equal(one, "a9993e364706816aba3e25717850c26c9cd0d89d");
    sha256_hex("", 0, two);
    assert_string_equal(two, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    char data[100001];
    memset(data, 'q', sizeof data);
    sha256_hex(data, sizeof data, two);
    struct sha256 *s = sha256_new();
    for (size_t at = 0; at < sizeof data; at += 997)
        sha256_add(s, data + at, at + 997 < sizeof data ? 997 : sizeof data - at);
    sha256_take_hex(s, three);
    assert_string_equal(two, three);
    FILE *f = fdopen(mkstemp(path), "w");
    assert_int_equal(fwrite(data, 1, sizeof data, f), sizeof data);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(sha256_file_hex(path, three, &e), OK);
    assert_string_equal(two, three);
    assert_int_equal(remove(path), 0);
    assert_int_equal(sha256_file_hex(path, three, &e), E_NOTFOUND);
    assert_int_equal(sha256_file_hex("/", three, &e), E_FATAL);
    sha256_free(sha256_new());
    sha256_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_are_cut_between_characters),
        cmocka_unit_test(buffers_grow_and_stay_terminated),
        cmocka_unit_test(arenas_are_aligned_zeroed_and_reused),
        cmocka_unit_test(text_is_escaped),
        cmocka_unit_test(utf8_is_judged),
        cmocka_unit_test(names_have_a_normal_form),
        cmocka_unit_test(digests_are_the_standards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
