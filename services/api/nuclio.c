/* Owns what Nuclio's dashboard is told and asked. A function is PROJECT-NAME there, or PROJECT-NAME-TAG for tags other than latest, in the Nuclio project
 * of its project's name. It is Nuclio that builds, runs and scales it. */
#include "nuclio.h"

#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "http/client.h"
#include "log/log.h"
#include "serving.h"

#define ANSWER_MAX (8u << 20)
#define CALL_US (20 * USEC_PER_SEC)
#define RUNTIME "python:3.11"

static rc_t check_url(const char *text, struct err *e)
{
    if (strncmp(text, "http://", 7) == 0 || strncmp(text, "https://", 8) == 0)
        return OK;
    return err_set(e, E_INVALID, "http://HOST:PORT or https://HOST:PORT is wanted");
}

const struct config_key nuclio_keys[] = {
    {.env = "NUCLIO_URL",
     .def = "",
     .type = CONFIG_STR,
     .offset = offsetof(struct nuclio_options, url),
     .check = check_url,
     .help = "Nuclio's dashboard, which deployed functions are handed to; empty: they are stored, ready for modelmon "
             "serving-spec."},
    {.env = "NUCLIO_NAMESPACE",
     .def = "",
     .type = CONFIG_STR,
     .offset = offsetof(struct nuclio_options, namespace),
     .help = "Namespace of functions there; empty: the dashboard's own."},
    {.env = "FUNCTION_BROKERS",
     .def = "",
     .type = CONFIG_STR,
     .offset = offsetof(struct nuclio_options, brokers),
     .help = "Kafka's brokers as functions reach them: where those send that do not say where to."},
    {.env = "FUNCTION_DBPATH",
     .def = "",
     .type = CONFIG_STR,
     .offset = offsetof(struct nuclio_options, dbpath),
     .help = "This API as functions reach it: their MLRUN_DBPATH."},
};
const size_t nuclio_keys_n = sizeof nuclio_keys / sizeof *nuclio_keys;

static const char *name_of(struct call *c, const struct project *p, const char *name, struct str tag)
{
    bool latest = tag.n == 0 || str_eqz(tag, OBJECT_LATEST);
    return arena_printf(c->arena, "%s-%s%s%.*s", p->name, name, latest ? "" : "-", STR_FMT(latest ? STR("") : tag));
}

/* ---- calls ---- */
static rc_t call_nuclio(struct call *c, const struct project *p, const char *method, const char *path,
                        const struct json *body, struct http_reply *ret, struct err *e)
{
    const struct nuclio_options *o = &c->api->nuclio;
    const struct http_client_options options = {
        .reach = HTTP_REACH_ANY, .plain_ok = true, .total_us = CALL_US, .answer_max = ANSWER_MAX};
    CLEANUP(buf_done) struct buf text = {0};
    struct http_client *client = NULL;
    size_t n = strlen(o->url);
    const char *headers[4] = {arena_printf(c->arena, "x-nuclio-project-name: %s", p->name)};
    if (*o->namespace) {
        headers[1] = arena_printf(c->arena, "x-nuclio-function-namespace: %s", o->namespace);
        headers[2] = arena_printf(c->arena, "x-nuclio-project-namespace: %s", o->namespace);
    }
    if (body)
        json_print(body, JSON_NAN_NULL, &text);
    rc_t rc = http_client_new(&client, &options, e);
    if (rc == OK)
        rc = http_client_call(
            client,
            &(struct http_call){
                .method = method,
                .url = arena_printf(c->arena, "%.*s%s", (int)(n && o->url[n - 1] == '/' ? n - 1 : n), o->url, path),
                .headers = headers,
                .content_type = body ? HTTP_JSON : NULL,
                .body = buf_str(&text)},
            ret, e);
    http_client_free(client);
    if (rc == OK && ret->status >= 500) {
        rc = E_AGAIN;
        buf_done(&ret->body);
    }
    if (rc == OK)
        return OK;
    log_warn("nuclio_away", LF_STR("url", o->url), LF_STR("path", path), LF_STR("error", e->text));
    return err_set(
        e, E_AGAIN, "Nuclio's dashboard (NUCLIO_URL) does not answer: what was to be deployed is stored, deploy it again");
}

/* What it said to a change: 2xx, or words for the log. */
static rc_t judge(const struct http_reply *r, const char *name, struct err *e)
{
    CLEANUP(json_freep) struct json *said = NULL;
    struct err why = {0};
    struct str words = {0};
    if (r->status >= 200 && r->status < 300)
        return OK;
    if (json_parse(&said, r->body.data ? r->body.data : "", r->body.len, NULL, &why) == OK &&
        json_opt_str(said, "error", &words, &why) == OK)
        (void)err_set(&why, E_INVALID, "%.*s", STR_FMT(words));
    log_warn("nuclio_refused", LF_STR("function", name), LF_I64("status", r->status), LF_ERR(&why));
    return err_set(e, E_INVALID, "Nuclio does not take function %.100s: it answered %d (the api's log has its words)",
                   name, r->status);
}

/* ---- a function as Nuclio's configuration ---- */
static void copy(struct json *to, const char *key, const struct json *from, const char *from_key)
{
    const struct json *v = json_get(from, from_key);
    bool empty = json_type(v) == JSON_NONE || json_type(v) == JSON_NULL ||
                 ((json_type(v) == JSON_OBJECT || json_type(v) == JSON_ARRAY) && json_len(v) == 0);
    struct err ignored = {0};
    struct str text = {0};
    if (json_type(v) == JSON_STRING)
        empty = json_str(v, &text, &ignored) != OK || text.n == 0;
    if (!empty)
        json_set_take(to, key, json_dup(v));
}

/* {"spec.triggers.http": v}: keys of spec.config are paths into the configuration. */
static rc_t set_paths(struct json *config, const struct json *settings, struct err *e)
{
    rc_t rc = OK;
    for (const struct json *s = json_first(json_type(settings) == JSON_OBJECT ? settings : NULL); rc == OK && s;
         s = json_next(s))
        if (strncmp(json_key(s), "spec.", 5) == 0)
            rc = object_set_path(config, s, e);
    return rc;
}

static void add_env(struct json *list, const char *name, const char *value)
{
    struct json *one = json_add_object(list);
    json_set_strz(one, "name", name);
    json_set_strz(one, "value", value);
}

static rc_t set_env(struct call *c, const struct project *p, const struct object *function, struct str tag,
                    struct json *spec, struct err *e)
{
    const struct json *said = json_get(function->body, "spec"), *env = json_get(said, "env");
    struct json *list = json_set_array(spec, "env");
    for (const struct json *v = json_first(json_type(env) == JSON_ARRAY ? env : NULL); v; v = json_next(v))
        json_add_take(list, json_dup(v));
    add_env(list, "MLRUN_DEFAULT_PROJECT", p->name);
    if (*c->api->nuclio.dbpath)
        add_env(list, "MLRUN_DBPATH", c->api->nuclio.dbpath);
    if (json_type(json_get(said, "graph")) != JSON_OBJECT)
        return OK;
    CLEANUP(buf_done) struct buf text = {0};
    rc_t rc = serving_text(c, p, str_of(function->doc.name), tag, str_of(c->api->nuclio.brokers), &text, e);
    if (rc == OK)
        add_env(list, "SERVING_SPEC_ENV", text.data);
    return rc;
}

static void set_build(const struct json *said, struct json *spec)
{
    struct json *build = object_child(spec, "build");
    const struct json *from = json_get(said, "build");
    copy(build, "functionSourceCode", from, "functionSourceCode");
    copy(build, "commands", from, "commands");
    copy(build, "baseImage", from, "base_image");
    copy(build, "baseImage", said, "image");
    copy(build, "registry", from, "registry");
}

static struct json *configure(struct call *c, const struct project *p, const struct object *function, const char *name)
{
    static const char *const copied[][2] = {{"handler", "function_handler"},   {"runtime", "nuclio_runtime"},
                                            {"minReplicas", "min_replicas"},   {"maxReplicas", "max_replicas"},
                                            {"replicas", "replicas"},          {"resources", "resources"},
                                            {"nodeSelector", "node_selector"}, {"tolerations", "tolerations"},
                                            {"affinity", "affinity"},          {"serviceAccount", "service_account"}};
    const struct json *said = json_get(function->body, "spec"), *base = json_get(json_get(said, "base_spec"), "spec");
    struct json *j = json_new_object(), *metadata = json_set_object(j, "metadata"), *labels;
    json_set_strz(metadata, "name", name);
    if (*c->api->nuclio.namespace)
        json_set_strz(metadata, "namespace", c->api->nuclio.namespace);
    copy(metadata, "labels", json_get(function->body, "metadata"), "labels");
    copy(metadata, "annotations", json_get(function->body, "metadata"), "annotations");
    labels = object_child(metadata, "labels");
    json_set_strz(labels, "nuclio.io/project-name", p->name);
    copy(labels, "mlrun/class", function->body, "kind");
    if (json_type(base) == JSON_OBJECT)
        json_set_take(j, "spec", json_dup(base));
    struct json *spec = object_child(j, "spec");
    for (size_t i = 0; i < sizeof copied / sizeof *copied; i++)
        copy(spec, copied[i][0], said, copied[i][1]);
    if (!json_get(spec, "runtime"))
        json_set_strz(spec, "runtime", RUNTIME);
    set_build(said, spec);
    return j;
}

/* It has to be there; that it is there already is fine. */
static rc_t ensure_project(struct call *c, const struct project *p, struct err *e)
{
    CLEANUP(json_freep) struct json *body = json_new_object();
    struct json *metadata = json_set_object(body, "metadata");
    struct http_reply r = {0};
    json_set_strz(metadata, "name", p->name);
    if (*c->api->nuclio.namespace)
        json_set_strz(metadata, "namespace", c->api->nuclio.namespace);
    json_set_object(body, "spec");
    rc_t rc = call_nuclio(c, p, "POST", "/api/projects", body, &r, e);
    if (rc == OK && r.status != 409)
        rc = judge(&r, p->name, e);
    buf_done(&r.body);
    return rc;
}

rc_t nuclio_deploy(struct call *c, const struct project *p, const struct object *function, struct str tag, struct err *e)
{
    const char *name = name_of(c, p, function->doc.name, tag);
    CLEANUP(json_freep) struct json *config = configure(c, p, function, name);
    struct http_reply r = {0};
    rc_t rc = set_paths(config, json_get(json_get(function->body, "spec"), "config"), e);
    if (rc == OK)
        rc = set_env(c, p, function, tag, json_get(config, "spec"), e);
    if (rc == OK)
        rc = ensure_project(c, p, e);
    if (rc == OK)
        rc = call_nuclio(c, p, "POST", "/api/functions", config, &r, e);
    if (rc == OK && r.status == 409) { /* it is there */
        buf_done(&r.body);
        rc = call_nuclio(c, p, "PUT", arena_printf(c->arena, "/api/functions/%s", name), config, &r, e);
    }
    if (rc == OK)
        rc = judge(&r, name, e);
    buf_done(&r.body);
    return rc;
}

/* ---- how it is going ---- */

/* Nuclio's states as those that clients wait for; others are on the way. */
static const struct {
    const char *nuclio, *mlrun;
} states[] = {
    {"ready", "ready"}, {"scaledToZero", "ready"}, {"error", "error"}, {"unhealthy", "unhealthy"}, {"building", "building"}};

static struct str text_at(const struct json *j, const char *key)
{
    struct err ignored = {0};
    struct str s = {0};
    return json_opt_str(j, key, &s, &ignored) == OK ? s : (struct str){0};
}

static const char *state_of(const struct json *status)
{
    for (size_t i = 0; i < sizeof states / sizeof *states; i++)
        if (str_eqz(text_at(status, "state"), states[i].nuclio))
            return states[i].mlrun;
    return "deploying";
}

static void add_list(struct call *c, const struct json *status, const char *key, const char *header, bool address)
{
    CLEANUP(buf_done) struct buf all = {0};
    const struct json *list = json_get(status, key);
    struct err ignored = {0};
    struct str one;
    for (const struct json *u = json_first(json_type(list) == JSON_ARRAY ? list : NULL); u; u = json_next(u)) {
        if (json_str(u, &one, &ignored) != OK)
            continue;
        if (address && !all.len)
            http_add_header(c->r, "x-mlrun-address", one.p);
        buf_addf(&all, "%s%.*s", all.len ? "," : "", STR_FMT(one));
    }
    if (all.len)
        http_add_header(c->r, header, all.data);
}

/* Lines after since_ms into the body; the time of the last in a header. */
static void add_log(struct call *c, const struct json *status, double since_ms)
{
    const struct json *logs = json_get(status, "logs");
    struct err ignored = {0};
    double last = since_ms;
    for (const struct json *l = json_first(json_type(logs) == JSON_ARRAY ? logs : NULL); l; l = json_next(l)) {
        double at = 0;
        struct str words = text_at(l, "message");
        if (json_opt_f64(l, "time", &at, &ignored) != OK || at <= since_ms)
            continue;
        last = at > last ? at : last;
        buf_addf(&c->out, "%.*s\n", STR_FMT(words));
    }
    struct str message = text_at(status, "message");
    if (message.n)
        buf_addf(&c->out, "%.*s\n", STR_FMT(message));
    http_add_header(c->r, "x-mlrun-last-timestamp", arena_printf(c->arena, "%.0f", last));
}

rc_t nuclio_answer_state(struct call *c, const struct project *p, const char *name, struct str tag, double since_ms,
                         struct err *e)
{
    CLEANUP(json_freep) struct json *j = NULL;
    const char *full = name_of(c, p, name, tag);
    const struct json_limits limits = {.bytes = ANSWER_MAX, .values = 200000, .string_bytes = ANSWER_MAX};
    struct http_reply r = {0};
    rc_t rc = call_nuclio(c, p, "GET", arena_printf(c->arena, "/api/functions/%s", full), NULL, &r, e);
    if (rc == OK && r.status == 404)
        rc = E_NOTFOUND;
    else if (rc == OK)
        rc = judge(&r, full, e);
    if (rc == OK && json_parse(&j, r.body.data ? r.body.data : "", r.body.len, &limits, e) != OK)
        rc = err_set(e, E_AGAIN, "Nuclio's dashboard (NUCLIO_URL) answers what is no function");
    buf_done(&r.body);
    if (rc != OK)
        return rc;
    const struct json *status = json_get(j, "status");
    struct str image = text_at(status, "containerImage");
    http_add_header(c->r, "x-mlrun-function-status", state_of(status));
    http_add_header(c->r, "x-mlrun-name", full);
    add_list(c, status, "externalInvocationUrls", "x-mlrun-external-invocation-urls", true);
    add_list(c, status, "internalInvocationUrls", "x-mlrun-internal-invocation-urls", false);
    if (image.n)
        http_add_header(c->r, "x-mlrun-container-image", image.p);
    c->type = HTTP_TEXT;
    add_log(c, status, since_ms);
    return OK;
}
