/* Which halves are a pair: in both orders, once, within the limits, and the same for a reader that came later. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "stream/pairing.h"

#define RECORDS 10
#define WAIT 1000

struct told {
    int64_t offsets[512];
    size_t n;
};

static void left(void *arg, const struct half *half)
{
    struct told *t = arg;
    assert_non_null(half->record.p); /* who is told gets the record */
    t->offsets[t->n++] = half->offset;
}

/* A half of `id` at the offset, then the record is handled. Returns the other half's offset, -1: waits, -2: a repeat. */
static int64_t at(struct pairing *p, struct told *t, int64_t offset, int64_t time, char kind, uint64_t id)
{
    char text[32];
    int n = snprintf(text, sizeof text, "%c%d", kind, (int)id);
    struct half half = {kind == 'q', offset, time, {text, (size_t)n}}, other = {0};
    uint64_t key[2] = {id * 7919, id};
    int64_t got = -1;
    for (int again = 0; again < 2; again++) /* its handling had to wait */
        switch (pairing_add(p, key, &half, &other)) {
        case PAIRING_MADE:
            got = other.offset;
            assert_true(other.record.n == (size_t)n && other.record.p[0] == (kind == 'q' ? 's' : 'q'));
            assert_memory_equal(other.record.p + 1, text + 1, (size_t)n - 1);
            break;
        case PAIRING_REPEAT:
            got = -2;
            break;
        case PAIRING_WAITS:
            got = -1;
            break;
        }
    pairing_pass(p, offset, time, left, t);
    return got;
}

static void both_orders(void **state)
{
    (void)state;
    struct pairing *p = pairing_new(RECORDS, WAIT, 1 << 20);
    struct told t = {{0}, 0};
    assert_int_equal(at(p, &t, 1, 0, 'q', 1), -1);
    assert_int_equal(at(p, &t, 2, 0, 's', 2), -1);
    assert_int_equal(pairing_waiting(p), 2);
    assert_int_equal(at(p, &t, 3, 0, 's', 1), 1);
    assert_int_equal(at(p, &t, 4, 0, 'q', 2), 2);
    assert_int_equal(pairing_waiting(p), 0);
    assert_int_equal(at(p, &t, 5, 0, 's', 1), -2);
    assert_int_equal(at(p, &t, 6, 0, 'q', 1), -2);
    pairing_pass(p, 100, 0, left, &t);
    assert_true(t.n == 0 && pairing_bytes(p) == 0);
    pairing_free(p);
}

static void limits(void **state)
{
    (void)state;
    struct pairing *p = pairing_new(RECORDS, WAIT, 1 << 20);
    struct told t = {{0}, 0};
    (void)at(p, &t, 1, 0, 'q', 1);
    (void)at(p, &t, 1 + RECORDS, 0, 'q', 9);
    assert_int_equal(at(p, &t, 2 + RECORDS, 0, 's', 1), -1); /* one offset too late */
    assert_true(t.n == 1 && t.offsets[0] == 1);
    (void)at(p, &t, 20, 5000, 'q', 2);
    assert_true(t.n == 3); /* time passed for 9 and for the response */
    assert_int_equal(at(p, &t, 21, 5000 + WAIT, 's', 2), 20);
    (void)at(p, &t, 22, 8000, 'q', 3);
    assert_int_equal(at(p, &t, 23, 8001 + WAIT, 's', 3), -1);
    assert_true(t.n == 4 && t.offsets[3] == 22);
    pairing_pass(p, 24, 8001 + 3 * WAIT, left, &t); /* another record of the partition */
    assert_true(t.n == 5 && t.offsets[4] == 23 && pairing_waiting(p) == 0);
    pairing_free(p);
}

static void a_half_that_comes_twice(void **state)
{
    (void)state;
    struct pairing *p = pairing_new(RECORDS, WAIT, 1 << 20);
    struct told t = {{0}, 0};
    (void)at(p, &t, 1, 0, 'q', 1);
    assert_int_equal(at(p, &t, 2, 0, 'q', 1), -1);
    assert_int_equal(pairing_waiting(p), 1);
    assert_int_equal(at(p, &t, 3, 0, 's', 1), 2); /* with the newest */
    pairing_pass(p, 100, 0, left, &t);
    assert_int_equal(t.n, 0); /* the older one is no orphan */
    pairing_free(p);
}

static void refused_pairs_may_come_again(void **state)
{
    (void)state;
    struct pairing *p = pairing_new(RECORDS, WAIT, 1 << 20);
    struct told t = {{0}, 0};
    uint64_t key[2] = {7919, 1};
    (void)at(p, &t, 1, 0, 'q', 1);
    assert_int_equal(at(p, &t, 2, 0, 's', 1), 1);
    pairing_forget(p, key);
    assert_int_equal(at(p, &t, 3, 0, 'q', 1), -1);
    assert_int_equal(at(p, &t, 4, 0, 's', 1), 3);
    pairing_free(p);
}

static void memory_has_an_end(void **state)
{
    (void)state;
    struct pairing *p = pairing_new(1000, WAIT, 1000);
    struct told t = {{0}, 0};
    for (int64_t i = 0; i < 100; i++) {
        (void)at(p, &t, i, 0, 'q', (uint64_t)i);
        assert_true(pairing_bytes(p) <= 1000);
    }
    assert_true(t.n > 90 && t.offsets[0] == 0 && t.n + pairing_waiting(p) == 100);
    assert_int_equal(at(p, &t, 100, 0, 's', 99), 99);
    assert_int_equal(at(p, &t, 101, 0, 's', 0), -1);
    pairing_free(p);
}

/* Every reader that begins 2 x RECORDS before an offset decides from there on as the one that read all. */
static void a_later_reader_decides_the_same(void **state)
{
    (void)state;
    enum { N = 400 };
    struct {
        int64_t time, got;
        uint64_t id;
        char kind;
    } log[N];
    for (unsigned seed = 1; seed <= 20; seed++) {
        struct told all = {{0}, 0};
        struct pairing *p = pairing_new(RECORDS, WAIT, 2500);
        unsigned x = seed * 2654435761u;
        for (int i = 0; i < N; i++) {
            x = x * 1103515245u + 12345u;
            log[i].kind = (x >> 16 & 1) ? 'q' : 's';
            log[i].id = x >> 20 & 7;
            log[i].time = i * 60 + (int64_t)(x >> 24 & 127);
            log[i].got = at(p, &all, i, log[i].time, log[i].kind, log[i].id);
        }
        pairing_free(p);
        for (int from = 1; from < N - 3 * RECORDS; from += 7) {
            struct told t = {{0}, 0};
            p = pairing_new(RECORDS, WAIT, 2500);
            for (int i = from; i < N; i++) {
                int64_t got = at(p, &t, i, log[i].time, log[i].kind, log[i].id);
                if (i >= from + 2 * RECORDS)
                    assert_int_equal(got, log[i].got);
            }
            for (size_t a = 0, b = 0; a < t.n; a++) { /* who left, of those that came late enough */
                if (t.offsets[a] < from + 2 * RECORDS)
                    continue;
                while (b < all.n && all.offsets[b] < t.offsets[a])
                    b++;
                assert_true(b < all.n && all.offsets[b] == t.offsets[a]);
            }
            pairing_free(p);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_orders),
        cmocka_unit_test(limits),
        cmocka_unit_test(a_half_that_comes_twice),
        cmocka_unit_test(refused_pairs_may_come_again),
        cmocka_unit_test(memory_has_an_end),
        cmocka_unit_test(a_later_reader_decides_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
