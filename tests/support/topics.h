/* What others do to topics behind the product's back. */
#pragma once

/* Deletes a topic on Kafka ("host:port") or of a local log that nobody has open ("local:/folder"). Waits until it is gone; fails
 * the test otherwise. */
void topic_delete(const char *brokers, const char *topic);
/* One transaction of n values, the decimal numbers from `from` on; Kafka alone. Behind them the log has a marker that no consumer
 * sees. */
void topic_transact(const char *brokers, const char *topic, int partition, long long from, int n);
