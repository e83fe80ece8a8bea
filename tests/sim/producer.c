/* The simulated bus's producers: each is one task of its process, its messages are sent in order. */
#include <string.h>
#include "base/mem.h"
#include "bus_parts.h"

struct message {
    struct message *next;
    char *topic;
    struct sim_record record;
    bus_delivered_fn *fn;
    void *arg;
    struct bus_receipt receipt;
    bool lent;
};
struct producer {
    struct proc *proc;
    struct message *first, **end;
    size_t open;
    bool stop, ended;
};

static int32_t place(const struct sim_topic *t, struct str key)
{
    uint64_t h = 1469598103934665603u;
    for (size_t i = 0; i < key.n; i++)
        h = (h ^ (unsigned char)key.p[i]) * 1099511628211u;
    return (int32_t)((key.p ? h : world_random()) % (uint64_t)t->n_partitions);
}

static void tell(struct producer *p, struct message *m, rc_t rc)
{
    const char *words = rc ? "not acknowledged" : "";
    p->open--;
    if (m->lent)
        m->receipt.fn(m->receipt.arg, 1, rc, words);
    else if (m->fn)
        m->fn(m->arg, rc, words);
    mem_free(m->topic);
    mem_free(m);
}

/* There, or not; and whether the sender learns of it. */
static rc_t deliver(struct producer *p, struct message *m)
{
    struct sim_topic *t = sim_topic(m->topic);
    bool failing = world_chance(faults.per_mille_bus);
    if (sim_bus_is_down(p->proc) || (failing && world_chance(500))) {
        world_sleep(world_below(500 * USEC_PER_MSEC));
        return E_AGAIN;
    }
    if (!t)
        return E_AGAIN;
    (void)sim_log_append(&t->partitions[place(t, m->record.key)], &m->record);
    return failing ? E_AGAIN : OK;
}

static void producer_run(void *arg)
{
    struct producer *p = arg;
    while (!p->stop || p->first) {
        struct message *m = p->first;
        if (!m) {
            (void)world_wait(p, INT64_MAX);
            continue;
        }
        p->first = m->next;
        if (!p->first)
            p->end = &p->first;
        world_sleep(world_below(2 * USEC_PER_MSEC));
        rc_t rc = deliver(p, m);
        world_point();
        tell(p, m, rc);
    }
    p->ended = true;
    world_notify(&p->ended);
}

static rc_t producer_open(const struct bus_config *cfg, void **ret, struct err *e)
{
    struct producer *p = mem_alloc(sizeof *p);
    (void)cfg, (void)e;
    p->proc = proc_now();
    p->end = &p->first;
    proc_task(producer_run, p);
    *ret = p;
    return OK;
}

static rc_t producer_produce(void *self, const struct bus_message *m, struct err *e)
{
    struct producer *p = self;
    if (world_chance(faults.per_mille_bus))
        return err_set(e, E_AGAIN, "full");
    struct message *out = mem_alloc(sizeof *out);
    *out = (struct message){.topic = mem_dupz(m->topic), .fn = m->fn, .arg = m->arg};
    out->record = (struct sim_record){.timestamp_us = clock_now_us(), .key = sim_copy(m->key), .value = sim_copy(m->value)};
    for (size_t i = 0; i < m->n_headers; i++)
        if (strcmp(m->headers[i].name, "traceparent") == 0)
            out->record.traceparent = sim_copy(m->headers[i].value);
    if (m->receipt) {
        out->receipt = *m->receipt;
        out->lent = true;
    }
    p->open++;
    *p->end = out;
    p->end = &out->next;
    world_notify(p);
    return OK;
}

static rc_t producer_many(void *self, const char *topic, struct bus_lent *list, size_t n, const struct bus_receipt *r,
                          struct err *e)
{
    rc_t first = OK;
    for (size_t i = 0; i < n; i++) {
        const struct bus_message m = {.topic = topic, .key = list[i].key, .value = list[i].value, .receipt = r};
        list[i].rc = producer_produce(self, &m, e);
        first = first ? first : list[i].rc;
    }
    return first;
}

static rc_t producer_flush(void *self, int64_t timeout_us, struct err *e)
{
    struct producer *p = self;
    int64_t until = clock_mono_us() + timeout_us;
    while (p->open && clock_mono_us() < until)
        world_sleep(2 * USEC_PER_MSEC);
    return p->open ? err_set(e, E_AGAIN, "%zu are open", p->open) : OK;
}

static bool producer_up(const void *self)
{
    const struct producer *p = self;
    return !sim_bus_is_down(p->proc);
}

static void producer_free(void *self, int64_t wait_us)
{
    struct producer *p = self;
    (void)wait_us;
    p->stop = true;
    world_notify(p);
    while (!p->ended)
        (void)world_wait(&p->ended, INT64_MAX);
    mem_free(p);
}

static rc_t topic_ensure(void *producer, const char *topic, int32_t partitions, int32_t *ret_partitions,
                         int64_t timeout_us, struct err *e)
{
    struct producer *p = producer;
    (void)partitions;
    world_sleep(world_below(QUESTION_US));
    if (sim_bus_is_down(p->proc) || world_chance(faults.per_mille_bus)) {
        world_sleep(timeout_us / 2);
        return err_set(e, E_AGAIN, "no answer in time");
    }
    *ret_partitions = sim_topic_make(topic)->n_partitions;
    return OK;
}

const struct bus_producer_ops kafka_producer_ops = {producer_open,  producer_produce, producer_many,
                                                    producer_flush, producer_up,      producer_free};
const struct bus_topic_ops kafka_topic_ops = {topic_ensure};
