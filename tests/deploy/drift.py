"""A drift result through the published ports of a running installation: rows in by the stream's, results out by the api's.

drift.py STREAM_URL API_URL STATE first|again      first: makes the endpoint, no drift, then drift; again: drift of the same endpoint
API_TOKEN is an access token that may all. Prints `ok NAME` and `FAIL NAME` lines; rc 1 after a failure.
"""
import datetime
import json
import os
import random
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

STREAM, API, STATE, PHASE = sys.argv[1:]
HEADERS = {"Authorization": f"Bearer {os.environ['API_TOKEN']}"}
PROJECT, APP, PERIOD, ROWS = "deploy", "histogram-data-drift", 5, 200
FEATURES = ["length", "width", "height"]


def call(method, url, body=None, patience=60):
    """What it answered; tries again while the service says that it cannot now."""
    data = None if body is None else json.dumps(body).encode()
    end = time.monotonic() + patience
    while True:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, data=data, method=method, headers=HEADERS), timeout=15) as answer:
                text = answer.read()
                return json.loads(text) if text[:1] in b"[{" and text else text
        except urllib.error.HTTPError as e:
            text = e.read().decode(errors="replace")
            if e.code not in (429, 503) or time.monotonic() > end:
                raise AssertionError(f"{method} {url}: {e.code} {text[:300]}") from None
        except OSError as e:
            if time.monotonic() > end:
                raise AssertionError(f"{method} {url}: {e}") from None
        time.sleep(0.2)


def rows(rng, n, shift):
    return [[rng.gauss(mean + shift, 1.0) for mean in (10.0, 20.0, 30.0)] for _ in range(n)]


def event(uid, row):
    return {"model": "box", "class": "Linear", "function_uri": f"{PROJECT}/serving:latest", "endpoint_id": uid,
            "op": "infer", "microsec": 500, "request": {"inputs": [row]},
            "when": datetime.datetime.now(datetime.timezone.utc).isoformat(sep=" ", timespec="microseconds"),
            "resp": {"id": uuid.uuid4().hex, "outputs": [sum(row)]}}


def serve(uid, data):
    """All within one window; gives its start."""
    time.sleep(PERIOD - time.time() % PERIOD + 0.2)
    start = time.time() // PERIOD * PERIOD
    call("POST", f"{STREAM}/{PROJECT}", [event(uid, row) for row in data], patience=0)
    assert time.time() // PERIOD * PERIOD == start, "the window was over before all rows were sent"
    return start


def result(uid, start, name="general_drift", seconds=60):
    """[time, value, status, extra] of that window."""
    iso = lambda t: datetime.datetime.fromtimestamp(t, datetime.timezone.utc).isoformat()
    query = urllib.parse.urlencode({"name": f"{PROJECT}.{APP}.result.{name}", "start": iso(start - 1),
                                    "end": iso(start + 10 * PERIOD)})
    url = f"{API}/api/v1/projects/{PROJECT}/model-endpoints/{uid}/metrics-values?{query}"
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for value in (call("GET", url) or [{}])[0].get("values", []):
            at = datetime.datetime.fromisoformat(value[0].replace("Z", "+00:00")).timestamp()
            if start < at <= start + PERIOD + 0.001:
                return value
        time.sleep(0.2)
    raise AssertionError(f"no {name} for the window at {iso(start)} within {seconds} s")


def samples(value):
    extra = json.loads(value[3]) if isinstance(value[3], str) and value[3] else value[3] or {}
    return extra.get("samples")


def make_endpoint(rng):
    call("PUT", f"{API}/api/v1/projects/{PROJECT}",
         {"metadata": {"name": PROJECT}, "spec": {"monitoring": {"base_period": f"{PERIOD}s", "enabled": True}}})
    record = call("POST", f"{API}/api/v1/projects/{PROJECT}/model-endpoints?creation-strategy=inplace",
                  {"metadata": {"name": "box", "project": PROJECT},
                   "spec": {"model_name": "box", "function_name": "serving", "function_tag": "latest",
                            "feature_names": FEATURES, "label_names": ["volume"]},
                   "status": {"monitoring_mode": "enabled"}})
    uid = record["metadata"]["uid"]
    call("PUT", f"{API}/api/v1/projects/{PROJECT}/model-endpoints/{uid}/reference",
         {"columns": FEATURES + ["volume"], "data": [r + [sum(r)] for r in rows(rng, 2000, 0)], "labels": ["volume"]})
    with open(STATE, "w") as f:
        f.write(uid)
    return uid


def wanted(value, statuses):
    assert value[2] in statuses, f"status {value[2]}, value {value[1]}"
    assert samples(value) == ROWS, f"{samples(value)} rows counted, {ROWS} sent"
    return f"general_drift {value[1]:.2f}, status {value[2]}, {ROWS} rows"


def first():
    rng = random.Random(1)
    uid = make_endpoint(rng)
    yield "project, endpoint and reference", lambda: uid
    yield "same data: no drift", lambda: wanted(result(uid, serve(uid, rows(rng, ROWS, 0))), (0,))
    yield "other data: drift", lambda: wanted(result(uid, serve(uid, rows(rng, ROWS, 5))), (2,))
    yield "the page shows it", lambda: b"<svg" in call("GET", f"{API}/ui/p/{PROJECT}/endpoints/{uid}") or 1 / 0


def again():
    rng = random.Random(2)
    with open(STATE) as f:
        uid = f.read()
    yield "after that: drift", lambda: wanted(result(uid, serve(uid, rows(rng, ROWS, 5))), (2,))


def main():
    bad, name = 0, PHASE
    steps = {"first": first, "again": again}[PHASE]()
    try:
        for name, step in steps:
            t = time.monotonic()
            print(f"ok   {name}: {step()} ({time.monotonic() - t:.1f} s)", flush=True)
    except (AssertionError, KeyError, ZeroDivisionError, ValueError) as e:
        print(f"FAIL {name}\n{type(e).__name__}: {e}", flush=True)
        bad = 1
    return bad


sys.exit(main())
