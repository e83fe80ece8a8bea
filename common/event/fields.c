/* The fields of an inference event, one reader each, and the tables that name them. Fields may come in any order, so
 * only what is no JSON, too large or of an impossible type ends the reading; the rest is decided in inference.c. */
#include "event/decoder.h"

#include <math.h>
#include <string.h>

#define NAME_BYTES_MAX 255
#define LATENCY_MAX_US INT64_C(1000000000000000)

bool decoder_refuse(struct inference_decoder *d, enum reject_code code, size_t at, const char *text)
{
    char path[sizeof d->why->field];
    if (jr_failed(&d->r))
        return false;
    (void)jr_path(&d->r, path, sizeof path); /* cut to fit */
    (void)reject_set(d->why, code, path, at, "%s", text);
    d->rejected = true;
    return false;
}

/* For later: an error event is counted whatever its request looks like. */
static bool note_shape(struct inference_decoder *d, size_t at, const char *text)
{
    char path[sizeof d->shape.field];
    if (d->shape.code == REJECT_NONE) {
        (void)jr_path(&d->r, path, sizeof path);
        (void)reject_set(&d->shape, REJECT_WRONG_TYPE, path, at, "%s", text);
    }
    return jr_skip(&d->r, NULL);
}

bool decoder_opt_str(struct inference_decoder *d, struct str *ret, size_t max)
{
    size_t at = jr_offset(&d->r);
    if (jr_take_null(&d->r))
        return true;
    if (!jr_str(&d->r, ret))
        return false;
    return ret->n <= max || decoder_refuse(d, REJECT_BAD_VALUE, at, "the text is too long");
}

/* --- one reader a field */

static bool read_model(struct inference_decoder *d)
{
    return decoder_opt_str(d, &d->ev.model, NAME_BYTES_MAX);
}

static bool read_class(struct inference_decoder *d)
{
    return decoder_opt_str(d, &d->ev.model_class, NAME_BYTES_MAX);
}

static bool read_op(struct inference_decoder *d)
{
    return decoder_opt_str(d, &d->ev.op, NAME_BYTES_MAX);
}

/* Of the model, from old senders; whatever else may be called so is not ours. */
static bool read_version(struct inference_decoder *d)
{
    return jr_peek(&d->r) == JSON_STRING ? jr_str(&d->r, &d->version) : jr_skip(&d->r, NULL);
}

static bool read_function_uri(struct inference_decoder *d)
{
    d->uri_at = jr_offset(&d->r);
    return decoder_opt_str(d, &d->ev.function_uri, 1024);
}

static bool read_project(struct inference_decoder *d)
{
    d->project_at = jr_offset(&d->r);
    return decoder_opt_str(d, &d->ev.project, NAME_BYTES_MAX);
}

static bool read_endpoint_id(struct inference_decoder *d)
{
    d->endpoint_at = jr_offset(&d->r);
    return decoder_opt_str(d, &d->ev.endpoint_id, NAME_BYTES_MAX);
}

static bool read_ingest_uid(struct inference_decoder *d)
{
    d->ev.is_ingest = d->is_ingest_named = true;
    return read_endpoint_id(d);
}

static bool read_ingest_name(struct inference_decoder *d)
{
    d->ev.is_ingest = d->is_ingest_named = true;
    return read_model(d);
}

static bool read_when(struct inference_decoder *d)
{
    d->when_at = jr_offset(&d->r);
    return decoder_opt_str(d, &d->when, NAME_BYTES_MAX);
}

/* In the ingest form the event's time; in nop_event something else, which does not matter. */
static bool read_timestamp(struct inference_decoder *d)
{
    d->timestamp_at = jr_offset(&d->r);
    return decoder_opt_str(d, &d->timestamp, NAME_BYTES_MAX);
}

static bool read_batch_first(struct inference_decoder *d)
{
    d->batch_at = jr_offset(&d->r);
    return decoder_opt_str(d, &d->batch_first, NAME_BYTES_MAX);
}

static bool read_batch_last(struct inference_decoder *d)
{
    d->batch_at = jr_offset(&d->r);
    return decoder_opt_str(d, &d->batch_last, NAME_BYTES_MAX);
}

static bool read_kind(struct inference_decoder *d)
{
    struct str kind = {NULL, 0};
    size_t at = jr_offset(&d->r);
    if (!decoder_opt_str(d, &kind, NAME_BYTES_MAX))
        return false;
    if (kind.p == NULL)
        return true;
    if (str_eqz(kind, "nop_event"))
        d->ev.kind = INFERENCE_NOP;
    else if (str_eqz(kind, "batch_complete"))
        d->ev.kind = INFERENCE_BATCH_COMPLETE;
    else if (str_eqz(kind, "label"))
        d->ev.kind = INFERENCE_LABEL;
    else
        return decoder_refuse(d, REJECT_UNKNOWN_KIND, at, "the kind is neither nop_event, batch_complete nor label");
    return true;
}

static bool read_schema_version(struct inference_decoder *d)
{
    int64_t version;
    size_t at = jr_offset(&d->r);
    if (jr_take_null(&d->r))
        return true;
    if (!jr_i64(&d->r, &version))
        return false;
    if (version < 1)
        return decoder_refuse(d, REJECT_BAD_VALUE, at, "schema versions count from 1");
    return version <= INFERENCE_SCHEMA_VERSION ||
           decoder_refuse(d, REJECT_UNSUPPORTED_VERSION, at, "this server knows schema version 1");
}

/* A number from min to max, or null, which leaves *ret. */
static bool opt_f64(struct inference_decoder *d, double min, double max, double *ret, bool *ret_set)
{
    double v;
    size_t at = jr_offset(&d->r);
    if (jr_take_null(&d->r))
        return true;
    if (!jr_f64(&d->r, &v))
        return false;
    if (!(v >= min && v <= max))
        return decoder_refuse(d, REJECT_BAD_VALUE, at, "the number is outside of what it may be");
    *ret = v;
    *ret_set = true;
    return true;
}

static bool read_microsec(struct inference_decoder *d)
{
    double v;
    bool is_set = false;
    if (!opt_f64(d, 0, (double)LATENCY_MAX_US, &v, &is_set))
        return false;
    if (is_set && !d->has_latency_us)
        d->ev.latency_us = llround(v);
    return true;
}

static bool read_latency_us(struct inference_decoder *d)
{
    double v;
    if (!opt_f64(d, 0, (double)LATENCY_MAX_US, &v, &d->has_latency_us))
        return false;
    if (d->has_latency_us)
        d->ev.latency_us = llround(v);
    return true;
}

static bool read_sampling(struct inference_decoder *d)
{
    bool is_set = false;
    return opt_f64(d, 1e-9, 100, &d->ev.sampling_percentage, &is_set);
}

static bool read_effective(struct inference_decoder *d)
{
    return opt_f64(d, 0, 1e12, &d->ev.effective_sample_count, &d->has_effective);
}

/* A JSON object as text; null and {} give nothing. */
static bool read_object_text(struct inference_decoder *d, struct str *ret)
{
    struct str key, text;
    if (jr_take_null(&d->r))
        return true;
    const char *start = d->r.start + jr_offset(&d->r);
    bool any = false;
    if (!jr_object(&d->r))
        return false;
    for (; jr_key(&d->r, &key); any = true)
        if (!jr_skip(&d->r, &text))
            return false;
    if (any)
        *ret = (struct str){start, (size_t)(d->r.at - start)};
    return !jr_failed(&d->r);
}

static bool read_labels(struct inference_decoder *d)
{
    return read_object_text(d, &d->ev.labels);
}

static bool read_metrics(struct inference_decoder *d)
{
    return read_object_text(d, &d->ev.metrics);
}

static bool read_error(struct inference_decoder *d)
{
    if (jr_take_null(&d->r))
        return true;
    d->has_error = true;
    if (jr_peek(&d->r) == JSON_STRING)
        return jr_str(&d->r, &d->ev.error);
    return jr_skip(&d->r, &d->ev.error);
}

static bool is_hex(struct str s, size_t from, size_t n)
{
    for (size_t i = from; i < from + n; i++)
        if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f')))
            return false;
    return true;
}

/* 00-<32 hex>-<16 hex>-<2 hex>; anything else is no trace, which is no reason to lose an event. */
bool decoder_traceparent(struct inference_decoder *d)
{
    struct str s;
    if (jr_peek(&d->r) != JSON_STRING)
        return jr_skip(&d->r, NULL);
    if (!jr_str(&d->r, &s))
        return false;
    if (s.n == 55 && s.p[2] == '-' && s.p[35] == '-' && s.p[52] == '-' && is_hex(s, 0, 2) && is_hex(s, 3, 32) &&
        is_hex(s, 36, 16) && is_hex(s, 53, 2))
        d->ev.traceparent = s;
    return true;
}

/* A request id: a text, or a number, whose text it is. */
bool decoder_id(struct inference_decoder *d, struct str *ret, bool *has)
{
    struct json_number num;
    size_t at = jr_offset(&d->r);
    if (jr_take_null(&d->r))
        return true;
    enum json_type type = jr_peek(&d->r);
    if (type == JSON_STRING) {
        if (!jr_str(&d->r, ret))
            return false;
    } else if (type == JSON_NUMBER) {
        if (!jr_number(&d->r, &num))
            return false;
        *ret = num.text;
    } else {
        return note_shape(d, at, "a request id is a text or a number");
    }
    *has = true;
    return ret->n <= INFERENCE_ID_MAX || decoder_refuse(d, REJECT_BAD_VALUE, at, "the request id is too long");
}

static bool read_request_id(struct inference_decoder *d)
{
    return decoder_id(d, &d->request_id, &d->has_request_id);
}

static bool read_resp_id(struct inference_decoder *d)
{
    return decoder_id(d, &d->resp_id, &d->has_resp_id);
}

static bool read_ingest_id(struct inference_decoder *d)
{
    return decoder_id(d, &d->ingest_id, &d->has_ingest_id);
}

/* A request's inputs are the event's, whatever stands elsewhere. */
static bool read_inputs(struct inference_decoder *d)
{
    if (d->inputs.form != ROWS_ABSENT)
        rows_reset(&d->inputs);
    d->in_field = "request.inputs";
    d->is_twice |= d->has_request;
    d->has_request = true;
    return rows_read(&d->inputs, &d->r, &d->arena);
}

static bool read_outputs(struct inference_decoder *d)
{
    if (d->outputs.form != ROWS_ABSENT)
        rows_reset(&d->outputs);
    d->out_field = "resp.outputs";
    d->is_twice |= d->has_resp;
    d->has_resp = true;
    return rows_read(&d->outputs, &d->r, &d->arena);
}

static bool read_request_instances(struct inference_decoder *d)
{
    bool ok = read_inputs(d);
    d->inputs.each_is_row = true;
    d->in_field = "request.instances";
    return ok;
}

static bool read_response_predictions(struct inference_decoder *d)
{
    bool ok = read_outputs(d);
    d->out_field = "response.predictions";
    return ok;
}

/* A CloudEvent: what was read so far is read again, as one. */
static bool read_specversion(struct inference_decoder *d)
{
    d->is_cloudevent = true;
    return false;
}

static bool read_input_schema(struct inference_decoder *d)
{
    return schema_read(&d->input_schema, &d->r, "request.input_schema");
}

static bool read_output_schema(struct inference_decoder *d)
{
    return schema_read(&d->output_schema, &d->r, "resp.output_schema");
}

/* --- objects: tables of fields, by length of name, so that a key meets the few rows of its own length */

/* As memcmp() == 0 for names, which are short: words that overlap instead of a call. */
static inline bool same_name(const char *a, const char *b, size_t n)
{
    uint64_t x[2], y[2];
    uint32_t s[2], t[2];
    if (n > 16)
        return memcmp(a, b, n) == 0;
    if (n >= 8) {
        memcpy(&x[0], a, 8);
        memcpy(&y[0], b, 8);
        memcpy(&x[1], a + n - 8, 8);
        memcpy(&y[1], b + n - 8, 8);
        return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0;
    }
    if (n >= 4) {
        memcpy(&s[0], a, 4);
        memcpy(&t[0], b, 4);
        memcpy(&s[1], a + n - 4, 4);
        memcpy(&t[1], b + n - 4, 4);
        return ((s[0] ^ t[0]) | (s[1] ^ t[1])) == 0;
    }
    for (size_t i = 0; i < n; i++)
        if (a[i] != b[i])
            return false;
    return true;
}

/* The table's rows are sorted by length; the search starts at the first of the key's length, which `first` knows. */
static bool members(struct inference_decoder *d, const struct field *fields, size_t n, const unsigned char *first)
{
    struct str key;
    while (jr_key(&d->r, &key)) {
        const struct field *f = fields, *end = fields + n;
        if (first)
            f += first[key.n < DECODER_LENGTHS ? key.n : DECODER_LENGTHS - 1];
        while (f < end && f->name.n < key.n)
            f++;
        while (f < end && f->name.n == key.n && !same_name(f->name.p, key.p, key.n))
            f++;
        bool known = f < end && f->name.n == key.n;
        if (!(known ? f->read(d) : jr_skip(&d->r, NULL)))
            return false;
    }
    return !jr_failed(&d->r);
}

bool decoder_members(struct inference_decoder *d, const struct field *fields, size_t n)
{
    return members(d, fields, n, NULL);
}

static const struct field request_fields[] = {FIELD("id", read_request_id), FIELD("inputs", read_inputs),
                                              FIELD("instances", read_request_instances),
                                              FIELD("input_schema", read_input_schema)};
static const struct field resp_fields[] = {FIELD("id", read_resp_id), FIELD("outputs", read_outputs),
                                           FIELD("output_schema", read_output_schema)};
static const struct field response_fields[] = {FIELD("id", read_resp_id), FIELD("outputs", read_outputs),
                                               FIELD("predictions", read_response_predictions)};

bool decoder_request(struct inference_decoder *d)
{
    size_t at = jr_offset(&d->r);
    if (jr_take_null(&d->r))
        return true;
    if (jr_peek(&d->r) != JSON_OBJECT)
        return note_shape(d, at, "an object is wanted");
    return jr_object(&d->r) && decoder_members(d, request_fields, sizeof request_fields / sizeof *request_fields);
}

static bool read_resp(struct inference_decoder *d)
{
    size_t at = jr_offset(&d->r);
    if (jr_take_null(&d->r))
        return true;
    if (jr_peek(&d->r) != JSON_OBJECT)
        return note_shape(d, at, "an object is wanted");
    return jr_object(&d->r) && decoder_members(d, resp_fields, sizeof resp_fields / sizeof *resp_fields);
}

bool decoder_response(struct inference_decoder *d)
{
    size_t at = jr_offset(&d->r);
    if (jr_peek(&d->r) != JSON_OBJECT)
        return note_shape(d, at, "an object is wanted");
    bool ok = jr_object(&d->r) && decoder_members(d, response_fields, sizeof response_fields / sizeof *response_fields);
    if (ok && d->outputs.form != ROWS_ABSENT && strcmp(d->out_field, "resp.outputs") == 0)
        d->out_field = "response.outputs";
    return ok;
}

/* Shortest name first. To add a field: a reader above, a row here. */
static const struct field event_fields[] = {
    FIELD("op", read_op),
    FIELD("id", plain_id),
    FIELD("kind", read_kind),
    FIELD("data", plain_data),
    FIELD("resp", read_resp),
    FIELD("when", read_when),
    FIELD("class", read_class),
    FIELD("label", plain_label),
    FIELD("model", read_model),
    FIELD("error", read_error),
    FIELD("inputs", plain_inputs),
    FIELD("labels", read_labels),
    FIELD("request", decoder_request),
    FIELD("outputs", plain_outputs),
    FIELD("metrics", read_metrics),
    FIELD("project", read_project),
    FIELD("version", read_version),
    FIELD("latency", read_microsec),
    FIELD("columns", plain_columns),
    FIELD("microsec", read_microsec),
    FIELD("function", plain_function),
    FIELD("response", plain_response),
    FIELD("timestamp", read_timestamp),
    FIELD("instances", plain_instances),
    FIELD("request_id", read_ingest_id),
    FIELD("latency_us", read_latency_us),
    FIELD("model_name", plain_model_name),
    FIELD("endpoint_id", read_endpoint_id),
    FIELD("predictions", plain_predictions),
    FIELD("specversion", read_specversion),
    FIELD("model_class", read_class),
    FIELD("traceparent", decoder_traceparent),
    FIELD("function_uri", read_function_uri),
    FIELD("schema_version", read_schema_version),
    FIELD("last_timestamp", read_batch_last),
    FIELD("first_timestamp", read_batch_first),
    FIELD("model_endpoint_uid", read_ingest_uid),
    FIELD("sampling_percentage", read_sampling),
    FIELD("model_endpoint_name", read_ingest_name),
    FIELD("effective_sample_count", read_effective),
};
#define EVENT_FIELDS (sizeof event_fields / sizeof *event_fields)

void decoder_index(struct inference_decoder *d)
{
    for (size_t i = 0, n = 0; n < DECODER_LENGTHS; n++) {
        while (i < EVENT_FIELDS && event_fields[i].name.n < n)
            i++;
        d->first[n] = (unsigned char)i;
    }
}

bool decoder_read(struct inference_decoder *d)
{
    return jr_object(&d->r) && members(d, event_fields, EVENT_FIELDS, d->first) && jr_end(&d->r);
}
