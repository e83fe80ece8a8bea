/* modelmon run: every service in one process, over a folder of its own unless servers are named. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "again.h"
#include "api/api_service.h"
#include "app/app.h"
#include "app/guard.h"
#include "controller/controller_service.h"
#include "folder.h"
#include "histogram-drift-app/drift_app.h"
#include "llm-app/llm_app.h"
#include "operations-app/operations_app.h"
#include "pipeline/identity.h"
#include "service/service.h"
#include "stream/stream_service.h"
#include "tool.h"
#include "writer/writer_service.h"

#define DATA_DIR_DEFAULT "modelmon-data"

struct run_options {
    const char *data_dir;
};

static const struct config_key keys[] = {
    {.env = "DATA_DIR",
     .def = DATA_DIR_DEFAULT,
     .type = CONFIG_STR,
     .flags = CONFIG_REQUIRED,
     .offset = offsetof(struct run_options, data_dir),
     .help = "Folder of all that is kept: database, log of events, lake. One process at a time."},
};

/* ---- the folder, first of the parts: taken before the others open, given back after they closed ---- */
struct folder {
    struct run_options options;
    struct identity id;
    int fd;
};

static rc_t open_folder(struct service *s, void *self, struct err *e)
{
    struct folder *f = self;
    (void)s; /* it has nothing to run */
    rc_t rc = folder_take(f->options.data_dir, &f->fd, e);
    return rc ? rc : folder_system(f->options.data_dir, f->id.system_id, e);
}

static void close_folder(void *self)
{
    struct folder *f = self;
    if (f->fd >= 0)
        (void)close(f->fd); /* ends the lock */
}

static struct service_def *folder_service(struct arena *a)
{
    struct folder *f = arena_alloc(a, sizeof *f);
    f->fd = -1;
    const struct config_table tables[] = {CONFIG_TABLE("Data", keys, &f->options),
                                          {"Names", identity_keys, IDENTITY_SYSTEM, &f->id}};
    return service_def_dup(a, &(struct service_def){.name = "folder",
                                                    .summary = "The data folder.",
                                                    .tables = tables,
                                                    .table_count = 2,
                                                    .open = open_folder,
                                                    .close = close_folder,
                                                    .self = f});
}

/* ---- all of them ---- */
static struct service_def *drift_service(struct arena *a)
{
    return app_service(&drift_app, a);
}

static struct service_def *operations_service(struct arena *a)
{
    return app_service_scoped(&operations_app, "OPERATIONS", a);
}

static struct service_def *llm_service(struct arena *a)
{
    return app_service_scoped(&llm_app, "LLM", a);
}

/* To add a service: its row here. What answers POST / by itself elsewhere has a path of its own here. */
static const struct {
    struct service_def *(*make)(struct arena *a);
    const char *under;
    bool is_app;
} services[] = {
    {folder_service, NULL, false},
    {api_service, NULL, false},
    {stream_service, NULL, false},
    {controller_service, "/functions/controller", false},
    {writer_service, "/functions/writer", false},
    {drift_service, "/functions/histogram-drift-app", true},
    {operations_service, "/functions/operations-app", true},
    {llm_service, "/functions/llm-app", true},
};
#define N_SERVICES (sizeof services / sizeof *services)

/* The defaults that depend on the folder, which is therefore looked for before the rest. */
struct place {
    const char *env, *before, *name;
};
static const struct place places[] = {
    {"DATABASE_URL", "sqlite://", "/modelmon.db"},
    {"KAFKA_BROKERS", "local:", "/log"},
    {"LAKE_DIR", "", "/lake"},
    {"SECRETS_KEY_MADE", "", "/secrets.key"},
};
#define N_PLACES (sizeof places / sizeof *places)

static const struct config_default fixed[] = {
    {"REDIS_URL", "memory:"},       {"HTTP_THREADS", "4"}, /* events are decoded on them */
    {"HTTP_BODY_MAX", "8MiB"},                             /* training rows */
    {"LAKE_MEMORY", "48MiB"},                              /* one of many in the process; so the next two */
    {"STATISTICS_MEMORY", "24MiB"}, {"DEDUPE_RECORDS", "32768"}, {"PAIR_MEMORY", "4MiB"},
};
#define N_FIXED (sizeof fixed / sizeof *fixed)

static const char *folder_asked(int argc, char **argv)
{
    const char *dir = getenv("DATA_DIR");
    for (int i = 1; i < argc; i++)
        if (strncmp(argv[i], "--data-dir=", 11) == 0)
            dir = argv[i] + 11;
    return dir && *dir ? dir : DATA_DIR_DEFAULT;
}

static const struct config_default *defaults_in(const char *dir, struct arena *a)
{
    struct config_default *all = arena_array(a, N_PLACES + N_FIXED + 1, sizeof *all);
    char *here = *dir == '/' ? NULL : getcwd(NULL, 0);
    size_t n = 0;
    for (size_t i = 0; i < N_PLACES; i++)
        all[n++] = (struct config_default){places[i].env, arena_printf(a, "%s%s%s%s%s", places[i].before, here ? here : "",
                                                                       here ? "/" : "", dir, places[i].name)};
    for (size_t i = 0; i < N_FIXED; i++)
        all[n++] = fixed[i];
    free(here);
    return all;
}

#define PORT_FLAG "--http-port="

struct life {
    char **argv;
    int argc;
    char port[sizeof PORT_FLAG + 8]; /* the flag that has the next life on the same one */
};

static void say_where(void *arg, const char *scheme, const char *addr, int port)
{
    struct life *l = arg;
    (void)snprintf(l->port, sizeof l->port, PORT_FLAG "%d", port);                    /* fits */
    guard_next_argument(strcmp(l->argv[l->argc - 1], l->port) == 0 ? NULL : l->port); /* the last one counts */
    folder_port_write(folder_asked(l->argc - 1, l->argv + 1), port);
    bool all = strcmp(addr, "0.0.0.0") == 0 || strcmp(addr, "::") == 0;
    printf("modelmon runs at %s://%s:%d (events: POST /PROJECT; pages: /). Ctrl-C ends it.\n", scheme,
           all ? "127.0.0.1" : addr, port);
    (void)fflush(stdout); /* a closed stdout is the caller's wish */
}

static struct service_def *make_service(size_t i, struct arena *a)
{
    struct service_def *def = services[i].make(a);
    if (services[i].is_app && again_is_aside(def->name))
        app_set_aside(def, AGAIN_ASIDE_WORDS);
    return def;
}

static void make_set(struct service_set *set, struct life *l, struct arena *a)
{
    struct service_part *parts = arena_array(a, N_SERVICES, sizeof *parts);
    for (size_t i = 0; i < N_SERVICES; i++)
        parts[i] = (struct service_part){make_service(i, a), services[i].under};
    *set = (struct service_set){.name = "modelmon",
                                .summary = "All services in one process, over one folder.",
                                .parts = parts,
                                .part_count = N_SERVICES,
                                .defaults = defaults_in(folder_asked(l->argc - 1, l->argv + 1), a),
                                .started = say_where,
                                .arg = l};
}

static int run_main(int argc, char **argv)
{
    struct arena a = {0};
    struct service_set set;
    struct life l = {.argv = argv - 1, .argc = argc + 1}; /* with the program's name and the verb */
    again_note();
    make_set(&set, &l, &a);
    int code = service_set_main(&set, argc, argv);
    arena_done(&a);
    return code;
}

const struct verb verb_run = {
    .name = "run", .operands = "", .summary = "Starts every service in one process.", .main = run_main};
