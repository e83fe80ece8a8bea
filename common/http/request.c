/* What a handler may know of its request. */
#include "http/request.h"

#include <assert.h>

void http_suspend(struct http_request *r)
{
    assert(!r->suspended);
    r->suspended = true;
    atomic_fetch_add(&r->connection->server->suspended, 1);
    MHD_suspend_connection(r->connection->mhd);
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

int64_t http_received_us(const struct http_request *r)
{
    return r->received_us;
}
