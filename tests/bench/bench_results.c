/* writer: result events on the writer's topic to rows of `results`, by the running service, decoding included, against binary
 * COPY of the same rows in the same order into the same table and keys, both with synchronous_commit=on and as many rows a
 * transaction. Rows a second between the first commit and the last; seen by asking the ledger every few milliseconds. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/mem.h"
#include "db/endpoint.h"
#include "event/result.h"
#include "pipeline/acks.h"
#include "scene.h"

enum {
    ENDPOINTS = 50,
    METRICS = 20,
    RESULTS = 3,
    WINDOWS = 300,
    SMOKE_WINDOWS = 4,
    BATCH = 5000,
    COLS = 11,
    ROUNDS = 7
};
#define APP "histogram-data-drift"
#define COLUMNS                                                                                                        \
    "project_id, endpoint_id, metric_id, window_start_us, window_end_us, revision, value, status, extra, "             \
    "traceparent, "                                                                                                    \
    "written_us"
#define PERIOD_US (600 * USEC_PER_SEC)
#define RUN_US (300 * USEC_PER_SEC)

struct bench {
    struct scene scene;
    size_t n; /* rows a run */
    int64_t t0;
    char project[40], topic[NAME_TOPIC_MAX + 1];
    size_t event_bytes;
};

/* ---- events ---- */

static void register_endpoints(struct bench *b, int32_t project_id)
{
    for (size_t i = 0; i < ENDPOINTS; i++) {
        char uid[33];
        bool created;
        struct err e;
        struct endpoint ep = {.project_id = project_id, .uid = uid, .name = (char[]){"m"}}, made = {0};
        scene_uid(uid, i);
        scene_need(endpoint_register(b->scene.db.db, &ep, NULL, 0, &made, &created, &e), "endpoint", &e);
        endpoint_done(&made);
    }
}

static double value_of(size_t i)
{
    return (double)(i % 977) / 977 + 0.1;
}

/* A window's results come together, endpoint by endpoint, metric by metric. */
static void event_make(const struct bench *b, size_t i, struct buf *out, char uid[33])
{
    static const char *const names[RESULTS] = {"general_drift", "prediction_drift", "concept_drift"};
    char metric[32];
    int64_t start = b->t0 + (int64_t)(i / (ENDPOINTS * METRICS)) * PERIOD_US;
    size_t nth = i % METRICS;
    (void)snprintf(metric, sizeof metric, "metric_%zu", nth);
    scene_uid(uid, i / METRICS % ENDPOINTS);
    buf_clear(out);
    result_encode(&(struct result_event){.project = str_of(b->project),
                                         .endpoint_id = {uid, 32},
                                         .endpoint_name = STR("m"),
                                         .application_name = STR(APP),
                                         .start_us = start,
                                         .end_us = start + PERIOD_US,
                                         .revision = 1,
                                         .reference_version = -1,
                                         .event_kind = nth < RESULTS ? RESULT_RESULT : RESULT_METRIC,
                                         .name = str_of(nth < RESULTS ? names[nth] : metric),
                                         .value = value_of(i),
                                         .extra_data = STR("{\"features\": 20}")},
                  out);
}

static void produce(struct bench *b)
{
    struct acks acks;
    struct err e;
    struct buf text = {0};
    char uid[33];
    const struct bus_header trace = {"traceparent", STR("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")};
    acks_init(&acks);
    for (size_t i = 0; i < b->n; i++) {
        event_make(b, i, &text, uid);
        b->event_bytes = text.len;
        scene_need(acks_produce(&acks, b->scene.producer, b->topic, (struct str){uid, 32}, buf_str(&text), &trace, 1,
                                60 * USEC_PER_SEC, &e),
                   "producing", &e);
    }
    scene_need(acks_wait(&acks, 60 * USEC_PER_SEC, &e), "producing", &e);
    buf_done(&text);
    acks_done(&acks);
}

/* ---- the service ---- */

static int64_t committed(const struct bench *b)
{
    char sql[400];
    (void)snprintf(
        sql, sizeof sql,
        "SELECT coalesce(sum(next_offset), 0)::bigint FROM ledger WHERE pipeline = 'writer' AND topic = '%s'", b->topic);
    return testdb_number(b->scene.db.db, sql);
}

static void check(const struct bench *b)
{
    double want = 0;
    char sql[200];
    for (size_t i = 0; i < b->n; i++)
        want += value_of(i);
    int64_t rows = testdb_number(b->scene.db.db, "SELECT count(*) FROM results");
    (void)snprintf(sql, sizeof sql, "SELECT (abs(sum(value) - %.17g) < 1e-3)::int::bigint FROM results", want);
    if (rows == (int64_t)b->n && testdb_number(b->scene.db.db, sql) == 1)
        return;
    (void)fprintf(stderr, "bench_results: %zu events became %lld rows, or their values are others\n", b->n, (long long)rows);
    _exit(1);
}

/* Rows a second; the process's CPU for each, its start included. */
static double run_writer(struct bench *b, double *ret_cpu_us)
{
    struct process writer;
    int64_t first = 0, last = 0, at_first = 0, end = clock_mono_us() + RUN_US;
    process_spawn(&writer, &b->scene, "writer", NULL);
    while (last < (int64_t)b->n) {
        int64_t now = committed(b);
        if (first == 0 && now > 0) {
            at_first = clock_mono_us();
            first = now;
        }
        last = now;
        if (clock_mono_us() > end)
            scene_die("writer", "it did not get to the end: see its log");
        (void)usleep(3000);
    }
    double seconds = (double)(clock_mono_us() - at_first) * 1e-6;
    *ret_cpu_us = process_cpu_us(&writer) / (double)b->n;
    process_stop(&writer);
    return (double)(last - first) / seconds;
}

/* ---- the yardstick ---- */

static struct db_value *read_rows(struct bench *b, struct db_rows **ret_rows)
{
    struct err e;
    scene_need(db_exec(b->scene.db.db,
                       "SELECT " COLUMNS " FROM results ORDER BY written_us, endpoint_id, metric_id, window_end_us",
                       NULL, 0, ret_rows, &e),
               "reading", &e);
    struct db_value *values = mem_array(b->n * COLS, sizeof *values);
    for (size_t i = 0; i < b->n; i++) {
        const struct db_rows *r = *ret_rows;
        const struct db_value row[COLS] = {
            DBV_I64(db_i64(r, i, 0)),   DBV_I64(db_i64(r, i, 1)),
            DBV_I64(db_i64(r, i, 2)),   DBV_I64(db_i64(r, i, 3)),
            DBV_I64(db_i64(r, i, 4)),   DBV_I64(db_i64(r, i, 5)),
            DBV_F64(db_f64(r, i, 6)),   db_null(r, i, 7) ? DBV_NULL : DBV_I64(db_i64(r, i, 7)),
            DBV_TEXT(db_text(r, i, 8)), DBV_TEXT(db_text(r, i, 9)),
            DBV_I64(db_i64(r, i, 10))};
        memcpy(&values[i * COLS], row, sizeof row);
    }
    return values;
}

static void empty_table(struct bench *b)
{
    struct err e;
    scene_need(db_exec(b->scene.db.db, "TRUNCATE results", NULL, 0, NULL, &e), "truncate", &e);
    scene_need(db_exec(b->scene.db.db, "CHECKPOINT", NULL, 0, NULL, &e), "checkpoint", &e);
}

static double run_copy(struct bench *b)
{
    struct err e;
    struct db_rows *rows = NULL;
    struct db *db = b->scene.db.db;
    struct db_value *values = read_rows(b, &rows);
    empty_table(b);
    int64_t began = clock_mono_us();
    for (size_t at = 0; at < b->n; at += BATCH) {
        size_t n = b->n - at < BATCH ? b->n - at : BATCH;
        scene_need(db_begin(db, &e), "begin", &e);
        scene_need(db_copy(db, "results", COLUMNS, &values[at * COLS], n, COLS, &e), "COPY", &e);
        scene_need(db_commit(db, &e), "commit", &e);
    }
    double seconds = (double)(clock_mono_us() - began) * 1e-6;
    check(b);
    mem_free(values);
    db_rows_free(rows);
    return (double)b->n / seconds;
}

/* ---- runs ---- */

static void one_round(struct bench *b, int nth, double *ours, double *copy)
{
    struct err e;
    (void)snprintf(b->project, sizeof b->project, "%s-%d", b->scene.project, nth);
    int32_t id = scene_project(&b->scene, b->project);
    register_endpoints(b, id);
    scene_need(topic_function(b->topic, b->scene.system, str_of(b->project), str_of(function_name(FUNCTION_WRITER)), &e),
               "topic", &e);
    scene_topic(&b->scene, b->topic);
    produce(b);
    empty_table(b);
    double cpu_us = 0;
    *ours = run_writer(b, &cpu_us);
    check(b);
    *copy = run_copy(b);
    (void)fprintf(stderr, "# writer: %.0f rows/s (%.2f us CPU a row), COPY %.0f rows/s, ratio %.2f\n", *ours, cpu_us,
                  *copy, *ours / *copy);
}

int main(void)
{
    static struct bench b;
    struct err e;
    double ours[ROUNDS], copy[ROUNDS], ratio[ROUNDS];
    scene_open(&b.scene);
    size_t windows = b.scene.smoke ? SMOKE_WINDOWS : WINDOWS;
    int rounds = b.scene.smoke ? 1 : ROUNDS;
    b.n = windows * ENDPOINTS * METRICS;
    b.t0 = (clock_now_us() / PERIOD_US - (int64_t)windows - 1) * PERIOD_US;
    scene_need(db_exec(b.scene.db.db, "SET synchronous_commit = on", NULL, 0, NULL, &e), "set", &e);
    for (int i = 0; i < rounds; i++) {
        one_round(&b, i, &ours[i], &copy[i]);
        ratio[i] = ours[i] / copy[i];
    }
    size_t n = (size_t)rounds;
    double of = scene_median(ratio, n), rows = scene_median(ours, n), copied = scene_median(copy, n); /* they are sorted now */
    (void)fprintf(
        stderr,
        "# %zu rows a run, events of %zu bytes, %d a transaction, synchronous_commit=on, medians of %d runs: writer "
        "%.0f to %.0f rows/s, COPY %.0f to %.0f, ratio %.2f to %.2f\n",
        b.n, b.event_bytes, BATCH, rounds, ours[0], ours[n - 1], copy[0], copy[n - 1], ratio[0], ratio[n - 1]);
    bool ok = scene_print(&(struct scene_line){"writer", "rows/s", rows, copied, of, 0.35, of >= 0.35});
    scene_close(&b.scene);
    return ok || b.scene.smoke ? 0 : 1;
}
