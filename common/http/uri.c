/* Request targets in origin form: /path?query. Everything else is refused. */
#include "http/uri.h"

#include <string.h>

#include "base/text.h"

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static bool has_control(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7F)
            return true;
    return false;
}

rc_t uri_decode(struct str raw, bool plus, struct arena *a, struct str *ret)
{
    struct str out = raw;
    if (memchr(raw.p, '%', raw.n) != NULL || (plus && memchr(raw.p, '+', raw.n) != NULL)) {
        char *to = arena_alloc(a, raw.n + 1);
        out = (struct str){to, 0};
        for (size_t i = 0; i < raw.n; i++) {
            char c = raw.p[i];
            if (c == '%') {
                int high = i + 1 < raw.n ? hex_digit(raw.p[i + 1]) : -1;
                int low = i + 2 < raw.n ? hex_digit(raw.p[i + 2]) : -1;
                if (high < 0 || low < 0)
                    return E_INVALID;
                c = (char)(high << 4 | low);
                i += 2;
            } else if (c == '+' && plus) {
                c = ' ';
            }
            to[out.n++] = c;
        }
    }
    if (has_control(out) || !text_is_utf8(out))
        return E_INVALID;
    *ret = out;
    return OK;
}

/* What may not stand in a target at all, escaped or not in its place. */
static bool bad_bytes(struct str raw)
{
    for (size_t i = 0; i < raw.n; i++) {
        unsigned char c = (unsigned char)raw.p[i];
        if (c <= 0x20 || c >= 0x7F || c == '#' || c == '\\' || c == '"' || c == '<' || c == '>')
            return true;
    }
    return false;
}

static struct str piece(struct str s, size_t from, char until)
{
    const char *end = from < s.n ? memchr(s.p + from, until, s.n - from) : NULL;
    return (struct str){s.p + from, end ? (size_t)(end - s.p) - from : s.n - from};
}

static const char *parse_path(struct uri *u, struct arena *a)
{
    for (size_t at = 1; at <= u->path.n;) {
        struct str raw = piece(u->path, at, '/'), *to = &u->segments[u->segment_count];
        if (u->segment_count == URI_SEGMENTS)
            return "the path has too many segments";
        if (uri_decode(raw, false, a, to) != OK)
            return "the path has a bad escape, a control character or text that is not UTF-8";
        if (str_eqz(*to, ".") || str_eqz(*to, ".."))
            return "the path has a dot segment";
        u->segment_count++;
        at += raw.n + 1;
    }
    return NULL;
}

static const char *parse_query(struct str query, struct uri *u, struct arena *a)
{
    size_t room = 1;
    for (size_t i = 0; i < query.n; i++)
        room += query.p[i] == '&';
    if (room > URI_PAIRS)
        return "the query has too many parameters";
    u->pairs = arena_array(a, room, sizeof *u->pairs);
    for (size_t at = 0; at < query.n;) {
        struct str pair = piece(query, at, '&');
        struct str name = piece(pair, 0, '=');
        struct str value = name.n < pair.n ? piece(pair, name.n + 1, '\0') : STR("");
        struct uri_pair *to = &u->pairs[u->pair_count];
        at += pair.n + 1;
        if (pair.n == 0)
            continue;
        if (uri_decode(name, true, a, &to->name) != OK || uri_decode(value, true, a, &to->value) != OK)
            return "the query has a bad escape, a control character or text that is not UTF-8";
        u->pair_count++;
    }
    return NULL;
}

rc_t uri_parse(struct str raw, struct arena *a, struct uri *ret, const char **ret_words)
{
    struct uri u = {0};
    const char *words = NULL;
    if (raw.n == 0 || raw.p[0] != '/')
        words = "the request target is not a path";
    else if (bad_bytes(raw))
        words = "the request target has a byte that must be escaped";
    if (words == NULL) {
        u.path = piece(raw, 0, '?');
        words = parse_path(&u, a);
    }
    if (words == NULL && u.path.n < raw.n)
        words = parse_query((struct str){raw.p + u.path.n + 1, raw.n - u.path.n - 1}, &u, a);
    if (words) {
        *ret_words = words;
        return E_INVALID;
    }
    *ret = u;
    return OK;
}
