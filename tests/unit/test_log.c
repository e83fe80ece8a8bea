/* Log lines: one JSON object each, escaped, levelled, rate-limited, never mixed between threads. */
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <unistd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "log/log.h"

static int pipe_ends[2];

static int setup(void **state)
{
    (void)state;
    assert_int_equal(pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK), 0);
    assert_true(fcntl(pipe_ends[1], F_SETPIPE_SZ, 1 << 20) > 0);
    log_to(pipe_ends[1]);
    log_open("test", LOG_INFO);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    log_to(STDERR_FILENO);
    (void)close(pipe_ends[0]);
    (void)close(pipe_ends[1]);
    return 0;
}

static struct buf written(void)
{
    struct buf b = {0};
    char chunk[4096];
    ssize_t n;
    while ((n = read(pipe_ends[0], chunk, sizeof chunk)) > 0)
        buf_add(&b, chunk, (size_t)n);
    return b;
}

static void assert_ends(const struct buf *b, const char *end)
{
    assert_non_null(b->data);
    size_t n = strlen(end);
    assert_true(b->len > n);
    assert_string_equal(b->data + b->len - n, end);
}

static void fields_become_json(void **state)
{
    (void)state;
    struct err e;
    char words[] = "w";
    (void)err_set(&e, E_AGAIN, "no \"broker\"");
    log_info("flush", LF_I64("rows", 512), LF_F64("rate", 0.5), LF_F64("nan", NAN), LF_BOOL("ok", true),
             LF_STR("topic", STR("a\nb")), LF_STR("z", "text"), LF_STR("w", words), LF_STR("none", (const char *)NULL),
             LF_ERR(&e));
    struct buf b = written();
    assert_ends(
        &b,
        "\"level\":\"info\",\"svc\":\"test\",\"ev\":\"flush\",\"rows\":512,\"rate\":0.5,\"nan\":\"NaN\",\"ok\":true,"
        "\"topic\":\"a\\nb\",\"z\":\"text\",\"w\":\"w\",\"none\":null,\"error\":\"no \\\"broker\\\"\"}\n");
    assert_memory_equal(b.data, "{\"ts\":\"2", 8);
    assert_ptr_equal(strchr(b.data, '\n'), b.data + b.len - 1);
    buf_done(&b);
    log_info("bare");
    b = written();
    assert_ends(&b, "\"ev\":\"bare\"}\n");
    buf_done(&b);
}

static int evaluated;
static int64_t count_evaluation(void)
{
    return ++evaluated;
}

static void levels_are_kept_out(void **state)
{
    (void)state;
    log_debug("quiet", LF_I64("n", count_evaluation()));
    struct buf b = written();
    assert_int_equal(b.len, 0);
    assert_int_equal(evaluated, 0); /* costs nothing */
    log_open("test", LOG_DEBUG);
    log_debug("loud", LF_I64("n", count_evaluation()));
    b = written();
    assert_ends(&b, "\"ev\":\"loud\",\"n\":1}\n");
    buf_done(&b);
}

static int lines(const struct buf *b)
{
    int n = 0;
    for (size_t i = 0; i < b->len; i++)
        n += b->data[i] == '\n';
    return n;
}

static void floods_are_limited(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++)
        log_warn("flood", LF_I64("i", i));
    log_warn("other");
    for (int i = 0; i < 20; i++)
        log_info("flood");
    struct buf b = written();
    assert_int_equal(lines(&b), LOG_BURST + 1 + 20);
    buf_done(&b);
}

static void long_values_are_cut(void **state)
{
    (void)state;
    static char text[5000];
    for (size_t i = 0; i + 2 < sizeof text; i += 2)
        memcpy(text + i, "\xC3\xA9", 2);
    log_info("long", LF_STR("x", (const char *)(text + 0)), LF_I64("after", 1));
    struct buf b = written();
    assert_true(b.len < 1300);
    assert_ends(&b, "\xC3\xA9\",\"after\":1}\n");
    buf_done(&b);
}

static void *chatter(void *arg)
{
    for (int i = 0; i < 300; i++)
        log_info("thread", LF_STR("who", (const char *)arg),
                 LF_STR("pad", "................................................"));
    return NULL;
}

static void threads_do_not_mix(void **state)
{
    (void)state;
    pthread_t t[4];
    static char names[4][2] = {"a", "b", "c", "d"};
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, chatter, names[i]), 0);
    for (int i = 0; i < 4; i++)
        (void)pthread_join(t[i], NULL);
    struct buf b = written();
    assert_int_equal(lines(&b), 1200);
    for (char *line = b.data; *line; line = strchr(line, '\n') + 1) {
        assert_memory_equal(line, "{\"ts\":\"", 7);
        assert_memory_equal(strchr(line, '\n') - 4, "..\"}", 4);
    }
    buf_done(&b);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {CASE(fields_become_json), CASE(levels_are_kept_out), CASE(floods_are_limited),
                                       CASE(long_values_are_cut), CASE(threads_do_not_mix)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
