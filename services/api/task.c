/* Owns background tasks, which clients wait for, and the question whether something is allowed. What takes long elsewhere is done
 * when the request that began it is answered; the task says how it ended. */
#include "task.h"

#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/sha.h"

#define TASK_NAME 33

/* 32 hex digits: a task's name is its uid. */
static void make_name(struct call *c, const struct project *p, const char *what, char out[TASK_NAME])
{
    char hash[41];
    const char *text = arena_printf(c->arena, "%d/%s/%lld/%lld", p->id, what, (long long)clock_now_us(),
                                    (long long)clock_mono_us());
    sha1_hex(text, strlen(text), hash);
    memcpy(out, hash, TASK_NAME - 1);
    out[TASK_NAME - 1] = '\0';
}

rc_t task_put(struct call *c, const struct project *p, const char *kind, struct object *ret, struct err *e)
{
    char name[TASK_NAME];
    make_name(c, p, kind, name);
    struct object o = {.kind = &object_task,
                       .body = json_new_object(),
                       .doc = {.project_id = p->id, .kind = object_task.kind, .name = mem_dupz(name)}};
    json_set_strz(o.body, "kind", "BackgroundTask");
    struct json *metadata = json_set_object(o.body, "metadata");
    json_set_strz(metadata, "name", name);
    json_set_strz(metadata, "kind", kind);
    json_set_strz(metadata, "project", p->name);
    json_set_object(o.body, "spec");
    json_set_strz(json_set_object(o.body, "status"), "state", "succeeded");
    rc_t rc = object_store_in(c, &o, NULL, 0, e);
    if (rc == OK)
        *ret = o;
    else
        object_done(&o);
    return rc;
}

rc_t get_task(struct call *c, struct err *e)
{
    struct project p = {0};
    rc_t rc = call_project(c, &p, e);
    const struct document_filter f = {
        .project_id = p.id, .kind = object_task.kind, .name = http_param(c->r, "name"), .iter = DOCUMENT_ITER_ANY};
    if (rc == OK)
        rc = object_answer_found(c, &p, &object_task, &f, NULL, e);
    project_done(&p);
    return rc;
}

static rc_t read_more(struct call *c, struct document_filter *f, struct err *e)
{
    f->state = call_str(c, "state");
    f->created_from_us = call_time(c, "created_from", 0);
    f->created_to_us = call_time(c, "created_to", 0);
    f->updated_from_us = call_time(c, "last_update_time_from", 0);
    f->updated_to_us = call_time(c, "last_update_time_to", 0);
    (void)e; /* nothing can fail */
    return OK;
}

rc_t list_tasks(struct call *c, struct err *e)
{
    return object_list(c, &object_task, read_more, e);
}

/* "/projects/NAME/…" ⇒ NAME; empty: it is about no project. */
static struct str project_of(struct str resource)
{
    static const char before[] = "projects/";
    size_t skip = resource.n && *resource.p == '/' ? 1 : 0, n = sizeof before - 1;
    if (resource.n < skip + n || memcmp(resource.p + skip, before, n) != 0)
        return (struct str){0};
    struct str rest = {resource.p + skip + n, resource.n - skip - n};
    const char *slash = rest.n ? memchr(rest.p, '/', rest.n) : NULL;
    return (struct str){rest.p, slash ? (size_t)(slash - rest.p) : rest.n};
}

static bool may(struct call *c, struct str resource, struct str action)
{
    enum http_scope wanted = str_eqz(action, "read") ? HTTP_READ : HTTP_WRITE;
    struct str project = project_of(resource);
    bool in = http_may(c->r, project) || (project.n == 0 && wanted == HTTP_READ);
    return in && (http_caller(c->r)->scopes & 1U << wanted) != 0;
}

rc_t post_verification(struct call *c, struct err *e)
{
    CLEANUP(json_freep) struct json *body = NULL;
    struct str resource, action;
    rc_t rc = call_json(c, &body, e);
    if (rc == OK)
        rc = json_need_str(body, "resource", &resource, e);
    if (rc == OK)
        rc = json_need_str(body, "action", &action, e);
    if (rc == OK && !may(c, resource, action)) {
        c->status = 403;
        buf_addz(&c->out, "{\"detail\":\"this token may not\"}");
    }
    return rc;
}
