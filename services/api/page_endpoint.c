/* Owns the page of one endpoint: its verdict, drift over time, drift by feature, and what it knows of the endpoint. */
#include <math.h>
#include <string.h>
#include "api.h"
#include "base/clock.h"
#include "base/mem.h"
#include "chart.h"
#include "db/result.h"
#include "db/slot.h"
#include "db/window.h"
#include "event/names.h"
#include "features.h"
#include "html.h"
#include "page.h"
#include "stats/drift.h"
#include "stats/reference.h"
#include "store.h"

#define WINDOWS 120
#define FEATURES_SHOWN 200
#define REFRESH_S 5
#define COLUMNS_MAX 120

struct view {
    struct project project;
    struct endpoint ep;
    struct drift_point *drift, *prediction; /* oldest first */
    size_t n_drift, n_prediction;
    struct db_rows *drift_rows, *prediction_rows;
    struct glance *glance;
    size_t n_glances;
    double latency;
    struct reference *reference;
    struct endpoint_reference ref;
    char *measures, *stats;
    int64_t measures_us, stats_us;
    struct slot_sum *calls;
    size_t n_calls;
    int64_t calls_from, calls_to, calls_step;
    struct thresholds t;
    int64_t now;
};

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
    CLEANUP(json_freep) struct json *stats = NULL;
    const struct json_limits limits = {.values = 8000000, .bytes = 256u << 20, .keys = REFERENCE_FEATURES_MAX + 1};
    if (v->ep.reference_version == 0)
        return OK;
    rc_t rc = reference_get(c->db, v->ep.id, 0, &v->ref, e);
    if (rc == OK)
        rc = json_parse(&stats, v->ref.statistics, strlen(v->ref.statistics), &limits, e);
    if (rc == OK)
        rc = reference_from_json(&v->reference, stats, NULL, 0, e);
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
    v->t = (struct thresholds){o.potential, o.detected};
    v->now = clock_now_us();
    rc_t rc = call_project(c, &v->project, e);
    if (rc == OK)
        rc = call_endpoint(c, &v->project, &v->ep, e);
    if (rc == OK)
        rc = store_glances(c->db, v->project.id, v->ep.id, v->now - API_DAY_US, &v->glance, &v->n_glances, e);
    if (rc == OK)
        rc = store_latency(c->db, v->project.id, v->ep.id, v->now - API_DAY_US, &v->latency, e);
    if (rc == OK)
        rc = read_reference(c, v, e);
    if (rc == OK)
        rc = read_drift(c, v, e);
    if (rc == OK)
        rc = read_calls(c, v, e);
    return rc;
}

static const struct drift_point *newest(const struct view *v)
{
    return v->n_drift ? &v->drift[v->n_drift - 1] : NULL;
}

static int verdict(double value, const struct thresholds *t)
{
    return isnan(value) ? -1 : value >= t->detected ? 2 : value >= t->potential ? 1 : 0;
}

/* ---- drawing ---- */
static void head(struct buf *b, const struct view *v)
{
    const struct drift_point *d = newest(v);
    buf_addz(b, "<div class=\"head\"><h1>");
    html_name(b, v->ep.name);
    buf_addz(b, "</h1>");
    page_badge(b, d ? d->status : -1);
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

static void tile_open(struct buf *b, const char *name, const char *class)
{
    buf_addf(b, "<dl class=\"tile\"><dt>%s</dt><dd class=\"%s\">", name, class);
}

static void drift_tile(struct buf *b, const char *name, const struct drift_point *d)
{
    tile_open(b, name, d ? status_class(d->status) : "");
    html_number(b, d ? d->value : NAN, 3);
    buf_addf(b, "</dd><dd class=\"note\">%s</dd></dl>", d ? status_words(d->status) : "no window yet");
}

static void tiles(struct buf *b, const struct view *v)
{
    const struct drift_point *d = newest(v);
    const struct glance *g = v->n_glances ? v->glance : NULL;
    buf_addz(b, "<div class=\"tiles\">");
    drift_tile(b, "Drift of the inputs", d);
    if (v->n_prediction)
        drift_tile(b, "Drift of the outputs", &v->prediction[0]);
    tile_open(b, "Requests", "");
    html_count(b, g ? (double)g->requests : 0);
    buf_addz(b, "</dd><dd class=\"note\">last 24 h, ");
    html_count(b, g ? (double)g->rows : 0);
    buf_addf(b, " rows</dd></dl>");
    tile_open(b, "Errors", g && g->errors ? "detected" : "");
    html_count(b, g ? (double)g->errors : 0);
    buf_addz(b, "</dd><dd class=\"note\">last 24 h</dd></dl>");
    tile_open(b, "Latency", "");
    if (isnan(v->latency))
        buf_addz(b, "–");
    else
        html_duration(b, (int64_t)v->latency);
    buf_addz(b, "</dd><dd class=\"note\">mean, last 24 h</dd></dl>");
    tile_open(b, "Freshness", "");
    if (d && d->written_us >= d->end_us)
        html_duration(b, d->written_us - d->end_us);
    else
        buf_addz(b, "–");
    buf_addz(b, "</dd><dd class=\"note\">from window end to result</dd></dl></div>");
}

static void windows_table(struct buf *b, const struct view *v)
{
    buf_addz(b, "<details><summary>The same as a table</summary><div class=\"scroll\"><table><thead><tr>"
                "<th scope=\"col\">Window, UTC</th><th scope=\"col\">Until</th><th scope=\"col\" class=\"n\">Drift</th>"
                "<th scope=\"col\">Verdict</th><th scope=\"col\" class=\"n\">Revision</th></tr></thead><tbody>");
    for (size_t i = v->n_drift; i-- > 0;) {
        const struct drift_point *d = &v->drift[i];
        buf_addz(b, "<tr><td>");
        html_time(b, d->start_us);
        buf_addz(b, "</td><td>");
        html_time(b, d->end_us);
        buf_addz(b, "</td><td class=\"n\">");
        html_number(b, d->value, 4);
        buf_addz(b, "</td><td>");
        page_badge(b, d->status);
        buf_addf(b, "</td><td class=\"n\">%d</td></tr>", d->revision);
    }
    buf_addz(b, "</tbody></table></div></details>");
}

static void timeline(struct call *c, struct buf *b, const struct view *v)
{
    const struct drift_point *d = newest(v);
    struct chart_point *p = arena_array(c->arena, v->n_drift + 1, sizeof *p);
    struct chart_column *columns = arena_array(c->arena, v->n_calls + 1, sizeof *columns);
    for (size_t i = 0; i < v->n_drift; i++)
        p[i] = (struct chart_point){v->drift[i].start_us, v->drift[i].end_us, v->drift[i].value, v->drift[i].status};
    for (size_t i = 0; i < v->n_calls; i++)
        columns[i] = (struct chart_column){v->calls[i].start_us, v->calls[i].estimated};
    buf_addz(b, "<section class=\"card\"><header><h2>Drift over time</h2><p>general_drift, ");
    buf_addf(b, "%zu window%s of ", v->n_drift, v->n_drift == 1 ? "" : "s");
    html_duration(b, d->end_us - d->start_us);
    buf_addz(b, ", the newest ended ");
    html_age(b, d->end_us, v->now);
    buf_addz(b, "</p></header>");
    chart_timeline(b, p, v->n_drift, &v->t);
    chart_columns(b, columns, v->n_calls, v->calls_from, v->calls_to, v->calls_step);
    windows_table(b, v);
    buf_addz(b, "</section>");
}

static void feature_row(struct buf *b, const struct feature_view *f, const struct thresholds *t)
{
    int status = verdict(f->score, t);
    buf_addz(b, "<tr><th scope=\"row\"><bdi>");
    html_text(b, f->name);
    buf_addz(b, "</bdi>");
    if (f->is_label)
        buf_addz(b, "<span class=\"tag\">output</span>");
    buf_addz(b, "</th><td>");
    page_badge(b, status);
    buf_addz(b, "</td><td>");
    chart_bar(b, f->score, status, t);
    buf_addz(b, "</td><td class=\"n\">");
    html_number(b, f->score, 3);
    const double rest[] = {f->tvd, f->hellinger, f->kld};
    for (size_t i = 0; i < 3; i++) {
        buf_addz(b, "</td><td class=\"n\">");
        html_number(b, rest[i], 3);
    }
    buf_addz(b, "</td><td>");
    if (f->n_cells)
        chart_histogram(b, f->before, f->now, f->n_cells, f->outer);
    else
        buf_addz(b, "<span class=\"muted small\">nothing to compare</span>");
    buf_addz(b, "</td><td class=\"n small\">");
    if (!isnan(f->mean_before) || !isnan(f->mean_now)) {
        buf_addf(b, isnan(f->mean_before) ? "–" : "%.4g", f->mean_before);
        buf_addf(b, isnan(f->mean_now) ? " → –" : " → %.4g", f->mean_now);
    }
    buf_addz(b, "</td></tr>");
}

static void feature_table(struct buf *b, const struct view *v, const struct feature_views *f)
{
    buf_addz(b, "<section class=\"card\"><header><h2>Drift by feature</h2><p>newest window, strongest first"
                "<span class=\"legend\"><svg viewBox=\"0 0 12 12\" aria-hidden=\"true\"><rect class=\"ref\" width=\"12\" "
                "height=\"12\" rx=\"3\"/></svg>training</span><span class=\"legend\"><svg viewBox=\"0 0 12 12\" "
                "aria-hidden=\"true\"><rect class=\"cur\" width=\"12\" height=\"12\" rx=\"3\"/></svg>now</span></p></header>"
                "<div class=\"scroll\"><table><thead><tr><th scope=\"col\">Feature</th><th scope=\"col\">Verdict</th>");
    buf_addf(b, "<th scope=\"col\">Drift: possible from %.2g, drift from %.2g</th>", v->t.potential, v->t.detected);
    buf_addz(b, "<th scope=\"col\" class=\"n\">Mean</th><th scope=\"col\" class=\"n\">TVD</th>"
                "<th scope=\"col\" class=\"n\">Hellinger</th><th scope=\"col\" class=\"n\">KLD</th>"
                "<th scope=\"col\">Distribution</th><th scope=\"col\" class=\"n\">Average, training → now</th></tr></thead><tbody>");
    for (size_t i = 0; i < f->n && i < FEATURES_SHOWN; i++)
        feature_row(b, &f->v[i], &v->t);
    buf_addz(b, "</tbody></table></div>");
    if (f->n > FEATURES_SHOWN)
        buf_addf(b, "<p class=\"muted small\">The first %d of %zu features.</p>", FEATURES_SHOWN, f->n);
    buf_addz(b, "</section>");
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
        buf_addz(b, " of ");
        html_time(b, v->ref.created_us);
    }
    buf_addz(b, "</dd></div>");
    fact_time(b, "First request", ep->first_request_us);
    fact_time(b, "Last request", ep->last_request_us);
    fact(b, "Made by", ep->self_registered ? "its first event" : "a client");
    buf_addz(b, "</dl></section>");
}

static void empty_reference(struct buf *b)
{
    page_empty(b, "No reference yet",
               "Drift is the distance from what the model was trained on, and that is not known here. Send the training rows "
               "or their statistics; drift is computed from the next window on.",
               "curl -X PUT http://HOST:8080/api/v1/projects/PROJECT/model-endpoints/UID/reference \\\n"
               "     -d '{\"columns\": [\"a\", \"b\"], \"data\": [[0.1, 2], [0.3, 5]]}'");
}

static void empty_windows(struct buf *b, const struct view *v)
{
    if (!v->project.monitoring)
        page_empty(b, "Monitoring is off", "The project's windows are not computed while its spec.monitoring.enabled is false.",
                   NULL);
    else if (!v->project.default_app)
        page_empty(b, "The default app is off", "Drift comes from the app histogram-data-drift, and this project has it switched "
                   "off: spec.monitoring.default_app.", NULL);
    else if (v->ep.last_request_us == 0)
        page_empty(b, "No request yet", "The first drift result follows a few seconds after the end of the first window that has "
                   "requests in it.", NULL);
    else
        page_empty(b, "No window has closed yet", "Requests are coming in. The result is made as soon as the window they are in "
                   "has ended and everything before its end has been handled.", NULL);
}

static void draw(struct call *c, struct buf *b, const struct view *v)
{
    struct feature_views f = {0};
    head(b, v);
    tiles(b, v);
    if (v->ep.reference_version == 0)
        empty_reference(b);
    else if (v->n_drift == 0)
        empty_windows(b, v);
    if (v->n_drift)
        timeline(c, b, v);
    if (v->reference)
        features_read(v->reference, str_of(v->measures), str_of(v->stats), c->arena, &f);
    if (f.n)
        feature_table(b, v, &f);
    facts(b, v);
}

rc_t page_endpoint(struct call *c, struct err *e)
{
    struct view v = {.latency = NAN};
    int64_t refresh = REFRESH_S;
    rc_t rc = call_i64(c, "refresh", 0, 3600, &refresh, e);
    if (rc == OK)
        rc = view_read(c, &v, e);
    if (rc == OK) {
        const struct crumb crumbs[] = {
            {v.project.name, arena_printf(c->arena, "/ui/p/%s", v.project.name)}, {v.ep.name, NULL}, {NULL, NULL}};
        page_open(&c->out, v.ep.name, crumbs, (int)refresh);
        draw(c, &c->out, &v);
        if (refresh)
            buf_addz(&c->out, "<p class=\"muted small\">The page renews itself every few seconds. <a href=\"?refresh=0\">Stop "
                              "that</a></p>");
        else
            buf_addz(&c->out, "<p class=\"muted small\">The page stands still. <a href=\"?\">Renew it by itself</a></p>");
        page_close(&c->out);
    }
    view_done(&v);
    return rc;
}
