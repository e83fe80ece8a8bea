/* Owns the connections that workers borrow and the thread that watches the servers. Knows no SQL but the ping. */
#include "pool.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>
#include "base/clock.h"
#include "base/mem.h"
#include "metrics/metrics.h"
#include "service/worker.h"

#define WAIT_SECONDS 2
#define WATCH_US USEC_PER_SEC
#define LISTEN_US (20 * USEC_PER_MSEC) /* how long another process's change of a record may go unheard */

enum { M_WAITS };
enum { WAIT_SERVED, WAIT_REFUSED };
static const struct metric_row metric_rows[] = {
    [M_WAITS] = {.name = "modelmon_api_connection_waits_total",
                 .kind = METRIC_COUNTER,
                 .help = "Requests that found every database connection in use, by what came of it.",
                 .labels = {{.name = "outcome", .values = (const char *const[]){"served", "refused", NULL}}}},
};
static struct metric_set metrics = METRIC_SET(metric_rows);

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t freed;
    struct pool_item *items;
    size_t n;
    bool ready; /* the schema is the one this program knows */
    struct err why;
    struct db *watch_db;
    struct cache *watch_cache;
    bool has_cache;
    struct records *records;
    int64_t change_seq; /* up to which records has been told */
    struct health_dep *health_db, *health_cache;
    struct worker watcher;
};

static void set_ready(struct pool *p, bool ready, const struct err *why)
{
    pthread_mutex_lock(&p->lock);
    p->ready = ready;
    if (why)
        p->why = *why;
    pthread_mutex_unlock(&p->lock);
}

/* What changed the database without a word on Redis: the stream's schemas, the controller's references. */
static rc_t follow_changes(struct pool *p, struct err *e)
{
    struct endpoint *eps = NULL;
    size_t n = 0;
    if (!p->has_cache)
        return OK;
    if (p->change_seq == 0)
        return change_seq_last(p->watch_db, &p->change_seq, e);
    rc_t rc = endpoints_changed(p->watch_db, &p->change_seq, &eps, &n, e);
    for (size_t i = 0; rc == OK && i < n; i++)
        records_note(p->records, p->watch_db, eps[i].project_id, str_of(eps[i].uid), eps[i].change_seq);
    endpoints_free(eps, n);
    return rc;
}

static bool watch_database(struct pool *p, bool ready)
{
    struct err e = {0};
    rc_t rc = ready ? db_exec(p->watch_db, "SELECT 1", NULL, 0, NULL, &e) : db_ready(p->watch_db, &e);
    if (rc == OK)
        rc = follow_changes(p, &e);
    if (rc == OK && !ready)
        set_ready(p, true, NULL);
    if (rc != OK && !ready)
        set_ready(p, false, &e);
    health_set(p->health_db, rc == OK ? HEALTH_OK : HEALTH_DOWN, "%s", rc == OK ? "" : e.text);
    return ready || rc == OK;
}

/* A read of a key that nobody writes: the one way to ask that the seam has. */
static void watch_cache(struct pool *p)
{
    struct buf nothing = {0};
    if (!p->has_cache)
        return;
    (void)!cache_get(p->watch_cache, STR("ping"), &nothing); /* E_NOTFOUND either way: cache_up says which */
    buf_done(&nothing);
    bool up = cache_up(p->watch_cache);
    health_set(p->health_cache, up ? HEALTH_OK : HEALTH_DOWN, "%s",
               up ? "" : "no answer from Redis: check REDIS_URL; answers come from the database meanwhile");
}

static void listen_for_changes(struct pool *p)
{
    if (!p->has_cache)
        return;
    cache_poll(p->watch_cache);
    if (!cache_up(p->watch_cache))
        records_distrust(p->records); /* it hears nothing */
}

static void watch(struct worker *w, void *arg)
{
    struct pool *p = arg;
    bool ready = false;
    for (int64_t next_us = 0; !worker_stopping(w);) {
        listen_for_changes(p);
        if (clock_mono_us() >= next_us) {
            ready = watch_database(p, ready);
            watch_cache(p);
            next_us = clock_mono_us() + (ready ? WATCH_US : WATCH_US / 4);
        }
        (void)worker_wait(w, p->has_cache ? LISTEN_US : WATCH_US / 4);
    }
}

static rc_t open_pair(const struct db_config *db, const struct cache_config *cache, struct db **ret_db,
                      struct cache **ret_cache, struct err *e)
{
    rc_t rc = db_open(ret_db, db, e);
    return rc == OK ? cache_open(ret_cache, cache, e) : rc;
}

static rc_t open_item(const struct pool *p, struct pool_item *item, const struct db_config *db,
                      const struct cache_config *cache, struct err *e)
{
    item->records = p->records;
    return open_pair(db, cache, &item->db, &item->cache, e);
}

rc_t pool_open(struct pool **ret, const struct db_config *db, const struct cache_config *cache, size_t n,
               struct health *health, struct err *e)
{
    struct pool *p = mem_alloc(sizeof *p);
    metrics_register(&metrics);
    pthread_mutex_init(&p->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC); /* a clock that is set must not make a wait an hour, or nothing */
    pthread_cond_init(&p->freed, &attr);
    pthread_condattr_destroy(&attr);
    p->n = n;
    p->items = mem_array(n, sizeof *p->items);
    p->has_cache = cache->url && *cache->url;
    p->records = records_new(RECORDS_TTL_US);
    (void)err_set(&p->why, E_AGAIN, "the database has not answered yet");
    rc_t rc = open_pair(db, cache, &p->watch_db, &p->watch_cache, e);
    for (size_t i = 0; i < n && rc == OK; i++)
        rc = open_item(p, &p->items[i], db, cache, e);
    if (rc == OK)
        rc = records_listen(p->records, p->watch_cache, e);
    if (rc == OK) {
        p->health_db = health_add(health, "database", HEALTH_REQUIRED, 0);
        if (p->has_cache)
            p->health_cache = health_add(health, "cache", HEALTH_OPTIONAL, 0);
        rc = worker_start(&p->watcher, "watch", watch, p, e);
    }
    if (rc != OK) {
        pool_free(p);
        return rc;
    }
    *ret = p;
    return OK;
}

void pool_free(struct pool *p)
{
    if (!p)
        return;
    worker_stop(&p->watcher);
    if (worker_join(&p->watcher, 5 * USEC_PER_SEC) != OK)
        return; /* it waits for a server; the process ends anyway and the memory must stay */
    for (size_t i = 0; i < p->n; i++) {
        db_free(p->items[i].db);
        cache_free(p->items[i].cache);
    }
    db_free(p->watch_db);
    cache_free(p->watch_cache);
    records_free(p->records);
    mem_free(p->items);
    pthread_cond_destroy(&p->freed);
    pthread_mutex_destroy(&p->lock);
    mem_free(p);
}

static struct pool_item *free_item(struct pool *p)
{
    for (size_t i = 0; i < p->n; i++)
        if (!p->items[i].lent)
            return &p->items[i];
    return NULL;
}

/* The lock is held. */
static rc_t not_ready(const struct pool *p, struct err *e)
{
    *e = p->why;
    return E_AGAIN;
}

rc_t pool_take(struct pool *p, struct pool_item **ret, struct err *e)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += WAIT_SECONDS;
    struct pool_item *item = NULL;
    bool waited = false;
    rc_t rc = OK;
    pthread_mutex_lock(&p->lock);
    if (!p->ready)
        rc = not_ready(p, e);
    for (; rc == OK && !(item = free_item(p)); waited = true)
        if (pthread_cond_timedwait(&p->freed, &p->lock, &until) == ETIMEDOUT)
            rc = err_set(e, E_AGAIN, "all %zu database connections are busy: raise API_POOL", p->n);
    if (item)
        item->lent = true;
    pthread_mutex_unlock(&p->lock);
    if (waited)
        metric_add(metrics_at(&metrics, M_WAITS, rc == OK ? WAIT_SERVED : WAIT_REFUSED, 0), 1);
    if (rc == OK)
        *ret = item;
    return rc;
}

void pool_give(struct pool *p, struct pool_item *item)
{
    db_rollback(item->db);
    pthread_mutex_lock(&p->lock);
    item->lent = false;
    pthread_cond_signal(&p->freed);
    pthread_mutex_unlock(&p->lock);
}
