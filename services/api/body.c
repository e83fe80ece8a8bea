/* Owns the checking of bodies by their rows: types, limits and words. What fields have to do with each other is the handlers'. */
#include <stdio.h>
#include <string.h>
#include "api.h"
#include "param.h"

const char *body_key(const struct param *row, const char *prefix, size_t n)
{
    if (strncmp(row->name, prefix, n) != 0)
        return NULL;
    const char *key = row->name + n;
    return strchr(key, '.') ? NULL : key;
}

static rc_t check_text(const struct json *j, const struct param *p, struct err *e)
{
    struct str v;
    int64_t max = p->max ? p->max : INT64_MAX;
    rc_t rc = json_str(j, &v, e);
    if (rc == OK && (int64_t)v.n > max)
        return json_complain(j, e, "at most %lld bytes", (long long)max);
    return rc == OK && (int64_t)v.n < p->min ? json_complain(j, e, "it is empty") : rc;
}

static rc_t check_choice(const struct json *j, const struct param *p, struct err *e)
{
    struct str v;
    CLEANUP(buf_done) struct buf list = {0};
    rc_t rc = json_str(j, &v, e);
    if (rc != OK || param_choice(p->choices, v) >= 0)
        return rc;
    param_list_choices(p->choices, &list);
    return json_complain(j, e, "%s is wanted", list.data);
}

static rc_t check_int(const struct json *j, const struct param *p, struct err *e)
{
    int64_t v;
    struct str word;
    struct err ignored = {0};
    if (p->choices && json_str(j, &word, &ignored) == OK && param_choice(p->choices, word) >= 0)
        return OK;
    rc_t rc = json_i64(j, &v, e);
    if (rc == OK && (p->min || p->max) && (v < p->min || v > p->max))
        return json_complain(j, e, "a whole number from %lld to %lld is wanted", (long long)p->min, (long long)p->max);
    return rc;
}

static rc_t check_scalar(const struct json *j, const struct param *p, struct err *e)
{
    bool flag;
    double number;
    switch (p->kind) {
    case PARAM_FLAG:
        return json_bool(j, &flag, e);
    case PARAM_INT:
        return check_int(j, p, e);
    case PARAM_NUMBER:
        return json_f64(j, &number, e);
    case PARAM_CHOICE:
        return check_choice(j, p, e);
    case PARAM_TEXT:
    case PARAM_TIME:
    case PARAM_UTC:
        return check_text(j, p, e);
    default:
        return OK;
    }
}

static rc_t complain_unknown(const struct param *rows, const char *prefix, size_t n, const struct json *j, struct err *e)
{
    CLEANUP(buf_done) struct buf list = {0};
    for (const struct param *p = rows; p->name; p++)
        if (body_key(p, prefix, n))
            buf_addf(&list, "%s%s", list.len ? ", " : "", body_key(p, prefix, n));
    return json_complain(j, e, "unknown; known are %s", list.data ? list.data : "none");
}

static rc_t check_known(const struct param *rows, const char *prefix, size_t n, const struct json *object, struct err *e)
{
    for (const struct json *j = json_first(object); j; j = json_next(j)) {
        bool known = false;
        for (const struct param *p = rows; p->name && !known; p++)
            known = body_key(p, prefix, n) && strcmp(body_key(p, prefix, n), json_key(j)) == 0;
        if (!known)
            return complain_unknown(rows, prefix, n, j, e);
    }
    return OK;
}

static rc_t check_object(const struct param *rows, const char *prefix, bool closed, const struct json *object,
                         struct err *e);

/* What is in an object, or in one of a list's: suffix is "." or "[].". */
static rc_t check_value(const struct param *rows, const struct param *p, const char *suffix, const struct json *j,
                        struct err *e)
{
    char prefix[128];
    if (p->kind != PARAM_OBJECT)
        return check_scalar(j, p, e);
    if (json_type(j) != JSON_OBJECT)
        return json_complain(j, e, "an object is wanted");
    (void)snprintf(prefix, sizeof prefix, "%s%s", p->name, suffix); /* rows are ours, and short */
    return check_object(rows, prefix, p->closed, j, e);
}

static rc_t check_many(const struct param *rows, const struct param *p, const char *key, const struct json *in,
                       struct err *e)
{
    struct json *list = NULL;
    rc_t rc = json_opt_array(in, key, &list, e);
    for (const struct json *v = json_first(list); rc == OK && v; v = json_next(v))
        rc = check_value(rows, p, "[].", v, e);
    return rc;
}

static rc_t check_row(const struct param *rows, const struct param *p, const char *key, const struct json *in, struct err *e)
{
    struct json *j = json_get(in, key);
    rc_t rc = p->required ? json_need(in, key, &j, e) : OK;
    if (rc != OK || json_type(j) == JSON_NONE || json_type(j) == JSON_NULL)
        return rc;
    if (p->many)
        return check_many(rows, p, key, in, e);
    rc = p->kind == PARAM_OBJECT ? json_opt_object(in, key, &j, e) : OK;
    return rc == OK ? check_value(rows, p, ".", j, e) : rc;
}

/* As deep as the rows are. */
static rc_t check_object(const struct param *rows, const char *prefix, bool closed, const struct json *object, struct err *e)
{
    size_t n = strlen(prefix);
    rc_t rc = closed ? check_known(rows, prefix, n, object, e) : OK;
    for (const struct param *p = rows; rc == OK && p->name; p++)
        if (body_key(p, prefix, n))
            rc = check_row(rows, p, body_key(p, prefix, n), object, e);
    return rc;
}

rc_t body_check(const struct param_body *body, const struct json *j, struct err *e)
{
    return check_object(body->rows, "", body->closed, j, e);
}
