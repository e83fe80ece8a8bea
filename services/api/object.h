/* What the routes of MLRun's stored objects share: an object out of a request's body, answers with what the server adds, filters
 * and pages of lists. Stored as db/document.h says. */
#pragma once
#include "api.h"
#include "db/document.h"

#define OBJECT_NAME_MAX 255
#define OBJECT_LATEST "latest"

/* One kind of objects. */
struct object_kind {
    const char *kind;     /* as stored */
    const char *list;     /* the key of a list's answer */
    const char *uid_key;  /* of metadata: what the version is shown as; NULL: not shown */
    const char *name_key; /* of metadata: key of artifacts, else name */
};
extern const struct object_kind object_artifact, object_function, object_run, object_feature_set, object_feature_vector,
    object_task;

/* An object out of a body, ready to be stored. */
struct object {
    const struct object_kind *kind;
    struct json *body; /* owned; metadata is an object of it, with name and project */
    struct document doc;
};
void object_done(struct object *o);
/* The body as an object of that name (name empty: metadata has it). E_INVALID names the field. */
rc_t object_read(struct call *c, const struct project *p, const struct object_kind *kind, struct str name,
                 struct object *ret, struct err *e) MUST_CHECK;
/* The same of a body that was read already; it is taken, on failure too. */
rc_t object_take(const struct project *p, const struct object_kind *kind, struct str name, struct json *body,
                 struct object *ret, struct err *e) MUST_CHECK;
/* The object's version as MLRun makes them: what it says, but for its tag, its state and its times. */
void object_hash(const struct object *o, char out[41]);
struct json *object_child(struct json *j, const char *key); /* an object; made when there is none */
/* A member whose key is a path, {"status.state": v}, into j. */
rc_t object_set_path(struct json *j, const struct json *value, struct err *e) MUST_CHECK;
/* doc's state and labels are read out of the body again, then this version is stored, with each tag (an empty one is passed over). Own transaction. */
rc_t object_store(struct call *c, struct object *o, const struct str *tags, size_t n_tags, struct err *e) MUST_CHECK;
rc_t object_store_in(struct call *c, struct object *o, const struct str *tags, size_t n_tags,
                     struct err *e) MUST_CHECK; /* in the caller's transaction */
/* Changes the stored object that f finds: E_NOTFOUND with words. *ret is object_done's. Inside a transaction. */
rc_t object_load(struct call *c, const struct object_kind *kind, const struct document_filter *f, struct object *ret,
                 struct err *e) MUST_CHECK;

/* Takes an update into j, member by member: objects are gone into, other values replaced; lists are added to when the header
 * x-mlrun-patch-mode is additive. */
rc_t object_merge(struct call *c, struct json *j, const struct json *update, struct err *e) MUST_CHECK;

/* A stored object with what the server knows of it in metadata; json_free. */
struct json *object_show(const struct project *p, const struct object_kind *kind, const struct document *d);
/* Answers it: under `key`, or itself when that is NULL. */
void object_answer(struct call *c, const struct project *p, const struct object_kind *kind, const struct document *d,
                   const char *key);
/* The one that f finds, answered; E_NOTFOUND with words. */
rc_t object_answer_found(struct call *c, const struct project *p, const struct object_kind *kind,
                         const struct document_filter *f, const char *key, struct err *e) MUST_CHECK;
rc_t object_missing(const struct project *p, const struct object_kind *kind, const struct document_filter *f, struct err *e);

/* Filters that all kinds have, out of the query: name (~part), tag (* is any), label. Then `more` adds its own. */
typedef rc_t object_more_fn(struct call *c, struct document_filter *f, struct err *e);
/* A list route: {"artifacts": […], "pagination": {…}}. page and page-size, or page-token, which has the other filters in it. */
rc_t object_list(struct call *c, const struct object_kind *kind, object_more_fn *more, struct err *e) MUST_CHECK;
/* days_ago=N of the query: N days before now; 0 or not there: def_us. */
int64_t object_days_ago(struct call *c, int64_t def_us);
/* Deletes all that fit: 204. */
rc_t object_delete(struct call *c, const struct document_filter *f, struct err *e) MUST_CHECK;
/* All that object_list would list. */
rc_t object_delete_list(struct call *c, const struct object_kind *kind, object_more_fn *more, struct err *e) MUST_CHECK;
