/* The HTTP trigger: what the stream service knows of an event that is posted; the form (app/form.h) does the rest. */
#include <stdio.h>
#include <sys/random.h>
#include "base/clock.h"
#include "event/cloudevent.h"
#include "event/inference.h"
#include "event/names.h"
#include "shape.h"
#include "stream.h"

rc_t stream_check_time(const struct stream_options *o, const struct inference_event *ev, int64_t now_us, struct reject *why)
{
    if (ev->when_us > now_us + o->future_us)
        return reject_set(why, REJECT_FUTURE_TIMESTAMP, "when", 0,
                          "the time lies %lld s after it came, EVENT_FUTURE allows %lld",
                          (long long)((ev->when_us - now_us) / USEC_PER_SEC), (long long)(o->future_us / USEC_PER_SEC));
    if (ev->when_us < now_us - o->max_age_us)
        return reject_set(why, REJECT_BAD_TIME, "when", 0, "the time is older than EVENT_MAX_AGE");
    return OK;
}

/* What the sinks will say of it, said at once. */
static rc_t check_time(const struct form_call *c, const struct inference_event *ev, struct reject *why)
{
    if (ev->kind == INFERENCE_NOP || ev->kind == INFERENCE_BATCH_COMPLETE || ev->when_us == INFERENCE_NO_TIME)
        return OK;
    return stream_check_time(&((const struct stream *)c->self)->options, ev, http_received_us(c->request), why);
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

/* MLRun's ingest form goes onto the topic as its translation, with what it may leave out. */
static void translate(const struct form_call *c, struct inference_event *ev)
{
    if (ev->when_us == INFERENCE_NO_TIME)
        ev->when_us = http_received_us(c->request);
    if (ev->request_id.n == 0)
        ev->request_id = random_id(http_arena(c->request));
    inference_encode(ev, c->room);
}

static _Thread_local struct inference_decoder *thread_decoder; /* HTTP threads live as long as the process */

static rc_t check_event(const struct form_call *c, struct str raw, struct form_event *ret, struct reject *why)
{
    struct inference_event ev;
    if (!thread_decoder)
        thread_decoder = inference_decoder_new();
    rc_t rc = inference_decode(thread_decoder, raw.p, raw.n, &ev, why);
    if (rc == OK)
        rc = check_time(c, &ev, why);
    if (rc == OK)
        rc = schema_check(&ev, why);
    if (rc)
        return rc;
    if (ev.is_ingest)
        translate(c, &ev);
    *ret = (struct form_event){.project = ev.project,
                               .project_field = ev.function_uri.n ? "function_uri" : "project",
                               .key = ev.uid,
                               .record = buf_str(c->room),
                               .trace = ev.traceparent,
                               .endpoint_name = ev.model};
    if (!ev.uid_is_made) /* a name alone may lead to a record with any uid */
        ret->endpoint_id = ev.uid;
    return OK;
}

static rc_t find_topic(void *self, struct str name, char ret[NAME_TOPIC_MAX + 1], struct reject *why)
{
    struct stream *st = self;
    struct project_view view;
    rc_t rc = projects_find(&st->projects, name.n ? name : str_of(st->options.default_project), &view, ret);
    if (rc == E_NOTFOUND)
        (void)reject_set(why, REJECT_UNKNOWN_PROJECT, "", 0,
                         "no such project: `modelmon project NAME` makes one, or PUT /api/v1/projects/NAME");
    if (rc == OK && !view.monitoring)
        return reject_set(why, REJECT_MONITORING_OFF, "", 0, "monitoring of this project is off");
    return rc;
}

/* A CloudEvent in binary mode: what its headers say becomes part of the record. */
static struct str unite(struct http_request *r, size_t *ret_head)
{
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
        return http_body(r);
    *ret_head = cloudevent_wrap(&attributes, http_body(r), &record);
    struct str whole = arena_str(http_arena(r), buf_str(&record));
    buf_done(&record);
    return whole;
}

static const struct form_ops ops = {.check = check_event, .topic = find_topic, .body = unite};

void trigger_open(struct stream *st)
{
    st->form = (struct form){
        .function = "stream", .ops = &ops, .self = st, .producer = st->producer, .loop = service_loop(st->service)};
    form_open(&st->form);
}
