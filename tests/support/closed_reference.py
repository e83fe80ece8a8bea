#!/usr/bin/env python3
"""Drift with closed edges, computed apart from the C code, with numpy alone.

closed_reference.py VECTORS OUT: reads the cases of histogram_vectors.json, writes what `closed` mode must give.
NaN is null. Labels are the columns p0 and label. One row is enough (min_samples 1).
"histograms": np.histogram(x, bins=20) of columns whose values are numpy's own edges and their neighbours.
"""
import collections
import json
import math
import sys

import numpy as np

LABELS = {"p0", "label"}
WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
POTENTIAL, DETECTED = 0.5, 0.7


def column(values, dtype):
    """Numbers of a column as doubles, or its texts as they are."""
    if dtype == "object" or dtype.startswith("datetime"):
        return values
    return np.array([WORDS[v] if isinstance(v, str) else float(v) for v in values], dtype=np.float64)


def training_histogram(x):
    np.seterr(over="ignore")
    finite = x[np.isfinite(x)]
    if np.isfinite(finite.max() - finite.min()):
        return np.histogram(finite, bins=20)
    share = np.arange(21) / 20  # the range overflows: a weighted mean of both ends
    edges = finite.min() * (1 - share) + finite.max() * share
    return np.histogram(finite, edges)


def outer_counts(x, edges):
    """Below, the bins with the last one closed, above; infinities are outside, NaN nowhere."""
    x = x[~np.isnan(x)]
    inside, _ = np.histogram(x[np.isfinite(x)], edges)
    return np.concatenate([[np.sum(x < edges[0])], inside, [np.sum(x > edges[-1])]])


def numeric_counts(train, sample):
    counts, edges = training_histogram(train)
    low, high = np.sum(train == -np.inf), np.sum(train == np.inf)
    return np.concatenate([[low], counts, [high]]), outer_counts(sample, edges)


def text_counts(train, sample):
    seen, now = collections.Counter(train), collections.Counter(sample)
    names = sorted(seen)
    other = sum(n for text, n in now.items() if text not in seen)
    return np.array([seen[n] for n in names] + [0]), np.array([now[n] for n in names] + [other])


def kl(p, q):
    total = 0.0
    for a, b in zip(p, q):
        if a:
            total += a * math.log(a / (b or 1e-4))
    return total


def distances(train, sample):
    u, t = train / train.sum(), sample / sample.sum()
    return {
        "tvd": min(float(np.abs(t - u).sum() / 2), 1.0),
        "hellinger": math.sqrt(max(1 - float(np.sqrt(t * u).sum()), 0)),
        "kld": kl(t, u) + kl(u, t),
    }


def feature(case, name):
    if name not in case["sample"]:
        return {"outcome": "missing_column"}
    dtype = case["train_dtypes"][name]
    train = column(case["train"][name], dtype)
    sample = column(case["sample"][name], case["sample_dtypes"][name])
    if len(sample) == 0:
        return {"outcome": "no_samples"}
    ref, now = (text_counts if dtype == "object" else numeric_counts)(train, sample)
    if now.sum() == 0:
        return {"outcome": "all_missing"}
    return {"outcome": "ok", "counts": [int(n) for n in now], **distances(ref, now)}


def mean(features, key):
    values = [f[key] for f in features if f["outcome"] == "ok"]
    return math.fsum(values) / len(values) if values else None


def general(features):
    h, t = mean(features, "hellinger"), mean(features, "tvd")
    return None if h is None else min((h + t) / 2, 1.0)


def status(value):
    if value is None:
        return -1
    return 2 if value >= DETECTED else 1 if value >= POTENTIAL else 0


def expected(case):
    features = {name: feature(case, name) for name in case["train"]}
    inputs = [f for name, f in features.items() if name not in LABELS]
    labels = [f for name, f in features.items() if name in LABELS]
    rows = max((len(v) for v in case["sample"].values()), default=0)
    drift, prediction = general(inputs), general(labels)
    reason = "insufficient_samples" if rows < 1 else "no_comparable_feature" if drift is None else ""
    return {
        "name": case["name"],
        "features": features,
        **{f"{d}_mean": mean(inputs, d) for d in ("tvd", "hellinger", "kld")},
        "general_drift": drift,
        "status": status(None if reason else drift),
        "reason": reason,
        "prediction_drift": prediction,
        "prediction_status": status(prediction),
    }


def histograms():
    """Where the index that numpy computes is one off and its corrections have to act."""
    rng = np.random.default_rng(7)
    for scale in (1.0, 0.1, 3.0, 1e-300, 1e300, 7e-5, 1e15, 1 / 3):
        low, high = np.sort(rng.normal(size=2)) * scale
        edges = np.histogram_bin_edges([low, high], bins=20)
        x = np.concatenate([edges, np.nextafter(edges[1:], -np.inf), np.nextafter(edges[:-1], np.inf)])
        counts, edges = np.histogram(x, bins=20)
        yield {"x": x.tolist(), "counts": counts.tolist(), "edges": edges.tolist()}


def main(vectors, out):
    with open(vectors, encoding="utf-8") as f:
        cases = json.load(f)["cases"]
    with open(out, "w", encoding="utf-8") as f:
        result = {"cases": [expected(c) for c in cases], "histograms": list(histograms())}
        json.dump(result, f, indent=1, allow_nan=False)
        f.write("\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
