/* Window events: decoded and queued by record(); in prepare() each is loaded, tracked, encoded and sent. A replay sends
 * the same bytes again, so a crash between acknowledgement and ledger changes nothing. */
#include "app/events.h"
#include <stdio.h>
#include "app/guard.h"
#include "app/output.h"
#include "base/clock.h"
#include "base/crash.h"
#include "base/mem.h"
#include "json/write.h"
#include "log/log.h"
#include "metrics/metrics.h"

#define WINDOW_US_MAX (31 * USEC_PER_DAY)
#define BYTES_MAX (16u << 20)
#define SEND_TIMEOUT_US (10 * USEC_PER_SEC)
#define TOPIC_TIMEOUT_US (2 * USEC_PER_SEC)
#define ENVELOPE_BYTES 4096 /* key, headers and framing beside the value */

enum { M_WINDOWS, M_SECONDS, M_OUTPUTS, M_MISSING };
static const struct metric_row rows[] = {
    [M_WINDOWS] = {.name = "modelmon_app_windows_total",
                   .kind = METRIC_COUNTER,
                   .help = "Window events handled, by outcome; failed ones are dead letters.",
                   .labels = {{.name = "outcome", .values = (const char *const[]){"tracked", "failed", NULL}}}},
    [M_SECONDS] = {.name = "modelmon_app_window_seconds", .kind = METRIC_HISTOGRAM, .help = "Loading and tracking of one window."},
    [M_OUTPUTS] = {.name = "modelmon_app_outputs_total",
                   .kind = METRIC_COUNTER,
                   .help = "Results, metrics and statistics acknowledged by the bus."},
    [M_MISSING] = {.name = "modelmon_app_rows_missing_total",
                   .kind = METRIC_COUNTER,
                   .help =
                       "Rows of windows that were counted under another schema or reference and are not in the lake."},
};
static struct metric_set metrics = METRIC_SET(rows);
enum { OUTCOME_TRACKED, OUTCOME_FAILED };

enum event_state { EVENT_NEW, EVENT_TRACKED, EVENT_DEAD };
struct app_event {
    struct pipeline_part *part;
    int64_t offset, timestamp_us;
    struct str value, traceparent;
    struct window_event ev; /* borrows from value and the arena */
    enum event_state state;
    struct str *outputs; /* encoded, in the arena */
    size_t n_outputs;
    const char *topic; /* of the project's writer, in the arena */
    struct str uid;
};

void app_events_metrics(void)
{
    metrics_register(&metrics);
}

static void bury(struct app_events *a, struct app_event *it, const struct reject *why)
{
    const struct pipeline_record r = {
        .part = it->part, .offset = it->offset, .timestamp_us = it->timestamp_us, .value = it->value};
    it->state = EVENT_DEAD;
    dead_letters_note(a->dead, &r, why);
    metric_add(metrics_at(&metrics, M_WINDOWS, OUTCOME_FAILED, 0), 1);
}

/* ---- in ---- */
static rc_t check_event(const struct app_events *a, const struct app_event *it, struct reject *why)
{
    const struct window_event *ev = &it->ev;
    const struct function_project *p = function_topics_project(a->topics, it->part->project_id);
    if (!p)
        return reject_set(why, REJECT_UNKNOWN_PROJECT, NULL, 0, "the project was deleted, or this app does not serve it");
    if (ev->project.n && !str_eqz(ev->project, p->name))
        return reject_set(why, REJECT_PROJECT_MISMATCH, "modelmon.project", 0, "the event names another project");
    if (!str_eq(ev->application_name, a->name))
        return reject_set(why, REJECT_UNKNOWN_APP, "application_name", 0, "the event is for another application");
    if (ev->start_us >= ev->end_us)
        return reject_set(why, REJECT_BAD_TIME, "end_infer_time", 0, "the window ends before it begins");
    if (ev->end_us - ev->start_us > WINDOW_US_MAX)
        return reject_set(why, REJECT_BAD_VALUE, "end_infer_time", 0, "the window is longer than 31 days");
    if (ev->revision < 0 || ev->revision > INT32_MAX)
        return reject_set(why, REJECT_BAD_VALUE, "modelmon.revision", 0, "not a revision");
    return OK;
}

static rc_t events_record(void *self, const struct pipeline_record *r, struct err *e)
{
    struct app_events *a = self;
    struct reject why = {0};
    (void)e; /* nothing is asked of anybody here */
    if (r->warmup)
        return OK;
    if (a->n == a->cap) {
        a->cap = a->cap ? a->cap * 2 : 64;
        a->items = mem_grow(a->items, a->cap, sizeof *a->items);
    }
    if (a->n == 0)
        a->oldest_us = clock_mono_us();
    struct app_event *it = &a->items[a->n++];
    *it = (struct app_event){.part = r->part, .offset = r->offset, .timestamp_us = r->timestamp_us};
    it->value = arena_str(&a->mem, r->value);
    it->traceparent = arena_str(&a->mem, r->traceparent);
    a->bytes += (int64_t)r->value.n;
    rc_t rc = window_decode(it->value.p, it->value.n, &a->mem, &it->ev, &why);
    if (!rc)
        rc = check_event(a, it, &why);
    if (rc)
        bury(a, it, &why);
    return OK;
}

static bool events_due(void *self, int64_t mono_us)
{
    const struct app_events *a = self;
    return a->n > 0 &&
           ((int64_t)a->n >= a->batch_max || a->bytes >= (int64_t)BYTES_MAX || mono_us - a->oldest_us >= a->batch_us);
}

/* ---- one window ---- */
static rc_t keep_outputs(struct app_events *a, struct app_event *it, const struct app_output *out,
                         const struct app_input *in, struct reject *why)
{
    it->outputs = arena_array(&a->mem, out->n + 1, sizeof *it->outputs);
    for (size_t i = 0; i < out->n; i++) {
        struct buf text = {0};
        app_output_encode(&out->items[i], in, it->traceparent, &text);
        size_t n = text.len;
        it->outputs[i] = arena_str(&a->mem, buf_str(&text));
        buf_done(&text);
        if (n > BUS_MESSAGE_MAX - ENVELOPE_BYTES)
            return reject_set(why, REJECT_APP_FAILED, NULL, 0,
                              "its output '%.60s' has %zu bytes, more than the bus takes", out->items[i].name.p, n);
    }
    it->n_outputs = out->n;
    return OK;
}

struct track_call {
    const struct app_events *a;
    const struct app_input *in;
    struct app_output *out;
};

static rc_t call_app(void *arg, struct err *e)
{
    const struct track_call *c = arg;
    return c->a->app->track(c->a->opts, c->in, c->out, e);
}

/* E_INVALID: *why says it. */
static rc_t track(struct app_events *a, struct app_event *it, struct app_input *in, struct reject *why, struct err *e)
{
    if (a->aside)
        return reject_set(why, REJECT_APP_FAILED, NULL, 0, "%s", a->aside);
    struct app_output out = {.arena = in->arena};
    struct track_call call = {a, in, &out};
    char name[GUARD_NAME_MAX + 1];
    (void)snprintf(name, sizeof name, "%s %.255s/%d/%lld", a->app->name, it->part->topic, it->part->partition,
                   (long long)it->offset);
    if (guard_left(name, a->timeout_us, e))
        return reject_set(why, REJECT_APP_FAILED, NULL, 0, "%.150s", e->text);
    rc_t rc = guard_call(call_app, &call, a->timeout_us, name, e);
    if (rc == OK && out.fault.text[0]) {
        *e = out.fault;
        rc = E_INVALID;
    }
    if (rc == OK)
        rc = keep_outputs(a, it, &out, in, why);
    else if (rc != E_AGAIN)
        rc = reject_set(why, REJECT_APP_FAILED, NULL, 0, "%.150s", e->text);
    app_output_done(&out);
    return rc;
}

/* The endpoint says so too: one result in place of the app's. */
static void tell_failure(struct app_events *a, struct app_event *it, const struct app_input *in, const struct reject *why)
{
    struct app_output out = {.arena = &a->mem};
    struct reject ignored = {0};
    struct json_writer w;
    struct buf extra = {0};
    jw_init(&w, &extra, JSON_NAN_NULL);
    jw_object(&w);
    jw_kv_strz(&w, "reason", "app_failed");
    jw_kv_strz(&w, "detail", why->text);
    jw_object_end(&w);
    app_result(&out, "app_failed", 1, KIND_APP_ANOMALY, STATUS_POTENTIAL, buf_str(&extra));
    (void)keep_outputs(a, it, &out, in, &ignored); /* one small result always fits */
    app_output_done(&out);
    buf_done(&extra);
}

static rc_t load(struct app_events *a, struct db *db, struct app_event *it, struct arena *mem, struct app_input *in,
                 struct slot **ret_window, struct reject *why, struct err *e)
{
    const struct function_project *p = function_topics_project(a->topics, it->part->project_id);
    if (!p)
        return reject_set(why, REJECT_UNKNOWN_PROJECT, NULL, 0, "the project was deleted");
    rc_t rc = input_load(&a->loader, db, it->part->project_id, &it->ev, mem, in, ret_window, why, e);
    if (rc)
        return rc;
    char topic[NAME_TOPIC_MAX + 1];
    in->project = str_of(p->name);
    in->application = a->name;
    rc = topic_function(topic, a->system_id, in->project, str_of(function_name(FUNCTION_WRITER)), e);
    it->topic = arena_dup(&a->mem, topic, strlen(topic));
    it->uid = arena_str(&a->mem, str_of(in->endpoint->uid));
    return rc;
}

static rc_t handle(struct app_events *a, struct db *db, struct app_event *it, struct err *e)
{
    int64_t began = clock_mono_us();
    struct arena mem = {0};
    struct app_input in = {0};
    struct slot *window = NULL;
    struct reject why = {0};
    rc_t rc = load(a, db, it, &mem, &in, &window, &why, e);
    if (!rc)
        rc = track(a, it, &in, &why, e);
    CRASH_POINT(app_track);
    if (!rc) {
        it->state = EVENT_TRACKED;
        metric_add(metrics_at(&metrics, M_WINDOWS, OUTCOME_TRACKED, 0), 1);
        metric_add(metrics_at(&metrics, M_MISSING, 0, 0), in.rows_missing);
    }
    if (rc == E_INVALID && why.code == REJECT_APP_FAILED && in.endpoint && it->topic)
        tell_failure(a, it, &in, &why);
    slot_free(window);
    arena_done(&mem);
    metric_observe(metrics_at(&metrics, M_SECONDS, 0, 0), (double)(clock_mono_us() - began) * 1e-6);
    if (rc == E_INVALID && why.code != REJECT_NONE) {
        bury(a, it, &why);
        return OK;
    }
    return rc;
}

/* ---- out ---- */
static rc_t ensure_topic(struct app_events *a, const char *topic, struct err *e)
{
    int32_t partitions = 0;
    if (map_get(&a->writer_topics, str_of(topic)))
        return OK;
    rc_t rc = bus_topic_ensure(a->producer, topic, 0, &partitions, TOPIC_TIMEOUT_US, e);
    if (!rc)
        map_put(&a->writer_topics, str_of(topic), a);
    return rc;
}

static rc_t send_event(struct app_events *a, const struct app_event *it, size_t *inout_sent, struct err *e)
{
    const struct bus_header trace = {"traceparent", it->traceparent};
    rc_t rc = it->n_outputs ? ensure_topic(a, it->topic, e) : OK;
    for (size_t i = 0; !rc && i < it->n_outputs; i++) {
        rc = acks_produce(&a->acks, a->producer, it->topic, it->uid, it->outputs[i], &trace, it->traceparent.n ? 1 : 0,
                          SEND_TIMEOUT_US, e);
        CRASH_POINT(app_produce);
        *inout_sent += rc == OK;
    }
    return rc;
}

static rc_t send_all(struct app_events *a, struct pipeline_part *const *parts, size_t n, struct err *e)
{
    size_t sent = 0;
    rc_t rc = OK;
    for (size_t i = 0; !rc && i < a->n; i++)
        if (a->items[i].n_outputs && pipeline_has(parts, n, a->items[i].part))
            rc = send_event(a, &a->items[i], &sent, e);
    struct err waited = {{0}};
    rc_t acked = sent ? acks_wait(&a->acks, SEND_TIMEOUT_US, rc ? &waited : e) : OK;
    if (!rc)
        rc = acked;
    if (sent)
        CRASH_POINT(app_ack);
    if (!rc)
        metric_add(metrics_at(&metrics, M_OUTPUTS, 0, 0), (int64_t)sent);
    if (rc) { /* the topic may have been deleted: ask again, and send all of it again */
        map_done(&a->writer_topics);
        a->writer_topics = (struct map){0};
    }
    return rc == E_INVALID ? E_AGAIN : rc;
}

static rc_t events_prepare(void *self, struct db *db, struct pipeline_part *const *parts, size_t n, struct err *e)
{
    struct app_events *a = self;
    rc_t rc = OK;
    for (size_t i = 0; !rc && i < a->n; i++)
        if (a->items[i].state == EVENT_NEW && pipeline_has(parts, n, a->items[i].part))
            rc = handle(a, db, &a->items[i], e);
    if (!rc)
        rc = send_all(a, parts, n, e);
    return rc ? rc : dead_letters_prepare(a->dead, db, parts, n, e);
}

static rc_t events_write(void *self, struct db *db, struct pipeline_part *const *parts, size_t n, struct err *e)
{
    struct app_events *a = self;
    return dead_letters_write(a->dead, db, parts, n, e);
}

static void events_forget(void *self, const struct pipeline_part *part, bool committed)
{
    struct app_events *a = self;
    size_t kept = 0;
    (void)committed; /* what was sent is sent; the ledger says whether it is sent again */
    for (size_t i = 0; i < a->n; i++)
        if (part && a->items[i].part != part)
            a->items[kept++] = a->items[i];
    a->n = kept;
    if (kept == 0) {
        arena_reset(&a->mem);
        a->bytes = 0;
    }
    dead_letters_done(a->dead, part);
}

void app_events_done(struct app_events *a)
{
    if (!a->app)
        return;
    dead_letters_free(a->dead);
    acks_done(&a->acks);
    input_loader_done(&a->loader);
    map_done(&a->writer_topics);
    arena_done(&a->mem);
    mem_free(a->items);
}

const struct pipeline_ops app_events_ops = {
    .record = events_record,
    .due = events_due,
    .prepare = events_prepare,
    .write = events_write,
    .done = events_forget,
};
