/* Events of serving layers that know nothing of MLRun: the plain, columnar and V1/V2 forms, and labels. */
#include <string.h>

#include "event/decoder.h"

#define LABEL_BYTES_MAX 65536

/* --- fields. Rows beside an MLRun request are not the event's: they were read over before these forms came */

static bool other_rows(struct inference_decoder *d, struct rows *rows, bool is_given, const char **field, const char *name)
{
    if (is_given)
        return jr_skip(&d->r, NULL);
    d->is_twice |= rows->form != ROWS_ABSENT;
    if (rows->form != ROWS_ABSENT)
        rows_reset(rows);
    *field = name;
    return rows_read(rows, &d->r, &d->arena);
}

bool plain_inputs(struct inference_decoder *d)
{
    d->ev.is_ingest = true;
    return other_rows(d, &d->inputs, d->has_request, &d->in_field, "inputs");
}

bool plain_outputs(struct inference_decoder *d)
{
    d->ev.is_ingest = true;
    return other_rows(d, &d->outputs, d->has_resp, &d->out_field, "outputs");
}

bool plain_data(struct inference_decoder *d)
{
    d->has_other_rows = true;
    return other_rows(d, &d->inputs, d->has_request, &d->in_field, "data");
}

bool plain_instances(struct inference_decoder *d)
{
    d->has_other_rows = true;
    bool ok = other_rows(d, &d->inputs, d->has_request, &d->in_field, "instances");
    d->inputs.each_is_row = true;
    return ok;
}

bool plain_predictions(struct inference_decoder *d)
{
    d->has_other_rows = true;
    return other_rows(d, &d->outputs, d->has_resp, &d->out_field, "predictions");
}

bool plain_columns(struct inference_decoder *d)
{
    if (d->has_request || jr_peek(&d->r) != JSON_ARRAY)
        return jr_skip(&d->r, NULL);
    d->has_other_rows = true;
    return schema_read(&d->input_schema, &d->r, "columns");
}

bool plain_response(struct inference_decoder *d)
{
    if (jr_take_null(&d->r))
        return true;
    d->has_response = true;
    return decoder_response(d);
}

bool plain_function(struct inference_decoder *d)
{
    if (jr_peek(&d->r) != JSON_STRING)
        return jr_skip(&d->r, NULL);
    d->uri_at = d->ev.function_uri.n > 0 ? d->uri_at : jr_offset(&d->r);
    return decoder_opt_str(d, &d->function, 1024);
}

bool plain_model_name(struct inference_decoder *d)
{
    if (jr_peek(&d->r) != JSON_STRING)
        return jr_skip(&d->r, NULL);
    return decoder_opt_str(d, &d->service, 255);
}

bool plain_id(struct inference_decoder *d)
{
    enum json_type type = jr_peek(&d->r);
    if (d->has_ingest_id || (type != JSON_STRING && type != JSON_NUMBER))
        return jr_skip(&d->r, NULL);
    return decoder_id(d, &d->ingest_id, &d->has_ingest_id);
}

bool plain_label(struct inference_decoder *d)
{
    size_t at = jr_offset(&d->r);
    if (jr_take_null(&d->r))
        return true;
    const char *start = d->r.start + at;
    if (!jr_skip(&d->r, NULL))
        return false;
    d->ev.label = (struct str){start, (size_t)(d->r.at - start)};
    return d->ev.label.n <= LABEL_BYTES_MAX || d->ev.kind != INFERENCE_LABEL ||
           decoder_refuse(d, REJECT_TOO_LARGE, at, "a label has 64 KiB at most");
}

/* --- what they make */

bool plain_is(const struct inference_decoder *d)
{
    bool is_whole = d->has_other_rows || (d->ev.is_ingest && (d->ev.model.n > 0 || d->service.n > 0));
    return !d->is_ingest_named && (d->has_response || (is_whole && !d->has_request && !d->has_resp));
}

rc_t plain_settle(struct inference_decoder *d, struct reject *why)
{
    struct inference_event *ev = &d->ev;
    bool is_label = ev->kind == INFERENCE_LABEL;
    if (!is_label)
        ev->label = (struct str){NULL, 0};
    if (!is_label && (ev->kind != INFERENCE_PREDICTION || !plain_is(d)))
        return OK;
    ev->is_plain = true;
    ev->is_ingest = false;
    if (ev->model.n == 0)
        ev->model = d->service;
    if (ev->function_uri.n == 0)
        ev->function_uri = d->function;
    if (!is_label && ev->model.n == 0)
        return reject_set(why, REJECT_MISSING_FIELD, "model", 0, "the event does not name its model");
    if (!is_label && d->is_twice)
        return reject_set(why, REJECT_BAD_VALUE, d->in_field ? d->in_field : "", d->inputs.offset,
                          "inputs or outputs are there twice, under two names");
    return OK;
}

void uid_of_names(char out[UID_LEGACY_LEN + 1], struct str function, struct str tag, struct str model)
{
    const struct str parts[] = {function, tag, model};
    uint64_t hash[2];
    struct buf text = {0};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        buf_add(&text, parts[i].p, parts[i].n);
        buf_addc(&text, '\0');
    }
    hash128(text.data, text.len, hash);
    buf_done(&text);
    for (size_t i = 0; i < UID_LEGACY_LEN; i++)
        out[i] = "0123456789abcdef"[hash[i / 16] >> (60 - 4 * (i % 16)) & 15];
    out[UID_LEGACY_LEN] = '\0';
}

/* Of what names the endpoint in its project, whatever project that is. */
rc_t plain_make_uid(struct inference_decoder *d, struct reject *why)
{
    struct inference_event *ev = &d->ev;
    if (ev->model.n == 0)
        return reject_set(why, REJECT_MISSING_ENDPOINT, "model", 0, "the event names neither endpoint nor model");
    uid_of_names(d->legacy, ev->function.function, ev->function.tag, ev->model);
    ev->uid = (struct str){d->legacy, UID_LEGACY_LEN};
    ev->uid_is_made = true;
    return OK;
}

rc_t plain_settle_inputs(struct inference_decoder *d, const char *field, struct reject *why)
{
    rc_t rc = tensors_are(&d->inputs) ? tensors_settle(&d->inputs, &d->arena, false, field, why) : OK;
    return rc == OK ? rows_settle_inputs(&d->inputs, &d->input_schema, &d->arena, field, why) : rc;
}

rc_t plain_settle_outputs(struct inference_decoder *d, const char *field, struct reject *why)
{
    rc_t rc = tensors_are(&d->outputs) ? tensors_settle(&d->outputs, &d->arena, true, field, why) : OK;
    return rc == OK ? rows_settle_outputs(&d->outputs, &d->output_schema, d->ev.n_rows, &d->arena, field, why) : rc;
}

rc_t plain_settle_label(struct inference_decoder *d, struct reject *why)
{
    if (d->shape.code != REJECT_NONE) {
        *why = d->shape;
        return E_INVALID;
    }
    if (d->ingest_id.n == 0)
        return reject_set(why, REJECT_MISSING_ID, "request_id", 0, "the label does not say of which request it is");
    if (d->ev.label.p == NULL)
        return reject_set(why, REJECT_MISSING_FIELD, "label", 0, "there is no label");
    d->ev.request_id = d->ingest_id;
    return OK;
}
