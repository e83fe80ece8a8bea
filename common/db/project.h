/* Projects and their apps. */
#pragma once
#include "db/db.h"

struct project {
    int32_t id;
    char *name, *artifact_path, *document;
    int64_t base_period_us, created_us, updated_us;
    bool monitoring, default_app;
    int64_t reference_auto; /* first rows that make a reference; 0: as the controller's option says, REFERENCE_NEVER */
};
#define REFERENCE_NEVER (-1)
void project_done(struct project *p);

/* All projects, ordered by id. ret is an array of *n, freed by projects_free. */
rc_t projects_list(struct db *db, struct project **ret, size_t *n, struct err *e) MUST_CHECK;
void projects_free(struct project *p, size_t n);
rc_t project_get(struct db *db, struct str name, struct project *ret, struct err *e) MUST_CHECK; /* E_NOTFOUND */
/* Makes or changes one; in: name and every setting; out: id, created, updated. */
rc_t project_put(struct db *db, struct project *inout, struct err *e) MUST_CHECK;

/* Inside a transaction: the project of that name, made with `def`'s settings when there is none, and locked to the transaction's end. */
rc_t project_lock(struct db *db, const struct project *def, struct project *ret, struct err *e) MUST_CHECK;

/* The project with its apps, stored objects and endpoint records, at once for everybody; the rows of its endpoints in other tables
 * go afterwards (deletion.h). */
rc_t project_delete(struct db *db, int32_t id, struct err *e) MUST_CHECK;

struct app_row {
    int32_t id, project_id;
    char *name;
    bool needs_rows, active;
    bool wants_empty; /* is told of windows without rows too */
};
rc_t apps_list(struct db *db, int32_t project_id, struct app_row **ret, size_t *n, struct err *e) MUST_CHECK; /* project 0: all */
void apps_free(struct app_row *a, size_t n);
/* Names of active apps whose topic no pipeline of ours reads (the ledger has none); each is for mem_free, and the array. */
rc_t apps_elsewhere(struct db *db, int32_t project_id, char ***ret, size_t *n, struct err *e) MUST_CHECK;
/* Insert-or-read; what in says (id apart) is brought up to date. */
rc_t app_register(struct db *db, const struct app_row *in, int32_t *ret_id, struct err *e) MUST_CHECK;
/* The same for an app that wants no empty windows. */
rc_t app_put(struct db *db, int32_t project_id, const char *name, bool needs_rows, bool active, int32_t *ret_id,
             struct err *e) MUST_CHECK;
/* Insert-or-read: what is there stays as it is; a new one is inactive. */
rc_t app_add(struct db *db, int32_t project_id, const char *name, int32_t *ret_id, struct err *e) MUST_CHECK;
