/* An inference event in the making. Inside event/ only. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "base/arena.h"
#include "event/inference.h"
#include "event/rows.h"
#include "json/reader.h"

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

/* Reads the whole record in d->r into d. False: the reader failed, or d->rejected and *d->why says it. */
bool decoder_read(struct inference_decoder *d);
