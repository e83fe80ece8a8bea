"""The operations and the llm app as black boxes: stream, controller, lake and app together, results out."""
import json

import numpy
import pytest

import mm

PERIOD = 10 * mm.MINUTE_US
START = mm.now_us() // PERIOD * PERIOD - 2 * PERIOD
END = START + PERIOD


@pytest.fixture
def world():
    with mm.World() as w:
        yield w


def event(uid, k, at=START, **more):
    return {"model": "model", "model_class": "M", "microsec": 1000 * (k + 1), "when": mm.mlrun_time(at + 1 + k), "endpoint_id": uid,
            "labels": {}, "function_uri": "p/serving:latest", "resp": {"outputs": [0], "output_schema": ["y"]}, "error": None,
            "request": {"inputs": [[k]], "id": f"r{k}-{at}", "input_schema": ["a"]}, "metrics": None, "sampling_percentage": 100,
            "effective_sample_count": 1, **more}


def results(world, app):
    """{window start: {name: data}} of what the app has answered."""
    found = {}
    for record in world.consume(world.topic("p", "model-monitoring-writer")):
        e = json.loads(record.value)
        if e["application_name"] == app:
            data = json.loads(e["data"])
            found.setdefault(e["modelmon"]["window_start_us"], {})[data.get("result_name") or data.get("metric_name")] = data
    return found


def post(stream, *events):
    stream.wait_ready()
    answer = mm.wait_for(lambda: stream.post("/p", "\n".join(map(json.dumps, events))), 20)
    assert answer.status_code == 202, answer.text


def test_operations_tells_of_latency_errors_and_silence(world):
    with world.service("operations-app", ARRIVAL_RATE="0.1") as app, \
            world.service("stream", STATISTICS_INTERVAL="100ms", LAKE_AGE="100ms") as stream, world.service("controller"):
        world.migrated()
        project = world.project("p")
        uid = world.endpoint(project)["uid"]
        mm.wait_for(lambda: world.rows("SELECT 1 FROM apps WHERE name = 'operations' AND active AND wants_empty"))
        post(stream, *[event(uid, k) for k in range(100)], *[event(uid, k, error="boom") for k in range(100, 125)],
             *[event(uid, k, at=START - 2 * PERIOD, error="boom") for k in range(20)])
        def three():
            found = results(world, "operations")
            return {START, START - PERIOD, START - 2 * PERIOD} <= set(found) and found
        found = mm.wait_for(three, 40, "three windows")
        served, failed, silent = found[START], found[START - 2 * PERIOD], found[START - PERIOD]
        assert served["latency_p95_ms"]["result_value"] == pytest.approx(numpy.percentile(numpy.arange(1, 101), 95), rel=0.02)
        assert served["error_rate"]["result_value"] == 0.2 and served["error_rate"]["result_status"] == 2
        assert served["data_arrival"]["result_value"] == pytest.approx(125 / 60)
        assert served["throughput"]["metric_value"] == pytest.approx(125 / 600)
        assert json.loads(served["error_rate"]["result_extra_data"])["detected"] == 0.05
        assert failed["error_rate"]["result_value"] == 1 and "latency_p95_ms" not in failed
        assert silent["data_arrival"]["result_value"] == 0 and silent["data_arrival"]["result_status"] == 2
        assert app.metric("modelmon_app_windows_total", outcome="failed") == 0


def test_operations_knows_what_is_usual(world):
    with world.service("operations-app", MIN_REQUESTS="5") as app:
        world.migrated()
        project = world.project("p")
        endpoint = world.endpoint(project, first_request_us=START - 20 * mm.DAY_US, last_request_us=START)
        days = [40, 60, 50, 0, 70]
        world.days(START, *[START - (i + 1) * mm.DAY_US for i in range(5)])
        for i, n in enumerate([20] + days):
            world.rows("INSERT INTO slots (project_id, endpoint_id, slot_start_us, slot_us, schema_version, reference_version, topic, "
                       "partition, flush_offset, requests, rows, errors, estimated, format, body) VALUES "
                       "(%s, %s, %s, 60000000, 0, 0, 't', 0, 1, %s, 0, %s, 0, 1, %s)", project, endpoint["id"],
                       START - i * mm.DAY_US + mm.MINUTE_US, n, n, error_slot(n))
        topic = world.topic("p", "operations")
        mm.wait_for(lambda: world.rows("SELECT 1 FROM ledger WHERE topic = %s", topic), 30)
        world.produce(topic, {"start_infer_time": mm.mlrun_time(START - 1), "end_infer_time": mm.mlrun_time(END - 1),
                              "endpoint_id": endpoint["uid"], "endpoint_name": "model", "application_name": "operations",
                              "endpoint_updated": "2025-01-01T00:00:00+00:00",
                              "modelmon": {"project": "p", "window_start_us": START, "window_end_us": END, "revision": 1}})
        arrival = mm.wait_for(lambda: results(world, "operations"), 30)[START]["data_arrival"]
        extra = json.loads(arrival["result_extra_data"])
        assert extra["expected"] == numpy.median(days + [0, 0]) and extra["days"] == 7 and extra["requests"] == 20
        assert arrival["result_value"] == 0.5 and arrival["result_status"] == 1
        assert app.metric("modelmon_app_windows_total", outcome="tracked") == 1


def error_slot(n):
    """A slot's blob with n failed requests and no columns: format, requests, rows, errors, estimated, an empty sketch, 0, 0."""
    assert n < 128
    return bytes([1, n, 0, n]) + bytes(8) + EMPTY_SKETCH + bytes([0, 0])


EMPTY_SKETCH = bytes([0])


def test_llm_reads_texts_where_it_is_wanted(world):
    with world.service("llm-app", APP_PROJECTS="other,p", MIN_ANSWERS="10") as app, \
            world.service("stream", STATISTICS_INTERVAL="100ms", LAKE_AGE="100ms") as stream, world.service("controller"):
        world.migrated()
        project, unserved = world.project("p"), world.project("unserved")
        uid = world.endpoint(project)["uid"]
        mm.wait_for(lambda: world.rows("SELECT 1 FROM apps WHERE project_id = %s AND active AND needs_rows", project))
        answers = ["I am sorry, but no.", "  ", "A long answer"] * 4
        post(stream, *[event(uid, k, request={"inputs": [["x" * (k + 1)]], "id": f"r{k}", "input_schema": ["prompt"]},
                             resp={"outputs": [[a]], "output_schema": ["answer"]}, metrics={"completion_tokens": 5}, microsec=100_000)
                       for k, a in enumerate(answers)])
        found = mm.wait_for(lambda: results(world, "llm"), 40, "an answer")[START]
        assert found["empty_answers"]["result_value"] == pytest.approx(1 / 3) and found["empty_answers"]["result_status"] == 2
        assert found["refused_answers"]["result_value"] == pytest.approx(1 / 3) and found["refused_answers"]["result_status"] == 2
        assert found["prompt_length_mean"]["metric_value"] == 6.5
        assert found["tokens_per_second"]["metric_value"] == pytest.approx(50)
        assert not world.rows("SELECT 1 FROM apps WHERE project_id = %s AND active", unserved)
        app.term()
        with world.service("llm-app"):  # it serves none now: the controller is told
            mm.wait_for(lambda: not world.rows("SELECT 1 FROM apps WHERE active"))


@pytest.mark.parametrize("wrong", ["nowhere", "empty"])
def test_a_wrong_lake_is_told_from_the_start(world, tmp_path, wrong):
    """Before any window comes, in /readyz and once in the log, with what to do; it goes when the lake is there."""
    folder = tmp_path / wrong
    if wrong == "empty":
        folder.mkdir()
    with world.service("llm-app", LAKE_DIR=str(folder)) as app, world.service("stream"):
        world.migrated()
        app.wait_ready()
        lake = lambda: next((d for d in app.get("/readyz").json()["dependencies"] if d["name"] == "lake"), {})
        mm.wait_for(lambda: lake()["state"] == "degraded")
        assert lake()["detail"].startswith(f"LAKE_DIR {folder}: ") and "set LAKE_DIR to the folder that stream writes to" in lake()["detail"]
        told = [e for e in app.events("dependency") if e["name"] == "lake"]
        assert len(told) == 1 and told[0]["words"] == lake()["detail"]
        (folder / ".tmp").mkdir(parents=True)  # as mounting it does
        mm.wait_for(lambda: lake()["state"] == "ok")


@pytest.mark.parametrize("app", ["operations-app", "llm-app"])
def test_readme_has_every_option_and_metric(world, app):
    told, printed = mm.readme_options(app)
    assert told == printed, f"run: python3 tests/support/mm.py readme {app}"
    with world.service(app) as s:
        s.wait_ready()
        names = {line.split()[2] for line in s.get("/metrics").text.splitlines() if line.startswith("# HELP modelmon_app_")}
    assert names and names <= mm.readme_names(app)
