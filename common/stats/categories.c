/* Owns which values of a window training did not have, and which of training's no longer come: categories of texts, the two
 * values of a boolean, the codes of an integer-coded column. */
#include <math.h>
#include <stdio.h>

#include "json/write.h"
#include "stats/drift.h"

#define CODES_MAX 12   /* so many whole numbers leave bins of 20 without one: a column of them shows */
#define EXPECTED 5     /* of a value that vanished, at least: fewer may be missing by chance (e^-5) */
#define NAMES_SHOWN 20 /* of each list */
#define CODE_TEXT_MAX 32u

/* The whole number that bin i may hold, of a range narrow enough for one a bin at most. */
static bool code_of(const struct feature_ref *f, uint32_t i, double *ret)
{
    double x = ceil(f->edges[i]);
    *ret = x;
    return x < f->edges[i + 1] || (i + 1 == f->n_bins && x == f->edges[i + 1]);
}

bool feature_has_codes(const struct feature_ref *f)
{
    double low, high, x;
    if (f->kind != FEATURE_NUMERIC || f->n_bins != REFERENCE_BINS)
        return false;
    if (f->is_bool)
        return true;
    low = isfinite(f->stats->min) ? f->stats->min : f->edges[0];
    high = isfinite(f->stats->max) ? f->stats->max : f->edges[f->n_bins];
    if (low != floor(low) || high != floor(high) || high - low > CODES_MAX)
        return false;
    for (uint32_t i = 0; i < f->n_bins; i++)
        if (f->counts[i] > 0 && !code_of(f, i, &x))
            return false;
    return true;
}

static void name_code(const struct feature_ref *f, double x, char out[CODE_TEXT_MAX])
{
    if (f->is_bool)
        (void)snprintf(out, CODE_TEXT_MAX, "%s", x != 0 ? "True" : "False"); /* fits */
    else
        (void)snprintf(out, CODE_TEXT_MAX, "%.0f", x); /* fits: CODES_MAX apart, and cut when it is beyond that */
}

struct lists {
    struct buf fresh, gone; /* JSON arrays, open at their end */
    size_t n_fresh, n_gone;
    uint64_t values; /* of this window that training did not have */
    double ratio;    /* values of this window for each of training */
};

static void list(struct buf *to, size_t *n, struct str name)
{
    if (*n < NAMES_SHOWN) {
        buf_addz(to, *n ? "," : "[");
        json_quote(to, name);
    }
    ++*n;
}

static void compare(struct lists *l, struct str name, double before, uint64_t now)
{
    if (before == 0 && now)
        list(&l->fresh, &l->n_fresh, name);
    else if (now == 0 && before * l->ratio >= EXPECTED)
        list(&l->gone, &l->n_gone, name);
    l->values += before == 0 ? now : 0;
}

static void compare_codes(struct lists *l, const struct feature_ref *f, const struct feature_counts *c)
{
    char name[CODE_TEXT_MAX];
    double x;
    for (uint32_t i = 0; i < f->n_bins; i++) {
        uint64_t now = c->cells[i] + (i + 1 == f->n_bins ? c->at_max : 0);
        if (code_of(f, i, &x)) {
            name_code(f, x, name);
            compare(l, str_of(name), f->counts[i], now);
        } else {
            l->values += now; /* between the codes */
        }
    }
    l->values += c->under + c->over + c->neg_inf + c->pos_inf;
}

/* With more categories than are kept, or the most frequent alone, a new one cannot be told from one of the others. */
static void compare_texts(struct lists *l, const struct feature_ref *f, const struct feature_counts *c)
{
    for (uint32_t i = 0; i < f->n_categories; i++)
        compare(l, f->categories[i].text, (double)f->categories[i].count, c->cells[i]);
    if (f->stats->other == 0 && !f->partial && c->text)
        l->values += c->text->other;
}

static void write_list(struct json_writer *w, const char *key, const struct buf *names)
{
    if (!names->len)
        return;
    jw_key(w, key);
    jw_raw(w, buf_str(names));
}

bool drift_news_json(const struct feature_ref *f, const struct feature_counts *c, struct json_writer *w)
{
    struct lists l = {0};
    bool texts = f->kind == FEATURE_CATEGORICAL;
    if (!c || c->kind != f->kind || c->n_cells != counts_cells(f) || !(texts || feature_has_codes(f)))
        return false;
    uint64_t used = texts ? counts_texts(c) : counts_numbers(c);
    l.ratio = f->stats->count > 0 ? (double)used / f->stats->count : 0;
    if (texts)
        compare_texts(&l, f, c);
    else
        compare_codes(&l, f, c);
    if (l.n_fresh)
        buf_addc(&l.fresh, ']');
    if (l.n_gone)
        buf_addc(&l.gone, ']');
    if (l.values)
        jw_kv_i64(w, "new_values", (int64_t)l.values);
    write_list(w, "new", &l.fresh);
    write_list(w, "vanished", &l.gone);
    buf_done(&l.fresh);
    buf_done(&l.gone);
    return l.values || l.n_gone;
}
