/* One request of the HTTP form on its way: what form.c and form_answer.c share. It lives in the request's arena. */
#pragma once
#include <stdatomic.h>
#include "app/form.h"

#define FORM_REPORT_MAX 100u /* refused events described in one answer */

struct form_place { /* of an event in the body */
    size_t index, line, offset;
};

struct form_refused {
    struct form_place at;
    struct reject why;
};

/* Events that were accepted and are not handed to the bus yet: all for form_post.topic. */
#define FORM_WAITING_MAX 32u
struct form_waiting {
    size_t n;
    struct bus_lent list[FORM_WAITING_MAX];
    struct form_place places[FORM_WAITING_MAX];
    char keys[FORM_WAITING_MAX][NAME_UID_MAX];
};

struct form_post {
    struct http_request *request;
    struct form *form;
    struct form_waiting *waiting; /* of the handler's thread; NULL: none has waited yet */
    struct str project;           /* of the path; empty: each event says */
    struct str trace;             /* the request's traceparent */
    struct str body;              /* as ops->body made it … */
    size_t head;                  /* … where what came begins so late */
    bool lines, single;           /* single: one event alone, the short answer */
    bool was_parked, park;        /* an unknown project is believed at the second look */
    size_t accepted, n_refused, sent;
    struct form_refused *refused;                                /* FORM_REPORT_MAX; NULL until one is */
    struct str endpoint_id, endpoint_name;                       /* of the single event; copies */
    char found[NAME_PROJECT_MAX + 1], topic[NAME_TOPIC_MAX + 1]; /* the last event's project: most often the next one's */
    atomic_size_t open;         /* not acknowledged yet; more until the handler has sent all */
    struct bus_receipt receipt; /* of every event */
    atomic_int failed;          /* an rc_t */
    char words[160];
};

void form_answer(struct form_post *p); /* exactly once, by whoever brings open to 0; p is gone after it */
size_t form_metrics(const char *function);
