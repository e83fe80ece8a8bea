/* Making topics on Kafka. Blocks: for start-up and slow paths. */
#include <stdio.h>
#include "base/clock.h"
#include "bus/bus_ops.h"
#include "bus/kafka_conf.h"
#include "bus/kafka_producer.h"

#define RETRY_US (100 * USEC_PER_MSEC)

static rc_t set_config(rd_kafka_NewTopic_t *t, const struct bus_config *cfg, int64_t replication)
{
    char retention[24], size[16];
    int64_t ms = kafka_or(cfg->retention_us, 7 * USEC_PER_DAY) / 1000;
    (void)snprintf(retention, sizeof retention, "%lld", (long long)ms);
    (void)snprintf(size, sizeof size, "%u", BUS_MESSAGE_MAX + 1024);
    if (rd_kafka_NewTopic_set_config(t, "retention.ms", retention) ||
        rd_kafka_NewTopic_set_config(t, "max.message.bytes", size) ||
        (replication >= 3 && rd_kafka_NewTopic_set_config(t, "min.insync.replicas", "2")))
        return E_INVALID;
    return OK;
}

/* The broker's verdict on the one topic asked for. */
static rc_t verdict(rd_kafka_event_t *ev, const char *topic, struct err *e)
{
    size_t n = 0;
    rd_kafka_resp_err_t err = rd_kafka_event_error(ev);
    if (err)
        return err_set(e, E_AGAIN, "making topic %.100s: %s", topic, rd_kafka_event_error_string(ev));
    const rd_kafka_CreateTopics_result_t *res = rd_kafka_event_CreateTopics_result(ev);
    const rd_kafka_topic_result_t *const *topics = rd_kafka_CreateTopics_result_topics(res, &n);
    err = n ? rd_kafka_topic_result_error(topics[0]) : RD_KAFKA_RESP_ERR__FAIL;
    if (!err || err == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
        return OK;
    const char *why = n ? rd_kafka_topic_result_error_string(topics[0]) : NULL;
    return err_quote(e, kafka_rc(err), "making topic %.100s: %s", topic, why ? why : rd_kafka_err2str(err));
}

static rc_t create(rd_kafka_t *rk, const struct bus_config *cfg, const char *topic, int32_t partitions,
                   int64_t timeout_us, struct err *e)
{
    char text[128];
    int64_t replication = kafka_or(cfg->replication, 1);
    rd_kafka_NewTopic_t *t = rd_kafka_NewTopic_new(topic, partitions, (int)replication, text, sizeof text);
    if (!t)
        return err_set(e, E_INVALID, "topic %.100s: %s", topic, text);
    rc_t rc = set_config(t, cfg, replication);
    rd_kafka_AdminOptions_t *opt = rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_event_t *ev = NULL;
    if (rc || rd_kafka_AdminOptions_set_request_timeout(opt, kafka_ms(timeout_us), NULL, 0)) {
        rc = err_set(e, E_INVALID, "topic %.100s: its options are refused", topic);
        goto out;
    }
    rd_kafka_CreateTopics(rk, &t, 1, opt, queue);
    ev = rd_kafka_queue_poll(queue, kafka_ms(timeout_us) + 100);
    rc = ev ? verdict(ev, topic, e) : err_set(e, E_AGAIN, "making topic %.100s: no answer", topic);
out:
    rd_kafka_event_destroy(ev);
    rd_kafka_queue_destroy(queue);
    rd_kafka_AdminOptions_destroy(opt);
    rd_kafka_NewTopic_destroy(t);
    return rc;
}

/* Partitions that have a leader, all or nothing; 0: not settled. */
static int32_t settled(const struct rd_kafka_metadata *md)
{
    if (md->topic_cnt != 1 || md->topics[0].err)
        return 0;
    for (int i = 0; i < md->topics[0].partition_cnt; i++)
        if (md->topics[0].partitions[i].leader < 0)
            return 0;
    return md->topics[0].partition_cnt;
}

static rc_t count(rd_kafka_t *rk, const char *topic, int32_t *ret, int64_t end_us, struct err *e)
{
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(rk, topic, NULL);
    if (!rkt)
        return err_quote(e, E_INVALID, "topic %.100s: %s", topic, rd_kafka_err2str(rd_kafka_last_error()));
    int32_t n = 0;
    rd_kafka_queue_t *pause = rd_kafka_queue_new(rk); /* nothing comes here: a wait that needs no sleep */
    for (int64_t left; (left = end_us - clock_mono_us()) > 0 && n == 0;) {
        const struct rd_kafka_metadata *md = NULL;
        if (!rd_kafka_metadata(rk, 0, rkt, &md, kafka_ms(left))) {
            n = settled(md);
            rd_kafka_metadata_destroy(md);
        }
        if (n == 0)
            rd_kafka_event_destroy(rd_kafka_queue_poll(pause, kafka_ms(left < RETRY_US ? left : RETRY_US)));
    }
    rd_kafka_queue_destroy(pause);
    rd_kafka_topic_destroy(rkt);
    if (n == 0)
        return err_set(e, E_AGAIN, "topic %.100s: not settled in time", topic);
    *ret = n;
    return OK;
}

static rc_t topic_ensure(void *producer, const char *topic, int32_t partitions, int32_t *ret_partitions,
                         int64_t timeout_us, struct err *e)
{
    struct kafka_producer *p = producer;
    const struct bus_config *cfg = kafka_producer_config(p);
    int64_t end = clock_mono_us() + timeout_us;
    int32_t wanted = partitions ? partitions : (int32_t)kafka_or(cfg->partitions, 8);
    rd_kafka_t *rk = kafka_producer_hold(p);
    rc_t rc = create(rk, cfg, topic, wanted, timeout_us, e);
    if (!rc)
        rc = count(rk, topic, ret_partitions, end, e);
    kafka_producer_release(p);
    return rc;
}

const struct bus_topic_ops kafka_topic_ops = {.ensure = topic_ensure};
