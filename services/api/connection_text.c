/* Owns the connection strings of 1.7, which became datastore profiles in later versions: here they become ones at once. */
#include <string.h>
#include "base/base64.h"
#include "base/mem.h"
#include "base/text.h"
#include "credentials.h"

#define TEXT_MAX 2048
#define STREAM_NAME "model-monitoring-stream"
#define STORE_NAME "model-monitoring-tsdb"

void connection_text_done(struct connection_text *t)
{
    profile_done(&t->profile);
    if (t->private_part.data)
        explicit_bzero(t->private_part.data, t->private_part.cap);
    buf_done(&t->private_part);
    *t = (struct connection_text){0};
}

static void add(struct buf *out, const char *key, struct str value)
{
    buf_addf(out, "%s\"%s\":\"", out->len > 1 ? "," : "", key);
    base64_add(out, value.n ? value : STR("None"));
    buf_addc(out, '"');
}

static bool cut_scheme(struct str *s, const char *scheme)
{
    size_t n = strlen(scheme);
    if (s->n < n || memcmp(s->p, scheme, n) != 0)
        return false;
    *s = (struct str){s->p + n, s->n - n};
    return true;
}

rc_t connection_text_stream(struct call *c, struct str text, struct connection_text *ret, struct err *e)
{
    static const char *const nothing[] = {"partitions", "sasl_user", "sasl_pass", "kwargs_public", "kwargs_private"};
    struct buf object = {0};
    (void)c;
    if (text.n == 0)
        return OK;
    if (text.n > TEXT_MAX || !cut_scheme(&text, "kafka://") || memchr(text.p, '?', text.n))
        return err_set(e, E_INVALID,
                       "stream_path: kafka://HOST:PORT is supported, with commas between brokers, and no topic");
    buf_addc(&object, '{');
    add(&object, "type", STR("kafka_stream"));
    add(&object, "name", STR(STREAM_NAME));
    add(&object, "brokers", text);
    add(&object, "topics", STR("[]"));
    add(&object, "group", STR("serving"));
    add(&object, "initial_offset", STR("earliest"));
    for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++)
        add(&object, nothing[i], STR(""));
    buf_addc(&object, '}');
    ret->profile = (struct profile){mem_dupz(STREAM_NAME), mem_dupz("kafka_stream"), buf_take(&object)};
    return OK;
}

/* Up to the last or first `at`; the rest without it stays in *s. False: it is not there. */
static bool cut_at(struct str *s, char at, bool last, struct str *ret)
{
    const char *found = s->n == 0 ? NULL : last ? memrchr(s->p, at, s->n) : memchr(s->p, at, s->n);
    if (!found)
        return false;
    *ret = (struct str){s->p, (size_t)(found - s->p)};
    *s = (struct str){found + 1, s->n - ret->n - 1};
    return true;
}

static int digit(char c)
{
    const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c >= 'A' && c <= 'F' ? c + 32 : c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* %xx; what is none stays as it is. */
static struct str decode(struct call *c, struct str s)
{
    char *out = arena_dup(c->arena, s.p, s.n);
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        bool escape = s.p[i] == '%' && i + 2 < s.n && digit(s.p[i + 1]) >= 0 && digit(s.p[i + 2]) >= 0;
        out[n++] = escape ? (char)(digit(s.p[i + 1]) << 4 | digit(s.p[i + 2])) : s.p[i];
        i += escape ? 2 : 0;
    }
    out[n] = '\0';
    return (struct str){out, n};
}

/* Behind postgresql:// */
static bool read_postgres(struct call *c, struct str rest, struct connection_text *ret)
{
    struct str login = {0}, user, password = {0}, place, host, database;
    if (!cut_at(&rest, '@', true, &login) || memchr(rest.p, '?', rest.n))
        return false;
    if (!cut_at(&login, ':', false, &user))
        user = login;
    else
        password = login;
    if (!cut_at(&rest, '/', false, &place)) {
        place = rest;
        rest = (struct str){0};
    }
    database = rest.n ? rest : STR("postgres");
    if (!cut_at(&place, ':', true, &host)) {
        host = place;
        place = STR("5432");
    }
    if (user.n == 0 || host.n == 0)
        return false;
    struct buf object = {0};
    buf_addc(&object, '{');
    add(&object, "type", STR("postgresql"));
    add(&object, "name", STR(STORE_NAME));
    add(&object, "user", decode(c, user));
    add(&object, "host", host);
    add(&object, "port", place);
    add(&object, "database", decode(c, database));
    buf_addc(&object, '}');
    ret->profile = (struct profile){mem_dupz(STORE_NAME), mem_dupz("postgresql"), buf_take(&object)};
    if (password.n) {
        buf_addc(&ret->private_part, '{');
        add(&ret->private_part, "password", decode(c, password));
        buf_addc(&ret->private_part, '}');
    }
    return true;
}

rc_t connection_text_store(struct call *c, struct str text, const char *field, struct connection_text *ret, struct err *e)
{
    struct str rest = text;
    if (text.n == 0)
        return OK;
    if (text.n <= TEXT_MAX && cut_scheme(&rest, "sqlite:///")) {
        ret->as_is = arena_dup(c->arena, text.p, text.n);
        return OK;
    }
    if (text.n <= TEXT_MAX && cut_scheme(&rest, "postgresql://") && text_is_utf8(text) && read_postgres(c, rest, ret))
        return OK;
    return err_set(e, E_INVALID, "%s: postgresql://USER:PASSWORD@HOST:PORT/DATABASE and sqlite:///PATH are supported",
                   field);
}
