"""MLRun's Python applications beside modelmon: their classes unchanged, by scripts/run-mlrun-app on Kafka; what they find is what ours
finds of the same windows."""
import json
import math
import os
import signal
import subprocess
import sys

import numpy
import pytest

import mm
import serving
import system

PERIOD_US = 60_000_000
START = mm.now_us() // PERIOD_US * PERIOD_US - 5 * PERIOD_US
FEATURES, LABEL = ["normal", "shifted", "whole"], "y"
HISTOGRAM = "mlrun.model_monitoring.applications.histogram_data_drift:HistogramDataDriftApplication"
CUSTOM = os.path.join(mm.ROOT, "tests/support/mlrun_custom.py:RowsAndNames")


def without_plotly(folder):
    """MLRun's class draws with it, when asked to: a stand-in for the import."""
    place = os.path.join(folder, "stand-ins", "plotly")
    os.makedirs(place, exist_ok=True)
    for name in ("__init__", "graph_objects", "subplots"):
        with open(os.path.join(place, name + ".py"), "w") as f:
            f.write("import unittest.mock\n__path__ = [%r]\n\n\ndef __getattr__(name):\n    return unittest.mock.MagicMock()\n" % place)
    return os.path.dirname(place)


class Application:
    """run-mlrun-app as its users start it."""

    def __init__(self, s, *arguments, **env):
        self.log = os.path.join(s.w.folder, f"mlrun-app-{len(os.listdir(s.w.folder))}.log")
        self.command = [sys.executable, os.path.join(mm.ROOT, "scripts/run-mlrun-app"), *arguments]
        self.env = s.w.env(MLRUN_DBPATH=s.api.url(""), MLRUN_LOG_LEVEL="ERROR", PYTHONPATH=without_plotly(s.w.folder), **env)
        self.child = None

    def __enter__(self):
        with open(self.log, "ab") as out:
            self.child = subprocess.Popen(self.command, env=self.env, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        return self

    def text(self):
        with open(self.log) as f:
            return f.read()

    def events(self, name):
        lines = [json.loads(line) for line in self.text().splitlines() if line.startswith('{"ts"')]
        return [e for e in lines if e["ev"] == name]

    def end(self, number=signal.SIGTERM):
        self.child.send_signal(number)
        return self.child.wait(40)

    def __exit__(self, kind, *_):
        if kind:
            sys.stderr.write(self.text()[-5000:])
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()


def columns(rng, n, shift):
    return {"normal": rng.normal(size=n), "shifted": rng.exponential(size=n) + shift, "whole": rng.integers(0, 5, n).astype(float),
            LABEL: rng.integers(0, 2, n).astype(float)}


def send(s, uid, name, start_us, values):
    x = numpy.column_stack([values[c] for c in FEATURES])
    events = [serving.event(uid, [x[i].tolist()], [float(values[LABEL][i])], start_us + 1000 + i * 1000, f"{start_us}-{i}", "p", name)
              for i in range(len(x))]
    answer = s.stream.post("/p", "\n".join(map(json.dumps, events)))
    assert answer.status_code == 202, answer.text


def stored(s, uid, app, name):
    return {k: (r["value"], r["status"], r["revision"]) for k, r in s.results("p", uid, name, app).items()}


@pytest.fixture(scope="module")
def scene():
    with mm.World() as w, system.System(w, both_edges=True) as s:
        rng = numpy.random.default_rng(5)
        s.project("p", "1m")
        s.uid = s.endpoint("p", "m", FEATURES, [LABEL])
        s.broken = s.endpoint("p", "breaks", FEATURES, [LABEL])
        s.reference("p", s.uid, {"columns": {k: v.tolist() for k, v in columns(rng, 500, 0).items()}, "labels": [LABEL]})
        s.sent = [columns(rng, 200, 0), columns(rng, 120, 3)]
        with Application(s, "--name", "mlrun-drift", HISTOGRAM) as s.drift, \
                Application(s, CUSTOM, "--arguments", '{"least": 150}', "--project", "p", HTTP_PORT="0") as s.custom:
            mm.wait_for(lambda: {"mlrun-drift", "rows-and-names"} <= {a["name"] for a in s.call("GET", "p/apps")["apps"]}, 90, "the apps are known")
            for i, values in enumerate(s.sent):
                send(s, s.uid, "m", START + i * PERIOD_US, values)
            send(s, s.broken, "breaks", START, s.sent[0])
            s.wait_results("p", s.uid, 320)
            for app in (system.MLRUN_APP, "mlrun-drift"):
                s.wait_results("p", s.uid, 320, 90, app)
            mm.wait_for(lambda: len(stored(s, s.uid, "rows-and-names", "row_count")) == 2, 60, "the custom app's results")
            mm.wait_for(lambda: s.custom.events("app_failed"), 60, "the failure is told")
            yield s


def test_mlruns_own_drift_application_finds_what_ours_finds(scene):
    s = scene
    for name in ("general_drift", "hellinger_mean", "kld_mean", "tvd_mean"):
        theirs, ours = stored(s, s.uid, "mlrun-drift", name), stored(s, s.uid, system.MLRUN_APP, name)
        assert set(theirs) == set(ours) == {START, START + PERIOD_US}
        for window, (value, status, revision) in theirs.items():
            assert math.isclose(value, ours[window][0], rel_tol=0, abs_tol=2e-8) and (status, revision) == ours[window][1:], (name, window)
    drift = stored(s, s.uid, "mlrun-drift", "general_drift")
    assert drift[START][0] < drift[START + PERIOD_US][0], "the second window is the one that drifts"
    record = s.call("GET", f"p/model-endpoints/m?endpoint-id={s.uid}&feature-analysis=True&tsdb-metrics=True")
    assert set(record["status"]["drift_measures"]) >= {*FEATURES, LABEL, "hellinger_mean"}
    found = s.w.rows("SELECT s.name, s.body FROM app_statistics s JOIN apps a ON a.id = s.app_id WHERE a.name = 'mlrun-drift' AND s.window_start_us = %s", START)
    stats = {r["name"]: json.loads(r["body"]) for r in found}
    assert stats["current_stats"]["normal"]["count"] == 200 and set(stats["drift_measures"]) >= {*FEATURES, LABEL}
    assert not s.w.rows("SELECT 1 FROM dead_letters")


def test_a_class_of_its_users_has_rows_statistics_and_record(scene):
    s = scene
    counts = stored(s, s.uid, "rows-and-names", "row_count")
    assert counts == {START: (200, 0, 1), START + PERIOD_US: (120, 2, 1)}
    for i, values in enumerate(s.sent):
        for column in (*FEATURES, LABEL):
            value = stored(s, s.uid, "rows-and-names", f"mean_{column}")[START + i * PERIOD_US][0]
            assert math.isclose(value, values[column].mean(), rel_tol=1e-12)
    extra = json.loads(s.results("p", s.uid, "row_count", "rows-and-names")[START]["extra"])
    assert sorted(extra["columns"]) == sorted([*FEATURES, LABEL]) == extra["references"]
    assert extra["features"] == FEATURES and extra["labels"] == [LABEL]
    points = s.values("p", s.uid, "row_count", "rows-and-names")
    assert [p[1] for _, p in sorted(points.items())] == [200, 120], "the api shows them as those of any app"


def test_what_it_raises_costs_that_window_alone(scene):
    s = scene
    failed, = s.custom.events("app_failed")
    assert failed["endpoint_id"] == s.broken and failed["words"] == "ValueError: this endpoint is one too many"
    assert failed["window_start_us"] == START and not stored(s, s.broken, "rows-and-names", "row_count")
    assert s.custom.child.poll() is None


def test_killed_and_ended_it_misses_nothing_and_goes_on(scene):
    s = scene
    s.custom.end(signal.SIGKILL)
    rng = numpy.random.default_rng(6)
    at = mm.now_us() // PERIOD_US * PERIOD_US - 2 * PERIOD_US
    assert at not in (START, START + PERIOD_US)
    send(s, s.uid, "m", at, columns(rng, 40, 0))
    mm.wait_for(lambda: at in s.results("p", s.uid), 60, "our app's result")
    assert at not in stored(s, s.uid, "rows-and-names", "row_count")
    with s.custom:
        mm.wait_for(lambda: stored(s, s.uid, "rows-and-names", "row_count").get(at) == (40, 2, 1), 90, "its result")
        assert len(stored(s, s.uid, "rows-and-names", "row_count")) == 3
        assert s.custom.end() == 0
    assert s.drift.end() == 0
