/* The HTTP form of a function whose events come by the bus: one event, an array or NDJSON is checked, produced to the
 * function's own topic of the project, and answered 202 when all of it is durable. One path: what HTTP brings is handled
 * from the topic like everything else.
 *
 *   one event  202 {"status":"accepted"}, or the problem+json with field and position
 *   several    202, 207 (some were refused), 400 (all were): {"status","accepted","rejected","errors":[{"index","line",
 *              "position","code","field","detail"}]}; those that are not named are accepted
 *   503        with Retry-After: bus or database is not there; nothing is said to be accepted that may not be */
#pragma once
#include "app/topics.h"
#include "base/arena.h"
#include "bus/bus.h"
#include "event/reject.h"
#include "http/server.h"

/* What the function needs to know of an event; strings borrow from the event or the arena. */
struct form_event {
    struct str project; /* empty: not said */
    struct str key;     /* the endpoint's uid */
};
struct form {
    struct function_topics *topics;
    struct bus_producer *producer;
    const char *function; /* for words: "writer" */
    rc_t (*check)(const char *p, size_t n, struct arena *a, struct form_event *ret, struct reject *why);
};
extern const struct http_route form_routes[]; /* POST / and POST /{project}; arg: a struct form */
extern const size_t form_routes_n;
