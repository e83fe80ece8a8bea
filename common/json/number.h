/* JSON's number grammar from text to a correctly rounded double. Inside json/ only. */
#pragma once
#include <stdbool.h>
#include "json/reader.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum number_result { NUMBER_OK, NUMBER_BAD, NUMBER_EOF, NUMBER_RANGE };

/* Reads the number that starts at p ('-' or a digit). *stop: behind it, or where it went wrong. */
enum number_result number_read(const char *p, const char *end, struct json_number *ret, const char **stop);
/* The same grammar, without a value: NUMBER_RANGE is found too. */
enum number_result number_check(const char *p, const char *end, const char **stop);

#ifdef __SSE2__
/* A bit for each of the 16 bytes at p that is no digit. */
static inline unsigned number_others16(const char *p)
{
    __m128i v = _mm_sub_epi8(_mm_loadu_si128((const __m128i *)(const void *)p), _mm_set1_epi8('0'));
    __m128i nine = _mm_set1_epi8(9);
    return 0xFFFFu ^ (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_max_epu8(v, nine), nine));
}
#endif

/* Where the digits at p end. A double's 17 in one step: how many there are is what a branch predictor cannot know. */
static inline const char *number_digits(const char *p, const char *end)
{
#ifdef __SSE2__
    while (end - p >= 32) {
        unsigned other = number_others16(p) | number_others16(p + 16) << 16;
        if (other)
            return p + __builtin_ctz(other);
        p += 32;
    }
#endif
    while (p < end && (unsigned char)(*p - '0') < 10)
        p++;
    return p;
}

/* Behind the number at p if it is one without an exponent, too short to be out of range; else NULL, which says nothing. */
static inline const char *number_plain(const char *p, const char *end)
{
    const char *start = p, *digits;
    if (p < end && *p == '-')
        p++;
    digits = p;
    p = number_digits(p, end);
    if (p == digits || (*digits == '0' && p - digits > 1))
        return NULL;
    if (p < end && *p == '.') {
        digits = ++p;
        p = number_digits(p, end);
        if (p == digits)
            return NULL;
    }
    return p - start <= 300 && p < end && (*p | 0x20) != 'e' ? p : NULL;
}
