/* Answers of the HTTP form, and its counter. */
#include <stdio.h>
#include "app/form_post.h"
#include "json/write.h"
#include "metrics/metrics.h"

#define FUNCTIONS 16 /* more than one process has */
#define RETRY_AFTER_S 2

static const char *const outcomes[] = {"accepted", "rejected", "unavailable", NULL};
enum { ACCEPTED, REJECTED, UNAVAILABLE };
static const struct metric_row rows[] = {
    {.name = "modelmon_http_events_total",
     .kind = METRIC_COUNTER,
     .labels = {{.name = "function", .cap = FUNCTIONS}, {.name = "outcome", .values = outcomes}},
     .help = "Events posted: acknowledged by the bus, rejected, or not taken (503)."},
};
static struct metric_set metrics = METRIC_SET(rows);

size_t form_metrics(const char *function)
{
    metrics_register(&metrics);
    return metrics_label(&metrics, 0, 0, str_of(function));
}

static void count(const struct form_post *p, size_t outcome, size_t n)
{
    metric_add(metrics_at(&metrics, 0, p->form->label, outcome), (int64_t)n);
}

/* In the request's body; 0 for what came in a header. */
static int64_t place_of(const struct form_post *p, const struct form_refused *f)
{
    size_t at = f->at.offset + f->why.position;
    return at > p->head ? (int64_t)(at - p->head) : 0;
}

static void answer_problem(const struct form_post *p, const struct form_refused *f)
{
    http_problem(p->request, &(struct http_problem){.status = reject_http_status(f->why.code),
                                                    .code = reject_name(f->why.code),
                                                    .detail = f->why.text,
                                                    .field = f->why.field[0] ? f->why.field : NULL,
                                                    .has_position = true,
                                                    .position = place_of(p, f)});
}

static void write_place(struct json_writer *w, const struct form_post *p, const struct form_refused *f)
{
    jw_kv_i64(w, "position", place_of(p, f));
    jw_kv_strz(w, "code", reject_name(f->why.code));
    jw_kv_strz(w, "field", f->why.field);
    jw_kv_strz(w, "detail", f->why.text);
}

static void write_refused(struct json_writer *w, const struct form_post *p, const struct form_refused *f)
{
    jw_object(w);
    jw_kv_i64(w, "index", (int64_t)f->at.index);
    jw_kv_i64(w, "line", (int64_t)f->at.line);
    write_place(w, p, f);
    jw_object_end(w);
}

/* Nothing of a batch was right: a problem like any other, about its first event. */
static void write_problem(struct json_writer *w, const struct form_post *p, const struct form_refused *f)
{
    char type[64];
    (void)snprintf(type, sizeof type, "urn:modelmon:problem:%s", reject_name(f->why.code));
    jw_kv_strz(w, "type", type);
    jw_kv_strz(w, "title", reject_title(f->why.code));
    jw_kv_i64(w, "status", 400);
    write_place(w, p, f);
}

static void answer_batch(const struct form_post *p)
{
    struct buf body = {0};
    struct json_writer w;
    bool problem = p->n_refused && p->accepted == 0;
    jw_init(&w, &body, JSON_NAN_NULL);
    jw_object(&w);
    if (problem)
        write_problem(&w, p, &p->refused[0]);
    else
        jw_kv_strz(&w, "status", p->n_refused == 0 ? "accepted" : "partly_accepted");
    jw_kv_i64(&w, "accepted", (int64_t)p->accepted);
    jw_kv_i64(&w, "rejected", (int64_t)p->n_refused);
    jw_key(&w, "errors");
    jw_array(&w);
    for (size_t i = 0; i < p->n_refused && i < FORM_REPORT_MAX; i++)
        write_refused(&w, p, &p->refused[i]);
    jw_array_end(&w);
    jw_object_end(&w);
    http_answer_take(p->request,
                     problem        ? 400
                     : p->n_refused ? 207
                                    : 202,
                     problem ? "application/problem+json" : HTTP_JSON, &body);
}

static void answer_single(const struct form_post *p)
{
    struct buf body = {0};
    struct json_writer w;
    jw_init(&w, &body, JSON_NAN_NULL);
    jw_object(&w);
    jw_kv_strz(&w, "status", "accepted");
    if (p->endpoint_id.n)
        jw_kv_str(&w, "endpoint_id", p->endpoint_id);
    if (p->endpoint_name.n)
        jw_kv_str(&w, "endpoint_name", p->endpoint_name);
    jw_object_end(&w);
    http_answer_take(p->request, 202, HTTP_JSON, &body);
}

/* One event that the brokers refuse for good must not be sent for ever; of several it is not known which it was. */
static void answer_failed(const struct form_post *p, rc_t rc)
{
    char words[256];
    count(p, UNAVAILABLE, p->sent ? p->sent : 1);
    if (rc == E_INVALID && p->single) {
        http_fail(p->request, reject_http_status(REJECT_TOO_LARGE), reject_name(REJECT_TOO_LARGE),
                  "the bus refused it: %s", p->words);
        return;
    }
    (void)snprintf(words, sizeof words, "%s; send the request again%s", p->words, rc == E_INVALID ? ", event by event" : "");
    http_problem(p->request, &(struct http_problem){
                                 .status = 503, .code = "not_durable", .retry_after_s = RETRY_AFTER_S, .detail = words});
}

void form_answer(struct form_post *p)
{
    rc_t failed = (rc_t)atomic_load(&p->failed);
    if (failed) {
        answer_failed(p, failed);
        return;
    }
    count(p, ACCEPTED, p->accepted);
    count(p, REJECTED, p->n_refused);
    if (p->single && p->n_refused == 1)
        answer_problem(p, &p->refused[0]);
    else if (p->single)
        answer_single(p);
    else
        answer_batch(p);
}
