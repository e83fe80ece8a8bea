/* The life of a process: options, log, loop, HTTP, health, drain, exit code. A main.c is its rows, its routes and
 *
 *     int main(int argc, char **argv)
 *     {
 *         struct stream st = {0};
 *         const struct config_table tables[] = {CONFIG_TABLE("Stream", keys, &st.options),
 *                                               {"Kafka", bus_keys, bus_keys_n, &st.bus}};
 *         const struct http_routes routes[] = {HTTP_ROUTES(stream_routes, &st)};
 *         return service_main(&(struct service_def){
 *             .name = "stream", .summary = "…", .tables = tables, .table_count = 2, .routes = routes, .route_count = 1,
 *             .open = open_stream, .drain = drain_stream, .close = close_stream, .self = &st}, argc, argv);
 *     }
 *
 * Every service has --help --version --print-config --help-markdown --check-ready, and GET /livez /readyz /metrics.
 * Exit codes: 0 drained, 1 fatal or not drained in time, 2 wrong configuration (all faults on stderr).
 *
 *   open ──▶ run (loop) ──SIGTERM/SIGINT──▶ readyz 503, no new connections, drain() ──service_drained──▶
 *   requests answered ──▶ close() ──▶ exit 0            SERVICE_DRAIN_US after the signal, or at a second one: _exit(1) */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/rc.h"
#include "config/config.h"
#include "http/server.h"
#include "loop/loop.h"
#include "service/health.h"

#define SERVICE_DRAIN_US INT64_C(9500000)

struct service; /* a part of a process; mostly the only one */

/* What stands before the routes of a process: its options, who may what, and a life of its own. access/access.h makes one; of a
 * set the first part's counts. */
struct service_guard {
    const struct config_table *tables;
    size_t table_count;
    const char *option; /* the one of its own that must fit HTTP_ADDR, as check says: E_INVALID, and what must hold */
    rc_t (*check)(const void *self, const struct http_options *http, struct err *e);
    rc_t (*open)(void *self, struct health *health, struct err *e); /* after the parts; it does not wait for servers */
    void (*close)(void *self);                                      /* before the parts */
    struct http_gate gate;
    const bool *guards_metrics; /* /metrics is for who may read everything */
    void *self;
};

struct service_def {
    const char *name, *summary;
    const struct config_table *tables; /* the service's own and those of what it composes */
    size_t table_count;
    const struct config_rule *rules;
    size_t rule_count;
    const struct config_default *defaults; /* NULL: none */
    const struct http_routes *routes;      /* a table without a gate gets the guard's */
    size_t route_count;
    const struct service_guard *guard; /* NULL: none; then tables have gates of their own, or open rows alone */
    /* Configuration is bound and the log open; no request comes in before it has returned. It must not wait for servers: it
     * adds its dependencies to service_health and starts workers. E_INVALID: wrong configuration, exit 2. */
    rc_t (*open)(struct service *s, void *self, struct err *e);
    /* In the loop, once. Begins to end the work and comes back soon; service_drained says when it is done. Requests that
     * are suspended must still be answered. NULL: nothing to drain. */
    void (*drain)(struct service *s, void *self);
    void (*close)(void *self); /* frees; also after a failed open. No request and no loop callback runs any more. NULL: nothing */
    void *self;
};

int service_main(const struct service_def *def, int argc, char **argv);

/* A service that can be composed is a function that makes its service_def in an arena, which outlives the process's run. */
struct service_def *service_def_dup(struct arena *a, const struct service_def *def);  /* with its tables and routes */
int service_run(struct service_def *(*make)(struct arena *a), int argc, char **argv); /* what main is made of */

/* Several services in one process: one configuration (a name that several have is one option), one log whose lines say
 * which part wrote them, one loop, one HTTP server, one /readyz with "part/dependency", one drain that ends when the last
 * part has drained. Parts open in their order and close in the reverse one. */
struct service_part {
    const struct service_def *def;
    const char *under; /* put before its paths: "/functions/writer"; NULL: they stay */
};
struct service_set {
    const char *name, *summary;
    const struct service_part *parts;
    size_t part_count;
    const struct config_default *defaults; /* before those of the parts; NULL: none */
    /* Requests are served: by http or https. NULL: nobody asks. */
    void (*started)(void *arg, const char *scheme, const char *addr, int port);
    void *arg;
};
int service_set_main(const struct service_set *set, int argc, char **argv);

struct loop *service_loop(struct service *s);
struct health *service_health(struct service *s);
void service_drained(struct service *s);                                 /* any thread; of this part */
void service_stop(struct service *s);                                    /* any thread: as SIGTERM does */
void service_fail(struct service *s, const char *fmt, ...) PRINTF(2, 3); /* any thread: logs, drains, exit code 1 */
const char *service_version(void);
