/* What an administrator does to topics behind the product's back. */
#pragma once

/* Deletes a topic on Kafka ("host:port") or of a local log that nobody has open ("local:/folder"). Waits until it is gone; fails
 * the test otherwise. */
void topic_delete(const char *brokers, const char *topic);
