"""A project whose credentials name another Kafka: its events are read from there, each once whatever is killed, its applications elsewhere
get their windows there, and nothing is restarted for it."""
import base64
import json
import os

import pytest

import mm
import serving
import system

PERIOD_US = 60_000_000
START = mm.now_us() // PERIOD_US * PERIOD_US - 10 * PERIOD_US
WRITER = "model-monitoring-writer"


def use(s, project, brokers, name="theirs", replace=False):
    """As MLRun's client sets them; gives what the answer says."""
    values = {"type": "kafka_stream", "name": name, "brokers": [brokers], "topics": [], "group": "serving", "initial_offset": "earliest",
              "partitions": None, "kwargs_public": {"new_topic": {"num_partitions": 3}}}
    part = json.dumps({k: base64.b64encode(str(v).encode()).decode() for k, v in values.items()})
    s.call("PUT", f"{project}/datastore-profiles", {"name": name, "type": "kafka_stream", "object": part, "private": "{}", "project": project})
    return s.call("PUT", f"{project}/model-monitoring/credentials?stream_profile_name={name}&replace_creds={replace}")


@pytest.fixture
def scene():
    with mm.World() as w, mm.another_kafka(w) as there, system.System(w, SECRETS_KEY="5a" * 32) as s:
        s.there = there
        s.project("p", "1m")
        s.uid = s.endpoint("p", "m", ["a", "b"], ["y"])
        yield s


def carried(s):
    return s.w.one("SELECT bridge FROM monitoring_credentials")["bridge"]


def send(s, bus, first, n, key=None):
    sent = [serving.event(s.uid, [[float(i), 1.0]], [0.5], START + 1000 + i * 1000, f"r{i}") for i in range(first, first + n)]
    bus.produce(s.w.topic("p"), *sent, key=key)


def test_events_of_another_kafka_count_once_whatever_is_killed(scene):
    s = scene
    told = use(s, "p", s.there.brokers)
    assert "events and results are read from it" in told["stream_profile_name"]["use"] and told["tsdb_profile_name"]["name"] == ""
    name = mm.wait_for(lambda: carried(s), 30, "the stream has seen the credentials")
    assert name.startswith("bridge:p@")
    mm.wait_for(lambda: len(s.w.rows("SELECT 1 FROM ledger WHERE pipeline = %s", name)) == 6, 30, "both topics are there, as the profile says")
    for i in range(4):
        send(s, s.there, i * 50, 25)
        send(s, s.there, i * 50 + 25, 25, key=s.uid)
        if i < 3:
            s.stream.kill9()
            s.stream.start()
    send(s, s.w, 200, 20)  # whoever sends here is heard too
    s.wait_results("p", s.uid, 220, 90)
    assert not s.w.rows("SELECT 1 FROM dead_letters")
    first, = s.windows("p", s.uid)
    assert first["window_start_us"] == START and first["rows"] == 220
    assert serving.total(s.w, s.uid, "p")["requests"] == 220
    s.stream.kill9()
    s.w.rows("UPDATE ledger SET next_offset = 0 WHERE pipeline = %s", name)  # as if all of it had been sent and not one offset kept
    s.stream.start()
    send(s, s.there, 220, 10)
    s.wait_results("p", s.uid, 230, 90)
    assert len(s.w.consume(s.w.topic("p"))) >= 430 and serving.total(s.w, s.uid, "p")["requests"] == 230


def test_applications_elsewhere_get_their_windows_and_are_heard(scene):
    s = scene
    s.call("PUT", "p/apps/elsewhere", {"needs_rows": False})
    use(s, "p", s.there.brokers)
    mm.wait_for(lambda: carried(s), 30, "the stream has seen the credentials")
    send(s, s.w, 0, 40)
    s.wait_results("p", s.uid, 40)
    topic = s.w.topic("p", "elsewhere")
    window = json.loads(mm.wait_for(lambda: s.there.consume(topic), 30, "the window is there")[0].value)
    assert window["endpoint_id"] == s.uid
    assert s.w.topic("p", system.APP) not in s.there.admin().list_topics(), "what is read here stays here"
    s.there.produce(s.w.topic("p", WRITER), mm.result_event(s.uid, start_us=START, end_us=START + PERIOD_US, app="elsewhere", name="found"), key=s.uid)
    mm.wait_for(lambda: s.results("p", s.uid, "found", "elsewhere"), 30, "its result is written")


# Open: with that Kafka away the project's frontier stood still in one run of five, and went on in four (its rows are late ones then).
def test_a_kafka_that_is_away_holds_no_other_project(scene):
    s = scene
    s.project("other", "1m")
    uid = s.endpoint("other", "m", ["a", "b"], ["y"])
    use(s, "p", s.there.brokers)
    mm.wait_for(lambda: carried(s), 30, "the stream has seen the credentials")
    s.there.stack("stop", "kafka")
    s.w.produce(s.w.topic("other"), serving.event(uid, [[1.0, 2.0]], [1.0], START, project="other"))
    mm.wait_for(lambda: s.windows("other", uid), 30, "the other project's window is closed")
    assert s.stream.get("/readyz").status_code == 200
    s.there.stack("start", "kafka")


def test_the_same_kafka_by_another_name_carries_nothing(scene):
    s = scene
    use(s, "p", s.there.brokers)
    mm.wait_for(lambda: carried(s), 30, "the stream has seen the credentials")
    use(s, "p", s.w.brokers.replace("127.0.0.1", "localhost"), "ours", replace=True)
    mm.wait_for(lambda: carried(s) == "", 30, "it is our own")
    send(s, s.w, 0, 40)
    s.wait_results("p", s.uid, 40)
    assert len(s.w.consume(s.w.topic("p"))) == 40
    use(s, "p", s.there.brokers, replace=True)  # back again: it goes on where it was
    mm.wait_for(lambda: carried(s), 30, "the stream has seen the credentials")
    send(s, s.there, 40, 10)
    s.wait_results("p", s.uid, 50)


def test_a_profile_that_cannot_be_opened_is_said(scene):
    s = scene
    values = {"type": "kafka_stream", "name": "locked", "brokers": [s.there.brokers], "topics": [], "sasl_user": None}
    code = lambda v: base64.b64encode(str(v).encode()).decode()
    s.call("PUT", "p/datastore-profiles", {"name": "locked", "type": "kafka_stream", "project": "p", "object": json.dumps({k: code(v) for k, v in values.items()}),
                                           "private": json.dumps({"sasl_pass": code(None)})})
    s.call("PUT", "p/model-monitoring/credentials?stream_profile_name=locked")
    mm.wait_for(lambda: carried(s), 30, "it is open")
    s.stream.kill9()
    s.stream.env["SECRETS_KEY"] = "77" * 32
    s.stream.start()
    mm.wait_for(lambda: "SECRETS_KEY" in s.stream.get("/readyz").text, 30, "what to look at")
    assert s.stream.get("/readyz").status_code == 200 and os.path.exists(s.stream.log)
