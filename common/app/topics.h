/* The topics of one function over all projects: asked for by its pipeline each second, looked up by its HTTP form.
 * The list is made on the pipeline's thread and read under a lock by the others. */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include "base/rc.h"
#include "base/str.h"
#include "db/project.h"
#include "event/names.h"
#include "pipeline/pipeline.h"

struct function_topics {
    const char *system_id, *function;
    /* May leave a project out; called on the pipeline's thread, without the lock. NULL: all are in. */
    rc_t (*wanted)(void *arg, struct db *db, const struct project *p, bool *ret, struct err *e);
    void *arg;
    pthread_rwlock_t lock;
    struct function_project *projects;
    struct pipeline_topic *topics; /* the same, as the pipeline wants them */
    size_t n;
    bool loaded;
};
struct function_project {
    int32_t id;
    char *name, *topic;
    bool monitoring;
};

void function_topics_init(struct function_topics *t, const char *system_id, const char *function);
void function_topics_done(struct function_topics *t);
/* What pipeline_config.topics is made of. */
rc_t function_topics_load(struct function_topics *t, struct db *db, const struct pipeline_topic **ret, size_t *n,
                          struct err *e) MUST_CHECK;
/* On the pipeline's thread: the project of a topic that was given to it. NULL: gone meanwhile. */
const struct function_project *function_topics_project(const struct function_topics *t, int32_t project_id);
/* Any thread. name empty: the only project there is. Copies what is asked for. E_NOTFOUND; E_AGAIN before the first load. */
rc_t function_topics_find(struct function_topics *t, struct str name, char project[NAME_PROJECT_MAX + 1],
                          char topic[NAME_TOPIC_MAX + 1]) MUST_CHECK;
