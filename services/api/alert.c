/* Owns the routes of alerts: stored, shown, listed, reset. Secret parameters of notifications are kept as a sealed secret of the
 * project, {notification: parameters}; the alert has a reference in their place, which stored again keeps them. */
#include <string.h>
#include "alert_check.h"
#include "base/mem.h"
#include "base/time.h"
#include "db/alert.h"
#include "db/secret.h"

#define ALERTS_MAX 20000 /* of all projects, as MLRun's */
#define SECRET "mlrun.alerts.%.*s"

/* ---- shown ---- */
static void set_time(struct json *j, const char *key, int64_t us)
{
    char text[TIME_TEXT];
    (void)time_iso_offset(text, us);
    json_set_strz(j, key, text);
}

static struct json *show(const struct alert *a)
{
    struct err ignored = {0};
    struct json *j = NULL;
    if (json_parse(&j, a->body, strlen(a->body), NULL, &ignored) != OK)
        j = json_new_object(); /* it was stored whole: only a table that somebody wrote into gives this */
    json_set_i64(j, "id", a->id);
    set_time(j, "created", a->created_us);
    set_time(j, "updated", a->updated_us);
    json_set_strz(j, "state", a->active ? "active" : "inactive");
    json_set_i64(j, "count", a->count);
    return j;
}

static rc_t find(struct call *c, const struct project *p, struct alert *ret, struct err *e)
{
    struct str name = http_param(c->r, "name");
    rc_t rc = alert_name_fits(name) ? alert_get(c->db, p->id, name, ret, e) : E_NOTFOUND;
    return rc == E_NOTFOUND ? err_set(e, rc, "there is no alert %.*s in project %s", STR_FMT(name), p->name) : rc;
}

rc_t get_alert(struct call *c, struct err *e)
{
    struct project p = {0};
    struct alert a = {0};
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        rc = find(c, &p, &a, e);
    if (rc == OK) {
        CLEANUP(json_freep) struct json *j = show(&a);
        call_answer(c, 200, j);
    }
    alert_done(&a);
    project_done(&p);
    return rc;
}

static void write_list(struct call *c, const struct alert *a, size_t n)
{
    CLEANUP(json_freep) struct json *list = json_new_array();
    for (size_t i = 0; i < n; i++)
        json_add_take(list, show(&a[i]));
    if (call_before_1_8(c)) { /* they read a bare list */
        call_answer(c, 200, list);
        return;
    }
    CLEANUP(json_freep) struct json *j = json_new_object();
    json_set_take(j, "alerts", list);
    list = NULL;
    call_answer(c, 200, j);
}

rc_t list_alerts(struct call *c, struct err *e)
{
    struct project p = {0};
    struct alert *a = NULL;
    size_t n = 0;
    int64_t limit = call_i64(c, "limit", call_i64(c, "page-size", API_LIST_MAX));
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        rc = alerts_list(c->db, p.id, call_i64(c, "offset", 0), limit, &a, &n, e);
    if (rc == OK)
        write_list(c, a, n);
    alerts_free(a, n);
    project_done(&p);
    return rc;
}

/* ---- secret parameters ---- */
static rc_t read_secrets(struct call *c, const struct project *p, struct str name, struct json **ret, struct err *e)
{
    CLEANUP(buf_done) struct buf plain = {0};
    const char *secret = arena_printf(c->arena, SECRET, STR_FMT(name));
    rc_t rc = secret_get(c->db, c->api->seal, p->id, str_of(secret), &plain, e);
    if (rc == OK && plain.len == 0)
        *ret = json_new_object();
    else if (rc == OK)
        rc = json_parse(ret, plain.data, plain.len, NULL, e);
    return rc;
}

static bool is_reference(const struct json *params, const char *reference)
{
    struct err ignored = {0};
    struct str v = {0};
    return json_len(params) == 1 && json_opt_str(params, "secret", &v, &ignored) == OK && str_eqz(v, reference);
}

/* Moves each notification's secret parameters out of the body; kept: what is stored so far. */
static struct json *take_secrets(struct call *c, struct str name, struct json *body, const struct json *kept)
{
    struct json *secrets = json_new_object();
    struct err ignored = {0};
    for (struct json *n = json_first(json_get(body, "notifications")); n; n = json_next(n)) {
        struct json *inner = json_get(n, "notification"), *params = json_get(inner, "secret_params");
        struct str own;
        if (json_len(params) == 0 || json_str(json_get(inner, "name"), &own, &ignored) != OK)
            continue;
        const char *key = arena_dup(c->arena, own.p, own.n);
        const char *reference = arena_printf(c->arena, SECRET ".%s", STR_FMT(name), key);
        const struct json *from = is_reference(params, reference) ? json_get(kept, key) : params;
        if (from)
            json_set_take(secrets, key, json_dup(from));
        json_set_strz(json_set_object(inner, "secret_params"), "secret", reference);
    }
    return secrets;
}

static rc_t keep_secrets(struct call *c, const struct project *p, struct str name, struct json *body, struct err *e)
{
    CLEANUP(json_freep) struct json *kept = NULL;
    CLEANUP(json_freep) struct json *secrets = NULL;
    CLEANUP(buf_done) struct buf text = {0};
    struct str secret = str_of(arena_printf(c->arena, SECRET, STR_FMT(name)));
    rc_t rc = read_secrets(c, p, name, &kept, e);
    if (rc != OK)
        return rc;
    secrets = take_secrets(c, name, body, kept);
    json_print(secrets, JSON_NAN_NULL, &text);
    if (json_len(secrets) == 0)
        return secret_delete(c->db, p->id, secret, e);
    if (text.len > SECRET_VALUE_MAX)
        return err_set(e, E_INVALID, "notifications: secret_params of all together: at most %d bytes", SECRET_VALUE_MAX);
    rc = secret_put(c->db, c->api->seal, p->id, secret, buf_str(&text), e);
    return rc == E_NOTFOUND ? err_set(e, E_INVALID,
                                      "notifications: secret_params: this server keeps no secrets, it was started "
                                      "without SECRETS_KEY")
                            : rc;
}

/* ---- stored ---- */
/* What an alert waits for: when that changes, it is another alert. */
static bool same_question(const struct alert *a, const struct json *body)
{
    static const char *const parts[] = {"entities", "criteria", "trigger"};
    CLEANUP(json_freep) struct json *before = show(a);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        CLEANUP(buf_done) struct buf x = {0}, y = {0};
        json_print(json_get(before, parts[i]), JSON_NAN_NULL, &x);
        json_print(json_get(body, parts[i]), JSON_NAN_NULL, &y);
        if (!str_eq(buf_str(&x), buf_str(&y)))
            return false;
    }
    return true;
}

static rc_t check_number(struct call *c, struct err *e)
{
    int64_t n = 0;
    rc_t rc = alerts_count(c->db, &n, e);
    return rc == OK && n >= ALERTS_MAX
               ? err_set(e, E_LIMIT, "there are %d alerts, which is as many as there may be", ALERTS_MAX)
               : rc;
}

static rc_t store(struct call *c, const struct project *p, struct str name, struct json *body, bool force,
                  struct alert *ret, struct err *e)
{
    struct alert before = {0};
    CLEANUP(buf_done) struct buf text = {0};
    rc_t rc = alert_get(c->db, p->id, name, &before, e);
    bool again = rc == OK, reset = again && (force || !same_question(&before, body));
    if (rc == E_NOTFOUND)
        rc = check_number(c, e);
    if (rc == OK)
        rc = keep_secrets(c, p, name, body, e);
    json_print(body, JSON_NAN_NULL, &text);
    *ret = (struct alert){.project_id = p->id, .name = mem_dup(name.p, name.n), .body = buf_take(&text)};
    if (rc == OK && reset)
        rc = alert_reset(c->db, &before, e);
    if (rc == OK)
        rc = alert_put(c->db, ret, e);
    alert_done(&before);
    return rc;
}

static rc_t put(struct call *c, const struct project *p, struct str name, struct alert *ret, struct err *e)
{
    CLEANUP(json_freep) struct json *body = NULL;
    bool force = call_bool(c, "force_reset", false);
    rc_t rc = call_json(c, &body, e);
    if (rc == OK)
        rc = alert_check(p, name, body, e);
    if (rc == OK)
        rc = db_begin(c->db, e);
    return rc == OK ? call_commit(c, store(c, p, name, body, force, ret, e), e) : rc;
}

rc_t put_alert(struct call *c, struct err *e)
{
    struct project p = {0};
    struct alert a = {0};
    struct str name = http_param(c->r, "name");
    if (!alert_name_fits(name))
        return err_set(e, E_INVALID, "an alert's name: 1 to %d letters, digits, - and _", ALERT_NAME_MAX);
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        rc = put(c, &p, name, &a, e);
    if (rc == OK) {
        CLEANUP(json_freep) struct json *j = show(&a);
        call_answer(c, 200, j);
    }
    alert_done(&a);
    project_done(&p);
    return rc;
}

rc_t post_alert_reset(struct call *c, struct err *e)
{
    struct project p = {0};
    struct alert a = {0};
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        rc = find(c, &p, &a, e);
    if (rc == OK)
        rc = db_begin(c->db, e);
    if (rc == OK)
        rc = call_commit(c, alert_reset(c->db, &a, e), e);
    alert_done(&a);
    project_done(&p);
    return rc;
}

/* One that is not there is deleted: disable_model_monitoring deletes an alert that few have. */
static rc_t delete_named(struct call *c, const struct project *p, struct str name, struct err *e)
{
    const char *secret = arena_printf(c->arena, SECRET, STR_FMT(name));
    rc_t rc = alert_delete(c->db, p->id, name, e);
    return rc == OK ? secret_delete(c->db, p->id, str_of(secret), e) : rc;
}

rc_t delete_alert(struct call *c, struct err *e)
{
    struct project p = {0};
    struct str name = http_param(c->r, "name");
    rc_t rc = call_project(c, &p, e);
    if (rc == OK && alert_name_fits(name)) {
        rc = db_begin(c->db, e);
        if (rc == OK)
            rc = call_commit(c, delete_named(c, &p, name, e), e);
    }
    if (rc == OK)
        c->status = 204;
    project_done(&p);
    return rc;
}
