/* The reads that the api alone needs: many endpoints at once, the newest of something. */
#pragma once
#include <stdint.h>
#include "base/arena.h"
#include "db/db.h"
#include "db/endpoint.h"

/* Endpoints by their ids, both included: a page of a list is one, since lists go by id. */
struct id_range {
    int64_t first, last;
};
#define IDS_ALL ((struct id_range){0, INT64_MAX})
#define IDS_ONE(x) ((struct id_range){(x), (x)})

/* What is known of each endpoint of a project since an instant; for lists. */
struct glance {
    int64_t endpoint_id;
    int64_t errors, requests, rows;
    int worst_status; /* -1: none or irrelevant */
    double drift;     /* newest general_drift; NaN: none */
    int drift_status;
    int64_t drift_end_us;     /* 0: none */
    bool too_few, wrong_type; /* the newest window: rows; a feature's values */
    double worst_feature;     /* its feature that drifts most; NaN: not known */
    char features[160];       /* which of its features drift, in words, cut; "": none */
    size_t lost;              /* inputs that were not compared, though the reference has them */
};
/* Ordered by endpoint_id; mem_free. */
rc_t store_glances(struct db *db, int32_t project_id, struct id_range of, int64_t since_us, struct glance **ret,
                   size_t *n, struct err *e) MUST_CHECK;
const struct glance *glance_find(const struct glance *g, size_t n, int64_t endpoint_id); /* NULL: nothing known */

/* Records refused since an instant (dead_letters), and why the newest was. ep NULL: of the project; else those that name it,
 * among the newest 500. Texts are the arena's. */
struct refused {
    int64_t n, at_us;
    struct str reason, field, words;
};
rc_t store_refused(struct db *db, int32_t project_id, const struct endpoint *ep, int64_t since_us, struct arena *a,
                   struct refused *ret, struct err *e) MUST_CHECK;

/* Mean latency in µs over the endpoint's slots since an instant; NaN: no request with one. */
rc_t store_latency(struct db *db, int32_t project_id, int64_t endpoint_id, int64_t since_us, double *ret,
                   struct err *e) MUST_CHECK;

/* Schema documents in force for the endpoints of a project, ordered by endpoint_id, with what changes each second:
 * the request times. */
struct schema_text {
    int64_t endpoint_id;
    struct str document; /* borrowed from *ret_rows; empty: none yet */
    bool named;
    int64_t first_request_us, last_request_us;
};
rc_t store_schemas(struct db *db, int32_t project_id, struct id_range of, struct schema_text **ret, size_t *n,
                   struct db_rows **ret_rows, struct err *e) MUST_CHECK;

/* The newest `limit` values of a result by app and name, oldest first. */
struct drift_point {
    int64_t start_us, end_us, written_us;
    double value;
    int status, revision;
    struct str extra; /* borrowed from *ret_rows */
};
rc_t store_drift(struct db *db, int32_t project_id, int64_t endpoint_id, const char *app, const char *name,
                 int64_t limit, struct drift_point **ret, size_t *n, struct db_rows **ret_rows, struct err *e) MUST_CHECK;
/* Endpoints of a project. */
rc_t store_endpoint_count(struct db *db, int32_t project_id, int64_t *ret, struct err *e) MUST_CHECK;

/* Steps of step_us in which windows ended whose worst status was suspected (1) or detected (2): in how many endpoints. Ordered; mem_free. */
struct drift_bin {
    int64_t start_us, suspected, detected;
};
rc_t store_drift_bins(struct db *db, int32_t project_id, int64_t from_us, int64_t to_us, int64_t step_us,
                      struct drift_bin **ret, size_t *n, struct err *e) MUST_CHECK;
/* What each app of a project has found in windows that ended in (from, to]. mem_free. */
struct app_found {
    int32_t app_id;
    int64_t suspected, detected, endpoints;
};
rc_t store_found(struct db *db, int32_t project_id, int64_t from_us, int64_t to_us, struct app_found **ret, size_t *n,
                 struct err *e) MUST_CHECK;
/* The newest value of each metric of an app in (from, to], of several endpoints the worst. */
struct newest_value {
    struct str name; /* borrowed from *ret_rows */
    bool is_result;
    int kind, status; /* of results */
    double value;
    int64_t end_us;
};
rc_t store_newest(struct db *db, int32_t project_id, int32_t app_id, int64_t from_us, int64_t to_us,
                  struct newest_value **ret, size_t *n, struct db_rows **ret_rows, struct err *e) MUST_CHECK;

/* The newest `limit` statistics of a name whose windows ended in (from, to], oldest first, of the app that made the newest of them. mem_free. */
struct statistic_text {
    int64_t end_us;
    struct str body; /* borrowed from *ret_rows */
};
rc_t store_statistics(struct db *db, int32_t project_id, int64_t endpoint_id, const char *name, int64_t from_us,
                      int64_t to_us, int64_t limit, struct statistic_text **ret, size_t *n, struct db_rows **ret_rows,
                      struct err *e) MUST_CHECK;

/* What a project has, counted: names of stored objects by kind and type, runs that moved since an instant by state, latest endpoint
 * records by mode, apps that are told of windows, pipelines that stand still. */
struct project_counts {
    int64_t models, datasets, documents, prompts, files, feature_sets;
    int64_t runs_completed, runs_failed, runs_running;
    int64_t real_time, batch;
    int64_t apps, stopped;
};
rc_t store_project_counts(struct db *db, int32_t project_id, int64_t since_us, struct project_counts *ret,
                          struct err *e) MUST_CHECK;
