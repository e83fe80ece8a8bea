/* Owns what MLRun's clients ask of what monitors a project: its infrastructure and its applications, each with how far it is and what it
 * has found; and where events are posted to. */
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/time.h"
#include "db/ledger.h"
#include "event/names.h"
#include "function.h"
#include "project.h"
#include "store.h"

#define MINUTE_US (60 * USEC_PER_SEC)
#define APPLICATION_LABELS "{\"mlrun__type\":\"mlrun__model-monitoring-application\"}"
#define INFRA_LABELS "{\"mlrun__type\":\"mlrun__model-monitoring-infra\"}"

struct summary_query {
    const struct str *names, *labels;
    size_t n_names, n_labels;
    int64_t start_us, end_us;
    bool infra, stats, metrics;
};

/* What is known of a project's pipelines and apps, read once. */
struct known {
    struct project p;
    struct ledger_row *ledger;
    struct app_row *apps;
    struct app_found *found;
    size_t n_ledger, n_apps, n_found;
};

static void known_done(struct known *k)
{
    ledger_rows_free(k->ledger, k->n_ledger);
    apps_free(k->apps, k->n_apps);
    mem_free(k->found);
    project_done(&k->p);
}

static rc_t read_known(struct call *c, const struct summary_query *q, struct known *k, struct err *e)
{
    rc_t rc = call_project(c, &k->p, e);
    if (rc == OK)
        rc = ledger_list(c->db, k->p.id, NULL, &k->ledger, &k->n_ledger, e);
    if (rc == OK)
        rc = apps_list(c->db, k->p.id, &k->apps, &k->n_apps, e);
    if (rc == OK && q->stats)
        rc = store_found(c->db, k->p.id, q->start_us, q->end_us, &k->found, &k->n_found, e);
    return rc;
}

/* ---- pipelines ---- */
/* Which pipelines a function is; an app's is app:NAME. Each says how far it is within its patience, though nothing comes. */
static const struct {
    const char *pipeline;
    enum function_id function;
    int64_t patience_us;
    bool counted; /* flushes of the lake are far apart: what waits for one is no lag */
} pipelines[] = {{"statistics", FUNCTION_STREAM, MINUTE_US, true},
                 {"lake", FUNCTION_STREAM, 5 * MINUTE_US, false},
                 {"writer", FUNCTION_WRITER, MINUTE_US, true}};
#define APP "app:"
#define APP_PATIENCE_US (5 * MINUTE_US)

static bool is_of(const struct ledger_row *r, struct str function, int64_t *ret_patience_us, bool *ret_counted)
{
    for (size_t i = 0; i < sizeof pipelines / sizeof *pipelines; i++)
        if (strcmp(pipelines[i].pipeline, r->pipeline) == 0) {
            *ret_patience_us = pipelines[i].patience_us;
            *ret_counted = pipelines[i].counted;
            return str_eqz(function, function_name(pipelines[i].function));
        }
    *ret_patience_us = APP_PATIENCE_US;
    *ret_counted = true;
    return strncmp(r->pipeline, APP, strlen(APP)) == 0 && str_eqz(function, r->pipeline + strlen(APP));
}

/* NULL: nothing is known, as of the controller, which reads no topic, and of programs that keep their own offsets. */
static const char *state_of(const struct known *k, struct str function, int64_t *inout_updated_us)
{
    const char *state = NULL;
    int64_t now = clock_now_us(), patience;
    bool counted;
    for (size_t i = 0; i < k->n_ledger; i++) {
        const struct ledger_row *r = &k->ledger[i];
        if (!is_of(r, function, &patience, &counted))
            continue;
        if (r->updated_us > *inout_updated_us)
            *inout_updated_us = r->updated_us;
        bool well = !*r->stopped && r->updated_us > now - patience;
        if (!state || !well)
            state = well ? "ready" : "unhealthy";
    }
    return state;
}

static void write_offsets(struct json_writer *w, int64_t committed, int64_t lag)
{
    jw_object(w);
    jw_kv_i64(w, "committed", committed);
    jw_kv_i64(w, "lag", lag);
    jw_object_end(w);
}

static int64_t lag_of(const struct ledger_row *r)
{
    return r->next_offset >= 0 && r->end_offset > r->next_offset ? r->end_offset - r->next_offset : 0;
}

/* In a list the sum, alone each partition. */
static void write_stream_stats(struct json_writer *w, const struct known *k, struct str function, bool alone)
{
    int64_t committed = 0, lag = 0, patience;
    bool counted;
    char partition[16];
    jw_key(w, "stream_stats");
    if (alone)
        jw_object(w);
    for (size_t i = 0; i < k->n_ledger; i++) {
        const struct ledger_row *r = &k->ledger[i];
        if (!is_of(r, function, &patience, &counted) || !counted)
            continue;
        int64_t at = r->next_offset > 0 ? r->next_offset : 0;
        committed += at;
        lag += lag_of(r);
        (void)snprintf(partition, sizeof partition, "%d", (int)r->partition);
        if (alone)
            jw_key(w, partition);
        if (alone)
            write_offsets(w, at, lag_of(r));
    }
    if (alone)
        jw_object_end(w);
    else
        write_offsets(w, committed, lag);
}

/* ---- one function ---- */
struct shown {
    struct str name;
    const struct app_row *app; /* NULL: infrastructure */
    struct document doc;       /* the stored function; zero: there is none */
};

static const char *class_of(struct call *c, const struct shown *s)
{
    CLEANUP(json_freep) struct json *j = NULL;
    struct err ignored = {0};
    struct str name = {0};
    const struct json_limits limits = {.values = 2000000, .string_bytes = 8 << 20, .accept_nan = true};
    if (!s->app)
        return "";
    if (str_eqz(s->name, function_name(FUNCTION_HISTOGRAM)))
        return "HistogramDataDriftApplication";
    if (s->doc.body && json_parse(&j, s->doc.body, strlen(s->doc.body), &limits, &ignored) == OK) {
        const struct json *steps = json_get(json_get(json_get(j, "spec"), "graph"), "steps");
        const struct json *after = json_get(json_get(steps, "PushToMonitoringWriter"), "after");
        if (json_len(after) && json_str(json_at(after, 0), &name, &ignored) == OK)
            return arena_dup(c->arena, name.p, name.n);
    }
    return s->app->name;
}

static void write_newest(struct json_writer *w, const struct newest_value *v)
{
    char text[TIME_TEXT];
    (void)time_iso_offset(text, v->end_us);
    jw_object(w);
    jw_kv_strz(w, "type", v->is_result ? "result" : "metric");
    jw_kv_strz(w, "time", text);
    jw_kv_f64(w, "value", v->value);
    jw_kv_str(w, v->is_result ? "result_name" : "metric_name", v->name);
    if (v->is_result) {
        jw_kv_i64(w, "kind", v->kind);
        jw_kv_i64(w, "status", v->status);
    }
    jw_object_end(w);
}

static rc_t write_metrics(struct call *c, struct json_writer *w, const struct known *k, const struct summary_query *q,
                          const struct app_row *app, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    struct newest_value *v = NULL;
    size_t n = 0;
    rc_t rc = store_newest(c->db, k->p.id, app->id, q->start_us, q->end_us, &v, &n, &rows, e);
    jw_key(w, "metrics");
    jw_array(w);
    for (size_t i = 0; i < n; i++)
        write_newest(w, &v[i]);
    jw_array_end(w);
    mem_free(v);
    return rc;
}

static rc_t write_stats(struct call *c, struct json_writer *w, const struct known *k, const struct summary_query *q,
                        const struct shown *s, bool alone, struct err *e)
{
    struct app_found found = {0};
    rc_t rc = OK;
    jw_object(w);
    for (size_t i = 0; s->app && i < k->n_found; i++)
        if (k->found[i].app_id == s->app->id)
            found = k->found[i];
    if (s->app) {
        jw_kv_i64(w, "detected", found.detected);
        jw_kv_i64(w, "potential_detection", found.suspected);
        jw_kv_i64(w, "processed_model_endpoints", found.endpoints);
    }
    write_stream_stats(w, k, s->name, alone);
    if (s->app && q->metrics)
        rc = write_metrics(c, w, k, q, s->app, e);
    jw_object_end(w);
    return rc;
}

static rc_t write_summary(struct call *c, struct json_writer *w, const struct known *k, const struct summary_query *q,
                          const struct shown *s, bool alone, struct err *e)
{
    char text[TIME_TEXT];
    int64_t updated = k->p.updated_us;
    const char *state = state_of(k, s->name, &updated);
    rc_t rc = OK;
    if (s->doc.body)
        updated = s->doc.updated_us;
    (void)time_iso_offset(text, updated);
    jw_object(w);
    jw_kv_strz(w, "type", s->app ? "application" : "infra");
    jw_kv_str(w, "name", s->name);
    jw_kv_strz(w, "application_class", class_of(c, s));
    jw_kv_strz(w, "project_name", k->p.name);
    jw_kv_strz(w, "updated_time", text);
    jw_kv_strz(w, "status", state);
    jw_key(w, "base_period"); /* MLRun's unit is the minute */
    if (k->p.base_period_us % MINUTE_US)
        jw_null(w);
    else
        jw_i64(w, k->p.base_period_us / MINUTE_US);
    jw_key(w, "stats");
    if (q->stats)
        rc = write_stats(c, w, k, q, s, alone, e);
    else {
        jw_object(w);
        jw_object_end(w);
    }
    jw_object_end(w);
    return rc;
}

/* ---- which there are ---- */
static bool label_fits(const struct json *labels, struct str wanted)
{
    const char *eq = memchr(wanted.p, '=', wanted.n);
    struct str key = {wanted.p, eq ? (size_t)(eq - wanted.p) : wanted.n}, value = {0};
    struct err ignored = {0};
    for (const struct json *l = json_first(labels); l; l = json_next(l))
        if (str_eqz(key, json_key(l)))
            return !eq ||
                   (json_str(l, &value, &ignored) == OK && str_eq(value, (struct str){eq + 1, wanted.n - key.n - 1}));
    return false;
}

static bool fits(const struct summary_query *q, const struct shown *s)
{
    CLEANUP(json_freep) struct json *labels = NULL;
    struct err ignored = {0};
    bool named = q->n_names == 0;
    for (size_t i = 0; i < q->n_names; i++)
        named = named || str_eq(q->names[i], s->name);
    const char *text = s->doc.body ? s->doc.labels : s->app ? APPLICATION_LABELS : INFRA_LABELS;
    if (!named || json_parse(&labels, text, strlen(text), NULL, &ignored) != OK)
        return false;
    for (size_t i = 0; i < q->n_labels; i++)
        if (!label_fits(labels, q->labels[i]))
            return false;
    return true;
}

static rc_t show(struct call *c, struct json_writer *w, const struct known *k, const struct summary_query *q,
                 struct str name, const struct app_row *app, bool alone, size_t *shown, struct err *e)
{
    struct shown s = {.name = name, .app = app};
    const struct document_filter f = function_filter(&k->p, name, (struct str){0}, (struct str){0});
    rc_t rc = app ? document_get(c->db, &f, &s.doc, e) : OK;
    if (rc == E_NOTFOUND)
        rc = OK;
    if (rc == OK && fits(q, &s)) {
        rc = write_summary(c, w, k, q, &s, alone, e);
        ++*shown;
    }
    document_done(&s.doc);
    return rc;
}

/* Who is there: what was switched off is not. The stream goes on for the lake. */
static rc_t show_all(struct call *c, struct json_writer *w, const struct known *k, const struct summary_query *q,
                     struct str name, struct err *e)
{
    static const enum function_id infra[] = {FUNCTION_STREAM, FUNCTION_CONTROLLER, FUNCTION_WRITER};
    size_t shown = 0;
    bool alone = name.n > 0;
    rc_t rc = OK;
    for (size_t i = 0; rc == OK && q->infra && i < sizeof infra / sizeof *infra; i++) {
        struct str own = str_of(function_name(infra[i]));
        if ((k->p.monitoring || infra[i] == FUNCTION_STREAM) && (!alone || str_eq(own, name)))
            rc = show(c, w, k, q, own, NULL, alone, &shown, e);
    }
    for (size_t i = 0; rc == OK && i < k->n_apps; i++)
        if (k->apps[i].active && (!alone || str_eqz(name, k->apps[i].name)))
            rc = show(c, w, k, q, str_of(k->apps[i].name), &k->apps[i], alone, &shown, e);
    if (rc == OK && alone && shown == 0)
        rc = err_set(e, E_NOTFOUND, "%.*s does not monitor project %s", STR_FMT(name), k->p.name);
    return rc;
}

rc_t list_summaries(struct call *c, struct err *e)
{
    struct summary_query q = {.infra = call_bool(c, "include-infra", true), .stats = call_bool(c, "include-stats", false)};
    struct known k = {0};
    struct json_writer w;
    q.n_names = call_list(c, "name", &q.names);
    q.n_labels = call_list(c, "label", &q.labels);
    rc_t rc = call_span(c, &q.start_us, &q.end_us, e);
    if (rc == OK)
        rc = read_known(c, &q, &k, e);
    if (rc == OK) {
        jw_init(&w, &c->out, JSON_NAN_NULL);
        jw_array(&w);
        rc = show_all(c, &w, &k, &q, (struct str){0}, e);
    }
    if (rc == OK)
        jw_array_end(&w);
    known_done(&k);
    return rc;
}

rc_t get_summary(struct call *c, struct err *e)
{
    struct summary_query q = {.infra = true, .stats = true, .metrics = call_bool(c, "include-latest-metrics", false)};
    struct known k = {0};
    struct json_writer w;
    rc_t rc = call_span(c, &q.start_us, &q.end_us, e);
    if (rc == OK)
        rc = read_known(c, &q, &k, e);
    if (rc == OK) {
        jw_init(&w, &c->out, JSON_NAN_NULL);
        rc = show_all(c, &w, &k, &q, http_param(c->r, "name"), e);
    }
    known_done(&k);
    return rc;
}

/* An event is posted to the project's path there. */
rc_t get_stream_url(struct call *c, struct err *e)
{
    struct project p = {0};
    rc_t rc = call_project(c, &p, e);
    if (rc == OK) {
        CLEANUP(buf_done) struct buf url = {0};
        const char *base = c->api->options.stream_url;
        size_t n = strlen(base);
        while (n && base[n - 1] == '/')
            n--;
        buf_addf(&url, "%.*s/%s", (int)n, base, p.name);
        json_quote(&c->out, buf_str(&url));
    }
    project_done(&p);
    return rc;
}
