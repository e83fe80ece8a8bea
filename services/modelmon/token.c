/* modelmon token: who may ask, and what. */
#include <stdio.h>
#include <string.h>
#include "access/access.h"
#include "client.h"
#include "json/write.h"
#include "term.h"

struct token_options {
    struct client api;
    const char *scope, *project, *expires_in;
    int64_t rate;
    bool all, json;
};
#define AT(field) .offset = offsetof(struct token_options, field)
static const struct config_key keys[] = {
    {.env = "SCOPE",
     .def = "",
     .type = CONFIG_STR,
     .flags = CONFIG_FLAG,
     AT(scope),
     .help = "create: what it may: of ingest (send events), read, write (and read), admin (all), with commas."},
    {.env = "PROJECT",
     .def = "*",
     .type = CONFIG_STR,
     .flags = CONFIG_FLAG,
     AT(project),
     .help = "create: where: names of projects, with commas; * is all."},
    {.env = "EXPIRES_IN", .def = "", .type = CONFIG_STR, .flags = CONFIG_FLAG, AT(expires_in), .help = "create: 12h, 90d; never unless said."},
    {.env = "RATE",
     .def = "0",
     .type = CONFIG_I64,
     .flags = CONFIG_FLAG,
     .max = 1000000,
     AT(rate),
     .help = "create: requests a second at most; 0: as ACCESS_RATE says."},
    {.env = "ALL", .def = "false", .type = CONFIG_BOOL, .flags = CONFIG_FLAG, AT(all), .help = "list: those too that are revoked."},
    {.env = "JSON", .def = "false", .type = CONFIG_BOOL, .flags = CONFIG_FLAG, AT(json), .help = "The answer as JSON."},
    CLIENT_KEYS(struct token_options, api),
};

static void write_pieces(struct json_writer *w, const char *key, const char *joined)
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

static int put_json(const struct json *answer)
{
    struct buf out = {0};
    json_print(answer, JSON_NAN_NULL, &out);
    buf_addc(&out, '\n');
    return term_put(&out);
}

/* Nothing but the token on stdout: it goes into a file or a variable. */
static int create(const struct token_options *o, const char *name)
{
    CLEANUP(json_freep) struct json *answer = NULL;
    CLEANUP(buf_done) struct buf body = {0};
    struct json_writer w;
    struct buf out = {0};
    struct err e = {{0}};
    jw_init(&w, &body, JSON_NAN_NULL);
    jw_object(&w);
    jw_kv_strz(&w, "name", name);
    write_pieces(&w, "scopes", o->scope);
    write_pieces(&w, "projects", o->project);
    jw_kv_i64(&w, "rate", o->rate);
    if (*o->expires_in)
        jw_kv_strz(&w, "expires_in", o->expires_in);
    jw_object_end(&w);
    if (client_call(&o->api, "POST", "/api/v1/tokens", buf_str(&body), 0, &answer, &e) != OK)
        return client_fail("token", &e);
    if (o->json)
        return put_json(answer);
    struct str token = client_text(answer, "token");
    buf_addf(&out, "%.*s\n", STR_FMT(token));
    return term_put(&out);
}

static void add_list(struct buf *out, const struct json *token, const char *key, size_t width)
{
    CLEANUP(buf_done) struct buf joined = {0};
    struct str s;
    struct err ignored;
    for (const struct json *j = json_first(json_get(token, key)); j; j = json_next(j))
        if (json_str(j, &s, &ignored) == OK)
            buf_addf(&joined, "%s%.*s", joined.len ? "," : "", STR_FMT(s));
    term_add_cell(out, buf_str(&joined), width);
}

static void add_time(struct buf *out, const struct json *token, const char *key, const char *never)
{
    struct str at = client_text(token, key);
    term_add_cell(out, at.n ? at : str_of(never), 27);
}

static int list(const struct token_options *o)
{
    CLEANUP(json_freep) struct json *answer = NULL;
    struct buf out = {0};
    struct err e = {{0}};
    if (client_call(&o->api, "GET", o->all ? "/api/v1/tokens?all=true" : "/api/v1/tokens", (struct str){0}, 0, &answer,
                    &e) != OK)
        return client_fail("token", &e);
    if (o->json)
        return put_json(answer);
    term_add_cell(&out, STR("name"), 24);
    term_add_cell(&out, STR("scopes"), 18);
    term_add_cell(&out, STR("projects"), 24);
    term_add_cell(&out, STR("expires"), 27);
    term_add_cell(&out, STR("last used"), 27);
    buf_addz(&out, "\n");
    for (const struct json *t = json_first(json_get(answer, "tokens")); t; t = json_next(t)) {
        term_add_cell(&out, client_text(t, "name"), 24);
        add_list(&out, t, "scopes", 18);
        add_list(&out, t, "projects", 24);
        add_time(&out, t, "expires", "never");
        add_time(&out, t, "last_used", "-");
        buf_addf(&out, "%s\n", client_text(t, "revoked").n ? "revoked" : "");
    }
    return term_put(&out);
}

static int revoke(const struct token_options *o, const char *name)
{
    CLEANUP(json_freep) struct json *answer = NULL;
    CLEANUP(buf_done) struct buf path = {0};
    struct err e = {{0}};
    buf_addz(&path, "/api/v1/tokens/");
    client_add_encoded(&path, str_of(name));
    if (client_call(&o->api, "DELETE", path.data, (struct str){0}, 0, &answer, &e) != OK)
        return client_fail("token", &e);
    return TOOL_DONE;
}

static int generate(void)
{
    char token[ACCESS_TOKEN_TEXT];
    access_token_make(token);
    bool ok = printf("%s\n", token) > 0 && fflush(stdout) == 0;
    explicit_bzero(token, sizeof token);
    return ok ? TOOL_DONE : TOOL_FAILED;
}

static int run(const void *opts, char *const *operands, size_t n)
{
    if (n == 2 && strcmp(operands[0], "create") == 0)
        return create(opts, operands[1]);
    if (n == 2 && strcmp(operands[0], "revoke") == 0)
        return revoke(opts, operands[1]);
    if (n == 1 && strcmp(operands[0], "list") == 0)
        return list(opts);
    if (n == 1 && strcmp(operands[0], "generate") == 0)
        return generate();
    (void)fprintf(stderr, "modelmon token: create NAME, list, revoke NAME, or generate\n");
    return TOOL_USAGE;
}

const struct verb verb_token = {
    .name = "token",
    .operands = "create NAME | list | revoke NAME | generate",
    .summary = "Makes, lists and revokes access tokens.",
    .notes = "  modelmon token generate > admin-token       # for ACCESS_ADMIN_TOKEN_FILE: the first one, known to "
             "nobody else\n"
             "  export API_TOKEN_FILE=admin-token\n"
             "  modelmon token create serving --scope ingest --project shop --expires-in 90d > serving-token\n"
             "  modelmon token revoke serving               # refused everywhere a second later",
    .operands_min = 1,
    .operands_max = 2,
    .keys = keys,
    .n_keys = sizeof keys / sizeof *keys,
    .opts_size = sizeof(struct token_options),
    .run = run,
};
