/* The server's life. What libmicrohttpd calls is in intake.c, answers are in answer.c, deadlines in deadline.c. */
#include "http/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http/request.h"
#include "http/tls.h"
#include "log/log.h"

const struct config_key http_keys[] = {
    {.env = "HTTP_ADDR",
     .def = "127.0.0.1",
     .type = CONFIG_STR,
     .flags = CONFIG_REQUIRED,
     .offset = offsetof(struct http_options, addr),
     .help = "Address to listen on, IPv4 or IPv6; :: is both. 0.0.0.0 lets other machines in: then ACCESS says who."},
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
    {.env = "HTTP_TLS_CERT",
     .type = CONFIG_STR,
     .offset = offsetof(struct http_options, tls_cert),
     .help =
         "PEM file of the server's certificate and those above it: HTTPS alone is served. Read anew when it changes."},
    {.env = "HTTP_TLS_KEY",
     .type = CONFIG_STR,
     .offset = offsetof(struct http_options, tls_key),
     .help = "PEM file of its key, mode 0440, 0400 or 0600."},
    {.env = "HTTP_THREADS",
     .def = "1",
     .type = CONFIG_I64,
     .min = 1,
     .max = 64,
     .offset = offsetof(struct http_options, threads),
     .help = "Threads that serve connections."},
    {.env = "HTTP_WORKERS",
     .def = "8",
     .type = CONFIG_I64,
     .min = 1,
     .max = HTTP_WORKERS_MAX,
     .offset = offsetof(struct http_options, workers),
     .help = "Threads for requests that may wait for a server, where there are such."},
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
        return err_set(e, E_FATAL, "listening on %s port %lld: %s%s", o->addr, (long long)o->port, strerror(why),
                       why == EADDRINUSE ? ": set HTTP_PORT to a free one" : "");
    }
    /* the port is at the same place in both families */
    s->port = ntohs(((const struct sockaddr_in *)(const void *)&bound)->sin_port);
    s->listen_fd = fd;
    return OK;
}

static rc_t start_daemon(struct http_server *s, struct err *e)
{
    const struct http_options *o = s->options;
    struct MHD_OptionItem more[4];
    size_t n = 0;
    if (o->threads > 1)
        more[n++] = (struct MHD_OptionItem){MHD_OPTION_THREAD_POOL_SIZE, (intptr_t)o->threads, NULL};
    if (s->tls) {
        more[n++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_CERT_CALLBACK, 0, (void *)(uintptr_t)tls_retrieve};
        more[n++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)TLS_PRIORITIES};
    }
    more[n] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    s->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG | (s->tls ? MHD_USE_TLS : 0), 0,
        NULL, NULL, intake_access, s, MHD_OPTION_EXTERNAL_LOGGER, on_words, NULL, MHD_OPTION_LISTEN_SOCKET,
        s->listen_fd, MHD_OPTION_NOTIFY_CONNECTION, intake_connection, s, MHD_OPTION_NOTIFY_COMPLETED, intake_completed,
        s, MHD_OPTION_URI_LOG_CALLBACK, intake_request_line, s, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL_MEMORY,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)o->connections, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        (unsigned)o->connections_per_ip, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)(o->idle_us / USEC_PER_SEC),
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_ARRAY, more, MHD_OPTION_END);
    return s->daemon ? OK : err_set(e, E_FATAL, "the HTTP server does not start: %s", strerror(errno));
}

static rc_t open_tls(struct http_server *s, struct err *e)
{
    const struct http_options *o = s->options;
    bool cert = o->tls_cert && *o->tls_cert, key = o->tls_key && *o->tls_key;
    if (cert != key)
        return err_set(e, E_INVALID, "HTTP_TLS_CERT and HTTP_TLS_KEY: both are wanted, or none");
    return cert ? tls_open(&s->tls, o, e) : OK;
}

const char *http_scheme(const struct http_options *o)
{
    return o->tls_cert && *o->tls_cert ? "https" : "http";
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
    workers_stop(s); /* before the daemon: the last one may still be resuming its connection */
    if (s->daemon)
        MHD_stop_daemon(s->daemon); /* closes the listening socket unless quiesced */
    else if (s->listen_fd >= 0)
        (void)close(s->listen_fd); /* nothing was sent */
    tls_free(s->tls);
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
    rc_t rc = workers_start(s, e);
    if (rc == OK)
        rc = open_tls(s, e);
    if (rc == OK)
        rc = listen_on(s, e);
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
    int64_t never = 0;
    if (!atomic_compare_exchange_strong(&s->quiesced_us, &never, clock_mono_us()))
        return;
    atomic_store(&s->quiesced, true);
    MHD_socket fd = MHD_quiesce_daemon(s->daemon);
    if (fd != MHD_INVALID_SOCKET)
        (void)close(fd); /* nothing was sent on it */
}

size_t http_server_busy(const struct http_server *s)
{
    return atomic_load(&s->busy);
}

/* Those that were accepted have until then; what has not come whole by LAST_US, or hangs in the library, is given up before. */
static void wait_for_requests(struct http_server *s, int64_t until)
{
    int64_t last = atomic_load(&s->quiesced_us) + LAST_US + USEC_PER_SEC / 4;
    (void)pthread_mutex_lock(&s->lock);
    while (atomic_load(&s->busy) > 0) {
        int64_t end = atomic_load(&s->accepted) == 0 && last < until ? last : until;
        struct timespec ts = {.tv_sec = end / USEC_PER_SEC, .tv_nsec = end % USEC_PER_SEC * 1000};
        if (clock_mono_us() >= end)
            break;
        (void)pthread_cond_timedwait(&s->changed, &s->lock, &ts); /* all is looked at again */
    }
    (void)pthread_mutex_unlock(&s->lock);
}

rc_t http_server_stop(struct http_server *s, int64_t wait_us)
{
    if (s == NULL)
        return OK;
    http_server_quiesce(s);
    wait_for_requests(s, clock_mono_us() + wait_us);
    if (atomic_load(&s->suspended) > 0)
        return E_AGAIN;
    free_server(s);
    return OK;
}
