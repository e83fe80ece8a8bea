/* From counts to drift: per feature the distances, over all the means, general_drift and its status.
 * Pure, no I/O, no clock; a result owns its memory and borrows names from the reference.
 *
 * Edges `closed` (default): the last bin holds the value equal to the last edge, as np.histogram counted the training set;
 * what is outside the edges, infinities too, is in an outer cell at its side. Shares are of all numbers (or all texts), so
 * they add up to 1 and identical data drifts 0. Categorical features take part (categories, other, length classes).
 * general_drift and the means are over the *inputs* of the model: they answer "does what comes in still look like training?".
 * Labels are reported apart in prediction_drift; a label column never moves general_drift.
 * Edges `mlrun`: MLRun's numbers. Padded references: the value equal to the last edge is in the overflow cell; unpadded
 * ones: the last bin is closed and what is outside is nowhere. Shares are of `count` (non-missing), infinities are in no cell.
 * Labels count like features, in the means and in general_drift; prediction_drift is reported besides. A feature for which
 * MLRun has no histogram (text, NaN or infinity in training) makes MLRun's application fail; here it has the outcome
 * not_in_mlrun and is skipped in the means.
 * Both: NaN is never "no detection"; a feature that cannot be compared has an outcome that says why, is skipped in the means,
 * and when none is left the status is irrelevant with a reason. Rounding above 1 is cut to 1. Thresholds compare with >=. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "stats/counts.h"
#include "stats/distance.h"
#include "stats/reference.h"
#include "stats/slot.h"

enum drift_edges { DRIFT_EDGES_CLOSED, DRIFT_EDGES_MLRUN };

enum drift_status { DRIFT_IRRELEVANT = -1, DRIFT_NONE = 0, DRIFT_POTENTIAL = 1, DRIFT_DETECTED = 2 };

enum drift_outcome {
    DRIFT_OK,                /* "ok" */
    DRIFT_NO_SAMPLES,        /* "no_samples": the column had no values at all in this window */
    DRIFT_NO_REFERENCE_HIST, /* "no_reference_hist": nothing to compare with */
    DRIFT_MISSING_COLUMN,    /* "missing_column": in the reference, not in the events */
    DRIFT_ALL_MISSING,       /* "all_missing": nulls and NaN only */
    DRIFT_WRONG_TYPE,        /* "wrong_type": no value of the reference's type */
    DRIFT_NOT_IN_MLRUN,      /* "not_in_mlrun": mlrun mode alone, see above */
    DRIFT_TOO_MANY_VALUES, /* "too_many_values": closed edges alone; texts of which training had so many different ones (ids,
                              * dates, comments) that most of its rows are none of the categories kept */
};
const char *drift_outcome_name(enum drift_outcome o);
enum drift_outcome drift_outcome_of(struct str name); /* DRIFT_OK: no such name, too */
bool drift_outcome_lost(enum drift_outcome o); /* the reference has something to compare with, and the sample nothing */

struct drift_options {
    enum drift_edges edges;
    double potential, detected; /* as drift_check_thresholds says */
    uint64_t min_samples;       /* rows; fewer: status irrelevant, "insufficient_samples". 0 and 1: no minimum */
};
/* 0 < potential < detected < 1, as MLRun wants it; else E_INVALID. */
rc_t drift_check_thresholds(double potential, double detected, struct err *e);
/* potential 0.5, detected 0.7; min_samples 30 for closed (20 bins: below it identical distributions
 * measure as drifted), 1 for mlrun, which has no minimum. */
struct drift_options drift_options_default(enum drift_edges edges);

struct drift_feature {
    struct str name; /* borrowed from the reference */
    bool is_label;
    enum drift_outcome outcome;
    double distance[N_DISTANCES]; /* NaN unless DRIFT_OK */
    uint64_t used;                /* values compared */
    uint64_t missing, wrong_type; /* values that were not */
};

struct drift_result {
    struct drift_feature *features; /* one per feature of the reference, in its order */
    size_t n_features;
    uint64_t rows;
    size_t n_compared;        /* features in the means */
    double mean[N_DISTANCES]; /* NaN when n_compared is 0 */
    double general_drift;     /* (hellinger_mean + tvd_mean) / 2, in [0,1] or NaN */
    enum drift_status status;
    const char *reason; /* "" or insufficient_samples, no_reference, no_comparable_feature: why status is irrelevant */
    size_t n_labels;    /* labels compared */
    double prediction_drift;             /* the same mean over labels; NaN when n_labels is 0 */
    enum drift_status prediction_status; /* irrelevant when n_labels is 0 or rows are too few */
};

/* One reference feature's counts. */
struct drift_column {
    const struct feature_counts *counts; /* NULL: missing column */
    bool is_label;                       /* besides the reference's own mark */
};

/* One feature: fills everything but name. counts as for drift_column. */
void drift_feature(const struct feature_ref *f, const struct feature_counts *c, enum drift_edges edges,
                   struct drift_feature *ret);
/* ref NULL or without features: "no_reference". columns has ref->n entries. Free with drift_result_done. */
void drift_compute(const struct reference *ref, const struct drift_column *columns, uint64_t rows,
                   const struct drift_options *o, struct drift_result *ret);
/* The same from a slot, the sum of a window's: binds columns by the layout. */
void drift_compute_slot(const struct slot_layout *l, const struct slot *s, const struct drift_options *o,
                        struct drift_result *ret);
void drift_result_done(struct drift_result *r); /* NULL and {0} are fine */
/* One number against the thresholds; NaN: irrelevant; out of [0,1] is cut. */
enum drift_status drift_classify(double value, const struct drift_options *o);

/* ---- beside general_drift ---- */
/* The further measures of a feature (distance.h): NaN where drift_feature would not say DRIFT_OK, or the measure says nothing. */
void drift_measure(const struct feature_ref *f, const struct feature_counts *c, enum drift_edges edges,
                   double ret[N_MEASURES]);
/* One sample against another, by the bins of f. False, and ret is NaN: one of them has no values to compare. */
bool drift_between(const struct feature_ref *f, const struct feature_counts *now, const struct feature_counts *before,
                   enum drift_edges edges, double ret[N_DISTANCES]);
/* What is wrong with the values themselves; shares, NaN where there is nothing to say. */
struct drift_quality {
    double missing;      /* of all values; 1 for a column that did not come */
    double out_of_range; /* of the numbers: outside the training set's range, infinite; of the texts: no category of it */
    double wrong_type;   /* of all values: neither missing nor of the reference's type */
};
struct drift_quality drift_quality(const struct feature_ref *f, const struct feature_counts *c);

/* Numbers of which training had a few whole ones alone (12 apart at most, or the two of a boolean): codes, each with its bin. */
bool feature_has_codes(const struct feature_ref *f);
/* For categories and codes, members of an open object, each when there is something to say: new_values, how many values of the
 * window training did not have; new, those that are codes of its range; vanished, what training had and the window has not,
 * where 5 or more would be expected. 20 names a list at most. False: nothing to say. */
struct json_writer;
bool drift_news_json(const struct feature_ref *f, const struct feature_counts *c, struct json_writer *w);

/* Appends JSON objects. Numbers that are not finite are written as JSON null.
 * current_stats: {feature: {count, mean, std, min, max, hist: [counts, edges]}, ...}, counted by the edge rule, padded as the
 * reference is; a text column: {count, unique, top, freq, categories: {text: n}, other}. Columns that are not in the reference are left out.
 * drift_measures: {feature: {tvd, hellinger, kld}, ..., tvd_mean, hellinger_mean, kld_mean}; features without numbers are left out. */
void drift_current_stats_json(const struct reference *ref, const struct drift_column *columns, enum drift_edges edges,
                              struct buf *out);
void drift_measures_json(const struct drift_result *r, struct buf *out);
/* columns (ref->n entries) of a slot, for the two functions that take them. */
void drift_columns_of(const struct slot_layout *l, const struct slot *s, struct drift_column *ret);
/* The bins of a feature under an edge rule, as shown in current_stats: padded references n_bins + 2 cells, else n_bins. Returns how many.
 * ret has room for n_bins + 2. */
size_t drift_cells(const struct feature_ref *f, const struct feature_counts *c, enum drift_edges edges, uint64_t *ret);
