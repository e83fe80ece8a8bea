/* The thread of a pipeline: topics, assignment, records, flushes, back-off.
 *
 *   poll ─▶ RECORD ─▶ handle ─▶ due? ─▶ flush ─┐
 *    ▲      ASSIGNED ─▶ claim ─▶ start         │ E_AGAIN
 *    └──────────── stalled: paused, still polling ◀┘   (the same record, the same flush come again after a back-off)
 */
#include <stdio.h>
#include <unistd.h>
#include "pipeline/internal.h"
#include "base/crash.h"
#include "db/ledger.h"
#include "log/log.h"
#include "metrics/metrics.h"

enum { M_RECORDS, M_FORMER, M_FLUSHES, M_FLUSH_SECONDS, M_STALLS, M_STOPPED, M_LAG, M_ROWS };
#define BY_PIPELINE                                                                                                    \
    {                                                                                                                  \
        {                                                                                                              \
            .name = "pipeline", .cap = 64                                                                              \
        }                                                                                                              \
    }
static const struct metric_row rows[M_ROWS] = {
    [M_RECORDS] = {.name = "modelmon_pipeline_records_total",
                   .kind = METRIC_COUNTER,
                   .labels = BY_PIPELINE,
                   .help = "Records handled, warm-up after an assignment not counted."},
    [M_FORMER] = {.name = "modelmon_pipeline_former_records_total",
                  .kind = METRIC_COUNTER,
                  .labels = BY_PIPELINE,
                  .help = "Records without effect: older than their project, of a deleted one of the same name."},
    [M_FLUSHES] = {.name = "modelmon_pipeline_flushes_total",
                   .kind = METRIC_COUNTER,
                   .labels = BY_PIPELINE,
                   .help =
                       "Flushes committed that moved a position: with lag and none of these a pipeline stands still."},
    [M_FLUSH_SECONDS] = {.name = "modelmon_pipeline_flush_seconds",
                         .kind = METRIC_HISTOGRAM,
                         .labels = BY_PIPELINE,
                         .help = "Time of a flush, failed ones too."},
    [M_STALLS] = {.name = "modelmon_pipeline_stalls_total",
                  .kind = METRIC_COUNTER,
                  .labels = BY_PIPELINE,
                  .help = "Back-offs because something needed was down. Growing: see /readyz for what."},
    [M_STOPPED] = {.name = "modelmon_pipeline_stopped_partitions",
                   .kind = METRIC_GAUGE,
                   .labels = BY_PIPELINE,
                   .help = "Partitions that stand still until an operator decides: their log was replaced, or what was "
                           "next deleted."},
    [M_LAG] =
        {.name = "modelmon_pipeline_lag_records",
         .kind = METRIC_GAUGE,
         .labels = BY_PIPELINE,
         .help = "Records in the partitions owned here that have not had their effect yet; stopped ones not counted."},
};
static struct metric_set metrics = METRIC_SET(rows);

#define POLL_US (100 * USEC_PER_MSEC)
#define RUN_MAX 256 /* records between two looks at the clock */
#define RUN_LOOK 16 /* … and between two questions whether a flush is due */
#define REVOKE_US (5 * USEC_PER_SEC)
#define TOPIC_RECHECK_US (60 * USEC_PER_SEC)

/* Stalled for good: nothing is handled or flushed until the thread has ended. */
static void fail(struct pipeline *p, const struct err *e)
{
    log_event(LOG_ERROR, "pipeline_failed", LF_STR("pipeline", p->cfg.name), LF_ERR(e));
    (void)snprintf(p->fault, sizeof p->fault, "%s", e->text);
    p->failed = true;
    p->stalled_until_us = INT64_MAX;
}

void pipeline_done(struct pipeline *p, struct part *part, bool committed)
{
    part->taken = 0;
    p->cfg.ops->done(p->cfg.self, &part->pub, committed);
    dead_letters_done(p->dead, &part->pub);
}

static void pause_all(struct pipeline *p, bool paused)
{
    if (p->paused == paused || p->n_parts == 0)
        return;
    struct bus_partition *at = mem_array(p->n_parts, sizeof *at);
    size_t n = 0;
    for (size_t i = 0; i < p->n_parts; i++)
        if (!p->parts[i]->lost)
            at[n++] = (struct bus_partition){p->parts[i]->pub.topic, p->parts[i]->pub.partition, 0};
    struct err e;
    if (bus_consumer_pause(p->bus, at, n, paused, &e) == OK)
        p->paused = paused;
    mem_free(at);
}

void pipeline_stall(struct pipeline *p, const char *what, const struct err *e)
{
    p->stall_us = p->stall_us ? p->stall_us * 2 : STALL_MIN_US;
    if (p->stall_us > STALL_MAX_US)
        p->stall_us = STALL_MAX_US;
    int64_t jitter = (int64_t)((uint64_t)clock_mono_us() * 2654435761u % (uint64_t)(p->stall_us / 4 + 1));
    p->stalled_until_us = clock_mono_us() + p->stall_us - jitter;
    (void)snprintf(p->fault, sizeof p->fault, "%s: %s", what, e->text);
    health_set(p->health, HEALTH_DEGRADED, "%s", p->fault);
    log_event(LOG_WARN, "stalled", LF_STR("pipeline", p->cfg.name), LF_STR("error", p->fault),
              LF_I64("retry_ms", p->stall_us / USEC_PER_MSEC));
    metric_add(p->seen.stalls, 1);
    pause_all(p, true);
}

static void say_health(struct pipeline *p)
{
    const struct part *lost = NULL;
    size_t n = 0;
    for (size_t i = 0; i < p->n_parts; i++) {
        const struct part *part = p->parts[i];
        n += part->stopped != NULL;
        if (part->lost && (!lost || (part->stopped && !lost->stopped)))
            lost = part;
    }
    metric_set(p->seen.stopped, (double)n);
    if (!lost)
        health_set(p->health, HEALTH_OK, "%s", "");
    else if (!lost->stopped)
        health_set(p->health, HEALTH_DOWN, "fenced: another owns %s/%d now", lost->pub.topic, lost->pub.partition);
    else
        health_set(p->health,
                   HEALTH_DOWN, "%s: %zu stopped, %s/%d: %s. `modelmon ledger show` says more, `modelmon ledger skip %s %s %d --to low` goes on",
                   lost->stopped, n, lost->pub.topic, lost->pub.partition, lost->words, p->cfg.name, lost->pub.topic,
                   lost->pub.partition);
}

void pipeline_clear_stall(struct pipeline *p)
{
    bool was = p->stall_us != 0;
    p->stall_us = p->stalled_until_us = 0;
    if (was || p->fault[0])
        log_event(LOG_INFO, "resumed", LF_STR("pipeline", p->cfg.name));
    p->fault[0] = '\0';
    say_health(p);
}

/* ---- records ---- */

/* W3C: 00-<32 hex>-<16 hex>-<2 hex>. A header may hold any bytes; what is no trace context is nothing. */
static struct str trace_context(struct str s)
{
    static const char shape[] = "xx-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx-xxxxxxxxxxxxxxxx-xx";
    if (s.n != sizeof shape - 1)
        return (struct str){0};
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (shape[i] == '-' ? c != '-' : !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return (struct str){0};
    }
    return s;
}

static rc_t handle(struct pipeline *p, struct part *part, int64_t offset, int64_t timestamp_us, struct str key,
                   struct str value, struct str traceparent, struct err *e)
{
    if (offset < part->pub.position)
        return OK; /* had before: a seek or a resume went back */
    struct pipeline_record r = {.part = &part->pub,
                                .offset = offset,
                                .timestamp_us = timestamp_us,
                                .key = key,
                                .value = value,
                                .traceparent = trace_context(traceparent),
                                .warmup = offset < part->pub.next_offset};
    bool is_former = timestamp_us >= 0 && timestamp_us < part->since_us;
    bool is_refused = !is_former && poison_refuse(p, part, &r);
    rc_t rc = is_former || is_refused ? OK : p->cfg.ops->record(p->cfg.self, &r, e);
    if (rc == E_INVALID && r.warmup) /* refused in its time, or by a rule of today: nothing of it is to be remembered */
        rc = OK;
    if (rc == OK) {
        part->pub.position = offset + 1;
        part->taken += !r.warmup && !is_refused && !is_former;
        part->last_taken = offset;
        if (part->next.offset < 0)
            part_marks(part, offset, timestamp_us, key, value);
        p->dirty = p->dirty || !r.warmup;
        metric_add(p->seen.records, !r.warmup);
        metric_add(p->seen.former, !r.warmup && is_former);
        part_reached(part);
        p->at_limit = p->at_limit || is_refused || (part->limit >= 0 && part->pub.position >= part->limit) ||
                      poison_step(p);
    }
    return rc;
}

static void keep(struct pipeline *p, struct part *part, const struct bus_event *ev)
{
    struct kept *k = mem_alloc(sizeof *k + ev->key.n + ev->value.n + ev->traceparent.n + 1);
    char *at = k->data;
    struct {
        const struct str *from;
        struct str *to;
    } copies[] = {{&ev->key, &k->key}, {&ev->value, &k->value}, {&ev->traceparent, &k->traceparent}};
    for (size_t i = 0; i < sizeof copies / sizeof *copies; i++) {
        if (!copies[i].from->p)
            continue;
        memcpy(at, copies[i].from->p, copies[i].from->n);
        *copies[i].to = (struct str){at, copies[i].from->n};
        at += copies[i].from->n;
    }
    k->part = part;
    k->offset = ev->offset;
    k->timestamp_us = ev->timestamp_us;
    *p->kept_end = k;
    p->kept_end = &k->next;
}

/* It lies behind what a replay covers, and nothing was there in between: that ends here, as the first attempt did. */
static bool past_limit(struct pipeline *p, struct part *part, int64_t offset)
{
    if (part->limit < 0 || offset < part->limit)
        return false;
    part->pub.position = part->limit;
    part_reached(part);
    return p->at_limit = true;
}

static void record_failed(struct pipeline *p, const struct part *part, int64_t offset, rc_t rc, const struct err *e)
{
    if (rc == E_AGAIN)
        pipeline_stall(p, "handling a record", e);
    else if (rc == E_INVALID)
        poison_found(p, part, offset, e);
    else if (rc)
        fail(p, e);
}

static void on_record(struct pipeline *p, const struct bus_event *ev)
{
    struct part *part = part_find(p, ev->topic, ev->partition);
    if (!part || part->lost)
        return; /* of an assignment that is over */
    if (p->stalled_until_us || p->kept_first || past_limit(p, part, ev->offset)) {
        keep(p, part, ev);
        return;
    }
    struct err e = {{0}};
    rc_t rc = handle(p, part, ev->offset, ev->timestamp_us, ev->key, ev->value, ev->traceparent, &e);
    if (rc == E_AGAIN)
        keep(p, part, ev);
    record_failed(p, part, ev->offset, rc, &e);
}

/* Of a flush: trying it again is of use soon. */
static bool may_pass(rc_t rc)
{
    return rc == E_AGAIN || rc == E_UNKNOWN;
}

static void try_flush(struct pipeline *p, struct err *e)
{
    int64_t began = clock_mono_us();
    bool more = true;
    rc_t rc = OK;
    while (rc == OK && more && !worker_stopping(&p->worker))
        rc = pipeline_flush(p, &more, e);
    p->at_limit = pipeline_limit_reached(p);
    metric_observe(p->seen.seconds, (double)(clock_mono_us() - began) * 1e-6);
    if (rc == OK) {
        p->dirty = more;
        pipeline_clear_stall(p);
    } else if (rc == E_FATAL || (rc == E_INVALID && !poison_search(p, e))) {
        fail(p, e);
    } else if (rc != E_INVALID) {
        pipeline_stall(p, "flushing", e);
    }
}

static rc_t handle_kept(struct pipeline *p, const struct kept *k, struct err *e)
{
    return k->part->lost ? OK : handle(p, k->part, k->offset, k->timestamp_us, k->key, k->value, k->traceparent, e);
}

/* What was kept, in order; a flush that is due in between. */
static void drain_kept(struct pipeline *p)
{
    struct err e = {{0}};
    while (p->kept_first && !p->stalled_until_us && !worker_stopping(&p->worker)) {
        struct kept *k = p->kept_first;
        if (!k->part->lost && past_limit(p, k->part, k->offset)) {
            try_flush(p, &e);
            continue;
        }
        rc_t rc = handle_kept(p, k, &e);
        if (rc) {
            record_failed(p, k->part, k->offset, rc, &e);
            return;
        }
        p->kept_first = k->next;
        if (!p->kept_first)
            p->kept_end = &p->kept_first;
        mem_free(k);
        if (p->at_limit || p->cfg.ops->due(p->cfg.self, clock_mono_us()))
            try_flush(p, &e);
    }
}

static void on_revoked(struct pipeline *p, bool lost)
{
    struct err e = {{0}};
    int64_t deadline = clock_mono_us() + REVOKE_US;
    rc_t rc = lost ? OK : E_AGAIN;
    while (may_pass(rc) && p->n_parts && !p->kept_first && clock_mono_us() < deadline) {
        bool more = true;
        for (rc = OK; rc == OK && more && clock_mono_us() < deadline;)
            rc = pipeline_flush(p, &more, &e);
        if (may_pass(rc))
            clock_sleep_us(200 * USEC_PER_MSEC);
    }
    if (rc == E_FATAL)
        fail(p, &e);
    log_event(LOG_INFO, "released", LF_STR("pipeline", p->cfg.name), LF_I64("partitions", (int64_t)p->n_parts),
              LF_BOOL("lost", lost));
    parts_drop(p);
    metric_set(p->seen.lag, 0); /* another's from now on */
    p->paused = false;
    p->stall_us = p->stalled_until_us = 0;
    CRASH_POINT(release);
    if (bus_consumer_release(p->bus, &e))
        log_event(LOG_WARN, "release_failed", LF_STR("pipeline", p->cfg.name), LF_ERR(&e));
}

/* Ends that were told: everything below has been delivered, transaction markers that no consumer sees too. */
static void apply_ends(struct pipeline *p)
{
    for (size_t i = 0; i < p->n_parts && !p->kept_first && !p->unsettled; i++) {
        struct part *part = p->parts[i];
        if (part->end <= part->pub.position || part->lost)
            continue;
        part->pub.position = part->limit >= 0 && part->end > part->limit ? part->limit : part->end;
        p->at_limit = p->at_limit || part->pub.position == part->limit;
        part_reached(part);
    }
}

static void on_end(struct pipeline *p, const struct bus_event *ev)
{
    struct part *part = ev->n_parts ? part_find(p, ev->parts[0].topic, ev->parts[0].partition) : NULL;
    if (!part)
        return;
    part->end = ev->parts[0].offset;
    apply_ends(p);
}

static void on_range(struct pipeline *p, const struct bus_event *ev)
{
    struct part *part = ev->n_parts ? part_find(p, ev->parts[0].topic, ev->parts[0].partition) : NULL;
    if (part && !part->lost)
        part_range(p, part);
}

static void on_event(struct pipeline *p, const struct bus_event *ev)
{
    switch (ev->type) {
    case BUS_RECORD:
        on_record(p, ev);
        break;
    case BUS_ASSIGNED:
        parts_assign(p, ev);
        parts_claim(p);
        break;
    case BUS_REVOKED:
    case BUS_LOST:
        on_revoked(p, ev->type == BUS_LOST);
        break;
    case BUS_END:
        on_end(p, ev);
        break;
    case BUS_RANGE:
        on_range(p, ev);
        break;
    case BUS_ERROR:
        if (ev->rc != OK)
            log_event(LOG_WARN, "bus", LF_STR("pipeline", p->cfg.name), LF_STR("error", ev->words));
        break;
    case BUS_NONE:
        break;
    }
}

/* ---- the loop ---- */

static bool wait_for_database(struct pipeline *p)
{
    struct err e = {{0}};
    rc_t rc = db_ready(p->db, &e);
    if (rc == OK) {
        p->db_ready = true;
        health_set(p->health, HEALTH_STARTING, "waiting for partitions");
        return true;
    }
    health_set(p->health, HEALTH_DOWN, "%s", e.text);
    (void)worker_wait(&p->worker, 200 * USEC_PER_MSEC);
    return false;
}

static void housekeeping(struct pipeline *p, int64_t mono)
{
    struct err e = {{0}};
    if (mono >= p->next_topics_us) {
        bool recheck = mono / TOPIC_RECHECK_US != (mono - USEC_PER_SEC) / TOPIC_RECHECK_US;
        rc_t rc = topics_refresh(p, recheck, &e);
        if (rc && !p->stalled_until_us)
            health_set(p->health, HEALTH_DEGRADED, "%s", e.text);
        else if (rc == OK && !p->stalled_until_us && !p->assigned)
            health_set(p->health, p->n_topics ? HEALTH_STARTING : HEALTH_OK, "%s",
                       p->n_topics ? "waiting for partitions" : "no project yet");
        p->next_topics_us = clock_mono_us() + USEC_PER_SEC;
    }
    if (p->reclaim_us && mono >= p->reclaim_us && !p->n_waiting && !worker_stopping(&p->worker))
        parts_reclaim(p);
    if (p->n_parts && !p->n_waiting && mono >= p->next_note_us && !worker_stopping(&p->worker)) {
        parts_note(p);
        if (!p->stalled_until_us && !worker_stopping(&p->worker)) /* each of these may take its whole time-out */
            parts_watch(p);
        p->next_note_us = clock_mono_us() + USEC_PER_SEC;
    }
}

static void flush_if_due(struct pipeline *p, int64_t mono)
{
    struct err e = {{0}};
    if (p->stalled_until_us || !p->n_parts)
        return;
    if (p->at_limit || (p->dirty ? p->cfg.ops->due(p->cfg.self, mono) : mono >= p->next_tick_us)) {
        try_flush(p, &e);
        p->next_tick_us = clock_mono_us() + USEC_PER_SEC;
    }
}

/* One wait, then what is there already: the clock and the rest of the loop are looked at once a run, not once a record. */
static void take_run(struct pipeline *p, int64_t mono)
{
    struct err e = {{0}};
    struct bus_event ev;
    for (int i = 0; i < RUN_MAX; i++) {
        rc_t rc = bus_consumer_poll(p->bus, i ? 0 : POLL_US, &ev, &e);
        if (rc == E_FATAL)
            fail(p, &e);
        if (rc || ev.type == BUS_NONE) {
            mono = clock_mono_us();
            break;
        }
        on_event(p, &ev);
        if (ev.type != BUS_RECORD || p->at_limit)
            break;
        if (i % RUN_LOOK == RUN_LOOK - 1)
            flush_if_due(p, mono);
    }
    flush_if_due(p, mono);
}

/* One more try of whatever failed. */
static void try_again(struct pipeline *p)
{
    struct err e = {{0}};
    p->stalled_until_us = 0;
    if (p->n_waiting)
        parts_claim(p);
    else
        try_flush(p, &e);
}

static void step(struct pipeline *p)
{
    int64_t mono = clock_mono_us();
    housekeeping(p, mono);
    bool again = p->stalled_until_us && mono >= p->stalled_until_us;
    if (again)
        try_again(p);
    if (again || (p->kept_first && !p->stalled_until_us)) {
        drain_kept(p);
        apply_ends(p);
        if (!p->stalled_until_us && !p->kept_first)
            pause_all(p, false);
    }
    take_run(p, mono);
}

/* What is left uncommitted comes again in the next life: a last flush is a courtesy, within the deadline. */
static void finish(struct pipeline *p)
{
    struct err e = {{0}};
    bool more = !p->kept_first && !p->failed;
    rc_t rc = OK;
    while (more && (rc == OK || may_pass(rc)) && clock_mono_us() < atomic_load(&p->stop_deadline_us)) {
        rc = pipeline_flush(p, &more, &e);
        if (may_pass(rc))
            clock_sleep_us(100 * USEC_PER_MSEC);
    }
    log_event(LOG_INFO, "stopped", LF_STR("pipeline", p->cfg.name), LF_BOOL("flushed", rc == OK && !more));
    parts_drop(p);
    bus_consumer_free(p->bus); /* here, so that all pipelines of a process leave at once */
    p->bus = NULL;
}

static void run(struct worker *w, void *arg)
{
    struct pipeline *p = arg;
    while (!worker_stopping(w) && !p->failed) {
        if (p->db_ready || wait_for_database(p))
            step(p);
    }
    finish(p);
    if (p->failed)
        p->cfg.failed(p->cfg.self, p->fault);
    if (p->cfg.stopped)
        p->cfg.stopped(p->cfg.self);
}

rc_t pipeline_open(struct pipeline **ret, const struct pipeline_config *cfg, struct err *e)
{
    struct pipeline *p = mem_alloc(sizeof *p);
    p->cfg = *cfg;
    p->kept_end = &p->kept_first;
    rc_t rc = db_open(&p->db, cfg->db, e);
    if (rc == OK)
        rc = bus_consumer_open(&p->bus, cfg->bus, cfg->group, e);
    if (rc) {
        pipeline_free(p);
        return rc;
    }
    p->dead = dead_letters_new(cfg->name, cfg->producer);
    metrics_register(&metrics);
    struct metric **const cells[M_ROWS] = {&p->seen.records, &p->seen.former,  &p->seen.flushes, &p->seen.seconds,
                                           &p->seen.stalls,  &p->seen.stopped, &p->seen.lag};
    for (size_t row = 0; row < M_ROWS; row++)
        *cells[row] = metrics_at(&metrics, row, metrics_label(&metrics, row, 0, str_of(cfg->name)), 0);
    p->health = health_add(cfg->health, cfg->name, cfg->need, 5 * USEC_PER_SEC);
    *ret = p;
    return OK;
}

rc_t pipeline_start(struct pipeline *p, struct err *e)
{
    rc_t rc = worker_start(&p->worker, p->cfg.name, run, p, e);
    p->running = rc == OK;
    return rc;
}

void pipeline_ask_stop(struct pipeline *p, int64_t deadline_us)
{
    if (!p || !p->running)
        return;
    atomic_store(&p->stop_deadline_us, clock_mono_us() + deadline_us);
    worker_stop(&p->worker);
}

void pipeline_stop(struct pipeline *p, int64_t deadline_us)
{
    if (!p || !p->running)
        return;
    pipeline_ask_stop(p, deadline_us);
    p->running = worker_join(&p->worker, INT64_MAX) != OK; /* a hang is the service's watchdog's to end */
}

void pipeline_free(struct pipeline *p)
{
    if (!p)
        return;
    bus_consumer_free(p->bus);
    db_free(p->db);
    dead_letters_free(p->dead);
    poison_forget(p);
    for (size_t i = 0; i < p->n_topics; i++)
        mem_free(p->topics[i].name);
    mem_free(p->topics);
    mem_free(p->parts);
    mem_free(p->flushing);
    mem_free(p->waiting);
    mem_free(p);
}
