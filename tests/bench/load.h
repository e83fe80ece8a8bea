/* An HTTP client that loads a server: some keep-alive connections, each with one request under way, until all are answered.
 * One thread; epoll. A status other than the wanted one, or a closed connection, ends the program. */
#pragma once
#include <stddef.h>
#include "base/buf.h"

struct load {
    int port, connections, status; /* the answers' */
    const struct buf *requests;    /* whole ones, sent in turn */
    size_t n_requests, total;
    /* NULL, or makes the request of a number, from 0, in a buffer that holds the one its connection sent last. */
    void (*make)(void *arg, size_t nth, struct buf *out);
    void *arg;
};
struct load_result {
    double wall_s, p50_ms, p99_ms;
};
void load_run(const struct load *l, struct load_result *ret);
void load_request(struct buf *out, const char *path, const char *type, struct str body);
