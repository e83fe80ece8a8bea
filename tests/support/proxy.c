/* The proxy: a poll loop over pairs of sockets. */
#include "proxy.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"

enum { MAX_PAIRS = 16 };

struct pair {
    int client, server;
    int eating; /* the trigger has gone to the server */
};

struct proxy {
    pthread_t thread;
    int listener, port, target;
    atomic_int mode, stop;
    _Atomic(const char *) trigger;
    struct pair pairs[MAX_PAIRS];
    size_t n;
};

static int dial(int port)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons((unsigned short)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void pair_close(struct proxy *p, size_t i)
{
    close(p->pairs[i].client);
    close(p->pairs[i].server);
    p->pairs[i] = p->pairs[--p->n];
}

static void take(struct proxy *p)
{
    int client = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC);
    if (client < 0)
        return;
    int server = p->mode == PROXY_CUT || p->n == MAX_PAIRS ? -1 : dial(p->target);
    if (server < 0)
        close(client);
    else
        p->pairs[p->n++] = (struct pair){client, server, 0};
}

static int send_all(int fd, const char *data, ssize_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, data, (size_t)n, MSG_NOSIGNAL);
        if (sent <= 0)
            return -1;
        data += sent;
        n -= sent;
    }
    return 0;
}

/* -1: the pair is done. */
static int move(struct proxy *p, struct pair *pair, int to_server)
{
    char data[65536];
    ssize_t n = recv(to_server ? pair->client : pair->server, data, sizeof data, 0);
    int mode = p->mode;
    bool eaten = !to_server && pair->eating;
    if (eaten && mode == PROXY_EAT_AND_CUT)
        p->mode = PROXY_CUT;
    if (n <= 0 || eaten)
        return -1;
    const char *trigger = p->trigger;
    if (to_server && (mode == PROXY_EAT_REPLY || mode == PROXY_EAT_AND_CUT || mode == PROXY_EAT_REQUEST) && trigger &&
        memmem(data, (size_t)n, trigger, strlen(trigger))) {
        if (mode == PROXY_EAT_REQUEST)
            return -1;
        pair->eating = 1;
    }
    return send_all(to_server ? pair->server : pair->client, data, n);
}

static void turn(struct proxy *p)
{
    struct pollfd fds[1 + 2 * MAX_PAIRS] = {{.fd = p->listener, .events = POLLIN}};
    size_t n = p->n;
    short events = p->mode == PROXY_STALL ? 0 : POLLIN;
    for (size_t i = 0; i < n; i++) {
        fds[1 + 2 * i] = (struct pollfd){.fd = p->pairs[i].client, .events = events};
        fds[2 + 2 * i] = (struct pollfd){.fd = p->pairs[i].server, .events = events};
    }
    (void)poll(fds, 1 + 2 * n, 5);
    for (size_t i = n; i-- > 0;) {
        int client = fds[1 + 2 * i].revents, server = fds[2 + 2 * i].revents;
        int broken = p->mode == PROXY_CUT || (p->mode == PROXY_STALL && (client & (POLLHUP | POLLERR)));
        if (broken || (events && client && move(p, &p->pairs[i], 1) < 0) ||
            (events && server && move(p, &p->pairs[i], 0) < 0))
            pair_close(p, i);
    }
    if (fds[0].revents)
        take(p);
}

static void *serve(void *arg)
{
    struct proxy *p = arg;
    while (!p->stop)
        turn(p);
    while (p->n)
        pair_close(p, 0);
    return NULL;
}

struct proxy *proxy_start(int port)
{
    struct proxy *p = mem_alloc(sizeof *p);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    p->target = port;
    p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (p->listener < 0 || bind(p->listener, (struct sockaddr *)&a, sizeof a) || listen(p->listener, 16) ||
        getsockname(p->listener, (struct sockaddr *)&a, &size) || pthread_create(&p->thread, NULL, serve, p))
        abort();
    p->port = ntohs(a.sin_port);
    return p;
}

int proxy_port(const struct proxy *p)
{
    return p->port;
}

void proxy_set(struct proxy *p, enum proxy_mode mode, const char *trigger)
{
    p->trigger = trigger;
    p->mode = (int)mode;
}

void proxy_stop(struct proxy *p)
{
    p->stop = 1;
    pthread_join(p->thread, NULL);
    close(p->listener);
    mem_free(p);
}
