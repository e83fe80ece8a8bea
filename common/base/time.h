/* Instants as text. In: a tolerant ISO-8601 reader. Out: RFC 3339 in UTC, or MLRun's form. */
#pragma once
#include <stdint.h>
#include "base/rc.h"
#include "base/str.h"

/* From 2000 to 2100: days are partitions, so what names one lies in here, whatever a record or an event says. */
#define TIME_SANE_MIN_US INT64_C(946684800000000)
#define TIME_SANE_MAX_US INT64_C(4102444800000000)

#define TIME_TEXT 40 /* room for any instant below, with its NUL */

/* "2025-01-01 00:00:01.123456+00:00", with T or blank, 0 to 9 fraction digits (cut to µs), Z, ±hh:mm, ±hhmm, ±hh,
 * a blank before the offset, or date alone. Without an offset: UTC when tz_required is 0, else E_INVALID.
 * Years 1 to 9999. Leap second 60 is the next second. */
rc_t time_parse(struct str s, int tz_required, int64_t *ret_us) MUST_CHECK;
size_t time_rfc3339(char out[TIME_TEXT], int64_t us); /* 2025-01-01T00:00:01.123456Z */
size_t time_mlrun(char out[TIME_TEXT], int64_t us);   /* 2025-01-01 00:00:01.123456+00:00, always six digits */
size_t time_iso_offset(char out[TIME_TEXT],
                       int64_t us); /* 2025-01-01T00:00:01.123456+00:00 as Python's isoformat(): no fraction when it is 0 */
/* Civil parts of an instant, UTC. */
struct civil {
    int year, month, day, hour, minute, second, usec;
};
struct civil time_civil(int64_t us);
int64_t time_floor(int64_t us, int64_t step); /* largest multiple of step that is <= us; right below 1970 too */
