/* Contract of endpoint records through the cache: what is read is what the database has, or had a TTL ago at most; on Redis beside
 * PostgreSQL, in memory beside SQLite. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "../support/proxy.h"
#include "../support/testdb.h"
#include "app/records.h"
#include "base/clock.h"
#include "base/mem.h"
#include "db/project.h"

#define UID STR("ep-1")
#define TTL (400 * USEC_PER_MSEC)

static struct testdb t;
static struct err e;
static char redis_url[192];
static int redis_port;
static bool in_memory;
static int32_t project;
static struct endpoint made;

/* A process: its connections, and what it knows of changes. */
struct side {
    struct db *db;
    struct cache *cache;
    struct records *records;
};

static void ok(rc_t rc)
{
    if (rc)
        fail_msg("%s: %s", rc_name(rc), e.text);
}

static int setup_group(void **state)
{
    (void)state;
    const char *at = getenv("MM_TEST_REDIS"), *colon = at ? strrchr(at, ':') : NULL;
    if (!colon) {
        fprintf(stderr, "MM_TEST_REDIS (host:port) is not set: a Redis server is needed\n");
        exit(1);
    }
    signal(SIGPIPE, SIG_IGN);
    snprintf(redis_url, sizeof redis_url, "redis://%s", at);
    redis_port = (int)strtol(colon + 1, NULL, 10);
    return 0;
}

static int setup(void **state)
{
    (void)state;
    testdb_open(&t, true);
    struct project p = {.name = (char[]){"p"}, .base_period_us = 600 * USEC_PER_SEC, .monitoring = true};
    ok(project_put(t.db, &p, &e));
    project = p.id;
    const struct endpoint in = {.project_id = project,
                                .uid = (char[]){"ep-1"},
                                .name = (char[]){"m \"1\"\\ ü"},
                                .function_name = (char[]){"f"},
                                .labels = (char[]){"{\"a\": \"b\"}"},
                                .document = (char[]){"{\"x\": [1, null]}"},
                                .sampling_percentage = 0.1,
                                .first_request_us = INT64_C(1700000000000001),
                                .last_request_us = INT64_C(1700000000000002)};
    ok(endpoint_create(t.db, &in, "inplace", &made, &e));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    endpoint_done(&made);
    testdb_close(&t);
    return 0;
}

static struct side side_open(const char *url)
{
    struct side s = {0};
    struct cache_config cfg = {.url = in_memory ? (char[]){"memory:"} : (char *)(uintptr_t)url, .ttl_us = 60 * USEC_PER_SEC};
    ok(db_open(&s.db, &t.cfg, &e));
    ok(cache_open(&s.cache, &cfg, &e));
    s.records = records_new(TTL);
    return s;
}

/* One that has been listening for long: what is in the cache is taken. */
static struct side side_new(void)
{
    struct side s = side_open(redis_url);
    records_distrust(s.records);
    usleep((useconds_t)TTL + 1000);
    return s;
}

static void side_done(struct side *s)
{
    db_free(s->db);
    cache_free(s->cache);
    records_free(s->records);
}

static struct endpoint get(const struct side *s)
{
    struct endpoint ep = {0};
    ok(records_get(s->records, s->db, s->cache, project, UID, &ep, &e));
    return ep;
}

static void expect_mode(const struct side *s, const char *want)
{
    struct endpoint ep = get(s);
    assert_string_equal(ep.monitoring_mode, want);
    endpoint_done(&ep);
}

/* Behind everybody's back: what only the database has. */
static void set_mode(const char *mode)
{
    char sql[128];
    snprintf(sql, sizeof sql, "UPDATE endpoints SET monitoring_mode = '%s'", mode);
    ok(db_exec(t.db, sql, NULL, 0, NULL, &e));
}

/* As the api does. */
static void change_mode(const struct side *s, const char *mode)
{
    struct endpoint ep = {0};
    ok(endpoint_get(s->db, project, UID, &ep, &e));
    mem_free(ep.monitoring_mode);
    ep.monitoring_mode = mem_dupz(mode);
    ok(endpoint_update(s->db, &ep, &e));
    records_changed(s->records, s->db, s->cache, project, UID);
    endpoint_done(&ep);
}

static struct str key_of(char out[96])
{
    int64_t identity = 0;
    ok(db_identity(t.db, &identity, &e));
    int n = snprintf(out, 96, "endpoint:%lld:%d:ep-1", (long long)identity, project);
    return (struct str){out, (size_t)n};
}

static void wait_mode(const struct side *s, const char *want)
{
    int64_t until = clock_mono_us() + 10 * USEC_PER_SEC;
    for (bool there = false; !there && clock_mono_us() < until; usleep(5000)) {
        struct endpoint ep = get(s);
        there = strcmp(ep.monitoring_mode, want) == 0;
        endpoint_done(&ep);
    }
    expect_mode(s, want);
}

static void poll_for(const struct side *s, int64_t us)
{
    for (int64_t until = clock_mono_us() + us; clock_mono_us() < until; usleep(1000))
        cache_poll(s->cache);
}

static void expect_same(const struct endpoint *ep, const struct endpoint *m)
{
    const char *const texts[][2] = {{ep->uid, m->uid},
                                    {ep->name, m->name},
                                    {ep->function_name, m->function_name},
                                    {ep->function_tag, m->function_tag},
                                    {ep->function_uri, m->function_uri},
                                    {ep->model_name, m->model_name},
                                    {ep->model_class, m->model_class},
                                    {ep->model_uri, m->model_uri},
                                    {ep->monitoring_mode, m->monitoring_mode},
                                    {ep->labels, m->labels},
                                    {ep->document, m->document}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_string_equal(texts[i][0], texts[i][1]);
    assert_true(ep->id == m->id && ep->project_id == m->project_id && ep->endpoint_type == m->endpoint_type);
    assert_true(ep->mode == m->mode && ep->sampling_percentage == m->sampling_percentage);
    assert_true(ep->self_registered == m->self_registered && ep->latest == m->latest);
    assert_true(ep->first_request_us == m->first_request_us && ep->last_request_us == m->last_request_us);
    assert_true(ep->schema_version == m->schema_version && ep->reference_version == m->reference_version);
    assert_true(ep->created_us == m->created_us && ep->updated_us == m->updated_us && ep->change_seq == m->change_seq);
}

static void a_record_comes_from_the_cache_whole_and_not_for_long(void **state)
{
    (void)state;
    struct side a = side_new(), b = side_new();
    expect_mode(&a, "enabled");
    set_mode("unheard");
    struct endpoint ep = get(&b); /* the database is not asked */
    expect_same(&ep, &made);
    endpoint_done(&ep);
    wait_mode(&b, "unheard"); /* a lost change is seen when the TTL is over */
    side_done(&a);
    side_done(&b);
}

/* Also when a slow reader stores the old record after the change: who knows of the change does not take it. */
static void a_change_is_seen_at_once_and_elsewhere_when_heard(void **state)
{
    (void)state;
    struct side a = side_new(), b = side_open(redis_url), stranger = side_new();
    CLEANUP(buf_done) struct buf old = {0};
    char room[96];
    struct str key = key_of(room);
    ok(records_listen(b.records, b.cache, &e));
    poll_for(&b, 2 * TTL);
    expect_mode(&a, "enabled");
    expect_mode(&b, "enabled");
    assert_int_equal(cache_counts(b.cache).hits, 1);
    ok(cache_get(a.cache, key, &old));
    change_mode(&a, "disabled");
    expect_mode(&a, "disabled");
    expect_mode(&stranger, "disabled"); /* the old one is deleted */
    cache_set_for(stranger.cache, key, buf_str(&old), TTL);
    expect_mode(&a, "disabled");
    poll_for(&b, TTL / 4);
    expect_mode(&b, "disabled");
    cache_set_for(stranger.cache, key, buf_str(&old), TTL);
    expect_mode(&b, "disabled");
    expect_mode(&stranger, "enabled"); /* it has not heard: for a TTL */
    wait_mode(&stranger, "disabled");
    side_done(&a);
    side_done(&b);
    side_done(&stranger);
}

static void the_databases_own_list_of_changes_counts(void **state)
{
    (void)state;
    struct side a = side_new();
    expect_mode(&a, "enabled");
    set_mode("unheard");
    records_note(a.records, a.db, project, UID, made.change_seq);
    expect_mode(&a, "enabled"); /* what is cached is not older than that */
    records_note(a.records, a.db, project, UID, made.change_seq + 1);
    expect_mode(&a, "unheard");
    side_done(&a);
}

static void a_deleted_record_is_gone(void **state)
{
    (void)state;
    struct side a = side_new();
    struct endpoint ep = {0};
    expect_mode(&a, "enabled");
    ok(endpoint_delete(a.db, made.id, &e));
    records_changed(a.records, a.db, a.cache, project, (struct str){0}); /* of any of the project */
    assert_int_equal(records_get(a.records, a.db, a.cache, project, UID, &ep, &e), E_NOTFOUND);
    side_done(&a);
}

static void what_is_not_ours_is_not_there(void **state)
{
    (void)state;
    struct side a = side_new();
    char room[96];
    struct str key = key_of(room);
    CLEANUP(buf_done) struct buf text = {0}, other = {0};
    expect_mode(&a, "enabled");
    ok(cache_get(a.cache, key, &text));
    set_mode("unheard");
    for (size_t n = 0; n < text.len; n += 7) { /* cut anywhere */
        cache_set(a.cache, key, (struct str){text.data, n});
        expect_mode(&a, "unheard");
    }
    buf_add(&other, text.data, text.len);
    memcpy(strstr(other.data, "\"ep-1\""), "\"ep-2\"", 6);
    const struct str strange[] = {buf_str(&other), STR("[]"), STR("[1]"), STR("{}"), STR("[2,1,1]"), STR("\0\0")};
    for (size_t i = 0; i < sizeof strange / sizeof *strange; i++) {
        cache_set(a.cache, key, strange[i]);
        expect_mode(&a, "unheard");
    }
    side_done(&a);
}

/* Its first request is a change that nobody is told of; and of an alias's key nobody knows. */
static void what_could_not_be_invalidated_is_not_kept(void **state)
{
    (void)state;
    struct side a = side_new();
    struct endpoint ep = {0};
    ok(db_exec(t.db, "UPDATE endpoints SET first_request_us = NULL", NULL, 0, NULL, &e));
    expect_mode(&a, "enabled");
    set_mode("first");
    expect_mode(&a, "first");
    ok(db_exec(t.db, "UPDATE endpoints SET first_request_us = 1", NULL, 0, NULL, &e));
    ok(db_exec(t.db, "INSERT INTO endpoint_aliases (project_id, alias, endpoint_id) SELECT project_id, 'also', id FROM endpoints",
               NULL, 0, NULL, &e));
    for (int i = 0; i < 2; i++) {
        ok(records_get(a.records, a.db, a.cache, project, STR("also"), &ep, &e));
        assert_int_equal(ep.id, made.id);
        endpoint_done(&ep);
    }
    assert_int_equal(cache_counts(a.cache).hits, 0);
    side_done(&a);
}

static void databases_that_share_a_cache_do_not_meet(void **state)
{
    (void)state;
    struct side a = side_new();
    struct endpoint ep = {0};
    struct testdb other;
    struct records *r = records_new(TTL);
    testdb_open(&other, true);
    struct project p = {.name = (char[]){"q"}, .base_period_us = 600 * USEC_PER_SEC, .monitoring = true};
    ok(project_put(other.db, &p, &e));
    assert_int_equal(p.id, project); /* the same ids */
    records_distrust(r);
    usleep((useconds_t)TTL + 1000);
    expect_mode(&a, "enabled");
    assert_int_equal(records_get(r, other.db, a.cache, project, UID, &ep, &e), E_NOTFOUND);
    records_free(r);
    testdb_close(&other);
    side_done(&a);
}

static void who_does_not_listen_yet_takes_nothing(void **state)
{
    (void)state;
    struct side a = side_new(), young = side_open(redis_url);
    expect_mode(&a, "enabled");
    set_mode("unheard");
    expect_mode(&young, "unheard");
    assert_int_equal(cache_counts(young.cache).hits, 0);
    side_done(&a);
    side_done(&young);
}

/* The server stands still, then goes on with what it had: the database answers, and what was changed meanwhile stays changed. */
static void a_server_that_stands_still_changes_nothing(void **state)
{
    (void)state;
    struct proxy *p = proxy_start(redis_port);
    char url[64], room[96];
    snprintf(url, sizeof url, "redis://127.0.0.1:%d", proxy_port(p));
    struct side a = side_open(url), other = side_new();
    CLEANUP(buf_done) struct buf old = {0};
    records_distrust(a.records);
    usleep((useconds_t)TTL + 1000);
    expect_mode(&a, "enabled");
    ok(cache_get(other.cache, key_of(room), &old));
    proxy_set(p, PROXY_STALL, NULL);
    int64_t before = clock_mono_us();
    expect_mode(&a, "enabled");
    change_mode(&a, "disabled");
    expect_mode(&a, "disabled");
    assert_true(clock_mono_us() - before < 2 * USEC_PER_SEC);
    assert_false(cache_up(a.cache));
    cache_set_for(other.cache, key_of(room), buf_str(&old), TTL); /* as if its DEL had never come */
    proxy_set(p, PROXY_PASS, NULL);
    for (int64_t until = clock_mono_us() + TTL; clock_mono_us() < until; usleep(5000))
        expect_mode(&a, "disabled");
    wait_mode(&other, "disabled");
    side_done(&a);
    side_done(&other);
    proxy_stop(p);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest everywhere[] = {
        TEST(a_record_comes_from_the_cache_whole_and_not_for_long),
        TEST(a_change_is_seen_at_once_and_elsewhere_when_heard),
        TEST(the_databases_own_list_of_changes_counts),
        TEST(a_deleted_record_is_gone),
        TEST(what_is_not_ours_is_not_there),
        TEST(what_could_not_be_invalidated_is_not_kept),
        TEST(databases_that_share_a_cache_do_not_meet),
        TEST(who_does_not_listen_yet_takes_nothing),
    };
    const struct CMUnitTest of_redis[] = {TEST(a_server_that_stands_still_changes_nothing)};
    int failed = cmocka_run_group_tests(everywhere, setup_group, NULL) + cmocka_run_group_tests(of_redis, setup_group, NULL);
    testdb_use(true);
    in_memory = true;
    failed += cmocka_run_group_tests(everywhere, setup_group, NULL);
    return failed;
}
