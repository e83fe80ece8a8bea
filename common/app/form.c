/* The HTTP form: check all, produce what is good, answer when the last acknowledgement is in. */
#include "app/form.h"
#include <stdatomic.h>
#include <stdio.h>
#include "base/mem.h"
#include "event/inference.h"
#include "json/write.h"

#define REPORT_MAX 100u /* refused events described in one answer */

enum { ITEM_OPEN, ITEM_ACCEPTED, ITEM_REFUSED, ITEM_UNAVAILABLE };

struct form_item {
    struct form_call *call;
    _Atomic int state;
    struct str value, key, project;
    size_t offset, line; /* in the body */
    struct reject why;
    struct form_item *next;
};

struct form_call {
    struct http_request *r;
    const struct form *form;
    struct form_item *first, **end;
    struct bus_header trace; /* empty value: none came */
    size_t n;
    bool several;
    atomic_size_t open;
};

/* ---- the answer ---- */
static void answer_problem(struct http_request *r, const struct reject *why, size_t at)
{
    http_problem(r, &(struct http_problem){.status = reject_http_status(why->code),
                                           .code = reject_name(why->code),
                                           .detail = why->text,
                                           .field = why->field[0] ? why->field : NULL,
                                           .has_position = true,
                                           .position = (int64_t)(at + why->position)});
}

static void answer_unavailable(struct http_request *r, const char *words)
{
    http_problem(r, &(struct http_problem){.status = 503, .code = "unavailable", .detail = words, .retry_after_s = 1});
}

static void write_refused(struct json_writer *w, const struct form_item *it, size_t index)
{
    jw_object(w);
    jw_kv_i64(w, "index", (int64_t)index);
    jw_kv_i64(w, "line", (int64_t)it->line);
    jw_kv_i64(w, "position", (int64_t)(it->offset + it->why.position));
    jw_kv_strz(w, "code", reject_name(it->why.code));
    jw_kv_strz(w, "field", it->why.field);
    jw_kv_strz(w, "detail", it->why.text);
    jw_object_end(w);
}

/* As the stream service answers a batch. */
static void answer_batch(struct form_call *c, size_t accepted)
{
    struct buf body = {0};
    struct json_writer w;
    size_t index = 0, told = 0;
    jw_init(&w, &body, JSON_NAN_NULL);
    jw_object(&w);
    jw_kv_strz(&w, "status", accepted == c->n ? "accepted" : accepted ? "partly_accepted" : "rejected");
    jw_kv_i64(&w, "accepted", (int64_t)accepted);
    jw_kv_i64(&w, "rejected", (int64_t)(c->n - accepted));
    jw_key(&w, "errors");
    jw_array(&w);
    for (const struct form_item *it = c->first; it; it = it->next, index++)
        if (atomic_load(&it->state) == ITEM_REFUSED && told++ < REPORT_MAX)
            write_refused(&w, it, index);
    jw_array_end(&w);
    jw_object_end(&w);
    http_answer_take(c->r, accepted == c->n ? 202 : accepted ? 207 : 400, HTTP_JSON, &body);
}

/* Exactly once, by whoever brings open to 0. c lives in the request's arena: gone after the answer. */
static void finish(struct form_call *c)
{
    size_t accepted = 0, unavailable = 0;
    const struct form_item *bad = NULL;
    for (const struct form_item *it = c->first; it; it = it->next) {
        int state = atomic_load(&it->state);
        accepted += state == ITEM_ACCEPTED;
        unavailable += state == ITEM_UNAVAILABLE;
        if (state == ITEM_REFUSED && !bad)
            bad = it;
    }
    if (unavailable)
        answer_unavailable(c->r, "the bus does not acknowledge: send all of it again");
    else if (c->several)
        answer_batch(c, accepted);
    else if (bad)
        answer_problem(c->r, &bad->why, bad->offset);
    else
        http_answer(c->r, 202, HTTP_JSON, STR("{\"status\":\"accepted\"}"));
}

static void settle(struct form_call *c)
{
    if (atomic_fetch_sub(&c->open, 1) == 1)
        finish(c);
}

/* On the producer's thread. */
static void delivered(void *arg, rc_t rc, const char *words)
{
    struct form_item *it = arg;
    if (rc == E_INVALID)
        (void)reject_set(&it->why, REJECT_TOO_LARGE, NULL, 0, "the bus refused it: %s", words ? words : "");
    atomic_store(&it->state, rc == OK ? ITEM_ACCEPTED : rc == E_INVALID ? ITEM_REFUSED : ITEM_UNAVAILABLE);
    settle(it->call);
}

/* ---- the request ---- */
static void refuse(struct form_item *it)
{
    atomic_store(&it->state, ITEM_REFUSED);
}

static void check_item(struct form_call *c, struct form_item *it, struct str route_project)
{
    struct form_event ev = {{0}, {0}};
    if (c->form->check(it->value.p, it->value.n, http_arena(c->r), &ev, &it->why)) {
        refuse(it);
        return;
    }
    if (route_project.n && ev.project.n && !str_eq(route_project, ev.project)) {
        (void)reject_set(&it->why, REJECT_PROJECT_MISMATCH, "project", 0, "the event names another project");
        refuse(it);
        return;
    }
    it->project = route_project.n ? route_project : ev.project;
    it->key = ev.key;
}

static struct form_item *add_item(struct form_call *c, struct str value, const struct inference_split *s)
{
    struct form_item *it = arena_alloc(http_arena(c->r), sizeof *it);
    it->call = c;
    it->value = value;
    it->offset = s->offset;
    it->line = s->line;
    *c->end = it;
    c->end = &it->next;
    c->n++;
    return it;
}

/* E_INVALID: the body itself is broken; then nothing of it is taken. */
static rc_t split_body(struct form_call *c, struct str route_project, struct reject *why)
{
    struct str body = http_body(c->r), one, type = http_header(c->r, "Content-Type");
    static const char lines[] = "application/x-ndjson";
    struct inference_split s;
    inference_split_init(&s, body.p, body.n, type.n >= sizeof lines - 1 && memcmp(type.p, lines, sizeof lines - 1) == 0);
    int got;
    while ((got = inference_split_next(&s, &one, why)) == 1)
        check_item(c, add_item(c, one, &s), route_project);
    c->several = s.mode != SPLIT_ONE;
    if (got < 0)
        return E_INVALID;
    return c->n ? OK : reject_set(why, REJECT_MALFORMED_JSON, NULL, 0, "the body holds no event");
}

static void produce_item(struct form_call *c, struct form_item *it)
{
    char project[NAME_PROJECT_MAX + 1], topic[NAME_TOPIC_MAX + 1];
    struct err e;
    rc_t rc = function_topics_find(c->form->topics, it->project, project, topic);
    if (rc == E_NOTFOUND && it->project.n)
        (void)reject_set(&it->why, REJECT_UNKNOWN_PROJECT, "project", 0, "no project '%.*s' that this function serves",
                         STR_FMT(it->project));
    else if (rc == E_NOTFOUND)
        (void)reject_set(&it->why, REJECT_MISSING_FIELD, "project", 0,
                         "the event does not say its project: use POST /{project}");
    if (rc) {
        atomic_store(&it->state, rc == E_NOTFOUND ? ITEM_REFUSED : ITEM_UNAVAILABLE);
        return;
    }
    atomic_fetch_add(&c->open, 1);
    rc = bus_produce(c->form->producer, topic, it->key, it->value, &c->trace, c->trace.value.n ? 1 : 0, delivered, it, &e);
    if (rc == OK)
        return;
    atomic_fetch_sub(&c->open, 1);
    if (rc == E_INVALID)
        (void)reject_set(&it->why, REJECT_TOO_LARGE, NULL, 0, "%.150s", e.text);
    atomic_store(&it->state, rc == E_INVALID ? ITEM_REFUSED : ITEM_UNAVAILABLE);
}

static void post(struct http_request *r, struct str route_project, const struct form *f)
{
    struct form_call *c = arena_alloc(http_arena(r), sizeof *c);
    struct reject why = {0};
    c->r = r;
    c->form = f;
    c->end = &c->first;
    c->trace = (struct bus_header){"traceparent", http_header(r, "traceparent")};
    if (split_body(c, route_project, &why)) {
        answer_problem(r, &why, 0);
        return;
    }
    if (!bus_producer_up(f->producer)) { /* known to be away: better told now than after the time-out of a message */
        answer_unavailable(r, "no broker answers: send it again");
        return;
    }
    http_suspend(r);
    atomic_store(&c->open, 1); /* ours, until everything is given to the producer */
    for (struct form_item *it = c->first; it; it = it->next)
        if (atomic_load(&it->state) == ITEM_OPEN)
            produce_item(c, it);
    settle(c);
}

static void post_any(struct http_request *r, void *arg)
{
    post(r, (struct str){0}, arg);
}

static void post_project(struct http_request *r, void *arg)
{
    post(r, http_param(r, "project"), arg);
}

const struct http_route form_routes[] = {
    {"POST", "/", "ingest", 0, post_any, "Events; each says its project, unless there is only one"},
    {"POST", "/{project}", "ingest", 0, post_project, "Events of one project"},
};
const size_t form_routes_n = sizeof form_routes / sizeof *form_routes;
