/* What the files of the simulated bus share. bus.c has the logs and the groups, consumer.c and producer.c their clients. */
#pragma once
#include "bus.h"
#include "bus/bus_ops.h"
#include "world.h"

#define QUESTION_US (3 * USEC_PER_MSEC)

struct at { /* a partition as one consumer has it */
    struct sim_topic *topic;
    int32_t partition;
    int64_t next, end_told, queued; /* queued: of what was fetched before a pause */
    bool started, paused;
};
enum member { OUT, JOINING, OWNER, REVOKING, RELEASED };
struct consumer {
    struct proc *proc;
    char *group;
    const char **topics; /* interned: names of sim_topic, or copies until they exist */
    size_t n_topics;
    enum member state;
    bool tell_assigned, tell_lost, tell_revoke;
    struct at *parts;
    size_t n_parts;
    int64_t seen_us; /* heard of */
    int64_t session_us;
    struct bus_partition *told; /* of the last event */
    size_t turn;
};

int64_t sim_log_append(struct sim_log *log, const struct sim_record *r);
struct str sim_copy(struct str s);
struct sim_topic *sim_topic_make(const char *name);
bool sim_bus_is_down(const struct proc *p);
const void *sim_bus_news(void); /* the key to wait for: records, and changes of groups */

void group_join(struct consumer *c);
void group_leave(struct consumer *c);
void group_rebalance(const struct consumer *of); /* the members let go, and share anew */
