/* modelmon results: one result or metric of an endpoint over time, a line a window, a bar where it is a drift. */
#include <math.h>
#include "base/clock.h"
#include "base/num.h"
#include "base/time.h"
#include "client.h"
#include "event/result.h"
#include "stats/missing.h"
#include "stats/worst.h"
#include "term.h"

struct results_options {
    struct client api;
    const char *app, *name;
    int64_t since_us;
};
#define AT(field) offsetof(struct results_options, field)
static const struct config_key keys[] = {
    {.env = "APP", .def = "histogram-data-drift", .type = CONFIG_STR, .flags = CONFIG_FLAG, .offset = AT(app), .help = "Whose result."},
    {.env = "NAME",
     .def = "",
     .type = CONFIG_STR,
     .flags = CONFIG_FLAG,
     .offset = AT(name),
     .help = "Which result or metric; empty: general_drift, or the first result of an app that has none."},
    {.env = "SINCE",
     .def = "1d",
     .type = CONFIG_DURATION,
     .flags = CONFIG_FLAG,
     .offset = AT(since_us),
     .min = USEC_PER_SEC,
     .max = 399 * USEC_PER_DAY, /* with the hour to come, what the api gives at once */
     .help = "How far back."},
    CLIENT_KEYS(struct results_options, api),
};

/* What is shown. */
struct shown {
    const char *name;
    bool is_metric, is_drift;
    int64_t kind;
};

static void make_path(const struct results_options *o, const struct shown *s, const struct client_endpoint *c,
                      struct buf *path)
{
    char start[TIME_TEXT], end[TIME_TEXT];
    int64_t now = clock_now_us();
    (void)time_rfc3339(start, now - o->since_us); /* lengths are not needed */
    (void)time_rfc3339(end, now + USEC_PER_DAY / 24);
    buf_addf(path, "/api/v1/projects/%.*s/model-endpoints/", STR_FMT(c->project));
    client_add_encoded(path, c->uid);
    buf_addf(path, "/metrics-values?start=%s&end=%s&name=%.*s.", start, end, STR_FMT(c->project));
    client_add_encoded(path, str_of(o->app));
    buf_addz(path, s->is_metric ? ".metric." : ".result.");
    client_add_encoded(path, str_of(s->name));
}

static void add_reason(const char *operand, const struct json *extra, struct buf *out)
{
    struct str reason = STR("");
    struct err ignored;
    if (json_opt_str(extra, "reason", &reason, &ignored) != OK || reason.n == 0)
        return;
    buf_addz(out, "  ");
    term_add_text(out, reason);
    if (str_eqz(reason, "no_reference"))
        buf_addf(out, ": modelmon reference %s --csv FILE", operand);
    if (str_eqz(reason, "no_comparable_feature"))
        buf_addz(
            out,
            ": no column of the events that the reference has, or none with its values; events without names have f0, "
            "f1, …: send \"columns\", or give the reference before the first event (modelmon reference … --create)");
}

/* "; age: missing 2 % → 85 %" */
static void add_missing(const struct json *feature, size_t *inout_n, struct buf *out)
{
    double before = NAN, now = NAN;
    struct err ignored;
    if (json_opt_f64(feature, "missing_before", &before, &ignored) != OK ||
        json_opt_f64(feature, "missing_now", &now, &ignored) != OK || isnan(before) || isnan(now))
        return;
    buf_addz(out, (*inout_n)++ ? "; " : "  ");
    term_add_text(out, str_of(json_key(feature)));
    buf_addz(out, ": ");
    missing_words(before, now, out);
}

/* ", city: 12 new, vanished \"Oslo\"" */
static void add_news(const struct json *feature, size_t *inout_n, struct buf *out)
{
    int64_t n = 0;
    struct err ignored;
    const struct json *gone = json_get(feature, "vanished");
    if ((json_opt_i64(feature, "new_values", &n, &ignored) != OK || n <= 0) && !gone)
        return;
    buf_addz(out, (*inout_n)++ ? "; " : "  ");
    term_add_text(out, str_of(json_key(feature)));
    buf_addc(out, ':');
    if (n > 0)
        buf_addf(out, " %lld of values that training had not", (long long)n);
    if (gone) {
        buf_addz(out, n > 0 ? ", vanished " : " vanished ");
        json_print(gone, JSON_NAN_NULL, out);
    }
}

/* "3 of 7 features are not compared: area (wrong type), …" */
static void add_lost(const struct json *extra, const struct drift_worst *worst, struct buf *words)
{
    size_t n = 0;
    if (worst->lost == 0)
        return;
    buf_addz(words, words->len ? "; " : "");
    drift_lost_words(worst, words);
    for (const struct json *f = json_first(json_get(extra, "features")); f; f = json_next(f))
        if (drift_outcome_lost(drift_outcome_of(client_text(f, "outcome"))) && json_get(f, "label") == NULL)
            drift_lost_name(str_of(json_key(f)), client_text(f, "outcome"), &n, words);
}

/* Why a window has no number and what to do about it; which categories are new and which are gone. */
static void add_words(const char *operand, const struct json *value, struct buf *out)
{
    CLEANUP(json_freep) struct json *extra = NULL;
    struct str text = STR("");
    struct err ignored;
    size_t n = 0;
    struct drift_worst worst;
    struct buf features = {0};
    if (json_str(json_at(value, 3), &text, &ignored) != OK || json_parse(&extra, text.p, text.n, NULL, &ignored) != OK)
        return;
    add_reason(operand, extra, out);
    if (drift_worst_read(extra, &worst))
        drift_worst_words(&worst, &features);
    add_lost(extra, &worst, &features);
    if (features.len) {
        buf_addz(out, "  ");
        term_add_text(out, buf_str(&features));
    }
    buf_done(&features);
    for (const struct json *f = json_first(json_get(extra, "features")); f; f = json_next(f))
        add_news(f, &n, out);
    for (const struct json *f = json_first(json_get(extra, "features")); f; f = json_next(f))
        add_missing(f, &n, out);
}

static void add_number(const struct shown *s, double value, struct buf *out)
{
    if (s->is_drift)
        term_bar(out, value, 30);
    if (isnan(value))
        buf_addz(out, s->is_drift ? "    -   " : "  -  ");
    else if (s->is_drift)
        buf_addf(out, "  %.3f  ", value);
    else
        buf_addf(out, "%12.6g  ", value);
}

static void add_value(const char *operand, const struct shown *s, const struct json *value, struct buf *out)
{
    struct str when = STR("");
    double number = NAN;
    int64_t status = -1;
    struct err ignored;
    if (json_str(json_at(value, 0), &when, &ignored) != OK)
        when = STR("");
    if (json_f64(json_at(value, 1), &number, &ignored) != OK)
        number = NAN;
    if (s->is_metric || json_i64(json_at(value, 2), &status, &ignored) != OK)
        status = -1;
    term_add_cell(out, when, 25);
    add_number(s, number, out);
    if (s->is_drift)
        term_add_status(out, (int)status, term_is(stdout));
    else if (!s->is_metric)
        term_add_found(out, (int)status, term_is(stdout));
    if (!s->is_metric)
        add_words(operand, value, out);
    buf_addc(out, '\n');
}

/* What results and metrics the endpoint has; NULL: that cannot be asked. */
static struct json *get_names(const struct results_options *o, const struct client_endpoint *c)
{
    CLEANUP(buf_done) struct buf path = {0};
    struct json *names = NULL;
    struct err ignored;
    buf_addf(&path, "/api/v1/projects/%.*s/model-endpoints/", STR_FMT(c->project));
    client_add_encoded(&path, c->uid);
    buf_addz(&path, "/metrics");
    return client_call(&o->api, "GET", path.data, (struct str){0}, 0, &names, &ignored) == OK ? names : NULL;
}

static bool is_metric(const struct json *entry)
{
    return str_eqz(client_text(entry, "type"), "metric");
}

/* The one that was asked for, else general_drift, else the app's first result; NULL: the app has none. */
static const struct json *pick(const struct results_options *o, const char *usual, const struct json *names)
{
    const struct json *first = NULL;
    for (const struct json *j = json_first(names); j; j = json_next(j)) {
        if (!str_eqz(client_text(j, "app"), o->app) || (!*o->name && is_metric(j)))
            continue;
        if (str_eqz(client_text(j, "name"), *o->name ? o->name : usual))
            return j;
        first = first ? first : j;
    }
    return *o->name ? NULL : first;
}

static struct shown shown_of(const struct results_options *o, const struct json *names, struct buf *room)
{
    static const char usual[] = "general_drift";
    const struct json *entry = pick(o, usual, names);
    struct shown s = {.name = *o->name ? o->name : usual, .is_drift = true};
    struct err ignored;
    if (!entry)
        return s;
    struct str name = client_text(entry, "name");
    buf_add(room, name.p, name.n);
    s.name = room->data;
    s.is_metric = is_metric(entry);
    if (json_opt_i64(entry, "kind", &s.kind, &ignored) != OK)
        s.kind = KIND_DATA_DRIFT;
    s.is_drift = !s.is_metric && (s.kind == KIND_DATA_DRIFT || s.kind == KIND_CONCEPT_DRIFT);
    return s;
}

/* "there are: --app APP --name NAME; …" */
static void add_names(const struct json *names, struct buf *out)
{
    size_t n = 0;
    for (const struct json *j = json_first(names); j; j = json_next(j)) {
        buf_addz(out, n++ ? "; " : "there are: ");
        buf_addz(out, "--app ");
        term_add_text(out, client_text(j, "app"));
        buf_addz(out, " --name ");
        term_add_text(out, client_text(j, "name"));
    }
    buf_addz(out, n ? "\n" : "");
}

static int64_t base_period(const struct results_options *o, struct str project)
{
    CLEANUP(buf_done) struct buf path = {0};
    CLEANUP(json_freep) struct json *answer = NULL;
    int64_t period = 0;
    struct err ignored;
    buf_addf(&path, "/api/v1/projects/%.*s", STR_FMT(project));
    if (client_call(&o->api, "GET", path.data, (struct str){0}, 0, &answer, &ignored) != OK ||
        num_duration_us(client_text(json_get(json_get(answer, "spec"), "monitoring"), "base_period"), &period) != OK)
        return 0;
    return period;
}

/* When the window of the last request closes, if that is to come; or that there was no request. */
static void add_open(const struct results_options *o, const struct client_endpoint *c, struct buf *out)
{
    struct str last = client_text(json_get(c->record, "status"), "last_request");
    int64_t at = 0, period = base_period(o, c->project);
    char end[TIME_TEXT];
    if (last.n == 0) {
        buf_addz(out, "no request yet\n");
        return;
    }
    if (period == 0 || time_parse(last, 0, &at) != OK)
        return;
    at = time_floor(at, period) + period;
    if (at <= clock_now_us())
        return;
    (void)time_rfc3339(end, at);
    buf_addf(out, "the window of the last request is open until %.19sZ; its result comes some seconds later\n", end);
}

static void add_values(const struct results_options *o, const char *operand, const struct shown *s,
                       const struct json *values, struct buf *out)
{
    if (json_len(values)) {
        /* invocations are MLRun's: by the ten minutes, named by their beginning */
        term_add_cell(out, strcmp(o->app, "mlrun-infra") == 0 ? STR("ten minutes from") : STR("window until"), 25);
        term_add_text(out, str_of(s->name));
        buf_addc(out, '\n');
    } else {
        buf_addf(out, "no %s of %s in that time: windows close once their time is over and their rows are in\n",
                 s->name, o->app);
    }
    for (const struct json *v = json_first(values); v; v = json_next(v))
        add_value(operand, s, v, out);
}

static int run(const void *opts, char *const *operands, size_t n)
{
    const struct results_options *o = opts;
    CLEANUP(buf_done) struct buf path = {0}, room = {0};
    CLEANUP(json_freep) struct json *answer = NULL, *names = NULL;
    struct client_endpoint c = {0};
    struct shown s = {0};
    struct buf out = {0};
    struct err e = {{0}};
    (void)n; /* it is one */
    rc_t rc = client_endpoint(&o->api, operands[0], &c, &e);
    if (rc == OK) {
        names = get_names(o, &c);
        s = shown_of(o, names, &room);
        make_path(o, &s, &c, &path);
        rc = client_call(&o->api, "GET", path.data, (struct str){0}, 0, &answer, &e);
    }
    if (rc == OK) {
        const struct json *values = json_get(json_first(answer), "values");
        add_values(o, operands[0], &s, values, &out);
        add_open(o, &c, &out);
        if (json_len(values) == 0)
            add_names(names, &out);
    }
    client_endpoint_done(&c);
    return rc ? client_fail("results", &e) : term_put(&out);
}

const struct verb verb_results = {
    .name = "results",
    .operands = "PROJECT/ENDPOINT",
    .summary = "Shows what the apps found, window by window.",
    .operands_min = 1,
    .operands_max = 1,
    .keys = keys,
    .n_keys = sizeof keys / sizeof *keys,
    .opts_size = sizeof(struct results_options),
    .run = run,
};
