/* A thread with a name, a wake-up and an end. The thread looks at worker_stopping, or sleeps in worker_wait.
 * A struct worker starts as zeroes. */
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/rc.h"

struct worker {
    pthread_t thread;
    atomic_bool stop, running;
    int wake_fd; /* eventfd: readable after worker_wake and worker_stop; for the thread's own poll set */
    int end_fd;  /* eventfd: readable once it has ended */
    void (*run)(struct worker *w, void *arg);
    void *arg;
    char name[16];
    const char *log_part; /* of the thread that started it */
};

rc_t worker_start(struct worker *w, const char *name, void (*run)(struct worker *w, void *arg), void *arg,
                  struct err *e) MUST_CHECK;
bool worker_stopping(struct worker *w);
bool worker_wait(struct worker *w, int64_t us); /* until woken, stopped, or that long (< 0: for ever); true: woken or stopped */
void worker_wake(struct worker *w);             /* any thread */
void worker_stop(struct worker *w);             /* asks it to end; any thread; again is fine */
/* After worker_stop. E_AGAIN: it has not ended in that time and still runs. A worker that never started is fine. */
rc_t worker_join(struct worker *w, int64_t us) MUST_CHECK;
