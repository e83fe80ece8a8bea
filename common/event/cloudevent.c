/* CloudEvents of KServe's logger: one half at a time, and two halves as a prediction. */
#include "event/cloudevent.h"

#include <string.h>

#include "base/time.h"
#include "event/decoder.h"
#include "json/write.h"

#define ATTRIBUTE_MAX 255
#define REQUEST_TYPE "org.kubeflow.serving.inference.request"
#define RESPONSE_TYPE "org.kubeflow.serving.inference.response"

/* --- attributes */

static bool read_specversion(struct inference_decoder *d)
{
    struct str version = {NULL, 0};
    size_t at = jr_offset(&d->r);
    d->is_cloudevent = true;
    if (!decoder_opt_str(d, &version, ATTRIBUTE_MAX))
        return false;
    return (version.n > 1 && version.p[0] == '1' && version.p[1] == '.') || str_eqz(version, "0.3") ||
           decoder_refuse(d, REJECT_UNSUPPORTED_VERSION, at, "CloudEvents 1.0 and 0.3 are taken");
}

static bool read_type(struct inference_decoder *d)
{
    size_t at = jr_offset(&d->r);
    d->ce_type.n = 0;
    if (!decoder_opt_str(d, &d->ce_type, ATTRIBUTE_MAX))
        return false;
    d->ev.kind = str_eqz(d->ce_type, REQUEST_TYPE) ? INFERENCE_REQUEST : INFERENCE_RESPONSE;
    return d->ev.kind == INFERENCE_REQUEST || str_eqz(d->ce_type, RESPONSE_TYPE) ||
           decoder_refuse(d, REJECT_UNKNOWN_KIND, at,
                          "the type is neither KServe's inference.request nor inference.response");
}

static bool read_id(struct inference_decoder *d)
{
    return decoder_id(d, &d->request_id, &d->has_request_id);
}

static bool read_time(struct inference_decoder *d)
{
    d->when_at = jr_offset(&d->r);
    return decoder_opt_str(d, &d->ce_time, ATTRIBUTE_MAX);
}

static bool read_service(struct inference_decoder *d)
{
    d->endpoint_at = jr_offset(&d->r);
    return decoder_opt_str(d, &d->service, ATTRIBUTE_MAX);
}

static bool read_namespace(struct inference_decoder *d)
{
    d->uri_at = jr_offset(&d->r);
    return decoder_opt_str(d, &d->namespace, ATTRIBUTE_MAX);
}

static bool read_component(struct inference_decoder *d)
{
    return decoder_opt_str(d, &d->component, ATTRIBUTE_MAX);
}

static bool read_endpoint(struct inference_decoder *d)
{
    return decoder_opt_str(d, &d->variant, ATTRIBUTE_MAX);
}

static bool read_base64(struct inference_decoder *d)
{
    return decoder_refuse(d, REJECT_WRONG_TYPE, jr_offset(&d->r), "the data is no JSON: binary bodies are not taken");
}

/* --- the body: of a request `outputs` are wishes, of a response there are no inputs */

static bool body_rows(struct inference_decoder *d, struct rows *rows, const char **field, const char *name)
{
    d->is_twice |= rows->form != ROWS_ABSENT;
    if (rows->form != ROWS_ABSENT)
        rows_reset(rows);
    *field = name;
    return rows_read(rows, &d->r, &d->arena);
}

static bool read_inputs(struct inference_decoder *d)
{
    return d->reads_response ? jr_skip(&d->r, NULL) : body_rows(d, &d->inputs, &d->in_field, "data.inputs");
}

static bool read_instances(struct inference_decoder *d)
{
    if (d->reads_response)
        return jr_skip(&d->r, NULL);
    bool ok = body_rows(d, &d->inputs, &d->in_field, "data.instances");
    d->inputs.each_is_row = true;
    return ok;
}

static bool read_outputs(struct inference_decoder *d)
{
    return body_rows(d, &d->outputs, &d->out_field, "data.outputs");
}

static bool read_predictions(struct inference_decoder *d)
{
    return body_rows(d, &d->outputs, &d->out_field, "data.predictions");
}

static const struct field body_fields[] = {FIELD("inputs", read_inputs), FIELD("outputs", read_outputs),
                                           FIELD("instances", read_instances), FIELD("predictions", read_predictions)};

static bool read_data(struct inference_decoder *d)
{
    if (jr_peek(&d->r) != JSON_OBJECT)
        return decoder_refuse(d, REJECT_WRONG_TYPE, jr_offset(&d->r), "the body of a V1 or V2 inference is an object");
    return jr_object(&d->r) && decoder_members(d, body_fields, sizeof body_fields / sizeof *body_fields);
}

static const struct field attributes[] = {
    FIELD("id", read_id),
    FIELD("type", read_type),
    FIELD("time", read_time),
    FIELD("data", read_data),
    FIELD("endpoint", read_endpoint),
    FIELD("namespace", read_namespace),
    FIELD("component", read_component),
    FIELD("specversion", read_specversion),
    FIELD("traceparent", decoder_traceparent),
    FIELD("data_base64", read_base64),
    FIELD("inferenceservicename", read_service),
};

static rc_t read_half(struct inference_decoder *d, const char *p, size_t n, struct reject *why)
{
    jr_init(&d->r, p, n, &inference_limits);
    bool ok = jr_object(&d->r) && decoder_members(d, attributes, sizeof attributes / sizeof *attributes) && jr_end(&d->r);
    return ok ? OK : d->rejected ? E_INVALID : reject_reader(why, &d->r);
}

/* --- what it makes */

static rc_t settle_names(struct inference_decoder *d, struct reject *why)
{
    struct inference_event *ev = &d->ev;
    bool main_part = d->component.n == 0 || str_eqz(d->component, "predictor");
    bool main_way = d->variant.n == 0 || str_eqz(d->variant, "default");
    struct err e;
    if (d->service.n == 0)
        return reject_set(why, REJECT_MISSING_ENDPOINT, "inferenceservicename", 0, "the event does not name its service");
    ev->model = d->service;
    if (!main_part || !main_way)
        ev->model = str_of(arena_printf(&d->arena, "%.*s%s%.*s%s%.*s", STR_FMT(d->service), main_part ? "" : "-",
                                        main_part ? 0 : (int)d->component.n, main_part ? "" : d->component.p,
                                        main_way ? "" : "-", main_way ? 0 : (int)d->variant.n,
                                        main_way ? "" : d->variant.p));
    if (name_is_dots(ev->model))
        return reject_set(why, REJECT_BAD_NAME, "inferenceservicename", d->endpoint_at,
                          ". and .. are no names of a service");
    if (ev->model.n > ATTRIBUTE_MAX)
        return reject_set(why, REJECT_BAD_NAME, "inferenceservicename", d->endpoint_at, "the endpoint's name is too long");
    ev->function_uri = d->namespace;
    if (d->namespace.n > 0 && (function_uri_parse(d->namespace, &ev->function, &e) != OK || ev->function.project.n > 0))
        return reject_set(why, REJECT_BAD_NAME, "namespace", d->uri_at, "this is no name of a namespace");
    return plain_make_uid(d, why);
}

static rc_t settle_attributes(struct inference_decoder *d, struct reject *why)
{
    struct inference_event *ev = &d->ev;
    if (!d->is_cloudevent)
        return reject_set(why, REJECT_MISSING_FIELD, "specversion", 0, "this is no CloudEvent");
    if (d->ce_type.n == 0)
        return reject_set(why, REJECT_MISSING_FIELD, "type", 0, "the event has no type");
    if (d->shape.code != REJECT_NONE) {
        *why = d->shape;
        return E_INVALID;
    }
    if (d->request_id.n == 0)
        return reject_set(why, REJECT_MISSING_ID, "id", 0,
                          "the event has no id: nothing tells which halves belong together");
    if (d->ce_time.n > 0 && time_parse(d->ce_time, 0, &ev->when_us) != OK)
        return reject_set(why, REJECT_BAD_TIME, "time", d->when_at, "this is no RFC 3339 time");
    if (d->is_twice)
        return reject_set(why, REJECT_BAD_VALUE, "data", 0, "the body has its rows twice, under two names");
    ev->request_id = d->request_id;
    ev->is_plain = true;
    return settle_names(d, why);
}

static rc_t settle_inputs(struct inference_decoder *d, struct reject *why)
{
    struct inference_event *ev = &d->ev;
    const char *field = d->in_field ? d->in_field : "data";
    rc_t rc = plain_settle_inputs(d, field, why);
    if (rc)
        return rc;
    decoder_give_inputs(d, field);
    ev->effective_sample_count = ev->estimated_prediction_count = (double)ev->n_rows;
    return OK;
}

static rc_t settle_half(struct inference_decoder *d, struct reject *why)
{
    rc_t rc = settle_attributes(d, why);
    if (rc == OK && d->ev.kind == INFERENCE_REQUEST)
        rc = settle_inputs(d, why);
    else if (rc == OK && d->outputs.form == ROWS_ABSENT)
        rc = reject_set(why, REJECT_MISSING_OUTPUTS, "data", 0, "the body has neither outputs nor predictions");
    return rc;
}

rc_t cloudevent_decode(struct inference_decoder *d, const char *p, size_t n, struct inference_event *ret, struct reject *why)
{
    decoder_start(d, why);
    rc_t rc = read_half(d, p, n, why);
    if (rc == OK)
        rc = settle_half(d, why);
    if (rc == OK)
        *ret = d->ev;
    return rc;
}

/* --- the two */

static void swap_readers(struct inference_decoder *d)
{
    struct json_reader r = d->r;
    d->r = d->r2;
    d->r2 = r;
}

/* The second half is read as strictly as the first, and must be of the same request. */
static rc_t read_response(struct inference_decoder *d, struct str response, const struct inference_event *request,
                          struct reject *why)
{
    const struct str none = {NULL, 0};
    char uid[UID_LEGACY_LEN];
    memcpy(uid, request->uid.p, sizeof uid);
    d->ev = (struct inference_event){.when_us = INFERENCE_NO_TIME};
    d->ce_type = d->ce_time = d->service = d->namespace = d->component = d->variant = none;
    d->has_request_id = d->is_twice = d->is_cloudevent = false;
    d->request_id = none;
    d->reads_response = true;
    rows_reset(&d->outputs); /* a V2 request says there which outputs it wants */
    rc_t rc = read_half(d, response.p, response.n, why);
    if (rc == OK)
        rc = settle_attributes(d, why);
    if (rc == OK && d->ev.kind != INFERENCE_RESPONSE)
        rc = reject_set(why, REJECT_UNKNOWN_KIND, "type", 0, "a response is wanted");
    if (rc == OK && d->outputs.form == ROWS_ABSENT)
        rc = reject_set(why, REJECT_MISSING_OUTPUTS, "data", 0, "the body has neither outputs nor predictions");
    if (rc == OK && (!str_eq(d->ev.request_id, request->request_id) || memcmp(d->ev.uid.p, uid, sizeof uid) != 0))
        rc = reject_set(why, REJECT_BAD_VALUE, "id", 0, "request and response are not of one request");
    return rc;
}

/* Once the request stands in d. */
static rc_t add_response(struct inference_decoder *d, struct str response, struct reject *why)
{
    struct inference_event request = d->ev;
    swap_readers(d); /* strings of the first half stay where they are */
    rc_t rc = read_response(d, response, &request, why);
    int64_t answered_us = d->ev.when_us;
    d->ev = request;
    d->ev.kind = INFERENCE_PREDICTION;
    d->ev.is_paired = true;
    if (request.when_us != INFERENCE_NO_TIME && answered_us != INFERENCE_NO_TIME && answered_us >= request.when_us)
        d->ev.latency_us = answered_us - request.when_us;
    return rc;
}

rc_t cloudevent_pair(struct inference_decoder *d, struct str request, struct str response, struct inference_event *ret,
                     struct reject *why)
{
    decoder_start(d, why);
    rc_t rc = read_half(d, request.p, request.n, why);
    if (rc == OK)
        rc = settle_half(d, why);
    if (rc == OK && d->ev.kind != INFERENCE_REQUEST)
        rc = reject_set(why, REJECT_UNKNOWN_KIND, "type", 0, "a request is wanted");
    if (rc == OK)
        rc = add_response(d, response, why);
    const char *field = d->out_field ? d->out_field : "data";
    if (rc == OK)
        rc = plain_settle_outputs(d, field, why);
    if (rc)
        return rc;
    decoder_give_outputs(d, field);
    *ret = d->ev;
    return OK;
}

/* --- binary mode */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static void write_attribute(struct json_writer *w, const char *name, struct str value, struct buf *room)
{
    buf_clear(room);
    for (size_t i = 0; i < value.n; i++) {
        int hi = value.p[i] == '%' && i + 2 < value.n ? hex_digit(value.p[i + 1]) : -1;
        int lo = hi >= 0 ? hex_digit(value.p[i + 2]) : -1;
        buf_addc(room, lo >= 0 ? (char)(hi * 16 + lo) : value.p[i]);
        i += lo >= 0 ? 2 : 0;
    }
    if (value.n > 0)
        jw_kv_str(w, name, buf_str(room));
    else
        jw_kv_str(w, name, STR(""));
}

/* Every attribute is written, and the body last: whatever the body holds, it cannot say one that was not sent. */
size_t cloudevent_wrap(const struct cloudevent_attributes *a, struct str body, struct buf *out)
{
    const struct {
        const char *name;
        struct str value;
    } all[] = {{"specversion", a->specversion},
               {"id", a->id},
               {"source", a->source},
               {"type", a->type},
               {"time", a->time},
               {"inferenceservicename", a->inferenceservicename},
               {"namespace", a->namespace},
               {"component", a->component},
               {"endpoint", a->endpoint},
               {"traceparent", a->traceparent}};
    struct json_writer w;
    struct buf room = {0};
    jw_init(&w, out, JSON_NAN_NULL);
    jw_object(&w);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        write_attribute(&w, all[i].name, all[i].value, &room);
    buf_done(&room);
    jw_key(&w, "data");
    size_t at = out->len;
    if (body.n > 0)
        jw_raw(&w, body);
    else
        jw_null(&w);
    jw_object_end(&w);
    return at;
}
