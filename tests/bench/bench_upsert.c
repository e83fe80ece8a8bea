/* results_upsert against bare binary COPY of the same rows into the same table and keys, synchronous_commit=on. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/testdb.h"
#include "base/clock.h"
#include "base/mem.h"
#include "db/result.h"

#define T0 (INT64_C(20416) * USEC_PER_DAY)
enum {
    ENDPOINTS = 50,
    METRICS = 20,
    WINDOWS = 100,
    ROWS = ENDPOINTS * METRICS * WINDOWS,
    BATCH = 5000,
    COLS = 11,
    ROUNDS = 3
};

static struct testdb t;
static struct err e;
static size_t n_rows = ROWS; /* fewer with MM_BENCH_SMOKE: then the work is checked, not its speed */

static struct result_row row_at(size_t i)
{
    /* A window's results come together: endpoint by endpoint, metric by metric. */
    int64_t window = (int64_t)(i / (ENDPOINTS * METRICS)), start = T0 + window * 600 * USEC_PER_SEC;
    bool is_result = i % METRICS < 3;
    return (struct result_row){
        .project_id = 1,
        .endpoint_id = 1 + (int64_t)(i / METRICS % ENDPOINTS),
        .metric_id = 1 + (int32_t)(i % METRICS),
        .start_us = start,
        .end_us = start + 600 * USEC_PER_SEC,
        .revision = 1,
        .value = (double)i / 7,
        .status = is_result ? 0 : INT_MIN,
        .extra = is_result ? STR("{\"features\": 20}") : STR(""),
        .traceparent = STR("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    };
}

static void must(rc_t rc, const char *what)
{
    testdb_must(rc, &e, what);
}

static void copy_batch(const struct result_row *rows, size_t n)
{
    CLEANUP(mem_freep) struct db_value *values = mem_array(n * COLS, sizeof *values);
    for (size_t i = 0; i < n; i++) {
        const struct result_row *r = &rows[i];
        const struct db_value row[COLS] = {
            DBV_I64(r->project_id),
            DBV_I64(r->endpoint_id),
            DBV_I64(r->metric_id),
            DBV_I64(r->start_us),
            DBV_I64(r->end_us),
            DBV_I64(r->revision),
            DBV_F64(r->value),
            r->status == INT_MIN ? DBV_NULL : DBV_I64(r->status),
            DBV_TEXT(r->extra),
            DBV_TEXT(r->traceparent),
            DBV_I64(1),
        };
        memcpy(&values[i * COLS], row, sizeof row);
    }
    must(db_copy(t.db, "results",
                 "project_id, endpoint_id, metric_id, window_start_us, window_end_us, revision, value, status, extra, "
                 "traceparent, written_us",
                 values, n, COLS, &e),
         "COPY");
}

static int64_t changed;

static void upsert_batch(const struct result_row *rows, size_t n)
{
    int64_t now = 0;
    must(results_upsert(t.db, rows, n, 1, &now, &e), "upsert");
    changed += now;
}

static void check(bool right, const char *what)
{
    if (right)
        return;
    fprintf(stderr, "bench_upsert: wrong: %s\n", what);
    exit(1);
}

/* Rows a second, in transactions of BATCH. */
static double measure(const struct result_row *rows, void (*batch)(const struct result_row *rows, size_t n))
{
    changed = 0;
    int64_t before = clock_mono_us();
    for (size_t at = 0; at < n_rows; at += BATCH) {
        must(db_begin(t.db, &e), "begin");
        batch(&rows[at], n_rows - at < BATCH ? n_rows - at : BATCH);
        must(db_commit(t.db, &e), "commit");
    }
    double rate = (double)n_rows * 1e6 / (double)(clock_mono_us() - before);
    check(testdb_number(t.db, "SELECT count(*) FROM results") == (int64_t)n_rows, "rows");
    return rate;
}

static bool emit(const char *name, double value, double yardstick, double bar)
{
    double ratio = value / yardstick;
    printf(
        "{\"bench\":\"%s\",\"value\":%.0f,\"unit\":\"rows/s\",\"yardstick\":%.0f,\"ratio\":%.3f,\"bar\":%.2f,\"ok\":%s,"
        "\"settings\":\"binary COPY; synchronous_commit=on; %zu rows, %d a transaction\"}\n",
        name, value, yardstick, ratio, bar, ratio >= bar ? "true" : "false", n_rows, BATCH);
    return ratio >= bar;
}

static void clear(void)
{
    must(db_exec(t.db, "TRUNCATE results", NULL, 0, NULL, &e), "truncate");
    must(db_exec(t.db, "CHECKPOINT", NULL, 0, NULL, &e), "checkpoint");
}

static void best(double *rate, double now)
{
    *rate = now > *rate ? now : *rate;
}

int main(void)
{
    const int64_t day = T0;
    const int64_t all = getenv("MM_BENCH_SMOKE") ? 6000 : ROWS;
    double copy = 0, fresh = 0, repeat = 0, revision = 0;
    CLEANUP(mem_freep) struct result_row *rows = mem_array(ROWS, sizeof *rows);
    CLEANUP(mem_freep) struct result_row *second = mem_array(ROWS, sizeof *second);
    n_rows = (size_t)all;
    for (size_t i = 0; i < n_rows; i++) {
        rows[i] = second[i] = row_at(i);
        second[i].revision = 2;
        second[i].value += 1;
    }
    testdb_open(&t, true);
    must(db_days_ensure(t.db, &day, 1, &e), "days");
    must(db_exec(t.db, "SET synchronous_commit = on", NULL, 0, NULL, &e), "set");
    for (int i = 0; i < ROUNDS; i++) { /* the best of each: other work on the machine slows them all */
        clear();
        best(&copy, measure(rows, copy_batch));
        clear();
        best(&fresh, measure(rows, upsert_batch));
        check(changed == all, "new rows");
        best(&repeat, measure(rows, upsert_batch));
        check(changed == 0, "a repeat");
        best(&revision, measure(second, upsert_batch));
        check(changed == all, "second revisions");
        check(testdb_number(t.db, "SELECT count(*) FROM results WHERE revision = 2") == all, "revisions");
    }
    bool ok = emit("results_upsert", fresh, copy, 0.35);
    ok = emit("results_upsert_repeat", repeat, copy, 0.2) && ok;
    ok = emit("results_upsert_revision", revision, copy, 0.1) && ok;
    testdb_close(&t);
    return ok || getenv("MM_BENCH_SMOKE") ? 0 : 1;
}
