/* One flush: intent, prepare, then ledger and effects in one transaction. A COMMIT without an answer is settled by reading the
 * ledger, at once or at a later try: until then the pipeline is stalled like after any failure. */
#include "pipeline/internal.h"
#include "base/crash.h"
#include "db/endpoint.h"
#include "db/ledger.h"
#include "log/log.h"
#include "metrics/metrics.h"

static struct part *full(struct pipeline_part *pub)
{
    return (struct part *)(void *)pub;
}

/* In the search for what cannot be written an intent is fulfilled in smaller steps. */
static bool may_flush(const struct pipeline *p, const struct part *part)
{
    return part->limit < 0 || part->pub.position >= part->limit || p->poison.step;
}

bool pipeline_limit_reached(const struct pipeline *p)
{
    for (size_t i = 0; i < p->n_parts; i++)
        if (p->parts[i]->limit >= 0 && p->parts[i]->pub.position >= p->parts[i]->limit)
            return true;
    return false;
}

/* What the ledger is to learn; 0: nothing. One that lies ahead of the clock is taken back: the clock was set back. */
static int64_t frontier_of(const struct pipeline *p, const struct part *part)
{
    bool ahead = part->frontier_us > part->reached_us && part->frontier_us > clock_now_us();
    return p->cfg.frontier && (part->reached_us > part->frontier_us || ahead) ? part->reached_us : 0;
}

/* Partitions with something to say, in one order everywhere so that two owners cannot dead-lock. */
static size_t gather(struct pipeline *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n_parts; i++) {
        struct part *part = p->parts[i];
        bool moved = part->pub.position > part->pub.next_offset;
        bool frontier = frontier_of(p, part) != 0;
        if (part->lost || !may_flush(p, part) || !(moved || frontier))
            continue;
        size_t at = n++;
        for (; at > 0; at--) {
            struct pipeline_part *before = p->flushing[at - 1];
            int order = strcmp(before->topic, part->pub.topic);
            if (order < 0 || (order == 0 && before->partition < part->pub.partition))
                break;
            p->flushing[at] = before;
        }
        p->flushing[at] = &part->pub;
    }
    return n;
}

static void fenced(struct pipeline *p, struct part *part)
{
    log_event(LOG_WARN, "fenced", LF_STR("pipeline", p->cfg.name), LF_STR("topic", part->pub.topic),
              LF_I64("partition", part->pub.partition), LF_I64("epoch", part->epoch));
    part->lost = true; /* another owns it; the bus will say so, or has said so to a process that slept … */
    int64_t session = p->cfg.bus->session_us > 0 ? p->cfg.bus->session_us : 10 * USEC_PER_SEC;
    p->reclaim_us = clock_mono_us() + session + USEC_PER_SEC; /* … and else a claim that came late has fenced the true owner */
    pipeline_done(p, part, false);
}

static rc_t intend(struct pipeline *p, size_t n, struct err *e)
{
    int64_t seq = 0;
    rc_t rc = schema_seq_now(p->db, &seq, e);
    for (size_t i = 0; rc == OK && i < n; i++) {
        struct part *part = full(p->flushing[i]);
        if ((part->limit >= 0 && part->pub.position >= part->limit) || part->pub.position <= part->pub.next_offset)
            continue;
        rc = ledger_intend(p->db, p->cfg.name, part->pub.topic, part->pub.partition, part->epoch, part->pub.position,
                           seq, e);
        if (rc == OK)
            part->limit = part->pub.position;
        else if (rc == E_CONFLICT)
            fenced(p, part);
    }
    return rc;
}

/* The transaction's lock is the fence; this one is for what cannot be in it. */
static rc_t check_owner(struct pipeline *p, size_t n, struct err *e)
{
    rc_t rc = OK;
    for (size_t i = 0; rc == OK && i < n; i++) {
        struct part *part = full(p->flushing[i]);
        struct ledger_row row = {0};
        rc = ledger_get(p->db, p->cfg.name, part->pub.topic, part->pub.partition, &row, e);
        if (rc == OK && row.owner_epoch != part->epoch) {
            fenced(p, part);
            rc = err_set(e, E_CONFLICT, "%s/%d has another owner", part->pub.topic, part->pub.partition);
        }
        ledger_row_done(&row);
    }
    return rc;
}

static rc_t place(struct pipeline *p, size_t n, struct err *e)
{
    const struct pipeline_ops *ops = p->cfg.ops;
    if (ops->place == NULL)
        return OK;
    rc_t rc = check_owner(p, n, e);
    if (rc)
        return rc;
    rc = ops->place(p->cfg.self, p->flushing, n, false, e);
    if (rc != E_CONFLICT)
        return rc;
    rc = check_owner(p, n, e);
    return rc ? rc : ops->place(p->cfg.self, p->flushing, n, true, e);
}

static rc_t transact(struct pipeline *p, size_t n, struct err *e)
{
    rc_t rc = db_begin(p->db, e);
    for (size_t i = 0; i < n; i++)
        full(p->flushing[i])->moving_us = frontier_of(p, full(p->flushing[i]));
    for (size_t i = 0; rc == OK && i < n; i++) {
        struct part *part = full(p->flushing[i]);
        struct ledger_row row = {0};
        rc = ledger_lock(p->db, p->cfg.name, part->pub.topic, part->pub.partition, part->epoch, &row, e);
        if (rc == E_CONFLICT)
            fenced(p, part);
        else if (rc == OK && row.next_offset != part->pub.next_offset) /* an earlier COMMIT came after all */
            rc = err_set(e, E_UNKNOWN, "%s/%d is at another offset", part->pub.topic, part->pub.partition);
        ledger_row_done(&row);
    }
    CRASH_POINT(flush_lock);
    if (rc == OK)
        rc = p->cfg.ops->write(p->cfg.self, p->db, p->flushing, n, e);
    if (rc == OK)
        rc = dead_letters_write(p->dead, p->db, p->flushing, n, e);
    CRASH_POINT(flush_write);
    for (size_t i = 0; rc == OK && i < n; i++) {
        struct part *part = full(p->flushing[i]);
        const struct ledger_step step = {.next_offset = part->pub.position,
                                         .frontier_us = part->moving_us,
                                         .end_offset = part->log_end,
                                         .mark = part->known.offset >= 0 ? &part->known : NULL};
        rc = ledger_move(p->db, p->cfg.name, part->pub.topic, part->pub.partition, &step, e);
    }
    CRASH_POINT(flush_move);
    if (rc == OK)
        return db_commit(p->db, e);
    db_rollback(p->db);
    return rc;
}

/* The answer to COMMIT was lost. All rows moved in one transaction, so the first one tells for all. The row is locked: the
 * server may have got the COMMIT and not be done with it, or get it only now, after our connection has ended. */
static rc_t settle(struct pipeline *p, size_t n, struct err *e)
{
    for (size_t i = 0; i < n; i++) {
        struct part *part = full(p->flushing[i]);
        struct ledger_row row = {0};
        rc_t rc = ledger_lock(p->db, p->cfg.name, part->pub.topic, part->pub.partition, part->epoch, &row, e);
        int64_t at = row.next_offset;
        ledger_row_done(&row);
        if (rc && rc != E_CONFLICT)
            return rc == E_NOTFOUND ? E_FATAL : E_UNKNOWN;
        if (rc || (at != part->pub.position && at != part->pub.next_offset)) {
            fenced(p, part);
            return err_set(e, E_CONFLICT, "%s/%d has another owner", part->pub.topic, part->pub.partition);
        }
        if (part->pub.position > part->pub.next_offset)
            return at == part->pub.position ? OK : err_set(e, E_AGAIN, "the transaction was not committed");
    }
    return err_set(e, E_AGAIN, "only frontiers were to move");
}

static void committed(struct pipeline *p, size_t n)
{
    struct bus_partition *at = mem_array(n, sizeof *at);
    bool moved = false;
    for (size_t i = 0; i < n; i++) {
        struct part *part = full(p->flushing[i]);
        if (part->moving_us)
            part->frontier_us = part->moving_us;
        moved = moved || part->pub.position > part->pub.next_offset;
        part->pub.next_offset = part->pub.position;
        part->limit = -1;
        part->pub.schema_seq = 0;
        at[i] = (struct bus_partition){part->pub.topic, part->pub.partition, part->pub.next_offset};
        poison_committed(p, part);
        pipeline_done(p, part, true);
    }
    CRASH_POINT(flush_done);
    bus_consumer_note(p->bus, at, n);
    CRASH_POINT(flush_note);
    mem_free(at);
    metric_add(p->seen.flushes, moved);
}

/* E_UNKNOWN: still open. Neither positions nor p->flushing change while it is. */
static rc_t settle_open(struct pipeline *p, struct err *e)
{
    size_t n = p->unsettled;
    rc_t rc = settle(p, n, e);
    if (rc == E_UNKNOWN)
        return err_prefix(e, E_UNKNOWN, "whether a transaction was committed: ");
    p->unsettled = 0;
    if (rc == OK)
        committed(p, n);
    return rc;
}

rc_t pipeline_flush(struct pipeline *p, bool *ret_more, struct err *e)
{
    if (p->unsettled) {
        rc_t settled = settle_open(p, e);
        *ret_more = settled == OK; /* what has come since */
        return settled == E_CONFLICT ? E_AGAIN : settled;
    }
    size_t n = p->n_flushing = gather(p);
    *ret_more = p->cfg.intent && n > 1;
    if (n == 0)
        return OK;
    if (*ret_more)
        n = p->n_flushing = 1;
    rc_t rc = p->cfg.intent ? intend(p, n, e) : OK;
    CRASH_POINT(flush_intend);
    if (rc == OK)
        rc = p->cfg.ops->prepare(p->cfg.self, p->db, p->flushing, n, e);
    if (rc == OK)
        rc = dead_letters_prepare(p->dead, p->db, p->flushing, n, e);
    CRASH_POINT(flush_prepare);
    if (rc == OK)
        rc = place(p, n, e);
    if (rc == OK)
        rc = transact(p, n, e);
    CRASH_POINT(flush_commit);
    if (rc == OK)
        committed(p, n);
    p->unsettled = rc == E_UNKNOWN ? n : 0;
    if (p->unsettled)
        rc = settle_open(p, e);
    return rc == E_CONFLICT ? E_AGAIN : rc;
}
