/* The table of buses, and the way from the seam's functions to the bus that was opened. */
#include "bus/bus.h"
#include <assert.h>
#include <stdatomic.h>
#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "bus/bus_ops.h"

/* To add a bus: write its four `const struct …_ops`, name them in bus_ops.h, add a row here and a name to bus_kinds. */
enum { BUS_KAFKA, BUS_LOCAL };
static const struct bus buses[] = {
    [BUS_KAFKA] = {"kafka", &kafka_producer_ops, &kafka_topic_ops, &kafka_consumer_ops, &kafka_assign_ops,
                   .alone = false, .ping = kafka_ping},
    [BUS_LOCAL] = {"local", &local_producer_ops, &local_topic_ops, &local_consumer_ops, &local_assign_ops, .alone = true},
};
static const struct config_value bus_kinds[] = {{"kafka", BUS_KAFKA}, {"local", BUS_LOCAL}, {NULL, 0}};

#define AT(field) offsetof(struct bus_config, field)
const struct config_key bus_keys[] = {
    {.env = "BUS", .def = "kafka", .type = CONFIG_ENUM, .offset = AT(kind), .values = bus_kinds, .help = "Which message bus."},
    {.env = "KAFKA_BROKERS",
     .def = "127.0.0.1:9092",
     .type = CONFIG_STR,
     .flags = CONFIG_REQUIRED,
     .offset = AT(brokers),
     .check = bus_check_brokers,
     .help =
         "Where to find the brokers: host:port, separated by commas. local:/folder, for a log of this process alone."},
    {.env = "KAFKA_OPTIONS",
     .def = "",
     .type = CONFIG_STR,
     .flags = CONFIG_SECRET,
     .offset = AT(extra),
     .help = "More librdkafka options, a=b;c=d (\\; is a semicolon in a value): SASL, TLS, compression."},
    {.env = "CLIENT_ID",
     .def = "modelmon",
     .type = CONFIG_STR,
     .offset = AT(client_id),
     .help = "The name brokers see in their logs and quotas."},
    {.env = "PRODUCER_MAX_INFLIGHT",
     .def = "64MiB",
     .type = CONFIG_BYTES,
     .offset = AT(inflight_bytes),
     .min = 1 << 20,
     .max = INT64_C(1) << 32,
     .help = "Bytes accepted and not yet acknowledged; beyond it senders are pushed back."},
    {.env = "PRODUCER_LINGER",
     .def = "2ms",
     .type = CONFIG_DURATION,
     .offset = AT(linger_us),
     .min = 0,
     .max = USEC_PER_SEC,
     .help = "How long a message waits for others to share a request with."},
    {.env = "CONSUMER_SESSION",
     .def = "10s",
     .type = CONFIG_DURATION,
     .offset = AT(session_us),
     .min = 6 * USEC_PER_SEC,
     .max = 300 * USEC_PER_SEC,
     .help = "After this long without a sign of life others take a consumer's partitions."},
    {.env = "CONSUMER_INSTANCE",
     .def = "",
     .type = CONFIG_STR,
     .offset = AT(instance_id),
     .help = "A name that is this replica's alone and stays over restarts (static membership); empty: none."},
    {.env = "TOPIC_RETENTION",
     .def = "7d",
     .type = CONFIG_DURATION,
     .offset = AT(retention_us),
     .min = 60 * USEC_PER_SEC,
     .max = 36500 * USEC_PER_DAY,
     .help = "How long topics made here keep their records."},
    {.env = "TOPIC_PARTITIONS",
     .def = "8",
     .type = CONFIG_I64,
     .offset = AT(partitions),
     .min = 1,
     .max = 10000,
     .help = "Partitions of topics made here."},
    {.env = "TOPIC_REPLICATION",
     .def = "1",
     .type = CONFIG_I64,
     .offset = AT(replication),
     .min = 1,
     .max = 9,
     .help = "Copies of topics made here; from 3 on writes need two in sync."},
};
const size_t bus_keys_n = sizeof bus_keys / sizeof *bus_keys;

#define FREE_WAIT_US (5 * USEC_PER_SEC)

struct bus_producer {
    const struct bus *bus;
    void *self;
    atomic_llong end_us;
};
struct bus_consumer {
    const struct bus *bus;
    void *self;
};

static const struct bus *bus_of(const struct bus_config *cfg)
{
    assert(cfg->kind >= 0 && (size_t)cfg->kind < sizeof buses / sizeof *buses);
    if (bus_is_local(cfg->brokers)) /* no broker has such an address */
        return &buses[BUS_LOCAL];
    return &buses[cfg->kind];
}

rc_t bus_ping(const struct bus_config *cfg, int64_t timeout_us, char ret_cluster[BUS_CLUSTER_MAX + 1], struct err *e)
{
    const struct bus *bus = bus_of(cfg);
    if (!bus->ping)
        ret_cluster[0] = '\0';
    return bus->ping ? bus->ping(cfg, timeout_us, ret_cluster, e) : OK;
}

rc_t bus_producer_open(struct bus_producer **ret, const struct bus_config *cfg, struct err *e)
{
    const struct bus *bus = bus_of(cfg);
    void *self = NULL;
    rc_t rc = bus->producer->open(cfg, &self, e);
    if (rc)
        return rc;
    struct bus_producer *p = mem_alloc(sizeof *p);
    *p = (struct bus_producer){.bus = bus, .self = self, .end_us = INT64_MAX};
    *ret = p;
    return OK;
}

rc_t bus_produce(struct bus_producer *p, const char *topic, struct str key, struct str value,
                 const struct bus_header *headers, size_t n_headers, bus_delivered_fn *fn, void *arg, struct err *e)
{
    const struct bus_message m = {
        .topic = topic, .key = key, .value = value, .headers = headers, .n_headers = n_headers, .fn = fn, .arg = arg};
    return p->bus->producer->produce(p->self, &m, e);
}

rc_t bus_produce_lent(struct bus_producer *p, const char *topic, struct str key, struct str value,
                      const struct bus_header *headers, size_t n_headers, const struct bus_receipt *r, struct err *e)
{
    assert(r->fn != NULL); /* else nobody learns when value is free again */
    const struct bus_message m = {
        .topic = topic, .key = key, .value = value, .receipt = r, .headers = headers, .n_headers = n_headers};
    return p->bus->producer->produce(p->self, &m, e);
}

rc_t bus_produce_many(struct bus_producer *p, const char *topic, struct bus_lent *list, size_t n,
                      const struct bus_receipt *r, struct err *e)
{
    assert(r->fn != NULL);
    return n ? p->bus->producer->many(p->self, topic, list, n, r, e) : OK;
}

rc_t bus_flush(struct bus_producer *p, int64_t timeout_us, struct err *e)
{
    return p->bus->producer->flush(p->self, timeout_us, e);
}

bool bus_producer_up(const struct bus_producer *p)
{
    return p->bus->producer->up(p->self);
}

void bus_away_words(const char *brokers, struct err *ret)
{
    if (bus_is_local(brokers))
        (void)err_set(ret, E_AGAIN,
                      "cannot write into %s: make room on its disk, or see the log for why; it then goes on by itself",
                      brokers + 6);
    else
        (void)err_set(ret, E_AGAIN, "cannot reach %s: check KAFKA_BROKERS and the brokers", brokers);
}

void bus_producer_free(struct bus_producer *p)
{
    if (!p)
        return;
    int64_t now = clock_mono_us(), end = bus_producer_ends(p);
    int64_t wait = end - now < FREE_WAIT_US ? end - now : FREE_WAIT_US;
    p->bus->producer->free(p->self, wait > 0 ? wait : 0);
    mem_free(p);
}

void bus_producer_end_by(struct bus_producer *p, int64_t until_us)
{
    atomic_store(&p->end_us, until_us);
}

int64_t bus_producer_ends(const struct bus_producer *p)
{
    return atomic_load(&p->end_us);
}

rc_t bus_topic_ensure(struct bus_producer *p, const char *topic, int32_t partitions, int32_t *ret_partitions,
                      int64_t timeout_us, struct err *e)
{
    return p->bus->topic->ensure(p->self, topic, partitions, ret_partitions, timeout_us, e);
}

rc_t bus_consumer_open(struct bus_consumer **ret, const struct bus_config *cfg, const char *group, struct err *e)
{
    const struct bus *bus = bus_of(cfg);
    void *self = NULL;
    rc_t rc = bus->consumer->open(cfg, group, &self, e);
    if (rc)
        return rc;
    struct bus_consumer *c = mem_alloc(sizeof *c);
    *c = (struct bus_consumer){bus, self};
    *ret = c;
    return OK;
}

rc_t bus_consumer_topics(struct bus_consumer *c, const char *const *topics, size_t n, struct err *e)
{
    return c->bus->consumer->topics(c->self, topics, n, e);
}

rc_t bus_consumer_poll(struct bus_consumer *c, int64_t timeout_us, struct bus_event *ret, struct err *e)
{
    return c->bus->consumer->poll(c->self, timeout_us, ret, e);
}

rc_t bus_consumer_start(struct bus_consumer *c, const struct bus_partition *parts, size_t n, struct err *e)
{
    return c->bus->assign->start(c->self, parts, n, e);
}

rc_t bus_consumer_release(struct bus_consumer *c, struct err *e)
{
    return c->bus->assign->release(c->self, e);
}

rc_t bus_consumer_pause(struct bus_consumer *c, const struct bus_partition *parts, size_t n, bool paused, struct err *e)
{
    return c->bus->assign->pause(c->self, parts, n, paused, e);
}

rc_t bus_consumer_seek(struct bus_consumer *c, const struct bus_partition *part, struct err *e)
{
    return c->bus->assign->seek(c->self, part, e);
}

rc_t bus_consumer_ends(struct bus_consumer *c, struct bus_partition *parts, size_t n, int64_t timeout_us, struct err *e)
{
    return c->bus->assign->look(c->self, parts, n, BUS_LOOK_END, timeout_us, e);
}

rc_t bus_consumer_begins(struct bus_consumer *c, struct bus_partition *parts, size_t n, int64_t timeout_us, struct err *e)
{
    return c->bus->assign->look(c->self, parts, n, BUS_LOOK_BEGIN, timeout_us, e);
}

rc_t bus_consumer_at(struct bus_consumer *c, struct bus_partition *parts, size_t n, int64_t at_us, int64_t timeout_us,
                     struct err *e)
{
    return c->bus->assign->look(c->self, parts, n, at_us < 0 ? 0 : at_us, timeout_us, e);
}

int64_t bus_print(struct str key, struct str value)
{
    uint64_t k[2], v[2];
    hash128(key.n ? key.p : "", key.n, k);
    hash128(value.n ? value.p : "", value.n, v);
    return (int64_t)((k[0] ^ v[1]) + v[0] * 3);
}

rc_t bus_consumer_peek(struct bus_consumer *c, const struct bus_partition *parts, size_t n, struct bus_mark *ret,
                       int64_t timeout_us, struct err *e)
{
    return n ? c->bus->assign->peek(c->self, parts, n, ret, timeout_us, e) : OK;
}

static rc_t look_by_consumer(struct bus_consumer *c, const struct bus_partition *parts, size_t n, int64_t *ret_ends,
                             struct bus_mark *ret, int64_t timeout_us, struct err *e)
{
    CLEANUP(mem_freep) struct bus_partition *ends = mem_array(n, sizeof *ends);
    memcpy(ends, parts, n * sizeof *ends);
    rc_t rc = bus_consumer_ends(c, ends, n, timeout_us, e);
    if (!rc)
        rc = bus_consumer_peek(c, parts, n, ret, timeout_us, e);
    for (size_t i = 0; !rc && i < n; i++)
        ret_ends[i] = ends[i].offset;
    return rc;
}

rc_t bus_look(const struct bus_config *cfg, const struct bus_partition *parts, size_t n, int64_t *ret_ends,
              struct bus_mark *ret, int64_t timeout_us, struct err *e)
{
    struct bus_consumer *c = NULL;
    if (n == 0)
        return OK;
    if (bus_of(cfg) == &buses[BUS_LOCAL])
        return local_look(local_folder(cfg->brokers), parts, n, ret_ends, ret, e);
    rc_t rc = bus_consumer_open(&c, cfg, "modelmon-look", e); /* without topics the group is not joined */
    if (!rc)
        rc = look_by_consumer(c, parts, n, ret_ends, ret, timeout_us, e);
    bus_consumer_free(c);
    return rc;
}

bool bus_consumer_alone(const struct bus_consumer *c)
{
    return c->bus->alone;
}

void bus_consumer_note(struct bus_consumer *c, const struct bus_partition *parts, size_t n)
{
    c->bus->consumer->note(c->self, parts, n);
}

void bus_consumer_free(struct bus_consumer *c)
{
    if (!c)
        return;
    c->bus->consumer->free(c->self);
    mem_free(c);
}
