/* Statistics slots and pending windows. */
#include "db/slot.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "db/driver.h"

#define SLOT                                                                                                           \
    "project_id, endpoint_id, slot_start_us, slot_us, schema_version, reference_version, topic, partition, "           \
    "flush_offset, requests, rows, errors, estimated, format, body"
enum { SLOT_COLS = 15 };

static struct db_value *slot_values(const struct slot_row *rows, size_t n)
{
    struct db_value *values = mem_array(n * SLOT_COLS, sizeof *values), *v = values;
    for (size_t i = 0; i < n; i++) {
        const struct slot_row *r = &rows[i];
        const struct db_value row[SLOT_COLS] = {
            DBV_I64(r->project_id), DBV_I64(r->endpoint_id),    DBV_I64(r->slot_start_us),
            DBV_I64(r->slot_us),    DBV_I64(r->schema_version), DBV_I64(r->reference_version),
            DBV_TEXT(r->topic),     DBV_I64(r->partition),      DBV_I64(r->flush_offset),
            DBV_I64(r->requests),   DBV_I64(r->rows),           DBV_I64(r->errors),
            DBV_F64(r->estimated),  DBV_I64(r->format),         DBV_BYTES(r->body),
        };
        memcpy(v, row, sizeof row);
        v += SLOT_COLS;
    }
    return values;
}

rc_t slots_append(struct db *db, const struct slot_row *rows, size_t n, struct err *e)
{
    CLEANUP(mem_freep) struct db_value *values = slot_values(rows, n);
    return db_copy(db, "slots", SLOT, values, n, SLOT_COLS, e);
}

static struct slot_row slot_read(const struct db_rows *r, size_t i)
{
    return (struct slot_row){
        .project_id = DB_I32(r, i, 0),
        .endpoint_id = db_i64(r, i, 1),
        .slot_start_us = db_i64(r, i, 2),
        .slot_us = db_i64(r, i, 3),
        .schema_version = DB_I32(r, i, 4),
        .reference_version = DB_I32(r, i, 5),
        .topic = db_text(r, i, 6),
        .partition = DB_I32(r, i, 7),
        .flush_offset = db_i64(r, i, 8),
        .requests = db_i64(r, i, 9),
        .rows = db_i64(r, i, 10),
        .errors = db_i64(r, i, 11),
        .estimated = db_f64(r, i, 12),
        .format = DB_I32(r, i, 13),
        .body = db_text(r, i, 14),
    };
}

rc_t slots_read(struct db *db, int32_t project_id, int64_t endpoint_id, int64_t start_us, int64_t end_us,
                struct slot_row **ret, size_t *n, struct db_rows **ret_rows, struct err *e)
{
    struct db_rows *rows = NULL;
    rc_t rc = db_exec(db,
                      "SELECT " SLOT " FROM slots WHERE project_id = $1 AND endpoint_id = $2 AND slot_start_us >= $3 "
                      "AND slot_start_us < $4 AND slot_start_us + slot_us <= $4 "
                      "ORDER BY slot_start_us, schema_version, reference_version, topic, partition, flush_offset",
                      DB_PARAMS(DBV_I64(project_id), DBV_I64(endpoint_id), DBV_I64(start_us), DBV_I64(end_us)), &rows, e);
    if (rc)
        return rc;
    *n = db_rows_n(rows);
    *ret = mem_array(*n, sizeof **ret);
    for (size_t i = 0; i < *n; i++)
        (*ret)[i] = slot_read(rows, i);
    *ret_rows = rows;
    return OK;
}

/* --- folding --- */
/* The bounds are said once more in numbers: the planner knows nothing of the staging table, but these it can use. */
static rc_t delete_staged(struct db *db, const struct slot_row *read, size_t n, struct err *e)
{
    int64_t first = read[0].slot_start_us, last = first, deleted = 0;
    for (size_t i = 1; i < n; i++) {
        if (read[i].project_id != read[0].project_id || read[i].endpoint_id != read[0].endpoint_id)
            return err_set(e, E_INVALID, "slots of two endpoints are not folded together");
        first = read[i].slot_start_us < first ? read[i].slot_start_us : first;
        last = read[i].slot_start_us > last ? read[i].slot_start_us : last;
    }
    rc_t rc = db_run(
        db,
        "DELETE FROM slots WHERE project_id = $1 AND endpoint_id = $2 AND slot_start_us BETWEEN $3 AND $4 "
        "AND (slot_start_us, segment, schema_version, reference_version, topic, partition, flush_offset) IN "
        "(SELECT slot_start_us, segment, schema_version, reference_version, topic, partition, flush_offset "
        "FROM stage_slots)",
        DB_PARAMS(DBV_I64(read[0].project_id), DBV_I64(read[0].endpoint_id), DBV_I64(first), DBV_I64(last)), &deleted, e);
    if (!rc && deleted != (int64_t)n)
        rc = err_set(e, E_CONFLICT, "%lld of the %zu rows to fold are gone", (long long)n - (long long)deleted, n);
    return rc;
}

static rc_t fold(struct db *db, const struct slot_row *read, size_t n_read, const struct slot_row *folded,
                 size_t n_folded, struct err *e)
{
    rc_t rc = db_stage(db, "stage_slots", "slots", e);
    CLEANUP(mem_freep) struct slot_row *keys = mem_array(n_read, sizeof *keys);
    for (size_t i = 0; i < n_read; i++) {
        keys[i] = read[i];
        keys[i].body = (struct str){0};
    }
    CLEANUP(mem_freep) struct db_value *values = slot_values(keys, n_read);
    if (!rc)
        rc = db_copy(db, "stage_slots", SLOT, values, n_read, SLOT_COLS, e);
    if (!rc)
        rc = delete_staged(db, read, n_read, e);
    return rc ? rc : slots_append(db, folded, n_folded, e);
}

rc_t slots_fold(struct db *db, const struct slot_row *read, size_t n_read, const struct slot_row *folded,
                size_t n_folded, struct err *e)
{
    if (!n_read)
        return OK;
    bool own = false;
    rc_t rc = db_scope_begin(db, &own, e);
    return rc ? rc : db_scope_end(db, own, fold(db, read, n_read, folded, n_folded, e), e);
}

rc_t slots_sums(struct db *db, int32_t project_id, int64_t endpoint_id, int64_t from_us, int64_t to_us, int64_t step_us,
                struct slot_sum **ret, size_t *n, struct err *e)
{
    if (step_us <= 0)
        return err_set(e, E_INVALID, "a step must be positive");
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_exec(
        db,
        "SELECT slot_start_us - slot_start_us % $5, CAST(sum(requests) AS bigint), CAST(sum(rows) AS bigint), "
        "CAST(sum(errors) AS bigint), sum(estimated) FROM slots WHERE project_id = $1 AND endpoint_id = $2 "
        "AND slot_start_us >= $3 AND slot_start_us < $4 GROUP BY 1 ORDER BY 1",
        DB_PARAMS(DBV_I64(project_id), DBV_I64(endpoint_id), DBV_I64(from_us), DBV_I64(to_us), DBV_I64(step_us)), &rows, e);
    if (rc)
        return rc;
    *n = db_rows_n(rows);
    *ret = mem_array(*n, sizeof **ret);
    for (size_t i = 0; i < *n; i++)
        (*ret)[i] = (struct slot_sum){.start_us = db_i64(rows, i, 0),
                                      .requests = db_i64(rows, i, 1),
                                      .rows = db_i64(rows, i, 2),
                                      .errors = db_i64(rows, i, 3),
                                      .estimated = db_f64(rows, i, 4)};
    return OK;
}

/* --- pending windows --- */
enum { PENDING_COLS = 7 };

static int pending_order(const void *a, const void *b)
{
    const struct pending_window *x = *(const struct pending_window *const *)a;
    const struct pending_window *y = *(const struct pending_window *const *)b;
    const int64_t l[] = {x->project_id, x->endpoint_id, x->end_us, x->start_us};
    const int64_t r[] = {y->project_id, y->endpoint_id, y->end_us, y->start_us};
    for (size_t i = 0; i < 4; i++)
        if (l[i] != r[i])
            return l[i] < r[i] ? -1 : 1;
    return 0;
}

/* In the order of the key, each key once: one statement may not touch a row twice, and two sinks may not cross. */
static size_t pending_values(const struct pending_window *w, size_t n, struct db_value *values)
{
    CLEANUP(mem_freep) const struct pending_window **sorted = mem_array(n, sizeof *sorted);
    size_t rows = 0;
    for (size_t i = 0; i < n; i++)
        sorted[i] = &w[i];
    qsort(sorted, n, sizeof *sorted, pending_order);
    for (size_t i = 0; i < n; i++) {
        const struct pending_window *p = sorted[i];
        if (i > 0 && pending_order(&sorted[i - 1], &sorted[i]) == 0) {
            struct db_value *v = &values[(rows - 1) * PENDING_COLS];
            v[4].i64 += p->rows;
            v[5].i64 = p->last_handled_us > v[5].i64 ? p->last_handled_us : v[5].i64;
            v[6] = v[6].s.n ? v[6] : DBV_TEXT(p->traceparent);
            continue;
        }
        const struct db_value row[PENDING_COLS] = {
            DBV_I64(p->project_id), DBV_I64(p->endpoint_id),     DBV_I64(p->start_us),     DBV_I64(p->end_us),
            DBV_I64(p->rows),       DBV_I64(p->last_handled_us), DBV_TEXT(p->traceparent),
        };
        memcpy(&values[rows++ * PENDING_COLS], row, sizeof row);
    }
    return rows;
}

rc_t pending_add(struct db *db, const struct pending_window *w, size_t n, struct err *e)
{
    if (!n)
        return OK;
    CLEANUP(mem_freep) struct db_value *values = mem_array(n * PENDING_COLS, sizeof *values);
    size_t rows = pending_values(w, n, values);
    rc_t rc = db_stage(db, "stage_pending", "pending_windows", e);
    if (!rc)
        rc = db_copy(db, "stage_pending",
                     "project_id, endpoint_id, window_start_us, window_end_us, rows, last_handled_us, traceparent",
                     values, rows, PENDING_COLS, e);
    if (rc)
        return rc;
    return db_run(db,
                  "INSERT INTO pending_windows (project_id, endpoint_id, window_start_us, window_end_us, rows, "
                  "last_handled_us, traceparent) SELECT project_id, endpoint_id, window_start_us, window_end_us, rows, "
                  "last_handled_us, traceparent FROM stage_pending WHERE true "
                  "ON CONFLICT (project_id, endpoint_id, window_end_us, window_start_us) DO UPDATE SET "
                  "rows = pending_windows.rows + EXCLUDED.rows, "
                  "last_handled_us = GREATEST(pending_windows.last_handled_us, EXCLUDED.last_handled_us), "
                  "traceparent = CASE WHEN pending_windows.traceparent = '' THEN EXCLUDED.traceparent "
                  "ELSE pending_windows.traceparent END",
                  NULL, 0, NULL, e);
}

/* The first request spares the days before it. */
rc_t slots_versions(struct db *db, int32_t project_id, int64_t endpoint_id, int64_t start_us, int64_t end_us,
                    struct slot_version **ret, size_t *n, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_exec(
        db,
        "SELECT schema_version, reference_version, CAST(sum(rows) AS bigint) FROM slots "
        "WHERE project_id = $1 AND endpoint_id = $2 AND slot_start_us >= $3 AND slot_start_us + slot_us <= $4 "
        "AND slot_start_us < $4 GROUP BY schema_version, reference_version",
        DB_PARAMS(DBV_I64(project_id), DBV_I64(endpoint_id), DBV_I64(start_us), DBV_I64(end_us)), &rows, e);
    if (rc)
        return rc;
    *n = db_rows_n(rows);
    *ret = mem_array(*n + 1, sizeof **ret);
    for (size_t i = 0; i < *n; i++)
        (*ret)[i] = (struct slot_version){DB_I32(rows, i, 0), DB_I32(rows, i, 1), db_i64(rows, i, 2)};
    return OK;
}

rc_t slots_rows_until(struct db *db, int32_t project_id, int64_t endpoint_id, int64_t end_us, int64_t *ret, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_one(
        db,
        "SELECT CAST(COALESCE(sum(rows), 0) AS bigint) FROM slots WHERE project_id = $1 AND endpoint_id = $2 "
        "AND slot_start_us < $3 AND slot_start_us + slot_us <= $3 AND slot_start_us >= "
        "(SELECT COALESCE(first_request_us, 0) - $4 FROM endpoints WHERE id = $2)",
        DB_PARAMS(DBV_I64(project_id), DBV_I64(endpoint_id), DBV_I64(end_us), DBV_I64(USEC_PER_DAY)), &rows, e);
    if (!rc)
        *ret = db_i64(rows, 0, 0);
    return rc;
}
