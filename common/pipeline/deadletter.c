/* Dead letters of one pipeline, from note to durable. */
#include <stdio.h>
#include "base/clock.h"
#include "base/crash.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/time.h"
#include "db/lakefile.h"
#include "event/names.h"
#include "metrics/metrics.h"
#include "pipeline/acks.h"
#include "pipeline/deadletter.h"

#define VALUE_MAX (BUS_MESSAGE_MAX - (16u << 10)) /* room for the headers */
#define VALUE_MIN (16u << 10)
#define SEND_TIMEOUT_US (10 * USEC_PER_SEC)
#define TOPIC_TIMEOUT_US (2 * USEC_PER_SEC)

enum { M_DEAD };
static const struct metric_row rows[] = {
    [M_DEAD] = {.name = "modelmon_dead_letters_total",
                .kind = METRIC_COUNTER,
                .labels = {{.name = "pipeline", .cap = 64}, {.name = "reason", .cap = REJECT_CODES}},
                .help = "Records refused, by reason. The record is in <topic>.dlt, the reason in table dead_letters."},
};
static struct metric_set metrics = METRIC_SET(rows);

struct letter {
    const struct pipeline_part *part;
    int64_t offset, timestamp_us;
    struct reject why;
    bool sent;
    struct str value;
    char data[];
};

struct dead_letters {
    const char *pipeline;
    struct bus_producer *producer;
    struct acks acks;
    struct map topics; /* .dlt topics that exist */
    struct letter **held;
    size_t n, cap, bytes;
    size_t value_max; /* longer ones are cut; halved when the bus refuses */
    size_t label;
};

struct dead_letters *dead_letters_new(const char *pipeline, struct bus_producer *producer)
{
    struct dead_letters *d = mem_alloc(sizeof *d);
    d->pipeline = pipeline;
    d->producer = producer;
    d->value_max = VALUE_MAX;
    acks_init(&d->acks);
    metrics_register(&metrics);
    d->label = metrics_label(&metrics, M_DEAD, 0, str_of(pipeline));
    return d;
}

void dead_letters_free(struct dead_letters *d)
{
    if (!d)
        return;
    dead_letters_done(d, NULL);
    acks_done(&d->acks);
    map_done(&d->topics);
    mem_free(d->held);
    mem_free(d);
}

void dead_letters_note(struct dead_letters *d, const struct pipeline_record *r, const struct reject *why)
{
    struct letter *l = mem_alloc(sizeof *l + r->value.n);
    l->part = r->part;
    l->offset = r->offset;
    l->timestamp_us = r->timestamp_us;
    l->why = *why;
    if (r->value.n)
        memcpy(l->data, r->value.p, r->value.n);
    l->value = (struct str){l->data, r->value.n};
    if (d->n == d->cap) {
        d->cap = d->cap ? d->cap * 2 : 16;
        d->held = mem_grow(d->held, d->cap, sizeof *d->held);
    }
    d->held[d->n++] = l;
    d->bytes += sizeof *l + l->value.n;
    size_t reason = metrics_label(&metrics, M_DEAD, 1, str_of(reject_name(why->code)));
    metric_add(metrics_at(&metrics, M_DEAD, d->label, reason), 1);
}

size_t dead_letters_held(const struct dead_letters *d)
{
    return d->bytes;
}

static rc_t topic_of(struct dead_letters *d, const struct letter *l, char topic[NAME_TOPIC_MAX + 1], struct err *e)
{
    rc_t rc = topic_dlt(topic, l->part->topic, e);
    if (rc || map_get(&d->topics, str_of(topic)))
        return rc;
    int32_t partitions;
    rc = bus_topic_ensure(d->producer, topic, 1, &partitions, TOPIC_TIMEOUT_US, e);
    if (rc == OK)
        (void)map_put(&d->topics, str_of(topic), d);
    return rc;
}

static rc_t send_one(struct dead_letters *d, struct letter *l, struct err *e)
{
    char topic[NAME_TOPIC_MAX + 1], key[NAME_TOPIC_MAX + 48], partition[16], offset[24], ts[24], position[24], size[24];
    rc_t rc = topic_of(d, l, topic, e);
    if (rc)
        return rc;
    int n_key = snprintf(key, sizeof key, "%s-%d-%lld", l->part->topic, l->part->partition, (long long)l->offset);
    (void)snprintf(partition, sizeof partition, "%d", l->part->partition);
    (void)snprintf(offset, sizeof offset, "%lld", (long long)l->offset);
    (void)snprintf(ts, sizeof ts, "%lld", (long long)l->timestamp_us);
    (void)snprintf(position, sizeof position, "%zu", l->why.position);
    (void)snprintf(size, sizeof size, "%zu", l->value.n);
    const struct bus_header headers[] = {
        {"x-error-code", str_of(reject_name(l->why.code))},
        {"x-error", str_of(l->why.text)},
        {"x-field", str_of(l->why.field)},
        {"x-position", str_of(position)},
        {"x-topic", str_of(l->part->topic)},
        {"x-partition", str_of(partition)},
        {"x-offset", str_of(offset)},
        {"x-ts", str_of(ts)},
        {"x-pipeline", str_of(d->pipeline)},
        {"x-size", str_of(size)}, /* of the record as it came: more than the value's when that was cut */
    };
    struct str value = {l->value.p, l->value.n < d->value_max ? l->value.n : d->value_max};
    return acks_produce(&d->acks, d->producer, topic, (struct str){key, (size_t)n_key}, value, headers,
                        sizeof headers / sizeof *headers, SEND_TIMEOUT_US, e);
}

/* A producer sets the timestamp of its record: whatever it says, the row's day stays within reason, the same at a replay. */
static int64_t row_time(int64_t timestamp_us)
{
    return timestamp_us < TIME_SANE_MIN_US   ? TIME_SANE_MIN_US
           : timestamp_us > TIME_SANE_MAX_US ? TIME_SANE_MAX_US
                                             : timestamp_us;
}

static rc_t ensure_days(struct dead_letters *d, struct db *db, struct err *e)
{
    size_t n = d->n < DEAD_LETTER_ROWS ? d->n : DEAD_LETTER_ROWS;
    int64_t *days = mem_array(n ? n : 1, sizeof *days);
    for (size_t i = 0; i < n; i++)
        days[i] = time_floor(row_time(d->held[i]->timestamp_us), USEC_PER_DAY);
    rc_t rc = n ? db_days_ensure(db, days, n, e) : OK;
    mem_free(days);
    return rc;
}

/* The bus will not have it: too large for a topic somebody else made, no right to write, a topic that was deleted. None of
 * these is the record's fault, so it waits: shorter, and with a fresh look at the topics. */
static rc_t refused(struct dead_letters *d, struct err *e)
{
    d->value_max = d->value_max / 2 > VALUE_MIN ? d->value_max / 2 : VALUE_MIN;
    map_done(&d->topics);
    d->topics = (struct map){0};
    return err_prefix(e, E_AGAIN, "writing dead letters: ");
}

rc_t dead_letters_prepare(struct dead_letters *d, struct db *db, struct pipeline_part *const *parts, size_t n, struct err *e)
{
    rc_t rc = ensure_days(d, db, e);
    size_t sent = 0;
    for (size_t i = 0; rc == OK && i < d->n; i++) {
        if (d->held[i]->sent || !pipeline_has(parts, n, d->held[i]->part))
            continue;
        rc = send_one(d, d->held[i], e);
        CRASH_POINT(letter_produce);
        sent += rc == OK;
    }
    struct err waited = {{0}};
    rc_t acked = sent ? acks_wait(&d->acks, SEND_TIMEOUT_US, rc ? &waited : e) : OK;
    if (rc == OK)
        rc = acked;
    if (sent)
        CRASH_POINT(letter_ack);
    if (rc == E_INVALID)
        rc = refused(d, e);
    for (size_t i = 0; rc == OK && i < d->n; i++)
        if (pipeline_has(parts, n, d->held[i]->part))
            d->held[i]->sent = true;
    return rc;
}

rc_t dead_letters_write(struct dead_letters *d, struct db *db, struct pipeline_part *const *parts, size_t n, struct err *e)
{
    size_t max = d->n < DEAD_LETTER_ROWS ? d->n : DEAD_LETTER_ROWS, n_rows = 0;
    if (max == 0)
        return OK;
    struct dead_letter *out = mem_array(max, sizeof *out);
    for (size_t i = 0; i < max; i++) {
        const struct letter *l = d->held[i];
        if (!pipeline_has(parts, n, l->part))
            continue;
        struct str head = {l->value.p, l->value.n < DEAD_LETTER_PAYLOAD ? l->value.n : DEAD_LETTER_PAYLOAD};
        out[n_rows++] = (struct dead_letter){.project_id = l->part->project_id,
                                             .partition = l->part->partition,
                                             .pipeline = str_of(d->pipeline),
                                             .topic = str_of(l->part->topic),
                                             .reason = str_of(reject_name(l->why.code)),
                                             .field = str_of(l->why.field),
                                             .error = str_of(l->why.text),
                                             .payload = head,
                                             .offset = l->offset,
                                             .generation = l->part->generation,
                                             .at_us = row_time(l->timestamp_us),
                                             .position = (int64_t)l->why.position,
                                             .size = (int64_t)l->value.n};
    }
    rc_t rc = n_rows ? dead_letters_add(db, out, n_rows, e) : OK;
    if (n_rows)
        CRASH_POINT(letter_row);
    mem_free(out);
    return rc;
}

void dead_letters_done(struct dead_letters *d, const struct pipeline_part *part)
{
    size_t kept = 0;
    for (size_t i = 0; i < d->n; i++) {
        struct letter *l = d->held[i];
        if (part && l->part != part) {
            d->held[kept++] = l;
            continue;
        }
        d->bytes -= sizeof *l + l->value.n;
        mem_free(l);
    }
    d->n = kept;
}
