/* Single records read anew, to know a log again. A handle of its own: it never joins the group, and what the consumer has
 * fetched and is going to fetch stays as it is. */
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "bus/bus_ops.h"
#include "bus/kafka_conf.h"
#include "bus/kafka_consumer.h"

rc_t kafka_peek_conf(const struct bus_config *cfg, const char *group, rd_kafka_conf_t **ret, struct err *e)
{
    static const struct kafka_option soft[] = {
        {"fetch.wait.max.ms", "50"},
        {"fetch.error.backoff.ms", "50"},
        /* One record is wanted of each. Not said by queued.min.messages: a queue that is full by it rests for a second. */
        {"fetch.message.max.bytes", "4096"},
        {NULL, NULL},
    };
    const struct kafka_option hard[] = {
        {"group.id", group}, /* assigning wants one; without a subscription it is not joined */
        {"enable.auto.commit", "false"},
        {"enable.auto.offset.store", "false"},
        {"auto.offset.reset", "error"},
        {"enable.partition.eof", "true"},
        {"allow.auto.create.topics", "false"},
        {NULL, NULL},
    };
    return kafka_conf_make(cfg, soft, hard, ret, e);
}

static rc_t peek_open(struct kafka_consumer *c, struct err *e)
{
    char text[200];
    if (c->peek_rk)
        return OK;
    c->peek_rk = rd_kafka_new(RD_KAFKA_CONSUMER, c->peek_conf, text, sizeof text);
    if (!c->peek_rk)
        return err_set(e, E_AGAIN, "reading a record again: %s", text);
    c->peek_conf = NULL; /* taken */
    rd_kafka_poll_set_consumer(c->peek_rk);
    return OK;
}

struct peek {
    const struct bus_partition *parts;
    struct bus_mark *marks;
    bool *told;
    size_t n, left;
};

/* A record, or that there is none. What comes after the first of its partition is nothing. */
static void take(struct peek *p, const rd_kafka_message_t *m)
{
    bool none = m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF || m->err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE ||
                m->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET;
    if ((m->err && !none) || !m->rkt)
        return;
    const char *topic = rd_kafka_topic_name(m->rkt);
    for (size_t i = 0; i < p->n; i++) {
        if (p->told[i] || p->parts[i].partition != m->partition || strcmp(p->parts[i].topic, topic) != 0)
            continue;
        p->marks[i] = none ? (struct bus_mark){-1, -1, 0}
                           : (struct bus_mark){
                                 m->offset, kafka_timestamp_us(m),
                                 bus_print((struct str){m->key, m->key_len}, (struct str){m->payload, m->len})};
        p->told[i] = true;
        p->left--;
        return;
    }
}

static rc_t read_all(rd_kafka_t *rk, struct peek *p, int64_t end_us, struct err *e)
{
    while (p->left) {
        int64_t left = end_us - clock_mono_us();
        if (left <= 0)
            return err_set(e, E_AGAIN, "reading a record again: no answer about %zu of %zu partitions", p->left, p->n);
        rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, kafka_ms(left));
        if (m) {
            take(p, m);
            rd_kafka_message_destroy(m);
        }
    }
    return OK;
}

rc_t kafka_peek(void *self, const struct bus_partition *parts, size_t n, struct bus_mark *ret, int64_t timeout_us,
                struct err *e)
{
    struct kafka_consumer *c = self;
    int64_t end = clock_mono_us() + timeout_us;
    rc_t rc = peek_open(c, e);
    if (rc)
        return rc;
    struct peek p = {parts, mem_array(n, sizeof *p.marks), mem_array(n, sizeof *p.told), n, n};
    rd_kafka_topic_partition_list_t *list = kafka_list(parts, n, true);
    rd_kafka_resp_err_t err = rd_kafka_assign(c->peek_rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    rc = err ? err_set(e, E_AGAIN, "reading a record again: %s", rd_kafka_err2str(err)) : read_all(c->peek_rk, &p, end, e);
    (void)rd_kafka_assign(c->peek_rk, NULL); /* ends its fetching; the next one begins anew */
    if (!rc)
        memcpy(ret, p.marks, n * sizeof *ret);
    mem_free(p.marks);
    mem_free(p.told);
    return rc;
}
