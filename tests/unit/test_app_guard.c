/* Foreign code that crashes or does not come back. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "app/guard.h"
#include "base/clock.h"

#define ANEW "app topic/0/7"
#define ANEW_CODE 42

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

static void test_what_comes_back_is_left_alone(void **state)
{
    (void)state;
    struct err e = {{0}};
    bool broken = true;
    int n = 0;
    assert_int_equal(guard_call(fine, &n, &(struct guard_limits){USEC_PER_SEC, USEC_PER_SEC, "fine"}, &broken, &e), E_AGAIN);
    assert_false(broken);
    assert_int_equal(n, 1);
    assert_string_equal(e.text, "later");
}

static void test_a_crash_is_words(void **state)
{
    (void)state;
    int signals[] = {SIGSEGV, SIGABRT, SIGFPE, SIGBUS, SIGILL};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        for (int again = 0; again < 2; again++) {
            struct err e = {{0}};
            bool broken = false;
            assert_int_equal(guard_call(crash, &signals[i], &(struct guard_limits){0, USEC_PER_DAY, "crash"}, &broken, &e),
                             E_INVALID);
            assert_true(broken);
            assert_non_null(strstr(e.text, "it crashed: signal"));
        }
}

static void test_a_hang_ends_at_its_limit(void **state)
{
    (void)state;
    rc_t (*const hangs[])(void *, struct err *) = {spin, wait_long};
    for (size_t i = 0; i < 2; i++) {
        struct err e = {{0}};
        bool broken = false;
        int n = 1;
        int64_t began = clock_mono_us();
        assert_int_equal(
            guard_call(hangs[i], &n, &(struct guard_limits){100 * USEC_PER_MSEC, USEC_PER_DAY, "hang"}, &broken, &e),
            E_INVALID);
        assert_true(broken);
        assert_true(clock_mono_us() - began >= 100 * USEC_PER_MSEC);
        assert_non_null(strstr(e.text, "did not come back"));
    }
}

/* As when the call held malloc's lock: the caller's own way out waits for ever. */
static void test_a_caller_that_waits_for_the_lock_begins_anew(void **state)
{
    (void)state;
    const pid_t child = fork();
    if (child == 0) {
        struct err e = {{0}};
        bool broken = false;
        int n = 1;
        const struct guard_limits limits = {50 * USEC_PER_MSEC, 50 * USEC_PER_MSEC, ANEW};
        (void)!guard_call(wait_long, &n, &limits, &broken, &e);
        for (;;)
            (void)pause();
    }
    assert_true(child > 0);
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), ANEW_CODE);
    assert_false(guard_is_anew());
}

int main(void)
{
    if (guard_is_anew())
        return guard_left(ANEW) && !guard_left("another") ? ANEW_CODE : 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_caller_that_waits_for_the_lock_begins_anew), /* first: the others leave broken calls behind */
        cmocka_unit_test(test_what_comes_back_is_left_alone),
        cmocka_unit_test(test_a_crash_is_words),
        cmocka_unit_test(test_a_hang_ends_at_its_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
