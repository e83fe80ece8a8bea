/* The whole program of an app: its options, its place among projects, its pipeline and its HTTP form. */
#include "access/access.h"
#include "app/app.h"
#include "app/guard.h"
#include <stdio.h>
#include <string.h>
#include "app/events.h"
#include "app/form.h"
#include "app/harness.h"
#include "app/watch.h"
#include "base/clock.h"
#include "event/names.h"
#include "log/log.h"
#include "pipeline/identity.h"
#include "service/service.h"

#define DRAIN_US (6 * USEC_PER_SEC)
#define AT(field) offsetof(struct app_options, field)

struct app_options {
    const char *name, *projects;
    struct identity id;
    int64_t batch_us, batch_max, known_max, timeout_us;
};

static rc_t check_name(const char *text, struct err *e)
{
    if (name_is_app(str_of(text)))
        return OK;
    return err_set(e, E_INVALID, "letters, digits, '_' and '-' are allowed, %d at most", NAME_APP_MAX);
}

static const struct config_key keys[] = {
    {.env = "APP_NAME",
     .def = "",
     .type = CONFIG_STR,
     .flags = CONFIG_REQUIRED,
     .offset = AT(name),
     .check = check_name,
     .help = "Name of the application: in its topics, its results and its consumer group."},
    {.env = "APP_PROJECTS",
     .def = "*",
     .type = CONFIG_STR,
     .offset = AT(projects),
     .help = "Projects it serves, separated by commas; *: all."},
    {.env = "APP_TIMEOUT",
     .def = "60s",
     .type = CONFIG_DURATION,
     .offset = AT(timeout_us),
     .min = 0,
     .max = 3600 * USEC_PER_SEC,
     .help = "A window that takes longer fails, and the process begins anew; 0: no limit."},
    {.env = "APP_BATCH_AGE",
     .def = "20ms",
     .type = CONFIG_DURATION,
     .offset = AT(batch_us),
     .min = 0,
     .max = 60 * USEC_PER_SEC,
     .help = "A window event waits this long for others, to share their commit."},
    {.env = "APP_BATCH", .def = "64", .type = CONFIG_I64, .offset = AT(batch_max), .min = 1, .max = 10000, .help = "Most window events in one commit."},
    {.env = "APP_REFERENCES",
     .def = "2000",
     .type = CONFIG_I64,
     .offset = AT(known_max),
     .min = 1,
     .max = 1000000,
     .help = "References kept in memory."},
};

struct program {
    const struct app *app;
    void *opts;
    const char *aside;
    struct app_options own;
    struct bus_config bus;
    struct db_config db;
    struct cache_config cache_cfg;
    struct lake_config lake;
    struct service *service;
    struct function_topics topics;
    struct app_row *registered; /* this second's list of all projects' apps */
    size_t n_registered;
    struct bus_producer *producer;
    struct cache *cache;
    struct form form;
    struct watch watch;
    struct app_events events;
    struct pipeline *pipeline;
    bool running;
    char pipeline_name[NAME_APP_MAX + 8], group[160];
};

/* ---- projects ---- */
static const struct app_row *registered_in(const struct program *p, const struct project *project)
{
    for (size_t i = 0; i < p->n_registered; i++)
        if (p->registered[i].project_id == project->id && strcmp(p->registered[i].name, p->own.name) == 0)
            return &p->registered[i];
    return NULL;
}

/* Inserted or changed, unless it is there as it should be; a project it does not serve knows it, if at all, as not active. */
static rc_t register_in(struct program *p, struct db *db, const struct project *project, bool serves, struct err *e)
{
    const struct app_row *r = registered_in(p, project);
    if (r ? r->active == serves && r->needs_rows == p->app->needs_rows && r->wants_empty == p->app->wants_empty : !serves)
        return OK;
    int32_t id = 0;
    const struct app_row row = {.project_id = project->id,
                                .name = (char *)(uintptr_t)p->own.name,
                                .needs_rows = p->app->needs_rows,
                                .wants_empty = p->app->wants_empty,
                                .active = serves};
    rc_t rc = app_register(db, &row, &id, e);
    if (rc == OK)
        log_info("registered", LF_STR("project", project->name), LF_STR("app", p->own.name), LF_BOOL("active", serves));
    return rc == E_CONFLICT ? OK : rc; /* the project was just deleted */
}

static bool is_listed(const char *list, const char *name)
{
    size_t n = strlen(name);
    for (const char *at = list; *at;) {
        at += strspn(at, ", ");
        size_t len = strcspn(at, ", ");
        if ((len == 1 && *at == '*') || (len == n && memcmp(at, name, n) == 0))
            return true;
        at += len;
    }
    return false;
}

static rc_t is_wanted(void *arg, struct db *db, const struct project *project, bool *ret, struct err *e)
{
    struct program *p = arg;
    bool is_default = strcmp(p->own.name, function_name(FUNCTION_HISTOGRAM)) == 0;
    bool serves = is_listed(p->own.projects, project->name);
    *ret = serves && (!is_default || project->default_app);
    if (!project->monitoring || (is_default && !project->default_app))
        return OK;
    return register_in(p, db, project, serves, e);
}

static struct program *of_events(void *self)
{
    return (struct program *)(void *)((char *)self - offsetof(struct program, events));
}

static rc_t list_topics(void *self, struct db *db, const struct pipeline_topic **ret, size_t *n, struct err *e)
{
    struct program *p = of_events(self);
    rc_t rc = apps_list(db, 0, &p->registered, &p->n_registered, e);
    if (!rc)
        rc = function_topics_load(&p->topics, db, ret, n, e);
    form_loaded(&p->form);
    watch_database(&p->watch, rc, e);
    watch_cache(&p->watch, p->cache);
    watch_lake(&p->watch);
    apps_free(p->registered, p->n_registered);
    p->registered = NULL;
    p->n_registered = 0;
    return rc;
}

/* ---- the HTTP form ---- */
static rc_t check_event(const struct form_call *c, struct str raw, struct form_event *ret, struct reject *why)
{
    struct window_event ev;
    rc_t rc = window_decode(raw.p, raw.n, http_arena(c->request), &ev, why);
    if (rc)
        return rc;
    ret->project = ev.project;
    ret->key = ev.endpoint_id;
    return OK;
}

static const struct form_ops form_ops = {.check = check_event, .topic = form_topic_of_function};

/* ---- life ---- */
static void pipeline_stopped(void *self)
{
    service_drained(of_events(self)->service);
}

static void pipeline_failed(void *self, const char *words)
{
    const struct program *p = of_events(self);
    service_fail(p->service, "%s: %s", p->pipeline_name, words);
}

static rc_t open_pipeline(struct program *p, struct err *e)
{
    (void)snprintf(p->pipeline_name, sizeof p->pipeline_name, "app:%s", p->own.name);
    (void)snprintf(p->group, sizeof p->group, "%.64s-%s", p->own.id.group_prefix, p->pipeline_name);
    struct app_events *a = &p->events;
    *a = (struct app_events){.app = p->app,
                             .opts = p->opts,
                             .name = str_of(p->own.name),
                             .system_id = p->own.id.system_id,
                             .batch_us = p->own.batch_us,
                             .batch_max = p->own.batch_max,
                             .timeout_us = p->own.timeout_us,
                             .aside = p->aside,
                             .topics = &p->topics,
                             .producer = p->producer,
                             .loader = {.cache = p->cache, .lake = &p->lake, .shapes_max = (size_t)p->own.known_max}};
    acks_init(&a->acks);
    a->dead = dead_letters_new(p->pipeline_name, p->producer);
    const struct pipeline_config cfg = {
        .name = p->pipeline_name,
        .group = p->group,
        .bus = &p->bus,
        .db = &p->db,
        .producer = p->producer,
        .ops = &app_events_ops,
        .self = a,
        .topics = list_topics,
        .health = service_health(p->service),
        .need = HEALTH_REQUIRED,
        .failed = pipeline_failed,
        .stopped = pipeline_stopped,
        .one_by_one = guard_broke() != NULL,
    };
    rc_t rc = pipeline_open(&p->pipeline, &cfg, e);
    if (!rc)
        rc = pipeline_start(p->pipeline, e);
    p->running = rc == OK;
    return rc;
}

/* Why this process was begun: the life before could not say it. */
static void tell_broken(const struct program *p)
{
    const char *broke = guard_broke();
    size_t n = strlen(p->app->name);
    if (broke && strncmp(broke, p->app->name, n) == 0 && broke[n] == ' ')
        log_error("restart", LF_STR("app", p->own.name), LF_STR("window", broke + n + 1),
                  LF_STR("words", "the app crashed or hung on this window, which becomes a dead letter"));
}

static void tell_aside(struct program *p)
{
    log_error("set_aside", LF_STR("app", p->own.name), LF_STR("words", p->aside));
    health_set(health_add(service_health(p->service), "app", HEALTH_OPTIONAL, 0), HEALTH_DEGRADED, "%s", p->aside);
}

static rc_t open_program(struct service *s, void *self, struct err *e)
{
    struct program *p = self;
    p->service = s;
    p->db.app_name = (char *)(uintptr_t)p->app->name;
    app_events_metrics();
    function_topics_init(&p->topics, p->own.id.system_id, p->own.name);
    p->topics.wanted = is_wanted;
    p->topics.arg = p;
    rc_t rc = bus_producer_open(&p->producer, &p->bus, e);
    if (!rc)
        rc = cache_open(&p->cache, &p->cache_cfg, e);
    if (rc)
        return rc;
    watch_open(&p->watch, s, p->producer, &p->bus, &p->cache_cfg, p->app->needs_rows ? &p->lake : NULL);
    p->form = (struct form){
        .function = p->own.name, .ops = &form_ops, .self = &p->topics, .producer = p->producer, .loop = service_loop(s)};
    form_open(&p->form);
    tell_broken(p);
    if (p->aside)
        tell_aside(p);
    return open_pipeline(p, e);
}

static void drain_program(struct service *s, void *self)
{
    struct program *p = self;
    form_drain(&p->form);
    bus_producer_end_by(p->producer, clock_mono_us() + DRAIN_US);
    if (p->running)
        pipeline_ask_stop(p->pipeline, DRAIN_US);
    else
        service_drained(s);
}

static void close_program(void *self)
{
    struct program *p = self;
    if (p->running)
        pipeline_stop(p->pipeline, 0);
    pipeline_free(p->pipeline);
    bus_producer_free(p->producer);
    app_events_done(&p->events);
    function_topics_done(&p->topics);
    cache_free(p->cache);
}

static const char *scoped_name(const char *env, const char *scope, struct arena *a)
{
    size_t n = strlen(scope);
    return strncmp(env, scope, n) == 0 && env[n] == '_' ? env : arena_printf(a, "%s_%s", scope, env);
}

static struct config_table table_of(const char *title, const struct config_key *of, size_t n, void *target,
                                    const char *scope, struct arena *a)
{
    struct config_key *copy = arena_array(a, n + 1, sizeof *copy);
    for (size_t i = 0; i < n; i++) {
        copy[i] = of[i];
        copy[i].env = scope ? scoped_name(of[i].env, scope, a) : of[i].env;
    }
    return (struct config_table){scope ? arena_printf(a, "%s (%s)", title, scope) : title, copy, n, target};
}

static const struct config_default *defaults_of(const struct app *app, const char *scope, struct arena *a)
{
    const struct config_default own[] = {
        {scope ? scoped_name("APP_NAME", scope, a) : "APP_NAME", app->name},
        {scope ? scoped_name("APP_PROJECTS", scope, a) : "APP_PROJECTS", app->projects ? app->projects : "*"},
        {"HTTP_BODY_MAX", "2MiB"},
        {NULL, NULL},
    };
    struct config_default *all = arena_array(a, sizeof own / sizeof *own, sizeof *own);
    memcpy(all, own, sizeof own);
    return all;
}

const struct config_rule *app_rules(const struct app *app, const void *opts, const char *scope, struct arena *a)
{
    struct config_rule *rules = arena_array(a, app->n_rules + 1, sizeof *rules);
    for (size_t i = 0; i < app->n_rules; i++) {
        rules[i] = app->rules[i];
        rules[i].target = opts;
        for (size_t k = 0; scope && k < sizeof rules[i].names / sizeof *rules[i].names; k++)
            rules[i].names[k] = scoped_name(rules[i].names[k], scope, a);
    }
    return rules;
}

struct service_def *app_service_scoped(const struct app *app, const char *scope, struct arena *a)
{
    struct program *p = arena_alloc(a, sizeof *p);
    *p = (struct program){.app = app, .opts = arena_alloc(a, app->opts_size ? app->opts_size : 1)};
    const struct config_table tables[] = {
        table_of("Application", keys, sizeof keys / sizeof *keys, &p->own, scope, a),
        {"Names", identity_keys, IDENTITY_GROUPS, &p->own.id},
        {"Database", db_keys, db_keys_n, &p->db},
        {"Kafka", bus_keys, bus_keys_n, &p->bus},
        {"Cache", cache_keys, cache_keys_n, &p->cache_cfg},
        {"Lake", lake_keys, lake_keys_n, &p->lake},
        table_of("Of this app", app->keys, app->n_keys, p->opts, scope, a), /* last: an app may have none */
    };
    const struct http_routes routes[] = {{.rows = form_routes_write, .count = FORM_ROUTES, .arg = &p->form}};
    return service_def_dup(a, &(struct service_def){.name = app->name,
                                                    .summary = app->summary,
                                                    .tables = tables,
                                                    .table_count = sizeof tables / sizeof *tables - (app->n_keys ? 0 : 1),
                                                    .rules = app_rules(app, p->opts, scope, a),
                                                    .rule_count = app->n_rules,
                                                    .defaults = defaults_of(app, scope, a),
                                                    .routes = routes,
                                                    .route_count = 1,
                                                    .guard = access_guard(a),
                                                    .open = open_program,
                                                    .drain = drain_program,
                                                    .close = close_program,
                                                    .self = p});
}

void app_set_aside(struct service_def *def, const char *words)
{
    ((struct program *)def->self)->aside = words;
}

struct service_def *app_service(const struct app *app, struct arena *a)
{
    return app_service_scoped(app, NULL, a);
}

int app_main(const struct app *app, int argc, char **argv)
{
    int tried = harness_main(app, argc, argv);
    if (tried >= 0)
        return tried;
    struct arena a = {0};
    int code = service_main(app_service(app, &a), argc, argv);
    arena_done(&a);
    return code;
}
