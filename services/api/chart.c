/* Owns the drawing of the pages' charts. Geometry is in user units of a viewBox; sizes on the page are the style sheet's. */
#include "chart.h"

#include <math.h>
#include "base/clock.h"
#include "base/time.h"
#include "event/result.h"
#include "html.h"

#define W 920.0
#define LEFT 46.0
#define RIGHT 118.0 /* room for the thresholds' names */
#define TOP 12.0
#define PLOT_H 210.0
#define AXIS_H 26.0

const char *status_class(int status)
{
    return status >= 2 ? "detected" : status == 1 ? "potential" : status == 0 ? "ok" : "none";
}

static double clamp01(double v)
{
    return v < 0 ? 0 : v > 1 ? 1 : v;
}

static double y_of(double v)
{
    return TOP + PLOT_H * (1 - clamp01(v));
}

struct x_axis {
    int64_t from_us, to_us;
};
static double x_of(const struct x_axis *x, int64_t us)
{
    double span = (double)(x->to_us - x->from_us);
    return LEFT + (W - LEFT - RIGHT) * (span > 0 ? (double)(us - x->from_us) / span : 0.5);
}

static void tick_text(struct buf *b, int64_t us, int64_t span_us)
{
    struct civil t = time_civil(us);
    if (span_us > 2 * USEC_PER_DAY)
        buf_addf(b, "%02d-%02d %02d:%02d", t.month, t.day, t.hour, t.minute);
    else if (span_us > 20 * 60 * USEC_PER_SEC)
        buf_addf(b, "%02d:%02d", t.hour, t.minute);
    else
        buf_addf(b, "%02d:%02d:%02d", t.hour, t.minute, t.second);
}

/* Steps that read well: the first that gives at most seven ticks. */
static int64_t tick_step(int64_t span_us)
{
    static const int64_t seconds[] = {1,   2,   5,    10,   15,   30,    60,    120,   300,
                                      600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400};
    size_t i = 0;
    while (i + 1 < sizeof seconds / sizeof *seconds && span_us / (seconds[i] * USEC_PER_SEC) > 7)
        i++;
    int64_t step = seconds[i] * USEC_PER_SEC;
    while (span_us / step > 7)
        step *= 2;
    return step;
}

static void draw_x_axis(struct buf *b, const struct x_axis *x, double y)
{
    int64_t span = x->to_us - x->from_us, step = tick_step(span > 0 ? span : USEC_PER_SEC);
    for (int64_t at = time_floor(x->from_us + step - 1, step); at <= x->to_us; at += step) {
        buf_addf(b, "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">", x_of(x, at), y);
        tick_text(b, at, span);
        buf_addz(b, "</text>");
    }
}

static void draw_zone(struct buf *b, const char *name, double from, double to)
{
    buf_addf(b, "<rect class=\"zone %s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>", name, LEFT, y_of(to),
             W - LEFT - RIGHT, y_of(from) - y_of(to));
}

static void draw_threshold(struct buf *b, const char *name, const char *words, double v)
{
    buf_addf(b, "<line class=\"threshold %s\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>", name, LEFT, W - RIGHT,
             y_of(v), y_of(v));
    buf_addf(b, "<text class=\"threshold-name %s\" x=\"%.1f\" y=\"%.1f\">%s %.2g</text>", name, W - RIGHT + 8,
             y_of(v) + 4, words, v);
}

static void draw_frame(struct buf *b, const struct thresholds *t)
{
    draw_zone(b, "potential", t->potential, t->detected);
    draw_zone(b, "detected", t->detected, 1);
    for (int i = 0; i <= 4; i++) {
        double v = i / 4.0;
        buf_addf(b, "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>", LEFT, W - RIGHT, y_of(v),
                 y_of(v));
        buf_addf(b, "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%.2f</text>", LEFT - 8, y_of(v) + 4, v);
    }
    draw_threshold(b, "potential", "possible", t->potential);
    draw_threshold(b, "detected", "drift", t->detected);
}

static void draw_line(struct buf *b, const struct x_axis *x, const struct chart_point *p, size_t n)
{
    bool pen = false;
    buf_addz(b, "<path class=\"line\" d=\"");
    for (size_t i = 0; i < n; i++) {
        int64_t width = p[i].end_us - p[i].start_us;
        if (i && p[i].start_us - p[i - 1].end_us > width / 2)
            pen = false;
        if (isnan(p[i].value)) {
            pen = false;
            continue;
        }
        buf_addf(b, "%c%.1f %.1f", pen ? 'L' : 'M', x_of(x, p[i].end_us), y_of(p[i].value));
        pen = true;
    }
    buf_addz(b, "\"/>");
}

static void draw_point(struct buf *b, const struct x_axis *x, const struct chart_point *p, double r)
{
    bool empty = isnan(p->value);
    double left = x_of(x, p->start_us), right = x_of(x, p->end_us);
    if (empty)
        buf_addf(b, "<rect class=\"gap\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"><title>", left, TOP,
                 fmax(right - left, 1), PLOT_H);
    else
        buf_addf(b, "<circle class=\"dot %s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"><title>", status_class(p->status),
                 right, y_of(p->value), r);
    tick_text(b, p->start_us, 0);
    buf_addz(b, " – ");
    tick_text(b, p->end_us, 0);
    buf_addz(b, " UTC: ");
    if (!empty)
        buf_addf(b, "%.3f, ", p->value);
    buf_addf(b, "%s</title></%s>", result_status_words(p->status), empty ? "rect" : "circle");
}

void chart_timeline(struct buf *b, const struct chart_point *p, size_t n, const struct thresholds *t)
{
    if (n == 0)
        return;
    const struct x_axis x = {p[0].start_us, p[n - 1].end_us};
    double r = n > 300 ? 2 : n > 120 ? 3 : 4.5;
    buf_addf(
        b,
        "<svg class=\"timeline\" viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"general drift of the last %zu "
        "windows\">",
        W, TOP + PLOT_H + AXIS_H, n);
    draw_frame(b, t);
    draw_line(b, &x, p, n);
    for (size_t i = 0; i < n; i++)
        draw_point(b, &x, &p[i], r);
    draw_x_axis(b, &x, TOP + PLOT_H + 19);
    buf_addz(b, "</svg>");
}

#define COLUMNS_H 56.0

void chart_columns(struct buf *b, const struct chart_column *c, size_t n, int64_t from_us, int64_t to_us, int64_t step_us)
{
    const struct x_axis x = {from_us, to_us};
    double max = 0;
    for (size_t i = 0; i < n; i++)
        max = c[i].value > max ? c[i].value : max;
    buf_addf(b, "<svg class=\"columns\" viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"predictions over time\">",
             W, COLUMNS_H + 8);
    buf_addf(b, "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>", LEFT, W - RIGHT, COLUMNS_H,
             COLUMNS_H);
    buf_addf(b, "<text class=\"tick\" x=\"%.1f\" y=\"14\" text-anchor=\"end\">", LEFT - 8);
    html_count(b, max);
    buf_addf(b, "</text><text class=\"threshold-name\" x=\"%.1f\" y=\"%.1f\">predictions</text>", W - RIGHT + 8,
             COLUMNS_H - 2);
    for (size_t i = 0; i < n && max > 0; i++) {
        double left = x_of(&x, c[i].start_us), right = x_of(&x, c[i].start_us + step_us),
               h = (COLUMNS_H - 6) * c[i].value / max;
        double gap = right - left > 4 ? 1 : 0;
        if (left < LEFT)
            left = LEFT;
        if (right > W - RIGHT)
            right = W - RIGHT;
        if (right <= left || h <= 0)
            continue;
        buf_addf(b, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"><title>", left, COLUMNS_H - h,
                 right - left - gap, h);
        tick_text(b, c[i].start_us, 0);
        buf_addf(b, " UTC: %.0f</title></rect>", c[i].value);
    }
    buf_addz(b, "</svg>");
}

void chart_bar(struct buf *b, double value, int status, const struct thresholds *t)
{
    const double w = 240, h = 18;
    buf_addf(b, "<svg class=\"bar\" viewBox=\"0 0 %.0f %.0f\" aria-hidden=\"true\">", w, h);
    buf_addf(b, "<rect class=\"track\" x=\"0\" y=\"4\" width=\"%.0f\" height=\"10\" rx=\"3\"/>", w);
    if (isfinite(value) && value > 0)
        buf_addf(b, "<rect class=\"fill %s\" x=\"0\" y=\"4\" width=\"%.1f\" height=\"10\" rx=\"3\"/>",
                 status_class(status), w * clamp01(value));
    buf_addf(b, "<line class=\"threshold potential\" x1=\"%.1f\" x2=\"%.1f\" y1=\"0\" y2=\"%.0f\"/>", w * t->potential,
             w * t->potential, h);
    buf_addf(b, "<line class=\"threshold detected\" x1=\"%.1f\" x2=\"%.1f\" y1=\"0\" y2=\"%.0f\"/></svg>",
             w * t->detected, w * t->detected, h);
}

static double total(const double *v, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += v[i];
    return sum;
}

static double highest(const double *v, size_t n, double sum)
{
    double max = 0;
    for (size_t i = 0; i < n; i++)
        max = v[i] > max ? v[i] : max;
    return sum > 0 ? max / sum : 0;
}

void chart_histogram(struct buf *b, const double *reference, const double *current, size_t n, int outer)
{
    const double w = 220, h = 40;
    double sum_r = total(reference, n), sum_c = total(current, n);
    double max = fmax(highest(reference, n, sum_r), highest(current, n, sum_c)), step = w / (double)n;
    buf_addf(b, "<svg class=\"hist\" viewBox=\"0 0 %.0f %.0f\" aria-hidden=\"true\">", w, h + 1);
    for (size_t i = 0; i < n && max > 0; i++) {
        double r = sum_r > 0 ? reference[i] / sum_r / max * h : 0, c = sum_c > 0 ? current[i] / sum_c / max * h : 0;
        const char *edge = outer && (i == 0 || i + 1 == n) ? " outer" : "";
        if (r > 0)
            buf_addf(b, "<rect class=\"ref%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>", edge,
                     step * (double)i, h - r, step - 0.6, r);
        if (c > 0)
            buf_addf(b, "<rect class=\"cur%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>", edge,
                     step * ((double)i + 0.22), h - c, step * 0.56, c);
    }
    buf_addf(b, "<line class=\"base\" x1=\"0\" x2=\"%.0f\" y1=\"%.1f\" y2=\"%.1f\"/></svg>", w, h + 0.5, h + 0.5);
}
