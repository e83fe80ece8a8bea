/* Stream's statistics and the controller as their own *_service.c put them together, without HTTP. */
#include "actors.h"
#include "base/mem.h"
#include "bus/bus.h"
#include "controller/controller.h"
#include "db/project.h"
#include "event/names.h"
#include "stream/stream.h"
#include "store.h"
#include "world.h"

struct bus_config sim_bus_config(void)
{
    return (struct bus_config){.brokers = (char *)"sim", .session_us = 2 * USEC_PER_SEC, .client_id = (char *)"sim"};
}

struct db_config sim_db_config(void)
{
    return (struct db_config){.url = (char *)SIM_URL};
}

void sim_must(rc_t rc, const struct err *e, const char *what)
{
    if (rc)
        world_violation("%s: %s: %s", what, rc_name(rc), e->text);
}

void sim_wait_for_stop(void)
{
    while (!proc_asked(proc_now()))
        (void)world_wait(proc_now(), INT64_MAX);
}

void services_begin(void)
{
    struct db *db = NULL;
    struct db_config cfg = sim_db_config();
    struct err e = {{0}};
    struct project p = {.name = (char *)SIM_PROJECT,
                        .artifact_path = (char *)"",
                        .document = (char *)"{}",
                        .base_period_us = plan.period_us,
                        .monitoring = true};
    int32_t app = 0;
    rc_t rc = db_open(&db, &cfg, &e);
    if (rc == OK)
        rc = project_put(db, &p, &e);
    if (rc == OK)
        rc = app_put(db, p.id, SIM_APP, false, true, &app, &e);
    sim_must(rc, &e, "making the project");
    db_free(db);
}

/* ---- stream: the statistics sink ---- */
void stream_main(void *arg)
{
    struct stream *st = mem_alloc(sizeof *st);
    struct err e = {{0}};
    (void)arg;
    st->options = (struct stream_options){
        .id = {SIM_SYSTEM, "g"},
        .flush_us = plan.flush_us,
        .statistics_bytes = 1 << 30,
        .dedupe_records = 1 << 16,
        .pair_wait_us = 10 * USEC_PER_SEC,
        .pair_records = 16,
        .pair_bytes = 1 << 20,
        .max_endpoints = 100,
        .future_us = 300 * USEC_PER_SEC,
        .max_age_us = 800 * USEC_PER_DAY,
        .auto_register = true,
    };
    st->bus = sim_bus_config();
    st->db = sim_db_config();
    projects_init(&st->projects);
    rc_t rc = bus_producer_open(&st->producer, &st->bus, &e);
    if (rc == OK)
        rc = statistics_open(&st->sinks[0], st, &e);
    if (rc == OK)
        rc = sink_start(st->sinks[0], &e);
    sim_must(rc, &e, "stream");
    sim_wait_for_stop();
    sink_ask_stop(st->sinks[0]);
    sink_stop(st->sinks[0]);
    bus_producer_free(st->producer);
    sink_free(st->sinks[0]);
    projects_done(&st->projects);
    mem_free(st);
    proc_exit();
}

/* ---- controller ---- */
void controller_main(void *arg)
{
    struct controller *c = mem_alloc(sizeof *c);
    struct err e = {{0}};
    (void)arg;
    (void)pthread_mutex_init(&c->mutex, NULL);
    c->opts = (struct controller_options){
        .id = {SIM_SYSTEM, "g"},
        .lateness_us = plan.lateness_us,
        .max_lateness_us = plan.max_lateness_us,
        .tick_us = USEC_PER_SEC,
        .empty_reach_us = USEC_PER_DAY,
        .close_batch = 3,
        .close_max = 100,
        .sweep_us = 4 * USEC_PER_SEC,
        .fold_after_us = 3 * USEC_PER_SEC,
        .fold_max = 100,
        .relay_inflight = 4,
        .deleted_again_us = 600 * USEC_PER_SEC,
        .lake_dir = (char *)"",
    };
    c->bus = sim_bus_config();
    c->db_cfg = sim_db_config();
    c->opened_us = clock_mono_us();
    rc_t rc = db_open(&c->db, &c->db_cfg, &e);
    if (!rc)
        rc = db_open(&c->lock, &c->db_cfg, &e);
    if (!rc)
        rc = bus_producer_open(&c->producer, &c->bus, &e);
    c->relay = relay_new(&c->opts, c->producer, &c->worker);
    c->closer.opts = &c->opts;
    if (!rc)
        rc = worker_start(&c->worker, "controller", controller_run, c, &e);
    sim_must(rc, &e, "controller");
    sim_wait_for_stop();
    worker_stop(&c->worker);
    if (worker_join(&c->worker, INT64_MAX))
        return;
    bus_producer_free(c->producer);
    relay_free(c->relay);
    closer_done(&c->closer);
    frontiers_done(&c->frontiers);
    db_free(c->db);
    db_free(c->lock);
    mem_free(c->requests);
    mem_free(c);
    proc_exit();
}
