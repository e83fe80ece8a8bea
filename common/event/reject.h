/* Why a record or a request is refused: one table of codes for dead letters, counters and problem+json. */
#pragma once
#include <stddef.h>
#include "base/rc.h"
#include "base/str.h"
#include "json/reader.h"

/* To add one: a line here, its row in reject.c. Names are part of the wire and of metrics: never change one. */
enum reject_code {
    REJECT_NONE,
    REJECT_MALFORMED_JSON,
    REJECT_TOO_LARGE, /* bytes, depth, strings or values over a limit */
    REJECT_WRONG_TYPE,
    REJECT_BAD_VALUE, /* right type, impossible value */
    REJECT_MISSING_FIELD,
    REJECT_MISSING_WHEN,
    REJECT_MISSING_ID,
    REJECT_MISSING_INPUTS,
    REJECT_MISSING_OUTPUTS,
    REJECT_MISSING_ENDPOINT, /* neither endpoint_id nor what its uid could be made of */
    REJECT_BAD_TIME,
    REJECT_BAD_NAME,
    REJECT_ROW_COUNT_MISMATCH, /* inputs and outputs have unequal numbers of rows */
    REJECT_RAGGED_ROWS,        /* rows of unequal length */
    REJECT_DICT_ROWS,          /* rows that are objects with different keys, or objects among other rows */
    REJECT_TOO_MANY_ROWS,
    REJECT_TOO_MANY_FEATURES,
    REJECT_SCHEMA_MISMATCH, /* the number of values is not the number of names */
    REJECT_UNSUPPORTED_VERSION,
    REJECT_UNKNOWN_KIND,
    REJECT_PROJECT_MISMATCH,
    REJECT_UNKNOWN_PROJECT,
    REJECT_UNKNOWN_ENDPOINT,
    REJECT_UNKNOWN_APP,
    REJECT_TOO_MANY_ENDPOINTS,
    REJECT_FUTURE_TIMESTAMP,
    REJECT_MONITORING_OFF,
    REJECT_FORBIDDEN,
    REJECT_UNPAIRED,   /* half a prediction whose other half did not come in time */
    REJECT_APP_FAILED, /* the app's own code refused this window; text says why */
    REJECT_INTERNAL,   /* a record that made the process fail again and again */
    REJECT_CODES       /* how many */
};

struct reject {
    enum reject_code code;
    size_t position; /* byte in the record */
    char field[96];  /* JSON path, "" when the whole record is meant */
    char text[160];  /* one sentence for a person; never holds a value of the record */
};

const char *reject_name(enum reject_code code);  /* "row_count_mismatch" */
const char *reject_title(enum reject_code code); /* "Inputs and outputs have unequal numbers of rows" */
int reject_http_status(enum reject_code code);   /* 400, 404, 413, 422, … */

/* Fills *why and returns E_INVALID, so that a decoder can `return reject_set(…)`. field may be NULL. */
rc_t reject_set(struct reject *why, enum reject_code code, const char *field, size_t position, const char *fmt, ...)
    PRINTF(5, 6);
rc_t reject_reader(struct reject *why, const struct json_reader *r); /* from a failed reader */
