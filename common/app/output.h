/* What an app answered for one window, and its way onto the wire. */
#pragma once
#include "app/app.h"

struct app_item {
    enum result_event_kind type;
    struct str name;
    double value;
    enum result_kind kind;
    int status;
    struct str json;      /* extra data, or statistics */
    int64_t timestamp_us; /* of statistics */
};
struct app_output {
    struct arena *arena; /* owns what the items hold; the caller's */
    struct app_item *items;
    size_t n, cap;
    struct err fault; /* what the app did wrong; empty: nothing */
};
void app_output_done(struct app_output *out);
/* The writer's event of one item; the same item gives the same bytes. */
void app_output_encode(const struct app_item *it, const struct app_input *in, struct str traceparent, struct buf *to);
