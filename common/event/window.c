/* The window event. */
#include "event/window.h"

#include "event/envelope.h"

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

/* The reader's own memory ends with the call. */
static struct str keep(struct arena *a, struct str s)
{
    return s.n > 0 ? arena_str(a, s) : (struct str){"", 0};
}

rc_t window_decode(const char *p, size_t n, struct arena *a, struct window_event *ret, struct reject *why)
{
    struct json_reader r = {0};
    struct envelope_head h = {.own = {.reference_version = -1, .max_files = WINDOW_FILES_MAX}};
    struct envelope_text updated = {.at = 0};
    const struct envelope_field more[] = {{STR("endpoint_updated"), &updated}};
    const struct envelope *env = &h.own;
    struct window_event ev = {.start_us = 0};
    jr_init(&r, p, n, &limits);
    rc_t rc = envelope_read_event(&r, a, &h, more, sizeof more / sizeof *more)
                  ? envelope_settle(&h, &ev.start_us, &ev.end_us, why)
                  : reject_reader(why, &r);
    if (rc == OK) {
        struct str *files = arena_array(a, env->n_files + 1, sizeof *files);
        for (size_t i = 0; i < env->n_files; i++)
            files[i] = keep(a, env->files[i]);
        ev.project = keep(a, env->project);
        ev.traceparent = keep(a, env->traceparent);
        ev.endpoint_id = keep(a, h.endpoint_id.s);
        ev.endpoint_name = keep(a, h.endpoint_name.s);
        ev.endpoint_updated = keep(a, updated.s);
        ev.application_name = keep(a, h.application_name.s);
        ev.revision = env->revision;
        ev.reference_version = env->reference_version;
        ev.files = files;
        ev.n_files = env->n_files;
        ev.is_exact = envelope_is_exact(&h);
        *ret = ev;
    }
    jr_done(&r);
    return rc;
}
