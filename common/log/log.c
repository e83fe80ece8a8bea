/* The log: lines are built in memory and leave by one write(2), so that threads and processes never mix them. */
#include "log/log.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/num.h"
#include "base/text.h"
#include "base/time.h"

#define VALUE_MAX ((size_t)1024) /* longer strings are cut */
#define REPEATS 64

/* How often an event was seen in its period. Events share a row when their names collide: they are then limited together. */
struct repeat {
    int64_t since_us;
    uint32_t seen, suppressed;
};

static const char *const level_names[] = {"error", "warn", "info", "debug"};

static _Atomic(const char *) service = "modelmon";
static _Thread_local const char *part; /* in place of service, in this thread */
static atomic_int max_level = LOG_INFO;
static atomic_int out_fd = STDERR_FILENO;
static struct repeat repeats[REPEATS];
static pthread_mutex_t repeats_lock = PTHREAD_MUTEX_INITIALIZER;

void log_open(const char *name, enum log_level level)
{
    atomic_store(&service, name);
    atomic_store(&max_level, (int)level);
}

void log_as(const char *name)
{
    part = name;
}

const char *log_part(void)
{
    return part;
}

void log_to(int fd)
{
    atomic_store(&out_fd, fd);
}

bool log_enabled(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&max_level, memory_order_relaxed);
}

static struct repeat *repeat_of(const char *event)
{
    uint32_t hash = 2166136261u;
    for (const char *c = event; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 16777619u;
    return &repeats[hash % REPEATS];
}

/* True: write it, and *ret is how many were not. */
static bool admit(const char *event, uint32_t *ret_suppressed)
{
    int64_t now = clock_mono_us();
    (void)pthread_mutex_lock(&repeats_lock); /* a plain mutex fails only by misuse */
    struct repeat *r = repeat_of(event);
    if (r->seen == 0 || now - r->since_us >= LOG_PERIOD_US) {
        r->since_us = now;
        r->seen = 0;
    }
    bool ok = r->seen < LOG_BURST;
    if (ok) {
        r->seen++;
        *ret_suppressed = r->suppressed;
        r->suppressed = 0;
    } else {
        r->suppressed++;
    }
    (void)pthread_mutex_unlock(&repeats_lock);
    return ok;
}

static void add_text(struct buf *b, struct str s)
{
    if (s.p == NULL) {
        buf_addz(b, "null");
        return;
    }
    if (s.n > VALUE_MAX) {
        s.n = VALUE_MAX;
        while (s.n > 0 && ((unsigned char)s.p[s.n] & 0xC0) == 0x80)
            s.n--; /* not in the middle of a character */
    }
    text_add_json(b, s);
}

static void add_number(struct buf *b, double v)
{
    char text[32];
    size_t n = num_print_f64(text, v);
    if (isfinite(v))
        buf_add(b, text, n);
    else
        text_add_json(b, (struct str){text, n});
}

static void add_field(struct buf *b, const struct log_field *f)
{
    buf_addc(b, ',');
    text_add_json(b, str_of(f->name));
    buf_addc(b, ':');
    switch (f->kind) {
    case LOG_FIELD_I64:
        buf_addf(b, "%" PRId64, f->i64);
        break;
    case LOG_FIELD_F64:
        add_number(b, f->f64);
        break;
    case LOG_FIELD_BOOL:
        buf_addz(b, f->boolean ? "true" : "false");
        break;
    case LOG_FIELD_STR:
        add_text(b, f->str);
        break;
    }
}

static void write_line(const struct buf *b)
{
    ssize_t n;
    do
        n = write(atomic_load(&out_fd), b->data, b->len);
    while (n < 0 && errno == EINTR);
    /* a log that cannot be written has nowhere to say so */
}

void log_write(enum log_level level, const char *event, const struct log_field *fields)
{
    uint32_t suppressed = 0;
    int saved = errno;
    if (!log_enabled(level) || (level <= LOG_WARN && !admit(event, &suppressed)))
        return;
    struct buf b = {0};
    char ts[TIME_TEXT];
    (void)time_rfc3339(ts, clock_now_us()); /* the length is not needed */
    buf_addf(&b, "{\"ts\":\"%s\",\"level\":\"%s\",\"svc\":", ts, level_names[level]);
    text_add_json(&b, str_of(part ? part : atomic_load(&service)));
    buf_addz(&b, ",\"ev\":");
    text_add_json(&b, str_of(event));
    for (const struct log_field *f = fields; f->name != NULL; f++)
        add_field(&b, f);
    if (suppressed > 0)
        buf_addf(&b, ",\"suppressed\":%" PRIu32, suppressed);
    buf_addz(&b, "}\n");
    write_line(&b);
    buf_done(&b);
    errno = saved;
}
