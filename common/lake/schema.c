/* Columns of an endpoint: their document, their names in Parquet. */
#include <ctype.h>
#include <string.h>
#include <strings.h>
#include "base/map.h"
#include "base/mem.h"
#include "base/text.h"
#include "event/names.h"
#include "json/doc.h"
#include "lake/lake_duck.h"

static const char *const type_names[] = {
    [COLUMN_NUMBER] = "number", [COLUMN_STRING] = "string",   [COLUMN_BOOL] = "bool",
    [COLUMN_JSON] = "json",     [COLUMN_UNKNOWN] = "unknown",
};
#define TYPES (sizeof type_names / sizeof *type_names)

static const char *const reserved[] = {
    "function_uri",
    "endpoint_name",
    "model_class",
    "timestamp",
    "request_id",
    "latency",
    "first_request",
    "last_request",
    "last_request_timestamp",
    "labels",
    "metrics",
    "entities",
    "effective_sample_count",
    "estimated_prediction_count",
    "feature_names",
    "label_names",
    "modelmon_offset",
    "modelmon_row",
    LAKE_OTHER,
    "endpoint_type",
    "endpoint_id",
    "key",
    "year",
    "month",
    "day",
    "hour", /* of the path: a reader adds them */
};

bool column_is_double(enum column_type type)
{
    return type != COLUMN_STRING && type != COLUMN_JSON;
}

bool lake_is_reserved(struct str name)
{
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        if (strlen(reserved[i]) == name.n && strncasecmp(reserved[i], name.p, name.n) == 0)
            return true;
    return false;
}

size_t column_name(char *out, struct str name)
{
    static const char prefix[] = "feature_";
    size_t n = text_norm_name(out, name);
    if (lake_is_reserved((struct str){out, n})) {
        memmove(out + sizeof prefix - 1, out, n);
        memcpy(out, prefix, sizeof prefix - 1);
        n += sizeof prefix - 1;
    }
    out[n] = '\0';
    return n;
}

static rc_t parse_type(struct json *j, enum column_type *ret, struct err *e)
{
    struct str text;
    rc_t rc = json_need_str(j, "type", &text, e);
    if (rc)
        return rc;
    for (size_t i = 0; i < TYPES; i++) {
        if (str_eqz(text, type_names[i])) {
            *ret = (enum column_type)i;
            return OK;
        }
    }
    return json_complain(json_get(j, "type"), e, "not a column's type");
}

static rc_t parse_columns(struct json *doc, const char *key, struct arena *a, struct column **ret, size_t *ret_n,
                          struct err *e)
{
    struct json *list = NULL;
    rc_t rc = json_need_array(doc, key, &list, e);
    if (rc)
        return rc;
    *ret = arena_array(a, json_len(list), sizeof **ret);
    for (struct json *j = json_first(list); j && !rc; j = json_next(j)) {
        struct str name;
        struct column *c = &(*ret)[*ret_n];
        if ((rc = json_need_str(j, "name", &name, e)) || (rc = parse_type(j, &c->type, e)))
            break;
        c->name = arena_alloc(a, name.n + 9);
        (*ret_n)++;
        if (column_name(c->name, name) == 0)
            rc = json_complain(j, e, "a column without a name");
    }
    return rc;
}

rc_t schema_parse(struct str document, struct schema *ret, struct err *e)
{
    CLEANUP(json_freep) struct json *doc = NULL;
    struct schema s = {0};
    const struct json_limits limits = {.bytes = 8u << 20, .values = 100000}; /* 2 × 8192 columns, and more */
    rc_t rc = json_parse(&doc, document.p, document.n, &limits, e);
    if (!rc)
        rc = parse_columns(doc, "features", &s.mem, &s.features, &s.n_features, e);
    if (!rc)
        rc = parse_columns(doc, "labels", &s.mem, &s.labels, &s.n_labels, e);
    if (!rc)
        schema_copy(ret, &s);
    schema_done(&s);
    return rc;
}

static void print_columns(struct json_writer *w, const char *key, const struct column *cols, size_t n)
{
    jw_key(w, key);
    jw_array(w);
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(cols[i].name);
        char *name = mem_alloc(len + 9);
        struct str text = {name, column_name(name, (struct str){cols[i].name, len})};
        jw_object(w);
        jw_kv_str(w, "name", text);
        jw_kv_strz(w, "type", type_names[cols[i].type]);
        jw_object_end(w);
        mem_free(name);
    }
    jw_array_end(w);
}

void schema_print(const struct schema *s, struct buf *ret)
{
    struct json_writer w;
    jw_init(&w, ret, JSON_NAN_NULL);
    jw_object(&w);
    print_columns(&w, "features", s->features, s->n_features);
    print_columns(&w, "labels", s->labels, s->n_labels);
    jw_object_end(&w);
}

static size_t columns_bytes(const struct column *cols, size_t n)
{
    size_t bytes = arena_rounded(n * sizeof *cols);
    for (size_t i = 0; i < n; i++)
        bytes += arena_rounded(strlen(cols[i].name) + 1);
    return bytes;
}

static struct column *copy_columns(struct arena *a, const struct column *from, size_t n)
{
    struct column *to = arena_array(a, n, sizeof *to);
    for (size_t i = 0; i < n; i++)
        to[i] = (struct column){arena_dup(a, from[i].name, strlen(from[i].name)), from[i].type};
    return to;
}

void schema_copy(struct schema *ret, const struct schema *s)
{
    struct schema copy = *s;
    copy.mem = (struct arena){0};
    arena_reserve(&copy.mem, columns_bytes(s->features, s->n_features) + columns_bytes(s->labels, s->n_labels));
    copy.features = copy_columns(&copy.mem, s->features, s->n_features);
    copy.labels = copy_columns(&copy.mem, s->labels, s->n_labels);
    *ret = copy;
}

void schema_done(struct schema *s)
{
    arena_done(&s->mem);
    *s = (struct schema){0};
}

/* The name with as many "__2", "__3", … tried as it takes. taken: lower-case names so far. */
static char *unique_name(struct map *taken, const char *name)
{
    CLEANUP(buf_done) struct buf out = {0}, low = {0};
    for (int k = 1;; k++) {
        buf_clear(&out);
        buf_clear(&low);
        buf_addz(&out, name);
        if (k > 1)
            buf_addf(&out, "__%d", k);
        for (size_t i = 0; i < out.len; i++)
            buf_addc(&low, (char)tolower((unsigned char)out.data[i]));
        if (!map_get(taken, buf_str(&low)))
            break;
    }
    map_put(taken, buf_str(&low), taken);
    return buf_take(&out);
}

char **lake_file_names(const struct schema *s)
{
    char **names = mem_array(s->n_features + s->n_labels + 1, sizeof *names);
    struct map taken = {0};
    for (size_t i = 0; i < s->n_features; i++)
        names[i] = unique_name(&taken, s->features[i].name);
    for (size_t i = 0; i < s->n_labels; i++)
        names[s->n_features + i] = unique_name(&taken, s->labels[i].name);
    map_done(&taken);
    return names;
}

void lake_names_free(char **names, size_t n)
{
    for (size_t i = 0; names && i < n; i++)
        mem_free(names[i]);
    mem_free(names);
}
