/* librdkafka's configuration out of ours, and its error codes as ours. */
#include "bus/kafka_conf.h"
#include <limits.h>
#include <string.h>
#include "base/buf.h"
#include "log/log.h"

int kafka_ms(int64_t us)
{
    if (us <= 0)
        return 0;
    int64_t ms = us / 1000 + (us % 1000 != 0);
    return ms > INT_MAX ? INT_MAX : (int)ms;
}

int64_t kafka_or(int64_t value, int64_t otherwise)
{
    return value ? value : otherwise;
}

/* Of one message: what is wrong with its topic can be mended, what is wrong with its size cannot. */
rc_t kafka_message_rc(rd_kafka_resp_err_t err)
{
    switch ((int)err) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
        return OK;
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
        return E_INVALID;
    default:
        return E_AGAIN;
    }
}

rc_t kafka_rc(rd_kafka_resp_err_t err)
{
    switch ((int)err) {
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
    case RD_KAFKA_RESP_ERR_INVALID_PARTITIONS:
    case RD_KAFKA_RESP_ERR_INVALID_CONFIG:
    case RD_KAFKA_RESP_ERR__INVALID_ARG:
        return E_INVALID;
    case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID:
        return E_FATAL;
    default:
        return kafka_message_rc(err);
    }
}

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    (void)level;
    log_debug("kafka", LF_STR("client", rd_kafka_name(rk)), LF_STR("facility", facility), LF_STR("text", text));
}

static rc_t set(rd_kafka_conf_t *conf, const char *name, const char *value, struct err *e)
{
    rd_kafka_conf_res_t res = rd_kafka_conf_set(conf, name, value, NULL, 0);
    if (res == RD_KAFKA_CONF_UNKNOWN)
        return err_set(e, E_INVALID, "Kafka has no option %s", name);
    if (res != RD_KAFKA_CONF_OK)
        return err_set(e, E_INVALID, "Kafka's option %s does not take this value", name);
    return OK;
}

static bool named(const struct kafka_option *list, const char *name)
{
    for (; list->name; list++)
        if (strcmp(list->name, name) == 0)
            return true;
    return false;
}

/* One "name=value" of s, up to an unescaped semicolon, into out as two terminated texts; s moves behind it. */
static rc_t take_option(struct str *s, struct buf *out, size_t *ret_value_at, struct err *e)
{
    size_t value_at = 0, i = 0;
    buf_clear(out);
    for (; i < s->n && s->p[i] != ';'; i++) {
        if (s->p[i] == '\\' && i + 1 < s->n && s->p[i + 1] == ';')
            i++;
        if (s->p[i] == '=' && !value_at) {
            buf_addc(out, '\0');
            value_at = out->len;
        } else {
            buf_addc(out, s->p[i]);
        }
    }
    size_t used = i < s->n ? i + 1 : i;
    s->p += used;
    s->n -= used;
    if (out->len && !value_at)
        return err_set(e, E_INVALID, "KAFKA_OPTIONS: an option without \"=\"");
    *ret_value_at = value_at;
    return OK;
}

static rc_t set_extra(rd_kafka_conf_t *conf, const char *extra, const struct kafka_option *hard, struct err *e)
{
    CLEANUP(buf_done) struct buf one = {0};
    struct str rest = str_of(extra);
    while (rest.n) {
        size_t value_at = 0;
        rc_t rc = take_option(&rest, &one, &value_at, e);
        if (rc)
            return rc;
        if (one.len == 0)
            continue;
        const char *name = one.data + strspn(one.data, " \n");
        if (named(hard, name))
            return err_set(e, E_INVALID, "KAFKA_OPTIONS: %s is not free to choose", name);
        if ((rc = set(conf, name, one.data + value_at, e)))
            return err_prefix(e, rc, "KAFKA_OPTIONS: ");
    }
    return OK;
}

static rc_t set_all(rd_kafka_conf_t *conf, const struct kafka_option *list, struct err *e)
{
    rc_t rc = OK;
    for (; list->name && !rc; list++)
        rc = set(conf, list->name, list->value, e);
    return rc;
}

rc_t kafka_conf_make(const struct bus_config *cfg, const struct kafka_option *soft, const struct kafka_option *hard,
                     rd_kafka_conf_t **ret, struct err *e)
{
    /* A broker that hangs is noticed by socket.timeout; one that comes back, within reconnect.backoff.max. */
    static const struct kafka_option both[] = {
        {"socket.timeout.ms", "10000"},       {"socket.keepalive.enable", "true"}, {"reconnect.backoff.ms", "100"},
        {"reconnect.backoff.max.ms", "1000"}, {"log.connection.close", "false"},   {NULL, NULL},
    };
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    const char *id = cfg->client_id && *cfg->client_id ? cfg->client_id : "modelmon";
    rc_t rc = set(conf, "bootstrap.servers", cfg->brokers, e);
    if (!rc)
        rc = set(conf, "client.id", id, e);
    if (!rc)
        rc = set_all(conf, both, e);
    if (!rc)
        rc = set_all(conf, soft, e);
    if (!rc && cfg->extra)
        rc = set_extra(conf, cfg->extra, hard, e);
    if (!rc)
        rc = set_all(conf, hard, e);
    if (rc) {
        rd_kafka_conf_destroy(conf);
        return rc;
    }
    rd_kafka_conf_set_log_cb(conf, on_log);
    *ret = conf;
    return OK;
}

void kafka_conf_drop(rd_kafka_conf_t *conf)
{
    if (conf)
        rd_kafka_conf_destroy(conf);
}
