/* Owns the making, changing and deleting of endpoint records. Everything is checked before the first write; then the
 * record, its schema (when names are given) and its reference (when statistics are given) follow each other, each in a
 * transaction of its own: a request that stops half way is right again when it is repeated. */
#include "api.h"
#include <string.h>
#include "endpoint_write.h"
#include "model.h"
#include "record.h"
#include "stats/reference.h"

/* What a record says about its columns, ready to be stored. */
struct columns {
    struct json *features_doc, *labels_doc;
    const struct str *features, *labels;
    size_t n_features, n_labels;
    struct buf schema;           /* empty: no names given */
    struct reference *reference; /* NULL: no statistics given */
    struct buf statistics;
    struct buf label_list;
};

static void columns_done(struct columns *x)
{
    json_free(x->features_doc);
    json_free(x->labels_doc);
    reference_free(x->reference);
    buf_done(&x->schema);
    buf_done(&x->statistics);
    buf_done(&x->label_list);
}

static rc_t read_statistics(const struct json *stats, struct columns *x, struct err *e)
{
    struct json_writer w;
    rc_t rc = reference_from_json(&x->reference, stats, x->labels, x->n_labels, e);
    if (rc != OK)
        return err_prefix(e, rc, "spec.feature_stats: ");
    reference_to_json(x->reference, false, &x->statistics);
    jw_init(&w, &x->label_list, JSON_NAN_NULL);
    jw_array(&w);
    for (size_t i = 0; i < x->n_labels; i++)
        jw_str(&w, x->labels[i]);
    jw_array_end(&w);
    return OK;
}

static void print_schema(struct call *c, struct columns *x)
{
    size_t n = x->n_features + x->n_labels;
    struct record_column *columns = arena_array(c->arena, n + 1, sizeof *columns);
    for (size_t i = 0; i < n; i++) {
        bool label = i >= x->n_features;
        columns[i] = (struct record_column){label ? x->labels[i - x->n_features] : x->features[i], label};
    }
    (void)record_schema(columns, n, &x->schema); /* no features: it stays empty */
}

static rc_t read_columns(struct call *c, const struct endpoint *ep, const struct json *stats, struct columns *x,
                         struct err *e)
{
    rc_t rc = record_names(ep, "feature_names", c->arena, &x->features_doc, &x->features, &x->n_features, e);
    if (rc == OK)
        rc = record_names(ep, "label_names", c->arena, &x->labels_doc, &x->labels, &x->n_labels, e);
    if (rc != OK)
        return rc;
    print_schema(c, x);
    return stats ? read_statistics(stats, x, e) : OK;
}

static rc_t store_columns(struct call *c, const struct endpoint *ep, const struct columns *x, struct err *e)
{
    struct endpoint_schema schema = {0};
    int version;
    rc_t rc = OK;
    if (x->schema.len) {
        rc = schema_put(c->db, ep->project_id, ep->id, buf_str(&x->schema), true, NULL, &schema, e);
        endpoint_schema_done(&schema);
    } else if (x->reference) {
        rc = call_name_columns(c, ep, x->reference, e);
    }
    if (rc == OK && x->reference)
        rc = reference_put(c->db, ep->project_id, ep->id, buf_str(&x->statistics), buf_str(&x->label_list), "record",
                           &version, e);
    return rc;
}

static const char *read_strategy(struct call *c)
{
    struct str s = call_str(c, "creation-strategy");
    return s.n ? arena_dup(c->arena, s.p, s.n) : "inplace";
}

rc_t endpoint_make(struct call *c, const struct project *p, struct json *record, const char *strategy,
                   struct endpoint *ret, struct err *e)
{
    struct endpoint in = {0}, made = {0};
    struct json *stats = NULL;
    struct columns x = {0};
    rc_t rc = record_read(record, p, &in, &stats, e);
    if (rc == OK)
        rc = read_columns(c, &in, stats, &x, e);
    if (rc == OK) {
        call_changed(c, p->id, (struct str){0}); /* others too: no longer the latest, or deleted */
        rc = endpoint_create(c->db, &in, strategy, &made, e);
    }
    if (rc == OK)
        rc = store_columns(c, &made, &x, e);
    if (rc == OK && !x.reference)
        rc = model_of_endpoint(c, p, &made, e);
    if (rc == OK)
        *ret = made;
    else
        endpoint_done(&made);
    columns_done(&x);
    endpoint_done(&in);
    return rc;
}

static rc_t make(struct call *c, const struct project *p, struct json *body, const char *strategy, struct err *e)
{
    struct endpoint made = {0};
    rc_t rc = endpoint_make(c, p, body, strategy, &made, e);
    if (rc == OK)
        rc = answer_endpoint(c, p, made.id, e);
    endpoint_done(&made);
    return rc;
}

rc_t endpoint_post(struct call *c, const struct project *p, struct json *body, const char *strategy, struct err *e)
{
    rc_t rc = db_begin(c->db, e);
    if (rc == OK)
        rc = call_commit(c, make(c, p, body, strategy, e), e);
    if (rc == OK)
        c->status = 201;
    return rc;
}

rc_t post_endpoint(struct call *c, struct err *e)
{
    struct project p = {0};
    struct json *body = NULL;
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        rc = call_json(c, &body, e);
    if (rc == OK)
        rc = endpoint_post(c, &p, body, read_strategy(c), e);
    json_free(body);
    project_done(&p);
    return rc;
}

/* What is named must be in the body (null too): a default would change a record without a word. */
static rc_t check_given(const struct json *body, struct str key, struct err *e)
{
    static const char *const parts[] = {"metadata", "spec", "status"};
    char name[64];
    if (key.n >= sizeof name)
        return OK; /* no field is so long: said by who takes it */
    memcpy(name, key.p, key.n);
    name[key.n] = '\0';
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (json_get(json_get(body, parts[i]), name))
            return OK;
    const char *part = record_part_of(key);
    return part ? err_set(e, E_INVALID, "%s.%s: attribute-key names it, but it is not in the body", part, name) : OK;
}

static rc_t take_fields(struct call *c, const struct json *body, struct endpoint *to, const struct endpoint *from,
                        struct err *e)
{
    const struct str *keys;
    size_t n = call_list(c, "attribute-key", &keys);
    rc_t rc = OK;
    for (size_t i = 0; rc == OK && i < n; i++) {
        rc = check_given(body, keys[i], e);
        if (rc == OK)
            rc = record_take_field(to, from, keys[i], e);
    }
    return rc;
}

/* In a transaction: what another patch wrote in between is not taken back. */
static rc_t change_fields(struct call *c, const struct project *p, const struct json *body, const struct endpoint *in,
                          struct endpoint *ret, struct columns *x, struct err *e)
{
    rc_t rc = endpoints_lock(c->db, e);
    if (rc == OK)
        rc = call_find(c, p, str_of(in->name), str_of(in->uid), str_of(in->function_name), str_of(in->function_tag), ret, e);
    if (rc == OK)
        rc = take_fields(c, body, ret, in, e);
    if (rc == OK)
        rc = read_columns(c, ret, NULL, x, e);
    if (rc == OK) {
        call_changed(c, p->id, str_of(ret->uid));
        rc = endpoint_update(c->db, ret, e);
    }
    return rc == OK ? store_columns(c, ret, x, e) : rc;
}

rc_t endpoint_patch(struct call *c, const struct project *p, struct json *body, struct err *e)
{
    struct endpoint in = {0}, ep = {0};
    struct json *stats = NULL;
    struct columns x = {0};
    rc_t rc = record_read(body, p, &in, &stats, e);
    if (rc == OK)
        rc = db_begin(c->db, e);
    if (rc == OK)
        rc = call_commit(c, change_fields(c, p, body, &in, &ep, &x, e), e);
    if (rc == OK)
        json_quote(&c->out, str_of(ep.uid)); /* MLRun answers the uid as a JSON string */
    columns_done(&x);
    endpoint_done(&ep);
    endpoint_done(&in);
    return rc;
}

rc_t patch_endpoint(struct call *c, struct err *e)
{
    struct project p = {0};
    struct json *body = NULL;
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        rc = call_json(c, &body, e);
    if (rc == OK)
        rc = endpoint_patch(c, &p, body, e);
    json_free(body);
    project_done(&p);
    return rc;
}

static rc_t delete_one(struct call *c, const struct project *p, struct str uid, struct err *e)
{
    struct endpoint ep = {0};
    rc_t rc = call_uid(c, p, uid, &ep, e);
    if (rc == OK) {
        call_changed(c, p->id, str_of(ep.uid));
        rc = endpoint_delete(c->db, ep.id, e);
    }
    endpoint_done(&ep);
    return rc;
}

/* Without an id: all versions of that name (and function, when given), as MLRun does; a name that is none is a uid, as 1.7 has it. */
static rc_t delete_named(struct call *c, const struct project *p, struct str name, struct err *e)
{
    const struct str function = call_str(c, "function-name"), tag = call_str(c, "function-tag");
    const struct endpoint_filter f = {.project_id = p->id,
                                      .mode = -1,
                                      .names = &name,
                                      .n_names = 1,
                                      .function_names = &function,
                                      .n_function_names = function.n > 0,
                                      .function_tags = &tag,
                                      .n_function_tags = tag.n > 0};
    struct endpoint *eps = NULL;
    size_t n = 0;
    rc_t rc = endpoints_list(c->db, &f, &eps, &n, e);
    if (rc == OK && n == 0)
        return delete_one(c, p, name, e);
    for (size_t i = 0; rc == OK && i < n; i++) {
        call_changed(c, p->id, str_of(eps[i].uid));
        rc = endpoint_delete(c->db, eps[i].id, e);
    }
    endpoints_free(eps, n);
    return rc;
}

rc_t delete_endpoint(struct call *c, struct err *e)
{
    struct project p = {0};
    struct endpoint ep = {0};
    struct str name = http_param(c->r, "name"), uid = call_str(c, "endpoint-id");
    rc_t rc = call_project(c, &p, e);
    if (rc == OK && (uid.n == 0 || str_eqz(uid, "*"))) {
        rc = delete_named(c, &p, name, e);
    } else if (rc == OK) {
        rc = call_find(c, &p, name, uid, (struct str){0}, (struct str){0}, &ep, e);
        if (rc == OK) {
            call_changed(c, p.id, str_of(ep.uid));
            rc = endpoint_delete(c->db, ep.id, e);
        }
    }
    if (rc == OK)
        c->status = 204;
    endpoint_done(&ep);
    project_done(&p);
    return rc;
}
