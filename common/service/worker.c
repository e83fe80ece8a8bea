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
#include "log/log.h"

static void signal_fd(int fd)
{
    uint64_t one = 1;
    ssize_t n = write(fd, &one, sizeof one);
    (void)n; /* EAGAIN: it is as readable as can be */
}

static void *run(void *arg)
{
    struct worker *w = arg;
    log_as(w->log_part);
    w->run(w, w->arg);
    signal_fd(w->end_fd);
    return NULL;
}

static void close_fds(const struct worker *w)
{
    if (w->wake_fd >= 0)
        (void)close(w->wake_fd); /* nothing is buffered in these */
    if (w->end_fd >= 0)
        (void)close(w->end_fd);
}

rc_t worker_start(struct worker *w, const char *name, void (*fn)(struct worker *w, void *arg), void *arg, struct err *e)
{
    assert(!atomic_load(&w->running));
    *w = (struct worker){.run = fn, .arg = arg, .log_part = log_part()};
    (void)snprintf(w->name, sizeof w->name, "%s", name); /* cut to fit is fine */
    w->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    w->end_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    int rc = w->wake_fd < 0 || w->end_fd < 0 ? errno : pthread_create(&w->thread, NULL, run, w);
    if (rc != 0) {
        close_fds(w);
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
    signal_fd(w->wake_fd);
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
    int64_t now = clock_mono_us(), until = us < INT64_MAX - now ? now + us : INT64_MAX, left;
    struct pollfd p = {.fd = w->end_fd, .events = POLLIN};
    do {
        left = until - clock_mono_us();
        left = left > 0 ? left : 0;
        struct timespec ts = {.tv_sec = left / USEC_PER_SEC, .tv_nsec = left % USEC_PER_SEC * 1000};
        (void)ppoll(&p, 1, &ts, NULL); /* interrupted: revents is 0, and it goes on */
    } while (!(p.revents & POLLIN) && left > 0);
    if (!(p.revents & POLLIN))
        return E_AGAIN;
    int rc = pthread_join(w->thread, NULL);
    assert(rc == 0);
    close_fds(w);
    atomic_store(&w->running, false);
    return OK;
}
