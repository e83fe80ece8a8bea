/* The default app, histogram-data-drift: how far each feature of a window is from the training set, and the mean of all.
 *
 *   result  general_drift     data_drift   mean of hellinger_mean and tvd_mean; extra: reason, rows, every feature
 *   result  prediction_drift  data_drift   the same over the model's outputs, when the training labels are known
 *   metrics hellinger_mean, kld_mean, tvd_mean (in MLRun's order; left out when nothing can be compared)
 *   stats   current_stats, drift_measures
 *
 * and what DRIFT_METRICS names:
 *   metrics psi_mean, jensen_shannon_mean, wasserstein_mean, chi2_mean: means over the inputs; each feature's in the extra data
 *   metrics previous_drift, previous_hellinger_mean, previous_tvd_mean: against the window before, in the same bins
 *   metrics missing_share, out_of_range_share, wrong_type_share: means over the inputs; artifact data_quality: each feature's */
#include <math.h>
#include <string.h>
#include "drift_app.h"
#include "base/mem.h"
#include "json/write.h"
#include "stats/missing.h"
#include "stats/worst.h"

#define EXTRA_BYTES_MAX (48u << 10) /* of RESULT_EXTRA_MAX: what does not fit is in drift_measures */

struct drift_app_options {
    int edges; /* enum drift_edges */
    double potential, detected;
    int64_t min_samples; /* -1: the edge rule's own */
    char *metrics;
};

/* What DRIFT_METRICS may name, beside the names in measures[]. */
#define METRIC_PREVIOUS "previous"
#define METRIC_QUALITY "quality"

/* ---- options ---- */
static bool is_name(struct str word)
{
    for (size_t i = 0; i < N_MEASURES; i++)
        if (str_eqz(word, measures[i].name))
            return true;
    return str_eqz(word, METRIC_PREVIOUS) || str_eqz(word, METRIC_QUALITY);
}

/* The next word of a list; n 0: there is none. */
static struct str next_word(const char **at)
{
    *at += strspn(*at, ", ");
    struct str word = {*at, strcspn(*at, ", ")};
    *at += word.n;
    return word;
}

static rc_t check_metrics(const char *text, struct err *e)
{
    for (struct str word; (word = next_word(&text)).n;)
        if (!is_name(word))
            return err_set(e, E_INVALID, "'%.*s' is none of psi, jensen_shannon, wasserstein, chi2, previous, quality",
                           STR_FMT(word));
    return OK;
}

static const struct config_value edges_values[] = {{"closed", DRIFT_EDGES_CLOSED}, {"mlrun", DRIFT_EDGES_MLRUN}, {NULL, 0}};
static const char *const edges_names[] = {[DRIFT_EDGES_CLOSED] = "closed", [DRIFT_EDGES_MLRUN] = "mlrun"};

#define AT(field) offsetof(struct drift_app_options, field)
static const struct config_key keys[] = {
    {.env = "DRIFT_EDGES",
     .def = "closed",
     .type = CONFIG_ENUM,
     .offset = AT(edges),
     .values = edges_values,
     .help = "closed: the last bin holds the training set's maximum, identical data drifts 0. mlrun: MLRun's numbers, "
             "bit for bit."},
    {.env = "DRIFT_POTENTIAL", .def = "0.5", .type = CONFIG_F64, .offset = AT(potential), .help = "From here on a drift is potential."},
    {.env = "DRIFT_DETECTED",
     .def = "0.7",
     .type = CONFIG_F64,
     .offset = AT(detected),
     .help = "From here on it is detected; 0 < DRIFT_POTENTIAL < DRIFT_DETECTED < 1."},
    {.env = "MIN_SAMPLES",
     .def = "-1",
     .type = CONFIG_I64,
     .offset = AT(min_samples),
     .min = -1,
     .max = 1000000000,
     .help = "Rows that a window needs; with fewer the status is -1, insufficient_samples. -1: 30, or 1 with "
             "DRIFT_EDGES=mlrun."},
    {.env = "DRIFT_METRICS",
     .def = "",
     .type = CONFIG_STR,
     .offset = AT(metrics),
     .check = check_metrics,
     .help = "More metrics, separated by commas: psi, jensen_shannon, wasserstein, chi2, previous (against the window "
             "before), quality (missing, out of range, wrong type)."},
};

static bool wants(const struct drift_app_options *o, const char *name)
{
    const char *at = o->metrics;
    for (struct str word; (word = next_word(&at)).n;)
        if (str_eqz(word, name))
            return true;
    return false;
}

static rc_t check_thresholds(const void *opts, struct err *e)
{
    const struct drift_app_options *o = opts;
    return drift_check_thresholds(o->potential, o->detected, e);
}

static const struct config_rule rules[] = {{{"DRIFT_POTENTIAL", "DRIFT_DETECTED"}, check_thresholds, NULL}};

static struct drift_options drift_options_of(const struct drift_app_options *o)
{
    struct drift_options d = drift_options_default((enum drift_edges)o->edges);
    d.potential = o->potential;
    d.detected = o->detected;
    if (o->min_samples >= 0)
        d.min_samples = (uint64_t)o->min_samples;
    return d;
}

/* ---- more than MLRun's ---- */
struct more {
    bool wanted[N_MEASURES], any, previous, quality;
    struct drift_column *columns;
    double rows;                    /* of the training set */
    double (*measured)[N_MEASURES]; /* of each feature of the reference */
};

static void measure_all(const struct drift_app_options *o, const struct app_input *in, struct more *m)
{
    size_t n = in->reference ? in->reference->n : 0;
    m->columns = arena_array(in->arena, n + 1, sizeof *m->columns);
    m->measured = arena_array(in->arena, n + 1, sizeof *m->measured);
    m->previous = n && wants(o, METRIC_PREVIOUS);
    m->quality = n && wants(o, METRIC_QUALITY);
    m->rows = n ? missing_rows(in->reference) : NAN;
    drift_columns_of(in->layout, in->window, m->columns);
    for (int k = 0; k < N_MEASURES; k++) {
        m->wanted[k] = n && wants(o, measures[k].name);
        m->any = m->any || m->wanted[k];
    }
    for (size_t i = 0; m->any && i < n; i++)
        drift_measure(&in->reference->features[i], m->columns[i].counts, (enum drift_edges)o->edges, m->measured[i]);
}

/* A mean over what is there of it. */
struct mean {
    double sum;
    size_t n;
};

static void mean_add(struct mean *m, double x)
{
    if (isnan(x))
        return;
    m->sum += x;
    m->n++;
}

static void answer_mean(struct app_output *out, const char *name, const struct mean *m)
{
    if (m->n)
        app_metric(out, name, m->sum / (double)m->n);
}

static bool is_input(const struct more *m, const struct app_input *in, size_t i)
{
    return !in->reference->features[i].is_label && !m->columns[i].is_label;
}

static void answer_measures(const struct more *m, const struct app_input *in, struct app_output *out)
{
    for (int k = 0; k < N_MEASURES; k++) {
        struct mean mean = {0};
        for (size_t i = 0; m->wanted[k] && i < in->reference->n; i++)
            if (is_input(m, in, i))
                mean_add(&mean, m->measured[i][k]);
        answer_mean(out, measures[k].mean_name, &mean);
    }
}

static rc_t answer_previous(const struct drift_app_options *o, const struct more *m, const struct app_input *in,
                            struct app_output *out, struct err *e)
{
    struct slot *before = NULL;
    struct mean hellinger = {0}, tvd = {0}, both = {0};
    double d[N_DISTANCES];
    rc_t rc = app_earlier(in, in->start_us - (in->end_us - in->start_us), in->start_us, &before, e);
    if (rc)
        return rc;
    struct drift_column *columns = arena_array(in->arena, in->reference->n + 1, sizeof *columns);
    drift_columns_of(in->layout, before, columns);
    for (size_t i = 0; i < in->reference->n; i++) {
        if (!is_input(m, in, i) || !drift_between(&in->reference->features[i], m->columns[i].counts, columns[i].counts,
                                                  (enum drift_edges)o->edges, d))
            continue;
        mean_add(&hellinger, d[DISTANCE_HELLINGER]);
        mean_add(&tvd, d[DISTANCE_TVD]);
        mean_add(&both, (d[DISTANCE_HELLINGER] + d[DISTANCE_TVD]) / 2);
    }
    slot_free(before);
    answer_mean(out, "previous_drift", &both);
    answer_mean(out, "previous_hellinger_mean", &hellinger);
    answer_mean(out, "previous_tvd_mean", &tvd);
    return OK;
}

static void answer_quality(const struct more *m, const struct app_input *in, struct app_output *out)
{
    struct mean missing = {0}, outside = {0}, wrong = {0};
    struct buf text = {0};
    struct json_writer w;
    jw_init(&w, &text, JSON_NAN_NULL);
    jw_object(&w);
    for (size_t i = 0; i < in->reference->n; i++) {
        const struct drift_quality q = drift_quality(&in->reference->features[i], m->columns[i].counts);
        jw_key_str(&w, in->reference->features[i].name);
        jw_object(&w);
        jw_kv_f64(&w, "missing", q.missing);
        jw_kv_f64(&w, "out_of_range", q.out_of_range);
        jw_kv_f64(&w, "wrong_type", q.wrong_type);
        jw_object_end(&w);
        if (!is_input(m, in, i))
            continue;
        mean_add(&missing, q.missing);
        mean_add(&outside, q.out_of_range);
        mean_add(&wrong, q.wrong_type);
    }
    jw_object_end(&w);
    answer_mean(out, "missing_share", &missing);
    answer_mean(out, "out_of_range_share", &outside);
    answer_mean(out, "wrong_type_share", &wrong);
    app_artifact(out, in, "data_quality", buf_str(&text));
    buf_done(&text);
}

/* ---- the answer ---- */
static bool write_feature(struct json_writer *w, const struct drift_feature *f, const struct app_input *in,
                          const struct more *m, size_t at)
{
    bool news = false;
    jw_key_str(w, f->name);
    jw_object(w);
    jw_kv_strz(w, "outcome", drift_outcome_name(f->outcome));
    for (size_t i = 0; f->outcome == DRIFT_OK && i < N_DISTANCES; i++)
        jw_kv_f64(w, distances[i].name, f->distance[i]);
    for (size_t i = 0; f->outcome == DRIFT_OK && i < N_MEASURES; i++)
        if (m->wanted[i])
            jw_kv_f64(w, measures[i].name, m->measured[at][i]);
    if (f->is_label)
        jw_kv_bool(w, "label", true);
    if (f->missing)
        jw_kv_i64(w, "missing", (int64_t)f->missing);
    const struct missing_move move = missing_move_of(&in->reference->features[at], m->rows, m->columns[at].counts);
    if (move.moved) {
        jw_kv_f64(w, "missing_before", move.before);
        jw_kv_f64(w, "missing_now", move.now);
    }
    if (f->wrong_type)
        jw_kv_i64(w, "wrong_type", (int64_t)f->wrong_type);
    if (f->outcome == DRIFT_OK)
        news = drift_news_json(&in->reference->features[at], m->columns[at].counts, w);
    jw_object_end(w);
    return news;
}

/* What to do about it, as it is typed. The name of an endpoint may hold anything, and then the uid stands for it. */
static void write_command(struct json_writer *w, const struct app_input *in)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    const char *name = in->endpoint->name;
    bool typed = *name && *name != '-' && strspn(name, plain) == strlen(name);
    const char *text = arena_printf(in->arena,
                                    "there is no reference to compare with: modelmon reference %.*s/%s --csv FILE",
                                    STR_FMT(in->project), typed ? name : in->endpoint->uid);
    jw_kv_strz(w, "text", text);
}

/* Why, from how much, against what, and each feature as far as there is room. */
static void write_extra(const struct drift_result *d, const struct drift_options *o, const struct app_input *in,
                        const struct more *m, struct buf *out)
{
    struct json_writer w;
    size_t i = 0, news = 0;
    jw_init(&w, out, JSON_NAN_NULL);
    jw_object(&w);
    if (d->reason[0])
        jw_kv_strz(&w, "reason", d->reason);
    if (d->n_features == 0)
        write_command(&w, in);
    const struct drift_worst worst = drift_worst_of(d, o);
    drift_worst_json(&worst, &w); /* near the beginning: a list of endpoints reads no further */
    jw_kv_i64(&w, "samples", (int64_t)d->rows);
    jw_kv_i64(&w, "min_samples", (int64_t)o->min_samples);
    jw_kv_i64(&w, "reference_version", in->reference ? in->reference->version : 0);
    if (in->reference && in->reference->automatic)
        jw_kv_strz(&w, "reference_source", REFERENCE_AUTO);
    jw_kv_strz(&w, "edges", edges_names[o->edges]);
    jw_kv_f64(&w, "potential", o->potential); /* a page draws them */
    jw_kv_f64(&w, "detected", o->detected);
    jw_kv_i64(&w, "compared", (int64_t)d->n_compared);
    if (in->rows_missing)
        jw_kv_i64(&w, "rows_missing", in->rows_missing);
    jw_key(&w, "features");
    jw_object(&w);
    for (; i < d->n_features && out->len < EXTRA_BYTES_MAX; i++)
        news += write_feature(&w, &d->features[i], in, m, i);
    jw_object_end(&w);
    if (news)
        jw_kv_i64(&w, "categories_changed", (int64_t)news);
    if (i < d->n_features)
        jw_kv_i64(&w, "features_omitted", (int64_t)(d->n_features - i));
    jw_object_end(&w);
}

static void answer_drift(const struct drift_result *d, const struct drift_options *o, const struct app_input *in,
                         const struct more *m, struct app_output *out)
{
    struct buf extra = {0};
    write_extra(d, o, in, m, &extra);
    app_result(out, "general_drift", d->general_drift, KIND_DATA_DRIFT, (int)d->status, buf_str(&extra));
    buf_done(&extra);
    if (d->n_labels == 0)
        return;
    buf_addf(&extra, "{\"samples\":%llu,\"labels\":%zu%s%s}", (unsigned long long)d->rows, d->n_labels,
             d->reason[0] && d->prediction_status == DRIFT_IRRELEVANT ? ",\"reason\":\"insufficient_samples\"" : "",
             in->reference->automatic ? ",\"reference_source\":\"" REFERENCE_AUTO "\"" : "");
    app_result(out, "prediction_drift", d->prediction_drift, KIND_DATA_DRIFT, (int)d->prediction_status, buf_str(&extra));
    buf_done(&extra);
}

static void answer_means(const struct drift_result *d, struct app_output *out)
{
    static const int order[] = {DISTANCE_HELLINGER, DISTANCE_KLD, DISTANCE_TVD};
    for (size_t i = 0; d->n_compared && i < sizeof order / sizeof *order; i++)
        app_metric(out, distances[order[i]].mean_name, d->mean[order[i]]);
}

static void answer_statistics(const struct drift_result *d, const struct drift_options *o, const struct app_input *in,
                              struct app_output *out)
{
    struct drift_column *columns = arena_array(in->arena, in->reference->n + 1, sizeof *columns);
    struct buf text = {0};
    drift_columns_of(in->layout, in->window, columns);
    drift_current_stats_json(in->reference, columns, o->edges, &text);
    app_statistics(out, "current_stats", buf_str(&text), in->end_us);
    buf_clear(&text);
    drift_measures_json(d, &text);
    app_statistics(out, "drift_measures", buf_str(&text), in->end_us);
    buf_done(&text);
}

static rc_t track(const void *opts, const struct app_input *in, struct app_output *out, struct err *e)
{
    const struct drift_options o = drift_options_of(opts);
    struct drift_result d = {0};
    struct more more = {0};
    rc_t rc = OK; /* every window has an answer: a feature that cannot be compared says why */
    drift_compute_slot(in->layout, in->window, &o, &d);
    measure_all(opts, in, &more);
    answer_drift(&d, &o, in, &more, out);
    answer_means(&d, out);
    answer_measures(&more, in, out);
    if (more.previous)
        rc = answer_previous(opts, &more, in, out, e);
    if (more.quality)
        answer_quality(&more, in, out);
    if (in->reference)
        answer_statistics(&d, &o, in, out);
    drift_result_done(&d);
    return rc;
}

const struct app drift_app = {
    .name = "histogram-data-drift",
    .version = "1",
    .summary = "Measures how far the features of each window are from the training set.",
    .keys = keys,
    .n_keys = sizeof keys / sizeof *keys,
    .opts_size = sizeof(struct drift_app_options),
    .rules = rules,
    .n_rules = sizeof rules / sizeof *rules,
    .track = track,
};
