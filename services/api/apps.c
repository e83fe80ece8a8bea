/* Apps of a project: who is told of closed windows. Programs on the SDK register themselves; others are put here. */
#include "api.h"
#include "base/mem.h"
#include "bus/bus.h"
#include "db/ledger.h"
#include "event/names.h"
#include "json/write.h"

#define LOCAL_NOTE                                                                                                     \
    "nobody reads its windows: they are records in Kafka, and this modelmon runs without (KAFKA_BROKERS), on a log "   \
    "that no other program reads"

static void write_app(struct json_writer *w, const struct app_row *a, const char *note)
{
    jw_object(w);
    jw_kv_strz(w, "name", a->name);
    jw_kv_bool(w, "active", a->active);
    jw_kv_bool(w, "needs_rows", a->needs_rows);
    jw_kv_bool(w, "wants_empty", a->wants_empty);
    if (note)
        jw_kv_strz(w, "note", note);
    jw_object_end(w);
}

rc_t list_apps(struct call *c, struct err *e)
{
    struct project p = {0};
    struct app_row *rows = NULL;
    size_t n = 0;
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        rc = apps_list(c->db, p.id, &rows, &n, e);
    if (rc == OK) {
        struct json_writer w;
        jw_init(&w, &c->out, JSON_NAN_NULL);
        jw_object(&w);
        jw_key(&w, "apps");
        jw_array(&w);
        for (size_t i = 0; i < n; i++)
            write_app(&w, &rows[i], NULL);
        jw_array_end(&w);
        jw_object_end(&w);
        apps_free(rows, n);
    }
    project_done(&p);
    return rc;
}

static rc_t read_app(struct call *c, struct app_row *a, struct err *e)
{
    CLEANUP(json_freep) struct json *body = NULL;
    rc_t rc = call_json(c, &body, e);
    for (const struct json *j = json_first(body); rc == OK && j; j = json_next(j)) {
        struct str key = str_of(json_key(j));
        if (str_eqz(key, "active"))
            rc = json_bool(j, &a->active, e);
        else if (str_eqz(key, "needs_rows"))
            rc = json_bool(j, &a->needs_rows, e);
        else if (str_eqz(key, "wants_empty"))
            rc = json_bool(j, &a->wants_empty, e);
        else
            rc = json_complain(j, e, "unknown: active, needs_rows and wants_empty are known");
    }
    return rc;
}

/* Whether its windows reach somebody: on a log of this process alone those of its own apps do, and these have ledger rows. */
static rc_t find_note(struct call *c, const struct app_row *app, const char **ret, struct err *e)
{
    struct ledger_row *rows = NULL;
    size_t n = 0;
    *ret = NULL;
    if (!app->active || !bus_is_local(c->api->options.brokers))
        return OK;
    rc_t rc = ledger_list(c->db, 0, arena_printf(c->arena, "app:%s", app->name), &rows, &n, e);
    if (rc == OK && n == 0)
        *ret = LOCAL_NOTE;
    ledger_rows_free(rows, n);
    return rc;
}

rc_t put_app(struct call *c, struct err *e)
{
    struct project p = {0};
    struct str name = http_param(c->r, "app");
    struct app_row app = {.name = arena_dup(c->arena, name.p, name.n), .active = true};
    const char *note = NULL;
    int32_t id = 0;
    if (!name_is_app_allowed(name))
        return err_set(e, E_INVALID, "an app's name: letters, digits, _ and -, %d at most, and none of the services'",
                       NAME_APP_MAX);
    rc_t rc = call_project(c, &p, e);
    app.project_id = p.id;
    if (rc == OK)
        rc = read_app(c, &app, e);
    if (rc == OK)
        rc = app_register(c->db, &app, &id, e);
    if (rc == OK)
        rc = find_note(c, &app, &note, e);
    if (rc == OK) {
        struct json_writer w;
        jw_init(&w, &c->out, JSON_NAN_NULL);
        write_app(&w, &app, note);
    }
    project_done(&p);
    return rc;
}
