/* Strings inside JSON text: where they end, what they hold, whether they are UTF-8. Inside json/ only. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "json/reader.h"

/* Eight bytes, the first in the lowest byte. */
static inline uint64_t scan_load8(const char *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
}

#ifdef __SSE2__
#include <emmintrin.h>

/* A bit for each of the 16 bytes at p that is quote, backslash, control or not ASCII. */
static inline unsigned scan_special16(const char *p)
{
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i quote = _mm_cmpeq_epi8(v, _mm_set1_epi8('"')), slash = _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'));
    __m128i low = _mm_cmplt_epi8(v, _mm_set1_epi8(0x20)); /* signed: control or not ASCII */
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, slash), low));
}
#endif

/* The closing quote of a string whose first byte is p, if it is short and plain; else NULL, which says nothing. */
static inline const char *scan_short(const char *p, const char *end)
{
#ifdef __SSE2__
    if (end - p >= 16) {
        unsigned special = scan_special16(p);
        const char *stop = p + (special ? __builtin_ctz(special) : 0);
        return special && *stop == '"' ? stop : NULL;
    }
#else
    (void)p;
    (void)end;
#endif
    return NULL;
}

/* Looks for the closing quote of the string whose first byte is p. JSON_OK: *stop is at the quote and *escapes says
 * whether scan_unescape is needed. Else *stop is the offending byte. */
enum json_error scan_string(const char *p, const char *end, const char **stop, bool *escapes);
/* Writes what a scanned string means; out holds n bytes. Returns the length. */
size_t scan_unescape(const char *p, size_t n, char *out);
/* The length of the UTF-8 sequence at p (1 to 4), or 0 if it is none. */
size_t scan_utf8(const char *p, const char *end);
