/* Endpoints in memory: loaded at first sight, read again when the database says they changed. */
#include <stdio.h>
#include "base/clock.h"
#include "base/crash.h"
#include "base/mem.h"
#include "db/project.h"
#include "json/doc.h"
#include "registry.h"
#include "shape.h"

#define SCHEMAS_MAX 64               /* versions of one endpoint that its senders may cause */
#define SETTLE_US (3 * USEC_PER_SEC) /* a change is committed so soon after its number was drawn */

struct registry {
    struct stream *st;
    struct cache *cache;
    bool with_references;
    struct map known;   /* project id and uid → struct known */
    struct map columns; /* of all shapes */
    struct project_info **projects;
    size_t n_projects;
    int64_t change_seq, last_seq;
    int64_t settled_mono_us; /* until then deletions are looked for */
    size_t n_named;          /* known by another uid than the record's: events brought a name alone */
    struct known *gone;      /* deleted endpoints: what was accumulated for them may still point here */
    struct arena scratch;    /* of one resolve */
};

struct registry *registry_new(struct stream *st, struct cache *cache, bool with_references)
{
    struct registry *r = mem_alloc(sizeof *r);
    r->st = st;
    r->cache = cache;
    r->with_references = with_references;
    return r;
}

static void known_free(struct known *k)
{
    for (struct shape *s = k->shapes; s;) {
        struct shape *next = s->next;
        mem_free(s);
        s = next;
    }
    endpoint_done(&k->ep);
    mem_free(k);
}

void registry_let_go(struct registry *r)
{
    while (r->gone) {
        struct known *k = r->gone;
        r->gone = k->next_gone;
        known_free(k);
    }
}

void registry_free(struct registry *r)
{
    if (!r)
        return;
    struct map_iter it = {0};
    while (map_next(&r->known, &it))
        known_free(it.value);
    map_done(&r->known);
    registry_let_go(r);
    for (size_t i = 0; i < r->n_projects; i++) {
        mem_free(r->projects[i]->name);
        mem_free(r->projects[i]);
    }
    mem_free(r->projects);
    columns_done(&r->columns);
    arena_done(&r->scratch);
    mem_free(r);
}

static struct project_info *project_info(struct registry *r, int32_t id)
{
    for (size_t i = 0; i < r->n_projects; i++)
        if (r->projects[i]->id == id)
            return r->projects[i];
    return NULL;
}

static struct str key_of(char out[4 + NAME_UID_MAX], int32_t project_id, struct str uid)
{
    memcpy(out, &project_id, 4);
    memcpy(out + 4, uid.p, uid.n);
    return (struct str){out, uid.n + 4};
}

static void projects_follow(struct registry *r)
{
    struct projects *p = &r->st->projects;
    (void)pthread_rwlock_rdlock(&p->lock);
    for (size_t i = 0; i < p->n; i++) {
        struct project_info *info = project_info(r, p->list[i].id);
        if (!info) {
            info = mem_alloc(sizeof *info);
            info->id = p->list[i].id;
            info->name = mem_dupz(p->list[i].name);
            r->projects = mem_grow(r->projects, r->n_projects + 1, sizeof *r->projects);
            r->projects[r->n_projects++] = info;
        }
        info->base_period_us = p->list[i].base_period_us;
        info->slot_us = info->base_period_us < 60 * USEC_PER_SEC ? info->base_period_us : 60 * USEC_PER_SEC;
    }
    (void)pthread_rwlock_unlock(&p->lock);
}

static void retire(struct registry *r, struct known *k, struct str key)
{
    (void)map_del(&r->known, key);
    k->next_gone = r->gone;
    r->gone = k;
}

static void forget(struct registry *r, int64_t id)
{
    struct map_iter it = {0};
    while (map_next(&r->known, &it)) {
        struct known *k = it.value;
        char room[4 + NAME_UID_MAX];
        if (k->ep.id != id)
            continue;
        memcpy(room, it.key.p, it.key.n);
        retire(r, k, (struct str){room, it.key.n});
        return;
    }
}

/* A deleted endpoint that is sent to starts anew. Nothing is asked while nothing changes. */
static rc_t look_for_gone(struct registry *r, struct db *db, struct err *e)
{
    int64_t seq = 0, *gone = NULL;
    size_t n = 0, n_gone = 0;
    rc_t rc = change_seq_last(db, &seq, e);
    if (rc)
        return rc;
    if (seq != r->last_seq)
        r->settled_mono_us = clock_mono_us() + SETTLE_US;
    r->last_seq = seq;
    if (r->known.len == 0 || clock_mono_us() > r->settled_mono_us)
        return OK;
    int64_t *ids = mem_array(r->known.len, sizeof *ids);
    struct map_iter it = {0};
    while (map_next(&r->known, &it))
        if (((struct known *)it.value)->ep.id)
            ids[n++] = ((struct known *)it.value)->ep.id;
    rc = endpoints_gone(db, ids, n, &gone, &n_gone, e);
    for (size_t i = 0; rc == OK && i < n_gone; i++)
        forget(r, gone[i]);
    mem_free(gone);
    mem_free(ids);
    return rc;
}

/* A record that a name led to has changed: the name may mean another now. */
static void named_look_again(struct registry *r, int64_t id)
{
    struct map_iter it = {0};
    while (map_next(&r->known, &it)) {
        struct known *k = it.value;
        k->stale = k->stale || (k->by_name && k->ep.id == id);
    }
}

rc_t registry_refresh(struct registry *r, struct db *db, struct err *e)
{
    projects_follow(r);
    struct endpoint *changed = NULL;
    size_t n = 0;
    rc_t rc = endpoints_changed(db, &r->change_seq, &changed, &n, e);
    for (size_t i = 0; rc == OK && i < n; i++) {
        char room[4 + NAME_UID_MAX];
        struct known *k = map_get(&r->known, key_of(room, changed[i].project_id, str_of(changed[i].uid)));
        if (k && k->ep.change_seq != changed[i].change_seq)
            k->stale = true;
        if (r->n_named)
            named_look_again(r, changed[i].id);
    }
    endpoints_free(changed, n);
    return rc ? rc : look_for_gone(r, db, e);
}

static rc_t register_new(struct registry *r, struct db *db, int32_t project_id, const struct inference_event *ev,
                         struct endpoint *ret, struct reject *why, struct err *e)
{
    if (!r->st->options.auto_register)
        return reject_set(why, REJECT_UNKNOWN_ENDPOINT, "endpoint_id", 0, "no endpoint has this uid in the project");
    struct arena *a = &r->scratch;
    struct str name = ev->model.n ? ev->model : ev->uid;
    struct endpoint in = {.project_id = project_id,
                          .uid = arena_dup(a, ev->uid.p, ev->uid.n),
                          .name = arena_dup(a, name.p, name.n),
                          .function_name = arena_dup(a, ev->function.function.p, ev->function.function.n),
                          .function_tag = ev->function.tag.n ? arena_dup(a, ev->function.tag.p, ev->function.tag.n)
                                                             : arena_dup(a, "latest", 6),
                          .function_uri = arena_dup(a, ev->function_uri.p, ev->function_uri.n),
                          .model_name = arena_dup(a, ev->model.p, ev->model.n),
                          .model_uri = arena_dup(a, "", 0),
                          .model_class = arena_dup(a, ev->model_class.p, ev->model_class.n),
                          .endpoint_type = 1,
                          .monitoring_mode = arena_dup(a, "enabled", 7),
                          .labels = arena_dup(a, "{}", 2),
                          .document = arena_dup(a, "{}", 2),
                          .sampling_percentage = ev->sampling_percentage,
                          .self_registered = true,
                          .latest = true};
    const char *alias = ev->uid_alias.n ? arena_dup(a, ev->uid_alias.p, ev->uid_alias.n) : NULL;
    bool created;
    rc_t rc = endpoint_register(db, &in, alias, r->st->options.max_endpoints, ret, &created, e);
    CRASH_POINT(endpoint_register);
    if (rc == E_CONFLICT) /* nothing else that it refers to */
        return err_prefix(e, E_NOTFOUND, "the project was deleted: ");
    if (rc == E_LIMIT)
        return reject_set(why, REJECT_TOO_MANY_ENDPOINTS, "endpoint_id", 0,
                          "the project has as many self-registered endpoints as it may (ENDPOINTS_MAX)");
    return rc;
}

static rc_t shape_of(struct registry *r, struct db *db, struct known *k, const struct endpoint_schema *row,
                     struct shape **ret, struct err *e)
{
    return shape_get(k, &(struct shape_source){db, r->cache, &r->columns, r->with_references}, row, ret, e);
}

/* The newest schema against the newest reference. */
static rc_t adopt_shape(struct registry *r, struct db *db, struct known *k, struct err *e)
{
    struct endpoint_schema row = {0};
    k->shape = NULL;
    k->complete = false;
    rc_t rc = schema_get(db, k->ep.id, 0, 0, &row, e);
    if (rc == E_NOTFOUND)
        return OK;
    if (rc == OK)
        rc = shape_of(r, db, k, &row, &k->shape, e);
    endpoint_schema_done(&row);
    return rc;
}

/* All schemas of the endpoint, for records that the newest does not hold for or does not fit. */
static rc_t complete(struct registry *r, struct db *db, struct known *k, struct err *e)
{
    struct endpoint_schema *rows = NULL;
    struct shape *shape = NULL;
    size_t n = 0;
    if (k->complete)
        return OK;
    rc_t rc = schema_list(db, k->ep.id, &rows, &n, e);
    for (size_t i = n; rc == OK && i > 0; i--)
        rc = shape_of(r, db, k, &rows[i - 1], &shape, e);
    schemas_free(rows, n);
    k->complete = rc == OK;
    if (rc == OK && n)
        k->shape = shape;
    return rc;
}

static rc_t load(struct registry *r, struct db *db, struct project_info *project, const struct inference_event *ev,
                 struct known **ret, struct reject *why, struct err *e)
{
    int32_t project_id = project->id;
    char room[4 + NAME_UID_MAX];
    struct str key = key_of(room, project_id, ev->uid);
    struct known *k = map_get(&r->known, key);
    if (k && !k->stale) {
        *ret = k;
        return OK;
    }
    struct endpoint ep = {0};
    bool by_name = false;
    rc_t rc = endpoint_get(db, project_id, ev->uid, &ep, e);
    if (rc == E_NOTFOUND && ev->uid_is_made) {
        rc = endpoint_get_named(db, project_id, ev->model, ev->function.function, &ep, e);
        by_name = rc == OK;
    }
    if (rc == E_NOTFOUND)
        rc = register_new(r, db, project_id, ev, &ep, why, e);
    if (rc)
        return rc;
    if (k && k->ep.id && k->ep.id != ep.id) { /* what was accumulated for the other record stays its own */
        retire(r, k, key);
        k = NULL;
    }
    if (!k) {
        k = mem_alloc(sizeof *k);
        (void)map_put(&r->known, key, k);
    }
    endpoint_done(&k->ep);
    k->ep = ep;
    k->reference_version = r->with_references ? ep.reference_version : 0;
    k->project = project;
    k->by_name = by_name;
    r->n_named += by_name;
    k->stale = true; /* until its shape is there too */
    rc = adopt_shape(r, db, k, e);
    k->stale = rc != OK;
    *ret = k;
    return rc;
}

/* The event's columns are new: their schema becomes the endpoint's next version, unless somebody else made it meanwhile. */
static rc_t extend(struct registry *r, struct db *db, struct known *k, const struct shape *base,
                   const struct pipeline_record *record, const struct inference_event *ev, struct shape **ret,
                   struct reject *why, struct err *e)
{
    struct endpoint_schema row = {0};
    struct buf doc = {0};
    struct schema_from from = {record->timestamp_us, record->part->partition, record->part->generation, record->offset};
    if (schema_check(ev, why))
        return E_INVALID;
    if (k->shape && k->shape->columns->schema.version >= SCHEMAS_MAX)
        return reject_set(why, REJECT_SCHEMA_MISMATCH, ev->input_names_field ? ev->input_names_field : ev->inputs_field,
                          0, "the endpoint has had %d schemas already: its senders do not agree", SCHEMAS_MAX);
    bool named = schema_from_event(base ? &base->columns->schema : NULL, ev, &doc);
    rc_t rc = schema_put(db, k->ep.project_id, k->ep.id, buf_str(&doc), named, &from, &row, e);
    CRASH_POINT(schema_extend);
    buf_done(&doc);
    if (rc == E_CONFLICT) /* deleted a moment ago: the next refresh says so */
        rc = err_prefix(e, E_AGAIN, "endpoint %s: ", k->ep.uid);
    if (rc == OK)
        rc = shape_of(r, db, k, &row, ret, e);
    if (rc == OK && (!k->shape || row.version > k->shape->columns->schema.version)) {
        k->complete = k->complete && row.version == (k->shape ? k->shape->columns->schema.version : 0) + 1;
        k->shape = *ret;
    }
    endpoint_schema_done(&row);
    return rc;
}

/* The schema by which the record is read. */
static rc_t find_shape(struct registry *r, struct db *db, struct known *k, const struct pipeline_record *record,
                       const struct inference_event *ev, struct shape **ret, struct reject *why, struct err *e)
{
    struct shape *base = k->shape;
    enum fit fit = base && shape_holds(base, record) ? shape_fit(base, ev, &r->scratch, why) : FIT_EXTEND;
    if (fit == FIT_EXTEND) { /* an older one, or a new one */
        rc_t rc = complete(r, db, k, e);
        if (rc)
            return rc;
        base = shape_newest(k, record);
        fit = base ? shape_fit(base, ev, &r->scratch, why) : FIT_EXTEND;
    }
    if (fit == FIT_REJECT)
        return E_INVALID;
    if (fit == FIT_EXTEND) {
        struct shape *other = shape_among(k, record, ev, &r->scratch);
        rc_t rc = other ? OK : extend(r, db, k, base, record, ev, &other, why, e);
        if (rc)
            return rc;
        base = other;
        if (shape_fit(base, ev, &r->scratch, why) != FIT_YES)
            return err_set(e, E_INVALID, "the schema made of the record does not fit it");
    }
    *ret = base;
    return OK;
}

static rc_t resolve(struct registry *r, struct db *db, const struct pipeline_record *record,
                    const struct inference_event *ev, struct resolved *ret, struct reject *why, struct err *e)
{
    arena_reset(&r->scratch);
    struct known *k = NULL;
    struct shape *shape = NULL;
    struct project_info *project = project_info(r, record->part->project_id);
    if (!project)
        return err_set(e, E_AGAIN, "project %d is not loaded yet", record->part->project_id);
    if (inference_check_project(ev, str_of(project->name), why))
        return E_INVALID;
    rc_t rc = load(r, db, project, ev, &k, why, e);
    if (rc == OK)
        rc = find_shape(r, db, k, record, ev, &shape, why, e);
    if (rc)
        return rc;
    ret->known = k;
    ret->shape = shape;
    shape_place(shape, ev, &r->scratch, &ret->inputs, &ret->outputs);
    return OK;
}

/* What the database refuses for what is in the event, or a stored schema that cannot be read, is this event's trouble, not
 * the service's. */
rc_t registry_resolve(struct registry *r, struct db *db, const struct pipeline_record *record,
                      const struct inference_event *ev, struct resolved *ret, struct reject *why, struct err *e)
{
    why->code = REJECT_NONE;
    rc_t rc = resolve(r, db, record, ev, ret, why, e);
    return rc == E_INVALID && why->code == REJECT_NONE ? reject_set(why, REJECT_INTERNAL, "", 0, "%s", e->text) : rc;
}
