/* drift_rows_1e6x20: columns in memory to metrics; drift_counts: counts of a feature to its three distances.
 *
 *   bench_drift [NUMPY_ROWS_CPU_S NUMPY_COUNTS_US [DIR]]
 *
 * Without arguments it runs yardstick_numpy.py first, with its data in MM_TEST_DIR; the arguments are what that script printed, and
 * where it left its data (--out). With the data edges and counts must equal numpy's; where there is no numpy, or no DIR, the data is
 * made here and the counts are compared with a plain search. MM_BENCH_SMOKE: 20 000 rows, the work alone is judged. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "json/doc.h"
#include "stats/drift.h"

#define COLUMNS 20
#define TRAIN_ROWS 10000
#define ROUNDS 5
#define COUNTS_ROUNDS 200000
#define ROWS 1000000
#define SMOKE_ROWS 20000
#define PYTHON ".venv/bin/python3"
#define CELLS (REFERENCE_BINS + 2)

static double normal(uint64_t *state)
{
    double sum = 0;
    for (int i = 0; i < 12; i++) {
        *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        sum += (double)(*state >> 11) * 0x1p-53;
    }
    return sum - 6;
}

struct data {
    size_t rows;
    double *columns, *train; /* column after column */
    double *edges;           /* numpy's, or NULL */
    int64_t *counts;
};

static void *read_file(const char *dir, const char *name, size_t *ret_bytes)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "rb");
    if (f == NULL || fseek(f, 0, SEEK_END)) {
        fprintf(stderr, "bench_drift: %s cannot be read\n", path);
        exit(1);
    }
    size_t n = (size_t)ftell(f);
    rewind(f);
    void *p = mem_alloc(n + 1);
    if (fread(p, 1, n, f) != n) {
        fprintf(stderr, "bench_drift: %s is cut\n", path);
        exit(1);
    }
    fclose(f);
    *ret_bytes = n;
    return p;
}

static void data_read(struct data *d, const char *dir)
{
    size_t bytes, train, edges, counts;
    d->columns = read_file(dir, "columns.f64", &bytes);
    d->train = read_file(dir, "train.f64", &train);
    d->edges = read_file(dir, "edges.f64", &edges);
    d->counts = read_file(dir, "counts.i64", &counts);
    d->rows = bytes / sizeof(double) / COLUMNS;
    if (train != COLUMNS * TRAIN_ROWS * sizeof(double) || edges != COLUMNS * (REFERENCE_BINS + 1) * sizeof(double) ||
        counts != COLUMNS * CELLS * sizeof(int64_t)) {
        fprintf(stderr, "bench_drift: the files in %s are not of %d columns\n", dir, COLUMNS);
        exit(1);
    }
}

static void data_make(struct data *d, size_t rows)
{
    uint64_t state = 42;
    d->rows = rows;
    d->columns = mem_array(d->rows * COLUMNS, sizeof(double));
    d->train = mem_array(TRAIN_ROWS * COLUMNS, sizeof(double));
    for (size_t i = 0; i < TRAIN_ROWS * COLUMNS; i++)
        d->train[i] = normal(&state);
    for (size_t i = 0; i < d->rows * COLUMNS; i++)
        d->columns[i] = normal(&state) + 0.2;
}

static struct reference *train(const struct data *d)
{
    struct reference *r = reference_new();
    struct err e;
    for (size_t c = 0; c < COLUMNS; c++) {
        char name[16];
        int n = snprintf(name, sizeof name, "f%zu", c);
        if (reference_add_f64(r, (struct str){name, (size_t)n}, false, d->train + c * TRAIN_ROWS, TRAIN_ROWS, &e)) {
            fprintf(stderr, "bench_drift: %s\n", e.text);
            exit(1);
        }
    }
    return r;
}

/* Counts by the plainest search there is. */
static void plain_counts(const struct feature_ref *f, const double *x, size_t n, int64_t ret[CELLS])
{
    memset(ret, 0, CELLS * sizeof *ret);
    for (size_t i = 0; i < n; i++) {
        size_t at = 0;
        while (at <= f->n_bins && x[i] >= f->edges[at])
            at++;
        if (x[i] == f->edges[f->n_bins])
            at = f->n_bins;
        ret[at]++;
    }
}

static bool right(const struct data *d, const struct reference *r, const struct feature_counts *counts)
{
    for (size_t c = 0; c < COLUMNS; c++) {
        const struct feature_ref *f = &r->features[c];
        uint64_t got[CELLS];
        int64_t want[CELLS];
        if (d->edges && memcmp(f->edges, d->edges + c * (REFERENCE_BINS + 1), (REFERENCE_BINS + 1) * sizeof(double)) != 0)
            return false;
        if (d->counts)
            memcpy(want, d->counts + c * CELLS, sizeof want);
        else
            plain_counts(f, d->columns + c * d->rows, d->rows, want);
        (void)drift_cells(f, &counts[c], DRIFT_EDGES_CLOSED, got); /* padded: all CELLS */
        for (size_t i = 0; i < CELLS; i++)
            if (got[i] != (uint64_t)want[i])
                return false;
    }
    return true;
}

static void report(const char *name, double value, const char *unit, double yardstick, double bar, bool checked)
{
    char ratio[64] = "\"yardstick\":null,\"ratio\":null";
    if (yardstick > 0)
        snprintf(ratio, sizeof ratio, "\"yardstick\":%.6g,\"ratio\":%.4g", yardstick, value / yardstick);
    printf("{\"bench\":\"%s\",\"value\":%.6g,\"unit\":\"%s\",%s,\"bar\":%g,\"ok\":%s}\n", name, value, unit, ratio, bar,
           checked && value <= bar ? "true" : "false");
}

static bool bench_rows(const struct data *d, const struct reference *r, struct feature_counts *counts, double yardstick)
{
    struct drift_options o = drift_options_default(DRIFT_EDGES_CLOSED);
    struct drift_column columns[COLUMNS] = {0};
    double best = INFINITY, drift = NAN;
    for (int round = 0; round < ROUNDS; round++) {
        struct drift_result result;
        int64_t start = clock_cpu_us();
        for (size_t c = 0; c < COLUMNS; c++) {
            counts_clear(&counts[c]);
            counts_add_column(&counts[c], &r->features[c], d->columns + c * d->rows, d->rows);
            columns[c].counts = &counts[c];
        }
        drift_compute(r, columns, d->rows, &o, &result);
        best = fmin(best, (double)(clock_cpu_us() - start) / 1e6);
        drift = result.general_drift;
        drift_result_done(&result);
    }
    bool ok = right(d, r, counts) && drift > 0 && drift < 0.5;
    report("drift_rows_1e6x20", best, "CPU s", yardstick, 0.08, ok);
    return ok;
}

static bool bench_counts(const struct reference *r, const struct feature_counts *counts, double yardstick)
{
    double sum = 0;
    int64_t start = clock_cpu_us();
    for (size_t i = 0; i < COUNTS_ROUNDS; i++) {
        struct drift_feature f;
        drift_feature(&r->features[i % COLUMNS], &counts[i % COLUMNS], DRIFT_EDGES_CLOSED, &f);
        sum += f.distance[DISTANCE_TVD] + f.distance[DISTANCE_KLD];
    }
    double us = (double)(clock_cpu_us() - start) / COUNTS_ROUNDS;
    bool ok = sum > 0 && isfinite(sum);
    report("drift_counts", us, "us", yardstick, 1, ok);
    return ok;
}

struct yardstick {
    double rows_s, counts_us; /* 0: not known */
    const char *dir;          /* NULL: no data of numpy's */
};

/* Lines {"yardstick", "value", "unit"} in the order rows, counts. */
static double line_value(FILE *f)
{
    char line[512];
    struct json *j = NULL;
    struct err e;
    double v = 0;
    if (fgets(line, sizeof line, f) == NULL || json_parse(&j, line, strlen(line), NULL, &e) ||
        json_need_f64(j, "value", &v, &e))
        v = 0;
    json_free(j);
    return v;
}

static void run_numpy(struct yardstick *y, const char *dir, size_t rows)
{
    char command[1200];
    snprintf(command, sizeof command, PYTHON " tests/bench/yardstick_numpy.py --rows %zu --out '%s'", rows, dir);
    FILE *f = popen(command, "r");
    if (f == NULL)
        return;
    y->rows_s = line_value(f);
    y->counts_us = line_value(f);
    if (pclose(f) == 0)
        y->dir = dir;
}

int main(int argc, char **argv)
{
    struct data d = {0};
    struct yardstick y = {0};
    struct feature_counts counts[COLUMNS];
    const char *dir = getenv("MM_TEST_DIR");
    size_t rows = getenv("MM_BENCH_SMOKE") ? SMOKE_ROWS : ROWS;
    if (argc > 2)
        y = (struct yardstick){strtod(argv[1], NULL), strtod(argv[2], NULL), argc > 3 ? argv[3] : NULL};
    else if (dir && access(PYTHON, X_OK) == 0)
        run_numpy(&y, dir, rows);
    if (y.dir)
        data_read(&d, y.dir);
    else
        data_make(&d, rows);
    struct reference *r = train(&d);
    for (size_t c = 0; c < COLUMNS; c++)
        counts_init(&counts[c], &r->features[c], NULL);
    bool ok = bench_rows(&d, r, counts, y.rows_s);
    ok = bench_counts(r, counts, y.counts_us) && ok;
    for (size_t c = 0; c < COLUMNS; c++)
        counts_done(&counts[c]);
    reference_free(r);
    mem_free(d.columns);
    mem_free(d.train);
    mem_free(d.edges);
    mem_free(d.counts);
    return ok ? 0 : 1;
}
