/* The inference event: one served request on its way from a model server to the stream service.
 * Every shape MLRun sends is read into one plain struct, or refused with a reason; nothing is cut in silence.
 * Pure: no I/O, no clock. The same bytes always give the same answer. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/rc.h"
#include "base/str.h"
#include "event/names.h"
#include "event/reject.h"

#define INFERENCE_BYTES_MAX (1u << 20)
#define INFERENCE_ROWS_MAX 10000u
#define INFERENCE_COLS_MAX 1000u        /* features of a row, and outputs of a row */
#define INFERENCE_STRING_MAX (1u << 20) /* one string may fill the record: prompts are long */
#define INFERENCE_ID_MAX 256u
#define INFERENCE_SCHEMA_VERSION 1 /* of the envelope: a record that names a higher one is refused */
#define INFERENCE_NO_TIME INT64_MIN

enum value_type { VALUE_NULL, VALUE_NUMBER, VALUE_BOOL, VALUE_STRING, VALUE_JSON };

struct value {
    enum value_type type;
    bool is_int;  /* a number written without fraction and exponent */
    double num;   /* NUMBER (may be NaN or infinite); BOOL: 0 or 1; else 0 */
    struct str s; /* STRING: the text. JSON (array or object): its text. NUMBER: as written */
};

enum inference_kind {
    INFERENCE_PREDICTION,
    INFERENCE_ERROR,          /* `error` is there and not null; "" counts. Rows are given if they could be read */
    INFERENCE_NOP,            /* MLRun's nop_event: nothing to count */
    INFERENCE_BATCH_COMPLETE, /* end of a batch job: batch_first_us, batch_last_us */
    INFERENCE_REQUEST,        /* half a prediction, from a request logger: inputs alone, waits for its other half */
    INFERENCE_RESPONSE,       /* the other half: outputs alone, not taken apart before they are paired */
    INFERENCE_LABEL,          /* the truth about an earlier request: request_id, label */
};

struct inference_event {
    enum inference_kind kind;
    bool is_ingest;         /* came in the HTTP ingest form: when_us may be INFERENCE_NO_TIME, request_id empty */
    bool is_plain;          /* of no MLRun server: when_us and request_id may be missing here too */
    bool is_paired;         /* of two halves: its request_id alone tells it from others */
    bool uid_is_made;       /* nobody sent a uid: it is made of function and model, whose record may have another */
    struct str project;     /* from `project`, else from function_uri; empty: not said */
    struct str endpoint_id; /* as sent; may be empty */
    struct str uid;         /* the endpoint's uid: what was sent, the first 32 of 40 hex digits, or made from names */
    struct str uid_alias;   /* the 40-digit form of an old sender; else empty */
    struct str model;       /* the endpoint's name */
    struct str model_class;
    struct str function_uri; /* as sent */
    struct function_uri function;
    struct str op;
    struct str request_id; /* text; 0 gives "0" */
    struct str traceparent;
    struct str error;   /* INFERENCE_ERROR: the message; another type than string: its JSON text */
    struct str labels;  /* JSON object as written, or empty (also for null and {}) */
    struct str metrics; /* the same */
    struct str label;   /* INFERENCE_LABEL: a JSON value as written */
    int64_t when_us;
    int64_t latency_us;            /* -1: not said. `latency_us` wins over `microsec`, which holds no whole seconds */
    double sampling_percentage;    /* > 0, <= 100; 100 unless sent */
    double effective_sample_count; /* rows the sender kept; n_rows unless sent */
    double estimated_prediction_count; /* effective_sample_count * 100 / sampling_percentage: of the whole request */
    int64_t batch_first_us, batch_last_us;

    size_t n_rows, n_cols, n_label_cols;
    const struct value *inputs;     /* n_rows x n_cols, row after row */
    const struct value *outputs;    /* n_rows x n_label_cols */
    const struct str *input_names;  /* n_cols normal names, or NULL: the event names none */
    const struct str *output_names; /* n_label_cols, or NULL */
    /* Where they stood in what was sent, for messages; NULL: they did not. */
    const char *inputs_field, *outputs_field, *input_names_field, *output_names_field;
    bool inputs_by_name; /* input_names came from the keys of objects: match them to the record's by name, not by place */
    bool outputs_by_name;
};

/* The uid of an event or label that names function and model alone: 32 hex digits. Function and tag may be empty. */
void uid_of_names(char out[UID_LEGACY_LEN + 1], struct str function, struct str tag, struct str model);

/* Forms, told apart by their keys (schemas/ has a JSON Schema of each):
 *   MLRun's          class|model_class, request, resp, … and its HTTP ingest form, model_endpoint_uid, …
 *   plain            model, inputs, outputs [function, id, when, latency_us, labels, error]
 *   columnar         model, columns, data, outputs: what pandas' to_dict("split") gives
 *   V1, V2 bodies    model, instances, predictions; model, inputs and outputs of tensors; or model with the two bodies
 *                    whole as request and response
 *   CloudEvents      of KServe's logger, specversion …: two halves (event/cloudevent.h)
 *   label            kind: label, request_id, label [when, model, function, endpoint_id]
 * Rows, as MLRun makes them:
 *   inputs   a list with any element that is no list is ONE row; else each list is a row.
 *   outputs  no list: one row of one value. A list as long as there are input rows: one element a row.
 *            Another list with any element that is no list: ONE row. Else each list is a row.
 * Where MLRun then cuts or drops in silence this refuses: unequal row counts, ragged rows, no rows, names and
 * values unequal in number, objects with different keys as rows. Objects with the same keys (and in the ingest form
 * an object of columns) become rows by name. Integers in rows become doubles; numbers beyond a double are refused;
 * NaN and infinities are taken as Python writes them.
 * `instances` is a list of rows always. A V2 tensor has its rows in its first dimension, the others are its columns; of
 * several tensors each is a column, or NAME_0, NAME_1, …, by name; one alone has no names.
 * An error event is counted whatever its inputs look like: n_rows is 0 if they make no rows. */

struct inference_decoder; /* keeps its memory from event to event; one a thread */
struct inference_decoder *inference_decoder_new(void);
void inference_decoder_free(struct inference_decoder *d);
/* On OK *ret borrows from p and from d until the next decode. E_INVALID: *why says it, *ret is untouched. */
rc_t inference_decode(struct inference_decoder *d, const char *p, size_t n, struct inference_event *ret,
                      struct reject *why) MUST_CHECK;
/* project (of the topic or path) against what the event says: REJECT_PROJECT_MISMATCH. */
rc_t inference_check_project(const struct inference_event *ev, struct str project, struct reject *why) MUST_CHECK;

/* Writes an event in the form of MLRun's graph steps. How an HTTP ingest event goes onto its topic: when_us and
 * request_id must be filled in by then. Also for tests. */
void inference_encode(const struct inference_event *ev, struct buf *out);

/* Takes an HTTP body apart: one event, an array of events, or one event a line. Copies nothing.
 * Elements are not checked here but in inference_decode, so that a bad one does not spoil its neighbours. */
struct inference_split {
    const char *body;
    size_t n, at;
    size_t index;  /* of the record last given, from 0 */
    size_t line;   /* its line, from 1 */
    size_t offset; /* its first byte in the body */
    enum { SPLIT_ONE, SPLIT_ARRAY, SPLIT_LINES } mode;
    bool started, ended;
    size_t next_index, next_line;
};
void inference_split_init(struct inference_split *s, const char *body, size_t n,
                          bool lines); /* lines: the Content-Type says ndjson */
/* 1: *ret is the next record. 0: no more. -1: the body itself is broken from why->position on; nothing comes after. */
int inference_split_next(struct inference_split *s, struct str *ret, struct reject *why);
