/* Base64, RFC 4648's first alphabet. */
#pragma once
#include "base/buf.h"
#include "base/rc.h"
#include "base/str.h"

void base64_add(struct buf *out, struct str bytes);            /* appends, with padding */
rc_t base64_read(struct str text, struct buf *out) MUST_CHECK; /* appends the bytes. E_INVALID: it is none, nothing was appended */
