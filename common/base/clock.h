/* The project's only source of time, and of waiting for it. Microseconds, int64, UTC since 1970 for the wall clock. */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define USEC_PER_SEC INT64_C(1000000)
#define USEC_PER_MSEC INT64_C(1000)
#define USEC_PER_DAY (INT64_C(86400) * USEC_PER_SEC)

int64_t clock_now_us(void);  /* wall clock */
int64_t clock_mono_us(void); /* for time-outs and ages; its zero means nothing */
int64_t clock_cpu_us(void);  /* CPU time of this process so far */

void clock_sleep_us(int64_t us); /* a signal may end it early */
/* A condition whose waits end by clock_mono_us. */
void clock_cond_init(pthread_cond_t *c);
bool clock_cond_wait(pthread_cond_t *c, pthread_mutex_t *lock, int64_t until_us); /* false: the time is over */
