/* The outbox: messages promised by a transaction. */
#include "base/mem.h"
#include "db/driver.h"
#include "db/window.h"

#define OUTBOX "project_id, topic, key, payload, traceparent, created_us"
enum { OUTBOX_COLS = 6 };

rc_t outbox_add(struct db *db, const struct outbox_row *rows, size_t n, struct err *e)
{
    CLEANUP(mem_freep) struct db_value *values = mem_array(n * OUTBOX_COLS, sizeof *values);
    for (size_t i = 0; i < n; i++) {
        const struct db_value row[OUTBOX_COLS] = {
            DBV_I64(rows[i].project_id), DBV_TEXT(rows[i].topic),       DBV_TEXT(rows[i].key),
            DBV_TEXT(rows[i].payload),   DBV_TEXT(rows[i].traceparent), DBV_I64(rows[i].created_us),
        };
        memcpy(&values[i * OUTBOX_COLS], row, sizeof row);
    }
    return db_copy(db, "outbox", OUTBOX, values, n, OUTBOX_COLS, e);
}

rc_t outbox_read(struct db *db, const struct str *without, size_t n_without, size_t limit, struct outbox_row **ret,
                 size_t *n, struct db_rows **ret_rows, struct err *e)
{
    struct db_rows *rows = NULL;
    CLEANUP(buf_done) struct buf sql = {0};
    CLEANUP(mem_freep) struct db_value *values = mem_array(n_without + 1, sizeof *values);
    buf_addz(&sql, "SELECT id, " OUTBOX " FROM outbox");
    values[0] = DBV_I64((int64_t)limit);
    for (size_t i = 0; i < n_without; i++) {
        buf_addf(&sql, "%s$%zu", i ? "," : " WHERE topic NOT IN (", i + 2);
        values[i + 1] = DBV_TEXT(without[i]);
    }
    buf_addf(&sql, "%s ORDER BY id LIMIT $1", n_without ? ")" : "");
    rc_t rc = db_exec(db, sql.data, values, n_without + 1, &rows, e);
    if (rc)
        return rc;
    *n = db_rows_n(rows);
    *ret = mem_array(*n, sizeof **ret);
    for (size_t i = 0; i < *n; i++)
        (*ret)[i] = (struct outbox_row){
            .id = db_i64(rows, i, 0),
            .project_id = DB_I32(rows, i, 1),
            .topic = db_text(rows, i, 2),
            .key = db_text(rows, i, 3),
            .payload = db_text(rows, i, 4),
            .traceparent = db_text(rows, i, 5),
            .created_us = db_i64(rows, i, 6),
        };
    *ret_rows = rows;
    return OK;
}

static rc_t delete_each(struct db *db, const int64_t *ids, size_t n, struct err *e)
{
    rc_t rc = OK;
    for (size_t i = 0; i < n && !rc; i++)
        rc = db_run(db, "DELETE FROM outbox WHERE id = $1", DB_PARAMS(DBV_I64(ids[i])), NULL, e);
    return rc;
}

rc_t outbox_delete(struct db *db, const int64_t *ids, size_t n, struct err *e)
{
    if (!n)
        return OK;
    if (!db->dialect->arrays) {
        bool own = false;
        rc_t rc = db_scope_begin(db, &own, e);
        return rc ? rc : db_scope_end(db, own, delete_each(db, ids, n, e), e);
    }
    CLEANUP(buf_done) struct buf list = {0};
    for (size_t i = 0; i < n; i++)
        buf_addf(&list, "%c%lld", i ? ',' : '{', (long long)ids[i]);
    buf_addc(&list, '}');
    return db_run(db, "DELETE FROM outbox WHERE id = ANY (CAST($1 AS bigint[]))", DB_PARAMS(DBV_TEXT(buf_str(&list))),
                  NULL, e);
}

rc_t outbox_depth(struct db *db, int64_t *ret_n, int64_t *ret_oldest_us, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_one(db, "SELECT count(*), COALESCE(min(created_us), 0) FROM outbox", NULL, 0, &rows, e);
    if (rc)
        return rc;
    *ret_n = db_i64(rows, 0, 0);
    *ret_oldest_us = db_i64(rows, 0, 1);
    return OK;
}
