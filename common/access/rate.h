/* How often a token may ask: a bucket of one second's requests, refilled as time goes. The bucket is the process's own; what other
 * processes let through is told by Redis, up to RATE_SHARE_US late, and taken out of it. Not for other folders. */
#pragma once
#include "access/table.h"
#include "cache/cache.h"

#define RATE_SHARE_US (100 * USEC_PER_MSEC)

/* False: not now; *ret_wait_us says when. Any thread. */
bool rate_take(struct token_row *t, int64_t now_mono_us, int64_t *ret_wait_us);
/* Counts together with the other processes, for tokens that were used of late. One thread; prefix tells this database's tokens
 * from another's. Without a cache that counts nothing happens. */
void rate_share(struct token_table *t, struct cache *c, int64_t prefix, int64_t now_mono_us);
