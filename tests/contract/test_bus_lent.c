/* Values that are lent to the bus: sent as they are, receipts once each, and the producer's bound is whole again afterwards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/clock.h"
#include "bus/bus.h"

enum { MESSAGES = 400, BYTES = 16384 }; /* six times the bound */
#define BOUND (1 << 20)
#define WAIT_US (30 * USEC_PER_SEC)

static struct bus_producer *p;
static struct bus_config cfg;
static char topic[80];
static char values[MESSAGES][BYTES];
static atomic_int acknowledged;

static void ok(rc_t rc, const struct err *e)
{
    if (rc)
        fail_msg("%s: %s", rc_name(rc), e->text);
}

static void on_ack(void *arg, size_t n, rc_t rc, const char *words)
{
    assert_non_null(words);
    if (rc == OK)
        atomic_fetch_add((atomic_int *)arg, (int)n);
}

static int setup(void **state)
{
    (void)state;
    static char client[] = "test";
    struct err e;
    int32_t n = 0;
    char *brokers = getenv("MM_TEST_KAFKA");
    if (!brokers)
        fail_msg("MM_TEST_KAFKA is not set");
    cfg = (struct bus_config){.brokers = brokers, .client_id = client, .linger_us = 1000, .inflight_bytes = BOUND};
    (void)snprintf(topic, sizeof topic, "t_lent_%d_%lld", (int)getpid(), (long long)(clock_now_us() % 1000000000));
    ok(bus_producer_open(&p, &cfg, &e), &e);
    ok(bus_topic_ensure(p, topic, 1, &n, WAIT_US, &e), &e);
    for (int i = 0; i < MESSAGES; i++) {
        memset(values[i], 'a' + i % 26, BYTES);
        memcpy(values[i], &i, sizeof i);
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    bus_producer_free(p);
    return 0;
}

/* Sends message i when there is room for it. */
static void lend(int i, const struct bus_receipt *r)
{
    const struct bus_header trace = {"traceparent", STR("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")};
    int64_t end = clock_mono_us() + WAIT_US;
    struct err e;
    char key[16];
    (void)snprintf(key, sizeof key, "k%d", i); /* copied: gone when this returns */
    rc_t rc;
    while ((rc = bus_produce_lent(p, topic, str_of(key), (struct str){values[i], BYTES}, &trace, (size_t)(i % 2), r, &e)) ==
               E_AGAIN &&
           clock_mono_us() < end)
        (void)usleep(500);
    ok(rc, &e);
}

static void expect(const struct bus_event *ev, int i)
{
    char key[16];
    int n = snprintf(key, sizeof key, "k%d", i);
    assert_int_equal(ev->offset, i);
    assert_int_equal(ev->key.n, n);
    assert_memory_equal(ev->key.p, key, (size_t)n);
    assert_int_equal(ev->value.n, BYTES);
    assert_memory_equal(ev->value.p, values[i], BYTES);
    assert_int_equal(ev->traceparent.n, i % 2 ? 55 : 0);
}

static void read_back(void)
{
    struct bus_consumer *c = NULL;
    struct bus_event ev;
    struct err e;
    const char *name = topic;
    int64_t end = clock_mono_us() + WAIT_US;
    ok(bus_consumer_open(&c, &cfg, topic, &e), &e);
    ok(bus_consumer_topics(c, &name, 1, &e), &e);
    for (int seen = 0; seen < MESSAGES && clock_mono_us() < end;) {
        ok(bus_consumer_poll(c, USEC_PER_SEC / 10, &ev, &e), &e);
        if (ev.type == BUS_ASSIGNED) {
            for (size_t i = 0; i < ev.n_parts; i++)
                ev.parts[i].offset = 0;
            ok(bus_consumer_start(c, ev.parts, ev.n_parts, &e), &e);
        } else if (ev.type == BUS_RECORD) {
            expect(&ev, seen++);
        }
        assert_true(clock_mono_us() < end);
    }
    bus_consumer_free(c);
}

static void lent_values_arrive_whole_and_free_the_bound(void **state)
{
    (void)state;
    const struct bus_receipt r = {on_ack, &acknowledged};
    struct err e;
    for (int i = 0; i < MESSAGES; i++)
        lend(i, &r);
    ok(bus_flush(p, WAIT_US, &e), &e);
    assert_int_equal(atomic_load(&acknowledged), MESSAGES);
    read_back();
    /* As much as the bound allows goes through at once: nothing of what was sent is counted still. */
    for (int i = 0; i < BOUND / (BYTES + 512); i++)
        ok(bus_produce_lent(p, topic, STR("k"), (struct str){values[i], BYTES}, NULL, 0, &r, &e), &e);
    ok(bus_flush(p, WAIT_US, &e), &e);
    assert_int_equal(atomic_load(&acknowledged), MESSAGES + BOUND / (BYTES + 512));
}

static void a_lent_message_that_is_too_large_is_refused(void **state)
{
    (void)state;
    static char large[BUS_MESSAGE_MAX + 1];
    const struct bus_receipt r = {on_ack, &acknowledged};
    struct err e;
    int before = atomic_load(&acknowledged);
    assert_int_equal(bus_produce_lent(p, topic, STR("k"), (struct str){large, sizeof large}, NULL, 0, &r, &e), E_INVALID);
    ok(bus_flush(p, WAIT_US, &e), &e);
    assert_int_equal(atomic_load(&acknowledged), before);
}

/* ---- many at once, on each bus ---- */

static void open_bus(const char *brokers, const char *name, int64_t bound, struct bus_producer **ret, char out_topic[120])
{
    struct bus_config c = cfg;
    struct err e;
    int32_t n = 0;
    c.brokers = (char *)(uintptr_t)brokers; /* read, not written */
    c.inflight_bytes = bound;
    (void)snprintf(out_topic, 120, "%s_%s", topic, name);
    ok(bus_producer_open(ret, &c, &e), &e);
    ok(bus_topic_ensure(*ret, out_topic, 1, &n, WAIT_US, &e), &e);
}

struct fates {
    atomic_int acknowledged, refused;
};

static void on_fate(void *arg, size_t n, rc_t rc, const char *words)
{
    struct fates *f = arg;
    assert_true(n > 0 && words != NULL);
    atomic_fetch_add(rc ? &f->refused : &f->acknowledged, (int)n);
}

static void list_make(struct bus_lent *list, char keys[][16], int n)
{
    for (int i = 0; i < n; i++) {
        (void)snprintf(keys[i], 16, "k%d", i);
        list[i] = (struct bus_lent){.key = str_of(keys[i]), .value = {values[i], 200}, .rc = E_FATAL};
    }
}

static void read_many(const char *brokers, const char *name, const struct bus_lent *list, int n)
{
    struct bus_consumer *c = NULL;
    struct bus_event ev;
    struct bus_config from = cfg;
    struct err e;
    int64_t end = clock_mono_us() + WAIT_US;
    from.brokers = (char *)(uintptr_t)brokers;
    ok(bus_consumer_open(&c, &from, name, &e), &e);
    ok(bus_consumer_topics(c, &name, 1, &e), &e);
    for (int seen = 0; seen < n;) {
        ok(bus_consumer_poll(c, USEC_PER_SEC / 10, &ev, &e), &e);
        if (ev.type == BUS_ASSIGNED) {
            ev.parts[0].offset = 0;
            ok(bus_consumer_start(c, ev.parts, ev.n_parts, &e), &e);
        } else if (ev.type == BUS_RECORD) {
            while (list[seen].rc)
                seen++;
            assert_true(str_eq(ev.key, list[seen].key) && str_eq(ev.value, list[seen].value));
            assert_int_equal(ev.traceparent.n, 0);
            seen++;
        }
        assert_true(clock_mono_us() < end);
    }
    bus_consumer_free(c);
}

/* In their order, each told of once; one that is too large is refused alone. */
static void many_on(const char *brokers)
{
    enum { N = 150, BAD = 70 };
    static struct bus_lent list[N];
    static char keys[N][16], large[BUS_MESSAGE_MAX + 1];
    struct bus_producer *to = NULL;
    struct fates fates = {0};
    const struct bus_receipt r = {on_fate, &fates};
    char name[120];
    struct err e = {{0}};
    open_bus(brokers, "many", 0, &to, name);
    list_make(list, keys, N);
    list[BAD].value = (struct str){large, sizeof large};
    assert_int_equal(bus_produce_many(to, name, list, N, &r, &e), E_INVALID);
    assert_non_null(strstr(e.text, "bytes"));
    memset(keys, 'x', sizeof keys); /* copied */
    ok(bus_flush(to, WAIT_US, &e), &e);
    assert_int_equal(atomic_load(&fates.acknowledged), N - 1);
    assert_int_equal(atomic_load(&fates.refused), 0);
    for (int i = 0; i < N; i++)
        assert_int_equal(list[i].rc, i == BAD ? E_INVALID : OK);
    for (int i = 0; i < N; i++)
        (void)snprintf(keys[i], 16, "k%d", i);
    read_many(brokers, name, list, N);
    bus_producer_free(to);
}

/* Nothing of what was not accepted is told of, and the bound is whole again after what was. */
static void full_on(const char *brokers)
{
    enum { N = 3 };
    struct bus_lent list[N];
    struct bus_producer *to = NULL;
    struct fates fates = {0};
    const struct bus_receipt r = {on_fate, &fates};
    char name[120];
    struct err e = {{0}};
    static char half[BOUND / 2 - 4096];
    open_bus(brokers, "full", BOUND, &to, name);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < N; i++)
            list[i] = (struct bus_lent){.key = STR("k"), .value = {half, sizeof half}, .rc = E_FATAL};
        assert_int_equal(bus_produce_many(to, name, list, N, &r, &e), E_AGAIN);
        assert_int_equal(list[N - 1].rc, E_AGAIN);
        int accepted = (list[0].rc == OK) + (list[1].rc == OK), before = atomic_load(&fates.acknowledged);
        ok(bus_flush(to, WAIT_US, &e), &e);
        assert_int_equal(atomic_load(&fates.acknowledged) - before, accepted);
        assert_int_equal(bus_produce_many(to, name, list, 2, &r, &e), OK);
        ok(bus_flush(to, WAIT_US, &e), &e);
        assert_int_equal(atomic_load(&fates.acknowledged) - before, accepted + 2);
    }
    bus_producer_free(to);
}

static const char *local_bus(void)
{
    static char brokers[400];
    const char *dir = getenv("MM_TEST_DIR");
    (void)snprintf(brokers, sizeof brokers, "local:%s/log", dir ? dir : "/tmp");
    return brokers;
}

static void many_over_kafka(void **state)
{
    (void)state;
    many_on(cfg.brokers);
    full_on(cfg.brokers);
}

static void many_over_the_local_log(void **state)
{
    (void)state;
    many_on(local_bus());
    full_on(local_bus());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_over_kafka),
        cmocka_unit_test(many_over_the_local_log),
        cmocka_unit_test(lent_values_arrive_whole_and_free_the_bound),
        cmocka_unit_test(a_lent_message_that_is_too_large_is_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
