/* Owns the pages of many things: all projects, and one project's endpoints. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "api.h"
#include "base/clock.h"
#include "base/mem.h"
#include "chart.h"
#include "html.h"
#include "page.h"
#include "stats/drift.h"
#include "store.h"

#define SHOWN 200

struct totals {
    int64_t endpoints, requests, errors;
    int64_t by_status[3]; /* newest verdict: none, possible, drift */
    int64_t without;      /* no verdict */
    int worst;
    int64_t last_us;
    const struct glance *feature; /* whose feature drifts most; NULL: none does. The glances' */
};

static struct totals add_up(const struct glance *g, size_t n)
{
    struct totals t = {.endpoints = (int64_t)n, .worst = -1};
    for (size_t i = 0; i < n; i++) {
        int s = g[i].drift_status;
        t.requests += g[i].requests;
        t.errors += g[i].errors;
        if (s >= 0 && s <= 2)
            t.by_status[s]++;
        else
            t.without++;
        if (s > t.worst)
            t.worst = s;
        if (g[i].drift_end_us > t.last_us)
            t.last_us = g[i].drift_end_us;
        if (*g[i].features && !(t.feature && t.feature->worst_feature >= g[i].worst_feature))
            t.feature = &g[i];
    }
    return t;
}

static void tile(struct buf *b, const char *name, int64_t value, const char *class, const char *note)
{
    buf_addf(b, "<dl class=\"tile\"><dt>%s</dt><dd class=\"%s\">", name, value ? class : "");
    html_count(b, (double)value);
    buf_addz(b, "</dd>");
    if (note)
        buf_addf(b, "<dd class=\"note\">%s</dd>", note);
    buf_addz(b, "</dl>");
}

static void totals_badge(struct buf *b, const struct totals *t)
{
    char words[64] = "";
    if (t->worst >= 0 && t->without)
        (void)snprintf(words, sizeof words, ", %lld without verdict", (long long)t->without); /* fits */
    page_badge_with(b, t->worst, words);
}

/* What a mean over many features hides. */
static void features_of(struct buf *b, const struct glance *g)
{
    if (!g || !*g->features)
        return;
    buf_addz(b, "<span class=\"sub\">");
    html_name(b, g->features);
    buf_addz(b, "</span>");
}

/* ---- projects ---- */
static rc_t project_row(struct call *c, const struct project *p, struct err *e)
{
    struct glance *g = NULL;
    size_t n = 0;
    struct buf *b = &c->out;
    rc_t rc = store_glances(c->db, p->id, IDS_ALL, clock_now_us() - API_DAY_US, &g, &n, e);
    if (rc != OK)
        return rc;
    struct totals t = add_up(g, n);
    buf_addz(b, "<tr><td class=\"name\"><a href=\"/ui/p/");
    html_textz(b, p->name);
    buf_addz(b, "\">");
    html_name(b, p->name);
    buf_addz(b, "</a>");
    if (!p->monitoring)
        buf_addz(b, "<span class=\"tag\">monitoring off</span>");
    buf_addz(b, "</td><td>");
    if (n)
        totals_badge(b, &t);
    else
        buf_addz(b, "<span class=\"muted\">no endpoints yet</span>");
    features_of(b, t.feature);
    mem_free(g);
    buf_addf(b, "</td><td class=\"n\">%lld</td><td class=\"n\">%lld</td><td class=\"n\">", (long long)n,
             (long long)(t.by_status[1] + t.by_status[2]));
    html_count(b, (double)t.requests);
    buf_addz(b, "</td><td class=\"n\">");
    html_duration(b, p->base_period_us);
    buf_addz(b, "</td><td class=\"n\">");
    html_age(b, t.last_us, clock_now_us());
    buf_addz(b, "</td></tr>");
    return OK;
}

static rc_t projects_table(struct call *c, const struct project *p, size_t n, struct err *e)
{
    struct buf *b = &c->out;
    rc_t rc = OK;
    buf_addz(b, "<section class=\"card scroll\"><table><thead><tr><th scope=\"col\">Project</th><th "
                "scope=\"col\">Worst now</th>"
                "<th scope=\"col\" class=\"n\">Endpoints</th><th scope=\"col\" class=\"n\">Drifting</th>"
                "<th scope=\"col\" class=\"n\">Requests, 24 h</th><th scope=\"col\" class=\"n\">Window</th>"
                "<th scope=\"col\" class=\"n\">Last result</th></tr></thead><tbody>");
    for (size_t i = 0; rc == OK && i < n && i < SHOWN; i++)
        rc = project_row(c, &p[i], e);
    buf_addz(b, "</tbody></table>");
    if (n > SHOWN)
        buf_addf(b, "<p class=\"muted small\">The first %d of %zu projects.</p>", SHOWN, n);
    buf_addz(b, "</section>");
    return rc;
}

rc_t page_home(struct call *c, struct err *e)
{
    static const struct crumb crumbs[] = {{"projects", NULL}, {NULL, NULL}};
    struct project *p = NULL;
    size_t n_all = 0, n = 0;
    rc_t rc = projects_list(c->db, &p, &n_all, e);
    for (size_t i = 0; rc == OK && i < n_all; i++)
        if (http_may(c->r, str_of(p[i].name))) {
            const struct project shown = p[i]; /* to the front: all of them are freed below */
            p[i] = p[n];
            p[n++] = shown;
        }
    if (rc == OK) {
        page_open(&c->out, "Projects", crumbs, 10);
        buf_addz(&c->out,
                 "<div class=\"head\"><h1>Projects</h1></div><p class=\"sub\">What your models were trained on, "
                 "against what they are asked now.</p>");
        if (http_caller(c->r)->name)
            page_caller(&c->out, http_caller(c->r)->name);
        if (n)
            rc = projects_table(c, p, n, e);
        else
            page_empty(
                &c->out, "No project yet",
                "A project holds model endpoints and decides how often drift is computed. Make one, then point your "
                "serving function's stream at this installation.",
                arena_printf(c->arena,
                             "curl -X PUT %s/api/v1/projects/my-project \\\n"
                             "     -d '{\"spec\": {\"monitoring\": {\"base_period\": \"1m\"}}}'",
                             page_origin(c)));
        page_close(&c->out);
    }
    projects_free(p, n_all);
    return rc;
}

/* ---- endpoints of a project ---- */
static void drift_cell(struct buf *b, const struct glance *g)
{
    struct drift_options o = drift_options_default(DRIFT_EDGES_CLOSED);
    const struct thresholds t = {o.potential, o.detected};
    buf_addz(b, "<td>");
    chart_bar(b, g ? g->drift : NAN, g ? g->drift_status : -1, &t);
    features_of(b, g);
    buf_addz(b, "</td><td class=\"n\">");
    html_number(b, g ? g->drift : NAN, 3);
    buf_addz(b, "</td>");
}

static void endpoint_row(struct buf *b, const struct project *p, const struct endpoint *ep, const struct glance *g)
{
    int64_t now = clock_now_us();
    buf_addz(b, "<tr><td>");
    page_badge_partly(b, g ? g->drift_status : -1, g ? g->lost : 0);
    buf_addf(b, "</td><td class=\"name\"><a href=\"/ui/p/");
    html_textz(b, p->name);
    buf_addz(b, "/endpoints/");
    html_textz(b, ep->uid);
    buf_addz(b, "\">");
    html_name(b, ep->name);
    buf_addz(b, "</a>");
    if (!ep->latest)
        buf_addz(b, "<span class=\"tag\">older version</span>");
    if (ep->mode)
        buf_addz(b, "<span class=\"tag\">batch</span>");
    const struct {
        bool is;
        const char *words;
    } tags[] = {{strcmp(ep->monitoring_mode, "disabled") == 0, "disabled"},
                {!ep->reference_version, "no reference"},
                {ep->last_request_us == 0, "nothing received"},
                {g && g->too_few, "too few rows"},
                {g && g->wrong_type, "wrong type"}};
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
        if (tags[i].is)
            buf_addf(b, "<span class=\"tag\">%s</span>", tags[i].words);
    buf_addz(b, "<span class=\"sub\">");
    html_name(b, *ep->function_name    ? ep->function_name
                 : ep->self_registered ? "registered by its first event"
                                       : "no function");
    if (*ep->function_tag) {
        buf_addc(b, ':');
        html_name(b, ep->function_tag);
    }
    buf_addz(b, "</span></td>");
    drift_cell(b, g);
    buf_addz(b, "<td class=\"n\">");
    html_count(b, g ? (double)g->requests : 0);
    buf_addz(b, "</td><td class=\"n\">");
    html_count(b, g ? (double)g->errors : 0);
    buf_addz(b, "</td><td class=\"n\">");
    html_age(b, ep->last_request_us, now);
    buf_addz(b, "</td></tr>");
}

static void endpoints_table(struct buf *b, const struct project *p, const struct endpoint *eps, size_t n,
                            const struct glance *g, size_t n_g)
{
    size_t shown = n < SHOWN ? n : SHOWN;
    buf_addz(
        b,
        "<section class=\"card scroll\"><table><thead><tr><th scope=\"col\">Status</th><th scope=\"col\">Endpoint</th>"
        "<th scope=\"col\">Drift, newest window</th><th scope=\"col\" class=\"n\"><span class=\"muted\">0 to "
        "1</span></th>"
        "<th scope=\"col\" class=\"n\">Requests, 24 h</th>"
        "<th scope=\"col\" class=\"n\">Errors, 24 h</th><th scope=\"col\" class=\"n\">Last "
        "request</th></tr></thead><tbody>");
    for (size_t i = 0; i < shown; i++)
        endpoint_row(b, p, &eps[i], glance_find(g, n_g, eps[i].id));
    buf_addz(b, "</tbody></table>");
    if (n > SHOWN) {
        buf_addf(b, "<p class=\"small\"><a href=\"/ui/p/");
        html_textz(b, p->name);
        buf_addf(b, "?after=%lld\">Next %d endpoints</a></p>", (long long)eps[shown - 1].id, SHOWN);
    }
    buf_addz(b, "</section>");
}

static void project_head(struct buf *b, const struct project *p, const struct totals *t)
{
    buf_addz(b, "<div class=\"head\"><h1>");
    html_name(b, p->name);
    buf_addz(b, "</h1>");
    totals_badge(b, t);
    buf_addz(b, "</div><p class=\"sub\">A window every ");
    html_duration(b, p->base_period_us);
    buf_addf(b, " · monitoring %s · default app %s</p>", p->monitoring ? "on" : "off", p->default_app ? "on" : "off");
    buf_addz(b, "<div class=\"tiles\">");
    tile(b, "Endpoints", t->endpoints, "", NULL);
    tile(b, "Drift", t->by_status[2], "detected", "in their newest window");
    tile(b, "Possible drift", t->by_status[1], "potential", "in their newest window");
    tile(b, "Requests", t->requests, "", "last 24 h");
    tile(b, "Errors", t->errors, "detected", "last 24 h");
    buf_addz(b, "</div>");
}

static void empty_project(struct call *c, const struct project *p)
{
    page_empty(
        &c->out, "No endpoint yet",
        "An endpoint appears with the first event of a tracked model, or when it is created through the API, "
        "as MLRun does when a tracked serving function is deployed: function.set_tracking(…). Or send an event by "
        "hand; every row of inputs is one prediction:",
        arena_printf(
            c->arena,
            "curl %s/%s -d '{\"model\": \"my-model\", \"function_uri\": \"%s/serving:latest\", \"op\": \"infer\",\n"
            "  \"when\": \"'$(date -u +%%Y-%%m-%%dT%%H:%%M:%%SZ)'\", \"microsec\": 1500,\n"
            "  \"request\": {\"inputs\": [[1.5, 2.0], [0.5, 3.0]]}, \"resp\": {\"id\": \"'$RANDOM$RANDOM'\", "
            "\"outputs\": [0, 1]}}'",
            c->api->options.stream_url, p->name, p->name));
}

rc_t page_project(struct call *c, struct err *e)
{
    struct project p = {0};
    struct endpoint *eps = NULL;
    struct glance *g = NULL;
    size_t n = 0, n_g = 0;
    struct refused refused = {0};
    struct endpoint_filter f = {.mode = -1, .limit = SHOWN + 1};
    rc_t rc = call_project(c, &p, e);
    f.project_id = p.id;
    f.after_id = call_i64(c, "after", 0);
    if (rc == OK)
        rc = endpoints_list(c->db, &f, &eps, &n, e);
    if (rc == OK)
        rc = store_glances(c->db, p.id, IDS_ALL, clock_now_us() - API_DAY_US, &g, &n_g, e);
    if (rc == OK)
        rc = store_refused(c->db, p.id, NULL, clock_now_us() - API_DAY_US, c->arena, &refused, e);
    if (rc == OK) {
        struct totals t = add_up(g, n_g);
        const struct crumb crumbs[] = {{p.name, NULL}, {NULL, NULL}};
        page_open(&c->out, p.name, crumbs, 10);
        project_head(&c->out, &p, &t);
        page_refused(&c->out, &refused, clock_now_us());
        if (n)
            endpoints_table(&c->out, &p, eps, n, g, n_g);
        else
            empty_project(c, &p);
        page_close(&c->out);
    }
    mem_free(g);
    endpoints_free(eps, n);
    project_done(&p);
    return rc;
}
