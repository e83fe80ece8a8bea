/* What is decided before a body: targets, headers, routes, and where a client may go. No socket here. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "http/guard.h"
#include "http/reach.h"
#include "http/route.h"
#include "http/uri.h"

static struct uri parse(const char *text, struct arena *a)
{
    struct uri u;
    const char *words = "";
    if (uri_parse(str_of(text), a, &u, &words) != OK)
        fail_msg("%s: %s", text, words);
    return u;
}

static void targets_are_split_and_decoded(void **state)
{
    (void)state;
    struct arena a = {0};
    struct uri u = parse("/a%20b/%C3%A9/%2F/+?x=1&x=%26&y&=z&&w=a+b%2Bc=d", &a);
    static const char *const segments[] = {"a b", "\xC3\xA9", "/", "+"};
    static const char *const pairs[][2] = {{"x", "1"}, {"x", "&"}, {"y", ""}, {"", "z"}, {"w", "a b+c=d"}};
    assert_int_equal(u.segment_count, 4);
    for (size_t i = 0; i < 4; i++)
        assert_true(str_eqz(u.segments[i], segments[i]));
    assert_int_equal(u.pair_count, 5);
    for (size_t i = 0; i < 5; i++)
        assert_true(str_eqz(u.pairs[i].name, pairs[i][0]) && str_eqz(u.pairs[i].value, pairs[i][1]));
    assert_int_equal(parse("/", &a).segment_count, 1);
    assert_int_equal(parse("/a/", &a).segment_count, 2);
    assert_int_equal(parse("/a?", &a).pair_count, 0);
    assert_true(str_eqz(parse("/a/b?c", &a).path, "/a/b"));
    arena_done(&a);
}

static void bad_targets_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "*",
                                      "a",
                                      "http://h/",
                                      "/%",
                                      "/%4",
                                      "/%zz",
                                      "/%00",
                                      "/%0a",
                                      "/%7f",
                                      "/a/../b",
                                      "/%2e%2e/",
                                      "/a/%2E",
                                      "/\x01",
                                      "/a b",
                                      "/a#b",
                                      "/a\\b",
                                      "/\xC3\xA9",
                                      "/%C3",
                                      "/%ED%A0%80",
                                      "/%c0%af",
                                      "/a?x=%0",
                                      "/a?x=%00",
                                      "/a?%ff=1",
                                      "/a?x=%0d%0aSet-Cookie:",
                                      "/<",
                                      "/a\"b",
                                      "/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18/19/20/21/22/23/24/25"};
    struct arena a = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct uri u = {.segment_count = 77};
        const char *words = NULL;
        if (uri_parse(str_of(bad[i]), &a, &u, &words) != E_INVALID || words == NULL || u.segment_count != 77)
            fail_msg("\"%s\" taken", bad[i]);
    }
    char many[2048] = "/?";
    for (size_t i = 2; i < 2 + 2 * URI_PAIRS; i += 2)
        memcpy(many + i, "a&", 3);
    struct uri u;
    const char *words;
    assert_int_equal(uri_parse(str_of(many), &a, &u, &words), E_INVALID);
    arena_done(&a);
}

/* Every prefix of an escape-laden target, in memory that ends where it ends. */
static void no_target_is_read_past_its_end(void **state)
{
    (void)state;
    static const char whole[] = "/a%20/%C3%A9?x=%26&y=+%2";
    struct arena a = {0};
    for (size_t n = 0; n < sizeof whole; n++) {
        char *exact = malloc(n ? n : 1);
        struct uri u;
        const char *words;
        memcpy(exact, whole, n);
        (void)!uri_parse((struct str){exact, n}, &a, &u, &words);
        free(exact);
    }
    arena_done(&a);
}

struct head {
    const char *name, *value;
};

static const char *judge(const struct head *h, const char *version, struct guard *g)
{
    guard_start(g, 1);
    for (; h->name; h++)
        guard_header(g, str_of(h->name), str_of(h->value));
    guard_end(g, str_of(version));
    return g->words;
}

static void heads_are_judged(void **state)
{
    (void)state;
    static const struct {
        struct head h[4];
        const char *version, *words;
        int64_t length;
    } cases[] = {
        {{{"Host", "h"}}, "HTTP/1.1", NULL, -1},
        {{{"host", "h"}, {"content-length", "12"}}, "HTTP/1.1", NULL, 12},
        {{{NULL, NULL}}, "HTTP/1.0", NULL, -1},
        {{{"Host", ""}, {"Transfer-Encoding", "Chunked"}}, "HTTP/1.1", NULL, -1},
        {{{NULL, NULL}}, "HTTP/1.1", "there must be exactly one Host", -1},
        {{{"Host", "h"}, {"HOST", "h"}}, "HTTP/1.1", "there must be exactly one Host", -1},
        {{{"Host", "h"}, {"Content-Length", "1"}, {"Content-Length", "1"}}, "HTTP/1.1", "more than one Content-Length", 1},
        {{{"Host", "h"}, {"Content-Length", "1"}, {"Transfer-Encoding", "chunked"}},
         "HTTP/1.1",
         "both Content-Length and Transfer-Encoding",
         1},
        {{{"Host", "h"}, {"Transfer-Encoding", "chunked, chunked"}}, "HTTP/1.1", "Transfer-Encoding is not chunked", -1},
        {{{"Host", "h"}, {"Transfer-Encoding", "chunked"}, {"Transfer-Encoding", "chunked"}},
         "HTTP/1.1",
         "more than one Transfer-Encoding",
         -1},
        {{{"Host", "h"}, {"Transfer-Encoding", "chunked"}}, "HTTP/1.0", "Transfer-Encoding in HTTP/1.0", -1},
        {{{"Host", "h"}, {"Content-Length", " 1"}}, "HTTP/1.1", "Content-Length is not a number", -1},
        {{{"Host", "h"}, {"Content-Length", "+1"}}, "HTTP/1.1", "Content-Length is not a number", 1},
        {{{"Host", "h"}, {"Content-Length", ""}}, "HTTP/1.1", "Content-Length is not a number", -1},
        {{{"Host", "h"}, {"X ", "1"}}, "HTTP/1.1", "a header name has a character that may not be there", -1},
        {{{"Host", "h"}, {"", "1"}}, "HTTP/1.1", "a header name has a character that may not be there", -1},
        {{{"Host", "h"}, {"X", "a\rb"}}, "HTTP/1.1", "a header value has a control character", -1},
        {{{"Host", "h"}, {"X", "a\tb \xFF"}}, "HTTP/1.1", NULL, -1},
        {{{"Host", "h"}}, "HTTP/2.0", "the version is neither HTTP/1.1 nor HTTP/1.0", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct guard g;
        const char *words = judge(cases[i].h, cases[i].version, &g);
        if ((words == NULL) != (cases[i].words == NULL) || (words && strcmp(words, cases[i].words) != 0))
            fail_msg("case %zu: %s", i, words ? words : "taken");
        assert_int_equal(g.length, cases[i].length);
    }
}

static void handler(struct http_request *r, void *arg)
{
    (void)r;
    (void)arg;
}

static const struct http_route rows[] = {
    {"GET", "/", "open", 0, handler, ""},          {"GET", "/p/{a}/fixed", "read", 0, handler, ""},
    {"GET", "/p/{a}/{b}", "read", 0, handler, ""}, {"POST", "/p/{a}/{b}", "read", 0, handler, ""},
    {"GET", "/p/{a}/", "read", 0, handler, ""},
};

static void routes_match_in_order(void **state)
{
    (void)state;
    static const struct {
        const char *method, *target;
        int row; /* -1: no such path, -2: another method */
    } cases[] = {{"GET", "/", 0},       {"HEAD", "/", 0},          {"POST", "/", -2},     {"GET", "/p/x/fixed", 1},
                 {"GET", "/p/x/y", 2},  {"POST", "/p/x/fixed", 3}, {"GET", "/p/x/", 4},   {"GET", "/p/x", -1},
                 {"GET", "/p//y", -1},  {"get", "/p/x/y", -2},     {"HEAD", "/p/x/y", 2}, {"PUT", "/p/x/y", -2},
                 {"GET", "/P/x/y", -1}, {"GET", "/p/x/y/", -1}};
    struct arena a = {0};
    struct router rt;
    struct http_routes tables[] = {HTTP_ROUTES(rows, NULL)};
    tables[0].gate = &http_gate_open;
    router_init(&rt, tables, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct uri u = parse(cases[i].target, &a);
        bool path;
        const struct route *r = router_match(&rt, str_of(cases[i].method), &u, &path);
        int got = r ? (int)(r->row - rows) : path ? -2 : -1;
        if (got != cases[i].row)
            fail_msg("%s %s: %d", cases[i].method, cases[i].target, got);
    }
    struct uri u = parse("/p/x/y", &a);
    assert_string_equal(router_allow(&rt, &u, &a), "GET, HEAD, POST, OPTIONS");
    assert_int_equal(route_param(&rt.routes[2], "b"), 2);
    router_done(&rt);
    arena_done(&a);
}

static bool allows(enum http_reach reach, const char *text)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        return reach_allows(reach, (const struct sockaddr *)&v4);
    assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
    return reach_allows(reach, (const struct sockaddr *)&v6);
}

static void inner_addresses_are_not_public(void **state)
{
    (void)state;
    static const char *const inner[] = {"0.0.0.0",
                                        "10.1.2.3",
                                        "100.64.0.1",
                                        "100.127.255.255",
                                        "127.0.0.1",
                                        "169.254.169.254",
                                        "172.16.0.1",
                                        "172.31.255.255",
                                        "192.168.1.1",
                                        "192.0.2.1",
                                        "198.18.0.1",
                                        "198.19.255.255",
                                        "203.0.113.9",
                                        "224.0.0.1",
                                        "240.0.0.1",
                                        "255.255.255.255",
                                        "::",
                                        "::1",
                                        "fe80::1",
                                        "fc00::1",
                                        "fd12::1",
                                        "ff02::1",
                                        "::ffff:127.0.0.1",
                                        "::ffff:10.0.0.1",
                                        "::ffff:169.254.169.254",
                                        "64:ff9b::7f00:1",
                                        "2002:7f00:1::",
                                        "2001:db8::1",
                                        "2001::1",
                                        "3fff::1",
                                        "::127.0.0.1",
                                        "fec0::1"};
    static const char *const outer[] = {"1.1.1.1",         "8.8.8.8",      "100.128.0.1",    "172.32.0.1",
                                        "172.15.0.1",      "192.167.1.1",  "198.20.0.1",     "223.255.255.255",
                                        "2606:4700::1111", "2a00:1450::1", "::ffff:1.1.1.1", "2001:4860::8888"};
    for (size_t i = 0; i < sizeof inner / sizeof *inner; i++)
        if (allows(HTTP_REACH_PUBLIC, inner[i]))
            fail_msg("%s is let out", inner[i]);
    for (size_t i = 0; i < sizeof outer / sizeof *outer; i++)
        if (!allows(HTTP_REACH_PUBLIC, outer[i]) || allows(HTTP_REACH_LOOPBACK, outer[i]))
            fail_msg("%s", outer[i]);
    assert_true(allows(HTTP_REACH_LOOPBACK, "127.9.9.9") && allows(HTTP_REACH_LOOPBACK, "::1"));
    assert_true(allows(HTTP_REACH_LOOPBACK, "::ffff:127.0.0.1") && !allows(HTTP_REACH_LOOPBACK, "10.0.0.1"));
    assert_true(allows(HTTP_REACH_ANY, "10.0.0.1"));
    const struct sockaddr other = {.sa_family = AF_UNIX};
    assert_true(!reach_allows(HTTP_REACH_ANY, &other) && !reach_allows(HTTP_REACH_PUBLIC, &other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets_are_split_and_decoded),  cmocka_unit_test(bad_targets_are_refused),
        cmocka_unit_test(no_target_is_read_past_its_end), cmocka_unit_test(heads_are_judged),
        cmocka_unit_test(routes_match_in_order),          cmocka_unit_test(inner_addresses_are_not_public),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
