/* Which requests and responses that were logged apart belong together: halves of the same endpoint and id.
 *
 * Where a pair is made. Both halves are records of the project's topic with the same key, so they lie in one partition,
 * whichever replica's trigger took them, and each is durable before its sender is answered. Each sink pairs them for itself
 * while it reads: the pair is an event at the offset of its second half. Nothing is kept anywhere but in the log. Holding
 * a first half in the trigger until the second comes would lose it with the process, or make its sender wait, and two
 * replicas would never meet.
 * A pure function of the log, as dedupe.h: what happens at an offset depends on the 2 x `records` offsets before it alone,
 * not on when it is read. A sink that is assigned a partition reads as many again (its warm-up), so a restart between the
 * halves changes nothing, and statistics and lake decide the same.
 *
 * Two halves are a pair if the second comes within `records` offsets and `wait_us` (of the records' own timestamps) of the
 * newest first one that `bytes` has room for. A half that leaves unpaired is told: a dead letter. It leaves with a later
 * record of its partition; while none comes it waits, seen in pairing_waiting, and is still in the log.
 * An order of halves is not wanted: a response may come first. A half that comes again after its pair was made is a repeat. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/str.h"

struct half {
    bool is_request;
    int64_t offset, timestamp_us;
    struct str record; /* whole, as it was on the topic */
};

struct pairing;
struct pairing *pairing_new(int64_t records, int64_t wait_us, size_t bytes);
void pairing_free(struct pairing *p);

enum pairing_outcome { PAIRING_WAITS, PAIRING_MADE, PAIRING_REPEAT };
/* A half at its offset. MADE: *other is the half it belongs to, borrowed until the next pairing_pass. The record is copied.
 * The offset of the last call may come again (its handling had to wait) and gets the answer it had. */
enum pairing_outcome pairing_add(struct pairing *p, const uint64_t key[2], const struct half *half, struct half *other);
/* The pair was refused: its halves may be sent again. */
void pairing_forget(struct pairing *p, const uint64_t key[2]);
/* After every record of the partition, halves or not, once it is handled: `left` is told of halves whose time is over. */
void pairing_pass(struct pairing *p, int64_t offset, int64_t timestamp_us,
                  void (*left)(void *arg, const struct half *half), void *arg);
size_t pairing_waiting(const struct pairing *p);
size_t pairing_bytes(const struct pairing *p);
