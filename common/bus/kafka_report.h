/* Reports of a producer's handle, and the memory of what they are about. Internal to this folder.
 *
 * librdkafka allocates each message on the thread that produces it. Freed on the poll thread, the two would meet at the
 * allocator's lock at every message; so a report that was read waits, for a moment, until somebody produces again. */
#pragma once
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#define KAFKA_SPENT_MAX 64

struct kafka_spent {
    pthread_mutex_t lock;
    pthread_cond_t freed;
    size_t freeing; /* threads that are at it */
    atomic_size_t n;
    rd_kafka_event_t *events[KAFKA_SPENT_MAX];
};
void kafka_spent_init(struct kafka_spent *s);
void kafka_spent_done(struct kafka_spent *s);
void kafka_spent_put(struct kafka_spent *s, rd_kafka_event_t *ev); /* takes it */
void kafka_spent_free(struct kafka_spent *s);                      /* any thread: what is there now */
void kafka_spent_drain(struct kafka_spent *s); /* the same, and waits for others who do: a handle can end then */
