/* Python's literals are written again as JSON, and read by the strict reader: what is wrong is found there. */
#include "json/literal.h"

#include <string.h>

static const struct {
    const char *python, *json;
} words[] = {{"True", "true"}, {"False", "false"}, {"None", "null"}};

/* One escape, its backslash taken: at stands on the character behind. Those that JSON has too stay. */
static const char *add_escape(const char *at, const char *end, struct buf *out)
{
    if (*at == 'x' && end - at > 2) {
        buf_addf(out, "\\u00%.2s", at + 1);
        return at + 3;
    }
    if (*at != '\'')
        buf_addc(out, '\\');
    buf_addc(out, *at);
    return at + 1;
}

/* at: behind the opening quote. Behind the closing one, or the end. */
static const char *add_text(const char *at, const char *end, char quote, struct buf *out)
{
    buf_addc(out, '"');
    while (at < end && *at != quote) {
        if (*at == '\\' && at + 1 < end) {
            at = add_escape(at + 1, end, out);
            continue;
        }
        if (*at == '"')
            buf_addc(out, '\\');
        buf_addc(out, *at++);
    }
    if (at < end)
        buf_addc(out, '"');
    return at < end ? at + 1 : end;
}

static const char *add_word(const char *at, const char *end, struct buf *out)
{
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t n = strlen(words[i].python);
        if ((size_t)(end - at) >= n && memcmp(at, words[i].python, n) == 0) {
            buf_addz(out, words[i].json);
            return at + n;
        }
    }
    buf_addc(out, *at);
    return at + 1;
}

rc_t json_parse_literal(struct json **ret, const char *p, size_t n, struct err *e)
{
    struct buf out = {0};
    const char *end = p + n;
    for (const char *at = p; at < end;)
        at = *at == '\'' || *at == '"' ? add_text(at + 1, end, *at, &out) : add_word(at, end, &out);
    rc_t rc = json_parse(ret, out.data ? out.data : "", out.len, NULL, e);
    buf_done(&out);
    return rc;
}
