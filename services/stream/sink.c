/* The common half of the two sinks: topics, decoding, checks, duplicates, places. */
#include <stdio.h>
#include "base/clock.h"
#include "base/mem.h"
#include "db/lakefile.h"
#include "dedupe.h"
#include "metrics/metrics.h"
#include "sink.h"

enum { M_EVENTS, M_ROWS };
static const char *const outcomes[] = {"taken", "duplicate", "rejected", "control", NULL};
enum { TAKEN, DUPLICATE, REJECTED, CONTROL };
static const struct metric_row rows[] = {
    [M_EVENTS] = {.name = "modelmon_stream_events_total", .kind = METRIC_COUNTER,
                  .labels = {{.name = "sink", .cap = 4}, {.name = "outcome", .values = outcomes}},
                  .help = "Inference events handled: taken, duplicate, rejected (see modelmon_dead_letters_total), control (nop, batch end)."},
    [M_ROWS] = {.name = "modelmon_stream_rows_total", .kind = METRIC_COUNTER, .labels = {{.name = "sink", .cap = 4}},
                .help = "Model inputs in the events taken."},
};
static struct metric_set metrics = METRIC_SET(rows);

static void count(const struct sink *s, size_t outcome)
{
    metric_add(metrics_at(&metrics, M_EVENTS, s->label, outcome), 1);
}

static rc_t topics(void *self, struct db *db, const struct pipeline_topic **ret, size_t *n, struct err *e)
{
    struct sink *s = self;
    rc_t rc = projects_load(&s->st->projects, db, s->st->options.system_id, e);
    trigger_projects_loaded(s->st);
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

static rc_t reject(struct sink *s, const struct pipeline_record *r, const struct reject *why)
{
    if (r->warmup)
        return OK;
    count(s, REJECTED);
    if (s->dead)
        dead_letters_note(s->dead, r, why);
    return OK;
}

/* Times against the record's own: the same at a replay, whatever the clock says then. */
static rc_t check_time(const struct sink *s, const struct pipeline_record *r, const struct inference_event *ev,
                       struct reject *why)
{
    const struct stream_options *o = &s->st->options;
    if (ev->when_us > r->timestamp_us + o->future_us)
        return reject_set(why, REJECT_FUTURE_TIMESTAMP, "when", 0, "the time lies %lld s after the record's own",
                          (long long)((ev->when_us - r->timestamp_us) / USEC_PER_SEC));
    if (ev->when_us < r->timestamp_us - o->max_age_us)
        return reject_set(why, REJECT_BAD_TIME, "when", 0, "the time is older than EVENT_MAX_AGE");
    return OK;
}

/* Of a partition, from its assignment on. */
struct memory {
    struct dedupe *seen;
    int64_t *refused; /* offsets of the warm-up that are dead letters */
    size_t n_refused, at;
    bool asked;
};

static struct memory *memory_of(const struct sink *s, struct pipeline_part *part)
{
    struct memory *m = part->user;
    if (!m) {
        m = part->user = mem_alloc(sizeof *m);
        m->seen = dedupe_new(s->st->options.dedupe_records);
    }
    return m;
}

static bool is_duplicate(const struct sink *s, const struct pipeline_record *r, const struct inference_event *ev)
{
    char key[NAME_UID_MAX + INFERENCE_ID_MAX + 16];
    size_t n = 0;
    memcpy(key, &ev->when_us, sizeof ev->when_us);
    n += sizeof ev->when_us;
    memcpy(key + n, ev->uid.p, ev->uid.n);
    n += ev->uid.n;
    key[n++] = '\0';
    memcpy(key + n, ev->request_id.p, ev->request_id.n);
    n += ev->request_id.n;
    uint64_t hash[2];
    hash128(key, n, hash);
    return dedupe_seen(memory_of(s, r->part)->seen, hash, r->offset);
}

/* A refused record does not make the one that is sent again, once its fault is mended, a duplicate. While they are handled
 * refused ones never get into the window; a warm-up cannot decide again, so it asks what was decided. */
static rc_t was_refused(struct sink *s, const struct pipeline_record *r, bool *ret, struct err *e)
{
    struct memory *m = memory_of(s, r->part);
    if (!m->asked) {
        rc_t rc = dead_letters_offsets(s->db, str_of(r->part->topic), r->part->partition, r->offset, r->part->next_offset,
                                       &m->refused, &m->n_refused, e);
        if (rc)
            return rc;
        m->asked = true;
    }
    while (m->at < m->n_refused && m->refused[m->at] < r->offset)
        m->at++;
    *ret = m->at < m->n_refused && m->refused[m->at] == r->offset;
    return OK;
}

static rc_t warm_up(struct sink *s, const struct pipeline_record *r, const struct inference_event *ev, struct err *e)
{
    bool refused = false;
    rc_t rc = was_refused(s, r, &refused, e);
    if (rc == OK && !refused)
        (void)is_duplicate(s, r, ev);
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

rc_t sink_record(void *self, const struct pipeline_record *r, struct err *e)
{
    struct sink *s = self;
    struct inference_event ev;
    struct reject why = {0};
    char id[80];
    if (inference_decode(s->decoder, r->value.p, r->value.n, &ev, &why))
        return reject(s, r, &why);
    if (ev.kind == INFERENCE_NOP || ev.kind == INFERENCE_BATCH_COMPLETE) {
        if (!r->warmup)
            count(s, CONTROL);
        return OK;
    }
    complete(r, &ev, id);
    if (check_time(s, r, &ev, &why))
        return reject(s, r, &why);
    if (r->warmup)
        return warm_up(s, r, &ev, e);
    struct resolved at;
    rc_t rc = registry_resolve(s->registry, s->db, r->part->project_id, r->part->schema_seq, &ev, &at, &why, e);
    if (rc == E_INVALID)
        return reject(s, r, &why);
    if (rc == OK && is_duplicate(s, r, &ev)) {
        count(s, DUPLICATE);
        return OK;
    }
    if (rc == OK)
        rc = s->take(s, r, &ev, &at, e);
    if (rc == OK) {
        count(s, TAKEN);
        metric_add(metrics_at(&metrics, M_ROWS, s->label, 0), (int64_t)ev.n_rows);
    }
    return rc;
}

bool sink_has(struct pipeline_part *const *parts, size_t n, const struct pipeline_part *part)
{
    for (size_t i = 0; i < n; i++)
        if (parts[i] == part)
            return true;
    return false;
}

static void part_free(void *self, struct pipeline_part *part)
{
    (void)self;
    struct memory *m = part->user;
    if (!m)
        return;
    dedupe_free(m->seen);
    mem_free(m->refused);
    mem_free(m);
    part->user = NULL;
}

static void stopped(void *self)
{
    struct sink *s = self;
    if (atomic_fetch_sub(&s->st->running, 1) == 1)
        service_drained(s->st->service);
}

rc_t sink_open(struct sink **ret, struct stream *st, const struct sink_def *def, struct err *e)
{
    struct sink *s = mem_alloc(sizeof *s);
    *s = (struct sink){.st = st, .take = def->take, .free_own = def->free_own, .own = def->own,
                       .decoder = inference_decoder_new()};
    char group[128];
    (void)snprintf(group, sizeof group, "%s-%s", st->options.group_prefix, def->name);
    rc_t rc = cache_open(&s->cache, &st->cache, e);
    if (rc == OK)
        rc = db_open(&s->db, &st->db, e);
    if (rc == OK)
        rc = pipeline_open(&s->pipeline, &(struct pipeline_config){
            .name = def->name, .group = group, .bus = &st->bus, .db = &st->db, .producer = st->producer,
            .ops = def->ops, .self = s, .topics = topics, .part_free = part_free,
            .warmup_records = st->options.dedupe_records, .intent = def->intent, .frontier = true,
            .skip_lost = st->options.skip_lost, .health = service_health(st->service), .need = HEALTH_OPTIONAL,
            .stopped = stopped}, e);
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
