/* Owns what is asked of many endpoints at once, in MLRun's forms: names of metrics of several, drift over time in a project, and the
 * deletion of what an application has reported. */
#include "base/mem.h"
#include "base/time.h"
#include "event/names.h"
#include "metrics.h"
#include "store.h"

#define HOUR_US (INT64_C(3600) * 1000000)

/* ---- names of metrics ---- */
struct endpoint_names {
    char *uid;
    struct metric_entry *metrics;
    size_t n;
};
struct several {
    struct project p;
    struct endpoint_names *of;
    size_t n;
    bool wanted[2];
};

static void several_done(struct several *s)
{
    for (size_t i = 0; i < s->n; i++) {
        mem_free(s->of[i].uid);
        metrics_free(s->of[i].metrics, s->of[i].n);
    }
    mem_free(s->of);
    project_done(&s->p);
}

static bool is_there(const struct several *s, struct str uid)
{
    for (size_t i = 0; i < s->n; i++)
        if (str_eqz(uid, s->of[i].uid))
            return true;
    return false;
}

static rc_t read_several(struct call *c, struct several *s, struct err *e)
{
    const struct str *uids;
    size_t n = call_list(c, "endpoint-id", &uids);
    rc_t rc = OK;
    s->of = mem_array(n, sizeof *s->of);
    for (size_t i = 0; rc == OK && i < n; i++) {
        struct endpoint ep = {0};
        if (is_there(s, uids[i]))
            continue;
        rc = call_uid(c, &s->p, uids[i], &ep, e);
        if (rc == OK) {
            struct endpoint_names *of = &s->of[s->n++];
            *of = (struct endpoint_names){.uid = mem_dup(uids[i].p, uids[i].n)};
            rc = metrics_list(c->db, s->p.id, ep.id, &of->metrics, &of->n, e);
        }
        endpoint_done(&ep);
    }
    return rc;
}

static void write_separate(struct json_writer *w, const struct several *s)
{
    jw_object(w);
    for (size_t i = 0; i < s->n; i++) {
        jw_key(w, s->of[i].uid);
        metric_names_write(w, &s->p, s->of[i].metrics, s->of[i].n, s->wanted);
    }
    jw_object_end(w);
}

static bool all_have(const struct several *s, int32_t metric_id)
{
    for (size_t i = 0; i < s->n; i++) {
        bool found = false;
        for (size_t k = 0; !found && k < s->of[i].n; k++)
            found = s->of[i].metrics[k].id == metric_id;
        if (!found)
            return false;
    }
    return true;
}

static void write_intersection(struct json_writer *w, const struct several *s)
{
    static const char *const keys[] = {[METRIC_RESULT] = "intersect_results", [METRIC_METRIC] = "intersect_metrics"};
    jw_object(w);
    for (int type = METRIC_METRIC; type >= METRIC_RESULT; type--) {
        if (!s->wanted[type])
            continue;
        jw_key(w, keys[type]);
        jw_array(w);
        for (size_t i = 0; i < s->of[0].n; i++)
            if ((int)s->of[0].metrics[i].type == type && all_have(s, s->of[0].metrics[i].id))
                metric_name_write(w, &s->p, &s->of[0].metrics[i]);
        if (type == METRIC_METRIC)
            metric_invocations_write(w, &s->p);
        jw_array_end(w);
    }
    jw_object_end(w);
}

rc_t get_metrics_of_several(struct call *c, struct err *e)
{
    struct several s = {0};
    struct json_writer w;
    bool separate = call_choice(c, "events-format", 0) == 0;
    metric_types_read(c, s.wanted);
    rc_t rc = call_project(c, &s.p, e);
    if (rc == OK)
        rc = read_several(c, &s, e);
    if (rc == OK) {
        jw_init(&w, &c->out, JSON_NAN_NULL);
        if (separate)
            write_separate(&w, &s);
        else
            write_intersection(&w, &s);
    }
    several_done(&s);
    return rc;
}

/* ---- deletion ---- */
/* E_NOTFOUND: nobody of that name has reported anything, so that nothing is to be deleted. */
static rc_t find_app(struct call *c, const struct project *p, struct str name, int32_t *ret, struct err *e)
{
    struct app_row *apps = NULL;
    size_t n = 0;
    rc_t rc = apps_list(c->db, p->id, &apps, &n, e), found = E_NOTFOUND;
    for (size_t i = 0; rc == OK && i < n; i++)
        if (str_eqz(name, apps[i].name)) {
            *ret = apps[i].id;
            found = OK;
        }
    apps_free(apps, n);
    return rc == OK ? found : rc;
}

static rc_t delete_reported(struct call *c, const struct project *p, int32_t app_id, const int64_t *endpoints, size_t n,
                            struct err *e)
{
    rc_t rc = n ? OK : results_delete(c->db, p->id, app_id, 0, e);
    for (size_t i = 0; rc == OK && i < n; i++)
        rc = results_delete(c->db, p->id, app_id, endpoints[i], e);
    return rc;
}

static rc_t read_endpoints(struct call *c, const struct project *p, const struct str *uids, size_t n, int64_t **ret,
                           struct err *e)
{
    int64_t *ids = arena_array(c->arena, n + 1, sizeof *ids);
    rc_t rc = OK;
    for (size_t i = 0; rc == OK && i < n; i++) {
        struct endpoint ep = {0};
        rc = call_uid(c, p, uids[i], &ep, e);
        ids[i] = ep.id;
        endpoint_done(&ep);
    }
    *ret = ids;
    return rc;
}

/* An application that has never reported anything has nothing that could be deleted: MLRun's evaluate() asks before its first run. */
rc_t delete_metrics(struct call *c, struct err *e)
{
    struct project p = {0};
    struct str name = call_str(c, "application-name");
    const struct str *uids;
    int64_t *ids = NULL;
    size_t n = call_list(c, "endpoint-id", &uids);
    int32_t app_id = 0;
    if (!name_is_app(name))
        return call_complain(c, "application-name", e, "the name of an application is wanted");
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        rc = read_endpoints(c, &p, uids, n, &ids, e);
    if (rc == OK) {
        rc = find_app(c, &p, name, &app_id, e);
        rc = rc == OK ? delete_reported(c, &p, app_id, ids, n, e) : rc == E_NOTFOUND ? OK : rc;
    }
    if (rc == OK)
        c->status = 204;
    project_done(&p);
    return rc;
}

/* ---- drift over time ---- */
/* MLRun's steps: ten minutes up to six hours, hours up to three days, days. */
static int64_t step_of(int64_t span_us)
{
    return span_us <= 6 * HOUR_US ? HOUR_US / 6 : span_us <= 72 * HOUR_US ? HOUR_US : 24 * HOUR_US;
}

static void write_drift(struct json_writer *w, const struct drift_bin *bins, size_t n)
{
    char text[TIME_TEXT];
    jw_object(w);
    jw_key(w, "values");
    jw_array(w);
    for (size_t i = 0; i < n; i++) {
        (void)time_iso_offset(text, bins[i].start_us);
        jw_array(w);
        jw_strz(w, text);
        jw_i64(w, bins[i].suspected);
        jw_i64(w, bins[i].detected);
        jw_array_end(w);
    }
    jw_array_end(w);
    jw_object_end(w);
}

rc_t get_drift_over_time(struct call *c, struct err *e)
{
    struct project p = {0};
    struct drift_bin *bins = NULL;
    struct json_writer w;
    size_t n = 0;
    int64_t start = 0, end = 0, step;
    rc_t rc = call_span(c, &start, &end, e);
    if (rc == OK)
        rc = call_project(c, &p, e);
    step = step_of(end - start);
    if (rc == OK)
        rc = store_drift_bins(c->db, p.id, time_floor(start, step), end, step, &bins, &n, e);
    if (rc == OK) {
        jw_init(&w, &c->out, JSON_NAN_NULL);
        write_drift(&w, bins, n);
    }
    mem_free(bins);
    project_done(&p);
    return rc;
}
