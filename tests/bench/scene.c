/* The stage of a benchmark of whole services. */
#include "scene.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/time.h"
#include "db/project.h"
#include "http/client.h"

#define START_US (30 * USEC_PER_SEC)

void scene_die(const char *what, const char *words)
{
    (void)fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, words);
    exit(1);
}

void scene_need(rc_t rc, const char *what, const struct err *e)
{
    if (rc)
        scene_die(what, e->text);
}

/* ---- the stage ---- */

int32_t scene_project_in(struct db *db, const char *name)
{
    struct err e;
    struct project p = {.name = mem_dupz(name),
                        .artifact_path = (char[]){""},
                        .document = (char[]){"{}"},
                        .base_period_us = 600 * USEC_PER_SEC,
                        .monitoring = true};
    scene_need(project_put(db, &p, &e), "project", &e);
    mem_free(p.name);
    return p.id;
}

int32_t scene_project(struct scene *s, const char *name)
{
    return scene_project_in(s->db.db, name);
}

void scene_open(struct scene *s)
{
    static char id[] = "bench";
    struct err e;
    char *brokers = getenv("MM_TEST_KAFKA");
    const char *dir = getenv("MM_TEST_DIR");
    if (!brokers || !dir)
        scene_die("environment", "MM_TEST_KAFKA and MM_TEST_DIR must be set");
    *s = (struct scene){.smoke = getenv("MM_BENCH_SMOKE") != NULL};
    (void)snprintf(s->system, sizeof s->system, "bench%d", (int)getpid());
    (void)snprintf(s->project, sizeof s->project, "b%d", (int)getpid());
    (void)snprintf(s->dir, sizeof s->dir, "%s", dir);
    s->bus = (struct bus_config){.brokers = brokers,
                                 .client_id = id,
                                 .linger_us = 2000,
                                 .partitions = SCENE_PARTITIONS,
                                 .replication = 1,
                                 .inflight_bytes = 64 << 20};
    testdb_open(&s->db, true);
    s->project_id = scene_project(s, s->project);
    scene_need(bus_producer_open(&s->producer, &s->bus, &e), "producer", &e);
}

void scene_close(struct scene *s)
{
    bus_producer_free(s->producer);
    testdb_close(&s->db);
}

void scene_topic(struct scene *s, const char *topic)
{
    struct err e;
    int32_t n = 0;
    scene_need(bus_topic_ensure(s->producer, topic, SCENE_PARTITIONS, &n, 30 * USEC_PER_SEC, &e), topic, &e);
}

/* ---- the service ---- */

__attribute__((noreturn)) static void become(const struct scene *s, const char *binary, const char *verb,
                                             const char *port_file, const char *const *more)
{
    char path[400];
    const char *bin = getenv("MM_BIN");
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)snprintf(path, sizeof path, "%s/%s.log", s->dir, binary);
    if (!freopen(path, "a", stderr) || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
        _exit(126);
    (void)setenv("DATABASE_URL", s->db.url, 1);
    (void)setenv("KAFKA_BROKERS", s->bus.brokers, 1);
    (void)setenv("REDIS_URL", "", 1);
    (void)setenv("SYSTEM_ID", s->system, 1);
    (void)setenv("GROUP_PREFIX", s->system, 1);
    (void)setenv("LAKE_DIR", s->dir, 1);
    (void)setenv("HTTP_ADDR", "127.0.0.1", 1);
    (void)setenv("HTTP_PORT", "0", 1);
    (void)setenv("HTTP_PORT_FILE", port_file, 1);
    (void)setenv("PRODUCER_LINGER", "2ms", 1);
    for (; more && *more; more += 2)
        (void)setenv(more[0], more[1], 1);
    (void)snprintf(path, sizeof path, "%s/%s", bin ? bin : "build/bin", binary);
    (void)execl(path, path, verb, (char *)NULL);
    _exit(127);
}

static bool is_up(struct process *p, const char *port_file)
{
    char url[80];
    FILE *f = fopen(port_file, "r");
    bool there = f && fscanf(f, "%d", &p->port) == 1;
    if (f)
        (void)fclose(f);
    if (!there)
        return false;
    const struct http_client_options options = {.reach = HTTP_REACH_LOOPBACK, .plain_ok = true};
    const struct http_call call = {.url = url};
    struct http_reply reply = {0};
    struct http_client *client = NULL;
    struct err e;
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%d/readyz", p->port);
    scene_need(http_client_new(&client, &options, &e), "HTTP client", &e);
    bool ready = http_client_call(client, &call, &reply, &e) == OK && reply.status == 200;
    buf_done(&reply.body);
    http_client_free(client);
    return ready;
}

static void port_file_of(char out[400], const struct scene *s, const char *binary)
{
    (void)snprintf(out, 400, "%s/%s.port", s->dir, binary);
}

void process_spawn(struct process *p, const struct scene *s, const char *binary, const char *const *more)
{
    char port_file[400];
    port_file_of(port_file, s, binary);
    (void)unlink(port_file);
    p->pid = fork();
    if (p->pid == 0)
        become(s, binary, p->verb, port_file, more);
}

void process_start(struct process *p, const struct scene *s, const char *binary, const char *const *more)
{
    char port_file[400];
    port_file_of(port_file, s, binary);
    process_spawn(p, s, binary, more);
    int64_t end = clock_mono_us() + START_US;
    while (!is_up(p, port_file)) {
        if (clock_mono_us() > end || waitpid(p->pid, NULL, WNOHANG) == p->pid)
            scene_die(binary, "it did not get ready: see its log");
        (void)usleep(20000);
    }
}

void process_stop(struct process *p)
{
    int status = 0;
    (void)kill(p->pid, SIGTERM);
    (void)waitpid(p->pid, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status))
        scene_die("a service", "it did not end well: see its log");
}

double process_cpu_us(const struct process *p)
{
    clockid_t clock;
    struct timespec ts;
    if (clock_getcpuclockid(p->pid, &clock) || clock_gettime(clock, &ts))
        scene_die("a service", "it is gone: see its log");
    return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec * 1e-3;
}

double process_memory_mib(const struct process *p, const char *row)
{
    char path[40], line[200];
    long kib = -1;
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)p->pid);
    FILE *f = fopen(path, "r");
    while (f && kib < 0 && fgets(line, sizeof line, f))
        if (strncmp(line, row, strlen(row)) == 0)
            kib = strtol(line + strlen(row), NULL, 10);
    if (f)
        (void)fclose(f); /* it was only read */
    if (kib < 0)
        scene_die("a service", "it is gone: see its log");
    return (double)kib / 1024;
}

/* ---- numbers ---- */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double scene_median(double *values, size_t n)
{
    qsort(values, n, sizeof *values, compare);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static double some_number(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return 0.1 + (double)(*seed >> 11) * 0x1p-53 * 0.9;
}

void scene_uid(char out[33], size_t nth)
{
    (void)snprintf(out, 33, "%032zx", nth + 0xabcdef);
}

void scene_event(struct buf *out, const struct scene *s, size_t nth)
{
    uint64_t seed = nth + 1;
    char uid[33], when[TIME_TEXT];
    scene_uid(uid, nth % 10);
    (void)time_mlrun(when, clock_now_us() - USEC_PER_SEC);
    buf_addf(out,
             "{\"class\":\"M\",\"worker\":0,\"model\":\"m\",\"host\":\"h\",\"function_uri\":\"%s/f:latest\","
             "\"endpoint_id\":\"%s\",\"sampling_percentage\":100.0,\"request\":{\"inputs\":[[",
             s->project, uid);
    for (int f = 0; f < SCENE_FEATURES; f++)
        buf_addf(out, "%s%.17g", f ? "," : "", some_number(&seed));
    buf_addf(
        out,
        "]]},\"op\":\"infer\",\"resp\":{\"id\":\"%016zx\",\"model_name\":\"m\",\"outputs\":[%.17g]},\"when\":\"%s\","
        "\"microsec\":%zu,\"effective_sample_count\":1}",
        nth, some_number(&seed), when, 100 + nth % 9000);
}

bool scene_print(const struct scene_line *l)
{
    char yardstick[80] = "\"yardstick\":null,\"ratio\":null";
    if (l->yardstick > 0)
        (void)snprintf(yardstick, sizeof yardstick, "\"yardstick\":%.6g,\"ratio\":%.4g", l->yardstick, l->ratio);
    (void)printf("{\"bench\":\"%s\",\"value\":%.6g,\"unit\":\"%s\",%s,\"bar\":%g,\"ok\":%s}\n", l->bench, l->value,
                 l->unit, yardstick, l->bar, l->met ? "true" : "false");
    (void)fflush(stdout);
    return l->met;
}
