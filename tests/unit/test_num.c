/* Numbers from text and back. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/num.h"

static void integers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t value;
    } good[] = {{"0", 0},
                {"-0", 0},
                {"+7", 7},
                {"007", 7},
                {"9223372036854775807", INT64_MAX},
                {"-9223372036854775808", INT64_MIN}};
    static const char *const bad[] = {"",
                                      "-",
                                      "+",
                                      " 1",
                                      "1 ",
                                      "1.0",
                                      "1e3",
                                      "0x1",
                                      "9223372036854775808",
                                      "-9223372036854775809",
                                      "99999999999999999999",
                                      "1,000",
                                      "--1",
                                      "\xD9\xA1"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        int64_t v = 99;
        assert_int_equal(num_i64(str_of(good[i].text), &v), OK);
        assert_true(v == good[i].value);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int64_t v = 99;
        assert_int_equal(num_i64(str_of(bad[i]), &v), E_INVALID);
        assert_int_equal(v, 99);
    }
    int64_t v = 99;
    assert_int_equal(num_i64((struct str){"1\0", 2}, &v), E_INVALID);
    assert_int_equal(num_i64_in(STR("10"), 1, 9, &v), E_INVALID);
    assert_int_equal(num_i64_in(STR("9"), 1, 9, &v), OK);
    assert_int_equal(v, 9);
}

static void doubles_follow_the_grammar(void **state)
{
    (void)state;
    static const char *const bad[] = {"",         "+1",   "01",    "1.",     ".5", "1e", "1e+", "nan", "inf",
                                      "Infinity", "0x10", "1e999", "-1e999", " 1", "1 ", "1,5", "--1", "-"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        double v = 99;
        if (num_f64(str_of(bad[i]), &v) != E_INVALID || v != 99)
            fail_msg("\"%s\" taken", bad[i]);
    }
    static const struct {
        const char *text;
        double value;
    } good[] = {{"0", 0},      {"-0", -0.0},       {"1e3", 1000},     {"0.1", 0.1},
                {"1E-400", 0}, {"5e-324", 5e-324}, {"-12.5e+1", -125}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        double v = 99;
        assert_int_equal(num_f64(str_of(good[i].text), &v), OK);
        assert_true(v == good[i].value && !signbit(v) == !signbit(good[i].value));
    }
    char digits[400];
    double v = 99;
    int n = snprintf(digits, sizeof digits, "%.0f", DBL_MAX); /* longer than any buffer on the stack */
    assert_int_equal(n, 309);
    assert_int_equal(num_f64((struct str){digits, (size_t)n}, &v), OK);
    assert_true(v == DBL_MAX);
}

static double random_double(uint64_t *s)
{
    double v;
    do {
        *s ^= *s << 13;
        *s ^= *s >> 7;
        *s ^= *s << 17;
        memcpy(&v, s, sizeof v);
    } while (!isfinite(v));
    return v;
}

static void check_round_trip(double v)
{
    char text[32];
    double back = 0;
    size_t n = num_print_f64(text, v);
    assert_int_equal(strlen(text), n);
    if (num_f64((struct str){text, n}, &back) != OK || memcmp(&back, &v, sizeof v) != 0)
        fail_msg("%.17g became %s", v, text);
}

static void doubles_come_back_bit_by_bit(void **state)
{
    (void)state;
    uint64_t s = UINT64_C(88172645463325252);
    for (int i = 0; i < 30000; i++)
        check_round_trip(random_double(&s));
    for (int i = 0; i < 30000; i++) {
        check_round_trip((double)i / 100);
        check_round_trip(-1.0 / (i + 1));
    }
    const double edges[] = {
        0, -0.0, DBL_MAX, -DBL_MAX, DBL_MIN, 5e-324, 1e15, 1e15 - 1, -1e15, 1e16, 1e22, 1e23, 0.1 + 0.2, 9007199254740993.0, 2.2250738585072011e-308};
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++)
        check_round_trip(edges[i]);
}

static void doubles_are_short(void **state)
{
    (void)state;
    static const struct {
        double v;
        const char *text;
    } cases[] = {{0.1, "0.1"},       {1, "1"},
                 {-3, "-3"},         {100, "100"},
                 {1e15, "1e15"},     {123456.75, "123456.75"},
                 {1e-7, "1e-7"},     {1.5e300, "1.5e300"},
                 {5e-324, "5e-324"}, {0.30000000000000004, "0.30000000000000004"},
                 {-0.0, "-0"}};
    char text[32];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        (void)num_print_f64(text, cases[i].v);
        assert_string_equal(text, cases[i].text);
    }
    (void)num_print_f64(text, NAN);
    assert_string_equal(text, "NaN");
    (void)num_print_f64(text, -INFINITY);
    assert_string_equal(text, "-Infinity");
}

static void check_units(rc_t (*read)(struct str, int64_t *), const char *text, int64_t want)
{
    int64_t v = -99;
    rc_t rc = read(str_of(text), &v);
    if (want < 0 ? rc != E_INVALID || v != -99 : rc != OK || v != want)
        fail_msg("\"%s\": %s %lld", text, rc_name(rc), (long long)v);
}

static void durations_and_sizes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t us;
    } durations[] = {{"250ms", 250000},
                     {"10s", 10000000},
                     {"5m", 300000000},
                     {"2h", 7200 * USEC_PER_SEC},
                     {"7d", 7 * USEC_PER_DAY},
                     {"3", 3000000},
                     {"0", 0},
                     {"1.5s", 1500000},
                     {"0.25h", 900 * USEC_PER_SEC},
                     {"7us", 7},
                     {"0.0005ms", 0},
                     {"", -1},
                     {"s", -1},
                     {"-1s", -1},
                     {"1 s", -1},
                     {"1.s", -1},
                     {".5s", -1},
                     {"1S", -1},
                     {"1sec", -1},
                     {"9223372036854775807d", -1},
                     {"106751992d", -1}};
    static const struct {
        const char *text;
        int64_t n;
    } sizes[] = {
        {"512", 512}, {"10kB", 10000},    {"64MiB", 64 << 20}, {"1GiB", 1 << 30}, {"2TB", INT64_C(2000000000000)},
        {"0", 0},     {"1B", 1},          {"1kib", -1},        {"1.5MiB", -1},    {"-1", -1},
        {"MiB", -1},  {"9000000TiB", -1}, {"1 MiB", -1}};
    for (size_t i = 0; i < sizeof durations / sizeof *durations; i++)
        check_units(num_duration_us, durations[i].text, durations[i].us);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        check_units(num_bytes, sizes[i].text, sizes[i].n);
}

static void booleans(void **state)
{
    (void)state;
    static const char *const yes[] = {"true", "True", "TRUE", "1", "yes", "on"},
                             *const no[] = {"false", "False", "0", "no", "OFF"}, *const bad[] = {"", "t", "2", "truee", " true"};
    int v;
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        assert_true(num_bool(str_of(yes[i]), &v) == OK && v == 1);
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        assert_true(num_bool(str_of(no[i]), &v) == OK && v == 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(num_bool(str_of(bad[i]), &v), E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers),
        cmocka_unit_test(doubles_follow_the_grammar),
        cmocka_unit_test(doubles_come_back_bit_by_bit),
        cmocka_unit_test(doubles_are_short),
        cmocka_unit_test(durations_and_sizes),
        cmocka_unit_test(booleans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
