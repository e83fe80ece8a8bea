/* The HTTP client: one call at a time over libcurl, with every guard on. One client a thread; it keeps connections. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/rc.h"
#include "base/str.h"

enum http_reach {
    HTTP_REACH_PUBLIC,   /* no loopback, private, link-local, multicast … address, whatever the name says */
    HTTP_REACH_LOOPBACK, /* nothing else */
    HTTP_REACH_ANY,
};

struct http_client_options {
    enum http_reach reach;
    bool plain_ok;                /* http: too, else https: alone */
    const char *ca_file;          /* NULL: the system's */
    bool any_name;                /* of the certificate: ca_file is the very one that is expected */
    int64_t connect_us, total_us; /* 0: 3 s and 10 s */
    size_t answer_max;            /* 0: 64 KiB */
};

struct http_call {
    const char *method; /* NULL: GET, or POST when there is a body */
    const char *url;
    const char *const *headers; /* "Name: value", NULL-ended; NULL: none. No CR, LF or NUL: E_INVALID */
    const char *content_type;
    struct str body;
};

struct http_reply {
    int status;
    struct buf body;
    int64_t retry_after_us; /* -1: none was given */
};

struct http_client;
rc_t http_client_new(struct http_client **ret, const struct http_client_options *o, struct err *e) MUST_CHECK;
void http_client_free(struct http_client *c); /* NULL is fine */
/* OK: an answer came, whatever its status. E_INVALID: the call itself can never work (URL, header, forbidden address).
 * E_AGAIN: nothing reached the server. E_UNKNOWN: it may have. E_LIMIT: the answer was too long.
 * Redirects are not followed. The caller frees ret->body. */
rc_t http_client_call(struct http_client *c, const struct http_call *call, struct http_reply *ret, struct err *e) MUST_CHECK;
