/* What an operator looks at and decides at night: the ledger and the dead letters. Each decision is a row of operator_actions. */
#include "api.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/time.h"
#include "db/ledger.h"
#include "db/letter.h"
#include "json/write.h"

#define LETTERS_DEFAULT 100

static void write_time(struct json_writer *w, const char *key, int64_t us)
{
    char text[TIME_TEXT];
    jw_key(w, key);
    if (us <= 0) {
        jw_null(w);
        return;
    }
    (void)time_rfc3339(text, us); /* its length is not needed */
    jw_strz(w, text);
}

static void write_offset(struct json_writer *w, const char *key, int64_t offset)
{
    jw_key(w, key);
    if (offset < 0)
        jw_null(w);
    else
        jw_i64(w, offset);
}

static void write_ledger_row(struct json_writer *w, const struct ledger_row *r)
{
    bool known = r->next_offset >= 0 && r->end_offset >= r->next_offset;
    jw_object(w);
    jw_kv_strz(w, "pipeline", r->pipeline);
    jw_kv_strz(w, "topic", r->topic);
    jw_kv_i64(w, "partition", r->partition);
    write_offset(w, "next_offset", r->next_offset);
    write_offset(w, "end_offset", r->end_offset);
    write_offset(w, "lag", known ? r->end_offset - r->next_offset : -1);
    jw_kv_i64(w, "generation", r->generation);
    jw_kv_strz(w, "owner", r->owner);
    jw_kv_i64(w, "owner_epoch", r->owner_epoch);
    write_time(w, "frontier", r->frontier_us);
    write_time(w, "updated", r->updated_us);
    jw_kv_strz(w, "stopped", r->stopped);
    jw_kv_strz(w, "last_error", r->last_error);
    jw_object_end(w);
}

rc_t list_ledger(struct call *c, struct err *e)
{
    struct ledger_row *rows = NULL;
    struct json_writer w;
    size_t n = 0;
    rc_t rc = ledger_list(c->db, 0, NULL, &rows, &n, e);
    if (rc)
        return rc;
    jw_init(&w, &c->out, JSON_NAN_NULL);
    jw_object(&w);
    jw_key(&w, "ledger");
    jw_array(&w);
    for (size_t i = 0; i < n; i++)
        write_ledger_row(&w, &rows[i]);
    jw_array_end(&w);
    jw_object_end(&w);
    ledger_rows_free(rows, n);
    return OK;
}

static rc_t read_who(const struct json *body, struct str *who, struct err *e)
{
    *who = STR("api");
    return json_opt_str(body, "who", who, e);
}

static rc_t read_to(const struct json *body, int64_t *to, struct err *e)
{
    const struct json *j = json_get(body, "to");
    struct str word;
    struct err ignored;
    if (j && json_str(j, &word, &ignored) == OK) {
        *to = str_eqz(word, "low") ? LEDGER_LOW : LEDGER_HIGH;
        return OK;
    }
    return json_need_i64(body, "to", to, e);
}

rc_t post_ledger_skip(struct call *c, struct err *e)
{
    CLEANUP(json_freep) struct json *body = NULL;
    struct str pipeline = {0}, topic = {0}, who = {0};
    int64_t partition = 0, to = 0, from = 0;
    bool force = false;
    rc_t rc = call_json(c, &body, e);
    if (!rc)
        rc = json_need_str(body, "pipeline", &pipeline, e);
    if (!rc)
        rc = json_need_str(body, "topic", &topic, e);
    if (!rc)
        rc = json_need_i64(body, "partition", &partition, e);
    if (!rc)
        rc = read_to(body, &to, e);
    if (!rc)
        rc = json_opt_bool(body, "force", &force, e);
    if (!rc)
        rc = read_who(body, &who, e);
    if (!rc) /* JSON's strings are terminated */
        rc = ledger_skip(c->db, pipeline.p, topic.p, (int32_t)partition, to, force, who.p, &from, e);
    if (rc)
        return rc;
    struct json_writer w;
    jw_init(&w, &c->out, JSON_NAN_NULL);
    jw_object(&w);
    write_offset(&w, "from", from);
    jw_object_end(&w);
    return OK;
}

/* ---- dead letters ---- */

static void print_id(const struct letter_id *id, struct buf *out)
{
    buf_addf(out, "%.*s/%.*s/%d/%lld", STR_FMT(id->pipeline), STR_FMT(id->topic), id->partition, (long long)id->offset);
}

static void write_letter(struct json_writer *w, const struct letter_row *l, bool whole)
{
    CLEANUP(buf_done) struct buf id = {0};
    print_id(&l->id, &id);
    jw_object(w);
    jw_kv_str(w, "id", buf_str(&id));
    jw_kv_i64(w, "at_us", l->id.at_us);
    write_time(w, "at", l->id.at_us);
    jw_kv_str(w, "reason", l->reason);
    jw_kv_str(w, "field", l->field);
    jw_kv_str(w, "error", l->error);
    jw_kv_i64(w, "size", l->size);
    jw_kv_i64(w, "retries", l->retries);
    if (whole && text_is_utf8(l->payload))
        jw_kv_str(w, "payload", l->payload);
    else if (whole)
        jw_kv_strz(w, "payload", NULL); /* no text: the topic's .dlt has the bytes */
    jw_object_end(w);
}

static rc_t letter_filter(struct call *c, struct letter_filter *f, struct err *e)
{
    struct str project = call_str(c, "project");
    struct project p = {0};
    *f = (struct letter_filter){.pipeline = call_str(c, "pipeline"),
                                .reason = call_str(c, "reason"),
                                .all = call_bool(c, "all", false),
                                .limit = call_i64(c, "limit", LETTERS_DEFAULT)};
    rc_t rc = project.n ? project_get(c->db, project, &p, e) : OK;
    f->project_id = p.id;
    project_done(&p);
    struct str cursor = call_str(c, "cursor");
    if (!rc && cursor.n && (letter_id_parse(cursor, &f->after, e) || f->after.at_us <= 0))
        rc = call_complain(c, "cursor", e, "one is wanted that an answer had as next");
    return rc;
}

static void write_next_letter(struct json_writer *w, const struct letter_id *last)
{
    CLEANUP(buf_done) struct buf next = {0};
    print_id(last, &next);
    buf_addf(&next, "/%lld", (long long)last->at_us);
    jw_kv_str(w, "next", buf_str(&next));
}

rc_t list_letters(struct call *c, struct err *e)
{
    struct letter_filter f;
    struct letter_row *rows = NULL;
    struct db_rows *held = NULL;
    struct json_writer w;
    size_t n = 0;
    rc_t rc = letter_filter(c, &f, e);
    if (!rc)
        f.limit++; /* one more says whether there is more */
    if (!rc)
        rc = letters_list(c->db, &f, &rows, &n, &held, e);
    if (rc)
        return rc;
    jw_init(&w, &c->out, JSON_NAN_NULL);
    jw_object(&w);
    jw_key(&w, "dead_letters");
    jw_array(&w);
    size_t shown = n < (size_t)f.limit ? n : n - 1;
    for (size_t i = 0; i < shown; i++)
        write_letter(&w, &rows[i], false);
    jw_array_end(&w);
    if (shown < n)
        write_next_letter(&w, &rows[shown - 1].id);
    jw_object_end(&w);
    mem_free(rows);
    db_rows_free(held);
    return OK;
}

rc_t get_letter(struct call *c, struct err *e)
{
    struct letter_id id;
    struct letter_row l;
    struct db_rows *held = NULL;
    struct json_writer w;
    rc_t rc = letter_id_parse(call_str(c, "id"), &id, e);
    if (!rc)
        rc = letter_get(c->db, &id, &l, &held, e);
    if (rc)
        return rc;
    jw_init(&w, &c->out, JSON_NAN_NULL);
    write_letter(&w, &l, true);
    db_rows_free(held);
    return OK;
}

static rc_t read_letter(struct call *c, struct json **body, struct letter_id *id, struct str *who, struct err *e)
{
    struct str text = {0};
    rc_t rc = call_json(c, body, e);
    if (!rc)
        rc = json_need_str(*body, "id", &text, e);
    if (!rc)
        rc = letter_id_parse(text, id, e);
    return rc ? rc : read_who(*body, who, e);
}

rc_t post_letter_retry(struct call *c, struct err *e)
{
    CLEANUP(json_freep) struct json *body = NULL;
    struct letter_id id;
    struct str who, payload = {0};
    bool force = false;
    rc_t rc = read_letter(c, &body, &id, &who, e);
    if (!rc)
        rc = json_opt_bool(body, "force", &force, e);
    if (!rc)
        rc = json_opt_str(body, "payload", &payload, e);
    if (!rc)
        rc = letter_retry(c->db, &id, payload.p ? &payload : NULL, force, who, e);
    c->status = 202;
    return rc;
}

rc_t post_letter_drop(struct call *c, struct err *e)
{
    CLEANUP(json_freep) struct json *body = NULL;
    struct letter_id id;
    struct str who;
    rc_t rc = read_letter(c, &body, &id, &who, e);
    if (!rc)
        rc = letter_drop(c->db, &id, who, e);
    c->status = 204;
    return rc;
}
