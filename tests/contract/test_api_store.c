/* Contract of the reads that the api alone needs; on a real PostgreSQL and on SQLite. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "../support/testdb.h"
#include "api/store.h"
#include "base/clock.h"
#include "base/mem.h"
#include "db/project.h"
#include "db/result.h"
#include "db/slot.h"

#define MIN (60 * USEC_PER_SEC)
#define T0 (INT64_C(20416) * USEC_PER_DAY)

static struct testdb t;
static struct err e;
static int32_t project;
static int64_t endpoints[3];

static void ok(rc_t rc)
{
    if (rc)
        fail_msg("%s: %s", rc_name(rc), e.text);
}

static void add_results(int32_t metric)
{
    const struct result_row rows[] = {
        {.project_id = project,
         .metric_id = metric,
         .endpoint_id = endpoints[0],
         .start_us = T0,
         .end_us = T0 + MIN,
         .revision = 1,
         .value = 0.25,
         .status = 2,
         .extra = STR("old")},
        {.project_id = project,
         .metric_id = metric,
         .endpoint_id = endpoints[0],
         .start_us = T0 + MIN,
         .end_us = T0 + 2 * MIN,
         .revision = 3,
         .value = 0.5,
         .status = 1,
         .extra = STR("new")},
        {.project_id = project,
         .metric_id = metric,
         .endpoint_id = endpoints[1],
         .start_us = T0,
         .end_us = T0 + MIN,
         .revision = 1,
         .value = (double)NAN,
         .status = -1,
         .extra = STR("")},
    };
    ok(db_begin(t.db, &e));
    ok(results_upsert(t.db, rows, 3, 77, NULL, &e));
    ok(db_commit(t.db, &e));
}

static void add_slots(void)
{
    struct slot_row rows[3];
    for (int i = 0; i < 3; i++)
        rows[i] = (struct slot_row){.project_id = project,
                                    .endpoint_id = endpoints[i / 2],
                                    .slot_start_us = T0 + i * MIN,
                                    .slot_us = MIN,
                                    .topic = STR("t"),
                                    .flush_offset = i,
                                    .requests = 10,
                                    .rows = 20,
                                    .errors = i,
                                    .body = STR("")};
    ok(db_begin(t.db, &e));
    ok(slots_append(t.db, rows, 3, &e));
    ok(db_commit(t.db, &e));
}

static int setup(void **state)
{
    (void)state;
    const int64_t day = T0;
    char *const uids[] = {(char[]){"a"}, (char[]){"b"}, (char[]){"c"}};
    struct project p = {.name = (char[]){"p"}, .base_period_us = MIN};
    int32_t app = 0, metric = 0;
    testdb_open(&t, true);
    ok(project_put(t.db, &p, &e));
    project = p.id;
    ok(db_days_ensure(t.db, &day, 1, &e));
    for (int i = 0; i < 3; i++) {
        struct endpoint in = {.project_id = project, .uid = uids[i], .name = uids[i], .endpoint_type = 1}, ep = {0};
        bool made = false;
        ok(endpoint_register(t.db, &in, NULL, 0, &ep, &made, &e));
        endpoints[i] = ep.id;
        endpoint_done(&ep);
    }
    ok(app_put(t.db, project, "histogram-data-drift", false, true, &app, &e));
    ok(metric_intern(t.db, project, app, METRIC_RESULT, STR("general_drift"), 0, &metric, &e));
    add_results(metric);
    add_slots();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    testdb_close(&t);
    return 0;
}

static void glances_have_sums_and_the_newest(void **state)
{
    (void)state;
    struct glance *g = NULL;
    size_t n = 0;
    ok(store_glances(t.db, project, IDS_ALL, T0, &g, &n, &e));
    assert_int_equal(n, 3);
    assert_true(g[0].endpoint_id == endpoints[0] && g[0].requests == 20 && g[0].rows == 40 && g[0].errors == 1);
    assert_true(g[0].worst_status == 2 && g[0].drift == 0.5 && g[0].drift_status == 1 && g[0].drift_end_us == T0 + 2 * MIN);
    assert_true(g[1].requests == 10 && g[1].errors == 2 && isnan(g[1].drift) && g[1].drift_status == -1 &&
                g[1].drift_end_us == T0 + MIN);
    assert_true(g[2].endpoint_id == endpoints[2] && g[2].requests == 0 && g[2].worst_status == -1 &&
                isnan(g[2].drift) && g[2].drift_end_us == 0);
    mem_free(g);
    ok(store_glances(t.db, project, IDS_ONE(endpoints[1]), T0 + MIN, &g, &n, &e));
    assert_int_equal(n, 1);
    assert_true(g[0].endpoint_id == endpoints[1] && g[0].requests == 10);
    mem_free(g);
}

static void drift_is_read_newest_last(void **state)
{
    (void)state;
    struct drift_point *p = NULL;
    size_t n = 0;
    CLEANUP(db_rows_freep) struct db_rows *held = NULL;
    ok(store_drift(t.db, project, endpoints[0], "histogram-data-drift", "general_drift", 5, &p, &n, &held, &e));
    assert_int_equal(n, 2);
    assert_true(p[0].value == 0.25 && p[0].status == 2 && str_eqz(p[0].extra, "old") && p[0].written_us == 77);
    assert_true(p[1].value == 0.5 && p[1].revision == 3 && p[1].end_us == T0 + 2 * MIN && str_eqz(p[1].extra, "new"));
    mem_free(p);
    db_rows_freep(&held);
    ok(store_drift(t.db, project, endpoints[0], "histogram-data-drift", "general_drift", 1, &p, &n, &held, &e));
    assert_true(n == 1 && p[0].value == 0.5);
    mem_free(p);
}

static void schemas_and_counts_are_read(void **state)
{
    (void)state;
    struct endpoint_schema s;
    struct schema_text *texts = NULL;
    size_t n = 0;
    int64_t count = 0;
    CLEANUP(db_rows_freep) struct db_rows *held = NULL;
    ok(schema_put(t.db, project, endpoints[1], STR("one"), false, NULL, &s, &e));
    endpoint_schema_done(&s);
    ok(schema_put(t.db, project, endpoints[1], STR("two"), true, NULL, &s, &e));
    endpoint_schema_done(&s);
    const struct endpoint_seen seen = {.endpoint_id = endpoints[2], .first_us = T0, .last_us = T0 + MIN};
    ok(endpoints_seen(t.db, &seen, 1, &e));
    ok(store_schemas(t.db, project, IDS_ALL, &texts, &n, &held, &e));
    assert_int_equal(n, 3);
    for (size_t i = 0; i < n; i++) {
        assert_true(texts[i].endpoint_id == endpoints[i]);
        assert_true(texts[i].named == (i == 1) && str_eqz(texts[i].document, i == 1 ? "two" : ""));
        assert_true(texts[i].first_request_us == (i == 2 ? T0 : 0) && texts[i].last_request_us == (i == 2 ? T0 + MIN : 0));
    }
    mem_free(texts);
    ok(store_endpoint_count(t.db, project, &count, &e));
    assert_int_equal(count, 3);
}

int main(void)
{
    int failed = 0;
    const struct CMUnitTest everywhere[] = {
        cmocka_unit_test_setup_teardown(glances_have_sums_and_the_newest, setup, teardown),
        cmocka_unit_test_setup_teardown(drift_is_read_newest_last, setup, teardown),
        cmocka_unit_test_setup_teardown(schemas_and_counts_are_read, setup, teardown),
    };
    for (int sqlite = 0; sqlite < 2; sqlite++) {
        testdb_use(sqlite);
        failed += cmocka_run_group_tests(everywhere, NULL, NULL);
    }
    return failed;
}
