/* Owns monitoring feature sets. */
#include "monitoring_set.h"

#include <string.h>
#include "base/mem.h"
#include "base/time.h"
#include "event/names.h"
#include "record.h"

#define PREFIX "monitoring-"

static void add_name(const struct endpoint *ep, struct buf *out)
{
    buf_addf(out, PREFIX "%s-%s", ep->function_name, ep->name);
}

void monitoring_set_uri(const struct endpoint *ep, const char *project, struct buf *out)
{
    buf_addf(out, "store://feature-sets/%s/", project);
    add_name(ep, out);
    buf_addf(out, ":%s_", ep->uid);
}

static const char *value_type(const struct json *column)
{
    static const char *const types[][2] = {{"number", "float"}, {"bool", "bool"}};
    struct err ignored = {0};
    struct str type = {0};
    if (json_opt_str(json_get(column, "type") ? column : NULL, "type", &type, &ignored) != OK)
        type = (struct str){0};
    for (size_t i = 0; i < 2; i++)
        if (str_eqz(type, types[i][0]))
            return types[i][1];
    return "str";
}

static void add_features(struct json *list, const struct json *columns)
{
    for (const struct json *col = json_first(columns); col; col = json_next(col)) {
        struct json *f = json_add_object(list);
        json_set_take(f, "name", json_dup(json_get(col, "name")));
        json_set_strz(f, "value_type", value_type(col));
    }
}

static void add_target(struct call *c, const struct project *p, const struct endpoint *ep, struct json *list, bool state)
{
    char text[TIME_TEXT];
    struct json *t = json_add_object(list);
    json_set_strz(t, "name", "parquet");
    json_set_strz(t, "kind", "parquet");
    json_set_bool(t, "partitioned", true);
    json_set_strz(t, "path",
                  arena_printf(c->arena, "%s/%s/model-endpoints/parquet/key=%s", c->api->options.lake_dir, p->name, ep->uid));
    if (!state)
        return;
    (void)time_iso_offset(text, ep->updated_us);
    json_set_strz(t, "status", "ready");
    json_set_strz(t, "updated", text);
}

static struct json *make(struct call *c, const struct project *p, const struct endpoint *ep, const struct json *schema,
                         struct str name, struct str reference)
{
    struct json *j = json_new_object(), *metadata, *spec, *status;
    json_set_strz(j, "kind", "FeatureSet");
    metadata = json_set_object(j, "metadata");
    json_set_str(metadata, "name", name);
    json_set_strz(metadata, "project", p->name);
    json_set_str(metadata, "tag", reference);
    spec = json_set_object(j, "spec");
    struct json *entity = json_add_object(json_set_array(spec, "entities"));
    json_set_strz(entity, "name", "endpoint_id");
    json_set_strz(entity, "value_type", "str");
    struct json *features = json_set_array(spec, "features");
    add_features(features, json_get(schema, "features"));
    add_features(features, json_get(schema, "labels"));
    json_set_strz(spec, "timestamp_key", "timestamp");
    json_set_strz(spec, "engine", "storey");
    add_target(c, p, ep, json_set_array(spec, "targets"), false);
    status = json_set_object(j, "status");
    json_set_strz(status, "state", "ready");
    add_target(c, p, ep, json_set_array(status, "targets"), true);
    return j;
}

static rc_t read_schema(struct call *c, const struct endpoint *ep, struct json **ret, struct err *e)
{
    struct endpoint_schema s = {0};
    rc_t rc = ep->schema_version ? schema_get(c->db, ep->id, 0, 0, &s, e) : E_NOTFOUND;
    *ret = record_document(rc == OK ? str_of(s.document) : STR("{}"));
    endpoint_schema_done(&s);
    return rc == E_NOTFOUND ? OK : rc;
}

rc_t monitoring_set_answer(struct call *c, const struct project *p, struct str name, struct str reference, struct err *e)
{
    struct endpoint ep = {0};
    CLEANUP(json_freep) struct json *schema = NULL;
    CLEANUP(buf_done) struct buf right = {0};
    struct str uid = {reference.p, reference.n ? reference.n - 1 : 0};
    if (name.n <= strlen(PREFIX) || memcmp(name.p, PREFIX, strlen(PREFIX)) != 0 || !name_is_uid(uid) ||
        reference.p[uid.n] != '_')
        return E_NOTFOUND;
    rc_t rc = endpoint_get(c->db, p->id, uid, &ep, e);
    if (rc == OK) {
        add_name(&ep, &right);
        rc = str_eq(name, buf_str(&right)) ? read_schema(c, &ep, &schema, e) : E_NOTFOUND;
    }
    if (rc == OK) {
        CLEANUP(json_freep) struct json *j = make(c, p, &ep, schema, name, reference);
        call_answer(c, 200, j);
    }
    endpoint_done(&ep);
    return rc;
}
