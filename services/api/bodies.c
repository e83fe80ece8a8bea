/* The rows of what bodies say. What no row names is not looked at, unless a body or an object of it is closed: MLRun's objects have
 * more members than are read here, and are kept whole. */
#include "alert_check.h"
#include "api.h"
#include "app/first_rows.h"
#include "param_rows.h"
#include "params.h"

#define NEEDED(name_, help_)                                                                                           \
    {                                                                                                                  \
        .name = name_, .kind = PARAM_TEXT, .min = 1, .required = true, .help = help_                                   \
    }
#define OBJECT(name_, help_)                                                                                           \
    {                                                                                                                  \
        .name = name_, .kind = PARAM_OBJECT, .help = help_                                                             \
    }
#define ANY(name_, help_)                                                                                              \
    {                                                                                                                  \
        .name = name_, .kind = PARAM_ANY, .help = help_                                                                \
    }
#define NEEDED_OBJECT(name_, help_)                                                                                    \
    {                                                                                                                  \
        .name = name_, .kind = PARAM_OBJECT, .required = true, .help = help_                                           \
    }

static const struct param verification[] = {NEEDED("resource", "/projects/NAME/…"),
                                            NEEDED("action", "read, or what changes"), END};
const struct param_body body_verification = {.rows = verification, .help = "What somebody wants to do"};

/* ---- projects ---- */
#define PROJECT_SPEC                                                                                                   \
    OBJECT("spec", "MLRun's, kept whole"), TEXT("spec.artifact_path", "Where clients store artifacts"),                \
        {.name = "spec.monitoring", .kind = PARAM_OBJECT, .closed = true, .help = "What is not given stays as it is"}, \
        ANY("spec.monitoring.base_period", "How long a window is: 10s, 5m, 1h, or a number of minutes"),               \
        FLAG("spec.monitoring.enabled", "Windows are computed"),                                                       \
        FLAG("spec.monitoring.default_app", "They are sent to histogram-data-drift"),                                  \
        INT("spec.monitoring.reference_auto", 0, FIRST_ROWS_MAX,                                                       \
            "So many first rows are the reference of an endpoint without one; 0: never")
static const struct param project_new[] = {NEEDED_OBJECT("metadata", "MLRun's"), NEEDED("metadata.name", "Its name"),
                                           PROJECT_SPEC, END};
const struct param_body body_project_new = {.rows = project_new, .help = "MLRun's project"};
static const struct param project[] = {OBJECT("metadata", "MLRun's"), TEXT("metadata.name", "As in the path"),
                                       PROJECT_SPEC, END};
const struct param_body body_project = {.rows = project, .help = "MLRun's project"};

/* ---- alerts ---- */
static const struct param alert[] = {
    TEXT("name", "As in the path"),
    TEXT("project", "As in the path"),
    {.name = "summary", .kind = PARAM_TEXT, .max = ALERT_TEXT_MAX, .required = true, .help = "What is told"},
    {.name = "description", .kind = PARAM_TEXT, .max = ALERT_TEXT_MAX, .help = "What it is for"},
    {.name = "severity", .kind = PARAM_CHOICE, .choices = "low|medium|high", .required = true, .help = "How bad it is"},
    CHOICE("reset_policy", "auto|manual", "auto unless given"),
    TEXT("cooldown_period", "With its unit: 15s, 5m, 3h, 1d"),
    NEEDED_OBJECT("entities", "What it is about"),
    NEEDED("entities.kind", "A kind of them"),
    NEEDED("entities.project", "As in the path"),
    {.name = "entities.ids", .kind = PARAM_TEXT, .many = true, .required = true, .max = ALERT_TEXT_MAX, .help = "Exactly one"},
    NEEDED_OBJECT("trigger", "Either events or prometheus_alert"),
    TEXTS("trigger.events", "Kinds of events"),
    TEXT("trigger.prometheus_alert", "An alert's name"),
    OBJECT("criteria", "How often, in which time"),
    INT("criteria.count", 1, ALERT_COUNT_MAX, "1 unless given"),
    TEXT("criteria.period", "With its unit"),
    {.name = "notifications", .kind = PARAM_OBJECT, .many = true, .required = true, .help = "Who is told"},
    NEEDED_OBJECT("notifications[].notification", "One of them"),
    {.name = "notifications[].notification.kind",
     .kind = PARAM_CHOICE,
     .choices = "slack|webhook|git|mail",
     .required = true,
     .help = "Others reach nobody from a server"},
    {.name = "notifications[].notification.name",
     .kind = PARAM_TEXT,
     .min = 1,
     .max = ALERT_NAME_MAX,
     .required = true,
     .help = "Its name, that no other has"},
    {.name = "notifications[].notification.message", .kind = PARAM_TEXT, .max = ALERT_TEXT_MAX, .help = "Instead of the summary"},
    OBJECT("notifications[].notification.params", "Where to"),
    OBJECT("notifications[].notification.secret_params", "The same, sealed"),
    TEXT("notifications[].cooldown_period", "With its unit"),
    END,
};
const struct param_body body_alert = {.rows = alert, .help = "MLRun's alert"};
static const struct param event[] = {
    TEXT("kind", "As in the path"),
    NEEDED_OBJECT("entity", "What it happened to"),
    NEEDED("entity.kind", "A kind of them"),
    NEEDED("entity.project", "As in the path"),
    {.name = "entity.ids", .kind = PARAM_TEXT, .many = true, .required = true, .max = ALERT_TEXT_MAX, .help = "Exactly one"},
    TEXT("timestamp", "ISO 8601; now unless given"),
    OBJECT("value_dict", "Anything"),
    END,
};
const struct param_body body_event = {.rows = event, .nan = true, .help = "MLRun's event"};

/* ---- what a project connects to ---- */
static const struct param profile[] = {
    NEEDED("name", "Its name"), NEEDED("type", "MLRun's"),         NEEDED("object", "Its public part, as text of JSON"),
    TEXT("private", "Sealed"),  TEXT("project", "As in the path"), END,
};
const struct param_body body_profile = {.rows = profile, .help = "MLRun's datastore profile"};
static const struct param secrets[] = {CHOICE("provider", "kubernetes", "Secrets are kept here, sealed"),
                                       OBJECT("secrets", "Values by their names"), END};
const struct param_body body_secrets = {.rows = secrets, .help = "Secrets"};

/* ---- endpoints ---- */
static const struct param endpoint[] = {
    TEXT("kind", "model-endpoint"),
    NEEDED_OBJECT("metadata", "What it is"),
    NEEDED("metadata.name", "Its name"),
    NEEDED("metadata.project", "As in the path"),
    TEXT("metadata.uid", "Made unless given"),
    OBJECT("metadata.labels", "Text, numbers, booleans or null"),
    INT("metadata.endpoint_type", 1, 5, "1 node, 2 router, 3 leaf, 4 batch, 5 system"),
    INT("metadata.mode", -1, 2, "0 real time, 1 batch, 2 batch of old; by endpoint_type unless given"),
    OBJECT("spec", "What it serves"),
    TEXT("spec.function_name", "Its function"),
    TEXT("spec.function_tag", "The function's tag"),
    TEXT("spec.model_name", "Its model"),
    TEXT("spec.model_uri", "store://models/…: its reference is the model's"),
    TEXT("spec.model_class", "Its class"),
    TEXTS("spec.feature_names", "What it is asked"),
    TEXTS("spec.label_names", "What it answers"),
    OBJECT("spec.feature_stats", "Its reference"),
    OBJECT("status", "How it is"),
    CHOICE("status.monitoring_mode", "enabled|disabled", "enabled unless given"),
    {.name = "status.sampling_percentage", .kind = PARAM_NUMBER, .help = "Above 0, at most 100"},
    TEXT("status.first_request", "ISO 8601"),
    TEXT("status.last_request", "ISO 8601"),
    END,
};
const struct param_body body_endpoint = {.rows = endpoint, .nan = true, .help = "MLRun's ModelEndpoint"};
static const struct param endpoint_old[] = {OBJECT("metadata", "What it is"),
                                            TEXT("metadata.uid", "As in the path"),
                                            NEEDED_OBJECT("spec", "What it serves"),
                                            NEEDED("spec.model", "Its name"),
                                            TEXT("spec.function_uri", "Its function"),
                                            OBJECT("status", "How it is"),
                                            END};
const struct param_body body_endpoint_old = {.rows = endpoint_old, .nan = true, .help = "MLRun's ModelEndpoint of 1.7"};
static const struct param app[] = {FLAG("active", "It is told of closed windows; true unless given"),
                                   FLAG("needs_rows", "It waits for their rows in the lake"),
                                   FLAG("wants_empty", "Of windows without rows too"), END};
const struct param_body body_app = {.rows = app, .closed = true, .help = "An app"};
static const struct param reference[] = {
    ANY("columns", "Names of columns, or their values by name"),
    {.name = "data", .kind = PARAM_ANY, .many = true, .help = "Rows"},
    TEXTS("labels", "Columns that are outputs"),
    OBJECT("feature_stats", "MLRun's statistics, instead of rows"),
    END,
};
const struct param_body body_reference = {
    .rows = reference, .nan = true, .closed = true, .apart = true, .help = "Training rows, or statistics of them"};

/* ---- stored objects ---- */
static const struct param object[] = {OBJECT("metadata", "Name, project, labels, tag"),
                                      TEXT("metadata.project", "As in the path"), OBJECT("spec", "What it is"),
                                      OBJECT("status", "How it is"), END};
const struct param_body body_object = {.rows = object, .nan = true, .help = "MLRun's object, kept whole"};
static const struct param deploy[] = {NEEDED_OBJECT("function", "MLRun's function"),
                                      OBJECT("function.metadata", "Name, project, tag"),
                                      OBJECT("function.spec", "With its graph"), END};
const struct param_body body_deploy = {.rows = deploy, .nan = true, .help = "The function to deploy"};
const struct param_body body_update = {.rows = param_none, .nan = true, .help = "What changes"};

/* ---- Grafana ---- */
static const struct param search[] = {NEEDED("target", "target_endpoint=…"), END};
const struct param_body body_search = {.rows = search, .help = "What can be chosen"};
static const struct param query[] = {
    {.name = "targets", .kind = PARAM_OBJECT, .many = true, .required = true, .help = "What is asked for"},
    NEEDED("targets[].target", "target_endpoint=…;project=P"),
    OBJECT("range", "from, to"),
    TEXT("range.from", "ISO 8601"),
    TEXT("range.to", "ISO 8601"),
    OBJECT("rangeRaw", "from, to, such as now-6h"),
    TEXT("rangeRaw.from", "now-6h, or ISO 8601"),
    TEXT("rangeRaw.to", "now, or ISO 8601"),
    END};
const struct param_body body_query = {.rows = query, .help = "Grafana's query"};

/* ---- operation, access ---- */
#define WHO                                                                                                            \
    {                                                                                                                  \
        .name = "who", .kind = PARAM_TEXT, .min = 1, .max = API_WHO_MAX, .help = "Who decided; api unless given"       \
    }
static const struct param skip[] = {
    NEEDED("pipeline", "Whose"),
    NEEDED("topic", "Its topic"),
    {.name = "partition", .kind = PARAM_INT, .max = INT32_MAX, .required = true, .help = "Of it"},
    {.name = "to", .kind = PARAM_INT, .max = API_OFFSET_MAX, .choices = "low|high", .required = true, .help = "Where it goes on"},
    FLAG("force", "Also when it does not stand still"),
    WHO,
    END};
const struct param_body body_skip = {.rows = skip, .help = "Where a partition goes on"};
static const struct param drop[] = {NEEDED("id", "As lists have it"), WHO, END};
const struct param_body body_drop = {.rows = drop, .help = "A dead letter"};
static const struct param retry[] = {NEEDED("id", "As lists have it"), TEXT("payload", "A mended one"),
                                     FLAG("force", "Also when it was sent again"), WHO, END};
const struct param_body body_retry = {.rows = retry, .help = "A dead letter"};
static const struct param token[] = {
    {.name = "name", .kind = PARAM_TEXT, .min = 1, .max = 63, .required = true, .help = "Letters, digits, - _ ."},
    {.name = "scopes", .kind = PARAM_CHOICE, .choices = "ingest|read|write|admin", .many = true, .required = true, .help = "What it may"},
    {.name = "projects", .kind = PARAM_TEXT, .min = 1, .many = true, .required = true, .help = "Where; * is everywhere"},
    TEXT("expires_in", "12h, 90d; never unless given"),
    INT("rate", 0, 1000000, "Requests a second; 0: no limit"),
    END};
const struct param_body body_token = {.rows = token, .help = "The token that is wanted"};
static const struct param login[] = {NEEDED("token", "An access token"), TEXT("next", "The page to go to"), END};
const struct param_body body_login = {.rows = login, .form = true, .apart = true, .help = "A form of the pages"};
