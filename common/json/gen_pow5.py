#!/usr/bin/env python3
"""Writes pow5.inc: the leading 128 bits of 5**q for q = -342 .. 308, for number.c.

Each row is 5**q times the power of two that puts it into [2**127, 2**128), as two 64-bit halves.
For q >= 0 the rest is cut off. For q < 0 it is cut off too below -27; from -27 on, where one more bit
decides ties, it is rounded up. tests/unit/test_json_number.c checks what number.c makes of it.
"""
import sys

FIRST, LAST = -342, 308


def leading_bits(q: int) -> int:
    if q >= 0:
        power = 5**q
        shift = power.bit_length() - 128
        return power >> shift if shift >= 0 else power << -shift
    power = 5**-q
    bits = (power - 1).bit_length()  # smallest with 2**bits >= power
    if q >= -27:
        return (1 << (bits + 127)) // power + 1
    exact = (1 << (2 * bits + 128)) // power + 1
    return exact >> (exact.bit_length() - 128)


def main(out) -> None:
    out.write("/* Written by gen_pow5.py: leading 128 bits of 5**q, q = %d .. %d. */\n" % (FIRST, LAST))
    for q in range(FIRST, LAST + 1):
        c = leading_bits(q)
        assert 1 << 127 <= c < 1 << 128
        out.write("    {UINT64_C(0x%016x), UINT64_C(0x%016x)},\n" % (c >> 64, c & (2**64 - 1)))


main(sys.stdout)
