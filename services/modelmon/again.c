/* The record, AGAIN_ENV: "part=at,at,at;part=at", the seconds (of the clock that an exec does not touch) at which each broke. A part
 * with AGAIN_MOST of them is aside and stays so; of others those of the last hour count. */
#include "again.h"

#include <stdlib.h>
#include <string.h>
#include "app/guard.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"

#define AGAIN_ENV "MODELMON_RUN_BROKEN"
#define HOUR_S INT64_C(3600)

/* What comes before the next `end`; *at moves behind it. */
static struct str next_until(const char **at, char end)
{
    struct str s = {*at, 0};
    while ((*at)[0] && (*at)[0] != end)
        (*at)++;
    s.n = (size_t)(*at - s.p);
    *at += (*at)[0] == end;
    return s;
}

/* "at,at" of a part; empty: none. */
static struct str times_of(const char *record, const char *part)
{
    for (const char *at = record ? record : ""; *at;) {
        struct str entry = next_until(&at, ';');
        const char *eq = memchr(entry.p, '=', entry.n);
        if (eq && str_eqz((struct str){entry.p, (size_t)(eq - entry.p)}, part))
            return (struct str){eq + 1, entry.n - (size_t)(eq + 1 - entry.p)};
    }
    return STR("");
}

static size_t count_of(struct str times)
{
    size_t n = times.n > 0;
    for (size_t i = 0; i < times.n; i++)
        n += times.p[i] == ',';
    return n;
}

bool again_is_aside(const char *part)
{
    return count_of(times_of(getenv(AGAIN_ENV), part)) >= AGAIN_MOST;
}

static void add_recent(struct str times, int64_t now, struct buf *to)
{
    for (size_t at = 0; at < times.n;) {
        const char *comma = memchr(times.p + at, ',', times.n - at);
        struct str one = {times.p + at, comma ? (size_t)(comma - times.p) - at : times.n - at};
        int64_t when = 0;
        if (num_i64_in(one, 0, now, &when) == OK && now - when < HOUR_S)
            buf_addf(to, "%.*s,", STR_FMT(one));
        at += one.n + 1;
    }
}

/* The record with one more of part. */
static void add_record(const char *record, const char *part, int64_t now, struct buf *to)
{
    buf_addf(to, "%s=", part);
    add_recent(times_of(record, part), now, to);
    buf_addf(to, "%lld", (long long)now);
    for (const char *at = record ? record : ""; *at;) {
        struct str entry = next_until(&at, ';');
        size_t n = strlen(part);
        if (entry.n > n && entry.p[n] == '=' && memcmp(entry.p, part, n) == 0)
            continue;
        buf_addf(to, ";%.*s", STR_FMT(entry));
    }
}

void again_note(void)
{
    const char *broke = guard_broke();
    struct buf record = {0};
    if (!broke)
        return;
    char *part = mem_dup(broke, strcspn(broke, " ")); /* a call's name begins with the app's */
    add_record(getenv(AGAIN_ENV), part, clock_mono_us() / USEC_PER_SEC, &record);
    (void)setenv(AGAIN_ENV, record.data, 1); /* no thread yet */
    mem_free(part);
    buf_done(&record);
}
