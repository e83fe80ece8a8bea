/* Owns the deployment of functions: a serving function's models get their endpoint records, and the function is told their uids,
 * without which MLRun's model servers send nothing. Then it stays stored, for whoever runs it (modelmon serving-spec). */
#include <string.h>
#include "base/mem.h"
#include "base/num.h"
#include "endpoint_write.h"
#include "event/names.h"
#include "function.h"
#include "model.h"
#include "nuclio.h"
#include "serving.h"
#include "task.h"

#define MODELS_MAX 1000
#define APPLICATION_LABEL "mlrun__type"
#define APPLICATION "mlrun__model-monitoring-application"

struct deploy {
    struct call *c;
    const struct project *p;
    struct object *o;
    struct str tag;
    double sampling;
    size_t made;
};

/* One tracked model: where it is said, and what is said of it. */
struct tracked {
    struct str name;
    struct json *said; /* the object that gets model_endpoint_uid, and may have one */
    struct str model_path, model_class, strategy;
    const struct json *labels, *inputs, *outputs;
    int64_t type;
    struct json *children; /* names of models below; NULL: none */
    struct json *children_uids;
};

static struct str text_of(const struct json *j, const char *key)
{
    struct err ignored = {0};
    struct str s = {0};
    return json_opt_str(j, key, &s, &ignored) == OK ? s : (struct str){0};
}

/* A uid that was given to it before stays, unless it is another function's: this one is a copy then. */
static rc_t set_uid(struct deploy *d, const struct tracked *t, struct json *metadata, struct err *e)
{
    struct endpoint ep = {0};
    struct str uid = text_of(t->said, "model_endpoint_uid");
    if (!name_is_uid(uid) || !str_eqz(t->strategy, "inplace"))
        return OK;
    rc_t rc = endpoint_get(d->c->db, d->p->id, uid, &ep, e);
    if (rc == E_NOTFOUND ||
        (rc == OK && str_eqz(t->name, ep.name) && (ep.self_registered || strcmp(ep.function_name, d->o->doc.name) == 0)))
        json_set_str(metadata, "uid", uid);
    endpoint_done(&ep);
    return rc == E_NOTFOUND ? OK : rc;
}

static void set_names(struct json *spec, const char *key, const struct json *names)
{
    if (json_type(names) == JSON_ARRAY && json_len(names))
        json_set_take(spec, key, json_dup(names));
}

static void set_spec(const struct deploy *d, const struct tracked *t, struct json *spec)
{
    struct model_uri uri;
    const char *tag = arena_dup(d->c->arena, d->tag.p, d->tag.n);
    json_set_strz(spec, "function_name", d->o->doc.name);
    json_set_strz(spec, "function_tag", tag);
    json_set_strz(spec, "function_uri", arena_printf(d->c->arena, "%s/%s:%s", d->p->name, d->o->doc.name, tag));
    json_set_str(spec, "model_class", t->model_class.p ? t->model_class : STR(""));
    if (t->model_path.n) {
        bool stored = model_uri_parse(t->model_path, &uri);
        json_set_str(spec, "model_path", t->model_path);
        json_set_str(spec, "model_uri", stored ? t->model_path : STR(""));
        if (stored)
            json_set_str(spec, "model_name", uri.key);
    }
    set_names(spec, "feature_names", t->inputs);
    set_names(spec, "label_names", t->outputs);
    set_names(spec, "children", t->children);
    set_names(spec, "children_uids", t->children_uids);
}

static rc_t track(struct deploy *d, const struct tracked *t, struct err *e)
{
    CLEANUP(json_freep) struct json *record = json_new_object();
    struct json *metadata = json_set_object(record, "metadata"), *status;
    struct endpoint made = {0};
    const char *strategy = arena_dup(d->c->arena, t->strategy.p, t->strategy.n);
    json_set_str(metadata, "name", t->name);
    json_set_strz(metadata, "project", d->p->name);
    json_set_i64(metadata, "endpoint_type", t->type);
    if (json_type(t->labels) == JSON_OBJECT)
        json_set_take(metadata, "labels", json_dup(t->labels));
    set_spec(d, t, json_set_object(record, "spec"));
    status = json_set_object(record, "status");
    json_set_strz(status, "monitoring_mode", "enabled");
    json_set_f64(status, "sampling_percentage", d->sampling);
    if (d->made == MODELS_MAX)
        return err_set(e, E_LIMIT, "function.spec.graph: at most %d models of a function are tracked", MODELS_MAX);
    rc_t rc = set_uid(d, t, metadata, e);
    if (rc == OK)
        rc = endpoint_make(d->c, d->p, record, strategy, &made, e);
    if (rc != OK)
        return err_prefix(e, rc, "model %.*s: ", (int)(t->name.n < 64 ? t->name.n : 64), t->name.p);
    json_set_strz(t->said, "model_endpoint_uid", made.uid);
    d->made++;
    endpoint_done(&made);
    return OK;
}

static bool is_tracked(struct str strategy)
{
    return str_eqz(strategy, "inplace") || str_eqz(strategy, "overwrite") || str_eqz(strategy, "archive");
}

/* A step or a route that is a model, or a router that answers for its models. */
static rc_t track_step(struct deploy *d, struct json *step, struct str name, struct json *children,
                       struct json *children_uids, struct err *e)
{
    struct tracked t = {.name = name, .strategy = text_of(step, "model_endpoint_creation_strategy"), .type = 1};
    if (!is_tracked(t.strategy))
        return OK;
    rc_t rc = json_opt_i64(step, "endpoint_type", &t.type, e);
    t.said = object_child(step, "class_args");
    t.model_path = text_of(t.said, "model_path");
    t.model_class = text_of(step, "class_name");
    t.outputs = json_get(t.said, "outputs");
    t.children = children;
    t.children_uids = children_uids;
    return rc == OK ? track(d, &t, e) : rc;
}

static rc_t visit_routes(struct deploy *d, struct json *router, struct str name, struct err *e)
{
    CLEANUP(json_freep) struct json *names = json_new_array();
    CLEANUP(json_freep) struct json *uids = json_new_array();
    rc_t rc = OK;
    for (struct json *r = json_first(json_get(router, "routes")); rc == OK && r; r = json_next(r)) {
        rc = track_step(d, r, str_of(json_key(r)), NULL, NULL, e);
        struct str uid = text_of(json_get(r, "class_args"), "model_endpoint_uid");
        if (uid.n) {
            json_add_strz(names, json_key(r));
            json_add_str(uids, uid);
        }
    }
    return rc == OK ? track_step(d, router, name, names, uids, e) : rc;
}

/* A step that runs several models says of each what is monitored. */
static rc_t visit_models(struct deploy *d, struct json *models, struct err *e)
{
    rc_t rc = OK;
    for (struct json *m = json_first(models); rc == OK && m; m = json_next(m)) {
        const struct tracked t = {.name = str_of(json_key(m)),
                                  .said = m,
                                  .model_path = text_of(m, "model_path"),
                                  .model_class = text_of(m, "model_class"),
                                  .strategy = text_of(m, "creation_strategy"),
                                  .labels = json_get(m, "labels"),
                                  .inputs = json_get(m, "inputs"),
                                  .outputs = json_get(m, "outputs"),
                                  .type = 1};
        if (json_type(m) == JSON_OBJECT && is_tracked(t.strategy))
            rc = track(d, &t, e);
    }
    return rc;
}

/* As deep as a JSON text may be. */
static rc_t visit(struct deploy *d, struct json *step, struct str name, bool root, struct err *e)
{
    struct json *models = json_get(json_get(step, "class_args"), "monitoring_data");
    rc_t rc = OK;
    if (json_type(json_get(step, "routes")) == JSON_OBJECT)
        rc = visit_routes(d, step, name, e);
    else if (json_type(models) == JSON_OBJECT)
        rc = visit_models(d, models, e);
    else if (!root)
        rc = track_step(d, step, name, NULL, NULL, e);
    for (struct json *s = json_first(json_get(step, "steps")); rc == OK && s; s = json_next(s))
        rc = visit(d, s, str_of(json_key(s)), false, e);
    return rc;
}

static rc_t track_models(struct deploy *d, struct err *e)
{
    struct json *spec = object_child(d->o->body, "spec"), *graph = json_get(spec, "graph");
    bool tracked = false;
    rc_t rc = json_opt_bool(spec, "track_models", &tracked, e);
    if (rc == OK && json_type(json_get(spec, "parameters")) == JSON_OBJECT)
        rc = json_opt_f64(json_get(spec, "parameters"), "sampling_percentage", &d->sampling, e);
    if (rc != OK || !tracked || json_type(graph) != JSON_OBJECT)
        return rc;
    struct str name = text_of(graph, "name");
    return visit(d, graph, name.n ? name : str_of(d->o->doc.name), true, e);
}

/* An application is told of closed windows from now on; its program reads its topic. */
static rc_t register_application(struct deploy *d, struct err *e)
{
    const struct json *labels = json_get(json_get(d->o->body, "metadata"), "labels");
    int32_t id;
    if (!str_eqz(text_of(labels, APPLICATION_LABEL), APPLICATION))
        return OK;
    if (!name_is_app_allowed(str_of(d->o->doc.name)))
        return err_set(
            e, E_INVALID,
            "metadata.name: an application's name is %d letters, digits, _ and - at most, and none of the services'",
            NAME_APP_MAX);
    return app_put(d->c->db, d->p->id, d->o->doc.name, true, true, &id, e);
}

static rc_t read_function(struct call *c, const struct project *p, struct object *ret, struct err *e)
{
    CLEANUP(json_freep) struct json *body = NULL;
    struct json *function = NULL;
    rc_t rc = call_json(c, &body, e);
    if (rc == OK)
        rc = json_need_object(body, "function", &function, e);
    return rc == OK ? object_take(p, &object_function, http_param(c->r, "name"), json_dup(function), ret, e) : rc;
}

static void answer(struct call *c, const struct project *p, const struct object *o, const struct object *task)
{
    CLEANUP(json_freep) struct json *j = json_new_object();
    json_set_take(j, "data", object_show(p, &object_function, &o->doc));
    struct json *list = json_set_array(json_set_object(j, "background_tasks"), "background_tasks");
    if (task->body)
        json_add_take(list, object_show(p, &object_task, &task->doc));
    buf_clear(&c->out);
    json_print(j, JSON_NAN_TOKEN, &c->out);
}

static rc_t put_task(struct deploy *d, struct object *task, struct err *e)
{
    if (!d->made)
        return OK;
    rc_t rc = task_put(d->c, d->p, "model-endpoint-creation", task, e);
    if (rc == OK)
        json_set_strz(object_child(d->o->body, "spec"), "model_endpoint_creation_task_name", task->doc.name);
    return rc;
}

/* In a transaction: a function that cannot be deployed leaves no records. */
static rc_t store(struct deploy *d, struct object *task, struct err *e)
{
    char hash[41];
    rc_t rc = track_models(d, e);
    if (rc == OK)
        rc = register_application(d, e);
    if (rc == OK)
        rc = put_task(d, task, e);
    json_set_strz(object_child(d->o->body, "status"), "state", nuclio_is_there(&d->c->api->nuclio) ? "deploying" : "ready");
    if (rc == OK)
        rc = serving_store(d->c, d->p, d->o, d->tag, e);
    return rc == OK ? function_store(d->c, d->o, d->tag, false, hash, e) : rc;
}

static rc_t deploy(struct call *c, const struct project *p, struct err *e)
{
    struct object o = {0}, task = {0};
    struct deploy d = {.c = c, .p = p, .o = &o, .sampling = 100};
    rc_t rc = read_function(c, p, &o, e);
    if (rc == OK)
        rc = function_tag(c, &o, &d.tag, e);
    if (rc == OK)
        d.tag = arena_str(c->arena, d.tag); /* the body that has it changes */

    if (rc == OK)
        rc = db_begin(c->db, e);
    if (rc == OK)
        rc = call_commit(c, store(&d, &task, e), e);
    if (rc == OK && nuclio_is_there(&c->api->nuclio)) /* what it does not take can be deployed again */
        rc = nuclio_deploy(c, p, &o, d.tag, e);
    if (rc == OK)
        answer(c, p, &o, &task);
    object_done(&task);
    object_done(&o);
    return rc;
}

rc_t post_deploy(struct call *c, struct err *e)
{
    struct project p = {0};
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        rc = deploy(c, &p, e);
    project_done(&p);
    return rc;
}

static void answer_stored(struct call *c, const struct project *p, const struct document *d)
{
    http_add_header(c->r, "x-mlrun-function-status", *d->state ? d->state : "ready");
    http_add_header(c->r, "x-mlrun-name", d->name);
    http_add_header(c->r, "x-mlrun-last-timestamp", "1");
    c->type = HTTP_TEXT;
    buf_addf(&c->out, "%s is stored; modelmon serving-spec %s/%s is what its server starts with\n", d->name, p->name,
             d->name);
}

/* What clients read of a deployment's state is in headers; the body is its log, a new part each time. */
static rc_t answer_state(struct call *c, const struct project *p, struct err *e)
{
    struct object o = {0};
    double since_ms = call_f64(c, "last_log_timestamp", 0);
    const struct document_filter f = function_filter(p, http_param(c->r, "name"), call_str(c, "tag"), (struct str){0});
    rc_t rc = object_load(c, &object_function, &f, &o, e);
    if (rc == E_NOTFOUND)
        return object_missing(p, &object_function, &f, e);
    if (rc == OK && nuclio_is_there(&c->api->nuclio)) {
        rc = nuclio_answer_state(c, p, o.doc.name, call_str(c, "tag"), since_ms, e);
        if (rc == E_NOTFOUND)
            answer_stored(c, p, &o.doc);
        rc = rc == E_NOTFOUND ? OK : rc;
    } else if (rc == OK) {
        answer_stored(c, p, &o.doc);
    }
    object_done(&o);
    return rc;
}

rc_t get_deploy(struct call *c, struct err *e)
{
    struct project p = {0};
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        rc = answer_state(c, &p, e);
    project_done(&p);
    return rc;
}
