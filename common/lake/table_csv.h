/* What DuckDB is told of a CSV that somebody brings, and what it says of it in words for people. Internal to lake. */
#pragma once
#include "lake/lake_duck.h"

struct table_csv {
    char separator; /* , ; tab or |: the one that the first line has most of; a comma when it has none */
    size_t n;       /* names in the first line */
    bool thorough;  /* all rows are looked at for the types */
};

/* Reads the first line. E_INVALID with the words of complain. */
rc_t table_csv_look(struct table_csv *ret, struct duck *d, const char *path, struct err *e) MUST_CHECK;
/* "read_csv(…)"; as_text: every column as it is written. */
void table_csv_source(const struct table_csv *c, const char *path, bool as_text, struct buf *sql);
/* DuckDB guesses types but does not say which line it stumbled over: E_INVALID with the line, or OK when each line is well formed. */
rc_t table_csv_check(const struct table_csv *c, struct duck *d, const char *path, struct err *e) MUST_CHECK;
/* Whether a text column is numbers with decimal commas ("405.918,00"), in half of its values at least: where the separator is a
 * semicolon, as in the files that write numbers so, or a value is no number with commas for thousands. ret: one a name, all: each
 * value is one. */
enum table_commas { TABLE_COMMAS_NONE, TABLE_COMMAS_MOST, TABLE_COMMAS_ALL };
rc_t table_csv_commas(const struct table_csv *c, struct duck *d, const char *path, const char *const *names, size_t n,
                      enum table_commas *ret, struct err *e) MUST_CHECK;
/* The column's value with the point that DuckDB reads. */
void table_csv_point(const char *name, struct buf *sql);
/* The first sentence of DuckDB's, with where it is; its hints for SQL are not for people with a file. */
rc_t table_complain(const char *path, const struct table_csv *csv, const char *words, struct err *e); /* NULL: no CSV */
rc_t table_not_utf8(const char *path, const char *encoding, struct err *e);
