/* The record of operators' decisions. */
#include "db/operator.h"

#include "base/clock.h"
#include "base/mem.h"
#include "db/driver.h"

#define COLUMNS "at_us, who, action, pipeline, topic, partition, from_offset, to_offset, letter_us, detail"

rc_t operator_action_add(struct db *db, const struct operator_action *a, struct err *e)
{
    return db_run(db, "INSERT INTO operator_actions (" COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, NULLIF($9, 0), $10)",
                  DB_PARAMS(DBV_I64(clock_now_us()), DBV_TEXT(a->who), DBV_TEXT(a->action), DBV_TEXT(a->pipeline),
                            DBV_TEXT(a->topic), DBV_I64(a->partition), DBV_I64(a->from_offset), DBV_I64(a->to_offset),
                            DBV_I64(a->letter_us), DBV_TEXT(a->detail)),
                  NULL, e);
}

rc_t operator_actions_list(struct db *db, int64_t limit, struct operator_action **ret, size_t *n,
                           struct db_rows **ret_rows, struct err *e)
{
    struct db_rows *r = NULL;
    rc_t rc = db_exec(db, "SELECT " COLUMNS " FROM operator_actions ORDER BY id DESC LIMIT $1",
                      DB_PARAMS(DBV_I64(limit)), &r, e);
    if (rc)
        return rc;
    *n = db_rows_n(r);
    *ret = mem_array(*n + 1, sizeof **ret);
    for (size_t i = 0; i < *n; i++)
        (*ret)[i] = (struct operator_action){.at_us = db_i64(r, i, 0),
                                             .who = db_text(r, i, 1),
                                             .action = db_text(r, i, 2),
                                             .pipeline = db_text(r, i, 3),
                                             .topic = db_text(r, i, 4),
                                             .partition = (int32_t)db_i64(r, i, 5),
                                             .from_offset = db_i64(r, i, 6),
                                             .to_offset = db_i64(r, i, 7),
                                             .letter_us = db_i64(r, i, 8),
                                             .detail = db_text(r, i, 9)};
    *ret_rows = r;
    return OK;
}
