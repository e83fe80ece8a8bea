/* Texts sealed with AES-256-GCM (OpenSSL's EVP): what is kept and never shown. A ring has one or more keys: the first seals, all of
 * them open, so that a new key is put before the old one and nothing has to happen at once.
 * A sealed text says which key has sealed it, and opens only where it was bound to: moved to another row it is as good as changed. */
#pragma once
#include "base/buf.h"
#include "base/rc.h"
#include "base/str.h"

#define SEAL_KEYS_MAX 8
#define SEAL_ID_MAX 16 /* with its NUL */

struct seal; /* read by any number of threads */

/* Keys are 64 hex digits each, between them blanks, line ends or commas. E_INVALID, without a word of them. */
rc_t seal_check(const char *text, struct err *e) MUST_CHECK;
/* An empty text is a ring without keys: it neither seals nor opens. */
rc_t seal_new(struct seal **ret, const char *text, struct err *e) MUST_CHECK;
void seal_free(struct seal *s); /* wipes the keys; NULL is fine */
/* Of the key that seals, made of it: 8 hex digits; "": the ring has none. */
const char *seal_key_id(const struct seal *s);

/* Appends to *out. E_NOTFOUND: the ring has no key. */
rc_t seal_close(const struct seal *s, struct str plain, struct str bound, struct buf *out, struct err *e) MUST_CHECK;
/* Appends to *out. E_NOTFOUND: the ring does not have its key (*e says which). E_INVALID: it was changed, or bound elsewhere. */
rc_t seal_open(const struct seal *s, struct str sealed, struct str bound, struct buf *out, struct err *e) MUST_CHECK;

void seal_key_make(struct buf *out); /* a new key's text */
