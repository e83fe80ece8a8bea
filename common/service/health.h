/* What a service needs and how that is doing: /readyz and one gauge are made of it. Setters from any thread. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/rc.h"

enum health_state { HEALTH_STARTING, HEALTH_OK, HEALTH_DEGRADED, HEALTH_DOWN };
enum health_need {
    HEALTH_REQUIRED, /* starting, or down for longer than the grace: 503 */
    HEALTH_OPTIONAL, /* never a 503: the service goes on, degraded */
};

struct health;
struct health_dep;

struct health *health_new(const char *service);
/* The same health under another prefix: what is added through it is named "part/name". Freed with whole. */
struct health *health_part(struct health *whole, const char *part);
void health_free(struct health *h);
/* Begins as HEALTH_STARTING; the same name again gives the same one. grace_us: how long a required one may be down before it counts (5 s for Kafka). */
struct health_dep *health_add(struct health *h, const char *name, enum health_need need, int64_t grace_us);
/* The words say what is wrong and what to do ("cannot reach kafka:9092: check KAFKA_BROKERS"); "" for ok.
 * Setting the state it has changes the words alone. A change of state is logged once. */
void health_set(struct health_dep *d, enum health_state state, const char *fmt, ...) PRINTF(3, 4);
void health_drain(struct health *h); /* not ready from now on, for good */
bool health_ready(struct health *h);
bool health_render(struct health *h, struct buf *to); /* the JSON of /readyz; true: ready (200), false: 503 */
