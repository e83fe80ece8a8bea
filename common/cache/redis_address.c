/* Reading a Redis URL, and the breaker. */
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "cache/redis.h"

#define BACKOFF_MIN_US (100 * USEC_PER_MSEC)
#define BACKOFF_MAX_US (5 * USEC_PER_SEC)

void redis_address_done(struct redis_address *a)
{
    mem_free(a->host);
    mem_free(a->user);
    mem_free(a->password);
    *a = (struct redis_address){0};
}

static int hex(char c)
{
    const char *digits = "0123456789abcdef", *at = strchr(digits, c >= 'A' && c <= 'F' ? c + 32 : c);
    return c && at ? (int)(at - digits) : -1;
}

static rc_t decode(struct str s, char **ret)
{
    struct buf out = {0};
    for (size_t i = 0; i < s.n; i++) {
        int high = s.p[i] == '%' && i + 2 < s.n ? hex(s.p[i + 1]) : -1;
        int low = high >= 0 ? hex(s.p[i + 2]) : -1;
        if (s.p[i] == '%' && (low < 0 || high * 16 + low == 0)) {
            buf_done(&out);
            return E_INVALID;
        }
        buf_addc(&out, low >= 0 ? (char)(high * 16 + low) : s.p[i]);
        i += low >= 0 ? 2 : 0;
    }
    *ret = buf_take(&out);
    return OK;
}

/* Cuts s at the first (or last) c: the part before is answered, s is the part after. Without c: nothing is cut. */
static bool cut(struct str *s, char c, bool last, struct str *ret)
{
    const char *at = !s->n ? NULL : last ? memrchr(s->p, c, s->n) : memchr(s->p, c, s->n);
    if (!at)
        return false;
    *ret = (struct str){s->p, (size_t)(at - s->p)};
    *s = (struct str){at + 1, s->n - ret->n - 1};
    return true;
}

static rc_t parse_login(struct str login, struct redis_address *a)
{
    struct str user = {0};
    rc_t rc = OK;
    if (cut(&login, ':', false, &user) && user.n)
        rc = decode(user, &a->user);
    return rc ? rc : decode(login, &a->password);
}

static rc_t parse_place(struct str place, struct redis_address *a)
{
    int64_t port = 6379;
    struct str host = place, rest = place;
    if (place.n && *place.p == '[') {
        if (!cut(&rest, ']', true, &host) || (rest.n && *rest.p != ':'))
            return E_INVALID;
        host = (struct str){host.p + 1, host.n - 1};
        rest = rest.n ? (struct str){rest.p + 1, rest.n - 1} : rest;
    } else if (!cut(&rest, ':', false, &host)) {
        rest = (struct str){0};
    }
    if (!host.n || (rest.n && num_i64_in(rest, 1, 65535, &port)))
        return E_INVALID;
    a->port = (int)port;
    return decode(host, &a->host);
}

static rc_t parse(const char *url, struct redis_address *a)
{
    struct str rest = str_of(url + strlen("redis://")), login = {0}, place = {0};
    int64_t db = 0;
    rc_t rc = cut(&rest, '@', true, &login) ? parse_login(login, a) : OK;
    bool has_db = cut(&rest, '/', false, &place);
    if (!rc && has_db && rest.n)
        rc = num_i64_in(rest, 0, 65535, &db);
    a->db = (int)db;
    return rc ? rc : parse_place(has_db ? place : rest, a);
}

rc_t redis_address_parse(const char *url, struct redis_address *ret, struct err *e)
{
    if (strncmp(url, "rediss://", 9) == 0)
        return err_set(e, E_INVALID, "it asks for TLS, which this hiredis cannot do: use a tunnel or redis://");
    struct redis_address a = {0};
    if (strncmp(url, "redis://", 8) != 0 || parse(url, &a)) {
        redis_address_done(&a);
        return err_set(e, E_INVALID, "it is not redis://[user:password@]host:port[/db]");
    }
    *ret = a;
    return OK;
}

/* --- the breaker --- */
bool breaker_allows(const struct redis_breaker *b)
{
    return b->backoff_us == 0 || clock_mono_us() >= b->next_us;
}

void breaker_failed(struct redis_breaker *b)
{
    int64_t next = b->backoff_us * 2;
    b->backoff_us = next < BACKOFF_MIN_US ? BACKOFF_MIN_US : next > BACKOFF_MAX_US ? BACKOFF_MAX_US : next;
    b->next_us = clock_mono_us() + b->backoff_us;
}
