/* How often each app made `modelmon run` begin anew (app/guard.h). That is in the environment, which the program gives to itself: what an
 * operator starts knows nothing of it, and so takes up all apps again. */
#pragma once
#include <stdbool.h>

#define AGAIN_MOST 3 /* within an hour */
#define AGAIN_ASIDE_WORDS                                                                                              \
    "set aside: it crashed or hung 3 times within an hour; stop and start `modelmon run` to take it up again, then "   \
    "`modelmon dead-letters retry` its windows"

bool again_is_aside(const char *part);
void again_note(void); /* at the start, before any thread: what this process was begun for */
