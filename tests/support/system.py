"""The whole system for end-to-end tests: stream, controller, writer, drift app and api on a World of their own.

    with mm.World() as w, system.System(w, lateness="500ms") as s:
        s.project("p", "2s")
        uid = s.endpoint("p", "m", ["a", "b"], ["y"])
        s.reference("p", uid, {"columns": ["a", "b", "y"], "data": rows, "labels": ["y"]})
        s.stream.post("/p", event)
        s.wait_results("p", uid, windows)
"""
import json
import time
import urllib.parse

import requests

import mm
import serving

APP = "histogram-data-drift"
MLRUN_APP = "drift-as-mlrun"  # the same program, counting as MLRun does
NAMES = ("stream", "controller", "writer", "app", "api")


def parse_time(text):
    return serving.us_of(serving.datetime.datetime.fromisoformat(text))


class System:
    def __init__(self, world, lateness="500ms", both_edges=False, start=NAMES, stream=None, **env):
        self.w = world
        fast = dict(serving.FAST, LATENESS=lateness, **env)
        self.stream = world.service("stream", **dict(fast, **(stream or {})))
        self.controller = world.service("controller", **fast)
        self.writer = world.service("writer", **fast)
        self.app = world.service("histogram-drift-app", **fast)
        self.api = world.service("api", **fast)
        self.services = {name: getattr(self, name) for name in NAMES}
        if both_edges:
            self.services["mlrun"] = world.service("histogram-drift-app", **dict(fast, APP_NAME=MLRUN_APP, DRIFT_EDGES="mlrun"))
        self.first = start

    def __enter__(self):
        self.start(*[n for n in self.services if n in self.first or n not in NAMES])
        return self

    def start(self, *names):
        for name in names:
            self.services[name].start()
        for name in names:
            self.services[name].wait_ready(60)
        return self

    def __exit__(self, kind, *_):
        import sys
        for s in self.services.values():
            if kind and s.child:
                sys.stderr.write(f"--- {s.tag}\n{s.text()[-3000:]}\n")
            s.kill9()

    # --- api ---
    def call(self, method, path, body=None, status=(200, 201)):
        answer = requests.request(method, self.api.url(f"/api/v1/projects/{path}"), data=json.dumps(body) if body is not None else None,
                                  timeout=30)
        assert answer.status_code in status, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def project(self, name, base_period, wait=True):
        self.call("PUT", name, {"metadata": {"name": name}, "spec": {"monitoring": {"base_period": base_period, "enabled": True}}})
        if wait:
            serving.wait_topic(self.w, name)
            topics = [self.w.topic(name, "model-monitoring-writer"), self.w.topic(name, APP)]
            if "mlrun" in self.services:
                topics.append(self.w.topic(name, MLRUN_APP))
            for topic in topics:
                mm.wait_for(lambda: self.w.rows("SELECT 1 FROM ledger WHERE topic = %s", topic), 30, f"{topic} is read")

    def endpoint(self, project, name, features=(), labels=(), uid=None, function="serving"):
        made = self.call("POST", f"{project}/model-endpoints?creation-strategy=inplace", {
            "metadata": {"name": name, "project": project, "uid": uid, "endpoint_type": 1},
            "spec": {"model_name": name, "function_name": function, "function_tag": "latest", "feature_names": list(features),
                     "label_names": list(labels)},
            "status": {"monitoring_mode": "enabled"}})
        return made["metadata"]["uid"]

    def reference(self, project, uid, body):
        return self.call("PUT", f"{project}/model-endpoints/{uid}/reference", body)

    def feature_stats(self, project, uid):
        """As MLRun's server would serve them: padded."""
        return self.call("GET", f"{project}/model-endpoints/{uid}/reference?padded=true")["feature_stats"]

    def record(self, project, name, uid):
        return self.call("GET", f"{project}/model-endpoints/{name}?endpoint-id={uid}&feature-analysis=True&tsdb-metrics=True")

    def values(self, project, uid, name="general_drift", app=APP, kind="result", start_us=0, end_us=None):
        """{window end: row} of metrics-values; a result's row is [time, value, status, extra]."""
        iso = lambda us: time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(us // 1_000_000))
        end_us = end_us or mm.now_us() + mm.DAY_US
        start_us = start_us or end_us - 390 * mm.DAY_US
        query = urllib.parse.urlencode({"name": f"{project}.{app}.{kind}.{name}", "start": iso(start_us), "end": iso(end_us)})
        got = self.call("GET", f"{project}/model-endpoints/{uid}/metrics-values?{query}")
        return {parse_time(v[0]): v for v in (got[0].get("values") or [])} if got else {}

    # --- windows ---
    def windows(self, project, uid=None):
        sql = ("SELECT w.*, e.uid FROM windows w JOIN endpoints e ON e.id = w.endpoint_id JOIN projects p ON p.id = w.project_id "
               "WHERE p.name = %s")
        return self.w.rows(sql + (" AND e.uid = %s" if uid else "") + " ORDER BY window_start_us", project, *([uid] if uid else []))

    def results(self, project, uid, name="general_drift", app=APP):
        """Rows of the table, by window start."""
        found = self.w.rows(
            "SELECT r.*, m.name FROM results r JOIN metrics m ON m.id = r.metric_id JOIN apps a ON a.id = m.app_id "
            "JOIN endpoints e ON e.id = r.endpoint_id JOIN projects p ON p.id = r.project_id "
            "WHERE p.name = %s AND e.uid = %s AND m.name = %s AND a.name = %s", project, uid, name, app)
        return {r["window_start_us"]: r for r in found}

    def wait_results(self, project, uid, rows, seconds=60, app=APP):
        """Until closed windows hold that many rows of the endpoint and each has its result; gives the windows."""
        def check():
            windows = self.windows(project, uid)
            assert sum(w["rows"] for w in windows) == rows, f"{sum(w['rows'] for w in windows)} of {rows} rows in closed windows"
            results = self.results(project, uid, app=app)
            assert {w["window_start_us"]: w["revision"] for w in windows} == {k: r["revision"] for k, r in results.items()}
            return windows
        return mm.wait_for(check, seconds, "results of all windows")


def wait_window(period_us, room_us):
    """Waits for the beginning of a window unless there is room enough in this one; gives its start."""
    left = period_us - mm.now_us() % period_us
    if left < room_us:
        time.sleep((left + 1000) / 1e6)
    return mm.now_us() // period_us * period_us
