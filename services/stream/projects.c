/* The list of projects, loaded from the database each second by the pipelines and read by the HTTP threads. */
#include "base/mem.h"
#include "event/names.h"
#include "stream.h"

void projects_init(struct projects *p)
{
    (void)pthread_rwlock_init(&p->lock, NULL);
}

static void views_free(struct project_view *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        mem_free(v[i].name);
        mem_free(v[i].topic);
    }
    mem_free(v);
}

void projects_done(struct projects *p)
{
    views_free(p->list, p->n);
    (void)pthread_rwlock_destroy(&p->lock);
}

rc_t projects_load(struct projects *p, struct db *db, const char *system_id, struct err *e)
{
    struct project *rows = NULL;
    size_t n = 0, kept = 0;
    rc_t rc = projects_list(db, &rows, &n, e);
    if (rc)
        return rc;
    struct project_view *list = mem_array(n ? n : 1, sizeof *list);
    for (size_t i = 0; i < n; i++) {
        char topic[NAME_TOPIC_MAX + 1];
        struct err named;
        if (topic_stream(topic, system_id, str_of(rows[i].name), &named))
            continue; /* no such topic can be: the api refuses such names */
        list[kept++] = (struct project_view){rows[i].id, mem_dupz(rows[i].name), mem_dupz(topic),
                                             rows[i].base_period_us, rows[i].monitoring};
    }
    projects_free(rows, n);
    (void)pthread_rwlock_wrlock(&p->lock);
    struct project_view *old = p->list;
    size_t n_old = p->n;
    p->list = list;
    p->n = kept;
    p->loaded = true;
    (void)pthread_rwlock_unlock(&p->lock);
    views_free(old, n_old);
    return OK;
}

rc_t projects_find(struct projects *p, struct str name, struct project_view *ret, char *topic)
{
    (void)pthread_rwlock_rdlock(&p->lock);
    rc_t rc = p->loaded ? E_NOTFOUND : E_AGAIN;
    for (size_t i = 0; i < p->n && rc == E_NOTFOUND; i++) {
        if (!str_eqz(name, p->list[i].name))
            continue;
        *ret = p->list[i];
        ret->name = NULL;
        memcpy(topic, p->list[i].topic, strlen(p->list[i].topic) + 1);
        ret->topic = topic;
        rc = OK;
    }
    (void)pthread_rwlock_unlock(&p->lock);
    return rc;
}
