/* Appends JSON to a struct buf, with the commas in the right places. For hot outputs; never fails.
 * Wrong nesting is a bug of the caller and asserts. Text that is not UTF-8 becomes U+FFFD. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/str.h"

enum json_nan { JSON_NAN_NULL, JSON_NAN_TOKEN }; /* NaN and infinities as null, or as Python's bare tokens */

struct json_writer {
    struct buf *out;
    enum json_nan nan;
    unsigned depth;
    uint64_t has_item; /* a bit a level */
    uint64_t is_object;
    bool after_key;
};

void jw_init(struct json_writer *w, struct buf *out, enum json_nan nan);
void jw_object(struct json_writer *w);
void jw_object_end(struct json_writer *w);
void jw_array(struct json_writer *w);
void jw_array_end(struct json_writer *w);
void jw_key(struct json_writer *w, const char *key);
void jw_key_str(struct json_writer *w, struct str key);

void jw_str(struct json_writer *w, struct str v);
void jw_strz(struct json_writer *w, const char *v); /* NULL writes null */
void jw_i64(struct json_writer *w, int64_t v);
void jw_u64(struct json_writer *w, uint64_t v);
void jw_f64(struct json_writer *w, double v); /* shortest text that reads back equal */
void jw_bool(struct json_writer *w, bool v);
void jw_null(struct json_writer *w);
void jw_raw(struct json_writer *w, struct str json); /* text that is JSON already */
/* JSON inside a JSON string: what is written between the two calls arrives as one string value. */
size_t jw_nested(struct json_writer *w);
void jw_nested_end(struct json_writer *w, size_t mark);

/* Key and value in one: jw_kv_i64(w, "revision", 3). */
void jw_kv_str(struct json_writer *w, const char *key, struct str v);
void jw_kv_strz(struct json_writer *w, const char *key, const char *v);
void jw_kv_i64(struct json_writer *w, const char *key, int64_t v);
void jw_kv_f64(struct json_writer *w, const char *key, double v);
void jw_kv_bool(struct json_writer *w, const char *key, bool v);
void jw_kv_raw(struct json_writer *w, const char *key, struct str json);

void json_quote(struct buf *out, struct str v); /* v as a JSON string with its quotes, without a writer */
