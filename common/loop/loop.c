/* The event loop over epoll. Timers share one timerfd; posted work wakes it by an eventfd.
 *
 *   epoll_wait ─▶ descriptors ─▶ timers that are due ─▶ posted work ─▶ again */
#include "loop/loop.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

#define ROUND 64 /* descriptors looked at in one round */

struct loop_fd {
    struct loop *loop;
    struct loop_fd *next;
    int fd;
    bool dead; /* removed; freed after the round, which may still name it */
    void (*fn)(void *arg, uint32_t events);
    void *arg;
};

struct loop_timer {
    struct loop *loop;
    struct loop_timer *next;
    int64_t due_us, every_us;
    bool armed, dead;
    void (*fn)(void *arg);
    void *arg;
};

struct loop_post {
    void (*fn)(void *arg);
    void *arg;
};

struct loop {
    int epoll_fd, timer_fd, wake_fd;
    atomic_bool stop;
    struct loop_fd *fds;
    struct loop_timer *timers;
    int64_t armed_for_us; /* what the timerfd is set to; 0: nothing */
    bool has_dead;
    pthread_mutex_t lock;
    struct loop_post *posts;
    size_t post_count, post_cap;
};

static void drain(int fd)
{
    uint64_t n;
    ssize_t got = read(fd, &n, sizeof n);
    (void)got; /* EAGAIN: nothing was there any more */
}

static void on_wake(void *arg, uint32_t events)
{
    (void)events;
    drain(((struct loop *)arg)->wake_fd); /* the posts are run at the end of the round */
}

static void on_timer(void *arg, uint32_t events)
{
    struct loop *l = arg;
    (void)events;
    drain(l->timer_fd); /* the timers are run after the descriptors */
    l->armed_for_us = 0;
}

rc_t loop_new(struct loop **ret, struct err *e)
{
    struct loop *l = mem_alloc(sizeof *l);
    struct loop_fd *unused;
    (void)pthread_mutex_init(&l->lock, NULL); /* cannot fail without attributes */
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    l->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    l->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    rc_t rc = OK;
    if (l->epoll_fd < 0 || l->timer_fd < 0 || l->wake_fd < 0)
        rc = err_set(e, E_FATAL, "event loop: %s", strerror(errno));
    if (rc == OK)
        rc = loop_add_fd(l, l->timer_fd, EPOLLIN, on_timer, l, &unused, e);
    if (rc == OK)
        rc = loop_add_fd(l, l->wake_fd, EPOLLIN, on_wake, l, &unused, e);
    if (rc != OK) {
        loop_free(l);
        return rc;
    }
    *ret = l;
    return OK;
}

static void close_if_open(int fd)
{
    if (fd >= 0)
        (void)close(fd); /* nothing is buffered in these */
}

void loop_free(struct loop *l)
{
    if (l == NULL)
        return;
    for (struct loop_fd *f = l->fds, *next; f; f = next) {
        next = f->next;
        mem_free(f);
    }
    for (struct loop_timer *t = l->timers, *next; t; t = next) {
        next = t->next;
        mem_free(t);
    }
    close_if_open(l->wake_fd);
    close_if_open(l->timer_fd);
    close_if_open(l->epoll_fd);
    (void)pthread_mutex_destroy(&l->lock); /* nobody holds it */
    mem_free(l->posts);
    mem_free(l);
}

/* ---- descriptors ---- */

rc_t loop_add_fd(struct loop *l, int fd, uint32_t events, void (*fn)(void *arg, uint32_t events), void *arg,
                 struct loop_fd **ret, struct err *e)
{
    struct loop_fd *f = mem_alloc(sizeof *f);
    *f = (struct loop_fd){.loop = l, .next = l->fds, .fd = fd, .fn = fn, .arg = arg};
    struct epoll_event ev = {.events = events, .data.ptr = f};
    if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0) {
        mem_free(f);
        return err_set(e, E_FATAL, "watching descriptor %d: %s", fd, strerror(errno));
    }
    l->fds = f;
    *ret = f;
    return OK;
}

rc_t loop_set_fd(struct loop_fd *f, uint32_t events, struct err *e)
{
    struct epoll_event ev = {.events = events, .data.ptr = f};
    if (epoll_ctl(f->loop->epoll_fd, EPOLL_CTL_MOD, f->fd, &ev) != 0)
        return err_set(e, E_FATAL, "watching descriptor %d: %s", f->fd, strerror(errno));
    return OK;
}

void loop_del_fd(struct loop_fd *f)
{
    if (f == NULL || f->dead)
        return;
    (void)epoll_ctl(f->loop->epoll_fd, EPOLL_CTL_DEL, f->fd, NULL); /* closed already: it has left by itself */
    f->dead = true;
    f->loop->has_dead = true;
}

static void free_dead(struct loop *l)
{
    if (!l->has_dead)
        return;
    l->has_dead = false;
    for (struct loop_fd **at = &l->fds; *at;) {
        struct loop_fd *f = *at;
        if (f->dead) {
            *at = f->next;
            mem_free(f);
        } else {
            at = &f->next;
        }
    }
    for (struct loop_timer **at = &l->timers; *at;) {
        struct loop_timer *t = *at;
        if (t->dead) {
            *at = t->next;
            mem_free(t);
        } else {
            at = &t->next;
        }
    }
}

/* ---- timers ---- */

struct loop_timer *loop_timer_new(struct loop *l, void (*fn)(void *arg), void *arg)
{
    struct loop_timer *t = mem_alloc(sizeof *t);
    *t = (struct loop_timer){.loop = l, .next = l->timers, .fn = fn, .arg = arg};
    l->timers = t;
    return t;
}

void loop_timer_at(struct loop_timer *t, int64_t mono_us)
{
    t->due_us = mono_us;
    t->every_us = 0;
    t->armed = true;
}

void loop_timer_after(struct loop_timer *t, int64_t us)
{
    loop_timer_at(t, clock_mono_us() + us);
}

void loop_timer_every(struct loop_timer *t, int64_t us)
{
    assert(us > 0);
    loop_timer_after(t, us);
    t->every_us = us;
}

void loop_timer_cancel(struct loop_timer *t)
{
    t->armed = false;
}

void loop_timer_free(struct loop_timer *t)
{
    if (t == NULL)
        return;
    t->armed = false;
    t->dead = true;
    t->loop->has_dead = true;
}

static void run_timers(struct loop *l)
{
    int64_t now = clock_mono_us();
    for (struct loop_timer *t = l->timers; t; t = t->next) {
        if (!t->armed || t->due_us > now)
            continue;
        if (t->every_us > 0)
            t->due_us += ((now - t->due_us) / t->every_us + 1) * t->every_us;
        else
            t->armed = false;
        t->fn(t->arg);
    }
}

static void arm(struct loop *l)
{
    int64_t next = 0;
    for (const struct loop_timer *t = l->timers; t; t = t->next)
        if (t->armed && (next == 0 || t->due_us < next))
            next = t->due_us > 1 ? t->due_us : 1; /* zero would disarm */
    if (next == l->armed_for_us)
        return;
    struct itimerspec at = {.it_value = {.tv_sec = next / USEC_PER_SEC, .tv_nsec = next % USEC_PER_SEC * 1000}};
    int rc = timerfd_settime(l->timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
    assert(rc == 0);
    l->armed_for_us = next;
}

/* ---- posted work ---- */

static void wake(struct loop *l)
{
    uint64_t one = 1;
    ssize_t n = write(l->wake_fd, &one, sizeof one);
    (void)n; /* EAGAIN: it is as awake as can be */
}

void loop_post(struct loop *l, void (*fn)(void *arg), void *arg)
{
    (void)pthread_mutex_lock(&l->lock); /* a plain mutex fails only by misuse; so below */
    if (l->post_count == l->post_cap) {
        l->post_cap = l->post_cap ? l->post_cap * 2 : 16;
        l->posts = mem_grow(l->posts, l->post_cap, sizeof *l->posts);
    }
    l->posts[l->post_count++] = (struct loop_post){fn, arg};
    bool first = l->post_count == 1;
    (void)pthread_mutex_unlock(&l->lock);
    if (first)
        wake(l);
}

static void run_posts(struct loop *l)
{
    (void)pthread_mutex_lock(&l->lock);
    struct loop_post *posts = l->posts;
    size_t n = l->post_count;
    l->posts = NULL;
    l->post_count = l->post_cap = 0;
    (void)pthread_mutex_unlock(&l->lock);
    for (size_t i = 0; i < n; i++)
        posts[i].fn(posts[i].arg);
    mem_free(posts);
}

void loop_stop(struct loop *l)
{
    atomic_store(&l->stop, true);
    wake(l);
}

rc_t loop_run(struct loop *l, struct err *e)
{
    struct epoll_event events[ROUND];
    while (!atomic_load(&l->stop)) {
        arm(l);
        int n = epoll_wait(l->epoll_fd, events, ROUND, -1);
        if (n < 0 && errno != EINTR)
            return err_set(e, E_FATAL, "epoll_wait: %s", strerror(errno));
        for (int i = 0; i < n; i++) {
            struct loop_fd *f = events[i].data.ptr;
            if (!f->dead)
                f->fn(f->arg, events[i].events);
        }
        run_timers(l);
        run_posts(l);
        free_dead(l);
    }
    atomic_store(&l->stop, false);
    return OK;
}
