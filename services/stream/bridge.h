/* A project whose credentials name another Kafka: what its serving functions and applications send there comes here, and windows of
 * applications that run elsewhere go there.
 *
 *   their Kafka ── stream topic, writer topic ──▶ bridge:… ──▶ the same topics here, and on as always
 *   their Kafka ◀── topics of apps that do not read here ── bridge-out:… ◀── here
 * Both ways are pipelines: a record is passed on and acknowledged before its offset is in the ledger. What is sent twice after a
 * crash lands in the same partition, where it is a duplicate; a window that comes twice to an application gives the same result. */
#pragma once
#include "stream.h"

struct bridge_config {
    const char *project, *cluster; /* theirs */
    int32_t project_id;
    const struct bus_config *bus; /* theirs; copied with its texts */
};
struct bridge;
rc_t bridge_open(struct bridge **ret, struct stream *st, const struct bridge_config *cfg, struct err *e) MUST_CHECK;
const char *bridge_name(const struct bridge *b); /* of the pipeline that brings events */
bool bridge_failed(const struct bridge *b);      /* it has ended by itself: close it */
void bridge_ask_stop(struct bridge *b);          /* comes back at once */
void bridge_close(struct bridge *b);             /* waits some seconds at most for what is under way; NULL is fine */
