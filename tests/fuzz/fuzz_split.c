/* HTTP bodies taken apart: records in order, inside the body, and an end. */
#include <string.h>

#include "event/inference.h"
#include "fuzz.h"

static void one(const char *body, size_t n, bool lines)
{
    struct inference_split s;
    struct reject why = {0};
    struct str rec;
    size_t index = 0, end = 0, line = 1;
    int got;
    inference_split_init(&s, body, n, lines);
    while ((got = inference_split_next(&s, &rec, &why)) == 1) {
        MUST(s.index == index++ && rec.n > 0 && rec.p == body + s.offset);
        MUST(s.offset >= end && s.offset + rec.n <= n && s.line >= line);
        MUST(!memchr(" \t\r\n", rec.p[0], 4) && !memchr(" \t\r\n", rec.p[rec.n - 1], 4));
        size_t breaks = 1;
        for (size_t i = 0; i < s.offset; i++)
            breaks += body[i] == '\n';
        MUST(s.line == breaks);
        end = s.offset + rec.n;
        line = s.line;
        if (index > 64)
            return; /* counting lines for each is quadratic here, not there */
    }
    MUST(got == 0 || (why.code == REJECT_MALFORMED_JSON && why.position <= n));
    MUST(inference_split_next(&s, &rec, &why) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    one((const char *)data, n, false);
    one((const char *)data, n, true);
    return 0;
}
