/* Memory that is given back all at once: many small pieces of one event, one batch, one request.
 * Pieces are 16-byte aligned and zeroed. Not shared between threads. */
#pragma once
#include <stddef.h>
#include "base/rc.h"
#include "base/str.h"

struct arena {
    struct arena_block *head;
    size_t used, total;
};

void arena_done(struct arena *a);
void arena_reset(struct arena *a); /* keeps the largest block for reuse */
void *arena_alloc(struct arena *a, size_t n);
/* A block of just n bytes to come, the sum of arena_rounded pieces: for many small arenas. */
void arena_reserve(struct arena *a, size_t n);
static inline size_t arena_rounded(size_t n)
{
    return (n + 15) / 16 * 16;
}
void *arena_array(struct arena *a, size_t count, size_t size);
char *arena_dup(struct arena *a, const char *p, size_t n); /* terminated copy */
struct str arena_str(struct arena *a, struct str s);
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF(2, 3);
