/* Deleting the files of a uid that nothing owns any more, and the folders that are empty then. Needs no DuckDB. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/rc.h"
#include "base/str.h"

struct lake_found {   /* a file below a key's folder */
    const char *path; /* below the root, as in the manifest */
    int64_t hour_us;
    bool named; /* as the lake names its files; else the rest is not set */
    struct str topic;
    int32_t partition;
    int64_t start_offset, end_offset; /* ledger_keys */
};
enum lake_fate {
    LAKE_KEPT,
    LAKE_OPEN, /* its flush has not ended: nobody knows yet */
    LAKE_ORPHAN,
};
typedef rc_t lake_fate_fn(void *arg, const struct lake_found *f, enum lake_fate *ret, struct err *e);

struct lake_clearing {
    char behind[64];     /* the hour's folder to go on behind; "": from the start */
    int64_t files, open; /* deleted, left open: of this walk */
};
/* Goes through project's folder of the uid; stops at deadline_us (monotonic), *ret_more, and goes on there with the same
 * *at. E_AGAIN: a folder cannot be read or written, or root is not the lake (lake_root_check). */
rc_t lake_clear(struct lake_clearing *at, const char *root, const char *project, const char *uid, int64_t deadline_us,
                lake_fate_fn *fate, void *arg, bool *ret_more, struct err *e) MUST_CHECK;

/* E_AGAIN: root is not there, or has neither the project (NULL: not looked for) nor what every lake that was written to has: a
 * volume that is not mounted looks so. The words say what to do. */
rc_t lake_root_check(const char *root, const char *project, struct err *e) MUST_CHECK;
