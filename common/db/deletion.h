/* What is left of deleted endpoints, until it is gone. endpoint_delete() takes the record away, so that nobody finds the
 * endpoint any more, and leaves a row here in the same transaction; the rows in every table go afterwards, a few days in a
 * transaction. Whoever does it may end at any point: it is begun again, and what is gone is gone. */
#pragma once
#include "db/db.h"

enum deletion_step { /* late: once more, when every transaction that was open at the deletion has ended */
                     DELETION_ROWS,
                     DELETION_FILES,
                     DELETION_LATE_ROWS,
                     DELETION_LATE_FILES,
                     DELETION_END,
};
struct deletion {
    int64_t endpoint_id, deleted_us;
    int32_t project_id;
    char *project, *uid;
    enum deletion_step step;
};
void deletion_done(struct deletion *d);

/* The one that is due, the earlier step first; E_NOTFOUND: none. */
rc_t deletion_next(struct db *db, int64_t now_us, struct deletion *ret, struct err *e) MUST_CHECK;
/* Its next step, not before due_us. */
rc_t deletion_set(struct db *db, int64_t endpoint_id, enum deletion_step step, int64_t due_us, struct err *e) MUST_CHECK;
rc_t deletion_end(struct db *db, int64_t endpoint_id, struct err *e) MUST_CHECK; /* nothing is left */

/* How far the rows of one are gone. {0}: from the start. */
struct deletion_cursor {
    int64_t endpoint_id;
    size_t table;
    int64_t day_us;
    bool started; /* day_us is set */
};
/* Deletes rows, at least one step's, until deadline_us (monotonic); *ret_more: some may be left. A cursor of another endpoint
 * starts anew. Outside of a transaction. */
rc_t deletion_rows(struct db *db, const struct deletion *d, struct deletion_cursor *at, int64_t deadline_us,
                   bool *ret_more, struct err *e) MUST_CHECK;
