/* Request targets and heads: first line the target, then "name:value" lines. What is taken has the shape that handlers rely
 * on, and a head that is let through frames its body in one way only. */
#include <string.h>

#include "base/text.h"
#include "fuzz.h"
#include "http/guard.h"
#include "http/uri.h"

static void check_text(struct str s)
{
    MUST(text_is_utf8(s));
    for (size_t i = 0; i < s.n; i++)
        MUST((unsigned char)s.p[i] >= 0x20 && s.p[i] != 0x7F);
}

static void check_target(struct str target, struct arena *a)
{
    struct uri u;
    const char *words = NULL;
    if (uri_parse(target, a, &u, &words) != OK) {
        MUST(words != NULL);
        return;
    }
    MUST(target.p[0] == '/' && u.segment_count >= 1 && u.segment_count <= URI_SEGMENTS && u.pair_count <= URI_PAIRS);
    for (size_t i = 0; i < u.segment_count; i++) {
        check_text(u.segments[i]);
        MUST(!str_eqz(u.segments[i], ".") && !str_eqz(u.segments[i], ".."));
    }
    for (size_t i = 0; i < u.pair_count; i++) {
        check_text(u.pairs[i].name);
        check_text(u.pairs[i].value);
    }
}

static struct str take_line(struct str *rest)
{
    const char *end = rest->n ? memchr(rest->p, '\n', rest->n) : NULL;
    size_t n = end ? (size_t)(end - rest->p) : rest->n;
    struct str line = {rest->p, n};
    rest->p += end ? n + 1 : n;
    rest->n -= end ? n + 1 : n;
    return line;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str rest = {(const char *)data, n};
    struct arena a = {0};
    struct guard g;
    check_target(take_line(&rest), &a);
    guard_start(&g, n);
    while (rest.n > 0) {
        struct str line = take_line(&rest);
        const char *colon = line.n ? memchr(line.p, ':', line.n) : NULL;
        size_t name = colon ? (size_t)(colon - line.p) : line.n;
        guard_header(&g, (struct str){line.p, name},
                     colon ? (struct str){colon + 1, line.n - name - 1} : (struct str){line.p + line.n, 0});
    }
    guard_end(&g, STR("HTTP/1.1"));
    if (g.words == NULL)
        MUST(g.hosts == 1 && g.lengths + g.encodings <= 1 && (g.length >= 0) == (g.lengths == 1) &&
             g.chunked == (g.encodings == 1));
    arena_done(&a);
    return 0;
}
