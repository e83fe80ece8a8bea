/* Where and why the reader failed, in words. */
#include "json/reader.h"

#include <stdio.h>
#include <string.h>

#include "json/scan.h"

static const struct {
    const char *name, *text;
} errors[] = {
    [JSON_OK] = {"ok", "no error"},
    [JSON_E_SYNTAX] = {"syntax", "this is not JSON"},
    [JSON_E_EOF] = {"truncated", "the text ends too early"},
    [JSON_E_TRAILING] = {"trailing", "something stands behind the JSON value"},
    [JSON_E_UTF8] = {"utf8", "this is not UTF-8"},
    [JSON_E_ESCAPE] = {"escape", "not an escape that may stand in a string"},
    [JSON_E_CONTROL] = {"control", "a control character stands in a string"},
    [JSON_E_NUMBER] = {"number", "this is not a number of JSON"},
    [JSON_E_RANGE] = {"range", "the number is too large"},
    [JSON_E_DUPLICATE] = {"duplicate_key", "a key occurs twice in this object"},
    [JSON_E_TYPE] = {"type", "another type is wanted"},
    [JSON_E_DEPTH] = {"depth", "nested too deeply"},
    [JSON_E_VALUES] = {"values", "too many values"},
    [JSON_E_BYTES] = {"bytes", "the text is too long"},
    [JSON_E_STRING_BYTES] = {"string_bytes", "a string is too long"},
    [JSON_E_KEYS] = {"keys", "an object has too many keys"},
};

static const char *const type_names[] = {
    [JSON_NONE] = "nothing",  [JSON_NULL] = "null",   [JSON_BOOL] = "boolean",  [JSON_NUMBER] = "number",
    [JSON_STRING] = "string", [JSON_ARRAY] = "array", [JSON_OBJECT] = "object",
};

const char *json_error_name(enum json_error code)
{
    return errors[code].name;
}

const char *json_error_text(enum json_error code)
{
    return errors[code].text;
}

const char *json_type_name(enum json_type type)
{
    return type_names[type];
}

struct text {
    char *out;
    size_t n, cap;
};

static void put(struct text *t, const char *p, size_t n)
{
    if (t->cap == 0)
        return;
    size_t room = t->cap - 1 - t->n;
    n = n < room ? n : room;
    memcpy(t->out + t->n, p, n);
    t->n += n;
}

static bool is_plain_key(struct str key)
{
    for (size_t i = 0; i < key.n; i++) {
        char c = key.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-'))
            return false;
    }
    return key.n > 0 && key.n <= 64;
}

/* Any other key in brackets, without what would not be safe in a log line, and cut. */
static void put_odd_key(struct text *t, struct str key)
{
    put(t, "[\"", 2);
    const char *p = key.p, *end = key.p + key.n;
    for (size_t n, shown = 0; p < end && shown < 32; p += n, shown++) {
        n = scan_utf8(p, end);
        bool safe = n > 1 || (n == 1 && (unsigned char)*p >= 0x20 && *p != '"' && *p != '\\' && *p != 0x7F);
        put(t, safe ? p : "?", safe ? n : 1);
        n = n ? n : 1;
    }
    if (p < end)
        put(t, "...", 3);
    put(t, "\"]", 2);
}

size_t jr_path(const struct json_reader *r, char *out, size_t cap)
{
    struct text t = {out, 0, cap};
    for (unsigned d = 1; d <= r->depth; d++) {
        const struct json_frame *f = &r->frames[d];
        char index[16];
        if (!f->is_object && f->count > 0) {
            put(&t, index, (size_t)snprintf(index, sizeof index, "[%u]", f->count - 1));
        } else if (f->is_object && f->key.p != NULL) {
            if (!is_plain_key(f->key)) {
                put_odd_key(&t, f->key);
                continue;
            }
            put(&t, ".", t.n > 0);
            put(&t, f->key.p, f->key.n);
        }
    }
    size_t whole = 0; /* the last character may have been cut */
    for (size_t n; whole < t.n && (n = scan_utf8(out + whole, out + t.n)) > 0;)
        whole += n;
    if (cap > 0)
        out[whole] = '\0';
    return whole;
}

rc_t jr_error(const struct json_reader *r, struct err *e)
{
    char path[160];
    size_t n = jr_path(r, path, sizeof path);
    rc_t rc = r->error.code >= JSON_E_DEPTH ? E_LIMIT : E_INVALID;
    const char *sep = n > 0 ? ", " : "";
    if (r->error.code == JSON_E_TYPE && r->error.want != JSON_NONE) {
        const char *got = json_type_name(r->error.got), *want = json_type_name(r->error.want);
        const char *got_a = r->error.got == JSON_NULL ? "" : strchr("ao", *got) ? "an " : "a ";
        return err_set(e, rc, "%s%sbyte %zu: %s %s is wanted, this is %s%s", path, sep, r->error.offset,
                       strchr("ao", *want) ? "an" : "a", want, got_a, got);
    }
    return err_set(e, rc, "%s%sbyte %zu: %s", path, sep, r->error.offset, json_error_text(r->error.code));
}
