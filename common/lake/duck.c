/* DuckDB: one database in memory a writer or reader, one thread, no files but the lake's, no extensions from outside. */
#include <stdio.h>
#include "lake/lake_duck.h"

void duck_quote(struct buf *b, const char *text, char quote)
{
    buf_addc(b, quote);
    for (; *text; text++) {
        if (*text == quote)
            buf_addc(b, quote);
        buf_addc(b, *text);
    }
    buf_addc(b, quote);
}

rc_t duck_run(struct duck *d, const char *sql, struct err *e)
{
    duckdb_result res;
    rc_t rc = OK;
    if (duckdb_query(d->con, sql, &res) == DuckDBError)
        rc = err_set(e, E_AGAIN, "DuckDB: %s", duckdb_result_error(&res));
    duckdb_destroy_result(&res);
    return rc;
}

static rc_t open_database(struct duck *d, int64_t memory_bytes, struct err *e)
{
    /* The limit is a fence, not a budget: what a file needs is about its rows again. */
    char limit[32];
    int64_t mib = memory_bytes / (1 << 20) * 4;
    (void)snprintf(limit, sizeof limit, "%lldMiB", (long long)(mib > 1024 ? mib : 1024));
    const char *const options[][2] = {
        {"threads", "1"},
        {"memory_limit", limit},
        {"temp_directory", ""},
        {"autoinstall_known_extensions", "false"},
        {"autoload_known_extensions", "false"},
    };
    duckdb_config conf = NULL;
    char *words = NULL;
    rc_t rc = duckdb_create_config(&conf) == DuckDBError ? err_set(e, E_AGAIN, "DuckDB: no configuration") : OK;
    for (size_t i = 0; !rc && i < sizeof options / sizeof *options; i++)
        if (duckdb_set_config(conf, options[i][0], options[i][1]) == DuckDBError)
            rc = err_set(e, E_AGAIN, "DuckDB: option %s", options[i][0]);
    if (!rc && duckdb_open_ext(NULL, &d->db, conf, &words) == DuckDBError)
        rc = err_set(e, E_AGAIN, "DuckDB: %s", words ? words : "cannot open");
    if (words)
        duckdb_free(words);
    duckdb_destroy_config(&conf);
    if (!rc && duckdb_connect(d->db, &d->con) == DuckDBError)
        rc = err_set(e, E_AGAIN, "DuckDB: cannot connect");
    return rc;
}

rc_t duck_open(struct duck *ret, const struct lake_config *cfg, struct err *e)
{
    CLEANUP(buf_done) struct buf sql = {0};
    struct duck d = {0};
    rc_t rc = open_database(&d, cfg->memory_bytes, e);
    if (!rc) {
        buf_addz(&sql, "SET allowed_directories = [");
        duck_quote(&sql, cfg->root, '\'');
        buf_addz(&sql, "]; SET enable_external_access = false; SET preserve_insertion_order = true; "
                       "SET enable_progress_bar = false; SET lock_configuration = true");
        rc = duck_run(&d, sql.data, e);
    }
    if (rc) {
        duck_close(&d);
        return rc;
    }
    *ret = d;
    return OK;
}

rc_t duck_open_bare(struct duck *ret, struct err *e)
{
    struct duck d = {0};
    rc_t rc = open_database(&d, 0, e);
    if (rc)
        duck_close(&d);
    else
        *ret = d;
    return rc;
}

void duck_close(struct duck *d)
{
    if (d->con)
        duckdb_disconnect(&d->con);
    if (d->db)
        duckdb_close(&d->db);
}
