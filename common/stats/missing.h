/* A feature whose values are missing more or less often than in training: a distance is of the values that are there, so it
 * does not show that. */
#pragma once
#include "stats/counts.h"

double missing_rows(const struct reference *r); /* of the training set: what its fullest column has; NaN: not known */
struct missing_move {
    double before, now; /* shares of rows; NaN: not known */
    bool moved;         /* by more than 5 points, and more than chance would have it */
};
/* c NULL, or without values: not moved. */
struct missing_move missing_move_of(const struct feature_ref *f, double rows, const struct feature_counts *c);
/* "missing 2 % → 85 %" */
void missing_words(double before, double now, struct buf *out);
