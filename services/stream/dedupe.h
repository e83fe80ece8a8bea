/* Which records of a partition have been seen: (endpoint, request id, when) over the last N offsets. A pure function of
 * the log: whether a record counts depends only on the N offsets before it, so a replay decides the same. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct dedupe;
struct dedupe *dedupe_new(int64_t horizon_records); /* memory grows with what is in it: 40 bytes a record of the horizon (24 and a place of 8 in a table of the next power of two) */
void dedupe_free(struct dedupe *d);
/* True: the same key is among the horizon's records before this offset. The key is (or stays) added.
 * Offsets ascend; the offset of the last call may come again and gets the answer it had. */
bool dedupe_seen(struct dedupe *d, const uint64_t key[2], int64_t offset);
/* Says that the key will be asked for in a moment: its place is far away in memory, and comes while other work is done. */
void dedupe_expect(const struct dedupe *d, const uint64_t key[2]);
