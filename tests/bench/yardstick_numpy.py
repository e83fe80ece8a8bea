#!/usr/bin/env python3
"""What bench_drift is measured against: numpy with given edges, from columns in memory to the three distances.

yardstick_numpy.py [--rows N] [--columns N] [--out DIR]: prints JSON lines {"yardstick", "value", "unit"} of CPU time in this process,
one thread. With --out it leaves there the data, one column after the other, as doubles (columns.f64), the training data (train.f64, 10 000
rows a column), numpy's edges (edges.f64) and its counts of every column, outer bins first and last (counts.i64).
"""
import argparse
import json
import os
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
import numpy as np  # noqa: E402  after the variables

TRAIN_ROWS = 10_000
ROUNDS = 3


def kl(p, q):
    there = p != 0
    return float(np.sum(p[there] * np.log(p[there] / np.where(q[there] != 0, q[there], 1e-4))))


def distances(counts, reference):
    t, u = counts / counts.sum(), reference / reference.sum()
    return (np.sum(np.abs(t - u)) / 2, np.sqrt(max(1 - np.sum(np.sqrt(t * u)), 0)), kl(t, u) + kl(u, t))


def with_outer(x, counts, edges):
    return np.concatenate([[np.count_nonzero(x < edges[0])], counts, [np.count_nonzero(x > edges[-1])]])


def best(work):
    """Least CPU seconds of a few rounds, and what the work gave."""
    least = None
    for _ in range(ROUNDS):
        start = time.process_time()
        result = work()
        took = time.process_time() - start
        least = took if least is None else min(least, took)
    return least, result


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--rows", type=int, default=1_000_000)
    args.add_argument("--columns", type=int, default=20)
    args.add_argument("--out")
    args = args.parse_args()
    rng = np.random.default_rng(42)
    train = rng.normal(size=(args.columns, TRAIN_ROWS))
    data = rng.normal(loc=0.2, size=(args.columns, args.rows))
    data[:, :: max(args.rows // 1000, 1)] = train[:, :1]
    reference = [np.histogram(c, bins=20) for c in train]

    def rows():
        found, drift = [], []
        for x, (ref, edges) in zip(data, reference):
            counts, _ = np.histogram(x, edges)
            found.append(with_outer(x, counts, edges))
            drift.append(distances(found[-1], np.concatenate([[0], ref, [0]])))
            x.mean(), x.std(ddof=1), x.min(), x.max()
        return found, np.mean(drift, axis=0)

    seconds, (found, _) = best(rows)
    one, ref = found[0], np.concatenate([[0], reference[0][0], [0]])
    many, _ = best(lambda: [distances(one, ref) for _ in range(2000)])
    print(json.dumps({"yardstick": f"drift_rows_{args.rows}x{args.columns}", "value": seconds, "unit": "CPU s"}))
    print(json.dumps({"yardstick": "drift_counts", "value": many / 2000 * 1e6, "unit": "us"}))
    if args.out:
        os.makedirs(args.out, exist_ok=True)
        data.tofile(os.path.join(args.out, "columns.f64"))
        train.tofile(os.path.join(args.out, "train.f64"))
        np.array([edges for _, edges in reference]).tofile(os.path.join(args.out, "edges.f64"))
        np.array(found, dtype=np.int64).tofile(os.path.join(args.out, "counts.i64"))


if __name__ == "__main__":
    main()
