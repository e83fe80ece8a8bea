/* Alerts, their activations and events: what the api keeps and lists of them. */
#include "db/alert.h"

#include "base/clock.h"
#include "base/mem.h"
#include "db/query.h"

#define ALERT "id, project_id, name, body, active, count, created_us, updated_us"

void alert_done(struct alert *a)
{
    mem_free(a->name);
    mem_free(a->body);
    *a = (struct alert){0};
}

void alerts_free(struct alert *a, size_t n)
{
    for (size_t i = 0; i < n; i++)
        alert_done(&a[i]);
    mem_free(a);
}

static struct alert read_alert(const struct db_rows *r, size_t i)
{
    return (struct alert){.id = db_i64(r, i, 0),
                          .project_id = DB_I32(r, i, 1),
                          .name = db_dup(r, i, 2),
                          .body = db_dup(r, i, 3),
                          .active = db_bool(r, i, 4),
                          .count = db_i64(r, i, 5),
                          .created_us = db_i64(r, i, 6),
                          .updated_us = db_i64(r, i, 7)};
}

rc_t alert_put(struct db *db, struct alert *inout, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_one(
        db,
        "INSERT INTO alerts (project_id, name, body, created_us, updated_us) VALUES ($1, $2, $3, $4, $4)"
        " ON CONFLICT (project_id, name) DO UPDATE SET body = EXCLUDED.body, updated_us = EXCLUDED.updated_us"
        " RETURNING " ALERT,
        DB_PARAMS(DBV_I64(inout->project_id), DBV_TEXTZ(inout->name), DBV_TEXTZ(inout->body), DBV_I64(clock_now_us())),
        &rows, e);
    if (rc)
        return rc;
    alert_done(inout);
    *inout = read_alert(rows, 0);
    return OK;
}

rc_t alert_get(struct db *db, int32_t project_id, struct str name, struct alert *ret, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_one(db, "SELECT " ALERT " FROM alerts WHERE project_id = $1 AND name = $2",
                     DB_PARAMS(DBV_I64(project_id), DBV_TEXT(name)), &rows, e);
    if (!rc)
        *ret = read_alert(rows, 0);
    return rc;
}

rc_t alerts_list(struct db *db, int32_t project_id, int64_t offset, int64_t limit, struct alert **ret, size_t *n,
                 struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_exec(db, "SELECT " ALERT " FROM alerts WHERE project_id = $1 ORDER BY id LIMIT $2 OFFSET $3",
                      DB_PARAMS(DBV_I64(project_id), DBV_I64(limit), DBV_I64(offset)), &rows, e);
    if (rc)
        return rc;
    *n = db_rows_n(rows);
    *ret = mem_array(*n, sizeof **ret);
    for (size_t i = 0; i < *n; i++)
        (*ret)[i] = read_alert(rows, i);
    return OK;
}

rc_t alert_delete(struct db *db, int32_t project_id, struct str name, struct err *e)
{
    return db_run(db, "DELETE FROM alerts WHERE project_id = $1 AND name = $2",
                  DB_PARAMS(DBV_I64(project_id), DBV_TEXT(name)), NULL, e);
}

rc_t alert_reset(struct db *db, const struct alert *a, struct err *e)
{
    rc_t rc = db_run(db, "UPDATE alerts SET active = false WHERE id = $1", DB_PARAMS(DBV_I64(a->id)), NULL, e);
    if (!rc)
        rc = db_run(db,
                    "UPDATE alert_activations SET reset_us = $3"
                    " WHERE project_id = $1 AND alert_id = $2 AND reset_us IS NULL",
                    DB_PARAMS(DBV_I64(a->project_id), DBV_I64(a->id), DBV_I64(clock_now_us())), NULL, e);
    return rc;
}

static rc_t count(struct db *db, const char *sql, const struct db_value *params, size_t n, int64_t *ret, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_one(db, sql, params, n, &rows, e);
    if (!rc)
        *ret = db_i64(rows, 0, 0);
    return rc;
}

rc_t alerts_count(struct db *db, int64_t *ret, struct err *e)
{
    return count(db, "SELECT count(*) FROM alerts", NULL, 0, ret, e);
}

/* ---- activations ---- */
static void add_text(struct query *q, const char *column, const char *is, struct str v)
{
    if (v.n && *v.p == '~')
        query_part(q, column, (struct str){v.p + 1, v.n - 1});
    else
        query_text(q, is, v);
}

rc_t activations_list(struct db *db, const struct activation_filter *f, struct activation **ret, size_t *n,
                      struct db_rows **ret_rows, struct err *e)
{
    CLEANUP(query_freep) struct query *q = query_new();
    struct db_rows *rows = NULL;
    buf_addz(&q->sql, "SELECT id, activation_us, reset_us, number_of_events, name, severity, criteria, entity_kind,"
                      " entity_id, event_kind, notifications FROM alert_activations WHERE true");
    query_number(q, "project_id =", f->project_id);
    if (f->id)
        query_number(q, "id =", f->id);
    add_text(q, "name", "name =", f->name);
    add_text(q, "entity_id", "entity_id =", f->entity);
    query_text(q, "entity_kind =", f->entity_kind);
    query_text(q, "event_kind =", f->event_kind);
    query_in(q, "severity", f->severities, f->n_severities);
    if (f->since_us)
        query_number(q, "activation_us >=", f->since_us);
    if (f->until_us)
        query_number(q, "activation_us <=", f->until_us);
    buf_addf(&q->sql, " ORDER BY activation_us DESC, id DESC LIMIT %zu OFFSET %zu", f->limit, f->offset);
    rc_t rc = query_run(q, db, &rows, e);
    if (rc)
        return rc;
    *n = db_rows_n(rows);
    *ret = mem_array(*n, sizeof **ret);
    for (size_t i = 0; i < *n; i++)
        (*ret)[i] = (struct activation){db_i64(rows, i, 0),  db_i64(rows, i, 1),  db_i64(rows, i, 2),
                                        db_i64(rows, i, 3),  db_text(rows, i, 4), db_text(rows, i, 5),
                                        db_text(rows, i, 6), db_text(rows, i, 7), db_text(rows, i, 8),
                                        db_text(rows, i, 9), db_text(rows, i, 10)};
    *ret_rows = rows;
    return OK;
}

rc_t activations_open(struct db *db, int32_t project_id, const char *entity_kind, int64_t *ret, struct err *e)
{
    return count(db,
                 "SELECT count(*) FROM alert_activations"
                 " WHERE project_id = $1 AND entity_kind = $2 AND reset_us IS NULL",
                 DB_PARAMS(DBV_I64(project_id), DBV_TEXTZ(entity_kind)), ret, e);
}

/* ---- events ---- */
rc_t alert_event_add(struct db *db, const struct alert_event *ev, struct err *e)
{
    rc_t rc = db_run(db,
                     "INSERT INTO alert_events (project_id, kind, entity_kind, entity_id, value, at_us, received_us)"
                     " VALUES ($1, $2, $3, $4, $5, $6, $7)",
                     DB_PARAMS(DBV_I64(ev->project_id), DBV_TEXT(ev->kind), DBV_TEXT(ev->entity_kind),
                               DBV_TEXT(ev->entity_id), DBV_TEXT(ev->value), DBV_I64(ev->at_us), DBV_I64(ev->received_us)),
                     NULL, e);
    if (!rc)
        rc = db_run(db,
                    "DELETE FROM alert_events WHERE project_id = $1 AND id <= (SELECT id FROM alert_events"
                    " WHERE project_id = $1 ORDER BY id DESC LIMIT 1 OFFSET $2)",
                    DB_PARAMS(DBV_I64(ev->project_id), DBV_I64(ALERT_EVENTS_KEPT)), NULL, e);
    return rc;
}

rc_t alert_events_list(struct db *db, int32_t project_id, struct str kind, int64_t before, int64_t limit,
                       struct alert_event **ret, size_t *n, struct db_rows **ret_rows, struct err *e)
{
    struct db_rows *rows = NULL;
    rc_t rc = db_exec(
        db,
        "SELECT kind, entity_kind, entity_id, value, at_us, received_us, id FROM alert_events"
        " WHERE project_id = $1 AND ($2 = '' OR kind = $2) AND ($4 = 0 OR id < $4) ORDER BY id DESC LIMIT $3",
        DB_PARAMS(DBV_I64(project_id), DBV_TEXT(kind), DBV_I64(limit), DBV_I64(before)), &rows, e);
    if (rc)
        return rc;
    *n = db_rows_n(rows);
    *ret = mem_array(*n, sizeof **ret);
    for (size_t i = 0; i < *n; i++)
        (*ret)[i] = (struct alert_event){project_id,          db_text(rows, i, 0), db_text(rows, i, 1),
                                         db_text(rows, i, 2), db_text(rows, i, 3), db_i64(rows, i, 4),
                                         db_i64(rows, i, 5),  db_i64(rows, i, 6)};
    *ret_rows = rows;
    return OK;
}
