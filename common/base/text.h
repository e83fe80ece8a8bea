/* Text made safe for where it goes: JSON strings, HTML; UTF-8 checks. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "base/buf.h"
#include "base/str.h"

bool text_is_utf8(struct str s); /* well-formed: no overlong forms, no surrogates, at most U+10FFFF */
/* The length of the well-formed character that starts at s.p[at], or 0. */
size_t text_utf8_len(struct str s, size_t at);

void text_cut_utf8(char *z); /* ends it before the first byte that is no UTF-8: what a cut left of a character */

void text_add_json(struct buf *b, struct str s); /* quoted and escaped; bytes that are no UTF-8 become U+FFFD */
void text_add_html(struct buf *b, struct str s); /* & < > " ' escaped, control bytes U+FFFD: for text nodes and quoted attributes */

/* MLRun's normal form of a feature's name, by which a name in an event is one in a reference: each blank is '_', parentheses go;
 * other white space stays. out holds at least s.n bytes; returns the length. */
size_t text_norm_name(char *out, struct str s);
bool text_is_norm_name(struct str s);
bool text_same_norm_name(struct str a, struct str b); /* their normal forms are one */
