/* Owns the artifact routes (MLRun's v2): what projects log, models among them. A version's uid is the hash of what it says. */
#include "model.h"

#include <stdio.h>
#include "base/mem.h"
#include "base/num.h"

/* What the path and the query say is in metadata too: who reads the object alone finds it there. */
static rc_t complete(struct call *c, struct object *o, struct err *e)
{
    struct json *metadata = json_get(o->body, "metadata");
    struct str tree = call_str(c, "tree");
    int64_t iter = 0;
    rc_t rc = tree.n ? OK : json_opt_str(metadata, "tree", &tree, e);
    if (rc == OK)
        rc = json_opt_i64(metadata, "iter", &iter, e);
    iter = call_i64(c, "iter", iter);
    if (rc == OK && (iter < 0 || iter > INT32_MAX || tree.n > OBJECT_NAME_MAX))
        rc = err_set(e, E_INVALID, "metadata: iter from 0 on, and a tree of at most %d characters are wanted",
                     OBJECT_NAME_MAX);
    if (rc != OK)
        return rc;
    char hash[41];
    o->doc.iter = (int)iter;
    o->doc.tree = mem_dup(tree.n ? tree.p : "", tree.n);
    json_set_i64(metadata, "iter", iter);
    json_set_strz(metadata, "tree", o->doc.tree);
    object_hash(o, hash);
    o->doc.uid = mem_dupz(hash);
    json_del(metadata, "tag");
    return OK;
}

static rc_t store(struct call *c, const struct project *p, struct object *o, const struct str *tags, struct err *e)
{
    rc_t rc = object_store_in(c, o, tags, 2, e);
    return rc == OK ? model_stored(c, p, o, tags, 2, e) : rc;
}

rc_t put_artifact(struct call *c, struct err *e)
{
    struct project p = {0};
    struct object o = {0};
    const struct str tags[] = {call_str(c, "tag"), STR(OBJECT_LATEST)};
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        rc = object_read(c, &p, &object_artifact, http_param(c->r, "key"), &o, e);
    if (rc == OK)
        rc = complete(c, &o, e);
    if (rc == OK)
        rc = db_begin(c->db, e);
    if (rc == OK)
        rc = call_commit(c, store(c, &p, &o, tags, e), e);
    if (rc == OK) {
        struct str tag = tags[tags[0].n == 0];
        o.doc.tag = mem_dup(tag.p, tag.n);
        object_answer(c, &p, &object_artifact, &o.doc, NULL);
    }
    object_done(&o);
    project_done(&p);
    return rc;
}

/* A client that names a version by its tree sends the tag latest all the same: the version it names may not be that any more. */
static struct document_filter one(struct call *c, const struct project *p)
{
    struct document_filter f = {.project_id = p->id,
                                .kind = object_artifact.kind,
                                .name = http_param(c->r, "key"),
                                .uid = call_str(c, "object-uid"),
                                .tree = call_str(c, "tree"),
                                .tag = call_str(c, "tag"),
                                .iter = call_i64(c, "iter", DOCUMENT_ITER_ANY)};
    if ((f.uid.n || f.tree.n) && str_eqz(f.tag, OBJECT_LATEST))
        f.tag = (struct str){0};
    return f;
}

rc_t get_artifact(struct call *c, struct err *e)
{
    struct project p = {0};
    rc_t rc = call_project(c, &p, e);
    struct document_filter f = one(c, &p);
    if (rc == OK && f.tag.n + f.uid.n + f.tree.n == 0)
        f.tag = STR(OBJECT_LATEST);
    if (rc == OK)
        rc = object_answer_found(c, &p, &object_artifact, &f, NULL, e);
    project_done(&p);
    return rc;
}

rc_t delete_artifact(struct call *c, struct err *e)
{
    struct project p = {0};
    rc_t rc = call_project(c, &p, e);
    const struct document_filter f = one(c, &p);
    if (rc == OK)
        rc = object_delete(c, &f, e);
    project_done(&p);
    return rc;
}

/* ---- lists ---- */
static void read_category(struct call *c, struct document_filter *f)
{
    static const struct str known[] = {{"model", 5}, {"dataset", 7}, {"document", 8}, {"llm-prompt", 10}};
    int category = call_choice(c, "category", -1);
    if (category < 0)
        return;
    f->not_types = category == 4; /* other */
    f->types = f->not_types ? known : &known[category];
    f->n_types = f->not_types ? 4 : 1;
}

static rc_t read_more(struct call *c, struct document_filter *f, struct err *e)
{
    struct str kind = call_str(c, "kind");
    rc_t rc = call_str(c, "producer_uri").n
                  ? err_set(e, E_INVALID, "producer_uri and parent: lists are not filtered by them; tree does it")
                  : OK;
    read_category(c, f);
    if (kind.n) {
        struct str *types = arena_array(c->arena, 1, sizeof *types);
        types[0] = kind;
        f->types = types;
        f->n_types = 1;
        f->not_types = false;
    }
    f->tree = call_str(c, "tree");
    f->iter = call_i64(c, "iter", DOCUMENT_ITER_ANY);
    f->updated_from_us = object_days_ago(c, call_time(c, "since", 0));
    f->updated_to_us = call_time(c, "until", 0);
    return rc;
}

rc_t list_artifacts(struct call *c, struct err *e)
{
    return object_list(c, &object_artifact, read_more, e);
}

rc_t delete_artifacts(struct call *c, struct err *e)
{
    return object_delete_list(c, &object_artifact, read_more, e);
}

rc_t list_artifact_tags(struct call *c, struct err *e)
{
    struct project p = {0};
    char **tags = NULL;
    size_t n = 0;
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        rc = document_tags(c->db, p.id, object_artifact.kind, &tags, &n, e);
    if (rc == OK) {
        CLEANUP(json_freep) struct json *j = json_new_object();
        json_set_strz(j, "project", p.name);
        struct json *list = json_set_array(j, "tags");
        for (size_t i = 0; i < n; i++) {
            json_add_strz(list, tags[i]);
            mem_free(tags[i]);
        }
        call_answer(c, 200, j);
    }
    mem_free(tags);
    project_done(&p);
    return rc;
}
