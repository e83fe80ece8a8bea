/* The stream service: options, open, drain. */
#include "access/access.h"
#include "base/clock.h"
#include "event/names.h"
#include "http/server.h"
#include "stream.h"
#include "stream_service.h"

#define DRAIN_US (6 * USEC_PER_SEC)

static const struct config_value sink_values[] = {
    {"statistics", SINK_STATISTICS}, {"lake", SINK_LAKE}, {"both", SINK_BOTH}, {"none", 0}, {NULL, 0}};

static rc_t check_project(const char *text, struct err *e)
{
    if (name_is_project(str_of(text)))
        return OK;
    return err_set(e, E_INVALID, "small letters, digits and '-' are allowed, 63 at most");
}

#define AT(field) .offset = offsetof(struct stream_options, field)
static const struct config_key keys[] = {
    {.env = "DEFAULT_PROJECT",
     .def = "",
     .type = CONFIG_STR,
     AT(default_project),
     .check = check_project,
     .help = "Project of events posted to / that name none."},
    {.env = "SINKS",
     .def = "both",
     .type = CONFIG_ENUM,
     AT(sinks),
     .values = sink_values,
     .help = "Which pipelines run here; none: the HTTP trigger alone, others read the topics."},
    {.env = "STATISTICS_INTERVAL",
     .def = "1s",
     .type = CONFIG_DURATION,
     AT(flush_us),
     .min = 50 * USEC_PER_MSEC,
     .max = 60 * USEC_PER_SEC,
     .help = "Longest age of statistics that are not committed."},
    {.env = "STATISTICS_MEMORY",
     .def = "128MiB",
     .type = CONFIG_BYTES,
     AT(statistics_bytes),
     .min = 1 << 20,
     .max = INT64_C(1) << 40,
     .help = "Statistics that take this much memory are committed at once."},
    {.env = "LAKE_AGE",
     .def = "30s",
     .type = CONFIG_DURATION,
     AT(lake_age_us),
     .min = 100 * USEC_PER_MSEC,
     .max = 3600 * USEC_PER_SEC,
     .help = "Rows are written to the lake at this age at the earliest (or at LAKE_MEMORY)."},
    {.env = "LAKE_AGE_PER_FILE",
     .def = "30ms",
     .type = CONFIG_DURATION,
     AT(lake_age_per_file_us),
     .max = USEC_PER_SEC,
     .help = "… and not before this much for each file held: many endpoints, larger files."},
    {.env = "DEDUPE_RECORDS", .def = "131072", .type = CONFIG_I64, AT(dedupe_records), .min = 0, .max = 1 << 24, .help = "A record is a duplicate if endpoint, request id and time were among so many offsets before it in its partition."},
    {.env = "PAIR_WAIT",
     .def = "2m",
     .type = CONFIG_DURATION,
     AT(pair_wait_us),
     .min = USEC_PER_SEC,
     .max = USEC_PER_DAY,
     .help =
         "A request and a response that are logged apart are one prediction if their records are so near in time …"},
    {.env = "PAIR_RECORDS",
     .def = "16384",
     .type = CONFIG_I64,
     AT(pair_records),
     .min = 1,
     .max = 1 << 24,
     .help = "… and within so many offsets of their partition. One that stays alone is a dead letter once the next "
             "record of its "
             "partition comes; until then it waits (modelmon_stream_halves_waiting)."},
    {.env = "PAIR_MEMORY",
     .def = "32MiB",
     .type = CONFIG_BYTES,
     AT(pair_bytes),
     .min = 1 << 20,
     .max = INT64_C(1) << 40,
     .help = "Bytes of halves held for each partition; beyond it the oldest wait no longer."},
    {.env = "AUTO_REGISTER",
     .def = "true",
     .type = CONFIG_BOOL,
     AT(auto_register),
     .help = "Unknown endpoints register themselves; else their events are dead letters."},
    {.env = "ENDPOINTS_MAX",
     .def = "20000",
     .type = CONFIG_I64,
     AT(max_endpoints),
     .min = 1,
     .max = 10000000,
     .help = "Endpoints of a project that may register themselves."},
    {.env = "EVENT_FUTURE",
     .def = "5m",
     .type = CONFIG_DURATION,
     AT(future_us),
     .max = USEC_PER_DAY,
     .help = "An event's time may be this much after its record's."},
    {.env = "EVENT_MAX_AGE",
     .def = "800d",
     .type = CONFIG_DURATION,
     AT(max_age_us),
     .min = 60 * USEC_PER_SEC,
     .max = 36600 * USEC_PER_DAY,
     .help = "… and this much before it."},
    {.env = "SKIP_LOST_OFFSETS", .def = "false", .type = CONFIG_BOOL, AT(skip_lost), .help = "When the bus no longer retains what is next: false stops the partition, true goes on at the earliest record."},
};

static rc_t open_sinks(struct stream *st, struct err *e)
{
    rc_t rc = st->options.sinks & SINK_STATISTICS ? statistics_open(&st->sinks[0], st, e) : OK;
    if (rc == OK && st->options.sinks & SINK_LAKE)
        rc = lake_open(&st->sinks[1], st, e);
    for (size_t i = 0; rc == OK && i < 2; i++)
        if (st->sinks[i])
            rc = sink_start(st->sinks[i], e);
    if (rc == OK && st->options.sinks & SINK_STATISTICS)
        rc = bridges_start(&st->bridges, st, e);
    return rc || st->options.sinks ? rc : alone_start(&st->alone, st, e);
}

void stream_part_stopped(struct stream *st)
{
    if (atomic_fetch_sub(&st->running, 1) == 1)
        service_drained(st->service);
}

static rc_t open_stream(struct service *s, void *self, struct err *e)
{
    struct stream *st = self;
    st->service = s;
    projects_init(&st->projects);
    st->loaded = health_add(service_health(s), "projects", HEALTH_REQUIRED, 0);
    health_set(st->loaded, HEALTH_STARTING, "the database has not been read yet; posted events get 503");
    rc_t rc = bus_producer_open(&st->producer, &st->bus, e);
    if (rc)
        return rc;
    bus_watch_open(&st->kafka, s, "kafka", st->producer, &st->bus);
    trigger_open(st);
    return open_sinks(st, e);
}

static void drain_stream(struct service *s, void *self)
{
    struct stream *st = self;
    form_drain(&st->form);
    bus_producer_end_by(st->producer, clock_mono_us() + DRAIN_US);
    bridges_ask_stop(st->bridges);
    for (size_t i = 0; i < 2; i++)
        if (st->sinks[i])
            sink_ask_stop(st->sinks[i]);
    if (atomic_load(&st->running) == 0)
        service_drained(s);
}

static void close_stream(void *self)
{
    struct stream *st = self;
    bridges_free(st->bridges);
    for (size_t i = 0; i < 2; i++)
        sink_stop(st->sinks[i]);
    bus_producer_free(st->producer); /* before the sinks: its last reports go to their dead letters */
    for (size_t i = 0; i < 2; i++)
        sink_free(st->sinks[i]);
    alone_free(st->alone);
    projects_done(&st->projects);
}

struct service_def *stream_service(struct arena *a)
{
    struct stream *st = arena_alloc(a, sizeof *st);
    const struct config_table tables[] = {
        CONFIG_TABLE("Stream", keys, &st->options),
        {"Names", identity_keys, IDENTITY_GROUPS, &st->options.id},
        {"Kafka", bus_keys, bus_keys_n, &st->bus},
        {"Database", db_keys, db_keys_n, &st->db},
        {"Cache", cache_keys, cache_keys_n, &st->cache},
        {"Lake", lake_keys, lake_keys_n, &st->lake},
        {"Secrets", secret_keys, secret_keys_n, &st->secrets},
    };
    const struct http_routes routes[] = {{.rows = form_routes_ingest, .count = FORM_ROUTES, .arg = &st->form}};
    return service_def_dup(a, &(struct service_def){.name = "stream",
                                                    .summary = "Turns inference events into statistics and Parquet.",
                                                    .tables = tables,
                                                    .table_count = sizeof tables / sizeof *tables,
                                                    .routes = routes,
                                                    .route_count = 1,
                                                    .guard = access_guard(a),
                                                    .open = open_stream,
                                                    .drain = drain_stream,
                                                    .close = close_stream,
                                                    .self = st});
}
