/* The ledger: owners, offsets, promises, frontiers. */
#include "db/ledger.h"

#include "base/clock.h"
#include "base/mem.h"
#include "db/driver.h"
#include "db/operator.h"

#define ROW                                                                                                            \
    "project_id, partition, pipeline, topic, next_offset, intent_end, schema_seq, owner_epoch, frontier_us, "          \
    "updated_us, generation, floor_offset, end_offset, mark_offset, mark_us, mark_print, owner, stopped, last_error, " \
    "since_us"
#define KEY "pipeline = $1 AND topic = $2 AND partition = $3"

void ledger_row_done(struct ledger_row *r)
{
    mem_free(r->pipeline);
    mem_free(r->topic);
    mem_free(r->owner);
    mem_free(r->stopped);
    mem_free(r->last_error);
    *r = (struct ledger_row){0};
}

void ledger_rows_free(struct ledger_row *r, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ledger_row_done(&r[i]);
    mem_free(r);
}

static struct ledger_row row_read(const struct db_rows *r, size_t i)
{
    return (struct ledger_row){
        .project_id = DB_I32(r, i, 0),
        .partition = DB_I32(r, i, 1),
        .pipeline = db_dup(r, i, 2),
        .topic = db_dup(r, i, 3),
        .next_offset = db_null(r, i, 4) ? -1 : db_i64(r, i, 4),
        .intent_end = db_null(r, i, 5) ? -1 : db_i64(r, i, 5),
        .schema_seq = db_i64(r, i, 6),
        .owner_epoch = db_i64(r, i, 7),
        .frontier_us = db_i64(r, i, 8),
        .updated_us = db_i64(r, i, 9),
        .generation = DB_I32(r, i, 10),
        .floor_offset = db_i64(r, i, 11),
        .end_offset = db_null(r, i, 12) ? -1 : db_i64(r, i, 12),
        .mark = {db_null(r, i, 13) ? -1 : db_i64(r, i, 13), db_i64(r, i, 14), db_i64(r, i, 15)},
        .owner = db_dup(r, i, 16),
        .stopped = db_dup(r, i, 17),
        .last_error = db_dup(r, i, 18),
        .since_us = db_i64(r, i, 19),
    };
}

static rc_t one(struct db *db, const char *sql, const struct db_value *params, size_t n, struct ledger_row *ret,
                struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_one(db, sql, params, n, &rows, e);
    if (rc == E_NOTFOUND)
        return err_set(e, rc, "no ledger row for %s, %s [%lld]", params[0].s.p, params[1].s.p, (long long)params[2].i64);
    if (!rc)
        *ret = row_read(rows, 0);
    return rc;
}

/* What ends with a project: the owner, the intent and what it stood still for. The log's place and mark stay, so that what was
 * read is not read again; nothing that is made from now on has the key of something that was made before. */
#define FORMER                                                                                                         \
    "owner_epoch = ledger.owner_epoch + 1, generation = ledger.generation + 1, "                                       \
    "floor_offset = COALESCE(ledger.next_offset, 0), intent_end = NULL, schema_seq = NULL, stopped = '', "             \
    "last_error = '', attempts = 0"

/* Numbers of projects only grow: who still knows the former one alone does not take the rows back. */
rc_t ledger_ensure(struct db *db, const char *pipeline, const char *topic, int32_t project_id, int32_t n_partitions,
                   struct err *e)
{
    return db_run(db,
                  "WITH RECURSIVE n (p) AS (SELECT 0 UNION ALL SELECT p + 1 FROM n WHERE p < $4 - 1) "
                  "INSERT INTO ledger (pipeline, topic, partition, project_id) "
                  "SELECT $1, $2, p, $3 FROM n WHERE p < $4 ON CONFLICT (pipeline, topic, partition) DO UPDATE SET "
                  "project_id = EXCLUDED.project_id, frontier_us = NULL, "
                  "since_us = COALESCE((SELECT created_us - created_us % 1000 FROM projects WHERE id = "
                  "EXCLUDED.project_id), 0), " FORMER " WHERE ledger.project_id < EXCLUDED.project_id",
                  DB_PARAMS(DBV_TEXTZ(pipeline), DBV_TEXTZ(topic), DBV_I64(project_id), DBV_I64(n_partitions)), NULL, e);
}

rc_t ledger_end_project(struct db *db, int32_t project_id, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *locked = NULL; /* in the order of the key, as every sink locks its own */
    rc_t rc = db_exec(db, "SELECT partition FROM ledger WHERE project_id = $1 ORDER BY pipeline, topic, partition FOR UPDATE",
                      DB_PARAMS(DBV_I64(project_id)), &locked, e);
    return rc ? rc
              : db_run(db, "UPDATE ledger SET " FORMER ", updated_us = $2 WHERE project_id = $1",
                       DB_PARAMS(DBV_I64(project_id), DBV_I64(clock_now_us())), NULL, e);
}

rc_t ledger_claim(struct db *db, const char *pipeline, const char *topic, int32_t partition, const char *owner,
                  struct ledger_row *ret, struct err *e)
{
    return one(
        db, "UPDATE ledger SET owner_epoch = owner_epoch + 1, owner = $4, updated_us = $5 WHERE " KEY " RETURNING " ROW,
        DB_PARAMS(DBV_TEXTZ(pipeline), DBV_TEXTZ(topic), DBV_I64(partition), DBV_TEXTZ(owner), DBV_I64(clock_now_us())),
        ret, e);
}

rc_t ledger_get(struct db *db, const char *pipeline, const char *topic, int32_t partition, struct ledger_row *ret,
                struct err *e)
{
    return one(db, "SELECT " ROW " FROM ledger WHERE " KEY,
               DB_PARAMS(DBV_TEXTZ(pipeline), DBV_TEXTZ(topic), DBV_I64(partition)), ret, e);
}

static rc_t fenced(const char *topic, int32_t partition, int64_t epoch, struct err *e)
{
    return err_set(e, E_CONFLICT, "another owns %s [%d] now: epoch %lld is over", topic, partition, (long long)epoch);
}

rc_t ledger_lock(struct db *db, const char *pipeline, const char *topic, int32_t partition, int64_t epoch,
                 struct ledger_row *ret, struct err *e)
{
    struct ledger_row row;
    rc_t rc = one(db, "SELECT " ROW " FROM ledger WHERE " KEY " FOR UPDATE",
                  DB_PARAMS(DBV_TEXTZ(pipeline), DBV_TEXTZ(topic), DBV_I64(partition)), &row, e);
    if (rc)
        return rc;
    if (row.owner_epoch != epoch) {
        ledger_row_done(&row);
        return fenced(topic, partition, epoch, e);
    }
    *ret = row;
    return OK;
}

static rc_t no_row(const char *pipeline, const char *topic, int32_t partition, struct err *e)
{
    return err_set(e, E_NOTFOUND, "no ledger row for %s, %s [%d]", pipeline, topic, partition);
}

rc_t ledger_move(struct db *db, const char *pipeline, const char *topic, int32_t partition,
                 const struct ledger_step *step, struct err *e)
{
    const struct ledger_mark *m = step->mark;
    int64_t moved = 0;
    rc_t rc = db_run(
        db,
        "UPDATE ledger SET next_offset = $4, frontier_us = CASE WHEN $5 = 0 OR (frontier_us > $5 AND "
        "frontier_us <= $6) THEN frontier_us ELSE $5 END, intent_end = NULL, schema_seq = NULL, last_error = '', "
        "attempts = 0, updated_us = $6, end_offset = COALESCE(NULLIF($7, 0), end_offset), "
        "mark_offset = COALESCE($8, mark_offset), mark_us = COALESCE($9, mark_us), "
        "mark_print = COALESCE($10, mark_print) WHERE " KEY,
        DB_PARAMS(DBV_TEXTZ(pipeline), DBV_TEXTZ(topic), DBV_I64(partition), DBV_I64(step->next_offset),
                  DBV_I64(step->frontier_us), DBV_I64(clock_now_us()), DBV_I64(step->end_offset),
                  m ? DBV_I64(m->offset) : DBV_NULL, m ? DBV_I64(m->timestamp_us) : DBV_NULL,
                  m ? DBV_I64(m->print) : DBV_NULL),
        &moved, e);
    return !rc && moved != 1 ? no_row(pipeline, topic, partition, e) : rc;
}

rc_t ledger_intend(struct db *db, const char *pipeline, const char *topic, int32_t partition, int64_t epoch,
                   int64_t intent_end, int64_t schema_seq, struct err *e)
{
    int64_t done = 0;
    rc_t rc = db_run(db,
                     "UPDATE ledger SET intent_end = $5, schema_seq = NULLIF($6, 0), updated_us = $7 WHERE " KEY
                     " AND owner_epoch = $4",
                     DB_PARAMS(DBV_TEXTZ(pipeline), DBV_TEXTZ(topic), DBV_I64(partition), DBV_I64(epoch),
                               DBV_I64(intent_end), DBV_I64(schema_seq), DBV_I64(clock_now_us())),
                     &done, e);
    return !rc && done != 1 ? fenced(topic, partition, epoch, e) : rc;
}

rc_t ledger_stop(struct db *db, const char *pipeline, const char *topic, int32_t partition, int64_t epoch,
                 const char *stopped, const char *words, struct err *e)
{
    int64_t done = 0;
    rc_t rc = db_run(db, "UPDATE ledger SET stopped = $5, last_error = $6, updated_us = $7 WHERE " KEY " AND owner_epoch = $4",
                     DB_PARAMS(DBV_TEXTZ(pipeline), DBV_TEXTZ(topic), DBV_I64(partition), DBV_I64(epoch),
                               DBV_TEXTZ(stopped), DBV_TEXTZ(words), DBV_I64(clock_now_us())),
                     &done, e);
    return !rc && done != 1 ? fenced(topic, partition, epoch, e) : rc;
}

#define ELSEWHERE                                                                                                      \
    "intent_end = NULL, schema_seq = NULL, mark_offset = NULL, mark_us = NULL, mark_print = NULL, end_offset = NULL, " \
    "stopped = '', last_error = '', attempts = 0"

rc_t ledger_restart(struct db *db, const char *pipeline, const char *topic, int32_t partition, int64_t epoch,
                    int64_t next_offset, bool another, struct err *e)
{
    int64_t done = 0;
    rc_t rc = db_run(db,
                     "UPDATE ledger SET next_offset = $5, floor_offset = $5, generation = generation + $6, "
                     "updated_us = $7, " ELSEWHERE " WHERE " KEY " AND owner_epoch = $4",
                     DB_PARAMS(DBV_TEXTZ(pipeline), DBV_TEXTZ(topic), DBV_I64(partition), DBV_I64(epoch),
                               DBV_I64(next_offset), DBV_I64(another), DBV_I64(clock_now_us())),
                     &done, e);
    return !rc && done != 1 ? fenced(topic, partition, epoch, e) : rc;
}

/* In the transaction: the row is locked, its owner fenced by the next epoch. */
static rc_t skip(struct db *db, const struct ledger_row *row, int64_t to, bool force, const char *who, struct err *e)
{
    if (*row->stopped == '\0' && !force)
        return err_set(e, E_CONFLICT, "%s, %s [%d] does not stand still: it goes on by itself from %lld", row->pipeline,
                       row->topic, row->partition, (long long)row->next_offset);
    rc_t rc = db_run(
        db,
        "UPDATE ledger SET next_offset = $4, floor_offset = $6, "
        "generation = generation + 1, owner_epoch = owner_epoch + 1, updated_us = $5, " ELSEWHERE " WHERE " KEY,
        DB_PARAMS(DBV_TEXTZ(row->pipeline), DBV_TEXTZ(row->topic), DBV_I64(row->partition),
                  to == LEDGER_LOW ? DBV_NULL : DBV_I64(to), DBV_I64(clock_now_us()), DBV_I64(to < 0 ? 0 : to)),
        NULL, e);
    const struct operator_action a = {.who = str_of(who),
                                      .action = STR("ledger_skip"),
                                      .pipeline = str_of(row->pipeline),
                                      .topic = str_of(row->topic),
                                      .partition = row->partition,
                                      .from_offset = row->next_offset,
                                      .to_offset = to,
                                      .detail = str_of(*row->stopped ? row->stopped : "forced")};
    return rc ? rc : operator_action_add(db, &a, e);
}

rc_t ledger_skip(struct db *db, const char *pipeline, const char *topic, int32_t partition, int64_t to, bool force,
                 const char *who, int64_t *ret_from, struct err *e)
{
    struct ledger_row row = {0};
    bool own = false;
    rc_t rc = db_scope_begin(db, &own, e);
    if (rc)
        return rc;
    rc = one(db, "SELECT " ROW " FROM ledger WHERE " KEY " FOR UPDATE",
             DB_PARAMS(DBV_TEXTZ(pipeline), DBV_TEXTZ(topic), DBV_I64(partition)), &row, e);
    if (!rc)
        rc = skip(db, &row, to, force, who, e);
    rc = db_scope_end(db, own, rc, e);
    if (!rc)
        *ret_from = row.next_offset;
    ledger_row_done(&row);
    return rc;
}

rc_t ledger_list(struct db *db, int32_t project_id, const char *pipeline, struct ledger_row **ret, size_t *n, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_exec(db,
                      "SELECT " ROW " FROM ledger WHERE ($1 = 0 OR project_id = $1) AND ($2 = '' OR pipeline = $2) "
                      "ORDER BY pipeline, topic, partition",
                      DB_PARAMS(DBV_I64(project_id), DBV_TEXTZ(pipeline ? pipeline : "")), &rows, e);
    if (rc)
        return rc;
    *n = db_rows_n(rows);
    *ret = mem_array(*n, sizeof **ret);
    for (size_t i = 0; i < *n; i++)
        (*ret)[i] = row_read(rows, i);
    return OK;
}

/* A pipeline's rows of a project, and those of what feeds its topic. */
#define FEEDS                                                                                                          \
    " FROM ledger WHERE project_id = $1 AND pipeline IN ($2, (SELECT bridge FROM monitoring_credentials WHERE "        \
    "project_id = $1))"

/* Locked in the order of the key, as every sink locks its own. */
rc_t ledger_frontier(struct db *db, int32_t project_id, const char *pipeline, bool share, int64_t *ret_us, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_exec(db,
                      share ? "SELECT frontier_us" FEEDS " ORDER BY pipeline, topic, partition FOR SHARE"
                            : "SELECT frontier_us" FEEDS,
                      DB_PARAMS(DBV_I64(project_id), DBV_TEXTZ(pipeline)), &rows, e);
    if (rc)
        return rc;
    int64_t least = db_rows_n(rows) ? INT64_MAX : 0;
    for (size_t i = 0; i < db_rows_n(rows); i++)
        least = db_i64(rows, i, 0) < least ? db_i64(rows, i, 0) : least;
    *ret_us = least;
    return OK;
}

rc_t ledger_slowest(struct db *db, int32_t project_id, const char *pipeline, struct ledger_row *ret, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_one(db, "SELECT " ROW FEEDS " ORDER BY COALESCE(frontier_us, 0), pipeline, topic, partition LIMIT 1",
                     DB_PARAMS(DBV_I64(project_id), DBV_TEXTZ(pipeline)), &rows, e);
    if (!rc)
        *ret = row_read(rows, 0);
    return rc;
}
