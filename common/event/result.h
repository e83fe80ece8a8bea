/* The writer's event: one result, metric or statistics of one app for one window. MLRun's form: the payload is JSON
 * inside the JSON string `data`, extra data again JSON inside a string in it; NaN and infinities are bare tokens.
 *
 * Time: as in window.h. Our apps add `modelmon` with the exact window and its revision. Results of MLRun's Python
 * apps have none: start and end get + 1 µs where that makes a whole second, else they stay. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/rc.h"
#include "base/str.h"
#include "event/reject.h"

#define RESULT_BYTES_MAX (4u << 20)
#define RESULT_EXTRA_MAX (64u << 10)

enum result_event_kind { RESULT_RESULT, RESULT_METRIC, RESULT_STATS };
enum result_kind {
    KIND_DATA_DRIFT,
    KIND_CONCEPT_DRIFT,
    KIND_MODEL_PERFORMANCE,
    KIND_SYSTEM_PERFORMANCE,
    KIND_APP_ANOMALY,
    RESULT_KINDS
};
enum result_status { STATUS_IRRELEVANT = -1, STATUS_NO_DETECTION, STATUS_POTENTIAL, STATUS_DETECTED };
const char *result_event_kind_name(enum result_event_kind kind); /* "result" "metric" "stats" */
const char *result_kind_name(enum result_kind kind);             /* "data_drift" … "mm_app_anomaly" */
const char *result_status_words(int status); /* for people: "no verdict" "no drift" "possible drift" "drift detected" */
const char *result_found_words(int status); /* the same of what is no drift: "no verdict" "fine" "possible problem" "problem" */
const char *result_status_name(enum result_status status); /* "irrelevant" "no_detection" "potential_detection" "detected" */

struct result_event {
    struct str project; /* empty when an MLRun app sent it */
    struct str endpoint_id, endpoint_name, application_name;
    struct str traceparent;
    int64_t start_us, end_us;  /* the window, [start, end) */
    int64_t revision;          /* 0 unless said */
    int64_t reference_version; /* -1: not said */
    bool reference_auto; /* the reference was made of the endpoint's first rows; written alone, for whoever reads the topic */
    bool is_exact;       /* the times came from our own object */

    enum result_event_kind event_kind;
    struct str name;           /* of the result, metric or statistics */
    double value;              /* RESULT, METRIC; may be NaN or infinite */
    enum result_kind kind;     /* RESULT */
    enum result_status status; /* RESULT */
    struct str extra_data;     /* RESULT: a JSON object; "{}" if none */
    struct str stats;          /* STATS: a JSON object */
    int64_t timestamp_us;      /* STATS: as sent, or end_us */
};

void result_encode(const struct result_event *ev, struct buf *out);
/* *ret borrows from p and a. */
rc_t result_decode(const char *p, size_t n, struct arena *a, struct result_event *ret, struct reject *why) MUST_CHECK;
