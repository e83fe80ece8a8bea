/* Contract of the database seam: values, errors, transactions, lost connections, COPY; on a real PostgreSQL and on SQLite. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "../support/proxy.h"
#include "../support/testdb.h"
#include "base/clock.h"
#include "base/mem.h"

#define P(...)                                                                                                         \
    (const struct db_value[]){__VA_ARGS__}, sizeof((const struct db_value[]){__VA_ARGS__}) / sizeof(struct db_value)

static struct testdb t;
static struct err e;

static int setup(void **state)
{
    (void)state;
    testdb_open(&t, true);
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

/* --- values --- */
static void values_come_back_as_they_went(void **state)
{
    (void)state;
    const char bytes[] = {0, 1, (char)0xff, 0, 'x'};
    CLEANUP(db_rows_freep) struct db_rows *r = NULL;
    ok(db_exec(t.db, "SELECT $1, $2, $3, $4, $5, $6, CAST($7 AS text), $8, $9, $10",
               P(DBV_I64(INT64_MIN), DBV_I64(INT64_MAX), DBV_F64(-0.1), DBV_BOOL(true), DBV_TEXTZ("ä\n\"'\\ 🙂"),
                 DBV_BYTES(((struct str){bytes, sizeof bytes})), DBV_NULL, DBV_F64((double)NAN),
                 DBV_F64((double)-INFINITY), DBV_TEXTZ("")),
               &r, &e));
    assert_int_equal(db_rows_n(r), 1);
    assert_true(db_i64(r, 0, 0) == INT64_MIN && db_i64(r, 0, 1) == INT64_MAX);
    assert_true(db_f64(r, 0, 2) == -0.1);
    assert_true(db_bool(r, 0, 3));
    assert_true(str_eqz(db_text(r, 0, 4), "ä\n\"'\\ 🙂"));
    assert_true(str_eq(db_text(r, 0, 5), (struct str){bytes, sizeof bytes}));
    assert_true(db_null(r, 0, 6) && !db_null(r, 0, 9));
    assert_int_equal(db_text(r, 0, 6).n, 0);
    assert_true(isnan(db_f64(r, 0, 7)) && db_f64(r, 0, 8) < 0 && isinf(db_f64(r, 0, 8)));
    assert_int_equal(db_text(r, 0, 9).n, 0);
}

static void types_of_the_server_are_read(void **state)
{
    (void)state;
    CLEANUP(db_rows_freep) struct db_rows *r = NULL;
    ok(db_exec(t.db,
               "SELECT CAST(-7 AS smallint), CAST(-8 AS integer), CAST(1.5 AS real), '{\"a\": 1}'::jsonb, "
               "'{\"a\":1}'::json, CAST('n' AS name), CAST(4294967295 AS oid)",
               NULL, 0, &r, &e));
    assert_int_equal(db_i64(r, 0, 0), -7);
    assert_int_equal(db_i64(r, 0, 1), -8);
    assert_true(db_f64(r, 0, 2) == 1.5);
    assert_true(str_eqz(db_text(r, 0, 3), "{\"a\": 1}"));
    assert_true(str_eqz(db_text(r, 0, 4), "{\"a\":1}"));
    assert_true(str_eqz(db_text(r, 0, 5), "n"));
    assert_true(db_i64(r, 0, 6) == 4294967295);
    db_rows_freep(&r);
    assert_int_equal(db_exec(t.db, "SELECT 1.5::numeric", NULL, 0, &r, &e), E_FATAL);
    assert_non_null(strstr(e.text, "type"));
    assert_null(r);
}

/* The same text with a NULL first must not settle the parameter's type for later. */
static void null_does_not_settle_a_type(void **state)
{
    (void)state;
    run("CREATE TABLE n (i integer, s text)");
    const char *sql = "INSERT INTO n VALUES ($1, $2)";
    ok(db_exec(t.db, sql, P(DBV_NULL, DBV_NULL), NULL, &e));
    ok(db_exec(t.db, sql, P(DBV_I64(5), DBV_TEXTZ("x")), NULL, &e));
    assert_int_equal(testdb_number(t.db, "SELECT CAST(sum(i) AS bigint) FROM n"), 5);
}

static void affected_rows_are_counted(void **state)
{
    (void)state;
    run("CREATE TABLE c (i integer)");
    CLEANUP(db_rows_freep) struct db_rows *r = NULL;
    ok(db_exec(t.db, "INSERT INTO c VALUES (1), (2), (3), (4), (5), (6), (7)", NULL, 0, &r, &e));
    assert_int_equal(db_rows_affected(r), 7);
    assert_int_equal(db_rows_n(r), 0);
    db_rows_freep(&r);
    ok(db_exec(t.db, "DELETE FROM c WHERE i > 4 RETURNING i", NULL, 0, &r, &e));
    assert_int_equal(db_rows_affected(r), 3);
    assert_int_equal(db_rows_n(r), 3);
}

static void nul_in_text_is_refused(void **state)
{
    (void)state;
    struct str bad = {"a\0b", 3};
    assert_int_equal(db_exec(t.db, "SELECT $1", P(DBV_TEXT(bad)), NULL, &e), E_INVALID);
    run("CREATE TABLE z (s text)");
    struct db_value v = DBV_TEXT(bad);
    assert_int_equal(db_copy(t.db, "z", "s", &v, 1, 1, &e), E_INVALID);
    assert_non_null(strstr(e.text, "NUL"));
    assert_int_equal(testdb_number(t.db, "SELECT count(*) FROM z"), 0);
}

static void many_texts_do_not_pile_up(void **state)
{
    (void)state;
    for (int i = 0; i < 600; i++) {
        char sql[64];
        snprintf(sql, sizeof sql, "SELECT %d, $1", i);
        ok(db_exec(t.db, sql, P(DBV_I64(i)), NULL, &e));
    }
    if (!testdb_is_sqlite())
        assert_in_range(testdb_number(t.db, "SELECT count(*) FROM pg_prepared_statements"), 1, 257);
}

/* --- errors --- */
static void errors_say_what_to_do(void **state)
{
    (void)state;
    run("CREATE TABLE u (i integer PRIMARY KEY, p integer REFERENCES u)");
    run("INSERT INTO u VALUES (1, NULL)");
    run("CREATE TABLE w (i integer NOT NULL)");
    const struct {
        const char *sql;
        rc_t rc;
        bool server; /* only a server says this */
    } rows[] = {
        {"INSERT INTO u VALUES (1, NULL)", E_CONFLICT, false}, /* 23505 */
        {"INSERT INTO u VALUES (2, 9)", E_CONFLICT, false},    /* 23503 */
        {"INSERT INTO w VALUES (NULL)", E_CONFLICT, false},    /* 23502 */
        {"SELECT 1 / 0", E_INVALID, true},                     /* 22012 */
        {"SELECT CAST('x' AS integer)", E_INVALID, true},      /* 22P02 */
        {"SELECT CAST(3000000000 AS integer)", E_INVALID, true},
        {"SELECT nonsense FROM u", E_FATAL, false}, /* 42703 */
        {"SELEC 1", E_FATAL, false},                /* 42601 */
        {"SELECT * FROM nowhere", E_FATAL, false},  /* 42P01 */
        {"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40001'; END $$", E_AGAIN, true},
        {"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40P01'; END $$", E_AGAIN, true},
        {"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '55P03'; END $$", E_AGAIN, true},
        {"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '53100'; END $$", E_AGAIN, true},
        {"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '53300'; END $$", E_AGAIN, true},
        {"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '57P03'; END $$", E_AGAIN, true},
        {"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '08006'; END $$", E_AGAIN, true},
        {"DO $$ BEGIN RAISE EXCEPTION 'x'; END $$", E_FATAL, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].server && testdb_is_sqlite())
            continue;
        rc_t rc = db_exec(t.db, rows[i].sql, NULL, 0, NULL, &e);
        if (rc != rows[i].rc)
            fail_msg("%s: %s (%s)", rows[i].sql, rc_name(rc), e.text);
        assert_true(db_alive(t.db));
    }
    assert_int_equal(db_exec(t.db, "SELECT $1", P(DBV_TEXT(((struct str){"\xff\xfe", 2}))), NULL, &e), E_INVALID);
}

static void bad_urls_are_told_at_once(void **state)
{
    (void)state;
    const char *urls[] = {"",
                          "mysql://h/d",
                          "nonsense",
                          "postgresql://u:secret@h:notaport:1/d?x=y",
                          "sqlite://",
                          "sqlite://not/absolute",
                          "sqlite:///a/folder/",
                          "sqlite:///a?mode=memory"};
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct db_config cfg = {.url = (char *)urls[i]};
        struct db *db = NULL;
        assert_int_equal(db_open(&db, &cfg, &e), E_INVALID);
        assert_null(db);
        assert_null(strstr(e.text, "secret"));
    }
}

static void sessions_are_set_up(void **state)
{
    (void)state;
    assert_int_equal(testdb_number(t.db, "SELECT CAST(current_setting('statement_timeout') = '30s' AS integer)"), 1);
    assert_int_equal(testdb_number(t.db, "SELECT CAST(current_setting('lock_timeout') = '5s' AS integer)"), 1);
    assert_int_equal(
        testdb_number(t.db, "SELECT CAST(current_setting('idle_in_transaction_session_timeout') = '15s' AS integer)"), 1);
    assert_int_equal(testdb_number(t.db, "SELECT CAST(current_setting('client_encoding') = 'UTF8' AS integer)"), 1);
    assert_int_equal(
        testdb_number(t.db, "SELECT CAST(current_setting('application_name') = 'modelmon-test' AS integer)"), 1);
    struct db_config cfg = t.cfg;
    CLEANUP(buf_done) struct buf url = {0};
    buf_addf(&url, "%s%s", t.url, strchr(t.url, '?') ? "&" : "?");
    buf_addz(&url, "options=-c%20statement_timeout%3D7s&application_name=mine");
    cfg.url = url.data;
    struct db *db = NULL;
    ok(db_open(&db, &cfg, &e));
    assert_int_equal(testdb_number(db, "SELECT CAST(current_setting('statement_timeout') = '7s' AS integer)"), 1);
    assert_int_equal(testdb_number(db, "SELECT CAST(current_setting('lock_timeout') = '5s' AS integer)"), 1);
    assert_int_equal(testdb_number(db, "SELECT CAST(current_setting('application_name') = 'mine' AS integer)"), 1);
    db_free(db);
}

/* --- transactions --- */
static void transactions_commit_and_roll_back(void **state)
{
    (void)state;
    run("CREATE TABLE x (i integer)");
    ok(db_begin(t.db, &e));
    run("INSERT INTO x VALUES (1)");
    db_rollback(t.db);
    db_rollback(t.db);
    assert_int_equal(testdb_number(t.db, "SELECT count(*) FROM x"), 0);
    ok(db_begin(t.db, &e));
    run("INSERT INTO x VALUES (2)");
    assert_int_equal(db_begin(t.db, &e), E_FATAL);
    ok(db_commit(t.db, &e));
    assert_int_equal(testdb_number(t.db, "SELECT count(*) FROM x"), 1);
    assert_int_equal(db_commit(t.db, &e), E_FATAL);
}

/* PostgreSQL answers ROLLBACK, and no error, to the COMMIT of a failed transaction. */
static void a_failed_transaction_is_not_committed(void **state)
{
    (void)state;
    run("CREATE TABLE f (i integer PRIMARY KEY)");
    ok(db_begin(t.db, &e));
    run("INSERT INTO f VALUES (1)");
    assert_int_equal(db_exec(t.db, "INSERT INTO f VALUES (1)", NULL, 0, NULL, &e), E_CONFLICT);
    assert_int_equal(db_commit(t.db, &e), E_AGAIN);
    assert_int_equal(testdb_number(t.db, "SELECT count(*) FROM f"), 0);
}

/* --- lost connections --- */
static void an_idle_connection_is_remade_unnoticed(void **state)
{
    (void)state;
    assert_int_equal(testdb_number(t.db, "SELECT 1"), 1);
    int64_t before = testdb_number(t.db, "SELECT pg_backend_pid()");
    testdb_kill(&t);
    rc_t rc = E_AGAIN;
    for (int i = 0; i < 50 && rc == E_AGAIN; i++) { /* the news may come a moment after the backend's end */
        rc = db_exec(t.db, "SELECT 1", NULL, 0, NULL, &e);
        if (rc == E_AGAIN)
            usleep(50000);
    }
    ok(rc);
    assert_true(db_alive(t.db));
    assert_true(testdb_number(t.db, "SELECT pg_backend_pid()") != before);
}

static void a_transaction_ends_with_its_connection(void **state)
{
    (void)state;
    run("CREATE TABLE l (i integer)");
    ok(db_begin(t.db, &e));
    run("INSERT INTO l VALUES (1)");
    testdb_kill(&t);
    assert_int_equal(db_exec(t.db, "INSERT INTO l VALUES (2)", NULL, 0, NULL, &e), E_AGAIN);
    assert_int_equal(db_exec(t.db, "INSERT INTO l VALUES (3)", NULL, 0, NULL, &e), E_AGAIN);
    assert_int_equal(db_commit(t.db, &e), E_AGAIN);
    db_rollback(t.db);
    int64_t until = clock_mono_us() + 5 * USEC_PER_SEC;
    rc_t rc;
    while ((rc = db_begin(t.db, &e)) == E_AGAIN && clock_mono_us() < until)
        usleep(20000);
    ok(rc);
    assert_int_equal(testdb_number(t.db, "SELECT count(*) FROM l"), 0);
    ok(db_commit(t.db, &e));
}

static struct db *through(struct proxy *p, int64_t statement_us)
{
    struct db *db = NULL;
    CLEANUP(mem_freep) char *url = testdb_url(t.name, proxy_port(p));
    struct db_config cfg = {
        .url = url, .connect_us = USEC_PER_SEC, .statement_us = statement_us, .app_name = (char[]){"modelmon-test"}};
    ok(db_open(&db, &cfg, &e));
    return db;
}

/* The bytes of COMMIT reach the server or not: the client cannot know, and must say so. */
static void a_lost_answer_to_commit_is_unknown(void **state)
{
    (void)state;
    struct proxy *p = proxy_start(testdb_port());
    struct db *db = through(p, 5 * USEC_PER_SEC);
    run("CREATE TABLE k (i integer)");
    for (int reaches = 0; reaches < 2; reaches++) {
        proxy_set(p, PROXY_PASS, NULL);
        rc_t rc;
        while ((rc = db_begin(db, &e)) == E_AGAIN)
            usleep(20000);
        ok(rc);
        ok(db_exec(db, "INSERT INTO k VALUES ($1)", P(DBV_I64(reaches)), NULL, &e));
        proxy_set(p, reaches ? PROXY_EAT_REPLY : PROXY_EAT_REQUEST, "COMMIT");
        assert_int_equal(db_commit(db, &e), E_UNKNOWN);
        char sql[64];
        snprintf(sql, sizeof sql, "SELECT count(*) FROM k WHERE i = %d", reaches);
        assert_int_equal(testdb_number(t.db, sql), reaches);
    }
    db_free(db);
    proxy_stop(p);
}

static void a_silent_server_costs_a_bounded_time(void **state)
{
    (void)state;
    struct proxy *p = proxy_start(testdb_port());
    struct db *db = through(p, 300 * USEC_PER_MSEC);
    ok(db_exec(db, "SELECT 1", NULL, 0, NULL, &e));
    int64_t before = clock_mono_us();
    assert_int_equal(db_exec(db, "SELECT pg_sleep(20)", NULL, 0, NULL, &e), E_AGAIN); /* the server's own time-out */
    assert_true(db_alive(db) && clock_mono_us() - before < USEC_PER_SEC);
    proxy_set(p, PROXY_STALL, NULL);
    before = clock_mono_us();
    assert_int_equal(db_exec(db, "SELECT 2", NULL, 0, NULL, &e), E_AGAIN);
    assert_in_range(clock_mono_us() - before, 1200 * USEC_PER_MSEC, 2500 * USEC_PER_MSEC);
    assert_false(db_alive(db));
    usleep(120000);
    before = clock_mono_us();
    assert_int_equal(db_exec(db, "SELECT 3", NULL, 0, NULL, &e), E_AGAIN); /* connecting takes a second at most */
    assert_in_range(clock_mono_us() - before, 900 * USEC_PER_MSEC, 2 * USEC_PER_SEC);
    before = clock_mono_us();
    assert_int_equal(db_exec(db, "SELECT 4", NULL, 0, NULL, &e), E_AGAIN); /* and then the back-off answers */
    assert_true(clock_mono_us() - before < 50 * USEC_PER_MSEC);
    assert_non_null(strstr(e.text, "next attempt"));
    proxy_set(p, PROXY_PASS, NULL);
    int64_t until = clock_mono_us() + 5 * USEC_PER_SEC;
    rc_t rc;
    while ((rc = db_exec(db, "SELECT 5", NULL, 0, NULL, &e)) == E_AGAIN && clock_mono_us() < until)
        usleep(10000);
    ok(rc);
    db_free(db);
    proxy_stop(p);
}

static void a_server_that_is_down_is_waited_for(void **state)
{
    (void)state;
    struct proxy *p = proxy_start(testdb_port());
    proxy_set(p, PROXY_CUT, NULL);
    struct db *db = through(p, USEC_PER_SEC);
    int tries = 0, attempts = 0;
    int64_t until = clock_mono_us() + 1600 * USEC_PER_MSEC;
    for (; clock_mono_us() < until; tries++) {
        assert_int_equal(db_exec(db, "SELECT 1", NULL, 0, NULL, &e), E_AGAIN);
        attempts += strstr(e.text, "next attempt") == NULL;
        usleep(2000);
    }
    assert_true(tries > 50);
    assert_in_range(attempts, 3, 5); /* at 0, 0.1, 0.3, 0.7, 1.5 s */
    db_free(db);
    proxy_stop(p);
}

/* --- bulk --- */
static void copy_brings_every_type(void **state)
{
    (void)state;
    run("CREATE TABLE b (a smallint, b integer, c bigint, d double precision, e boolean, f text, g bytea)");
    enum { N = 20000, COLS = 7 };
    CLEANUP(mem_freep) struct db_value *v = mem_array((size_t)N * COLS, sizeof *v);
    CLEANUP(mem_freep) char *big = mem_dup("", 0);
    big = mem_grow(big, 300000, 1);
    memset(big, 'q', 300000);
    for (int i = 0; i < N; i++) {
        struct db_value row[COLS] = {DBV_I64(i % 100 - 50),
                                     DBV_I64(-i),
                                     DBV_I64((int64_t)i << 40),
                                     DBV_F64(i / 7.0),
                                     DBV_BOOL(i % 2),
                                     DBV_TEXTZ("tab\there"),
                                     DBV_BYTES(((struct str){"\0\xff", 2}))};
        if (i == 5)
            row[5] = DBV_TEXT(((struct str){big, 300000}));
        if (i == 6)
            row[0] = row[1] = row[2] = row[3] = row[4] = row[5] = row[6] = DBV_NULL;
        memcpy(&v[i * COLS], row, sizeof row);
    }
    ok(db_copy(t.db, "b", "a, b, c, d, e, f, g", v, N, COLS, &e));
    assert_int_equal(testdb_number(t.db, "SELECT count(*) FROM b"), N);
    assert_int_equal(testdb_number(t.db, "SELECT count(*) FROM b WHERE a IS NULL AND f IS NULL AND g IS NULL"), 1);
    assert_int_equal(testdb_number(t.db, "SELECT max(length(f)) FROM b"), 300000);
    CLEANUP(db_rows_freep) struct db_rows *r = NULL;
    ok(db_exec(t.db, "SELECT a, b, c, d, e, f, g FROM b WHERE b = -19999 AND c = $1 AND d = $2 AND e AND a = 49 AND g = $3",
               P(DBV_I64((int64_t)19999 << 40), DBV_F64(19999 / 7.0), DBV_BYTES(((struct str){"\0\xff", 2}))), &r, &e));
    assert_int_equal(db_rows_n(r), 1);
    assert_true(db_i64(r, 0, 0) == 49 && db_bool(r, 0, 4) && db_f64(r, 0, 3) == 19999 / 7.0);
    assert_true(str_eqz(db_text(r, 0, 5), "tab\there") && str_eq(db_text(r, 0, 6), (struct str){"\0\xff", 2}));
    ok(db_copy(t.db, "b", "a", v, 0, 1, &e));
}

static void a_failed_copy_leaves_nothing(void **state)
{
    (void)state;
    run("CREATE TABLE d (i smallint PRIMARY KEY, s text)");
    struct db_value twice[] = {DBV_I64(1), DBV_NULL, DBV_I64(1), DBV_NULL};
    assert_int_equal(db_copy(t.db, "d", "i, s", twice, 2, 2, &e), E_CONFLICT);
    struct db_value large[] = {DBV_I64(1), DBV_NULL, DBV_I64(70000), DBV_NULL};
    assert_int_equal(db_copy(t.db, "d", "i, s", large, 2, 2, &e), E_INVALID);
    struct db_value wrong[] = {DBV_F64(1), DBV_NULL};
    assert_int_equal(db_copy(t.db, "d", "i, s", wrong, 1, 2, &e), E_FATAL);
    assert_int_equal(db_copy(t.db, "d", "i", wrong, 1, 2, &e), E_FATAL);
    assert_int_equal(db_copy(t.db, "nowhere", "i", wrong, 1, 1, &e), E_FATAL);
    assert_int_equal(testdb_number(t.db, "SELECT count(*) FROM d"), 0);
    ok(db_copy(t.db, "d", "i, s", twice, 1, 2, &e));
    assert_int_equal(testdb_number(t.db, "SELECT count(*) FROM d"), 1);
}

static void stages_are_empty_when_given(void **state)
{
    (void)state;
    run("CREATE TABLE s (i integer NOT NULL, j integer NOT NULL DEFAULT 4)");
    struct db_value v = DBV_I64(1);
    assert_int_equal(db_stage(t.db, "stage_s", "s", &e), E_FATAL);
    for (int i = 0; i < 3; i++) {
        ok(db_begin(t.db, &e));
        for (int j = 0; j < 2; j++) {
            ok(db_stage(t.db, "stage_s", "s", &e));
            ok(db_copy(t.db, "stage_s", "i", &v, 1, 1, &e));
            assert_int_equal(testdb_number(t.db, "SELECT CAST(sum(j) AS bigint) FROM stage_s"), 4);
        }
        if (i == 1)
            db_rollback(t.db);
        else
            ok(db_commit(t.db, &e));
    }
}

int main(void)
{
    int failed = 0;
    const struct CMUnitTest everywhere[] = {
        cmocka_unit_test_setup_teardown(values_come_back_as_they_went, setup, teardown),
        cmocka_unit_test_setup_teardown(null_does_not_settle_a_type, setup, teardown),
        cmocka_unit_test_setup_teardown(affected_rows_are_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(nul_in_text_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(many_texts_do_not_pile_up, setup, teardown),
        cmocka_unit_test_setup_teardown(errors_say_what_to_do, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_urls_are_told_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(transactions_commit_and_roll_back, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failed_transaction_is_not_committed, setup, teardown),
        cmocka_unit_test_setup_teardown(copy_brings_every_type, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failed_copy_leaves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(stages_are_empty_when_given, setup, teardown),
    };
    const struct CMUnitTest of_postgres[] = {
        cmocka_unit_test_setup_teardown(types_of_the_server_are_read, setup, teardown),
        cmocka_unit_test_setup_teardown(sessions_are_set_up, setup, teardown),
        cmocka_unit_test_setup_teardown(an_idle_connection_is_remade_unnoticed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_transaction_ends_with_its_connection, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_answer_to_commit_is_unknown, setup, teardown),
        cmocka_unit_test_setup_teardown(a_silent_server_costs_a_bounded_time, setup, teardown),
        cmocka_unit_test_setup_teardown(a_server_that_is_down_is_waited_for, setup, teardown),
    };
    for (int sqlite = 0; sqlite < 2; sqlite++) {
        print_message("on %s\n", sqlite ? "SQLite" : "PostgreSQL");
        testdb_use(sqlite);
        failed += cmocka_run_group_tests(everywhere, NULL, NULL);
    }
    testdb_use(false);
    failed += cmocka_run_group_tests(of_postgres, NULL, NULL);
    return failed;
}
