/* A TCP proxy on loopback that breaks connections in chosen ways. One thread of its own; modes may change at any time. */
#pragma once

enum proxy_mode {
    PROXY_PASS,      /* bytes go through */
    PROXY_STALL,     /* connections are taken, nothing moves */
    PROXY_CUT,       /* connections are closed, new ones at once */
    PROXY_EAT_REPLY, /* what holds `trigger` goes to the server; at its answer the client's connection is closed instead */
    PROXY_EAT_AND_CUT, /* PROXY_EAT_REPLY once, PROXY_CUT from then on */
    PROXY_EAT_REQUEST, /* what holds `trigger` is not sent: both sides are closed */
};
struct proxy;
struct proxy *proxy_start(int port); /* to 127.0.0.1:port */
int proxy_port(const struct proxy *p);
void proxy_set(struct proxy *p, enum proxy_mode mode, const char *trigger); /* trigger: lives as long as the proxy */
void proxy_stop(struct proxy *p);
