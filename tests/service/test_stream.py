"""The stream service's rules: projects, registration, schemas, references, duplicates, refusals, limits, configuration."""
import json
import os
import re
import subprocess
import time
import uuid

import pytest
import requests

import mm
import serving

WHEN = 1_735_689_601_000_000  # 2025-01-01 00:00:01


class Scene:
    """One stream service for the tests of this file; each test has a project of its own."""

    def __init__(self, world, stream):
        self.w, self.stream = world, stream
        world.migrated()
        stream.wait_ready()

    def project(self, **columns):
        name = "p-" + uuid.uuid4().hex[:8]
        self.w.project(name, **columns)
        if columns.get("monitoring", True):
            serving.wait_topic(self.w, name)
        return name

    def id_of(self, project):
        return self.w.one("SELECT id FROM projects WHERE name = %s", project)["id"]

    def send(self, project, *events, partition_key="k"):
        """Into one partition, in order; then waits until all is committed."""
        places = self.w.produce(self.w.topic(project), *events, key=partition_key)
        serving.wait_handled(self.w, project)
        return places

    def reasons(self, project):
        return [d["reason"] for d in serving.dead_letters(self.w, project)]


@pytest.fixture(scope="module")
def scene():
    with mm.World() as w:
        with w.service("stream", ENDPOINTS_MAX=3, DEDUPE_RECORDS=20, **serving.FAST) as stream:
            yield Scene(w, stream)


def one(uid, x=1.0, rid="r", when=WHEN, project="p", **more):
    return serving.event(uid, [[x]], [0], when, rid, project, **more)


# --- projects ---
def test_a_project_made_after_the_start_is_picked_up(scene):
    w, name = scene.w, "p-late"
    answer = scene.stream.post(f"/{name}", one("a", project=name))
    assert answer.status_code == 404 and answer.json()["code"] == "unknown_project"
    topic = w.make_topic(w.topic(name), 2)
    w.produce(topic, one("a", 5.0, "before", project=name))  # a sender was faster than whoever made the project
    w.project(name)
    answer = scene.stream.post(f"/{name}", one("a", 6.0, "at once", project=name))
    assert answer.status_code == 202, "the moment it exists, an event for it is good"
    serving.wait_topic(w, name)
    serving.wait_handled(w, name)
    assert sorted(r["f0"] for r in serving.lake_rows(w, name, "a")) == [5.0, 6.0]


def test_an_unknown_project_is_not_registered_by_an_event(scene):
    answers = [scene.stream.post("/", one("a", project="p-nowhere")), scene.stream.post("/", one("a", project="p-nowhere"))]
    for answer in answers:
        assert answer.status_code == 404 and answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["code"] == "unknown_project" and answer.json()["field"] == "function_uri"
    assert not scene.w.rows("SELECT 1 FROM projects WHERE name = 'p-nowhere'")
    nameless = {k: v for k, v in one("a").items() if k != "function_uri"}
    assert scene.stream.post("/", nameless).status_code == 404
    assert scene.stream.post("/A_b%20c", one("a")).status_code in (400, 404)


def test_monitoring_switched_off_and_on(scene):
    w, name = scene.w, scene.project(monitoring=False)
    topic = w.make_topic(w.topic(name), 2)
    mm.wait_for(lambda: scene.stream.post(f"/{name}", one("a", project=name)).status_code == 422)
    answer = scene.stream.post(f"/{name}", one("a", project=name))
    assert answer.json()["code"] == "monitoring_off"
    w.produce(topic, one("a", project=name))
    mm.stays(lambda: not w.rows("SELECT 1 FROM ledger WHERE topic = %s", topic), 1.5)
    w.rows("UPDATE projects SET monitoring = true WHERE name = %s", name)
    serving.wait_topic(w, name)
    serving.wait_handled(w, name)
    assert len(serving.lake_rows(w, name, "a")) == 1  # what waited in the topic is not lost
    w.rows("UPDATE projects SET monitoring = false WHERE name = %s", name)
    mm.wait_for(lambda: scene.stream.post(f"/{name}", one("a", 2.0, "x", project=name)).status_code == 422)


def test_an_event_of_another_project_is_refused(scene):
    a, b = scene.project(), scene.project()
    answer = scene.stream.post(f"/{a}", one("a", project=b))
    assert answer.status_code == 422 and answer.json()["code"] == "project_mismatch"
    assert answer.json()["field"] == "function_uri"
    scene.send(a, one("a", project=b), one("a", project=a))  # the one refused does not make the other a duplicate
    assert scene.reasons(a) == ["project_mismatch"]
    assert len(serving.lake_rows(scene.w, a, "a")) == 1 and not serving.lake_rows(scene.w, b, "a")


# --- endpoints ---
def test_self_registration_has_a_cap(scene):
    w, name = scene.w, scene.project()
    w.endpoint(scene.id_of(name), "made-by-api", name="api")
    events = [one(uid, project=name, rid=f"r{i}") for i, uid in enumerate(["e1", "e2", "e3", "e4", "e1", "e5", "made-by-api", "e3"])]
    scene.send(name, *events)
    assert scene.reasons(name) == ["too_many_endpoints"] * 2
    assert [len(serving.lake_rows(w, name, u)) for u in ("e1", "e2", "e3", "e4", "e5", "made-by-api")] == [2, 1, 2, 0, 0, 1]
    made = w.one("SELECT * FROM endpoints e JOIN projects p ON p.id = e.project_id WHERE p.name = %s AND uid = 'e1'", name)
    assert made["self_registered"] and made["function_name"] == "serving" and made["function_tag"] == "latest"
    assert made["model_class"] == "M" and made["first_request_us"] == made["last_request_us"] == WHEN


def test_registration_can_be_switched_off():
    with mm.World() as w, w.service("stream", AUTO_REGISTER="false", **serving.FAST) as strict:
        w.migrated()
        w.endpoint(w.project("p"), "known")
        strict.wait_ready()
        topic = serving.wait_topic(w, "p")
        w.produce(topic, one("unknown"), one("known"))
        serving.wait_handled(w, "p")
        assert [d["reason"] for d in serving.dead_letters(w, "p")] == ["unknown_endpoint"]
        assert len(serving.lake_rows(w, "p", "known")) == 1
        w.endpoint(w.one("SELECT id FROM projects")["id"], "unknown", name="now known")
        w.produce(topic, one("unknown"))  # the refused record once more, after what was missing was made
        serving.wait_handled(w, "p")
        assert len(serving.lake_rows(w, "p", "unknown")) == 1


def test_first_and_last_request_are_kept(scene):
    w, name = scene.w, scene.project()
    times = [WHEN + 5_000_000, WHEN - 7_000_000, WHEN + 9_000_000]
    for i, t in enumerate(times):
        scene.send(name, one("a", when=t, project=name, rid=f"r{i}"))
    got = w.one("SELECT first_request_us, last_request_us FROM endpoints e JOIN projects p ON p.id = e.project_id "
                "WHERE p.name = %s", name)
    assert got == {"first_request_us": min(times), "last_request_us": max(times)}


@pytest.mark.parametrize("row", [[1.0, 2.0], ["x"]], ids=["same columns", "other columns"])
def test_a_deleted_endpoint_starts_anew(scene, row):
    w, name = scene.w, scene.project()
    ids = lambda: [r["id"] for r in w.rows("SELECT e.id FROM endpoints e JOIN projects p ON p.id = e.project_id "
                                           "WHERE p.name = %s", name)]
    scene.send(name, serving.event("a", [[1, 2]], [0], WHEN, "r1", name))
    old = ids()
    with w.service("api") as api:
        api.wait_ready()
        answer = requests.delete(api.url(f"/api/v1/projects/{name}/model-endpoints/m?endpoint-id=a"), timeout=20)
        assert answer.status_code == 204, answer.text
    assert ids() == []

    def anew():
        scene.send(name, serving.event("a", [row], [0], WHEN, uuid.uuid4().hex, name))
        return ids() and serving.total(w, "a", name) # one sink may have noticed before the other
    mm.wait_for(anew, 15, "it registers itself again")
    assert ids() != old and scene.stream.child.poll() is None
    slot = serving.total(w, "a", name)
    assert slot["requests"] >= 1 and len(slot["features"]) == len(row)
    assert not scene.reasons(name)


# --- schemas and references ---
def test_a_new_schema_is_a_new_version(scene):
    w, name = scene.w, scene.project()
    step = lambda names, rid, row: serving.step_event("a", [row], [1], WHEN, rid, name, names=names, output_names=["y"])
    scene.send(name, step(["a", "b"], "1", [1, 2]), step(["a", "b"], "2", [3, 4]))
    scene.send(name, step(["a", "c", "d"], "3", [5, 6, "x"]), step(["a", "c", "d"], "4", [7, 8, "y"]))
    slots = serving.slots(w, "a", name)
    assert {key[1]: s["rows"] for key, s in slots.items()} == {1: 2, 2: 2}
    by_rid = {r["request_id"]: serving.columns_of(r) for r in serving.lake_rows(w, name, "a")}
    assert by_rid == {"1": {"a": 1.0, "b": 2.0, "y": 1.0}, "2": {"a": 3.0, "b": 4.0, "y": 1.0},
                      "3": {"a": 5.0, "c": 6.0, "d": "x", "y": 1.0}, "4": {"a": 7.0, "c": 8.0, "d": "y", "y": 1.0}}
    assert not scene.reasons(name)


def test_old_and_new_hosts_at_once_do_not_make_versions_without_end(scene):
    """A rolling update: two schemas in turn are two versions, not one for each event."""
    w, name = scene.w, scene.project()
    events = [serving.step_event("a", [[1, 2]], [1], WHEN, f"r{i}", name, names=["a", "bc"[i % 2]]) for i in range(16)]
    scene.send(name, *events)
    found = w.rows("SELECT s.version FROM endpoint_schemas s JOIN projects p ON p.id = s.project_id WHERE p.name = %s", name)
    assert len(found) == 2
    assert {k[1]: s["rows"] for k, s in serving.slots(w, "a", name).items()} == {1: 8, 2: 8}
    assert len(serving.lake_rows(w, name, "a")) == 16


def test_both_sinks_use_one_schema(scene):
    """Which of the two comes first to an event must not matter: rows and counts have the same version."""
    w, name = scene.w, scene.project()
    scene.send(name, *[serving.step_event("a", [[1]], [1], WHEN, f"r{i}", name, names=["abcde"[i % 5]]) for i in range(20)])
    by_version = {k[1]: s["rows"] for k, s in serving.slots(w, "a", name).items()}
    of_files = {r["schema_version"]: r["n"] for r in w.rows(
        "SELECT schema_version, sum(m.rows)::bigint AS n FROM manifest m JOIN projects p ON p.id = m.project_id "
        "WHERE p.name = %s GROUP BY 1", name)}
    assert by_version == of_files == {v: 4 for v in range(1, 6)}


@pytest.mark.parametrize("names", [["", "b"], ["a", "()"]])
def test_a_column_without_a_name_is_refused(scene, names):
    w, name = scene.w, scene.project()
    scene.send(name, serving.step_event("a", [[1, 2]], [3], WHEN, "r1", name, names=names),
               serving.step_event("a", [[1, 2]], [3], WHEN, "r2", name, names=["a", "b"]))
    assert scene.reasons(name) == ["bad_name"] and scene.stream.child.poll() is None
    refused = scene.stream.post(f"/{name}", {"model": "m", "columns": names, "data": [[1, 2]], "outputs": [0]})
    assert refused.status_code == 400 and "without a letter" in refused.text and refused.json()["field"] == "columns"
    for key, event in (("inputs", {"inputs": [{n: 1 for n in names}]}), ("instances", {"instances": [{n: 1 for n in names}]})):
        refused = scene.stream.post(f"/{name}", {"model": "m", "outputs": [0], **event})
        assert refused.status_code == 400 and refused.json()["field"] == key, refused.text
    assert [serving.columns_of(r) for r in serving.lake_rows(w, name, "a")] == [{"a": 1.0, "b": 2.0, "p0": 3.0}]


def test_names_that_collide_lose_nothing(scene):
    """In MLRun the later one overwrites the other, also one named like a metadata column."""
    w, name = scene.w, scene.project()
    cases = {"twice": (["a", "a"], {"a": 1.0, "a__2": 2.0, "y": 3.0}), "normal form": (["x y", "x_y"], {"x_y": 1.0, "x_y__2": 2.0, "y": 3.0}),
             "case": (["A", "a"], {"A": 1.0, "a__2": 2.0, "y": 3.0}), "label": (["y", "b"], {"y": 1.0, "b": 2.0, "y__2": 3.0}),
             "prefix": (["day", "feature_day"], {"feature_day": 1.0, "feature_day__2": 2.0, "y": 3.0})}
    for k, (names, cols) in enumerate(cases.values()):
        uid = f"a{k % 3}"  # the cap is 3: names change on one endpoint
        scene.send(name, serving.step_event(uid, [[1, 2]], [3], WHEN + k, f"r{k}", name, names=names, output_names=["y"]))
        rows = [r for r in serving.lake_rows(w, name, uid) if r["request_id"] == f"r{k}"]
        assert [serving.columns_of(r) for r in rows] == [cols]
    assert not scene.reasons(name)


def test_a_name_that_comes_twice_later_loses_nothing(scene):
    w, name = scene.w, scene.project()
    scene.send(name, serving.step_event("a", [[1, 2]], [0], WHEN, "r1", name, names=["x", "y"]),
               serving.step_event("a", [[11, 12]], [0], WHEN, "r2", name, names=["x", "x"]))
    rows = sorted(serving.lake_rows(w, name, "a"), key=lambda r: r["request_id"])
    assert [serving.columns_of(r) for r in rows] == [{"x": 1.0, "y": 2.0, "p0": 0.0}, {"x": 11.0, "x__2": 12.0, "p0": 0.0}]


def test_a_stored_schema_that_cannot_be_read_stops_nobody_else(scene):
    w, name = scene.w, scene.project()
    row = w.endpoint(scene.id_of(name), "broken")
    w.rows("INSERT INTO endpoint_schemas (project_id, endpoint_id, version, document, named, created_us) VALUES (%s, %s, 1, %s, true, 1)",
           scene.id_of(name), row["id"], '{"features": 7}')
    scene.send(name, one("broken", project=name), one("fine", project=name))
    assert scene.reasons(name) == ["internal"] and scene.stream.child.poll() is None
    assert len(serving.lake_rows(w, name, "fine")) == 1


def test_a_value_of_another_type_is_null_and_counted(scene):
    w, name = scene.w, scene.project()
    before = scene.stream.metric("modelmon_lake_nulled_total")
    scene.send(name, one("a", 1.5, "1", project=name), one("a", "text", "2", project=name), one("a", None, "3", project=name),
               one("a", True, "4", project=name), one("a", [1], "5", project=name))
    rows = sorted(serving.lake_rows(w, name, "a"), key=lambda r: r["request_id"])
    assert [r["f0"] for r in rows] == [1.5, None, None, 1.0, None]
    assert scene.stream.metric("modelmon_lake_nulled_total") == before + 2
    column = serving.total(w, "a", name)["features"][0]
    assert column["n"] == 2 and column["missing"] == 1 and column["texts"].get("text") == 1 and column["wrong_type"] == 1


def test_a_new_reference_counts_apart(scene):
    w, name = scene.w, scene.project()
    row = w.endpoint(scene.id_of(name), "a")
    stats = lambda edges: {"f0": {"count": 4.0, "hist": [[2, 2], edges]}}
    w.reference(scene.id_of(name), row["id"], stats([0.0, 1.0, 2.0]))
    values = [-1.0, 0.0, 0.5, 1.0, 2.0, 3.0, float("inf"), float("-inf"), float("nan"), None]
    scene.send(name, *[one("a", v, f"r{i}", project=name) for i, v in enumerate(values)])
    w.reference(scene.id_of(name), row["id"], stats([0.0, 10.0, 20.0]), version=2)

    def second():
        scene.send(name, one("a", 7.0, uuid.uuid4().hex, project=name))
        return [k for k in serving.slots(w, "a", name) if k[2] == 2]
    mm.wait_for(second, 10, "the second reference is used")
    slots = {key[2]: s["features"][0] for key, s in serving.slots(w, "a", name).items()}
    first = slots[1]
    assert first["cells"][:2] == [2, 1 + sum(serving.slots(w, "a", name)[k]["features"][0]["cells"][1] - 1
                                             for k in serving.slots(w, "a", name) if k[2] == 1)]
    assert (first["under"], first["at_max"], first["neg_inf"], first["pos_inf"], first["missing"]) == (1, 1, 1, 1, 2)
    assert slots[2]["kind"] == "numeric" and slots[2]["cells"][0] >= 1 and slots[2]["cells"][1] == 0


# --- duplicates ---
def test_duplicates_within_the_horizon_count_once(scene):
    w, name = scene.w, scene.project()
    again = one("a", 1.0, "same", project=name)
    filler = [one("a", 2.0, f"f{i}", project=name) for i in range(30)]
    scene.send(name, again, *filler[:5], again, *filler[5:8], again)
    assert serving.total(w, "a", name)["requests"] == 9
    scene.send(name, *filler[8:], again)  # 23 records later: beyond DEDUPE_RECORDS=20, as stated
    assert serving.total(w, "a", name)["requests"] == 32
    assert sum(r["request_id"] == "same" for r in serving.lake_rows(w, name, "a")) == 2
    other_time = dict(again, when=mm.mlrun_time(WHEN + 1))
    scene.send(name, other_time)
    assert serving.total(w, "a", name)["requests"] == 33


def test_duplicates_are_known_after_a_restart():
    with mm.World() as w:
        again = one("a", 1.0, "same")
        with w.service("stream", CONSUMER_INSTANCE="one", **serving.FAST) as stream:
            w.migrated()
            w.project("p")
            stream.wait_ready()
            topic = serving.wait_topic(w, "p")
            w.produce(topic, again, one("a", 2.0, "other"), key="k")
            serving.wait_handled(w, "p")
            stream.kill9()
            stream.start()
            w.produce(topic, again, one("a", 3.0, "third"), key="k")
            serving.wait_handled(w, "p")
            assert sorted(r["f0"] for r in serving.lake_rows(w, "p", "a")) == [1.0, 2.0, 3.0]
            assert serving.total(w, "a", "p")["requests"] == 3
            assert stream.metric("modelmon_stream_events_total", sink="lake", outcome="duplicate") == 1


@pytest.mark.parametrize("generation", [0, 3])
def test_a_refused_record_can_be_sent_again_after_a_restart(generation):
    """Its fault is mended, and it is no duplicate of itself, also for a process that has to learn what was before, and in
    a log that is not the topic's first."""
    with mm.World() as w:
        with w.service("stream", CONSUMER_INSTANCE="one", **serving.FAST) as stream:
            w.migrated()
            w.project("p")
            stream.wait_ready()
            topic = serving.wait_topic(w, "p")
        w.rows("UPDATE ledger SET generation = %s", generation)
        with w.service("stream", ENDPOINTS_MAX=1, CONSUMER_INSTANCE="one", **serving.FAST) as stream:
            stream.wait_ready()
            w.produce(topic, one("first"), one("second"), key="k")
            serving.wait_handled(w, "p")
            assert [d["reason"] for d in serving.dead_letters(w, "p")] == ["too_many_endpoints"]
        w.rows("DELETE FROM dead_letters")  # of a flood they are sampled: nothing hangs on them
        with w.service("stream", ENDPOINTS_MAX=9, CONSUMER_INSTANCE="one", **serving.FAST) as stream:
            stream.wait_ready()
            letters = [r.value for r in w.consume(topic + ".dlt")]
            w.produce(topic, *letters, one("first"), key="k")
            serving.wait_handled(w, "p")
            assert len(serving.lake_rows(w, "p", "second")) == 1 and serving.total(w, "second", "p")["requests"] == 1
            assert serving.total(w, "first", "p")["requests"] == 1, "this one is a duplicate"


def test_flushes_count_progress_alone(scene):
    """The frontier moves once a second without a record; an alert on lag without flushes must not be fooled by that."""
    w, name = scene.w, scene.project()
    scene.send(name, one("a", project=name))
    counts = lambda: [scene.stream.metric("modelmon_pipeline_flushes_total", pipeline=p) for p in ("statistics", "lake")]
    had, now = counts(), time.time() * 1e6
    assert min(had) >= 1
    mm.wait_for(lambda: w.rows("SELECT min(frontier_us) AS at FROM ledger WHERE topic = %s", w.topic(name))[0]["at"] > now + 1e6)
    assert counts() == had


# --- what is refused ---
def test_poison_among_good_neighbours(scene):
    w, name = scene.w, scene.project()
    junk = [b"", b"\x00\xff\xfe", b"{", b"[]", b"null", b'"text"', b"{}" * 2, b'{"when":' + b"[" * 2000, b"{}", b"\xef\xbb\xbf{}"]
    events = []
    for i, bad in enumerate(junk):
        events += [json.dumps(one("a", float(i), f"g{i}", project=name)).encode(), bad]
    places = scene.send(name, *events)
    assert [r["f0"] for r in serving.lake_rows(w, name, "a")] == [float(i) for i in range(len(junk))]
    letters = serving.dead_letters(w, name)
    assert [(d["partition"], d["offset"]) for d in letters] == places[1::2]
    assert [bytes(d["payload"]) for d in letters] == junk
    assert all(d["reason"] in ("malformed_json", "wrong_type", "too_large", "missing_endpoint") for d in letters)
    records = w.consume(w.topic(name) + ".dlt")
    assert [r.value for r in records] == junk


def test_a_flood_of_poison_is_sampled_in_rows_and_complete_in_the_topic(scene):
    w, name = scene.w, scene.project()
    began = time.monotonic()
    scene.send(name, *[b'{"n": %d}' % i for i in range(4000)], json.dumps(one("a", project=name)).encode())
    assert time.monotonic() - began < 30
    assert len(serving.lake_rows(w, name, "a")) == 1
    assert {r.value for r in w.consume(w.topic(name) + ".dlt")} == {b'{"n": %d}' % i for i in range(4000)}
    assert 0 < len(serving.dead_letters(w, name)) <= 4000
    flushes = scene.stream.metric("modelmon_pipeline_flushes_total", pipeline="statistics")
    assert flushes < scene.stream.metric("modelmon_pipeline_records_total", pipeline="statistics")


def test_a_huge_record_over_kafka_is_a_dead_letter(scene):
    w, name = scene.w, scene.project()
    huge = dict(one("a", project=name), metrics={"x": "y" * 900_000})
    fits, over = json.dumps(huge).encode(), json.dumps(dict(huge, labels={"x": "y" * 130_000})).encode()
    assert len(fits) < 1_000_000 < len(over) < 1_048_576
    many_rows = json.dumps(serving.event("a", [[0]] * 10001, [0] * 10001, WHEN, "r2", name)).encode()
    wide = json.dumps(serving.event("a", [[0] * 1001], [0], WHEN, "r3", name)).encode()
    scene.send(name, fits, json.dumps(dict(json.loads(over), when=mm.mlrun_time(WHEN + 1))).encode(), many_rows, wide, json.dumps(one("a", 2.0, "z", project=name)).encode())
    assert scene.reasons(name) == ["too_many_rows", "too_many_features"]
    assert len(serving.lake_rows(w, name, "a")) == 3
    letters = serving.dead_letters(w, name)
    assert letters[0]["size"] == len(many_rows) and len(letters[0]["payload"]) <= 65536


def test_limits_over_http(scene):
    name = scene.project()
    post = lambda body, **kw: scene.stream.post(f"/{name}", body, **kw)
    for body, status, code in [
            (b"", 400, "malformed_json"), (b"   \n", 400, "malformed_json"), (b"{", 400, "malformed_json"),
            (b"[]", 400, "malformed_json"), (b"garbage", 400, "malformed_json"), (b"[1, 2", 400, None), (b"123", 400, None),
            (b'{"x": ' + b"[" * 100 + b"]" * 100 + b"}", 413, "too_large"),
            (json.dumps(serving.event("a", [[0]] * 10001, [0] * 10001, WHEN, "r", name)), 413, "too_many_rows"),
            (json.dumps(serving.event("a", [[0] * 1001], [0], WHEN, "r", name)), 413, "too_many_features"),
            (json.dumps(one("a" * 65, project=name)), 400, "bad_name"), (json.dumps(one("../../x", project=name)), 400, "bad_name"),
            (json.dumps(dict(one("a", project=name), schema_version=99)), 422, "unsupported_version"),
            (json.dumps(dict(one("a", project=name), when="2200-01-01 00:00:00+00:00")), 422, "future_timestamp")]:
        answer = post(body)
        assert answer.status_code == status, (body[:60], answer.text)
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert code is None or answer.json()["code"] == code, answer.text
        assert "position" in answer.json()
    lines = "\n".join(json.dumps({"n": i}) for i in range(10_050))
    answer = post(lines)
    assert answer.status_code == 400 and answer.json()["accepted"] == 0 and len(answer.json()["errors"]) == 100
    too_long = scene.stream.post(f"/{name}", b'{"x": "' + b"y" * 3_000_000 + b'"}')
    assert too_long.status_code == 413
    assert not serving.lake_rows(scene.w, name, "a") and not scene.reasons(name)


def test_a_batch_is_taken_in_part(scene):
    w, name = scene.w, scene.project()
    good = [json.dumps(one("a", float(i), f"g{i}", project=name)) for i in range(3)]
    body = "\n".join([good[0], "{broken", good[1], json.dumps(dict(one("a", project=name), when=None)), good[2]])
    answer = scene.stream.post(f"/{name}", body, {"Content-Type": "application/x-ndjson; charset=utf-8"})
    assert answer.status_code == 207
    told = answer.json()
    assert (told["status"], told["accepted"], told["rejected"]) == ("partly_accepted", 3, 2)
    assert [(e["index"], e["line"], e["code"], e["field"]) for e in told["errors"]] == [
        (1, 2, "malformed_json", ""), (3, 4, "missing_when", "when")]
    assert len(good[0]) < told["errors"][0]["position"] < len(good[0]) + 10
    serving.wait_handled(w, name)
    assert [r["f0"] for r in serving.lake_rows(w, name, "a")] == [0.0, 1.0, 2.0]


def test_a_trace_goes_with_the_event(scene):
    w, name = scene.w, scene.project()
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    answer = scene.stream.post(f"/{name}", one("a", project=name), {"traceparent": trace})
    assert answer.status_code == 202
    serving.wait_handled(w, name)
    assert [mm.header(r, "traceparent") for r in w.consume(w.topic(name))] == [trace]
    pending = w.one("SELECT w.* FROM pending_windows w JOIN projects p ON p.id = w.project_id WHERE p.name = %s", name)
    assert pending["traceparent"] == trace and pending["rows"] == 1


# --- the process ---
def test_sinks_apart_give_the_same():
    with mm.World() as w:
        with w.service("stream", SINKS="statistics", **serving.FAST) as a, w.service("stream", SINKS="lake", **serving.FAST) as b:
            w.migrated()
            w.project("p")
            a.wait_ready()
            b.wait_ready()
            serving.wait_topic(w, "p")
            mm.wait_for(lambda: b.post("/p", one("e", 0.0, "r0")).status_code == 202)
            for i in range(1, 30):
                assert (a, b)[i % 2].post("/p", one("e", float(i), f"r{i}")).status_code == 202
            serving.wait_handled(w, "p")
            assert sorted(r["f0"] for r in serving.lake_rows(w, "p", "e")) == [float(i) for i in range(30)]
            assert serving.total(w, "e", "p")["requests"] == 30
            names = [d["name"] for d in a.get("/readyz").json()["dependencies"]]
            assert "statistics" in names and "lake" not in names


def test_rows_without_names_mean_the_same_to_both_pipelines():
    """A lake that comes later, and has seen nothing of what statistics saw, reads each row by the schema of its place in the log."""
    sent = [(["a", "b"], [1, 2]), (["c", "d", "e"], [3, 4, 5]), (None, [6, 7, 8]), (["a", "b"], [9, 10]), (None, [11, 12, 13]),
            (["b", "a"], [14, 15]), (None, [16, 17])]
    events = [serving.step_event("e", [row], [0], WHEN, f"r{i}", "p", names=names) for i, (names, row) in enumerate(sent)]
    want = [{"a": 1, "b": 2}, {"c": 3, "d": 4, "e": 5}, {"c": 6, "d": 7, "e": 8}, {"a": 9, "b": 10}, {"c": 11, "d": 12, "e": 13},
            {"a": 15, "b": 14}, {"c": 16, "d": 17, "e": None}]
    with mm.World() as w:
        with w.service("stream", SINKS="statistics", **serving.FAST) as a:
            w.migrated()
            w.project("p")
            a.wait_ready()
            serving.wait_topic(w, "p")
            for event in events:  # one by one: what the process remembers grows
                w.produce(w.topic("p"), event, key="e")
                serving.wait_handled(w, "p", pipelines=("statistics",))
        with w.service("stream", SINKS="lake", **serving.FAST) as b:
            b.wait_ready()
            serving.wait_handled(w, "p")
            rows = sorted(serving.lake_rows(w, "p", "e"), key=lambda r: r["request_id"])
            assert [{k: v for k, v in serving.columns_of(r).items() if k != "p0"} for r in rows] == want
            assert serving.dead_letters(w, "p") == []
            counted = {key[1]: s["rows"] for key, s in serving.slots(w, "e", "p").items()}
            assert counted == {r["version"]: r["n"] for r in w.rows(
                "SELECT schema_version AS version, CAST(sum(rows) AS int) AS n FROM manifest GROUP BY 1")} and len(counted) == 2


def test_default_project():
    with mm.World() as w, w.service("stream", DEFAULT_PROJECT="home", **serving.FAST) as s:
        w.migrated()
        w.project("home")
        s.wait_ready()
        serving.wait_topic(w, "home")
        answer = s.post("/", serving.ingest("i", [[1]], [2], WHEN, "r"))
        assert answer.status_code == 202
        serving.wait_handled(w, "home")
        assert len(serving.lake_rows(w, "home", "i")) == 1


def run(**env):
    return subprocess.run([os.path.join(mm.BIN, "stream")], env={"PATH": os.environ["PATH"], **env}, capture_output=True, text=True,
                          timeout=20, check=False)


def test_wrong_configuration_is_all_told_at_once():
    done = run(SINKS="foo", STATISTICS_INTERVAL="1ms", LAKE_AGE="soon", DEDUPE_RECORDS="-1", HTTP_PORT="99999", LAKE_MEMORY="12")
    assert done.returncode == 2
    for name in ("SINKS", "STATISTICS_INTERVAL", "LAKE_AGE", "DEDUPE_RECORDS", "HTTP_PORT", "LAKE_MEMORY"):
        assert name + ":" in done.stderr
    done = run(SYSTEM_ID="a b", DEFAULT_PROJECT="Not A Name", HTTP_PORT="0")
    assert done.returncode == 2 and "SYSTEM_ID" in done.stderr and "DEFAULT_PROJECT" in done.stderr


def test_readyz_says_what_it_waits_for():
    with mm.World() as w:
        s = w.service("stream", DATABASE_URL="postgresql://postgres@127.0.0.1:1/x")
        with s:
            mm.wait_for(lambda: {d["name"]: d["state"] for d in s.get("/readyz").json()["dependencies"]}["kafka"] == "ok")
            answer = s.get("/readyz")
            states = {d["name"]: d for d in answer.json()["dependencies"]}
            assert answer.status_code == 503 and states["projects"]["state"] == "starting"
            assert states["statistics"]["state"] == "down" and states["statistics"]["detail"]
            answer = s.post("/p", one("a"))
            assert answer.status_code == 503 and answer.headers["Retry-After"]
            code, seconds = s.term()
            assert code == 0 and seconds < 10


def test_readme_has_every_option_and_metric(scene):
    told, printed = mm.readme_options("stream")
    assert told == printed, "run: python3 tests/support/mm.py readme stream"
    names = set(re.findall(r"^# HELP (modelmon_(?:stream|lake|dead|pipeline)_\w+)", scene.stream.get("/metrics").text, re.M))
    assert len(names) > 8 and names <= mm.readme_names("stream"), names - mm.readme_names("stream")
