/* The api service: what its handlers share. A handler gets one struct call, fills the answer in it and returns OK, or
 * returns a code with words; routes.c turns codes into HTTP statuses in one place. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/rc.h"
#include "base/str.h"
#include "cache/cache.h"
#include "db/db.h"
#include "db/endpoint.h"
#include "db/project.h"
#include "db/secret.h"
#include "http/server.h"
#include "json/doc.h"
#include "param.h"
#include "pipeline/identity.h"
#include "pool.h"

struct nuclio_options { /* nuclio.c */
    const char *url;    /* empty: functions stay stored, for whoever runs them */
    const char *namespace, *brokers, *dbpath;
};

#define API_CLIENT_VERSION "1.12.1" /* of MLRun: what client-spec answers, and whose wire forms these are */
#define API_LIST_MAX 10000
#define API_PAGE_MAX 1000
#define API_LONG_MAX 7000 /* bytes of a parameter that a target of 8 KiB has room for */
#define API_WHO_MAX 100
#define API_OFFSET_MAX ((INT64_C(1) << 47) - 1) /* of Kafka, that the ledger can hold */
#define API_DAY_US (INT64_C(86400) * 1000000)

struct api_options {
    struct identity id;
    const char *lake_dir, *artifact_path, *stream_url, *brokers;
    int64_t pool;
};

struct api {
    struct api_options options;
    struct db_config db;
    struct cache_config cache;
    struct secret_config secrets;
    struct seal *seal;
    struct nuclio_options nuclio;
    struct pool *pool;
    struct service *service;
    struct http_route rows[192]; /* made from api_routes[] */
};

/* The pairs of a query. */
struct call_query {
    struct str *names, *values;
    size_t n;
};

struct call {
    const struct api *api;
    const struct api_route *route;
    struct http_request *r;
    const char *field;              /* what a failure is about, when it is one thing of the request; else NULL */
    const struct call_query *query; /* NULL: the request's own; else in its place (a page token's) */
    struct arena *arena;
    struct pool_item *item; /* NULL for routes that need no database */
    struct db *db;          /* item's */
    bool cached;            /* API_CACHED */
    bool audited;           /* the audit log has it */
    int32_t changed;        /* project in which it changes records (call_changed); 0: none */
    struct str changed_uid; /* empty: several, or any */
    int status;             /* 200 unless set */
    const char *type;       /* HTTP_JSON unless set; NULL with an empty answer */
    struct buf out;
};

enum api_flags {
    API_DB = 1,     /* takes a database connection */
    API_HTML = 2,   /* errors are pages for people */
    API_ROWS = 4,   /* the body is training rows, or statistics of them */
    API_CACHED = 8, /* the endpoint's record may come from the cache: as it was some seconds ago, if Redis was down */
    API_OURS = 32,  /* no route of MLRun's: errors are application/problem+json */
    API_ETAG = 64,  /* the answer has an ETag, and is 304 when If-None-Match names it */
    API_SOME = 16,  /* without {project}, and shows a caller of some projects those alone, or asks call_may */
};

/* A status with what is answered then: the shape of a JSON answer ("endpoints": an object that has this list; "[]", "\"\"", "null",
 * "{}" for any object, "*" for anything), else a media type; empty: no body. */
struct api_answer {
    int status; /* 0: no such */
    const char *shape;
};

struct api_route {
    const char *method, *pattern, *scope;
    unsigned flags;
    rc_t (*handle)(struct call *c, struct err *e);
    const char *summary;
    const struct param *params;    /* of its query; NULL: none */
    const struct param_body *body; /* NULL: none */
    struct api_answer answers[2];  /* when all is well; none: 200 with any object */
};
extern const struct api_route api_routes[];
const struct param *api_params(const struct api_route *r); /* of its query; the empty list when there are none */
extern const size_t api_routes_n;
void api_rows(struct api *a);              /* fills a->rows */
void api_routes_markdown(struct buf *out); /* the reference of README.md */
void api_openapi(struct buf *out);         /* the same as OpenAPI 3.1 (openapi.c) */

/* ---- the request. Queries (param.c): the rows of the route have let through what is read, under the names of rows. ---- */
bool call_value(struct call *c, const char *name, size_t nth, struct str *ret); /* as it was said: the nth of a repeated key */
struct str call_str(struct call *c, const char *name);                          /* empty: not there */
bool call_bool(struct call *c, const char *name, bool def);
int64_t call_i64(struct call *c, const char *name, int64_t def);
double call_f64(struct call *c, const char *name, double def);
int64_t call_time(struct call *c, const char *name, int64_t def_us);
int call_choice(struct call *c, const char *name, int def);                 /* its position in the row's choices */
size_t call_list(struct call *c, const char *name, const struct str **ret); /* all values, in the call's arena */
/* start and end: end is now unless given, start a day before it; at most 400 days lie between. */
rc_t call_span(struct call *c, int64_t *ret_start_us, int64_t *ret_end_us, struct err *e) MUST_CHECK;
/* E_INVALID "field: words"; the answer names the field. */
rc_t call_complain(struct call *c, const char *field, struct err *e, const char *fmt, ...) PRINTF(4, 5);
bool call_before_1_8(struct call *c); /* the client is MLRun's of a release before 1.8 */
/* The body as an object, by the rows of the route's. */
rc_t call_json(struct call *c, struct json **ret, struct err *e) MUST_CHECK;
/* The {project} of the path: E_INVALID for what is no name, E_NOTFOUND. */
rc_t call_project(struct call *c, struct project *ret, struct err *e) MUST_CHECK;
rc_t call_project_named(struct call *c, struct str name, struct project *ret, struct err *e) MUST_CHECK;
/* The {uid} of the path; a 40-digit alias works too. */
rc_t call_endpoint(struct call *c, const struct project *p, struct endpoint *ret, struct err *e) MUST_CHECK;
rc_t call_uid(struct call *c, const struct project *p, struct str uid, struct endpoint *ret, struct err *e) MUST_CHECK;
/* The request changes that record, its schema or reference; uid empty: any of the project. Told when the handler is done. */
void call_changed(struct call *c, int32_t project_id, struct str uid);
/* The record of that name: with uid that one, else the latest of the function, else the only latest one; else of the uid that name is. */
rc_t call_find(struct call *c, const struct project *p, struct str name, struct str uid, struct str function_name,
               struct str function_tag, struct endpoint *ret, struct err *e) MUST_CHECK;
/* Ends the transaction: commits when rc is OK, else rolls back and answers rc. A lost answer is E_AGAIN: the same request may come again. */
rc_t call_commit(struct call *c, rc_t rc, struct err *e) MUST_CHECK;
/* The columns of an endpoint that nobody has named yet get the reference's names (reference.c). */
struct reference;
rc_t call_name_columns(struct call *c, const struct endpoint *ep, const struct reference *r, struct err *e) MUST_CHECK;
struct record_column; /* the same with names that are given, in their order (record.h) */
rc_t call_name_columns_so(struct call *c, const struct endpoint *ep, const struct record_column *columns, size_t n,
                          struct err *e) MUST_CHECK;
void call_answer(struct call *c, int status, const struct json *j);
/* For a project that is not in the path. False: the answer is there, 403. */
bool call_may(struct call *c, struct str project);
/* A row of the audit log for a request that changes something, once (audit.c): call_commit makes it with the change; for
 * changes that are no transaction of the handler's it is made after the handler. */
rc_t call_audit(struct call *c, struct err *e) MUST_CHECK;
void call_audit_after(struct call *c);

/* ---- handlers, by file ---- */
rc_t get_client_spec(struct call *c, struct err *e); /* project.c */
rc_t get_openapi(struct call *c, struct err *e);     /* openapi.c */
rc_t get_healthz(struct call *c, struct err *e);
rc_t get_project(struct call *c, struct err *e);
rc_t put_project(struct call *c, struct err *e);
rc_t list_projects(struct call *c, struct err *e); /* projects.c */
rc_t post_project(struct call *c, struct err *e);
rc_t patch_project(struct call *c, struct err *e);
rc_t delete_project(struct call *c, struct err *e);
rc_t put_artifact(struct call *c, struct err *e); /* artifact.c */
rc_t get_artifact(struct call *c, struct err *e);
rc_t list_artifacts(struct call *c, struct err *e);
rc_t delete_artifact(struct call *c, struct err *e);
rc_t delete_artifacts(struct call *c, struct err *e);
rc_t list_artifact_tags(struct call *c, struct err *e);
rc_t post_function(struct call *c, struct err *e); /* function.c */
rc_t get_function(struct call *c, struct err *e);
rc_t list_functions(struct call *c, struct err *e);
rc_t delete_function(struct call *c, struct err *e);
rc_t post_deploy(struct call *c, struct err *e); /* deploy.c */
rc_t get_deploy(struct call *c, struct err *e);
rc_t get_serving_spec(struct call *c, struct err *e); /* serving.c */
rc_t put_monitoring(struct call *c, struct err *e);   /* monitoring.c */
rc_t post_default_app(struct call *c, struct err *e);
rc_t patch_controller(struct call *c, struct err *e);
rc_t delete_monitoring(struct call *c, struct err *e);
rc_t delete_monitoring_functions(struct call *c, struct err *e);
rc_t put_profile(struct call *c, struct err *e); /* profile.c */
rc_t get_profile(struct call *c, struct err *e);
rc_t list_profiles(struct call *c, struct err *e);
rc_t delete_profile(struct call *c, struct err *e);
rc_t post_secrets(struct call *c, struct err *e); /* secret.c */
rc_t get_secrets(struct call *c, struct err *e);
rc_t list_secret_keys(struct call *c, struct err *e);
rc_t delete_secrets(struct call *c, struct err *e);
rc_t post_reseal(struct call *c, struct err *e);
rc_t put_credentials(struct call *c, struct err *e); /* credentials.c */
rc_t post_credentials(struct call *c, struct err *e);
rc_t post_run(struct call *c, struct err *e); /* run.c */
rc_t patch_run(struct call *c, struct err *e);
rc_t get_run(struct call *c, struct err *e);
rc_t list_runs(struct call *c, struct err *e);
rc_t delete_run(struct call *c, struct err *e);
rc_t delete_runs(struct call *c, struct err *e);
rc_t post_feature_set(struct call *c, struct err *e); /* feature.c */
rc_t put_feature_set(struct call *c, struct err *e);
rc_t patch_feature_set(struct call *c, struct err *e);
rc_t get_feature_set(struct call *c, struct err *e);
rc_t list_feature_sets(struct call *c, struct err *e);
rc_t delete_feature_set(struct call *c, struct err *e);
rc_t delete_all_of_feature_set(struct call *c, struct err *e);
rc_t post_feature_vector(struct call *c, struct err *e);
rc_t put_feature_vector(struct call *c, struct err *e);
rc_t patch_feature_vector(struct call *c, struct err *e);
rc_t get_feature_vector(struct call *c, struct err *e);
rc_t list_feature_vectors(struct call *c, struct err *e);
rc_t delete_feature_vector(struct call *c, struct err *e);
rc_t delete_all_of_feature_vector(struct call *c, struct err *e);
rc_t get_task(struct call *c, struct err *e); /* task.c */
rc_t list_tasks(struct call *c, struct err *e);
rc_t post_verification(struct call *c, struct err *e);
rc_t post_endpoint(struct call *c, struct err *e); /* endpoint_write.c */
rc_t patch_endpoint(struct call *c, struct err *e);
rc_t delete_endpoint(struct call *c, struct err *e);
rc_t post_endpoint_old(struct call *c, struct err *e); /* endpoint_old.c */
rc_t patch_endpoint_old(struct call *c, struct err *e);
rc_t list_endpoints(struct call *c, struct err *e); /* endpoint_read.c */
rc_t get_endpoint(struct call *c, struct err *e);
rc_t answer_endpoint(struct call *c, const struct project *p, int64_t id, struct err *e); /* the record alone */
rc_t put_reference(struct call *c, struct err *e);                                        /* reference.c */
rc_t get_reference(struct call *c, struct err *e);
rc_t get_reference_versions(struct call *c, struct err *e);
rc_t get_metrics(struct call *c, struct err *e); /* metrics.c */
rc_t get_metrics_values(struct call *c, struct err *e);
rc_t get_metrics_of_several(struct call *c, struct err *e); /* several.c */
rc_t delete_metrics(struct call *c, struct err *e);
rc_t get_drift_over_time(struct call *c, struct err *e);
rc_t list_summaries(struct call *c, struct err *e); /* summary.c */
rc_t get_summary(struct call *c, struct err *e);
rc_t get_stream_url(struct call *c, struct err *e);
rc_t get_alert(struct call *c, struct err *e); /* alert.c */
rc_t put_alert(struct call *c, struct err *e);
rc_t list_alerts(struct call *c, struct err *e);
rc_t delete_alert(struct call *c, struct err *e);
rc_t post_alert_reset(struct call *c, struct err *e);
rc_t list_alert_templates(struct call *c, struct err *e); /* alert_list.c */
rc_t get_alert_template(struct call *c, struct err *e);
rc_t list_alert_activations(struct call *c, struct err *e);
rc_t get_alert_activation(struct call *c, struct err *e);
rc_t post_event(struct call *c, struct err *e);
rc_t list_events(struct call *c, struct err *e);
rc_t get_grafana(struct call *c, struct err *e); /* grafana.c */
rc_t post_grafana_search(struct call *c, struct err *e);
rc_t post_grafana_query(struct call *c, struct err *e);
rc_t get_project_summary(struct call *c, struct err *e); /* project_summary.c */
rc_t list_project_summaries(struct call *c, struct err *e);
rc_t list_apps(struct call *c, struct err *e); /* apps.c */
rc_t put_app(struct call *c, struct err *e);
rc_t list_ledger(struct call *c, struct err *e); /* operate.c */
rc_t post_ledger_skip(struct call *c, struct err *e);
rc_t list_letters(struct call *c, struct err *e);
rc_t get_letter(struct call *c, struct err *e);
rc_t post_letter_retry(struct call *c, struct err *e);
rc_t post_letter_drop(struct call *c, struct err *e);
rc_t list_audit(struct call *c, struct err *e); /* audit.c */
rc_t post_token(struct call *c, struct err *e); /* tokens.c */
rc_t list_tokens(struct call *c, struct err *e);
rc_t delete_token(struct call *c, struct err *e);
rc_t page_login(struct call *c, struct err *e); /* page_login.c */
rc_t post_login(struct call *c, struct err *e);
rc_t post_logout(struct call *c, struct err *e);
rc_t page_moved(struct call *c, struct err *e);
rc_t page_home(struct call *c, struct err *e); /* page_list.c */
rc_t page_project(struct call *c, struct err *e);
rc_t page_endpoint(struct call *c, struct err *e); /* page_endpoint.c */
rc_t get_asset(struct call *c, struct err *e);     /* page.c */
