/* Owns the metrics routes, in MLRun's forms: the names there are, and their values over time. The pseudo metric
 * {project}.mlrun-infra.metric.invocations is the estimated number of predictions on a grid of ten minutes. */
#include "metrics.h"

#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/time.h"
#include "db/slot.h"
#include "event/names.h"

#define GRID_US (10 * 60 * USEC_PER_SEC)
#define NAMES_MAX 100

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

rc_t metric_types_read(struct call *c, bool ret[2], struct err *e)
{
    struct str type = call_str(c, "type", NULL);
    bool all = type.n == 0 || str_eqz(type, "all");
    ret[METRIC_RESULT] = all || str_eqz(type, "results");
    ret[METRIC_METRIC] = all || str_eqz(type, "metrics");
    return ret[METRIC_RESULT] || ret[METRIC_METRIC] ? OK : err_set(e, E_INVALID, "type: all, results or metrics is wanted");
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
    rc_t rc = metric_types_read(c, wanted, e);
    if (rc == OK)
        rc = call_project(c, &p, e);
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
};

static rc_t read_names(struct call *c, const struct project *p, struct values_query *q, struct err *e)
{
    rc_t rc = call_list(c, "name", &q->names, &q->n, e);
    if (rc == OK && q->n == 0)
        rc = err_set(e, E_INVALID, "name: at least one is wanted, such as %s.histogram-data-drift.result.general_drift",
                     p->name);
    if (rc == OK && q->n > NAMES_MAX)
        rc = err_set(e, E_LIMIT, "name: at most %d", NAMES_MAX);
    if (rc != OK)
        return rc;
    q->fqns = arena_array(c->arena, q->n, sizeof *q->fqns);
    for (size_t i = 0; i < q->n; i++) {
        rc = fqn_parse(q->names[i], &q->fqns[i], e);
        if (rc != OK)
            return err_prefix(e, rc, "name: ");
        if (!str_eqz(q->fqns[i].project, p->name))
            return err_set(e, E_INVALID,
                           "name: Metric '%.*s' does not belong to the project '%s' given in the path, but to "
                           "'%.*s'",
                           STR_FMT(q->names[i]), p->name, STR_FMT(q->fqns[i].project));
    }
    return OK;
}

static void write_time_in(struct json_writer *w, int64_t us)
{
    char text[TIME_TEXT];
    (void)time_iso_offset(text, us);
    jw_strz(w, text);
}

static void write_head(struct json_writer *w, struct str name, enum metric_type type, bool data)
{
    jw_object(w);
    jw_kv_str(w, "full_name", name);
    jw_kv_strz(w, "type", type_names[type]);
    jw_kv_bool(w, "data", data);
}

static void write_points(struct json_writer *w, enum metric_type type, const struct result_point *points, size_t n)
{
    jw_key(w, "values");
    jw_array(w);
    for (size_t i = 0; i < n; i++) {
        jw_array(w);
        write_time_in(w, points[i].end_us);
        jw_f64(w, points[i].value);
        if (type == METRIC_RESULT) {
            jw_i64(w, points[i].status);
            jw_str(w, points[i].extra);
        }
        jw_array_end(w);
    }
    jw_array_end(w);
}

static rc_t write_metric(struct call *c, struct json_writer *w, const struct endpoint *ep, const struct values_query *q,
                         size_t at, const struct metric_entry *metrics, size_t n_metrics, struct err *e)
{
    const struct fqn *f = &q->fqns[at];
    enum metric_type type = f->is_result ? METRIC_RESULT : METRIC_METRIC;
    const struct metric_entry *m = NULL;
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    struct result_point *points = NULL;
    size_t n = 0;
    rc_t rc = OK;
    for (size_t i = 0; i < n_metrics && !m; i++)
        if (metrics[i].type == type && str_eqz(f->app, metrics[i].app) && str_eqz(f->name, metrics[i].name))
            m = &metrics[i];
    if (m)
        rc = results_read(c->db, ep->project_id, ep->id, m->id, q->start_us, q->end_us, &points, &n, &rows, e);
    if (rc == OK) {
        write_head(w, q->names[at], type, n > 0);
        if (n > 0 && type == METRIC_RESULT)
            jw_kv_i64(w, "result_kind", m->result_kind);
        if (n > 0)
            write_points(w, type, points, n);
        jw_object_end(w);
    }
    mem_free(points);
    return rc;
}

static rc_t write_invocations(struct call *c, struct json_writer *w, const struct endpoint *ep,
                              const struct values_query *q, size_t at, struct err *e)
{
    struct slot_sum *sums = NULL;
    size_t n = 0;
    int64_t from = time_floor(q->start_us, GRID_US), to = time_floor(q->end_us, GRID_US) + GRID_US;
    rc_t rc = slots_sums(c->db, ep->project_id, ep->id, from, to, GRID_US, &sums, &n, e);
    if (rc == OK) {
        write_head(w, q->names[at], METRIC_METRIC, n > 0);
        if (n > 0) {
            jw_key(w, "values");
            jw_array(w);
            for (size_t i = 0; i < n; i++) {
                jw_array(w);
                write_time_in(w, sums[i].start_us);
                jw_f64(w, sums[i].estimated);
                jw_array_end(w);
            }
            jw_array_end(w);
        }
        jw_object_end(w);
    }
    mem_free(sums);
    return rc;
}

static bool is_invocations(const struct fqn *f)
{
    return !f->is_result && str_eqz(f->app, INFRA_APP) && str_eqz(f->name, INVOCATIONS);
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
        rc = is_invocations(&q->fqns[i]) ? write_invocations(c, &w, ep, q, i, e) : write_metric(c, &w, ep, q, i, m, n, e);
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
    if (rc == OK)
        rc = call_endpoint(c, &p, &ep, e);
    if (rc == OK)
        rc = write_values(c, &ep, &q, e);
    endpoint_done(&ep);
    project_done(&p);
    return rc;
}
