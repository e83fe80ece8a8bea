/* The pipeline's handler: what came since the last commit, decoded, and which of it is refused. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/time.h"
#include "db/result.h"
#include "writer.h"

#define BYTES_MAX (32u << 20)
#define FUTURE_US (48 * INT64_C(3600) * USEC_PER_SEC)

static void bury(struct batch *b, struct batch_item *it, const struct reject *why)
{
    const struct pipeline_record r = {
        .part = it->part, .offset = it->offset, .timestamp_us = it->timestamp_us, .value = it->value};
    it->dead = true;
    dead_letters_note(b->dead, &r, why);
}

static rc_t check_event(const struct batch *b, const struct batch_item *it, struct reject *why)
{
    const struct result_event *ev = &it->ev;
    const struct function_project *p = function_topics_project(b->topics, it->part->project_id);
    if (!p)
        return reject_set(why, REJECT_UNKNOWN_PROJECT, NULL, 0, "the project was deleted");
    if (ev->project.n && !str_eqz(ev->project, p->name))
        return reject_set(why, REJECT_PROJECT_MISMATCH, "modelmon.project", 0, "the event names another project");
    if (ev->start_us >= ev->end_us)
        return reject_set(why, REJECT_BAD_TIME, "end_infer_time", 0, "the window ends before it begins");
    if (ev->start_us < TIME_SANE_MIN_US)
        return reject_set(why, REJECT_BAD_TIME, "start_infer_time", 0, "the window lies before the year 2000");
    if (ev->end_us > TIME_SANE_MAX_US || ev->end_us > it->timestamp_us + FUTURE_US)
        return reject_set(why, REJECT_FUTURE_TIMESTAMP, "end_infer_time", 0, "the window ends in the future");
    if (ev->revision < 0 || ev->revision > INT32_MAX)
        return reject_set(why, REJECT_BAD_VALUE, "modelmon.revision", 0, "not a revision");
    return OK;
}

static struct batch_item *add_item(struct batch *b, const struct pipeline_record *r)
{
    if (b->n == b->cap) {
        b->cap = b->cap ? b->cap * 2 : 256;
        b->items = mem_grow(b->items, b->cap, sizeof *b->items);
    }
    if (b->n == 0)
        b->oldest_us = clock_mono_us();
    struct batch_item *it = &b->items[b->n++];
    *it = (struct batch_item){.part = r->part, .offset = r->offset, .timestamp_us = r->timestamp_us};
    it->value = arena_str(&b->mem, r->value);
    it->traceparent = arena_str(&b->mem, r->traceparent);
    b->bytes += (int64_t)r->value.n;
    return it;
}

static rc_t batch_record(void *self, const struct pipeline_record *r, struct err *e)
{
    struct batch *b = self;
    struct reject why = {0};
    (void)e; /* nothing is asked of anybody here */
    if (r->warmup)
        return OK;
    struct batch_item *it = add_item(b, r);
    rc_t rc = result_decode(it->value.p, it->value.n, &b->mem, &it->ev, &why);
    if (!rc)
        rc = check_event(b, it, &why);
    if (rc)
        bury(b, it, &why);
    return OK;
}

static bool batch_due(void *self, int64_t mono_us)
{
    const struct batch *b = self;
    int64_t held = (int64_t)(b->n - b->gone);
    return held > 0 && (held >= b->opts->flush_events || b->bytes >= (int64_t)BYTES_MAX ||
                        mono_us - b->oldest_us >= b->opts->flush_us);
}

static rc_t resolve(struct batch *b, struct db *db, struct batch_item *it, struct err *e)
{
    struct reject why = {0};
    int32_t project = it->part->project_id;
    rc_t rc = names_endpoint(&b->names, db, project, it->ev.endpoint_id, &it->endpoint_id, &why, e);
    if (!rc)
        rc = names_app(&b->names, db, project, it->ev.application_name, &it->app_id, &why, e);
    if (!rc && it->ev.event_kind != RESULT_STATS) {
        bool is_result = it->ev.event_kind == RESULT_RESULT;
        rc = names_metric(&b->names, db, project, it->app_id, is_result ? METRIC_RESULT : METRIC_METRIC, it->ev.name,
                          is_result ? (int)it->ev.kind : -1, &it->metric_id, &why, e);
    }
    if (rc == E_INVALID && why.code != REJECT_NONE) {
        bury(b, it, &why);
        rc = OK;
    }
    it->resolved = rc == OK;
    return rc;
}

/* Of the items that will be written; the same one is not said twice in a row. */
static size_t endpoint_ids(const struct batch *b, int64_t *ret)
{
    size_t n = 0;
    for (size_t i = 0; i < b->n; i++)
        if (b->items[i].part && b->items[i].resolved && !b->items[i].dead &&
            (n == 0 || ret[n - 1] != b->items[i].endpoint_id))
            ret[n++] = b->items[i].endpoint_id;
    return n;
}

/* Endpoints that were deleted since their uids were looked up: asked again, they are dead letters, or new ones of the same uid. */
static rc_t resolve_gone(struct batch *b, struct db *db, struct err *e)
{
    bool look = false;
    rc_t rc = gone_watch_due(&b->gone_watch, db, &look, e);
    if (rc || !look)
        return rc;
    CLEANUP(mem_freep) int64_t *ids = mem_array(b->n + 1, sizeof *ids);
    CLEANUP(mem_freep) int64_t *gone = NULL;
    size_t n = endpoint_ids(b, ids), n_gone = 0;
    rc = endpoints_gone(db, ids, n, &gone, &n_gone, e);
    if (rc || n_gone == 0)
        return rc;
    names_forget_endpoints(&b->names);
    for (size_t i = 0; !rc && i < b->n; i++)
        for (size_t k = 0; k < n_gone; k++)
            if (b->items[i].part && b->items[i].resolved && !b->items[i].dead && b->items[i].endpoint_id == gone[k]) {
                rc = resolve(b, db, &b->items[i], e);
                break;
            }
    return rc;
}

static rc_t batch_prepare(void *self, struct db *db, struct pipeline_part *const *parts, size_t n, struct err *e)
{
    struct batch *b = self;
    rc_t rc = names_refresh(&b->names, db, e);
    for (size_t i = 0; !rc && i < b->n; i++) {
        struct batch_item *it = &b->items[i];
        if (!it->dead && !it->resolved && pipeline_has(parts, n, it->part))
            rc = resolve(b, db, it, e);
    }
    if (!rc)
        rc = resolve_gone(b, db, e);
    if (!rc)
        rc = dead_letters_prepare(b->dead, db, parts, n, e);
    return rc ? rc : store_days(b, db, parts, n, e);
}

/* From here to the commit none of the endpoints is deleted; one that is gone by now is looked at again. */
static rc_t hold_endpoints(struct batch *b, struct db *db, struct err *e)
{
    CLEANUP(mem_freep) int64_t *ids = mem_array(b->n + 1, sizeof *ids);
    CLEANUP(mem_freep) int64_t *gone = NULL;
    size_t n_gone = 0;
    rc_t rc = endpoints_hold(db, ids, endpoint_ids(b, ids), &gone, &n_gone, e);
    return !rc && n_gone ? err_set(e, E_AGAIN, "an endpoint was deleted a moment ago") : rc;
}

static rc_t batch_write(void *self, struct db *db, struct pipeline_part *const *parts, size_t n, struct err *e)
{
    struct batch *b = self;
    rc_t rc = hold_endpoints(b, db, e);
    if (!rc)
        rc = store_write(b, db, parts, n, e);
    return rc ? rc : dead_letters_write(b->dead, db, parts, n, e);
}

static void close_gaps(struct batch *b)
{
    size_t kept = 0;
    for (size_t i = 0; i < b->n; i++)
        if (b->items[i].part)
            b->items[kept++] = b->items[i];
    b->n = kept;
    b->gone = 0;
}

/* A commit forgets one partition after the other, most often all: items are marked, and moved only if many stay. */
static void forget(struct batch *b, const struct pipeline_part *part)
{
    for (size_t i = 0; i < b->n; i++) {
        if (b->items[i].part && (!part || b->items[i].part == part)) {
            b->items[i].part = NULL;
            b->gone++;
        }
    }
    if (b->gone == b->n) {
        b->n = b->gone = 0;
        b->bytes = 0;
        arena_reset(&b->mem);
    } else if (b->gone > b->n / 2) {
        close_gaps(b);
    }
}

static void count(const struct batch *b, const struct pipeline_part *part)
{
    int64_t by_kind[RESULT_STATS + 1] = {0}, all = 0;
    for (size_t i = 0; i < b->n; i++)
        if ((!part || b->items[i].part == part) && !b->items[i].dead) {
            by_kind[b->items[i].ev.event_kind]++;
            all++;
        }
    for (size_t k = 0; k <= RESULT_STATS; k++)
        metric_add(metrics_at(&writer_metrics, M_EVENTS, k, 0), by_kind[k]);
    if (all)
        metric_observe(metrics_at(&writer_metrics, M_BATCH, 0, 0), (double)all);
}

static void batch_forget(void *self, const struct pipeline_part *part, bool committed)
{
    struct batch *b = self;
    if (committed) {
        count(b, part);
        store_publish(b, part);
    }
    forget(b, part);
    dead_letters_done(b->dead, part);
}

void batch_done(struct batch *b)
{
    dead_letters_free(b->dead);
    names_done(&b->names);
    arena_done(&b->mem);
    mem_free(b->items);
    cache_free(b->cache);
}

const struct pipeline_ops batch_ops = {
    .record = batch_record,
    .due = batch_due,
    .prepare = batch_prepare,
    .write = batch_write,
    .done = batch_forget,
};
