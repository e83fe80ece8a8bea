/* Owns the writing of endpoint records as MLRun's clients read them. */
#include <string.h>
#include "base/time.h"
#include "lake/lake.h"
#include "monitoring_set.h"
#include "record.h"

static void write_time(struct json_writer *w, const char *key, int64_t us)
{
    char text[TIME_TEXT];
    if (us == 0) {
        jw_kv_strz(w, key, NULL);
        return;
    }
    (void)time_iso_offset(text, us);
    jw_kv_strz(w, key, text);
}

static void write_json(struct json_writer *w, const char *key, struct str json)
{
    jw_kv_raw(w, key, json.n ? json : STR("{}"));
}

static void write_value(struct json_writer *w, const struct json *doc, const char *key, const char *def)
{
    const struct json *v = json_get(doc, key);
    jw_key(w, key);
    if (v)
        json_write(v, w);
    else
        jw_raw(w, str_of(def));
}

static bool same_name(const struct json *given, const struct json *column)
{
    struct err ignored = {0};
    struct str a, b;
    if (json_str(given, &a, &ignored) != OK || json_str(json_get(column, "name"), &b, &ignored) != OK || a.n > RECORD_TEXT_MAX)
        return false;
    char name[RECORD_TEXT_MAX + 10];
    return str_eq((struct str){name, column_name(name, a)}, b);
}

/* Names as the client gave them, as long as the schema in force is the one made of them; else the schema's. */
static void write_names(struct json_writer *w, const char *key, const struct json *given, const struct json *columns,
                        bool named)
{
    bool same = json_len(given) == json_len(columns);
    const struct json *g = json_first(given);
    for (const struct json *c = json_first(columns); same && c && g; c = json_next(c), g = json_next(g))
        same = same_name(g, c);
    jw_key(w, key);
    jw_array(w);
    if (!columns || !named || same)
        for (g = json_first(given); g; g = json_next(g))
            json_write(g, w);
    else
        for (const struct json *c = json_first(columns); c; c = json_next(c))
            json_write(json_get(c, "name"), w);
    jw_array_end(w);
}

static void write_metadata(struct json_writer *w, const struct endpoint *ep, const char *project, const struct json *doc)
{
    jw_key(w, "metadata");
    jw_object(w);
    jw_kv_strz(w, "name", ep->name);
    jw_kv_strz(w, "project", project);
    write_value(w, doc, "tag", "null");
    write_json(w, "labels", str_of(ep->labels));
    write_time(w, "updated", ep->updated_us);
    write_time(w, "created", ep->created_us);
    jw_kv_strz(w, "uid", ep->uid);
    jw_kv_i64(w, "endpoint_type", ep->endpoint_type);
    jw_kv_i64(w, "mode", ep->mode);
    jw_object_end(w);
}

/* The client's own, or the one that the api answers. */
static void write_set_uri(struct json_writer *w, const struct endpoint *ep, const char *project, const struct json *doc)
{
    struct err ignored = {0};
    struct str given = {0};
    struct buf own = {0};
    if (json_opt_str(doc, "monitoring_feature_set_uri", &given, &ignored) != OK || given.n == 0) {
        monitoring_set_uri(ep, project, &own);
        given = buf_str(&own);
    }
    jw_kv_str(w, "monitoring_feature_set_uri", given);
    buf_done(&own);
}

static void write_spec(struct json_writer *w, const struct endpoint *ep, const char *project, const struct json *doc,
                       const struct record_extra *x)
{
    CLEANUP(json_freep) struct json *schema = x->schema.n ? record_document(x->schema) : NULL;
    jw_key(w, "spec");
    jw_object(w);
    jw_kv_strz(w, "model_class", ep->model_class);
    jw_kv_strz(w, "function_name", ep->function_name);
    jw_kv_strz(w, "function_tag", ep->function_tag);
    write_value(w, doc, "model_path", "\"\"");
    jw_kv_strz(w, "model_name", ep->model_name);
    write_value(w, doc, "model_tags", "[]");
    write_names(w, "feature_names", json_get(doc, "feature_names"), json_get(schema, "features"), x->schema_named);
    write_names(w, "label_names", json_get(doc, "label_names"), json_get(schema, "labels"), x->schema_named);
    write_json(w, "feature_stats", x->feature_stats);
    jw_kv_strz(w, "function_uri", ep->function_uri);
    jw_kv_strz(w, "model_uri", ep->model_uri);
    write_value(w, doc, "children", "[]");
    write_value(w, doc, "children_uids", "[]");
    write_set_uri(w, ep, project, doc);
    jw_object_end(w);
}

static void write_status(struct json_writer *w, const struct endpoint *ep, const struct json *doc,
                         const struct record_extra *x)
{
    jw_key(w, "status");
    jw_object(w);
    write_value(w, doc, "state", "\"unknown\"");
    write_time(w, "first_request", ep->first_request_us);
    jw_kv_strz(w, "monitoring_mode", ep->monitoring_mode);
    jw_kv_f64(w, "sampling_percentage", ep->sampling_percentage);
    write_time(w, "last_request", ep->last_request_us);
    jw_kv_i64(w, "result_status", x->result_status);
    jw_kv_f64(w, "avg_latency", x->avg_latency); /* NaN is null */
    jw_kv_i64(w, "error_count", x->error_count);
    write_json(w, "current_stats", x->current_stats);
    write_time(w, "current_stats_timestamp", x->current_stats_us);
    write_json(w, "drift_measures", x->drift_measures);
    write_time(w, "drift_measures_timestamp", x->drift_measures_us);
    jw_object_end(w);
}

void record_write(struct json_writer *w, const struct endpoint *ep, const char *project, const struct record_extra *x)
{
    CLEANUP(json_freep) struct json *doc = record_document(str_of(ep->document));
    jw_object(w);
    jw_kv_strz(w, "kind", "model-endpoint");
    write_metadata(w, ep, project, doc);
    write_spec(w, ep, project, doc, x);
    write_status(w, ep, doc, x);
    jw_object_end(w);
}
