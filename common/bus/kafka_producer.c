/* A producer of Kafka: its handle, its poll thread and what was acknowledged. Messages are handed over in kafka_send.c.
 * acks=all, idempotent, bounded in bytes by our own count, acknowledgements on one thread.
 *
 *   bus_produce ──▶ librdkafka's queue ──▶ broker
 *      bytes, open ++                        │
 *      callback ◀── poll thread ◀────────────┘  bytes, open --
 *
 * A fatal error ends an idempotent producer for good. The poll thread then puts a new handle in the old one's place and
 * purges the old: whatever it still held is reported E_AGAIN, as after a time-out, and the owner sends it again. */
#include <stdio.h>
#include <time.h>
#include "base/clock.h"
#include "base/mem.h"
#include "bus/kafka_conf.h"
#include "bus/kafka_producer_parts.h"
#include "log/log.h"

#define POLL_MS 200
#define PROBE_US (500 * USEC_PER_MSEC)
#define SILENCE_US (5 * USEC_PER_SEC) /* open messages and no acknowledgement for so long: not up */
#define PURGE_WAIT_US (2 * USEC_PER_SEC)
#define SETTLE_EVERY 256 /* reports */

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
    struct delivery *d = (uintptr_t)m->_private & KAFKA_LENT ? NULL : m->_private;
    rc_t rc = kafka_message_rc(m->err);
    p->heard = p->heard || rc == OK;
    p->reported_bytes += (long long)(d ? d->bytes : m->len + m->key_len + KAFKA_OVERHEAD);
    if (d) {
        if (d->fn)
            d->fn(d->arg, rc, rc ? rd_kafka_err2str(m->err) : "");
        mem_free(d);
    } else {
        const struct bus_receipt *r = (const void *)((uintptr_t)m->_private - KAFKA_LENT);
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
    (void)snprintf(size, sizeof size, "%u", BUS_MESSAGE_MAX + KAFKA_OVERHEAD);
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

static void producer_free(void *self, int64_t wait_us)
{
    struct kafka_producer *p = self;
    if (producer_flush(p, wait_us, NULL))
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
    .produce = kafka_produce,
    .many = kafka_produce_many,
    .flush = producer_flush,
    .up = producer_up,
    .free = producer_free,
};
