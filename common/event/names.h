/* Names on the wire: topics, functions, metric names, and what is allowed in each. MLRun's, exactly. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "base/rc.h"
#include "base/str.h"

#define NAME_UID_MAX 64
#define NAME_PROJECT_MAX 63
#define NAME_METRIC_MAX 128
#define NAME_APP_MAX 63
#define NAME_TOPIC_MAX 249 /* Kafka's own limit */
#define NAME_FQN_MAX 400

enum function_id { FUNCTION_STREAM, FUNCTION_CONTROLLER, FUNCTION_WRITER, FUNCTION_HISTOGRAM, FUNCTION_IDS };
const char *function_name(enum function_id id); /* "model-monitoring-stream", "…-controller", "…-writer", "histogram-data-drift" */

bool name_is_project(struct str s);     /* [a-z0-9]([-a-z0-9]{0,61}[a-z0-9])? */
bool name_is_uid(struct str s);         /* [a-zA-Z0-9_-]{1,64} */
bool name_is_app(struct str s);         /* [a-zA-Z0-9_-]{1,63} */
bool name_is_metric(struct str s);      /* [a-zA-Z_][a-zA-Z0-9_]{0,127}: results, metrics, stats */
bool name_is_app_allowed(struct str s); /* name_is_app and neither an infrastructure name nor ending in "-batch" */
bool name_is_dots(struct str s);        /* . or ..: no path of a page or an api can hold it */
bool name_is_system_id(struct str s);   /* [a-zA-Z0-9._-]{1,64} */

/* Topics. E_INVALID: a part is no valid name, or the whole is longer than Kafka takes. */
rc_t topic_stream(char out[NAME_TOPIC_MAX + 1], const char *system_id, struct str project, struct err *e) MUST_CHECK;
rc_t topic_function(char out[NAME_TOPIC_MAX + 1], const char *system_id, struct str project, struct str function,
                    struct err *e) MUST_CHECK;
rc_t topic_dlt(char out[NAME_TOPIC_MAX + 1], const char *topic, struct err *e) MUST_CHECK; /* topic + ".dlt" */

/* {project}.{app}.{result|metric}.{name} */
size_t fqn_metric(char out[NAME_FQN_MAX + 1], struct str project, struct str app, bool is_result, struct str name);
/* {endpoint_uid}.{app}.result.{name} */
size_t fqn_instance(char out[NAME_FQN_MAX + 1], struct str uid, struct str app, struct str name);
struct fqn {
    struct str project, app, name;
    bool is_result;
};
rc_t fqn_parse(struct str s, struct fqn *ret, struct err *e) MUST_CHECK; /* of a metric name; borrows */

/* `[project/]function[:tag][@hash]`; absent parts have n = 0. Borrows. */
struct function_uri {
    struct str project, function, tag, hash_key;
};
rc_t function_uri_parse(struct str s, struct function_uri *ret, struct err *e) MUST_CHECK;

/* The uid MLRun <= 1.7 made: sha1 of project_function_tag_model_version, 40 hex digits.
 * The endpoint's uid is its first 32 digits (UID_LEGACY_LEN); the 40 are an alias. */
#define UID_LEGACY_LEN 32
void uid_legacy(char out[41], const struct function_uri *uri, struct str model, struct str version);
bool uid_is_legacy(struct str s); /* 40 hex digits */
