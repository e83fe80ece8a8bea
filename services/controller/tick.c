/* The controller's thread: leadership, one tick after the other, when to wake next, and the answers to POST /. */
#include "controller.h"
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "db/ledger.h"
#include "db/window.h"
#include "event/names.h"
#include "json/write.h"
#include "log/log.h"
#include "pipeline/pipeline.h"

#define LOCK_NAME "controller"
#define BUS_FIRST_US (5 * USEC_PER_SEC)      /* until then a bus that has not answered yet is starting, not down */
#define LEADER_SILENCE_US (5 * USEC_PER_SEC) /* without an answer for so long we are no leader any more */
#define SOON_US (100 * USEC_PER_MSEC)        /* between looks at a frontier that is about to pass an end */
#define SOON_FOR_US (10 * USEC_PER_SEC)
#define DEPTH_EVERY_US (5 * USEC_PER_SEC)
#define BACK_OFF_US (500 * USEC_PER_MSEC)
#define NO_BUS_US (50 * USEC_PER_MSEC)

/* ---- leadership ---- */
static void step_down(struct controller *c, const char *why)
{
    if (c->leader)
        log_warn("leader_lost", LF_STR("why", why));
    c->leader = false;
    relay_reset(c->relay);
    frontiers_done(&c->frontiers); /* the next leader watches them */
    health_set(c->health_frontiers, HEALTH_OK, "%s", "");
    metric_set(metrics_at(&controller_metrics, M_LEADER, 0, 0), 0);
}

static void step_up(struct controller *c)
{
    if (!c->leader)
        log_info("leader");
    c->leader = true;
    metric_set(metrics_at(&controller_metrics, M_LEADER, 0, 0), 1);
    health_set(c->health_leader, HEALTH_OK, "%s", "");
}

/* Asks the lock's own connection at every tick: it is the leader's heartbeat. */
static rc_t keep_leadership(struct controller *c, struct err *e)
{
    bool mine = false;
    rc_t rc = c->db_ready ? OK : db_ready(c->db, e);
    c->db_ready = rc == OK;
    if (!rc)
        rc = db_lock_try(c->lock, LOCK_NAME, &mine, e);
    if (rc) {
        if (clock_mono_us() - c->answered_us > LEADER_SILENCE_US || !db_alive(c->lock))
            step_down(c, e->text);
        return rc;
    }
    c->answered_us = clock_mono_us();
    if (mine) {
        step_up(c);
    } else {
        step_down(c, "another controller has the lock");
        health_set(c->health_leader, HEALTH_OK, "standby: another controller is active");
    }
    return OK;
}

/* ---- one tick ---- */
static void note_lag(const struct project *p, int64_t frontier_us, int64_t now_us)
{
    size_t label = metrics_label(&controller_metrics, M_FRONTIER_LAG, 0, str_of(p->name));
    double lag = frontier_us ? (double)(now_us - frontier_us) / (double)USEC_PER_SEC : -1;
    metric_set(metrics_at(&controller_metrics, M_FRONTIER_LAG, label, 0), lag);
}

/* INT64_MAX when no lake ever ran for the project: there is nothing to wait for then. */
static rc_t lake_frontier(struct db *db, int32_t project_id, int64_t *ret, struct err *e)
{
    struct ledger_row *rows = NULL;
    size_t n = 0;
    rc_t rc = ledger_list(db, project_id, PIPELINE_LAKE, &rows, &n, e);
    if (rc)
        return rc;
    int64_t least = INT64_MAX;
    for (size_t i = 0; i < n; i++)
        if (rows[i].frontier_us < least)
            least = rows[i].frontier_us;
    ledger_rows_free(rows, n);
    *ret = least;
    return OK;
}

static bool app_fires(const struct app_row *a, const struct project *p)
{
    return a->active && a->project_id == p->id &&
           (p->default_app || strcmp(function_name(FUNCTION_HISTOGRAM), a->name) != 0);
}

static rc_t tick_project(struct controller *c, const struct project *p, const struct app_row *apps, size_t n_apps,
                         struct tick_report *r, bool *ret_more, struct err *e)
{
    struct app_row *mine = mem_array(n_apps + 1, sizeof *mine);
    struct close_scope s = {.project = p, .apps = mine, .now_us = clock_now_us()};
    for (size_t i = 0; i < n_apps; i++)
        if (app_fires(&apps[i], p)) {
            mine[s.n_apps++] = apps[i];
            s.needs_rows = s.needs_rows || apps[i].needs_rows;
            s.wants_empty = s.wants_empty || apps[i].wants_empty;
        }
    rc_t rc = ledger_frontier(c->db, p->id, PIPELINE_STATISTICS, false, &s.frontier_us, e);
    if (!rc)
        rc = lake_frontier(c->db, p->id, &s.lake_us, e);
    if (!rc)
        rc = frontiers_note(&c->frontiers, c->db, p, s.frontier_us, e);
    if (!rc) {
        note_lag(p, s.frontier_us, s.now_us);
        *ret_more = false;
        if (s.frontier_us > 0 && s.wants_empty)
            rc = close_find_empty(&c->closer, c->db, &s, e);
        if (!rc && s.frontier_us > 0)
            rc = close_project(&c->closer, c->db, &s, r, ret_more, e);
    }
    mem_free(mine);
    return rc;
}

/* When the next window of the project could close by the wall clock. */
static rc_t next_close(struct controller *c, const struct project *p, int64_t *inout_wait_us, struct err *e)
{
    int64_t end = 0;
    rc_t rc = pending_next(c->db, p->id, &end, e);
    if (rc || end == 0)
        return rc;
    int64_t wait = end + c->opts.lateness_us - clock_now_us();
    if (wait < -SOON_FOR_US)
        return OK; /* its frontier stands still: the ordinary tick will see it move */
    if (wait < SOON_US)
        wait = SOON_US;
    if (wait < *inout_wait_us)
        *inout_wait_us = wait;
    return OK;
}

static rc_t tick_projects(struct controller *c, const struct project *projects, size_t n, struct tick_report *r,
                          int64_t *ret_wait_us, struct err *e)
{
    struct app_row *apps = NULL;
    size_t n_apps = 0;
    rc_t rc = close_refresh(&c->closer, c->db, e);
    if (!rc)
        rc = apps_list(c->db, 0, &apps, &n_apps, e);
    frontiers_begin(&c->frontiers);
    for (size_t i = 0; !rc && i < n && !worker_stopping(&c->worker); i++) {
        bool more = false;
        if (!projects[i].monitoring)
            continue;
        r->projects++;
        rc = tick_project(c, &projects[i], apps, n_apps, r, &more, e);
        if (!rc && more)
            *ret_wait_us = 0;
        else if (!rc)
            rc = next_close(c, &projects[i], ret_wait_us, e);
        if (rc && db_alive(c->db)) { /* its own trouble: the others are not to wait for it */
            frontiers_failed(&c->frontiers, &projects[i], rc, e);
            *ret_wait_us = *ret_wait_us < BACK_OFF_US ? *ret_wait_us : BACK_OFF_US;
            rc = OK;
        }
    }
    if (!rc)
        frontiers_end(&c->frontiers, c->health_frontiers);
    apps_free(apps, n_apps);
    return rc;
}

static rc_t note_outbox(struct controller *c, struct err *e)
{
    if (clock_mono_us() < c->depth_due_us)
        return OK;
    int64_t n = 0, oldest = 0;
    rc_t rc = outbox_depth(c->db, &n, &oldest, e);
    if (rc)
        return rc;
    c->depth_due_us = clock_mono_us() + DEPTH_EVERY_US;
    metric_set(metrics_at(&controller_metrics, M_OUTBOX_ROWS, 0, 0), (double)n);
    metric_set(metrics_at(&controller_metrics, M_OUTBOX_AGE, 0, 0),
               n ? (double)(clock_now_us() - oldest) / (double)USEC_PER_SEC : 0);
    return OK;
}

static rc_t tick(struct controller *c, struct tick_report *r, int64_t *ret_wait_us, struct err *e)
{
    int64_t started = clock_mono_us();
    struct project *projects = NULL;
    size_t n = 0;
    rc_t rc = keep_leadership(c, e);
    r->leader = c->leader;
    if (rc || !c->leader)
        return rc;
    rc = projects_list(c->db, &projects, &n, e);
    if (!rc)
        rc = tick_projects(c, projects, n, r, ret_wait_us, e);
    if (!rc)
        rc = chores_run(&c->chores, &c->opts, &c->closer, c->db, projects, n, r, e);
    if (!rc)
        rc = note_outbox(c, e);
    projects_free(projects, n);
    metric_set(metrics_at(&controller_metrics, M_WAITING, 0, 0), (double)r->waiting);
    metric_observe(metrics_at(&controller_metrics, M_TICK_SECONDS, 0, 0),
                   (double)(clock_mono_us() - started) / (double)USEC_PER_SEC);
    return rc;
}

/* ---- the HTTP form ---- */
void controller_request(struct http_request *r, void *arg)
{
    struct controller *c = arg;
    http_suspend(r);
    pthread_mutex_lock(&c->mutex);
    bool closed = c->closed;
    if (!closed) {
        if (c->n_requests == c->cap_requests) {
            c->cap_requests = c->cap_requests ? c->cap_requests * 2 : 16;
            c->requests = mem_grow(c->requests, c->cap_requests, sizeof(struct http_request *));
        }
        c->requests[c->n_requests++] = r;
    }
    pthread_mutex_unlock(&c->mutex);
    if (closed)
        http_problem(r, &(struct http_problem){
                            .status = 503, .code = "draining", .retry_after_s = 1, .detail = "the controller is ending"});
    else
        worker_wake(&c->worker);
}

static void print_report(const struct tick_report *r, struct buf *out)
{
    struct json_writer w;
    jw_init(&w, out, JSON_NAN_NULL);
    jw_object(&w);
    jw_kv_bool(&w, "leader", r->leader);
    jw_kv_i64(&w, "projects", r->projects);
    jw_kv_i64(&w, "closed", r->closed);
    jw_kv_i64(&w, "revisions", r->revisions);
    jw_kv_i64(&w, "late_rows", r->late_rows);
    jw_kv_i64(&w, "silent", r->silent);
    jw_kv_i64(&w, "waiting", r->waiting);
    jw_kv_i64(&w, "events", r->events);
    jw_kv_i64(&w, "swept", r->swept);
    jw_kv_i64(&w, "folded", r->folded);
    jw_kv_i64(&w, "days_dropped", r->days_dropped);
    jw_kv_i64(&w, "files_deleted", r->files_deleted);
    jw_kv_i64(&w, "endpoints_cleared", r->endpoints_cleared);
    jw_object_end(&w);
}

/* Those that came before this tick began. */
static size_t take_requests(struct controller *c, struct http_request ***ret, bool close)
{
    pthread_mutex_lock(&c->mutex);
    size_t n = c->n_requests;
    *ret = c->requests;
    c->requests = NULL;
    c->n_requests = c->cap_requests = 0;
    c->closed = c->closed || close;
    pthread_mutex_unlock(&c->mutex);
    return n;
}

static void answer(struct http_request **requests, size_t n, rc_t rc, const struct tick_report *r, const char *why)
{
    struct buf body = {0};
    print_report(r, &body);
    for (size_t i = 0; i < n; i++)
        if (rc)
            http_problem(requests[i],
                         &(struct http_problem){.status = 503, .code = "unavailable", .detail = why, .retry_after_s = 1});
        else
            http_answer(requests[i], 202, HTTP_JSON, buf_str(&body));
    buf_done(&body);
    mem_free(requests);
}

/* ---- the thread ---- */
static void note_database(struct controller *c, rc_t rc, const struct err *e)
{
    if (rc)
        health_set(c->health_db, HEALTH_DOWN, "%s", e->text);
    else
        health_set(c->health_db, HEALTH_OK, "%s", "");
}

static bool note_bus(struct controller *c)
{
    struct err away = {{0}};
    bool up = bus_producer_up(c->producer);
    bus_away_words(c->bus.brokers, &away);
    c->bus_seen = c->bus_seen || up;
    if (up)
        health_set(c->health_bus, HEALTH_OK, "%s", "");
    else if (!c->bus_seen && clock_mono_us() - c->opened_us < BUS_FIRST_US)
        health_set(c->health_bus, HEALTH_STARTING, "no broker has answered yet");
    else
        health_set(c->health_bus, HEALTH_DOWN, "%s; window events wait in the outbox", away.text);
    return up;
}

/* One round: the tick with its answers, then the relay. Returns how long to sleep. */
static int64_t round_once(struct controller *c)
{
    struct http_request **requests = NULL;
    size_t n = take_requests(c, &requests, false);
    struct tick_report r = {0};
    struct err e = {{0}};
    int64_t wait = c->opts.tick_us;
    rc_t rc = tick(c, &r, &wait, &e);
    answer(requests, n, rc, &r, rc && err_quotes(&e) ? "the database does not answer: see /readyz" : e.text);
    c->db_ready = c->db_ready && rc == OK;
    note_database(c, rc, &e);
    if (rc == E_FATAL)
        service_fail(c->service, "%s", e.text);
    else if (rc)
        log_warn("tick", LF_STR("rc", rc_name(rc)), LF_ERR(&e));
    if (rc && wait > BACK_OFF_US)
        wait = BACK_OFF_US;
    return wait;
}

/* Until nothing more can be sent now. */
static void relay_all(struct controller *c)
{
    for (bool busy = true; busy && c->leader && !worker_stopping(&c->worker);) {
        struct err e = {{0}};
        rc_t rc = relay_step(c->relay, c->db, &busy, &e);
        if (rc) {
            log_warn("relay", LF_STR("rc", rc_name(rc)), LF_ERR(&e));
            return;
        }
    }
}

void controller_run(struct worker *w, void *arg)
{
    struct controller *c = arg;
    int64_t due = 0;
    while (!worker_stopping(w)) {
        pthread_mutex_lock(&c->mutex);
        bool asked = c->n_requests > 0;
        pthread_mutex_unlock(&c->mutex);
        if (asked || clock_mono_us() >= due) /* an acknowledgement alone wakes the relay, not a tick */
            due = clock_mono_us() + round_once(c);
        relay_all(c);
        int64_t left = due - clock_mono_us();
        if (!note_bus(c) && left > NO_BUS_US)
            left = NO_BUS_US; /* its return is noticed soon */
        if (left > 0)
            (void)worker_wait(w, left);
    }
    struct http_request **requests = NULL;
    size_t n = take_requests(c, &requests, true);
    answer(requests, n, E_AGAIN, &(struct tick_report){0}, "the controller is ending");
    service_drained(c->service);
}
