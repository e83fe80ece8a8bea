/* HTTP bodies: one event, an array, lines; a bad one does not spoil its neighbours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "event/inference.h"

/* The records joined by '|', each with its line; then how it ended: "." or "!position". */
static const char *pieces(const char *body, size_t n, bool lines)
{
    static char text[2048];
    struct inference_split s;
    struct reject why = {0};
    struct str rec;
    size_t at = 0, index = 0;
    int got;
    char *exact = malloc(n ? n : 1);
    assert_non_null(exact);
    memcpy(exact, body, n);
    inference_split_init(&s, exact, n, lines);
    while ((got = inference_split_next(&s, &rec, &why)) == 1) {
        assert_int_equal(s.index, index++);
        assert_ptr_equal(rec.p, exact + s.offset);
        at += (size_t)snprintf(text + at, sizeof text - at, "%.*s@%zu|", STR_FMT(rec), s.line);
    }
    (void)snprintf(text + at, sizeof text - at, got == 0 ? "." : "!%zu", why.position);
    assert_int_equal(inference_split_next(&s, &rec, &why), 0); /* and stays ended */
    free(exact);
    return text;
}

static void bodies(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        bool lines;
        const char *want;
    } rows[] = {
        {"{}", false, "{}@1|."},
        {" \n {\"a\":1} \r\n", false, "{\"a\":1}@2|."},
        {"{\n \"a\": 1,\n \"b\":\n {\n \"c\": [\n {}\n ]\n }\n}\n", false,
         "{\n \"a\": 1,\n \"b\":\n {\n \"c\": [\n {}\n ]\n }\n}@1|."},
        {"{\"a\":1}\n{\"b\":2}\n", false, "{\"a\":1}@1|{\"b\":2}@2|."},
        {"{\"a\":1}\r\n\r\n  {\"b\":2}", false, "{\"a\":1}@1|{\"b\":2}@3|."},
        {"{\"a\":1\n{\"b\":2}\n{\"c\":3}", false, "{\"a\":1@1|{\"b\":2}@2|{\"c\":3}@3|."}, /* the first is cut short */
        {"{\"a\":1}\ngarbage\n{\"c\":3}", false, "{\"a\":1}@1|garbage@2|{\"c\":3}@3|."},
        {"garbage\n{\"c\":3}", false, "garbage@1|{\"c\":3}@2|."},
        {"{\"a\":1}\n\"x\"", true, "{\"a\":1}@1|\"x\"@2|."},
        {"[1]\n[2]", true, "[1]@1|[2]@2|."},
        {"{\"a\":1} {\"b\":2}", false, "{\"a\":1} {\"b\":2}@1|."}, /* no framing: refused when it is decoded */
        {"[]", false, "."},
        {" [ ] ", false, "."},
        {"[{\"a\":1}]", false, "{\"a\":1}@1|."},
        {"[{\"a\":\"]\\\"}\"},\n {\"b\":[1,{}]} , 5 , \"x,]\" ]", false,
         "{\"a\":\"]\\\"}\"}@1|{\"b\":[1,{}]}@2|5@2|\"x,]\"@2|."},
        {"[{\"a\":},{\"b\":2}]", false, "{\"a\":}@1|{\"b\":2}@1|."}, /* broken inside, framed outside */
        {"[{\"a\":1}{\"b\":2}]", false, "{\"a\":1}@1|!8"},
        {"[{\"a\":1},]", false, "{\"a\":1}@1|!9"},
        {"[,{}]", false, "!1"},
        {"[{\"a\":1},{\"b\":", false, "{\"a\":1}@1|!9"},
        {"[{\"a\":1}", false, "{\"a\":1}@1|!8"},
        {"[{\"a\":\"x]", false, "!1"},
        {"[", false, "!1"},
        {"[1", false, "!1"},
        {"[{}] {}", false, "{}@1|!5"},
        {"", false, "!0"},
        {" \n", false, "!2"},
        {"", true, "!0"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *got = pieces(rows[i].body, strlen(rows[i].body), rows[i].lines);
        if (strcmp(got, rows[i].want) != 0)
            fail_msg("%s\ngives %s\nwant  %s", rows[i].body, got, rows[i].want);
    }
}

/* However an array or lines are cut, what comes out lies in order inside the body and ends. */
static void any_prefix_ends(void **state)
{
    (void)state;
    static const char *const bodies[] = {"[{\"a\":\"\\\"[\"},[[1]],\"\\\\\",{}]", "{\"a\":1}\n\n{\"b\":[\n{}]}\n"};
    for (size_t b = 0; b < 2; b++)
        for (size_t n = 0; n <= strlen(bodies[b]); n++)
            for (int lines = 0; lines < 2; lines++)
                assert_true(strlen(pieces(bodies[b], n, lines)) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(bodies), cmocka_unit_test(any_prefix_ends)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
