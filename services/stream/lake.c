/* The lake sink: events become Parquet rows, flushed when there are many or when they are old enough.
 * The range of a flush is promised in the ledger first (pipeline intent), so a replay writes the same files. */
#include "base/clock.h"
#include "base/crash.h"
#include "base/mem.h"
#include "base/time.h"
#include "db/lakefile.h"
#include "metrics/metrics.h"
#include "sink.h"

#define LAST_FILES_MAX 1500 /* a small file is 1 to 3 ms, and a stop has seconds */

enum { M_NULLED, M_FILES, M_HELD };
static const struct metric_row rows[] = {
    [M_NULLED] = {.name = "modelmon_lake_nulled_total",
                  .kind = METRIC_COUNTER,
                  .help = "Values that are null in the lake because their type is not their column's."},
    [M_FILES] = {.name = "modelmon_lake_files_total", .kind = METRIC_COUNTER, .help = "Parquet files committed."},
    [M_HELD] = {.name = "modelmon_lake_held_bytes", .kind = METRIC_GAUGE, .help = "Memory of rows not flushed yet."},
};
static struct metric_set metrics = METRIC_SET(rows);

struct lake {
    struct lake_writer *writer;
    struct manifest_row *files; /* of the prepared flush; the writer's memory */
    size_t n_files;
    struct lake_range *ranges; /* of it too */
    size_t n_ranges;
    int64_t flushed_mono_us;
};

static struct lake_part part_of(const struct pipeline_part *p)
{
    return (struct lake_part){p->topic, p->partition, p->generation};
}

static rc_t take(struct sink *s, const struct pipeline_record *r, const struct inference_event *ev,
                 const struct resolved *at, struct err *e)
{
    if (ev->kind == INFERENCE_ERROR)
        return OK; /* counted by statistics; it has no prediction to keep */
    struct lake *l = s->own;
    const struct endpoint *ep = &at->known->ep;
    struct inference_event placed = *ev;
    placed.inputs = at->inputs;
    placed.outputs = at->outputs;
    placed.n_cols = at->shape->columns->schema.n_features;
    placed.n_label_cols = at->shape->columns->schema.n_labels;
    struct lake_part part = part_of(r->part);
    struct lake_endpoint whose = {.project_id = ep->project_id,
                                  .project = str_of(at->known->project->name),
                                  .endpoint_id = ep->id,
                                  .uid = str_of(ep->uid),
                                  .name = str_of(ep->name),
                                  .function_uri = str_of(ep->function_uri),
                                  .model_class = str_of(ep->model_class),
                                  .endpoint_type = ep->endpoint_type,
                                  .schema = &at->shape->columns->schema};
    size_t nulled = 0;
    rc_t rc = lake_add(l->writer, &part, r->offset, &whose, &placed,
                       ep->first_request_us ? ep->first_request_us : ev->when_us, &nulled, e);
    if (nulled)
        metric_add(metrics_at(&metrics, M_NULLED, 0, 0), (int64_t)nulled);
    return rc;
}

static bool due(void *self, int64_t mono_us)
{
    struct sink *s = self;
    struct lake *l = s->own;
    const struct stream_options *o = &s->st->options;
    struct lake_held held = lake_held(l->writer);
    if (held.rows == 0)
        return mono_us - l->flushed_mono_us >= USEC_PER_SEC; /* only the position moves */
    int64_t age = o->lake_age_per_file_us * held.files;
    return held.bytes >= s->st->lake.memory_bytes ||
           mono_us - held.oldest_mono_us >= (age > o->lake_age_us ? age : o->lake_age_us);
}

/* A new endpoint of the same uid writes to the same folder: what is held of the old one must not get there. */
static rc_t drop_deleted(struct sink *s, struct db *db, struct err *e)
{
    struct lake *l = s->own;
    CLEANUP(mem_freep) int64_t *ids = NULL, *gone = NULL;
    size_t n = 0, n_gone = 0;
    lake_holds(l->writer, &ids, &n);
    rc_t rc = n ? endpoints_gone(db, ids, n, &gone, &n_gone, e) : OK;
    for (size_t i = 0; !rc && i < n_gone; i++)
        sink_count_deleted(s, lake_drop(l->writer, gone[i]));
    return rc;
}

static rc_t prepare(void *self, struct db *db, struct pipeline_part *const *parts, size_t n, struct err *e)
{
    struct sink *s = self;
    struct lake *l = s->own;
    if (atomic_load(&s->stopping) && lake_held(l->writer).files > LAST_FILES_MAX)
        return err_set(e, E_LIMIT, "too many files for a last flush: they are written in the next life");
    mem_free(l->ranges);
    l->ranges = mem_array(n, sizeof *l->ranges);
    l->n_ranges = l->n_files = 0;
    for (size_t i = 0; i < n; i++)
        if (parts[i]->position > parts[i]->next_offset)
            l->ranges[l->n_ranges++] = (struct lake_range){part_of(parts[i]), parts[i]->next_offset, parts[i]->position,
                                                           parts[i]->schema_seq != 0};
    metric_set(metrics_at(&metrics, M_HELD, 0, 0), (double)lake_held(l->writer).bytes);
    rc_t rc = l->n_ranges ? drop_deleted(s, db, e) : OK;
    if (rc == OK && l->n_ranges)
        rc = lake_write(l->writer, l->ranges, l->n_ranges, &l->files, &l->n_files, e);
    int64_t *days = mem_array(l->n_files ? l->n_files : 1, sizeof *days);
    for (size_t i = 0; i < l->n_files; i++)
        days[i] = time_floor(l->files[i].hour_us, USEC_PER_DAY);
    if (rc == OK && l->n_files)
        rc = db_days_ensure(db, days, l->n_files, e);
    mem_free(days);
    return rc;
}

static rc_t place(void *self, struct pipeline_part *const *parts, size_t n, bool replace, struct err *e)
{
    struct sink *s = self;
    struct lake *l = s->own;
    (void)parts, (void)n; /* those of prepare */
    rc_t rc = l->n_ranges ? lake_place(l->writer, l->ranges, l->n_ranges, replace, e) : OK;
    if (rc && rc != E_CONFLICT)
        l->n_files = 0;
    return rc;
}

/* Of an endpoint that was deleted meanwhile no row is written, and no file stays. */
static rc_t write_manifest(const struct lake *l, struct db *db, struct err *e)
{
    if (!l->n_files)
        return OK;
    CLEANUP(mem_freep) struct manifest_row *out = mem_array(l->n_files, sizeof *out);
    CLEANUP(mem_freep) int64_t *ids = mem_array(l->n_files, sizeof *ids), *gone = NULL;
    size_t n_gone = 0, n_out = 0;
    for (size_t i = 0; i < l->n_files; i++)
        ids[i] = l->files[i].endpoint_id;
    rc_t rc = endpoints_hold(db, ids, l->n_files, &gone, &n_gone, e);
    for (size_t i = 0; rc == OK && i < l->n_files; i++) {
        bool lives = true;
        for (size_t k = 0; k < n_gone && lives; k++)
            lives = gone[k] != l->files[i].endpoint_id;
        if (lives)
            out[n_out++] = l->files[i];
        else
            lake_unlink(l->writer, l->files[i].path);
    }
    rc = rc == OK && n_out ? manifest_add(db, out, n_out, clock_now_us(), e) : rc;
    CRASH_POINT(lake_manifest);
    return rc;
}

static rc_t write_all(void *self, struct db *db, struct pipeline_part *const *parts, size_t n, struct err *e)
{
    struct sink *s = self;
    rc_t rc = sink_write_refused(s, db, parts, n, e);
    return rc ? rc : write_manifest(s->own, db, e);
}

static void done(void *self, const struct pipeline_part *part, bool committed)
{
    struct sink *s = self;
    struct lake *l = s->own;
    if (committed && l->n_files)
        metric_add(metrics_at(&metrics, M_FILES, 0, 0), (int64_t)l->n_files);
    l->n_files = 0; /* of all the partitions of a flush: counted with the first */
    l->flushed_mono_us = clock_mono_us();
    sink_done(part);
    registry_let_go(s->registry); /* the writer has copies */
    struct lake_part gone = part ? part_of(part) : (struct lake_part){0};
    lake_forget(l->writer, part ? &gone : NULL);
}

static void free_own(struct sink *s)
{
    struct lake *l = s->own;
    lake_writer_free(l->writer);
    mem_free(l->ranges);
    mem_free(l);
}

static const struct pipeline_ops ops = {sink_record, due, prepare, write_all, done, sink_refused, place};

rc_t lake_open(struct sink **ret, struct stream *st, struct err *e)
{
    struct lake *l = mem_alloc(sizeof *l);
    rc_t rc = lake_writer_open(&l->writer, &st->lake, e);
    if (rc == OK)
        rc = sink_open(ret, st,
                       &(struct sink_def){
                           .name = PIPELINE_LAKE, .ops = &ops, .intent = true, .take = take, .free_own = free_own, .own = l},
                       e);
    if (rc) {
        lake_writer_free(l->writer);
        mem_free(l);
        return rc;
    }
    metrics_register(&metrics);
    lake_sweep(&st->lake);
    return OK;
}
