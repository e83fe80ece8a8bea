/* Instants: every day of ten thousand years there and back, the forms that are taken, the forms that are not. */
#include <time.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/time.h"

static void every_day_comes_back(void **state)
{
    (void)state;
    char text[TIME_TEXT];
    int64_t us, first, last;
    assert_int_equal(time_parse(STR("0001-01-01"), 0, &first), OK);
    assert_int_equal(time_parse(STR("9999-12-31"), 0, &last), OK);
    assert_int_equal((last - first) / USEC_PER_DAY, 3652058);
    int64_t step = 1;
    for (int64_t day = first; day <= last; day += step * USEC_PER_DAY) {
        size_t n = time_rfc3339(text, day);
        if (time_parse((struct str){text, n}, 1, &us) != OK || us != day)
            fail_msg("%s", text);
        step = day > 0 && day < 130 * 366 * USEC_PER_DAY ? 1 : 13; /* finer where people live */
    }
}

static void civil_is_the_library(void **state)
{
    (void)state;
    uint64_t s = 42;
    for (int i = 0; i < 50000; i++) {
        s = s * UINT64_C(6364136223846793005) + 1442695040888963407u;
        int64_t us = (int64_t)(s >> 8) % (INT64_C(253402300799) * USEC_PER_SEC);
        if (i % 2)
            us = -us / 5;
        struct tm tm;
        time_t t = (time_t)(time_floor(us, USEC_PER_SEC) / USEC_PER_SEC);
        assert_non_null(gmtime_r(&t, &tm));
        struct civil c = time_civil(us);
        assert_true(c.year == tm.tm_year + 1900 && c.month == tm.tm_mon + 1 && c.day == tm.tm_mday && c.hour == tm.tm_hour &&
                    c.minute == tm.tm_min && c.second == tm.tm_sec && c.usec == us - (int64_t)t * USEC_PER_SEC);
    }
    (void)time_civil(INT64_MIN);
    (void)time_civil(INT64_MAX);
}

static void forms_that_are_taken(void **state)
{
    (void)state;
    const int64_t second = INT64_C(1735689601) * USEC_PER_SEC;
    static const struct {
        const char *text;
        int64_t plus;
    } cases[] = {
        {"2025-01-01 00:00:01.123456+00:00", 123456},
        {"2025-01-01T00:00:01.123456Z", 123456},
        {"2025-01-01t00:00:01z", 0},
        {"2025-01-01T00:00:01", 0},
        {"2025-01-01 02:30:01.5+02:30", 500000},
        {"2025-01-01 02:30:01.5+0230", 500000},
        {"2024-12-31T19:00:01-05", 0},
        {"2025-01-01 00:00:01 +00:00", 0},
        {"2025-01-01 00:00:01.123456789+00:00", 123456},
        {"2025-01-01 00:00:00.9999999Z", -1},
        {"2024-12-31 23:59:60Z", -USEC_PER_SEC},
        {"2025-01-01T00:00Z", -USEC_PER_SEC},
        {"2025-01-01 00:00:01,25Z", 250000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t us = 0;
        if (time_parse(str_of(cases[i].text), 0, &us) != OK || us != second + cases[i].plus)
            fail_msg("%s: %lld", cases[i].text, (long long)(us - second));
    }
}

static void forms_that_are_not(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "2025",
        "2025-01-01T",
        "2025-1-1",
        "2025-00-01",
        "2025-13-01",
        "2025-02-29",
        "1900-02-29",
        "2025-01-32",
        "2025-01-01 24:00:00",
        "2025-01-01 00:60:00",
        "2025-01-01 00:00:61",
        "2025-01-01 00:00:01.",
        "2025-01-01 00:00:01.Z",
        "2025-01-01 00:00:01.1234567890Z",
        "2025-01-01 00:00:01+",
        "2025-01-01 00:00:01+1",
        "2025-01-01 00:00:01+24:00",
        "2025-01-01 00:00:01+00:60",
        "2025-01-01 00:00:01+00:00x",
        "2025-01-01 00:00:01 ",
        "2025-01-01 00:00:01Z ",
        " 2025-01-01",
        "0000-01-01",
        "2025/01/01",
        "2025-01-01 00:00:01+00:",
        "20250101T000001Z",
        "-025-01-01",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:60Z",
        "9999-12-31T23:59:59-00:01",
        "2025-01-01  00:00:01",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int64_t us = 77;
        if (time_parse(str_of(bad[i]), 0, &us) != E_INVALID || us != 77)
            fail_msg("\"%s\" taken", bad[i]);
    }
    int64_t us;
    assert_int_equal(time_parse(STR("2025-01-01 00:00:01"), 1, &us), E_INVALID);
    assert_int_equal(time_parse(STR("2025-01-01"), 1, &us), E_INVALID);
    assert_int_equal(time_parse((struct str){"2025-01-01\0", 11}, 0, &us), E_INVALID);
    assert_int_equal(time_parse(STR("2024-02-29"), 0, &us), OK);
    assert_int_equal(time_parse(STR("2000-02-29"), 0, &us), OK);
}

static void no_text_reads_past_its_end(void **state)
{
    (void)state;
    static const char whole[] = "2025-01-01 00:00:01.123456789 +05:30";
    for (size_t n = 0; n < sizeof whole; n++) {
        char *exact = malloc(n ? n : 1); /* the sanitiser sees a byte too far */
        int64_t us;
        memcpy(exact, whole, n);
        (void)!time_parse((struct str){exact, n}, 0, &us);
        free(exact);
    }
}

static void printing(void **state)
{
    (void)state;
    char text[TIME_TEXT];
    (void)time_rfc3339(text, 0);
    assert_string_equal(text, "1970-01-01T00:00:00.000000Z");
    (void)time_mlrun(text, -1);
    assert_string_equal(text, "1969-12-31 23:59:59.999999+00:00");
    (void)time_iso_offset(text, INT64_C(1735689601) * USEC_PER_SEC);
    assert_string_equal(text, "2025-01-01T00:00:01+00:00");
    (void)time_iso_offset(text, INT64_C(1735689601) * USEC_PER_SEC + 5);
    assert_string_equal(text, "2025-01-01T00:00:01.000005+00:00");
    assert_true(time_rfc3339(text, INT64_MIN) < TIME_TEXT && time_mlrun(text, INT64_MAX) < TIME_TEXT);
    assert_int_equal(time_floor(-1, 60), -60);
    assert_int_equal(time_floor(-60, 60), -60);
    assert_int_equal(time_floor(119, 60), 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_day_comes_back),       cmocka_unit_test(civil_is_the_library),
        cmocka_unit_test(forms_that_are_taken),       cmocka_unit_test(forms_that_are_not),
        cmocka_unit_test(no_text_reads_past_its_end), cmocka_unit_test(printing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
