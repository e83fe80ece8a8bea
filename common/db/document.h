/* MLRun's objects as clients stored them: artifacts, functions, runs, feature sets and vectors, background tasks. A version is
 * (project, kind, name, uid, iter); tags name versions and move. */
#pragma once
#include "db/db.h"

struct document {
    int64_t id;
    int32_t project_id;
    const char *kind;                                       /* a literal */
    char *name, *uid, *tree, *type, *state, *labels, *body; /* NULL when put: empty, labels and body {} */
    char *tag; /* read: the tag that was asked for, else latest if it has that, else its first, else empty */
    int iter;
    int64_t created_us, updated_us;
};
void document_done(struct document *d);
void documents_free(struct document *d, size_t n);

/* Makes this version, or changes it; out: id, created, updated. */
rc_t document_put(struct db *db, struct document *inout, struct err *e) MUST_CHECK;
/* The tag names this version from now on. */
rc_t document_tag(struct db *db, const struct document *d, struct str tag, struct err *e) MUST_CHECK;

#define DOCUMENT_ITER_ANY (-1)
struct document_filter {
    int32_t project_id;
    const char *kind;
    struct str name, uid, tree, tag, state;           /* empty: any */
    bool name_part;                                   /* name is a part of names, of any case */
    const struct str *types, *labels, *uids, *states; /* labels: "k=v" or "k" */
    size_t n_types, n_labels, n_uids, n_states;
    bool not_types;                                                         /* any type but those */
    int64_t iter;                                                           /* or DOCUMENT_ITER_ANY */
    int64_t newest_of_each;                                                 /* so many of each name; 0: all */
    int64_t created_from_us, created_to_us, updated_from_us, updated_to_us; /* 0: open */
    size_t offset, limit;                                                   /* limit 0: all */
};
/* The last changed first. */
rc_t documents_list(struct db *db, const struct document_filter *f, struct document **ret, size_t *n,
                    struct err *e) MUST_CHECK;
/* The one that was changed last of those that fit; E_NOTFOUND without words. */
rc_t document_get(struct db *db, const struct document_filter *f, struct document *ret, struct err *e) MUST_CHECK;
/* All that fit; offset and limit are not looked at. */
rc_t documents_delete(struct db *db, const struct document_filter *f, int64_t *ret_n, struct err *e) MUST_CHECK;
/* Names of the tags that a kind has in a project, in their order; each is for mem_free, and the array. */
rc_t document_tags(struct db *db, int32_t project_id, const char *kind, char ***ret, size_t *n, struct err *e) MUST_CHECK;
