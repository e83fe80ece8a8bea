/* Producing to Kafka: acks=all, idempotent, bounded in bytes by our own count, acknowledgements on one thread.
 *
 *   bus_produce ──▶ librdkafka's queue ──▶ broker
 *      bytes, open ++                        │
 *      callback ◀── poll thread ◀────────────┘  bytes, open --
 *
 * A fatal error ends an idempotent producer for good. The poll thread then puts a new handle in the old one's place and
 * purges the old: whatever it still held is reported E_AGAIN, as after a time-out, and the owner sends it again. */
#include "bus/kafka_producer.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "bus/bus_ops.h"
#include "bus/kafka_conf.h"
#include "bus/kafka_report.h"
#include "log/log.h"

#define POLL_MS 200
#define PROBE_US (500 * USEC_PER_MSEC)
#define SILENCE_US (5 * USEC_PER_SEC) /* open messages and no acknowledgement for so long: not up */
#define FREE_WAIT_US (5 * USEC_PER_SEC)
#define PURGE_WAIT_US (2 * USEC_PER_SEC)
#define SETTLE_EVERY 256 /* reports */
#define OVERHEAD 128     /* what librdkafka and we add to a message, about */
#define MANY 32          /* messages handed over at once */

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
#define LENT ((uintptr_t)1)

static void set_up(struct kafka_producer *p, bool up, const char *why)
{
    if (atomic_exchange(&p->up, up) == up)
        return;
    if (up)
        log_info("kafka_up", LF_STR("brokers", p->cfg.brokers));
    else
        log_warn("kafka_down", LF_STR("brokers", p->cfg.brokers), LF_STR("error", why));
}

/* What was reported since the last time, told to the senders' threads at once: they write the same words. */
static void settle(struct kafka_producer *p)
{
    if (p->reported == 0)
        return;
    if (p->heard) {
        atomic_store_explicit(&p->heard_us, clock_mono_us(), memory_order_relaxed);
        if (!atomic_load_explicit(&p->up, memory_order_relaxed))
            set_up(p, true, NULL);
    }
    long long reported = p->reported;
    atomic_fetch_sub(&p->bytes, p->reported_bytes);
    p->reported = p->reported_bytes = 0;
    p->heard = false;
    if (atomic_fetch_sub(&p->open, reported) == reported) {
        pthread_mutex_lock(&p->lock);
        pthread_cond_broadcast(&p->changed);
        pthread_mutex_unlock(&p->lock);
    }
}

/* Messages in the order of their reports that have the same receipt and the same fate. */
struct run {
    const struct bus_receipt *receipt;
    rd_kafka_resp_err_t err;
    size_t n;
};

static void tell(struct run *run)
{
    rc_t rc = kafka_message_rc(run->err);
    if (run->n) /* after it what was lent may be gone */
        run->receipt->fn(run->receipt->arg, run->n, rc, rc ? rd_kafka_err2str(run->err) : "");
    run->n = 0;
}

static void on_delivered(struct kafka_producer *p, const rd_kafka_message_t *m, struct run *run)
{
    struct delivery *d = (uintptr_t)m->_private & LENT ? NULL : m->_private;
    rc_t rc = kafka_message_rc(m->err);
    p->heard = p->heard || rc == OK;
    p->reported_bytes += (long long)(d ? d->bytes : m->len + m->key_len + OVERHEAD);
    if (d) {
        if (d->fn)
            d->fn(d->arg, rc, rc ? rd_kafka_err2str(m->err) : "");
        mem_free(d);
    } else {
        const struct bus_receipt *r = (const void *)((uintptr_t)m->_private - LENT);
        if (run->n && (run->receipt != r || run->err != m->err))
            tell(run);
        *run = (struct run){r, m->err, run->n + 1};
    }
    if (++p->reported == SETTLE_EVERY)
        settle(p);
}

static void on_error(struct kafka_producer *p, const rd_kafka_t *rk, const rd_kafka_event_t *ev)
{
    /* librdkafka's own words are the event's */
    const char *reason = rd_kafka_event_error_string((rd_kafka_event_t *)(uintptr_t)ev);
    if (rd_kafka_event_error_is_fatal((rd_kafka_event_t *)(uintptr_t)ev) && rk == p->rk)
        atomic_store(&p->broken, true);
    else if (rd_kafka_event_error((rd_kafka_event_t *)(uintptr_t)ev) == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
        set_up(p, false, reason);
    log_debug("kafka_error", LF_STR("error", reason));
}

/* What the handle has to say, waited for so long. On the poll thread alone. */
static void serve(struct kafka_producer *p, rd_kafka_t *rk, rd_kafka_queue_t *queue, int timeout_ms)
{
    struct run run = {0};
    rd_kafka_event_t *ev = rd_kafka_queue_poll(queue, timeout_ms);
    if (rd_kafka_event_type(ev) == RD_KAFKA_EVENT_DR) {
        for (const rd_kafka_message_t *m; (m = rd_kafka_event_message_next(ev)) != NULL;)
            on_delivered(p, m, &run);
        tell(&run);
        kafka_spent_put(&p->spent, ev);
    } else {
        if (rd_kafka_event_type(ev) == RD_KAFKA_EVENT_ERROR)
            on_error(p, rk, ev);
        rd_kafka_event_destroy(ev); /* NULL is fine */
        kafka_spent_free(&p->spent);
    }
    settle(p);
}

static rc_t handle_new(const struct kafka_producer *p, rd_kafka_t **ret, struct err *e)
{
    char text[200];
    rd_kafka_conf_t *conf = rd_kafka_conf_dup(p->conf);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    if (!rk) {
        rd_kafka_conf_destroy(conf);
        return err_set(e, E_INVALID, "Kafka producer: %s", text);
    }
    *ret = rk;
    return OK;
}

static void topics_drop(struct map *topics)
{
    struct map_iter it = {0};
    while (map_next(topics, &it))
        rd_kafka_topic_destroy(it.value);
    map_done(topics);
    *topics = (struct map){0};
}

/* Reports what a handle still holds as not delivered and ends it. On the poll thread. */
static void handle_end(struct kafka_producer *p, rd_kafka_t *rk, rd_kafka_queue_t *queue, struct map *topics)
{
    int64_t end = clock_mono_us() + PURGE_WAIT_US;
    rd_kafka_purge(rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    while (rd_kafka_outq_len(rk) > 0 && clock_mono_us() < end) {
        serve(p, rk, queue, 10);
        kafka_spent_drain(&p->spent); /* until then it counts as open */
    }
    kafka_spent_drain(&p->spent);
    rd_kafka_queue_destroy(queue);
    topics_drop(topics);
    rd_kafka_destroy(rk);
}

static void rebuild(struct kafka_producer *p, rd_kafka_queue_t **queue)
{
    struct err e;
    rd_kafka_t *fresh = NULL;
    char why[200] = "";
    rd_kafka_fatal_error(p->rk, why, sizeof why);
    log_warn("kafka_producer_rebuilt", LF_STR("error", why));
    if (handle_new(p, &fresh, &e)) {
        log_warn("kafka_producer_rebuild_failed", LF_ERR(&e));
        serve(p, p->rk, *queue, POLL_MS);
        return;
    }
    pthread_mutex_lock(&p->lock);
    while (p->users)
        pthread_cond_wait(&p->changed, &p->lock);
    rd_kafka_t *old = p->rk;
    struct map topics = p->topics;
    p->rk = fresh;
    p->topics = (struct map){0};
    p->last = NULL;
    atomic_store(&p->broken, false);
    pthread_mutex_unlock(&p->lock);
    handle_end(p, old, *queue, &topics);
    *queue = rd_kafka_queue_get_main(p->rk);
}

/* While no broker is known to answer, asks for one: an idle producer would not find out. */
static void probe(struct kafka_producer *p)
{
    int64_t now = clock_mono_us();
    if (atomic_load(&p->up) || now < p->probed_us)
        return;
    p->probed_us = now + PROBE_US;
    const struct rd_kafka_metadata *md = NULL;
    rd_kafka_resp_err_t err = rd_kafka_metadata(p->rk, 0, NULL, &md, kafka_ms(PROBE_US));
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_metadata_destroy(md);
        set_up(p, true, NULL);
    }
}

static void *poll_thread(void *arg)
{
    struct kafka_producer *p = arg;
    rd_kafka_queue_t *queue = rd_kafka_queue_get_main(p->rk);
    while (!atomic_load(&p->stop)) {
        probe(p);
        serve(p, p->rk, queue, POLL_MS);
        if (atomic_load(&p->broken))
            rebuild(p, &queue);
    }
    handle_end(p, p->rk, queue, &p->topics); /* here, so that every callback comes on this thread */
    return NULL;
}

static rc_t make_conf(struct kafka_producer *p, struct err *e)
{
    char linger[32], size[16];
    int64_t us = p->cfg.linger_us;
    (void)snprintf(linger, sizeof linger, "%lld.%03d", (long long)(us / 1000), (int)(us % 1000));
    (void)snprintf(size, sizeof size, "%u", BUS_MESSAGE_MAX + OVERHEAD);
    const struct kafka_option soft[] = {
        {"linger.ms", linger},
        {"message.timeout.ms", "6500"}, /* seen up to 1 s later: who posts gets an answer before a stop has to end without it */
        {"partitioner", "murmur2_random"}, /* as Java and Python clients place keys */
        {"topic.metadata.propagation.max.ms", "6000"},
        {NULL, NULL},
    };
    const struct kafka_option hard[] = {
        {"acks", "all"},
        {"enable.idempotence", "true"},
        {"message.max.bytes", size},
        {"queue.buffering.max.messages", "10000000"}, /* the bound is ours, in bytes */
        {"queue.buffering.max.kbytes", "2147483647"},
        {NULL, NULL},
    };
    rc_t rc = kafka_conf_make(&p->cfg, soft, hard, &p->conf, e);
    if (rc)
        return rc;
    rd_kafka_conf_set_opaque(p->conf, p);
    rd_kafka_conf_set_events(p->conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR);
    return OK;
}

static void config_copy(struct bus_config *to, const struct bus_config *from)
{
    *to = *from;
    to->brokers = mem_dupz(from->brokers);
    to->client_id = mem_dupz(from->client_id);
    to->extra = mem_dupz(from->extra);
    to->instance_id = NULL;
}

static void free_parts(struct kafka_producer *p)
{
    if (p->conf)
        rd_kafka_conf_destroy(p->conf);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->changed);
    kafka_spent_done(&p->spent);
    mem_free(p->cfg.brokers);
    mem_free(p->cfg.client_id);
    mem_free(p->cfg.extra);
    mem_free(p);
}

static rc_t producer_open(const struct bus_config *cfg, void **ret, struct err *e)
{
    struct kafka_producer *p = mem_alloc(sizeof *p);
    pthread_condattr_t attr;
    config_copy(&p->cfg, cfg);
    p->limit_bytes = kafka_or(cfg->inflight_bytes, 64 << 20);
    pthread_mutex_init(&p->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&p->changed, &attr);
    pthread_condattr_destroy(&attr);
    kafka_spent_init(&p->spent);
    rc_t rc = make_conf(p, e);
    if (!rc)
        rc = handle_new(p, &p->rk, e);
    if (rc) {
        free_parts(p);
        return rc;
    }
    if (pthread_create(&p->thread, NULL, poll_thread, p)) {
        rd_kafka_destroy(p->rk);
        free_parts(p);
        return err_set(e, E_AGAIN, "Kafka producer: no thread");
    }
    *ret = p;
    return OK;
}

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
    uintptr_t opaque = d ? (uintptr_t)d : (uintptr_t)m->receipt | LENT;
    void *payload = d && m->value.p ? d->value : (void *)(uintptr_t)m->value.p; /* read, not written */
    pthread_mutex_lock(&p->lock);
    rd_kafka_topic_t *rkt = topic_get(p, m->topic);
    rd_kafka_resp_err_t err = rkt ? hand_over(p, rkt, m, payload, (void *)opaque) : rd_kafka_last_error();
    pthread_mutex_unlock(&p->lock);
    return err;
}

static rc_t producer_produce(void *self, const struct bus_message *m, struct err *e)
{
    struct kafka_producer *p = self;
    size_t size = m->key.n + m->value.n;
    for (size_t i = 0; i < m->n_headers; i++)
        size += m->headers[i].value.n;
    if (size > BUS_MESSAGE_MAX)
        return err_set(e, E_INVALID, "a message of %zu bytes; at most %u", size, BUS_MESSAGE_MAX);
    long long bytes = (long long)(m->receipt ? m->key.n + m->value.n : size) + OVERHEAD; /* as on_delivered knows it */
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
                                      ._private = (void *)((uintptr_t)r | LENT)};
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
    return (long long)(m->key.n + m->value.n) + OVERHEAD; /* as on_delivered knows it */
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

static rc_t producer_many(void *self, const char *topic, struct bus_lent *list, size_t n, const struct bus_receipt *r,
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

static struct timespec mono_at(int64_t us)
{
    return (struct timespec){.tv_sec = (time_t)(us / USEC_PER_SEC), .tv_nsec = (long)(us % USEC_PER_SEC * 1000)};
}

static rc_t producer_flush(void *self, int64_t timeout_us, struct err *e)
{
    struct kafka_producer *p = self;
    struct timespec end = mono_at(clock_mono_us() + timeout_us);
    int late = 0;
    pthread_mutex_lock(&p->lock);
    while (atomic_load(&p->open) > 0 && !late)
        late = pthread_cond_timedwait(&p->changed, &p->lock, &end);
    pthread_mutex_unlock(&p->lock);
    long long open = atomic_load(&p->open);
    return open > 0 ? err_set(e, E_AGAIN, "%lld messages are not acknowledged yet", open) : OK;
}

static bool producer_up(const void *self)
{
    const struct kafka_producer *p = self;
    if (!atomic_load(&p->up) || atomic_load(&p->broken))
        return false;
    return atomic_load(&p->open) == 0 || clock_mono_us() - atomic_load(&p->heard_us) < SILENCE_US;
}

static void producer_free(void *self)
{
    struct kafka_producer *p = self;
    if (producer_flush(p, FREE_WAIT_US, NULL))
        log_debug("kafka_producer_purged", LF_I64("open", atomic_load(&p->open)));
    atomic_store(&p->stop, true);
    pthread_join(p->thread, NULL);
    free_parts(p);
}

rd_kafka_t *kafka_producer_hold(struct kafka_producer *p)
{
    pthread_mutex_lock(&p->lock);
    p->users++;
    rd_kafka_t *rk = p->rk;
    pthread_mutex_unlock(&p->lock);
    return rk;
}

void kafka_producer_release(struct kafka_producer *p)
{
    pthread_mutex_lock(&p->lock);
    p->users--;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

const struct bus_config *kafka_producer_config(const struct kafka_producer *p)
{
    return &p->cfg;
}

const struct bus_producer_ops kafka_producer_ops = {
    .open = producer_open,
    .produce = producer_produce,
    .many = producer_many,
    .flush = producer_flush,
    .up = producer_up,
    .free = producer_free,
};
