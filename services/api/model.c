/* Owns what a model artifact gives to endpoints: reference and names of columns. */
#include "model.h"

#include <string.h>
#include "base/mem.h"
#include "base/num.h"
#include "record.h"
#include "stats/reference.h"

#define SOURCE_MODEL "model_artifact"

/* ---- the URI ---- */
/* Cuts the part behind the last `mark` off; it stays empty when there is none. */
static struct str cut(struct str *s, char mark)
{
    const char *at = s->n ? memrchr(s->p, mark, s->n) : NULL;
    if (!at)
        return (struct str){0};
    struct str part = {at + 1, (size_t)(s->p + s->n - at - 1)};
    s->n = (size_t)(at - s->p);
    return part;
}

bool model_uri_parse(struct str s, struct model_uri *ret)
{
    static const char *const prefixes[] = {"store://models/", "store://artifacts/"};
    struct model_uri u = {0};
    size_t skip = 0;
    for (size_t i = 0; i < 2 && !skip; i++)
        if (s.n > strlen(prefixes[i]) && memcmp(s.p, prefixes[i], strlen(prefixes[i])) == 0)
            skip = strlen(prefixes[i]);
    struct str rest = {s.p + skip, s.n - skip};
    const char *slash = skip ? memchr(rest.p, '/', rest.n) : NULL;
    if (!slash)
        return false;
    u.project = (struct str){rest.p, (size_t)(slash - rest.p)};
    u.key = (struct str){slash + 1, rest.n - u.project.n - 1};
    u.uid = cut(&u.key, '^');
    u.tree = cut(&u.key, '@');
    u.tag = cut(&u.key, ':');
    u.iter = cut(&u.key, '#');
    if (u.key.n == 0)
        return false;
    *ret = u;
    return true;
}

static struct document_filter filter_of(const struct project *p, const struct model_uri *u)
{
    struct document_filter f = {.project_id = p->id,
                                .kind = object_artifact.kind,
                                .name = u->key,
                                .uid = u->uid,
                                .tree = u->tree,
                                .iter = DOCUMENT_ITER_ANY};
    if (u->iter.n && num_i64_in(u->iter, 0, INT32_MAX, &f.iter) != OK)
        f.iter = DOCUMENT_ITER_ANY;
    if (u->uid.n + u->tree.n == 0)
        f.tag = u->tag.n ? u->tag : STR(OBJECT_LATEST);
    return f;
}

static bool names_version(const struct model_uri *u, const struct document *d, const struct str *tags, size_t n_tags)
{
    int64_t iter = d->iter;
    if (!str_eqz(u->key, d->name) || (u->iter.n && (num_i64(u->iter, &iter) != OK || iter != d->iter)))
        return false;
    if (u->uid.n + u->tree.n)
        return (u->uid.n == 0 || str_eqz(u->uid, d->uid)) && (u->tree.n == 0 || str_eqz(u->tree, d->tree));
    struct str tag = u->tag.n ? u->tag : STR(OBJECT_LATEST);
    for (size_t i = 0; i < n_tags; i++)
        if (str_eq(tags[i], tag))
            return true;
    return false;
}

/* ---- the artifact ---- */
struct model {
    struct reference *reference;
    const struct str *labels;
    const struct record_column *columns; /* inputs, then outputs; 0: the artifact names no inputs */
    size_t n_labels, n_columns;
    struct buf statistics, label_list;
};

static void model_done(struct model *m)
{
    reference_free(m->reference);
    buf_done(&m->statistics);
    buf_done(&m->label_list);
}

/* Features of an artifact: objects with a name. What has none is passed over, as MLRun does. */
static size_t read_names(struct call *c, const struct json *list, const struct str **ret)
{
    struct str *names = arena_array(c->arena, json_len(list) + 1, sizeof *names);
    struct err ignored = {0};
    size_t n = 0;
    for (const struct json *f = json_first(json_type(list) == JSON_ARRAY ? list : NULL); f; f = json_next(f))
        if (json_need_str(f, "name", &names[n], &ignored) == OK && names[n].n)
            n++;
    *ret = names;
    return n;
}

static void read_columns(struct call *c, const struct json *spec, struct model *m)
{
    const struct str *inputs;
    size_t n = read_names(c, json_get(spec, "inputs"), &inputs);
    m->n_labels = read_names(c, json_get(spec, "outputs"), &m->labels);
    struct record_column *columns = arena_array(c->arena, n + m->n_labels + 1, sizeof *columns);
    for (size_t i = 0; i < n + m->n_labels; i++)
        columns[i] = (struct record_column){i < n ? inputs[i] : m->labels[i - n], i >= n};
    m->columns = columns;
    m->n_columns = n ? n + m->n_labels : 0;
}

static rc_t read_model(struct call *c, const struct json *body, struct model *m, struct err *e)
{
    const struct json *spec = json_get(body, "spec");
    struct json_writer w;
    read_columns(c, spec, m);
    rc_t rc = reference_from_json(&m->reference, json_get(spec, "feature_stats"), m->labels, m->n_labels, e);
    if (rc != OK)
        return err_prefix(e, rc, "spec.feature_stats: ");
    reference_to_json(m->reference, false, &m->statistics);
    jw_init(&w, &m->label_list, JSON_NAN_NULL);
    jw_array(&w);
    for (size_t i = 0; i < m->n_labels; i++)
        jw_str(&w, m->labels[i]);
    jw_array_end(&w);
    return OK;
}

static bool is_model(const struct json *body)
{
    return json_len(json_get(json_get(body, "spec"), "feature_stats")) > 0;
}

/* ---- an endpoint takes it over ---- */
static rc_t given_by_person(struct call *c, const struct endpoint *ep, bool *ret, struct err *e)
{
    struct endpoint_reference r = {0};
    *ret = false;
    rc_t rc = ep->reference_version ? reference_get(c->db, ep->id, 0, &r, e) : E_NOTFOUND;
    if (rc == OK)
        *ret = strcmp(r.source, SOURCE_MODEL) != 0 && strcmp(r.source, REFERENCE_AUTO) != 0;
    endpoint_reference_done(&r);
    return rc == E_NOTFOUND ? OK : rc;
}

static rc_t take_over(struct call *c, const struct endpoint *ep, const struct model *m, bool newer, struct err *e)
{
    bool given = false;
    int version;
    rc_t rc = newer ? OK : given_by_person(c, ep, &given, e);
    if (rc != OK || given)
        return rc;
    call_changed(c, ep->project_id, str_of(ep->uid));
    rc = m->n_columns ? call_name_columns_so(c, ep, m->columns, m->n_columns, e)
                      : call_name_columns(c, ep, m->reference, e);
    if (rc == OK)
        rc = reference_put(c->db, ep->project_id, ep->id, buf_str(&m->statistics), buf_str(&m->label_list),
                           SOURCE_MODEL, &version, e);
    return rc;
}

rc_t model_of_endpoint(struct call *c, const struct project *p, const struct endpoint *ep, struct err *e)
{
    struct model_uri u;
    struct object o = {0};
    struct model m = {0};
    if (!model_uri_parse(str_of(ep->model_uri), &u) || !str_eqz(u.project, p->name))
        return OK;
    const struct document_filter f = filter_of(p, &u);
    rc_t rc = object_load(c, &object_artifact, &f, &o, e);
    if (rc == OK && is_model(o.body)) {
        rc = read_model(c, o.body, &m, e);
        if (rc == OK)
            rc = take_over(c, ep, &m, false, e);
    }
    model_done(&m);
    object_done(&o);
    return rc == E_NOTFOUND ? OK : rc;
}

rc_t model_stored(struct call *c, const struct project *p, const struct object *o, const struct str *tags,
                  size_t n_tags, struct err *e)
{
    struct model m = {0};
    struct model_uri u;
    struct endpoint *eps = NULL;
    size_t n = 0;
    if (!is_model(o->body))
        return OK;
    const struct endpoint_filter f = {.project_id = p->id,
                                      .mode = -1,
                                      .model_uri_part = str_of(arena_printf(c->arena, "/%s/%s", p->name, o->doc.name))};
    rc_t rc = read_model(c, o->body, &m, e);
    if (rc == OK)
        rc = endpoints_list(c->db, &f, &eps, &n, e);
    for (size_t i = 0; rc == OK && i < n; i++)
        if (model_uri_parse(str_of(eps[i].model_uri), &u) && str_eqz(u.project, p->name) &&
            names_version(&u, &o->doc, tags, n_tags))
            rc = take_over(c, &eps[i], &m, o->doc.created_us == o->doc.updated_us, e);
    endpoints_free(eps, n);
    model_done(&m);
    return rc;
}
