/* The common half of the two sinks: topics, decoding, checks, duplicates, places. */
#include <stdio.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/time.h"
#include "db/ledger.h"
#include "db/refused.h"
#include "dedupe.h"
#include "event/cloudevent.h"
#include "metrics/metrics.h"
#include "pairing.h"
#include "sink.h"

enum { M_EVENTS, M_ROWS, M_HALVES, M_DELETED };
static const char *const outcomes[] = {"taken", "duplicate", "rejected", "control", "half", "label", NULL};
enum { TAKEN, DUPLICATE, REJECTED, CONTROL, HALF, LABEL };
static const struct metric_row rows[] = {
    [M_EVENTS] = {.name = "modelmon_stream_events_total",
                  .kind = METRIC_COUNTER,
                  .labels = {{.name = "sink", .cap = 4}, {.name = "outcome", .values = outcomes}},
                  .help =
                      "Inference events handled: taken, duplicate, rejected (see modelmon_dead_letters_total), control "
                      "(nop, batch end), half (a request or response that waits for its other half), label (kept, "
                      "whether its request "
                      "is known or not)."},
    [M_ROWS] = {.name = "modelmon_stream_rows_total",
                .kind = METRIC_COUNTER,
                .labels = {{.name = "sink", .cap = 4}},
                .help = "Model inputs in the events taken."},
    [M_HALVES] = {.name = "modelmon_stream_halves_waiting",
                  .kind = METRIC_GAUGE,
                  .labels = {{.name = "sink", .cap = 4}},
                  .help = "Logged requests and responses whose other half has not come."},
    [M_DELETED] =
        {.name = "modelmon_stream_deleted_rows_total",
         .kind = METRIC_COUNTER,
         .labels = {{.name = "sink", .cap = 4}},
         .help = "Rows that went with their endpoint: it, or its project, was deleted before they were committed."},
};
static struct metric_set metrics = METRIC_SET(rows);

static void count(const struct sink *s, size_t outcome)
{
    metric_add(metrics_at(&metrics, M_EVENTS, s->label, outcome), 1);
}

static rc_t topics(void *self, struct db *db, const struct pipeline_topic **ret, size_t *n, struct err *e)
{
    struct sink *s = self;
    rc_t rc = projects_load(&s->st->projects, db, s->st->options.id.system_id, e);
    form_loaded(&s->st->form);
    if (rc == OK)
        health_set(s->st->loaded, HEALTH_OK, "%s", "");
    if (rc)
        return rc;
    struct projects *p = &s->st->projects;
    for (size_t i = 0; i < s->n_topics; i++)
        mem_free((char *)(uintptr_t)s->topics[i].name);
    (void)pthread_rwlock_rdlock(&p->lock);
    s->topics = mem_grow(s->topics, p->n ? p->n : 1, sizeof *s->topics);
    s->n_topics = 0;
    for (size_t i = 0; i < p->n; i++)
        if (p->list[i].monitoring)
            s->topics[s->n_topics++] = (struct pipeline_topic){mem_dupz(p->list[i].topic), p->list[i].id};
    (void)pthread_rwlock_unlock(&p->lock);
    *ret = s->topics;
    *n = s->n_topics;
    return registry_refresh(s->registry, s->db, e); /* after the list: it knows every project of it */
}

/* Of a partition, from its assignment on. */
struct memory {
    struct dedupe *seen;
    struct pairing *pairs;
    size_t waiting;   /* of pairs, as counted in the sink's */
    int64_t *refused; /* ledger_keys of the warm-up that were refused */
    size_t n_refused, at;
    bool asked;
    int64_t *fresh; /* ledger_keys refused since the last flush */
    size_t n_fresh, cap_fresh;
};

static struct memory *memory_of(const struct sink *s, struct pipeline_part *part)
{
    struct memory *m = part->user;
    if (!m) {
        m = part->user = mem_alloc(sizeof *m);
        m->seen = dedupe_new(s->st->options.dedupe_records);
        m->pairs = pairing_new(s->st->options.pair_records, s->st->options.pair_wait_us, (size_t)s->st->options.pair_bytes);
    }
    return m;
}

static int64_t key_of(const struct pipeline_part *part, int64_t offset)
{
    return ledger_key(part->generation, offset);
}

static void note_refused(struct memory *m, int64_t key)
{
    if (m->n_fresh == m->cap_fresh) {
        m->cap_fresh = m->cap_fresh ? m->cap_fresh * 2 : 64;
        m->fresh = mem_grow(m->fresh, m->cap_fresh, sizeof *m->fresh);
    }
    m->fresh[m->n_fresh++] = key;
}

static rc_t reject(struct sink *s, const struct pipeline_record *r, const struct reject *why)
{
    if (r->warmup)
        return OK;
    count(s, REJECTED);
    note_refused(memory_of(s, r->part), key_of(r->part, r->offset));
    if (s->dead)
        dead_letters_note(s->dead, r, why);
    return OK;
}

void sink_refused(void *self, const struct pipeline_record *r)
{
    const struct sink *s = self;
    count(s, REJECTED);
    note_refused(memory_of(s, r->part), key_of(r->part, r->offset));
}

static rc_t check_time(const struct sink *s, const struct pipeline_record *r, const struct inference_event *ev,
                       struct reject *why)
{
    if (r->timestamp_us < TIME_SANE_MIN_US || r->timestamp_us > TIME_SANE_MAX_US)
        return reject_set(why, REJECT_BAD_TIME, "when", 0, "the record's own timestamp is none: check the sender's clock");
    return stream_check_time(&s->st->options, ev, r->timestamp_us, why);
}

static void identity(const struct inference_event *ev, uint64_t hash[2])
{
    char key[NAME_UID_MAX + INFERENCE_ID_MAX + 16];
    size_t n = 0;
    int64_t when_us = ev->is_paired ? 0 : ev->when_us;
    memcpy(key, &when_us, sizeof when_us);
    n += sizeof when_us;
    memcpy(key + n, ev->uid.p, ev->uid.n);
    n += ev->uid.n;
    key[n++] = '\0';
    memcpy(key + n, ev->request_id.p, ev->request_id.n);
    n += ev->request_id.n;
    hash128(key, n, hash);
}

/* A refused record does not make the one that is sent again, once its fault is mended, a duplicate. While they are handled
 * refused ones never get into the window; a warm-up cannot decide again, so it asks what was decided. */
static rc_t was_refused(struct sink *s, const struct pipeline_record *r, bool *ret, struct err *e)
{
    struct memory *m = memory_of(s, r->part);
    if (!m->asked) {
        rc_t rc = refused_list(s->db, s->name, r->part->topic, r->part->partition, key_of(r->part, r->offset),
                               &m->refused, &m->n_refused, e);
        if (rc)
            return rc;
        m->asked = true;
    }
    int64_t key = key_of(r->part, r->offset);
    while (m->at < m->n_refused && m->refused[m->at] < key)
        m->at++;
    *ret = m->at < m->n_refused && m->refused[m->at] == key;
    return OK;
}

static rc_t warm_up(struct sink *s, const struct pipeline_record *r, const uint64_t id[2], struct err *e)
{
    bool refused = false;
    rc_t rc = was_refused(s, r, &refused, e);
    if (rc == OK && !refused)
        (void)dedupe_seen(memory_of(s, r->part)->seen, id, r->offset);
    return rc;
}

/* An ingest event that went straight to the topic: what the HTTP trigger would have filled in, made from the record. */
static void complete(const struct pipeline_record *r, struct inference_event *ev, char id[80])
{
    if (ev->when_us == INFERENCE_NO_TIME)
        ev->when_us = r->timestamp_us;
    if (ev->request_id.n == 0) {
        int n = snprintf(id, 80, "offset-%d-%lld", r->part->partition, (long long)r->offset);
        ev->request_id = (struct str){id, (size_t)n};
    }
}

/* A whole event, whatever it was made of. E_INVALID: *why says it. */
static rc_t take_event(struct sink *s, const struct pipeline_record *r, const struct inference_event *ev,
                       struct reject *why, struct err *e)
{
    struct resolved at;
    struct dedupe *seen = memory_of(s, r->part)->seen;
    uint64_t id[2];
    identity(ev, id);
    if (r->warmup)
        return warm_up(s, r, id, e);
    dedupe_expect(seen, id);
    rc_t rc = registry_resolve(s->registry, s->db, r, ev, &at, why, e);
    if (rc == E_NOTFOUND) {
        sink_count_deleted(s, (int64_t)ev->n_rows);
        return OK;
    }
    if (rc == OK && dedupe_seen(seen, id, r->offset)) {
        count(s, DUPLICATE);
        return OK;
    }
    if (rc == OK)
        rc = s->take(s, r, ev, &at, e);
    if (rc == OK) {
        count(s, TAKEN);
        metric_add(metrics_at(&metrics, M_ROWS, s->label, 0), (int64_t)ev->n_rows);
    }
    return rc;
}

static rc_t take_one(struct sink *s, const struct pipeline_record *r, struct inference_event *ev, struct reject *why,
                     struct err *e)
{
    char id[80];
    complete(r, ev, id);
    rc_t rc = check_time(s, r, ev, why);
    if (rc == OK && ev->kind != INFERENCE_LABEL)
        return take_event(s, r, ev, why, e);
    if (rc == OK && !r->warmup) {
        if (s->take_label)
            s->take_label(s, r, ev);
        count(s, LABEL);
    }
    return rc;
}

/* ---- halves ---- */

static struct pipeline_record record_of(const struct pipeline_record *r, const struct half *half)
{
    struct pipeline_record out = *r;
    out.offset = half->offset;
    out.timestamp_us = half->timestamp_us;
    out.value = half->record;
    return out;
}

/* Both halves are dead letters, and may be sent again. */
static rc_t refuse_pair(struct sink *s, const struct pipeline_record *r, const struct half *other,
                        const uint64_t key[2], const struct reject *why)
{
    struct pipeline_record first = record_of(r, other);
    pairing_forget(memory_of(s, r->part)->pairs, key);
    rc_t rc = reject(s, &first, why);
    return rc ? rc : reject(s, r, why);
}

static rc_t take_pair(struct sink *s, const struct pipeline_record *r, const struct half *half,
                      const struct half *other, const uint64_t key[2], struct err *e)
{
    const struct half *request = half->is_request ? half : other, *response = half->is_request ? other : half;
    struct inference_event ev;
    struct reject why = {0};
    bool refused = false;
    rc_t rc = r->warmup ? was_refused(s, r, &refused, e) : OK;
    if (rc)
        return rc;
    if (refused) {
        pairing_forget(memory_of(s, r->part)->pairs, key);
        return OK;
    }
    rc = cloudevent_pair(s->decoder, request->record, response->record, &ev, &why);
    if (rc == OK) {
        if (ev.when_us == INFERENCE_NO_TIME)
            ev.when_us = request->timestamp_us;
        rc = take_event(s, r, &ev, &why, e);
    }
    return rc == E_INVALID && why.code ? refuse_pair(s, r, other, key, &why) : rc;
}

static rc_t take_half(struct sink *s, const struct pipeline_record *r, const struct inference_event *ev,
                      struct reject *why, struct err *e)
{
    struct half half = {ev->kind == INFERENCE_REQUEST, r->offset, r->timestamp_us, r->value}, other;
    char text[NAME_UID_MAX + INFERENCE_ID_MAX];
    uint64_t key[2];
    if (ev->when_us != INFERENCE_NO_TIME && check_time(s, r, ev, why))
        return E_INVALID;
    memcpy(text, ev->uid.p, ev->uid.n);
    memcpy(text + ev->uid.n, ev->request_id.p, ev->request_id.n);
    hash128(text, ev->uid.n + ev->request_id.n, key); /* made uids are all of one length */
    switch (pairing_add(memory_of(s, r->part)->pairs, key, &half, &other)) {
    case PAIRING_MADE:
        return take_pair(s, r, &half, &other, key, e);
    case PAIRING_REPEAT:
        if (!r->warmup)
            count(s, DUPLICATE);
        return OK;
    case PAIRING_WAITS:
        if (!r->warmup)
            count(s, HALF);
        return OK;
    }
    return OK;
}

struct leaving {
    struct sink *s;
    const struct pipeline_record *r;
};

static void half_left(void *arg, const struct half *half)
{
    const struct leaving *l = arg;
    struct pipeline_record r = record_of(l->r, half);
    struct reject why;
    (void)reject_set(&why, REJECT_UNPAIRED, "id", 0, "its %s did not come within PAIR_WAIT and PAIR_RECORDS",
                     half->is_request ? "response" : "request");
    (void)reject(l->s, &r, &why); /* notes it: OK always */
}

static void let_halves_leave(struct sink *s, const struct pipeline_record *r)
{
    struct memory *m = r->part->user;
    if (!m || pairing_bytes(m->pairs) == 0)
        return;
    pairing_pass(m->pairs, r->offset, r->timestamp_us, half_left, &(struct leaving){s, r});
    s->n_halves += pairing_waiting(m->pairs) - m->waiting; /* modulo: it may shrink */
    m->waiting = pairing_waiting(m->pairs);
    metric_set(metrics_at(&metrics, M_HALVES, s->label, 0), (double)s->n_halves);
}

static rc_t handle(struct sink *s, const struct pipeline_record *r, struct err *e)
{
    struct inference_event ev;
    struct reject why = {0};
    rc_t rc = inference_decode(s->decoder, r->value.p, r->value.n, &ev, &why);
    if (rc == OK && (ev.kind == INFERENCE_NOP || ev.kind == INFERENCE_BATCH_COMPLETE)) {
        if (!r->warmup)
            count(s, CONTROL);
        return OK;
    }
    if (rc == OK)
        rc = ev.kind == INFERENCE_REQUEST || ev.kind == INFERENCE_RESPONSE ? take_half(s, r, &ev, &why, e)
                                                                           : take_one(s, r, &ev, &why, e);
    return rc == E_INVALID && why.code ? reject(s, r, &why) : rc;
}

rc_t sink_record(void *self, const struct pipeline_record *r, struct err *e)
{
    struct sink *s = self;
    rc_t rc = handle(s, r, e);
    if (rc == OK)
        let_halves_leave(s, r);
    return rc;
}

static int64_t horizon(const struct stream_options *o)
{
    return o->dedupe_records + 2 * o->pair_records;
}

rc_t sink_write_refused(struct sink *s, struct db *db, struct pipeline_part *const *parts, size_t n, struct err *e)
{
    rc_t rc = OK;
    for (size_t i = 0; rc == OK && i < n; i++) {
        const struct memory *m = parts[i]->user;
        if (m && m->n_fresh)
            rc = refused_add(db, s->name, parts[i]->topic, parts[i]->partition, key_of(parts[i], parts[i]->position),
                             m->fresh, m->n_fresh, key_of(parts[i], parts[i]->position - horizon(&s->st->options)), e);
    }
    return rc;
}

void sink_done(const struct pipeline_part *part)
{
    struct memory *m = part ? part->user : NULL; /* without a part their memories go too */
    if (m)
        m->n_fresh = 0;
}

void sink_count_deleted(const struct sink *s, int64_t n)
{
    metric_add(metrics_at(&metrics, M_DELETED, s->label, 0), n);
}

static void part_free(void *self, struct pipeline_part *part)
{
    struct sink *s = self;
    struct memory *m = part->user;
    if (!m)
        return;
    s->n_halves -= m->waiting;
    dedupe_free(m->seen);
    pairing_free(m->pairs);
    mem_free(m->refused);
    mem_free(m->fresh);
    mem_free(m);
    part->user = NULL;
}

static void stopped(void *self)
{
    const struct sink *s = self;
    stream_part_stopped(s->st);
}

static void failed(void *self, const char *words)
{
    const struct sink *s = self;
    service_fail(s->st->service, "%s: %s", s->name, words);
}

rc_t sink_open(struct sink **ret, struct stream *st, const struct sink_def *def, struct err *e)
{
    struct sink *s = mem_alloc(sizeof *s);
    *s = (struct sink){.st = st,
                       .name = def->name,
                       .take = def->take,
                       .take_label = def->take_label,
                       .free_own = def->free_own,
                       .own = def->own,
                       .decoder = inference_decoder_new()};
    char group[128];
    (void)snprintf(group, sizeof group, "%s-%s", st->options.id.group_prefix, def->name);
    rc_t rc = cache_open(&s->cache, &st->cache, e);
    if (rc == OK)
        rc = db_open(&s->db, &st->db, e);
    if (rc == OK)
        rc = pipeline_open(&s->pipeline,
                           &(struct pipeline_config){.name = def->name,
                                                     .group = group,
                                                     .bus = &st->bus,
                                                     .db = &st->db,
                                                     .producer = st->producer,
                                                     .ops = def->ops,
                                                     .self = s,
                                                     .topics = topics,
                                                     .part_free = part_free,
                                                     .warmup_records = horizon(&st->options),
                                                     .intent = def->intent,
                                                     .frontier = true,
                                                     .skip_lost = st->options.skip_lost,
                                                     .health = service_health(st->service),
                                                     .need = HEALTH_OPTIONAL,
                                                     .failed = failed,
                                                     .stopped = stopped},
                           e);
    if (rc) {
        s->free_own = NULL; /* still the caller's */
        sink_free(s);
        return rc;
    }
    s->registry = registry_new(st, s->cache, def->with_references);
    s->dead = def->dead_letters ? dead_letters_new(def->name, st->producer) : NULL;
    metrics_register(&metrics);
    s->label = metrics_label(&metrics, M_EVENTS, 0, str_of(def->name));
    (void)metrics_label(&metrics, M_ROWS, 0, str_of(def->name));
    (void)metrics_label(&metrics, M_HALVES, 0, str_of(def->name));
    (void)metrics_label(&metrics, M_DELETED, 0, str_of(def->name));
    *ret = s;
    return OK;
}

rc_t sink_start(struct sink *s, struct err *e)
{
    rc_t rc = pipeline_start(s->pipeline, e);
    if (rc == OK)
        atomic_fetch_add(&s->st->running, 1);
    return rc;
}

void sink_ask_stop(struct sink *s)
{
    atomic_store(&s->stopping, true);
    pipeline_ask_stop(s->pipeline, 5 * USEC_PER_SEC);
}

void sink_stop(struct sink *s)
{
    if (s)
        pipeline_stop(s->pipeline, 0);
}

void sink_free(struct sink *s)
{
    if (!s)
        return;
    pipeline_stop(s->pipeline, 0);
    pipeline_free(s->pipeline);
    if (s->free_own)
        s->free_own(s);
    dead_letters_free(s->dead);
    registry_free(s->registry);
    inference_decoder_free(s->decoder);
    db_free(s->db);
    cache_free(s->cache);
    for (size_t i = 0; i < s->n_topics; i++)
        mem_free((char *)(uintptr_t)s->topics[i].name);
    mem_free(s->topics);
    mem_free(s);
}
