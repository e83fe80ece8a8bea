"""The verbs that ask a running modelmon: a file replayed, a reference given, what is found."""
import contextlib
import http.server
import json
import os
import pty
import re
import sqlite3
import subprocess
import threading
import time

import numpy
import pandas
import pytest

import mm
import test_modelmon_run as running

MODELMON = os.path.join(mm.BIN, "modelmon")


def tool(*args, **env):
    return subprocess.run([MODELMON, *map(str, args)], env={"PATH": os.environ["PATH"], "TERM": "dumb", **env}, timeout=60,
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)


def rows(n, shift=0.0, seed=3):
    r = numpy.random.default_rng(seed)
    return pandas.DataFrame({"age": r.normal(40 + shift, 5, n), "city": r.choice(["Rome", "Oslo"], n), "price": r.normal(9, 1, n)})


def test_a_file_replayed_is_compared_with_the_reference_of_another(tmp_path):
    rows(2000).to_csv(tmp_path / "train.csv", index=False)
    rows(300, shift=500).to_parquet(tmp_path / "today.parquet")
    with mm.World() as w, running.start(w, embedded=True) as m:
        m.wait_ready(60)
        api = {"API_URL": m.url("")}
        running.call(m, "PUT", "shop", {"metadata": {"name": "shop"},
                                        "spec": {"monitoring": {"base_period": "2s", "enabled": True}}})
        done = tool("replay", tmp_path / "today.parquet", "--to", m.url("/shop"), "--model", "price", "--outputs", "price")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("300 events accepted, 0 rejected")
        first = mm.wait_for(lambda: (lambda t: t if "no_reference" in t else None)(
            tool("results", "shop/price", **api).stdout), 40, "a first result")
        assert "modelmon reference shop/price --csv FILE" in first
        done = tool("reference", "shop/price", "--csv", tmp_path / "train.csv", "--labels", "price", **api)
        assert done.returncode == 0 and "version 1: 3 columns of 2000 rows" in done.stdout, done.stderr
        history = tool("reference", "shop/price", "--history", **api)
        assert history.returncode == 0 and history.stdout.count("\n") == 2 and "statistics of a file" in history.stdout, history.stdout
        listed = tool("endpoints", "shop", **api)
        assert listed.returncode == 0 and listed.stdout.count("\n") == 2 and "price" in listed.stdout
        again = tool("replay", tmp_path / "today.parquet", "--to", m.url("/shop"), "--model", "price", "--outputs", "price",
                     "--speed", "1000")
        assert again.returncode == 0
        mm.wait_for(lambda: "possible drift  1 of 2 features drifts: age 1.00" in tool("results", "shop/price", **api).stdout, 40, "drift")
        shown = tool("results", "shop/price", "--name", "typo", **api).stdout
        assert "no typo of histogram-data-drift" in shown and "--app histogram-data-drift --name general_drift" in shown, shown
        assert tool("results", "shop/price", **api).stdout.startswith("window until ")
        assert re.search(r"T\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00) ", tool("endpoints", "shop", **api).stdout)
        assert tool("dead-letters", "list", **api).stdout == "none\n"
        few, all_of = tool("ledger", "show", **api).stdout, tool("ledger", "show", "--all", **api).stdout
        assert "_shop_v1 " in few and "--all" in few and len(all_of.splitlines()) > len(few.splitlines())
        (tmp_path / "events.ndjson").write_text('{"model":"price","columns":["age","city"],"data":[[1,"Rome"]],"outputs":[[2]]}\n'
                                                '{"model":"price"}\n')
        mixed = tool("replay", tmp_path / "events.ndjson", "--to", m.url("/shop"))
        assert mixed.returncode == 1 and mixed.stdout.startswith("1 events accepted, 1 rejected") and mixed.stderr
        status = tool("status", DATA_DIR=os.path.join(w.folder, "data"), **api)
        assert status.returncode == 0 and "statistics" in status.stdout and status.stdout.rstrip().endswith("ok"), status.stdout
        assert tool("status", **api).returncode == 0  # /readyz alone


def test_a_project_is_made_and_changed_by_its_verb(tmp_path):
    rows(50).to_csv(tmp_path / "train.csv", index=False)
    with mm.World() as w, running.start(w, embedded=True) as m:
        m.wait_ready(60)
        api = {"API_URL": m.url("")}
        assert tool("project", "shop", **api).stdout == "project shop made: a window every 10m\n"
        assert m.get("/api/v1/projects/shop").json()["spec"]["monitoring"]["enabled"] is True
        assert tool("project", "shop", "--base-period", "10s", **api).stdout == "project shop is there: a window every 10s\n"
        assert tool("project", "shop", **api).stdout.endswith(" 10s\n")
        wrong = tool("project", "shop", "--base-period", "7s", **api)
        assert wrong.returncode == 1 and "6s or 10s would do" in wrong.stderr, wrong
        nobody = tool("reference", "shop/price", "--csv", tmp_path / "train.csv", **api)
        assert nobody.returncode == 1 and "no endpoint price in project shop" in nobody.stderr and "--create" in nobody.stderr


class Sink(http.server.BaseHTTPRequestHandler):
    """A stream that takes everything, slowly where the test wants it, and remembers when."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.took.append((time.monotonic(), body.count(b"\n")))
        time.sleep(self.server.slow)
        answer = json.dumps({"accepted": body.count(b"\n"), "rejected": 0}).encode()
        self.send_response(202)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args):
        pass


@pytest.fixture
def sink():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    server.took, server.slow = [], 0
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def on_a_terminal(*args):
    """The verb with a terminal for its stderr: (exit code, what it wrote there)."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen([MODELMON, *map(str, args)], env={"PATH": os.environ["PATH"], "TERM": "xterm"}, stderr=theirs,
                             stdout=subprocess.DEVNULL)
    os.close(theirs)
    text = b""
    with contextlib.suppress(OSError):  # EIO: the other end is closed
        while piece := os.read(ours, 65536):
            text += piece
    os.close(ours)
    return child.wait(60), text.decode()


@pytest.mark.parametrize("kind", ["ndjson", "csv", "parquet"])
def test_replay_shows_how_far_it_is(sink, tmp_path, kind):
    sink.slow = 0.12  # a batch; the line is written over at most each 0.1 s
    file, frame, options = tmp_path / f"events.{kind}", rows(4000), ["--model", "price", "--outputs", "price"]
    if kind == "csv":
        frame.to_csv(file, index=False)
    elif kind == "parquet":
        frame.to_parquet(file)
    else:
        file.write_text('{"model":"price","inputs":[[1]],"outputs":[2]}\n' * 4000)
        options = []
    code, text = on_a_terminal("replay", file, "--to", f"http://127.0.0.1:{sink.server_port}/shop", *options)
    shown = [(int(share), int(done)) for share, done in re.findall(r"(\d+) %  (\d+) ", text)]
    assert code == 0 and shown[-1] == (100, 4000), text
    assert len({share for share, _ in shown if 0 < share < 100}) >= 3 and shown == sorted(shown), shown
    assert all(abs(share - done / 40) <= 1 for share, done in shown), shown


def test_replay_keeps_to_its_speed(sink, tmp_path):
    file = tmp_path / "events.ndjson"
    file.write_text('{"model":"price","inputs":[[1]],"outputs":[2]}\n' * 300)
    began = time.monotonic()
    assert tool("replay", file, "--to", f"http://127.0.0.1:{sink.server_port}/shop", "--speed", "200").returncode == 0
    seconds = time.monotonic() - began
    assert sum(n for _, n in sink.took) == 300 and seconds >= 300 / 200 - 0.3, seconds
    first = sink.took[0][0]
    for when, n in sink.took[1:]:  # never ahead of the pace: a tenth of a second's events at once
        before = sum(k for t, k in sink.took if t < when)
        assert n <= 21 and when - first >= (before - 21) / 200 - 0.05, (when - first, before)


def test_a_name_means_the_newest_record_and_a_uid_any(tmp_path):
    rows(200).to_csv(tmp_path / "train.csv", index=False)
    rows(200, shift=9).drop(columns="city").to_parquet(tmp_path / "train.parquet")
    with mm.World() as w, running.start(w, embedded=True) as m:
        m.wait_ready(60)
        api = {"API_URL": m.url("")}
        assert tool("project", "shop", **api).returncode == 0
        uids = []
        for _ in range(2):
            made = running.call(m, "POST", "shop/model-endpoints?creation-strategy=archive", {
                "metadata": {"name": "price", "project": "shop"}, "spec": {"model_name": "price", "function_name": "serving"},
                "status": {"monitoring_mode": "enabled"}})
            uids.append(made["metadata"]["uid"])
        old, new = uids
        assert old != new

        def versions(uid):
            return len(running.call(m, "GET", f"shop/model-endpoints/{uid}/reference/versions")["versions"])
        done = tool("reference", "shop/price", "--csv", tmp_path / "train.csv", "--labels", "price", **api)
        assert done.returncode == 0 and (versions(old), versions(new)) == (0, 1), done.stderr
        done = tool("reference", f"shop/{old}", "--parquet", tmp_path / "train.parquet", "--labels", "price", **api)
        assert done.returncode == 0 and "version 1: 2 columns of 200 rows" in done.stdout and versions(old) == 1, done
        stats = running.call(m, "GET", f"shop/model-endpoints/{new}/reference")["feature_stats"]
        (tmp_path / "stats.json").write_text(json.dumps(stats))
        done = tool("reference", f"shop/{old}", "--stats", tmp_path / "stats.json", "--labels", "price", **api)
        assert done.returncode == 0 and "version 2: 3 columns of statistics" in done.stdout and versions(old) == 2, done
        assert set(running.call(m, "GET", f"shop/model-endpoints/{old}/reference")["feature_stats"]) == {"age", "city", "price"}
        running.call(m, "POST", "shop/model-endpoints?creation-strategy=inplace", {
            "metadata": {"name": "price", "project": "shop"}, "spec": {"model_name": "price", "function_name": "another"},
            "status": {"monitoring_mode": "enabled"}})
        several = tool("results", "shop/price", **api)
        assert several.returncode == 1 and "several functions have an endpoint price" in several.stderr, several
        assert tool("results", f"shop/{new}", **api).returncode == 0


def test_endpoints_lists_more_than_one_answer_holds():
    with mm.World() as w, running.start(w, embedded=True) as m:
        m.wait_ready(60)
        api = {"API_URL": m.url("")}
        assert tool("project", "shop", **api).returncode == 0
        db = sqlite3.connect(os.path.join(w.folder, "data/modelmon.db"), timeout=30)
        with db:
            db.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10050) "
                       "INSERT INTO endpoints (project_id, uid, name, created_us, updated_us) SELECT p.id, 'u' || i, 'e' || i, 1, 1 "
                       "FROM n, projects p WHERE p.name = 'shop'")
        db.close()
        listed = tool("endpoints", "shop", **api)
        names = [line.split()[0] for line in listed.stdout.splitlines()[1:]]
        assert listed.returncode == 0 and len(names) == len(set(names)) == 10050, (len(names), listed.stderr)


def test_what_is_not_there_is_said():
    nobody = tool("status", API_URL="http://127.0.0.1:1")
    assert nobody.returncode == 1 and "modelmon run" in nobody.stderr
    assert tool("endpoints", "shop", "--api-url=http://127.0.0.1:1").returncode == 1
    assert tool("results", "shop", API_URL="http://127.0.0.1:1").returncode == 2
    assert tool("reference", "shop/price").returncode == 2
    assert tool("replay", "/nowhere.csv").returncode == 1


def test_help_and_completion_come_from_the_tables():
    verbs = [line.split()[0] for line in tool("--help").stdout.splitlines() if line.startswith("  ") and "VERB" not in line]
    assert {"run", "drift", "replay", "reference", "endpoints", "results", "status", "completion"} <= set(verbs)
    script = tool("completion").stdout
    for verb in verbs:
        assert tool(verb, "--help").returncode == 0
        assert f" {verb} " in script
    words = subprocess.run(["bash", "-c", script + "COMP_WORDS=(modelmon drift --re); COMP_CWORD=2; _modelmon; echo ${COMPREPLY[@]};"
                            "COMP_WORDS=(modelmon run --laten); _modelmon; echo ${COMPREPLY[@]}"], text=True, check=True, timeout=20,
                           stdout=subprocess.PIPE, env={"PATH": mm.BIN + ":" + os.environ["PATH"]}).stdout.split()
    assert words == ["--reference", "--lateness="]
    assert tool("nothing").returncode == 2


def test_an_app_that_no_log_of_one_process_reaches_is_told_so():
    with mm.World() as w, running.start(w, embedded=True) as m:
        m.wait_ready(60)
        env = {"DATA_DIR": os.path.join(w.folder, "data"), "API_URL": m.url("")}
        running.call(m, "PUT", "shop", {"metadata": {"name": "shop"}})
        mm.wait_for(lambda: tool("status", **env).returncode == 0, 30)
        mm.wait_for(lambda: "note" not in running.call(m, "PUT", f"shop/apps/{running.APP}", {"active": True}), 30)  # its pipeline is here
        assert "Kafka" in running.call(m, "PUT", "shop/apps/their-app", {})["note"]
        told = tool("status", **env)
        assert told.returncode == 1 and "unserved" in told.stdout and "KAFKA_BROKERS" in told.stdout, told.stdout
        assert "note" not in running.call(m, "PUT", "shop/apps/their-app", {"active": False})
        mm.wait_for(lambda: tool("status", **env).returncode == 0, 30)
