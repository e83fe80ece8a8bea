/* modelmon-controller: options, metrics and the life of the one controller thread. */
#include <stdio.h>
#include <string.h>
#include "access/access.h"
#include "app/first_rows.h"
#include "base/clock.h"
#include "base/mem.h"
#include "controller.h"
#include "controller_service.h"
#include "event/names.h"

#define AT(field) offsetof(struct controller_options, field)
#define HOURS (INT64_C(3600) * USEC_PER_SEC)

/* To add an option: its field in controller.h, its row here; README.md is made from the rows. */
const struct config_key controller_keys[] = {
    {.env = "LATENESS",
     .def = "5s",
     .type = CONFIG_DURATION,
     .offset = AT(lateness_us),
     .min = 0,
     .max = 24 * HOURS,
     .help = "A window closes when all partitions have got this far past its end, and none of its rows is newer than "
             "this."},
    {.env = "MAX_LATENESS",
     .def = "24h",
     .type = CONFIG_DURATION,
     .offset = AT(max_lateness_us),
     .min = 0,
     .max = 366 * 24 * HOURS,
     .help = "Rows that come later than this after their window was closed are counted, but make no new revision."},
    {.env = "EMPTY_REACH",
     .def = "24h",
     .type = CONFIG_DURATION,
     .offset = AT(empty_reach_us),
     .min = 0,
     .max = 366 * 24 * HOURS,
     .help =
         "Apps that want them are told of windows without rows of an endpoint that was last asked this long before, or "
         "less."},
    {.env = "TICK_INTERVAL",
     .def = "1s",
     .type = CONFIG_DURATION,
     .offset = AT(tick_us),
     .min = 50 * USEC_PER_MSEC,
     .max = 60 * USEC_PER_SEC,
     .help = "Longest sleep between two looks at the frontiers."},
    {.env = "CLOSE_BATCH",
     .def = "100",
     .type = CONFIG_I64,
     .offset = AT(close_batch),
     .min = 1,
     .max = 5000,
     .help = "Windows closed in one transaction; the statistics of their project wait for its end."},
    {.env = "CLOSE_PER_TICK",
     .def = "5000",
     .type = CONFIG_I64,
     .offset = AT(close_max),
     .min = 1,
     .max = 1000000,
     .help = "Windows of a project closed in one tick; the rest follows in the next, oldest first."},
    {.env = "SWEEP_INTERVAL",
     .def = "10m",
     .type = CONFIG_DURATION,
     .offset = AT(sweep_us),
     .min = USEC_PER_SEC,
     .max = 24 * HOURS,
     .help = "How often closed windows are compared with their slots."},
    {.env = "FOLD_AFTER",
     .def = "15m",
     .type = CONFIG_DURATION,
     .offset = AT(fold_after_us),
     .min = USEC_PER_SEC,
     .max = 30 * 24 * HOURS,
     .help = "A window closed this long ago gets its slots folded into one row each."},
    {.env = "FOLD_PER_RUN",
     .def = "500",
     .type = CONFIG_I64,
     .offset = AT(fold_max),
     .min = 1,
     .max = 100000,
     .help = "Most windows folded in one go; a go ends after 200 ms too, and comes every 10 seconds, or each second "
             "while some are left."},
    {.env = "RELAY_INFLIGHT",
     .def = "1000",
     .type = CONFIG_I64,
     .offset = AT(relay_inflight),
     .min = 1,
     .max = 100000,
     .help = "Window events on their way to the bus at a time."},
    {.env = "DELETED_AGAIN",
     .def = "15m",
     .type = CONFIG_DURATION,
     .offset = AT(deleted_again_us),
     .min = 0,
     .max = 24 * HOURS,
     .help =
         "Rows and files of a deleted endpoint go at once, and once more after this time, for what was on its way."},
    {.env = "RETENTION_SLOTS",
     .def = "800d",
     .type = CONFIG_DURATION,
     .offset = AT(retention_slots_us),
     .min = 0,
     .max = 36500 * 24 * HOURS,
     .help = "Slots older than this are dropped by whole days; 0 keeps them."},
    {.env = "RETENTION_RESULTS",
     .def = "800d",
     .type = CONFIG_DURATION,
     .offset = AT(retention_results_us),
     .min = 0,
     .max = 36500 * 24 * HOURS,
     .help = "Windows, results and app statistics, likewise."},
    {.env = "RETENTION_DEAD_LETTERS",
     .def = "30d",
     .type = CONFIG_DURATION,
     .offset = AT(retention_dead_letters_us),
     .min = 0,
     .max = 36500 * 24 * HOURS,
     .help = "Dead letters, likewise."},
    {.env = "RETENTION_AUDIT",
     .def = "400d",
     .type = CONFIG_DURATION,
     .offset = AT(retention_audit_us),
     .min = 0,
     .max = 36500 * 24 * HOURS,
     .help = "Rows of the audit log, likewise."},
    {.env = "RETENTION_LAKE",
     .def = "800d",
     .type = CONFIG_DURATION,
     .offset = AT(retention_lake_us),
     .min = 0,
     .max = 36500 * 24 * HOURS,
     .help = "Manifest of the lake, likewise; then, with LAKE_DIR, the files of those days."},
    {.env = "LAKE_DIR",
     .def = "",
     .type = CONFIG_STR,
     .offset = AT(lake_dir),
     .help =
         "The lake's folder, writable; empty: files of dropped days and deleted endpoints stay, for whoever owns the "
         "folder to delete."},
    {.env = "REFERENCE_AUTO",
     .def = "0",
     .type = CONFIG_I64,
     .offset = AT(reference_auto),
     .min = 0,
     .max = FIRST_ROWS_MAX,
     .help = "An endpoint without a reference gets one from so many of its first rows, read from LAKE_DIR; a project's "
             "reference_auto comes before it; 0: none."},
};
const size_t controller_keys_n = sizeof controller_keys / sizeof *controller_keys;

static const struct metric_row rows[] = {
    [M_WINDOWS] =
        {.name = "modelmon_controller_windows_total",
         .kind = METRIC_COUNTER,
         .help =
             "Windows closed: for the first time, again with late rows; silent: those of them that no app was told of.",
         .labels = {{.name = "kind", .values = (const char *const[]){"first", "revision", "silent", NULL}}}},
    [M_LATE_ROWS] = {.name = "modelmon_controller_late_rows_total",
                     .kind = METRIC_COUNTER,
                     .help = "Rows that came after MAX_LATENESS: in the lake, in no revision."},
    [M_EVENTS] = {.name = "modelmon_controller_window_events_total",
                  .kind = METRIC_COUNTER,
                  .help = "Window events put into the outbox."},
    [M_RELAYED] = {.name = "modelmon_controller_relayed_total",
                   .kind = METRIC_COUNTER,
                   .help = "Window events sent and acknowledged, failed (they stay), refused for good (dead letter).",
                   .labels = {{.name = "outcome", .values = (const char *const[]){"sent", "failed", "refused", NULL}}}},
    [M_OUTBOX_ROWS] = {.name = "modelmon_controller_outbox_rows", .kind = METRIC_GAUGE, .help = "Rows in the outbox."},
    [M_OUTBOX_AGE] = {.name = "modelmon_controller_outbox_oldest_seconds",
                      .kind = METRIC_GAUGE,
                      .help = "Age of the oldest row in the outbox."},
    [M_TICK_SECONDS] = {.name = "modelmon_controller_tick_seconds", .kind = METRIC_HISTOGRAM, .help = "Length of a tick."},
    [M_FRONTIER_LAG] = {.name = "modelmon_controller_frontier_lag_seconds",
                        .kind = METRIC_GAUGE,
                        .help = "How far a project's frontier is behind the clock; -1: a partition has none yet.",
                        .labels = {{.name = "project", .cap = 100}}},
    [M_WAITING] = {.name = "modelmon_controller_windows_waiting",
                   .kind = METRIC_GAUGE,
                   .help = "Windows that are due but wait for the lake."},
    [M_LEADER] = {.name = "modelmon_controller_leader", .kind = METRIC_GAUGE, .help = "1: active; 0: standby."},
    [M_CHORES] = {.name = "modelmon_controller_chores_total",
                  .kind = METRIC_COUNTER,
                  .help =
                      "Windows made pending again by the sweep, windows folded, day partitions dropped, files of the "
                      "lake deleted, deleted endpoints whose rows and files are gone.",
                  .labels = {{.name = "what",
                              .values = (const char *const[]){"swept", "folded", "days_dropped", "files_deleted",
                                                              "endpoints_cleared", NULL}}}},
    [M_REFERENCES] = {.name = "modelmon_controller_references_total",
                      .kind = METRIC_COUNTER,
                      .help = "References of first rows: made, or failed: the lake could not be read.",
                      .labels = {{.name = "outcome", .values = (const char *const[]){"made", "failed", NULL}}}},
};
struct metric_set controller_metrics = METRIC_SET(rows);

static const struct http_route routes[] = {
    {"POST", "/", "write", 0, controller_request, "A tick now; answers what it did"},
};

static rc_t check_automatic(const void *opts, struct err *e)
{
    const struct controller_options *o = opts;
    if (!o->reference_auto || *o->lake_dir)
        return OK;
    return err_set(e, E_INVALID, "the first rows are read from the lake, LAKE_DIR says where it is");
}

static rc_t open_controller(struct service *s, void *self, struct err *e)
{
    struct controller *c = self;
    c->service = s;
    c->opened_us = clock_mono_us();
    metrics_register(&controller_metrics);
    c->health_db = health_add(service_health(s), "database", HEALTH_REQUIRED, 5 * USEC_PER_SEC);
    c->health_bus = health_add(service_health(s), "bus", HEALTH_REQUIRED, 5 * USEC_PER_SEC);
    c->health_leader = health_add(service_health(s), "leader", HEALTH_OPTIONAL, 0);
    c->health_frontiers = health_add(service_health(s), "frontiers", HEALTH_OPTIONAL, 0);
    health_set(c->health_frontiers, HEALTH_OK, "%s", "");
    c->db_cfg.app_name = (char *)"modelmon-controller";
    rc_t rc = db_open(&c->db, &c->db_cfg, e);
    if (!rc)
        rc = db_open(&c->lock, &c->db_cfg, e);
    if (!rc)
        rc = bus_producer_open(&c->producer, &c->bus, e);
    if (rc)
        return rc;
    c->relay = relay_new(&c->opts, c->producer, &c->worker);
    c->closer.opts = &c->opts;
    return worker_start(&c->worker, "controller", controller_run, c, e);
}

static void drain_controller(struct service *s, void *self)
{
    struct controller *c = self;
    (void)s; /* the thread says when it is done */
    worker_stop(&c->worker);
}

static void close_controller(void *self)
{
    struct controller *c = self;
    worker_stop(&c->worker);
    if (worker_join(&c->worker, 5 * USEC_PER_SEC))
        return; /* it still runs: what it uses stays */
    bus_producer_free(c->producer);
    relay_free(c->relay);
    closer_done(&c->closer);
    frontiers_done(&c->frontiers);
    db_free(c->db);
    db_free(c->lock);
    mem_free(c->requests);
}

struct service_def *controller_service(struct arena *a)
{
    struct controller *c = arena_alloc(a, sizeof *c);
    (void)pthread_mutex_init(&c->mutex, NULL); /* cannot fail without attributes */
    const struct config_table tables[] = {
        {"Controller", controller_keys, controller_keys_n, &c->opts},
        {"Names", identity_keys, IDENTITY_SYSTEM, &c->opts.id},
        {"Database", db_keys, db_keys_n, &c->db_cfg},
        {"Kafka", bus_keys, bus_keys_n, &c->bus},
    };
    const struct config_rule rules[] = {{{"REFERENCE_AUTO", "LAKE_DIR"}, check_automatic, &c->opts}};
    const struct http_routes tables_of_routes[] = {HTTP_ROUTES(routes, c)};
    return service_def_dup(
        a, &(struct service_def){.name = "controller",
                                 .summary = "Closes windows when all their rows are in, and tells the apps.",
                                 .tables = tables,
                                 .table_count = sizeof tables / sizeof *tables,
                                 .rules = rules,
                                 .rule_count = sizeof rules / sizeof *rules,
                                 .routes = tables_of_routes,
                                 .route_count = 1,
                                 .guard = access_guard(a),
                                 .open = open_controller,
                                 .drain = drain_controller,
                                 .close = close_controller,
                                 .self = c});
}
