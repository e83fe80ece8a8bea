/* Effectively once from a bus topic to a store (the heart of stream, writer and apps).
 *
 *   bus ──▶ record() … record() ──▶ prepare() ──▶ BEGIN ─ lock ledger ─ write() ─ move ledger ─ COMMIT ──▶ done()
 *            decode, accumulate     outside tx      the fence             effects   the only way back
 *
 * A pipeline is one thread with one consumer group and one database connection. Offsets live in the ledger, in the
 * transaction that writes the effects; an owner epoch fences zombies; a COMMIT whose answer was lost is settled by
 * reading the ledger. What a handler accumulates is dropped (done(dropped)) when its partition is lost or fenced.
 * Ordinary failures are retried here with back-off and jitter; a handler never loops. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "bus/bus.h"
#include "db/db.h"
#include "service/service.h"

struct pipeline;

/* Names of ledger pipelines that others read. An app's is "app:NAME". */
#define PIPELINE_STATISTICS "statistics"
#define PIPELINE_LAKE "lake"
#define PIPELINE_WRITER "writer"

/* One partition as the handler sees it. Lives from assignment to release. */
struct pipeline_part {
    const char *topic; /* interned */
    int32_t partition, project_id;
    int64_t next_offset;  /* committed: records below it have had their effect */
    int64_t position;     /* one past the newest record handled (or skipped) */
    int64_t schema_seq;   /* newest schema a replay may use; 0: any */
    void *user;           /* the handler's, per partition (its dedupe window); freed by part_free */
};

struct pipeline_record {
    struct pipeline_part *part;
    int64_t offset, timestamp_us;
    struct str key, value, traceparent;
    bool warmup; /* below next_offset: only feeds what the handler remembers, has no effect */
};

struct pipeline_ops {
    /* Decodes and accumulates. OK also for a record that is rejected (the handler notes its dead letter).
     * E_AGAIN: something needed is down; the same record comes again after a back-off. Else the process exits. */
    rc_t (*record)(void *self, const struct pipeline_record *r, struct err *e);
    /* Worth flushing now? Called often. */
    bool (*due)(void *self, int64_t mono_us);
    /* Outside the transaction: files written, results sent and acknowledged. Repeated after E_AGAIN. */
    rc_t (*prepare)(void *self, struct db *db, struct pipeline_part *const *parts, size_t n, struct err *e);
    /* Inside the transaction, ledger rows locked. May run again after a failed transaction. */
    rc_t (*write)(void *self, struct db *db, struct pipeline_part *const *parts, size_t n, struct err *e);
    /* What was accumulated is durable (committed) or must be forgotten (part NULL: of all partitions). */
    void (*done)(void *self, const struct pipeline_part *part, bool committed);
};

struct pipeline_topic {
    const char *name;
    int32_t project_id;
};

struct pipeline_config {
    const char *name;          /* ledger key */
    const char *group;         /* consumer group */
    const struct bus_config *bus;
    const struct db_config *db;
    const struct pipeline_ops *ops;
    void *self;
    /* The topics to read, asked once a second on the pipeline's thread (*ret: arena-like array owned by the callee until
     * the next call). */
    rc_t (*topics)(void *self, struct db *db, const struct pipeline_topic **ret, size_t *n, struct err *e);
    void (*part_free)(void *self, struct pipeline_part *part); /* may be NULL */
    int64_t warmup_us;         /* re-read this much record time before next_offset on assignment; 0: nothing */
    bool intent;               /* commit the end of a flush before preparing it (lake) */
    bool frontier;             /* keep the partition frontier in the ledger (statistics, lake) */
    int64_t high_bytes;        /* pause() above this many bytes held back by a failing flush; 0: 64 MiB */
    struct health_item *health_bus, *health_db; /* from service.h */
};

/* Opens; the thread starts with pipeline_start. The bus topics named by topics() are made when missing, with their ledger rows. */
rc_t pipeline_open(struct pipeline **ret, const struct pipeline_config *cfg, struct err *e) MUST_CHECK;
rc_t pipeline_start(struct pipeline *p, struct err *e) MUST_CHECK;
/* Finishes the open batch if it commits within deadline_us, drops it otherwise (safe); leaves the group; joins. */
void pipeline_stop(struct pipeline *p, int64_t deadline_us);
void pipeline_free(struct pipeline *p);

/* For HTTP forms of the same function: runs record+prepare+write+done for one message now, on the caller's thread, with the
 * same handler code but without bus or ledger. See pipeline_apply. */
rc_t pipeline_apply(const struct pipeline_ops *ops, void *self, struct db *db, struct str value, int32_t project_id, struct err *e) MUST_CHECK;
