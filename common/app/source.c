/* What an app reads beyond its window's counts, and the live source of it: slots, manifest, Parquet files. */
#include "app/source.h"
#include "app/input.h"
#include "base/mem.h"

rc_t app_rows(const struct app_input *in, const char *const *columns, size_t n, lake_batch_fn *fn, void *arg, struct err *e)
{
    return in->source->rows(in->source, in, columns, n, fn, arg, e);
}

rc_t app_totals(const struct app_input *in, int64_t start_us, int64_t end_us, struct app_totals *ret, struct err *e)
{
    return in->source->totals(in->source, start_us, end_us, ret, e);
}

rc_t app_earlier(const struct app_input *in, int64_t start_us, int64_t end_us, struct slot **ret, struct err *e)
{
    return in->source->earlier(in->source, in, start_us, end_us, ret, e);
}

/* ---- live ---- */
static rc_t live_rows(struct app_source *src, const struct app_input *in, const char *const *columns, size_t n,
                      lake_batch_fn *fn, void *arg, struct err *e)
{
    struct live_source *s = (struct live_source *)src;
    struct values_file *files = NULL;
    size_t n_files = 0;
    int64_t gone = 0; /* in->rows_missing has them */
    rc_t rc = window_files(&s->window, in->arena, &files, &n_files, &gone, e);
    const char **paths = arena_array(in->arena, n_files + 1, sizeof *paths);
    for (size_t i = 0; i < n_files; i++)
        paths[i] = files[i].path;
    if (!rc && n_files && !s->window.loader->reader)
        rc = lake_reader_open(&s->window.loader->reader, s->window.loader->lake, e);
    if (rc || !n_files)
        return rc;
    rc = lake_read(s->window.loader->reader, paths, n_files, columns, n, in->start_us, in->end_us, fn, arg, e);
    return rc == E_NOTFOUND ? E_AGAIN : rc; /* retention took a file a moment ago: next time it is known to be gone */
}

static rc_t live_totals(struct app_source *src, int64_t start_us, int64_t end_us, struct app_totals *ret, struct err *e)
{
    struct live_source *s = (struct live_source *)src;
    struct slot_sum *sums = NULL;
    size_t n = 0;
    rc_t rc = slots_sums(s->window.db, s->window.project_id, s->window.endpoint_id, start_us, end_us, end_us - start_us,
                         &sums, &n, e);
    if (rc)
        return rc;
    struct app_totals t = {0};
    for (size_t i = 0; i < n; i++) {
        t.requests += sums[i].requests;
        t.rows += sums[i].rows;
        t.errors += sums[i].errors;
        t.estimated += sums[i].estimated;
    }
    mem_free(sums);
    *ret = t;
    return OK;
}

static rc_t live_earlier(struct app_source *src, const struct app_input *in, int64_t start_us, int64_t end_us,
                         struct slot **ret, struct err *e)
{
    const struct live_source *s = (struct live_source *)src;
    struct slot_row *rows = NULL;
    CLEANUP(db_rows_freep) struct db_rows *held = NULL;
    struct window_event ev = *s->window.ev;
    struct window_source w = s->window;
    int64_t missing = 0;
    ev.start_us = start_us;
    ev.end_us = end_us;
    ev.files = NULL;
    ev.n_files = 0;
    w.ev = &ev;
    rc_t rc = slots_read(w.db, w.project_id, w.endpoint_id, start_us, end_us, &rows, &w.n_rows, &held, e);
    if (rc)
        return rc;
    w.rows = rows;
    struct slot *sum = slot_new(in->layout);
    rc = window_sum(&w, sum, &missing, e);
    mem_free(rows);
    if (rc)
        slot_free(sum);
    else
        *ret = sum;
    return rc;
}

const struct app_source live_source_ops = {.rows = live_rows, .totals = live_totals, .earlier = live_earlier};
