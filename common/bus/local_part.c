/* One partition: its segments, what recovery finds in them, appending, syncing, dropping what is old.
 *
 * A record is acknowledged after its segment was synced. A batch that cannot be written or synced is taken back: the file
 * is cut where the last durable record ends, and, since after a failed sync nobody knows what is on disk, the next batch
 * begins a new segment. What a segment holds from the next one's first offset on was never acknowledged. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/crash.h"
#include "base/mem.h"
#include "bus/local.h"
#include "log/log.h"

#define IDLE_US (30 * USEC_PER_SEC) /* after so long without a record a segment's file is closed */

static const char magic[LOCAL_MAGIC_SIZE + 1] = "modelmon log 1\n";

static void path_of(struct buf *b, const struct local_part *p, int64_t base)
{
    buf_addf(b, "%s/%020lld.log", p->dir, (long long)base);
}

static struct local_segment *last(struct local_part *p)
{
    return &p->segments[p->n_segments - 1];
}

static rc_t failed(struct local_part *p, const char *doing, struct err *e)
{
    return err_set(e, E_AGAIN, "%s %s: %s", doing, p->dir, strerror(errno));
}

static void segment_add(struct local_part *p, struct local_segment s)
{
    p->segments = mem_grow(p->segments, p->n_segments + 1, sizeof s);
    p->segments[p->n_segments++] = s;
}

/* --- loading --- */
static int segment_order(const void *a, const void *b)
{
    const struct local_segment *x = a, *y = b;
    return (x->base > y->base) - (x->base < y->base);
}

static bool base_of(const char *name, int64_t *ret)
{
    char *end = NULL;
    if (strlen(name) != 24 || strspn(name, "0123456789") != 20 || strcmp(name + 20, ".log") != 0)
        return false;
    errno = 0;
    *ret = strtoll(name, &end, 10);
    return errno == 0;
}

rc_t local_part_segments(struct local_part *p, struct err *e)
{
    DIR *d = opendir(p->dir);
    if (!d)
        return failed(p, "opening", e);
    for (struct dirent *f; (f = readdir(d));) {
        struct local_segment s = {0};
        struct stat st;
        if (!base_of(f->d_name, &s.base) || fstatat(dirfd(d), f->d_name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
            continue;
        s.size = (uint64_t)st.st_size;
        s.last_us = (int64_t)st.st_mtim.tv_sec * USEC_PER_SEC + st.st_mtim.tv_nsec / 1000;
        segment_add(p, s);
    }
    (void)closedir(d); /* nothing was written */
    if (p->n_segments)
        qsort(p->segments, p->n_segments, sizeof *p->segments, segment_order);
    return OK;
}

/* Cuts the last segment behind its last whole record. A file without its first line never had one. */
static rc_t recover(struct local_part *p, struct err *e)
{
    struct local_reader r = {.fd = -1};
    struct local_segment *s = last(p);
    struct local_view v;
    char head[LOCAL_MAGIC_SIZE];
    rc_t rc = local_reader_open(&r, p->dir, s->base, e);
    if (rc)
        return rc;
    p->end = s->base;
    bool begun = pread(r.fd, head, sizeof head, 0) == (ssize_t)sizeof head && memcmp(head, magic, sizeof head) == 0;
    while (begun && !(rc = local_reader_next(&r, s->size, &v, e)) && v.offset == p->end)
        p->end++;
    uint64_t place = begun ? local_reader_place(&r) - (rc ? 0 : v.size) : 0;
    bool torn = begun && (rc == OK || rc == E_INVALID || place < s->size);
    if (rc != E_AGAIN && fdatasync(r.fd)) /* what is told to consumers from here on must not go with the next crash */
        rc = failed(p, "syncing", e);
    local_reader_close(&r);
    if (rc == E_AGAIN)
        return rc;
    if (torn || !begun)
        log_info("local_log_cut", LF_STR("partition", p->dir), LF_I64("offset", p->end),
                 LF_I64("bytes", (int64_t)(s->size - place)));
    s->size = place;
    p->torn = torn || !begun; /* the file itself is cut, and synced, before anything is added to it */
    return OK;
}

rc_t local_part_load(struct local_part *p, const char *dir, struct err *e)
{
    *p = (struct local_part){.dir = mem_dupz(dir), .fd = -1};
    rc_t rc = local_part_segments(p, e);
    if (!rc && p->n_segments) {
        p->begin = p->segments[0].base;
        rc = recover(p, e);
    }
    if (rc)
        local_part_done(p);
    return rc;
}

void local_batch_done(struct local_batch *b)
{
    mem_free(b->data);
    mem_free(b->list);
    *b = (struct local_batch){0};
}

void local_part_done(struct local_part *p)
{
    if (p->fd >= 0)
        (void)close(p->fd); /* what was acknowledged is synced */
    local_batch_done(&p->pending);
    local_batch_done(&p->writing);
    mem_free(p->segments);
    mem_free(p->dir);
    *p = (struct local_part){.fd = -1};
}

const struct local_segment *local_part_segment(const struct local_part *p, int64_t offset)
{
    size_t lo = 0, hi = p->n_segments;
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if (p->segments[mid].base <= offset)
            lo = mid;
        else
            hi = mid;
    }
    return &p->segments[lo];
}

/* --- appending: the writer's --- */
static rc_t write_all(int fd, const char *data, size_t n, uint64_t at)
{
    while (n) {
        ssize_t put = pwrite(fd, data, n, (off_t)at);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return E_AGAIN;
        data += put;
        at += (uint64_t)put;
        n -= (size_t)put;
    }
    return OK;
}

static void file_close(struct local_part *p)
{
    if (p->fd >= 0)
        (void)close(p->fd); /* what was acknowledged is synced */
    p->fd = -1;
}

/* A file that may hold more than is known of it. */
static rc_t cut(struct local_part *p, struct err *e)
{
    CLEANUP(buf_done) struct buf path = {0};
    path_of(&path, p, last(p)->base);
    int fd = open(path.data, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    bool ok = fd >= 0 && ftruncate(fd, (off_t)last(p)->size) == 0 && fdatasync(fd) == 0;
    rc_t rc = ok ? OK : failed(p, "cutting the end of", e);
    if (fd >= 0)
        (void)close(fd); /* it was synced */
    return rc;
}

static rc_t segment_make(struct local_log *log, struct local_part *p, struct err *e)
{
    CLEANUP(buf_done) struct buf path = {0};
    struct local_segment s = {.base = p->end, .size = LOCAL_MAGIC_SIZE, .last_us = clock_now_us()};
    path_of(&path, p, s.base);
    file_close(p);
    int fd = open(path.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return failed(p, "making a segment in", e);
    CRASH_POINT(log_segment_create);
    int bad = write_all(fd, magic, LOCAL_MAGIC_SIZE, 0);
    CRASH_POINT(log_segment_write);
    if (bad || fdatasync(fd)) {
        rc_t rc = failed(p, "making a segment in", e);
        (void)close(fd);
        (void)unlink(path.data); /* an empty one that stays does no harm */
        return rc;
    }
    CRASH_POINT(log_segment_sync);
    rc_t rc = local_folder_sync(p->dir, e);
    if (rc) {
        (void)close(fd);
        return rc;
    }
    CRASH_POINT(log_segment_folder);
    p->fd = fd;
    pthread_mutex_lock(&log->lock);
    if (p->n_segments && last(p)->base == s.base)
        *last(p) = s;
    else
        segment_add(p, s);
    pthread_mutex_unlock(&log->lock);
    return OK;
}

static rc_t segment_ready(struct local_log *log, struct local_part *p, struct err *e)
{
    if (p->torn && p->n_segments) {
        rc_t rc = cut(p, e);
        if (rc)
            return rc;
        CRASH_POINT(log_cut);
    }
    bool full = p->n_segments && last(p)->size > LOCAL_MAGIC_SIZE &&
                last(p)->size + p->writing.len > (uint64_t)log->segment_bytes;
    if (p->torn || full || !p->n_segments) {
        rc_t rc = segment_make(log, p, e);
        p->torn = p->torn && rc;
        return rc;
    }
    if (p->fd >= 0)
        return OK;
    CLEANUP(buf_done) struct buf path = {0};
    path_of(&path, p, last(p)->base);
    p->fd = open(path.data, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    return p->fd >= 0 ? OK : failed(p, "opening a segment in", e);
}

static void stamp(struct local_part *p)
{
    int64_t offset = p->end;
    struct local_header h;
    for (size_t at = 0; at < p->writing.len; at += h.size) {
        char *record = p->writing.data + at;
        memcpy(&h, record, sizeof h);
        h.offset = offset++;
        memcpy(record, &h, sizeof h);
        h.crc = local_crc(record + sizeof h.crc, h.size - sizeof h.crc);
        memcpy(record, &h.crc, sizeof h.crc);
    }
}

void local_part_write(struct local_log *log, struct local_part *p)
{
    stamp(p);
    p->why.text[0] = '\0';
    p->grown = p->writing.len;
    p->rc = segment_ready(log, p, &p->why);
    CRASH_POINT(log_before_write);
    if (!p->rc && write_all(p->fd, p->writing.data, p->writing.len, last(p)->size)) {
        p->rc = failed(p, "writing to", &p->why);
        p->torn = ftruncate(p->fd, (off_t)last(p)->size) != 0;
    }
    CRASH_POINT(log_write);
}

void local_part_sync(struct local_part *p)
{
    if (p->rc || fdatasync(p->fd) == 0) {
        CRASH_POINT(log_sync);
        return;
    }
    p->rc = failed(p, "syncing", &p->why);
    p->torn = true;
    file_close(p);
}

/* --- retention: the writer's --- */
static void drop_first(struct local_part *p)
{
    CLEANUP(buf_done) struct buf path = {0};
    path_of(&path, p, p->segments[0].base);
    if (unlink(path.data) && errno != ENOENT)
        log_debug("local_log_unlink", LF_STR("path", path.data));
    p->n_segments--;
    memmove(p->segments, p->segments + 1, p->n_segments * sizeof *p->segments);
    p->begin = p->segments[0].base;
}

static bool is_old(const struct local_log *log, const struct local_segment *s)
{
    return s->last_us < clock_now_us() - log->retention_us;
}

void local_part_retain(struct local_log *log, struct local_part *p)
{
    struct err e;
    if (!p->n_segments)
        return;
    if (p->fd >= 0 && last(p)->last_us < clock_now_us() - IDLE_US)
        file_close(p);
    if (p->end > last(p)->base && is_old(log, last(p)) && segment_make(log, p, &e))
        return; /* it comes again */
    pthread_mutex_lock(&log->lock);
    uint64_t total = 0;
    for (size_t i = 0; i < p->n_segments; i++)
        total += p->segments[i].size;
    while (p->n_segments > 1 &&
           (is_old(log, &p->segments[0]) || (log->retention_bytes && total > (uint64_t)log->retention_bytes))) {
        total -= p->segments[0].size;
        drop_first(p);
    }
    pthread_mutex_unlock(&log->lock);
}
