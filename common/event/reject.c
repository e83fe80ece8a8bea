/* The table of reject codes. */
#include "event/reject.h"
#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* In the order of enum reject_code. Status: what an HTTP trigger answers when the whole request is refused for it. */
static const struct {
    const char *name, *title;
    int status;
} rows[REJECT_CODES] = {
    [REJECT_NONE] = {"none", "Nothing is wrong", 200},
    [REJECT_MALFORMED_JSON] = {"malformed_json", "The record is not valid JSON", 400},
    [REJECT_TOO_LARGE] = {"too_large", "The record is larger than a limit", 413},
    [REJECT_WRONG_TYPE] = {"wrong_type", "A field has another type than it must have", 400},
    [REJECT_BAD_VALUE] = {"bad_value", "A field has a value it cannot have", 400},
    [REJECT_MISSING_FIELD] = {"missing_field", "A required field is missing", 400},
    [REJECT_MISSING_WHEN] = {"missing_when", "The event does not say when it happened", 400},
    [REJECT_MISSING_ID] = {"missing_id", "The event has no request id", 400},
    [REJECT_MISSING_INPUTS] = {"missing_inputs", "The event has no inputs", 400},
    [REJECT_MISSING_OUTPUTS] = {"missing_outputs", "The event has no outputs", 400},
    [REJECT_MISSING_ENDPOINT] = {"missing_endpoint", "The event does not say which endpoint it belongs to", 400},
    [REJECT_BAD_TIME] = {"bad_time", "A time cannot be read", 400},
    [REJECT_BAD_NAME] = {"bad_name", "A name has characters or a length it may not have", 400},
    [REJECT_ROW_COUNT_MISMATCH] = {"row_count_mismatch", "Inputs and outputs have unequal numbers of rows", 400},
    [REJECT_RAGGED_ROWS] = {"ragged_rows", "Rows have unequal numbers of values", 400},
    [REJECT_DICT_ROWS] = {"dict_rows", "Rows are objects whose keys differ", 400},
    [REJECT_TOO_MANY_ROWS] = {"too_many_rows", "The event has more rows than the limit", 413},
    [REJECT_TOO_MANY_FEATURES] = {"too_many_features", "A row has more values than the limit", 413},
    [REJECT_SCHEMA_MISMATCH] = {"schema_mismatch", "The number of values is not the number of names", 422},
    [REJECT_UNSUPPORTED_VERSION] = {"unsupported_version", "The event's schema version is newer than this server", 422},
    [REJECT_UNKNOWN_KIND] = {"unknown_kind", "The event is of a kind this function does not take", 400},
    [REJECT_PROJECT_MISMATCH] = {"project_mismatch", "The event names another project than it was sent to", 422},
    [REJECT_UNKNOWN_PROJECT] = {"unknown_project", "There is no such project", 404},
    [REJECT_UNKNOWN_ENDPOINT] = {"unknown_endpoint", "There is no such endpoint", 404},
    [REJECT_UNKNOWN_APP] = {"unknown_app", "There is no such application", 404},
    [REJECT_TOO_MANY_ENDPOINTS] = {"too_many_endpoints", "The project has as many endpoints as it may have", 422},
    [REJECT_FUTURE_TIMESTAMP] = {"future_timestamp", "The event's time lies in the future", 422},
    [REJECT_MONITORING_OFF] = {"monitoring_off", "Monitoring of this project or endpoint is switched off", 422},
    [REJECT_FORBIDDEN] = {"forbidden", "Who sends it may not send to this project", 403},
    [REJECT_UNPAIRED] = {"unpaired", "The other half of the prediction did not come in time", 422},
    [REJECT_APP_FAILED] = {"app_failed", "The application failed on this window", 500},
    [REJECT_INTERNAL] = {"internal", "The record made the server fail again and again", 500},
};

const char *reject_name(enum reject_code code)
{
    return rows[code].name;
}

const char *reject_title(enum reject_code code)
{
    return rows[code].title;
}

int reject_http_status(enum reject_code code)
{
    return rows[code].status;
}

/* Both go into a database that takes UTF-8 alone, and names in a path are cut where the room ends. */
static rc_t whole_characters(struct reject *why)
{
    text_cut_utf8(why->field);
    text_cut_utf8(why->text);
    return E_INVALID;
}

rc_t reject_set(struct reject *why, enum reject_code code, const char *field, size_t position, const char *fmt, ...)
{
    va_list args;
    why->code = code;
    why->position = position;
    (void)snprintf(why->field, sizeof why->field, "%s", field ? field : ""); /* cut to fit, both */
    va_start(args, fmt);
    (void)vsnprintf(why->text, sizeof why->text, fmt, args);
    va_end(args);
    return whole_characters(why);
}

static enum reject_code code_of(enum json_error code)
{
    if (code == JSON_E_TYPE)
        return REJECT_WRONG_TYPE;
    if (code == JSON_E_RANGE)
        return REJECT_BAD_VALUE;
    return code >= JSON_E_DEPTH ? REJECT_TOO_LARGE : REJECT_MALFORMED_JSON;
}

rc_t reject_reader(struct reject *why, const struct json_reader *r)
{
    struct err e = {0};
    why->code = code_of(r->error.code);
    why->position = r->error.offset;
    (void)jr_path(r, why->field, sizeof why->field);
    (void)jr_error(r, &e);
    (void)snprintf(why->text, sizeof why->text, "%.159s", e.text);
    return whole_characters(why);
}
