/* Open addressing with linear probing; a power-of-two table at most three quarters full. */
#include "base/map.h"

#include <assert.h>

#include "base/mem.h"

struct map_slot {
    char *key; /* NULL: free; TOMB: was in use, probes go on */
    size_t n;
    uint64_t hash;
    void *value;
};

static char tomb_mark;
#define TOMB (&tomb_mark)

static bool slot_used(const struct map_slot *s)
{
    return s->key != NULL && s->key != TOMB;
}

void map_done(struct map *m)
{
    if (m == NULL)
        return;
    for (size_t i = 0; i < m->cap; i++)
        if (slot_used(&m->slots[i]))
            mem_free(m->slots[i].key);
    mem_free(m->slots);
    *m = (struct map){0};
}

static struct map_slot *find(const struct map *m, struct str key, uint64_t hash)
{
    if (m->cap == 0)
        return NULL;
    for (size_t i = hash & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
        struct map_slot *s = &m->slots[i];
        if (s->key == NULL)
            return NULL;
        if (s->key != TOMB && s->hash == hash && str_eq((struct str){s->key, s->n}, key))
            return s;
    }
}

static struct map_slot *free_slot(struct map_slot *slots, size_t cap, uint64_t hash)
{
    size_t i = hash & (cap - 1);
    while (slot_used(&slots[i]))
        i = (i + 1) & (cap - 1);
    return &slots[i];
}

static void rehash(struct map *m, size_t cap)
{
    struct map_slot *slots = mem_array(cap, sizeof *slots);
    for (size_t i = 0; i < m->cap; i++)
        if (slot_used(&m->slots[i]))
            *free_slot(slots, cap, m->slots[i].hash) = m->slots[i];
    mem_free(m->slots);
    m->slots = slots;
    m->cap = cap;
    m->tombs = 0;
}

void *map_get(const struct map *m, struct str key)
{
    if (m->len == 0)
        return NULL;
    const struct map_slot *s = find(m, key, hash_bytes(key.p, key.n));
    return s ? s->value : NULL;
}

void *map_put(struct map *m, struct str key, void *value)
{
    assert(value != NULL);
    uint64_t hash = hash_bytes(key.p, key.n);
    struct map_slot *s = find(m, key, hash);
    if (s != NULL) {
        void *old = s->value;
        s->value = value;
        return old;
    }
    if (m->cap == 0 || (m->len + m->tombs + 1) * 4 > m->cap * 3)
        rehash(m, m->len * 2 >= m->cap ? (m->cap ? m->cap * 2 : 16) : m->cap);
    s = free_slot(m->slots, m->cap, hash);
    if (s->key == TOMB)
        m->tombs--;
    *s = (struct map_slot){mem_dup(key.p, key.n), key.n, hash, value};
    m->len++;
    return NULL;
}

void *map_del(struct map *m, struct str key)
{
    struct map_slot *s = find(m, key, hash_bytes(key.p, key.n));
    if (s == NULL)
        return NULL;
    void *old = s->value;
    mem_free(s->key);
    *s = (struct map_slot){.key = TOMB};
    m->len--;
    m->tombs++;
    return old;
}

bool map_next(const struct map *m, struct map_iter *it)
{
    while (it->at < m->cap) {
        const struct map_slot *s = &m->slots[it->at++];
        if (slot_used(s)) {
            it->key = (struct str){s->key, s->n};
            it->value = s->value;
            return true;
        }
    }
    return false;
}
