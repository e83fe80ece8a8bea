/* The consumer's partitions: taking them, giving them up, pausing, seeking, and asking brokers for offsets. */
#include "base/clock.h"
#include "base/mem.h"
#include "bus/bus_ops.h"
#include "bus/kafka_conf.h"
#include "bus/kafka_consumer.h"

#define SEEK_MS 10000
#define RETRY_MS 50

static rc_t failed(rd_kafka_resp_err_t err, const char *doing, struct err *e)
{
    return err ? err_quote(e, kafka_rc(err), "%s: %s", doing, rd_kafka_err2str(err)) : OK;
}

/* err of the whole, or the first one that a partition has. */
static rd_kafka_resp_err_t first_error(rd_kafka_resp_err_t err, const rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; i < list->cnt && !err; i++)
        err = list->elems[i].err;
    return err;
}

static rc_t assign_start(void *self, const struct bus_partition *parts, size_t n, struct err *e)
{
    struct kafka_consumer *c = self;
    rd_kafka_topic_partition_list_t *list = kafka_list(parts, n, true);
    rd_kafka_resp_err_t err = rd_kafka_assign(c->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    return failed(err, "assigning partitions", e);
}

static rc_t assign_release(void *self, struct err *e)
{
    struct kafka_consumer *c = self;
    rd_kafka_resp_err_t err = rd_kafka_assign(c->rk, NULL);
    if (!err)
        c->revoking = false;
    return failed(err, "releasing partitions", e);
}

static rc_t assign_pause(void *self, const struct bus_partition *parts, size_t n, bool paused, struct err *e)
{
    struct kafka_consumer *c = self;
    rd_kafka_topic_partition_list_t *list = kafka_list(parts, n, false);
    rd_kafka_resp_err_t err = paused ? rd_kafka_pause_partitions(c->rk, list) : rd_kafka_resume_partitions(c->rk, list);
    err = first_error(err, list);
    rd_kafka_topic_partition_list_destroy(list);
    return failed(err, paused ? "pausing" : "resuming", e);
}

static rc_t assign_seek(void *self, const struct bus_partition *part, struct err *e)
{
    struct kafka_consumer *c = self;
    rd_kafka_topic_partition_list_t *list = kafka_list(part, 1, true);
    rd_kafka_error_t *error = rd_kafka_seek_partitions(c->rk, list, SEEK_MS);
    rd_kafka_resp_err_t err = error ? rd_kafka_error_code(error) : RD_KAFKA_RESP_ERR_NO_ERROR;
    if (error)
        rd_kafka_error_destroy(error);
    err = first_error(err, list);
    rd_kafka_topic_partition_list_destroy(list);
    return failed(err, "seeking", e);
}

static bool is_unknown(rd_kafka_resp_err_t err)
{
    return err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION || err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
}

static rc_t look_failed(rd_kafka_resp_err_t err, struct err *e)
{
    if (is_unknown(err))
        return err_quote(e, E_NOTFOUND, "asking for offsets: %s", rd_kafka_err2str(err));
    return err_quote(e, E_AGAIN, "asking for offsets: %s", rd_kafka_err2str(err));
}

/* A handle that asks for offsets alone has no reason to look again at a topic it has seen: partitions that were added since are
 * unknown to it, and of one whose leader has died it asks the dead one, until somebody asks what there is. */
static void look_at_topics(rd_kafka_t *rk, const rd_kafka_topic_partition_list_t *list, int64_t end_us)
{
    const char *last = "";
    for (int i = 0; i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *at = &list->elems[i];
        const struct rd_kafka_metadata *md = NULL;
        if (strcmp(at->topic, last) == 0)
            continue;
        last = at->topic;
        rd_kafka_topic_t *rkt = rd_kafka_topic_new(rk, at->topic, NULL);
        if (rkt && !rd_kafka_metadata(rk, 0, rkt, &md, kafka_ms(end_us - clock_mono_us())))
            rd_kafka_metadata_destroy(md);
        if (rkt)
            rd_kafka_topic_destroy(rkt);
    }
}

/* One ListOffsets a broker: librdkafka sends the "time" as it is, and -1 and -2 mean end and begin in the protocol.
 * A leader that is not ready (a topic just made, a broker just back) is asked again until the time is up. */
static rc_t list_offsets(rd_kafka_t *rk, const struct bus_partition *parts, size_t n, int64_t at, int64_t end_us,
                         rd_kafka_topic_partition_list_t **ret, struct err *e)
{
    rd_kafka_topic_partition_list_t *list = kafka_list(parts, n, false);
    bool looked = false;
    rc_t rc;
    for (;;) {
        int64_t left = end_us - clock_mono_us();
        for (int i = 0; i < list->cnt; i++) {
            list->elems[i].offset = at;
            list->elems[i].err = RD_KAFKA_RESP_ERR_NO_ERROR;
        }
        rd_kafka_resp_err_t err = first_error(rd_kafka_offsets_for_times(rk, list, kafka_ms(left)), list);
        rc = err ? look_failed(err, e) : OK;
        if (rc == E_NOTFOUND && !looked) {
            looked = true;
            look_at_topics(rk, list, end_us);
            continue;
        }
        if (rc != E_AGAIN || end_us - clock_mono_us() <= RETRY_MS * USEC_PER_MSEC)
            break;
        rd_kafka_poll(rk, RETRY_MS);
        look_at_topics(rk, list, end_us);
    }
    if (rc)
        rd_kafka_topic_partition_list_destroy(list);
    else
        *ret = list;
    return rc;
}

/* Partitions whose records are all older have no offset for a time: theirs is the end. */
static rc_t fill_ends(rd_kafka_t *rk, struct bus_partition *parts, size_t n, rd_kafka_topic_partition_list_t *list,
                      int64_t end_us, struct err *e)
{
    rd_kafka_topic_partition_list_t *ends = NULL;
    bool missing = false;
    for (int i = 0; i < list->cnt; i++)
        missing = missing || list->elems[i].offset < 0;
    if (!missing)
        return OK;
    rc_t rc = list_offsets(rk, parts, n, BUS_LOOK_END, end_us, &ends, e);
    for (int i = 0; !rc && i < list->cnt; i++)
        if (list->elems[i].offset < 0)
            list->elems[i].offset = ends->elems[i].offset;
    if (!rc)
        rd_kafka_topic_partition_list_destroy(ends);
    return rc;
}

static rc_t look_open(struct kafka_consumer *c, struct err *e)
{
    char text[200];
    if (c->look_rk)
        return OK;
    c->look_rk = rd_kafka_new(RD_KAFKA_PRODUCER, c->look_conf, text, sizeof text);
    if (!c->look_rk)
        return err_set(e, E_AGAIN, "asking for offsets: %s", text);
    c->look_conf = NULL; /* taken */
    return OK;
}

static rc_t assign_look(void *self, struct bus_partition *parts, size_t n, int64_t at, int64_t timeout_us, struct err *e)
{
    struct kafka_consumer *c = self;
    int64_t end = clock_mono_us() + timeout_us;
    rd_kafka_topic_partition_list_t *list = NULL;
    if (n == 0)
        return OK;
    rc_t rc = look_open(c, e);
    if (rc)
        return rc;
    rd_kafka_topic_partition_list_t *asked = c->look_stale ? kafka_list(parts, n, false) : NULL;
    if (asked) {
        look_at_topics(c->look_rk, asked, end);
        rd_kafka_topic_partition_list_destroy(asked);
    }
    rc = list_offsets(c->look_rk, parts, n, at >= 0 ? at / 1000 + (at % 1000 != 0) : at, end, &list, e);
    c->look_stale = rc != OK; /* the time may be up with the first answer that did not come */
    if (rc)
        return rc;
    if (at >= 0)
        rc = fill_ends(c->look_rk, parts, n, list, end, e);
    for (size_t i = 0; !rc && i < n; i++)
        parts[i].offset = list->elems[i].offset;
    rd_kafka_topic_partition_list_destroy(list);
    return rc;
}

const struct bus_assign_ops kafka_assign_ops = {
    .start = assign_start,
    .release = assign_release,
    .pause = assign_pause,
    .seek = assign_seek,
    .look = assign_look,
    .peek = kafka_peek,
};
