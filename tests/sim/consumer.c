/* The simulated bus's consumers. */
#include <string.h>
#include "base/mem.h"
#include "bus_parts.h"

static rc_t consumer_open(const struct bus_config *cfg, const char *group, void **ret, struct err *e)
{
    (void)e;
    struct consumer *c = mem_alloc(sizeof *c);
    c->proc = proc_now();
    c->group = mem_dupz(group);
    c->session_us = cfg->session_us;
    group_join(c);
    *ret = c;
    return OK;
}

static bool same_topics(const struct consumer *c, const char *const *topics, size_t n)
{
    if (c->n_topics != n)
        return false;
    for (size_t i = 0; i < n; i++)
        if (strcmp(c->topics[i], topics[i]) != 0)
            return false;
    return true;
}

static rc_t consumer_topics(void *self, const char *const *topics, size_t n, struct err *e)
{
    struct consumer *c = self;
    (void)e;
    if (same_topics(c, topics, n))
        return OK;
    c->topics = mem_grow((void *)c->topics, n ? n : 1, sizeof *c->topics);
    for (size_t i = 0; i < n; i++)
        c->topics[i] = mem_dupz(topics[i]);
    c->n_topics = n;
    if (c->state == OUT && n && !c->tell_lost)
        c->state = JOINING;
    else if (c->state != OUT)
        group_rebalance(c);
    return OK;
}

static void tell_parts(struct consumer *c, enum bus_event_type type, struct bus_event *ret)
{
    c->told = mem_grow(c->told, c->n_parts + 1, sizeof *c->told);
    for (size_t i = 0; i < c->n_parts; i++)
        c->told[i] = (struct bus_partition){c->parts[i].topic->name, c->parts[i].partition, -1};
    *ret = (struct bus_event){.type = type, .parts = c->told, .n_parts = c->n_parts};
    world_say("%s %s of %zu", c->group,
              type == BUS_ASSIGNED ? "assigned"
              : type == BUS_LOST   ? "lost"
                                   : "revoked",
              c->n_parts);
}

static bool tell_group(struct consumer *c, struct bus_event *ret)
{
    if (c->tell_lost) {
        tell_parts(c, BUS_LOST, ret);
        c->tell_lost = false;
    } else if (c->tell_revoke) {
        tell_parts(c, BUS_REVOKED, ret);
        c->tell_revoke = false;
    } else if (c->tell_assigned) {
        tell_parts(c, BUS_ASSIGNED, ret);
        c->tell_assigned = false;
    } else {
        return false;
    }
    return true;
}

/* Also a record or two of a paused partition: what was fetched before. */
static bool may_read(struct at *at)
{
    if (!at->started)
        return false;
    if (!at->paused)
        return true;
    return at->queued-- > 0;
}

static bool take_record(struct at *at, struct bus_event *ret)
{
    struct sim_log *log = &at->topic->partitions[at->partition];
    while (at->next < log->n && log->records[at->next].marker)
        at->next++;
    if (at->next >= log->n)
        return false;
    const struct sim_record *r = &log->records[at->next];
    *ret = (struct bus_event){.type = BUS_RECORD,
                              .topic = at->topic->name,
                              .partition = at->partition,
                              .offset = at->next++,
                              .timestamp_us = r->timestamp_us,
                              .key = r->key,
                              .value = r->value,
                              .traceparent = r->traceparent};
    world_note((uint64_t)ret->offset << 8 | (uint64_t)at->partition);
    return true;
}

static bool tell_end(struct consumer *c, struct at *at, struct bus_event *ret)
{
    const struct sim_log *log = &at->topic->partitions[at->partition];
    if (!at->started || at->paused || at->next < log->n || at->end_told == log->n)
        return false;
    at->end_told = log->n;
    c->told = mem_grow(c->told, 1, sizeof *c->told);
    c->told[0] = (struct bus_partition){at->topic->name, at->partition, at->next};
    *ret = (struct bus_event){.type = BUS_END, .parts = c->told, .n_parts = 1};
    return true;
}

static bool take_any(struct consumer *c, struct bus_event *ret)
{
    if (world_chance(150))
        c->turn = (size_t)world_below((int64_t)c->n_parts);
    for (size_t i = 0; i < c->n_parts; i++) {
        struct at *at = &c->parts[(c->turn + i) % c->n_parts];
        if (may_read(at) && take_record(at, ret))
            return true;
    }
    for (size_t i = 0; i < c->n_parts; i++)
        if (tell_end(c, &c->parts[i], ret))
            return true;
    return false;
}

static rc_t consumer_poll(void *self, int64_t timeout_us, struct bus_event *ret, struct err *e)
{
    struct consumer *c = self;
    int64_t until = clock_mono_us() + timeout_us;
    (void)e;
    world_point();
    for (;;) {
        bool down = sim_bus_is_down(c->proc);
        if (!down && c->state == OUT && !c->tell_lost && c->n_parts == 0 && c->n_topics)
            c->state = JOINING;
        if (!down && (tell_group(c, ret) || take_any(c, ret)))
            return OK;
        if (clock_mono_us() >= until)
            break;
        (void)world_wait(sim_bus_news(), until);
    }
    *ret = (struct bus_event){.type = BUS_NONE};
    return OK;
}

static void consumer_note(void *self, const struct bus_partition *parts, size_t n)
{
    (void)self, (void)parts, (void)n;
}

static void consumer_free(void *self)
{
    struct consumer *c = self;
    group_leave(c);
    mem_free(c->parts);
    mem_free(c->told);
    mem_free(c->group);
    mem_free((void *)c->topics);
    mem_free(c);
}

static struct at *find(struct consumer *c, const struct bus_partition *p)
{
    for (size_t i = 0; i < c->n_parts; i++)
        if (c->parts[i].partition == p->partition && strcmp(c->parts[i].topic->name, p->topic) == 0)
            return &c->parts[i];
    return NULL;
}

static rc_t assign_start(void *self, const struct bus_partition *parts, size_t n, struct err *e)
{
    struct consumer *c = self;
    (void)e;
    world_point();
    for (size_t i = 0; i < n; i++) {
        struct at *at = find(c, &parts[i]);
        if (at)
            *at = (struct at){at->topic, at->partition, parts[i].offset < 0 ? 0 : parts[i].offset, -1, 0, true, false};
    }
    return OK;
}

static rc_t assign_release(void *self, struct err *e)
{
    struct consumer *c = self;
    (void)e;
    c->n_parts = 0;
    if (c->state == REVOKING || c->state == OWNER)
        c->state = RELEASED;
    world_notify(sim_bus_news());
    return OK;
}

/* After a pause it may begin further back than it was: the owner has seen those. */
static rc_t assign_pause(void *self, const struct bus_partition *parts, size_t n, bool paused, struct err *e)
{
    struct consumer *c = self;
    (void)e;
    for (size_t i = 0; i < n; i++) {
        struct at *at = find(c, &parts[i]);
        if (!at)
            continue;
        if (at->paused && !paused && at->started && world_chance(200))
            at->next -= at->next > 3 ? world_below(3) : 0;
        at->paused = paused;
        at->queued = paused ? world_below(4) : 0;
        at->end_told = -1;
    }
    return OK;
}

static rc_t assign_seek(void *self, const struct bus_partition *part, struct err *e)
{
    struct at *at = find(self, part);
    (void)e;
    if (at)
        at->next = part->offset;
    return OK;
}

static int64_t way(void)
{
    return world_chance(50) ? world_below(100 * QUESTION_US) : world_below(QUESTION_US);
}

static rc_t question(const struct consumer *c, int64_t timeout_us, struct err *e)
{
    world_sleep(way());
    if (!sim_bus_is_down(c->proc) && !world_chance(faults.per_mille_bus))
        return OK;
    world_sleep(timeout_us / 2);
    return err_set(e, E_AGAIN, "no answer in time");
}

static rc_t assign_look(void *self, struct bus_partition *parts, size_t n, int64_t at, int64_t timeout_us, struct err *e)
{
    int64_t *found = mem_array(n + 1, sizeof *found);
    rc_t rc = question(self, timeout_us, e);
    for (size_t i = 0; rc == OK && i < n; i++) {
        const struct sim_topic *t = sim_topic(parts[i].topic);
        if (!t || parts[i].partition >= t->n_partitions)
            rc = err_set(e, E_NOTFOUND, "no such partition");
        else
            found[i] = at == BUS_LOOK_END ? t->partitions[parts[i].partition].n : 0;
    }
    world_sleep(way()); /* the answer is old when it comes */
    for (size_t i = 0; rc == OK && i < n; i++)
        parts[i].offset = found[i];
    mem_free(found);
    return rc;
}

static rc_t assign_peek(void *self, const struct bus_partition *parts, size_t n, struct bus_mark *ret,
                        int64_t timeout_us, struct err *e)
{
    rc_t rc = question(self, timeout_us, e);
    for (size_t i = 0; rc == OK && i < n; i++) {
        const struct sim_topic *t = sim_topic(parts[i].topic);
        const struct sim_log *log = t ? &t->partitions[parts[i].partition] : NULL;
        int64_t at = parts[i].offset;
        while (log && at < log->n && log->records[at].marker)
            at++;
        ret[i] = (struct bus_mark){.offset = -1};
        if (log && at < log->n)
            ret[i] = (struct bus_mark){at, log->records[at].timestamp_us,
                                       bus_print(log->records[at].key, log->records[at].value)};
    }
    return rc;
}

const struct bus_consumer_ops kafka_consumer_ops = {consumer_open, consumer_topics, consumer_poll, consumer_note,
                                                    consumer_free};
const struct bus_assign_ops kafka_assign_ops = {assign_start, assign_release, assign_pause,
                                                assign_seek,  assign_look,    assign_peek};
