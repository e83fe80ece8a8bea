/* Owns the way from counts to distances, means and a status. Its JSON: drift_json.c. */
#include "stats/drift.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

#define SHARES_MAX (REFERENCE_BINS_MAX + CATEGORIES_MAX + LONG_CLASSES + 2)
#define MIN_SAMPLES 30

struct shares {
    size_t n;
    double t[SHARES_MAX], u[SHARES_MAX]; /* sample, reference */
    double t_total, u_total;
};

static const char *const outcomes[] = {
    [DRIFT_OK] = "ok",
    [DRIFT_NO_SAMPLES] = "no_samples",
    [DRIFT_NO_REFERENCE_HIST] = "no_reference_hist",
    [DRIFT_MISSING_COLUMN] = "missing_column",
    [DRIFT_ALL_MISSING] = "all_missing",
    [DRIFT_WRONG_TYPE] = "wrong_type",
    [DRIFT_NOT_IN_MLRUN] = "not_in_mlrun",
    [DRIFT_TOO_MANY_VALUES] = "too_many_values",
};

const char *drift_outcome_name(enum drift_outcome o)
{
    return outcomes[o];
}

enum drift_outcome drift_outcome_of(struct str name)
{
    for (size_t i = 0; i < sizeof outcomes / sizeof *outcomes; i++)
        if (str_eqz(name, outcomes[i]))
            return (enum drift_outcome)i;
    return DRIFT_OK;
}

bool drift_outcome_lost(enum drift_outcome o)
{
    return o == DRIFT_NO_SAMPLES || o == DRIFT_MISSING_COLUMN || o == DRIFT_ALL_MISSING || o == DRIFT_WRONG_TYPE;
}

rc_t drift_check_thresholds(double potential, double detected, struct err *e)
{
    if (potential > 0 && potential < detected && detected < 1)
        return OK;
    return err_set(e, E_INVALID, "0 < potential < detected < 1 must hold, they are %g and %g", potential, detected);
}

struct drift_options drift_options_default(enum drift_edges edges)
{
    return (struct drift_options){
        .edges = edges,
        .potential = 0.5,
        .detected = 0.7,
        .min_samples = edges == DRIFT_EDGES_CLOSED ? MIN_SAMPLES : 1,
    };
}

enum drift_status drift_classify(double value, const struct drift_options *o)
{
    if (isnan(value))
        return DRIFT_IRRELEVANT;
    if (value > 1)
        value = 1;
    if (value >= o->detected)
        return DRIFT_DETECTED;
    return value >= o->potential ? DRIFT_POTENTIAL : DRIFT_NONE;
}

size_t drift_cells(const struct feature_ref *f, const struct feature_counts *c, enum drift_edges edges, uint64_t *ret)
{
    size_t n = f->n_bins, first = f->padded ? 1 : 0;
    memcpy(ret + first, c->cells, n * sizeof *ret);
    bool last_closed = edges == DRIFT_EDGES_CLOSED || !f->padded;
    if (last_closed)
        ret[first + n - 1] += c->at_max;
    if (!f->padded)
        return n;
    bool infinities = edges == DRIFT_EDGES_CLOSED;
    ret[0] = c->under + (infinities ? c->neg_inf : 0);
    ret[n + 1] = c->over + (last_closed ? 0 : c->at_max) + (infinities ? c->pos_inf : 0);
    return n + 2;
}

static void add_share(struct shares *s, double t, double u)
{
    s->t[s->n] = t;
    s->u[s->n++] = u;
}

/* Closed edges have the outer cells whether the reference came padded or not. */
static void numeric_shares(const struct feature_ref *f, const struct feature_counts *c, enum drift_edges edges,
                           struct shares *s)
{
    bool closed = edges == DRIFT_EDGES_CLOSED, outer = closed || f->padded;
    uint64_t at_max_over = outer && !closed ? c->at_max : 0;
    double sum = 0;
    if (outer)
        add_share(s, (double)(c->under + (closed ? c->neg_inf : 0)), f->stats->under);
    for (uint32_t i = 0; i < f->n_bins; i++)
        add_share(s, (double)c->cells[i], f->counts[i]);
    if (at_max_over == 0)
        s->t[s->n - 1] += (double)c->at_max;
    if (outer)
        add_share(s, (double)(c->over + at_max_over + (closed ? c->pos_inf : 0)), f->stats->over);
    for (size_t i = 0; i < s->n; i++)
        sum += s->u[i];
    s->t_total = (double)counts_numbers(c);
    s->u_total = closed || !(f->stats->count > 0) ? sum : f->stats->count;
}

static void categorical_shares(const struct feature_ref *f, const struct feature_counts *c, struct shares *s)
{
    static const struct counts_text none;
    const struct counts_text *text = c->text ? c->text : &none;
    double other = (double)text->other, ref_other = (double)f->stats->other;
    for (uint32_t i = 0; i < f->n_categories; i++)
        add_share(s, (double)c->cells[i], (double)f->categories[i].count);
    for (unsigned i = 0; i < LONG_CLASSES; i++) {
        if (f->partial)
            other += (double)text->longs[i];
        else
            add_share(s, (double)text->longs[i], (double)f->stats->longs[i]);
    }
    add_share(s, other, ref_other);
    s->t_total = (double)counts_texts(c);
    for (size_t i = 0; i < s->n; i++)
        s->u_total += s->u[i];
}

/* Two samples of such a column have nothing in common but that. */
static bool has_too_many_values(const struct feature_ref *f)
{
    double kept = 0, of_rows = 0.5;
    if (f->kind != FEATURE_CATEGORICAL || f->partial || f->stats->other == 0)
        return false;
    for (uint32_t i = 0; i < f->n_categories; i++)
        kept += (double)f->categories[i].count;
    for (unsigned i = 0; i < LONG_CLASSES; i++)
        kept += (double)f->stats->longs[i];
    return (double)f->stats->other > of_rows * (kept + (double)f->stats->other);
}

static enum drift_outcome outcome_of(const struct feature_ref *f, const struct feature_counts *c,
                                     enum drift_edges edges, uint64_t used)
{
    if (f->kind == FEATURE_NONE)
        return DRIFT_NO_REFERENCE_HIST;
    if (edges == DRIFT_EDGES_MLRUN && !f->mlrun_hist)
        return DRIFT_NOT_IN_MLRUN;
    if (c == NULL)
        return DRIFT_MISSING_COLUMN;
    if (used)
        return edges == DRIFT_EDGES_CLOSED && has_too_many_values(f) ? DRIFT_TOO_MANY_VALUES : DRIFT_OK;
    if (c->wrong_type)
        return DRIFT_WRONG_TYPE;
    return c->missing ? DRIFT_ALL_MISSING : DRIFT_NO_SAMPLES;
}

/* Counted against this reference, or not at all. */
static const struct feature_counts *fitting(const struct feature_ref *f, const struct feature_counts *c)
{
    return c && c->kind == f->kind && c->n_cells == counts_cells(f) ? c : NULL;
}

static uint64_t used_of(const struct feature_ref *f, const struct feature_counts *c)
{
    if (!c || f->kind == FEATURE_NONE)
        return 0;
    return f->kind == FEATURE_NUMERIC ? counts_numbers(c) : counts_texts(c);
}

static void fill_shares(const struct feature_ref *f, const struct feature_counts *c, enum drift_edges edges,
                        struct shares *s)
{
    s->n = 0;
    s->t_total = s->u_total = 0;
    if (f->kind == FEATURE_NUMERIC)
        numeric_shares(f, c, edges, s);
    else
        categorical_shares(f, c, s);
}

void drift_feature(const struct feature_ref *f, const struct feature_counts *c, enum drift_edges edges,
                   struct drift_feature *ret)
{
    struct shares s;
    c = fitting(f, c);
    ret->used = used_of(f, c);
    ret->missing = c ? c->missing : 0;
    ret->wrong_type = c ? c->wrong_type : 0;
    ret->outcome = outcome_of(f, c, edges, ret->used);
    for (int d = 0; d < N_DISTANCES; d++)
        ret->distance[d] = NAN;
    if (ret->outcome != DRIFT_OK)
        return;
    fill_shares(f, c, edges, &s);
    if (!(s.u_total > 0)) {
        ret->outcome = DRIFT_NO_REFERENCE_HIST;
        return;
    }
    bool equal = edges == DRIFT_EDGES_CLOSED;
    for (size_t i = 0; i < s.n; i++) {
        s.t[i] /= s.t_total;
        s.u[i] /= s.u_total;
        equal = equal && s.t[i] == s.u[i];
    }
    for (int d = 0; d < N_DISTANCES; d++) {
        /* equal shares are 0 apart, and not what rounding leaves of 1 - sum sqrt(t u) */
        double v = equal ? 0 : distances[d].fn(s.t, s.u, s.n);
        ret->distance[d] = distances[d].bounded && v > 1 ? 1 : v;
    }
}

/* ---- beside general_drift ---- */
/* The middle of each cell; the outer ones are as wide as the others are on the average. */
static bool positions(const struct feature_ref *f, size_t n, double *ret)
{
    double low = f->edges[0], range = f->edges[f->n_bins] - low, width = 1 / (double)f->n_bins;
    size_t outer = n == f->n_bins ? 0 : 1;
    for (uint32_t i = 0; i < f->n_bins; i++)
        ret[i + outer] = ((f->edges[i] - low) / range + (f->edges[i + 1] - low) / range) / 2;
    if (outer) {
        ret[0] = -width / 2;
        ret[n - 1] = 1 + width / 2;
    }
    return isfinite(range);
}

void drift_measure(const struct feature_ref *f, const struct feature_counts *c, enum drift_edges edges,
                   double ret[N_MEASURES])
{
    double at[REFERENCE_BINS_MAX + 2];
    struct shares s;
    for (int i = 0; i < N_MEASURES; i++)
        ret[i] = NAN;
    c = fitting(f, c);
    if (outcome_of(f, c, edges, used_of(f, c)) != DRIFT_OK)
        return;
    fill_shares(f, c, edges, &s);
    if (!(s.u_total > 0))
        return;
    for (size_t i = 0; i < s.n; i++) {
        s.t[i] /= s.t_total;
        s.u[i] /= s.u_total;
    }
    bool ordered = f->kind == FEATURE_NUMERIC && positions(f, s.n, at);
    const struct measure_input m = {s.t, s.u, ordered ? at : NULL, s.t_total, s.u_total, s.n};
    for (int i = 0; i < N_MEASURES; i++)
        ret[i] = measures[i].fn(&m);
}

bool drift_between(const struct feature_ref *f, const struct feature_counts *now, const struct feature_counts *before,
                   enum drift_edges edges, double ret[N_DISTANCES])
{
    struct shares s, b;
    for (int d = 0; d < N_DISTANCES; d++)
        ret[d] = NAN;
    now = fitting(f, now);
    before = fitting(f, before);
    if (!used_of(f, now) || !used_of(f, before))
        return false;
    fill_shares(f, now, edges, &s);
    fill_shares(f, before, edges, &b);
    for (size_t i = 0; i < s.n; i++) {
        s.t[i] /= s.t_total;
        b.t[i] /= b.t_total;
    }
    for (int d = 0; d < N_DISTANCES; d++) {
        double v = memcmp(s.t, b.t, s.n * sizeof *s.t) == 0 ? 0 : distances[d].fn(s.t, b.t, s.n);
        ret[d] = distances[d].bounded && v > 1 ? 1 : v;
    }
    return true;
}

static double share_of(uint64_t n, uint64_t of)
{
    return of ? (double)n / (double)of : NAN;
}

struct drift_quality drift_quality(const struct feature_ref *f, const struct feature_counts *c)
{
    c = fitting(f, c);
    if (!c)
        return (struct drift_quality){1, NAN, NAN};
    struct drift_quality q = {.missing = share_of(c->missing, counts_total(c)),
                              .out_of_range = NAN,
                              .wrong_type = share_of(c->wrong_type, counts_total(c))};
    uint64_t used = used_of(f, c);
    if (f->kind == FEATURE_NUMERIC)
        q.out_of_range = share_of(c->under + c->over + c->neg_inf + c->pos_inf, used);
    else if (f->kind == FEATURE_CATEGORICAL && !f->partial && f->stats->other == 0)
        q.out_of_range = share_of(c->text ? c->text->other : 0, used);
    return q;
}

/* ---- the means ---- */
/* Means over the features that were compared and are wanted. Returns how many. */
static size_t means(const struct drift_result *r, bool features, bool labels, double ret[N_DISTANCES])
{
    size_t n = 0;
    double sum[N_DISTANCES] = {0};
    for (size_t i = 0; i < r->n_features; i++) {
        const struct drift_feature *f = &r->features[i];
        if (f->outcome != DRIFT_OK || !(f->is_label ? labels : features))
            continue;
        n++;
        for (int d = 0; d < N_DISTANCES; d++)
            sum[d] += f->distance[d];
    }
    for (int d = 0; d < N_DISTANCES; d++)
        ret[d] = n ? sum[d] / (double)n : NAN;
    return n;
}

static double general(const double mean[N_DISTANCES])
{
    double v = (mean[DISTANCE_HELLINGER] + mean[DISTANCE_TVD]) / 2;
    return v > 1 ? 1 : v;
}

static void classify(struct drift_result *r, const struct drift_options *o)
{
    double label_mean[N_DISTANCES];
    r->n_compared = means(r, true, o->edges == DRIFT_EDGES_MLRUN, r->mean);
    r->n_labels = means(r, false, true, label_mean);
    r->general_drift = general(r->mean);
    r->prediction_drift = general(label_mean);
    r->status = r->prediction_status = DRIFT_IRRELEVANT;
    if (r->n_features == 0)
        r->reason = "no_reference";
    else if (r->rows < o->min_samples)
        r->reason = "insufficient_samples";
    else if (r->n_compared == 0)
        r->reason = "no_comparable_feature";
    else
        r->status = drift_classify(r->general_drift, o);
    if (r->n_features && r->rows >= o->min_samples)
        r->prediction_status = drift_classify(r->prediction_drift, o);
}

void drift_compute(const struct reference *ref, const struct drift_column *columns, uint64_t rows,
                   const struct drift_options *o, struct drift_result *ret)
{
    struct drift_result r = {.rows = rows, .reason = "", .n_features = ref ? ref->n : 0};
    r.features = r.n_features ? mem_array(r.n_features, sizeof *r.features) : NULL;
    for (size_t i = 0; i < r.n_features; i++) {
        const struct feature_ref *f = &ref->features[i];
        r.features[i].name = f->name;
        r.features[i].is_label = f->is_label || columns[i].is_label;
        drift_feature(f, columns[i].counts, o->edges, &r.features[i]);
    }
    classify(&r, o);
    *ret = r;
}

void drift_columns_of(const struct slot_layout *l, const struct slot *s, struct drift_column *ret)
{
    size_t n = l->reference ? l->reference->n : 0;
    for (size_t i = 0; i < n; i++)
        ret[i] = (struct drift_column){0};
    for (size_t i = 0; i < l->n_features + l->n_labels; i++) {
        size_t at = l->columns[i].ref_index;
        if (at >= n)
            continue;
        ret[at].counts = &s->columns[i];
        ret[at].is_label = i >= l->n_features;
    }
}

void drift_compute_slot(const struct slot_layout *l, const struct slot *s, const struct drift_options *o,
                        struct drift_result *ret)
{
    size_t n = l->reference ? l->reference->n : 0;
    struct drift_column *columns = n ? mem_array(n, sizeof *columns) : NULL;
    drift_columns_of(l, s, columns);
    drift_compute(l->reference, columns, s->rows, o, ret);
    mem_free(columns);
}

void drift_result_done(struct drift_result *r)
{
    if (r == NULL)
        return;
    mem_free(r->features);
    *r = (struct drift_result){0};
}
