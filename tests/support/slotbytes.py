"""The bytes of a slot, read as their format is described (common/stats: slot.c, counts_codec.c, sketch.c), apart from the C code:
the other opinion."""
import math
import struct


class Bytes:
    def __init__(self, data):
        self.data, self.at = bytes(data), 0

    def byte(self):
        self.at += 1
        return self.data[self.at - 1]

    def take(self, n):
        assert self.at + n <= len(self.data), "cut"
        self.at += n
        return self.data[self.at - n:self.at]

    def uint(self):
        value = shift = 0
        while True:
            b = self.byte()
            value |= (b & 127) << shift
            shift += 7
            if b < 128:
                return value

    @staticmethod
    def signed(u):
        return u >> 1 ^ -(u & 1)

    def number(self):
        u = self.uint()
        return struct.unpack("<d", self.take(8))[0] if u == 0 else float(self.signed(u - 1))

    def masked(self, n):
        mask = self.byte()
        assert mask >> n == 0
        return [self.uint() if mask >> i & 1 else 0 for i in range(n)]

    def sketch(self):
        buckets, key = {}, None
        for _ in range(self.uint()):
            key = self.signed(self.uint()) if key is None else key + self.uint() + 1
            buckets[key] = self.uint()
        return buckets

    def column(self):
        head = self.byte()
        kind = ("none", "numeric", "categorical")[head & 3]
        cells = [0] * (0 if kind == "none" else self.uint())
        c = {"kind": kind, "cells": cells, "n": 0, "texts": {}, "other_texts": 0, "long_texts": [0] * 8, "sketch": {},
             "mean": math.nan, "m2": 0.0, "min": math.inf, "max": -math.inf}
        if head & 4:
            at = 0
            for _ in range(self.uint()):
                at += self.uint()
                cells[at] = self.uint()
                at += 1
        special = self.masked(7) if head & 8 else [0] * 7
        c.update(zip(("under", "at_max", "over", "neg_inf", "pos_inf", "missing", "wrong_type"), special))
        if head & 32:
            c["other_texts"] = self.uint()
            c["long_texts"] = self.masked(8)
            for _ in range(self.uint() if kind == "none" else 0):
                text = self.take(self.uint()).decode()
                c["texts"][text] = self.uint()
        if head & 64:
            c["sketch"] = self.sketch()
        if head & 16:
            c["n"] = sum(cells) + sum(special[:3]) if kind == "numeric" else sum(c["sketch"].values())
            c["mean"] = self.number()
            c["min"] = c["max"] = c["mean"]
            if c["n"] > 1:
                c["m2"], c["min"], c["max"] = self.number(), self.number(), self.number()
        return c


def slot_read(body):
    """One slot's bytes."""
    b = Bytes(body)
    assert b.byte() == 1, "format"
    s = {"requests": b.uint(), "rows": b.uint(), "errors": b.uint(), "estimated": b.number(), "latency": b.sketch()}
    calls = sum(s["latency"].values())
    s["latency_sum"] = b.number() if calls else 0.0
    if calls > 1:
        b.number(), b.number()
    n_features, n_labels = b.uint(), b.uint()
    s["features"] = [b.column() for _ in range(n_features)]
    s["labels"] = [b.column() for _ in range(n_labels)]
    assert b.at == len(b.data), "bytes behind the slot"
    return s


def add_dict(to, more):
    for key, n in more.items():
        to[key] = to.get(key, 0) + n


def column_add(a, b):
    assert a["kind"] == b["kind"] and len(a["cells"]) == len(b["cells"])
    n = a["n"] + b["n"]
    if b["n"]:
        a["mean"] = b["mean"] if not a["n"] else (a["mean"] * a["n"] + b["mean"] * b["n"]) / n
    a["cells"] = [x + y for x, y in zip(a["cells"], b["cells"])]
    a["long_texts"] = [x + y for x, y in zip(a["long_texts"], b["long_texts"])]
    a["n"], a["min"], a["max"] = n, min(a["min"], b["min"]), max(a["max"], b["max"])
    for key in ("under", "at_max", "over", "neg_inf", "pos_inf", "missing", "wrong_type", "other_texts"):
        a[key] += b[key]
    add_dict(a["texts"], b["texts"])
    add_dict(a["sketch"], b["sketch"])


def slot_sum(slots):
    """What readers make of them: their sum, or None."""
    total = None
    for s in slots:
        if total is None:
            total = s
            continue
        for key in ("requests", "rows", "errors", "estimated", "latency_sum"):
            total[key] += s[key]
        add_dict(total["latency"], s["latency"])
        assert len(total["features"]) == len(s["features"]) and len(total["labels"]) == len(s["labels"])
        for a, b in zip(total["features"] + total["labels"], s["features"] + s["labels"]):
            column_add(a, b)
    return total
