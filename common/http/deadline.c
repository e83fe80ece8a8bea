/* The watchdog: libmicrohttpd's own time-out is for silence only, so a client that sends a byte a second would hold a
 * connection for ever. Here a request as a whole has a deadline, from its first byte to its last, and so has its answer.
 * A connection that is late is shut down; its own thread then sees the end and cleans up. */
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "http/request.h"

/* Payload bytes the kernel has taken from the peer so far. */
static uint64_t bytes_received(int fd)
{
    struct tcp_info info;
    socklen_t n = sizeof info;
    memset(&info, 0, sizeof info);
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n) != 0)
        return 0;
    return info.tcpi_bytes_received;
}

/* While no byte of the next request is there its time does not run. */
static void hold_if_idle(struct connection *c, int64_t now)
{
    uint32_t generation = atomic_load(&c->generation);
    int64_t since = atomic_load(&c->since_us);
    uint64_t bytes = bytes_received(c->fd);
    if (generation != c->seen_generation) {
        c->seen_generation = generation;
        c->base_bytes = bytes;
    }
    /* exchanged only if no request has begun or ended meanwhile */
    if (bytes == c->base_bytes && atomic_load(&c->phase) == WAITING)
        (void)atomic_compare_exchange_strong(&c->since_us, &since, now);
}

static bool is_late(struct connection *c, const struct http_options *o, int64_t now)
{
    int phase = atomic_load(&c->phase);
    if (phase == WAITING)
        hold_if_idle(c, now);
    int64_t age = now - atomic_load(&c->since_us);
    if (phase != atomic_load(&c->phase))
        return false; /* it moved on: judged in the next round */
    int64_t quiesced = atomic_load(&c->server->quiesced_us);
    if (phase == RECEIVING && quiesced && now - quiesced > LAST_US)
        return true; /* nothing of it was accepted yet */
    return (phase == WAITING || phase == RECEIVING) ? age > o->deadline_us : phase == SENDING && age > o->send_us;
}

static void check_all(struct http_server *s)
{
    int64_t now = clock_mono_us();
    for (struct connection *c = s->connections; c; c = c->next) {
        if (!is_late(c, s->options, now))
            continue;
        counters_refuse(REFUSED_DEADLINE);
        (void)shutdown(c->fd, SHUT_RDWR); /* gone already: fine */
    }
}

static int64_t tick_us(const struct http_options *o)
{
    int64_t tick = o->deadline_us / 20;
    return tick < 20 * USEC_PER_MSEC ? 20 * USEC_PER_MSEC : tick > USEC_PER_SEC / 2 ? USEC_PER_SEC / 2 : tick;
}

void *watchdog_run(void *server)
{
    struct http_server *s = server;
    (void)pthread_mutex_lock(&s->lock); /* a plain mutex fails only by misuse */
    while (!s->stopping) {
        if (s->connections == NULL) {
            (void)pthread_cond_wait(&s->changed, &s->lock);
            continue;
        }
        check_all(s);
        workers_expire(s, clock_mono_us());
        int64_t until = clock_mono_us() + tick_us(s->options);
        struct timespec ts = {.tv_sec = until / USEC_PER_SEC, .tv_nsec = until % USEC_PER_SEC * 1000};
        int rc = 0;
        while (!s->stopping && rc != ETIMEDOUT)
            rc = pthread_cond_timedwait(&s->changed, &s->lock, &ts);
    }
    (void)pthread_mutex_unlock(&s->lock);
    return NULL;
}
