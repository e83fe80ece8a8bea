/* Contract of deleted endpoints: gone at once, their rows step by step, however many days there are. On PostgreSQL and SQLite. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "../support/testdb.h"
#include "base/clock.h"
#include "base/mem.h"
#include "db/deletion.h"
#include "db/endpoint.h"
#include "db/project.h"

#define S(literal) ((struct str){literal, sizeof literal - 1})
#define DAY (INT64_C(86400) * 1000000)

static struct testdb t;
static struct err e;
static int32_t project;
static int days; /* of the endpoint with many: making the partitions of 620 days takes a minute, so those are the deep stage's */

static void ok(rc_t rc)
{
    if (rc)
        fail_msg("%s: %s", rc_name(rc), e.text);
}

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
    static const char *const dailies[] = {"slots",          "windows",      "manifest", "results",
                                          "app_statistics", "dead_letters", "labels"};
    for (size_t i = 0; i < sizeof dailies / sizeof *dailies; i++) /* dropping the database with all of them takes too long */
        testdb_must(db_days_drop(t.db, dailies[i], days * DAY, NULL, &e), &e, "drop");
    testdb_close(&t);
    return 0;
}

static int64_t made(const char *uid)
{
    struct endpoint in = {.project_id = project, .uid = (char *)uid, .name = (char *)uid, .endpoint_type = 1}, ep = {0};
    ok(endpoint_create(t.db, &in, "inplace", &ep, &e));
    int64_t id = ep.id;
    endpoint_done(&ep);
    return id;
}

/* A row of this endpoint in every table, on every day of [first, first + n). */
static void fill(int64_t id, const char *uid, int first, int n)
{
    static const char *const tables[] = {
        "slots SELECT p, id, d, 1, 0, 1, 1, 't', 0, 5, 1, 1, 0, 1, 1, '' FROM n",
        "windows SELECT p, id, d, d + 1, 0, 1, 1, 0, 1, 1, 1, 1, false, '' FROM n",
        "manifest SELECT p, id, d, 't', 0, 0, 1, 1, 'p', 1, 1, 0, 0, '', 0 FROM n",
        "results SELECT p, id, 1, d, d + 1, 0, 1, 1, 1, '', '', 0 FROM n",
        "app_statistics SELECT p, id, 1, 'n', d, d + 1, 0, 1, '', 0, 0 FROM n",
        "dead_letters (pipeline, topic, partition, \"offset\", at_us, project_id, endpoint_id, reason, error, payload, "
        "size) "
        "SELECT 'p', 't', 0, id, d, p, id, 'r', 'e', '', 0 FROM n",
        "labels SELECT p, uid, uid, d, '1', 0 FROM n",
        "pending_windows SELECT p, id, d, d + 1, 1, 1, '' FROM n",
    };
    const struct db_value whose[] = {DBV_I64(project), DBV_I64(id), DBV_TEXTZ(uid)};
    int64_t *starts = mem_array((size_t)n, sizeof *starts);
    for (int i = 0; i < n; i++)
        starts[i] = (first + i) * DAY;
    ok(db_days_ensure(t.db, starts, (size_t)n, &e));
    mem_free(starts);
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        char sql[768];
        (void)snprintf(sql, sizeof sql,
                       "WITH RECURSIVE k (i) AS (SELECT %d UNION ALL SELECT i + 1 FROM k WHERE i < %d), "
                       "n (d, p, id, uid) AS (SELECT i * %lld, $1, $2, $3 FROM k) INSERT INTO %s",
                       first, first + n - 1, (long long)DAY, tables[i]);
        ok(db_exec(t.db, sql, whose, 3, NULL, &e));
    }
}

static const char *const by_id[] = {"slots",          "windows",      "manifest",       "results",
                                    "app_statistics", "dead_letters", "pending_windows"};

static int64_t rows_of(int64_t id, const char *uid)
{
    char sql[160];
    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM labels WHERE endpoint_uid = '%s'", uid);
    int64_t n = testdb_number(t.db, sql);
    for (size_t i = 0; i < sizeof by_id / sizeof *by_id; i++) {
        (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM %s WHERE endpoint_id = %lld", by_id[i], (long long)id);
        n += testdb_number(t.db, sql);
    }
    return n;
}
enum { TABLES = 8 };

static struct deletion next_one(void)
{
    struct deletion d = {0};
    ok(deletion_next(t.db, INT64_MAX, &d, &e));
    return d;
}

static void an_endpoint_is_gone_at_once_and_its_rows_afterwards(void **state)
{
    (void)state;
    int64_t id = made("u"), other = made("w");
    fill(id, "u", 100, 3);
    fill(other, "w", 101, 3);
    ok(endpoint_delete(t.db, id, &e));
    assert_int_equal(endpoint_delete(t.db, id, &e), E_NOTFOUND);
    struct endpoint ep = {0};
    assert_int_equal(endpoint_get(t.db, project, S("u"), &ep, &e), E_NOTFOUND);
    assert_int_equal(rows_of(id, "u"), 3 * TABLES);
    int64_t again = made("u"); /* of the same uid: nothing of the old one is its own */
    assert_true(again != id);
    fill(again, "new", 100, 3);

    struct deletion d = next_one();
    assert_true(d.endpoint_id == id && d.project_id == project && d.step == DELETION_ROWS);
    assert_string_equal(d.project, "p");
    assert_string_equal(d.uid, "u");
    struct deletion_cursor at = {0};
    bool more = true;
    ok(deletion_rows(t.db, &d, &at, INT64_MAX, &more, &e));
    assert_false(more);
    assert_int_equal(rows_of(id, "u"), 0);
    assert_int_equal(rows_of(other, "w"), 3 * TABLES);
    assert_int_equal(rows_of(again, "new"), 3 * TABLES);

    ok(deletion_set(t.db, id, DELETION_LATE_ROWS, 1000, &e));
    deletion_done(&d);
    assert_int_equal(deletion_next(t.db, 999, &d, &e), E_NOTFOUND);
    ok(deletion_next(t.db, 1000, &d, &e));
    assert_int_equal(d.step, DELETION_LATE_ROWS);
    ok(deletion_end(t.db, id, &e));
    deletion_done(&d);
    assert_int_equal(deletion_next(t.db, INT64_MAX, &d, &e), E_NOTFOUND);
}

/* Far more than one transaction may lock. Whoever does it is killed after a few steps, again and again, and begins anew. */
static void many_days_go_in_steps_whoever_is_killed(void **state)
{
    (void)state;
    int64_t id = made("u"), other = made("w");
    fill(id, "u", 0, days);
    fill(other, "w", days - 2, 2);
    ok(endpoint_delete(t.db, id, &e));
    struct deletion d = next_one();
    bool more = true;
    int64_t left = rows_of(id, "u");
    assert_int_equal(left, days * TABLES);
    for (int life = 1; more; life++) {
        struct deletion_cursor at = {0};
        more = true;
        for (int k = 0; k < life * 20 && more; k++)
            ok(deletion_rows(t.db, &d, &at, 0, &more, &e)); /* one step */
        int64_t now = rows_of(id, "u");
        assert_true(now < left || (!more && now == 0));
        left = now;
    }
    assert_int_equal(left, 0);
    assert_int_equal(rows_of(other, "w"), 2 * TABLES);
    deletion_done(&d);
}

static void who_writes_holds_the_endpoint_or_learns_that_it_is_gone(void **state)
{
    (void)state;
    int64_t id = made("u"), lost = made("x");
    int64_t ids[] = {lost, id, lost}, *gone = NULL;
    size_t n = 0;
    ok(endpoint_delete(t.db, lost, &e));
    ok(db_begin(t.db, &e));
    ok(endpoints_hold(t.db, ids, 3, &gone, &n, &e));
    assert_true(n == 2 && gone[0] == lost && gone[1] == lost);
    mem_free(gone);
    ok(endpoints_hold(t.db, ids, 0, &gone, &n, &e));
    assert_int_equal(n, 0);
    mem_free(gone);
    struct db *second = NULL;
    struct db_config cfg = t.cfg;
    cfg.statement_us = 400000;
    ok(db_open(&second, &cfg, &e));
    assert_int_equal(endpoint_delete(second, id, &e), E_AGAIN); /* waits for us, until its time is up */
    ok(db_commit(t.db, &e));
    for (int i = 0; i < 100 && endpoint_delete(second, id, &e) == E_AGAIN; i++)
        ;
    struct endpoint ep = {0};
    assert_int_equal(endpoint_get_id(t.db, id, &ep, &e), E_NOTFOUND);
    db_free(second);
}

int main(void)
{
    days = getenv("MM_TEST_DEEP") ? 620 : 60;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_endpoint_is_gone_at_once_and_its_rows_afterwards, setup, teardown),
        cmocka_unit_test_setup_teardown(many_days_go_in_steps_whoever_is_killed, setup, teardown),
        cmocka_unit_test_setup_teardown(who_writes_holds_the_endpoint_or_learns_that_it_is_gone, setup, teardown),
    };
    int failed = cmocka_run_group_tests_name("postgres", tests, NULL, NULL);
    testdb_use(true);
    return failed + cmocka_run_group_tests_name("sqlite", tests, NULL, NULL);
}
