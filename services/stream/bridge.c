/* One project's bridge: two pipelines that pass records on. */
#include "bridge.h"
#include <stdio.h>
#include "base/arena.h"
#include "base/clock.h"
#include "base/mem.h"
#include "log/log.h"
#include "pipeline/acks.h"

#define HELD_RECORDS 5000u
#define HELD_BYTES (8u << 20)
#define HELD_US (50 * USEC_PER_MSEC)
#define ACK_US (5 * USEC_PER_SEC)
#define STOP_US (2 * USEC_PER_SEC)

struct item {
    struct pipeline_part *part;
    struct str key, value, trace; /* one piece of memory, which key begins */
};

/* One direction. */
struct way {
    struct bridge *bridge;
    struct pipeline *pipeline;
    struct bus_producer *to;
    struct acks acks;
    struct item *items;
    size_t n, cap, bytes;
    int64_t since_us; /* of the oldest item */
    struct pipeline_topic *topics;
    size_t n_topics;
    bool asked; /* acks are there */
    char name[128], group[256];
};

struct bridge {
    struct stream *st;
    int32_t project_id;
    struct arena texts;
    const char *project;
    struct bus_config theirs;
    struct bus_producer *producer; /* theirs */
    struct way in, out;
    atomic_bool failed;
};

/* ---- topics ---- */

static void forget_topics(struct way *w)
{
    for (size_t i = 0; i < w->n_topics; i++)
        mem_free((char *)(uintptr_t)w->topics[i].name);
    mem_free(w->topics);
    w->topics = NULL;
    w->n_topics = 0;
}

static void add_topic(struct way *w, const char *name)
{
    w->topics = mem_grow(w->topics, w->n_topics + 1, sizeof *w->topics);
    w->topics[w->n_topics++] = (struct pipeline_topic){mem_dupz(name), w->bridge->project_id};
}

static rc_t add_function(struct way *w, const char *function, struct err *e)
{
    char topic[NAME_TOPIC_MAX + 1];
    rc_t rc = topic_function(topic, w->bridge->st->options.id.system_id, str_of(w->bridge->project), str_of(function), e);
    if (rc == OK)
        add_topic(w, topic);
    return rc;
}

static rc_t topics_in(void *self, struct db *db, const struct pipeline_topic **ret, size_t *n, struct err *e)
{
    struct way *w = self;
    char topic[NAME_TOPIC_MAX + 1];
    (void)db;
    forget_topics(w);
    rc_t rc = topic_stream(topic, w->bridge->st->options.id.system_id, str_of(w->bridge->project), e);
    if (rc == OK)
        add_topic(w, topic);
    if (rc == OK)
        rc = add_function(w, function_name(FUNCTION_WRITER), e);
    *ret = w->topics;
    *n = w->n_topics;
    return rc;
}

static rc_t topics_out(void *self, struct db *db, const struct pipeline_topic **ret, size_t *n, struct err *e)
{
    struct way *w = self;
    char **names = NULL;
    size_t n_names = 0;
    rc_t rc = apps_elsewhere(db, w->bridge->project_id, &names, &n_names, e);
    if (rc)
        return rc;
    forget_topics(w);
    for (size_t i = 0; i < n_names; i++) {
        struct err ignored;
        (void)add_function(w, names[i], &ignored); /* no such topic can be: its windows are not sent either */
        mem_free(names[i]);
    }
    mem_free(names);
    *ret = w->topics;
    *n = w->n_topics;
    return OK;
}

/* ---- records ---- */

/* Without a key the partition is one: what is sent again after a crash meets itself. */
static rc_t take(void *self, const struct pipeline_record *r, struct err *e)
{
    struct way *w = self;
    char made[32];
    struct str key = r->key;
    (void)e;
    if (r->warmup)
        return OK;
    if (!key.p)
        key = (struct str){made, (size_t)snprintf(made, sizeof made, "partition-%d", (int)r->part->partition)};
    if (w->n == w->cap) {
        w->cap = w->cap ? w->cap * 2 : 64;
        w->items = mem_grow(w->items, w->cap, sizeof *w->items);
    }
    if (w->n == 0)
        w->since_us = clock_mono_us();
    char *held = mem_array(key.n + r->value.n + r->traceparent.n + 1, 1), *value = held + key.n,
         *trace = value + r->value.n;
    memcpy(held, key.p, key.n);
    if (r->value.n)
        memcpy(value, r->value.p, r->value.n);
    if (r->traceparent.n)
        memcpy(trace, r->traceparent.p, r->traceparent.n);
    w->items[w->n++] = (struct item){
        r->part, {held, key.n}, {r->value.p ? value : NULL, r->value.n}, {trace, r->traceparent.n}};
    w->bytes += key.n + r->value.n + r->traceparent.n;
    return OK;
}

static bool due(void *self, int64_t mono_us)
{
    const struct way *w = self;
    return w->n && (w->n >= HELD_RECORDS || w->bytes >= HELD_BYTES || mono_us - w->since_us >= HELD_US);
}

static rc_t ensure_topic(struct way *w, struct pipeline_part *part, struct err *e)
{
    int32_t partitions = 0;
    rc_t rc = part->user ? OK : bus_topic_ensure(w->to, part->topic, 0, &partitions, ACK_US, e);
    if (rc == OK)
        part->user = w; /* its topic is there */
    return rc;
}

static rc_t send(struct way *w, const struct item *it, struct err *e)
{
    const struct bus_header trace = {.name = "traceparent", .value = it->trace};
    rc_t rc = ensure_topic(w, it->part, e);
    return rc ? rc
              : acks_produce(&w->acks, w->to, it->part->topic, it->key, it->value, &trace, it->trace.n ? 1 : 0, ACK_US, e);
}

static rc_t pass_on(void *self, struct db *db, struct pipeline_part *const *parts, size_t n, struct err *e)
{
    struct way *w = self;
    rc_t rc = OK;
    size_t sent = 0;
    (void)db;
    for (size_t i = 0; rc == OK && i < w->n; i++)
        if (pipeline_has(parts, n, w->items[i].part)) {
            rc = send(w, &w->items[i], e);
            sent++;
        }
    if (rc == OK && sent)
        rc = acks_wait(&w->acks, ACK_US, e);
    for (size_t i = 0; rc && i < n; i++)
        parts[i]->user = NULL; /* the topic may have gone */
    return rc;
}

static rc_t nothing_to_write(void *self, struct db *db, struct pipeline_part *const *parts, size_t n, struct err *e)
{
    (void)self, (void)db, (void)parts, (void)n, (void)e;
    return OK;
}

static void forget(void *self, const struct pipeline_part *part, bool committed)
{
    struct way *w = self;
    size_t kept = 0;
    (void)committed;
    for (size_t i = 0; i < w->n; i++) {
        if (part && w->items[i].part != part) {
            w->items[kept++] = w->items[i];
            continue;
        }
        w->bytes -= w->items[i].key.n + w->items[i].value.n + w->items[i].trace.n;
        mem_free((char *)(uintptr_t)w->items[i].key.p);
    }
    w->n = kept;
}

static const struct pipeline_ops ops = {
    .record = take, .due = due, .prepare = pass_on, .write = nothing_to_write, .done = forget};

/* ---- a life ---- */

static void failed(void *self, const char *words)
{
    struct way *w = self;
    log_error("bridge_failed", LF_STR("pipeline", w->name), LF_STR("words", words));
    atomic_store(&w->bridge->failed, true);
}

static rc_t open_way(struct way *w, struct bus_config *from, struct bus_producer *makes, struct bus_producer *to,
                     rc_t (*topics)(void *, struct db *, const struct pipeline_topic **, size_t *, struct err *),
                     struct err *e)
{
    struct stream *st = w->bridge->st;
    w->to = to;
    acks_init(&w->acks);
    w->asked = true;
    (void)snprintf(w->group, sizeof w->group, "%s-%s", st->options.id.group_prefix, w->name);
    rc_t rc = pipeline_open(&w->pipeline,
                            &(struct pipeline_config){.name = w->name,
                                                      .group = w->group,
                                                      .bus = from,
                                                      .db = &st->db,
                                                      .producer = makes,
                                                      .ops = &ops,
                                                      .self = w,
                                                      .topics = topics,
                                                      .frontier = w == &w->bridge->in,
                                                      .skip_lost = st->options.skip_lost,
                                                      .health = service_health(st->service),
                                                      .need = HEALTH_OPTIONAL,
                                                      .failed = failed},
                            e);
    return rc ? rc : pipeline_start(w->pipeline, e);
}

#define CLUSTER_MAX 32

/* Brokers call themselves what they like, and it becomes part of names. */
static void plain_cluster(char out[CLUSTER_MAX + 1], const char *cluster)
{
    static const char fine[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";
    size_t n = strnlen(cluster, CLUSTER_MAX);
    for (size_t i = 0; i < n; i++)
        out[i] = strchr(fine, cluster[i]) ? cluster[i] : '_';
    out[n] = '\0';
}

rc_t bridge_open(struct bridge **ret, struct stream *st, const struct bridge_config *cfg, struct err *e)
{
    struct bridge *b = mem_alloc(sizeof *b);
    char cluster[CLUSTER_MAX + 1];
    plain_cluster(cluster, cfg->cluster);
    b->st = st;
    b->project_id = cfg->project_id;
    b->project = arena_dup(&b->texts, cfg->project, strlen(cfg->project));
    b->theirs = *cfg->bus;
    b->theirs.brokers = arena_dup(&b->texts, cfg->bus->brokers, strlen(cfg->bus->brokers));
    b->theirs.extra = arena_dup(&b->texts, cfg->bus->extra, strlen(cfg->bus->extra));
    b->in.bridge = b->out.bridge = b;
    (void)snprintf(b->in.name, sizeof b->in.name, "bridge:%s@%s", b->project, cluster);
    (void)snprintf(b->out.name, sizeof b->out.name, "bridge-out:%s@%s", b->project, cluster);
    rc_t rc = bus_producer_open(&b->producer, &b->theirs, e);
    if (rc == OK)
        rc = open_way(&b->in, &b->theirs, b->producer, st->producer, topics_in, e);
    if (rc == OK)
        rc = open_way(&b->out, &st->bus, st->producer, b->producer, topics_out, e);
    if (rc)
        bridge_close(b);
    else
        *ret = b;
    return rc;
}

const char *bridge_name(const struct bridge *b)
{
    return b->in.name;
}

bool bridge_failed(const struct bridge *b)
{
    return atomic_load(&b->failed);
}

void bridge_ask_stop(struct bridge *b)
{
    if (b->producer)
        bus_producer_end_by(b->producer, clock_mono_us() + STOP_US);
    pipeline_ask_stop(b->in.pipeline, STOP_US);
    pipeline_ask_stop(b->out.pipeline, STOP_US);
}

static void close_way(struct way *w)
{
    if (!w->asked)
        return;
    pipeline_stop(w->pipeline, STOP_US);
    pipeline_free(w->pipeline);
    health_set(health_add(service_health(w->bridge->st->service), w->name, HEALTH_OPTIONAL, 0), HEALTH_OK, "%s", "");
    acks_done(&w->acks);
    forget(w, NULL, false);
    mem_free(w->items);
    forget_topics(w);
}

void bridge_close(struct bridge *b)
{
    if (!b)
        return;
    bridge_ask_stop(b);
    close_way(&b->in);
    close_way(&b->out);
    bus_producer_free(b->producer);
    if (b->theirs.extra)
        explicit_bzero(b->theirs.extra, strlen(b->theirs.extra));
    arena_done(&b->texts);
    mem_free(b);
}
