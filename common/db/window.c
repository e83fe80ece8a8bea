/* Windows: pending, closed, late, swept, folded. */
#include "db/window.h"

#include "base/clock.h"
#include "base/mem.h"
#include "db/driver.h"
#include "db/endpoint.h"

#define WINDOW                                                                                                         \
    "project_id, endpoint_id, window_start_us, window_end_us, revision, rows, late_rows, frontier_us, closed_us, "     \
    "schema_version, reference_version"
#define KEY_OF(w) DBV_I64((w)->project_id), DBV_I64((w)->endpoint_id), DBV_I64((w)->start_us), DBV_I64((w)->end_us)
#define BY_KEY "project_id = $1 AND endpoint_id = $2 AND window_start_us = $3 AND window_end_us = $4"

static struct window window_read(const struct db_rows *r, size_t i)
{
    return (struct window){
        .project_id = DB_I32(r, i, 0),
        .endpoint_id = db_i64(r, i, 1),
        .start_us = db_i64(r, i, 2),
        .end_us = db_i64(r, i, 3),
        .revision = DB_I32(r, i, 4),
        .rows = db_i64(r, i, 5),
        .late_rows = db_i64(r, i, 6),
        .frontier_us = db_i64(r, i, 7),
        .closed_us = db_i64(r, i, 8),
        .schema_version = DB_I32(r, i, 9),
        .reference_version = DB_I32(r, i, 10),
    };
}

static rc_t windows_read(struct db *db, const char *sql, const struct db_value *params, size_t n_params,
                         struct window **ret, size_t *n, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_exec(db, sql, params, n_params, &rows, e);
    if (rc)
        return rc;
    *n = db_rows_n(rows);
    *ret = mem_array(*n, sizeof **ret);
    for (size_t i = 0; i < *n; i++)
        (*ret)[i] = window_read(rows, i);
    return OK;
}

/* --- pending --- */
rc_t pending_due(struct db *db, int32_t project_id, int64_t frontier_us, int64_t lateness_us, size_t limit,
                 struct pending_window **ret, size_t *n, struct db_rows **ret_rows, struct err *e)
{
    struct db_rows *rows = NULL;
    rc_t rc = db_exec(
        db,
        "SELECT project_id, endpoint_id, window_start_us, window_end_us, rows, last_handled_us, traceparent "
        "FROM pending_windows WHERE project_id = $1 AND window_end_us <= $2 "
        "AND (last_handled_us <= $2 OR last_handled_us > $4) "
        "ORDER BY window_end_us, endpoint_id, window_start_us LIMIT $3",
        DB_PARAMS(DBV_I64(project_id), DBV_I64(frontier_us - lateness_us), DBV_I64((int64_t)limit),
                  DBV_I64(clock_now_us() + HANDLED_AHEAD_US)),
        &rows, e);
    if (rc)
        return rc;
    *n = db_rows_n(rows);
    *ret = mem_array(*n, sizeof **ret);
    for (size_t i = 0; i < *n; i++)
        (*ret)[i] = (struct pending_window){
            .project_id = DB_I32(rows, i, 0),
            .endpoint_id = db_i64(rows, i, 1),
            .start_us = db_i64(rows, i, 2),
            .end_us = db_i64(rows, i, 3),
            .rows = db_i64(rows, i, 4),
            .last_handled_us = db_i64(rows, i, 5),
            .traceparent = db_text(rows, i, 6),
        };
    *ret_rows = rows;
    return OK;
}

rc_t pending_add_empty(struct db *db, int32_t project_id, int64_t start_us, int64_t end_us, int64_t seen_since_us,
                       struct err *e)
{
    return db_run(
        db,
        "INSERT INTO pending_windows (project_id, endpoint_id, window_start_us, window_end_us, rows, last_handled_us) "
        "SELECT e.project_id, e.id, $2, $3, 0, 0 FROM endpoints e WHERE e.project_id = $1 "
        "AND e.monitoring_mode = 'enabled' AND e.first_request_us < $3 AND e.last_request_us >= $4 "
        "AND NOT EXISTS (SELECT 1 FROM windows w WHERE w.project_id = e.project_id AND w.endpoint_id = e.id "
        "AND w.window_start_us = $2 AND w.window_end_us = $3) ORDER BY e.id ON CONFLICT DO NOTHING",
        DB_PARAMS(DBV_I64(project_id), DBV_I64(start_us), DBV_I64(end_us), DBV_I64(seen_since_us)), NULL, e);
}

rc_t pending_next(struct db *db, int32_t project_id, int64_t *ret_end_us, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_one(db, "SELECT COALESCE(min(window_end_us), 0) FROM pending_windows WHERE project_id = $1",
                     DB_PARAMS(DBV_I64(project_id)), &rows, e);
    if (!rc)
        *ret_end_us = db_i64(rows, 0, 0);
    return rc;
}

rc_t pending_depth(struct db *db, int64_t now_us, int64_t *ret_n, int64_t *ret_oldest_us, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_one(db, "SELECT count(*), COALESCE(min(window_end_us), 0) FROM pending_windows WHERE window_end_us <= $1",
                     DB_PARAMS(DBV_I64(now_us)), &rows, e);
    if (rc)
        return rc;
    *ret_n = db_i64(rows, 0, 0);
    *ret_oldest_us = db_i64(rows, 0, 1);
    return OK;
}

rc_t pending_take(struct db *db, const struct pending_window *w, struct window *ret_known, struct err *e)
{
    int64_t taken = 0;
    struct window known = {
        .project_id = w->project_id, .endpoint_id = w->endpoint_id, .start_us = w->start_us, .end_us = w->end_us};
    rc_t rc = db_run(db, "DELETE FROM pending_windows WHERE " BY_KEY, DB_PARAMS(KEY_OF(w)), &taken, e);
    if (!rc && !taken)
        return err_set(e, E_NOTFOUND, "the window is not pending any more");
    if (!rc)
        rc = window_get(db, w->project_id, w->endpoint_id, w->start_us, w->end_us, &known, e);
    if (rc && rc != E_NOTFOUND)
        return rc;
    *ret_known = known;
    return OK;
}

/* --- windows --- */
rc_t window_put(struct db *db, const struct window *w, struct str traceparent, struct err *e)
{
    int64_t put = 0;
    rc_t rc = db_run(
        db,
        "INSERT INTO windows (project_id, endpoint_id, window_start_us, window_end_us, revision, rows, "
        "late_rows, frontier_us, closed_us, schema_version, reference_version, traceparent) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) "
        "ON CONFLICT (project_id, endpoint_id, window_end_us, window_start_us, segment) DO UPDATE SET "
        "revision = EXCLUDED.revision, rows = EXCLUDED.rows, late_rows = EXCLUDED.late_rows, frontier_us = "
        "EXCLUDED.frontier_us, "
        "closed_us = EXCLUDED.closed_us, schema_version = EXCLUDED.schema_version, "
        "reference_version = EXCLUDED.reference_version, traceparent = EXCLUDED.traceparent, folded = false "
        "WHERE windows.revision < EXCLUDED.revision",
        DB_PARAMS(KEY_OF(w), DBV_I64(w->revision), DBV_I64(w->rows), DBV_I64(w->late_rows), DBV_I64(w->frontier_us),
                  DBV_I64(w->closed_us), DBV_I64(w->schema_version), DBV_I64(w->reference_version), DBV_TEXT(traceparent)),
        &put, e);
    if (!rc && !put)
        rc = err_set(e, E_CONFLICT, "the window has revision %d or a higher one already", w->revision);
    return rc;
}

rc_t window_add_late(struct db *db, const struct window *w, int64_t rows, struct err *e)
{
    return db_run(
        db,
        "INSERT INTO windows (project_id, endpoint_id, window_start_us, window_end_us, revision, rows, late_rows, "
        "frontier_us, closed_us, schema_version, reference_version) VALUES ($1, $2, $3, $4, 0, 0, $5, $6, $7, $8, "
        "$9) ON CONFLICT (project_id, endpoint_id, window_end_us, window_start_us, segment) DO UPDATE SET "
        "late_rows = windows.late_rows + EXCLUDED.late_rows",
        DB_PARAMS(KEY_OF(w), DBV_I64(rows), DBV_I64(w->frontier_us), DBV_I64(w->closed_us), DBV_I64(w->schema_version),
                  DBV_I64(w->reference_version)),
        NULL, e);
}

rc_t window_get(struct db *db, int32_t project_id, int64_t endpoint_id, int64_t start_us, int64_t end_us,
                struct window *ret, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_one(db, "SELECT " WINDOW " FROM windows WHERE " BY_KEY " AND segment = 0",
                     DB_PARAMS(DBV_I64(project_id), DBV_I64(endpoint_id), DBV_I64(start_us), DBV_I64(end_us)), &rows, e);
    if (rc == E_NOTFOUND)
        return err_set(e, rc, "no such window");
    if (!rc)
        *ret = window_read(rows, 0);
    return rc;
}

rc_t window_last(struct db *db, int32_t project_id, int64_t endpoint_id, struct window *ret, struct err *e)
{
    struct window *w = NULL;
    size_t n = 0;
    rc_t rc = windows_read(db,
                           "SELECT " WINDOW " FROM windows WHERE project_id = $1 AND endpoint_id = $2 AND rows > 0 "
                           "ORDER BY window_end_us DESC, window_start_us DESC LIMIT 1",
                           DB_PARAMS(DBV_I64(project_id), DBV_I64(endpoint_id)), &w, &n, e);
    if (rc == OK && n == 0)
        rc = err_set(e, E_NOTFOUND, "no window with rows has closed yet");
    if (rc == OK)
        *ret = w[0];
    mem_free(w);
    return rc;
}

/* Fewer rows than were used are no difference to act on: retention has dropped slots. A reference may have come while the
 * window was being closed without one. */
rc_t windows_sweep(struct db *db, int32_t project_id, int64_t from_us, int64_t to_us, int64_t now_us,
                   int64_t *ret_found, struct err *e)
{
    return db_run(
        db,
        "INSERT INTO pending_windows (project_id, endpoint_id, window_start_us, window_end_us, rows, "
        "last_handled_us) SELECT project_id, endpoint_id, window_start_us, window_end_us, have - rows - late_rows, $4 "
        "FROM (SELECT w.*, (SELECT CAST(sum(s.rows) AS bigint) FROM slots s WHERE s.project_id = w.project_id "
        "AND s.endpoint_id = w.endpoint_id AND s.slot_start_us >= w.window_start_us "
        "AND s.slot_start_us + s.slot_us <= w.window_end_us) AS have FROM windows w WHERE w.project_id = $1 "
        "AND w.closed_us >= $2 AND w.closed_us < $3 AND w.revision > 0) c WHERE have > rows + late_rows "
        "OR (have = rows + late_rows AND rows > 0 AND reference_version = 0 AND EXISTS (SELECT 1 FROM "
        "endpoint_references r "
        "WHERE r.endpoint_id = c.endpoint_id AND (r.created_us <= c.window_end_us OR "
        "(r.version = 1 AND r.source <> '" REFERENCE_AUTO "')))) ON CONFLICT DO NOTHING",
        DB_PARAMS(DBV_I64(project_id), DBV_I64(from_us), DBV_I64(to_us), DBV_I64(now_us)), ret_found, e);
}

/* A window's event is made in the transaction that closes it, with the same time. */
rc_t windows_needed_from(struct db *db, int64_t *ret, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *pending = NULL, *told = NULL;
    rc_t rc = db_one(db, "SELECT min(window_start_us) FROM pending_windows", NULL, 0, &pending, e);
    if (!rc)
        rc = db_one(db,
                    "SELECT min(window_start_us) FROM windows WHERE project_id IN (SELECT project_id FROM outbox) "
                    "AND closed_us >= (SELECT min(created_us) FROM outbox)",
                    NULL, 0, &told, e);
    if (rc)
        return rc;
    int64_t least = db_null(pending, 0, 0) ? INT64_MAX : db_i64(pending, 0, 0);
    if (!db_null(told, 0, 0) && db_i64(told, 0, 0) < least)
        least = db_i64(told, 0, 0);
    *ret = least;
    return OK;
}

static rc_t has_many(struct db *db, const struct window *w, bool *ret, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_one(db,
                     "SELECT EXISTS (SELECT 1 FROM slots WHERE project_id = $1 AND endpoint_id = $2 "
                     "AND slot_start_us >= $3 AND slot_start_us < $4 "
                     "GROUP BY slot_start_us, segment, schema_version, reference_version HAVING count(*) > 1)",
                     DB_PARAMS(KEY_OF(w)), &rows, e);
    if (!rc)
        *ret = db_bool(rows, 0, 0);
    return rc;
}

/* Candidates that need no folding are marked on the way, so that each is looked at once. One by one: a statement that joins
 * windows with slots is planned for, and opens, every day of both. */
rc_t windows_unfolded(struct db *db, int32_t project_id, int64_t closed_before_us, size_t limit, struct window **ret,
                      size_t *n, struct err *e)
{
    CLEANUP(mem_freep) struct window *found = NULL;
    size_t candidates = 0, kept = 0;
    rc_t rc = windows_read(db,
                           "SELECT " WINDOW " FROM windows w WHERE project_id = $1 AND NOT folded AND closed_us < $2 "
                           "AND revision > 0 AND NOT EXISTS (SELECT 1 FROM pending_windows p "
                           "WHERE p.project_id = w.project_id AND p.endpoint_id = w.endpoint_id "
                           "AND p.window_end_us = w.window_end_us AND p.window_start_us = w.window_start_us) "
                           "ORDER BY closed_us LIMIT $3",
                           DB_PARAMS(DBV_I64(project_id), DBV_I64(closed_before_us), DBV_I64((int64_t)limit)), &found,
                           &candidates, e);
    for (size_t i = 0; i < candidates && !rc; i++) {
        bool many = false;
        rc = has_many(db, &found[i], &many, e);
        if (!rc && many)
            found[kept++] = found[i];
        else if (!rc)
            rc = window_set_folded(db, &found[i], e);
    }
    if (rc)
        return rc;
    *ret = found;
    *n = kept;
    found = NULL;
    return OK;
}

rc_t window_set_folded(struct db *db, const struct window *w, struct err *e)
{
    return db_run(db, "UPDATE windows SET folded = true WHERE " BY_KEY " AND segment = 0 AND revision = $5",
                  DB_PARAMS(KEY_OF(w), DBV_I64(w->revision)), NULL, e);
}
