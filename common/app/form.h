/* The HTTP form of a function whose events come by the bus: what is posted is checked and produced onto the function's
 * own topic of the project, and answered when the bus has acknowledged it. One path: what HTTP brings is handled from the
 * topic like everything else.
 *
 *   body ─▶ split ─▶ check ─▶ produce ─┬▶ all acknowledged ─▶ 202
 *                      └ refused ─▶ its place, field and reason in the answer
 *
 *   one event  202 {"status":"accepted"[,"endpoint_id","endpoint_name"]}, or the problem+json with field and position
 *   several    (an array, or one a line) 202 or, when some were refused, 207: {"status","accepted","rejected","errors":
 *              [{"index","line","position","code","field","detail"}]}; those that are not named are accepted.
 *              400 when all were refused: a problem about the first, with the same members
 *   503        with Retry-After: bus or database is not there; nothing is said to be accepted that may not be
 *
 * The list of projects may be a second old: a request for one that is not in it waits for the next list. */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include "base/buf.h"
#include "bus/bus.h"
#include "event/names.h"
#include "event/reject.h"
#include "http/server.h"
#include "loop/loop.h"

/* What a check says of an event. Strings borrow from the event, the request's arena, or memory that lasts until the next check
 * on the same thread. */
struct form_event {
    struct str project;                    /* empty: it does not say */
    const char *project_field;             /* where it says it; NULL: "project" */
    struct str key;                        /* the endpoint's uid */
    struct str record;                     /* goes onto the topic instead of the bytes as they came; empty: those do */
    struct str trace;                      /* traceparent; empty: the request's */
    struct str endpoint_id, endpoint_name; /* told in the answer to one event; empty: not */
};

struct form_call {
    void *self; /* the form's */
    struct http_request *request;
    struct buf *room; /* for a record; empty at each check */
};

struct form_ops {
    /* E_INVALID: *why says it. On the request's thread or, for one that has waited, in the loop. */
    rc_t (*check)(const struct form_call *c, struct str raw, struct form_event *ret, struct reject *why);
    /* The topic of a project; name empty: neither path nor event has one. E_NOTFOUND: there is none, at least not yet, and
     * E_INVALID: it takes no events; *why has the words for both. E_AGAIN: projects are not known yet. */
    rc_t (*topic)(void *self, struct str name, char ret[NAME_TOPIC_MAX + 1], struct reject *why);
    /* The body, where it is not all of the event; *ret_head is where what was posted begins in it. NULL: it is. */
    struct str (*body)(struct http_request *r, size_t *ret_head);
};

#define FORM_PARKED_MAX 256
struct form {
    const char *function; /* label of the counter: "writer" */
    const struct form_ops *ops;
    void *self;
    struct bus_producer *producer;
    struct loop *loop;
    /* the form's own */
    size_t label;
    pthread_mutex_t lock;
    struct form_post *parked[FORM_PARKED_MAX];
    size_t n_parked;
    bool draining;
};
void form_open(struct form *f);   /* the fields above are filled in; no request yet */
void form_loaded(struct form *f); /* any thread: the list of projects was read anew, or could not be */
void form_drain(struct form *f);  /* in the loop: what waits is answered now, nothing waits any more */

/* POST / and POST /{project}; arg: a struct form. What others send is ingest; what apps find takes the scope write. */
#define FORM_ROUTES 2
extern const struct http_route form_routes_ingest[FORM_ROUTES], form_routes_write[FORM_ROUTES];

/* What functions on function_topics have as topic: self is that. */
rc_t form_topic_of_function(void *function_topics, struct str name, char ret[NAME_TOPIC_MAX + 1], struct reject *why);
