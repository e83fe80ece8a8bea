/* The statistics sink: events become slot aggregates, committed with the ledger about once a second.
 * One accumulator a (partition, endpoint, slot, schema, reference); a flush appends each as one row and adds
 * its rows to the window that is now pending. */
#include <stdlib.h>
#include "app/values.h"
#include "base/clock.h"
#include "base/crash.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/time.h"
#include "db/ledger.h"
#include "db/slot.h"
#include "labels.h"
#include "sink.h"

#define SPARES_MAX 1000         /* empty slots that are kept for the next second */
#define OF_ACC 256              /* bytes of an accumulator without its slot: its place in index, list and heap too */
#define LETTERS_MAX (16u << 20) /* bytes of refused records, the same */

struct acc_key { /* no padding: it is a map key */
    const struct pipeline_part *part;
    int64_t endpoint_id, slot_start_us;
    int32_t schema_version, reference_version;
};
struct acc {
    struct acc_key key;
    struct known *known;
    struct shape *shape;
    struct slot *slot;
    int64_t slot_us, window_us, first_us, last_us;
    size_t bytes; /* counted in held */
    char traceparent[56];
};
struct statistics {
    struct map index;
    struct acc **list;
    size_t n, cap;
    size_t held;   /* bytes */
    size_t spares; /* of all columns */
    struct labels *labels;
    int64_t since_mono_us; /* something is held; 0: not looked at yet */
    int64_t deleted_rows;  /* of the flush under way, whose endpoints are no more */
};

static struct acc *acc_new(struct statistics *t, const struct acc_key *key, const struct resolved *at)
{
    struct acc *a = mem_alloc(sizeof *a);
    a->key = *key;
    a->known = at->known;
    a->shape = at->shape;
    struct columns *c = at->shape->columns;
    t->spares -= c->spare != NULL;
    a->slot = c->spare ? c->spare : slot_new(&c->layout);
    c->spare = NULL;
    a->slot_us = at->known->project->slot_us;
    a->window_us = at->known->project->base_period_us;
    a->first_us = INT64_MAX;
    a->last_us = INT64_MIN;
    if (t->n == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 256;
        t->list = mem_grow(t->list, t->cap, sizeof *t->list);
    }
    t->list[t->n++] = a;
    (void)map_put(&t->index, (struct str){(const char *)&a->key, sizeof a->key}, a);
    return a;
}

static void acc_free(struct statistics *t, struct acc *a)
{
    struct columns *c = a->shape->columns;
    if (a->known->recent == a)
        a->known->recent = NULL;
    t->held -= a->bytes;
    if (!c->spare && t->spares < SPARES_MAX) {
        slot_clear(a->slot);
        c->spare = a->slot;
        t->spares++;
    } else {
        slot_free(a->slot);
    }
    mem_free(a);
}

static struct acc *acc_for(struct statistics *t, const struct pipeline_part *part, const struct inference_event *ev,
                           const struct resolved *at)
{
    struct acc_key key = {part, at->known->ep.id, time_floor(ev->when_us, at->known->project->slot_us),
                          at->shape->columns->schema.version, at->shape->reference_version};
    struct acc *a = at->known->recent;
    if (a && memcmp(&a->key, &key, sizeof key) == 0)
        return a;
    a = map_get(&t->index, (struct str){(const char *)&key, sizeof key});
    if (!a)
        a = acc_new(t, &key, at);
    at->known->recent = a;
    return a;
}

static void add_value(struct slot *slot, size_t col, const struct value *v)
{
    if (v->type == VALUE_NUMBER) {
        slot_add_f64(slot, col, v->num);
    } else {
        struct stat_value counted = value_of_event(v);
        slot_add(slot, col, &counted);
    }
}

static rc_t take(struct sink *s, const struct pipeline_record *r, const struct inference_event *ev,
                 const struct resolved *at, struct err *e)
{
    (void)e;
    struct statistics *t = s->own;
    struct acc *a = acc_for(t, r->part, ev, at);
    struct slot *slot = a->slot;
    slot->requests++;
    if (ev->kind == INFERENCE_ERROR) {
        slot->errors++;
    } else {
        size_t n_features = at->shape->columns->schema.n_features, n_labels = at->shape->columns->schema.n_labels;
        slot->rows += ev->n_rows;
        slot->estimated += ev->estimated_prediction_count;
        if (ev->latency_us >= 0)
            sketch_add(&slot->latency, (double)ev->latency_us);
        for (size_t row = 0; row < ev->n_rows; row++) {
            for (size_t c = 0; c < n_features; c++)
                add_value(slot, c, &at->inputs[row * n_features + c]);
            for (size_t c = 0; c < n_labels; c++)
                add_value(slot, n_features + c, &at->outputs[row * n_labels + c]);
        }
    }
    size_t bytes = OF_ACC + slot_bytes(slot);
    t->held += bytes - a->bytes; /* modulo: it never shrinks */
    a->bytes = bytes;
    a->first_us = ev->when_us < a->first_us ? ev->when_us : a->first_us;
    a->last_us = ev->when_us > a->last_us ? ev->when_us : a->last_us;
    struct str trace = ev->traceparent.n ? ev->traceparent : r->traceparent;
    if (!a->traceparent[0] && trace.n && trace.n < sizeof a->traceparent)
        memcpy(a->traceparent, trace.p, trace.n);
    return OK;
}

static void take_label(struct sink *s, const struct pipeline_record *r, const struct inference_event *ev)
{
    struct statistics *t = s->own;
    labels_note(t->labels, r->part, ev);
}

static bool due(void *self, int64_t mono_us)
{
    struct sink *s = self;
    struct statistics *t = s->own;
    size_t letters = dead_letters_held(s->dead);
    if (t->since_mono_us == 0) /* with nothing held too: after duplicates alone the position and the frontier still move */
        t->since_mono_us = mono_us;
    return t->held >= (size_t)s->st->options.statistics_bytes || letters + labels_held(t->labels) >= LETTERS_MAX ||
           mono_us - t->since_mono_us >= s->st->options.flush_us;
}

static rc_t prepare(void *self, struct db *db, struct pipeline_part *const *parts, size_t n, struct err *e)
{
    struct sink *s = self;
    struct statistics *t = s->own;
    rc_t rc = dead_letters_prepare(s->dead, db, parts, n, e);
    if (rc == OK)
        rc = labels_prepare(t->labels, db, e);
    int64_t *days = mem_array(t->n ? t->n : 1, sizeof *days);
    size_t n_days = 0;
    for (size_t i = 0; i < t->n; i++) {
        int64_t day = time_floor(t->list[i]->key.slot_start_us, USEC_PER_DAY);
        if (n_days == 0 || days[n_days - 1] != day)
            days[n_days++] = day;
    }
    if (rc == OK && n_days)
        rc = db_days_ensure(db, days, n_days, e);
    mem_free(days);
    return rc;
}

static rc_t write_slots(struct db *db, struct acc *const *accs, size_t n, struct err *e)
{
    struct slot_row *out = mem_array(n, sizeof *out);
    struct buf bodies = {0};
    size_t *at = mem_array(n + 1, sizeof *at);
    for (size_t i = 0; i < n; i++) {
        slot_encode(accs[i]->slot, &bodies);
        at[i + 1] = bodies.len;
    }
    for (size_t i = 0; i < n; i++) {
        const struct acc *a = accs[i];
        out[i] = (struct slot_row){.project_id = a->known->ep.project_id,
                                   .endpoint_id = a->key.endpoint_id,
                                   .slot_start_us = a->key.slot_start_us,
                                   .slot_us = a->slot_us,
                                   .schema_version = a->key.schema_version,
                                   .reference_version = a->key.reference_version,
                                   .topic = str_of(a->key.part->topic),
                                   .partition = a->key.part->partition,
                                   .flush_offset = ledger_key(a->key.part->generation, a->key.part->position),
                                   .requests = (int64_t)a->slot->requests,
                                   .rows = (int64_t)a->slot->rows,
                                   .errors = (int64_t)a->slot->errors,
                                   .estimated = a->slot->estimated,
                                   .format = SLOT_FORMAT,
                                   .body = {bodies.data + at[i], at[i + 1] - at[i]}};
    }
    rc_t rc = slots_append(db, out, n, e);
    CRASH_POINT(slots_append);
    buf_done(&bodies);
    mem_free(at);
    mem_free(out);
    return rc;
}

static int by_window(const void *a, const void *b)
{
    const struct pending_window *x = a, *y = b;
    if (x->endpoint_id != y->endpoint_id)
        return x->endpoint_id < y->endpoint_id ? -1 : 1;
    return (x->end_us > y->end_us) - (x->end_us < y->end_us);
}

static rc_t write_pending(struct db *db, struct acc *const *accs, size_t n, struct err *e)
{
    struct pending_window *w = mem_array(n, sizeof *w);
    size_t n_all = 0, n_out = 0;
    int64_t now = clock_now_us();
    for (size_t i = 0; i < n; i++) {
        const struct acc *a = accs[i];
        int64_t start = time_floor(a->key.slot_start_us, a->window_us);
        if (a->slot->rows)
            w[n_all++] = (struct pending_window){a->known->ep.project_id, a->key.endpoint_id,     start,
                                                 start + a->window_us,    (int64_t)a->slot->rows, now,
                                                 str_of(a->traceparent)};
    }
    qsort(w, n_all, sizeof *w, by_window); /* one order for all writers: no dead-locks */
    for (size_t i = 0; i < n_all; i++) {
        if (n_out && by_window(&w[n_out - 1], &w[i]) == 0)
            w[n_out - 1].rows += w[i].rows;
        else
            w[n_out++] = w[i];
    }
    rc_t rc = n_out ? pending_add(db, w, n_out, e) : OK;
    CRASH_POINT(pending_add);
    mem_free(w);
    return rc;
}

static int by_endpoint(const void *a, const void *b)
{
    const struct endpoint_seen *x = a, *y = b;
    return (x->endpoint_id > y->endpoint_id) - (x->endpoint_id < y->endpoint_id);
}

static rc_t write_seen(struct db *db, struct acc *const *accs, size_t n, struct err *e)
{
    struct endpoint_seen *seen = mem_array(n, sizeof *seen);
    size_t n_out = 0;
    for (size_t i = 0; i < n; i++)
        seen[i] = (struct endpoint_seen){accs[i]->key.endpoint_id, accs[i]->first_us, accs[i]->last_us};
    qsort(seen, n, sizeof *seen, by_endpoint);
    for (size_t i = 0; i < n; i++) {
        if (n_out && seen[n_out - 1].endpoint_id == seen[i].endpoint_id) {
            struct endpoint_seen *have = &seen[n_out - 1];
            have->first_us = seen[i].first_us < have->first_us ? seen[i].first_us : have->first_us;
            have->last_us = seen[i].last_us > have->last_us ? seen[i].last_us : have->last_us;
        } else {
            seen[n_out++] = seen[i];
        }
    }
    rc_t rc = endpoints_seen(db, seen, n_out, e);
    mem_free(seen);
    return rc;
}

/* Those of accs whose endpoints live, to the transaction's end; the others' rows go with them. */
static rc_t keep_living(struct statistics *t, struct db *db, struct acc **accs, size_t *inout_n, struct err *e)
{
    CLEANUP(mem_freep) int64_t *ids = mem_array(*inout_n + 1, sizeof *ids), *gone = NULL;
    size_t n_ids = 0, n_gone = 0, kept = 0;
    for (size_t i = 0; i < *inout_n; i++)
        if (n_ids == 0 || ids[n_ids - 1] != accs[i]->key.endpoint_id)
            ids[n_ids++] = accs[i]->key.endpoint_id;
    qsort(ids, n_ids, sizeof *ids, num_order_i64);
    rc_t rc = endpoints_hold(db, ids, n_ids, &gone, &n_gone, e);
    if (rc)
        return rc;
    t->deleted_rows = 0;
    for (size_t i = 0; i < *inout_n; i++) {
        if (n_gone && bsearch(&accs[i]->key.endpoint_id, gone, n_gone, sizeof *gone, num_order_i64))
            t->deleted_rows += (int64_t)accs[i]->slot->rows;
        else
            accs[kept++] = accs[i];
    }
    *inout_n = kept;
    return OK;
}

static rc_t write_accs(struct statistics *t, struct db *db, struct acc **accs, size_t n, struct err *e)
{
    rc_t rc = keep_living(t, db, accs, &n, e);
    if (rc == OK && n)
        rc = write_slots(db, accs, n, e);
    if (rc == OK && n)
        rc = write_pending(db, accs, n, e);
    if (rc == OK && n)
        rc = write_seen(db, accs, n, e);
    return rc;
}

static rc_t write_all(void *self, struct db *db, struct pipeline_part *const *parts, size_t n, struct err *e)
{
    struct sink *s = self;
    struct statistics *t = s->own;
    CLEANUP(mem_freep) struct acc **accs = mem_array(t->n ? t->n : 1, sizeof *accs);
    size_t n_accs = 0;
    for (size_t i = 0; i < t->n; i++)
        if (pipeline_has(parts, n, t->list[i]->key.part))
            accs[n_accs++] = t->list[i];
    rc_t rc = dead_letters_write(s->dead, db, parts, n, e);
    if (rc == OK)
        rc = labels_write(t->labels, db, parts, n, e);
    if (rc == OK)
        rc = sink_write_refused(s, db, parts, n, e);
    return rc == OK && n_accs ? write_accs(t, db, accs, n_accs, e) : rc;
}

static void done(void *self, const struct pipeline_part *part, bool committed)
{
    struct sink *s = self;
    struct statistics *t = s->own;
    size_t kept = 0;
    if (committed)
        sink_count_deleted(s, t->deleted_rows); /* of all the partitions of a flush: counted with the first */
    t->deleted_rows = 0;
    for (size_t i = 0; i < t->n; i++) {
        struct acc *a = t->list[i];
        if (part && a->key.part != part) {
            t->list[kept++] = a;
            continue;
        }
        (void)map_del(&t->index, (struct str){(const char *)&a->key, sizeof a->key});
        acc_free(t, a);
    }
    t->n = kept;
    t->since_mono_us = 0;
    if (t->n == 0)
        registry_let_go(s->registry);
    sink_done(part);
    dead_letters_done(s->dead, part);
    labels_done(t->labels, part);
}

static void free_own(struct sink *s)
{
    struct statistics *t = s->own;
    done(s, NULL, false);
    map_done(&t->index);
    labels_free(t->labels);
    mem_free(t->list);
    mem_free(t);
}

static const struct pipeline_ops ops = {sink_record, due, prepare, write_all, done, sink_refused, NULL};

rc_t statistics_open(struct sink **ret, struct stream *st, struct err *e)
{
    struct statistics *t = mem_alloc(sizeof *t);
    t->labels = labels_new();
    rc_t rc = sink_open(ret, st,
                        &(struct sink_def){.name = PIPELINE_STATISTICS,
                                           .ops = &ops,
                                           .with_references = true,
                                           .dead_letters = true,
                                           .take = take,
                                           .take_label = take_label,
                                           .free_own = free_own,
                                           .own = t},
                        e);
    if (rc) {
        labels_free(t->labels);
        mem_free(t);
    }
    return rc;
}
