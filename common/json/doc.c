/* Documents: trees read by the strict reader and printed by our writer. cJSON keeps the lists; its own parser is no
 * validator and its printer rounds, so neither is used. Each node is a cJSON node with what that lacks: its parent
 * (for the path in an error), the exact integer, the length of its string. */
#include "json/doc.h"

#include <assert.h>
#include <cjson/cJSON.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

struct json {
    cJSON base; /* first: cJSON sees only this, and frees the whole */
    struct json *parent;
    size_t n;    /* of base.valuestring */
    int64_t i64; /* if is_int; base.valuedouble is set too */
    bool is_int;
};

static struct json *of(cJSON *c)
{
    return (struct json *)c;
}

static struct json *node_new(int type)
{
    struct json *j = mem_alloc(sizeof *j); /* mem_ is malloc's heap, as cJSON_Delete expects */
    j->base.type = type;
    return j;
}

static struct json *new_str(struct str v)
{
    struct json *j = node_new(cJSON_String);
    j->base.valuestring = mem_dup(v.p, v.n);
    j->n = v.n;
    return j;
}

static struct json *new_f64(double v)
{
    struct json *j = node_new(cJSON_Number);
    j->base.valuedouble = v;
    return j;
}

static struct json *new_i64(int64_t v)
{
    struct json *j = new_f64((double)v);
    j->i64 = v;
    j->is_int = true;
    return j;
}

static struct json *new_bool(bool v)
{
    return node_new(v ? cJSON_True : cJSON_False);
}

static void append(struct json *parent, struct json *child)
{
    assert(json_type(parent) == JSON_ARRAY && child->parent == NULL);
    cJSON_bool done = cJSON_AddItemToArray(&parent->base, &child->base);
    assert(done);
    child->parent = parent;
}

/* key as a member name that the parent does not have yet */
static void attach(struct json *parent, const char *key, struct json *child)
{
    assert(json_type(parent) == JSON_OBJECT && child->parent == NULL);
    cJSON_bool done = cJSON_AddItemToObject(&parent->base, key, &child->base);
    assert(done);
    child->parent = parent;
}

/* --- reading */

static struct json *read_value(struct json_reader *r);

static void read_members(struct json_reader *r, struct json *object)
{
    struct str key;
    while (jr_key(r, &key)) {
        struct json *child = read_value(r);
        if (child == NULL)
            return;
        char *name = mem_dup(key.p, key.n);
        attach(object, name, child);
        mem_free(name);
    }
}

static void read_items(struct json_reader *r, struct json *array)
{
    while (jr_item(r)) {
        struct json *child = read_value(r);
        if (child == NULL)
            return;
        append(array, child);
    }
}

static struct json *read_scalar(struct json_reader *r, enum json_type type)
{
    struct json_number num;
    struct str s;
    bool b;
    switch (type) {
    case JSON_STRING:
        return jr_str(r, &s) ? new_str(s) : NULL;
    case JSON_BOOL:
        return jr_bool(r, &b) ? new_bool(b) : NULL;
    case JSON_NULL:
        return jr_null(r) ? node_new(cJSON_NULL) : NULL;
    default:
        break;
    }
    if (!jr_number(r, &num))
        return NULL;
    struct json *j = num.is_int ? new_i64(num.i64) : new_f64(num.f64);
    j->base.valuedouble = num.f64; /* -0 is an integer and has a sign */
    return j;
}

/* Recurses as deep as the reader's limit allows. NULL: the reader failed. */
static struct json *read_value(struct json_reader *r)
{
    enum json_type type = jr_peek(r);
    if (type != JSON_OBJECT && type != JSON_ARRAY)
        return type == JSON_NONE ? NULL : read_scalar(r, type);
    if (!(type == JSON_OBJECT ? jr_object(r) : jr_array(r)))
        return NULL;
    struct json *j = node_new(type == JSON_OBJECT ? cJSON_Object : cJSON_Array);
    if (type == JSON_OBJECT)
        read_members(r, j);
    else
        read_items(r, j);
    if (!jr_failed(r))
        return j;
    json_free(j);
    return NULL;
}

rc_t json_parse(struct json **ret, const char *p, size_t n, const struct json_limits *limits, struct err *e)
{
    struct json_reader r = {0};
    jr_init(&r, p, n, limits);
    struct json *j = read_value(&r);
    rc_t rc = OK;
    if (j != NULL && jr_end(&r)) {
        *ret = j;
    } else {
        json_free(j);
        rc = jr_error(&r, e);
    }
    jr_done(&r);
    return rc;
}

void json_free(struct json *root)
{
    if (root == NULL)
        return;
    assert(root->parent == NULL);
    cJSON_Delete(&root->base);
}

void json_freep(struct json **root)
{
    json_free(*root);
    *root = NULL;
}

struct json *json_dup(const struct json *j)
{
    struct json *copy = node_new(j->base.type & 0xFF);
    copy->base.valuedouble = j->base.valuedouble;
    copy->i64 = j->i64;
    copy->is_int = j->is_int;
    if (j->base.valuestring) {
        copy->base.valuestring = mem_dup(j->base.valuestring, j->n);
        copy->n = j->n;
    }
    for (struct json *m = json_first(j); m; m = json_next(m)) {
        struct json *child = json_dup(m);
        if (m->base.string)
            attach(copy, m->base.string, child);
        else
            append(copy, child);
    }
    return copy;
}

/* --- looking */

enum json_type json_type(const struct json *j)
{
    switch (j ? j->base.type & 0xFF : cJSON_Invalid) {
    case cJSON_Object:
        return JSON_OBJECT;
    case cJSON_Array:
        return JSON_ARRAY;
    case cJSON_String:
        return JSON_STRING;
    case cJSON_Number:
        return JSON_NUMBER;
    case cJSON_True:
    case cJSON_False:
        return JSON_BOOL;
    case cJSON_NULL:
        return JSON_NULL;
    default:
        return JSON_NONE;
    }
}

struct json *json_first(const struct json *j)
{
    return j && j->base.child ? of(j->base.child) : NULL;
}

struct json *json_next(const struct json *j)
{
    return j->parent && j->base.next ? of(j->base.next) : NULL;
}

size_t json_len(const struct json *j)
{
    size_t n = 0;
    for (struct json *m = json_first(j); m; m = json_next(m))
        n++;
    return n;
}

struct json *json_get(const struct json *j, const char *key)
{
    if (json_type(j) != JSON_OBJECT)
        return NULL;
    for (struct json *m = json_first(j); m; m = json_next(m))
        if (strcmp(m->base.string, key) == 0)
            return m;
    return NULL;
}

struct json *json_at(const struct json *j, size_t i)
{
    struct json *m = json_first(j);
    for (; m && i > 0; i--)
        m = json_next(m);
    return m;
}

const char *json_key(const struct json *j)
{
    return j->base.string;
}

/* --- what is wrong, and where */

static size_t index_of(const struct json *j)
{
    size_t i = 0;
    for (struct json *m = json_first(j->parent); m && m != j; m = json_next(m))
        i++;
    return i;
}

static size_t add_text(char *out, size_t cap, size_t at, const char *text)
{
    int n = at < cap ? snprintf(out + at, cap - at, "%s", text) : 0;
    return at + (size_t)(n > 0 ? n : 0);
}

size_t json_path(const struct json *j, char *out, size_t cap)
{
    const struct json *chain[JSON_DEPTH_MAX];
    size_t depth = 0, at = 0;
    char index[32];
    for (; j && j->parent && depth < JSON_DEPTH_MAX; j = j->parent)
        chain[depth++] = j;
    if (cap > 0)
        out[0] = '\0';
    while (depth > 0 && at < cap) {
        const struct json *m = chain[--depth];
        if (m->base.string == NULL) {
            (void)snprintf(index, sizeof index, "[%zu]", index_of(m));
            at = add_text(out, cap, at, index);
            continue;
        }
        at = add_text(out, cap, at, at > 0 ? "." : "");
        at = add_text(out, cap, at, m->base.string);
    }
    return at < cap ? at : cap > 0 ? cap - 1 : 0;
}

rc_t json_complain(const struct json *j, struct err *e, const char *fmt, ...)
{
    char path[128], text[160];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args); /* cut to fit */
    va_end(args);
    size_t n = json_path(j, path, sizeof path);
    return err_set(e, E_INVALID, "%s%s%s", path, n > 0 ? ": " : "", text);
}

static const char *with_article(enum json_type type)
{
    static const char *const names[] = {
        [JSON_NONE] = "nothing",    [JSON_NULL] = "null",      [JSON_BOOL] = "a boolean",   [JSON_NUMBER] = "a number",
        [JSON_STRING] = "a string", [JSON_ARRAY] = "an array", [JSON_OBJECT] = "an object",
    };
    return names[type];
}

static rc_t want(const struct json *j, enum json_type type, struct err *e)
{
    if (json_type(j) == type)
        return OK;
    return json_complain(j, e, "%s is wanted, this is %s", with_article(type), with_article(json_type(j)));
}

/* --- values */

rc_t json_str(const struct json *j, struct str *ret, struct err *e)
{
    rc_t rc = want(j, JSON_STRING, e);
    if (rc == OK)
        *ret = (struct str){j->base.valuestring, j->n};
    return rc;
}

rc_t json_f64(const struct json *j, double *ret, struct err *e)
{
    rc_t rc = want(j, JSON_NUMBER, e);
    if (rc == OK)
        *ret = j->base.valuedouble;
    return rc;
}

rc_t json_i64(const struct json *j, int64_t *ret, struct err *e)
{
    rc_t rc = want(j, JSON_NUMBER, e);
    if (rc != OK)
        return rc;
    double v = j->base.valuedouble;
    if (!j->is_int && !(v >= -0x1p53 && v <= 0x1p53 && v == floor(v)))
        return json_complain(j, e, "a whole number is wanted");
    *ret = j->is_int ? j->i64 : (int64_t)v;
    return OK;
}

rc_t json_bool(const struct json *j, bool *ret, struct err *e)
{
    rc_t rc = want(j, JSON_BOOL, e);
    if (rc == OK)
        *ret = (j->base.type & 0xFF) == cJSON_True;
    return rc;
}

static rc_t value_object(const struct json *j, struct json **ret, struct err *e)
{
    rc_t rc = want(j, JSON_OBJECT, e);
    if (rc == OK)
        *ret = (struct json *)(uintptr_t)j;
    return rc;
}

static rc_t value_array(const struct json *j, struct json **ret, struct err *e)
{
    rc_t rc = want(j, JSON_ARRAY, e);
    if (rc == OK)
        *ret = (struct json *)(uintptr_t)j;
    return rc;
}

/* The member, or NULL with *rc set: OK when it may be missing. */
static struct json *member(const struct json *j, const char *key, bool needed, rc_t *rc, struct err *e)
{
    *rc = want(j, JSON_OBJECT, e);
    if (*rc != OK)
        return NULL;
    struct json *m = json_get(j, key);
    if (m != NULL && json_type(m) != JSON_NULL)
        return m;
    if (!needed)
        return NULL;
    char path[128];
    size_t n = json_path(j, path, sizeof path);
    *rc = err_set(e, E_INVALID, "%s%s%s: %s", path, n > 0 ? "." : "", key, m ? "may not be null" : "is missing");
    return NULL;
}

#define MEMBER(name, type, value)                                                                                      \
    rc_t json_need_##name(const struct json *j, const char *key, type *ret, struct err *e)                             \
    {                                                                                                                  \
        rc_t rc;                                                                                                       \
        struct json *m = member(j, key, true, &rc, e);                                                                 \
        return m ? value(m, ret, e) : rc;                                                                              \
    }                                                                                                                  \
    rc_t json_opt_##name(const struct json *j, const char *key, type *ret, struct err *e)                              \
    {                                                                                                                  \
        rc_t rc;                                                                                                       \
        struct json *m = member(j, key, false, &rc, e);                                                                \
        return m ? value(m, ret, e) : rc;                                                                              \
    }
rc_t json_need(const struct json *j, const char *key, struct json **ret, struct err *e)
{
    rc_t rc;
    struct json *m = member(j, key, true, &rc, e);
    if (m)
        *ret = m;
    return rc;
}

MEMBER(str, struct str, json_str)
MEMBER(f64, double, json_f64)
MEMBER(i64, int64_t, json_i64)
MEMBER(bool, bool, json_bool)
MEMBER(object, struct json *, value_object)
MEMBER(array, struct json *, value_array)

/* --- building */

struct json *json_new_object(void)
{
    return node_new(cJSON_Object);
}

struct json *json_new_array(void)
{
    return node_new(cJSON_Array);
}

void json_del(struct json *j, const char *key)
{
    struct json *m = json_get(j, key);
    if (m == NULL)
        return;
    (void)cJSON_DetachItemViaPointer(&j->base, &m->base); /* gives m back */
    m->parent = NULL;
    json_free(m);
}

void json_set_take(struct json *j, const char *key, struct json *child)
{
    json_del(j, key);
    attach(j, key, child);
}

void json_add_take(struct json *j, struct json *child)
{
    append(j, child);
}

struct json *json_set_object(struct json *j, const char *key)
{
    struct json *child = json_new_object();
    json_set_take(j, key, child);
    return child;
}

struct json *json_set_array(struct json *j, const char *key)
{
    struct json *child = json_new_array();
    json_set_take(j, key, child);
    return child;
}

struct json *json_add_object(struct json *j)
{
    struct json *child = json_new_object();
    append(j, child);
    return child;
}

struct json *json_add_array(struct json *j)
{
    struct json *child = json_new_array();
    append(j, child);
    return child;
}

#define SETTERS(name, type, make)                                                                                      \
    void json_set_##name(struct json *j, const char *key, type v)                                                      \
    {                                                                                                                  \
        json_set_take(j, key, make(v));                                                                                \
    }                                                                                                                  \
    void json_add_##name(struct json *j, type v)                                                                       \
    {                                                                                                                  \
        append(j, make(v));                                                                                            \
    }
static struct json *new_strz(const char *v)
{
    return v ? new_str(str_of(v)) : node_new(cJSON_NULL);
}
SETTERS(str, struct str, new_str)
SETTERS(strz, const char *, new_strz)
SETTERS(f64, double, new_f64)
SETTERS(i64, int64_t, new_i64)
SETTERS(bool, bool, new_bool)

void json_set_null(struct json *j, const char *key)
{
    json_set_take(j, key, node_new(cJSON_NULL));
}

void json_add_null(struct json *j)
{
    append(j, node_new(cJSON_NULL));
}

/* --- printing */

void json_write(const struct json *j, struct json_writer *w)
{
    switch (json_type(j)) {
    case JSON_OBJECT:
        jw_object(w);
        for (struct json *m = json_first(j); m; m = json_next(m)) {
            jw_key(w, m->base.string);
            json_write(m, w);
        }
        jw_object_end(w);
        return;
    case JSON_ARRAY:
        jw_array(w);
        for (struct json *m = json_first(j); m; m = json_next(m))
            json_write(m, w);
        jw_array_end(w);
        return;
    case JSON_STRING:
        jw_str(w, (struct str){j->base.valuestring, j->n});
        return;
    case JSON_BOOL:
        jw_bool(w, (j->base.type & 0xFF) == cJSON_True);
        return;
    case JSON_NUMBER:
        if (j->is_int && !(j->i64 == 0 && signbit(j->base.valuedouble)))
            jw_i64(w, j->i64);
        else
            jw_f64(w, j->base.valuedouble);
        return;
    default:
        jw_null(w);
        return;
    }
}

void json_print(const struct json *j, enum json_nan nan, struct buf *out)
{
    struct json_writer w;
    jw_init(&w, out, nan);
    json_write(j, &w);
}
