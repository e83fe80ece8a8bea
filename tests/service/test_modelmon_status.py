"""modelmon status: each stage, from the embedded folder and from PostgreSQL and Kafka, with each kind of stage at a stand."""
import datetime
import json
import os
import re
import sqlite3
import time

import mm
import serving
import test_modelmon_run as running
from test_modelmon_tool import tool

STAGES = ["statistics", "lake", "controller", "outbox", "app:histogram-data-drift", "writer"]
HOUR_US = 3600 * 1000000


def shown(env, *args, code=None):
    done = tool("status", "--json", *args, **env)
    assert done.returncode in (0, 1) and (code is None or done.returncode == code), done.stdout + done.stderr
    answer = json.loads(done.stdout)
    assert (answer["status"] == "ok") == (done.returncode == 0)
    return {s["stage"]: s for s in answer["stages"]}, answer


def hands(env, *args):
    return {name: s["state"] for name, s in shown(env, *args)[0].items() if s["needs_a_hand"]}


def seconds_ago(text):
    return time.time() - datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def test_the_embedded_folder_running_and_not():
    with mm.World() as w, running.start(w, embedded=True, OPERATIONS_APP_PROJECTS="other", LLM_APP_PROJECTS="other") as m:
        m.wait_ready(60)
        env = {"DATA_DIR": os.path.join(w.folder, "data"), "API_URL": m.url("")}
        uid = running.make_price(m)
        running.send_prices(m)
        mm.wait_for(lambda: running.drift(m, uid), 60, "a result")
        stages, answer = mm.wait_for(lambda: (lambda s: s if all(x["lag"] == 0 for x in s[0].values()) else None)(shown(env)), 20)
        assert list(stages) == STAGES and answer["ready"]["status"] == "ok" and not hands(env)
        assert tool("status", **env).returncode == 0
        m.term()
        # nothing runs: what is kept is read all the same, and that is what needs a hand
        stages, answer = shown(env, code=1)
        assert list(stages) == STAGES and not hands(env) and "modelmon run" in answer["ready_error"]
        db = sqlite3.connect(os.path.join(env["DATA_DIR"], "modelmon.db"))
        old = mm.now_us() - HOUR_US
        for pipeline in ("statistics", "lake", "writer", "app:histogram-data-drift"):
            [(topic, partition)] = db.execute("SELECT topic, partition FROM ledger WHERE pipeline = ? AND next_offset > 0 LIMIT 1", (pipeline,))
            db.execute("UPDATE ledger SET next_offset = next_offset - 1, updated_us = ? WHERE pipeline = ? AND topic = ? AND partition = ?",
                       (old, pipeline, topic, partition))
            db.commit()
            stage = shown(env)[0][pipeline]
            assert stage["lag"] == 1 and 0 <= seconds_ago(stage["oldest"]) < 120, stage  # the log says when that record came
            assert stage["state"] == "behind" and not stage["needs_a_hand"]
            mm.wait_for(lambda p=pipeline: hands(env, "--patience=1s").get(p) == "stalled", 10)
            assert "running" in shown(env, "--patience=1s")[0][pipeline]["next"]
            db.execute("UPDATE ledger SET stopped = 'log_replaced', last_error = 'it is another one' WHERE pipeline = ? AND topic = ? "
                       "AND partition = ?", (pipeline, topic, partition))
            db.commit()
            stage = shown(env)[0][pipeline]
            assert stage["state"] == "stopped" and stage["last_error"] == "it is another one"
            assert stage["next"].startswith(f"modelmon ledger skip {pipeline} {topic} {partition} --to low")
        db.execute("INSERT INTO pending_windows VALUES (1, 1, ?, ?, 1, ?, '')", (old, old + 2000000, old))
        db.execute("INSERT INTO outbox (project_id, topic, key, payload, created_us) VALUES (1, 't', 'k', '{}', ?)", (old,))
        db.execute("INSERT INTO dead_letters (pipeline, topic, partition, \"offset\", at_us, project_id, reason, error, payload, size) VALUES "
                   "('app:histogram-data-drift', 't', 0, 1, ?, 1, 'app_failed', 'set aside', x'', 0)", (mm.now_us(),))
        db.execute("UPDATE ledger SET stopped = '', last_error = '', updated_us = ?, next_offset = end_offset WHERE pipeline LIKE 'app:%'",
                   (mm.now_us(),))
        db.commit()
        db.close()
        stages, _ = shown(env)
        for name in ("controller", "outbox"):
            assert stages[name]["state"] == "stalled" and stages[name]["lag"] == 1 and stages[name]["next"]
            assert abs(seconds_ago(stages[name]["oldest"]) - 3600) < 60
        app = stages["app:histogram-data-drift"]
        assert app["state"] == "failing" and app["last_error"] == "app_failed: set aside" and "dead-letters" in app["next"]
        table = tool("status", **env)
        assert re.search(r"^controller .* 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ, (59|60) min ago$", table.stdout, re.M), table.stdout
        assert table.returncode == 1 and "something needs a hand" in table.stdout and "modelmon ledger skip" in table.stdout


def test_postgres_and_kafka():
    with mm.World() as w, w.service("api") as api:
        env = {k: v for k, v in w.env().items() if k in ("DATABASE_URL", "KAFKA_BROKERS")}
        env["API_URL"] = api.url("")
        with w.service("stream", **serving.FAST) as stream, w.service("histogram-drift-app") as _, w.service("writer") as _:
            w.migrated()
            uid = w.endpoint(w.project("p"))["uid"]
            stream.wait_ready()
            serving.wait_topic(w, "p")
            mm.wait_for(lambda: w.rows("SELECT 1 FROM ledger WHERE pipeline = 'writer'") and
                        w.rows("SELECT 1 FROM ledger WHERE pipeline LIKE 'app:%%'"), 30)
            topics = {r["pipeline"]: r["topic"] for r in w.rows("SELECT DISTINCT pipeline, topic FROM ledger")}
            w.produce(topics["statistics"], serving.event(uid, [[1.0]], [1.0], mm.now_us() - HOUR_US))
            mm.wait_for(lambda: w.rows("SELECT 1 FROM pending_windows"), 30)
            stages, _ = shown(env)
            assert list(stages) == STAGES and stages["statistics"]["state"] in ("ok", "behind")
            # nobody closes windows
            assert stages["controller"]["state"] == "stalled" and "controller" in stages["controller"]["next"]
            stream.term()
        # nor reads any more
        for pipeline in ("statistics", "writer", "app:histogram-data-drift"):
            w.produce(topics[pipeline], "{}", "{}", key="k")
        mm.wait_for(lambda: set(hands(env, "--patience=1s")) >= {"statistics", "lake", "writer", "app:histogram-data-drift"}, 30)
        stages, _ = shown(env, "--patience=1s", code=1)
        for pipeline in ("statistics", "lake", "writer", "app:histogram-data-drift"):
            assert stages[pipeline]["state"] == "stalled" and stages[pipeline]["lag"] == 2 and stages[pipeline]["next"], stages
            assert 0 <= seconds_ago(stages[pipeline]["oldest"]) < 60
        assert not {"statistics", "lake", "writer"} & set(hands(env, "--patience=1h"))
        # where the brokers are not, that is what is said, and the rest is still told
        stages, answer = shown({**env, "KAFKA_BROKERS": "127.0.0.1:1"}, code=1)
        assert answer["topics_error"] and list(stages) == STAGES
