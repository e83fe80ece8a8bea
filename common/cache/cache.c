/* The cache seam: options, the table of backends, the counts. */
#include "cache/cache.h"

#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "cache/driver.h"
#include "metrics/metrics.h"

/* A kind is what a key begins with, before its first colon. */
#define KINDS_MAX 8
#define TTL_DEFAULT_US (60 * USEC_PER_SEC)
enum { M_READS };
enum { READ_HIT, READ_MISS };
static const struct metric_row metric_rows[] = {
    [M_READS] = {.name = "modelmon_cache_reads_total",
                 .kind = METRIC_COUNTER,
                 .help = "Reads of the cache by what was asked for; a miss is answered by the database.",
                 .labels = {{.name = "kind", .cap = KINDS_MAX},
                            {.name = "outcome", .values = (const char *const[]){"hit", "miss", NULL}}}},
};
static struct metric_set metrics = METRIC_SET(metric_rows);

#define AT(field) offsetof(struct cache_config, field)
/* --- none: nothing is ever there --- */
static bool none_accepts(const char *url)
{
    return *url == '\0';
}

static rc_t none_check(const char *url, struct err *e)
{
    (void)url, (void)e;
    return OK;
}

static rc_t none_open(const struct cache_config *cfg, void **ret_self, struct err *e)
{
    (void)cfg, (void)e;
    *ret_self = NULL;
    return OK;
}

static void none_nothing(void *self)
{
    (void)self;
}

static rc_t none_get(void *self, struct str key, struct buf *ret)
{
    (void)self, (void)key, (void)ret;
    return E_NOTFOUND;
}

static rc_t none_set(void *self, struct str key, struct str value, int64_t ttl_us)
{
    (void)self, (void)key, (void)value, (void)ttl_us;
    return OK;
}

static rc_t none_del(void *self, struct str key)
{
    (void)self, (void)key;
    return OK;
}

static rc_t none_publish(void *self, const char *channel, struct str message)
{
    (void)self, (void)channel, (void)message;
    return OK;
}

static rc_t none_subscribe(void *self, const char *channel, void (*fn)(void *arg, struct str message), void *arg,
                           struct err *e)
{
    (void)self, (void)channel, (void)fn, (void)arg, (void)e;
    return OK;
}

static bool none_up(const void *self)
{
    (void)self;
    return true;
}

static const struct cache_ops cache_none = {
    .name = "none",
    .accepts = none_accepts,
    .check = none_check,
    .open = none_open,
    .close = none_nothing,
    .get = none_get,
    .set = none_set,
    .del = none_del,
    .publish = none_publish,
    .subscribe = none_subscribe,
    .poll = none_nothing,
    .up = none_up,
};

/* To add a backend: 1. a file with its cache_ops, 2. its declaration in driver.h, 3. a row here. */
static const struct cache_ops *const backends[] = {
    &cache_none,
    &cache_redis,
    &cache_memory,
};

static const struct cache_ops *backend_of(const char *url)
{
    for (size_t i = 0; i < sizeof backends / sizeof *backends; i++)
        if (backends[i]->accepts(url))
            return backends[i];
    return NULL;
}

static rc_t check_url(const char *url, struct err *e)
{
    const struct cache_ops *ops = backend_of(url);
    if (ops)
        return ops->check(url, e);
    return err_set(e, E_INVALID, "it names no cache that is known here (redis://host:port, memory:)");
}

const struct config_key cache_keys[] = {
    {.env = "REDIS_URL",
     .def = "",
     .type = CONFIG_STR,
     .flags = CONFIG_SECRET,
     .offset = AT(url),
     .check = check_url,
     .help = "redis://[user:password@]host:port[/db]; memory: for one within the process; empty: no cache."},
    {.env = "CACHE_TTL",
     .def = "60s",
     .type = CONFIG_DURATION,
     .offset = AT(ttl_us),
     .min = USEC_PER_SEC,
     .max = 86400 * USEC_PER_SEC,
     .help = "Longest life of what is cached."},
};
const size_t cache_keys_n = sizeof cache_keys / sizeof *cache_keys;

struct cache {
    const struct cache_ops *ops;
    void *self;
    int64_t ttl_us;
    struct cache_counts counts;
};

rc_t cache_open(struct cache **ret, const struct cache_config *cfg, struct err *e)
{
    void *self = NULL;
    const char *url = cfg->url ? cfg->url : "";
    rc_t rc = check_url(url, e);
    if (rc)
        return err_prefix(e, rc, "REDIS_URL: ");
    const struct cache_ops *ops = backend_of(url);
    rc = ops->open(cfg, &self, e);
    if (rc)
        return rc;
    metrics_register(&metrics);
    struct cache *c = mem_alloc(sizeof *c);
    *c = (struct cache){.ops = ops, .self = self, .ttl_us = cfg->ttl_us >= USEC_PER_MSEC ? cfg->ttl_us : TTL_DEFAULT_US};
    *ret = c;
    return OK;
}

void cache_free(struct cache *c)
{
    if (!c)
        return;
    c->ops->close(c->self);
    mem_free(c);
}

/* What the backend's answer adds to the counts: being kept out is no new error. */
static void count(struct cache *c, rc_t rc)
{
    c->counts.errors += rc != OK && rc != E_NOTFOUND && rc != E_LIMIT;
}

static void count_read(struct str key, bool hit)
{
    const char *colon = memchr(key.p, ':', key.n);
    struct str kind = {key.p, colon ? (size_t)(colon - key.p) : key.n};
    size_t label = metrics_label(&metrics, M_READS, 0, kind);
    metric_add(metrics_at(&metrics, M_READS, label, hit ? READ_HIT : READ_MISS), 1);
}

rc_t cache_get(struct cache *c, struct str key, struct buf *ret)
{
    rc_t rc = c->ops->get(c->self, key, ret);
    if (cache_exists(c))
        count_read(key, rc == OK);
    c->counts.hits += rc == OK;
    c->counts.misses += rc != OK;
    count(c, rc);
    return rc ? E_NOTFOUND : OK;
}

void cache_set_for(struct cache *c, struct str key, struct str value, int64_t ttl_us)
{
    int64_t ttl = ttl_us < c->ttl_us ? ttl_us : c->ttl_us;
    count(c, c->ops->set(c->self, key, value, ttl >= USEC_PER_MSEC ? ttl : USEC_PER_MSEC));
}

void cache_set(struct cache *c, struct str key, struct str value)
{
    cache_set_for(c, key, value, c->ttl_us);
}

void cache_del(struct cache *c, struct str key)
{
    count(c, c->ops->del(c->self, key));
}

rc_t cache_add(struct cache *c, struct str key, int64_t n, int64_t ttl_us, int64_t *ret)
{
    rc_t rc = c->ops->add ? c->ops->add(c->self, key, n, ttl_us, ret) : E_NOTFOUND;
    count(c, rc);
    return rc ? E_NOTFOUND : OK;
}

void cache_publish(struct cache *c, const char *channel, struct str message)
{
    count(c, c->ops->publish(c->self, channel, message));
}

rc_t cache_subscribe(struct cache *c, const char *channel, void (*fn)(void *arg, struct str message), void *arg,
                     struct err *e)
{
    return c->ops->subscribe(c->self, channel, fn, arg, e);
}

void cache_poll(struct cache *c)
{
    c->ops->poll(c->self);
}

bool cache_exists(const struct cache *c)
{
    return c->ops != &cache_none;
}

bool cache_up(const struct cache *c)
{
    return c->ops->up(c->self);
}

struct cache_counts cache_counts(const struct cache *c)
{
    return c->counts;
}
