/* The HTTP trigger: events in, onto the project's topic, answered when the bus has acknowledged them.
 *
 *   body ─▶ split ─▶ decode, check ─▶ produce ─┬▶ all acknowledged ─▶ 202
 *                        └ rejected ─▶ its place, field and reason in the answer
 * Nothing of an event is kept here: what happens to it happens from the topic, one path for HTTP and Kafka. */
#include <stdio.h>
#include <strings.h>
#include <sys/random.h>
#include "base/clock.h"
#include "base/mem.h"
#include "event/cloudevent.h"
#include "event/inference.h"
#include "event/names.h"
#include "json/write.h"
#include "metrics/metrics.h"
#include "stream.h"

#define BATCH_MAX 10000u /* events in one request */
#define HANDLED (SIZE_MAX / 2)
#define REPORT_MAX 100u /* rejected events described in one answer */

enum { M_POSTED };
static const char *const outcomes[] = {"accepted", "rejected", "unavailable", NULL};
enum { ACCEPTED, REJECTED, UNAVAILABLE };
static const struct metric_row rows[] = {
    [M_POSTED] = {.name = "modelmon_stream_http_events_total",
                  .kind = METRIC_COUNTER,
                  .labels = {{.name = "outcome", .values = outcomes}},
                  .help = "Events posted: acknowledged by the bus, rejected, or not taken (503)."},
};
static struct metric_set metrics = METRIC_SET(rows);

struct refused {
    size_t index, line, offset;
    struct reject why;
};

/* One request on its way: lives in the request's arena. */
struct post {
    struct http_request *r;
    struct stream *st;
    struct inference_decoder *decoder; /* of the handler's thread */
    struct str project;                /* of the path; empty: each event says */
    struct str trace;                  /* the request's traceparent */
    struct str body;       /* as it came; a CloudEvent in binary mode: its structured form, in the arena … */
    size_t head;           /* … where what came begins so late */
    bool lines, single;    /* single: one event alone, MLRun's short answer */
    bool was_parked, park; /* an unknown project is believed at the second look */
    size_t accepted, n_refused, sent;
    struct refused *refused;                                     /* REPORT_MAX; NULL until one is */
    struct str uid, model;                                       /* of the single event; copies */
    char found[NAME_PROJECT_MAX + 1], topic[NAME_TOPIC_MAX + 1]; /* the last event's project: most often the next one's */
    atomic_size_t open;         /* not acknowledged yet; HANDLED more until the handler has sent all */
    struct bus_receipt receipt; /* of every event */
    atomic_int failed;          /* an rc_t */
    char words[160];
};

/* ---- the answer ---- */

static void count(const struct post *p, size_t acknowledged)
{
    metric_add(metrics_at(&metrics, M_POSTED, ACCEPTED, 0), (int64_t)acknowledged);
    metric_add(metrics_at(&metrics, M_POSTED, REJECTED, 0), (int64_t)p->n_refused);
}

/* In the request's body; 0 for what came in a header. */
static int64_t place_of(const struct post *p, const struct refused *f)
{
    size_t at = f->offset + f->why.position;
    return at > p->head ? (int64_t)(at - p->head) : 0;
}

static void answer_problem(struct post *p, const struct refused *f)
{
    http_problem(p->r, &(struct http_problem){.status = reject_http_status(f->why.code),
                                              .code = reject_name(f->why.code),
                                              .detail = f->why.text,
                                              .field = f->why.field[0] ? f->why.field : NULL,
                                              .has_position = true,
                                              .position = place_of(p, f)});
}

static void write_place(struct json_writer *w, const struct post *p, const struct refused *f)
{
    jw_kv_i64(w, "position", place_of(p, f));
    jw_kv_strz(w, "code", reject_name(f->why.code));
    jw_kv_strz(w, "field", f->why.field);
    jw_kv_strz(w, "detail", f->why.text);
}

static void write_refused(struct json_writer *w, const struct post *p, const struct refused *f)
{
    jw_object(w);
    jw_kv_i64(w, "index", (int64_t)f->index);
    jw_kv_i64(w, "line", (int64_t)f->line);
    write_place(w, p, f);
    jw_object_end(w);
}

/* Nothing of a batch was right: a problem like any other, about its first event. */
static void write_problem(struct json_writer *w, const struct post *p, const struct refused *f)
{
    char type[64];
    (void)snprintf(type, sizeof type, "urn:modelmon:problem:%s", reject_name(f->why.code));
    jw_kv_strz(w, "type", type);
    jw_kv_strz(w, "title", reject_title(f->why.code));
    jw_kv_i64(w, "status", 400);
    write_place(w, p, f);
}

static void answer_batch(struct post *p)
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
    for (size_t i = 0; i < p->n_refused && i < REPORT_MAX; i++)
        write_refused(&w, p, &p->refused[i]);
    jw_array_end(&w);
    jw_object_end(&w);
    http_answer_take(p->r,
                     problem        ? 400
                     : p->n_refused ? 207
                                    : 202,
                     problem ? "application/problem+json" : HTTP_JSON, &body);
}

static void answer_single(struct post *p)
{
    struct buf body = {0};
    struct json_writer w;
    jw_init(&w, &body, JSON_NAN_NULL);
    jw_object(&w);
    jw_kv_strz(&w, "status", "accepted");
    if (p->uid.n) /* a name alone may lead to a record with any uid */
        jw_kv_str(&w, "endpoint_id", p->uid);
    jw_kv_str(&w, "endpoint_name", p->model);
    jw_object_end(&w);
    http_answer_take(p->r, 202, HTTP_JSON, &body);
}

/* All is said and done: by the handler, or by the producer's thread with the last acknowledgement. */
static void finish(struct post *p)
{
    if (atomic_load(&p->failed)) {
        metric_add(metrics_at(&metrics, M_POSTED, UNAVAILABLE, 0), (int64_t)(p->sent ? p->sent : 1));
        http_problem(
            p->r, &(struct http_problem){.status = 503, .code = "not_durable", .retry_after_s = 2, .detail = p->words});
        return;
    }
    count(p, p->accepted);
    if (p->single && p->n_refused == 1)
        answer_problem(p, &p->refused[0]);
    else if (p->single)
        answer_single(p);
    else
        answer_batch(p);
}

static void release(struct post *p, size_t n)
{
    if (atomic_fetch_sub(&p->open, n) == n)
        finish(p);
}

static void fail(struct post *p, rc_t rc, const char *words)
{
    int none = OK;
    if (atomic_compare_exchange_strong(&p->failed, &none, rc))
        (void)snprintf(p->words, sizeof p->words, "%s; send the request again", words);
}

static void delivered(void *arg, rc_t rc, const char *words)
{
    struct post *p = arg;
    if (rc)
        fail(p, rc, words ? words : "the bus did not acknowledge");
    release(p, 1);
}

/* ---- one event ---- */

static void refuse_at(struct post *p, const struct inference_split *at, size_t offset, const struct reject *why)
{
    if (!p->refused)
        p->refused = arena_array(http_arena(p->r), REPORT_MAX, sizeof *p->refused);
    if (p->n_refused < REPORT_MAX)
        p->refused[p->n_refused] = (struct refused){at->index, at->line, offset, *why};
    p->n_refused++;
}

static void refuse(struct post *p, const struct inference_split *at, const struct reject *why)
{
    refuse_at(p, at, at->offset, why);
}

/* What the sinks will say of it, said at once. */
static rc_t check_time(const struct post *p, const struct inference_event *ev, struct reject *why)
{
    const struct stream_options *o = &p->st->options;
    int64_t now = http_received_us(p->r);
    if (ev->kind == INFERENCE_NOP || ev->kind == INFERENCE_BATCH_COMPLETE || ev->when_us == INFERENCE_NO_TIME)
        return OK;
    if (ev->when_us > now + o->future_us)
        return reject_set(why, REJECT_FUTURE_TIMESTAMP, "when", 0, "the time lies in the future");
    if (ev->when_us < now - o->max_age_us)
        return reject_set(why, REJECT_BAD_TIME, "when", 0, "the time is older than EVENT_MAX_AGE");
    return OK;
}

/* p->topic is the project's. */
static rc_t project_of(struct post *p, const struct inference_event *ev, struct reject *why)
{
    struct project_view view;
    struct str name = p->project.n ? p->project : ev->project.n ? ev->project : str_of(p->st->options.default_project);
    if (name.n > 0 && str_eqz(name, p->found))
        return inference_check_project(ev, name, why);
    p->found[0] = '\0';
    rc_t rc = projects_find(&p->st->projects, name, &view, p->topic);
    if (rc == E_AGAIN) {
        fail(p, E_AGAIN, "the projects are not loaded yet: the database has not answered");
        return rc;
    }
    if (rc == E_NOTFOUND && !p->was_parked && p->accepted == 0) {
        p->park = true;
        return rc;
    }
    if (rc == E_NOTFOUND)
        return reject_set(why, REJECT_UNKNOWN_PROJECT, p->project.n ? "" : "function_uri", 0,
                          "no such project: PUT /api/v1/projects/NAME makes one");
    if (!view.monitoring)
        return reject_set(why, REJECT_MONITORING_OFF, "", 0, "monitoring of this project is off");
    if (name.n <= NAME_PROJECT_MAX) {
        memcpy(p->found, name.p, name.n);
        p->found[name.n] = '\0';
    }
    return inference_check_project(ev, name, why);
}

static struct str random_id(struct arena *a)
{
    unsigned char b[16] = {0};
    while (getrandom(b, sizeof b, 0) != sizeof b)
        continue;
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    return str_of(arena_printf(a, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
                               b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]));
}

/* What goes onto the topic: the bytes as they came, in the request's body, or for MLRun's ingest form its translation. */
static struct str record_of(struct post *p, struct str raw, struct inference_event *ev, struct buf *room)
{
    if (!ev->is_ingest)
        return raw;
    if (ev->when_us == INFERENCE_NO_TIME)
        ev->when_us = http_received_us(p->r);
    if (ev->request_id.n == 0)
        ev->request_id = random_id(http_arena(p->r));
    inference_encode(ev, room);
    return buf_str(room);
}

static rc_t produce(struct post *p, const struct inference_event *ev, struct str record, struct err *e)
{
    /* known to be away: said at once, not when the message has timed out */
    if (p->sent == 0 && !bus_producer_up(p->st->producer))
        return err_set(e, E_AGAIN, "the message bus cannot be reached");
    struct str trace = ev->traceparent.n ? ev->traceparent : p->trace;
    struct bus_header header = {"traceparent", trace};
    /* the body stays until the answer, which waits for every acknowledgement; a translation does not */
    size_t n = trace.n ? 1 : 0;
    rc_t rc = ev->is_ingest ? bus_produce(p->st->producer, p->topic, ev->uid, record, &header, n, delivered, p, e)
                            : bus_produce_lent(p->st->producer, p->topic, ev->uid, record, &header, n, &p->receipt, e);
    p->sent += rc == OK;
    return rc;
}

static rc_t post_event(struct post *p, const struct inference_split *at, struct str raw, struct buf *room)
{
    struct inference_event ev;
    struct reject why = {0};
    struct err e = {{0}};
    rc_t rc = inference_decode(p->decoder, raw.p, raw.n, &ev, &why);
    if (rc == OK)
        rc = check_time(p, &ev, &why);
    if (rc == OK)
        rc = project_of(p, &ev, &why);
    if (rc == E_INVALID) {
        refuse(p, at, &why);
        return OK;
    }
    if (rc)
        return rc;
    buf_clear(room);
    rc = produce(p, &ev, record_of(p, raw, &ev, room), &e);
    if (rc == E_INVALID) { /* larger than the bus takes */
        (void)reject_set(&why, REJECT_TOO_LARGE, "", 0, "%s", e.text);
        refuse(p, at, &why);
        return OK;
    }
    if (rc) {
        fail(p, rc, e.text);
        return rc;
    }
    p->accepted++;
    if (p->single) {
        p->uid = ev.uid_is_made ? (struct str){0} : arena_str(http_arena(p->r), ev.uid);
        p->model = arena_str(http_arena(p->r), ev.model);
    }
    return OK;
}

static void post_all(struct post *p)
{
    struct str body = p->body, raw;
    struct inference_split split;
    struct reject why = {0};
    struct buf room = {0};
    inference_split_init(&split, body.p, body.n, p->lines);
    int more;
    while ((more = inference_split_next(&split, &raw, &why)) == 1) {
        p->single = split.mode == SPLIT_ONE;
        if (split.index >= BATCH_MAX) {
            more = -1;
            (void)reject_set(&why, REJECT_TOO_LARGE, "", split.offset, "more than %u events in one request", BATCH_MAX);
            break;
        }
        if (post_event(p, &split, raw, &room))
            break;
    }
    buf_done(&room);
    if (p->park)
        return;
    if (more == 0 && p->accepted + p->n_refused == 0) {
        more = -1;
        (void)reject_set(&why, REJECT_MALFORMED_JSON, "", 0, "the body holds no event");
    }
    if (more == -1) {
        p->single = p->single || p->accepted + p->n_refused == 0;
        refuse_at(p, &split, 0, &why);
    }
}

static _Thread_local struct inference_decoder *thread_decoder; /* HTTP threads live as long as the process */

static bool parked(struct post *p)
{
    struct parking *parking = &p->st->parking;
    (void)pthread_mutex_lock(&parking->lock);
    bool room = parking->n < PARKED_MAX;
    if (room)
        parking->posts[parking->n++] = p;
    (void)pthread_mutex_unlock(&parking->lock);
    return room;
}

static void look_at(struct post *p)
{
    if (!thread_decoder)
        thread_decoder = inference_decoder_new();
    p->decoder = thread_decoder;
    for (;;) {
        p->park = false;
        p->n_refused = 0;
        post_all(p);
        if (!p->park)
            break;
        p->was_parked = true;
        if (parked(p))
            return;
    }
    release(p, HANDLED - p->sent);
}

static void look_again(void *arg)
{
    struct parking *parking = &((struct stream *)arg)->parking;
    struct post *posts[PARKED_MAX];
    (void)pthread_mutex_lock(&parking->lock);
    size_t n = parking->n;
    memcpy(posts, parking->posts, n * sizeof *posts);
    parking->n = 0;
    (void)pthread_mutex_unlock(&parking->lock);
    for (size_t i = 0; i < n; i++)
        look_at(posts[i]);
}

void trigger_drain(struct stream *st)
{
    look_again(st);
}

void trigger_projects_loaded(struct stream *st)
{
    (void)pthread_mutex_lock(&st->parking.lock);
    bool any = st->parking.n > 0;
    (void)pthread_mutex_unlock(&st->parking.lock);
    if (any)
        loop_post(service_loop(st->service), look_again, st);
}

/* A CloudEvent in binary mode: what its headers say becomes part of the record. */
static void unite(struct post *p)
{
    struct http_request *r = p->r;
    const struct cloudevent_attributes attributes = {.specversion = http_header(r, "ce-specversion"),
                                                     .id = http_header(r, "ce-id"),
                                                     .source = http_header(r, "ce-source"),
                                                     .type = http_header(r, "ce-type"),
                                                     .time = http_header(r, "ce-time"),
                                                     .inferenceservicename = http_header(r, "ce-inferenceservicename"),
                                                     .namespace = http_header(r, "ce-namespace"),
                                                     .component = http_header(r, "ce-component"),
                                                     .endpoint = http_header(r, "ce-endpoint"),
                                                     .traceparent = http_header(r, "ce-traceparent")};
    struct buf record = {0};
    if (attributes.specversion.n == 0)
        return;
    p->head = cloudevent_wrap(&attributes, http_body(r), &record);
    p->body = arena_str(http_arena(r), buf_str(&record));
    p->lines = false;
    buf_done(&record);
}

static void handle_post(struct http_request *r, void *arg, struct str project)
{
    struct post *p = arena_alloc(http_arena(r), sizeof *p);
    struct str type = http_header(r, "Content-Type");
    p->r = r;
    p->st = arg;
    p->project = project;
    p->trace = arena_str(http_arena(r), http_header(r, "traceparent"));
    p->lines = type.n >= 20 && strncasecmp(type.p, "application/x-ndjson", 20) == 0;
    p->receipt = (struct bus_receipt){delivered, p};
    atomic_init(&p->open, HANDLED);
    atomic_init(&p->failed, OK);
    p->body = http_body(r);
    unite(p);
    http_suspend(r);
    look_at(p);
}

static void post_root(struct http_request *r, void *arg)
{
    handle_post(r, arg, (struct str){0});
}

static void post_project(struct http_request *r, void *arg)
{
    handle_post(r, arg, http_param(r, "project"));
}

const struct http_route stream_routes[] = {
    {"POST", "/", "ingest", 0, post_root, "Inference events: one, an array, or NDJSON; the project is each event's own"},
    {"POST", "/{project}", "ingest", 0, post_project, "The same for one project"},
};
const size_t stream_routes_n = sizeof stream_routes / sizeof *stream_routes;

void trigger_open(struct stream *st)
{
    (void)pthread_mutex_init(&st->parking.lock, NULL);
    metrics_register(&metrics);
}
