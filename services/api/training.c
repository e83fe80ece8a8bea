/* Owns the reading of training data out of a request. One pass finds the members, which may come in any order; a second
 * one reads them with the pull reader, without a tree: a million values are not too many. */
#include "training.h"

#include "base/mem.h"
#include "json/doc.h"
#include "json/reader.h"

struct member {
    const char *name;
    struct str text; /* n 0: not there */
};
enum { COLUMNS, DATA, LABELS, STATS, N_MEMBERS };

struct column_values {
    struct str name;
    struct stat_value *v;
    size_t n, cap;
    bool is_label;
};
struct table {
    struct column_values *columns;
    size_t n, cap;
    struct json_reader reader; /* keeps the texts that values borrow */
};

static const struct json_limits limits_of_body = {
    .values = 8000000, .bytes = 64u << 20, .string_bytes = 1u << 20, .keys = REFERENCE_FEATURES_MAX, .accept_nan = true};

static rc_t find_members(struct str body, struct member *m, struct err *e)
{
    struct json_reader r = {0};
    struct str key, text;
    bool known = true;
    jr_init(&r, body.p, body.n, &limits_of_body);
    if (jr_object(&r))
        while (known && jr_key(&r, &key)) {
            size_t i = 0;
            while (i < N_MEMBERS && !str_eqz(key, m[i].name))
                i++;
            known = i < N_MEMBERS;
            if (!known)
                (void)err_set(e, E_INVALID, "%.*s: unknown; columns, data, labels and feature_stats are known",
                              (int)(key.n < 64 ? key.n : 64), key.p);
            else if (jr_skip(&r, &text))
                m[i].text = text;
        }
    rc_t rc = !known ? E_INVALID : jr_end(&r) ? OK : jr_error(&r, e);
    jr_done(&r);
    return rc;
}

/* Words with the path and the byte in the whole body. */
static rc_t fail_in(struct json_reader *r, const struct member *m, struct str body, struct err *e)
{
    char path[160];
    (void)jr_path(r, path, sizeof path);
    if (r->error.code == JSON_E_TYPE && r->error.want == JSON_NONE) /* value_read's */
        return err_set(e, E_INVALID, "%s%s%s: a number, text, a boolean or null is wanted, not an array or an object",
                       m->name, path[0] == '[' || path[0] == '\0' ? "" : ".", path);
    r->error.offset += (size_t)(m->text.p - body.p);
    rc_t rc = jr_error(r, e);
    return err_prefix(e, rc, "%s%s", m->name, path[0] == '\0' ? ", " : path[0] == '[' ? "" : ".");
}

static void value_add(struct column_values *c, struct stat_value v)
{
    if (c->n == c->cap) {
        c->cap = c->cap ? 2 * c->cap : 256;
        c->v = mem_grow(c->v, c->cap, sizeof *c->v);
    }
    c->v[c->n++] = v;
}

static bool value_read(struct json_reader *r, struct stat_value *v)
{
    struct json_number num;
    bool b = false;
    *v = (struct stat_value){0};
    switch (jr_peek(r)) {
    case JSON_NUMBER:
        if (!jr_number(r, &num))
            return false;
        v->kind = STAT_NUMBER;
        v->num = num.f64;
        return true;
    case JSON_BOOL:
        if (!jr_bool(r, &b))
            return false;
        v->kind = STAT_BOOL;
        v->num = b;
        return true;
    case JSON_STRING:
        v->kind = STAT_TEXT;
        return jr_str(r, &v->text);
    case JSON_NULL:
        return jr_null(r);
    case JSON_ARRAY:
    case JSON_OBJECT:
        return jr_fail(r, JSON_E_TYPE, (size_t)(r->at - r->start));
    default:
        return jr_skip(r, NULL); /* it says what is wrong */
    }
}

static struct column_values *column_add(struct table *t, struct arena *a, struct str name)
{
    if (t->n == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 32;
        t->columns = mem_grow(t->columns, t->cap, sizeof *t->columns);
    }
    t->columns[t->n] = (struct column_values){.name = arena_str(a, name)};
    return &t->columns[t->n++];
}

static rc_t read_columns(struct table *t, const struct member *m, struct str body, struct arena *a, struct err *e)
{
    struct json_reader *r = &t->reader;
    struct str name;
    struct stat_value v;
    jr_init(r, m->text.p, m->text.n, &limits_of_body);
    if (jr_peek(r) == JSON_ARRAY) {
        if (jr_array(r))
            while (jr_item(r))
                if (jr_str(r, &name))
                    (void)column_add(t, a, name);
    } else if (jr_object(r)) {
        while (jr_key(r, &name)) {
            struct column_values *c = column_add(t, a, name);
            if (jr_array(r))
                while (jr_item(r))
                    if (value_read(r, &v))
                        value_add(c, v);
        }
    }
    return jr_end(r) ? OK : fail_in(r, m, body, e);
}

static rc_t read_rows(struct table *t, const struct member *m, struct str body, struct err *e)
{
    struct json_reader *r = &t->reader;
    struct stat_value v;
    size_t row = 0;
    rc_t rc = OK;
    jr_init(r, m->text.p, m->text.n, &limits_of_body);
    if (jr_array(r))
        for (; rc == OK && jr_item(r); row++) {
            size_t i = 0;
            if (jr_array(r))
                for (; jr_item(r); i++)
                    if (value_read(r, &v) && i < t->n)
                        value_add(&t->columns[i], v);
            if (!jr_failed(r) && i != t->n)
                rc = err_set(e, E_INVALID, "data[%zu]: %zu values, but there are %zu columns", row, i, t->n);
        }
    if (rc != OK)
        return rc;
    return jr_end(r) ? OK : fail_in(r, m, body, e);
}

static rc_t read_labels(const struct member *m, struct str body, struct arena *a, struct training *ret, struct err *e)
{
    struct json_reader r = {0};
    struct str name;
    struct str *list = NULL;
    size_t n = 0, cap = 0;
    if (m->text.n == 0)
        return OK;
    jr_init(&r, m->text.p, m->text.n, &limits_of_body);
    if (jr_array(&r))
        while (jr_item(&r))
            if (jr_str(&r, &name)) {
                if (n == cap) {
                    cap = cap ? 2 * cap : 8;
                    list = mem_grow(list, cap, sizeof *list);
                }
                list[n++] = arena_str(a, name);
            }
    rc_t rc = jr_end(&r) ? OK : fail_in(&r, m, body, e);
    struct str *kept = arena_array(a, n + 1, sizeof *kept);
    for (size_t i = 0; i < n; i++)
        kept[i] = list[i];
    mem_free(list);
    jr_done(&r);
    ret->labels = kept;
    ret->n_labels = n;
    return rc;
}

static rc_t check_table(const struct table *t, size_t *ret_rows, struct err *e)
{
    if (t->n == 0)
        return err_set(e, E_INVALID, "columns: there are none");
    for (size_t i = 0; i < t->n; i++) {
        if (t->columns[i].name.n == 0)
            return err_set(e, E_INVALID, "columns[%zu]: its name is empty", i);
        if (t->columns[i].n != t->columns[0].n)
            return err_set(e, E_INVALID, "columns.%.*s: %zu values, but %.*s has %zu",
                           (int)(t->columns[i].name.n < 64 ? t->columns[i].name.n : 64), t->columns[i].name.p,
                           t->columns[i].n, (int)(t->columns[0].name.n < 64 ? t->columns[0].name.n : 64),
                           t->columns[0].name.p, t->columns[0].n);
    }
    if (t->columns[0].n == 0)
        return err_set(e, E_INVALID, "data: there are no rows");
    *ret_rows = t->columns[0].n;
    return OK;
}

static bool is_label(const struct training *t, struct str name)
{
    for (size_t i = 0; i < t->n_labels; i++)
        if (str_eq(t->labels[i], name))
            return true;
    return false;
}

static rc_t from_table(const struct table *t, struct training *ret, struct err *e)
{
    rc_t rc = check_table(t, &ret->rows, e);
    ret->reference = reference_new();
    for (size_t i = 0; rc == OK && i < t->n; i++) {
        const struct column_values *c = &t->columns[i];
        rc = reference_add_values(ret->reference, c->name, is_label(ret, c->name), c->v, c->n, e);
        if (rc != OK)
            rc = err_prefix(e, rc, "columns[%zu]: ", i);
    }
    return rc;
}

static rc_t read_table(const struct member *m, struct str body, struct arena *a, struct training *ret, struct err *e)
{
    struct table t = {0};
    bool by_name = m[COLUMNS].text.p[0] == '{';
    ret->source = "api_rows";
    rc_t rc = read_columns(&t, &m[COLUMNS], body, a, e);
    if (rc == OK && by_name && m[DATA].text.n)
        rc = err_set(e, E_INVALID, "data: not with columns that hold their values");
    else if (rc == OK && !by_name && m[DATA].text.n == 0)
        rc = err_set(e, E_INVALID, "data: missing; columns only names them");
    else if (rc == OK && !by_name)
        rc = read_rows(&t, &m[DATA], body, e);
    if (rc == OK)
        rc = from_table(&t, ret, e);
    for (size_t i = 0; i < t.n; i++)
        mem_free(t.columns[i].v);
    mem_free(t.columns);
    jr_done(&t.reader);
    return rc;
}

static rc_t read_statistics(const struct member *m, struct training *ret, struct err *e)
{
    CLEANUP(json_freep) struct json *stats = NULL;
    ret->source = "api_statistics";
    rc_t rc = json_parse(&stats, m[STATS].text.p, m[STATS].text.n, &limits_of_body, e);
    if (rc == OK && json_len(stats) == 0)
        rc = err_set(e, E_INVALID, "there are no features in it");
    if (rc == OK)
        rc = reference_from_json(&ret->reference, stats, ret->labels, ret->n_labels, e);
    return rc == OK ? OK : err_prefix(e, rc, "feature_stats: ");
}

static rc_t check_labels(const struct training *t, struct err *e)
{
    for (size_t i = 0; i < t->n_labels; i++)
        if (reference_index(t->reference, t->labels[i]) == t->reference->n)
            return err_set(e, E_INVALID, "labels[%zu]: there is no column %.*s", i,
                           (int)(t->labels[i].n < 64 ? t->labels[i].n : 64), t->labels[i].p);
    return OK;
}

rc_t training_read(struct str body, struct arena *a, struct training *ret, struct err *e)
{
    struct member m[N_MEMBERS] = {{.name = "columns"}, {.name = "data"}, {.name = "labels"}, {.name = "feature_stats"}};
    struct training t = {0};
    rc_t rc = find_members(body, m, e);
    if (rc == OK && (m[COLUMNS].text.n > 0) == (m[STATS].text.n > 0))
        rc = err_set(e, E_INVALID, "either columns (with rows) or feature_stats is wanted");
    if (rc == OK)
        rc = read_labels(&m[LABELS], body, a, &t, e);
    if (rc == OK)
        rc = m[STATS].text.n ? read_statistics(m, &t, e) : read_table(m, body, a, &t, e);
    if (rc == OK)
        rc = check_labels(&t, e);
    if (rc != OK) {
        reference_free(t.reference);
        return rc;
    }
    *ret = t;
    return OK;
}
