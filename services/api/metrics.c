/* Owns the metrics routes, in MLRun's forms: the names there are, and their values over time. The pseudo metric
 * {project}.mlrun-infra.metric.invocations is the estimated number of predictions on a grid of ten minutes. */
#include "metrics.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/time.h"
#include "db/slot.h"
#include "event/names.h"
#include "series.h"

#define GRID_US (10 * 60 * USEC_PER_SEC)
#define NAMES_MAX 100
#define BINS_DEFAULT 20

static const char *const type_names[] = {[METRIC_RESULT] = "result", [METRIC_METRIC] = "metric"};

/* ---- names ---- */
static void write_name(struct json_writer *w, const struct project *p, const char *app, const char *name,
                       enum metric_type type, int kind)
{
    char fqn[NAME_FQN_MAX + 1];
    (void)fqn_metric(fqn, str_of(p->name), str_of(app), type == METRIC_RESULT, str_of(name));
    jw_object(w);
    jw_kv_strz(w, "project", p->name);
    jw_kv_strz(w, "app", app);
    jw_kv_strz(w, "type", type_names[type]);
    jw_kv_strz(w, "name", name);
    jw_kv_strz(w, "full_name", fqn);
    jw_key(w, "kind");
    if (type == METRIC_RESULT && kind >= 0)
        jw_i64(w, kind);
    else
        jw_null(w);
    jw_object_end(w);
}

void metric_name_write(struct json_writer *w, const struct project *p, const struct metric_entry *m)
{
    write_name(w, p, m->app, m->name, m->type, m->result_kind);
}

void metric_invocations_write(struct json_writer *w, const struct project *p)
{
    write_name(w, p, INFRA_APP, INVOCATIONS, METRIC_METRIC, -1);
}

void metric_types_read(struct call *c, bool ret[2])
{
    int type = call_choice(c, "type", 0);
    ret[METRIC_RESULT] = type != 2;
    ret[METRIC_METRIC] = type != 1;
}

void metric_names_write(struct json_writer *w, const struct project *p, const struct metric_entry *m, size_t n,
                        const bool wanted[2])
{
    jw_array(w);
    for (int type = METRIC_RESULT; type <= METRIC_METRIC; type++) /* results first, as MLRun does */
        for (size_t i = 0; i < n; i++)
            if (wanted[type] && (int)m[i].type == type)
                metric_name_write(w, p, &m[i]);
    if (wanted[METRIC_METRIC])
        metric_invocations_write(w, p);
    jw_array_end(w);
}

rc_t get_metrics(struct call *c, struct err *e)
{
    struct project p = {0};
    struct endpoint ep = {0};
    struct metric_entry *m = NULL;
    size_t n = 0;
    bool wanted[2];
    struct json_writer w;
    metric_types_read(c, wanted);
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        rc = call_endpoint(c, &p, &ep, e);
    if (rc == OK)
        rc = metrics_list(c->db, p.id, ep.id, &m, &n, e);
    if (rc == OK) {
        jw_init(&w, &c->out, JSON_NAN_NULL);
        metric_names_write(&w, &p, m, n, wanted);
    }
    metrics_free(m, n);
    endpoint_done(&ep);
    project_done(&p);
    return rc;
}

/* ---- values ---- */
struct values_query {
    const struct str *names;
    struct fqn *fqns;
    size_t n;
    int64_t start_us, end_us;
    /* what MLRun's answer has not */
    bool thresholds, histogram;
    int64_t bins, max_points, back_us; /* max_points 0: all; back_us: how much earlier the time compared with is, 0: none */
};

static rc_t read_names(struct call *c, const struct project *p, struct values_query *q, struct err *e)
{
    c->field = "name";
    q->n = call_list(c, "name", &q->names);
    if (q->n > NAMES_MAX)
        return call_complain(c, "name", e, "at most %d", NAMES_MAX);
    q->fqns = arena_array(c->arena, q->n, sizeof *q->fqns);
    for (size_t i = 0; i < q->n; i++) {
        rc_t rc = fqn_parse(q->names[i], &q->fqns[i], e);
        if (rc != OK)
            return err_prefix(e, rc, "name: ");
        if (!str_eqz(q->fqns[i].project, p->name))
            return call_complain(c, "name", e,
                                 "Metric '%.*s' does not belong to the project '%s' given in the path, but to '%.*s'",
                                 STR_FMT(q->names[i]), p->name, STR_FMT(q->fqns[i].project));
    }
    c->field = NULL;
    return OK;
}

static void read_extras(struct call *c, struct values_query *q)
{
    const int64_t back[] = {0, q->end_us - q->start_us, API_DAY_US, 7 * API_DAY_US}; /* none, previous, day, week */
    q->thresholds = call_bool(c, "thresholds", false);
    q->histogram = call_bool(c, "histogram", false);
    q->max_points = call_i64(c, "max_points", 0);
    q->bins = str_eqz(call_str(c, "bins"), "auto") ? SERIES_BINS_AUTO : call_i64(c, "bins", BINS_DEFAULT);
    q->back_us = back[call_choice(c, "compare", 0)];
}

static void write_time_in(struct json_writer *w, int64_t us)
{
    char text[TIME_TEXT];
    (void)time_iso_offset(text, us);
    jw_strz(w, text);
}

/* One name's values in a time. */
struct series {
    struct result_point *points;
    size_t n;
    struct db_rows *rows;
};

static void series_done(struct series *s)
{
    mem_free(s->points);
    db_rows_free(s->rows);
    *s = (struct series){0};
}

static bool is_invocations(const struct fqn *f)
{
    return !f->is_result && str_eqz(f->app, INFRA_APP) && str_eqz(f->name, INVOCATIONS);
}

static rc_t read_invocations(struct call *c, const struct endpoint *ep, int64_t start_us, int64_t end_us,
                             struct series *ret, struct err *e)
{
    struct slot_sum *sums = NULL;
    size_t n = 0;
    int64_t from = time_floor(start_us, GRID_US), to = time_floor(end_us, GRID_US) + GRID_US;
    rc_t rc = slots_sums(c->db, ep->project_id, ep->id, from, to, GRID_US, &sums, &n, e);
    if (rc == OK) {
        *ret = (struct series){.points = mem_array(n, sizeof *ret->points), .n = n};
        for (size_t i = 0; i < n; i++)
            ret->points[i] = (struct result_point){.end_us = sums[i].start_us, .value = sums[i].estimated};
    }
    mem_free(sums);
    return rc;
}

static rc_t read_series(struct call *c, const struct endpoint *ep, const struct fqn *f, const struct metric_entry *m,
                        int64_t start_us, int64_t end_us, struct series *ret, struct err *e)
{
    if (is_invocations(f))
        return read_invocations(c, ep, start_us, end_us, ret, e);
    return m ? results_read(c->db, ep->project_id, ep->id, m->id, start_us, end_us, &ret->points, &ret->n, &ret->rows, e)
             : OK; /* of no app: no values */
}

static void write_points(struct json_writer *w, enum metric_type type, const struct series *s)
{
    jw_key(w, "values");
    jw_array(w);
    for (size_t i = 0; i < s->n; i++) {
        jw_array(w);
        write_time_in(w, s->points[i].end_us);
        jw_f64(w, s->points[i].value);
        if (type == METRIC_RESULT) {
            jw_i64(w, s->points[i].status);
            jw_str(w, s->points[i].extra);
        }
        jw_array_end(w);
    }
    jw_array_end(w);
}

/* The values last: all of them have been counted by then, and fewer are shown. */
static void write_shown(struct json_writer *w, const struct values_query *q, enum metric_type type, struct series *s)
{
    if (q->histogram) {
        jw_key(w, "histogram");
        series_write_histogram(w, s->points, s->n, q->bins);
    }
    if (q->max_points) {
        jw_kv_i64(w, "points", (int64_t)s->n);
        s->n = series_thin(s->points, s->n, (size_t)q->max_points);
    }
    write_points(w, type, s);
}

static rc_t write_compared(struct call *c, struct json_writer *w, const struct endpoint *ep,
                           const struct values_query *q, size_t at, const struct metric_entry *m, struct err *e)
{
    struct series s = {0};
    int64_t start = q->start_us - q->back_us, end = q->end_us - q->back_us;
    rc_t rc = read_series(c, ep, &q->fqns[at], m, start, end, &s, e);
    if (rc == OK) {
        jw_key(w, "compare");
        jw_object(w);
        jw_key(w, "start");
        write_time_in(w, start);
        jw_key(w, "end");
        write_time_in(w, end);
        write_shown(w, q, q->fqns[at].is_result ? METRIC_RESULT : METRIC_METRIC, &s);
        jw_object_end(w);
    }
    series_done(&s);
    return rc;
}

static rc_t write_metric(struct call *c, struct json_writer *w, const struct endpoint *ep, const struct values_query *q,
                         size_t at, const struct metric_entry *m, struct err *e)
{
    enum metric_type type = q->fqns[at].is_result ? METRIC_RESULT : METRIC_METRIC;
    struct series s = {0};
    rc_t rc = read_series(c, ep, &q->fqns[at], m, q->start_us, q->end_us, &s, e);
    if (rc != OK)
        return rc;
    jw_object(w);
    jw_kv_str(w, "full_name", q->names[at]);
    jw_kv_strz(w, "type", type_names[type]);
    jw_kv_bool(w, "data", s.n > 0);
    if (s.n > 0 && m && type == METRIC_RESULT)
        jw_kv_i64(w, "result_kind", m->result_kind);
    if (q->thresholds) {
        jw_key(w, "thresholds");
        series_write_thresholds(w, s.points, s.n);
    }
    if (s.n > 0)
        write_shown(w, q, type, &s);
    if (q->back_us)
        rc = write_compared(c, w, ep, q, at, m, e);
    jw_object_end(w);
    series_done(&s);
    return rc;
}

static const struct metric_entry *find_metric(const struct metric_entry *m, size_t n, const struct fqn *f)
{
    enum metric_type type = f->is_result ? METRIC_RESULT : METRIC_METRIC;
    for (size_t i = 0; i < n; i++)
        if (m[i].type == type && str_eqz(f->app, m[i].app) && str_eqz(f->name, m[i].name))
            return &m[i];
    return NULL;
}

static rc_t write_values(struct call *c, const struct endpoint *ep, const struct values_query *q, struct err *e)
{
    struct metric_entry *m = NULL;
    size_t n = 0;
    struct json_writer w;
    rc_t rc = metrics_list(c->db, ep->project_id, ep->id, &m, &n, e);
    jw_init(&w, &c->out, JSON_NAN_NULL);
    jw_array(&w);
    for (size_t i = 0; rc == OK && i < q->n; i++)
        rc = write_metric(c, &w, ep, q, i, find_metric(m, n, &q->fqns[i]), e);
    if (rc == OK)
        jw_array_end(&w);
    metrics_free(m, n);
    return rc;
}

rc_t get_metrics_values(struct call *c, struct err *e)
{
    struct project p = {0};
    struct endpoint ep = {0};
    struct values_query q = {0};
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        rc = read_names(c, &p, &q, e);
    if (rc == OK)
        rc = call_span(c, &q.start_us, &q.end_us, e);
    read_extras(c, &q);
    if (rc == OK)
        rc = call_endpoint(c, &p, &ep, e);
    if (rc == OK)
        rc = write_values(c, &ep, &q, e);
    endpoint_done(&ep);
    project_done(&p);
    return rc;
}
