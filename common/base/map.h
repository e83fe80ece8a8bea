/* Hash map from bytes to a pointer (open addressing, SipHash-keyed per process: keys come from outside).
 * Copies its keys, never owns its values. Not shared between threads. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/str.h"

struct map {
    struct map_slot *slots;
    size_t len, cap, tombs;
};
struct map_iter {
    size_t at;
    struct str key;
    void *value;
};

void map_done(struct map *m);                              /* frees keys and table; the values are the caller's */
void *map_get(const struct map *m, struct str key);        /* NULL: not there */
void *map_put(struct map *m, struct str key, void *value); /* returns the value replaced, or NULL */
void *map_del(struct map *m, struct str key);              /* returns the value removed, or NULL */
bool map_next(const struct map *m, struct map_iter *it);   /* start from {0}; false: no more. No put/del meanwhile */

uint64_t hash_bytes(const void *p, size_t n);           /* keyed per process: for tables */
void hash128(const void *p, size_t n, uint64_t ret[2]); /* fixed key: stable over processes and versions, for dedupe and names */
