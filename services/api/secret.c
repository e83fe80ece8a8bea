/* Owns the routes of a project's secrets: values come in, are sealed, and are never given back. */
#include "api.h"

#include <string.h>
#include "base/mem.h"
#include "db/profile.h"

#define NAME_MAX_CHARS 253
#define SECRETS_MAX 1000 /* of a project */
#define OWN_NAMES "mlrun."

static bool begins(struct str s, const char *with)
{
    size_t n = strlen(with);
    return s.n >= n && memcmp(s.p, with, n) == 0;
}

/* Those come and go with what they are of: datastore profiles, credentials, alerts. */
static bool is_own(struct str name)
{
    return begins(name, PROFILE_SECRETS) || begins(name, OWN_NAMES);
}

static rc_t check_name(struct str name, struct err *e)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._";
    if (name.n == 0 || name.n > NAME_MAX_CHARS || strspn(name.p, letters) < name.n)
        return err_set(e, E_INVALID, "a secret's name: 1 to %d letters, digits, -, . and _", NAME_MAX_CHARS);
    if (is_own(name))
        return err_set(e, E_INVALID,
                       "secrets whose names begin with " PROFILE_SECRETS " or " OWN_NAMES
                       " are kept by the server: they come and go with what they are of");
    return OK;
}

static rc_t put_one(struct call *c, const struct project *p, const struct json *secret, struct err *e)
{
    struct str name = str_of(json_key(secret)), value;
    rc_t rc = check_name(name, e);
    if (rc == OK)
        rc = json_str(secret, &value, e);
    if (rc == OK && value.n > SECRET_VALUE_MAX)
        rc = json_complain(secret, e, "at most %d bytes", SECRET_VALUE_MAX);
    if (rc != OK)
        return rc;
    rc = secret_put(c->db, c->api->seal, p->id, name, value, e);
    return rc == E_NOTFOUND ? err_set(e, E_INVALID, "this server keeps no secrets: it was started without SECRETS_KEY")
                            : rc;
}

static void free_names(char **names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        mem_free(names[i]);
    mem_free(names);
}

static rc_t put_all(struct call *c, const struct project *p, const struct json *secrets, struct err *e)
{
    char **names = NULL;
    size_t n = 0, own = 0;
    rc_t rc = OK;
    for (const struct json *s = json_first(secrets); rc == OK && s; s = json_next(s))
        rc = put_one(c, p, s, e);
    if (rc == OK)
        rc = secret_names(c->db, p->id, &names, &n, e);
    for (size_t i = 0; i < n; i++)
        own += is_own(str_of(names[i]));
    if (rc == OK && n - own > SECRETS_MAX)
        rc = err_set(e, E_LIMIT, "a project has at most %d secrets", SECRETS_MAX);
    free_names(names, n);
    return rc;
}

rc_t post_secrets(struct call *c, struct err *e)
{
    CLEANUP(json_freep) struct json *body = NULL;
    struct json *secrets = NULL;
    struct project p = {0};
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        rc = call_json(c, &body, e);
    if (rc == OK)
        rc = json_opt_object(body, "secrets", &secrets, e);
    if (rc == OK)
        rc = db_begin(c->db, e);
    if (rc == OK)
        rc = call_commit(c, put_all(c, &p, secrets, e), e);
    c->status = 201;
    project_done(&p);
    return rc;
}

rc_t get_secrets(struct call *c, struct err *e)
{
    struct project p = {0};
    rc_t rc = call_project(c, &p, e);
    project_done(&p);
    if (rc != OK)
        return rc;
    c->status = 403;
    buf_addz(&c->out, "{\"detail\":\"values of secrets are never given back; their names are at secret-keys\"}");
    return OK;
}

rc_t list_secret_keys(struct call *c, struct err *e)
{
    struct project p = {0};
    char **names = NULL;
    size_t n = 0;
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        rc = secret_names(c->db, p.id, &names, &n, e);
    if (rc == OK) {
        CLEANUP(json_freep) struct json *j = json_new_object();
        json_set_strz(j, "provider", "kubernetes");
        struct json *list = json_set_array(j, "secret_keys");
        for (size_t i = 0; i < n; i++)
            if (!begins(str_of(names[i]), OWN_NAMES))
                json_add_strz(list, names[i]);
        call_answer(c, 200, j);
    }
    free_names(names, n);
    project_done(&p);
    return rc;
}

static rc_t delete_all(struct call *c, const struct project *p, struct err *e)
{
    char **names = NULL;
    size_t n = 0;
    rc_t rc = secret_names(c->db, p->id, &names, &n, e);
    for (size_t i = 0; rc == OK && i < n; i++)
        if (!is_own(str_of(names[i])))
            rc = secret_delete(c->db, p->id, str_of(names[i]), e);
    free_names(names, n);
    return rc;
}

static rc_t delete_some(struct call *c, const struct project *p, const struct str *names, size_t n, struct err *e)
{
    rc_t rc = OK;
    for (size_t i = 0; rc == OK && i < n; i++) {
        rc = check_name(names[i], e);
        if (rc == OK)
            rc = secret_delete(c->db, p->id, names[i], e);
    }
    return rc;
}

rc_t delete_secrets(struct call *c, struct err *e)
{
    struct project p = {0};
    const struct str *names;
    size_t n = call_list(c, "secret", &names);
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        rc = db_begin(c->db, e);
    if (rc == OK)
        rc = call_commit(c, n ? delete_some(c, &p, names, n, e) : delete_all(c, &p, e), e);
    c->status = 204;
    project_done(&p);
    return rc;
}

rc_t post_reseal(struct call *c, struct err *e)
{
    int64_t n = 0;
    rc_t rc = secrets_reseal(c->db, c->api->seal, &n, e);
    if (rc == E_NOTFOUND)
        return err_prefix(e, E_INVALID, "SECRETS_KEY: ");
    if (rc == OK)
        buf_addf(&c->out, "{\"key\":\"%s\",\"resealed\":%lld}", seal_key_id(c->api->seal), (long long)n);
    return rc;
}
