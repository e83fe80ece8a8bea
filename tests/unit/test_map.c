/* The hash map against a plain table, in random steps; the hashes against their published vectors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/map.h"

#define KEYS 500

struct rng {
    uint64_t s;
};

static uint64_t next(struct rng *r)
{
    r->s ^= r->s << 13;
    r->s ^= r->s >> 7;
    r->s ^= r->s << 17;
    return r->s;
}

static struct str key_of(size_t i, char text[16])
{
    int n = snprintf(text, 16, "k%zu", i);
    return (struct str){text, (size_t)n};
}

static void check_all(const struct map *m, void *const *plain)
{
    size_t expected = 0, seen = 0;
    char text[16];
    for (size_t i = 0; i < KEYS; i++) {
        assert_ptr_equal(map_get(m, key_of(i, text)), plain[i]);
        expected += plain[i] != NULL;
    }
    struct map_iter it = {0};
    while (map_next(m, &it)) {
        size_t i = (size_t)strtoul(it.key.p + 1, NULL, 10);
        assert_ptr_equal(it.value, plain[i]);
        seen++;
    }
    assert_int_equal(seen, expected);
    assert_int_equal(m->len, expected);
}

static void behaves_like_a_plain_table(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct rng r = {seed * UINT64_C(0x9E3779B97F4A7C15)};
        struct map m = {0};
        void *plain[KEYS] = {NULL};
        static char values[16];
        char text[16];
        for (int step = 0; step < 4000; step++) {
            size_t i = next(&r) % KEYS;
            void *value = &values[next(&r) % 16];
            if (next(&r) % 3 == 0) {
                assert_ptr_equal(map_del(&m, key_of(i, text)), plain[i]);
                plain[i] = NULL;
            } else {
                assert_ptr_equal(map_put(&m, key_of(i, text), value), plain[i]);
                plain[i] = value;
            }
        }
        check_all(&m, plain);
        assert_true(m.cap <= 2048); /* tombs do not make it grow */
        map_done(&m);
    }
}

/* Put and delete of ever new keys: the table must clean itself. */
static void churn_does_not_grow(void **state)
{
    (void)state;
    struct map m = {0};
    char text[16];
    for (size_t i = 0; i < 100000; i++) {
        assert_null(map_put(&m, key_of(i, text), &m));
        assert_ptr_equal(map_del(&m, key_of(i, text)), &m);
    }
    assert_int_equal(m.len, 0);
    assert_true(m.cap <= 64);
    map_done(&m);
}

static void keys_are_bytes(void **state)
{
    (void)state;
    struct map m = {0};
    int a, b, c;
    assert_null(map_get(&m, STR("x")));
    assert_null(map_del(&m, STR("x")));
    assert_null(map_put(&m, (struct str){"a\0b", 3}, &a));
    assert_null(map_put(&m, (struct str){"a\0c", 3}, &b));
    assert_null(map_put(&m, (struct str){"", 0}, &c));
    assert_ptr_equal(map_get(&m, (struct str){"a\0b", 3}), &a);
    assert_ptr_equal(map_get(&m, (struct str){"a\0c", 3}), &b);
    assert_ptr_equal(map_get(&m, (struct str){NULL, 0}), &c);
    map_done(&m);
    map_done(NULL);
}

static void hash128_is_siphash(void **state)
{
    (void)state;
    /* from the reference implementation: key 00..0f, input 00.. of that length */
    static const struct {
        size_t n;
        uint64_t low, high;
    } vectors[] = {
        {0, UINT64_C(0xe6a825ba047f81a3), UINT64_C(0x930255c71472f66d)},
        {1, UINT64_C(0x44af996bd8c187da), UINT64_C(0x45fc229b11597634)},
    };
    unsigned char in[64];
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (unsigned char)i;
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        uint64_t got[2];
        hash128(in, vectors[i].n, got);
        assert_true(got[0] == vectors[i].low && got[1] == vectors[i].high);
    }
    assert_true(hash_bytes("a", 1) == hash_bytes("a", 1));
    assert_true(hash_bytes("a", 1) != hash_bytes("b", 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(behaves_like_a_plain_table),
        cmocka_unit_test(churn_does_not_grow),
        cmocka_unit_test(keys_are_bytes),
        cmocka_unit_test(hash128_is_siphash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
