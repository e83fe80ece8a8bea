/* Owns the run routes: what ran where, when and how it ended. A run is known by its uid and iteration. */
#include "object.h"

#include <string.h>
#include "base/mem.h"
#include "event/names.h"

static rc_t one(struct call *c, const struct project *p, struct document_filter *ret, struct err *e)
{
    struct document_filter f = {
        .project_id = p->id, .kind = object_run.kind, .uid = http_param(c->r, "uid"), .iter = call_i64(c, "iter", 0)};
    if (!name_is_uid(f.uid))
        return err_set(e, E_INVALID, "a run's uid: 1 to %d letters, digits, - and _", NAME_UID_MAX);
    *ret = f;
    return OK;
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
        rc = call_json(c, &updates, e);
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
    f->created_from_us = object_days_ago(c, call_time(c, "start_time_from", 0));
    f->created_to_us = call_time(c, "start_time_to", 0);
    f->updated_from_us = call_time(c, "last_update_time_from", 0);
    f->updated_to_us = call_time(c, "last_update_time_to", 0);
    return call_str(c, "end_time_from").n
               ? err_set(e, E_INVALID, "end_time_from and end_time_to: runs are found by start_time and last_update_time")
               : OK;
}

/* Iterations are shown when they are asked for. */
static rc_t read_more(struct call *c, struct document_filter *f, struct err *e)
{
    f->n_uids = call_list(c, "uid", &f->uids);
    f->n_states = call_list(c, "states", &f->states);
    if (f->n_states == 0)
        f->n_states = call_list(c, "state", &f->states);
    if (!call_bool(c, "iter", true))
        f->iter = 0;
    return read_times(c, f, e);
}

rc_t list_runs(struct call *c, struct err *e)
{
    return object_list(c, &object_run, read_more, e);
}

rc_t delete_runs(struct call *c, struct err *e)
{
    return object_delete_list(c, &object_run, read_more, e);
}
