/* SINKS=none, the HTTP trigger alone: no pipeline is there to read the projects each second, so a thread does. */
#include "base/clock.h"
#include "base/mem.h"
#include "service/worker.h"
#include "stream.h"

#define EVERY_US USEC_PER_SEC
#define RETRY_US (USEC_PER_SEC / 5)

struct alone {
    struct stream *st;
    struct db *db;
    struct worker worker;
};

static rc_t load(struct alone *a, struct err *e)
{
    struct stream *st = a->st;
    rc_t rc = db_ready(a->db, e);
    if (rc == OK)
        rc = projects_load(&st->projects, a->db, st->options.id.system_id, e);
    form_loaded(&st->form);
    return rc;
}

static void run(struct worker *w, void *arg)
{
    struct alone *a = arg;
    bool loaded = false;
    while (!worker_stopping(w)) {
        struct err e = {{0}};
        rc_t rc = load(a, &e);
        loaded = loaded || rc == OK; /* later: what was read last is good enough */
        if (loaded)
            health_set(a->st->loaded, HEALTH_OK, "%s", "");
        else
            health_set(a->st->loaded, HEALTH_STARTING, "the database has not been read yet: %s; posted events get 503",
                       e.text);
        (void)worker_wait(w, rc ? RETRY_US : EVERY_US);
    }
}

rc_t alone_start(struct alone **ret, struct stream *st, struct err *e)
{
    struct alone *a = mem_alloc(sizeof *a);
    a->st = st;
    rc_t rc = db_open(&a->db, &st->db, e);
    if (rc == OK)
        rc = worker_start(&a->worker, "projects", run, a, e);
    if (rc) {
        db_free(a->db);
        mem_free(a);
        return rc;
    }
    *ret = a;
    return OK;
}

void alone_free(struct alone *a)
{
    if (!a)
        return;
    worker_stop(&a->worker);
    if (worker_join(&a->worker, INT64_MAX) != OK) /* a hang is the service's watchdog's to end */
        return;
    db_free(a->db);
    mem_free(a);
}
