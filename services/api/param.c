/* Owns the checking of what a path and a query say, by the rows of the route, and the reading of it: one place, so that a handler
 * gets what its row lets through and cannot fail over it. */
#include "param.h"

#include <assert.h>
#include <string.h>
#include "api.h"
#include "base/clock.h"
#include "base/num.h"
#include "base/time.h"

#define SPAN_MAX_US (400 * API_DAY_US)

/* ---- what is said ---- */
bool call_value(struct call *c, const char *name, size_t nth, struct str *ret)
{
    const struct call_query *q = c->query;
    if (!q)
        return http_query(c->r, name, nth, ret);
    for (size_t i = 0; i < q->n; i++) {
        if (!str_eqz(q->names[i], name) || nth-- > 0)
            continue;
        *ret = q->values[i];
        return true;
    }
    return false;
}

/* The nth value of a row, or of its older name. What older clients mean something else by is not there. */
static bool value_of(struct call *c, const struct param *p, size_t nth, struct str *ret)
{
    struct str v;
    if (p->modern && call_before_1_8(c))
        return false;
    if (call_value(c, p->name, nth, ret))
        return true;
    return p->alias && !call_value(c, p->name, 0, &v) && call_value(c, p->alias, nth, ret);
}

/* ---- the check ---- */
void param_list_choices(const char *choices, struct buf *out)
{
    for (const char *at = choices; *at;) {
        size_t n = strcspn(at, "|");
        buf_addf(out, "%s%.*s", at == choices ? "" : at[n] ? ", " : " or ", (int)n, at);
        at += n + (at[n] == '|');
    }
}

static rc_t complain_choice(const char *name, const char *choices, struct err *e)
{
    CLEANUP(buf_done) struct buf list = {0};
    param_list_choices(choices, &list);
    return err_set(e, E_INVALID, "%s: %s is wanted", name, list.data);
}

int param_choice(const char *choices, struct str word)
{
    int i = 0;
    for (const char *at = choices; *at; i++) {
        size_t n = strcspn(at, "|");
        if (word.n == n && memcmp(word.p, at, n) == 0)
            return i;
        at += n + (at[n] == '|');
    }
    return -1;
}

static rc_t check_text(const char *name, const struct param *p, struct str v, struct err *e)
{
    int64_t max = p->max ? p->max : PARAM_TEXT_MAX;
    if ((int64_t)v.n > max)
        return err_set(e, E_INVALID, "%s: at most %lld bytes", name, (long long)max);
    return v.n && memchr(v.p, '\0', v.n) ? err_set(e, E_INVALID, "%s: it has a NUL character", name) : OK;
}

static rc_t check_number(const char *name, const struct param *p, struct str v, struct err *e)
{
    double x;
    if (num_f64(v, &x) != OK)
        return err_set(e, E_INVALID, "%s: a number is wanted", name);
    return (p->min || p->max) && !(x >= (double)p->min && x <= (double)p->max)
               ? err_set(e, E_INVALID, "%s: a number from %lld to %lld is wanted", name, (long long)p->min, (long long)p->max)
               : OK;
}

static rc_t check_int(const char *name, const struct param *p, struct str v, struct err *e)
{
    int64_t ignored;
    if ((p->choices && param_choice(p->choices, v) >= 0) || num_i64_in(v, p->min, p->max, &ignored) == OK)
        return OK;
    return err_set(e, E_INVALID, "%s: a whole number from %lld to %lld is wanted%s%s", name, (long long)p->min,
                   (long long)p->max, p->choices ? ", or " : "", p->choices ? p->choices : "");
}

static rc_t check_time(const char *name, bool offset, struct str v, struct err *e)
{
    int64_t ignored;
    if (time_parse(v, offset, &ignored) == OK)
        return OK;
    return offset ? err_set(e, E_INVALID,
                            "%s: an ISO 8601 time with an offset is wanted, such as "
                            "2025-01-01T00:00:00+00:00 (in a URL + is written %%2B)",
                            name)
                  : err_set(e, E_INVALID, "%s: an ISO 8601 time is wanted", name);
}

static rc_t check_value(const char *name, const struct param *p, struct str v, struct err *e)
{
    int flag;
    switch (p->kind) {
    case PARAM_FLAG:
        return num_bool(v, &flag) == OK ? OK : err_set(e, E_INVALID, "%s: True or False is wanted", name);
    case PARAM_INT:
        return check_int(name, p, v, e);
    case PARAM_NUMBER:
        return check_number(name, p, v, e);
    case PARAM_TIME:
    case PARAM_UTC:
        return check_time(name, p->kind == PARAM_TIME, v, e);
    case PARAM_CHOICE:
        return param_choice(p->choices, v) >= 0 ? OK : complain_choice(name, p->choices, e);
    default:
        return check_text(name, p, v, e);
    }
}

rc_t params_check_query(struct call *c, struct err *e)
{
    rc_t rc = OK;
    for (const struct param *p = api_params(c->route); rc == OK && p->name; p++) {
        struct str v;
        size_t n = 0;
        while (rc == OK && (n == 0 || p->many) && value_of(c, p, n, &v)) {
            rc = check_value(p->name, p, v, e);
            n++;
        }
        if (rc == OK && n == 0 && p->required)
            rc = err_set(e, E_INVALID, "%s: %s: %s", p->name, p->many ? "at least one is wanted" : "missing", p->help);
        if (rc != OK)
            c->field = p->name;
    }
    return rc;
}

rc_t params_check(struct call *c, struct err *e)
{
    for (const char *at = c->route->pattern; (at = strchr(at, '{')); at++) {
        const struct str name = {at + 1, strcspn(at, "}") - 1};
        const struct param *p = param_of_path(name);
        rc_t rc = check_value(p->name, p, http_param(c->r, p->name), e);
        if (rc != OK) {
            c->field = p->name;
            return rc;
        }
    }
    return params_check_query(c, e);
}

/* ---- the reading; rows have let it through ---- */
static const struct param *row_of(const struct call *c, const char *name)
{
    for (const struct param *p = api_params(c->route); p->name; p++)
        if (strcmp(p->name, name) == 0)
            return p;
    assert(c->query); /* a handler reads what no row of its route names */
    struct param *text = arena_alloc(c->arena, sizeof *text);
    *text = (struct param){.name = name, .kind = PARAM_TEXT};
    return text;
}

struct str call_str(struct call *c, const char *name)
{
    struct str v = {0};
    const struct param *p = row_of(c, name);
    return value_of(c, p, 0, &v) ? v : (struct str){0};
}

bool call_bool(struct call *c, const char *name, bool def)
{
    int v = def;
    return num_bool(call_str(c, name), &v) == OK ? v != 0 : def;
}

int64_t call_i64(struct call *c, const char *name, int64_t def)
{
    int64_t v;
    return num_i64(call_str(c, name), &v) == OK ? v : def;
}

double call_f64(struct call *c, const char *name, double def)
{
    double v;
    return num_f64(call_str(c, name), &v) == OK ? v : def;
}

int64_t call_time(struct call *c, const char *name, int64_t def_us)
{
    int64_t us;
    return time_parse(call_str(c, name), 0, &us) == OK ? us : def_us;
}

int call_choice(struct call *c, const char *name, int def)
{
    struct str v = call_str(c, name);
    return v.n ? param_choice(row_of(c, name)->choices, v) : def;
}

size_t call_list(struct call *c, const char *name, const struct str **ret)
{
    const struct param *p = row_of(c, name);
    size_t n = 0;
    struct str v;
    while (value_of(c, p, n, &v))
        n++;
    struct str *list = arena_array(c->arena, n + 1, sizeof *list);
    for (size_t i = 0; i < n; i++)
        (void)value_of(c, p, i, &list[i]); /* counted above */
    *ret = list;
    return n;
}

rc_t call_span(struct call *c, int64_t *ret_start_us, int64_t *ret_end_us, struct err *e)
{
    int64_t end = call_time(c, "end", clock_now_us()), start = call_time(c, "start", end - API_DAY_US);
    c->field = "start";
    if (start > end)
        return err_set(e, E_INVALID, "start: must not be after end");
    if (end - start > SPAN_MAX_US)
        return err_set(e, E_LIMIT, "start: at most 400 days before end");
    c->field = NULL;
    *ret_start_us = start;
    *ret_end_us = end;
    return OK;
}
