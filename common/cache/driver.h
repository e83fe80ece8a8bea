/* What a cache backend is. Not for other folders. */
#pragma once
#include "cache/cache.h"

struct cache_ops {
    const char *name;
    bool (*accepts)(const char *url);
    rc_t (*check)(const char *url, struct err *e); /* of one it accepts: can it be right? Words without the URL */
    rc_t (*open)(const struct cache_config *cfg, void **ret_self, struct err *e);
    void (*close)(void *self);
    /* OK, E_NOTFOUND: not there; E_AGAIN: the backend failed; E_LIMIT: it is kept out for now. */
    rc_t (*get)(void *self, struct str key, struct buf *ret);
    rc_t (*set)(void *self, struct str key, struct str value, int64_t ttl_us); /* 1 ms at least */
    rc_t (*del)(void *self, struct str key);
    rc_t (*add)(void *self, struct str key, int64_t n, int64_t ttl_us, int64_t *ret); /* NULL: it knows no other process */
    rc_t (*publish)(void *self, const char *channel, struct str message);
    rc_t (*subscribe)(void *self, const char *channel, void (*fn)(void *arg, struct str message), void *arg, struct err *e);
    void (*poll)(void *self);
    bool (*up)(const void *self);
};
extern const struct cache_ops cache_redis, cache_memory;
