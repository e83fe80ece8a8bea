/* A local consumer's partitions: starting, giving up, pausing, seeking, and where they begin and end. */
#include <string.h>
#include "base/mem.h"
#include "bus/local.h"

struct local_cursor *local_cursor_find(struct local_consumer *c, const struct bus_partition *at)
{
    for (size_t i = 0; i < c->n_cursors; i++)
        if (c->cursors[i].number == at->partition && strcmp(c->cursors[i].topic->name, at->topic) == 0)
            return &c->cursors[i];
    return NULL;
}

static rc_t not_ours(const struct bus_partition *at, struct err *e)
{
    return err_set(e, E_INVALID, "%.100s [%d] is not assigned to this consumer", at->topic, at->partition);
}

/* Lock held. */
static void go_to(struct local_cursor *cur, int64_t offset)
{
    local_reader_close(&cur->reader);
    cur->position = offset == BUS_OFFSET_EARLIEST ? cur->part->begin : offset;
    cur->still = cur->damaged = cur->told_end = false;
    cur->started = true;
}

/* A rebalance may have begun since ASSIGNED was given out: the answer is taken all the same, as Kafka does. */
static rc_t assign_start(void *self, const struct bus_partition *parts, size_t n, struct err *e)
{
    struct local_consumer *c = self;
    rc_t rc = OK;
    pthread_mutex_lock(&c->log->lock);
    for (size_t i = 0; i < c->n_cursors; i++)
        c->cursors[i].started = false;
    for (size_t i = 0; i < n && !rc; i++) {
        struct local_cursor *cur = local_cursor_find(c, &parts[i]);
        if (cur)
            go_to(cur, parts[i].offset);
        else
            rc = not_ours(&parts[i], e);
    }
    pthread_mutex_unlock(&c->log->lock);
    return rc;
}

static rc_t assign_release(void *self, struct err *e)
{
    struct local_consumer *c = self;
    (void)e;
    pthread_mutex_lock(&c->log->lock);
    local_cursors_drop(c);
    if (c->state == LOCAL_REVOKING) {
        c->state = LOCAL_WAITING;
        atomic_fetch_add(&c->log->group_changes, 1);
        for (struct local_consumer *m = c->group->members; m; m = m->next_member)
            if (m->sleeping)
                pthread_cond_signal(&m->woken);
    }
    pthread_mutex_unlock(&c->log->lock);
    return OK;
}

static rc_t assign_pause(void *self, const struct bus_partition *parts, size_t n, bool paused, struct err *e)
{
    struct local_consumer *c = self;
    rc_t rc = OK;
    pthread_mutex_lock(&c->log->lock);
    for (size_t i = 0; i < n && !rc; i++) {
        struct local_cursor *cur = local_cursor_find(c, &parts[i]);
        if (cur)
            cur->paused = paused;
        else
            rc = not_ours(&parts[i], e);
    }
    pthread_mutex_unlock(&c->log->lock);
    return rc;
}

static rc_t assign_seek(void *self, const struct bus_partition *part, struct err *e)
{
    struct local_consumer *c = self;
    pthread_mutex_lock(&c->log->lock);
    struct local_cursor *cur = local_cursor_find(c, part);
    if (cur)
        go_to(cur, part->offset);
    pthread_mutex_unlock(&c->log->lock);
    return cur ? OK : not_ours(part, e);
}

/* --- offsets --- */
/* Lock held. Segments last appended to before at_us hold nothing that is wanted. */
static const struct local_segment *first_wanted(const struct local_part *p, int64_t at_us)
{
    size_t i = 0;
    while (i + 1 < p->n_segments && p->segments[i].last_us < at_us)
        i++;
    return p->n_segments ? &p->segments[i] : NULL;
}

/* The first record from at_us on. The lock is held only to find the files: a retained one stays readable when it is dropped
 * behind our back. */
static rc_t find_time(struct local_log *log, const struct local_part *p, int64_t at_us, int64_t *ret, struct err *e)
{
    struct local_reader r = {.fd = -1};
    struct local_view v;
    pthread_mutex_lock(&log->lock);
    const struct local_segment *s = first_wanted(p, at_us);
    int64_t next = s ? s->base : p->end, end = p->end;
    rc_t rc = OK;
    bool found = false;
    while (!rc && !found && next < end) {
        s = local_part_segment(p, next);
        int64_t base = s->base;
        uint64_t limit = s->size;
        rc = local_reader_open(&r, p->dir, base, e);
        pthread_mutex_unlock(&log->lock);
        int64_t before = next;
        while (!rc && !found && !(rc = local_reader_next(&r, limit, &v, e)) && v.offset < end) {
            next = v.offset >= next ? v.offset + 1 : next;
            found = v.timestamp_us >= at_us;
        }
        rc = rc == E_NOTFOUND ? OK : rc;
        if (!rc && !found && next == before) /* nothing more in it */
            next = end;
        pthread_mutex_lock(&log->lock);
    }
    pthread_mutex_unlock(&log->lock);
    if (!rc)
        *ret = found ? v.offset : end;
    local_reader_close(&r);
    return rc == E_NOTFOUND ? E_AGAIN : rc;
}

static rc_t look_one(struct local_log *log, const struct bus_partition *at, int64_t what, int64_t *ret, struct err *e)
{
    struct local_topic *t = NULL;
    pthread_mutex_lock(&log->lock);
    rc_t rc = local_topic_find(log, at->topic, &t, e);
    if (!rc && (at->partition < 0 || at->partition >= t->n))
        rc = err_set(e, E_NOTFOUND, "%.100s has no partition %d", at->topic, at->partition);
    if (!rc)
        *ret = what == BUS_LOOK_BEGIN ? t->parts[at->partition].begin : t->parts[at->partition].end;
    pthread_mutex_unlock(&log->lock);
    return rc || what < 0 ? rc : find_time(log, &t->parts[at->partition], what, ret, e);
}

static rc_t assign_look(void *self, struct bus_partition *parts, size_t n, int64_t at, int64_t timeout_us, struct err *e)
{
    struct local_consumer *c = self;
    int64_t *found = mem_array(n + 1, sizeof *found);
    rc_t rc = OK;
    (void)timeout_us;
    for (size_t i = 0; i < n && !rc; i++)
        rc = look_one(c->log, &parts[i], at, &found[i], e);
    for (size_t i = 0; i < n && !rc; i++)
        parts[i].offset = found[i];
    mem_free(found);
    return rc;
}

const struct bus_assign_ops local_assign_ops = {
    .start = assign_start,
    .release = assign_release,
    .pause = assign_pause,
    .seek = assign_seek,
    .look = assign_look,
};
