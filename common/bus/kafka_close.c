/* Leaving the group and freeing a consumer, in bounded time. */
#include <pthread.h>
#include <time.h>
#include "base/clock.h"
#include "base/mem.h"
#include "bus/kafka_conf.h"
#include "bus/kafka_consumer.h"
#include "log/log.h"

#define CLOSE_WAIT_US (2 * USEC_PER_SEC) /* leaving takes milliseconds, or does not come about: no broker is there */

static void free_texts(struct kafka_consumer *c)
{
    struct map_iter it = {0};
    while (map_next(&c->names, &it))
        mem_free(it.value);
    map_done(&c->names);
    for (size_t i = 0; i < c->n_topics; i++)
        mem_free(c->topics[i]);
    mem_free(c->topics);
}

/* Closing can hang in librdkafka 2.0 (its issue 4527). It runs on a thread of its own, which is left behind with its
 * handle if it is late: the process is about to end then. */
struct closing {
    struct kafka_consumer *c;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done, abandoned;
};

static void closing_free(struct closing *k)
{
    pthread_mutex_destroy(&k->lock);
    pthread_cond_destroy(&k->changed);
    free_texts(k->c);
    mem_free(k->c);
    mem_free(k);
}

static void *close_thread(void *arg)
{
    struct closing *k = arg;
    rd_kafka_consumer_close(k->c->rk);
    rd_kafka_destroy(k->c->rk);
    if (k->c->look_rk)
        rd_kafka_destroy(k->c->look_rk);
    if (k->c->peek_rk)
        rd_kafka_destroy(k->c->peek_rk);
    kafka_conf_drop(k->c->look_conf);
    kafka_conf_drop(k->c->peek_conf);
    pthread_mutex_lock(&k->lock);
    k->done = true;
    bool mine = k->abandoned;
    pthread_cond_signal(&k->changed);
    pthread_mutex_unlock(&k->lock);
    if (mine)
        closing_free(k);
    return NULL;
}

static void close_bounded(struct closing *k)
{
    pthread_t thread;
    int64_t end = clock_mono_us() + CLOSE_WAIT_US;
    struct timespec at = {.tv_sec = (time_t)(end / USEC_PER_SEC), .tv_nsec = (long)(end % USEC_PER_SEC * 1000)};
    int late = 0;
    if (pthread_create(&thread, NULL, close_thread, k)) {
        close_thread(k);
        closing_free(k);
        return;
    }
    pthread_detach(thread);
    pthread_mutex_lock(&k->lock);
    while (!k->done && !late)
        late = pthread_cond_timedwait(&k->changed, &k->lock, &at);
    bool done = k->done;
    k->abandoned = !done;
    pthread_mutex_unlock(&k->lock);
    if (done)
        closing_free(k);
    else
        log_warn("kafka_close_late", LF_I64("waited_ms", CLOSE_WAIT_US / 1000));
}

void kafka_consumer_close_take(struct kafka_consumer *c)
{
    struct closing *k = mem_alloc(sizeof *k);
    pthread_condattr_t attr;
    k->c = c;
    pthread_mutex_init(&k->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&k->changed, &attr);
    pthread_condattr_destroy(&attr);
    (void)rd_kafka_assign(c->rk, NULL); /* answers a rebalance left open */
    close_bounded(k);
}
