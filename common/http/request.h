/* What server, answer and deadline share. Inside http/ only.
 *
 * A connection belongs to one libmicrohttpd thread and carries one request at a time, whose memory is used again by the next.
 *
 *   WAITING ─head begins─▶ RECEIVING ─body complete─▶ HANDLING ─answer queued─▶ SENDING ─sent─▶ WAITING
 *      └──────── deadline_us ────────┘                no limit here            └ send_us ┘ */
#pragma once
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include "base/buf.h"
#include "base/clock.h"
#include "http/guard.h"
#include "http/route.h"
#include "http/server.h"

enum phase { WAITING, RECEIVING, HANDLING, SENDING };

struct http_header_line {
    struct http_header_line *next;
    const char *name, *value;
};

struct http_request {
    struct connection *connection;
    const char *line; /* the library's own copy of the target, in the buffer that holds the whole head */
    const char *last; /* behind the last value there */
    struct str raw, method;
    struct uri uri;
    struct guard guard;
    const struct route *route;
    bool headed;    /* the head was judged */
    bool drain;     /* an answer is there, the body is only read off */
    bool close;     /* the connection ends with this answer */
    bool suspended; /* written by the handler's thread before it hands over */
    bool later;     /* the gate does not know yet */
    bool called;    /* caller is there */
    struct http_caller caller;
    bool too_long;
    size_t seen; /* body bytes so far */
    struct buf body, out;
    struct arena arena;
    int64_t received_us, received_mono_us;
    struct http_header_line *headers;
    int status; /* 0: not answered */
    const char *type;
    atomic_bool ready;         /* the answer is whole, and may be queued */
    struct http_request *next; /* in the workers' queue, since queued_us */
    int64_t queued_us;
};

struct connection {
    struct http_server *server;
    struct connection *prev, *next;
    struct MHD_Connection *mhd;
    int fd;
    _Atomic int phase;
    _Atomic int64_t since_us;
    _Atomic uint32_t generation; /* counts requests, so that the watchdog sees a new WAITING */
    uint32_t seen_generation;    /* the watchdog's */
    uint64_t base_bytes;         /* the watchdog's: received when this WAITING was first seen */
    bool counted, accepted;      /* in the server's counts of these names (counted: busy) */
    struct http_request request;
};

struct workers {
    pthread_mutex_t lock; /* of the queue */
    pthread_cond_t come;
    struct http_request *first, **end;
    pthread_t threads[HTTP_WORKERS_MAX];
    size_t n;
    bool stopping;
};

struct http_server {
    const struct http_options *options;
    struct router router;
    struct tls *tls; /* NULL: plain */
    struct MHD_Daemon *daemon;
    int listen_fd, port;
    atomic_bool draining, quiesced;
    _Atomic int64_t quiesced_us;
    _Atomic size_t busy, suspended;
    _Atomic size_t accepted; /* of the busy ones: those that came whole, or were answered before */
    pthread_mutex_t lock;    /* of the list of connections, and what the condition is about */
    pthread_cond_t changed;
    struct connection *connections;
    size_t connection_count;
    pthread_t watchdog;
    bool watching, stopping;
    struct workers workers;
};

/* A connection's, of the library. Larger than guard.h lets a head be, so that it is mostly us who answer one that is larger, and
 * that the records which the library makes of headers and cookies fit. */
#define POOL_MEMORY 49152
#define LAST_US USEC_PER_SEC /* for the rest of a request, once the server stops */

/* libmicrohttpd's callbacks; cls is the server. */
void intake_connection(void *cls, struct MHD_Connection *mhd, void **context, enum MHD_ConnectionNotificationCode what);
void *intake_request_line(void *cls, const char *target, struct MHD_Connection *mhd);
void intake_completed(void *cls, struct MHD_Connection *mhd, void **context, enum MHD_RequestTerminationCode why);
enum MHD_Result intake_access(void *cls, struct MHD_Connection *mhd, const char *url, const char *method,
                              const char *version, const char *data, size_t *data_n, void **context);

/* answer.c: what was answered, as the library wants it. On the connection's thread, which frees it too. */
struct MHD_Response *answer_response(const struct http_request *r);

void *watchdog_run(void *server);

/* workers.c */
rc_t workers_start(struct http_server *s, struct err *e) MUST_CHECK; /* the router is there; workers_stop ends it in any case */
void workers_stop(struct http_server *s);                            /* no request is suspended */
void workers_hand(struct http_request *r);                           /* on the connection's thread: suspends it */
void workers_expire(struct http_server *s, int64_t now);             /* those that have waited too long are answered */

/* Counters; rows in counters.c. */
enum refusal {
    REFUSED_HEAD,
    REFUSED_TARGET,
    REFUSED_NOT_FOUND,
    REFUSED_METHOD,
    REFUSED_TOO_LONG,
    REFUSED_DEADLINE,
    REFUSED_BUSY,
    REFUSED_DRAINING,
    REFUSED_ACCESS
};
void counters_register(void);
void counters_refuse(enum refusal why);
void counters_connections(size_t n);
void counters_busy(size_t n);
void counters_answered(const struct http_request *r);
size_t counters_route(const struct http_route *row);
