"""Beside an MLRun that runs already (scripts/mirror-mlrun): its topic is read, its records and references pulled, nothing is written there."""
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.parse

import numpy
import pytest

import mm
import serving
import system

PERIOD_US = 60_000_000
START = mm.now_us() // PERIOD_US * PERIOD_US - 5 * PERIOD_US
UID = "5f" * 16


class Upstream:
    """MLRun's server as far as it is asked: a client-spec and one endpoint, with the padded statistics that it serves."""

    def __init__(self, system_id, stats):
        self.calls, self.stats, self.away = [], stats, False
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def take(self):
                fake.calls.append((self.command, self.path, self.headers.get("Authorization")))
                at = urllib.parse.urlparse(self.path)
                body = {"/api/v1/client-spec": {"version": "1.12.1", "system_id": system_id},
                        "/api/v1/projects/p/model-endpoints": {"endpoints": [fake.record(False)]},
                        "/api/v1/projects/p/model-endpoints/m": fake.record("feature-analysis=True" in at.query)}.get(at.path)
                data = json.dumps(body).encode()
                self.send_response(503 if fake.away else 200 if body and self.command == "GET" else 404)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = take

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def record(self, whole):
        return {"kind": "model-endpoint", "metadata": {"name": "m", "project": "p", "uid": UID, "endpoint_type": 1, "mode": 0, "labels": {},
                                                       "updated": "2026-01-01T00:00:00+00:00"},
                "spec": {"function_name": "serving", "function_tag": "latest", "model_class": "M", "model_name": "m", "feature_names": ["a", "b", "y"],
                         "label_names": ["y"], "feature_stats": self.stats if whole else {}, "function_uri": "p/serving", "model_uri": ""},
                "status": {"monitoring_mode": "enabled", "sampling_percentage": 100}}


def padded(values):
    low, high = -1.7976931348623157e308, 1.7976931348623157e308
    counts, edges = numpy.histogram(values, bins=20)
    return {"count": float(len(values)), "mean": float(numpy.mean(values)), "std": float(numpy.std(values)), "min": float(min(values)), "max": float(max(values)),
            "hist": [[0, *counts.tolist(), 0], [low, *edges.tolist(), high]]}


@pytest.fixture
def scene():
    rng = numpy.random.default_rng(3)
    with mm.World() as w, system.System(w) as s:
        token, theirs = os.path.join(w.folder, "token"), w.id + "_u"
        with open(token, "w") as f:
            f.write("their-token\n")
        s.upstream = Upstream(theirs, {c: padded(rng.normal(size=500)) for c in "ab"} | {"y": padded(rng.integers(0, 2, 500).astype(float))})
        s.topic = f"monitoring_stream_{theirs}_p_v1"
        s.env = w.env(MLRUN_UPSTREAM=s.upstream.url, MLRUN_UPSTREAM_TOKEN_FILE=token, MODELMON_API=s.api.url(""), UPSTREAM_EVERY=1)
        s.log = os.path.join(w.folder, "mirror.log")
        yield s
        s.upstream.server.shutdown()
        s.upstream.server.server_close()


def start(s):
    with open(s.log, "ab") as out:
        return subprocess.Popen([sys.executable, os.path.join(mm.ROOT, "scripts/mirror-mlrun"), "p"], env=s.env, stdin=subprocess.DEVNULL, stdout=out, stderr=out)


def send(s, first, n, rng):
    for i in range(first, first + n):
        s.w.produce(s.topic, serving.event(UID, [rng.normal(size=2).tolist()], [float(i % 2)], START + 1000 + i * 1000, f"r{i}", "p", "m"))


def forget(s):
    """As if it had been killed before it committed anything."""
    from kafka import KafkaConsumer, TopicPartition
    from kafka.structs import OffsetAndMetadata
    at = TopicPartition(s.topic, 0)
    consumer = KafkaConsumer(bootstrap_servers=s.w.brokers, group_id=f"{s.w.id}-upstream", enable_auto_commit=False)
    consumer.assign([at])

    def reset():
        try:
            consumer.commit({at: OffsetAndMetadata(0, None, -1)})
            return True
        except Exception:  # the group still waits for the one that was killed
            return False
    mm.wait_for(reset, 60, "its offset is taken back")
    consumer.close()


def test_what_comes_to_it_is_monitored_here_and_it_is_left_as_it_is(scene):
    s, rng = scene, numpy.random.default_rng(4)
    s.project("p", "1m")
    s.w.make_topic(s.topic)
    send(s, 0, 60, rng)
    child = start(s)
    try:
        mm.wait_for(lambda: s.w.rows("SELECT 1 FROM endpoints WHERE uid = %s", UID), 60, "the record is pulled")
        mm.wait_for(lambda: s.record("p", "m", UID)["status"]["last_request"], 60, "its events are counted")
        child.kill()
        child.wait()
        forget(s)
        send(s, 60, 60, rng)
        s.upstream.away = True
        child = start(s)
        mm.wait_for(lambda: '"away"' in open(s.log).read(), 30, "upstream is away")
        s.upstream.away = False
        s.wait_results("p", UID, 120, 90)  # each once, whatever came twice
        child.send_signal(signal.SIGTERM)
        assert child.wait(30) == 0
    finally:
        child.kill()
        child.wait()
        print(open(s.log).read()[-4000:])
    record = s.record("p", "m", UID)
    assert record["spec"]["feature_names"] == ["a", "b"] and record["spec"]["label_names"] == ["y"]
    assert record["spec"]["feature_stats"]["a"]["hist"] == s.upstream.stats["a"]["hist"]
    assert {method for method, _, _ in s.upstream.calls} == {"GET"}, "nothing is written there"
    assert {token for _, _, token in s.upstream.calls} == {"Bearer their-token"}
    assert s.results("p", UID)[START]["value"] > 0 and s.results("p", UID)[START]["status"] in (0, 1, 2), "against the reference that was pulled"
    assert len(s.w.consume(s.topic)) == 120, "its topic has what its functions sent, and no more"
    assert not s.w.rows("SELECT 1 FROM dead_letters")
