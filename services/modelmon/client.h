/* Asking a running modelmon over HTTP: one call, its answer as JSON, its refusals as words. */
#pragma once
#include "base/buf.h"
#include "json/doc.h"
#include "tool.h"

#define CLIENT_URL_DEFAULT "http://127.0.0.1:8080"
struct client {
    const char *url;
    char *token;    /* NULL or empty: none */
    const char *ca; /* NULL or empty: the system's */
};
/* The option rows of every verb that asks one. */
#define CLIENT_KEYS(options, field)                                                                                    \
    {.env = "API_URL",                                                                                                 \
     .def = CLIENT_URL_DEFAULT,                                                                                        \
     .type = CONFIG_STR,                                                                                               \
     .flags = CONFIG_REQUIRED,                                                                                         \
     .offset = offsetof(options, field.url),                                                                           \
     .help = "Where modelmon's api answers."},                                                                         \
        {.env = "API_CA",                                                                                              \
         .def = "",                                                                                                    \
         .type = CONFIG_STR,                                                                                           \
         .offset = offsetof(options, field.ca),                                                                        \
         .help = "PEM file of who vouches for an api with https; the system's unless set."},                           \
        CLIENT_TOKEN_KEY(options, field)
#define CLIENT_TOKEN_KEY(options, field)                                                                               \
    {                                                                                                                  \
        .env = "API_TOKEN", .def = "", .type = CONFIG_STR, .flags = CONFIG_SECRET,                                     \
        .offset = offsetof(options, field.token), .help = "Access token, for an api that wants one."                   \
    }

/* path begins with a slash; body n 0: GET unless method says otherwise. *ret is NULL for an empty answer. E_NOTFOUND: 404.
 * E_LIMIT: 429. E_INVALID: another refusal, in the server's words. E_AGAIN: nobody answers there, with what to do. accept: one more
 * status whose answer is taken (503 of /readyz); 0: none. */
rc_t client_call(const struct client *api, const char *method, const char *path, struct str body, int accept,
                 struct json **ret, struct err *e) MUST_CHECK;
struct str client_text(const struct json *j, const char *key); /* "" when it is no text, or not there */
void client_add_encoded(struct buf *to, struct str s);         /* for a path segment or a query value */

struct client_endpoint {
    struct json *list; /* owns it */
    const struct json *record;
    struct str project, uid, name;
};
/* "PROJECT/UID" or "PROJECT/NAME": the newest of that name. E_INVALID: several functions have one. */
rc_t client_endpoint(const struct client *api, const char *operand, struct client_endpoint *ret, struct err *e) MUST_CHECK;
void client_endpoint_done(struct client_endpoint *c);
int client_fail(const char *verb, const struct err *e); /* on stderr; TOOL_FAILED */
