/* HTML into a struct buf. Text and attributes from outside go through html_text alone: names are hostile. */
#pragma once
#include <stdint.h>
#include "base/buf.h"
#include "base/str.h"

void html_text(struct buf *b,
               struct str s); /* escaped for text and for a quoted attribute; control characters but tab and newline become U+FFFD */
void html_textz(struct buf *b, const char *z);
void html_name(struct buf *b, const char *z);          /* <bdi>: a name cannot turn the words around it */
void html_count(struct buf *b, double n);              /* 0, 950, 12.3k, 4.56M */
void html_number(struct buf *b, double v, int digits); /* fixed digits; – when it is not finite, ∞ when infinite */
void html_time(struct buf *b, int64_t us);             /* <time>2025-01-01 00:00:10</time>, UTC; – for 0 */
void html_age(struct buf *b, int64_t us, int64_t now_us); /* <time title=…>12 s ago</time>; "never" for 0 */
void html_duration(struct buf *b, int64_t us);            /* 3.2 s, 240 ms, 5 min */
