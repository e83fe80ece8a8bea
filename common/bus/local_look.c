/* What a local log holds, read from its files beside the process that writes them: without its lock, changing nothing. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/mem.h"
#include "bus/local.h"

const char *local_folder(const char *brokers)
{
    return bus_is_local(brokers) ? brokers + 6 : "";
}

/* From the segment's records: the first one from `from` on, unless there is one already, and where the last whole one ends. What is
 * being written just now is not there yet. */
static rc_t read_segment(const struct local_part *p, const struct local_segment *s, int64_t from, int64_t *end,
                         struct bus_mark *mark, bool whole, struct err *e)
{
    struct local_reader r = {.fd = -1};
    struct local_view v;
    rc_t rc = local_reader_open(&r, p->dir, s->base, e);
    while (!rc && (whole || mark->offset < 0) && !(rc = local_reader_next(&r, s->size, &v, e))) {
        *end = v.offset + 1;
        if (mark->offset < 0 && v.offset >= from)
            *mark = (struct bus_mark){v.offset, v.timestamp_us, bus_print(v.key, v.value)};
    }
    local_reader_close(&r);
    return rc == E_NOTFOUND || rc == E_INVALID ? OK : rc; /* a segment that retention has taken meanwhile, too */
}

static rc_t look_at(struct local_part *p, int64_t from, int64_t *ret_end, struct bus_mark *ret, struct err *e)
{
    struct bus_mark mark = {-1, -1, 0};
    int64_t end = 0;
    rc_t rc = local_part_segments(p, e);
    for (size_t i = 0; !rc && i < p->n_segments; i++) {
        bool last = i + 1 == p->n_segments;
        end = end > p->segments[i].base ? end : p->segments[i].base;
        if (last || p->segments[i + 1].base > from)
            rc = read_segment(p, &p->segments[i], from, &end, &mark, last, e);
    }
    mem_free(p->segments);
    if (rc)
        return rc;
    *ret_end = end;
    *ret = mark;
    return OK;
}

rc_t local_look(const char *folder, const struct bus_partition *parts, size_t n, int64_t *ret_ends,
                struct bus_mark *ret, struct err *e)
{
    rc_t rc = OK;
    for (size_t i = 0; !rc && i < n; i++) {
        char dir[4096];
        struct local_part p = {.dir = dir};
        if (snprintf(dir, sizeof dir, "%s/%s/%d", folder, parts[i].topic, parts[i].partition) >= (int)sizeof dir)
            return err_set(e, E_INVALID, "the log's folder has too long a name");
        ret_ends[i] = 0;
        ret[i] = (struct bus_mark){-1, -1, 0};
        if (access(dir, F_OK) == 0)
            rc = look_at(&p, parts[i].offset, &ret_ends[i], &ret[i], e);
    }
    return rc;
}
