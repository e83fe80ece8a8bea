/* Producing to the local log, and the thread that writes it.
 *
 *   bus_produce ──▶ a partition's pending batch ──▶ written ──▶ synced ──▶ consumers woken, callbacks
 *
 * What comes while a sync runs is the next batch: the busier, the more records share a sync. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/crash.h"
#include "base/mem.h"
#include "bus/local.h"
#include "log/log.h"

#define OVERHEAD 128                 /* what an open message costs besides its bytes */
#define ENOUGH ((size_t)1 << 20)     /* pending bytes that wait for no more */
#define BATCH_KEPT ((size_t)4 << 20) /* memory of an empty batch that is kept */
#define SLOW_US (5 * USEC_PER_SEC)   /* a disk that takes so long is told of */
#define PROBE_US (500 * USEC_PER_MSEC)
#define PROBE_BYTES (1 << 20) /* room for so much is room */
#define RETAIN_MAX_US (10 * USEC_PER_SEC)
#define RETAIN_MIN_US (100 * USEC_PER_MSEC)

struct local_producer {
    struct local_log *log;
    int64_t limit_bytes;
    size_t bytes, open; /* the log's lock */
    uint32_t turn;      /* of records without a key */
};

static struct timespec mono_at(int64_t us)
{
    return (struct timespec){.tv_sec = (time_t)(us / USEC_PER_SEC), .tv_nsec = (long)(us % USEC_PER_SEC * 1000)};
}

/* --- accepting --- */
static void *batch_room(struct local_batch *b, size_t n)
{
    if (b->cap - b->len < n) {
        size_t cap = b->cap ? b->cap * 2 : LOCAL_CHUNK;
        while (cap - b->len < n)
            cap *= 2;
        b->data = mem_grow(b->data, cap, 1);
        b->cap = cap;
    }
    void *at = b->data + b->len;
    b->len += n;
    return at;
}

static void batch_deliver(struct local_batch *b, struct local_delivery d)
{
    struct local_delivery *last = b->n ? &b->list[b->n - 1] : NULL;
    b->records++;
    if (last && d.receipt && last->receipt == d.receipt && last->producer == d.producer) {
        last->bytes += d.bytes;
        last->n++;
        return;
    }
    if (b->n == b->list_cap) {
        b->list_cap = b->list_cap ? b->list_cap * 2 : 64;
        b->list = mem_grow(b->list, b->list_cap, sizeof *b->list);
    }
    b->list[b->n++] = d;
}

static struct str trace_of(const struct bus_message *m)
{
    for (size_t i = m->n_headers; i-- > 0;)
        if (strcmp(m->headers[i].name, "traceparent") == 0)
            return m->headers[i].value;
    return (struct str){"", 0};
}

/* Each other header: length of its name, of its value, name, value. */
static size_t headers_size(const struct bus_message *m)
{
    size_t n = 0;
    for (size_t i = 0; i < m->n_headers; i++)
        if (strcmp(m->headers[i].name, "traceparent") != 0)
            n += 2 * sizeof(uint32_t) + strlen(m->headers[i].name) + m->headers[i].value.n;
    return n;
}

static char *put(char *p, const void *from, size_t n)
{
    if (n)
        memcpy(p, from, n);
    return p + n;
}

static void headers_put(char *p, const struct bus_message *m)
{
    for (size_t i = 0; i < m->n_headers; i++) {
        const struct bus_header *h = &m->headers[i];
        if (strcmp(h->name, "traceparent") == 0)
            continue;
        uint32_t sizes[2] = {(uint32_t)strlen(h->name), (uint32_t)h->value.n};
        p = put(p, sizes, sizeof sizes);
        p = put(p, h->name, sizes[0]);
        p = put(p, h->value.p, h->value.n);
    }
}

static void record_put(struct local_batch *b, const struct bus_message *m, struct str trace, size_t headers_n)
{
    struct local_header h = {.timestamp_us = clock_now_us(),
                             .key_n = m->key.p ? (int32_t)m->key.n : -1,
                             .value_n = m->value.p ? (int32_t)m->value.n : -1,
                             .headers_n = (uint32_t)headers_n,
                             .trace_n = (uint16_t)trace.n};
    size_t size = sizeof h + trace.n + m->key.n + m->value.n + headers_n;
    h.size = (uint32_t)size;
    char *p = batch_room(b, size);
    p = put(p, &h, sizeof h);
    p = put(p, trace.p, trace.n);
    p = put(p, m->key.p, m->key.n);
    p = put(p, m->value.p, m->value.n);
    headers_put(p, m);
}

/* Keys find their partition by a hash that stays over restarts; records without one take turns, some at a time. */
static struct local_part *choose(struct local_producer *p, const struct local_topic *t, struct str key)
{
    uint64_t hash[2] = {p->turn >> 5, 0};
    if (key.p)
        hash128(key.p, key.n, hash);
    else
        p->turn++;
    return &t->parts[hash[0] % (uint64_t)t->n];
}

static void queue(struct local_log *log, struct local_part *part)
{
    if (part->queued)
        return;
    part->queued = true;
    part->next = NULL;
    *log->queue_end = part;
    log->queue_end = &part->next;
}

/* Lock held. */
static rc_t take_in(struct local_producer *p, const struct bus_message *m, struct str trace, struct err *e)
{
    struct local_log *log = p->log;
    size_t size = m->key.n + m->value.n;
    for (size_t i = 0; i < m->n_headers; i++)
        size += m->headers[i].value.n;
    if (size > BUS_MESSAGE_MAX || trace.n > UINT16_MAX)
        return err_set(e, E_INVALID, "a message of %zu bytes; at most %u", size, BUS_MESSAGE_MAX);
    struct local_topic *t = NULL;
    size_t bytes = size + OVERHEAD;
    if (p->bytes + bytes > (size_t)p->limit_bytes)
        return err_set(e, E_AGAIN, "the producer is full: %zu bytes wait", p->bytes);
    rc_t rc = local_topic_find(log, m->topic, &t, e);
    if (rc && rc != E_NOTFOUND)
        return rc;
    struct local_part *part = rc ? NULL : choose(p, t, m->key);
    if (part) {
        record_put(&part->pending, m, trace, headers_size(m));
        queue(log, part);
    }
    batch_deliver(part ? &part->pending : &log->refused, (struct local_delivery){p, m->receipt, m->fn, m->arg, bytes, 1});
    p->bytes += bytes;
    p->open++;
    bool was_enough = log->pending_bytes >= ENOUGH;
    log->pending_bytes += bytes;
    if (log->idle || (!was_enough && log->pending_bytes >= ENOUGH))
        pthread_cond_signal(&log->work);
    return OK;
}

static rc_t producer_produce(void *self, const struct bus_message *m, struct err *e)
{
    struct local_producer *p = self;
    struct str trace = trace_of(m);
    pthread_mutex_lock(&p->log->lock);
    rc_t rc = take_in(p, m, trace, e);
    pthread_mutex_unlock(&p->log->lock);
    CRASH_POINT(log_accept);
    return rc;
}

static rc_t producer_many(void *self, const char *topic, struct bus_lent *list, size_t n, const struct bus_receipt *r,
                          struct err *e)
{
    struct local_producer *p = self;
    rc_t rc = OK;
    pthread_mutex_lock(&p->log->lock);
    for (size_t i = 0; i < n; i++) {
        const struct bus_message m = {.topic = topic, .key = list[i].key, .value = list[i].value, .receipt = r};
        struct err why;
        list[i].rc = take_in(p, &m, (struct str){"", 0}, &why);
        if (list[i].rc && rc == OK) {
            rc = list[i].rc;
            *e = why;
        }
    }
    pthread_mutex_unlock(&p->log->lock);
    CRASH_POINT(log_accept);
    return rc;
}

/* --- the writer --- */
/* Lock held. Until there is something to write; from time to time old segments are dropped, and a disk that failed is tried. */
static void wait_for_work(struct local_log *log, int64_t next_retain_us)
{
    int64_t until = atomic_load(&log->failing) ? clock_mono_us() + PROBE_US : next_retain_us;
    while (!log->queue && !log->refused.n && !log->stop && clock_mono_us() < until) {
        struct timespec at = mono_at(until);
        log->idle = true;
        (void)pthread_cond_timedwait(&log->work, &log->lock, &at);
    }
    log->idle = false;
    if (!log->queue || !log->linger_us)
        return;
    int64_t end = clock_mono_us() + log->linger_us;
    struct timespec at = mono_at(end);
    while (log->pending_bytes < ENOUGH && !log->flushing && !log->stop && clock_mono_us() < end)
        (void)pthread_cond_timedwait(&log->work, &log->lock, &at);
}

static void retain(struct local_log *log, int64_t *next_us)
{
    if (clock_mono_us() < *next_us)
        return;
    int64_t every = log->retention_us / 10 < RETAIN_MAX_US ? log->retention_us / 10 : RETAIN_MAX_US;
    *next_us = clock_mono_us() + (every > RETAIN_MIN_US ? every : RETAIN_MIN_US);
    pthread_mutex_lock(&log->lock); /* topics only ever come: a copy of the list stays right */
    size_t n = 0;
    struct local_topic **topics = mem_array(log->topics.len + 1, sizeof *topics);
    struct map_iter it = {0};
    while (map_next(&log->topics, &it))
        topics[n++] = it.value;
    pthread_mutex_unlock(&log->lock);
    for (size_t i = 0; i < n; i++)
        for (int32_t k = 0; k < topics[i]->n; k++)
            local_part_retain(log, &topics[i]->parts[k]);
    mem_free(topics);
}

/* Lock held. Moves what is pending to the writer. */
static struct local_part *take(struct local_log *log, struct local_batch *refused)
{
    struct local_part *first = log->queue;
    for (struct local_part *p = first; p; p = p->next) {
        struct local_batch spare = p->writing;
        p->writing = p->pending;
        p->pending = spare;
        p->next_writing = p->next;
        p->queued = false;
    }
    log->queue = NULL;
    log->queue_end = &log->queue;
    log->pending_bytes = 0;
    *refused = log->refused;
    log->refused = (struct local_batch){0};
    return first;
}

/* Lock held. */
static void publish(struct local_log *log, struct local_part *parts)
{
    bool bad = false;
    for (struct local_part *p = parts; p; p = p->next_writing) {
        bad = bad || p->rc;
        if (p->rc)
            continue;
        struct local_segment *s = &p->segments[p->n_segments - 1];
        s->size += p->grown;
        s->last_us = clock_now_us();
        p->end += (int64_t)p->writing.records;
        p->fresh = true;
    }
    if (parts)
        atomic_store(&log->failing, bad);
    local_consumers_wake(log);
    for (struct local_part *p = parts; p; p = p->next_writing)
        p->fresh = false;
    log->calling = true;
}

static void call_all(const struct local_batch *b, rc_t rc, const char *words)
{
    for (size_t i = 0; i < b->n; i++) {
        const struct local_delivery *d = &b->list[i];
        if (d->receipt)
            d->receipt->fn(d->receipt->arg, d->n, rc, words);
        else if (d->fn)
            d->fn(d->arg, rc, words);
    }
}

/* Lock held. */
static void count_all(struct local_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        b->list[i].producer->bytes -= b->list[i].bytes;
        b->list[i].producer->open -= b->list[i].n;
    }
    b->n = b->len = b->records = 0;
    if (b->cap > BATCH_KEPT)
        local_batch_done(b);
}

static void write_batch(struct local_log *log, struct local_part *parts, struct local_batch *refused)
{
    for (struct local_part *p = parts; p; p = p->next_writing)
        local_part_write(log, p);
    for (struct local_part *p = parts; p; p = p->next_writing)
        local_part_sync(p);
    pthread_mutex_lock(&log->lock);
    publish(log, parts);
    pthread_mutex_unlock(&log->lock);
    CRASH_POINT(log_publish);
    for (struct local_part *p = parts; p; p = p->next_writing)
        call_all(&p->writing, p->rc, p->why.text);
    call_all(refused, E_AGAIN, "there is no such topic");
    CRASH_POINT(log_ack);
    pthread_mutex_lock(&log->lock);
    for (struct local_part *p = parts; p; p = p->next_writing)
        count_all(&p->writing);
    count_all(refused);
    log->calling = false;
    pthread_cond_broadcast(&log->changed);
    pthread_mutex_unlock(&log->lock);
    local_batch_done(refused);
}

/* Producers stop sending to a log that fails, so nothing else would find out that it can be written to again. */
static bool has_room(const struct local_log *log)
{
    CLEANUP(buf_done) struct buf path = {0};
    buf_addf(&path, "%s/.probe", log->path);
    int fd = open(path.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    bool ok = posix_fallocate(fd, 0, PROBE_BYTES) == 0 && fsync(fd) == 0;
    (void)close(fd);
    (void)unlink(path.data);
    return ok;
}

static void tell_faults(bool *was_failing, const struct local_log *log, const struct local_part *parts)
{
    const char *words = "";
    for (const struct local_part *p = parts; p; p = p->next_writing)
        words = p->rc ? p->why.text : words;
    bool failing = atomic_load(&log->failing);
    if (failing && !*was_failing)
        log_warn("local_log_down", LF_STR("path", log->path), LF_STR("error", words));
    else if (!failing && *was_failing)
        log_info("local_log_up", LF_STR("path", log->path));
    *was_failing = failing;
}

void *local_writer_thread(void *arg)
{
    struct local_log *log = arg;
    int64_t next_retain_us = 0;
    bool was_failing = false;
    for (bool stop = false; !stop;) {
        struct local_batch refused = {0};
        pthread_mutex_lock(&log->lock);
        wait_for_work(log, next_retain_us);
        struct local_part *parts = take(log, &refused);
        stop = log->stop && !parts && !refused.n;
        pthread_mutex_unlock(&log->lock);
        if (parts || refused.n)
            write_batch(log, parts, &refused);
        else if (was_failing && has_room(log))
            atomic_store(&log->failing, false);
        tell_faults(&was_failing, log, parts);
        if (!stop)
            retain(log, &next_retain_us);
    }
    return NULL;
}

/* --- the seam --- */
static rc_t producer_open(const struct bus_config *cfg, void **ret, struct err *e)
{
    struct local_log *log = NULL;
    rc_t rc = local_log_get(cfg, &log, e);
    if (rc)
        return rc;
    struct local_producer *p = mem_alloc(sizeof *p);
    p->log = log;
    p->limit_bytes = cfg->inflight_bytes > 0 ? cfg->inflight_bytes : 64 << 20;
    *ret = p;
    return OK;
}

static rc_t producer_flush(void *self, int64_t timeout_us, struct err *e)
{
    struct local_producer *p = self;
    struct local_log *log = p->log;
    struct timespec end = mono_at(clock_mono_us() + timeout_us);
    int late = 0;
    pthread_mutex_lock(&log->lock);
    log->flushing++;
    pthread_cond_signal(&log->work);
    while (p->open && !late)
        late = pthread_cond_timedwait(&log->changed, &log->lock, &end);
    log->flushing--;
    size_t open = p->open;
    pthread_mutex_unlock(&log->lock);
    return open ? err_set(e, E_AGAIN, "%zu messages are not acknowledged yet", open) : OK;
}

static bool producer_up(const void *self)
{
    const struct local_producer *p = self;
    return !atomic_load(&p->log->failing);
}

/* A disk that does not answer for so long: the thread is inside a call that nothing breaks off, so it is waited for. */
static void producer_free(void *self, int64_t wait_us)
{
    struct local_producer *p = self;
    (void)wait_us;
    while (producer_flush(p, SLOW_US, NULL))
        log_warn("local_log_slow", LF_STR("path", p->log->path));
    local_log_put(p->log);
    mem_free(p);
}

static rc_t topic_ensure(void *producer, const char *topic, int32_t partitions, int32_t *ret_partitions,
                         int64_t timeout_us, struct err *e)
{
    struct local_producer *p = producer;
    struct local_topic *t = NULL;
    (void)timeout_us;
    pthread_mutex_lock(&p->log->lock);
    rc_t rc = local_topic_make(p->log, topic, partitions ? partitions : (int32_t)p->log->partitions, &t, e);
    if (!rc)
        *ret_partitions = t->n;
    pthread_mutex_unlock(&p->log->lock);
    return rc;
}

const struct bus_topic_ops local_topic_ops = {.ensure = topic_ensure};
const struct bus_producer_ops local_producer_ops = {
    .open = producer_open,
    .produce = producer_produce,
    .many = producer_many,
    .flush = producer_flush,
    .up = producer_up,
    .free = producer_free,
};
