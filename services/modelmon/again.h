/* How `modelmon run` begins anew after an app broke, and how often each app made it do so. That is in the environment, which the
 * program gives to itself: what an operator starts knows nothing of it, and so takes up all apps again. */
#pragma once
#include <stdbool.h>

#define AGAIN_MOST 3 /* within an hour */
#define AGAIN_ASIDE_WORDS                                                                                              \
    "set aside: it crashed or hung 3 times within an hour; stop and start `modelmon run` to take it up again, then "   \
    "`modelmon dead-letters retry` its windows"

bool again_is_aside(const char *part);
/* The same program under the same process id, on the same port, after part broke. Comes back only if it cannot be. */
void again_exec(int argc, char *const *argv, int port, const char *part);
