/* Owns the one route table of the api, and what surrounds every handler: the connection it borrows, the status its code
 * becomes, the headers of a page. To add a route: one row here and its handler in api.h. */
#include "api.h"

#include <assert.h>
#include <inttypes.h>
#include <sys/random.h>
#include "base/clock.h"
#include "log/log.h"
#include "page.h"

#define P "/api/v1/projects/{project}"
#define P2 "/api/v2/projects/{project}" /* MLRun moved some routes there; older clients ask for the first */
#define GRAFANA "/api/v1/grafana-proxy/model-endpoints"
#define RETRY_AFTER_S 2

const struct api_route api_routes[] = {
    {"GET", "/api/v1/client-spec", "open", 0, get_client_spec, "What an MLRun client asks first: versions, system id"},
    {"GET", "/api/v1/healthz", "open", 0, get_healthz, "MLRun's health answer"},
    {"POST", "/api/v1/authorization/verifications", "read", API_DB | API_SOME, post_verification,
     "Whether an action is allowed"},
    {"GET", "/api/v1/projects", "read", API_DB | API_SOME, list_projects,
     "Projects: `format` full, minimal or name_only, `name`, `label`"},
    {"POST", "/api/v1/projects", "admin", API_DB | API_SOME, post_project, "Makes a project; 409 when it is there"},
    {"PATCH", P, "admin", API_DB, patch_project, "Changes what the body names"},
    {"DELETE", P, "admin", API_DB, delete_project, "Deletes a project with all its data"},
    {"DELETE", P2, "admin", API_DB, delete_project, "The same, as 1.12 asks"},
    {"GET", P, "read", API_DB, get_project, "One project and its monitoring settings"},
    {"PUT", P, "admin", API_DB, put_project, "Makes or changes a project: base period, monitoring, default app"},
    {"PUT", P "/model-monitoring/", "admin", API_DB, put_monitoring,
     "Enables monitoring: `base_period` (minutes), `deploy_histogram_data_drift_app`; once more is the same"},
    {"POST", P "/model-monitoring/enable-model-monitoring", "admin", API_DB, put_monitoring, "The same, as 1.7 says it"},
    {"POST", P "/model-monitoring/deploy-histogram-data-drift-app", "admin", API_DB, post_default_app,
     "The default app answers from now on"},
    {"PATCH", P "/model-monitoring/model-monitoring-controller", "admin", API_DB, patch_controller,
     "Changes `base_period`, as 1.7 says it"},
    {"DELETE", P "/model-monitoring/disable-model-monitoring", "admin", API_DB, delete_monitoring,
     "Disables monitoring, as 1.7 says it"},
    {"PATCH", P "/model-monitoring/controller", "admin", API_DB, patch_controller, "Changes `base_period`"},
    {"DELETE", P "/model-monitoring/", "admin", API_DB,
     delete_monitoring, "Disables it: `delete_resources`, `delete_histogram_data_drift_app`, `delete_user_applications`, `user_application_list`"},
    {"DELETE", P "/model-monitoring/functions", "admin", API_DB, delete_monitoring_functions, "Ends applications: `function`"},
    {"GET", P "/model-monitoring/metrics", "read", API_DB | API_CACHED, get_metrics_of_several,
     "Names of the metrics of several endpoints: `endpoint-id`, `type`, `events-format` separation or intersection"},
    {"DELETE", P "/model-monitoring/metrics", "write", API_DB, delete_metrics,
     "Deletes what an application has reported: `application-name`, `endpoint-id`"},
    {"GET", P "/model-monitoring/drift-over-time", "read", API_DB, get_drift_over_time,
     "Endpoints in which drift was suspected or detected, over time: `start`, `end`"},
    {"GET", P "/model-monitoring/function-summaries", "read", API_DB, list_summaries,
     "What monitors the project: `name`, `label`, `include-infra`, `include-stats`, `start`, `end`"},
    {"GET", P "/model-monitoring/function-summaries/{name}", "read", API_DB, get_summary,
     "One of them: `start`, `end`, `include-latest-metrics`"},
    {"GET", P "/model-monitoring/stream-pod-http-url", "read", API_DB, get_stream_url, "Where events are posted to"},
    {"GET", P "/model-monitoring/model-monitoring-url", "read", API_DB, get_stream_url, "The same, as other releases ask"},
    {"PUT", P "/alerts/{name}", "write", API_DB, put_alert, "Stores an alert: `force_reset`"},
    {"GET", P "/alerts/{name}", "read", API_DB, get_alert, "One alert"},
    {"GET", P "/alerts", "read", API_DB, list_alerts, "Alerts: `page-size`, `offset`"},
    {"POST", P "/alerts/{name}/reset", "write", API_DB, post_alert_reset, "An active alert is not active any more"},
    {"DELETE", P "/alerts/{name}", "write", API_DB, delete_alert, "Deletes an alert"},
    {"GET", "/api/v1/alert-templates", "read", API_SOME, list_alert_templates, "What alerts can be made of"},
    {"GET", "/api/v1/alert-templates/{name}", "read", API_SOME, get_alert_template, "One of them"},
    {"GET", P "/alert-activations", "read", API_DB,
     list_alert_activations, "When alerts were active: `name` and `entity` (`~part`), `severity`, `entity-kind`, `event-kind`, `since`, `until`, `page`, `page-size`"},
    {"GET", P "/alert-activations/{id}", "read", API_DB, get_alert_activation, "One of them"},
    {"POST", P "/events/{kind}", "write", API_DB, post_event, "Tells of an event"},
    {"GET", P "/events", "read", API_DB, list_events, "Events that were told of, the newest first: `kind`, `limit`"},
    {"PUT", P "/model-monitoring/credentials", "admin", API_DB,
     put_credentials, "What monitoring connects to: `stream_profile_name`, `tsdb_profile_name`, `replace_creds`; connected to once first"},
    {"POST", P "/model-monitoring/set-model-monitoring-credentials", "admin", API_DB, post_credentials,
     "The same, as 1.7 says it: `stream_path`, `tsdb_connection`, `endpoint_store_connection`, `replace_creds`"},
    {"PUT", P "/datastore-profiles", "admin", API_DB, put_profile,
     "Makes or replaces a datastore profile; its private part is sealed"},
    {"GET", P "/datastore-profiles", "read", API_DB, list_profiles, "Datastore profiles, their public parts"},
    {"GET", P "/datastore-profiles/{name}", "read", API_DB, get_profile, "One of them"},
    {"DELETE", P "/datastore-profiles/{name}", "admin", API_DB, delete_profile, "Deletes one; 409 while monitoring uses it"},
    {"POST", P "/secrets", "admin", API_DB, post_secrets, "Keeps secrets of the project, sealed"},
    {"GET", P "/secrets", "admin", API_DB, get_secrets, "403: values are never given back"},
    {"DELETE", P "/secrets", "admin", API_DB, delete_secrets, "Deletes secrets: `secret`, all unless given"},
    {"GET", P "/secret-keys", "read", API_DB, list_secret_keys, "Names of the secrets"},
    {"POST", "/api/v1/secrets/reseal", "admin", API_DB, post_reseal, "Seals with the first key what another one has sealed"},
    {"GET", GRAFANA, "read", API_SOME, get_grafana, "Grafana's JSON data source asks whether somebody is here"},
    {"POST", GRAFANA "/search", "read", API_DB | API_SOME,
     post_grafana_search, "What can be chosen: `target_endpoint=list_projects`, `list_endpoints;project=P`, `list_metrics;project=P;endpoint_id=U`"},
    {"POST", GRAFANA "/query", "read", API_DB | API_SOME,
     post_grafana_query, "A table or series: `list_endpoints`, `individual_feature_analysis`, `overall_feature_analysis`, `incoming_features`"},
    {"GET", "/api/v1/project-summaries/{project}", "read", API_DB, get_project_summary, "What a project has, in numbers"},
    {"GET", "/api/v1/project-summaries", "read", API_DB | API_SOME, list_project_summaries,
     "The same of every project: `name`"},
    {"GET", P "/apps", "read", API_DB, list_apps, "Apps of the project: who is told of closed windows"},
    {"PUT", P "/apps/{app}", "write", API_DB, put_app, "Tells the controller of an app that does not run on the SDK"},
    {"POST", P "/model-endpoints", "write", API_DB, post_endpoint, "Makes an endpoint record, or a new version of it"},
    {"POST", P "/model-endpoints/{name}", "write", API_DB, post_endpoint_old,
     "Makes or changes the record of that uid, as 1.7 says it"},
    {"PATCH", P "/model-endpoints/{name}", "write", API_DB, patch_endpoint_old,
     "Changes fields of the record of that uid, as 1.7 says it: `attributes`"},
    {"GET", P "/model-endpoints", "read", API_DB, list_endpoints, "Endpoint records, filtered"},
    {"GET", P "/model-endpoints/{name}", "read", API_DB | API_CACHED, get_endpoint, "One endpoint record"},
    {"PATCH", P "/model-endpoints", "write", API_DB, patch_endpoint, "Changes the named fields of one record"},
    {"DELETE", P "/model-endpoints/{name}", "write", API_DB, delete_endpoint, "Deletes a record with all its data"},
    {"PUT", P "/model-endpoints/{uid}/reference", "write", API_DB | API_ROWS, put_reference,
     "Training rows or statistics to compare with; the next version"},
    {"GET", P "/model-endpoints/{uid}/reference", "read", API_DB | API_CACHED, get_reference,
     "The reference and its versions"},
    {"GET", P "/model-endpoints/{uid}/reference/versions", "read", API_DB | API_CACHED, get_reference_versions,
     "The reference's versions alone: when each came, and from where"},
    {"GET", P "/model-endpoints/{uid}/metrics", "read", API_DB | API_CACHED, get_metrics,
     "Names of the results and metrics there are"},
    {"GET", P "/model-endpoints/{uid}/metrics-values", "read", API_DB | API_CACHED, get_metrics_values,
     "Their values over time: `name`, `start`, `end`, `thresholds`, `histogram`, `bins`, `max_points`, `compare`"},
    {"PUT", P2 "/artifacts/{key}", "write", API_DB, put_artifact, "Stores a version of an artifact: `tag`, `tree`, `iter`"},
    {"GET", P2 "/artifacts/{key}", "read", API_DB, get_artifact, "One version: `tag`, `tree`, `iter`, `object-uid`"},
    {"DELETE", P2 "/artifacts/{key}", "write", API_DB, delete_artifact, "Deletes versions of an artifact"},
    {"GET", P2 "/artifacts", "read", API_DB,
     list_artifacts, "Artifacts: `name` (`~part`), `kind`, `category`, `tag`, `tree`, `iter`, `label`, `since`, `until`, `page`, `page-size`"},
    {"DELETE", P2 "/artifacts", "write", API_DB, delete_artifacts, "Deletes those that such filters find"},
    {"GET", P "/artifact-tags", "read", API_DB, list_artifact_tags, "Tags that artifacts have"},
    {"POST", P "/functions/{name}", "write", API_DB, post_function, "Stores a function: `tag`, `versioned`"},
    {"GET", P "/functions/{name}", "read", API_DB, get_function, "One version: `tag`, `hash_key`"},
    {"DELETE", P "/functions/{name}", "write", API_DB, delete_function, "Deletes a function, all versions"},
    {"DELETE", P2 "/functions/{name}", "write", API_DB, delete_function, "The same, as 1.12 asks"},
    {"GET", P "/functions", "read", API_DB, list_functions,
     "Functions: `name`, `tag`, `kind`, `state`, `label`, `since`, `until`, `page`, `page-size`"},
    {"POST", P "/nuclio/{name}/deploy", "write", API_DB, post_deploy,
     "Deploys a function: its models' endpoint records are made, their uids written into it"},
    {"GET", P "/nuclio/{name}/deploy", "read", API_DB, get_deploy, "How its deployment is going, in headers: `tag`"},
    {"GET", P "/nuclio/{name}/serving-spec", "read", API_DB, get_serving_spec,
     "What a server of a deployed function starts with (SERVING_SPEC_ENV): `tag`, `brokers`"},
    {"POST", P "/runs/{uid}", "write", API_DB, post_run, "Stores a run: `iter`"},
    {"PATCH", P "/runs/{uid}", "write", API_DB, patch_run, "Changes a run: keys are paths such as `status.state`"},
    {"GET", P "/runs/{uid}", "read", API_DB, get_run, "One run: `iter`"},
    {"DELETE", P "/runs/{uid}", "write", API_DB, delete_run, "Deletes a run: `iter`"},
    {"GET", P "/runs", "read", API_DB,
     list_runs, "Runs: `name`, `uid`, `state`, `iter`, `label`, `start_time_from`, `last_update_time_from`, … `page`, `page-size`"},
    {"DELETE", P "/runs", "write", API_DB, delete_runs, "Deletes those that such filters find"},
    {"POST", P "/feature-sets", "write", API_DB, post_feature_set, "Makes a feature set; 409 when it is there"},
    {"GET", P "/feature-sets", "read", API_DB, list_feature_sets, "Feature sets: `name`, `tag`, `state`, `label`"},
    {"PUT", P "/feature-sets/{name}/references/{reference}", "write", API_DB, put_feature_set, "Stores a version"},
    {"PATCH", P "/feature-sets/{name}/references/{reference}", "write", API_DB, patch_feature_set, "Changes a version"},
    {"GET", P "/feature-sets/{name}/references/{reference}", "read", API_DB, get_feature_set, "One version, by tag or hash"},
    {"DELETE", P "/feature-sets/{name}/references/{reference}", "write", API_DB, delete_feature_set, "Deletes a version"},
    {"DELETE", P "/feature-sets/{name}", "write", API_DB, delete_all_of_feature_set, "Deletes all versions"},
    {"POST", P "/feature-vectors", "write", API_DB, post_feature_vector, "Makes a feature vector; 409 when it is there"},
    {"GET", P "/feature-vectors", "read", API_DB, list_feature_vectors, "Feature vectors: `name`, `tag`, `state`, `label`"},
    {"PUT", P "/feature-vectors/{name}/references/{reference}", "write", API_DB, put_feature_vector, "Stores a version"},
    {"PATCH", P "/feature-vectors/{name}/references/{reference}", "write", API_DB, patch_feature_vector, "Changes a version"},
    {"GET", P "/feature-vectors/{name}/references/{reference}", "read", API_DB, get_feature_vector,
     "One version, by tag or hash"},
    {"DELETE", P "/feature-vectors/{name}/references/{reference}", "write", API_DB, delete_feature_vector,
     "Deletes a version"},
    {"DELETE", P "/feature-vectors/{name}", "write", API_DB, delete_all_of_feature_vector, "Deletes all versions"},
    {"GET", P "/background-tasks/{name}", "read", API_DB, get_task, "How a task ended"},
    {"GET", P "/background-tasks", "read", API_DB, list_tasks, "Tasks: `state`, `created_from`, `last_update_time_from`, …"},
    {"GET", "/api/v1/ledger", "admin", API_DB, list_ledger, "Where each pipeline is in each partition, and what stands still"},
    {"POST", "/api/v1/ledger/skip", "admin", API_DB,
     post_ledger_skip, "Where a partition that stands still goes on: `pipeline`, `topic`, `partition`, `to` (an offset, low, high), `who`"},
    {"GET", "/api/v1/dead-letters", "admin", API_DB, list_letters,
     "What was refused and not sent again: `project`, `pipeline`, `reason`, `limit`, `all`"},
    {"GET", "/api/v1/dead-letters/one", "admin", API_DB, get_letter, "One of them with its bytes: `id`"},
    {"POST", "/api/v1/dead-letters/retry", "admin", API_DB, post_letter_retry,
     "Sends one again, once: `id`, `payload` for a mended one, `who`"},
    {"POST", "/api/v1/dead-letters/drop", "admin", API_DB, post_letter_drop, "Deletes one: `id`, `who`"},
    {"POST", "/api/v1/tokens", "admin", API_DB,
     post_token, "Makes an access token, shown in this answer alone: `name`, `scopes`, `projects` (`*`: all), `expires_in`, `rate`"},
    {"GET", "/api/v1/tokens", "admin", API_DB, list_tokens, "Access tokens, without the tokens: `all` for those revoked too"},
    {"DELETE", "/api/v1/tokens/{name}", "admin", API_DB, delete_token, "Revokes a token, everywhere in a moment"},
    {"GET", "/api/v1/audit", "admin", API_DB, list_audit,
     "Who changed what, the newest first: `who`, `project`, `since`, `before` (an id), `limit`"},
    {"GET", "/", "read", API_DB | API_HTML | API_SOME, page_home, "Page: projects"},
    {"GET", "/ui", "open", API_HTML, page_moved, "Page: leads to /"},
    {"GET", "/ui/p/{project}", "read", API_DB | API_HTML, page_project, "Page: a project's endpoints"},
    {"GET", "/ui/p/{project}/endpoints/{uid}", "read", API_DB | API_HTML, page_endpoint, "Page: drift of one endpoint"},
    {"GET", "/ui/login", "open", API_HTML, page_login, "Page: a form for an access token: `next`"},
    {"POST", "/ui/login", "open", API_HTML, post_login, "The token becomes a cookie, which reads and never writes"},
    {"POST", "/ui/logout", "open", API_HTML, post_logout, "The cookie ends"},
    {"GET", "/ui/{asset}", "open", API_HTML, get_asset, "The pages' style sheet and icon"},
};
const size_t api_routes_n = sizeof api_routes / sizeof *api_routes;

struct answer {
    rc_t rc;
    int status;
    const char *code, *title;
    const char *words; /* instead of those of a server, which are for the log */
};
static const struct answer answers[] = {
    {E_INVALID, 400, "invalid", "That request is not right", "the database does not take a value of this request"},
    {E_NOTFOUND, 404, "not_found", "Nothing is here", "it is not there"},
    {E_CONFLICT, 409, "conflict", "Somebody was faster", "somebody else changed or deleted the same: look again"},
    {E_LIMIT, 400, "limit", "That is too much at once", "that is too much at once"},
    {E_AGAIN, 503, "unavailable", "The database cannot be reached", "the database does not answer: see /readyz"},
    {E_UNKNOWN, 503, "unavailable", "The database went away during the request", "the database went away during the request"},
    {E_FATAL, 500, "internal", "Something is wrong in here", "an internal error"},
};

static const struct answer *answer_of(rc_t rc)
{
    for (size_t i = 0; i + 1 < sizeof answers / sizeof *answers; i++)
        if (answers[i].rc == rc)
            return &answers[i];
    return &answers[sizeof answers / sizeof *answers - 1];
}

static void page_headers(struct http_request *r)
{
    http_add_header(r, "Content-Security-Policy",
                    "default-src 'self'; script-src 'self'; object-src 'none'; "
                    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'");
    http_add_header(r, "Referrer-Policy", "no-referrer");
    http_add_header(r, "X-Frame-Options", "DENY");
}

/* What the log has and the answer has not; both have the id. */
static const char *told_by_log(struct call *c, const struct api_route *route, const struct answer *a, const struct err *e)
{
    uint64_t random = 0;
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) != sizeof random)
        random = (uint64_t)clock_now_us();
    const char *id = arena_printf(c->arena, "%016" PRIx64, random);
    if (a->status == 500)
        log_error("request_failed", LF_STR("id", id), LF_STR("method", route->method), LF_STR("path", route->pattern),
                  LF_ERR(e));
    else
        log_warn("request_refused", LF_STR("id", id), LF_STR("method", route->method), LF_STR("path", route->pattern),
                 LF_ERR(e));
    http_add_header(c->r, "X-Request-Id", id);
    return arena_printf(c->arena, "%s (id %s in the log of the api service)", a->words, id);
}

static void fail(struct call *c, const struct api_route *route, rc_t rc, const struct err *e)
{
    const struct answer *a = answer_of(rc);
    const char *text = e->text;
    if (a->status == 500 || err_quotes(e))
        text = told_by_log(c, route, a, e);
    if (route->flags & API_HTML) {
        if (a->status == 503)
            http_add_header(c->r, "Retry-After", "2");
        buf_clear(&c->out);
        page_error(&c->out, a->status, a->title, text);
        http_answer_take(c->r, a->status, HTTP_HTML, &c->out);
        return;
    }
    http_problem(c->r, &(struct http_problem){.status = a->status,
                                              .code = a->code,
                                              .detail = text,
                                              .retry_after_s = a->status == 503 ? RETRY_AFTER_S : 0});
}

static void dispatch(struct http_request *r, void *arg)
{
    const struct api *a = arg;
    size_t at = (size_t)(http_route(r) - a->rows);
    assert(at < api_routes_n);
    const struct api_route *route = &api_routes[at];
    struct err e = {0};
    struct call c = {
        .api = a, .r = r, .arena = http_arena(r), .status = 200, .type = route->flags & API_HTML ? HTTP_HTML : HTTP_JSON};
    if (route->flags & API_HTML)
        page_headers(r);
    rc_t rc = OK;
    if (route->flags & API_DB)
        rc = pool_take(a->pool, &c.item, &e);
    if (rc == OK) {
        c.db = c.item ? c.item->db : NULL;
        c.cached = route->flags & API_CACHED;
        rc = route->handle(&c, &e);
    }
    if (rc == OK)
        call_audit_after(&c);
    if (c.changed) /* committed, or perhaps so */
        records_changed(c.item->records, c.db, c.item->cache, c.changed, c.changed_uid);
    if (c.item)
        pool_give(a->pool, c.item);
    if (rc != OK)
        fail(&c, route, rc, &e);
    else if (c.out.len)
        http_answer_take(r, c.status, c.type, &c.out);
    else
        http_answer_empty(r, c.status);
    buf_done(&c.out);
}

void api_rows(struct api *a)
{
    assert(api_routes_n <= sizeof a->rows / sizeof *a->rows);
    for (size_t i = 0; i < api_routes_n; i++) {
        const struct api_route *s = &api_routes[i];
        a->rows[i] = (struct http_route){
            s->method,
            s->pattern,
            s->scope,
            (s->flags & API_HTML ? HTTP_PAGE : HTTP_DETAIL) | (s->flags & API_ROWS ? HTTP_ROWS : 0u) |
                (s->flags & API_DB ? HTTP_WAITS : 0u) | (s->flags & API_SOME ? HTTP_SOME_PROJECTS : 0u),
            dispatch,
            s->summary};
    }
}

void api_routes_markdown(struct buf *out)
{
    buf_addz(out, "| method | path | scope | |\n|---|---|---|---|\n");
    for (size_t i = 0; i < api_routes_n; i++)
        buf_addf(out, "| %s | `%s` | %s | %s |\n", api_routes[i].method, api_routes[i].pattern, api_routes[i].scope,
                 api_routes[i].summary);
}
