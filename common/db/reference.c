/* Schemas and references of endpoints: numbered versions that never change. */
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "db/endpoint_rows.h"

#define LOOK_AGAIN_MAX 10000 /* windows of an endpoint, the newest */
#define SCHEMA "version, seq, created_us, named, document, from_us, from_partition, from_generation, from_offset"
#define SETTLE_US (3 * USEC_PER_SEC) /* pipelines look for changes each second: by then all of them know */
#define REFERENCE "version, statistics, labels, source, created_us"

void endpoint_schema_done(struct endpoint_schema *s)
{
    mem_free(s->document);
    *s = (struct endpoint_schema){0};
}

void endpoint_reference_done(struct endpoint_reference *r)
{
    mem_free(r->statistics);
    mem_free(r->labels);
    mem_free(r->source);
    *r = (struct endpoint_reference){0};
}

void references_free(struct endpoint_reference *r, size_t n)
{
    for (size_t i = 0; i < n; i++)
        endpoint_reference_done(&r[i]);
    mem_free(r);
}

/* --- schemas --- */
static struct endpoint_schema schema_read(const struct db_rows *r, size_t i)
{
    return (struct endpoint_schema){.version = DB_I32(r, i, 0),
                                    .seq = db_i64(r, i, 1),
                                    .created_us = db_i64(r, i, 2),
                                    .named = db_bool(r, i, 3),
                                    .document = db_dup(r, i, 4),
                                    .from = {.us = db_i64(r, i, 5),
                                             .partition = DB_I32(r, i, 6),
                                             .generation = DB_I32(r, i, 7),
                                             .offset = db_i64(r, i, 8)}};
}

static rc_t schema_one(struct db *db, const char *sql, const struct db_value *params, size_t n,
                       struct endpoint_schema *ret, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *r = NULL;
    rc_t rc = db_one(db, sql, params, n, &r, e);
    if (rc == E_NOTFOUND)
        return err_set(e, rc, "the endpoint has no such schema");
    if (!rc)
        *ret = schema_read(r, 0);
    return rc;
}

void schemas_free(struct endpoint_schema *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        endpoint_schema_done(&s[i]);
    mem_free(s);
}

rc_t schema_list(struct db *db, int64_t endpoint_id, struct endpoint_schema **ret, size_t *ret_n, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *r = NULL;
    rc_t rc = db_exec(db, "SELECT " SCHEMA " FROM endpoint_schemas WHERE endpoint_id = $1 ORDER BY version DESC",
                      DB_PARAMS(DBV_I64(endpoint_id)), &r, e);
    if (rc)
        return rc;
    size_t n = db_rows_n(r);
    *ret = mem_array(n ? n : 1, sizeof **ret);
    for (size_t i = 0; i < n; i++)
        (*ret)[i] = schema_read(r, i);
    *ret_n = n;
    return OK;
}

rc_t schema_get(struct db *db, int64_t endpoint_id, int version_or_0, int64_t max_seq, struct endpoint_schema *ret,
                struct err *e)
{
    return schema_one(db,
                      "SELECT " SCHEMA " FROM endpoint_schemas WHERE endpoint_id = $1 AND ($2 = 0 OR version = $2) "
                      "AND ($3 = 0 OR seq <= $3) ORDER BY version DESC LIMIT 1",
                      DB_PARAMS(DBV_I64(endpoint_id), DBV_I64(version_or_0), DBV_I64(max_seq)), ret, e);
}

/* A record's columns are those of any version that has them. A client's are the newest from now on, whatever was before. */
static rc_t schema_same(struct db *db, int64_t endpoint_id, struct str document, bool newest_alone,
                        struct endpoint_schema *ret, struct err *e)
{
    return schema_one(db,
                      "SELECT " SCHEMA " FROM endpoint_schemas WHERE endpoint_id = $1 AND document = $2 AND ($3 = 0 OR "
                      "version = (SELECT max(version) FROM endpoint_schemas WHERE endpoint_id = $1)) "
                      "ORDER BY version DESC LIMIT 1",
                      DB_PARAMS(DBV_I64(endpoint_id), DBV_TEXT(document), DBV_I64(newest_alone)), ret, e);
}

static rc_t schema_add(struct db *db, int32_t project_id, int64_t endpoint_id, struct str document, bool named,
                       const struct schema_from *from, struct endpoint_schema *ret, struct err *e)
{
    struct endpoint_schema s = {0};
    int64_t now = clock_now_us();
    struct schema_from at = from ? *from : (struct schema_from){.us = now + SETTLE_US, .partition = -1};
    rc_t rc = change_lock(db, e);
    if (!rc)
        rc = schema_same(db, endpoint_id, document, !from, &s, e);
    if (rc != E_NOTFOUND) {
        if (!rc)
            *ret = s;
        return rc;
    }
    rc = schema_one(db,
                    "INSERT INTO endpoint_schemas (project_id, endpoint_id, version, document, named, created_us, "
                    "from_us, from_partition, from_generation, from_offset) "
                    "SELECT $1, $2, COALESCE(max(version), 0) + 1, $3, $4, $5, $6, $7, $8, $9 FROM endpoint_schemas "
                    "WHERE endpoint_id = $2 RETURNING " SCHEMA,
                    DB_PARAMS(DBV_I64(project_id), DBV_I64(endpoint_id), DBV_TEXT(document), DBV_BOOL(named), DBV_I64(now),
                              DBV_I64(at.us), DBV_I64(at.partition), DBV_I64(at.generation), DBV_I64(at.offset)),
                    &s, e);
    if (!rc)
        rc = db_run(db,
                    "UPDATE endpoints SET schema_version = $2, updated_us = $3, change_seq = nextval('change_seq') "
                    "WHERE id = $1",
                    DB_PARAMS(DBV_I64(endpoint_id), DBV_I64(s.version), DBV_I64(now)), NULL, e);
    if (rc)
        endpoint_schema_done(&s);
    else
        *ret = s;
    return rc;
}

rc_t schema_put(struct db *db, int32_t project_id, int64_t endpoint_id, struct str document, bool named,
                const struct schema_from *from, struct endpoint_schema *ret, struct err *e)
{
    rc_t rc = schema_same(db, endpoint_id, document, !from, ret, e);
    if (rc != E_NOTFOUND)
        return rc;
    bool own = false;
    struct endpoint_schema s = {0};
    rc = db_scope_begin(db, &own, e);
    if (rc)
        return rc;
    rc = db_scope_end(db, own, schema_add(db, project_id, endpoint_id, document, named, from, &s, e), e);
    if (rc)
        endpoint_schema_done(&s);
    else
        *ret = s;
    return rc;
}

/* Rows appear in the order of seq (change_lock), so the largest that is seen bounds all that are. The first is 2. */
rc_t schema_seq_now(struct db *db, int64_t *ret, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_one(db, "SELECT COALESCE(max(seq), 1) FROM endpoint_schemas", NULL, 0, &rows, e);
    if (!rc)
        *ret = db_i64(rows, 0, 0);
    return rc;
}

/* --- references --- */
static struct endpoint_reference reference_read(const struct db_rows *r, size_t i)
{
    return (struct endpoint_reference){.version = DB_I32(r, i, 0),
                                       .statistics = db_dup(r, i, 1),
                                       .labels = db_dup(r, i, 2),
                                       .source = db_dup(r, i, 3),
                                       .created_us = db_i64(r, i, 4)};
}

rc_t reference_get(struct db *db, int64_t endpoint_id, int version_or_0, struct endpoint_reference *ret, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_one(db,
                     "SELECT " REFERENCE
                     " FROM endpoint_references WHERE endpoint_id = $1 AND ($2 = 0 OR version = $2) "
                     "ORDER BY version DESC LIMIT 1",
                     DB_PARAMS(DBV_I64(endpoint_id), DBV_I64(version_or_0)), &rows, e);
    if (rc == E_NOTFOUND)
        return err_set(e, rc, "the endpoint has no such reference");
    if (!rc)
        *ret = reference_read(rows, 0);
    return rc;
}

/* Windows that were closed without a reference get another revision with this one, if it is in force at their end; the
 * controller decides whether they are too old for that. In the order in which statistics makes windows pending. */
static rc_t windows_look_again(struct db *db, int32_t project_id, int64_t endpoint_id, int64_t ending_us, struct err *e)
{
    return db_run(
        db,
        "INSERT INTO pending_windows (project_id, endpoint_id, window_start_us, window_end_us, rows, last_handled_us) "
        "SELECT project_id, endpoint_id, window_start_us, window_end_us, 0, 0 FROM (SELECT * FROM windows "
        "WHERE project_id = $1 AND endpoint_id = $2 AND window_end_us >= $3 AND reference_version = 0 AND revision > 0 "
        "AND rows > 0 ORDER BY window_end_us DESC LIMIT $4) w ORDER BY window_end_us ON CONFLICT DO NOTHING",
        DB_PARAMS(DBV_I64(project_id), DBV_I64(endpoint_id), DBV_I64(ending_us), DBV_I64(LOOK_AGAIN_MAX)), NULL, e);
}

static rc_t reference_insert(struct db *db, int32_t project_id, int64_t endpoint_id, const struct endpoint_reference *r,
                             struct err *e)
{
    rc_t rc = db_run(
        db,
        "INSERT INTO endpoint_references (project_id, endpoint_id, version, statistics, labels, source, created_us) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7)",
        DB_PARAMS(DBV_I64(project_id), DBV_I64(endpoint_id), DBV_I64(r->version), DBV_TEXTZ(r->statistics),
                  DBV_TEXTZ(r->labels), DBV_TEXTZ(r->source), DBV_I64(r->created_us)),
        NULL, e);
    if (!rc)
        rc = db_run(db,
                    "UPDATE endpoints SET reference_version = $2, updated_us = $3, change_seq = nextval('change_seq') "
                    "WHERE id = $1",
                    DB_PARAMS(DBV_I64(endpoint_id), DBV_I64(r->version), DBV_I64(clock_now_us())), NULL, e);
    return rc;
}

static rc_t reference_add(struct db *db, int32_t project_id, int64_t endpoint_id, struct str statistics,
                          struct str labels, const char *source, int *ret_version, struct err *e)
{
    struct endpoint_reference newest = {0};
    rc_t rc = change_lock(db, e);
    if (!rc)
        rc = reference_get(db, endpoint_id, 0, &newest, e);
    if (rc && rc != E_NOTFOUND)
        return rc;
    int version = newest.version;
    bool same = !rc && str_eqz(statistics, newest.statistics) && str_eqz(labels, newest.labels) &&
                strcmp(newest.source, REFERENCE_AUTO) != 0;
    endpoint_reference_done(&newest);
    if (same) {
        *ret_version = version;
        return OK;
    }
    struct endpoint_reference r = {.version = version + 1,
                                   .statistics = mem_dup(statistics.p, statistics.n),
                                   .labels = mem_dup(labels.p, labels.n),
                                   .source = mem_dupz(source),
                                   .created_us = clock_now_us()};
    rc = reference_insert(db, project_id, endpoint_id, &r, e);
    if (!rc && r.version == 1)
        rc = windows_look_again(db, project_id, endpoint_id, INT64_MIN, e);
    if (!rc)
        *ret_version = r.version;
    endpoint_reference_done(&r);
    return rc;
}

rc_t reference_put(struct db *db, int32_t project_id, int64_t endpoint_id, struct str statistics, struct str labels,
                   const char *source, int *ret_version, struct err *e)
{
    bool own = false;
    int version = 0;
    rc_t rc = db_scope_begin(db, &own, e);
    if (!rc)
        rc = db_scope_end(db, own, reference_add(db, project_id, endpoint_id, statistics, labels, source, &version, e), e);
    if (!rc)
        *ret_version = version;
    return rc;
}

static rc_t reference_first(struct db *db, int32_t project_id, int64_t endpoint_id, const struct endpoint_reference *r,
                            struct err *e)
{
    struct endpoint_reference there = {0};
    rc_t rc = change_lock(db, e);
    if (!rc)
        rc = reference_get(db, endpoint_id, 0, &there, e);
    endpoint_reference_done(&there);
    if (!rc)
        return err_set(e, E_CONFLICT, "the endpoint has a reference already");
    if (rc == E_NOTFOUND)
        rc = reference_insert(db, project_id, endpoint_id, r, e);
    return rc ? rc : windows_look_again(db, project_id, endpoint_id, r->created_us, e);
}

rc_t reference_put_first(struct db *db, int32_t project_id, int64_t endpoint_id, struct str statistics,
                         struct str labels, int64_t from_us, struct err *e)
{
    bool own = false;
    char source[] = REFERENCE_AUTO;
    struct endpoint_reference r = {.version = 1,
                                   .statistics = mem_dup(statistics.p, statistics.n),
                                   .labels = mem_dup(labels.p, labels.n),
                                   .source = source,
                                   .created_us = from_us};
    rc_t rc = db_scope_begin(db, &own, e);
    if (!rc)
        rc = db_scope_end(db, own, reference_first(db, project_id, endpoint_id, &r, e), e);
    mem_free(r.statistics);
    mem_free(r.labels);
    return rc;
}

rc_t references_list(struct db *db, int64_t endpoint_id, struct endpoint_reference **ret, size_t *n, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_exec(
        db, "SELECT version, '', labels, source, created_us FROM endpoint_references WHERE endpoint_id = $1 ORDER BY version",
        DB_PARAMS(DBV_I64(endpoint_id)), &rows, e);
    if (rc)
        return rc;
    *n = db_rows_n(rows);
    *ret = mem_array(*n, sizeof **ret);
    for (size_t i = 0; i < *n; i++)
        (*ret)[i] = reference_read(rows, i);
    return OK;
}

rc_t reference_in_force(struct db *db, int64_t endpoint_id, int64_t end_us, int *ret_version, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_one(db,
                     "SELECT COALESCE(max(CASE WHEN created_us <= $2 THEN version END), "
                     "min(CASE WHEN version = 1 AND source <> '" REFERENCE_AUTO
                     "' THEN 1 END), 0) FROM endpoint_references WHERE endpoint_id = $1",
                     DB_PARAMS(DBV_I64(endpoint_id), DBV_I64(end_us)), &rows, e);
    if (!rc)
        *ret_version = DB_I32(rows, 0, 0);
    return rc;
}
