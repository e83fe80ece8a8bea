/* Slots: what goes in comes out of the bytes, sums are sums, any bytes are safe, and one row is small. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "stats/slot.h"

#define COLUMNS 20

static uint64_t next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static double unit(uint64_t *state)
{
    return (double)(next(state) >> 11) * 0x1p-53;
}

struct world {
    char text[COLUMNS + 2][8];
    struct str names[COLUMNS + 2];
    struct reference *reference;
    struct slot_layout layout, bare; /* bare: the same columns without a reference */
};

static int set_up(void **state)
{
    struct world *w = mem_alloc(sizeof *w);
    struct str *names = w->names;
    double x[100];
    struct err e;
    uint64_t seed = 3;
    w->reference = reference_new();
    for (size_t c = 0; c < COLUMNS + 2; c++) {
        names[c] = (struct str){w->text[c], (size_t)snprintf(w->text[c], sizeof w->text[c], "f%zu", c)};
        for (size_t i = 0; i < 100; i++)
            x[i] = unit(&seed);
        struct stat_value v[] = {{STAT_TEXT, 0, STR("a")}, {STAT_TEXT, 0, STR("b")}, {STAT_TEXT, 0, STR("b")}};
        if (c == 3)
            assert_int_equal(reference_add_values(w->reference, names[c], false, v, 3, &e), OK);
        else if (c != 5 && c != COLUMNS + 1) /* f5 and the second label are not known to the reference */
            assert_int_equal(reference_add_f64(w->reference, names[c], false, x, 100, &e), OK);
    }
    slot_layout_init(&w->layout, names, COLUMNS, names + COLUMNS, 2, w->reference);
    slot_layout_init(&w->bare, names, COLUMNS, names + COLUMNS, 2, NULL);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    slot_layout_done(&w->layout);
    slot_layout_done(&w->bare);
    reference_free(w->reference);
    mem_free(w);
    return 0;
}

static void add_row(struct slot *s, uint64_t *seed)
{
    static const char *const words[] = {"a", "b", "c", "", "with spaces"};
    for (size_t c = 0; c < s->n_features + s->n_labels; c++) {
        struct stat_value v = {STAT_NUMBER, unit(seed) * 1.2 - 0.1, STR("")};
        uint64_t dice = next(seed) % 40;
        if (c == 3 || (c == 5 && dice % 2))
            v = (struct stat_value){STAT_TEXT, 0, str_of(words[next(seed) % 5])};
        if (dice == 0)
            v.kind = STAT_MISSING;
        else if (dice == 1)
            v.num = dice % 2 ? INFINITY : -INFINITY;
        slot_add(s, c, &v);
    }
    s->rows++;
    s->requests++;
    s->estimated += 1.5;
    (void)sketch_add(&s->latency, 100 + unit(seed) * 5000); /* finite */
}

static struct slot *slot_of(const struct slot_layout *l, uint64_t seed, int rows)
{
    struct slot *s = slot_new(l);
    for (int i = 0; i < rows; i++)
        add_row(s, &seed);
    return s;
}

/* Equal bytes are equal slots: the encoding has no freedom. */
static void assert_same_bytes(const struct slot *a, const struct slot *b)
{
    struct buf x = {0}, y = {0};
    slot_encode(a, &x);
    slot_encode(b, &y);
    assert_int_equal(x.len, y.len);
    assert_memory_equal(x.data, y.data, x.len);
    buf_done(&x);
    buf_done(&y);
}

static void test_round_trip(void **state)
{
    struct world *w = *state;
    const struct slot_layout *layouts[] = {&w->layout, &w->bare};
    for (int round = 0; round < 40; round++) {
        struct slot *s = slot_of(layouts[round % 2], 1000 + (uint64_t)round, round * round / 4), *back = NULL;
        struct slot *added = slot_new(layouts[round % 2]);
        struct buf b = {0};
        struct err e;
        slot_encode(s, &b);
        assert_int_equal(b.data[0], SLOT_FORMAT);
        assert_int_equal(slot_decode(&back, buf_str(&b), &e), OK);
        assert_int_equal(slot_add_blob(added, buf_str(&b), &e), OK);
        assert_same_bytes(s, back);
        assert_same_bytes(s, added);
        assert_int_equal(back->rows, s->rows);
        for (size_t c = 0; c < COLUMNS + 2; c++) {
            assert_int_equal(counts_total(&back->columns[c]), counts_total(&s->columns[c]));
            assert_int_equal(back->columns[c].moments.n, s->columns[c].moments.n);
            if (s->columns[c].moments.n)
                assert_true(back->columns[c].moments.mean == s->columns[c].moments.mean);
        }
        buf_done(&b);
        slot_free(s);
        slot_free(back);
        slot_free(added);
    }
}

static void test_one_row_is_small(void **state)
{
    struct world *w = *state;
    struct slot_layout l;
    uint64_t seed = 11;
    slot_layout_init(&l, w->names, COLUMNS, NULL, 0, w->reference);
    struct slot *s = slot_of(&l, seed, 1);
    struct buf b = {0};
    slot_encode(s, &b);
    assert_true(b.len < 400);
    buf_done(&b);
    slot_free(s);
    slot_layout_done(&l);
}

static void test_sum_of_blobs_is_the_whole(void **state)
{
    struct world *w = *state;
    uint64_t seed = 5, again = 5;
    struct err e;
    struct slot *whole = slot_new(&w->layout), *sum = slot_new(&w->layout), *merged = slot_new(&w->layout);
    for (int part = 0; part < 10; part++) {
        struct slot *s = slot_new(&w->layout);
        struct buf b = {0};
        for (int i = 0; i < 30; i++) {
            add_row(s, &seed);
            add_row(whole, &again);
        }
        slot_encode(s, &b);
        assert_int_equal(slot_add_blob(sum, buf_str(&b), &e), OK);
        assert_int_equal(slot_merge(merged, s, &e), OK);
        buf_done(&b);
        slot_free(s);
    }
    assert_int_equal(sum->rows, 300);
    assert_true(fabs(sum->estimated - 450) < 1e-9);
    assert_int_equal(sum->latency.count, 300);
    assert_true(sum->latency.min == whole->latency.min && sum->latency.max == whole->latency.max);
    assert_same_bytes(sum, merged);
    for (size_t c = 0; c < COLUMNS + 2; c++) {
        const struct feature_counts *a = &sum->columns[c], *b = &whole->columns[c];
        if (a->n_cells)
            assert_memory_equal(a->cells, b->cells, a->n_cells * sizeof *a->cells);
        assert_int_equal(counts_total(a), counts_total(b));
        assert_int_equal(a->moments.n, b->moments.n);
        assert_true(fabs(a->moments.mean - b->moments.mean) < 1e-12);
        assert_true(fabs(a->moments.m2 - b->moments.m2) < 1e-9);
    }
    slot_free(whole);
    slot_free(sum);
    slot_free(merged);
}

static void test_clear_gives_a_new_slot(void **state)
{
    struct world *w = *state;
    struct slot *s = slot_of(&w->layout, 9, 50), *fresh = slot_new(&w->layout);
    slot_clear(s);
    assert_same_bytes(s, fresh);
    uint64_t a = 4, b = 4;
    add_row(s, &a);
    add_row(fresh, &b);
    assert_same_bytes(s, fresh);
    slot_free(s);
    slot_free(fresh);
}

static void test_other_columns_are_refused_and_change_nothing(void **state)
{
    struct world *w = *state;
    struct slot_layout fewer;
    struct err e;
    slot_layout_init(&fewer, w->names, COLUMNS - 1, w->names + COLUMNS, 2, w->reference);
    struct slot *mine = slot_of(&w->layout, 1, 5), *before = slot_of(&w->layout, 1, 5);
    const struct slot_layout *others[] = {&fewer, &w->bare};
    for (size_t i = 0; i < 2; i++) {
        struct slot *other = slot_of(others[i], 2, 5);
        struct buf b = {0};
        slot_encode(other, &b);
        assert_int_equal(slot_add_blob(mine, buf_str(&b), &e), E_INVALID);
        assert_int_equal(slot_merge(mine, other, &e), E_INVALID);
        assert_same_bytes(mine, before);
        buf_done(&b);
        slot_free(other);
    }
    slot_free(mine);
    slot_free(before);
    slot_layout_done(&fewer);
}

/* Cut anywhere, changed anywhere, random: an answer, no harm, and a slot that a refusal leaves as it was. */
static void feed(const struct world *w, struct str bytes)
{
    struct slot *s = NULL, *sum = slot_new(&w->layout);
    struct err e;
    if (slot_decode(&s, bytes, &e) == OK) {
        struct buf again = {0};
        slot_encode(s, &again); /* what was read can be written */
        buf_done(&again);
        slot_free(s);
    } else {
        assert_null(s);
    }
    struct slot *empty = slot_new(&w->layout);
    if (slot_add_blob(sum, bytes, &e) != OK)
        assert_same_bytes(sum, empty);
    slot_free(empty);
    slot_free(sum);
    struct sketch latency = {0};
    if (slot_add_latency(&latency, bytes, &e) != OK)
        assert_int_equal(latency.count, 0);
    sketch_done(&latency);
}

/* The latencies can be had of a blob's beginning, and are the same as of the whole. */
static void test_latencies_of_a_head(void **state)
{
    struct world *w = *state;
    struct slot *s = slot_of(&w->layout, 5, 300);
    struct sketch whole = {0}, part = {0};
    struct buf b = {0};
    struct err e;
    slot_encode(s, &b);
    assert_true(s->latency.count > 0);
    assert_int_equal(slot_add_latency(&whole, buf_str(&b), &e), OK);
    assert_true(whole.count == s->latency.count && whole.sum == s->latency.sum && whole.max == s->latency.max);
    size_t n = 0;
    while (slot_add_latency(&part, (struct str){b.data, n}, &e) != OK) {
        assert_int_equal(part.count, 0); /* too short: nothing was added */
        assert_true(n++ < b.len);
    }
    assert_true(n < b.len && n < SLOT_HEAD_BYTES && part.count == whole.count && part.sum == whole.sum);
    assert_int_equal(slot_add_latency(&part, buf_str(&b), &e), OK);
    assert_int_equal(part.count, 2 * whole.count);
    sketch_done(&whole);
    sketch_done(&part);
    buf_done(&b);
    slot_free(s);
}

static void test_hostile_bytes(void **state)
{
    struct world *w = *state;
    uint64_t seed = 123456789;
    struct slot *s = slot_of(&w->layout, 7, 12);
    struct buf b = {0};
    struct err e;
    struct slot *none = NULL;
    slot_encode(s, &b);
    for (size_t n = 0; n < b.len; n++) { /* every prefix is refused */
        assert_int_equal(slot_decode(&none, (struct str){b.data, n}, &e), E_INVALID);
        assert_null(none);
    }
    assert_int_equal(slot_decode(&none, (struct str){NULL, 0}, &e), E_INVALID);
    for (int i = 0; i < 6000; i++) {
        char *copy = mem_dup(b.data, b.len);
        for (uint64_t k = 1 + next(&seed) % 4; k > 0; k--)
            copy[next(&seed) % b.len] = (char)(next(&seed) % 4 ? next(&seed) : 0xff);
        feed(w, (struct str){copy, b.len});
        mem_free(copy);
    }
    for (int i = 0; i < 2000; i++) {
        char noise[200];
        size_t n = next(&seed) % sizeof noise;
        for (size_t k = 0; k < n; k++)
            noise[k] = (char)next(&seed);
        noise[0] = SLOT_FORMAT;
        feed(w, (struct str){noise, n});
    }
    buf_addc(&b, 0);
    assert_int_equal(slot_decode(&none, buf_str(&b), &e), E_INVALID); /* something behind it */
    b.data[0] = SLOT_FORMAT + 1;
    assert_int_equal(slot_decode(&none, buf_str(&b), &e), E_INVALID);
    buf_done(&b);
    slot_free(s);
}

/* Of many texts the most frequent 64 keep their names in the bytes; the others are still counted. */
static void test_most_frequent_texts_stay(void **state)
{
    (void)state;
    struct slot_layout l;
    struct err e;
    struct slot *back = NULL;
    struct buf b = {0};
    const struct str name = STR("city");
    slot_layout_init(&l, &name, 1, NULL, 0, NULL);
    struct slot *s = slot_new(&l);
    for (int i = 0; i < 200; i++) {
        char text[8];
        size_t n = (size_t)snprintf(text, sizeof text, "c%03d", i);
        for (int k = 0; k < (i >= 140 ? 5 : i >= 20 && i < 24 ? 3 : 1); k++)
            slot_add(s, 0, &(struct stat_value){STAT_TEXT, 0, {text, n}});
    }
    slot_encode(s, &b);
    assert_int_equal(slot_decode(&back, buf_str(&b), &e), OK);
    const struct counts_text *t = back->columns[0].text;
    assert_int_equal(t->n_texts, CATEGORIES_MAX); /* 60 of five, 4 of three */
    assert_int_equal(t->other, 136);
    assert_int_equal(counts_texts(&back->columns[0]), counts_texts(&s->columns[0]));
    assert_string_equal(t->texts[0].text, "c020");
    assert_string_equal(t->texts[63].text, "c199");
    buf_done(&b);
    slot_free(s);
    slot_free(back);
    slot_layout_done(&l);
}

/* The bytes of format 1 stay readable: a slot written once and kept. A numeric feature (20 bins from 0 to 20), a
 * categorical one (a, b), one without a reference, and a label without one. */
static void test_fixture_of_format_1(void **state)
{
    (void)state;
    static const unsigned char blob[] = {
        0x01, 0x02, 0x06, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x29, 0x40, 0x02, 0xaa, 0xf5, 0x04, 0x01,
        0x44, 0x01, 0xc5, 0x13, 0xf5, 0x03, 0xd1, 0x0f, 0x03, 0x01, 0x1d, 0x14, 0x01, 0x03, 0x01, 0x37, 0x01, 0x01,
        0x01, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xc0, 0x27, 0x40, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0xa3, 0x7d, 0x40, 0x02, 0x33, 0x26, 0x02, 0x02, 0x00, 0x04, 0x00, 0x01, 0x01, 0x00, 0x50, 0x06, 0x00, 0x01,
        0x9d, 0xb8, 0x02, 0x01, 0x21, 0x01, 0x14, 0x01, 0x0d, 0x01, 0x0a, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0xf4, 0x3f, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x80, 0x11, 0x40, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x04, 0x40, 0x20, 0x00, 0x00, 0x02, 0x02, 0x6e, 0x6f, 0x03, 0x03, 0x79, 0x65, 0x73, 0x03,
    };
    struct slot *s = NULL;
    struct err e;
    assert_int_equal(slot_decode(&s, (struct str){(const char *)blob, sizeof blob}, &e), OK);
    assert_int_equal(s->requests, 2);
    assert_int_equal(s->rows, 6);
    assert_int_equal(s->errors, 1);
    assert_true(s->estimated == 12.5);
    assert_int_equal(s->latency.count, 2);
    assert_true(s->latency.min == 250 && s->latency.max == 1000 && s->latency.sum == 1250);
    const struct feature_counts *n = &s->columns[0], *c = &s->columns[1], *u = &s->columns[2], *y = &s->columns[3];
    assert_int_equal(n->n_cells, 20); /* of 3.5, -1, 20, 25, infinity, NaN */
    assert_int_equal(n->cells[3], 1);
    assert_true(n->under == 1 && n->at_max == 1 && n->over == 1 && n->pos_inf == 1 && n->missing == 1);
    assert_true(n->moments.n == 4 && n->moments.mean == 11.875 && n->moments.min == -1 && n->moments.max == 25);
    assert_int_equal(c->n_cells, 2); /* of a a z b a a */
    assert_true(c->cells[0] == 4 && c->cells[1] == 1 && c->text->other == 1);
    assert_true(u->moments.n == 6 && u->moments.mean == 1.25 && u->sketch->count == 6); /* 0, 0.5, .. 2.5 */
    assert_true(sketch_quantile(u->sketch, 1) == 2.5 && u->sketch->sum == 7.5);
    assert_string_equal(y->text->texts[0].text, "no");
    assert_true(y->text->texts[0].n == 3 && y->text->texts[1].n == 3);
    struct buf again = {0};
    slot_encode(s, &again);
    assert_int_equal(again.len, sizeof blob);
    assert_memory_equal(again.data, blob, sizeof blob);
    buf_done(&again);
    slot_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_one_row_is_small),
        cmocka_unit_test(test_sum_of_blobs_is_the_whole),
        cmocka_unit_test(test_clear_gives_a_new_slot),
        cmocka_unit_test(test_other_columns_are_refused_and_change_nothing),
        cmocka_unit_test(test_latencies_of_a_head),
        cmocka_unit_test(test_hostile_bytes),
        cmocka_unit_test(test_most_frequent_texts_stay),
        cmocka_unit_test(test_fixture_of_format_1),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
