/* Read-through cache seam: nothing in it is true, everything has a TTL, losing it all changes no result.
 * A backend is one `const struct cache_ops` and a row of backends[] in cache.c (redis; memory, shared within the process; "none" when no URL is set).
 * Thread rule: a struct cache belongs to one thread. Every call is bounded (200 ms); after an error a breaker keeps
 * the backend out for 0.1 to 5 s and get answers E_NOTFOUND, set OK. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/rc.h"
#include "base/str.h"
#include "config/config.h"

struct cache;
struct cache_config {
    char *url; /* REDIS_URL, secret: redis://[user:password@]host:port[/db], percent-encoded; rediss:// is refused; "memory:"; empty: no cache */
    int64_t ttl_us; /* CACHE_TTL */
};
extern const struct config_key cache_keys[];
extern const size_t cache_keys_n;

rc_t cache_open(struct cache **ret, const struct cache_config *cfg, struct err *e) MUST_CHECK; /* lazily; E_INVALID: bad URL */
void cache_free(struct cache *c);
rc_t cache_get(struct cache *c, struct str key, struct buf *ret) MUST_CHECK; /* OK or E_NOTFOUND, never worse */
void cache_set(struct cache *c, struct str key, struct str value);           /* with the TTL */
void cache_set_for(struct cache *c, struct str key, struct str value, int64_t ttl_us); /* with this one, if it is shorter */
void cache_del(struct cache *c, struct str key);
/* Counts together with other processes: adds to a number that begins at 0 and lives ttl_us after its last change, *ret the sum.
 * E_NOTFOUND: there is nobody to count with, or no answer (it may have been added). */
rc_t cache_add(struct cache *c, struct str key, int64_t n, int64_t ttl_us, int64_t *ret) MUST_CHECK;
void cache_publish(struct cache *c, const char *channel, struct str message); /* best effort */
/* A connection of its own that listens; cache_poll calls fn for what has come, without blocking, and reconnects by itself.
 * Each time it comes to listen, fn gets an empty message: "you may have missed some, forget what you hold".
 * At most 8 subscriptions (E_LIMIT). */
rc_t cache_subscribe(struct cache *c, const char *channel, void (*fn)(void *arg, struct str message), void *arg,
                     struct err *e) MUST_CHECK;
void cache_poll(struct cache *c);
bool cache_exists(const struct cache *c); /* false: no URL, nothing is ever there */
bool cache_up(const struct cache *c);     /* false: what was tried last has failed, and is kept out for a while */
struct cache_counts {
    int64_t hits, misses, errors;
};
struct cache_counts cache_counts(const struct cache *c);
