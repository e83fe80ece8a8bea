/* Calls foreign code so that its crash or hang ends the call, not the process: a signal on this thread, or the time limit,
 * jumps back here. What the code held by then (memory, locks) is lost, so the caller records the failure and ends the
 * process soon after. Crashes of other threads stay what they are. Works on any thread, one call a thread at a time. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/rc.h"

/* limit_us 0: none. Answers what fn answers; *ret_broken: fn did not come back, and e says why (E_INVALID). */
rc_t guard_call(rc_t (*fn)(void *arg, struct err *e), void *arg, int64_t limit_us, bool *ret_broken, struct err *e) MUST_CHECK;
