/* What a bus implements. Internal to this folder; bus.c holds the table of buses. Every slot is required. */
#pragma once
#include "bus/bus.h"

struct bus_message {
    const char *topic;
    struct str key, value;
    const struct bus_receipt *receipt; /* not NULL: instead of fn and arg; value stays until it is told and need not be copied */
    const struct bus_header *headers;
    size_t n_headers;
    bus_delivered_fn *fn;
    void *arg;
};
struct bus_producer_ops {
    rc_t (*open)(const struct bus_config *cfg, void **ret, struct err *e);
    rc_t (*produce)(void *self, const struct bus_message *m, struct err *e);
    rc_t (*many)(void *self, const char *topic, struct bus_lent *list, size_t n, const struct bus_receipt *r, struct err *e);
    rc_t (*flush)(void *self, int64_t timeout_us, struct err *e);
    bool (*up)(const void *self);
    void (*free)(void *self, int64_t wait_us); /* for what is open */
};
struct bus_topic_ops {
    rc_t (*ensure)(void *producer, const char *topic, int32_t partitions, int32_t *ret_partitions, int64_t timeout_us,
                   struct err *e);
};
struct bus_consumer_ops {
    rc_t (*open)(const struct bus_config *cfg, const char *group, void **ret, struct err *e);
    rc_t (*topics)(void *self, const char *const *topics, size_t n, struct err *e);
    rc_t (*poll)(void *self, int64_t timeout_us, struct bus_event *ret, struct err *e);
    void (*note)(void *self, const struct bus_partition *parts, size_t n);
    void (*free)(void *self);
};
/* Times that bus_assign_ops.look takes besides instants. */
#define BUS_LOOK_END INT64_C(-1)
#define BUS_LOOK_BEGIN INT64_C(-2)
struct bus_assign_ops {
    rc_t (*start)(void *self, const struct bus_partition *parts, size_t n, struct err *e);
    rc_t (*release)(void *self, struct err *e);
    rc_t (*pause)(void *self, const struct bus_partition *parts, size_t n, bool paused, struct err *e);
    rc_t (*seek)(void *self, const struct bus_partition *part, struct err *e);
    rc_t (*look)(void *self, struct bus_partition *parts, size_t n, int64_t at, int64_t timeout_us, struct err *e);
    rc_t (*peek)(void *self, const struct bus_partition *parts, size_t n, struct bus_mark *ret, int64_t timeout_us,
                 struct err *e);
};

struct bus {
    const char *name;
    const struct bus_producer_ops *producer;
    const struct bus_topic_ops *topic;
    const struct bus_consumer_ops *consumer;
    const struct bus_assign_ops *assign;
    bool alone; /* its topics are this process's while it is open */
    rc_t (*ping)(const struct bus_config *cfg, int64_t timeout_us, char *ret_cluster,
                 struct err *e); /* NULL: there is nothing to connect to */
};

extern const struct bus_producer_ops kafka_producer_ops;
extern const struct bus_topic_ops kafka_topic_ops;
extern const struct bus_consumer_ops kafka_consumer_ops;
extern const struct bus_assign_ops kafka_assign_ops;
rc_t kafka_ping(const struct bus_config *cfg, int64_t timeout_us, char *ret_cluster, struct err *e) MUST_CHECK;

const char *local_folder(const char *brokers); /* behind "local:"; "": it is none */
rc_t local_look(const char *folder, const struct bus_partition *parts, size_t n, int64_t *ret_ends,
                struct bus_mark *ret, struct err *e) MUST_CHECK;
extern const struct bus_producer_ops local_producer_ops;
extern const struct bus_topic_ops local_topic_ops;
extern const struct bus_consumer_ops local_consumer_ops;
extern const struct bus_assign_ops local_assign_ops;
