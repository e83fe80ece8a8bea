#!/usr/bin/env python3
"""The strict JSON reader against Python's json module: the same verdict and the same values.

    tests/fuzz/oracle_json.py [--mutants N] [--seed S]     (build/fuzz/tests/fuzz/fuzz_json must be built)

Runs the corpus, JSON files of the tests, and N mutants of them (default 5000) through fuzz_json, which writes a verdict
and, for what it takes, the document as it prints it. Python is made strict where its module is not: duplicate keys, lone
surrogates, U+0000, numbers that are no finite double, bytes that are no UTF-8. Exit 1 if any verdict or value differs.
"""
import argparse
import json
import math
import os
import pathlib
import random
import subprocess
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parents[2]
TARGET = TOP / "build/fuzz/tests/fuzz/fuzz_json"
LIMITS = {"depth", "values", "bytes", "string_bytes", "keys"}  # Python has none of ours
PIECES = [b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\u", b"\\ud83d\\ude00", b"\\u0000", b"0", b"-", b".", b"e",
          b"1e308", b"1e309", b"NaN", b"null", b"true", b" ", b"\n", b"\t", b"\x00", b"\x1f", b"\x7f", b"\xff",
          b"\xc3\xa9", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"/", b"'"]


class Refused(Exception):
    pass


def no_duplicates(pairs):
    keys = [key for key, _ in pairs]
    if len(set(keys)) != len(keys):
        raise Refused("duplicate key")
    return dict(pairs)


def finite(text):
    value = float(text)
    if not math.isfinite(value):
        raise Refused("range")
    return value


def whole(text):
    finite(text)
    return float(text) if text.startswith("-0") else int(text)


def constant(_):
    raise Refused("NaN")


def check_strings(value):
    if isinstance(value, str):
        if "\0" in value or any("\ud800" <= c <= "\udfff" for c in value):
            raise Refused("string")
    elif isinstance(value, list):
        for item in value:
            check_strings(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            check_strings(key)
            check_strings(item)


def python_reads(data):
    """(True, value) or (False, reason)."""
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=no_duplicates, parse_float=finite, parse_int=whole,
                           parse_constant=constant)
        check_strings(value)
        return True, value
    except (Refused, ValueError, RecursionError, OverflowError) as error:
        return False, str(error)


def same(a, b):
    """Equal as JSON values; an integer beyond 64 bits counts as the double it is read as."""
    if isinstance(a, bool) or isinstance(b, bool) or a is None or b is None:
        return a is b
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        if isinstance(a, int) and not -(2**63) <= a < 2**63:
            a = float(a)
        return a == b and math.copysign(1, a) == math.copysign(1, b)
    if type(a) is not type(b):
        return False
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    return a == b


def fnv(data):
    value = 14695981039346656037
    for byte in data:
        value = (value ^ byte) * 1099511628211 % 2**64
    return f"{value:016x}"


def seeds():
    files = sorted((TOP / "tests/fuzz/corpus").glob("*/*"))
    return [data for data in (f.read_bytes() for f in files) if len(data) < 60000]


def mutant(rng, pool):
    data = bytearray(rng.choice(pool)[:4000])
    for _ in range(rng.randint(1, 3)):
        at = rng.randint(0, len(data))
        action = rng.randrange(5)
        if action == 0:
            data[at:at] = rng.choice(PIECES)
        elif action == 1:
            del data[at:at + rng.randint(1, 4)]
        elif action == 2 and at < len(data):
            data[at] = rng.randrange(256)
        elif action == 3 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        else:
            other = rng.choice(pool)
            start = rng.randint(0, len(other))
            data[at:at] = other[start:start + rng.randint(1, 20)]
    return bytes(data)


def verdicts(texts, folder):
    """What fuzz_json says of each: {hash: (word, printed document)}."""
    found = {}
    for start in range(0, len(texts), 1000):
        names = []
        for i, data in enumerate(texts[start:start + 1000]):
            name = os.path.join(folder, f"{start + i:07d}")
            pathlib.Path(name).write_bytes(data)
            names.append(name)
        log = os.path.join(folder, f"verdicts-{start}")
        run = subprocess.run([TARGET, *names], env={**os.environ, "VERDICTS": log}, capture_output=True)
        if run.returncode != 0:
            sys.stderr.write(run.stderr.decode(errors="replace")[-4000:])
            sys.exit(f"fuzz_json failed with {run.returncode}")
        for line in pathlib.Path(log).read_bytes().splitlines():
            key, word, *rest = line.split(b" ", 2)
            found[key.decode()] = word.decode(), rest[0] if rest else b""
        for name in names:
            os.unlink(name)
    return found


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--mutants", type=int, default=5000)
    options.add_argument("--seed", type=int, default=1)
    args = options.parse_args()
    pool = seeds()
    rng = random.Random(args.seed)
    texts = pool + [mutant(rng, pool) for _ in range(args.mutants)]
    with tempfile.TemporaryDirectory() as folder:
        found = verdicts(texts, folder)
    wrong = limited = taken = 0
    for data in texts:
        word, printed = found[fnv(data)]
        ok, value = python_reads(data)
        if word in LIMITS:
            limited += 1
            continue
        taken += word == "taken"
        if ok != (word == "taken") or (ok and not same(value, json.loads(printed, parse_int=whole))):
            wrong += 1
            print(f"differs: {data[:200]!r}: ours {word} {printed[:100]!r}, Python {ok} {str(value)[:100]}")
    print(f"{len(texts)} texts (seed {args.seed}): {taken} taken, {limited} beyond our limits, {wrong} differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
