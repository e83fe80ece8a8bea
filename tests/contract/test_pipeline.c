/* Contract of the pipeline on a real Kafka and PostgreSQL, and on the local log and SQLite: each record's effect once,
 * whatever fails in between.
 * A run is a child process, so that it can die in the middle of a flush; what it did is in a table. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "db/ledger.h"
#include "db/project.h"
#include "pipeline/acks.h"
#include "pipeline/pipeline.h"
#include "proxy.h"
#include "topics.h"

#define SEC USEC_PER_SEC
#define PARTITIONS 3
#define POISONS 3

struct flags {              /* shared with the child */
    atomic_int fail_writes; /* so many times write() says E_AGAIN */
    atomic_int fail_records;
    atomic_bool die_in_write, die_after_prepare, hold; /* … of partition 0; hold: nothing is due */
    atomic_llong range_end;                            /* of the last prepare of partition 0 */
    atomic_int prepares, started;
    atomic_llong produce_from, produce_to; /* a child that has the local log produces what the parent wants */
    atomic_int asked;                      /* topics() was called so often */
    atomic_bool unsettled;                 /* its health says that a COMMIT is open */
    atomic_bool second, first_goes;        /* the child: another pipeline joins; the first one leaves */
    atomic_llong refused[POISONS];         /* values that the database does not take; 0: none */
    atomic_llong odd_at;                   /* in place of this number goes a text; 0: none */
    atomic_bool fatal, failed;             /* the next write() says E_FATAL; the pipeline has said that it failed */
    atomic_int project;                    /* the child's topic is of this one now; 0: of the fixture's */
    atomic_bool steal, stolen, placed; /* another claims partition 0 while it is prepared; and has; it was placed all the same */
    atomic_int told_refused, dropped; /* refused() and done(dropped) were called so often */
};

struct fixture {
    struct flags *flags;
    char url[300], through[300], name[64], topic[80], pipeline[80], group[80];
    struct bus_config bus;
    struct db_config db, child_db; /* through: of the proxy; "": there is none */
    int32_t project;
    struct db *check;
    struct bus_producer *producer;
    bool intent, frontier, skip_lost;
    pid_t child;
};

static char test_name[] = "test";
static bool embedded; /* the local log and SQLite */

static void ok(rc_t rc, const struct err *e)
{
    if (rc)
        fail_msg("%s: %s", rc_name(rc), e->text);
}

/* ---- the handler of the child ---- */

struct item {
    struct pipeline_part *part;
    int64_t offset, value;
};
struct handler {
    struct fixture *f;
    struct item items[100000];
    size_t n;
    int64_t since_us;
    struct pipeline_topic topic;
};

static rc_t record(void *self, const struct pipeline_record *r, struct err *e)
{
    struct handler *h = self;
    atomic_store(&h->f->flags->started, 1);
    if (atomic_load(&h->f->flags->fail_records) > 0) {
        atomic_fetch_sub(&h->f->flags->fail_records, 1);
        return err_set(e, E_AGAIN, "not now");
    }
    if (h->n == 0)
        h->since_us = clock_mono_us();
    struct item *item = &h->items[h->n++];
    *item = (struct item){r->part, r->offset, 0};
    return num_i64(r->value, &item->value) ? err_set(e, E_INVALID, "no number") : OK;
}

static bool due(void *self, int64_t mono_us)
{
    struct handler *h = self;
    return !atomic_load(&h->f->flags->hold) && (h->n >= 10 || (h->n && mono_us - h->since_us > 100 * USEC_PER_MSEC));
}

static rc_t prepare(void *self, struct db *db, struct pipeline_part *const *parts, size_t n, struct err *e)
{
    struct handler *h = self;
    rc_t rc = OK;
    atomic_fetch_add(&h->f->flags->prepares, 1);
    for (size_t i = 0; i < n; i++) {
        if (parts[i]->partition != 0)
            continue;
        atomic_store(&h->f->flags->range_end, parts[i]->position);
        if (atomic_exchange(&h->f->flags->die_after_prepare, false))
            _exit(137);
        if (atomic_exchange(&h->f->flags->steal, false)) {
            struct ledger_row row = {0};
            rc = ledger_claim(db, h->f->pipeline, parts[i]->topic, 0, "another", &row, e);
            ledger_row_done(&row);
            atomic_store(&h->f->flags->stolen, true);
        }
    }
    return rc;
}

static rc_t place(void *self, struct pipeline_part *const *parts, size_t n, bool replace, struct err *e)
{
    struct handler *h = self;
    (void)e, (void)replace;
    for (size_t i = 0; i < n; i++)
        if (parts[i]->partition == 0 && atomic_load(&h->f->flags->stolen))
            atomic_store(&h->f->flags->placed, true);
    return OK;
}

/* What does not fit into its column, in each database's own way. */
static rc_t write_refused(struct fixture *f, struct db *db, int64_t value, struct err *e)
{
    bool is_one = false;
    for (int i = 0; i < POISONS; i++)
        is_one = is_one || (value && atomic_load(&f->flags->refused[i]) == value);
    const struct db_value v = embedded ? DBV_TEXTZ("none") : DBV_I64(INT32_MAX);
    return is_one ? db_exec(db, "INSERT INTO narrow VALUES ($1)", &v, 1, NULL, e) : OK;
}

static rc_t write_items(void *self, struct db *db, struct pipeline_part *const *parts, size_t n, struct err *e)
{
    struct handler *h = self;
    rc_t rc = OK;
    for (size_t i = 0; rc == OK && i < h->n; i++) {
        bool ours = false;
        for (size_t k = 0; k < n; k++)
            ours = ours || parts[k] == h->items[i].part;
        const struct db_value v[] = {DBV_I64(h->items[i].value), DBV_I64(h->items[i].part->partition),
                                     DBV_I64(h->items[i].offset)};
        if (ours)
            rc = db_exec(db, "INSERT INTO got VALUES ($1, $2, $3)", v, 3, NULL, e);
        if (rc == OK && ours)
            rc = write_refused(h->f, db, h->items[i].value, e);
    }
    if (atomic_exchange(&h->f->flags->die_in_write, false))
        _exit(137);
    if (atomic_exchange(&h->f->flags->fatal, false))
        return err_set(e, E_FATAL, "never again");
    if (rc == OK && atomic_load(&h->f->flags->fail_writes) > 0) {
        atomic_fetch_sub(&h->f->flags->fail_writes, 1);
        return err_set(e, E_AGAIN, "not now");
    }
    return rc;
}

static void done(void *self, const struct pipeline_part *part, bool committed)
{
    struct handler *h = self;
    size_t kept = 0;
    atomic_fetch_add(&h->f->flags->dropped, !committed);
    if (!committed)
        atomic_store(&h->f->flags->stolen, false);
    for (size_t i = 0; i < h->n; i++)
        if (part && h->items[i].part != part)
            h->items[kept++] = h->items[i];
    h->n = kept;
}

static void refused(void *self, const struct pipeline_record *r)
{
    (void)r;
    struct handler *h = self;
    atomic_fetch_add(&h->f->flags->told_refused, 1);
}

static rc_t topics(void *self, struct db *db, const struct pipeline_topic **ret, size_t *n, struct err *e)
{
    (void)db;
    (void)e;
    struct handler *h = self;
    int32_t project = atomic_load(&h->f->flags->project);
    atomic_fetch_add(&h->f->flags->asked, 1);
    h->topic.project_id = project ? project : h->f->project;
    *ret = &h->topic;
    *n = 1;
    return OK;
}

static atomic_bool child_stop;

static void on_term(int signo)
{
    (void)signo;
    atomic_store(&child_stop, true);
}

static void failed(void *self, const char *words)
{
    const struct handler *h = self;
    (void)words;
    atomic_store(&h->f->flags->failed, true);
    atomic_store(&child_stop, true);
}

static void send_numbers(struct fixture *f, struct bus_producer *producer, int64_t from, int64_t to);

static struct pipeline *child_pipeline(struct fixture *f, struct bus_producer *producer, struct health *health)
{
    static const struct pipeline_ops ops = {record, due, prepare, write_items, done, refused, place};
    struct handler *h = mem_alloc(sizeof *h);
    h->f = f;
    h->topic = (struct pipeline_topic){f->topic, f->project};
    struct err e;
    struct pipeline *p = NULL;
    if (pipeline_open(&p,
                      &(struct pipeline_config){.name = f->pipeline,
                                                .group = f->group,
                                                .bus = &f->bus,
                                                .db = f->through[0] ? &f->child_db : &f->db,
                                                .producer = producer,
                                                .ops = &ops,
                                                .self = h,
                                                .topics = topics,
                                                .intent = f->intent,
                                                .frontier = f->frontier,
                                                .skip_lost = f->skip_lost,
                                                .health = health,
                                                .failed = failed},
                      &e) ||
        pipeline_start(p, &e)) {
        (void)fprintf(stderr, "child: %s\n", e.text);
        _exit(3);
    }
    return p;
}

static void look_at_health(struct fixture *f, struct health *health)
{
    static const char words[] = "whether a transaction was committed";
    CLEANUP(buf_done) struct buf text = {0};
    (void)health_render(health, &text);
    atomic_store(&f->flags->unsettled, memmem(text.data, text.len, words, sizeof words - 1) != NULL);
}

static void child_end(struct pipeline *p)
{
    if (p)
        pipeline_stop(p, 3 * SEC);
    pipeline_free(p);
}

static void child_main(struct fixture *f)
{
    (void)signal(SIGTERM, on_term);
    struct err e;
    struct bus_producer *producer = NULL;
    struct health *health = health_new("test"), *health2 = health_new("test");
    if (bus_producer_open(&producer, &f->bus, &e)) {
        (void)fprintf(stderr, "child: %s\n", e.text);
        _exit(3);
    }
    struct pipeline *first = child_pipeline(f, producer, health), *second = NULL;
    while (!atomic_load(&child_stop)) {
        int64_t from = atomic_load(&f->flags->produce_from), to = atomic_load(&f->flags->produce_to);
        if (from < to) {
            send_numbers(f, producer, from, to);
            atomic_store(&f->flags->produce_from, to);
        }
        look_at_health(f, health);
        if (!second && atomic_load(&f->flags->second))
            second = child_pipeline(f, producer, health2);
        if (first && atomic_load(&f->flags->first_goes)) {
            child_end(first);
            first = NULL;
        }
        (void)usleep(2000);
    }
    child_end(second);
    child_end(first);
    _exit(0);
}

/* ---- the parent ---- */

/* A connection to SQLite is nothing to take across a fork. */
static void start(struct fixture *f)
{
    struct err e;
    db_free(f->check);
    f->check = NULL;
    (void)fflush(NULL);
    f->child = fork();
    if (f->child == 0)
        child_main(f);
    ok(db_open(&f->check, &f->db, &e), &e);
}

static int stop(struct fixture *f, int signo)
{
    int status = 0;
    if (signo)
        (void)kill(f->child, signo);
    (void)waitpid(f->child, &status, 0);
    f->child = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int64_t ask(struct fixture *f, const char *sql)
{
    struct err e;
    struct db_rows *rows = NULL;
    ok(db_exec(f->check, sql, NULL, 0, &rows, &e), &e);
    int64_t v = db_rows_n(rows) ? db_i64(rows, 0, 0) : 0;
    db_rows_free(rows);
    return v;
}

static void wait_for(struct fixture *f, const char *sql, int64_t want, int64_t timeout_us)
{
    int64_t end = clock_mono_us() + timeout_us, have = -1;
    while ((have = ask(f, sql)) < want && clock_mono_us() < end)
        (void)usleep(20000);
    if (have < want)
        fail_msg("%s is %lld, %lld was awaited", sql, (long long)have, (long long)want);
}

static void send_numbers(struct fixture *f, struct bus_producer *producer, int64_t from, int64_t to)
{
    struct acks acks;
    struct err e;
    acks_init(&acks);
    for (int64_t v = from; v < to; v++) {
        char text[24], key[24];
        bool odd = v && atomic_load(&f->flags->odd_at) == v;
        int n = snprintf(text, sizeof text, odd ? "number %lld" : "%lld", (long long)v),
            k = snprintf(key, sizeof key, "k%lld", (long long)v);
        ok(acks_produce(&acks, producer, f->topic, (struct str){key, (size_t)k}, (struct str){text, (size_t)n}, NULL, 0,
                        5 * SEC, &e),
           &e);
    }
    ok(acks_wait(&acks, 20 * SEC, &e), &e);
    acks_done(&acks);
}

/* The local log is one process's: the child's while there is one. */
static void produce(struct fixture *f, int64_t from, int64_t to)
{
    if (!embedded) {
        send_numbers(f, f->producer, from, to);
        return;
    }
    if (f->child <= 0) {
        struct bus_producer *p = NULL;
        struct err e;
        ok(bus_producer_open(&p, &f->bus, &e), &e);
        send_numbers(f, p, from, to);
        bus_producer_free(p);
        return;
    }
    atomic_store(&f->flags->produce_from, from);
    atomic_store(&f->flags->produce_to, to);
    int64_t end = clock_mono_us() + 30 * SEC;
    while (atomic_load(&f->flags->produce_from) < to && clock_mono_us() < end)
        (void)usleep(1000);
    assert_int_equal(atomic_load(&f->flags->produce_from), to);
}

static void wait_flag(atomic_int *flag, int want)
{
    int64_t end = clock_mono_us() + 20 * SEC;
    while (atomic_load(flag) < want && clock_mono_us() < end)
        (void)usleep(10000);
    assert_true(atomic_load(flag) >= want);
}

static void assert_each_once(struct fixture *f, int64_t n)
{
    wait_for(f, "SELECT count(*) FROM got", n, 40 * SEC);
    assert_int_equal(ask(f, "SELECT count(*) FROM got"), n);
    assert_int_equal(ask(f, "SELECT count(DISTINCT value) FROM got"), n);
    assert_int_equal(ask(f, "SELECT count(DISTINCT partition * 1000000000 + \"offset\") FROM got"), n);
}

static void assert_each_once_from(struct fixture *f, int64_t from, int64_t n)
{
    char sql[160];
    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM got WHERE value BETWEEN %lld AND %lld", (long long)from,
                   (long long)(from + n - 1));
    wait_for(f, sql, n, 40 * SEC);
    assert_int_equal(ask(f, sql), n);
}

static int setup(void **state)
{
    static int count;
    struct fixture *f = mem_alloc(sizeof *f);
    struct err e;
    static char folder[300];
    const char *dir = getenv("MM_TEST_DIR");
    char *brokers = getenv("MM_TEST_KAFKA"), *url = getenv("MM_TEST_PG");
    if (!brokers || !url)
        fail_msg("MM_TEST_KAFKA and MM_TEST_PG must be set");
    dir = dir ? dir : "/tmp";
    f->flags = mmap(NULL, sizeof *f->flags, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    (void)snprintf(f->name, sizeof f->name, "t_pipe_%d_%d", (int)getpid(), count++);
    const char *slash = strrchr(url, '/');
    (void)snprintf(f->url, sizeof f->url, "%.*s/%s", (int)(slash - url), url, f->name);
    if (embedded) {
        (void)snprintf(folder, sizeof folder, "local:%s/%s.bus", dir, f->name);
        (void)snprintf(f->url, sizeof f->url, "sqlite://%s/%s.db", dir, f->name);
        brokers = folder;
    }
    (void)snprintf(f->topic, sizeof f->topic, "%s_topic", f->name);
    (void)snprintf(f->pipeline, sizeof f->pipeline, "%s_p", f->name);
    (void)snprintf(f->group, sizeof f->group, "%s_g", f->name);
    f->bus = (struct bus_config){.brokers = brokers,
                                 .client_id = test_name,
                                 .linger_us = 1000,
                                 .session_us = 6 * SEC,
                                 .partitions = PARTITIONS,
                                 .replication = 1,
                                 .inflight_bytes = 64 << 20};
    f->db = (struct db_config){
        .url = f->url, .connect_us = 3 * SEC, .statement_us = 10 * SEC, .migrate = true, .app_name = test_name};
    ok(db_open(&f->check, &f->db, &e), &e);
    ok(db_ready(f->check, &e), &e);
    ok(db_exec(f->check, "CREATE TABLE got (value bigint, partition integer, \"offset\" bigint)", NULL, 0, NULL, &e), &e);
    ok(db_exec(f->check, embedded ? "CREATE TABLE narrow (value integer PRIMARY KEY)" : "CREATE TABLE narrow (value smallint)",
               NULL, 0, NULL, &e),
       &e);
    struct project p = {.name = test_name,
                        .artifact_path = (char[]){""},
                        .document = (char[]){"{}"},
                        .base_period_us = 60 * SEC,
                        .monitoring = true};
    ok(project_put(f->check, &p, &e), &e);
    f->project = p.id;
    ok(bus_producer_open(&f->producer, &f->bus, &e), &e);
    int32_t n;
    ok(bus_topic_ensure(f->producer, f->topic, PARTITIONS, &n, 20 * SEC, &e), &e);
    if (embedded) {
        bus_producer_free(f->producer);
        f->producer = NULL;
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    if (f->child > 0)
        (void)stop(f, SIGKILL);
    bus_producer_free(f->producer);
    db_free(f->check);
    if (embedded) {
        mem_free(f);
        return 0;
    }
    struct err e;
    struct db_config admin = f->db;
    char url[320], drop[160];
    const char *slash = strrchr(f->url, '/');
    (void)snprintf(url, sizeof url, "%.*s/postgres", (int)(slash - f->url), f->url);
    (void)snprintf(drop, sizeof drop, "DROP DATABASE IF EXISTS %s WITH (FORCE)", f->name);
    admin.url = url;
    struct db *db = NULL;
    ok(db_open(&db, &admin, &e), &e);
    ok(db_exec(db, drop, NULL, 0, NULL, &e), &e);
    db_free(db);
    mem_free(f);
    return 0;
}

static void test_each_record_once_over_restarts(void **state)
{
    struct fixture *f = *state;
    produce(f, 0, 500);
    start(f);
    assert_each_once(f, 500);
    assert_int_equal(stop(f, SIGTERM), 0);
    produce(f, 500, 800);
    start(f);
    assert_each_once(f, 800);
    assert_int_equal(stop(f, SIGTERM), 0);
}

static void test_killed_inside_its_transaction(void **state)
{
    struct fixture *f = *state;
    produce(f, 0, 300);
    atomic_store(&f->flags->die_in_write, true);
    start(f);
    assert_int_equal(stop(f, 0), 137);
    assert_int_equal(ask(f, "SELECT count(*) FROM got"), 0);
    start(f);
    assert_each_once(f, 300);
}

static void test_failures_are_tried_again(void **state)
{
    struct fixture *f = *state;
    atomic_store(&f->flags->fail_writes, 3);
    atomic_store(&f->flags->fail_records, 2);
    produce(f, 0, 200);
    start(f);
    assert_each_once(f, 200);
    assert_int_equal(atomic_load(&f->flags->fail_writes), 0);
}

/* The verdict is the service's: the process drains, and the next one goes on at the ledger. */
static void test_a_pipeline_that_cannot_go_on_says_so(void **state)
{
    struct fixture *f = *state;
    atomic_store(&f->flags->fatal, true);
    produce(f, 0, 100);
    start(f);
    assert_int_equal(stop(f, 0), 0);
    assert_true(atomic_load(&f->flags->failed));
    int64_t before = ask(f, "SELECT count(*) FROM got");
    assert_true(before < 100); /* nothing was flushed after it */
    start(f);
    assert_each_once(f, 100);
}

/* All but these have their effect, once; they are dead letters, and it is the same process all the way. */
static void assert_refused(struct fixture *f, int64_t n, int refused)
{
    assert_each_once(f, n - refused);
    wait_for(f, "SELECT count(*) FROM dead_letters WHERE reason = 'internal'", refused, 20 * SEC);
    assert_int_equal(ask(f, "SELECT count(*) FROM dead_letters"), refused);
    assert_int_equal(atomic_load(&f->flags->told_refused), refused);
    assert_int_equal(stop(f, SIGTERM), 0);
    for (int i = 0; i < POISONS; i++) {
        char sql[200];
        long long value = atomic_load(&f->flags->refused[i]);
        (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM got WHERE value = %lld", value);
        assert_int_equal(value ? ask(f, sql) : 0, 0);
    }
    start(f); /* the ledger is past them */
    produce(f, n, n + 10);
    assert_each_once(f, n + 10 - refused);
    assert_int_equal(ask(f, "SELECT count(*) FROM dead_letters"), refused);
}

static void test_what_the_database_refuses_is_a_dead_letter(void **state)
{
    struct fixture *f = *state;
    const int64_t values[POISONS] = {17, 250, 251};
    for (int i = 0; i < POISONS; i++)
        atomic_store(&f->flags->refused[i], values[i]);
    atomic_store(&f->flags->hold, true);
    produce(f, 0, 500);
    start(f);
    wait_flag(&f->flags->started, 1);
    atomic_store(&f->flags->hold, false); /* so that flushes are large */
    assert_refused(f, 500, POISONS);
    assert_true(ask(f, "SELECT count(*) FROM dead_letters WHERE error LIKE '%database refuses%' AND size <= 3") == POISONS);
}

/* The range of a flush that was refused is in the ledger; parts of it are promised then. */
static void test_what_the_database_refuses_of_a_promised_range(void **state)
{
    struct fixture *f = *state;
    f->intent = f->frontier = true;
    atomic_store(&f->flags->refused[0], 33);
    atomic_store(&f->flags->hold, true);
    produce(f, 0, 100);
    start(f);
    wait_flag(&f->flags->started, 1);
    atomic_store(&f->flags->hold, false);
    assert_refused(f, 100, 1);
    assert_int_equal(ask(f, "SELECT count(*) FROM ledger WHERE intent_end IS NOT NULL"), 0);
}

/* One alone is not searched for: two claims, the second to make its memory right. */
static void test_a_single_record_the_database_refuses(void **state)
{
    struct fixture *f = *state;
    start(f);
    produce(f, 0, 1);
    assert_each_once(f, 1);
    atomic_store(&f->flags->dropped, 0);
    atomic_store(&f->flags->refused[0], 1);
    produce(f, 1, 2);
    wait_for(f, "SELECT count(*) FROM dead_letters", 1, 20 * SEC);
    assert_true(atomic_load(&f->flags->dropped) <= PARTITIONS);
    produce(f, 2, 3);
    assert_refused(f, 3, 1);
}

/* record() itself cannot: the test's takes numbers alone. */
static void test_a_record_that_cannot_be_handled_is_a_dead_letter(void **state)
{
    struct fixture *f = *state;
    atomic_store(&f->flags->odd_at, 40);
    produce(f, 0, 100);
    start(f);
    assert_each_once(f, 99);
    wait_for(f, "SELECT count(*) FROM dead_letters WHERE reason = 'internal' AND error LIKE '%number%'", 1, 20 * SEC);
    assert_int_equal(atomic_load(&f->flags->told_refused), 1);
    assert_int_equal(stop(f, SIGTERM), 0);
}

static void test_two_members_share_and_hand_over(void **state)
{
    struct fixture *f = *state;
    produce(f, 0, 200);
    start(f);
    pid_t first = f->child;
    wait_for(f, "SELECT count(*) FROM got", 100, 30 * SEC);
    start(f);
    produce(f, 200, 600);
    assert_each_once(f, 600);
    (void)kill(first, SIGKILL);
    (void)waitpid(first, NULL, 0);
    produce(f, 600, 900);
    assert_each_once(f, 900);
}

static void test_two_pipelines_share_a_process(void **state)
{
    struct fixture *f = *state;
    produce(f, 0, 200);
    start(f);
    wait_for(f, "SELECT count(*) FROM got", 100, 30 * SEC);
    atomic_store(&f->flags->second, true);
    produce(f, 200, 600);
    assert_each_once(f, 600);
    atomic_store(&f->flags->first_goes, true);
    produce(f, 600, 900);
    assert_each_once(f, 900);
    assert_int_equal(stop(f, SIGTERM), 0);
}

/* Killed at any moment, again and again: what was acknowledged has its effect, and has it once. */
static void test_killed_again_and_again(void **state)
{
    struct fixture *f = *state;
    int64_t n = 0;
    for (int round = 0; round < 8; round++) {
        start(f);
        produce(f, n, n + 150);
        n += 150;
        (void)usleep((useconds_t)(round * 13000 % 50000));
        assert_int_equal(stop(f, SIGKILL), 128 + SIGKILL);
    }
    start(f);
    produce(f, n, n + 10); /* what this one does itself: it is up by then */
    assert_each_once(f, n + 10);
    assert_int_equal(stop(f, SIGTERM), 0);
}

static void test_an_owner_that_slept_is_fenced(void **state)
{
    struct fixture *f = *state;
    struct err e;
    atomic_store(&f->flags->hold, true);
    produce(f, 0, 100);
    start(f);
    int64_t end = clock_mono_us() + 30 * SEC;
    while (!atomic_load(&f->flags->started) && clock_mono_us() < end)
        (void)usleep(10000);
    for (int32_t i = 0; i < PARTITIONS; i++) { /* another owner has taken over meanwhile */
        struct ledger_row row = {0};
        ok(ledger_claim(f->check, f->pipeline, f->topic, i, "other", &row, &e), &e);
        ledger_row_done(&row);
    }
    atomic_store(&f->flags->hold, false);
    produce(f, 100, 130);
    wait_for(f, "SELECT 1", 1, SEC);
    end = clock_mono_us() + 10 * SEC;
    while (atomic_load(&f->flags->prepares) == 0 && clock_mono_us() < end)
        (void)usleep(10000);
    assert_int_not_equal(atomic_load(&f->flags->prepares), 0);
    (void)stop(f, SIGTERM);
    assert_int_equal(ask(f, "SELECT count(*) FROM got"), 0);
    start(f);
    assert_each_once(f, 130);
}

static void test_what_was_prepared_for_another_owner_is_not_placed(void **state)
{
    struct fixture *f = *state;
    f->intent = true;
    atomic_store(&f->flags->steal, true);
    produce(f, 0, 100);
    start(f);
    assert_each_once(f, 100); /* it claims again after a session: nobody else does anything */
    assert_false(atomic_load(&f->flags->steal));
    assert_false(atomic_load(&f->flags->placed));
    assert_int_equal(stop(f, SIGTERM), 0);
}

static void test_a_replay_covers_the_intended_range(void **state)
{
    struct fixture *f = *state;
    f->intent = true;
    produce(f, 0, 60);
    atomic_store(&f->flags->die_after_prepare, true);
    start(f);
    assert_int_equal(stop(f, 0), 137);
    long long promised = atomic_load(&f->flags->range_end);
    assert_int_equal(ask(f, "SELECT coalesce(max(intent_end), -1) FROM ledger WHERE partition = 0"), promised);
    produce(f, 60, 400);
    atomic_store(&f->flags->die_after_prepare, true); /* and once more, with more records there */
    atomic_store(&f->flags->range_end, 0);
    start(f);
    assert_int_equal(stop(f, 0), 137);
    assert_int_equal(atomic_load(&f->flags->range_end), promised);
    start(f);
    assert_each_once(f, 400);
}

static void test_the_frontier_moves_when_nothing_comes(void **state)
{
    struct fixture *f = *state;
    f->frontier = true;
    produce(f, 0, 30);
    start(f);
    char sql[160];
    (void)snprintf(sql, sizeof sql, "SELECT coalesce(min(coalesce(frontier_us, 0)), 0) FROM ledger");
    int64_t now = clock_now_us();
    wait_for(f, sql, now, 30 * SEC);
    assert_each_once(f, 30);
    wait_for(f, sql, clock_now_us(), 5 * SEC); /* idle, and still moving */
    atomic_store(&f->flags->hold, true);
    produce(f, 30, 31);
    (void)usleep(300000);
    int64_t held = clock_now_us();
    (void)usleep(2500000);
    assert_true(ask(f, sql) < held + SEC); /* a record not committed holds it back */
}

/* ---- logs that are lost or replaced ---- */

static void make_topic(struct fixture *f)
{
    struct bus_producer *own = NULL;
    struct err e;
    int32_t n;
    if (embedded)
        ok(bus_producer_open(&own, &f->bus, &e), &e);
    ok(bus_topic_ensure(embedded ? own : f->producer, f->topic, PARTITIONS, &n, 20 * SEC, &e), &e);
    bus_producer_free(own);
}

static void skip_all(struct fixture *f, int64_t to)
{
    for (int32_t i = 0; i < PARTITIONS; i++) {
        struct err e;
        int64_t from = 0;
        ok(ledger_skip(f->check, f->pipeline, f->topic, i, to, false, test_name, &from, &e), &e);
        assert_true(from > 0);
    }
}

#define REPLACED                                                                                                       \
    "SELECT count(*) FROM ledger WHERE stopped = 'log_replaced' AND last_error LIKE 'the log was deleted and made "    \
    "anew%'"

/* Down while its topic is replaced, up again when the new one has long passed the ledger's offsets. */
static void test_a_log_replaced_while_away_stops(void **state)
{
    struct fixture *f = *state;
    produce(f, 0, 60);
    start(f);
    assert_each_once(f, 60);
    assert_int_equal(stop(f, SIGTERM), 0);
    topic_delete(f->bus.brokers, f->topic);
    make_topic(f);
    produce(f, 1000, 1300);
    start(f);
    wait_for(f, REPLACED, PARTITIONS, 20 * SEC);
    assert_int_equal(stop(f, SIGTERM), 0);
    start(f); /* and it stays so */
    wait_for(f, "SELECT min(owner_epoch) FROM ledger", 3, 20 * SEC);
    assert_int_equal(ask(f, REPLACED), PARTITIONS);
    assert_int_equal(ask(f, "SELECT count(*) FROM got"), 60);
    skip_all(f, LEDGER_LOW);
    wait_for(f, "SELECT count(*) FROM got WHERE value >= 1000", 300, 20 * SEC);
    assert_int_equal(ask(f, "SELECT count(*) FROM got"), 360);
    assert_int_equal(ask(f, "SELECT sum(generation) FROM ledger WHERE stopped = ''"), PARTITIONS);
    assert_int_equal(ask(f, "SELECT count(*) FROM operator_actions WHERE who = 'test' AND action = 'ledger_skip' "
                            "AND to_offset = -1 AND detail = 'log_replaced'"),
                     PARTITIONS);
    assert_int_equal(stop(f, SIGTERM), 0);
    start(f); /* the new log is known from now on */
    produce(f, 2000, 2010);
    wait_for(f, "SELECT count(*) FROM got", 370, 20 * SEC);
    assert_int_equal(ask(f, REPLACED), 0);
}

static void test_a_shorter_log_stops_and_goes_on_at_its_end(void **state)
{
    struct fixture *f = *state;
    struct err e;
    int64_t from;
    produce(f, 0, 300);
    start(f);
    assert_each_once(f, 300);
    assert_int_equal(ledger_skip(f->check, f->pipeline, f->topic, 0, 5, false, test_name, &from, &e), E_CONFLICT); /* it runs */
    assert_int_equal(stop(f, SIGTERM), 0);
    topic_delete(f->bus.brokers, f->topic);
    make_topic(f);
    produce(f, 1000, 1030);
    start(f);
    wait_for(f, REPLACED, PARTITIONS, 20 * SEC);
    skip_all(f, LEDGER_HIGH);
    wait_for(f, "SELECT count(*) FROM ledger WHERE stopped = '' AND next_offset >= 0", PARTITIONS, 20 * SEC);
    produce(f, 2000, 2030);
    wait_for(f, "SELECT count(*) FROM got WHERE value >= 2000", 30, 20 * SEC);
    assert_int_equal(ask(f, "SELECT count(*) FROM got WHERE value BETWEEN 1000 AND 1999"), 0);
}

/* Deleted, made and filled again under a running consumer. It says so, and leaves in time. */
static void test_a_log_replaced_under_way_stops(void **state)
{
    struct fixture *f = *state;
    f->frontier = true;
    produce(f, 0, 60);
    start(f);
    assert_each_once(f, 60);
    wait_for(f, "SELECT count(*) FROM ledger WHERE mark_offset >= 0", PARTITIONS, 20 * SEC);
    topic_delete(f->bus.brokers, f->topic);
    make_topic(f);
    produce(f, 1000, 1300);
    wait_for(f, REPLACED, PARTITIONS, 40 * SEC);
    int64_t begun = clock_mono_us();
    assert_int_equal(stop(f, SIGTERM), 0);
    assert_true(clock_mono_us() - begun < 10 * SEC);
}

/* SKIP_LOST_OFFSETS=true: the same, and it goes on by itself at what the new log has. */
static void test_skip_lost_offsets_goes_on_in_a_log_replaced_under_way(void **state)
{
    struct fixture *f = *state;
    f->skip_lost = true;
    produce(f, 0, 60);
    start(f);
    assert_each_once(f, 60);
    wait_for(f, "SELECT count(*) FROM ledger WHERE mark_offset >= 0", PARTITIONS, 20 * SEC);
    topic_delete(f->bus.brokers, f->topic);
    make_topic(f);
    produce(f, 1000, 1300);
    wait_for(f, "SELECT count(DISTINCT value) FROM got WHERE value >= 1000", 300, 40 * SEC);
    wait_for(f, "SELECT count(*) FROM ledger WHERE generation = 1 AND stopped = ''", PARTITIONS, 20 * SEC);
    assert_int_equal(stop(f, SIGTERM), 0);
}

/* SKIP_LOST_OFFSETS=true: a claim that has put partitions back to the begin of a new log and then fails moves nothing. */
static void test_skip_lost_offsets_survives_half_a_claim(void **state)
{
    struct fixture *f = *state;
    struct err e;
    f->skip_lost = true;
    produce(f, 0, 300);
    start(f);
    assert_each_once(f, 300);
    assert_int_equal(stop(f, SIGTERM), 0);
    topic_delete(f->bus.brokers, f->topic);
    make_topic(f);
    produce(f, 1000, 1030);
    ok(db_exec(f->check,
               "CREATE FUNCTION not_now() RETURNS trigger LANGUAGE plpgsql AS "
               "$$BEGIN PERFORM pg_sleep(2); RAISE 'not now' USING ERRCODE = '40001'; END$$",
               NULL, 0, NULL, &e),
       &e);
    ok(db_exec(f->check,
               "CREATE TRIGGER half BEFORE UPDATE ON ledger FOR EACH ROW "
               "WHEN (NEW.partition = 2 AND NEW.generation > OLD.generation) EXECUTE FUNCTION not_now()",
               NULL, 0, NULL, &e),
       &e);
    start(f);
    wait_for(f, "SELECT count(*) FROM ledger WHERE generation = 1", 2, 20 * SEC); /* it ends in the middle of a claim */
    assert_int_equal(stop(f, SIGTERM), 0);
    assert_int_equal(ask(f, "SELECT max(next_offset) FROM ledger WHERE generation = 1"), 0);
    ok(db_exec(f->check, "DROP TRIGGER half ON ledger", NULL, 0, NULL, &e), &e);
    start(f);
    assert_each_once_from(f, 1000, 30);
}

/* The answer to a COMMIT is lost and the database stays away: the pipeline lives meanwhile, says what it waits for, and counts
 * nothing twice. */
static void make_project_again(struct fixture *f)
{
    struct err e;
    struct project p = {.name = test_name, .base_period_us = 60 * SEC, .monitoring = true};
    ok(project_put(f->check, &p, &e), &e);
    atomic_store(&f->flags->project, p.id);
}

/* Nothing that was sent to the former one has its effect for the next one, whether it was handled already or not. */
static void test_a_project_deleted_and_made_again_under_way(void **state)
{
    struct fixture *f = *state;
    struct err e;
    f->frontier = true;
    produce(f, 0, 60);
    start(f);
    assert_each_once(f, 60);
    atomic_store(&f->flags->hold, true);
    produce(f, 60, 90);
    (void)usleep(300000);
    ok(project_delete(f->check, f->project, &e), &e);
    atomic_store(&f->flags->hold, false);
    produce(f, 90, 100);
    (void)usleep(20000);
    make_project_again(f);
    produce(f, 1000, 1060);
    wait_for(f, "SELECT count(*) FROM got WHERE value >= 1000", 60, 20 * SEC);
    wait_for(f, "SELECT count(*) FROM ledger WHERE project_id = (SELECT id FROM projects) AND frontier_us > since_us",
             PARTITIONS, 20 * SEC);
    assert_int_equal(ask(f, "SELECT count(*) FROM got"), 120);
    assert_int_equal(ask(f, "SELECT count(*) FROM got WHERE value >= 60 AND value < 1000"), 0);
    assert_int_equal(stop(f, SIGTERM), 0);
}

/* Its topic went with it, and nobody is asked: nothing of the next one is lost by that. */
static void test_a_project_made_again_with_another_log(void **state)
{
    struct fixture *f = *state;
    struct err e;
    produce(f, 0, 60);
    start(f);
    assert_each_once(f, 60);
    assert_int_equal(stop(f, SIGTERM), 0);
    ok(project_delete(f->check, f->project, &e), &e);
    topic_delete(f->bus.brokers, f->topic);
    make_topic(f);
    make_project_again(f);
    produce(f, 1000, 1300);
    start(f);
    wait_for(f, "SELECT count(*) FROM got WHERE value >= 1000", 300, 20 * SEC);
    assert_int_equal(ask(f, "SELECT count(*) FROM got"), 360);
    assert_int_equal(ask(f, REPLACED), 0);
    assert_int_equal(stop(f, SIGTERM), 0);
}

static void test_a_lost_answer_to_commit_and_an_outage(void **state)
{
    struct fixture *f = *state;
    const char *port = strrchr(f->url, ':') + 1, *rest = strchr(port, '/');
    struct proxy *proxy = proxy_start((int)strtol(port, NULL, 10));
    (void)snprintf(f->through, sizeof f->through, "%.*s%d%s", (int)(port - f->url), f->url, proxy_port(proxy), rest);
    f->child_db = f->db;
    f->child_db.url = f->through;
    start(f);
    wait_for(f, "SELECT count(*) FROM ledger WHERE owner_epoch > 0", PARTITIONS, 20 * SEC);
    proxy_set(proxy, PROXY_EAT_AND_CUT, "COMMIT");
    produce(f, 0, 20);
    wait_for(f, "SELECT count(*) FROM got", 1, 20 * SEC);
    int64_t end = clock_mono_us() + 20 * SEC;
    while (!atomic_load(&f->flags->unsettled) && clock_mono_us() < end)
        (void)usleep(10000);
    wait_flag(&f->flags->asked, atomic_load(&f->flags->asked) + 3);
    assert_true(atomic_load(&f->flags->unsettled));
    proxy_set(proxy, PROXY_PASS, NULL);
    produce(f, 20, 60);
    assert_each_once(f, 60);
    assert_int_equal(stop(f, SIGTERM), 0);
    proxy_stop(proxy);
}

/* A transaction's marker is the last of what was promised: a replay sees nothing there, and must not take what comes after. */
static void test_a_replay_ends_in_a_gap(void **state)
{
    struct fixture *f = *state;
    struct err e;
    f->intent = true;
    start(f);
    wait_for(f, "SELECT count(*) FROM ledger WHERE next_offset >= 0", PARTITIONS, 30 * SEC);
    assert_int_equal(stop(f, SIGTERM), 0);
    topic_transact(f->bus.brokers, f->topic, 0, 0, 5);
    topic_transact(f->bus.brokers, f->topic, 0, 5, 5);
    ok(db_exec(f->check, "UPDATE ledger SET intent_end = 6 WHERE partition = 0", NULL, 0, NULL, &e), &e);
    atomic_store(&f->flags->die_after_prepare, true);
    start(f);
    assert_int_equal(stop(f, 0), 137);
    assert_int_equal(atomic_load(&f->flags->range_end), 6);
    start(f);
    assert_each_once_from(f, 0, 10);
    assert_int_equal(ask(f, "SELECT max(\"offset\") FROM got"), 10);
}

int main(void)
{
    const struct CMUnitTest everywhere[] = {
        cmocka_unit_test_setup_teardown(test_each_record_once_over_restarts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_killed_inside_its_transaction, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failures_are_tried_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_pipeline_that_cannot_go_on_says_so, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_the_database_refuses_is_a_dead_letter, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_the_database_refuses_of_a_promised_range, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_single_record_the_database_refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_record_that_cannot_be_handled_is_a_dead_letter, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_owner_that_slept_is_fenced, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_was_prepared_for_another_owner_is_not_placed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_replay_covers_the_intended_range, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_frontier_moves_when_nothing_comes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_two_pipelines_share_a_process, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_log_replaced_while_away_stops, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_shorter_log_stops_and_goes_on_at_its_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_project_deleted_and_made_again_under_way, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_project_made_again_with_another_log, setup, teardown),
    };
    const struct CMUnitTest of_servers[] = {
        cmocka_unit_test_setup_teardown(test_two_members_share_and_hand_over, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_log_replaced_under_way_stops, setup, teardown),
        cmocka_unit_test_setup_teardown(test_skip_lost_offsets_goes_on_in_a_log_replaced_under_way, setup, teardown),
        cmocka_unit_test_setup_teardown(test_skip_lost_offsets_survives_half_a_claim, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_replay_ends_in_a_gap, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_lost_answer_to_commit_and_an_outage, setup, teardown),
    };
    const struct CMUnitTest of_one_process[] = {
        cmocka_unit_test_setup_teardown(test_killed_again_and_again, setup, teardown),
    };
    int failed = cmocka_run_group_tests(everywhere, NULL, NULL) + cmocka_run_group_tests(of_servers, NULL, NULL);
    embedded = true;
    failed += cmocka_run_group_tests(everywhere, NULL, NULL) + cmocka_run_group_tests(of_one_process, NULL, NULL);
    return failed;
}
