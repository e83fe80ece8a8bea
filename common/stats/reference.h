/* Reference statistics: what the training set looked like, feature by feature. Plain data, made once, then
 * read-only: a finished reference may be read by any number of threads.
 *
 * A numeric feature has a histogram. Inside it is always *unpadded* (MLRun's outer -DBL_MAX and +DBL_MAX bins are
 * taken off; `padded` remembers that they were there, and what they held is in `under` and `over`).
 * A categorical feature has counts of its categories, sorted by their bytes. A string of more than
 * CATEGORY_BYTES_MAX bytes is never kept: it is counted by its length class alone (prompts are private).
 *
 * Histogram rule: MLRun's get_df_stats (np.histogram(column, bins=20), numpy 1.26 and 2.x alike): edges
 * i*((max-min)/20)+min, the last one max exactly, min==max widened by 0.5 both ways; bin index by multiplication,
 * then numpy's two edge corrections. Same doubles, same counts. numpy refuses NaN, infinities, a range that overflows, and
 * bins too narrow for doubles, and MLRun then has no `hist`; here the finite values are binned and the others are
 * counted, and `mlrun_hist` is false. Values are doubles: whole numbers past 2^53 are the nearest double. */
#pragma once
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/rc.h"
#include "base/str.h"
#include "stats/value.h"

struct json; /* json/doc.h */

#define REFERENCE_BINS 20
#define REFERENCE_BINS_MAX 1024u
#define REFERENCE_FEATURES_MAX 8192u
#define REFERENCE_TEXT_MAX (256u << 20) /* bytes of its JSON */
#define CATEGORIES_MAX 64u
#define CATEGORY_BYTES_MAX 64u
#define LONG_CLASSES 8u /* lengths 65-128, 129-256, ... 4097-8192, more */

enum feature_kind { FEATURE_NONE = 0, FEATURE_NUMERIC = 1, FEATURE_CATEGORICAL = 2 };

struct ref_category {
    struct str text;
    uint64_t count;
};

/* What only comparing and telling need. NaN: not known. */
struct ref_stats {
    double under, over; /* of the histogram, outside its bins */
    /* describe()'s: count is of the non-missing values, std has n - 1 below it */
    double count, mean, std, min, p25, p50, p75, max;
    uint64_t missing, wrong_type, neg_inf, pos_inf; /* of the training rows, where those were seen */
    uint64_t other, unique;                         /* categorical */
    uint64_t longs[LONG_CLASSES];
};

struct feature_ref {
    struct str name;        /* as sent; terminated */
    enum feature_kind kind; /* FEATURE_NONE: known by name, but nothing to compare with */
    bool is_label;          /* an output of the model */
    bool is_bool;           /* numeric 0/1 made of booleans */
    bool padded;            /* as MLRun's server serves it; decides how `mlrun` mode counts */
    bool mlrun_hist;        /* MLRun itself would have this histogram */
    bool partial;           /* categorical known by its most frequent value alone (MLRun's top and freq) */
    bool uniform;           /* bin_guess applies (see counts.h) */
    bool even;              /* edges[i] is first + i * step to the bit, but for the last */

    uint32_t n_bins, n_categories;
    double *edges; /* n_bins + 1, never descending, first < last; then a NaN that stops the search. Trimmed and even: NULL */
    double first, last, step, inv_width; /* of the edges */
    struct ref_category *categories;
    double *counts;          /* n_bins; trimmed: NULL */
    struct ref_stats *stats; /* trimmed: NULL */
};

struct reference {
    struct arena mem;             /* owns what the features point at */
    struct feature_ref *features; /* on the heap, in the order they came */
    size_t n, cap;
    int64_t version; /* the caller's; 0 until set */
    bool automatic; /* made of the endpoint's own first rows, and not of a training set; the caller's, or the record's */
};

struct reference *reference_new(void);
void reference_free(struct reference *r); /* NULL is fine */
void reference_freep(struct reference **r);

/* Raw training columns. Names and texts are copied. E_INVALID: empty or double name; E_LIMIT: too many features.
 * _f64: NaN is a missing value. _values: the column is what most of its values are (numbers and booleans, or
 * text; a tie is numeric); values of the other kind count as wrong_type. Nothing usable: FEATURE_NONE. */
rc_t reference_add_f64(struct reference *r, struct str name, bool is_label, const double *x, size_t n,
                       struct err *e) MUST_CHECK;
/* The same without percentiles, which take the longest: what drift needs. x is sorted out of NaN in place. */
rc_t reference_add_bins(struct reference *r, struct str name, bool is_label, double *x, size_t n, struct err *e) MUST_CHECK;
rc_t reference_add_values(struct reference *r, struct str name, bool is_label, const struct stat_value *v, size_t n,
                          struct err *e) MUST_CHECK;

/* MLRun's feature_stats: {name: {count, mean, std, min, "25%", .., max, hist: [counts, edges]} | {count, unique, top, freq}},
 * padded or not; also what reference_to_json wrote. Names in labels[] are marked as labels. A histogram of a
 * wrong shape (counts negative or not finite, edges descending, not one more edge than counts) is E_INVALID and
 * names the feature; an absent one makes FEATURE_NONE or a categorical. Statistics that are not numbers are unknown;
 * "NaN", "Infinity" and "-Infinity" are read as such. */
rc_t reference_from_json(struct reference **ret, const struct json *feature_stats, const struct str *labels,
                         size_t n_labels, struct err *e) MUST_CHECK;
/* The same from text, with limits wide enough for REFERENCE_FEATURES_MAX features: the one place that has them. */
rc_t reference_from_text(struct reference **ret, struct str feature_stats, const struct str *labels, size_t n_labels,
                         struct err *e) MUST_CHECK;
/* From {"automatic":…,"labels":[…],"statistics":{…}}, a stored reference in one text. */
rc_t reference_from_record(struct reference **ret, struct str record, struct err *e) MUST_CHECK;
/* Appends the object. padded: histograms as MLRun's server serves them (22 counts, 23 edges of 20 bins). Statistics that are
 * not finite are left out. What MLRun has no word for is under the key "modelmon" of a feature, so that reading it
 * back gives an equal reference. */
void reference_to_json(const struct reference *r, bool padded, struct buf *out);

/* Gives back what counting does not need, for those who hold many: counts of bins and statistics, edges that can be computed, memory
 * to spare. Pointers to features and into them are void. */
void reference_trim(struct reference *r);

size_t reference_bytes(const struct reference *r); /* of memory */

/* By exact name, else by equal normal form (text_norm_name). NULL: not there. */
const struct feature_ref *reference_find(const struct reference *r, struct str name);
size_t reference_index(const struct reference *r, struct str name); /* r->n: not there */

/* For makers of references other than those above: sets uniform and inv_width from the edges, which must be as said. */
void feature_ref_finish(struct feature_ref *f);
/* The bin of x by its guess alone, right to within one bin when uniform is set. Any x but NaN; 0 .. n_bins. */
static inline int32_t feature_guess_bin(const struct feature_ref *f, double x)
{
    double at = (x - f->first) * f->inv_width, last = (double)f->n_bins;
    at = at > 0 ? at : 0;
    at = at < last ? at : last;
    return (int32_t)at;
}
/* edges[i], also where those were given back; i up to n_bins + 1, which is the NaN. */
static inline double feature_edge(const struct feature_ref *f, uint32_t i)
{
    if (f->edges)
        return f->edges[i];
    return i < f->n_bins ? (double)i * f->step + f->first : i == f->n_bins ? f->last : (double)NAN;
}
unsigned long_class(size_t n_bytes); /* of a string with more than CATEGORY_BYTES_MAX bytes: 0 .. LONG_CLASSES - 1 */
