/* Owns the reference routes: what a model was trained on, in versions. Its names also name the endpoint's columns when
 * nothing else has named them yet, so that events without names are compared column by column. */
#include "api.h"

#include <stdio.h>
#include "base/mem.h"
#include "base/time.h"
#include "lake/lake.h"
#include "record.h"
#include "training.h"

static void print_labels(const struct str *labels, size_t n, struct buf *out)
{
    struct json_writer w;
    jw_init(&w, out, JSON_NAN_NULL);
    jw_array(&w);
    for (size_t i = 0; i < n; i++)
        jw_str(&w, labels[i]);
    jw_array_end(&w);
}

static rc_t names_wanted(struct call *c, const struct endpoint *ep, bool *ret, struct err *e)
{
    struct endpoint_schema s = {0};
    *ret = true;
    if (ep->schema_version == 0)
        return OK;
    rc_t rc = schema_get(c->db, ep->id, 0, 0, &s, e);
    if (rc == OK)
        *ret = !s.named;
    endpoint_schema_done(&s);
    return rc == E_NOTFOUND ? OK : rc;
}

rc_t call_name_columns_so(struct call *c, const struct endpoint *ep, const struct record_column *columns, size_t n,
                          struct err *e)
{
    bool wanted;
    struct endpoint_schema made = {0};
    rc_t rc = names_wanted(c, ep, &wanted, e);
    if (rc != OK || !wanted)
        return rc;
    struct buf document = {0};
    if (record_schema(columns, n, &document))
        rc = schema_put(c->db, ep->project_id, ep->id, buf_str(&document), true, NULL, &made, e);
    endpoint_schema_done(&made);
    buf_done(&document);
    return rc;
}

rc_t call_name_columns(struct call *c, const struct endpoint *ep, const struct reference *r, struct err *e)
{
    struct record_column *columns = arena_array(c->arena, r->n + 1, sizeof *columns);
    for (size_t i = 0; i < r->n; i++)
        columns[i] = (struct record_column){r->features[i].name, r->features[i].is_label};
    return call_name_columns_so(c, ep, columns, r->n, e);
}

/* ---- what does not fit the endpoint's columns: words, no refusal ---- */
#define WARNINGS_MAX 20
#define NAMES_SHOWN 10

struct names { /* as columns, so that both sides are compared alike */
    struct str *v;
    size_t n;
};

static struct str normal(struct call *c, struct str name)
{
    char *text = arena_alloc(c->arena, name.n + 10);
    return (struct str){text, column_name(text, name)};
}

static struct names names_of_schema(struct call *c, const struct schema *s)
{
    struct names a = {.v = arena_array(c->arena, s->n_features + s->n_labels + 1, sizeof *a.v)};
    for (size_t i = 0; i < s->n_features; i++)
        a.v[a.n++] = arena_str(c->arena, str_of(s->features[i].name));
    for (size_t i = 0; i < s->n_labels; i++)
        a.v[a.n++] = arena_str(c->arena, str_of(s->labels[i].name));
    return a;
}

static struct names names_of_reference(struct call *c, const struct reference *r)
{
    struct names a = {.v = arena_array(c->arena, r->n + 1, sizeof *a.v)};
    for (size_t i = 0; i < r->n; i++)
        a.v[a.n++] = normal(c, r->features[i].name);
    return a;
}

static bool has_name(const struct names *a, struct str name)
{
    for (size_t i = 0; i < a->n; i++)
        if (str_eq(a->v[i], name))
            return true;
    return false;
}

static void list_names(struct buf *b, const struct names *a)
{
    for (size_t i = 0; i < a->n && i < NAMES_SHOWN; i++) {
        buf_addz(b, i ? ", " : "");
        buf_add(b, a->v[i].p, a->v[i].n);
    }
    if (a->n > NAMES_SHOWN)
        buf_addf(b, " and %zu more", a->n - NAMES_SHOWN);
}

/* One warning for each of `these` that `those` has not. */
static void warn_absent(struct json *out, const struct names *these, const struct names *those, const char *head,
                        const char *tail)
{
    for (size_t i = 0; i < these->n && json_len(out) < WARNINGS_MAX; i++) {
        struct buf b = {0};
        if (has_name(those, these->v[i]))
            continue;
        buf_addf(&b, "%s ", head);
        buf_add(&b, these->v[i].p, these->v[i].n);
        buf_addf(&b, " %s: ", tail);
        list_names(&b, those);
        json_add_str(out, buf_str(&b));
        buf_done(&b);
    }
}

static rc_t find_warnings(struct call *c, const struct endpoint *ep, const struct reference *r, struct json *out,
                          struct err *e)
{
    struct endpoint_schema stored = {0};
    struct schema s = {0};
    rc_t rc = ep->schema_version ? schema_get(c->db, ep->id, 0, 0, &stored, e) : E_NOTFOUND;
    if (rc == OK)
        rc = schema_parse(str_of(stored.document), &s, e);
    if (rc == OK && stored.named) {
        struct names columns = names_of_schema(c, &s), trained = names_of_reference(c, r);
        warn_absent(out, &trained, &columns, "column",
                    "is not a column of the endpoint, nothing is compared with it; there are");
        warn_absent(out, &columns, &trained, "the endpoint's column",
                    "is not in this reference, its drift is not computed; there are");
    } else if (rc == OK && s.n_features + s.n_labels != r->n) {
        char text[160];
        (void)snprintf(text, sizeof text, "events so far have %zu columns without names, this reference names %zu",
                       s.n_features + s.n_labels, r->n); /* fits */
        json_add_strz(out, text);
    }
    schema_done(&s);
    endpoint_schema_done(&stored);
    return rc == E_NOTFOUND ? OK : rc;
}

static rc_t store(struct call *c, const struct endpoint *ep, const struct training *t, int *ret_version, struct err *e)
{
    struct buf statistics = {0}, labels = {0};
    reference_to_json(t->reference, false, &statistics);
    print_labels(t->labels, t->n_labels, &labels);
    call_changed(c, ep->project_id, str_of(ep->uid));
    rc_t rc = call_name_columns(c, ep, t->reference, e);
    if (rc == OK)
        rc = reference_put(c->db, ep->project_id, ep->id, buf_str(&statistics), buf_str(&labels), t->source, ret_version, e);
    buf_done(&statistics);
    buf_done(&labels);
    return rc;
}

rc_t put_reference(struct call *c, struct err *e)
{
    struct project p = {0};
    struct endpoint ep = {0};
    struct training t = {0};
    int version = 0;
    CLEANUP(json_freep) struct json *warnings = json_new_array();
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        rc = call_endpoint(c, &p, &ep, e);
    if (rc == OK)
        rc = training_read(http_body(c->r), c->arena, &t, e);
    if (rc == OK)
        rc = find_warnings(c, &ep, t.reference, warnings, e);
    if (rc == OK)
        rc = store(c, &ep, &t, &version, e);
    if (rc == OK) {
        struct json_writer w;
        jw_init(&w, &c->out, JSON_NAN_NULL);
        jw_object(&w);
        jw_kv_i64(&w, "version", version);
        jw_kv_strz(&w, "source", t.source);
        jw_kv_i64(&w, "features", (int64_t)(t.reference->n - t.n_labels));
        jw_kv_i64(&w, "labels", (int64_t)t.n_labels);
        if (t.rows)
            jw_kv_i64(&w, "rows", (int64_t)t.rows);
        if (json_len(warnings)) {
            jw_key(&w, "warnings");
            json_write(warnings, &w);
        }
        jw_object_end(&w);
    }
    reference_free(t.reference);
    endpoint_done(&ep);
    project_done(&p);
    return rc;
}

static void write_version(struct json_writer *w, const struct endpoint_reference *r)
{
    char text[TIME_TEXT];
    (void)time_iso_offset(text, r->created_us);
    jw_kv_i64(w, "version", r->version);
    jw_kv_strz(w, "source", r->source);
    jw_kv_strz(w, "created", text);
}

static rc_t write_statistics(struct json_writer *w, const struct endpoint_reference *r, bool padded, struct err *e)
{
    struct reference *ref = NULL;
    struct buf text = {0};
    if (!padded) {
        jw_kv_raw(w, "feature_stats", str_of(r->statistics));
        return OK;
    }
    rc_t rc = reference_from_text(&ref, str_of(r->statistics), NULL, 0, e);
    if (rc == OK) {
        reference_to_json(ref, true, &text);
        jw_kv_raw(w, "feature_stats", buf_str(&text));
    }
    buf_done(&text);
    reference_free(ref);
    return rc == OK ? OK : err_prefix(e, E_FATAL, "stored reference: ");
}

static void write_versions(struct json_writer *w, const struct endpoint_reference *all, size_t n)
{
    jw_key(w, "versions");
    jw_array(w);
    for (size_t i = 0; i < n; i++) {
        jw_object(w);
        write_version(w, &all[i]);
        jw_object_end(w);
    }
    jw_array_end(w);
}

static rc_t write_reference(struct call *c, const struct endpoint *ep, int64_t version, bool padded, struct err *e)
{
    struct endpoint_reference r = {0}, *all = NULL;
    size_t n = 0;
    struct json_writer w;
    rc_t rc = reference_get(c->db, ep->id, (int)version, &r, e);
    if (rc == E_NOTFOUND)
        rc = version ? err_set(e, rc, "model endpoint %s has no reference version %lld", ep->uid, (long long)version)
                     : err_set(e, rc, "model endpoint %s has no reference yet: PUT one here", ep->uid);
    if (rc == OK)
        rc = references_list(c->db, ep->id, &all, &n, e);
    if (rc == OK) {
        jw_init(&w, &c->out, JSON_NAN_NULL);
        jw_object(&w);
        write_version(&w, &r);
        jw_kv_raw(&w, "labels", str_of(r.labels));
        rc = write_statistics(&w, &r, padded, e);
    }
    if (rc == OK) {
        write_versions(&w, all, n);
        jw_object_end(&w);
    }
    references_free(all, n);
    endpoint_reference_done(&r);
    return rc;
}

rc_t get_reference(struct call *c, struct err *e)
{
    struct project p = {0};
    struct endpoint ep = {0};
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        rc = call_endpoint(c, &p, &ep, e);
    if (rc == OK)
        rc = write_reference(c, &ep, call_i64(c, "version", 0), call_bool(c, "padded", false), e);
    endpoint_done(&ep);
    project_done(&p);
    return rc;
}

/* Without their statistics: an endpoint that has none has an empty history. */
rc_t get_reference_versions(struct call *c, struct err *e)
{
    struct project p = {0};
    struct endpoint ep = {0};
    struct endpoint_reference *all = NULL;
    size_t n = 0;
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        rc = call_endpoint(c, &p, &ep, e);
    if (rc == OK)
        rc = references_list(c->db, ep.id, &all, &n, e);
    if (rc == OK) {
        struct json_writer w;
        jw_init(&w, &c->out, JSON_NAN_NULL);
        jw_object(&w);
        write_versions(&w, all, n);
        jw_object_end(&w);
    }
    references_free(all, n);
    endpoint_done(&ep);
    project_done(&p);
    return rc;
}
