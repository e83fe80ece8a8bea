/* Waiting for the acknowledgements of a set of produced messages. Lives as long as any message may be open:
 * keep it in the producer's owner, not on a stack. One thread produces and waits; callbacks come from the producer's thread. */
#pragma once
#include <pthread.h>
#include "bus/bus.h"

struct acks {
    pthread_mutex_t lock;
    pthread_cond_t change;
    size_t open, failed;
    const struct bus_producer *producer; /* of what is open */
    rc_t rc;
    char words[200];
};
void acks_init(struct acks *a);
void acks_done(struct acks *a); /* waits ≤ 5 s for what is open */
/* Produces and counts; waits while the producer is full. E_AGAIN: not taken within timeout_us. Neither this nor acks_wait waits beyond
 * the producer's bus_producer_end_by. */
rc_t acks_produce(struct acks *a, struct bus_producer *p, const char *topic, struct str key, struct str value,
                  const struct bus_header *headers, size_t n_headers, int64_t timeout_us, struct err *e) MUST_CHECK;
/* OK: all since the last wait are acknowledged. E_AGAIN: some are not, or the time is over: produce the set again.
 * E_INVALID: the bus refused one for good. Counts start again at the next produce. */
rc_t acks_wait(struct acks *a, int64_t timeout_us, struct err *e) MUST_CHECK;
