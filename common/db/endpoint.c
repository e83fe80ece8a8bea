/* Endpoint records: reading, registering, changing, deleting. */
#include "db/endpoint.h"

#include "base/clock.h"
#include "base/mem.h"
#include "db/endpoint_rows.h"

#define CHANGE_LOCK INT64_C(7305813000000000003)

void endpoint_done(struct endpoint *ep)
{
    char *const texts[] = {ep->uid,        ep->name,        ep->function_name, ep->function_tag,    ep->function_uri,
                           ep->model_name, ep->model_class, ep->model_uri,     ep->monitoring_mode, ep->labels,
                           ep->document};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        mem_free(texts[i]);
    *ep = (struct endpoint){0};
}

void endpoints_free(struct endpoint *eps, size_t n)
{
    for (size_t i = 0; i < n; i++)
        endpoint_done(&eps[i]);
    mem_free(eps);
}

struct endpoint endpoint_read(const struct db_rows *r, size_t i)
{
    return (struct endpoint){
        .id = db_i64(r, i, 0),
        .project_id = DB_I32(r, i, 1),
        .uid = db_dup(r, i, 2),
        .name = db_dup(r, i, 3),
        .function_name = db_dup(r, i, 4),
        .function_tag = db_dup(r, i, 5),
        .function_uri = db_dup(r, i, 6),
        .model_name = db_dup(r, i, 7),
        .model_class = db_dup(r, i, 8),
        .model_uri = db_dup(r, i, 9),
        .monitoring_mode = db_dup(r, i, 10),
        .labels = db_dup(r, i, 11),
        .document = db_dup(r, i, 12),
        .endpoint_type = DB_I32(r, i, 13),
        .mode = DB_I32(r, i, 14),
        .sampling_percentage = db_f64(r, i, 15),
        .self_registered = db_bool(r, i, 16),
        .latest = db_bool(r, i, 17),
        .first_request_us = db_i64(r, i, 18),
        .last_request_us = db_i64(r, i, 19),
        .schema_version = DB_I32(r, i, 20),
        .reference_version = DB_I32(r, i, 21),
        .created_us = db_i64(r, i, 22),
        .updated_us = db_i64(r, i, 23),
        .change_seq = db_i64(r, i, 24),
    };
}

rc_t endpoint_one(struct db *db, const char *sql, const struct db_value *params, size_t n, struct endpoint *ret,
                  struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_one(db, sql, params, n, &rows, e);
    if (rc == E_NOTFOUND)
        return err_set(e, rc, "no such endpoint");
    if (!rc)
        *ret = endpoint_read(rows, 0);
    return rc;
}

rc_t endpoint_get(struct db *db, int32_t project_id, struct str uid, struct endpoint *ret, struct err *e)
{
    struct db_value values[] = {DBV_I64(project_id), DBV_TEXT(uid)};
    rc_t rc = endpoint_one(db, "SELECT " ENDPOINT " FROM endpoints WHERE project_id = $1 AND uid = $2", values, 2, ret, e);
    if (rc == E_NOTFOUND)
        rc = endpoint_one(db,
                          "SELECT " ENDPOINT " FROM endpoints WHERE id = (SELECT endpoint_id FROM endpoint_aliases "
                          "WHERE project_id = $1 AND alias = $2)",
                          values, 2, ret, e);
    return rc;
}

rc_t endpoint_get_named(struct db *db, int32_t project_id, struct str name, struct str function, struct endpoint *ret,
                        struct err *e)
{
    struct str of = function.n > 0 ? function : STR("");
    return endpoint_one(db,
                        "SELECT " ENDPOINT " FROM endpoints WHERE project_id = $1 AND name = $2 AND "
                        "($3 = '' OR function_name = $3 OR function_name = '') "
                        "ORDER BY (function_name = $3) DESC, self_registered, latest DESC, id DESC LIMIT 1",
                        DB_PARAMS(DBV_I64(project_id), DBV_TEXT(name), DBV_TEXT(of)), ret, e);
}

rc_t endpoint_get_id(struct db *db, int64_t id, struct endpoint *ret, struct err *e)
{
    return endpoint_one(db, "SELECT " ENDPOINT " FROM endpoints WHERE id = $1", DB_PARAMS(DBV_I64(id)), ret, e);
}

rc_t change_lock(struct db *db, struct err *e)
{
    return db_tx_lock(db, CHANGE_LOCK, e);
}

rc_t endpoints_lock(struct db *db, struct err *e)
{
    return change_lock(db, e);
}

/* --- making --- */
#define TEXT_OR(z, other) DBV_TEXTZ((z) ? (z) : (other))

rc_t endpoint_insert(struct db *db, const struct endpoint *ep, struct endpoint *ret, bool *ret_made, struct err *e)
{
    rc_t rc = endpoint_one(
        db,
        "INSERT INTO endpoints (project_id, uid, name, function_name, function_tag, function_uri, model_name, "
        "model_class, model_uri, monitoring_mode, labels, document, endpoint_type, mode, sampling_percentage, "
        "self_registered, latest, first_request_us, last_request_us, created_us, updated_us, change_seq) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, NULLIF($18, 0), "
        "NULLIF($19, 0), $20, $20, nextval('change_seq')) ON CONFLICT (project_id, uid) DO NOTHING RETURNING " ENDPOINT,
        DB_PARAMS(DBV_I64(ep->project_id), TEXT_OR(ep->uid, ""), TEXT_OR(ep->name, ""), TEXT_OR(ep->function_name, ""),
                  TEXT_OR(ep->function_tag, ""), TEXT_OR(ep->function_uri, ""), TEXT_OR(ep->model_name, ""),
                  TEXT_OR(ep->model_class, ""), TEXT_OR(ep->model_uri, ""), TEXT_OR(ep->monitoring_mode, "enabled"),
                  TEXT_OR(ep->labels, "{}"), TEXT_OR(ep->document, "{}"), DBV_I64(ep->endpoint_type), DBV_I64(ep->mode),
                  DBV_F64(ep->sampling_percentage), DBV_BOOL(ep->self_registered), DBV_BOOL(ep->latest),
                  DBV_I64(ep->first_request_us), DBV_I64(ep->last_request_us), DBV_I64(clock_now_us())),
        ret, e);
    *ret_made = !rc;
    return rc == E_NOTFOUND ? OK : rc;
}

rc_t endpoint_outdate_others(struct db *db, const struct endpoint *ep, bool self_registered_only, struct err *e)
{
    return db_run(db,
                  "UPDATE endpoints SET latest = false, change_seq = nextval('change_seq') WHERE project_id = $1 "
                  "AND name = $2 AND function_name = $3 AND function_tag = $4 AND latest AND id <> $5 "
                  "AND (self_registered OR NOT $6)",
                  DB_PARAMS(DBV_I64(ep->project_id), TEXT_OR(ep->name, ""), TEXT_OR(ep->function_name, ""),
                            TEXT_OR(ep->function_tag, ""), DBV_I64(ep->id), DBV_BOOL(self_registered_only)),
                  NULL, e);
}

static rc_t room_check(struct db *db, int32_t project_id, int64_t max, struct err *e)
{
    if (max <= 0)
        return OK;
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_one(db, "SELECT count(*) FROM endpoints WHERE project_id = $1 AND self_registered",
                     DB_PARAMS(DBV_I64(project_id)), &rows, e);
    if (!rc && db_i64(rows, 0, 0) >= max)
        rc = err_set(e, E_LIMIT, "the project has %lld endpoints that registered themselves, as many as it may",
                     (long long)max);
    return rc;
}

/* A record that a client made stays the latest of its name; among those that made themselves the newest is. */
static rc_t register_new(struct db *db, const struct endpoint *in, int64_t max, struct endpoint *ret, bool *ret_made,
                         struct err *e)
{
    char latest[] = "latest"; /* what a function without a tag has */
    struct endpoint ep = *in;
    bool has_function = in->function_name && *in->function_name, has_tag = in->function_tag && *in->function_tag;
    ep.function_tag = has_function && !has_tag ? latest : in->function_tag;
    ep.self_registered = true;
    rc_t rc = room_check(db, in->project_id, max, e);
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    if (!rc)
        rc = db_one(db,
                    "SELECT EXISTS (SELECT 1 FROM endpoints WHERE project_id = $1 AND name = $2 AND function_name = $3 "
                    "AND function_tag = $4 AND latest AND NOT self_registered)",
                    DB_PARAMS(DBV_I64(ep.project_id), TEXT_OR(ep.name, ""), TEXT_OR(ep.function_name, ""),
                              TEXT_OR(ep.function_tag, "")),
                    &rows, e);
    if (rc)
        return rc;
    ep.latest = !db_bool(rows, 0, 0);
    bool made = false;
    rc = endpoint_insert(db, &ep, ret, &made, e);
    if (!rc && made && ep.latest) {
        ep.id = ret->id;
        rc = endpoint_outdate_others(db, &ep, true, e);
        if (rc)
            endpoint_done(ret);
    }
    *ret_made = made && !rc;
    return rc;
}

static rc_t alias_put(struct db *db, int32_t project_id, const char *alias, int64_t endpoint_id, struct err *e)
{
    return db_run(db, "INSERT INTO endpoint_aliases (project_id, alias, endpoint_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                  DB_PARAMS(DBV_I64(project_id), DBV_TEXTZ(alias), DBV_I64(endpoint_id)), NULL, e);
}

static rc_t register_locked(struct db *db, const struct endpoint *in, const char *alias, int64_t max,
                            struct endpoint *ret, bool *ret_made, struct err *e)
{
    rc_t rc = change_lock(db, e);
    if (!rc)
        rc = endpoint_get(db, in->project_id, str_of(in->uid), ret, e);
    *ret_made = rc == E_NOTFOUND;
    if (rc == E_NOTFOUND)
        rc = register_new(db, in, max, ret, ret_made, e);
    if (!rc && alias && *alias) {
        rc = alias_put(db, in->project_id, alias, ret->id, e);
        if (rc)
            endpoint_done(ret);
    }
    return rc;
}

rc_t endpoint_register(struct db *db, const struct endpoint *in, const char *alias, int64_t max_per_project,
                       struct endpoint *ret, bool *ret_created, struct err *e)
{
    if (!in->uid || !*in->uid)
        return err_set(e, E_INVALID, "an endpoint needs a uid to register");
    rc_t rc = endpoint_get(db, in->project_id, str_of(in->uid), ret, e);
    if (rc != E_NOTFOUND) {
        if (!rc)
            *ret_created = false;
        return rc;
    }
    bool own = false, made = false;
    struct endpoint ep = {0};
    rc = db_scope_begin(db, &own, e);
    if (rc)
        return rc;
    rc = db_scope_end(db, own, register_locked(db, in, alias, max_per_project, &ep, &made, e), e);
    if (rc) {
        endpoint_done(&ep);
        return rc;
    }
    *ret = ep;
    *ret_created = made;
    return OK;
}

/* --- changing --- */
/* Request times only widen: what the caller read may be older than what statistics has written since. */
static rc_t update_locked(struct db *db, const struct endpoint *ep, struct err *e)
{
    int64_t changed = 0;
    rc_t rc = change_lock(db, e);
    if (!rc)
        rc = db_run(db,
                    "UPDATE endpoints SET function_uri = $2, model_name = $3, model_class = $4, model_uri = $5, "
                    "monitoring_mode = $6, labels = $7, document = $8, endpoint_type = $9, mode = $10, "
                    "sampling_percentage = $11, first_request_us = LEAST(first_request_us, NULLIF($12, 0)), "
                    "last_request_us = GREATEST(last_request_us, NULLIF($13, 0)), updated_us = $14, "
                    "change_seq = nextval('change_seq') WHERE id = $1",
                    DB_PARAMS(DBV_I64(ep->id), TEXT_OR(ep->function_uri, ""), TEXT_OR(ep->model_name, ""),
                              TEXT_OR(ep->model_class, ""), TEXT_OR(ep->model_uri, ""),
                              TEXT_OR(ep->monitoring_mode, "enabled"), TEXT_OR(ep->labels, "{}"), TEXT_OR(ep->document, "{}"),
                              DBV_I64(ep->endpoint_type), DBV_I64(ep->mode), DBV_F64(ep->sampling_percentage),
                              DBV_I64(ep->first_request_us), DBV_I64(ep->last_request_us), DBV_I64(clock_now_us())),
                    &changed, e);
    return !rc && !changed ? err_set(e, E_NOTFOUND, "no such endpoint") : rc;
}

rc_t endpoint_update(struct db *db, const struct endpoint *ep, struct err *e)
{
    bool own = false;
    rc_t rc = db_scope_begin(db, &own, e);
    return rc ? rc : db_scope_end(db, own, update_locked(db, ep, e), e);
}

/* The record goes, and with it everybody's way to the rows; those are deletion.h's. */
static rc_t delete_locked(struct db *db, int64_t id, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *seq = NULL;
    int64_t found = 0;
    rc_t rc = change_lock(db, e);
    if (!rc)
        rc = db_run(db,
                    "INSERT INTO deleted_endpoints (endpoint_id, project_id, project, uid, deleted_us, due_us) "
                    "SELECT e.id, e.project_id, p.name, e.uid, $2, $2 FROM endpoints e JOIN projects p "
                    "ON p.id = e.project_id WHERE e.id = $1",
                    DB_PARAMS(DBV_I64(id), DBV_I64(clock_now_us())), &found, e);
    if (!rc && !found)
        return err_set(e, E_NOTFOUND, "no such endpoint");
    if (!rc)
        rc = db_run(db, "DELETE FROM endpoints WHERE id = $1", DB_PARAMS(DBV_I64(id)), NULL, e);
    /* last: who sees it move looks soon after (endpoints_gone) */
    return rc ? rc : db_exec(db, "SELECT nextval('change_seq')", NULL, 0, &seq, e);
}

rc_t endpoint_delete(struct db *db, int64_t id, struct err *e)
{
    bool own = false;
    rc_t rc = db_scope_begin(db, &own, e);
    return rc ? rc : db_scope_end(db, own, delete_locked(db, id, e), e);
}

/* Without arrays: one statement an endpoint, which costs no round trip. */
static rc_t seen_each(struct db *db, const struct endpoint_seen *seen, size_t n, struct err *e)
{
    rc_t rc = OK;
    for (size_t i = 0; i < n && !rc; i++)
        rc = db_run(db,
                    "UPDATE endpoints SET first_request_us = LEAST(first_request_us, $2), "
                    "last_request_us = GREATEST(last_request_us, $3) WHERE id = $1 AND (first_request_us IS NULL OR "
                    "last_request_us IS NULL OR $2 < first_request_us OR $3 > last_request_us)",
                    DB_PARAMS(DBV_I64(seen[i].endpoint_id), DBV_I64(seen[i].first_us), DBV_I64(seen[i].last_us)), NULL, e);
    return rc;
}

/* Rows are locked in the order of their ids: two sinks may have seen the same endpoints. */
rc_t endpoints_seen(struct db *db, const struct endpoint_seen *seen, size_t n, struct err *e)
{
    if (!n)
        return OK;
    if (!db->dialect->arrays) {
        bool own = false;
        rc_t rc = db_scope_begin(db, &own, e);
        return rc ? rc : db_scope_end(db, own, seen_each(db, seen, n, e), e);
    }
    CLEANUP(buf_done) struct buf ids = {0}, first = {0}, last = {0};
    for (size_t i = 0; i < n; i++) {
        char sep = i ? ',' : '{';
        buf_addf(&ids, "%c%lld", sep, (long long)seen[i].endpoint_id);
        buf_addf(&first, "%c%lld", sep, (long long)seen[i].first_us);
        buf_addf(&last, "%c%lld", sep, (long long)seen[i].last_us);
    }
    buf_addc(&ids, '}');
    buf_addc(&first, '}');
    buf_addc(&last, '}');
    return db_run(
        db,
        "WITH seen AS (SELECT id, min(first_us) AS first_us, max(last_us) AS last_us FROM "
        "unnest(CAST($1 AS bigint[]), CAST($2 AS bigint[]), CAST($3 AS bigint[])) AS s (id, first_us, last_us) "
        "GROUP BY id), locked AS MATERIALIZED (SELECT e.id FROM endpoints e JOIN seen s ON s.id = e.id WHERE "
        "e.first_request_us IS NULL OR e.last_request_us IS NULL OR s.first_us < e.first_request_us OR "
        "s.last_us > e.last_request_us ORDER BY e.id FOR NO KEY UPDATE OF e) "
        "UPDATE endpoints e SET first_request_us = LEAST(e.first_request_us, s.first_us), "
        "last_request_us = GREATEST(e.last_request_us, s.last_us) FROM locked l JOIN seen s ON s.id = l.id "
        "WHERE e.id = l.id",
        DB_PARAMS(DBV_TEXT(buf_str(&ids)), DBV_TEXT(buf_str(&first)), DBV_TEXT(buf_str(&last))), NULL, e);
}
