/* The HTTP/1.1 server: a table of routes over libmicrohttpd, guarded against smuggling and slow clients.
 *
 * To add a route: one row and its handler. A handler runs on the connection's thread (or with HTTP_WAITS on a worker's) and either answers before it returns, or
 * calls http_suspend and hands the request to whoever will answer it, on any thread, exactly once.
 *
 *     static const struct http_route routes[] = {
 *         {"GET", "/api/v1/projects/{project}", "read", 0, get_project, "One project"},
 *     };
 *
 * The scope says who may: "open" is for everybody, what needs another is asked of the table's gate before the body is read. A
 * row without a scope, and one that nobody guards, is a bug that ends the program at its start.
 *
 *     static void get_project(struct http_request *r, void *arg)
 *     {
 *         struct str project = http_param(r, "project");
 *         …
 *         http_answer(r, 200, HTTP_JSON, buf_str(&body));
 *     } */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/rc.h"
#include "base/str.h"
#include "config/config.h"

#define HTTP_WORKERS_MAX 64
#define HTTP_JSON "application/json"
#define HTTP_PROBLEM "application/problem+json"
#define HTTP_TEXT "text/plain; charset=utf-8"
#define HTTP_HTML "text/html; charset=utf-8"

struct http_request;
struct http_server;

enum http_flags {
    HTTP_DETAIL = 1, /* errors as MLRun's clients read them, {"detail": …}, instead of application/problem+json */
    HTTP_ROWS = 2,   /* the body is rows, or statistics of them: a 413 says what to do */
    HTTP_WAITS = 4,  /* the handler may wait for a server: it runs on a worker thread, and answers before it returns */
    /* No {project} in the pattern, and still for callers of some projects: the handler asks http_may of each. Without it such a
     * route is for callers of all projects. */
    HTTP_SOME_PROJECTS = 8,
    HTTP_PAGE = 16, /* for people: who does not say who they are is led to /ui/login */
};

struct http_route {
    const char *method;  /* GET answers HEAD too; OPTIONS and 405 are made from the table */
    const char *pattern; /* literal segments and {name}: one non-empty segment, percent-decoded */
    const char *scope;   /* of http_scopes[] */
    unsigned flags;
    void (*handler)(struct http_request *r, void *arg);
    const char *summary; /* one line, for the reference */
};

enum http_scope { HTTP_OPEN, HTTP_INGEST, HTTP_READ, HTTP_WRITE, HTTP_ADMIN, HTTP_SCOPES };
extern const char *const http_scopes[HTTP_SCOPES]; /* "open", "ingest", … */

/* What a gate found of who asks; all in the request's arena. */
struct http_caller {
    const char *name; /* NULL: nobody in particular */
    unsigned scopes;  /* what it may: a bit for each of http_scopes[], those that another implies too */
    bool all_projects;
    const struct str *projects;
    size_t n_projects;
};

enum http_verdict {
    HTTP_ADMITTED,
    HTTP_REFUSED, /* the gate has answered */
    HTTP_LATER,   /* not known yet: park is called once the body is here, and the gate asked again after http_resume */
};
/* Who may, for routes whose scope is not open. Both on the connection's thread: they do not wait. */
struct http_gate {
    enum http_verdict (*judge)(struct http_request *r, bool again, void *arg); /* again: HTTP_LATER is no answer any more */
    void (*park)(struct http_request *r, void *arg); /* calls http_suspend, and later http_resume on any thread */
    void *arg;
};
extern const struct http_gate http_gate_open; /* admits everybody */

struct http_routes {
    const struct http_route *rows;
    size_t count;
    void *arg;                    /* the handlers' */
    const struct http_gate *gate; /* NULL: every row is open */
};
#define HTTP_ROUTES(row_array, handler_arg)                                                                            \
    ((struct http_routes){.rows = (row_array), .count = sizeof(row_array) / sizeof *(row_array), .arg = (handler_arg)})

struct http_options {
    const char *addr, *port_file, *tls_cert, *tls_key;
    int64_t port, threads, workers, connections, connections_per_ip, body_max, deadline_us, idle_us, send_us;
    bool keepalive;
};
extern const struct config_key http_keys[];
extern const size_t http_keys_n;

/* Serves from here on. The tables are looked through in order; rows and options must outlive the server. */
rc_t http_server_start(struct http_server **ret, const struct http_options *o, const struct http_routes *tables,
                       size_t table_count, struct err *e) MUST_CHECK;
int http_server_port(const struct http_server *s);
const char *http_scheme(const struct http_options *o); /* "http" or "https" */
void http_server_drain(struct http_server *s); /* from now on a new request is answered 503, unless its scope is open */
void http_server_quiesce(struct http_server *s);      /* takes no new connection; open ones close after their request */
size_t http_server_busy(const struct http_server *s); /* requests that are not fully answered */
/* Waits until every request is answered, at most that long, then closes. E_AGAIN: suspended requests are left, nothing
 * was freed, the process should exit. */
rc_t http_server_stop(struct http_server *s, int64_t wait_us) MUST_CHECK; /* NULL is fine */

/* ---- what was asked; valid until the request is answered ---- */
struct str http_param(const struct http_request *r, const char *name); /* of the pattern; asserted to be there */
/* The nth value of a repeated key, decoded (+ is a blank). False: no such. */
bool http_query(const struct http_request *r, const char *name, size_t nth, struct str *ret);
/* The nth pair of the query in its order: for unknown keys. False: no more. */
bool http_query_pair(const struct http_request *r, size_t nth, struct str *ret_name, struct str *ret_value);
struct str http_header(const struct http_request *r, const char *name); /* empty when absent; on the handler's thread only */
struct str http_body(const struct http_request *r);                     /* whole, at most body_max */
struct arena *http_arena(struct http_request *r); /* freed after the answer was sent; one thread at a time */
const struct http_route *http_route(const struct http_request *r);
enum http_scope http_scope(const struct http_request *r);         /* of its route */
bool http_project(const struct http_request *r, struct str *ret); /* {project} of the pattern; false: it has none */
bool http_is_read(const struct http_request *r);                  /* GET or HEAD */
const char *http_target(struct http_request *r, size_t max); /* the path as it was sent, cut to max; in the arena */
bool http_is_tls(const struct http_request *r);
const char *http_address(struct http_request *r);                              /* the client's, as text; in the arena */
void http_called_by(struct http_request *r, const struct http_caller *caller); /* the gate says who asks */
const struct http_caller *http_caller(const struct http_request *r);           /* NULL: no gate was asked */
bool http_may(const struct http_request *r, struct str project); /* what the route's scope is for, in that project */
int64_t http_received_us(const struct http_request *r);          /* wall clock when the request's head was complete */

/* ---- the answer ---- */
void http_suspend(struct http_request *r); /* only in the handler, and before the request is handed over */
void http_resume(struct http_request *r);  /* of a gate's park: the gate is asked again */
/* Before the answer; copied. A value that is empty or has a control character is left out. */
void http_add_header(struct http_request *r, const char *name, const char *value);
/* type is kept until the answer is sent: a literal. */
void http_answer(struct http_request *r, int status, const char *type, struct str body);       /* copies body */
void http_answer_take(struct http_request *r, int status, const char *type, struct buf *body); /* takes body's memory */
void http_answer_empty(struct http_request *r, int status);

struct http_problem {
    int status;
    const char *code;   /* stable and machine-readable: "bad_json"; NULL: from the status */
    const char *detail; /* words for a person */
    const char *field;  /* path of the field in the body, or the name of the parameter; NULL: none */
    bool has_position;
    int64_t position;  /* byte offset in the body */
    int retry_after_s; /* 0: no Retry-After */
};
void http_problem(struct http_request *r, const struct http_problem *p);
void http_fail(struct http_request *r, int status, const char *code, const char *fmt, ...) PRINTF(4, 5); /* the short form */
