"""The stream service when it, or what it needs, dies: every acknowledged event is counted once and is in the lake once."""
import collections
import random
import signal
import time

import pytest
import requests
from kafka.admin import NewPartitions

import mm
import serving

START = 1_735_689_600_000_000  # 2025-01-01
UIDS = ["ep-a", "ep-b", "ep-c"]
# static membership: a restarted process has its partitions back at once, without waiting for its dead self to time out
HERE = dict(serving.FAST, CONSUMER_INSTANCE="one", CONSUMER_SESSION="6s")


@pytest.fixture
def world():
    with mm.World() as w:
        yield w


def begin(world, stream, project="p"):
    world.migrated()
    world.project(project, base_period_us=mm.HOUR_US)
    stream.wait_ready()
    serving.wait_topic(world, project)


def stored(world):
    """Events with an effect so far: what both pipelines have behind them."""
    found = world.rows("SELECT pipeline, sum(next_offset)::bigint AS n FROM ledger GROUP BY 1")
    return min((r["n"] or 0 for r in found), default=0) if len(found) == 2 else 0


def settled(world, load, project="p"):
    load.stop()
    serving.wait_handled(world, project, seconds=60)
    load.check()


def test_a_topic_that_grows_stops_no_topic(world):
    with world.service("stream", **HERE) as stream:
        begin(world, stream)
        begin(world, stream, "q")
        world.produce(world.topic("p"), serving.event("ep-a", [[1.0]], [0], START, "r1", "p"), key="k")
        serving.wait_handled(world, "p")
        client = world.admin()
        client.create_partitions({world.topic("p"): NewPartitions(3)})
        client.close()
        mm.wait_for(lambda: len(world.rows("SELECT 1 FROM ledger WHERE topic = %s AND partition = 2 AND next_offset >= 0",
                                           world.topic("p"))) == 2, 40, "both pipelines have the new partition")
        for project in "pq":
            world.produce(world.topic(project), serving.event("ep-b", [[1.0]], [0], START, "r2", project), key="k")
            serving.wait_handled(world, project)
            assert serving.total(world, "ep-b", project)["requests"] == 1
        mm.wait_for(stream.ready, 20)


def test_a_reference_that_went_with_its_endpoint_stops_nobody(world):
    """An endpoint is deleted between the look at its record and the look at its reference."""
    with world.service("stream", **HERE) as stream:
        begin(world, stream)
        going = world.endpoint(1, "going")["id"]
        world.rows("UPDATE endpoints SET reference_version = 1, change_seq = nextval('change_seq') WHERE id = %s", going)
        world.produce(world.topic("p"), *[serving.event(uid, [[1.0]], [0], START, uid, "p") for uid in ("going", "ep-a")], key="k")
        serving.wait_handled(world, "p")
        assert [serving.total(world, uid, "p")["requests"] for uid in ("going", "ep-a")] == [1, 1]
        assert not serving.dead_letters(world, "p") and not stream.events("pipeline_failed")


@pytest.mark.parametrize("table, pipeline", [("slots", "statistics"), ("manifest", "lake")])
def test_a_record_that_the_database_refuses_costs_itself_alone(world, table, pipeline):
    """Sent again once the fault is gone it is taken, by the same process and by the next: what was refused is no duplicate."""
    with world.service("stream", **HERE) as stream:
        begin(world, stream)
        bad = world.endpoint(1, "bad")["id"]
        world.refuse_rows(table, f"NEW.endpoint_id = {bad}")
        uids = {i: "bad" if i in (20, 40) else f"ep-{i % 3}" for i in range(50)}
        events = [serving.event(uids[i], [[float(i)]], [0], START + i, f"r{i}", "p") for i in uids]
        world.produce(world.topic("p"), *events, key="k")
        serving.wait_handled(world, "p")
        rows = lambda uid: [r["request_id"] for r in serving.lake_rows(world, "p", uid)]
        for uid in ("ep-0", "ep-1", "ep-2"):
            ids = [f"r{i}" for i in uids if uids[i] == uid]
            assert rows(uid) == ids and serving.total(world, uid, "p")["requests"] == len(ids)
        letters = serving.dead_letters(world, "p")
        assert [(d["reason"], d["pipeline"]) for d in letters] == [("internal", pipeline)] * 2
        assert "database refuses" in letters[0]["error"] and "as a test" not in letters[0]["error"], "a server quotes values"
        assert stream.metric("modelmon_dead_letters_total", pipeline=pipeline, reason="internal") == 2
        assert stream.child.poll() is None and stream.get("/readyz").status_code == 200
        world.rows(f"DROP TRIGGER refuse ON {table}")
        for i in (20, 40):
            world.produce(world.topic("p"), events[i], key="k")
            serving.wait_handled(world, "p")
            stream.kill9()
            stream.start()
        assert serving.total(world, "bad", "p")["requests"] == 2 and rows("bad") == ["r20", "r40"]
        assert len(serving.dead_letters(world, "p")) == 2


def test_statistics_that_take_much_memory_are_committed_at_once(world):
    """STATISTICS_MEMORY, long before STATISTICS_INTERVAL: 600 endpoints with 40 features are more than 1 MiB of counts."""
    with world.service("stream", **dict(HERE, STATISTICS_INTERVAL="60s", STATISTICS_MEMORY="1MiB")) as stream:
        begin(world, stream)
        began = time.monotonic()
        world.produce(world.topic("p"), serving.event("few", [[1.0]], [0], START, "r", "p"), key="k")
        mm.wait_for(lambda: serving.lake_rows(world, "p", "few"), 30, "the lake has it")
        assert not world.rows("SELECT 1 FROM slots"), "a little waits for the interval"
        world.produce(world.topic("p"), *[serving.event(f"e{i}", [[float(k) for k in range(40)]], [0], START + i, f"r{i}", "p")
                                          for i in range(600)], key="k")
        mm.wait_for(lambda: world.rows("SELECT 1 FROM slots"), 40, "statistics are committed")
        assert time.monotonic() - began < 55, "not the interval's doing"


def test_killed_twelve_times_under_load(world):
    dice = random.Random(20250101)
    with world.service("stream", **HERE) as stream:
        begin(world, stream)
        port = [stream.port]
        with serving.Load(world, "p", lambda: port[0], UIDS, START) as load:
            for kill in range(12):
                had = stored(world)
                if kill % 2:  # half of them once it has got somewhere, half whenever it happens to be
                    mm.wait_for(lambda: stored(world) > had, 30, "progress between kills")
                time.sleep(dice.uniform(0.05, 0.7))
                stream.kill9()
                stream.start()
                port[0] = stream.port
            had = stored(world)
            mm.wait_for(lambda: stored(world) > had, 30, "progress after the last kill")
        settled(world, load)
        assert load.again > 0, "no request met a dead server: the kills tested nothing"
        assert len(load.ids) > 300
        epochs = world.rows("SELECT max(owner_epoch) AS n FROM ledger GROUP BY pipeline")
        assert all(e["n"] >= 7 for e in epochs)
        assert not serving.dead_letters(world, "p")


def test_sigterm_under_load_ends_in_order(world):
    with world.service("stream", **dict(HERE, STATISTICS_INTERVAL="5s", LAKE_AGE="30s")) as stream:
        begin(world, stream)
        port = [stream.port]
        with serving.Load(world, "p", lambda: port[0], UIDS, START) as load:
            mm.wait_for(lambda: len(load.ids) > 100)
            code, seconds = stream.term()
            assert code == 0 and seconds <= 10
            # what it had in hand was stored, not thrown away: neither interval was over
            assert stored(world) > 0
            stream.start()
            port[0] = stream.port
            mm.wait_for(lambda: len(load.ids) > 150)
            code, seconds = stream.term()
            assert code == 0 and seconds <= 10
            stream.start()
            port[0] = stream.port
        load.stop()
        code, _ = stream.term()
        assert code == 0
    with world.service("stream", **HERE):
        serving.wait_handled(world, "p")
        load.check()


def test_two_processes_share_and_hand_over(world):
    one = world.service("stream", **dict(serving.FAST, CONSUMER_SESSION="6s"))
    two = world.service("stream", **dict(serving.FAST, CONSUMER_SESSION="6s"))

    def owners():
        """Who owns partitions of each pipeline: {pipeline: {pid: how many}}."""
        found = {}
        for r in world.rows("SELECT pipeline, split_part(owner, '/', 2) AS pid, count(*) AS n FROM ledger GROUP BY 1, 2"):
            found.setdefault(r["pipeline"], {})[int(r["pid"] or 0)] = r["n"]
        return found

    def owned_by(*services):
        want = {s.child.pid: 2 // len(services) for s in services}
        return owners() == {"statistics": want, "lake": want}

    with one:
        begin(world, one)
        ports = [one.port]
        with serving.Load(world, "p", lambda: ports[-1], UIDS, START) as load:
            mm.wait_for(lambda: owned_by(one) and stored(world) > 20, 30, "one owns both partitions")
            with two:
                mm.wait_for(lambda: owned_by(one, two), 40, "each owns one of two partitions")
                ports.append(two.port)
                had = stored(world)
                mm.wait_for(lambda: stored(world) > had)
                code, seconds = one.term()
                assert code == 0 and seconds <= 10
                mm.wait_for(lambda: owned_by(two), 20, "the other took over after SIGTERM")
                one.start()
                mm.wait_for(lambda: owned_by(one, two), 40, "shared again")
                ports.append(one.port)
                two.kill9()
                mm.wait_for(lambda: owned_by(one), 40, "taken over from the dead")
                settled(world, load)


def test_a_frozen_owner_is_fenced(world):
    """A process that slept through its session wakes up with work in hand: its commit is refused, nothing counts twice."""
    slow = dict(serving.FAST, CONSUMER_SESSION="6s", STATISTICS_INTERVAL="2s", LAKE_AGE="2s")
    with world.service("stream", **slow) as old:
        begin(world, old)
        serving.wait_topic(world, "p")
        with serving.Load(world, "p", lambda: old.port, UIDS, START) as load:
            mm.wait_for(lambda: stored(world) > 20, 30)
        had = len(load.ids)
        for i in range(60):  # in its hands, not stored yet, when it falls asleep
            made = serving.event(UIDS[i % 3], [[float(i), 0], [0.5, "x"]], [0, 1], START + i, f"z{i}", "p")
            world.produce(world.topic("p"), made, key=UIDS[i % 3])
            load.ids[f"z{i}"] = (UIDS[i % 3], 0)
        old.signal(signal.SIGSTOP)
        try:
            with world.service("stream", **serving.FAST, CONSUMER_SESSION="6s") as new:
                serving.wait_handled(world, "p", seconds=60)
                load.check()
                old.signal(signal.SIGCONT)
                mm.wait_for(lambda: old.get("/livez").status_code == 200)
                mm.wait_for(lambda: old.ready() and new.ready(), 40, "both ready")
                load.check()
                assert had and len(load.ids) == had + 60
        finally:
            old.signal(signal.SIGCONT)


def test_kafka_away(world):
    with world.service("stream", **HERE) as stream:
        begin(world, stream)
        good = serving.event("ep-a", [[1.0, 2], [3.0, "x"]], [0, 1], START, "r-first", "p")
        with serving.Load(world, "p", lambda: stream.port, UIDS, START, kafka=False) as load:
            mm.wait_for(lambda: stored(world) > 10)
            try:
                mm.stack("kill9", "kafka")
                mm.wait_for(lambda: not stream.ready(), 30, "not ready")
                assert "kafka" in stream.get("/readyz").text
                began = time.monotonic()
                answer = stream.post("/p", good)
                assert time.monotonic() - began < 2, "a sender waits for a bus that is known to be away"
                assert answer.status_code == 503 and int(answer.headers["Retry-After"]) >= 1
                assert answer.headers["Content-Type"] == "application/problem+json" and answer.json()["code"] == "not_durable"
                assert stream.get("/livez").status_code == 200
                assert stream.post("/p", dict(good, when=None)).status_code == 400, "what is wrong is wrong without a bus too"
                assert stream.metric("modelmon_http_events_total", outcome="unavailable") >= 1
            finally:
                mm.stack("start", "kafka")
            stream.wait_ready(60)
            had = len(load.ids)
            mm.wait_for(lambda: len(load.ids) > had + 50, 60)
        settled(world, load)  # also the one that was on its way when the broker died
        assert stream.child.poll() is None


def test_the_database_away(world):
    with world.service("stream", **HERE) as stream:
        begin(world, stream)
        with serving.Load(world, "p", lambda: stream.port, UIDS, START) as load:
            mm.wait_for(lambda: stored(world) > 10)
            try:
                mm.stack("kill9", "postgres")
                had, again = len(load.ids), load.again
                mm.wait_for(lambda: len(load.ids) > had + 100, 40, "events accepted without a database")
                assert load.again == again, "a sender was turned away"
                mm.wait_for(lambda: stream.get("/readyz").json()["dependencies"] and "statistics" in stream.get("/readyz").text)
                text = stream.get("/readyz").text
                assert "flushing" in text or "database" in text or "connect" in text, text
            finally:
                mm.stack("start", "postgres")
            mm.wait_for(lambda: stored(world) > had / 2, 60, "statistics go on")
        settled(world, load)
        assert stream.child.poll() is None, "it must not exit because a server is away"


def test_redis_is_only_a_cache(world):
    with world.service("stream", **HERE) as stream:
        begin(world, stream)
        row = world.endpoint(world.one("SELECT id FROM projects WHERE name = 'p'")["id"], "ep-a")
        world.reference(world.one("SELECT id FROM projects")["id"], row["id"],
                        {"f0": {"count": 2.0, "hist": [[1, 1], [0.0, 100.0, 1e9]]}})
        with serving.Load(world, "p", lambda: stream.port, UIDS, START) as load:
            mm.wait_for(lambda: stored(world) > 10)
            world.redis().flushall()
            had = stored(world)
            mm.wait_for(lambda: stored(world) > had)
            try:
                mm.stack("kill9", "redis")
                had, again = stored(world), load.again
                mm.wait_for(lambda: stored(world) > had + 60, 30, "goes on without a cache")
                assert load.again == again and stream.ready()
                # a new endpoint with a reference, while there is no cache to ask
                fresh = world.endpoint(world.one("SELECT id FROM projects")["id"], "ep-new", name="other")
                world.reference(world.one("SELECT id FROM projects")["id"], fresh["id"],
                                {"f0": {"count": 2.0, "hist": [[1, 1], [0.0, 5.0, 10.0]]}})
                answer = requests.post(stream.url("/p"), json=serving.event("ep-new", [[7.0]], [1], START, "n1", "p"), timeout=20)
                assert answer.status_code == 202
                mm.wait_for(lambda: serving.total(world, "ep-new", "p"), 20)
            finally:
                mm.stack("start", "redis")
        load.stop()
        serving.wait_handled(world, "p")
        column = serving.total(world, "ep-new", "p")["features"][0]
        assert column["kind"] == "numeric" and column["cells"] == [0, 1]
        sent = collections.Counter(uid for uid, _ in load.ids.values())
        assert serving.total(world, "ep-b", "p")["requests"] == sent["ep-b"]
        assert sum(s["requests"] for s in serving.slots(world, "ep-a", "p").values()) == sent["ep-a"]


@pytest.mark.parametrize("server", ["kafka", "postgres"])
def test_started_before_its_server(world, server):
    mm.stack("stop", server)
    stream = world.service("stream", **HERE)
    try:
        try:
            stream.start()
            mm.wait_for(lambda: stream.get("/readyz").status_code == 503, 20)
            assert stream.get("/livez").status_code == 200
            answer = stream.post("/p", serving.event("ep-a", [[1]], [1], START, project="p"))
            assert answer.status_code == 503 and int(answer.headers["Retry-After"]) >= 1
        finally:
            mm.stack("start", server)
        begin(world, stream)
        assert stream.post("/p", serving.event("ep-a", [[1]], [1], START, project="p")).status_code == 202
        serving.wait_handled(world, "p")
        assert serving.total(world, "ep-a", "p")["requests"] == 1
    finally:
        stream.kill9()
