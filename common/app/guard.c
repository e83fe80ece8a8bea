/* The guard: handlers for what a crash raises and for a timer's signal, which begin the program anew. */
#include "app/guard.h"
#include <fcntl.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
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

/* How this process was begun, with places for one more argument and variable: a handler can neither read nor allocate. Filled once. */
static struct {
    char words[8 << 10];
    char *args[ARGS_MAX + 2], *env[ENV_MAX + 2];
    size_t n_args, n_env;
    bool whole;
} origin;
static _Atomic(char *) next_argument;

/* A handler knows nothing but its thread: "MODELMON_BROKEN_CALL=000 NAME" while a call is under way, else empty. */
#define SIGNAL_AT (sizeof GUARD_ENV)
#define SIGNAL_DIGITS 3
static _Thread_local char note[SIGNAL_AT + SIGNAL_DIGITS + 1 + GUARD_NAME_MAX + 1];
static _Thread_local volatile sig_atomic_t under_way;
static const int crashes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

static int late_signal(void)
{
    return SIGRTMIN + 5;
}

static void learn_origin(void)
{
    const int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd < 0 ? -1 : read(fd, origin.words, sizeof origin.words - 1);
    for (char *p = origin.words; n > 0 && p < origin.words + n && origin.n_args < ARGS_MAX; p += strlen(p) + 1)
        origin.args[origin.n_args++] = p;
    char **env = environ;
    for (; *env && origin.n_env < ENV_MAX; env++)
        if (strncmp(*env, GUARD_ENV "=", sizeof GUARD_ENV) != 0)
            origin.env[origin.n_env++] = *env;
    origin.whole = origin.n_args && origin.n_args < ARGS_MAX && (size_t)n < sizeof origin.words - 1 && !*env;
    if (fd >= 0)
        (void)close(fd); /* only read */
}

/* Needs nothing of what the call may hold. */
static void begin_anew(int number)
{
    sigset_t none;
    for (size_t i = SIGNAL_DIGITS; i-- > 0; number /= 10)
        note[SIGNAL_AT + i] = (char)('0' + number % 10);
    (void)sigemptyset(&none); /* these two cannot fail */
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)close_range(3, ~0u, CLOSE_RANGE_CLOEXEC); /* an old kernel: what libraries left open stays so */
    origin.args[origin.n_args] = atomic_load(&next_argument);
    origin.env[origin.n_env] = note;
    if (origin.whole)
        (void)execve("/proc/self/exe", origin.args, origin.env);
    _exit(1);
}

static void on_signal(int number)
{
    if (under_way)
        begin_anew(number == late_signal() ? 0 : number);
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
static bool start_timer(timer_t *ret, int64_t limit_us)
{
    struct sigevent ev = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = late_signal()};
    const struct itimerspec at = {
        .it_value = {.tv_sec = (time_t)(limit_us / USEC_PER_SEC), .tv_nsec = (long)(limit_us % USEC_PER_SEC) * 1000}};
    ev.sigev_notify_thread_id = gettid();
    if (limit_us <= 0 || timer_create(CLOCK_MONOTONIC, &ev, ret) != 0)
        return false;
    (void)timer_settime(*ret, 0, &at, NULL); /* valid arguments */
    return true;
}

const char *guard_broke(void)
{
    const char *text = getenv(GUARD_ENV);
    return text && strlen(text) > SIGNAL_DIGITS ? text + SIGNAL_DIGITS + 1 : NULL;
}

bool guard_left(const char *name, int64_t limit_us, struct err *words)
{
    const char *broke = guard_broke();
    if (!broke || strncmp(broke, name, GUARD_NAME_MAX) != 0)
        return false;
    const int number = (int)strtol(getenv(GUARD_ENV), NULL, 10);
    if (number)
        (void)err_set(words, E_INVALID, "it crashed: signal %d (%s)", number, strsignal(number));
    else
        (void)err_set(words, E_INVALID, "it did not come back within %lld s", (long long)(limit_us / USEC_PER_SEC));
    return true;
}

void guard_next_argument(char *argument)
{
    atomic_store(&next_argument, argument);
}

rc_t guard_call(rc_t (*fn)(void *, struct err *), void *arg, int64_t limit_us, const char *name, struct err *e)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    stack_t stack = {.ss_sp = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
                     .ss_size = STACK_BYTES},
            stack_before;
    sigset_t late, mask_before;
    timer_t timer = 0;
    if (stack.ss_sp == MAP_FAILED)
        return err_set(e, E_AGAIN, "no memory for a signal stack");
    (void)pthread_once(&once, learn_origin); /* valid arguments */
    (void)snprintf(note, sizeof note, "%s=000 %s", GUARD_ENV, name);
    install(); /* at each call: a library may have put its own in their place */
    (void)sigaltstack(&stack, &stack_before);
    sigemptyset(&late);
    sigaddset(&late, late_signal());
    (void)pthread_sigmask(SIG_UNBLOCK, &late, &mask_before);
    under_way = 1;
    const bool timed = start_timer(&timer, limit_us);
    rc_t rc = fn(arg, e);
    under_way = 0;
    if (timed)
        (void)timer_delete(timer);
    (void)pthread_sigmask(SIG_SETMASK, &mask_before, NULL);
    (void)sigaltstack(&stack_before, NULL);
    (void)munmap(stack.ss_sp, STACK_BYTES);
    return rc;
}
