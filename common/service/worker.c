/* A thread that can be woken, asked to stop and waited for. */
#include "service/worker.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

static void *run(void *arg)
{
    struct worker *w = arg;
    w->run(w, w->arg);
    atomic_store(&w->ended, true);
    return NULL;
}

rc_t worker_start(struct worker *w, const char *name, void (*fn)(struct worker *w, void *arg), void *arg, struct err *e)
{
    assert(!atomic_load(&w->running));
    *w = (struct worker){.run = fn, .arg = arg};
    (void)snprintf(w->name, sizeof w->name, "%s", name); /* cut to fit is fine */
    w->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (w->wake_fd < 0)
        return err_set(e, E_FATAL, "thread %s: %s", name, strerror(errno));
    int rc = pthread_create(&w->thread, NULL, run, w);
    if (rc != 0) {
        (void)close(w->wake_fd);
        return err_set(e, E_FATAL, "thread %s: %s", name, strerror(rc));
    }
    atomic_store(&w->running, true);
    (void)pthread_setname_np(w->thread, w->name); /* for ps only */
    return OK;
}

bool worker_stopping(struct worker *w)
{
    return atomic_load_explicit(&w->stop, memory_order_relaxed);
}

bool worker_wait(struct worker *w, int64_t us)
{
    if (worker_stopping(w))
        return true;
    struct pollfd p = {.fd = w->wake_fd, .events = POLLIN};
    struct timespec ts = {.tv_sec = us / USEC_PER_SEC, .tv_nsec = us % USEC_PER_SEC * 1000};
    uint64_t n;
    int rc = ppoll(&p, 1, us < 0 ? NULL : &ts, NULL);
    if (rc > 0 && !worker_stopping(w)) {
        ssize_t got = read(w->wake_fd, &n, sizeof n);
        (void)got; /* EAGAIN: somebody's poll set took it */
    }
    return rc > 0 || worker_stopping(w);
}

void worker_wake(struct worker *w)
{
    uint64_t one = 1;
    ssize_t n = write(w->wake_fd, &one, sizeof one);
    (void)n; /* EAGAIN: it is as awake as can be */
}

void worker_stop(struct worker *w)
{
    if (!atomic_load(&w->running))
        return;
    atomic_store(&w->stop, true);
    worker_wake(w);
}

rc_t worker_join(struct worker *w, int64_t us)
{
    if (!atomic_load(&w->running))
        return OK;
    int64_t until = clock_mono_us() + us;
    struct timespec ts = {.tv_sec = until / USEC_PER_SEC, .tv_nsec = until % USEC_PER_SEC * 1000};
    int rc = pthread_clockjoin_np(w->thread, NULL, CLOCK_MONOTONIC, &ts);
    if (rc == ETIMEDOUT)
        return E_AGAIN;
    assert(rc == 0 && atomic_load(&w->ended));
    (void)close(w->wake_fd);
    atomic_store(&w->running, false);
    return OK;
}
