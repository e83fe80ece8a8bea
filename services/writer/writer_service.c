/* modelmon-writer: options, metrics, and the life of its pipeline and its HTTP form. */
#include <stdio.h>
#include "access/access.h"
#include "app/watch.h"
#include "base/clock.h"
#include "base/mem.h"
#include "writer.h"
#include "writer_service.h"

#define DRAIN_US (6 * USEC_PER_SEC)
#define AT(field) offsetof(struct writer_options, field)

/* To add an option: its field in writer.h, its row here; README.md is made from the rows. */
static const struct config_key keys[] = {
    {.env = "FLUSH_INTERVAL",
     .def = "100ms",
     .type = CONFIG_DURATION,
     .offset = AT(flush_us),
     .min = USEC_PER_MSEC,
     .max = 60 * USEC_PER_SEC,
     .help = "Longest age of what is not committed."},
    {.env = "FLUSH_EVENTS",
     .def = "5000",
     .type = CONFIG_I64,
     .offset = AT(flush_events),
     .min = 1,
     .max = 100000,
     .help = "Most events in one transaction."},
    {.env = "NAMES_TTL",
     .def = "60s",
     .type = CONFIG_DURATION,
     .offset = AT(names_ttl_us),
     .min = USEC_PER_SEC,
     .max = 3600 * USEC_PER_SEC,
     .help = "How long an endpoint's id is remembered without asking again."},
    {.env = "MAX_APPS",
     .def = "1000",
     .type = CONFIG_I64,
     .offset = AT(max_apps),
     .min = 1,
     .max = 1000000,
     .help = "Applications of a project; results of further unknown ones are dead letters."},
};

static const double batch_buckets[] = {1, 10, 100, 1000, 5000, 20000};
static const struct metric_row rows[] = {
    [M_EVENTS] = {.name = "modelmon_writer_events_total",
                  .kind = METRIC_COUNTER,
                  .help = "Events committed, repeats too.",
                  .labels = {{.name = "kind", .values = (const char *const[]){"result", "metric", "stats", NULL}}}},
    [M_CHANGED] = {.name = "modelmon_writer_rows_changed_total",
                   .kind = METRIC_COUNTER,
                   .help = "Rows of results and metrics inserted or replaced; a repeat changes none."},
    [M_BATCH] = {.name = "modelmon_writer_batch_events",
                 .kind = METRIC_HISTOGRAM,
                 .buckets = batch_buckets,
                 .bucket_count = sizeof batch_buckets / sizeof *batch_buckets,
                 .help = "Events of a partition in one transaction."},
    [M_APPS] = {.name = "modelmon_writer_apps_registered_total",
                .kind = METRIC_COUNTER,
                .help = "Applications first heard of by their results; they get no window events until they register."},
};
struct metric_set writer_metrics = METRIC_SET(rows);

struct writer {
    struct writer_options opts;
    struct bus_config bus;
    struct db_config db;
    struct cache_config cache;
    struct service *service;
    struct function_topics topics;
    struct bus_producer *producer;
    struct form form;
    struct watch watch;
    struct batch batch;
    struct pipeline *pipeline;
    bool running;
    char group[128];
};

static rc_t check_event(const struct form_call *c, struct str raw, struct form_event *ret, struct reject *why)
{
    struct result_event ev;
    rc_t rc = result_decode(raw.p, raw.n, http_arena(c->request), &ev, why);
    if (rc)
        return rc;
    ret->project = ev.project;
    ret->key = ev.endpoint_id;
    return OK;
}

static const struct form_ops form_ops = {.check = check_event, .topic = form_topic_of_function};

static struct writer *of_batch(void *self)
{
    return (struct writer *)(void *)((char *)self - offsetof(struct writer, batch));
}

static rc_t list_topics(void *self, struct db *db, const struct pipeline_topic **ret, size_t *n, struct err *e)
{
    struct writer *w = of_batch(self);
    rc_t rc = function_topics_load(&w->topics, db, ret, n, e);
    form_loaded(&w->form);
    watch_database(&w->watch, rc, e);
    watch_cache(&w->watch, w->batch.cache);
    return rc;
}

static void pipeline_stopped(void *self)
{
    service_drained(of_batch(self)->service);
}

static void pipeline_failed(void *self, const char *words)
{
    service_fail(of_batch(self)->service, "%s: %s", PIPELINE_WRITER, words);
}

static rc_t open_pipeline(struct writer *w, struct err *e)
{
    (void)snprintf(w->group, sizeof w->group, "%s-%s", w->opts.id.group_prefix, PIPELINE_WRITER);
    w->batch.opts = w->batch.names.opts = &w->opts;
    w->batch.topics = &w->topics;
    w->batch.dead = dead_letters_new(PIPELINE_WRITER, w->producer);
    const struct pipeline_config cfg = {
        .name = PIPELINE_WRITER,
        .group = w->group,
        .bus = &w->bus,
        .db = &w->db,
        .producer = w->producer,
        .ops = &batch_ops,
        .self = &w->batch,
        .topics = list_topics,
        .health = service_health(w->service),
        .need = HEALTH_REQUIRED,
        .failed = pipeline_failed,
        .stopped = pipeline_stopped,
    };
    rc_t rc = pipeline_open(&w->pipeline, &cfg, e);
    if (!rc)
        rc = pipeline_start(w->pipeline, e);
    w->running = rc == OK;
    return rc;
}

static rc_t open_writer(struct service *s, void *self, struct err *e)
{
    struct writer *w = self;
    static char name[] = "modelmon-writer";
    w->service = s;
    w->db.app_name = name;
    metrics_register(&writer_metrics);
    function_topics_init(&w->topics, w->opts.id.system_id, function_name(FUNCTION_WRITER));
    rc_t rc = bus_producer_open(&w->producer, &w->bus, e);
    if (!rc)
        rc = cache_open(&w->batch.cache, &w->cache, e);
    if (rc)
        return rc;
    watch_open(&w->watch, s, w->producer, &w->bus, &w->cache, NULL);
    w->form = (struct form){
        .function = PIPELINE_WRITER, .ops = &form_ops, .self = &w->topics, .producer = w->producer, .loop = service_loop(s)};
    form_open(&w->form);
    return open_pipeline(w, e);
}

static void drain_writer(struct service *s, void *self)
{
    struct writer *w = self;
    form_drain(&w->form);
    bus_producer_end_by(w->producer, clock_mono_us() + DRAIN_US);
    if (w->running)
        pipeline_ask_stop(w->pipeline, DRAIN_US);
    else
        service_drained(s);
}

static void close_writer(void *self)
{
    struct writer *w = self;
    if (w->running)
        pipeline_stop(w->pipeline, 0);
    pipeline_free(w->pipeline);
    bus_producer_free(w->producer);
    batch_done(&w->batch);
    function_topics_done(&w->topics);
}

struct service_def *writer_service(struct arena *a)
{
    struct writer *w = arena_alloc(a, sizeof *w);
    const struct config_table tables[] = {
        CONFIG_TABLE("Writer", keys, &w->opts),         {"Names", identity_keys, IDENTITY_GROUPS, &w->opts.id},
        {"Database", db_keys, db_keys_n, &w->db},       {"Kafka", bus_keys, bus_keys_n, &w->bus},
        {"Cache", cache_keys, cache_keys_n, &w->cache},
    };
    static const struct config_default defaults[] = {{"HTTP_BODY_MAX", "2MiB"}, {NULL, NULL}}; /* what the bus takes */
    const struct http_routes routes[] = {{.rows = form_routes_write, .count = FORM_ROUTES, .arg = &w->form}};
    return service_def_dup(
        a, &(struct service_def){.name = "writer",
                                 .summary = "Writes results, metrics and statistics of applications into the stores.",
                                 .tables = tables,
                                 .table_count = sizeof tables / sizeof *tables,
                                 .defaults = defaults,
                                 .routes = routes,
                                 .route_count = 1,
                                 .guard = access_guard(a),
                                 .open = open_writer,
                                 .drain = drain_writer,
                                 .close = close_writer,
                                 .self = w});
}
