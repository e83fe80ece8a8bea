/* Loading of what an app sees of a window. */
#include "app/input.h"
#include "app/training.h"
#include <stdio.h>
#include "base/clock.h"
#include "base/mem.h"
#include "json/doc.h"
#include "log/log.h"

#define REFRESH_EVERY_US USEC_PER_SEC
#define ENDPOINT_TTL_US (30 * USEC_PER_SEC)
#define ENDPOINTS_MAX 50000u
#define KEY_MAX 128
#define HELD_MAX (8u << 20) /* bytes of references and layouts: what is dropped is read again at its next window */

struct known_endpoint {
    struct endpoint ep;
    int64_t until_us;
};
struct shape { /* a schema version against a reference version */
    struct schema schema;
    struct slot_layout layout;
};

static void shape_free(void *p)
{
    struct shape *s = p;
    slot_layout_done(&s->layout);
    schema_done(&s->schema);
    mem_free(s);
}

static void known_free(void *p)
{
    struct known_endpoint *k = p;
    if (k)
        endpoint_done(&k->ep);
    mem_free(k);
}

static void free_reference(void *p)
{
    reference_free(p);
}

static void drop_all(struct map *m, void (*fn)(void *))
{
    for (struct map_iter it = {0}; map_next(m, &it);)
        fn(it.value);
    map_done(m);
    *m = (struct map){0};
}

void input_loader_done(struct input_loader *l)
{
    drop_all(&l->shapes, shape_free); /* they borrow the references */
    drop_all(&l->references, free_reference);
    drop_all(&l->endpoints, known_free);
    records_free(l->records);
    lake_reader_free(l->reader);
}

/* ---- the endpoint's record ---- */
static struct str endpoint_key(char out[KEY_MAX], int32_t project_id, struct str uid)
{
    int n = snprintf(out, KEY_MAX, "%d/%.*s", project_id, uid.n < 80 ? (int)uid.n : 80, uid.p);
    return (struct str){out, (size_t)n};
}

/* Deleted ones: a new one may have the same uid. */
static rc_t forget_gone(struct input_loader *l, struct db *db, struct err *e)
{
    CLEANUP(mem_freep) int64_t *ids = mem_array(l->endpoints.len, sizeof *ids);
    CLEANUP(mem_freep) int64_t *gone = NULL;
    size_t n = 0, n_gone = 0;
    for (struct map_iter it = {0}; map_next(&l->endpoints, &it);)
        ids[n++] = ((const struct known_endpoint *)it.value)->ep.id;
    rc_t rc = endpoints_gone(db, ids, n, &gone, &n_gone, e);
    if (!rc && n_gone) {
        drop_all(&l->endpoints, known_free); /* seldom, and all come again at their next window */
        records_distrust(l->records);
    }
    return rc;
}

static rc_t refresh(struct input_loader *l, struct db *db, struct err *e)
{
    if (clock_mono_us() < l->next_refresh_us)
        return OK;
    bool first = l->records == NULL; /* all records are new then */
    if (first) {
        l->records = records_new(RECORDS_TTL_US);
        records_distrust(l->records);
    }
    for (size_t n = 1; n > 0;) {
        struct endpoint *eps = NULL;
        rc_t rc = endpoints_changed(db, &l->change_seq, &eps, &n, e);
        if (rc)
            return rc;
        for (size_t i = 0; i < n; i++) {
            char text[KEY_MAX];
            known_free(map_del(&l->endpoints, endpoint_key(text, eps[i].project_id, str_of(eps[i].uid))));
            if (!first)
                records_note(l->records, db, eps[i].project_id, str_of(eps[i].uid), eps[i].change_seq);
        }
        endpoints_free(eps, n);
    }
    bool look = false;
    rc_t rc = gone_watch_due(&l->gone, db, &look, e);
    if (!rc && look && l->endpoints.len)
        rc = forget_gone(l, db, e);
    if (rc)
        return rc;
    l->next_refresh_us = clock_mono_us() + REFRESH_EVERY_US;
    return OK;
}

static rc_t load_endpoint(struct input_loader *l, struct db *db, int32_t project_id, struct str uid,
                          const struct endpoint **ret, struct err *e)
{
    char text[KEY_MAX];
    struct str key = endpoint_key(text, project_id, uid);
    struct known_endpoint *k = map_get(&l->endpoints, key);
    if (k && clock_mono_us() < k->until_us) {
        *ret = &k->ep;
        return OK;
    }
    struct endpoint ep = {0};
    rc_t rc = records_get(l->records, db, l->cache, project_id, uid, &ep, e);
    if (rc)
        return rc;
    if (l->endpoints.len > ENDPOINTS_MAX)
        drop_all(&l->endpoints, known_free);
    k = mem_alloc(sizeof *k);
    k->ep = ep;
    k->until_us = clock_mono_us() + ENDPOINT_TTL_US;
    known_free(map_put(&l->endpoints, key, k));
    *ret = &k->ep;
    return OK;
}

/* ---- reference ---- */
static rc_t load_reference(struct input_loader *l, struct db *db, const struct endpoint *ep, int version,
                           struct reference **ret, struct err *e)
{
    char text[KEY_MAX];
    int n = snprintf(text, sizeof text, "%lld/%lld/%d", (long long)ep->id, (long long)ep->created_us, version);
    struct str key = {text, (size_t)n};
    struct reference *r = map_get(&l->references, key);
    if (!r) {
        rc_t rc = training_reference(db, l->cache, ep, version, &r, e);
        if (rc)
            return rc;
        map_put(&l->references, key, r);
        l->held += reference_bytes(r);
    }
    *ret = r;
    return OK;
}

/* ---- layout ---- */
static rc_t read_schema(struct db *db, int64_t endpoint_id, int version, struct schema *ret, struct err *e)
{
    struct endpoint_schema row = {0};
    rc_t rc = schema_get(db, endpoint_id, version, 0, &row, e);
    if (!rc)
        rc = schema_parse(str_of(row.document), ret, e);
    endpoint_schema_done(&row);
    return rc;
}

static rc_t load_shape(struct input_loader *l, struct db *db, int64_t endpoint_id, int schema_version,
                       const struct reference *ref, const struct shape **ret, struct err *e)
{
    char text[KEY_MAX];
    int n = snprintf(text, sizeof text, "%lld/%d/%d", (long long)endpoint_id, schema_version, ref ? (int)ref->version : 0);
    struct str key = {text, (size_t)n};
    struct shape *s = map_get(&l->shapes, key);
    if (!s) {
        s = mem_alloc(sizeof *s);
        rc_t rc = schema_version > 0 ? read_schema(db, endpoint_id, schema_version, &s->schema, e) : OK;
        if (rc) {
            shape_free(s);
            return rc;
        }
        training_layout(&s->layout, &s->schema, ref);
        map_put(&l->shapes, key, s);
        l->held += s->schema.mem.total + (s->layout.n_features + s->layout.n_labels) * sizeof *s->layout.columns;
    }
    *ret = s;
    return OK;
}

/* ---- all of it ---- */
static int newest_schema(const struct slot_row *rows, size_t n, const struct endpoint *ep)
{
    int newest = 0;
    for (size_t i = 0; i < n; i++)
        if (rows[i].schema_version > newest)
            newest = rows[i].schema_version;
    return n ? newest : ep->schema_version;
}

static rc_t reference_version(struct db *db, const struct window_event *ev, int64_t endpoint_id, int *ret, struct err *e)
{
    *ret = ev->reference_version > 0 ? (int)ev->reference_version : 0;
    if (*ret > 0 || ev->is_exact)
        return OK; /* our controller said which, or that there is none */
    rc_t rc = reference_in_force(db, endpoint_id, ev->end_us, ret, e);
    return rc == E_NOTFOUND ? OK : rc;
}

static rc_t sum_rows(struct window_source *s, struct app_input *in, struct slot **ret_window, struct err *e)
{
    struct slot *sum = slot_new(s->layout);
    rc_t rc = window_sum(s, sum, &in->rows_missing, e);
    if (rc) {
        slot_free(sum);
        return rc;
    }
    *ret_window = sum;
    in->window = sum;
    return OK;
}

static rc_t load_counts(struct input_loader *l, struct db *db, int32_t project_id, const struct window_event *ev,
                        struct app_input *in, struct slot **ret_window, struct err *e)
{
    struct slot_row *rows = NULL;
    CLEANUP(db_rows_freep) struct db_rows *held = NULL;
    struct reference *ref = NULL;
    size_t n = 0;
    int version = 0;
    rc_t rc = reference_version(db, ev, in->endpoint->id, &version, e);
    if (!rc && version)
        rc = load_reference(l, db, in->endpoint, version, &ref, e);
    if (!rc)
        rc = slots_read(db, project_id, in->endpoint->id, ev->start_us, ev->end_us, &rows, &n, &held, e);
    if (rc)
        return rc;
    struct window_source s = {.loader = l,
                              .db = db,
                              .project_id = project_id,
                              .endpoint_id = in->endpoint->id,
                              .ev = ev,
                              .schema_version = newest_schema(rows, n, in->endpoint),
                              .reference_version = version,
                              .rows = rows,
                              .n_rows = n};
    const struct shape *shape = NULL;
    rc = load_shape(l, db, in->endpoint->id, s.schema_version, ref, &shape, e);
    if (!rc) {
        s.layout = in->layout = &shape->layout;
        s.schema = &shape->schema;
        in->reference = ref;
        rc = sum_rows(&s, in, ret_window, e);
    }
    mem_free(rows);
    l->source = (struct live_source){.ops = live_source_ops, .window = s};
    l->source.window.rows = NULL;
    l->source.window.n_rows = 0;
    in->source = &l->source.ops;
    return rc;
}

/* Rows of files that are gone are missing; the app goes on with the others. */
static rc_t named_files(struct input_loader *l, struct db *db, int32_t project_id, const struct window_event *ev,
                        struct app_input *in, struct err *e)
{
    const struct window_source s = {
        .loader = l, .db = db, .project_id = project_id, .endpoint_id = in->endpoint->id, .ev = ev};
    struct values_file *found = NULL;
    int64_t gone = 0;
    rc_t rc = window_files(&s, in->arena, &found, &in->n_files, &gone, e);
    struct str *files = arena_array(in->arena, in->n_files + 1, sizeof *files);
    for (size_t i = 0; !rc && i < in->n_files; i++)
        files[i] = str_of(found[i].path);
    in->files = files;
    int64_t more = in->window && gone > (int64_t)in->window->rows ? (int64_t)in->window->rows : gone; /* files are of an hour */
    if (!rc && more > in->rows_missing)
        in->rows_missing = more;
    return rc;
}

/* What is not there may be gone with its endpoint, which was deleted a moment ago. */
static rc_t explain(struct db *db, const struct app_input *in, rc_t rc, struct reject *why, struct err *e)
{
    struct endpoint ep = {0};
    struct err words = *e;
    if (rc == E_NOTFOUND && in->endpoint) {
        rc = endpoint_get_id(db, in->endpoint->id, &ep, e);
        endpoint_done(&ep);
        if (rc == E_NOTFOUND)
            return reject_set(why, REJECT_UNKNOWN_ENDPOINT, "endpoint_id", 0, "the endpoint was deleted");
        if (rc)
            return rc;
    }
    return reject_set(why, REJECT_APP_FAILED, NULL, 0, "its input cannot be read: %.120s", words.text);
}

rc_t input_load(struct input_loader *l, struct db *db, int32_t project_id, const struct window_event *ev,
                struct arena *arena, struct app_input *ret, struct slot **ret_window, struct reject *why, struct err *e)
{
    struct app_input in = {.start_us = ev->start_us,
                           .end_us = ev->end_us,
                           .arena = arena,
                           .project = ev->project,
                           .revision = ev->revision > 0 ? (int)ev->revision : 0};
    if (l->shapes.len > l->shapes_max || l->references.len > l->shapes_max || l->held > HELD_MAX) {
        drop_all(&l->shapes, shape_free);
        drop_all(&l->references, free_reference);
        l->held = 0;
    }
    rc_t rc = refresh(l, db, e);
    if (!rc)
        rc = load_endpoint(l, db, project_id, ev->endpoint_id, &in.endpoint, e);
    if (rc == E_NOTFOUND)
        return reject_set(why, REJECT_UNKNOWN_ENDPOINT, "endpoint_id", 0, "the project has no such endpoint");
    struct slot *window = NULL;
    if (!rc)
        rc = load_counts(l, db, project_id, ev, &in, &window, e);
    if (!rc && ev->n_files)
        rc = named_files(l, db, project_id, ev, &in, e);
    if (rc)
        slot_free(window);
    if (rc == E_INVALID || rc == E_NOTFOUND || rc == E_LIMIT)
        return explain(db, &in, rc, why, e);
    if (rc)
        return rc;
    *ret = in;
    *ret_window = window;
    return OK;
}
