"""MLRun's own serving code in, a drift result out: by Kafka as it sends, the same records by HTTP, and its HTTP ingest form."""
import json
import os
import subprocess
import sys

import numpy
import pandas
import pytest

import mm
import serving
import system

PERIOD_US = 5_000_000
FEATURES, LABEL = ["len", "width", "depth"], "size"
UID = "2f9d6f3c7a5b4c1e8d0a1b2c3d4e5f60"


@pytest.fixture(scope="module")
def sys_():
    with mm.World() as w, system.System(w) as s:
        yield s


def training(n=400):
    x = numpy.random.default_rng(1).normal([5.0, 3.0, 1.0], [1.0, 0.5, 0.2], size=(n, 3))
    return numpy.column_stack([x, x.mean(axis=1)])


def prepare(s, project):
    s.project(project, "5s")
    uid = s.endpoint(project, "my-model", FEATURES, [LABEL], uid=UID)
    assert uid == UID
    s.reference(project, uid, {"columns": FEATURES + [LABEL], "data": training().tolist(), "labels": [LABEL]})


@pytest.fixture(scope="module")
def served(sys_):
    """60 requests of 5 rows through MLRun's router and V2ModelServer, one of them an error; what it answered."""
    prepare(sys_, "my-proj")
    rng = numpy.random.default_rng(2)
    batches = [rng.normal([9.0, 5.5, 2.0], [1.0, 0.5, 0.2], size=(5, 3)).tolist() for _ in range(60)]
    script = os.path.join(mm.ROOT, "tests/support/mlrun_serving.py")
    child = subprocess.Popen([sys.executable, script, sys_.w.brokers, sys_.w.topic("my-proj"), "my-proj", UID], text=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert json.loads(child.stdout.readline()) == {"ready": True}
    system.wait_window(PERIOD_US, 3_000_000)
    requests = [{"inputs": b} for b in batches] + [{"inputs": ["boom"]}, {"inputs": batches[0][0]}]
    out, _ = child.communicate("".join(json.dumps(r) + "\n" for r in requests), timeout=60)
    answers = [json.loads(line) for line in out.splitlines()]
    assert child.returncode == 0 and answers[-1] == {"flushed": 1}
    return batches + [[batches[0][0]]], answers[:-1]


def test_what_mlrun_served_is_in_the_lake(sys_, served):
    batches, answers = served
    serving.wait_handled(sys_.w, "my-proj")
    good = [a for a in answers if "outputs" in a]
    assert len(answers) == 62 and len(good) == 61 and "bad input" in answers[60]["error"]
    records = sys_.w.consume(sys_.w.topic("my-proj"))
    assert len(records) == 62 and {r.key for r in records} == {UID.encode()}
    rows = serving.lake_rows(sys_.w, "my-proj", UID)
    got = [(r["request_id"], [r[f] for f in FEATURES], r[LABEL]) for r in rows]
    want = [(a["id"], row, out) for a, b in zip(good, batches) for row, out in zip(b, a["outputs"])]
    assert sorted(got) == sorted(want) and len(got) == 301
    assert {r["endpoint_name"] for r in rows} == {"my-model"} and {r["model_class"] for r in rows} <= {"Regression", ""}
    total = serving.total(sys_.w, UID, "my-proj")
    assert (total["requests"], total["rows"], total["errors"]) == (62, 301, 1)
    assert not serving.dead_letters(sys_.w, "my-proj")


def test_pandas_and_pyarrow_read_the_lake(sys_, served):
    import pyarrow.dataset
    batches, _ = served
    serving.wait_handled(sys_.w, "my-proj")
    folder = os.path.dirname(serving.lake_folder(sys_.w, "my-proj", UID))
    df = pandas.read_parquet(os.path.join(folder, f"key={UID}"))
    assert len(df) == 301 and str(df["timestamp"].dtype) == "datetime64[us, UTC]"
    assert {"year", "month", "day", "hour"} <= set(df.columns)
    everything = numpy.array([row for b in batches for row in b])
    assert numpy.allclose(numpy.sort(df["len"].to_numpy()), numpy.sort(everything[:, 0]), rtol=0, atol=0)
    data = pyarrow.dataset.dataset(folder, partitioning="hive")
    when = df["timestamp"].iloc[0]
    part = data.to_table(filter=(pyarrow.dataset.field("key") == UID) & (pyarrow.dataset.field("hour") == when.hour))
    assert part.num_rows > 0 and set(part.column_names) >= set(serving.META) | set(FEATURES) | {LABEL}
    # MLRun's own filter of a window: start < timestamp <= end
    newer = pandas.read_parquet(os.path.join(folder, f"key={UID}"), filters=[("timestamp", ">", when)])
    assert len(newer) < 301


def test_drift_is_found_and_shown(sys_, served):
    windows = sys_.wait_results("my-proj", UID, 301)
    values = sys_.values("my-proj", UID)
    assert len(values) == len(windows)
    biggest = max(windows, key=lambda w: w["rows"])
    time_, drift, status, extra = values[biggest["window_end_us"]][:4]
    assert status == 2 and drift > 0.8, (drift, status, extra)
    features = json.loads(extra)["features"] if isinstance(extra, str) else extra["features"]
    assert all(features[f]["tvd"] > 0.8 for f in FEATURES) and set(features) == {*FEATURES, LABEL}
    assert features["size"]["label"] is True
    record = sys_.record("my-proj", "my-model", UID)
    assert record["spec"]["feature_names"][:3] == FEATURES and record["status"]["result_status"] == 2
    assert record["status"]["error_count"] == 1 and record["status"]["avg_latency"] > 0
    assert record["status"]["drift_measures"]["len"]["hellinger"] > 0.8
    page = sys_.api.get(f"/ui/p/my-proj/endpoints/{UID}")
    assert page.status_code == 200 and "<svg" in page.text and "my-model" in page.text


def test_the_same_records_by_http(sys_, served):
    """What MLRun sent by Kafka, posted instead (its own HTTP sink answers 400 to every inference): the same numbers."""
    s = sys_
    prepare(s, "by-http")
    serving.wait_handled(s.w, "my-proj")
    records = [r.value.decode().replace('"my-proj/', '"by-http/') for r in s.w.consume(s.w.topic("my-proj"))]
    for record in records[:20]:
        assert s.stream.post("/by-http", record).status_code == 202
    assert s.stream.post("/", "[" + ",".join(records[20:40]) + "]").json()["accepted"] == 20
    assert s.stream.post("/by-http", "\n".join(records[40:])).json()["accepted"] == len(records) - 40
    s.wait_results("by-http", UID, 301)
    s.wait_results("my-proj", UID, 301)
    for name, kind in (("general_drift", "result"), ("prediction_drift", "result"), ("hellinger_mean", "metric"),
                       ("kld_mean", "metric"), ("tvd_mean", "metric")):
        a, b = (s.values(p, UID, name, kind=kind) for p in ("my-proj", "by-http"))
        assert a and {k: v[1:3] for k, v in a.items()} == {k: v[1:3] for k, v in b.items()}, name
    rows = [[(r["request_id"], r["timestamp"], *serving.columns_of(r).values()) for r in serving.lake_rows(s.w, p, UID)]
            for p in ("my-proj", "by-http")]
    assert sorted(rows[0]) == sorted(rows[1])


def test_mlruns_http_ingest_form(sys_):
    s = sys_
    prepare(s, "ingest")
    x = training(200)
    start = system.wait_window(PERIOD_US, 3_000_000)
    for i, row in enumerate(x[:80]):
        answer = s.stream.post("/ingest", serving.ingest(UID, {n: [v] for n, v in zip(FEATURES, row[:3])}, [row[3]], mm.now_us(),
                                                         f"r{i}", "my-model", latency=150.0))
        assert answer.status_code == 202 and answer.json() == {"status": "accepted", "endpoint_id": UID, "endpoint_name": "my-model"}
    assert s.stream.post("/ingest", {"model_endpoint_uid": UID, "inputs": [[1]]}).status_code == 400
    windows = s.wait_results("ingest", UID, 80)
    assert windows[0]["window_start_us"] >= start
    biggest = max(windows, key=lambda w: w["rows"])
    _, drift, status = s.values("ingest", UID)[biggest["window_end_us"]][:3]
    assert status == 0 and drift < 0.5, "what it was trained on does not drift"
