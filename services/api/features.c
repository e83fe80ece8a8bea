/* Owns the joining of reference, drift_measures and current_stats by feature. What is missing or not as expected is simply
 * not shown: these texts come from apps. */
#include "features.h"

#include <math.h>
#include <stdlib.h>
#include "json/doc.h"

static const struct json_limits limits = {.values = 4000000, .bytes = 64u << 20, .keys = 20000, .accept_nan = true};

static struct json *parse(struct str s)
{
    struct err ignored = {0};
    struct json *j = NULL;
    if (s.n == 0 || json_parse(&j, s.p, s.n, &limits, &ignored) != OK)
        return NULL;
    return j;
}

static double number(const struct json *j, const char *key)
{
    struct err ignored = {0};
    double v = NAN;
    return json_opt_f64(j, key, &v, &ignored) == OK ? v : NAN;
}

static struct json *find(const struct json *j, struct str name)
{
    return j ? json_get(j, name.p) : NULL; /* names of a reference are terminated */
}

/* The window's counts on n cells; false: it has another number. */
static bool read_counts(const struct json *hist, size_t n, double *ret)
{
    struct err ignored = {0};
    const struct json *counts = json_at(hist, 0);
    size_t i = 0;
    if (json_len(counts) != n)
        return false;
    for (const struct json *m = json_first(counts); m; m = json_next(m), i++)
        if (json_f64(m, &ret[i], &ignored) != OK || !(ret[i] >= 0))
            return false;
    return true;
}

static void fill_numeric(const struct feature_ref *f, const struct json *now, struct arena *a, struct feature_view *v)
{
    const struct json *hist = json_get(now, "hist");
    bool padded = json_len(json_at(hist, 0)) == (size_t)f->n_bins + 2;
    size_t n = f->n_bins + (padded ? 2u : 0u);
    double *before = arena_array(a, n, sizeof *before), *current = arena_array(a, n, sizeof *current);
    if (!read_counts(hist, n, current))
        return;
    if (padded) {
        before[0] = f->stats->under;
        before[n - 1] = f->stats->over;
    }
    for (size_t i = 0; i < f->n_bins; i++)
        before[i + padded] = f->counts[i];
    v->n_cells = n;
    v->outer = padded;
    v->before = before;
    v->now = current;
}

static void fill_categorical(const struct feature_ref *f, const struct json *now, struct arena *a, struct feature_view *v)
{
    const struct json *categories = json_get(now, "categories");
    size_t n = (size_t)f->n_categories + 1; /* and all others */
    if (!categories)
        return;
    double *before = arena_array(a, n, sizeof *before), *current = arena_array(a, n, sizeof *current);
    for (size_t i = 0; i < f->n_categories; i++) {
        struct str text = arena_str(a, f->categories[i].text);
        double c = number(categories, arena_dup(a, text.p, text.n));
        before[i] = (double)f->categories[i].count;
        current[i] = c >= 0 ? c : 0;
    }
    double other = number(now, "other");
    before[n - 1] = (double)f->stats->other;
    current[n - 1] = other >= 0 ? other : 0;
    v->n_cells = n;
    v->before = before;
    v->now = current;
}

static struct str text(const struct json *j, const char *key, struct arena *a)
{
    struct err ignored = {0};
    struct str s = {0};
    return json_opt_str(j, key, &s, &ignored) == OK && s.n ? arena_str(a, s) : (struct str){0};
}

static void fill(const struct feature_ref *f, const struct json *measures, const struct json *stats,
                 const struct json *outcomes, struct arena *a, struct feature_view *v)
{
    const struct json *m = find(measures, f->name), *now = find(stats, f->name);
    *v = (struct feature_view){.name = f->name,
                               .is_label = f->is_label,
                               .tvd = number(m, "tvd"),
                               .hellinger = number(m, "hellinger"),
                               .kld = number(m, "kld"),
                               .mean_before = f->stats->mean,
                               .mean_now = number(now, "mean")};
    v->score = (v->tvd + v->hellinger) / 2;
    const struct json *said = find(outcomes, f->name);
    v->outcome = text(said, "outcome", a);
    v->missing = number(said, "missing");
    v->wrong_type = number(said, "wrong_type");
    v->missing_before = number(said, "missing_before");
    v->missing_now = number(said, "missing_now");
    v->categorical = f->kind == FEATURE_CATEGORICAL;
    v->came = -1;
    if (now && f->kind == FEATURE_NUMERIC)
        fill_numeric(f, now, a, v);
    else if (now && f->kind == FEATURE_CATEGORICAL)
        fill_categorical(f, now, a, v);
}

static int by_score(const void *x, const void *y)
{
    const struct feature_view *a = x, *b = y;
    double l = isnan(a->score) ? -1 : a->score, r = isnan(b->score) ? -1 : b->score;
    if (l != r)
        return l < r ? 1 : -1;
    return strcmp(a->name.p, b->name.p);
}

static bool in_columns(const struct column *c, size_t n, struct str name, int *ret_type)
{
    for (size_t i = 0; i < n; i++)
        if (str_eqz(name, c[i].name)) {
            *ret_type = (int)c[i].type;
            return true;
        }
    return false;
}

/* What the events' columns are, and those that the reference has not. Names are compared as columns. */
static void add_schema(const struct reference *ref, const struct schema *s, struct arena *a, struct feature_views *f)
{
    struct str *names = arena_array(a, ref->n + 1, sizeof *names);
    f->unknown = arena_array(a, s->n_features + s->n_labels + 1, sizeof *f->unknown);
    for (size_t i = 0; i < ref->n; i++) {
        char *name = arena_alloc(a, f->v[i].name.n + 10);
        names[i] = (struct str){name, column_name(name, f->v[i].name)};
        if (!in_columns(s->features, s->n_features, names[i], &f->v[i].came))
            (void)in_columns(s->labels, s->n_labels, names[i], &f->v[i].came);
    }
    for (size_t i = 0; i < s->n_features + s->n_labels; i++) {
        const struct column *c = i < s->n_features ? &s->features[i] : &s->labels[i - s->n_features];
        size_t k = 0;
        while (k < ref->n && !str_eqz(names[k], c->name))
            k++;
        if (k == ref->n)
            f->unknown[f->n_unknown++] = str_of(c->name);
    }
}

void features_read(const struct reference *ref, struct str drift_measures, struct str current_stats, struct str extra,
                   const struct schema *schema, struct arena *a, struct feature_views *ret)
{
    CLEANUP(json_freep) struct json *measures = parse(drift_measures);
    CLEANUP(json_freep) struct json *stats = parse(current_stats);
    CLEANUP(json_freep) struct json *more = parse(extra);
    struct feature_view *v = arena_array(a, ref->n + 1, sizeof *v);
    for (size_t i = 0; i < ref->n; i++)
        fill(&ref->features[i], measures, stats, json_get(more, "features"), a, &v[i]);
    double samples = number(more, "samples");
    for (size_t i = 0; i < ref->n; i++)
        v[i].samples = samples;
    qsort(v, ref->n, sizeof *v, by_score);
    *ret = (struct feature_views){.v = v, .n = ref->n};
    if (schema->named)
        add_schema(ref, schema, a, ret);
}

void drift_extra_read(struct str extra, struct arena *a, struct drift_extra *inout)
{
    CLEANUP(json_freep) struct json *j = parse(extra);
    double potential = number(j, "potential"), detected = number(j, "detected");
    inout->reason = text(j, "reason", a);
    inout->samples = number(j, "samples");
    inout->min_samples = number(j, "min_samples");
    if (potential > 0 && potential < detected && detected <= 1) {
        inout->potential = potential;
        inout->detected = detected;
    }
}
