/* A ring of (key, offset) in order of arrival and a hash table of indices into it: the oldest leave as offsets move on.
 * A key that comes again moves to the ring's end, so that what is seen depends on the last N offsets alone. */
#include <stddef.h>
#include "base/mem.h"
#include "dedupe.h"

struct entry {
    uint64_t key[2];
    int64_t offset; /* its complement, below 0: the key came again later, and the table knows the later one */
};
struct place {
    uint32_t index; /* into the ring, + 1; 0: free */
    uint32_t tag;   /* of the key: most probes need not look into the ring */
};
struct dedupe {
    int64_t horizon;
    struct entry *ring;
    struct place *table;        /* size a power of two, at least 1.5 × cap */
    size_t cap, size, first, n; /* cap: of the ring, the horizon and one at most */
};

struct dedupe *dedupe_new(int64_t horizon_records)
{
    struct dedupe *d = mem_alloc(sizeof *d);
    d->horizon = horizon_records;
    return d;
}

void dedupe_free(struct dedupe *d)
{
    if (!d)
        return;
    mem_free(d->ring);
    mem_free(d->table);
    mem_free(d);
}

/* The nth from the oldest on. */
static size_t in_ring(const struct dedupe *d, size_t nth)
{
    size_t at = d->first + nth;
    return at < d->cap ? at : at - d->cap;
}

static size_t home(const struct dedupe *d, const uint64_t key[2])
{
    return (size_t)key[0] & (d->size - 1);
}

static uint32_t tag_of(const uint64_t key[2])
{
    return (uint32_t)(key[1] >> 32);
}

static size_t find(const struct dedupe *d, const uint64_t key[2])
{
    size_t at = home(d, key);
    for (; d->table[at].index; at = (at + 1) & (d->size - 1)) {
        if (d->table[at].tag != tag_of(key))
            continue;
        const struct entry *e = &d->ring[d->table[at].index - 1];
        if (e->key[0] == key[0] && e->key[1] == key[1])
            break;
    }
    return at;
}

/* Linear probing: whoever stands behind the hole and may stand in it moves up, until a free place. */
static void table_remove(struct dedupe *d, size_t hole)
{
    size_t mask = d->size - 1;
    for (size_t at = (hole + 1) & mask; d->table[at].index; at = (at + 1) & mask) {
        size_t want = home(d, d->ring[d->table[at].index - 1].key);
        if (((at - want) & mask) >= ((at - hole) & mask)) {
            d->table[hole] = d->table[at];
            hole = at;
        }
    }
    d->table[hole].index = 0;
}

/* The place of a ring entry that the table knows: by its index, without a look at other entries. */
static size_t place_of(const struct dedupe *d, size_t slot)
{
    size_t at = home(d, d->ring[slot].key);
    while (d->table[at].index != slot + 1)
        at = (at + 1) & (d->size - 1);
    return at;
}

static void expire(struct dedupe *d, int64_t offset)
{
    for (; d->n; d->n--) {
        int64_t oldest = d->ring[d->first].offset;
        if ((oldest < 0 ? ~oldest : oldest) >= offset - d->horizon)
            break;
        if (oldest >= 0)
            table_remove(d, place_of(d, d->first));
        d->first = in_ring(d, 1);
    }
}

static void grow(struct dedupe *d)
{
    size_t cap = d->cap ? d->cap * 2 : 64, most = (size_t)d->horizon + 1, size = 128;
    cap = cap < most ? cap : most;
    while (size < cap + cap / 2)
        size *= 2;
    struct entry *ring = mem_array(cap, sizeof *ring);
    for (size_t i = 0; i < d->n; i++)
        ring[i] = d->ring[in_ring(d, i)];
    mem_free(d->ring);
    mem_free(d->table);
    d->ring = ring;
    d->table = mem_array(size, sizeof *d->table);
    d->size = size;
    d->cap = cap;
    d->first = 0;
    for (size_t i = 0; i < d->n; i++)
        if (ring[i].offset >= 0)
            d->table[find(d, ring[i].key)] = (struct place){(uint32_t)i + 1, tag_of(ring[i].key)};
}

bool dedupe_seen(struct dedupe *d, const uint64_t key[2], int64_t offset)
{
    if (d->horizon <= 0)
        return false;
    expire(d, offset);
    if (d->n == d->cap)
        grow(d);
    size_t at = find(d, key);
    bool seen = d->table[at].index != 0;
    if (seen && d->ring[d->table[at].index - 1].offset == offset)
        return false; /* the same record once more: its handling had to wait */
    if (seen)
        d->ring[d->table[at].index - 1].offset = ~d->ring[d->table[at].index - 1].offset;
    size_t slot = in_ring(d, d->n++);
    d->ring[slot] = (struct entry){{key[0], key[1]}, offset};
    d->table[at] = (struct place){(uint32_t)slot + 1, tag_of(key)};
    return seen;
}

void dedupe_expect(const struct dedupe *d, const uint64_t key[2])
{
    if (d->cap)
        __builtin_prefetch(&d->table[home(d, key)], 1);
}
