/* Charts as SVG, coloured by classes of assets/style.css alone (no inline style: the pages' policy forbids it). */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"

struct thresholds {
    double potential, detected;
};

const char *status_class(int status); /* "ok" "potential" "detected" "none" */

struct chart_point {
    int64_t start_us, end_us;
    double value; /* NaN: a gap */
    int status;
};
/* Values in [0,1] over time with both thresholds; lines break where windows are missing. */
void chart_timeline(struct buf *b, const struct chart_point *p, size_t n, const struct thresholds *t);

/* Columns on the timeline's own time axis: one a step of [from, to). */
struct chart_column {
    int64_t start_us;
    double value;
};
void chart_columns(struct buf *b, const struct chart_column *c, size_t n, int64_t from_us, int64_t to_us, int64_t step_us);

/* One value in [0,1] as a bar with both thresholds; all of a table's bars line up. */
void chart_bar(struct buf *b, double value, int status, const struct thresholds *t);

/* Two distributions of the same n cells over each other, each scaled to shares. outer: first and last cell are "below" and
 * "above" the training range. */
void chart_histogram(struct buf *b, const double *reference, const double *current, size_t n, int outer);
