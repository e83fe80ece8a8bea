/* How events' columns fit an endpoint's: by place, by name, as a new schema; and that no value is put in a wrong column. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/mem.h"
#include "stream/shape.h"

struct fixture {
    struct inference_decoder *decoder;
    struct shape shape;
    struct columns columns; /* the shape's */
    struct inference_event ev;
    struct reject why;
    struct arena arena;
    char text[1024];
};

static int setup(void **state)
{
    struct fixture *f = mem_alloc(sizeof *f);
    f->decoder = inference_decoder_new();
    f->shape.columns = &f->columns;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    inference_decoder_free(f->decoder);
    schema_done(&f->columns.schema);
    arena_done(&f->arena);
    mem_free(f);
    return 0;
}

static void schema_is(struct fixture *f, const char *document, bool named)
{
    struct err e;
    schema_done(&f->columns.schema);
    f->columns.schema = (struct schema){0};
    assert_int_equal(schema_parse(str_of(document), &f->columns.schema, &e), OK);
    f->columns.schema.named = named;
}

/* inputs and outputs as JSON; their names as JSON lists, or null. */
static const struct inference_event *event(struct fixture *f, const char *inputs, const char *names,
                                           const char *outputs, const char *output_names)
{
    int n = snprintf(
        f->text, sizeof f->text,
        "{\"model\":\"m\",\"endpoint_id\":\"e\",\"when\":\"2025-01-01 00:00:00+00:00\",\"request\":{\"id\":\"r\","
        "\"inputs\":%s,\"input_schema\":%s},\"resp\":{\"outputs\":%s,\"output_schema\":%s}}",
        inputs, names, outputs, output_names);
    assert_in_range(n, 1, sizeof f->text - 1);
    rc_t rc = inference_decode(f->decoder, f->text, (size_t)n, &f->ev, &f->why);
    if (rc)
        fail_msg("%s: %s", reject_name(f->why.code), f->why.text);
    return &f->ev;
}

static void next_is(struct fixture *f, const struct schema *base, bool named, const char *document)
{
    struct buf doc = {0};
    assert_int_equal(schema_from_event(base, &f->ev, &doc), named);
    assert_string_equal(doc.data, document);
    buf_done(&doc);
}

/* Row 0 as text: numbers without fraction, "-" for null, strings as they are. */
static void placed_is(struct fixture *f, const char *want_inputs, const char *want_outputs)
{
    const struct value *sides[2];
    const size_t widths[] = {f->columns.schema.n_features, f->columns.schema.n_labels};
    const char *const wants[] = {want_inputs, want_outputs};
    shape_place(&f->shape, &f->ev, &f->arena, &sides[0], &sides[1]);
    for (size_t k = 0; k < 2; k++) {
        struct buf got = {0};
        buf_addz(&got, "");
        for (size_t i = 0; i < f->ev.n_rows * widths[k]; i++) {
            const struct value *v = &sides[k][i];
            if (i)
                buf_addc(&got, i % widths[k] ? ' ' : '/');
            if (v->type == VALUE_NUMBER)
                buf_addf(&got, "%g", v->num);
            else if (v->type == VALUE_STRING)
                buf_add(&got, v->s.p, v->s.n);
            else
                buf_addc(&got, v->type == VALUE_NULL ? '-' : '?');
        }
        assert_string_equal(got.data ? got.data : "", wants[k]);
        buf_done(&got);
    }
}

#define AB                                                                                                             \
    "{\"features\":[{\"name\":\"a\",\"type\":\"number\"},{\"name\":\"b\",\"type\":\"number\"}],"                       \
    "\"labels\":[{\"name\":\"y\",\"type\":\"number\"}]}"

static void test_a_first_event_makes_the_schema(void **state)
{
    struct fixture *f = *state;
    event(f, "[[1,\"t\",true,null,[2]]]", "null", "[0]", "null");
    next_is(f, NULL, false,
            "{\"features\":[{\"name\":\"f0\",\"type\":\"number\"},{\"name\":\"f1\",\"type\":\"string\"},"
            "{\"name\":\"f2\",\"type\":\"bool\"},{\"name\":\"f3\",\"type\":\"unknown\"},{\"name\":\"f4\",\"type\":"
            "\"json\"}],"
            "\"labels\":[{\"name\":\"p0\",\"type\":\"number\"}]}");
    event(f, "[[1,2]]", "[\"a\",\"b (x)\"]", "[[1,2]]", "[\"timestamp\",\"z\"]");
    next_is(f, NULL, true,
            "{\"features\":[{\"name\":\"a\",\"type\":\"number\"},{\"name\":\"b_x\",\"type\":\"number\"}],"
            "\"labels\":[{\"name\":\"feature_timestamp\",\"type\":\"number\"},{\"name\":\"z\",\"type\":\"number\"}]}");
}

static void test_by_place(void **state)
{
    struct fixture *f = *state;
    schema_is(f, AB, true);
    assert_int_equal(shape_fit(&f->shape, event(f, "[[1,2],[3,4]]", "null", "[5,6]", "null"), &f->arena, &f->why), FIT_YES);
    placed_is(f, "1 2/3 4", "5/6");
    assert_int_equal(shape_fit(&f->shape, event(f, "[[1],[3]]", "null", "[5,6]", "null"), &f->arena, &f->why), FIT_YES);
    placed_is(f, "1 -/3 -", "5/6"); /* fewer than names: the rest is null */
    assert_int_equal(shape_fit(&f->shape, event(f, "[[1,2,3]]", "null", "[5]", "null"), &f->arena, &f->why), FIT_REJECT);
    assert_int_equal(f->why.code, REJECT_SCHEMA_MISMATCH);
    assert_string_equal(f->why.field, "request.inputs");
    assert_int_equal(shape_fit(&f->shape, event(f, "[[1,2]]", "null", "[[5,6]]", "null"), &f->arena, &f->why), FIT_REJECT);
    assert_string_equal(f->why.field, "resp.outputs");
}

static void test_by_name(void **state)
{
    struct fixture *f = *state;
    schema_is(f, AB, true);
    assert_int_equal(
        shape_fit(&f->shape, event(f, "[[1,2],[3,4]]", "[\"b\",\"a\"]", "[5,6]", "[\"y\"]"), &f->arena, &f->why), FIT_YES);
    placed_is(f, "2 1/4 3", "5/6");
    assert_int_equal(shape_fit(&f->shape, event(f, "[{\"b\":1},{\"b\":2}]", "null", "[5,6]", "null"), &f->arena, &f->why),
                     FIT_YES);
    placed_is(f, "- 1/- 2", "5/6");
    assert_int_equal(shape_fit(&f->shape, event(f, "[[1,2]]", "[\"a\",\"c\"]", "[5]", "null"), &f->arena, &f->why),
                     FIT_EXTEND);
    next_is(f, &f->columns.schema, true,
            "{\"features\":[{\"name\":\"a\",\"type\":\"number\"},{\"name\":\"c\",\"type\":\"number\"}],"
            "\"labels\":[{\"name\":\"y\",\"type\":\"number\"}]}");
    assert_int_equal(shape_fit(&f->shape, event(f, "[[1,2]]", "[\"a\",\"b\"]", "[5]", "[\"z\"]"), &f->arena, &f->why),
                     FIT_EXTEND);
    next_is(f, &f->columns.schema, true,
            "{\"features\":[{\"name\":\"a\",\"type\":\"number\"},{\"name\":\"b\",\"type\":\"number\"}],"
            "\"labels\":[{\"name\":\"z\",\"type\":\"number\"}]}");
}

static void test_names_twice_keep_their_places(void **state)
{
    struct fixture *f = *state;
    event(f, "[[1,2,3]]", "[\"a\",\"a\",\"day\"]", "[5]", "[\"a\"]");
    assert_int_equal(schema_check(&f->ev, &f->why), OK);
    struct buf doc = {0};
    (void)schema_from_event(NULL, &f->ev, &doc);
    schema_is(f, doc.data, true);
    buf_done(&doc);
    assert_int_equal(shape_fit(&f->shape, &f->ev, &f->arena, &f->why), FIT_YES);
    placed_is(f, "1 2 3", "5");
}

static void test_made_up_names_grow_with_the_events(void **state)
{
    struct fixture *f = *state;
    schema_is(f, "{\"features\":[{\"name\":\"f0\",\"type\":\"number\"}],\"labels\":[{\"name\":\"p0\",\"type\":\"number\"}]}",
              false);
    assert_int_equal(shape_fit(&f->shape, event(f, "[[1,\"x\"]]", "null", "[5]", "null"), &f->arena, &f->why), FIT_EXTEND);
    next_is(f, &f->columns.schema, false,
            "{\"features\":[{\"name\":\"f0\",\"type\":\"number\"},{\"name\":\"f1\",\"type\":\"string\"}],"
            "\"labels\":[{\"name\":\"p0\",\"type\":\"number\"}]}");
}

static void test_types_are_learned_once(void **state)
{
    struct fixture *f = *state;
    schema_is(f,
              "{\"features\":[{\"name\":\"a\",\"type\":\"unknown\"},{\"name\":\"b\",\"type\":\"number\"}],"
              "\"labels\":[{\"name\":\"y\",\"type\":\"number\"}]}",
              true);
    assert_int_equal(shape_fit(&f->shape, event(f, "[[null,2]]", "null", "[5]", "null"), &f->arena, &f->why), FIT_YES);
    assert_int_equal(shape_fit(&f->shape, event(f, "[[null,2],[\"s\",\"t\"]]", "null", "[5,6]", "null"), &f->arena, &f->why),
                     FIT_EXTEND);
    next_is(f, &f->columns.schema, true,
            "{\"features\":[{\"name\":\"a\",\"type\":\"string\"},{\"name\":\"b\",\"type\":\"number\"}],"
            "\"labels\":[{\"name\":\"y\",\"type\":\"number\"}]}");
}

static void test_a_name_of_nothing_is_refused(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(schema_check(event(f, "[[1]]", "[\"\"]", "[5]", "null"), &f->why), E_INVALID);
    assert_int_equal(f->why.code, REJECT_BAD_NAME);
    assert_int_equal(schema_check(event(f, "[[1]]", "[\"a\"]", "[5]", "[\"()\"]"), &f->why), E_INVALID);
    assert_string_equal(f->why.field, "resp.output_schema");
    assert_int_equal(schema_check(event(f, "[[1]]", "null", "[5]", "null"), &f->why), OK);
}

static void test_one_used_before_is_found(void **state)
{
    struct fixture *f = *state;
    struct columns columns = {0};
    struct shape newer = {.next = &f->shape, .columns = &columns};
    struct err e;
    struct known k = {.shape = &newer, .shapes = &newer};
    struct pipeline_part part = {0};
    struct pipeline_record r = {.part = &part};
    schema_is(f, AB, true);
    assert_int_equal(
        schema_parse(STR("{\"features\":[{\"name\":\"a\",\"type\":\"number\"},{\"name\":\"c\",\"type\":\"number\"}],"
                         "\"labels\":[{\"name\":\"y\",\"type\":\"number\"}]}"),
                     &columns.schema, &e),
        OK);
    assert_ptr_equal(shape_among(&k, &r, event(f, "[[1,2]]", "[\"a\",\"b\"]", "[5]", "null"), &f->arena), &f->shape);
    assert_ptr_equal(shape_among(&k, &r, event(f, "[[1,2]]", "[\"a\",\"c\"]", "[5]", "null"), &f->arena), &newer);
    assert_null(shape_among(&k, &r, event(f, "[[1,2]]", "[\"a\",\"d\"]", "[5]", "null"), &f->arena));
    f->shape.reference_version = 1; /* counted against another reference: not this one */
    assert_null(shape_among(&k, &r, event(f, "[[1,2]]", "[\"a\",\"b\"]", "[5]", "null"), &f->arena));
    schema_done(&columns.schema);
}

static void test_two_columns_of_one_name(void **state)
{
    struct fixture *f = *state;
    schema_is(f, AB, true);
    assert_int_equal(shape_fit(&f->shape, event(f, "[[1,2]]", "[\"a\",\"a\"]", "[5]", "[\"y\"]"), &f->arena, &f->why),
                     FIT_EXTEND);
    next_is(f, &f->columns.schema, true,
            "{\"features\":[{\"name\":\"a\",\"type\":\"number\"},{\"name\":\"a\",\"type\":\"number\"}],"
            "\"labels\":[{\"name\":\"y\",\"type\":\"number\"}]}");
    schema_is(f,
              "{\"features\":[{\"name\":\"a\",\"type\":\"number\"},{\"name\":\"a\",\"type\":\"number\"},"
              "{\"name\":\"b\",\"type\":\"number\"}],\"labels\":[{\"name\":\"y\",\"type\":\"number\"}]}",
              true);
    assert_int_equal(
        shape_fit(&f->shape, event(f, "[[1,2,3]]", "[\"a\",\"b\",\"a\"]", "[5]", "[\"y\"]"), &f->arena, &f->why), FIT_YES);
    placed_is(f, "1 3 2", "5");
    assert_int_equal(shape_fit(&f->shape, event(f, "[[1,2,3]]", "[\"a\",\"a\",\"a\"]", "[5]", "[\"y\"]"), &f->arena, &f->why),
                     FIT_EXTEND);
}

static void test_a_schema_holds_from_its_record_on(void **state)
{
    struct fixture *f = *state;
    struct shape newer = {.next = &f->shape,
                          .columns = &f->columns,
                          .seq = 9,
                          .from = {.us = 500, .partition = 2, .generation = 1, .offset = 40}};
    struct known k = {.shape = &newer, .shapes = &newer};
    struct pipeline_part part = {.partition = 2, .generation = 1};
    struct pipeline_record r = {.part = &part, .offset = 40, .timestamp_us = 100};
    f->shape.from = (struct schema_from){.us = 1000, .partition = -1};
    f->shape.seq = 3;
    assert_ptr_equal(shape_newest(&k, &r), &newer); /* its own record, whatever the clocks said */
    r.offset = 39;
    assert_ptr_equal(shape_newest(&k, &r), &f->shape); /* before all: the oldest */
    part.generation = 2;                               /* another log: by the time */
    r.timestamp_us = 499;
    assert_ptr_equal(shape_newest(&k, &r), &f->shape);
    r.timestamp_us = 500;
    assert_ptr_equal(shape_newest(&k, &r), &newer);
    part.schema_seq = 8; /* a replay of what was decided before it came */
    assert_ptr_equal(shape_newest(&k, &r), &f->shape);
    newer.reference_version = 1;
    part.schema_seq = 0;
    assert_ptr_equal(shape_newest(&k, &r), &f->shape);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
static struct columns *columns_of(struct map *all, const char *document, const double *values, size_t n)
{
    struct err e;
    struct schema schema;
    struct reference *reference = reference_new();
    assert_int_equal(schema_parse(str_of(document), &schema, &e), OK);
    assert_int_equal(reference_add_f64(reference, STR("a"), false, values, n, &e), OK);
    struct columns *c = columns_shared(all, str_of(document), &schema, reference, true);
    assert_null(schema.features);
    return c;
}

/* Endpoints of one model hold its columns once; who differs in anything that counts has its own. */
static void test_equal_columns_are_held_once(void **state)
{
    (void)state;
    static const double values[] = {0, 1, 2, 3}, others[] = {0, 1, 2, 4};
    struct map all = {0};
    struct columns *c = columns_of(&all, AB, values, 4);
    assert_ptr_equal(columns_of(&all, AB, values, 4), c);
    assert_ptr_not_equal(columns_of(&all, AB, others, 4), c);
    assert_ptr_not_equal(
        columns_of(&all, "{\"features\":[{\"name\":\"a\",\"type\":\"number\"}],\"labels\":[]}", values, 4), c);
    assert_int_equal(all.len, 3);
    assert_int_equal(c->layout.n_features, 2);
    assert_int_equal(feature_bin(slot_ref(&c->layout, 0), 2.99), 19);
    columns_done(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_first_event_makes_the_schema),
        TEST(test_by_place),
        TEST(test_by_name),
        TEST(test_names_twice_keep_their_places),
        TEST(test_made_up_names_grow_with_the_events),
        TEST(test_types_are_learned_once),
        TEST(test_a_name_of_nothing_is_refused),
        TEST(test_one_used_before_is_found),
        TEST(test_two_columns_of_one_name),
        TEST(test_a_schema_holds_from_its_record_on),
        TEST(test_equal_columns_are_held_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
