/* The message bus seam: topics with partitions, a producer with acknowledgements, a consumer without offsets of its own
 * (the ledger has them). A bus is one `const struct bus_ops` per half and one row of buses[] in bus.c: kafka;
 * local, a log in files for all services in one process.
 * Thread rule: a consumer belongs to one thread; a producer may be used from any thread (callbacks come on its own
 * poll thread and must only enqueue); admin calls block and belong at start-up or on a slow path. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/rc.h"
#include "base/str.h"
#include "config/config.h"

struct bus_config {
    int kind;      /* BUS: a row of buses[]; 0: kafka */
    char *brokers; /* KAFKA_BROKERS, "host:port,…"; "local:/path/of/a/folder" is the local bus, whatever kind is */
    char *extra;   /* KAFKA_OPTIONS: more librdkafka keys "a=b;c=d" (SASL, TLS, compression …), secret. Local:
                               segment.bytes, retention.bytes (of a partition, 0: any), as its first opener gives them */
    int64_t inflight_bytes; /* PRODUCER_MAX_INFLIGHT 64MiB: beyond it bus_produce answers E_AGAIN */
    int64_t linger_us;      /* PRODUCER_LINGER 2ms */
    int64_t session_us;     /* CONSUMER_SESSION 10s */
    char *instance_id;      /* CONSUMER_INSTANCE: static membership, empty: none */
    char *client_id;        /* CLIENT_ID */
    int64_t retention_us;   /* TOPIC_RETENTION 7d of topics we make */
    int64_t partitions;     /* TOPIC_PARTITIONS 8 */
    int64_t replication;    /* TOPIC_REPLICATION 1 */
};
/* In a config made without rows 0 or NULL means: that row's default (inflight, session, topics), or none. */
extern const struct config_key bus_keys[];
extern const size_t bus_keys_n;

/* Whether brokers name a folder of this machine, whose log no other program reads, and not Kafka; NULL does not. */
bool bus_is_local(const char *brokers);
/* Whether the text can be the addresses of brokers (brokers.c); the check of KAFKA_BROKERS. */
rc_t bus_check_brokers(const char *text, struct err *e) MUST_CHECK;
/* Connects and asks which cluster it is, by whatever address: E_AGAIN with the library's words when no broker has let us in by then. A
 * local bus needs no connection, and has no name: "". */
#define BUS_CLUSTER_MAX 64
rc_t bus_ping(const struct bus_config *cfg, int64_t timeout_us, char ret_cluster[BUS_CLUSTER_MAX + 1],
              struct err *e) MUST_CHECK;

#define BUS_MESSAGE_MAX (2u << 20) /* key, value and headers; topics made here take as much */

struct bus_header {
    const char *name;
    struct str value;
};

/* ---- producing ---- */
struct bus_producer;
/* Called once for every accepted message, on the producer's thread: OK = acknowledged by all in-sync replicas;
 * E_AGAIN = not delivered (time-out, broker gone, no such topic, no right to write to it); E_INVALID = refused for good (too large). */
typedef void bus_delivered_fn(void *arg, rc_t rc, const char *words);

rc_t bus_producer_open(struct bus_producer **ret, const struct bus_config *cfg, struct err *e) MUST_CHECK;
/* Copies key and value. key.p NULL: no key; value.p NULL: a tombstone. fn may be NULL. OK: accepted, fn will be called.
 * E_AGAIN: full, nothing happened. E_INVALID: it can never be sent (larger than BUS_MESSAGE_MAX). */
rc_t bus_produce(struct bus_producer *p, const char *topic, struct str key, struct str value,
                 const struct bus_header *headers, size_t n_headers, bus_delivered_fn *fn, void *arg,
                 struct err *e) MUST_CHECK;
/* The same, but value and *r are lent: they must stay as they are until r->fn, which is not NULL, was told of the message. It is
 * told of n messages at once, so that every message has been told of once. */
struct bus_receipt {
    void (*fn)(void *arg, size_t n, rc_t rc, const char *words);
    void *arg;
};
rc_t bus_produce_lent(struct bus_producer *p, const char *topic, struct str key, struct str value,
                      const struct bus_header *headers, size_t n_headers, const struct bus_receipt *r,
                      struct err *e) MUST_CHECK;
/* Many messages without headers, lent alike, to one topic: cheaper than one by one. Each rc says what became of its message, as
 * bus_produce would. OK: all were accepted; else the first other code and its words. */
struct bus_lent {
    struct str key, value; /* the key is copied */
    rc_t rc;
};
rc_t bus_produce_many(struct bus_producer *p, const char *topic, struct bus_lent *list, size_t n,
                      const struct bus_receipt *r, struct err *e) MUST_CHECK;
rc_t bus_flush(struct bus_producer *p, int64_t timeout_us, struct err *e) MUST_CHECK; /* E_AGAIN: some are still open */
bool bus_producer_up(const struct bus_producer *p); /* brokers answered lately; any thread */
/* What to do when it is not, for /readyz. */
void bus_away_words(const char *brokers, struct err *ret);
/* The process is about to end: nobody is to wait for acknowledgements beyond this (monotonic). Any thread, at any time. */
void bus_producer_end_by(struct bus_producer *p, int64_t until_us);
int64_t bus_producer_ends(const struct bus_producer *p); /* what was said; INT64_MAX: nothing yet */
/* Waits ≤ 5 s (and not beyond bus_producer_end_by) for what is open; the callbacks of what is still open then get E_AGAIN. No
 * callback comes after it. */
void bus_producer_free(struct bus_producer *p);

/* ---- consuming ---- */
struct bus_consumer;
struct bus_partition {
    const char *topic; /* borrowed from the consumer until it is freed (interned) */
    int32_t partition;
    int64_t offset;
};
enum bus_event_type {
    BUS_NONE, /* nothing within the time-out */
    BUS_RECORD,
    BUS_ASSIGNED, /* parts (offset -1; n may be 0): all that is ours now; the owner answers with one bus_consumer_start */
    BUS_REVOKED, /* parts: give them up (finish or drop), then bus_consumer_release. No record comes in between */
    BUS_LOST,    /* as REVOKED, but another may own them already: drop */
    BUS_END,     /* parts[0]: everything below .offset has been delivered (partition EOF) */
    BUS_RANGE, /* parts[0]: the offset asked for is not retained any more (or not there yet); the partition stands still */
    BUS_ERROR, /* informational, rc/words; keep polling */
};
struct bus_event {
    enum bus_event_type type;
    struct bus_partition *parts; /* borrowed until the next poll */
    size_t n_parts;
    /* RECORD */
    const char *topic;
    int32_t partition;
    int64_t offset, timestamp_us; /* broker/producer time of the record; -1: none */
    struct str key, value;        /* borrowed until the next poll; .p NULL: none */
    struct str traceparent;       /* header of that name, or empty */
    rc_t rc;
    char words[200];
};
rc_t bus_consumer_open(struct bus_consumer **ret, const struct bus_config *cfg, const char *group, struct err *e) MUST_CHECK;
/* The whole list of topics wanted; changes only when the set differs. Topics that do not exist yet are waited for. */
rc_t bus_consumer_topics(struct bus_consumer *c, const char *const *topics, size_t n, struct err *e) MUST_CHECK;
/* Only the fields of its type are set in *ret. E_FATAL: another took this instance id; the process must go. */
rc_t bus_consumer_poll(struct bus_consumer *c, int64_t timeout_us, struct bus_event *ret, struct err *e) MUST_CHECK;
/* Answer to ASSIGNED: exactly those partitions, offsets explicit (BUS_OFFSET_EARLIEST allowed). One assign. */
rc_t bus_consumer_start(struct bus_consumer *c, const struct bus_partition *parts, size_t n, struct err *e) MUST_CHECK;
rc_t bus_consumer_release(struct bus_consumer *c, struct err *e) MUST_CHECK;
rc_t bus_consumer_pause(struct bus_consumer *c, const struct bus_partition *parts, size_t n, bool paused,
                        struct err *e) MUST_CHECK;
rc_t bus_consumer_seek(struct bus_consumer *c, const struct bus_partition *part, struct err *e) MUST_CHECK;
/* High watermarks now (asks the brokers; one request a broker, ≤ timeout): parts[i].offset is set. Low ones for first starts.
 * E_AGAIN: not all answered in time; E_NOTFOUND: a partition does not exist. Then no offset is changed. */
rc_t bus_consumer_ends(struct bus_consumer *c, struct bus_partition *parts, size_t n, int64_t timeout_us,
                       struct err *e) MUST_CHECK;
rc_t bus_consumer_begins(struct bus_consumer *c, struct bus_partition *parts, size_t n, int64_t timeout_us,
                         struct err *e) MUST_CHECK;
/* First offset whose record time is >= at_us (the end when there is none): start of the dedupe horizon. */
rc_t bus_consumer_at(struct bus_consumer *c, struct bus_partition *parts, size_t n, int64_t at_us, int64_t timeout_us,
                     struct err *e) MUST_CHECK;
/* What a record is known by: where it is, its time, a print of its key and value that is the same in every process. */
struct bus_mark {
    int64_t offset; /* -1: there is none */
    int64_t timestamp_us, print;
};
int64_t bus_print(struct str key, struct str value);
/* The first record from parts[i].offset on, read anew, whoever owns the partition: ret[i]. None where that is not
 * retained. The parts differ from each other; what the consumer reads does not move. E_AGAIN: not all answered in time, and ret holds nothing. */
rc_t bus_consumer_peek(struct bus_consumer *c, const struct bus_partition *parts, size_t n, struct bus_mark *ret,
                       int64_t timeout_us, struct err *e) MUST_CHECK;
/* Nobody can put another log in a topic's place while this consumer is open. */
bool bus_consumer_alone(const struct bus_consumer *c);
void bus_consumer_note(struct bus_consumer *c, const struct bus_partition *parts,
                       size_t n);               /* async Kafka commit, for lag tools only */
void bus_consumer_free(struct bus_consumer *c); /* leaves the group (a static member stays listed); ≤ 2 s */
#define BUS_OFFSET_EARLIEST INT64_C(-2)

/* For tools that take no part. Of each log where it ends, and the first record from parts[i].offset on (none: ret[i].offset -1). The
 * parts differ from each other. A local log is read from its files, whoever writes them; one that is not there ends at 0. E_AGAIN,
 * E_NOTFOUND as with bus_consumer_ends. */
rc_t bus_look(const struct bus_config *cfg, const struct bus_partition *parts, size_t n, int64_t *ret_ends,
              struct bus_mark *ret, int64_t timeout_us, struct err *e) MUST_CHECK;

/* ---- topics ---- */
/* Makes it if missing; *ret_partitions is what it has. partitions 0: cfg's. E_AGAIN: not settled in time. */
rc_t bus_topic_ensure(struct bus_producer *p, const char *topic, int32_t partitions, int32_t *ret_partitions,
                      int64_t timeout_us, struct err *e) MUST_CHECK;
