/* Whole JSON documents as a tree: API bodies, records, control messages, configuration. Not for the hot path.
 * Text comes in only through the strict reader (reader.h). The tree's library stays hidden behind struct json.
 *
 * Getters look a key up by exact case and say in words what is wrong and where:
 *   spec.feature_names[2]: a string is wanted, this is a number
 * The path starts at the document's root. A borrowed struct json lives as long as the root it came from. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/rc.h"
#include "base/str.h"
#include "json/reader.h"
#include "json/write.h"

struct json; /* one node; the one json_parse or json_new_* gave is the root and is freed by json_free */

/* limits NULL: the reader's defaults. E_INVALID or E_LIMIT with path and byte. */
rc_t json_parse(struct json **ret, const char *p, size_t n, const struct json_limits *limits, struct err *e) MUST_CHECK;
void json_free(struct json *root); /* NULL is fine */
void json_freep(struct json **root);
struct json *json_dup(const struct json *j); /* a new root */

enum json_type json_type(const struct json *j); /* JSON_NONE for NULL */
size_t json_len(const struct json *j);          /* items or members; 0 for anything else */

/* --- members of an object. NULL: not there (or j is no object, or NULL). null is a value. */
struct json *json_get(const struct json *j, const char *key);
struct json *json_at(const struct json *j, size_t i); /* item or member, O(i): use the iterator for all */
struct json *json_first(const struct json *j);        /* for (m = json_first(j); m; m = json_next(m)) */
struct json *json_next(const struct json *j);
const char *json_key(const struct json *j); /* of this member; NULL if it is no member */

/* --- values of this node. E_INVALID with the path when it is another type. */
rc_t json_str(const struct json *j, struct str *ret, struct err *e) MUST_CHECK; /* no NUL inside; terminated */
rc_t json_f64(const struct json *j, double *ret, struct err *e) MUST_CHECK;
rc_t json_i64(const struct json *j, int64_t *ret, struct err *e) MUST_CHECK; /* a whole number inside int64; 3.0 too */
rc_t json_bool(const struct json *j, bool *ret, struct err *e) MUST_CHECK;

/* --- members by key. need_*: must be there and not null. opt_*: missing or null leaves *ret as it is; another type is still an error. */
rc_t json_need(const struct json *j, const char *key, struct json **ret, struct err *e) MUST_CHECK; /* of any type */
rc_t json_need_str(const struct json *j, const char *key, struct str *ret, struct err *e) MUST_CHECK;
rc_t json_need_f64(const struct json *j, const char *key, double *ret, struct err *e) MUST_CHECK;
rc_t json_need_i64(const struct json *j, const char *key, int64_t *ret, struct err *e) MUST_CHECK;
rc_t json_need_bool(const struct json *j, const char *key, bool *ret, struct err *e) MUST_CHECK;
rc_t json_need_object(const struct json *j, const char *key, struct json **ret, struct err *e) MUST_CHECK;
rc_t json_need_array(const struct json *j, const char *key, struct json **ret, struct err *e) MUST_CHECK;
rc_t json_opt_str(const struct json *j, const char *key, struct str *ret, struct err *e) MUST_CHECK;
rc_t json_opt_f64(const struct json *j, const char *key, double *ret, struct err *e) MUST_CHECK;
rc_t json_opt_i64(const struct json *j, const char *key, int64_t *ret, struct err *e) MUST_CHECK;
rc_t json_opt_bool(const struct json *j, const char *key, bool *ret, struct err *e) MUST_CHECK;
rc_t json_opt_object(const struct json *j, const char *key, struct json **ret, struct err *e) MUST_CHECK;
rc_t json_opt_array(const struct json *j, const char *key, struct json **ret, struct err *e) MUST_CHECK;

/* E_INVALID "path: text": for a check of the caller's own ("must be positive") at a node. */
rc_t json_complain(const struct json *j, struct err *e, const char *fmt, ...) PRINTF(3, 4);
size_t json_path(const struct json *j, char *out, size_t cap);

/* --- building. Adding gives the child to the parent. set replaces a member of that name; add appends to an array. */
struct json *json_new_object(void);
struct json *json_new_array(void);
struct json *json_set_object(struct json *j, const char *key); /* a new empty one, borrowed */
struct json *json_set_array(struct json *j, const char *key);
void json_set_str(struct json *j, const char *key, struct str v);
void json_set_strz(struct json *j, const char *key, const char *v); /* NULL sets null */
void json_set_f64(struct json *j, const char *key, double v);
void json_set_i64(struct json *j, const char *key, int64_t v); /* exact over all of int64 */
void json_set_bool(struct json *j, const char *key, bool v);
void json_set_null(struct json *j, const char *key);
void json_set_take(struct json *j, const char *key, struct json *child); /* child is a root; now it is not */
void json_del(struct json *j, const char *key);
struct json *json_add_object(struct json *j);
struct json *json_add_array(struct json *j);
void json_add_str(struct json *j, struct str v);
void json_add_strz(struct json *j, const char *v);
void json_add_f64(struct json *j, double v);
void json_add_i64(struct json *j, int64_t v);
void json_add_bool(struct json *j, bool v);
void json_add_null(struct json *j);
void json_add_take(struct json *j, struct json *child);

/* --- printing, compact. Doubles as the shortest text that reads back equal. */
void json_print(const struct json *j, enum json_nan nan, struct buf *out);
void json_write(const struct json *j, struct json_writer *w); /* as one value inside other output */
