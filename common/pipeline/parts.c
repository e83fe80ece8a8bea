/* Partitions of a pipeline: claimed from the ledger at assignment, dropped at release, their ends noted for the frontier. */
#include <stdio.h>
#include <unistd.h>
#include "pipeline/internal.h"
#include "db/ledger.h"
#include "log/log.h"

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

void part_drop(struct pipeline *p, struct part *part)
{
    p->cfg.ops->done(p->cfg.self, &part->pub, false);
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
    mem_free(part);
}

void parts_drop(struct pipeline *p)
{
    while (p->n_parts)
        part_drop(p, p->parts[p->n_parts - 1]);
    mem_free(p->waiting);
    p->waiting = NULL;
    p->n_waiting = 0;
    p->assigned = p->at_limit = false;
    p->reclaim_us = 0;
}

void parts_assign(struct pipeline *p, const struct bus_event *ev)
{
    parts_drop(p); /* assignments are whole: whatever was before is not ours any more */
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

/* Where reading begins: the committed offset less the horizon, but not below what is retained. */
static int64_t start_offset(const struct pipeline *p, const struct ledger_row *row, int64_t low)
{
    int64_t from = row->next_offset - p->cfg.warmup_records;
    return from > low ? from : low;
}

static struct part *claim_one(struct pipeline *p, struct bus_partition *at, int64_t low, int64_t high,
                              const char *owner, struct err *e, rc_t *rc)
{
    const struct topic_state *topic = topic_find(p, at->topic);
    struct ledger_row row = {0};
    *rc = topic ? ledger_claim(p->db, p->cfg.name, at->topic, at->partition, owner, &row, e)
                : err_set(e, E_AGAIN, "topic %s is not known yet", at->topic);
    if (*rc)
        return NULL;
    struct part *part = mem_alloc(sizeof *part);
    part->pub = (struct pipeline_part){.topic = at->topic,
                                       .partition = at->partition,
                                       .project_id = topic->project_id,
                                       .next_offset = row.next_offset,
                                       .schema_seq = 0};
    part->epoch = row.owner_epoch;
    part->frontier_us = row.frontier_us;
    part->limit = -1;
    if (row.next_offset < 0)
        part->pub.next_offset = row.next_offset = low;
    if (row.next_offset < low || (high >= 0 && row.next_offset > high)) { /* not retained, or of a topic that was made anew since */
        part->lost = !p->cfg.skip_lost;
        log_event(LOG_ERROR, "offset_out_of_range", LF_STR("pipeline", p->cfg.name), LF_STR("topic", at->topic),
                  LF_I64("partition", at->partition), LF_I64("next_offset", row.next_offset), LF_I64("earliest", low),
                  LF_I64("end", high), LF_STR("then", part->lost ? "stopped" : "earliest"));
        if (!part->lost)
            part->pub.next_offset = row.next_offset = low;
    }
    if (row.intent_end > row.next_offset) {
        part->limit = row.intent_end;
        part->pub.schema_seq = row.schema_seq;
    }
    at->offset = start_offset(p, &row, low);
    part->pub.position = at->offset;
    ledger_row_done(&row);
    return part;
}

static rc_t claim_all(struct pipeline *p, struct err *e)
{
    struct bus_partition *lows = mem_array(p->n_waiting ? p->n_waiting : 1, sizeof *lows);
    memcpy(lows, p->waiting, p->n_waiting * sizeof *lows);
    rc_t rc = bus_consumer_begins(p->bus, lows, p->n_waiting, ENDS_TIMEOUT_US, e);
    struct bus_partition *highs = mem_array(p->n_waiting ? p->n_waiting : 1, sizeof *highs);
    memcpy(highs, p->waiting, p->n_waiting * sizeof *highs);
    if (rc == OK)
        rc = bus_consumer_ends(p->bus, highs, p->n_waiting, ENDS_TIMEOUT_US, e);
    char owner[80];
    (void)snprintf(owner, sizeof owner, "%s/%d", p->cfg.bus->client_id ? p->cfg.bus->client_id : "", (int)getpid());
    size_t n_start = 0;
    for (size_t i = 0; rc == OK && i < p->n_waiting; i++) {
        struct part *part = claim_one(p, &p->waiting[i], lows[i].offset, highs[i].offset, owner, e, &rc);
        if (!part)
            break;
        p->parts = mem_grow(p->parts, p->n_parts + 1, sizeof *p->parts);
        p->parts[p->n_parts++] = part;
        if (!part->lost)
            lows[n_start++] = p->waiting[i];
    }
    if (rc == OK)
        rc = bus_consumer_start(p->bus, lows, n_start, e);
    mem_free(highs);
    mem_free(lows);
    return rc;
}

void parts_claim(struct pipeline *p)
{
    struct err e = {{0}};
    while (p->n_parts)
        part_drop(p, p->parts[p->n_parts - 1]);
    rc_t rc = claim_all(p, &e);
    if (rc) {
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

void parts_note(struct pipeline *p)
{
    struct bus_partition *at = mem_array(p->n_parts, sizeof *at);
    size_t n = 0;
    for (size_t i = 0; i < p->n_parts; i++)
        if (!p->parts[i]->note_us && !p->parts[i]->lost)
            at[n++] = (struct bus_partition){p->parts[i]->pub.topic, p->parts[i]->pub.partition, 0};
    int64_t now = clock_now_us();
    struct err e = {{0}};
    if (n && bus_consumer_ends(p->bus, at, n, ENDS_TIMEOUT_US, &e) == OK) {
        for (size_t i = 0; i < n; i++) {
            struct part *part = part_find(p, at[i].topic, at[i].partition);
            if (!part || at[i].offset < 0)
                continue;
            part->note_us = now;
            part->note_end = at[i].offset;
            part_reached(part);
        }
    }
    mem_free(at);
}
