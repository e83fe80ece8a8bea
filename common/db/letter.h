/* Dead letters as an operator handles them: listed, sent again, dropped. Pipelines write them (lakefile.h). */
#pragma once
#include "db/db.h"

/* One of them. "PIPELINE/TOPIC/PARTITION/OFFSET", and "/AT" where a log that was made anew has the offset once more. */
struct letter_id {
    struct str pipeline, topic;
    int32_t partition;
    int64_t offset;
    int64_t at_us; /* 0: the newest of that offset */
};
rc_t letter_id_parse(struct str text, struct letter_id *ret, struct err *e) MUST_CHECK; /* borrows from text */

struct letter_row {
    struct letter_id id;
    int32_t project_id;
    struct str reason, field, error;
    struct str payload; /* the first 64 KiB; of a list: empty */
    int64_t size;       /* of the whole record */
    int64_t retries;
};
struct letter_filter {
    int32_t project_id;          /* 0: any */
    struct str pipeline, reason; /* empty: any */
    bool all;                    /* those that were sent again too */
    int64_t limit;
    struct letter_id after; /* of the row before the first one wanted, with its at_us; 0 there: from the newest on */
};
/* The newest first. Strings borrowed from *ret_rows. */
rc_t letters_list(struct db *db, const struct letter_filter *f, struct letter_row **ret, size_t *n,
                  struct db_rows **ret_rows, struct err *e) MUST_CHECK;
rc_t letter_get(struct db *db, const struct letter_id *id, struct letter_row *ret, struct db_rows **ret_rows,
                struct err *e) MUST_CHECK;
/* Into the outbox, for the topic it came from, with a row in operator_actions: all of it or nothing. payload NULL: as it came.
 * E_CONFLICT: it was sent again before, and force is false. E_LIMIT: the row has the beginning alone. E_INVALID: no UTF-8, which
 * no reader takes. A lost answer to the COMMIT is E_UNKNOWN: asking again tells. */
rc_t letter_retry(struct db *db, const struct letter_id *id, const struct str *payload, bool force, struct str who,
                  struct err *e) MUST_CHECK;
/* Deletes the row, with one in operator_actions that says what it was. */
rc_t letter_drop(struct db *db, const struct letter_id *id, struct str who, struct err *e) MUST_CHECK;
