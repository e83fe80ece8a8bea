/* CSV for DuckDB: what divides is found in the first line, because DuckDB takes a file with one odd line for a file of one column. */
#include "lake/table_csv.h"
#include <stdlib.h>
#include <string.h>

#define MISSING                                                                                                        \
    "['', 'NA', 'N/A', 'n/a', 'NULL', 'null', 'None', 'NaN', 'nan', '<NA>', '#N/A', '#NA', '-NaN', '-nan', '#N/A "     \
    "N/A']"
#define SAMPLE_ROWS 20480
#define NO_THOUSANDS                                                                                                   \
    "',(\\d{1,2}|\\d{4,})\\s*$'" /* 1,5 is one and a half; 1,500 may be a thousand and a half as well */
#define COMMA_NUMBER "'\\s*[-+]?(\\d{1,3}(\\.\\d{3})+|\\d+)(,\\d+)?\\s*'"

/* ---- the first line ---- */
/* How often it stands outside of quotes. */
static size_t count_outside(const char *line, char separator)
{
    size_t n = 0;
    bool quoted = false;
    for (; *line && (quoted || !strchr("\r\n", *line)); line++) {
        quoted ^= *line == '"';
        n += !quoted && *line == separator;
    }
    return n;
}

static void divide(struct table_csv *c, const char *line)
{
    static const char separators[] = ",;\t|";
    c->separator = ',';
    for (const char *s = separators; *s; s++) {
        size_t n = count_outside(line, *s) + 1;
        if (n <= c->n)
            continue;
        c->separator = *s;
        c->n = n;
    }
}

rc_t table_csv_look(struct table_csv *ret, struct duck *d, const char *path, struct err *e)
{
    CLEANUP(buf_done) struct buf sql = {0};
    struct table_csv c = {0};
    duckdb_result res;
    rc_t rc = OK;
    buf_addz(&sql, "SELECT l FROM read_csv(");
    duck_quote(&sql, path, '\'');
    buf_addz(&sql,
             ", auto_detect = false, header = false, delim = '\x01', quote = '', escape = '', strict_mode = false, "
             "columns = {'l': 'VARCHAR'}) LIMIT 1");
    if (duckdb_query(d->con, sql.data, &res) == DuckDBError) {
        rc = table_complain(path, &c, duckdb_result_error(&res), e);
    } else {
        char *line = duckdb_row_count(&res) ? duckdb_value_varchar(&res, 0, 0) : NULL;
        divide(&c, line ? line : "");
        duckdb_free(line);
        *ret = c;
    }
    duckdb_destroy_result(&res);
    return rc;
}

/* ---- queries ---- */
static void add_dialect(const struct table_csv *c, const char *path, struct buf *sql)
{
    buf_addz(sql, "read_csv(");
    duck_quote(sql, path, '\'');
    buf_addf(sql, ", header = true, delim = '%c', quote = '\"', escape = '\"', comment = '', nullstr = " MISSING,
             c->separator);
}

void table_csv_source(const struct table_csv *c, const char *path, bool as_text, struct buf *sql)
{
    add_dialect(c, path, sql);
    buf_addf(sql, ", skip = 0, all_varchar = %s, sample_size = %d)", as_text ? "true" : "false",
             c->thorough ? -1 : SAMPLE_ROWS);
}

rc_t table_csv_check(const struct table_csv *c, struct duck *d, const char *path, struct err *e)
{
    CLEANUP(buf_done) struct buf sql = {0};
    duckdb_result res;
    buf_addz(&sql, "SELECT count(*) FROM (SELECT * FROM ");
    add_dialect(c, path, &sql);
    buf_addz(&sql, ", auto_detect = false, columns = {");
    for (size_t i = 0; i < c->n; i++)
        buf_addf(&sql, "%s'c%zu': 'VARCHAR'", i ? ", " : "", i);
    buf_addz(&sql, "})) t WHERE t IS NOT NULL"); /* a row is looked at only when it is used */
    rc_t rc = OK;
    if (duckdb_query(d->con, sql.data, &res) == DuckDBError)
        rc = table_complain(path, c, duckdb_result_error(&res), e);
    duckdb_destroy_result(&res);
    return rc;
}

void table_csv_point(const char *name, struct buf *sql)
{
    buf_addz(sql, "CASE WHEN regexp_full_match(");
    duck_quote(sql, name, '"');
    buf_addz(sql, ", " COMMA_NUMBER ") THEN replace(replace(");
    duck_quote(sql, name, '"');
    buf_addz(sql, ", '.', ''), ',', '.') ELSE ");
    duck_quote(sql, name, '"');
    buf_addz(sql, " END");
}

static void add_counts(const char *name, struct buf *sql)
{
    buf_addz(sql, "count(");
    duck_quote(sql, name, '"');
    buf_addz(sql, "), count(*) FILTER (regexp_full_match(");
    duck_quote(sql, name, '"');
    buf_addz(sql, ", " COMMA_NUMBER ")), count(*) FILTER (contains(");
    duck_quote(sql, name, '"');
    buf_addz(sql, ", ',')), count(*) FILTER (regexp_matches(");
    duck_quote(sql, name, '"');
    buf_addz(sql, ", " NO_THOUSANDS ")), ");
}

/* Of all rows, or of the first ones. */
static rc_t count_commas(const struct table_csv *c, struct duck *d, const char *path, const char *const *names,
                         size_t n, bool first, enum table_commas *ret, struct err *e)
{
    CLEANUP(buf_done) struct buf sql = {0};
    duckdb_result res;
    rc_t rc = OK;
    buf_addz(&sql, "SELECT ");
    for (size_t i = 0; i < n; i++)
        add_counts(names[i], &sql);
    buf_addz(&sql, "1 FROM (SELECT * FROM ");
    table_csv_source(c, path, true, &sql);
    if (first)
        buf_addf(&sql, " LIMIT %d", SAMPLE_ROWS);
    buf_addz(&sql, ")");
    if (duckdb_query(d->con, sql.data, &res) == DuckDBError)
        rc = table_complain(path, c, duckdb_result_error(&res), e);
    for (size_t i = 0; rc == OK && i < n; i++) {
        int64_t all = duckdb_value_int64(&res, 4 * i, 0), numbers = duckdb_value_int64(&res, 4 * i + 1, 0),
                commas = duckdb_value_int64(&res, 4 * i + 2, 0), sure = duckdb_value_int64(&res, 4 * i + 3, 0);
        ret[i] = TABLE_COMMAS_NONE;
        if (commas > 0 && 2 * numbers >= all && (c->separator == ';' || sure > 0))
            ret[i] = numbers == all ? TABLE_COMMAS_ALL : TABLE_COMMAS_MOST;
    }
    duckdb_destroy_result(&res);
    return rc;
}

/* A file that is not divided by semicolons seldom has any: its first rows tell. */
rc_t table_csv_commas(const struct table_csv *c, struct duck *d, const char *path, const char *const *names, size_t n,
                      enum table_commas *ret, struct err *e)
{
    bool any = c->separator == ';';
    memset(ret, 0, n * sizeof *ret);
    if (n == 0)
        return OK;
    rc_t rc = any ? OK : count_commas(c, d, path, names, n, true, ret, e);
    for (size_t i = 0; i < n; i++)
        any |= ret[i] != TABLE_COMMAS_NONE;
    return rc == OK && any ? count_commas(c, d, path, names, n, false, ret, e) : rc;
}

/* ---- words ---- */
/* DuckDB looks no further than the first field too many. */
static long fields_of(const struct table_csv *c, const char *words, const char *found)
{
    long n = strtol(found + 7, NULL, 10);
    const char *line = strstr(words, "Original Line: ");
    size_t counted = line ? count_outside(line + 15, c->separator) + 1 : 0;
    return (long)counted > n ? (long)counted : n;
}

rc_t table_not_utf8(const char *path, const char *encoding, struct err *e)
{
    return err_set(e, E_INVALID, "%s: it is not UTF-8; `iconv -f %s -t UTF-8 FILE > utf8.csv` makes it so", path, encoding);
}

rc_t table_complain(const char *path, const struct table_csv *csv, const char *words, struct err *e)
{
    const char *line = strstr(words, "Line: "), *at = strchr(words, ':'),
               *fields = strstr(words, "Expected Number of Columns: ");
    const char *found = fields ? strstr(fields, "Found: ") : NULL;
    if (csv && (strstr(words, "not utf-8 encoded") || strstr(words, "Invalid unicode")))
        return table_not_utf8(path, "WINDOWS-1252", e); /* what spreadsheets write most often */
    if (csv && line && found) {
        long n = fields_of(csv, words, found);
        return err_set(e, E_INVALID, "%s: line %ld: %ld field%s, %ld expected", path, strtol(line + 6, NULL, 10), n,
                       n == 1 ? "" : "s", strtol(fields + 28, NULL, 10));
    }
    if (line && strstr(words, "unterminated quote"))
        return err_set(e, E_INVALID, "%s: line %ld: a quote that does not end", path, strtol(line + 6, NULL, 10));
    if (line && strstr(words, "Maximum line size"))
        return err_set(e, E_INVALID, "%s: line %ld: a line of more than 2 MB; a quote may not end", path,
                       strtol(line + 6, NULL, 10));
    at = at ? at + 1 + (at[1] == ' ') : words;
    if (strncmp(at, "CSV Error on Line", 17) == 0 && strchr(at, '\n'))
        at = strchr(strchr(at, '\n') + 1, '\n') ? strchr(strchr(at, '\n') + 1, '\n') + 1 : at;
    int n = (int)strcspn(at, "\n");
    if (line)
        return err_set(e, E_INVALID, "%s: line %ld: %.*s", path, strtol(line + 6, NULL, 10), n, at);
    return err_set(e, E_INVALID, "%s: %.*s", path, n, at);
}
