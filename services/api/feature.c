/* Owns the routes of feature sets and feature vectors: the same, but for what they are called. Versions are hashes of what they say;
 * a reference in a path is a tag or such a hash. */
#include "monitoring_set.h"
#include "object.h"

#include "base/mem.h"
#include "event/names.h"

static struct document_filter filter(const struct project *p, const struct object_kind *kind, struct str name,
                                     struct str reference)
{
    struct document_filter f = {.project_id = p->id, .kind = kind->kind, .name = name, .iter = DOCUMENT_ITER_ANY};
    if (uid_is_legacy(reference))
        f.uid = reference;
    else
        f.tag = reference;
    return f;
}

static rc_t store(struct call *c, struct object *o, struct str tag, bool versioned, struct err *e)
{
    char hash[41];
    const struct str tags[] = {tag, STR(OBJECT_LATEST)};
    object_hash(o, hash);
    mem_free(o->doc.uid);
    o->doc.uid = versioned ? mem_dupz(hash) : mem_dupz("");
    mem_free(o->doc.tag);
    o->doc.tag = mem_dup(tag.p, tag.n);
    return object_store(c, o, tags, 2, e);
}

/* A reference that is a hash names a version; what is stored is a version of its own, and latest. */
static rc_t put(struct call *c, const struct project *p, const struct object_kind *kind, struct str name,
                struct str reference, struct err *e)
{
    struct object o = {0};
    bool versioned = call_bool(c, "versioned", true);
    rc_t rc = object_read(c, p, kind, name, &o, e);
    if (rc == OK && reference.n > OBJECT_NAME_MAX)
        rc = err_set(e, E_INVALID, "reference: at most %d characters", OBJECT_NAME_MAX);
    if (rc == OK)
        rc = store(c, &o, uid_is_legacy(reference) ? STR(OBJECT_LATEST) : reference, versioned, e);
    if (rc == OK)
        object_answer(c, p, kind, &o.doc, NULL);
    object_done(&o);
    return rc;
}

static rc_t put_route(struct call *c, const struct object_kind *kind, struct err *e)
{
    struct project p = {0};
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        rc = put(c, &p, kind, http_param(c->r, "name"), http_param(c->r, "reference"), e);
    project_done(&p);
    return rc;
}

/* What is there already is a conflict. */
static rc_t create(struct call *c, const struct project *p, const struct object_kind *kind, struct err *e)
{
    CLEANUP(json_freep) struct json *body = NULL;
    struct str name = {0};
    struct document found = {0};
    struct json *metadata = NULL;
    rc_t rc = call_json(c, &body, e);
    if (rc == OK)
        rc = json_need_object(body, "metadata", &metadata, e);
    if (rc == OK)
        rc = json_need_str(metadata, "name", &name, e);
    if (rc != OK)
        return rc;
    const struct document_filter f = filter(p, kind, name, (struct str){0});
    rc = document_get(c->db, &f, &found, e);
    document_done(&found);
    if (rc == OK)
        return err_set(e, E_CONFLICT, "there is a %s %.*s in project %s", kind->kind, STR_FMT(name), p->name);
    return rc == E_NOTFOUND ? put(c, p, kind, name, STR(OBJECT_LATEST), e) : rc;
}

static rc_t post_route(struct call *c, const struct object_kind *kind, struct err *e)
{
    struct project p = {0};
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        rc = create(c, &p, kind, e);
    project_done(&p);
    return rc;
}

static rc_t get_route(struct call *c, const struct object_kind *kind, struct err *e)
{
    struct project p = {0};
    rc_t rc = call_project(c, &p, e);
    if (rc == OK) {
        struct str name = http_param(c->r, "name"), reference = http_param(c->r, "reference");
        const struct document_filter f = filter(&p, kind, name, reference);
        rc = kind == &object_feature_set ? monitoring_set_answer(c, &p, name, reference, e) : E_NOTFOUND;
        if (rc == E_NOTFOUND)
            rc = object_answer_found(c, &p, kind, &f, NULL, e);
    }
    project_done(&p);
    return rc;
}

static rc_t patch(struct call *c, const struct project *p, const struct object_kind *kind, const struct json *update,
                  struct err *e)
{
    struct object o = {0};
    struct str reference = http_param(c->r, "reference");
    const struct document_filter f = filter(p, kind, http_param(c->r, "name"), reference);
    rc_t rc = object_load(c, kind, &f, &o, e);
    if (rc == E_NOTFOUND)
        rc = object_missing(p, kind, &f, e);
    if (rc == OK)
        rc = object_merge(c, o.body, update, e);
    if (rc == OK)
        rc = object_store_in(c, &o, NULL, 0, e);
    object_done(&o);
    return rc;
}

static rc_t patch_route(struct call *c, const struct object_kind *kind, struct err *e)
{
    struct project p = {0};
    CLEANUP(json_freep) struct json *update = NULL;
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        rc = call_json(c, &update, e);
    if (rc == OK)
        rc = db_begin(c->db, e);
    if (rc == OK)
        rc = call_commit(c, patch(c, &p, kind, update, e), e);
    project_done(&p);
    return rc;
}

/* Without a reference in the path: all versions. */
static rc_t delete_route(struct call *c, const struct object_kind *kind, bool all, struct err *e)
{
    struct project p = {0};
    rc_t rc = call_project(c, &p, e);
    if (rc == OK) {
        const struct document_filter f = filter(&p, kind, http_param(c->r, "name"),
                                                all ? (struct str){0} : http_param(c->r, "reference"));
        rc = object_delete(c, &f, e);
    }
    project_done(&p);
    return rc;
}

static rc_t read_more(struct call *c, struct document_filter *f, struct err *e)
{
    f->state = call_str(c, "state");
    return call_str(c, "entity").n
               ? err_set(e, E_INVALID, "entity and feature: lists are not filtered by them; name, tag, state and label are")
               : OK;
}

#define ROUTES(what)                                                                                                   \
    rc_t post_##what(struct call *c, struct err *e)                                                                    \
    {                                                                                                                  \
        return post_route(c, &object_##what, e);                                                                       \
    }                                                                                                                  \
    rc_t put_##what(struct call *c, struct err *e)                                                                     \
    {                                                                                                                  \
        return put_route(c, &object_##what, e);                                                                        \
    }                                                                                                                  \
    rc_t patch_##what(struct call *c, struct err *e)                                                                   \
    {                                                                                                                  \
        return patch_route(c, &object_##what, e);                                                                      \
    }                                                                                                                  \
    rc_t get_##what(struct call *c, struct err *e)                                                                     \
    {                                                                                                                  \
        return get_route(c, &object_##what, e);                                                                        \
    }                                                                                                                  \
    rc_t list_##what##s(struct call *c, struct err *e)                                                                 \
    {                                                                                                                  \
        return object_list(c, &object_##what, read_more, e);                                                           \
    }                                                                                                                  \
    rc_t delete_##what(struct call *c, struct err *e)                                                                  \
    {                                                                                                                  \
        return delete_route(c, &object_##what, false, e);                                                              \
    }                                                                                                                  \
    rc_t delete_all_of_##what(struct call *c, struct err *e)                                                           \
    {                                                                                                                  \
        return delete_route(c, &object_##what, true, e);                                                               \
    }

ROUTES(feature_set)
ROUTES(feature_vector)
