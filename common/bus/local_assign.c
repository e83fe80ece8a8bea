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

/* What find looks for: the first record of a time, or from an offset on. */
struct wanted {
    int64_t at_us, from;
};

/* Lock held. */
static const struct local_segment *segment_of(const struct local_part *p, const struct wanted *w)
{
    if (w->from < 0)
        return first_wanted(p, w->at_us);
    return w->from >= p->begin && w->from < p->end ? local_part_segment(p, w->from) : NULL;
}

/* found: *ret borrows from r. The lock is held only to find the files: a retained one stays readable when it is dropped behind
 * our back. *ret_end is the end. */
static rc_t find(struct local_log *log, const struct local_part *p, const struct wanted *w, struct local_reader *r,
                 struct local_view *ret, bool *ret_found, int64_t *ret_end, struct err *e)
{
    pthread_mutex_lock(&log->lock);
    const struct local_segment *s = segment_of(p, w);
    int64_t next = s ? s->base : p->end, end = p->end;
    rc_t rc = OK;
    bool found = false;
    while (!rc && !found && next < end) {
        s = local_part_segment(p, next);
        int64_t base = s->base;
        uint64_t limit = s->size;
        rc = local_reader_open(r, p->dir, base, e);
        pthread_mutex_unlock(&log->lock);
        int64_t before = next;
        while (!rc && !found && !(rc = local_reader_next(r, limit, ret, e)) && ret->offset < end) {
            next = ret->offset >= next ? ret->offset + 1 : next;
            found = ret->offset >= w->from && ret->timestamp_us >= w->at_us;
        }
        rc = rc == E_NOTFOUND ? OK : rc;
        if (!rc && !found && next == before) /* nothing more in it */
            next = end;
        pthread_mutex_lock(&log->lock);
    }
    pthread_mutex_unlock(&log->lock);
    *ret_found = found;
    *ret_end = end;
    return rc == E_NOTFOUND ? E_AGAIN : rc;
}

static rc_t find_time(struct local_log *log, const struct local_part *p, int64_t at_us, int64_t *ret, struct err *e)
{
    struct local_reader r = {.fd = -1};
    struct local_view v;
    bool found = false;
    int64_t end = 0;
    rc_t rc = find(log, p, &(struct wanted){at_us, -1}, &r, &v, &found, &end, e);
    if (!rc)
        *ret = found ? v.offset : end;
    local_reader_close(&r);
    return rc;
}

static rc_t part_of(struct local_log *log, const struct bus_partition *at, struct local_part **ret, struct err *e)
{
    struct local_topic *t = NULL;
    pthread_mutex_lock(&log->lock);
    rc_t rc = local_topic_find(log, at->topic, &t, e);
    pthread_mutex_unlock(&log->lock);
    if (!rc && (at->partition < 0 || at->partition >= t->n))
        rc = err_set(e, E_NOTFOUND, "%.100s has no partition %d", at->topic, at->partition);
    if (!rc)
        *ret = &t->parts[at->partition];
    return rc;
}

static rc_t look_one(struct local_log *log, const struct bus_partition *at, int64_t what, int64_t *ret, struct err *e)
{
    struct local_part *p = NULL;
    rc_t rc = part_of(log, at, &p, e);
    if (rc || what >= 0)
        return rc ? rc : find_time(log, p, what, ret, e);
    pthread_mutex_lock(&log->lock);
    *ret = what == BUS_LOOK_BEGIN ? p->begin : p->end;
    pthread_mutex_unlock(&log->lock);
    return OK;
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

static rc_t assign_peek(void *self, const struct bus_partition *parts, size_t n, struct bus_mark *ret,
                        int64_t timeout_us, struct err *e)
{
    struct local_consumer *c = self;
    struct bus_mark *marks = mem_array(n, sizeof *marks);
    rc_t rc = OK;
    (void)timeout_us; /* a file is read */
    for (size_t i = 0; i < n && !rc; i++) {
        struct local_reader r = {.fd = -1};
        struct local_view v;
        struct local_part *p = NULL;
        bool found = false;
        int64_t end;
        rc = part_of(c->log, &parts[i], &p, e);
        if (!rc)
            rc = find(c->log, p, &(struct wanted){INT64_MIN, parts[i].offset}, &r, &v, &found, &end, e);
        if (!rc)
            marks[i] = found ? (struct bus_mark){v.offset, v.timestamp_us, bus_print(v.key, v.value)}
                             : (struct bus_mark){-1, -1, 0};
        local_reader_close(&r);
    }
    if (!rc)
        memcpy(ret, marks, n * sizeof *ret);
    mem_free(marks);
    return rc;
}

const struct bus_assign_ops local_assign_ops = {
    .start = assign_start,
    .release = assign_release,
    .pause = assign_pause,
    .seek = assign_seek,
    .look = assign_look,
    .peek = assign_peek,
};
