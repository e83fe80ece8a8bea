/* A subscription to Redis: a non-blocking connection that each poll moves on.
 *
 *   down ──(breaker allows)──▶ connecting ──(writable)──▶ asking ──("subscribe" came)──▶ listening
 *     ◀────────────── any error, or 5 s without an answer to a ping ───────────────────────┘ */
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cache/redis.h"

#define ANSWER_US (5 * USEC_PER_SEC) /* a listening connection that is silent so long is asked, then given up */

#define READS_A_POLL 64

enum state { DOWN, CONNECTING, ASKING, LISTENING };

struct redis_listener {
    const struct redis_address *address;
    char *channel;
    void (*fn)(void *arg, struct str message);
    void *arg;
    redisContext *ctx;
    enum state state;
    int64_t heard_us;
    bool pinged;
    struct redis_breaker breaker;
};

struct redis_listener *redis_listener_new(const struct redis_address *address, const char *channel,
                                          void (*fn)(void *arg, struct str message), void *arg)
{
    struct redis_listener *l = mem_alloc(sizeof *l);
    struct buf name = {0};
    buf_addf(&name, "%s%s", REDIS_PREFIX, channel);
    *l = (struct redis_listener){.address = address, .channel = buf_take(&name), .fn = fn, .arg = arg};
    return l;
}

void redis_listener_free(struct redis_listener *l)
{
    if (l->ctx)
        redisFree(l->ctx);
    mem_free(l->channel);
    mem_free(l);
}

bool redis_listener_up(const struct redis_listener *l)
{
    return l->breaker.backoff_us == 0;
}

static void drop(struct redis_listener *l)
{
    if (l->ctx)
        redisFree(l->ctx);
    l->ctx = NULL;
    l->state = DOWN;
    breaker_failed(&l->breaker);
}

static void append(redisContext *ctx, size_t argc, const struct str *argv)
{
    const char *texts[4];
    size_t lengths[4];
    for (size_t i = 0; i < argc; i++) {
        texts[i] = argv[i].p;
        lengths[i] = argv[i].n;
    }
    (void)redisAppendCommandArgv(ctx, (int)argc, texts, lengths); /* a failure is seen when it is written */
}

static void begin(struct redis_listener *l)
{
    if (!breaker_allows(&l->breaker))
        return;
    l->ctx = redisConnectNonBlock(l->address->host, l->address->port);
    if (!l->ctx || l->ctx->err) {
        drop(l);
        return;
    }
    l->state = CONNECTING;
    l->heard_us = clock_mono_us();
    l->pinged = false;
}

static int readiness(const struct redis_listener *l, short events)
{
    struct pollfd p = {.fd = l->ctx->fd, .events = events};
    return poll(&p, 1, 0) > 0 ? p.revents : 0;
}

static void ask(struct redis_listener *l)
{
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(l->ctx->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error) {
        drop(l);
        return;
    }
    const struct redis_address *a = l->address;
    if (a->password) {
        struct str argv[3] = {STR("AUTH"), str_of(a->user ? a->user : a->password), str_of(a->password)};
        append(l->ctx, a->user ? 3 : 2, argv);
    }
    append(l->ctx, 2, (struct str[]){STR("SUBSCRIBE"), str_of(l->channel)});
    l->state = ASKING;
}

/* True: the subscription has begun. What was said before it is lost, which the empty message tells. */
static bool hear(struct redis_listener *l, const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3 || reply->element[0]->type != REDIS_REPLY_STRING)
        return false;
    struct str what = {reply->element[0]->str, (size_t)reply->element[0]->len};
    const redisReply *body = reply->element[2];
    if (str_eqz(what, "message") && body->type == REDIS_REPLY_STRING) {
        l->fn(l->arg, (struct str){body->str, (size_t)body->len});
        return false;
    }
    if (!str_eqz(what, "subscribe"))
        return false;
    l->state = LISTENING;
    l->breaker = (struct redis_breaker){0};
    l->fn(l->arg, (struct str){"", 0});
    return true;
}

static bool read_replies(struct redis_listener *l)
{
    bool began = false;
    void *reply = NULL;
    while (l->ctx && redisGetReplyFromReader(l->ctx, &reply) == REDIS_OK && reply) {
        if (((redisReply *)reply)->type == REDIS_REPLY_ERROR)
            drop(l);
        else
            began = hear(l, reply) || began;
        freeReplyObject(reply);
        reply = NULL;
    }
    return began;
}

/* Silence is asked about once, and not suffered twice. */
static void check_silence(struct redis_listener *l)
{
    if (clock_mono_us() - l->heard_us < ANSWER_US)
        return;
    if (l->state != LISTENING || l->pinged) {
        drop(l);
        return;
    }
    append(l->ctx, 1, (struct str[]){STR("PING")});
    l->pinged = true;
    l->heard_us = clock_mono_us();
}

bool redis_listener_poll(struct redis_listener *l)
{
    bool began = false;
    int done = 0;
    if (l->state == DOWN)
        begin(l);
    if (l->state == CONNECTING && readiness(l, POLLOUT))
        ask(l);
    if (l->state == ASKING || l->state == LISTENING) {
        if (redisBufferWrite(l->ctx, &done) != REDIS_OK) {
            drop(l);
            return false;
        }
        for (int i = 0; i < READS_A_POLL && l->ctx && readiness(l, POLLIN); i++) {
            if (redisBufferRead(l->ctx) != REDIS_OK) {
                drop(l);
                return began;
            }
            l->heard_us = clock_mono_us();
            l->pinged = false;
            began = read_replies(l) || began;
        }
        if (l->ctx && l->ctx->err)
            drop(l);
    }
    if (l->ctx)
        check_silence(l);
    return began;
}
