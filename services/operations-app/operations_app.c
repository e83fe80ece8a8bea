/* operations-app: how an endpoint is being served, of each window, also of one in which nothing came.
 *
 *   result  latency_p95_ms  system_performance   metrics latency_p50_ms, latency_p99_ms
 *   result  error_rate      system_performance   failed requests of all
 *   result  data_arrival    system_performance   requests against what is usual: 1 as usual, 0 nothing came
 *   metrics throughput (requests a second), requests
 *
 * Usual is ARRIVAL_RATE, or the median of the same time of day on the ARRIVAL_DAYS days before. */
#include <math.h>
#include <stdlib.h>
#include "operations_app.h"
#include "base/clock.h"
#include "json/write.h"

#define DAYS_MAX 60
#define DAYS_NEEDED 3

struct operations_options {
    int64_t latency_potential_us, latency_detected_us;
    double errors_potential, errors_detected;
    double arrival_rate, arrival_potential, arrival_detected, surge_potential, surge_detected;
    int64_t arrival_days, min_requests;
};

#define AT(field) offsetof(struct operations_options, field)
static const struct config_key keys[] = {
    {.env = "LATENCY_POTENTIAL",
     .def = "1s",
     .type = CONFIG_DURATION,
     .offset = AT(latency_potential_us),
     .max = 3600 * USEC_PER_SEC,
     .help = "From here on the 95th percentile of the latency is a potential problem."},
    {.env = "LATENCY_DETECTED",
     .def = "5s",
     .type = CONFIG_DURATION,
     .offset = AT(latency_detected_us),
     .max = 3600 * USEC_PER_SEC,
     .help = "From here on it is one; not below LATENCY_POTENTIAL."},
    {.env = "ERRORS_POTENTIAL",
     .def = "0.01",
     .type = CONFIG_F64,
     .offset = AT(errors_potential),
     .help = "From this share of failed requests on they are a potential problem."},
    {.env = "ERRORS_DETECTED",
     .def = "0.05",
     .type = CONFIG_F64,
     .offset = AT(errors_detected),
     .help = "From here on they are one; 0 < ERRORS_POTENTIAL <= ERRORS_DETECTED <= 1."},
    {.env = "MIN_REQUESTS",
     .def = "20",
     .type = CONFIG_I64,
     .offset = AT(min_requests),
     .min = 1,
     .max = 1000000000,
     .help = "Requests that a judgement needs: in the window for latency and errors, usually for arrival."},
    {.env = "ARRIVAL_RATE",
     .def = "0",
     .type = CONFIG_F64,
     .offset = AT(arrival_rate),
     .max = 1000000000,
     .help = "Requests a second that are expected; 0: as many as usual at that time of day."},
    {.env = "ARRIVAL_DAYS",
     .def = "7",
     .type = CONFIG_I64,
     .offset = AT(arrival_days),
     .min = DAYS_NEEDED,
     .max = DAYS_MAX,
     .help = "Days back that tell what is usual; three of them the endpoint must have been there."},
    {.env = "ARRIVAL_POTENTIAL",
     .def = "0.5",
     .type = CONFIG_F64,
     .offset = AT(arrival_potential),
     .help = "Down from this share of the expected requests they are potentially too few."},
    {.env = "ARRIVAL_DETECTED",
     .def = "0.1",
     .type = CONFIG_F64,
     .offset = AT(arrival_detected),
     .help = "Down from here they are; 0 <= ARRIVAL_DETECTED < ARRIVAL_POTENTIAL < 1."},
    {.env = "SURGE_POTENTIAL",
     .def = "0",
     .type = CONFIG_F64,
     .offset = AT(surge_potential),
     .help = "From this multiple of the expected requests on they are potentially too many; 0: never."},
    {.env = "SURGE_DETECTED", .def = "0", .type = CONFIG_F64, .offset = AT(surge_detected), .help = "From here on they are; 0: never."},
};

static rc_t check_latency(const void *opts, struct err *e)
{
    const struct operations_options *o = opts;
    bool fits = o->latency_potential_us > 0 && o->latency_potential_us <= o->latency_detected_us;
    return fits ? OK : err_set(e, E_INVALID, "0 < potential <= detected must hold");
}

static rc_t check_errors(const void *opts, struct err *e)
{
    const struct operations_options *o = opts;
    return app_check_shares(o->errors_potential, o->errors_detected, e);
}

static rc_t check_arrival(const void *opts, struct err *e)
{
    const struct operations_options *o = opts;
    bool fits = o->arrival_detected >= 0 && o->arrival_detected < o->arrival_potential && o->arrival_potential < 1;
    return fits ? OK : err_set(e, E_INVALID, "0 <= detected < potential < 1 must hold");
}

static rc_t check_surge(const void *opts, struct err *e)
{
    const struct operations_options *o = opts;
    bool none = o->surge_potential == 0 && o->surge_detected == 0;
    bool fits = o->surge_potential > 1 && (o->surge_detected == 0 || o->surge_potential <= o->surge_detected);
    return none || fits ? OK : err_set(e, E_INVALID, "1 < potential <= detected must hold, or 0 for never");
}

static const struct config_rule rules[] = {{{"LATENCY_POTENTIAL", "LATENCY_DETECTED"}, check_latency, NULL},
                                           {{"ERRORS_POTENTIAL", "ERRORS_DETECTED"}, check_errors, NULL},
                                           {{"ARRIVAL_POTENTIAL", "ARRIVAL_DETECTED"}, check_arrival, NULL},
                                           {{"SURGE_POTENTIAL", "SURGE_DETECTED"}, check_surge, NULL}};

/* Judged when there is enough to judge from; else irrelevant, and the extra data says why. */
static void answer(struct app_output *out, const char *name, double value, const struct app_thresholds *t,
                   const struct operations_options *o, uint64_t n)
{
    struct buf extra = {0};
    bool enough = n >= (uint64_t)o->min_requests;
    buf_addf(&extra, "{\"requests\":%llu,\"min_requests\":%lld%s}", (unsigned long long)n, (long long)o->min_requests,
             enough ? "" : ",\"reason\":\"insufficient_samples\"");
    if (enough)
        app_result_judged(out, name, value, KIND_SYSTEM_PERFORMANCE, t, buf_str(&extra));
    else
        app_result(out, name, value, KIND_SYSTEM_PERFORMANCE, STATUS_IRRELEVANT, buf_str(&extra));
    buf_done(&extra);
}

static void answer_latency(const struct operations_options *o, const struct app_input *in, struct app_output *out)
{
    const struct sketch *l = &in->window->latency;
    const struct app_thresholds t = {(double)o->latency_potential_us / 1e3, (double)o->latency_detected_us / 1e3};
    if (l->count == 0)
        return;
    answer(out, "latency_p95_ms", sketch_quantile(l, 0.95) / 1e3, &t, o, l->count);
    app_metric(out, "latency_p50_ms", sketch_quantile(l, 0.5) / 1e3);
    app_metric(out, "latency_p99_ms", sketch_quantile(l, 0.99) / 1e3);
}

static void answer_errors(const struct operations_options *o, const struct app_input *in, struct app_output *out)
{
    const struct slot *w = in->window;
    const struct app_thresholds t = {o->errors_potential, o->errors_detected};
    if (w->requests)
        answer(out, "error_rate", (double)w->errors / (double)w->requests, &t, o, w->requests);
}

/* ---- arrival ---- */
static int compare_f64(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median of the days on which the endpoint was there already; *ret_days: how many. */
static rc_t usual_requests(const struct operations_options *o, const struct app_input *in, double *ret,
                           size_t *ret_days, struct err *e)
{
    double found[DAYS_MAX];
    size_t n = 0;
    for (int64_t day = 1; day <= o->arrival_days; day++) {
        int64_t start = in->start_us - day * USEC_PER_DAY;
        struct app_totals t;
        if (in->endpoint->first_request_us == 0 || start < in->endpoint->first_request_us)
            break;
        rc_t rc = app_totals(in, start, in->end_us - day * USEC_PER_DAY, &t, e);
        if (rc)
            return rc;
        found[n++] = (double)t.requests;
    }
    qsort(found, n, sizeof *found, compare_f64);
    *ret_days = n;
    *ret = n == 0 ? NAN : n % 2 ? found[n / 2] : (found[n / 2 - 1] + found[n / 2]) / 2;
    return OK;
}

static enum result_status judge_arrival(const struct operations_options *o, double ratio)
{
    const struct app_thresholds few = {o->arrival_potential, o->arrival_detected};
    const struct app_thresholds many = {o->surge_potential > 0 ? o->surge_potential : NAN,
                                        o->surge_detected > 0 ? o->surge_detected : NAN};
    enum result_status low = app_judge(ratio, &few), high = app_judge(ratio, &many);
    return high > low ? high : low;
}

static rc_t answer_arrival(const struct operations_options *o, const struct app_input *in, double seconds,
                           struct app_output *out, struct err *e)
{
    double expected = o->arrival_rate * seconds;
    size_t days = 0;
    rc_t rc = o->arrival_rate > 0 ? OK : usual_requests(o, in, &expected, &days, e);
    if (rc)
        return rc;
    const char *reason = o->arrival_rate == 0 && days < DAYS_NEEDED ? "no_history"
                         : expected < (double)o->min_requests       ? "usually_quiet"
                                                                    : "";
    double ratio = expected > 0 ? (double)in->window->requests / expected : NAN;
    struct buf extra = {0};
    struct json_writer w;
    jw_init(&w, &extra, JSON_NAN_NULL);
    jw_object(&w);
    jw_kv_f64(&w, "potential", o->arrival_potential);
    jw_kv_f64(&w, "detected", o->arrival_detected);
    if (o->surge_potential > 0) {
        jw_kv_f64(&w, "surge_potential", o->surge_potential);
        jw_kv_f64(&w, "surge_detected", o->surge_detected);
    }
    jw_kv_strz(&w, "expected_from", o->arrival_rate > 0 ? "rate" : "days");
    jw_kv_f64(&w, "expected", expected);
    jw_kv_i64(&w, "requests", (int64_t)in->window->requests);
    jw_kv_i64(&w, "days", (int64_t)days);
    if (reason[0])
        jw_kv_strz(&w, "reason", reason);
    jw_object_end(&w);
    app_result(out, "data_arrival", ratio, KIND_SYSTEM_PERFORMANCE,
               reason[0] ? STATUS_IRRELEVANT : (int)judge_arrival(o, ratio), buf_str(&extra));
    buf_done(&extra);
    return OK;
}

static rc_t track(const void *opts, const struct app_input *in, struct app_output *out, struct err *e)
{
    const struct operations_options *o = opts;
    double seconds = (double)(in->end_us - in->start_us) / (double)USEC_PER_SEC;
    answer_latency(o, in, out);
    answer_errors(o, in, out);
    rc_t rc = answer_arrival(o, in, seconds, out, e);
    app_metric(out, "throughput", (double)in->window->requests / seconds);
    app_metric(out, "requests", (double)in->window->requests);
    return rc;
}

const struct app operations_app = {
    .name = "operations",
    .version = "1",
    .summary = "Latency, errors, throughput and arrival of the requests of each window.",
    .wants_empty = true,
    .keys = keys,
    .n_keys = sizeof keys / sizeof *keys,
    .opts_size = sizeof(struct operations_options),
    .rules = rules,
    .n_rules = sizeof rules / sizeof *rules,
    .track = track,
};
