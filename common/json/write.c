/* The append-only writer. */
#include "json/write.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "json/scan.h"

#define LEVELS 64

void jw_init(struct json_writer *w, struct buf *out, enum json_nan nan)
{
    *w = (struct json_writer){.out = out, .nan = nan};
}

static uint64_t level_bit(const struct json_writer *w)
{
    return UINT64_C(1) << w->depth;
}

/* Before each value: the comma, and the check that a value may stand here. */
static void before_value(struct json_writer *w)
{
    uint64_t bit = level_bit(w);
    if (w->after_key) {
        w->after_key = false;
        return;
    }
    assert(!(w->is_object & bit)); /* an object's value needs its key */
    if (w->depth > 0 && w->has_item & bit)
        buf_addc(w->out, ',');
    w->has_item |= bit;
}

static void open_level(struct json_writer *w, char c, bool is_object)
{
    before_value(w);
    buf_addc(w->out, c);
    assert(w->depth + 1 < LEVELS);
    w->depth++;
    w->has_item &= ~level_bit(w);
    w->is_object = is_object ? w->is_object | level_bit(w) : w->is_object & ~level_bit(w);
}

static void close_level(struct json_writer *w, char c, bool is_object)
{
    assert(w->depth > 0 && !w->after_key && !!(w->is_object & level_bit(w)) == is_object);
    w->depth--;
    buf_addc(w->out, c);
}

void jw_object(struct json_writer *w)
{
    open_level(w, '{', true);
}

void jw_object_end(struct json_writer *w)
{
    close_level(w, '}', true);
}

void jw_array(struct json_writer *w)
{
    open_level(w, '[', false);
}

void jw_array_end(struct json_writer *w)
{
    close_level(w, ']', false);
}

void jw_key_str(struct json_writer *w, struct str key)
{
    uint64_t bit = level_bit(w);
    assert(w->is_object & bit && !w->after_key);
    if (w->has_item & bit)
        buf_addc(w->out, ',');
    w->has_item |= bit;
    json_quote(w->out, key);
    buf_addc(w->out, ':');
    w->after_key = true;
}

void jw_key(struct json_writer *w, const char *key)
{
    jw_key_str(w, str_of(key));
}

static void quote_odd(struct buf *out, const char *p, size_t n)
{
    static const char short_form[] = "btn\0fr"; /* for 0x08 to 0x0D */
    unsigned char c = (unsigned char)*p;
    if (c == '"' || c == '\\') {
        char pair[2] = {'\\', *p};
        buf_add(out, pair, 2);
    } else if (c >= 0x08 && c <= 0x0D && c != 0x0B) {
        char pair[2] = {'\\', short_form[c - 0x08]};
        buf_add(out, pair, 2);
    } else if (c < 0x20 || c == 0x7F) {
        buf_addf(out, "\\u%04x", c);
    } else if (n == 0) {
        buf_addz(out, "\xEF\xBF\xBD");
    } else {
        buf_add(out, p, n);
    }
}

void json_quote(struct buf *out, struct str v)
{
    const char *p = v.n > 0 ? v.p : "", *end = p + v.n;
    buf_reserve(out, v.n + 2);
    buf_addc(out, '"');
    while (p < end) {
        const char *plain = p;
        while (p < end && (unsigned char)*p >= 0x20 && (unsigned char)*p < 0x7F && *p != '"' && *p != '\\')
            p++;
        buf_add(out, plain, (size_t)(p - plain));
        if (p == end)
            break;
        size_t n = scan_utf8(p, end);
        quote_odd(out, p, n);
        p += n ? n : 1;
    }
    buf_addc(out, '"');
}

void jw_str(struct json_writer *w, struct str v)
{
    before_value(w);
    json_quote(w->out, v);
}

void jw_strz(struct json_writer *w, const char *v)
{
    if (v == NULL)
        jw_null(w);
    else
        jw_str(w, str_of(v));
}

void jw_u64(struct json_writer *w, uint64_t v)
{
    char text[24], *p = text + sizeof text;
    before_value(w);
    do {
        *--p = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    buf_add(w->out, p, (size_t)(text + sizeof text - p));
}

void jw_i64(struct json_writer *w, int64_t v)
{
    if (v >= 0) {
        jw_u64(w, (uint64_t)v);
        return;
    }
    before_value(w);
    buf_addc(w->out, '-');
    w->after_key = true; /* the sign took the comma's place already */
    jw_u64(w, 0 - (uint64_t)v);
}

void jw_f64(struct json_writer *w, double v)
{
    char text[32];
    if (!isfinite(v) && w->nan == JSON_NAN_NULL) {
        jw_null(w);
        return;
    }
    before_value(w);
    buf_add(w->out, text, num_print_f64(text, v));
}

void jw_bool(struct json_writer *w, bool v)
{
    before_value(w);
    buf_addz(w->out, v ? "true" : "false");
}

void jw_null(struct json_writer *w)
{
    before_value(w);
    buf_addz(w->out, "null");
}

void jw_raw(struct json_writer *w, struct str json)
{
    assert(json.n > 0);
    before_value(w);
    buf_add(w->out, json.p, json.n);
}

/* The nested text is written as it is and quoted in place at the end: its writer state is that of a fresh value. */
size_t jw_nested(struct json_writer *w)
{
    before_value(w);
    w->after_key = true; /* the next value needs neither key nor comma */
    return w->out->len;
}

void jw_nested_end(struct json_writer *w, size_t mark)
{
    assert(!w->after_key && mark < w->out->len);
    size_t n = w->out->len - mark;
    struct buf inner = {0};
    buf_add(&inner, w->out->data + mark, n);
    w->out->len = mark;
    json_quote(w->out, buf_str(&inner));
    buf_done(&inner);
}

void jw_kv_str(struct json_writer *w, const char *key, struct str v)
{
    jw_key(w, key);
    jw_str(w, v);
}

void jw_kv_strz(struct json_writer *w, const char *key, const char *v)
{
    jw_key(w, key);
    jw_strz(w, v);
}

void jw_kv_i64(struct json_writer *w, const char *key, int64_t v)
{
    jw_key(w, key);
    jw_i64(w, v);
}

void jw_kv_f64(struct json_writer *w, const char *key, double v)
{
    jw_key(w, key);
    jw_f64(w, v);
}

void jw_kv_bool(struct json_writer *w, const char *key, bool v)
{
    jw_key(w, key);
    jw_bool(w, v);
}

void jw_kv_raw(struct json_writer *w, const char *key, struct str json)
{
    jw_key(w, key);
    jw_raw(w, json);
}
