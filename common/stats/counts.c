/* Owns counting one value at a time, merging and totals. Columns: counts_column.c; bytes: counts_codec.c. */
#include "stats/counts.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "stats/codec.h"

size_t counts_cells(const struct feature_ref *f)
{
    if (f == NULL || f->kind == FEATURE_NONE)
        return 0;
    return f->kind == FEATURE_NUMERIC ? f->n_bins : f->n_categories;
}

void counts_init(struct feature_counts *c, const struct feature_ref *f, uint64_t *cells)
{
    size_t n = counts_cells(f);
    *c = (struct feature_counts){
        .kind = f ? f->kind : FEATURE_NONE,
        .cells_borrowed = cells != NULL,
        .n_cells = (uint32_t)n,
        .cells = cells || n == 0 ? cells : mem_array(n, sizeof *cells),
    };
}

static void text_done(struct counts_text *t)
{
    for (uint32_t i = 0; i < t->n_texts; i++)
        mem_free(t->texts[i].text);
    mem_free(t->texts);
    *t = (struct counts_text){0};
}

void counts_done(struct feature_counts *c)
{
    if (c == NULL)
        return;
    if (!c->cells_borrowed)
        mem_free(c->cells);
    if (c->text) {
        text_done(c->text);
        mem_free(c->text);
    }
    if (c->sketch) {
        sketch_done(c->sketch);
        mem_free(c->sketch);
    }
    *c = (struct feature_counts){0};
}

size_t counts_bytes(const struct feature_counts *c)
{
    size_t n = c->n_cells * sizeof *c->cells;
    if (c->sketch)
        n += sizeof *c->sketch + MEM_OVERHEAD + sketch_bytes(c->sketch);
    if (!c->text)
        return n;
    n += sizeof *c->text + MEM_OVERHEAD;
    if (c->text->cap_texts)
        n += c->text->cap_texts * sizeof *c->text->texts + MEM_OVERHEAD;
    for (uint32_t i = 0; i < c->text->n_texts; i++)
        n += c->text->texts[i].n_text + 1 + MEM_OVERHEAD;
    return n;
}

void counts_clear(struct feature_counts *c)
{
    if (c->n_cells)
        memset(c->cells, 0, c->n_cells * sizeof *c->cells);
    if (c->text)
        text_done(c->text);
    if (c->sketch)
        sketch_clear(c->sketch);
    c->under = c->at_max = c->over = c->neg_inf = c->pos_inf = c->missing = c->wrong_type = 0;
    c->moments = (struct moments){0};
}

/* How many of the edges are <= x. */
static int32_t edges_below(const struct feature_ref *f, double x)
{
    uint32_t base = 0, n = f->n_bins + 1;
    while (n > 1) {
        uint32_t half = n / 2;
        base += feature_edge(f, base + half - 1) <= x ? half : 0;
        n -= half;
    }
    return (int32_t)base + (feature_edge(f, base) <= x);
}

int32_t feature_bin(const struct feature_ref *f, double x)
{
    if (!f->uniform)
        return edges_below(f, x) - 1;
    int32_t i = feature_guess_bin(f, x);
    return i + (x >= feature_edge(f, (uint32_t)i + 1)) - (x < feature_edge(f, (uint32_t)i));
}

static void add_number(struct feature_counts *c, const struct feature_ref *f, double x)
{
    int32_t i = feature_bin(f, x);
    if (i < 0)
        c->under++;
    else if (i < (int32_t)f->n_bins)
        c->cells[i]++;
    else if (x == f->last)
        c->at_max++;
    else
        c->over++;
}

static struct sketch *need_sketch(struct feature_counts *c)
{
    if (c->sketch == NULL) {
        c->sketch = mem_alloc(sizeof *c->sketch);
        c->sketch->max_buckets = COUNTS_SKETCH_BUCKETS;
    }
    return c->sketch;
}

static struct counts_text *need_text(struct feature_counts *c)
{
    if (c->text == NULL)
        c->text = mem_alloc(sizeof *c->text);
    return c->text;
}

void counts_add_f64(struct feature_counts *c, const struct feature_ref *f, double x)
{
    if (isnan(x)) {
        c->missing++;
        return;
    }
    if (c->kind == FEATURE_CATEGORICAL) {
        c->wrong_type++;
        return;
    }
    if (isinf(x)) {
        *(x < 0 ? &c->neg_inf : &c->pos_inf) += 1;
        return;
    }
    if (c->kind == FEATURE_NUMERIC)
        add_number(c, f, x);
    else
        (void)sketch_add(need_sketch(c), x); /* finite: always taken */
    moments_add(&c->moments, x);
}

static int compare_bytes(const char *a, size_t na, const char *b, size_t nb)
{
    int r = memcmp(a, b, na < nb ? na : nb);
    return r ? r : (na > nb) - (na < nb);
}

static bool find_category(const struct feature_ref *f, struct str s, size_t *ret)
{
    size_t lo = 0, hi = f->n_categories;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        struct str at = f->categories[mid].text;
        int r = compare_bytes(at.p, at.n, s.p, s.n);
        if (r == 0) {
            *ret = mid;
            return true;
        }
        if (r < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return false;
}

static bool find_text(const struct counts_text *t, struct str s, uint32_t *ret_at)
{
    uint32_t lo = 0, hi = t->n_texts;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        int r = compare_bytes(t->texts[mid].text, t->texts[mid].n_text, s.p, s.n);
        if (r == 0) {
            *ret_at = mid;
            return true;
        }
        if (r < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    *ret_at = lo;
    return false;
}

void counts_track_text(struct feature_counts *c, struct str s, uint64_t n)
{
    struct counts_text *t = need_text(c);
    uint32_t at;
    if (find_text(t, s, &at)) {
        t->texts[at].n += n;
        return;
    }
    if (t->n_texts == COUNTS_TEXTS_MAX) {
        t->other += n;
        return;
    }
    if (t->n_texts == t->cap_texts) {
        t->cap_texts = t->cap_texts ? t->cap_texts * 2 : 8;
        t->texts = mem_grow(t->texts, t->cap_texts, sizeof *t->texts);
    }
    memmove(&t->texts[at + 1], &t->texts[at], (t->n_texts - at) * sizeof *t->texts);
    t->texts[at] = (struct text_count){mem_dup(s.p, s.n), (uint32_t)s.n, n};
    t->n_texts++;
}

void counts_add_text(struct feature_counts *c, const struct feature_ref *f, struct str s)
{
    size_t i;
    if (c->kind == FEATURE_NUMERIC)
        c->wrong_type++;
    else if (s.n > CATEGORY_BYTES_MAX)
        need_text(c)->longs[long_class(s.n)]++;
    else if (c->kind == FEATURE_NONE)
        counts_track_text(c, s.p ? s : STR(""), 1);
    else if (find_category(f, s.p ? s : STR(""), &i))
        c->cells[i]++;
    else
        need_text(c)->other++;
}

void counts_add_bool(struct feature_counts *c, const struct feature_ref *f, bool b)
{
    if (c->kind == FEATURE_CATEGORICAL)
        counts_add_text(c, f, b ? STR("True") : STR("False"));
    else
        counts_add_f64(c, f, b ? 1 : 0);
}

void counts_add_value(struct feature_counts *c, const struct feature_ref *f, const struct stat_value *v)
{
    switch (v->kind) {
    case STAT_MISSING:
        c->missing++;
        return;
    case STAT_NUMBER:
        counts_add_f64(c, f, v->num);
        return;
    case STAT_BOOL:
        counts_add_bool(c, f, v->num != 0);
        return;
    case STAT_TEXT:
        counts_add_text(c, f, v->text);
        return;
    case STAT_OTHER:
        break;
    }
    c->wrong_type++;
}

static void text_merge(struct feature_counts *dst, const struct counts_text *src)
{
    struct counts_text *t = need_text(dst);
    t->other += src->other;
    for (unsigned i = 0; i < LONG_CLASSES; i++)
        t->longs[i] += src->longs[i];
    for (uint32_t i = 0; i < src->n_texts; i++)
        counts_track_text(dst, (struct str){src->texts[i].text, src->texts[i].n_text}, src->texts[i].n);
}

rc_t counts_merge(struct feature_counts *dst, const struct feature_counts *src, struct err *e)
{
    if (dst->kind != src->kind || dst->n_cells != src->n_cells)
        return err_set(e, E_INVALID, "counts of kind %d with %u cells do not go with kind %d with %u cells",
                       (int)src->kind, src->n_cells, (int)dst->kind, dst->n_cells);
    for (uint32_t i = 0; i < src->n_cells; i++)
        dst->cells[i] += src->cells[i];
    dst->under += src->under;
    dst->at_max += src->at_max;
    dst->over += src->over;
    dst->neg_inf += src->neg_inf;
    dst->pos_inf += src->pos_inf;
    dst->missing += src->missing;
    dst->wrong_type += src->wrong_type;
    moments_merge(&dst->moments, &src->moments);
    if (src->text)
        text_merge(dst, src->text);
    if (src->sketch)
        sketch_merge(need_sketch(dst), src->sketch);
    return OK;
}

static uint64_t sum_cells(const struct feature_counts *c)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < c->n_cells; i++)
        sum += c->cells[i];
    return sum;
}

uint64_t counts_numbers(const struct feature_counts *c)
{
    if (c->kind == FEATURE_CATEGORICAL)
        return 0;
    uint64_t finite = c->kind == FEATURE_NONE ? c->moments.n : sum_cells(c) + c->under + c->at_max + c->over;
    return finite + c->neg_inf + c->pos_inf;
}

uint64_t counts_texts(const struct feature_counts *c)
{
    uint64_t sum = c->kind == FEATURE_CATEGORICAL ? sum_cells(c) : 0;
    if (c->text == NULL)
        return sum;
    sum += c->text->other;
    for (unsigned i = 0; i < LONG_CLASSES; i++)
        sum += c->text->longs[i];
    for (uint32_t i = 0; i < c->text->n_texts; i++)
        sum += c->text->texts[i].n;
    return sum;
}

uint64_t counts_total(const struct feature_counts *c)
{
    return counts_numbers(c) + counts_texts(c) + c->missing + c->wrong_type;
}
