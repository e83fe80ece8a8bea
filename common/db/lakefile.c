/* The lake's manifest and the dead letters. */
#include "db/lakefile.h"

#include "base/clock.h"
#include "base/mem.h"
#include "db/driver.h"

#define MANIFEST                                                                                                       \
    "project_id, endpoint_id, hour_us, topic, partition, start_offset, end_offset, schema_version, path, rows, "       \
    "bytes, "                                                                                                          \
    "min_us, max_us, sha256"
enum { MANIFEST_COLS = 15 };

static rc_t add(struct db *db, const char *stage, const char *table, const char *columns, const char *insert,
                const struct db_value *values, size_t n, size_t cols, struct err *e)
{
    if (!n)
        return OK;
    rc_t rc = db_stage(db, stage, table, e);
    if (!rc)
        rc = db_copy(db, stage, columns, values, n, cols, e);
    return rc ? rc : db_run(db, insert, NULL, 0, NULL, e);
}

rc_t manifest_add(struct db *db, const struct manifest_row *rows, size_t n, int64_t now_us, struct err *e)
{
    static const char insert[] = "INSERT INTO manifest (" MANIFEST ", created_us) SELECT " MANIFEST
                                 ", created_us FROM stage_manifest WHERE true ON CONFLICT DO NOTHING";
    CLEANUP(mem_freep) struct db_value *values = mem_array(n * MANIFEST_COLS, sizeof *values);
    for (size_t i = 0; i < n; i++) {
        const struct manifest_row *r = &rows[i];
        const struct db_value row[MANIFEST_COLS] = {
            DBV_I64(r->project_id), DBV_I64(r->endpoint_id),  DBV_I64(r->hour_us),    DBV_TEXT(r->topic),
            DBV_I64(r->partition),  DBV_I64(r->start_offset), DBV_I64(r->end_offset), DBV_I64(r->schema_version),
            DBV_TEXT(r->path),      DBV_I64(r->rows),         DBV_I64(r->bytes),      DBV_I64(r->min_us),
            DBV_I64(r->max_us),     DBV_TEXT(r->sha256),      DBV_I64(now_us),
        };
        memcpy(&values[i * MANIFEST_COLS], row, sizeof row);
    }
    return add(db, "stage_manifest", "manifest", MANIFEST ", created_us", insert, values, n, MANIFEST_COLS, e);
}

/* A file's rows are of its hour. */
rc_t manifest_files(struct db *db, int32_t project_id, int64_t endpoint_id, int64_t start_us, int64_t end_us,
                    struct manifest_row **ret, size_t *n, struct db_rows **ret_rows, struct err *e)
{
    struct db_rows *r = NULL;
    rc_t rc = db_exec(
        db,
        "SELECT " MANIFEST " FROM manifest WHERE project_id = $1 AND endpoint_id = $2 AND hour_us > $3 "
        "AND hour_us < $5 AND max_us >= $4 AND min_us < $5 ORDER BY hour_us, topic, partition, start_offset",
        DB_PARAMS(DBV_I64(project_id), DBV_I64(endpoint_id), DBV_I64(start_us - 3600 * USEC_PER_SEC), DBV_I64(start_us),
                  DBV_I64(end_us)),
        &r, e);
    if (rc)
        return rc;
    *n = db_rows_n(r);
    *ret = mem_array(*n, sizeof **ret);
    for (size_t i = 0; i < *n; i++)
        (*ret)[i] = (struct manifest_row){
            .project_id = DB_I32(r, i, 0),
            .endpoint_id = db_i64(r, i, 1),
            .hour_us = db_i64(r, i, 2),
            .topic = db_text(r, i, 3),
            .partition = DB_I32(r, i, 4),
            .start_offset = db_i64(r, i, 5),
            .end_offset = db_i64(r, i, 6),
            .schema_version = DB_I32(r, i, 7),
            .path = db_text(r, i, 8),
            .rows = db_i64(r, i, 9),
            .bytes = db_i64(r, i, 10),
            .min_us = db_i64(r, i, 11),
            .max_us = db_i64(r, i, 12),
            .sha256 = db_text(r, i, 13),
        };
    *ret_rows = r;
    return OK;
}

rc_t manifest_has_rows(struct db *db, int64_t start_us, int64_t end_us, bool *ret, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_one(db, "SELECT EXISTS (SELECT 1 FROM manifest WHERE hour_us >= $1 AND hour_us < $2)",
                     DB_PARAMS(DBV_I64(start_us), DBV_I64(end_us)), &rows, e);
    if (!rc)
        *ret = db_bool(rows, 0, 0);
    return rc;
}

rc_t manifest_has(struct db *db, int32_t project_id, int64_t endpoint_id, int64_t hour_us, struct str path, bool *ret,
                  struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_one(db,
                     "SELECT EXISTS (SELECT 1 FROM manifest WHERE project_id = $1 AND endpoint_id = $2 "
                     "AND hour_us = $3 AND path = $4)",
                     DB_PARAMS(DBV_I64(project_id), DBV_I64(endpoint_id), DBV_I64(hour_us), DBV_TEXT(path)), &rows, e);
    if (!rc)
        *ret = db_bool(rows, 0, 0);
    return rc;
}

/* --- dead letters --- */
#define LETTER                                                                                                         \
    "pipeline, topic, partition, \"offset\", at_us, project_id, endpoint_id, reason, field, position, error, "         \
    "payload, size, generation"
enum { LETTER_COLS = 14, PAYLOAD_MAX = 64 << 10 };

rc_t dead_letters_add(struct db *db, const struct dead_letter *rows, size_t n, struct err *e)
{
    static const char insert[] = "INSERT INTO dead_letters (" LETTER ") SELECT " LETTER
                                 " FROM stage_dead_letters WHERE true ON CONFLICT DO NOTHING";
    CLEANUP(mem_freep) struct db_value *values = mem_array(n * LETTER_COLS, sizeof *values);
    for (size_t i = 0; i < n; i++) {
        const struct dead_letter *r = &rows[i];
        struct str payload = {r->payload.p, r->payload.n < PAYLOAD_MAX ? r->payload.n : PAYLOAD_MAX};
        const struct db_value row[LETTER_COLS] = {
            DBV_TEXT(r->pipeline),   DBV_TEXT(r->topic),
            DBV_I64(r->partition),   DBV_I64(r->offset),
            DBV_I64(r->at_us),       DBV_I64(r->project_id),
            DBV_I64(r->endpoint_id), DBV_TEXT(r->reason),
            DBV_TEXT(r->field),      r->position < 0 ? DBV_NULL : DBV_I64(r->position),
            DBV_TEXT(r->error),      DBV_BYTES(payload),
            DBV_I64(r->size),        DBV_I64(r->generation),
        };
        memcpy(&values[i * LETTER_COLS], row, sizeof row);
    }
    return add(db, "stage_dead_letters", "dead_letters", LETTER, insert, values, n, LETTER_COLS, e);
}
