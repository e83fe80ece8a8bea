/* The window event. */
#include "event/window.h"

#include "event/envelope.h"
#include "event/names.h"

static const struct json_limits limits = {
    .values = 2 * WINDOW_FILES_MAX, .bytes = WINDOW_BYTES_MAX, .string_bytes = 64 << 10, .accept_nan = true};

void window_encode(const struct window_event *ev, struct buf *out)
{
    struct json_writer w;
    const struct envelope env = {.project = ev->project,
                                 .traceparent = ev->traceparent,
                                 .start_us = ev->start_us,
                                 .end_us = ev->end_us,
                                 .revision = ev->revision,
                                 .reference_version = ev->reference_version};
    jw_init(&w, out, JSON_NAN_TOKEN);
    jw_object(&w);
    envelope_write_times(&w, ev->start_us, ev->end_us);
    jw_kv_str(&w, "endpoint_id", ev->endpoint_id);
    jw_kv_str(&w, "endpoint_name", ev->endpoint_name);
    jw_kv_str(&w, "endpoint_updated", ev->endpoint_updated);
    jw_kv_str(&w, "application_name", ev->application_name);
    envelope_write(&w, &env);
    jw_key(&w, "files");
    jw_array(&w);
    for (size_t i = 0; i < ev->n_files; i++)
        jw_str(&w, ev->files[i]);
    jw_array_end(&w);
    jw_object_end(&w);
    jw_object_end(&w);
}

struct head {
    struct envelope_text start, end, endpoint_id, endpoint_name, endpoint_updated, application_name;
};

static bool read_event(struct json_reader *r, struct arena *a, struct head *h, struct envelope *env)
{
    const struct {
        const char *name;
        struct envelope_text *text;
    } fields[] = {
        {"start_infer_time", &h->start},
        {"end_infer_time", &h->end},
        {"endpoint_id", &h->endpoint_id},
        {"endpoint_name", &h->endpoint_name},
        {"endpoint_updated", &h->endpoint_updated},
        {"application_name", &h->application_name},
    };
    const size_t n = sizeof fields / sizeof *fields;
    struct str key;
    if (!jr_object(r))
        return false;
    while (jr_key(r, &key)) {
        size_t i = 0;
        while (i < n && !str_eqz(key, fields[i].name))
            i++;
        bool ok = i < n                      ? envelope_read_text(r, fields[i].text)
                  : str_eqz(key, "modelmon") ? envelope_read(r, a, env)
                                             : jr_skip(r, NULL);
        if (!ok)
            return false;
    }
    return jr_end(r);
}

/* The reader's own memory ends with the call. */
static struct str keep(struct arena *a, struct str s)
{
    return s.n > 0 ? arena_str(a, s) : (struct str){"", 0};
}

static rc_t settle(const struct head *h, const struct envelope *env, struct window_event *ev, struct reject *why)
{
    rc_t rc;
    if ((rc = envelope_need(&h->endpoint_id, "endpoint_id", name_is_uid, why)) != OK ||
        (rc = envelope_need(&h->application_name, "application_name", name_is_app, why)) != OK ||
        (rc = envelope_need(&h->endpoint_name, "endpoint_name", NULL, why)) != OK)
        return rc;
    if (env->project.n > 0 && !name_is_project(env->project))
        return reject_set(why, REJECT_BAD_NAME, "modelmon.project", 0, "this is no name of a project");
    return envelope_settle_times(env, &h->start, &h->end, &ev->start_us, &ev->end_us, why);
}

rc_t window_decode(const char *p, size_t n, struct arena *a, struct window_event *ret, struct reject *why)
{
    struct json_reader r = {0};
    struct head h = {.start = {.at = 0}};
    struct envelope env = {.reference_version = -1, .max_files = WINDOW_FILES_MAX};
    struct window_event ev = {.start_us = 0};
    jr_init(&r, p, n, &limits);
    rc_t rc = read_event(&r, a, &h, &env) ? settle(&h, &env, &ev, why) : reject_reader(why, &r);
    if (rc == OK) {
        struct str *files = arena_array(a, env.n_files + 1, sizeof *files);
        for (size_t i = 0; i < env.n_files; i++)
            files[i] = keep(a, env.files[i]);
        ev.project = keep(a, env.project);
        ev.traceparent = keep(a, env.traceparent);
        ev.endpoint_id = keep(a, h.endpoint_id.s);
        ev.endpoint_name = keep(a, h.endpoint_name.s);
        ev.endpoint_updated = keep(a, h.endpoint_updated.s);
        ev.application_name = keep(a, h.application_name.s);
        ev.revision = env.revision;
        ev.reference_version = env.reference_version;
        ev.files = files;
        ev.n_files = env.n_files;
        ev.is_exact = env.has_start && env.has_end;
        *ret = ev;
    }
    jr_done(&r);
    return rc;
}
