/* Values as Python prints them (repr): dicts, lists, texts, numbers, True, False, None. */
#pragma once
#include "json/doc.h"

/* E_INVALID: it is none of these (a tuple, a set, an object), or larger than the reader's default limits. */
rc_t json_parse_literal(struct json **ret, const char *p, size_t n, struct err *e) MUST_CHECK;
