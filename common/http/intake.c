/* What libmicrohttpd calls: connections come and go, a head is judged, a body is taken, a handler runs, an answer is queued. */
#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http/request.h"

#define KEEP_MEMORY ((size_t)65536) /* larger buffers are not kept for the next request */
#define DRAIN_FACTOR 8              /* so many times body_max is read off before a 413; more is cut */

/* libmicrohttpd before 1.0 takes a NUL for the end of a value and a lone LF for the end of a line, and hands out C strings
 * that it has terminated in the buffer of the head. Both show there: CR LF has become two NULs behind a whole value, and
 * target and version are one byte apart. Later versions refuse such heads themselves and lay them out in another way. */
#define CUT_HEADS (MHD_VERSION < 0x00097700)

/* ---- connections ---- */

static struct connection *connection_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

static void connection_open(struct http_server *s, struct MHD_Connection *mhd, void **context)
{
    struct connection *c = mem_alloc(sizeof *c);
    c->server = s;
    c->mhd = mhd;
    c->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    c->request.connection = c;
    atomic_store(&c->since_us, clock_mono_us());
    *context = c;
    (void)pthread_mutex_lock(&s->lock); /* a plain mutex fails only by misuse; so below */
    c->next = s->connections;
    if (c->next)
        c->next->prev = c;
    s->connections = c;
    counters_connections(++s->connection_count);
    if (c->next == NULL)
        (void)pthread_cond_broadcast(&s->changed); /* the watchdog sleeps while there are none */
    (void)pthread_mutex_unlock(&s->lock);
}

/* A request is over, however it ended. The library does not say so of every one whose head it could not take: then the end of
 * the connection says it. */
static void count_out(struct connection *c)
{
    struct http_server *s = c->server;
    if (!c->counted)
        return;
    bool accepted = c->accepted;
    c->counted = c->accepted = false;
    if (c->request.suspended)
        atomic_fetch_sub(&s->suspended, 1);
    bool last = accepted && atomic_fetch_sub(&s->accepted, 1) == 1;
    size_t was = atomic_fetch_sub(&s->busy, 1);
    counters_busy(was - 1);
    if ((was == 1 || last) && atomic_load(&s->quiesced)) {
        (void)pthread_mutex_lock(&s->lock);
        (void)pthread_cond_broadcast(&s->changed); /* http_server_stop waits for it */
        (void)pthread_mutex_unlock(&s->lock);
    }
}

/* Called before the socket is closed: the watchdog never shuts down a descriptor that is somebody else's by now. */
static void connection_close(struct http_server *s, struct connection *c)
{
    count_out(c);
    (void)pthread_mutex_lock(&s->lock);
    if (c->prev)
        c->prev->next = c->next;
    else
        s->connections = c->next;
    if (c->next)
        c->next->prev = c->prev;
    counters_connections(--s->connection_count);
    (void)pthread_mutex_unlock(&s->lock);
    arena_done(&c->request.arena);
    buf_done(&c->request.body);
    buf_done(&c->request.out);
    mem_free(c);
}

void intake_connection(void *cls, struct MHD_Connection *mhd, void **context, enum MHD_ConnectionNotificationCode what)
{
    if (what == MHD_CONNECTION_NOTIFY_STARTED)
        connection_open(cls, mhd, context);
    else if (*context)
        connection_close(cls, *context);
}

static void enter(struct connection *c, enum phase phase)
{
    atomic_store(&c->since_us, clock_mono_us());
    atomic_store(&c->phase, (int)phase);
}

/* ---- one request ---- */

/* The query is ours to read, from r->raw. The library would make a record of each of its parameters, and when its memory is used
 * up go on with a request that it has given up: it is shown none. Later versions end such a request in order. */
static void hide_query(const char *target)
{
    char *query = CUT_HEADS && target ? strchr(target, '?') : NULL;
    if (query)
        query[1] = '\0';
}

/* The request line is complete. since_us stays: the deadline counts from the first byte. */
void *intake_request_line(void *cls, const char *target, struct MHD_Connection *mhd)
{
    struct http_server *s = cls;
    struct connection *c = connection_of(mhd);
    if (c == NULL)
        return NULL;
    struct http_request *r = &c->request;
    size_t n = target ? strlen(target) : 0;
    r->line = target;
    r->raw = (struct str){arena_dup(&r->arena, target, n), n};
    hide_query(target);
    atomic_store(&c->phase, (int)RECEIVING);
    if (!c->counted)
        counters_busy(atomic_fetch_add(&s->busy, 1) + 1);
    c->counted = true;
    return r;
}

static void trim(struct buf *b)
{
    if (b->cap > KEEP_MEMORY)
        buf_done(b);
    else
        buf_clear(b);
}

void intake_completed(void *cls, struct MHD_Connection *mhd, void **context, enum MHD_RequestTerminationCode why)
{
    struct http_request *r = *context;
    (void)cls;
    (void)mhd;
    (void)why;
    if (r == NULL)
        return;
    *context = NULL;
    struct connection *c = r->connection;
    struct http_request next = {.connection = c, .body = r->body, .out = r->out, .arena = r->arena};
    count_out(c);
    if (next.arena.total > KEEP_MEMORY)
        arena_done(&next.arena);
    else
        arena_reset(&next.arena);
    trim(&next.body);
    trim(&next.out);
    *r = next;
    atomic_fetch_add(&c->generation, 1);
    enter(c, WAITING);
}

static bool is_whole(struct http_request *r, struct str name, struct str value)
{
    uintptr_t from = (uintptr_t)r->line, after_name = (uintptr_t)name.p + name.n, at = (uintptr_t)value.p;
    if (!CUT_HEADS || value.p == NULL || after_name < from || after_name - from > POOL_MEMORY)
        return true;
    if (at <= after_name || at - from + value.n + 4 > POOL_MEMORY)
        return false; /* not on its name's line: put together from folded ones */
    for (const char *c = name.p + name.n + 1; c < value.p; c++)
        if (*c != ' ' && *c != '\t')
            return false;
    r->last = value.p + value.n;
    return value.p[value.n + 1] == '\0';
}

/* Behind the last value the empty line has become two more. */
static bool is_whole_head(const struct http_request *r)
{
    return r->last == NULL || (r->last[2] == '\0' && r->last[3] == '\0');
}

static bool is_whole_line(const struct http_request *r, const char *version)
{
    uintptr_t from = (uintptr_t)r->line, at = (uintptr_t)version;
    return !CUT_HEADS || r->line == NULL || at < from || at - from > POOL_MEMORY || at - from == r->raw.n + 1;
}

static enum MHD_Result on_header(void *cls, enum MHD_ValueKind kind, const char *name, size_t name_n, const char *value,
                                 size_t value_n)
{
    struct http_request *r = cls;
    (void)kind;
    struct str n = {name, name_n}, v = {value, value ? value_n : 0};
    guard_header(&r->guard, n, v);
    if (!is_whole(r, n, v))
        guard_fault(&r->guard, "a header line is folded, has a NUL byte or a line end that is not CR LF");
    return MHD_YES;
}

/* An answer without a handler. With a body on its way the connection ends: nothing may be taken for a next request. */
static void refuse(struct http_request *r, enum refusal why, int status, const char *words)
{
    counters_refuse(why);
    if (status == 400 || guard_has_body(&r->guard))
        r->close = true;
    http_problem(r, &(struct http_problem){.status = status, .detail = words});
}

/* For people, where there are pages; the words are ours alone. */
static bool refuse_as_page(struct http_request *r)
{
    static const char body[] =
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"/><title>404 Not Found</title></head>"
        "<body><h1>404</h1><p>There is nothing at this path.</p><p><a href=\"/\">Start</a></p></body></html>\n";
    struct uri start = {0};
    const char *words;
    bool path;
    struct str accept = http_header(r, "Accept");
    if (!memmem(accept.p, accept.n, "text/html", 9) || uri_parse(STR("/"), &r->arena, &start, &words) != OK)
        return false;
    const struct route *page = router_match(&r->connection->server->router, STR("GET"), &start, &path);
    if (!page || !(page->row->flags & HTTP_PAGE))
        return false;
    counters_refuse(REFUSED_NOT_FOUND);
    r->close = guard_has_body(&r->guard);
    http_answer(r, 404, HTTP_HTML, str_of(body));
    return true;
}

static void refuse_method(struct http_request *r)
{
    const char *allow = router_allow(&r->connection->server->router, &r->uri, &r->arena);
    http_add_header(r, "Allow", allow);
    if (str_eqz(r->method, "OPTIONS")) {
        r->close = guard_has_body(&r->guard);
        http_answer_empty(r, 204);
    } else {
        refuse(r, REFUSED_METHOD, 405, arena_printf(&r->arena, "this path takes %s", allow));
    }
}

static void refuse_draining(struct http_request *r)
{
    counters_refuse(REFUSED_DRAINING);
    r->close = true;
    http_problem(r, &(struct http_problem){
                        .status = 503, .code = "draining", .detail = "this instance is stopping", .retry_after_s = 1});
}

/* 8388608 → "8 MiB" */
static void refuse_length(struct http_request *r)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB"};
    int64_t max = r->connection->server->options->body_max;
    size_t unit = 0;
    for (; max % 1024 == 0 && unit < 3; unit++)
        max /= 1024;
    refuse(r, REFUSED_TOO_LONG, 413,
           arena_printf(
               &r->arena, "the body is longer than HTTP_BODY_MAX (%lld %s): raise it%s", (long long)max, units[unit],
               r->route->row->flags & HTTP_ROWS ? ", send fewer rows, or feature_stats" : ", or send less at once"));
}

static void refused_by_gate(struct http_request *r)
{
    counters_refuse(REFUSED_ACCESS);
    r->close = r->close || guard_has_body(&r->guard);
}

/* Who may not is told before the body is read. False: an answer is there. */
static bool pass_gate(struct http_request *r)
{
    const struct http_gate *gate = r->route->gate;
    enum http_verdict v = gate ? gate->judge(r, false, gate->arg) : HTTP_ADMITTED;
    r->later = v == HTTP_LATER;
    if (v == HTTP_REFUSED)
        refused_by_gate(r);
    return v != HTTP_REFUSED;
}

/* Judges the head. False: an answer is there. */
static bool take_head(struct http_request *r, const char *method, const char *version)
{
    const struct http_server *s = r->connection->server;
    const char *words = NULL;
    bool path;
    r->received_us = clock_now_us();
    r->received_mono_us = clock_mono_us();
    r->method = str_of(method); /* libmicrohttpd's, until the request has ended */
    guard_start(&r->guard, r->raw.n);
    if (!is_whole_line(r, version))
        guard_fault(&r->guard, "the request line has a NUL byte or more than two blanks");
    (void)MHD_get_connection_values_n(r->connection->mhd, MHD_HEADER_KIND, on_header, r); /* the count is not needed */
    if (!is_whole_head(r))
        guard_fault(&r->guard, "the head ends with a lone LF");
    guard_end(&r->guard, str_of(version));
    if (r->guard.words) {
        r->close = true;
        refuse(r, REFUSED_HEAD, r->guard.status, r->guard.words);
        return false;
    }
    if (uri_parse(r->raw, &r->arena, &r->uri, &words) != OK) {
        refuse(r, REFUSED_TARGET, 400, words);
        return false;
    }
    r->route = router_match(&s->router, r->method, &r->uri, &path);
    if (r->route == NULL) {
        if (path)
            refuse_method(r);
        else if (!refuse_as_page(r))
            refuse(r, REFUSED_NOT_FOUND, 404, "there is nothing at this path");
        return false;
    }
    if (atomic_load(&s->draining) && r->route->scope != HTTP_OPEN) {
        refuse_draining(r);
        return false;
    }
    if (!pass_gate(r))
        return false;
    if (r->guard.length > DRAIN_FACTOR * s->options->body_max) {
        refuse_length(r);
        return false;
    }
    return true;
}

static void accept_request(struct connection *c)
{
    if (!c->accepted)
        atomic_fetch_add(&c->server->accepted, 1);
    c->accepted = true;
}

static void unsuspend(struct http_request *r)
{
    if (!r->suspended)
        return;
    r->suspended = false;
    atomic_fetch_sub(&r->connection->server->suspended, 1);
}

static enum MHD_Result queue(struct http_request *r)
{
    struct connection *c = r->connection;
    accept_request(c);
    unsuspend(r);
    enter(c, SENDING);
    counters_answered(r);
    struct MHD_Response *response = answer_response(r);
    enum MHD_Result ok = MHD_queue_response(c->mhd, (unsigned)r->status, response);
    MHD_destroy_response(response); /* the connection holds it until it is sent */
    return ok;
}

static enum MHD_Result take_body(struct http_request *r, const char *data, size_t *n)
{
    size_t max = (size_t)r->connection->server->options->body_max;
    r->seen += *n;
    if (r->seen > DRAIN_FACTOR * max)
        return MHD_NO; /* cut: it will not stop */
    if (r->seen <= max) {
        if (r->body.len == 0 && r->guard.length > 0)
            buf_reserve(&r->body, (size_t)r->guard.length < max ? (size_t)r->guard.length : max);
        buf_add(&r->body, data, *n);
    }
    *n = 0;
    return MHD_YES;
}

/* It knows now, at the second time the request comes here. False: it was refused. */
static bool pass_gate_at_last(struct http_request *r)
{
    const struct http_gate *gate = r->route->gate;
    unsuspend(r);
    r->later = false;
    enum http_verdict v = gate->judge(r, true, gate->arg);
    assert(v != HTTP_LATER);
    if (v == HTTP_REFUSED)
        refused_by_gate(r);
    return v == HTTP_ADMITTED;
}

static enum MHD_Result handle(struct http_request *r)
{
    struct http_server *s = r->connection->server;
    accept_request(r->connection);
    atomic_store(&r->connection->phase, (int)HANDLING);
    if (r->later && !r->suspended) {
        r->route->gate->park(r, r->route->gate->arg);
        return MHD_YES; /* it may have been resumed already */
    }
    if (r->later && !pass_gate_at_last(r))
        return queue(r);
    if (r->seen > (size_t)s->options->body_max)
        refuse_length(r);
    else if (r->route->row->flags & HTTP_WAITS)
        workers_hand(r);
    else
        r->route->row->handler(r, r->route->arg);
    if (r->suspended)
        return MHD_YES;
    assert(r->status != 0); /* the handler neither answered nor suspended */
    return queue(r);
}

enum MHD_Result intake_access(void *cls, struct MHD_Connection *mhd, const char *url, const char *method,
                              const char *version, const char *data, size_t *data_n, void **context)
{
    struct http_request *r = *context;
    (void)cls;
    (void)mhd;
    (void)url; /* decoded by other rules than ours */
    if (r == NULL)
        return MHD_NO;
    if (!r->headed) {
        r->headed = true;
        return take_head(r, method, version) ? MHD_YES : queue(r);
    }
    if (*data_n > 0)
        return take_body(r, data, data_n);
    return atomic_load_explicit(&r->ready, memory_order_acquire) ? queue(r) : handle(r);
}
