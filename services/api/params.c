/* The rows of what paths and queries say. To add a parameter: its row, which is then checked, documented and readable by its name. */
#include "param_rows.h"
#include "params.h"

#include <assert.h>
#include "api.h"
#include "db/alert.h"
#include "series.h"

#define NEEDED(name_, help_)                                                                                           \
    {                                                                                                                  \
        .name = name_, .kind = PARAM_TEXT, .required = true, .help = help_                                             \
    }
#define NEEDED_SOME(name_, help_)                                                                                      \
    {                                                                                                                  \
        .name = name_, .kind = PARAM_TEXT, .required = true, .many = true, .help = help_                               \
    }
#define ALIASED(name_, alias_, help_)                                                                                  \
    {                                                                                                                  \
        .name = name_, .alias = alias_, .kind = PARAM_TEXT, .help = help_                                              \
    }
#define TIME(name_, help_)                                                                                             \
    {                                                                                                                  \
        .name = name_, .kind = PARAM_TIME, .help = help_                                                               \
    }
#define UTC(name_, help_)                                                                                              \
    {                                                                                                                  \
        .name = name_, .kind = PARAM_UTC, .help = help_                                                                \
    }

#define SPAN TIME("start", "A day before end unless given; at most 400 days before it"), TIME("end", "Now unless given")
#define CURSOR "The next of an answer: what comes after it"
#define PAGES                                                                                                           \
    INT("page", 1, API_LIST_MAX, "Pages begin at 1; without it all are in one answer"),                                 \
        INT("page-size", 1, API_PAGE_MAX, "200 unless given"),                                                          \
    {                                                                                                                   \
        .name = "page-token", .kind = PARAM_TEXT, .max = API_LONG_MAX, .help = "An answer's: the next page of its list" \
    }
#define OBJECTS                                                                                                        \
    PAGES, TEXT("name", "~part: a part of the name"), TEXT("tag", "* is any"),                                         \
        TEXTS("label", "k: there is such a label; k=v: with that value"),                                              \
        CHOICE("partition-by", "name|project_and_name", "The newest of each name"),                                    \
        CHOICE("partition-sort-by", "updated", "How the newest are found"),                                            \
        CHOICE("partition-order", "desc", "How the newest are found"),                                                 \
        INT("rows-per-partition", 1, API_LIST_MAX, "1 unless given")
#define ITER INT("iter", 0, INT32_MAX, "Iteration")

const struct param param_none[] = {END};

/* ---- paths ---- */
static const struct param of_paths[] = {
    {.name = "project", .kind = PARAM_TEXT, .max = 255, .help = "1 to 63 of a-z, 0-9 and -, neither first nor last a -"},
    {.name = "uid", .kind = PARAM_TEXT, .max = 255, .help = "A uid: letters, digits, - and _"},
    {.name = "name", .kind = PARAM_TEXT, .max = 255, .help = "A name"},
    {.name = "key", .kind = PARAM_TEXT, .max = 255, .help = "An artifact's key"},
    {.name = "reference", .kind = PARAM_TEXT, .max = 255, .help = "A tag, or the hash of a version"},
    {.name = "kind", .kind = PARAM_TEXT, .max = 255, .help = "A kind of events, data-drift-detected is one"},
    {.name = "id", .kind = PARAM_TEXT, .max = 255, .help = "A number"},
    {.name = "app", .kind = PARAM_TEXT, .max = 255, .help = "An app's name"},
    {.name = "asset", .kind = PARAM_TEXT, .max = 255, .help = "A file's name"},
};

const struct param *param_of_path(struct str name)
{
    size_t i = 0, n = sizeof of_paths / sizeof *of_paths;
    while (i < n && !str_eqz(name, of_paths[i].name))
        i++;
    assert(i < n);
    return &of_paths[i];
}

/* ---- projects, monitoring ---- */
const struct param params_projects[] = {CHOICE("format", "full|leader|minimal|name_only", "How much of each"),
                                        TEXT("name", "One name"), TEXTS("label", "k or k=v"), END};
const struct param params_project_name[] = {TEXT("name", "One name"), END};
#define PERIOD INT("base_period", 1, 1440, "Minutes; it stays unless given")
const struct param params_period[] = {PERIOD, END};
const struct param params_enable[] = {
    PERIOD, FLAG("deploy_histogram_data_drift_app", "Whether the default app answers; True unless given"), END};
const struct param params_disable[] = {
    FLAG("delete_resources", "Whether monitoring ends; True unless given"),
    FLAG("delete_histogram_data_drift_app", "Whether the default app ends"),
    FLAG("delete_user_applications", "Whether applications end"),
    TEXTS("user_application_list", "Those alone"),
    END,
};
const struct param params_functions_end[] = {NEEDED_SOME("function", "the name of an application"), END};
#define TYPE CHOICE("type", "all|results|metrics", "all unless given")
const struct param params_metrics[] = {TYPE, END};
const struct param params_metrics_of_several[] = {
    NEEDED_SOME("endpoint-id", "Uids of endpoints"), TYPE,
    CHOICE("events-format", "separation|intersection", "Each one's (unless given), or what all have"), END};
const struct param params_metrics_delete[] = {NEEDED("application-name", "the name of an application"),
                                              TEXTS("endpoint-id", "All unless given"), END};
const struct param params_span[] = {SPAN, END};
const struct param params_summaries[] = {TEXTS("name", "Those alone"),
                                         TEXTS("label", "k or k=v"),
                                         FLAG("include-infra", "Services too; True unless given"),
                                         FLAG("include-stats", "Offsets, and what was found"),
                                         SPAN,
                                         END};
const struct param params_summary[] = {FLAG("include-latest-metrics", "The newest values"), SPAN, END};
const struct param params_credentials[] = {TEXT("stream_profile_name", "A profile of type kafka_stream"),
                                           TEXT("tsdb_profile_name", "A profile of type postgresql"),
                                           FLAG("replace_creds", "Other ones take the place of those that are set"), END};
const struct param params_credentials_old[] = {
    TEXT("stream_path", "kafka://"), TEXT("tsdb_connection", "postgresql:// or sqlite:///"),
    TEXT("endpoint_store_connection", "The same"),
    FLAG("replace_creds", "Other ones take the place of those that are set"), END};
const struct param params_secrets[] = {CHOICE("provider", "kubernetes", "Secrets are kept here, sealed"),
                                       TEXTS("secret", "All unless given"), END};

/* ---- alerts ---- */
const struct param params_alert[] = {
    {.name = "force_reset", .alias = "force-reset", .kind = PARAM_FLAG, .help = "It is inactive again"}, END};
const struct param params_alerts[] = {INT("page-size", 1, API_LIST_MAX, "All unless given"),
                                      INT("limit", 1, API_LIST_MAX, "The same"),
                                      INT("offset", 0, INT32_MAX, "How many are left out"), END};
const struct param params_activations[] = {
    PAGES,
    TEXT("name", "~part: a part of the name"),
    TEXT("entity", "~part: a part of the entity's id"),
    TEXTS("severity", "low, medium or high"),
    ALIASED("entity-kind", "entity_kind", "What it is about"),
    ALIASED("event-kind", "event_kind", "What has happened"),
    TIME("since", "Active then or later"),
    TIME("until", "Active then or before"),
    END,
};
const struct param params_events[] = {TEXT("kind", "One kind"), INT("limit", 1, ALERT_EVENTS_KEPT, "100 unless given"),
                                      INT("cursor", 0, INT64_MAX, CURSOR), END};

/* ---- endpoints ---- */
#define OPERATIVE                                                                                                      \
    FLAG("tsdb-metrics", "Numbers of the last 24 hours; True unless given"),                                           \
    {                                                                                                                  \
        .name = "metric", .kind = PARAM_CHOICE, .many = true, .modern = true,                                          \
        .choices = "error_count|avg_latency|result_status|last_request", .help = "Those numbers alone"                 \
    }
#define FUNCTION TEXT("function-name", "Its function"), TEXT("function-tag", "The function's tag")
#define ENDPOINT ALIASED("endpoint-id", "endpoint_id", "One uid of several with that name")
const struct param params_endpoints[] = {
    TEXTS("name", "Names"),
    TEXTS("uid", "Uids"),
    TEXTS("label", "k or k=v"),
    {.name = "mode", .kind = PARAM_INT, .min = 0, .max = 2, .many = true, .help = "0 real time, 1 batch, 2 batch of old"},
    ALIASED("model-name", "model", "Their model"),
    TEXT("model-tag", "A tag of it"),
    ALIASED("function-name", "function", "Their function"),
    TEXT("function-tag", "The function's tag"),
    {.name = "start", .kind = PARAM_TIME, .modern = true, .help = "Made then or later"},
    {.name = "end", .kind = PARAM_TIME, .modern = true, .help = "Made then or before"},
    FLAG("top-level", "Without those that are below a router"),
    FLAG("latest-only", "The latest of each name and function"),
    INT("limit", 1, API_LIST_MAX, "10000 unless given"),
    {.name = "cursor", .alias = "after", .kind = PARAM_INT, .max = INT64_MAX, .help = CURSOR},
    OPERATIVE,
    END,
};
const struct param params_endpoint[] = {
    ENDPOINT,
    FUNCTION,
    {.name = "feature-analysis", .alias = "feature_analysis", .kind = PARAM_FLAG, .help = "The reference and the newest statistics too"},
    OPERATIVE,
    END,
};
const struct param params_endpoint_make[] = {
    CHOICE("creation-strategy", "inplace|overwrite|archive|skip",
           "When there is one of that name and function; inplace unless given"),
    END};
const struct param params_endpoint_patch[] = {
    NEEDED_SOME("attribute-key", "a field to change, that is in the body: ?attribute-key=monitoring_mode"), END};
const struct param params_endpoint_patch_old[] = {
    {.name = "attributes", .kind = PARAM_TEXT, .max = API_LONG_MAX, .help = "A JSON object: the fields to change"}, END};
const struct param params_endpoint_delete[] = {ENDPOINT, FUNCTION, END};
const struct param params_reference[] = {INT("version", 1, INT32_MAX, "The newest unless given"),
                                         FLAG("padded", "As MLRun's server would serve it"), END};
const struct param params_values[] = {
    NEEDED_SOME("name", "a full name, such as PROJECT.histogram-data-drift.result.general_drift"),
    SPAN,
    FLAG("thresholds", "potential, detected and direction of the newest value that says them"),
    FLAG("histogram", "All values of the time, counted"),
    {.name = "bins", .kind = PARAM_INT, .min = 1, .max = SERIES_BINS_MAX, .choices = "auto", .help = "Of the histogram; 20 unless given"},
    INT("max_points", 2, API_LIST_MAX, "The lowest and the highest of as many parts as it takes"),
    CHOICE("compare", "none|previous|day|week", "The same of an earlier time"),
    END,
};

/* ---- stored objects ---- */
#define TAG(help_)                                                                                                     \
    {                                                                                                                  \
        .name = "tag", .kind = PARAM_TEXT, .max = 255, .help = help_                                                   \
    }
const struct param params_artifact_put[] = {TAG("Names the version"), TEXT("tree", "What made it"), ITER, END};
#define ONE_ARTIFACT                                                                                                   \
    ALIASED("object-uid", "uid", "The version"), TEXT("tree", "What made it"), TEXT("tag", "latest unless given"), ITER
const struct param params_artifact[] = {ONE_ARTIFACT, END};
const struct param params_artifact_delete[] = {ONE_ARTIFACT,
                                               {.name = "deletion_strategy",
                                                .alias = "deletion-strategy",
                                                .kind = PARAM_CHOICE,
                                                .choices = "metadata-only",
                                                .help = "The data is the client's to delete"},
                                               END};
const struct param params_artifacts[] = {
    OBJECTS,
    TEXT("kind", "One kind"),
    CHOICE("category", "model|dataset|document|llm-prompt|other", "A kind, or none of these"),
    ALIASED("producer_uri", "parent", "400: lists are not filtered by it; tree does it"),
    TEXT("tree", "What made it"),
    ITER,
    UTC("since", "Changed then or later"),
    UTC("until", "Changed then or before"),
    INT("days_ago", 0, 36500, "Changed since then"),
    END,
};
const struct param params_function_put[] = {TAG("latest unless given"), FLAG("versioned", "Each version is kept"), END};
const struct param params_function[] = {TEXT("tag", "latest unless given"),
                                        ALIASED("hash_key", "hash-key", "The version"), END};
const struct param params_functions[] = {OBJECTS,
                                         TEXT("kind", "One kind"),
                                         TEXTS("state", "States"),
                                         UTC("since", "Changed then or later"),
                                         UTC("until", "Changed then or before"),
                                         END};
const struct param params_tag[] = {TEXT("tag", "latest unless given"), END};
const struct param params_deploy_state[] = {
    TEXT("tag", "latest unless given"),
    {.name = "last_log_timestamp", .kind = PARAM_NUMBER, .help = "Milliseconds: the log from there on"},
    END};
const struct param params_serving_spec[] = {TEXT("tag", "latest unless given"),
                                            TEXT("brokers", "Kafka, as its server reaches it"), END};
const struct param params_iter[] = {ITER, END};
const struct param params_runs[] = {
    OBJECTS,
    FLAG("iter", "Iterations too; True unless given"),
    TEXTS("uid", "Uids"),
    TEXTS("states", "States"),
    TEXTS("state", "The same"),
    UTC("start_time_from", "Begun then or later"),
    UTC("start_time_to", "Begun then or before"),
    UTC("last_update_time_from", "Changed then or later"),
    UTC("last_update_time_to", "Changed then or before"),
    ALIASED("end_time_from", "end_time_to", "400: runs are found by start_time and last_update_time"),
    INT("days_ago", 0, 36500, "Begun since then"),
    END,
};
const struct param params_versioned[] = {FLAG("versioned", "Each version is kept; True unless given"), END};
const struct param params_features[] = {OBJECTS, TEXT("state", "One state"),
                                        ALIASED("entity", "feature", "400: lists are not filtered by it"), END};
const struct param params_tasks[] = {OBJECTS,
                                     TEXT("state", "One state"),
                                     UTC("created_from", "Made then or later"),
                                     UTC("created_to", "Made then or before"),
                                     UTC("last_update_time_from", "Changed then or later"),
                                     UTC("last_update_time_to", "Changed then or before"),
                                     END};

/* ---- operation, access ---- */
const struct param params_letters[] = {TEXT("project", "One project's"),
                                       TEXT("pipeline", "One pipeline's"),
                                       TEXT("reason", "One reason"),
                                       INT("limit", 1, API_LIST_MAX, "100 unless given"),
                                       TEXT("cursor", CURSOR),
                                       FLAG("all", "Those that were sent again too"),
                                       END};
const struct param params_letter[] = {NEEDED("id", "Pipeline, topic, partition and offset, as lists have it"), END};
const struct param params_tokens[] = {FLAG("all", "Those that were revoked too"), END};
const struct param params_audit[] = {
    TEXT("who", "A token's name"),
    TEXT("project", "One project"),
    TIME("since", "Then or later"),
    {.name = "cursor", .alias = "before", .kind = PARAM_INT, .max = INT64_MAX, .help = CURSOR},
    INT("limit", 1, 1000, "100 unless given"),
    END};

/* ---- pages ---- */
const struct param params_page_project[] = {INT("after", 0, INT64_MAX, "The next page"), END};
const struct param params_page_endpoint[] = {INT("refresh", 0, 3600, "Seconds; 0: the page stands still"), END};
const struct param params_page_login[] = {TEXT("next", "The page to go to"), TEXT("unknown", "The token was not known"),
                                          END};
