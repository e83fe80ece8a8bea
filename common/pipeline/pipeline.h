/* Effectively once from a bus topic to a store (the heart of stream, writer and apps).
 *
 *   bus ──▶ record() … record() ──▶ prepare() ─ place() ──▶ BEGIN ─ lock ledger ─ write() ─ move ledger ─ COMMIT ──▶ done()
 *            decode, accumulate     outside tx                the fence             effects   the only way back
 *
 * A pipeline is one thread with one consumer group and one database connection. Offsets live in the ledger, in the
 * transaction that writes the effects; an owner epoch fences zombies; a COMMIT whose answer was lost is settled by
 * reading the ledger. What a handler accumulates is dropped (done(dropped)) when its partition is lost or fenced.
 * Ordinary failures are retried here with back-off and jitter; a handler never loops. A flush that is refused for what is in it
 * (E_INVALID: a value the database does not take) is halved until one record is left, which becomes a dead letter. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "bus/bus.h"
#include "db/db.h"
#include "service/health.h"

struct pipeline;

/* Names of ledger pipelines that others read. An app's is "app:NAME". */
#define PIPELINE_STATISTICS "statistics"
#define PIPELINE_LAKE "lake"
#define PIPELINE_WRITER "writer"

/* One partition as the handler sees it. Lives from assignment to release. */
struct pipeline_part {
    const char *topic; /* interned */
    int32_t partition, project_id;
    int64_t next_offset; /* committed: records below it have had their effect */
    int64_t position;    /* one past the newest record handled (or skipped) */
    int64_t schema_seq;  /* newest schema a replay may use; 0: any */
    int32_t generation;  /* of the log, from the ledger: see ledger_key */
    void *user;          /* the handler's, per partition (its dedupe window); freed by part_free */
};

/* Whether a flush, which hands its partitions to prepare and write, is of this one. */
static inline bool pipeline_has(struct pipeline_part *const *parts, size_t n, const struct pipeline_part *part)
{
    for (size_t i = 0; i < n; i++)
        if (parts[i] == part)
            return true;
    return false;
}

struct pipeline_record {
    struct pipeline_part *part;
    int64_t offset, timestamp_us;
    struct str key, value, traceparent;
    bool warmup; /* below next_offset: only feeds what the handler remembers, has no effect */
};

struct pipeline_ops {
    /* Decodes and accumulates. OK also for a record that is rejected (the handler notes its dead letter).
     * E_AGAIN: something needed is down; the same record comes again after a back-off. E_INVALID: it is refused, as below.
     * Else the pipeline has failed. */
    rc_t (*record)(void *self, const struct pipeline_record *r, struct err *e);
    /* Worth flushing now? Called after every record and between polls. Only asked when records came since the last flush;
     * without any the pipeline moves position and frontier by itself once a second. */
    bool (*due)(void *self, int64_t mono_us);
    /* Outside the transaction: files written, results sent and acknowledged. Repeated after E_AGAIN. */
    rc_t (*prepare)(void *self, struct db *db, struct pipeline_part *const *parts, size_t n, struct err *e);
    /* Inside the transaction, ledger rows locked. May run again after a failed transaction. */
    rc_t (*write)(void *self, struct db *db, struct pipeline_part *const *parts, size_t n, struct err *e);
    /* What was accumulated is durable (committed) or must be forgotten (part NULL: of all partitions). */
    void (*done)(void *self, const struct pipeline_part *part, bool committed);
    /* The record is a dead letter of the pipeline's (REJECT_INTERNAL), and was not given to record(): record(), prepare() or
     * write() said E_INVALID for it, a flush of it alone. What had been accumulated was dropped in between. NULL: nothing to do. */
    void (*refused)(void *self, const struct pipeline_record *r);
    /* After prepare() and another look at the ledger: what was prepared is shown to others who do not ask the ledger. A process that
     * slept while it prepared does not come here, so it leaves alone what the new owner has shown; one that sleeps here finds that
     * without replace: E_CONFLICT, then the ledger is looked at once more before the same call with it. NULL: nothing to do. */
    rc_t (*place)(void *self, struct pipeline_part *const *parts, size_t n, bool replace, struct err *e);
};

struct pipeline_topic {
    const char *name;
    int32_t project_id;
};

struct pipeline_config {
    const char *name;  /* ledger key */
    const char *group; /* consumer group */
    const struct bus_config *bus;
    const struct db_config *db;
    struct bus_producer *producer; /* borrowed: makes missing topics */
    const struct pipeline_ops *ops;
    void *self;
    /* The topics to read, asked once a second on the pipeline's thread (*ret: arena-like array owned by the callee until
     * the next call). */
    rc_t (*topics)(void *self, struct db *db, const struct pipeline_topic **ret, size_t *n, struct err *e);
    void (*part_free)(void *self, struct pipeline_part *part); /* may be NULL */
    int64_t warmup_records; /* re-read so many offsets before next_offset on assignment (the dedupe horizon); 0: none */
    bool intent;            /* commit the end of a flush before preparing it (lake) */
    bool frontier;          /* keep the partition frontier in the ledger (statistics, lake) */
    /* What is next is not retained any more, or the log is another one: false stops the partition until an operator decides
     * (ledger_skip), true goes on at the earliest record. */
    bool skip_lost;
    bool one_by_one;       /* a flush for each record */
    struct health *health; /* of the service: the pipeline keeps one item there, under its name */
    enum health_need need; /* whether the service is not ready while this stands still */
    /* It cannot go on (E_FATAL): what is on disk or in memory is not known any more, the ledger is, and the next life of the process
     * reads it. Nothing is flushed any more. On the pipeline's thread, before stopped(). */
    void (*failed)(void *self, const char *words);
    void (*stopped)(void *self); /* on the pipeline's thread, as its last act; may be NULL */
};

/* Opens; the thread starts with pipeline_start. The bus topics named by topics() are made when missing, with their ledger rows. */
rc_t pipeline_open(struct pipeline **ret, const struct pipeline_config *cfg, struct err *e) MUST_CHECK;
rc_t pipeline_start(struct pipeline *p, struct err *e) MUST_CHECK;
/* Asks it to end: it finishes the open batch if that commits within deadline_us, drops it otherwise (safe), and calls
 * stopped(). Comes back at once; any thread. */
void pipeline_ask_stop(struct pipeline *p, int64_t deadline_us);
/* The same, and waits for the thread. */
void pipeline_stop(struct pipeline *p, int64_t deadline_us);
/* Leaves the group and frees; the thread has ended or never ran. NULL is fine. */
void pipeline_free(struct pipeline *p);
