/* The Redis backend: where it is, when it may be tried, and its two kinds of connection. Not for other folders. */
#pragma once
#include <hiredis/hiredis.h>

#include "cache/driver.h"

#define REDIS_CALL_US INT64_C(200000) /* of one call, connecting included */
#define REDIS_PREFIX "mm:"

struct redis_address {
    char *host, *user, *password; /* user, password: NULL when not given */
    int port, db;
};
/* redis://[[user]:password@]host[:port][/db], percent-encoded; E_INVALID with words that quote nothing of it. */
rc_t redis_address_parse(const char *url, struct redis_address *ret, struct err *e) MUST_CHECK;
void redis_address_done(struct redis_address *a);

/* Keeps a backend out after a failure, longer each time. */
struct redis_breaker {
    int64_t next_us, backoff_us; /* backoff 0: all is well */
};
bool breaker_allows(const struct redis_breaker *b);
void breaker_failed(struct redis_breaker *b);

/* A connection that listens, driven by polls. */
struct redis_listener;
struct redis_listener *redis_listener_new(const struct redis_address *address, const char *channel,
                                          void (*fn)(void *arg, struct str message), void *arg);
void redis_listener_free(struct redis_listener *l);
bool redis_listener_poll(struct redis_listener *l); /* true: it has just come to listen */
bool redis_listener_up(const struct redis_listener *l);
