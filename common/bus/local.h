/* The local log's insides, shared by the local_*.c files. Internal to this folder.
 *
 *   DIR/lock                     one process at a time
 *   DIR/<topic>/<partition>/<offset of its first record, 20 digits>.log
 *
 * A log is shared by all producers and consumers of this process that name its folder. Its lock covers everything here but
 * what is said to be the writer's: the thread that appends, syncs, acknowledges and drops old segments. */
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include "base/clock.h"
#include "base/map.h"
#include "bus/bus_ops.h"

#define LOCAL_CHUNK ((size_t)64 << 10)
#define LOCAL_MAGIC_SIZE 16

/* ---- records in files (local_segment.c) ---- */
struct local_header {
    uint32_t crc, size; /* crc: of what follows it; size: of the whole record */
    int64_t offset, timestamp_us;
    int32_t key_n, value_n; /* -1: none */
    uint32_t headers_n;
    uint16_t trace_n, zero;
}; /* then: traceparent, key, value, other headers */

struct local_reader {
    int fd;       /* -1: closed */
    bool resting; /* closed, and to go on in the same file where it was */
    int64_t base;
    uint64_t file_at; /* of the byte behind the buffer */
    char *buf;
    size_t at, len, cap;
};

struct local_view { /* borrows from the reader until its next call */
    int64_t offset, timestamp_us;
    struct str key, value, traceparent;
    size_t size;
};

uint32_t local_crc(const void *p, size_t n);
rc_t local_reader_open(struct local_reader *r, const char *dir, int64_t base, struct err *e) MUST_CHECK;
void local_reader_close(struct local_reader *r);
void local_reader_rest(struct local_reader *r); /* gives file and memory back; opening the same base again goes on */
/* The next record that ends at or before limit (a place in the file). E_NOTFOUND: no more. E_INVALID: what is there is no
 * record. E_AGAIN: reading failed. */
rc_t local_reader_next(struct local_reader *r, uint64_t limit, struct local_view *ret, struct err *e) MUST_CHECK;
static inline uint64_t local_reader_place(const struct local_reader *r)
{
    return r->file_at - (r->len - r->at);
}

/* ---- partitions (local_part.c) ---- */
struct local_segment {
    int64_t base;
    uint64_t size;   /* durable */
    int64_t last_us; /* when it was last appended to */
};

struct local_delivery {
    struct local_producer *producer;
    const struct bus_receipt *receipt; /* NULL: fn and arg */
    bus_delivered_fn *fn;
    void *arg;
    size_t bytes, n; /* of n messages that follow each other and have the same receipt */
};

struct local_batch {
    char *data; /* records whose offset and crc are still to be set */
    size_t len, cap, records;
    struct local_delivery *list;
    size_t n, list_cap;
};

struct local_part {
    char *dir;
    int64_t begin;
    _Atomic int64_t end; /* of what is durable; read without the lock too */
    struct local_segment *segments;
    size_t n_segments;
    struct local_batch pending;
    bool queued, fresh; /* in the queue; new records since consumers were woken */
    struct local_part *next;
    /* the writer's */
    struct local_batch writing;
    struct local_part *next_writing;
    int fd; /* of the last segment, -1: closed */
    uint64_t grown;
    bool torn; /* its end may hold what was never acknowledged: go on in a new segment */
    rc_t rc;
    struct err why;
};

struct local_topic {
    char *name;
    int32_t n;
    struct local_part *parts;
};

struct local_log;
rc_t local_part_load(struct local_part *p, const char *dir, struct err *e) MUST_CHECK; /* with recovery */
rc_t local_part_segments(struct local_part *p, struct err *e) MUST_CHECK; /* fills in those that dir has; mem_free */
void local_part_done(struct local_part *p);
void local_part_write(struct local_log *log, struct local_part *p); /* the writer's; the result is in p->rc */
void local_part_sync(struct local_part *p);
void local_part_retain(struct local_log *log, struct local_part *p); /* the writer's; takes the lock by itself */
/* The segment that holds offset, which lies between begin and end. */
const struct local_segment *local_part_segment(const struct local_part *p, int64_t offset);

/* ---- the log (local_log.c) ---- */
struct local_log {
    char *path;
    size_t users;
    struct local_log *after; /* of the logs of this process */
    int lock_fd;
    int64_t retention_us, retention_bytes, segment_bytes, partitions, linger_us;
    pthread_mutex_t lock;
    pthread_cond_t work;    /* for the writer */
    pthread_cond_t changed; /* a batch is done */
    struct map topics;
    struct local_part *queue, **queue_end;
    struct local_batch refused; /* for topics that are not there */
    size_t pending_bytes;
    size_t flushing; /* who waits for an acknowledgement: no lingering */
    bool idle, stop;
    bool calling; /* callbacks are out */
    atomic_bool failing;
    pthread_t thread;
    struct local_group *groups;
    struct local_consumer *consumers;
    atomic_uint group_changes;
};

rc_t local_log_get(const struct bus_config *cfg, struct local_log **ret, struct err *e) MUST_CHECK;
void local_log_put(struct local_log *log);
/* Lock held. NULL with E_NOTFOUND: there is no such topic. */
rc_t local_topic_find(struct local_log *log, const char *name, struct local_topic **ret, struct err *e) MUST_CHECK;
/* Lock held. */
rc_t local_topic_make(struct local_log *log, const char *name, int32_t n, struct local_topic **ret, struct err *e) MUST_CHECK;
rc_t local_folder_sync(const char *dir, struct err *e) MUST_CHECK;
void *local_writer_thread(void *log);
void local_batch_done(struct local_batch *b);

/* ---- consumers (local_consumer.c, local_assign.c) ---- */
struct local_cursor {
    const struct local_topic *topic;
    struct local_part *part;
    int32_t number;
    bool started, paused, told_end;
    bool still; /* out of range or damaged: stands still until it is told to seek */
    bool damaged;
    int64_t position;
    int64_t read_us, retry_us; /* when it last had a record; when reading that failed is tried again. Monotonic */
    struct local_reader reader;
    uint64_t limit; /* of the reader's file */
};

enum local_state { LOCAL_OUT, LOCAL_WAITING, LOCAL_OWNER, LOCAL_REVOKING };

struct local_consumer {
    struct local_log *log;
    struct local_group *group;
    struct local_consumer *after;       /* of the log's */
    struct local_consumer *next_member; /* of the group's */
    enum local_state state;
    unsigned generation, seen_changes;
    bool sleeping;
    pthread_cond_t woken;
    char **topics; /* sorted, each once */
    size_t n_topics;
    struct local_cursor *cursors;
    size_t n_cursors, turn;
    struct bus_partition *shown, part;
};

struct local_group {
    char *name;
    unsigned generation;
    struct local_consumer *members;
    struct local_group *after;
};

/* Lock held. Every member must give up what it has and join anew. */
void local_group_changed(struct local_log *log, struct local_group *g);
void local_topic_appeared(struct local_log *log, const char *topic);
void local_consumers_wake(struct local_log *log); /* those who wait for a partition that is fresh */
void local_cursors_drop(struct local_consumer *c);
struct local_cursor *local_cursor_find(struct local_consumer *c, const struct bus_partition *at);
