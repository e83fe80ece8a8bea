"""modelmon ledger and dead-letters, over Kafka and PostgreSQL and over the embedded default."""
import json
import os
import subprocess

import mm
import requests
import serving


class Tool:
    """The verbs, pointed at an api."""

    def __init__(self, api):
        self.api = api.url("")

    def __call__(self, *args, code=0):
        done = subprocess.run([os.path.join(mm.BIN, "modelmon"), *args, "--api-url", self.api], capture_output=True, text=True,
                              timeout=30, check=False, stdin=subprocess.DEVNULL)
        assert done.returncode == code, done.stderr + done.stdout
        return done.stdout if code == 0 else done.stderr


def event(i, **more):
    return {"model": "m", "inputs": [[float(i)]], "outputs": [1.0], "id": f"r{i}", **more}


def poison(world, n):
    """Records that are no events, straight into the topic."""
    world.produce(world.topic("p"), *[f'{{"model": "m", "inputs": [[{i}.0]], "outputs": 1.0 "id": "bad{i}"}}' for i in range(n)])


def test_a_poison_batch_is_found_mended_and_sent_again_once(tmp_path):
    with mm.World() as w, w.service("stream", **serving.FAST) as stream, w.service("controller") as _, w.service("api") as api:
        w.migrated()
        w.project("p")
        stream.wait_ready()
        serving.wait_topic(w, "p")
        tool = Tool(api)
        mm.wait_for(lambda: stream.post("/p", json.dumps(event(0))).status_code == 202)
        poison(w, 3)
        mm.wait_for(lambda: len(w.rows("SELECT 1 FROM dead_letters")) == 3)
        ids = tool("dead-letters", "list", "--ids", "--project", "p").split()
        assert len(ids) == 3 and all(i.startswith("statistics/" + w.topic("p")) for i in ids)
        assert "outputs" in tool("dead-letters", "show", ids[0], "--raw")
        for i in ids:
            raw = tool("dead-letters", "show", i, "--raw")
            mended = tmp_path / "record.json"
            mended.write_text(raw.replace('1.0 "id"', '[1.0], "id"') + "\n")
            tool("dead-letters", "retry", i, "--from", str(mended))
            assert "sent again already" in tool("dead-letters", "retry", i, "--from", str(mended), code=1)
        mm.wait_for(lambda: w.one("SELECT coalesce(sum(requests), 0) AS n FROM slots")["n"] == 4)
        assert tool("dead-letters", "list", "--ids") == ""
        assert len(tool("dead-letters", "list", "--ids", "--all").split()) == 3
        tool("dead-letters", "drop", ids[0], code=1)  # nobody to ask
        tool("dead-letters", "drop", ids[0], "--yes")
        assert ids[0] not in tool("dead-letters", "list", "--ids", "--all")
        audit = w.rows("SELECT action, who, count(*) AS n FROM operator_actions GROUP BY 1, 2 ORDER BY 1")
        assert [(r["action"], r["n"]) for r in audit] == [("dead_letter_drop", 1), ("dead_letter_retry", 3)]
        assert all("@" in r["who"] for r in audit)
        serving.wait_handled(w, "p")
        assert w.one("SELECT sum(requests) AS n FROM slots")["n"] == 4  # once


def test_a_topic_made_anew_goes_on_by_the_ledger_verb():
    with mm.World() as w, w.service("stream", **serving.FAST) as stream, w.service("api") as api:
        w.migrated()
        w.project("p")
        stream.wait_ready()
        serving.wait_topic(w, "p")
        tool = Tool(api)
        topic = w.topic("p")
        w.produce(topic, *[event(i) for i in range(40)])
        serving.wait_handled(w, "p")
        assert "does not stand still" in tool("ledger", "skip", "statistics", topic, "0", "--to", "low", "--yes", code=1)
        code, seconds = stream.term()
        assert code == 0 and seconds < 10
        w.admin().delete_topics([topic])
        mm.wait_for(lambda: topic not in w.admin().list_topics())
        w.make_topic(topic, len(w.rows("SELECT 1 FROM ledger WHERE pipeline = 'lake'")))
        w.produce(topic, *[event(1000 + i) for i in range(200)])
        with w.service("stream", **serving.FAST) as again:
            mm.wait_for(lambda: w.rows("SELECT * FROM ledger WHERE stopped <> ''"))
            mm.wait_for(lambda: "log_replaced" in again.get("/readyz").text)
            mm.wait_for(lambda: 'modelmon_pipeline_stopped_partitions{pipeline="statistics"}' in again.get("/metrics").text)
            shown = json.loads(tool("ledger", "show", "--json"))["ledger"]
            assert {r["stopped"] for r in shown} >= {"log_replaced"}
            assert "modelmon ledger skip" in tool("ledger", "show")
            mm.wait_for(lambda: len({r["pipeline"] for r in w.rows("SELECT pipeline FROM ledger WHERE stopped <> ''")}) == 2)
            for row in w.rows("SELECT * FROM ledger WHERE stopped <> ''"):
                tool("ledger", "skip", row["pipeline"], topic, str(row["partition"]), "--to", "low", "--yes")
            serving.wait_handled(w, "p")
            assert w.one("SELECT sum(requests) AS n FROM slots")["n"] == 240
            assert w.one("SELECT count(*) AS n FROM manifest WHERE path LIKE '%%-g1-%%'")["n"] > 0
            assert sorted(r["f0"] for r in serving.lake_rows(w, "p", w.one("SELECT uid FROM endpoints")["uid"])) == sorted(
                [float(i) for i in range(40)] + [float(1000 + i) for i in range(200)])


def test_the_embedded_default_too(tmp_path):
    """A record whose endpoint nobody knew: it is made, and the record is sent again."""
    env = dict(os.environ, DATA_DIR=str(tmp_path / "data"), AUTO_REGISTER="false", **serving.FAST)
    for name in ("DATABASE_URL", "KAFKA_BROKERS", "REDIS_URL", "LAKE_DIR"):
        env.pop(name, None)
    with mm.Service("modelmon", env, str(tmp_path), [os.path.join(mm.BIN, "modelmon"), "run"]) as m:
        m.wait_ready()
        tool = Tool(m)
        project = m.url("/api/v1/projects/shop")
        assert requests.put(project, json={"metadata": {"name": "shop"}}, timeout=10).status_code == 200
        mm.wait_for(lambda: m.post("/shop", json.dumps(event(1))).status_code == 202)
        [one] = mm.wait_for(lambda: tool("dead-letters", "list", "--ids").split())
        assert "unknown_endpoint" in tool("dead-letters", "list")
        made = requests.post(project + "/model-endpoints", timeout=10, json={
            "metadata": {"name": "m", "project": "shop"}, "spec": {"feature_names": ["f0"], "label_names": ["p0"]},
            "status": {"monitoring_mode": "enabled"}})
        assert made.status_code in (200, 201), made.text
        tool("dead-letters", "retry", one)
        assert "sent again already" in tool("dead-letters", "retry", one, code=1)

        def rows():
            shown = json.loads(tool("ledger", "show", "--json"))["ledger"]
            return sum(r["next_offset"] or 0 for r in shown if r["pipeline"] == "statistics")
        mm.wait_for(lambda: rows() == 2)
        mm.wait_for(lambda: m.metric("modelmon_stream_events_total", sink="statistics", outcome="taken") == 1)
        assert tool("dead-letters", "list") == "none\n"


def test_a_post_without_its_topic_is_to_be_tried_again():
    """Deleted under a process that only produces: 503 with Retry-After, never a refusal of what was sent."""
    with mm.World() as w, w.service("stream", SINKS="none") as stream:
        w.migrated()
        w.project("p")
        w.make_topic(w.topic("p"), 2)
        stream.wait_ready()
        mm.wait_for(lambda: stream.post("/p", json.dumps(event(0))).status_code == 202)
        w.admin().delete_topics([w.topic("p")])
        seen = []

        def refused():
            answer = stream.post("/p", json.dumps(event(len(seen) + 1)), timeout=60)
            seen.append(answer.status_code)
            return [answer] if answer.status_code != 202 else None  # a refusal is false
        [answer] = mm.wait_for(refused, 60)
        assert answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0, answer.text
        assert set(seen) <= {202, 503}
