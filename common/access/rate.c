/* Buckets, as the time at which the next request would find them full: one number a token. */
#include "access/rate.h"

#include <inttypes.h>

#include "base/clock.h"

#define BURST_US USEC_PER_SEC
#define KEY_TTL_US (60 * USEC_PER_SEC)
#define RECENT_US (2 * USEC_PER_SEC) /* others are asked about a token so long after its last request here */

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

bool rate_take(struct token_row *t, int64_t now, int64_t *ret_wait_us)
{
    if (t->rate == 0)
        return true;
    int64_t each = later(USEC_PER_SEC / t->rate, 1), full = atomic_load_explicit(&t->full_us, memory_order_relaxed), next;
    do {
        next = later(full, now) + each;
        if (next - now > BURST_US) {
            *ret_wait_us = next - now - BURST_US;
            return false;
        }
    } while (!atomic_compare_exchange_weak(&t->full_us, &full, next));
    (void)atomic_fetch_add_explicit(&t->taken, 1, memory_order_relaxed);
    atomic_store_explicit(&t->taken_us, now, memory_order_relaxed);
    return true;
}

/* However many they were, this process's turn comes again within a second. */
static void take_others(struct token_row *t, int64_t n, int64_t now)
{
    int64_t each = later(USEC_PER_SEC / t->rate, 1), full = atomic_load(&t->full_us), next;
    if (n <= 0)
        return;
    do {
        next = later(full, now) + (n > t->rate ? t->rate : n) * each;
        if (next > now + 2 * BURST_US)
            next = now + 2 * BURST_US;
    } while (!atomic_compare_exchange_weak(&t->full_us, &full, next));
}

/* False: nobody answers. */
static bool share(struct token_row *t, struct cache *c, int64_t prefix, int64_t now)
{
    CLEANUP(buf_done) struct buf key = {0};
    int64_t taken = atomic_load(&t->taken), own = taken - t->told_taken, total = 0;
    if (own == 0 && now - atomic_load(&t->taken_us) > RECENT_US) {
        t->seen_total = -1; /* what the others do meanwhile does not count here */
        return true;
    }
    buf_addf(&key, "rate:%" PRId64 ":%" PRId64, prefix, t->id);
    if (cache_add(c, buf_str(&key), own, KEY_TTL_US, &total) != OK)
        return false; /* told next time */
    t->told_taken = taken;
    if (t->seen_total >= 0)
        take_others(t, total - t->seen_total - own, now);
    t->seen_total = total;
    return true;
}

void rate_share(struct token_table *t, struct cache *c, int64_t prefix, int64_t now)
{
    bool heard = true;
    for (size_t i = 0; i < t->n && heard; i++)
        if (t->rows[i].rate && t->rows[i].id)
            heard = share(&t->rows[i], c, prefix, now);
}
