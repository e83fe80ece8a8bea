/* What operators do with dead letters. */
#include "db/letter.h"

#include <stdio.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/text.h"
#include "db/driver.h"
#include "db/operator.h"
#include "db/window.h"

#define RETRY "dead_letter_retry"
#define RETRIES                                                                                                        \
    "(SELECT count(*) FROM operator_actions a WHERE a.action = '" RETRY "' AND a.pipeline = d.pipeline "               \
    "AND a.topic = d.topic AND a.partition = d.partition AND a.from_offset = d.\"offset\" AND a.letter_us = d.at_us)"
#define HEAD "d.pipeline, d.topic, d.partition, d.\"offset\", d.at_us, d.project_id, d.reason, d.field, d.error, d.size"
#define KEY "d.pipeline = $1 AND d.topic = $2 AND d.partition = $3 AND d.\"offset\" = $4 AND ($5 = 0 OR d.at_us = $5)"
#define KEY_PARAMS(id)                                                                                                 \
    DB_PARAMS(DBV_TEXT((id)->pipeline), DBV_TEXT((id)->topic), DBV_I64((id)->partition), DBV_I64((id)->offset),        \
              DBV_I64((id)->at_us))

/* The part before the next slash; what is left stays in *rest. */
static struct str part(struct str *rest)
{
    size_t n = 0;
    while (n < rest->n && rest->p[n] != '/')
        n++;
    struct str head = {rest->p, n};
    rest->p += n + (n < rest->n);
    rest->n -= n + (n < rest->n);
    return head;
}

rc_t letter_id_parse(struct str text, struct letter_id *ret, struct err *e)
{
    struct str rest = text;
    int64_t partition = 0;
    struct letter_id id = {.pipeline = part(&rest), .topic = part(&rest)};
    struct str p = part(&rest), o = part(&rest), at = part(&rest);
    if (id.pipeline.n == 0 || id.topic.n == 0 || num_i64_in(p, -1, INT32_MAX, &partition) != OK ||
        num_i64_in(o, 0, INT64_MAX, &id.offset) != OK || (at.n && num_i64(at, &id.at_us) != OK) || rest.n)
        return err_set(e, E_INVALID, "a dead letter is PIPELINE/TOPIC/PARTITION/OFFSET, not %.*s",
                       (int)(text.n < 100 ? text.n : 100), text.p);
    id.partition = (int32_t)partition;
    *ret = id;
    return OK;
}

static struct letter_row row_read(const struct db_rows *r, size_t i, bool whole)
{
    return (struct letter_row){
        .id = {db_text(r, i, 0), db_text(r, i, 1), (int32_t)db_i64(r, i, 2), db_i64(r, i, 3), db_i64(r, i, 4)},
        .project_id = (int32_t)db_i64(r, i, 5),
        .reason = db_text(r, i, 6),
        .field = db_text(r, i, 7),
        .error = db_text(r, i, 8),
        .size = db_i64(r, i, 9),
        .retries = db_i64(r, i, 10),
        .payload = whole ? db_text(r, i, 11) : (struct str){"", 0}};
}

static struct str text(struct str s)
{
    return s.p ? s : STR("");
}

rc_t letters_list(struct db *db, const struct letter_filter *f, struct letter_row **ret, size_t *n,
                  struct db_rows **ret_rows, struct err *e)
{
    struct db_rows *r = NULL;
    rc_t rc = db_exec(
        db,
        "SELECT * FROM (SELECT " HEAD ", " RETRIES " AS retries FROM dead_letters d WHERE ($1 = 0 OR "
        "d.project_id = $1) AND ($2 = '' OR d.pipeline = $2) AND ($3 = '' OR d.reason = $3)) AS l "
        "WHERE ($4 = 1 OR l.retries = 0) AND ($6 = 0 OR at_us < $6 OR (at_us = $6 AND (topic > $7 OR (topic = $7 AND "
        "(partition > $8 OR (partition = $8 AND (\"offset\" < $9 OR (\"offset\" = $9 AND pipeline > $10)))))))) "
        "ORDER BY at_us DESC, topic, partition, \"offset\" DESC, pipeline LIMIT $5",
        DB_PARAMS(DBV_I64(f->project_id), DBV_TEXT(f->pipeline), DBV_TEXT(f->reason), DBV_I64(f->all),
                  DBV_I64(f->limit), DBV_I64(f->after.at_us), DBV_TEXT(text(f->after.topic)),
                  DBV_I64(f->after.partition), DBV_I64(f->after.offset), DBV_TEXT(text(f->after.pipeline))),
        &r, e);
    if (rc)
        return rc;
    *n = db_rows_n(r);
    *ret = mem_array(*n + 1, sizeof **ret);
    for (size_t i = 0; i < *n; i++)
        (*ret)[i] = row_read(r, i, false);
    *ret_rows = r;
    return OK;
}

rc_t letter_get(struct db *db, const struct letter_id *id, struct letter_row *ret, struct db_rows **ret_rows, struct err *e)
{
    struct db_rows *r = NULL;
    rc_t rc = db_exec(
        db, "SELECT " HEAD ", " RETRIES ", d.payload FROM dead_letters d WHERE " KEY " ORDER BY d.at_us DESC LIMIT 1",
        KEY_PARAMS(id), &r, e);
    if (rc)
        return rc;
    if (db_rows_n(r) == 0) {
        db_rows_free(r);
        return err_set(e, E_NOTFOUND, "there is no dead letter %.*s/%.*s/%d/%lld", STR_FMT(id->pipeline),
                       STR_FMT(id->topic), id->partition, (long long)id->offset);
    }
    *ret = row_read(r, 0, true);
    *ret_rows = r;
    return OK;
}

/* Two operators at once: the second one waits here, and then sees what the first one did. */
static rc_t lock(struct db *db, const struct letter_id *id, struct letter_row *ret, struct db_rows **ret_rows, struct err *e)
{
    rc_t rc = db_exec(db, "SELECT d.at_us FROM dead_letters d WHERE " KEY " FOR UPDATE", KEY_PARAMS(id), NULL, e);
    return rc ? rc : letter_get(db, id, ret, ret_rows, e);
}

static rc_t note(struct db *db, const char *action, const struct letter_row *l, struct str who, struct str detail,
                 struct err *e)
{
    const struct operator_action a = {.who = who,
                                      .action = str_of(action),
                                      .pipeline = l->id.pipeline,
                                      .topic = l->id.topic,
                                      .partition = l->id.partition,
                                      .from_offset = l->id.offset,
                                      .letter_us = l->id.at_us,
                                      .detail = detail};
    return operator_action_add(db, &a, e);
}

static rc_t check_retry(const struct letter_row *l, const struct str *edited, bool force, struct err *e)
{
    if (l->retries && !force)
        return err_set(e, E_CONFLICT, "it was sent again already, %lld times", (long long)l->retries);
    if (!edited && l->size > (int64_t)l->payload.n)
        return err_set(e, E_LIMIT, "the row has the first %zu of %lld bytes: the whole record is in topic %.*s.dlt",
                       l->payload.n, (long long)l->size, STR_FMT(l->id.topic));
    struct str payload = edited ? *edited : l->payload;
    if (payload.n == 0 || !text_is_utf8(payload) || memchr(payload.p, '\0', payload.n))
        return err_set(e, E_INVALID, "it is no text, so no reader takes it: send a mended one");
    return OK;
}

static rc_t send_again(struct db *db, const struct letter_row *l, const struct str *edited, struct str who, struct err *e)
{
    char key[400]; /* two copies of one would meet in one partition, where the second is a duplicate */
    int n = snprintf(key, sizeof key, "%.*s-%d-%lld", STR_FMT(l->id.topic), l->id.partition, (long long)l->id.offset);
    const struct outbox_row row = {.project_id = l->project_id,
                                   .topic = l->id.topic,
                                   .key = {key, (size_t)n},
                                   .payload = edited ? *edited : l->payload,
                                   .traceparent = {"", 0},
                                   .created_us = clock_now_us()};
    rc_t rc = note(db, RETRY, l, who, edited ? STR("edited") : STR("as it came"), e);
    return rc ? rc : outbox_add(db, &row, 1, e);
}

rc_t letter_retry(struct db *db, const struct letter_id *id, const struct str *payload, bool force, struct str who,
                  struct err *e)
{
    struct letter_row l;
    struct db_rows *rows = NULL;
    bool own = false;
    rc_t rc = db_scope_begin(db, &own, e);
    if (rc)
        return rc;
    rc = lock(db, id, &l, &rows, e);
    if (!rc)
        rc = check_retry(&l, payload, force, e);
    if (!rc)
        rc = send_again(db, &l, payload, who, e);
    rc = db_scope_end(db, own, rc, e);
    db_rows_free(rows);
    return rc;
}

rc_t letter_drop(struct db *db, const struct letter_id *id, struct str who, struct err *e)
{
    struct letter_row l;
    struct db_rows *rows = NULL;
    bool own = false;
    rc_t rc = db_scope_begin(db, &own, e);
    if (rc)
        return rc;
    rc = lock(db, id, &l, &rows, e);
    if (!rc)
        rc = note(db, "dead_letter_drop", &l, who, l.reason, e);
    if (!rc)
        rc = db_run(
            db,
            "DELETE FROM dead_letters WHERE pipeline = $1 AND topic = $2 AND partition = $3 AND \"offset\" = $4 "
            "AND at_us = $5",
            KEY_PARAMS(&l.id), NULL, e);
    rc = db_scope_end(db, own, rc, e);
    db_rows_free(rows);
    return rc;
}
