/* SipHash (Aumasson, Bernstein): 1-3 with a random key for tables, 2-4 with 128 bits out for names. */
#include <pthread.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/map.h"

struct sip {
    uint64_t v0, v1, v2, v3;
};

/* Set once per process and never changed. */
static uint64_t process_key[2];
static pthread_once_t process_key_once = PTHREAD_ONCE_INIT;

static void make_process_key(void)
{
    if (getrandom(process_key, sizeof process_key, 0) == (ssize_t)sizeof process_key)
        return;
    process_key[0] = (uint64_t)clock_now_us();
    process_key[1] = (uint64_t)(uintptr_t)&process_key ^ (uint64_t)clock_mono_us();
}

static inline uint64_t rotl(uint64_t x, int n)
{
    return (x << n) | (x >> (64 - n));
}

static inline void sip_rounds(struct sip *s, int rounds)
{
    for (int i = 0; i < rounds; i++) {
        s->v0 += s->v1;
        s->v1 = rotl(s->v1, 13) ^ s->v0;
        s->v0 = rotl(s->v0, 32);
        s->v2 += s->v3;
        s->v3 = rotl(s->v3, 16) ^ s->v2;
        s->v0 += s->v3;
        s->v3 = rotl(s->v3, 21) ^ s->v0;
        s->v2 += s->v1;
        s->v1 = rotl(s->v1, 17) ^ s->v2;
        s->v2 = rotl(s->v2, 32);
    }
}

static inline uint64_t load_le(const unsigned char *p, size_t n)
{
    uint64_t x = 0;
    for (size_t i = 0; i < n; i++)
        x |= (uint64_t)p[i] << (8 * i);
    return x;
}

static inline uint64_t load_le8(const unsigned char *p)
{
    uint64_t x;
    memcpy(&x, p, sizeof x);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    x = __builtin_bswap64(x);
#endif
    return x;
}

static inline void sip_init(struct sip *s, uint64_t k0, uint64_t k1)
{
    s->v0 = UINT64_C(0x736f6d6570736575) ^ k0;
    s->v1 = UINT64_C(0x646f72616e646f6d) ^ k1;
    s->v2 = UINT64_C(0x6c7967656e657261) ^ k0;
    s->v3 = UINT64_C(0x7465646279746573) ^ k1;
}

static inline void sip_eat(struct sip *s, const unsigned char *p, size_t n, int rounds)
{
    size_t at = 0;
    for (; at + 8 <= n; at += 8) {
        uint64_t m = load_le8(p + at);
        s->v3 ^= m;
        sip_rounds(s, rounds);
        s->v0 ^= m;
    }
    uint64_t last = (uint64_t)(n & 0xff) << 56 | load_le(p + at, n - at);
    s->v3 ^= last;
    sip_rounds(s, rounds);
    s->v0 ^= last;
}

uint64_t hash_bytes(const void *p, size_t n)
{
    (void)pthread_once(&process_key_once, make_process_key); /* fails only for a bad once_t */
    struct sip s;
    sip_init(&s, process_key[0], process_key[1]);
    sip_eat(&s, p, n, 1);
    s.v2 ^= 0xff;
    sip_rounds(&s, 3);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

/* The key is part of the contract: names made from these hashes must never change. */
void hash128(const void *p, size_t n, uint64_t ret[2])
{
    struct sip s;
    sip_init(&s, UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908));
    s.v1 ^= 0xee;
    sip_eat(&s, p, n, 2);
    s.v2 ^= 0xee;
    sip_rounds(&s, 4);
    ret[0] = s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
    s.v1 ^= 0xdd;
    sip_rounds(&s, 4);
    ret[1] = s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
