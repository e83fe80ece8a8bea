/* The bytes of a slot's blob: unsigned LEB128 numbers, doubles, and a reader that any input is safe for.
 * Inside common/stats only. */
#pragma once
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "base/buf.h"
#include "stats/counts.h"
#include "stats/sketch.h"

#define CODEC_COUNT_MAX (UINT64_C(1) << 53)

struct codec_in {
    const unsigned char *p, *end;
    bool bad; /* sticky; every read then gives 0 */
};

static inline void put_uint(struct buf *out, uint64_t v)
{
    unsigned char b[10];
    size_t n = 0;
    do {
        b[n] = (unsigned char)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
        v >>= 7;
        n++;
    } while (v);
    buf_add(out, b, n);
}
static inline void put_int(struct buf *out, int64_t v)
{
    put_uint(out, ((uint64_t)v << 1) ^ (v < 0 ? UINT64_MAX : 0));
}
static inline void put_raw_f64(struct buf *out, double v)
{
    uint64_t u;
    unsigned char b[8];
    memcpy(&u, &v, 8);
    for (size_t i = 0; i < 8; i++)
        b[i] = (unsigned char)(u >> (8 * i));
    buf_add(out, b, 8);
}
/* Whole numbers below 2^48 as 1 + zigzag, all others as 0 and their eight bytes. */
static inline void put_f64(struct buf *out, double v)
{
    if (fabs(v) < 0x1p48 && v == (double)(int64_t)v && !(v == 0 && signbit(v))) {
        int64_t i = (int64_t)v;
        put_uint(out, (((uint64_t)i << 1) ^ (i < 0 ? UINT64_MAX : 0)) + 1);
        return;
    }
    buf_addc(out, 0);
    put_raw_f64(out, v);
}

static inline uint64_t get_uint(struct codec_in *in)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (in->bad || in->p == in->end)
            break;
        uint64_t b = *in->p++;
        if (shift == 63 && b > 1)
            break;
        v |= (b & 0x7f) << shift;
        if (b < 0x80)
            return v;
    }
    in->bad = true;
    return 0;
}
/* A number above max makes the input bad. */
static inline uint64_t get_uint_max(struct codec_in *in, uint64_t max)
{
    uint64_t v = get_uint(in);
    if (v > max)
        in->bad = true;
    return in->bad ? 0 : v;
}
static inline int64_t unzigzag(uint64_t u)
{
    return (int64_t)((u >> 1) ^ (u & 1 ? UINT64_MAX : 0));
}
static inline unsigned get_byte(struct codec_in *in)
{
    if (in->bad || in->p == in->end) {
        in->bad = true;
        return 0;
    }
    return *in->p++;
}
static inline double get_raw_f64(struct codec_in *in)
{
    if (in->bad || in->end - in->p < 8) {
        in->bad = true;
        return 0;
    }
    uint64_t u = 0;
    for (size_t i = 0; i < 8; i++)
        u |= (uint64_t)in->p[i] << (8 * i);
    in->p += 8;
    double v;
    memcpy(&v, &u, 8);
    return v;
}
static inline double get_f64(struct codec_in *in)
{
    uint64_t u = get_uint_max(in, UINT64_C(1) << 50);
    return u == 0 ? get_raw_f64(in) : (double)unzigzag(u - 1);
}

/* with_range: also sum, min and max; else the reader is told them by the caller. */
void sketch_encode(const struct sketch *s, bool with_range, struct buf *out);
/* Reads one sketch and adds it to dst (NULL: checks only). The number of values read is in *ret_count; without range
 * dst's sum, min and max are left to the caller. False: bad. */
bool sketch_decode(struct sketch *dst, struct codec_in *in, bool with_range, uint64_t *ret_count);

enum decode_how {
    DECODE_CHECK, /* changes nothing: are these bytes counts of dst's kind and size? */
    DECODE_ADD,   /* adds them to dst; only after a check of the same bytes */
    DECODE_NEW,   /* dst is {0} and takes kind and size from the bytes */
};
/* False: bad bytes, or another kind or size than dst has. */
/* Adds n of one short text to a feature without a reference. */
void counts_track_text(struct feature_counts *c, struct str s, uint64_t n);
bool counts_decode(struct feature_counts *dst, struct codec_in *in, enum decode_how how);
