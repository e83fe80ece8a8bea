/* The project's only source of time. Microseconds, int64, UTC since 1970 for the wall clock. */
#pragma once
#include <stdint.h>

#define USEC_PER_SEC INT64_C(1000000)
#define USEC_PER_MSEC INT64_C(1000)
#define USEC_PER_DAY (INT64_C(86400) * USEC_PER_SEC)

int64_t clock_now_us(void);  /* wall clock */
int64_t clock_mono_us(void); /* for time-outs and ages; its zero means nothing */
int64_t clock_cpu_us(void);  /* CPU time of this process so far */
