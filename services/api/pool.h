/* Database and cache connections for workers: a few pairs, each lent to one request at a time, and the thread that
 * watches the servers: it migrates or checks the schema first, then asks each second, and says so in /readyz; it hears of changed endpoint
 * records, from other processes and from the database. */
#pragma once
#include "app/records.h"
#include "base/rc.h"
#include "cache/cache.h"
#include "db/db.h"
#include "service/health.h"

struct pool;
struct pool_item {
    struct db *db;
    struct cache *cache;
    struct records *records; /* the pool's: endpoint records through the cache */
    bool lent;
};

rc_t pool_open(struct pool **ret, const struct db_config *db, const struct cache_config *cache, size_t n,
               struct health *health, struct err *e) MUST_CHECK;
void pool_free(struct pool *p); /* every item is back; NULL is fine */
/* E_AGAIN: the database is not there or not right yet (the words say which), or none came free in two seconds. */
rc_t pool_take(struct pool *p, struct pool_item **ret, struct err *e) MUST_CHECK;
void pool_give(struct pool *p, struct pool_item *item); /* also ends a transaction that was left open */
