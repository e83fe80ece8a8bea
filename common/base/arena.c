/* Bump allocation out of a list of growing blocks. */
#include "base/arena.h"

#include <assert.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define ALIGN ((size_t)16)
#define FIRST_BLOCK ((size_t)4096)
#define LARGEST_STEP ((size_t)1 << 20)

struct arena_block {
    struct arena_block *next;
    size_t size;
    alignas(16) unsigned char data[];
};

void arena_done(struct arena *a)
{
    if (a == NULL)
        return;
    for (struct arena_block *b = a->head; b != NULL;) {
        struct arena_block *next = b->next;
        mem_free(b);
        b = next;
    }
    *a = (struct arena){0};
}

void arena_reset(struct arena *a)
{
    struct arena_block *keep = NULL;
    for (struct arena_block *b = a->head; b != NULL;) {
        struct arena_block *next = b->next;
        if (keep == NULL || b->size > keep->size) {
            mem_free(keep);
            keep = b;
        } else {
            mem_free(b);
        }
        b = next;
    }
    if (keep)
        keep->next = NULL;
    a->head = keep;
    a->used = 0;
    a->total = keep ? keep->size : 0;
}

static void add_block(struct arena *a, size_t size)
{
    struct arena_block *b = mem_grow(NULL, sizeof *b + size, 1);
    b->next = a->head;
    b->size = size;
    a->head = b;
    a->used = 0;
    a->total += size;
}

static bool has_room(const struct arena *a, size_t n)
{
    return a->head != NULL && a->head->size - a->used >= n;
}

static size_t step(const struct arena *a, size_t n)
{
    size_t size = a->head ? a->head->size * 2 : FIRST_BLOCK;
    if (size > LARGEST_STEP)
        size = LARGEST_STEP;
    return size < n ? n : size;
}

void arena_reserve(struct arena *a, size_t n)
{
    if (!has_room(a, n))
        add_block(a, n);
}

void *arena_alloc(struct arena *a, size_t n)
{
    assert(n <= SIZE_MAX / 2);
    n = (n + ALIGN - 1) & ~(ALIGN - 1);
    if (!has_room(a, n))
        add_block(a, step(a, n));
    void *p = a->head->data + a->used;
    a->used += n;
    return memset(p, 0, n);
}

void *arena_array(struct arena *a, size_t count, size_t size)
{
    size_t n;
    int over = __builtin_mul_overflow(count, size, &n);
    assert(!over);
    return arena_alloc(a, n);
}

char *arena_dup(struct arena *a, const char *p, size_t n)
{
    char *copy = arena_alloc(a, n + 1);
    if (n > 0)
        memcpy(copy, p, n);
    return copy;
}

struct str arena_str(struct arena *a, struct str s)
{
    return (struct str){arena_dup(a, s.p, s.n), s.n};
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    assert(n >= 0);
    char *text = arena_alloc(a, (size_t)n + 1);
    va_start(args, fmt);
    (void)vsnprintf(text, (size_t)n + 1, fmt, args); /* measured above */
    va_end(args);
    return text;
}
