/* modelmon endpoints: the records of a project in a table. */
#include <inttypes.h>
#include "client.h"
#include "term.h"

struct endpoints_options {
    struct client api;
};
static const struct config_key keys[] = {CLIENT_KEYS(struct endpoints_options, api)};

static void add_row(const struct json *record, struct buf *out)
{
    const struct json *meta = json_get(record, "metadata"), *status = json_get(record, "status");
    int64_t word = -1;
    struct err ignored;
    if (json_opt_i64(status, "result_status", &word, &ignored) != OK)
        word = -1;
    term_add_cell(out, client_text(meta, "name"), 24);
    term_add_cell(out, client_text(meta, "uid"), 32);
    term_add_cell(out, client_text(status, "last_request"), 32);
    term_add_found(out, (int)word, term_is(stdout));
    buf_addc(out, '\n');
}

/* A page of the list; *inout_after: behind which record, then behind which the next page begins, -1: there is none. */
static rc_t add_page(const struct client *api, const char *project, int64_t *inout_after, struct buf *out, struct err *e)
{
    CLEANUP(buf_done) struct buf path = {0};
    CLEANUP(json_freep) struct json *answer = NULL;
    int64_t next = -1;
    buf_addz(&path, "/api/v1/projects/");
    client_add_encoded(&path, str_of(project));
    buf_addf(&path, "/model-endpoints?cursor=%" PRId64, *inout_after);
    rc_t rc = client_call(api, "GET", path.data, (struct str){0}, 0, &answer, e);
    if (rc == OK)
        rc = json_opt_i64(answer, "next", &next, e);
    if (rc)
        return rc;
    for (const struct json *m = json_first(json_get(answer, "endpoints")); m; m = json_next(m))
        add_row(m, out);
    *inout_after = next > *inout_after ? next : -1;
    return OK;
}

static int run(const void *opts, char *const *operands, size_t n)
{
    const struct endpoints_options *o = opts;
    struct buf out = {0};
    struct err e = {{0}};
    (void)n; /* it is one */
    term_add_cell(&out, STR("endpoint"), 24);
    term_add_cell(&out, STR("uid"), 32);
    term_add_cell(&out, STR("last request"), 32);
    buf_addz(&out, "worst result of 24 h\n");
    for (int64_t after = 0; after >= 0;) {
        if (add_page(&o->api, operands[0], &after, &out, &e) == OK)
            continue;
        buf_done(&out);
        return client_fail("endpoints", &e);
    }
    return term_put(&out);
}

const struct verb verb_endpoints = {
    .name = "endpoints",
    .operands = "PROJECT",
    .summary = "Lists the endpoints of a project.",
    .operands_min = 1,
    .operands_max = 1,
    .keys = keys,
    .n_keys = sizeof keys / sizeof *keys,
    .opts_size = sizeof(struct endpoints_options),
    .run = run,
};
