/* Topics of one function over all projects. */
#include "app/topics.h"
#include "base/mem.h"
#include "log/log.h"

void function_topics_init(struct function_topics *t, const char *system_id, const char *function)
{
    *t = (struct function_topics){.system_id = system_id, .function = function};
    (void)pthread_rwlock_init(&t->lock, NULL);
}

static void list_free(struct function_project *list, struct pipeline_topic *topics, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        mem_free(list[i].name);
        mem_free(list[i].topic);
    }
    mem_free(list);
    mem_free(topics);
}

void function_topics_done(struct function_topics *t)
{
    if (!t->system_id)
        return;
    list_free(t->projects, t->topics, t->n);
    (void)pthread_rwlock_destroy(&t->lock);
}

static void swap_in(struct function_topics *t, struct function_project *list, struct pipeline_topic *topics, size_t n)
{
    (void)pthread_rwlock_wrlock(&t->lock);
    struct function_project *old = t->projects;
    struct pipeline_topic *old_topics = t->topics;
    size_t old_n = t->n;
    t->projects = list;
    t->topics = topics;
    t->n = n;
    t->loaded = true;
    (void)pthread_rwlock_unlock(&t->lock);
    list_free(old, old_topics, old_n);
}

rc_t function_topics_load(struct function_topics *t, struct db *db, const struct pipeline_topic **ret, size_t *n,
                          struct err *e)
{
    struct project *rows = NULL;
    size_t n_rows = 0, kept = 0;
    rc_t rc = projects_list(db, &rows, &n_rows, e);
    if (rc)
        return rc;
    struct function_project *list = mem_array(n_rows + 1, sizeof *list);
    struct pipeline_topic *topics = mem_array(n_rows + 1, sizeof *topics);
    for (size_t i = 0; !rc && i < n_rows; i++) {
        char topic[NAME_TOPIC_MAX + 1];
        struct err named;
        bool wanted = true;
        if (t->wanted)
            rc = t->wanted(t->arg, db, &rows[i], &wanted, e);
        if (rc || !wanted)
            continue;
        if (topic_function(topic, t->system_id, str_of(rows[i].name), str_of(t->function), &named))
            continue; /* no such topic can be: the api refuses such names */
        list[kept] = (struct function_project){rows[i].id, mem_dupz(rows[i].name), mem_dupz(topic), rows[i].monitoring};
        topics[kept] = (struct pipeline_topic){list[kept].topic, rows[i].id};
        kept++;
    }
    projects_free(rows, n_rows);
    if (rc) {
        list_free(list, topics, kept);
        return rc;
    }
    swap_in(t, list, topics, kept);
    *ret = t->topics;
    *n = t->n;
    return OK;
}

const struct function_project *function_topics_project(const struct function_topics *t, int32_t project_id)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->projects[i].id == project_id)
            return &t->projects[i];
    return NULL;
}

rc_t function_topics_find(struct function_topics *t, struct str name, char project[NAME_PROJECT_MAX + 1],
                          char topic[NAME_TOPIC_MAX + 1])
{
    (void)pthread_rwlock_rdlock(&t->lock);
    rc_t rc = t->loaded ? E_NOTFOUND : E_AGAIN;
    for (size_t i = 0; i < t->n && rc == E_NOTFOUND; i++) {
        const struct function_project *p = &t->projects[i];
        if (name.n ? !str_eqz(name, p->name) : t->n != 1)
            continue;
        memcpy(project, p->name, strlen(p->name) + 1);
        memcpy(topic, p->topic, strlen(p->topic) + 1);
        rc = OK;
    }
    (void)pthread_rwlock_unlock(&t->lock);
    return rc;
}
