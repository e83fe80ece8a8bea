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

/* The value of the cookie of that name. */
static bool find_cookie(struct str cookies, const char *name, struct str *ret)
{
    while (cookies.n) {
        const char *end = memchr(cookies.p, ';', cookies.n);
        size_t n = end ? (size_t)(end - cookies.p) : cookies.n;
        struct str one = {cookies.p, n};
        while (one.n && *one.p == ' ')
            one = (struct str){one.p + 1, one.n - 1};
        if (after(one, name, ret))
            return true;
        cookies = (struct str){cookies.p + n + (end ? 1 : 0), cookies.n - n - (end ? 1 : 0)};
    }
    return false;
}

/* MLRun's client takes a token of more than 20 letters with a '-' for an access key of Iguazio's, which goes into a cookie,
 * session=j:{"sid": "TOKEN"}. A browser may have such a cookie, but a page of another site cannot make it send the header too. */
static bool from_client(struct http_request *r, struct str *ret)
{
    struct str s;
    if (http_header(r, "x-mlrun-client-version").n == 0)
        return false;
    if (!find_cookie(http_header(r, "Cookie"), "session=j:{\"sid\":", &s))
        return false;
    if (s.n < 3 || s.p[0] != '"' || memcmp(s.p + s.n - 2, "\"}", 2) != 0)
        return false;
    *ret = (struct str){s.p + 1, s.n - 3};
    return true;
}

/* It comes by itself, so it changes nothing. */
static bool from_page(struct http_request *r, struct str *ret)
{
    return http_is_read(r) && find_cookie(http_header(r, "Cookie"), ACCESS_COOKIE "=", ret);
}

bool credential_of(struct http_request *r, struct str *ret)
{
    struct str h = http_header(r, "Authorization"), text;
    bool found = false;
    if (h.n && after(h, "Bearer ", ret))
        found = true;
    else if (h.n)
        found = after(h, "Basic ", &text) && from_basic(r, text, ret);
    else
        found = from_client(r, ret) || from_page(r, ret);
    return found && ret->n > 0;
}
