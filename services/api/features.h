/* What the endpoint page shows of each feature: the newest drift measures, the reference's histogram and the newest window's
 * on the same cells. */
#pragma once
#include "base/arena.h"
#include "base/rc.h"
#include "base/str.h"
#include "lake/lake.h"
#include "stats/reference.h"

struct feature_view {
    struct str name;
    struct str outcome;                /* of the app's own words: "ok", "all_missing", …; empty: not said */
    bool is_label, categorical, outer; /* outer: the first and last cell are outside the training range */
    double tvd, hellinger, kld, score; /* NaN: not compared. score: the mean of the first two, as general_drift is made */
    double mean_before, mean_now;      /* NaN: not known */
    double samples, missing, wrong_type; /* rows of the window, and values that were not compared; NaN: not said */
    double missing_before, missing_now;  /* shares, when they differ much; else NaN */
    int came;                            /* enum column_type of the events' column; -1: none */
    size_t n_cells;                      /* 0: no histogram of both */
    const double *before, *now;
};
struct feature_views {
    struct feature_view *v; /* strongest drift first, what was not compared last */
    size_t n;
    struct str *unknown; /* columns of events that the reference has not; borrowed from the schema */
    size_t n_unknown;
};
/* Texts may be empty; extra is that of general_drift. All memory is the arena's; names are borrowed from ref. */
void features_read(const struct reference *ref, struct str drift_measures, struct str current_stats, struct str extra,
                   const struct schema *schema, struct arena *a, struct feature_views *ret);

/* What general_drift's extra data says of its window; what is not there stays as it is. */
struct drift_extra {
    struct str reason; /* why there is no verdict; in the arena */
    double potential, detected, samples, min_samples;
};
void drift_extra_read(struct str extra, struct arena *a, struct drift_extra *inout);
