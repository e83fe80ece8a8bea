/* Owns what surrounds every handler: the check of what the request says, the connection it borrows, the status its code becomes, the
 * headers of a page. */
#include "api.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>
#include "base/clock.h"
#include "base/map.h"
#include "log/log.h"
#include "page.h"

#define RETRY_AFTER_S 2

struct answer {
    rc_t rc;
    int status;
    const char *code, *title;
    const char *words; /* instead of those of a server, which are for the log */
};
static const struct answer answers[] = {
    {E_INVALID, 400, "invalid", "That request is not right", "the database does not take a value of this request"},
    {E_NOTFOUND, 404, "not_found", "Nothing is here", "it is not there"},
    {E_CONFLICT, 409, "conflict", "Somebody was faster", "somebody else changed or deleted the same: look again"},
    {E_LIMIT, 400, "limit", "That is too much at once", "that is too much at once"},
    {E_AGAIN, 503, "unavailable", "The database cannot be reached", "the database does not answer: see /readyz"},
    {E_UNKNOWN, 503, "unavailable", "The database went away during the request", "the database went away during the request"},
    {E_FATAL, 500, "internal", "Something is wrong in here", "an internal error"},
};

static const struct answer *answer_of(rc_t rc)
{
    for (size_t i = 0; i + 1 < sizeof answers / sizeof *answers; i++)
        if (answers[i].rc == rc)
            return &answers[i];
    return &answers[sizeof answers / sizeof *answers - 1];
}

static void page_headers(struct http_request *r)
{
    http_add_header(r, "Content-Security-Policy",
                    "default-src 'self'; script-src 'self'; object-src 'none'; "
                    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'");
    http_add_header(r, "Referrer-Policy", "no-referrer");
    http_add_header(r, "X-Frame-Options", "DENY");
}

/* What the log has and the answer has not; both have the id. */
static const char *told_by_log(struct call *c, const struct api_route *route, const struct answer *a, const struct err *e)
{
    uint64_t random = 0;
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) != sizeof random)
        random = (uint64_t)clock_now_us();
    const char *id = arena_printf(c->arena, "%016" PRIx64, random);
    if (a->status == 500)
        log_error("request_failed", LF_STR("id", id), LF_STR("method", route->method), LF_STR("path", route->pattern),
                  LF_ERR(e));
    else
        log_warn("request_refused", LF_STR("id", id), LF_STR("method", route->method), LF_STR("path", route->pattern),
                 LF_ERR(e));
    http_add_header(c->r, "X-Request-Id", id);
    return arena_printf(c->arena, "%s (id %s in the log of the api service)", a->words, id);
}

static void fail(struct call *c, const struct api_route *route, rc_t rc, const struct err *e)
{
    const struct answer *a = answer_of(rc);
    const char *text = e->text;
    if (a->status == 500 || err_quotes(e))
        text = told_by_log(c, route, a, e);
    if (route->flags & API_HTML) {
        if (a->status == 503)
            http_add_header(c->r, "Retry-After", "2");
        buf_clear(&c->out);
        page_error(&c->out, a->status, a->title, text);
        http_answer_take(c->r, a->status, HTTP_HTML, &c->out);
        return;
    }
    http_problem(c->r, &(struct http_problem){.status = a->status,
                                              .code = a->code,
                                              .detail = text,
                                              .field = rc == E_INVALID || rc == E_LIMIT ? c->field : NULL,
                                              .retry_after_s = a->status == 503 ? RETRY_AFTER_S : 0});
}

/* Whether a list as If-None-Match has it names the tag; a weak one is as good here. */
static bool names_tag(struct str list, const char *tag)
{
    return str_eqz(list, "*") || (list.n && memmem(list.p, list.n, tag, strlen(tag)) != NULL);
}

/* By what is answered, not by what it was made of: nobody has to know when that changes. */
static bool is_known(struct call *c)
{
    uint64_t hash[2];
    hash128(c->out.data, c->out.len, hash);
    const char *tag = arena_printf(c->arena, "\"%016" PRIx64 "%016" PRIx64 "\"", hash[0], hash[1]);
    http_add_header(c->r, "ETag", tag);
    return names_tag(http_header(c->r, "If-None-Match"), tag);
}

static void answer(struct call *c)
{
    bool tagged = (c->route->flags & API_ETAG) && c->status == 200;
    if (tagged && is_known(c))
        http_answer_empty(c->r, 304);
    else if (c->out.len)
        http_answer_take(c->r, c->status, c->type, &c->out);
    else
        http_answer_empty(c->r, c->status);
}

static void dispatch(struct http_request *r, void *arg)
{
    const struct api *a = arg;
    size_t at = (size_t)(http_route(r) - a->rows);
    assert(at < api_routes_n);
    const struct api_route *route = &api_routes[at];
    struct err e = {0};
    struct call c = {.api = a,
                     .route = route,
                     .r = r,
                     .arena = http_arena(r),
                     .status = 200,
                     .type = route->flags & API_HTML ? HTTP_HTML : HTTP_JSON};
    if (route->flags & API_HTML)
        page_headers(r);
    rc_t rc = params_check(&c, &e);
    if (rc == OK && (route->flags & API_DB))
        rc = pool_take(a->pool, &c.item, &e);
    if (rc == OK) {
        c.db = c.item ? c.item->db : NULL;
        c.cached = route->flags & API_CACHED;
        rc = route->handle(&c, &e);
    }
    if (rc == OK)
        call_audit_after(&c);
    if (c.changed) /* committed, or perhaps so */
        records_changed(c.item->records, c.db, c.item->cache, c.changed, c.changed_uid);
    if (c.item)
        pool_give(a->pool, c.item);
    if (rc != OK)
        fail(&c, route, rc, &e);
    else
        answer(&c);
    buf_done(&c.out);
}

void api_rows(struct api *a)
{
    assert(api_routes_n <= sizeof a->rows / sizeof *a->rows);
    for (size_t i = 0; i < api_routes_n; i++) {
        const struct api_route *s = &api_routes[i];
        a->rows[i] = (struct http_route){s->method,
                                         s->pattern,
                                         s->scope,
                                         (s->flags & API_HTML   ? HTTP_PAGE
                                          : s->flags & API_OURS ? 0u
                                                                : HTTP_DETAIL) |
                                             (s->flags & API_ROWS ? HTTP_ROWS : 0u) | (s->flags & API_DB ? HTTP_WAITS : 0u) |
                                             (s->flags & API_SOME ? HTTP_SOME_PROJECTS : 0u),
                                         dispatch,
                                         s->summary};
    }
}
