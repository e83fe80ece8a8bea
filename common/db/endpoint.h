/* Endpoint records, their schemas (names and types of columns) and references (training statistics), all versioned. */
#pragma once
#include "db/db.h"

struct endpoint {
    int64_t id;
    int32_t project_id;
    char *uid, *name, *function_name, *function_tag, *function_uri, *model_name, *model_class, *model_uri;
    char *monitoring_mode, *labels, *document;
    int endpoint_type, mode;
    double sampling_percentage;
    bool self_registered, latest;
    int64_t first_request_us, last_request_us; /* 0: none yet */
    int schema_version, reference_version;     /* 0: none */
    int64_t created_us, updated_us, change_seq;
};
void endpoint_done(struct endpoint *ep);

/* The record that made a schema version: what it holds for begins there. */
struct schema_from {
    int64_t us;        /* its log time; of a client's version the moment from which it holds */
    int32_t partition; /* -1: no record made it */
    int32_t generation;
    int64_t offset;
};
struct endpoint_schema {
    int version;
    int64_t seq, created_us;
    bool named;
    struct schema_from from;
    char *document; /* JSON, read by lake.h: {"features":[{"name":"a","type":"number|string|bool|json"}],"labels":[…]} */
};
struct endpoint_reference {
    int version;
    char *statistics, *labels, *source;
    int64_t created_us;
};
void endpoint_schema_done(struct endpoint_schema *s);
void endpoint_reference_done(struct endpoint_reference *r);

/* by uid or alias */
rc_t endpoint_get(struct db *db, int32_t project_id, struct str uid, struct endpoint *ret, struct err *e) MUST_CHECK;
/* The record that events of this name mean when they bring no uid: of this function best, then one that a client made, then the
 * latest. function empty: of any. */
rc_t endpoint_get_named(struct db *db, int32_t project_id, struct str name, struct str function, struct endpoint *ret,
                        struct err *e) MUST_CHECK;
rc_t endpoint_get_id(struct db *db, int64_t id, struct endpoint *ret, struct err *e) MUST_CHECK;
/* Insert-or-read by (project, uid): *ret_created says which. E_LIMIT: max_per_project endpoints of the project have
 * registered themselves already (0: no bound). Outside of a long transaction: it waits for, and holds back, every other change of a record. */
rc_t endpoint_register(struct db *db, const struct endpoint *in, const char *alias, int64_t max_per_project,
                       struct endpoint *ret, bool *ret_created, struct err *e) MUST_CHECK;
/* MLRun's create. A record that registered itself under this uid, or this name and function, is adopted with its uid. Else
 * the latest of (project, name, function, tag) is: inplace, changed (uid and requests stay; a text that is NULL in `in` too);
 * overwrite, deleted with all its rows; archive, kept as no longer latest, five records a name; skip, answered as it is.
 * uid NULL or "": one is made. E_CONFLICT: the uid is another's. */
rc_t endpoint_create(struct db *db, const struct endpoint *in, const char *strategy, struct endpoint *ret,
                     struct err *e) MUST_CHECK;
rc_t endpoint_update(struct db *db, const struct endpoint *ep,
                     struct err *e) MUST_CHECK; /* every mutable column, new change_seq; request times only widen */
/* Inside a transaction, and to its end: nobody else makes, changes or deletes a record, so that one can be read, changed and written. */
rc_t endpoints_lock(struct db *db, struct err *e) MUST_CHECK;
/* At once for everybody; its rows in other tables go afterwards (deletion.h). */
rc_t endpoint_delete(struct db *db, int64_t id, struct err *e) MUST_CHECK;

struct endpoint_filter {
    int32_t project_id;
    const struct str *names, *uids, *function_names, *function_tags, *model_names, *labels; /* "k=v" or "k" */
    size_t n_names, n_uids, n_function_names, n_function_tags, n_model_names, n_labels;
    struct str model_uri_part; /* empty: any */
    int mode;                  /* -1: any */
    bool top_level, latest_only;
    int64_t created_from_us, created_to_us; /* 0: open */
    int64_t after_id;                       /* paging: rows with id > this */
    size_t limit;                           /* 0: all */
};
rc_t endpoints_list(struct db *db, const struct endpoint_filter *f, struct endpoint **ret, size_t *n,
                    struct err *e) MUST_CHECK;
void endpoints_free(struct endpoint *eps, size_t n);
/* (id, uid, project_id) of endpoints whose change_seq > after, oldest first, for caches; *inout_seq moves on. */
rc_t endpoints_changed(struct db *db, int64_t *inout_seq, struct endpoint **ret, size_t *n, struct err *e) MUST_CHECK;
/* The newest change_seq anybody has drawn, a deletion's too; its transaction may be open for a moment yet. */
rc_t change_seq_last(struct db *db, int64_t *ret, struct err *e) MUST_CHECK;
/* Those of ids that no endpoint has (deleted): *ret for mem_free. */
rc_t endpoints_gone(struct db *db, const int64_t *ids, size_t n, int64_t **ret, size_t *ret_n, struct err *e) MUST_CHECK;
/* The same inside a transaction that writes rows of these endpoints: to its end none of the others is deleted. */
rc_t endpoints_hold(struct db *db, const int64_t *ids, size_t n, int64_t **ret, size_t *ret_n, struct err *e) MUST_CHECK;

/* For who remembers endpoints: when to ask for those that were deleted. {0} to begin with. */
struct gone_watch {
    int64_t seq, until_us;
};
/* *ret: something has changed of late, look now. Cheap; nothing is asked of the tables. */
rc_t gone_watch_due(struct gone_watch *w, struct db *db, bool *ret, struct err *e) MUST_CHECK;

/* First and last request times widen; inside the caller's transaction. */
struct endpoint_seen {
    int64_t endpoint_id, first_us, last_us;
};
rc_t endpoints_seen(struct db *db, const struct endpoint_seen *seen, size_t n, struct err *e) MUST_CHECK;

/* Newest schema with seq <= max_seq (0: any). E_NOTFOUND. */
rc_t schema_get(struct db *db, int64_t endpoint_id, int version_or_0, int64_t max_seq, struct endpoint_schema *ret,
                struct err *e) MUST_CHECK;
/* All versions, newest first; for schemas_free. */
rc_t schema_list(struct db *db, int64_t endpoint_id, struct endpoint_schema **ret, size_t *ret_n, struct err *e) MUST_CHECK;
void schemas_free(struct endpoint_schema *s, size_t n);
/* Adds document as the next version, or answers the version that already has the same document (from NULL: the newest alone).
 * Own transaction. from NULL: a client asks; it holds from 3 seconds on, when every pipeline has seen it. The oldest version of
 * an endpoint holds for all records before it too. */
rc_t schema_put(struct db *db, int32_t project_id, int64_t endpoint_id, struct str document, bool named,
                const struct schema_from *from, struct endpoint_schema *ret, struct err *e) MUST_CHECK;
rc_t schema_seq_now(struct db *db, int64_t *ret, struct err *e) MUST_CHECK; /* what a ledger row pins; never 0 */

rc_t reference_get(struct db *db, int64_t endpoint_id, int version_or_0, struct endpoint_reference *ret,
                   struct err *e) MUST_CHECK;
#define REFERENCE_AUTO "auto" /* source of one that was made of the endpoint's first rows */
/* The next version, or the newest when that is equal. The first one is in force for all windows: those that were closed
 * without any become pending again. */
rc_t reference_put(struct db *db, int32_t project_id, int64_t endpoint_id, struct str statistics, struct str labels,
                   const char *source, int *ret_version, struct err *e) MUST_CHECK;
/* Version 1, of the first rows: in force for windows that end at from_us, the time of the last of them, or later.
 * E_CONFLICT: there is a reference. */
rc_t reference_put_first(struct db *db, int32_t project_id, int64_t endpoint_id, struct str statistics,
                         struct str labels, int64_t from_us, struct err *e) MUST_CHECK;
/* All versions, oldest first, without their statistics, which may be large. */
rc_t references_list(struct db *db, int64_t endpoint_id, struct endpoint_reference **ret, size_t *n, struct err *e) MUST_CHECK;
void references_free(struct endpoint_reference *r, size_t n);
/* Version in force for a window that ends at end_us: the newest with created_us <= end_us, else the first unless that was made of
 * first rows; 0: none. */
rc_t reference_in_force(struct db *db, int64_t endpoint_id, int64_t end_us, int *ret_version, struct err *e) MUST_CHECK;
