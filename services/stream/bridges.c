/* Which projects have a bridge: their credentials are looked at each second, so that a change needs no restart. */
#include <stdio.h>
#include "base/arena.h"
#include "base/clock.h"
#include "base/mem.h"
#include "bridge.h"
#include "db/profile.h"
#include "json/doc.h"
#include "log/log.h"
#include "pipeline/connection.h"
#include "service/worker.h"

#define EVERY_US USEC_PER_SEC
#define PING_US (2 * USEC_PER_SEC)
#define AGAIN_US (5 * USEC_PER_SEC)

/* A project with credentials, as it was last looked at. */
struct place {
    struct stream_wish wish; /* its texts are owned */
    struct bridge *bridge;   /* NULL: none is needed, or not yet */
    bool settled, seen;
    int64_t again_us; /* not before */
    struct err why;   /* it is not */
};

struct bridges {
    struct stream *st;
    struct db *db;
    struct seal *seal;
    struct worker worker;
    struct health_dep *health;
    struct place *list;
    size_t n;
    bool ready; /* the database has been met */
    bool known; /* … and our own cluster: */
    char own[BUS_CLUSTER_MAX + 1];
};

static rc_t read_profile(struct bridges *b, const struct stream_wish *w, struct arena *a, struct bus_config *ret,
                         struct err *e)
{
    CLEANUP(buf_done) struct buf name = {0}, private_part = {0};
    CLEANUP(json_freep) struct json *values = NULL;
    struct profile profile = {0};
    struct str topic;
    profile_secret_name(w->project, str_of(w->profile), &name);
    rc_t rc = profile_get(b->db, w->project_id, str_of(w->profile), &profile, e);
    if (rc == OK)
        rc = secret_get(b->db, b->seal, w->project_id, buf_str(&name), &private_part, e);
    if (rc == E_NOTFOUND)
        rc = err_set(e, rc, "profile %s is not there, or cannot be opened: is its key in SECRETS_KEY?", w->profile);
    if (rc == OK)
        rc = connection_values(str_of(profile.object), private_part.len ? buf_str(&private_part) : STR(""), &values, e);
    if (rc == OK)
        rc = connection_kafka(values, a, ret, &topic, e);
    if (private_part.data)
        explicit_bzero(private_part.data, private_part.cap);
    profile_done(&profile);
    return rc;
}

static rc_t know_own(struct bridges *b, struct err *e)
{
    rc_t rc = b->known ? OK : bus_ping(&b->st->bus, PING_US, b->own, e);
    b->known = rc == OK;
    return rc ? err_prefix(e, rc, "KAFKA_BROKERS: ") : OK;
}

/* Clusters that were made of one image may have one name: a topic that this installation alone has is there, or is not. */
static rc_t see_ours(struct bridges *b, const struct bus_config *theirs, bool *ret, struct err *e)
{
    char marker[NAME_TOPIC_MAX + 1];
    const struct bus_partition at = {.topic = marker, .offset = 0};
    struct bus_mark mark;
    int64_t identity = 0, end;
    int32_t partitions = 0;
    rc_t rc = db_identity(b->db, &identity, e);
    (void)snprintf(marker, sizeof marker, "modelmon_%016llx", (unsigned long long)identity);
    if (rc == OK)
        rc = bus_topic_ensure(b->st->producer, marker, 1, &partitions, PING_US, e);
    if (rc == OK)
        rc = bus_look(theirs, &at, 1, &end, &mark, PING_US, e);
    *ret = rc == OK;
    return rc == E_NOTFOUND ? OK : rc;
}

/* Where the profile leads to decides, not by what address: ours under another name needs no bridge. */
static rc_t is_ours(struct bridges *b, const struct bus_config *theirs, char cluster[BUS_CLUSTER_MAX + 1], bool *ret,
                    struct err *e)
{
    rc_t rc = know_own(b, e);
    if (rc == OK)
        rc = bus_ping(theirs, PING_US, cluster, e);
    if (rc == OK && strcmp(cluster, b->own) == 0)
        rc = see_ours(b, theirs, ret, e);
    return rc;
}

static rc_t build(struct bridges *b, struct place *p, struct arena *a, struct err *e)
{
    struct bus_config theirs = b->st->bus;
    char cluster[BUS_CLUSTER_MAX + 1];
    bool ours = false;
    rc_t rc = read_profile(b, &p->wish, a, &theirs, e);
    if (rc == OK)
        rc = is_ours(b, &theirs, cluster, &ours, e);
    if (rc == OK && !ours)
        rc = bridge_open(&p->bridge, b->st,
                         &(struct bridge_config){
                             .project = p->wish.project, .cluster = cluster, .project_id = p->wish.project_id, .bus = &theirs},
                         e);
    if (rc == OK)
        rc = credentials_bridge(b->db, p->wish.project_id, p->bridge ? bridge_name(p->bridge) : "", e);
    if (rc == OK)
        log_info("bridge", LF_STR("project", p->wish.project), LF_STR("profile", p->wish.profile),
                 LF_STR("pipeline", p->bridge ? bridge_name(p->bridge) : "none: it is the same Kafka"));
    if (theirs.extra != b->st->bus.extra)
        explicit_bzero(theirs.extra, strlen(theirs.extra)); /* it has their password */
    return rc;
}

static void settle(struct bridges *b, struct place *p)
{
    struct arena a = {0};
    struct err e = {{0}};
    p->settled = build(b, p, &a, &e) == OK;
    if (!p->settled) {
        bridge_close(p->bridge);
        p->bridge = NULL;
        p->again_us = clock_mono_us() + AGAIN_US;
        p->why = e;
        log_warn("bridge_none", LF_STR("project", p->wish.project), LF_STR("profile", p->wish.profile), LF_ERR(&e));
    }
    arena_done(&a);
}

static void forget(struct place *p)
{
    bridge_close(p->bridge);
    mem_free(p->wish.project);
    mem_free(p->wish.profile);
    *p = (struct place){0};
}

static struct place *find(struct bridges *b, const struct stream_wish *w)
{
    for (size_t i = 0; i < b->n; i++)
        if (b->list[i].wish.project_id == w->project_id && b->list[i].wish.updated_us == w->updated_us)
            return &b->list[i];
    return NULL;
}

/* Those whose credentials are others now are as good as new. */
static rc_t look(struct bridges *b, struct err *e)
{
    struct stream_wish *wishes = NULL;
    size_t n = 0;
    rc_t rc = b->ready ? OK : db_ready(b->db, e);
    b->ready = rc == OK;
    if (rc == OK)
        rc = stream_wishes_list(b->db, &wishes, &n, e);
    if (rc)
        return rc;
    struct place *list = mem_array(n + 1, sizeof *list);
    for (size_t i = 0; i < n; i++) { /* what is taken over is left empty behind */
        struct place *known = find(b, &wishes[i]);
        list[i] = known ? *known : (struct place){.wish = wishes[i]};
        if (known)
            *known = (struct place){0};
        else
            wishes[i] = (struct stream_wish){0};
    }
    for (size_t i = 0; i < b->n; i++)
        forget(&b->list[i]);
    mem_free(b->list);
    stream_wishes_free(wishes, n);
    b->list = list;
    b->n = n;
    return OK;
}

static void settle_all(struct bridges *b)
{
    const struct place *wrong = NULL;
    for (size_t i = 0; i < b->n && !worker_stopping(&b->worker); i++) {
        struct place *p = &b->list[i];
        if (p->bridge && bridge_failed(p->bridge)) {
            bridge_close(p->bridge);
            p->bridge = NULL;
            p->settled = false;
            (void)err_set(&p->why, E_FATAL, "its bridge has ended and begins anew: bridge_failed in the log says why");
            p->again_us = clock_mono_us() + AGAIN_US;
        }
        if (!p->settled && clock_mono_us() >= p->again_us)
            settle(b, p);
        wrong = p->settled ? wrong : p;
    }
    if (wrong)
        health_set(b->health, HEALTH_DEGRADED, "the Kafka of project %s is not read: profile %s: %s",
                   wrong->wish.project, wrong->wish.profile, wrong->why.text);
    else
        health_set(b->health, HEALTH_OK, "%s", "");
}

static void run(struct worker *w, void *arg)
{
    struct bridges *b = arg;
    while (!worker_stopping(w)) {
        struct err e = {{0}};
        if (look(b, &e) == OK)
            settle_all(b);
        else
            health_set(b->health, HEALTH_DEGRADED, "%s", e.text);
        (void)worker_wait(w, EVERY_US);
    }
    for (size_t i = 0; i < b->n; i++)
        if (b->list[i].bridge)
            bridge_ask_stop(b->list[i].bridge);
    for (size_t i = 0; i < b->n; i++)
        forget(&b->list[i]);
    b->n = 0;
    stream_part_stopped(b->st);
}

rc_t bridges_start(struct bridges **ret, struct stream *st, struct err *e)
{
    struct bridges *b = mem_alloc(sizeof *b);
    b->st = st;
    b->health = health_add(service_health(st->service), "bridges", HEALTH_OPTIONAL, 0);
    rc_t rc = secret_seal(&st->secrets, &b->seal, e);
    if (rc == OK)
        rc = db_open(&b->db, &st->db, e);
    if (rc == OK)
        rc = worker_start(&b->worker, "bridges", run, b, e);
    if (rc) {
        bridges_free(b);
        return rc;
    }
    atomic_fetch_add(&st->running, 1);
    *ret = b;
    return OK;
}

void bridges_ask_stop(struct bridges *b)
{
    if (b)
        worker_stop(&b->worker);
}

void bridges_free(struct bridges *b)
{
    if (!b)
        return;
    worker_stop(&b->worker);
    if (worker_join(&b->worker, INT64_MAX) != OK) /* a hang is the service's watchdog's to end */
        return;
    mem_free(b->list);
    seal_free(b->seal);
    db_free(b->db);
    mem_free(b);
}
