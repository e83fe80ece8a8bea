/* The sum of a window's slots. A slot that has rows of another schema or reference than the one in force is counted again
 * from the lake, whole: its requests, errors and latencies come from the slots, its columns from the Parquet rows. */
#include <stdlib.h>
#include "app/input.h"
#include "base/mem.h"
#include "log/log.h"

struct span { /* a slot that is counted from the lake */
    int64_t start_us, end_us, rows;
};

struct recount {
    const struct window_source *src;
    struct slot *into;
    const struct span *spans; /* ascending */
    size_t n;
    int64_t counted;
};

static bool in_force(const struct window_source *s, const struct slot_row *r)
{
    return r->schema_version == s->schema_version && r->reference_version == s->reference_version;
}

static int compare_spans(const void *a, const void *b)
{
    const struct span *x = a, *y = b;
    return x->start_us < y->start_us ? -1 : x->start_us > y->start_us;
}

/* all: every slot, whatever its version. */
static size_t find_spans(const struct window_source *s, bool all, struct span *ret)
{
    size_t n = 0, kept = 0;
    for (size_t i = 0; i < s->n_rows; i++) {
        const struct slot_row *r = &s->rows[i];
        if (all || !in_force(s, r))
            ret[n++] = (struct span){r->slot_start_us, r->slot_start_us + r->slot_us, 0};
    }
    if (n)
        qsort(ret, n, sizeof *ret, compare_spans);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || ret[kept - 1].start_us != ret[i].start_us)
            ret[kept++] = ret[i];
    return kept;
}

static struct span *span_at(struct span *spans, size_t n, int64_t at_us)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (spans[mid].end_us <= at_us)
            low = mid + 1;
        else
            high = mid;
    }
    return low < n && spans[low].start_us <= at_us ? &spans[low] : NULL;
}

/* What is not about columns. */
static void add_totals(struct slot *into, const struct slot_row *r)
{
    struct err ignored;
    struct slot *one = NULL;
    into->requests += (uint64_t)r->requests;
    into->errors += (uint64_t)r->errors;
    into->estimated += r->estimated;
    if (slot_decode(&one, r->body, &ignored) == OK)
        sketch_merge(&into->latency, &one->latency);
    slot_free(one);
}

static void count_row(void *arg, int64_t when_us, const struct stat_value *values)
{
    struct recount *rc = arg;
    if (!span_at((struct span *)rc->spans, rc->n, when_us))
        return;
    rc->into->rows++;
    rc->counted++;
    for (size_t col = 0; col < rc->into->n_features + rc->into->n_labels; col++)
        slot_add(rc->into, col, &values[col]);
}

static rc_t read_lake(struct recount *rc, const struct values_file *files, size_t n, struct err *e)
{
    const struct window_source *s = rc->src;
    const struct values_query q = {.schema = s->schema,
                                   .n = s->layout->n_features + s->layout->n_labels,
                                   .start_us = rc->spans[0].start_us,
                                   .end_us = rc->spans[rc->n - 1].end_us,
                                   .fn = count_row,
                                   .arg = rc};
    struct values_schemas schemas = {.db = s->db, .endpoint_id = s->endpoint_id};
    rc_t r = s->loader->reader ? OK : lake_reader_open(&s->loader->reader, s->loader->lake, e);
    if (!r)
        r = values_read(s->loader->reader, &q, files, n, values_schema_stored, &schemas, e);
    schema_done(&schemas.schema);
    return r;
}

static bool is_named(const struct window_event *ev, struct str path)
{
    for (size_t i = 0; i < ev->n_files; i++)
        if (str_eq(ev->files[i], path))
            return true;
    return ev->n_files == 0;
}

/* An event comes from anybody who may write to the topic: a path counts only when the manifest has it for this endpoint. One
 * that is gone for good is left out; while the lake is away nobody can tell. */
rc_t window_files(const struct window_source *s, struct arena *a, struct values_file **ret, size_t *n,
                  int64_t *ret_gone_rows, struct err *e)
{
    struct manifest_row *rows = NULL;
    CLEANUP(db_rows_freep) struct db_rows *held = NULL;
    size_t found = 0, kept = 0;
    int64_t gone = 0;
    rc_t rc = manifest_files(s->db, s->project_id, s->endpoint_id, s->ev->start_us, s->ev->end_us, &rows, &found, &held, e);
    if (rc)
        return rc;
    struct values_file *files = arena_array(a, found + 1, sizeof *files);
    for (size_t i = 0; !rc && i < found; i++) {
        bool there = true;
        if (!is_named(s->ev, rows[i].path))
            continue;
        const char *path = arena_dup(a, rows[i].path.p, rows[i].path.n);
        rc = lake_has_file(s->loader->lake, path, &there, e);
        if (!there)
            gone += rows[i].rows;
        else
            files[kept++] = (struct values_file){path, rows[i].schema_version};
    }
    mem_free(rows);
    if (rc)
        return rc;
    *ret = files;
    *n = kept;
    *ret_gone_rows = gone;
    return OK;
}

static rc_t recount(struct recount *rc, struct err *e)
{
    struct arena mem = {0};
    struct values_file *files = NULL;
    size_t n = 0;
    int64_t gone = 0; /* seen by what is counted */
    rc_t r = window_files(rc->src, &mem, &files, &n, &gone, e);
    if (!r && n)
        r = read_lake(rc, files, n, e);
    if (r == E_NOTFOUND) /* retention took it a moment ago: next time it is known to be gone */
        r = E_AGAIN;
    arena_done(&mem);
    return r;
}

static rc_t sum_once(const struct window_source *s, bool all, struct slot *into, int64_t *ret_missing, struct err *e)
{
    struct span *spans = mem_array(s->n_rows + 1, sizeof *spans);
    size_t n = find_spans(s, all, spans);
    int64_t foreign = 0;
    rc_t rc = OK;
    for (size_t i = 0; !rc && i < s->n_rows; i++) {
        const struct slot_row *r = &s->rows[i];
        if (span_at(spans, n, r->slot_start_us)) {
            add_totals(into, r);
            foreign += r->rows;
        } else {
            rc = slot_add_blob(into, r->body, e);
        }
    }
    struct recount again = {.src = s, .into = into, .spans = spans, .n = n};
    if (!rc && n)
        rc = recount(&again, e);
    mem_free(spans);
    if (!rc)
        *ret_missing = foreign > again.counted ? foreign - again.counted : 0;
    return rc;
}

rc_t window_sum(const struct window_source *s, struct slot *into, int64_t *ret_missing, struct err *e)
{
    rc_t rc = sum_once(s, false, into, ret_missing, e);
    if (rc != E_INVALID)
        return rc;
    /* A blob that does not fit its own version's layout: the Parquet rows are the same rows. */
    log_error("slots_unreadable", LF_I64("endpoint_id", s->endpoint_id), LF_I64("start_us", s->ev->start_us), LF_ERR(e));
    slot_clear(into);
    return sum_once(s, true, into, ret_missing, e);
}
