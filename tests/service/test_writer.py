"""The writer as a black box: events in its topics or posted to it, rows in the database."""
import json

import pytest

import mm

FUNCTION = "model-monitoring-writer"
START = 1_735_689_600_000_000  # 2025-01-01
END = START + 10 * mm.MINUTE_US


@pytest.fixture
def world():
    with mm.World() as w:
        yield w


class Scene:
    def __init__(self, world, writer):
        self.w, self.writer = world, writer
        world.migrated()
        self.project = world.project("p")
        self.endpoint = world.endpoint(self.project)
        self.uid = self.endpoint["uid"]
        self.topic = world.topic("p", FUNCTION)
        writer.wait_ready()
        mm.wait_for(lambda: world.rows("SELECT 1 FROM ledger WHERE topic = %s", self.topic), 30, "the topic is read")

    def result(self, **more):
        return mm.result_event(self.uid, **{"start_us": START, "end_us": END, **more})

    def metric(self, **more):
        return mm.metric_event(self.uid, **{"start_us": START, "end_us": END, **more})

    def stats(self, **more):
        return mm.stats_event(self.uid, **{"start_us": START, "end_us": END, **more})

    def send(self, *events):
        return self.w.produce(self.topic, *events, key=self.uid)

    def rows(self):
        return self.w.rows("SELECT r.*, m.name, m.type, a.name AS app FROM results r JOIN metrics m ON m.id = r.metric_id "
                           "JOIN apps a ON a.id = m.app_id ORDER BY m.name, r.window_start_us")

    def caught_up(self):
        """Everything that is in the topic has had its effect."""
        def check():
            consumed = {}
            for r in self.w.consume(self.topic):
                consumed[r.partition] = r.offset + 1
            at = {r["partition"]: r["next_offset"] or 0
                  for r in self.w.rows("SELECT partition, next_offset FROM ledger WHERE topic = %s", self.topic)}
            return all(at.get(p, 0) >= n for p, n in consumed.items())
        mm.wait_for(check, 30, "the writer has caught up")

    def dead(self):
        return self.w.rows("SELECT * FROM dead_letters ORDER BY partition, \"offset\"")


@pytest.fixture
def scene(world):
    with world.service("writer") as writer:
        yield Scene(world, writer)


def test_a_result_that_the_database_refuses_is_a_dead_letter(world, scene):
    world.refuse_rows("results", "NEW.value = 0.25")
    values = [0.5, 0.25, 0.75] * 4
    scene.send(*[scene.result(start_us=START + i * mm.MINUTE_US, end_us=START + (i + 1) * mm.MINUTE_US, value=v)
                 for i, v in enumerate(values)])
    scene.caught_up()
    assert [r["value"] for r in scene.rows()] == [v for v in values if v != 0.25]
    assert [(d["reason"], d["pipeline"], d["offset"] % 3) for d in scene.dead()] == [("internal", "writer", 1)] * 4
    assert scene.writer.child.poll() is None


def test_result_metric_and_statistics_are_written(world, scene):
    stats = {"f0": {"count": 2.0, "hist": [[1, 1], [0.0, 1.0, 2.0]]}}
    scene.send(scene.result(extra='{"k": "v"}'), scene.metric(), scene.stats(stats=stats))
    scene.caught_up()
    general, mean = scene.rows()
    assert general["name"] == "general_drift" and general["type"] == 0
    assert general["value"] == 0.8 and general["status"] == 2 and json.loads(general["extra"]) == {"k": "v"}
    assert (general["window_start_us"], general["window_end_us"]) == (START, END)  # MLRun's microsecond is mapped back
    assert mean["name"] == "hellinger_mean" and mean["value"] == 0.5 and mean["status"] is None
    (row,) = world.rows("SELECT * FROM app_statistics")
    assert row["name"] == "current_stats" and json.loads(row["body"]) == stats
    assert not scene.dead()


def test_captured_events_of_mlrun(world, scene):
    """What MLRun 1.12.1's own applications push, byte for byte but for the endpoint."""
    with open(f"{mm.ROOT}/tests/vectors/writer.json") as f:
        events = json.load(f)["writer_stream_events"]
    scene.send(*[dict(e, endpoint_id=scene.uid) for e in events])
    scene.caught_up()
    assert not scene.dead()
    kinds = [e.get("event_kind", "result") for e in events]
    keys = {(e["application_name"], json.loads(e["data"])["result_name"]) for e, k in zip(events, kinds) if k == "result"}
    assert {(r["app"], r["name"]) for r in scene.rows() if r["type"] == 0} == keys
    names = {json.loads(e["data"])["stats_name"] for e, k in zip(events, kinds) if k == "stats"}
    assert {r["name"] for r in world.rows("SELECT name FROM app_statistics")} == names


def test_nan_and_infinity_are_values(world, scene):
    scene.send(json.dumps(scene.result(value=float("nan"), status=-1)), scene.metric(name="kld_mean", value=float("inf")))
    scene.caught_up()
    general, kld = scene.rows()
    assert general["value"] != general["value"] and general["status"] == -1
    assert kld["value"] == float("inf")


def test_a_repeat_changes_nothing(world, scene):
    events = [scene.result(), scene.metric(), scene.stats(stats={"a": {}})]
    scene.send(*events)
    scene.caught_up()
    before = world.rows("SELECT r.*, xmin::text FROM results r ORDER BY metric_id"), world.rows(
        "SELECT s.*, xmin::text FROM app_statistics s")
    changed = scene.writer.metric("modelmon_writer_rows_changed_total")
    scene.send(*events, *events)
    scene.caught_up()
    assert before == (world.rows("SELECT r.*, xmin::text FROM results r ORDER BY metric_id"),
                      world.rows("SELECT s.*, xmin::text FROM app_statistics s"))
    assert scene.writer.metric("modelmon_writer_rows_changed_total") == changed == 2


def test_a_higher_revision_wins_in_any_order(world, scene):
    def revision(n, value):
        return scene.result(value=value, revision=n, project="p")
    scene.send(revision(2, 0.2))
    scene.caught_up()
    scene.send(revision(1, 0.1))
    scene.caught_up()
    (row,) = scene.rows()
    assert row["revision"] == 2 and row["value"] == 0.2
    scene.send(revision(4, 0.4), revision(3, 0.3), revision(4, 0.45))  # one batch, one key
    scene.caught_up()
    (row,) = scene.rows()
    assert row["revision"] == 4 and row["value"] == 0.45


def test_poison_among_good_ones_is_a_dead_letter_once(world, scene):
    unknown = mm.result_event("0" * 32, start_us=START, end_us=END)
    poison = [b"{", b'{"endpoint_id": 7}', json.dumps(unknown).encode(), json.dumps(scene.result(project="q", revision=1)).encode(),
              json.dumps(scene.result(start_us=END, end_us=START)).encode(), b"", b"\xff\xfe",
              json.dumps(dict(scene.result(), data="{}")).encode()]
    good = [scene.metric(name=f"m{i}", value=i) for i in range(len(poison))]
    sent = scene.send(*[e for pair in zip(poison, good) for e in pair])
    scene.caught_up()
    assert [r["name"] for r in scene.rows()] == sorted(f"m{i}" for i in range(len(good)))
    dead = {(d["partition"], d["offset"]): d for d in scene.dead()}
    assert set(dead) == set(sent[::2])
    by_value = [dead[at] for at in sent[::2]]
    assert [bytes(d["payload"]) for d in by_value] == poison
    assert by_value[0]["reason"] == "malformed_json" and by_value[0]["position"] == 1
    assert by_value[1]["reason"] == "wrong_type" and by_value[1]["field"] == "endpoint_id"
    assert by_value[2]["reason"] == "unknown_endpoint"
    assert by_value[3]["reason"] == "project_mismatch"
    assert by_value[4]["reason"] == "bad_value"
    records = mm.wait_for(lambda: world.consume(scene.topic + ".dlt"))
    assert len(records) == len(poison)
    for record in records:
        at = int(mm.header(record, "x-partition")), int(mm.header(record, "x-offset"))
        assert record.value == bytes(dead[at]["payload"]) or not record.value
        assert mm.header(record, "x-error-code") == dead[at]["reason"]
        assert mm.header(record, "x-topic") == scene.topic and mm.header(record, "x-pipeline") == "writer"
    assert scene.writer.metric("modelmon_dead_letters_total", pipeline="writer") == len(poison)


def test_an_unknown_app_is_registered_inactive_and_an_active_one_stays(world, scene):
    world.app(scene.project, "mine", active=True)
    scene.send(scene.metric(app="mine"), scene.metric(app="python-app"))
    scene.caught_up()
    apps = {r["name"]: r["active"] for r in world.rows("SELECT name, active FROM apps")}
    assert apps == {"mine": True, "python-app": False}
    assert {r["app"] for r in scene.rows()} == {"mine", "python-app"}


def test_an_endpoint_that_comes_later_is_found(world, scene):
    uid = "a" * 32
    scene.w.produce(scene.topic, mm.metric_event(uid, start_us=START, end_us=END))
    scene.caught_up()
    assert [d["reason"] for d in scene.dead()] == ["unknown_endpoint"]
    world.endpoint(scene.project, uid=uid, name="late")
    scene.w.produce(scene.topic, mm.metric_event(uid, start_us=START, end_us=END))
    scene.caught_up()

    def written():
        if scene.rows():
            return True
        scene.send(mm.metric_event(uid, start_us=START, end_us=END))  # "unknown" is remembered for two seconds
        scene.caught_up()
        return scene.rows()
    mm.wait_for(written)


def test_results_of_a_deleted_endpoint_are_dead_letters(world, scene):
    scene.send(scene.result())
    scene.caught_up()
    assert len(scene.rows()) == 1
    world.rows("DELETE FROM results")
    world.rows("DELETE FROM endpoints WHERE id = %s", scene.endpoint["id"])
    world.rows("SELECT nextval('change_seq')")  # what ends a deletion
    scene.send(scene.result(revision=2))
    scene.caught_up()
    assert not scene.rows() and [d["reason"] for d in scene.dead()] == ["unknown_endpoint"]
    again = world.endpoint(scene.project, uid=scene.uid)
    mm.wait_for(lambda: scene.send(scene.result(revision=3)) and not scene.caught_up() and scene.rows())
    assert {r["endpoint_id"] for r in scene.rows()} == {again["id"]}


def test_http_has_the_same_effect(world, scene):
    w = scene.writer
    assert w.post("/", scene.result(revision=1, project="p")).status_code == 202
    assert w.post("/p", scene.metric()).status_code == 202
    answer = w.post("/p", [scene.metric(name="a"), {"endpoint_id": 7}, scene.metric(name="b")])
    assert answer.status_code == 207 and answer.json()["accepted"] == 2
    (error,) = answer.json()["errors"]
    assert error["index"] == 1 and error["code"] == "wrong_type" and error["field"] == "endpoint_id"
    lines = "\n".join(json.dumps(scene.metric(name=n)) for n in ("c", "d")) + "\n"
    assert w.post("/p", lines).status_code == 202
    scene.caught_up()
    assert [r["name"] for r in scene.rows()] == ["a", "b", "c", "d", "general_drift", "hellinger_mean"]
    assert len(world.consume(scene.topic)) == 6  # through the topic, like all others


def test_http_refuses_what_is_wrong(world, scene):
    w = scene.writer
    answer = w.post("/p", b'{"endpoint_id": "x", "application_name": ]}')
    assert answer.status_code == 400 and answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.json()["code"] == "malformed_json" and answer.json()["position"] == 41
    answer = w.post("/p", dict(scene.result(), end_infer_time="yesterday"))
    assert answer.status_code == 400 and answer.json()["field"] == "end_infer_time"
    assert w.post("/nobody", scene.result()).status_code == 404
    assert w.post("/p", b"").status_code == 400
    assert w.post("/p", b"x" * (9 << 20)).status_code == 413
    world.project("second")
    mm.wait_for(lambda: w.post("/", scene.result()).status_code == 400)  # which of two?
    scene.caught_up()
    assert not scene.dead()


def test_a_new_project_is_served_within_seconds(world, scene):
    project = world.project("later")
    endpoint = world.endpoint(project)
    event = mm.metric_event(endpoint["uid"], start_us=START, end_us=END)
    mm.wait_for(lambda: scene.writer.post("/later", event).status_code == 202, 20)
    mm.wait_for(lambda: world.rows("SELECT 1 FROM results WHERE project_id = %s", project), 20)


def test_batch_of_many(world, scene):
    n = 8000
    scene.send(*[scene.metric(name=f"m{i % 20}", start_us=START + i // 20 * 600_000_000, end_us=END + i // 20 * 600_000_000,
                              value=i) for i in range(n)])
    scene.caught_up()
    got = world.one("SELECT count(*) AS n, sum(value) AS s FROM results")
    assert got["n"] == n and got["s"] == n * (n - 1) / 2
    assert scene.writer.metric("modelmon_pipeline_flushes_total", pipeline="writer") < n / 50


def test_notice_on_redis_and_no_redis_is_no_matter(world, scene):
    listener = world.redis().pubsub()
    listener.subscribe("mm:results")
    mm.wait_for(lambda: listener.get_message(timeout=1))
    scene.send(scene.result())

    def heard():
        message = listener.get_message(ignore_subscribe_messages=True, timeout=1)
        return message and json.loads(message["data"]) == {"project": "p", "endpoints": [scene.uid]}
    mm.wait_for(heard)
    listener.close()
    with world.service("writer", REDIS_URL="redis://127.0.0.1:1") as second:
        scene.writer.kill9()
        second.wait_ready()
        scene.send(scene.metric())
        scene.caught_up()
        assert len(scene.rows()) == 2


def test_kill_9_while_it_writes_loses_and_doubles_nothing(world, scene):
    n = 4000
    events = [scene.metric(name=f"m{i % 10}", start_us=START + i // 10 * 600_000_000, end_us=END + i // 10 * 600_000_000,
                           value=i) for i in range(n)]
    for k in range(4):
        scene.send(*events[k * n // 4:(k + 1) * n // 4], b"poison")
        scene.writer.kill9()
        scene.writer.start()
    scene.writer.wait_ready()
    scene.caught_up()
    got = world.one("SELECT count(*) AS n, sum(value) AS s FROM results")
    assert got["n"] == n and got["s"] == n * (n - 1) / 2
    assert len(scene.dead()) == 4


def test_sigterm_flushes_in_time(world, scene):
    scene.send(*[scene.metric(name=f"m{i}") for i in range(500)])
    mm.wait_for(lambda: scene.rows())
    code, seconds = scene.writer.term()
    assert code == 0 and seconds < 10


def test_database_down_at_start_and_later_waits(world):
    mm.stack("stop", "postgres")
    try:
        with world.service("writer") as writer:
            mm.wait_for(lambda: writer.get("/readyz").status_code == 503)
            assert writer.get("/livez").status_code == 200
            assert writer.post("/p", mm.result_event("a" * 32, start_us=START, end_us=END)).status_code == 503
            mm.stack("start", "postgres")
            scene = Scene(world, writer)
            scene.send(scene.result())
            scene.caught_up()
            mm.stack("stop", "postgres")
            scene.send(scene.metric())
            mm.wait_for(lambda: not writer.ready())
            mm.stack("start", "postgres")
            scene.caught_up()
            assert len(scene.rows()) == 2
            mm.stack("stop", "postgres")
            code, seconds = writer.term()
            assert code == 0 and seconds < 10
    finally:
        mm.stack("start", "postgres")


def test_wrong_configuration_names_all_faults(world):
    w = world.service("writer", FLUSH_INTERVAL="never", FLUSH_EVENTS="0", CACHE_TTL="x")
    w.start(serve=False)
    assert w.child.wait(10) == 2
    for name in ("FLUSH_INTERVAL", "FLUSH_EVENTS", "CACHE_TTL"):
        assert name in w.text()


def test_kafka_outage_is_503_and_then_goes_on(world, scene):
    mm.stack("kill9", "kafka")
    try:
        mm.wait_for(lambda: not scene.writer.ready())
        answer = scene.writer.post("/p", scene.result())
        assert answer.status_code == 503 and int(answer.headers["Retry-After"]) >= 1
    finally:
        mm.stack("start", "kafka")
    mm.wait_for(lambda: scene.writer.post("/p", scene.result(), timeout=60).status_code == 202, 60)
    mm.wait_for(scene.rows, 60)
    scene.writer.wait_ready()


def test_readme_has_every_option_and_metric(world):
    told, printed = mm.readme_options("writer")
    assert told == printed, "run: python3 tests/support/mm.py readme writer"
    with world.service("writer") as s:
        names = {line.split()[2] for line in s.get("/metrics").text.splitlines() if line.startswith("# HELP modelmon_writer_")}
    assert names and names <= mm.readme_names("writer")
