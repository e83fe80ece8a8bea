/* Reads datastore profiles. A value is base64 of what Python prints, "None" where there is none. */
#include "pipeline/connection.h"

#include <string.h>
#include "base/base64.h"
#include "base/num.h"
#include "base/text.h"
#include "json/literal.h"

static rc_t add_value(struct json *values, const struct json *member, const char *part, struct err *e)
{
    CLEANUP(buf_done) struct buf text = {0};
    struct str coded;
    rc_t rc = json_str(member, &coded, e);
    if (rc == OK && (base64_read(coded, &text) || !text_is_utf8(buf_str(&text)) ||
                     memchr(text.data ? text.data : "", '\0', text.len)))
        rc = err_set(e, E_INVALID, "%.64s: base64 of a text is wanted", json_key(member));
    if (rc)
        return err_prefix(e, rc, "%s.", part);
    if (!str_eqz(buf_str(&text), "None"))
        json_set_str(values, json_key(member), text.len ? buf_str(&text) : STR(""));
    return OK;
}

static rc_t add_part(struct json *values, struct str part, const char *name, struct err *e)
{
    CLEANUP(json_freep) struct json *j = NULL;
    if (part.n == 0)
        return OK;
    rc_t rc = json_parse(&j, part.p, part.n, NULL, e);
    if (rc == OK && json_type(j) != JSON_OBJECT)
        rc = err_set(e, E_INVALID, "a JSON object is wanted");
    if (rc)
        return err_prefix(e, rc, "%s: ", name);
    for (const struct json *m = json_first(j); rc == OK && m; m = json_next(m))
        rc = add_value(values, m, name, e);
    return rc;
}

rc_t connection_values(struct str object, struct str private_part, struct json **ret, struct err *e)
{
    struct json *values = json_new_object();
    rc_t rc = add_part(values, object, "object", e);
    if (rc == OK)
        rc = add_part(values, private_part, "private", e);
    if (rc == OK)
        *ret = values;
    else
        json_free(values);
    return rc;
}

/* Empty: there is none. */
static struct str text_of(const struct json *values, const char *key)
{
    struct err ignored = {0};
    struct str s = {0};
    return json_opt_str(values, key, &s, &ignored) == OK ? s : (struct str){0};
}

/* ---- Kafka ---- */

#define TOPIC_COUNT_MAX 1000 /* partitions, replicas */

/* "a", or "['a', 'b']": its texts with commas between them. */
static rc_t join(const struct json *values, const char *key, struct buf *out, struct err *e)
{
    CLEANUP(json_freep) struct json *list = NULL;
    struct str text = text_of(values, key), one;
    rc_t rc = OK;
    if (text.n == 0 || text.p[0] != '[' || json_parse_literal(&list, text.p, text.n, e) != OK) {
        buf_add(out, text.p, text.n); /* [::1]:9092 is no list either */
        return OK;
    }
    for (const struct json *i = json_first(list); rc == OK && i; i = json_next(i)) {
        rc = json_str(i, &one, e);
        if (rc == OK && out->len)
            buf_addc(out, ',');
        if (rc == OK)
            buf_add(out, one.p, one.n);
    }
    return rc ? err_prefix(e, rc, "%s", key) : OK;
}

/* kwargs_public and kwargs_private; empty objects where there are none. */
struct more {
    struct json *parts[2];
};

static rc_t read_more(const struct json *values, struct more *ret, struct err *e)
{
    static const char *const keys[] = {"kwargs_public", "kwargs_private"};
    for (size_t i = 0; i < 2; i++) {
        struct str text = text_of(values, keys[i]);
        if (text.n &&
            (json_parse_literal(&ret->parts[i], text.p, text.n, e) != OK || json_type(ret->parts[i]) != JSON_OBJECT))
            return err_set(e, E_INVALID, "%s: a dict of texts, numbers, lists and dicts is wanted", keys[i]);
    }
    return OK;
}

/* {"outer": {"key": v}}, or {"key": v} with outer NULL; the private part before the public one. */
static const struct json *find(const struct more *m, const char *outer, const char *key)
{
    const struct json *found = NULL;
    for (size_t i = 2; i-- > 0 && !found;)
        found = json_get(outer ? json_get(m->parts[i], outer) : m->parts[i], key);
    return found;
}

static struct str find_text(const struct more *m, const char *outer, const char *key)
{
    struct err ignored = {0};
    struct str s = {0};
    const struct json *found = find(m, outer, key);
    return found && json_str(found, &s, &ignored) == OK ? s : (struct str){0};
}

static bool find_true(const struct more *m, const char *outer, const char *key)
{
    struct err ignored = {0};
    bool v = false;
    const struct json *found = find(m, outer, key);
    return found && json_bool(found, &v, &ignored) == OK && v;
}

/* As new topics are to be, where it is said. */
static void read_count(const struct more *m, const char *key, int64_t *inout)
{
    struct err ignored = {0};
    int64_t v = 0;
    const struct json *found = find(m, "new_topic", key);
    if (found && json_i64(found, &v, &ignored) == OK && v > 0 && v <= TOPIC_COUNT_MAX)
        *inout = v;
}

static void add_option(struct buf *out, const char *name, struct str value)
{
    buf_addf(out, "%s%s=", out->len ? ";" : "", name);
    for (size_t i = 0; i < value.n; i++)
        buf_addf(out, "%s%c", value.p[i] == ';' ? "\\" : "", value.p[i]);
}

/* MLRun's defaults: SASL is PLAIN without TLS. */
static void add_security(const struct json *values, const struct more *m, struct buf *out)
{
    struct str user = text_of(values, "sasl_user"), password = text_of(values, "sasl_pass");
    struct str mechanism = find_text(m, NULL, "sasl_mechanism"), protocol = find_text(m, NULL, "security_protocol");
    bool tls = find_true(m, "tls", "enable") || find_true(m, NULL, "tls_enable");
    user = user.n ? user : find_text(m, NULL, "sasl_plain_username");
    user = user.n ? user : find_text(m, "sasl", "user");
    password = password.n ? password : find_text(m, NULL, "sasl_plain_password");
    password = password.n ? password : find_text(m, "sasl", "password");
    mechanism = mechanism.n ? mechanism : find_text(m, "sasl", "mechanism");
    if (!protocol.n)
        protocol = user.n ? (tls ? STR("SASL_SSL") : STR("SASL_PLAINTEXT")) : (tls ? STR("SSL") : STR("PLAINTEXT"));
    add_option(out, "security.protocol", protocol);
    if (find_true(m, "tls", "insecureSkipVerify"))
        add_option(out, "enable.ssl.certificate.verification", STR("false"));
    if (!user.n)
        return;
    add_option(out, "sasl.mechanism", mechanism.n ? mechanism : STR("PLAIN"));
    add_option(out, "sasl.username", user);
    add_option(out, "sasl.password", password);
}

rc_t connection_kafka(const struct json *values, struct arena *a, struct bus_config *ret, struct str *ret_topic,
                      struct err *e)
{
    CLEANUP(buf_done) struct buf brokers = {0}, topics = {0}, extra = {0};
    struct more m = {0};
    rc_t rc = join(values, "brokers", &brokers, e);
    if (rc == OK && (brokers.len == 0 || bus_is_local(brokers.data)))
        rc = err_set(e, E_INVALID, "brokers: host:port is wanted, or a list of them");
    if (rc == OK && (rc = bus_check_brokers(brokers.data, e)) != OK)
        rc = err_prefix(e, rc, "brokers: ");
    if (rc == OK)
        rc = join(values, "topics", &topics, e);
    if (rc == OK)
        rc = read_more(values, &m, e);
    if (rc == OK) {
        add_security(values, &m, &extra);
        ret->kind = 0;
        ret->brokers = arena_dup(a, brokers.data, brokers.len);
        ret->extra = arena_dup(a, extra.data, extra.len);
        read_count(&m, "num_partitions", &ret->partitions);
        read_count(&m, "replication_factor", &ret->replication);
        *ret_topic = arena_str(a, (struct str){topics.data, topics.data ? strcspn(topics.data, ",") : 0});
    }
    if (extra.data)
        explicit_bzero(extra.data, extra.cap);
    json_free(m.parts[0]);
    json_free(m.parts[1]);
    return rc;
}

/* ---- PostgreSQL ---- */

#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._"

static void add_encoded(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        buf_addf(out, strchr(LETTERS, s.p[i]) ? "%c" : "%%%02X", (unsigned char)s.p[i]);
}

rc_t connection_postgres(const struct json *values, struct arena *a, const char **ret_url, const char **ret_place,
                         struct err *e)
{
    static const char *const wanted[] = {"user", "host", "port"};
    CLEANUP(buf_done) struct buf url = {0};
    struct str user = text_of(values, "user"), host = text_of(values, "host"), database = text_of(values, "database");
    struct str password = text_of(values, "password");
    int64_t port = 0;
    for (size_t i = 0; i < 3; i++)
        if (text_of(values, wanted[i]).n == 0)
            return err_set(e, E_INVALID, "%s: it is wanted", wanted[i]);
    if (num_i64_in(text_of(values, "port"), 1, 65535, &port) != OK)
        return err_set(e, E_INVALID, "port: a number from 1 to 65535 is wanted");
    if (strspn(host.p, LETTERS ":") != host.n)
        return err_set(e, E_INVALID, "host: the name or address of one server is wanted");
    bool v6 = memchr(host.p, ':', host.n) != NULL;
    buf_addz(&url, "postgresql://");
    add_encoded(&url, user);
    if (password.n) {
        buf_addc(&url, ':');
        add_encoded(&url, password);
    }
    buf_addf(&url, v6 ? "@[%.*s]:%d/" : "@%.*s:%d/", STR_FMT(host), (int)port);
    add_encoded(&url, database.n ? database : STR("postgres"));
    *ret_url = arena_dup(a, url.data, url.len);
    *ret_place = arena_printf(a, "%.*s:%d", STR_FMT(host), (int)port);
    explicit_bzero(url.data, url.cap);
    return OK;
}
