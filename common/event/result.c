/* The writer's event. */
#include "event/result.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/time.h"
#include "event/envelope.h"
#include "event/names.h"

static const struct json_limits limits = {
    .values = 400000, .bytes = RESULT_BYTES_MAX, .string_bytes = RESULT_BYTES_MAX, .accept_nan = true};

static const char *const event_kinds[] = {[RESULT_RESULT] = "result", [RESULT_METRIC] = "metric", [RESULT_STATS] = "stats"};
static const char *const kinds[RESULT_KINDS] = {
    [KIND_DATA_DRIFT] = "data_drift",
    [KIND_CONCEPT_DRIFT] = "concept_drift",
    [KIND_MODEL_PERFORMANCE] = "model_performance",
    [KIND_SYSTEM_PERFORMANCE] = "system_performance",
    [KIND_APP_ANOMALY] = "mm_app_anomaly",
};
static const char *const statuses[] = {"irrelevant", "no_detection", "potential_detection", "detected"};

const char *result_event_kind_name(enum result_event_kind kind)
{
    return event_kinds[kind];
}

const char *result_kind_name(enum result_kind kind)
{
    return kinds[kind];
}

const char *result_status_words(int status)
{
    static const char *const words[] = {"no verdict", "no drift", "possible drift", "drift detected"};
    return words[status < STATUS_IRRELEVANT || status > STATUS_DETECTED ? 0 : status + 1];
}

const char *result_found_words(int status)
{
    static const char *const words[] = {"no verdict", "fine", "possible problem", "problem"};
    return words[status < STATUS_IRRELEVANT || status > STATUS_DETECTED ? 0 : status + 1];
}

const char *result_status_name(enum result_status status)
{
    return statuses[status + 1];
}

/* --- encoding */

static void write_data(struct json_writer *w, const struct result_event *ev)
{
    char text[TIME_TEXT];
    jw_object(w);
    switch (ev->event_kind) {
    case RESULT_RESULT:
        jw_kv_str(w, "result_name", ev->name);
        jw_kv_f64(w, "result_value", ev->value);
        jw_kv_i64(w, "result_kind", ev->kind);
        jw_kv_i64(w, "result_status", ev->status);
        jw_kv_str(w, "result_extra_data", ev->extra_data.n > 0 ? ev->extra_data : STR("{}"));
        break;
    case RESULT_METRIC:
        jw_kv_str(w, "metric_name", ev->name);
        jw_kv_f64(w, "metric_value", ev->value);
        break;
    case RESULT_STATS: {
        jw_kv_str(w, "stats_name", ev->name);
        jw_kv_raw(w, "stats", ev->stats.n > 0 ? ev->stats : STR("{}"));
        size_t n = time_mlrun(text, ev->timestamp_us);
        jw_kv_str(w, "timestamp", (struct str){text, n});
        break;
    }
    }
    jw_object_end(w);
}

void result_encode(const struct result_event *ev, struct buf *out)
{
    struct json_writer w;
    const struct envelope env = {.project = ev->project,
                                 .traceparent = ev->traceparent,
                                 .start_us = ev->start_us,
                                 .end_us = ev->end_us,
                                 .revision = ev->revision,
                                 .reference_version = ev->reference_version};
    jw_init(&w, out, JSON_NAN_TOKEN);
    jw_object(&w);
    jw_kv_str(&w, "endpoint_name", ev->endpoint_name);
    jw_kv_str(&w, "application_name", ev->application_name);
    jw_kv_str(&w, "endpoint_id", ev->endpoint_id);
    envelope_write_times(&w, ev->start_us, ev->end_us);
    jw_kv_strz(&w, "event_kind", result_event_kind_name(ev->event_kind));
    jw_key(&w, "data");
    size_t mark = jw_nested(&w);
    write_data(&w, ev);
    jw_nested_end(&w, mark);
    envelope_write(&w, &env);
    if (ev->reference_auto)
        jw_kv_bool(&w, "reference_auto", true);
    jw_object_end(&w);
    jw_object_end(&w);
}

/* --- decoding */

struct head {
    struct envelope_head both;
    struct envelope_text event_kind, data;
};

/* The payload: which keys it may have follows from the kind. */
struct payload {
    struct envelope_text name, extra_data, timestamp;
    double value;
    int64_t kind, status;
    bool has_value, has_kind, has_status;
    struct str stats;
};

static bool read_int(struct json_reader *r, int64_t *ret, bool *set)
{
    if (jr_take_null(r))
        return true;
    *set = true;
    return jr_i64(r, ret);
}

static bool read_value(struct json_reader *r, struct payload *pay)
{
    if (jr_take_null(r)) { /* NaN, from a writer that keeps to JSON's own numbers */
        pay->value = NAN;
        return pay->has_value = true;
    }
    return pay->has_value = jr_f64(r, &pay->value);
}

static bool read_stats(struct json_reader *r, struct payload *pay)
{
    if (jr_peek(r) != JSON_OBJECT)
        return jr_object(r);
    return jr_skip(r, &pay->stats);
}

static bool read_payload(struct json_reader *r, enum result_event_kind kind, struct payload *pay)
{
    static const char *const names[] = {"result_name", "metric_name", "stats_name"};
    struct str key;
    if (!jr_object(r))
        return false;
    while (jr_key(r, &key)) {
        bool ok;
        if (str_eqz(key, names[kind]))
            ok = envelope_read_text(r, &pay->name);
        else if (str_eqz(key, kind == RESULT_METRIC ? "metric_value" : "result_value") && kind != RESULT_STATS)
            ok = read_value(r, pay);
        else if (str_eqz(key, "result_kind") && kind == RESULT_RESULT)
            ok = read_int(r, &pay->kind, &pay->has_kind);
        else if (str_eqz(key, "result_status") && kind == RESULT_RESULT)
            ok = read_int(r, &pay->status, &pay->has_status);
        else if (str_eqz(key, "result_extra_data") && kind == RESULT_RESULT)
            ok = envelope_read_text(r, &pay->extra_data);
        else if (str_eqz(key, "stats") && kind == RESULT_STATS)
            ok = read_stats(r, pay);
        else if (str_eqz(key, "timestamp") && kind == RESULT_STATS)
            ok = envelope_read_text(r, &pay->timestamp);
        else
            ok = jr_skip(r, NULL);
        if (!ok)
            return false;
    }
    return jr_end(r);
}

static rc_t settle_kind(const struct head *h, enum result_event_kind *ret, struct reject *why)
{
    *ret = RESULT_RESULT;
    if (h->event_kind.s.p == NULL)
        return OK;
    for (unsigned i = 0; i < sizeof event_kinds / sizeof *event_kinds; i++)
        if (str_eqz(h->event_kind.s, event_kinds[i])) {
            *ret = (enum result_event_kind)i;
            return OK;
        }
    return reject_set(why, REJECT_UNKNOWN_KIND, "event_kind", h->event_kind.at, "result, metric and stats are known");
}

static rc_t settle_head(const struct head *h, struct result_event *ev, struct reject *why)
{
    rc_t rc = envelope_settle(&h->both, &ev->start_us, &ev->end_us, why);
    if (rc == OK)
        rc = envelope_need(&h->data, "data", NULL, why);
    return rc ? rc : settle_kind(h, &ev->event_kind, why);
}

/* Extra data must be a JSON object too, so that whoever reads it back can. */
static rc_t settle_extra(const struct payload *pay, struct json_reader *r, struct result_event *ev, struct reject *why)
{
    struct str s = pay->extra_data.s;
    ev->extra_data = STR("{}");
    if (s.n == 0)
        return OK;
    if (s.n > RESULT_EXTRA_MAX)
        return reject_set(why, REJECT_TOO_LARGE, "data.result_extra_data", pay->extra_data.at,
                          "extra data may have %u bytes, these are %zu", RESULT_EXTRA_MAX, s.n);
    jr_init(r, s.p, s.n, &limits);
    if (jr_peek(r) != JSON_OBJECT || !jr_skip(r, NULL) || !jr_end(r))
        return reject_set(why, REJECT_MALFORMED_JSON, "data.result_extra_data", pay->extra_data.at,
                          "extra data is no JSON object");
    ev->extra_data = s;
    return OK;
}

static rc_t settle_result(const struct payload *pay, struct json_reader *r, struct result_event *ev, struct reject *why)
{
    if (!pay->has_kind || !pay->has_status)
        return reject_set(why, REJECT_MISSING_FIELD, pay->has_kind ? "data.result_status" : "data.result_kind", 0,
                          "a result needs its kind and status");
    if (pay->kind < 0 || pay->kind >= RESULT_KINDS)
        return reject_set(why, REJECT_BAD_VALUE, "data.result_kind", 0, "kinds are 0 to %d", RESULT_KINDS - 1);
    if (pay->status < STATUS_IRRELEVANT || pay->status > STATUS_DETECTED)
        return reject_set(why, REJECT_BAD_VALUE, "data.result_status", 0, "statuses are -1 to 2");
    ev->kind = (enum result_kind)pay->kind;
    ev->status = (enum result_status)pay->status;
    return settle_extra(pay, r, ev, why);
}

static rc_t settle_stats(const struct payload *pay, struct result_event *ev, struct reject *why)
{
    if (pay->stats.p == NULL)
        return reject_set(why, REJECT_MISSING_FIELD, "data.stats", 0, "data.stats is missing");
    ev->stats = pay->stats;
    ev->timestamp_us = ev->end_us;
    if (pay->timestamp.s.p != NULL && time_parse(pay->timestamp.s, 0, &ev->timestamp_us) != OK)
        return reject_set(why, REJECT_BAD_TIME, "data.timestamp", pay->timestamp.at, "this is no ISO 8601 time");
    return OK;
}

static rc_t settle_payload(const struct payload *pay, struct json_reader *r, struct result_event *ev, struct reject *why)
{
    static const char *const names[] = {"data.result_name", "data.metric_name", "data.stats_name"};
    rc_t rc = envelope_need(&pay->name, names[ev->event_kind], name_is_metric, why);
    if (rc != OK)
        return rc;
    if (ev->event_kind != RESULT_STATS && !pay->has_value)
        return reject_set(why, REJECT_MISSING_FIELD,
                          ev->event_kind == RESULT_METRIC ? "data.metric_value" : "data.result_value", 0,
                          "the value is missing");
    ev->name = pay->name.s;
    ev->value = pay->value;
    return ev->event_kind == RESULT_RESULT  ? settle_result(pay, r, ev, why)
           : ev->event_kind == RESULT_STATS ? settle_stats(pay, ev, why)
                                            : OK;
}

/* What is not said is an empty text. */
static void fill_texts(struct result_event *ev)
{
    struct str *const texts[] = {&ev->project, &ev->traceparent, &ev->extra_data, &ev->stats};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i]->p == NULL)
            *texts[i] = STR("");
}

static rc_t decode_payload(struct str data, struct json_reader *r, struct arena *a, struct result_event *ev,
                           struct reject *why)
{
    struct payload pay = {.value = 0};
    jr_init(r, data.p, data.n, &limits);
    jr_strings(r, a);
    if (read_payload(r, ev->event_kind, &pay))
        return settle_payload(&pay, r, ev, why);
    (void)reject_reader(why, r);
    char field[sizeof why->field];
    int n = snprintf(field, sizeof field, "data%s%.80s", why->field[0] ? "." : "", why->field);
    memcpy(why->field, field, (size_t)n < sizeof field ? (size_t)n + 1 : sizeof field);
    return E_INVALID;
}

rc_t result_decode(const char *p, size_t n, struct arena *a, struct result_event *ret, struct reject *why)
{
    struct json_reader r = {0}; /* of the event, then of the payload in it, then of the extra data in that */
    struct head h = {.both = {.own = {.reference_version = -1}}};
    const struct envelope_field more[] = {{STR("event_kind"), &h.event_kind}, {STR("data"), &h.data}};
    const struct envelope *env = &h.both.own;
    struct result_event ev = {.value = 0};
    jr_init(&r, p, n, &limits);
    jr_strings(&r, a);
    rc_t rc = envelope_read_event(&r, NULL, &h.both, more, sizeof more / sizeof *more) ? settle_head(&h, &ev, why)
                                                                                       : reject_reader(why, &r);
    if (rc == OK)
        rc = decode_payload(h.data.s, &r, a, &ev, why);
    if (rc == OK) {
        ev.project = env->project;
        ev.traceparent = env->traceparent;
        ev.endpoint_id = h.both.endpoint_id.s;
        ev.endpoint_name = h.both.endpoint_name.s;
        ev.application_name = h.both.application_name.s;
        ev.revision = env->revision;
        ev.reference_version = env->reference_version;
        ev.is_exact = envelope_is_exact(&h.both);
        fill_texts(&ev);
        *ret = ev;
    }
    jr_done(&r);
    return rc;
}
