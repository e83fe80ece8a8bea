/* Collecting an app's answers. A mistake of the app (a bad name) is remembered and fails its window, not the process. */
#include "app/output.h"
#include <math.h>
#include "base/mem.h"
#include "event/names.h"
#include "json/reader.h"
#include "json/write.h"

/* A JSON object, as the writer will read it. */
static bool is_object(struct str json)
{
    const struct json_limits limits = {
        .bytes = RESULT_BYTES_MAX, .values = 4000000, .string_bytes = RESULT_BYTES_MAX, .accept_nan = true};
    struct json_reader r = {0};
    jr_init(&r, json.p, json.n, &limits);
    bool ok = jr_peek(&r) == JSON_OBJECT && jr_skip(&r, NULL) && jr_end(&r);
    jr_done(&r);
    return ok;
}

static void check_object(struct app_output *out, const struct app_item *it)
{
    if (!out->fault.text[0] && !is_object(it->json))
        (void)err_set(&out->fault, E_INVALID, "'%.60s': what it brings is no JSON object", it->name.p);
}

static struct app_item *add(struct app_output *out, const char *name)
{
    if (!name_is_metric(str_of(name)) && !out->fault.text[0])
        (void)err_set(&out->fault, E_INVALID, "'%.100s' is no name of a result or metric", name ? name : "");
    if (out->n == out->cap) {
        out->cap = out->cap ? out->cap * 2 : 8;
        out->items = mem_grow(out->items, out->cap, sizeof *out->items);
    }
    struct app_item *it = &out->items[out->n++];
    *it = (struct app_item){.name = arena_str(out->arena, str_of(name ? name : ""))};
    return it;
}

void app_result(struct app_output *out, const char *name, double value, enum result_kind kind, int status,
                struct str extra_json)
{
    struct app_item *it = add(out, name);
    it->type = RESULT_RESULT;
    it->value = value;
    it->kind = kind;
    it->status = status;
    it->json = extra_json.n ? arena_str(out->arena, extra_json) : STR("{}");
    if ((status < STATUS_IRRELEVANT || status > STATUS_DETECTED || (unsigned)kind >= RESULT_KINDS) && !out->fault.text[0])
        (void)err_set(&out->fault, E_INVALID, "result '%s': kind or status out of range", it->name.p);
    if (extra_json.n > RESULT_EXTRA_MAX && !out->fault.text[0])
        (void)err_set(&out->fault, E_INVALID, "result '%s': extra data of %zu bytes, %u allowed", it->name.p,
                      extra_json.n, RESULT_EXTRA_MAX);
    if (extra_json.n)
        check_object(out, it);
}

void app_metric(struct app_output *out, const char *name, double value)
{
    struct app_item *it = add(out, name);
    it->type = RESULT_METRIC;
    it->value = value;
}

void app_statistics(struct app_output *out, const char *name, struct str json, int64_t timestamp_us)
{
    struct app_item *it = add(out, name);
    it->type = RESULT_STATS;
    it->json = arena_str(out->arena, json);
    it->timestamp_us = timestamp_us;
    check_object(out, it);
}

void app_artifact(struct app_output *out, const struct app_input *in, const char *name, struct str json)
{
    app_statistics(out, name, json, in->end_us);
}

static bool past(double value, double line, bool low)
{
    return !isnan(line) && (low ? value <= line : value >= line);
}

enum result_status app_judge(double value, const struct app_thresholds *t)
{
    bool low = t->detected < t->potential;
    if (isnan(value) || (isnan(t->potential) && isnan(t->detected)))
        return STATUS_IRRELEVANT;
    if (past(value, t->detected, low))
        return STATUS_DETECTED;
    return past(value, t->potential, low) ? STATUS_POTENTIAL : STATUS_NO_DETECTION;
}

rc_t app_check_shares(double potential, double detected, struct err *e)
{
    if (potential > 0 && potential <= detected && detected <= 1)
        return OK;
    return err_set(e, E_INVALID, "0 < potential <= detected <= 1 must hold, they are %g and %g", potential, detected);
}

void app_result_judged(struct app_output *out, const char *name, double value, enum result_kind kind,
                       const struct app_thresholds *t, struct str extra_json)
{
    struct buf extra = {0};
    struct json_writer w;
    jw_init(&w, &extra, JSON_NAN_NULL);
    jw_object(&w);
    jw_kv_f64(&w, "potential", t->potential);
    jw_kv_f64(&w, "detected", t->detected);
    jw_object_end(&w);
    if (extra_json.n > 2) { /* "{…}" behind "{a,b": one object */
        extra.data[extra.len - 1] = ',';
        buf_add(&extra, extra_json.p + 1, extra_json.n - 1);
    }
    app_result(out, name, value, kind, (int)app_judge(value, t), buf_str(&extra));
    buf_done(&extra);
}

void app_output_done(struct app_output *out)
{
    mem_free(out->items);
    out->items = NULL;
    out->n = out->cap = 0;
}

void app_output_encode(const struct app_item *it, const struct app_input *in, struct str traceparent, struct buf *to)
{
    const struct result_event ev = {
        .project = in->project,
        .endpoint_id = str_of(in->endpoint->uid),
        .endpoint_name = str_of(in->endpoint->name),
        .application_name = in->application,
        .traceparent = traceparent,
        .start_us = in->start_us,
        .end_us = in->end_us,
        .revision = in->revision,
        .reference_version = in->reference ? in->reference->version : 0,
        .reference_auto = in->reference && in->reference->automatic,
        .is_exact = true,
        .event_kind = it->type,
        .name = it->name,
        .value = it->value,
        .kind = it->kind,
        .status = (enum result_status)it->status,
        .extra_data = it->type == RESULT_RESULT ? it->json : STR("{}"),
        .stats = it->type == RESULT_STATS ? it->json : STR("{}"),
        .timestamp_us = it->timestamp_us,
    };
    result_encode(&ev, to);
}
