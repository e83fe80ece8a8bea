/* The consumer's insides, shared by kafka_consumer.c (group, polling) and kafka_assign.c (partitions, offsets).
 * Internal to this folder. */
#pragma once
#include <librdkafka/rdkafka.h>
#include "base/map.h"
#include "bus/bus.h"

struct kafka_pending { /* a rebalance event on its way from the callback to poll */
    struct kafka_pending *next;
    enum bus_event_type type;
    size_t n;
    struct bus_partition parts[];
};

struct kafka_consumer {
    rd_kafka_t *rk;
    rd_kafka_conf_t *look_conf; /* until look_rk is there */
    rd_kafka_t *look_rk; /* asks for offsets: on rk's connections a question waits behind a fetch that waits for records */
    bool look_stale;     /* the last question failed: what it knows of leaders may be old */
    rd_kafka_conf_t *peek_conf; /* until peek_rk is there */
    rd_kafka_t *peek_rk;        /* reads single records without the group, see kafka_peek.c */
    struct map names;           /* topic → its interned text */
    const char *last_name;
    char **topics; /* subscribed, sorted */
    size_t n_topics;
    rd_kafka_message_t *held;    /* behind the pending events */
    rd_kafka_message_t *current; /* what the last event borrows from */
    struct kafka_pending *pending, **pending_tail;
    struct kafka_pending *shown;
    struct bus_partition part; /* of END and RANGE */
    bool revoking;             /* REVOKED or LOST given out, not yet released */
    bool closing;
};

const char *kafka_intern(struct kafka_consumer *c, const char *topic);
rd_kafka_topic_partition_list_t *kafka_list(const struct bus_partition *parts, size_t n, bool offsets);
rc_t kafka_peek_conf(const struct bus_config *cfg, const char *group, rd_kafka_conf_t **ret, struct err *e) MUST_CHECK;
rc_t kafka_peek(void *self, const struct bus_partition *parts, size_t n, struct bus_mark *ret, int64_t timeout_us,
                struct err *e) MUST_CHECK;               /* bus_assign_ops.peek */
int64_t kafka_timestamp_us(const rd_kafka_message_t *m); /* -1: none */
/* Leaves the group and frees c, within 8 s; what is late then is left behind. */
void kafka_consumer_close_take(struct kafka_consumer *c);
