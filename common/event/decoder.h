/* An inference event in the making. Inside event/ only. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "base/arena.h"
#include "event/inference.h"
#include "event/rows.h"
#include "json/reader.h"

#define DECODER_LENGTHS 24 /* names are shorter */

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
    struct str function, ce_type, ce_time, service, namespace, component, variant; /* of other forms */
    const char *in_field, *out_field; /* where inputs and outputs stood, for messages */
    bool is_cloudevent, is_ingest_named, has_other_rows, has_request, has_resp, has_response, is_twice;
    bool reads_response;   /* the second half of a pair is read: its inputs do not count */
    struct json_reader r2; /* of the second half: its strings live as long as the first's */
    bool has_request_id, has_resp_id, has_ingest_id, has_error, has_latency_us, has_effective;
    size_t when_at, timestamp_at, endpoint_at, uri_at, project_at, batch_at;
    char legacy[41];
    unsigned char first[DECODER_LENGTHS]; /* row of event_fields by length of name */
};

/* Every reader of a field takes one value. False: it failed, by the reader or with d->rejected. */
typedef bool field_fn(struct inference_decoder *d);
struct field {
    struct str name;
    field_fn *read;
};
#define FIELD(text, fn)                                                                                                \
    {                                                                                                                  \
        {text, sizeof(text) - 1}, fn                                                                                   \
    }
/* The members of the object that d->r is in. The table's rows are sorted by length. */
bool decoder_members(struct inference_decoder *d, const struct field *fields, size_t n);
bool decoder_refuse(struct inference_decoder *d, enum reject_code code, size_t at, const char *text);
bool decoder_opt_str(struct inference_decoder *d, struct str *ret, size_t max); /* or null, which leaves *ret */
bool decoder_id(struct inference_decoder *d, struct str *ret, bool *has);
bool decoder_request(struct inference_decoder *d); /* the two bodies of a prediction */
bool decoder_response(struct inference_decoder *d);
bool decoder_traceparent(struct inference_decoder *d);
void decoder_give_inputs(struct inference_decoder *d, const char *field); /* what was settled, to the event */
void decoder_give_outputs(struct inference_decoder *d, const char *field);
void decoder_start(struct inference_decoder *d, struct reject *why);

/* plain.c: fields of the forms that are not MLRun's, and what they make together. */
field_fn plain_columns, plain_data, plain_instances, plain_predictions, plain_inputs, plain_outputs, plain_function,
    plain_id, plain_model_name, plain_response, plain_label;
bool plain_is(const struct inference_decoder *d);
rc_t plain_settle(struct inference_decoder *d, struct reject *why); /* which form it is; before all else */
rc_t plain_make_uid(struct inference_decoder *d, struct reject *why);
rc_t plain_settle_inputs(struct inference_decoder *d, const char *field, struct reject *why); /* tensors or rows */
rc_t plain_settle_outputs(struct inference_decoder *d, const char *field, struct reject *why);
rc_t plain_settle_label(struct inference_decoder *d, struct reject *why);

/* cloudevent.c: the record again, now as the one half that it is. */
rc_t cloudevent_decode(struct inference_decoder *d, const char *p, size_t n, struct inference_event *ret,
                       struct reject *why);

/* v2.c */
bool tensors_are(const struct rows *rows);
/* Makes a table of them in place. is_output: one tensor of one dimension may be one row. */
rc_t tensors_settle(struct rows *rows, struct arena *a, bool is_output, const char *field, struct reject *why);

extern const struct json_limits inference_limits; /* inference.c */

void decoder_index(struct inference_decoder *d); /* once, when it is made */
/* Reads the whole record in d->r into d. False: the reader failed, or d->rejected and *d->why says it. */
bool decoder_read(struct inference_decoder *d);
