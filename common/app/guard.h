/* Calls foreign code so that its crash (a signal on this thread) or hang (the time limit) ends the call. What it held by then, memory
 * and locks, is lost, so nothing in this process can be trusted to go on: the program begins anew at once, under its process
 * id, with the call's name in its environment. guard_left tells it of that call, which is not made again. As after kill -9
 * nothing is drained, and what was not committed comes again. Crashes of other threads stay what they are. Works on any
 * thread, one call a thread at a time. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/rc.h"

#define GUARD_ENV "MODELMON_BROKEN_CALL" /* "SIGNAL NAME" in the environment of a process begun anew */
#define GUARD_NAME_MAX 511

/* Answers what fn answers; comes back only if fn does. limit_us 0: it may take as long as it likes. name: the same in the next
 * process; at most GUARD_NAME_MAX bytes, the rest is cut. */
rc_t guard_call(rc_t (*fn)(void *arg, struct err *e), void *arg, int64_t limit_us, const char *name, struct err *e) MUST_CHECK;
/* This process was begun because the call of that name broke: *words says how (limit_us is for them). */
bool guard_left(const char *name, int64_t limit_us, struct err *words) MUST_CHECK;
/* The name of the call that broke; NULL: it was begun otherwise. What is handled together is best one call then, so that each
 * is recorded by itself. */
const char *guard_broke(void);
/* One more argument for the next life (a port that was found); kept by reference. NULL: none. Any thread. */
void guard_next_argument(char *argument);
