/* Owns the routes of datastore profiles, in MLRun's forms: the public part is stored and answered, the private one is a sealed secret of
 * the name under which MLRun's functions look for it. */
#include <string.h>
#include "base/mem.h"
#include "credentials.h"
#include "pipeline/connection.h"

#define NAME_MAX_CHARS 120
#define PART_MAX (32 << 10)

static struct json *show(const struct project *p, const struct profile *profile)
{
    struct json *j = json_new_object();
    json_set_strz(j, "name", profile->name);
    json_set_strz(j, "type", profile->type);
    json_set_strz(j, "object", profile->object);
    json_set_null(j, "private");
    json_set_strz(j, "project", p->name);
    return j;
}

static rc_t missing(const struct project *p, struct str name, struct err *e)
{
    return err_set(e, E_NOTFOUND, "there is no datastore profile %.*s in project %s", STR_FMT(name), p->name);
}

/* A profile as a body says it; texts are the body's, terminated. */
struct given {
    struct str name, type, object, private_part;
};

static rc_t check_said(const struct json *values, const char *key, struct str wanted, struct err *e)
{
    struct str said = {0};
    rc_t rc = json_opt_str(values, key, &said, e);
    if (rc == OK && said.n && !str_eq(said, wanted))
        rc = err_set(e, E_INVALID, "object.%s: it is another than %s", key, key);
    return rc;
}

static rc_t check_given(const struct given *g, struct err *e)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-._";
    CLEANUP(json_freep) struct json *values = NULL;
    if (g->name.n == 0 || g->name.n > NAME_MAX_CHARS || strspn(g->name.p, letters) < g->name.n)
        return err_set(e, E_INVALID, "name: 1 to %d small letters, digits, -, . and _", NAME_MAX_CHARS);
    if (g->type.n == 0 || g->type.n > 64)
        return err_set(e, E_INVALID, "type: 1 to 64 characters are wanted");
    if (g->object.n > PART_MAX || g->private_part.n > PART_MAX)
        return err_set(e, E_LIMIT, "object, private: at most %d bytes each", PART_MAX);
    rc_t rc = connection_values(g->object, g->private_part, &values, e);
    if (rc == OK)
        rc = check_said(values, "name", g->name, e);
    return rc == OK ? check_said(values, "type", g->type, e) : rc;
}

static rc_t read_given(struct call *c, const struct project *p, const struct json *body, struct given *ret, struct err *e)
{
    struct given g = {0};
    struct str project = {0};
    (void)c;
    rc_t rc = json_need_str(body, "name", &g.name, e);
    if (rc == OK)
        rc = json_need_str(body, "type", &g.type, e);
    if (rc == OK)
        rc = json_need_str(body, "object", &g.object, e);
    if (rc == OK)
        rc = json_opt_str(body, "private", &g.private_part, e);
    if (rc == OK)
        rc = json_opt_str(body, "project", &project, e);
    if (rc == OK && project.n && !str_eqz(project, p->name))
        rc = err_set(e, E_INVALID, "project: the path names project %s", p->name);
    if (rc == OK)
        rc = check_given(&g, e);
    *ret = g;
    return rc;
}

/* Nothing of it has a value: then nothing has to be sealed. */
static bool is_bare(struct str private_part)
{
    CLEANUP(json_freep) struct json *values = NULL;
    struct err ignored = {0};
    return connection_values(STR(""), private_part, &values, &ignored) == OK && json_len(values) == 0;
}

static rc_t keep_private(struct call *c, const struct project *p, const struct given *g, struct err *e)
{
    CLEANUP(buf_done) struct buf name = {0};
    profile_secret_name(p->name, g->name, &name);
    if (is_bare(g->private_part) && !*seal_key_id(c->api->seal))
        return secret_delete(c->db, p->id, buf_str(&name), e);
    rc_t rc = secret_put(c->db, c->api->seal, p->id, buf_str(&name), g->private_part.n ? g->private_part : STR("{}"), e);
    return rc == E_NOTFOUND
               ? err_set(e, E_INVALID, "private: this server keeps no secrets: it was started without SECRETS_KEY")
               : rc;
}

/* Whether monitoring uses it: then it is tried before it is stored, and services are told of it. */
static rc_t find_use(struct call *c, const struct project *p, struct str name, struct credentials *ret, bool *ret_used,
                     struct err *e)
{
    rc_t rc = credentials_get(c->db, p->id, ret, e);
    *ret_used = rc == OK && (str_eqz(name, ret->stream) || str_eqz(name, ret->tsdb));
    return rc == E_NOTFOUND ? OK : rc;
}

static rc_t store(struct call *c, const struct project *p, const struct given *g, const struct profile *profile,
                  struct err *e)
{
    struct credentials used = {0};
    bool is_used = false;
    rc_t rc = find_use(c, p, g->name, &used, &is_used, e);
    if (rc == OK && is_used)
        rc = credentials_try(c, profile, g->private_part, "name", e);
    if (rc == OK)
        rc = db_begin(c->db, e);
    if (rc == OK) {
        rc = profile_put(c->db, p->id, profile, e);
        if (rc == OK)
            rc = keep_private(c, p, g, e);
        if (rc == OK && is_used)
            rc = credentials_put(c->db, &used, e);
        rc = call_commit(c, rc, e);
    }
    credentials_done(&used);
    return rc;
}

static void answer(struct call *c, const struct project *p, const struct profile *profile)
{
    CLEANUP(json_freep) struct json *j = show(p, profile);
    call_answer(c, 200, j);
}

rc_t put_profile(struct call *c, struct err *e)
{
    CLEANUP(json_freep) struct json *body = NULL;
    struct project p = {0};
    struct given g;
    struct profile profile = {0};
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        rc = call_json(c, &body, e);
    if (rc == OK)
        rc = read_given(c, &p, body, &g, e);
    if (rc == OK) {
        profile = (struct profile){mem_dup(g.name.p, g.name.n), mem_dup(g.type.p, g.type.n),
                                   mem_dup(g.object.p, g.object.n)};
        rc = store(c, &p, &g, &profile, e);
    }
    if (rc == OK)
        answer(c, &p, &profile);
    profile_done(&profile);
    project_done(&p);
    return rc;
}

rc_t get_profile(struct call *c, struct err *e)
{
    struct project p = {0};
    struct profile profile = {0};
    rc_t rc = call_project(c, &p, e);
    if (rc == OK && (rc = profile_get(c->db, p.id, http_param(c->r, "name"), &profile, e)) == E_NOTFOUND)
        rc = missing(&p, http_param(c->r, "name"), e);
    if (rc == OK)
        answer(c, &p, &profile);
    profile_done(&profile);
    project_done(&p);
    return rc;
}

rc_t list_profiles(struct call *c, struct err *e)
{
    struct project p = {0};
    struct profile *found = NULL;
    size_t n = 0;
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        rc = profiles_list(c->db, p.id, &found, &n, e);
    if (rc == OK) {
        CLEANUP(json_freep) struct json *j = json_new_array();
        for (size_t i = 0; i < n; i++)
            json_add_take(j, show(&p, &found[i]));
        call_answer(c, 200, j);
    }
    profiles_free(found, n);
    project_done(&p);
    return rc;
}

static rc_t drop(struct call *c, const struct project *p, struct str name, struct err *e)
{
    CLEANUP(buf_done) struct buf secret = {0};
    profile_secret_name(p->name, name, &secret);
    rc_t rc = profile_delete(c->db, p->id, name, e);
    if (rc == E_NOTFOUND)
        return missing(p, name, e);
    return rc == OK ? secret_delete(c->db, p->id, buf_str(&secret), e) : rc;
}

rc_t delete_profile(struct call *c, struct err *e)
{
    struct project p = {0};
    struct credentials used = {0};
    struct str name = http_param(c->r, "name");
    bool is_used = false;
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        rc = find_use(c, &p, name, &used, &is_used, e);
    if (rc == OK && is_used)
        rc = err_set(e, E_CONFLICT,
                     "datastore profile %.*s is what monitoring of project %s connects to: set other credentials first",
                     STR_FMT(name), p.name);
    if (rc == OK)
        rc = db_begin(c->db, e);
    if (rc == OK)
        rc = call_commit(c, drop(c, &p, name, e), e);
    c->status = 204;
    credentials_done(&used);
    project_done(&p);
    return rc;
}
