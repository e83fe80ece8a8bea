/* One COPY over the files; columns that some of them lack are null there. */
#include "lake/copy.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>
#include "lake/lake_duck.h"

static const char *const forms[] = {
    [LAKE_CSV] = "FORMAT csv, HEADER true", [LAKE_PARQUET] = "FORMAT parquet", [LAKE_JSON] = "FORMAT json"};

static rc_t open_duck(struct duck *d, const struct lake_config *cfg, const char *to, struct err *e)
{
    CLEANUP(buf_done) struct buf sql = {0};
    rc_t rc = duck_open_bare(d, e);
    if (rc)
        return rc;
    buf_addz(&sql, "SET TimeZone = 'UTC'; SET allowed_directories = [");
    duck_quote(&sql, cfg->root, '\'');
    buf_addz(&sql, "]; SET allowed_paths = [");
    duck_quote(&sql, to, '\'');
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

rc_t lake_copy(const struct lake_config *cfg, const char *const *paths, size_t n, int64_t start_us, int64_t end_us,
               enum lake_form form, const char *to, int64_t *ret_rows, struct err *e)
{
    CLEANUP(buf_done) struct buf sql = {0}, files = {0};
    struct duck d = {0};
    duckdb_result res;
    buf_addz(&files, "read_parquet([");
    rc_t rc = add_files(&files, cfg, paths, n, e);
    buf_addz(&files, "], hive_partitioning = false, union_by_name = true)");
    if (rc == OK)
        rc = open_duck(&d, cfg, to, e);
    buf_addz(&sql, "COPY (SELECT *");
    if (rc == OK && form == LAKE_JSON)
        rc = add_nulls(&d, files.data, &sql, e);
    if (rc == OK) {
        buf_addf(&sql,
                 " FROM %s WHERE \"timestamp\" >= make_timestamptz(%" PRId64
                 ") AND \"timestamp\" < make_timestamptz(%" PRId64
                 ") ORDER BY \"timestamp\", modelmon_offset, modelmon_row) TO ",
                 files.data, start_us, end_us);
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
