/* Owns the reading of endpoint records: checks, names of columns, the fields a PATCH may take. */
#include "record.h"

#include <string.h>
#include "base/mem.h"
#include "base/time.h"
#include "event/names.h"
#include "lake/lake.h"

enum kind { TEXT, TEXTS };
/* What is kept in the document, with MLRun's default. */
static const struct field {
    const char *part, *key;
    enum kind kind;
    const char *def; /* NULL: null */
} fields[] = {
    {"metadata", "tag", TEXT, NULL},        {"spec", "model_path", TEXT, ""},
    {"spec", "model_tags", TEXTS, NULL},    {"spec", "feature_names", TEXTS, NULL},
    {"spec", "label_names", TEXTS, NULL},   {"spec", "children", TEXTS, NULL},
    {"spec", "children_uids", TEXTS, NULL}, {"spec", "monitoring_feature_set_uri", TEXT, ""},
    {"status", "state", TEXT, "unknown"},
};
#define N_FIELDS (sizeof fields / sizeof *fields)

static const char *const part_names[] = {"metadata", "spec", "status"};
struct parts {
    struct json *part[3];
};
static struct json *part_of(const struct parts *p, const char *name)
{
    for (size_t i = 0; i < 3; i++)
        if (strcmp(part_names[i], name) == 0)
            return p->part[i];
    return NULL;
}

/* ---- reading ---- */
static rc_t read_text(const struct json *part, const char *key, const char *def, size_t max, char **ret, struct err *e)
{
    struct str s = str_of(def);
    rc_t rc = json_opt_str(part, key, &s, e);
    if (rc == OK && s.n > max)
        rc = json_complain(json_get(part, key), e, "at most %zu bytes", max);
    if (rc == OK)
        *ret = mem_dup(s.p ? s.p : "", s.n);
    return rc;
}

static rc_t read_texts(const struct json *part, const char *key, struct json *doc, struct err *e)
{
    struct json *list = NULL;
    rc_t rc = json_opt_array(part, key, &list, e);
    if (rc == OK && json_len(list) > RECORD_NAMES_MAX)
        rc = json_complain(list, e, "at most %d items", RECORD_NAMES_MAX);
    if (rc != OK)
        return rc;
    struct json *to = json_set_array(doc, key);
    for (const struct json *m = json_first(list); m; m = json_next(m)) {
        struct str s;
        rc = json_str(m, &s, e);
        if (rc != OK)
            return rc;
        json_add_str(to, s);
    }
    return OK;
}

static rc_t read_document(const struct parts *p, char **ret, struct err *e)
{
    CLEANUP(json_freep) struct json *doc = json_new_object();
    for (size_t i = 0; i < N_FIELDS; i++) {
        const struct field *f = &fields[i];
        const struct json *part = part_of(p, f->part);
        char *text = NULL;
        rc_t rc;
        if (f->kind == TEXTS) {
            rc = read_texts(part, f->key, doc, e);
        } else {
            rc = read_text(part, f->key, f->def, RECORD_TEXT_MAX, &text, e);
            if (rc == OK && (f->def || *text))
                json_set_strz(doc, f->key, text);
            mem_free(text);
        }
        if (rc != OK)
            return rc;
    }
    struct buf out = {0};
    json_print(doc, JSON_NAN_NULL, &out);
    *ret = buf_take(&out);
    return OK;
}

static rc_t read_labels(const struct json *metadata, char **ret, struct err *e)
{
    struct json *labels = NULL;
    rc_t rc = json_opt_object(metadata, "labels", &labels, e);
    if (rc != OK)
        return rc;
    for (const struct json *m = json_first(labels); m; m = json_next(m)) {
        enum json_type t = json_type(m);
        if (t == JSON_ARRAY || t == JSON_OBJECT)
            return json_complain(m, e, "a label is text, a number, a boolean or null");
    }
    struct buf out = {0};
    if (labels)
        json_print(labels, JSON_NAN_NULL, &out);
    else
        buf_addz(&out, "{}");
    *ret = buf_take(&out);
    return OK;
}

static rc_t read_time(const struct json *part, const char *key, int64_t *ret, struct err *e)
{
    struct str s = {0};
    rc_t rc = json_opt_str(part, key, &s, e);
    if (rc == OK && s.n && time_parse(s, 0, ret) != OK)
        rc = json_complain(json_get(part, key), e, "an ISO 8601 time is wanted");
    return rc;
}

static bool is_name(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f || s.p[i] == '/')
            return false;
    return s.n > 0 && s.n <= RECORD_NAME_MAX && !name_is_dots(s);
}

static rc_t read_metadata(const struct json *m, const struct project *p, struct endpoint *ep, struct err *e)
{
    struct str name = {0}, project = {0}, uid = {0};
    int64_t type = 1, mode = -1;
    rc_t rc = json_need_str(m, "name", &name, e);
    if (rc == OK && !is_name(name))
        rc = json_complain(json_get(m, "name"), e, "1 to %d bytes without / and control characters, neither . nor ..",
                           RECORD_NAME_MAX);
    if (rc == OK)
        rc = json_need_str(m, "project", &project, e);
    if (rc == OK && !str_eqz(project, p->name))
        rc = json_complain(json_get(m, "project"), e, "the path names project %s", p->name);
    if (rc == OK)
        rc = json_opt_str(m, "uid", &uid, e);
    if (rc == OK && uid.p && !name_is_uid(uid))
        rc = json_complain(json_get(m, "uid"), e, "1 to %d letters, digits, - and _", NAME_UID_MAX);
    if (rc == OK)
        rc = json_opt_i64(m, "endpoint_type", &type, e);
    if (rc == OK && (type < 1 || type > 5))
        rc = json_complain(json_get(m, "endpoint_type"), e, "must be from 1 to 5");
    if (rc == OK)
        rc = json_opt_i64(m, "mode", &mode, e);
    if (rc == OK && (mode < -1 || mode > 2))
        rc = json_complain(json_get(m, "mode"), e, "must be 0, 1 or 2");
    if (rc == OK)
        rc = read_labels(m, &ep->labels, e);
    if (rc != OK)
        return rc;
    ep->project_id = p->id;
    ep->name = mem_dup(name.p, name.n);
    ep->uid = uid.p ? mem_dup(uid.p, uid.n) : NULL;
    ep->endpoint_type = (int)type;
    ep->mode = mode >= 0 ? (int)mode : type == 4 ? 2 : 0; /* 1.12's client sends null and means the server to do this */
    return OK;
}

static rc_t read_spec(const struct json *s, struct endpoint *ep, struct err *e)
{
    const struct {
        const char *key;
        char **to;
    } texts[] = {{"model_class", &ep->model_class},   {"function_name", &ep->function_name},
                 {"function_tag", &ep->function_tag}, {"model_name", &ep->model_name},
                 {"function_uri", &ep->function_uri}, {"model_uri", &ep->model_uri}};
    rc_t rc = OK;
    for (size_t i = 0; rc == OK && i < sizeof texts / sizeof *texts; i++)
        rc = read_text(s, texts[i].key, "", RECORD_TEXT_MAX, texts[i].to, e);
    if (rc == OK && *ep->function_name && !*ep->function_tag) {
        mem_free(ep->function_tag);
        ep->function_tag = mem_dupz("latest");
    }
    return rc;
}

static rc_t read_status(const struct json *s, struct endpoint *ep, struct err *e)
{
    struct str mode = STR("enabled"); /* MLRun's clients always send it; whoever writes by hand wants drift */
    ep->sampling_percentage = 100;
    rc_t rc = json_opt_str(s, "monitoring_mode", &mode, e);
    if (rc == OK && !str_eqz(mode, "enabled") && !str_eqz(mode, "disabled"))
        rc = json_complain(json_get(s, "monitoring_mode"), e, "must be enabled or disabled");
    if (rc == OK)
        rc = json_opt_f64(s, "sampling_percentage", &ep->sampling_percentage, e);
    if (rc == OK && !(ep->sampling_percentage > 0 && ep->sampling_percentage <= 100))
        rc = json_complain(json_get(s, "sampling_percentage"), e, "must be above 0 and at most 100");
    if (rc == OK)
        rc = read_time(s, "first_request", &ep->first_request_us, e);
    if (rc == OK)
        rc = read_time(s, "last_request", &ep->last_request_us, e);
    if (rc == OK)
        ep->monitoring_mode = mem_dup(mode.p, mode.n);
    return rc;
}

rc_t record_read(struct json *body, const struct project *p, struct endpoint *ret, struct json **ret_stats, struct err *e)
{
    struct parts parts = {0};
    struct endpoint ep = {.latest = true};
    struct str kind = STR("model-endpoint");
    struct json *stats = NULL;
    rc_t rc = json_opt_str(body, "kind", &kind, e);
    if (rc == OK && !str_eqz(kind, "model-endpoint"))
        rc = json_complain(json_get(body, "kind"), e, "must be model-endpoint");
    if (rc == OK)
        rc = json_need_object(body, "metadata", &parts.part[0], e);
    for (size_t i = 1; rc == OK && i < 3; i++) {
        rc = json_opt_object(body, part_names[i], &parts.part[i], e);
        if (rc == OK && !parts.part[i])
            parts.part[i] = json_set_object(body, part_names[i]); /* what is not there has every default */
    }
    if (rc == OK)
        rc = read_metadata(parts.part[0], p, &ep, e);
    if (rc == OK)
        rc = read_spec(parts.part[1], &ep, e);
    if (rc == OK)
        rc = read_status(parts.part[2], &ep, e);
    if (rc == OK)
        rc = read_document(&parts, &ep.document, e);
    if (rc == OK)
        rc = json_opt_object(parts.part[1], "feature_stats", &stats, e);
    if (rc != OK) {
        endpoint_done(&ep);
        return rc;
    }
    *ret = ep;
    *ret_stats = json_len(stats) ? stats : NULL;
    return OK;
}

/* ---- names ---- */
struct json *record_document(struct str text)
{
    struct err ignored = {0}; /* it is ours: checked when it was written */
    struct json *doc = NULL;
    const struct json_limits limits = {.values = 100000, .bytes = 64u << 20};
    if (json_parse(&doc, text.p, text.n, &limits, &ignored) == OK && json_type(doc) == JSON_OBJECT)
        return doc;
    json_free(doc);
    return json_new_object();
}

rc_t record_names(const struct endpoint *ep, const char *key, struct arena *a, struct json **ret_doc,
                  const struct str **ret, size_t *n, struct err *e)
{
    struct json *doc = record_document(str_of(ep->document));
    const struct json *list = json_get(doc, key);
    struct str *names = arena_array(a, json_len(list) + 1, sizeof *names);
    size_t i = 0;
    for (const struct json *m = json_first(list); m; m = json_next(m)) {
        rc_t rc = json_str(m, &names[i], e);
        if (rc == OK && names[i].n == 0)
            rc = err_set(e, E_INVALID, "spec.%s[%zu]: a name is empty", key, i);
        if (rc != OK) {
            json_free(doc);
            return rc;
        }
        i++;
    }
    *ret_doc = doc;
    *ret = names;
    *n = i;
    return OK;
}

static struct column *columns_of(struct arena *a, const struct record_column *columns, size_t n, bool labels, size_t *ret_n)
{
    struct column *c = arena_array(a, n, sizeof *c);
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        if (columns[i].is_label != labels)
            continue;
        char *name = arena_alloc(a, columns[i].name.n + 10);
        (void)column_name(name, columns[i].name);
        c[count++] = (struct column){.name = name, .type = COLUMN_UNKNOWN};
    }
    *ret_n = count;
    return c;
}

bool record_schema(const struct record_column *columns, size_t n, struct buf *out)
{
    struct schema s = {.named = true};
    s.features = columns_of(&s.mem, columns, n, false, &s.n_features);
    s.labels = columns_of(&s.mem, columns, n, true, &s.n_labels);
    bool any = s.n_features > 0;
    if (any)
        schema_print(&s, out);
    schema_done(&s);
    return any;
}

/* ---- fields of a PATCH ---- */
static void take_text(char **to, const char *from)
{
    mem_free(*to);
    *to = mem_dupz(from);
}

static void take_in_document(struct endpoint *to, const struct endpoint *from, const char *key)
{
    CLEANUP(json_freep) struct json *a = record_document(str_of(to->document));
    CLEANUP(json_freep) struct json *b = record_document(str_of(from->document));
    const struct json *value = json_get(b, key);
    if (value)
        json_set_take(a, key, json_dup(value));
    else
        json_del(a, key);
    struct buf out = {0};
    json_print(a, JSON_NAN_NULL, &out);
    mem_free(to->document);
    to->document = buf_take(&out);
}

const char *record_part_of(struct str key)
{
    static const struct {
        const char *key, *part;
    } known[] = {{"labels", "metadata"},     {"model_path", "spec"},           {"model_class", "spec"},
                 {"feature_names", "spec"},  {"label_names", "spec"},          {"children", "spec"},
                 {"children_uids", "spec"},  {"monitoring_mode", "status"},    {"first_request", "status"},
                 {"last_request", "status"}, {"sampling_percentage", "status"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (str_eqz(key, known[i].key))
            return known[i].part;
    return NULL;
}

rc_t record_take_field(struct endpoint *to, const struct endpoint *from, struct str key, struct err *e)
{
    static const char *const in_document[] = {"model_path", "feature_names", "label_names", "children", "children_uids"};
    for (size_t i = 0; i < sizeof in_document / sizeof *in_document; i++)
        if (str_eqz(key, in_document[i])) {
            take_in_document(to, from, in_document[i]);
            return OK;
        }
    if (str_eqz(key, "labels"))
        take_text(&to->labels, from->labels);
    else if (str_eqz(key, "model_class"))
        take_text(&to->model_class, from->model_class);
    else if (str_eqz(key, "monitoring_mode"))
        take_text(&to->monitoring_mode, from->monitoring_mode);
    else if (str_eqz(key, "first_request"))
        to->first_request_us = from->first_request_us;
    else if (str_eqz(key, "last_request"))
        to->last_request_us = from->last_request_us;
    else if (str_eqz(key, "sampling_percentage"))
        to->sampling_percentage = from->sampling_percentage;
    else
        return err_set(
            e, E_INVALID,
            "attribute-key %.*s: labels, model_path, model_class, feature_names, label_names, children, "
            "children_uids, monitoring_mode, first_request, last_request and sampling_percentage can be changed",
            (int)(key.n < 64 ? key.n : 64), key.p);
    return OK;
}
