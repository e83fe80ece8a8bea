"""References that an endpoint makes of its own first rows, and references that change while windows are open."""
import datetime
import json
import time

import numpy
import pytest
import requests

import mm
import serving
import test_modelmon_run as running

APP = "histogram-data-drift"
PERIOD = 4  # of the other tests, in seconds


def results(m, uid, name="general_drift"):
    """{window end in seconds: (value, status, extra)}"""
    full = f"shop.{APP}.result.{name}"
    found = running.call(m, "GET", f"shop/model-endpoints/{uid}/metrics-values?name={full}&start={running.iso(-86400)}&end={running.iso(3600)}")
    return {when(v[0]): (v[1], v[2], json.loads(v[3])) for v in found[0].get("values", [])}


def when(text):
    return int(datetime.datetime.fromisoformat(text).timestamp())


def make(m, **monitoring):
    running.call(m, "PUT", "shop", {"metadata": {"name": "shop"},
                                    "spec": {"monitoring": {"base_period": f"{PERIOD}s", "enabled": True, **monitoring}}})


def record(m, name="price", features=("a", "c", "k", "b"), labels=("y",)):
    made = running.call(m, "POST", "shop/model-endpoints?creation-strategy=inplace", {
        "metadata": {"name": name, "project": "shop", "endpoint_type": 1},
        "spec": {"model_name": name, "function_name": "serving", "feature_names": list(features), "label_names": list(labels)},
        "status": {"monitoring_mode": "enabled"}})
    return made["metadata"]["uid"]


def post(m, uid, rows, first_us, step_us=1000, tag="r"):
    events = [serving.event(uid, [list(r[:-1])], [r[-1]], first_us + i * step_us, f"{tag}{first_us}-{i}") for i, r in enumerate(rows)]
    for e in events:
        e["function_uri"] = "shop/serving:latest"
    body = "\n".join(map(json.dumps, events))
    answer = mm.wait_for(lambda: (lambda a: a if a.status_code == 202 else None)(m.post("/shop", body)), 20)
    assert len(rows) == 1 or answer.json()["accepted"] == len(rows), answer.text


def values(rng, n, shift=0.0, words=("Rome", "Oslo")):
    """a a number, c a text, k a code, b a boolean, y the output."""
    return [(float(rng.normal(shift, 1)), str(rng.choice(words)), int(rng.integers(1, 4)), bool(rng.integers(0, 2)), float(rng.normal()))
            for _ in range(n)]


def shares(edges, x):
    wide = numpy.concatenate([[-numpy.inf], edges, [numpy.inf]])
    wide[-2] = numpy.nextafter(wide[-2], numpy.inf)
    return numpy.histogram(x, wide)[0] / len(x)


def tvd(train, now):
    edges = numpy.histogram(train, bins=20)[1]
    return abs(shares(edges, train) - shares(edges, now)).sum() / 2


@pytest.fixture(params=[True, False], ids=["embedded", "servers"])
def m(request):
    with mm.World() as w, running.start(w, request.param, REFERENCE_AUTO="60") as service:
        service.wait_ready(60)
        yield service


def reference(m, uid, version=""):
    return running.call(m, "GET", f"shop/model-endpoints/{uid}/reference{version}")


def versions(m, uid):
    return running.call(m, "GET", f"shop/model-endpoints/{uid}/reference/versions")["versions"]


def test_first_rows_make_a_reference(m):
    """Three windows of 40 rows, a reference of 100: it is made when the third closes, of the first hundred by their time."""
    rng = numpy.random.default_rng(5)
    make(m, reference_auto=100)
    uid = record(m)
    start = (int(time.time()) // PERIOD - 10) * PERIOD
    rows = [values(rng, 40), values(rng, 40), values(rng, 40), values(rng, 40, shift=9, words=("Rome", "Bonn"))]
    for k in (1, 0, 2, 3):  # as they come, and not in the order of their time
        post(m, uid, rows[k], (start + k * PERIOD) * 1_000_000)
    ends = [start + (k + 1) * PERIOD for k in range(4)]
    got = mm.wait_for(lambda: (lambda r: r if set(ends) <= set(r) else None)(results(m, uid)), 60, "four windows")
    for k in (0, 1):  # what it learns from is compared with nothing
        assert got[ends[k]][1] == -1 and got[ends[k]][2]["reason"] == "no_reference", got
        assert "modelmon reference shop/price --csv FILE" in got[ends[k]][2]["text"]
    first = (rows[0] + rows[1] + rows[2])[:100]
    ref = reference(m, uid)
    assert ref["version"] == 1 and ref["source"] == "auto" and ref["labels"] == ["y"]
    for i, name in ((0, "a"), (2, "k"), (4, "y")):
        column = [float(r[i]) for r in first]
        counts, edges = numpy.histogram(column, bins=20)
        assert ref["feature_stats"][name]["hist"] == [counts.tolist(), edges.tolist()]
        assert ref["feature_stats"][name]["mean"] == pytest.approx(numpy.mean(column), rel=1e-12)
    words = [r[1] for r in first]
    assert ref["feature_stats"]["c"]["modelmon"]["categories"] == {w: words.count(w) for w in set(words)}
    assert ref["feature_stats"]["b"]["freq"] == max([r[3] for r in first].count(b) for b in (True, False))
    for k in (2, 3):
        value, status, extra = got[ends[k]]
        assert extra["reference_source"] == "auto" and extra["reference_version"] == 1 and extra["samples"] == 40
        assert extra["features"]["a"]["tvd"] == pytest.approx(tvd([r[0] for r in first], [r[0] for r in rows[k]]), abs=1e-12)
    last = got[ends[3]][2]["features"]["c"]
    bonn = [r[1] for r in rows[3]].count("Bonn")
    assert last["new_values"] == bonn and last["vanished"] == ["Oslo"] and got[ends[3]][2]["categories_changed"] == 1
    assert results(m, uid, "prediction_drift")[ends[3]][2]["reference_source"] == "auto"
    page = m.get(f"/ui/p/shop/endpoints/{uid}").text
    assert "compared with its own first rows" in page
    assert m.metric("modelmon_controller_references_total", outcome="made") == 1
    # what somebody says supersedes it, and is in the history
    running.call(m, "PUT", f"shop/model-endpoints/{uid}/reference", {"columns": {"a": [1, 2, 3], "c": ["x", "y", "x"]}})
    assert [v["source"] for v in versions(m, uid)] == ["auto", "api_rows"]
    assert reference(m, uid)["source"] == "api_rows" and reference(m, uid, "?version=1")["feature_stats"] == ref["feature_stats"]
    assert "compared with its own first rows" not in m.get(f"/ui/p/shop/endpoints/{uid}").text


def test_the_same_rows_in_another_order_make_the_same_reference(m):
    rng = numpy.random.default_rng(6)
    make(m)  # as the option says
    start = (int(time.time()) // PERIOD - 10) * PERIOD
    rows = values(rng, 70)
    got = []
    for name, order in (("one", range(70)), ("two", range(69, -1, -1))):
        uid = record(m, name)
        for k in order:
            post(m, uid, [rows[k]], start * 1_000_000 + k * 100, tag=name)
        mm.wait_for(lambda u=uid: versions(m, u), 60, "a reference")
        ref = reference(m, uid)
        got.append((ref["feature_stats"], ref["created"], ref["source"]))
    assert got[0] == got[1] and got[0][0]["a"]["count"] == 60


def test_never_and_not_enough(m):
    make(m, reference_auto=0)
    assert running.call(m, "GET", "shop")["spec"]["monitoring"]["reference_auto"] == 0
    make(m, reference_auto=None)
    assert "reference_auto" not in running.call(m, "GET", "shop")["spec"]["monitoring"]
    for wrong in (-1, 100001, "x", 1.5):
        answer = requests.put(m.url("/api/v1/projects/shop"), json={"spec": {"monitoring": {"reference_auto": wrong}}}, timeout=20)
        assert answer.status_code == 400 and "reference_auto" in answer.text, answer.text
    make(m, reference_auto=50)
    uid = record(m)
    start = (int(time.time()) // PERIOD - 10) * PERIOD
    post(m, uid, values(numpy.random.default_rng(1), 49), start * 1_000_000)
    got = mm.wait_for(lambda: results(m, uid), 60, "a window")
    assert [r[1] for r in got.values()] == [-1] and versions(m, uid) == []


def test_the_first_reference_counts_windows_again_that_had_none(m):
    rng = numpy.random.default_rng(8)
    make(m, reference_auto=0)
    uid = record(m)
    start = (int(time.time()) // PERIOD - 10) * PERIOD
    rows = [values(rng, 50), values(rng, 50, shift=1)]
    for k in (0, 1):
        post(m, uid, rows[k], (start + k * PERIOD) * 1_000_000)
    ends = [start + PERIOD, start + 2 * PERIOD]
    mm.wait_for(lambda: set(ends) == {w for w, r in results(m, uid).items() if r[2].get("reason") == "no_reference"}, 60)
    train = rng.normal(size=500)
    running.call(m, "PUT", f"shop/model-endpoints/{uid}/reference", {"columns": {"a": train.tolist()}})
    got = mm.wait_for(lambda: (lambda r: r if all(r[w][1] >= 0 for w in ends) else None)(results(m, uid)), 60, "both again")
    for k in (0, 1):
        assert got[ends[k]][2]["features"]["a"]["tvd"] == pytest.approx(tvd(train, [r[0] for r in rows[k]]), abs=1e-12)
        assert "rows_missing" not in got[ends[k]][2]


def test_a_reference_swapped_in_the_middle_of_a_window(m):
    """The window that is open counts whole against the new one, those that were closed keep the one in force at their end."""
    rng = numpy.random.default_rng(9)
    period = 12  # the swap has to happen within one
    running.call(m, "PUT", "shop", {"metadata": {"name": "shop"}, "spec": {"monitoring": {"base_period": f"{period}s"}}})
    uid = record(m, features=("a",))
    first, second = rng.normal(0, 1, 700), rng.normal(3, 2, 900)

    def put(x):
        return running.call(m, "PUT", f"shop/model-endpoints/{uid}/reference", {"columns": {"a": x.tolist()}})["version"]
    assert put(first) == 1
    mm.wait_for(lambda: time.time() % period < 4, 20)
    this = int(time.time()) // period * period
    old = this - 2 * period
    before = [(float(x), 0.0) for x in rng.normal(1, 1, 60)]
    after = [(float(x), 0.0) for x in rng.normal(2, 1, 60)]
    closed = [(float(x), 0.0) for x in rng.normal(1, 2, 50)]
    post(m, uid, closed, old * 1_000_000)
    post(m, uid, before, this * 1_000_000)
    mm.wait_for(lambda: m.metric("modelmon_stream_rows_total", sink="statistics") >= 110, 20, "they are counted")
    assert put(second) == 2
    post(m, uid, after, this * 1_000_000 + 500_000)
    assert time.time() < this + period, "too slow a machine: the window was over before the swap"
    got = mm.wait_for(lambda: (lambda r: r if {this + period, old + period} <= set(r) else None)(results(m, uid)), 60)
    value, _, extra = got[this + period]
    assert extra["reference_version"] == 2 and extra["samples"] == 120 and "rows_missing" not in extra
    assert extra["features"]["a"]["tvd"] == pytest.approx(tvd(second, [r[0] for r in before + after]), abs=1e-12)
    _, _, extra = got[old + period]
    assert extra["reference_version"] == 1
    assert extra["features"]["a"]["tvd"] == pytest.approx(tvd(first, [r[0] for r in closed]), abs=1e-12)
    # a late row of the closed window: another revision, with the reference that was in force at its end
    post(m, uid, [(50.0, 0.0)], old * 1_000_000 + 900_000)
    late = mm.wait_for(lambda: (lambda r: r[old + period][2] if r[old + period][2]["samples"] == 51 else None)(results(m, uid)), 60)
    assert late["reference_version"] == 1 and "rows_missing" not in late
    assert late["features"]["a"]["tvd"] == pytest.approx(tvd(first, [r[0] for r in closed] + [50.0]), abs=1e-12)


def test_the_option_needs_the_lake():
    with mm.World() as w:
        controller = w.service("controller", REFERENCE_AUTO="100", LAKE_DIR="")
        controller.start(serve=False)
        assert controller.child.wait(10) == 2
        assert "LAKE_DIR" in controller.text() and "REFERENCE_AUTO" in controller.text()
