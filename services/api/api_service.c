/* Owns the api service: options, open, drain. What it serves is in routes.c. */
#include "access/access.h"
#include "api.h"
#include "api_service.h"
#include "nuclio.h"
#include "service/service.h"

static const struct config_key keys[] = {
    {.env = "LAKE_DIR",
     .def = "/var/lib/modelmon/lake",
     .type = CONFIG_STR,
     .offset = offsetof(struct api_options, lake_dir),
     .help = "Root of the Parquet lake as the stream service has it; told to clients as their artifact path."},
    {.env = "ARTIFACT_PATH",
     .def = "",
     .type = CONFIG_STR,
     .offset = offsetof(struct api_options, artifact_path),
     .help = "What client-spec answers as artifact_path; {{project}} is filled in by the client. Empty: "
             "LAKE_DIR/{{project}}."},
    {.env = "STREAM_URL",
     .def = "http://127.0.0.1:8080",
     .type = CONFIG_STR,
     .offset = offsetof(struct api_options, stream_url),
     .help = "Where events are posted to, as the pages tell it."},
    {.env = "KAFKA_BROKERS",
     .def = "",
     .type = CONFIG_STR,
     .offset = offsetof(struct api_options, brokers),
     .help = "Where the other services' topics are; who puts an app that runs elsewhere is told when no other program "
             "can read "
             "them. Not connected to."},
    {.env = "API_POOL",
     .def = "4",
     .type = CONFIG_I64,
     .offset = offsetof(struct api_options, pool),
     .min = 1,
     .max = 64,
     .help = "Database connections for requests."},
};

static rc_t open_api(struct service *s, void *self, struct err *e)
{
    struct api *a = self;
    a->service = s;
    static char name[] = "modelmon-api";
    a->db.app_name = name;
    rc_t rc = secret_seal(&a->secrets, &a->seal, e);
    if (rc != OK)
        return rc;
    return pool_open(&a->pool, &a->db, &a->cache, (size_t)a->options.pool, service_health(s), e);
}

static void drain_api(struct service *s, void *self)
{
    (void)self; /* requests end by themselves */
    service_drained(s);
}

static void close_api(void *self)
{
    struct api *a = self;
    pool_free(a->pool);
    seal_free(a->seal);
}

struct service_def *api_service(struct arena *arena)
{
    static const struct config_default defaults[] = {
        {"HTTP_BODY_MAX", "8MiB"}, /* training rows */
        {NULL, NULL},
    };
    struct api *a = arena_alloc(arena, sizeof *a);
    api_rows(a);
    const struct config_table tables[] = {CONFIG_TABLE("API", keys, &a->options),
                                          {"Names", identity_keys, IDENTITY_SYSTEM, &a->options.id},
                                          {"Database", db_keys, db_keys_n, &a->db},
                                          {"Nuclio", nuclio_keys, nuclio_keys_n, &a->nuclio},
                                          {"Secrets", secret_keys, secret_keys_n, &a->secrets},
                                          {"Cache", cache_keys, cache_keys_n, &a->cache}};
    const struct http_routes routes[] = {{.rows = a->rows, .count = api_routes_n, .arg = a}};
    return service_def_dup(
        arena, &(struct service_def){.name = "api",
                                     .summary = "MLRun's model monitoring REST API and the pages that show drift.",
                                     .tables = tables,
                                     .table_count = sizeof tables / sizeof *tables,
                                     .defaults = defaults,
                                     .routes = routes,
                                     .route_count = 1,
                                     .guard = access_guard(arena),
                                     .open = open_api,
                                     .drain = drain_api,
                                     .close = close_api,
                                     .self = a});
}
