/* Heap allocation that aborts the process instead of failing. */
#include "base/crash.h"
#include "base/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef MM_CRASH_POINTS
#define ALLOCATION_FAILS() crash_allocation(__builtin_frame_address(0))
#else
#define ALLOCATION_FAILS() 0
#endif

/* No formatting and no log here: both may allocate. */
__attribute__((noreturn, cold)) static void die(const char *line, size_t n)
{
    ssize_t done = write(STDERR_FILENO, line, n);
    (void)done; /* nobody left to tell */
    abort();
}
#define DIE(text)                                                                                                      \
    die("{\"level\":\"error\",\"ev\":\"" text "\"}\n", sizeof("{\"level\":\"error\",\"ev\":\"" text "\"}\n") - 1)

void *mem_alloc(size_t n)
{
    return mem_array(1, n);
}

void *mem_array(size_t count, size_t size)
{
    if (count == 0 || size == 0)
        count = size = 1;
    void *p = ALLOCATION_FAILS() ? NULL : calloc(count, size);
    if (p == NULL)
        DIE("out_of_memory");
    return p;
}

void *mem_grow(void *p, size_t count, size_t size)
{
    size_t n;
    if (__builtin_mul_overflow(count, size, &n))
        DIE("allocation_size_overflow");
    p = ALLOCATION_FAILS() ? NULL : realloc(p, n ? n : 1);
    if (p == NULL)
        DIE("out_of_memory");
    return p;
}

char *mem_dup(const char *p, size_t n)
{
    char *copy = mem_grow(NULL, n + 1, 1);
    if (n > 0)
        memcpy(copy, p, n);
    copy[n] = '\0';
    return copy;
}

char *mem_dupz(const char *z)
{
    return z ? mem_dup(z, strlen(z)) : NULL;
}

void mem_free(void *p)
{
    free(p);
}

void mem_freep(void *pp)
{
    void **p = pp;
    free(*p);
    *p = NULL;
}
