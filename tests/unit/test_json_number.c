/* Numbers of the JSON reader against strtod: bit for bit, and exact integers. */
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/num.h"
#include "json/reader.h"

static uint64_t seed = 0x9E3779B97F4A7C15u;

static uint64_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed * UINT64_C(0x2545F4914F6CDD1D);
}

static bool read_one(const char *text, struct json_number *ret, enum json_error *code)
{
    struct json_reader r = {0};
    jr_init(&r, text, strlen(text), NULL);
    bool ok = jr_number(&r, ret) && jr_end(&r);
    *code = r.error.code;
    jr_done(&r);
    return ok;
}

/* Our reading of the text is strtod's, with our reader's one difference: what overflows is refused. */
static void check(const char *text)
{
    struct json_number n;
    enum json_error code;
    double want = strtod(text, NULL);
    bool ok = read_one(text, &n, &code);
    if (isinf(want)) {
        if (ok || code != JSON_E_RANGE)
            fail_msg("%s must be out of range", text);
        return;
    }
    if (!ok)
        fail_msg("%s refused: %s", text, json_error_name(code));
    if (memcmp(&n.f64, &want, sizeof want) != 0)
        fail_msg("%s: got %a, want %a", text, n.f64, want);
}

static void known_hard_cases(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "0",
        "-0",
        "0.0",
        "-0.0",
        "1",
        "-1",
        "0.1",
        "0.12345678901234567",
        "1e22",
        "1e23",
        "1e-22",
        "1e-23",
        "123456789012345678",
        "9007199254740993",
        "9007199254740992.5",
        "9007199254740993.0000000000000000001",
        "1.7976931348623157e308",
        "1.7976931348623158e308",
        "1.7976931348623159e308",
        "1.8e308",
        "1e309",
        "1e999999999999",
        "-1e309",
        "2.2250738585072014e-308",
        "2.2250738585072011e-308",
        "2.2250738585072012e-308",
        "4.9e-324",
        "5e-324",
        "2.4703282292062327e-324",
        "2.4703282292062328e-324",
        "2.47e-324",
        "1e-400",
        "1e-999999999999",
        "0e999999999999",
        "0.000000000000000000000000000000000000000000000000000000000000000012345678901234567890123456789",
        "8.41e21",
        "6.929e-316",
        "3.237883913302901e-319",
        "1.00000000000000011102230246251565404236316680908203125",
        "1.00000000000000011102230246251565404236316680908203124",
        "1.00000000000000011102230246251565404236316680908203126",
        "0.500000000000000166533453693773481063544750213623046875",
        "9214843084008499",
        "30078505129381147446200",
        "1777820000000000000001",
        "0.3e1",
        "3E0",
        "3e+0",
        "7.3177701707893310e+15",
        "1448997445238699",
        "1e0000000000000000001",
        "12345678",
        "1234567.8",
        "0.00000001",
        "1234567812345678.1234567812345678e-10",
        "100000000000000000000e-20",
        "0.1e-6",
        "9.5e-324",
        "1.5e-323",
        "18446744073709551615",
        "18446744073709551616",
        "9999999999999999999",
        "99999999999999999999",
        "0.9999999999999999999",
        "0.99999999999999999999",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        check(texts[i]);
    char zeros[900] = "1";
    memset(zeros + 1, '0', 308);
    check(zeros);
    memset(zeros + 1, '0', 309);
    check(zeros);
    strncpy(zeros, "0.", 3);
    memset(zeros + 2, '0', 320);
    memcpy(zeros + 322, "12345", 6);
    check(zeros);
    memset(zeros + 2, '1', 800);
    zeros[802] = '\0';
    check(zeros);
}

static void random_doubles(void **state)
{
    (void)state;
    int64_t stop = clock_mono_us() + 700 * USEC_PER_MSEC;
    int done = 0;
    for (; done < 1000000 && (done < 20000 || clock_mono_us() < stop); done++) {
        uint64_t bits = next_random();
        double v;
        char text[64];
        memcpy(&v, &bits, 8);
        if (!isfinite(v))
            continue;
        int digits = 1 + (int)(next_random() % 25);
        if (done % 2)
            (void)snprintf(text, sizeof text, "%.17g", v);
        else
            (void)snprintf(text, sizeof text, "%.*e", digits, v);
        check(text);
    }
    print_message("%d random doubles\n", done);
}

/* Digits and exponent at random, near ties on purpose: a double's neighbour's midpoint, cut or nudged. */
static void random_texts(void **state)
{
    (void)state;
    int64_t stop = clock_mono_us() + 700 * USEC_PER_MSEC;
    int done = 0;
    for (; done < 1000000 && (done < 20000 || clock_mono_us() < stop); done++) {
        char text[128];
        size_t n = 0;
        int ints = 1 + (int)(next_random() % 21), fracs = (int)(next_random() % 22);
        if (next_random() % 2)
            text[n++] = '-';
        if (next_random() % 2) {
            text[n++] = '0';
        } else {
            text[n++] = (char)('1' + next_random() % 9);
            for (int i = 1; i < ints; i++)
                text[n++] = (char)('0' + next_random() % 10);
        }
        if (fracs > 0)
            text[n++] = '.';
        for (int i = 0; i < fracs; i++)
            text[n++] = (char)(next_random() % 4 ? '0' + next_random() % 10 : '0');
        text[n] = '\0';
        if (next_random() % 2)
            (void)snprintf(text + n, sizeof text - n, "e%d", (int)(next_random() % 700) - 350);
        check(text);
    }
    for (int i = 0; i < 20000; i++) { /* exact midpoints of two doubles between 2^53 and 2^60, and one off */
        char text[64];
        uint64_t m = (UINT64_C(1) << 53 | next_random() >> 11) & ~UINT64_C(1);
        int shift = 1 + (int)(next_random() % 7);
        uint64_t mid = (m | 1) << shift >> 1;
        (void)snprintf(text, sizeof text, "%" PRIu64 "%s", mid + next_random() % 3 - 1, i % 2 ? ".0" : "");
        check(text);
    }
    print_message("%d random texts\n", done);
}

static void exact_integers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_int;
        int64_t want;
    } rows[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"42", true, 42},
        {"-42", true, -42},
        {"9007199254740993", true, INT64_C(9007199254740993)},
        {"9223372036854775807", true, INT64_MAX},
        {"9223372036854775808", false, 0},
        {"-9223372036854775808", true, INT64_MIN},
        {"-9223372036854775809", false, 0},
        {"18446744073709551617", false, 0},
        {"100000000000000000000", false, 0},
        {"1.0", false, 0},
        {"1e3", false, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct json_number n;
        enum json_error code;
        assert_true(read_one(rows[i].text, &n, &code));
        assert_int_equal(n.is_int, rows[i].is_int);
        assert_true(n.i64 == rows[i].want);
        assert_int_equal(n.text.n, strlen(rows[i].text));
    }
}

static void refused_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum json_error code;
    } rows[] = {
        {"-", JSON_E_EOF},           {"+1", JSON_E_SYNTAX},        {"01", JSON_E_TRAILING},
        {"-01", JSON_E_TRAILING},    {"1.", JSON_E_EOF},           {".5", JSON_E_SYNTAX},
        {"1.e3", JSON_E_NUMBER},     {"1e", JSON_E_EOF},           {"1e+", JSON_E_EOF},
        {"1ex", JSON_E_NUMBER},      {"0x10", JSON_E_TRAILING},    {"1e5.0", JSON_E_TRAILING},
        {"--1", JSON_E_NUMBER},      {"-a", JSON_E_NUMBER},        {"NaN", JSON_E_SYNTAX},
        {"Infinity", JSON_E_SYNTAX}, {"-Infinity", JSON_E_NUMBER}, {"1_000", JSON_E_TRAILING},
        {"1,0", JSON_E_TRAILING},    {"1.2.3", JSON_E_TRAILING},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct json_number n;
        enum json_error code;
        if (read_one(rows[i].text, &n, &code) || code != rows[i].code)
            fail_msg("%s: %s, want %s", rows[i].text, json_error_name(code), json_error_name(rows[i].code));
    }
}

static void nan_tokens(void **state)
{
    (void)state;
    static const char text[] = "[NaN, Infinity, -Infinity, -1]";
    struct json_reader r = {0};
    double v[4] = {0};
    jr_init(&r, text, sizeof text - 1, &(struct json_limits){.accept_nan = true});
    assert_true(jr_array(&r));
    for (int i = 0; i < 4; i++)
        assert_true(jr_item(&r) && jr_f64(&r, &v[i]));
    assert_false(jr_item(&r));
    assert_true(jr_end(&r));
    assert_true(isnan(v[0]) && isinf(v[1]) && v[1] > 0 && isinf(v[2]) && v[2] < 0 && v[3] == -1);
    static const char *const bad[] = {"Nan", "nan", "Inf", "-Inf", "-NaN", "+Infinity", "Infinit", "-", "N"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        jr_init(&r, bad[i], strlen(bad[i]), &(struct json_limits){.accept_nan = true});
        assert_false(jr_f64(&r, &v[0]) && jr_end(&r));
    }
    jr_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_hard_cases), cmocka_unit_test(random_doubles),  cmocka_unit_test(random_texts),
        cmocka_unit_test(exact_integers),   cmocka_unit_test(refused_numbers), cmocka_unit_test(nan_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
