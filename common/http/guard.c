/* RFC 9112 sections 3.2, 5, 6.1 and 6.3, in their strict reading. */
#include "http/guard.h"

#include <string.h>
#include <strings.h>

#include "base/num.h"

static void fault(struct guard *g, int status, const char *words)
{
    if (g->words)
        return;
    g->words = words;
    g->status = status;
}

void guard_start(struct guard *g, size_t target_bytes)
{
    *g = (struct guard){.length = -1};
    if (target_bytes > GUARD_TARGET_MAX)
        fault(g, 414, "the request target is longer than 8 KiB");
}

void guard_fault(struct guard *g, const char *words)
{
    fault(g, 400, words);
}

static bool is_token(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool alnum = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
        if (!alnum && (c == 0 || !strchr("!#$%&'*+-.^_`|~", c)))
            return false;
    }
    return s.n > 0;
}

static bool is_value(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (((unsigned char)s.p[i] < 0x20 && s.p[i] != '\t') || s.p[i] == 0x7F)
            return false;
    return true;
}

static bool is_name(struct str s, const char *name)
{
    return s.n == strlen(name) && strncasecmp(s.p, name, s.n) == 0;
}

static void check_length(struct guard *g, struct str value)
{
    g->lengths++;
    for (size_t i = 0; i < value.n; i++) /* num_i64 would take a sign */
        if (value.p[i] < '0' || value.p[i] > '9')
            guard_fault(g, "Content-Length is not a number");
    if (num_i64(value, &g->length) != OK)
        guard_fault(g, "Content-Length is not a number");
}

void guard_header(struct guard *g, struct str name, struct str value)
{
    g->bytes += name.n + value.n + sizeof ": \r\n" - 1;
    if (g->bytes > GUARD_HEAD_MAX)
        fault(g, 431, "the headers are longer than 16 KiB");
    if (++g->lines > GUARD_LINES_MAX)
        fault(g, 431, "there are more than 100 header lines");
    if (!is_token(name))
        guard_fault(g, "a header name has a character that may not be there");
    if (!is_value(value))
        guard_fault(g, "a header value has a control character");
    if (is_name(name, "Host")) {
        g->hosts++;
    } else if (is_name(name, "Content-Length")) {
        check_length(g, value);
    } else if (is_name(name, "Transfer-Encoding")) {
        g->encodings++;
        g->chunked = is_name(value, "chunked");
        if (!g->chunked)
            guard_fault(g, "Transfer-Encoding is not chunked");
    }
}

void guard_end(struct guard *g, struct str version)
{
    bool old = str_eqz(version, "HTTP/1.0");
    if (!old && !str_eqz(version, "HTTP/1.1"))
        guard_fault(g, "the version is neither HTTP/1.1 nor HTTP/1.0");
    if (g->lengths > 1)
        guard_fault(g, "more than one Content-Length");
    if (g->encodings > 1)
        guard_fault(g, "more than one Transfer-Encoding");
    if (g->lengths > 0 && g->encodings > 0)
        guard_fault(g, "both Content-Length and Transfer-Encoding");
    if (g->encodings > 0 && old)
        guard_fault(g, "Transfer-Encoding in HTTP/1.0");
    if (g->hosts > 1 || (g->hosts == 0 && !old))
        guard_fault(g, "there must be exactly one Host");
}

bool guard_has_body(const struct guard *g)
{
    return g->chunked || g->length > 0;
}
