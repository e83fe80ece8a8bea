/* Checked numbers from text and to text, whatever the locale says. */
#include "base/num.h"

#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/mem.h"

struct unit {
    const char *name;
    int64_t factor;
};

static const struct unit durations[] = {
    {"", USEC_PER_SEC},       {"us", 1},
    {"ms", USEC_PER_MSEC},    {"s", USEC_PER_SEC},
    {"m", 60 * USEC_PER_SEC}, {"h", 3600 * USEC_PER_SEC},
    {"d", USEC_PER_DAY},
};

static const struct unit sizes[] = {
    {"", 1},
    {"B", 1},
    {"kB", 1000},
    {"KB", 1000},
    {"MB", 1000000},
    {"GB", 1000000000},
    {"TB", INT64_C(1000000000000)},
    {"KiB", 1 << 10},
    {"MiB", 1 << 20},
    {"GiB", 1 << 30},
    {"TiB", INT64_C(1) << 40},
};

/* Set once, read by every strtod_l below. */
static locale_t c_locale;
static pthread_once_t c_locale_once = PTHREAD_ONCE_INIT;

static void make_c_locale(void)
{
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (c_locale == (locale_t)0)
        abort();
}

static double read_double(const char *z)
{
    (void)pthread_once(&c_locale_once, make_c_locale); /* fails only for a bad once_t */
    return strtod_l(z, NULL, c_locale);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static size_t count_digits(struct str s, size_t at)
{
    size_t n = 0;
    while (at + n < s.n && is_digit(s.p[at + n]))
        n++;
    return n;
}

rc_t num_i64(struct str s, int64_t *ret)
{
    size_t at = s.n > 0 && (s.p[0] == '-' || s.p[0] == '+') ? 1 : 0;
    bool negative = at == 1 && s.p[0] == '-';
    if (at == s.n || count_digits(s, at) != s.n - at)
        return E_INVALID;
    int64_t v = 0;
    for (; at < s.n; at++) {
        int digit = s.p[at] - '0';
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, negative ? -digit : digit, &v))
            return E_INVALID;
    }
    *ret = v;
    return OK;
}

rc_t num_i64_in(struct str s, int64_t min, int64_t max, int64_t *ret)
{
    int64_t v;
    if (num_i64(s, &v) != OK || v < min || v > max)
        return E_INVALID;
    *ret = v;
    return OK;
}

/* JSON's number: -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)? */
static bool is_json_number(struct str s)
{
    size_t at = s.n > 0 && s.p[0] == '-' ? 1 : 0;
    size_t n = count_digits(s, at);
    if (n == 0 || (n > 1 && s.p[at] == '0'))
        return false;
    at += n;
    if (at < s.n && s.p[at] == '.') {
        n = count_digits(s, ++at);
        if (n == 0)
            return false;
        at += n;
    }
    if (at < s.n && (s.p[at] == 'e' || s.p[at] == 'E')) {
        at++;
        if (at < s.n && (s.p[at] == '-' || s.p[at] == '+'))
            at++;
        n = count_digits(s, at);
        if (n == 0)
            return false;
        at += n;
    }
    return at == s.n;
}

rc_t num_f64(struct str s, double *ret)
{
    if (!is_json_number(s))
        return E_INVALID;
    char small[64];
    CLEANUP(mem_freep) char *large = s.n < sizeof small ? NULL : mem_dup(s.p, s.n);
    if (large == NULL) {
        memcpy(small, s.p, s.n);
        small[s.n] = '\0';
    }
    double v = read_double(large ? large : small);
    if (!isfinite(v))
        return E_INVALID;
    *ret = v;
    return OK;
}

/* digits [. fraction] unit, exact in integers: value × factor with the fraction's sub-unit digits cut. */
static rc_t with_unit(struct str s, const struct unit *units, size_t count, bool fraction_ok, int64_t *ret)
{
    size_t whole = count_digits(s, 0), frac = 0, at = whole;
    if (whole == 0)
        return E_INVALID;
    if (fraction_ok && at < s.n && s.p[at] == '.') {
        frac = count_digits(s, at + 1);
        if (frac == 0)
            return E_INVALID;
        at += 1 + frac;
    }
    const struct unit *u = NULL;
    for (size_t i = 0; i < count && u == NULL; i++)
        if (str_eqz((struct str){s.p + at, s.n - at}, units[i].name))
            u = &units[i];
    int64_t v;
    if (u == NULL || num_i64((struct str){s.p, whole}, &v) != OK || __builtin_mul_overflow(v, u->factor, &v))
        return E_INVALID;
    int64_t step = u->factor;
    for (size_t i = 0; i < frac && step > 0; i++) {
        step /= 10;
        if (__builtin_add_overflow(v, step * (s.p[whole + 1 + i] - '0'), &v))
            return E_INVALID;
    }
    *ret = v;
    return OK;
}

rc_t num_duration_us(struct str s, int64_t *ret)
{
    return with_unit(s, durations, sizeof durations / sizeof *durations, true, ret);
}

rc_t num_bytes(struct str s, int64_t *ret)
{
    return with_unit(s, sizes, sizeof sizes / sizeof *sizes, false, ret);
}

rc_t num_bool(struct str s, int *ret)
{
    static const struct {
        const char *name;
        int value;
    } words[] = {{"true", 1}, {"false", 0}, {"1", 1}, {"0", 0}, {"yes", 1}, {"no", 0}, {"on", 1}, {"off", 0}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (s.n == strlen(words[i].name) && strncasecmp(s.p, words[i].name, s.n) == 0) {
            *ret = words[i].value;
            return OK;
        }
    }
    return E_INVALID;
}

/* "1.5e+07" becomes "1.5e7"; a locale's decimal comma becomes a point. */
static size_t tidy(char *out, size_t n)
{
    size_t to = 0;
    for (size_t i = 0; i < n; i++) {
        char c = out[i];
        if (c == 'e') {
            out[to++] = 'e';
            if (out[i + 1] == '-')
                out[to++] = '-';
            i += 2;
            while (i + 1 < n && out[i] == '0')
                i++;
            i--;
        } else {
            out[to++] = is_digit(c) || c == '-' ? c : '.';
        }
    }
    out[to] = '\0';
    return to;
}

size_t num_print_f64(char out[32], double v)
{
    if (!isfinite(v)) {
        const char *name = isnan(v) ? "NaN" : v > 0 ? "Infinity" : "-Infinity";
        return (size_t)snprintf(out, 32, "%s", name);
    }
    if (v > -1e15 && v < 1e15 && v == (double)(int64_t)v && !(v == 0 && signbit(v)))
        return (size_t)snprintf(out, 32, "%lld", (long long)v);
    /* 15 digits are exact for every normal double that has that few; subnormals have fewer to start with */
    for (int digits = fabs(v) < 2.3e-308 ? 1 : 15;; digits++) {
        size_t n = tidy(out, (size_t)snprintf(out, 32, "%.*g", digits, v));
        if (digits >= 17 || read_double(out) == v)
            return n;
    }
}

int num_order_i64(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}
