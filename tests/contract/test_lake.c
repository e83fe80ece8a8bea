/* Contract of the lake, on a real disk (MM_TEST_DIR) and on small file systems of its own (tmpfs: needs root). */
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/sha.h"
#include "db/ledger.h"
#include "lake/lake.h"
#include "../support/lake_events.h"

#define UID "2f9d6f3c7a5b4c1e8d0a1b2c3d4e5f60"
#define HOUR (INT64_C(3600) * USEC_PER_SEC)

static const struct lake_part part0 = {"monitoring_stream_s_my-proj_v1", 0, 0};
static const struct lake_part part1 = {"monitoring_stream_s_my-proj_v1", 1, 0};

static void ok(rc_t rc, const struct err *e)
{
    if (rc)
        fail_msg("%s: %s", rc_name(rc), e->text);
}

/* ---- a lake of its own ---- */
struct place {
    char root[300];
    struct lake_config cfg;
    struct lake_writer *w;
    struct lake_reader *r;
};

static void open_place(struct place *p)
{
    struct err e;
    p->cfg = (struct lake_config){p->root, 64 << 20};
    ok(lake_writer_open(&p->w, &p->cfg, &e), &e);
    ok(lake_reader_open(&p->r, &p->cfg, &e), &e);
}

static int set_up(void **state)
{
    static int n;
    const char *dir = getenv("MM_TEST_DIR");
    if (!dir)
        fail_msg("MM_TEST_DIR is not set");
    struct place *p = mem_alloc(sizeof *p);
    (void)snprintf(p->root, sizeof p->root, "%s/lake-%d-%d", dir, (int)getpid(), n++);
    open_place(p);
    *state = p;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int tear_down(void **state)
{
    struct place *p = *state;
    lake_writer_free(p->w);
    lake_reader_free(p->r);
    (void)nftw(p->root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    mem_free(p);
    return 0;
}

/* ---- what is in it, as text ---- */
static int files_seen;
static char last_file[400];
static int see_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)ftw;
    if (type == FTW_F && !strstr(path, "/lock") && !strstr(path, "/.plans/")) {
        files_seen++;
        (void)snprintf(last_file, sizeof last_file, "%s", path);
    }
    return 0;
}
static int count_files(const struct place *p)
{
    files_seen = 0;
    (void)nftw(p->root, see_file, 16, FTW_PHYS);
    return files_seen;
}

static rc_t print_rows(void *arg, const struct lake_batch *b, struct err *e)
{
    (void)e;
    for (size_t i = 0; i < b->n_rows; i++) {
        for (size_t c = 0; c < b->n_cols; c++) {
            const struct lake_column *col = &b->cols[c];
            if (col->missing[i])
                buf_addf(arg, "-%s", col->num && !isnan(col->num[i]) ? "?" : "");
            else if (col->num)
                buf_addf(arg, "%.17g", col->num[i]);
            else
                buf_addf(arg, "'%.*s'", STR_FMT(col->text[i]));
            buf_addc(arg, c + 1 < b->n_cols ? ' ' : '\n');
        }
    }
    return OK;
}

static int line_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The rows of the files, a line each, sorted. */
static char *rows_of(struct place *p, const char *const *paths, size_t n, const char *const *cols, size_t n_cols,
                     int64_t start, int64_t end)
{
    struct buf all = {0}, out = {0};
    struct err e;
    char *lines[2000];
    size_t count = 0;
    ok(lake_read(p->r, paths, n, cols, n_cols, start, end, print_rows, &all, &e), &e);
    for (char *at = all.data, *nl; at && (nl = strchr(at, '\n')); at = nl + 1) {
        assert_true(count < 2000);
        *nl = '\0';
        lines[count++] = at;
    }
    if (count)
        qsort(lines, count, sizeof *lines, line_order);
    for (size_t i = 0; i < count; i++)
        buf_addf(&out, "%s\n", lines[i]);
    buf_done(&all);
    buf_addz(&out, "");
    return out.data ? buf_take(&out) : mem_dupz("");
}
#define COLS(...) (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)
#define ALWAYS INT64_MIN / 2, INT64_MAX / 2

#define assert_rows(p, paths, n, want, ...)                                                                            \
    do {                                                                                                               \
        char *got_ = rows_of((p), (paths), (n), COLS(__VA_ARGS__), INT64_C(0), LAKE_T0 + 100 * HOUR);                  \
        assert_string_equal(got_, want);                                                                               \
        mem_free(got_);                                                                                                \
    } while (0)

static struct manifest_row *flush(struct place *p, int64_t start, int64_t end, size_t want)
{
    struct lake_range range = {part0, start, end, false};
    struct manifest_row *m = NULL;
    struct err e;
    size_t n = 0;
    ok(lake_flush(p->w, &range, 1, &m, &n, &e), &e);
    assert_int_equal(n, want);
    return m;
}

/* One row of one number feature. */
static void add(struct place *p, const struct lake_part *part, int64_t offset, const struct schema *s, int64_t when,
                const char *id, double v)
{
    struct err e;
    struct value in[] = {number(v)}, out[] = {number(1)};
    struct lake_endpoint ep = lake_endpoint(1, UID, s);
    struct inference_event ev = lake_event(when, id, 1, in, 1, out, 1);
    size_t nulled = 9;
    ok(lake_add(p->w, part, offset, &ep, &ev, LAKE_T0, &nulled, &e), &e);
    assert_int_equal(nulled, 0);
}

/* ---- tests ---- */
static struct schema mixed_schema(void)
{
    struct schema s = {0};
    struct err e;
    ok(schema_parse(STR("{\"features\":[{\"name\":\"num\",\"type\":\"number\"},{\"name\":\"txt\",\"type\":\"string\"},"
                        "{\"name\":\"yes\",\"type\":\"bool\"},{\"name\":\"doc\",\"type\":\"json\"},"
                        "{\"name\":\"new\",\"type\":\"unknown\"}],\"labels\":[{\"name\":\"y\",\"type\":\"string\"}]}"),
                    &s, &e),
       &e);
    s.version = 1;
    return s;
}

static void test_schema_documents(void **state)
{
    (void)state;
    struct schema s = {0};
    struct buf out = {0};
    struct err e;
    char name[64];
    const char *text =
        "{\"features\":[{\"name\":\"a\",\"type\":\"number\"},{\"name\":\"feature_Hour\",\"type\":\"bool\"}],"
        "\"labels\":[{\"name\":\"feature_timestamp\",\"type\":\"json\"}]}";
    ok(schema_parse(STR("{\"features\":[{\"name\":\"a\",\"type\":\"number\"},{\"type\":\"bool\",\"name\":\"Hour\"}],"
                        "\"labels\":[{\"name\":\"timestamp\",\"type\":\"json\"}]}"),
                    &s, &e),
       &e);
    assert_int_equal(s.n_features, 2);
    assert_string_equal(s.features[1].name, "feature_Hour");
    assert_int_equal(s.labels[0].type, COLUMN_JSON);
    schema_print(&s, &out);
    assert_string_equal(out.data, text);
    schema_done(&s);
    ok(schema_parse(buf_str(&out), &s, &e), &e); /* what was printed reads back the same */
    buf_clear(&out);
    schema_print(&s, &out);
    assert_string_equal(out.data, text);
    schema_done(&s);
    assert_int_equal(column_name(name, STR("my (cm) col")), 9);
    assert_string_equal(name, "my_cm_col");
    (void)column_name(name, STR("Endpoint_ID"));
    assert_string_equal(name, "feature_Endpoint_ID");
    assert_int_equal(schema_parse(STR("{\"features\":[]}"), &s, &e), E_INVALID);
    assert_int_equal(schema_parse(STR("{\"features\":[{\"name\":\"a\",\"type\":\"x\"}],\"labels\":[]}"), &s, &e), E_INVALID);
    assert_int_equal(schema_parse(STR("{\"features\":[{\"name\":\"\",\"type\":\"bool\"}],\"labels\":[]}"), &s, &e),
                     E_INVALID);
    assert_int_equal(schema_parse(STR("nonsense"), &s, &e), E_INVALID);
    buf_done(&out);
}

static void test_round_trip(void **state)
{
    struct place *p = *state;
    struct schema s = mixed_schema();
    struct lake_endpoint ep = lake_endpoint(1, UID, &s);
    struct err e;
    size_t nulled;
    struct value in[] = {
        number(0.1),       text("it's \"ä\" 漢"), boolean(1),       json_text("[1,{\"a\":null}]"),
        number(3),         number(NAN),           text(""),         boolean(0),
        json_text("{}"),   (struct value){0},     number(INFINITY), text("longer than twelve bytes, surely"),
        (struct value){0}, (struct value){0},     (struct value){0}};
    struct value out[] = {text("cat"), number(5), (struct value){0}};
    struct inference_event ev = lake_event(LAKE_T0, "r1", 3, in, 5, out, 1);
    ev.effective_sample_count = 4;
    ev.estimated_prediction_count = 12;
    ev.labels = STR("{\"k\":\"v\"}");
    ok(lake_add(p->w, &part0, 100, &ep, &ev, LAKE_T0 - 1000000, &nulled, &e), &e);
    assert_int_equal(nulled, 2);        /* a number where nothing was known, and one in a text column */
    struct value less[] = {boolean(1)}; /* fewer than the columns */
    ev = lake_event(LAKE_T0 + 1, "r2", 1, less, 1, NULL, 0);
    ev.latency_us = -1;
    ok(lake_add(p->w, &part0, 101, &ep, &ev, LAKE_T0 - 1000000, &nulled, &e), &e);
    assert_int_equal(nulled, 0);
    struct lake_held held = lake_held(p->w);
    assert_int_equal(held.rows, 4);
    assert_int_equal(held.files, 1);
    assert_true(held.bytes > 200 && held.oldest_mono_us > 0 && held.oldest_mono_us <= clock_mono_us());

    struct manifest_row *m = flush(p, 100, 102, 1);
    const char *path = m[0].path.p;
    assert_string_equal(path, "my-proj/model-endpoints/parquet/key=" UID "/year=2025/month=01/day=01/hour=00/"
                              "monitoring_stream_s_my-proj_v1-0-00000000000000000100-00000000000000000102.parquet");
    assert_int_equal(m[0].rows, 4);
    assert_int_equal(m[0].min_us, LAKE_T0);
    assert_int_equal(m[0].max_us, LAKE_T0 + 1);
    assert_int_equal(m[0].hour_us, LAKE_T0 / HOUR * HOUR);
    assert_int_equal(m[0].endpoint_id, 1);
    assert_int_equal(m[0].project_id, 7);
    assert_int_equal(m[0].schema_version, 1);
    assert_true(str_eqz(m[0].topic, part0.topic));
    assert_int_equal(count_files(p), 1);
    char sha[SHA256_TEXT];
    struct stat st;
    ok(sha256_file_hex(last_file, sha, &e), &e);
    assert_true(str_eqz(m[0].sha256, sha));
    assert_int_equal(stat(last_file, &st), 0);
    assert_int_equal(m[0].bytes, st.st_size);

    assert_rows(p, &path, 1,
                "0.10000000000000001 'it's \"ä\" 漢' 1 '[1,{\"a\":null}]' - 'cat' 100 '{\"new\":3}'\n"
                "1 - - - - - 101 '{\"num\":true}'\n"
                "inf 'longer than twelve bytes, surely' - - - - 100 -\n"
                "nan '' 0 '{}' - - 100 '{\"y\":5}'\n",
                "num", "txt", "yes", "doc", "new", "y", "modelmon_offset", "modelmon_other");
    lake_forget(p->w, NULL);
    assert_int_equal(lake_held(p->w).rows, 0);
    assert_int_equal(lake_held(p->w).bytes, 0);
    assert_int_equal(lake_held(p->w).oldest_mono_us, 0);
    schema_done(&s);
}

static void test_metadata(void **state)
{
    struct place *p = *state;
    struct schema s = number_schema(1);
    struct lake_endpoint ep = lake_endpoint(1, UID, &s);
    struct err e;
    size_t nulled;
    struct value in[] = {number(1), number(2), number(3)}, out[] = {number(0), number(0), number(1)};
    struct inference_event ev = lake_event(LAKE_T0, "r1", 3, in, 1, out, 1);
    ev.effective_sample_count = 4;
    ev.estimated_prediction_count = 12;
    ev.metrics = STR("{\"m\":1}");
    ok(lake_add(p->w, &part0, 5, &ep, &ev, LAKE_T0 - 1123456, &nulled, &e), &e);
    const char *path = flush(p, 5, 6, 1)[0].path.p;
    assert_rows(p, &path, 1,
                "'my-proj/serving' 'my-model' 'M' 'r1' 7100 '2025-01-01 00:00:00.000000+00:00' "
                "'2025-01-01 00:00:01.123456+00:00' 1735689601.123456 1\n"
                "'my-proj/serving' 'my-model' 'M' 'r1' 7100 '2025-01-01 00:00:00.000000+00:00' "
                "'2025-01-01 00:00:01.123456+00:00' 1735689601.123456 2\n"
                "'my-proj/serving' 'my-model' 'M' 'r1' 7100 '2025-01-01 00:00:00.000000+00:00' "
                "'2025-01-01 00:00:01.123456+00:00' 1735689601.123456 3\n",
                "function_uri", "endpoint_name", "model_class", "request_id", "latency", "first_request",
                "last_request", "last_request_timestamp", "f0");
    assert_rows(p, &path, 1, /* shares add up: 2+1+1 samples, 3 x 4 predictions */
                "- '{\"m\":1}' - 1 4 '[f0]' '[y]' 5 1 1 '" UID "' -\n"
                "- '{\"m\":1}' - 1 4 '[f0]' '[y]' 5 2 1 '" UID "' -\n"
                "- '{\"m\":1}' - 2 4 '[f0]' '[y]' 5 0 1 '" UID "' -\n",
                "labels", "metrics", "entities", "effective_sample_count", "estimated_prediction_count", "feature_names",
                "label_names", "modelmon_offset", "modelmon_row", "endpoint_type", "endpoint_id", "no_such_column");
    schema_done(&s);
}

static void test_times_as_text(void **state)
{
    struct place *p = *state;
    struct schema s = number_schema(1);
    static const int64_t at[] = {LAKE_T0, LAKE_T0 + 1, LAKE_T0 + 876543, LAKE_T0 + 876544, LAKE_T0 + 59 * USEC_PER_SEC};
    for (int i = 0; i < 5; i++)
        add(p, &part0, i, &s, at[i], "r", i);
    add(p, &part0, 5, &s, at[0] - 2 * USEC_PER_SEC, "r", 5);
    struct manifest_row *m = flush(p, 0, 6, 2);
    const char *paths[] = {m[0].path.p, m[1].path.p};
    assert_rows(p, paths, 2,
                "0 '2025-01-01 00:00:01.123456+00:00'\n"
                "1 '2025-01-01 00:00:01.123457+00:00'\n"
                "2 '2025-01-01 00:00:01.999999+00:00'\n"
                "3 '2025-01-01 00:00:02.000000+00:00'\n"
                "4 '2025-01-01 00:01:00.123456+00:00'\n"
                "5 '2024-12-31 23:59:59.123456+00:00'\n",
                "f0", "last_request");
    schema_done(&s);
}

/* As after a crash: nothing was kept. */
static void start_anew(struct place *p)
{
    struct err e;
    lake_writer_free(p->w);
    ok(lake_writer_open(&p->w, &p->cfg, &e), &e);
}

static void test_replay_writes_the_same(void **state)
{
    struct place *p = *state;
    struct schema s = number_schema(1);
    char id[16], first[600], *before = NULL;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 1000; i++) {
            (void)snprintf(id, sizeof id, "r%d", i);
            add(p, &part0, i, &s, LAKE_T0 + i, id, i * 0.1);
        }
        struct manifest_row *m = flush(p, 0, 1000, 1);
        if (round == 1)
            m = flush(p, 0, 1000, 1); /* held rows are written again */
        const char *path = m[0].path.p;
        char *rows = rows_of(p, &path, 1, COLS("request_id", "f0", "y", "modelmon_offset"), ALWAYS);
        if (round == 0) {
            (void)snprintf(first, sizeof first, "%s", path);
            before = rows;
            assert_non_null(strstr(rows, "'r999' 99.9"));
        } else {
            assert_string_equal(path, first);
            assert_string_equal(rows, before);
            mem_free(rows);
        }
        assert_int_equal(count_files(p), 1);
        start_anew(p);
    }
    mem_free(before);
    schema_done(&s);
}

static void test_hours_and_schemas_split(void **state)
{
    struct place *p = *state;
    struct schema s1 = number_schema(1), s2 = number_schema(1);
    s2.version = 12;
    mem_free(s2.features[0].name);
    s2.features[0].name = mem_dupz("g0");
    add(p, &part0, 0, &s1, LAKE_T0, "a", 1);
    add(p, &part0, 1, &s1, LAKE_T0 + HOUR, "b", 2);
    add(p, &part0, 2, &s2, LAKE_T0 + HOUR, "c", 3);
    add(p, &part0, 3, &s1, LAKE_T0 - HOUR, "d", 4); /* into the year before */
    struct manifest_row *m = flush(p, 0, 4, 4);
    const char *paths[4];
    int seen = 0;
    for (int i = 0; i < 4; i++) {
        const char *path = paths[i] = m[i].path.p;
        seen |= strstr(path, "/year=2025/month=01/day=01/hour=00/") && strstr(path, "0004.parquet") ? 1 : 0;
        seen |= strstr(path, "/hour=01/") && strstr(path, "0004-s1.parquet") && m[i].schema_version == 1 ? 2 : 0;
        seen |= strstr(path, "/hour=01/") && strstr(path, "0004-s12.parquet") && m[i].schema_version == 12 ? 4 : 0;
        seen |= strstr(path, "/year=2024/month=12/day=31/hour=23/") ? 8 : 0;
    }
    assert_int_equal(seen, 15);
    assert_int_equal(count_files(p), 4);
    assert_rows(p, paths, 4, "'a' 1 -\n'b' 2 -\n'c' - 3\n'd' 4 -\n", "request_id", "f0", "g0");
    char *rows = rows_of(p, paths, 4, COLS("request_id"), LAKE_T0, LAKE_T0 + HOUR); /* [start, end) */
    assert_string_equal(rows, "'a'\n");
    mem_free(rows);
    schema_done(&s1);
    schema_done(&s2);
}

/* After a crash the range is decoded again, with the schemas that were pinned: those may be others than at the first attempt. */
static void test_another_attempt_leaves_nothing_of_the_first(void **state)
{
    struct place *p = *state;
    struct schema s1 = number_schema(1), s2 = number_schema(1);
    struct err e;
    struct manifest_row *m = NULL;
    size_t n = 0;
    s2.version = 12;
    for (int two_first = 0; two_first < 2; two_first++) { /* -s1 and -s12, then one without; and the other way round */
        int64_t at = two_first * 10, hour = LAKE_T0 + two_first * HOUR;
        add(p, &part0, at, &s1, hour, "a", 1);
        add(p, &part0, at + 1, two_first ? &s2 : &s1, hour, "b", 2);
        (void)flush(p, at, at + 2, two_first ? 2 : 1);
        int before = count_files(p);
        start_anew(p);
        add(p, &part0, at, &s1, hour, "a", 1);
        add(p, &part0, at + 1, two_first ? &s1 : &s2, hour, "b", 2);
        const struct lake_range again = {part0, at, at + 2, true};
        ok(lake_flush(p->w, &again, 1, &m, &n, &e), &e);
        assert_int_equal(n, two_first ? 1 : 2);
        assert_int_equal(count_files(p), two_first ? before - 1 : before + 1);
        for (size_t i = 0; i < n; i++) {
            bool there = false;
            ok(lake_has_file(&p->cfg, m[i].path.p, &there, &e), &e);
            assert_true(there);
        }
        lake_forget(p->w, NULL);
        add(p, &part0, at + 2, &s1, hour, "after", 3); /* another range: what is there stays */
        (void)flush(p, at + 2, at + 3, 1);
        assert_int_equal(count_files(p), two_first ? before : before + 2);
        lake_forget(p->w, NULL);
    }
    schema_done(&s1);
    schema_done(&s2);
}

static void assert_content(const struct place *p, const struct manifest_row *m)
{
    CLEANUP(buf_done) struct buf path = {0};
    char sha[SHA256_TEXT];
    struct err e;
    buf_addf(&path, "%s/%.*s", p->cfg.root, STR_FMT(m->path));
    ok(sha256_file_hex(path.data, sha, &e), &e);
    assert_true(str_eqz(m->sha256, sha));
}

/* Who slept between writing and putting in place finds what the new owner has put there, and leaves it; who is the owner replaces it. */
static void test_what_is_there_is_replaced_when_that_is_said(void **state)
{
    struct place *p = *state;
    struct schema s = number_schema(1);
    const struct lake_range range = {part0, 0, 2, false};
    struct lake_writer *sleeper = p->w;
    struct manifest_row *theirs = NULL, *ours = NULL;
    struct err e;
    size_t n = 0;
    add(p, &part0, 0, &s, LAKE_T0, "a", 1);
    add(p, &part0, 1, &s, LAKE_T0 + HOUR, "b", 1);
    ok(lake_write(p->w, &range, 1, &theirs, &n, &e), &e);
    ok(lake_writer_open(&p->w, &p->cfg, &e), &e);
    add(p, &part0, 0, &s, LAKE_T0, "a", 2);
    ours = flush(p, 0, 2, 1);
    assert_int_equal(lake_place(sleeper, &range, 1, false, &e), E_CONFLICT);
    assert_content(p, &ours[0]);
    assert_int_equal(lake_place(sleeper, &range, 1, false, &e), E_CONFLICT);
    ok(lake_place(sleeper, &range, 1, true, &e), &e);
    for (size_t i = 0; i < n; i++)
        assert_content(p, &theirs[i]);
    assert_int_equal(count_files(p), 2);
    lake_forget(sleeper, NULL);
    add(p, &part0, 2, &s, LAKE_T0, "c", 1);
    (void)flush(p, 2, 3, 1); /* nothing is left of a conflict */
    lake_writer_free(sleeper);
    schema_done(&s);
}

/* Nor in folders where the repeat has no rows, and when there are more than two attempts, the last with none at all. */
static void test_attempts_may_differ_in_everything(void **state)
{
    struct place *p = *state;
    struct schema s = number_schema(1);
    struct lake_endpoint other = lake_endpoint(2, "00000000000000000000000000000002", &s);
    const struct lake_range again = {part0, 5, 9, true};
    struct inference_event ev;
    struct value one = number(1);
    struct manifest_row *m = NULL;
    struct err e;
    size_t n = 0, nulled = 0;
    add(p, &part1, 5, &s, LAKE_T0, "of another partition", 1);
    const struct lake_range elsewhere = {part1, 5, 9, false};
    ok(lake_flush(p->w, &elsewhere, 1, &m, &n, &e), &e);
    start_anew(p);
    add(p, &part0, 5, &s, LAKE_T0, "a", 1);
    add(p, &part0, 6, &s, LAKE_T0 + 2 * HOUR, "b", 1);
    (void)flush(p, 5, 9, 2);
    assert_int_equal(count_files(p), 3);
    start_anew(p);
    ev = lake_event(LAKE_T0, "a", 1, &one, 1, &one, 1);
    ok(lake_add(p->w, &part0, 5, &other, &ev, LAKE_T0, &nulled, &e), &e);
    ok(lake_flush(p->w, &again, 1, &m, &n, &e), &e);
    assert_int_equal(n, 1);
    assert_int_equal(count_files(p), 2);
    start_anew(p);
    ok(lake_flush(p->w, &again, 1, &m, &n, &e), &e);
    assert_int_equal(n, 0);
    assert_int_equal(count_files(p), 1);
    schema_done(&s);
}

static void test_partitions_are_apart(void **state)
{
    struct place *p = *state;
    struct schema s = number_schema(1);
    struct err e;
    add(p, &part0, 0, &s, LAKE_T0, "a", 1);
    add(p, &part1, 50, &s, LAKE_T0, "b", 2);
    struct lake_range ranges[] = {{part0, 0, 1, false}, {part1, 50, 51, false}};
    struct manifest_row *m;
    size_t n;
    ok(lake_flush(p->w, ranges, 2, &m, &n, &e), &e);
    assert_int_equal(n, 2);
    assert_int_equal(m[0].partition, 0);
    assert_int_equal(m[1].partition, 1);
    assert_int_equal(m[1].start_offset, 50);
    lake_forget(p->w, &part0);
    assert_int_equal(lake_held(p->w).rows, 1);
    ok(lake_flush(p->w, ranges, 2, &m, &n, &e), &e);
    assert_int_equal(n, 1);
    assert_int_equal(m[0].partition, 1);
    lake_forget(p->w, NULL);
    ok(lake_flush(p->w, ranges, 2, &m, &n, &e), &e);
    assert_int_equal(n, 0);
    schema_done(&s);
}

/* A topic that was made anew has the old one's offsets again: files and keys are others. */
static void test_generations_are_apart(void **state)
{
    struct place *p = *state;
    struct schema s = number_schema(1);
    struct err e;
    struct lake_range ranges[] = {{part0, 0, 1, false}, {part0, 0, 1, false}};
    ranges[1].part.generation = 2;
    struct manifest_row *m;
    char *paths[2];
    const char *both[2];
    size_t n;
    for (int i = 0; i < 2; i++) {
        add(p, &ranges[i].part, 0, &s, LAKE_T0, i ? "new" : "old", i);
        ok(lake_flush(p->w, &ranges[i], 1, &m, &n, &e), &e);
        assert_int_equal(n, 1);
        assert_true(m[0].start_offset == ledger_key(i * 2, 0) && m[0].end_offset == ledger_key(i * 2, 1));
        both[i] = paths[i] = mem_dupz(m[0].path.p);
        lake_forget(p->w, NULL);
    }
    assert_non_null(strstr(paths[1], "_v1-0-g2-00000000000000000000-"));
    assert_rows(p, both, 2, "'new' 1\n'old' 0\n", "request_id", "f0");
    mem_free(paths[0]);
    mem_free(paths[1]);
    schema_done(&s);
}

static void test_names_that_collide(void **state)
{
    struct place *p = *state;
    struct schema s = {0};
    struct lake_endpoint ep = lake_endpoint(1, UID, &s);
    struct err e;
    size_t nulled;
    ok(schema_parse(STR("{\"features\":[{\"name\":\"Age\",\"type\":\"number\"},{\"name\":\"age\",\"type\":\"number\"},"
                        "{\"name\":\"timestamp\",\"type\":\"number\"},{\"name\":\"a\\\"b';--\",\"type\":\"number\"}],"
                        "\"labels\":[{\"name\":\"AGE\",\"type\":\"number\"}]}"),
                    &s, &e),
       &e);
    struct value in[] = {number(1), number(2), number(3), number(4)}, out[] = {number(5)};
    struct inference_event ev = lake_event(LAKE_T0, "r", 1, in, 4, out, 1);
    ok(lake_add(p->w, &part0, 0, &ep, &ev, LAKE_T0, &nulled, &e), &e);
    const char *path = flush(p, 0, 1, 1)[0].path.p;
    assert_rows(p, &path, 1, "1 2 3 4 5\n", "Age", "age", "feature_timestamp", "a\"b';--", "AGE");
    schema_done(&s);
}

static rc_t stop_reading(void *arg, const struct lake_batch *b, struct err *e)
{
    assert_true(b->n_rows > 0 && b->n_rows <= 2048);
    ++*(int *)arg;
    return err_set(e, E_LIMIT, "enough");
}

static rc_t count_rows(void *arg, const struct lake_batch *b, struct err *e)
{
    (void)e;
    *(size_t *)arg += b->n_rows;
    for (size_t i = 0; i < b->n_rows; i++)
        assert_true(b->when_us[i] >= LAKE_T0 && b->when_us[i] < LAKE_T0 + 4000);
    return OK;
}

static void test_reading(void **state)
{
    struct place *p = *state;
    struct schema s = number_schema(1);
    struct err e;
    for (int i = 0; i < 5000; i++)
        add(p, &part0, i, &s, LAKE_T0 + i, "r", i);
    const char *path = flush(p, 0, 5000, 1)[0].path.p;
    size_t rows = 0;
    int calls = 0;
    ok(lake_read(p->r, &path, 1, COLS("f0"), LAKE_T0, LAKE_T0 + 4000, count_rows, &rows, &e), &e);
    assert_int_equal(rows, 4000);
    rows = 0;
    ok(lake_read(p->r, &path, 1, NULL, 0, LAKE_T0, LAKE_T0 + 4000, count_rows, &rows, &e), &e); /* times alone */
    assert_int_equal(rows, 4000);
    assert_int_equal(lake_read(p->r, &path, 1, COLS("f0"), ALWAYS, stop_reading, &calls, &e), E_LIMIT);
    assert_string_equal(e.text, "enough");
    assert_int_equal(calls, 1);
    ok(lake_read(p->r, NULL, 0, COLS("f0"), ALWAYS, stop_reading, &calls, &e), &e); /* no files, no rows */
    const char *gone[] = {path, "my-proj/nothing.parquet"};
    assert_int_equal(lake_read(p->r, gone, 2, COLS("f0"), ALWAYS, stop_reading, &calls, &e), E_NOTFOUND);
    char absolute[700], dots[700], broken[700];
    (void)snprintf(absolute, sizeof absolute, "%s/%s", p->root, path);
    (void)snprintf(dots, sizeof dots, "x/../%s", path);
    const char *outside[] = {"/etc/passwd", "../etc/passwd", "a/..", "./a", "a//b", absolute, dots};
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++)
        assert_int_equal(lake_read(p->r, &outside[i], 1, COLS("f0"), ALWAYS, stop_reading, &calls, &e), E_INVALID);
    assert_int_equal(calls, 1);
    (void)snprintf(broken, sizeof broken, "%s/broken.parquet", p->root);
    FILE *f = fopen(broken, "w");
    assert_non_null(f);
    (void)fputs("PAR1 nothing PAR1", f);
    (void)fclose(f);
    const char *corrupt = "broken.parquet";
    assert_int_equal(lake_read(p->r, &corrupt, 1, COLS("f0"), ALWAYS, stop_reading, &calls, &e), E_INVALID);
    ok(lake_read(p->r, &path, 1, COLS("f0"), LAKE_T0, LAKE_T0 + 10, count_rows, &rows, &e), &e); /* others go on */
    schema_done(&s);
}

static void test_bad_input_is_refused(void **state)
{
    struct place *p = *state;
    struct schema s = number_schema(1);
    struct err e;
    size_t nulled;
    struct value in[] = {number(1), number(2)}, out[] = {number(1)};
    struct inference_event ev = lake_event(LAKE_T0, "r", 1, in, 1, out, 1),
                           wide = lake_event(LAKE_T0, "r", 1, in, 2, out, 1);
    struct lake_endpoint ep = lake_endpoint(1, "../../etc", &s);
    assert_int_equal(lake_add(p->w, &part0, 0, &ep, &ev, LAKE_T0, &nulled, &e), E_INVALID);
    ep = lake_endpoint(1, UID, &s);
    ep.project = STR("..");
    assert_int_equal(lake_add(p->w, &part0, 0, &ep, &ev, LAKE_T0, &nulled, &e), E_INVALID);
    ep = lake_endpoint(1, UID, &s);
    assert_int_equal(lake_add(p->w, &(struct lake_part){"a/b", 0, 0}, 0, &ep, &ev, LAKE_T0, &nulled, &e), E_INVALID);
    assert_int_equal(lake_add(p->w, &part0, 0, &ep, &wide, LAKE_T0, &nulled, &e), E_INVALID);
    assert_int_equal(lake_held(p->w).files, 0);
    assert_int_equal(lake_held(p->w).bytes, 0);
    schema_done(&s);
}

/* ---- the disk ---- */
static int tmp_files(const struct place *p)
{
    char path[400];
    (void)snprintf(path, sizeof path, "%s/.tmp", p->root);
    files_seen = 0;
    (void)nftw(path, see_file, 16, FTW_PHYS);
    return files_seen;
}

static void test_full_disk(void **state)
{
    struct place *p = *state;
    struct schema s = number_schema(20);
    struct lake_endpoint ep = lake_endpoint(1, UID, &s);
    struct value in[20], out[] = {number(1)};
    struct lake_range range = {part0, 0, 50000, false};
    struct manifest_row *m = NULL;
    struct err e;
    size_t n = 0, nulled;
    assert_int_equal(mkdir(p->root, 0755), 0);
    if (mount("lake", p->root, "tmpfs", 0, "size=4m") != 0)
        fail_msg("mounting a tmpfs takes root");
    srand48(1);
    for (int i = 0; i < 50000; i++) {
        for (int k = 0; k < 20; k++)
            in[k] = number(drand48());
        ep.endpoint_id = i % 3;
        ep.uid = str_of((const char *[]){"a", "b", "c"}[i % 3]);
        struct inference_event ev = lake_event(LAKE_T0 + i, "r", 1, in, 20, out, 1);
        ok(lake_add(p->w, &part0, i, &ep, &ev, LAKE_T0, &nulled, &e), &e);
    }
    rc_t full = lake_flush(p->w, &range, 1, &m, &n, &e);
    int left = count_files(p);
    int64_t held = lake_held(p->w).rows;
    rc_t remounted = mount("lake", p->root, "tmpfs", MS_REMOUNT | MS_RDONLY, "size=64m") == 0 ? OK : E_FATAL;
    rc_t read_only = lake_flush(p->w, &range, 1, &m, &n, &e);
    remounted = remounted || mount("lake", p->root, "tmpfs", MS_REMOUNT, "size=64m") != 0 ? E_FATAL : OK;
    rc_t roomy = lake_flush(p->w, &range, 1, &m, &n, &e);
    int whole = count_files(p);
    lake_writer_free(p->w);
    p->w = NULL;
    lake_reader_free(p->r);
    p->r = NULL;
    (void)umount(p->root);
    assert_int_equal(full, E_AGAIN);
    assert_int_equal(left, 0); /* no piece of it is left */
    assert_int_equal(held, 50000);
    assert_int_equal(remounted, OK);
    assert_int_equal(read_only, E_AGAIN);
    assert_int_equal(roomy, OK);
    assert_int_equal(n, 3);
    assert_int_equal(whole, 3);
    schema_done(&s);
}

static void test_sweep_spares_the_living(void **state)
{
    struct place *p = *state;
    struct schema s = number_schema(1);
    char path[500];
    add(p, &part0, 0, &s, LAKE_T0, "a", 1);
    (void)flush(p, 0, 1, 1);
    assert_int_equal(tmp_files(p), 0);
    /* an earlier life's: a folder whose lock nobody holds */
    (void)snprintf(path, sizeof path, "%s/.tmp/1-77", p->root);
    assert_int_equal(mkdir(path, 0755), 0);
    (void)snprintf(path, sizeof path, "%s/.tmp/1-77/0.parquet", p->root);
    int fd = open(path, O_CREAT | O_WRONLY, 0644);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(tmp_files(p), 1);
    lake_sweep(&p->cfg);
    assert_int_equal(tmp_files(p), 0);
    assert_int_equal(access(path, F_OK), -1);
    add(p, &part0, 1, &s, LAKE_T0, "b", 1); /* the living one still has its folder */
    (void)flush(p, 0, 2, 1);
    lake_writer_free(p->w);
    p->w = NULL;
    (void)snprintf(path, sizeof path, "%s/.tmp", p->root);
    DIR *dir = opendir(path);
    int entries = 0;
    for (struct dirent *d; dir && (d = readdir(dir));)
        entries += d->d_name[0] != '.';
    closedir(dir);
    assert_int_equal(entries, 0); /* and takes it with it */
    schema_done(&s);
}

static int remove_file(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

/* Whoever cleans up takes the writer's folder too: with .tmp, or it alone. */
static void test_a_deleted_folder_is_made_anew(void **state)
{
    struct place *p = *state;
    struct schema s = number_schema(1);
    struct manifest_row *m = NULL;
    struct err e;
    char path[500];
    size_t n = 0;
    for (int64_t i = 0; i < 2; i++) {
        const struct lake_range range = {part0, i, i + 1, false};
        add(p, &part0, i, &s, LAKE_T0, "a", 1);
        if (i == 0) {
            (void)flush(p, i, i + 1, 1);
            lake_forget(p->w, NULL);
            add(p, &part0, i, &s, LAKE_T0, "a", 1);
        }
        (void)snprintf(path, sizeof path, i ? "%s/.tmp/%d-0" : "%s/.tmp", p->root, (int)getpid());
        assert_int_equal(access(path, F_OK), 0);
        assert_int_equal(nftw(path, remove_file, 16, FTW_DEPTH | FTW_PHYS), 0);
        assert_int_equal(lake_flush(p->w, &range, 1, &m, &n, &e), E_AGAIN);
        assert_int_equal(lake_held(p->w).rows, 1); /* nothing is lost by it */
        ok(lake_flush(p->w, &range, 1, &m, &n, &e), &e);
        assert_int_equal(n, 1);
        assert_int_equal(tmp_files(p), 0);
        lake_forget(p->w, NULL);
    }
    schema_done(&s);
}

static void test_open_costs_nothing(void **state)
{
    struct place *p = *state;
    assert_int_equal(access(p->root, F_OK), -1); /* neither folder nor DuckDB before they are needed */
    struct lake_config empty = {(char[]){""}, 1 << 20};
    struct lake_writer *w = NULL;
    struct err e;
    assert_int_equal(lake_writer_open(&w, &empty, &e), E_INVALID);
    lake_writer_free(NULL);
    lake_reader_free(NULL);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schema_documents),
        TEST(test_open_costs_nothing),
        TEST(test_round_trip),
        TEST(test_metadata),
        TEST(test_times_as_text),
        TEST(test_replay_writes_the_same),
        TEST(test_hours_and_schemas_split),
        TEST(test_another_attempt_leaves_nothing_of_the_first),
        TEST(test_what_is_there_is_replaced_when_that_is_said),
        TEST(test_attempts_may_differ_in_everything),
        TEST(test_partitions_are_apart),
        TEST(test_generations_are_apart),
        TEST(test_names_that_collide),
        TEST(test_reading),
        TEST(test_bad_input_is_refused),
        TEST(test_full_disk),
        TEST(test_sweep_spares_the_living),
        TEST(test_a_deleted_folder_is_made_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
