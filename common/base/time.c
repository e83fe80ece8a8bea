/* Instants from and to text; civil calendar arithmetic (proleptic Gregorian, UTC). */
#include "base/time.h"

#include <stdbool.h>
#include <stdio.h>

#include "base/clock.h"

#define FIRST_US (INT64_C(-62135596800) * USEC_PER_SEC)    /* 0001-01-01 */
#define LAST_US (INT64_C(253402300800) * USEC_PER_SEC - 1) /* the last µs of 9999 */

struct reader {
    const char *p, *end;
};

/* Years are counted from March so that the leap day comes last; an era is 400 years of 146097 days. */
static int64_t days_from_civil(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool take(struct reader *r, const char *any_of, char *ret)
{
    if (r->p == r->end)
        return false;
    for (const char *c = any_of; *c; c++) {
        if (*r->p == *c) {
            *ret = *r->p++;
            return true;
        }
    }
    return false;
}

static bool take_number(struct reader *r, int digits, int min, int max, int *ret)
{
    if (r->end - r->p < digits)
        return false;
    int v = 0;
    for (int i = 0; i < digits; i++) {
        if (!is_digit(r->p[i]))
            return false;
        v = v * 10 + (r->p[i] - '0');
    }
    r->p += digits;
    *ret = v;
    return v >= min && v <= max;
}

static bool take_date(struct reader *r, struct civil *c)
{
    char dash;
    return take_number(r, 4, 1, 9999, &c->year) && take(r, "-", &dash) && take_number(r, 2, 1, 12, &c->month) &&
           take(r, "-", &dash) && take_number(r, 2, 1, 31, &c->day) && c->day <= days_in_month(c->year, c->month);
}

static bool take_fraction(struct reader *r, int *ret_usec)
{
    int digits = 0, usec = 0;
    for (; r->p < r->end && is_digit(*r->p); r->p++, digits++)
        if (digits < 6)
            usec = usec * 10 + (*r->p - '0');
    if (digits < 1 || digits > 9)
        return false;
    for (int i = digits; i < 6; i++)
        usec *= 10;
    *ret_usec = usec;
    return true;
}

static bool take_clock(struct reader *r, struct civil *c)
{
    char mark;
    if (!take_number(r, 2, 0, 23, &c->hour) || !take(r, ":", &mark) || !take_number(r, 2, 0, 59, &c->minute))
        return false;
    if (!take(r, ":", &mark))
        return true;
    if (!take_number(r, 2, 0, 60, &c->second))
        return false;
    return !take(r, ".,", &mark) || take_fraction(r, &c->usec);
}

/* Z, ±hh:mm, ±hhmm or ±hh; *ret_given stays false when there is none. */
static bool take_offset(struct reader *r, bool *ret_given, int *ret_seconds)
{
    char sign, colon;
    int hours, minutes = 0;
    (void)take(r, " ", &sign); /* a blank before the offset is allowed, its absence too */
    if (take(r, "Zz", &sign)) {
        *ret_given = true;
        return true;
    }
    if (!take(r, "+-", &sign))
        return r->p[-1] != ' ';
    if (!take_number(r, 2, 0, 23, &hours))
        return false;
    bool more = take(r, ":", &colon);
    if ((more || r->p < r->end) && !take_number(r, 2, 0, 59, &minutes))
        return false;
    *ret_given = true;
    *ret_seconds = (sign == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
    return true;
}

rc_t time_parse(struct str s, int tz_required, int64_t *ret_us)
{
    if (s.n < 10)
        return E_INVALID;
    struct reader r = {s.p, s.p + s.n};
    struct civil c = {0};
    bool given = false;
    int offset = 0;
    char mark;
    if (!take_date(&r, &c))
        return E_INVALID;
    if (r.p < r.end && (!take(&r, "Tt ", &mark) || !take_clock(&r, &c) || !take_offset(&r, &given, &offset)))
        return E_INVALID;
    if (r.p != r.end || (tz_required && !given))
        return E_INVALID;
    int64_t seconds = days_from_civil(c.year, c.month, c.day) * 86400 + c.hour * 3600 + c.minute * 60 + c.second;
    int64_t us = (seconds - offset) * USEC_PER_SEC + c.usec;
    if (us < FIRST_US || us > LAST_US)
        return E_INVALID;
    *ret_us = us;
    return OK;
}

int64_t time_floor(int64_t us, int64_t step)
{
    int64_t rest = us % step;
    return us - (rest < 0 ? rest + step : rest);
}

struct civil time_civil(int64_t us)
{
    /* from the remainders, so that the extremes of int64 do not overflow */
    int64_t rest = us % USEC_PER_DAY, days = us / USEC_PER_DAY;
    if (rest < 0) {
        rest += USEC_PER_DAY;
        days--;
    }
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t of_era = z - era * 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * of_year + 2) / 153;
    struct civil c = {
        .month = (int)(month < 10 ? month + 3 : month - 9),
        .day = (int)(of_year - (153 * month + 2) / 5 + 1),
        .hour = (int)(rest / (3600 * USEC_PER_SEC)),
        .minute = (int)(rest / (60 * USEC_PER_SEC) % 60),
        .second = (int)(rest / USEC_PER_SEC % 60),
        .usec = (int)(rest % USEC_PER_SEC),
    };
    c.year = (int)(year + era * 400 + (c.month <= 2));
    return c;
}

static size_t print_to_seconds(char out[TIME_TEXT], const struct civil *c, char between)
{
    return (size_t)snprintf(out, TIME_TEXT, "%04d-%02d-%02d%c%02d:%02d:%02d", c->year, c->month, c->day, between,
                            c->hour, c->minute, c->second);
}

static size_t print(char out[TIME_TEXT], int64_t us, char between, bool fraction, const char *zone)
{
    struct civil c = time_civil(us);
    size_t n = print_to_seconds(out, &c, between);
    if (fraction)
        n += (size_t)snprintf(out + n, TIME_TEXT - n, ".%06d", c.usec);
    return n + (size_t)snprintf(out + n, TIME_TEXT - n, "%s", zone);
}

size_t time_rfc3339(char out[TIME_TEXT], int64_t us)
{
    return print(out, us, 'T', true, "Z");
}

size_t time_mlrun(char out[TIME_TEXT], int64_t us)
{
    return print(out, us, ' ', true, "+00:00");
}

size_t time_iso_offset(char out[TIME_TEXT], int64_t us)
{
    return print(out, us, 'T', us % USEC_PER_SEC != 0, "+00:00");
}
