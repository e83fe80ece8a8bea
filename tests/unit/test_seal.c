/* Sealed texts and base64: what opens, and what does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/base64.h"
#include "base/seal.h"

#define A "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define B "FFFEFDFCFBFAF9F8F7F6F5F4F3F2F1F0EFEEEDECEBEAE9E8E7E6E5E4E3E2E1E0"

static struct seal *ring(const char *text)
{
    struct seal *s = NULL;
    struct err e = {0};
    assert_int_equal(seal_new(&s, text, &e), OK);
    return s;
}

static void what_is_sealed_opens_where_it_was_bound(void **state)
{
    (void)state;
    struct seal *s = ring(A);
    struct err e = {0};
    struct buf sealed = {0}, again = {0}, plain = {0};
    static char large[100000];
    memset(large, 'x', sizeof large);
    const struct str texts[] = {STR(""), STR("pw"), STR("a\0b"), {large, sizeof large}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        buf_clear(&sealed);
        buf_clear(&again);
        buf_clear(&plain);
        buf_addz(&plain, "before ");
        assert_int_equal(seal_close(s, texts[i], STR("row 1"), &sealed, &e), OK);
        assert_int_equal(seal_close(s, texts[i], STR("row 1"), &again, &e), OK);
        assert_false(str_eq(buf_str(&sealed), buf_str(&again))); /* a nonce each */
        assert_int_equal(seal_open(s, buf_str(&sealed), STR("row 1"), &plain, &e), OK);
        assert_memory_equal(plain.data, "before ", 7);
        assert_true(str_eq((struct str){plain.data + 7, plain.len - 7}, texts[i]));
        assert_int_equal(seal_open(s, buf_str(&sealed), STR("row 2"), &plain, &e), E_INVALID);
        assert_int_equal(plain.len, 7 + texts[i].n);
    }
    if (texts[1].n)
        assert_null(memmem(sealed.data, sealed.len, "xxxx", 4));
    for (size_t at = 0; at < 60; at++) { /* every byte of the head counts, and of the text */
        sealed.data[at] ^= 1;
        assert_int_not_equal(seal_open(s, buf_str(&sealed), STR("row 1"), &plain, &e), OK);
        sealed.data[at] ^= 1;
    }
    for (size_t n = 0; n < 40; n++)
        assert_int_not_equal(seal_open(s, (struct str){sealed.data, n}, STR("row 1"), &plain, &e), OK);
    assert_int_equal(seal_open(s, (struct str){sealed.data, sealed.len - 1}, STR("row 1"), &plain, &e), E_INVALID);
    buf_done(&sealed);
    buf_done(&again);
    buf_done(&plain);
    seal_free(s);
}

static void keys_are_rotated_by_putting_the_new_one_first(void **state)
{
    (void)state;
    struct seal *old = ring(A), *both = ring(B ", " A "\n"), *new = ring(B), *none = ring(" \n");
    struct err e = {0};
    struct buf sealed = {0}, plain = {0};
    assert_string_equal(seal_key_id(both), seal_key_id(new));
    assert_string_not_equal(seal_key_id(both), seal_key_id(old));
    assert_string_equal(seal_key_id(none), "");
    assert_int_equal(seal_close(old, STR("pw"), STR("r"), &sealed, &e), OK);
    assert_int_equal(seal_open(both, buf_str(&sealed), STR("r"), &plain, &e), OK);
    assert_int_equal(seal_open(new, buf_str(&sealed), STR("r"), &plain, &e), E_NOTFOUND);
    assert_non_null(strstr(e.text, seal_key_id(old)));
    buf_clear(&sealed);
    assert_int_equal(seal_close(both, STR("pw"), STR("r"), &sealed, &e), OK);
    assert_int_equal(seal_open(old, buf_str(&sealed), STR("r"), &plain, &e), E_NOTFOUND);
    assert_int_equal(seal_open(new, buf_str(&sealed), STR("r"), &plain, &e), OK);
    assert_string_equal(plain.data, "pwpw");
    assert_int_equal(seal_close(none, STR("pw"), STR("r"), &sealed, &e), E_NOTFOUND);
    assert_int_equal(seal_open(none, buf_str(&sealed), STR("r"), &plain, &e), E_NOTFOUND);
    struct seal *all[] = {old, both, new, none};
    for (size_t i = 0; i < 4; i++)
        seal_free(all[i]);
    buf_done(&sealed);
    buf_done(&plain);
}

static void what_is_no_key_is_told_without_a_word_of_it(void **state)
{
    (void)state;
    const char *const bad[] = {"x", A "0", A " " B " 00", "g" A, "0x" A, A A};
    struct err e = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(seal_check(bad[i], &e), E_INVALID);
        assert_null(strstr(e.text, "0001020304"));
    }
    struct buf many = {0}, made = {0};
    for (int i = 0; i <= SEAL_KEYS_MAX; i++)
        buf_addz(&many, A " ");
    assert_int_equal(seal_check(many.data, &e), E_INVALID);
    seal_key_make(&made);
    assert_int_equal(made.len, 64);
    assert_int_equal(seal_check(made.data, &e), OK);
    buf_done(&many);
    buf_done(&made);
}

static void base64_both_ways(void **state)
{
    (void)state;
    static const struct {
        struct str bytes;
        const char *text;
    } known[] = {{{"", 0}, ""}, {{"f", 1}, "Zg=="}, {{"fo", 2}, "Zm8="}, {{"foo", 3}, "Zm9v"}, {{"\xff\xfe\0", 3}, "//4A"}};
    const char *const bad[] = {"Z", "Zg", "Zg=", "Z===", "====", " Zg==", "Zg==\n", "Zm9v!", "Zm=v", "Zm9\xc3"};
    struct buf b = {0};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        buf_clear(&b);
        base64_add(&b, known[i].bytes);
        assert_string_equal(b.data, known[i].text);
        buf_clear(&b);
        assert_int_equal(base64_read(str_of(known[i].text), &b), OK);
        assert_true(str_eq(buf_str(&b), known[i].bytes));
    }
    buf_clear(&b);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(base64_read(str_of(bad[i]), &b), E_INVALID);
    assert_int_equal(b.len, 0);
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_sealed_opens_where_it_was_bound),
        cmocka_unit_test(keys_are_rotated_by_putting_the_new_one_first),
        cmocka_unit_test(what_is_no_key_is_told_without_a_word_of_it),
        cmocka_unit_test(base64_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
