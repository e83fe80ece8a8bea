/* modelmon status: how each stage is, in the words of /readyz, which say what to do. */
#include "client.h"
#include "term.h"

struct status_options {
    const char *api;
};
static const struct config_key keys[] = {CLIENT_URL_KEY(offsetof(struct status_options, api))};

static void add_stage(const struct json *d, struct buf *out)
{
    static const char *const members[] = {"name", "state", "since", "detail"};
    static const size_t widths[] = {44, 8, 27};
    struct err ignored;
    for (size_t i = 0; i < 4; i++) {
        struct str s = STR("");
        if (json_opt_str(d, members[i], &s, &ignored) != OK)
            s = STR("");
        if (i < 3)
            term_add_cell(out, s, widths[i]);
        else
            term_add_cell(out, s, 200);
    }
    while (out->len && out->data[out->len - 1] == ' ')
        out->len--;
    buf_addc(out, '\n');
}

static int run(const void *opts, char *const *operands, size_t n)
{
    const struct status_options *o = opts;
    CLEANUP(json_freep) struct json *answer = NULL;
    struct buf out = {0};
    struct str status = STR("");
    struct err e = {{0}};
    (void)operands, (void)n; /* there are none */
    rc_t rc = client_call(o->api, "GET", "/readyz", (struct str){0}, 503, &answer, &e);
    if (rc == OK)
        rc = json_need_str(answer, "status", &status, &e);
    if (rc)
        return client_fail("status", &e);
    for (const struct json *d = json_first(json_get(answer, "dependencies")); d; d = json_next(d))
        add_stage(d, &out);
    buf_addf(&out, "\n%.*s\n", STR_FMT(status));
    int code = term_put(&out);
    return code == TOOL_DONE && !str_eqz(status, "ok") && !str_eqz(status, "degraded") ? TOOL_FAILED : code;
}

const struct verb verb_status = {
    .name = "status",
    .operands = "",
    .summary = "Says how each stage is and what to do next; exit code 1 when not ready.",
    .keys = keys,
    .n_keys = sizeof keys / sizeof *keys,
    .opts_size = sizeof(struct status_options),
    .run = run,
};
