/* The simulated bus: it plays the row "kafka" of buses[], so all of bus.h works over it. Topics are logs in memory, groups are told of
 * rebalances, messages may not be acknowledged although they are there, records come again, offsets may be left out. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/str.h"

struct sim_record {
    int64_t appended_us, timestamp_us; /* when it was there (wall clock); what it says */
    struct str key, value, traceparent;
    bool marker; /* an offset without a record, as transactions leave them */
};
struct sim_log {
    struct sim_record *records;
    int64_t n, cap;
};
struct sim_topic {
    char *name;
    int32_t n_partitions;
    struct sim_log *partitions;
    struct sim_topic *next;
};
void sim_bus_begin(int32_t partitions);
void sim_bus_end(void);
struct sim_topic *sim_topic(const char *name); /* NULL: not there */
/* As a client's message, acknowledged when it returns true; else the client does not know. */
bool sim_append(const char *topic, int32_t partition, struct str key, struct str value, int64_t *ret_offset);
/* The members of all groups look for each other anew: a rebalance for no reason. */
void sim_bus_shake(void);
/* Its connection to the bus is gone until then (monotonic): others get its partitions. */
struct proc;
void sim_bus_cut(struct proc *p, int64_t until_us);
