/* Whether a log is still the one that was read. A topic that was deleted and made anew begins at 0 again; once it has grown past
 * the ledger's offset nothing but its records tells it from the old one. So one record is remembered by a print, and read
 * again: at every claim, and while it runs.
 *
 *   known ──found again at time t──▶ all that was read before t is of this log ──▶ a record taken before t becomes known
 *
 * A log that does not fit stops its partition in the ledger, for whoever owns it, until an operator decides. */
#include <stdio.h>
#include "log/log.h"
#include "pipeline/internal.h"

#define ROUND 10      /* seconds until each log was looked at again */
#define AT_ONCE_MIN 8 /* … and so many a second at least */

static bool is_known(const struct ledger_mark *m, const struct bus_mark *found)
{
    return m->offset == found->offset && m->timestamp_us == found->timestamp_us && m->print == found->print;
}

void part_marks(struct part *part, int64_t offset, int64_t timestamp_us, struct str key, struct str value)
{
    struct ledger_mark *m = part->known.offset < 0 ? &part->known : &part->next; /* the first one is all there is to go by */
    if (m->offset < 0)
        *m = (struct ledger_mark){offset, timestamp_us, bus_print(key, value)};
}

bool part_may_skip(const struct pipeline *p, const struct part *part)
{
    return p->cfg.skip_lost || (part->since_us && (part->known.offset < 0 || part->known.timestamp_us < part->since_us));
}

void part_stop(struct pipeline *p, struct part *part, const char *stopped)
{
    part->stopped = stopped;
    part->lost = part->stop_unsaved = true;
    log_event(LOG_ERROR, "partition_stopped", LF_STR("pipeline", p->cfg.name), LF_STR("topic", part->pub.topic),
              LF_I64("partition", part->pub.partition), LF_STR("reason", stopped), LF_STR("error", part->words));
}

static void replaced_short(struct part *part, int64_t end)
{
    (void)snprintf(part->words, sizeof part->words,
                   "the log was deleted and made anew, or cut: it ends at %lld, records below %lld had been read",
                   (long long)end, (long long)part->pub.position);
}

static void replaced_other(struct part *part)
{
    (void)snprintf(part->words, sizeof part->words,
                   "the log was deleted and made anew: at offset %lld is another record than the one that was read",
                   (long long)part->known.offset);
}

/* ---- at a claim ---- */

/* NULL, or why it cannot go on. found: what is at its mark; only asked when that is retained. */
static const char *judge(struct part *part, int64_t low, int64_t high, const struct bus_mark *found)
{
    if (part->pub.next_offset > high || part->known.offset >= high) {
        replaced_short(part, high);
        return LEDGER_REPLACED;
    }
    if (part->known.offset >= low && found && !is_known(&part->known, found)) {
        replaced_other(part);
        return LEDGER_REPLACED;
    }
    if (part->pub.next_offset < low) {
        (void)snprintf(part->words, sizeof part->words, "records %lld to %lld were deleted before they were read",
                       (long long)part->pub.next_offset, (long long)low - 1);
        return LEDGER_OUT_OF_RANGE;
    }
    return NULL;
}

/* Which record to ask for: the mark, or else the one before what is next, to be the mark from now on. -1: none. */
static int64_t wanted(const struct part *part, int64_t low, int64_t high)
{
    int64_t at = part->known.offset >= 0 ? part->known.offset : part->pub.next_offset - 1;
    return !part->stopped && at >= low && at < high ? at : -1;
}

rc_t parts_know(struct pipeline *p, const struct bus_partition *lows, const struct bus_partition *highs, struct err *e)
{
    struct bus_partition *at = mem_array(p->n_parts + 1, sizeof *at);
    struct bus_mark *found = mem_array(p->n_parts + 1, sizeof *found);
    size_t n = 0;
    for (size_t i = 0; i < p->n_parts; i++) {
        at[n] = lows[i];
        at[n].offset = wanted(p->parts[i], lows[i].offset, highs[i].offset);
        n += at[n].offset >= 0;
    }
    rc_t rc = bus_consumer_peek(p->bus, at, n, found, ENDS_TIMEOUT_US, e);
    for (size_t i = 0, k = 0; rc == OK && i < p->n_parts; i++) {
        struct part *part = p->parts[i];
        bool asked = wanted(part, lows[i].offset, highs[i].offset) >= 0;
        const struct bus_mark *here = asked ? &found[k++] : NULL;
        if (part->stopped)
            continue;
        const char *why = judge(part, lows[i].offset, highs[i].offset, here);
        if (why)
            part_stop(p, part, why);
        else if (here && part->known.offset < 0 && here->offset == part->pub.next_offset - 1)
            part->known = (struct ledger_mark){here->offset, here->timestamp_us, here->print};
    }
    mem_free(found);
    mem_free(at);
    return rc;
}

/* ---- while it runs ---- */

/* It fits: what was taken before it was asked about is of the same log. */
static void trust(struct part *part)
{
    if (part->next.offset >= 0)
        part->known = part->next;
    part->next.offset = -1;
}

static void stop_now(struct pipeline *p, struct part *part, const char *stopped)
{
    struct err e = {{0}};
    struct bus_partition at = {part->pub.topic, part->pub.partition, 0};
    part_stop(p, part, stopped);
    pipeline_done(p, part, false);
    if (bus_consumer_pause(p->bus, &at, 1, true, &e))
        log_event(LOG_WARN, "pause_failed", LF_STR("pipeline", p->cfg.name), LF_ERR(&e)); /* what it still gives is not handled */
    if (!p->stalled_until_us)
        pipeline_clear_stall(p); /* for its health */
    if (part_may_skip(p, part))
        p->reclaim_us = clock_mono_us(); /* where to go on is a claim's business: it looks at all there is to know */
}

void part_ends(struct pipeline *p, struct part *part, int64_t end)
{
    part->log_end = end;
    if (end >= part->pub.position && end > part->known.offset)
        return;
    replaced_short(part, end);
    stop_now(p, part, LEDGER_REPLACED);
}

void part_range(struct pipeline *p, struct part *part)
{
    struct bus_partition low = {part->pub.topic, part->pub.partition, 0}, high = low;
    struct err e;
    const char *why = NULL;
    if (bus_consumer_begins(p->bus, &low, 1, ENDS_TIMEOUT_US, &e) == OK &&
        bus_consumer_ends(p->bus, &high, 1, ENDS_TIMEOUT_US, &e) == OK)
        why = judge(part, low.offset, high.offset, NULL);
    if (!why) /* it fits again, or nobody answers: the bus has said that it does not */
        (void)snprintf(part->words, sizeof part->words, "the bus does not have offset %lld", (long long)part->pub.position);
    stop_now(p, part, why ? why : LEDGER_OUT_OF_RANGE);
}

/* A share of the logs, in turn, so that each has its turn within a round. */
static size_t next_share(struct pipeline *p, struct bus_partition *at)
{
    size_t share = p->n_parts / ROUND + 1, n = 0;
    share = share > AT_ONCE_MIN ? share : AT_ONCE_MIN;
    for (size_t i = 0; i < p->n_parts && n < share; i++) {
        const struct part *part = p->parts[p->known_at++ % p->n_parts];
        if (!part->lost && part->known.offset >= 0)
            at[n++] = (struct bus_partition){part->pub.topic, part->pub.partition, part->known.offset};
    }
    return n;
}

/* Nothing is at its mark: fine when that is not retained any more, else the next look at the ends tells. */
static void look_at_begin(struct pipeline *p, struct part *part)
{
    struct err e;
    struct bus_partition at = {part->pub.topic, part->pub.partition, 0};
    if (bus_consumer_begins(p->bus, &at, 1, ENDS_TIMEOUT_US, &e) == OK && at.offset > part->known.offset)
        trust(part);
}

static void look_again(struct pipeline *p)
{
    struct err e = {{0}};
    struct bus_partition *at = mem_array(p->n_parts + 1, sizeof *at);
    struct bus_mark *found = mem_array(p->n_parts + 1, sizeof *found);
    size_t n = bus_consumer_alone(p->bus) ? 0 : next_share(p, at);
    rc_t rc = bus_consumer_peek(p->bus, at, n, found, ENDS_TIMEOUT_US, &e);
    for (size_t i = 0; rc == OK && i < n; i++) {
        struct part *part = part_find(p, at[i].topic, at[i].partition);
        if (!part || part->lost || part->known.offset != at[i].offset)
            continue;
        if (is_known(&part->known, &found[i])) {
            trust(part);
        } else if (found[i].offset < 0) {
            look_at_begin(p, part);
        } else {
            replaced_other(part);
            stop_now(p, part, LEDGER_REPLACED);
        }
    }
    mem_free(found);
    mem_free(at);
}

static void save(struct pipeline *p, struct part *part)
{
    struct err e = {{0}};
    rc_t rc = ledger_stop(p->db, p->cfg.name, part->pub.topic, part->pub.partition, part->epoch, part->stopped,
                          part->words, &e);
    part->stop_unsaved = rc != OK && rc != E_CONFLICT; /* another owns it: that one has looked too */
    if (rc)
        log_event(LOG_WARN, "stop_not_saved", LF_STR("pipeline", p->cfg.name), LF_ERR(&e));
}

/* An operator has decided: the ledger does not say any more that it stands still. */
static bool may_go_on(struct pipeline *p, const struct part *part)
{
    struct err e;
    struct ledger_row row = {0};
    bool on = ledger_get(p->db, p->cfg.name, part->pub.topic, part->pub.partition, &row, &e) == OK && *row.stopped == '\0';
    ledger_row_done(&row);
    return on;
}

void parts_watch(struct pipeline *p)
{
    bool on = false;
    for (size_t i = 0; i < p->n_parts; i++) {
        struct part *part = p->parts[i];
        if (bus_consumer_alone(p->bus))
            trust(part);
        if (!part->stopped)
            continue;
        if (part->stop_unsaved)
            save(p, part);
        else
            on = on || may_go_on(p, part);
    }
    if (on)
        parts_reclaim(p);
    else
        look_again(p);
}
