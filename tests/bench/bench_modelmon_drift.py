#!/usr/bin/env python3
"""`modelmon drift` on a million rows of 20 columns, as Parquet and as CSV: CPU seconds of the whole command, all threads, least of 3.

Each feature's distances must be numpy's over the same values, else the line is not ok whatever it took.
"""
import json
import os
import subprocess
import sys
import tempfile

import mm
import numpy as np
import pyarrow
import pyarrow.csv
import pyarrow.parquet
from yardstick_numpy import distances, with_outer

ROWS, TRAIN_ROWS, COLUMNS, ROUNDS = (20_000 if os.environ.get("MM_BENCH_SMOKE") else 1_000_000), 10_000, 20, 3
BARS = {"parquet": 1.0, "csv": 3.0}
WRITERS = {"parquet": pyarrow.parquet.write_table, "csv": pyarrow.csv.write_csv}
NAMES = [f"f{i}" for i in range(COLUMNS)]


def numpy_says(train, sample):
    """{name: (tvd, hellinger, kld)}"""
    said = {}
    for name, x, y in zip(NAMES, train, sample):
        reference, edges = np.histogram(x, bins=20)
        counts, _ = np.histogram(y, edges)
        said[name] = distances(with_outer(y, counts, edges), np.concatenate([[0], reference, [0]]))
    return said


def cpu_of(*args):
    """(CPU seconds, the answer)"""
    with subprocess.Popen([os.path.join(mm.BIN, "modelmon"), "drift", "--json", *args], stdout=subprocess.PIPE) as child:
        answer = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"modelmon drift ended with {child.returncode}")
    return usage.ru_utime + usage.ru_stime, json.loads(answer)


def is_right(answer, said):
    return set(answer["features"]) == set(said) and all(
        abs(answer["features"][name][kind] - value) <= (2e-8 if kind == "hellinger" else 1e-9)
        for name, values in said.items() for kind, value in zip(("tvd", "hellinger", "kld"), values))


def main():
    rng = np.random.default_rng(42)
    train, sample = rng.normal(size=(COLUMNS, TRAIN_ROWS)), rng.normal(loc=0.2, size=(COLUMNS, ROWS))
    said, fine = numpy_says(train, sample), True
    with tempfile.TemporaryDirectory(dir=os.environ.get("MM_TEST_DIR")) as folder:
        for kind, write in WRITERS.items():
            paths = [os.path.join(folder, f"{part}.{kind}") for part in ("train", "sample")]
            for path, data in zip(paths, (train, sample)):
                write(pyarrow.table(dict(zip(NAMES, data))), path)
            taken = [cpu_of("--reference", paths[0], "--sample", paths[1]) for _ in range(ROUNDS)]
            right = all(is_right(answer, said) for _, answer in taken)
            seconds = min(t for t, _ in taken)
            print(json.dumps({"bench": f"modelmon_drift_{kind}", "value": round(seconds, 3), "unit": "CPU s", "yardstick": None,
                              "ratio": None, "bar": BARS[kind], "ok": right and seconds <= BARS[kind]}), flush=True)
            if not right:
                print(f"# {kind}: the distances are not numpy's", file=sys.stderr)
            fine = fine and right
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
