/* What SQLite alone has to prove: commits outlive kill -9, writers take turns, processes share a file. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "../support/testdb.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"

#define P(...)                                                                                                         \
    (const struct db_value[]){__VA_ARGS__}, sizeof((const struct db_value[]){__VA_ARGS__}) / sizeof(struct db_value)

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
    testdb_use(true);
    testdb_open(&t, true);
    testdb_must(db_exec(t.db, "CREATE TABLE got (i bigint PRIMARY KEY, s text)", NULL, 0, NULL, &e), &e, "table");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    testdb_close(&t);
    return 0;
}

static struct db *another(int64_t statement_us)
{
    struct db *db = NULL;
    struct db_config cfg = t.cfg;
    cfg.statement_us = statement_us;
    ok(db_open(&db, &cfg, &e));
    return db;
}

/* A connection is nothing to take across a fork. */
static void close_mine(void)
{
    db_free(t.db);
    t.db = NULL;
}

static void open_again(void)
{
    ok(db_open(&t.db, &t.cfg, &e));
}

/* --- durability --- */
/* Commits batches of ten and tells each through the pipe, until it is killed. */
static void commit_for_ever(int fd)
{
    struct db *db = NULL;
    struct err why;
    rc_t rc = db_open(&db, &t.cfg, &why);
    for (int64_t i = 0; !rc; i += 10) {
        struct db_value rows[20];
        for (int64_t k = 0; k < 10; k++) {
            rows[2 * k] = DBV_I64(i + k);
            rows[2 * k + 1] = DBV_TEXTZ("some text that makes a row of it");
        }
        rc = db_begin(db, &why);
        if (!rc)
            rc = db_copy(db, "got", "i, s", rows, 10, 2, &why);
        if (!rc)
            rc = db_commit(db, &why);
        int64_t told = i + 10;
        if (!rc && write(fd, &told, sizeof told) != sizeof told)
            _exit(4);
    }
    (void)fprintf(stderr, "child: %s\n", why.text);
    _exit(3);
}

static void what_was_committed_outlives_a_kill(void **state)
{
    (void)state;
    for (int round = 0; round < 5; round++) {
        int fd[2];
        int64_t told = 0, next;
        ok(db_exec(t.db, "DELETE FROM got", NULL, 0, NULL, &e));
        close_mine();
        assert_int_equal(pipe(fd), 0);
        (void)fflush(NULL);
        pid_t child = fork();
        if (child == 0)
            commit_for_ever(fd[1]);
        (void)close(fd[1]);
        while (told < 500 + 370 * round && read(fd[0], &next, sizeof next) == sizeof next)
            told = next;
        (void)kill(child, SIGKILL);
        while (read(fd[0], &next, sizeof next) == sizeof next)
            told = next;
        int status = 0;
        (void)waitpid(child, &status, 0);
        assert_true(WIFSIGNALED(status));
        (void)close(fd[0]);
        open_again();
        int64_t n = testdb_number(t.db, "SELECT count(*) FROM got");
        assert_true(n == told || n == told + 10); /* the last may have been committed and not told */
        assert_int_equal(testdb_number(t.db, "SELECT max(i) FROM got"), n - 1);
        CLEANUP(db_rows_freep) struct db_rows *r = NULL;
        ok(db_exec(t.db, "PRAGMA integrity_check", NULL, 0, &r, &e));
        assert_true(str_eqz(db_text(r, 0, 0), "ok"));
    }
}

static void settings_are_the_safe_ones(void **state)
{
    (void)state;
    CLEANUP(db_rows_freep) struct db_rows *r = NULL;
    ok(db_exec(t.db, "PRAGMA journal_mode", NULL, 0, &r, &e));
    assert_true(str_eqz(db_text(r, 0, 0), "wal"));
    assert_int_equal(testdb_number(t.db, "PRAGMA synchronous"), 2);
    assert_int_equal(testdb_number(t.db, "PRAGMA foreign_keys"), 1);
}

/* --- writers --- */
struct writer {
    pthread_t thread;
    int number, n;
    rc_t rc;
    struct err e;
};

static void *write_many(void *arg)
{
    struct writer *w = arg;
    struct db *db = NULL;
    w->rc = db_open(&db, &t.cfg, &w->e);
    for (int i = 0; i < w->n && !w->rc; i++) {
        w->rc = db_begin(db, &w->e);
        if (!w->rc)
            w->rc = db_exec(db, "INSERT INTO got SELECT COALESCE(max(i), -1) + 1, 'x' FROM got", NULL, 0, NULL, &w->e);
        if (!w->rc)
            w->rc = db_commit(db, &w->e);
        if (!w->rc)
            w->rc = db_exec(db, "SELECT count(*) FROM got", NULL, 0, NULL, &w->e);
    }
    db_free(db);
    return NULL;
}

static void four_writers_take_turns(void **state)
{
    (void)state;
    struct writer w[4];
    for (int i = 0; i < 4; i++) {
        w[i] = (struct writer){.number = i, .n = 100};
        assert_int_equal(pthread_create(&w[i].thread, NULL, write_many, &w[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(w[i].thread, NULL);
        if (w[i].rc)
            fail_msg("%s", w[i].e.text);
    }
    assert_int_equal(testdb_number(t.db, "SELECT max(i) FROM got"), 399);
}

static void another_process_writes_too(void **state)
{
    (void)state;
    close_mine();
    (void)fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        struct writer w = {.n = 100};
        (void)write_many(&w);
        _exit(w.rc ? 3 : 0);
    }
    struct writer w = {.n = 100};
    (void)write_many(&w);
    int status = -1;
    (void)waitpid(child, &status, 0);
    ok(w.rc);
    assert_int_equal(status, 0);
    open_again();
    assert_int_equal(testdb_number(t.db, "SELECT max(i) FROM got"), 199);
}

static void a_reader_does_not_wait(void **state)
{
    (void)state;
    struct db *reader = another(30 * USEC_PER_SEC), *writer = another(200 * USEC_PER_MSEC);
    ok(db_exec(t.db, "INSERT INTO got VALUES (1, 'a')", NULL, 0, NULL, &e));
    ok(db_begin(t.db, &e));
    ok(db_exec(t.db, "INSERT INTO got VALUES (2, 'b')", NULL, 0, NULL, &e));
    int64_t before = clock_mono_us();
    assert_int_equal(testdb_number(reader, "SELECT count(*) FROM got"), 1);
    assert_true(clock_mono_us() - before < 50 * USEC_PER_MSEC);
    assert_int_equal(db_exec(writer, "INSERT INTO got VALUES (3, 'c')", NULL, 0, NULL, &e), E_AGAIN);
    assert_in_range(clock_mono_us() - before, 90 * USEC_PER_MSEC, USEC_PER_SEC);
    assert_non_null(strstr(e.text, "another writer"));
    ok(db_commit(t.db, &e));
    ok(db_exec(writer, "INSERT INTO got VALUES (3, 'c')", NULL, 0, NULL, &e));
    assert_int_equal(testdb_number(reader, "SELECT count(*) FROM got"), 3);
    db_free(reader);
    db_free(writer);
}

/* --- bounds --- */
static void a_long_statement_is_broken_off(void **state)
{
    (void)state;
    struct db *hasty = another(100 * USEC_PER_MSEC);
    int64_t before = clock_mono_us();
    assert_int_equal(db_exec(hasty, "WITH RECURSIVE n (p) AS (SELECT 0 UNION ALL SELECT p + 1 FROM n) SELECT count(*) FROM n",
                             NULL, 0, NULL, &e),
                     E_AGAIN);
    assert_in_range(clock_mono_us() - before, 90 * USEC_PER_MSEC, 2 * USEC_PER_SEC);
    assert_int_equal(testdb_number(hasty, "SELECT 1"), 1);
    db_free(hasty);
}

/* Full, as far as SQLite can tell: nothing of the transaction is there, and the next one goes on. */
static void a_full_disk_loses_nothing(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf sql = {0};
    CLEANUP(mem_freep) char *big = mem_alloc(1 << 20);
    memset(big, 'q', 1 << 20);
    ok(db_exec(t.db, "INSERT INTO got VALUES (1, 'kept')", NULL, 0, NULL, &e));
    buf_addf(&sql, "PRAGMA max_page_count = %lld", (long long)testdb_number(t.db, "PRAGMA page_count") + 20);
    ok(db_exec(t.db, sql.data, NULL, 0, NULL, &e));
    ok(db_begin(t.db, &e));
    ok(db_exec(t.db, "INSERT INTO got VALUES (2, 'lost')", NULL, 0, NULL, &e));
    rc_t rc = db_exec(t.db, "INSERT INTO got VALUES (3, $1)", P(DBV_TEXT(((struct str){big, (1 << 20) - 1}))), NULL, &e);
    assert_int_equal(rc, E_AGAIN);
    assert_int_equal(db_commit(t.db, &e), E_AGAIN);
    assert_int_equal(testdb_number(t.db, "SELECT count(*) FROM got"), 1);
    ok(db_exec(t.db, "INSERT INTO got VALUES (4, 'small')", NULL, 0, NULL, &e));
}

static void numbers_that_are_none_are_kept(void **state)
{
    (void)state;
    ok(db_exec(t.db, "CREATE TABLE f (k integer, v double precision)", NULL, 0, NULL, &e));
    ok(db_exec(t.db, "INSERT INTO f VALUES (1, $1), (2, $2), (3, 7)",
               P(DBV_F64((double)NAN), DBV_F64((double)-INFINITY)), NULL, &e));
    CLEANUP(db_rows_freep) struct db_rows *r = NULL;
    ok(db_exec(t.db, "SELECT v FROM f ORDER BY v", NULL, 0, &r, &e));
    assert_true(isinf(db_f64(r, 0, 0)) && db_f64(r, 1, 0) == 7 && isnan(db_f64(r, 2, 0))); /* in PostgreSQL's order */
    assert_int_equal(testdb_number(t.db, "SELECT count(*) FROM f WHERE v IS NULL"), 0);
}

static void what_is_no_database_is_told(void **state)
{
    (void)state;
    close_mine();
    FILE *f = fopen(t.url + strlen("sqlite://"), "r+");
    assert_non_null(f);
    for (int i = 0; i < 4096; i++)
        (void)fputc('x', f);
    (void)fclose(f);
    CLEANUP(buf_done) struct buf wal = {0};
    buf_addf(&wal, "%s-wal", t.url + strlen("sqlite://"));
    (void)unlink(wal.data);
    open_again();
    assert_int_equal(db_exec(t.db, "SELECT count(*) FROM got", NULL, 0, NULL, &e), E_FATAL);
    assert_non_null(strstr(e.text, "not a database"));
    assert_non_null(strstr(e.text, t.name));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_committed_outlives_a_kill, setup, teardown),
        cmocka_unit_test_setup_teardown(settings_are_the_safe_ones, setup, teardown),
        cmocka_unit_test_setup_teardown(four_writers_take_turns, setup, teardown),
        cmocka_unit_test_setup_teardown(another_process_writes_too, setup, teardown),
        cmocka_unit_test_setup_teardown(a_reader_does_not_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(a_long_statement_is_broken_off, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_disk_loses_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(numbers_that_are_none_are_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_no_database_is_told, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
