/* The record, AGAIN_ENV: "part=at,at,at;part=at", the seconds (of the clock that an exec does not touch) at which each broke. A part
 * with AGAIN_MOST of them is aside and stays so; of others those of the last hour count. */
#include "again.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"

#define AGAIN_ENV "MODELMON_RUN_BROKEN"
#define HOUR_S INT64_C(3600)
#define PORT_FLAG "--http-port="

extern char **environ;

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

/* The record with one more of part: AGAIN_ENV=…. */
static void add_record(const char *record, const char *part, int64_t now, struct buf *to)
{
    buf_addf(to, AGAIN_ENV "=%s=", part);
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

static char **environment_with(char *record)
{
    size_t n = 0, kept = 0;
    while (environ[n])
        n++;
    char **all = mem_array(n + 2, sizeof *all);
    for (size_t i = 0; i < n; i++)
        if (strncmp(environ[i], AGAIN_ENV "=", sizeof AGAIN_ENV) != 0)
            all[kept++] = environ[i];
    all[kept++] = record;
    return all;
}

void again_exec(int argc, char *const *argv, int port, const char *part)
{
    struct buf record = {0}, flag = {0};
    sigset_t none;
    char **args = mem_array((size_t)argc + 2, sizeof *args);
    size_t n = (size_t)argc;
    add_record(getenv(AGAIN_ENV), part, clock_mono_us() / USEC_PER_SEC, &record);
    buf_addf(&flag, PORT_FLAG "%d", port);
    memcpy(args, argv, n * sizeof *args);
    if (n && strncmp(args[n - 1], PORT_FLAG, sizeof PORT_FLAG - 1) == 0)
        n--;                  /* of the life before, or said there */
    args[n] = flag.data;      /* the last one counts */
    (void)sigemptyset(&none); /* these two cannot fail */
    (void)pthread_sigmask(SIG_SETMASK, &none, NULL);
    (void)execve("/proc/self/exe", args, environment_with(record.data));
    mem_free(args);
    buf_done(&record);
    buf_done(&flag);
}
