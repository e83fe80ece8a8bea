/* The table of labels. */
#include "db/label.h"

#include <string.h>

#include "base/mem.h"

#define LABEL "project_id, request_id, endpoint_uid, when_us, label, written_us"
enum { LABEL_COLS = 6 };

static rc_t write_staged(struct db *db, const struct db_value *values, size_t n, struct err *e)
{
    rc_t rc = db_stage(db, "stage_labels", "labels", e);
    if (!rc)
        rc = db_copy(db, "stage_labels", LABEL, values, n, LABEL_COLS, e);
    struct db_rows *none = NULL;
    if (!rc)
        rc = db_exec(db, "INSERT INTO labels (" LABEL ") SELECT " LABEL " FROM stage_labels WHERE true ON CONFLICT DO NOTHING",
                     NULL, 0, &none, e);
    db_rows_free(none);
    return rc;
}

rc_t labels_add(struct db *db, const struct label_row *rows, size_t n, int64_t now_us, struct err *e)
{
    if (!n)
        return OK;
    CLEANUP(mem_freep) struct db_value *values = mem_array(n * LABEL_COLS, sizeof *values);
    for (size_t i = 0; i < n; i++) {
        struct str uid = rows[i].endpoint_uid.p ? rows[i].endpoint_uid : STR("");
        const struct db_value row[LABEL_COLS] = {
            DBV_I64(rows[i].project_id), DBV_TEXT(rows[i].request_id), DBV_TEXT(uid),
            DBV_I64(rows[i].when_us),    DBV_TEXT(rows[i].label),      DBV_I64(now_us)};
        memcpy(&values[i * LABEL_COLS], row, sizeof row);
    }
    return write_staged(db, values, n, e);
}

static void take(struct db_rows *r, struct label_row **ret, size_t *n, struct db_rows **ret_rows)
{
    *n = db_rows_n(r);
    *ret = mem_array(*n + 1, sizeof **ret);
    for (size_t i = 0; i < *n; i++)
        (*ret)[i] = (struct label_row){.project_id = (int32_t)db_i64(r, i, 0),
                                       .request_id = db_text(r, i, 1),
                                       .endpoint_uid = db_text(r, i, 2),
                                       .when_us = db_i64(r, i, 3),
                                       .label = db_text(r, i, 4)};
    *ret_rows = r;
}

rc_t labels_page(struct db *db, int32_t project_id, const struct str uids[LABEL_UIDS], struct str after, size_t limit,
                 struct label_row **ret, size_t *n, struct db_rows **ret_rows, struct err *e)
{
    const struct db_value params[] = {DBV_I64(project_id), DBV_TEXT(uids[0]), DBV_TEXT(uids[1]),
                                      DBV_TEXT(uids[2]),   DBV_TEXT(after),   DBV_I64((int64_t)limit)};
    struct db_rows *r = NULL;
    rc_t rc = db_exec(db,
                      "SELECT " LABEL
                      " FROM labels l WHERE project_id = $1 AND endpoint_uid IN ('', $2, $3, $4) AND request_id > $5"
                      " AND when_us = (SELECT max(when_us) FROM labels m WHERE m.project_id = l.project_id"
                      "  AND m.request_id = l.request_id AND m.endpoint_uid IN ('', $2, $3, $4))"
                      " ORDER BY request_id, endpoint_uid DESC LIMIT $6",
                      params, 6, &r, e);
    if (rc == OK)
        take(r, ret, n, ret_rows);
    return rc;
}

rc_t labels_of(struct db *db, int32_t project_id, struct str request_id, struct label_row **ret, size_t *n,
               struct db_rows **ret_rows, struct err *e)
{
    const struct db_value params[] = {DBV_I64(project_id), DBV_TEXT(request_id)};
    struct db_rows *r = NULL;
    rc_t rc = db_exec(
        db, "SELECT " LABEL " FROM labels WHERE project_id = $1 AND request_id = $2 ORDER BY when_us DESC, endpoint_uid",
        params, 2, &r, e);
    if (rc)
        return rc;
    take(r, ret, n, ret_rows);
    return OK;
}
