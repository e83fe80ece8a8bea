/* Access tokens in the database. */
#include "db/token.h"

#include <stdio.h>

#include "base/mem.h"
#include "db/driver.h"

#define COLUMNS                                                                                                        \
    "id, name, hash, scopes, projects, rate, created_us, created_by, expires_us, last_used_us, revoked_us, revoked_by"
#define TOKENS_MAX 100000 /* read at once: more than anybody makes */

static struct token read_token(const struct db_rows *r, size_t i)
{
    struct token t = {.id = db_i64(r, i, 0),
                      .name = db_dup(r, i, 1),
                      .scopes = db_dup(r, i, 3),
                      .projects = db_dup(r, i, 4),
                      .rate = db_i64(r, i, 5),
                      .created_us = db_i64(r, i, 6),
                      .created_by = db_dup(r, i, 7),
                      .expires_us = db_i64(r, i, 8),
                      .last_used_us = db_i64(r, i, 9),
                      .revoked_us = db_i64(r, i, 10),
                      .revoked_by = db_dup(r, i, 11)};
    (void)snprintf(t.hash, sizeof t.hash, "%.*s", STR_FMT(db_text(r, i, 2))); /* made as long as this */
    return t;
}

void tokens_free(struct token *t, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        mem_free(t[i].name);
        mem_free(t[i].scopes);
        mem_free(t[i].projects);
        mem_free(t[i].created_by);
        mem_free(t[i].revoked_by);
    }
    mem_free(t);
}

/* The row's lock puts changes in an order: who reads a version has all that came before it. */
static rc_t raise_version(struct db *db, struct err *e)
{
    return db_run(db, "UPDATE access_version SET version = version + 1 WHERE id = 1", NULL, 0, NULL, e);
}

rc_t token_create(struct db *db, const struct token *in, struct err *e)
{
    bool own = false;
    rc_t rc = db_scope_begin(db, &own, e);
    if (rc)
        return rc;
    rc = raise_version(db, e);
    if (!rc)
        rc = db_run(
            db,
            "INSERT INTO access_tokens (name, hash, scopes, projects, rate, created_us, created_by, expires_us) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7, NULLIF($8, 0))",
            DB_PARAMS(DBV_TEXTZ(in->name), DBV_TEXTZ(in->hash), DBV_TEXTZ(in->scopes), DBV_TEXTZ(in->projects),
                      DBV_I64(in->rate), DBV_I64(in->created_us), DBV_TEXTZ(in->created_by), DBV_I64(in->expires_us)),
            NULL, e);
    if (rc == E_CONFLICT)
        (void)err_set(e, rc, "there is a token %s: revoke it, or take another name", in->name);
    return db_scope_end(db, own, rc, e);
}

rc_t token_revoke(struct db *db, struct str name, struct str who, int64_t now_us, struct err *e)
{
    bool own = false;
    int64_t n = 0;
    rc_t rc = db_scope_begin(db, &own, e);
    if (rc)
        return rc;
    rc = raise_version(db, e);
    if (!rc)
        rc = db_run(db, "UPDATE access_tokens SET revoked_us = $2, revoked_by = $3 WHERE name = $1 AND revoked_us IS NULL",
                    DB_PARAMS(DBV_TEXT(name), DBV_I64(now_us), DBV_TEXT(who)), &n, e);
    if (!rc && n == 0)
        rc = err_set(e, E_NOTFOUND, "there is no token %.*s", STR_FMT(name));
    return db_scope_end(db, own, rc, e);
}

rc_t tokens_list(struct db *db, bool all, struct token **ret, size_t *n, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *r = NULL;
    rc_t rc = db_exec(db, "SELECT " COLUMNS " FROM access_tokens WHERE $1 OR revoked_us IS NULL ORDER BY id LIMIT $2",
                      DB_PARAMS(DBV_BOOL(all), DBV_I64(TOKENS_MAX)), &r, e);
    if (rc)
        return rc;
    *n = db_rows_n(r);
    *ret = mem_array(*n + 1, sizeof **ret);
    for (size_t i = 0; i < *n; i++)
        (*ret)[i] = read_token(r, i);
    return OK;
}

rc_t tokens_version(struct db *db, int64_t *ret, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *r = NULL;
    rc_t rc = db_one(db, "SELECT version FROM access_version WHERE id = 1", NULL, 0, &r, e);
    if (!rc)
        *ret = db_i64(r, 0, 0);
    return rc;
}

rc_t token_used(struct db *db, int64_t id, int64_t at_us, struct err *e)
{
    return db_run(db, "UPDATE access_tokens SET last_used_us = $2 WHERE id = $1 AND coalesce(last_used_us, 0) < $2",
                  DB_PARAMS(DBV_I64(id), DBV_I64(at_us)), NULL, e);
}
