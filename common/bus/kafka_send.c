/* Handing messages to librdkafka, one or many under one lock: what it takes is counted, what it refuses is the caller's again. */
#include "base/clock.h"
#include "base/mem.h"
#include "bus/kafka_conf.h"
#include "bus/kafka_producer_parts.h"

#define MANY 32 /* messages handed over at once */

/* The topic's handle in rk. Lock held. */
static rd_kafka_topic_t *topic_get(struct kafka_producer *p, const char *name)
{
    if (p->last && strcmp(rd_kafka_topic_name(p->last), name) == 0)
        return p->last;
    struct str key = str_of(name);
    rd_kafka_topic_t *rkt = map_get(&p->topics, key);
    if (!rkt && (rkt = rd_kafka_topic_new(p->rk, name, NULL)))
        map_put(&p->topics, key, rkt);
    p->last = rkt;
    return rkt;
}

/* Lock held. On success librdkafka reports opaque; on failure it is still the caller's. */
static rd_kafka_resp_err_t hand_over(struct kafka_producer *p, rd_kafka_topic_t *rkt, const struct bus_message *m,
                                     void *payload, void *opaque)
{
    if (!m->n_headers) {
        int bad = rd_kafka_produce(rkt, RD_KAFKA_PARTITION_UA, 0, payload, m->value.n, m->key.p, m->key.n, opaque);
        return bad ? rd_kafka_last_error() : RD_KAFKA_RESP_ERR_NO_ERROR;
    }
    rd_kafka_headers_t *h = rd_kafka_headers_new(m->n_headers);
    for (size_t i = 0; i < m->n_headers; i++)
        rd_kafka_header_add(h, m->headers[i].name, -1, m->headers[i].value.p, (ssize_t)m->headers[i].value.n);
    const rd_kafka_vu_t vus[] = {
        {.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = rkt},
        {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {payload, m->value.n}},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {(void *)(uintptr_t)m->key.p, m->key.n}}, /* copied, not written */
        {.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = h},
        {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = opaque},
    };
    rd_kafka_error_t *error = rd_kafka_produceva(p->rk, vus, sizeof vus / sizeof *vus);
    if (!error)
        return RD_KAFKA_RESP_ERR_NO_ERROR;
    rd_kafka_resp_err_t err = rd_kafka_error_code(error);
    rd_kafka_error_destroy(error);
    rd_kafka_headers_destroy(h);
    return err;
}

static void count(struct kafka_producer *p, long long bytes, long long n)
{
    atomic_fetch_add(&p->bytes, bytes);
    if (atomic_fetch_add(&p->open, n) == 0 && n > 0) /* silence counts from here */
        atomic_store_explicit(&p->heard_us, clock_mono_us(), memory_order_relaxed);
}

static struct delivery *delivery_new(const struct bus_message *m, long long bytes)
{
    struct delivery *d = mem_grow(NULL, 1, sizeof *d + m->value.n);
    d->fn = m->fn;
    d->arg = m->arg;
    d->bytes = (size_t)bytes;
    if (m->value.n)
        memcpy(d->value, m->value.p, m->value.n);
    return d;
}

static rd_kafka_resp_err_t hand_in(struct kafka_producer *p, const struct bus_message *m, struct delivery *d)
{
    uintptr_t opaque = d ? (uintptr_t)d : (uintptr_t)m->receipt | KAFKA_LENT;
    void *payload = d && m->value.p ? d->value : (void *)(uintptr_t)m->value.p; /* read, not written */
    pthread_mutex_lock(&p->lock);
    rd_kafka_topic_t *rkt = topic_get(p, m->topic);
    rd_kafka_resp_err_t err = rkt ? hand_over(p, rkt, m, payload, (void *)opaque) : rd_kafka_last_error();
    pthread_mutex_unlock(&p->lock);
    return err;
}

rc_t kafka_produce(void *self, const struct bus_message *m, struct err *e)
{
    struct kafka_producer *p = self;
    size_t size = m->key.n + m->value.n;
    for (size_t i = 0; i < m->n_headers; i++)
        size += m->headers[i].value.n;
    if (size > BUS_MESSAGE_MAX)
        return err_set(e, E_INVALID, "a message of %zu bytes; at most %u", size, BUS_MESSAGE_MAX);
    long long bytes = (long long)(m->receipt ? m->key.n + m->value.n : size) + KAFKA_OVERHEAD; /* as on_delivered knows it */
    if (atomic_load(&p->bytes) + bytes > p->limit_bytes || atomic_load(&p->broken))
        return err_set(e, E_AGAIN, "the Kafka producer is full: %lld bytes wait", atomic_load(&p->bytes));

    kafka_spent_free(&p->spent);
    struct delivery *d = m->receipt ? NULL : delivery_new(m, bytes);
    count(p, bytes, 1);
    rd_kafka_resp_err_t err = hand_in(p, m, d);
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
        return OK;
    count(p, -bytes, -1);
    mem_free(d);
    if (err == RD_KAFKA_RESP_ERR__FATAL)
        atomic_store(&p->broken, true);
    return err_quote(e, kafka_message_rc(err), "producing to %.100s: %s", m->topic, rd_kafka_err2str(err));
}

/* Lock held. Sets the code of each; gives the first that is none. */
static rd_kafka_resp_err_t hand_over_many(rd_kafka_topic_t *rkt, struct bus_lent *list, size_t n,
                                          const struct bus_receipt *r)
{
    rd_kafka_message_t all[MANY];
    rd_kafka_resp_err_t first = RD_KAFKA_RESP_ERR_NO_ERROR;
    for (size_t i = 0; i < n; i++)
        all[i] = (rd_kafka_message_t){.payload = (void *)(uintptr_t)list[i].value.p, /* read, not written; the key is copied */
                                      .len = list[i].value.n,
                                      .key = (void *)(uintptr_t)list[i].key.p,
                                      .key_len = list[i].key.n,
                                      ._private = (void *)((uintptr_t)r | KAFKA_LENT)};
    (void)rd_kafka_produce_batch(rkt, RD_KAFKA_PARTITION_UA, 0, all, (int)n); /* each has its code */
    for (size_t i = 0; i < n; i++) {
        list[i].rc = kafka_message_rc(all[i].err);
        first = first ? first : all[i].err;
    }
    return first;
}

static rd_kafka_resp_err_t hand_in_many(struct kafka_producer *p, const char *topic, struct bus_lent *list, size_t n,
                                        const struct bus_receipt *r)
{
    pthread_mutex_lock(&p->lock);
    rd_kafka_topic_t *rkt = topic_get(p, topic);
    rd_kafka_resp_err_t err = rkt ? hand_over_many(rkt, list, n, r) : rd_kafka_last_error();
    pthread_mutex_unlock(&p->lock);
    for (size_t i = 0; i < n && !rkt; i++)
        list[i].rc = kafka_message_rc(err);
    return err;
}

static long long size_of(const struct bus_lent *m)
{
    return (long long)(m->key.n + m->value.n) + KAFKA_OVERHEAD; /* as on_delivered knows it */
}

/* At most MANY, none too large. */
static rc_t produce_some(struct kafka_producer *p, const char *topic, struct bus_lent *list, size_t n,
                         const struct bus_receipt *r, struct err *e)
{
    long long bytes = 0, left = 0, n_left = 0;
    for (size_t i = 0; i < n; i++) {
        bytes += size_of(&list[i]);
        list[i].rc = E_AGAIN;
    }
    if (atomic_load(&p->bytes) + bytes > p->limit_bytes || atomic_load(&p->broken))
        return err_set(e, E_AGAIN, "the Kafka producer is full: %lld bytes wait", atomic_load(&p->bytes));
    kafka_spent_free(&p->spent);
    count(p, bytes, (long long)n);
    rd_kafka_resp_err_t err = hand_in_many(p, topic, list, n, r);
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
        return OK;
    for (size_t i = 0; i < n; i++)
        if (list[i].rc) {
            left += size_of(&list[i]);
            n_left++;
        }
    count(p, -left, -n_left);
    if (err == RD_KAFKA_RESP_ERR__FATAL)
        atomic_store(&p->broken, true);
    return err_set(e, kafka_message_rc(err), "producing to %.100s: %s", topic, rd_kafka_err2str(err));
}

rc_t kafka_produce_many(void *self, const char *topic, struct bus_lent *list, size_t n, const struct bus_receipt *r,
                        struct err *e)
{
    rc_t first = OK;
    for (size_t at = 0, some; at < n; at += some) {
        struct err why;
        rc_t rc = OK;
        for (some = 0; at + some < n && some < MANY; some++)
            if (list[at + some].key.n + list[at + some].value.n > BUS_MESSAGE_MAX)
                break;
        if (some) {
            rc = produce_some(self, topic, list + at, some, r, &why);
        } else {
            some = 1;
            rc = list[at].rc = err_set(&why, E_INVALID, "a message of %zu bytes; at most %u",
                                       list[at].key.n + list[at].value.n, BUS_MESSAGE_MAX);
        }
        if (rc && !first) {
            first = rc;
            *e = why;
        }
    }
    return first;
}
