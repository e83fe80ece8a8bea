/* The inference event: what the fields read by fields.c and the rows read by rows.c make together. */
#include "event/inference.h"

#include <string.h>

#include "base/mem.h"
#include "base/time.h"
#include "event/decoder.h"

static rc_t settle_project(struct inference_decoder *d, struct reject *why)
{
    struct inference_event *ev = &d->ev;
    struct err e;
    if (ev->project.n > 0 && !name_is_project(ev->project))
        return reject_set(why, REJECT_BAD_NAME, "project", d->project_at, "this is no name of a project");
    if (ev->function_uri.n > 0 && function_uri_parse(ev->function_uri, &ev->function, &e) != OK)
        return reject_set(why, REJECT_BAD_NAME, "function_uri", d->uri_at, "%s", e.text);
    if (ev->project.n == 0)
        ev->project = ev->function.project;
    else if (ev->function.project.n > 0 && !str_eq(ev->project, ev->function.project))
        return reject_set(why, REJECT_PROJECT_MISMATCH, "function_uri", d->uri_at,
                          "the event's project is another than its function's");
    return OK;
}

/* A model and no rows: what was sent as rows stands under names that no form has. */
static bool has_no_rows(const struct inference_decoder *d)
{
    return d->ev.kind == INFERENCE_PREDICTION && d->ev.model.n > 0 && d->ev.function_uri.n == 0 && !d->has_request &&
           !d->has_resp && d->inputs.form == ROWS_ABSENT && d->outputs.form == ROWS_ABSENT;
}

/* An old sender names no endpoint: MLRun made the uid of function, model and version. */
static rc_t make_uid(struct inference_decoder *d, struct reject *why)
{
    struct inference_event *ev = &d->ev;
    struct function_uri uri = ev->function;
    struct str model = ev->model, version = d->version.n > 0 ? d->version : STR("latest");
    const char *colon = model.n > 0 ? memchr(model.p, ':', model.n) : NULL;
    if (has_no_rows(d))
        return reject_set(
            why, REJECT_MISSING_INPUTS, "inputs", 0,
            "the event has neither inputs nor outputs: \"inputs\", a list of rows, and \"outputs\", one a row");
    if (model.n == 0 || uri.function.n == 0 || ev->project.n == 0)
        return reject_set(why, REJECT_MISSING_ENDPOINT, "endpoint_id", 0,
                          "there is no endpoint_id, nor function_uri and model to make it of");
    if (colon != NULL) {
        version = (struct str){colon + 1, (size_t)(model.p + model.n - colon - 1)};
        model.n = (size_t)(colon - model.p);
    }
    uri.project = ev->project;
    uid_legacy(d->legacy, &uri, model, version);
    ev->uid_alias = (struct str){d->legacy, 40};
    ev->uid = (struct str){d->legacy, UID_LEGACY_LEN};
    return OK;
}

static rc_t settle_endpoint(struct inference_decoder *d, struct reject *why)
{
    struct inference_event *ev = &d->ev;
    if (ev->endpoint_id.n == 0)
        return ev->is_plain ? plain_make_uid(d, why) : make_uid(d, why);
    if (!name_is_uid(ev->endpoint_id))
        return reject_set(why, REJECT_BAD_NAME, "endpoint_id", d->endpoint_at,
                          "an endpoint id is 1 to %d letters, digits, _ and -", NAME_UID_MAX);
    ev->uid = ev->endpoint_id;
    if (uid_is_legacy(ev->endpoint_id)) {
        ev->uid_alias = ev->endpoint_id;
        ev->uid.n = UID_LEGACY_LEN;
    }
    return OK;
}

static rc_t settle_when(struct inference_decoder *d, struct reject *why)
{
    bool may_miss = d->ev.is_ingest || d->ev.is_plain;
    bool use_timestamp = d->when.p == NULL && may_miss;
    struct str text = use_timestamp ? d->timestamp : d->when;
    const char *field = use_timestamp ? "timestamp" : "when";
    if (text.p == NULL && may_miss)
        return OK;
    if (text.p == NULL)
        return reject_set(why, REJECT_MISSING_WHEN, field, d->when_at, "the event does not say when it happened");
    if (time_parse(text, 0, &d->ev.when_us) != OK)
        return reject_set(why, REJECT_BAD_TIME, field, use_timestamp ? d->timestamp_at : d->when_at,
                          "this is no ISO 8601 time");
    return OK;
}

/* MLRun's own words for its ingest form. */
static rc_t check_ingest_fields(const struct inference_decoder *d, struct reject *why)
{
    const struct {
        const char *name;
        bool missing;
    } fields[] = {
        {"model_endpoint_uid", d->ev.endpoint_id.n == 0},
        {"model_endpoint_name", d->ev.model.n == 0},
        {"inputs", d->inputs.form == ROWS_ABSENT},
        {"outputs", d->outputs.form == ROWS_ABSENT && !d->has_error},
    };
    struct buf list = {0};
    const char *first = NULL;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (!fields[i].missing)
            continue;
        buf_addf(&list, "%s%s", first ? ", " : "", fields[i].name);
        first = first ? first : fields[i].name;
    }
    rc_t rc = OK;
    if (first != NULL)
        rc = reject_set(why, REJECT_MISSING_FIELD, first, 0, "missing required fields: %s%s", list.data,
                        d->is_ingest_named ? "" : "; or model, beside inputs and outputs");
    buf_done(&list);
    return rc;
}

static rc_t settle_id(struct inference_decoder *d, struct reject *why)
{
    d->ev.request_id = d->has_request_id  ? d->request_id
                       : d->has_resp_id   ? d->resp_id
                       : d->has_ingest_id ? d->ingest_id
                                          : (struct str){"", 0};
    if (d->has_request_id || d->has_resp_id || d->has_ingest_id || d->ev.is_ingest || d->ev.is_plain)
        return OK;
    return reject_set(why, REJECT_MISSING_ID, "request.id", 0, "neither request nor resp has an id");
}

void decoder_give_inputs(struct inference_decoder *d, const char *field)
{
    struct inference_event *ev = &d->ev;
    ev->n_rows = d->inputs.count;
    ev->n_cols = d->inputs.n_cols;
    ev->inputs = d->inputs.values;
    ev->input_names = d->inputs.n_names > 0 ? d->inputs.names : NULL;
    ev->inputs_by_name = d->inputs.by_name_is_set;
    ev->inputs_field = field;
    ev->input_names_field = d->inputs.names_field;
}

void decoder_give_outputs(struct inference_decoder *d, const char *field)
{
    struct inference_event *ev = &d->ev;
    ev->n_label_cols = d->outputs.n_cols;
    ev->outputs = d->outputs.values;
    ev->output_names = d->outputs.n_names > 0 ? d->outputs.names : NULL;
    ev->outputs_by_name = d->outputs.by_name_is_set;
    ev->outputs_field = field;
    ev->output_names_field = d->outputs.names_field;
}

static void give_counts(struct inference_decoder *d)
{
    struct inference_event *ev = &d->ev;
    if (!d->has_effective)
        ev->effective_sample_count = ev->n_rows > 0 ? (double)ev->n_rows : 1;
    ev->estimated_prediction_count = ev->effective_sample_count * 100 / ev->sampling_percentage;
}

/* An MLRun server's rows are never tensors. */
static rc_t settle_inputs(struct inference_decoder *d, const char *field, struct reject *why)
{
    return d->ev.is_plain ? plain_settle_inputs(d, field, why)
                          : rows_settle_inputs(&d->inputs, &d->input_schema, &d->arena, field, why);
}

static rc_t settle_outputs(struct inference_decoder *d, const char *field, struct reject *why)
{
    return d->ev.is_plain ? plain_settle_outputs(d, field, why)
                          : rows_settle_outputs(&d->outputs, &d->output_schema, d->ev.n_rows, &d->arena, field, why);
}

static rc_t settle_prediction(struct inference_decoder *d, struct reject *why)
{
    const char *in = d->in_field ? d->in_field : "request.inputs", *out = d->out_field ? d->out_field : "resp.outputs";
    rc_t rc;
    if (d->ev.is_plain) {
        in = d->in_field ? in : "inputs";
        out = d->out_field ? out : "outputs";
    }
    if (d->ev.model.n == 0)
        return reject_set(why, REJECT_MISSING_FIELD, "model", 0, "the event does not name its model");
    if (d->shape.code != REJECT_NONE) {
        *why = d->shape;
        return E_INVALID;
    }
    if ((rc = settle_when(d, why)) != OK || (rc = settle_id(d, why)) != OK)
        return rc;
    if ((rc = settle_inputs(d, in, why)) != OK)
        return rc;
    decoder_give_inputs(d, in);
    if ((rc = settle_outputs(d, out, why)) != OK)
        return rc;
    decoder_give_outputs(d, out);
    give_counts(d);
    return OK;
}

static rc_t settle_error(struct inference_decoder *d, struct reject *why)
{
    struct reject ignored;
    rc_t rc;
    d->ev.kind = INFERENCE_ERROR;
    if ((rc = settle_when(d, why)) != OK)
        return rc;
    (void)settle_id(d, &ignored); /* an error without an id is one still */
    if (settle_inputs(d, "", &ignored) == OK)
        decoder_give_inputs(d, d->in_field);
    give_counts(d);
    return OK;
}

static rc_t settle_batch(struct inference_decoder *d, struct reject *why)
{
    if (d->batch_first.p == NULL || d->batch_last.p == NULL)
        return reject_set(why, REJECT_MISSING_FIELD, d->batch_first.p ? "last_timestamp" : "first_timestamp", 0,
                          "a batch's end needs its first and last time");
    if (time_parse(d->batch_first, 0, &d->ev.batch_first_us) != OK ||
        time_parse(d->batch_last, 0, &d->ev.batch_last_us) != OK)
        return reject_set(why, REJECT_BAD_TIME, "last_timestamp", d->batch_at, "the batch's times are no ISO 8601 times");
    return OK;
}

/* A label need not say whose it is: request ids are those of the project. */
static rc_t settle_label(struct inference_decoder *d, struct reject *why)
{
    rc_t rc = plain_settle_label(d, why);
    if (rc == OK)
        rc = settle_when(d, why);
    if (rc == OK && (d->ev.endpoint_id.n > 0 || d->ev.model.n > 0))
        rc = settle_endpoint(d, why);
    return rc;
}

static rc_t settle(struct inference_decoder *d, struct reject *why)
{
    rc_t rc = plain_settle(d, why);
    if (rc == OK)
        rc = settle_project(d, why);
    if (rc != OK)
        return rc;
    if (name_is_dots(d->ev.model))
        return reject_set(why, REJECT_BAD_NAME, d->is_ingest_named ? "model_endpoint_name" : "model", 0,
                          ". and .. are no names of a model");
    if (d->ev.kind == INFERENCE_LABEL)
        return settle_label(d, why);
    if (d->ev.kind == INFERENCE_NOP)
        return d->ev.endpoint_id.n > 0 ? settle_endpoint(d, why) : OK;
    if (d->ev.is_ingest && d->ev.kind == INFERENCE_PREDICTION && (rc = check_ingest_fields(d, why)) != OK)
        return rc;
    if ((rc = settle_endpoint(d, why)) != OK)
        return rc;
    if (d->ev.kind == INFERENCE_BATCH_COMPLETE)
        return settle_batch(d, why);
    return d->has_error ? settle_error(d, why) : settle_prediction(d, why);
}

/* --- decoding */

struct inference_decoder *inference_decoder_new(void)
{
    struct inference_decoder *d = mem_alloc(sizeof *d);
    decoder_index(d);
    return d;
}

void inference_decoder_free(struct inference_decoder *d)
{
    if (d == NULL)
        return;
    jr_done(&d->r);
    jr_done(&d->r2);
    arena_done(&d->arena);
    rows_done(&d->inputs);
    rows_done(&d->outputs);
    mem_free(d->input_schema.names);
    mem_free(d->output_schema.names);
    mem_free(d);
}

const struct json_limits inference_limits = {
    .depth = 32,
    .values = INFERENCE_BYTES_MAX, /* the bytes limit them */
    .bytes = INFERENCE_BYTES_MAX,
    .string_bytes = INFERENCE_STRING_MAX,
    .keys = 10000,
    .accept_nan = true,
};

void decoder_start(struct inference_decoder *d, struct reject *why)
{
    const struct str none = {NULL, 0};
    struct str *const texts[] = {&d->when,       &d->timestamp, &d->batch_first, &d->batch_last, &d->version,
                                 &d->request_id, &d->resp_id,   &d->ingest_id,   &d->function,   &d->ce_type,
                                 &d->ce_time,    &d->service,   &d->namespace,   &d->component,  &d->variant};
    d->ev = (struct inference_event){.when_us = INFERENCE_NO_TIME, .latency_us = -1, .sampling_percentage = 100};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        *texts[i] = none;
    d->has_request_id = d->has_resp_id = d->has_ingest_id = false;
    d->is_cloudevent = d->is_ingest_named = d->has_other_rows = d->is_twice = d->reads_response = false;
    d->has_request = d->has_resp = d->has_response = false;
    d->in_field = d->out_field = NULL;
    d->has_error = d->has_latency_us = d->has_effective = d->rejected = false;
    d->when_at = d->timestamp_at = d->endpoint_at = d->uri_at = d->project_at = d->batch_at = 0;
    d->shape.code = REJECT_NONE;
    d->why = why;
    d->input_schema.is_set = d->output_schema.is_set = false;
    d->input_schema.n = d->output_schema.n = 0;
    d->input_schema.offset = d->output_schema.offset = 0;
    rows_reset(&d->inputs);
    rows_reset(&d->outputs);
    if (d->arena.total > 0)
        arena_reset(&d->arena);
}

/* A record of a later version may look different everywhere: then that is the reason, whatever else was found. */
static bool is_later_version(const char *p, size_t n, struct reject *why)
{
    struct json_reader r = {0};
    struct str key;
    int64_t version;
    bool later = false;
    jr_init(&r, p, n, &inference_limits);
    if (jr_peek(&r) == JSON_OBJECT && jr_object(&r))
        while (!later && jr_key(&r, &key)) {
            size_t at = jr_offset(&r);
            if (!str_eqz(key, "schema_version") || jr_peek(&r) != JSON_NUMBER) {
                (void)jr_skip(&r, NULL);
                continue;
            }
            later = jr_i64(&r, &version) && version > INFERENCE_SCHEMA_VERSION;
            if (later)
                (void)reject_set(why, REJECT_UNSUPPORTED_VERSION, "schema_version", at,
                                 "this server knows schema versions up to %d", INFERENCE_SCHEMA_VERSION);
        }
    jr_done(&r);
    return later;
}

/* A field before specversion may have looked like one of ours. */
static bool is_cloudevent(const char *p, size_t n)
{
    struct json_reader r = {0};
    struct str key;
    bool found = false;
    jr_init(&r, p, n, &inference_limits);
    if (jr_peek(&r) == JSON_OBJECT && jr_object(&r))
        while (!found && jr_key(&r, &key)) {
            found = str_eqz(key, "specversion");
            (void)jr_skip(&r, NULL);
        }
    jr_done(&r);
    return found;
}

rc_t inference_decode(struct inference_decoder *d, const char *p, size_t n, struct inference_event *ret, struct reject *why)
{
    decoder_start(d, why);
    jr_init(&d->r, p, n, &inference_limits);
    bool ok = decoder_read(d);
    if (d->is_cloudevent || (!ok && is_cloudevent(p, n)))
        return cloudevent_decode(d, p, n, ret, why);
    rc_t rc = ok ? settle(d, why) : d->rejected ? E_INVALID : reject_reader(why, &d->r);
    if (rc == OK)
        *ret = d->ev;
    else if (why->code != REJECT_MALFORMED_JSON && why->code != REJECT_TOO_LARGE)
        (void)is_later_version(p, n, why); /* *why is overwritten if so */
    return rc;
}

rc_t inference_check_project(const struct inference_event *ev, struct str project, struct reject *why)
{
    if (ev->project.n == 0 || str_eq(ev->project, project))
        return OK;
    return reject_set(why, REJECT_PROJECT_MISMATCH, ev->function_uri.n ? "function_uri" : "project", 0,
                      "the event names another project than %.*s", STR_FMT(project));
}
