/* What keeps the tables small and whole: the sweep for rows no revision used, folding of quiet windows, day partitions
 * ahead of time, retention, what deleted endpoints leave (deleted.c). Each run does a bounded piece of what is due. */
#include "controller.h"
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/clock.h"
#include "base/crash.h"
#include "base/mem.h"
#include "base/time.h"
#include "db/audit.h"
#include "db/lakefile.h"
#include "db/window.h"
#include "lake/expire.h"
#include "log/log.h"
#include "stats/slot.h"

#define SWEEP_REACH_US (24 * INT64_C(3600) * USEC_PER_SEC) /* windows closed longer ago were swept often enough */
#define SWEEP_GRACE_US (10 * USEC_PER_SEC)                 /* their rows may be in a transaction that just commits */
#define FOLD_EVERY_US (10 * USEC_PER_SEC)
#define FOLD_BUDGET_US (200 * USEC_PER_MSEC)
#define AGAIN_US USEC_PER_SEC
#define DAYS_EVERY_US (600 * USEC_PER_SEC)
#define DAYS_AHEAD 2
#define LAKE_BUDGET_US (100 * USEC_PER_MSEC)
#define DELETED_EVERY_US USEC_PER_SEC
#define DELETED_BUDGET_US (200 * USEC_PER_MSEC)
#define RETENTION_EVERY_US (3600 * USEC_PER_SEC)
#define RETRY_US (15 * USEC_PER_SEC)
#define FOLDED_TOPIC "folded"

struct chore_run {
    const struct controller_options *opts;
    struct db *db;
    const struct project *projects;
    size_t n;
    struct tick_report *r;
    bool swept;  /* before */
    bool *again; /* a piece is left: soon again */
    struct lake_expiry *lake;
    struct deleted *deleted;
};

/* ---- sweep ---- */
static rc_t sweep(const struct chore_run *run, struct err *e)
{
    int64_t now = clock_now_us();
    int64_t reach = run->swept ? 3 * run->opts->sweep_us : SWEEP_REACH_US;
    for (size_t i = 0; i < run->n; i++) {
        int64_t found = 0;
        rc_t rc = windows_sweep(run->db, run->projects[i].id, now - reach - SWEEP_GRACE_US, now - SWEEP_GRACE_US, now,
                                &found, e);
        if (rc)
            return rc;
        if (found)
            log_warn("sweep", LF_STR("project", run->projects[i].name), LF_I64("windows", found));
        run->r->swept += found;
    }
    return OK;
}

/* ---- folding ---- */
static int compare_slots(const void *a, const void *b)
{
    const struct slot_row *x = a, *y = b;
    if (x->slot_start_us != y->slot_start_us)
        return x->slot_start_us < y->slot_start_us ? -1 : 1;
    if (x->slot_us != y->slot_us) /* the base period was changed meanwhile */
        return x->slot_us < y->slot_us ? -1 : 1;
    if (x->schema_version != y->schema_version)
        return x->schema_version < y->schema_version ? -1 : 1;
    if (x->reference_version != y->reference_version)
        return x->reference_version < y->reference_version ? -1 : 1;
    size_t n = x->topic.n < y->topic.n ? x->topic.n : y->topic.n;
    int by_topic = n ? memcmp(x->topic.p, y->topic.p, n) : 0;
    if (by_topic || x->topic.n != y->topic.n)
        return by_topic ? by_topic : x->topic.n < y->topic.n ? -1 : 1;
    if (x->partition != y->partition)
        return x->partition < y->partition ? -1 : 1;
    return x->flush_offset < y->flush_offset ? -1 : x->flush_offset > y->flush_offset;
}

static bool same_slot(const struct slot_row *a, const struct slot_row *b)
{
    return a->slot_start_us == b->slot_start_us && a->slot_us == b->slot_us && a->schema_version == b->schema_version &&
           a->reference_version == b->reference_version;
}

/* rows[0..n) are of one slot and version. body owns what *ret borrows. */
static rc_t fold_slot(const struct slot_row *rows, size_t n, struct buf *body, struct slot_row *ret, struct err *e)
{
    CLEANUP(slot_freep) struct slot *sum = NULL;
    rc_t rc = slot_decode(&sum, rows[0].body, e);
    struct slot_row out = rows[0];
    for (size_t i = 1; !rc && i < n; i++) {
        rc = slot_add_blob(sum, rows[i].body, e);
        out.requests += rows[i].requests;
        out.rows += rows[i].rows;
        out.errors += rows[i].errors;
        out.estimated += rows[i].estimated;
        if (rows[i].flush_offset > out.flush_offset)
            out.flush_offset = rows[i].flush_offset;
    }
    if (rc)
        return rc;
    slot_encode(sum, body);
    out.format = SLOT_FORMAT;
    out.body = buf_str(body);
    out.topic = STR(FOLDED_TOPIC);
    out.partition = 0;
    *ret = out;
    return OK;
}

struct folding {
    struct slot_row *read, *folded; /* read: only rows of slots that have more than one */
    struct buf *bodies;
    size_t n_read, n_folded;
};

static rc_t fold_rows(struct slot_row *rows, size_t n, struct folding *f, struct err *e)
{
    qsort(rows, n, sizeof *rows, compare_slots);
    for (size_t at = 0, end; at < n; at = end) {
        for (end = at + 1; end < n && same_slot(&rows[at], &rows[end]); end++)
            ;
        if (end - at < 2)
            continue;
        rc_t rc = fold_slot(rows + at, end - at, &f->bodies[f->n_folded], &f->folded[f->n_folded], e);
        if (rc)
            return rc;
        f->n_folded++;
        for (size_t i = at; i < end; i++)
            f->read[f->n_read++] = rows[i];
    }
    return OK;
}

static rc_t fold_window(struct db *db, const struct window *w, struct err *e)
{
    struct slot_row *rows = NULL;
    CLEANUP(db_rows_freep) struct db_rows *held = NULL;
    size_t n = 0;
    rc_t rc = slots_read(db, w->project_id, w->endpoint_id, w->start_us, w->end_us, &rows, &n, &held, e);
    if (rc)
        return rc;
    struct folding f = {.read = mem_array(n + 1, sizeof *f.read),
                        .folded = mem_array(n + 1, sizeof *f.folded),
                        .bodies = mem_array(n + 1, sizeof *f.bodies)};
    rc = fold_rows(rows, n, &f, e);
    if (rc == E_INVALID) { /* blobs that do not fit each other are left as they are; readers say so too */
        log_error("fold", LF_I64("endpoint_id", w->endpoint_id), LF_I64("start_us", w->start_us), LF_ERR(e));
        rc = OK;
    } else if (!rc && f.n_folded) {
        rc = slots_fold(db, f.read, f.n_read, f.folded, f.n_folded, e);
        CRASH_POINT(fold_write);
    }
    for (size_t i = 0; i < n; i++)
        buf_done(&f.bodies[i]);
    mem_free(f.bodies);
    mem_free(f.folded);
    mem_free(f.read);
    mem_free(rows);
    if (rc == E_CONFLICT) /* another leader was first, or rows were dropped: look again next time */
        return OK;
    return rc ? rc : window_set_folded(db, w, e);
}

static rc_t fold(const struct chore_run *run, struct err *e)
{
    int64_t before = clock_now_us() - run->opts->fold_after_us, left = run->opts->fold_max;
    int64_t deadline = clock_mono_us() + FOLD_BUDGET_US; /* closing must not wait for it */
    for (size_t i = 0; i < run->n && left > 0; i++) {
        struct window *w = NULL;
        size_t n = 0, k = 0;
        rc_t rc = windows_unfolded(run->db, run->projects[i].id, before, (size_t)left, &w, &n, e);
        for (; !rc && k < n && clock_mono_us() < deadline; k++, left--)
            rc = fold_window(run->db, &w[k], e);
        mem_free(w);
        if (rc)
            return rc;
        run->r->folded += (int64_t)k;
        if (k < n || left == 0) {
            *run->again = true;
            return OK;
        }
    }
    return OK;
}

/* ---- days ---- */
static rc_t make_days(const struct chore_run *run, struct err *e)
{
    int64_t days[DAYS_AHEAD + 1];
    for (int i = 0; i <= DAYS_AHEAD; i++)
        days[i] = time_floor(clock_now_us(), USEC_PER_DAY) + i * USEC_PER_DAY;
    return db_days_ensure(run->db, days, DAYS_AHEAD + 1, e);
}

static rc_t drop_days(const struct chore_run *run, struct err *e)
{
    const struct controller_options *o = run->opts;
    const struct {
        const char *table;
        int64_t keep_us;
        db_needed_fn *needed; /* rows of windows that somebody will still read */
    } rows[] = {
        {"slots", o->retention_slots_us, windows_needed_from},
        {"manifest", o->retention_lake_us, windows_needed_from},
        {"windows", o->retention_results_us, windows_needed_from},
        {"results", o->retention_results_us, NULL},
        {"app_statistics", o->retention_results_us, NULL},
        {"dead_letters", o->retention_dead_letters_us, NULL},
        {"labels", o->retention_results_us, NULL},
    };
    rc_t rc = OK;
    for (size_t i = 0; !rc && i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].keep_us == 0)
            continue;
        int64_t cutoff = clock_now_us() - rows[i].keep_us;
        int dropped = 0;
        rc = db_days_drop_but(run->db, rows[i].table, cutoff, rows[i].needed, &dropped, e);
        if (!rc && dropped)
            log_info("retention", LF_STR("table", rows[i].table), LF_I64("days", dropped));
        run->r->days_dropped += dropped;
    }
    return rc;
}

static rc_t expire_audit(const struct chore_run *run, struct err *e)
{
    int64_t n = 0;
    if (run->opts->retention_audit_us == 0)
        return OK;
    rc_t rc = audit_expire(run->db, clock_now_us() - run->opts->retention_audit_us, &n, e);
    if (n)
        log_info("retention", LF_STR("table", "audit_log"), LF_I64("rows", n));
    *run->again = rc == OK && n == AUDIT_EXPIRE_MAX;
    return rc;
}

/* ---- the lake ---- */
/* A day that still has rows in the manifest keeps its files: they are asked for, whatever their age. */
static rc_t day_has_rows(void *arg, int64_t day_us, bool *ret, struct err *e)
{
    return manifest_has_rows(arg, day_us, day_us + USEC_PER_DAY, ret, e);
}

static rc_t expire_lake(const struct chore_run *run, struct err *e)
{
    const struct controller_options *o = run->opts;
    if (o->retention_lake_us == 0 || !o->lake_dir || !*o->lake_dir)
        return OK;
    int64_t files = 0;
    bool more = false;
    rc_t rc = lake_expire(run->lake, o->lake_dir, clock_now_us() - o->retention_lake_us,
                          clock_mono_us() + LAKE_BUDGET_US, day_has_rows, run->db, &files, &more, e);
    if (files)
        log_info("retention", LF_STR("table", "lake"), LF_I64("files", files));
    run->r->files_deleted += files;
    *run->again = more;
    return rc;
}

/* ---- deleted endpoints ---- */
static rc_t clear_deleted(const struct chore_run *run, struct err *e)
{
    return deleted_clear(run->deleted, run->opts, run->db, clock_mono_us() + DELETED_BUDGET_US, run->r, run->again, e);
}

rc_t chores_run(struct chores *ch, const struct controller_options *opts, struct closer *closer, struct db *db,
                const struct project *projects, size_t n, struct tick_report *r, struct err *e)
{
    bool again = false;
    const struct chore_run run = {opts, db, projects, n, r, ch->swept, &again, &ch->lake, &ch->deleted};
    const struct {
        const char *name;
        rc_t (*fn)(const struct chore_run *run, struct err *e);
        int64_t *next_us, every_us;
    } rows[] = {
        {"days", make_days, &ch->next_days_us, DAYS_EVERY_US},
        {"sweep", sweep, &ch->next_sweep_us, opts->sweep_us},
        {"fold", fold, &ch->next_fold_us, FOLD_EVERY_US},
        {"retention", drop_days, &ch->next_retention_us, RETENTION_EVERY_US},
        {"audit", expire_audit, &ch->next_audit_us, RETENTION_EVERY_US},
        {"lake", expire_lake, &ch->next_lake_us, RETENTION_EVERY_US},
        {"deleted", clear_deleted, &ch->next_deleted_us, DELETED_EVERY_US},
    };
    const struct tick_report before = *r;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (clock_mono_us() < *rows[i].next_us)
            continue;
        again = false;
        rc_t rc = rows[i].fn(&run, e);
        *rows[i].next_us = clock_mono_us() + (rc ? RETRY_US : again ? AGAIN_US : rows[i].every_us);
        ch->swept = ch->swept || (rows[i].fn == sweep && rc == OK);
        if (rc) /* one that fails keeps neither the others nor the closing of windows from their turn */
            log_warn("chore", LF_STR("chore", rows[i].name), LF_STR("rc", rc_name(rc)), LF_ERR(e));
    }
    if (r->days_dropped > before.days_dropped)
        closer_forget_days(closer);
    metric_add(metrics_at(&controller_metrics, M_CHORES, CHORE_SWEPT, 0), r->swept - before.swept);
    metric_add(metrics_at(&controller_metrics, M_CHORES, CHORE_FOLDED, 0), r->folded - before.folded);
    metric_add(metrics_at(&controller_metrics, M_CHORES, CHORE_DAYS_DROPPED, 0), r->days_dropped - before.days_dropped);
    metric_add(metrics_at(&controller_metrics, M_CHORES, CHORE_FILES_DELETED, 0), r->files_deleted - before.files_deleted);
    metric_add(metrics_at(&controller_metrics, M_CHORES, CHORE_ENDPOINTS_CLEARED, 0),
               r->endpoints_cleared - before.endpoints_cleared);
    return OK;
}
