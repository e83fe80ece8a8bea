/* What the verbs print with: bars, colours on a terminal, aligned tables. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include "base/buf.h"
#include "base/str.h"

bool term_is(FILE *to);                                    /* a terminal that takes colours (not with NO_COLOR) */
void term_bar(struct buf *to, double share, size_t width); /* "███···"; what is not in [0,1] is cut, NaN is empty */
void term_add_status(struct buf *to, int status, bool colours);
void term_add_found(struct buf *to, int status, bool colours); /* of a result that is no drift */
void term_add_cell(struct buf *to, struct str text, size_t width); /* cut or padded to so many characters (UTF-8), and two blanks */
void term_add_text(struct buf *to, struct str text);               /* all of it, as a cell without a width */
int term_put(struct buf *text); /* to stdout, all of it, and frees; TOOL_DONE or TOOL_FAILED */

/* A line on stderr that is written over again: done of total (0: not known), with the rate. Nothing when it is no terminal. */
struct term_progress {
    const char *what;
    int64_t began_us, shown_us;
    bool on;
};
void term_progress_begin(struct term_progress *p, const char *what);
void term_progress(struct term_progress *p, double share, size_t done);
void term_progress_end(struct term_progress *p, size_t done);
