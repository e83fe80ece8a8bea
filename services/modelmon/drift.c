/* modelmon drift: how far one file is from another, without any server; the numbers are those of the drift app. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/mem.h"
#include "files.h"
#include "json/write.h"
#include "stats/missing.h"
#include "stats/worst.h"
#include "term.h"
#include "tool.h"

#define SHOWN_MAX 40
#define NAME_WIDTH 24

struct drift_verb_options {
    const char *reference, *sample, *labels;
    int edges;
    double potential, detected;
    int64_t min_samples;
    bool json, check, features;
};

#define AT(field) .offset = offsetof(struct drift_verb_options, field)
static const struct config_value edges_values[] = {{"closed", DRIFT_EDGES_CLOSED}, {"mlrun", DRIFT_EDGES_MLRUN}, {NULL, 0}};
static const struct config_key keys[] = {
    {.env = "REFERENCE",
     .type = CONFIG_STR,
     .flags = CONFIG_REQUIRED | CONFIG_FLAG,
     AT(reference),
     .help = "What the model was trained on: a CSV or Parquet file, or statistics of it as JSON."},
    {.env = "SAMPLE",
     .type = CONFIG_STR,
     .flags = CONFIG_REQUIRED | CONFIG_FLAG,
     AT(sample),
     .help = "What it was asked: a CSV or Parquet file."},
    {.env = "LABELS",
     .def = "",
     .type = CONFIG_STR,
     .flags = CONFIG_FLAG,
     AT(labels),
     .help = "Columns that are outputs, a,b: told apart, not in general_drift (with mlrun they are)."},
    {.env = "EDGES",
     .def = "closed",
     .type = CONFIG_ENUM,
     .flags = CONFIG_FLAG,
     .values = edges_values,
     AT(edges),
     .help = "closed: the last bin holds the maximum, identical data drifts 0. mlrun: MLRun's numbers, bit for bit."},
    {.env = "POTENTIAL", .def = "0.5", .type = CONFIG_F64, .flags = CONFIG_FLAG, AT(potential), .help = "From here on a drift is potential."},
    {.env = "DETECTED", .def = "0.7", .type = CONFIG_F64, .flags = CONFIG_FLAG, AT(detected), .help = "From here on it is detected."},
    {.env = "MIN_SAMPLES",
     .def = "-1",
     .type = CONFIG_I64,
     .flags = CONFIG_FLAG,
     .min = -1,
     .max = 1000000000,
     AT(min_samples),
     .help = "Rows that a sample needs for an answer; -1: 30, or 1 with mlrun."},
    {.env = "JSON", .def = "false", .type = CONFIG_BOOL, .flags = CONFIG_FLAG, AT(json), .help = "One JSON object instead of a table."},
    {.env = "CHECK",
     .def = "false",
     .type = CONFIG_BOOL,
     .flags = CONFIG_FLAG,
     AT(check),
     .help = "Exit code 3 when drift is detected, 4 when that cannot be said: for a build that must not go on."},
    {.env = "FEATURES",
     .def = "false",
     .type = CONFIG_BOOL,
     .flags = CONFIG_FLAG,
     AT(features),
     .help = "check: also when any input alone is from --detected on; general_drift, a mean, hides few among many."},
};

static void print_json(const struct drift_result *d, const struct drift_worst *worst, struct buf *out)
{
    static const int order[] = {DISTANCE_HELLINGER, DISTANCE_KLD, DISTANCE_TVD};
    struct json_writer w;
    jw_init(&w, out, JSON_NAN_NULL);
    jw_object(&w);
    jw_kv_f64(&w, "general_drift", d->general_drift);
    jw_kv_i64(&w, "status", d->status);
    if (*d->reason)
        jw_kv_strz(&w, "reason", d->reason);
    drift_worst_json(worst, &w);
    jw_key(&w, "metrics");
    jw_object(&w);
    for (size_t i = 0; i < N_DISTANCES; i++)
        jw_kv_f64(&w, distances[order[i]].mean_name, d->mean[order[i]]);
    jw_object_end(&w);
    jw_key(&w, "features");
    jw_object(&w);
    for (size_t i = 0; i < d->n_features; i++) {
        jw_key_str(&w, d->features[i].name);
        jw_object(&w);
        for (size_t k = 0; k < N_DISTANCES; k++)
            jw_kv_f64(&w, distances[k].name, d->features[i].distance[k]);
        jw_object_end(&w);
    }
    jw_object_end(&w);
    jw_object_end(&w);
    buf_addc(out, '\n');
}

static int most_first(const void *a, const void *b)
{
    const struct drift_feature *x = *(const struct drift_feature *const *)a, *y = *(const struct drift_feature *const *)b;
    double dx = drift_feature_value(x), dy = drift_feature_value(y);
    dx = isnan(dx) ? -1 : dx;
    dy = isnan(dy) ? -1 : dy;
    return dx != dy ? (dx < dy ? 1 : -1) : (x > y) - (x < y);
}

static void print_feature(const struct drift_feature *f, const struct missing_move *missing, struct buf *out)
{
    term_add_cell(out, f->name, NAME_WIDTH);
    term_bar(out, drift_feature_value(f), 20);
    if (f->outcome != DRIFT_OK)
        buf_addf(out, "  %s", drift_outcome_name(f->outcome));
    else
        buf_addf(out, "  %.3f  %9.3f  %6.3f", f->distance[DISTANCE_TVD], f->distance[DISTANCE_HELLINGER],
                 f->distance[DISTANCE_KLD]);
    buf_addf(out, "%s", f->is_label ? "  (output)" : "");
    if (f->wrong_type)
        buf_addf(out, "  (%llu of another type)", (unsigned long long)f->wrong_type);
    if (missing->moved) {
        buf_addz(out, "  (");
        missing_words(missing->before, missing->now, out);
        buf_addc(out, ')');
    }
    buf_addc(out, '\n');
}

static void print_total(const char *name, double value, int status, struct buf *out)
{
    term_add_cell(out, str_of(name), NAME_WIDTH);
    term_bar(out, value, 20);
    if (isnan(value))
        buf_addz(out, "         ");
    else
        buf_addf(out, "  %.3f  ", value);
    term_add_status(out, status, term_is(stdout));
}

static void add_lost(const struct drift_result *d, const struct drift_worst *worst, struct buf *out)
{
    struct buf words = {0};
    size_t n = 0;
    drift_lost_words(worst, &words);
    for (size_t i = 0; worst->lost && i < d->n_features; i++)
        if (!d->features[i].is_label && drift_outcome_lost(d->features[i].outcome))
            drift_lost_name(d->features[i].name, str_of(drift_outcome_name(d->features[i].outcome)), &n, &words);
    if (words.len) {
        term_add_text(out, buf_str(&words));
        buf_addc(out, '\n');
    }
    buf_done(&words);
}

/* "general_drift ··· 0.134 no drift (reason)", which features it hides, "sample 300 rows, 7 features compared, 1 missing". */
static void print_end(const struct drift_result *d, const struct drift_worst *worst, const struct training_file *t,
                      const struct sample_file *s, struct buf *out)
{
    struct buf words = {0};
    size_t missing = 0, not_in_mlrun = 0;
    for (size_t i = 0; i < d->n_features; i++) {
        missing += d->features[i].outcome == DRIFT_MISSING_COLUMN;
        not_in_mlrun += d->features[i].outcome == DRIFT_NOT_IN_MLRUN;
    }
    print_total("general_drift", d->general_drift, (int)d->status, out);
    buf_addf(out, "%s%s%s\n", *d->reason ? " (" : "", d->reason, *d->reason ? ")" : "");
    if (d->n_labels) {
        print_total("prediction_drift", d->prediction_drift, (int)d->prediction_status, out);
        buf_addc(out, '\n');
    }
    drift_worst_words(worst, &words);
    if (words.len) {
        term_add_text(out, buf_str(&words));
        buf_addc(out, '\n');
    }
    buf_done(&words);
    add_lost(d, worst, out);
    if (t->rows)
        buf_addf(out, "reference %zu rows, ", t->rows);
    else
        buf_addz(out, "reference of statistics, ");
    buf_addf(out, "sample %zu rows, %zu features compared", s->rows, d->n_compared);
    if (missing)
        buf_addf(out, ", %zu missing", missing);
    buf_addc(out, '\n');
    if (not_in_mlrun)
        buf_addz(out, "not_in_mlrun: MLRun has no histogram of a column with text, or with values that are missing or "
                      "infinite, in "
                      "training;\n--edges closed compares it\n");
}

static void print_table(const struct drift_result *d, const struct drift_worst *worst, const struct training_file *t,
                        const struct sample_file *s, struct buf *out)
{
    double rows = missing_rows(t->reference);
    const struct drift_feature **order = mem_array(d->n_features + 1, sizeof *order);
    for (size_t i = 0; i < d->n_features; i++)
        order[i] = &d->features[i];
    qsort(order, d->n_features, sizeof *order, most_first);
    term_add_cell(out, STR("feature"), NAME_WIDTH + 22);
    buf_addz(out, "tvd    hellinger     kld\n");
    for (size_t i = 0; i < d->n_features && i < SHOWN_MAX; i++) {
        size_t at = (size_t)(order[i] - d->features);
        const struct missing_move move = missing_move_of(&t->reference->features[at], rows,
                                                         s->present[at] ? &s->counts[at] : NULL);
        print_feature(order[i], &move, out);
    }
    if (d->n_features > SHOWN_MAX)
        buf_addf(out, "… and %zu more that drift less; --json has all\n", d->n_features - SHOWN_MAX);
    mem_free(order);
    for (size_t i = 0; i < s->n_others && i < SHOWN_MAX; i++) {
        term_add_cell(out, s->others[i], NAME_WIDTH);
        buf_addz(out, "not in the reference\n");
    }
    buf_addc(out, '\n');
    print_end(d, worst, t, s, out);
}

/* Files that have no column in common are of two models, or one lacks its header. */
static rc_t check_common(const struct reference *ref, const struct sample_file *s, const struct drift_verb_options *o,
                         struct err *e)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->present[i])
            return OK;
    return err_set(e, E_INVALID, "no column of %s is in %s: it has %.*s …, the other %.*s …", o->sample, o->reference,
                   STR_FMT(s->n_others ? s->others[0] : STR("none")),
                   STR_FMT(ref->n ? ref->features[0].name : STR("none")));
}

/* A build goes on only when it is known that nothing drifts. */
static int verdict(const struct drift_verb_options *o, const struct drift_result *r, const struct drift_worst *worst)
{
    if (r->status == DRIFT_DETECTED || (o->features && worst->detected))
        return TOOL_DRIFT;
    if (r->status != DRIFT_IRRELEVANT && worst->lost == 0)
        return TOOL_DONE;
    if (r->status == DRIFT_IRRELEVANT)
        (void)fprintf(stderr, "modelmon drift: --check: cannot be said: %s\n", r->reason);
    else
        (void)fprintf(stderr, "modelmon drift: --check: %zu of %zu features cannot be compared\n", worst->lost,
                      worst->compared + worst->lost);
    return TOOL_UNKNOWN;
}

static int answer(const struct drift_verb_options *o, const struct training_file *t, const struct sample_file *s)
{
    struct drift_options d = drift_options_default((enum drift_edges)o->edges);
    struct drift_column *columns = mem_array(s->n + 1, sizeof *columns);
    struct drift_result r = {0};
    struct buf out = {0};
    d.potential = o->potential;
    d.detected = o->detected;
    if (o->min_samples >= 0)
        d.min_samples = (uint64_t)o->min_samples;
    for (size_t i = 0; i < s->n; i++)
        columns[i].counts = s->present[i] ? &s->counts[i] : NULL;
    drift_compute(t->reference, columns, s->rows, &d, &r);
    const struct drift_worst worst = drift_worst_of(&r, &d);
    if (o->json)
        print_json(&r, &worst, &out);
    else
        print_table(&r, &worst, t, s, &out);
    int code = term_put(&out);
    if (code == TOOL_DONE && o->check)
        code = verdict(o, &r, &worst);
    drift_result_done(&r);
    mem_free(columns);
    return code;
}

static int run(const void *opts, char *const *operands, size_t n)
{
    const struct drift_verb_options *o = opts;
    struct training_file t = {0};
    struct sample_file s = {0};
    struct err e = {{0}};
    int code = TOOL_FAILED;
    (void)operands, (void)n; /* there are none */
    if (o->features && !o->check) {
        (void)fprintf(stderr, "modelmon drift: --features goes with --check\n");
        return TOOL_USAGE;
    }
    if (drift_check_thresholds(o->potential, o->detected, &e)) {
        (void)fprintf(stderr, "modelmon drift: --potential, --detected: %s\n", e.text);
        return TOOL_USAGE;
    }
    rc_t rc = training_file_any(&t, o->reference, o->labels, false, &e);
    if (rc == OK)
        rc = sample_file_read(&s, t.reference, o->sample, &e);
    if (rc == OK)
        rc = check_common(t.reference, &s, o, &e);
    if (rc == OK)
        code = answer(o, &t, &s);
    else
        (void)fprintf(stderr, "modelmon drift: %s\n", e.text);
    sample_file_done(&s);
    training_file_done(&t);
    return code;
}

const struct verb verb_drift = {
    .name = "drift",
    .operands = "",
    .summary = "Compares a sample with a training set: two files, no server.",
    .notes =
        "  modelmon drift --reference train.parquet --sample today.csv\n\n"
        "Exit codes: 0 compared, 1 a file cannot be read or compared, 2 wrong usage; with --check 3 drift, 4 too few "
        "rows, or columns that are missing, empty or of another type.\n"
        "--json: "
        "{\"general_drift\",\"status\":-1..2,\"reason\",\"worst\":{…},\"metrics\":{…},\"features\":{NAME:{\"tvd\","
        "\"hellinger\",\"kld\"}}}",
    .keys = keys,
    .n_keys = sizeof keys / sizeof *keys,
    .opts_size = sizeof(struct drift_verb_options),
    .run = run,
};
