/* Owns the page of one endpoint: its verdict, drift over time, what is missing, and what it knows of the endpoint. */
#include <math.h>
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "db/result.h"
#include "event/names.h"
#include "html.h"
#include "page.h"
#include "stats/drift.h"
#include "stats/reference.h"
#include "view.h"

#define WINDOWS 120
#define REFRESH_S 5
#define COLUMNS_MAX 120

static void view_done(struct view *v)
{
    mem_free(v->drift);
    mem_free(v->prediction);
    db_rows_free(v->drift_rows);
    db_rows_free(v->prediction_rows);
    mem_free(v->glance);
    reference_free(v->reference);
    endpoint_reference_done(&v->ref);
    mem_free(v->measures);
    mem_free(v->stats);
    mem_free(v->calls);
    schema_done(&v->schema);
    endpoint_done(&v->ep);
    project_done(&v->project);
}

/* ---- reading ---- */
static rc_t absent_is_fine(rc_t rc)
{
    return rc == E_NOTFOUND ? OK : rc;
}

static rc_t read_reference(struct call *c, struct view *v, struct err *e)
{
    if (v->ep.reference_version == 0)
        return OK;
    rc_t rc = reference_get(c->db, v->ep.id, 0, &v->ref, e);
    if (rc == OK)
        rc = reference_from_text(&v->reference, str_of(v->ref.statistics), NULL, 0, e);
    return absent_is_fine(rc);
}

static rc_t read_drift(struct call *c, struct view *v, struct err *e)
{
    const char *app = function_name(FUNCTION_HISTOGRAM);
    int32_t p = v->project.id;
    rc_t rc = store_drift(c->db, p, v->ep.id, app, "general_drift", WINDOWS, &v->drift, &v->n_drift, &v->drift_rows, e);
    if (rc == OK)
        rc = store_drift(c->db, p, v->ep.id, app, "prediction_drift", 1, &v->prediction, &v->n_prediction,
                         &v->prediction_rows, e);
    if (rc == OK)
        rc = absent_is_fine(app_statistic_latest(c->db, p, v->ep.id, 0, "drift_measures", &v->measures, &v->measures_us, e));
    if (rc == OK)
        rc = absent_is_fine(app_statistic_latest(c->db, p, v->ep.id, 0, "current_stats", &v->stats, &v->stats_us, e));
    return rc;
}

static rc_t read_schema(struct call *c, struct view *v, struct err *e)
{
    struct endpoint_schema s = {0};
    rc_t rc = v->ep.schema_version ? schema_get(c->db, v->ep.id, 0, 0, &s, e) : E_NOTFOUND;
    if (rc == OK)
        rc = schema_parse(str_of(s.document), &v->schema, e);
    v->schema.named = s.named;
    endpoint_schema_done(&s);
    return absent_is_fine(rc);
}

/* Predictions on the time axis of the drift chart: a column a window, or several windows. */
static rc_t read_calls(struct call *c, struct view *v, struct err *e)
{
    if (v->n_drift == 0)
        return OK;
    v->calls_from = v->drift[0].start_us;
    v->calls_to = v->drift[v->n_drift - 1].end_us;
    v->calls_step = v->project.base_period_us;
    while ((v->calls_to - v->calls_from) / v->calls_step > COLUMNS_MAX)
        v->calls_step *= 2;
    return slots_sums(c->db, v->project.id, v->ep.id, v->calls_from, v->calls_to, v->calls_step, &v->calls, &v->n_calls, e);
}

static rc_t view_read(struct call *c, struct view *v, struct err *e)
{
    struct drift_options o = drift_options_default(DRIFT_EDGES_CLOSED);
    v->extra = (struct drift_extra){.potential = o.potential, .detected = o.detected};
    v->now = clock_now_us();
    rc_t rc = call_project(c, &v->project, e);
    if (rc == OK)
        rc = call_endpoint(c, &v->project, &v->ep, e);
    if (rc == OK)
        rc = store_glances(c->db, v->project.id, IDS_ONE(v->ep.id), v->now - API_DAY_US, &v->glance, &v->n_glances, e);
    if (rc == OK)
        rc = store_latency(c->db, v->project.id, v->ep.id, v->now - API_DAY_US, &v->latency, e);
    if (rc == OK)
        rc = store_refused(c->db, v->project.id, &v->ep, v->now - API_DAY_US, c->arena, &v->refused, e);
    if (rc == OK)
        rc = read_schema(c, v, e);
    if (rc == OK)
        rc = read_reference(c, v, e);
    if (rc == OK)
        rc = read_drift(c, v, e);
    if (rc == OK)
        rc = read_calls(c, v, e);
    if (rc == OK && v->n_drift)
        drift_extra_read(v->drift[v->n_drift - 1].extra, c->arena, &v->extra);
    v->t = (struct thresholds){v->extra.potential, v->extra.detected};
    return rc;
}

const struct drift_point *view_newest(const struct view *v)
{
    return v->n_drift ? &v->drift[v->n_drift - 1] : NULL;
}

const struct drift_point *view_prediction(const struct view *v)
{
    const struct drift_point *d = view_newest(v);
    return d && v->n_prediction && v->prediction[0].end_us == d->end_us ? &v->prediction[0] : NULL;
}

/* ---- drawing ---- */
static bool is_disabled(const struct view *v)
{
    return strcmp(v->ep.monitoring_mode, "disabled") == 0;
}

static bool is_automatic(const struct view *v)
{
    return v->ref.source && strcmp(v->ref.source, REFERENCE_AUTO) == 0;
}

static void head(struct buf *b, const struct view *v, const struct feature_views *f)
{
    const struct drift_point *d = view_newest(v);
    buf_addz(b, "<div class=\"head\"><h1>");
    html_name(b, v->ep.name);
    buf_addz(b, "</h1>");
    page_badge_partly(b, d ? d->status : -1, view_lost(f));
    if (d)
        draw_summary(b, v, f);
    if (is_disabled(v))
        buf_addz(b, "<span class=\"tag\">monitoring disabled</span>");
    if (is_automatic(v))
        buf_addz(b, "<span class=\"tag\">compared with its own first rows</span>");
    if (!v->ep.latest)
        buf_addz(b, "<span class=\"tag\">older version</span>");
    buf_addz(b, "</div><p class=\"sub\">Endpoint <code>");
    html_textz(b, v->ep.uid);
    buf_addz(b, "</code>");
    if (*v->ep.function_name) {
        buf_addz(b, " of function ");
        html_name(b, v->ep.function_name);
        buf_addc(b, ':');
        html_name(b, v->ep.function_tag);
    }
    buf_addz(b, "</p>");
}

static void fact(struct buf *b, const char *name, const char *value)
{
    buf_addf(b, "<div><dt>%s</dt><dd>", name);
    if (value && *value)
        html_name(b, value);
    else
        buf_addz(b, "–");
    buf_addz(b, "</dd></div>");
}

static void fact_time(struct buf *b, const char *name, int64_t us)
{
    buf_addf(b, "<div><dt>%s</dt><dd>", name);
    html_time(b, us);
    buf_addz(b, "</dd></div>");
}

static void facts(struct buf *b, const struct view *v)
{
    static const char *const modes[] = {"real time", "batch", "batch"};
    const struct endpoint *ep = &v->ep;
    buf_addz(b, "<section class=\"card\"><header><h2>Endpoint</h2></header><dl class=\"facts\">");
    fact(b, "Model", ep->model_name);
    fact(b, "Model class", ep->model_class);
    fact(b, "Model URI", ep->model_uri);
    fact(b, "Function URI", ep->function_uri);
    fact(b, "Mode", ep->mode >= 0 && ep->mode <= 2 ? modes[ep->mode] : "");
    fact(b, "Monitoring", ep->monitoring_mode);
    buf_addf(b, "<div><dt>Sampling</dt><dd>%.4g %%</dd></div>", ep->sampling_percentage);
    buf_addf(b, "<div><dt>Schema version</dt><dd>%d</dd></div>", ep->schema_version);
    buf_addf(b, "<div><dt>Reference version</dt><dd>%d", ep->reference_version);
    if (v->ref.created_us) {
        buf_addz(b, is_automatic(v) ? " of its first rows, until " : " of ");
        html_time(b, v->ref.created_us);
    }
    buf_addz(b, "</dd></div>");
    fact_time(b, "First request", ep->first_request_us);
    fact_time(b, "Last request", ep->last_request_us);
    fact(b, "Made by", ep->self_registered ? "its first event" : "a client");
    buf_addz(b, "</dl></section>");
}

static void empty_reference(struct call *c, struct buf *b, const struct view *v)
{
    page_empty(
        b, "No reference yet",
        "Drift is the distance from what the model was trained on, and that is not known here. Send the training rows "
        "or their statistics; windows of the last day are computed again, too.",
        arena_printf(c->arena,
                     "modelmon reference %s/%s --csv FILE --api-url %s\n"
                     "# or\n"
                     "curl -X PUT %s/api/v1/projects/%s/model-endpoints/%s/reference \\\n"
                     "     -d '{\"columns\": [\"a\", \"b\"], \"data\": [[0.1, 2], [0.3, 5]]}'",
                     v->project.name, v->ep.uid, page_origin(c), page_origin(c), v->project.name, v->ep.uid));
}

static void disabled(struct call *c, struct buf *b, const struct view *v)
{
    CLEANUP(json_freep) struct json *body = json_new_object();
    struct json *metadata = json_set_object(body, "metadata");
    json_set_strz(metadata, "name", v->ep.name);
    json_set_strz(metadata, "project", v->project.name);
    json_set_strz(metadata, "uid", v->ep.uid);
    json_set_strz(json_set_object(body, "status"), "monitoring_mode", "enabled");
    struct buf text = {0};
    json_print(body, JSON_NAN_NULL, &text);
    bool plain = memchr(text.data, '\'', text.len) == NULL; /* else it cannot stand in quotes of a shell */
    page_empty(
        b, "Monitoring is disabled for this endpoint",
        "Its record says monitoring_mode: disabled. Events are stored, but no window of it is computed until that "
        "is enabled:",
        arena_printf(c->arena,
                     "curl -X PATCH '%s/api/v1/projects/%s/model-endpoints?attribute-key=monitoring_mode' \\\n"
                     "  -d %s%.*s%s",
                     page_origin(c), v->project.name, plain ? "'" : "@body.json   # ", (int)text.len, text.data,
                     plain ? "'" : ""));
    buf_done(&text);
}

static void empty_windows(struct buf *b, const struct view *v)
{
    if (!v->project.monitoring)
        page_empty(b, "Monitoring is off",
                   "The project's windows are not computed while its spec.monitoring.enabled is false.", NULL);
    else if (!v->project.default_app)
        page_empty(b, "The default app is off",
                   "Drift comes from the app histogram-data-drift, and this project has it switched "
                   "off: spec.monitoring.default_app.",
                   NULL);
    else if (v->ep.last_request_us == 0)
        page_empty(b, "No request yet",
                   "The first drift result follows a few seconds after the end of the first window that has "
                   "requests in it.",
                   NULL);
    else
        page_empty(b, "No window has closed yet",
                   "Requests are coming in. The result is made as soon as the window they are in "
                   "has ended and everything before its end has been handled.",
                   NULL);
}

static void draw(struct call *c, struct buf *b, const struct view *v)
{
    struct feature_views f = {0};
    if (v->reference)
        features_read(v->reference, str_of(v->measures), str_of(v->stats),
                      v->n_drift ? view_newest(v)->extra : (struct str){0}, &v->schema, c->arena, &f);
    head(b, v, &f);
    draw_tiles(b, v);
    page_refused(b, &v->refused, v->now);
    if (is_disabled(v))
        disabled(c, b, v);
    if (v->ep.reference_version == 0)
        empty_reference(c, b, v);
    else if (v->n_drift == 0 && !is_disabled(v))
        empty_windows(b, v);
    if (v->n_drift)
        draw_timeline(c, b, v);
    if (f.n)
        draw_features(b, v, &f);
    facts(b, v);
}

rc_t page_endpoint(struct call *c, struct err *e)
{
    struct view v = {.latency = NAN};
    int64_t refresh = call_i64(c, "refresh", REFRESH_S);
    rc_t rc = view_read(c, &v, e);
    if (rc == OK) {
        const struct crumb crumbs[] = {
            {v.project.name, arena_printf(c->arena, "/ui/p/%s", v.project.name)}, {v.ep.name, NULL}, {NULL, NULL}};
        page_open(&c->out, v.ep.name, crumbs, (int)refresh);
        draw(c, &c->out, &v);
        if (refresh)
            buf_addz(&c->out,
                     "<p class=\"muted small\">The page renews itself every few seconds. <a href=\"?refresh=0\">Stop "
                     "that</a></p>");
        else
            buf_addz(&c->out,
                     "<p class=\"muted small\">The page stands still. <a href=\"?\">Renew it by itself</a></p>");
        page_close(&c->out);
    }
    view_done(&v);
    return rc;
}
