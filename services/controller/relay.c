/* The outbox's way to the bus: a batch is read in order, sent, and its rows are deleted once every message of it has
 * been answered. At least once: a crash between acknowledgement and delete sends a row again.
 *
 * Order a key: a batch is produced in the order of ids, and the next one only when this one is settled. When a
 * message fails, later ones of its key stay in the outbox too, so that what arrives last is the newest.
 *
 * A topic that cannot be made, or whose messages fail (deleted, no right to write), is left out for a while, longer each
 * time: its rows wait, those of the others go on. Only a message that is too large is refused for good. */
#include "controller.h"
#include <stdatomic.h>
#include <string.h>
#include "base/clock.h"
#include "base/crash.h"
#include "base/mem.h"
#include "db/lakefile.h"
#include "db/window.h"
#include "event/names.h"
#include "log/log.h"

#define TOPIC_WAIT_US (2 * USEC_PER_SEC)
#define RETRY_MIN_US (200 * USEC_PER_MSEC)
#define RETRY_MAX_US (5 * USEC_PER_SEC)
#define TOPICS_KNOWN_MAX 10000
#define HELD_BACK_MAX 1000 /* topics named in one statement; more of them take their turn in the batches */

enum { OPEN, SENT, FAILED, REFUSED, HELD };

struct topic {
    bool exists;
    int64_t retry_us, not_before_us; /* 0: none of its messages has failed lately */
};

struct item {
    struct relay *relay;
    _Atomic int state;
    int64_t id;
    struct str key; /* of the batch's rows */
};

struct relay {
    const struct controller_options *opts;
    struct bus_producer *producer;
    struct worker *wake;
    struct map topics; /* name ⇒ struct topic */
    struct outbox_row *rows;
    struct db_rows *held;
    struct item *items;
    size_t n, produced; /* of the batch: all, and those given to the producer */
    atomic_size_t open;
    int64_t retry_us, not_before_us;
    bool waited;   /* for a topic in this batch, in vain: not for another one too */
    bool orphaned; /* leadership was lost while messages were open: settle without deleting */
};

struct relay *relay_new(const struct controller_options *opts, struct bus_producer *p, struct worker *wake)
{
    struct relay *r = mem_alloc(sizeof *r);
    r->opts = opts;
    r->producer = p;
    r->wake = wake;
    return r;
}

static void forget_batch(struct relay *r)
{
    mem_free(r->rows);
    mem_free(r->items);
    db_rows_free(r->held);
    r->rows = NULL;
    r->items = NULL;
    r->held = NULL;
    r->n = r->produced = 0;
    r->orphaned = r->waited = false;
}

static void forget_topics(struct relay *r)
{
    for (struct map_iter it = {0}; map_next(&r->topics, &it);)
        mem_free(it.value);
    map_done(&r->topics);
    r->topics = (struct map){0};
}

void relay_free(struct relay *r)
{
    if (!r)
        return;
    forget_batch(r);
    forget_topics(r);
    mem_free(r);
}

void relay_reset(struct relay *r)
{
    r->orphaned = r->n > 0;
}

/* On the producer's thread. */
static void delivered(void *arg, rc_t rc, const char *words)
{
    struct item *it = arg;
    struct relay *r = it->relay;
    (void)words; /* the bus keeps them in its health */
    atomic_store(&it->state, rc == OK ? SENT : rc == E_INVALID ? REFUSED : FAILED);
    if (atomic_fetch_sub(&r->open, 1) == 1)
        worker_wake(r->wake);
}

static void back_off(int64_t *retry_us, int64_t *not_before_us)
{
    *retry_us = *retry_us ? *retry_us * 2 : RETRY_MIN_US;
    if (*retry_us > RETRY_MAX_US)
        *retry_us = RETRY_MAX_US;
    *not_before_us = clock_mono_us() + *retry_us;
}

static struct topic *topic_of(struct relay *r, struct str name)
{
    struct topic *t = map_get(&r->topics, name);
    if (t)
        return t;
    if (r->topics.len > TOPICS_KNOWN_MAX)
        forget_topics(r);
    t = mem_alloc(sizeof *t);
    map_put(&r->topics, name, t);
    return t;
}

/* Whatever happened to it: it is looked for, or made, again before the next message. */
static void hold_topic(struct topic *t)
{
    t->exists = false;
    back_off(&t->retry_us, &t->not_before_us);
}

static bool is_held(const struct topic *t)
{
    return t->not_before_us > clock_mono_us();
}

static rc_t make_topic(struct relay *r, struct str topic, struct err *e)
{
    char name[NAME_TOPIC_MAX + 1];
    if (topic.n > NAME_TOPIC_MAX)
        return err_set(e, E_LIMIT, "topic name of %zu bytes", topic.n);
    memcpy(name, topic.p, topic.n);
    name[topic.n] = '\0';
    int32_t partitions = 0;
    return bus_topic_ensure(r->producer, name, 0, &partitions, TOPIC_WAIT_US, e);
}

/* false: its rows stay for a later batch. */
static bool ensure_topic(struct relay *r, struct str name, struct topic *t)
{
    struct err e = {{0}};
    if (t->exists)
        return true;
    if (r->waited || is_held(t))
        return false;
    int64_t began = clock_mono_us();
    rc_t rc = make_topic(r, name, &e);
    t->exists = rc == OK;
    if (rc == OK)
        return true;
    r->waited = clock_mono_us() - began > TOPIC_WAIT_US / 2; /* the thread has other work too */
    hold_topic(t);
    log_warn("relay_topic", LF_STR("topic", name), LF_STR("rc", rc_name(rc)), LF_ERR(&e));
    return false;
}

static rc_t produce_one(struct relay *r, const struct outbox_row *row, struct item *it, struct err *e)
{
    char topic[NAME_TOPIC_MAX + 1];
    memcpy(topic, row->topic.p, row->topic.n);
    topic[row->topic.n] = '\0';
    const struct bus_header trace = {.name = "traceparent", .value = row->traceparent};
    atomic_fetch_add(&r->open, 1);
    rc_t rc = bus_produce(r->producer, topic, row->key, row->payload, &trace, row->traceparent.n ? 1 : 0, delivered, it, e);
    CRASH_POINT(relay_produce);
    if (rc)
        atomic_fetch_sub(&r->open, 1);
    return rc;
}

/* Stops at the first message the bus does not take now: it and all after it stay for the next batch. A topic that is held
 * back once stays so to the end of the batch: its rows keep their order. */
static void produce_batch(struct relay *r)
{
    struct map held = {0};
    for (size_t i = 0; i < r->n; i++, r->produced = i) {
        struct err e = {{0}};
        if (map_get(&held, r->rows[i].topic) || !ensure_topic(r, r->rows[i].topic, topic_of(r, r->rows[i].topic))) {
            map_put(&held, r->rows[i].topic, r);
            atomic_store(&r->items[i].state, HELD);
            continue;
        }
        rc_t rc = produce_one(r, &r->rows[i], &r->items[i], &e);
        if (rc == E_INVALID) {
            log_error("relay_refused", LF_STR("topic", r->rows[i].topic), LF_I64("id", r->rows[i].id), LF_ERR(&e));
            atomic_store(&r->items[i].state, REFUSED);
        } else if (rc) {
            log_warn("relay", LF_STR("topic", r->rows[i].topic), LF_ERR(&e));
            hold_topic(topic_of(r, r->rows[i].topic)); /* it may have been deleted */
            back_off(&r->retry_us, &r->not_before_us);
            break;
        }
    }
    map_done(&held);
}

/* Topics that are held back now; *ret for mem_free, its texts are the map's. */
static size_t held_topics(const struct relay *r, struct str **ret)
{
    size_t n = 0;
    *ret = mem_array(HELD_BACK_MAX, sizeof **ret);
    for (struct map_iter it = {0}; n < HELD_BACK_MAX && map_next(&r->topics, &it);)
        if (is_held(it.value))
            (*ret)[n++] = it.key;
    return n;
}

static rc_t read_batch(struct relay *r, struct db *db, struct err *e)
{
    struct str *held = NULL;
    size_t n_held = held_topics(r, &held);
    rc_t rc = outbox_read(db, held, n_held, (size_t)r->opts->relay_inflight, &r->rows, &r->n, &r->held, e);
    mem_free(held);
    if (rc)
        return rc;
    r->items = mem_array(r->n + 1, sizeof *r->items);
    for (size_t i = 0; i < r->n; i++) {
        r->items[i].relay = r;
        r->items[i].id = r->rows[i].id;
        r->items[i].key = r->rows[i].key;
    }
    return OK;
}

/* What no bus will ever take is kept where a person finds it. */
static rc_t bury(struct db *db, const struct outbox_row *row, struct err *e)
{
    const struct dead_letter dead = {
        .project_id = row->project_id,
        .pipeline = STR("controller"),
        .topic = row->topic,
        .partition = -1,
        .offset = row->id,
        .at_us = row->created_us,
        .position = -1,
        .reason = STR("too_large"),
        .error = STR("the bus refused the window event for good"),
        .payload = row->payload,
        .size = (int64_t)row->payload.n,
    };
    rc_t rc = db_begin(db, e);
    if (rc)
        return rc;
    rc = dead_letters_add(db, &dead, 1, e);
    if (!rc)
        rc = outbox_delete(db, &row->id, 1, e);
    if (rc) {
        db_rollback(db);
        return rc;
    }
    rc = db_commit(db, e);
    return rc == E_UNKNOWN ? E_AGAIN : rc; /* still there: it is refused and buried again, on the same key */
}

static rc_t bury_refused(struct relay *r, struct db *db, struct err *e)
{
    for (size_t i = 0; i < r->produced; i++) {
        if (atomic_load(&r->items[i].state) != REFUSED)
            continue;
        int64_t day = r->rows[i].created_us;
        rc_t rc = db_days_ensure(db, &day, 1, e);
        if (!rc)
            rc = bury(db, &r->rows[i], e);
        if (rc)
            return rc;
        metric_add(metrics_at(&controller_metrics, M_RELAYED, RELAY_REFUSED, 0), 1);
    }
    return OK;
}

static rc_t settle_batch(struct relay *r, struct db *db, struct err *e)
{
    int64_t *ids = mem_array(r->n + 1, sizeof *ids);
    struct map failed = {0};
    size_t n = 0, lost = 0;
    for (size_t i = 0; i < r->produced; i++) {
        int state = atomic_load(&r->items[i].state);
        struct topic *t = topic_of(r, r->rows[i].topic);
        if (state == FAILED) {
            map_put(&failed, r->items[i].key, r);
            lost++;
            if (!is_held(t))
                hold_topic(t);
        } else if (state == SENT && !map_get(&failed, r->items[i].key)) {
            ids[n++] = r->items[i].id;
            if (t->exists)
                t->retry_us = 0;
        }
    }
    CRASH_POINT(relay_ack);
    rc_t rc = n ? outbox_delete(db, ids, n, e) : OK;
    CRASH_POINT(relay_delete);
    if (!rc)
        rc = bury_refused(r, db, e);
    mem_free(ids);
    map_done(&failed);
    if (rc)
        return rc;
    metric_add(metrics_at(&controller_metrics, M_RELAYED, RELAY_SENT, 0), (int64_t)n);
    metric_add(metrics_at(&controller_metrics, M_RELAYED, RELAY_FAILED, 0), (int64_t)lost);
    if (n)
        r->retry_us = 0;
    if (lost)
        log_warn("relay_failed", LF_I64("messages", (int64_t)lost));
    forget_batch(r);
    return OK;
}

rc_t relay_step(struct relay *r, struct db *db, bool *ret_busy, struct err *e)
{
    *ret_busy = false;
    if (atomic_load(&r->open) > 0)
        return OK; /* the last answer wakes us */
    if (r->orphaned)
        forget_batch(r);
    rc_t rc = r->n ? settle_batch(r, db, e) : OK;
    if (rc || clock_mono_us() < r->not_before_us || !bus_producer_up(r->producer))
        return rc;
    rc = read_batch(r, db, e);
    if (rc)
        return rc;
    if (r->n)
        CRASH_POINT(relay_read);
    produce_batch(r);
    *ret_busy = r->n > 0 && atomic_load(&r->open) == 0 && !r->waited && clock_mono_us() >= r->not_before_us;
    if (r->n == 0)
        forget_batch(r);
    return OK;
}
