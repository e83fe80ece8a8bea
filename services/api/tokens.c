/* Access tokens: made, listed, revoked. A token is in one answer, the one that made it. */
#include "access/access.h"
#include "api.h"
#include "base/clock.h"
#include "base/num.h"
#include "base/time.h"
#include "db/token.h"
#include "json/write.h"

#define NAME_MAX_BYTES 63u
#define LIST_TEXT_MAX 4096u
#define EXPIRES_MAX_US (INT64_C(3660) * API_DAY_US)
#define RATE_MAX 1000000

static bool is_token_name(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!s.p[i] || !strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.", s.p[i]))
            return false;
    return s.n > 0 && s.n <= NAME_MAX_BYTES;
}

/* ["read", "write"] ⇒ "read,write". */
static rc_t join(const struct json *body, const char *key, struct buf *out, struct err *e)
{
    struct json *list = NULL;
    rc_t rc = json_need_array(body, key, &list, e);
    for (const struct json *j = json_first(list); rc == OK && j; j = json_next(j)) {
        struct str s;
        rc = json_str(j, &s, e);
        if (rc == OK && (s.n == 0 || memchr(s.p, ',', s.n)))
            rc = json_complain(j, e, "one name is wanted");
        if (rc == OK)
            buf_addf(out, "%s%.*s", out->len ? "," : "", STR_FMT(s));
        if (rc == OK && out->len > LIST_TEXT_MAX)
            rc = json_complain(list, e, "all together at most %u bytes", LIST_TEXT_MAX);
    }
    if (rc == OK && out->len == 0)
        rc = json_complain(list, e, "at least one is wanted");
    return rc;
}

static rc_t read_expiry(const struct json *body, int64_t now, int64_t *ret, struct err *e)
{
    struct str text = {0};
    int64_t us = 0;
    rc_t rc = json_opt_str(body, "expires_in", &text, e);
    if (rc || text.p == NULL)
        return rc;
    if (num_duration_us(text, &us) || us <= 0 || us > EXPIRES_MAX_US)
        return json_complain(json_get(body, "expires_in"), e, "a duration such as 12h or 90d is wanted, at most 3660d");
    *ret = now + us;
    return OK;
}

static rc_t read_token(const struct json *body, struct call *c, struct token *ret, struct err *e)
{
    CLEANUP(buf_done) struct buf scopes = {0}, projects = {0};
    struct str name = {0};
    unsigned ignored = 0;
    rc_t rc = json_need_str(body, "name", &name, e);
    if (rc == OK && !is_token_name(name))
        rc = json_complain(json_get(body, "name"), e, "1 to %u letters, digits, - _ .", NAME_MAX_BYTES);
    if (rc == OK)
        rc = join(body, "scopes", &scopes, e);
    if (rc == OK)
        rc = access_scopes_parse(buf_str(&scopes), &ignored, e);
    if (rc == OK)
        rc = join(body, "projects", &projects, e);
    if (rc == OK)
        rc = access_projects_check(buf_str(&projects), e);
    if (rc == OK)
        rc = json_opt_i64(body, "rate", &ret->rate, e);
    if (rc == OK && (ret->rate < 0 || ret->rate > RATE_MAX))
        rc = json_complain(json_get(body, "rate"), e, "requests a second are wanted, 0 to %d", RATE_MAX);
    if (rc == OK)
        rc = read_expiry(body, ret->created_us, &ret->expires_us, e);
    if (rc)
        return rc;
    ret->name = arena_dup(c->arena, name.p, name.n);
    ret->scopes = arena_dup(c->arena, scopes.data, scopes.len);
    ret->projects = arena_dup(c->arena, projects.data, projects.len);
    return OK;
}

static void write_list(struct json_writer *w, const char *key, const char *joined)
{
    jw_key(w, key);
    jw_array(w);
    for (const char *at = joined; *at;) {
        size_t n = strcspn(at, ",");
        jw_str(w, (struct str){at, n});
        at += n + (at[n] == ',');
    }
    jw_array_end(w);
}

static void write_time(struct json_writer *w, const char *key, int64_t us)
{
    char text[TIME_TEXT];
    jw_key(w, key);
    if (us)
        (void)time_rfc3339(text, us); /* its length is not needed */
    jw_strz(w, us ? text : NULL);
}

/* secret: only when it was just made. */
static void write_token(struct json_writer *w, const struct token *t, const char *secret)
{
    jw_object(w);
    jw_kv_strz(w, "name", t->name);
    if (secret)
        jw_kv_strz(w, "token", secret);
    write_list(w, "scopes", t->scopes);
    write_list(w, "projects", t->projects);
    jw_kv_i64(w, "rate", t->rate);
    write_time(w, "created", t->created_us);
    jw_kv_strz(w, "created_by", t->created_by);
    write_time(w, "expires", t->expires_us);
    write_time(w, "last_used", t->last_used_us);
    write_time(w, "revoked", t->revoked_us);
    jw_object_end(w);
}

static char *caller(struct call *c)
{
    const struct http_caller *who = http_caller(c->r);
    const char *name = who && who->name ? who->name : "";
    return arena_dup(c->arena, name, strlen(name));
}

rc_t post_token(struct call *c, struct err *e)
{
    CLEANUP(json_freep) struct json *body = NULL;
    char secret[ACCESS_TOKEN_TEXT];
    struct json_writer w;
    struct token t = {.created_us = clock_now_us(), .created_by = caller(c)};
    rc_t rc = call_json(c, &body, e);
    if (rc == OK)
        rc = read_token(body, c, &t, e);
    if (rc)
        return rc;
    access_token_make(secret);
    sha256_hex(secret, strlen(secret), t.hash);
    rc = db_begin(c->db, e);
    if (rc == OK)
        rc = call_commit(c, token_create(c->db, &t, e), e);
    if (rc == OK) {
        jw_init(&w, &c->out, JSON_NAN_NULL);
        write_token(&w, &t, secret);
        http_add_header(c->r, "Cache-Control", "no-store");
        c->status = 201;
    }
    explicit_bzero(secret, sizeof secret);
    return rc;
}

rc_t list_tokens(struct call *c, struct err *e)
{
    struct token *tokens = NULL;
    struct json_writer w;
    size_t n = 0;
    rc_t rc = tokens_list(c->db, call_bool(c, "all", false), &tokens, &n, e);
    if (rc)
        return rc;
    jw_init(&w, &c->out, JSON_NAN_NULL);
    jw_object(&w);
    jw_key(&w, "tokens");
    jw_array(&w);
    for (size_t i = 0; i < n; i++)
        write_token(&w, &tokens[i], NULL);
    jw_array_end(&w);
    jw_object_end(&w);
    tokens_free(tokens, n);
    return OK;
}

rc_t delete_token(struct call *c, struct err *e)
{
    struct str name = http_param(c->r, "name");
    c->status = 204;
    if (!is_token_name(name))
        return err_set(e, E_INVALID, "name: 1 to %u letters, digits, - _ .", NAME_MAX_BYTES);
    rc_t rc = db_begin(c->db, e);
    return rc ? rc : call_commit(c, token_revoke(c->db, name, str_of(caller(c)), clock_now_us(), e), e);
}
