/* What an app's loader remembers between windows: references and layouts up to 8 MiB, then it begins anew. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>
#include "../support/testdb.h"
#include "app/input.h"
#include "base/clock.h"
#include "base/mem.h"
#include "db/endpoint.h"
#include "db/project.h"
#include "stats/reference.h"

#define ENDPOINTS 60
#define FEATURES 500u
#define VALUES 256
#define REMEMBERED_MAX (8u << 20)
#define START_US INT64_C(1735689600000000)

static struct testdb t;
static struct err e;
static int32_t project;

static int setup(void **state)
{
    (void)state;
    testdb_open(&t, true);
    struct project p = {.name = (char[]){"p"}, .base_period_us = 600000000, .monitoring = true};
    testdb_must(project_put(t.db, &p, &e), &e, "project");
    project = p.id;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    testdb_close(&t);
    return 0;
}

static void training_set(struct buf *out)
{
    struct reference *ref = reference_new();
    double v[VALUES];
    for (size_t i = 0; i < FEATURES; i++) {
        char name[24];
        int n = snprintf(name, sizeof name, "feature_%zu", i);
        for (int k = 0; k < VALUES; k++)
            v[k] = k * 0.37 + (double)i;
        testdb_must(reference_add_f64(ref, (struct str){name, (size_t)n}, false, v, VALUES, &e), &e, "feature");
    }
    reference_to_json(ref, false, out);
    reference_free(ref);
}

static void make_endpoints(char uids[ENDPOINTS][24])
{
    CLEANUP(buf_done) struct buf statistics = {0};
    training_set(&statistics);
    for (int i = 0; i < ENDPOINTS; i++) {
        int version = 0;
        (void)snprintf(uids[i], sizeof uids[i], "endpoint-%d", i);
        struct endpoint in = {.project_id = project, .uid = uids[i], .name = uids[i], .endpoint_type = 1}, ep = {0};
        testdb_must(endpoint_create(t.db, &in, "inplace", &ep, &e), &e, "endpoint");
        testdb_must(reference_put(t.db, project, ep.id, buf_str(&statistics), STR("[]"), "test", &version, &e), &e,
                    "reference");
        endpoint_done(&ep);
    }
}

/* Loads an empty window of it; returns the bytes of its reference. */
static size_t load(struct input_loader *l, char *uid)
{
    struct arena mem = {0};
    struct app_input in = {0};
    struct slot *window = NULL;
    struct reject why = {0};
    const struct window_event ev = {.project = STR("p"),
                                    .endpoint_id = str_of(uid),
                                    .start_us = START_US,
                                    .end_us = START_US + 600000000,
                                    .reference_version = 1};
    testdb_must(input_load(l, t.db, project, &ev, &mem, &in, &window, &why, &e), &e, why.text);
    assert_non_null(in.reference);
    assert_int_equal(in.reference->n, FEATURES);
    assert_string_equal(in.endpoint->uid, uid);
    size_t bytes = reference_bytes(in.reference);
    slot_free(window);
    arena_done(&mem);
    return bytes;
}

static void test_what_is_remembered_has_a_bound(void **state)
{
    (void)state;
    char uids[ENDPOINTS][24];
    struct input_loader l = {.shapes_max = 100000};
    size_t all = 0, most = 0;
    make_endpoints(uids);
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < ENDPOINTS; i++) {
            size_t before = l.held, one = load(&l, uids[i]);
            all += one;
            most = l.held > most ? l.held : most;
            if (l.held > before)
                assert_true(l.held <= REMEMBERED_MAX + 8 * one); /* what brought it over, and its layout */
        }
    assert_true(all > 2 * REMEMBERED_MAX); /* else the bound was not needed */
    assert_true(most > REMEMBERED_MAX / 2 && most < 2 * REMEMBERED_MAX);
    assert_true(l.references.len < ENDPOINTS);
    int last = ENDPOINTS - 1;
    while (l.held > REMEMBERED_MAX) /* what is over the bound goes when the next comes */
        (void)load(&l, uids[++last % ENDPOINTS]);
    size_t held = l.held;
    (void)load(&l, uids[last % ENDPOINTS]);
    assert_int_equal(l.held, held); /* it is still there */
    input_loader_done(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_what_is_remembered_has_a_bound, setup, teardown)};
    testdb_use(true);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
