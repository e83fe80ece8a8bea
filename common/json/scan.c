/* Strings inside JSON text. Sixteen or eight bytes at a time as long as they are plain ASCII. */
#include "json/scan.h"

#include <string.h>

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/* High bit of each byte that is quote, backslash, control or not ASCII. Exact up to the first such byte, which is
 * all that is looked at: borrows only run upwards. */
static uint64_t special_bytes(uint64_t v)
{
    uint64_t quote = v ^ EACH('"'), slash = v ^ EACH('\\');
    return ((v - EACH(0x20)) | (quote - EACH(1)) | (slash - EACH(1)) | v) & EACH(0x80);
}

static const char *skip_plain(const char *p, const char *end)
{
#ifdef __SSE2__
    while (end - p >= 16) {
        unsigned special = scan_special16(p);
        if (special)
            return p + __builtin_ctz(special);
        p += 16;
    }
#endif
    while (end - p >= 8) {
        uint64_t special = special_bytes(scan_load8(p));
        if (special)
            return p + __builtin_ctzll(special) / 8;
        p += 8;
    }
    while (p < end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20 && (unsigned char)*p < 0x80)
        p++;
    return p;
}

size_t scan_utf8(const char *p, const char *end)
{
    const unsigned char *u = (const unsigned char *)p;
    size_t left = (size_t)(end - p);
    if (left == 0)
        return 0;
    if (u[0] < 0x80)
        return 1;
    size_t n = u[0] >= 0xF0 ? 4 : u[0] >= 0xE0 ? 3 : 2;
    if (u[0] < 0xC2 || u[0] > 0xF4 || left < n)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((u[i] & 0xC0) != 0x80)
            return 0;
    /* too long a form, a surrogate, beyond U+10FFFF */
    if ((u[0] == 0xE0 && u[1] < 0xA0) || (u[0] == 0xED && u[1] > 0x9F) || (u[0] == 0xF0 && u[1] < 0x90) ||
        (u[0] == 0xF4 && u[1] > 0x8F))
        return 0;
    return n;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Four hex digits at p, or -1. */
static int hex4(const char *p, const char *end)
{
    int v = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int d = hex_digit(p[i]);
        if (d < 0)
            return -1;
        v = v * 16 + d;
    }
    return v;
}

static bool is_high(int u)
{
    return u >= 0xD800 && u <= 0xDBFF;
}

static bool is_low(int u)
{
    return u >= 0xDC00 && u <= 0xDFFF;
}

/* By the letter behind the backslash; 0: no escape of JSON's, or u. */
static const char escape_meaning[256] = {
    ['"'] = '"', ['\\'] = '\\', ['/'] = '/', ['b'] = '\b', ['f'] = '\f', ['n'] = '\n', ['r'] = '\r', ['t'] = '\t'};

/* The length of the escape at p (a backslash), or 0 if it is none of JSON's, or stands for U+0000. */
static size_t check_escape(const char *p, const char *end)
{
    if (end - p < 2)
        return 0;
    if (p[1] != 'u')
        return escape_meaning[(unsigned char)p[1]] ? 2 : 0;
    int u = hex4(p + 2, end);
    if (u <= 0 || is_low(u))
        return 0;
    if (!is_high(u))
        return 6;
    return end - p >= 12 && p[6] == '\\' && p[7] == 'u' && is_low(hex4(p + 8, end)) ? 12 : 0;
}

enum json_error scan_string(const char *p, const char *end, const char **stop, bool *escapes)
{
    *escapes = false;
    for (;;) {
        p = skip_plain(p, end);
        *stop = p;
        if (p == end)
            return JSON_E_EOF;
        unsigned char c = (unsigned char)*p;
        if (c == '"')
            return JSON_OK;
        if (c < 0x20)
            return JSON_E_CONTROL;
        if (c == '\\') {
            size_t n = check_escape(p, end);
            if (n == 0)
                return JSON_E_ESCAPE;
            *escapes = true;
            p += n;
            continue;
        }
        do { /* letters that are not ASCII come in runs */
            size_t n = scan_utf8(p, end);
            *stop = p;
            if (n == 0)
                return JSON_E_UTF8;
            p += n;
        } while (p < end && (unsigned char)*p >= 0x80);
    }
}

static size_t put_utf8(char *out, unsigned u)
{
    if (u < 0x80)
        return out[0] = (char)u, 1;
    if (u < 0x800) {
        out[0] = (char)(0xC0 | u >> 6);
        out[1] = (char)(0x80 | (u & 0x3F));
        return 2;
    }
    if (u < 0x10000) {
        out[0] = (char)(0xE0 | u >> 12);
        out[1] = (char)(0x80 | (u >> 6 & 0x3F));
        out[2] = (char)(0x80 | (u & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | u >> 18);
    out[1] = (char)(0x80 | (u >> 12 & 0x3F));
    out[2] = (char)(0x80 | (u >> 6 & 0x3F));
    out[3] = (char)(0x80 | (u & 0x3F));
    return 4;
}

size_t scan_unescape(const char *p, size_t n, char *out)
{
    const char *end = p + n;
    char *to = out;
    while (p < end) {
        if (*p != '\\') {
            *to++ = *p++;
            continue;
        }
        if (p[1] != 'u') {
            *to++ = escape_meaning[(unsigned char)p[1]];
            p += 2;
            continue;
        }
        int u = hex4(p + 2, end);
        p += 6;
        if (is_high(u)) {
            u = 0x10000 + ((u - 0xD800) << 10) + (hex4(p + 2, end) - 0xDC00);
            p += 6;
        }
        to += put_utf8(to, (unsigned)u);
    }
    return (size_t)(to - out);
}
