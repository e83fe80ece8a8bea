/* What window and result events have in common. */
#include "event/envelope.h"

#include "base/clock.h"
#include "base/time.h"
#include "event/names.h"
#include "event/window.h"

#define SLIP_US INT64_C(86400) /* MLRun meant a microsecond and wrote timedelta(1e-6), in days */
#define FIRST_US (INT64_C(-62135596800) * USEC_PER_SEC + 1) /* year 1; one less must be a time still */
#define LAST_US (INT64_C(253402300800) * USEC_PER_SEC - 1)  /* the end of year 9999 */

int64_t window_time_out(int64_t us)
{
    return us - 1;
}

int64_t window_time_in(int64_t us)
{
    return (us + 1) % USEC_PER_SEC == 0 ? us + 1 : us;
}

int64_t window_start_in(int64_t us)
{
    return (us + SLIP_US) % USEC_PER_SEC == 0 ? us + SLIP_US : window_time_in(us);
}

bool envelope_read_text(struct json_reader *r, struct envelope_text *ret)
{
    ret->at = jr_offset(r);
    return jr_take_null(r) || jr_str(r, &ret->s);
}

static bool read_int(struct json_reader *r, int64_t *ret, bool *set)
{
    if (jr_take_null(r))
        return true;
    if (!jr_i64(r, ret))
        return false;
    *set = true;
    return true;
}

/* Into the arena, which grows by doubling copies: few windows have many files. */
static bool read_files(struct json_reader *r, struct arena *a, struct envelope *env)
{
    size_t cap = 0;
    struct str *files = NULL, file;
    if (jr_take_null(r))
        return true;
    if (!jr_array(r))
        return false;
    for (env->n_files = 0; jr_item(r); env->n_files++) {
        size_t at = jr_offset(r);
        if (!jr_str(r, &file))
            return false;
        if (env->n_files == env->max_files)
            return jr_fail(r, JSON_E_VALUES, at);
        if (env->n_files == cap) {
            struct str *more = arena_array(a, cap ? cap * 2 : 16, sizeof *more);
            for (size_t i = 0; i < env->n_files; i++)
                more[i] = files[i];
            files = more;
            cap = cap ? cap * 2 : 16;
        }
        files[env->n_files] = file;
    }
    env->files = files;
    return !jr_failed(r);
}

static bool read_own(struct json_reader *r, struct arena *a, struct envelope *ret)
{
    struct envelope_text text = {.s = {NULL, 0}};
    struct str key;
    bool set = false;
    if (jr_take_null(r))
        return true;
    if (!jr_object(r))
        return false;
    ret->is_set = true;
    while (jr_key(r, &key)) {
        bool ok;
        if (str_eqz(key, "project") || str_eqz(key, "traceparent")) {
            ok = envelope_read_text(r, &text);
            *(key.n == 7 ? &ret->project : &ret->traceparent) = text.s;
        } else if (str_eqz(key, "window_start_us")) {
            ok = read_int(r, &ret->start_us, &ret->has_start);
        } else if (str_eqz(key, "window_end_us")) {
            ok = read_int(r, &ret->end_us, &ret->has_end);
        } else if (str_eqz(key, "revision")) {
            ok = read_int(r, &ret->revision, &set);
        } else if (str_eqz(key, "reference_version")) {
            ok = read_int(r, &ret->reference_version, &set);
        } else if (str_eqz(key, "files") && a != NULL) {
            ok = read_files(r, a, ret);
        } else {
            ok = jr_skip(r, NULL);
        }
        if (!ok)
            return false;
        text.s = (struct str){NULL, 0};
    }
    return !jr_failed(r);
}

static struct envelope_text *text_of(struct envelope_head *h, const struct envelope_field *more, size_t n, struct str key)
{
    const struct envelope_field both[] = {
        {STR("endpoint_id"), &h->endpoint_id},
        {STR("endpoint_name"), &h->endpoint_name},
        {STR("application_name"), &h->application_name},
        {STR("start_infer_time"), &h->start},
        {STR("end_infer_time"), &h->end},
    };
    for (size_t i = 0; i < sizeof both / sizeof *both; i++)
        if (str_eq(key, both[i].name))
            return both[i].text;
    for (size_t i = 0; i < n; i++)
        if (str_eq(key, more[i].name))
            return more[i].text;
    return NULL;
}

bool envelope_read_event(struct json_reader *r, struct arena *a, struct envelope_head *ret,
                         const struct envelope_field *more, size_t n)
{
    struct str key;
    if (!jr_object(r))
        return false;
    while (jr_key(r, &key)) {
        struct envelope_text *text = text_of(ret, more, n, key);
        bool ok = text                       ? envelope_read_text(r, text)
                  : str_eqz(key, "modelmon") ? read_own(r, a, &ret->own)
                                             : jr_skip(r, NULL);
        if (!ok)
            return false;
    }
    return jr_end(r);
}

void envelope_write_times(struct json_writer *w, int64_t start_us, int64_t end_us)
{
    char text[TIME_TEXT];
    size_t n = time_mlrun(text, window_time_out(start_us));
    jw_kv_str(w, "start_infer_time", (struct str){text, n});
    n = time_mlrun(text, window_time_out(end_us));
    jw_kv_str(w, "end_infer_time", (struct str){text, n});
}

void envelope_write(struct json_writer *w, const struct envelope *env)
{
    jw_key(w, "modelmon");
    jw_object(w);
    if (env->project.n > 0)
        jw_kv_str(w, "project", env->project);
    jw_kv_i64(w, "window_start_us", env->start_us);
    jw_kv_i64(w, "window_end_us", env->end_us);
    jw_kv_i64(w, "revision", env->revision);
    if (env->reference_version >= 0)
        jw_kv_i64(w, "reference_version", env->reference_version);
    if (env->traceparent.n > 0)
        jw_kv_str(w, "traceparent", env->traceparent);
}

static rc_t read_time(const struct envelope_text *t, const char *field, int64_t *ret, struct reject *why)
{
    if (t->s.p == NULL)
        return reject_set(why, REJECT_MISSING_FIELD, field, 0, "%s is missing", field);
    if (time_parse(t->s, 0, ret) != OK)
        return reject_set(why, REJECT_BAD_TIME, field, t->at, "this is no ISO 8601 time");
    return OK;
}

bool envelope_is_exact(const struct envelope_head *h)
{
    return h->own.has_start && h->own.has_end;
}

static rc_t settle_times(const struct envelope_head *h, int64_t *ret_start, int64_t *ret_end, struct reject *why)
{
    const struct envelope *env = &h->own;
    const struct envelope_text *end = &h->end;
    int64_t from, to;
    rc_t rc = read_time(&h->start, "start_infer_time", &from, why);
    if (rc == OK)
        rc = read_time(end, "end_infer_time", &to, why);
    if (rc != OK)
        return rc;
    bool exact = envelope_is_exact(h);
    from = exact ? env->start_us : window_start_in(from);
    to = exact ? env->end_us : window_time_in(to);
    if (from < FIRST_US || to > LAST_US)
        return reject_set(why, REJECT_BAD_VALUE, exact ? "modelmon.window_end_us" : "end_infer_time", end->at,
                          "the window lies outside of the years 1 to 9999");
    if (from >= to)
        return reject_set(why, REJECT_BAD_VALUE, "end_infer_time", end->at, "the window ends before it begins");
    if (env->revision < 0)
        return reject_set(why, REJECT_BAD_VALUE, "modelmon.revision", 0, "revisions count from 0");
    *ret_start = from;
    *ret_end = to;
    return OK;
}

rc_t envelope_need(const struct envelope_text *t, const char *field, bool (*is_valid)(struct str), struct reject *why)
{
    if (t->s.p == NULL)
        return reject_set(why, REJECT_MISSING_FIELD, field, 0, "%s is missing", field);
    if (is_valid != NULL && !is_valid(t->s))
        return reject_set(why, REJECT_BAD_NAME, field, t->at, "this is no valid name");
    return OK;
}

rc_t envelope_settle(const struct envelope_head *h, int64_t *ret_start, int64_t *ret_end, struct reject *why)
{
    rc_t rc;
    if ((rc = envelope_need(&h->endpoint_id, "endpoint_id", name_is_uid, why)) != OK ||
        (rc = envelope_need(&h->application_name, "application_name", name_is_app, why)) != OK ||
        (rc = envelope_need(&h->endpoint_name, "endpoint_name", NULL, why)) != OK)
        return rc;
    if (h->own.project.n > 0 && !name_is_project(h->own.project))
        return reject_set(why, REJECT_BAD_NAME, "modelmon.project", 0, "this is no name of a project");
    return settle_times(h, ret_start, ret_end, why);
}
