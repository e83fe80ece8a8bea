/* Where tokens come in a request. */
#include "access/credential.h"

#include <strings.h>

#include "access/access.h"

#define BASIC_MAX 1024u

static bool after(struct str s, const char *word, struct str *ret)
{
    size_t n = strlen(word);
    if (s.n < n || strncasecmp(s.p, word, n) != 0)
        return false;
    while (n < s.n && s.p[n] == ' ')
        n++;
    *ret = (struct str){s.p + n, s.n - n};
    return true;
}

static int digit_of(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

static bool read_base64(struct str in, struct arena *a, struct str *ret)
{
    char *out = arena_alloc(a, in.n + 1);
    size_t n = 0;
    unsigned bits = 0, have = 0;
    while (in.n && in.p[in.n - 1] == '=')
        in.n--;
    for (size_t i = 0; i < in.n; i++) {
        int v = digit_of(in.p[i]);
        if (v < 0)
            return false;
        bits = bits << 6 | (unsigned)v;
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[n++] = (char)(bits >> have & 0xFF);
        }
    }
    *ret = (struct str){out, n};
    return true;
}

static bool from_basic(struct http_request *r, struct str text, struct str *ret)
{
    struct str both;
    if (text.n > BASIC_MAX || !read_base64(text, http_arena(r), &both))
        return false;
    const char *colon = both.n ? memchr(both.p, ':', both.n) : NULL;
    if (!colon)
        return false;
    struct str user = {both.p, (size_t)(colon - both.p)}, password = {colon + 1, both.n - user.n - 1};
    *ret = password.n ? password : user;
    return true;
}

static bool from_cookie(struct str cookies, struct str *ret)
{
    while (cookies.n) {
        const char *end = memchr(cookies.p, ';', cookies.n);
        size_t n = end ? (size_t)(end - cookies.p) : cookies.n;
        struct str one = {cookies.p, n};
        while (one.n && *one.p == ' ')
            one = (struct str){one.p + 1, one.n - 1};
        if (after(one, ACCESS_COOKIE "=", ret))
            return true;
        cookies = (struct str){cookies.p + n + (end ? 1 : 0), cookies.n - n - (end ? 1 : 0)};
    }
    return false;
}

bool credential_of(struct http_request *r, struct str *ret)
{
    struct str h = http_header(r, "Authorization"), text;
    bool found = false;
    if (h.n && after(h, "Bearer ", ret))
        found = true;
    else if (h.n)
        found = after(h, "Basic ", &text) && from_basic(r, text, ret);
    else if (http_is_read(r)) /* a cookie comes by itself: it changes nothing */
        found = from_cookie(http_header(r, "Cookie"), ret);
    return found && ret->n > 0;
}
