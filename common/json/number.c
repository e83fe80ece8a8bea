/* Numbers from JSON text. Correctly rounded: digits and exponent become w * 10^q with w < 10^19, then
 *   w <= 2^53 and |q| <= 22         one multiplication or division of exact doubles
 *   else                            w times the leading 128 bits of 5^q (pow5.inc): the product's upper bits are
 *                                   the mantissa, unless they sit too near to a tie to tell
 *   more than 19 digits, or a tie   once more with w + 1; if that rounds to another double, base/num reads the text.
 * The method is Eisel's and Lemire's (D. Lemire, "Number parsing at a gigabyte per second", 2021). */
#include "json/number.h"
#include "json/scan.h"

#include <string.h>

#include "base/num.h"

#define DIGITS_MAX 19 /* decimal digits that always fit into 64 bits */
#define POW5_FIRST (-342)
#define POW5_LAST 308
#define EXPONENT_CAP 100000000 /* beyond this only the sign of the exponent matters */

struct pow5 {
    uint64_t high, low;
};
static const struct pow5 pow5[] = {
#include "json/pow5.inc"
};

static const double exact_pow10[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                     1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
static const uint64_t int_pow10[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};

/* The pieces of a number's text. */
struct parts {
    uint64_t w;       /* all digits as one integer; wrong if significant > DIGITS_MAX */
    int64_t exponent; /* value = w * 10^exponent */
    const char *int_start, *int_end, *frac_start, *frac_end;
    bool negative, is_int;
};

static inline bool is_digit(char c)
{
    return (unsigned char)(c - '0') < 10;
}

/* Eight digits, one a byte, the first in the lowest byte, already minus '0'. */
static uint64_t eight_digits(uint64_t v)
{
    v = v * 10 + (v >> 8);
    const uint64_t mask = UINT64_C(0x000000FF000000FF);
    const uint64_t mul1 = 100 + (UINT64_C(1000000) << 32), mul2 = 1 + (UINT64_C(10000) << 32);
    return (((v & mask) * mul1) + (((v >> 16) & mask) * mul2)) >> 32;
}

/* Appends the digits at p to *w (which may overflow) and returns where they end. Eight at a time, and without a
 * branch on how many the last piece holds: that is what a predictor cannot know. */
static inline const char *read_digits(const char *p, const char *end, uint64_t *w)
{
    uint64_t v = *w;
    while (end - p >= 8) {
        uint64_t x = scan_load8(p) ^ UINT64_C(0x3030303030303030);
        uint64_t other = ((x + UINT64_C(0x7676767676767676)) | x) & UINT64_C(0x8080808080808080);
        if (other == 0) {
            v = v * 100000000 + eight_digits(x);
            p += 8;
            continue;
        }
        unsigned n = (unsigned)__builtin_ctzll(other) / 8;
        *w = v * int_pow10[n] + eight_digits((x << 8) << (56 - 8 * n));
        return p + n;
    }
    for (; p < end && is_digit(*p); p++)
        v = v * 10 + (uint64_t)(*p - '0');
    *w = v;
    return p;
}

static enum number_result read_exponent(const char *p, const char *end, struct parts *n, const char **stop)
{
    bool negative = p < end && *p == '-';
    if (p < end && (*p == '-' || *p == '+'))
        p++;
    *stop = p;
    if (p == end)
        return NUMBER_EOF;
    if (!is_digit(*p))
        return NUMBER_BAD;
    int64_t v = 0;
    for (; p < end && is_digit(*p); p++)
        if (v < EXPONENT_CAP)
            v = v * 10 + (*p - '0');
    n->exponent += negative ? -v : v;
    *stop = p;
    return NUMBER_OK;
}

static inline enum number_result split(const char *p, const char *end, struct parts *n, const char **stop)
{
    n->negative = *p == '-';
    p += n->negative;
    *stop = p;
    if (p == end)
        return NUMBER_EOF;
    if (!is_digit(*p))
        return NUMBER_BAD;
    n->w = 0;
    n->int_start = p;
    if (*p == '0') /* nothing may follow a leading zero */
        p++;
    else
        p = read_digits(p, end, &n->w);
    n->int_end = n->frac_start = n->frac_end = p;
    n->exponent = 0;
    n->is_int = true;
    if (p < end && *p == '.') {
        n->frac_start = ++p;
        p = read_digits(p, end, &n->w);
        *stop = p;
        if (p == n->frac_start)
            return p == end ? NUMBER_EOF : NUMBER_BAD;
        n->frac_end = p;
        n->exponent = n->frac_start - p;
        n->is_int = false;
    }
    *stop = p;
    if (p < end && (*p | 0x20) == 'e') {
        n->is_int = false;
        return read_exponent(p + 1, end, n, stop);
    }
    return NUMBER_OK;
}

static double from_bits(uint64_t bits)
{
    double v;
    memcpy(&v, &bits, 8);
    return v;
}

#define INFINITE_BITS (UINT64_C(0x7FF) << 52)

/* The bits of the double nearest to w * 10^q; false: too near to a tie to tell. */
static inline __attribute__((always_inline)) bool round_bits(uint64_t w, int64_t q, uint64_t *ret)
{
    if (w == 0 || q < POW5_FIRST)
        return *ret = 0, true;
    if (q > POW5_LAST)
        return *ret = INFINITE_BITS, true;
    int zeros = __builtin_clzll(w);
    w <<= zeros;
    const struct pow5 *t = &pow5[q - POW5_FIRST];
    __extension__ typedef unsigned __int128 u128;
    u128 product = (u128)w * t->high;
    uint64_t high = (uint64_t)(product >> 64), low = (uint64_t)product;
    if ((high & 0x1FF) == 0x1FF) { /* the cut-off half may still carry into the bits we need */
        uint64_t more = (uint64_t)(((u128)w * t->low) >> 64);
        low += more;
        high += low < more;
        if (low == UINT64_MAX && (q < -27 || q > 55))
            return false;
    }
    int top = (int)(high >> 63);
    int shift = top + 64 - 52 - 3;
    uint64_t mantissa = high >> shift; /* 54 bits: one to round by */
    int power = (int)((217706 * q) >> 16) + 63 + top - zeros + 1023;
    if (power <= 0) { /* subnormal */
        if (1 - power >= 64)
            return *ret = 0, true;
        mantissa >>= 1 - power;
        mantissa += mantissa & 1;
        *ret = mantissa >> 1; /* a carry into bit 52 is the smallest normal number, as it should be */
        return true;
    }
    if (low <= 1 && q >= -4 && q <= 23 && (mantissa & 3) == 1 && mantissa << shift == high)
        mantissa &= ~UINT64_C(1); /* an exact tie goes to the even neighbour */
    mantissa += mantissa & 1;
    mantissa >>= 1;
    if (mantissa >> 53) {
        mantissa >>= 1;
        power++;
    }
    if (power >= 0x7FF)
        return *ret = INFINITE_BITS, true;
    *ret = (mantissa & ((UINT64_C(1) << 52) - 1)) | (uint64_t)power << 52;
    return true;
}

/* More than 19 digits: the first 19 significant ones, and how the exponent moves. */
static void cut_digits(struct parts *n)
{
    uint64_t w = 0;
    int64_t exponent = n->exponent, left = DIGITS_MAX;
    for (const char *p = n->int_start; p < n->frac_end; p++) {
        if (p == n->int_end && p != n->frac_start)
            p = n->frac_start; /* over the point */
        if (left > 0 && (w != 0 || *p != '0')) {
            w = w * 10 + (uint64_t)(*p - '0');
            left--;
        } else if (left == 0) {
            exponent++;
        }
    }
    n->w = w;
    n->exponent = exponent;
}

static int64_t count_significant(const struct parts *n)
{
    const char *p = n->int_start;
    while (p < n->frac_end && (*p == '0' || *p == '.'))
        p++;
    if (p >= n->int_end)
        return n->frac_end - p;
    return (n->int_end - p) + (n->frac_end - n->frac_start);
}

/* Of a number that was cut: whether the digits that are gone cannot matter. */
static __attribute__((noinline)) bool is_sure(const struct parts *n, uint64_t bits)
{
    uint64_t next;
    return round_bits(n->w + 1, n->exponent, &next) && next == bits;
}

static enum number_result to_double(struct parts *n, struct str text, double *ret)
{
    uint64_t bits;
    bool cut = (n->int_end - n->int_start) + (n->frac_end - n->frac_start) > DIGITS_MAX && count_significant(n) > DIGITS_MAX;
    if (cut)
        cut_digits(n);
    if (!cut && n->w <= UINT64_C(1) << 53 && n->exponent >= -22 && n->exponent <= 22) {
        double v = (double)n->w;
        v = n->exponent < 0 ? v / exact_pow10[-n->exponent] : v * exact_pow10[n->exponent];
        *ret = n->negative ? -v : v;
        return NUMBER_OK;
    }
    if (!round_bits(n->w, n->exponent, &bits) || (cut && !is_sure(n, bits)))
        return num_f64(text, ret) == OK ? NUMBER_OK : NUMBER_RANGE;
    if (bits == INFINITE_BITS)
        return NUMBER_RANGE;
    *ret = from_bits(bits | (uint64_t)n->negative << 63);
    return NUMBER_OK;
}

static bool to_int(const struct parts *n, int64_t *ret)
{
    if (!n->is_int || n->int_end - n->int_start > DIGITS_MAX)
        return false;
    if (n->w > (uint64_t)INT64_MAX + n->negative)
        return false;
    *ret = (int64_t)(n->negative ? 0 - n->w : n->w);
    return true;
}

enum number_result number_read(const char *p, const char *end, struct json_number *ret, const char **stop)
{
    struct parts n;
    double f64;
    int64_t i64 = 0;
    enum number_result result = split(p, end, &n, stop);
    if (result != NUMBER_OK)
        return result;
    const struct str text = {p, (size_t)(*stop - p)};
    result = to_double(&n, text, &f64);
    if (result != NUMBER_OK)
        return result;
    ret->is_int = to_int(&n, &i64);
    ret->i64 = i64;
    ret->f64 = f64;
    ret->text = text;
    return NUMBER_OK;
}

enum number_result number_check(const char *p, const char *end, const char **stop)
{
    struct json_number n;
    struct parts parts;
    enum number_result result = split(p, end, &parts, stop);
    if (result == NUMBER_OK && (parts.exponent > 0 || *stop - p > 300)) /* else it cannot be too large */
        return number_read(p, end, &n, stop);
    return result;
}
