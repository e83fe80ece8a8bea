/* Rows of the lake into a file that other programs read. */
#pragma once
#include "lake/lake.h"

enum lake_form { LAKE_CSV, LAKE_PARQUET, LAKE_JSON }; /* JSON: an object a line, null for what is no finite number */

/* Labels that the rows are joined with by request id: a file of {"r": request id, "w": µs, "l": JSON text} a line. Of several of one
 * request the latest counts; a list of as many as the request has rows is one a row. */
struct lake_labels {
    const char *path;
    int64_t rows, unknown; /* set: rows that have one; requests with one that are not among the rows */
};

/* All columns of the rows of [start, end) of event time in these files (paths as in lake_read), in the order of time, into the
 * file `to`, which is made anew; "/dev/stdout" for stdout. E_INVALID with DuckDB's words: `to` cannot be written, or a file
 * not be read; what was written by then is left. E_NOTFOUND: a file is gone. labels not NULL: two columns more, modelmon_label (text, a
 * string without its quotes) and modelmon_label_when, null where there is none. */
rc_t lake_copy(const struct lake_config *cfg, const char *const *paths, size_t n, int64_t start_us, int64_t end_us,
               struct lake_labels *labels, enum lake_form form, const char *to, int64_t *ret_rows, struct err *e) MUST_CHECK;
