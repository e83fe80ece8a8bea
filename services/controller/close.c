/* Closing windows: from pending rows to a revision and the outbox rows that tell the apps. Many windows a transaction.
 *
 * Why nothing is lost or counted twice: the transaction holds FOR SHARE what the statistics pipeline locks FOR UPDATE
 * before it adds rows, so a row is in the sums read here, or its window becomes pending again after this commit. */
#include "controller.h"
#include <string.h>
#include "base/arena.h"
#include "base/clock.h"
#include "base/crash.h"
#include "base/mem.h"
#include "base/time.h"
#include "db/endpoint.h"
#include "db/lakefile.h"
#include "db/ledger.h"
#include "db/slot.h"
#include "db/window.h"
#include "event/names.h"
#include "event/window.h"
#include "log/log.h"
#include "pipeline/pipeline.h"

#define FILES_MAX WINDOW_FILES_MAX
#define EMPTY_LOOK_BACK 60 /* periods */

/* One transaction's worth. */
struct batch {
    struct arena mem;
    struct outbox_row *rows;
    size_t n, cap;
    struct tick_report did;
};

/* What the slots of a window hold, by version. */
struct slot_summary {
    int64_t rows;
    int schema_version; /* the newest among them: in force at the end */
    bool mixed;         /* some were counted under another schema or reference */
};

static rc_t summarise_slots(struct db *db, const struct pending_window *w, int reference, struct slot_summary *ret,
                            struct err *e)
{
    struct slot_version *v = NULL;
    size_t n = 0;
    rc_t rc = slots_versions(db, w->project_id, w->endpoint_id, w->start_us, w->end_us, &v, &n, e);
    if (rc)
        return rc;
    struct slot_summary s = {0};
    for (size_t i = 0; i < n; i++) {
        s.rows += v[i].rows;
        if (v[i].schema_version > s.schema_version)
            s.schema_version = v[i].schema_version;
    }
    for (size_t i = 0; i < n; i++)
        if (v[i].schema_version != s.schema_version || v[i].reference_version != reference)
            s.mixed = true;
    mem_free(v);
    *ret = s;
    return OK;
}

/* MLRun's own rule: enabled, no router, no legacy batch endpoint. */
static bool endpoint_fires(const struct endpoint *ep)
{
    enum { ENDPOINT_ROUTER = 2, MODE_BATCH_LEGACY = 2 };
    return ep->endpoint_type != ENDPOINT_ROUTER && ep->mode != MODE_BATCH_LEGACY && ep->monitoring_mode &&
           strcmp(ep->monitoring_mode, "enabled") == 0;
}

static rc_t read_files(struct db *db, struct batch *b, const struct pending_window *w, struct window_event *ev,
                       struct err *e)
{
    struct manifest_row *rows = NULL;
    CLEANUP(db_rows_freep) struct db_rows *held = NULL;
    size_t n = 0;
    rc_t rc = manifest_files(db, w->project_id, w->endpoint_id, w->start_us, w->end_us, &rows, &n, &held, e);
    if (rc)
        return rc;
    if (n > FILES_MAX) {
        mem_free(rows);
        log_warn("window_files", LF_I64("endpoint_id", w->endpoint_id), LF_I64("files", n), LF_I64("max", FILES_MAX));
        return OK; /* the app reads the manifest itself */
    }
    struct str *files = arena_array(&b->mem, n + 1, sizeof *files);
    for (size_t i = 0; i < n; i++)
        files[i] = arena_str(&b->mem, rows[i].path);
    mem_free(rows);
    ev->files = files;
    ev->n_files = n;
    return OK;
}

static void batch_add(struct batch *b, const struct outbox_row *row)
{
    if (b->n == b->cap) {
        b->cap = b->cap ? b->cap * 2 : 64;
        b->rows = mem_grow(b->rows, b->cap, sizeof *b->rows);
    }
    b->rows[b->n++] = *row;
}

static rc_t tell_app(struct closer *c, struct batch *b, const struct close_scope *s, const struct app_row *app,
                     struct window_event ev, struct err *e)
{
    char topic[NAME_TOPIC_MAX + 1];
    ev.application_name = str_of(app->name);
    rc_t rc = topic_function(topic, c->opts->id.system_id, str_of(s->project->name), ev.application_name, e);
    if (rc) { /* a name no topic can have: no app can listen there */
        log_warn("app_name", LF_STR("project", s->project->name), LF_STR("app", app->name), LF_ERR(e));
        return OK;
    }
    struct buf payload = {0};
    window_encode(&ev, &payload);
    const struct outbox_row row = {
        .project_id = s->project->id,
        .topic = arena_str(&b->mem, str_of(topic)),
        .key = arena_str(&b->mem, ev.endpoint_id),
        .payload = arena_str(&b->mem, buf_str(&payload)),
        .traceparent = arena_str(&b->mem, ev.traceparent),
        .created_us = s->now_us,
    };
    buf_done(&payload);
    batch_add(b, &row);
    b->did.events++;
    return OK;
}

static rc_t tell_apps(struct closer *c, struct db *db, struct batch *b, const struct close_scope *s,
                      const struct pending_window *w, const struct window *put, const struct endpoint *ep, bool mixed,
                      struct err *e)
{
    char updated[TIME_TEXT];
    time_iso_offset(updated, ep->updated_us);
    struct window_event ev = {
        .project = str_of(s->project->name),
        .endpoint_id = str_of(ep->uid),
        .endpoint_name = str_of(ep->name),
        .endpoint_updated = str_of(updated),
        .traceparent = w->traceparent,
        .start_us = w->start_us,
        .end_us = w->end_us,
        .revision = put->revision,
        .reference_version = put->reference_version > 0 ? put->reference_version : -1,
        .is_exact = true,
    };
    struct window_event with_files = ev;
    if (mixed || s->needs_rows) {
        rc_t rc = read_files(db, b, w, &with_files, e);
        if (rc)
            return rc;
    }
    for (size_t i = 0; i < s->n_apps; i++) {
        if (put->rows == 0 && !s->apps[i].wants_empty)
            continue;
        rc_t rc = tell_app(c, b, s, &s->apps[i], mixed || s->apps[i].needs_rows ? with_files : ev, e);
        if (rc)
            return rc;
    }
    return OK;
}

/* Its end, or when its newest row was handled; not if that is yet to come: the clock was set back since. */
static int64_t last_touched(const struct close_scope *s, const struct pending_window *w)
{
    bool known = w->last_handled_us > w->end_us && w->last_handled_us <= s->now_us + HANDLED_AHEAD_US;
    return known ? w->last_handled_us : w->end_us;
}

bool close_lake_behind(const struct close_scope *s, const struct closer *c, const struct pending_window *w)
{
    int64_t newest = last_touched(s, w);
    return s->lake_us != INT64_MAX && s->lake_us < newest + c->opts->lateness_us;
}

/* Retention may have taken some of the window's slots: the sum of what is left says little. */
static bool slots_dropped(const struct closer *c, const struct close_scope *s, const struct pending_window *w)
{
    int64_t keep = c->opts->retention_slots_us;
    return keep > 0 && w->start_us < time_floor(s->now_us - keep, USEC_PER_DAY);
}

/* What is to be done with a window whose pending row was just taken. */
enum verdict { CLOSE, TOO_LATE, NOTHING_NEW };
static enum verdict judge(const struct closer *c, const struct close_scope *s, const struct pending_window *w,
                          const struct window *known, const struct slot_summary *sum, int reference, int64_t *ret_late)
{
    if (known->revision == 0)
        return CLOSE;
    int64_t had = known->rows + known->late_rows;
    if (slots_dropped(c, s, w) && sum->rows < had + w->rows) { /* no revision can be made of the rest */
        *ret_late = w->rows;
        return w->rows ? TOO_LATE : NOTHING_NEW;
    }
    *ret_late = sum->rows - had;
    bool more = sum->rows > had, other = sum->rows && known->reference_version != reference;
    if (s->now_us - known->closed_us > c->opts->max_lateness_us)
        return more ? TOO_LATE : NOTHING_NEW;
    return more || other ? CLOSE : NOTHING_NEW;
}

static rc_t put_revision(struct closer *c, struct db *db, struct batch *b, const struct close_scope *s,
                         const struct pending_window *w, const struct window *known, const struct slot_summary *sum,
                         int reference, const struct endpoint *ep, struct err *e)
{
    const struct window put = {
        .project_id = w->project_id,
        .endpoint_id = w->endpoint_id,
        .start_us = w->start_us,
        .end_us = w->end_us,
        .revision = known->revision + 1,
        .rows = sum->rows,
        .late_rows = 0,
        .frontier_us = s->frontier_us,
        .closed_us = s->now_us,
        .schema_version = sum->schema_version,
        .reference_version = reference,
    };
    rc_t rc = window_put(db, &put, w->traceparent, e);
    CRASH_POINT(close_put);
    if (rc)
        return rc;
    b->did.closed++;
    b->did.revisions += known->revision > 0;
    if (!endpoint_fires(ep) || (sum->rows == 0 && !s->wants_empty)) {
        b->did.silent++;
        return OK;
    }
    return tell_apps(c, db, b, s, w, &put, ep, sum->mixed, e);
}

/* E_NOTFOUND for the endpoint: it was deleted with its rows a moment ago; its pending row goes too. */
static rc_t drop_orphan(struct db *db, const struct pending_window *w, struct err *e)
{
    struct window known = {0};
    rc_t rc = pending_take(db, w, &known, e);
    return rc == E_NOTFOUND ? OK : rc;
}

static rc_t close_window(struct closer *c, struct db *db, struct batch *b, const struct close_scope *s,
                         const struct pending_window *w, struct err *e)
{
    const struct endpoint *ep = NULL;
    rc_t rc = closer_endpoint(c, db, w->endpoint_id, &ep, e);
    if (rc)
        return rc == E_NOTFOUND ? drop_orphan(db, w, e) : rc;
    int reference = 0;
    rc = reference_in_force(db, w->endpoint_id, w->end_us, &reference, e);
    if (rc && rc != E_NOTFOUND)
        return rc;
    struct slot_summary sum;
    rc = summarise_slots(db, w, reference, &sum, e);
    if (rc)
        return rc;
    if ((sum.mixed || s->needs_rows) && close_lake_behind(s, c, w)) {
        b->did.waiting++;
        return OK;
    }
    struct window known = {0};
    rc = pending_take(db, w, &known, e);
    CRASH_POINT(close_take);
    if (rc)
        return rc == E_NOTFOUND ? OK : rc; /* another leader was first */
    int64_t late = 0;
    switch (judge(c, s, w, &known, &sum, reference, &late)) {
    case NOTHING_NEW:
        return OK;
    case TOO_LATE:
        b->did.late_rows += late;
        return window_add_late(db, &known, late, e);
    case CLOSE:
        break;
    }
    return put_revision(c, db, b, s, w, &known, &sum, reference, ep, e);
}

static void count(const struct batch *b, struct tick_report *r)
{
    const struct tick_report *d = &b->did;
    metric_add(metrics_at(&controller_metrics, M_WINDOWS, WINDOW_FIRST, 0), d->closed - d->revisions);
    metric_add(metrics_at(&controller_metrics, M_WINDOWS, WINDOW_REVISION, 0), d->revisions);
    metric_add(metrics_at(&controller_metrics, M_WINDOWS, WINDOW_SILENT, 0), d->silent);
    metric_add(metrics_at(&controller_metrics, M_LATE_ROWS, 0, 0), d->late_rows);
    metric_add(metrics_at(&controller_metrics, M_EVENTS, 0, 0), d->events);
    r->closed += d->closed;
    r->revisions += d->revisions;
    r->silent += d->silent;
    r->late_rows += d->late_rows;
    r->events += d->events;
    r->waiting += d->waiting;
}

/* Due still, seen from inside the transaction: the frontier goes back when a topic gets new partitions. */
static bool still_due(const struct closer *c, const struct pending_window *w, const struct close_scope *s)
{
    return last_touched(s, w) + c->opts->lateness_us <= s->frontier_us;
}

static rc_t fill_batch(struct closer *c, struct db *db, struct batch *b, const struct close_scope *s,
                       const struct pending_window *w, size_t n, struct err *e)
{
    int64_t frontier = 0;
    rc_t rc = ledger_frontier(db, s->project->id, PIPELINE_STATISTICS, true, &frontier, e);
    struct close_scope now = *s;
    now.frontier_us = frontier;
    for (size_t i = 0; !rc && i < n; i++)
        if (still_due(c, &w[i], &now))
            rc = close_window(c, db, b, &now, &w[i], e);
    if (!rc && b->n)
        rc = outbox_add(db, b->rows, b->n, e);
    if (b->n)
        CRASH_POINT(close_outbox);
    return rc;
}

static rc_t close_batch(struct closer *c, struct db *db, const struct close_scope *s, const struct pending_window *w,
                        size_t n, struct tick_report *r, struct err *e)
{
    rc_t rc = closer_days(c, db, w, n, e);
    if (rc)
        return rc;
    rc = db_begin(db, e);
    if (rc)
        return rc;
    struct batch b = {0};
    rc = fill_batch(c, db, &b, s, w, n, e);
    if (rc)
        db_rollback(db);
    else
        rc = db_commit(db, e);
    CRASH_POINT(close_commit);
    if (!rc)
        count(&b, r);
    mem_free(b.rows);
    arena_done(&b.mem);
    /* A lost answer to COMMIT needs no settling: pending rows that are still there are simply closed by the next tick. */
    return rc == E_UNKNOWN ? E_AGAIN : rc;
}

/* Each period is looked at once; after a start, or when many were missed, the newest of them again: that changes nothing. */
rc_t close_find_empty(struct closer *c, struct db *db, const struct close_scope *s, struct err *e)
{
    const struct str key = {(const char *)&s->project->id, sizeof s->project->id};
    int64_t period = s->project->base_period_us;
    int64_t end = time_floor(s->frontier_us - c->opts->lateness_us, period);
    int64_t *known = map_get(&c->empties, key);
    int64_t from = end - EMPTY_LOOK_BACK * period;
    if (!known) {
        known = mem_alloc(sizeof *known);
        map_put(&c->empties, key, known);
    } else if (*known > from) {
        from = time_floor(*known, period);
    }
    rc_t rc = OK;
    for (int64_t at = from; !rc && at < end; at += period)
        rc = pending_add_empty(db, s->project->id, at, at + period, at - c->opts->empty_reach_us, e);
    if (!rc)
        *known = end;
    return rc;
}

/* Moves those that may be closed now to the front. */
static rc_t learn_due(struct closer *c, struct db *db, const struct close_scope *s, struct pending_window *due,
                      size_t n, size_t *ret_ready, struct tick_report *r, struct err *e)
{
    rc_t rc = OK;
    size_t kept = 0;
    for (size_t i = 0; !rc && i < n; i++) {
        bool wait = false;
        rc = learn_reference(c, db, s, &due[i], &wait, e);
        r->waiting += wait;
        if (!wait)
            due[kept++] = due[i];
    }
    *ret_ready = kept;
    return rc;
}

rc_t close_project(struct closer *c, struct db *db, const struct close_scope *s, struct tick_report *r, bool *ret_more,
                   struct err *e)
{
    int64_t frontier = s->needs_rows && s->lake_us < s->frontier_us ? s->lake_us : s->frontier_us;
    size_t limit = (size_t)c->opts->close_batch;
    int64_t waiting = r->waiting;
    *ret_more = false;
    for (int64_t done = 0; done < c->opts->close_max;) {
        struct pending_window *due = NULL;
        CLEANUP(db_rows_freep) struct db_rows *held = NULL;
        size_t n = 0;
        rc_t rc = pending_due(db, s->project->id, frontier, c->opts->lateness_us, limit, &due, &n, &held, e);
        if (rc)
            return rc;
        r->waiting = waiting;
        size_t ready = 0;
        rc = learn_due(c, db, s, due, n, &ready, r, e);
        for (size_t at = 0; !rc && at < ready; at += (size_t)c->opts->close_batch) {
            size_t left = ready - at;
            size_t piece = left < (size_t)c->opts->close_batch ? left : (size_t)c->opts->close_batch;
            rc = close_batch(c, db, s, due + at, piece, r, e);
        }
        mem_free(due);
        if (rc)
            return rc;
        done += (int64_t)n;
        if (n < limit)
            return OK;
        if (r->waiting > waiting) /* those wait for the lake and come first again: look behind them */
            limit *= 2;
    }
    *ret_more = true;
    return OK;
}
