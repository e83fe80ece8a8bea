/* What the page of one endpoint shows, read before anything is drawn. */
#pragma once
#include "api.h"
#include "chart.h"
#include "db/slot.h"
#include "features.h"
#include "lake/lake.h"
#include "store.h"

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
    struct drift_extra extra; /* of the newest window */
    struct refused refused;   /* in 24 h, as far as the records name this endpoint */
    struct schema schema;     /* in force; empty: none */
    int64_t now;
};

const struct drift_point *view_newest(const struct view *v);     /* NULL: no window yet */
const struct drift_point *view_prediction(const struct view *v); /* of the newest window; NULL: it has none */
/* Parts of the page (page_drift.c). */
void draw_tiles(struct buf *b, const struct view *v);
void draw_timeline(struct call *c, struct buf *b, const struct view *v); /* only with a window */
size_t view_lost(const struct feature_views *f); /* inputs that the window gave nothing to compare of */
void draw_summary(struct buf *b, const struct view *v, const struct feature_views *f);
void draw_features(struct buf *b, const struct view *v, const struct feature_views *f);
