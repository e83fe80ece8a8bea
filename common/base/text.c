/* UTF-8 checks and escaping. */
#include "base/text.h"

size_t text_utf8_len(struct str s, size_t at)
{
    const unsigned char *p = (const unsigned char *)s.p + at;
    size_t left = s.n - at;
    if (left == 0)
        return 0;
    if (p[0] < 0x80)
        return 1;
    /* the second byte's range is what rules out overlong forms, surrogates and values above U+10FFFF */
    unsigned char low = 0x80, high = 0xBF;
    size_t n;
    if (p[0] >= 0xC2 && p[0] <= 0xDF) {
        n = 2;
    } else if ((p[0] & 0xF0) == 0xE0) {
        n = 3;
        low = p[0] == 0xE0 ? 0xA0 : low;
        high = p[0] == 0xED ? 0x9F : high;
    } else if (p[0] >= 0xF0 && p[0] <= 0xF4) {
        n = 4;
        low = p[0] == 0xF0 ? 0x90 : low;
        high = p[0] == 0xF4 ? 0x8F : high;
    } else {
        return 0;
    }
    if (left < n || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    return n;
}

bool text_is_utf8(struct str s)
{
    for (size_t at = 0; at < s.n;) {
        size_t n = text_utf8_len(s, at);
        if (n == 0)
            return false;
        at += n;
    }
    return true;
}

void text_cut_utf8(char *z)
{
    struct str s = str_of(z);
    size_t at = 0, n;
    while (at < s.n && (n = text_utf8_len(s, at)) > 0)
        at += n;
    z[at] = '\0';
}

static void add_escape(struct buf *b, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    static const char shorts[] = "btn\0fr"; /* \b to \r without \v */
    char out[6] = {'\\', (char)c};
    if (c >= '\b' && c <= '\r' && c != '\v') {
        out[1] = shorts[c - '\b'];
        buf_add(b, out, 2);
    } else if (c < 0x20 || c == 0x7F) {
        out[1] = 'u';
        out[2] = out[3] = '0';
        out[4] = hex[c >> 4];
        out[5] = hex[c & 15];
        buf_add(b, out, 6);
    } else {
        buf_add(b, out, 2);
    }
}

static bool needs_escape(unsigned char c)
{
    return c < 0x20 || c == '"' || c == '\\' || c == 0x7F;
}

/* How many bytes from here on go out as they are. */
static size_t plain_run(struct str s, size_t from)
{
    size_t at = from;
    while (at < s.n && !needs_escape((unsigned char)s.p[at])) {
        size_t n = text_utf8_len(s, at);
        if (n == 0)
            break;
        at += n;
    }
    return at - from;
}

void text_add_json(struct buf *b, struct str s)
{
    buf_addc(b, '"');
    for (size_t at = 0; at < s.n;) {
        size_t n = plain_run(s, at);
        buf_add(b, s.p + at, n);
        at += n;
        if (at == s.n)
            break;
        if (needs_escape((unsigned char)s.p[at]))
            add_escape(b, (unsigned char)s.p[at]);
        else
            buf_addz(b, "\xEF\xBF\xBD");
        at++;
    }
    buf_addc(b, '"');
}

static bool is_control(unsigned char c)
{
    return (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f;
}

void text_add_html(struct buf *b, struct str s)
{
    for (size_t at = 0; at < s.n; at++) {
        switch (s.p[at]) {
        case '&':
            buf_addz(b, "&amp;");
            break;
        case '<':
            buf_addz(b, "&lt;");
            break;
        case '>':
            buf_addz(b, "&gt;");
            break;
        case '"':
            buf_addz(b, "&quot;");
            break;
        case '\'':
            buf_addz(b, "&#39;");
            break;
        default:
            if (is_control((unsigned char)s.p[at]))
                buf_addz(b, "\xEF\xBF\xBD");
            else
                buf_addc(b, s.p[at]);
        }
    }
}

/* The next byte of the normal form. */
static bool next_norm(struct str *rest, char *ret)
{
    while (rest->n && (*rest->p == '(' || *rest->p == ')'))
        *rest = (struct str){rest->p + 1, rest->n - 1};
    if (rest->n == 0)
        return false;
    *ret = *rest->p == ' ' ? '_' : *rest->p;
    *rest = (struct str){rest->p + 1, rest->n - 1};
    return true;
}

size_t text_norm_name(char *out, struct str s)
{
    size_t n = 0;
    for (char c; next_norm(&s, &c);)
        out[n++] = c;
    return n;
}

bool text_is_norm_name(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == ' ' || s.p[i] == '(' || s.p[i] == ')')
            return false;
    return true;
}

bool text_same_norm_name(struct str a, struct str b)
{
    char x = 0, y = 0;
    for (;;) {
        bool more = next_norm(&a, &x), too = next_norm(&b, &y);
        if (!more || !too || x != y)
            return !more && !too;
    }
}
