/* Counts delivery reports: how many are open, whether any failed, and the words of the first failure. */
#include <stdio.h>
#include "base/clock.h"
#include "pipeline/acks.h"

#define LOOK_US (200 * USEC_PER_MSEC)

void acks_init(struct acks *a)
{
    *a = (struct acks){.rc = OK};
    (void)pthread_mutex_init(&a->lock, NULL);
    clock_cond_init(&a->change);
}

void acks_done(struct acks *a)
{
    struct err e;
    if (acks_wait(a, 5 * USEC_PER_SEC, &e) == E_AGAIN && a->open)
        return; /* callbacks may still come: the lock must stay */
    (void)pthread_cond_destroy(&a->change);
    (void)pthread_mutex_destroy(&a->lock);
}

static void delivered(void *arg, rc_t rc, const char *words)
{
    struct acks *a = arg;
    (void)pthread_mutex_lock(&a->lock);
    a->open--;
    if (rc && a->failed++ == 0) {
        a->rc = rc;
        (void)snprintf(a->words, sizeof a->words, "%s", words ? words : rc_name(rc));
    }
    if (a->open == 0)
        (void)pthread_cond_broadcast(&a->change);
    (void)pthread_mutex_unlock(&a->lock);
}

static void add_open(struct acks *a, size_t n)
{
    (void)pthread_mutex_lock(&a->lock);
    a->open += n;
    (void)pthread_mutex_unlock(&a->lock);
}

/* A process that is asked to end says so while somebody waits. */
static int64_t sooner(int64_t deadline_us, const struct bus_producer *p)
{
    int64_t ends = bus_producer_ends(p);
    return ends < deadline_us ? ends : deadline_us;
}

rc_t acks_produce(struct acks *a, struct bus_producer *p, const char *topic, struct str key, struct str value,
                  const struct bus_header *headers, size_t n_headers, int64_t timeout_us, struct err *e)
{
    int64_t deadline = clock_mono_us() + timeout_us;
    a->producer = p;
    add_open(a, 1);
    for (;;) {
        rc_t rc = bus_produce(p, topic, key, value, headers, n_headers, delivered, a, e);
        if (rc == OK)
            return OK;
        if (rc != E_AGAIN || clock_mono_us() >= sooner(deadline, p)) {
            (void)pthread_mutex_lock(&a->lock);
            a->open--;
            (void)pthread_mutex_unlock(&a->lock);
            return rc;
        }
        clock_sleep_us(2 * USEC_PER_MSEC);
    }
}

rc_t acks_wait(struct acks *a, int64_t timeout_us, struct err *e)
{
    int64_t deadline = clock_mono_us() + timeout_us;
    (void)pthread_mutex_lock(&a->lock);
    for (int64_t now; a->open && (now = clock_mono_us()) < sooner(deadline, a->producer);)
        (void)clock_cond_wait(&a->change, &a->lock, sooner(now + LOOK_US, a->producer));
    rc_t rc = a->open     ? err_set(e, E_AGAIN, "%zu messages are not acknowledged yet", a->open)
              : a->failed ? err_set(e, a->rc, "%zu messages were not delivered: %s", a->failed, a->words)
                          : OK;
    a->failed = 0;
    (void)pthread_mutex_unlock(&a->lock);
    return rc;
}
