/* What was counted of one feature: bins of the reference, what lies outside, what is not a number, moments, categories.
 * Both edge modes of drift.h come from the same counts. Owned by one thread.
 *
 * Bins are compared with the edges exactly: cells[i] holds edges[i] <= x < edges[i+1] (all half-open; the value equal to the
 * last edge is in at_max), the same that numpy's searchsorted counts. Uniform edges: the bin is guessed by one
 * multiplication and corrected by one comparison each way; feature_ref_finish has proved, edge by edge, that the
 * guess is at most one off (it is monotonic in x). Others: branchless binary search.
 *
 * Without a reference (kind FEATURE_NONE) a feature keeps moments, a sketch of its numbers and its most frequent texts. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/rc.h"
#include "base/str.h"
#include "stats/moments.h"
#include "stats/reference.h"
#include "stats/sketch.h"
#include "stats/value.h"

#define COUNTS_TEXTS_MAX 256u /* distinct texts tracked without a reference; the top CATEGORIES_MAX are encoded */
#define COUNTS_SKETCH_BUCKETS 512u

struct text_count {
    char *text; /* owned, terminated */
    uint32_t n_text;
    uint64_t n;
};

/* What a feature with texts has beyond cells. */
struct counts_text {
    uint64_t other; /* texts that are none of the categories (or past COUNTS_TEXTS_MAX) */
    uint64_t longs[LONG_CLASSES];
    struct text_count *texts; /* FEATURE_NONE alone; sorted by bytes */
    uint32_t n_texts, cap_texts;
};

struct feature_counts {
    enum feature_kind kind;
    bool cells_borrowed;
    uint32_t n_cells; /* numeric: n_bins; categorical: n_categories; none: 0 */
    uint64_t *cells;
    uint64_t under, at_max, over, neg_inf, pos_inf; /* numeric; under and over are finite */
    uint64_t missing, wrong_type;
    struct moments moments;   /* of finite numbers */
    struct counts_text *text; /* NULL until needed */
    struct sketch *sketch;    /* NULL until needed; FEATURE_NONE alone */
};

/* f NULL: no reference. cells: storage of n_cells zeroed uint64 that outlives c, or NULL: c allocates. */
void counts_init(struct feature_counts *c, const struct feature_ref *f, uint64_t *cells);
void counts_done(struct feature_counts *c); /* NULL and {0} are fine */
void counts_clear(struct feature_counts *c);
size_t counts_cells(const struct feature_ref *f);    /* cells that f needs */
size_t counts_bytes(const struct feature_counts *c); /* of memory that c points at, as the heap has it */

/* f is the reference c was initialised with (NULL: none), always. */
void counts_add_f64(struct feature_counts *c, const struct feature_ref *f, double x); /* NaN: missing. Categorical: wrong type */
void counts_add_text(struct feature_counts *c, const struct feature_ref *f, struct str s); /* numeric: wrong type */
void counts_add_bool(struct feature_counts *c, const struct feature_ref *f, bool b); /* categorical "True"/"False"; else 0/1 */
void counts_add_value(struct feature_counts *c, const struct feature_ref *f, const struct stat_value *v);
/* A column at once, the hot path; the same counts as n times counts_add_f64, moments equal up to rounding. f is not trimmed. */
void counts_add_column(struct feature_counts *c, const struct feature_ref *f, const double *x, size_t n);

/* E_INVALID: other kind or other number of cells; dst is then untouched. */
rc_t counts_merge(struct feature_counts *dst, const struct feature_counts *src, struct err *e) MUST_CHECK;
uint64_t counts_numbers(const struct feature_counts *c); /* finite and infinite numbers: pandas' count of a numeric column */
uint64_t counts_texts(const struct feature_counts *c); /* texts of all sorts */
uint64_t counts_total(const struct feature_counts *c); /* every value seen, missing and wrong ones too */

/* The bin of a finite or infinite x: -1 below the first edge, n_bins at and above the last. */
int32_t feature_bin(const struct feature_ref *f, double x);

/* Compact and self-describing (kind and number of cells are in it). Layout: counts_codec.c. */
void counts_encode(const struct feature_counts *c, struct buf *out);
