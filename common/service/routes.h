/* Inside service/: the routes that every service has. */
#pragma once
#include <stdatomic.h>
#include <stdint.h>
#include "http/server.h"
#include "service/health.h"

struct routes_context {
    struct health *health;
    _Atomic int64_t *beat_us; /* when the loop last turned */
};

/* context must outlive the server. metrics: who guards /metrics; NULL: it is open. */
struct http_routes routes_builtin(struct routes_context *context, const struct http_gate *metrics);
