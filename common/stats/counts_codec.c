/* Owns the bytes of one feature's counts.
 *
 *   head     bits 0-1 kind, 2 cells, 3 specials, 4 moments, 5 text, 6 sketch; bit 7 is 0
 *   n_cells  unless the kind is none
 *   cells    how many are not 0, then for each: the gap to the one before, and its count
 *   specials a mask (under at_max over neg_inf pos_inf missing wrong_type), then those counts
 *   text     other, a mask of length classes and their counts; kind none: how many texts, then length, bytes, count of each
 *   sketch   sketch.c, without range
 *   moments  the value, if it is one alone; else mean, m2, min, max. Their n is not written: cells or sketch say it
 *
 * Part of SLOT_FORMAT: a change needs a new number there. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "stats/codec.h"

enum { HAS_CELLS = 4, HAS_SPECIALS = 8, HAS_MOMENTS = 16, HAS_TEXT = 32, HAS_SKETCH = 64 };
#define KIND_MASK 3u
#define N_SPECIALS 7

static void specials_of(const struct feature_counts *c, uint64_t ret[N_SPECIALS])
{
    const uint64_t v[N_SPECIALS] = {c->under, c->at_max, c->over, c->neg_inf, c->pos_inf, c->missing, c->wrong_type};
    memcpy(ret, v, sizeof v);
}

static unsigned mask_of(const uint64_t *v, unsigned n)
{
    unsigned mask = 0;
    for (unsigned i = 0; i < n; i++)
        mask |= (v[i] != 0 ? 1u : 0u) << i;
    return mask;
}

static void put_masked(const uint64_t *v, unsigned n, struct buf *out)
{
    buf_addc(out, (char)(unsigned char)mask_of(v, n));
    for (unsigned i = 0; i < n; i++)
        if (v[i])
            put_uint(out, v[i]);
}

static bool get_masked(struct codec_in *in, unsigned n, uint64_t *ret)
{
    unsigned mask = get_byte(in);
    if (mask >> n)
        in->bad = true;
    for (unsigned i = 0; i < n; i++)
        ret[i] = mask >> i & 1 ? get_uint_max(in, CODEC_COUNT_MAX) : 0;
    return !in->bad;
}

static uint32_t cells_used(const struct feature_counts *c)
{
    uint32_t used = 0;
    for (uint32_t i = 0; i < c->n_cells; i++)
        used += c->cells[i] != 0;
    return used;
}

static void put_cells(const struct feature_counts *c, uint32_t used, struct buf *out)
{
    put_uint(out, used);
    for (uint32_t i = 0, next = 0; i < c->n_cells; i++) {
        if (c->cells[i] == 0)
            continue;
        put_uint(out, i - next);
        put_uint(out, c->cells[i]);
        next = i + 1;
    }
}

static int by_count(const void *a, const void *b)
{
    const struct text_count *x = *(const struct text_count *const *)a, *y = *(const struct text_count *const *)b;
    if (x->n != y->n)
        return x->n < y->n ? 1 : -1;
    return (x > y) - (x < y); /* sorted by bytes already */
}

/* Marks the most frequent CATEGORIES_MAX texts; returns how often the others occurred. */
static uint64_t pick_texts(const struct counts_text *t, bool keep[COUNTS_TEXTS_MAX])
{
    const struct text_count *order[COUNTS_TEXTS_MAX];
    uint64_t dropped = 0;
    for (uint32_t i = 0; i < t->n_texts; i++)
        order[i] = &t->texts[i];
    if (t->n_texts > CATEGORIES_MAX)
        qsort(order, t->n_texts, sizeof(order[0]), by_count);
    for (uint32_t i = 0; i < t->n_texts; i++) {
        keep[order[i] - t->texts] = i < CATEGORIES_MAX;
        dropped += i < CATEGORIES_MAX ? 0 : order[i]->n;
    }
    return dropped;
}

static void put_text(const struct feature_counts *c, struct buf *out)
{
    const struct counts_text *t = c->text;
    bool keep[COUNTS_TEXTS_MAX];
    put_uint(out, t->other + pick_texts(t, keep));
    put_masked(t->longs, LONG_CLASSES, out);
    if (c->kind != FEATURE_NONE)
        return;
    put_uint(out, t->n_texts < CATEGORIES_MAX ? t->n_texts : CATEGORIES_MAX);
    for (uint32_t i = 0; i < t->n_texts; i++) {
        if (!keep[i])
            continue;
        put_uint(out, t->texts[i].n_text);
        buf_add(out, t->texts[i].text, t->texts[i].n_text);
        put_uint(out, t->texts[i].n);
    }
}

static bool text_used(const struct counts_text *t)
{
    return t && (t->other || t->n_texts || mask_of(t->longs, LONG_CLASSES));
}

void counts_encode(const struct feature_counts *c, struct buf *out)
{
    uint64_t specials[N_SPECIALS];
    specials_of(c, specials);
    uint32_t used = cells_used(c);
    bool text = text_used(c->text), sketch = c->sketch && c->sketch->count;
    unsigned head = (unsigned)c->kind | (used ? HAS_CELLS : 0u) | (mask_of(specials, N_SPECIALS) ? HAS_SPECIALS : 0u) |
                    (c->moments.n ? HAS_MOMENTS : 0u) | (text ? HAS_TEXT : 0u) | (sketch ? HAS_SKETCH : 0u);
    buf_addc(out, (char)(unsigned char)head);
    if (c->kind != FEATURE_NONE)
        put_uint(out, c->n_cells);
    if (used)
        put_cells(c, used, out);
    if (head & HAS_SPECIALS)
        put_masked(specials, N_SPECIALS, out);
    if (text)
        put_text(c, out);
    if (sketch)
        sketch_encode(c->sketch, false, out);
    if (c->moments.n == 0)
        return;
    put_f64(out, c->moments.mean);
    if (c->moments.n > 1) {
        put_f64(out, c->moments.m2);
        put_f64(out, c->moments.min);
        put_f64(out, c->moments.max);
    }
}

static bool get_cells(struct feature_counts *dst, struct codec_in *in, uint64_t n_cells, bool add, uint64_t *ret_sum)
{
    uint64_t used = get_uint_max(in, n_cells), next = 0;
    for (uint64_t k = 0; k < used; k++) {
        uint64_t gap = get_uint_max(in, n_cells), n = get_uint_max(in, CODEC_COUNT_MAX), i = next + gap;
        if (in->bad || i >= n_cells)
            return false;
        *ret_sum += n;
        if (add)
            dst->cells[i] += n;
        next = i + 1;
    }
    return !in->bad;
}

static bool get_texts(struct feature_counts *dst, struct codec_in *in, bool add)
{
    uint64_t n = get_uint_max(in, CATEGORIES_MAX);
    for (uint64_t k = 0; k < n; k++) {
        size_t len = (size_t)get_uint_max(in, CATEGORY_BYTES_MAX);
        if (in->bad || (size_t)(in->end - in->p) < len)
            return false;
        struct str s = {(const char *)in->p, len};
        in->p += len;
        uint64_t count = get_uint_max(in, CODEC_COUNT_MAX);
        if (in->bad)
            return false;
        if (add)
            counts_track_text(dst, s, count);
    }
    return !in->bad;
}

static bool get_text(struct feature_counts *dst, struct codec_in *in, enum feature_kind kind, bool add)
{
    uint64_t longs[LONG_CLASSES], other = get_uint_max(in, CODEC_COUNT_MAX);
    if (!get_masked(in, LONG_CLASSES, longs))
        return false;
    if (add) {
        if (dst->text == NULL)
            dst->text = mem_alloc(sizeof *dst->text);
        dst->text->other += other;
        for (unsigned i = 0; i < LONG_CLASSES; i++)
            dst->text->longs[i] += longs[i];
    }
    return kind != FEATURE_NONE || get_texts(dst, in, add);
}

static bool get_sketch(struct feature_counts *dst, struct codec_in *in, bool add, uint64_t *ret_n)
{
    if (add && dst->sketch == NULL) {
        dst->sketch = mem_alloc(sizeof *dst->sketch);
        dst->sketch->max_buckets = COUNTS_SKETCH_BUCKETS;
    }
    return sketch_decode(add ? dst->sketch : NULL, in, false, ret_n);
}

static bool get_moments(struct codec_in *in, uint64_t n, struct moments *ret)
{
    ret->n = n;
    ret->mean = get_f64(in);
    ret->m2 = n > 1 ? get_f64(in) : 0;
    ret->min = n > 1 ? get_f64(in) : ret->mean;
    ret->max = n > 1 ? get_f64(in) : ret->mean;
    return !in->bad && ret->min <= ret->max;
}

/* The sketch's own sum and range are those of the moments. */
static void sketch_range(struct sketch *s, uint64_t had, const struct moments *m)
{
    s->min = had == 0 || m->min < s->min ? m->min : s->min;
    s->max = had == 0 || m->max > s->max ? m->max : s->max;
    s->sum += m->mean * (double)m->n;
}

static void add_specials(struct feature_counts *dst, const uint64_t v[N_SPECIALS])
{
    dst->under += v[0];
    dst->at_max += v[1];
    dst->over += v[2];
    dst->neg_inf += v[3];
    dst->pos_inf += v[4];
    dst->missing += v[5];
    dst->wrong_type += v[6];
}

/* Kind and size, and whether the parts that follow can belong to that kind. */
static bool get_shape(struct feature_counts *dst, struct codec_in *in, enum decode_how how, unsigned head)
{
    enum feature_kind kind = (enum feature_kind)(head & KIND_MASK);
    uint64_t n_cells = kind == FEATURE_NONE ? 0 : get_uint_max(in, REFERENCE_BINS_MAX);
    if (in->bad || head >> 7 || kind > FEATURE_CATEGORICAL)
        return false;
    if ((kind != FEATURE_NONE && head & HAS_SKETCH) || (kind == FEATURE_NUMERIC && head & HAS_TEXT) ||
        (kind == FEATURE_CATEGORICAL && head & HAS_MOMENTS) || (kind == FEATURE_NONE && head & HAS_CELLS))
        return false;
    if (how == DECODE_NEW) {
        dst->kind = kind;
        dst->n_cells = (uint32_t)n_cells;
        dst->cells = n_cells ? mem_array(n_cells, sizeof *dst->cells) : NULL;
    }
    return dst->kind == kind && dst->n_cells == n_cells;
}

bool counts_decode(struct feature_counts *dst, struct codec_in *in, enum decode_how how)
{
    unsigned head = get_byte(in);
    bool add = how != DECODE_CHECK;
    uint64_t specials[N_SPECIALS] = {0}, n = 0, had = dst->moments.n;
    struct moments m = {0};
    if (in->bad || !get_shape(dst, in, how, head))
        return false;
    if (head & HAS_CELLS && !get_cells(dst, in, dst->n_cells, add, &n))
        return false;
    if (head & HAS_SPECIALS && !get_masked(in, N_SPECIALS, specials))
        return false;
    if (head & HAS_TEXT && !get_text(dst, in, dst->kind, add))
        return false;
    if (head & HAS_SKETCH && !get_sketch(dst, in, add, &n))
        return false;
    if (dst->kind == FEATURE_NUMERIC)
        n += specials[0] + specials[1] + specials[2];
    else if (specials[0] || specials[1] || specials[2])
        return false;
    bool has_moments = head & HAS_MOMENTS;
    if (has_moments != (n > 0 && dst->kind != FEATURE_CATEGORICAL) || (has_moments && !get_moments(in, n, &m)))
        return false;
    if (!add)
        return true;
    add_specials(dst, specials);
    if (head & HAS_SKETCH)
        sketch_range(dst->sketch, had, &m);
    moments_merge(&dst->moments, &m);
    return true;
}
