/* Owns the answers about the installation (client-spec, healthz) and about one project. A project's document is what a
 * client stored, kept whole; the settings that the services act on are columns and shown as spec.monitoring:
 *   {"base_period": "10m" (text with s, m or h; or a number of minutes, MLRun's unit), "enabled": true, "default_app": true,
 *    "reference_auto": 1000 (rows; 0: never; null or not there: as the controller's option says)} */
#include "api.h"

#include <stdio.h>
#include "app/first_rows.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/time.h"
#include "event/names.h"
#include "object.h"
#include "project.h"

#define MINUTE_US (60 * USEC_PER_SEC)
#define DEFAULT_PERIOD_US (10 * MINUTE_US)

rc_t get_client_spec(struct call *c, struct err *e)
{
    (void)e; /* cannot fail */
    const struct api_options *o = &c->api->options;
    struct json *j = json_new_object();
    json_set_strz(j, "version", API_CLIENT_VERSION);
    json_set_strz(j, "namespace", "");
    json_set_strz(j, "system_id", o->id.system_id);
    json_set_strz(json_set_object(j, "ce"), "mode", "full"); /* without it the client believes it runs on V3IO */
    json_set_strz(j, "nuclio_version", "1.13.0");
    const char *path = *o->artifact_path ? o->artifact_path : arena_printf(c->arena, "%s/{{project}}", o->lake_dir);
    json_set_strz(j, "artifact_path", path);
    call_answer(c, 200, j);
    json_free(j);
    return OK;
}

rc_t get_healthz(struct call *c, struct err *e)
{
    (void)e; /* cannot fail */
    struct json *j = json_new_object();
    json_set_strz(j, "version", API_CLIENT_VERSION);
    json_set_strz(j, "status", "ok");
    call_answer(c, 200, j);
    json_free(j);
    return OK;
}

static void print_period(char out[32], int64_t us)
{
    static const struct {
        int64_t us;
        char unit;
    } units[] = {{60 * MINUTE_US, 'h'}, {MINUTE_US, 'm'}, {USEC_PER_SEC, 's'}};
    size_t i = 0;
    while (i < 2 && us % units[i].us)
        i++;
    (void)snprintf(out, 32, "%lld%c", (long long)(us / units[i].us), units[i].unit); /* fits */
}

static struct json *child(struct json *j, const char *key)
{
    struct json *m = json_get(j, key);
    return json_type(m) == JSON_OBJECT ? m : json_set_object(j, key);
}

struct json *project_show(const struct project *p)
{
    struct err ignored = {0};
    struct json *j = NULL;
    if (json_parse(&j, p->document, strlen(p->document), NULL, &ignored) != OK || json_type(j) != JSON_OBJECT) {
        json_free(j);
        j = json_new_object();
    }
    char text[TIME_TEXT];
    json_set_strz(j, "kind", "project");
    struct json *metadata = child(j, "metadata");
    json_set_strz(metadata, "name", p->name);
    (void)time_iso_offset(text, p->created_us);
    json_set_strz(metadata, "created", text);
    struct json *spec = child(j, "spec");
    json_set_strz(spec, "artifact_path", p->artifact_path);
    struct json *m = json_set_object(spec, "monitoring");
    print_period(text, p->base_period_us);
    json_set_strz(m, "base_period", text);
    json_set_bool(m, "enabled", p->monitoring);
    json_set_bool(m, "default_app", p->default_app);
    if (p->reference_auto)
        json_set_i64(m, "reference_auto", p->reference_auto > 0 ? p->reference_auto : 0);
    json_set_strz(json_set_object(j, "status"), "state", "online");
    return j;
}

static void answer_project(struct call *c, const struct project *p)
{
    CLEANUP(json_freep) struct json *j = project_show(p);
    call_answer(c, 200, j);
}

rc_t get_project(struct call *c, struct err *e)
{
    struct project p = {0};
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        answer_project(c, &p);
    project_done(&p);
    return rc;
}

static bool period_fits(int64_t us)
{
    return us > 0 && (MINUTE_US % us == 0 || us % MINUTE_US == 0);
}

/* With the nearest that would do, below and above: 7s is between 6s and 10s. */
static rc_t complain_period(const struct json *j, int64_t us, struct err *e)
{
    char below[32], above[32];
    int64_t lower = us / USEC_PER_SEC * USEC_PER_SEC, upper = lower + USEC_PER_SEC;
    while (!period_fits(lower))
        lower -= USEC_PER_SEC;
    while (!period_fits(upper))
        upper += USEC_PER_SEC;
    print_period(below, lower);
    print_period(above, upper);
    return json_complain(j, e, "must divide a minute or be whole minutes: %s or %s would do", below, above);
}

static rc_t read_period(const struct json *j, int64_t *ret, struct err *e)
{
    int64_t us = 0;
    struct str text = {0};
    int64_t minutes = 0;
    rc_t rc = OK;
    if (json_type(j) != JSON_NUMBER && json_type(j) != JSON_STRING) {
        return json_complain(
            j, e, "a time with its unit is wanted, such as \"10s\", \"5m\" or \"1h\", or a number of minutes");
    } else if (json_type(j) == JSON_NUMBER) {
        rc = json_i64(j, &minutes, e);
        if (rc == OK && (minutes < 1 || minutes > 1440))
            rc = json_complain(j, e, "minutes from 1 to 1440 are wanted");
        us = minutes * MINUTE_US;
    } else {
        rc = json_str(j, &text, e);
        int64_t bare;
        if (rc == OK && (num_i64(text, &bare) == OK || num_duration_us(text, &us) != OK))
            rc = json_complain(j, e, "a time with its unit is wanted, such as 10s, 5m or 1h");
    }
    if (rc != OK)
        return rc;
    if (us < USEC_PER_SEC || us > API_DAY_US)
        return json_complain(j, e, "must be from 1s to 24h");
    if (!period_fits(us))
        return complain_period(j, us, e);
    *ret = us;
    return OK;
}

/* null: as the controller's REFERENCE_AUTO says. */
static rc_t read_reference_auto(const struct json *j, int64_t *ret, struct err *e)
{
    int64_t n = 0;
    rc_t rc = json_type(j) == JSON_NULL ? OK : json_i64(j, &n, e);
    if (rc == OK && (n < 0 || n > FIRST_ROWS_MAX))
        rc = json_complain(j, e, "a number of rows from 0 to %d is wanted", FIRST_ROWS_MAX);
    if (rc == OK)
        *ret = n == 0 && json_type(j) != JSON_NULL ? REFERENCE_NEVER : n;
    return rc;
}

static rc_t read_monitoring(const struct json *m, struct project *p, struct err *e)
{
    for (const struct json *j = json_first(m); j; j = json_next(j)) {
        struct str key = str_of(json_key(j));
        rc_t rc = OK;
        if (str_eqz(key, "base_period"))
            rc = read_period(j, &p->base_period_us, e);
        else if (str_eqz(key, "enabled"))
            rc = json_bool(j, &p->monitoring, e);
        else if (str_eqz(key, "default_app"))
            rc = json_bool(j, &p->default_app, e);
        else if (str_eqz(key, "reference_auto"))
            rc = read_reference_auto(j, &p->reference_auto, e);
        else
            rc = json_complain(j, e, "unknown: base_period, enabled, default_app and reference_auto are known");
        if (rc != OK)
            return rc;
    }
    return OK;
}

static rc_t read_project(struct json *body, struct project *p, struct err *e)
{
    struct json *metadata = NULL, *spec = NULL, *monitoring = NULL;
    struct str name = str_of(p->name), path = str_of(p->artifact_path);
    rc_t rc = json_opt_object(body, "metadata", &metadata, e);
    if (rc == OK && metadata)
        rc = json_opt_str(metadata, "name", &name, e);
    if (rc == OK && !str_eqz(name, p->name))
        rc = err_set(e, E_INVALID, "metadata.name: the path names project %s", p->name);
    if (rc == OK)
        rc = json_opt_object(body, "spec", &spec, e);
    if (rc == OK && spec)
        rc = json_opt_str(spec, "artifact_path", &path, e);
    if (rc == OK && spec)
        rc = json_opt_object(spec, "monitoring", &monitoring, e);
    if (rc == OK && monitoring)
        rc = read_monitoring(monitoring, p, e);
    if (rc != OK)
        return rc;
    char *copy = mem_dup(path.p ? path.p : "", path.n);
    mem_free(p->artifact_path);
    p->artifact_path = copy;
    if (spec)
        json_del(spec, "monitoring");
    json_del(body, "status");
    struct buf text = {0};
    json_print(body, JSON_NAN_NULL, &text);
    mem_free(p->document);
    p->document = buf_take(&text);
    return OK;
}

static rc_t store_settings(struct call *c, struct project *p, struct err *e)
{
    int32_t app;
    rc_t rc = project_put(c->db, p, e);
    return rc == OK ? app_put(c->db, p->id, function_name(FUNCTION_HISTOGRAM), false, p->default_app, &app, e) : rc;
}

/* In a transaction that holds the project: settings that the body does not name stay as another request left them. */
static rc_t change_project(struct call *c, struct str name, struct json *body, struct project *ret, struct err *e)
{
    char path[] = "", document[] = "{}";
    const struct project def = {.name = arena_dup(c->arena, name.p, name.n),
                                .artifact_path = path,
                                .document = document,
                                .base_period_us = DEFAULT_PERIOD_US,
                                .monitoring = true,
                                .default_app = true};
    rc_t rc = project_lock(c->db, &def, ret, e);
    if (rc == OK)
        rc = read_project(body, ret, e);
    return rc == OK ? store_settings(c, ret, e) : rc;
}

static rc_t patch_locked(struct call *c, const struct project *p, const struct json *update, struct project *ret,
                         struct err *e)
{
    rc_t rc = project_lock(c->db, p, ret, e);
    if (rc != OK)
        return rc;
    CLEANUP(json_freep) struct json *whole = project_show(ret);
    rc = object_merge(c, whole, update, e);
    if (rc == OK)
        rc = read_project(whole, ret, e);
    return rc == OK ? store_settings(c, ret, e) : rc;
}

rc_t project_patch(struct call *c, const struct project *p, const struct json *update, struct err *e)
{
    struct project now = {0};
    rc_t rc = db_begin(c->db, e);
    if (rc == OK)
        rc = call_commit(c, patch_locked(c, p, update, &now, e), e);
    if (rc == OK)
        answer_project(c, &now);
    project_done(&now);
    return rc;
}

rc_t project_store(struct call *c, struct str name, struct json *body, struct err *e)
{
    struct project p = {0};
    if (!name_is_project(name))
        return err_set(e, E_INVALID, "project: 1 to 63 of a-z, 0-9 and -, neither first nor last a -");
    rc_t rc = db_begin(c->db, e);
    if (rc == OK)
        rc = call_commit(c, change_project(c, name, body, &p, e), e);
    if (rc == OK)
        answer_project(c, &p);
    project_done(&p);
    return rc;
}

rc_t put_project(struct call *c, struct err *e)
{
    CLEANUP(json_freep) struct json *body = NULL;
    rc_t rc = call_json(c, &body, e);
    return rc == OK ? project_store(c, http_param(c->r, "project"), body, e) : rc;
}
