/* modelmon audit: who changed what. */
#include "client.h"
#include "term.h"

struct audit_options {
    struct client api;
    const char *who, *project, *since;
    int64_t limit;
    bool json;
};
#define AT(field) .offset = offsetof(struct audit_options, field)
static const struct config_key keys[] = {
    {.env = "WHO", .def = "", .type = CONFIG_STR, .flags = CONFIG_FLAG, AT(who), .help = "Of this token alone."},
    {.env = "PROJECT", .def = "", .type = CONFIG_STR, .flags = CONFIG_FLAG, AT(project), .help = "In this project alone."},
    {.env = "SINCE", .def = "", .type = CONFIG_STR, .flags = CONFIG_FLAG, AT(since), .help = "From then on: 2025-01-31T00:00:00Z."},
    {.env = "LIMIT", .def = "100", .type = CONFIG_I64, .flags = CONFIG_FLAG, .min = 1, .max = 1000, AT(limit), .help = "So many, the newest."},
    {.env = "JSON", .def = "false", .type = CONFIG_BOOL, .flags = CONFIG_FLAG, AT(json), .help = "The rows as JSON."},
    CLIENT_KEYS(struct audit_options, api),
};

static void add_query(struct buf *path, const char *name, const char *value)
{
    if (!*value)
        return;
    buf_addf(path, "&%s=", name);
    client_add_encoded(path, str_of(value));
}

static int run(const void *opts, char *const *operands, size_t n)
{
    const struct audit_options *o = opts;
    CLEANUP(json_freep) struct json *answer = NULL;
    CLEANUP(buf_done) struct buf path = {0};
    struct buf out = {0};
    struct err e = {{0}};
    (void)operands, (void)n; /* there are none */
    buf_addf(&path, "/api/v1/audit?limit=%lld", (long long)o->limit);
    add_query(&path, "who", o->who);
    add_query(&path, "project", o->project);
    add_query(&path, "since", o->since);
    if (client_call(&o->api, "GET", path.data, (struct str){0}, 0, &answer, &e) != OK)
        return client_fail("audit", &e);
    if (o->json)
        json_print(answer, JSON_NAN_NULL, &out);
    for (const struct json *row = o->json ? NULL : json_first(json_get(answer, "audit")); row; row = json_next(row)) {
        struct str who = client_text(row, "who"), action = client_text(row, "action"), target = client_text(row, "target");
        const char *blank = action.n ? memchr(action.p, ' ', action.n) : NULL;
        term_add_cell(&out, client_text(row, "at"), 28);
        term_add_cell(&out, who.n ? who : STR("-"), 24);
        term_add_cell(&out, client_text(row, "address"), 16);
        term_add_cell(&out, (struct str){action.p, blank ? (size_t)(blank - action.p) : action.n}, 7);
        buf_addf(&out, "%.*s\n", STR_FMT(target));
    }
    if (o->json)
        buf_addc(&out, '\n');
    return term_put(&out);
}

const struct verb verb_audit = {
    .name = "audit",
    .operands = "",
    .summary = "Shows who changed what: when, from where, by which token.",
    .notes = "  modelmon audit --project shop --since 2025-01-31T00:00:00Z",
    .keys = keys,
    .n_keys = sizeof keys / sizeof *keys,
    .opts_size = sizeof(struct audit_options),
    .run = run,
};
