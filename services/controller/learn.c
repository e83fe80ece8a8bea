/* References of endpoints that have none: made of their first rows when the window closes by whose end there are enough. All
 * rows before a closing window's end have been handled, so the same rows are the first ones whenever that is. */
#include "app/first_rows.h"
#include "base/clock.h"
#include "base/mem.h"
#include "controller.h"
#include "log/log.h"

#define BUDGET_US (500 * USEC_PER_MSEC)  /* of a tick: many endpoints may be due at once */
#define AGAIN_US (60 * USEC_PER_SEC)     /* what could not be read is not asked for at each window */
#define FAILED_MAX 10000u                /* endpoints */
#define LAKE_MEMORY (INT64_C(256) << 20) /* of the reader */

int64_t learn_rows(const struct closer *c, const struct project *p)
{
    int64_t n = p->reference_auto ? p->reference_auto : c->opts->reference_auto;
    return n > 0 && *c->opts->lake_dir ? n : 0;
}

void learn_begin(struct closer *c)
{
    c->learn_until_us = clock_mono_us() + BUDGET_US;
}

void learn_done(struct closer *c)
{
    for (struct map_iter it = {0}; map_next(&c->failed, &it);)
        mem_free(it.value);
    map_done(&c->failed);
    c->failed = (struct map){0};
    lake_reader_free(c->reader);
    c->reader = NULL;
}

static bool failed_lately(const struct closer *c, int64_t endpoint_id)
{
    const int64_t *until = map_get(&c->failed, (struct str){(const char *)&endpoint_id, sizeof endpoint_id});
    return until && clock_mono_us() < *until;
}

static void note_failure(struct closer *c, const struct endpoint *ep, rc_t rc, const struct err *e)
{
    struct map old = c->failed;
    if (old.len > FAILED_MAX) {
        c->failed = (struct map){0};
        for (struct map_iter it = {0}; map_next(&old, &it);)
            mem_free(it.value);
        map_done(&old);
    }
    int64_t *until = mem_alloc(sizeof *until);
    *until = clock_mono_us() + AGAIN_US;
    mem_free(map_put(&c->failed, (struct str){(const char *)&ep->id, sizeof ep->id}, until));
    metric_add(metrics_at(&controller_metrics, M_REFERENCES, REFERENCE_FAILED, 0), 1);
    log_warn("reference_auto", LF_STR("endpoint", ep->uid), LF_STR("rc", rc_name(rc)), LF_ERR(e));
}

/* A lake that cannot be read costs the reference, not the window: what is closed without one now is looked at again then. */
static rc_t make_reference(struct closer *c, struct db *db, const struct endpoint *ep, int64_t n, int64_t end_us,
                           struct err *e)
{
    const struct lake_config cfg = {.root = c->opts->lake_dir, .memory_bytes = LAKE_MEMORY};
    struct first_rows first = {0};
    rc_t rc = c->reader ? OK : lake_reader_open(&c->reader, &cfg, e);
    if (!rc)
        rc = first_rows_read(c->reader, db, ep, n, end_us, &first, e);
    if (rc == E_NOTFOUND) /* rows that are so new that the lake has not all: they make their window pending once more */
        return OK;
    if (rc) {
        bool ours = db_alive(db);
        if (ours)
            note_failure(c, ep, rc, e);
        return ours ? OK : rc;
    }
    rc = reference_put_first(db, ep->project_id, ep->id, buf_str(&first.statistics), buf_str(&first.labels),
                             first.until_us, e);
    if (!rc) {
        metric_add(metrics_at(&controller_metrics, M_REFERENCES, REFERENCE_MADE, 0), 1);
        log_info("reference_auto", LF_STR("endpoint", ep->uid), LF_I64("rows", first.rows));
    }
    first_rows_done(&first);
    return rc == E_CONFLICT ? OK : rc;
}

rc_t learn_reference(struct closer *c, struct db *db, const struct close_scope *s, const struct pending_window *w,
                     bool *ret_wait, struct err *e)
{
    int64_t n = learn_rows(c, s->project), rows = 0;
    const struct endpoint *ep = NULL;
    *ret_wait = false;
    if (n == 0 || s->lake_us == INT64_MAX)
        return OK;
    rc_t rc = closer_endpoint(c, db, w->endpoint_id, &ep, e);
    if (rc || ep->reference_version || ep->schema_version == 0 || failed_lately(c, ep->id))
        return rc == E_NOTFOUND ? OK : rc;
    *ret_wait = clock_mono_us() > c->learn_until_us;
    if (*ret_wait)
        return OK;
    rc = slots_rows_until(db, w->project_id, w->endpoint_id, w->end_us, &rows, e);
    if (rc || rows < n)
        return rc;
    *ret_wait = close_lake_behind(s, c, w);
    if (*ret_wait)
        return OK;
    int version = 0;
    rc = reference_in_force(db, w->endpoint_id, INT64_MAX, &version, e);
    return rc || version ? rc : make_reference(c, db, ep, n, w->end_us, e);
}
