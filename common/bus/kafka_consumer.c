/* Consuming from Kafka: group membership, polling, leaving. Offsets come from the caller and are never stored here.
 *
 * Only rd_kafka_consumer_poll is used: batch consumption skips records around pause and resume in librdkafka 2.0.
 * The rebalance callback runs inside it. It notes the event and makes the poll return; the answer (assign) is given by
 * bus_consumer_start and bus_consumer_release, once a rebalance and with explicit offsets: two in a row race. */
#include "bus/kafka_consumer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "bus/bus_ops.h"
#include "bus/kafka_conf.h"

const char *kafka_intern(struct kafka_consumer *c, const char *topic)
{
    if (c->last_name && strcmp(c->last_name, topic) == 0)
        return c->last_name;
    struct str key = str_of(topic);
    char *name = map_get(&c->names, key);
    if (!name) {
        name = mem_dupz(topic);
        map_put(&c->names, key, name);
    }
    return c->last_name = name;
}

rd_kafka_topic_partition_list_t *kafka_list(const struct bus_partition *parts, size_t n, bool offsets)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)n);
    for (size_t i = 0; i < n; i++) {
        rd_kafka_topic_partition_t *tp = rd_kafka_topic_partition_list_add(list, parts[i].topic, parts[i].partition);
        if (offsets)
            tp->offset = parts[i].offset;
    }
    return list;
}

static void enqueue(struct kafka_consumer *c, enum bus_event_type type, const rd_kafka_topic_partition_list_t *list)
{
    size_t n = list ? (size_t)list->cnt : 0;
    struct kafka_pending *ev = mem_alloc(sizeof *ev + n * sizeof ev->parts[0]);
    ev->type = type;
    ev->n = n;
    for (size_t i = 0; i < n; i++)
        ev->parts[i] = (struct bus_partition){kafka_intern(c, list->elems[i].topic), list->elems[i].partition, -1};
    *c->pending_tail = ev;
    c->pending_tail = &ev->next;
}

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err, rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct kafka_consumer *c = opaque;
    if (c->closing) {
        rd_kafka_assign(rk, NULL);
        return;
    }
    if (err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS)
        enqueue(c, BUS_ASSIGNED, list);
    else if (err == RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS && !rd_kafka_assignment_lost(rk))
        enqueue(c, BUS_REVOKED, list);
    else
        enqueue(c, BUS_LOST, list);
    rd_kafka_yield(rk);
}

static rc_t make_conf(const struct bus_config *cfg, const char *group, rd_kafka_conf_t **ret, struct err *e)
{
    char session[16], beat[16];
    int ms = kafka_ms(kafka_or(cfg->session_us, 10 * USEC_PER_SEC));
    (void)snprintf(session, sizeof session, "%d", ms);
    (void)snprintf(beat, sizeof beat, "%d", ms / 3 < 1000 ? ms / 3 : 1000); /* also how soon a rebalance is heard of */
    /* Before 2.2 a full queue is filled again after a second at the latest, and no option says sooner: it holds a second's work. */
    bool rests = rd_kafka_version() < 0x020200ff;
    const struct kafka_option soft[] = {
        {"session.timeout.ms", session},
        {"heartbeat.interval.ms", beat},
        {"partition.assignment.strategy", "range"},
        {"topic.metadata.refresh.interval.ms", "1000"}, /* how soon a topic made later is seen */
        {"queued.min.messages", "10000000"},            /* the queue is bounded by its bytes alone */
        {"queued.max.messages.kbytes", rests ? "131072" : "65536"},
        {"fetch.wait.max.ms", "250"}, /* a resumed partition waits so long at most */
        {rests ? NULL : "fetch.queue.backoff.ms", "20"},
        {NULL, NULL},
    };
    const struct kafka_option hard[] = {
        {"group.id", group},
        {"enable.auto.commit", "false"},
        {"enable.auto.offset.store", "false"},
        {"auto.offset.reset", "error"},
        {"enable.partition.eof", "true"},
        {"allow.auto.create.topics", "false"},
        {NULL, NULL},
    };
    rd_kafka_conf_t *conf = NULL;
    rc_t rc = kafka_conf_make(cfg, soft, hard, &conf, e);
    if (rc)
        return rc;
    if (cfg->instance_id && *cfg->instance_id &&
        rd_kafka_conf_set(conf, "group.instance.id", cfg->instance_id, NULL, 0) != RD_KAFKA_CONF_OK) {
        rd_kafka_conf_destroy(conf);
        return err_set(e, E_INVALID, "CONSUMER_INSTANCE: not a group instance id");
    }
    *ret = conf;
    return OK;
}

static rc_t consumer_open(const struct bus_config *cfg, const char *group, void **ret, struct err *e)
{
    char text[200];
    static const struct kafka_option none[] = {{NULL, NULL}};
    rd_kafka_conf_t *conf = NULL;
    struct kafka_consumer *c = mem_alloc(sizeof *c);
    c->pending_tail = &c->pending;
    rc_t rc = make_conf(cfg, group, &conf, e);
    if (!rc)
        rc = kafka_conf_make(cfg, none, none, &c->look_conf, e);
    if (!rc)
        rc = kafka_peek_conf(cfg, group, &c->peek_conf, e);
    if (!rc) {
        rd_kafka_conf_set_opaque(conf, c);
        rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
        c->rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
        rc = c->rk ? OK : err_set(e, E_INVALID, "Kafka consumer: %s", text);
    }
    if (rc) {
        kafka_conf_drop(conf);
        kafka_conf_drop(c->look_conf);
        kafka_conf_drop(c->peek_conf);
        mem_free(c);
        return rc;
    }
    rd_kafka_poll_set_consumer(c->rk);
    *ret = c;
    return OK;
}

static int text_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool same_topics(const struct kafka_consumer *c, char *const *topics, size_t n)
{
    bool same = n == c->n_topics;
    for (size_t i = 0; same && i < n; i++)
        same = strcmp(topics[i], c->topics[i]) == 0;
    return same;
}

static rc_t subscribe(struct kafka_consumer *c, char *const *topics, size_t n, struct err *e)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)n);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || strcmp(topics[i], topics[i - 1]) != 0)
            rd_kafka_topic_partition_list_add(list, topics[i], RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t err = n ? rd_kafka_subscribe(c->rk, list) : rd_kafka_unsubscribe(c->rk);
    rd_kafka_topic_partition_list_destroy(list);
    return err ? err_quote(e, kafka_rc(err), "subscribing: %s", rd_kafka_err2str(err)) : OK;
}

static rc_t consumer_topics(void *self, const char *const *topics, size_t n, struct err *e)
{
    struct kafka_consumer *c = self;
    char **wanted = mem_array(n + 1, sizeof *wanted);
    for (size_t i = 0; i < n; i++)
        wanted[i] = mem_dupz(topics[i]);
    if (n)
        qsort(wanted, n, sizeof *wanted, text_order);
    rc_t rc = OK;
    if (!same_topics(c, wanted, n) && !(rc = subscribe(c, wanted, n, e))) {
        char **old = c->topics;
        size_t n_old = c->n_topics;
        c->topics = wanted;
        c->n_topics = n;
        wanted = old;
        n = n_old;
    }
    for (size_t i = 0; i < n; i++)
        mem_free(wanted[i]);
    mem_free(wanted);
    return rc;
}

static void show_pending(struct kafka_consumer *c, struct bus_event *ret)
{
    struct kafka_pending *ev = c->pending;
    c->pending = ev->next;
    if (!c->pending)
        c->pending_tail = &c->pending;
    c->shown = ev;
    if (ev->type == BUS_REVOKED || ev->type == BUS_LOST)
        c->revoking = true;
    ret->type = ev->type;
    ret->parts = ev->parts;
    ret->n_parts = ev->n;
}

static void show_part(struct kafka_consumer *c, const rd_kafka_message_t *m, enum bus_event_type type, struct bus_event *ret)
{
    c->part = (struct bus_partition){kafka_intern(c, rd_kafka_topic_name(m->rkt)), m->partition, m->offset};
    ret->type = type;
    ret->parts = &c->part;
    ret->n_parts = 1;
}

static struct str traceparent_of(const rd_kafka_message_t *m)
{
    rd_kafka_headers_t *h = NULL;
    const void *p = NULL;
    size_t n = 0;
    if (rd_kafka_message_headers(m, &h) || rd_kafka_header_get_last(h, "traceparent", &p, &n))
        return (struct str){"", 0};
    return (struct str){p, n};
}

int64_t kafka_timestamp_us(const rd_kafka_message_t *m)
{
    rd_kafka_timestamp_type_t kind;
    int64_t ms = rd_kafka_message_timestamp(m, &kind);
    if (kind == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE || ms < 0)
        return -1;
    return ms > INT64_MAX / 1000 ? INT64_MAX : ms * 1000;
}

static void show_record(struct kafka_consumer *c, const rd_kafka_message_t *m, struct bus_event *ret)
{
    ret->type = BUS_RECORD;
    ret->parts = NULL;
    ret->n_parts = 0;
    ret->topic = kafka_intern(c, rd_kafka_topic_name(m->rkt));
    ret->partition = m->partition;
    ret->offset = m->offset;
    ret->timestamp_us = kafka_timestamp_us(m);
    ret->key = (struct str){m->key, m->key_len};
    ret->value = (struct str){m->payload, m->len};
    ret->traceparent = traceparent_of(m);
}

static rc_t show_error(struct kafka_consumer *c, const rd_kafka_message_t *m, struct bus_event *ret, struct err *e)
{
    if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        show_part(c, m, BUS_END, ret);
        return OK;
    }
    if ((m->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET || m->err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE) && m->rkt) {
        show_part(c, m, BUS_RANGE, ret);
        return OK;
    }
    if (m->err == RD_KAFKA_RESP_ERR__FATAL || m->err == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID)
        return err_set(e, E_FATAL, "Kafka consumer: %s", rd_kafka_message_errstr(m));
    ret->type = BUS_ERROR;
    ret->parts = NULL;
    ret->n_parts = 0;
    ret->rc = kafka_rc(m->err);
    (void)snprintf(ret->words, sizeof ret->words, "%s", rd_kafka_message_errstr(m));
    return OK;
}

static void drop(rd_kafka_message_t **m)
{
    if (*m)
        rd_kafka_message_destroy(*m);
    *m = NULL;
}

/* A topic that is not there yet is waited for; records between REVOKED and release belong to the next owner. */
static bool is_silent(const struct kafka_consumer *c, const rd_kafka_message_t *m)
{
    return c->revoking ? m->rkt != NULL
                       : m->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART || m->err == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC;
}

static rd_kafka_message_t *next_message(struct kafka_consumer *c, int64_t timeout_us)
{
    int64_t end = timeout_us > 0 ? clock_mono_us() + timeout_us : 0;
    int64_t left = timeout_us;
    for (;;) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(c->rk, kafka_ms(left));
        if (!m || c->pending || !is_silent(c, m))
            return m;
        rd_kafka_message_destroy(m);
        left = end ? end - clock_mono_us() : 0;
    }
}

static rc_t consumer_poll(void *self, int64_t timeout_us, struct bus_event *ret, struct err *e)
{
    struct kafka_consumer *c = self;
    drop(&c->current);
    mem_free(c->shown);
    c->shown = NULL;
    rd_kafka_message_t *m = c->held;
    c->held = NULL;
    if (!m && !c->pending)
        m = next_message(c, timeout_us);
    if (c->pending) {
        c->held = m;
        show_pending(c, ret);
        return OK;
    }
    if (m && is_silent(c, m))
        drop(&m);
    if (!m) {
        ret->type = BUS_NONE;
        ret->parts = NULL;
        ret->n_parts = 0;
        return OK;
    }
    c->current = m;
    if (m->err)
        return show_error(c, m, ret, e);
    show_record(c, m, ret);
    return OK;
}

static void consumer_note(void *self, const struct bus_partition *parts, size_t n)
{
    struct kafka_consumer *c = self;
    if (n == 0 || c->revoking || c->pending) /* a commit inside a rebalance can cost the assignment */
        return;
    rd_kafka_topic_partition_list_t *list = kafka_list(parts, n, true);
    (void)rd_kafka_commit(c->rk, list, 1); /* for lag tools only: the ledger is the truth */
    rd_kafka_topic_partition_list_destroy(list);
}

static void consumer_free(void *self)
{
    struct kafka_consumer *c = self;
    drop(&c->current);
    drop(&c->held);
    mem_free(c->shown);
    while (c->pending) {
        struct kafka_pending *ev = c->pending;
        c->pending = ev->next;
        mem_free(ev);
    }
    c->closing = true;
    kafka_consumer_close_take(c);
}

const struct bus_consumer_ops kafka_consumer_ops = {
    .open = consumer_open,
    .topics = consumer_topics,
    .poll = consumer_poll,
    .note = consumer_note,
    .free = consumer_free,
};
