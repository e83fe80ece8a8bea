/* One query over one file. CSV types are sniffed from the first rows; where a later value says otherwise all rows are sniffed. */
#include "lake/table.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/mem.h"
#include "lake/table_csv.h"

struct lake_table {
    struct duck duck;
    char *path;
    bool is_csv;
    struct table_csv csv;
    struct lake_table_column *columns;
    enum table_commas *commas; /* of each column */
    size_t n;
};

/* Room for the columns of a batch. */
struct room {
    struct lake_column *cols;
    double **num;
    struct str **text;
    unsigned char **missing;
    unsigned char *none; /* zeroes: nothing is missing */
};

/* ---- opening ---- */
static rc_t look_at(const char *path, bool *ret_csv, struct err *e)
{
    struct stat st;
    char magic[4] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe nobody writes into would be waited for */
    if (fd < 0)
        return err_set(e, errno == ENOENT ? E_NOTFOUND : E_INVALID, "%s: %s", path, strerror(errno));
    bool regular = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    ssize_t n = regular ? read(fd, magic, sizeof magic) : 0;
    int why = errno;
    (void)close(fd); /* only read */
    if (!regular)
        return err_set(e, E_INVALID,
                       "%s: not a file; a pipe has to be written into one first, it is read more than once", path);
    if (n < 0)
        return err_set(e, E_INVALID, "%s: %s", path, strerror(why));
    if (n == 0)
        return err_set(e, E_INVALID, "%s: the file is empty", path);
    if (n >= 2 && (memcmp(magic, "\xFF\xFE", 2) == 0 || memcmp(magic, "\xFE\xFF", 2) == 0))
        return table_not_utf8(path, "UTF-16", e);
    *ret_csv = n < (ssize_t)sizeof magic || memcmp(magic, "PAR1", sizeof magic) != 0;
    return OK;
}

static void add_source(const struct lake_table *t, struct buf *sql)
{
    if (t->is_csv) {
        table_csv_source(&t->csv, t->path, false, sql);
        return;
    }
    buf_addz(sql, "read_parquet(");
    duck_quote(sql, t->path, '\'');
    buf_addz(sql, ", hive_partitioning = false)");
}

static rc_t complain(const struct lake_table *t, const char *words, struct err *e)
{
    return table_complain(t->path, t->is_csv ? &t->csv : NULL, words, e);
}

static enum column_type type_of(duckdb_type type)
{
    switch (type) {
    case DUCKDB_TYPE_BOOLEAN:
        return COLUMN_BOOL;
    case DUCKDB_TYPE_TINYINT:
    case DUCKDB_TYPE_SMALLINT:
    case DUCKDB_TYPE_INTEGER:
    case DUCKDB_TYPE_BIGINT:
    case DUCKDB_TYPE_UTINYINT:
    case DUCKDB_TYPE_USMALLINT:
    case DUCKDB_TYPE_UINTEGER:
    case DUCKDB_TYPE_UBIGINT:
    case DUCKDB_TYPE_HUGEINT:
    case DUCKDB_TYPE_UHUGEINT:
    case DUCKDB_TYPE_FLOAT:
    case DUCKDB_TYPE_DOUBLE:
    case DUCKDB_TYPE_DECIMAL:
        return COLUMN_NUMBER;
    default:
        return COLUMN_STRING;
    }
}

static void forget_columns(struct lake_table *t)
{
    for (size_t i = 0; i < t->n; i++)
        mem_free((void *)(uintptr_t)t->columns[i].name);
    mem_free(t->columns);
    mem_free(t->commas);
    t->columns = NULL;
    t->commas = NULL;
    t->n = 0;
}

/* Columns of text that are numbers with decimal commas. */
static rc_t find_commas(struct lake_table *t, struct err *e)
{
    const char **names = mem_array(t->n + 1, sizeof *names);
    enum table_commas *commas = mem_array(t->n + 1, sizeof *commas);
    size_t n = 0, at = 0;
    for (size_t i = 0; i < t->n; i++)
        if (t->columns[i].type == COLUMN_STRING)
            names[n++] = t->columns[i].name;
    rc_t rc = table_csv_commas(&t->csv, &t->duck, t->path, names, n, commas, e);
    for (size_t i = 0; rc == OK && i < t->n; i++) {
        t->commas[i] = t->columns[i].type == COLUMN_STRING ? commas[at++] : TABLE_COMMAS_NONE;
        if (t->commas[i] == TABLE_COMMAS_ALL)
            t->columns[i].type = COLUMN_NUMBER;
    }
    mem_free(names);
    mem_free(commas);
    return rc;
}

/* Why DuckDB could not say what the columns are: the line that is wrong, when one is. */
static rc_t explain(struct lake_table *t, const char *words, struct err *e)
{
    rc_t rc = t->is_csv ? table_csv_check(&t->csv, &t->duck, t->path, e) : OK;
    return rc ? rc : complain(t, words, e);
}

static rc_t describe(struct lake_table *t, struct err *e)
{
    CLEANUP(buf_done) struct buf sql = {0};
    duckdb_result res;
    buf_addz(&sql, "SELECT * FROM ");
    add_source(t, &sql);
    buf_addz(&sql, " LIMIT 0");
    rc_t rc = OK;
    forget_columns(t);
    if (duckdb_query(t->duck.con, sql.data, &res) == DuckDBError) {
        rc = explain(t, duckdb_result_error(&res), e);
    } else {
        t->n = duckdb_column_count(&res);
        t->columns = mem_array(t->n + 1, sizeof *t->columns);
        t->commas = mem_array(t->n + 1, sizeof *t->commas);
        for (size_t i = 0; i < t->n; i++)
            t->columns[i] = (struct lake_table_column){mem_dupz(duckdb_column_name(&res, i)),
                                                       type_of(duckdb_column_type(&res, i))};
    }
    duckdb_destroy_result(&res);
    return rc == OK && t->is_csv ? find_commas(t, e) : rc;
}

static bool is_number(const char *text)
{
    char *end;
    (void)strtod(text, &end);
    return end != text && *end == '\0';
}

/* A file without a header would have its first row for names. */
static rc_t check_names(const struct lake_table *t, struct err *e)
{
    size_t numbers = 0;
    for (size_t i = 0; i < t->n; i++)
        numbers += is_number(t->columns[i].name);
    if (t->is_csv && t->n && numbers == t->n)
        return err_set(e, E_INVALID, "%s: line 1: %s is a value, the names of the columns are wanted there", t->path,
                       t->columns[0].name);
    return OK;
}

static rc_t open_duck(struct lake_table *t, struct err *e)
{
    CLEANUP(buf_done) struct buf sql = {0};
    rc_t rc = duck_open_bare(&t->duck, e);
    if (rc)
        return rc;
    buf_addz(&sql, "SET allowed_paths = [");
    duck_quote(&sql, t->path, '\'');
    buf_addz(&sql, "]; SET enable_external_access = false; SET preserve_insertion_order = true; "
                   "SET enable_progress_bar = false; SET lock_configuration = true");
    return duck_run(&t->duck, sql.data, e);
}

rc_t lake_table_open(struct lake_table **ret, const char *path, struct err *e)
{
    bool csv = false;
    rc_t rc = look_at(path, &csv, e);
    if (rc)
        return rc;
    struct lake_table *t = mem_alloc(sizeof *t);
    char *whole = realpath(path, NULL);
    t->is_csv = csv;
    t->path = mem_dupz(whole ? whole : path);
    free(whole);
    rc = open_duck(t, e);
    if (rc == OK && csv)
        rc = table_csv_look(&t->csv, &t->duck, t->path, e);
    if (rc == OK)
        rc = describe(t, e);
    if (rc == OK)
        rc = check_names(t, e);
    if (rc) {
        lake_table_free(t);
        return rc;
    }
    *ret = t;
    return OK;
}

void lake_table_free(struct lake_table *t)
{
    if (t == NULL)
        return;
    duck_close(&t->duck);
    forget_columns(t);
    mem_free(t->path);
    mem_free(t);
}

bool lake_table_is_csv(const struct lake_table *t)
{
    return t->is_csv;
}

size_t lake_table_columns(const struct lake_table *t, const struct lake_table_column **ret)
{
    *ret = t->columns;
    return t->n;
}

size_t lake_table_find(const struct lake_table *t, const char *name)
{
    size_t i = 0;
    while (i < t->n && strcmp(t->columns[i].name, name) != 0)
        i++;
    return i;
}

/* ---- reading ---- */
size_t lake_table_count(const struct lake_table *t)
{
    CLEANUP(buf_done) struct buf sql = {0};
    duckdb_result res;
    buf_addz(&sql, "SELECT count(*) FROM ");
    add_source(t, &sql);
    size_t rows = duckdb_query(t->duck.con, sql.data, &res) == DuckDBError ? 0 : (size_t)duckdb_value_int64(&res, 0, 0);
    duckdb_destroy_result(&res);
    return rows;
}

static void make_query(const struct lake_table *t, struct buf *sql)
{
    buf_addz(sql, "SELECT ");
    for (size_t i = 0; i < t->n; i++) {
        buf_addz(sql, i ? ", CAST(" : "CAST(");
        if (t->commas[i] == TABLE_COMMAS_NONE)
            duck_quote(sql, t->columns[i].name, '"');
        else
            table_csv_point(t->columns[i].name, sql);
        buf_addf(sql, " AS %s)", column_is_double(t->columns[i].type) ? "DOUBLE" : "VARCHAR");
    }
    buf_addz(sql, " FROM ");
    add_source(t, sql);
}

static struct room room_new(size_t n, size_t rows)
{
    struct room m = {mem_array(n + 1, sizeof *m.cols), mem_array(n + 1, sizeof *m.num),
                     mem_array(n + 1, sizeof *m.text), mem_array(n + 1, sizeof *m.missing), mem_array(rows, 1)};
    for (size_t i = 0; i < n; i++) {
        m.num[i] = mem_array(rows, sizeof **m.num);
        m.text[i] = mem_array(rows, sizeof **m.text);
        m.missing[i] = mem_array(rows, 1);
    }
    return m;
}

static void room_done(struct room *m, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        mem_free(m->num[i]);
        mem_free(m->text[i]);
        mem_free(m->missing[i]);
    }
    mem_free(m->cols);
    mem_free(m->num);
    mem_free(m->text);
    mem_free(m->missing);
    mem_free(m->none);
}

static void take_missing(struct room *m, size_t i, const uint64_t *validity, idx_t rows)
{
    m->cols[i].missing = validity ? m->missing[i] : m->none;
    for (idx_t k = 0; validity && k < rows; k++)
        m->missing[i][k] = !((validity[k / 64] >> (k % 64)) & 1);
}

static void take_numbers(struct room *m, size_t i, duckdb_vector v, idx_t rows)
{
    const double *from = duckdb_vector_get_data(v);
    m->cols[i].num = from; /* as they lie there, where none is missing */
    if (m->cols[i].missing == m->none)
        return;
    for (idx_t k = 0; k < rows; k++)
        m->num[i][k] = m->missing[i][k] ? NAN : from[k];
    m->cols[i].num = m->num[i];
}

static void take_texts(struct room *m, size_t i, duckdb_vector v, idx_t rows)
{
    duckdb_string_t *from = duckdb_vector_get_data(v);
    for (idx_t k = 0; k < rows; k++)
        m->text[i][k] = m->cols[i].missing[k]
                            ? (struct str){"", 0}
                            : (struct str){duckdb_string_t_data(&from[k]), duckdb_string_t_length(from[k])};
    m->cols[i].text = m->text[i];
}

static rc_t give(const struct lake_table *t, duckdb_data_chunk chunk, struct room *m, lake_batch_fn *fn, void *arg,
                 struct err *e)
{
    idx_t rows = duckdb_data_chunk_get_size(chunk);
    for (size_t i = 0; i < t->n; i++) {
        duckdb_vector v = duckdb_data_chunk_get_vector(chunk, i);
        m->cols[i] = (struct lake_column){.type = t->columns[i].type};
        take_missing(m, i, duckdb_vector_get_validity(v), rows);
        if (column_is_double(t->columns[i].type))
            take_numbers(m, i, v, rows);
        else
            take_texts(m, i, v, rows);
    }
    struct lake_batch b = {rows, t->n, m->cols, NULL};
    return rows ? fn(arg, &b, e) : OK;
}

/* A later value does not fit the types that the first rows had: the types of all rows are wanted. */
static rc_t settle(struct lake_table *t, const char *words, struct err *e)
{
    if (!t->is_csv || t->csv.thorough)
        return complain(t, words, e);
    t->csv.thorough = true;
    rc_t rc = describe(t, e);
    return rc ? rc : err_set(e, E_AGAIN, "%s: the columns are of other types than its first rows", t->path);
}

static rc_t fetch(struct lake_table *t, duckdb_result res, lake_batch_fn *fn, void *arg, struct err *e)
{
    struct room m = room_new(t->n, duckdb_vector_size());
    size_t n = t->n;
    rc_t rc = OK;
    for (duckdb_data_chunk chunk; !rc && (chunk = duckdb_fetch_chunk(res));) {
        rc = give(t, chunk, &m, fn, arg, e);
        duckdb_destroy_data_chunk(&chunk);
    }
    room_done(&m, n);
    const char *words = rc ? NULL : duckdb_result_error(&res);
    return words && *words ? settle(t, words, e) : rc;
}

rc_t lake_table_read(struct lake_table *t, lake_batch_fn *fn, void *arg, struct err *e)
{
    CLEANUP(buf_done) struct buf sql = {0};
    duckdb_prepared_statement st = NULL;
    duckdb_result res;
    rc_t rc = OK;
    make_query(t, &sql);
    if (duckdb_prepare(t->duck.con, sql.data, &st) == DuckDBError) {
        rc = complain(t, duckdb_prepare_error(st), e);
    } else {
        if (duckdb_execute_prepared_streaming(st, &res) == DuckDBError)
            rc = settle(t, duckdb_result_error(&res), e);
        else
            rc = fetch(t, res, fn, arg, e);
        duckdb_destroy_result(&res);
    }
    duckdb_destroy_prepare(&st);
    return rc;
}
