/* Alerts as clients store them, the times they were active, and the events that clients report. */
#pragma once
#include "db/db.h"

struct alert {
    int64_t id;
    int32_t project_id;
    char *name, *body; /* body: JSON object */
    bool active;
    int64_t count, created_us, updated_us;
};
void alert_done(struct alert *a);
void alerts_free(struct alert *a, size_t n);

/* Makes it, or changes its body; what became of it so far stays. out: all but name and body. */
rc_t alert_put(struct db *db, struct alert *inout, struct err *e) MUST_CHECK;
rc_t alert_get(struct db *db, int32_t project_id, struct str name, struct alert *ret,
               struct err *e) MUST_CHECK; /* E_NOTFOUND without words */
/* In the order of their making. */
rc_t alerts_list(struct db *db, int32_t project_id, int64_t offset, int64_t limit, struct alert **ret, size_t *n,
                 struct err *e) MUST_CHECK;
rc_t alert_delete(struct db *db, int32_t project_id, struct str name, struct err *e) MUST_CHECK; /* OK: it was not there */
/* It is not active any more, and its activations have ended. In the caller's transaction. */
rc_t alert_reset(struct db *db, const struct alert *a, struct err *e) MUST_CHECK;
rc_t alerts_count(struct db *db, int64_t *ret, struct err *e) MUST_CHECK; /* of all projects */

/* ---- activations. Strings are borrowed from *ret_rows. ---- */
struct activation {
    int64_t id, activation_us, reset_us /* 0: active */, number_of_events;
    struct str name, severity, criteria, entity_kind, entity_id, event_kind, notifications;
};
struct activation_filter {
    int32_t project_id;
    int64_t id;                         /* 0: any */
    struct str name, entity;            /* a ~ before it: a part of it, of any case; empty: any */
    struct str entity_kind, event_kind; /* empty: any */
    const struct str *severities;
    size_t n_severities;
    int64_t since_us, until_us; /* 0: open */
    size_t offset, limit;
};
/* The newest first. */
rc_t activations_list(struct db *db, const struct activation_filter *f, struct activation **ret, size_t *n,
                      struct db_rows **ret_rows, struct err *e) MUST_CHECK;
/* How many activations of a kind of entity have not been reset. */
rc_t activations_open(struct db *db, int32_t project_id, const char *entity_kind, int64_t *ret, struct err *e) MUST_CHECK;

/* ---- events ---- */
#define ALERT_EVENTS_KEPT 10000 /* of a project, the newest */
struct alert_event {
    int32_t project_id;
    struct str kind, entity_kind, entity_id, value; /* read: borrowed from *ret_rows */
    int64_t at_us, received_us;
    int64_t id; /* read */
};
rc_t alert_event_add(struct db *db, const struct alert_event *ev, struct err *e) MUST_CHECK; /* in the caller's transaction */
/* The newest first, at most so many, of those before an id (0: all). kind empty: any. */
rc_t alert_events_list(struct db *db, int32_t project_id, struct str kind, int64_t before, int64_t limit,
                       struct alert_event **ret, size_t *n, struct db_rows **ret_rows, struct err *e) MUST_CHECK;
