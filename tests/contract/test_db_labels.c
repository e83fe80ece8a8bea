/* Contract of labels, and of the record that a name means; on a real PostgreSQL and on SQLite. */
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
#include "db/endpoint.h"
#include "db/label.h"
#include "db/project.h"

#define T0 (INT64_C(20416) * USEC_PER_DAY) /* 2025-11-24 */

static struct testdb t;
static struct err e;

static void ok(rc_t rc)
{
    if (rc)
        fail_msg("%s: %s", rc_name(rc), e.text);
}

static int setup(void **state)
{
    (void)state;
    const int64_t days[] = {T0, T0 + USEC_PER_DAY};
    testdb_open(&t, true);
    testdb_must(db_days_ensure(t.db, days, 2, &e), &e, "days");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    testdb_close(&t);
    return 0;
}

static void add(const struct label_row *rows, size_t n)
{
    ok(db_begin(t.db, &e));
    ok(labels_add(t.db, rows, n, 7, &e));
    ok(db_commit(t.db, &e));
}

static void labels_are_kept_once(void **state)
{
    (void)state;
    const struct label_row rows[] = {
        {1, STR("r"), STR(""), STR("1"), T0},
        {1, STR("r"), STR(""), STR("\"other\""), T0}, /* the first stays */
        {1, STR("r"), STR("e"), STR("{\"a\":\"\xc3\xa9\"}"), T0 + USEC_PER_DAY},
        {2, STR("r"), STR(""), STR("[1,2]"), T0},
    };
    add(rows, 4);
    add(rows, 4);
    add(rows, 0);
    assert_int_equal(testdb_number(t.db, "SELECT count(*) FROM labels"), 3);
    struct label_row *got = NULL;
    struct db_rows *owner = NULL;
    size_t n = 0;
    ok(labels_of(t.db, 1, STR("r"), &got, &n, &owner, &e));
    assert_int_equal(n, 2);
    assert_true(got[0].when_us == T0 + USEC_PER_DAY && str_eqz(got[0].endpoint_uid, "e") &&
                str_eqz(got[0].label, "{\"a\":\"\xc3\xa9\"}"));
    assert_true(got[1].project_id == 1 && str_eqz(got[1].label, "1") && got[1].endpoint_uid.n == 0);
    mem_free(got);
    db_rows_free(owner);
    ok(labels_of(t.db, 3, STR("r"), &got, &n, &owner, &e));
    assert_int_equal(n, 0);
    mem_free(got);
    db_rows_free(owner);
}

static void page_is(const char *uid, const char *after, size_t limit, size_t want, const char *first, const char *label)
{
    const struct str uids[LABEL_UIDS] = {str_of(uid), str_of(uid), str_of(uid)};
    struct label_row *got = NULL;
    struct db_rows *owner = NULL;
    size_t n = 0;
    ok(labels_page(t.db, 4, uids, str_of(after), limit, &got, &n, &owner, &e));
    assert_int_equal(n, want);
    if (n) {
        assert_true(str_eqz(got[0].request_id, first));
        assert_true(str_eqz(got[0].label, label));
    }
    mem_free(got);
    db_rows_free(owner);
}

static void a_page_has_the_latest_of_each_request(void **state)
{
    (void)state;
    const struct label_row rows[] = {
        {4, STR("q"), STR(""), STR("1"), T0},
        {4, STR("q"), STR("mine"), STR("2"), T0 + USEC_PER_DAY},
        {4, STR("q"), STR("other"), STR("3"), T0 + USEC_PER_DAY + 1},
        {4, STR("s"), STR(""), STR("4"), T0},
    };
    add(rows, 4);
    page_is("mine", "", 10, 2, "q", "2");
    page_is("mine", "", 1, 1, "q", "2");
    page_is("mine", "q", 10, 1, "s", "4");
    page_is("nobody", "", 10, 2, "q", "1");
    page_is("mine", "s", 10, 0, "", "");
    ok(db_exec(t.db, "DELETE FROM labels WHERE project_id = 4", NULL, 0, NULL, &e));
}

static void labels_leave_by_days(void **state)
{
    (void)state;
    int dropped = 0;
    ok(db_days_drop(t.db, "labels", T0 + USEC_PER_DAY, &dropped, &e));
    assert_int_equal(dropped, 1);
    assert_int_equal(testdb_number(t.db, "SELECT count(*) FROM labels"), 1);
}

static void put(const char *uid, const char *function, bool self, bool latest)
{
    char sql[400];
    (void)snprintf(
        sql, sizeof sql,
        "INSERT INTO endpoints (project_id, uid, name, function_name, self_registered, latest, created_us, updated_us) "
        "SELECT id, '%s', 'm', '%s', %s, %s, 1, 1 FROM projects WHERE name = 'p'",
        uid, function, self ? "true" : "false", latest ? "true" : "false");
    ok(db_exec(t.db, sql, NULL, 0, NULL, &e));
}

static void means(const char *function, const char *uid)
{
    struct endpoint ep = {0};
    int32_t project = (int32_t)testdb_number(t.db, "SELECT id FROM projects WHERE name = 'p'");
    rc_t rc = endpoint_get_named(t.db, project, STR("m"), str_of(function), &ep, &e);
    if (!uid) {
        assert_int_equal(rc, E_NOTFOUND);
        return;
    }
    ok(rc);
    assert_string_equal(ep.uid, uid);
    endpoint_done(&ep);
}

static void what_a_name_means(void **state)
{
    (void)state;
    ok(db_exec(t.db, "INSERT INTO projects (name, created_us, updated_us) VALUES ('p', 1, 1)", NULL, 0, NULL, &e));
    means("", NULL);
    put("of-f", "f", false, true);
    means("", "of-f");
    means("f", "of-f");
    means("g", NULL);
    put("any", "", true, true);
    means("g", "any");
    means("f", "of-f");
    means("", "any"); /* the name alone is its name */
    put("old", "h", false, false);
    put("new", "h", false, true);
    put("older", "h", false, false);
    means("h", "new");
}

static int on_sqlite(void **state)
{
    testdb_use(true);
    return setup(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(labels_are_kept_once),
        cmocka_unit_test(a_page_has_the_latest_of_each_request),
        cmocka_unit_test(labels_leave_by_days),
        cmocka_unit_test(what_a_name_means),
    };
    int failed = cmocka_run_group_tests_name("postgres", tests, setup, teardown);
    return failed + cmocka_run_group_tests_name("sqlite", tests, on_sqlite, teardown);
}
