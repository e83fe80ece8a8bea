/* A closed loop of HTTP requests over epoll. */
#include "load.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/mem.h"
#include "scene.h"

#define STALL_MS 30000
#define ANSWER_MAX 4096

struct client {
    int fd;
    const struct buf *request;
    struct buf own; /* the request, if it is made for this connection */
    size_t sent, got;
    int64_t began_us;
    char answer[ANSWER_MAX];
};
struct run {
    const struct load *load;
    int epoll;
    size_t started, ended;
    double *latency_ms;
};

void load_request(struct buf *out, const char *path, const char *type, struct str body)
{
    buf_addf(out, "POST %s HTTP/1.1\r\nHost: bench\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n", path, type, body.n);
    buf_add(out, body.p, body.n);
}

static void watch(const struct run *r, struct client *c, int operation, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = c};
    if (epoll_ctl(r->epoll, operation, c->fd, &ev))
        scene_die("epoll", strerror(errno));
}

/* Sends what the socket takes; the rest when it takes more. */
static void send_more(const struct run *r, struct client *c, bool waiting)
{
    while (c->sent < c->request->len) {
        ssize_t n = send(c->fd, c->request->data + c->sent, c->request->len - c->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            if (!waiting)
                watch(r, c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
            return;
        }
        if (n < 0)
            scene_die("send", strerror(errno));
        c->sent += (size_t)n;
    }
    if (waiting)
        watch(r, c, EPOLL_CTL_MOD, EPOLLIN);
}

static void begin(struct run *r, struct client *c)
{
    if (r->started == r->load->total)
        return;
    const struct load *l = r->load;
    size_t nth = r->started++;
    c->request = l->make ? &c->own : &l->requests[nth % l->n_requests];
    if (l->make)
        l->make(l->arg, nth, &c->own);
    c->sent = c->got = 0;
    c->began_us = clock_mono_us();
    send_more(r, c, false);
}

static void open_client(struct run *r, struct client *c)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)r->load->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to) ||
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on))
        scene_die("connect", strerror(errno));
    watch(r, c, EPOLL_CTL_ADD, EPOLLIN);
}

/* Whether the answer is whole; checks its status. */
static bool is_whole(const struct run *r, struct client *c)
{
    c->answer[c->got] = '\0';
    const char *end = strstr(c->answer, "\r\n\r\n"), *length = strcasestr(c->answer, "\r\nContent-Length:");
    if (!end || !length)
        return false;
    size_t whole = (size_t)(end - c->answer) + 4 + (size_t)strtoul(length + 17, NULL, 10);
    if (c->got < whole)
        return false;
    if (strncmp(c->answer, "HTTP/1.1 ", 9) != 0 || strtol(c->answer + 9, NULL, 10) != r->load->status)
        scene_die("an answer", c->answer);
    return true;
}

static void receive(struct run *r, struct client *c)
{
    ssize_t n = recv(c->fd, c->answer + c->got, ANSWER_MAX - 1 - c->got, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0)
        scene_die("recv", n ? strerror(errno) : "the server closed the connection, or its answer is too long");
    c->got += (size_t)n;
    if (!is_whole(r, c))
        return;
    r->latency_ms[r->ended++] = (double)(clock_mono_us() - c->began_us) * 1e-3;
    begin(r, c);
}

static void turn(struct run *r)
{
    struct epoll_event events[128];
    int n = epoll_wait(r->epoll, events, 128, STALL_MS);
    if (n == 0)
        scene_die("the server", "no answer for 30 s");
    for (int i = 0; i < n; i++) {
        struct client *c = events[i].data.ptr;
        if (events[i].events & EPOLLOUT)
            send_more(r, c, true);
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
            receive(r, c);
    }
}

void load_run(const struct load *l, struct load_result *ret)
{
    struct run r = {.load = l, .epoll = epoll_create1(EPOLL_CLOEXEC), .latency_ms = mem_array(l->total, sizeof(double))};
    struct client *clients = mem_array((size_t)l->connections, sizeof *clients);
    for (int i = 0; i < l->connections; i++)
        open_client(&r, &clients[i]);
    int64_t began = clock_mono_us();
    for (int i = 0; i < l->connections; i++)
        begin(&r, &clients[i]);
    while (r.ended < l->total)
        turn(&r);
    ret->wall_s = (double)(clock_mono_us() - began) * 1e-6;
    ret->p50_ms = scene_median(r.latency_ms, l->total);
    ret->p99_ms = r.latency_ms[l->total * 99 / 100];
    for (int i = 0; i < l->connections; i++) {
        (void)close(clients[i].fd);
        buf_done(&clients[i].own);
    }
    (void)close(r.epoll);
    mem_free(clients);
    mem_free(r.latency_ms);
}
