/* Owns the parts of the endpoint page that show drift: the numbers on top, drift over time, drift by feature. */
#include <math.h>
#include <string.h>
#include "event/result.h"
#include "html.h"
#include "page.h"
#include "stats/drift.h"
#include "stats/missing.h"
#include "view.h"

#define FEATURES_SHOWN 200
#define UNKNOWN_SHOWN 20

static int verdict(double value, const struct thresholds *t)
{
    return isnan(value) ? -1 : value >= t->detected ? 2 : value >= t->potential ? 1 : 0;
}

static void tile_open(struct buf *b, const char *name, const char *class)
{
    buf_addf(b, "<dl class=\"tile\"><dt>%s</dt><dd class=\"%s\">", name, class);
}

/* Both tiles are of one window, the newest, whose end they say. */
static void drift_tile(struct buf *b, const char *name, const struct drift_point *d, const struct drift_point *newest,
                       const struct drift_extra *x)
{
    tile_open(b, name, d ? status_class(d->status) : "");
    html_number(b, d ? d->value : NAN, 3);
    buf_addz(b, "</dd><dd class=\"note\">");
    if (d && x && d->status < 0 && x->reason.n) {
        page_words(b, x->reason);
        if (x->min_samples > x->samples)
            buf_addf(b, ": %.0f of %.0f", x->samples, x->min_samples);
    } else {
        buf_addz(b, d ? result_status_words(d->status) : newest ? "not compared" : "no window yet");
    }
    if (newest) {
        buf_addz(b, ", until ");
        html_time(b, newest->end_us);
    }
    buf_addz(b, "</dd></dl>");
}

void draw_tiles(struct buf *b, const struct view *v)
{
    const struct drift_point *d = view_newest(v);
    const struct glance *g = v->n_glances ? v->glance : NULL;
    buf_addz(b, "<div class=\"tiles\">");
    drift_tile(b, "Drift of the inputs", d, d, &v->extra);
    if (v->n_prediction)
        drift_tile(b, "Drift of the outputs", view_prediction(v), d, NULL);
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

void draw_timeline(struct call *c, struct buf *b, const struct view *v)
{
    const struct drift_point *d = view_newest(v);
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
    buf_addz(b, "<div class=\"scroll end\">");
    chart_timeline(b, p, v->n_drift, &v->t);
    chart_columns(b, columns, v->n_calls, v->calls_from, v->calls_to, v->calls_step);
    buf_addz(b, "</div>");
    windows_table(b, v);
    buf_addz(b, "</section>");
}

/* Why a feature is not compared: "text, numbers were expected (300 of 300)". */
static void why_not(struct buf *b, const struct feature_view *f)
{
    static const char *const came[] = {
        [COLUMN_NUMBER] = "numbers", [COLUMN_STRING] = "text", [COLUMN_BOOL] = "booleans", [COLUMN_JSON] = "lists or objects"};
    double n = f->wrong_type;
    if (!str_eqz(f->outcome, "wrong_type")) {
        page_words(b, f->outcome.n && !str_eqz(f->outcome, "ok") ? f->outcome : STR("not compared yet"));
        n = str_eqz(f->outcome, "all_missing") ? f->missing : 0;
    } else {
        const char *what = f->came >= 0 && (size_t)f->came < sizeof came / sizeof *came ? came[f->came] : NULL;
        const char *wanted = f->categorical ? "text was" : "numbers were";
        buf_addf(b, "%s, %s expected", what && strncmp(what, wanted, 4) != 0 ? what : "values of another type", wanted);
    }
    if (n > 0 && f->samples >= n)
        buf_addf(b, " (%.0f of %.0f)", n, f->samples);
}

static void feature_row(struct buf *b, const struct feature_view *f, const struct thresholds *t)
{
    int status = verdict(f->score, t);
    buf_addz(b, "<tr><th scope=\"row\"><bdi>");
    html_text(b, f->name);
    buf_addz(b, "</bdi>");
    if (f->is_label)
        buf_addz(b, "<span class=\"tag\">output</span>");
    if (!isnan(f->missing_before) && !isnan(f->missing_now)) {
        buf_addz(b, "<span class=\"tag\">");
        missing_words(f->missing_before, f->missing_now, b);
        buf_addz(b, "</span>");
    }
    buf_addz(b, "</th><td>");
    page_badge(b, status);
    if (isnan(f->score)) {
        buf_addz(b, "</td><td colspan=\"5\" class=\"muted\">");
        why_not(b, f);
    } else {
        const double rest[] = {f->tvd, f->hellinger, f->kld};
        buf_addz(b, "</td><td>");
        chart_bar(b, f->score, status, t);
        buf_addz(b, "</td><td class=\"n\">");
        html_number(b, f->score, 3);
        for (size_t i = 0; i < 3; i++) {
            buf_addz(b, "</td><td class=\"n\">");
            html_number(b, rest[i], 3);
        }
    }
    buf_addz(b, "</td><td>");
    if (f->n_cells)
        chart_histogram(b, f->before, f->now, f->n_cells, f->outer);
    else
        buf_addz(b, "<span class=\"muted small\">nothing to compare</span>");
    buf_addz(b, "</td><td class=\"n small\">");
    if (!isnan(f->mean_before) && !isnan(f->mean_now))
        buf_addf(b, "%.4g → %.4g", f->mean_before, f->mean_now);
    else if (!isnan(f->mean_before))
        buf_addf(b, "%.4g in training", f->mean_before);
    else if (!isnan(f->mean_now))
        buf_addf(b, "%.4g now", f->mean_now);
    buf_addz(b, "</td></tr>");
}

static void draw_unknown(struct buf *b, const struct feature_views *f)
{
    if (f->n_unknown == 0)
        return;
    buf_addf(b, "<p class=\"small\">In the events, but not in the reference: ");
    for (size_t i = 0; i < f->n_unknown && i < UNKNOWN_SHOWN; i++) {
        buf_addz(b, i ? ", <bdi>" : "<bdi>");
        html_text(b, f->unknown[i]);
        buf_addz(b, "</bdi>");
    }
    if (f->n_unknown > UNKNOWN_SHOWN)
        buf_addf(b, " and %zu more", f->n_unknown - UNKNOWN_SHOWN);
    buf_addz(b, ". Put them into the reference to see their drift.</p>");
}

size_t view_lost(const struct feature_views *f)
{
    size_t n = 0;
    for (size_t i = 0; i < f->n; i++)
        n += !f->v[i].is_label && drift_outcome_lost(drift_outcome_of(f->v[i].outcome));
    return n;
}

/* "1 feature drifts, 1 has no values; most age 0.91", for the head of the page. */
void draw_summary(struct buf *b, const struct view *v, const struct feature_views *f)
{
    size_t drift = 0, possible = 0, empty = 0, rest = 0, at = 0;
    for (size_t i = 0; i < f->n; i++) {
        const struct feature_view *x = &f->v[i];
        int s = verdict(x->score, &v->t);
        drift += s == 2 ? 1 : 0;
        possible += s == 1 ? 1 : 0;
        if (isnan(x->score) && (str_eqz(x->outcome, "all_missing") || str_eqz(x->outcome, "no_samples")))
            empty++;
        else if (isnan(x->score))
            rest++;
    }
    const struct {
        size_t n;
        const char *one, *many;
    } parts[] = {{drift, "drifts", "drift"},
                 {possible, "drifts possibly", "drift possibly"},
                 {empty, "has no values", "have no values"},
                 {rest, "is not compared", "are not compared"}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (parts[i].n == 0)
            continue;
        const char *noun = at ? "" : parts[i].n == 1 ? " feature" : " features";
        buf_addf(b, "%s%zu%s %s", at++ ? ", " : "<span class=\"detail\">", parts[i].n, noun,
                 parts[i].n == 1 ? parts[i].one : parts[i].many);
    }
    if (drift + possible) {
        buf_addz(b, "; most <bdi>");
        html_text(b, f->v[0].name); /* the strongest is the first */
        buf_addf(b, "</bdi> %.2f", f->v[0].score);
    }
    buf_addz(b, at ? "</span>" : "");
}

void draw_features(struct buf *b, const struct view *v, const struct feature_views *f)
{
    size_t compared = 0;
    for (size_t i = 0; i < f->n; i++)
        compared += isnan(f->v[i].score) ? 0 : 1;
    buf_addz(b, "<section class=\"card\"><header><h2>Drift by feature</h2><p>");
    buf_addf(b, "%zu of %zu feature%s compared, newest window, strongest first; ", compared, f->n, f->n == 1 ? "" : "s");
    buf_addf(b, "possible from %.2g, drift from %.2g", v->t.potential, v->t.detected);
    buf_addz(
        b, "<span class=\"legend\"><svg viewBox=\"0 0 12 12\" aria-hidden=\"true\"><rect class=\"ref\" width=\"12\" "
           "height=\"12\" rx=\"3\"/></svg>training</span><span class=\"legend\"><svg viewBox=\"0 0 12 12\" "
           "aria-hidden=\"true\"><rect class=\"cur\" width=\"12\" height=\"12\" rx=\"3\"/></svg>now</span></p></header>"
           "<div class=\"scroll\"><table class=\"tight\"><thead><tr><th scope=\"col\">Feature</th><th "
           "scope=\"col\">Verdict</th>"
           "<th scope=\"col\" colspan=\"2\">Drift: mean of TVD and Hellinger</th><th scope=\"col\" class=\"n\">TVD</th>"
           "<th scope=\"col\" class=\"n\">Hellinger</th><th scope=\"col\" class=\"n\">KLD</th>"
           "<th scope=\"col\">Distribution</th><th scope=\"col\" class=\"n\">Average, training → "
           "now</th></tr></thead><tbody>");
    for (size_t i = 0; i < f->n && i < FEATURES_SHOWN; i++)
        feature_row(b, &f->v[i], &v->t);
    buf_addz(b, "</tbody></table></div>");
    if (f->n > FEATURES_SHOWN)
        buf_addf(b, "<p class=\"muted small\">The first %d of %zu features.</p>", FEATURES_SHOWN, f->n);
    draw_unknown(b, f);
    buf_addz(b, "</section>");
}
