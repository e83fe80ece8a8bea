/* modelmon export: the rows of a window, from the lake's files that the manifest names. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/mem.h"
#include "base/time.h"
#include "client.h"
#include "db/endpoint.h"
#include "db/label.h"
#include "db/lakefile.h"
#include "db/ledger.h"
#include "db/project.h"
#include "db/window.h"
#include "event/inference.h"
#include "json/write.h"
#include "kept.h"
#include "lake/copy.h"
#include "pipeline/pipeline.h"

#define LABELS_A_PAGE 5000
#define STDOUT "/dev/stdout"

struct export_options {
    struct kept_options kept;
    const char *start, *end, *to;
    int form;
    bool labels;
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
    {.env = "LABELS", .def = "false", .type = CONFIG_BOOL, .flags = CONFIG_FLAG, .offset = AT(labels), .help = "With what was told later of each row's request (kind: label): columns modelmon_label and modelmon_label_when."},
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

/* ---- labels: into a file beside, for the lake to join ---- */
static void add_labels(const struct label_row *rows, size_t n, struct buf *out)
{
    struct json_writer w;
    for (size_t i = 0; i < n; i++) {
        jw_init(&w, out, JSON_NAN_NULL);
        jw_object(&w);
        jw_kv_str(&w, "r", rows[i].request_id);
        jw_kv_i64(&w, "w", rows[i].when_us);
        jw_kv_str(&w, "l", rows[i].label);
        jw_object_end(&w);
        buf_addc(out, '\n');
    }
}

static rc_t write_page(struct db *db, const struct endpoint *ep, const struct str *uids, struct buf *inout_after,
                       FILE *f, size_t *ret_n, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *held = NULL;
    CLEANUP(buf_done) struct buf text = {0};
    struct label_row *rows = NULL;
    rc_t rc = labels_page(db, ep->project_id, uids, buf_str(inout_after), LABELS_A_PAGE, &rows, ret_n, &held, e);
    if (rc)
        return rc;
    add_labels(rows, *ret_n, &text);
    if (*ret_n) {
        buf_clear(inout_after);
        buf_add(inout_after, rows[*ret_n - 1].request_id.p, rows[*ret_n - 1].request_id.n);
    }
    mem_free(rows);
    if (fwrite(text.data, 1, text.len, f) != text.len)
        return err_set(e, E_INVALID, "labels cannot be written beside: %s", strerror(errno));
    return OK;
}

/* Those of the record, and of who named model and function alone. */
static rc_t write_labels(struct db *db, const struct endpoint *ep, FILE *f, struct err *e)
{
    CLEANUP(buf_done) struct buf after = {0};
    char named[UID_LEGACY_LEN + 1], of_function[UID_LEGACY_LEN + 1];
    const struct str none = STR("");
    uid_of_names(named, none, none, str_of(ep->name));
    uid_of_names(of_function, str_of(ep->function_name), none, str_of(ep->name));
    const struct str uids[LABEL_UIDS] = {str_of(ep->uid), str_of(named), str_of(of_function)};
    size_t n = LABELS_A_PAGE;
    rc_t rc = OK;
    buf_addz(&after, "");
    while (rc == OK && n == LABELS_A_PAGE)
        rc = write_page(db, ep, uids, &after, f, &n, e);
    return rc;
}

/* A file of their own that is gone when this has ended; *ret_path is the arena's. */
static rc_t make_labels(struct db *db, const struct endpoint *ep, struct arena *a, const char **ret_path, struct err *e)
{
    const char *folder = getenv("TMPDIR");
    char *path = arena_printf(a, "%s/modelmon-labels-XXXXXX", folder && *folder ? folder : "/tmp");
    int fd = mkstemp(path);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
    if (!f)
        return err_set(e, E_INVALID, "%s: %s", path, strerror(errno));
    *ret_path = path;
    rc_t rc = write_labels(db, ep, f, e);
    if (fclose(f) != 0 && rc == OK)
        rc = err_set(e, E_INVALID, "%s: %s", path, strerror(errno));
    return rc;
}

static rc_t copy_labelled(struct db *db, const struct lake_config *lake, const struct endpoint *ep,
                          const char *const *paths, size_t n, struct span span, enum lake_form form, const char *to,
                          struct arena *a, int64_t *ret_rows, struct err *e)
{
    struct lake_labels labels = {0};
    rc_t rc = make_labels(db, ep, a, &labels.path, e);
    if (rc == OK)
        rc = lake_copy(lake, paths, n, span.start_us, span.end_us, &labels, form, to, ret_rows, e);
    if (labels.path)
        (void)unlink(labels.path); /* it is of no use to anybody */
    if (rc == OK)
        (void)fprintf(stderr,
                      "%" PRId64 " of %" PRId64 " rows have a label; %" PRId64
                      " requests with one are not among them: of another time, of another endpoint, or unknown\n",
                      labels.rows, *ret_rows, labels.unknown);
    return rc;
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
    if (rc == OK && o->labels)
        return copy_labelled(db, lake, ep, paths, n, span, form_of(o), o->to, a, ret_rows, e);
    return rc ? rc : lake_copy(lake, paths, n, span.start_us, span.end_us, NULL, form_of(o), o->to, ret_rows, e);
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
             "  modelmon export shop/price --labels > with-what-was-true.csv\n"
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
