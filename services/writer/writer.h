/* The writer: results, metrics and statistics of apps on their way into the stores.
 *
 *   writer topics of all projects ──▶ decode ──▶ names ⇒ ids ──▶ one upsert a batch, with the ledger ──▶ notice on mm:results
 *   POST / ──▶ the project's topic ──▶ (the same)
 *
 * batch.c is the pipeline's handler; names.c turns uids and names into ids and remembers them; all on one thread. */
#pragma once
#include "app/form.h"
#include "app/topics.h"
#include "base/arena.h"
#include "base/map.h"
#include "cache/cache.h"
#include "db/db.h"
#include "db/endpoint.h"
#include "event/result.h"
#include "metrics/metrics.h"
#include "pipeline/deadletter.h"
#include "pipeline/identity.h"
#include "pipeline/pipeline.h"
#include "service/service.h"

#define RESULTS_CHANNEL "results" /* mm:results in Redis: the cache puts its prefix before it */

struct writer_options {
    struct identity id;
    int64_t flush_us, flush_events, names_ttl_us, max_apps;
};

enum { M_EVENTS, M_CHANGED, M_BATCH, M_APPS };
extern struct metric_set writer_metrics;

/* ---- names.c ---- */
struct last_name {
    int32_t project_id;
    char name[64];
    size_t n;
    void *known; /* borrowed from its map; NULL: none */
};
struct names {
    const struct writer_options *opts;
    struct map endpoints; /* project, uid ⇒ struct known_endpoint */
    struct map apps;      /* project, name ⇒ struct known_app */
    struct map metrics;   /* app, type, name ⇒ struct known_metric */
    struct last_name last_endpoint, last_app;
    struct gone_watch gone;
    int64_t change_seq, next_refresh_us, now_us; /* now: of the last refresh */
};
void names_done(struct names *n);
void names_forget_endpoints(struct names *n);
/* Forgets endpoints that changed. Cheap: at most once a second. */
rc_t names_refresh(struct names *n, struct db *db, struct err *e) MUST_CHECK;
/* E_INVALID: *why says it (unknown_endpoint, unknown_app); else E_AGAIN and worse of the database. */
rc_t names_endpoint(struct names *n, struct db *db, int32_t project_id, struct str uid, int64_t *ret,
                    struct reject *why, struct err *e) MUST_CHECK;
/* An app that is not known yet is registered as inactive: no window event goes to a topic that nobody reads. It becomes
 * active when it registers itself, as every app of the SDK does. */
rc_t names_app(struct names *n, struct db *db, int32_t project_id, struct str name, int32_t *ret, struct reject *why,
               struct err *e) MUST_CHECK;
/* metric: enum metric_type of db/result.h; kind: of a result, else -1. */
rc_t names_metric(struct names *n, struct db *db, int32_t project_id, int32_t app_id, int metric, struct str name,
                  int kind, int32_t *ret, struct reject *why, struct err *e) MUST_CHECK;

/* ---- batch.c ---- */
struct batch_item;
struct batch {
    const struct writer_options *opts;
    struct function_topics *topics;
    struct cache *cache;
    struct dead_letters *dead;
    struct names names;
    struct gone_watch gone_watch;
    struct arena mem; /* of the items; given back when none is left */
    struct batch_item *items;
    size_t n, cap, gone; /* gone: of n, those whose part is NULL */
    int64_t oldest_us, bytes;
};
void batch_done(struct batch *b);
extern const struct pipeline_ops batch_ops; /* self: a struct batch */

/* ---- store.c ---- */
/* Days of the windows have their partitions. */
rc_t store_days(const struct batch *b, struct db *db, struct pipeline_part *const *parts, size_t n, struct err *e) MUST_CHECK;
/* Rows of the batch's good items, newest revision of a key alone. */
rc_t store_write(const struct batch *b, struct db *db, struct pipeline_part *const *parts, size_t n, struct err *e) MUST_CHECK;
/* Tells readers what is new; best effort. */
void store_publish(const struct batch *b, const struct pipeline_part *part);

struct batch_item {
    struct pipeline_part *part; /* NULL: committed or dropped already */
    int64_t offset, timestamp_us;
    struct str value, traceparent; /* in the arena */
    struct result_event ev;        /* borrows from value and the arena */
    bool dead, resolved;
    int64_t endpoint_id;
    int32_t app_id, metric_id; /* metric_id: of results and metrics */
};
