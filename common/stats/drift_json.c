/* Owns MLRun's current_stats and drift_measures, written from counts and from a drift result. */
#include "stats/drift.h"

#include <float.h>
#include <math.h>

#include "json/write.h"

static void put_stat(struct json_writer *w, const char *key, double v)
{
    if (isfinite(v))
        jw_kv_f64(w, key, v);
}

static void put_hist(struct json_writer *w, const struct feature_ref *f, const struct feature_counts *c,
                     enum drift_edges edges)
{
    uint64_t cells[REFERENCE_BINS_MAX + 2];
    size_t n = drift_cells(f, c, edges, cells);
    jw_key(w, "hist");
    jw_array(w);
    jw_array(w);
    for (size_t i = 0; i < n; i++)
        jw_u64(w, cells[i]);
    jw_array_end(w);
    jw_array(w);
    if (f->padded)
        jw_f64(w, -DBL_MAX);
    for (size_t i = 0; i <= f->n_bins; i++)
        jw_f64(w, f->edges[i]);
    if (f->padded)
        jw_f64(w, DBL_MAX);
    jw_array_end(w);
    jw_array_end(w);
}

static void put_numeric(struct json_writer *w, const struct feature_ref *f, const struct feature_counts *c,
                        enum drift_edges edges)
{
    const struct moments *m = &c->moments;
    jw_kv_f64(w, "count", (double)counts_numbers(c));
    if (m->n) {
        put_stat(w, "mean", m->mean);
        put_stat(w, "std", moments_std(m));
        put_stat(w, "min", m->min);
        put_stat(w, "max", m->max);
    }
    if (f->kind == FEATURE_NUMERIC)
        put_hist(w, f, c, edges);
}

static void put_categorical(struct json_writer *w, const struct feature_ref *f, const struct feature_counts *c)
{
    uint32_t top = 0, unique = 0;
    for (uint32_t i = 0; i < f->n_categories; i++) {
        unique += c->cells[i] != 0;
        if (c->cells[i] > c->cells[top])
            top = i;
    }
    jw_key(w, "count");
    jw_u64(w, counts_texts(c));
    jw_key(w, "unique");
    jw_u64(w, unique);
    if (unique) {
        jw_kv_str(w, "top", f->categories[top].text);
        jw_key(w, "freq");
        jw_u64(w, c->cells[top]);
    }
    jw_key(w, "categories");
    jw_object(w);
    for (uint32_t i = 0; i < f->n_categories; i++) {
        jw_key_str(w, f->categories[i].text);
        jw_u64(w, c->cells[i]);
    }
    jw_object_end(w);
    uint64_t other = c->text ? c->text->other : 0;
    for (unsigned i = 0; c->text && i < LONG_CLASSES; i++)
        other += c->text->longs[i];
    jw_key(w, "other");
    jw_u64(w, other);
}

void drift_current_stats_json(const struct reference *ref, const struct drift_column *columns, enum drift_edges edges,
                              struct buf *out)
{
    struct json_writer w;
    jw_init(&w, out, JSON_NAN_NULL);
    jw_object(&w);
    for (size_t i = 0; ref && i < ref->n; i++) {
        const struct feature_ref *f = &ref->features[i];
        const struct feature_counts *c = columns[i].counts;
        if (c == NULL || c->kind != f->kind || c->n_cells != counts_cells(f))
            continue;
        jw_key_str(&w, f->name);
        jw_object(&w);
        if (f->kind == FEATURE_CATEGORICAL)
            put_categorical(&w, f, c);
        else
            put_numeric(&w, f, c, edges);
        jw_object_end(&w);
    }
    jw_object_end(&w);
}

void drift_measures_json(const struct drift_result *r, struct buf *out)
{
    struct json_writer w;
    jw_init(&w, out, JSON_NAN_NULL);
    jw_object(&w);
    for (size_t i = 0; i < r->n_features; i++) {
        const struct drift_feature *f = &r->features[i];
        if (f->outcome != DRIFT_OK)
            continue;
        jw_key_str(&w, f->name);
        jw_object(&w);
        for (int d = 0; d < N_DISTANCES; d++)
            jw_kv_f64(&w, distances[d].name, f->distance[d]);
        jw_object_end(&w);
    }
    for (int d = 0; d < N_DISTANCES; d++)
        jw_kv_f64(&w, distances[d].mean_name, r->mean[d]);
    jw_object_end(&w);
}
