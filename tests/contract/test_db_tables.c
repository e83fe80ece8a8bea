/* Contract of ledger, slots, windows, outbox, results, manifest and dead letters; on a real PostgreSQL and on SQLite. */
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "../support/testdb.h"
#include "base/clock.h"
#include "base/mem.h"
#include "db/lakefile.h"
#include "db/refused.h"
#include "db/ledger.h"
#include "db/project.h"
#include "db/result.h"
#include "db/window.h"

#define S(literal) ((struct str){literal, sizeof literal - 1})
#define MIN (60 * USEC_PER_SEC)
#define T0 (INT64_C(20416) * USEC_PER_DAY) /* 2025-11-24 */

static struct testdb t;
static struct db *second; /* another process, as far as the server can tell */
static struct err e;

static void ok(rc_t rc)
{
    if (rc)
        fail_msg("%s: %s", rc_name(rc), e.text);
}

static int setup(void **state)
{
    (void)state;
    const int64_t days[] = {T0, T0 - 1, T0 + USEC_PER_DAY};
    testdb_open(&t, true);
    testdb_must(db_open(&second, &t.cfg, &e), &e, "second connection");
    testdb_must(db_days_ensure(t.db, days, 3, &e), &e, "days");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    db_free(second);
    testdb_close(&t);
    return 0;
}

static int64_t number(const char *sql)
{
    return testdb_number(t.db, sql);
}

/* --- the ledger --- */
static void rows_begin_unowned(void **state)
{
    (void)state;
    ok(ledger_ensure(t.db, "statistics", "t", 5, 2, &e));
    ok(ledger_ensure(t.db, "statistics", "t", 5, 3, &e));
    ok(ledger_ensure(t.db, "lake", "t", 5, 1, &e));
    struct ledger_row r = {0}, *all = NULL;
    size_t n = 0;
    ok(ledger_get(t.db, "statistics", "t", 2, &r, &e));
    assert_true(r.next_offset == -1 && r.intent_end == -1 && r.schema_seq == 0 && r.owner_epoch == 0 &&
                r.frontier_us == 0 && r.project_id == 5 && r.partition == 2);
    assert_string_equal(r.pipeline, "statistics");
    assert_string_equal(r.topic, "t");
    ledger_row_done(&r);
    assert_int_equal(ledger_get(t.db, "statistics", "t", 3, &r, &e), E_NOTFOUND);
    assert_int_equal(ledger_claim(t.db, "statistics", "t", 3, "me", &r, &e), E_NOTFOUND);
    ok(ledger_list(t.db, 5, NULL, &all, &n, &e));
    assert_int_equal(n, 4);
    assert_string_equal(all[0].pipeline, "lake");
    ledger_rows_free(all, n);
    ok(ledger_list(t.db, 0, "statistics", &all, &n, &e));
    assert_int_equal(n, 3);
    ledger_rows_free(all, n);
    ok(ledger_list(t.db, 6, NULL, &all, &n, &e));
    assert_int_equal(n, 0);
    ledger_rows_free(all, n);
}

static void an_older_owner_is_fenced(void **state)
{
    (void)state;
    struct ledger_row old, new, r;
    ok(ledger_ensure(t.db, "statistics", "t", 5, 1, &e));
    ok(ledger_claim(t.db, "statistics", "t", 0, "old", &old, &e));
    ok(ledger_claim(second, "statistics", "t", 0, "new", &new, &e));
    assert_int_equal(new.owner_epoch, old.owner_epoch + 1);
    assert_int_equal(ledger_intend(t.db, "statistics", "t", 0, old.owner_epoch, 9, 4, &e), E_CONFLICT);
    ok(ledger_intend(second, "statistics", "t", 0, new.owner_epoch, 9, 4, &e));
    ok(db_begin(t.db, &e));
    assert_int_equal(ledger_lock(t.db, "statistics", "t", 0, old.owner_epoch, &r, &e), E_CONFLICT);
    assert_non_null(strstr(e.text, "epoch"));
    db_rollback(t.db);
    ok(db_begin(second, &e));
    ok(ledger_lock(second, "statistics", "t", 0, new.owner_epoch, &r, &e));
    assert_true(r.intent_end == 9 && r.schema_seq == 4);
    ledger_row_done(&r);
    ok(ledger_move(second, "statistics", "t", 0, &(struct ledger_step){.next_offset = 9, .frontier_us = T0}, &e));
    ok(db_commit(second, &e));
    ok(ledger_get(t.db, "statistics", "t", 0, &r, &e));
    assert_true(r.next_offset == 9 && r.intent_end == -1 && r.schema_seq == 0 && r.frontier_us == T0 && r.updated_us > 0);
    ledger_row_done(&r);
    ok(db_begin(second, &e));
    ok(ledger_move(second, "statistics", "t", 0, &(struct ledger_step){.next_offset = 10, .frontier_us = 0}, &e)); /* frontier kept */
    ok(ledger_move(second, "statistics", "t", 0, &(struct ledger_step){.next_offset = 11, .frontier_us = T0 - 5}, &e)); /* never back */
    assert_int_equal(
        ledger_move(second, "statistics", "t", 7, &(struct ledger_step){.next_offset = 11, .frontier_us = 0}, &e),
        E_NOTFOUND);
    ok(db_commit(second, &e));
    ok(ledger_get(t.db, "statistics", "t", 0, &r, &e));
    assert_true(r.next_offset == 11 && r.frontier_us == T0);
    ledger_row_done(&r);
    ledger_row_done(&old);
    ledger_row_done(&new);
}

static int32_t make_project(char *name)
{
    struct project p = {.name = name, .base_period_us = MIN, .monitoring = true};
    ok(project_put(t.db, &p, &e));
    return p.id;
}

static struct ledger_row row_of(int32_t partition)
{
    struct ledger_row r = {0};
    ok(ledger_get(t.db, "statistics", "again", partition, &r, &e));
    return r;
}

/* Its owner is fenced with the project; the next one of that name goes on where it was, and the former one's records are told by
 * their time. */
static void a_project_that_is_made_again_takes_its_rows_over(void **state)
{
    (void)state;
    char name[] = "again";
    struct ledger_row old, r;
    struct ledger_row *all = NULL;
    size_t n = 0;
    int32_t former = make_project(name);
    ok(ledger_ensure(t.db, "statistics", "again", former, 2, &e));
    ok(ledger_claim(t.db, "statistics", "again", 0, "old", &old, &e));
    ok(ledger_move(t.db, "statistics", "again", 0, &(struct ledger_step){.next_offset = 9, .frontier_us = T0}, &e));
    ok(ledger_intend(t.db, "statistics", "again", 0, old.owner_epoch, 12, 4, &e));
    ok(ledger_stop(t.db, "statistics", "again", 0, old.owner_epoch, LEDGER_REPLACED, "gone", &e));
    ok(project_delete(t.db, former, &e));
    assert_int_equal(ledger_intend(t.db, "statistics", "again", 0, old.owner_epoch, 12, 4, &e), E_CONFLICT);
    r = row_of(0);
    assert_true(r.next_offset == 9 && r.floor_offset == 9 && r.intent_end == -1 && r.since_us == 0);
    assert_true(r.generation == old.generation + 1); /* what a flush under way had put in place is of one that is over */
    assert_string_equal(r.stopped, "");
    ledger_row_done(&r);
    int64_t before = clock_now_us();
    int32_t next = make_project(name);
    ok(ledger_ensure(second, "statistics", "again", next, 3, &e));
    ok(ledger_ensure(t.db, "statistics", "again", former, 3, &e)); /* who has not heard of it takes nothing back */
    r = row_of(0);
    assert_true(r.project_id == next && r.next_offset == 9 && r.frontier_us == 0);
    assert_true(r.since_us % 1000 == 0 && r.since_us >= before - 1000 && r.since_us <= clock_now_us());
    int64_t epoch = r.owner_epoch;
    ledger_row_done(&r);
    ok(ledger_ensure(t.db, "statistics", "again", next, 3, &e)); /* once */
    r = row_of(0);
    assert_true(r.owner_epoch == epoch);
    ledger_row_done(&r);
    r = row_of(2); /* nobody's before */
    assert_true(r.since_us == 0 && r.generation == 0 && r.next_offset == -1);
    ledger_row_done(&r);
    ok(ledger_list(t.db, former, NULL, &all, &n, &e));
    assert_int_equal(n, 0);
    ledger_rows_free(all, n);
    ledger_row_done(&old);
}

static void a_frontier_is_the_least(void **state)
{
    (void)state;
    int64_t us = -1;
    ok(ledger_frontier(t.db, 5, "statistics", false, &us, &e));
    assert_int_equal(us, 0);
    ok(ledger_ensure(t.db, "statistics", "a", 5, 2, &e));
    ok(ledger_ensure(t.db, "statistics", "b", 5, 1, &e));
    ok(ledger_ensure(t.db, "lake", "a", 5, 1, &e));
    ok(ledger_ensure(t.db, "statistics", "c", 6, 1, &e));
    ok(ledger_move(t.db, "statistics", "a", 0, &(struct ledger_step){.next_offset = 1, .frontier_us = T0 + 3}, &e));
    ok(ledger_move(t.db, "statistics", "b", 0, &(struct ledger_step){.next_offset = 1, .frontier_us = T0 + 1}, &e));
    ok(ledger_frontier(t.db, 5, "statistics", false, &us, &e));
    assert_int_equal(us, 0); /* a[1] has none yet */
    ok(ledger_move(t.db, "statistics", "a", 1, &(struct ledger_step){.next_offset = 1, .frontier_us = T0 + 2}, &e));
    ok(ledger_frontier(t.db, 5, "statistics", false, &us, &e));
    assert_int_equal(us, T0 + 1);
    ok(db_begin(t.db, &e));
    ok(ledger_frontier(t.db, 5, "statistics", true, &us, &e));
    assert_int_equal(us, T0 + 1);
    db_rollback(t.db);
}

/* --- FOR SHARE against FOR UPDATE --- */
struct waiter {
    pthread_t thread;
    struct db *db;
    bool share;
    int64_t epoch, frontier;
    rc_t rc;
    struct err e;
    atomic_int done;
};

static void *wait_for_row(void *arg)
{
    struct waiter *w = arg;
    struct ledger_row r = {0};
    w->rc = db_begin(w->db, &w->e);
    if (!w->rc)
        w->rc = w->share ? ledger_frontier(w->db, 5, "statistics", true, &w->frontier, &w->e)
                         : ledger_lock(w->db, "statistics", "t", 0, w->epoch, &r, &w->e);
    ledger_row_done(&r);
    w->done = 1;
    db_rollback(w->db);
    return NULL;
}

static void until_blocked(struct db *observer)
{
    int64_t end = clock_mono_us() + 5 * USEC_PER_SEC;
    while (testdb_number(observer, "SELECT count(*) FROM pg_locks WHERE NOT granted") == 0)
        if (clock_mono_us() > end)
            fail_msg("nobody waits for the lock");
}

/* A late row is in the close, or sees it: the closer waits for the sink, and then reads what the sink wrote. */
static void closer_and_sink_wait_for_each_other(void **state)
{
    (void)state;
    struct db *observer = NULL;
    struct ledger_row r;
    int64_t us = 0;
    ok(db_open(&observer, &t.cfg, &e));
    ok(ledger_ensure(t.db, "statistics", "t", 5, 1, &e));
    ok(ledger_move(t.db, "statistics", "t", 0, &(struct ledger_step){.next_offset = 1, .frontier_us = T0}, &e));
    for (int share = 0; share < 2; share++) {
        struct waiter w = {.db = second, .share = share, .epoch = 0};
        ok(db_begin(t.db, &e));
        if (share) { /* the sink is in its transaction, the closer comes */
            ok(ledger_lock(t.db, "statistics", "t", 0, 0, &r, &e));
            ledger_row_done(&r);
        } else { /* the closer is in its own, the sink comes */
            ok(ledger_frontier(t.db, 5, "statistics", true, &us, &e));
        }
        assert_int_equal(pthread_create(&w.thread, NULL, wait_for_row, &w), 0);
        until_blocked(observer);
        assert_false(w.done);
        if (share)
            ok(ledger_move(t.db, "statistics", "t", 0, &(struct ledger_step){.next_offset = 2, .frontier_us = T0 + 77}, &e));
        ok(db_commit(t.db, &e));
        pthread_join(w.thread, NULL);
        if (w.rc)
            fail_msg("%s", w.e.text);
        if (share)
            assert_int_equal(w.frontier, T0 + 77);
    }
    /* two closers do not wait for each other */
    ok(db_begin(t.db, &e));
    ok(db_begin(second, &e));
    ok(ledger_frontier(t.db, 5, "statistics", true, &us, &e));
    ok(ledger_frontier(second, 5, "statistics", true, &us, &e));
    db_rollback(t.db);
    db_rollback(second);
    db_free(observer);
}

/* --- slots --- */
static struct slot_row slot(int64_t start, int64_t offset)
{
    return (struct slot_row){.project_id = 5,
                             .endpoint_id = 8,
                             .slot_start_us = start,
                             .slot_us = MIN,
                             .schema_version = 1,
                             .reference_version = 2,
                             .topic = {"t", 1},
                             .partition = 3,
                             .flush_offset = offset,
                             .requests = 10,
                             .rows = 20,
                             .errors = 1,
                             .estimated = 12.5,
                             .format = 1,
                             .body = {"\0body", 5}};
}

static void append(const struct slot_row *rows, size_t n)
{
    ok(db_begin(t.db, &e));
    ok(slots_append(t.db, rows, n, &e));
    ok(db_commit(t.db, &e));
}

static void slots_are_appended_and_read(void **state)
{
    (void)state;
    struct slot_row rows[] = {slot(T0, 1), slot(T0, 2), slot(T0 + MIN, 2), slot(T0 + 2 * MIN, 2)}, *got = NULL;
    rows[3].slot_us = 2 * MIN; /* does not lie whole in the window below */
    append(rows, 4);
    append(rows, 0);
    struct slot_row other = slot(T0, 1);
    other.endpoint_id = 9;
    append(&other, 1);
    size_t n = 0;
    CLEANUP(db_rows_freep) struct db_rows *held = NULL;
    ok(slots_read(t.db, 5, 8, T0, T0 + 3 * MIN, &got, &n, &held, &e));
    assert_int_equal(n, 3);
    assert_true(got[0].slot_start_us == T0 && got[0].flush_offset == 1 && got[1].flush_offset == 2);
    assert_true(got[2].slot_start_us == T0 + MIN && got[2].rows == 20 && got[2].requests == 10 && got[2].errors == 1);
    assert_true(got[0].estimated == 12.5 && got[0].schema_version == 1 && got[0].reference_version == 2 &&
                got[0].partition == 3 && got[0].format == 1 && got[0].slot_us == MIN);
    assert_true(str_eqz(got[0].topic, "t") && str_eq(got[0].body, rows[0].body));
    mem_free(got);
    ok(db_begin(t.db, &e));
    assert_int_equal(slots_append(t.db, rows, 1, &e), E_CONFLICT); /* a flush is appended once */
    db_rollback(t.db);
}

static void folding_takes_exactly_what_it_read(void **state)
{
    (void)state;
    struct slot_row rows[] = {slot(T0, 1), slot(T0, 2), slot(T0 + MIN, 2), slot(T0 + MIN, 3)};
    append(rows, 4);
    struct slot_row folded[] = {slot(T0, 2), slot(T0 + MIN, 2)};
    folded[0].rows = folded[1].rows = 40;
    struct slot_row late = slot(T0, 9); /* comes after the reader has read */
    append(&late, 1);
    ok(slots_fold(t.db, rows, 4, folded, 2, &e));
    assert_int_equal(number("SELECT count(*) FROM slots"), 3);
    assert_int_equal(number("SELECT CAST(sum(rows) AS bigint) FROM slots"), 100);
    assert_int_equal(slots_fold(t.db, rows, 4, folded, 2, &e), E_CONFLICT);
    assert_int_equal(number("SELECT CAST(sum(rows) AS bigint) FROM slots"), 100);
    struct slot_row two[] = {slot(T0, 2), slot(T0, 9)};
    two[1].endpoint_id = 9;
    assert_int_equal(slots_fold(t.db, two, 2, folded, 1, &e), E_INVALID);
    ok(slots_fold(t.db, two, 0, folded, 0, &e));
    assert_int_equal(number("SELECT count(*) FROM slots"), 3);
}

static void sums_are_by_step(void **state)
{
    (void)state;
    struct slot_row rows[] = {slot(T0, 1), slot(T0 + MIN, 1), slot(T0 + 10 * MIN, 1), slot(T0 + 20 * MIN, 1)};
    append(rows, 4);
    struct slot_sum *got = NULL;
    size_t n = 0;
    ok(slots_sums(t.db, 5, 8, T0, T0 + 20 * MIN, 10 * MIN, &got, &n, &e));
    assert_int_equal(n, 2);
    assert_true(got[0].start_us == T0 && got[0].requests == 20 && got[0].rows == 40 && got[0].errors == 2 &&
                got[0].estimated == 25.0);
    assert_true(got[1].start_us == T0 + 10 * MIN && got[1].requests == 10);
    mem_free(got);
    assert_int_equal(slots_sums(t.db, 5, 8, T0, T0, 0, &got, &n, &e), E_INVALID);
}

/* --- windows --- */
static void pend(int64_t endpoint, int64_t start, int64_t rows, int64_t handled)
{
    const struct pending_window w = {.project_id = 5,
                                     .endpoint_id = endpoint,
                                     .start_us = start,
                                     .end_us = start + 10 * MIN,
                                     .rows = rows,
                                     .last_handled_us = handled};
    ok(db_begin(t.db, &e));
    ok(pending_add(t.db, &w, 1, &e));
    ok(db_commit(t.db, &e));
}

static void pending_windows_add_up(void **state)
{
    (void)state;
    struct pending_window w[] = {
        {.project_id = 5, .endpoint_id = 8, .start_us = T0, .end_us = T0 + MIN, .rows = 3, .last_handled_us = 50},
        {.project_id = 5, .endpoint_id = 7, .start_us = T0, .end_us = T0 + MIN, .rows = 1, .last_handled_us = 10},
        {.project_id = 5,
         .endpoint_id = 8,
         .start_us = T0,
         .end_us = T0 + MIN,
         .rows = 4,
         .last_handled_us = 40,
         .traceparent = S("trace")},
    };
    for (int i = 0; i < 2; i++) {
        ok(db_begin(t.db, &e));
        ok(pending_add(t.db, w, 3, &e));
        ok(pending_add(t.db, w, 0, &e));
        ok(pending_add(t.db, &w[1], 1, &e)); /* twice in a transaction */
        ok(db_commit(t.db, &e));
    }
    struct pending_window *got = NULL;
    size_t n = 0;
    CLEANUP(db_rows_freep) struct db_rows *held = NULL;
    ok(pending_due(t.db, 5, T0 + 2 * MIN, MIN, 10, &got, &n, &held, &e));
    assert_int_equal(n, 2);
    assert_true(got[0].endpoint_id == 7 && got[0].rows == 4 && got[0].last_handled_us == 10 && got[0].traceparent.n == 0);
    assert_true(got[1].endpoint_id == 8 && got[1].rows == 14 && got[1].last_handled_us == 50 &&
                str_eqz(got[1].traceparent, "trace"));
    mem_free(got);
}

static void expect_due(int64_t frontier, size_t limit, size_t want, int64_t first)
{
    struct pending_window *got = NULL;
    size_t n = 0;
    CLEANUP(db_rows_freep) struct db_rows *held = NULL;
    ok(pending_due(t.db, 5, frontier, 5 * USEC_PER_SEC, limit, &got, &n, &held, &e));
    assert_int_equal(n, want);
    if (n)
        assert_int_equal(got[0].start_us, first);
    mem_free(got);
}

static void windows_are_due_when_settled(void **state)
{
    (void)state;
    const int64_t end = T0 + 10 * MIN, late = 5 * USEC_PER_SEC;
    int64_t next = -1;
    ok(pending_next(t.db, 5, &next, &e));
    assert_int_equal(next, 0);
    pend(8, T0 + 10 * MIN, 1, 1);
    pend(8, T0, 1, end + late);
    ok(pending_next(t.db, 5, &next, &e));
    assert_int_equal(next, end);
    expect_due(end + late, 10, 0, 0); /* ended, but a row of it has just been handled */
    expect_due(end + 2 * late - 1, 10, 0, 0);
    expect_due(end + 2 * late, 10, 1, T0);
    expect_due(end + 10 * MIN + late, 10, 2, T0);
    expect_due(end + 10 * MIN + late, 1, 1, T0);
    expect_due(end + 10 * MIN + late - 1, 10, 1, T0);
}

static void a_window_gets_one_revision_after_another(void **state)
{
    (void)state;
    const struct pending_window p = {.project_id = 5, .endpoint_id = 8, .start_us = T0, .end_us = T0 + 10 * MIN};
    struct window w = {0}, got;
    for (int revision = 1; revision <= 2; revision++) {
        pend(8, T0, 5, 1);
        ok(db_begin(t.db, &e));
        ok(pending_take(t.db, &p, &w, &e));
        assert_int_equal(w.revision, revision - 1);
        assert_true(w.endpoint_id == 8 && w.start_us == T0 && w.end_us == p.end_us);
        w.revision = revision;
        w.rows = 5 * revision;
        w.frontier_us = T0 + revision;
        w.closed_us = T0 + 2 * revision;
        w.schema_version = 3;
        w.reference_version = 4;
        ok(window_put(t.db, &w, S("trace"), &e));
        ok(db_commit(t.db, &e));
        ok(window_get(t.db, 5, 8, T0, p.end_us, &got, &e));
        assert_true(got.revision == revision && got.rows == 5 * revision && got.frontier_us == T0 + revision &&
                    got.closed_us == T0 + 2 * revision && got.schema_version == 3 && got.reference_version == 4);
    }
    ok(db_begin(t.db, &e));
    assert_int_equal(pending_take(t.db, &p, &w, &e), E_NOTFOUND);
    db_rollback(t.db);
    assert_int_equal(window_put(t.db, &got, S(""), &e), E_CONFLICT);
    ok(window_add_late(t.db, &got, 7, &e));
    ok(window_add_late(t.db, &got, 2, &e));
    ok(window_get(t.db, 5, 8, T0, p.end_us, &got, &e));
    assert_true(got.late_rows == 9 && got.revision == 2 && got.rows == 10);
    got.revision = 3;
    got.late_rows = 0; /* the third revision uses them after all */
    ok(window_put(t.db, &got, S(""), &e));
    ok(window_get(t.db, 5, 8, T0, p.end_us, &got, &e));
    assert_true(got.late_rows == 0 && got.revision == 3);
    struct window never = {.project_id = 5, .endpoint_id = 8, .start_us = T0 + 10 * MIN, .end_us = T0 + 20 * MIN};
    ok(window_add_late(t.db, &never, 1, &e));
    ok(window_get(t.db, 5, 8, never.start_us, never.end_us, &got, &e));
    assert_true(got.revision == 0 && got.late_rows == 1);
    assert_int_equal(window_get(t.db, 5, 8, T0, T0 + 1, &got, &e), E_NOTFOUND);
}

/* Two controllers take the same window: one gets it. */
static void two_takers_one_window(void **state)
{
    (void)state;
    const struct pending_window p = {.project_id = 5, .endpoint_id = 8, .start_us = T0, .end_us = T0 + 10 * MIN};
    struct window w;
    pend(8, T0, 5, 1);
    ok(db_begin(t.db, &e));
    ok(pending_take(t.db, &p, &w, &e));
    struct db_config cfg = t.cfg;
    struct db *hasty = NULL;
    cfg.statement_us = 400 * USEC_PER_MSEC; /* half of it for a lock */
    ok(db_open(&hasty, &cfg, &e));
    rc_t rc = db_begin(hasty, &e);                                        /* SQLite waits here already */
    assert_int_equal(rc ? rc : pending_take(hasty, &p, &w, &e), E_AGAIN); /* waits, and is told to come again */
    db_rollback(hasty);
    db_free(hasty);
    ok(db_commit(t.db, &e));
    ok(db_begin(second, &e));
    assert_int_equal(pending_take(second, &p, &w, &e), E_NOTFOUND);
    db_rollback(second);
}

static void put_window(int64_t endpoint, int64_t start, int64_t rows, int64_t closed)
{
    const struct window w = {.project_id = 5,
                             .endpoint_id = endpoint,
                             .start_us = start,
                             .end_us = start + 10 * MIN,
                             .revision = 1,
                             .rows = rows,
                             .closed_us = closed};
    ok(window_put(t.db, &w, S(""), &e));
}

static void the_sweep_finds_what_was_missed(void **state)
{
    (void)state;
    struct slot_row rows[] = {slot(T0, 1), slot(T0 + 9 * MIN, 1), slot(T0 + 10 * MIN, 1)};
    append(rows, 3); /* 40 rows in the first window, 20 in the second */
    int64_t found = -1;
    put_window(8, T0, 40, 100);
    put_window(8, T0 + 10 * MIN, 19, 150);
    put_window(8, T0 + 20 * MIN, 5, 150); /* its slots are gone: retention */
    ok(windows_sweep(t.db, 5, 0, 150, 777, &found, &e));
    assert_int_equal(found, 0);
    ok(windows_sweep(t.db, 5, 100, 151, 777, &found, &e));
    assert_int_equal(found, 1);
    assert_int_equal(number("SELECT window_start_us FROM pending_windows"), T0 + 10 * MIN);
    assert_int_equal(number("SELECT rows FROM pending_windows"), 1); /* those that no revision has used */
    assert_int_equal(number("SELECT last_handled_us FROM pending_windows"), 777);
    ok(windows_sweep(t.db, 5, 100, 151, 888, &found, &e));
    assert_int_equal(found, 0); /* it waits already */
    ok(db_exec(t.db, "DELETE FROM pending_windows", NULL, 0, NULL, &e));
    const struct window late = {.project_id = 5, .endpoint_id = 8, .start_us = T0 + 10 * MIN, .end_us = T0 + 20 * MIN};
    ok(window_add_late(t.db, &late, 1, &e)); /* the row that was missed is accounted for */
    ok(windows_sweep(t.db, 5, 100, 151, 888, &found, &e));
    assert_int_equal(found, 0);
    ok(windows_sweep(t.db, 6, 0, 1000, 888, &found, &e));
    assert_int_equal(found, 0);
}

static void closed_quiet_windows_are_folded_once(void **state)
{
    (void)state;
    struct slot_row rows[] = {slot(T0, 1), slot(T0, 2), slot(T0 + 10 * MIN, 1), slot(T0 + 20 * MIN, 1),
                              slot(T0 + 20 * MIN, 2)};
    append(rows, 5);
    put_window(8, T0, 40, 100);            /* two rows of a slot: to fold */
    put_window(8, T0 + 10 * MIN, 20, 100); /* one: nothing to do */
    put_window(8, T0 + 20 * MIN, 40, 100); /* pending again */
    pend(8, T0 + 20 * MIN, 1, 1);
    struct window *got = NULL;
    size_t n = 0;
    ok(windows_unfolded(t.db, 5, 100, 10, &got, &n, &e));
    assert_int_equal(n, 0);
    mem_free(got);
    ok(windows_unfolded(t.db, 5, 101, 10, &got, &n, &e));
    assert_int_equal(n, 1);
    assert_int_equal(got[0].start_us, T0);
    assert_int_equal(number("SELECT count(*) FROM windows WHERE folded"), 1);
    struct window stale = got[0];
    stale.revision = 9;
    ok(window_set_folded(t.db, &stale, &e)); /* another revision meanwhile: not it */
    assert_int_equal(number("SELECT count(*) FROM windows WHERE folded"), 1);
    ok(window_set_folded(t.db, &got[0], &e));
    assert_int_equal(number("SELECT count(*) FROM windows WHERE folded"), 2);
    struct window again = got[0];
    mem_free(got);
    again.revision = 2;
    ok(window_put(t.db, &again, S(""), &e)); /* a new revision is to be folded anew */
    ok(windows_unfolded(t.db, 5, 101, 10, &got, &n, &e));
    assert_int_equal(n, 1);
    mem_free(got);
}

static void the_outbox_keeps_promises(void **state)
{
    (void)state;
    struct outbox_row rows[] =
        {
            {.project_id = 5, .topic = S("a"), .key = S("k"), .payload = S("{\"x\":1}"), .traceparent = S("tp"), .created_us = 70},
            {.project_id = 5, .topic = S("b"), .key = S(""), .payload = S(""), .created_us = 60},
        },
                      *got = NULL;
    int64_t depth = -1, oldest = -1;
    size_t n = 0;
    ok(outbox_depth(t.db, &depth, &oldest, &e));
    assert_true(depth == 0 && oldest == 0);
    ok(db_begin(t.db, &e));
    ok(outbox_add(t.db, rows, 2, &e));
    db_rollback(t.db);
    ok(db_begin(t.db, &e));
    ok(outbox_add(t.db, rows, 2, &e));
    ok(db_commit(t.db, &e));
    ok(outbox_depth(t.db, &depth, &oldest, &e));
    assert_true(depth == 2 && oldest == 60);
    CLEANUP(db_rows_freep) struct db_rows *held = NULL;
    ok(outbox_read(t.db, NULL, 0, 10, &got, &n, &held, &e));
    assert_int_equal(n, 2);
    assert_true(got[0].id < got[1].id && got[0].project_id == 5 && got[0].created_us == 70);
    assert_true(str_eqz(got[0].topic, "a") && str_eqz(got[0].key, "k") && str_eqz(got[0].payload, "{\"x\":1}") &&
                str_eqz(got[0].traceparent, "tp"));
    int64_t first = got[0].id;
    mem_free(got);
    db_rows_freep(&held);
    const struct str without[] = {STR("none"), STR("a")};
    ok(outbox_read(t.db, without, 2, 10, &got, &n, &held, &e));
    assert_int_equal(n, 1);
    assert_true(str_eqz(got[0].topic, "b"));
    mem_free(got);
    const int64_t ids[] = {first, 123456};
    ok(outbox_delete(t.db, ids, 2, &e));
    ok(outbox_delete(t.db, ids, 0, &e));
    ok(outbox_depth(t.db, &depth, &oldest, &e));
    assert_true(depth == 1 && oldest == 60);
}

/* --- results --- */
static int64_t upsert(const struct result_row *rows, size_t n)
{
    int64_t changed = -1;
    ok(db_begin(t.db, &e));
    ok(results_upsert(t.db, rows, n, clock_now_us(), &changed, &e));
    ok(db_commit(t.db, &e));
    return changed;
}

static struct result_row result(int32_t metric, int revision, double value)
{
    return (struct result_row){.project_id = 5,
                               .metric_id = metric,
                               .endpoint_id = 8,
                               .start_us = T0,
                               .end_us = T0 + 10 * MIN,
                               .revision = revision,
                               .value = value,
                               .status = 1,
                               .extra = {"{}", 2}};
}

static double value_of(int32_t metric)
{
    struct result_point *p = NULL;
    size_t n = 0;
    CLEANUP(db_rows_freep) struct db_rows *held = NULL;
    ok(results_read(t.db, 5, 8, metric, T0, T0 + 10 * MIN, &p, &n, &held, &e));
    assert_int_equal(n, 1);
    double v = p[0].value;
    mem_free(p);
    return v;
}

static void a_result_changes_only_forward(void **state)
{
    (void)state;
    struct result_row rows[] = {result(1, 1, 0.5), result(2, 1, (double)NAN)};
    assert_int_equal(upsert(rows, 2), 2);
    assert_int_equal(upsert(rows, 2), 0);        /* NaN is the same as NaN */
    struct result_row other = result(1, 1, 0.6); /* the same revision, another value */
    assert_int_equal(upsert(&other, 1), 1);
    assert_true(value_of(1) == 0.6);
    other.status = 2;
    assert_int_equal(upsert(&other, 1), 1);
    other.extra = S("{\"n\":1}");
    assert_int_equal(upsert(&other, 1), 1);
    assert_int_equal(upsert(&other, 1), 0);
    struct result_row newer = result(1, 3, 0.6);
    assert_int_equal(upsert(&newer, 1), 1);
    struct result_row older = result(1, 2, 0.1);
    assert_int_equal(upsert(&older, 1), 0);
    assert_true(value_of(1) == 0.6);
    assert_int_equal(upsert(rows, 0), 0);
}

static void a_batch_may_hold_a_key_twice(void **state)
{
    (void)state;
    struct result_row rows[] = {result(1, 2, 0.1), result(1, 3, 0.2), result(1, 3, 0.3), result(1, 1, 0.4),
                                result(2, 1, 0.5)};
    assert_int_equal(upsert(rows, 5), 2);
    assert_true(value_of(1) == 0.3); /* the highest revision, the last of it */
    assert_true(value_of(2) == 0.5);
}

/* New rows are copied straight in until one turns out to be there: what the transaction did before stays. */
static void new_and_known_rows_mix(void **state)
{
    (void)state;
    struct result_row known = result(3, 1, 0.5), rows[] = {result(1, 1, 0.1), result(3, 1, 0.7), result(5, 1, 0.9)};
    const struct outbox_row promise = {.project_id = 5, .topic = S("a"), .key = S(""), .payload = S("")};
    assert_int_equal(upsert(&known, 1), 1);
    int64_t changed = -1;
    ok(db_begin(t.db, &e));
    ok(outbox_add(t.db, &promise, 1, &e));
    ok(results_upsert(t.db, rows, 3, 1, &changed, &e));
    assert_int_equal(changed, 3);
    ok(results_upsert(t.db, rows, 3, 1, &changed, &e));
    assert_int_equal(changed, 0);
    ok(db_commit(t.db, &e));
    assert_int_equal(number("SELECT count(*) FROM outbox"), 1);
    assert_int_equal(number("SELECT count(*) FROM results"), 3);
    assert_true(value_of(3) == 0.7);
    struct result_row no_day = result(1, 1, 0.1);
    no_day.end_us += 10 * USEC_PER_DAY;
    ok(db_begin(t.db, &e)); /* its day is not there, where days are made */
    assert_int_equal(results_upsert(t.db, &no_day, 1, 1, &changed, &e), testdb_is_sqlite() ? OK : E_AGAIN);
    db_rollback(t.db);
}

static void results_are_read(void **state)
{
    (void)state;
    int32_t app = 0, a = 0, b = 0, again = 0;
    struct project p = {.name = (char[]){"p"}, .base_period_us = 1};
    ok(project_put(t.db, &p, &e));
    ok(app_put(t.db, p.id, "drift", true, true, &app, &e));
    ok(app_add(t.db, p.id, "drift", &again, &e));
    assert_int_equal(again, app);
    assert_int_equal(number("SELECT count(*) FROM apps WHERE active AND needs_rows"), 1); /* it stays as it was */
    ok(app_add(t.db, p.id, "new", &again, &e));
    assert_int_equal(number("SELECT count(*) FROM apps WHERE NOT active"), 1);
    ok(metric_intern(t.db, p.id, app, METRIC_RESULT, S("general_drift"), 0, &a, &e));
    ok(metric_intern(t.db, p.id, app, METRIC_METRIC, S("general_drift"), -1, &b, &e));
    ok(metric_intern(t.db, p.id, app, METRIC_RESULT, S("general_drift"), -1, &again, &e));
    assert_true(a != b && a == again);
    ok(metric_intern(t.db, p.id, app, METRIC_RESULT, S("general_drift"), 2, &again, &e));
    assert_int_equal(a, again);
    struct result_row rows[3] = {result(a, 1, 0.5), result(a, 4, (double)INFINITY), result(b, 1, 0.25)};
    for (int i = 0; i < 3; i++)
        rows[i].project_id = p.id;
    rows[1].start_us += 10 * MIN;
    rows[1].end_us += 10 * MIN;
    rows[1].status = 2;
    rows[2].status = INT_MIN;
    rows[2].extra = S("");
    assert_int_equal(upsert(rows, 3), 3);
    struct metric_entry *m = NULL;
    size_t n = 0;
    ok(metrics_list(t.db, p.id, 8, &m, &n, &e));
    assert_int_equal(n, 2);
    assert_string_equal(m[0].app, "drift");
    assert_true(m[0].type == METRIC_RESULT && m[0].id == a && m[0].result_kind == 2);
    assert_true(m[1].type == METRIC_METRIC && m[1].result_kind == -1);
    metrics_free(m, n);
    ok(metrics_list(t.db, p.id, 9, &m, &n, &e));
    assert_int_equal(n, 0);
    metrics_free(m, n);
    ok(metrics_list(t.db, p.id, 0, &m, &n, &e));
    assert_int_equal(n, 2);
    metrics_free(m, n);
    struct result_point *pt = NULL;
    CLEANUP(db_rows_freep) struct db_rows *held = NULL;
    ok(results_read(t.db, p.id, 8, a, T0, T0 + 20 * MIN, &pt, &n, &held, &e));
    assert_int_equal(n, 2);
    assert_true(pt[0].value == 0.5 && pt[0].status == 1 && pt[0].revision == 1 && str_eqz(pt[0].extra, "{}") &&
                pt[0].start_us == T0 && pt[0].end_us == T0 + 10 * MIN);
    assert_true(isinf(pt[1].value) && pt[1].status == 2 && pt[1].revision == 4);
    mem_free(pt);
    db_rows_freep(&held);
    ok(results_read(t.db, p.id, 8, b, T0, T0 + 20 * MIN, &pt, &n, &held, &e));
    assert_true(n == 1 && pt[0].status == INT_MIN && pt[0].value == 0.25);
    mem_free(pt);
}

static void statistics_of_apps_have_a_newest(void **state)
{
    (void)state;
    struct app_statistic_row rows[] = {
        {.project_id = 5,
         .app_id = 1,
         .endpoint_id = 8,
         .start_us = T0,
         .end_us = T0 + MIN,
         .timestamp_us = 10,
         .revision = 1,
         .name = S("current_stats"),
         .body = S("{\"a\":1}")},
        {.project_id = 5,
         .app_id = 2,
         .endpoint_id = 8,
         .start_us = T0 + MIN,
         .end_us = T0 + 2 * MIN,
         .timestamp_us = 20,
         .revision = 1,
         .name = S("current_stats"),
         .body = S("{\"a\":2}")},
        {.project_id = 5,
         .app_id = 1,
         .endpoint_id = 8,
         .start_us = T0,
         .end_us = T0 + MIN,
         .timestamp_us = 11,
         .revision = 2,
         .name = S("current_stats"),
         .body = S("{\"a\":3}")},
        {.project_id = 5,
         .app_id = 1,
         .endpoint_id = 8,
         .start_us = T0,
         .end_us = T0 + MIN,
         .timestamp_us = 11,
         .revision = 1,
         .name = S("drift_measures"),
         .body = S("{}")},
    };
    for (int i = 0; i < 2; i++) {
        ok(db_begin(t.db, &e));
        ok(app_statistics_upsert(t.db, rows, 4, 99 + i, &e));
        ok(db_commit(t.db, &e));
    }
    assert_int_equal(number("SELECT count(*) FROM app_statistics"), 3);
    assert_int_equal(number("SELECT max(written_us) FROM app_statistics"), 99); /* the repeat changed nothing */
    CLEANUP(mem_freep) char *any = NULL;
    CLEANUP(mem_freep) char *one = NULL;
    int64_t when = 0;
    ok(app_statistic_latest(t.db, 5, 8, 0, "current_stats", &any, &when, &e));
    assert_string_equal(any, "{\"a\":2}");
    assert_int_equal(when, 20);
    ok(app_statistic_latest(t.db, 5, 8, 1, "current_stats", &one, &when, &e));
    assert_string_equal(one, "{\"a\":3}");
    assert_int_equal(when, 11);
    assert_int_equal(app_statistic_latest(t.db, 5, 8, 3, "current_stats", &one, &when, &e), E_NOTFOUND);
}

/* --- manifest and dead letters --- */
static void files_are_found_by_time(void **state)
{
    (void)state;
    const int64_t hour = 60 * MIN;
    struct manifest_row rows[] =
        {
            {.project_id = 5,
             .endpoint_id = 8,
             .hour_us = T0,
             .partition = 1,
             .start_offset = 0,
             .end_offset = 10,
             .rows = 10,
             .bytes = 100,
             .min_us = T0 + 5,
             .max_us = T0 + 30 * MIN,
             .schema_version = 1,
             .topic = S("t"),
             .path = S("a"),
             .sha256 = S("ff")},
            {.project_id = 5,
             .endpoint_id = 8,
             .hour_us = T0 + hour,
             .start_offset = 10,
             .end_offset = 20,
             .rows = 10,
             .min_us = T0 + hour,
             .max_us = T0 + hour + 1,
             .schema_version = 1,
             .topic = S("t"),
             .path = S("b")},
        },
                        *got = NULL;
    for (int i = 0; i < 2; i++) {
        ok(db_begin(t.db, &e));
        ok(manifest_add(t.db, rows, 2, 42, &e));
        ok(manifest_add(t.db, rows, 1, 43, &e));
        ok(manifest_add(t.db, rows, 0, 43, &e));
        ok(db_commit(t.db, &e));
    }
    assert_int_equal(number("SELECT count(*) FROM manifest"), 2);
    const struct {
        int64_t start, end;
        size_t n;
        const char *first;
    } windows[] = {{T0, T0 + 2 * hour, 2, "a"},
                   {T0, T0 + 5, 0, ""},
                   {T0 + 30 * MIN, T0 + 31 * MIN, 1, "a"},
                   {T0 + 30 * MIN + 1, T0 + hour, 0, ""},
                   {T0 + 30 * MIN + 1, T0 + hour + 1, 1, "b"},
                   {T0 - hour, T0, 0, ""}};
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) {
        CLEANUP(db_rows_freep) struct db_rows *held = NULL;
        size_t n = 99;
        ok(manifest_files(t.db, 5, 8, windows[i].start, windows[i].end, &got, &n, &held, &e));
        assert_int_equal(n, windows[i].n);
        if (n)
            assert_true(str_eqz(got[0].path, windows[i].first));
        if (n == 2)
            assert_true(got[0].rows == 10 && got[0].bytes == 100 && got[0].partition == 1 && got[0].end_offset == 10 &&
                        str_eqz(got[0].sha256, "ff") && got[0].max_us == T0 + 30 * MIN && got[0].schema_version == 1);
        mem_free(got);
    }
}

static void dead_letters_are_kept_once(void **state)
{
    (void)state;
    CLEANUP(mem_freep) char *big = mem_alloc(100000);
    struct dead_letter rows[] = {
        {.project_id = 5,
         .partition = 1,
         .pipeline = S("statistics"),
         .topic = S("t"),
         .reason = S("syntax"),
         .field = S("a.b"),
         .error = S("bad"),
         .payload = {"\0\xff", 2},
         .offset = 9,
         .at_us = T0,
         .position = 4,
         .size = 2},
        {.project_id = 5,
         .partition = 1,
         .pipeline = S("statistics"),
         .topic = S("t"),
         .reason = S("size"),
         .error = S("large"),
         .payload = {big, 100000},
         .offset = 10,
         .at_us = T0,
         .position = -1,
         .size = 100000,
         .endpoint_id = 8},
    };
    for (int i = 0; i < 2; i++) {
        ok(db_begin(t.db, &e));
        ok(dead_letters_add(t.db, rows, 2, &e));
        ok(dead_letters_add(t.db, rows, 1, &e));
        ok(db_commit(t.db, &e));
    }
    assert_int_equal(number("SELECT count(*) FROM dead_letters"), 2);
    CLEANUP(db_rows_freep) struct db_rows *r = NULL;
    ok(db_exec(t.db,
               "SELECT payload FROM dead_letters WHERE \"offset\" = 9 AND position = 4 AND field = 'a.b' "
               "AND reason = 'syntax' AND endpoint_id = 0",
               NULL, 0, &r, &e));
    assert_int_equal(db_rows_n(r), 1);
    assert_true(str_eq(db_text(r, 0, 0), (struct str){"\0\xff", 2}));
    assert_int_equal(number("SELECT count(*) FROM dead_letters WHERE \"offset\" = 10 AND length(payload) = 65536 AND "
                            "position IS NULL AND size = 100000 AND endpoint_id = 8"),
                     1);
}

static void refused_records_are_kept_over_the_horizon(void **state)
{
    (void)state;
    int64_t early[] = {9, 3, 4, 5, 4}, later[] = {30, 12, 8 /* half of a pair of the flush before */}, *got = NULL;
    size_t n = 0;
    ok(refused_add(t.db, "lake", "t", 0, 10, early, 5, 0, &e));
    ok(refused_add(t.db, "lake", "t", 1, 10, early, 5, 0, &e));
    ok(refused_add(t.db, "statistics", "t", 0, 10, early, 1, 0, &e));
    ok(refused_add(t.db, "lake", "t", 0, 31, later, 3, 10, &e)); /* a flush that ended there may have the horizon's first */
    ok(refused_list(t.db, "lake", "t", 0, 4, &got, &n, &e));
    const int64_t want[] = {4, 5, 8, 9, 12, 30};
    assert_int_equal(n, 6);
    assert_memory_equal(got, want, sizeof want);
    mem_free(got);
    ok(refused_add(t.db, "lake", "t", 0, 40, later, 1, 11, &e));
    ok(refused_list(t.db, "lake", "t", 0, 0, &got, &n, &e));
    assert_int_equal(n, 4); /* 8, 8, 12, 30 */
    assert_true(got[0] == 8 && got[1] == 8 && got[3] == 30);
    mem_free(got);
    ok(refused_list(t.db, "lake", "other", 0, 0, &got, &n, &e));
    assert_int_equal(n, 0);
    mem_free(got);
}

int main(void)
{
    int failed = 0;
    const struct CMUnitTest everywhere[] = {
        cmocka_unit_test_setup_teardown(refused_records_are_kept_over_the_horizon, setup, teardown),
        cmocka_unit_test_setup_teardown(rows_begin_unowned, setup, teardown),
        cmocka_unit_test_setup_teardown(an_older_owner_is_fenced, setup, teardown),
        cmocka_unit_test_setup_teardown(a_frontier_is_the_least, setup, teardown),
        cmocka_unit_test_setup_teardown(slots_are_appended_and_read, setup, teardown),
        cmocka_unit_test_setup_teardown(folding_takes_exactly_what_it_read, setup, teardown),
        cmocka_unit_test_setup_teardown(sums_are_by_step, setup, teardown),
        cmocka_unit_test_setup_teardown(pending_windows_add_up, setup, teardown),
        cmocka_unit_test_setup_teardown(a_project_that_is_made_again_takes_its_rows_over, setup, teardown),
        cmocka_unit_test_setup_teardown(windows_are_due_when_settled, setup, teardown),
        cmocka_unit_test_setup_teardown(a_window_gets_one_revision_after_another, setup, teardown),
        cmocka_unit_test_setup_teardown(two_takers_one_window, setup, teardown),
        cmocka_unit_test_setup_teardown(the_sweep_finds_what_was_missed, setup, teardown),
        cmocka_unit_test_setup_teardown(closed_quiet_windows_are_folded_once, setup, teardown),
        cmocka_unit_test_setup_teardown(the_outbox_keeps_promises, setup, teardown),
        cmocka_unit_test_setup_teardown(a_result_changes_only_forward, setup, teardown),
        cmocka_unit_test_setup_teardown(a_batch_may_hold_a_key_twice, setup, teardown),
        cmocka_unit_test_setup_teardown(new_and_known_rows_mix, setup, teardown),
        cmocka_unit_test_setup_teardown(results_are_read, setup, teardown),
        cmocka_unit_test_setup_teardown(statistics_of_apps_have_a_newest, setup, teardown),
        cmocka_unit_test_setup_teardown(files_are_found_by_time, setup, teardown),
        cmocka_unit_test_setup_teardown(dead_letters_are_kept_once, setup, teardown),
    };
    const struct CMUnitTest of_postgres[] = {
        cmocka_unit_test_setup_teardown(closer_and_sink_wait_for_each_other, setup, teardown),
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
