/* MLRun's ModelEndpoint JSON ⇄ our endpoint record. What has no column of its own (model_path, model_tags, names, children,
 * …) is kept in the record's document. */
#pragma once
#include "base/buf.h"
#include "db/endpoint.h"
#include "db/project.h"
#include "json/doc.h"
#include "json/write.h"

#define RECORD_NAME_MAX 255
#define RECORD_TEXT_MAX 4096
#define RECORD_NAMES_MAX 8192

/* A checked record out of a request's body; every field has a value. ret->uid is NULL when none was sent: the database makes one.
 * *ret_stats: spec.feature_stats, or NULL when there are none; borrowed from body. The project must be p's. */
rc_t record_read(struct json *body, const struct project *p, struct endpoint *ret, struct json **ret_stats,
                 struct err *e) MUST_CHECK;

/* A record's document, always an object; json_free. */
struct json *record_document(struct str text);

/* The names a document holds: key is feature_names or label_names. Array and texts are borrowed from *ret_doc (json_free)
 * and a. */
rc_t record_names(const struct endpoint *ep, const char *key, struct arena *a, struct json **ret_doc,
                  const struct str **ret, size_t *n, struct err *e) MUST_CHECK;
/* The document of schema_put for these columns, features and labels each in their order; false: there are no features. Types
 * are left open: the first values that come decide. */
struct record_column {
    struct str name;
    bool is_label;
};
bool record_schema(const struct record_column *columns, size_t n, struct buf *out);

/* Takes the named field (an attribute-key of MLRun's PATCH) from one record into another. E_INVALID: no such, or it cannot
 * be changed. */
rc_t record_take_field(struct endpoint *to, const struct endpoint *from, struct str key, struct err *e) MUST_CHECK;

const char *record_part_of(struct str key); /* "status" of "monitoring_mode"; NULL: no field that can be changed */

/* What a record is shown with beyond itself. {0} shows MLRun's defaults, but for result_status: -1. */
struct record_extra {
    struct str schema; /* document of the schema in force; empty: none */
    bool schema_named;
    int64_t error_count;
    double avg_latency; /* µs; NaN: null */
    int result_status;
    struct str feature_stats, current_stats, drift_measures; /* JSON; empty: {} */
    int64_t current_stats_us, drift_measures_us;             /* 0: null */
};
void record_write(struct json_writer *w, const struct endpoint *ep, const char *project, const struct record_extra *x);
