/* Places where a build for tests can be made to end as if the machine went: MM_CRASH_AT=NAME:N is _exit(137) when the place
 * NAME is passed for the Nth time, in any thread. MM_ALLOC_FAIL_AT=N: the Nth allocation of mem.h fails (and aborts, as
 * memory that is not there does). MM_ALLOC_SITES=FILE: the first one from a place in the code that FILE does not name, which
 * is named there then. Only with -DMM_CRASH_POINTS; in all other builds a place is nothing.
 *
 * One more: a row here and CRASH_POINT(name) in the code; a test compares the two. A name says what was just done (or, with
 * `before`, what comes next). */
#pragma once

#define CRASH_POINTS(X)                                                                                                \
    /* local log */                                                                                                    \
    X(log_topic_folders)                                                                                               \
    X(log_topic_rename)                                                                                                \
    X(log_topic_sync)                                                                                                  \
    X(log_segment_create)                                                                                              \
    X(log_segment_write)                                                                                               \
    X(log_segment_sync)                                                                                                \
    X(log_segment_folder)                                                                                              \
    X(log_cut)                                                                                                         \
    X(log_accept)                                                                                                      \
    X(log_before_write)                                                                                                \
    X(log_write)                                                                                                       \
    X(log_sync)                                                                                                        \
    X(log_publish)                                                                                                     \
    X(log_ack)                                                                                                         \
    /* the HTTP form */                                                                                                \
    X(form_produce)                                                                                                    \
    X(form_before_answer)                                                                                              \
    X(form_answer)                                                                                                     \
    /* any transaction */                                                                                              \
    X(db_begin)                                                                                                        \
    X(db_before_commit)                                                                                                \
    X(db_commit)                                                                                                       \
    X(db_days)                                                                                                         \
    /* a pipeline's topics, claims and flushes */                                                                      \
    X(topic_ensure)                                                                                                    \
    X(topic_ledger)                                                                                                    \
    X(claim)                                                                                                           \
    X(claim_start)                                                                                                     \
    X(release)                                                                                                         \
    X(flush_intend)                                                                                                    \
    X(flush_prepare)                                                                                                   \
    X(flush_lock)                                                                                                      \
    X(flush_write)                                                                                                     \
    X(flush_move)                                                                                                      \
    X(flush_commit)                                                                                                    \
    X(flush_done)                                                                                                      \
    X(flush_note)                                                                                                      \
    X(letter_produce)                                                                                                  \
    X(letter_ack)                                                                                                      \
    X(letter_row)                                                                                                      \
    /* statistics, lake */                                                                                             \
    X(endpoint_register)                                                                                               \
    X(schema_extend)                                                                                                   \
    X(slots_append)                                                                                                    \
    X(pending_add)                                                                                                     \
    X(lake_file)                                                                                                       \
    X(lake_folders)                                                                                                    \
    X(lake_plan)                                                                                                       \
    X(lake_sync)                                                                                                       \
    X(lake_rename)                                                                                                     \
    X(lake_clean)                                                                                                      \
    X(lake_publish)                                                                                                    \
    X(lake_manifest)                                                                                                   \
    /* controller */                                                                                                   \
    X(close_take)                                                                                                      \
    X(close_put)                                                                                                       \
    X(close_outbox)                                                                                                    \
    X(close_commit)                                                                                                    \
    X(fold_write)                                                                                                      \
    X(retention_day)                                                                                                   \
    X(retention_file)                                                                                                  \
    X(retention_folder)                                                                                                \
    X(relay_read)                                                                                                      \
    X(relay_produce)                                                                                                   \
    X(relay_ack)                                                                                                       \
    X(relay_delete)                                                                                                    \
    /* apps, writer */                                                                                                 \
    X(app_track)                                                                                                       \
    X(app_produce)                                                                                                     \
    X(app_ack)                                                                                                         \
    X(results_write)                                                                                                   \
    X(results_publish)

enum crash_point {
#define CRASH_ROW(name) CRASH_##name,
    CRASH_POINTS(CRASH_ROW)
#undef CRASH_ROW
        CRASH_POINTS_N
};

#ifdef MM_CRASH_POINTS
#include <stdbool.h>
void crash_point(enum crash_point at);
bool crash_allocation(const void *frame); /* of a function of mem.h; true: this one fails */
#define CRASH_POINT(name) crash_point(CRASH_##name)
#else
#define CRASH_POINT(name) ((void)CRASH_##name)
#endif
