/* A reference out of the body of PUT …/reference. Three forms, all with an optional "labels": [names of output columns]:
 *   {"columns": ["a", "b"], "data": [[1, 2], [3, 4]]}    rows
 *   {"columns": {"a": [1, 3], "b": [2, 4]}}              columns
 *   {"feature_stats": {"a": {"count": …, "hist": …}}}    MLRun's statistics
 * Values are numbers, NaN and infinities as Python writes them, booleans, text or null. */
#pragma once
#include "base/arena.h"
#include "base/rc.h"
#include "base/str.h"
#include "stats/reference.h"

struct training {
    struct reference *reference; /* reference_free */
    const char *source;          /* api_rows or api_statistics */
    const struct str *labels;    /* in the arena */
    size_t n_labels, rows;       /* rows 0: statistics */
};
/* E_INVALID names the field and the byte. */
rc_t training_read(struct str body, struct arena *a, struct training *ret, struct err *e) MUST_CHECK;
