/* The record that cannot be written. A value the database refuses fails its whole flush, however often that is tried, so:
 *
 *   refused ─▶ claim again ─▶ a flush is due at half as many records ─▶ refused: half of these ─▶ … ─▶ of one record
 *     ▲            │               what is committed in between is out of the search                        │
 *     └────────────┴──────── when that one comes again it is a dead letter and not the handler's ◀──────────┘
 *
 * Claiming drops what the handler holds and reads it again from the ledger's offset on, so nobody has to keep records for it. */
#include <stdio.h>
#include "log/log.h"
#include "pipeline/internal.h"

static void claim_again(struct pipeline *p, const struct err *e)
{
    pipeline_stall(p, "writing a record", e);
    p->reclaim_us = clock_mono_us();
}

static struct poison_found *found_of(const struct pipeline *p, const struct part *part)
{
    for (size_t i = 0; i < p->poison.n; i++) {
        struct poison_found *f = &p->poison.found[i];
        if (f->partition == part->pub.partition && strcmp(f->topic, part->pub.topic) == 0)
            return f;
    }
    return NULL;
}

void poison_found(struct pipeline *p, const struct part *part, int64_t offset, const struct err *e)
{
    struct poison_found *f = found_of(p, part);
    if (!f) {
        p->poison.found = mem_grow(p->poison.found, p->poison.n + 1, sizeof *p->poison.found);
        f = &p->poison.found[p->poison.n++];
    }
    *f = (struct poison_found){.topic = part->pub.topic, .partition = part->pub.partition, .offset = offset};
    (void)snprintf(f->words, sizeof f->words, "%.159s", /* a server's may have the record's values in them */
                   err_quotes(e) ? "the database refuses a value of it; the log has its words" : e->text);
    log_event(LOG_ERROR, "record_refused", LF_STR("pipeline", p->cfg.name), LF_STR("topic", part->pub.topic),
              LF_I64("partition", part->pub.partition), LF_I64("offset", offset), LF_ERR(e));
    claim_again(p, e);
}

bool poison_search(struct pipeline *p, const struct err *e)
{
    size_t n = 0;
    const struct part *last = NULL;
    for (size_t i = 0; i < p->n_flushing; i++) {
        const struct part *part = (const struct part *)(const void *)p->flushing[i];
        n += part->taken;
        last = part->taken ? part : last;
    }
    if (!last)
        return false;
    if (p->poison.left < (int64_t)n)
        p->poison.left = (int64_t)n;
    p->poison.step = n > 1 ? n / 2 : 1;
    if (n == 1) {
        poison_found(p, last, last->last_taken, e);
        return true;
    }
    log_event(LOG_WARN, "flush_refused", LF_STR("pipeline", p->cfg.name), LF_I64("records", (int64_t)n), LF_ERR(e));
    claim_again(p, e);
    return true;
}

bool poison_refuse(struct pipeline *p, const struct part *part, const struct pipeline_record *r)
{
    const struct poison_found *f = p->poison.n && !r->warmup ? found_of(p, part) : NULL;
    if (!f || f->offset != r->offset)
        return false;
    struct reject why;
    (void)reject_set(&why, REJECT_INTERNAL, NULL, 0, "%s", f->words);
    dead_letters_note(p->dead, r, &why);
    if (p->cfg.ops->refused)
        p->cfg.ops->refused(p->cfg.self, r);
    return true;
}

bool poison_step(const struct pipeline *p)
{
    size_t taken = 0;
    size_t step = p->cfg.one_by_one ? 1 : p->poison.step;
    for (size_t i = 0; step && i < p->n_parts; i++)
        taken += p->parts[i]->taken;
    return step && taken >= step;
}

void poison_forget(struct pipeline *p)
{
    mem_free(p->poison.found);
    p->poison = (struct poison){0};
}

void poison_committed(struct pipeline *p, const struct part *part)
{
    struct poison *x = &p->poison;
    struct poison_found *f = found_of(p, part);
    bool was_last = f && f->offset < part->pub.next_offset && x->n == 1;
    x->left -= (int64_t)part->taken;
    if (was_last || (x->step && x->n == 0 && x->left <= 0))
        poison_forget(p);
    else if (f && f->offset < part->pub.next_offset)
        *f = x->found[--x->n];
}
