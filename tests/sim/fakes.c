/* What the services are given that has no part in the promises: health, metrics, the life of a process, the guard around apps, the
 * key of hash tables. Link-time stand-ins, so that none of the real ones' threads, files and randomness come in. */
#include <stdarg.h>
#include <sys/random.h>
#include <sys/types.h>
#include <string.h>
#include "app/form.h"
#include "app/guard.h"
#include "metrics/metrics.h"
#include "service/health.h"
#include "service/service.h"
#include "world.h"

/* ---- service/health.h ---- */
struct health_dep {
    int nothing;
};

struct health_dep *health_add(struct health *h, const char *name, enum health_need need, int64_t grace_us)
{
    static struct health_dep one;
    (void)h, (void)name, (void)need, (void)grace_us;
    return &one;
}

void health_set(struct health_dep *d, enum health_state state, const char *fmt, ...)
{
    (void)d, (void)state, (void)fmt;
}

/* ---- service/service.h ---- */
struct health *service_health(struct service *s)
{
    (void)s;
    return NULL;
}

void service_drained(struct service *s)
{
    (void)s;
}

void service_fail(struct service *s, const char *fmt, ...)
{
    (void)s;
    world_say("service_fail: %s", fmt);
    proc_exit();
}

struct service_def *service_def_dup(struct arena *a, const struct service_def *def)
{
    (void)a, (void)def;
    return NULL;
}

/* ---- app/form.h ---- */
void form_loaded(struct form *f)
{
    (void)f;
}

/* ---- app/guard.h ---- */
rc_t guard_call(rc_t (*fn)(void *arg, struct err *e), void *arg, int64_t limit_us, const char *name, struct err *e)
{
    (void)limit_us, (void)name;
    return fn(arg, e);
}

bool guard_left(const char *name, int64_t limit_us, struct err *words)
{
    (void)name, (void)limit_us, (void)words;
    return false;
}

const char *guard_broke(void)
{
    return NULL;
}

/* ---- metrics/metrics.h ---- */
struct metric {
    int nothing;
};

void metrics_register(struct metric_set *set)
{
    (void)set;
}

struct metric *metrics_at(const struct metric_set *set, size_t row, size_t first, size_t second)
{
    static struct metric one;
    (void)set, (void)row, (void)first, (void)second;
    return &one;
}

size_t metrics_label(struct metric_set *set, size_t row, size_t label, struct str value)
{
    (void)set, (void)row, (void)label, (void)value;
    return 0;
}

void metric_add(struct metric *m, int64_t n)
{
    (void)m, (void)n;
}

void metric_set(struct metric *m, double v)
{
    (void)m, (void)v;
}

void metric_observe(struct metric *m, double v)
{
    (void)m, (void)v;
}

/* ---- the C library (--wrap) ---- */
ssize_t __wrap_getrandom(void *to, size_t n, unsigned flags);
ssize_t __wrap_getrandom(void *to, size_t n, unsigned flags)
{
    (void)flags;
    memset(to, 0x5a, n);
    return (ssize_t)n;
}

void __wrap__exit(int code);
void __real__exit(int code) __attribute__((noreturn));
void __wrap__exit(int code)
{
    if (!proc_now())
        __real__exit(code);
    world_say("_exit(%d)", code);
    proc_exit();
}
