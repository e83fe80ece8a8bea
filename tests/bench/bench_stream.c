/* stream_20x1: CPU per event of the stream service, both pipelines, Kafka in, PostgreSQL and Parquet out, against
 * librdkafka's bare consumer on the same topic: the median of runs before and after, a single one differs by a half. The work is checked: every row is in slots and in the manifest. */
#include <librdkafka/rdkafka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/time.h"
#include "db/project.h"
#include "event/names.h"
#include "pipeline/acks.h"
#include "scene.h"

#define FEATURES 20
#define PARTITIONS 8
#define BARE_RUNS 7

struct bench {
    const char *name;
    int64_t events, endpoints;
    const char *lake_memory, *lake_age;
    double bar;
    char topic[NAME_TOPIC_MAX + 1], project[40], url[300], group[60], dir[300];
    struct bus_config bus;
    struct db *db;
    struct bus_producer *producer;
};

static void die(const char *what, const struct err *e)
{
    (void)fprintf(stderr, "bench_stream: %s: %s\n", what, e ? e->text : "");
    exit(1);
}

static void need(rc_t rc, const char *what, const struct err *e)
{
    if (rc)
        die(what, e);
}

static double cpu_of(int who)
{
    struct rusage u;
    (void)getrusage(who, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static double next(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)(*seed >> 11) * 0x1p-53;
}

static size_t event_make(const struct bench *b, int64_t i, int64_t now_us, uint64_t *seed, char out[2048], char uid[33])
{
    char when[TIME_TEXT];
    (void)snprintf(uid, 33, "%032llx", (unsigned long long)(i % b->endpoints) + 0xabcdef);
    (void)time_mlrun(when, now_us - 60 * USEC_PER_SEC + i);
    int n = snprintf(out, 2048,
                     "{\"class\":\"M\",\"worker\":0,\"model\":\"m\",\"host\":\"h\",\"function_uri\":\"%s/f:latest\","
                     "\"endpoint_id\":\"%s\",\"sampling_percentage\":100.0,\"request\":{\"inputs\":[[",
                     b->project, uid);
    for (int f = 0; f < FEATURES; f++)
        n += snprintf(out + n, 2048 - (size_t)n, "%s%.17g", f ? "," : "", next(seed) * 0.9 + 0.1);
    n += snprintf(out + n, 2048 - (size_t)n,
                  "]]},\"op\":\"infer\",\"resp\":{\"id\":\"%016llx\",\"model_name\":\"m\",\"outputs\":[%.17g]},"
                  "\"when\":\"%s\",\"microsec\":%d,\"effective_sample_count\":1}",
                  (unsigned long long)i, next(seed), when, (int)(next(seed) * 9000));
    return (size_t)n;
}

static double fill(struct bench *b)
{
    struct acks acks;
    struct err e;
    char text[2048], uid[33];
    uint64_t seed = 1, bytes = 0;
    int64_t now = clock_now_us();
    acks_init(&acks);
    for (int64_t i = 0; i < b->events; i++) {
        size_t n = event_make(b, i, now, &seed, text, uid);
        bytes += n;
        need(acks_produce(&acks, b->producer, b->topic, (struct str){uid, 32}, (struct str){text, n}, NULL, 0,
                          60 * USEC_PER_SEC, &e),
             "producing", &e);
    }
    need(acks_wait(&acks, 120 * USEC_PER_SEC, &e), "producing", &e);
    return (double)bytes / (double)b->events;
}

/* The yardstick: poll, look at the length, throw away. */
static double bare_consumer(const struct bench *b)
{
    char text[300];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    (void)rd_kafka_conf_set(conf, "bootstrap.servers", b->bus.brokers, text, sizeof text);
    (void)rd_kafka_conf_set(conf, "group.id", "bare", text, sizeof text);
    (void)rd_kafka_conf_set(conf, "enable.auto.commit", "false", text, sizeof text);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    if (!rk)
        die("bare consumer", NULL);
    (void)rd_kafka_poll_set_consumer(rk);
    rd_kafka_topic_partition_list_t *parts = rd_kafka_topic_partition_list_new(PARTITIONS);
    for (int i = 0; i < PARTITIONS; i++)
        rd_kafka_topic_partition_list_add(parts, b->topic, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
    double began = cpu_of(RUSAGE_SELF);
    (void)rd_kafka_assign(rk, parts);
    uint64_t bytes = 0;
    for (int64_t seen = 0; seen < b->events;) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, 1000);
        if (m && !m->err) {
            bytes += m->len;
            seen++;
        }
        if (m)
            rd_kafka_message_destroy(m);
    }
    double took = cpu_of(RUSAGE_SELF) - began;
    rd_kafka_topic_partition_list_destroy(parts);
    (void)rd_kafka_consumer_close(rk);
    rd_kafka_destroy(rk);
    return bytes ? took / (double)b->events : 0;
}

static int64_t ask(struct bench *b, const char *sql)
{
    struct err e;
    struct db_rows *rows = NULL;
    need(db_exec(b->db, sql, NULL, 0, &rows, &e), sql, &e);
    int64_t v = db_rows_n(rows) ? db_i64(rows, 0, 0) : 0;
    db_rows_free(rows);
    return v;
}

/* What is not as it ships, NAME and value; the names of servers and folders go without saying. */
#define SETTINGS 4
static void settings_of(const struct bench *b, const char *ret[SETTINGS][2])
{
    const char *const all[SETTINGS][2] = {
        {"LAKE_MEMORY", b->lake_memory}, {"LAKE_AGE", b->lake_age}, {"LAKE_AGE_PER_FILE", "0s"}, {"REDIS_URL", ""}};
    memcpy(ret, all, sizeof all);
}

static pid_t start_stream(const struct bench *b)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    const char *bin = getenv("MM_BIN");
    char path[400], log[400];
    (void)snprintf(path, sizeof path, "%s/stream", bin ? bin : "build/bin");
    (void)snprintf(log, sizeof log, "%s/stream-%s.log", b->dir, b->name);
    (void)setenv("DATABASE_URL", b->url, 1);
    (void)setenv("KAFKA_BROKERS", b->bus.brokers, 1);
    (void)setenv("HTTP_PORT", "0", 1);
    (void)setenv("SYSTEM_ID", "bench", 1);
    (void)setenv("GROUP_PREFIX", b->group, 1);
    (void)setenv("LAKE_DIR", b->dir, 1);
    const char *settings[SETTINGS][2];
    settings_of(b, settings);
    for (size_t i = 0; i < SETTINGS; i++)
        (void)setenv(settings[i][0], settings[i][1], 1);
    if (!freopen(log, "w", stderr))
        _exit(126);
    (void)execl(path, path, (char *)NULL);
    _exit(127);
}

/* CPU of the whole life of the service, from start to drained. The lake flushes at its memory or at lake_age, as in service. */
static double run_stream(struct bench *b)
{
    double began = cpu_of(RUSAGE_CHILDREN);
    pid_t pid = start_stream(b);
    int64_t end = clock_mono_us() + 900 * USEC_PER_SEC;
    (void)usleep(500000);
    while (ask(b,
               "SELECT coalesce(min(done), 0)::bigint FROM (SELECT sum(coalesce(next_offset, 0)) AS done FROM ledger "
               "WHERE pipeline IN ('statistics', 'lake') GROUP BY pipeline) AS each") < b->events) {
        if (clock_mono_us() > end || waitpid(pid, NULL, WNOHANG) == pid)
            die("the service did not get to the end: see its log", NULL);
        (void)usleep(50000);
    }
    (void)kill(pid, SIGTERM);
    int status = 0;
    (void)waitpid(pid, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status))
        die("the service did not end well: see its log", NULL);
    return (cpu_of(RUSAGE_CHILDREN) - began) / (double)b->events;
}

static void check(struct bench *b)
{
    int64_t slots = ask(b, "SELECT coalesce(sum(rows), 0)::bigint FROM slots");
    int64_t lake = ask(b, "SELECT coalesce(sum(rows), 0)::bigint FROM manifest");
    if (slots == b->events && lake == b->events)
        return;
    (void)fprintf(stderr, "bench_stream: %lld events, %lld rows in slots, %lld in the lake\n", (long long)b->events,
                  (long long)slots, (long long)lake);
    exit(1);
}

static void open_all(struct bench *b)
{
    struct err e;
    char *url = getenv("MM_TEST_PG"), *brokers = getenv("MM_TEST_KAFKA");
    const char *dir = getenv("MM_TEST_DIR"), *slash = url ? strrchr(url, '/') : NULL;
    if (!slash || !brokers || !dir)
        die("MM_TEST_PG, MM_TEST_KAFKA and MM_TEST_DIR must be set", NULL);
    static char id[] = "bench";
    (void)snprintf(b->project, sizeof b->project, "b-%d-%d", (int)getpid(), (int)(b->endpoints > 10));
    (void)snprintf(b->url, sizeof b->url, "%.*s/bench_%d_%s", (int)(slash - url), url, (int)getpid(), b->name);
    (void)snprintf(b->group, sizeof b->group, "bench-%d-%s", (int)getpid(), b->name);
    (void)snprintf(b->dir, sizeof b->dir, "%s", dir);
    b->bus = (struct bus_config){.brokers = brokers,
                                 .client_id = id,
                                 .linger_us = 5000,
                                 .partitions = PARTITIONS,
                                 .replication = 1,
                                 .inflight_bytes = 64 << 20};
    struct db_config cfg = {
        .url = b->url, .connect_us = 3 * USEC_PER_SEC, .statement_us = 60 * USEC_PER_SEC, .migrate = true, .app_name = id};
    need(db_open(&b->db, &cfg, &e), "database", &e);
    need(db_ready(b->db, &e), "database", &e);
    struct project p = {.name = b->project,
                        .artifact_path = (char[]){""},
                        .document = (char[]){"{}"},
                        .base_period_us = 600 * USEC_PER_SEC,
                        .monitoring = true};
    need(project_put(b->db, &p, &e), "project", &e);
    need(topic_stream(b->topic, "bench", str_of(b->project), &e), "topic", &e);
    need(bus_producer_open(&b->producer, &b->bus, &e), "producer", &e);
    int32_t n;
    need(bus_topic_ensure(b->producer, b->topic, PARTITIONS, &n, 30 * USEC_PER_SEC, &e), "topic", &e);
}

/* Records with reference statistics, as a monitored endpoint has them: 20 bins over [0, 1] for each feature. */
static void add_endpoints(struct bench *b)
{
    struct buf stats = {0};
    for (int f = 0; f < FEATURES; f++) {
        buf_addf(&stats, "%s\"f%d\":{\"count\":2000,\"mean\":0.5,\"std\":0.3,\"min\":0,\"max\":1,\"hist\":[[",
                 f ? "," : "{", f);
        for (int i = 0; i < 20; i++)
            buf_addf(&stats, "%s100", i ? "," : "");
        buf_addz(&stats, "],[");
        for (int i = 0; i <= 20; i++)
            buf_addf(&stats, "%s%g", i ? "," : "", i / 20.0);
        buf_addz(&stats, "]]}");
    }
    buf_addz(&stats, "}");
    struct err e;
    const struct db_value v[] = {DBV_I64(b->endpoints), DBV_TEXT(buf_str(&stats))};
    need(db_exec(
             b->db,
             "INSERT INTO endpoints (project_id, uid, name, function_name, created_us, updated_us, reference_version) "
             "SELECT 1, lpad(to_hex(i + 11259375), 32, '0'), 'm' || i, 'f', 1, 1, 1 FROM generate_series(0, $1 - 1) AS "
             "i",
             v, 1, NULL, &e),
         "endpoints", &e);
    need(db_exec(b->db,
                 "INSERT INTO endpoint_references (project_id, endpoint_id, version, statistics, source, created_us) "
                 "SELECT 1, id, 1, $1, 'record', 1 FROM endpoints",
                 v + 1, 1, NULL, &e),
         "references", &e);
    buf_done(&stats);
}

static bool run(struct bench *b)
{
    open_all(b);
    add_endpoints(b);
    double bytes = fill(b);
    double each[BARE_RUNS];
    for (int i = 0; i < BARE_RUNS / 2; i++)
        each[i] = bare_consumer(b);
    double ours = run_stream(b);
    for (int i = BARE_RUNS / 2; i < BARE_RUNS; i++)
        each[i] = bare_consumer(b);
    check(b);
    double bare = scene_median(each, BARE_RUNS), ratio = ours / bare;
    (void)fprintf(stderr,
                  "# %s: %lld events of %.0f bytes, %lld endpoints, %d partitions, uncompressed; bare consumer %.2f to "
                  "%.2f us in %d runs\n",
                  b->name, (long long)b->events, bytes, (long long)b->endpoints, PARTITIONS, each[0] * 1e6,
                  each[BARE_RUNS - 1] * 1e6, BARE_RUNS);
    const char *settings[SETTINGS][2];
    settings_of(b, settings);
    for (size_t i = 0; i < SETTINGS; i++)
        (void)fprintf(stderr, "# %s: with %s=%s\n", b->name, settings[i][0], settings[i][1]);
    (void)printf("{\"bench\":\"%s\",\"value\":%.3f,\"unit\":\"us CPU per "
                 "event\",\"yardstick\":%.3f,\"ratio\":%.2f,\"bar\":%.1f,\"ok\":%s}\n",
                 b->name, ours * 1e6, bare * 1e6, ratio, b->bar, ratio <= b->bar ? "true" : "false");
    bus_producer_free(b->producer);
    db_free(b->db);
    return ratio <= b->bar;
}

int main(void)
{
    bool smoke = getenv("MM_BENCH_SMOKE") != NULL;
    struct bench few = {.name = "stream_20x1",
                        .events = smoke ? 5000 : 400000,
                        .endpoints = 10,
                        .lake_memory = "256MiB",
                        .lake_age = "5s",
                        .bar = 16};
    struct bench many = {.name = "stream_20x1_10k_endpoints",
                         .events = smoke                       ? 5000
                                   : getenv("MM_BENCH_EVENTS") ? atoll(getenv("MM_BENCH_EVENTS"))
                                                               : 2000000,
                         .endpoints = smoke ? 100 : 10000,
                         .lake_memory = "1GiB",
                         .lake_age = smoke ? "5s" : "60s",
                         .bar = 48};
    (void)run(&few);
    (void)run(&many);
    return 0;
}
