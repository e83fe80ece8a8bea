/* What operators decided: who, when, from where to where. Rows are only added, in the transaction of what they tell of. */
#pragma once
#include "db/db.h"

struct operator_action {
    int64_t at_us; /* of adding: set by operator_action_add */
    struct str who, action, pipeline, topic, detail;
    int32_t partition;
    int64_t from_offset; /* ledger_skip: where it was; of a dead letter: its offset */
    int64_t to_offset;   /* ledger_skip: where it goes on, or LEDGER_LOW, LEDGER_HIGH */
    int64_t letter_us;   /* a dead letter's at_us; 0: none */
};
rc_t operator_action_add(struct db *db, const struct operator_action *a, struct err *e) MUST_CHECK;
/* The newest first, at most so many. Strings borrowed from *ret_rows. */
rc_t operator_actions_list(struct db *db, int64_t limit, struct operator_action **ret, size_t *n,
                           struct db_rows **ret_rows, struct err *e) MUST_CHECK;
