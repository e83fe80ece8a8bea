/* What deleted endpoints leave: rows, then files, both once more a while later.
 *
 * A file is an orphan when its flush has ended (the ledger is past its range) and the endpoint that has the uid now, if any,
 * has no such file. The ledger is read first: what is in the manifest for a range below it was there by then. */
#include "base/clock.h"
#include "base/mem.h"
#include "controller.h"
#include "db/lakefile.h"
#include "db/ledger.h"
#include "log/log.h"
#include "pipeline/pipeline.h"

#define POSTPONE_US (15 * USEC_PER_SEC) /* the lake is away, or a flush has not ended: others first */

struct owner {
    struct db *db;
    struct ledger_row *ledger;
    size_t n_ledger;
    int32_t project_id;
    int64_t endpoint_id; /* that has the uid now; 0: none */
};

static rc_t find_owner(struct owner *o, const struct deletion *d, struct err *e)
{
    struct project p = {0};
    struct endpoint ep = {0};
    rc_t rc = ledger_list(o->db, 0, PIPELINE_LAKE, &o->ledger, &o->n_ledger, e);
    if (rc)
        return rc;
    rc = project_get(o->db, str_of(d->project), &p, e);
    if (!rc)
        rc = endpoint_get(o->db, p.id, str_of(d->uid), &ep, e);
    if (!rc) {
        o->project_id = ep.project_id;
        o->endpoint_id = ep.id;
    }
    endpoint_done(&ep);
    project_done(&p);
    return rc == E_NOTFOUND ? OK : rc;
}

static bool has_ended(const struct owner *o, const struct lake_found *f)
{
    for (size_t i = 0; i < o->n_ledger; i++)
        if (o->ledger[i].partition == f->partition && str_eqz(f->topic, o->ledger[i].topic))
            return ledger_key(o->ledger[i].generation, o->ledger[i].next_offset) >= f->end_offset;
    return true; /* nobody writes there any more */
}

static rc_t fate_of(void *arg, const struct lake_found *f, enum lake_fate *ret, struct err *e)
{
    const struct owner *o = arg;
    bool has = false;
    rc_t rc = OK;
    if (f->named && !has_ended(o, f)) {
        *ret = LAKE_OPEN;
        return OK;
    }
    if (o->endpoint_id)
        rc = manifest_has(o->db, o->project_id, o->endpoint_id, f->hour_us, str_of(f->path), &has, e);
    if (!rc)
        *ret = has || (o->endpoint_id && !f->named) ? LAKE_KEPT : LAKE_ORPHAN;
    return rc;
}

static rc_t clear_files(struct deleted *at, const struct controller_options *opts, struct db *db, const struct deletion *d,
                        int64_t deadline_us, struct tick_report *r, bool *ret_more, struct err *e)
{
    struct owner o = {.db = db};
    if (at->files_of != d->endpoint_id) {
        at->files = (struct lake_clearing){{0}, 0, 0};
        at->files_of = d->endpoint_id;
    }
    int64_t before = at->files.files;
    rc_t rc = find_owner(&o, d, e);
    if (!rc && o.n_ledger) /* else no lake has ever run */
        rc = lake_clear(&at->files, opts->lake_dir, d->project, d->uid, deadline_us, fate_of, &o, ret_more, e);
    r->files_deleted += at->files.files - before;
    ledger_rows_free(o.ledger, o.n_ledger);
    if (rc || !*ret_more)
        at->files_of = 0;
    return rc;
}

/* Its step is done: what comes next, and when. */
static rc_t go_on(struct db *db, const struct deletion *d, int64_t again_us, struct tick_report *r, struct err *e)
{
    enum deletion_step next = d->step + 1;
    if (next == DELETION_END) {
        r->endpoints_cleared++;
        log_info("endpoint_cleared", LF_STR("project", d->project), LF_STR("endpoint", d->uid));
        return deletion_end(db, d->endpoint_id, e);
    }
    return deletion_set(db, d->endpoint_id, next, next == DELETION_LATE_ROWS ? d->deleted_us + again_us : clock_now_us(), e);
}

static rc_t clear_one(struct deleted *at, const struct controller_options *opts, struct db *db,
                      const struct deletion *d, int64_t deadline_us, struct tick_report *r, struct err *e)
{
    bool more = false, files = d->step == DELETION_FILES || d->step == DELETION_LATE_FILES;
    rc_t rc = OK;
    if (!files)
        rc = deletion_rows(db, d, &at->rows, deadline_us, &more, e);
    else if (opts->lake_dir && *opts->lake_dir)
        rc = clear_files(at, opts, db, d, deadline_us, r, &more, e);
    if (files && rc == E_AGAIN && db_alive(db)) {
        log_warn("endpoint_files", LF_STR("project", d->project), LF_STR("endpoint", d->uid), LF_ERR(e));
        return deletion_set(db, d->endpoint_id, d->step, clock_now_us() + POSTPONE_US, e);
    }
    if (rc || more)
        return rc;
    if (d->step == DELETION_LATE_FILES && at->files.open)
        return deletion_set(db, d->endpoint_id, d->step, clock_now_us() + POSTPONE_US, e);
    return go_on(db, d, opts->deleted_again_us, r, e);
}

rc_t deleted_clear(struct deleted *at, const struct controller_options *opts, struct db *db, int64_t deadline_us,
                   struct tick_report *r, bool *ret_again, struct err *e)
{
    rc_t rc = OK;
    while (!rc && clock_mono_us() < deadline_us) {
        struct deletion d = {0};
        rc = deletion_next(db, clock_now_us(), &d, e);
        if (rc == E_NOTFOUND)
            return OK;
        if (!rc)
            rc = clear_one(at, opts, db, &d, deadline_us, r, e);
        deletion_done(&d);
    }
    *ret_again = !rc;
    return rc;
}
