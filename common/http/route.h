/* The routes of all tables, made ready for matching. Inside http/ only. */
#pragma once
#include "http/server.h"
#include "http/uri.h"

struct route {
    const struct http_route *row;
    void *arg;
    const struct http_gate *gate; /* NULL: open */
    enum http_scope scope;
    bool has_project;   /* {project} is in the pattern */
    struct uri pattern; /* segments as written: a name in braces is a parameter */
    size_t metric;      /* index of its label */
};

struct router {
    struct route *routes;
    size_t count;
    struct arena arena;
};

void router_init(struct router *rt, const struct http_routes *tables, size_t count);
void router_done(struct router *rt);
/* The route, or NULL; *ret_path then says whether the path has any. HEAD finds GET. */
const struct route *router_match(const struct router *rt, struct str method, const struct uri *u, bool *ret_path);
/* "GET, HEAD, POST, OPTIONS" for a path that has routes. */
const char *router_allow(const struct router *rt, const struct uri *u, struct arena *a);
/* The index of a parameter's segment; asserted to be there. */
size_t route_param(const struct route *r, const char *name);
