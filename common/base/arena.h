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
void arena_reserve(struct arena *a,
                   size_t n); /* a block of just n bytes to come (each piece rounded up to 16): for many small arenas */
void *arena_array(struct arena *a, size_t count, size_t size);
char *arena_dup(struct arena *a, const char *p, size_t n); /* terminated copy */
struct str arena_str(struct arena *a, struct str s);
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF(2, 3);
