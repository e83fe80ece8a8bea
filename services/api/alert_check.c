/* Owns the checks of an alert that a client stores which are no rows of its body (bodies.c): what its fields have to do with each other. */
#include "alert_check.h"

#include <string.h>
#include "base/num.h"
#include "event/alert.h"

#define NOTIFICATIONS_MAX 20
#define EVENTS_MAX 20

bool alert_name_fits(struct str name)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (size_t i = 0; i < name.n; i++)
        if (!memchr(letters, name.p[i], sizeof letters - 1))
            return false;
    return name.n > 0 && name.n <= ALERT_NAME_MAX;
}

static rc_t check_period(const struct json *j, const char *key, struct err *e)
{
    struct str v = {0};
    int64_t us, bare;
    rc_t rc = json_opt_str(j, key, &v, e);
    if (rc != OK || v.n == 0)
        return rc;
    if (num_i64(v, &bare) == OK || num_duration_us(v, &us) != OK || us < 0)
        return json_complain(json_get(j, key), e, "a time with its unit is wanted, such as 15s, 5m, 3h or 1d");
    return OK;
}

rc_t alert_entity(const struct project *p, const struct json *entity, struct str *ret_kind, struct str *ret_id,
                  struct err *e)
{
    struct json *ids = NULL;
    struct str project;
    enum entity_kind kind;
    rc_t rc = json_need_str(entity, "kind", ret_kind, e);
    if (rc == OK && !entity_kind_read(*ret_kind, &kind))
        rc = json_complain(json_get(entity, "kind"), e, "%s, %s, %s or %s is wanted", entity_kind_name(ENTITY_RESULT),
                           entity_kind_name(ENTITY_APP), entity_kind_name(ENTITY_INFRA), entity_kind_name(ENTITY_JOB));
    if (rc == OK)
        rc = json_need_str(entity, "project", &project, e);
    if (rc == OK && !str_eqz(project, p->name))
        rc = json_complain(json_get(entity, "project"), e, "the path names project %s", p->name);
    if (rc == OK)
        rc = json_need_array(entity, "ids", &ids, e);
    if (rc == OK && json_len(ids) != 1)
        rc = json_complain(ids, e, "exactly one is wanted");
    if (rc == OK)
        rc = json_str(json_at(ids, 0), ret_id, e);
    if (rc == OK && ret_id->n == 0)
        rc = json_complain(json_at(ids, 0), e, "it is empty");
    return rc;
}

static rc_t check_trigger(const struct json *body, struct err *e)
{
    struct json *trigger = NULL, *events = NULL;
    struct str name = {0};
    enum entity_kind kind;
    rc_t rc = json_need_object(body, "trigger", &trigger, e);
    if (rc == OK)
        rc = json_opt_str(trigger, "prometheus_alert", &name, e);
    if (rc == OK)
        rc = json_opt_array(trigger, "events", &events, e);
    if (rc == OK && (json_len(events) == 0) == (name.n == 0))
        rc = json_complain(trigger, e, "either events or prometheus_alert is wanted");
    if (rc == OK && json_len(events) > EVENTS_MAX)
        rc = json_complain(events, e, "at most %d", EVENTS_MAX);
    for (const struct json *v = json_first(events); rc == OK && v; v = json_next(v)) {
        rc = json_str(v, &name, e);
        if (rc == OK && !event_kind_read(name, &kind))
            rc = json_complain(v, e, "there are no such events; data-drift-detected is one");
    }
    return rc;
}

static rc_t check_criteria(struct json *body, struct err *e)
{
    struct json *criteria = NULL;
    rc_t rc = json_opt_object(body, "criteria", &criteria, e);
    if (rc == OK && !criteria) {
        criteria = json_set_object(body, "criteria");
        json_set_i64(criteria, "count", 1);
        json_set_null(criteria, "period");
    }
    return rc == OK ? check_period(criteria, "period", e) : rc;
}

static rc_t check_notification(const struct json *n, const struct json *all, struct err *e)
{
    const struct json *inner = json_get(n, "notification");
    struct str name, other;
    rc_t rc = json_need_str(inner, "name", &name, e);
    for (const struct json *b = json_first(all); rc == OK && b != n; b = json_next(b)) {
        rc = json_need_str(json_get(b, "notification"), "name", &other, e);
        if (rc == OK && str_eq(name, other))
            rc = json_complain(json_get(inner, "name"), e, "another notification has it");
    }
    return rc == OK ? check_period(n, "cooldown_period", e) : rc;
}

static rc_t check_notifications(const struct json *body, struct err *e)
{
    struct json *list = NULL;
    rc_t rc = json_need_array(body, "notifications", &list, e);
    if (rc == OK && (json_len(list) == 0 || json_len(list) > NOTIFICATIONS_MAX))
        rc = json_complain(list, e, "1 to %d are wanted", NOTIFICATIONS_MAX);
    for (const struct json *n = json_first(list); rc == OK && n; n = json_next(n))
        rc = check_notification(n, list, e);
    return rc;
}

static rc_t check_head(const struct project *p, struct str name, struct json *body, struct err *e)
{
    struct str own = name, project = str_of(p->name);
    rc_t rc = json_opt_str(body, "name", &own, e);
    if (rc == OK && !str_eq(own, name))
        rc = json_complain(json_get(body, "name"), e, "the path names alert %.*s", STR_FMT(name));
    if (rc == OK)
        rc = json_opt_str(body, "project", &project, e);
    if (rc == OK && !str_eqz(project, p->name))
        rc = json_complain(json_get(body, "project"), e, "the path names project %s", p->name);
    return rc == OK ? check_period(body, "cooldown_period", e) : rc;
}

/* MLRun's client reads an alert by exactly these. */
static void keep_fields(const struct project *p, struct str name, struct json *body)
{
    static const char *const fields[] = {"name",    "project",  "description",  "summary",         "severity",
                                         "trigger", "criteria", "reset_policy", "cooldown_period", "notifications",
                                         "entities"};
    for (struct json *m = json_first(body), *next; m; m = next) {
        bool known = false;
        next = json_next(m);
        for (size_t i = 0; !known && i < sizeof fields / sizeof *fields; i++)
            known = strcmp(json_key(m), fields[i]) == 0;
        if (!known)
            json_del(body, json_key(m));
    }
    json_set_str(body, "name", name);
    json_set_strz(body, "project", p->name);
    if (json_type(json_get(body, "reset_policy")) != JSON_STRING)
        json_set_strz(body, "reset_policy", "auto");
}

rc_t alert_check(const struct project *p, struct str name, struct json *body, struct err *e)
{
    struct json *entities = NULL;
    struct str kind, id;
    rc_t rc = check_head(p, name, body, e);
    if (rc == OK)
        rc = json_need_object(body, "entities", &entities, e);
    if (rc == OK)
        rc = alert_entity(p, entities, &kind, &id, e);
    if (rc == OK)
        rc = check_trigger(body, e);
    if (rc == OK)
        rc = check_criteria(body, e);
    if (rc == OK)
        rc = check_notifications(body, e);
    if (rc == OK)
        keep_fields(p, name, body);
    return rc;
}
