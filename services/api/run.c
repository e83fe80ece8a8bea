/* Owns the run routes: what ran where, when and how it ended. A run is known by its uid and iteration. */
#include "object.h"

#include <string.h>
#include "base/mem.h"
#include "event/names.h"

static rc_t one(struct call *c, const struct project *p, struct document_filter *ret, struct err *e)
{
    struct document_filter f = {.project_id = p->id, .kind = object_run.kind, .uid = http_param(c->r, "uid")};
    if (!name_is_uid(f.uid))
        return err_set(e, E_INVALID, "a run's uid: 1 to %d letters, digits, - and _", NAME_UID_MAX);
    rc_t rc = call_i64(c, "iter", 0, INT32_MAX, &f.iter, e);
    *ret = f;
    return rc;
}

rc_t post_run(struct call *c, struct err *e)
{
    struct project p = {0};
    struct object o = {0};
    struct document_filter f = {0};
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        rc = one(c, &p, &f, e);
    if (rc == OK)
        rc = object_read(c, &p, &object_run, (struct str){0}, &o, e);
    if (rc == OK) {
        o.doc.uid = mem_dup(f.uid.p, f.uid.n);
        o.doc.iter = (int)f.iter;
        rc = object_store(c, &o, NULL, 0, e);
    }
    if (rc == OK)
        buf_addz(&c->out, "{}");
    object_done(&o);
    project_done(&p);
    return rc;
}

static rc_t patch(struct call *c, const struct document_filter *f, const struct project *p, const struct json *updates,
                  struct err *e)
{
    struct object o = {0};
    rc_t rc = object_load(c, &object_run, f, &o, e);
    if (rc == E_NOTFOUND)
        rc = object_missing(p, &object_run, f, e);
    for (const struct json *u = json_first(updates); rc == OK && u; u = json_next(u))
        rc = object_set_path(o.body, u, e);
    if (rc == OK)
        rc = object_store_in(c, &o, NULL, 0, e);
    object_done(&o);
    return rc;
}

rc_t patch_run(struct call *c, struct err *e)
{
    struct project p = {0};
    CLEANUP(json_freep) struct json *updates = NULL;
    struct document_filter f = {0};
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        rc = one(c, &p, &f, e);
    if (rc == OK)
        rc = call_json(c, true, &updates, e);
    if (rc == OK)
        rc = db_begin(c->db, e);
    if (rc == OK)
        rc = call_commit(c, patch(c, &f, &p, updates, e), e);
    if (rc == OK)
        buf_addz(&c->out, "{}");
    project_done(&p);
    return rc;
}

static rc_t with_one(struct call *c, bool deletes, struct err *e)
{
    struct project p = {0};
    struct document_filter f = {0};
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        rc = one(c, &p, &f, e);
    if (rc == OK)
        rc = deletes ? object_delete(c, &f, e) : object_answer_found(c, &p, &object_run, &f, "data", e);
    project_done(&p);
    return rc;
}

rc_t get_run(struct call *c, struct err *e)
{
    return with_one(c, false, e);
}

rc_t delete_run(struct call *c, struct err *e)
{
    return with_one(c, true, e);
}

static rc_t read_times(struct call *c, struct document_filter *f, struct err *e)
{
    const struct {
        const char *name;
        int64_t *us;
    } times[] = {{"start_time_from", &f->created_from_us},
                 {"start_time_to", &f->created_to_us},
                 {"last_update_time_from", &f->updated_from_us},
                 {"last_update_time_to", &f->updated_to_us}};
    rc_t rc = call_str(c, "end_time_from", "end_time_to").n
                  ? err_set(e, E_INVALID, "end_time_from and end_time_to: runs are found by start_time and last_update_time")
                  : OK;
    for (size_t i = 0; rc == OK && i < sizeof times / sizeof *times; i++)
        rc = call_time_naive(c, times[i].name, times[i].us, e);
    return rc == OK ? object_days_ago(c, &f->created_from_us, e) : rc;
}

/* Iterations are shown when they are asked for. */
static rc_t read_more(struct call *c, struct document_filter *f, struct err *e)
{
    bool iterations = true;
    rc_t rc = call_bool(c, "iter", NULL, &iterations, e);
    if (rc == OK)
        rc = call_list(c, "uid", &f->uids, &f->n_uids, e);
    if (rc == OK)
        rc = call_list(c, "states", &f->states, &f->n_states, e);
    if (rc == OK && f->n_states == 0)
        rc = call_list(c, "state", &f->states, &f->n_states, e);
    if (rc == OK && !iterations)
        f->iter = 0;
    return rc == OK ? read_times(c, f, e) : rc;
}

rc_t list_runs(struct call *c, struct err *e)
{
    return object_list(c, &object_run, read_more, e);
}

rc_t delete_runs(struct call *c, struct err *e)
{
    return object_delete_list(c, &object_run, read_more, e);
}
