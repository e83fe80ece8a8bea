/* What the files of the pipeline share: the loop (pipeline.c), topics (topics.c), partitions (parts.c), flushing (flush.c),
 * knowing a log again (known.c), the record that cannot be written (poison.c). */
#pragma once
#include <stdatomic.h>
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "db/ledger.h"
#include "pipeline/deadletter.h"
#include "pipeline/pipeline.h"
#include "service/worker.h"

#define STALL_MIN_US (100 * USEC_PER_MSEC)
#define STALL_MAX_US (5 * USEC_PER_SEC)
#define ENDS_TIMEOUT_US (2 * USEC_PER_SEC)

struct part {
    struct pipeline_part pub; /* first: the handler's pointer is ours */
    int64_t epoch;
    int64_t limit;             /* an intent to fulfil: flush exactly when position gets here; -1: none */
    int64_t note_us, note_end; /* noted (now, end of log), not reached yet; note_us 0: none */
    int64_t reached_us;        /* newest note that position has reached */
    int64_t frontier_us;       /* what the ledger has */
    int64_t moving_us;         /* what the transaction under way moves it to; 0: it does not */
    size_t taken;              /* records since the last commit that the handler has */
    int64_t last_taken;        /* the newest of them */
    int64_t end;               /* newest end of the log that was told; records below it may still be kept */
    int64_t log_end;           /* of the log when it was last asked; 0: not yet */
    int64_t floor;             /* no warm-up below */
    int64_t since_us;          /* records older than this are a former project's; 0: there was none */
    bool lost;                 /* nothing of it is handled: fenced, or it stands still */
    const char *stopped;       /* LEDGER_…: stands still until an operator decides; NULL: it does not */
    char words[200];           /* … why */
    bool stop_unsaved;         /* the ledger does not know it yet */
    /* The record that the log is known by: it was read after the log had last been known, so a log that has it is the one of
     * all that was read before. next: taken since, trusted as soon as `known` was found again. offset -1: none. */
    struct ledger_mark known, next;
};

/* A record kept while the pipeline is stalled: librdkafka may still deliver what it had queued before the pause. */
struct kept {
    struct kept *next;
    struct part *part;
    int64_t offset, timestamp_us;
    struct str key, value, traceparent; /* into data */
    char data[];
};

struct topic_state {
    char *name;
    int32_t project_id, n_partitions;
    bool ready; /* exists on the bus, and its partitions have ledger rows */
};

/* What cannot be written, however often it is tried, and what is done to find it. */
struct poison {
    size_t step;  /* a flush is due at so many records; 0: no search */
    int64_t left; /* so many are to be committed in such steps */
    struct poison_found {
        const char *topic;
        int32_t partition;
        int64_t offset;
        char words[160];
    } * found; /* refused when they come again; of a partition one at the most */
    size_t n;
};

struct pipeline {
    struct pipeline_config cfg;
    struct bus_consumer *bus;
    struct db *db;
    struct worker worker;
    struct health_dep *health;
    bool running, db_ready, failed;
    bool dirty;                    /* records since the last flush */
    bool at_limit;                 /* a partition has got to where its intended flush ends */
    atomic_llong stop_deadline_us; /* monotonic */

    struct part **parts;
    size_t n_parts;
    struct part *recent;             /* of the last record: records come in runs */
    struct pipeline_part **flushing; /* room for n_parts */
    size_t n_flushing;               /* of the last flush */
    size_t unsettled; /* so many of them are in a transaction of which nobody knows whether it was committed */

    struct bus_partition *waiting; /* assigned, not claimed yet */
    size_t n_waiting;
    bool assigned;

    struct topic_state *topics;
    size_t n_topics;
    int64_t reclaim_us; /* a partition was fenced: if the bus still says it is ours by then, claim again; monotonic, 0: no */
    int64_t next_topics_us, next_note_us, next_tick_us; /* monotonic */
    size_t known_at;                                    /* the partition whose log is looked at next */

    struct poison poison;
    struct dead_letters *dead; /* the poison's */

    struct kept *kept_first, **kept_end;
    bool paused;
    struct {
        struct metric *records, *former, *flushes, *seconds, *stalls, *stopped, *lag;
    } seen;
    int64_t stall_us, stalled_until_us; /* back-off; monotonic; 0: not stalled */
    char fault[320];                    /* why, for health */
};

/* pipeline.c */
void pipeline_stall(struct pipeline *p, const char *what, const struct err *e);
void pipeline_clear_stall(struct pipeline *p);
/* Of a partition, NULL: of all: its records are durable, or forgotten. */
void pipeline_done(struct pipeline *p, struct part *part, bool committed);

/* topics.c: OK, or the first that has to wait. recheck: looks at the number of partitions too. */
rc_t topics_refresh(struct pipeline *p, bool recheck, struct err *e) MUST_CHECK;

/* parts.c */
struct part *part_find(struct pipeline *p, const char *topic, int32_t partition);
void parts_assign(struct pipeline *p, const struct bus_event *ev);
void parts_claim(struct pipeline *p);   /* what waits: ledger claim, then one start */
void parts_drop(struct pipeline *p);    /* all of them, uncommitted work included */
void parts_reclaim(struct pipeline *p); /* as at an assignment: of partitions that are ours, but were fenced */
void parts_note(struct pipeline *p);    /* (now, end) of each partition */

/* poison.c */
/* The flush was refused for good: the partitions are claimed again, and flushed in smaller steps. False: it had no record to blame. */
bool poison_search(struct pipeline *p, const struct err *e);
/* This record was. It is refused when it comes again, after a claim: what the handler had taken of it is forgotten. */
void poison_found(struct pipeline *p, const struct part *part, int64_t offset, const struct err *e);
/* Whether it was found, and is refused now. */
bool poison_refuse(struct pipeline *p, const struct part *part, const struct pipeline_record *r);
bool poison_step(const struct pipeline *p);                         /* as many records as a step has were taken */
void poison_committed(struct pipeline *p, const struct part *part); /* before its pipeline_done */
void poison_forget(struct pipeline *p);

/* known.c: whether a log is still the one that was read. */
/* The partitions were claimed: asks the bus for what their marks are, and tells which do not fit. Those get `stopped`. */
rc_t parts_know(struct pipeline *p, const struct bus_partition *lows, const struct bus_partition *highs,
                struct err *e) MUST_CHECK;
void part_marks(struct part *part, int64_t offset, int64_t timestamp_us, struct str key,
                struct str value); /* of a record that was handled */
/* What was lost is nobody's any more: of a former project, or by SKIP_LOST_OFFSETS. It goes on at the earliest record. */
bool part_may_skip(const struct pipeline *p, const struct part *part);
void part_stop(struct pipeline *p, struct part *part, const char *stopped); /* at a claim; words are in the part */
void part_ends(struct pipeline *p, struct part *part, int64_t end); /* the log's end was asked: stops when it cannot be the same */
void part_range(struct pipeline *p, struct part *part);             /* what is next is not there: stops */
/* Once a second: a share of the logs is looked at again, what could not be saved is, and what operators decided is done. */
void parts_watch(struct pipeline *p);
void part_reached(struct part *part); /* after position moved */

/* flush.c: OK, also when there was nothing to do; E_AGAIN, E_UNKNOWN (see `unsettled`): stall and come again. *ret_more: call again for the rest (with
 * intent a flush is of one partition: large ones can take seconds, and a stop waits for one at the most). */
rc_t pipeline_flush(struct pipeline *p, bool *ret_more, struct err *e) MUST_CHECK;
bool pipeline_limit_reached(const struct pipeline *p);
