/* librdkafka's configuration out of ours, and its error codes as ours. Internal to this folder. */
#pragma once
#include <librdkafka/rdkafka.h>
#include "bus/bus.h"

struct kafka_option {
    const char *name, *value;
};
/* soft: ours unless KAFKA_OPTIONS says otherwise. hard: what the contract in bus.h rests on; KAFKA_OPTIONS may not name it.
 * Both lists end with {NULL, NULL}. E_INVALID names the option at fault, never its value: it may be a secret. */
rc_t kafka_conf_make(const struct bus_config *cfg, const struct kafka_option *soft, const struct kafka_option *hard,
                     rd_kafka_conf_t **ret, struct err *e) MUST_CHECK;

void kafka_conf_drop(rd_kafka_conf_t *conf); /* NULL is fine */

/* What the caller of a failed operation should do. */
rc_t kafka_rc(rd_kafka_resp_err_t err);
rc_t kafka_message_rc(rd_kafka_resp_err_t err);     /* E_INVALID: the message itself; else E_AGAIN */
int kafka_ms(int64_t us);                           /* rounded up, not below 0 */
int64_t kafka_or(int64_t value, int64_t otherwise); /* value unless it is 0 */
