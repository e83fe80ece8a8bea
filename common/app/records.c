/* Endpoint records through the cache: keys, what is known of changes, a record's form in the cache. */
#include "app/records.h"

#include <pthread.h>
#include <stdio.h>
#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "json/doc.h"
#include "json/write.h"

#define CHANNEL "endpoints"
#define FORMAT 1 /* of a record in the cache: another one is not there */
#define TEXT_MAX_BYTES (256u << 10)
#define KEY_MAX 192
#define NOTES 4096

/* Of all keys that share a place: what they share costs a read of the database, no more. */
struct note {
    int64_t seq, until_us;
};

struct records {
    pthread_mutex_t lock;
    struct note notes[NOTES];
    int64_t ttl_us, distrust_until_us;
    int64_t identity; /* of the database; 0: not asked yet */
};

struct records *records_new(int64_t ttl_us)
{
    struct records *r = mem_alloc(sizeof *r);
    r->ttl_us = ttl_us;
    pthread_mutex_init(&r->lock, NULL);
    r->distrust_until_us = INT64_MAX;
    return r;
}

void records_free(struct records *r)
{
    if (!r)
        return;
    pthread_mutex_destroy(&r->lock);
    mem_free(r);
}

/* ---- keys ---- */
static int64_t identity_of(struct records *r, struct db *db)
{
    struct err ignored;
    int64_t id = 0;
    pthread_mutex_lock(&r->lock);
    id = r->identity;
    pthread_mutex_unlock(&r->lock);
    if (id || db_identity(db, &id, &ignored) != OK)
        return id;
    pthread_mutex_lock(&r->lock);
    r->identity = id;
    pthread_mutex_unlock(&r->lock);
    return id;
}

struct keys {
    char text[KEY_MAX];
    struct str project, record; /* what the record's key begins with; all of it */
};

/* False: no key can be made, so nothing is cached. */
static bool keys_of(struct keys *k, struct records *r, struct db *db, int32_t project_id, struct str uid)
{
    int64_t identity = identity_of(r, db);
    int project = snprintf(k->text, sizeof k->text, "endpoint:%lld:%d", (long long)identity, project_id);
    size_t room = sizeof k->text - (size_t)project;
    if (!identity || uid.n + 1 >= room)
        return false;
    int more = uid.n ? snprintf(k->text + project, room, ":%.*s", STR_FMT(uid)) : 0;
    k->project = (struct str){k->text, (size_t)project};
    k->record = (struct str){k->text, (size_t)(project + more)};
    return true;
}

/* ---- what is known of changes ---- */
static void note(struct records *r, struct str key, int64_t seq)
{
    int64_t now = clock_mono_us();
    struct note *n = &r->notes[hash_bytes(key.p, key.n) % NOTES];
    pthread_mutex_lock(&r->lock);
    if (n->until_us < now || n->seq < seq)
        n->seq = seq;
    n->until_us = now + 2 * r->ttl_us;
    pthread_mutex_unlock(&r->lock);
}

static int64_t noted(const struct records *r, struct str key, int64_t now)
{
    const struct note *n = &r->notes[hash_bytes(key.p, key.n) % NOTES];
    return n->until_us < now ? 0 : n->seq;
}

/* The least change_seq that a record in the cache must have. *ret_distrusted: none there is good enough. */
static int64_t floor_of(struct records *r, const struct keys *k, bool *ret_distrusted)
{
    int64_t now = clock_mono_us();
    pthread_mutex_lock(&r->lock);
    int64_t of_project = noted(r, k->project, now), of_record = noted(r, k->record, now);
    *ret_distrusted = now < r->distrust_until_us;
    pthread_mutex_unlock(&r->lock);
    return of_project > of_record ? of_project : of_record;
}

void records_distrust(struct records *r)
{
    int64_t until = clock_mono_us() + r->ttl_us;
    pthread_mutex_lock(&r->lock);
    r->distrust_until_us = until;
    pthread_mutex_unlock(&r->lock);
}

static void heard(void *arg, struct str message)
{
    struct records *r = arg;
    if (message.n)
        note(r, message, RECORDS_SEQ_ANY);
    else
        records_distrust(r);
}

rc_t records_listen(struct records *r, struct cache *cache, struct err *e)
{
    return cache_subscribe(cache, CHANNEL, heard, r, e);
}

void records_note(struct records *r, struct db *db, int32_t project_id, struct str uid, int64_t change_seq)
{
    struct keys k;
    if (keys_of(&k, r, db, project_id, uid))
        note(r, k.record, change_seq);
    else
        records_distrust(r);
}

/* First here: who asks this process next gets the change, whatever becomes of the rest. */
void records_changed(struct records *r, struct db *db, struct cache *cache, int32_t project_id, struct str uid)
{
    struct keys k;
    if (!r || !cache || !cache_exists(cache))
        return;
    records_note(r, db, project_id, uid, RECORDS_SEQ_ANY);
    if (!keys_of(&k, r, db, project_id, uid))
        return;
    if (uid.n)
        cache_del(cache, k.record);
    cache_publish(cache, CHANNEL, k.record);
}

/* ---- a record in the cache: an array of its format and its fields in this order ---- */
enum kind { TEXT, INT, LONG, REAL, FLAG };
struct field {
    enum kind kind;
    size_t at;
};
#define FIELD(kind, name)                                                                                              \
    {                                                                                                                  \
        kind, offsetof(struct endpoint, name)                                                                          \
    }
static const struct field fields[] = {
    FIELD(LONG, id),
    FIELD(INT, project_id),
    FIELD(TEXT, uid),
    FIELD(TEXT, name),
    FIELD(TEXT, function_name),
    FIELD(TEXT, function_tag),
    FIELD(TEXT, function_uri),
    FIELD(TEXT, model_name),
    FIELD(TEXT, model_class),
    FIELD(TEXT, model_uri),
    FIELD(TEXT, monitoring_mode),
    FIELD(TEXT, labels),
    FIELD(TEXT, document),
    FIELD(INT, endpoint_type),
    FIELD(INT, mode),
    FIELD(REAL, sampling_percentage),
    FIELD(FLAG, self_registered),
    FIELD(FLAG, latest),
    FIELD(LONG, first_request_us),
    FIELD(LONG, last_request_us),
    FIELD(INT, schema_version),
    FIELD(INT, reference_version),
    FIELD(LONG, created_us),
    FIELD(LONG, updated_us),
    FIELD(LONG, change_seq),
};
#define N_FIELDS (sizeof fields / sizeof *fields)

static void encode(const struct endpoint *ep, struct buf *out)
{
    struct json_writer w;
    jw_init(&w, out, JSON_NAN_NULL);
    jw_array(&w);
    jw_i64(&w, FORMAT);
    for (size_t i = 0; i < N_FIELDS; i++) {
        const void *at = (const char *)ep + fields[i].at;
        switch (fields[i].kind) {
        case TEXT:
            jw_strz(&w, *(char *const *)at);
            break;
        case INT:
            jw_i64(&w, *(const int *)at);
            break;
        case LONG:
            jw_i64(&w, *(const int64_t *)at);
            break;
        case REAL:
            jw_f64(&w, *(const double *)at);
            break;
        case FLAG:
            jw_bool(&w, *(const bool *)at);
            break;
        }
    }
    jw_array_end(&w);
}

static rc_t decode_field(const struct json *j, enum kind kind, void *at, struct err *e)
{
    struct str text;
    int64_t n = 0;
    rc_t rc = OK;
    switch (kind) {
    case TEXT:
        rc = json_str(j, &text, e);
        if (!rc)
            *(char **)at = mem_dup(text.p, text.n);
        return rc;
    case INT:
        rc = json_i64(j, &n, e);
        if (!rc && (n < INT32_MIN || n > INT32_MAX))
            return E_INVALID;
        if (!rc)
            *(int *)at = (int)n;
        return rc;
    case LONG:
        return json_i64(j, at, e);
    case REAL:
        return json_f64(j, at, e);
    case FLAG:
        return json_bool(j, at, e);
    }
    return E_INVALID;
}

/* Anybody may have written what is in the cache: what is not ours, or of another record, is not there. */
static rc_t decode(struct str text, int32_t project_id, struct str uid, struct endpoint *ret)
{
    struct endpoint ep = {0};
    CLEANUP(json_freep) struct json *j = NULL;
    const struct json_limits limits = {.bytes = TEXT_MAX_BYTES, .values = N_FIELDS + 2, .string_bytes = TEXT_MAX_BYTES};
    struct err ignored;
    int64_t format = 0;
    rc_t rc = json_parse(&j, text.p, text.n, &limits, &ignored);
    if (!rc && (json_type(j) != JSON_ARRAY || json_len(j) != N_FIELDS + 1))
        rc = E_INVALID;
    const struct json *at = rc ? NULL : json_first(j);
    if (!rc)
        rc = json_i64(at, &format, &ignored);
    if (!rc && format != FORMAT)
        rc = E_INVALID;
    for (size_t i = 0; !rc && i < N_FIELDS; i++) {
        at = json_next(at);
        rc = decode_field(at, fields[i].kind, (char *)&ep + fields[i].at, &ignored);
    }
    if (!rc && (ep.project_id != project_id || !str_eqz(uid, ep.uid)))
        rc = E_INVALID;
    if (rc)
        endpoint_done(&ep);
    else
        *ret = ep;
    return rc;
}

/* ---- reading ---- */
static bool find(struct records *r, struct cache *cache, const struct keys *k, int32_t project_id, struct str uid,
                 struct endpoint *ret)
{
    CLEANUP(buf_done) struct buf text = {0};
    struct endpoint ep = {0};
    bool distrusted = false;
    int64_t floor = floor_of(r, k, &distrusted);
    if (distrusted || floor == RECORDS_SEQ_ANY || cache_get(cache, k->record, &text) != OK ||
        decode(buf_str(&text), project_id, uid, &ep) != OK)
        return false;
    if (ep.change_seq < floor) {
        endpoint_done(&ep);
        return false;
    }
    *ret = ep;
    return true;
}

/* A record without requests is not kept: its first request is a change that nobody is told of. Nor is one that was found by
 * another uid, whose key nobody would delete. */
static void keep(struct records *r, struct cache *cache, const struct keys *k, struct str uid, const struct endpoint *ep)
{
    CLEANUP(buf_done) struct buf text = {0};
    bool distrusted = false; /* what is there; this one is new */
    if (ep->first_request_us == 0 || !str_eqz(uid, ep->uid) || ep->change_seq < floor_of(r, k, &distrusted))
        return;
    encode(ep, &text);
    if (text.len <= TEXT_MAX_BYTES)
        cache_set_for(cache, k->record, buf_str(&text), r->ttl_us);
}

rc_t records_get(struct records *r, struct db *db, struct cache *cache, int32_t project_id, struct str uid,
                 struct endpoint *ret, struct err *e)
{
    struct keys k;
    bool cached = r && cache && cache_exists(cache) && uid.n && keys_of(&k, r, db, project_id, uid);
    if (cached && find(r, cache, &k, project_id, uid, ret))
        return OK;
    rc_t rc = endpoint_get(db, project_id, uid, ret, e);
    if (!rc && cached)
        keep(r, cache, &k, uid, ret);
    return rc;
}
