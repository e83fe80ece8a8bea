/* Consuming from the local log: groups within the process, and records in the order of each partition.
 *
 *   OUT ──topics──▶ WAITING ──all others have let go──▶ OWNER ──the group changed──▶ REVOKING ──release──▶ WAITING
 *
 * As on Kafka an assignment is whole (range): before a new one every member gives up the old one. Each member works its
 * share out by itself, from the same list of members and topics. */
#include "bus/local.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/mem.h"

#define REST_US USEC_PER_SEC /* an idle partition keeps its file and buffer so long */
#define RETRY_US (200 * USEC_PER_MSEC)

/* --- groups; the log's lock is held --- */
static void wake(struct local_consumer *c)
{
    if (c->sleeping)
        pthread_cond_signal(&c->woken);
}

void local_group_changed(struct local_log *log, struct local_group *g)
{
    g->generation++;
    atomic_fetch_add(&log->group_changes, 1);
    for (struct local_consumer *m = g->members; m; m = m->next_member)
        wake(m);
}

static bool wants(const struct local_consumer *c, const char *topic)
{
    for (size_t i = 0; i < c->n_topics; i++)
        if (strcmp(c->topics[i], topic) == 0)
            return true;
    return false;
}

void local_topic_appeared(struct local_log *log, const char *topic)
{
    for (struct local_group *g = log->groups; g; g = g->after) {
        bool wanted = false;
        for (const struct local_consumer *m = g->members; m; m = m->next_member)
            wanted = wanted || wants(m, topic);
        if (wanted)
            local_group_changed(log, g);
    }
}

void local_consumers_wake(struct local_log *log)
{
    for (struct local_consumer *c = log->consumers; c; c = c->after) {
        bool news = false;
        for (size_t i = 0; i < c->n_cursors && c->sleeping && !news; i++)
            news = c->cursors[i].part->fresh && c->cursors[i].started && !c->cursors[i].paused;
        if (news)
            wake(c);
    }
}

static struct local_group *group_get(struct local_log *log, const char *name)
{
    struct local_group *g = log->groups;
    while (g && strcmp(g->name, name) != 0)
        g = g->after;
    if (g)
        return g;
    g = mem_alloc(sizeof *g);
    g->name = mem_dupz(name);
    g->after = log->groups;
    log->groups = g;
    return g;
}

static void group_leave(struct local_consumer *c)
{
    struct local_group *g = c->group;
    struct local_consumer **at = &g->members;
    while (*at != c)
        at = &(*at)->next_member;
    *at = c->next_member;
    local_group_changed(c->log, g);
    if (g->members)
        return;
    struct local_group **ag = &c->log->groups;
    while (*ag != g)
        ag = &(*ag)->after;
    *ag = g->after;
    mem_free(g->name);
    mem_free(g);
}

/* Nobody holds partitions of an earlier generation. */
static bool may_join(const struct local_group *g)
{
    for (const struct local_consumer *m = g->members; m; m = m->next_member)
        if (m->state == LOCAL_REVOKING || (m->state == LOCAL_OWNER && m->generation != g->generation))
            return false;
    return true;
}

void local_cursors_drop(struct local_consumer *c)
{
    for (size_t i = 0; i < c->n_cursors; i++)
        local_reader_close(&c->cursors[i].reader);
    mem_free(c->cursors);
    c->cursors = NULL;
    c->n_cursors = c->turn = 0;
}

/* This member's run of the topic's partitions. */
static void share(struct local_consumer *c, struct local_topic *t)
{
    int32_t members = 0, at = 0;
    for (const struct local_consumer *m = c->group->members; m; m = m->next_member) {
        if (m == c)
            at = members;
        members += wants(m, t->name);
    }
    int32_t each = t->n / members, more = t->n % members;
    int32_t first = each * at + (at < more ? at : more), n = each + (at < more);
    c->cursors = mem_grow(c->cursors, c->n_cursors + (size_t)n + 1, sizeof *c->cursors);
    for (int32_t i = first; i < first + n; i++)
        c->cursors[c->n_cursors++] = (struct local_cursor){
            .topic = t, .part = &t->parts[i], .number = i, .reader = {.fd = -1}};
}

static void show_parts(struct local_consumer *c, enum bus_event_type type, struct bus_event *ret)
{
    c->shown = mem_array(c->n_cursors + 1, sizeof *c->shown);
    for (size_t i = 0; i < c->n_cursors; i++)
        c->shown[i] = (struct bus_partition){c->cursors[i].topic->name, c->cursors[i].number, -1};
    ret->type = type;
    ret->parts = c->shown;
    ret->n_parts = c->n_cursors;
}

static void join(struct local_consumer *c, struct bus_event *ret)
{
    struct err ignored;
    local_cursors_drop(c);
    for (size_t i = 0; i < c->n_topics; i++) {
        struct local_topic *t = NULL;
        if (local_topic_find(c->log, c->topics[i], &t, &ignored) == OK) /* others are waited for */
            share(c, t);
    }
    c->generation = c->group->generation;
    c->state = LOCAL_OWNER;
    show_parts(c, BUS_ASSIGNED, ret);
}

/* One step of the drawing above; true: ret is an event. */
static bool step(struct local_consumer *c, struct bus_event *ret)
{
    if (c->state == LOCAL_OWNER && (c->generation != c->group->generation || !c->n_topics)) {
        c->state = LOCAL_REVOKING;
        show_parts(c, BUS_REVOKED, ret);
        return true;
    }
    if (c->state == LOCAL_OUT && c->n_topics)
        c->state = LOCAL_WAITING;
    else if (c->state == LOCAL_WAITING && !c->n_topics)
        c->state = LOCAL_OUT;
    if (c->state != LOCAL_WAITING || !may_join(c->group))
        return false;
    join(c, ret);
    return true;
}

/* --- records --- */
static bool show_part(struct local_consumer *c, const struct local_cursor *cur, enum bus_event_type type,
                      struct bus_event *ret)
{
    c->part = (struct bus_partition){cur->topic->name, cur->number, cur->position};
    ret->type = type;
    ret->parts = &c->part;
    ret->n_parts = 1;
    return true;
}

static bool show_error(struct bus_event *ret, rc_t rc, const struct local_cursor *cur, const struct err *e)
{
    ret->type = BUS_ERROR;
    ret->parts = NULL;
    ret->n_parts = 0;
    ret->rc = rc;
    (void)snprintf(ret->words, sizeof ret->words, "%.100s [%d] at %lld: %.80s", cur->topic->name, cur->number,
                   (long long)cur->position, e->text);
    return true;
}

static void show_record(const struct local_cursor *cur, const struct local_view *v, struct bus_event *ret)
{
    ret->type = BUS_RECORD;
    ret->parts = NULL;
    ret->n_parts = 0;
    ret->topic = cur->topic->name;
    ret->partition = cur->number;
    ret->offset = v->offset;
    ret->timestamp_us = v->timestamp_us;
    ret->key = v->key;
    ret->value = v->value;
    ret->traceparent = v->traceparent;
}

/* A damaged place is said once, then the partition stands still as if the rest were gone. */
static bool damaged(struct local_cursor *cur, rc_t rc, const struct err *e, struct bus_event *ret)
{
    local_reader_close(&cur->reader);
    cur->damaged = rc != E_AGAIN;
    cur->retry_us = clock_mono_us() + RETRY_US;
    return show_error(ret, rc, cur, e);
}

/* All of it was read: nothing to do for now. After a while without records the file is given back. */
static bool is_idle(struct local_cursor *cur)
{
    if (!cur->told_end || cur->position != cur->part->end)
        return false;
    if (cur->reader.fd >= 0 && clock_mono_us() - cur->read_us > REST_US)
        local_reader_rest(&cur->reader);
    return true;
}

/* Lock held. Where the file may be read to now; false: ret is an event, or there is nothing. */
static bool look_further(struct local_consumer *c, struct local_cursor *cur, bool *ret_event, struct bus_event *ret)
{
    struct local_part *p = cur->part;
    *ret_event = true;
    if (cur->damaged || cur->position < p->begin || cur->position > p->end) {
        cur->still = true;
        local_reader_close(&cur->reader);
        show_part(c, cur, BUS_RANGE, ret);
        return false;
    }
    if (cur->position == p->end) {
        cur->read_us = clock_mono_us();
        *ret_event = !cur->told_end;
        cur->told_end = true;
        if (*ret_event)
            show_part(c, cur, BUS_END, ret);
        return false;
    }
    const struct local_segment *s = local_part_segment(p, cur->position);
    struct err e;
    rc_t rc = cur->reader.fd < 0 || cur->reader.base != s->base ? local_reader_open(&cur->reader, p->dir, s->base, &e) : OK;
    cur->limit = s->size;
    if (rc)
        damaged(cur, rc, &e, ret);
    return rc == OK;
}

/* Out of the buffer and the part of the file that is known to be whole. No lock. */
static rc_t read_on(struct local_cursor *cur, struct local_view *v, struct err *e)
{
    rc_t rc = E_NOTFOUND;
    if (cur->reader.fd < 0)
        return rc;
    do
        rc = local_reader_next(&cur->reader, cur->limit, v, e);
    while (!rc && v->offset < cur->position);
    if (!rc && v->offset != cur->position)
        rc = err_set(e, E_INVALID, "a gap: the next record is %lld", (long long)v->offset);
    return rc;
}

/* True: ret is an event of this partition. */
static bool cursor_next(struct local_consumer *c, struct local_cursor *cur, struct bus_event *ret)
{
    struct local_view v;
    struct err e;
    if (!cur->started || cur->paused || cur->still || is_idle(cur))
        return false;
    if (cur->retry_us && !cur->damaged && clock_mono_us() < cur->retry_us)
        return false;
    cur->retry_us = 0;
    for (int look = 0; look < 3; look++) {
        rc_t rc = cur->damaged ? E_NOTFOUND : read_on(cur, &v, &e);
        if (rc == OK) {
            cur->position++;
            cur->told_end = false;
            show_record(cur, &v, ret);
            return true;
        }
        if (rc != E_NOTFOUND)
            return damaged(cur, rc, &e, ret);
        bool event = false;
        pthread_mutex_lock(&c->log->lock);
        bool more = look_further(c, cur, &event, ret);
        pthread_mutex_unlock(&c->log->lock);
        if (!more)
            return event;
    }
    (void)err_set(&e, E_INVALID, "a segment ends before the next one begins");
    return damaged(cur, E_INVALID, &e, ret);
}

/* Partitions take turns, a buffer at a time. */
static bool record_next(struct local_consumer *c, struct bus_event *ret)
{
    for (size_t i = 0; i < c->n_cursors; i++) {
        struct local_cursor *cur = &c->cursors[c->turn];
        bool got = cursor_next(c, cur, ret);
        if (!got || ret->type != BUS_RECORD || cur->reader.at == cur->reader.len)
            c->turn = (c->turn + 1) % c->n_cursors;
        if (got)
            return true;
    }
    return false;
}

/* Lock held. Whether there may be something to read: between the last look and the lock it may have come. */
static bool has_news(const struct local_consumer *c)
{
    for (size_t i = 0; i < c->n_cursors; i++) {
        const struct local_cursor *cur = &c->cursors[i];
        bool more = cur->position < cur->part->end || !cur->told_end;
        if (cur->started && !cur->paused && !cur->still && more && (!cur->retry_us || cur->damaged))
            return true;
    }
    return false;
}

/* --- the seam --- */
static rc_t consumer_open(const struct bus_config *cfg, const char *group, void **ret, struct err *e)
{
    struct local_log *log = NULL;
    rc_t rc = local_log_get(cfg, &log, e);
    if (rc)
        return rc;
    struct local_consumer *c = mem_alloc(sizeof *c);
    pthread_condattr_t attr;
    c->log = log;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c->woken, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_lock(&log->lock);
    c->after = log->consumers;
    log->consumers = c;
    c->group = group_get(log, group);
    struct local_consumer **at = &c->group->members; /* in the order of coming */
    while (*at)
        at = &(*at)->next_member;
    *at = c;
    c->seen_changes = atomic_load(&log->group_changes) - 1;
    pthread_mutex_unlock(&log->lock);
    *ret = c;
    return OK;
}

static int text_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void topics_free(char **topics, size_t n)
{
    for (size_t i = 0; i < n; i++)
        mem_free(topics[i]);
    mem_free(topics);
}

/* Lock held. Takes the list, or leaves it with the caller when it is the same. */
static bool topics_take(struct local_consumer *c, char **wanted, size_t n)
{
    bool same = n == c->n_topics;
    for (size_t i = 0; same && i < n; i++)
        same = strcmp(wanted[i], c->topics[i]) == 0;
    if (same)
        return false;
    topics_free(c->topics, c->n_topics);
    c->topics = wanted;
    c->n_topics = n;
    local_group_changed(c->log, c->group);
    return true;
}

static rc_t consumer_topics(void *self, const char *const *topics, size_t n, struct err *e)
{
    struct local_consumer *c = self;
    char **wanted = mem_array(n + 1, sizeof *wanted);
    size_t kept = 0;
    (void)e;
    for (size_t i = 0; i < n; i++)
        wanted[i] = mem_dupz(topics[i]);
    qsort(wanted, n, sizeof *wanted, text_order);
    for (size_t i = 0; i < n; i++) {
        if (kept && strcmp(wanted[i], wanted[kept - 1]) == 0)
            mem_free(wanted[i]);
        else
            wanted[kept++] = wanted[i];
    }
    pthread_mutex_lock(&c->log->lock);
    bool taken = topics_take(c, wanted, kept);
    pthread_mutex_unlock(&c->log->lock);
    if (!taken)
        topics_free(wanted, kept);
    return OK;
}

/* True: ret is an event. False: slept until something came, or until end. */
static bool step_or_sleep(struct local_consumer *c, int64_t end_us, bool may_sleep, struct bus_event *ret)
{
    struct timespec at = {.tv_sec = (time_t)(end_us / USEC_PER_SEC), .tv_nsec = (long)(end_us % USEC_PER_SEC * 1000)};
    pthread_mutex_lock(&c->log->lock);
    c->seen_changes = atomic_load(&c->log->group_changes);
    bool event = step(c, ret);
    bool records = c->state == LOCAL_OWNER && has_news(c);
    if (!event && !records && may_sleep) {
        c->sleeping = true;
        (void)pthread_cond_timedwait(&c->woken, &c->log->lock, &at);
        c->sleeping = false;
    }
    pthread_mutex_unlock(&c->log->lock);
    return event;
}

static rc_t consumer_poll(void *self, int64_t timeout_us, struct bus_event *ret, struct err *e)
{
    struct local_consumer *c = self;
    int64_t end = 0;
    (void)e;
    mem_free(c->shown);
    c->shown = NULL;
    for (;;) {
        bool changed = c->seen_changes != atomic_load(&c->log->group_changes);
        if (changed && step_or_sleep(c, 0, false, ret))
            return OK;
        if (c->state == LOCAL_OWNER && record_next(c, ret))
            return OK;
        int64_t now = clock_mono_us();
        end = end ? end : now + (timeout_us > 0 ? timeout_us : 0);
        if (step_or_sleep(c, end, now < end, ret))
            return OK;
        if (now >= end)
            break;
    }
    ret->type = BUS_NONE;
    ret->parts = NULL;
    ret->n_parts = 0;
    return OK;
}

static void consumer_note(void *self, const struct bus_partition *parts, size_t n)
{
    (void)self, (void)parts, (void)n; /* the ledger knows; there are no other tools to tell */
}

static void consumer_free(void *self)
{
    struct local_consumer *c = self;
    struct local_log *log = c->log;
    pthread_mutex_lock(&log->lock);
    struct local_consumer **at = &log->consumers;
    while (*at != c)
        at = &(*at)->after;
    *at = c->after;
    group_leave(c);
    pthread_mutex_unlock(&log->lock);
    local_cursors_drop(c);
    topics_free(c->topics, c->n_topics);
    pthread_cond_destroy(&c->woken);
    mem_free(c->shown);
    mem_free(c);
    local_log_put(log);
}

const struct bus_consumer_ops local_consumer_ops = {
    .open = consumer_open,
    .topics = consumer_topics,
    .poll = consumer_poll,
    .note = consumer_note,
    .free = consumer_free,
};
