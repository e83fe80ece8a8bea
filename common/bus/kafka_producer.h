/* What kafka_topic.c needs of the producer. Internal to this folder. */
#pragma once
#include <librdkafka/rdkafka.h>
#include "bus/bus.h"

struct kafka_producer;
/* The handle of now, kept alive until released: it may be replaced meanwhile (kafka_producer.c). */
rd_kafka_t *kafka_producer_hold(struct kafka_producer *p);
void kafka_producer_release(struct kafka_producer *p);
const struct bus_config *kafka_producer_config(const struct kafka_producer *p);
