"""An app in Python without MLRun (scripts/examples/app.py): rows in, its results in the store, over Kafka and over HTTP; and the
JSON Schemas of the two events it speaks."""
import copy
import json
import os
import socket
import subprocess
import sys

import jsonschema
import pytest
import requests

import mm

PERIOD = 10 * mm.MINUTE_US
START = mm.now_us() // PERIOD * PERIOD - 2 * PERIOD
END = START + PERIOD
APP = "python-app"


def schema(name):
    with open(os.path.join(mm.ROOT, "common/event/schemas", name + ".schema.json")) as f:
        document = json.load(f)
    jsonschema.Draft202012Validator.check_schema(document)
    return document


WINDOW, RESULT = schema("window"), schema("result")


def check_window(event):
    jsonschema.validate(event, WINDOW)


def check_result(event):
    jsonschema.validate(event, RESULT)
    kind = event["event_kind"]
    jsonschema.validate(json.loads(event["data"]), {"$defs": RESULT["$defs"], "$ref": f"#/$defs/{kind}"})


@pytest.fixture
def world():
    with mm.World() as w:
        yield w


def event(uid, k):
    return {"model": "model", "model_class": "M", "microsec": 1000, "when": mm.mlrun_time(START + 1 + k), "endpoint_id": uid,
            "labels": {}, "function_uri": "p/serving:latest", "resp": {"outputs": [k % 2], "output_schema": ["y"]}, "error": None,
            "request": {"inputs": [[k, 2 * k]], "id": f"r{k}", "input_schema": ["a", "b"]}, "metrics": None,
            "sampling_percentage": 100, "effective_sample_count": 1}


def python_app(world, *arguments, **env):
    log = open(os.path.join(world.folder, "python-app.log"), "wb")
    return subprocess.Popen([sys.executable, os.path.join(mm.ROOT, "scripts/examples/app.py"), *arguments], stdout=log, stderr=log,
                            stdin=subprocess.DEVNULL, env=dict(world.env(), **env))


def stored(world):
    return {r["name"]: (r["value"], r["revision"]) for r in world.rows(
        "SELECT m.name, r.value, r.revision FROM results r JOIN metrics m ON m.id = r.metric_id JOIN apps a ON a.id = m.app_id "
        "WHERE a.name = %s AND r.window_start_us = %s", APP, START)}


def until_stored(world):
    found = mm.wait_for(lambda: len(stored(world)) == 4 and stored(world), 60, "the app's results")
    assert found == {"row_count": (40, 1), "mean_a": (19.5, 1), "mean_b": (39, 1), "mean_y": (0.5, 1)}
    for record in world.consume(world.topic("p", "model-monitoring-writer")):
        check_result(json.loads(record.value))
    for record in world.consume(world.topic("p", APP)):
        check_window(json.loads(record.value))
    assert not world.rows("SELECT 1 FROM dead_letters")


def served(world, stream, api):
    world.migrated()
    uid = world.endpoint(world.project("p", default_app=False))["uid"]
    answer = requests.put(api.url(f"/api/v1/projects/p/apps/{APP}"), json={"needs_rows": True}, timeout=20)
    assert answer.status_code == 200 and answer.json() == {"name": APP, "active": True, "needs_rows": True, "wants_empty": False}
    assert answer.json() in api.get("/api/v1/projects/p/apps").json()["apps"]
    stream.wait_ready()
    body = "\n".join(json.dumps(event(uid, k)) for k in range(40))
    assert mm.wait_for(lambda: stream.post("/p", body), 20).status_code == 202


def stack(world):
    return (world.service("stream", STATISTICS_INTERVAL="100ms", LAKE_AGE="100ms"), world.service("controller"), world.service("writer"),
            world.service("api"))


def test_python_over_kafka(world):
    s, c, w, a = stack(world)
    with s as stream, c, w, a as api:
        app = python_app(world, "kafka", "p")
        try:
            served(world, stream, api)
            until_stored(world)
        finally:
            app.kill()
            app.wait()


def test_python_over_http(world):
    """Window events are posted, by whoever reads them from the topic; the results are posted to the writer."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    s, c, w, a = stack(world)
    with s as stream, c, w as writer, a as api:
        writer.wait_ready()
        app = python_app(world, "http", PORT=str(port), WRITER_URL=writer.url(""))
        try:
            served(world, stream, api)
            (record,) = mm.wait_for(lambda: world.consume(world.topic("p", APP)), 40, "the window event")

            def post():
                try:
                    return requests.post(f"http://127.0.0.1:{port}/", data=record.value, timeout=30)
                except requests.ConnectionError:
                    return None
            assert mm.wait_for(post, 20).status_code == 202
            assert requests.post(f"http://127.0.0.1:{port}/", data=b"{}", timeout=30).status_code == 400
            until_stored(world)
        finally:
            app.kill()
            app.wait()


@pytest.mark.parametrize("change", [{"endpoint_id": "a b"}, {"start_infer_time": "soon"}, {"application_name": ""}, {"modelmon": None}])
def test_a_window_event_that_is_none(change):
    good = {"endpoint_id": "a", "endpoint_name": "m", "application_name": APP, "start_infer_time": mm.mlrun_time(START - 1),
            "end_infer_time": mm.mlrun_time(END - 1), "modelmon": {"window_start_us": START, "window_end_us": END, "revision": 1}}
    check_window(good)
    with pytest.raises(jsonschema.ValidationError):
        check_window({**good, **change})


@pytest.mark.parametrize("data", [{"result_status": 3}, {"result_kind": 5}, {"result_name": "no name"}, {"result_value": "high"}])
def test_a_result_that_is_none(data):
    good = mm.result_event("a" * 32, start_us=START, end_us=END, revision=1, project="p")
    check_result(good)
    check_result(mm.metric_event("a" * 32))
    check_result(mm.stats_event("a" * 32))
    bad = copy.deepcopy(good)
    bad["data"] = json.dumps({**json.loads(good["data"]), **data})
    with pytest.raises(jsonschema.ValidationError):
        check_result(bad)


def test_the_api_refuses_what_is_no_app(world):
    with world.service("api") as api:
        world.migrated()
        world.project("p")
        api.wait_ready()
        for name, body, status in (("python-app", {"needs": True}, 400), ("model-monitoring-writer", {}, 400),
                                   ("python-app", {"active": "yes"}, 400), ("python-app", {"active": False}, 200)):
            assert requests.put(api.url(f"/api/v1/projects/p/apps/{name}"), json=body, timeout=20).status_code == status
        assert requests.put(api.url("/api/v1/projects/nobody/apps/x"), json={}, timeout=20).status_code == 404
        assert api.get("/api/v1/projects/p/apps").json()["apps"][0]["active"] is False
