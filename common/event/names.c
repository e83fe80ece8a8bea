/* Names on the wire. */
#include "event/names.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/sha.h"

static const char *const functions[FUNCTION_IDS] = {
    [FUNCTION_STREAM] = "model-monitoring-stream",
    [FUNCTION_CONTROLLER] = "model-monitoring-controller",
    [FUNCTION_WRITER] = "model-monitoring-writer",
    [FUNCTION_HISTOGRAM] = "histogram-data-drift",
};

const char *function_name(enum function_id id)
{
    return functions[id];
}

static bool is_lower_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_alnum(char c)
{
    return is_lower_or_digit(c) || (c >= 'A' && c <= 'Z');
}

enum { UNDERSCORE = 1, DASH = 2, DOT = 4 };

static bool is_mark(char c, int marks)
{
    return (c == '_' && marks & UNDERSCORE) || (c == '-' && marks & DASH) || (c == '.' && marks & DOT);
}

/* Only letters, digits and these marks, 1 to max of them. */
static bool is_made_of(struct str s, int marks, size_t max)
{
    if (s.n == 0 || s.n > max)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!is_alnum(s.p[i]) && !is_mark(s.p[i], marks))
            return false;
    return true;
}

bool name_is_project(struct str s)
{
    if (s.n == 0 || s.n > NAME_PROJECT_MAX || !is_lower_or_digit(s.p[0]) || !is_lower_or_digit(s.p[s.n - 1]))
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!is_lower_or_digit(s.p[i]) && s.p[i] != '-')
            return false;
    return true;
}

bool name_is_uid(struct str s)
{
    return is_made_of(s, UNDERSCORE | DASH, NAME_UID_MAX);
}

bool name_is_app(struct str s)
{
    return is_made_of(s, UNDERSCORE | DASH, NAME_APP_MAX);
}

bool name_is_metric(struct str s)
{
    return is_made_of(s, UNDERSCORE, NAME_METRIC_MAX) && !(s.p[0] >= '0' && s.p[0] <= '9');
}

bool name_is_dots(struct str s)
{
    return str_eqz(s, ".") || str_eqz(s, "..");
}

bool name_is_system_id(struct str s)
{
    return is_made_of(s, UNDERSCORE | DASH | DOT, 64);
}

static bool ends_with(struct str s, const char *tail)
{
    size_t n = strlen(tail);
    return s.n >= n && memcmp(s.p + s.n - n, tail, n) == 0;
}

bool name_is_app_allowed(struct str s)
{
    if (!name_is_app(s) || ends_with(s, "-batch") || str_eqz(s, "mlrun-infra"))
        return false;
    return !str_eqz(s, functions[FUNCTION_STREAM]) && !str_eqz(s, functions[FUNCTION_CONTROLLER]) &&
           !str_eqz(s, functions[FUNCTION_WRITER]);
}

/* --- topics */

static rc_t print_topic(char out[NAME_TOPIC_MAX + 1], struct err *e, const char *fmt, ...) PRINTF(3, 4);
static rc_t print_topic(char out[NAME_TOPIC_MAX + 1], struct err *e, const char *fmt, ...)
{
    char text[NAME_TOPIC_MAX + 2];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (n < 0 || n > NAME_TOPIC_MAX)
        return err_set(e, E_INVALID, "the topic name is longer than %d characters", NAME_TOPIC_MAX);
    memcpy(out, text, (size_t)n + 1);
    return OK;
}

static rc_t check_parts(const char *system_id, struct str project, struct err *e)
{
    if (!name_is_system_id(str_of(system_id)))
        return err_set(e, E_INVALID, "the system id may hold letters, digits and . _ - only, at most 64");
    if (!name_is_project(project))
        return err_set(e, E_INVALID, "a project's name is 1 to 63 of a-z, 0-9 and -, no - at an end");
    return OK;
}

rc_t topic_stream(char out[NAME_TOPIC_MAX + 1], const char *system_id, struct str project, struct err *e)
{
    rc_t rc = check_parts(system_id, project, e);
    if (rc != OK)
        return rc;
    return print_topic(out, e, "monitoring_stream_%s_%.*s_v1", system_id, STR_FMT(project));
}

rc_t topic_function(char out[NAME_TOPIC_MAX + 1], const char *system_id, struct str project, struct str function,
                    struct err *e)
{
    rc_t rc = check_parts(system_id, project, e);
    if (rc != OK)
        return rc;
    if (!name_is_app(function))
        return err_set(e, E_INVALID, "a function's name is 1 to %d letters, digits, _ and -", NAME_APP_MAX);
    return print_topic(out, e, "monitoring_stream_%s_%.*s_%.*s_v1", system_id, STR_FMT(project), STR_FMT(function));
}

rc_t topic_dlt(char out[NAME_TOPIC_MAX + 1], const char *topic, struct err *e)
{
    if (!is_made_of(str_of(topic), UNDERSCORE | DASH | DOT, NAME_TOPIC_MAX))
        return err_set(e, E_INVALID, "not a topic name");
    return print_topic(out, e, "%s.dlt", topic);
}

/* --- fully qualified names */

size_t fqn_metric(char out[NAME_FQN_MAX + 1], struct str project, struct str app, bool is_result, struct str name)
{
    int n = snprintf(out, NAME_FQN_MAX + 1, "%.*s.%.*s.%s.%.*s", STR_FMT(project), STR_FMT(app),
                     is_result ? "result" : "metric", STR_FMT(name));
    return n < 0 ? 0 : n > NAME_FQN_MAX ? NAME_FQN_MAX : (size_t)n;
}

size_t fqn_instance(char out[NAME_FQN_MAX + 1], struct str uid, struct str app, struct str name)
{
    return fqn_metric(out, uid, app, true, name);
}

/* The piece before the next dot; false: there is none. */
static bool cut_piece(struct str *rest, struct str *ret)
{
    const char *dot = memchr(rest->p, '.', rest->n);
    if (dot == NULL)
        return false;
    *ret = (struct str){rest->p, (size_t)(dot - rest->p)};
    *rest = (struct str){dot + 1, rest->n - ret->n - 1};
    return true;
}

rc_t fqn_parse(struct str s, struct fqn *ret, struct err *e)
{
    struct fqn f = {0};
    struct str type;
    if (s.n == 0 || !cut_piece(&s, &f.project) || !cut_piece(&s, &f.app) || !cut_piece(&s, &type))
        return err_set(e, E_INVALID, "a metric's full name is project.app.result|metric.name");
    f.name = s;
    f.is_result = str_eqz(type, "result");
    if (!f.is_result && !str_eqz(type, "metric"))
        return err_set(e, E_INVALID, "the third part of a metric's full name is result or metric");
    if (!name_is_project(f.project) || !name_is_app(f.app) || !name_is_metric(f.name))
        return err_set(e, E_INVALID, "a part of the metric's full name is not a valid name");
    *ret = f;
    return OK;
}

/* --- endpoint identity */

/* Takes what stands behind the last `mark` off the end of s. */
static struct str cut_tail(struct str *s, char mark)
{
    const char *at = memrchr(s->p, mark, s->n);
    if (at == NULL)
        return (struct str){"", 0};
    struct str tail = {at + 1, (size_t)(s->p + s->n - at - 1)};
    s->n = (size_t)(at - s->p);
    return tail;
}

rc_t function_uri_parse(struct str s, struct function_uri *ret, struct err *e)
{
    struct function_uri u = {.project = {"", 0}};
    if (s.n == 0)
        return err_set(e, E_INVALID, "a function URI is empty");
    const char *slash = memchr(s.p, '/', s.n);
    if (slash != NULL) {
        u.project = (struct str){s.p, (size_t)(slash - s.p)};
        s = (struct str){slash + 1, s.n - u.project.n - 1};
        if (!name_is_project(u.project))
            return err_set(e, E_INVALID, "the project in a function URI is not a valid name");
    }
    u.hash_key = cut_tail(&s, '@');
    u.tag = cut_tail(&s, ':');
    u.function = s;
    if (!is_made_of(u.function, UNDERSCORE | DASH | DOT, 256))
        return err_set(e, E_INVALID, "a function URI is [project/]function[:tag][@hash]");
    if ((u.tag.n && !is_made_of(u.tag, UNDERSCORE | DASH | DOT, 256)) ||
        (u.hash_key.n && !is_made_of(u.hash_key, UNDERSCORE | DASH | DOT, 256)))
        return err_set(e, E_INVALID, "tag and hash of a function URI are letters, digits, . _ and -");
    *ret = u;
    return OK;
}

void uid_legacy(char out[41], const struct function_uri *uri, struct str model, struct str version)
{
    struct str none = STR("N/A");
    struct str variant = uri->tag.n ? uri->tag : uri->hash_key.n ? uri->hash_key : none;
    struct buf b = {0};
    buf_addf(&b, "%.*s_%.*s_%.*s_%.*s_%.*s", STR_FMT(uri->project), STR_FMT(uri->function), STR_FMT(variant),
             STR_FMT(model), STR_FMT(version.n ? version : none));
    sha1_hex(b.data, b.len, out);
    buf_done(&b);
}

bool uid_is_legacy(struct str s)
{
    if (s.n != 40)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f')))
            return false;
    return true;
}
