/* HTTP calls of the verbs. */
#include "client.h"

#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "http/client.h"

#define ANSWER_MAX ((size_t)256 << 20)

void client_add_encoded(struct buf *to, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     (c && strchr("-._~", c));
        if (plain)
            buf_addc(to, (char)c);
        else
            buf_addf(to, "%%%02X", c);
    }
}

/* MLRun's {"detail"}, a problem's too, else the start of what came. */
static rc_t refused(const struct http_reply *reply, const struct json *j, struct err *e)
{
    struct str words = buf_str(&reply->body);
    const struct json *detail = json_get(j, "detail");
    if (detail && json_str(detail, &words, e) != OK)
        words = buf_str(&reply->body);
    if (reply->status == 401)
        return err_set(e, E_INVALID, "it wants an access token: API_TOKEN, or API_TOKEN_FILE (401)");
    return err_set(e,
                   reply->status == 404   ? E_NOTFOUND
                   : reply->status == 429 ? E_LIMIT
                                          : E_INVALID,
                   "%.*s (%d)", STR_FMT(words), reply->status);
}

static rc_t read_answer(const struct http_reply *reply, int accept, struct json **ret, struct err *e)
{
    CLEANUP(json_freep) struct json *j = NULL;
    const struct json_limits limits = {.values = 8000000, .bytes = ANSWER_MAX, .accept_nan = true};
    struct err why = {{0}};
    bool good = (reply->status >= 200 && reply->status < 300) || (accept && reply->status == accept);
    rc_t rc = reply->body.len ? json_parse(&j, reply->body.data, reply->body.len, &limits, &why) : OK;
    if (!good)
        return refused(reply, j, e);
    if (rc)
        return err_set(e, E_INVALID, "that is no answer of modelmon: %s", why.text);
    *ret = j;
    j = NULL;
    return OK;
}

rc_t client_call(const struct client *api, const char *method, const char *path, struct str body, int accept,
                 struct json **ret, struct err *e)
{
    const struct http_client_options o = {
        .reach = HTTP_REACH_ANY, .plain_ok = true, .ca_file = api->ca, .total_us = 60 * USEC_PER_SEC, .answer_max = ANSWER_MAX};
    CLEANUP(buf_done) struct buf url = {0};
    struct http_client *c = NULL;
    struct http_reply reply = {0};
    CLEANUP(buf_done) struct buf bearer = {0};
    size_t n = strlen(api->url);
    buf_addf(&url, "%.*s%s", (int)(n && api->url[n - 1] == '/' ? n - 1 : n), api->url, path);
    bool has_token = api->token && *api->token;
    if (has_token)
        buf_addf(&bearer, "Authorization: Bearer %s", api->token);
    const char *const headers[] = {bearer.data, NULL};
    rc_t rc = http_client_new(&c, &o, e);
    if (rc == OK)
        rc = http_client_call(c,
                              &(struct http_call){.method = method,
                                                  .url = url.data,
                                                  .headers = has_token ? headers : NULL,
                                                  .content_type = "application/json",
                                                  .body = body},
                              &reply, e);
    if (has_token)
        explicit_bzero(bearer.data, bearer.len);
    if (rc == E_AGAIN)
        rc = err_set(e, E_AGAIN, "nobody answers at %s: start `modelmon run`, or set API_URL", api->url);
    if (rc == OK)
        rc = read_answer(&reply, accept, ret, e);
    buf_done(&reply.body);
    http_client_free(c);
    return rc;
}

struct str client_text(const struct json *j, const char *key)
{
    struct str s = {0};
    struct err ignored;
    return json_opt_str(j, key, &s, &ignored) == OK && s.p ? s : STR("");
}

/* The records of a project that a filter leaves. */
static rc_t list_some(const struct client *api, struct str project, const char *filter, struct str value,
                      struct json **ret, struct err *e)
{
    CLEANUP(buf_done) struct buf path = {0};
    buf_addz(&path, "/api/v1/projects/");
    client_add_encoded(&path, project);
    buf_addf(&path, "/model-endpoints?limit=2&%s=", filter);
    client_add_encoded(&path, value);
    return client_call(api, "GET", path.data, (struct str){0}, 0, ret, e);
}

rc_t client_endpoint(const struct client *api, const char *operand, struct client_endpoint *ret, struct err *e)
{
    struct client_endpoint c = {0};
    const char *slash = strchr(operand, '/');
    struct str asked = str_of(slash + 1);
    c.project = (struct str){operand, (size_t)(slash - operand)};
    rc_t rc = list_some(api, c.project, "uid", asked, &c.list, e);
    if (rc == OK && json_len(json_get(c.list, "endpoints")) == 0) { /* then it is a name: an archived record has it too */
        json_free(c.list);
        c.list = NULL;
        rc = list_some(api, c.project, "latest-only=true&name", asked, &c.list, e);
    }
    if (rc)
        return rc;
    const struct json *found = json_get(c.list, "endpoints");
    if (json_len(found) == 1) {
        c.record = json_first(found);
        c.uid = client_text(json_get(c.record, "metadata"), "uid");
        c.name = client_text(json_get(c.record, "metadata"), "name");
        *ret = c;
        return OK;
    }
    rc = json_len(found)
             ? err_set(e, E_INVALID, "several functions have an endpoint %.*s: give its uid", STR_FMT(asked))
             : err_set(e, E_NOTFOUND, "no endpoint %.*s in project %.*s: `modelmon endpoints %.*s` lists them",
                       STR_FMT(asked), STR_FMT(c.project), STR_FMT(c.project));
    json_free(c.list);
    return rc;
}

void client_endpoint_done(struct client_endpoint *c)
{
    json_free(c->list);
    *c = (struct client_endpoint){0};
}

int client_fail(const char *verb, const struct err *e)
{
    (void)fprintf(stderr, "modelmon %s: %s\n", verb, e->text);
    return TOOL_FAILED;
}
