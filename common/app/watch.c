/* Health of a function's servers. */
#include "app/watch.h"
#include "base/clock.h"
#include "lake/clear.h"

#define FIRST_LOOKS 12 /* before it is said that it is not there */
#define GRACE_US (5 * USEC_PER_SEC)
#define LOOK_US (250 * USEC_PER_MSEC)
#define FIRST_LOOK_US (20 * USEC_PER_MSEC) /* until the bus has been up: a start waits for it */

static void look_at_bus(void *arg)
{
    struct bus_watch *w = arg;
    struct err away = {{0}};
    bool up = bus_producer_up(w->producer);
    bus_away_words(w->brokers, &away);
    if (up && !w->met)
        loop_timer_every(w->timer, LOOK_US);
    w->met = w->met || up;
    if (up)
        health_set(w->health, HEALTH_OK, "%s", "");
    else if (w->met || ++w->looks > FIRST_LOOKS)
        health_set(w->health, HEALTH_DOWN, "%s; posted events get 503", away.text);
}

void bus_watch_open(struct bus_watch *w, struct service *s, const char *name, struct bus_producer *producer,
                    const struct bus_config *bus)
{
    w->producer = producer;
    w->brokers = bus->brokers;
    w->health = health_add(service_health(s), name, HEALTH_REQUIRED, GRACE_US);
    w->timer = loop_timer_new(service_loop(s), look_at_bus, w);
    loop_timer_every(w->timer, FIRST_LOOK_US);
}

void watch_open(struct watch *w, struct service *s, struct bus_producer *producer, const struct bus_config *bus,
                const struct cache_config *cache, const struct lake_config *lake)
{
    struct health *h = service_health(s);
    w->database = health_add(h, "database", HEALTH_REQUIRED, GRACE_US);
    bus_watch_open(&w->bus, s, "bus", producer, bus);
    w->cache = cache->url && cache->url[0] ? health_add(h, "cache", HEALTH_OPTIONAL, 0) : NULL;
    w->lake = lake ? health_add(h, "lake", HEALTH_OPTIONAL, 0) : NULL;
    w->lake_cfg = lake;
}

void watch_database(struct watch *w, rc_t rc, const struct err *e)
{
    if (rc)
        health_set(w->database, HEALTH_DOWN, "%s", e->text);
    else
        health_set(w->database, HEALTH_OK, "%s", "");
}

void watch_cache(struct watch *w, const struct cache *c)
{
    if (!w->cache)
        return;
    if (cache_up(c))
        health_set(w->cache, HEALTH_OK, "%s", "");
    else
        health_set(w->cache, HEALTH_DEGRADED, "no cache: everything is read from the database; check REDIS_URL");
}

void watch_lake(struct watch *w)
{
    struct err e;
    if (!w->lake)
        return;
    if (lake_root_check(w->lake_cfg->root, NULL, &e))
        health_set(w->lake, HEALTH_DEGRADED, "%s; windows wait for it", e.text);
    else
        health_set(w->lake, HEALTH_OK, "%s", "");
}
