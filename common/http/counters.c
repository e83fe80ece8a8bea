/* The server's metrics. */
#include <stdio.h>

#include "base/clock.h"
#include "http/request.h"
#include "metrics/metrics.h"

enum { C_REQUESTS, C_SECONDS, C_REFUSED, C_CONNECTIONS, C_BUSY };
#define ROUTES 192 /* more than any service has */

static const struct metric_row rows[] = {
    [C_REQUESTS] = {.name = "modelmon_http_requests_total",
                    .kind = METRIC_COUNTER,
                    .help = "Answers by route and class of status.",
                    .labels = {{.name = "route", .cap = ROUTES},
                               {.name = "status", .values = (const char *const[]){"1xx", "2xx", "3xx", "4xx", "5xx", NULL}}}},
    [C_SECONDS] = {.name = "modelmon_http_request_seconds",
                   .kind = METRIC_HISTOGRAM,
                   .help = "From a complete head to the answer.",
                   .labels = {{.name = "route", .cap = ROUTES}}},
    [C_REFUSED] = {.name = "modelmon_http_refused_total",
                   .kind = METRIC_COUNTER,
                   .help = "Requests that no handler saw.",
                   .labels = {{.name = "reason",
                               .values =
                                   (const char *const[]){[REFUSED_HEAD] = "head",
                                                         [REFUSED_TARGET] = "target",
                                                         [REFUSED_NOT_FOUND] = "not_found",
                                                         [REFUSED_METHOD] = "method",
                                                         [REFUSED_TOO_LONG] = "too_long",
                                                         [REFUSED_DEADLINE] = "deadline",
                                                         [REFUSED_BUSY] = "busy",
                                                         [REFUSED_DRAINING] = "draining",
                                                         [REFUSED_ACCESS] = "access",
                                                         NULL}}}},
    [C_CONNECTIONS] = {.name = "modelmon_http_connections", .kind = METRIC_GAUGE, .help = "Open connections."},
    [C_BUSY] = {.name = "modelmon_http_busy",
                .kind = METRIC_GAUGE,
                .help = "Requests that are not answered whole, as of the last change; asking counts."},
};
static struct metric_set set = METRIC_SET(rows);

void counters_register(void)
{
    metrics_register(&set);
}

void counters_refuse(enum refusal why)
{
    metric_add(metrics_at(&set, C_REFUSED, why, 0), 1);
}

void counters_connections(size_t n)
{
    metric_set(metrics_at(&set, C_CONNECTIONS, 0, 0), (double)n);
}

void counters_busy(size_t n)
{
    metric_set(metrics_at(&set, C_BUSY, 0, 0), (double)n);
}

size_t counters_route(const struct http_route *row)
{
    char name[256];
    int n = snprintf(name, sizeof name, "%s %s", row->method, row->pattern);
    struct str s = {name, n < (int)sizeof name ? (size_t)n : sizeof name - 1};
    size_t at = metrics_label(&set, C_REQUESTS, 0, s);
    (void)metrics_label(&set, C_SECONDS, 0, s); /* learned in the same order: the same index */
    return at;
}

void counters_answered(const struct http_request *r)
{
    size_t route = r->route ? r->route->metric : ROUTES;
    size_t class = r->status >= 100 && r->status < 600 ? (size_t)r->status / 100 - 1 : 4;
    metric_add(metrics_at(&set, C_REQUESTS, route, class), 1);
    metric_observe(metrics_at(&set, C_SECONDS, route, 0), (double)(clock_mono_us() - r->received_mono_us) / 1e6);
}
