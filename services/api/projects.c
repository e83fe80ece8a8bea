/* Owns the routes that make, list, patch and delete projects as MLRun's clients do. */
#include "object.h"

#include <string.h>
#include "base/mem.h"
#include "event/names.h"
#include "project.h"

static bool fits(const struct json *shown, struct str name, const struct str *labels, size_t n)
{
    const struct json *metadata = json_get(shown, "metadata"), *has = json_get(metadata, "labels");
    struct err ignored = {0};
    struct str text = {0};
    if (name.n && (json_need_str(metadata, "name", &text, &ignored) != OK || !str_eq(text, name)))
        return false;
    for (size_t i = 0; i < n; i++) {
        const char *eq = memchr(labels[i].p, '=', labels[i].n);
        char key[OBJECT_NAME_MAX + 1];
        size_t len = eq ? (size_t)(eq - labels[i].p) : labels[i].n;
        if (len > OBJECT_NAME_MAX)
            return false;
        memcpy(key, labels[i].p, len);
        key[len] = '\0';
        if (json_need_str(has, key, &text, &ignored) != OK ||
            (eq && !str_eq(text, (struct str){eq + 1, labels[i].n - len - 1})))
            return false;
    }
    return true;
}

enum format { FORMAT_FULL, FORMAT_LEADER, FORMAT_MINIMAL, FORMAT_NAME }; /* as the row of format has them */

static void add_project(struct json *list, const struct project *p, struct json *shown, enum format format)
{
    if (format == FORMAT_NAME) {
        json_add_strz(list, p->name);
        json_free(shown);
        return;
    }
    if (format == FORMAT_MINIMAL) /* the parts that grow */
        for (size_t i = 0; i < 3; i++)
            json_del(json_get(shown, "spec"), ((const char *const[]){"artifacts", "workflows", "functions"})[i]);
    json_add_take(list, shown);
}

rc_t list_projects(struct call *c, struct err *e)
{
    struct project *all = NULL;
    const struct str *labels, name = call_str(c, "name");
    size_t n = 0, n_labels = call_list(c, "label", &labels);
    enum format format = (enum format)call_choice(c, "format", FORMAT_FULL);
    rc_t rc = projects_list(c->db, &all, &n, e);
    if (rc == OK) {
        CLEANUP(json_freep) struct json *j = json_new_object();
        struct json *list = json_set_array(j, "projects");
        for (size_t i = 0; i < n; i++) {
            struct json *shown = project_show(&all[i]);
            if (http_may(c->r, str_of(all[i].name)) && fits(shown, name, labels, n_labels))
                add_project(list, &all[i], shown, format);
            else
                json_free(shown);
        }
        call_answer(c, 200, j);
    }
    projects_free(all, n);
    return rc;
}

rc_t post_project(struct call *c, struct err *e)
{
    CLEANUP(json_freep) struct json *body = NULL;
    struct json *metadata = NULL;
    struct str name = {0};
    struct project p = {0};
    rc_t rc = call_json(c, &body, e);
    if (rc == OK)
        rc = json_need_object(body, "metadata", &metadata, e);
    if (rc == OK)
        rc = json_need_str(metadata, "name", &name, e);
    if (rc != OK || !call_may(c, name))
        return rc;
    rc = project_get(c->db, name, &p, e);
    project_done(&p);
    if (rc == OK)
        return err_set(e, E_CONFLICT, "there is a project %.*s", STR_FMT(name));
    if (rc == E_NOTFOUND)
        rc = project_store(c, arena_str(c->arena, name), body, e);
    if (rc == OK)
        c->status = 201;
    return rc;
}

rc_t patch_project(struct call *c, struct err *e)
{
    CLEANUP(json_freep) struct json *update = NULL;
    struct project p = {0};
    rc_t rc = call_json(c, &update, e);
    if (rc == OK)
        rc = call_project(c, &p, e);
    if (rc == OK)
        rc = project_patch(c, &p, update, e);
    project_done(&p);
    return rc;
}

/* What MLRun calls restricted: nothing of it is lost that somebody may still want. */
static rc_t check_empty(struct call *c, const struct project *p, struct err *e)
{
    const struct endpoint_filter ef = {.project_id = p->id, .mode = -1, .limit = 1};
    const struct document_filter df = {.project_id = p->id, .kind = "", .iter = DOCUMENT_ITER_ANY, .limit = 1};
    struct endpoint *eps = NULL;
    struct document *docs = NULL;
    size_t n_eps = 0, n_docs = 0;
    rc_t rc = endpoints_list(c->db, &ef, &eps, &n_eps, e);
    if (rc == OK)
        rc = documents_list(c->db, &df, &docs, &n_docs, e);
    if (rc == OK && n_eps + n_docs > 0)
        rc = err_set(
            e, E_CONFLICT,
            "project %s has %s: the deletion strategy cascade (header x-mlrun-deletion-strategy) deletes them too",
            p->name, n_eps ? "model endpoints" : "stored objects");
    endpoints_free(eps, n_eps);
    documents_free(docs, n_docs);
    return rc;
}

/* One that is not there is deleted already, as MLRun's server answers. */
rc_t delete_project(struct call *c, struct err *e)
{
    struct project p = {0};
    struct str strategy = http_header(c->r, "x-mlrun-deletion-strategy");
    bool cascade = str_eqz(strategy, "cascade"), check = str_eqz(strategy, "check");
    if (strategy.n && !cascade && !check && !str_eqz(strategy, "restrict") && !str_eqz(strategy, "restricted"))
        return err_set(e, E_INVALID, "x-mlrun-deletion-strategy: restricted, cascade or check is wanted");
    if (!name_is_project(http_param(c->r, "project")))
        return call_project(c, &p, e);
    rc_t rc = project_get(c->db, http_param(c->r, "project"), &p, e);
    c->status = 204;
    if (rc == E_NOTFOUND)
        return OK;
    if (rc == OK && !cascade)
        rc = check_empty(c, &p, e);
    if (rc == OK && !check) {
        call_changed(c, p.id, (struct str){0});
        rc = project_delete(c->db, p.id, e);
    }
    project_done(&p);
    return rc == E_NOTFOUND ? OK : rc; /* another request was faster */
}
