/* LD_PRELOAD: the wall clock is off by as many microseconds as the file FAULT_CLOCK names holds (an int64, mapped: it can be
 * changed while the process runs). The monotonic clocks are left alone. */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *offset_us;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int (*real_gettime)(clockid_t, struct timespec *);

static void begin(void)
{
    const char *path = getenv("FAULT_CLOCK");
    *(void **)&real_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *at = mmap(NULL, sizeof *offset_us, PROT_READ, MAP_SHARED, fd, 0);
    (void)close(fd);
    if (at != MAP_FAILED)
        offset_us = at;
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
    (void)pthread_once(&once, begin);
    int rc = real_gettime(id, ts);
    if (rc || !offset_us || (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE))
        return rc;
    int64_t us = (int64_t)ts->tv_sec * 1000000 + ts->tv_nsec / 1000 + *offset_us;
    ts->tv_sec = (time_t)(us / 1000000);
    ts->tv_nsec = (long)(us % 1000000) * 1000;
    return 0;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
    struct timespec ts;
    (void)zone;
    int rc = clock_gettime(CLOCK_REALTIME, &ts);
    tv->tv_sec = ts.tv_sec;
    tv->tv_usec = ts.tv_nsec / 1000;
    return rc;
}

time_t time(time_t *ret)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    if (ret)
        *ret = ts.tv_sec;
    return ts.tv_sec;
}
