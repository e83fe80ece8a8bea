/* Request targets: strict checks, percent-decoding, path segments, query pairs. Pure; inside http/ only. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "base/arena.h"
#include "base/rc.h"
#include "base/str.h"

#define URI_SEGMENTS 24
#define URI_PAIRS 256

struct uri_pair {
    struct str name, value;
};

struct uri {
    struct str path;                   /* raw */
    struct str segments[URI_SEGMENTS]; /* decoded: "/a/b" has 2, "/" has one empty one */
    size_t segment_count;
    struct uri_pair *pairs;
    size_t pair_count;
};

/* Decoded text lives in the arena. *ret_words says what is wrong. */
rc_t uri_parse(struct str raw, struct arena *a, struct uri *ret, const char **ret_words) MUST_CHECK;
/* %xx and, if asked, + to a blank. E_INVALID: bad escape, not UTF-8, or a control character. */
rc_t uri_decode(struct str raw, bool plus, struct arena *a, struct str *ret) MUST_CHECK;
