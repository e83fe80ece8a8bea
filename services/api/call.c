/* Owns the reading of bodies, and the two things that most paths name, a project and an endpoint. Queries are param.c's. */
#include "api.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "event/names.h"

rc_t call_complain(struct call *c, const char *field, struct err *e, const char *fmt, ...)
{
    va_list args;
    char words[sizeof e->text];
    va_start(args, fmt);
    (void)vsnprintf(words, sizeof words, fmt, args); /* cut to fit is fine */
    va_end(args);
    c->field = field;
    return err_set(e, E_INVALID, "%s: %s", field, words);
}

bool call_before_1_8(struct call *c)
{
    static const char *const old[] = {"1.6.", "1.7."};
    struct str version = http_header(c->r, "x-mlrun-client-version");
    for (size_t i = 0; i < sizeof old / sizeof *old; i++)
        if (version.n > strlen(old[i]) && memcmp(version.p, old[i], strlen(old[i])) == 0)
            return true;
    return false;
}

rc_t call_json(struct call *c, struct json **ret, struct err *e)
{
    struct str body = http_body(c->r);
    struct json *j = NULL;
    if (body.n == 0)
        return err_set(e, E_INVALID, "a JSON object is wanted as body, there is none");
    const struct json_limits limits = {
        .bytes = body.n, .values = 2000000, .string_bytes = 1 << 20, .accept_nan = c->route->body->nan};
    rc_t rc = json_parse(&j, body.p, body.n, &limits, e);
    if (rc != OK)
        return err_prefix(e, rc, "body: ");
    if (json_type(j) != JSON_OBJECT) {
        json_free(j);
        return err_set(e, E_INVALID, "body: a JSON object is wanted");
    }
    rc = body_check(c->route->body, j, e);
    if (rc == OK)
        *ret = j;
    else
        json_free(j);
    return rc;
}

rc_t call_project(struct call *c, struct project *ret, struct err *e)
{
    return call_project_named(c, http_param(c->r, "project"), ret, e);
}

rc_t call_project_named(struct call *c, struct str name, struct project *ret, struct err *e)
{
    if (!name_is_project(name))
        return err_set(e, E_INVALID, "project: 1 to 63 of a-z, 0-9 and -, neither first nor last a -");
    rc_t rc = project_get(c->db, name, ret, e);
    if (rc == E_NOTFOUND)
        return err_set(e, rc, "there is no project %.*s: `modelmon project %.*s` makes it, or PUT /api/v1/projects/%.*s",
                       STR_FMT(name), STR_FMT(name), STR_FMT(name));
    return rc;
}

rc_t call_uid(struct call *c, const struct project *p, struct str uid, struct endpoint *ret, struct err *e)
{
    if (!name_is_uid(uid))
        return err_set(e, E_INVALID, "endpoint id: 1 to %d letters, digits, - and _", NAME_UID_MAX);
    struct records *records = c->cached ? c->item->records : NULL;
    rc_t rc = records_get(records, c->db, c->item->cache, p->id, uid, ret, e);
    if (rc == E_NOTFOUND)
        return err_set(e, rc, "there is no model endpoint %.*s in project %s", STR_FMT(uid), p->name);
    return rc;
}

void call_changed(struct call *c, int32_t project_id, struct str uid)
{
    bool another = c->changed && !str_eq(c->changed_uid, uid);
    c->changed = project_id;
    c->changed_uid = another ? (struct str){0} : arena_str(c->arena, uid);
}

rc_t call_endpoint(struct call *c, const struct project *p, struct endpoint *ret, struct err *e)
{
    return call_uid(c, p, http_param(c->r, "uid"), ret, e);
}

/* A name that is none is a uid, as the paths of 1.7 and of people have it. */
static rc_t find_uid(struct call *c, const struct project *p, struct str name, struct endpoint *ret, struct err *e)
{
    rc_t rc = name_is_uid(name) ? endpoint_get(c->db, p->id, name, ret, e) : E_NOTFOUND;
    return rc == E_NOTFOUND ? err_set(e, rc, "there is no model endpoint %.*s in project %s", STR_FMT(name), p->name) : rc;
}

static rc_t find_latest(struct call *c, const struct project *p, struct str name, struct str function_name,
                        struct str function_tag, struct endpoint *ret, struct err *e)
{
    const struct endpoint_filter f = {.project_id = p->id,
                                      .mode = -1,
                                      .latest_only = true,
                                      .names = &name,
                                      .n_names = 1,
                                      .function_names = &function_name,
                                      .n_function_names = function_name.n > 0,
                                      .function_tags = &function_tag,
                                      .n_function_tags = function_tag.n > 0,
                                      .limit = 2};
    struct endpoint *found = NULL;
    size_t n = 0;
    rc_t rc = endpoints_list(c->db, &f, &found, &n, e);
    if (rc == OK && n == 0)
        return find_uid(c, p, name, ret, e);
    if (rc == OK && n > 1)
        rc = err_set(e, E_INVALID,
                     "several functions have a model endpoint %.*s: give endpoint-id, or function-name and "
                     "function-tag",
                     STR_FMT(name));
    if (rc == OK) {
        *ret = found[0];
        found[0] = (struct endpoint){0};
    }
    endpoints_free(found, n);
    return rc;
}

rc_t call_find(struct call *c, const struct project *p, struct str name, struct str uid, struct str function_name,
               struct str function_tag, struct endpoint *ret, struct err *e)
{
    struct endpoint ep = {0};
    if (uid.n == 0)
        return find_latest(c, p, name, function_name, function_tag, ret, e);
    rc_t rc = call_uid(c, p, uid, &ep, e);
    if (rc == OK && !str_eqz(name, ep.name)) {
        endpoint_done(&ep);
        rc = err_set(e, E_NOTFOUND, "model endpoint %.*s has another name than %.*s", STR_FMT(uid), STR_FMT(name));
    }
    if (rc == OK)
        *ret = ep;
    return rc;
}

rc_t call_commit(struct call *c, rc_t rc, struct err *e)
{
    if (rc != OK) {
        db_rollback(c->db);
        return rc;
    }
    rc = call_audit(c, e);
    if (rc != OK) {
        db_rollback(c->db);
        return rc;
    }
    rc = db_commit(c->db, e);
    return rc == E_UNKNOWN ? E_AGAIN : rc;
}

bool call_may(struct call *c, struct str project)
{
    if (http_may(c->r, project))
        return true;
    c->status = 403;
    buf_clear(&c->out);
    buf_addz(&c->out, "{\"detail\":\"this token may not\"}");
    return false;
}

void call_answer(struct call *c, int status, const struct json *j)
{
    c->status = status;
    buf_clear(&c->out);
    json_print(j, JSON_NAN_NULL, &c->out);
}
