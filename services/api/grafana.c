/* Owns the routes that Grafana's JSON data source asks, in MLRun's forms: a target is "target_endpoint=NAME;project=P;…", an answer a
 * list of names, a table, or series of [value, milliseconds]. */
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/time.h"
#include "db/result.h"
#include "metrics.h"
#include "store.h"

#define TARGETS_MAX 20
#define WINDOWS_MAX 500
#define ROUTER 2 /* endpoint_type */
#define HOUR_US (3600 * USEC_PER_SEC)

struct target {
    struct call *c;
    struct str text;
    const struct json *body;
    struct json_writer *w;
};

/* The value of a key of the target, without the backslashes that Grafana puts before what it escapes; empty: not there. */
static struct str value_of(const struct target *t, const char *key)
{
    struct str rest = t->text;
    while (rest.n) {
        const char *end = memchr(rest.p, ';', rest.n);
        struct str part = {rest.p, end ? (size_t)(end - rest.p) : rest.n};
        const char *eq = memchr(part.p, '=', part.n);
        rest = end ? (struct str){end + 1, rest.n - part.n - 1} : (struct str){0};
        if (!eq || !str_eqz((struct str){part.p, (size_t)(eq - part.p)}, key))
            continue;
        char *out = arena_alloc(t->c->arena, part.n + 1);
        size_t n = 0;
        for (const char *p = eq + 1; p < part.p + part.n; p++)
            if (*p != '\\')
                out[n++] = *p;
        return (struct str){out, n};
    }
    return (struct str){0};
}

/* The project, which the caller may read; else it is as if it were not there. */
static rc_t project_of(const struct target *t, struct project *ret, struct err *e)
{
    struct str name = value_of(t, "project");
    if (name.n == 0)
        return err_set(e, E_INVALID, "target: project= is wanted");
    if (!http_may(t->c->r, name))
        return err_set(e, E_NOTFOUND, "there is no project %.*s", STR_FMT(name));
    return call_project_named(t->c, name, ret, e);
}

static rc_t endpoint_of(const struct target *t, struct project *p, struct endpoint *ret, struct err *e)
{
    rc_t rc = project_of(t, p, e);
    return rc == OK ? call_uid(t->c, p, value_of(t, "endpoint_id"), ret, e) : rc;
}

/* The parts of a list with commas, in the arena. */
static size_t split(const struct target *t, struct str list, const struct str **ret)
{
    struct str *parts = arena_array(t->c->arena, list.n + 1, sizeof *parts);
    size_t n = 0;
    while (list.n) {
        const char *end = memchr(list.p, ',', list.n);
        struct str part = {list.p, end ? (size_t)(end - list.p) : list.n};
        if (part.n)
            parts[n++] = part;
        list = end ? (struct str){end + 1, list.n - part.n - 1} : (struct str){0};
    }
    *ret = parts;
    return n;
}

static rc_t find_endpoints(const struct target *t, const struct project *p, struct endpoint **ret, size_t *n, struct err *e)
{
    const struct str model = value_of(t, "model"), function = value_of(t, "function");
    struct endpoint_filter f = {.project_id = p->id,
                                .mode = -1,
                                .model_names = &model,
                                .n_model_names = model.n > 0,
                                .function_names = &function,
                                .n_function_names = function.n > 0,
                                .limit = API_LIST_MAX};
    f.n_uids = split(t, value_of(t, "uids"), &f.uids);
    f.n_labels = split(t, value_of(t, "labels"), &f.labels);
    return endpoints_list(t->c->db, &f, ret, n, e);
}

/* ---- names to choose from ---- */
static rc_t search_projects(const struct target *t, struct err *e)
{
    struct project *p = NULL;
    size_t n = 0;
    rc_t rc = projects_list(t->c->db, &p, &n, e);
    for (size_t i = 0; rc == OK && i < n; i++)
        if (http_may(t->c->r, str_of(p[i].name)))
            jw_strz(t->w, p[i].name);
    projects_free(p, n);
    return rc;
}

static rc_t search_endpoints(const struct target *t, struct err *e)
{
    struct project p = {0};
    struct endpoint *eps = NULL;
    size_t n = 0;
    rc_t rc = project_of(t, &p, e);
    if (rc == OK)
        rc = find_endpoints(t, &p, &eps, &n, e);
    for (size_t i = 0; rc == OK && i < n; i++)
        jw_strz(t->w, eps[i].uid);
    endpoints_free(eps, n);
    project_done(&p);
    return rc;
}

static rc_t search_metrics(const struct target *t, struct err *e)
{
    struct project p = {0};
    struct endpoint ep = {0};
    struct metric_entry *m = NULL;
    size_t n = 0;
    rc_t rc = endpoint_of(t, &p, &ep, e);
    if (rc == OK)
        rc = metrics_list(t->c->db, p.id, ep.id, &m, &n, e);
    for (size_t i = 0; rc == OK && i < n; i++)
        jw_strz(t->w, m[i].name);
    if (rc == OK)
        jw_strz(t->w, INVOCATIONS);
    metrics_free(m, n);
    endpoint_done(&ep);
    project_done(&p);
    return rc;
}

/* ---- tables ---- */
struct column {
    const char *text, *type;
};

static void table_begin(struct json_writer *w, const struct column *columns, size_t n)
{
    jw_object(w);
    jw_key(w, "columns");
    jw_array(w);
    for (size_t i = 0; i < n; i++) {
        jw_object(w);
        jw_kv_strz(w, "text", columns[i].text);
        jw_kv_strz(w, "type", columns[i].type);
        jw_object_end(w);
    }
    jw_array_end(w);
    jw_key(w, "rows");
    jw_array(w);
}

static void table_end(struct json_writer *w)
{
    jw_array_end(w);
    jw_kv_strz(w, "type", "table");
    jw_object_end(w);
}

static void write_endpoint(struct json_writer *w, const struct endpoint *ep, const struct glance *g)
{
    jw_array(w);
    jw_strz(w, ep->uid);
    jw_strz(w, ep->name);
    jw_strz(w, ep->function_name);
    jw_strz(w, ep->model_name);
    jw_strz(w, ep->model_class);
    jw_i64(w, g ? g->errors : 0);
    jw_i64(w, g ? g->worst_status : -1);
    jw_f64(w, ep->sampling_percentage);
    jw_array_end(w);
}

static rc_t query_endpoints(const struct target *t, struct err *e)
{
    static const struct column columns[] = {{"endpoint_id", "string"},          {"endpoint_name", "string"},
                                            {"endpoint_function", "string"},    {"endpoint_model", "string"},
                                            {"endpoint_model_class", "string"}, {"error_count", "number"},
                                            {"drift_status", "number"},         {"sampling_percentage", "number"}};
    struct project p = {0};
    struct endpoint *eps = NULL;
    struct glance *g = NULL;
    size_t n = 0, n_g = 0;
    bool no_router = value_of(t, "filter_router").n > 0;
    rc_t rc = project_of(t, &p, e);
    if (rc == OK)
        rc = find_endpoints(t, &p, &eps, &n, e);
    if (rc == OK)
        rc = store_glances(t->c->db, p.id, IDS_ALL, clock_now_us() - API_DAY_US, &g, &n_g, e);
    table_begin(t->w, columns, sizeof columns / sizeof *columns);
    for (size_t i = 0; rc == OK && i < n; i++)
        if (!no_router || eps[i].endpoint_type != ROUTER)
            write_endpoint(t->w, &eps[i], glance_find(g, n_g, eps[i].id));
    table_end(t->w);
    mem_free(g);
    endpoints_free(eps, n);
    project_done(&p);
    return rc;
}

static rc_t parse(const char *text, struct json **ret, struct err *e)
{
    const struct json_limits limits = {.values = 2000000, .string_bytes = 8 << 20, .accept_nan = true};
    rc_t rc = json_parse(ret, text, strlen(text), &limits, e);
    return rc == OK ? OK : err_prefix(e, E_FATAL, "stored statistics: ");
}

static rc_t read_statistic(const struct target *t, const struct endpoint *ep, const char *name, struct json **ret,
                           struct err *e)
{
    char *text = NULL;
    int64_t at_us;
    rc_t rc = app_statistic_latest(t->c->db, ep->project_id, ep->id, 0, name, &text, &at_us, e);
    if (rc == OK)
        rc = parse(text, ret, e);
    mem_free(text);
    return rc == E_NOTFOUND ? OK : rc;
}

static rc_t read_reference(const struct target *t, const struct endpoint *ep, struct json **ret, struct err *e)
{
    struct endpoint_reference r = {0};
    rc_t rc = ep->reference_version ? reference_get(t->c->db, ep->id, 0, &r, e) : E_NOTFOUND;
    if (rc == OK)
        rc = parse(r.statistics, ret, e);
    endpoint_reference_done(&r);
    return rc == E_NOTFOUND ? OK : rc;
}

/* null where there is no such number. */
static void write_numbers(struct json_writer *w, const struct json *of, const char *const *names, size_t n)
{
    struct err ignored = {0};
    for (size_t i = 0; i < n; i++) {
        double v;
        if (json_need_f64(of, names[i], &v, &ignored) == OK)
            jw_f64(w, v);
        else
            jw_null(w);
    }
}

static rc_t query_features(const struct target *t, struct err *e)
{
    static const struct column columns[] = {{"feature_name", "string"}, {"actual_min", "number"},
                                            {"actual_mean", "number"},  {"actual_max", "number"},
                                            {"expected_min", "number"}, {"expected_mean", "number"},
                                            {"expected_max", "number"}, {"tvd", "number"},
                                            {"hellinger", "number"},    {"kld", "number"}};
    static const char *const stats[] = {"min", "mean", "max"}, *const distances[] = {"tvd", "hellinger", "kld"};
    CLEANUP(json_freep) struct json *before = NULL, *now = NULL, *drift = NULL;
    struct project p = {0};
    struct endpoint ep = {0};
    rc_t rc = endpoint_of(t, &p, &ep, e);
    if (rc == OK)
        rc = read_reference(t, &ep, &before, e);
    if (rc == OK)
        rc = read_statistic(t, &ep, "current_stats", &now, e);
    if (rc == OK)
        rc = read_statistic(t, &ep, "drift_measures", &drift, e);
    table_begin(t->w, columns, sizeof columns / sizeof *columns);
    for (const struct json *f = json_first(before); rc == OK && f; f = json_next(f)) {
        jw_array(t->w);
        jw_strz(t->w, json_key(f));
        write_numbers(t->w, json_get(now, json_key(f)), stats, 3);
        write_numbers(t->w, f, stats, 3);
        write_numbers(t->w, json_get(drift, json_key(f)), distances, 3);
        jw_array_end(t->w);
    }
    table_end(t->w);
    endpoint_done(&ep);
    project_done(&p);
    return rc;
}

/* MLRun's sums are over the features that have a measure. */
static void write_overall(struct json_writer *w, const struct json *drift)
{
    static const char *const distances[] = {"tvd", "hellinger", "kld"}, *const means[] = {"tvd_mean", "hellinger_mean",
                                                                                          "kld_mean"};
    struct err ignored = {0};
    jw_array(w);
    for (size_t i = 0; i < 3; i++) {
        double sum = 0, v;
        for (const struct json *f = json_first(drift); f; f = json_next(f))
            if (json_type(f) == JSON_OBJECT && json_need_f64(f, distances[i], &v, &ignored) == OK)
                sum += v;
        jw_f64(w, sum);
        write_numbers(w, drift, &means[i], 1);
    }
    jw_array_end(w);
}

static rc_t query_overall(const struct target *t, struct err *e)
{
    static const struct column columns[] = {{"tvd_sum", "number"},       {"tvd_mean", "number"},
                                            {"hellinger_sum", "number"}, {"hellinger_mean", "number"},
                                            {"kld_sum", "number"},       {"kld_mean", "number"}};
    CLEANUP(json_freep) struct json *drift = NULL;
    struct project p = {0};
    struct endpoint ep = {0};
    rc_t rc = endpoint_of(t, &p, &ep, e);
    if (rc == OK)
        rc = read_statistic(t, &ep, "drift_measures", &drift, e);
    table_begin(t->w, columns, sizeof columns / sizeof *columns);
    if (rc == OK && drift)
        write_overall(t->w, drift);
    table_end(t->w);
    endpoint_done(&ep);
    project_done(&p);
    return rc;
}

/* ---- series ---- */
/* "now", "now-6h", or an instant. */
static rc_t read_instant(struct str text, int64_t *ret, struct err *e)
{
    static const char now[] = "now", ago[] = "now-";
    int64_t back = 0;
    if (text.n == 0)
        return OK;
    bool relative = text.n > strlen(ago) && memcmp(text.p, ago, strlen(ago)) == 0;
    if (relative && num_duration_us((struct str){text.p + strlen(ago), text.n - strlen(ago)}, &back) != OK)
        return err_set(e, E_INVALID, "rangeRaw: now-6h or an ISO 8601 time is wanted");
    if (relative || str_eqz(text, now))
        *ret = clock_now_us() - back;
    else if (time_parse(text, 0, ret) != OK)
        return err_set(e, E_INVALID, "range: an ISO 8601 time is wanted");
    return OK;
}

static rc_t read_range(const struct json *body, int64_t *from, int64_t *to, struct err *e)
{
    struct json *range = NULL;
    struct str a = {0}, b = {0};
    *to = clock_now_us();
    *from = *to - HOUR_US;
    rc_t rc = json_opt_object(body, json_get(body, "range") ? "range" : "rangeRaw", &range, e);
    if (rc == OK && range)
        rc = json_opt_str(range, "from", &a, e);
    if (rc == OK && range)
        rc = json_opt_str(range, "to", &b, e);
    if (rc == OK)
        rc = read_instant(a, from, e);
    return rc == OK ? read_instant(b, to, e) : rc;
}

/* One feature's mean in each window that has it. */
static void write_series(struct json_writer *w, const char *feature, struct json *const *stats,
                         const struct statistic_text *at, size_t n)
{
    struct err ignored = {0};
    double v;
    jw_object(w);
    jw_kv_strz(w, "target", feature);
    jw_key(w, "datapoints");
    jw_array(w);
    for (size_t i = 0; i < n; i++) {
        if (json_need_f64(json_get(stats[i], feature), "mean", &v, &ignored) != OK)
            continue;
        jw_array(w);
        jw_f64(w, v);
        jw_i64(w, at[i].end_us / 1000);
        jw_array_end(w);
    }
    jw_array_end(w);
    jw_object_end(w);
}

/* Means alone are kept of each: histograms of many windows would fill memory. */
static rc_t read_means(const struct statistic_text *s, struct json **ret, struct err *e)
{
    CLEANUP(json_freep) struct json *whole = NULL;
    const struct json_limits limits = {.values = 2000000, .string_bytes = 8 << 20, .accept_nan = true};
    struct err ignored = {0};
    double v;
    rc_t rc = json_parse(&whole, s->body.p, s->body.n, &limits, e);
    if (rc != OK)
        return err_prefix(e, E_FATAL, "stored statistics: ");
    *ret = json_new_object();
    for (const struct json *f = json_first(whole); f; f = json_next(f))
        if (json_need_f64(f, "mean", &v, &ignored) == OK)
            json_set_f64(json_set_object(*ret, json_key(f)), "mean", v);
    return OK;
}

static rc_t query_incoming(const struct target *t, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    struct project p = {0};
    struct endpoint ep = {0};
    struct statistic_text *s = NULL;
    struct json **means = NULL;
    size_t n = 0;
    int64_t from = 0, to = 0;
    rc_t rc = read_range(t->body, &from, &to, e);
    if (rc == OK)
        rc = endpoint_of(t, &p, &ep, e);
    if (rc == OK)
        rc = store_statistics(t->c->db, p.id, ep.id, "current_stats", from, to, WINDOWS_MAX, &s, &n, &rows, e);
    means = mem_array(n + 1, sizeof *means);
    for (size_t i = 0; rc == OK && i < n; i++)
        rc = read_means(&s[i], &means[i], e);
    for (const struct json *f = rc == OK && n ? json_first(means[n - 1]) : NULL; f; f = json_next(f))
        write_series(t->w, json_key(f), means, s, n);
    for (size_t i = 0; i < n; i++)
        json_free(means[i]);
    mem_free(means);
    mem_free(s);
    endpoint_done(&ep);
    project_done(&p);
    return rc;
}

/* ---- the routes ---- */
struct answering {
    const char *name;
    rc_t (*write)(const struct target *t, struct err *e);
};
static const struct answering searches[] = {{"list_projects", search_projects},
                                            {"list_endpoints", search_endpoints},
                                            {"list_metrics", search_metrics},
                                            {NULL, NULL}};
static const struct answering queries[] = {{"list_endpoints", query_endpoints},
                                           {"individual_feature_analysis", query_features},
                                           {"overall_feature_analysis", query_overall},
                                           {"incoming_features", query_incoming},
                                           {NULL, NULL}};

static rc_t answer(const struct target *t, const struct answering *of, struct err *e)
{
    struct str name = value_of(t, "target_endpoint");
    CLEANUP(buf_done) struct buf known = {0};
    for (size_t i = 0; of[i].name; i++) {
        if (str_eqz(name, of[i].name))
            return of[i].write(t, e);
        buf_addf(&known, "%s%s", i ? ", " : "", of[i].name);
    }
    return err_set(e, E_INVALID, "target: target_endpoint= one of %s is wanted", known.data);
}

rc_t get_grafana(struct call *c, struct err *e)
{
    (void)c, (void)e; /* somebody is here */
    return OK;
}

rc_t post_grafana_search(struct call *c, struct err *e)
{
    CLEANUP(json_freep) struct json *body = NULL;
    struct json_writer w;
    struct target t = {.c = c, .w = &w};
    rc_t rc = call_json(c, &body, e);
    if (rc == OK)
        rc = json_need_str(body, "target", &t.text, e);
    if (rc != OK)
        return rc;
    jw_init(&w, &c->out, JSON_NAN_NULL);
    jw_array(&w);
    rc = answer(&t, searches, e);
    if (rc == OK)
        jw_array_end(&w);
    return rc;
}

rc_t post_grafana_query(struct call *c, struct err *e)
{
    CLEANUP(json_freep) struct json *body = NULL;
    struct json *targets = NULL;
    struct json_writer w;
    rc_t rc = call_json(c, &body, e);
    if (rc == OK)
        rc = json_need_array(body, "targets", &targets, e);
    if (rc == OK && (json_len(targets) == 0 || json_len(targets) > TARGETS_MAX))
        rc = json_complain(targets, e, "1 to %d are wanted", TARGETS_MAX);
    jw_init(&w, &c->out, JSON_NAN_NULL);
    jw_array(&w);
    for (const struct json *j = json_first(targets); rc == OK && j; j = json_next(j)) {
        struct target t = {.c = c, .body = body, .w = &w};
        rc = json_need_str(j, "target", &t.text, e);
        if (rc == OK)
            rc = answer(&t, queries, e);
    }
    if (rc == OK)
        jw_array_end(&w);
    return rc;
}
