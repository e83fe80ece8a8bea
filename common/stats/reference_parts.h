/* What the files that make a reference share. Inside common/stats only. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "stats/reference.h"

/* A new last feature with unknown statistics. Pointers to features are good until the next one is added. */
rc_t reference_add_feature(struct reference *r, struct str name, struct feature_ref **ret, struct err *e) MUST_CHECK;
void feature_ref_bins(struct reference *r, struct feature_ref *f, uint32_t n_bins); /* numeric; room for edges and counts */
/* categorical; keeps the most frequent of all[] (which it sorts), the others add to other. Texts are copied. */
void feature_ref_categories(struct reference *r, struct feature_ref *f, struct ref_category *all, size_t n);
void feature_ref_bool_stats(struct feature_ref *f, double n_true, double n_false);

/* np.histogram(x, bins=20) into f; x finite, n > 0. False: numpy would have refused, edges and counts are ours. */
bool histogram_make(struct reference *r, struct feature_ref *f, const double *x, size_t n);
/* mean to max of pandas' describe(); sorts x. n > 0 */
void describe(struct feature_ref *f, double *x, size_t n);
