/* Owns MLRun's feature_stats as text: reading it, normalised to unpadded, and writing it back. */
#include <assert.h>
#include <float.h>
#include <math.h>

#include "base/mem.h"
#include "json/doc.h"
#include "json/write.h"
#include "stats/reference.h"
#include "stats/reference_parts.h"

#define EXTRA "modelmon"

static const char *const long_names[LONG_CLASSES] = {"128", "256", "512", "1024", "2048", "4096", "8192", "more"};

/* NaN: not there, or no number. */
static double stat_of(const struct json *j, const char *key)
{
    static const struct {
        const char *text;
        double value;
    } words[] = {{"Infinity", INFINITY}, {"-Infinity", -INFINITY}};
    const struct json *v = json_get(j, key);
    double d;
    struct str s;
    if (json_f64(v, &d, NULL) == OK)
        return d;
    if (json_str(v, &s, NULL) == OK)
        for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
            if (str_eqz(s, words[i].text))
                return words[i].value;
    return NAN;
}

/* Negative or not a number: 0. */
static uint64_t count_of(const struct json *j, const char *key)
{
    double d = stat_of(j, key);
    return d > 0 && d < 0x1p53 ? (uint64_t)d : 0;
}

static bool flag_of(const struct json *j, const char *key, bool otherwise)
{
    bool b;
    return json_bool(json_get(j, key), &b, NULL) == OK ? b : otherwise;
}

static rc_t read_numbers(const struct json *array, double *ret, bool counts, struct err *e)
{
    size_t i = 0;
    for (const struct json *m = json_first(array); m; m = json_next(m), i++) {
        rc_t rc = json_f64(m, &ret[i], e);
        if (rc)
            return rc;
        if (!isfinite(ret[i]) || (counts && ret[i] < 0))
            return json_complain(m, e, counts ? "a count is finite and not negative" : "an edge is finite");
    }
    return OK;
}

/* counts: n, edges: n + 1. Takes the outer bins off when both are MLRun's. */
static rc_t set_hist(struct reference *r, struct feature_ref *f, const struct json *at, const double *counts,
                     const double *edges, size_t n, struct err *e)
{
    for (size_t i = 0; i < n; i++)
        if (edges[i] > edges[i + 1])
            return json_complain(at, e, "edges go down at %zu", i + 1);
    f->padded = n > 2 && edges[0] == -DBL_MAX && edges[n] == DBL_MAX;
    size_t skip = f->padded ? 1 : 0, bins = n - 2 * skip;
    if (!(edges[skip] < edges[skip + bins]))
        return json_complain(at, e, "all edges are equal");
    if (bins > REFERENCE_BINS_MAX)
        return json_complain(at, e, "more than %u bins", REFERENCE_BINS_MAX);
    feature_ref_bins(r, f, (uint32_t)bins);
    for (size_t i = 0; i < bins; i++)
        f->counts[i] = counts[i + skip];
    for (size_t i = 0; i <= bins; i++)
        f->edges[i] = edges[i + skip];
    f->stats->under = f->padded ? counts[0] : 0;
    f->stats->over = f->padded ? counts[n - 1] : 0;
    f->mlrun_hist = true;
    feature_ref_finish(f);
    return OK;
}

static rc_t read_hist(struct reference *r, struct feature_ref *f, const struct json *hist, struct err *e)
{
    if (json_type(hist) != JSON_ARRAY || json_len(hist) != 2)
        return json_complain(hist, e, "a histogram is [counts, edges]");
    const struct json *counts = json_at(hist, 0), *edges = json_at(hist, 1);
    size_t n = json_len(counts);
    if (json_type(counts) != JSON_ARRAY || json_type(edges) != JSON_ARRAY || n == 0 || json_len(edges) != n + 1)
        return json_complain(hist, e, "a histogram has counts and one more edge than counts");
    double *numbers = mem_array(2 * n + 1, sizeof *numbers);
    rc_t rc = read_numbers(counts, numbers, true, e);
    if (rc == OK)
        rc = read_numbers(edges, numbers + n, false, e);
    if (rc == OK)
        rc = set_hist(r, f, hist, numbers, numbers + n, n, e);
    mem_free(numbers);
    return rc;
}

/* Counts that are no whole numbers, or so large that a mean does not give them back, are not those of two values. */
static void read_bool(struct feature_ref *f, const struct json *j, struct str top)
{
    double count = f->stats->count, freq = stat_of(j, "freq");
    if (!(count > 0 && count < 0x1p50) || !(freq >= 0) || freq > count || freq != floor(freq) || count != floor(count))
        return;
    if (str_eqz(top, "True"))
        feature_ref_bool_stats(f, freq, count - freq);
    else if (str_eqz(top, "False"))
        feature_ref_bool_stats(f, count - freq, freq);
}

/* All categories, if this text is ours; else MLRun's most frequent value and the rest. */
static rc_t read_categories(struct reference *r, struct feature_ref *f, const struct json *j, struct str top, struct err *e)
{
    const struct json *extra = json_get(j, EXTRA), *list = json_get(extra, "categories");
    f->stats->unique = count_of(j, "unique");
    if (json_type(list) != JSON_OBJECT) {
        uint64_t freq = count_of(j, "freq"), count = count_of(j, "count");
        if (top.n > CATEGORY_BYTES_MAX || freq == 0 || freq > count)
            return OK;
        f->partial = true;
        f->stats->other = count - freq;
        feature_ref_categories(r, f, &(struct ref_category){top, freq}, 1);
        return OK;
    }
    if (json_len(list) > CATEGORIES_MAX)
        return json_complain(list, e, "more than %u categories", CATEGORIES_MAX);
    struct ref_category all[CATEGORIES_MAX];
    size_t n = 0;
    for (const struct json *m = json_first(list); m; m = json_next(m)) {
        double count;
        rc_t rc = json_f64(m, &count, e);
        if (rc)
            return rc;
        struct str key = str_of(json_key(m));
        if (key.n > CATEGORY_BYTES_MAX || !(count >= 0 && count < 0x1p53))
            return json_complain(m, e, "a category has at most %u bytes and a count", CATEGORY_BYTES_MAX);
        all[n++] = (struct ref_category){key, (uint64_t)count};
    }
    f->stats->other = count_of(extra, "other");
    for (unsigned i = 0; i < LONG_CLASSES; i++)
        f->stats->longs[i] = count_of(json_get(extra, "longs"), long_names[i]);
    f->partial = flag_of(extra, "partial", false);
    feature_ref_categories(r, f, all, n);
    return OK;
}

static void read_stats(struct feature_ref *f, const struct json *j)
{
    f->stats->count = stat_of(j, "count");
    f->stats->mean = stat_of(j, "mean");
    f->stats->std = stat_of(j, "std");
    f->stats->min = stat_of(j, "min");
    f->stats->p25 = stat_of(j, "25%");
    f->stats->p50 = stat_of(j, "50%");
    f->stats->p75 = stat_of(j, "75%");
    f->stats->max = stat_of(j, "max");
}

static void read_extra(struct feature_ref *f, const struct json *extra)
{
    if (extra == NULL)
        return;
    f->is_label = f->is_label || flag_of(extra, "label", false);
    f->mlrun_hist = f->mlrun_hist && flag_of(extra, "mlrun_hist", true);
    f->padded = flag_of(extra, "padded", f->padded);
    f->stats->missing = count_of(extra, "missing");
    f->stats->wrong_type = count_of(extra, "wrong_type");
    f->stats->neg_inf = count_of(extra, "neg_inf");
    f->stats->pos_inf = count_of(extra, "pos_inf");
    double under = stat_of(extra, "under"), over = stat_of(extra, "over");
    f->stats->under = under > 0 ? under : f->stats->under;
    f->stats->over = over > 0 ? over : f->stats->over;
}

static rc_t read_feature(struct reference *r, const struct json *j, struct err *e)
{
    struct feature_ref *f;
    if (json_type(j) != JSON_OBJECT)
        return json_complain(j, e, "a feature's statistics are an object");
    rc_t rc = reference_add_feature(r, str_of(json_key(j)), &f, e);
    if (rc)
        return rc;
    const struct json *hist = json_get(j, "hist");
    struct str top = STR("");
    bool has_top = json_str(json_get(j, "top"), &top, NULL) == OK;
    read_stats(f, j);
    if (json_type(hist) > JSON_NULL) {
        rc = read_hist(r, f, hist, e);
        if (rc == OK && has_top)
            read_bool(f, j, top);
    } else if (has_top || json_get(json_get(j, EXTRA), "categories")) {
        rc = read_categories(r, f, j, top, e);
    }
    if (rc == OK)
        read_extra(f, json_get(j, EXTRA));
    return rc;
}

rc_t reference_from_json(struct reference **ret, const struct json *feature_stats, const struct str *labels,
                         size_t n_labels, struct err *e)
{
    if (json_type(feature_stats) != JSON_OBJECT)
        return err_set(e, E_INVALID, "feature statistics are an object of objects");
    struct reference *r = reference_new();
    for (const struct json *m = json_first(feature_stats); m; m = json_next(m)) {
        rc_t rc = read_feature(r, m, e);
        if (rc) {
            reference_free(r);
            return rc;
        }
    }
    for (size_t i = 0; i < n_labels; i++) {
        size_t at = reference_index(r, labels[i]);
        if (at < r->n)
            r->features[at].is_label = true;
    }
    *ret = r;
    return OK;
}

static void put_stat(struct json_writer *w, const char *key, double v)
{
    if (isfinite(v))
        jw_kv_f64(w, key, v);
}

static void put_count(struct json_writer *w, const char *key, uint64_t v)
{
    jw_key(w, key);
    jw_u64(w, v);
}

static void put_some(struct json_writer *w, const char *key, uint64_t v)
{
    if (v)
        put_count(w, key, v);
}

static void put_hist(struct json_writer *w, const struct feature_ref *f, bool padded)
{
    jw_key(w, "hist");
    jw_array(w);
    jw_array(w);
    if (padded)
        jw_f64(w, f->stats->under);
    for (uint32_t i = 0; i < f->n_bins; i++)
        jw_f64(w, f->counts[i]);
    if (padded)
        jw_f64(w, f->stats->over);
    jw_array_end(w);
    jw_array(w);
    if (padded)
        jw_f64(w, -DBL_MAX);
    for (uint32_t i = 0; i <= f->n_bins; i++)
        jw_f64(w, f->edges[i]);
    if (padded)
        jw_f64(w, DBL_MAX);
    jw_array_end(w);
    jw_array_end(w);
}

static void put_numeric(struct json_writer *w, const struct feature_ref *f, bool padded)
{
    put_stat(w, "count", f->stats->count);
    if (f->is_bool) {
        double n_true = round(f->stats->mean * f->stats->count), n_false = f->stats->count - n_true;
        put_count(w, "unique", f->stats->unique);
        jw_kv_strz(w, "top", n_true >= n_false ? "True" : "False");
        jw_kv_f64(w, "freq", n_true >= n_false ? n_true : n_false);
    } else {
        put_stat(w, "mean", f->stats->mean);
        put_stat(w, "std", f->stats->std);
        put_stat(w, "min", f->stats->min);
        put_stat(w, "25%", f->stats->p25);
        put_stat(w, "50%", f->stats->p50);
        put_stat(w, "75%", f->stats->p75);
        put_stat(w, "max", f->stats->max);
    }
    if (f->kind == FEATURE_NUMERIC)
        put_hist(w, f, padded);
}

static void put_categorical(struct json_writer *w, const struct feature_ref *f)
{
    uint32_t top = 0;
    for (uint32_t i = 1; i < f->n_categories; i++)
        if (f->categories[i].count > f->categories[top].count)
            top = i;
    put_stat(w, "count", f->stats->count);
    put_count(w, "unique", f->stats->unique);
    if (f->n_categories) {
        jw_kv_str(w, "top", f->categories[top].text);
        put_count(w, "freq", f->categories[top].count);
    }
}

static void put_extra_categories(struct json_writer *w, const struct feature_ref *f)
{
    jw_key(w, "categories");
    jw_object(w);
    for (uint32_t i = 0; i < f->n_categories; i++) {
        jw_key_str(w, f->categories[i].text);
        jw_u64(w, f->categories[i].count);
    }
    jw_object_end(w);
    put_some(w, "other", f->stats->other);
    if (f->partial)
        jw_kv_bool(w, "partial", true);
    jw_key(w, "longs");
    jw_object(w);
    for (unsigned i = 0; i < LONG_CLASSES; i++)
        put_some(w, long_names[i], f->stats->longs[i]);
    jw_object_end(w);
}

static bool outside(const struct feature_ref *f, bool padded)
{
    return f->kind == FEATURE_NUMERIC && !padded && (f->stats->under > 0 || f->stats->over > 0);
}

static void put_extra(struct json_writer *w, const struct feature_ref *f, bool padded)
{
    bool numeric = f->kind == FEATURE_NUMERIC, hidden = numeric && !f->mlrun_hist;
    bool other_form = numeric && f->padded != padded;
    if (!f->is_label && !hidden && !other_form && !outside(f, padded) && f->kind != FEATURE_CATEGORICAL &&
        f->stats->missing + f->stats->wrong_type + f->stats->neg_inf + f->stats->pos_inf == 0)
        return;
    jw_key(w, EXTRA);
    jw_object(w);
    if (f->is_label)
        jw_kv_bool(w, "label", true);
    if (hidden)
        jw_kv_bool(w, "mlrun_hist", false);
    if (other_form)
        jw_kv_bool(w, "padded", f->padded);
    put_some(w, "missing", f->stats->missing);
    put_some(w, "wrong_type", f->stats->wrong_type);
    put_some(w, "neg_inf", f->stats->neg_inf);
    put_some(w, "pos_inf", f->stats->pos_inf);
    if (outside(f, padded)) {
        jw_kv_f64(w, "under", f->stats->under);
        jw_kv_f64(w, "over", f->stats->over);
    }
    if (f->kind == FEATURE_CATEGORICAL)
        put_extra_categories(w, f);
    jw_object_end(w);
}

void reference_to_json(const struct reference *r, bool padded, struct buf *out)
{
    struct json_writer w;
    jw_init(&w, out, JSON_NAN_NULL);
    jw_object(&w);
    for (size_t i = 0; i < r->n; i++) {
        const struct feature_ref *f = &r->features[i];
        jw_key_str(&w, f->name);
        jw_object(&w);
        if (f->kind == FEATURE_CATEGORICAL)
            put_categorical(&w, f);
        else
            put_numeric(&w, f, padded);
        put_extra(&w, f, padded);
        jw_object_end(&w);
    }
    jw_object_end(&w);
}

/* --- from text */
static rc_t parse(struct json **ret, struct str text, struct err *e)
{
    const struct json_limits limits = {.bytes = REFERENCE_TEXT_MAX, .values = 8000000, .keys = 2 * REFERENCE_FEATURES_MAX};
    rc_t rc = json_parse(ret, text.p, text.n, &limits, e);
    return rc == E_LIMIT ? E_INVALID : rc; /* what is too large today is too large tomorrow */
}

rc_t reference_from_text(struct reference **ret, struct str feature_stats, const struct str *labels, size_t n_labels,
                         struct err *e)
{
    CLEANUP(json_freep) struct json *doc = NULL;
    rc_t rc = parse(&doc, feature_stats, e);
    return rc ? rc : reference_from_json(ret, doc, labels, n_labels, e);
}

rc_t reference_from_record(struct reference **ret, struct str record, struct err *e)
{
    CLEANUP(json_freep) struct json *doc = NULL;
    rc_t rc = parse(&doc, record, e);
    const struct json *labels = json_get(doc, "labels");
    struct str *names = mem_array(json_len(labels) + 1, sizeof *names);
    size_t n = 0;
    for (const struct json *j = json_first(labels); !rc && j; j = json_next(j))
        rc = json_str(j, &names[n++], e);
    if (!rc)
        rc = reference_from_json(ret, json_get(doc, "statistics"), names, n, e);
    if (!rc)
        (*ret)->automatic = flag_of(doc, "automatic", false);
    mem_free(names);
    return rc;
}
