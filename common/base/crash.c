/* Owns the counting of places passed, in builds for tests. */
#include "base/crash.h"

#ifdef MM_CRASH_POINTS
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* State of the process, not of anything in it: the environment is read once. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int chosen = CRASH_POINTS_N;
static long wanted, allocation;
static atomic_long passed, allocations;

static void read_environment(void)
{
    static const char *const names[] = {
#define CRASH_ROW(name) #name,
        CRASH_POINTS(CRASH_ROW)
#undef CRASH_ROW
    };
    const char *at = getenv("MM_CRASH_AT"), *fail = getenv("MM_ALLOC_FAIL_AT");
    const char *colon = at ? strchr(at, ':') : NULL;
    for (int i = 0; colon && i < CRASH_POINTS_N; i++)
        if (strlen(names[i]) == (size_t)(colon - at) && strncmp(names[i], at, (size_t)(colon - at)) == 0)
            chosen = i;
    if (at && *at && chosen == CRASH_POINTS_N)
        abort(); /* a test that names no place would pass for nothing */
    wanted = colon ? strtol(colon + 1, NULL, 10) : 0;
    allocation = fail ? strtol(fail, NULL, 10) : 0;
}

void crash_point(enum crash_point at)
{
    (void)pthread_once(&once, read_environment);
    if ((int)at == chosen && atomic_fetch_add(&passed, 1) + 1 == wanted)
        _exit(137);
}

bool crash_allocation(void)
{
    (void)pthread_once(&once, read_environment);
    return allocation && atomic_fetch_add(&allocations, 1) + 1 == allocation;
}
#endif
