/* What closing remembers between windows: endpoint records, until they change, and days whose partitions are there. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/time.h"
#include "controller.h"
#include "db/endpoint.h"
#include "db/window.h"

#define DAYS_KNOWN_MAX 4096
#define ENDPOINTS_KNOWN_MAX 50000

static void endpoint_drop(struct endpoint *ep)
{
    if (!ep)
        return;
    endpoint_done(ep);
    mem_free(ep);
}

static void endpoints_drop_all(struct closer *c)
{
    struct map_iter it = {0};
    while (map_next(&c->endpoints, &it))
        endpoint_drop(it.value);
    map_done(&c->endpoints);
    c->endpoints = (struct map){0};
}

static struct str id_key(const int64_t *id)
{
    return (struct str){(const char *)id, sizeof *id};
}

rc_t closer_endpoint(struct closer *c, struct db *db, int64_t id, const struct endpoint **ret, struct err *e)
{
    struct endpoint *ep = map_get(&c->endpoints, id_key(&id));
    if (!ep) {
        struct endpoint got = {0};
        rc_t rc = endpoint_get_id(db, id, &got, e);
        if (rc)
            return rc;
        ep = mem_alloc(sizeof *ep);
        *ep = got;
        map_put(&c->endpoints, id_key(&id), ep);
    }
    *ret = ep;
    return OK;
}

static rc_t forget_gone(struct closer *c, struct db *db, struct err *e)
{
    CLEANUP(mem_freep) int64_t *ids = mem_array(c->endpoints.len, sizeof *ids);
    CLEANUP(mem_freep) int64_t *gone = NULL;
    size_t n = 0, n_gone = 0;
    for (struct map_iter it = {0}; map_next(&c->endpoints, &it);)
        ids[n++] = ((const struct endpoint *)it.value)->id;
    rc_t rc = endpoints_gone(db, ids, n, &gone, &n_gone, e);
    for (size_t i = 0; rc == OK && i < n_gone; i++)
        endpoint_drop(map_del(&c->endpoints, id_key(&gone[i])));
    return rc;
}

rc_t close_refresh(struct closer *c, struct db *db, struct err *e)
{
    learn_begin(c);
    if (c->endpoints.len > ENDPOINTS_KNOWN_MAX)
        endpoints_drop_all(c);
    for (size_t n = 1; n > 0;) {
        struct endpoint *changed = NULL;
        rc_t rc = endpoints_changed(db, &c->change_seq, &changed, &n, e);
        if (rc)
            return rc;
        for (size_t i = 0; i < n; i++)
            endpoint_drop(map_del(&c->endpoints, id_key(&changed[i].id)));
        endpoints_free(changed, n);
    }
    bool look = false;
    rc_t rc = gone_watch_due(&c->gone, db, &look, e);
    return rc || !look || c->endpoints.len == 0 ? rc : forget_gone(c, db, e);
}

void closer_forget_days(struct closer *c)
{
    map_done(&c->days);
    c->days = (struct map){0};
}

void closer_done(struct closer *c)
{
    endpoints_drop_all(c);
    closer_forget_days(c);
    for (struct map_iter it = {0}; map_next(&c->empties, &it);)
        mem_free(it.value);
    map_done(&c->empties);
    learn_done(c);
}

rc_t closer_days(struct closer *c, struct db *db, const struct pending_window *w, size_t n, struct err *e)
{
    if (c->days.len > DAYS_KNOWN_MAX)
        closer_forget_days(c);
    for (size_t i = 0; i < n; i++) {
        int64_t day = time_floor(w[i].end_us, USEC_PER_DAY);
        if (map_get(&c->days, id_key(&day)))
            continue;
        rc_t rc = db_days_ensure(db, &day, 1, e);
        if (rc)
            return rc;
        map_put(&c->days, id_key(&day), c);
    }
    return OK;
}
