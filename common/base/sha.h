/* SHA digests, as lower-case hex: endpoint ids, file manifests, migration checksums; as bytes: random secrets of 256 bits.
 * Not for passwords, which are guessed. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "base/rc.h"

#define SHA1_TEXT 41 /* with its NUL */
#define SHA256_TEXT 65
#define SHA256_BYTES 32

void sha1_hex(const void *p, size_t n, char out[SHA1_TEXT]);
void sha256_hex(const void *p, size_t n, char out[SHA256_TEXT]);
void sha256_bytes(const void *p, size_t n, unsigned char out[SHA256_BYTES]);
/* In a time that does not tell where they differ. */
bool sha256_same(const unsigned char a[SHA256_BYTES], const unsigned char b[SHA256_BYTES]);

struct sha256;
struct sha256 *sha256_new(void);
void sha256_add(struct sha256 *s, const void *p, size_t n);
void sha256_take_hex(struct sha256 *s, char out[SHA256_TEXT]); /* frees s */
void sha256_free(struct sha256 *s);                            /* NULL is fine */

/* The whole file, read from its start. E_NOTFOUND: no such file; E_FATAL: it cannot be read. */
rc_t sha256_file_hex(const char *path, char out[SHA256_TEXT], struct err *e) MUST_CHECK;
