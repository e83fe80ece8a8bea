/* Health: a short list of dependencies under one lock. */
#include "service/health.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/time.h"
#include "log/log.h"
#include "metrics/metrics.h"

struct health_dep {
    struct health *health;
    struct health_dep *next;
    char *name;
    enum health_need need;
    enum health_state state;
    int64_t grace_us, since_us, since_mono_us;
    size_t metric;
    char words[256];
};

struct health {
    const char *service;
    struct health *whole, *parts; /* whole: itself, unless it is a part; parts: of the whole, chained by next_part */
    struct health *next_part;
    struct health_dep *first, *last;
    bool draining;
    pthread_mutex_t lock;
};

static const char *const state_names[] = {"starting", "ok", "degraded", "down"};

static const struct metric_row rows[] = {
    {.name = "modelmon_dependency_up",
     .kind = METRIC_GAUGE,
     .help = "1 when the dependency is ok, 0.5 when degraded, 0 when down or starting.",
     .labels = {{.name = "name", .cap = 64}}},
};
static struct metric_set set = METRIC_SET(rows);

struct health *health_new(const char *service)
{
    struct health *h = mem_alloc(sizeof *h);
    h->service = service;
    h->whole = h;
    (void)pthread_mutex_init(&h->lock, NULL); /* cannot fail without attributes */
    metrics_register(&set);
    return h;
}

struct health *health_part(struct health *whole, const char *part)
{
    struct health *h = mem_alloc(sizeof *h);
    *h = (struct health){.service = part, .whole = whole, .next_part = whole->parts};
    whole->parts = h;
    return h;
}

void health_free(struct health *h)
{
    if (h == NULL)
        return;
    for (struct health *p = h->parts, *next; p; p = next) {
        next = p->next_part;
        mem_free(p);
    }
    for (struct health_dep *d = h->first, *next; d; d = next) {
        next = d->next;
        mem_free(d->name);
        mem_free(d);
    }
    (void)pthread_mutex_destroy(&h->lock); /* nobody holds it */
    mem_free(h);
}

static void show(const struct health_dep *d)
{
    static const double values[] = {0, 1, 0.5, 0};
    metric_set(metrics_at(&set, 0, d->metric, 0), values[d->state]);
}

struct health_dep *health_add(struct health *in, const char *plain, enum health_need need, int64_t grace_us)
{
    struct health *h = in->whole;
    struct buf full = {0};
    buf_addf(&full, "%s%s%s", in == h ? "" : in->service, in == h ? "" : "/", plain);
    char *name = full.data;             /* from here on the dependency's */
    (void)pthread_mutex_lock(&h->lock); /* a plain mutex fails only by misuse; so below */
    struct health_dep *d = h->first;
    while (d && strcmp(d->name, name) != 0)
        d = d->next;
    if (d) {
        mem_free(name);
    } else {
        d = mem_alloc(sizeof *d);
        *d = (struct health_dep){.health = h,
                                 .name = name,
                                 .need = need,
                                 .grace_us = grace_us,
                                 .since_us = clock_now_us(),
                                 .since_mono_us = clock_mono_us()};
        d->metric = metrics_label(&set, 0, 0, str_of(name));
        if (h->last)
            h->last->next = d;
        else
            h->first = d;
        h->last = d;
        show(d);
    }
    (void)pthread_mutex_unlock(&h->lock);
    return d;
}

static void log_change(const struct health_dep *d, const char *words)
{
    if (d->state == HEALTH_OK)
        log_info("dependency", LF_STR("name", (const char *)d->name), LF_STR("state", state_names[d->state]));
    else
        log_warn("dependency", LF_STR("name", (const char *)d->name), LF_STR("state", state_names[d->state]),
                 LF_STR("words", words));
}

void health_set(struct health_dep *d, enum health_state state, const char *fmt, ...)
{
    char words[sizeof d->words];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(words, sizeof words, fmt, args); /* cut to fit is fine */
    va_end(args);
    (void)pthread_mutex_lock(&d->health->lock);
    memcpy(d->words, words, sizeof words);
    bool changed = d->state != state;
    if (changed) {
        d->state = state;
        d->since_us = clock_now_us();
        d->since_mono_us = clock_mono_us();
        show(d);
        log_change(d, words);
    }
    (void)pthread_mutex_unlock(&d->health->lock);
}

void health_drain(struct health *h)
{
    h = h->whole;
    (void)pthread_mutex_lock(&h->lock);
    h->draining = true;
    (void)pthread_mutex_unlock(&h->lock);
}

static bool blocks(const struct health_dep *d)
{
    if (d->need == HEALTH_OPTIONAL)
        return false;
    return d->state == HEALTH_STARTING || (d->state == HEALTH_DOWN && clock_mono_us() - d->since_mono_us >= d->grace_us);
}

/* The whole in one word; the lock is held. */
static const char *judge(const struct health *h, bool *ret_ready)
{
    const char *word = "ok";
    *ret_ready = !h->draining;
    for (const struct health_dep *d = h->first; d; d = d->next) {
        if (d->state != HEALTH_OK && *ret_ready)
            word = "degraded";
        if (blocks(d)) {
            *ret_ready = false;
            word = strcmp(word, "down") == 0 ? word : state_names[d->state];
        }
    }
    return h->draining ? "draining" : word;
}

bool health_ready(struct health *h)
{
    bool ready;
    h = h->whole;
    (void)pthread_mutex_lock(&h->lock);
    (void)judge(h, &ready); /* the word is for people */
    (void)pthread_mutex_unlock(&h->lock);
    return ready;
}

static void render_dep(const struct health_dep *d, struct buf *to)
{
    char since[TIME_TEXT];
    (void)time_rfc3339(since, d->since_us); /* the length is not needed */
    buf_addz(to, d->health->first == d ? "{\"name\":" : ",{\"name\":");
    text_add_json(to, str_of(d->name));
    buf_addf(to, ",\"state\":\"%s\",\"required\":%s,\"since\":\"%s\"", state_names[d->state],
             d->need == HEALTH_REQUIRED ? "true" : "false", since);
    if (d->words[0]) {
        buf_addz(to, ",\"detail\":");
        text_add_json(to, str_of(d->words));
    }
    buf_addc(to, '}');
}

bool health_render(struct health *h, struct buf *to)
{
    bool ready;
    h = h->whole;
    (void)pthread_mutex_lock(&h->lock);
    buf_addf(to, "{\"status\":\"%s\",\"service\":", judge(h, &ready));
    text_add_json(to, str_of(h->service));
    buf_addz(to, ",\"dependencies\":[");
    for (const struct health_dep *d = h->first; d; d = d->next)
        render_dep(d, to);
    buf_addz(to, "]}\n");
    (void)pthread_mutex_unlock(&h->lock);
    return ready;
}
