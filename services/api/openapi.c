/* Owns /openapi.json: the route table and its rows as OpenAPI 3.1. Nothing is said here that no row says. */
#include <stdio.h>
#include <string.h>
#include "api.h"
#include "params.h"
#include "service/version.h"

#define MESSAGE "#/components/schemas/Detail"
#define PROBLEM "#/components/schemas/Problem"

static void kv(struct json_writer *w, const char *key, const char *text)
{
    jw_kv_strz(w, key, text);
}

static void open_object(struct json_writer *w, const char *key)
{
    jw_key(w, key);
    jw_object(w);
}

static void open_array(struct json_writer *w, const char *key)
{
    jw_key(w, key);
    jw_array(w);
}

/* ---- schemas ---- */
static void write_choices(struct json_writer *w, const char *choices)
{
    open_array(w, "enum");
    for (const char *at = choices; *at;) {
        size_t n = strcspn(at, "|");
        jw_str(w, (struct str){at, n});
        at += n + (at[n] == '|');
    }
    jw_array_end(w);
}

/* One schema, or these words too. */
static void open_either(struct json_writer *w)
{
    open_array(w, "anyOf");
    jw_object(w);
}

static void close_either(struct json_writer *w, const char *choices)
{
    jw_object_end(w);
    jw_object(w);
    write_choices(w, choices);
    jw_object_end(w);
    jw_array_end(w);
}

static void write_limits(struct json_writer *w, const struct param *p)
{
    if (p->min == 0 && p->max == 0)
        return;
    jw_kv_i64(w, "minimum", p->min);
    jw_kv_i64(w, "maximum", p->max);
}

static void write_text(struct json_writer *w, const struct param *p, bool body)
{
    int64_t max = p->max || body ? p->max : PARAM_TEXT_MAX;
    kv(w, "type", "string");
    if (p->min)
        jw_kv_i64(w, "minLength", p->min);
    if (max)
        jw_kv_i64(w, "maxLength", max);
    if (!body)
        kv(w, "pattern", "^[^\\u0000]*$");
}

/* What is inside an open object. */
static void write_scalar(struct json_writer *w, const struct param *p, bool body)
{
    switch (p->kind) {
    case PARAM_FLAG:
        if (!body)
            open_either(w);
        kv(w, "type", "boolean");
        if (!body)
            close_either(w, "True|False|1|0|yes|no|on|off");
        break;
    case PARAM_INT:
        if (p->choices)
            open_either(w);
        kv(w, "type", "integer");
        write_limits(w, p);
        if (p->choices)
            close_either(w, p->choices);
        break;
    case PARAM_NUMBER:
        kv(w, "type", "number");
        write_limits(w, p);
        break;
    case PARAM_TIME:
    case PARAM_UTC:
        kv(w, "type", "string");
        kv(w, "format", "date-time");
        break;
    case PARAM_CHOICE:
        kv(w, "type", "string");
        write_choices(w, p->choices);
        break;
    case PARAM_TEXT:
        write_text(w, p, body);
        break;
    case PARAM_OBJECT:
    case PARAM_ANY:
        break;
    }
}

/* ---- parameters ---- */
static void write_param(struct json_writer *w, const struct param *p, bool path)
{
    jw_object(w);
    kv(w, "name", p->name);
    kv(w, "in", path ? "path" : "query");
    kv(w, "description", p->help);
    if (path || p->required)
        jw_kv_bool(w, "required", true);
    open_object(w, "schema");
    if (p->many) {
        kv(w, "type", "array");
        if (p->required)
            jw_kv_i64(w, "minItems", 1);
        open_object(w, "items");
    }
    if (path) {
        kv(w, "type", "string");
        jw_kv_i64(w, "minLength", 1);
        jw_kv_i64(w, "maxLength", p->max);
    } else {
        write_scalar(w, p, false);
    }
    if (p->many)
        jw_object_end(w);
    jw_object_end(w);
    jw_object_end(w);
}

static void write_params(struct json_writer *w, const struct api_route *r)
{
    open_array(w, "parameters");
    for (const char *at = r->pattern; (at = strchr(at, '{')); at++)
        write_param(w, param_of_path((struct str){at + 1, strcspn(at, "}") - 1}), true);
    for (const struct param *p = api_params(r); p->name; p++)
        write_param(w, p, false);
    jw_array_end(w);
}

/* ---- bodies ---- */
static void write_members(struct json_writer *w, const struct param *rows, const char *prefix, bool closed);

/* null is as good as nothing where nothing is needed. */
static void write_member(struct json_writer *w, const struct param *rows, const struct param *p)
{
    CLEANUP(buf_done) struct buf prefix = {0};
    bool either = !p->required && p->kind != PARAM_ANY;
    if (either) {
        open_array(w, "anyOf");
        jw_object(w);
    }
    if (p->many) {
        kv(w, "type", "array");
        open_object(w, "items");
    }
    buf_addf(&prefix, "%s%s.", p->name, p->many ? "[]" : "");
    if (p->kind == PARAM_OBJECT)
        write_members(w, rows, prefix.data, p->closed);
    else
        write_scalar(w, p, true);
    if (p->many)
        jw_object_end(w);
    if (either) {
        jw_object_end(w);
        jw_object(w);
        kv(w, "type", "null");
        jw_object_end(w);
        jw_array_end(w);
    }
    kv(w, "description", p->help);
}

static void write_required(struct json_writer *w, const struct param *rows, const char *prefix)
{
    size_t n = strlen(prefix), count = 0;
    for (const struct param *p = rows; p->name; p++)
        count += p->required && body_key(p, prefix, n);
    if (count == 0)
        return;
    open_array(w, "required");
    for (const struct param *p = rows; p->name; p++)
        if (p->required && body_key(p, prefix, n))
            jw_strz(w, body_key(p, prefix, n));
    jw_array_end(w);
}

static void write_members(struct json_writer *w, const struct param *rows, const char *prefix, bool closed)
{
    size_t n = strlen(prefix);
    kv(w, "type", "object");
    write_required(w, rows, prefix);
    open_object(w, "properties");
    for (const struct param *p = rows; p->name; p++)
        if (body_key(p, prefix, n)) {
            open_object(w, body_key(p, prefix, n));
            write_member(w, rows, p);
            jw_object_end(w);
        }
    jw_object_end(w);
    if (closed)
        jw_kv_bool(w, "additionalProperties", false);
}

static void write_body(struct json_writer *w, const struct param_body *b)
{
    open_object(w, "requestBody");
    kv(w, "description", b->help);
    jw_kv_bool(w, "required", true);
    open_object(w, "content");
    open_object(w, b->form ? "text/plain" : HTTP_JSON);
    open_object(w, "schema");
    if (b->form)
        kv(w, "type", "string");
    else
        write_members(w, b->rows, "", b->closed);
    jw_object_end(w);
    jw_object_end(w);
    jw_object_end(w);
    jw_object_end(w);
}

/* ---- answers ---- */
static void write_shape(struct json_writer *w, const char *shape)
{
    static const struct {
        const char *shape, *type;
    } whole[] = {{"{}", "object"}, {"[]", "array"}, {"\"\"", "string"}, {"null", "null"}};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        if (strcmp(whole[i].shape, shape) == 0) {
            kv(w, "type", whole[i].type);
            return;
        }
    if (strcmp(shape, "*") == 0)
        return;
    kv(w, "type", "object");
    open_array(w, "required");
    jw_strz(w, shape);
    jw_array_end(w);
    open_object(w, "properties");
    open_object(w, shape);
    kv(w, "type", "array");
    jw_object_end(w);
    jw_object_end(w);
}

static void write_answer(struct json_writer *w, const struct api_answer *a)
{
    char status[8];
    bool media = strchr(a->shape, '/') != NULL;
    (void)snprintf(status, sizeof status, "%d", a->status); /* three digits */
    open_object(w, status);
    kv(w, "description",
       a->status == 200  ? "It is so"
       : a->status < 300 ? "It is done"
       : a->status < 400 ? "Look there"
                         : "Never");
    if (*a->shape) {
        open_object(w, "content");
        open_object(w, media ? a->shape : HTTP_JSON);
        open_object(w, "schema");
        if (!media)
            write_shape(w, a->shape);
        jw_object_end(w);
        jw_object_end(w);
        jw_object_end(w);
    }
    jw_object_end(w);
}

static void write_error_as(struct json_writer *w, const char *media, const char *schema)
{
    open_object(w, media);
    if (schema) {
        open_object(w, "schema");
        kv(w, "$ref", schema);
        jw_object_end(w);
    }
    jw_object_end(w);
}

/* A head that is refused is a problem on every path: no route is looked for. */
static void write_error(struct json_writer *w, const char *status, const char *words, const struct api_route *r)
{
    open_object(w, status);
    kv(w, "description", words);
    open_object(w, "content");
    if (r->flags & API_HTML)
        write_error_as(w, HTTP_HTML, NULL);
    else if (!(r->flags & API_OURS))
        write_error_as(w, HTTP_JSON, MESSAGE);
    write_error_as(w, HTTP_PROBLEM, PROBLEM);
    jw_object_end(w);
    jw_object_end(w);
}

static void write_empty(struct json_writer *w, const char *status, const char *words)
{
    open_object(w, status);
    kv(w, "description", words);
    jw_object_end(w);
}

static bool is_open(const struct api_route *r)
{
    return strcmp(r->scope, http_scopes[HTTP_OPEN]) == 0;
}

static void write_answers(struct json_writer *w, const struct api_route *r)
{
    static const struct api_answer any = {200, "{}"};
    open_object(w, "responses");
    write_answer(w, r->answers[0].status ? &r->answers[0] : &any);
    if (r->answers[1].status)
        write_answer(w, &r->answers[1]);
    if (r->flags & API_ETAG)
        write_empty(w, "304", "It is what If-None-Match names");
    if ((r->flags & API_HTML) && !is_open(r))
        write_empty(w, "303", "Somebody without a token is led to /ui/login");
    write_error(w, "4XX", "What is wrong with the request", r);
    write_error(w, "5XX", "What is wrong here; 503 has Retry-After", r);
    jw_object_end(w);
}

/* ---- operations ---- */
static void write_id(struct json_writer *w, const struct api_route *r)
{
    CLEANUP(buf_done) struct buf id = {0};
    for (const char *c = r->method; *c; c++)
        buf_addc(&id, (char)(*c | 0x20));
    for (const char *c = r->pattern; *c; c++)
        if (*c == '/' || *c == '-' || *c == '.')
            buf_addc(&id, '_');
        else if (*c != '{' && *c != '}')
            buf_addc(&id, *c);
    jw_kv_str(w, "operationId", buf_str(&id));
}

static void write_security(struct json_writer *w, const struct api_route *r)
{
    open_array(w, "security");
    if (!is_open(r)) {
        jw_object(w);
        open_array(w, "token");
        jw_strz(w, r->scope);
        jw_array_end(w);
        jw_object_end(w);
    }
    jw_array_end(w);
}

static void write_operation(struct json_writer *w, const struct api_route *r)
{
    CLEANUP(buf_done) struct buf method = {0};
    for (const char *c = r->method; *c; c++)
        buf_addc(&method, (char)(*c | 0x20));
    open_object(w, method.data);
    kv(w, "summary", r->summary);
    write_id(w, r);
    write_security(w, r);
    write_params(w, r);
    if (r->body)
        write_body(w, r->body);
    write_answers(w, r);
    jw_object_end(w);
}

/* All methods of a path are where it is first named. */
static void write_paths(struct json_writer *w)
{
    open_object(w, "paths");
    for (size_t i = 0; i < api_routes_n; i++) {
        size_t first = 0;
        while (strcmp(api_routes[first].pattern, api_routes[i].pattern) != 0)
            first++;
        if (first < i)
            continue;
        open_object(w, api_routes[i].pattern);
        for (size_t k = i; k < api_routes_n; k++)
            if (strcmp(api_routes[k].pattern, api_routes[i].pattern) == 0)
                write_operation(w, &api_routes[k]);
        jw_object_end(w);
    }
    jw_object_end(w);
}

static void write_error_schema(struct json_writer *w, const char *name, const char *const *texts, bool problem)
{
    open_object(w, name);
    kv(w, "type", "object");
    open_array(w, "required");
    jw_strz(w, "detail");
    if (problem)
        jw_strz(w, "status");
    jw_array_end(w);
    open_object(w, "properties");
    for (; *texts; texts++) {
        open_object(w, *texts);
        kv(w, "type", "string");
        jw_object_end(w);
    }
    if (problem) {
        open_object(w, "status");
        kv(w, "type", "integer");
        jw_object_end(w);
    }
    jw_object_end(w);
    jw_object_end(w);
}

static void write_components(struct json_writer *w)
{
    static const char *const detail[] = {"detail", NULL}, *const problem[] = {"type",   "title", "code",
                                                                              "detail", "field", NULL};
    open_object(w, "components");
    open_object(w, "securitySchemes");
    open_object(w, "token");
    kv(w, "type", "http");
    kv(w, "scheme", "bearer");
    kv(w, "description", "Of `modelmon token create`. The names in an operation's list are scopes that the token needs.");
    jw_object_end(w);
    jw_object_end(w);
    open_object(w, "schemas");
    write_error_schema(w, "Detail", detail, false);
    write_error_schema(w, "Problem", problem, true);
    jw_object_end(w);
    jw_object_end(w);
}

void api_openapi(struct buf *out)
{
    struct json_writer w;
    jw_init(&w, out, JSON_NAN_NULL);
    jw_object(&w);
    kv(&w, "openapi", "3.1.0");
    open_object(&w, "info");
    kv(&w, "title", "modelmon");
    kv(&w, "version", build_version);
    kv(&w, "description",
       "Model monitoring, as MLRun's clients ask for it. Lengths of text are of its UTF-8 bytes. A "
       "query may have more than is here: it is not looked at.");
    jw_object_end(&w);
    write_paths(&w);
    write_components(&w);
    jw_object_end(&w);
}

rc_t get_openapi(struct call *c, struct err *e)
{
    (void)e; /* nothing can fail */
    api_openapi(&c->out);
    return OK;
}
