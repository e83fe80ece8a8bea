/* Owns the reference's memory, names and raw training columns. JSON: reference_json.c; binning: histogram.c. */
#include "stats/reference.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "stats/reference_parts.h"

struct reference *reference_new(void)
{
    return mem_alloc(sizeof(struct reference));
}

void reference_free(struct reference *r)
{
    if (r == NULL)
        return;
    arena_done(&r->mem);
    mem_free(r->features);
    mem_free(r);
}

size_t reference_bytes(const struct reference *r)
{
    return sizeof *r + r->mem.total + r->cap * sizeof *r->features;
}

static size_t trimmed_bytes(const struct feature_ref *f)
{
    size_t n = arena_rounded(f->name.n + 1);
    if (f->edges && !f->even)
        n += arena_rounded((f->n_bins + 2) * sizeof *f->edges);
    if (f->n_categories)
        n += arena_rounded(f->n_categories * sizeof *f->categories);
    for (uint32_t i = 0; i < f->n_categories; i++)
        n += arena_rounded(f->categories[i].text.n + 1);
    return n;
}

static void trim_feature(struct feature_ref *f, struct arena *to)
{
    const struct ref_category *from = f->categories;
    f->name = arena_str(to, f->name);
    f->counts = NULL;
    f->stats = NULL;
    if (f->even)
        f->edges = NULL;
    if (f->edges) { /* with what stops the search */
        double *edges = arena_array(to, f->n_bins + 2, sizeof *edges);
        memcpy(edges, f->edges, (f->n_bins + 2) * sizeof *edges);
        f->edges = edges;
    }
    if (f->n_categories)
        f->categories = arena_array(to, f->n_categories, sizeof *f->categories);
    for (uint32_t i = 0; i < f->n_categories; i++)
        f->categories[i] = (struct ref_category){arena_str(to, from[i].text), from[i].count};
}

void reference_trim(struct reference *r)
{
    struct arena fresh = {0};
    size_t bytes = 0;
    for (size_t i = 0; i < r->n; i++)
        bytes += trimmed_bytes(&r->features[i]);
    arena_reserve(&fresh, bytes);
    for (size_t i = 0; i < r->n; i++)
        trim_feature(&r->features[i], &fresh);
    arena_done(&r->mem);
    r->mem = fresh;
    if (r->n) {
        r->features = mem_grow(r->features, r->n, sizeof *r->features);
        r->cap = r->n;
    }
}

void reference_freep(struct reference **r)
{
    reference_free(*r);
    *r = NULL;
}

unsigned long_class(size_t n_bytes)
{
    unsigned c = 0;
    for (size_t top = 2 * CATEGORY_BYTES_MAX; n_bytes > top && c < LONG_CLASSES - 1; top *= 2)
        c++;
    return c;
}

static size_t exact_index(const struct reference *r, struct str name)
{
    size_t i = 0;
    while (i < r->n && !str_eq(r->features[i].name, name))
        i++;
    return i;
}

size_t reference_index(const struct reference *r, struct str name)
{
    size_t i = exact_index(r, name);
    if (i < r->n)
        return i;
    for (i = 0; i < r->n; i++)
        if (text_same_norm_name(r->features[i].name, name))
            break;
    return i;
}

const struct feature_ref *reference_find(const struct reference *r, struct str name)
{
    size_t i = reference_index(r, name);
    return i < r->n ? &r->features[i] : NULL;
}

rc_t reference_add_feature(struct reference *r, struct str name, struct feature_ref **ret, struct err *e)
{
    if (name.n == 0)
        return err_set(e, E_INVALID, "a feature without a name");
    if (exact_index(r, name) < r->n)
        return err_set(e, E_INVALID, "feature %.*s occurs twice", STR_FMT(name));
    if (r->n == REFERENCE_FEATURES_MAX)
        return err_set(e, E_LIMIT, "more than %u features", REFERENCE_FEATURES_MAX);
    if (r->n == r->cap) {
        r->cap = r->cap ? r->cap * 2 : 16;
        r->features = mem_grow(r->features, r->cap, sizeof *r->features);
    }
    struct feature_ref *f = &r->features[r->n++];
    *f = (struct feature_ref){.name = arena_str(&r->mem, name), .padded = true};
    f->stats = arena_array(&r->mem, 1, sizeof *f->stats);
    f->stats->count = f->stats->mean = f->stats->std = f->stats->min = f->stats->p25 = f->stats->p50 = f->stats->p75 =
        f->stats->max = NAN;
    *ret = f;
    return OK;
}

void feature_ref_bins(struct reference *r, struct feature_ref *f, uint32_t n_bins)
{
    f->kind = FEATURE_NUMERIC;
    f->n_bins = n_bins;
    f->edges = arena_array(&r->mem, n_bins + 2, sizeof *f->edges);
    f->counts = arena_array(&r->mem, n_bins, sizeof *f->counts);
    f->edges[n_bins + 1] = NAN;
}

static bool are_even(const struct feature_ref *f)
{
    struct feature_ref computed = *f;
    computed.edges = NULL;
    for (uint32_t i = 0; i < f->n_bins; i++)
        if (f->edges[i] != feature_edge(&computed, i))
            return false;
    return true;
}

/* The guess never falls as x grows, so it is enough to look at both ends of every bin. */
void feature_ref_finish(struct feature_ref *f)
{
    uint32_t n = f->n_bins;
    f->edges[n + 1] = NAN;
    f->first = f->edges[0];
    f->last = f->edges[n];
    f->step = (f->last - f->first) / n;
    f->even = are_even(f);
    f->uniform = false;
    f->inv_width = n / (f->last - f->first);
    if (!isfinite(f->inv_width) || !(f->inv_width > 0))
        return;
    for (uint32_t k = 0; k < n; k++) {
        if (!(f->edges[k] < f->edges[k + 1]))
            continue;
        int32_t low = feature_guess_bin(f, f->edges[k]);
        int32_t high = feature_guess_bin(f, nextafter(f->edges[k + 1], -INFINITY));
        if (low < (int32_t)k - 1 || high > (int32_t)k + 1)
            return;
    }
    f->uniform = feature_guess_bin(f, f->edges[n]) >= (int32_t)n - 1;
}

void feature_ref_bool_stats(struct feature_ref *f, double n_true, double n_false)
{
    double n = n_true + n_false, p = n_true / n;
    f->is_bool = true;
    f->stats->count = n;
    f->stats->mean = p;
    f->stats->std = n > 1 ? sqrt(n * p * (1 - p) / (n - 1)) : NAN;
    f->stats->min = n_false > 0 ? 0 : 1;
    f->stats->max = n_true > 0 ? 1 : 0;
    f->stats->unique = (n_true > 0 ? 1u : 0u) + (n_false > 0 ? 1u : 0u);
    f->stats->p25 = f->stats->p50 = f->stats->p75 = NAN;
}

/* x holds n values, missing ones as NaN; it is sorted in place. */
static void add_numbers(struct reference *r, struct feature_ref *f, double *x, size_t n, bool is_bool, bool percentiles)
{
    size_t n_finite = 0;
    for (size_t i = 0; i < n; i++) {
        if (isnan(x[i]))
            f->stats->missing++;
        else if (isinf(x[i]))
            *(x[i] < 0 ? &f->stats->neg_inf : &f->stats->pos_inf) += 1;
        else
            x[n_finite++] = x[i];
    }
    if (n_finite == 0)
        return;
    bool numpy = histogram_make(r, f, x, n_finite);
    f->mlrun_hist = numpy && f->stats->missing + f->stats->wrong_type + f->stats->neg_inf + f->stats->pos_inf == 0;
    f->stats->under = (double)f->stats->neg_inf;
    f->stats->over = (double)f->stats->pos_inf;
    if (is_bool) {
        double n_true = 0;
        for (size_t i = 0; i < n_finite; i++)
            n_true += x[i];
        feature_ref_bool_stats(f, n_true, (double)n_finite - n_true);
        return;
    }
    if (percentiles)
        describe(f, x, n_finite);
    f->stats->count = (double)(n_finite + f->stats->neg_inf + f->stats->pos_inf);
}

rc_t reference_add_f64(struct reference *r, struct str name, bool is_label, const double *x, size_t n, struct err *e)
{
    struct feature_ref *f;
    rc_t rc = reference_add_feature(r, name, &f, e);
    if (rc)
        return rc;
    f->is_label = is_label;
    double *copy = mem_array(n ? n : 1, sizeof *copy);
    if (n)
        memcpy(copy, x, n * sizeof *copy);
    add_numbers(r, f, copy, n, false, true);
    mem_free(copy);
    return OK;
}

rc_t reference_add_bins(struct reference *r, struct str name, bool is_label, double *x, size_t n, struct err *e)
{
    struct feature_ref *f;
    rc_t rc = reference_add_feature(r, name, &f, e);
    if (rc)
        return rc;
    f->is_label = is_label;
    add_numbers(r, f, x, n, false, false);
    return OK;
}

static int by_bytes(const void *a, const void *b)
{
    const struct str *x = a, *y = b;
    int c = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);
    return c ? c : (x->n > y->n) - (x->n < y->n);
}

static int most_first(const void *a, const void *b)
{
    const struct ref_category *x = a, *y = b;
    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    return by_bytes(&x->text, &y->text);
}

static int category_by_bytes(const void *a, const void *b)
{
    return by_bytes(&((const struct ref_category *)a)->text, &((const struct ref_category *)b)->text);
}

void feature_ref_categories(struct reference *r, struct feature_ref *f, struct ref_category *all, size_t n)
{
    qsort(all, n, sizeof *all, most_first);
    f->kind = FEATURE_CATEGORICAL;
    f->n_categories = (uint32_t)(n < CATEGORIES_MAX ? n : CATEGORIES_MAX);
    f->categories = arena_array(&r->mem, f->n_categories, sizeof *f->categories);
    for (size_t i = 0; i < n; i++) {
        if (i < f->n_categories)
            f->categories[i] = (struct ref_category){arena_str(&r->mem, all[i].text), all[i].count};
        else
            f->stats->other += all[i].count;
    }
    qsort(f->categories, f->n_categories, sizeof *f->categories, category_by_bytes);
}

/* texts is sorted in place. */
static void add_texts(struct reference *r, struct feature_ref *f, struct str *texts, size_t n)
{
    struct ref_category *all = mem_array(n, sizeof *all);
    size_t n_all = 0;
    qsort(texts, n, sizeof *texts, by_bytes);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && str_eq(texts[i], texts[end]);)
            end++;
        f->stats->unique++;
        if (texts[i].n > CATEGORY_BYTES_MAX)
            f->stats->longs[long_class(texts[i].n)] += end - i;
        else
            all[n_all++] = (struct ref_category){texts[i], end - i};
    }
    f->stats->count = (double)n;
    feature_ref_categories(r, f, all, n_all);
    mem_free(all);
}

rc_t reference_add_values(struct reference *r, struct str name, bool is_label, const struct stat_value *v, size_t n,
                          struct err *e)
{
    struct feature_ref *f;
    rc_t rc = reference_add_feature(r, name, &f, e);
    if (rc)
        return rc;
    f->is_label = is_label;
    double *x = mem_array(n ? n : 1, sizeof *x);
    struct str *texts = mem_array(n ? n : 1, sizeof *texts);
    size_t n_x = 0, n_texts = 0, n_bools = 0;
    for (size_t i = 0; i < n; i++) {
        bool nan = v[i].kind == STAT_NUMBER && isnan(v[i].num);
        if (v[i].kind == STAT_MISSING || nan)
            f->stats->missing++;
        else if (v[i].kind == STAT_NUMBER || v[i].kind == STAT_BOOL)
            x[n_x++] = v[i].num;
        else if (v[i].kind == STAT_TEXT)
            texts[n_texts++] = v[i].text.p ? v[i].text : STR("");
        else
            f->stats->wrong_type++;
        n_bools += v[i].kind == STAT_BOOL;
    }
    if (n_texts > n_x) {
        f->stats->wrong_type += n_x;
        add_texts(r, f, texts, n_texts);
    } else if (n_x) {
        f->stats->wrong_type += n_texts;
        add_numbers(r, f, x, n_x, n_bools == n_x, true);
    }
    mem_free(texts);
    mem_free(x);
    return OK;
}
