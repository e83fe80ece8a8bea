/* What is left of reports, until it is freed. */
#include "bus/kafka_report.h"

#include <string.h>

void kafka_spent_init(struct kafka_spent *s)
{
    (void)pthread_mutex_init(&s->lock, NULL); /* these two cannot fail on Linux */
    (void)pthread_cond_init(&s->freed, NULL);
}

void kafka_spent_done(struct kafka_spent *s)
{
    (void)pthread_mutex_destroy(&s->lock);
    (void)pthread_cond_destroy(&s->freed);
}

void kafka_spent_put(struct kafka_spent *s, rd_kafka_event_t *ev)
{
    (void)pthread_mutex_lock(&s->lock);
    size_t n = atomic_load_explicit(&s->n, memory_order_relaxed);
    bool room = n < KAFKA_SPENT_MAX;
    if (room) {
        s->events[n] = ev;
        atomic_store_explicit(&s->n, n + 1, memory_order_relaxed);
    }
    (void)pthread_mutex_unlock(&s->lock);
    if (!room)
        rd_kafka_event_destroy(ev);
}

void kafka_spent_free(struct kafka_spent *s)
{
    rd_kafka_event_t *mine[KAFKA_SPENT_MAX];
    if (atomic_load_explicit(&s->n, memory_order_relaxed) == 0)
        return;
    (void)pthread_mutex_lock(&s->lock);
    size_t n = atomic_load_explicit(&s->n, memory_order_relaxed);
    memcpy(mine, s->events, n * sizeof *mine);
    atomic_store_explicit(&s->n, 0, memory_order_relaxed);
    s->freeing++;
    (void)pthread_mutex_unlock(&s->lock);
    for (size_t i = 0; i < n; i++)
        rd_kafka_event_destroy(mine[i]);
    (void)pthread_mutex_lock(&s->lock);
    if (--s->freeing == 0)
        (void)pthread_cond_broadcast(&s->freed);
    (void)pthread_mutex_unlock(&s->lock);
}

void kafka_spent_drain(struct kafka_spent *s)
{
    kafka_spent_free(s);
    (void)pthread_mutex_lock(&s->lock);
    while (s->freeing)
        (void)pthread_cond_wait(&s->freed, &s->lock);
    (void)pthread_mutex_unlock(&s->lock);
}
