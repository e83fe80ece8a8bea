/* The loop: descriptors, timers, posts; and the worker that lives beside it. */
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "loop/loop.h"
#include "service/worker.h"

struct fixture {
    struct loop *loop;
    struct loop_timer *timer;
    struct loop_fd *source, *victim;
    int ends[2], calls, order[8], n_order;
    struct err e;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_int_equal(loop_new(&f->loop, &f->e), OK);
    assert_int_equal(pipe(f->ends), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    loop_free(f->loop);
    (void)close(f->ends[0]);
    (void)close(f->ends[1]);
    free(f);
    return 0;
}

static void run(struct fixture *f)
{
    assert_int_equal(loop_run(f->loop, &f->e), OK);
}

static void stop(void *arg)
{
    loop_stop(((struct fixture *)arg)->loop);
}

static void note_1(void *arg)
{
    struct fixture *f = arg;
    f->order[f->n_order++] = 1;
}
static void note_2(void *arg)
{
    struct fixture *f = arg;
    f->order[f->n_order++] = 2;
}

static void timers_come_in_their_order(void **state)
{
    struct fixture *f = *state;
    struct loop_timer *late = loop_timer_new(f->loop, note_2, f), *early = loop_timer_new(f->loop, note_1, f);
    struct loop_timer *end = loop_timer_new(f->loop, stop, f), *never = loop_timer_new(f->loop, note_2, f);
    int64_t from = clock_mono_us();
    loop_timer_after(never, 5000);
    loop_timer_cancel(never);
    loop_timer_after(end, 60000);
    loop_timer_after(late, 40000);
    loop_timer_after(early, 20000);
    run(f);
    int64_t took = clock_mono_us() - from;
    assert_true(took >= 60000 && took < 2000000);
    assert_int_equal(f->n_order, 2);
    assert_int_equal(f->order[0], 1);
    assert_int_equal(f->order[1], 2);
}

static void tick(void *arg)
{
    struct fixture *f = arg;
    if (++f->calls == 5) {
        loop_timer_free(f->timer); /* inside its own call */
        loop_stop(f->loop);
    }
}

static void periods_do_not_drift_or_pile_up(void **state)
{
    struct fixture *f = *state;
    int64_t from = clock_mono_us();
    f->timer = loop_timer_new(f->loop, tick, f);
    loop_timer_every(f->timer, 10000);
    while (clock_mono_us() - from < 35000)
        ; /* three are overdue: they come as one */
    run(f);
    assert_int_equal(f->calls, 5);
    assert_true(clock_mono_us() - from >= 70000 - 1000);
}

static void on_readable(void *arg, uint32_t events)
{
    struct fixture *f = arg;
    char c;
    assert_true(events & EPOLLIN);
    assert_int_equal(read(f->ends[0], &c, 1), 1);
    if (c == 'x') {
        loop_del_fd(f->source);
        f->source = NULL;
        loop_stop(f->loop);
    }
    f->calls++;
}

static void descriptors_are_watched(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(write(f->ends[1], "abx", 3), 3);
    assert_int_equal(loop_add_fd(f->loop, f->ends[0], EPOLLIN, on_readable, f, &f->source, &f->e), OK);
    run(f);
    assert_int_equal(f->calls, 3);
    struct loop_fd *again;
    assert_int_equal(loop_add_fd(f->loop, f->ends[0], EPOLLIN, on_readable, f, &again, &f->e), OK);
    assert_int_equal(loop_set_fd(again, 0, &f->e), OK);
    loop_del_fd(again);
    loop_del_fd(again);
    assert_int_equal(loop_add_fd(f->loop, 9999, EPOLLIN, on_readable, f, &again, &f->e), E_FATAL);
}

/* Two are ready in one round; whichever comes first removes the other, which then must not be called. */
static void remove_other(void *arg, uint32_t events)
{
    struct fixture *f = arg;
    (void)events;
    f->calls++;
    loop_del_fd(f->source);
    loop_del_fd(f->victim);
    loop_stop(f->loop);
}

static void a_removed_source_is_not_called(void **state)
{
    struct fixture *f = *state;
    int more[2];
    assert_int_equal(pipe(more), 0);
    assert_int_equal(write(f->ends[1], "a", 1) + write(more[1], "a", 1), 2);
    assert_int_equal(loop_add_fd(f->loop, f->ends[0], EPOLLIN, remove_other, f, &f->source, &f->e), OK);
    assert_int_equal(loop_add_fd(f->loop, more[0], EPOLLIN, remove_other, f, &f->victim, &f->e), OK);
    run(f);
    assert_int_equal(f->calls, 1);
    (void)close(more[0]);
    (void)close(more[1]);
}

static void count_post(void *arg)
{
    struct fixture *f = arg;
    if (++f->calls == 4000)
        loop_stop(f->loop);
}

static void *post_many(void *arg)
{
    struct fixture *f = arg;
    for (int i = 0; i < 1000; i++)
        loop_post(f->loop, count_post, f);
    return NULL;
}

static void posts_come_from_any_thread(void **state)
{
    struct fixture *f = *state;
    pthread_t t[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, post_many, f), 0);
    run(f);
    for (int i = 0; i < 4; i++)
        (void)pthread_join(t[i], NULL);
    assert_int_equal(f->calls, 4000);
    loop_stop(f->loop); /* before it runs: it returns at once */
    run(f);
}

/* ---- workers ---- */

static void work(struct worker *w, void *arg)
{
    _Atomic int *rounds = arg;
    while (!worker_stopping(w)) {
        (void)worker_wait(w, -1);
        (*rounds)++;
    }
}

static void a_worker_is_woken_stopped_and_joined(void **state)
{
    (void)state;
    struct worker w = {0};
    struct err e;
    _Atomic int rounds = 0;
    assert_int_equal(worker_join(&w, 0), OK); /* never started */
    worker_stop(&w);
    assert_int_equal(worker_start(&w, "a-name-that-is-long", work, &rounds, &e), OK);
    assert_int_equal(worker_join(&w, 20000), E_AGAIN);
    worker_wake(&w);
    int64_t until = clock_mono_us() + 10 * USEC_PER_SEC;
    while (rounds == 0 && clock_mono_us() < until)
        (void)sched_yield();
    assert_int_equal(rounds, 1);
    worker_stop(&w);
    worker_stop(&w);
    assert_int_equal(worker_join(&w, 10 * USEC_PER_SEC), OK);
    assert_int_equal(rounds, 2);
    assert_int_equal(worker_start(&w, "again", work, &rounds, &e), OK);
    worker_stop(&w);
    assert_int_equal(worker_join(&w, INT64_MAX), OK);
}

static void wait_once(struct worker *w, void *arg)
{
    int64_t from = clock_mono_us();
    bool woken = worker_wait(w, 30000);
    *(int64_t *)arg = woken ? -1 : clock_mono_us() - from;
}

static void a_wait_ends_by_itself(void **state)
{
    (void)state;
    struct worker w = {0};
    struct err e;
    int64_t took = 0;
    assert_int_equal(worker_start(&w, "w", wait_once, &took, &e), OK);
    assert_int_equal(worker_join(&w, 10 * USEC_PER_SEC), OK);
    assert_true(took >= 29000);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(timers_come_in_their_order),        CASE(periods_do_not_drift_or_pile_up),
        CASE(descriptors_are_watched),           CASE(a_removed_source_is_not_called),
        CASE(posts_come_from_any_thread),        cmocka_unit_test(a_worker_is_woken_stopped_and_joined),
        cmocka_unit_test(a_wait_ends_by_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
