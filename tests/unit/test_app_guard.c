/* Foreign code that crashes or does not come back: the program begins anew and knows of the call. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "app/guard.h"
#include "base/clock.h"

#define NAME "app topic/0/7"
#define ARGUMENT "--next=1"
#define ANEW_CODE 100 /* and the signal; without one: it was too late */
#define LIMIT_US (100 * USEC_PER_MSEC)

static rc_t fine(void *arg, struct err *e)
{
    ++*(int *)arg;
    return err_set(e, E_AGAIN, "later");
}

static rc_t crash(void *arg, struct err *e)
{
    (void)e;
    (void)raise(*(int *)arg);
    return OK;
}

static rc_t spin(void *arg, struct err *e)
{
    (void)e;
    for (volatile int *n = arg; *n >= 0;)
        *n = 1;
    return OK;
}

static rc_t wait_long(void *arg, struct err *e)
{
    (void)e;
    while (*(int *)arg)
        (void)pause();
    return OK;
}

/* As when the call held malloc's lock: nothing but what a handler may do is done from here on. */
static rc_t hold_lock(void *arg, struct err *e)
{
    static FILE *held;
    (void)e;
    held = tmpfile();
    flockfile(held);
    return wait_long(arg, e);
}

/* What a process whose call broke answers in its next life. */
static int anew(rc_t (*fn)(void *, struct err *), int arg)
{
    const pid_t child = fork();
    if (child == 0) {
        struct err e = {{0}};
        int n = arg;
        static char argument[] = ARGUMENT;
        guard_next_argument(argument);
        (void)!guard_call(fine, &n, LIMIT_US, "another", &e); /* what comes back leaves nothing behind */
        n = arg;
        (void)!guard_call(fn, &n, LIMIT_US, NAME, &e);
        _exit(1);
    }
    int status = -1;
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int next_life(int argc, char **argv)
{
    struct err words = {{0}};
    if (strcmp(guard_broke(), NAME) != 0 || guard_left("another", LIMIT_US, &words) ||
        !guard_left(NAME, 2 * USEC_PER_SEC, &words) || strcmp(argv[argc - 1], ARGUMENT) != 0)
        return 1;
    int number = 0;
    if (sscanf(words.text, "it crashed: signal %d", &number) == 1)
        return ANEW_CODE + number;
    return strcmp(words.text, "it did not come back within 2 s") == 0 ? ANEW_CODE : 2;
}

static void test_what_comes_back_is_left_alone(void **state)
{
    (void)state;
    struct err e = {{0}};
    int n = 0;
    assert_int_equal(guard_call(fine, &n, USEC_PER_SEC, "fine", &e), E_AGAIN);
    assert_int_equal(n, 1);
    assert_string_equal(e.text, "later");
    assert_null(guard_broke());
    assert_false(guard_left("fine", 0, &e));
}

static void test_a_limit_ends_with_its_call(void **state)
{
    (void)state;
    struct err e = {{0}};
    int n = 0;
    assert_int_equal(guard_call(fine, &n, 20 * USEC_PER_MSEC, "fine", &e), E_AGAIN);
    (void)usleep(100000);
    assert_int_equal(guard_call(fine, &n, 0, "fine", &e), E_AGAIN);
    assert_int_equal(n, 2);
}

static void test_a_crash_begins_anew(void **state)
{
    (void)state;
    static const int signals[] = {SIGSEGV, SIGABRT, SIGFPE, SIGBUS, SIGILL};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        assert_int_equal(anew(crash, signals[i]), ANEW_CODE + signals[i]);
}

static void test_a_hang_begins_anew(void **state)
{
    (void)state;
    rc_t (*const hangs[])(void *, struct err *) = {spin, wait_long, hold_lock};
    for (size_t i = 0; i < sizeof hangs / sizeof *hangs; i++) {
        int64_t began = clock_mono_us();
        assert_int_equal(anew(hangs[i], 1), ANEW_CODE);
        assert_true(clock_mono_us() - began >= LIMIT_US);
    }
}

int main(int argc, char **argv)
{
    if (guard_broke())
        return next_life(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_crash_begins_anew),
        cmocka_unit_test(test_a_hang_begins_anew),
        cmocka_unit_test(test_what_comes_back_is_left_alone),
        cmocka_unit_test(test_a_limit_ends_with_its_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
