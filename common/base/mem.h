/* Heap allocation that never returns NULL: out of memory logs one line and aborts (crash-only; the
 * one place of the project that may). Everything else treats memory as there. */
#pragma once
#include <stddef.h>

/* What the heap adds to a piece at most, for those who count what they hold: its header, and rounding up to 16. */
#define MEM_OVERHEAD 24u

void *mem_alloc(size_t n);                          /* zeroed */
void *mem_array(size_t count, size_t size);         /* zeroed; overflow checked */
void *mem_grow(void *p, size_t count, size_t size); /* realloc with overflow check; new part not zeroed */
char *mem_dup(const char *p, size_t n);             /* a NUL-terminated copy of n bytes */
char *mem_dupz(const char *z);                      /* NULL gives NULL */
void mem_free(void *p);                             /* NULL is fine */
void mem_freep(void *pp);                           /* for CLEANUP: frees *pp */
