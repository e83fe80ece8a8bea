/* modelmon reference: what a model was trained on, from a file to its endpoint. The rows stay here; statistics are sent. */
#include <stdio.h>
#include <string.h>
#include "client.h"
#include "files.h"
#include "json/write.h"
#include "term.h"

struct reference_verb_options {
    struct client api;
    const char *csv, *parquet, *stats, *labels;
    bool create;
    bool history;
};
#define AT(field) offsetof(struct reference_verb_options, field)
#define ROW(name, field, words)                                                                                        \
    {                                                                                                                  \
        .env = (name), .def = "", .type = CONFIG_STR, .flags = CONFIG_FLAG, .offset = AT(field), .help = (words)       \
    }
static const struct config_key keys[] = {
    ROW("CSV", csv, "Training rows as CSV."),
    ROW("PARQUET", parquet, "Training rows as Parquet."),
    ROW("STATS", stats, "MLRun's feature_stats as JSON."),
    ROW("LABELS", labels, "Columns that are outputs of the model, a,b."),
    {.env = "HISTORY",
     .def = "false",
     .type = CONFIG_BOOL,
     .flags = CONFIG_FLAG,
     .offset = AT(history),
     .help = "Shows the versions there are instead: when each came, and from where."},
    {.env = "CREATE",
     .def = "false",
     .type = CONFIG_BOOL,
     .flags = CONFIG_FLAG,
     .offset = AT(create),
     .help = "Makes the endpoint, with the file's columns, when it is not there."},
    CLIENT_KEYS(struct reference_verb_options, api),
};

static void make_body(const struct training_file *t, struct buf *out)
{
    struct buf stats = {0};
    struct json_writer w;
    reference_to_json(t->reference, false, &stats);
    jw_init(&w, out, JSON_NAN_NULL);
    jw_object(&w);
    jw_kv_raw(&w, "feature_stats", buf_str(&stats));
    jw_key(&w, "labels");
    jw_array(&w);
    for (size_t i = 0; i < t->n_labels; i++)
        jw_str(&w, t->labels[i]);
    jw_array_end(&w);
    jw_object_end(&w);
    buf_done(&stats);
}

/* Names that only one of both has: most often a file of another model. */
static void add_unknown(const struct client_endpoint *c, const struct reference *r, struct buf *out)
{
    const struct json *names = json_get(json_get(c->record, "spec"), "feature_names");
    size_t missing = 0, n = json_len(names);
    struct str s;
    struct err ignored;
    for (const struct json *j = json_first(names); j; j = json_next(j))
        if (json_str(j, &s, &ignored) == OK && reference_find(r, s) == NULL && missing++ < 8)
            buf_addf(out, "%s%.*s",
                     missing > 1 ? ", " : "warning: the requests have columns that this reference lacks: ", STR_FMT(s));
    if (missing)
        buf_addf(out, "%s (%zu of %zu)\n", missing > 8 ? ", …" : "", missing, n);
    if (n == 0 && client_text(json_get(c->record, "status"), "first_request").n)
        buf_addz(
            out,
            "warning: the requests so far have no names, their inputs are f0, f1, …, which this reference lacks: send "
            "\"columns\" with them, or give the reference before the first one, with --create\n");
}

static void add_names(struct json_writer *w, const char *key, const struct reference *r, bool labels)
{
    jw_key(w, key);
    jw_array(w);
    for (size_t i = 0; i < r->n; i++)
        if (r->features[i].is_label == labels)
            jw_str(w, r->features[i].name);
    jw_array_end(w);
}

static rc_t create(const struct client *api, const char *operand, const struct reference *r, struct err *e)
{
    CLEANUP(buf_done) struct buf path = {0}, body = {0};
    CLEANUP(json_freep) struct json *answer = NULL;
    const char *slash = strchr(operand, '/'); /* client_endpoint has found it */
    struct json_writer w;
    buf_addz(&path, "/api/v1/projects/");
    client_add_encoded(&path, (struct str){operand, (size_t)(slash - operand)});
    buf_addz(&path, "/model-endpoints?creation-strategy=inplace");
    jw_init(&w, &body, JSON_NAN_NULL);
    jw_object(&w);
    jw_key(&w, "metadata");
    jw_object(&w);
    jw_kv_strz(&w, "name", slash + 1);
    jw_kv_str(&w, "project", (struct str){operand, (size_t)(slash - operand)});
    jw_object_end(&w);
    jw_key(&w, "spec");
    jw_object(&w);
    jw_kv_strz(&w, "model_name", slash + 1);
    add_names(&w, "feature_names", r, false);
    add_names(&w, "label_names", r, true);
    jw_object_end(&w);
    jw_kv_raw(&w, "status", STR("{\"monitoring_mode\":\"enabled\"}"));
    jw_object_end(&w);
    return client_call(api, "POST", path.data, buf_str(&body), 0, &answer, e);
}

static rc_t send(const struct reference_verb_options *o, const char *operand, const struct training_file *t,
                 struct buf *out, struct err *e)
{
    CLEANUP(buf_done) struct buf path = {0}, body = {0};
    CLEANUP(json_freep) struct json *answer = NULL;
    struct client_endpoint c = {0};
    int64_t version = 0;
    rc_t rc = client_endpoint(&o->api, operand, &c, e);
    if (rc == E_NOTFOUND && o->create) {
        rc = create(&o->api, operand, t->reference, e);
        rc = rc ? rc : client_endpoint(&o->api, operand, &c, e);
    }
    if (rc == E_NOTFOUND && !o->create && strncmp(e->text, "no endpoint", 11) == 0) {
        const struct err found = *e;
        return err_set(e, rc, "%s; --create makes it", found.text);
    }
    if (rc)
        return rc;
    buf_addf(&path, "/api/v1/projects/%.*s/model-endpoints/", STR_FMT(c.project));
    client_add_encoded(&path, c.uid);
    buf_addz(&path, "/reference");
    make_body(t, &body);
    rc = client_call(&o->api, "PUT", path.data, buf_str(&body), 0, &answer, e);
    if (rc == OK)
        rc = json_need_i64(answer, "version", &version, e);
    if (rc == OK) {
        buf_addf(out, "%s has reference version %lld: %zu columns", operand, (long long)version, t->reference->n);
        buf_addf(out, t->rows ? " of %zu rows\n" : " of statistics\n", t->rows);
        add_unknown(&c, t->reference, out);
    }
    client_endpoint_done(&c);
    return rc;
}

/* ---- --history ---- */
static struct str text_of(const struct json *j, const char *key)
{
    struct str s = STR("");
    struct err ignored;
    return json_opt_str(j, key, &s, &ignored) == OK ? s : STR("");
}

/* Where a version came from, in words; another source as it is stored. */
static struct str source_words(struct str source)
{
    static const struct {
        const char *source, *words;
    } known[] = {{"record", "statistics in the endpoint's record"},
                 {"api_rows", "rows that were sent"},
                 {"api_statistics", "statistics of a file, or that were sent"},
                 {"auto", "the endpoint's own first rows"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (str_eqz(source, known[i].source))
            return str_of(known[i].words);
    return source;
}

static void add_version(const struct json *v, struct buf *out)
{
    int64_t version = 0;
    struct err ignored;
    char number[24];
    if (json_opt_i64(v, "version", &version, &ignored) != OK)
        version = 0;
    (void)snprintf(number, sizeof number, "%lld", (long long)version); /* fits */
    term_add_cell(out, str_of(number), 7);
    term_add_cell(out, text_of(v, "created"), 32);
    term_add_text(out, source_words(text_of(v, "source")));
    buf_addc(out, '\n');
}

static rc_t show_history(const struct reference_verb_options *o, const char *operand, struct buf *out, struct err *e)
{
    CLEANUP(buf_done) struct buf path = {0};
    CLEANUP(json_freep) struct json *answer = NULL;
    struct client_endpoint c = {0};
    rc_t rc = client_endpoint(&o->api, operand, &c, e);
    if (rc)
        return rc;
    buf_addf(&path, "/api/v1/projects/%.*s/model-endpoints/", STR_FMT(c.project));
    client_add_encoded(&path, c.uid);
    buf_addz(&path, "/reference/versions");
    client_endpoint_done(&c);
    rc = client_call(&o->api, "GET", path.data, (struct str){0}, 0, &answer, e);
    if (rc)
        return rc;
    const struct json *versions = json_get(answer, "versions");
    if (json_len(versions) == 0) {
        buf_addf(out, "no reference yet: modelmon reference %s --csv FILE\n", operand);
        return OK;
    }
    buf_addz(out, "version  for windows that end after        made of\n");
    for (const struct json *v = json_first(versions); v; v = json_next(v))
        add_version(v, out);
    return OK;
}

static int run(const void *opts, char *const *operands, size_t n)
{
    const struct reference_verb_options *o = opts;
    const char *rows = *o->csv ? o->csv : o->parquet;
    struct training_file t = {0};
    struct buf out = {0};
    struct err e = {{0}};
    (void)n; /* it is one */
    if (!!*o->csv + !!*o->parquet + !!*o->stats + o->history != 1) {
        (void)fprintf(stderr, "modelmon reference: one of --csv, --parquet, --stats and --history is wanted\n");
        return TOOL_USAGE;
    }
    if (o->history)
        return show_history(o, operands[0], &out, &e) == OK ? term_put(&out) : client_fail("reference", &e);
    rc_t rc = *o->stats ? training_file_statistics(&t, o->stats, o->labels, &e)
                        : training_file_read(&t, rows, o->labels, true, &e);
    if (rc == OK)
        rc = send(o, operands[0], &t, &out, &e);
    training_file_done(&t);
    if (rc == OK)
        return term_put(&out);
    buf_done(&out);
    return client_fail("reference", &e);
}

const struct verb verb_reference = {
    .name = "reference",
    .operands = "PROJECT/ENDPOINT",
    .summary = "Says what a model was trained on: the next version of its reference.",
    .notes = "  modelmon reference shop/price --csv train.csv --labels price --create\n\n"
             "  modelmon reference shop/price --history\n\n"
             "Only statistics leave this machine. Exit codes: 0 stored, 1 failed, 2 wrong usage.",
    .operands_min = 1,
    .operands_max = 1,
    .keys = keys,
    .n_keys = sizeof keys / sizeof *keys,
    .opts_size = sizeof(struct reference_verb_options),
    .run = run,
};
