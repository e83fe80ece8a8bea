/* One value of one column on its way into statistics: what a decoder says it found. Borrowed text. */
#pragma once
#include "base/str.h"

enum stat_kind {
    STAT_MISSING = 0, /* null, NaN, or not there */
    STAT_NUMBER,      /* num; may be infinite; NaN counts as missing */
    STAT_BOOL,        /* num is 0 or 1 */
    STAT_TEXT,        /* text */
    STAT_OTHER,       /* an array, an object: no type that statistics know */
};

struct stat_value {
    enum stat_kind kind;
    double num;
    struct str text;
};
