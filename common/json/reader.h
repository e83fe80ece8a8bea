/* A strict pull reader for JSON text (RFC 8259): one pass, no tree, nothing copied that can be borrowed.
 * It owns no text. It refuses what a lax parser lets through: bad UTF-8, lone surrogates, U+0000,
 * control characters, duplicate keys, numbers that are not finite doubles, anything after the value.
 *
 *   struct json_reader r;
 *   jr_init(&r, p, n, NULL);
 *   if (jr_object(&r))
 *       while (jr_key(&r, &key))
 *           str_eqz(key, "when") ? jr_str(&r, &when) : jr_skip(&r, NULL);
 *   if (!jr_end(&r)) report(r.error.code, r.error.offset, jr_path(&r, …));
 *   jr_done(&r);
 *
 * Every call returns false once something failed, and then changes nothing: checking at the end is enough.
 * After jr_key or jr_item returned true exactly one value must be taken (jr_skip takes any).
 * Not shared between threads. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/rc.h"
#include "base/str.h"

enum json_type { JSON_NONE, JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

enum json_error {
    JSON_OK,
    JSON_E_SYNTAX,    /* not JSON */
    JSON_E_EOF,       /* the text ends too early */
    JSON_E_TRAILING,  /* something stands behind the value */
    JSON_E_UTF8,      /* a byte sequence that is not UTF-8 */
    JSON_E_ESCAPE,    /* an unknown escape, a lone surrogate, \u0000 */
    JSON_E_CONTROL,   /* a control character inside a string */
    JSON_E_NUMBER,    /* not the number grammar */
    JSON_E_RANGE,     /* a number that is no finite double, or no int64 where one was asked for */
    JSON_E_DUPLICATE, /* a key occurs twice in one object */
    JSON_E_TYPE,      /* another type than the caller asked for */
    JSON_E_DEPTH,     /* limits of struct json_limits from here */
    JSON_E_VALUES,
    JSON_E_BYTES,
    JSON_E_STRING_BYTES,
    JSON_E_KEYS,
};
const char *json_error_name(enum json_error code); /* "duplicate_key", stable */
const char *json_error_text(enum json_error code); /* "a key occurs twice", for a person */
const char *json_type_name(enum json_type type);   /* "number" */

#define JSON_DEPTH_MAX 64
struct json_limits {     /* 0 anywhere: that field's default */
    unsigned depth;      /* 32, at most JSON_DEPTH_MAX */
    size_t values;       /* 10 000 */
    size_t bytes;        /* 1 MiB */
    size_t string_bytes; /* 64 KiB, of the text as written; keys too */
    size_t keys;         /* 10 000 in one object */
    bool accept_nan;     /* the bare tokens NaN, Infinity, -Infinity, as Python's json.dumps writes them */
};

struct json_number {
    double f64;      /* correctly rounded; may be NaN or infinite only with accept_nan */
    int64_t i64;     /* the exact value, if is_int */
    bool is_int;     /* written without fraction and exponent, and inside int64 */
    struct str text; /* as written */
};

struct json_frame { /* internal */
    struct str key;
    uint64_t seen;    /* 64-bit filter over the keys of this object */
    size_t first_key; /* where its keys start in json_reader.keys */
    uint32_t count;   /* keys or items so far */
    uint32_t serial;  /* of this object, for the key table */
    bool is_object, in_table;
};

struct json_reader {
    const char *start, *at, *end;
    struct {
        enum json_error code;
        size_t offset;            /* byte, from 0 */
        enum json_type want, got; /* with JSON_E_TYPE */
    } error;
    /* internal from here */
    struct json_limits limits;
    size_t values_left;
    unsigned depth;
    bool value_due, key_shown;
    uint32_t serial;
    struct arena arena, *strings; /* strings: where unescaped ones go, NULL: arena */
    struct str *keys;
    size_t n_keys, cap_keys;
    struct json_key_slot *table;
    size_t table_len, table_cap;
    struct json_frame frames[JSON_DEPTH_MAX + 1];
};

/* r must be zeroed, or have been through jr_init before (memory is kept for the next text).
 * limits NULL: all defaults. The text is borrowed until the next jr_init or jr_done. */
void jr_init(struct json_reader *r, const char *p, size_t n, const struct json_limits *limits);
void jr_done(struct json_reader *r);
/* After jr_init: strings that hold escapes go into a, and live as long as it does. */
void jr_strings(struct json_reader *r, struct arena *a);

enum json_type jr_peek(struct json_reader *r); /* of the value that is next; JSON_NONE after an error */
size_t jr_offset(const struct json_reader *r); /* of what is next; before a value, its first byte */

bool jr_object(struct json_reader *r);               /* goes into an object */
bool jr_key(struct json_reader *r, struct str *ret); /* next key; false at the end of the object (which is left) or after an error */
bool jr_array(struct json_reader *r);                /* goes into an array */
bool jr_item(struct json_reader *r);                 /* is there one more? false as with jr_key */
/* The item behind one that was taken, if it is a number: long rows of them in half the calls. False: nothing changed, and
 * jr_item goes on from here. */
bool jr_number_item(struct json_reader *r, struct json_number *ret);
bool jr_failed(const struct json_reader *r);

/* Strings are borrowed from the text, or from the reader's arena if they hold escapes: valid until the next jr_init
 * (see jr_strings). */
bool jr_str(struct json_reader *r, struct str *ret);
bool jr_number(struct json_reader *r, struct json_number *ret);
bool jr_f64(struct json_reader *r, double *ret);
bool jr_i64(struct json_reader *r, int64_t *ret); /* 3 and -0, not 3.0 */
bool jr_bool(struct json_reader *r, bool *ret);
bool jr_null(struct json_reader *r);      /* takes a null; error if it is none */
bool jr_take_null(struct json_reader *r); /* true: there was a null, taken. false: something else, untouched */
bool jr_skip(struct json_reader *r, struct str *ret); /* any value, checked whole; ret (may be NULL): its text */

struct json_value {
    bool b;                 /* of a boolean */
    struct str s;           /* of a string; of an array or object its text */
    struct json_number num; /* of a number */
};
/* Whatever is next, in one call; JSON_NONE: failed. Only what belongs to the type returned is set. */
enum json_type jr_value(struct json_reader *r, struct json_value *ret);
bool jr_end(struct json_reader *r); /* only white space is left, and nothing failed */

/* Makes a failure of the caller's own ("not a date") look like the reader's: sticky, with the path. */
bool jr_fail(struct json_reader *r, enum json_error code, size_t offset);

/* Where the reader stands, or failed: "request.inputs[0][3]". Empty at the top. Always terminated, cut to fit. */
size_t jr_path(const struct json_reader *r, char *out, size_t cap);
/* err text of the failure: "request.inputs[0][3], byte 214: a number is wanted, this is a string". E_LIMIT for a limit, else E_INVALID. */
rc_t jr_error(const struct json_reader *r, struct err *e);
