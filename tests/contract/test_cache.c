/* Contract of the cache seam: what is there is found, nothing of it is needed, every call is bounded; on a real Redis and in memory. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <hiredis/hiredis.h>
#include "../support/proxy.h"
#include "base/clock.h"
#include "base/mem.h"
#include "cache/cache.h"
#include "metrics/metrics.h"

#define S(literal) ((struct str){literal, sizeof literal - 1})
#define CALL_MAX_US (350 * USEC_PER_MSEC) /* 200 ms, and what a busy machine adds */

static struct err e;
static char host[128];
static int port;
static bool in_memory;

static int setup(void **state)
{
    (void)state;
    const char *at = getenv("MM_TEST_REDIS"), *colon = at ? strrchr(at, ':') : NULL;
    if (!colon) {
        fprintf(stderr, "MM_TEST_REDIS (host:port) is not set: a Redis server is needed\n");
        exit(1);
    }
    signal(SIGPIPE, SIG_IGN);
    snprintf(host, sizeof host, "%.*s", (int)(colon - at), at);
    port = (int)strtol(colon + 1, NULL, 10);
    return 0;
}

static struct cache *open_at(const char *at_host, int at_port, int64_t ttl_us)
{
    char url[192];
    struct cache *c = NULL;
    snprintf(url, sizeof url, "redis://%s:%d", at_host, at_port);
    struct cache_config cfg = {.url = in_memory ? (char[]){"memory:"} : url, .ttl_us = ttl_us};
    if (cache_open(&c, &cfg, &e))
        fail_msg("%s", e.text);
    return c;
}

/* The server's own words, for what the seam does not offer. */
static long long server(const char *a, const char *b)
{
    redisContext *ctx = redisConnect(host, port);
    assert_true(ctx && !ctx->err);
    const char *argv[] = {a, b};
    redisReply *r = redisCommandArgv(ctx, b ? 2 : 1, argv, NULL);
    assert_non_null(r);
    if (r->type == REDIS_REPLY_ERROR)
        fail_msg("%s: %s", a, r->str);
    long long n = r->integer;
    freeReplyObject(r);
    redisFree(ctx);
    return n;
}

static void key_of(char out[64], const char *what)
{
    static int n;
    snprintf(out, 64, "test:%d:%d:%s", (int)getpid(), n++, what);
}

static void expect(struct cache *c, const char *key, const char *want)
{
    CLEANUP(buf_done) struct buf got = {0};
    buf_addz(&got, "old");
    rc_t rc = cache_get(c, str_of(key), &got);
    assert_int_equal(rc, want ? OK : E_NOTFOUND);
    if (want)
        assert_true(str_eqz(buf_str(&got), want));
}

static void what_is_set_is_found(void **state)
{
    (void)state;
    struct cache *c = open_at(host, port, 60 * USEC_PER_SEC);
    char key[64], full[80];
    key_of(key, "a b\r\n");
    expect(c, key, NULL);
    cache_set(c, str_of(key), S("one"));
    expect(c, key, "one");
    struct str odd = S("\0\r\n\xff bytes");
    cache_set(c, str_of(key), odd);
    CLEANUP(buf_done) struct buf got = {0};
    assert_int_equal(cache_get(c, str_of(key), &got), OK);
    assert_true(str_eq(buf_str(&got), odd));
    snprintf(full, sizeof full, "mm:%s", key);
    if (!in_memory)
        assert_in_range(server("PTTL", full), 50000, 60000);
    cache_set(c, str_of(key), S(""));
    expect(c, key, "");
    cache_del(c, str_of(key));
    expect(c, key, NULL);
    struct cache_counts n = cache_counts(c);
    assert_true(n.hits == 3 && n.misses == 2 && n.errors == 0);
    assert_true(cache_up(c));
    cache_free(c);
}

static bool is_rendered(const char *line)
{
    CLEANUP(buf_done) struct buf text = {0};
    metrics_render(&text);
    buf_addc(&text, '\0');
    return strstr(text.data, line) != NULL;
}

/* First of all: the kinds that are learned are few. */
static void reads_are_counted_by_kind(void **state)
{
    (void)state;
    struct cache *c = open_at(host, port, 60 * USEC_PER_SEC);
    const char *kind = in_memory ? "kind_memory" : "kind_redis";
    char key[64], line[128];
    snprintf(key, sizeof key, "%s:%d:x", kind, (int)getpid());
    expect(c, key, NULL);
    cache_set(c, str_of(key), S("v"));
    expect(c, key, "v");
    expect(c, key, "v");
    snprintf(line, sizeof line, "modelmon_cache_reads_total{kind=\"%s\",outcome=\"hit\"} 2\n", kind);
    assert_true(is_rendered(line));
    snprintf(line, sizeof line, "modelmon_cache_reads_total{kind=\"%s\",outcome=\"miss\"} 1\n", kind);
    assert_true(is_rendered(line));
    cache_free(c);
}

static void nothing_lives_longer_than_the_ttl(void **state)
{
    (void)state;
    struct cache *c = open_at(host, port, 50 * USEC_PER_MSEC);
    char key[64];
    key_of(key, "ttl");
    cache_set(c, str_of(key), S("x"));
    CLEANUP(buf_done) struct buf got = {0};
    int64_t until = clock_mono_us() + 3 * USEC_PER_SEC;
    while (cache_get(c, str_of(key), &got) == OK && clock_mono_us() < until)
        usleep(5000);
    expect(c, key, NULL);
    cache_free(c);
}

static void caches_see_each_other(void **state)
{
    (void)state;
    struct cache *a = open_at(host, port, 60 * USEC_PER_SEC), *b = open_at(host, port, 60 * USEC_PER_SEC);
    char key[64];
    key_of(key, "two");
    cache_set(a, str_of(key), S("from a"));
    expect(b, key, "from a");
    cache_set(b, str_of(key), S("from b"));
    cache_free(b);
    expect(a, key, "from b");
    cache_del(a, str_of(key));
    expect(a, key, NULL);
    cache_free(a);
}

/* Memory is bounded: what was used last stays. */
static void memory_is_bounded(void **state)
{
    (void)state;
    struct cache *c = open_at(host, port, 60 * USEC_PER_SEC);
    CLEANUP(mem_freep) char *value = mem_alloc(1 << 20);
    CLEANUP(buf_done) struct buf got = {0};
    char key[24];
    cache_set(c, S("old"), S("x"));
    cache_set(c, S("used"), S("x"));
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "k%d", i);
        cache_set(c, str_of(key), (struct str){value, 1 << 20});
        expect(c, "used", "x");
    }
    expect(c, "old", NULL);
    int there = 0;
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "k%d", i);
        there += cache_get(c, str_of(key), &got) == OK;
    }
    assert_in_range(there, 5, 7);
    cache_set(c, S("used"), (struct str){value, (1 << 20) - 200});
    CLEANUP(mem_freep) char *giant = mem_alloc(8 << 20);
    cache_set(c, S("used"), (struct str){giant, 8 << 20}); /* too large: not there, and no old value either */
    expect(c, "used", NULL);
    assert_int_equal(cache_get(c, str_of("k99"), &got), OK);
    cache_free(c);
}

static void losing_everything_is_a_miss(void **state)
{
    (void)state;
    struct cache *c = open_at(host, port, 60 * USEC_PER_SEC);
    char key[64];
    key_of(key, "flush");
    cache_set(c, str_of(key), S("x"));
    expect(c, key, "x");
    (void)server("FLUSHALL", NULL);
    expect(c, key, NULL);
    cache_set(c, str_of(key), S("y"));
    expect(c, key, "y");
    assert_int_equal(cache_counts(c).errors, 0);
    cache_free(c);
}

static void without_a_url_nothing_is_there(void **state)
{
    (void)state;
    struct cache *c = NULL;
    struct cache_config cfg = {.url = (char[]){""}, .ttl_us = USEC_PER_SEC};
    assert_int_equal(cache_open(&c, &cfg, &e), OK);
    cache_set(c, S("a"), S("b"));
    expect(c, "a", NULL);
    cache_del(c, S("a"));
    cache_publish(c, "ch", S("m"));
    assert_int_equal(cache_subscribe(c, "ch", NULL, NULL, &e), OK);
    cache_poll(c);
    assert_true(cache_up(c));
    assert_int_equal(cache_counts(c).errors, 0);
    cache_free(c);
    cache_free(NULL);
}

static void bad_urls_are_told_at_once(void **state)
{
    (void)state;
    const char *urls[] = {"rediss://h:1",         "http://h",        "redis://",      "redis://h:0",
                          "redis://h:x",          "redis://h:70000", "redis://h/x",   "redis://u:s%zzecret@h",
                          "redis://u:secret%4@h", "redis://[::1",    "redis://[::1]x"};
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct cache *c = NULL;
        struct cache_config cfg = {.url = (char *)urls[i]};
        if (cache_open(&c, &cfg, &e) != E_INVALID)
            fail_msg("%s was taken", urls[i]);
        assert_null(strstr(e.text, "ecret"));
    }
    struct cache *c = NULL;
    struct cache_config cfg = {.url = (char[]){"rediss://h:1"}};
    assert_int_equal(cache_open(&c, &cfg, &e), E_INVALID);
    assert_non_null(strstr(e.text, "TLS"));
    const char *good[] = {"redis://h", "redis://h/", "redis://h/3", "redis://:p%40w@h:1/2", "redis://u:p:q@[::1]:1"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        cfg.url = (char *)good[i];
        if (cache_open(&c, &cfg, &e))
            fail_msg("%s: %s", good[i], e.text);
        cache_free(c);
    }
}

/* The URL's password and database are used: a database of its own has a key of its own, a wrong user is an error. */
static void login_and_database_are_used(void **state)
{
    (void)state;
    char url[256], key[64];
    key_of(key, "db");
    struct cache *zero = open_at(host, port, 60 * USEC_PER_SEC), *three = NULL, *stranger = NULL;
    snprintf(url, sizeof url, "redis://%s:%d/3", host, port);
    struct cache_config cfg = {.url = url, .ttl_us = 60 * USEC_PER_SEC};
    assert_int_equal(cache_open(&three, &cfg, &e), OK);
    cache_set(zero, str_of(key), S("in 0"));
    expect(three, key, NULL);
    cache_set(three, str_of(key), S("in 3"));
    expect(zero, key, "in 0");
    expect(three, key, "in 3");
    snprintf(url, sizeof url, "redis://nobody:wrong@%s:%d", host, port);
    assert_int_equal(cache_open(&stranger, &cfg, &e), OK);
    expect(stranger, key, NULL);
    assert_int_equal(cache_counts(stranger).errors, 1);
    assert_false(cache_up(stranger));
    cache_free(zero);
    cache_free(three);
    cache_free(stranger);
}

/* --- a server that does not answer --- */
static void silence_is_bounded_and_then_kept_out(void **state)
{
    (void)state;
    struct proxy *p = proxy_start(port);
    struct cache *c = open_at("127.0.0.1", proxy_port(p), 60 * USEC_PER_SEC);
    char key[64];
    key_of(key, "silent");
    cache_set(c, str_of(key), S("x"));
    expect(c, key, "x");
    proxy_set(p, PROXY_STALL, NULL);
    int64_t before = clock_mono_us();
    expect(c, key, NULL);
    int64_t took = clock_mono_us() - before;
    assert_in_range(took, 150 * USEC_PER_MSEC, CALL_MAX_US);
    assert_false(cache_up(c));
    before = clock_mono_us();
    for (int i = 0; i < 1000; i++)
        expect(c, key, NULL); /* the breaker answers, not the network */
    cache_set(c, str_of(key), S("lost"));
    assert_true(clock_mono_us() - before < 90 * USEC_PER_MSEC);
    assert_int_equal(cache_counts(c).errors, 1);
    int attempts = 1;
    int64_t until = clock_mono_us() + 2 * USEC_PER_SEC;
    while (clock_mono_us() < until) { /* attempts grow apart: 0.1, 0.2, 0.4, 0.8 s and the call's own 0.2 */
        before = clock_mono_us();
        expect(c, key, NULL);
        took = clock_mono_us() - before;
        assert_true(took < CALL_MAX_US);
        attempts += took > 100 * USEC_PER_MSEC;
        usleep(1000);
    }
    assert_in_range(attempts, 3, 6);
    assert_int_equal(cache_counts(c).errors, attempts);
    proxy_set(p, PROXY_PASS, NULL);
    CLEANUP(buf_done) struct buf got = {0};
    until = clock_mono_us() + 6 * USEC_PER_SEC;
    while (cache_get(c, str_of(key), &got) != OK && clock_mono_us() < until)
        usleep(5000);
    expect(c, key, "x");
    assert_true(cache_up(c));
    cache_free(c);
    proxy_stop(p);
}

static void nobody_there_is_no_error_of_ours(void **state)
{
    (void)state;
    struct proxy *p = proxy_start(port);
    int gone = proxy_port(p);
    proxy_stop(p);
    struct cache *c = open_at("127.0.0.1", gone, 60 * USEC_PER_SEC);
    expect(c, "k", NULL);
    cache_set(c, S("k"), S("v"));
    cache_del(c, S("k"));
    cache_publish(c, "ch", S("m"));
    assert_false(cache_up(c));
    assert_int_equal(cache_counts(c).errors, 1);
    cache_free(c);
}

/* A connection closed by the server between two calls is not worth a miss. */
static void a_closed_connection_is_remade(void **state)
{
    (void)state;
    struct proxy *p = proxy_start(port);
    struct cache *c = open_at("127.0.0.1", proxy_port(p), 60 * USEC_PER_SEC);
    char key[64];
    key_of(key, "closed");
    cache_set(c, str_of(key), S("x"));
    proxy_set(p, PROXY_CUT, NULL);
    usleep(50000); /* the proxy's next turn */
    proxy_set(p, PROXY_PASS, NULL);
    expect(c, key, "x");
    assert_int_equal(cache_counts(c).errors, 0);
    cache_free(c);
    proxy_stop(p);
}

/* --- messages --- */
struct heard {
    int messages, notices;
    char last[64];
    struct cache *cache;
};

static void hear(void *arg, struct str message)
{
    struct heard *h = arg;
    if (message.n == 0)
        h->notices++;
    else
        h->messages++;
    snprintf(h->last, sizeof h->last, "%.*s", STR_FMT(message));
}

static void poll_until(struct heard *h, int messages, int notices)
{
    int64_t until = clock_mono_us() + 8 * USEC_PER_SEC;
    while ((h->messages < messages || h->notices < notices) && clock_mono_us() < until) {
        int64_t before = clock_mono_us();
        cache_poll(h->cache);
        assert_true(clock_mono_us() - before < 100 * USEC_PER_MSEC);
        usleep(1000);
    }
    assert_int_equal(h->messages, messages);
    assert_int_equal(h->notices, notices);
}

static void messages_come_to_all_who_listen(void **state)
{
    (void)state;
    struct cache *says = open_at(host, port, USEC_PER_SEC);
    struct heard a = {.cache = open_at(host, port, USEC_PER_SEC)}, b = {.cache = open_at(host, port, USEC_PER_SEC)};
    char channel[64];
    key_of(channel, "all");
    assert_int_equal(cache_subscribe(a.cache, channel, hear, &a, &e), OK);
    assert_int_equal(cache_subscribe(b.cache, channel, hear, &b, &e), OK);
    poll_until(&a, 0, 1);
    poll_until(&b, 0, 1);
    cache_publish(says, channel, S("one"));
    cache_publish(says, "another", S("not for us"));
    cache_publish(a.cache, channel, S("two"));
    poll_until(&a, 2, 1);
    poll_until(&b, 2, 1);
    assert_string_equal(b.last, "two");
    cache_free(b.cache);
    cache_publish(says, channel, S("three"));
    poll_until(&a, 3, 1);
    cache_free(a.cache);
    cache_free(says);
}

/* One that does not look for long is told to forget what it holds. */
static void who_missed_some_is_told(void **state)
{
    (void)state;
    struct cache *says = open_at(host, port, USEC_PER_SEC);
    struct heard h = {.cache = open_at(host, port, USEC_PER_SEC)};
    assert_int_equal(cache_subscribe(h.cache, "much", hear, &h, &e), OK);
    poll_until(&h, 0, 1);
    for (int i = 0; i < 5000; i++)
        cache_publish(says, "much", S("m"));
    cache_poll(h.cache);
    assert_int_equal(h.notices, 2);
    assert_in_range(h.messages, 1, 1024);
    cache_free(h.cache);
    cache_free(says);
}

static void messages_come_and_reconnects_are_told(void **state)
{
    (void)state;
    struct proxy *p = proxy_start(port);
    struct cache *says = open_at(host, port, USEC_PER_SEC);
    struct heard h = {.cache = open_at("127.0.0.1", proxy_port(p), USEC_PER_SEC)};
    char channel[64], key[64];
    key_of(channel, "ch");
    key_of(key, "k");
    assert_int_equal(cache_subscribe(h.cache, channel, hear, &h, &e), OK);
    poll_until(&h, 0, 1);
    cache_publish(says, channel, S("first"));
    cache_publish(says, "another", S("not for us"));
    poll_until(&h, 1, 1);
    assert_string_equal(h.last, "first");
    cache_set(h.cache, str_of(key), S("v")); /* commands go on beside it */
    expect(h.cache, key, "v");
    proxy_set(p, PROXY_CUT, NULL);
    int64_t until = clock_mono_us() + 3 * USEC_PER_SEC;
    while (cache_up(h.cache) && clock_mono_us() < until)
        cache_poll(h.cache);
    assert_false(cache_up(h.cache));
    cache_publish(says, channel, S("missed"));
    proxy_set(p, PROXY_PASS, NULL);
    poll_until(&h, 1, 2);
    assert_true(cache_up(h.cache));
    for (int i = 0; i < 100; i++)
        cache_publish(says, channel, S("more"));
    poll_until(&h, 101, 2);
    assert_string_equal(h.last, "more");
    cache_free(h.cache);
    cache_free(says);
    proxy_stop(p);
}

/* A half-dead connection says nothing for ever: it is asked, and given up. */
static void a_silent_subscription_is_given_up(void **state)
{
    (void)state;
    struct proxy *p = proxy_start(port);
    struct heard h = {.cache = open_at("127.0.0.1", proxy_port(p), USEC_PER_SEC)};
    assert_int_equal(cache_subscribe(h.cache, "silent", hear, &h, &e), OK);
    poll_until(&h, 0, 1);
    proxy_set(p, PROXY_STALL, NULL);
    int64_t until = clock_mono_us() + 13 * USEC_PER_SEC;
    while (cache_up(h.cache) && clock_mono_us() < until) {
        cache_poll(h.cache);
        usleep(10000);
    }
    assert_false(cache_up(h.cache));
    proxy_set(p, PROXY_PASS, NULL);
    poll_until(&h, 0, 2);
    cache_free(h.cache);
    proxy_stop(p);
}

static void subscriptions_are_bounded(void **state)
{
    (void)state;
    struct heard h = {.cache = open_at(host, port, USEC_PER_SEC)};
    for (int i = 0; i < 8; i++)
        assert_int_equal(cache_subscribe(h.cache, "x", hear, &h, &e), OK);
    assert_int_equal(cache_subscribe(h.cache, "x", hear, &h, &e), E_LIMIT);
    poll_until(&h, 0, 8);
    cache_free(h.cache);
}

int main(void)
{
    const struct CMUnitTest everywhere[] = {
        cmocka_unit_test(reads_are_counted_by_kind),         cmocka_unit_test(what_is_set_is_found),
        cmocka_unit_test(nothing_lives_longer_than_the_ttl), cmocka_unit_test(caches_see_each_other),
        cmocka_unit_test(messages_come_to_all_who_listen),   cmocka_unit_test(subscriptions_are_bounded),
    };
    const struct CMUnitTest of_redis[] = {
        cmocka_unit_test(losing_everything_is_a_miss),
        cmocka_unit_test(without_a_url_nothing_is_there),
        cmocka_unit_test(bad_urls_are_told_at_once),
        cmocka_unit_test(login_and_database_are_used),
        cmocka_unit_test(silence_is_bounded_and_then_kept_out),
        cmocka_unit_test(nobody_there_is_no_error_of_ours),
        cmocka_unit_test(a_closed_connection_is_remade),
        cmocka_unit_test(messages_come_and_reconnects_are_told),
        cmocka_unit_test(a_silent_subscription_is_given_up),
    };
    const struct CMUnitTest of_memory[] = {
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(who_missed_some_is_told),
    };
    int failed = cmocka_run_group_tests(everywhere, setup, NULL) + cmocka_run_group_tests(of_redis, setup, NULL);
    in_memory = true;
    failed += cmocka_run_group_tests(everywhere, setup, NULL) + cmocka_run_group_tests(of_memory, setup, NULL);
    return failed;
}
