/* One row a parameter: what a request may say, in its path, its query or its body. The same rows check a request before its handler
 * runs (param.c, body.c) and are what /openapi.json says (openapi.c), so that the two cannot part. The rows are in params.c and
 * bodies.c; a route names its own in routes.c. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/rc.h"
#include "base/str.h"

enum param_kind {
    PARAM_TEXT,   /* max: bytes, PARAM_TEXT_MAX unless set; no NUL in it */
    PARAM_FLAG,   /* MLRun's clients send True and False */
    PARAM_INT,    /* min to max; `choices` may be said too */
    PARAM_NUMBER, /* min to max, when one of them is not 0 */
    PARAM_TIME,   /* ISO-8601 with an offset */
    PARAM_UTC,    /* the same; without an offset it is UTC */
    PARAM_CHOICE, /* one of `choices` */
    PARAM_OBJECT, /* bodies only, as all that follow; the rows of its members are behind it */
    PARAM_ANY,
};

#define PARAM_TEXT_MAX 1024

struct param {
    const char *name; /* of a body: a path, "metadata.name", "notifications[].notification" */
    enum param_kind kind;
    const char *help;
    int64_t min, max;
    const char *choices; /* "a|b|c" */
    const char *alias;   /* an older name of the same; of a query */
    bool many;           /* a repeated key; in a body an array */
    bool required;       /* in a body: where what it is in is there */
    bool modern;         /* clients before 1.8 mean something else by it: theirs is not looked at */
    bool closed;         /* an object that has no other members than rows */
};

/* A body. rows end with one that has no name. */
struct param_body {
    const struct param *rows;
    const char *help;
    bool nan;      /* Python's NaN tokens are taken */
    bool closed;   /* nothing but the rows */
    bool form;     /* application/x-www-form-urlencoded */
    bool optional; /* none is fine */
    bool apart;    /* the handler has a reader of its own that says the same; the rows are for the document */
};

extern const struct param param_none[]; /* the empty list */
/* The row of a path's parameter; asserted to be there. */
const struct param *param_of_path(struct str name);

struct call;
struct json;
/* What the path and the query say, by the route's rows: E_INVALID names the parameter. What no row names is not looked at: MLRun's
 * clients send more than is used. */
rc_t params_check(struct call *c, struct err *e) MUST_CHECK;
rc_t params_check_query(struct call *c, struct err *e) MUST_CHECK; /* the query alone */
/* The position of word in "a|b|c"; -1: it is none of them. */
int param_choice(const char *choices, struct str word);
struct buf;
void param_list_choices(const char *choices, struct buf *out); /* "a, b or c" */
/* A body, by its rows. */
rc_t body_check(const struct param_body *body, const struct json *j, struct err *e) MUST_CHECK;
/* The row's own key when it is a member of prefix ("" or "spec.", n long); NULL: it is none, or a member of a member. */
const char *body_key(const struct param *row, const char *prefix, size_t n);
