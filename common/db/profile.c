/* The tables of datastore profiles and of the credentials of monitoring. */
#include "db/profile.h"

#include "base/clock.h"
#include "base/mem.h"
#include "db/driver.h"

void profile_done(struct profile *p)
{
    mem_free(p->name);
    mem_free(p->type);
    mem_free(p->object);
    *p = (struct profile){0};
}

void profiles_free(struct profile *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        profile_done(&p[i]);
    mem_free(p);
}

void profile_secret_name(const char *project, struct str profile, struct buf *out)
{
    buf_addf(out, PROFILE_SECRETS "%s.%.*s", project, STR_FMT(profile));
}

static struct profile read_row(const struct db_rows *r, size_t i)
{
    return (struct profile){.name = db_dup(r, i, 0), .type = db_dup(r, i, 1), .object = db_dup(r, i, 2)};
}

rc_t profile_put(struct db *db, int32_t project_id, const struct profile *p, struct err *e)
{
    return db_run(
        db,
        "INSERT INTO datastore_profiles (project_id, name, type, object, updated_us) VALUES ($1, $2, $3, $4, $5) "
        "ON CONFLICT (project_id, name) DO UPDATE SET type = EXCLUDED.type, object = EXCLUDED.object, "
        "updated_us = EXCLUDED.updated_us",
        DB_PARAMS(DBV_I64(project_id), DBV_TEXTZ(p->name), DBV_TEXTZ(p->type), DBV_TEXTZ(p->object),
                  DBV_I64(clock_now_us())),
        NULL, e);
}

rc_t profile_get(struct db *db, int32_t project_id, struct str name, struct profile *ret, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_one(db, "SELECT name, type, object FROM datastore_profiles WHERE project_id = $1 AND name = $2",
                     DB_PARAMS(DBV_I64(project_id), DBV_TEXT(name)), &rows, e);
    if (!rc)
        *ret = read_row(rows, 0);
    return rc;
}

rc_t profiles_list(struct db *db, int32_t project_id, struct profile **ret, size_t *n, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_exec(db, "SELECT name, type, object FROM datastore_profiles WHERE project_id = $1 ORDER BY name",
                      DB_PARAMS(DBV_I64(project_id)), &rows, e);
    if (rc)
        return rc;
    *n = db_rows_n(rows);
    *ret = mem_array(*n, sizeof **ret);
    for (size_t i = 0; i < *n; i++)
        (*ret)[i] = read_row(rows, i);
    return OK;
}

rc_t profile_delete(struct db *db, int32_t project_id, struct str name, struct err *e)
{
    int64_t n = 0;
    rc_t rc = db_run(db, "DELETE FROM datastore_profiles WHERE project_id = $1 AND name = $2",
                     DB_PARAMS(DBV_I64(project_id), DBV_TEXT(name)), &n, e);
    return rc == OK && n == 0 ? E_NOTFOUND : rc;
}

void credentials_done(struct credentials *c)
{
    mem_free(c->stream);
    mem_free(c->tsdb);
    *c = (struct credentials){0};
}

rc_t credentials_get(struct db *db, int32_t project_id, struct credentials *ret, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_one(db, "SELECT stream_profile, tsdb_profile, updated_us FROM monitoring_credentials WHERE project_id = $1",
                     DB_PARAMS(DBV_I64(project_id)), &rows, e);
    if (!rc)
        *ret = (struct credentials){.project_id = project_id,
                                    .stream = db_dup(rows, 0, 0),
                                    .tsdb = db_dup(rows, 0, 1),
                                    .updated_us = db_i64(rows, 0, 2)};
    return rc;
}

rc_t credentials_put(struct db *db, const struct credentials *c, struct err *e)
{
    return db_run(
        db,
        "INSERT INTO monitoring_credentials (project_id, stream_profile, tsdb_profile, updated_us) "
        "VALUES ($1, $2, $3, $4) ON CONFLICT (project_id) DO UPDATE SET stream_profile = EXCLUDED.stream_profile, "
        "tsdb_profile = EXCLUDED.tsdb_profile, updated_us = EXCLUDED.updated_us",
        DB_PARAMS(DBV_I64(c->project_id), DBV_TEXTZ(c->stream), DBV_TEXTZ(c->tsdb), DBV_I64(clock_now_us())), NULL, e);
}

rc_t stream_wishes_list(struct db *db, struct stream_wish **ret, size_t *n, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_exec(
        db,
        "SELECT p.id, p.name, c.stream_profile, c.updated_us FROM monitoring_credentials c "
        "JOIN projects p ON p.id = c.project_id WHERE p.monitoring AND c.stream_profile <> '' ORDER BY p.id",
        NULL, 0, &rows, e);
    if (rc)
        return rc;
    *n = db_rows_n(rows);
    *ret = mem_array(*n + 1, sizeof **ret);
    for (size_t i = 0; i < *n; i++)
        (*ret)[i] = (struct stream_wish){.project_id = DB_I32(rows, i, 0),
                                         .project = db_dup(rows, i, 1),
                                         .profile = db_dup(rows, i, 2),
                                         .updated_us = db_i64(rows, i, 3)};
    return OK;
}

void stream_wishes_free(struct stream_wish *w, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        mem_free(w[i].project);
        mem_free(w[i].profile);
    }
    mem_free(w);
}

rc_t credentials_bridge(struct db *db, int32_t project_id, const char *pipeline, struct err *e)
{
    return db_run(db, "UPDATE monitoring_credentials SET bridge = $2 WHERE project_id = $1 AND bridge <> $2",
                  DB_PARAMS(DBV_I64(project_id), DBV_TEXTZ(pipeline)), NULL, e);
}
