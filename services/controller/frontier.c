/* Frontiers that stand still: a partition without an owner holds its project's windows open, and /readyz names it. */
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "controller.h"
#include "db/ledger.h"
#include "log/log.h"
#include "pipeline/pipeline.h"

#define STILL_US (10 * USEC_PER_SEC)
#define TOLD_MAX 5 /* projects named; the others are counted */

struct standing {
    int64_t frontier_us, since_us /* monotonic */, round;
};

static struct str key_of(const int32_t *id)
{
    return (struct str){(const char *)id, sizeof *id};
}

void frontiers_begin(struct frontiers *f)
{
    buf_clear(&f->words);
    f->n_still = f->n_failed = 0;
    f->round++;
}

static bool tell(struct frontiers *f, const struct project *p)
{
    if (f->n_still + f->n_failed > TOLD_MAX)
        return false;
    buf_addf(&f->words, "%sproject %s: ", f->words.len ? "; " : "", p->name);
    return true;
}

static void tell_row(struct frontiers *f, const struct ledger_row *r)
{
    double silent = (double)(clock_now_us() - r->updated_us) / (double)USEC_PER_SEC;
    buf_addf(&f->words, "partition %d of %s ", (int)r->partition, r->topic);
    if (strcmp(r->pipeline, PIPELINE_STATISTICS) != 0)
        buf_addf(&f->words, "(%s) ", r->pipeline);
    if (r->owner_epoch == 0)
        buf_addz(&f->words, "has no owner");
    else if (clock_now_us() - r->updated_us > STILL_US)
        buf_addf(&f->words, "has no owner that moves it (last heard of %.0f s ago)", silent);
    else
        buf_addz(&f->words, "lags behind");
}

static rc_t tell_why(struct frontiers *f, struct db *db, const struct project *p, struct err *e)
{
    struct ledger_row row = {0};
    if (!tell(f, p))
        return OK;
    rc_t rc = ledger_slowest(db, p->id, PIPELINE_STATISTICS, &row, e);
    if (rc == OK)
        tell_row(f, &row);
    else if (rc == E_NOTFOUND)
        buf_addz(&f->words, "no partition of its stream is known yet: is the stream service up?");
    ledger_row_done(&row);
    return rc == E_NOTFOUND ? OK : rc;
}

rc_t frontiers_note(struct frontiers *f, struct db *db, const struct project *p, int64_t frontier_us, struct err *e)
{
    struct standing *s = map_get(&f->projects, key_of(&p->id));
    if (!s) {
        s = mem_alloc(sizeof *s);
        map_put(&f->projects, key_of(&p->id), s);
        s->since_us = clock_mono_us();
    }
    if (s->frontier_us != frontier_us)
        s->since_us = clock_mono_us();
    s->frontier_us = frontier_us;
    s->round = f->round;
    if (clock_mono_us() - s->since_us <= STILL_US)
        return OK;
    f->n_still++;
    return tell_why(f, db, p, e);
}

void frontiers_failed(struct frontiers *f, const struct project *p, rc_t rc, const struct err *e)
{
    f->n_failed++;
    log_warn("tick_project", LF_STR("project", p->name), LF_STR("rc", rc_name(rc)), LF_ERR(e));
    if (tell(f, p))
        buf_addf(&f->words, "%.120s", e->text);
}

/* Projects that were not looked at this time are gone, or no longer monitored. */
static void forget_others(struct frontiers *f)
{
    for (bool found = true; found;) {
        struct map_iter it = {0};
        found = false;
        while (!found && map_next(&f->projects, &it))
            found = ((const struct standing *)it.value)->round != f->round;
        if (found) {
            int32_t id;
            memcpy(&id, it.key.p, sizeof id);
            mem_free(map_del(&f->projects, key_of(&id)));
        }
    }
}

void frontiers_end(struct frontiers *f, struct health_dep *health)
{
    size_t all = f->n_still + f->n_failed;
    forget_others(f);
    if (all > TOLD_MAX)
        buf_addf(&f->words, "; and %zu more", all - TOLD_MAX);
    if (all)
        health_set(health, HEALTH_DEGRADED, "windows stay open: %s", f->words.data);
    else
        health_set(health, HEALTH_OK, "%s", "");
}

void frontiers_done(struct frontiers *f)
{
    for (struct map_iter it = {0}; map_next(&f->projects, &it);)
        mem_free(it.value);
    map_done(&f->projects);
    buf_done(&f->words);
    *f = (struct frontiers){0};
}
