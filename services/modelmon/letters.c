/* modelmon dead-letters: what was refused, looked at, mended, sent again once, or dropped. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "client.h"
#include "operator.h"
#include "term.h"

#define FILE_MAX ((size_t)1 << 20)

struct letters_options {
    struct client api;
    const char *project, *pipeline, *reason, *from;
    int64_t limit;
    bool json, all, ids, raw, yes, force;
};
#define AT(field) .offset = offsetof(struct letters_options, field)
#define WORD(name, field, words)                                                                                       \
    {                                                                                                                  \
        .env = name, .def = "", .type = CONFIG_STR, .flags = CONFIG_FLAG, AT(field), .help = words                     \
    }
#define SWITCH(name, field, words)                                                                                     \
    {                                                                                                                  \
        .env = name, .def = "false", .type = CONFIG_BOOL, .flags = CONFIG_FLAG, AT(field), .help = words               \
    }
static const struct config_key keys[] = {
    WORD("PROJECT", project, "list: of this project."),
    WORD("PIPELINE", pipeline, "list: of this pipeline: statistics, writer, app:NAME."),
    WORD("REASON", reason, "list: refused for this."),
    {.env = "LIMIT", .def = "100", .type = CONFIG_I64, .flags = CONFIG_FLAG, AT(limit), .min = 1, .max = 10000, .help = "list: so many, the newest first."},
    SWITCH("ALL", all, "list: those that were sent again too."),
    SWITCH("IDS", ids, "list: the ids alone, a line each, for retry and drop."),
    SWITCH("JSON", json, "list, show: as JSON."),
    SWITCH("RAW", raw, "show: the record's bytes alone, for a file to mend."),
    WORD("FROM", from, "retry: a file with the mended record, in place of what came."),
    SWITCH("FORCE", force, "retry: one that was sent again already too."),
    SWITCH("YES", yes, "drop: without asking."),
    CLIENT_KEYS(struct letters_options, api),
};

static int print(const struct json *j)
{
    struct buf out = {0};
    json_print(j, JSON_NAN_NULL, &out);
    buf_addc(&out, '\n');
    return term_put(&out);
}

static void add_letter(const struct letters_options *o, const struct json *l, struct buf *out)
{
    struct str id = client_text(l, "id"), error = client_text(l, "error");
    int64_t retries = 0;
    struct err ignored;
    if (json_opt_i64(l, "retries", &retries, &ignored) != OK)
        retries = 0;
    if (o->ids) {
        buf_addf(out, "%.*s\n", STR_FMT(id));
        return;
    }
    buf_addf(out, "%.*s\n    ", STR_FMT(id));
    term_add_cell(out, client_text(l, "at"), 27);
    term_add_cell(out, client_text(l, "reason"), 20);
    term_add_cell(out, client_text(l, "field"), 20);
    buf_addf(out, "%.*s%s\n", STR_FMT(error), retries ? " (sent again)" : "");
}

static rc_t list(const struct letters_options *o, char *const *ids, size_t n, struct err *e)
{
    static const struct {
        const char *key;
        size_t at;
    } filters[] = {{"project", offsetof(struct letters_options, project)},
                   {"pipeline", offsetof(struct letters_options, pipeline)},
                   {"reason", offsetof(struct letters_options, reason)}};
    CLEANUP(json_freep) struct json *answer = NULL;
    CLEANUP(buf_done) struct buf path = {0};
    struct buf out = {0};
    (void)ids, (void)n; /* there are none */
    buf_addf(&path, "/api/v1/dead-letters?limit=%" PRId64 "&all=%s", o->limit, o->all ? "true" : "false");
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++) {
        const char *value;
        memcpy(&value, (const char *)o + filters[i].at, sizeof value);
        if (*value) {
            buf_addf(&path, "&%s=", filters[i].key);
            client_add_encoded(&path, str_of(value));
        }
    }
    rc_t rc = client_call(&o->api, "GET", path.data, (struct str){0}, 0, &answer, e);
    if (rc)
        return rc;
    if (o->json)
        return print(answer) == TOOL_DONE ? OK : E_FATAL;
    for (const struct json *l = json_first(json_get(answer, "dead_letters")); l; l = json_next(l))
        add_letter(o, l, &out);
    if (out.len == 0 && !o->ids)
        buf_addz(&out, "none\n");
    return term_put(&out) == TOOL_DONE ? OK : E_FATAL;
}

static rc_t show_one(const struct letters_options *o, const char *id, struct err *e)
{
    CLEANUP(json_freep) struct json *answer = NULL;
    CLEANUP(buf_done) struct buf path = {0};
    struct buf out = {0};
    buf_addz(&path, "/api/v1/dead-letters/one?id=");
    client_add_encoded(&path, str_of(id));
    rc_t rc = client_call(&o->api, "GET", path.data, (struct str){0}, 0, &answer, e);
    if (rc)
        return rc;
    if (o->json)
        return print(answer) == TOOL_DONE ? OK : E_FATAL;
    struct str payload = client_text(answer, "payload");
    if (!o->raw)
        add_letter(o, answer, &out);
    buf_addf(&out, o->raw ? "%.*s" : "%.*s\n", STR_FMT(payload));
    return term_put(&out) == TOOL_DONE ? OK : E_FATAL;
}

static rc_t read_file(const char *path, struct buf *ret, struct err *e)
{
    char room[8192];
    FILE *f = fopen(path, "rbe");
    if (!f)
        return err_set(e, E_NOTFOUND, "%s: cannot be read", path);
    for (size_t n; ret->len <= FILE_MAX && (n = fread(room, 1, sizeof room, f)) > 0;)
        buf_add(ret, room, n);
    bool bad = ferror(f) != 0;
    (void)fclose(f);                                                                         /* only read */
    while (ret->len && (ret->data[ret->len - 1] == '\n' || ret->data[ret->len - 1] == '\r')) /* an editor's */
        ret->data[--ret->len] = '\0';
    if (bad || ret->len == 0 || ret->len > FILE_MAX)
        return err_set(e, E_INVALID, "%s: 1 byte to 1 MiB is wanted", path);
    return OK;
}

static rc_t decide(const struct letters_options *o, const char *path, const char *id, const struct buf *mended,
                   struct err *e)
{
    CLEANUP(json_freep) struct json *answer = NULL;
    CLEANUP(buf_done) struct buf body = {0};
    struct json_writer w;
    jw_init(&w, &body, JSON_NAN_NULL);
    jw_object(&w);
    jw_kv_strz(&w, "id", id);
    jw_kv_bool(&w, "force", o->force);
    if (mended)
        jw_kv_str(&w, "payload", buf_str(mended));
    operator_add_who(&w);
    jw_object_end(&w);
    return client_call(&o->api, "POST", path, buf_str(&body), 0, &answer, e);
}

/* Each by itself: one that fails does not keep the others back. */
static rc_t decide_all(const struct letters_options *o, const char *path, const char *done, char *const *ids, size_t n,
                       const struct buf *mended, struct err *e)
{
    rc_t rc = OK;
    for (size_t i = 0; i < n; i++) {
        struct err why = {{0}};
        rc_t one = decide(o, path, ids[i], mended, &why);
        if (one) {
            (void)fprintf(stderr, "%s: %s\n", ids[i], why.text);
            rc = err_set(e, one, "not all of them were %s", done);
        } else if (printf("%s %s\n", ids[i], done) < 0) {
            rc = err_set(e, E_FATAL, "cannot write the answer");
        }
    }
    return rc;
}

static rc_t show(const struct letters_options *o, char *const *ids, size_t n, struct err *e)
{
    rc_t rc = OK;
    for (size_t i = 0; rc == OK && i < n; i++)
        rc = show_one(o, ids[i], e);
    return rc;
}

static rc_t retry(const struct letters_options *o, char *const *ids, size_t n, struct err *e)
{
    CLEANUP(buf_done) struct buf mended = {0};
    if (*o->from && n != 1)
        return err_set(e, E_INVALID, "--from: one mended record is for one ID");
    rc_t rc = *o->from ? read_file(o->from, &mended, e) : OK;
    return rc ? rc : decide_all(o, "/api/v1/dead-letters/retry", "sent again", ids, n, *o->from ? &mended : NULL, e);
}

static rc_t drop(const struct letters_options *o, char *const *ids, size_t n, struct err *e)
{
    if (!o->yes && !operator_agrees("%zu dead letters are deleted for good?", n))
        return err_set(e, E_INVALID, "nothing was dropped");
    return decide_all(o, "/api/v1/dead-letters/drop", "dropped", ids, n, NULL, e);
}

/* One more thing to do with them is a row here. */
static const struct {
    const char *name;
    bool ids;
    rc_t (*run)(const struct letters_options *o, char *const *ids, size_t n, struct err *e);
} actions[] = {{"list", false, list}, {"show", true, show}, {"retry", true, retry}, {"drop", true, drop}};

static int run(const void *opts, char *const *operands, size_t n)
{
    struct err e = {{0}};
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++)
        if (strcmp(actions[i].name, operands[0]) == 0 && actions[i].ids == (n > 1))
            return actions[i].run(opts, operands + 1, n - 1, &e) == OK ? TOOL_DONE : client_fail("dead-letters", &e);
    (void)fprintf(stderr, "modelmon dead-letters: list, or show, retry, drop and the ID that list gives\n");
    return TOOL_USAGE;
}

const struct verb verb_letters = {
    .name = "dead-letters",
    .operands = "list | show ID... | retry ID... | drop ID...",
    .summary = "What was refused: looks at it, sends it again once, drops it.",
    .notes = "  modelmon dead-letters list --reason schema_mismatch\n"
             "  modelmon dead-letters show ID --raw > record.json     # mend it, then\n"
             "  modelmon dead-letters retry ID --from record.json\n"
             "  modelmon dead-letters list --reason schema_mismatch --ids | xargs modelmon dead-letters retry",
    .operands_min = 1,
    .operands_max = 10001,
    .keys = keys,
    .n_keys = sizeof keys / sizeof *keys,
    .opts_size = sizeof(struct letters_options),
    .run = run,
};
