/* The life of a process. Signals are taken by a thread of their own: a loop that hangs can still be told to end, and the
 * end is bounded whatever hangs.
 *
 *   signal thread: SIGTERM ─▶ not ready ─▶ posts begin_drain ─▶ waits SERVICE_DRAIN_US or for a second signal ─▶ _exit(1) */
#include "service/service.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "log/log.h"
#include "metrics/metrics.h"
#include "service/parts.h"
#include "service/probe.h"
#include "service/routes.h"
#include "service/version.h"

#define BEAT_US (2 * USEC_PER_SEC)

enum { EXIT_DONE = 0, EXIT_FATAL = 1, EXIT_CONFIG = 2 };

struct options {
    int log_level;
    bool core_dumps;
};

struct service {
    struct process *process;
    const struct service_def *def;
    struct health *health;
    bool opened;
    atomic_bool drained;
};

struct process {
    const struct service_set *set;
    const struct service_guard *guard; /* NULL: none */
    bool guarded;                      /* it is open */
    struct service *parts;
    struct options options;
    struct http_options http;
    struct arena arena; /* the parts and their routes */
    struct config *config;
    struct loop *loop;
    struct health *health;
    struct http_server *server;
    struct loop_timer *beat;
    _Atomic int64_t beat_us; /* when the loop last turned */
    struct routes_context routes;
    atomic_size_t undrained; /* parts */
    int64_t start_us;
    pthread_t signals;
    bool has_signals;
    atomic_bool failed, stopped, finished;
    _Atomic int64_t drain_until_us;
};

static const struct config_value levels[] = {
    {"error", LOG_ERROR}, {"warn", LOG_WARN}, {"info", LOG_INFO}, {"debug", LOG_DEBUG}, {NULL, 0}};

static const struct config_key keys[] = {
    {.env = "LOG_LEVEL",
     .def = "info",
     .type = CONFIG_ENUM,
     .values = levels,
     .offset = offsetof(struct options, log_level),
     .help = "What is logged."},
    {.env = "CORE_DUMPS",
     .def = "false",
     .type = CONFIG_BOOL,
     .offset = offsetof(struct options, core_dumps),
     .help = "Allows core dumps and debuggers, which can see secrets."},
};

static const struct config_command commands[] = {
    {"--help", "This."},
    {"--version", "Prints the version."},
    {"--print-config", "Prints the configuration in force, secrets masked."},
    {"--help-markdown", "Prints the options as tables for a README."},
    {"--routes", "Prints each route: method, path, scope, whether that is of its project, of some or of all, whether "
                 "it is a page."},
    {"--check-ready", "Asks the running service: exit 0 when it is ready."},
    {NULL, NULL},
};

enum { BUILD_INFO };
static const struct metric_row rows[] = {
    [BUILD_INFO] = {.name = "modelmon_build_info",
                    .kind = METRIC_GAUGE,
                    .help = "Always 1.",
                    .labels = {{.name = "service", .cap = 16}, {.name = "version", .cap = 1}}},
};
static struct metric_set metrics = METRIC_SET(rows);

const char *service_version(void)
{
    return build_version;
}

struct loop *service_loop(struct service *s)
{
    return s->process->loop;
}

struct health *service_health(struct service *s)
{
    return s->health;
}

/* ---- signals ---- */

/* One part alone is the service itself. */
static const char *name_in_log(const struct service *s)
{
    return s->process->set->part_count > 1 ? s->def->name : NULL;
}

static sigset_t end_signals(void)
{
    sigset_t set;
    (void)sigemptyset(&set); /* these cannot fail */
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    return set;
}

static void begin_drain(void *arg)
{
    struct process *p = arg;
    log_info("drain");
    if (p->server)
        http_server_drain(p->server);
    for (size_t i = 0; i < p->set->part_count; i++) {
        struct service *s = &p->parts[i];
        log_as(name_in_log(s));
        if (s->def->drain)
            s->def->drain(s, s->def->self);
        else
            service_drained(s);
    }
    log_as(NULL);
}

static int wait_signal(const sigset_t *set, int64_t us)
{
    struct timespec ts = {.tv_sec = us / USEC_PER_SEC, .tv_nsec = us % USEC_PER_SEC * 1000};
    int signo;
    do
        signo = us < 0 ? sigwaitinfo(set, NULL) : sigtimedwait(set, NULL, &ts);
    while (signo < 0 && errno == EINTR);
    return signo;
}

static void *take_signals(void *arg)
{
    struct process *p = arg;
    sigset_t set = end_signals();
    (void)wait_signal(&set, -1); /* whichever: both mean the same */
    if (atomic_load(&p->finished))
        return NULL;
    atomic_store(&p->stopped, true);
    atomic_store(&p->drain_until_us, clock_mono_us() + SERVICE_DRAIN_US);
    health_drain(p->health);
    loop_post(p->loop, begin_drain, p);
    int again = wait_signal(&set, SERVICE_DRAIN_US);
    if (atomic_load(&p->finished))
        return NULL;
    log_error("drain_cut",
              LF_STR("words", again > 0 ? "second signal: ending at once"
                                        : "not drained in time: ending; what is not acknowledged comes again"));
    _exit(EXIT_FATAL);
}

static rc_t start_signals(struct process *p, struct err *e)
{
    sigset_t set = end_signals();
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    (void)sigaction(SIGPIPE, &ignore, NULL); /* valid arguments */
    int rc = pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (rc == 0)
        rc = pthread_create(&p->signals, NULL, take_signals, p);
    p->has_signals = rc == 0;
    return rc == 0 ? OK : err_set(e, E_FATAL, "thread: %s", strerror(rc));
}

static void stop_signals(struct process *p)
{
    if (!p->has_signals)
        return;
    atomic_store(&p->finished, true);
    (void)pthread_kill(p->signals, SIGTERM); /* it waits for one, or has ended */
    (void)pthread_join(p->signals, NULL);
}

void service_drained(struct service *s)
{
    if (!atomic_exchange(&s->drained, true) && atomic_fetch_sub(&s->process->undrained, 1) == 1)
        loop_stop(s->process->loop);
}

void service_stop(struct service *s)
{
    struct process *p = s->process;
    if (!atomic_exchange(&p->stopped, true)) /* a second one would end it at once */
        (void)pthread_kill(p->signals, SIGTERM);
}

void service_fail(struct service *s, const char *fmt, ...)
{
    char words[512];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(words, sizeof words, fmt, args); /* cut to fit is fine */
    va_end(args);
    log_error("fatal", LF_STR("words", (const char *)words));
    if (!atomic_exchange(&s->process->failed, true))
        service_stop(s);
}

/* ---- start ---- */

/* Secrets stay in memory: no core, no debugger of the same user. */
static void lock_down(const struct options *o)
{
    const struct rlimit none = {0, 0};
    /* Ten thousand endpoints are many small lasting pieces among large passing ones: few arenas, and the large ones outside. */
    (void)mallopt(M_ARENA_MAX, 2);
    (void)mallopt(M_MMAP_THRESHOLD, 256 << 10);
    if (o->core_dumps)
        return;
    if (setrlimit(RLIMIT_CORE, &none) != 0 || prctl(PR_SET_DUMPABLE, 0) != 0)
        log_warn("core_dumps", LF_STR("words", "cannot be turned off"), LF_STR("error", (const char *)strerror(errno)));
}

static void beat(void *arg)
{
    struct process *p = arg;
    atomic_store(&p->beat_us, clock_mono_us());
}

/* Not called for a part whose open was not: an earlier one has failed. */
static rc_t open_parts(struct process *p, struct err *e)
{
    rc_t rc = OK;
    for (size_t i = 0; rc == OK && i < p->set->part_count; i++) {
        struct service *s = &p->parts[i];
        s->opened = true;
        log_as(name_in_log(s));
        rc = s->def->open ? s->def->open(s, s->def->self, e) : OK;
    }
    log_as(NULL);
    return rc;
}

/* Appends every struct http_routes of the process. */
static size_t add_routes(struct process *p, struct buf *tables)
{
    bool guards_metrics = p->guard && p->guard->guards_metrics && *p->guard->guards_metrics;
    const struct http_routes own = routes_builtin(&p->routes, guards_metrics ? &p->guard->gate : NULL);
    buf_add(tables, (const char *)&own, sizeof own);
    parts_routes(p->set, &p->arena, tables);
    return tables->len / sizeof own;
}

static rc_t serve(struct process *p, struct err *e)
{
    struct buf tables = {0};
    p->routes = (struct routes_context){.health = p->health, .beat_us = &p->beat_us};
    size_t n = add_routes(p, &tables);
    rc_t rc = http_server_start(&p->server, &p->http, (const struct http_routes *)(const void *)tables.data, n, e);
    buf_done(&tables);
    return rc;
}

static rc_t open_guard(struct process *p, struct err *e)
{
    rc_t rc = p->guard ? p->guard->open(p->guard->self, p->health, e) : OK;
    p->guarded = p->guard && rc == OK;
    return rc;
}

static rc_t start(struct process *p, struct err *e)
{
    rc_t rc = loop_new(&p->loop, e);
    if (rc == OK)
        rc = start_signals(p, e);
    if (rc != OK)
        return rc;
    p->beat = loop_timer_new(p->loop, beat, p);
    loop_timer_every(p->beat, BEAT_US);
    beat(p);
    rc = open_parts(p, e);
    if (rc == OK)
        rc = open_guard(p, e);
    return rc ? rc : serve(p, e);
}

static void show_started(struct process *p)
{
    metrics_register(&metrics);
    size_t name = metrics_label(&metrics, BUILD_INFO, 0, str_of(p->set->name));
    size_t version = metrics_label(&metrics, BUILD_INFO, 1, str_of(service_version()));
    metric_set(metrics_at(&metrics, BUILD_INFO, name, version), 1);
    log_info("started", LF_STR("version", service_version()), LF_STR("addr", p->http.addr),
             LF_I64("port", http_server_port(p->server)), LF_I64("ms", (clock_mono_us() - p->start_us) / 1000));
    if (p->set->started)
        p->set->started(p->set->arg, http_scheme(&p->http), p->http.addr, http_server_port(p->server));
}

static rc_t run(struct process *p, struct err *e)
{
    show_started(p);
    rc_t rc = loop_run(p->loop, e);
    if (rc != OK)
        return rc;
    int64_t left = atomic_load(&p->drain_until_us) - clock_mono_us() - USEC_PER_SEC;
    http_server_quiesce(p->server);
    if (http_server_stop(p->server, left > 0 ? left : 0) != OK) {
        log_error("drain_cut", LF_STR("words", "requests were left without an answer"));
        _exit(EXIT_FATAL); /* their memory is in use */
    }
    p->server = NULL;
    return OK;
}

/* Nothing serves any more, or never did. */
static void end(struct process *p)
{
    if (p->server && http_server_stop(p->server, 0) != OK)
        _exit(EXIT_FATAL);
    if (p->guarded)
        p->guard->close(p->guard->self);
    for (size_t i = p->set->part_count; i-- > 0;)
        if (p->parts[i].opened && p->parts[i].def->close)
            p->parts[i].def->close(p->parts[i].def->self);
    stop_signals(p);
    loop_timer_free(p->beat);
    loop_free(p->loop);
    health_free(p->health);
    arena_done(&p->arena);
    config_free(p->config);
}

static void make_parts(struct process *p)
{
    size_t n = p->set->part_count;
    p->parts = arena_array(&p->arena, n, sizeof *p->parts);
    atomic_store(&p->undrained, n);
    for (size_t i = 0; i < n; i++) {
        const struct service_def *def = p->set->parts[i].def;
        p->parts[i].process = p;
        p->parts[i].def = def;
        p->parts[i].health = n == 1 ? p->health : health_part(p->health, def->name);
    }
}

static int live(struct process *p)
{
    struct err e = {{0}};
    log_open(p->set->name, (enum log_level)p->options.log_level);
    lock_down(&p->options);
    p->health = health_new(p->set->name);
    make_parts(p);
    rc_t rc = start(p, &e);
    if (rc == OK)
        rc = run(p, &e);
    if (rc != OK)
        log_error("fatal", LF_ERR(&e));
    end(p);
    int code = rc == E_INVALID ? EXIT_CONFIG : rc != OK || atomic_load(&p->failed) ? EXIT_FATAL : EXIT_DONE;
    log_info("stopped", LF_I64("code", code));
    return code;
}

/* ---- the command line ---- */

static int print(struct buf *text, FILE *to, int code)
{
    bool ok = fwrite(text->data ? text->data : "", 1, text->len, to) == text->len && fflush(to) == 0;
    buf_done(text);
    return ok ? code : EXIT_FATAL;
}

static void print_routes(struct process *p, struct buf *to)
{
    struct buf tables = {0};
    size_t n = add_routes(p, &tables);
    const struct http_routes *all = (const struct http_routes *)(const void *)tables.data;
    for (size_t t = 0; t < n; t++)
        for (size_t i = 0; i < all[t].count; i++) {
            const struct http_route *row = &all[t].rows[i];
            bool open = strcmp(row->scope, http_scopes[HTTP_OPEN]) == 0;
            const char *reach = open                                ? "-"
                                : strstr(row->pattern, "{project}") ? "project"
                                : row->flags & HTTP_SOME_PROJECTS   ? "some"
                                                                    : "all";
            buf_addf(to, "%s\t%s\t%s\t%s\t%s\n", row->method, row->pattern, row->scope, reach,
                     row->flags & HTTP_PAGE ? "page" : "");
        }
    buf_done(&tables);
    arena_done(&p->arena);
}

static int run_command(struct process *p, const struct config_spec *spec, const char *command)
{
    struct buf text = {0};
    if (strcmp(command, "--help") == 0)
        config_help(spec, &text);
    else if (strcmp(command, "--help-markdown") == 0)
        config_markdown(spec, &text);
    else if (strcmp(command, "--version") == 0)
        buf_addf(&text, "%s %s\n", p->set->name, service_version());
    else if (strcmp(command, "--check-ready") == 0)
        return probe_ready(spec, &p->http);
    else if (strcmp(command, "--routes") == 0)
        print_routes(p, &text);
    else
        config_print(p->config, &text);
    return print(&text, stdout, EXIT_DONE);
}

static rc_t check_guard(const void *process, struct err *e)
{
    const struct process *p = process;
    return p->guard->check(p->guard->self, &p->http, e);
}

static int load(struct process *p, const struct config_spec *spec, int argc, char **argv)
{
    struct buf faults = {0}, text = {0};
    if (config_load(&p->config, spec, argc, argv, &faults) == OK) {
        buf_done(&faults);
        return EXIT_DONE;
    }
    buf_addf(&text, "%s: wrong configuration\n%s", spec->program, faults.data);
    buf_done(&faults);
    return print(&text, stderr, EXIT_CONFIG);
}

int service_set_main(const struct service_set *set, int argc, char **argv)
{
    struct process p = {.set = set, .guard = parts_guard(set), .start_us = clock_mono_us()};
    const struct config_table own[] = {{"HTTP", http_keys, http_keys_n, &p.http}, CONFIG_TABLE("Process", keys, &p.options)};
    struct arena a = {0};
    struct config_spec spec = {.program = set->name, .summary = set->summary, .commands = commands};
    const struct config_rule guards = {{p.guard ? p.guard->option : NULL, "HTTP_ADDR"}, check_guard, &p};
    parts_config(set, own, sizeof own / sizeof *own, p.guard ? &guards : NULL, &a, &spec);
    const char *command = config_command(&spec, argc, argv);
    int code = EXIT_DONE;
    if (command == NULL || strcmp(command, "--print-config") == 0)
        code = load(&p, &spec, argc, argv);
    if (code == EXIT_DONE && command) {
        code = run_command(&p, &spec, command);
        config_free(p.config);
    } else if (code == EXIT_DONE) {
        code = live(&p);
    }
    arena_done(&a);
    return code;
}

int service_main(const struct service_def *def, int argc, char **argv)
{
    const struct service_part part = {.def = def};
    const struct service_set set = {.name = def->name, .summary = def->summary, .parts = &part, .part_count = 1};
    return service_set_main(&set, argc, argv);
}

int service_run(struct service_def *(*make)(struct arena *a), int argc, char **argv)
{
    struct arena a = {0};
    int code = service_main(make(&a), argc, argv);
    arena_done(&a);
    return code;
}
