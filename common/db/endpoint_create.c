/* MLRun's create: what becomes of the record that is there already. */
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/mem.h"
#include "db/endpoint_rows.h"

#define ARCHIVE_MAX 5 /* records of a name, the latest included */

enum strategy { INPLACE, OVERWRITE, ARCHIVE, SKIP, N_STRATEGIES };
static const char *const strategies[N_STRATEGIES] = {"inplace", "overwrite", "archive", "skip"};

static rc_t strategy_read(const char *name, enum strategy *ret, struct err *e)
{
    for (size_t i = 0; i < N_STRATEGIES; i++) {
        if (name && strcmp(name, strategies[i]) == 0) {
            *ret = (enum strategy)i;
            return OK;
        }
    }
    return err_set(e, E_INVALID, "creation strategy must be inplace, overwrite, archive or skip");
}

static rc_t uid_make(char out[33], struct err *e)
{
    unsigned char bytes[16];
    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
        return err_set(e, E_FATAL, "no random numbers");
    for (size_t i = 0; i < sizeof bytes; i++) {
        out[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
        out[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
    }
    out[32] = '\0';
    return OK;
}

/* The record that this create is about, best first: the one with its uid, the latest that a client made, one that made
 * itself under this name and function (its tag may not have been in the events). */
static rc_t find(struct db *db, const struct endpoint *in, struct endpoint *ret, struct err *e)
{
    return endpoint_one(
        db,
        "SELECT " ENDPOINT " FROM endpoints WHERE project_id = $1 AND (($5 <> '' AND uid = $5) OR (name = $2 AND "
        "((NOT self_registered AND latest AND function_name = $3 AND function_tag = $4) OR "
        "(self_registered AND (function_name = $3 OR function_name = ''))))) "
        "ORDER BY ($5 <> '' AND uid = $5) DESC, self_registered, (function_name = $3) DESC, (function_tag = $4) DESC, "
        "latest DESC, id DESC LIMIT 1",
        DB_PARAMS(DBV_I64(in->project_id), DBV_TEXTZ(in->name), DBV_TEXTZ(in->function_name),
                  DBV_TEXTZ(in->function_tag), DBV_TEXTZ(in->uid)),
        ret, e);
}

/* The record takes what the client sent and keeps its uid, its requests and, if none were sent, its labels and document. */
static rc_t take_over(struct db *db, const struct endpoint *in, const struct endpoint *old, struct endpoint *ret,
                      struct err *e)
{
    struct endpoint same_name = *in;
    same_name.id = old->id;
    rc_t rc = endpoint_outdate_others(db, &same_name, false, e);
    if (rc)
        return rc;
    return endpoint_one(
        db,
        "UPDATE endpoints SET name = $2, function_name = $3, function_tag = $4, function_uri = $5, model_name = $6, "
        "model_class = $7, model_uri = $8, monitoring_mode = $9, labels = $10, document = $11, endpoint_type = $12, "
        "mode = $13, sampling_percentage = $14, self_registered = false, latest = true, updated_us = $15, "
        "change_seq = nextval('change_seq') WHERE id = $1 RETURNING " ENDPOINT,
        DB_PARAMS(DBV_I64(old->id), DBV_TEXTZ(in->name), DBV_TEXTZ(in->function_name), DBV_TEXTZ(in->function_tag),
                  DBV_TEXTZ(in->function_uri ? in->function_uri : old->function_uri),
                  DBV_TEXTZ(in->model_name ? in->model_name : old->model_name),
                  DBV_TEXTZ(in->model_class ? in->model_class : old->model_class),
                  DBV_TEXTZ(in->model_uri ? in->model_uri : old->model_uri),
                  DBV_TEXTZ(in->monitoring_mode ? in->monitoring_mode : old->monitoring_mode),
                  DBV_TEXTZ(in->labels ? in->labels : old->labels),
                  DBV_TEXTZ(in->document ? in->document : old->document), DBV_I64(in->endpoint_type), DBV_I64(in->mode),
                  DBV_F64(in->sampling_percentage), DBV_I64(clock_now_us())),
        ret, e);
}

static rc_t archive_trim(struct db *db, const struct endpoint *in, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_exec(db,
                      "SELECT id FROM endpoints WHERE project_id = $1 AND name = $2 AND function_name = $3 AND "
                      "function_tag = $4 AND NOT self_registered AND NOT latest ORDER BY id DESC LIMIT 1000 OFFSET $5",
                      DB_PARAMS(DBV_I64(in->project_id), DBV_TEXTZ(in->name), DBV_TEXTZ(in->function_name),
                                DBV_TEXTZ(in->function_tag), DBV_I64(ARCHIVE_MAX - 1)),
                      &rows, e);
    for (size_t i = 0; i < db_rows_n(rows) && !rc; i++)
        rc = endpoint_delete(db, db_i64(rows, i, 0), e);
    return rc;
}

static rc_t make(struct db *db, const struct endpoint *in, struct endpoint *ret, struct err *e)
{
    char uid[33];
    struct endpoint ep = *in;
    rc_t rc = *in->uid ? OK : uid_make(uid, e);
    if (rc)
        return rc;
    ep.uid = *in->uid ? in->uid : uid;
    ep.id = 0;
    ep.latest = true;
    ep.self_registered = false;
    rc = endpoint_outdate_others(db, &ep, false, e);
    bool made = false;
    if (!rc)
        rc = endpoint_insert(db, &ep, ret, &made, e);
    return !rc && !made ? err_set(e, E_CONFLICT, "another endpoint has the uid %s", ep.uid) : rc;
}

static rc_t create_locked(struct db *db, const struct endpoint *in, enum strategy how, struct endpoint *ret, struct err *e)
{
    struct endpoint old = {0};
    rc_t rc = change_lock(db, e);
    if (!rc)
        rc = find(db, in, &old, e);
    if (rc && rc != E_NOTFOUND)
        return rc;
    bool found = rc == OK;
    bool keeps_uid = found && (old.self_registered || how == INPLACE);
    rc = OK;
    if (found && !old.self_registered && how == SKIP) {
        *ret = old;
        return OK;
    }
    if (found && !keeps_uid && how == OVERWRITE)
        rc = endpoint_delete(db, old.id, e);
    if (!rc)
        rc = keeps_uid ? take_over(db, in, &old, ret, e) : make(db, in, ret, e);
    if (!rc && how == ARCHIVE) {
        rc = archive_trim(db, in, e);
        if (rc)
            endpoint_done(ret);
    }
    endpoint_done(&old);
    return rc;
}

rc_t endpoint_create(struct db *db, const struct endpoint *in, const char *strategy, struct endpoint *ret, struct err *e)
{
    enum strategy how = INPLACE;
    rc_t rc = strategy_read(strategy, &how, e);
    if (rc)
        return rc;
    if (!in->name || !*in->name)
        return err_set(e, E_INVALID, "an endpoint needs a name");
    char none[] = "", latest[] = "latest";
    struct endpoint want = *in, ep = {0};
    want.uid = in->uid ? in->uid : none;
    want.function_name = in->function_name ? in->function_name : none;
    want.function_tag = in->function_tag && *in->function_tag ? in->function_tag : *want.function_name ? latest : none;
    bool own = false;
    rc = db_scope_begin(db, &own, e);
    if (rc)
        return rc;
    rc = db_scope_end(db, own, create_locked(db, &want, how, &ep, e), e);
    if (rc) {
        endpoint_done(&ep);
        return rc;
    }
    *ret = ep;
    return OK;
}
