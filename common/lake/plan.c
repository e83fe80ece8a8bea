/* The plan of a flush: a text of lines, first the range, then the paths of its files. It is moved into place before the first
 * syncfs, so that a file which a later rename puts in place is named by a plan that is durable. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/map.h"
#include "base/mem.h"
#include "db/ledger.h"
#include "lake/lake_path.h"

#define PLANS LAKE_TMP "/.plans" /* a dot: no writer's folder, so no sweep takes it */
#define PLAN_MAX (256 << 20)     /* of bytes that are read: a million files */

static void plan_name(struct buf *out, const struct lake_range *range)
{
    buf_addf(out, PLANS "/%s-%d-g%d", range->part.topic, range->part.partition, range->part.generation);
}

static void add_start(struct buf *out, const struct lake_range *range)
{
    buf_addf(out, "%lld ", (long long)range->start_offset);
}

static rc_t failed(const char *what, struct err *e)
{
    int err = errno;
    return err_set(e, lake_errno_rc(err), "the plan of a flush, %s: %s", what, strerror(err));
}

/* *ret stays empty when there is none. */
static rc_t read_plan(const struct lake_tmp *t, const char *name, struct buf *ret, struct err *e)
{
    struct stat st;
    int fd = openat(t->root_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? OK : failed("opening", e);
    rc_t rc = fstat(fd, &st) == 0 ? OK : failed("reading", e);
    if (!rc && st.st_size > PLAN_MAX)
        rc = err_set(e, E_AGAIN, "the plan of a flush has %lld bytes: delete %s", (long long)st.st_size, name);
    for (ssize_t n = 1; !rc && n > 0;) {
        buf_reserve(ret, 65536);
        n = read(fd, ret->data + ret->len, 65536);
        if (n < 0 && errno != EINTR)
            rc = failed("reading", e);
        ret->len += n > 0 ? (size_t)n : 0;
        n = n < 0 ? 1 : n;
    }
    close(fd);
    return rc;
}

/* Names of the earlier attempts that ours are not. A plan with another start is of a range that was committed; the end may
 * be another, when the pipeline tries smaller steps. */
static void take_earlier(struct lake_plan *p, const struct lake_range *range, struct str text)
{
    CLEANUP(buf_done) struct buf head = {0};
    add_start(&head, range);
    if (text.n < head.len || memcmp(text.p, head.data, head.len) != 0)
        return;
    const char *end = text.p + text.n, *nl = memchr(text.p, '\n', text.n);
    for (const char *at = nl ? nl + 1 : end; at < end && (nl = memchr(at, '\n', (size_t)(end - at))); at = nl + 1) {
        struct str path = {at, (size_t)(nl - at)};
        if (!map_get(&p->ours, path) && lake_is_below_root(path))
            map_put(&p->others, path, p);
    }
}

static rc_t write_whole(int fd, struct str s, struct err *e)
{
    while (s.n) {
        ssize_t n = write(fd, s.p, s.n);
        if (n < 0 && errno != EINTR)
            return failed("writing", e);
        s.p += n > 0 ? n : 0;
        s.n -= n > 0 ? (size_t)n : 0;
    }
    return OK;
}

static rc_t put_plan(const struct lake_tmp *t, const char *name, struct str text, struct err *e)
{
    CLEANUP(buf_done) struct buf fresh = {0};
    buf_addf(&fresh, "%s/plan", t->path);
    if (mkdirat(t->root_fd, PLANS, 0755) != 0 && errno != EEXIST)
        return failed("making " PLANS, e);
    int fd = open(fresh.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return failed("making", e);
    rc_t rc = write_whole(fd, text, e);
    if (close(fd) != 0 && !rc)
        rc = failed("closing", e);
    if (!rc && renameat(AT_FDCWD, fresh.data, t->root_fd, name) != 0)
        rc = failed("renaming", e);
    return rc;
}

static void add_paths(struct buf *out, const struct map *paths)
{
    for (struct map_iter it = {0}; map_next(paths, &it);) {
        buf_add(out, it.key.p, it.key.n);
        buf_addc(out, '\n');
    }
}

rc_t lake_plan_write(struct lake_plan *ret, const struct lake_tmp *t, const struct lake_range *range,
                     const struct manifest_row *rows, size_t n, struct err *e)
{
    CLEANUP(buf_done) struct buf name = {0}, before = {0}, text = {0};
    rc_t rc = OK;
    plan_name(&name, range);
    for (size_t i = 0; i < n; i++)
        if (rows[i].partition == range->part.partition && str_eqz(rows[i].topic, range->part.topic) &&
            rows[i].start_offset == ledger_key(range->part.generation, range->start_offset))
            map_put(&ret->ours, rows[i].path, ret);
    if (range->again)
        rc = read_plan(t, name.data, &before, e);
    if (rc)
        return rc;
    take_earlier(ret, range, buf_str(&before));
    add_start(&text, range);
    buf_addf(&text, "%lld\n", (long long)range->end_offset);
    add_paths(&text, &ret->ours);
    add_paths(&text, &ret->others);
    return put_plan(t, name.data, buf_str(&text), e);
}

void lake_plan_end(struct lake_plan *p, const struct lake_tmp *t, bool in_place)
{
    for (struct map_iter it = {0}; in_place && map_next(&p->others, &it);) {
        CLEANUP(mem_freep) char *path = mem_dup(it.key.p, it.key.n);
        (void)unlinkat(t->root_fd, path, 0); /* else it is an orphan in the lake for longer */
    }
    map_done(&p->ours);
    map_done(&p->others);
}
