/* Matching a path against the route table, segment by segment, in the table's order. */
#include "http/route.h"

#include <assert.h>
#include <string.h>

static bool is_param(struct str segment)
{
    return segment.n > 2 && segment.p[0] == '{' && segment.p[segment.n - 1] == '}';
}

/* Patterns are ours: no escapes, but braces. */
static void split(const char *pattern, struct uri *ret)
{
    assert(pattern[0] == '/');
    const char *at = pattern + 1;
    for (;;) {
        size_t n = strcspn(at, "/");
        assert(ret->segment_count < URI_SEGMENTS);
        ret->segments[ret->segment_count++] = (struct str){at, n};
        if (at[n] == '\0')
            return;
        at += n + 1;
    }
}

const char *const http_scopes[HTTP_SCOPES] = {"open", "ingest", "read", "write", "admin"};

static enum http_scope scope_of(const struct http_route *row)
{
    size_t s = 0;
    while (s < HTTP_SCOPES && strcmp(http_scopes[s], row->scope ? row->scope : "") != 0)
        s++;
    assert(s < HTTP_SCOPES); /* who may is said of every route */
    return (enum http_scope)s;
}

static bool has_param(const struct uri *pattern, const char *braced)
{
    bool found = false;
    for (size_t i = 0; i < pattern->segment_count; i++)
        found = found || str_eqz(pattern->segments[i], braced);
    return found;
}

static void route_init(struct route *r, const struct http_routes *table, const struct http_route *row)
{
    r->row = row;
    r->arg = table->arg;
    r->scope = scope_of(row);
    assert(r->scope == HTTP_OPEN || table->gate); /* somebody guards it */
    r->gate = r->scope == HTTP_OPEN ? NULL : table->gate;
    split(row->pattern, &r->pattern);
    r->has_project = has_param(&r->pattern, "{project}");
}

void router_init(struct router *rt, const struct http_routes *tables, size_t count)
{
    size_t total = 0;
    *rt = (struct router){0};
    for (size_t t = 0; t < count; t++)
        total += tables[t].count;
    rt->routes = arena_array(&rt->arena, total, sizeof *rt->routes);
    for (size_t t = 0; t < count; t++)
        for (size_t i = 0; i < tables[t].count; i++)
            route_init(&rt->routes[rt->count++], &tables[t], &tables[t].rows[i]);
}

void router_done(struct router *rt)
{
    arena_done(&rt->arena);
    *rt = (struct router){0};
}

static bool fits(const struct uri *pattern, const struct uri *u)
{
    if (pattern->segment_count != u->segment_count)
        return false;
    for (size_t i = 0; i < u->segment_count; i++)
        if (is_param(pattern->segments[i]) ? u->segments[i].n == 0 : !str_eq(pattern->segments[i], u->segments[i]))
            return false;
    return true;
}

static bool method_fits(const char *has, struct str asked)
{
    return str_eqz(asked, has) || (str_eqz(asked, "HEAD") && strcmp(has, "GET") == 0);
}

const struct route *router_match(const struct router *rt, struct str method, const struct uri *u, bool *ret_path)
{
    *ret_path = false;
    for (size_t i = 0; i < rt->count; i++) {
        if (!fits(&rt->routes[i].pattern, u))
            continue;
        *ret_path = true;
        if (method_fits(rt->routes[i].row->method, method))
            return &rt->routes[i];
    }
    return NULL;
}

const char *router_allow(const struct router *rt, const struct uri *u, struct arena *a)
{
    const char *list = "";
    for (size_t i = 0; i < rt->count; i++) {
        const char *method = rt->routes[i].row->method;
        if (fits(&rt->routes[i].pattern, u) && strstr(list, method) == NULL)
            list = arena_printf(a, "%s%s%s, ", list, method, strcmp(method, "GET") == 0 ? ", HEAD" : "");
    }
    return arena_printf(a, "%sOPTIONS", list);
}

size_t route_param(const struct route *r, const char *name)
{
    size_t n = strlen(name), i = 0;
    for (; i < r->pattern.segment_count; i++) {
        struct str s = r->pattern.segments[i];
        if (is_param(s) && s.n == n + 2 && memcmp(s.p + 1, name, n) == 0)
            break;
    }
    assert(i < r->pattern.segment_count); /* the pattern has no such parameter */
    return i;
}
