/* DuckDB, opened for one thread and shut off from everything but LAKE_DIR. Internal to this folder. */
#pragma once
#include <duckdb.h>
#include "base/buf.h"
#include "base/rc.h"
#include "lake/lake.h"

struct duck {
    duckdb_database db;
    duckdb_connection con;
};
rc_t duck_open(struct duck *ret, const struct lake_config *cfg, struct err *e) MUST_CHECK;
rc_t duck_open_bare(struct duck *ret, struct err *e) MUST_CHECK; /* not shut off yet: the caller says from what */
void duck_close(struct duck *d);                                 /* {0} is fine */
rc_t duck_run(struct duck *d, const char *sql, struct err *e) MUST_CHECK; /* E_AGAIN with DuckDB's words */
void duck_quote(struct buf *b, const char *text, char quote);             /* 'it''s' or "a ""b""" */

/* Columns beside a schema's: what MLRun writes, ours, and the path's. */
bool lake_is_reserved(struct str name);
bool column_is_double(enum column_type type);
