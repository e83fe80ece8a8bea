/* The dedupe window: against a plain list over random keys, and its promise to a replay. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "base/mem.h"
#include "stream/dedupe.h"

#define RECORDS 20000

static uint64_t next(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static bool plain(const uint64_t *keys, size_t at, size_t horizon)
{
    for (size_t i = at > horizon ? at - horizon : 0; i < at; i++)
        if (keys[i] == keys[at])
            return true;
    return false;
}

static void make_keys(uint64_t *keys, uint64_t range)
{
    uint64_t seed = 42;
    for (size_t i = 0; i < RECORDS; i++)
        keys[i] = next(&seed) % range;
}

static bool seen(struct dedupe *d, uint64_t key, size_t offset)
{
    return dedupe_seen(d, (uint64_t[2]){key * UINT64_C(0x9e3779b97f4a7c15), key}, (int64_t)offset);
}

static void test_equals_a_plain_list(void **state)
{
    (void)state;
    static const struct {
        uint64_t range;
        size_t horizon;
    } cases[] = {{50, 10}, {1000, 100}, {100000, 1000}, {3, 64}};
    uint64_t *keys = mem_array(RECORDS, sizeof *keys);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct dedupe *d = dedupe_new((int64_t)cases[c].horizon);
        make_keys(keys, cases[c].range);
        for (size_t i = 0; i < RECORDS; i++)
            assert_int_equal(seen(d, keys[i], i), plain(keys, i, cases[c].horizon));
        dedupe_free(d);
    }
    mem_free(keys);
}

static void test_a_replay_decides_the_same(void **state)
{
    (void)state;
    const size_t horizon = 200, begin = 12345;
    uint64_t *keys = mem_array(RECORDS, sizeof *keys);
    make_keys(keys, 300);
    struct dedupe *first = dedupe_new((int64_t)horizon), *again = dedupe_new((int64_t)horizon);
    for (size_t i = 0; i < begin; i++)
        (void)seen(first, keys[i], i);
    for (size_t i = begin - horizon; i < begin; i++)
        (void)seen(again, keys[i], i);
    for (size_t i = begin; i < RECORDS; i++)
        assert_int_equal(seen(first, keys[i], i), seen(again, keys[i], i));
    dedupe_free(first);
    dedupe_free(again);
    mem_free(keys);
}

static void test_the_same_record_again_is_not_its_own_duplicate(void **state)
{
    (void)state;
    struct dedupe *d = dedupe_new(10);
    assert_false(seen(d, 7, 100));
    assert_false(seen(d, 7, 100));
    assert_true(seen(d, 7, 101));
    dedupe_free(d);
}

static void test_no_horizon_no_duplicates(void **state)
{
    (void)state;
    struct dedupe *d = dedupe_new(0);
    assert_false(seen(d, 7, 1));
    assert_false(seen(d, 7, 2));
    dedupe_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equals_a_plain_list),
        cmocka_unit_test(test_a_replay_decides_the_same),
        cmocka_unit_test(test_the_same_record_again_is_not_its_own_duplicate),
        cmocka_unit_test(test_no_horizon_no_duplicates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
