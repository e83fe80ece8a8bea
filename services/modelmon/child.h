/* A `modelmon run` of our own, for as long as a verb needs one: over a folder, on a free port, ended with its parent. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/arena.h"
#include "base/rc.h"

struct child {
    pid_t pid;
    int out;          /* what it says on stdout */
    char *url;        /* where it answers; in the arena */
    const char *log;  /* file of its log; in the arena */
    bool interrupted; /* a signal asked us to end */
};

/* Blocks SIGINT, SIGTERM, SIGHUP and SIGCHLD, which child_rest takes. settings: "NAME=value", NULL-ended, put over the
 * environment; "NAME" takes one away. E_INVALID: it ended at once, with its own words. */
rc_t child_start(struct child *c, const char *folder, const char *const *settings, struct arena *a, struct err *e) MUST_CHECK;
bool child_rest(struct child *c, int64_t us);           /* false: asked to end, or the child has ended */
void child_stop(struct child *c);                       /* waits for its orderly end; {0} is fine */
void child_words(const struct child *c, struct err *e); /* why it ended: the last fatal line of its log, if there is one */
