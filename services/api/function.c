/* Owns the function routes. A version's uid is its hash; what is stored unversioned has one version a tag. */
#include "function.h"

#include "base/mem.h"

#define UNVERSIONED "unversioned-"

rc_t function_tag(struct call *c, const struct object *o, struct str *ret, struct err *e)
{
    struct str tag = call_str(c, "tag");
    rc_t rc = tag.n ? OK : json_opt_str(json_get(o->body, "metadata"), "tag", &tag, e);
    if (rc == OK && tag.n > OBJECT_NAME_MAX)
        rc = err_set(e, E_INVALID, "tag: at most %d characters", OBJECT_NAME_MAX);
    *ret = tag.n ? tag : STR(OBJECT_LATEST);
    return rc;
}

rc_t function_store(struct call *c, struct object *o, struct str tag, bool versioned, char hash[41], struct err *e)
{
    char *name = arena_dup(c->arena, tag.p, tag.n); /* the body that has it may change */
    const struct str tags[] = {str_of(name), STR(OBJECT_LATEST)};
    struct json *metadata = json_get(o->body, "metadata");
    object_hash(o, hash);
    json_set_strz(metadata, "hash", hash);
    json_set_strz(metadata, "tag", name);
    mem_free(o->doc.uid);
    o->doc.uid = mem_dupz(versioned ? hash : arena_printf(c->arena, UNVERSIONED "%s", name));
    mem_free(o->doc.tag);
    o->doc.tag = mem_dupz(name);
    return object_store_in(c, o, tags, str_eqz(tags[1], name) ? 1 : 2, e);
}

static rc_t post(struct call *c, const struct project *p, char hash[41], struct err *e)
{
    struct object o = {0};
    struct str tag;
    bool versioned = call_bool(c, "versioned", false);
    rc_t rc = object_read(c, p, &object_function, http_param(c->r, "name"), &o, e);
    if (rc == OK)
        rc = function_tag(c, &o, &tag, e);
    if (rc == OK)
        rc = db_begin(c->db, e);
    if (rc == OK)
        rc = call_commit(c, function_store(c, &o, tag, versioned, hash, e), e);
    object_done(&o);
    return rc;
}

rc_t post_function(struct call *c, struct err *e)
{
    struct project p = {0};
    char hash[41];
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        rc = post(c, &p, hash, e);
    if (rc == OK) {
        CLEANUP(json_freep) struct json *j = json_new_object();
        json_set_strz(j, "hash_key", hash);
        call_answer(c, 200, j);
    }
    project_done(&p);
    return rc;
}

struct document_filter function_filter(const struct project *p, struct str name, struct str tag, struct str hash)
{
    struct document_filter f = {
        .project_id = p->id, .kind = object_function.kind, .name = name, .tag = tag, .uid = hash, .iter = DOCUMENT_ITER_ANY};
    if (hash.n)
        f.tag = (struct str){0};
    else if (tag.n == 0)
        f.tag = STR(OBJECT_LATEST);
    return f;
}

rc_t get_function(struct call *c, struct err *e)
{
    struct project p = {0};
    rc_t rc = call_project(c, &p, e);
    if (rc == OK) {
        const struct document_filter f = function_filter(&p, http_param(c->r, "name"), call_str(c, "tag"),
                                                         call_str(c, "hash_key"));
        rc = object_answer_found(c, &p, &object_function, &f, "func", e);
    }
    project_done(&p);
    return rc;
}

static rc_t read_more(struct call *c, struct document_filter *f, struct err *e)
{
    struct str kind = call_str(c, "kind");
    if (kind.n) {
        struct str *types = arena_array(c->arena, 1, sizeof *types);
        types[0] = kind;
        f->types = types;
        f->n_types = 1;
    }
    (void)e; /* nothing can fail */
    f->n_states = call_list(c, "state", &f->states);
    f->updated_from_us = call_time(c, "since", 0);
    f->updated_to_us = call_time(c, "until", 0);
    return OK;
}

rc_t list_functions(struct call *c, struct err *e)
{
    return object_list(c, &object_function, read_more, e);
}

/* All versions. */
rc_t delete_function(struct call *c, struct err *e)
{
    struct project p = {0};
    rc_t rc = call_project(c, &p, e);
    const struct document_filter f = {
        .project_id = p.id, .kind = object_function.kind, .name = http_param(c->r, "name"), .iter = DOCUMENT_ITER_ANY};
    if (rc == OK)
        rc = object_delete(c, &f, e);
    project_done(&p);
    return rc;
}
