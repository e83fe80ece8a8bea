/* What a reject says of where and why is always text a database takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "base/text.h"
#include "event/inference.h"
#include "event/reject.h"

static void test_a_long_path_ends_with_a_whole_character(void **state)
{
    (void)state;
    for (size_t shift = 0; shift < 4; shift++) { /* the cut falls into each place of a character once */
        char body[1024];
        int n = snprintf(body, sizeof body, "{\"labels\":{\"%.*s", (int)shift, "abc");
        for (int i = 0; i < 60; i++)
            n += snprintf(body + n, sizeof body - (size_t)n, "%s", "\xe2\x82\xac");
        n += snprintf(body + n, sizeof body - (size_t)n, "\":[1,}}");
        struct inference_decoder *d = inference_decoder_new();
        struct inference_event ev;
        struct reject why;
        assert_int_equal(inference_decode(d, body, (size_t)n, &ev, &why), E_INVALID);
        assert_int_equal(why.code, REJECT_MALFORMED_JSON);
        assert_true(text_is_utf8(str_of(why.field)));
        assert_true(text_is_utf8(str_of(why.text)));
        inference_decoder_free(d);
    }
}

static void test_every_code_has_a_name_of_its_own(void **state)
{
    (void)state;
    for (unsigned c = 1; c < REJECT_CODES; c++) {
        for (unsigned other = 0; other < c; other++)
            assert_string_not_equal(reject_name((enum reject_code)other), reject_name((enum reject_code)c));
        assert_in_range(reject_http_status((enum reject_code)c), 400, 599);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_long_path_ends_with_a_whole_character),
        cmocka_unit_test(test_every_code_has_a_name_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
