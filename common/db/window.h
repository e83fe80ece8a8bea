/* Closing windows: from pending (statistics wrote it) to a revision, and the outbox that tells the apps. */
#pragma once
#include "db/db.h"
#include "db/slot.h"

struct window {
    int32_t project_id;
    int64_t endpoint_id, start_us, end_us;
    int revision; /* 0: none yet */
    int64_t rows, late_rows, frontier_us, closed_us;
    int schema_version, reference_version;
};
#define HANDLED_AHEAD_US (60 * USEC_PER_SEC)
/* Pending windows of a project that may be closed: end + lateness <= frontier and last_handled + lateness <= frontier (or
 * last_handled lies HANDLED_AHEAD_US ahead of the clock, which was set back: who waits for it waits as long as it was wrong),
 * oldest end first, at most limit. traceparent borrowed from *ret_rows. */
rc_t pending_due(struct db *db, int32_t project_id, int64_t frontier_us, int64_t lateness_us, size_t limit,
                 struct pending_window **ret, size_t *n, struct db_rows **ret_rows, struct err *e) MUST_CHECK;
/* Makes [start, end) pending, without rows, for the monitored endpoints of the project that were asked before end and not
 * before seen_since, and have no window there yet. Own statement. */
rc_t pending_add_empty(struct db *db, int32_t project_id, int64_t start_us, int64_t end_us, int64_t seen_since_us,
                       struct err *e) MUST_CHECK;
/* Earliest end of a pending window, 0: none (for the next wake-up). */
rc_t pending_next(struct db *db, int32_t project_id, int64_t *ret_end_us, struct err *e) MUST_CHECK;
/* Pending windows that have ended, of all projects, and the earliest end (0: none). */
rc_t pending_depth(struct db *db, int64_t now_us, int64_t *ret_n, int64_t *ret_oldest_us, struct err *e) MUST_CHECK;
/* Inside a transaction. Takes the pending row (E_NOTFOUND: gone), and answers what is known of the window. */
rc_t pending_take(struct db *db, const struct pending_window *w, struct window *ret_known, struct err *e) MUST_CHECK;
/* Inside the same transaction: inserts or raises the revision; w->revision is the new one (known.revision + 1).
 * E_CONFLICT: it has that revision already. late_rows becomes w's. */
rc_t window_put(struct db *db, const struct window *w, struct str traceparent, struct err *e) MUST_CHECK;
/* Rows in the slots that no revision will use. A window that was never closed gets a row with revision 0; its day must be there. */
rc_t window_add_late(struct db *db, const struct window *w, int64_t rows, struct err *e) MUST_CHECK;
rc_t window_get(struct db *db, int32_t project_id, int64_t endpoint_id, int64_t start_us, int64_t end_us,
                struct window *ret, struct err *e) MUST_CHECK;
rc_t window_last(struct db *db, int32_t project_id, int64_t endpoint_id, struct window *ret,
                 struct err *e) MUST_CHECK; /* with rows */
/* The sweep: windows closed in [from,to) of closed_us whose slots hold more than their rows and late rows become pending again,
 * and those that were closed without a reference where one is in force. */
rc_t windows_sweep(struct db *db, int32_t project_id, int64_t from_us, int64_t to_us, int64_t now_us,
                   int64_t *ret_found, struct err *e) MUST_CHECK;
/* Start of the oldest window whose rows are needed still: it is pending, or its event is in the outbox. INT64_MAX: none. */
rc_t windows_needed_from(struct db *db, int64_t *ret, struct err *e) MUST_CHECK;
/* Windows to fold: closed before, quiet, more than one slot row per slot. */
rc_t windows_unfolded(struct db *db, int32_t project_id, int64_t closed_before_us, size_t limit, struct window **ret,
                      size_t *n, struct err *e) MUST_CHECK;
rc_t window_set_folded(struct db *db, const struct window *w, struct err *e) MUST_CHECK;

struct outbox_row {
    int64_t id;
    int32_t project_id;
    struct str topic, key, payload, traceparent;
    int64_t created_us;
};
rc_t outbox_add(struct db *db, const struct outbox_row *rows, size_t n, struct err *e) MUST_CHECK; /* in the caller's transaction */
/* Oldest first, without the rows of these topics. A smaller id may appear after a larger one. */
rc_t outbox_read(struct db *db, const struct str *without, size_t n_without, size_t limit, struct outbox_row **ret,
                 size_t *n, struct db_rows **ret_rows, struct err *e) MUST_CHECK;
rc_t outbox_delete(struct db *db, const int64_t *ids, size_t n, struct err *e) MUST_CHECK;
rc_t outbox_depth(struct db *db, int64_t *ret_n, int64_t *ret_oldest_us, struct err *e) MUST_CHECK;
