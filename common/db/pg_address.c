/* Reading DATABASE_URL for PostgreSQL: what libpq would find wrong only when it connects is said at the start. No word repeats
 * the URL, which holds a password. */
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "db/pg.h"

/* Options with a fixed set of values. */
static const struct {
    const char *name, *values;
} choices[] = {
    {"sslmode", "disable allow prefer require verify-ca verify-full"},
    {"gssencmode", "disable prefer require"},
    {"channel_binding", "disable prefer require"},
    {"target_session_attrs", "any read-write read-only primary standby prefer-standby"},
    {"ssl_min_protocol_version", "TLSv1 TLSv1.1 TLSv1.2 TLSv1.3"},
    {"ssl_max_protocol_version", "TLSv1 TLSv1.1 TLSv1.2 TLSv1.3"},
};

static const char *value_of(const PQconninfoOption *options, const char *name)
{
    for (const PQconninfoOption *o = options; o->keyword; o++)
        if (strcmp(o->keyword, name) == 0 && o->val)
            return o->val;
    return "";
}

static bool is_listed(const char *list, const char *value)
{
    size_t n = strlen(value);
    for (const char *at = list; *at; at += strspn(at, " ")) {
        size_t len = strcspn(at, " ");
        if (len == n && memcmp(at, value, n) == 0)
            return true;
        at += len;
    }
    return false;
}

/* One for all hosts, or one each. */
static bool are_ports(const char *list)
{
    for (const char *at = list; *list;) {
        size_t n = strcspn(at, ",");
        int64_t port;
        if (n > 0 && num_i64_in((struct str){at, n}, 1, 65535, &port) != OK)
            return false;
        if (at[n] == '\0')
            break;
        at += n + 1;
    }
    return true;
}

static rc_t judge(const PQconninfoOption *options, struct err *e)
{
    for (const PQconninfoOption *o = options; o->keyword; o++)
        if (o->val && strlen(o->val) > PG_OPTION_MAX)
            return err_set(e, E_INVALID, "its option %s is longer than %d bytes", o->keyword, PG_OPTION_MAX);
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
        const char *value = value_of(options, choices[i].name);
        if (*value && !is_listed(choices[i].values, value))
            return err_set(e, E_INVALID, "its option %s is none of: %s", choices[i].name, choices[i].values);
    }
    if (!are_ports(value_of(options, "port")))
        return err_set(e, E_INVALID, "its port is not a number from 1 to 65535");
    const char *host = getenv("PGHOST"), *service = getenv("PGSERVICE");
    if (!*value_of(options, "host") && !*value_of(options, "hostaddr") && !*value_of(options, "service") &&
        !(host && *host) && !(service && *service))
        return err_set(e, E_INVALID,
                       "it names no host: postgresql://[USER@]HOST[:PORT]/DATABASE (a socket's folder: ?host=/FOLDER)");
    return OK;
}

rc_t pg_address_parse(const char *url, PQconninfoOption **ret, struct err *e)
{
    char *why = NULL;
    PQconninfoOption *options = PQconninfoParse(url, &why);
    PQfreemem(why); /* not shown: it quotes the URL */
    if (!options)
        return err_set(e, E_INVALID, "it is not a connection string that PostgreSQL's library can read");
    rc_t rc = judge(options, e);
    if (rc) {
        PQconninfoFree(options);
        return rc;
    }
    *ret = options;
    return OK;
}
