/* Files of tests/vectors as JSON documents. */
#include "vectors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

void file_read(const char *path, struct buf *out)
{
    char piece[4096];
    size_t n;
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        fail_msg("cannot open %s", path);
    while ((n = fread(piece, 1, sizeof piece, f)) > 0)
        buf_add(out, piece, n);
    assert_int_equal(ferror(f), 0);
    (void)fclose(f); /* only read */
}

struct json *vectors_load(const char *name)
{
    char path[256];
    struct buf text = {0};
    struct json *ret = NULL;
    struct err e = {0};
    (void)snprintf(path, sizeof path, "tests/vectors/%s", name);
    file_read(path, &text);
    const struct json_limits limits = {.values = 1000000, .bytes = 16 << 20, .accept_nan = true};
    if (json_parse(&ret, text.data, text.len, &limits, &e) != OK)
        fail_msg("%s: %s", path, e.text);
    buf_done(&text);
    return ret;
}
