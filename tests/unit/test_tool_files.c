/* What the tool refuses before it has filled the memory, and the demo's verdict. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define FILES_ROOM (INT64_C(1) << 20)
#include "modelmon/demo.h"
#include "modelmon/files.c"

/* A CSV of a number and a text column. */
static void write_csv(char path[32], int rows)
{
    (void)snprintf(path, 32, "/tmp/training-XXXXXX");
    int fd = mkstemp(path);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
    assert_non_null(f);
    (void)fprintf(f, "age,city\n");
    for (int i = 0; i < rows; i++)
        (void)fprintf(f, "%d.5,Rome %d\n", i % 90, i % 7);
    assert_int_equal(fclose(f), 0);
}

static void a_training_set_has_a_limit(void **state)
{
    (void)state;
    static const struct {
        int rows;
        rc_t rc;
    } sizes[] = {{1000, OK}, {60000, E_LIMIT}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char path[32];
        struct training_file t = {0};
        struct err e = {{0}};
        write_csv(path, sizes[i].rows);
        assert_int_equal(training_file_read(&t, path, "city", true, &e), sizes[i].rc);
        if (sizes[i].rc == OK)
            assert_int_equal(t.rows, sizes[i].rows);
        else
            assert_true(strstr(e.text, path) && strstr(e.text, "more than 1 MiB of values"));
        training_file_done(&t);
        assert_int_equal(unlink(path), 0);
    }
}

static void the_demo_says_when_it_went_wrong(void **state)
{
    (void)state;
    for (int before = STATUS_IRRELEVANT; before <= STATUS_DETECTED; before++)
        for (int after = STATUS_IRRELEVANT; after <= STATUS_DETECTED; after++) {
            bool good = (before == 0 || before == 1) && after == 2;
            assert_int_equal(demo_verdict(before, after), good ? 0 : 1);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_training_set_has_a_limit),
        cmocka_unit_test(the_demo_says_when_it_went_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
