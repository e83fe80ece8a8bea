/* Where each pipeline is in each partition, who owns it and what it has promised (effectively once: the row moves
 * in the transaction that writes the effects). Only common/pipeline writes these rows; others read frontiers. */
#pragma once
#include "db/db.h"

struct ledger_row {
    int32_t project_id, partition;
    char *pipeline, *topic;
    int64_t next_offset; /* -1: never started */
    int64_t intent_end;  /* -1: none */
    int64_t schema_seq;  /* 0: none */
    int64_t owner_epoch, frontier_us /* 0: none */, updated_us;
};
void ledger_row_done(struct ledger_row *r);

/* Rows for partitions 0..n-1 exist (unowned, without frontier), so that an unowned partition holds the frontier back. */
rc_t ledger_ensure(struct db *db, const char *pipeline, const char *topic, int32_t project_id, int32_t n_partitions,
                   struct err *e) MUST_CHECK;
/* Takes ownership: epoch + 1; answers the row. Own statement. */
rc_t ledger_claim(struct db *db, const char *pipeline, const char *topic, int32_t partition, const char *owner,
                  struct ledger_row *ret, struct err *e) MUST_CHECK;
/* Inside a transaction: locks the row FOR UPDATE. E_CONFLICT: another owns it now (fenced). */
rc_t ledger_lock(struct db *db, const char *pipeline, const char *topic, int32_t partition, int64_t epoch,
                 struct ledger_row *ret, struct err *e) MUST_CHECK;
/* Inside the same transaction. frontier_us 0: keep. Clears the intent. */
rc_t ledger_move(struct db *db, const char *pipeline, const char *topic, int32_t partition, int64_t next_offset,
                 int64_t frontier_us, struct err *e) MUST_CHECK;
/* Own transaction, fenced: what the next flush will cover. */
rc_t ledger_intend(struct db *db, const char *pipeline, const char *topic, int32_t partition, int64_t epoch,
                   int64_t intent_end, int64_t schema_seq, struct err *e) MUST_CHECK;
rc_t ledger_get(struct db *db, const char *pipeline, const char *topic, int32_t partition, struct ledger_row *ret,
                struct err *e) MUST_CHECK;
/* Rows of a project (0: all) and pipeline (NULL: all), for status and lag. */
rc_t ledger_list(struct db *db, int32_t project_id, const char *pipeline, struct ledger_row **ret, size_t *n,
                 struct err *e) MUST_CHECK;
void ledger_rows_free(struct ledger_row *r, size_t n);
/* A project's frontier: the minimum over its rows of that pipeline; 0 when any has none or there are no rows.
 * share: also takes FOR SHARE on the rows (inside a transaction). */
rc_t ledger_frontier(struct db *db, int32_t project_id, const char *pipeline, bool share, int64_t *ret_us,
                     struct err *e) MUST_CHECK;
