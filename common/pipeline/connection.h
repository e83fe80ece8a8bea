/* What a datastore profile (db/profile.h) says, as something to connect to. Texts are the arena's. */
#pragma once
#include "base/arena.h"
#include "bus/bus.h"
#include "json/doc.h"

/* The values of a profile's two parts, each decoded: {"brokers": "['a:9092']", …}; those that are None are left out. private_part may be
 * empty. E_INVALID names the field. */
rc_t connection_values(struct str object, struct str private_part, struct json **ret, struct err *e) MUST_CHECK;

/* kafka_stream: brokers, SASL and TLS as they are said into *ret, partitions and replication of new topics where they are; its other
 * fields stay. *ret_topic empty: none is named. */
rc_t connection_kafka(const struct json *values, struct arena *a, struct bus_config *ret, struct str *ret_topic,
                      struct err *e) MUST_CHECK;
/* postgresql: a URL for db_open. It has the password in it. *ret_place: "HOST:PORT". */
rc_t connection_postgres(const struct json *values, struct arena *a, const char **ret_url, const char **ret_place,
                         struct err *e) MUST_CHECK;
