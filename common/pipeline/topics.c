/* The topics of a pipeline: asked for, made when missing with their ledger rows, subscribed to. */
#include "base/crash.h"
#include "db/ledger.h"
#include "pipeline/internal.h"

#define TOPIC_TIMEOUT_US (2 * USEC_PER_SEC)

static void topics_take(struct pipeline *p, const struct pipeline_topic *now, size_t n)
{
    struct topic_state *next = mem_array(n ? n : 1, sizeof *next);
    for (size_t i = 0; i < n; i++) {
        next[i] = (struct topic_state){.name = mem_dupz(now[i].name), .project_id = now[i].project_id};
        for (size_t k = 0; k < p->n_topics; k++) {
            if (p->topics[k].ready && p->topics[k].project_id == now[i].project_id &&
                strcmp(p->topics[k].name, now[i].name) == 0) {
                next[i].ready = true;
                next[i].n_partitions = p->topics[k].n_partitions;
            }
        }
    }
    for (size_t k = 0; k < p->n_topics; k++)
        mem_free(p->topics[k].name);
    mem_free(p->topics);
    p->topics = next;
    p->n_topics = n;
}

static rc_t topic_prepare(struct pipeline *p, struct topic_state *t, struct err *e)
{
    int32_t n = 0;
    rc_t rc = bus_topic_ensure(p->cfg.producer, t->name, 0, &n, TOPIC_TIMEOUT_US, e);
    CRASH_POINT(topic_ensure);
    if (rc == OK && n != t->n_partitions)
        rc = ledger_ensure(p->db, p->cfg.name, t->name, t->project_id, n, e);
    CRASH_POINT(topic_ledger);
    if (rc == OK) {
        t->n_partitions = n;
        t->ready = true;
    }
    return rc;
}

/* The project was deleted and made again in between: what is held of its partitions is the former one's. */
static bool is_former(const struct pipeline *p, const struct topic_state *t)
{
    for (size_t i = 0; i < p->n_parts; i++)
        if (p->parts[i]->pub.project_id != t->project_id && strcmp(p->parts[i]->pub.topic, t->name) == 0)
            return true;
    return false;
}

/* Asks for the list, makes what is missing, subscribes to what is there. */
rc_t topics_refresh(struct pipeline *p, bool recheck, struct err *e)
{
    const struct pipeline_topic *now = NULL;
    size_t n = 0;
    rc_t rc = p->cfg.topics(p->cfg.self, p->db, &now, &n, e);
    if (rc)
        return rc;
    topics_take(p, now, n);
    const char **names = mem_array(n ? n : 1, sizeof *names);
    size_t n_names = 0;
    for (size_t i = 0; i < n; i++) {
        /* one that has to wait is enough: each may take the whole time-out, and the loop must go on polling */
        bool look = rc == OK && (recheck || !p->topics[i].ready);
        rc_t made = look ? topic_prepare(p, &p->topics[i], e) : OK;
        if (made)
            rc = made;
        if (look && is_former(p, &p->topics[i]))
            p->reclaim_us = clock_mono_us();
        if (p->topics[i].ready)
            names[n_names++] = p->topics[i].name;
    }
    struct err ignored;
    rc_t sub = bus_consumer_topics(p->bus, names, n_names, rc ? &ignored : e);
    mem_free(names);
    return rc ? rc : sub;
}
