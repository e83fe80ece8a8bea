/* The server's life and libmicrohttpd's callbacks. Answers are made in answer.c, deadlines kept in deadline.c. */
#include "http/server.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http/request.h"
#include "log/log.h"

#define HEAD_MEMORY 16384           /* a connection's: request line and headers must fit */
#define KEEP_MEMORY ((size_t)65536) /* larger buffers are not kept for the next request */
#define DRAIN_FACTOR 8              /* so many times body_max is read off before a 413; more is cut */

const struct config_key http_keys[] = {
    {.env = "HTTP_ADDR",
     .def = "0.0.0.0",
     .type = CONFIG_STR,
     .flags = CONFIG_REQUIRED,
     .offset = offsetof(struct http_options, addr),
     .help = "Address to listen on, IPv4 or IPv6; :: is both."},
    {.env = "HTTP_PORT",
     .def = "8080",
     .type = CONFIG_I64,
     .max = 65535,
     .offset = offsetof(struct http_options, port),
     .help = "Port to listen on; 0 takes a free one."},
    {.env = "HTTP_PORT_FILE",
     .type = CONFIG_STR,
     .offset = offsetof(struct http_options, port_file),
     .help = "File that gets the port once requests are served."},
    {.env = "HTTP_THREADS",
     .def = "1",
     .type = CONFIG_I64,
     .min = 1,
     .max = 64,
     .offset = offsetof(struct http_options, threads),
     .help = "Threads that serve connections."},
    {.env = "HTTP_CONNECTIONS",
     .def = "1000",
     .type = CONFIG_I64,
     .min = 1,
     .max = 100000,
     .offset = offsetof(struct http_options, connections),
     .help = "Open connections at most."},
    {.env = "HTTP_CONNECTIONS_PER_IP",
     .def = "500",
     .type = CONFIG_I64,
     .min = 1,
     .max = 100000,
     .offset = offsetof(struct http_options, connections_per_ip),
     .help = "Open connections of one address at most."},
    {.env = "HTTP_BODY_MAX",
     .def = "1MiB",
     .type = CONFIG_BYTES,
     .min = 1024,
     .max = 1 << 30,
     .offset = offsetof(struct http_options, body_max),
     .help = "Longest body taken; longer ones are answered 413."},
    {.env = "HTTP_DEADLINE",
     .def = "10s",
     .type = CONFIG_DURATION,
     .min = 100 * USEC_PER_MSEC,
     .max = 600 * USEC_PER_SEC,
     .offset = offsetof(struct http_options, deadline_us),
     .help = "Time for a request from its first to its last byte."},
    {.env = "HTTP_IDLE",
     .def = "30s",
     .type = CONFIG_DURATION,
     .min = USEC_PER_SEC,
     .max = 3600 * USEC_PER_SEC,
     .offset = offsetof(struct http_options, idle_us),
     .help = "A connection that is silent that long is closed."},
    {.env = "HTTP_SEND",
     .def = "60s",
     .type = CONFIG_DURATION,
     .min = USEC_PER_SEC,
     .max = 3600 * USEC_PER_SEC,
     .offset = offsetof(struct http_options, send_us),
     .help = "Time for a client to take its answer."},
    {.env = "HTTP_KEEPALIVE",
     .def = "true",
     .type = CONFIG_BOOL,
     .offset = offsetof(struct http_options, keepalive),
     .help = "More than one request a connection; false behind a proxy that is shared with others."},
};
const size_t http_keys_n = sizeof http_keys / sizeof *http_keys;

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

/* Called before the socket is closed: the watchdog never shuts down a descriptor that is somebody else's by now. */
static void connection_close(struct http_server *s, struct connection *c)
{
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

static void on_connection(void *cls, struct MHD_Connection *mhd, void **context, enum MHD_ConnectionNotificationCode what)
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

/* The request line is complete. since_us stays: the deadline counts from the first byte. */
static void *on_request_line(void *cls, const char *target, struct MHD_Connection *mhd)
{
    struct http_server *s = cls;
    struct connection *c = connection_of(mhd);
    if (c == NULL)
        return NULL;
    struct http_request *r = &c->request;
    size_t n = target ? strlen(target) : 0;
    r->line = target;
    r->raw = (struct str){arena_dup(&r->arena, target, n), n};
    atomic_store(&c->phase, (int)RECEIVING);
    atomic_fetch_add(&s->busy, 1);
    return r;
}

static void trim(struct buf *b)
{
    if (b->cap > KEEP_MEMORY)
        buf_done(b);
    else
        buf_clear(b);
}

static void on_completed(void *cls, struct MHD_Connection *mhd, void **context, enum MHD_RequestTerminationCode why)
{
    struct http_server *s = cls;
    struct http_request *r = *context;
    (void)mhd;
    (void)why;
    if (r == NULL)
        return;
    *context = NULL;
    struct connection *c = r->connection;
    struct http_request next = {.connection = c, .body = r->body, .out = r->out, .arena = r->arena};
    if (r->response) /* answered, but the client was gone */
        MHD_destroy_response(r->response);
    if (r->suspended)
        atomic_fetch_sub(&s->suspended, 1);
    if (next.arena.total > KEEP_MEMORY)
        arena_done(&next.arena);
    else
        arena_reset(&next.arena);
    trim(&next.body);
    trim(&next.out);
    *r = next;
    atomic_fetch_add(&c->generation, 1);
    enter(c, WAITING);
    if (atomic_fetch_sub(&s->busy, 1) == 1 && atomic_load(&s->quiesced)) {
        (void)pthread_mutex_lock(&s->lock);
        (void)pthread_cond_broadcast(&s->changed); /* http_server_stop waits for it */
        (void)pthread_mutex_unlock(&s->lock);
    }
}

/* libmicrohttpd before 1.0 takes a NUL for the end of a value and a lone LF for the end of a line, and hands out C strings
 * that it has terminated in the buffer of the head. Both show there: CR LF has become two NULs behind a whole value, and
 * target and version are one byte apart. Later versions refuse such heads themselves and lay them out in another way. */
#define CUT_HEADS (MHD_VERSION < 0x00097700)

static bool is_whole(struct http_request *r, struct str name, struct str value)
{
    uintptr_t from = (uintptr_t)r->line, after_name = (uintptr_t)name.p + name.n, at = (uintptr_t)value.p;
    if (!CUT_HEADS || value.p == NULL || after_name < from || after_name - from > HEAD_MEMORY)
        return true;
    if (at <= after_name || at - from + value.n + 4 > HEAD_MEMORY)
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
    return !CUT_HEADS || r->line == NULL || at < from || at - from > HEAD_MEMORY || at - from == r->raw.n + 1;
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

/* Judges the head. False: an answer is there. */
static bool take_head(struct http_request *r, const char *method, const char *version)
{
    const struct http_server *s = r->connection->server;
    const char *words = NULL;
    bool path;
    r->received_us = clock_now_us();
    r->received_mono_us = clock_mono_us();
    r->method = str_of(method); /* libmicrohttpd's, until the request has ended */
    guard_start(&r->guard);
    if (!is_whole_line(r, version))
        guard_fault(&r->guard, "the request line has a NUL byte or more than two blanks");
    (void)MHD_get_connection_values_n(r->connection->mhd, MHD_HEADER_KIND, on_header, r); /* the count is not needed */
    if (!is_whole_head(r))
        guard_fault(&r->guard, "the head ends with a lone LF");
    guard_end(&r->guard, str_of(version));
    if (r->guard.words) {
        r->close = true;
        refuse(r, REFUSED_HEAD, 400, r->guard.words);
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
        else
            refuse(r, REFUSED_NOT_FOUND, 404, "there is nothing at this path");
        return false;
    }
    if (atomic_load(&s->draining) && strcmp(r->route->row->scope, "open") != 0) {
        refuse_draining(r);
        return false;
    }
    if (r->guard.length > DRAIN_FACTOR * s->options->body_max) {
        refuse(r, REFUSED_TOO_LONG, 413, "the body is too long");
        return false;
    }
    return true;
}

static enum MHD_Result queue(struct http_request *r)
{
    struct connection *c = r->connection;
    if (r->suspended) {
        r->suspended = false;
        atomic_fetch_sub(&c->server->suspended, 1);
    }
    enter(c, SENDING);
    counters_answered(r);
    enum MHD_Result ok = MHD_queue_response(c->mhd, (unsigned)r->status, r->response);
    MHD_destroy_response(r->response);
    r->response = NULL;
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

static enum MHD_Result handle(struct http_request *r)
{
    struct http_server *s = r->connection->server;
    atomic_store(&r->connection->phase, (int)HANDLING);
    if (r->seen > (size_t)s->options->body_max)
        refuse(r, REFUSED_TOO_LONG, 413, "the body is too long");
    else
        r->route->row->handler(r, r->route->arg);
    if (r->suspended)
        return MHD_YES;
    assert(r->response != NULL); /* the handler neither answered nor suspended */
    return queue(r);
}

static enum MHD_Result on_access(void *cls, struct MHD_Connection *mhd, const char *url, const char *method,
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

/* ---- life ---- */

PRINTF(2, 0) static void on_words(void *cls, const char *fmt, va_list args)
{
    char words[256];
    (void)cls;
    if (!log_enabled(LOG_DEBUG))
        return;
    (void)vsnprintf(words, sizeof words, fmt, args); /* cut to fit is fine */
    log_debug("http_library", LF_STR("words", (const char *)words));
}

static rc_t listen_on(struct http_server *s, struct err *e)
{
    const struct http_options *o = s->options;
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE, .ai_socktype = SOCK_STREAM}, *ai;
    char port[8];
    (void)snprintf(port, sizeof port, "%u", (unsigned)o->port & 0xFFFF);
    int rc = getaddrinfo(o->addr, port, &hints, &ai);
    if (rc != 0)
        return err_set(e, E_INVALID, "HTTP_ADDR: \"%s\": %s", o->addr, gai_strerror(rc));
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1, off = 0;
    struct sockaddr_storage bound;
    socklen_t n = sizeof bound;
    bool ok = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0;
    if (ok && ai->ai_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off); /* then it is IPv6 alone */
    ok = ok && bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, 511) == 0 &&
         getsockname(fd, (struct sockaddr *)&bound, &n) == 0;
    int why = errno;
    freeaddrinfo(ai);
    if (!ok) {
        if (fd >= 0)
            (void)close(fd); /* nothing was sent */
        return err_set(e, E_FATAL, "listening on %s port %lld: %s", o->addr, (long long)o->port, strerror(why));
    }
    /* the port is at the same place in both families */
    s->port = ntohs(((const struct sockaddr_in *)(const void *)&bound)->sin_port);
    s->listen_fd = fd;
    return OK;
}

static rc_t start_daemon(struct http_server *s, struct err *e)
{
    const struct http_options *o = s->options;
    struct MHD_OptionItem pool[] = {{MHD_OPTION_THREAD_POOL_SIZE, (intptr_t)o->threads, NULL}, {MHD_OPTION_END, 0, NULL}};
    if (o->threads < 2)
        pool[0].option = MHD_OPTION_END;
    s->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_access, s,
        MHD_OPTION_EXTERNAL_LOGGER, on_words, NULL, MHD_OPTION_LISTEN_SOCKET, s->listen_fd,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, s, MHD_OPTION_NOTIFY_COMPLETED, on_completed, s,
        MHD_OPTION_URI_LOG_CALLBACK, on_request_line, s, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEAD_MEMORY,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)o->connections, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        (unsigned)o->connections_per_ip, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)(o->idle_us / USEC_PER_SEC),
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_ARRAY, pool, MHD_OPTION_END);
    return s->daemon ? OK : err_set(e, E_FATAL, "the HTTP server does not start: %s", strerror(errno));
}

static rc_t start_watchdog(struct http_server *s, struct err *e)
{
    int rc = pthread_create(&s->watchdog, NULL, watchdog_run, s);
    s->watching = rc == 0;
    return s->watching ? OK : err_set(e, E_FATAL, "thread: %s", strerror(rc));
}

static rc_t write_port_file(const struct http_server *s, struct err *e)
{
    const char *path = s->options->port_file;
    if (path == NULL || *path == '\0')
        return OK;
    struct buf temporary = {0};
    buf_addf(&temporary, "%s.tmp", path);
    FILE *f = fopen(temporary.data, "we");
    bool ok = f && fprintf(f, "%d\n", s->port) > 0;
    if (f)
        ok = fclose(f) == 0 && ok;
    ok = ok && rename(temporary.data, path) == 0; /* a reader sees all of it or nothing */
    buf_done(&temporary);
    return ok ? OK : err_set(e, E_FATAL, "HTTP_PORT_FILE: %s: %s", path, strerror(errno));
}

static void free_server(struct http_server *s)
{
    if (s->watching) {
        (void)pthread_mutex_lock(&s->lock);
        s->stopping = true;
        (void)pthread_cond_broadcast(&s->changed);
        (void)pthread_mutex_unlock(&s->lock);
        (void)pthread_join(s->watchdog, NULL);
    }
    if (s->daemon)
        MHD_stop_daemon(s->daemon); /* closes the listening socket unless quiesced */
    else if (s->listen_fd >= 0)
        (void)close(s->listen_fd); /* nothing was sent */
    router_done(&s->router);
    (void)pthread_cond_destroy(&s->changed);
    (void)pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

rc_t http_server_start(struct http_server **ret, const struct http_options *o, const struct http_routes *tables,
                       size_t table_count, struct err *e)
{
    struct http_server *s = mem_alloc(sizeof *s);
    pthread_condattr_t monotonic;
    s->options = o;
    s->listen_fd = -1;
    (void)pthread_mutex_init(&s->lock, NULL); /* these four cannot fail on Linux */
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&s->changed, &monotonic);
    counters_register();
    router_init(&s->router, tables, table_count);
    for (size_t i = 0; i < s->router.count; i++)
        s->router.routes[i].metric = counters_route(s->router.routes[i].row);
    rc_t rc = listen_on(s, e);
    if (rc == OK)
        rc = start_daemon(s, e);
    if (rc == OK)
        rc = start_watchdog(s, e);
    if (rc == OK)
        rc = write_port_file(s, e);
    if (rc != OK) {
        free_server(s);
        return rc;
    }
    *ret = s;
    return OK;
}

int http_server_port(const struct http_server *s)
{
    return s->port;
}

void http_server_drain(struct http_server *s)
{
    atomic_store(&s->draining, true);
}

void http_server_quiesce(struct http_server *s)
{
    if (atomic_exchange(&s->quiesced, true))
        return;
    MHD_socket fd = MHD_quiesce_daemon(s->daemon);
    if (fd != MHD_INVALID_SOCKET)
        (void)close(fd); /* nothing was sent on it */
}

size_t http_server_busy(const struct http_server *s)
{
    return atomic_load(&s->busy);
}

rc_t http_server_stop(struct http_server *s, int64_t wait_us)
{
    if (s == NULL)
        return OK;
    http_server_quiesce(s);
    int64_t until = clock_mono_us() + wait_us;
    struct timespec ts = {.tv_sec = until / USEC_PER_SEC, .tv_nsec = until % USEC_PER_SEC * 1000};
    int rc = 0;
    (void)pthread_mutex_lock(&s->lock);
    while (atomic_load(&s->busy) > 0 && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&s->changed, &s->lock, &ts);
    (void)pthread_mutex_unlock(&s->lock);
    if (atomic_load(&s->suspended) > 0)
        return E_AGAIN;
    free_server(s);
    return OK;
}
