/* The manifest of the lake and the dead letters: rows that a pipeline writes with its ledger. Offsets of the manifest are
 * ledger_key's. */
#pragma once
#include "db/db.h"

struct manifest_row {
    int32_t project_id, partition;
    int64_t endpoint_id, hour_us, start_offset, end_offset, rows, bytes, min_us, max_us;
    int schema_version;
    struct str topic, path, sha256;
};
rc_t manifest_add(struct db *db, const struct manifest_row *rows, size_t n, int64_t now_us,
                  struct err *e) MUST_CHECK; /* a repeat changes nothing */
/* Files that may hold rows of [start, end) of an endpoint. Strings borrowed from *ret_rows. */
rc_t manifest_files(struct db *db, int32_t project_id, int64_t endpoint_id, int64_t start_us, int64_t end_us,
                    struct manifest_row **ret, size_t *n, struct db_rows **ret_rows, struct err *e) MUST_CHECK;
/* Whether anybody has a file of an hour in [start, end). */
rc_t manifest_has_rows(struct db *db, int64_t start_us, int64_t end_us, bool *ret, struct err *e) MUST_CHECK;
/* Whether the endpoint has this file, of this hour. */
rc_t manifest_has(struct db *db, int32_t project_id, int64_t endpoint_id, int64_t hour_us, struct str path, bool *ret,
                  struct err *e) MUST_CHECK;

struct dead_letter {
    int32_t project_id, partition;
    struct str pipeline, topic, reason, field, error, payload;
    int64_t offset, at_us, position /* -1: none */, size;
    int64_t endpoint_id; /* 0: not known */
    int32_t generation;  /* of the log that offset is of */
};
rc_t dead_letters_add(struct db *db, const struct dead_letter *rows, size_t n, struct err *e) MUST_CHECK; /* ON CONFLICT nothing */
