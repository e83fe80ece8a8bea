/* What the verbs of operators share: who decides, and whether they mean it. */
#pragma once
#include <stdbool.h>
#include "base/rc.h"
#include "json/write.h"

void operator_add_who(struct json_writer *w); /* "who": user@host, for the audit */
/* The line that has a partition go on that stands still. */
void operator_add_skip(struct buf *to, struct str pipeline, struct str topic, int64_t partition);
/* Asks on the terminal; without one the answer is no, with words on stderr. */
bool operator_agrees(const char *fmt, ...) PRINTF(1, 2);
