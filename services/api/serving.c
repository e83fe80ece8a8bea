/* Owns serving specs. The spec is kept at deployment, since clients store their functions again afterwards, without all that the
 * deployment said. */
#include "serving.h"

#include "base/mem.h"
#include "event/names.h"

#define BROKERS_MAX 1000

static const struct object_kind object_serving = {"serving-spec", "serving_specs", NULL, "name"};

/* What a server reads of a function's spec, with what it takes for what is not there. */
static void copy_spec(const struct json *from, struct json *to)
{
    static const char *const keys[] = {"parameters",
                                       "graph",
                                       "load_mode",
                                       "graph_initializer",
                                       "error_stream",
                                       "track_models",
                                       "default_content_type",
                                       "model_endpoint_creation_task_name",
                                       "streaming",
                                       "api_handler_config",
                                       "secret_sources"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const struct json *v = json_get(from, keys[i]);
        if (v)
            json_set_take(to, keys[i], json_dup(v));
    }
    (void)object_child(to, "parameters");
    (void)object_child(to, "graph");
}

rc_t serving_store(struct call *c, const struct project *p, const struct object *function, struct str tag, struct err *e)
{
    const char *name = function->doc.name, *tag_text = arena_dup(c->arena, tag.p, tag.n);
    char hash[41];
    struct object o = {
        .kind = &object_serving,
        .body = json_new_object(),
        .doc = {.project_id = p->id, .kind = object_serving.kind, .name = mem_dupz(name), .uid = mem_dupz(tag_text)}};
    object_hash(function, hash);
    json_set_strz(o.body, "function_name", name);
    json_set_strz(o.body, "function_tag", tag_text);
    json_set_strz(o.body, "function_uri", arena_printf(c->arena, "%s/%s:%s", p->name, name, tag_text));
    json_set_strz(o.body, "function_hash", hash);
    json_set_strz(o.body, "project", p->name);
    json_set_strz(o.body, "version", "v2");
    json_set_object(o.body, "functions");
    copy_spec(json_get(function->body, "spec"), o.body);
    rc_t rc = object_store_in(c, &o, NULL, 0, e);
    object_done(&o);
    return rc;
}

/* A function that tracks its models and does not say where to sends to the project's topic, on these brokers. */
static rc_t set_stream(struct call *c, const struct project *p, struct str brokers, struct json *spec, struct err *e)
{
    struct json *parameters = object_child(spec, "parameters");
    char topic[NAME_TOPIC_MAX + 1];
    if (brokers.n == 0 || json_get(parameters, "log_stream"))
        return OK;
    if (brokers.n > BROKERS_MAX)
        return err_set(e, E_INVALID, "brokers: at most %d characters", BROKERS_MAX);
    rc_t rc = topic_stream(topic, c->api->options.id.system_id, str_of(p->name), e);
    if (rc == OK)
        json_set_strz(parameters, "log_stream", arena_printf(c->arena, "kafka://%.*s?topic=%s", STR_FMT(brokers), topic));
    return rc;
}

rc_t serving_text(struct call *c, const struct project *p, struct str name, struct str tag, struct str brokers,
                  struct buf *out, struct err *e)
{
    struct object o = {0};
    const struct document_filter f = {.project_id = p->id,
                                      .kind = object_serving.kind,
                                      .name = name,
                                      .uid = tag.n ? tag : STR(OBJECT_LATEST),
                                      .iter = DOCUMENT_ITER_ANY};
    rc_t rc = object_load(c, &object_serving, &f, &o, e);
    if (rc == E_NOTFOUND)
        rc = err_set(e, rc, "function %.*s:%.*s is not deployed in project %s", STR_FMT(f.name), STR_FMT(f.uid), p->name);
    if (rc == OK)
        rc = set_stream(c, p, brokers, o.body, e);
    if (rc == OK)
        json_print(o.body, JSON_NAN_TOKEN, out);
    object_done(&o);
    return rc;
}

rc_t get_serving_spec(struct call *c, struct err *e)
{
    struct project p = {0};
    struct str brokers = call_str(c, "brokers");
    rc_t rc = call_project(c, &p, e);
    if (brokers.n == 0)
        brokers = str_of(c->api->nuclio.brokers);
    if (rc == OK)
        rc = serving_text(c, &p, http_param(c->r, "name"), call_str(c, "tag"), brokers, &c->out, e);
    project_done(&p);
    return rc;
}
