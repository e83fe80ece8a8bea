/* Owns what is listed of alerts besides themselves: templates, when alerts were active, events that clients report. */
#include <string.h>
#include "alert_check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/time.h"
#include "db/alert.h"
#include "event/alert.h"
#include "list_page.h"

#define VALUE_MAX (64 << 10)

/* ---- templates ---- */
static const struct template
{
    const char *name, *description, *summary, *severity, *event;
}
templates[] = {
    {"JobFailed", "An alert for a job that fails", "A job of project {{project}} has failed: {{entity}}", "medium", "failed"},
    {"DataDriftDetected", "An alert for a model whose data drifts", "Data drift was detected in {{project}}/{{entity}}",
     "high", "data-drift-detected"},
    {"DataDriftSuspected", "An alert for a model whose data may drift",
     "Data drift is suspected in {{project}}/{{entity}}", "medium", "data-drift-suspected"},
};

static void write_template(struct json_writer *w, size_t i)
{
    jw_object(w);
    jw_kv_i64(w, "template_id", (int64_t)i + 1);
    jw_kv_strz(w, "template_name", templates[i].name);
    jw_kv_strz(w, "template_description", templates[i].description);
    jw_kv_bool(w, "system_generated", true);
    jw_kv_strz(w, "summary", templates[i].summary);
    jw_kv_strz(w, "severity", templates[i].severity);
    jw_key(w, "trigger");
    jw_object(w);
    jw_key(w, "events");
    jw_array(w);
    jw_strz(w, templates[i].event);
    jw_array_end(w);
    jw_kv_strz(w, "prometheus_alert", NULL);
    jw_object_end(w);
    jw_key(w, "criteria");
    jw_object(w);
    jw_kv_i64(w, "count", 1);
    jw_kv_strz(w, "period", NULL);
    jw_object_end(w);
    jw_kv_strz(w, "reset_policy", "auto");
    jw_kv_strz(w, "cooldown_period", NULL);
    jw_object_end(w);
}

rc_t list_alert_templates(struct call *c, struct err *e)
{
    struct json_writer w;
    (void)e; /* cannot fail */
    jw_init(&w, &c->out, JSON_NAN_NULL);
    jw_array(&w);
    for (size_t i = 0; i < sizeof templates / sizeof *templates; i++)
        write_template(&w, i);
    jw_array_end(&w);
    return OK;
}

rc_t get_alert_template(struct call *c, struct err *e)
{
    struct str name = http_param(c->r, "name");
    struct json_writer w;
    jw_init(&w, &c->out, JSON_NAN_NULL);
    for (size_t i = 0; i < sizeof templates / sizeof *templates; i++)
        if (str_eqz(name, templates[i].name)) {
            write_template(&w, i);
            return OK;
        }
    return err_set(e, E_NOTFOUND, "there is no alert template %.*s", STR_FMT(name));
}

/* ---- activations ---- */
static void write_time(struct json_writer *w, const char *key, int64_t us)
{
    char text[TIME_TEXT];
    (void)time_iso_offset(text, us);
    jw_kv_strz(w, key, us ? text : NULL);
}

static void write_activation(struct json_writer *w, const struct project *p, const struct activation *a)
{
    jw_object(w);
    jw_kv_i64(w, "id", a->id);
    jw_kv_str(w, "name", a->name);
    jw_kv_strz(w, "project", p->name);
    jw_kv_str(w, "severity", a->severity);
    write_time(w, "activation_time", a->activation_us);
    jw_kv_str(w, "entity_id", a->entity_id);
    jw_kv_str(w, "entity_kind", a->entity_kind);
    jw_kv_raw(w, "criteria", a->criteria);
    jw_kv_str(w, "event_kind", a->event_kind);
    jw_kv_i64(w, "number_of_events", a->number_of_events);
    jw_kv_raw(w, "notifications", a->notifications);
    write_time(w, "reset_time", a->reset_us);
    jw_object_end(w);
}

static struct activation_filter read_filter(struct call *c, const struct project *p, const struct list_page *page)
{
    struct activation_filter f = {.project_id = p->id,
                                  .name = call_str(c, "name"),
                                  .entity = call_str(c, "entity"),
                                  .entity_kind = call_str(c, "entity-kind"),
                                  .event_kind = call_str(c, "event-kind"),
                                  .since_us = call_time(c, "since", 0),
                                  .until_us = call_time(c, "until", 0),
                                  .offset = page->offset,
                                  .limit = page->limit};
    f.n_severities = call_list(c, "severity", &f.severities);
    return f;
}

static rc_t answer_activations(struct call *c, const struct project *p, const struct list_page *page, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    const struct activation_filter f = read_filter(c, p, page);
    struct activation *a = NULL;
    struct json_writer w;
    size_t n = 0;
    rc_t rc = activations_list(c->db, &f, &a, &n, &rows, e);
    if (rc == OK) {
        jw_init(&w, &c->out, JSON_NAN_NULL);
        jw_object(&w);
        jw_key(&w, "activations");
        jw_array(&w);
        for (size_t i = 0; i < list_page_shown(page, n); i++)
            write_activation(&w, p, &a[i]);
        jw_array_end(&w);
        list_page_write(&w, page, n);
        jw_object_end(&w);
    }
    mem_free(a);
    return rc;
}

rc_t list_alert_activations(struct call *c, struct err *e)
{
    struct project p = {0};
    struct list_page page;
    rc_t rc = list_page_open(c, &page, e);
    if (rc == OK)
        rc = call_project(c, &p, e);
    if (rc == OK)
        rc = answer_activations(c, &p, &page, e);
    list_page_close(c);
    project_done(&p);
    return rc;
}

static rc_t answer_activation(struct call *c, const struct project *p, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    struct activation_filter f = {.project_id = p->id, .limit = 1};
    struct activation *a = NULL;
    struct json_writer w;
    size_t n = 0;
    struct str id = http_param(c->r, "id");
    rc_t rc = OK;
    if (num_i64_in(id, 1, INT64_MAX, &f.id) == OK)
        rc = activations_list(c->db, &f, &a, &n, &rows, e);
    if (rc == OK && n == 0)
        rc = err_set(e, E_NOTFOUND, "there is no alert activation %.*s in project %s", STR_FMT(id), p->name);
    if (rc == OK) {
        jw_init(&w, &c->out, JSON_NAN_NULL);
        write_activation(&w, p, a);
    }
    mem_free(a);
    return rc;
}

rc_t get_alert_activation(struct call *c, struct err *e)
{
    struct project p = {0};
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        rc = answer_activation(c, &p, e);
    project_done(&p);
    return rc;
}

/* ---- events ---- */
static rc_t read_event(const struct project *p, struct str kind, const struct json *body, struct buf *value,
                       struct alert_event *ev, struct err *e)
{
    struct json *entity = NULL, *values = NULL;
    struct str own = kind, time = {0};
    enum entity_kind about;
    if (!event_kind_read(kind, &about))
        return err_set(e, E_INVALID, "there are no events %.*s; data-drift-detected is a kind of them", STR_FMT(kind));
    rc_t rc = json_opt_str(body, "kind", &own, e);
    if (rc == OK && !str_eq(own, kind))
        rc = json_complain(json_get(body, "kind"), e, "the path says %.*s", STR_FMT(kind));
    if (rc == OK)
        rc = json_need_object(body, "entity", &entity, e);
    if (rc == OK)
        rc = alert_entity(p, entity, &ev->entity_kind, &ev->entity_id, e);
    if (rc == OK && !str_eqz(ev->entity_kind, entity_kind_name(about)))
        rc = json_complain(json_get(entity, "kind"), e, "such an event is about a %s", entity_kind_name(about));
    if (rc == OK)
        rc = json_opt_str(body, "timestamp", &time, e);
    if (rc == OK && time.n && time_parse(time, 0, &ev->at_us) != OK)
        rc = json_complain(json_get(body, "timestamp"), e, "an ISO 8601 time is wanted");
    if (rc == OK)
        rc = json_opt_object(body, "value_dict", &values, e);
    if (rc != OK)
        return rc;
    if (values)
        json_print(values, JSON_NAN_NULL, value);
    else
        buf_addz(value, "{}");
    return value->len > VALUE_MAX ? json_complain(values, e, "at most %d bytes", VALUE_MAX) : OK;
}

rc_t post_event(struct call *c, struct err *e)
{
    CLEANUP(json_freep) struct json *body = NULL;
    CLEANUP(buf_done) struct buf value = {0};
    struct project p = {0};
    struct str kind = http_param(c->r, "kind");
    int64_t now = clock_now_us();
    struct alert_event ev = {.kind = kind, .at_us = now, .received_us = now};
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        rc = call_json(c, &body, e);
    if (rc == OK)
        rc = read_event(&p, kind, body, &value, &ev, e);
    ev.project_id = p.id;
    ev.value = buf_str(&value);
    if (rc == OK)
        rc = db_begin(c->db, e);
    if (rc == OK)
        rc = call_commit(c, alert_event_add(c->db, &ev, e), e);
    project_done(&p);
    return rc;
}

static void write_events(struct call *c, const struct alert_event *ev, size_t n, size_t limit)
{
    struct json_writer w;
    size_t shown = n < limit ? n : limit;
    jw_init(&w, &c->out, JSON_NAN_NULL);
    jw_object(&w);
    jw_key(&w, "events");
    jw_array(&w);
    for (size_t i = 0; i < shown; i++) {
        jw_object(&w);
        jw_kv_str(&w, "kind", ev[i].kind);
        write_time(&w, "timestamp", ev[i].at_us);
        write_time(&w, "received", ev[i].received_us);
        jw_kv_str(&w, "entity_kind", ev[i].entity_kind);
        jw_kv_str(&w, "entity_id", ev[i].entity_id);
        jw_kv_raw(&w, "value_dict", ev[i].value);
        jw_object_end(&w);
    }
    jw_array_end(&w);
    if (shown < n)
        jw_kv_i64(&w, "next", ev[shown - 1].id);
    jw_object_end(&w);
}

rc_t list_events(struct call *c, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    struct project p = {0};
    struct alert_event *ev = NULL;
    size_t n = 0;
    int64_t limit = call_i64(c, "limit", 100);
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        rc = alert_events_list(c->db, p.id, call_str(c, "kind"), call_i64(c, "cursor", 0), limit + 1, &ev, &n, &rows, e);
    if (rc == OK)
        write_events(c, ev, n, (size_t)limit);
    mem_free(ev);
    project_done(&p);
    return rc;
}
