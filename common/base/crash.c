/* Owns the counting of places passed, in builds for tests. */
#include "base/crash.h"

#ifdef MM_CRASH_POINTS
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* State of the process, not of anything in it: the environment is read once. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int chosen = CRASH_POINTS_N;
static long wanted, allocation;
static atomic_long passed, allocations;
static int sites_fd = -1;
static pthread_mutex_t sites_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t sites[1 << 16]; /* by their own value; 0: free */

static uint64_t *site_slot(uint64_t site)
{
    size_t at = site % (sizeof sites / sizeof *sites);
    while (sites[at] && sites[at] != site)
        at = (at + 1) % (sizeof sites / sizeof *sites);
    return &sites[at];
}

static void read_sites(const char *path)
{
    uint64_t site;
    sites_fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (sites_fd < 0)
        abort();
    while (read(sites_fd, &site, sizeof site) == sizeof site)
        *site_slot(site) = site;
}

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
    if (getenv("MM_ALLOC_SITES"))
        read_sites(getenv("MM_ALLOC_SITES"));
}

void crash_point(enum crash_point at)
{
    (void)pthread_once(&once, read_environment);
    if ((int)at == chosen && atomic_fetch_add(&passed, 1) + 1 == wanted)
        _exit(137);
}

/* Who wants memory: the nearest callers in this program, as far as they are known, relative to where it was loaded. A frame is
 * followed only from one function of this program into another: such keep their frame pointers in this build. */
static uint64_t site_of(const void *frame)
{
    extern const char __executable_start[], etext[];
    const void *const *f = frame;
    uint64_t site = UINT64_C(14695981039346656037);
    for (int depth = 0; depth < 4; depth++, f = f[0]) {
        uintptr_t back = (uintptr_t)f[1] - (uintptr_t)__executable_start;
        if (back >= (uintptr_t)etext - (uintptr_t)__executable_start)
            break;
        site = (site ^ back) * UINT64_C(1099511628211);
    }
    return site ? site : 1;
}

/* True: the lock is kept, so that no other thread gets further before the process has ended. */
static bool is_new_site(uint64_t site)
{
    (void)pthread_mutex_lock(&sites_lock); /* misuse alone makes it fail */
    uint64_t *slot = site_slot(site);
    if (*slot == 0 && write(sites_fd, &site, sizeof site) == sizeof site)
        return true;
    (void)pthread_mutex_unlock(&sites_lock);
    return false;
}

bool crash_allocation(const void *frame)
{
    (void)pthread_once(&once, read_environment);
    if (sites_fd >= 0 && is_new_site(site_of(frame)))
        return true;
    return allocation && atomic_fetch_add(&allocations, 1) + 1 == allocation;
}
#endif
