/* Owns the SQL that counts what a project has. */
#include "store.h"

static void add_object(struct project_counts *c, struct str kind, struct str type, int64_t n)
{
    const struct {
        const char *type;
        int64_t *at;
    } artifacts[] = {
        {"model", &c->models}, {"dataset", &c->datasets}, {"document", &c->documents}, {"llm-prompt", &c->prompts}};
    if (str_eqz(kind, "feature-set"))
        c->feature_sets += n;
    if (!str_eqz(kind, "artifact"))
        return;
    for (size_t i = 0; i < sizeof artifacts / sizeof *artifacts; i++)
        if (str_eqz(type, artifacts[i].type)) {
            *artifacts[i].at += n;
            return;
        }
    c->files += n;
}

static void add_run(struct project_counts *c, struct str state, bool recent, int64_t n)
{
    static const char *const running[] = {"running", "pending", "created", "pendingRetry", "aborting"};
    static const char *const failed[] = {"error", "aborted"};
    for (size_t i = 0; i < sizeof running / sizeof *running; i++)
        if (str_eqz(state, running[i]))
            c->runs_running += n;
    for (size_t i = 0; i < sizeof failed / sizeof *failed; i++)
        if (recent && str_eqz(state, failed[i]))
            c->runs_failed += n;
    if (recent && str_eqz(state, "completed"))
        c->runs_completed += n;
}

static rc_t count_objects(struct db *db, int32_t project_id, struct project_counts *c, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    const struct db_value params[] = {DBV_I64(project_id)};
    rc_t rc = db_exec(db,
                      "SELECT kind, type, count(DISTINCT name) FROM documents"
                      " WHERE project_id = $1 AND kind IN ('artifact', 'feature-set') GROUP BY kind, type",
                      params, 1, &rows, e);
    for (size_t i = 0; rc == OK && i < db_rows_n(rows); i++)
        add_object(c, db_text(rows, i, 0), db_text(rows, i, 1), db_i64(rows, i, 2));
    return rc;
}

static rc_t count_runs(struct db *db, int32_t project_id, int64_t since_us, struct project_counts *c, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    const struct db_value params[] = {DBV_I64(project_id), DBV_I64(since_us)};
    rc_t rc = db_exec(db,
                      "SELECT state, CASE WHEN updated_us >= $2 THEN 1 ELSE 0 END AS recent, count(*) FROM documents"
                      " WHERE project_id = $1 AND kind = 'run' AND iter = 0 GROUP BY 1, 2",
                      params, 2, &rows, e);
    for (size_t i = 0; rc == OK && i < db_rows_n(rows); i++)
        add_run(c, db_text(rows, i, 0), db_i64(rows, i, 1) != 0, db_i64(rows, i, 2));
    return rc;
}

static rc_t count_others(struct db *db, int32_t project_id, struct project_counts *c, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    const struct db_value params[] = {DBV_I64(project_id)};
    rc_t rc = db_exec(db,
                      "SELECT (SELECT count(*) FROM endpoints WHERE project_id = $1 AND latest AND mode = 0),"
                      " (SELECT count(*) FROM endpoints WHERE project_id = $1 AND latest AND mode <> 0),"
                      " (SELECT count(*) FROM apps WHERE project_id = $1 AND active),"
                      " (SELECT count(DISTINCT pipeline) FROM ledger WHERE project_id = $1 AND stopped <> '')",
                      params, 1, &rows, e);
    if (rc != OK)
        return rc;
    c->real_time = db_i64(rows, 0, 0);
    c->batch = db_i64(rows, 0, 1);
    c->apps = db_i64(rows, 0, 2);
    c->stopped = db_i64(rows, 0, 3);
    return OK;
}

rc_t store_project_counts(struct db *db, int32_t project_id, int64_t since_us, struct project_counts *ret, struct err *e)
{
    *ret = (struct project_counts){0};
    rc_t rc = count_objects(db, project_id, ret, e);
    if (rc == OK)
        rc = count_runs(db, project_id, since_us, ret, e);
    return rc == OK ? count_others(db, project_id, ret, e) : rc;
}
