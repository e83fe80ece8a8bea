/* Reading KAFKA_BROKERS: an address that can never work is told at the start. */
#include <string.h>
#include <strings.h>
#include "base/num.h"
#include "bus/bus_ops.h"

static const char *const protocols[] = {"plaintext://", "ssl://", "sasl_plaintext://", "sasl_ssl://"};

/* Without its protocol. */
static struct str place_of(struct str broker)
{
    for (size_t i = 0; i < sizeof protocols / sizeof *protocols; i++) {
        size_t n = strlen(protocols[i]);
        if (broker.n >= n && strncasecmp(broker.p, protocols[i], n) == 0)
            return (struct str){broker.p + n, broker.n - n};
    }
    return broker;
}

/* host, host:port, [v6] or [v6]:port */
static const char *fault_of(struct str place)
{
    int64_t port;
    const char *from = place.n && *place.p == '[' ? memchr(place.p, ']', place.n) : place.p;
    if (from == NULL)
        return "its '[' has no ']'";
    size_t skipped = (size_t)(from - place.p);
    const char *colon = place.n ? memchr(from, ':', place.n - skipped) : NULL;
    size_t host = colon ? (size_t)(colon - place.p) : place.n;
    if (host == 0 || (skipped && host < 3))
        return "it has no host";
    if (memchr(place.p, '/', place.n))
        return "host:port is wanted, or host:port behind plaintext://, ssl://, sasl_plaintext:// or sasl_ssl://";
    if (colon && num_i64_in((struct str){colon + 1, place.n - host - 1}, 1, 65535, &port) != OK)
        return "its port is not a number from 1 to 65535";
    return NULL;
}

bool bus_is_local(const char *brokers)
{
    return brokers && strncmp(brokers, "local:", 6) == 0;
}

rc_t bus_check_brokers(const char *text, struct err *e)
{
    if (bus_is_local(text))
        return text[6] == '/' ? OK : err_set(e, E_INVALID, "the local bus wants local:/path/of/a/folder");
    for (const char *at = text;;) {
        at += strspn(at, " ");
        size_t n = strcspn(at, ",");
        struct str broker = {at, n};
        while (broker.n && broker.p[broker.n - 1] == ' ')
            broker.n--;
        const char *words = fault_of(place_of(broker));
        if (words)
            return err_set(e, E_INVALID, "\"%.*s\": %s", (int)(broker.n > 60 ? 60 : broker.n), broker.p, words);
        if (at[n] == '\0')
            return OK;
        at += n + 1;
    }
}
