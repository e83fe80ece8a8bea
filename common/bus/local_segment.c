/* Reading records out of a segment's file, each checked. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/mem.h"
#include "bus/local.h"

#define RECORD_MAX ((size_t)BUS_MESSAGE_MAX + (1u << 20))

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the files' numbers are written as they are in memory");
_Static_assert(sizeof(struct local_header) == 40, "part of the files' format");

rc_t local_reader_open(struct local_reader *r, const char *dir, int64_t base, struct err *e)
{
    CLEANUP(buf_done) struct buf path = {0};
    uint64_t from = r->resting && r->base == base ? r->file_at : LOCAL_MAGIC_SIZE;
    local_reader_close(r);
    buf_addf(&path, "%s/%020lld.log", dir, (long long)base);
    int fd = open(path.data, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return err_set(e, errno == ENOENT ? E_NOTFOUND : E_AGAIN, "opening %s: %s", path.data, strerror(errno));
    r->fd = fd;
    r->base = base;
    r->file_at = from;
    return OK;
}

void local_reader_close(struct local_reader *r)
{
    if (r->fd >= 0)
        (void)close(r->fd); /* nothing was written */
    mem_free(r->buf);
    *r = (struct local_reader){.fd = -1};
}

void local_reader_rest(struct local_reader *r)
{
    struct local_reader kept = {.fd = -1, .resting = r->fd >= 0, .base = r->base, .file_at = local_reader_place(r)};
    if (r->fd < 0)
        return;
    local_reader_close(r);
    *r = kept;
}

/* At least `want` bytes from `at` on, if the file has them below limit. */
static rc_t fill(struct local_reader *r, size_t want, uint64_t limit, struct err *e)
{
    if (r->at) {
        memmove(r->buf, r->buf + r->at, r->len - r->at);
        r->len -= r->at;
        r->at = 0;
    }
    if (r->cap < want || !r->cap) {
        r->cap = want > LOCAL_CHUNK ? want : LOCAL_CHUNK;
        r->buf = mem_grow(r->buf, r->cap, 1);
    }
    while (r->len < want && r->file_at < limit) {
        size_t n = r->cap - r->len;
        if (n > limit - r->file_at)
            n = (size_t)(limit - r->file_at);
        ssize_t got = pread(r->fd, r->buf + r->len, n, (off_t)r->file_at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_set(e, E_AGAIN, "reading the log: %s", strerror(errno));
        if (got == 0)
            return err_set(e, E_INVALID, "a segment is shorter than it was");
        r->len += (size_t)got;
        r->file_at += (uint64_t)got;
    }
    return OK;
}

static struct str take(const char **p, int64_t n)
{
    struct str s = {n < 0 ? NULL : *p, n < 0 ? 0 : (size_t)n};
    *p += s.n;
    return s;
}

static bool is_whole(const struct local_header *h, const char *record)
{
    uint64_t size = sizeof *h + (uint64_t)h->trace_n + h->headers_n;
    size += h->key_n > 0 ? (uint64_t)h->key_n : 0;
    size += h->value_n > 0 ? (uint64_t)h->value_n : 0;
    return size == h->size && local_crc(record + sizeof h->crc, h->size - sizeof h->crc) == h->crc;
}

rc_t local_reader_next(struct local_reader *r, uint64_t limit, struct local_view *ret, struct err *e)
{
    struct local_header h;
    rc_t rc = r->len - r->at < sizeof h ? fill(r, sizeof h, limit, e) : OK;
    if (rc)
        return rc;
    if (r->len == r->at)
        return err_set(e, E_NOTFOUND, "no more records");
    if (r->len - r->at < sizeof h)
        return err_set(e, E_INVALID, "the log ends inside a record");
    memcpy(&h, r->buf + r->at, sizeof h);
    if (h.size < sizeof h || h.size > RECORD_MAX)
        return err_set(e, E_INVALID, "no record at %llu", (unsigned long long)local_reader_place(r));
    if (r->len - r->at < h.size && (rc = fill(r, h.size, limit, e)))
        return rc;
    if (r->len - r->at < h.size || !is_whole(&h, r->buf + r->at))
        return err_set(e, E_INVALID, "a damaged record at %llu", (unsigned long long)local_reader_place(r));
    const char *p = r->buf + r->at + sizeof h;
    ret->offset = h.offset;
    ret->timestamp_us = h.timestamp_us;
    ret->size = h.size;
    ret->traceparent = take(&p, h.trace_n);
    ret->key = take(&p, h.key_n);
    ret->value = take(&p, h.value_n);
    r->at += h.size;
    return OK;
}
