/* Owns the routes that say what a project's monitoring connects to. Each connection is made once before it is set: what is wrong is told
 * to who sets it, and not found by the services later. What servers say about it is for the log. */
#include "credentials.h"

#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "bus/bus.h"
#include "log/log.h"
#include "pipeline/connection.h"

#define TRY_US (5 * USEC_PER_SEC)

static rc_t refused(const struct profile *p, const char *field, const char *place, const struct err *why, struct err *e)
{
    log_warn("credentials_refused", LF_STR("profile", p->name), LF_STR("place", place), LF_ERR(why));
    return err_set(
        e, E_INVALID,
        "%s: at %.120s nobody lets profile %.60s in (tried for %d s; the api's log has the words of its server)", field,
        place, p->name, (int)(TRY_US / USEC_PER_SEC));
}

static rc_t try_kafka(struct call *c, const struct profile *p, const struct json *values, const char *field, struct err *e)
{
    static char name[] = "modelmon-api";
    struct bus_config cfg = {.client_id = name};
    struct str topic;
    char cluster[BUS_CLUSTER_MAX + 1];
    struct err why = {0};
    rc_t rc = connection_kafka(values, c->arena, &cfg, &topic, e);
    if (rc != OK)
        return err_prefix(e, rc, "%s: profile %s: ", field, p->name);
    return bus_ping(&cfg, TRY_US, cluster, &why) == OK ? OK : refused(p, field, cfg.brokers, &why, e);
}

static rc_t try_postgres(struct call *c, const struct profile *p, const struct json *values, const char *field,
                         struct err *e)
{
    struct db_config cfg = c->api->db;
    const char *url, *place;
    struct db *db = NULL;
    struct err why = {0};
    rc_t rc = connection_postgres(values, c->arena, &url, &place, e);
    if (rc != OK)
        return err_prefix(e, rc, "%s: profile %s: ", field, p->name);
    cfg.url = arena_dup(c->arena, url, strlen(url));
    cfg.connect_us = cfg.statement_us = TRY_US;
    rc = db_open(&db, &cfg, &why);
    if (rc == OK)
        rc = db_exec(db, "SELECT 1", NULL, 0, NULL, &why);
    db_free(db);
    return rc == OK ? OK : refused(p, field, place, &why, e);
}

/* To add a type that monitoring can use: its row. */
static const struct kind {
    const char *type, *field;
    rc_t (*try)(struct call *c, const struct profile *p, const struct json *values, const char *field, struct err *e);
    const char *use;
} kinds[] = {
    {"kafka_stream", "stream_profile_name", try_kafka,
     "events and results are read from it, windows of applications that run elsewhere are written to it; nothing has "
     "to be "
     "carried when it is the Kafka that modelmon runs on"},
    {"postgresql", "tsdb_profile_name",
     try_postgres, "it was connected to and is kept for clients; results are in modelmon's own database, which this API shows them from"},
};

rc_t credentials_try(struct call *c, const struct profile *p, struct str private_part, const char *field, struct err *e)
{
    CLEANUP(json_freep) struct json *values = NULL;
    const struct kind *k = NULL;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].type, p->type) == 0)
            k = &kinds[i];
    if (!k)
        return err_set(
            e, E_INVALID,
            "%s: profile %s is of type %.60s; monitoring connects to kafka_stream (stream) and postgresql (tsdb)",
            field, p->name, p->type);
    rc_t rc = connection_values(str_of(p->object), private_part, &values, e);
    return rc == OK ? k->try(c, p, values, field, e) : err_prefix(e, rc, "%s: ", field);
}

static rc_t try_stored(struct call *c, const struct project *p, const struct profile *profile, const char *field,
                       struct err *e)
{
    CLEANUP(buf_done) struct buf name = {0}, private_part = {0};
    profile_secret_name(p->name, str_of(profile->name), &name);
    rc_t rc = secret_get(c->db, c->api->seal, p->id, buf_str(&name), &private_part, e);
    if (rc == E_NOTFOUND || rc == E_INVALID)
        return err_set(e, E_INVALID, "%s: the private part of profile %s cannot be opened: is its key in SECRETS_KEY?",
                       field, profile->name);
    if (rc == OK)
        rc = credentials_try(c, profile, private_part.len ? buf_str(&private_part) : STR(""), field, e);
    if (private_part.data)
        explicit_bzero(private_part.data, private_part.cap);
    return rc;
}

/* The profile a query names, of the type that belongs there. */
static rc_t use(struct call *c, const struct project *p, const struct kind *k, struct str name, struct err *e)
{
    struct profile profile = {0};
    if (name.n == 0)
        return OK;
    rc_t rc = profile_get(c->db, p->id, name, &profile, e);
    if (rc == E_NOTFOUND)
        rc = err_set(e, rc, "%s: there is no datastore profile %.*s in project %s: register it first", k->field,
                     STR_FMT(name), p->name);
    else if (rc == OK && strcmp(profile.type, k->type) != 0)
        rc = err_set(e, E_INVALID, "%s: profile %s is of type %.60s; here %s is supported", k->field, profile.name,
                     profile.type, k->type);
    if (rc == OK)
        rc = try_stored(c, p, &profile, k->field, e);
    profile_done(&profile);
    return rc;
}

/* What is not named stays as it was. The same once more is the same. */
static rc_t combine(const struct project *p, const struct credentials *old, bool replace, struct credentials *inout,
                    struct err *e)
{
    char **fields[] = {&inout->stream, &inout->tsdb};
    const char *before[] = {old->stream, old->tsdb};
    for (size_t i = 0; i < 2; i++) {
        const char *was = before[i] ? before[i] : "";
        if (!**fields[i]) {
            mem_free(*fields[i]);
            *fields[i] = mem_dupz(was);
        }
        if (*was && strcmp(was, *fields[i]) != 0 && !replace)
            return err_set(e, E_CONFLICT, "project %s has other credentials: replace_creds=True replaces them", p->name);
    }
    return OK;
}

static rc_t read_old(struct call *c, const struct project *p, struct credentials *ret, struct err *e)
{
    rc_t rc = credentials_get(c->db, p->id, ret, e);
    return rc == E_NOTFOUND ? OK : rc;
}

/* MLRun's clients read none of it; people do. */
static void answer_use(struct call *c, const struct credentials *now)
{
    CLEANUP(json_freep) struct json *j = json_new_object();
    const char *const names[] = {now->stream, now->tsdb};
    for (size_t i = 0; i < 2; i++) {
        struct json *part = json_set_object(j, kinds[i].field);
        json_set_strz(part, "name", names[i]);
        json_set_strz(part, "use", !*names[i] ? "none: it is not named" : kinds[i].use);
    }
    buf_clear(&c->out);
    json_print(j, JSON_NAN_TOKEN, &c->out);
}

static struct credentials named(const struct project *p, struct str stream, struct str tsdb)
{
    return (struct credentials){.project_id = p->id,
                                .stream = mem_dup(stream.n ? stream.p : "", stream.n),
                                .tsdb = mem_dup(tsdb.n ? tsdb.p : "", tsdb.n)};
}

static rc_t set_named(struct call *c, const struct project *p, struct err *e)
{
    struct str names[2];
    bool replace = call_bool(c, "replace_creds", false);
    struct credentials old = {0}, new = {0};
    for (size_t i = 0; i < 2; i++)
        names[i] = call_str(c, kinds[i].field);
    if (names[0].n + names[1].n == 0)
        return err_set(e, E_INVALID, "stream_profile_name, tsdb_profile_name: the names of datastore profiles are wanted");
    rc_t rc = read_old(c, p, &old, e);
    new = named(p, names[0], names[1]);
    if (rc == OK)
        rc = combine(p, &old, replace, &new, e);
    for (size_t i = 0; rc == OK && i < 2; i++)
        rc = use(c, p, &kinds[i], names[i], e);
    if (rc == OK)
        rc = credentials_put(c->db, &new, e);
    if (rc == OK)
        answer_use(c, &new);
    credentials_done(&old);
    credentials_done(&new);
    return rc;
}

rc_t put_credentials(struct call *c, struct err *e)
{
    struct project p = {0};
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        rc = set_named(c, &p, e);
    project_done(&p);
    return rc;
}

/* ---- as 1.7 says it ---- */
static rc_t try_text(struct call *c, const struct connection_text *t, const char *field, struct err *e)
{
    return t->profile.name ? credentials_try(c, &t->profile, buf_str(&t->private_part), field, e) : OK;
}

static rc_t keep_text(struct call *c, const struct project *p, const struct connection_text *t, struct err *e)
{
    CLEANUP(buf_done) struct buf name = {0};
    if (!t->profile.name)
        return OK;
    profile_secret_name(p->name, str_of(t->profile.name), &name);
    rc_t rc = profile_put(c->db, p->id, &t->profile, e);
    if (rc == OK && (t->private_part.len || *seal_key_id(c->api->seal)))
        rc = secret_put(c->db, c->api->seal, p->id, buf_str(&name),
                        t->private_part.len ? buf_str(&t->private_part) : STR("{}"), e);
    return rc == E_NOTFOUND ? err_set(e, E_INVALID, "this server keeps no secrets: it was started without SECRETS_KEY")
                            : rc;
}

static struct str name_of(const struct connection_text *t)
{
    return str_of(t->as_is ? t->as_is : t->profile.name);
}

static rc_t set_texts(struct call *c, const struct project *p, const struct connection_text *stream,
                      const struct connection_text *store, bool replace, struct err *e)
{
    struct credentials old = {0}, new = named(p, name_of(stream), name_of(store));
    rc_t rc = read_old(c, p, &old, e);
    if (rc == OK)
        rc = combine(p, &old, replace, &new, e);
    if (rc == OK)
        rc = try_text(c, stream, "stream_path", e);
    if (rc == OK)
        rc = try_text(c, store, "tsdb_connection", e);
    if (rc == OK)
        rc = db_begin(c->db, e);
    if (rc == OK) {
        rc = keep_text(c, p, stream, e);
        if (rc == OK)
            rc = keep_text(c, p, store, e);
        rc = call_commit(c, rc == OK ? credentials_put(c->db, &new, e) : rc, e);
    }
    if (rc == OK)
        answer_use(c, &new);
    credentials_done(&old);
    credentials_done(&new);
    return rc;
}

rc_t post_credentials(struct call *c, struct err *e)
{
    struct project p = {0};
    struct connection_text stream = {0}, store = {0}, endpoints = {0};
    struct str stream_path = call_str(c, "stream_path"), tsdb = call_str(c, "tsdb_connection");
    struct str records = call_str(c, "endpoint_store_connection");
    bool replace = call_bool(c, "replace_creds", false);
    rc_t rc = call_project(c, &p, e);
    if (rc == OK && stream_path.n + tsdb.n + records.n == 0)
        rc = err_set(e, E_INVALID, "stream_path, tsdb_connection, endpoint_store_connection: one of them is wanted");
    if (rc == OK)
        rc = connection_text_stream(c, stream_path, &stream, e);
    if (rc == OK)
        rc = connection_text_store(c, tsdb, "tsdb_connection", &store, e);
    if (rc == OK)
        rc = connection_text_store(c, records, "endpoint_store_connection", &endpoints, e);
    if (rc == OK) /* records and results are in one place here */
        rc = set_texts(c, &p, &stream, tsdb.n ? &store : &endpoints, replace, e);
    connection_text_done(&stream);
    connection_text_done(&store);
    connection_text_done(&endpoints);
    project_done(&p);
    return rc;
}
