/* The operations app through the harness. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>
#include "app/harness.h"
#include "base/clock.h"

#include "operations-app/operations_app.c"

#define ROWS 100u
#define START INT64_C(1735689600000000)
#define END (START + 600 * USEC_PER_SEC)

static const char *const features[] = {"a"};

static void must_run(const struct harness_case *c, struct harness_answer *a)
{
    struct err e = {{0}};
    if (harness_run(&operations_app, c, a, &e))
        fail_msg("%s", e.text);
}

/* 100 requests of 1 … 100 ms, n_errors failed ones beside them. */
static struct harness_case make_case(double rows[ROWS], double latency[ROWS], uint64_t n_errors)
{
    for (size_t i = 0; i < ROWS; i++) {
        rows[i] = (double)i;
        latency[i] = (double)(i + 1) * 1000;
    }
    return (struct harness_case){
        .features = features, .n_features = 1, .rows = rows, .n_rows = ROWS, .latency_us = latency, .errors = n_errors};
}

static bool extra_has(const struct app_item *it, const char *text)
{
    return memmem(it->json.p, it->json.n, text, strlen(text)) != NULL;
}

static void test_latencies_are_percentiles(void **state)
{
    (void)state;
    double rows[ROWS], latency[ROWS];
    struct harness_answer a = {0};
    struct harness_case c = make_case(rows, latency, 0);
    must_run(&c, &a);
    const struct app_item *p95 = harness_find(&a, "latency_p95_ms");
    assert_true(fabs(p95->value - 95) < 2); /* a sketch: 1 % */
    assert_true(fabs(harness_find(&a, "latency_p50_ms")->value - 50) < 1.5);
    assert_true(fabs(harness_find(&a, "latency_p99_ms")->value - 99) < 2);
    assert_int_equal(p95->status, STATUS_NO_DETECTION);
    assert_int_equal(p95->kind, KIND_SYSTEM_PERFORMANCE);
    assert_true(extra_has(p95, "\"potential\":1000,\"detected\":5000"));
    const char *const options[] = {"LATENCY_POTENTIAL=50ms", "LATENCY_DETECTED=90ms", NULL};
    c.options = options;
    must_run(&c, &a);
    assert_int_equal(harness_find(&a, "latency_p95_ms")->status, STATUS_DETECTED);
    c.n_rows = 10; /* too few to say */
    must_run(&c, &a);
    assert_int_equal(harness_find(&a, "latency_p95_ms")->status, STATUS_IRRELEVANT);
    assert_true(extra_has(harness_find(&a, "latency_p95_ms"), "insufficient_samples"));
    harness_done(&a);
}

static void test_errors_are_a_share_of_all_requests(void **state)
{
    (void)state;
    double rows[ROWS], latency[ROWS];
    struct harness_answer a = {0};
    struct harness_case c = make_case(rows, latency, 4);
    must_run(&c, &a);
    const struct app_item *errors = harness_find(&a, "error_rate");
    assert_true(errors->value == 4.0 / 104);
    assert_int_equal(errors->status, STATUS_POTENTIAL);
    assert_true(fabs(harness_find(&a, "throughput")->value - 104.0 / 600) < 1e-12);
    c.n_rows = 0; /* a window of failures alone */
    c.errors = 20;
    must_run(&c, &a);
    assert_true(harness_find(&a, "error_rate")->value == 1);
    assert_int_equal(harness_find(&a, "error_rate")->status, STATUS_DETECTED);
    assert_null(harness_find(&a, "latency_p95_ms"));
    harness_done(&a);
}

static void test_arrival_against_a_rate(void **state)
{
    (void)state;
    static const struct {
        const char *option;
        int status;
    } cases[] = {{"ARRIVAL_RATE=0.2", STATUS_NO_DETECTION},
                 {"ARRIVAL_RATE=0.5", STATUS_POTENTIAL},
                 {"ARRIVAL_RATE=5", STATUS_DETECTED},
                 {"ARRIVAL_RATE=0.01", STATUS_IRRELEVANT}}; /* six are expected: chance */
    double rows[ROWS], latency[ROWS];
    struct harness_answer a = {0};
    struct harness_case c = make_case(rows, latency, 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *const options[] = {cases[i].option, NULL};
        c.options = options;
        must_run(&c, &a);
        assert_int_equal(harness_find(&a, "data_arrival")->status, cases[i].status);
    }
    const char *const surge[] = {"ARRIVAL_RATE=0.04", "SURGE_POTENTIAL=2", "SURGE_DETECTED=4", NULL};
    c.options = surge;
    must_run(&c, &a);
    assert_int_equal(harness_find(&a, "data_arrival")->status, STATUS_DETECTED);
    assert_true(extra_has(harness_find(&a, "data_arrival"), "\"surge_potential\":2"));
    harness_done(&a);
}

static void test_arrival_against_the_days_before(void **state)
{
    (void)state;
    double rows[ROWS], latency[ROWS];
    struct harness_earlier days[7];
    struct harness_answer a = {0};
    struct harness_case c = make_case(rows, latency, 0);
    static const int64_t requests[] = {400, 10000, 300, 0, 350, 300, 100}; /* median 300 */
    for (size_t i = 0; i < 7; i++)
        days[i] = (struct harness_earlier){.start_us = START - (int64_t)(i + 1) * USEC_PER_DAY,
                                           .end_us = END - (int64_t)(i + 1) * USEC_PER_DAY,
                                           .totals = {.requests = requests[i]}};
    c.earlier = days;
    c.n_earlier = 7;
    c.first_request_us = START - 30 * USEC_PER_DAY;
    must_run(&c, &a);
    const struct app_item *arrival = harness_find(&a, "data_arrival");
    assert_true(fabs(arrival->value - 100.0 / 300) < 1e-12);
    assert_int_equal(arrival->status, STATUS_POTENTIAL);
    assert_true(extra_has(arrival, "\"expected\":300") && extra_has(arrival, "\"days\":7"));
    c.n_rows = 0; /* nothing came at all */
    must_run(&c, &a);
    arrival = harness_find(&a, "data_arrival");
    assert_true(arrival->value == 0);
    assert_int_equal(arrival->status, STATUS_DETECTED);
    assert_null(harness_find(&a, "error_rate"));
    c.first_request_us = START - 2 * USEC_PER_DAY; /* two days are no history */
    must_run(&c, &a);
    assert_int_equal(harness_find(&a, "data_arrival")->status, STATUS_IRRELEVANT);
    assert_true(extra_has(harness_find(&a, "data_arrival"), "no_history"));
    harness_done(&a);
}

static void test_thresholds_must_fit(void **state)
{
    (void)state;
    static const char *const bad[][3] = {{"LATENCY_POTENTIAL=6s", NULL},
                                         {"ERRORS_DETECTED=0.001", NULL},
                                         {"ARRIVAL_POTENTIAL=1", NULL},
                                         {"SURGE_POTENTIAL=0.5", NULL},
                                         {"ARRIVAL_RATE=-1", NULL}};
    double rows[ROWS], latency[ROWS];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct harness_answer a = {0};
        struct err e = {{0}};
        struct harness_case c = make_case(rows, latency, 0);
        c.options = bad[i];
        assert_int_equal(harness_run(&operations_app, &c, &a, &e), E_INVALID);
        harness_done(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_latencies_are_percentiles), cmocka_unit_test(test_errors_are_a_share_of_all_requests),
        cmocka_unit_test(test_arrival_against_a_rate),    cmocka_unit_test(test_arrival_against_the_days_before),
        cmocka_unit_test(test_thresholds_must_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
