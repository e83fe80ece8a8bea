/* The pipeline's handler of an app: window events in, results out and acknowledged, then the ledger. */
#pragma once
#include "app/app.h"
#include "app/input.h"
#include "app/topics.h"
#include "base/map.h"
#include "pipeline/acks.h"
#include "pipeline/deadletter.h"

struct app_events {
    const struct app *app;
    const void *opts; /* the app's own */
    struct str name;  /* of the application */
    const char *system_id;
    int64_t batch_us, batch_max; /* a flush at this age or this many windows */
    int64_t timeout_us;          /* of one window; 0: none */
    struct function_topics *topics;
    struct bus_producer *producer;
    struct dead_letters *dead;
    struct input_loader loader;
    struct acks acks;
    struct map writer_topics; /* those that are known to exist */
    struct arena mem;         /* of the items; given back when none is left */
    struct app_event *items;
    size_t n, cap;
    int64_t oldest_us, bytes;
    const char *aside; /* why no window is given to the app any more: each fails with these words; NULL: they are */
};
void app_events_done(struct app_events *a);      /* after the producer was freed */
extern const struct pipeline_ops app_events_ops; /* self: a struct app_events */
void app_events_metrics(void);
