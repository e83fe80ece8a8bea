/* What a handler may know of its request. */
#include "http/request.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <string.h>

void http_suspend(struct http_request *r)
{
    assert(!r->suspended);
    r->suspended = true;
    atomic_fetch_add(&r->connection->server->suspended, 1);
    MHD_suspend_connection(r->connection->mhd);
}

void http_resume(struct http_request *r)
{
    MHD_resume_connection(r->connection->mhd);
}

struct str http_param(const struct http_request *r, const char *name)
{
    return r->uri.segments[route_param(r->route, name)];
}

bool http_query(const struct http_request *r, const char *name, size_t nth, struct str *ret)
{
    for (size_t i = 0; i < r->uri.pair_count; i++) {
        if (str_eqz(r->uri.pairs[i].name, name) && nth-- == 0) {
            *ret = r->uri.pairs[i].value;
            return true;
        }
    }
    return false;
}

bool http_query_pair(const struct http_request *r, size_t nth, struct str *ret_name, struct str *ret_value)
{
    if (nth >= r->uri.pair_count)
        return false;
    *ret_name = r->uri.pairs[nth].name;
    *ret_value = r->uri.pairs[nth].value;
    return true;
}

struct str http_header(const struct http_request *r, const char *name)
{
    const char *value = MHD_lookup_connection_value(r->connection->mhd, MHD_HEADER_KIND, name);
    return value ? str_of(value) : STR("");
}

struct str http_body(const struct http_request *r)
{
    return buf_str(&r->body);
}

struct arena *http_arena(struct http_request *r)
{
    return &r->arena;
}

const struct http_route *http_route(const struct http_request *r)
{
    return r->route->row;
}

enum http_scope http_scope(const struct http_request *r)
{
    return r->route->scope;
}

bool http_project(const struct http_request *r, struct str *ret)
{
    if (r->route->has_project)
        *ret = http_param(r, "project");
    return r->route->has_project;
}

bool http_is_read(const struct http_request *r)
{
    return str_eqz(r->method, "GET") || str_eqz(r->method, "HEAD");
}

const char *http_target(struct http_request *r, size_t max)
{
    const char *query = memchr(r->raw.p, '?', r->raw.n);
    size_t n = query ? (size_t)(query - r->raw.p) : r->raw.n;
    return arena_dup(&r->arena, r->raw.p, n < max ? n : max);
}

bool http_is_tls(const struct http_request *r)
{
    return MHD_get_connection_info(r->connection->mhd, MHD_CONNECTION_INFO_PROTOCOL) != NULL;
}

const char *http_address(struct http_request *r)
{
    char text[INET6_ADDRSTRLEN] = "";
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(r->connection->mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *from = info ? info->client_addr : NULL;
    if (from && from->sa_family == AF_INET)
        (void)inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)from)->sin_addr, text, sizeof text);
    else if (from && from->sa_family == AF_INET6)
        (void)inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)from)->sin6_addr, text, sizeof text);
    return arena_dup(&r->arena, text, strlen(text)); /* room is enough: it does not fail */
}

void http_called_by(struct http_request *r, const struct http_caller *caller)
{
    r->caller = *caller;
    r->called = true;
}

const struct http_caller *http_caller(const struct http_request *r)
{
    return r->called ? &r->caller : NULL;
}

bool http_may(const struct http_request *r, struct str project)
{
    const struct http_caller *c = http_caller(r);
    bool may = c && c->all_projects;
    for (size_t i = 0; c && i < c->n_projects && !may; i++)
        may = str_eq(c->projects[i], project);
    return may;
}

/* ---- the gate that is always open ---- */

static enum http_verdict admit(struct http_request *r, bool again, void *arg)
{
    (void)again, (void)arg;
    http_called_by(r, &(struct http_caller){.scopes = ~0U, .all_projects = true});
    return HTTP_ADMITTED;
}

const struct http_gate http_gate_open = {.judge = admit};

int64_t http_received_us(const struct http_request *r)
{
    return r->received_us;
}
