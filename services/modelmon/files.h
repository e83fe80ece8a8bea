/* Training sets and samples from files: CSV and Parquet through common/lake, MLRun's statistics as JSON. */
#pragma once
#include "base/arena.h"
#include "base/rc.h"
#include "stats/drift.h"
#include "stats/reference.h"

#ifndef FILES_ROOM                    /* less, for its test */
#define FILES_ROOM (INT64_C(2) << 30) /* bytes of values that a training set may have */
#endif

struct training_file {
    struct reference *reference;
    size_t rows;
    struct str *labels; /* in the arena */
    size_t n_labels;
    struct arena mem;
};
void training_file_done(struct training_file *t); /* {0} is fine */

/* "a,b" → names; NULL or "": none. */
void files_split(const char *list, struct arena *a, struct str **ret, size_t *n);
struct lake_table;
/* lake_table_open, and a line on stderr about a first column that pandas wrote for its index. */
rc_t files_open_table(struct lake_table **ret, const char *path, struct err *e) MUST_CHECK;
/* labels: "a,b", names of output columns, each must be there. percentiles: all of describe(), which takes longer. Numbers that
 * a column of text holds count as numbers in a CSV, where types are guesses. */
rc_t training_file_read(struct training_file *ret, const char *path, const char *labels, bool percentiles,
                        struct err *e) MUST_CHECK;
rc_t training_file_statistics(struct training_file *ret, const char *path, const char *labels, struct err *e) MUST_CHECK;
/* One of both, by what the file begins with: '{' is statistics. */
rc_t training_file_any(struct training_file *ret, const char *path, const char *labels, bool percentiles,
                       struct err *e) MUST_CHECK;
/* The whole file, at most max bytes. */
rc_t files_read(const char *path, size_t max, struct buf *ret, struct err *e) MUST_CHECK;

/* A sample counted against a reference, which must outlive it. */
struct sample_file {
    struct feature_counts *counts; /* one per feature of the reference; those that the file lacks stay untouched */
    bool *present;                 /* likewise */
    size_t n, rows;
    struct str *others; /* columns that the reference does not know */
    size_t n_others;
    struct arena mem;
};
rc_t sample_file_read(struct sample_file *ret, const struct reference *ref, const char *path, struct err *e) MUST_CHECK;
void sample_file_done(struct sample_file *s);
