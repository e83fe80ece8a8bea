/* The head of a request judged before its body: what two parsers could read differently is refused. Pure. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/str.h"

#define GUARD_TARGET_MAX 8192u /* bytes of the request target: 414 */
#define GUARD_HEAD_MAX 16384u  /* bytes of all header lines: 431 … */
#define GUARD_LINES_MAX 100u   /* … and how many there may be */

struct guard {
    unsigned hosts, lengths, encodings, lines;
    size_t bytes; /* of header lines */
    bool chunked;
    int64_t length;    /* Content-Length; -1: none */
    const char *words; /* the first fault; NULL: none */
    int status;        /* of that: 400, 414, 431 */
};

void guard_start(struct guard *g, size_t target_bytes);
void guard_header(struct guard *g, struct str name, struct str value);
void guard_fault(struct guard *g, const char *words); /* the first one counts */
void guard_end(struct guard *g, struct str version);
bool guard_has_body(const struct guard *g);
