/* Redis through hiredis: one connection for commands, made anew after any error, each call within its time. */
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cache/redis.h"

#define MAX_LISTENERS 8

struct redis {
    struct redis_address address;
    redisContext *ctx; /* NULL: not connected */
    struct redis_breaker breaker;
    struct redis_listener *listeners[MAX_LISTENERS];
    size_t n_listeners;
};

static struct timeval left_until(int64_t deadline_us)
{
    int64_t left = deadline_us - clock_mono_us();
    left = left > 0 ? left : 1; /* 0 would mean for ever */
    return (struct timeval){.tv_sec = left / USEC_PER_SEC, .tv_usec = left % USEC_PER_SEC};
}

/* One command within what is left of the time. NULL: the connection is of no use any more. */
static redisReply *run(redisContext *ctx, int64_t deadline_us, size_t argc, const struct str *argv)
{
    const char *texts[8];
    size_t lengths[8];
    for (size_t i = 0; i < argc; i++) {
        texts[i] = argv[i].n ? argv[i].p : "";
        lengths[i] = argv[i].n;
    }
    if (redisSetTimeout(ctx, left_until(deadline_us)) != REDIS_OK)
        return NULL;
    redisReply *reply = redisCommandArgv(ctx, (int)argc, texts, lengths);
    if (reply && reply->type == REDIS_REPLY_ERROR) {
        freeReplyObject(reply);
        return NULL;
    }
    return reply;
}

static bool greet(const struct redis *r, redisContext *ctx, int64_t deadline_us)
{
    const struct redis_address *a = &r->address;
    bool ok = true;
    if (a->password) {
        struct str argv[3] = {STR("AUTH"), str_of(a->user ? a->user : a->password), str_of(a->password)};
        redisReply *reply = run(ctx, deadline_us, a->user ? 3 : 2, argv);
        ok = reply != NULL;
        freeReplyObject(reply);
    }
    if (ok && a->db) {
        char number[16];
        snprintf(number, sizeof number, "%d", a->db);
        redisReply *reply = run(ctx, deadline_us, 2, (struct str[]){STR("SELECT"), str_of(number)});
        ok = reply != NULL;
        freeReplyObject(reply);
    }
    return ok;
}

static redisContext *connect_by(const struct redis *r, int64_t deadline_us)
{
    redisContext *ctx = redisConnectWithTimeout(r->address.host, r->address.port, left_until(deadline_us));
    if (ctx && !ctx->err && greet(r, ctx, deadline_us))
        return ctx;
    if (ctx)
        redisFree(ctx);
    return NULL;
}

static void failed(struct redis *r)
{
    if (r->ctx)
        redisFree(r->ctx);
    r->ctx = NULL;
    breaker_failed(&r->breaker);
}

/* *ret: the reply, the caller's. A connection that turns out to be gone, and soon enough, gets one more try. */
static rc_t call(struct redis *r, size_t argc, const struct str *argv, redisReply **ret)
{
    if (!breaker_allows(&r->breaker))
        return E_LIMIT;
    int64_t deadline = clock_mono_us() + REDIS_CALL_US;
    bool fresh = r->ctx == NULL;
    redisReply *reply = r->ctx ? run(r->ctx, deadline, argc, argv) : NULL;
    if (!reply && !fresh && r->ctx->err && deadline - clock_mono_us() > REDIS_CALL_US / 2) {
        redisFree(r->ctx);
        r->ctx = NULL;
        fresh = true;
    }
    if (!reply && fresh) {
        r->ctx = connect_by(r, deadline);
        reply = r->ctx ? run(r->ctx, deadline, argc, argv) : NULL;
    }
    if (!reply) {
        failed(r);
        return E_AGAIN;
    }
    r->breaker = (struct redis_breaker){0};
    *ret = reply;
    return OK;
}

/* A key of ours in a buffer of the caller's. */
static struct str prefixed(struct buf *b, struct str key)
{
    buf_addz(b, REDIS_PREFIX);
    buf_add(b, key.p, key.n);
    return buf_str(b);
}

static rc_t redis_get(void *self, struct str key, struct buf *ret)
{
    CLEANUP(buf_done) struct buf k = {0};
    redisReply *reply = NULL;
    rc_t rc = call(self, 2, (struct str[]){STR("GET"), prefixed(&k, key)}, &reply);
    if (rc)
        return rc;
    rc = reply->type == REDIS_REPLY_STRING ? OK : E_NOTFOUND;
    if (!rc) {
        buf_clear(ret);
        buf_add(ret, reply->str, (size_t)reply->len);
    }
    freeReplyObject(reply);
    return rc;
}

static rc_t redis_done(rc_t rc, redisReply *reply)
{
    freeReplyObject(reply);
    return rc;
}

static rc_t redis_set(void *self, struct str key, struct str value, int64_t ttl_us)
{
    CLEANUP(buf_done) struct buf k = {0};
    char ttl[24];
    redisReply *reply = NULL;
    snprintf(ttl, sizeof ttl, "%lld", (long long)(ttl_us / USEC_PER_MSEC));
    rc_t rc = call(self, 5, (struct str[]){STR("SET"), prefixed(&k, key), value, STR("PX"), str_of(ttl)}, &reply);
    return redis_done(rc, reply);
}

static rc_t redis_del(void *self, struct str key)
{
    CLEANUP(buf_done) struct buf k = {0};
    redisReply *reply = NULL;
    rc_t rc = call(self, 2, (struct str[]){STR("DEL"), prefixed(&k, key)}, &reply);
    return redis_done(rc, reply);
}

static rc_t redis_add(void *self, struct str key, int64_t n, int64_t ttl_us, int64_t *ret)
{
    CLEANUP(buf_done) struct buf k = {0};
    char by[24], ttl[24];
    redisReply *reply = NULL;
    snprintf(by, sizeof by, "%lld", (long long)n);
    snprintf(ttl, sizeof ttl, "%lld", (long long)(ttl_us / USEC_PER_MSEC));
    rc_t rc = call(self, 3, (struct str[]){STR("INCRBY"), prefixed(&k, key), str_of(by)}, &reply);
    if (rc)
        return rc;
    rc = reply->type == REDIS_REPLY_INTEGER ? OK : E_AGAIN;
    if (rc == OK)
        *ret = reply->integer;
    freeReplyObject(reply);
    reply = NULL;
    if (rc == OK && call(self, 3, (struct str[]){STR("PEXPIRE"), buf_str(&k), str_of(ttl)}, &reply) == OK)
        freeReplyObject(reply); /* else the number stays until its next change, or until Redis needs the room */
    return rc;
}

static rc_t redis_publish(void *self, const char *channel, struct str message)
{
    CLEANUP(buf_done) struct buf k = {0};
    redisReply *reply = NULL;
    rc_t rc = call(self, 3, (struct str[]){STR("PUBLISH"), prefixed(&k, str_of(channel)), message}, &reply);
    return redis_done(rc, reply);
}

static rc_t redis_subscribe(void *self, const char *channel, void (*fn)(void *arg, struct str message), void *arg,
                            struct err *e)
{
    struct redis *r = self;
    if (r->n_listeners == MAX_LISTENERS)
        return err_set(e, E_LIMIT, "more than %d subscriptions", MAX_LISTENERS);
    r->listeners[r->n_listeners++] = redis_listener_new(&r->address, channel, fn, arg);
    return OK;
}

static void redis_poll(void *self)
{
    struct redis *r = self;
    for (size_t i = 0; i < r->n_listeners; i++)
        if (redis_listener_poll(r->listeners[i]))
            r->breaker = (struct redis_breaker){0}; /* the server is there: no need to wait longer */
}

static bool redis_up(const void *self)
{
    const struct redis *r = self;
    bool up = r->breaker.backoff_us == 0;
    for (size_t i = 0; i < r->n_listeners; i++)
        up = up && redis_listener_up(r->listeners[i]);
    return up;
}

static bool redis_accepts(const char *url)
{
    return strncmp(url, "redis://", 8) == 0 || strncmp(url, "rediss://", 9) == 0;
}

static rc_t redis_check(const char *url, struct err *e)
{
    struct redis_address address = {0};
    rc_t rc = redis_address_parse(url, &address, e);
    redis_address_done(&address);
    return rc;
}

static rc_t redis_open(const struct cache_config *cfg, void **ret_self, struct err *e)
{
    struct redis_address address;
    rc_t rc = redis_address_parse(cfg->url, &address, e);
    if (rc)
        return err_prefix(e, rc, "REDIS_URL: ");
    struct redis *r = mem_alloc(sizeof *r);
    r->address = address;
    *ret_self = r;
    return OK;
}

static void redis_close(void *self)
{
    struct redis *r = self;
    if (r->ctx)
        redisFree(r->ctx);
    for (size_t i = 0; i < r->n_listeners; i++)
        redis_listener_free(r->listeners[i]);
    redis_address_done(&r->address);
    mem_free(r);
}

const struct cache_ops cache_redis = {
    .name = "redis",
    .accepts = redis_accepts,
    .check = redis_check,
    .open = redis_open,
    .close = redis_close,
    .get = redis_get,
    .set = redis_set,
    .del = redis_del,
    .add = redis_add,
    .publish = redis_publish,
    .subscribe = redis_subscribe,
    .poll = redis_poll,
    .up = redis_up,
};
