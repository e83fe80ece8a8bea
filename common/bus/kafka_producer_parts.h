/* What the files of the producer share: its state, what stands behind a message, handing over. Internal to this folder. */
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include "base/map.h"
#include "bus/bus_ops.h"
#include "bus/kafka_producer.h"
#include "bus/kafka_report.h"

#define KAFKA_OVERHEAD 128 /* what librdkafka and we add to a message, about */

struct kafka_producer {
    struct bus_config cfg;
    rd_kafka_conf_t *conf; /* of which every handle gets a copy */
    int64_t limit_bytes;
    pthread_mutex_t lock;   /* rk, topics, users */
    pthread_cond_t changed; /* open reached 0, or users did */
    rd_kafka_t *rk;
    struct map topics; /* name → rd_kafka_topic_t of rk */
    size_t users;      /* of kafka_producer_hold */
    pthread_t thread;
    atomic_bool stop, broken, up;
    atomic_llong bytes, open, heard_us;
    long long reported, reported_bytes; /* the poll thread's: not in bytes and open yet */
    bool heard;
    rd_kafka_topic_t *last; /* of topics: the one that was asked for last */
    int64_t probed_us;
    struct kafka_spent spent;
};

/* One accepted message, until its report. The value behind it is what librdkafka sends: it is copied once. A message that is
 * lent has its receipt instead, with bit 0 set: nothing is allocated for it. */
struct delivery {
    bus_delivered_fn *fn;
    void *arg;
    size_t bytes;
    char value[];
};
#define KAFKA_LENT ((uintptr_t)1)

/* kafka_send.c: produce and many of bus_producer_ops. Any thread. */
rc_t kafka_produce(void *self, const struct bus_message *m, struct err *e) MUST_CHECK;
rc_t kafka_produce_many(void *self, const char *topic, struct bus_lent *list, size_t n, const struct bus_receipt *r,
                        struct err *e) MUST_CHECK;
