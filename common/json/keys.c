/* Keys of large objects: a hash table over all open objects of a text, so that a key that occurs twice is found
 * without comparing each with each. Entries of closed objects stay behind; their serial never comes again. */
#include "json/keys.h"

#include <string.h>

#include "base/map.h"
#include "base/mem.h"

#define TABLE_KEEP 4096 /* a larger table is not kept for the next text */

struct json_key_slot {
    uint64_t hash;
    uint32_t serial; /* of the object; 0: free */
    uint32_t key;    /* in json_reader.keys; meant only while the object is open */
};

static void table_put(struct json_reader *r, struct json_key_slot slot)
{
    size_t mask = r->table_cap - 1, i = slot.hash & mask;
    while (r->table[i].serial != 0)
        i = (i + 1) & mask;
    r->table[i] = slot;
}

static void table_grow(struct json_reader *r)
{
    struct json_key_slot *old = r->table;
    size_t old_cap = r->table_cap;
    r->table_cap = old_cap ? old_cap * 2 : 256;
    r->table = mem_array(r->table_cap, sizeof *r->table);
    for (size_t i = 0; i < old_cap; i++)
        if (old[i].serial != 0)
            table_put(r, old[i]);
    mem_free(old);
}

/* False: the key is in the table already. Adds it otherwise. */
static bool table_add(struct json_reader *r, const struct json_frame *f, size_t key)
{
    if ((r->table_len + 1) * 2 > r->table_cap)
        table_grow(r);
    struct str k = r->keys[key];
    uint64_t hash = hash_bytes(k.p, k.n) ^ f->serial * UINT64_C(0x9E3779B97F4A7C15);
    size_t mask = r->table_cap - 1;
    size_t i = hash & mask;
    for (; r->table[i].serial != 0; i = (i + 1) & mask)
        if (r->table[i].hash == hash && r->table[i].serial == f->serial && str_eq(r->keys[r->table[i].key], k))
            return false;
    r->table[i] = (struct json_key_slot){hash, f->serial, (uint32_t)key};
    r->table_len++;
    return true;
}

bool keys_add(struct json_reader *r, struct json_frame *f, struct str key)
{
    size_t at = r->n_keys;
    if (!f->in_table) {
        f->in_table = true;
        f->serial = ++r->serial;
        for (size_t i = f->first_key; i < r->n_keys; i++)
            (void)table_add(r, f, i); /* known to differ */
    }
    r->keys[r->n_keys++] = key;
    return table_add(r, f, at);
}

void keys_reset(struct json_reader *r)
{
    if (r->table_cap > TABLE_KEEP) {
        mem_free(r->table);
        r->table = NULL;
        r->table_cap = 0;
    } else if (r->table_len > 0) {
        memset(r->table, 0, r->table_cap * sizeof *r->table);
    }
    r->table_len = 0;
}
