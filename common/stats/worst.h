/* Which inputs of a model drift, beside the mean over all of them that hides few: how many, and which the most. */
#pragma once
#include "stats/drift.h"

struct json;
struct json_writer;

struct drift_worst {
    size_t compared, potential, detected; /* features; potential: those from there on that are not detected */
    size_t lost;                          /* not compared, though the reference has them (drift_outcome_lost) */
    double drift;       /* of the feature that drifts most: mean of its tvd and hellinger; NaN: none compared */
    struct str feature; /* its name, borrowed; empty: none compared */
};
struct drift_worst drift_worst_of(const struct drift_result *r, const struct drift_options *o);
double drift_feature_value(const struct drift_feature *f); /* NaN unless DRIFT_OK */

/* The member "worst" of an open object, {"compared","potential","detected","drift","feature"}, "not_compared" when some are lost;
 * nothing when none was compared. */
void drift_worst_json(const struct drift_worst *w, struct json_writer *to);
/* From the object that has this member; false: it has none, and *ret is empty. Borrows from j. */
bool drift_worst_read(const struct json *j, struct drift_worst *ret);
/* The same from the beginning of the object's text, which may be cut off anywhere behind the member; *own is what ret
 * borrows from, json_free. */
bool drift_worst_head(struct str head, struct drift_worst *ret, struct json **own);
/* "2 of 7 features drift, 1 drifts possibly: most age 0.91"; nothing when none does. 7: with those lost. The name is as it came. */
void drift_worst_words(const struct drift_worst *w, struct buf *out);
/* "3 of 7 features are not compared"; nothing when none is lost. */
void drift_lost_words(const struct drift_worst *w, struct buf *out);
/* A feature behind those words, by the name of its outcome: ": area (wrong type)", the next ", …"; *inout_n counts them. */
void drift_lost_name(struct str feature, struct str outcome, size_t *inout_n, struct buf *out);
