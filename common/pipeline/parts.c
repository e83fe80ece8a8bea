/* Partitions of a pipeline: claimed from the ledger at assignment, dropped at release, their ends noted for the frontier. */
#include <stdio.h>
#include <unistd.h>
#include "pipeline/internal.h"
#include "base/crash.h"
#include "db/ledger.h"
#include "log/log.h"
#include "metrics/metrics.h"

struct part *part_find(struct pipeline *p, const char *topic, int32_t partition)
{
    struct part *r = p->recent;
    if (r && r->pub.partition == partition && r->pub.topic == topic)
        return r;
    for (size_t i = 0; i < p->n_parts; i++) {
        r = p->parts[i];
        if (r->pub.partition == partition && strcmp(r->pub.topic, topic) == 0)
            return p->recent = r;
    }
    return NULL;
}

static const struct topic_state *topic_find(const struct pipeline *p, const char *name)
{
    for (size_t i = 0; i < p->n_topics; i++)
        if (strcmp(p->topics[i].name, name) == 0)
            return &p->topics[i];
    return NULL;
}

static void part_drop(struct pipeline *p, struct part *part)
{
    pipeline_done(p, part, false);
    if (p->cfg.part_free)
        p->cfg.part_free(p->cfg.self, &part->pub);
    for (size_t i = 0; i < p->n_parts; i++) {
        if (p->parts[i] == part) {
            p->parts[i] = p->parts[--p->n_parts];
            break;
        }
    }
    for (struct kept **at = &p->kept_first; *at;) {
        struct kept *k = *at;
        if (k->part == part) {
            *at = k->next;
            mem_free(k);
        } else {
            at = &k->next;
        }
    }
    p->kept_end = &p->kept_first;
    while (*p->kept_end)
        p->kept_end = &(*p->kept_end)->next;
    p->recent = NULL;
    p->unsettled = 0; /* the ledger tells at the next claim */
    mem_free(part);
}

/* Also after half a claim: while partitions wait there are none, so nothing of them can be flushed. */
static void parts_none(struct pipeline *p)
{
    while (p->n_parts)
        part_drop(p, p->parts[p->n_parts - 1]);
}

void parts_drop(struct pipeline *p)
{
    parts_none(p);
    mem_free(p->waiting);
    p->waiting = NULL;
    p->n_waiting = 0;
    p->assigned = p->at_limit = false;
    p->reclaim_us = 0;
}

void parts_assign(struct pipeline *p, const struct bus_event *ev)
{
    parts_drop(p); /* assignments are whole: whatever was before is not ours any more */
    poison_forget(p);
    p->waiting = mem_array(ev->n_parts ? ev->n_parts : 1, sizeof *p->waiting);
    memcpy(p->waiting, ev->parts, ev->n_parts * sizeof *p->waiting);
    p->n_waiting = ev->n_parts;
    p->assigned = true;
}

void parts_reclaim(struct pipeline *p)
{
    struct bus_partition *at = mem_array(p->n_parts ? p->n_parts : 1, sizeof *at);
    size_t n = p->n_parts;
    for (size_t i = 0; i < n; i++)
        at[i] = (struct bus_partition){p->parts[i]->pub.topic, p->parts[i]->pub.partition, 0};
    log_event(LOG_WARN, "reclaiming", LF_STR("pipeline", p->cfg.name), LF_I64("partitions", (int64_t)n));
    parts_drop(p);
    p->waiting = at;
    p->n_waiting = n;
    p->assigned = true;
    p->paused = false;
    parts_claim(p);
}

static const char *stop_code(const char *text)
{
    return *text == '\0' ? NULL : strcmp(text, LEDGER_OUT_OF_RANGE) == 0 ? LEDGER_OUT_OF_RANGE : LEDGER_REPLACED;
}

static struct part *part_new(const struct bus_partition *at, const struct ledger_row *row, int32_t project_id)
{
    struct part *part = mem_alloc(sizeof *part);
    part->pub = (struct pipeline_part){.topic = at->topic,
                                       .partition = at->partition,
                                       .project_id = project_id,
                                       .next_offset = row->next_offset,
                                       .position = row->next_offset,
                                       .generation = row->generation};
    part->epoch = row->owner_epoch;
    part->frontier_us = row->frontier_us;
    part->floor = row->floor_offset;
    part->since_us = row->since_us;
    part->known = row->mark;
    part->next.offset = -1;
    part->stopped = stop_code(row->stopped);
    part->lost = part->stopped != NULL;
    (void)snprintf(part->words, sizeof part->words, "%s", row->last_error);
    part->limit = -1;
    if (row->intent_end > row->next_offset && row->next_offset >= 0) {
        part->limit = row->intent_end;
        part->pub.schema_seq = row->schema_seq;
    }
    return part;
}

static rc_t claim_one(struct pipeline *p, const struct bus_partition *at, const char *owner, struct err *e)
{
    const struct topic_state *topic = topic_find(p, at->topic);
    struct ledger_row row = {0};
    if (!topic)
        return err_set(e, E_AGAIN, "topic %s is not known yet", at->topic);
    rc_t rc = ledger_claim(p->db, p->cfg.name, at->topic, at->partition, owner, &row, e);
    if (rc == E_NOTFOUND) { /* the topic has grown */
        rc = ledger_ensure(p->db, p->cfg.name, at->topic, topic->project_id, at->partition + 1, e);
        if (rc == OK)
            rc = ledger_claim(p->db, p->cfg.name, at->topic, at->partition, owner, &row, e);
    }
    if (!rc && row.project_id != topic->project_id) {
        ledger_row_done(&row);
        rc = err_set(e, E_AGAIN, "topic %s is another project's now", at->topic);
    }
    if (rc)
        return rc;
    p->parts = mem_grow(p->parts, p->n_parts + 1, sizeof *p->parts);
    p->parts[p->n_parts++] = part_new(at, &row, topic->project_id);
    ledger_row_done(&row);
    return OK;
}

static rc_t restart(struct pipeline *p, struct part *part, int64_t at, bool another, struct err *e)
{
    rc_t rc = ledger_restart(p->db, p->cfg.name, part->pub.topic, part->pub.partition, part->epoch, at, another, e);
    if (rc)
        return rc;
    part->pub.next_offset = part->pub.position = part->floor = at;
    part->pub.generation += another;
    part->pub.schema_seq = 0;
    part->limit = part->known.offset = -1;
    part->stopped = NULL;
    part->lost = part->stop_unsaved = false;
    log_event(LOG_INFO, "restarted", LF_STR("pipeline", p->cfg.name), LF_STR("topic", part->pub.topic),
              LF_I64("partition", part->pub.partition), LF_I64("offset", at), LF_I64("generation", part->pub.generation));
    return OK;
}

/* Never started, or sent to one of the ends by an operator: from here on it is an offset, also for the next owner. */
static rc_t settle_starts(struct pipeline *p, const struct bus_partition *lows, const struct bus_partition *highs,
                          struct err *e)
{
    rc_t rc = OK;
    for (size_t i = 0; rc == OK && i < p->n_parts; i++) {
        struct part *part = p->parts[i];
        if (part->pub.next_offset < 0 && !part->stopped)
            rc = restart(p, part, part->pub.next_offset == LEDGER_HIGH ? highs[i].offset : lows[i].offset, false, e);
    }
    return rc;
}

/* Where reading begins: the committed offset less the horizon, but not below what is retained and was read. */
static int64_t start_offset(const struct pipeline *p, const struct part *part, int64_t low)
{
    int64_t from = part->pub.next_offset - p->cfg.warmup_records;
    int64_t least = part->floor > low ? part->floor : low;
    return from > least ? from : least < part->pub.next_offset ? least : part->pub.next_offset;
}

static rc_t settle_stops(struct pipeline *p, const struct bus_partition *lows, struct err *e)
{
    rc_t rc = OK;
    for (size_t i = 0; rc == OK && i < p->n_parts; i++) {
        struct part *part = p->parts[i];
        if (part->stopped && part_may_skip(p, part))
            rc = restart(p, part, lows[i].offset, true, e);
        else if (part->stop_unsaved)
            rc = ledger_stop(p->db, p->cfg.name, part->pub.topic, part->pub.partition, part->epoch, part->stopped,
                             part->words, e);
        part->stop_unsaved = part->stop_unsaved && rc != OK;
    }
    return rc;
}

/* The ends are asked for once the others are fenced: they cannot be older than what an owner before us has read. */
static rc_t claim_all(struct pipeline *p, struct bus_partition *lows, struct bus_partition *highs, struct err *e)
{
    char owner[80];
    (void)snprintf(owner, sizeof owner, "%s/%d", p->cfg.bus->client_id ? p->cfg.bus->client_id : "", (int)getpid());
    rc_t rc = OK;
    for (size_t i = 0; rc == OK && i < p->n_waiting; i++)
        rc = claim_one(p, &p->waiting[i], owner, e);
    if (rc == OK)
        rc = bus_consumer_begins(p->bus, lows, p->n_waiting, ENDS_TIMEOUT_US, e);
    if (rc == OK)
        rc = bus_consumer_ends(p->bus, highs, p->n_waiting, ENDS_TIMEOUT_US, e);
    if (rc == OK)
        rc = settle_starts(p, lows, highs, e);
    if (rc == OK)
        rc = parts_know(p, lows, highs, e);
    if (rc == OK)
        rc = settle_stops(p, lows, e);
    size_t n_start = 0;
    for (size_t i = 0; rc == OK && i < p->n_parts; i++) {
        struct part *part = p->parts[i];
        if (part->stopped)
            continue;
        part->pub.position = lows[n_start].offset = start_offset(p, part, lows[i].offset);
        lows[n_start].topic = part->pub.topic;
        lows[n_start++].partition = part->pub.partition;
    }
    CRASH_POINT(claim);
    struct err ignored; /* it was not paused, then */
    if (rc == OK && bus_consumer_pause(p->bus, lows, n_start, false, &ignored) == OK)
        p->paused = false;
    rc = rc ? rc : bus_consumer_start(p->bus, lows, n_start, e);
    CRASH_POINT(claim_start);
    return rc;
}

void parts_claim(struct pipeline *p)
{
    struct err e = {{0}};
    parts_none(p);
    struct bus_partition *ends = mem_array(2 * p->n_waiting + 1, sizeof *ends);
    if (p->n_waiting) {
        memcpy(ends, p->waiting, p->n_waiting * sizeof *ends);
        memcpy(ends + p->n_waiting, p->waiting, p->n_waiting * sizeof *ends);
    }
    rc_t rc = claim_all(p, ends, ends + p->n_waiting, &e);
    mem_free(ends);
    if (rc) {
        parts_none(p);
        pipeline_stall(p, "claiming partitions", &e);
        return;
    }
    log_event(LOG_INFO, "assigned", LF_STR("pipeline", p->cfg.name), LF_I64("partitions", (int64_t)p->n_parts));
    p->flushing = mem_grow(p->flushing, p->n_parts ? p->n_parts : 1, sizeof *p->flushing);
    mem_free(p->waiting);
    p->waiting = NULL;
    p->n_waiting = 0;
    p->next_note_us = 0;
    pipeline_clear_stall(p);
}

void part_reached(struct part *part)
{
    if (part->note_us && part->pub.position >= part->note_end) {
        part->reached_us = part->note_us;
        part->note_us = 0;
    }
}

/* The ends belong to this moment; of those that are noted already they are only looked at. */
void parts_note(struct pipeline *p)
{
    struct bus_partition *at = mem_array(p->n_parts + 1, sizeof *at);
    size_t n = 0;
    int64_t lag = 0;
    for (size_t i = 0; i < p->n_parts; i++)
        if (!p->parts[i]->lost)
            at[n++] = (struct bus_partition){p->parts[i]->pub.topic, p->parts[i]->pub.partition, 0};
    int64_t now = clock_now_us();
    struct err e = {{0}};
    rc_t rc = n ? bus_consumer_ends(p->bus, at, n, ENDS_TIMEOUT_US, &e) : OK;
    for (size_t i = 0; rc == OK && i < n; i++) {
        struct part *part = part_find(p, at[i].topic, at[i].partition);
        if (!part || at[i].offset < 0)
            continue;
        part_ends(p, part, at[i].offset);
        lag += at[i].offset > part->pub.next_offset ? at[i].offset - part->pub.next_offset : 0;
        if (part->note_us || part->lost)
            continue;
        part->note_us = now;
        part->note_end = at[i].offset;
        part_reached(part);
    }
    if (rc == OK)
        metric_set(p->seen.lag, (double)lag);
    mem_free(at);
}
