/* The simulated bus: logs and groups. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "bus_parts.h"

#define CONSUMERS_MAX 64
#define GROUP_EVERY_US (150 * USEC_PER_MSEC)
#define CUTS_MAX 64

static struct {
    struct sim_topic *topics;
    int32_t partitions;
    struct consumer *consumers[CONSUMERS_MAX];
    size_t n_consumers;
    struct cut {
        struct proc *proc;
        int64_t until;
    } cuts[CUTS_MAX];
    size_t n_cuts;
} b;

/* ---- logs ---- */
struct sim_topic *sim_topic(const char *name)
{
    for (struct sim_topic *t = b.topics; t; t = t->next)
        if (strcmp(t->name, name) == 0)
            return t;
    return NULL;
}

struct sim_topic *sim_topic_make(const char *name)
{
    struct sim_topic *t = sim_topic(name);
    if (t)
        return t;
    t = mem_alloc(sizeof *t);
    t->name = mem_dupz(name);
    t->n_partitions = b.partitions;
    t->partitions = mem_array((size_t)b.partitions, sizeof *t->partitions);
    t->next = b.topics;
    return b.topics = t;
}

struct str sim_copy(struct str s)
{
    return (struct str){s.p ? mem_dup(s.p, s.n) : NULL, s.n};
}

int64_t sim_log_append(struct sim_log *log, const struct sim_record *r)
{
    if (log->n + 2 > log->cap) {
        log->cap = log->cap ? log->cap * 2 : 32;
        log->records = mem_grow(log->records, (size_t)log->cap, sizeof *log->records);
    }
    log->records[log->n] = *r;
    log->records[log->n].appended_us = clock_now_us();
    int64_t offset = log->n++;
    if (world_chance(20))
        log->records[log->n++] = (struct sim_record){.marker = true, .appended_us = clock_now_us()};
    world_notify(&b);
    world_note((uint64_t)offset);
    return offset;
}

bool sim_bus_is_down(const struct proc *p)
{
    for (size_t i = 0; i < b.n_cuts; i++)
        if (b.cuts[i].proc == p && b.cuts[i].until > clock_mono_us())
            return true;
    return faults.bus_down_until > clock_mono_us();
}

bool sim_append(const char *topic, int32_t partition, struct str key, struct str value, int64_t *ret_offset)
{
    struct sim_topic *t = sim_topic(topic);
    if (!t || faults.bus_down_until > clock_mono_us())
        return false;
    world_sleep(world_below(4 * USEC_PER_MSEC));
    *ret_offset = sim_log_append(
        &t->partitions[partition % t->n_partitions],
        &(struct sim_record){.timestamp_us = clock_now_us(), .key = sim_copy(key), .value = sim_copy(value)});
    return !world_chance(faults.per_mille_bus);
}

/* ---- groups: eager, range ---- */
static bool same_group(const struct consumer *x, const struct consumer *y)
{
    return strcmp(x->group, y->group) == 0;
}

void group_rebalance(const struct consumer *of)
{
    for (size_t i = 0; i < b.n_consumers; i++) {
        struct consumer *c = b.consumers[i];
        if (!same_group(c, of) || c->state != OWNER)
            continue;
        c->state = REVOKING;
        c->tell_revoke = !c->tell_assigned; /* it never heard of what it has */
        if (c->tell_assigned) {
            c->tell_assigned = false;
            c->n_parts = 0;
            c->state = RELEASED;
        }
    }
    world_notify(&b);
}

void sim_bus_shake(void)
{
    for (size_t i = 0; i < b.n_consumers; i++)
        group_rebalance(b.consumers[i]);
}

void sim_bus_cut(struct proc *p, int64_t until_us)
{
    if (b.n_cuts < CUTS_MAX)
        b.cuts[b.n_cuts++] = (struct cut){p, until_us};
}

static bool subscribed(const struct consumer *c, const struct sim_topic *t)
{
    for (size_t i = 0; i < c->n_topics; i++)
        if (strcmp(c->topics[i], t->name) == 0)
            return true;
    return false;
}

static void assign_topic(struct consumer *of, struct sim_topic *t)
{
    struct consumer *takers[CONSUMERS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < b.n_consumers; i++)
        if (same_group(b.consumers[i], of) && b.consumers[i]->state != OUT && subscribed(b.consumers[i], t))
            takers[n++] = b.consumers[i];
    size_t first = n ? (size_t)world_below((int64_t)n) : 0;
    for (int32_t p = 0; n && p < t->n_partitions; p++) {
        struct consumer *c = takers[(first + (size_t)p * n / (size_t)t->n_partitions) % n];
        c->parts = mem_grow(c->parts, c->n_parts + 1, sizeof *c->parts);
        c->parts[c->n_parts++] = (struct at){.topic = t, .partition = p, .next = -1, .end_told = -1};
    }
}

/* All have let go: everybody gets a share. */
static void assign_all(struct consumer *of)
{
    for (size_t i = 0; i < b.n_consumers; i++)
        if (same_group(b.consumers[i], of) && b.consumers[i]->state != OUT) {
            b.consumers[i]->state = OWNER;
            b.consumers[i]->n_parts = 0;
            b.consumers[i]->tell_assigned = true;
        }
    for (struct sim_topic *t = b.topics; t; t = t->next)
        assign_topic(of, t);
    world_notify(&b);
}

static void kick(struct consumer *c)
{
    world_say("%s/%s is thought dead", proc_name(c->proc), c->group);
    c->tell_lost = c->state == OWNER || c->state == REVOKING;
    c->tell_revoke = c->tell_assigned = false;
    c->state = OUT;
    group_rebalance(c);
}

static void remove_consumer(size_t at)
{
    struct consumer *c = b.consumers[at];
    bool was = c->state != OUT;
    c->state = OUT;
    b.consumers[at] = b.consumers[--b.n_consumers];
    if (was)
        group_rebalance(c);
}

static void group_step(struct consumer *of)
{
    bool ready = false, open = false;
    for (size_t i = 0; i < b.n_consumers; i++) {
        struct consumer *c = b.consumers[i];
        if (!same_group(c, of) || c->state == OUT)
            continue;
        ready = ready || c->state == JOINING || c->state == RELEASED;
        open = open || c->state == REVOKING || (c->state == OWNER);
    }
    if (ready && !open)
        assign_all(of);
}

static void coordinator(void *arg)
{
    (void)arg;
    for (;;) {
        world_sleep(GROUP_EVERY_US);
        int64_t now = clock_mono_us();
        for (size_t i = b.n_consumers; i-- > 0;) {
            struct consumer *c = b.consumers[i];
            if (proc_alive(c->proc) && !proc_frozen(c->proc) && !sim_bus_is_down(c->proc))
                c->seen_us = now;
            bool late = now - c->seen_us > c->session_us;
            if (late && !proc_alive(c->proc))
                remove_consumer(i);
            else if (late && c->state != OUT && faults.bus_down_until < now)
                kick(c);
        }
        for (size_t i = 0; i < b.n_consumers; i++) {
            struct consumer *c = b.consumers[i];
            if (c->state == JOINING) { /* whoever comes makes the others let go */
                bool others = false;
                for (size_t k = 0; k < b.n_consumers; k++)
                    others = others || (same_group(b.consumers[k], c) && b.consumers[k]->state == OWNER);
                if (others)
                    group_rebalance(c);
            }
        }
        if (faults.bus_down_until < now)
            for (size_t i = 0; i < b.n_consumers; i++)
                group_step(b.consumers[i]);
    }
}

void sim_bus_begin(int32_t partitions)
{
    b.topics = NULL;
    b.n_consumers = b.n_cuts = 0;
    b.partitions = partitions;
    (void)proc_start("broker", coordinator, NULL);
}

void sim_bus_end(void)
{
    for (struct sim_topic *t = b.topics, *next; t; t = next) {
        next = t->next;
        for (int32_t p = 0; p < t->n_partitions; p++) {
            struct sim_log *log = &t->partitions[p];
            for (int64_t i = 0; i < log->n; i++) {
                mem_free((char *)(uintptr_t)log->records[i].key.p);
                mem_free((char *)(uintptr_t)log->records[i].value.p);
                mem_free((char *)(uintptr_t)log->records[i].traceparent.p);
            }
            mem_free(log->records);
        }
        mem_free(t->partitions);
        mem_free(t->name);
        mem_free(t);
    }
    b.topics = NULL;
}

void group_join(struct consumer *c)
{
    if (b.n_consumers == CONSUMERS_MAX)
        abort();
    c->seen_us = clock_mono_us();
    b.consumers[b.n_consumers++] = c;
}

void group_leave(struct consumer *c)
{
    for (size_t i = 0; i < b.n_consumers; i++)
        if (b.consumers[i] == c) {
            remove_consumer(i);
            break;
        }
}

const void *sim_bus_news(void)
{
    return &b;
}
