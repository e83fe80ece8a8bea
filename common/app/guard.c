/* The guard: handlers for what a crash raises and for a timer's signal, and the jump back. */
#include "app/guard.h"
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif
#define ARGS_MAX 256
#define ENV_MAX 1024
#define STACK_BYTES (64u << 10) /* of the handlers: the thread's own may be what overflowed */

struct guard {
    sigjmp_buf back;
    volatile sig_atomic_t signal;
};

/* How this process was begun, and the place for one more variable: a handler can neither read nor allocate. Filled once. */
static struct {
    char words[8 << 10];
    char *args[ARGS_MAX + 1], *env[ENV_MAX + 2];
    size_t n_env;
    bool whole;
} origin;

/* A handler knows nothing but its thread. */
static _Thread_local struct guard *volatile current;
static _Thread_local volatile sig_atomic_t leaving; /* a call broke: at the next signal of way_out the process begins anew */
static _Thread_local timer_t way_out;
static _Thread_local char note[sizeof GUARD_ENV + GUARD_NAME_MAX + 1];
static const int crashes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

static int late_signal(void)
{
    return SIGRTMIN + 5;
}

static void learn_origin(void)
{
    const int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd < 0 ? -1 : read(fd, origin.words, sizeof origin.words - 1);
    size_t args = 0;
    for (char *p = origin.words; n > 0 && p < origin.words + n && args < ARGS_MAX; p += strlen(p) + 1)
        origin.args[args++] = p;
    char **env = environ;
    for (; *env && origin.n_env < ENV_MAX; env++)
        if (strncmp(*env, GUARD_ENV "=", sizeof GUARD_ENV) != 0)
            origin.env[origin.n_env++] = *env;
    origin.whole = args && args < ARGS_MAX && (size_t)n < sizeof origin.words - 1 && !*env;
    if (fd >= 0)
        (void)close(fd); /* only read */
}

/* The way out that needs nothing of what the call may hold: whoever waits for its lock waits no more. */
static void begin_anew(void)
{
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    origin.env[origin.n_env] = note;
    if (origin.whole)
        (void)execve("/proc/self/exe", origin.args, origin.env);
    _exit(1);
}

static void on_signal(int number)
{
    if (leaving && number == late_signal())
        begin_anew();
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
static bool make_timer(timer_t *ret)
{
    struct sigevent ev = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = late_signal()};
    ev.sigev_notify_thread_id = gettid();
    return timer_create(CLOCK_MONOTONIC, &ev, ret) == 0;
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

bool guard_left(const char *name)
{
    const char *left = getenv(GUARD_ENV);
    return left && strncmp(left, name, GUARD_NAME_MAX) == 0;
}

bool guard_is_anew(void)
{
    return getenv(GUARD_ENV) != NULL;
}

rc_t guard_call(rc_t (*fn)(void *, struct err *), void *arg, const struct guard_limits *limits, bool *ret_broken,
                struct err *e)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct guard g = {.signal = 0};
    stack_t stack = {.ss_sp = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
                     .ss_size = STACK_BYTES},
            stack_before;
    sigset_t late, mask_before;
    timer_t timer = 0;
    volatile rc_t rc = OK;
    (void)pthread_once(&once, learn_origin); /* valid arguments */
    const bool broke_before = leaving;       /* what is under way with it may go on, and takes the time it takes */
    if (broke_before) {
        leaving = 0;
        (void)timer_delete(way_out);
    } else
        (void)snprintf(note, sizeof note, "%s=%s", GUARD_ENV, limits->name);
    install(); /* at each call: a library may have put its own in their place */
    if (stack.ss_sp == MAP_FAILED)
        return err_set(e, E_AGAIN, "no memory for a signal stack");
    (void)sigaltstack(&stack, &stack_before);
    sigemptyset(&late);
    sigaddset(&late, late_signal());
    (void)pthread_sigmask(SIG_UNBLOCK, &late, &mask_before);
    const bool timed = make_timer(&timer);
    if (sigsetjmp(g.back, 1) == 0) {
        current = &g;
        if (timed && limits->call_us > 0)
            start_timer(timer, limits->call_us); /* from here on there is a way back */
        rc = fn(arg, e);
    }
    current = NULL;
    (void)sigaltstack(&stack_before, NULL);
    (void)munmap(stack.ss_sp, STACK_BYTES);
    *ret_broken = g.signal != 0;
    if (g.signal || broke_before) { /* the timer stays, and its signal open */
        leaving = timed;
        way_out = timer;
        if (timed)
            start_timer(timer, limits->leave_us);
        return g.signal ? tell(g.signal, limits->call_us, e) : rc;
    }
    if (timed)
        (void)timer_delete(timer);
    (void)pthread_sigmask(SIG_SETMASK, &mask_before, NULL);
    return rc;
}
