/* Owns the routes of endpoint records as MLRun's clients before 1.8 ask them: by uid, with the fields of 1.7 at their places. */
#include "endpoint_old.h"

#include <string.h>
#include "base/mem.h"
#include "endpoint_write.h"
#include "event/names.h"
#include "record.h"

#define KEYS_MAX 100

static struct json *child(struct json *j, const char *key)
{
    struct json *m = json_get(j, key);
    return json_type(m) == JSON_OBJECT ? m : json_set_object(j, key);
}

/* Where a field of 1.7 is in a record of today. */
static const struct {
    const char *old_part, *old_key, *part, *key;
} moved[] = {{"spec", "monitoring_mode", "status", "monitoring_mode"},
             {"status", "feature_stats", "spec", "feature_stats"},
             {"status", "children", "spec", "children"},
             {"status", "children_uids", "spec", "children_uids"},
             {"status", "endpoint_type", "metadata", "endpoint_type"},
             {"status", "monitoring_feature_set_uri", "spec", "monitoring_feature_set_uri"}};

static void copy(const struct json *from, const char *part, const char *key, struct json *to, const char *to_part,
                 const char *to_key)
{
    const struct json *v = json_get(json_get(from, part), key);
    if (v && json_type(v) != JSON_NULL)
        json_set_take(child(to, to_part), to_key, json_dup(v));
}

/* ---- answers ---- */
static void add_old(struct json *record)
{
    static const char *const drift[] = {"NO_DRIFT", "POSSIBLE_DRIFT", "DRIFT_DETECTED"};
    struct err ignored = {0};
    int64_t status = -1;
    for (size_t i = 0; i < sizeof moved / sizeof *moved; i++)
        copy(record, moved[i].part, moved[i].key, record, moved[i].old_part, moved[i].old_key);
    copy(record, "spec", "model_name", record, "spec", "model");
    json_set_bool(child(record, "spec"), "active", true);
    if (json_opt_i64(child(record, "status"), "result_status", &status, &ignored) == OK && status >= 0 && status <= 2)
        json_set_strz(child(record, "status"), "drift_status", drift[status]);
}

void endpoint_old_answer(struct call *c)
{
    CLEANUP(json_freep) struct json *j = NULL;
    struct err ignored = {0};
    const struct json_limits limits = {.bytes = c->out.len, .values = 20000000, .string_bytes = 8 << 20, .accept_nan = true};
    if (!call_before_1_8(c) || json_parse(&j, c->out.data, c->out.len, &limits, &ignored) != OK)
        return;
    if (json_get(j, "endpoints"))
        for (struct json *r = json_first(json_get(j, "endpoints")); r; r = json_next(r))
            add_old(r);
    else
        add_old(j);
    buf_clear(&c->out);
    json_print(j, JSON_NAN_NULL, &c->out);
}

/* ---- created by uid ---- */
static rc_t add_function(struct json *record, const struct json *spec, struct err *e)
{
    struct str text = {0};
    struct function_uri uri;
    rc_t rc = json_opt_str(spec, "function_uri", &text, e);
    if (rc != OK || text.n == 0)
        return rc;
    rc = function_uri_parse(text, &uri, e);
    if (rc != OK)
        return err_prefix(e, rc, "spec.function_uri: ");
    json_set_str(child(record, "spec"), "function_name", uri.function);
    json_set_str(child(record, "spec"), "function_tag", uri.tag.n ? uri.tag : STR("latest"));
    return OK;
}

static rc_t add_model(struct json *record, const struct json *spec, struct err *e)
{
    struct str model = {0};
    rc_t rc = json_need_str(spec, "model", &model, e);
    const char *colon = rc == OK ? memchr(model.p, ':', model.n) : NULL; /* name:version */
    if (rc != OK)
        return rc;
    json_set_str(child(record, "spec"), "model_name", model);
    json_set_str(child(record, "metadata"), "name", (struct str){model.p, colon ? (size_t)(colon - model.p) : model.n});
    return OK;
}

static rc_t renew(const struct project *p, struct str uid, const struct json *body, struct json **ret, struct err *e)
{
    static const char *const kept[] = {"function_uri", "model_class", "model_uri", "feature_names", "label_names"};
    struct json *record = json_new_object(), *metadata = NULL, *spec = NULL;
    struct str own = uid;
    rc_t rc = json_opt_object(body, "metadata", &metadata, e);
    if (rc == OK && metadata)
        rc = json_opt_str(metadata, "uid", &own, e);
    if (rc == OK)
        rc = json_need_object(body, "spec", &spec, e);
    if (rc == OK && !str_eq(own, uid))
        rc = err_set(e, E_INVALID, "metadata.uid: the path says %.*s", STR_FMT(uid));
    json_set_strz(child(record, "metadata"), "project", p->name);
    copy(body, "metadata", "project", record, "metadata", "project");
    copy(body, "metadata", "labels", record, "metadata", "labels");
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        copy(body, "spec", kept[i], record, "spec", kept[i]);
    copy(body, "status", "first_request", record, "status", "first_request");
    copy(body, "status", "last_request", record, "status", "last_request");
    for (size_t i = 0; i < sizeof moved / sizeof *moved; i++)
        copy(body, moved[i].old_part, moved[i].old_key, record, moved[i].part, moved[i].key);
    if (rc == OK)
        rc = add_model(record, spec, e);
    if (rc == OK)
        rc = add_function(record, spec, e);
    if (rc == OK)
        *ret = record;
    else
        json_free(record);
    return rc;
}

/* A uid of 40 digits is an alias: newer clients refuse it. Its record is made first, and adopted then. */
static rc_t put_alias(struct call *c, const struct project *p, struct str uid, struct json *record, struct err *e)
{
    struct endpoint in = {0}, made = {0};
    struct json *stats = NULL;
    bool created;
    struct str kept = {uid.p, uid_is_legacy(uid) ? UID_LEGACY_LEN : uid.n};
    json_set_str(child(record, "metadata"), "uid", kept);
    if (!uid_is_legacy(uid))
        return OK;
    rc_t rc = record_read(record, p, &in, &stats, e);
    if (rc == OK)
        rc = endpoint_register(c->db, &in, arena_dup(c->arena, uid.p, uid.n), 0, &made, &created, e);
    endpoint_done(&made);
    endpoint_done(&in);
    return rc;
}

rc_t post_endpoint_old(struct call *c, struct err *e)
{
    CLEANUP(json_freep) struct json *body = NULL, *record = NULL;
    struct project p = {0};
    struct str uid = http_param(c->r, "name");
    rc_t rc = call_project(c, &p, e);
    if (rc == OK && !name_is_uid(uid))
        rc = err_set(e, E_INVALID, "endpoint id: 1 to %d letters, digits, - and _", NAME_UID_MAX);
    if (rc == OK)
        rc = call_json(c, &body, e);
    if (rc == OK)
        rc = renew(&p, uid, body, &record, e);
    if (rc == OK)
        rc = put_alias(c, &p, uid, record, e);
    if (rc == OK)
        rc = endpoint_post(c, &p, record, "inplace", e);
    if (rc == OK)
        endpoint_old_answer(c);
    project_done(&p);
    return rc;
}

/* ---- changed by uid ---- */
/* A list or an object may come as text, as 1.7 stored them. */
static struct json *value_of(const struct json *v)
{
    struct json *inner = NULL;
    struct str text = {0};
    struct err ignored = {0};
    if (json_str(v, &text, &ignored) == OK && text.n && (*text.p == '[' || *text.p == '{') &&
        json_parse(&inner, text.p, text.n, NULL, &ignored) == OK)
        return inner;
    return json_dup(v);
}

static rc_t place(struct call *c, const struct json *attributes, struct json *record, struct call_query *q, struct err *e)
{
    size_t n = json_len(attributes);
    if (n == 0 || n > KEYS_MAX)
        return err_set(e, E_INVALID, "attributes: 1 to %d fields are wanted", KEYS_MAX);
    *q = (struct call_query){arena_array(c->arena, n, sizeof *q->names), arena_array(c->arena, n, sizeof *q->values), 0};
    for (const struct json *a = json_first(attributes); a; a = json_next(a)) {
        struct str key = str_of(json_key(a));
        const char *part = record_part_of(key);
        if (!part)
            return err_set(e, E_INVALID, "attributes.%.*s: it cannot be changed", STR_FMT(key));
        json_set_take(child(record, part), json_key(a), value_of(a));
        q->names[q->n] = STR("attribute-key");
        q->values[q->n++] = key;
    }
    return OK;
}

static rc_t patch(struct call *c, const struct project *p, const struct endpoint *ep, const struct json *attributes,
                  struct err *e)
{
    CLEANUP(json_freep) struct json *record = json_new_object();
    struct call_query q;
    rc_t rc = place(c, attributes, record, &q, e);
    json_set_strz(child(record, "metadata"), "name", ep->name);
    json_set_strz(child(record, "metadata"), "project", p->name);
    json_set_strz(child(record, "metadata"), "uid", ep->uid);
    if (rc != OK)
        return rc;
    c->query = &q;
    rc = endpoint_patch(c, p, record, e);
    c->query = NULL;
    return rc;
}

rc_t patch_endpoint_old(struct call *c, struct err *e)
{
    CLEANUP(json_freep) struct json *attributes = NULL;
    struct project p = {0};
    struct endpoint ep = {0};
    struct str text = call_str(c, "attributes");
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        rc = call_uid(c, &p, http_param(c->r, "name"), &ep, e);
    if (rc == OK && json_parse(&attributes, text.p, text.n, NULL, e) != OK)
        rc = err_prefix(e, E_INVALID, "attributes: ");
    if (rc == OK)
        rc = patch(c, &p, &ep, attributes, e);
    if (rc == OK) {
        buf_clear(&c->out);
        rc = answer_endpoint(c, &p, ep.id, e);
    }
    if (rc == OK)
        endpoint_old_answer(c);
    endpoint_done(&ep);
    project_done(&p);
    return rc;
}
