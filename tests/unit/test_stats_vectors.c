/* MLRun's captured histogram cases: mlrun mode number for number, closed mode against tests/vectors/closed_expected.json. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/mem.h"
#include "json/doc.h"
#include "stats/distance.h"
#include "stats/drift.h"

#define CASES 25
#define CLOSE 1e-9
#define CLOSE_HELLINGER 2e-8

struct fixture {
    struct json *vectors, *closed;
};

static struct json *load(const char *path)
{
    struct json *ret = NULL;
    struct buf text = {0};
    struct err e;
    struct json_limits limits = {.values = 1000000, .bytes = 64 << 20, .keys = 100000};
    char block[65536];
    size_t n;
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    while ((n = fread(block, 1, sizeof block, f)) > 0)
        buf_add(&text, block, n);
    fclose(f);
    if (json_parse(&ret, text.data, text.len, &limits, &e))
        fail_msg("%s: %s", path, e.text);
    buf_done(&text);
    return ret;
}

static int set_up(void **state)
{
    struct fixture *fx = mem_alloc(sizeof *fx);
    fx->vectors = load("tests/vectors/histogram_vectors.json");
    fx->closed = load("tests/vectors/closed_expected.json");
    *state = fx;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fx = *state;
    json_free(fx->vectors);
    json_free(fx->closed);
    mem_free(fx);
    return 0;
}

static const char *text_of(const struct json *j, const char *key)
{
    struct str s = STR("");
    return json_str(json_get(j, key), &s, NULL) == OK ? s.p : "";
}

/* Numbers, the words NaN and Infinity, null as NaN. */
static double number_of(const struct json *v)
{
    double d = NAN;
    bool b;
    struct str s;
    if (json_str(v, &s, NULL) == OK)
        return str_eqz(s, "Infinity") ? INFINITY : str_eqz(s, "-Infinity") ? -INFINITY : NAN;
    if (json_bool(v, &b, NULL) == OK)
        return b;
    return json_f64(v, &d, NULL) == OK ? d : NAN;
}

static double number_at(const struct json *j, const char *key)
{
    return number_of(json_get(j, key));
}

static bool near(double got, double want, double by)
{
    if (isnan(want))
        return isnan(got);
    if (isinf(want))
        return got == want;
    return fabs(got - want) <= by * fmax(1, fabs(want));
}

static void check(const char *where, const char *what, double got, double want)
{
    /* near 0 Hellinger is the root of a rounding residue, and general_drift half of it */
    bool root = strstr(what, "hellinger") || strstr(what, "_drift");
    double by = root && fabs(want) < 1e-6 ? CLOSE_HELLINGER : CLOSE;
    if (!near(got, want, by))
        fail_msg("%s %s: got %.17g, want %.17g", where, what, got, want);
}

static size_t doubles_of(const struct json *array, double *ret, double over)
{
    size_t n = 0;
    for (const struct json *v = json_first(array); v; v = json_next(v))
        ret[n++] = number_of(v) / over;
    return n;
}

static struct stat_value value_of(const struct json *v, const char *dtype)
{
    struct str s;
    bool text = strcmp(dtype, "object") == 0 || strncmp(dtype, "datetime", 8) == 0;
    if (text && json_str(v, &s, NULL) == OK)
        return (struct stat_value){STAT_TEXT, 0, s};
    if (strcmp(dtype, "bool") == 0)
        return (struct stat_value){STAT_BOOL, number_of(v), STR("")};
    return (struct stat_value){STAT_NUMBER, number_of(v), STR("")};
}

static struct stat_value *values_of(const struct json *column, const char *dtype, size_t *n)
{
    struct stat_value *ret = mem_array(json_len(column) + 1, sizeof *ret);
    *n = 0;
    for (const struct json *v = json_first(column); v; v = json_next(v))
        ret[(*n)++] = value_of(v, dtype);
    return ret;
}

static struct reference *from_training(const struct json *c)
{
    struct reference *r = reference_new();
    struct err e;
    for (const struct json *col = json_first(json_get(c, "train")); col; col = json_next(col)) {
        size_t n;
        struct stat_value *v = values_of(col, text_of(json_get(c, "train_dtypes"), json_key(col)), &n);
        assert_int_equal(reference_add_values(r, str_of(json_key(col)), false, v, n, &e), OK);
        mem_free(v);
    }
    bool padded = true;
    assert_int_equal(json_opt_bool(c, "reference_padded", &padded, &e), OK);
    for (size_t i = 0; i < r->n; i++)
        r->features[i].padded = padded;
    return r;
}

static struct reference *from_stats(const struct json *c)
{
    struct reference *r = NULL;
    struct err e;
    if (reference_from_json(&r, json_get(c, "feature_stats"), NULL, 0, &e))
        fail_msg("%s: %s", text_of(c, "name"), e.text);
    return r;
}

static bool is_label(const char *name)
{
    return strcmp(name, "p0") == 0 || strcmp(name, "label") == 0;
}

/* The sample through a slot, its bytes, and a second slot that reads them; a text column in the way is no harm. */
struct counted {
    struct slot_layout layout;
    struct slot *slot;
    struct drift_column *columns;
};

static void fill(struct slot *s, const struct json *c, bool labels, size_t *column, uint64_t *rows)
{
    for (const struct json *col = json_first(json_get(c, "sample")); col; col = json_next(col)) {
        if (is_label(json_key(col)) != labels)
            continue;
        size_t n;
        struct stat_value *v = values_of(col, text_of(json_get(c, "sample_dtypes"), json_key(col)), &n);
        for (size_t i = 0; i < n; i++)
            slot_add(s, *column, &v[i]);
        mem_free(v);
        *rows = n > *rows ? n : *rows;
        ++*column;
    }
}

static void count_sample(struct counted *k, const struct reference *r, const struct json *c)
{
    struct str names[2][16];
    size_t n[2] = {0, 0}, column = 0;
    struct err e;
    for (const struct json *col = json_first(json_get(c, "sample")); col; col = json_next(col)) {
        int at = is_label(json_key(col));
        names[at][n[at]++] = str_of(json_key(col));
    }
    slot_layout_init(&k->layout, names[0], n[0], names[1], n[1], r);
    struct slot *first = slot_new(&k->layout);
    fill(first, c, false, &column, &first->rows);
    fill(first, c, true, &column, &first->rows);
    struct buf bytes = {0};
    slot_encode(first, &bytes);
    k->slot = slot_new(&k->layout);
    if (slot_add_blob(k->slot, buf_str(&bytes), &e))
        fail_msg("%s: %s", text_of(c, "name"), e.text);
    buf_done(&bytes);
    slot_free(first);
    k->columns = mem_array(r->n, sizeof *k->columns);
    drift_columns_of(&k->layout, k->slot, k->columns);
}

static void counted_done(struct counted *k)
{
    slot_free(k->slot);
    slot_layout_done(&k->layout);
    mem_free(k->columns);
}

static const struct drift_feature *feature_of(const struct drift_result *r, const char *name)
{
    for (size_t i = 0; i < r->n_features; i++)
        if (str_eqz(r->features[i].name, name))
            return &r->features[i];
    fail_msg("no feature %s in the result", name);
    return NULL;
}

static void check_means(const char *where, const struct drift_result *r, const struct json *want)
{
    for (int d = 0; d < N_DISTANCES; d++)
        check(where, distances[d].mean_name, r->mean[d], number_at(want, distances[d].mean_name));
}

static void check_distances(const char *where, const struct drift_feature *f, const struct json *want)
{
    for (int d = 0; d < N_DISTANCES; d++)
        check(where, distances[d].name, f->distance[d], number_at(want, distances[d].name));
}

/* --- mlrun mode --- */

static void check_hist(const char *where, const struct json *got, const struct json *want)
{
    for (size_t part = 0; part < 2; part++) {
        const struct json *g = json_at(got, part), *w = json_at(want, part);
        if (json_len(g) != json_len(w))
            fail_msg("%s: %zu numbers, want %zu", where, json_len(g), json_len(w));
        const struct json *a = json_first(g), *b = json_first(w);
        for (; a && b; a = json_next(a), b = json_next(b))
            if (number_of(a) != number_of(b))
                fail_msg("%s: %.17g, want %.17g", where, number_of(a), number_of(b));
    }
}

static struct json *parsed(const struct buf *b)
{
    struct json *ret = NULL;
    struct err e;
    if (json_parse(&ret, b->data, b->len, NULL, &e))
        fail_msg("%s in %s", e.text, b->data);
    return ret;
}

/* current_stats of the columns MLRun has: count, mean, std, min, max to 1e-9 and the histogram exactly. */
static void check_current_stats(const struct json *c, const struct reference *r, const struct counted *k)
{
    static const char *const keys[] = {"count", "mean", "std", "min", "max"};
    struct buf out = {0};
    drift_current_stats_json(r, k->columns, DRIFT_EDGES_MLRUN, &out);
    struct json *got = parsed(&out);
    for (const struct json *w = json_first(json_get(c, "sample_df_stats")); w; w = json_next(w)) {
        const struct json *g = json_get(got, json_key(w));
        assert_non_null(g);
        check_hist(text_of(c, "name"), json_get(g, "hist"), json_get(w, "hist"));
        for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
            if (isfinite(number_at(w, keys[i])) && strcmp(text_of(c, "name"), "inf_in_sample") != 0)
                check(text_of(c, "name"), keys[i], number_at(g, keys[i]), number_at(w, keys[i]));
    }
    json_free(got);
    buf_done(&out);
}

static void check_measures(const struct json *c, const struct drift_result *r)
{
    struct buf out = {0};
    drift_measures_json(r, &out);
    struct json *got = parsed(&out);
    for (const struct json *w = json_first(json_get(c, "drift_measures")); w; w = json_next(w)) {
        const struct json *g = json_get(got, json_key(w));
        if (json_type(w) != JSON_OBJECT)
            check(text_of(c, "name"), json_key(w), number_of(g), number_of(w));
        else if (isnan(number_at(w, "tvd")))
            assert_null(g);
        else
            for (int d = 0; d < N_DISTANCES; d++)
                check(text_of(c, "name"), distances[d].name, number_at(g, distances[d].name),
                      number_at(w, distances[d].name));
    }
    json_free(got);
    buf_done(&out);
}

/* Where MLRun has a result: its numbers. Its status too, but for NaN, which it calls no detection. */
static void check_mlrun_result(const struct json *c, const struct reference *r, const struct counted *k)
{
    const char *name = text_of(c, "name");
    struct drift_options o = drift_options_default(DRIFT_EDGES_MLRUN);
    struct drift_result got;
    drift_compute_slot(&k->layout, k->slot, &o, &got);
    const struct json *want = json_get(c, "result");
    for (const struct json *f = json_first(json_get(c, "metrics_per_feature")); f; f = json_next(f))
        check_distances(name, feature_of(&got, json_key(f)), f);
    assert_int_equal(json_len(json_get(c, "metrics_per_feature")), got.n_features);
    check_means(name, &got, json_get(c, "metrics"));
    check(name, "general_drift", got.general_drift, number_at(want, "result_value"));
    double status = number_at(want, "result_status");
    if (isnan(got.general_drift)) {
        assert_int_equal(got.status, DRIFT_IRRELEVANT);
        assert_string_equal(got.reason, "no_comparable_feature");
    } else {
        assert_int_equal(got.status, (int)status);
        assert_string_equal(got.reason, "");
    }
    check_current_stats(c, r, k);
    check_measures(c, &got);
    drift_result_done(&got);
}

/* Where MLRun's application fails: what ours says instead. */
static const struct own_outcome {
    const char *name, *feature;
    enum drift_outcome outcome;
    enum drift_status status;
    const char *reason;
    size_t n_compared;
} own[] = {
    {"nan_in_train", "f0", DRIFT_NOT_IN_MLRUN, DRIFT_NONE, "", 2},
    {"string_feature", "cat", DRIFT_NOT_IN_MLRUN, DRIFT_NONE, "", 1},
    {"missing_column_in_sample", "f1", DRIFT_MISSING_COLUMN, DRIFT_NONE, "", 2},
    {"empty_sample", "f0", DRIFT_NO_SAMPLES, DRIFT_IRRELEVANT, "insufficient_samples", 0},
    {"huge_range", "x", DRIFT_NOT_IN_MLRUN, DRIFT_IRRELEVANT, "no_comparable_feature", 0},
    {"inf_in_train", "x", DRIFT_NOT_IN_MLRUN, DRIFT_NONE, "", 1},
};
#define N_OWN (sizeof own / sizeof own[0])

static const struct own_outcome *own_of(const char *name)
{
    for (size_t i = 0; i < N_OWN; i++)
        if (strcmp(own[i].name, name) == 0)
            return &own[i];
    fail_msg("no outcome of ours for %s", name);
    return NULL;
}

static void check_own_outcome(const struct json *c, const struct reference *r, const struct counted *k, bool raw)
{
    const struct own_outcome *want = own_of(text_of(c, "name"));
    struct drift_options o = drift_options_default(DRIFT_EDGES_MLRUN);
    struct drift_result got;
    drift_compute_slot(&k->layout, k->slot, &o, &got);
    enum drift_outcome outcome = want->outcome;
    if (!raw && outcome == DRIFT_NOT_IN_MLRUN && reference_find(r, str_of(want->feature))->kind == FEATURE_NONE)
        outcome = DRIFT_NO_REFERENCE_HIST; /* MLRun's statistics have no hist */
    assert_string_equal(drift_outcome_name(feature_of(&got, want->feature)->outcome), drift_outcome_name(outcome));
    assert_true(isnan(feature_of(&got, want->feature)->distance[DISTANCE_TVD]));
    assert_int_equal(got.n_compared, want->n_compared);
    assert_int_equal(got.status, want->status);
    assert_string_equal(got.reason, want->reason);
    drift_result_done(&got);
}

static void run_mlrun(const struct json *c, struct reference *r, bool raw)
{
    struct counted k;
    count_sample(&k, r, c);
    if (json_get(c, "error"))
        check_own_outcome(c, r, &k, raw);
    else
        check_mlrun_result(c, r, &k);
    counted_done(&k);
    reference_free(r);
}

static void test_mlrun_mode_gives_mlruns_numbers(void **state)
{
    struct fixture *fx = *state;
    size_t n = 0, errors = 0;
    for (const struct json *c = json_first(json_get(fx->vectors, "cases")); c; c = json_next(c), n++) {
        errors += json_get(c, "error") != NULL;
        run_mlrun(c, from_training(c), true);
        run_mlrun(c, from_stats(c), false);
    }
    assert_int_equal(n, CASES);
    assert_int_equal(errors, N_OWN);
}

/* --- training statistics --- */

static void check_training(const struct json *c, const struct reference *r, const char *form)
{
    static const char *const keys[] = {"count", "mean", "std", "min", "25%", "50%", "75%", "max", "unique", "freq"};
    struct buf out = {0};
    reference_to_json(r, strcmp(form, "feature_stats") == 0, &out);
    struct json *got = parsed(&out);
    for (const struct json *w = json_first(json_get(c, form)); w; w = json_next(w)) {
        const struct json *g = json_get(got, json_key(w));
        assert_non_null(g);
        if (json_get(w, "hist"))
            check_hist(text_of(c, "name"), json_get(g, "hist"), json_get(w, "hist"));
        for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
            if (isfinite(number_at(w, keys[i])) && json_get(w, "hist"))
                check(text_of(c, "name"), keys[i], number_at(g, keys[i]), number_at(w, keys[i]));
        assert_string_equal(text_of(g, "top"), text_of(w, "top"));
    }
    json_free(got);
    buf_done(&out);
}

static void test_training_statistics_are_mlruns(void **state)
{
    struct fixture *fx = *state;
    for (const struct json *c = json_first(json_get(fx->vectors, "cases")); c; c = json_next(c)) {
        struct reference *r = from_training(c);
        bool padded = r->features[0].padded;
        check_training(c, r, "train_stats_unpadded");
        if (padded)
            check_training(c, r, "feature_stats");
        for (size_t i = 0; i < r->n; i++) {
            const struct json *w = json_get(json_get(c, "train_stats_unpadded"), r->features[i].name.p);
            assert_int_equal(r->features[i].mlrun_hist, json_get(w, "hist") != NULL);
        }
        reference_free(r);
    }
}

/* numpy's counts of its own edges and their neighbours, where its index needs its corrections. */
static void test_training_histograms_are_numpys(void **state)
{
    struct fixture *fx = *state;
    size_t cases = 0;
    for (const struct json *c = json_first(json_get(fx->closed, "histograms")); c; c = json_next(c), cases++) {
        double x[64], counts[20], edges[21];
        struct reference *r = reference_new();
        struct err e;
        size_t n = doubles_of(json_get(c, "x"), x, 1);
        assert_int_equal(n, 61);
        assert_int_equal(doubles_of(json_get(c, "counts"), counts, 1), 20);
        assert_int_equal(doubles_of(json_get(c, "edges"), edges, 1), 21);
        assert_int_equal(reference_add_f64(r, STR("x"), false, x, n, &e), OK);
        assert_memory_equal(r->features[0].edges, edges, sizeof edges);
        assert_memory_equal(r->features[0].counts, counts, sizeof counts);
        reference_free(r);
    }
    assert_int_equal(cases, 8);
}

/* --- closed mode --- */

static void check_cells(const char *where, const struct feature_ref *f, const struct feature_counts *c,
                        const struct json *want)
{
    uint64_t cells[REFERENCE_BINS_MAX + 2];
    struct feature_ref padded = *f;
    if (f->kind != FEATURE_NUMERIC)
        return;
    padded.padded = true;
    size_t n = drift_cells(&padded, c, DRIFT_EDGES_CLOSED, cells), i = 0;
    assert_int_equal(n, json_len(want));
    for (const struct json *w = json_first(want); w; w = json_next(w), i++)
        if ((double)cells[i] != number_of(w))
            fail_msg("%s: cell %zu has %llu, want %g", where, i, (unsigned long long)cells[i], number_of(w));
}

static void run_closed(const struct json *c, const struct json *want, struct reference *r)
{
    const char *name = text_of(c, "name");
    struct drift_options o = drift_options_default(DRIFT_EDGES_CLOSED);
    o.min_samples = 1;
    struct counted k;
    struct drift_result got;
    count_sample(&k, r, c);
    for (size_t i = 0; i < r->n; i++)
        k.columns[i].is_label = is_label(r->features[i].name.p); /* also where the sample lacks the column */
    drift_compute(r, k.columns, k.slot->rows, &o, &got);
    for (const struct json *w = json_first(json_get(want, "features")); w; w = json_next(w)) {
        const struct drift_feature *f = feature_of(&got, json_key(w));
        assert_string_equal(drift_outcome_name(f->outcome), text_of(w, "outcome"));
        check_distances(name, f, w);
        size_t at = reference_index(r, f->name);
        if (f->outcome == DRIFT_OK)
            check_cells(name, &r->features[at], k.columns[at].counts, json_get(w, "counts"));
    }
    check_means(name, &got, want);
    check(name, "general_drift", got.general_drift, number_at(want, "general_drift"));
    check(name, "prediction_drift", got.prediction_drift, number_at(want, "prediction_drift"));
    assert_int_equal(got.status, (int)number_at(want, "status"));
    assert_int_equal(got.prediction_status, (int)number_at(want, "prediction_status"));
    assert_string_equal(got.reason, text_of(want, "reason"));
    if (strstr(name, "identical"))
        assert_true(got.general_drift == 0 && got.mean[DISTANCE_KLD] == 0);
    drift_result_done(&got);
    counted_done(&k);
    reference_free(r);
}

/* MLRun's own statistics give the same as the rows they were made of, where they hold all there is to know. */
static bool all_hist(const struct json *c)
{
    for (const struct json *w = json_first(json_get(c, "feature_stats")); w; w = json_next(w))
        if (json_get(w, "hist") == NULL)
            return false;
    return true;
}

static void test_closed_mode_gives_the_independent_numbers(void **state)
{
    struct fixture *fx = *state;
    const struct json *want = json_first(json_get(fx->closed, "cases"));
    size_t n = 0;
    for (const struct json *c = json_first(json_get(fx->vectors, "cases")); c; c = json_next(c), n++) {
        assert_non_null(want);
        assert_string_equal(text_of(c, "name"), text_of(want, "name"));
        run_closed(c, want, from_training(c));
        if (all_hist(c))
            run_closed(c, want, from_stats(c));
        want = json_next(want);
    }
    assert_int_equal(n, CASES);
}

/* --- distances, classifier, raw histograms --- */

static void test_distances(void **state)
{
    struct fixture *fx = *state;
    double t[64], u[64];
    size_t cases = 0;
    for (const struct json *c = json_first(json_get(fx->vectors, "distance_vectors")); c; c = json_next(c), cases++) {
        size_t n = doubles_of(json_get(c, "t"), t, 1);
        assert_int_equal(doubles_of(json_get(c, "u"), u, 1), n);
        for (int d = 0; d < N_DISTANCES; d++)
            check(text_of(c, "name"), distances[d].name, distances[d].fn(t, u, n), number_at(c, distances[d].name));
    }
    assert_int_equal(cases, 9);
}

static void test_classifier(void **state)
{
    struct fixture *fx = *state;
    struct drift_options o = drift_options_default(DRIFT_EDGES_MLRUN);
    size_t cases = 0;
    for (const struct json *c = json_first(json_get(fx->vectors, "classifier_vectors")); c; c = json_next(c), cases++) {
        double v = number_at(c, "value");
        int want = (int)number_at(c, "status");
        if (isnan(v))
            want = DRIFT_IRRELEVANT; /* theirs: 0 */
        else if (json_get(c, "error"))
            want = v > 1 ? DRIFT_DETECTED : DRIFT_NONE; /* theirs: no result at all */
        assert_int_equal(drift_classify(v, &o), want);
    }
    assert_int_equal(cases, 12);
}

static void test_raw_histograms(void **state)
{
    struct fixture *fx = *state;
    struct drift_options o = drift_options_default(DRIFT_EDGES_MLRUN);
    double t[64], u[64];
    size_t cases = 0;
    for (const struct json *c = json_first(json_get(fx->vectors, "raw_histogram_vectors")); c; c = json_next(c), cases++) {
        size_t n = doubles_of(json_get(c, "sample_counts"), t, number_at(c, "sample_count"));
        (void)doubles_of(json_get(c, "train_counts"), u, number_at(c, "train_count")); /* as many */
        double v[N_DISTANCES];
        for (int d = 0; d < N_DISTANCES; d++) {
            v[d] = distances[d].fn(t, u, n);
            check(text_of(c, "name"), distances[d].name, v[d], number_at(c, distances[d].name));
        }
        double drift = (v[DISTANCE_TVD] + v[DISTANCE_HELLINGER]) / 2;
        check(text_of(c, "name"), "general_drift", drift, number_at(c, "general_drift"));
        int want = json_get(c, "error") ? DRIFT_DETECTED : (int)number_at(c, "status");
        assert_int_equal(drift_classify(drift, &o), want);
    }
    assert_int_equal(cases, 4);
}

static size_t numbers_of(const struct json *list, double *ret)
{
    size_t n = 0;
    for (const struct json *v = json_first(list); v; v = json_next(v))
        ret[n++] = number_of(v);
    return n;
}

/* The further measures against scipy's answers (tests/support/measures_vectors.py). */
static void test_measures_as_scipy(void **state)
{
    (void)state;
    struct json *doc = load("tests/vectors/measures.json");
    size_t cases = 0;
    for (const struct json *c = json_first(json_get(doc, "cases")); c; c = json_next(c), cases++) {
        double t[128], u[128], at[128];
        struct measure_input m = {.t = t, .u = u, .at = at, .n = numbers_of(json_get(c, "t"), t)};
        assert_int_equal(numbers_of(json_get(c, "u"), u), m.n);
        assert_int_equal(numbers_of(json_get(c, "at"), at), m.n);
        for (size_t i = 0; i < m.n; i++) {
            m.t_total += t[i];
            m.u_total += u[i];
        }
        for (size_t i = 0; i < m.n; i++) {
            t[i] /= m.t_total;
            u[i] /= m.u_total;
        }
        for (size_t k = 0; k < N_MEASURES; k++) {
            double want = number_of(json_get(c, measures[k].name)), got = measures[k].fn(&m);
            if (!(fabs(got - want) <= 1e-9 * fmax(1, fabs(want))))
                fail_msg("%s of %s: %.17g, scipy says %.17g", measures[k].name, text_of(c, "name"), got, want);
        }
        m.at = NULL;
        assert_true(isnan(measure_wasserstein(&m)));
    }
    assert_int_equal(cases, 10);
    json_free(doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_measures_as_scipy),
        cmocka_unit_test(test_mlrun_mode_gives_mlruns_numbers),
        cmocka_unit_test(test_training_statistics_are_mlruns),
        cmocka_unit_test(test_training_histograms_are_numpys),
        cmocka_unit_test(test_closed_mode_gives_the_independent_numbers),
        cmocka_unit_test(test_distances),
        cmocka_unit_test(test_classifier),
        cmocka_unit_test(test_raw_histograms),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
