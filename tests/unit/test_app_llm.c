/* The llm app through the harness, on CSV files; and the harness's reader of them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>
#include "app/harness.h"

#include "llm-app/llm_app.c"

struct file {
    char path[32];
};

static struct file write_file(const char *text)
{
    struct file f = {"/tmp/modelmon-csv-XXXXXX"};
    int fd = mkstemp(f.path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    return f;
}

static rc_t read_text(const char *text, const char *labels, struct harness_csv *ret, struct err *e)
{
    struct file f = write_file(text);
    rc_t rc = harness_read_csv(f.path, str_of(labels), ret, e);
    unlink(f.path);
    return rc;
}

static void run_text(const char *text, const char *const *options, struct harness_answer *a)
{
    struct harness_csv c = {0};
    struct err e = {{0}};
    rc_t rc = read_text(text, "answer", &c, &e);
    c.rows.options = options;
    if (!rc)
        rc = harness_run(&llm_app, &c.rows, a, &e);
    if (rc)
        fail_msg("%s", e.text);
    harness_csv_done(&c);
}

static void test_lengths_empty_refused_and_speed(void **state)
{
    (void)state;
    const char *const options[] = {"MIN_ANSWERS=4", NULL};
    struct harness_answer a = {0};
    run_text("prompt,answer,latency,metrics\r\n"
             "abcd,\"Gr\xC3\xBC\xC3\x9F dich, \"\"Welt\"\"\",2000000,\"{\"\"completion_tokens\"\": 40}\"\r\n"
             "abcdef,\"I\xE2\x80\x99m sorry, but no\",1000000,\"{\"\"tokens_per_second\"\":60,\"\"x\"\":[1]}\"\r\n"
             "ab,,1,\r\n"
             "abcdefgh,\" \n \",1,\"{broken\"\r\n",
             options, &a);
    assert_true(harness_find(&a, "prompt_length_mean")->value == 5);
    assert_true(harness_find(&a, "answer_length_mean")->value == (17 + 17 + 0 + 3) / 4.0); /* characters, not bytes */
    assert_true(harness_find(&a, "empty_answers")->value == 0.5);
    assert_int_equal(harness_find(&a, "empty_answers")->status, STATUS_DETECTED);
    assert_int_equal(harness_find(&a, "empty_answers")->kind, KIND_MODEL_PERFORMANCE);
    assert_true(harness_find(&a, "refused_answers")->value == 0.25);
    assert_int_equal(harness_find(&a, "refused_answers")->status, STATUS_POTENTIAL);
    assert_true(harness_find(&a, "tokens_per_second")->value == (20 + 60) / 2.0);
    for (size_t i = 0; i < a.out.n; i++) /* no text of anybody leaves */
        assert_null(memmem(a.events[i].p, a.events[i].n, "Welt", 4));
    harness_done(&a);
}

static void test_own_refusals_and_too_few(void **state)
{
    (void)state;
    const char *const options[] = {"LLM_REFUSALS=nope|no way", NULL};
    struct harness_answer a = {0};
    run_text("prompt,answer\na,NO WAY\nb,I cannot\n", options, &a);
    const struct app_item *refused = harness_find(&a, "refused_answers");
    assert_true(refused->value == 0.5);
    assert_int_equal(refused->status, STATUS_IRRELEVANT);
    assert_null(harness_find(&a, "tokens_per_second"));
    harness_done(&a);
}

static void test_numbers_are_no_language(void **state)
{
    (void)state;
    struct harness_answer a = {0};
    run_text("x,answer\n1,2\n3,4\n", NULL, &a);
    assert_int_equal(a.out.n, 0);
    harness_done(&a);
}

static void test_csv_columns_and_their_types(void **state)
{
    (void)state;
    struct harness_csv c = {0};
    struct err e = {{0}};
    assert_int_equal(read_text("\xEF\xBB\xBF"
                               "a,b,y,error\n1,x,2,\n,\"q,\"\"r\",3,\n4,z,5,boom\n",
                               "y", &c, &e),
                     OK);
    assert_int_equal(c.rows.n_features, 2);
    assert_string_equal(c.rows.features[0], "a"); /* without the byte-order mark */
    assert_string_equal(c.rows.labels[0], "y");
    assert_int_equal(c.rows.n_rows, 2);
    assert_int_equal(c.rows.errors, 1);
    assert_true(c.rows.values[0].kind == STAT_NUMBER && c.rows.values[0].num == 1);
    assert_int_equal(c.rows.values[3].kind, STAT_MISSING);
    assert_true(str_eqz(c.rows.values[4].text, "q,\"r"));
    harness_csv_done(&c);
}

/* As the tool's verbs read a file: what divides is found out, NA is missing, true and false are no text. */
static void test_csv_as_everywhere(void **state)
{
    (void)state;
    struct harness_csv c = {0};
    struct err e = {{0}};
    assert_int_equal(read_text("a;b;error\n1,5;true;false\nNA;false;true\n2,5;true;false\n", "b", &c, &e), OK);
    assert_int_equal(c.rows.n_features, 1);
    assert_int_equal(c.rows.n_labels, 1);
    assert_int_equal(c.rows.n_rows, 2);
    assert_int_equal(c.rows.errors, 1);
    assert_true(c.rows.values[1].kind == STAT_BOOL && c.rows.values[1].num == 1);
    harness_csv_done(&c);
}

static void test_csv_that_is_none(void **state)
{
    (void)state;
    static const char *const bad[] = {"a,b\n1,2,3\n", "1,2\n3,4\n", "a,b\n1,2\n3,4\n5,6\n7,8,9\n",
                                      "a,b\nx,Gr\xFC\xDF\n", ""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct harness_csv c = {0};
        struct err e = {{0}};
        assert_int_equal(read_text(bad[i], "", &c, &e), E_INVALID);
        assert_non_null(strstr(e.text, "/tmp/modelmon-csv-"));
    }
    struct harness_csv c = {0};
    struct err e = {{0}};
    assert_int_equal(harness_read_csv("/nowhere/at.all", STR(""), &c, &e), E_NOTFOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lengths_empty_refused_and_speed),
        cmocka_unit_test(test_own_refusals_and_too_few),
        cmocka_unit_test(test_numbers_are_no_language),
        cmocka_unit_test(test_csv_columns_and_their_types),
        cmocka_unit_test(test_csv_as_everywhere),
        cmocka_unit_test(test_csv_that_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
