/* What is shown of a series of values besides themselves: fewer points, a histogram, thresholds. */
#pragma once
#include "db/result.h"
#include "json/write.h"

#define SERIES_BINS_MAX 200
#define SERIES_BINS_AUTO 0 /* by Freedman and Diaconis' rule */

/* Leaves at most max (2 or more) of them, in place: of each of as many equal parts of the series the lowest and the highest point, a
 * worse status being higher. Returns how many. */
size_t series_thin(struct result_point *p, size_t n, size_t max);
/* {"n", "mean", "std", "min", "p50", "p95", "max", "edges", "counts"} of the finite values; the last bin has its upper edge. */
void series_write_histogram(struct json_writer *w, const struct result_point *p, size_t n, int64_t bins);
/* {"potential", "detected", "direction": "above" or "below"} of the newest point that says them; else null. */
void series_write_thresholds(struct json_writer *w, const struct result_point *p, size_t n);
