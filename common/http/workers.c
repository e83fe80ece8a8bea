/* Threads for handlers that may wait for a server, so that the threads of the connections never do: /livez, /readyz and /metrics
 * are answered whatever a database does. A request waits in the queue for QUEUE_US at most.
 *
 *   connection's thread ─suspended─▶ queue ─▶ worker ─▶ handler ─▶ answer ─resumed─▶ connection's thread
 *                                      └── too long, the watchdog ─▶ 503 */
#include <string.h>

#include "base/clock.h"
#include "http/request.h"

#define QUEUE_US (5 * USEC_PER_SEC)
#define RETRY_AFTER_S 2

/* The queue's lock is held. */
static struct http_request *take(struct workers *w)
{
    struct http_request *r = w->first;
    w->first = r->next;
    if (w->first == NULL)
        w->end = &w->first;
    return r;
}

static void *work(void *arg)
{
    struct http_server *s = arg;
    struct workers *w = &s->workers;
    (void)pthread_mutex_lock(&w->lock); /* a plain mutex fails only by misuse; so below */
    for (;;) {
        while (w->first == NULL && !w->stopping)
            (void)pthread_cond_wait(&w->come, &w->lock);
        if (w->first == NULL)
            break;
        struct http_request *r = take(w);
        (void)pthread_mutex_unlock(&w->lock);
        r->route->row->handler(r, r->route->arg);
        (void)pthread_mutex_lock(&w->lock);
    }
    (void)pthread_mutex_unlock(&w->lock);
    return NULL;
}

void workers_hand(struct http_request *r)
{
    struct workers *w = &r->connection->server->workers;
    http_suspend(r);
    (void)pthread_mutex_lock(&w->lock);
    r->next = NULL;
    r->queued_us = clock_mono_us();
    *w->end = r;
    w->end = &r->next;
    (void)pthread_cond_signal(&w->come);
    (void)pthread_mutex_unlock(&w->lock);
}

/* The oldest one that has waited too long, out of the queue. NULL: none. */
static struct http_request *take_late(struct workers *w, int64_t now)
{
    (void)pthread_mutex_lock(&w->lock);
    bool late = w->first && now - w->first->queued_us > QUEUE_US;
    struct http_request *r = late ? take(w) : NULL;
    (void)pthread_mutex_unlock(&w->lock);
    return r;
}

void workers_expire(struct http_server *s, int64_t now)
{
    struct http_request *r;
    while ((r = take_late(&s->workers, now))) {
        counters_refuse(REFUSED_BUSY);
        http_problem(
            r, &(struct http_problem){.status = 503,
                                      .code = "busy",
                                      .detail = "every thread waits for a server: see /readyz; or raise HTTP_WORKERS",
                                      .retry_after_s = RETRY_AFTER_S});
    }
}

rc_t workers_start(struct http_server *s, struct err *e)
{
    struct workers *w = &s->workers;
    bool wanted = false;
    for (size_t i = 0; i < s->router.count; i++)
        wanted = wanted || (s->router.routes[i].row->flags & HTTP_WAITS);
    w->end = &w->first;
    (void)pthread_mutex_init(&w->lock, NULL); /* these cannot fail on Linux */
    (void)pthread_cond_init(&w->come, NULL);
    while (wanted && w->n < (size_t)s->options->workers) {
        int rc = pthread_create(&w->threads[w->n], NULL, work, s);
        if (rc != 0)
            return err_set(e, E_FATAL, "thread: %s", strerror(rc));
        w->n++;
    }
    return OK;
}

void workers_stop(struct http_server *s)
{
    struct workers *w = &s->workers;
    (void)pthread_mutex_lock(&w->lock);
    w->stopping = true;
    (void)pthread_cond_broadcast(&w->come);
    (void)pthread_mutex_unlock(&w->lock);
    for (size_t i = 0; i < w->n; i++)
        (void)pthread_join(w->threads[i], NULL);
    (void)pthread_cond_destroy(&w->come);
    (void)pthread_mutex_destroy(&w->lock);
}
