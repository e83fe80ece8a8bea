/* A cache in the process's own memory, shared by all that open it: bounded in bytes, the least used goes first. */
#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "cache/driver.h"

#define MAX_BYTES ((size_t)8 << 20) /* keys, values and what holds them */
#define OVERHEAD 128
#define MAX_LISTENERS 8
#define MAX_WAITING 1024 /* messages of a listener; more, and it is told that it has missed some */

struct entry {
    struct entry *newer, *older;
    int64_t expires_us;
    size_t n_key, n_value;
    char bytes[]; /* key, value */
};

struct message {
    struct message *next;
    size_t n;
    char text[];
};

struct listener {
    char *channel;
    void (*fn)(void *arg, struct str message);
    void *arg;
    bool missed; /* some messages, or all before it listened */
    struct message *first, **end;
    size_t n;
};

struct memory {
    struct memory *next; /* of the caches of this process */
    struct listener listeners[MAX_LISTENERS];
    size_t n_listeners;
};

/* What the caches of this process share. It ends with the last of them. */
static struct {
    pthread_mutex_t lock;
    struct map entries;
    struct entry *newest, *oldest;
    size_t bytes;
    struct memory *caches;
} shared = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* --- entries; the lock is held --- */
static struct str key_of(const struct entry *en)
{
    return (struct str){en->bytes, en->n_key};
}

static size_t size_of(const struct entry *en)
{
    return en->n_key + en->n_value + OVERHEAD;
}

static void unlink_entry(struct entry *en)
{
    *(en->newer ? &en->newer->older : &shared.newest) = en->older;
    *(en->older ? &en->older->newer : &shared.oldest) = en->newer;
}

static void link_newest(struct entry *en)
{
    en->newer = NULL;
    en->older = shared.newest;
    *(shared.newest ? &shared.newest->newer : &shared.oldest) = en;
    shared.newest = en;
}

static void drop(struct entry *en)
{
    (void)map_del(&shared.entries, key_of(en)); /* which is en */
    unlink_entry(en);
    shared.bytes -= size_of(en);
    mem_free(en);
}

static void drop_key(struct str key)
{
    struct entry *en = map_get(&shared.entries, key);
    if (en)
        drop(en);
}

static void make_room(size_t wanted, int64_t now_us)
{
    while (shared.oldest && (shared.bytes + wanted > MAX_BYTES || shared.oldest->expires_us <= now_us))
        drop(shared.oldest);
}

/* --- the seam --- */
static rc_t memory_get(void *self, struct str key, struct buf *ret)
{
    (void)self;
    int64_t now = clock_mono_us();
    pthread_mutex_lock(&shared.lock);
    struct entry *en = map_get(&shared.entries, key);
    if (en && en->expires_us <= now) {
        drop(en);
        en = NULL;
    }
    if (en) {
        buf_clear(ret);
        buf_add(ret, en->bytes + en->n_key, en->n_value);
        unlink_entry(en);
        link_newest(en);
    }
    pthread_mutex_unlock(&shared.lock);
    return en ? OK : E_NOTFOUND;
}

static rc_t memory_set(void *self, struct str key, struct str value, int64_t ttl_us)
{
    (void)self;
    int64_t now = clock_mono_us();
    struct entry *en = NULL;
    if (key.n + value.n + OVERHEAD <= MAX_BYTES / 4) { /* one giant must not push all others out */
        en = mem_grow(NULL, 1, sizeof *en + key.n + value.n);
        *en = (struct entry){.expires_us = now + ttl_us, .n_key = key.n, .n_value = value.n};
        if (key.n)
            memcpy(en->bytes, key.p, key.n);
        if (value.n)
            memcpy(en->bytes + key.n, value.p, value.n);
    }
    pthread_mutex_lock(&shared.lock);
    drop_key(key);
    make_room(en ? size_of(en) : 0, now);
    if (en) {
        map_put(&shared.entries, key_of(en), en);
        link_newest(en);
        shared.bytes += size_of(en);
    }
    pthread_mutex_unlock(&shared.lock);
    return OK;
}

static rc_t memory_del(void *self, struct str key)
{
    (void)self;
    pthread_mutex_lock(&shared.lock);
    drop_key(key);
    pthread_mutex_unlock(&shared.lock);
    return OK;
}

/* --- messages --- */
static void messages_free(struct message *m)
{
    while (m) {
        struct message *next = m->next;
        mem_free(m);
        m = next;
    }
}

static void hear(struct listener *l, struct str text)
{
    if (l->n == MAX_WAITING) {
        messages_free(l->first);
        l->first = NULL;
        l->end = &l->first;
        l->n = 0;
        l->missed = true;
    }
    struct message *m = mem_grow(NULL, 1, sizeof *m + text.n);
    *m = (struct message){.n = text.n};
    if (text.n)
        memcpy(m->text, text.p, text.n);
    *l->end = m;
    l->end = &m->next;
    l->n++;
}

static rc_t memory_publish(void *self, const char *channel, struct str message)
{
    (void)self;
    pthread_mutex_lock(&shared.lock);
    for (struct memory *m = shared.caches; m; m = m->next)
        for (size_t i = 0; i < m->n_listeners; i++)
            if (strcmp(m->listeners[i].channel, channel) == 0)
                hear(&m->listeners[i], message);
    pthread_mutex_unlock(&shared.lock);
    return OK;
}

static rc_t memory_subscribe(void *self, const char *channel, void (*fn)(void *arg, struct str message), void *arg,
                             struct err *e)
{
    struct memory *m = self;
    if (m->n_listeners == MAX_LISTENERS)
        return err_set(e, E_LIMIT, "more than %d subscriptions", MAX_LISTENERS);
    pthread_mutex_lock(&shared.lock);
    struct listener *l = &m->listeners[m->n_listeners++];
    *l = (struct listener){.channel = mem_dupz(channel), .fn = fn, .arg = arg, .missed = true, .end = &l->first};
    pthread_mutex_unlock(&shared.lock);
    return OK;
}

static void tell(struct listener *l)
{
    pthread_mutex_lock(&shared.lock);
    struct message *m = l->first;
    bool missed = l->missed;
    l->first = NULL;
    l->end = &l->first;
    l->n = 0;
    l->missed = false;
    pthread_mutex_unlock(&shared.lock);
    if (missed)
        l->fn(l->arg, (struct str){"", 0});
    for (const struct message *at = m; at; at = at->next)
        l->fn(l->arg, (struct str){at->text, at->n});
    messages_free(m);
}

static void memory_poll(void *self)
{
    struct memory *m = self;
    for (size_t i = 0; i < m->n_listeners; i++)
        tell(&m->listeners[i]);
}

static bool memory_up(const void *self)
{
    (void)self;
    return true;
}

/* --- life --- */
static bool memory_accepts(const char *url)
{
    return strcmp(url, "memory:") == 0;
}

static rc_t memory_check(const char *url, struct err *e)
{
    (void)url, (void)e;
    return OK;
}

static rc_t memory_open(const struct cache_config *cfg, void **ret_self, struct err *e)
{
    (void)cfg, (void)e;
    struct memory *m = mem_alloc(sizeof *m);
    pthread_mutex_lock(&shared.lock);
    m->next = shared.caches;
    shared.caches = m;
    pthread_mutex_unlock(&shared.lock);
    *ret_self = m;
    return OK;
}

static void memory_close(void *self)
{
    struct memory *m = self;
    pthread_mutex_lock(&shared.lock);
    struct memory **at = &shared.caches;
    while (*at != m)
        at = &(*at)->next;
    *at = m->next;
    while (!shared.caches && shared.oldest)
        drop(shared.oldest);
    if (!shared.caches) {
        map_done(&shared.entries);
        shared.entries = (struct map){0};
    }
    pthread_mutex_unlock(&shared.lock);
    for (size_t i = 0; i < m->n_listeners; i++) {
        messages_free(m->listeners[i].first);
        mem_free(m->listeners[i].channel);
    }
    mem_free(m);
}

const struct cache_ops cache_memory = {
    .name = "memory",
    .accepts = memory_accepts,
    .check = memory_check,
    .open = memory_open,
    .close = memory_close,
    .get = memory_get,
    .set = memory_set,
    .del = memory_del,
    .publish = memory_publish,
    .subscribe = memory_subscribe,
    .poll = memory_poll,
    .up = memory_up,
};
