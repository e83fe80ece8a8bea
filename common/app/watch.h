/* How a function's servers are, in /readyz: database and bus are needed, the cache is not, nor is the lake: events are taken without. */
#pragma once
#include "bus/bus.h"
#include "cache/cache.h"
#include "lake/lake.h"
#include "service/service.h"

struct bus_watch {
    struct health_dep *health;
    struct bus_producer *producer;
    const char *brokers;
    struct loop_timer *timer;
    bool met;  /* the bus has been up: it is looked at less often from then on */
    int looks; /* before that */
};
/* Looks at the bus from the service's loop; name: of the dependency. */
void bus_watch_open(struct bus_watch *w, struct service *s, const char *name, struct bus_producer *producer,
                    const struct bus_config *bus);

struct watch {
    struct health_dep *database, *cache, *lake;
    struct bus_watch bus;
    const struct lake_config *lake_cfg;
};
/* cache's url empty, lake NULL: none is watched. */
void watch_open(struct watch *w, struct service *s, struct bus_producer *producer, const struct bus_config *bus,
                const struct cache_config *cache, const struct lake_config *lake);
/* What the pipeline's thread saw when it last asked. */
void watch_database(struct watch *w, rc_t rc, const struct err *e);
void watch_cache(struct watch *w, const struct cache *c);
void watch_lake(struct watch *w); /* looks itself */
