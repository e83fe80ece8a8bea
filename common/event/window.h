/* The window event: a closed window on its way from the controller to one app. MLRun's form, so that an MLRun
 * Python app can read it, and one object of ours, `modelmon`, with what it cannot say.
 *
 * Time. Ours is [start, end). MLRun's apps read (start, end], so both times go out minus one microsecond.
 * Coming back: `modelmon` is exact. Without it (MLRun's own controller) end + 1 µs, and start + 1 µs, where that
 * is a whole second; a start of …:59.913600 is MLRun's slip of 86.4 ms and counts as the whole second; other times stay. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/rc.h"
#include "base/str.h"
#include "event/reject.h"

#define WINDOW_BYTES_MAX (4u << 20)
#define WINDOW_FILES_MAX 50000u

struct window_event {
    struct str project;     /* empty when MLRun's controller sent it */
    struct str endpoint_id; /* the uid */
    struct str endpoint_name;
    struct str endpoint_updated; /* text; changes when the endpoint's record does */
    struct str application_name;
    struct str traceparent;
    int64_t start_us, end_us;  /* [start, end) */
    int64_t revision;          /* 0 unless said: the first */
    int64_t reference_version; /* -1: none */
    const struct str *files;   /* Parquet files of the window, if the app needs rows */
    size_t n_files;
    bool is_exact; /* the times came from our own object */
};

void window_encode(const struct window_event *ev, struct buf *out);
/* *ret borrows from a. */
rc_t window_decode(const char *p, size_t n, struct arena *a, struct window_event *ret, struct reject *why) MUST_CHECK;

/* The two rules of the head, for others that carry such times (result.h). */
int64_t window_time_out(int64_t us);
int64_t window_time_in(int64_t us);
int64_t window_start_in(int64_t us); /* with the 86.4 ms */
