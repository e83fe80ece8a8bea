/* Owns what the routes of MLRun's stored objects share: reading, storing and showing one. Lists are object_list.c's. */
#include "object.h"

#include "base/mem.h"
#include "base/sha.h"
#include "base/time.h"
#include "event/names.h"

const struct object_kind object_artifact = {"artifact", "artifacts", "uid", "key"};
const struct object_kind object_function = {"function", "funcs", NULL, "name"}; /* its hash is in what it says */
const struct object_kind object_run = {"run", "runs", "uid", "name"};
const struct object_kind object_feature_set = {"feature-set", "feature_sets", "uid", "name"};
const struct object_kind object_feature_vector = {"feature-vector", "feature_vectors", "uid", "name"};
const struct object_kind object_task = {"task", "background_tasks", NULL, "name"};

void object_done(struct object *o)
{
    json_free(o->body);
    document_done(&o->doc);
    *o = (struct object){0};
}

struct json *object_child(struct json *j, const char *key)
{
    struct json *m = json_get(j, key);
    return json_type(m) == JSON_OBJECT ? m : json_set_object(j, key);
}

rc_t object_set_path(struct json *j, const struct json *value, struct err *e)
{
    char path[OBJECT_NAME_MAX + 1];
    size_t n = strlen(json_key(value));
    if (n == 0 || n > OBJECT_NAME_MAX)
        return json_complain(value, e, "a path of at most %d characters is wanted", OBJECT_NAME_MAX);
    memcpy(path, json_key(value), n + 1);
    char *part = path;
    for (char *dot; (dot = strchr(part, '.')); part = dot + 1) {
        *dot = '\0';
        j = object_child(j, part);
    }
    json_set_take(j, part, json_dup(value));
    return OK;
}

static rc_t check_name(const struct object *o, struct str given, struct str name, struct err *e)
{
    if (name.n == 0 || name.n > OBJECT_NAME_MAX)
        return err_set(e, E_INVALID, "metadata.%s: 1 to %d characters are wanted", o->kind->name_key, OBJECT_NAME_MAX);
    if (given.n && !str_eq(given, name))
        return err_set(e, E_INVALID, "metadata.%s: the path names %.*s", o->kind->name_key, STR_FMT(name));
    return OK;
}

/* A run's path has its uid, so that its name is the body's; the others' have the name. */
static rc_t read_metadata(struct object *o, const struct project *p, struct str name, struct err *e)
{
    struct json *metadata = object_child(o->body, "metadata");
    struct str given = {0}, project = {0};
    rc_t rc = json_opt_str(metadata, o->kind->name_key, &given, e);
    if (rc == OK)
        rc = json_opt_str(metadata, "project", &project, e);
    if (rc == OK && project.n && !str_eqz(project, p->name))
        rc = err_set(e, E_INVALID, "metadata.project: the path names project %s", p->name);
    if (rc == OK)
        rc = check_name(o, given, name.n ? name : given, e);
    if (rc != OK)
        return rc;
    o->doc.name = name.n ? mem_dup(name.p, name.n) : mem_dup(given.p, given.n);
    json_set_strz(metadata, o->kind->name_key, o->doc.name);
    json_set_strz(metadata, "project", p->name);
    return OK;
}

rc_t object_take(const struct project *p, const struct object_kind *kind, struct str name, struct json *body,
                 struct object *ret, struct err *e)
{
    struct object o = {.kind = kind, .body = body, .doc = {.project_id = p->id, .kind = kind->kind}};
    rc_t rc = read_metadata(&o, p, name, e);
    if (rc == OK)
        *ret = o;
    else
        object_done(&o);
    return rc;
}

rc_t object_read(struct call *c, const struct project *p, const struct object_kind *kind, struct str name,
                 struct object *ret, struct err *e)
{
    struct json *body = NULL;
    rc_t rc = call_json(c, &body, e);
    return rc == OK ? object_take(p, kind, name, body, ret, e) : rc;
}

void object_hash(const struct object *o, char out[41])
{
    static const char *const changing[] = {"tag", "hash", "uid", "updated", "created"};
    CLEANUP(json_freep) struct json *copy = json_dup(o->body);
    CLEANUP(buf_done) struct buf text = {0};
    for (size_t i = 0; i < sizeof changing / sizeof *changing; i++)
        json_del(json_get(copy, "metadata"), changing[i]);
    json_del(copy, "status");
    json_print(copy, JSON_NAN_TOKEN, &text);
    sha1_hex(text.data, text.len, out);
}

static char *print(const struct json *j)
{
    struct buf text = {0};
    json_print(j, JSON_NAN_TOKEN, &text);
    return buf_take(&text);
}

/* Labels are looked for as text: others are shown, and found by their key. */
static char *read_labels(const struct json *labels)
{
    CLEANUP(json_freep) struct json *kept = json_new_object();
    struct err ignored = {0};
    for (const struct json *l = json_first(json_type(labels) == JSON_OBJECT ? labels : NULL); l; l = json_next(l)) {
        struct str v = {0};
        if (json_opt_str(l ? labels : NULL, json_key(l), &v, &ignored) != OK)
            v = STR("");
        json_set_str(kept, json_key(l), v);
    }
    return print(kept);
}

static void set_text(char **at, const struct json *j, const char *key)
{
    struct err ignored = {0};
    struct str s = {0};
    if (json_opt_str(j, key, &s, &ignored) != OK || !s.p)
        return; /* of another type: it is shown, and not found by */
    mem_free(*at);
    *at = mem_dup(s.p, s.n);
}

rc_t object_store_in(struct call *c, struct object *o, const struct str *tags, size_t n_tags, struct err *e)
{
    struct document *d = &o->doc;
    mem_free(d->labels);
    mem_free(d->body);
    d->labels = read_labels(json_get(json_get(o->body, "metadata"), "labels"));
    set_text(&d->type, o->body, "kind");
    set_text(&d->state, json_get(o->body, "status"), "state");
    d->body = print(o->body);
    rc_t rc = document_put(c->db, d, e);
    for (size_t i = 0; rc == OK && i < n_tags; i++)
        if (tags[i].n)
            rc = document_tag(c->db, d, tags[i], e);
    return rc;
}

rc_t object_store(struct call *c, struct object *o, const struct str *tags, size_t n_tags, struct err *e)
{
    rc_t rc = db_begin(c->db, e);
    return rc == OK ? call_commit(c, object_store_in(c, o, tags, n_tags, e), e) : rc;
}

rc_t object_missing(const struct project *p, const struct object_kind *kind, const struct document_filter *f, struct err *e)
{
    return err_set(e, E_NOTFOUND, "there is no %s %.*s%s%.*s in project %s", kind->kind,
                   STR_FMT(f->name.n ? f->name : f->uid), f->tag.n ? ":" : "", STR_FMT(f->tag), p->name);
}

rc_t object_load(struct call *c, const struct object_kind *kind, const struct document_filter *f, struct object *ret,
                 struct err *e)
{
    struct object o = {.kind = kind};
    const struct json_limits limits = {.values = 2000000, .string_bytes = 8 << 20, .accept_nan = true};
    rc_t rc = document_get(c->db, f, &o.doc, e);
    if (rc == OK)
        rc = json_parse(&o.body, o.doc.body, strlen(o.doc.body), &limits, e);
    if (rc == OK)
        *ret = o;
    else
        object_done(&o);
    return rc;
}

static void merge(struct json *j, const struct json *update, bool additive)
{
    for (const struct json *u = json_first(update); u; u = json_next(u)) {
        const char *key = json_key(u);
        struct json *old = json_get(j, key);
        if (json_type(u) == JSON_OBJECT && json_type(old) == JSON_OBJECT)
            merge(old, u, additive);
        else if (additive && json_type(u) == JSON_ARRAY && json_type(old) == JSON_ARRAY)
            for (const struct json *item = json_first(u); item; item = json_next(item))
                json_add_take(old, json_dup(item));
        else
            json_set_take(j, key, json_dup(u));
    }
}

rc_t object_merge(struct call *c, struct json *j, const struct json *update, struct err *e)
{
    struct str mode = http_header(c->r, "x-mlrun-patch-mode");
    bool additive = str_eqz(mode, "additive");
    if (mode.n && !additive && !str_eqz(mode, "replace"))
        return err_set(e, E_INVALID, "x-mlrun-patch-mode: replace or additive is wanted");
    merge(j, update, additive);
    return OK;
}

static void set_time(struct json *metadata, const char *key, int64_t us)
{
    char text[TIME_TEXT];
    (void)time_iso_offset(text, us);
    json_set_strz(metadata, key, text);
}

struct json *object_show(const struct project *p, const struct object_kind *kind, const struct document *d)
{
    const struct json_limits limits = {.values = 2000000, .string_bytes = 8 << 20, .accept_nan = true};
    struct err ignored = {0};
    struct json *j = NULL;
    if (json_parse(&j, d->body, strlen(d->body), &limits, &ignored) != OK)
        j = json_new_object(); /* it was stored whole: only a table that somebody wrote into gives this */
    struct json *metadata = object_child(j, "metadata");
    json_set_strz(metadata, kind->name_key, d->name);
    json_set_strz(metadata, "project", p->name);
    if (kind->uid_key)
        json_set_strz(metadata, kind->uid_key, d->uid);
    if (kind != &object_run && kind != &object_task)
        json_set_strz(metadata, "tag", d->tag);
    if (!json_get(metadata, "created"))
        set_time(metadata, "created", d->created_us);
    set_time(metadata, "updated", d->updated_us);
    return j;
}

void object_answer(struct call *c, const struct project *p, const struct object_kind *kind, const struct document *d,
                   const char *key)
{
    CLEANUP(json_freep) struct json *j = object_show(p, kind, d);
    if (key) {
        struct json *outer = json_new_object();
        json_set_take(outer, key, j);
        j = outer;
    }
    buf_clear(&c->out);
    json_print(j, JSON_NAN_TOKEN, &c->out);
}

rc_t object_answer_found(struct call *c, const struct project *p, const struct object_kind *kind,
                         const struct document_filter *f, const char *key, struct err *e)
{
    struct document d = {0};
    rc_t rc = document_get(c->db, f, &d, e);
    if (rc == E_NOTFOUND)
        return object_missing(p, kind, f, e);
    if (rc == OK)
        object_answer(c, p, kind, &d, key);
    document_done(&d);
    return rc;
}
