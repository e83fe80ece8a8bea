/* CPU of the lake: a row of 20 features in large and in small files, with everything around it (holding, hashing, renaming),
 * and reading rows back. Yardstick in the same run: DuckDB's own COPY of the same columns from a table it already has, and
 * its own scan. `bench_lake sample DIR` writes the lake that tests/e2e/test_lake_pandas.py reads. */
#include <duckdb.h>
#include <ftw.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../support/lake_events.h"
#include "base/clock.h"

enum { FEATURES = 20 };
static const struct lake_part part = {"monitoring_stream_s_my-proj_v1", 0, 0};
static char root[300];
static size_t many = 400000, files = 2000, few = 20;

static void must(rc_t rc, const struct err *e)
{
    if (rc) {
        (void)fprintf(stderr, "bench_lake: %s: %s\n", rc_name(rc), e->text);
        exit(1);
    }
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void print(const char *bench, double value, const char *unit, double yardstick, double bar)
{
    double ratio = value / yardstick;
    (void)printf(
        "{\"bench\":\"%s\",\"value\":%.3f,\"unit\":\"%s\",\"yardstick\":%.3f,\"ratio\":%.3f,\"bar\":%.3f,\"ok\":%s}\n",
        bench, value, unit, yardstick, ratio, bar, ratio <= bar ? "true" : "false");
}

/* ---- ours ---- */
struct timing {
    double add_us, flush_us; /* CPU, all rows */
    double wall_ms;          /* of the flush */
    struct manifest_row *m;
    size_t n;
};

static struct timing write_lake(struct lake_writer *w, size_t n_files, size_t rows)
{
    struct schema s = number_schema(FEATURES);
    struct value in[FEATURES], out[] = {number(1)};
    struct timing t = {0};
    struct err e;
    char id[48], uid[40];
    size_t nulled, total = n_files * rows;
    srand48(1);
    int64_t cpu = clock_cpu_us();
    for (size_t i = 0; i < total; i++) {
        (void)snprintf(uid, sizeof uid, "%032zx", i % n_files);
        (void)snprintf(id, sizeof id, "%08zx-0000-4000-8000-%012zx", i * 2654435761u % 0xffffffffu, i);
        for (int k = 0; k < FEATURES; k++)
            in[k] = number(drand48());
        struct lake_endpoint ep = lake_endpoint((int64_t)(i % n_files), uid, &s);
        struct inference_event ev = lake_event(LAKE_T0 + (int64_t)i, id, 1, in, FEATURES, out, 1);
        must(lake_add(w, &part, (int64_t)i, &ep, &ev, LAKE_T0, &nulled, &e), &e);
    }
    t.add_us = (double)(clock_cpu_us() - cpu);
    struct lake_range range = {part, 0, (int64_t)total, false};
    int64_t mono = clock_mono_us();
    cpu = clock_cpu_us();
    must(lake_flush(w, &range, 1, &t.m, &t.n, &e), &e);
    t.flush_us = (double)(clock_cpu_us() - cpu);
    t.wall_ms = (double)(clock_mono_us() - mono) / 1000;
    schema_done(&s);
    if (t.n != n_files || t.m[0].rows != (int64_t)rows)
        must(E_FATAL, &(struct err){"the manifest is wrong"});
    return t;
}

static rc_t sum(void *arg, const struct lake_batch *b, struct err *e)
{
    (void)e;
    double *to = arg;
    for (size_t c = 0; c < b->n_cols; c++)
        for (size_t i = 0; i < b->n_rows; i++)
            to[0] += b->cols[c].num[i];
    to[1] += (double)b->n_rows;
    return OK;
}

/* ---- DuckDB alone ---- */
struct plain {
    duckdb_database db;
    duckdb_connection con;
};

static void run(const struct plain *d, const char *sql)
{
    duckdb_result res;
    if (duckdb_query(d->con, sql, &res) == DuckDBError) {
        (void)fprintf(stderr, "bench_lake: %s\n", duckdb_result_error(&res));
        exit(1);
    }
    duckdb_destroy_result(&res);
}

static struct plain plain_open(size_t rows)
{
    struct plain d;
    struct buf sql = {0};
    if (duckdb_open(NULL, &d.db) == DuckDBError || duckdb_connect(d.db, &d.con) == DuckDBError)
        exit(1);
    run(&d, "SET threads = 1");
    buf_addz(
        &sql,
        "CREATE TABLE t AS SELECT 'my-proj/serving' AS function_uri, 'my-model' AS endpoint_name, 'M' AS model_class, "
        "now() AS timestamp, uuid()::VARCHAR AS request_id, 7100::BIGINT AS latency, now()::VARCHAR AS first_request, "
        "(now() + to_microseconds(i))::VARCHAR AS last_request, i::DOUBLE AS last_request_timestamp, NULL::VARCHAR AS "
        "labels, "
        "NULL::VARCHAR AS metrics, NULL::VARCHAR AS entities, 1::BIGINT AS effective_sample_count, "
        "1::DOUBLE AS estimated_prediction_count, ['f0'] AS feature_names, ['y'] AS label_names");
    for (int k = 0; k < FEATURES; k++)
        buf_addf(&sql, ", random() AS f%d", k);
    buf_addf(&sql,
             ", 1.0::DOUBLE AS y, i AS modelmon_offset, 0::INT AS modelmon_row, 1::BIGINT AS endpoint_type, "
             "'%032d' AS endpoint_id FROM range(%zu) r(i)",
             1, rows);
    run(&d, sql.data);
    buf_done(&sql);
    return d;
}

static void plain_close(struct plain *d)
{
    duckdb_disconnect(&d->con);
    duckdb_close(&d->db);
}

/* CPU a file of COPY alone. */
static double plain_copy_us(size_t n_files, size_t rows)
{
    struct plain d = plain_open(rows);
    char sql[600];
    (void)mkdir(root, 0755);
    int64_t cpu = clock_cpu_us();
    for (size_t i = 0; i < n_files; i++) {
        (void)snprintf(sql, sizeof sql,
                       "COPY t TO '%s/plain-%zu.parquet' (FORMAT parquet, COMPRESSION snappy, USE_TMP_FILE false)",
                       root, i);
        run(&d, sql);
    }
    double us = (double)(clock_cpu_us() - cpu) / (double)n_files;
    plain_close(&d);
    return us;
}

static double plain_scan_us(const char *path)
{
    struct plain d = plain_open(1);
    struct buf sql = {0};
    buf_addz(&sql, "SELECT 0");
    for (int k = 0; k < FEATURES; k++)
        buf_addf(&sql, " + sum(f%d)", k);
    buf_addf(&sql, " FROM read_parquet('%s/%s')", root, path);
    run(&d, sql.data); /* warm */
    int64_t cpu = clock_cpu_us();
    run(&d, sql.data);
    double us = (double)(clock_cpu_us() - cpu);
    buf_done(&sql);
    plain_close(&d);
    return us;
}

/* ---- the benches ---- */
static void bench_rows(const struct lake_config *cfg)
{
    struct lake_writer *w = NULL;
    struct lake_reader *r = NULL;
    struct err e;
    double got[2] = {0, 0};
    const char *columns[FEATURES];
    char names[FEATURES][8];
    must(lake_writer_open(&w, cfg, &e), &e);
    must(lake_reader_open(&r, cfg, &e), &e);
    struct timing t = write_lake(w, 1, many);
    double held = (double)lake_held(w).bytes / (double)many;
    double plain = plain_copy_us(1, many);
    double rows = (double)many;
    (void)fprintf(
        stderr, "bench_lake: a row of %d doubles: held %.0f bytes, taking it %.2f us (with making it), writing it %.2f us\n",
        FEATURES, held, t.add_us / rows, t.flush_us / rows);
    print("lake_write_rows", t.flush_us / rows, "us/row", plain / rows, 2.0);

    const char *path = t.m[0].path.p;
    for (int k = 0; k < FEATURES; k++) {
        (void)snprintf(names[k], sizeof names[k], "f%d", k);
        columns[k] = names[k];
    }
    must(lake_read(r, &path, 1, columns, FEATURES, LAKE_T0, LAKE_T0 + 10, sum, got, &e), &e); /* opens */
    if (got[1] != 10)
        exit(1);
    got[0] = got[1] = 0;
    int64_t cpu = clock_cpu_us();
    must(lake_read(r, &path, 1, columns, FEATURES, LAKE_T0, INT64_MAX / 2, sum, got, &e), &e);
    double us = (double)(clock_cpu_us() - cpu);
    if (got[1] != rows || fabs(got[0] / rows / FEATURES - 0.5) > 0.01)
        exit(1);
    print("lake_read_rows", us / rows, "us/row", plain_scan_us(path) / rows, 2.5);
    lake_reader_free(r);
    lake_writer_free(w);
}

static void bench_files(const struct lake_config *cfg)
{
    struct lake_writer *w = NULL;
    struct err e;
    must(lake_writer_open(&w, cfg, &e), &e);
    (void)write_lake(w, 1, 1); /* opens DuckDB */
    lake_forget(w, NULL);
    struct timing t = write_lake(w, files, few);
    double n = (double)files, plain = plain_copy_us(files, few) / 1000;
    (void)fprintf(stderr, "bench_lake: %zu files of %zu rows: %.3f ms of CPU a file, %.1f us a row, %.0f ms until durable\n",
                  files, few, t.flush_us / n / 1000, t.flush_us / n / (double)few, t.wall_ms);
    print("lake_small_file", t.flush_us / n / 1000, "ms/file", plain, 2.5);
    lake_writer_free(w);
}

static int sample(const char *dir)
{
    struct lake_config cfg = {.root = mem_dupz(dir), .memory_bytes = 64 << 20};
    struct schema s = number_schema(2);
    struct lake_writer *w = NULL;
    struct err e;
    size_t nulled, n;
    mem_free(s.features[1].name);
    s.features[1] = (struct column){mem_dupz("word"), COLUMN_STRING};
    struct lake_endpoint ep = lake_endpoint(1, "2f9d6f3c7a5b4c1e8d0a1b2c3d4e5f60", &s);
    must(lake_writer_open(&w, &cfg, &e), &e);
    for (int i = 0; i < 100; i++) { /* 50 an hour */
        struct value in[] = {number(i / 7.0), text("w"), number(NAN), (struct value){0}}, out[] = {number(i), boolean(1)};
        char id[16];
        (void)snprintf(id, sizeof id, "r%d", i);
        struct inference_event ev = lake_event(LAKE_T0 + i * 72 * USEC_PER_SEC, id, 2, in, 2, out, 1);
        ev.metrics = STR("{\"m\":1.5}");
        ev.effective_sample_count = 3;
        ev.estimated_prediction_count = 30;
        must(lake_add(w, &part, i, &ep, &ev, LAKE_T0, &nulled, &e), &e);
    }
    struct lake_range range = {part, 0, 100, false};
    struct manifest_row *m;
    must(lake_flush(w, &range, 1, &m, &n, &e), &e);
    for (size_t i = 0; i < n; i++)
        (void)printf("%.*s\n", STR_FMT(m[i].path));
    lake_writer_free(w);
    schema_done(&s);
    mem_free(cfg.root);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "sample") == 0)
        return sample(argv[2]);
    const char *tmp = getenv("MM_TEST_DIR");
    if (getenv("MM_BENCH_SMOKE")) {
        many = 20000;
        files = 50;
    }
    (void)snprintf(root, sizeof root, "%s/bench-lake-%d", tmp ? tmp : "/tmp", (int)getpid());
    struct lake_config cfg = {.root = root, .memory_bytes = INT64_C(1) << 30};
    bench_rows(&cfg);
    bench_files(&cfg);
    (void)nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}
