/* /livez: this process turns. /readyz: and what it needs is there. /metrics. */
#include "service/routes.h"

#include "base/buf.h"
#include "base/clock.h"
#include "metrics/metrics.h"

#define STUCK_US (30 * USEC_PER_SEC)

/* Asks no dependency: a restart would not mend one. */
static void get_livez(struct http_request *r, void *arg)
{
    const struct routes_context *context = arg;
    if (clock_mono_us() - atomic_load(context->beat_us) > STUCK_US)
        http_fail(r, 503, "stuck", "the loop has not turned for 30 s");
    else
        http_answer(r, 200, HTTP_TEXT, STR("ok\n"));
}

static void get_readyz(struct http_request *r, void *arg)
{
    const struct routes_context *context = arg;
    struct buf body = {0};
    bool ready = health_render(context->health, &body);
    http_add_header(r, "Cache-Control", "no-store");
    http_answer_take(r, ready ? 200 : 503, HTTP_JSON, &body);
}

static void get_metrics(struct http_request *r, void *arg)
{
    struct buf body = {0};
    (void)arg;
    metrics_render(&body);
    http_answer_take(r, 200, "text/plain; version=0.0.4; charset=utf-8", &body);
}

#define PROBES                                                                                                         \
    {"GET", "/livez", "open", 0, get_livez, "Whether the process turns; asks no dependency"},                          \
    {                                                                                                                  \
        "GET", "/readyz", "open", 0, get_readyz, "Whether it can do its work, and how each dependency is"              \
    }
static const struct http_route routes[] = {
    PROBES,
    {"GET", "/metrics", "open", 0, get_metrics, "Prometheus metrics"},
};
static const struct http_route guarded[] = {
    PROBES,
    {"GET", "/metrics", "read", 0, get_metrics, "Prometheus metrics"},
};

struct http_routes routes_builtin(struct routes_context *context, const struct http_gate *metrics)
{
    struct http_routes all = HTTP_ROUTES(routes, context);
    if (metrics)
        all.rows = guarded;
    all.gate = metrics;
    return all;
}
