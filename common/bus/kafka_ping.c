/* Whether brokers let somebody in, and whose they are: a handle of its own, for one question. */
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "bus/bus_ops.h"
#include "bus/kafka_conf.h"

/* The last that went wrong; what tells of a wrong password comes before the time-out that it ends in. */
static void on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
    struct err *last = opaque;
    (void)rk;
    if (code != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
        (void)err_quote(last, E_AGAIN, "%s", reason);
}

static rc_t ask(rd_kafka_t *rk, int64_t timeout_us, char *ret_cluster, struct err *last)
{
    const struct rd_kafka_metadata *md = NULL;
    rd_kafka_resp_err_t err = rd_kafka_metadata(rk, 0, NULL, &md, kafka_ms(timeout_us));
    (void)rd_kafka_poll(rk, 0); /* what went wrong is told there */
    if (!err)
        rd_kafka_metadata_destroy(md);
    else if (!last->text[0])
        (void)err_quote(last, E_AGAIN, "%s", rd_kafka_err2str(err));
    if (err)
        return E_AGAIN;
    char *id = rd_kafka_clusterid(rk, kafka_ms(timeout_us)); /* it came with the metadata */
    if (!id)
        return err_set(last, E_AGAIN, "the brokers do not say which cluster they are");
    (void)snprintf(ret_cluster, BUS_CLUSTER_MAX + 1, "%s", id);
    rd_kafka_mem_free(rk, id);
    return OK;
}

rc_t kafka_ping(const struct bus_config *cfg, int64_t timeout_us, char *ret_cluster, struct err *e)
{
    static const struct kafka_option none[] = {{NULL, NULL}};
    struct err last = {0};
    char text[200];
    rd_kafka_conf_t *conf = NULL;
    rc_t rc = kafka_conf_make(cfg, none, none, &conf, e);
    if (rc)
        return rc;
    rd_kafka_conf_set_opaque(conf, &last);
    rd_kafka_conf_set_error_cb(conf, on_error);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    if (!rk) {
        kafka_conf_drop(conf);
        return err_quote(e, E_INVALID, "Kafka: %s", text);
    }
    rc = ask(rk, timeout_us, ret_cluster, &last);
    rd_kafka_destroy(rk);
    if (rc)
        *e = last;
    return rc;
}
