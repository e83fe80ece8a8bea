"""Any serving layer: the forms that are not MLRun's, from a model server to slots and Parquet; and their JSON Schemas."""
import copy
import datetime
import glob
import json
import os
import re
import socket
import subprocess
import sys
import time
import uuid

import httpx
import jsonschema
import pytest
import referencing
import requests

import mm
import serving

SCHEMAS = os.path.join(mm.ROOT, "common/event/schemas")



def readme_block(language):
    """The block of README's "Any serving layer" in that language."""
    with open(os.path.join(mm.ROOT, "README.md"), encoding="utf-8") as f:
        section = f.read().split("## Any serving layer", 1)[1].split("\n## ", 1)[0]
    return re.search(rf"```{language}\n(.*?)```", section, re.S).group(1)


FASTAPI = readme_block("python")


def documents():
    out = {}
    for path in sorted(set(glob.glob(os.path.join(SCHEMAS, "*.json"))) - set(glob.glob(os.path.join(SCHEMAS, "*.schema.json")))):
        with open(path, encoding="utf-8") as f:
            out[os.path.basename(path)] = json.load(f)
    return out


DOCUMENTS = documents()
REGISTRY = referencing.Registry().with_resources((name, referencing.Resource.from_contents(d)) for name, d in DOCUMENTS.items())


def validator(name):
    return jsonschema.Draft202012Validator(DOCUMENTS[name], registry=REGISTRY)


EXAMPLES = [(name, k) for name, d in DOCUMENTS.items() for k in range(len(d.get("examples", [])))]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Scene:
    def __init__(self, world, stream):
        self.w, self.stream = world, stream

    def project(self):
        name = "p-" + uuid.uuid4().hex[:8]
        self.w.project(name)
        serving.wait_topic(self.w, name)
        return name

    def post(self, project, body, **headers):
        return self.stream.post(f"/{project}", body, headers=headers)

    def uid(self, project, name):
        return self.w.one("SELECT uid FROM endpoints e JOIN projects p ON p.id = e.project_id WHERE p.name = %s AND e.name = %s",
                          project, name)["uid"]

    def taken(self, project, name):
        """(rows of the lake, sum of the slots): both sinks, the same."""
        serving.wait_handled(self.w, project)
        uid = self.uid(project, name)
        rows, slot = serving.lake_rows(self.w, project, uid), serving.total(self.w, uid, project)
        assert slot["rows"] == len(rows)
        return rows, slot

    def reasons(self, project):
        return [d["reason"] for d in serving.dead_letters(self.w, project)]


@pytest.fixture(scope="module")
def scene():
    with mm.World() as w:
        with w.service("stream", PAIR_WAIT="2s", **serving.FAST) as stream:
            w.migrated()
            stream.wait_ready()
            yield Scene(w, stream)


# --- schemas ---
def test_the_schemas_are_schemas():
    assert len(DOCUMENTS) == 11
    for name, document in DOCUMENTS.items():
        jsonschema.Draft202012Validator.check_schema(document)
        assert document["$id"] == name
    assert {a["$ref"] for a in DOCUMENTS["event.json"]["anyOf"]} == set(DOCUMENTS) - {"event.json", "common.json"}


@pytest.mark.parametrize("name,k", EXAMPLES)
def test_examples_are_valid_and_taken(scene, name, k):
    example = DOCUMENTS[name]["examples"][k]
    validator(name).validate(example)
    validator("event.json").validate(example)
    if not scene.w.rows("SELECT 1 FROM projects WHERE name = 'garden'"):
        scene.w.project("garden")
        serving.wait_topic(scene.w, "garden")
    answer = scene.post("garden", example)
    assert answer.status_code == 202, answer.text


def changed(name, k, **fields):
    made = copy.deepcopy(DOCUMENTS[name]["examples"][k])
    for key, value in fields.items():
        if value is None:
            del made[key]
        else:
            made[key] = value
    return made


BAD = [("plain.json", changed("plain.json", 0, model=None)), ("plain.json", changed("plain.json", 0, inputs=None)),
       ("plain.json", changed("plain.json", 0, outputs=None)), ("plain.json", changed("plain.json", 0, latency_us=-1)),
       ("plain.json", changed("plain.json", 0, when="soon")), ("plain.json", changed("plain.json", 0, endpoint_id="a b")),
       ("plain.json", changed("plain.json", 0, id="x" * 257)), ("plain.json", changed("plain.json", 0, model=7)),
       ("columnar.json", changed("columnar.json", 0, columns=[1, 2])), ("columnar.json", changed("columnar.json", 0, model=None)),
       ("v2.json", changed("v2.json", 0, inputs=[{"name": "x", "shape": [1], "datatype": "FP31", "data": [1]}])),
       ("v2.json", changed("v2.json", 0, inputs=[{"name": "x", "shape": [-1], "datatype": "FP32", "data": [1]}])),
       ("cloudevent.json", changed("cloudevent.json", 0, type="org.example.other")),
       ("cloudevent.json", changed("cloudevent.json", 0, id=None)),
       ("cloudevent.json", changed("cloudevent.json", 0, inferenceservicename=None)),
       ("cloudevent.json", changed("cloudevent.json", 0, data={"predictions": [1]})),
       ("cloudevent.json", changed("cloudevent.json", 0, data="text")),
       ("label.json", changed("label.json", 0, request_id=None)), ("label.json", changed("label.json", 0, label=None)),
       ("mlrun.json", changed("mlrun.json", 0, when=None)), ("mlrun-ingest.json", changed("mlrun-ingest.json", 0, outputs=None)),
       ("mlrun-control.json", {"kind": "other"})]


@pytest.mark.parametrize("name,bad", BAD)
def test_what_a_schema_refuses_is_refused(scene, name, bad):
    project = "flowers-bad"
    if not scene.w.rows("SELECT 1 FROM projects WHERE name = %s", project):
        scene.w.project(project)
        serving.wait_topic(scene.w, project)
    bad = {k: v for k, v in bad.items() if k != "function_uri"} if name == "mlrun.json" else bad
    assert not validator(name).is_valid(bad) and not validator("event.json").is_valid(bad)
    answer = scene.post(project, bad)
    assert 400 <= answer.status_code < 500 and answer.headers["Content-Type"] == "application/problem+json", answer.text
    assert answer.json()["code"] and answer.json()["detail"]


# --- plain ---
def test_curl(scene):
    project = scene.project()
    event = '{"model":"iris","inputs":[[5.1,3.5],[6.2,2.8]],"outputs":[0,2]}'
    done = subprocess.run(["curl", "-sS", "--fail", scene.stream.url(f"/{project}"), "-d", event], capture_output=True, check=True,
                          text=True)
    assert json.loads(done.stdout) == {"status": "accepted", "endpoint_name": "iris"}
    rows, slot = scene.taken(project, "iris")
    assert [(r["f0"], r["f1"], r["p0"]) for r in rows] == [(5.1, 3.5, 0.0), (6.2, 2.8, 2.0)] and slot["requests"] == 1
    age = datetime.datetime.now(datetime.timezone.utc) - rows[0]["timestamp"].astimezone(datetime.timezone.utc)
    assert abs(age.total_seconds()) < 60, "the time it came at"


def test_lines_of_every_form_are_one_path(scene):
    project = scene.project()
    lines = [{"model": "m", "id": "1", "inputs": {"a": 1, "b": 2}, "outputs": 1},
             {"model": "m", "id": "2", "columns": ["b", "a"], "data": [[2, 1]], "outputs": [1]},
             {"model": "m", "id": "3", "instances": [{"a": 1, "b": 2}], "predictions": [1]},
             {"model": "m", "id": "4", "inputs": [{"name": n, "shape": [1], "datatype": "FP32", "data": [v]} for n, v in (("b", 2), ("a", 1))],
              "outputs": [{"name": "y", "shape": [1], "datatype": "INT64", "data": [1]}]}]
    answer = requests.post(scene.stream.url(f"/{project}"), "\n".join(map(json.dumps, lines)), timeout=20,
                           headers={"Content-Type": "application/x-ndjson"})
    assert answer.status_code == 202 and answer.json()["accepted"] == 4, answer.text
    rows, slot = scene.taken(project, "m")
    assert sorted(r["request_id"] for r in rows) == ["1", "2", "3", "4"] and slot["requests"] == 4
    assert all((r["a"], r["b"]) == (1.0, 2.0) for r in rows)
    assert not scene.reasons(project)


def test_fastapi(scene, tmp_path):
    if not scene.w.rows("SELECT 1 FROM projects WHERE name = 'flowers'"):
        scene.w.project("flowers")
        serving.wait_topic(scene.w, "flowers")
    (tmp_path / "serve.py").write_text(FASTAPI)
    env = dict(os.environ, MODELMON=scene.stream.url(""), PYTHONPATH=str(tmp_path))
    before = scene.stream.metric("modelmon_http_events_total", outcome="accepted")
    with open(tmp_path / "log", "wb") as log:
        port = free_port()
        server = subprocess.Popen([sys.executable, "-m", "uvicorn", "serve:app", "--port", str(port)], env=env, stdout=log,
                                  stderr=subprocess.STDOUT, cwd=tmp_path)
    try:
        def up():
            assert server.poll() is None, (tmp_path / "log").read_text()
            try:
                return httpx.get(f"http://127.0.0.1:{port}/openapi.json").status_code == 200
            except httpx.TransportError:
                return False
        mm.wait_for(up, 60, "uvicorn")
        answer = httpx.post(f"http://127.0.0.1:{port}/predict", json=[[1, 2], [30, 4]])
        assert answer.status_code == 200 and answer.json() == [0, 1]
        mm.wait_for(lambda: scene.stream.metric("modelmon_http_events_total", outcome="accepted") == before + 1, 20, "the event")
    finally:
        server.terminate()
        server.wait(20)
    rows, _ = scene.taken("flowers", "iris")
    assert [(r["width"], r["p0"]) for r in rows] == [(2.0, 0.0), (4.0, 1.0)] and all(r["latency"] >= 0 for r in rows)


def test_a_name_finds_the_record_that_was_made_first(scene):
    project = scene.project()
    pid = scene.w.one("SELECT id FROM projects WHERE name = %s", project)["id"]
    scene.w.endpoint(pid, "made-by-hand", "iris")
    assert scene.post(project, {"model": "iris", "inputs": [1], "outputs": [1]}).status_code == 202
    assert scene.post(project, {"model": "iris", "function": "serve", "inputs": [2], "outputs": [1]}).status_code == 202
    rows, _ = scene.taken(project, "iris")
    assert sorted(r["f0"] for r in rows) == [1.0, 2.0] and scene.uid(project, "iris") == "made-by-hand"
    first = scene.w.one("SELECT id FROM endpoints WHERE uid = 'made-by-hand' AND project_id = %s", pid)["id"]
    scene.w.rows("UPDATE endpoints SET latest = false, change_seq = nextval('change_seq') WHERE id = %s", first)
    scene.w.endpoint(pid, "its-successor", "iris")

    def moved():
        scene.post(project, {"model": "iris", "inputs": [3], "outputs": [1]})
        serving.wait_handled(scene.w, project)
        return serving.lake_rows(scene.w, project, "its-successor")
    mm.wait_for(moved, 20, "the name to mean the new record")


def test_names_of_two_functions_are_two_endpoints(scene):
    project = scene.project()
    for function in ("a", "b", "a"):
        assert scene.post(project, {"model": "m", "function": function, "inputs": [1], "outputs": [1]}).status_code == 202
    serving.wait_handled(scene.w, project)
    got = scene.w.rows("SELECT uid, function_name FROM endpoints e JOIN projects p ON p.id = e.project_id WHERE p.name = %s", project)
    assert {g["function_name"]: len(serving.lake_rows(scene.w, project, g["uid"])) for g in got} == {"a": 2, "b": 1}


# --- labels ---
def test_labels_are_kept_once(scene):
    project = scene.project()
    told = {"kind": "label", "request_id": "r-1", "label": {"species": "setosa"}, "when": "2025-01-02T00:00:00Z"}
    later = dict(told, label=2, when="2025-01-03T00:00:00Z", model="iris")
    for label in (told, told, later):
        answer = scene.post(project, label)
        assert answer.status_code == 202, answer.text
    assert scene.post(project, {"kind": "label", "request_id": "unknown", "label": True}).status_code == 202
    serving.wait_handled(scene.w, project)
    rows = scene.w.rows("SELECT l.* FROM labels l JOIN projects p ON p.id = l.project_id WHERE p.name = %s ORDER BY request_id, when_us", project)
    assert [(r["request_id"], json.loads(r["label"]), len(r["endpoint_uid"])) for r in rows] == [
        ("r-1", {"species": "setosa"}, 0), ("r-1", 2, 32), ("unknown", True, 0)]
    assert rows[0]["when_us"] == 1735776000000000 and abs(rows[2]["when_us"] - mm.now_us()) < 60_000_000
    assert not scene.w.rows("SELECT 1 FROM endpoints e JOIN projects p ON p.id = e.project_id WHERE p.name = %s", project)


# --- KServe: its agent is Go; these are the requests that its logger makes, header by header ---
def logged(scene, project, kind, body, ident, when=None, service="sklearn-iris", namespace="kserve-test", component="predictor", endpoint="",
           raw=None):
    headers = {"Ce-Id": ident, "Ce-Specversion": "1.0", "Ce-Type": f"org.kubeflow.serving.inference.{kind}",
               "Ce-Source": "http://localhost:9081/", "Ce-Inferenceservicename": service, "Ce-Namespace": namespace,
               "Ce-Component": component, "Ce-Endpoint": endpoint, "Ce-Metadata": "{}", "Content-Type": "application/json",
               "User-Agent": "Go-http-client/1.1"}
    if when:
        headers["Ce-Time"] = headers["Ce-Recordedtime"] = when
    return requests.post(scene.stream.url(f"/{project}"), raw if raw is not None else json.dumps(body), headers=headers, timeout=20)


def test_kserve_halves_are_one_prediction(scene):
    project = scene.project()
    half_before = scene.stream.metric("modelmon_stream_events_total", sink="lake", outcome="half")
    assert logged(scene, project, "request", {"instances": [[6.8, 2.8], [6.0, 3.4]]}, "id-1", "2025-01-01T00:00:01.000000001Z").status_code == 202
    assert logged(scene, project, "response", {"predictions": [1, 2]}, "id-1", "2025-01-01T00:00:01.25Z").status_code == 202
    # the answer first, V2, structured, another time zone
    tensor = {"name": "input-0", "shape": [1, 2], "datatype": "FP32", "data": [7, 8]}
    assert logged(scene, project, "response", {"model_name": "m", "outputs": [{"name": "p", "shape": [1], "datatype": "INT64", "data": [3]}]},
                  "id-2", "2025-01-01T00:00:03Z").status_code == 202
    structured = {"specversion": "1.0", "id": "id-2", "source": "x", "type": "org.kubeflow.serving.inference.request",
                  "time": "2025-01-01T01:00:02+01:00", "inferenceservicename": "sklearn-iris", "namespace": "kserve-test",
                  "component": "predictor", "endpoint": "", "data": {"inputs": [tensor]}}
    assert scene.post(project, structured, **{"Content-Type": "application/cloudevents+json"}).status_code == 202
    rows, slot = scene.taken(project, "sklearn-iris")
    got = sorted((r["request_id"], r["f0"], r["f1"], r["p0"], r["latency"], r["function_uri"]) for r in rows)
    assert got == [("id-1", 6.0, 3.4, 2.0, 250000.0, "kserve-test"), ("id-1", 6.8, 2.8, 1.0, 250000.0, "kserve-test"),
                   ("id-2", 7.0, 8.0, 3.0, 1000000.0, "kserve-test")]
    assert slot["requests"] == 2 and {serving.us_of(r["timestamp"]) for r in rows} == {1735689601000000, 1735689602000000}
    assert scene.stream.metric("modelmon_stream_events_total", sink="lake", outcome="half") == half_before + 2
    assert not scene.reasons(project)
    # sent again by whoever did not see the answer
    assert logged(scene, project, "response", {"predictions": [1, 2]}, "id-1", "2025-01-01T00:00:01.25Z").status_code == 202
    assert logged(scene, project, "request", {"instances": [[6.8, 2.8], [6.0, 3.4]]}, "id-1", "2025-01-01T00:00:01.000000001Z").status_code == 202
    assert len(scene.taken(project, "sklearn-iris")[0]) == 3


def test_kserve_parts_are_endpoints_of_their_own(scene):
    project = scene.project()
    for component, endpoint, value in (("predictor", "default", 1), ("transformer", "", 2), ("predictor", "canary", 3)):
        for kind, body in (("request", {"instances": [[value]]}), ("response", {"predictions": [value]})):
            assert logged(scene, project, kind, body, "same-id", component=component, endpoint=endpoint).status_code == 202
    for name, value in (("sklearn-iris", 1.0), ("sklearn-iris-transformer", 2.0), ("sklearn-iris-canary", 3.0)):
        rows, _ = scene.taken(project, name)
        assert [(r["f0"], r["p0"]) for r in rows] == [(value, value)]


def test_a_half_alone_is_told(scene):
    project = scene.project()
    before = scene.stream.metric("modelmon_dead_letters_total", pipeline="statistics", reason="unpaired")
    assert logged(scene, project, "request", {"instances": [[1.0]]}, "lost").status_code == 202
    over = time.monotonic() + 2.5  # PAIR_WAIT is 2 s
    serving.wait_handled(scene.w, project)
    mm.wait_for(lambda: time.monotonic() > over, 10, "its time to be over")
    assert not scene.reasons(project), "the log alone decides, and no record came after it"
    assert scene.stream.metric("modelmon_stream_halves_waiting", sink="statistics") >= 1

    def told():  # later records of its partition let it go
        assert logged(scene, project, "request", {"instances": [[1.0]]}, uuid.uuid4().hex).status_code == 202
        serving.wait_handled(scene.w, project)
        return [d for d in serving.dead_letters(scene.w, project) if b'"lost"' in bytes(d["payload"])]
    letter = mm.wait_for(told, 30, "its dead letter")[0]
    assert letter["reason"] == "unpaired" and "response" in letter["error"]
    assert scene.stream.metric("modelmon_dead_letters_total", pipeline="statistics", reason="unpaired") > before
    assert logged(scene, project, "response", {"predictions": [1]}, "lost").status_code == 202
    serving.wait_handled(scene.w, project)
    assert not scene.w.rows("SELECT 1 FROM slots s JOIN projects p ON p.id = s.project_id WHERE p.name = %s", project)


def test_halves_that_do_not_fit_are_dead_letters_and_may_come_again(scene):
    project = scene.project()
    assert logged(scene, project, "request", {"instances": [[1.0], [2.0]]}, "x").status_code == 202
    assert logged(scene, project, "response", {"predictions": [1]}, "x").status_code == 202
    serving.wait_handled(scene.w, project)
    assert scene.reasons(project) == ["row_count_mismatch"] * 2
    assert logged(scene, project, "request", {"instances": [[1.0], [2.0]]}, "x").status_code == 202
    assert logged(scene, project, "response", {"predictions": [1, 2]}, "x").status_code == 202
    assert len(scene.taken(project, "sklearn-iris")[0]) == 2


@pytest.mark.parametrize("kind,raw,code,position", [
    ("request", b'{"instances":[[1],[2,3]]}', "ragged_rows", 18), ("request", b"{oops}", "malformed_json", 1), ("request", b"7", "wrong_type", 0),
    ("request", b"\x08\x01\x02", "malformed_json", 0), ("response", b'{"instances":[1]}', "missing_outputs", 0),
    ("request", b'{"instances":[1]},"endpoint":"canary"', "malformed_json", None), ("explain", b"{}", "unknown_kind", 0)])
def test_a_bad_half_is_answered(scene, kind, raw, code, position):
    answer = logged(scene, "flowers", kind, None, "bad", raw=raw)
    if answer.status_code == 404:  # this test ran alone
        scene.w.project("flowers")
        serving.wait_topic(scene.w, "flowers")
        answer = logged(scene, "flowers", kind, None, "bad", raw=raw)
    assert answer.status_code == 400 and answer.json()["code"] == code, answer.text
    assert position is None or answer.json()["position"] == position, "in the body that was sent"


def test_a_restart_between_the_halves_loses_nothing():
    with mm.World() as w:
        options = dict(CONSUMER_INSTANCE="one", TOPIC_PARTITIONS=1, DEDUPE_RECORDS=0, PAIR_RECORDS=200, **serving.FAST)
        n = 40
        with w.service("stream", **options) as stream:
            w.migrated()
            w.project("p")
            stream.wait_ready()
            serving.wait_topic(w, "p")
            scene = Scene(w, stream)
            for k in range(n):
                assert logged(scene, "p", "request" if k % 2 else "response", {"instances": [[float(k)]]} if k % 2 else {"predictions": [k]},
                              f"id-{k}", f"2025-01-01T00:00:{k:02}Z").status_code == 202
            serving.wait_handled(w, "p")  # committed: the next life does not handle them again
            assert logged(scene, "p", "response", {"predictions": [1]}, "id-1", "2025-01-01T00:01:00Z").status_code == 202
            serving.wait_handled(w, "p")
            stream.kill9()
        with w.service("stream", **options) as stream:
            stream.wait_ready()
            scene = Scene(w, stream)
            for k in range(n):
                assert logged(scene, "p", "response" if k % 2 else "request", {"predictions": [k]} if k % 2 else {"instances": [[float(k)]]},
                              f"id-{k}", f"2025-01-01T00:01:{k:02}Z").status_code == 202
            rows, slot = scene.taken("p", "sklearn-iris")
            assert sorted(r["f0"] for r in rows) == [float(k) for k in range(n)] and slot["requests"] == n
            assert sorted(r["p0"] for r in rows) == [float(k) for k in range(n)]
            assert not scene.reasons("p")
