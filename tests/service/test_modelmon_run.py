"""modelmon run: every service in one process, as a black box."""
import json
import os
import subprocess
import time

import pytest
import requests

import mm
import serving

APP = "histogram-data-drift"
PARTS = {"api": "database", "stream": "statistics", "controller": "leader", "writer": "writer", APP: f"app:{APP}"}


def start(w, embedded=False, **more):
    more.setdefault("DATA_DIR", os.path.join(w.folder, "data"))
    env = w.env(LATENESS="500ms", STATISTICS_INTERVAL="100ms", LAKE_AGE="200ms", **more)
    if embedded:
        for name in ("KAFKA_BROKERS", "DATABASE_URL", "REDIS_URL", "LAKE_DIR"):
            del env[name]
    return mm.Service("modelmon", env, w.folder, [os.path.join(mm.BIN, "modelmon"), "run"])


def call(m, method, path, body=None):
    answer = requests.request(method, m.url(f"/api/v1/projects/{path}"), data=json.dumps(body) if body is not None else None,
                              timeout=30)
    assert answer.status_code in (200, 201), answer.text
    return answer.json() if answer.content else None


def iso(ahead):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + ahead))


def drift(m, uid):
    name = f"shop.{APP}.result.general_drift"
    found = call(m, "GET", f"shop/model-endpoints/{uid}/metrics-values?name={name}&start={iso(-3600)}&end={iso(3600)}")
    return found[0].get("values", [])


@pytest.mark.parametrize("embedded", [True, False])
def test_from_a_request_to_a_result_in_one_process(embedded):
    with mm.World() as w, start(w, embedded) as m:
        m.wait_ready(60)
        call(m, "PUT", "shop", {"metadata": {"name": "shop"}, "spec": {"monitoring": {"base_period": "2s", "enabled": True}}})
        made = call(m, "POST", "shop/model-endpoints?creation-strategy=inplace", {
            "metadata": {"name": "price", "project": "shop", "endpoint_type": 1},
            "spec": {"model_name": "price", "function_name": "serving", "feature_names": ["a"], "label_names": ["y"]},
            "status": {"monitoring_mode": "enabled"}})
        uid = made["metadata"]["uid"]
        call(m, "PUT", f"shop/model-endpoints/{uid}/reference",
             {"columns": ["a", "y"], "data": [[i % 20, 1] for i in range(200)], "labels": ["y"]})
        first = mm.now_us()
        events = [serving.event(uid, [[100 + i]], [1], first + i, f"r{i}") for i in range(40)]
        for e in events:
            e["function_uri"] = "shop/serving:latest"
        body = "\n".join(map(json.dumps, events))
        answer = mm.wait_for(lambda: (lambda a: a if a is not None and a.status_code == 202 else None)(mm.attempt(lambda: m.post("/shop", body))), 20)
        assert answer.json()["accepted"] == 40
        values = mm.wait_for(lambda: drift(m, uid), 60, "a result")
        assert max(v[1] for v in values) > 0.9 and max(v[2] for v in values) == 2
        listed = call(m, "GET", "shop/model-endpoints")["endpoints"]
        assert [e["metadata"]["uid"] for e in listed] == [uid] and listed[0]["status"]["result_status"] == 2
        assert b"<svg" in m.get(f"/ui/p/shop/endpoints/{uid}").content
        assert m.post("/functions/controller", "").json()["leader"] is True
        assert m.post("/functions/writer/shop", "{}").json()["field"] == "endpoint_id"
        assert m.post("/functions/histogram-drift-app", "{}").status_code == 400
        lake = [f for _, _, files in os.walk(os.path.join(w.folder, "data/lake") if embedded else w.lake) for f in files if f.endswith(".parquet")]
        assert lake
        code, seconds = m.term()
        assert code == 0 and seconds < 10


def test_every_part_says_how_it_is():
    with mm.World() as w, start(w, KAFKA_BROKERS="127.0.0.1:1") as m:
        def told():
            return {d["name"]: d for d in m.get("/readyz").json()["dependencies"]}
        for part, dependency in PARTS.items():
            assert f"{part}/{dependency}" in told()
        down = mm.wait_for(lambda: [n for n, d in told().items() if d["state"] == "down"], 20, "what is down")
        apps = {f"{app}/{part}" for app in (APP, "operations", "llm") for part in ("bus", f"app:{app}")}
        assert set(down) <= apps | {"stream/kafka", "controller/bus", "writer/bus", "writer/writer", "stream/statistics", "stream/lake"}
        mm.wait_for(lambda: m.get("/readyz").status_code == 503, 20, "not ready")
        assert m.get("/livez").status_code == 200
        mm.wait_for(lambda: any(e["svc"] == "controller" for e in m.events("leader")), 20, "a line that says its part")
        code, seconds = m.term()
        assert code == 0 and seconds < 10


def test_a_folder_is_one_process_s():
    """A second `modelmon run` on it ends at once, and nothing is lost: not by it, not by the kill of the first."""
    with mm.World() as w, start(w, embedded=True) as m:
        m.wait_ready(60)
        make_price(m)
        send_prices(m, 40)
        env = w.env(DATA_DIR=os.path.join(w.folder, "data"), HTTP_PORT="0")
        run = [os.path.join(mm.BIN, "modelmon"), "run"]
        done = subprocess.run(run, env=env, timeout=20, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        fatal = next(e for e in map(json.loads, done.stderr.decode().splitlines()) if e["ev"] == "fatal")
        assert done.returncode == 1 and done.stdout == b""
        assert f"in use by another modelmon, process {m.child.pid}" in fatal["error"] and "DATA_DIR" in fatal["error"]
        send_prices(m, 7)  # the first goes on
        m.kill9()  # leaves the lock file, not the lock
        with start(w, embedded=True) as again:
            again.wait_ready(60)
            send_prices(again, 3)
            export = [os.path.join(mm.BIN, "modelmon"), "export", "shop/price", "--start", "2020-01-01", "--format", "json"]

            def rows():
                done = subprocess.run(export, env={"DATA_DIR": env["DATA_DIR"]}, timeout=20, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
                return [json.loads(line)["a"] for line in done.stdout.splitlines()]
            mm.wait_for(lambda: len(rows()) >= 50, 60, "a row of each request")
            assert sorted(rows()) == sorted([*range(40), *range(7), *range(3)])


def test_a_folder_is_one_system_s():
    with mm.World() as w:
        data = os.path.join(w.folder, "data")
        with start(w, embedded=True, SYSTEM_ID="first") as m:
            m.wait_ready(60)
        done = subprocess.run([os.path.join(mm.BIN, "modelmon"), "run"], timeout=20, capture_output=True, text=True, check=False,
                              env={"PATH": os.environ["PATH"], "DATA_DIR": data, "HTTP_PORT": "0", "SYSTEM_ID": "second"})
        assert done.returncode == 2 and "this folder was made with SYSTEM_ID=first" in done.stderr, done
        with start(w, embedded=True, SYSTEM_ID="first") as m:
            m.wait_ready(60)


def test_status_shows_no_stages_of_a_folder_that_lies_there_by_chance():
    with mm.World() as w, start(w, embedded=True) as m:
        m.wait_ready(60)
        os.symlink("data", os.path.join(w.folder, "modelmon-data"))

        def status(url, **env):
            return subprocess.run([os.path.join(mm.BIN, "modelmon"), "status"], cwd=w.folder, timeout=20, capture_output=True,
                                  text=True, check=False, env={"PATH": os.environ["PATH"], "API_URL": url, **env})
        own = mm.wait_for(lambda: (lambda d: d if "outbox" in d.stdout else None)(status(m.url(""))), 20)
        assert own.returncode == 0, own
        with start(w, embedded=True, DATA_DIR=os.path.join(w.folder, "other")) as other:
            other.wait_ready(60)
            done = status(other.url(""))
            assert done.returncode == 0 and "outbox" not in done.stdout and "set DATA_DIR, or DATABASE_URL" in done.stdout, done
            assert "outbox" in status(other.url(""), DATA_DIR="other").stdout


def test_wrong_configuration_is_told_once():
    with mm.World() as w:
        env = w.env(DATA_DIR=os.path.join(w.folder, "data"), LATENESS="soon")
        done = subprocess.run([os.path.join(mm.BIN, "modelmon"), "run", "--latenes=1s"], env=env, timeout=20,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        words = done.stderr.decode()
        assert done.returncode == 2 and words.count("LATENESS:") == 1 and "did you mean --lateness?" in words
        shown = subprocess.run([os.path.join(mm.BIN, "modelmon"), "run", "--print-config"], env=w.env(), timeout=20,
                               stdout=subprocess.PIPE, check=True).stdout.decode()
        names = [line.split("=")[0] for line in shown.splitlines()]
        assert len(names) == len(set(names)) and {"SYSTEM_ID", "KAFKA_BROKERS", "DATABASE_URL", "DATA_DIR"} <= set(names)


def results_of(m, uid, app, name):
    found = call(m, "GET", f"shop/model-endpoints/{uid}/metrics-values?name=shop.{app}.result.{name}&start={iso(-3600)}&end={iso(3600)}")
    return found[0].get("values", [])


def make_price(m):
    call(m, "PUT", "shop", {"metadata": {"name": "shop"}, "spec": {"monitoring": {"base_period": "2s", "enabled": True}}})
    return call(m, "POST", "shop/model-endpoints?creation-strategy=inplace", {
        "metadata": {"name": "price", "project": "shop"},
        "spec": {"model_name": "price", "function_name": "serving", "feature_names": ["a"], "label_names": ["y"]},
        "status": {"monitoring_mode": "enabled"}})["metadata"]["uid"]


def send_prices(m, n=40):
    body = "\n".join(json.dumps({"model": "price", "function": "serving", "inputs": [[i]], "outputs": [1], "latency_us": 2000})
                     for i in range(n))
    answer = mm.wait_for(lambda: (lambda a: a if a is not None and a.status_code == 202 else None)(mm.attempt(lambda: m.post("/shop", body))), 20)
    assert answer.json()["accepted"] == n


def test_the_other_apps_are_there_each_with_its_own_options():
    with mm.World() as w, start(w, embedded=True, OPERATIONS_LATENCY_DETECTED="1ms", OPERATIONS_LATENCY_POTENTIAL="1ms",
                                MIN_SAMPLES="1000", LLM_APP_PROJECTS="other") as m:
        m.wait_ready(60)
        uid = make_price(m)
        send_prices(m)
        value = mm.wait_for(lambda: results_of(m, uid, "operations", "latency_p95_ms"), 60, "a result of operations")[0]
        assert value[2] == 2 and 1.9 < value[1] < 2.1
        from test_modelmon_tool import tool  # it imports this file
        shown = tool("results", "shop/price", "--app", "operations", API_URL=m.url(""))
        assert shown.returncode == 0 and shown.stdout.startswith("window until") and "general_drift" not in shown.stdout, shown
        assert tool("results", "shop/price", API_URL=m.url("")).stdout.splitlines()[0].endswith("general_drift")
        assert mm.wait_for(lambda: drift(m, uid), 60, "a result of the drift app")[0][2] == -1
        assert m.post("/functions/llm-app", "{}").status_code == 400


def test_an_app_that_hangs_costs_its_window_alone_and_the_rest_goes_on():
    with mm.World() as w, start(w, embedded=True, OPERATIONS_APP_TIMEOUT="1us") as m:
        m.wait_ready(60)
        uid = make_price(m)
        send_prices(m)
        mm.wait_for(lambda: len(m.events("started")) >= 2, 60, "a new beginning")
        assert {(e["svc"], e["app"]) for e in m.events("restart")} == {("operations", "operations")}

        def now(what):
            return m.child.poll() is None and mm.attempt(what)
        failed = mm.wait_for(lambda: now(lambda: results_of(m, uid, "operations", "app_failed")), 60, "what is said of the endpoint")[0]
        assert failed[2] == 1 and "did not come back" in failed[3]
        mm.wait_for(lambda: now(lambda: drift(m, uid)), 60, "a result of the drift app")
        code, _ = m.term()
        assert code == 0


# In the place of the C library's: what an app's call begins with, when the limit is the one said, is a crash.
CRASH = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <time.h>
int timer_settime(timer_t t, int flags, const struct itimerspec *at, struct itimerspec *old)
{
    int (*real)(timer_t, int, const struct itimerspec *, struct itimerspec *) = dlsym(RTLD_NEXT, "timer_settime");
    if (at->it_value.tv_sec == 61)
        (void)raise(SIGSEGV);
    return real(t, flags, at, old);
}
"""


@pytest.fixture(name="crashing")
def crashing_library(tmp_path):
    source, library = tmp_path / "crash.c", tmp_path / "crash.so"
    source.write_text(CRASH)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True, timeout=60)
    return {"LD_PRELOAD": str(library), "OPERATIONS_APP_TIMEOUT": "61s"}


@pytest.mark.parametrize("how", ["crash", "hang"])
def test_an_app_that_fails_on_every_window_is_set_aside(how, crashing):
    more = crashing if how == "crash" else {"OPERATIONS_APP_TIMEOUT": "1us"}
    with mm.World() as w, start(w, embedded=True, LLM_APP_PROJECTS="other", **more) as m:
        m.wait_ready(60)
        port = m.port
        uid = make_price(m)
        words = {"crash": "it crashed: signal 11", "hang": "did not come back"}[how]
        for k in range(3):
            mm.wait_for(lambda: mm.attempt(lambda: m.ready()), 30)
            send_prices(m)
            mm.wait_for(lambda k=k: len(m.events("started")) == k + 2, 60, f"beginning {k + 2}")
        assert {e["port"] for e in m.events("started")} == {port} and m.child.poll() is None
        [aside] = m.events("set_aside")
        assert aside["svc"] == "operations" and "modelmon run" in aside["words"]
        told = mm.wait_for(lambda: mm.attempt(lambda: [d for d in m.get("/readyz").json()["dependencies"] if d["name"] == "operations/app"]), 30)
        assert told[0]["state"] == "degraded" and "set aside" in told[0]["detail"]
        assert mm.wait_for(lambda: mm.attempt(lambda: m.get("/readyz").status_code == 200), 30)
        send_prices(m)

        def failed():
            return [v[3] for v in results_of(m, uid, "operations", "app_failed")]
        mm.wait_for(lambda: any("set aside" in v for v in failed()), 60, "that its endpoint says so")
        assert any(words in v for v in failed())

        def others():
            send_prices(m)  # two of before may have been of one window
            return len(drift(m, uid)) >= 4
        mm.wait_for(others, 60, "the results of the drift app")
        assert len(m.events("started")) == 4
        code, _ = m.term()
        assert code == 0
        with start(w, embedded=True, LLM_APP_PROJECTS="other") as again:  # taken up again
            again.wait_ready(60)
            send_prices(again)
            mm.wait_for(lambda: results_of(again, uid, "operations", "throughput_per_s") or
                        results_of(again, uid, "operations", "latency_p95_ms"), 60, "a result of operations")
            assert not [e for e in again.events("set_aside") if e not in m.events("set_aside")]
