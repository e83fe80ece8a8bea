/* A window counted again from the lake's columns has the counts that its slots have. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "app/values.h"
#include "stats/slot.h"

/* What a value of a column is in the lake (common/lake/rows.c): doubles, or text. */
static struct stat_value from_lake(enum column_type type, const struct stat_value *v)
{
    const bool is_double = type == COLUMN_NUMBER || type == COLUMN_BOOL;
    const double num = v->num;
    const struct str text = v->kind == STAT_OTHER ? STR("[1,2]") : v->text;
    const unsigned char missing = v->kind == STAT_MISSING;
    const struct lake_column c = {.type = is_double ? COLUMN_NUMBER : COLUMN_STRING, /* as the reader says */
                                  .num = is_double ? &num : NULL,
                                  .text = is_double ? NULL : &text,
                                  .missing = &missing};
    return value_of_lake(&c, type, 0);
}

static void compare(const struct reference *ref, enum column_type type, const struct stat_value *values, size_t n)
{
    const struct str name = STR("f");
    struct slot_layout layout = {0};
    slot_layout_init(&layout, &name, 1, NULL, 0, ref);
    struct slot *slots = slot_new(&layout), *again = slot_new(&layout);
    for (size_t i = 0; i < n; i++) {
        struct stat_value v = from_lake(type, &values[i]);
        slot_add(slots, 0, &values[i]);
        slot_add(again, 0, &v);
    }
    struct buf a = {0}, b = {0};
    slot_encode(slots, &a);
    slot_encode(again, &b);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.data, b.data, a.len);
    buf_done(&a);
    buf_done(&b);
    slot_free(slots);
    slot_free(again);
    slot_layout_done(&layout);
}

static void test_every_kind_counts_alike(void **state)
{
    (void)state;
    const struct stat_value numbers[] = {{.kind = STAT_NUMBER, .num = 0.5},
                                         {.kind = STAT_NUMBER, .num = 1},
                                         {.kind = STAT_NUMBER, .num = INFINITY},
                                         {.kind = STAT_MISSING}};
    const struct stat_value bools[] = {{.kind = STAT_BOOL, .num = 1}, {.kind = STAT_BOOL}, {.kind = STAT_MISSING}};
    const struct stat_value texts[] = {{.kind = STAT_TEXT, .text = STR("a")},
                                       {.kind = STAT_TEXT, .text = STR("[1,2]")},
                                       {.kind = STAT_TEXT, .text = STR("True")},
                                       {.kind = STAT_MISSING}};
    const struct stat_value json[] = {{.kind = STAT_OTHER}, {.kind = STAT_MISSING}};
    const double training[] = {0, 0.25, 0.5, 1};
    const struct stat_value words[] = {{.kind = STAT_TEXT, .text = STR("a")}, {.kind = STAT_TEXT, .text = STR("True")}};
    struct err e;
    struct reference *numeric = reference_new(), *categorical = reference_new();
    assert_int_equal(reference_add_f64(numeric, STR("f"), false, training, 4, &e), OK);
    assert_int_equal(reference_add_values(categorical, STR("f"), false, words, 2, &e), OK);
    const struct reference *refs[] = {NULL, numeric, categorical};
    for (size_t i = 0; i < sizeof refs / sizeof *refs; i++) {
        compare(refs[i], COLUMN_NUMBER, numbers, 4);
        compare(refs[i], COLUMN_BOOL, bools, 3);
        compare(refs[i], COLUMN_STRING, texts, 4);
        compare(refs[i], COLUMN_JSON, json, 2);
    }
    reference_free(numeric);
    reference_free(categorical);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_kind_counts_alike)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
