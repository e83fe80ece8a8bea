/* Projects and apps. */
#include "db/project.h"

#include "base/clock.h"
#include "base/mem.h"
#include "db/driver.h"
#include "db/endpoint.h"
#include "db/ledger.h"

#define PROJECT                                                                                                        \
    "id, name, artifact_path, document, base_period_us, created_us, updated_us, monitoring, default_app, "             \
    "reference_auto"

void project_done(struct project *p)
{
    mem_free(p->name);
    mem_free(p->artifact_path);
    mem_free(p->document);
    *p = (struct project){0};
}

void projects_free(struct project *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        project_done(&p[i]);
    mem_free(p);
}

static struct project project_read(const struct db_rows *r, size_t i)
{
    return (struct project){
        .id = DB_I32(r, i, 0),
        .name = db_dup(r, i, 1),
        .artifact_path = db_dup(r, i, 2),
        .document = db_dup(r, i, 3),
        .base_period_us = db_i64(r, i, 4),
        .created_us = db_i64(r, i, 5),
        .updated_us = db_i64(r, i, 6),
        .monitoring = db_bool(r, i, 7),
        .default_app = db_bool(r, i, 8),
        .reference_auto = db_i64(r, i, 9),
    };
}

rc_t projects_list(struct db *db, struct project **ret, size_t *n, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_exec(db, "SELECT " PROJECT " FROM projects ORDER BY id", NULL, 0, &rows, e);
    if (rc)
        return rc;
    *n = db_rows_n(rows);
    *ret = mem_array(*n, sizeof **ret);
    for (size_t i = 0; i < *n; i++)
        (*ret)[i] = project_read(rows, i);
    return OK;
}

rc_t project_get(struct db *db, struct str name, struct project *ret, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_one(db, "SELECT " PROJECT " FROM projects WHERE name = $1", DB_PARAMS(DBV_TEXT(name)), &rows, e);
    if (rc == E_NOTFOUND)
        return err_set(e, rc, "no project %.*s", STR_FMT(name));
    if (!rc)
        *ret = project_read(rows, 0);
    return rc;
}

rc_t project_put(struct db *db, struct project *inout, struct err *e)
{
    if (!inout->name || !*inout->name)
        return err_set(e, E_INVALID, "a project needs a name");
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_one(db,
                     "INSERT INTO projects (name, artifact_path, document, base_period_us, monitoring, default_app, "
                     "created_us, updated_us, reference_auto) VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8) "
                     "ON CONFLICT (name) DO UPDATE SET artifact_path = EXCLUDED.artifact_path, "
                     "document = EXCLUDED.document, base_period_us = EXCLUDED.base_period_us, "
                     "monitoring = EXCLUDED.monitoring, default_app = EXCLUDED.default_app, "
                     "reference_auto = EXCLUDED.reference_auto, updated_us = EXCLUDED.updated_us RETURNING id, "
                     "created_us, updated_us",
                     DB_PARAMS(DBV_TEXTZ(inout->name), DBV_TEXTZ(inout->artifact_path ? inout->artifact_path : ""),
                               DBV_TEXTZ(inout->document ? inout->document : "{}"), DBV_I64(inout->base_period_us),
                               DBV_BOOL(inout->monitoring), DBV_BOOL(inout->default_app), DBV_I64(clock_now_us()),
                               DBV_I64(inout->reference_auto)),
                     &rows, e);
    if (rc)
        return rc;
    inout->id = DB_I32(rows, 0, 0);
    inout->created_us = db_i64(rows, 0, 1);
    inout->updated_us = db_i64(rows, 0, 2);
    return OK;
}

rc_t project_lock(struct db *db, const struct project *def, struct project *ret, struct err *e)
{
    static const char read[] = "SELECT " PROJECT " FROM projects WHERE name = $1 FOR UPDATE";
    CLEANUP(db_rows_freep) struct db_rows *before = NULL, *after = NULL;
    rc_t rc = db_one(db, read, DB_PARAMS(DBV_TEXTZ(def->name)), &before, e);
    if (!rc)
        *ret = project_read(before, 0);
    if (rc != E_NOTFOUND)
        return rc;
    rc = db_run(
        db,
        "INSERT INTO projects (name, artifact_path, document, base_period_us, monitoring, default_app, created_us, "
        "updated_us, reference_auto) VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8) ON CONFLICT (name) DO NOTHING",
        DB_PARAMS(DBV_TEXTZ(def->name), DBV_TEXTZ(def->artifact_path), DBV_TEXTZ(def->document),
                  DBV_I64(def->base_period_us), DBV_BOOL(def->monitoring), DBV_BOOL(def->default_app),
                  DBV_I64(clock_now_us()), DBV_I64(def->reference_auto)),
        NULL, e);
    if (!rc)
        rc = db_one(db, read, DB_PARAMS(DBV_TEXTZ(def->name)), &after, e);
    if (!rc)
        *ret = project_read(after, 0);
    return rc;
}

static rc_t delete_locked(struct db *db, int32_t id, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *seq = NULL;
    int64_t found = 0;
    rc_t rc = ledger_end_project(db, id, e); /* first: a flush has its rows before it touches endpoints */
    if (!rc)
        rc = endpoints_lock(db, e);
    if (!rc)
        rc = db_run(db,
                    "INSERT INTO deleted_endpoints (endpoint_id, project_id, project, uid, deleted_us, due_us) "
                    "SELECT e.id, e.project_id, p.name, e.uid, $2, $2 FROM endpoints e JOIN projects p "
                    "ON p.id = e.project_id WHERE e.project_id = $1",
                    DB_PARAMS(DBV_I64(id), DBV_I64(clock_now_us())), NULL, e);
    if (!rc)
        rc = db_run(db, "DELETE FROM projects WHERE id = $1", DB_PARAMS(DBV_I64(id)), &found, e);
    if (!rc && !found)
        return err_set(e, E_NOTFOUND, "no such project");
    /* last: who sees it move looks soon after (endpoints_gone) */
    return rc ? rc : db_exec(db, "SELECT nextval('change_seq')", NULL, 0, &seq, e);
}

rc_t project_delete(struct db *db, int32_t id, struct err *e)
{
    bool own = false;
    rc_t rc = db_scope_begin(db, &own, e);
    return rc ? rc : db_scope_end(db, own, delete_locked(db, id, e), e);
}

/* --- apps --- */
rc_t apps_list(struct db *db, int32_t project_id, struct app_row **ret, size_t *n, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_exec(
        db,
        "SELECT id, project_id, name, needs_rows, active, wants_empty FROM apps WHERE $1 = 0 OR project_id = $1 "
        "ORDER BY id",
        DB_PARAMS(DBV_I64(project_id)), &rows, e);
    if (rc)
        return rc;
    *n = db_rows_n(rows);
    *ret = mem_array(*n, sizeof **ret);
    for (size_t i = 0; i < *n; i++)
        (*ret)[i] = (struct app_row){
            .id = DB_I32(rows, i, 0),
            .project_id = DB_I32(rows, i, 1),
            .name = db_dup(rows, i, 2),
            .needs_rows = db_bool(rows, i, 3),
            .active = db_bool(rows, i, 4),
            .wants_empty = db_bool(rows, i, 5),
        };
    return OK;
}

void apps_free(struct app_row *a, size_t n)
{
    for (size_t i = 0; i < n; i++)
        mem_free(a[i].name);
    mem_free(a);
}

rc_t apps_elsewhere(struct db *db, int32_t project_id, char ***ret, size_t *n, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_exec(db,
                      "SELECT name FROM apps WHERE project_id = $1 AND active AND NOT EXISTS (SELECT 1 FROM ledger l "
                      "WHERE l.project_id = $1 AND l.pipeline = 'app:' || apps.name) ORDER BY id",
                      DB_PARAMS(DBV_I64(project_id)), &rows, e);
    if (rc)
        return rc;
    *n = db_rows_n(rows);
    *ret = mem_array(*n + 1, sizeof **ret);
    for (size_t i = 0; i < *n; i++)
        (*ret)[i] = db_dup(rows, i, 0);
    return OK;
}

rc_t app_register(struct db *db, const struct app_row *in, int32_t *ret_id, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    struct db_value values[] = {DBV_I64(in->project_id), DBV_TEXTZ(in->name),       DBV_BOOL(in->needs_rows),
                                DBV_BOOL(in->active),    DBV_BOOL(in->wants_empty), DBV_I64(clock_now_us())};
    rc_t rc = db_one(db,
                     "SELECT id FROM apps WHERE project_id = $1 AND name = $2 AND needs_rows = $3 AND active = $4 AND "
                     "wants_empty = $5",
                     values, 5, &rows, e);
    if (rc == E_NOTFOUND) /* each insert that meets a row would use up a number */
        rc = db_one(db,
                    "INSERT INTO apps (project_id, name, needs_rows, active, wants_empty, created_us) "
                    "VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (project_id, name) DO UPDATE SET "
                    "needs_rows = EXCLUDED.needs_rows, active = EXCLUDED.active, wants_empty = EXCLUDED.wants_empty "
                    "RETURNING id",
                    values, 6, &rows, e);
    if (!rc)
        *ret_id = DB_I32(rows, 0, 0);
    return rc;
}

rc_t app_add(struct db *db, int32_t project_id, const char *name, int32_t *ret_id, struct err *e)
{
    static const char read[] = "SELECT id FROM apps WHERE project_id = $1 AND name = $2";
    struct db_value values[] = {DBV_I64(project_id), DBV_TEXTZ(name), DBV_I64(clock_now_us())};
    CLEANUP(db_rows_freep) struct db_rows *before = NULL, *made = NULL, *after = NULL;
    struct db_rows **rows = &before;
    rc_t rc = db_one(db, read, values, 2, &before, e);
    if (rc == E_NOTFOUND) { /* each insert that meets a row would use up a number */
        rows = &made;
        rc = db_one(
            db,
            "INSERT INTO apps (project_id, name, needs_rows, active, created_us) VALUES ($1, $2, false, false, $3) "
            "ON CONFLICT (project_id, name) DO NOTHING RETURNING id",
            values, 3, &made, e);
    }
    if (rc == E_NOTFOUND) { /* it has registered itself this moment */
        rows = &after;
        rc = db_one(db, read, values, 2, &after, e);
    }
    if (!rc)
        *ret_id = DB_I32(*rows, 0, 0);
    return rc;
}

rc_t app_put(struct db *db, int32_t project_id, const char *name, bool needs_rows, bool active, int32_t *ret_id,
             struct err *e)
{
    const struct app_row in = {
        .project_id = project_id, .name = (char *)(uintptr_t)name, .needs_rows = needs_rows, .active = active};
    return app_register(db, &in, ret_id, e);
}
