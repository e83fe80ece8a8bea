/* modelmon project: makes a project, or changes how long its windows are. */
#include "client.h"
#include "json/write.h"
#include "term.h"

struct project_options {
    struct client api;
    const char *base_period;
};
#define AT(field) offsetof(struct project_options, field)
static const struct config_key keys[] = {
    {.env = "BASE_PERIOD",
     .def = "",
     .type = CONFIG_STR,
     .flags = CONFIG_FLAG,
     .offset = AT(base_period),
     .help = "How long a window is: 10s, 1m, 1h; 10m for a new project unless said."},
    CLIENT_KEYS(struct project_options, api),
};

static void make_body(const struct project_options *o, const char *name, struct buf *out)
{
    struct json_writer w;
    jw_init(&w, out, JSON_NAN_NULL);
    jw_object(&w);
    jw_key(&w, "metadata");
    jw_object(&w);
    jw_kv_strz(&w, "name", name);
    jw_object_end(&w);
    jw_key(&w, "spec");
    jw_object(&w);
    jw_key(&w, "monitoring");
    jw_object(&w);
    if (*o->base_period)
        jw_kv_strz(&w, "base_period", o->base_period);
    jw_object_end(&w);
    jw_object_end(&w);
    jw_object_end(&w);
}

static int run(const void *opts, char *const *operands, size_t n)
{
    const struct project_options *o = opts;
    CLEANUP(buf_done) struct buf path = {0}, body = {0};
    CLEANUP(json_freep) struct json *answer = NULL;
    struct buf out = {0};
    struct err e = {{0}};
    bool made = false;
    (void)n; /* it is one */
    buf_addz(&path, "/api/v1/projects/");
    client_add_encoded(&path, str_of(operands[0]));
    make_body(o, operands[0], &body);
    rc_t rc = client_call(&o->api, "PATCH", path.data, buf_str(&body), 0, &answer, &e); /* what it does not name stays */
    if ((made = rc == E_NOTFOUND))
        rc = client_call(&o->api, "PUT", path.data, buf_str(&body), 0, &answer, &e);
    if (rc)
        return client_fail("project", &e);
    struct str period = client_text(json_get(json_get(answer, "spec"), "monitoring"), "base_period");
    buf_addf(&out, "project %s %s: a window every %.*s\n", operands[0], made ? "made" : "is there", STR_FMT(period));
    return term_put(&out);
}

const struct verb verb_project = {
    .name = "project",
    .operands = "PROJECT",
    .summary = "Makes a project, or changes how long its windows are.",
    .notes = "  modelmon project shop --base-period 1m",
    .operands_min = 1,
    .operands_max = 1,
    .keys = keys,
    .n_keys = sizeof keys / sizeof *keys,
    .opts_size = sizeof(struct project_options),
    .run = run,
};
