/* Owns the reading of endpoint records: the list with its filters, one record, and the numbers that are no part of the
 * record (MLRun's operative fields of the last 24 hours, feature analysis). */
#include <math.h>
#include "api.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "db/result.h"
#include "endpoint_old.h"
#include "record.h"
#include "stats/reference.h"
#include "store.h"

/* Which operative fields are wanted: all, unless metric= names some. */
struct wanted {
    bool errors, latency, status;
};

static struct wanted read_wanted(struct call *c)
{
    bool tsdb = call_bool(c, "tsdb-metrics", true);
    const struct str *names;
    size_t n = call_list(c, "metric", &names);
    struct wanted w = {tsdb && n == 0, tsdb && n == 0, tsdb && n == 0};
    for (size_t i = 0; tsdb && i < n; i++) {
        if (str_eqz(names[i], "error_count"))
            w.errors = true;
        else if (str_eqz(names[i], "avg_latency"))
            w.latency = true;
        else if (str_eqz(names[i], "result_status"))
            w.status = true;
    }
    return w;
}

/* ---- the list ---- */
struct list_query {
    struct endpoint_filter filter;
    const struct str *modes;
    size_t n_modes;
    struct str model_tag;
    struct wanted wanted;
    struct str one[3]; /* model, function, tag: what the filter's arrays of one point to */
};

static void read_modes(struct call *c, struct list_query *q)
{
    q->n_modes = call_list(c, "mode", &q->modes);
    q->filter.mode = q->n_modes == 1 ? (int)call_i64(c, "mode", -1) : -1; /* several: sifted afterwards */
}

static rc_t read_filter(struct call *c, const struct project *p, struct list_query *q, struct err *e)
{
    struct endpoint_filter *f = &q->filter;
    f->project_id = p->id;
    q->one[0] = call_str(c, "model-name");
    q->one[1] = call_str(c, "function-name");
    q->one[2] = call_str(c, "function-tag");
    q->model_tag = call_str(c, "model-tag");
    f->model_names = &q->one[0];
    f->n_model_names = q->one[0].n > 0;
    f->function_names = &q->one[1];
    f->n_function_names = q->one[1].n > 0;
    f->function_tags = &q->one[2];
    f->n_function_tags = q->one[2].n > 0;
    f->n_names = call_list(c, "name", &f->names);
    f->n_uids = call_list(c, "uid", &f->uids);
    f->n_labels = call_list(c, "label", &f->labels);
    f->created_from_us = call_time(c, "start", 0);
    f->created_to_us = call_time(c, "end", 0);
    f->top_level = call_bool(c, "top-level", false);
    f->latest_only = call_bool(c, "latest-only", false);
    read_modes(c, q);
    f->limit = (size_t)call_i64(c, "limit", API_LIST_MAX) + 1; /* one more says whether there is more */
    f->after_id = call_i64(c, "cursor", 0);
    q->wanted = read_wanted(c);
    return f->created_from_us && f->created_to_us && f->created_from_us > f->created_to_us
               ? call_complain(c, "start", e, "must not be after end")
               : OK;
}

static bool mode_fits(const struct list_query *q, const struct endpoint *ep)
{
    for (size_t i = 0; i < q->n_modes; i++)
        if (q->modes[i].p[0] == '0' + ep->mode)
            return true;
    return q->n_modes == 0;
}

static bool model_tag_fits(const struct list_query *q, const struct endpoint *ep)
{
    if (q->model_tag.n == 0)
        return true;
    CLEANUP(json_freep) struct json *doc = NULL;
    struct err ignored = {0};
    if (json_parse(&doc, ep->document, strlen(ep->document), NULL, &ignored) != OK)
        return false;
    struct str tag;
    for (const struct json *m = json_first(json_get(doc, "model_tags")); m; m = json_next(m))
        if (json_str(m, &tag, &ignored) == OK && str_eq(tag, q->model_tag))
            return true;
    return false;
}

struct background { /* what is known of many endpoints, read at once */
    struct glance *glances;
    struct schema_text *schemas;
    struct db_rows *schema_rows;
    size_t n_glances, n_schemas;
};

static void background_done(struct background *b)
{
    mem_free(b->glances);
    mem_free(b->schemas);
    db_rows_free(b->schema_rows);
}

static rc_t read_background(struct call *c, int32_t project_id, struct id_range of, const struct wanted *w,
                            struct background *ret, struct err *e)
{
    rc_t rc = store_schemas(c->db, project_id, of, &ret->schemas, &ret->n_schemas, &ret->schema_rows, e);
    if (rc == OK && (w->errors || w->status))
        rc = store_glances(c->db, project_id, of, clock_now_us() - API_DAY_US, &ret->glances, &ret->n_glances, e);
    return rc;
}

static const struct schema_text *schema_find(const struct background *b, int64_t endpoint_id)
{
    size_t lo = 0, hi = b->n_schemas;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (b->schemas[mid].endpoint_id < endpoint_id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < b->n_schemas && b->schemas[lo].endpoint_id == endpoint_id ? &b->schemas[lo] : NULL;
}

static rc_t fill_extra(struct call *c, const struct endpoint *ep, const struct background *b, const struct wanted *w,
                       struct record_extra *x, struct err *e)
{
    const struct schema_text *s = schema_find(b, ep->id);
    const struct glance *g = glance_find(b->glances, b->n_glances, ep->id);
    *x = (struct record_extra){.result_status = -1, .avg_latency = NAN};
    if (s) {
        x->schema = s->document;
        x->schema_named = s->named;
    }
    if (g && w->errors)
        x->error_count = g->errors;
    if (g && w->status)
        x->result_status = g->worst_status;
    return w->latency ? store_latency(c->db, ep->project_id, ep->id, clock_now_us() - API_DAY_US, &x->avg_latency, e) : OK;
}

static rc_t write_list(struct call *c, const struct project *p, const struct list_query *q, const struct endpoint *eps,
                       size_t n, struct err *e)
{
    struct background b = {0};
    struct json_writer w;
    size_t shown = n < q->filter.limit ? n : q->filter.limit - 1;
    const struct id_range range = {n ? eps[0].id : 0, n ? eps[n - 1].id : 0};
    rc_t rc = read_background(c, p->id, range, &q->wanted, &b, e);
    jw_init(&w, &c->out, JSON_NAN_NULL);
    jw_object(&w);
    jw_key(&w, "endpoints");
    jw_array(&w);
    for (size_t i = 0; rc == OK && i < shown; i++) {
        struct record_extra x;
        if (!mode_fits(q, &eps[i]) || !model_tag_fits(q, &eps[i]))
            continue;
        rc = fill_extra(c, &eps[i], &b, &q->wanted, &x, e);
        if (rc == OK)
            record_write(&w, &eps[i], p->name, &x);
    }
    jw_array_end(&w);
    if (shown < n)
        jw_kv_i64(&w, "next", eps[shown - 1].id);
    jw_object_end(&w);
    background_done(&b);
    return rc;
}

rc_t list_endpoints(struct call *c, struct err *e)
{
    struct project p = {0};
    struct list_query q = {0};
    struct endpoint *eps = NULL;
    size_t n = 0;
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        rc = read_filter(c, &p, &q, e);
    if (rc == OK)
        rc = endpoints_list(c->db, &q.filter, &eps, &n, e);
    if (rc == OK)
        rc = write_list(c, &p, &q, eps, n, e);
    if (rc == OK)
        endpoint_old_answer(c);
    endpoints_free(eps, n);
    project_done(&p);
    return rc;
}

/* ---- one record ---- */
struct analysis {
    struct buf feature_stats;
    char *current_stats, *drift_measures;
    int64_t current_stats_us, drift_measures_us;
};

static void analysis_done(struct analysis *a)
{
    buf_done(&a->feature_stats);
    mem_free(a->current_stats);
    mem_free(a->drift_measures);
}

static rc_t read_feature_stats(struct call *c, const struct endpoint *ep, struct buf *out, struct err *e)
{
    struct endpoint_reference r = {0};
    struct reference *ref = NULL;
    rc_t rc = ep->reference_version ? reference_get(c->db, ep->id, 0, &r, e) : E_NOTFOUND;
    if (rc == E_NOTFOUND)
        return OK;
    if (rc == OK)
        rc = reference_from_text(&ref, str_of(r.statistics), NULL, 0, e);
    if (rc == OK)
        reference_to_json(ref, true, out); /* padded, as MLRun's server serves it */
    reference_free(ref);
    endpoint_reference_done(&r);
    return rc;
}

static rc_t read_statistic(struct call *c, const struct endpoint *ep, const char *name, char **ret, int64_t *ret_us,
                           struct err *e)
{
    rc_t rc = app_statistic_latest(c->db, ep->project_id, ep->id, 0, name, ret, ret_us, e);
    return rc == E_NOTFOUND ? OK : rc;
}

static rc_t read_analysis(struct call *c, const struct endpoint *ep, struct analysis *a, struct err *e)
{
    rc_t rc = read_feature_stats(c, ep, &a->feature_stats, e);
    if (rc == OK)
        rc = read_statistic(c, ep, "current_stats", &a->current_stats, &a->current_stats_us, e);
    if (rc == OK)
        rc = read_statistic(c, ep, "drift_measures", &a->drift_measures, &a->drift_measures_us, e);
    return rc;
}

/* Those of the record may be as old as the cache lets it be. */
static void take_request_times(struct endpoint *ep, const struct schema_text *s)
{
    if (!s)
        return;
    ep->first_request_us = s->first_request_us;
    ep->last_request_us = s->last_request_us;
}

static rc_t write_record(struct call *c, const struct project *p, struct endpoint *ep, struct err *e)
{
    bool with_analysis = call_bool(c, "feature-analysis", false);
    const struct wanted wanted = read_wanted(c);
    struct background b = {0};
    struct analysis a = {0};
    struct record_extra x;
    rc_t rc = read_background(c, p->id, IDS_ONE(ep->id), &wanted, &b, e);
    if (rc == OK) {
        take_request_times(ep, schema_find(&b, ep->id));
        rc = fill_extra(c, ep, &b, &wanted, &x, e);
    }
    if (rc == OK && with_analysis)
        rc = read_analysis(c, ep, &a, e);
    if (rc == OK) {
        struct json_writer w;
        x.feature_stats = buf_str(&a.feature_stats);
        x.current_stats = str_of(a.current_stats);
        x.drift_measures = str_of(a.drift_measures);
        x.current_stats_us = a.current_stats_us;
        x.drift_measures_us = a.drift_measures_us;
        jw_init(&w, &c->out, JSON_NAN_NULL);
        record_write(&w, ep, p->name, &x);
    }
    analysis_done(&a);
    background_done(&b);
    return rc;
}

rc_t answer_endpoint(struct call *c, const struct project *p, int64_t id, struct err *e)
{
    const struct wanted nothing = {0};
    struct endpoint ep = {0};
    struct background b = {0};
    struct record_extra x;
    struct json_writer w;
    rc_t rc = endpoint_get_id(c->db, id, &ep, e);
    if (rc == OK)
        rc = read_background(c, p->id, IDS_ONE(id), &nothing, &b, e);
    if (rc == OK)
        rc = fill_extra(c, &ep, &b, &nothing, &x, e);
    if (rc == OK) {
        jw_init(&w, &c->out, JSON_NAN_NULL);
        record_write(&w, &ep, p->name, &x);
    }
    background_done(&b);
    endpoint_done(&ep);
    return rc;
}

rc_t get_endpoint(struct call *c, struct err *e)
{
    struct project p = {0};
    struct endpoint ep = {0};
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        rc = call_find(c, &p, http_param(c->r, "name"), call_str(c, "endpoint-id"), call_str(c, "function-name"),
                       call_str(c, "function-tag"), &ep, e);
    if (rc == OK)
        rc = write_record(c, &p, &ep, e);
    if (rc == OK)
        endpoint_old_answer(c);
    endpoint_done(&ep);
    project_done(&p);
    return rc;
}
