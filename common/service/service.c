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
#include "base/mem.h"
#include "log/log.h"
#include "metrics/metrics.h"
#include "service/probe.h"
#include "service/routes.h"

#ifndef MODELMON_VERSION
#define MODELMON_VERSION "0.1.0-dev"
#endif

#define BEAT_US (2 * USEC_PER_SEC)

enum { EXIT_DONE = 0, EXIT_FATAL = 1, EXIT_CONFIG = 2 };

struct options {
    int log_level;
    bool core_dumps;
};

struct service {
    const struct service_def *def;
    struct options options;
    struct http_options http;
    struct config *config;
    struct loop *loop;
    struct health *health;
    struct http_server *server;
    struct loop_timer *beat;
    _Atomic int64_t beat_us; /* when the loop last turned */
    struct routes_context routes;
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
    return MODELMON_VERSION;
}

struct loop *service_loop(struct service *s)
{
    return s->loop;
}

struct health *service_health(struct service *s)
{
    return s->health;
}

/* ---- signals ---- */

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
    struct service *s = arg;
    log_info("drain");
    if (s->server)
        http_server_drain(s->server);
    if (s->def->drain)
        s->def->drain(s, s->def->self);
    else
        service_drained(s);
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
    struct service *s = arg;
    sigset_t set = end_signals();
    (void)wait_signal(&set, -1); /* whichever: both mean the same */
    if (atomic_load(&s->finished))
        return NULL;
    atomic_store(&s->stopped, true);
    atomic_store(&s->drain_until_us, clock_mono_us() + SERVICE_DRAIN_US);
    health_drain(s->health);
    loop_post(s->loop, begin_drain, s);
    int again = wait_signal(&set, SERVICE_DRAIN_US);
    if (atomic_load(&s->finished))
        return NULL;
    log_error("drain_cut",
              LF_STR("words", again > 0 ? "second signal: ending at once"
                                        : "not drained in time: ending; what is not acknowledged comes again"));
    _exit(EXIT_FATAL);
}

static rc_t start_signals(struct service *s, struct err *e)
{
    sigset_t set = end_signals();
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    (void)sigaction(SIGPIPE, &ignore, NULL); /* valid arguments */
    int rc = pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (rc == 0)
        rc = pthread_create(&s->signals, NULL, take_signals, s);
    s->has_signals = rc == 0;
    return rc == 0 ? OK : err_set(e, E_FATAL, "thread: %s", strerror(rc));
}

static void stop_signals(struct service *s)
{
    if (!s->has_signals)
        return;
    atomic_store(&s->finished, true);
    (void)pthread_kill(s->signals, SIGTERM); /* it waits for one, or has ended */
    (void)pthread_join(s->signals, NULL);
}

void service_drained(struct service *s)
{
    loop_stop(s->loop);
}

void service_stop(struct service *s)
{
    if (!atomic_exchange(&s->stopped, true)) /* a second one would end it at once */
        (void)pthread_kill(s->signals, SIGTERM);
}

void service_fail(struct service *s, const char *fmt, ...)
{
    char words[512];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(words, sizeof words, fmt, args); /* cut to fit is fine */
    va_end(args);
    log_error("fatal", LF_STR("words", (const char *)words));
    if (!atomic_exchange(&s->failed, true))
        service_stop(s);
}

/* ---- start ---- */

/* Secrets stay in memory: no core, no debugger of the same user. */
static void lock_down(const struct options *o)
{
    const struct rlimit none = {0, 0};
    (void)mallopt(M_ARENA_MAX, 4); /* glibc makes eight a core: memory that buys nothing here */
    if (o->core_dumps)
        return;
    if (setrlimit(RLIMIT_CORE, &none) != 0 || prctl(PR_SET_DUMPABLE, 0) != 0)
        log_warn("core_dumps", LF_STR("words", "cannot be turned off"), LF_STR("error", (const char *)strerror(errno)));
}

static void beat(void *arg)
{
    struct service *s = arg;
    atomic_store(&s->beat_us, clock_mono_us());
}

static rc_t start(struct service *s, struct err *e)
{
    const struct service_def *def = s->def;
    rc_t rc = loop_new(&s->loop, e);
    if (rc == OK)
        rc = start_signals(s, e);
    if (rc != OK)
        return rc;
    s->beat = loop_timer_new(s->loop, beat, s);
    loop_timer_every(s->beat, BEAT_US);
    beat(s);
    rc = def->open ? def->open(s, def->self, e) : OK;
    if (rc != OK)
        return rc;
    struct http_routes *tables = mem_array(def->route_count + 1, sizeof *tables);
    s->routes = (struct routes_context){.health = s->health, .beat_us = &s->beat_us};
    tables[0] = routes_builtin(&s->routes);
    for (size_t i = 0; i < def->route_count; i++)
        tables[i + 1] = def->routes[i];
    rc = http_server_start(&s->server, &s->http, tables, def->route_count + 1, e);
    mem_free(tables);
    return rc;
}

static void show_started(struct service *s)
{
    metrics_register(&metrics);
    size_t name = metrics_label(&metrics, BUILD_INFO, 0, str_of(s->def->name));
    size_t version = metrics_label(&metrics, BUILD_INFO, 1, str_of(service_version()));
    metric_set(metrics_at(&metrics, BUILD_INFO, name, version), 1);
    log_info("started", LF_STR("version", service_version()), LF_STR("addr", s->http.addr),
             LF_I64("port", http_server_port(s->server)), LF_I64("ms", (clock_mono_us() - s->start_us) / 1000));
}

static rc_t run(struct service *s, struct err *e)
{
    show_started(s);
    rc_t rc = loop_run(s->loop, e);
    if (rc != OK)
        return rc;
    int64_t left = atomic_load(&s->drain_until_us) - clock_mono_us() - USEC_PER_SEC;
    http_server_quiesce(s->server);
    if (http_server_stop(s->server, left > 0 ? left : 0) != OK) {
        log_error("drain_cut", LF_STR("words", "requests were left without an answer"));
        _exit(EXIT_FATAL); /* their memory is in use */
    }
    s->server = NULL;
    return OK;
}

/* Nothing serves any more, or never did. */
static void end(struct service *s)
{
    if (s->server && http_server_stop(s->server, 0) != OK)
        _exit(EXIT_FATAL);
    if (s->def->close)
        s->def->close(s->def->self);
    stop_signals(s);
    loop_timer_free(s->beat);
    loop_free(s->loop);
    health_free(s->health);
    config_free(s->config);
}

static int live(struct service *s)
{
    struct err e = {{0}};
    log_open(s->def->name, (enum log_level)s->options.log_level);
    lock_down(&s->options);
    s->health = health_new(s->def->name);
    rc_t rc = start(s, &e);
    if (rc == OK)
        rc = run(s, &e);
    if (rc != OK)
        log_error("fatal", LF_ERR(&e));
    end(s);
    int code = rc == E_INVALID ? EXIT_CONFIG : rc != OK || atomic_load(&s->failed) ? EXIT_FATAL : EXIT_DONE;
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

static int run_command(struct service *s, const struct config_spec *spec, const char *command)
{
    struct buf text = {0};
    if (strcmp(command, "--help") == 0)
        config_help(spec, &text);
    else if (strcmp(command, "--help-markdown") == 0)
        config_markdown(spec, &text);
    else if (strcmp(command, "--version") == 0)
        buf_addf(&text, "%s %s\n", s->def->name, service_version());
    else if (strcmp(command, "--check-ready") == 0)
        return probe_ready(spec, &s->http);
    else
        config_print(s->config, &text);
    return print(&text, stdout, EXIT_DONE);
}

static int load(struct service *s, const struct config_spec *spec, int argc, char **argv)
{
    struct buf faults = {0}, text = {0};
    if (config_load(&s->config, spec, argc, argv, &faults) == OK) {
        buf_done(&faults);
        return EXIT_DONE;
    }
    buf_addf(&text, "%s: wrong configuration\n%s", spec->program, faults.data);
    buf_done(&faults);
    return print(&text, stderr, EXIT_CONFIG);
}

int service_main(const struct service_def *def, int argc, char **argv)
{
    struct service s = {.def = def, .start_us = clock_mono_us()};
    struct config_table *tables = mem_array(def->table_count + 2, sizeof *tables);
    for (size_t i = 0; i < def->table_count; i++)
        tables[i] = def->tables[i];
    tables[def->table_count] = (struct config_table){"HTTP", http_keys, http_keys_n, &s.http};
    tables[def->table_count + 1] = CONFIG_TABLE("Process", keys, &s.options);
    const struct config_spec spec = {.program = def->name,
                                     .summary = def->summary,
                                     .tables = tables,
                                     .table_count = def->table_count + 2,
                                     .defaults = def->defaults,
                                     .commands = commands};
    const char *command = config_command(&spec, argc, argv);
    int code = EXIT_DONE;
    if (command == NULL || strcmp(command, "--print-config") == 0)
        code = load(&s, &spec, argc, argv);
    if (code == EXIT_DONE && command) {
        code = run_command(&s, &spec, command);
        config_free(s.config);
    } else if (code == EXIT_DONE) {
        code = live(&s);
    }
    mem_free(tables);
    return code;
}
