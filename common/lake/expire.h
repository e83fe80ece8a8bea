/* Deleting the lake's files by whole days, once the manifest has no row of a day any more. Needs no DuckDB. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/rc.h"

/* Where a walk that ran out of time goes on: behind this project's and key's folder. {0}: at the start. */
struct lake_expiry {
    char project[256], key[256];
};
typedef rc_t lake_has_rows_fn(void *arg, int64_t day_us, bool *ret, struct err *e);
/* Deletes files of days that end by cutoff_us and that has_rows() denies, and folders that are empty then. Stops at deadline_us
 * (monotonic; *ret_more) and goes on there next time. A folder that is not the lake's own is left alone. E_AGAIN: a folder cannot
 * be read or written. */
rc_t lake_expire(struct lake_expiry *at, const char *root, int64_t cutoff_us, int64_t deadline_us,
                 lake_has_rows_fn *has_rows, void *arg, int64_t *ret_files, bool *ret_more, struct err *e) MUST_CHECK;
