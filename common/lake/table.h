/* A CSV or Parquet file that somebody brings, as columns: training sets, samples, rows to replay. It is streamed: memory does
 * not grow with the file. DuckDB reads that one file and nothing else.
 *   Parquet  by its magic bytes, whatever its name; numbers and bools are numbers, all else is text
 *   CSV      (also .gz) first line: the names; a byte order mark is skipped; what divides (, ; tab |) is what the names have most
 *            of; each line has as many fields, in double quotes or bare. Where ; divides, texts that are numbers with decimal
 *            commas (405.918,00) are numbers. The types are what all values are, and a column of mixed values is text. A column of true and false (yes and no,
 *            t and f) is BOOL, which is compared as the numbers 1 and 0, like a JSON bool in an event. Missing: the spellings that pandas reads so ("", NA, NaN, null, …) */
#pragma once
#include "lake/lake.h"

struct lake_table;

struct lake_table_column {
    const char *name;
    enum column_type type; /* NUMBER, BOOL or STRING */
};

/* E_NOTFOUND: no such file. E_INVALID: not such a file; the words say what is wrong and, in a CSV, where. */
rc_t lake_table_open(struct lake_table **ret, const char *path, struct err *e) MUST_CHECK;
void lake_table_free(struct lake_table *t); /* NULL is fine */
bool lake_table_is_csv(const struct lake_table *t);
size_t lake_table_columns(const struct lake_table *t, const struct lake_table_column **ret); /* the table's */
size_t lake_table_find(const struct lake_table *t, const char *name); /* the number of columns: not there */
size_t lake_table_count(const struct lake_table *t); /* rows, for a progress bar: a CSV is read for it; 0: cannot be known */
/* All rows, all columns, batch by batch; when_us of a batch is NULL. What fn fails with ends it and is answered. A value deep
 * in a CSV may turn a number column into text: E_AGAIN, the columns have changed, begin anew. */
rc_t lake_table_read(struct lake_table *t, lake_batch_fn *fn, void *arg, struct err *e) MUST_CHECK;
