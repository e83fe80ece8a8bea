"""The judge: are the stores what the journal says, each event's effect once? It knows the wire forms and the documented
formats (slots' bytes, Parquet's columns, tables), and nothing of how the services work.

    lake      every acknowledged event's rows, each once, as they were sent; files by manifest, sizes and sums right
    slots     counts, bins and ranges equal what numpy counts on the Parquet rows
    windows   one for each (endpoint, period) with rows, of all its rows; nothing pending, outbox empty
    results   of the newest revision; drift equals what numpy makes of the Parquet rows and the training set
    letters   one row for each poisonous record
"""
import collections
import hashlib
import math

import numpy

import closed_reference
import journal
from slotbytes import slot_read, slot_sum

HOUR_US = 3_600_000_000
APP = "histogram-data-drift"
FEATURES, LABELS = ("a", "b"), ("y",)


class Report:
    def __init__(self):
        self.acked = self.lost = self.duplicated = self.phantom = 0
        self.faults = []

    def fault(self, text):
        self.faults.append(text)

    @property
    def ok(self):
        return not (self.lost or self.duplicated or self.phantom or self.faults)


class Setup:
    """What was set up through the api: uids, the training set of those that have one, the length of windows."""

    def __init__(self, period_us, training, slot_us=None):
        self.period_us, self.training = period_us, training  # {uid: {column: numpy array} or None}
        self.slot_us = slot_us or min(60_000_000, period_us)
        self.reference = {u: None if t is None else
                          {c: closed_reference.training_histogram(x) for c, x in t.items()} for u, t in training.items()}


class Rows:
    """The lake's rows, in columns, sorted by endpoint and time."""

    def __init__(self, pieces):
        names = ("endpoint_id", "request_id", "timestamp", "latency", "modelmon_row", "a", "b", "y")
        self.c = {n: numpy.concatenate([p[n] for p in pieces]) if pieces else numpy.array([]) for n in names}

    def __len__(self):
        return len(self.c["timestamp"])

    def groups(self, length_us):
        """{(uid, start): mask of rows}"""
        found = collections.defaultdict(list)
        if len(self):
            starts = self.c["timestamp"].astype(numpy.int64) // length_us * length_us
            for i, key in enumerate(zip(self.c["endpoint_id"], starts.tolist())):
                found[key].append(i)
        return {k: {n: v[numpy.array(i)] for n, v in self.c.items()} for k, i in found.items()}


def row_hash(uid, rid, when_us, row, a, b, y):
    text = f"{uid}|{rid}|{when_us}|{row}|{float(a)!r}|{float(b)!r}|{float(y)!r}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")


def read_lake(store, lake, report):
    pieces, named = [], set()
    for m in store.rows("SELECT path, rows, bytes, sha256, min_us, max_us FROM manifest"):
        if m["path"] in named:
            report.fault(f"{m['path']} is in the manifest twice")
            continue
        named.add(m["path"])
        try:
            columns, sha = lake.file(m["path"])
        except (OSError, ValueError) as e:
            report.fault(f"{m['path']} is in the manifest: {e}")
            continue
        if sha != m["sha256"] or len(columns["timestamp"]) != m["rows"]:
            report.fault(f"{m['path']} is not the file of the manifest")
        if (min(columns["timestamp"]), max(columns["timestamp"])) != (m["min_us"], m["max_us"]):
            report.fault(f"{m['path']} holds other times than the manifest says")
        pieces.append(columns)
    for path in sorted(lake.on_disk() - named)[:5]:
        report.fault(f"{path} is in no manifest: whoever reads the folders reads it")
    return Rows(pieces)


def check_lake(rows, sent, acked, report):
    """The journal against Parquet, row by row and by an order-free sum for each endpoint and hour."""
    seen, sums = collections.Counter(), collections.Counter()
    for uid, rid, when, row, a, b, y in zip(*(rows.c[n].tolist() for n in (
            "endpoint_id", "request_id", "timestamp", "modelmon_row", "a", "b", "y"))):
        event = sent.get(rid)
        if event is None or event.uid != uid or event.when_us != when or row >= len(event.inputs) or \
                [a, b, y] != [*map(float, event.inputs[row]), float(event.outputs[row])]:
            report.phantom += 1
            continue
        seen[rid, row] += 1
        sums[uid, when // HOUR_US] += row_hash(uid, rid, when, row, a, b, y)
    report.duplicated = sum(n - 1 for n in seen.values())
    wanted = collections.Counter()
    for rid, event in sent.items():
        have = sum((rid, i) in seen for i in range(len(event.inputs)))
        if have not in (0, len(event.inputs)) or (rid in acked and have == 0):
            report.lost += 1
        if have or rid in acked:
            for i, (x, y) in enumerate(zip(event.inputs, event.outputs)):
                wanted[event.uid, event.when_us // HOUR_US] += row_hash(event.uid, rid, event.when_us, i, *x, y)
    report.acked = len(acked)
    for key in wanted.keys() | sums.keys():
        if (wanted[key] - sums[key]) % 2**128:
            report.fault(f"the sum of {key[0]} in hour {key[1]} is another")


def recount(rows, histogram, name):
    """What a slot's column must hold of these values."""
    x = rows[name]
    want = {"n": len(x), "min": float(x.min()), "max": float(x.max()), "mean": float(x.mean()), "cells": []}
    if histogram is not None:
        edges = histogram[1]
        inner = numpy.searchsorted(edges, x, side="right") - 1
        want["cells"] = numpy.bincount(inner[(inner >= 0) & (inner < len(edges) - 1)], minlength=len(edges) - 1).tolist()
        want.update(under=int((x < edges[0]).sum()), at_max=int((x == edges[-1]).sum()), over=int((x > edges[-1]).sum()))
    return want


def compare_column(have, want, where, report):
    for key, value in want.items():
        close = math.isclose(have[key], value, rel_tol=1e-9, abs_tol=1e-9) if key == "mean" else have[key] == value
        if not close:
            report.fault(f"{where}: {key} is {have[key]}, the Parquet rows make {value}")
            return


def check_slots(store, rows, setup, report):
    read = collections.defaultdict(list)
    for s in store.rows("SELECT e.uid, s.slot_start_us, s.slot_us, s.requests, s.rows, s.errors, s.body FROM slots s "
                        "JOIN endpoints e ON e.id = s.endpoint_id"):
        slot = slot_read(s["body"])
        if (slot["requests"], slot["rows"], slot["errors"]) != (s["requests"], s["rows"], s["errors"]):
            report.fault(f"slot {s['uid']} {s['slot_start_us']}: its columns do not say what its bytes say")
        if s["slot_us"] != setup.slot_us:
            report.fault(f"slot {s['uid']} {s['slot_start_us']}: its length is {s['slot_us']}")
        read[s["uid"], s["slot_start_us"]].append(slot)
    groups = rows.groups(setup.slot_us)
    for key in read.keys() | groups.keys():
        where = f"slot {key[0]} {key[1]}"
        if key not in read or key not in groups:
            report.fault(f"{where}: {'only Parquet has rows' if key in groups else 'Parquet has no rows'}")
            continue
        have, mine = slot_sum(read[key]), groups[key]
        requests, first = numpy.unique(mine["request_id"].astype(str), return_index=True)
        want = {"requests": len(requests), "rows": len(mine["timestamp"]), "errors": 0, "estimated": float(len(mine["timestamp"])),
                "latency_sum": float(mine["latency"][first].sum())}
        for name, value in want.items():
            if have[name] != value:
                report.fault(f"{where}: {name} is {have[name]}, the Parquet rows make {value}")
        if sum(have["latency"].values()) != len(requests):
            report.fault(f"{where}: {sum(have['latency'].values())} latencies of {len(requests)} requests")
        reference = setup.reference.get(key[0])
        for column, name in zip(have["features"] + have["labels"], FEATURES + LABELS):
            compare_column(column, recount(mine, reference and reference[name], name), f"{where} {name}", report)


def check_windows(store, rows, setup, report):
    """{(uid, start): revision}"""
    found = {}
    for w in store.rows("SELECT e.uid, w.window_start_us, w.window_end_us, w.revision, w.rows, w.late_rows FROM windows w "
                        "JOIN endpoints e ON e.id = w.endpoint_id"):
        key = (w["uid"], w["window_start_us"])
        if key in found:
            report.fault(f"window {key} is there twice")
        if w["window_end_us"] - w["window_start_us"] != setup.period_us or w["late_rows"]:
            report.fault(f"window {key}: {w}")
        found[key] = w
    groups = {k: len(g["timestamp"]) for k, g in rows.groups(setup.period_us).items()}
    for key in found.keys() | groups.keys():
        have = found[key]["rows"] if key in found else None
        if have != groups.get(key, 0):
            report.fault(f"window {key[0]} {key[1]}: {have} rows, the Parquet files have {groups.get(key, 0)}")
    for table in ("pending_windows", "outbox"):
        left = store.rows(f"SELECT count(*) AS n FROM {table}")[0]["n"]
        if left:
            report.fault(f"{left} rows in {table}")
    return {k: w["revision"] for k, w in found.items()}


def drift_of(training, mine):
    """{name: (value, status)} as the documentation of histogram-data-drift has it."""
    features = {}
    for name in FEATURES + LABELS:
        features[name] = closed_reference.distances(*closed_reference.numeric_counts(training[name], mine[name]))
    mean = {d: sum(features[n][d] for n in FEATURES) / len(FEATURES) for d in ("tvd", "hellinger", "kld")}
    drift = min((mean["hellinger"] + mean["tvd"]) / 2, 1.0)
    label = min((features["y"]["hellinger"] + features["y"]["tvd"]) / 2, 1.0)
    made = {f"{d}_mean": (v, None) for d, v in mean.items()}
    made["general_drift"] = (drift, closed_reference.status(drift))
    made["prediction_drift"] = (label, closed_reference.status(label))
    return made


def number(value):
    """SQLite keeps NaN as bytes."""
    return math.nan if value is None or isinstance(value, (bytes, str)) else value


def check_results(store, rows, setup, revisions, report):
    found = collections.defaultdict(dict)
    for r in store.rows("SELECT e.uid, r.window_start_us, m.name, r.revision, r.value, r.status FROM results r JOIN metrics m "
                        "ON m.id = r.metric_id JOIN apps a ON a.id = m.app_id JOIN endpoints e ON e.id = r.endpoint_id "
                        f"WHERE a.name = '{APP}'"):
        found[r["uid"], r["window_start_us"]][r["name"]] = r
    groups = rows.groups(setup.period_us)
    for key in groups.keys() & revisions.keys():  # windows without rows are told to other apps
        where, have, revision = f"results of {key[0]} {key[1]}", found.pop(key, {}), revisions[key]
        training = setup.training.get(key[0])
        want = drift_of(training, groups[key]) if training else {"general_drift": (math.nan, -1)}
        if have.keys() != want.keys():
            report.fault(f"{where}: {sorted(have)} instead of {sorted(want)}")
            continue
        for name, (value, status) in want.items():
            r = have[name]
            same = math.isclose(number(r["value"]), value, rel_tol=1e-9, abs_tol=1e-9) or \
                (math.isnan(value) and math.isnan(number(r["value"])))
            if r["revision"] != revision or not same or (status is not None and r["status"] != status):
                report.fault(f"{where}: {name} is {r['value']} ({r['status']}, revision {r['revision']}); "
                             f"{value} ({status}, revision {revision}) is right")
    for key in list(found)[:5]:
        report.fault(f"results of {key}, a window that is not there")


def check_letters(store, poison, report):
    """A row for each poisonous record on the topic: as many as were acknowledged at least, and no more than were sent."""
    have = collections.Counter()
    for d in store.rows('SELECT topic, partition, "offset", reason, payload FROM dead_letters'):
        have[bytes(d["payload"]).decode(errors="replace"), d["reason"]] += 1
    for key in have.keys() | poison.keys():
        attempts, acked = poison.get(key, (0, 0))
        if not acked <= have[key] <= attempts:
            report.fault(f"dead letter {key[1]}: {have[key]} rows of a record acknowledged {acked} times in {attempts}: {key[0][:80]}")


def check(path, store, lake, setup):
    """Everything, now."""
    report = Report()
    sent, acked, poison = journal.read(path)
    rows = read_lake(store, lake, report)
    check_lake(rows, sent, acked, report)
    check_slots(store, rows, setup, report)
    revisions = check_windows(store, rows, setup, report)
    check_results(store, rows, setup, revisions, report)
    check_letters(store, poison, report)
    return report
