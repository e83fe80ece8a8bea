/* Calls foreign code so that its crash or hang ends the call, not the process: a signal on this thread, or the time limit,
 * jumps back here. What the code held by then (memory, locks) is lost, so the caller records the failure and ends the
 * process soon after. Should it wait for such a lock itself (malloc's), the process begins anew by itself after leave_us,
 * and guard_left tells it of the call. Crashes of other threads stay what they are. Works on any thread, one call a
 * thread at a time. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/rc.h"

#define GUARD_ENV "MODELMON_BROKEN_CALL" /* the name of the call, in the environment of a process begun anew */
#define GUARD_NAME_MAX 511

struct guard_limits {
    int64_t call_us;  /* 0: the call may take as long as it likes */
    int64_t leave_us; /* from the break to the process's end by the caller's doing, > 0 */
    const char *name; /* of this call, the same in the next process; at most GUARD_NAME_MAX bytes, the rest is cut */
};

/* Answers what fn answers; *ret_broken: fn did not come back, and e says why (E_INVALID). A later call on this
 * thread puts leave_us off. */
rc_t guard_call(rc_t (*fn)(void *arg, struct err *e), void *arg, const struct guard_limits *limits, bool *ret_broken,
                struct err *e) MUST_CHECK;

/* This process was begun anew because the call of that name broke: it is not made again. */
bool guard_left(const char *name) MUST_CHECK;
/* It was begun anew because of any: what is handled together is best one call then, so that each is recorded by itself. */
bool guard_is_anew(void);
