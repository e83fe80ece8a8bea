/* The head of a request judged before its body: what two parsers could read differently is refused. Pure. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/str.h"

struct guard {
    unsigned hosts, lengths, encodings;
    bool chunked;
    int64_t length;    /* Content-Length; -1: none */
    const char *words; /* the first fault; NULL: none */
};

void guard_start(struct guard *g);
void guard_header(struct guard *g, struct str name, struct str value);
void guard_fault(struct guard *g, const char *words); /* the first one counts */
void guard_end(struct guard *g, struct str version);
bool guard_has_body(const struct guard *g);
