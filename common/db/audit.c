/* The audit log in the database. */
#include "db/audit.h"

#include "base/mem.h"
#include "db/driver.h"

#define COLUMNS "at_us, who, address, action, target, project, status"

static struct str text(struct str s)
{
    return s.p ? s : STR("");
}

rc_t audit_add(struct db *db, const struct audit_row *row, struct err *e)
{
    return db_run(db, "INSERT INTO audit_log (" COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, $7)",
                  DB_PARAMS(DBV_I64(row->at_us), DBV_TEXT(text(row->who)), DBV_TEXT(text(row->address)),
                            DBV_TEXT(text(row->action)), DBV_TEXT(text(row->target)), DBV_TEXT(text(row->project)),
                            DBV_I64(row->status)),
                  NULL, e);
}

rc_t audit_list(struct db *db, const struct audit_filter *f, struct audit_row **ret, size_t *n,
                struct db_rows **ret_rows, struct err *e)
{
    struct db_rows *r = NULL;
    rc_t rc = db_exec(db,
                      "SELECT id, " COLUMNS
                      " FROM audit_log WHERE ($1 = '' OR who = $1) AND ($2 = '' OR project = $2) AND "
                      "at_us >= $3 AND ($4 = 0 OR id < $4) ORDER BY id DESC LIMIT $5",
                      DB_PARAMS(DBV_TEXT(text(f->who)), DBV_TEXT(text(f->project)), DBV_I64(f->since_us),
                                DBV_I64(f->before), DBV_I64(f->limit)),
                      &r, e);
    if (rc)
        return rc;
    *n = db_rows_n(r);
    *ret = mem_array(*n + 1, sizeof **ret);
    for (size_t i = 0; i < *n; i++)
        (*ret)[i] = (struct audit_row){.id = db_i64(r, i, 0),
                                       .at_us = db_i64(r, i, 1),
                                       .who = db_text(r, i, 2),
                                       .address = db_text(r, i, 3),
                                       .action = db_text(r, i, 4),
                                       .target = db_text(r, i, 5),
                                       .project = db_text(r, i, 6),
                                       .status = (int)db_i64(r, i, 7)};
    *ret_rows = r;
    return OK;
}

rc_t audit_expire(struct db *db, int64_t before_us, int64_t *ret, struct err *e)
{
    return db_run(db, "DELETE FROM audit_log WHERE id IN (SELECT id FROM audit_log WHERE at_us < $1 ORDER BY at_us LIMIT $2)",
                  DB_PARAMS(DBV_I64(before_us), DBV_I64(AUDIT_EXPIRE_MAX)), ret, e);
}
