/* The strict pull reader. Strings are in scan.c, numbers in number.c. */
#include "json/reader.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "json/keys.h"
#include "json/number.h"
#include "json/scan.h"

#define KEYS_BEFORE_TABLE 16 /* up to here an object's keys are compared one by one */

static size_t or_default(size_t v, size_t def)
{
    return v ? v : def;
}

void jr_init(struct json_reader *r, const char *p, size_t n, const struct json_limits *limits)
{
    r->limits = limits ? *limits : (struct json_limits){0};
    struct json_limits *l = &r->limits;
    l->depth = l->depth ? l->depth : 32;
    l->depth = l->depth > JSON_DEPTH_MAX ? JSON_DEPTH_MAX : l->depth;
    l->values = or_default(l->values, 10000);
    l->bytes = or_default(l->bytes, (size_t)1 << 20);
    l->string_bytes = or_default(l->string_bytes, (size_t)64 << 10);
    l->keys = or_default(l->keys, 10000);
    r->start = r->at = p ? p : "";
    r->end = r->start + n;
    r->error.code = JSON_OK;
    r->error.offset = 0;
    r->error.want = r->error.got = JSON_NONE;
    r->values_left = l->values;
    r->depth = 0;
    r->serial = 0;
    r->n_keys = 0;
    r->strings = NULL;
    if (r->arena.used > 0 || r->arena.total > 0)
        arena_reset(&r->arena);
    keys_reset(r);
    if (n > l->bytes)
        (void)jr_fail(r, JSON_E_BYTES, l->bytes);
}

void jr_done(struct json_reader *r)
{
    if (r == NULL)
        return;
    arena_done(&r->arena);
    mem_free(r->keys);
    mem_free(r->table);
    memset(r, 0, offsetof(struct json_reader, frames)); /* a frame is filled when it is entered */
}

void jr_strings(struct json_reader *r, struct arena *a)
{
    r->strings = a;
}

bool jr_fail(struct json_reader *r, enum json_error code, size_t offset)
{
    if (r->error.code == JSON_OK) {
        r->error.code = code;
        r->error.offset = offset;
    }
    return false;
}

static bool fail_at(struct json_reader *r, enum json_error code, const char *at)
{
    return jr_fail(r, at == r->end && code == JSON_E_SYNTAX ? JSON_E_EOF : code, (size_t)(at - r->start));
}

bool jr_failed(const struct json_reader *r)
{
    return r->error.code != JSON_OK;
}

static inline bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static inline const char *skip_space(const char *p, const char *end)
{
    while (p < end && is_space(*p))
        p++;
    return p;
}

/* What may begin with a byte. N and I stand for numbers too, where they are allowed. */
static const unsigned char type_by_byte[256] = {
    ['{'] = JSON_OBJECT, ['['] = JSON_ARRAY,  ['"'] = JSON_STRING, ['t'] = JSON_BOOL,   ['f'] = JSON_BOOL,
    ['n'] = JSON_NULL,   ['-'] = JSON_NUMBER, ['0'] = JSON_NUMBER, ['1'] = JSON_NUMBER, ['2'] = JSON_NUMBER,
    ['3'] = JSON_NUMBER, ['4'] = JSON_NUMBER, ['5'] = JSON_NUMBER, ['6'] = JSON_NUMBER, ['7'] = JSON_NUMBER,
    ['8'] = JSON_NUMBER, ['9'] = JSON_NUMBER,
};

static inline enum json_type type_of(const struct json_reader *r, char c)
{
    enum json_type type = (enum json_type)type_by_byte[(unsigned char)c];
    if (type == JSON_NONE && r->limits.accept_nan && (c == 'N' || c == 'I'))
        return JSON_NUMBER;
    return type;
}

/* Goes to the first byte of the value that is due. */
static inline enum json_type find_value(struct json_reader *r)
{
    if (jr_failed(r))
        return JSON_NONE;
    r->at = skip_space(r->at, r->end);
    enum json_type type = r->at < r->end ? type_of(r, *r->at) : JSON_NONE;
    if (type == JSON_NONE)
        (void)fail_at(r, JSON_E_SYNTAX, r->at);
    return type;
}

enum json_type jr_peek(struct json_reader *r)
{
    return find_value(r);
}

size_t jr_offset(const struct json_reader *r)
{
    return (size_t)(skip_space(r->at, r->end) - r->start);
}

static bool wrong_type(struct json_reader *r, enum json_type want, enum json_type got)
{
    if (!jr_failed(r)) {
        r->error.want = want;
        r->error.got = got;
    }
    return fail_at(r, JSON_E_TYPE, r->at);
}

static inline bool count_value(struct json_reader *r)
{
    if (r->values_left == 0)
        return fail_at(r, JSON_E_VALUES, r->at);
    r->values_left--;
    return true;
}

/* Where a value of one type is wanted: it must fit and the count must allow it. */
static bool take(struct json_reader *r, enum json_type want)
{
    enum json_type got = find_value(r);
    if (got == JSON_NONE)
        return false;
    return got == want ? count_value(r) : wrong_type(r, want, got);
}

static bool take_word(struct json_reader *r, const char *word, size_t n)
{
    size_t left = (size_t)(r->end - r->at), i = 0;
    while (i < n && i < left && r->at[i] == word[i])
        i++;
    if (i < n)
        return fail_at(r, JSON_E_SYNTAX, r->at + i);
    r->at += n;
    return true;
}

/* --- objects and arrays */

static bool enter(struct json_reader *r, bool is_object)
{
    if (r->depth >= r->limits.depth)
        return fail_at(r, JSON_E_DEPTH, r->at);
    struct json_frame *f = &r->frames[++r->depth];
    f->key = (struct str){NULL, 0};
    f->seen = 0;
    f->first_key = r->n_keys;
    f->count = 0;
    f->is_object = is_object;
    f->in_table = false;
    r->at++;
    return true;
}

bool jr_object(struct json_reader *r)
{
    return take(r, JSON_OBJECT) && enter(r, true);
}

bool jr_array(struct json_reader *r)
{
    return take(r, JSON_ARRAY) && enter(r, false);
}

/* Leaves the innermost object or array if its end is here; else goes over the comma between two members or items. */
static inline bool go_on(struct json_reader *r, struct json_frame *f, char close)
{
    const char *p = skip_space(r->at, r->end);
    if (p < r->end && *p == close) {
        r->at = p + 1;
        r->n_keys = f->first_key;
        r->depth--;
        return false;
    }
    if (f->count > 0) {
        if (p == r->end || *p != ',')
            return fail_at(r, JSON_E_SYNTAX, p);
        p = skip_space(p + 1, r->end);
        if (p < r->end && *p == close)
            return fail_at(r, JSON_E_SYNTAX, p);
    }
    r->at = p;
    return true;
}

bool jr_item(struct json_reader *r)
{
    if (jr_failed(r))
        return false;
    struct json_frame *f = &r->frames[r->depth];
    assert(r->depth > 0 && !f->is_object);
    if (!go_on(r, f, ']'))
        return false;
    f->count++;
    return true;
}

/* --- keys: each at most once in its object */

static bool in_list(const struct json_reader *r, const struct json_frame *f, struct str key)
{
    for (size_t i = f->first_key; i < r->n_keys; i++)
        if (str_eq(r->keys[i], key))
            return true;
    return false;
}

/* One of 64 bits for a key, cheap and good enough that most keys of an object get a bit of their own. */
static inline uint64_t filter_bit(struct str key)
{
    uint64_t a = 0, b = 0;
    if (key.n >= 8) {
        memcpy(&a, key.p, 8);
        memcpy(&b, key.p + key.n - 8, 8);
    } else if (key.n >= 4) {
        memcpy(&a, key.p, 4);
        memcpy(&b, key.p + key.n - 4, 4);
    } else if (key.n > 0) {
        a = (unsigned char)key.p[0];
        b = (uint64_t)(unsigned char)key.p[key.n / 2] << 8 | (unsigned char)key.p[key.n - 1];
    }
    uint64_t mix = (a ^ b << 23 ^ b >> 41 ^ key.n) * UINT64_C(0x9E3779B97F4A7C15);
    return UINT64_C(1) << (mix >> 58);
}

static inline bool add_key(struct json_reader *r, struct json_frame *f, struct str key)
{
    if (r->n_keys == r->cap_keys) {
        r->cap_keys = r->cap_keys ? r->cap_keys * 2 : 64;
        r->keys = mem_grow(r->keys, r->cap_keys, sizeof *r->keys);
    }
    uint64_t bit = filter_bit(key);
    if (f->count <= KEYS_BEFORE_TABLE) {
        if (f->seen & bit && in_list(r, f, key))
            return false;
        f->seen |= bit;
        r->keys[r->n_keys++] = key;
        return true;
    }
    return keys_add(r, f, key);
}

static bool read_long_string(struct json_reader *r, struct str *ret)
{
    const char *p = r->at + 1, *stop;
    bool escapes;
    enum json_error code = scan_string(p, r->end, &stop, &escapes);
    if (code != JSON_OK)
        return fail_at(r, code, stop);
    size_t n = (size_t)(stop - p);
    if (n > r->limits.string_bytes)
        return fail_at(r, JSON_E_STRING_BYTES, r->at);
    if (escapes) {
        char *copy = arena_alloc(r->strings ? r->strings : &r->arena, n + 1);
        n = scan_unescape(p, n, copy);
        p = copy;
    }
    *ret = (struct str){p, n};
    r->at = stop + 1;
    return true;
}

/* The string that starts at r->at, a quote. */
static inline bool read_string(struct json_reader *r, struct str *ret)
{
    const char *p = r->at + 1, *stop = scan_short(p, r->end);
    if (stop == NULL)
        return read_long_string(r, ret);
    if ((size_t)(stop - p) > r->limits.string_bytes)
        return fail_at(r, JSON_E_STRING_BYTES, r->at);
    *ret = (struct str){p, (size_t)(stop - p)};
    r->at = stop + 1;
    return true;
}
bool jr_key(struct json_reader *r, struct str *ret)
{
    if (jr_failed(r))
        return false;
    struct json_frame *f = &r->frames[r->depth];
    assert(r->depth > 0 && f->is_object);
    f->key.p = NULL;
    if (!go_on(r, f, '}'))
        return false;
    if (r->at == r->end || *r->at != '"')
        return fail_at(r, JSON_E_SYNTAX, r->at);
    const char *start = r->at;
    struct str key;
    if (!read_string(r, &key))
        return false;
    f->key = key;
    if (++f->count > r->limits.keys)
        return fail_at(r, JSON_E_KEYS, start);
    if (!add_key(r, f, key))
        return fail_at(r, JSON_E_DUPLICATE, start);
    r->at = skip_space(r->at, r->end);
    if (r->at == r->end || *r->at != ':')
        return fail_at(r, JSON_E_SYNTAX, r->at);
    r->at++;
    *ret = key;
    return true;
}

/* --- values */

bool jr_str(struct json_reader *r, struct str *ret)
{
    return take(r, JSON_STRING) && read_string(r, ret);
}

static bool number_failed(struct json_reader *r, enum number_result result, const char *stop)
{
    if (result == NUMBER_RANGE)
        return fail_at(r, JSON_E_RANGE, r->at);
    return fail_at(r, result == NUMBER_EOF ? JSON_E_EOF : JSON_E_NUMBER, stop);
}

/* NaN, Infinity or -Infinity, if they are allowed and here. */
static bool is_nan_token(const struct json_reader *r)
{
    if (!r->limits.accept_nan)
        return false;
    return *r->at == 'N' || *r->at == 'I' || (*r->at == '-' && r->end - r->at > 1 && r->at[1] == 'I');
}

static bool take_nan_token(struct json_reader *r, struct json_number *ret)
{
    const char *start = r->at;
    bool negative = *start == '-', is_nan = *start == 'N';
    if (!(is_nan ? take_word(r, "NaN", 3) : take_word(r, negative ? "-Infinity" : "Infinity", negative ? 9 : 8)))
        return false;
    double inf = __builtin_inf();
    ret->f64 = is_nan ? __builtin_nan("") : negative ? -inf : inf;
    ret->i64 = 0;
    ret->is_int = false;
    ret->text = (struct str){start, (size_t)(r->at - start)};
    return true;
}

/* The number at r->at. *ret is written only if it is one. */
static bool take_number(struct json_reader *r, struct json_number *ret)
{
    const char *stop;
    if (is_nan_token(r))
        return take_nan_token(r, ret);
    enum number_result result = number_read(r->at, r->end, ret, &stop);
    if (result != NUMBER_OK)
        return number_failed(r, result, stop);
    r->at = stop;
    return true;
}

bool jr_number(struct json_reader *r, struct json_number *ret)
{
    return take(r, JSON_NUMBER) && take_number(r, ret);
}

bool jr_number_item(struct json_reader *r, struct json_number *ret)
{
    struct json_frame *f = &r->frames[r->depth];
    const char *p = r->at, *stop;
    assert(r->depth > 0 && !f->is_object);
    if (jr_failed(r) || f->count == 0 || r->values_left == 0 || p == r->end || *p != ',')
        return false;
    p = skip_space(p + 1, r->end);
    if (p == r->end || type_by_byte[(unsigned char)*p] != JSON_NUMBER || number_read(p, r->end, ret, &stop) != NUMBER_OK)
        return false;
    r->at = stop;
    r->values_left--;
    f->count++;
    return true;
}

bool jr_f64(struct json_reader *r, double *ret)
{
    struct json_number n;
    if (!jr_number(r, &n))
        return false;
    *ret = n.f64;
    return true;
}

bool jr_i64(struct json_reader *r, int64_t *ret)
{
    const char *start = skip_space(r->at, r->end);
    struct json_number n;
    if (!jr_number(r, &n))
        return false;
    if (!n.is_int)
        return fail_at(r, JSON_E_RANGE, start);
    *ret = n.i64;
    return true;
}

static bool take_bool(struct json_reader *r, bool *ret)
{
    bool v = *r->at == 't';
    if (!(v ? take_word(r, "true", 4) : take_word(r, "false", 5)))
        return false;
    *ret = v;
    return true;
}

bool jr_bool(struct json_reader *r, bool *ret)
{
    return take(r, JSON_BOOL) && take_bool(r, ret);
}

bool jr_null(struct json_reader *r)
{
    return take(r, JSON_NULL) && take_word(r, "null", 4);
}

bool jr_take_null(struct json_reader *r)
{
    return find_value(r) == JSON_NULL && jr_null(r);
}

/* Takes a scalar, or goes into what is none. */
static bool take_any(struct json_reader *r)
{
    enum json_type type = find_value(r);
    const char *stop;
    bool b, escapes;
    struct json_number n;
    if (type == JSON_NONE || !count_value(r))
        return false;
    switch (type) {
    case JSON_OBJECT:
        return enter(r, true);
    case JSON_ARRAY:
        return enter(r, false);
    case JSON_BOOL:
        return take_bool(r, &b);
    case JSON_NULL:
        return take_word(r, "null", 4);
    case JSON_NUMBER: {
        if (is_nan_token(r))
            return take_nan_token(r, &n);
        enum number_result result = number_check(r->at, r->end, &stop);
        if (result != NUMBER_OK)
            return number_failed(r, result, stop);
        r->at = stop;
        return true;
    }
    default: {
        enum json_error code = scan_string(r->at + 1, r->end, &stop, &escapes);
        if (code != JSON_OK)
            return fail_at(r, code, stop);
        if ((size_t)(stop - r->at - 1) > r->limits.string_bytes)
            return fail_at(r, JSON_E_STRING_BYTES, r->at);
        r->at = stop + 1;
        return true;
    }
    }
}

bool jr_skip(struct json_reader *r, struct str *ret)
{
    unsigned depth = r->depth;
    struct str key;
    const char *start = skip_space(r->at, r->end);
    if (!take_any(r))
        return false;
    while (r->depth > depth) {
        bool more = r->frames[r->depth].is_object ? jr_key(r, &key) : jr_item(r);
        if (more && !take_any(r))
            return false;
        if (jr_failed(r))
            return false;
    }
    if (ret)
        *ret = (struct str){start, (size_t)(r->at - start)};
    return true;
}

enum json_type jr_value(struct json_reader *r, struct json_value *ret)
{
    enum json_type type = find_value(r);
    bool ok;
    if (type == JSON_NONE)
        return type;
    if (type == JSON_ARRAY || type == JSON_OBJECT)
        return jr_skip(r, &ret->s) ? type : JSON_NONE;
    if (!count_value(r))
        return JSON_NONE;
    switch (type) {
    case JSON_NUMBER:
        ok = take_number(r, &ret->num);
        break;
    case JSON_STRING:
        ok = read_string(r, &ret->s);
        break;
    case JSON_BOOL:
        ok = take_bool(r, &ret->b);
        break;
    default:
        ok = take_word(r, "null", 4);
        break;
    }
    return ok ? type : JSON_NONE;
}

bool jr_end(struct json_reader *r)
{
    if (jr_failed(r))
        return false;
    assert(r->depth == 0);
    r->at = skip_space(r->at, r->end);
    return r->at == r->end || fail_at(r, JSON_E_TRAILING, r->at);
}
