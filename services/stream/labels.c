/* Labels of one flush. */
#include "labels.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/time.h"
#include "db/label.h"

struct note {
    const struct pipeline_part *part;
    struct label_row row;
    char text[];
};
struct labels {
    struct note **list;
    size_t n, cap, bytes;
};

struct labels *labels_new(void)
{
    return mem_alloc(sizeof(struct labels));
}

void labels_free(struct labels *l)
{
    if (!l)
        return;
    labels_done(l, NULL);
    mem_free(l->list);
    mem_free(l);
}

static size_t size_of(const struct label_row *row)
{
    return sizeof(struct note) + row->request_id.n + row->endpoint_uid.n + row->label.n;
}

static struct str put(char **at, struct str s)
{
    char *to = *at;
    if (s.n > 0)
        memcpy(to, s.p, s.n);
    *at += s.n;
    return (struct str){to, s.n};
}

void labels_note(struct labels *l, const struct pipeline_part *part, const struct inference_event *ev)
{
    struct label_row row = {part->project_id, ev->request_id, ev->uid, ev->label, ev->when_us};
    struct note *note = mem_alloc(size_of(&row));
    char *at = note->text;
    note->part = part;
    note->row = row;
    note->row.request_id = put(&at, row.request_id);
    note->row.endpoint_uid = put(&at, row.endpoint_uid);
    note->row.label = put(&at, row.label);
    if (l->n == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 64;
        l->list = mem_grow(l->list, l->cap, sizeof *l->list);
    }
    l->list[l->n++] = note;
    l->bytes += size_of(&row);
}

size_t labels_held(const struct labels *l)
{
    return l->bytes;
}

rc_t labels_prepare(struct labels *l, struct db *db, struct err *e)
{
    CLEANUP(mem_freep) int64_t *days = mem_array(l->n + 1, sizeof *days);
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++) {
        int64_t day = time_floor(l->list[i]->row.when_us, USEC_PER_DAY);
        if (n == 0 || days[n - 1] != day)
            days[n++] = day;
    }
    return n ? db_days_ensure(db, days, n, e) : OK;
}

rc_t labels_write(struct labels *l, struct db *db, struct pipeline_part *const *parts, size_t n, struct err *e)
{
    CLEANUP(mem_freep) struct label_row *rows = mem_array(l->n + 1, sizeof *rows);
    size_t n_rows = 0;
    for (size_t i = 0; i < l->n; i++)
        for (size_t k = 0; k < n; k++)
            if (parts[k] == l->list[i]->part)
                rows[n_rows++] = l->list[i]->row;
    return labels_add(db, rows, n_rows, clock_now_us(), e);
}

void labels_done(struct labels *l, const struct pipeline_part *part)
{
    size_t kept = 0;
    for (size_t i = 0; i < l->n; i++) {
        if (part && l->list[i]->part != part) {
            l->list[kept++] = l->list[i];
            continue;
        }
        l->bytes -= size_of(&l->list[i]->row);
        mem_free(l->list[i]);
    }
    l->n = kept;
}
