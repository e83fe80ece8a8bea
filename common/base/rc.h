/* Result codes and the error text that goes with them.
 * A code says what the caller should do; struct err says what happened, in words for a person. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

typedef enum {
    OK = 0,
    E_AGAIN = -1,    /* transient: try again later, nothing was done */
    E_INVALID = -2,  /* the input is wrong and stays wrong: reject it */
    E_NOTFOUND = -3, /* what was asked for is not there */
    E_CONFLICT = -4, /* somebody else was there first: read again and decide */
    E_LIMIT = -5,    /* a bound was reached: push back or reject */
    E_UNKNOWN = -6,  /* the outcome is not known (a lost COMMIT answer): re-read, never guess */
    E_FATAL = -7,    /* this process cannot go on safely: say so and exit */
} rc_t;

struct err {
    char text[256]; /* its last byte is err_quotes's */
};

#define PRINTF(fmt_at, args_at) __attribute__((format(printf, fmt_at, args_at)))
#define MUST_CHECK __attribute__((warn_unused_result))
#define CLEANUP(fn) __attribute__((cleanup(fn)))

/* Writes the text (cut to fit, always terminated) and returns rc, so that a failing function can
 * `return err_set(e, E_INVALID, "…")`. e may be NULL. */
rc_t err_set(struct err *e, rc_t rc, const char *fmt, ...) PRINTF(3, 4);
/* The same for a text with the words of a server or library in it, which err_quotes then tells: they are for logs and /readyz,
 * not for who sent a request. */
rc_t err_quote(struct err *e, rc_t rc, const char *fmt, ...) PRINTF(3, 4);
bool err_quotes(const struct err *e);
/* Puts words in front of what is there: "reading manifest: " + old text. Returns rc. */
rc_t err_prefix(struct err *e, rc_t rc, const char *fmt, ...) PRINTF(3, 4);
const char *rc_name(rc_t rc);
