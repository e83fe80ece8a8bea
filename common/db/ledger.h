/* Where each pipeline is in each partition, who owns it and what it has promised (effectively once: the row moves
 * in the transaction that writes the effects). Only common/pipeline writes these rows, and an operator by ledger_skip. */
#pragma once
#include "db/db.h"

/* A record that was read, by what it is known again: a log that has another one there, or none, is another log. */
struct ledger_mark {
    int64_t offset; /* -1: none */
    int64_t timestamp_us, print;
};
#define LEDGER_LOW INT64_C(-1)  /* next_offset: the log's beginning when it is claimed (never started, or so decided) */
#define LEDGER_HIGH INT64_C(-2) /* … its end */

struct ledger_row {
    int32_t project_id, partition;
    char *pipeline, *topic;
    int64_t next_offset; /* or LEDGER_LOW, LEDGER_HIGH */
    int64_t intent_end;  /* -1: none */
    int64_t schema_seq;  /* 0: none */
    int64_t owner_epoch, frontier_us /* 0: none */, updated_us;
    int32_t generation;   /* one more each time it went on elsewhere than where it was */
    int64_t floor_offset; /* nothing below was read in this generation */
    int64_t end_offset;   /* of the log when it was last looked at; -1: not known */
    int64_t since_us;     /* records older than this are of a deleted project of the same name; 0: there was none */
    struct ledger_mark mark;
    char *owner, *stopped, *last_error; /* stopped: why it stands still until an operator decides, "" else */
};
/* The values of ledger_row.stopped. */
#define LEDGER_OUT_OF_RANGE "offset_out_of_range" /* what is next is not retained any more */
#define LEDGER_REPLACED "log_replaced"            /* the log is another one than the one that was read */

/* An offset as a key of what was made of its record: of two generations the same offset is two keys. Generation 0: itself. */
static inline int64_t ledger_key(int32_t generation, int64_t offset)
{
    return (int64_t)generation * (INT64_C(1) << 48) + offset;
}
void ledger_row_done(struct ledger_row *r);

/* Rows for partitions 0..n-1 exist (unowned, without frontier), so that an unowned partition holds the frontier back. Those of a
 * deleted project, which had the topic before, become this one's: they go on where they were, in the next generation, and
 * since_us is when this project was made. */
rc_t ledger_ensure(struct db *db, const char *pipeline, const char *topic, int32_t project_id, int32_t n_partitions,
                   struct err *e) MUST_CHECK;
/* In the transaction that deletes the project: its owners are fenced, so that nothing is written for it any more; files that a
 * flush under way had put in place are of a generation that is over. */
rc_t ledger_end_project(struct db *db, int32_t project_id, struct err *e) MUST_CHECK;
/* Takes ownership: epoch + 1; answers the row. Own statement. */
rc_t ledger_claim(struct db *db, const char *pipeline, const char *topic, int32_t partition, const char *owner,
                  struct ledger_row *ret, struct err *e) MUST_CHECK;
/* Inside a transaction: locks the row FOR UPDATE. E_CONFLICT: another owns it now (fenced). */
rc_t ledger_lock(struct db *db, const char *pipeline, const char *topic, int32_t partition, int64_t epoch,
                 struct ledger_row *ret, struct err *e) MUST_CHECK;
/* Inside the same transaction. Clears the intent. */
struct ledger_step {
    int64_t next_offset;
    int64_t frontier_us;            /* 0: keep */
    int64_t end_offset;             /* of the log; 0: keep */
    const struct ledger_mark *mark; /* NULL: keep */
};
rc_t ledger_move(struct db *db, const char *pipeline, const char *topic, int32_t partition,
                 const struct ledger_step *step, struct err *e) MUST_CHECK;
/* Own transaction, fenced: what the next flush will cover. */
rc_t ledger_intend(struct db *db, const char *pipeline, const char *topic, int32_t partition, int64_t epoch,
                   int64_t intent_end, int64_t schema_seq, struct err *e) MUST_CHECK;
/* Own transaction, fenced: it stands still from now on, whoever owns it, until ledger_skip or ledger_restart. */
rc_t ledger_stop(struct db *db, const char *pipeline, const char *topic, int32_t partition, int64_t epoch,
                 const char *stopped, const char *words, struct err *e) MUST_CHECK;
/* Own transaction, fenced: the owner goes on at this offset, in the row's next generation when another is true. Clears what it
 * stood still for, its intent and its mark. */
rc_t ledger_restart(struct db *db, const char *pipeline, const char *topic, int32_t partition, int64_t epoch,
                    int64_t next_offset, bool another, struct err *e) MUST_CHECK;
/* An operator's decision, with its row in operator_actions: to is an offset, LEDGER_LOW or LEDGER_HIGH. Fences the owner. E_NOTFOUND;
 * E_CONFLICT: it does not stand still, and force is false. *ret_from is where it was. */
rc_t ledger_skip(struct db *db, const char *pipeline, const char *topic, int32_t partition, int64_t to, bool force,
                 const char *who, int64_t *ret_from, struct err *e) MUST_CHECK;
rc_t ledger_get(struct db *db, const char *pipeline, const char *topic, int32_t partition, struct ledger_row *ret,
                struct err *e) MUST_CHECK;
/* Rows of a project (0: all) and pipeline (NULL: all), for status and lag. */
rc_t ledger_list(struct db *db, int32_t project_id, const char *pipeline, struct ledger_row **ret, size_t *n,
                 struct err *e) MUST_CHECK;
void ledger_rows_free(struct ledger_row *r, size_t n);
/* A project's frontier: the minimum over its rows of that pipeline and of the bridge that feeds its topic, if it has one
 * (profile.h); 0 when any has none or there are no rows. share: also takes FOR SHARE on the rows (inside a transaction). */
rc_t ledger_frontier(struct db *db, int32_t project_id, const char *pipeline, bool share, int64_t *ret_us,
                     struct err *e) MUST_CHECK;
/* The row that the frontier is of. E_NOTFOUND: there is none. */
rc_t ledger_slowest(struct db *db, int32_t project_id, const char *pipeline, struct ledger_row *ret, struct err *e) MUST_CHECK;
