/* One COPY over the files; columns that some of them lack are null there. */
#include "lake/copy.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>
#include "lake/lake_duck.h"

static const char *const forms[] = {
    [LAKE_CSV] = "FORMAT csv, HEADER true", [LAKE_PARQUET] = "FORMAT parquet", [LAKE_JSON] = "FORMAT json"};

static rc_t open_duck(struct duck *d, const struct lake_config *cfg, const struct lake_labels *labels, const char *to,
                      struct err *e)
{
    CLEANUP(buf_done) struct buf sql = {0};
    rc_t rc = duck_open_bare(d, e);
    if (rc)
        return rc;
    buf_addz(&sql, "SET TimeZone = 'UTC'; SET allowed_directories = [");
    duck_quote(&sql, cfg->root, '\'');
    buf_addz(&sql, "]; SET allowed_paths = [");
    duck_quote(&sql, to, '\'');
    if (labels) {
        buf_addz(&sql, ", ");
        duck_quote(&sql, labels->path, '\'');
    }
    buf_addz(&sql,
             "]; SET enable_external_access = false; SET enable_progress_bar = false; SET lock_configuration = true");
    return duck_run(d, sql.data, e);
}

static rc_t add_files(struct buf *sql, const struct lake_config *cfg, const char *const *paths, size_t n, struct err *e)
{
    for (size_t i = 0; i < n; i++) {
        CLEANUP(buf_done) struct buf whole = {0};
        buf_addf(&whole, "%s/%s", cfg->root, paths[i]);
        if (access(whole.data, R_OK) != 0)
            return err_set(e, E_NOTFOUND, "the lake's file %s: %s", paths[i], strerror(errno));
        buf_addz(sql, i ? ", " : "");
        duck_quote(sql, whole.data, '\'');
    }
    return OK;
}

/* ", isfinite each column of numbers or null": JSON has no other word for what is no number. */
static rc_t add_nulls(struct duck *d, const char *files, struct buf *sql, struct err *e)
{
    CLEANUP(buf_done) struct buf look = {0};
    duckdb_result res;
    rc_t rc = OK;
    size_t n = 0;
    buf_addf(&look, "SELECT * FROM %s LIMIT 0", files);
    if (duckdb_query(d->con, look.data, &res) == DuckDBError)
        rc = err_set(e, E_INVALID, "%s", duckdb_result_error(&res));
    for (idx_t i = 0; rc == OK && i < duckdb_column_count(&res); i++) {
        const duckdb_type type = duckdb_column_type(&res, i);
        if (type != DUCKDB_TYPE_DOUBLE && type != DUCKDB_TYPE_FLOAT)
            continue;
        const char *name = duckdb_column_name(&res, i);
        buf_addz(sql, n++ ? ", CASE WHEN isfinite(" : " REPLACE (CASE WHEN isfinite(");
        duck_quote(sql, name, '"');
        buf_addz(sql, ") THEN ");
        duck_quote(sql, name, '"');
        buf_addz(sql, " END AS ");
        duck_quote(sql, name, '"');
    }
    buf_addz(sql, n ? ")" : "");
    duckdb_destroy_result(&res);
    return rc;
}

/* "WITH found AS (the rows), said AS (a label a request)". */
static rc_t add_tables(struct duck *d, const char *files, int64_t start_us, int64_t end_us,
                       const struct lake_labels *labels, bool nulls, struct buf *sql, struct err *e)
{
    buf_addz(sql, "WITH found AS (SELECT *");
    rc_t rc = nulls ? add_nulls(d, files, sql, e) : OK;
    buf_addf(sql,
             " FROM %s WHERE \"timestamp\" >= make_timestamptz(%" PRId64
             ") AND \"timestamp\" < make_timestamptz(%" PRId64 "))",
             files, start_us, end_us);
    if (labels) {
        buf_addz(sql, ", said AS (SELECT r, arg_max(l, w) AS l, max(w) AS w FROM read_json(");
        duck_quote(sql, labels->path, '\'');
        buf_addz(sql,
                 ", format = 'newline_delimited', columns = {r: 'VARCHAR', w: 'BIGINT', l: 'VARCHAR'}) GROUP BY r)");
    }
    return rc;
}

static void add_select(const struct lake_labels *labels, struct buf *sql)
{
    buf_addz(sql, " SELECT found.*");
    if (labels)
        buf_addz(sql,
                 ", json_extract_string(said.l, CASE WHEN json_type(said.l) = 'ARRAY' AND json_array_length(said.l) = "
                 "count(*) OVER (PARTITION BY found.request_id, found.\"timestamp\") THEN '$[' || "
                 "found.modelmon_row || ']' ELSE '$' END) AS modelmon_label, make_timestamptz(said.w) AS "
                 "modelmon_label_when");
    buf_addz(sql, " FROM found");
    if (labels)
        buf_addz(sql, " LEFT JOIN said ON said.r = found.request_id");
    buf_addz(sql, " ORDER BY found.\"timestamp\", found.modelmon_offset, found.modelmon_row");
}

static rc_t count_labels(struct duck *d, const char *tables, struct lake_labels *labels, struct err *e)
{
    CLEANUP(buf_done) struct buf sql = {0};
    duckdb_result res;
    rc_t rc = OK;
    buf_addf(
        &sql,
        "%s SELECT (SELECT count(*) FROM found WHERE request_id IN (SELECT r FROM said)), (SELECT count(*) FROM said "
        "WHERE r NOT IN (SELECT request_id FROM found WHERE request_id IS NOT NULL))",
        tables);
    if (duckdb_query(d->con, sql.data, &res) == DuckDBError) {
        rc = err_set(e, E_INVALID, "%s", duckdb_result_error(&res));
    } else {
        labels->rows = duckdb_value_int64(&res, 0, 0);
        labels->unknown = duckdb_value_int64(&res, 1, 0);
    }
    duckdb_destroy_result(&res);
    return rc;
}

rc_t lake_copy(const struct lake_config *cfg, const char *const *paths, size_t n, int64_t start_us, int64_t end_us,
               struct lake_labels *labels, enum lake_form form, const char *to, int64_t *ret_rows, struct err *e)
{
    CLEANUP(buf_done) struct buf sql = {0}, files = {0}, tables = {0};
    struct duck d = {0};
    duckdb_result res;
    buf_addz(&files, "read_parquet([");
    rc_t rc = add_files(&files, cfg, paths, n, e);
    buf_addz(&files, "], hive_partitioning = false, union_by_name = true)");
    if (rc == OK)
        rc = open_duck(&d, cfg, labels, to, e);
    if (rc == OK)
        rc = add_tables(&d, files.data, start_us, end_us, labels, form == LAKE_JSON, &tables, e);
    if (rc == OK && labels)
        rc = count_labels(&d, tables.data, labels, e);
    if (rc == OK) {
        buf_addf(&sql, "COPY (%s", tables.data);
        add_select(labels, &sql);
        buf_addz(&sql, ") TO ");
        duck_quote(&sql, to, '\'');
        buf_addf(&sql, " (%s, USE_TMP_FILE false)", forms[form]);
        if (duckdb_query(d.con, sql.data, &res) == DuckDBError)
            rc = err_set(e, E_INVALID, "%s", duckdb_result_error(&res));
        else
            *ret_rows = (int64_t)duckdb_rows_changed(&res);
        duckdb_destroy_result(&res);
    }
    duck_close(&d);
    return rc;
}
