#!/usr/bin/env python3
"""The seven services together: how fresh a result is, what each holds in memory when idle, how fast each starts.

freshness   the longest time from a window's close (the controller's closed_us) to its result in the API's answer, over some
            endpoints and windows; every endpoint must have a result of every window
rss_idle    the largest VmRSS of a service that is connected and has been idle for 10 s
start       the slowest service's median time from exec to /livez 200 and all it depends on connected; the join of Kafka's groups
            (the pipelines' own items) is not waited for. The database has its tables already.
The bars are absolute. Options of the services are the defaults but for names, addresses and SINKS.
"""
import contextlib
import datetime
import json
import os
import random
import statistics
import sys
import threading
import time

import mm
import requests
import serving

SMOKE = bool(os.environ.get("MM_BENCH_SMOKE"))
SERVICES = ("api", "stream", "controller", "histogram-drift-app", "llm-app", "operations-app", "writer")
PROJECT, APP = "fresh", "histogram-data-drift"
ENDPOINTS, WINDOWS, PERIOD_S, FEATURES = (2, 1, 2, 2) if SMOKE else (8, 5, 5, 20)
IDLE_S, STARTS = (1, 1) if SMOKE else (10, 5)
JOINS = ("statistics", "lake", "writer", "app:" + APP, "app:llm", "app:operations")  # health items of pipelines: ready once Kafka's group has been joined
SECOND_US = 1_000_000


def say(text):
    print("# " + text, file=sys.stderr, flush=True)


def line(bench, value, unit, bar):
    print(json.dumps({"bench": bench, "value": round(value, 3), "unit": unit, "yardstick": None, "ratio": None, "bar": bar,
                      "ok": value <= bar}), flush=True)
    return value <= bar


# --- start ---
def is_connected(service):
    """Whether it serves and everything it depends on is there."""
    try:
        if requests.get(service.url("/livez"), timeout=1).status_code != 200:
            return False
        answer = requests.get(service.url("/readyz"), timeout=1).json()
    except requests.exceptions.RequestException:
        return False
    items = {d["name"]: d["state"] for d in answer["dependencies"] if d["name"] not in JOINS}
    return bool(items) and all(state == "ok" for state in items.values())


def start_ms(world, name):
    service = world.service(name)
    began = time.monotonic()
    service.start(serve=False)
    port_file = os.path.join(service.folder, service.tag + ".port")
    try:
        while not os.path.exists(port_file):
            time.sleep(0.001)
            if service.child.poll() is not None or time.monotonic() > began + 30:
                raise RuntimeError(f"{name} does not start\n{service.text()[-3000:]}")
        with open(port_file) as f:
            service.port = int(f.read())
        while not is_connected(service):
            time.sleep(0.002)
            if time.monotonic() > began + 30:
                raise RuntimeError(f"{name} does not connect: {service.get('/readyz').text}")
        return (time.monotonic() - began) * 1000
    finally:
        assert service.term()[0] == 0, service.text()[-3000:]


def bench_start(world):
    medians = {}
    for name in SERVICES:
        times = [start_ms(world, name) for _ in range(STARTS)]
        medians[name] = statistics.median(times)
        say(f"start: {name} {medians[name]:.0f} ms ({', '.join(f'{t:.0f}' for t in times)})")
    return line("start", max(medians.values()), "ms", 200)


# --- memory ---
def rss_mib(service):
    with open(f"/proc/{service.child.pid}/status") as f:
        return next(int(text.split()[1]) / 1024 for text in f if text.startswith("VmRSS"))


def bench_rss(running):
    time.sleep(IDLE_S)
    held = {name: rss_mib(service) for name, service in running.items()}
    say("rss_idle: " + ", ".join(f"{name} {mib:.1f} MiB" for name, mib in held.items()))
    return line("rss_idle", max(held.values()), "MiB", 32)


# --- freshness ---
class Watch(threading.Thread):
    """Asks the API for each endpoint's results in turn and notes when a window's was first there."""

    def __init__(self, api, uids):
        super().__init__(daemon=True)
        self.api, self.uids, self.seen, self.enough, self.failure = api, uids, {}, threading.Event(), None

    def run(self):
        name = f"{PROJECT}.{APP}.result.general_drift"
        try:
            with requests.Session() as session:
                while not self.enough.wait(0.02):
                    for uid in self.uids:
                        answer = session.get(self.api.url(f"/api/v1/projects/{PROJECT}/model-endpoints/{uid}/metrics-values"),
                                             params={"name": name}, timeout=10)
                        now = mm.now_us()
                        for value in answer.json()[0].get("values", []):
                            end = serving.us_of(datetime.datetime.fromisoformat(value[0].replace("Z", "+00:00")))
                            self.seen.setdefault((uid, end), now)
        except Exception as e:  # the main thread raises it
            self.failure = e


def make_endpoints(world, api):
    answer = requests.put(api.url(f"/api/v1/projects/{PROJECT}"), timeout=10,
                          json={"spec": {"monitoring": {"base_period": f"{PERIOD_S}s"}}})
    assert answer.status_code in (200, 201), answer.text
    project_id = world.one("SELECT id FROM projects WHERE name = %s", PROJECT)["id"]
    columns = [f"f{i}" for i in range(FEATURES)]
    uids = []
    for i in range(ENDPOINTS):
        uid = world.endpoint(project_id, name=f"m{i}")["uid"]
        rows = [[random.gauss(0, 1) for _ in columns] for _ in range(500)]
        answer = requests.put(api.url(f"/api/v1/projects/{PROJECT}/model-endpoints/{uid}/reference"), timeout=10,
                              json={"columns": columns, "data": rows, "labels": []})
        assert answer.status_code in (200, 201), answer.text
        uids.append(uid)
    return uids


def feed(stream, uids, first_us, until_us):
    """Events of every endpoint all the time, so that each window of each has some; the windows [first, until)."""
    time.sleep(max(0, (first_us - mm.now_us()) / SECOND_US))
    with requests.Session() as session:
        while mm.now_us() < until_us:
            for uid in uids:
                when = mm.now_us()
                rows = [[random.gauss(0, 1) for _ in range(FEATURES)] for _ in range(4)]
                answer = session.post(stream.url(f"/{PROJECT}"), timeout=10, json=serving.event(
                    uid, rows, [0] * len(rows), when, project=PROJECT, model="m"))
                assert answer.status_code == 202, answer.text
            time.sleep(0.1)


def bench_freshness(world, running):
    period = PERIOD_S * SECOND_US
    uids = make_endpoints(world, running["api"])
    serving.wait_topic(world, PROJECT)
    mm.wait_for(lambda: is_ready(running), 60, "every service ready")
    first = (mm.now_us() // period + 1) * period
    ends = [first + (i + 1) * period for i in range(WINDOWS)]
    watch = Watch(running["api"], uids)
    watch.start()
    feed(running["stream"], uids, first, ends[-1])
    wanted = {(uid, end) for uid in uids for end in ends}

    def all_there():
        if watch.failure:
            raise RuntimeError("the API") from watch.failure
        assert wanted <= watch.seen.keys(), f"{len(wanted - watch.seen.keys())} of {len(wanted)} results are missing"
        return True
    mm.wait_for(all_there, 60, "a result of every window of every endpoint")
    watch.enough.set()
    watch.join()
    closed = {(r["uid"], r["window_end_us"]): r["closed_us"] for r in world.rows(
        "SELECT e.uid, w.window_end_us, w.closed_us FROM windows w JOIN endpoints e ON e.id = w.endpoint_id WHERE w.revision = 1")}
    late = sorted((watch.seen[key] - closed[key]) / SECOND_US for key in wanted)
    assert late[0] > -0.1, f"a result {-late[0]} s before its window closed"
    say(f"freshness: {len(late)} results of {ENDPOINTS} endpoints and {WINDOWS} windows of {PERIOD_S} s: "
        f"median {statistics.median(late):.3f} s, worst {late[-1]:.3f} s after the close")
    return line("freshness", late[-1], "s", 2)


def is_ready(running):
    return all(service.ready() for service in running.values())


def main():
    ok = []
    with mm.World() as world, contextlib.ExitStack() as stack:
        with world.service("api") as api:
            api.wait_ready()  # the tables are made
        ok.append(bench_start(world))
        running = {name: stack.enter_context(world.service(name)) for name in SERVICES}
        mm.wait_for(lambda: is_ready(running), 60, "every service ready")
        ok.append(bench_rss(running))
        ok.append(bench_freshness(world, running))
    return 0 if SMOKE or all(ok) else 1


if __name__ == "__main__":
    sys.exit(main())
