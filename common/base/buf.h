/* A growable byte buffer. Never fails (mem.h). data is NUL-terminated after every call. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "base/rc.h"
#include "base/str.h"

struct buf {
    char *data;
    size_t len, cap;
};

void buf_done(struct buf *b);  /* frees, leaves an empty buffer; NULL is fine */
void buf_clear(struct buf *b); /* keeps the memory */
void buf_reserve(struct buf *b, size_t extra);
void buf_add(struct buf *b, const void *p, size_t n);
void buf_addz(struct buf *b, const char *z);
void buf_addc(struct buf *b, char c);
void buf_addf(struct buf *b, const char *fmt, ...) PRINTF(2, 3);
struct str buf_str(const struct buf *b);
char *buf_take(struct buf *b); /* the terminated text, now the caller's; the buffer is empty */
