/* Owns the routes that switch a project's monitoring as MLRun's clients do. They are the settings of spec.monitoring: the services
 * see a change within seconds; what arrives while it is off waits in the topic. */
#include "base/mem.h"
#include "event/names.h"
#include "project.h"
#include "task.h"

static void read_period(struct call *c, struct json *monitoring)
{
    int64_t minutes = call_i64(c, "base_period", 0);
    if (minutes)
        json_set_i64(monitoring, "base_period", minutes);
}

static rc_t change(struct call *c, struct json *update, struct err *e)
{
    struct project p = {0};
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        rc = project_patch(c, &p, update, e);
    if (rc == OK) {
        buf_clear(&c->out);
        buf_addz(&c->out, "null");
    }
    project_done(&p);
    return rc;
}

/* Once more is the same: what is given is set. */
rc_t put_monitoring(struct call *c, struct err *e)
{
    CLEANUP(json_freep) struct json *update = json_new_object();
    struct json *monitoring = json_set_object(json_set_object(update, "spec"), "monitoring");
    read_period(c, monitoring);
    json_set_bool(monitoring, "enabled", true);
    json_set_bool(monitoring, "default_app", call_bool(c, "deploy_histogram_data_drift_app", true));
    return change(c, update, e);
}

rc_t post_default_app(struct call *c, struct err *e)
{
    CLEANUP(json_freep) struct json *update = json_new_object();
    json_set_bool(json_set_object(json_set_object(update, "spec"), "monitoring"), "default_app", true);
    return change(c, update, e);
}

rc_t patch_controller(struct call *c, struct err *e)
{
    CLEANUP(json_freep) struct json *update = json_new_object();
    struct json *monitoring = json_set_object(json_set_object(update, "spec"), "monitoring");
    struct project p = {0};
    rc_t rc = call_project(c, &p, e);
    if (rc == OK && !p.monitoring)
        rc = err_set(e, E_NOTFOUND, "monitoring of project %s is not enabled", p.name);
    project_done(&p);
    read_period(c, monitoring);
    return rc == OK ? change(c, update, e) : rc;
}

/* ---- switching off ---- */
struct off {
    bool resources, default_app, applications;
    const struct str *names; /* of applications; 0: all */
    size_t n;
};

static struct off read_off(struct call *c)
{
    struct off o = {.resources = call_bool(c, "delete_resources", true),
                    .default_app = call_bool(c, "delete_histogram_data_drift_app", false),
                    .applications = call_bool(c, "delete_user_applications", false)};
    o.n = call_list(c, "user_application_list", &o.names);
    return o;
}

static bool is_named(struct str name, const struct str *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(names[i], name))
            return true;
    return n == 0;
}

/* Those of the names, or all, are told of no more windows; their functions go. */
static rc_t end_applications(struct call *c, const struct project *p, const struct str *names, size_t n, struct err *e)
{
    struct app_row *apps = NULL;
    size_t n_apps = 0;
    int32_t id;
    int64_t gone;
    rc_t rc = apps_list(c->db, p->id, &apps, &n_apps, e);
    for (size_t i = 0; rc == OK && i < n_apps; i++) {
        if (str_eqz(str_of(apps[i].name), function_name(FUNCTION_HISTOGRAM)) || !is_named(str_of(apps[i].name), names, n))
            continue;
        apps[i].active = false;
        rc = app_register(c->db, &apps[i], &id, e);
        const struct document_filter f = {
            .project_id = p->id, .kind = object_function.kind, .name = str_of(apps[i].name), .iter = DOCUMENT_ITER_ANY};
        if (rc == OK)
            rc = documents_delete(c->db, &f, &gone, e);
    }
    apps_free(apps, n_apps);
    return rc;
}

/* What clients wait for has happened when they ask. */
static rc_t answer_task(struct call *c, const struct project *p, struct err *e)
{
    struct object task = {0};
    rc_t rc = task_put(c, p, "model-monitoring-deletion", &task, e);
    if (rc == OK) {
        CLEANUP(json_freep) struct json *j = json_new_object();
        json_add_take(json_set_array(j, "background_tasks"), object_show(p, &object_task, &task.doc));
        call_answer(c, 202, j);
    }
    object_done(&task);
    return rc;
}

static rc_t switch_off(struct call *c, const struct project *p, const struct off *o, struct err *e)
{
    CLEANUP(json_freep) struct json *update = json_new_object();
    struct json *monitoring = json_set_object(json_set_object(update, "spec"), "monitoring");
    if (o->resources)
        json_set_bool(monitoring, "enabled", false);
    if (o->default_app)
        json_set_bool(monitoring, "default_app", false);
    rc_t rc = project_patch(c, p, update, e);
    if (rc == OK)
        rc = db_begin(c->db, e);
    if (rc != OK)
        return rc;
    rc = o->applications ? end_applications(c, p, o->names, o->n, e) : OK;
    return call_commit(c, rc == OK ? answer_task(c, p, e) : rc, e);
}

rc_t delete_monitoring(struct call *c, struct err *e)
{
    struct project p = {0};
    const struct off o = read_off(c);
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        rc = switch_off(c, &p, &o, e);
    project_done(&p);
    return rc;
}

rc_t delete_monitoring_functions(struct call *c, struct err *e)
{
    struct project p = {0};
    const struct str *names;
    size_t n = call_list(c, "function", &names);
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        rc = db_begin(c->db, e);
    if (rc == OK) {
        rc = end_applications(c, &p, names, n, e);
        rc = call_commit(c, rc == OK ? answer_task(c, &p, e) : rc, e);
    }
    project_done(&p);
    return rc;
}
