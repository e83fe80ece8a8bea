/* The stream service: what its files share.
 *
 *   HTTP POST ─▶ trigger ─▶ topic ─┬▶ statistics ─▶ slots, pending windows, endpoint records, dead letters
 *                                  └▶ lake       ─▶ Parquet, manifest
 * The two sinks are two pipelines: own thread, group, connection, registry, dedupe window. They decide the same. */
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include "app/form.h"
#include "app/watch.h"
#include "bus/bus.h"
#include "cache/cache.h"
#include "db/project.h"
#include "db/secret.h"
#include "event/inference.h"
#include "lake/lake.h"
#include "pipeline/identity.h"
#include "pipeline/pipeline.h"
#include "service/service.h"

enum { SINK_STATISTICS = 1, SINK_LAKE = 2, SINK_BOTH = 3 };

struct stream_options {
    struct identity id;
    const char *default_project;
    int sinks;
    int64_t flush_us;                               /* statistics: longest age of what is not committed */
    int64_t statistics_bytes;                       /* … and most that is held */
    int64_t lake_age_us;                            /* lake: at least this age … */
    int64_t lake_age_per_file_us;                   /* … plus this for each file held */
    int64_t dedupe_records;                         /* a partition's horizon */
    int64_t pair_wait_us, pair_records, pair_bytes; /* how long half a prediction waits for the other */
    int64_t max_endpoints;                          /* that register themselves, a project */
    int64_t future_us;                              /* `when` may be this much after the record */
    int64_t max_age_us;                             /* and this much before it */
    bool auto_register, skip_lost;
};

/* The projects as HTTP threads see them: made anew each second, read under a lock. */
struct project_view {
    int32_t id;
    char *name, *topic;
    int64_t base_period_us;
    bool monitoring;
};
struct projects {
    pthread_rwlock_t lock;
    struct project_view *list;
    size_t n;
    bool loaded;
};

struct stream {
    struct stream_options options;
    struct bus_config bus;
    struct db_config db;
    struct cache_config cache;
    struct lake_config lake;
    struct secret_config secrets;

    struct service *service;
    struct bus_producer *producer;
    struct bus_watch kafka;
    struct health_dep *loaded; /* the projects, once */
    struct projects projects;
    struct form form;
    struct sink *sinks[2]; /* statistics, lake: those that run */
    struct alone *alone;   /* when none does */
    struct bridges *bridges;
    atomic_int running; /* of sinks and bridges: what has not stopped */
};
void stream_part_stopped(struct stream *st); /* one of those that run; any thread */

/* projects.c */
void projects_init(struct projects *p);
void projects_done(struct projects *p);
rc_t projects_load(struct projects *p, struct db *db, const char *system_id, struct err *e) MUST_CHECK;
/* Copies; E_NOTFOUND; E_AGAIN before the first load. topic has room for NAME_TOPIC_MAX + 1. */
rc_t projects_find(struct projects *p, struct str name, struct project_view *ret, char *topic) MUST_CHECK;

/* trigger.c */
/* `when` against now: the record's own time in a sink, so that a replay says the same, the request's in the trigger. */
rc_t stream_check_time(const struct stream_options *o, const struct inference_event *ev, int64_t now_us, struct reject *why);
void trigger_open(struct stream *st); /* fills in st->form */

/* alone.c: loads the projects while no sink does */
struct alone;
rc_t alone_start(struct alone **ret, struct stream *st, struct err *e) MUST_CHECK;
void alone_free(struct alone *a);

/* bridges.c: bridge.h says what for */
struct bridges;
rc_t bridges_start(struct bridges **ret, struct stream *st, struct err *e) MUST_CHECK;
void bridges_ask_stop(struct bridges *b); /* NULL is fine */
void bridges_free(struct bridges *b);

/* statistics.c, lake.c */
struct sink;
rc_t statistics_open(struct sink **ret, struct stream *st, struct err *e) MUST_CHECK;
rc_t lake_open(struct sink **ret, struct stream *st, struct err *e) MUST_CHECK;
/* sink.c */
rc_t sink_start(struct sink *s, struct err *e) MUST_CHECK;
void sink_ask_stop(struct sink *s);
void sink_stop(struct sink *s); /* waits for its pipeline; NULL is fine */
void sink_free(struct sink *s);
