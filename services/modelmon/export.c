/* modelmon export: the rows of a window, from the lake's files that the manifest names. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "base/time.h"
#include "client.h"
#include "db/endpoint.h"
#include "db/lakefile.h"
#include "db/ledger.h"
#include "db/project.h"
#include "db/window.h"
#include "kept.h"
#include "lake/copy.h"
#include "pipeline/pipeline.h"

#define STDOUT "/dev/stdout"

struct export_options {
    struct kept_options kept;
    const char *start, *end, *to;
    int form;
};
enum { BY_NAME = -1 };
static const struct config_value forms[] = {
    {"auto", BY_NAME}, {"csv", LAKE_CSV}, {"parquet", LAKE_PARQUET}, {"json", LAKE_JSON}, {NULL, 0}};

#define AT(field) offsetof(struct export_options, field)
static const struct config_key keys[] = {
    {.env = "START", .def = "", .type = CONFIG_STR, .flags = CONFIG_FLAG, .offset = AT(start), .help = "Rows from this instant on, 2025-01-31T00:00:00Z; with neither START nor END: the last window that has closed."},
    {.env = "END", .def = "", .type = CONFIG_STR, .flags = CONFIG_FLAG, .offset = AT(end), .help = "Rows before this instant."},
    {.env = "TO",
     .def = STDOUT,
     .type = CONFIG_STR,
     .flags = CONFIG_FLAG | CONFIG_REQUIRED,
     .offset = AT(to),
     .help = "The file; one that is there is written over."},
    {.env = "FORMAT",
     .def = "auto",
     .type = CONFIG_ENUM,
     .flags = CONFIG_FLAG,
     .values = forms,
     .offset = AT(form),
     .help = "json: an object a line; auto: as the file's name ends, else csv."},
    KEPT_KEYS(AT(kept)),
};

struct span {
    int64_t start_us, end_us;
};

static bool ends_in(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n > m && strcmp(name + n - m, end) == 0;
}

static enum lake_form form_of(const struct export_options *o)
{
    if (o->form != BY_NAME)
        return (enum lake_form)o->form;
    if (ends_in(o->to, ".parquet"))
        return LAKE_PARQUET;
    return ends_in(o->to, ".json") || ends_in(o->to, ".ndjson") || ends_in(o->to, ".jsonl") ? LAKE_JSON : LAKE_CSV;
}

static rc_t read_instant(const char *flag, const char *text, int64_t otherwise, int64_t *ret, struct err *e)
{
    *ret = otherwise;
    if (*text && time_parse(str_of(text), 0, ret) != OK)
        return err_set(e, E_INVALID, "--%s: %s is no instant: 2025-01-31T00:00:00Z", flag, text);
    return OK;
}

static rc_t find_span(const struct export_options *o, struct db *db, const struct endpoint *ep, struct span *ret,
                      struct err *e)
{
    struct window w;
    if (*o->start || *o->end) {
        rc_t rc = read_instant("start", o->start, 0, &ret->start_us, e);
        if (rc == OK)
            rc = read_instant("end", o->end, INT64_C(253402300800) * 1000000, &ret->end_us, e); /* year 10000 */
        if (rc == OK && ret->start_us >= ret->end_us)
            rc = err_set(e, E_INVALID, "--start must be before --end");
        return rc;
    }
    rc_t rc = window_last(db, ep->project_id, ep->id, &w, e);
    if (rc == OK)
        *ret = (struct span){w.start_us, w.end_us};
    return rc == E_NOTFOUND ? err_prefix(e, rc, "%s: ", ep->name) : rc;
}

/* By uid, or by name. */
static rc_t find_endpoint(struct db *db, const char *operand, struct endpoint *ret, struct err *e)
{
    const char *slash = strchr(operand, '/');
    if (slash == NULL || slash == operand || slash[1] == '\0')
        return err_set(e, E_INVALID, "%s: PROJECT/ENDPOINT is wanted, by name or uid", operand);
    struct project p = {0};
    struct str asked = str_of(slash + 1);
    struct endpoint *found = NULL;
    size_t n = 0;
    rc_t rc = project_get(db, (struct str){operand, (size_t)(slash - operand)}, &p, e);
    if (rc == OK && (rc = endpoint_get(db, p.id, asked, ret, e)) == E_NOTFOUND) {
        const struct endpoint_filter f = {
            .project_id = p.id, .names = &asked, .n_names = 1, .mode = -1, .latest_only = true, .limit = 1};
        rc = endpoints_list(db, &f, &found, &n, e);
        if (rc == OK && n == 0)
            rc = err_set(e, E_NOTFOUND, "no endpoint %s in project %s", slash + 1, p.name);
        if (rc == OK)
            rc = endpoint_get_id(db, found[0].id, ret, e);
        endpoints_free(found, n);
    }
    project_done(&p);
    return rc;
}

/* Why: what came lately may be on its way, and how far the lake is tells. */
static rc_t no_rows(struct db *db, const struct endpoint *ep, struct err *e)
{
    int64_t until_us = 0;
    char until[TIME_TEXT];
    rc_t rc = ledger_frontier(db, ep->project_id, PIPELINE_LAKE, false, &until_us, e);
    if (rc)
        return rc;
    if (until_us == 0)
        return err_set(e, E_NOTFOUND, "%s: the lake has no rows of that time, and no event has been looked at yet",
                       ep->name);
    (void)time_rfc3339(until, until_us); /* its length is not needed */
    return err_set(
        e, E_NOTFOUND, "%s: the lake has no rows of that time; it has all that came until %.19sZ, and later ones at the age of LAKE_AGE",
        ep->name, until);
}

static rc_t copy(const struct export_options *o, struct db *db, const struct lake_config *lake,
                 const struct endpoint *ep, struct span span, struct arena *a, int64_t *ret_rows, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *held = NULL;
    struct manifest_row *files = NULL;
    size_t n = 0;
    rc_t rc = manifest_files(db, ep->project_id, ep->id, span.start_us, span.end_us, &files, &n, &held, e);
    if (rc == OK && n == 0)
        rc = no_rows(db, ep, e);
    const char **paths = arena_array(a, n + 1, sizeof *paths);
    for (size_t i = 0; rc == OK && i < n; i++)
        paths[i] = arena_dup(a, files[i].path.p, files[i].path.n);
    mem_free(files);
    return rc ? rc : lake_copy(lake, paths, n, span.start_us, span.end_us, form_of(o), o->to, ret_rows, e);
}

static int run(const void *opts, char *const *operands, size_t n)
{
    const struct export_options *o = opts;
    struct arena mem = {0};
    struct db *db = NULL;
    struct lake_config lake;
    struct endpoint ep = {0};
    struct span span;
    struct err e = {{0}};
    int64_t rows = 0;
    (void)n; /* it is one */
    rc_t rc = kept_open(&o->kept, &mem, &db, &lake, &e);
    if (rc == OK)
        rc = find_endpoint(db, operands[0], &ep, &e);
    if (rc == OK)
        rc = find_span(o, db, &ep, &span, &e);
    if (rc == OK)
        rc = copy(o, db, &lake, &ep, span, &mem, &rows, &e);
    if (rc == OK && strcmp(o->to, STDOUT) != 0)
        printf("%" PRId64 " rows in %s\n", rows, o->to);
    endpoint_done(&ep);
    db_free(db);
    arena_done(&mem);
    if (rc)
        return client_fail("export", &e);
    return fflush(stdout) == 0 ? TOOL_DONE : TOOL_FAILED;
}

const struct verb verb_export = {
    .name = "export",
    .operands = "PROJECT/ENDPOINT",
    .summary = "Writes the rows of a window as CSV, Parquet or JSON.",
    .notes = "  modelmon export shop/price > last-window.csv\n"
             "  modelmon export shop/price --start 2025-01-31T00:00:00Z --end 2025-02-01T00:00:00Z --to "
             "january-31.parquet\n\n"
             "It reads DATA_DIR, or DATABASE_URL and LAKE_DIR, itself. Exit codes: 0 written, 1 failed, 2 wrong usage.",
    .operands_min = 1,
    .operands_max = 1,
    .keys = keys,
    .n_keys = sizeof keys / sizeof *keys,
    .opts_size = sizeof(struct export_options),
    .run = run,
};
