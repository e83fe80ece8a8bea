/* The guard: handlers for what a crash raises and for a timer's signal, and the jump back. */
#include "app/guard.h"
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif
#define STACK_BYTES (64u << 10) /* of the handlers: the thread's own may be what overflowed */

struct guard {
    sigjmp_buf back;
    volatile sig_atomic_t signal;
};

/* A handler knows nothing but its thread. */
static _Thread_local struct guard *volatile current;
static const int crashes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

static int late_signal(void)
{
    return SIGRTMIN + 5;
}

static void on_signal(int number)
{
    struct guard *g = current;
    if (g) {
        current = NULL;
        g->signal = number;
        siglongjmp(g->back, 1);
    }
    if (number != late_signal()) /* not ours: let it be fatal */
        (void)signal(number, SIG_DFL);
}

static void install(void)
{
    struct sigaction a = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK | SA_NODEFER};
    sigemptyset(&a.sa_mask);
    for (size_t i = 0; i < sizeof crashes / sizeof *crashes; i++)
        (void)sigaction(crashes[i], &a, NULL); /* fails for unknown numbers alone */
    (void)sigaction(late_signal(), &a, NULL);
}

/* Without a timer the call has no limit: better than no call. */
static bool make_timer(timer_t *ret, int64_t limit_us)
{
    struct sigevent ev = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = late_signal()};
    ev.sigev_notify_thread_id = gettid();
    return limit_us > 0 && timer_create(CLOCK_MONOTONIC, &ev, ret) == 0;
}

static void start_timer(timer_t timer, int64_t limit_us)
{
    const struct itimerspec at = {
        .it_value = {.tv_sec = (time_t)(limit_us / USEC_PER_SEC), .tv_nsec = (long)(limit_us % USEC_PER_SEC) * 1000}};
    (void)timer_settime(timer, 0, &at, NULL); /* valid arguments */
}

static rc_t tell(int number, int64_t limit_us, struct err *e)
{
    if (number == late_signal())
        return err_set(e, E_INVALID, "it did not come back within %lld s", (long long)(limit_us / USEC_PER_SEC));
    return err_set(e, E_INVALID, "it crashed: signal %d (%s)", number, strsignal(number));
}

rc_t guard_call(rc_t (*fn)(void *, struct err *), void *arg, int64_t limit_us, bool *ret_broken, struct err *e)
{
    struct guard g = {.signal = 0};
    stack_t stack = {.ss_sp = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
                     .ss_size = STACK_BYTES},
            stack_before;
    sigset_t late, mask_before;
    timer_t timer;
    volatile rc_t rc = OK;
    install(); /* at each call: a library may have put its own in their place */
    if (stack.ss_sp == MAP_FAILED)
        return err_set(e, E_AGAIN, "no memory for a signal stack");
    (void)sigaltstack(&stack, &stack_before);
    sigemptyset(&late);
    sigaddset(&late, late_signal());
    (void)pthread_sigmask(SIG_UNBLOCK, &late, &mask_before);
    const bool timed = make_timer(&timer, limit_us);
    if (sigsetjmp(g.back, 1) == 0) {
        current = &g;
        if (timed)
            start_timer(timer, limit_us); /* from here on there is a way back */
        rc = fn(arg, e);
    }
    current = NULL;
    if (timed)
        (void)timer_delete(timer);
    (void)pthread_sigmask(SIG_SETMASK, &mask_before, NULL);
    (void)sigaltstack(&stack_before, NULL);
    *ret_broken = g.signal != 0;
    (void)munmap(stack.ss_sp, STACK_BYTES);
    return g.signal ? tell(g.signal, limit_us, e) : rc;
}
