/* One file's rows through DuckDB into Parquet. Internal to this folder. */
#pragma once
#include "lake/lake_duck.h"
#include "lake/lake_rows.h"

struct export
{
    struct duck duck;
    const struct lake_file *file; /* being written */
};
rc_t export_open(struct export *x, const struct lake_config *cfg, struct err *e) MUST_CHECK; /* x must not move afterwards */
void export_close(struct export *x);
/* E_AGAIN: not written; what may lie at path is the caller's to remove. */
rc_t export_write(struct export *x, const struct lake_file *f, const char *path, struct err *e) MUST_CHECK;
