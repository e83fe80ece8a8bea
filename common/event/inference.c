/* The inference event: fields from JSON to a plain struct. Rows are in rows.c.
 * Fields may come in any order, so only what is no JSON, too large or of an impossible type ends the reading at once;
 * what depends on other fields (is it an error event? which version?) is decided in settle(). */
#include "event/inference.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/time.h"
#include "event/rows.h"

#define NAME_BYTES_MAX 255
#define LATENCY_MAX_US INT64_C(1000000000000000)

struct inference_decoder {
    struct json_reader r;
    struct arena arena;
    struct inference_event ev; /* in the making */
    struct rows inputs, outputs;
    struct schema input_schema, output_schema;
    struct reject *why;
    struct reject shape; /* request or resp are no objects, an id is no id: matters unless it is an error event */
    bool rejected;       /* *why says it, and not the reader */
    struct str when, timestamp, batch_first, batch_last, version, request_id, resp_id, ingest_id;
    bool has_request_id, has_resp_id, has_ingest_id, has_error, has_latency_us, has_effective;
    size_t when_at, timestamp_at, endpoint_at, uri_at, project_at, batch_at;
    char legacy[41];
};

/* Every reader of a field takes one value. False: it failed, by the reader or with d->rejected. */
typedef bool field_fn(struct inference_decoder *d);

static bool refuse(struct inference_decoder *d, enum reject_code code, size_t at, const char *text)
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

static bool opt_str(struct inference_decoder *d, struct str *ret, size_t max)
{
    size_t at = jr_offset(&d->r);
    if (jr_take_null(&d->r))
        return true;
    if (!jr_str(&d->r, ret))
        return false;
    return ret->n <= max || refuse(d, REJECT_BAD_VALUE, at, "the text is too long");
}

/* --- one reader a field */

static bool read_model(struct inference_decoder *d)
{
    return opt_str(d, &d->ev.model, NAME_BYTES_MAX);
}

static bool read_class(struct inference_decoder *d)
{
    return opt_str(d, &d->ev.model_class, NAME_BYTES_MAX);
}

static bool read_op(struct inference_decoder *d)
{
    return opt_str(d, &d->ev.op, NAME_BYTES_MAX);
}

static bool read_version(struct inference_decoder *d)
{
    return opt_str(d, &d->version, NAME_BYTES_MAX);
}

static bool read_function_uri(struct inference_decoder *d)
{
    d->uri_at = jr_offset(&d->r);
    return opt_str(d, &d->ev.function_uri, 1024);
}

static bool read_project(struct inference_decoder *d)
{
    d->project_at = jr_offset(&d->r);
    return opt_str(d, &d->ev.project, NAME_BYTES_MAX);
}

static bool read_endpoint_id(struct inference_decoder *d)
{
    d->endpoint_at = jr_offset(&d->r);
    return opt_str(d, &d->ev.endpoint_id, NAME_BYTES_MAX);
}

static bool read_ingest_uid(struct inference_decoder *d)
{
    d->ev.is_ingest = true;
    return read_endpoint_id(d);
}

static bool read_ingest_name(struct inference_decoder *d)
{
    d->ev.is_ingest = true;
    return read_model(d);
}

static bool read_when(struct inference_decoder *d)
{
    d->when_at = jr_offset(&d->r);
    return opt_str(d, &d->when, NAME_BYTES_MAX);
}

/* In the ingest form the event's time; in nop_event something else, which does not matter. */
static bool read_timestamp(struct inference_decoder *d)
{
    d->timestamp_at = jr_offset(&d->r);
    return opt_str(d, &d->timestamp, NAME_BYTES_MAX);
}

static bool read_batch_first(struct inference_decoder *d)
{
    d->batch_at = jr_offset(&d->r);
    return opt_str(d, &d->batch_first, NAME_BYTES_MAX);
}

static bool read_batch_last(struct inference_decoder *d)
{
    d->batch_at = jr_offset(&d->r);
    return opt_str(d, &d->batch_last, NAME_BYTES_MAX);
}

static bool read_kind(struct inference_decoder *d)
{
    struct str kind = {NULL, 0};
    size_t at = jr_offset(&d->r);
    if (!opt_str(d, &kind, NAME_BYTES_MAX))
        return false;
    if (kind.p == NULL)
        return true;
    if (str_eqz(kind, "nop_event"))
        d->ev.kind = INFERENCE_NOP;
    else if (str_eqz(kind, "batch_complete"))
        d->ev.kind = INFERENCE_BATCH_COMPLETE;
    else
        return refuse(d, REJECT_UNKNOWN_KIND, at, "the kind is neither nop_event nor batch_complete");
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
        return refuse(d, REJECT_BAD_VALUE, at, "schema versions count from 1");
    return version <= INFERENCE_SCHEMA_VERSION ||
           refuse(d, REJECT_UNSUPPORTED_VERSION, at, "this server knows schema version 1");
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
        return refuse(d, REJECT_BAD_VALUE, at, "the number is outside of what it may be");
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
static bool read_traceparent(struct inference_decoder *d)
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
static bool read_id(struct inference_decoder *d, struct str *ret, bool *has)
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
    return ret->n <= INFERENCE_ID_MAX || refuse(d, REJECT_BAD_VALUE, at, "the request id is too long");
}

static bool read_request_id(struct inference_decoder *d)
{
    return read_id(d, &d->request_id, &d->has_request_id);
}

static bool read_resp_id(struct inference_decoder *d)
{
    return read_id(d, &d->resp_id, &d->has_resp_id);
}

static bool read_ingest_id(struct inference_decoder *d)
{
    return read_id(d, &d->ingest_id, &d->has_ingest_id);
}

static bool read_inputs(struct inference_decoder *d)
{
    return rows_read(&d->inputs, &d->r, &d->arena);
}

static bool read_outputs(struct inference_decoder *d)
{
    return rows_read(&d->outputs, &d->r, &d->arena);
}

static bool read_ingest_inputs(struct inference_decoder *d)
{
    d->ev.is_ingest = true;
    return read_inputs(d);
}

static bool read_ingest_outputs(struct inference_decoder *d)
{
    d->ev.is_ingest = true;
    return read_outputs(d);
}

static bool read_input_schema(struct inference_decoder *d)
{
    return schema_read(&d->input_schema, &d->r);
}

static bool read_output_schema(struct inference_decoder *d)
{
    return schema_read(&d->output_schema, &d->r);
}

/* --- objects: tables of fields, by length of name, so that a key meets the few rows of its own length */

struct field {
    struct str name;
    field_fn *read;
};

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

/* The table's rows are sorted by length; the search starts at the first of the key's length. */
static bool read_members(struct inference_decoder *d, const struct field *fields, size_t n)
{
    struct str key;
    while (jr_key(&d->r, &key)) {
        const struct field *f = fields, *end = fields + n;
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

#define FIELD(text, fn)                                                                                                \
    {                                                                                                                  \
        {text, sizeof(text) - 1}, fn                                                                                   \
    }
static const struct field request_fields[] = {FIELD("id", read_request_id), FIELD("inputs", read_inputs),
                                              FIELD("input_schema", read_input_schema)};
static const struct field resp_fields[] = {FIELD("id", read_resp_id), FIELD("outputs", read_outputs),
                                           FIELD("output_schema", read_output_schema)};

static bool read_request(struct inference_decoder *d)
{
    size_t at = jr_offset(&d->r);
    if (jr_take_null(&d->r))
        return true;
    if (jr_peek(&d->r) != JSON_OBJECT)
        return note_shape(d, at, "an object is wanted");
    return jr_object(&d->r) && read_members(d, request_fields, sizeof request_fields / sizeof *request_fields);
}

static bool read_resp(struct inference_decoder *d)
{
    size_t at = jr_offset(&d->r);
    if (jr_take_null(&d->r))
        return true;
    if (jr_peek(&d->r) != JSON_OBJECT)
        return note_shape(d, at, "an object is wanted");
    return jr_object(&d->r) && read_members(d, resp_fields, sizeof resp_fields / sizeof *resp_fields);
}

/* Shortest name first. To add a field: a reader above, a row here. */
static const struct field event_fields[] = {
    FIELD("op", read_op),
    FIELD("kind", read_kind),
    FIELD("resp", read_resp),
    FIELD("when", read_when),
    FIELD("class", read_class),
    FIELD("model", read_model),
    FIELD("error", read_error),
    FIELD("inputs", read_ingest_inputs),
    FIELD("labels", read_labels),
    FIELD("request", read_request),
    FIELD("outputs", read_ingest_outputs),
    FIELD("metrics", read_metrics),
    FIELD("project", read_project),
    FIELD("version", read_version),
    FIELD("latency", read_microsec),
    FIELD("microsec", read_microsec),
    FIELD("timestamp", read_timestamp),
    FIELD("request_id", read_ingest_id),
    FIELD("latency_us", read_latency_us),
    FIELD("endpoint_id", read_endpoint_id),
    FIELD("model_class", read_class),
    FIELD("traceparent", read_traceparent),
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

/* --- what depends on several fields */

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

/* An old sender names no endpoint: MLRun made the uid of function, model and version. */
static rc_t make_uid(struct inference_decoder *d, struct reject *why)
{
    struct inference_event *ev = &d->ev;
    struct function_uri uri = ev->function;
    struct str model = ev->model, version = d->version.n > 0 ? d->version : STR("latest");
    const char *colon = model.n > 0 ? memchr(model.p, ':', model.n) : NULL;
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
        return make_uid(d, why);
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
    bool use_timestamp = d->when.p == NULL && d->ev.is_ingest;
    struct str text = use_timestamp ? d->timestamp : d->when;
    const char *field = use_timestamp ? "timestamp" : "when";
    if (text.p == NULL && d->ev.is_ingest)
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
        rc = reject_set(why, REJECT_MISSING_FIELD, first, 0, "missing required fields: %s", list.data);
    buf_done(&list);
    return rc;
}

static rc_t settle_id(struct inference_decoder *d, struct reject *why)
{
    d->ev.request_id = d->has_request_id  ? d->request_id
                       : d->has_resp_id   ? d->resp_id
                       : d->has_ingest_id ? d->ingest_id
                                          : (struct str){"", 0};
    if (d->has_request_id || d->has_resp_id || d->has_ingest_id || d->ev.is_ingest)
        return OK;
    return reject_set(why, REJECT_MISSING_ID, "request.id", 0, "neither request nor resp has an id");
}

static void give_inputs(struct inference_decoder *d)
{
    struct inference_event *ev = &d->ev;
    ev->n_rows = d->inputs.count;
    ev->n_cols = d->inputs.n_cols;
    ev->inputs = d->inputs.values;
    ev->input_names = d->inputs.n_names > 0 ? d->inputs.names : NULL;
    ev->inputs_by_name = d->inputs.by_name_is_set;
}

static void give_outputs(struct inference_decoder *d)
{
    struct inference_event *ev = &d->ev;
    ev->n_label_cols = d->outputs.n_cols;
    ev->outputs = d->outputs.values;
    ev->output_names = d->outputs.n_names > 0 ? d->outputs.names : NULL;
    ev->outputs_by_name = d->outputs.by_name_is_set;
}

static void give_counts(struct inference_decoder *d)
{
    struct inference_event *ev = &d->ev;
    if (!d->has_effective)
        ev->effective_sample_count = ev->n_rows > 0 ? (double)ev->n_rows : 1;
    ev->estimated_prediction_count = ev->effective_sample_count * 100 / ev->sampling_percentage;
}

static rc_t settle_prediction(struct inference_decoder *d, struct reject *why)
{
    const char *in = d->ev.is_ingest ? "inputs" : "request.inputs";
    const char *out = d->ev.is_ingest ? "outputs" : "resp.outputs";
    rc_t rc;
    if (d->ev.model.n == 0)
        return reject_set(why, REJECT_MISSING_FIELD, "model", 0, "the event does not name its model");
    if (d->shape.code != REJECT_NONE) {
        *why = d->shape;
        return E_INVALID;
    }
    if ((rc = settle_when(d, why)) != OK || (rc = settle_id(d, why)) != OK)
        return rc;
    if ((rc = rows_settle_inputs(&d->inputs, &d->input_schema, &d->arena, in, why)) != OK)
        return rc;
    give_inputs(d);
    if ((rc = rows_settle_outputs(&d->outputs, &d->output_schema, d->ev.n_rows, &d->arena, out, why)) != OK)
        return rc;
    give_outputs(d);
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
    if (rows_settle_inputs(&d->inputs, &d->input_schema, &d->arena, "", &ignored) == OK)
        give_inputs(d);
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

static rc_t settle(struct inference_decoder *d, struct reject *why)
{
    rc_t rc = settle_project(d, why);
    if (rc != OK)
        return rc;
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
    return mem_alloc(sizeof(struct inference_decoder));
}

void inference_decoder_free(struct inference_decoder *d)
{
    if (d == NULL)
        return;
    jr_done(&d->r);
    arena_done(&d->arena);
    rows_done(&d->inputs);
    rows_done(&d->outputs);
    mem_free(d->input_schema.names);
    mem_free(d->output_schema.names);
    mem_free(d);
}

static const struct json_limits limits = {
    .depth = 32,
    .values = INFERENCE_BYTES_MAX, /* the bytes limit them */
    .bytes = INFERENCE_BYTES_MAX,
    .string_bytes = INFERENCE_STRING_MAX,
    .keys = 10000,
    .accept_nan = true,
};

static void start(struct inference_decoder *d, struct reject *why)
{
    const struct str none = {NULL, 0};
    struct str *const texts[] = {&d->when,    &d->timestamp,  &d->batch_first, &d->batch_last,
                                 &d->version, &d->request_id, &d->resp_id,     &d->ingest_id};
    d->ev = (struct inference_event){.when_us = INFERENCE_NO_TIME, .latency_us = -1, .sampling_percentage = 100};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        *texts[i] = none;
    d->has_request_id = d->has_resp_id = d->has_ingest_id = false;
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
    jr_init(&r, p, n, &limits);
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

rc_t inference_decode(struct inference_decoder *d, const char *p, size_t n, struct inference_event *ret, struct reject *why)
{
    start(d, why);
    jr_init(&d->r, p, n, &limits);
    bool ok = jr_object(&d->r) && read_members(d, event_fields, EVENT_FIELDS) && jr_end(&d->r);
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
