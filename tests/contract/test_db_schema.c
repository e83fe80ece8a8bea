/* Contract of the database's shape: migrations, the schema check, days, the leader's lock; on a real PostgreSQL and on SQLite. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "../support/testdb.h"
#include "base/clock.h"
#include "base/mem.h"
#include "db/driver.h"

#define DAY USEC_PER_DAY
#define DAY0 (INT64_C(20416) * DAY) /* 2025-11-24 */

static struct testdb t;
static struct err e;

static int setup(void **state)
{
    (void)state;
    testdb_open(&t, true);
    return 0;
}

static int setup_bare(void **state)
{
    (void)state;
    testdb_open(&t, false);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    testdb_close(&t);
    return 0;
}

static void ok(rc_t rc)
{
    if (rc)
        fail_msg("%s: %s", rc_name(rc), e.text);
}

static void run(const char *sql)
{
    ok(db_exec(t.db, sql, NULL, 0, NULL, &e));
}

/* --- migrations --- */
struct worker {
    pthread_t thread;
    rc_t rc;
    struct err e;
    int64_t day;
};

static void *migrate_one(void *arg)
{
    struct worker *w = arg;
    struct db *db = NULL;
    w->rc = db_open(&db, &t.cfg, &w->e);
    int64_t until = clock_mono_us() + 30 * USEC_PER_SEC;
    if (!w->rc)
        do
            w->rc = db_migrate(db, &w->e);
        while (w->rc == E_AGAIN && clock_mono_us() < until);
    db_free(db);
    return NULL;
}

/* The database does not exist yet either. */
static void four_at_once_migrate_once(void **state)
{
    (void)state;
    struct worker w[4] = {0};
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&w[i].thread, NULL, migrate_one, &w[i]), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(w[i].thread, NULL);
    for (int i = 0; i < 4; i++)
        if (w[i].rc)
            fail_msg("%d: %s: %s", i, rc_name(w[i].rc), w[i].e.text);
    assert_int_equal(testdb_number(t.db, "SELECT count(*) FROM schema_migrations"), migrations_postgres_n);
    assert_int_equal(testdb_number(t.db, "SELECT count(*) FROM schema_migrations WHERE name = '0001_spine' AND "
                                         "length(checksum) = 64 AND applied_us > 1600000000000000"),
                     1);
    ok(db_schema_check(t.db, &e));
    ok(db_migrate(t.db, &e));
}

static void words(char out[100], int have, const char *then)
{
    int newest = migrations_postgres[migrations_postgres_n - 1].version;
    (void)snprintf(out, 100, "database is at %d, this binary wants %d: %s", have, newest, then);
}

static void another_schema_is_told_in_words(void **state)
{
    (void)state;
    struct err why;
    char want[100];
    assert_int_equal(db_schema_check(t.db, &why), E_AGAIN); /* no database at all */
    rc_t rc;
    while ((rc = db_migrate(t.db, &e)) == E_AGAIN && strstr(e.text, "next attempt"))
        usleep(10000);
    ok(rc);
    run("INSERT INTO schema_migrations VALUES (777, '0777_future', 'x', 1)");
    assert_int_equal(db_schema_check(t.db, &e), E_AGAIN);
    words(want, 777, "upgrade the binary");
    assert_string_equal(e.text, want);
    assert_int_equal(db_migrate(t.db, &e), E_AGAIN);
    run("DELETE FROM schema_migrations WHERE version = 777");
    ok(db_schema_check(t.db, &e));
    run("UPDATE schema_migrations SET checksum = 'other'");
    assert_int_equal(db_schema_check(t.db, &e), E_AGAIN);
    assert_non_null(strstr(e.text, "checksum"));
    run("DROP TABLE schema_migrations");
    assert_int_equal(db_schema_check(t.db, &e), E_AGAIN);
    words(want, 0, "migrate it");
    assert_string_equal(e.text, want);
}

/* What services call: with DATABASE_MIGRATE it makes what is missing, without it waits for somebody who does. */
static void readiness_migrates_or_waits(void **state)
{
    (void)state;
    struct db *db = NULL;
    ok(db_open(&db, &t.cfg, &e));
    assert_int_equal(db_ready(db, &e), E_AGAIN);
    assert_non_null(strstr(e.text, t.name)); /* the database that is missing is named */
    struct db_config cfg = t.cfg;
    cfg.migrate = true;
    struct db *migrator = NULL;
    ok(db_open(&migrator, &cfg, &e));
    ok(db_ready(migrator, &e));
    ok(db_ready(migrator, &e));
    int64_t until = clock_mono_us() + 5 * USEC_PER_SEC;
    rc_t rc;
    while ((rc = db_ready(db, &e)) == E_AGAIN && clock_mono_us() < until)
        usleep(10000);
    ok(rc);
    db_free(db);
    db_free(migrator);
}

/* A migration that fails half-way leaves nothing of itself. */
static void a_failed_migration_leaves_nothing(void **state)
{
    (void)state;
    ok(db_migrate(t.db, &e));
    if (testdb_is_sqlite()) /* ledger is gone and slots is there: 0001 will fail on it */
        run("DROP TABLE ledger");
    else
        run("DROP TABLE ledger CASCADE");
    run("DROP TABLE schema_migrations");
    assert_int_not_equal(db_migrate(t.db, &e), OK);
    assert_non_null(strstr(e.text, "0001_spine"));
    assert_int_equal(db_exec(t.db, "SELECT 1 FROM ledger", NULL, 0, NULL, &e), E_FATAL);
    assert_int_equal(db_exec(t.db, "SELECT 1 FROM schema_migrations", NULL, 0, NULL, &e), E_FATAL);
}

/* Who adds a table or a column for one database adds it for the other. */
static void both_databases_have_the_same_columns(void **state)
{
    (void)state;
    static const char *const sql[] = {
        "SELECT table_name || '.' || column_name FROM information_schema.columns WHERE table_schema = 'public' "
        "ORDER BY CAST(table_name AS text) COLLATE \"C\", ordinal_position",
        "SELECT m.name || '.' || c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table' "
        "AND m.name NOT LIKE 'sqlite%' AND m.name <> 'change_seq' ORDER BY m.name, c.cid",
    };
    struct testdb both[2];
    struct db_rows *r[2];
    assert_int_equal(migrations_sqlite_n, migrations_postgres_n);
    for (size_t i = 0; i < migrations_postgres_n; i++)
        assert_string_equal(migrations_sqlite[i].name, migrations_postgres[i].name);
    for (int i = 0; i < 2; i++) {
        testdb_use(i);
        testdb_open(&both[i], true);
        ok(db_exec(both[i].db, sql[i], NULL, 0, &r[i], &e));
    }
    assert_true(db_rows_n(r[0]) > 100);
    for (size_t i = 0; i < db_rows_n(r[0]) && i < db_rows_n(r[1]); i++) {
        CLEANUP(mem_freep) char *postgres = db_dup(r[0], i, 0);
        CLEANUP(mem_freep) char *sqlite = db_dup(r[1], i, 0);
        assert_string_equal(postgres, sqlite);
    }
    assert_int_equal(db_rows_n(r[0]), db_rows_n(r[1]));
    for (int i = 0; i < 2; i++) {
        testdb_use(i);
        db_rows_free(r[i]);
        testdb_close(&both[i]);
    }
}

/* --- days --- */
static int64_t partitions(void)
{
    return testdb_number(t.db, "SELECT count(*) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhparent "
                               "WHERE c.relkind = 'p'");
}

static rc_t slot_insert(int64_t us)
{
    const struct db_value v = DBV_I64(us);
    return db_exec(t.db, "INSERT INTO slots VALUES (1, 1, $1, 60000000, 0, 1, 1, 't', 0, 5, 1, 1, 0, 1, 1, '')", &v, 1,
                   NULL, &e);
}

static void days_are_made(void **state)
{
    (void)state;
    const int64_t days[] = {DAY0 + 7, DAY0 + DAY, DAY0 + 5, DAY0 - 1, -1};
    assert_int_equal(slot_insert(DAY0), E_AGAIN);
    ok(db_days_ensure(t.db, days, 5, &e));
    assert_int_equal(partitions(), 4 * (int64_t)db_dailies_n);
    assert_int_equal(testdb_number(t.db, "SELECT CAST(to_regclass('slots_p20251124') IS NOT NULL AND "
                                         "to_regclass('dead_letters_p20251125') IS NOT NULL AND "
                                         "to_regclass('results_p20251123') IS NOT NULL AND "
                                         "to_regclass('windows_p19691231') IS NOT NULL AS integer)"),
                     1);
    ok(db_days_ensure(t.db, days, 5, &e));
    assert_int_equal(partitions(), 4 * (int64_t)db_dailies_n);
    ok(slot_insert(DAY0));
    ok(slot_insert(DAY0 + 2 * DAY - 1));
    ok(slot_insert(-DAY));
    assert_int_equal(testdb_number(t.db, "SELECT count(*) FROM slots_p20251124"), 1);
    assert_int_equal(testdb_number(t.db, "SELECT count(*) FROM slots_p20251125"), 1);
    assert_int_equal(slot_insert(DAY0), E_CONFLICT); /* the key came along */
    assert_int_equal(slot_insert(DAY0 + 2 * DAY), E_AGAIN);
    /* every index of the table is on the partition */
    assert_int_equal(
        testdb_number(t.db, "SELECT count(*) FROM pg_index WHERE indrelid = 'windows_p20251124'::regclass"),
        testdb_number(t.db, "SELECT count(*) FROM pg_index WHERE indrelid = 'windows'::regclass"));
}

static void impossible_days_are_refused(void **state)
{
    (void)state;
    const int64_t bad[] = {INT64_MAX, INT64_MIN, INT64_C(253402300800000000)};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(db_days_ensure(t.db, &bad[i], 1, &e), E_INVALID);
    ok(db_begin(t.db, &e));
    assert_int_equal(db_days_ensure(t.db, bad, 1, &e), E_FATAL);
    db_rollback(t.db);
}

static void *make_days(void *arg)
{
    struct worker *w = arg;
    struct db *db = NULL;
    int64_t days[40];
    for (int i = 0; i < 40; i++)
        days[i] = DAY0 + ((i * 7 + w->day) % 40) * DAY;
    w->rc = db_open(&db, &t.cfg, &w->e);
    if (!w->rc)
        w->rc = db_days_ensure(db, days, 40, &w->e);
    db_free(db);
    return NULL;
}

static void four_at_once_make_days_once(void **state)
{
    (void)state;
    struct worker w[4] = {{.day = 0}, {.day = 11}, {.day = 23}, {.day = 31}};
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&w[i].thread, NULL, make_days, &w[i]), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(w[i].thread, NULL);
    for (int i = 0; i < 4; i++)
        if (w[i].rc)
            fail_msg("%d: %s: %s", i, rc_name(w[i].rc), w[i].e.text);
    assert_int_equal(partitions(), 40 * (int64_t)db_dailies_n);
}

/* Making a day waits for nobody who reads or writes the table, and nobody for it. */
static void days_do_not_wait_for_writers(void **state)
{
    (void)state;
    const int64_t days[] = {DAY0, DAY0 + DAY};
    struct db *other = NULL;
    ok(db_days_ensure(t.db, days, 1, &e));
    ok(db_open(&other, &t.cfg, &e));
    ok(db_begin(t.db, &e));
    ok(slot_insert(DAY0));
    int64_t before = clock_mono_us();
    ok(db_days_ensure(other, &days[1], 1, &e));
    assert_true(clock_mono_us() - before < 2 * USEC_PER_SEC);
    ok(db_commit(t.db, &e));
    db_free(other);
}

static void old_days_are_dropped(void **state)
{
    (void)state;
    const int64_t days[] = {DAY0, DAY0 + DAY, DAY0 + 2 * DAY};
    int dropped = -1;
    ok(db_days_ensure(t.db, days, 3, &e));
    ok(slot_insert(DAY0));
    ok(slot_insert(DAY0 + DAY));
    ok(db_days_drop(t.db, "slots", DAY0 + DAY - 1, &dropped, &e));
    assert_int_equal(dropped, 0); /* the day ends after the cut */
    ok(db_days_drop(t.db, "slots", DAY0 + DAY, &dropped, &e));
    assert_int_equal(dropped, 1);
    assert_int_equal(testdb_number(t.db, "SELECT count(*) FROM slots"), 1);
    if (!testdb_is_sqlite()) {
        assert_int_equal(partitions(), 3 * (int64_t)db_dailies_n - 1);
        assert_int_equal(slot_insert(DAY0), E_AGAIN);
    }
    ok(db_days_ensure(t.db, days, 1, &e)); /* what was known is not believed any more */
    ok(slot_insert(DAY0));
}

/* Another process drops a day that this connection knows: its row says E_AGAIN, and ensuring helps. */
static void a_day_dropped_elsewhere_comes_back(void **state)
{
    (void)state;
    const int64_t day = DAY0;
    ok(db_days_ensure(t.db, &day, 1, &e));
    struct db *other = NULL;
    ok(db_open(&other, &t.cfg, &e));
    ok(db_days_drop(other, "slots", DAY0 + DAY, NULL, &e));
    db_free(other);
    assert_int_equal(slot_insert(DAY0), E_AGAIN);
    ok(db_days_ensure(t.db, &day, 1, &e));
    ok(slot_insert(DAY0));
}

/* --- the lock --- */
static void one_leads(void **state)
{
    (void)state;
    struct db *other = NULL;
    bool mine = false, theirs = true, elsewhere = false;
    ok(db_open(&other, &t.cfg, &e));
    ok(db_lock_try(t.db, "controller", &mine, &e));
    ok(db_lock_try(other, "controller", &theirs, &e));
    ok(db_lock_try(other, "another", &elsewhere, &e));
    assert_true(mine && !theirs && elsewhere);
    ok(db_lock_try(t.db, "controller", &mine, &e));
    assert_true(mine);
    if (!testdb_is_sqlite())
        assert_int_equal(
            testdb_number(t.db, "SELECT CAST(current_setting('client_connection_check_interval') = '1s' AS integer)"), 1);
    db_free(t.db);
    t.db = NULL;
    int64_t until = clock_mono_us() + 10 * USEC_PER_SEC;
    while (!theirs && clock_mono_us() < until)
        ok(db_lock_try(other, "controller", &theirs, &e));
    assert_true(theirs);
    t.db = other;
}

/* A leader whose connection was ended does not go on believing: it asks anew, and another may have it. */
static void a_lost_lead_is_noticed(void **state)
{
    (void)state;
    struct db *other = NULL;
    bool mine = false, theirs = false;
    ok(db_lock_try(t.db, "controller", &mine, &e));
    assert_true(mine);
    testdb_kill(&t);
    ok(db_open(&other, &t.cfg, &e));
    ok(db_lock_try(other, "controller", &theirs, &e));
    assert_true(theirs);
    rc_t rc = E_AGAIN;
    for (int i = 0; i < 100 && rc == E_AGAIN; i++) {
        rc = db_lock_try(t.db, "controller", &mine, &e);
        usleep(20000);
    }
    ok(rc);
    assert_false(mine);
    db_free(other);
}

int main(void)
{
    int failed = 0;
    const struct CMUnitTest everywhere[] = {
        cmocka_unit_test_setup_teardown(four_at_once_migrate_once, setup_bare, teardown),
        cmocka_unit_test_setup_teardown(another_schema_is_told_in_words, setup_bare, teardown),
        cmocka_unit_test_setup_teardown(readiness_migrates_or_waits, setup_bare, teardown),
        cmocka_unit_test_setup_teardown(a_failed_migration_leaves_nothing, setup_bare, teardown),
        cmocka_unit_test_setup_teardown(impossible_days_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(old_days_are_dropped, setup, teardown),
        cmocka_unit_test_setup_teardown(one_leads, setup, teardown),
    };
    const struct CMUnitTest of_both[] = {
        cmocka_unit_test(both_databases_have_the_same_columns),
    };
    const struct CMUnitTest of_postgres[] = {
        cmocka_unit_test_setup_teardown(days_are_made, setup, teardown),
        cmocka_unit_test_setup_teardown(four_at_once_make_days_once, setup, teardown),
        cmocka_unit_test_setup_teardown(days_do_not_wait_for_writers, setup, teardown),
        cmocka_unit_test_setup_teardown(a_day_dropped_elsewhere_comes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_lead_is_noticed, setup, teardown),
    };
    for (int sqlite = 0; sqlite < 2; sqlite++) {
        print_message("on %s\n", sqlite ? "SQLite" : "PostgreSQL");
        testdb_use(sqlite);
        failed += cmocka_run_group_tests(everywhere, NULL, NULL);
    }
    failed += cmocka_run_group_tests(of_both, NULL, NULL);
    testdb_use(false);
    failed += cmocka_run_group_tests(of_postgres, NULL, NULL);
    return failed;
}
