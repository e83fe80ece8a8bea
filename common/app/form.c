/* The HTTP form: what is posted is checked and produced. Its answers are in form_answer.c. */
#include "app/form.h"
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "app/form_post.h"
#include "app/topics.h"
#include "base/crash.h"
#include "event/inference.h"
#include "log/log.h"

#define BATCH_MAX 10000u /* events in one request */
#define HANDLED (SIZE_MAX / 2)

static void release(struct form_post *p, size_t n)
{
    if (atomic_fetch_sub(&p->open, n) != n)
        return;
    CRASH_POINT(form_before_answer);
    form_answer(p);
    CRASH_POINT(form_answer);
}

static void fail(struct form_post *p, rc_t rc, const char *words)
{
    int none = OK;
    if (atomic_compare_exchange_strong(&p->failed, &none, rc))
        (void)snprintf(p->words, sizeof p->words, "%s", words); /* cut to fit is fine */
}

/* On the producer's thread. */
static void delivered(void *arg, size_t n, rc_t rc, const char *words)
{
    struct form_post *p = arg;
    if (rc) {
        log_warn("not_durable", LF_STR("function", p->form->function), LF_STR("error", words ? words : ""));
        fail(p, rc,
             rc == E_INVALID ? "it is larger than the brokers take" : "the bus did not acknowledge: /readyz says why");
    }
    release(p, n);
}

static void delivered_one(void *arg, rc_t rc, const char *words)
{
    delivered(arg, 1, rc, words);
}

static void refuse(struct form_post *p, const struct form_place *at, const struct reject *why)
{
    if (!p->refused)
        p->refused = arena_array(http_arena(p->request), FORM_REPORT_MAX, sizeof *p->refused);
    if (p->n_refused < FORM_REPORT_MAX)
        p->refused[p->n_refused] = (struct form_refused){*at, *why};
    p->n_refused++;
}

/* ---- to the bus ---- */

/* A sender gets no words of a library. */
static const char *words_of(rc_t rc, const struct err *e)
{
    return !err_quotes(e)    ? e->text
           : rc == E_INVALID ? "it is larger than the bus takes"
                             : "the bus does not take it now";
}

/* What became of each that waited. */
static void settle(struct form_post *p, size_t n, const struct err *e)
{
    for (size_t i = 0; i < n; i++) {
        struct reject why;
        rc_t rc = p->waiting->list[i].rc;
        p->sent += rc == OK;
        if (rc == E_INVALID) { /* larger than the bus takes */
            (void)reject_set(&why, REJECT_TOO_LARGE, "", 0, "%s", words_of(rc, e));
            refuse(p, &p->waiting->places[i], &why);
            p->accepted--;
        } else if (rc) {
            fail(p, rc, words_of(rc, e));
        }
    }
}

/* Known to be away: said at once, not when the message has timed out. */
static rc_t is_there(struct form_post *p)
{
    if (p->sent || bus_producer_up(p->form->producer))
        return OK;
    fail(p, E_AGAIN, "the message bus takes nothing now: /readyz says why");
    return E_AGAIN;
}

/* The body stays until the answer, which waits for every acknowledgement. */
static rc_t send_waiting(struct form_post *p)
{
    struct err e = {{0}};
    size_t n = p->waiting ? p->waiting->n : 0;
    if (n == 0)
        return OK;
    p->waiting->n = 0;
    if (is_there(p))
        return E_AGAIN;
    if (bus_produce_many(p->form->producer, p->topic, p->waiting->list, n, &p->receipt, &e))
        settle(p, n, &e);
    else
        p->sent += n;
    CRASH_POINT(form_produce);
    return atomic_load(&p->failed) ? E_AGAIN : OK;
}

static rc_t wait_for_more(struct form_post *p, struct str key, struct str raw, struct form_place at)
{
    if (!p->waiting)
        p->waiting = arena_alloc(http_arena(p->request), sizeof *p->waiting);
    struct form_waiting *w = p->waiting;
    size_t i = w->n++;
    if (key.n)
        memcpy(w->keys[i], key.p, key.n);
    w->list[i] = (struct bus_lent){.key = {key.p ? w->keys[i] : NULL, key.n}, .value = raw};
    w->places[i] = at;
    return w->n < FORM_WAITING_MAX ? OK : send_waiting(p);
}

/* A single event, one with a header, or a record that was made and does not stay; after what came before it. */
static rc_t send_alone(struct form_post *p, const struct form_event *ev, struct str raw, struct reject *why)
{
    struct bus_producer *to = p->form->producer;
    struct bus_header header = {"traceparent", ev->trace.n ? ev->trace : p->trace};
    size_t n = header.value.n ? 1 : 0;
    struct err e = {{0}};
    if (send_waiting(p) || is_there(p))
        return E_AGAIN;
    rc_t rc = ev->record.n ? bus_produce(to, p->topic, ev->key, ev->record, &header, n, delivered_one, p, &e)
                           : bus_produce_lent(to, p->topic, ev->key, raw, &header, n, &p->receipt, &e);
    p->sent += rc == OK;
    if (rc == E_INVALID) /* larger than the bus takes */
        return reject_set(why, REJECT_TOO_LARGE, "", 0, "%s", words_of(rc, &e));
    if (rc)
        fail(p, rc, words_of(rc, &e));
    return rc;
}

/* ---- one event ---- */

/* The project's topic into p->topic. E_NOTFOUND: there is none. */
static rc_t look_up(struct form_post *p, struct str name, struct reject *why)
{
    if (p->found[0] && str_eqz(name, p->found))
        return OK;
    rc_t rc = send_waiting(p); /* to the topic they are for */
    if (rc)
        return rc;
    p->found[0] = '\0';
    rc = p->form->ops->topic(p->form->self, name, p->topic, why);
    if (rc && rc != E_NOTFOUND && rc != E_INVALID)
        fail(p, E_AGAIN, "the projects are not loaded yet: the database has not answered");
    if (rc == OK && name.n <= NAME_PROJECT_MAX) {
        memcpy(p->found, name.p, name.n);
        p->found[name.n] = '\0';
    }
    return rc;
}

static rc_t find_topic(struct form_post *p, const struct form_event *ev, struct reject *why)
{
    const char *field = ev->project_field ? ev->project_field : "project";
    if (!p->project.n && !http_may(p->request, ev->project))
        return reject_set(why, REJECT_FORBIDDEN, field, 0, "who sends this may not send to that project");
    rc_t rc = look_up(p, p->project.n ? p->project : ev->project, why);
    if (rc == E_NOTFOUND && !p->was_parked && p->accepted == 0) {
        p->park = true;
        return rc;
    }
    if (rc == E_NOTFOUND && ev->project.n && !p->project.n)
        (void)snprintf(why->field, sizeof why->field, "%s", field); /* short */
    if (rc)
        return rc == E_NOTFOUND ? E_INVALID : rc;
    if (p->project.n && ev->project.n && !str_eq(p->project, ev->project))
        return reject_set(why, REJECT_PROJECT_MISMATCH, field, 0, "the event names another project than %.*s",
                          STR_FMT(p->project));
    return OK;
}

/* E_INVALID: refused, *why says it. Other codes end the request: it failed, or it is parked. */
static rc_t post_event(struct form_post *p, const struct form_call *c, struct str raw, struct form_place at,
                       struct reject *why)
{
    struct form_event ev = {0};
    if (p->form->ops->check(c, raw, &ev, why))
        return E_INVALID;
    rc_t rc = find_topic(p, &ev, why);
    if (rc)
        return rc;
    bool alone = p->single || ev.record.n || ev.trace.n || p->trace.n || ev.key.n > NAME_UID_MAX;
    if (alone && (rc = send_alone(p, &ev, raw, why)) != OK)
        return rc;
    p->accepted++;
    if (p->single) {
        p->endpoint_id = arena_str(http_arena(p->request), ev.endpoint_id);
        p->endpoint_name = arena_str(http_arena(p->request), ev.endpoint_name);
    }
    return alone ? OK : wait_for_more(p, ev.key, raw, at);
}

/* ---- one request ---- */

static int next_event(struct form_post *p, struct inference_split *split, struct str *ret, struct reject *why)
{
    int more = inference_split_next(split, ret, why);
    p->single = split->mode == SPLIT_ONE;
    if (more != 1 || split->index < BATCH_MAX)
        return more;
    (void)reject_set(why, REJECT_TOO_LARGE, "", split->offset, "more than %u events in one request", BATCH_MAX);
    return -1;
}

static void post_all(struct form_post *p)
{
    struct str raw;
    struct inference_split split;
    struct reject why = {0};
    struct buf room = {0};
    rc_t rc = OK;
    const struct form_call call = {p->form->self, p->request, &room};
    inference_split_init(&split, p->body.p, p->body.n, p->lines);
    int more;
    while ((more = next_event(p, &split, &raw, &why)) == 1) {
        buf_clear(&room);
        const struct form_place at = {split.index, split.line, split.offset};
        rc = post_event(p, &call, raw, at, &why);
        if (rc == E_INVALID)
            refuse(p, &at, &why);
        else if (rc)
            break;
        if (rc)
            why = (struct reject){0};
    }
    if (more != 1)
        (void)send_waiting(p); /* what went wrong is noted */
    buf_done(&room);
    if (more == 0 && p->accepted + p->n_refused == 0) {
        more = -1;
        (void)reject_set(&why, REJECT_MALFORMED_JSON, "", 0, "the body holds no event");
    }
    if (more == -1) {
        p->single = p->single || p->accepted + p->n_refused == 0;
        refuse(p, &(struct form_place){split.index, split.line, 0}, &why);
    }
}

static bool park(struct form_post *p)
{
    struct form *f = p->form;
    (void)pthread_mutex_lock(&f->lock); /* a plain mutex fails only by misuse; so below */
    bool room = f->n_parked < FORM_PARKED_MAX && !f->draining;
    if (room)
        f->parked[f->n_parked++] = p;
    (void)pthread_mutex_unlock(&f->lock);
    return room;
}

static void look_at(struct form_post *p)
{
    for (;;) {
        p->park = false;
        p->n_refused = 0;
        post_all(p);
        if (!p->park)
            break;
        p->was_parked = true;
        if (park(p))
            return; /* it may be another thread's by now */
    }
    release(p, HANDLED - p->sent);
}

static void look_again(void *arg)
{
    struct form *f = arg;
    struct form_post *parked[FORM_PARKED_MAX];
    (void)pthread_mutex_lock(&f->lock);
    size_t n = f->n_parked;
    memcpy(parked, f->parked, n * sizeof *parked);
    f->n_parked = 0;
    (void)pthread_mutex_unlock(&f->lock);
    for (size_t i = 0; i < n; i++)
        look_at(parked[i]);
}

void form_drain(struct form *f)
{
    (void)pthread_mutex_lock(&f->lock);
    f->draining = true;
    (void)pthread_mutex_unlock(&f->lock);
    look_again(f);
}

void form_loaded(struct form *f)
{
    (void)pthread_mutex_lock(&f->lock);
    bool any = f->n_parked > 0;
    (void)pthread_mutex_unlock(&f->lock);
    if (any)
        loop_post(f->loop, look_again, f);
}

void form_open(struct form *f)
{
    (void)pthread_mutex_init(&f->lock, NULL);
    f->label = form_metrics(f->function);
}

static void post(struct http_request *r, struct form *f, struct str project)
{
    static const char lines[] = "application/x-ndjson";
    struct form_post *p = arena_alloc(http_arena(r), sizeof *p);
    struct str type = http_header(r, "Content-Type");
    p->request = r;
    p->form = f;
    p->project = project;
    p->trace = arena_str(http_arena(r), http_header(r, "traceparent"));
    p->lines = type.n >= sizeof lines - 1 && strncasecmp(type.p, lines, sizeof lines - 1) == 0;
    p->receipt = (struct bus_receipt){delivered, p};
    atomic_init(&p->open, HANDLED);
    atomic_init(&p->failed, OK);
    p->body = f->ops->body ? f->ops->body(r, &p->head) : http_body(r);
    p->lines = p->lines && p->head == 0; /* what is put together is one event */
    http_suspend(r);
    look_at(p);
}

static void post_any(struct http_request *r, void *arg)
{
    post(r, arg, (struct str){0});
}

static void post_project(struct http_request *r, void *arg)
{
    post(r, arg, http_param(r, "project"));
}

#define ROUTES(scope)                                                                                                  \
    {                                                                                                                  \
        {"POST",   "/",                                                                                                \
         scope,    HTTP_SOME_PROJECTS,                                                                                 \
         post_any, "Events: one, an array, or NDJSON; the project is each event's own"},                               \
            {"POST", "/{project}", scope, 0, post_project, "The same for one project"},                                \
    }
const struct http_route form_routes_ingest[FORM_ROUTES] = ROUTES("ingest");
const struct http_route form_routes_write[FORM_ROUTES] = ROUTES("write");

rc_t form_topic_of_function(void *function_topics, struct str name, char ret[NAME_TOPIC_MAX + 1], struct reject *why)
{
    char project[NAME_PROJECT_MAX + 1];
    rc_t rc = function_topics_find(function_topics, name, project, ret);
    if (rc == E_NOTFOUND && name.n)
        (void)reject_set(why, REJECT_UNKNOWN_PROJECT, "", 0, "no project '%.*s' that this function serves", STR_FMT(name));
    else if (rc == E_NOTFOUND)
        (void)reject_set(why, REJECT_MISSING_FIELD, "project", 0, "the event does not say its project: use POST /{project}");
    return rc;
}
