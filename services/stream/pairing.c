/* A list of halves in the order of their offsets, and a table of the newest half of each kind by key. A half stays in the
 * list as long as it would without a partner, so that the list depends on the last offsets alone; only its record goes. */
#include <string.h>
#include "base/map.h"
#include "base/mem.h"
#include "pairing.h"

#define OVERHEAD 192 /* bytes a half costs beside its record */
#define KEY_BYTES 17

struct entry {
    struct entry *next;
    char key[KEY_BYTES];
    struct half half;
    size_t bytes; /* of the record: counts on when the record is gone */
    bool settled; /* has a partner, or another half of its kind came after it */
};
struct pairing {
    int64_t records, wait_us;
    size_t bytes_max, bytes, waiting;
    struct entry *first, *last, *partner; /* partner: of the last half, while that is the newest record */
    enum pairing_outcome outcome;         /* of the last half */
    struct map newest;                    /* key and kind → entry */
};

struct pairing *pairing_new(int64_t records, int64_t wait_us, size_t bytes)
{
    struct pairing *p = mem_alloc(sizeof *p);
    p->records = records;
    p->wait_us = wait_us;
    p->bytes_max = bytes;
    return p;
}

static void drop_record(struct entry *e)
{
    mem_free((char *)(uintptr_t)e->half.record.p);
    e->half.record = (struct str){NULL, 0};
}

void pairing_free(struct pairing *p)
{
    if (!p)
        return;
    for (struct entry *e = p->first; e;) {
        struct entry *next = e->next;
        drop_record(e);
        mem_free(e);
        e = next;
    }
    map_done(&p->newest);
    mem_free(p);
}

static struct str key_of(char out[KEY_BYTES], const uint64_t key[2], bool is_request)
{
    memcpy(out, key, 16);
    out[16] = is_request ? 'q' : 's';
    return (struct str){out, KEY_BYTES};
}

static void settle(struct pairing *p, struct entry *e)
{
    p->waiting -= e->settled ? 0 : 1;
    e->settled = true;
}

static bool is_over(const struct pairing *p, const struct entry *e, int64_t offset, int64_t timestamp_us)
{
    return offset - e->half.offset > p->records || timestamp_us - e->half.timestamp_us > p->wait_us;
}

static struct entry *append(struct pairing *p, const struct half *half)
{
    struct entry *e = mem_alloc(sizeof *e);
    char *copy = mem_alloc(half->record.n + 1);
    memcpy(copy, half->record.p, half->record.n);
    e->half = *half;
    e->half.record.p = copy;
    e->bytes = half->record.n + OVERHEAD;
    p->bytes += e->bytes;
    p->waiting++;
    if (p->last)
        p->last->next = e;
    else
        p->first = e;
    p->last = e;
    return e;
}

enum pairing_outcome pairing_add(struct pairing *p, const uint64_t key[2], const struct half *half, struct half *other)
{
    char room[KEY_BYTES];
    if (!p->last || p->last->half.offset != half->offset) {
        struct entry *first = map_get(&p->newest, key_of(room, key, !half->is_request));
        if (first && is_over(p, first, half->offset, half->timestamp_us))
            first = NULL;
        struct entry *e = append(p, half);
        struct str own = key_of(e->key, key, half->is_request);
        struct entry *older = map_put(&p->newest, own, e);
        if (older)
            settle(p, older);
        p->outcome = !first ? PAIRING_WAITS : first->settled ? PAIRING_REPEAT : PAIRING_MADE;
        p->partner = p->outcome == PAIRING_MADE ? first : NULL;
        if (first) {
            settle(p, first);
            settle(p, e);
        }
    }
    if (p->outcome == PAIRING_MADE)
        *other = p->partner->half;
    return p->outcome;
}

void pairing_forget(struct pairing *p, const uint64_t key[2])
{
    char room[KEY_BYTES];
    (void)map_del(&p->newest, key_of(room, key, true));
    (void)map_del(&p->newest, key_of(room, key, false));
}

void pairing_pass(struct pairing *p, int64_t offset, int64_t timestamp_us,
                  void (*left)(void *arg, const struct half *half), void *arg)
{
    if (p->partner)
        drop_record(p->partner);
    p->partner = NULL;
    if (p->last && p->last->settled)
        drop_record(p->last);
    while (p->first && (p->bytes > p->bytes_max || is_over(p, p->first, offset, timestamp_us))) {
        struct entry *e = p->first;
        struct str key = {e->key, KEY_BYTES};
        if (!e->settled)
            left(arg, &e->half);
        settle(p, e);
        if (map_get(&p->newest, key) == e)
            (void)map_del(&p->newest, key);
        p->first = e->next;
        if (p->last == e)
            p->last = NULL;
        p->bytes -= e->bytes;
        drop_record(e);
        mem_free(e);
    }
}

size_t pairing_waiting(const struct pairing *p)
{
    return p->waiting;
}

size_t pairing_bytes(const struct pairing *p)
{
    return p->bytes;
}
