"""The numbers: streamed counts against numpy on the Parquet rows, bin by bin; MLRun's own drift application on the same rows."""
import json
import math
import os
import subprocess
import sys

import numpy
import pandas
import pytest

import mm
import serving
import system

PERIOD_US = 60_000_000
START = mm.now_us() // PERIOD_US * PERIOD_US - 5 * PERIOD_US
NUMERIC = ["normal", "edges", "whole", "constant", "shifted", "tiny"]
ODD = ["text", "flag", "gaps", "infinite"]
LABEL = "y"
ROWS = 300


def training(rng, n=500):
    grid = numpy.arange(21) / 20 * 3 - 1
    return {"normal": rng.normal(size=n), "edges": rng.choice(grid, n), "whole": rng.integers(0, 5, n).astype(float),
            "constant": numpy.full(n, 2.5), "shifted": rng.exponential(size=n), "tiny": rng.normal(size=n) * 1e-200,
            LABEL: rng.integers(0, 2, n).astype(float)}


def sample(rng, n=ROWS):
    t = training(rng, n)
    grid = numpy.arange(21) / 20 * 3 - 1
    near = numpy.concatenate([grid, numpy.nextafter(grid, 9), numpy.nextafter(grid, -9)])
    t["edges"] = rng.choice(near, n)  # on the edges, and one double off
    t["shifted"] = t["shifted"] + 1
    t["constant"][::10] = rng.choice([1.9, 2.0, 3.0, 3.1], len(t["constant"][::10]))
    return t


@pytest.fixture(scope="module")
def scene():
    with mm.World() as w, system.System(w, both_edges=True) as s:
        rng = numpy.random.default_rng(11)
        s.project("p", "1m")
        numbers = s.endpoint("p", "numbers", NUMERIC, [LABEL])
        odd = s.endpoint("p", "odd", ODD, [LABEL])
        t = training(rng)
        t["edges"][:21] = numpy.arange(21) / 20 * 3 - 1  # both ends are there
        s.reference("p", numbers, {"columns": {k: v.tolist() for k, v in t.items()}, "labels": [LABEL]})
        n = 200
        s.reference("p", odd, {"columns": {"text": [["red", "green", "blue"][i % 3] for i in range(n)], "flag": [i % 4 == 0 for i in range(n)],
                                           "gaps": [None if i % 5 == 0 else i / 10 for i in range(n)],
                                           "infinite": [math.inf if i % 50 == 0 else float(i % 7) for i in range(n)],
                                           LABEL: [i % 2 for i in range(n)]}, "labels": [LABEL]})
        send_numbers(s, numbers, sample(rng))
        send_odd(s, odd, rng)
        s.windows_of = {uid: s.wait_results("p", uid, ROWS) for uid in (numbers, odd)}
        for uid in (numbers, odd):
            s.wait_results("p", uid, ROWS, app=system.MLRUN_APP)
        s.numbers, s.odd = numbers, odd
        yield s


def post(s, events):
    answer = s.stream.post("/p", "\n".join(json.dumps(e) for e in events))
    assert answer.status_code == 202, answer.text


def send_numbers(s, uid, columns):
    """Many rows an event, many events, and a few alone: all in one window."""
    x = numpy.column_stack([columns[c] for c in NUMERIC])
    y = columns[LABEL]
    steps = list(range(0, 200, 40)) + list(range(200, ROWS))
    post(s, [serving.event(uid, x[a:b].tolist(), y[a:b].tolist(), START + 1_000_000 + i * 100_000, f"n{i}", "p", "numbers")
             for i, (a, b) in enumerate(zip(steps, steps[1:] + [ROWS]))])


def send_odd(s, uid, rng):
    texts = ["red", "green", "violet", "", "x" * 200, None, 3]
    rows = [[texts[i % 7], [True, False, None][i % 3], [None, float(rng.normal() * 9), math.nan, "?"][i % 4],
             [math.inf, -math.inf, 3.0, 100.0, math.nan][i % 5]] for i in range(ROWS)]
    post(s, [serving.event(uid, rows[i:i + 10], [j % 2 for j in range(10)], START + 2_000_000 + i, f"o{i}", "p", "odd")
             for i in range(0, ROWS, 10)])


def lake(s, uid):
    serving.wait_handled(s.w, "p")
    df = pandas.read_parquet(serving.lake_folder(s.w, "p", uid))
    assert len(df) == ROWS
    return df


def closed_counts(x, edges):
    """[below, bins with the last one closed, above] as numpy counts them; infinities are outside."""
    x = x[~numpy.isnan(x)]
    with numpy.errstate(over="ignore", invalid="ignore"):
        inside = numpy.histogram(x[numpy.isfinite(x)], edges)[0]
    return [int((x < edges[0]).sum()), *inside.tolist(), int((x > edges[-1]).sum())]


def half_open_counts(x, edges):
    """As MLRun pads: outer bins to the largest double, every bin half-open but the very last."""
    biggest = numpy.finfo(float).max
    return numpy.histogram(x[~numpy.isnan(x)], numpy.concatenate([[-biggest], edges, [biggest]]))[0].tolist()


def edges_of(s, uid, feature):
    stats = s.call("GET", f"p/model-endpoints/{uid}/reference")["feature_stats"]
    return numpy.array(stats[feature]["hist"][1])


def window_slot(s, uid):
    """The slots' sum of the window under the reference in force."""
    return serving.slot_sum([v for k, v in serving.slots(s.w, uid, "p").items() if k[2] == 1])


def test_slots_equal_numpy_on_the_parquet_rows(scene):
    df, slot = lake(scene, scene.numbers), window_slot(scene, scene.numbers)
    assert slot["rows"] == ROWS and len(slot["features"]) == len(NUMERIC) and len(slot["labels"]) == 1
    for name, c in zip(NUMERIC + [LABEL], slot["features"] + slot["labels"]):
        x, edges = df[name].to_numpy(), edges_of(scene, scene.numbers, name)
        assert len(edges) == 21 and c["kind"] == "numeric"
        want = closed_counts(x, edges)
        # the slot keeps the value equal to the last edge apart, so that both edge modes come from it
        got = [c["under"] + c["neg_inf"], *c["cells"][:-1], c["cells"][-1] + c["at_max"], c["over"] + c["pos_inf"]]
        assert got == want, name
        assert [c["under"], *c["cells"], c["at_max"] + c["over"]] == half_open_counts(x, edges), name
        assert c["at_max"] == int((x == edges[-1]).sum()) and c["missing"] == int(numpy.isnan(x).sum())
        assert math.isclose(c["mean"], x.mean(), rel_tol=1e-12, abs_tol=1e-300) and (c["min"], c["max"]) == (x.min(), x.max())


def test_odd_columns_equal_numpy_too(scene):
    df, slot = lake(scene, scene.odd), window_slot(scene, scene.odd)
    by_name = dict(zip(ODD + [LABEL], slot["features"] + slot["labels"]))
    gaps = df["gaps"].to_numpy(float)
    c, edges = by_name["gaps"], edges_of(scene, scene.odd, "gaps")
    assert [c["under"], *c["cells"][:-1], c["cells"][-1] + c["at_max"], c["over"]] == closed_counts(gaps, edges)
    assert c["missing"] + c["wrong_type"] == int(numpy.isnan(gaps).sum()) and c["wrong_type"] == ROWS // 4
    c, x = by_name["infinite"], df["infinite"].to_numpy(float)
    assert (c["neg_inf"], c["pos_inf"], c["missing"]) == (int((x == -numpy.inf).sum()), int((x == numpy.inf).sum()),
                                                          int(numpy.isnan(x).sum()))
    edges = edges_of(scene, scene.odd, "infinite")
    assert [c["under"] + c["neg_inf"], *c["cells"][:-1], c["cells"][-1] + c["at_max"], c["over"] + c["pos_inf"]] == \
        closed_counts(x, edges)
    c, texts = by_name["text"], df["text"]
    assert c["kind"] == "categorical" and c["cells"] == [int((texts == t).sum()) for t in ("blue", "green", "red")]
    assert c["other_texts"] == int(texts.isin(["violet", ""]).sum()) and sum(c["long_texts"]) == int((texts.str.len() > 64).sum())
    assert c["missing"] + c["wrong_type"] == int(texts.isna().sum())
    flags = df["flag"].to_numpy(float)
    c = by_name["flag"]
    assert [c["cells"][0], c["cells"][-1] + c["at_max"]] == [int((flags == 0).sum()), int((flags == 1).sum())]


@pytest.mark.parametrize("app", [system.APP, system.MLRUN_APP])
def test_current_stats_equal_numpy(scene, app):
    df = lake(scene, scene.numbers)
    body = json.loads(scene.w.one(
        "SELECT s.body FROM app_statistics s JOIN apps a ON a.id = s.app_id JOIN endpoints e ON e.id = s.endpoint_id "
        "WHERE s.name = 'current_stats' AND a.name = %s AND e.uid = %s", app, scene.numbers)["body"])
    assert set(body) == {*NUMERIC, LABEL}
    for name, stats in body.items():
        x, edges = df[name].to_numpy(), edges_of(scene, scene.numbers, name)
        want = closed_counts(x, edges) if app == system.APP else half_open_counts(x, edges)
        counts, shown = stats["hist"]
        assert counts == want and len(shown) == 23 and shown[1:-1] == edges.tolist(), name
        assert stats["count"] == ROWS and math.isclose(stats["mean"], x.mean(), rel_tol=1e-12, abs_tol=1e-300)


def mlruns_own(scene, df, columns, uid):
    given = {"feature_stats": {k: v for k, v in scene.feature_stats("p", uid).items() if k in columns},
             "columns": {c: df[c].tolist() for c in columns}, "endpoint_id": uid, "end": mm.mlrun_time(START + PERIOD_US)}
    done = subprocess.run([sys.executable, os.path.join(mm.ROOT, "tests/support/mlrun_drift.py")], input=json.dumps(given), text=True,
                          capture_output=True, timeout=60, check=True)
    return json.loads(done.stdout)


def test_mlruns_own_application_gives_our_numbers(scene):
    df = lake(scene, scene.numbers)
    theirs = mlruns_own(scene, df, NUMERIC + [LABEL], scene.numbers)
    assert "error" not in theirs, theirs
    end = START + PERIOD_US
    _, drift, status = scene.values("p", scene.numbers, app=system.MLRUN_APP)[end][:3]
    assert math.isclose(drift, theirs["general_drift"][0], abs_tol=1e-9) and status == theirs["general_drift"][1]
    for name in ("hellinger_mean", "kld_mean", "tvd_mean"):
        ours = scene.values("p", scene.numbers, name, system.MLRUN_APP, "metric")[end][1]
        assert math.isclose(ours, theirs["metrics"][name], abs_tol=1e-9), name
    stats = {r["name"]: json.loads(r["body"]) for r in scene.w.rows(
        "SELECT s.name, s.body FROM app_statistics s JOIN apps a ON a.id = s.app_id JOIN endpoints e ON e.id = s.endpoint_id "
        "WHERE a.name = %s AND e.uid = %s", system.MLRUN_APP, scene.numbers)}
    for feature, measures in theirs["drift_measures"].items():
        for key, value in (measures if isinstance(measures, dict) else {"": measures}).items():
            ours = stats["drift_measures"][feature]
            ours = ours[key] if key else ours
            assert math.isclose(ours, value, abs_tol=2e-8 if key == "hellinger" and value < 1e-4 else 1e-9), (feature, key)
    for feature, s in theirs["current_stats"].items():
        assert stats["current_stats"][feature]["hist"][0] == s["hist"][0], feature
        for key in ("count", "mean", "std", "min", "max"):
            assert math.isclose(stats["current_stats"][feature][key], s[key], rel_tol=1e-9, abs_tol=1e-300), (feature, key)


def test_where_mlruns_own_fails_ours_has_an_outcome(scene):
    """Strings, missing values and infinities: its whole application dies, ours says so feature by feature."""
    df = lake(scene, scene.odd)
    theirs = mlruns_own(scene, df, ODD + [LABEL], scene.odd)
    assert "error" in theirs
    for app in (system.APP, system.MLRUN_APP):
        _, drift, status, extra = scene.values("p", scene.odd, app=app)[START + PERIOD_US][:4]
        features = json.loads(extra)["features"]
        assert status >= 0 and 0 <= drift <= 1, (app, drift, status)
        outcomes = {name: f["outcome"] for name, f in features.items()}
        none_there = dict.fromkeys(["text", "gaps", "infinite"], "not_in_mlrun") if app == system.MLRUN_APP else {}
        assert outcomes == {**dict.fromkeys([*ODD, LABEL], "ok"), **none_there}


def test_identical_data_drifts_zero_when_edges_are_closed(scene):
    """The value at the training's maximum is in its last bin: MLRun's own answer to its own training set is not 0."""
    s, rng = scene, numpy.random.default_rng(3)
    uid = s.endpoint("p", "same", ["a", "b"], ["y"])
    a, b, y = rng.normal(size=100), rng.integers(0, 2, 100).astype(float), rng.integers(0, 2, 100).astype(float)
    s.reference("p", uid, {"columns": {"a": a.tolist(), "b": b.tolist(), "y": y.tolist()}, "labels": ["y"]})
    post(s, [serving.event(uid, [[p, q]], [r], START + 3_000_000 + i, f"s{i}", "p", "same") for i, (p, q, r) in enumerate(zip(a, b, y))])
    s.wait_results("p", uid, 100)
    s.wait_results("p", uid, 100, app=system.MLRUN_APP)
    end = START + PERIOD_US
    assert s.values("p", uid)[end][1:3] == [0.0, 0]
    assert s.values("p", uid, "prediction_drift")[end][1:3] == [0.0, 0]
    assert s.values("p", uid, app=system.MLRUN_APP)[end][1] > 0.1
