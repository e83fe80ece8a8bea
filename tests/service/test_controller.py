"""The controller as a black box: what statistics would have written is put into the database, what apps would get is read."""
import contextlib
import json
import os
import signal
import threading

import psycopg2
import pytest

import mm

APP = "app-one"
PERIOD = 10 * mm.MINUTE_US
NOW_WINDOW = mm.now_us() // PERIOD * PERIOD - 2 * PERIOD  # closed by the clock, whatever time it is


class Scene:
    """One project with one endpoint, its ledger, and its slots."""

    def __init__(self, world):
        self.w = world
        self.flush = 0

    def build(self, apps=(APP,), needs_rows=False, **endpoint):
        w = self.w
        w.migrated()
        self.project = w.project("p", default_app=False)
        self.endpoint = w.endpoint(self.project, **endpoint)
        for app in apps:
            w.app(self.project, app, needs_rows=needs_rows)
        w.days(NOW_WINDOW, NOW_WINDOW + PERIOD, mm.now_us())
        for partition in (0, 1):
            w.rows("INSERT INTO ledger (pipeline, topic, partition, project_id) VALUES ('statistics', %s, %s, %s)",
                   w.topic("p"), partition, self.project)
        return self

    def frontier(self, us, pipeline="statistics"):
        self.w.rows("UPDATE ledger SET frontier_us = %s WHERE pipeline = %s", us, pipeline)

    def add(self, rows, start=NOW_WINDOW, endpoint=None, handled=None, schema=1, reference=0, minute=0):
        """Rows of one flush: a slot and its pending window, in one statement as the sink's transaction has it."""
        self.flush += rows
        endpoint = endpoint or self.endpoint
        slot = start + minute * mm.MINUTE_US
        handled = handled or start + PERIOD
        self.w.rows(
            "WITH s AS (INSERT INTO slots (project_id, endpoint_id, slot_start_us, slot_us, schema_version, reference_version, "
            "topic, partition, flush_offset, requests, rows, errors, estimated, format, body) VALUES "
            "(%s, %s, %s, 60000000, %s, %s, %s, 0, %s, %s, %s, 0, %s, 1, '') RETURNING 1) "
            "INSERT INTO pending_windows (project_id, endpoint_id, window_start_us, window_end_us, rows, last_handled_us) "
            "VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (project_id, endpoint_id, window_end_us, window_start_us) DO UPDATE "
            "SET rows = pending_windows.rows + excluded.rows, last_handled_us = excluded.last_handled_us",
            self.project, endpoint["id"], slot, schema, reference, self.w.topic("p"), self.flush, rows, rows, rows,
            self.project, endpoint["id"], start, start + PERIOD, rows, handled)

    def window(self, start=NOW_WINDOW):
        return self.w.one("SELECT * FROM windows WHERE endpoint_id = %s AND window_start_us = %s", self.endpoint["id"], start)

    def events(self, app=APP):
        return [json.loads(r.value) for r in self.w.consume(self.w.topic("p", app))]

    def closed(self, start=NOW_WINDOW, revision=1):
        def check():
            return self.window(start)["revision"] == revision and not self.w.rows("SELECT 1 FROM outbox")
        mm.wait_for(check, 20, f"revision {revision}")


@pytest.fixture
def world():
    with mm.World() as w:
        yield w


@pytest.fixture
def scene(world):
    return Scene(world)


def test_closes_once_and_tells_the_app(world, scene):
    with world.service("controller") as c:
        scene.build()
        scene.add(40)
        scene.add(2, minute=5)
        mm.stays(lambda: not world.rows("SELECT 1 FROM windows"), 1.5, "no frontier, no close")
        scene.frontier(NOW_WINDOW + PERIOD + 4_000_000)  # LATENESS is 5 s
        mm.stays(lambda: not world.rows("SELECT 1 FROM windows"), 1.5, "the frontier is within the lateness")
        scene.frontier(NOW_WINDOW + PERIOD + 6_000_000)
        scene.closed()
        window = scene.window()
        assert window["rows"] == 42 and window["schema_version"] == 1 and window["reference_version"] == 0
        assert not world.rows("SELECT 1 FROM pending_windows")
        (event,) = mm.wait_for(scene.events)
        assert event["endpoint_id"] == scene.endpoint["uid"] and event["application_name"] == APP
        assert event["start_infer_time"] == mm.mlrun_time(NOW_WINDOW - 1)
        assert event["end_infer_time"] == mm.mlrun_time(NOW_WINDOW + PERIOD - 1)
        assert event["modelmon"]["window_start_us"] == NOW_WINDOW and event["modelmon"]["revision"] == 1
        assert event["modelmon"]["project"] == "p"
        (record,) = world.consume(world.topic("p", APP))
        assert record.key == scene.endpoint["uid"].encode()
        assert c.wait_ready().metric("modelmon_controller_windows_total", kind="first") == 1
        assert c.metric("modelmon_controller_leader") == 1


def test_late_row_makes_revision_two_and_then_too_late_ones_are_counted(world, scene):
    with world.service("controller", MAX_LATENESS="1h") as c:
        scene.build()
        scene.frontier(mm.now_us())
        scene.add(40)
        scene.closed()
        scene.add(3, minute=3)
        scene.closed(revision=2)
        assert scene.window()["rows"] == 43
        assert [e["modelmon"]["revision"] for e in mm.wait_for(lambda: len(scene.events()) == 2 and scene.events())] == [1, 2]
        world.rows("UPDATE windows SET closed_us = closed_us - %s", 2 * mm.HOUR_US)
        scene.add(5, minute=4)
        mm.wait_for(lambda: scene.window()["late_rows"] == 5)
        assert scene.window()["revision"] == 2 and scene.window()["rows"] == 43
        assert not world.rows("SELECT 1 FROM pending_windows")
        assert c.metric("modelmon_controller_late_rows_total") == 5
        assert len(scene.events()) == 2


def test_a_row_that_was_just_handled_holds_its_window_open(world, scene):
    with world.service("controller"):
        scene.build()
        frontier = mm.now_us()
        scene.frontier(frontier)
        scene.add(1, handled=frontier - 1_000_000)
        mm.stays(lambda: not world.rows("SELECT 1 FROM windows"), 1.5, "the window is not quiet yet")
        scene.frontier(frontier + 5_000_000)
        scene.closed()


def test_late_rows_are_counted_when_retention_has_taken_the_slots(world, scene):
    old = NOW_WINDOW - 10 * mm.DAY_US
    with world.service("controller", RETENTION_SLOTS="2d") as c:
        scene.build()

        def added():  # its first chores may take a day away that has no rows yet
            world.days(old, old + PERIOD)
            with contextlib.suppress(psycopg2.errors.CheckViolation):
                scene.add(40, start=old)
                return True
        mm.wait_for(added)
        scene.frontier(mm.now_us())
        scene.closed(old)
        world.rows("DELETE FROM slots")  # as retention does by the day
        scene.add(3, start=old, minute=3)
        mm.wait_for(lambda: scene.window(old)["late_rows"] == 3)
        scene.add(2, start=old, minute=4)
        mm.wait_for(lambda: scene.window(old)["late_rows"] == 5)
        assert scene.window(old)["revision"] == 1 and scene.window(old)["rows"] == 40
        assert c.metric("modelmon_controller_late_rows_total") == 5
        assert len(scene.events()) == 1


def frontiers(service):
    return next(d for d in service.get("/readyz").json()["dependencies"] if d["name"] == "frontiers")


def test_readyz_names_the_partition_that_holds_a_project_back(world, scene):
    with world.service("controller") as c:
        scene.build()
        scene.frontier(mm.now_us())
        world.rows("UPDATE ledger SET owner_epoch = 1, updated_us = %s WHERE partition = 0", mm.now_us())
        world.rows("UPDATE ledger SET frontier_us = NULL WHERE partition = 1")
        c.wait_ready()
        assert frontiers(c)["state"] == "ok"
        told = mm.wait_for(lambda: frontiers(c)["state"] == "degraded" and frontiers(c), 30)
        assert f"project p: partition 1 of {world.topic('p')} has no owner" in str(told)
        assert c.ready()  # degraded, not down
        scene.frontier(mm.now_us())
        mm.wait_for(lambda: frontiers(c)["state"] == "ok", 10)


def test_one_projects_trouble_is_not_the_others(world, scene):
    with world.service("controller") as c:
        world.migrated()
        bad, beyond = world.project("a-bad", default_app=False), 253402300800000000  # the year 10000 has no days
        endpoint = world.endpoint(bad)
        world.rows("INSERT INTO ledger (pipeline, topic, partition, project_id, frontier_us) VALUES ('statistics', 'bad', 0, %s, %s)",
                   bad, beyond + mm.DAY_US)
        world.rows("INSERT INTO pending_windows (project_id, endpoint_id, window_start_us, window_end_us, rows, last_handled_us) "
                   "VALUES (%s, %s, %s, %s, 1, 1)", bad, endpoint["id"], beyond, beyond + PERIOD)
        scene.build()
        scene.frontier(mm.now_us())
        scene.add(4)
        scene.closed()
        assert "project a-bad" in str(mm.wait_for(lambda: frontiers(c)["state"] == "degraded" and frontiers(c)))
        assert c.ready()


def test_a_deleted_endpoint_gets_no_more_windows(world, scene):
    with world.service("controller"):
        scene.build()
        scene.frontier(mm.now_us())
        scene.add(4)
        scene.closed()
        world.rows("DELETE FROM endpoints WHERE id = %s", scene.endpoint["id"])
        world.rows("SELECT nextval('change_seq')")  # what ends a deletion
        end = mm.now_us() + 2_000_000
        mm.wait_for(lambda: mm.now_us() > end, 5)  # noticed by the next tick
        scene.add(4, start=NOW_WINDOW - PERIOD)
        mm.wait_for(lambda: not world.rows("SELECT 1 FROM pending_windows"))
        assert not world.rows("SELECT 1 FROM windows WHERE window_start_us = %s", NOW_WINDOW - PERIOD)
        assert len(scene.events()) == 1


def test_a_topic_that_cannot_be_made_holds_nobody_else_up(world, scene):
    with world.service("controller", RELAY_INFLIGHT="10") as c:
        scene.build()
        scene.frontier(mm.now_us())
        world.rows("INSERT INTO outbox (project_id, topic, key, payload, created_us) "
                   "SELECT %s, 'no topic has blanks', 'k', '{}', 1 FROM generate_series(1, 50)", scene.project)
        scene.add(4)
        assert len(mm.wait_for(scene.events)) == 1
        mm.wait_for(lambda: world.one("SELECT count(*) AS n FROM outbox")["n"] == 50)
        assert not world.rows("SELECT 1 FROM dead_letters"), "nothing is given up"
        c.wait_ready()


def test_a_deleted_topic_is_made_again(world, scene):
    with world.service("controller") as c:
        scene.build()
        scene.frontier(mm.now_us())
        scene.add(4)
        scene.closed()
        c.wait_ready()
        topic = world.topic("p", APP)
        world.admin().delete_topics([topic])
        scene.add(2, start=NOW_WINDOW - PERIOD)
        mm.wait_for(lambda: scene.window(NOW_WINDOW - PERIOD)["revision"] == 1)
        mm.wait_for(lambda: not world.rows("SELECT 1 FROM outbox"), 90)
        assert not world.rows("SELECT 1 FROM dead_letters")
        assert [e["modelmon"]["window_start_us"] for e in mm.wait_for(scene.events)] == [NOW_WINDOW - PERIOD]


def test_unowned_partition_holds_the_frontier_back(world, scene):
    with world.service("controller") as c:
        scene.build()
        scene.add(1)
        scene.frontier(mm.now_us())
        world.rows("UPDATE ledger SET frontier_us = NULL WHERE partition = 1")
        mm.wait_for(lambda: c.metric("modelmon_controller_frontier_lag_seconds", project="p") == -1)
        assert not world.rows("SELECT 1 FROM windows")
        scene.frontier(mm.now_us())
        scene.closed()


def test_kill_9_in_between_closes_each_window_once(world, scene):
    """Killed again and again while it closes: each window once, each told at least once, none left behind."""
    n = 300
    with world.service("controller", CLOSE_BATCH="7", RELAY_INFLIGHT="5") as c:
        scene.build()
        endpoints = [world.endpoint(scene.project, name=f"m{i}") for i in range(n)]
        for ep in endpoints:
            scene.add(1, endpoint=ep)
        scene.frontier(mm.now_us())
        for _ in range(6):
            before = world.one("SELECT count(*) AS n FROM windows")["n"]
            mm.wait_for(lambda b=before: world.one("SELECT count(*) AS n FROM windows")["n"] > b or b == n, 30)
            c.kill9()
            c.start()
        mm.wait_for(lambda: not world.rows("SELECT 1 FROM pending_windows") and not world.rows("SELECT 1 FROM outbox"), 60)
        got = world.one("SELECT count(*) AS n, max(revision) AS revision FROM windows")
        assert got == {"n": n, "revision": 1}
        events = scene.events()
        assert {e["endpoint_id"] for e in events} == {ep["uid"] for ep in endpoints}
        assert all(e["modelmon"]["revision"] == 1 for e in events)


def test_two_controllers_close_once_and_the_standby_takes_over(world, scene):
    with world.service("controller") as first:
        scene.build()
        first.wait_ready()
        mm.wait_for(lambda: first.metric("modelmon_controller_leader") == 1)
        with world.service("controller") as second:
            second.wait_ready()
            assert second.metric("modelmon_controller_leader") == 0
            assert "standby" in second.get("/readyz").text
            assert second.post("/", "").json()["leader"] is False
            scene.add(1)
            scene.frontier(mm.now_us())
            scene.closed()
            first.kill9()
            scene.add(1, start=NOW_WINDOW - PERIOD)
            scene.closed(start=NOW_WINDOW - PERIOD)
            assert second.metric("modelmon_controller_leader") == 1
            assert len(mm.wait_for(lambda: len(scene.events()) == 2 and scene.events())) == 2


def test_silent_endpoints_are_recorded_but_nobody_is_told(world, scene):
    with world.service("controller") as c:
        scene.build(monitoring_mode="disabled")
        router = world.endpoint(scene.project, name="router", endpoint_type=2)
        legacy = world.endpoint(scene.project, name="legacy", mode=2)
        on = world.endpoint(scene.project, name="on")
        scene.frontier(mm.now_us())
        for ep in (scene.endpoint, router, legacy, on):
            scene.add(1, endpoint=ep)
        mm.wait_for(lambda: world.one("SELECT count(*) AS n FROM windows")["n"] == 4)
        (event,) = mm.wait_for(scene.events)
        assert event["endpoint_id"] == on["uid"]
        assert c.metric("modelmon_controller_windows_total", kind="silent") == 3
        world.rows("UPDATE endpoints SET monitoring_mode = 'enabled', change_seq = nextval('change_seq') WHERE id = %s",
                   scene.endpoint["id"])
        scene.add(1, start=NOW_WINDOW - PERIOD)
        mm.wait_for(lambda: len(scene.events()) == 2)


def test_monitoring_off_keeps_windows_for_later_and_in_order(world, scene):
    with world.service("controller"):
        scene.build()
        world.rows("UPDATE projects SET monitoring = false")
        scene.frontier(mm.now_us())
        for i in (3, 1, 2, 0):
            scene.add(1, start=NOW_WINDOW - i * PERIOD)
        mm.stays(lambda: not world.rows("SELECT 1 FROM windows"), 1.5, "monitoring is off")
        world.rows("UPDATE projects SET monitoring = true")
        events = mm.wait_for(lambda: len(scene.events()) == 4 and scene.events())
        starts = [e["modelmon"]["window_start_us"] for e in events]
        assert starts == sorted(starts)


def test_inactive_apps_and_the_default_app_switched_off_get_nothing(world, scene):
    with world.service("controller"):
        scene.build(apps=(APP,))
        world.app(scene.project, "asleep", active=False)
        world.app(scene.project, "histogram-data-drift")
        scene.frontier(mm.now_us())
        scene.add(1)
        scene.closed()
        assert len(scene.events()) == 1
        assert scene.events("asleep") == [] and scene.events("histogram-data-drift") == []
        world.rows("UPDATE projects SET default_app = true")
        scene.add(1, start=NOW_WINDOW - PERIOD)
        assert len(mm.wait_for(lambda: scene.events("histogram-data-drift"))) == 1


def test_an_app_that_needs_rows_waits_for_the_lake_and_gets_its_files(world, scene):
    with world.service("controller") as c:
        scene.build(needs_rows=True)
        world.rows("INSERT INTO ledger (pipeline, topic, partition, project_id, frontier_us) VALUES ('lake', %s, 0, %s, 1)",
                   world.topic("p"), scene.project)
        scene.frontier(mm.now_us())
        scene.add(10)
        world.rows("INSERT INTO manifest (project_id, endpoint_id, hour_us, topic, partition, start_offset, end_offset, schema_version, "
                   "path, rows, bytes, min_us, max_us, sha256, created_us) VALUES (%s, %s, %s, 't', 0, 0, 10, 1, 'key=x/a.parquet', "
                   "10, 100, %s, %s, '', 1)", scene.project, scene.endpoint["id"], NOW_WINDOW // mm.HOUR_US * mm.HOUR_US,
                   NOW_WINDOW, NOW_WINDOW + 1)
        mm.stays(lambda: not world.rows("SELECT 1 FROM windows"), 1.5, "the lake is behind")
        scene.frontier(mm.now_us(), "lake")
        (event,) = mm.wait_for(scene.events)
        assert event["modelmon"]["files"] == ["key=x/a.parquet"]
        assert c.metric("modelmon_controller_windows_waiting") == 0


def test_windows_without_rows_go_to_the_apps_that_want_them(world, scene):
    with world.service("controller", EMPTY_REACH="30m") as c:
        scene.build(first_request_us=NOW_WINDOW - 2 * PERIOD, last_request_us=NOW_WINDOW - 2 * PERIOD, monitoring_mode="enabled")
        world.app(scene.project, "watchful", wants_empty=True)
        world.endpoint(scene.project, name="quiet", first_request_us=1, last_request_us=NOW_WINDOW - 20 * mm.HOUR_US)  # long silent: not any more
        scene.add(5, start=NOW_WINDOW)
        scene.frontier(NOW_WINDOW + PERIOD + 6_000_000)
        scene.closed()
        scene.closed(start=NOW_WINDOW - PERIOD)

        def starts(app):
            return [e["modelmon"]["window_start_us"] for e in scene.events(app)]
        assert sorted(mm.wait_for(lambda: len(starts("watchful")) >= 3 and starts("watchful"))) == [
            NOW_WINDOW - 2 * PERIOD, NOW_WINDOW - PERIOD, NOW_WINDOW]
        assert starts(APP) == [NOW_WINDOW]
        assert scene.window(NOW_WINDOW - PERIOD)["rows"] == 0
        assert c.metric("modelmon_controller_windows_total", kind="silent") == 0
        scene.add(3, start=NOW_WINDOW - PERIOD)  # late ones, for both
        scene.closed(start=NOW_WINDOW - PERIOD, revision=2)
        assert mm.wait_for(lambda: len(starts(APP)) == 2 and starts(APP))[1] == NOW_WINDOW - PERIOD
        assert world.one("SELECT count(*) AS n FROM windows")["n"] == 3


def test_a_changed_reference_waits_for_the_lake_too(world, scene):
    with world.service("controller") as c:
        scene.build()
        world.rows("INSERT INTO ledger (pipeline, topic, partition, project_id, frontier_us) VALUES ('lake', %s, 0, %s, 1)",
                   world.topic("p"), scene.project)
        world.reference(scene.project, scene.endpoint["id"], {})
        scene.frontier(mm.now_us())
        scene.add(10, reference=0)  # counted before the reference came
        scene.add(10, reference=1, minute=1)
        mm.wait_for(lambda: c.metric("modelmon_controller_windows_waiting") == 1)
        assert not world.rows("SELECT 1 FROM windows")
        scene.frontier(mm.now_us(), "lake")
        scene.closed()
        assert scene.window()["reference_version"] == 1 and scene.window()["rows"] == 20
        assert scene.events()[0]["modelmon"]["reference_version"] == 1


def test_the_sweep_finds_rows_that_no_revision_used(world, scene):
    with world.service("controller", SWEEP_INTERVAL="2s"):
        scene.build()
        scene.frontier(mm.now_us())
        scene.add(10)
        scene.closed()
        scene.add(4, minute=2)
        world.rows("DELETE FROM pending_windows")  # as if the mark had been lost
        world.rows("UPDATE windows SET closed_us = closed_us - 11000000, rows = 10, revision = 1")

        def found():
            scene.frontier(mm.now_us())  # the window has to be quiet once more
            return scene.window()["revision"] == 2
        mm.wait_for(found, 30)
        assert scene.window()["rows"] == 14


def test_a_tick_by_http_does_what_the_timer_does(world, scene):
    with world.service("controller", TICK_INTERVAL="60s") as c:
        scene.build()
        c.wait_ready()
        scene.add(10)
        scene.frontier(mm.now_us())
        answer = c.post("/", "")
        assert answer.status_code == 202, answer.text
        assert answer.json()["closed"] == 1 and answer.json()["events"] == 1 and answer.json()["leader"] is True
        assert scene.window()["rows"] == 10
        assert len(mm.wait_for(scene.events)) == 1
        assert c.post("/", "").json()["closed"] == 0


def test_retention_drops_whole_days_but_nothing_that_is_pending(world, scene):
    old, older = NOW_WINDOW - 10 * mm.DAY_US, NOW_WINDOW - 20 * mm.DAY_US
    with world.service("controller") as c:
        scene.build()
        world.days(old, older, old + mm.DAY_US)
        scene.add(1, start=old)
        world.rows("DELETE FROM pending_windows")
        scene.add(1, start=old + mm.DAY_US)
        c.kill9()
    with world.service("controller", RETENTION_SLOTS="3d", RETENTION_RESULTS="3d"):
        def dropped():
            left = {r["relname"] for r in world.rows("SELECT relname FROM pg_class WHERE relname LIKE 'slots_p%%'")}
            return not any(name.endswith(day(older)) or name.endswith(day(old)) for name in left) and left
        left = mm.wait_for(dropped, 30)
        assert any(name.endswith(day(old + mm.DAY_US)) for name in left)


def test_retention_waits_for_events_that_are_not_sent_and_drops_the_lake(world, scene, tmp_path):
    old, told, older = (NOW_WINDOW - n * mm.DAY_US for n in (10, 15, 20))
    env = dict(RETENTION_SLOTS="3d", RETENTION_RESULTS="3d", RETENTION_LAKE="3d", LAKE_DIR=str(tmp_path))
    with world.service("controller") as c:
        scene.build()
        world.days(old, told, older, NOW_WINDOW)
        c.kill9()

    def path(us):
        text = mm.mlrun_time(us)
        return (f"p/model-endpoints/parquet/key={scene.endpoint['uid']}/year={text[:4]}/month={text[5:7]}/day={text[8:10]}/"
                f"hour={text[11:13]}/f.parquet")
    for us in (old, told, older, NOW_WINDOW):
        scene.add(1, start=us)
        file = tmp_path / path(us)
        file.parent.mkdir(parents=True)
        file.write_bytes(b"rows")
        for name in (file, *file.parents[:4]):
            os.utime(name, (1, 1))
        world.rows("INSERT INTO manifest (project_id, endpoint_id, hour_us, topic, partition, start_offset, end_offset, schema_version, "
                   "path, rows, bytes, min_us, max_us, sha256, created_us) VALUES (%s, %s, %s, 't', 0, 1, 2, 1, %s, 1, 4, %s, %s, '', 1)",
                   scene.project, scene.endpoint["id"], us // mm.HOUR_US * mm.HOUR_US, path(us), us, us)
    new = tmp_path / "p/model-endpoints/parquet/key=k/year=2001/month=01/day=01/hour=00/being-written.parquet"
    new.parent.mkdir(parents=True)
    new.write_bytes(b"rows")
    world.rows("DELETE FROM pending_windows")
    world.rows("INSERT INTO windows (project_id, endpoint_id, window_start_us, window_end_us, revision, rows, schema_version, "
               "reference_version, frontier_us, closed_us) VALUES (%s, %s, %s, %s, 1, 1, 1, 0, 1, 7)",
               scene.project, scene.endpoint["id"], told, told + PERIOD)
    world.rows("INSERT INTO outbox (project_id, topic, key, payload, created_us) VALUES (%s, 'no topic has blanks', 'k', '{}', 7)", scene.project)
    with world.service("controller", **env) as c:
        mm.wait_for(lambda: not (tmp_path / path(older)).exists(), 30)
        days = {r["relname"][-8:] for r in world.rows("SELECT relname FROM pg_class WHERE relname ~ '^(slots|manifest)_p[0-9]*$'")}
        assert day(older) not in days and {day(told), day(old), day(NOW_WINDOW)} <= days
        assert all((tmp_path / path(us)).exists() for us in (told, old, NOW_WINDOW)), "files of days that have rows"
        assert not (tmp_path / path(older)).parent.parent.exists(), "empty folders go"
        assert new.exists(), "its row may be about to come"
        mm.wait_for(lambda: c.metric("modelmon_controller_chores_total", what="files_deleted") == 1)
        c.kill9()
    world.rows("DELETE FROM outbox")
    with world.service("controller", **env):
        mm.wait_for(lambda: not any((tmp_path / path(us)).exists() for us in (told, old)), 30)
        assert (tmp_path / path(NOW_WINDOW)).exists() and new.exists()


def day(us):
    return mm.mlrun_time(us)[:10].replace("-", "")


def test_outbox_waits_out_a_kafka_outage(world, scene):
    with world.service("controller") as c:
        scene.build()
        scene.frontier(mm.now_us())
        scene.add(1)
        scene.closed()
        c.wait_ready()
        mm.stack("kill9", "kafka")
        try:
            for i in range(1, 6):
                scene.add(1, start=NOW_WINDOW - i * PERIOD)
            mm.wait_for(lambda: world.one("SELECT count(*) AS n FROM windows")["n"] == 6, 30, "closing goes on without a bus")
            assert world.one("SELECT count(*) AS n FROM outbox")["n"] == 5
            mm.wait_for(lambda: not c.ready(), 30, "/readyz tells of the outage")
            assert c.get("/livez").status_code == 200
        finally:
            mm.stack("start", "kafka")
        mm.wait_for(lambda: not world.rows("SELECT 1 FROM outbox"), 60, "the outbox is sent")
        starts = {e["modelmon"]["window_start_us"] for e in scene.events()}
        assert starts == {NOW_WINDOW - i * PERIOD for i in range(6)}
        c.wait_ready()


def test_a_bus_that_has_not_answered_yet_is_starting(world):
    with world.service("controller", KAFKA_BROKERS="127.0.0.1:1") as c:
        bus = lambda: next(d for d in c.get("/readyz").json()["dependencies"] if d["name"] == "bus")
        mm.wait_for(lambda: "no broker has answered yet" in bus().get("detail", ""))
        assert bus()["state"] == "starting" and c.get("/readyz").json()["status"] == "starting"
        mm.wait_for(lambda: bus()["state"] == "down", 20, "five seconds later it is down")


def test_database_down_at_start_and_in_between(world, scene):
    mm.stack("stop", "postgres")
    try:
        with world.service("controller") as c:
            mm.wait_for(lambda: c.get("/readyz").status_code == 503)
            assert c.get("/livez").status_code == 200
            assert c.post("/", "").status_code == 503
            mm.stack("start", "postgres")
            c.wait_ready()
            scene.build()
            scene.frontier(mm.now_us())
            scene.add(1)
            scene.closed()
            mm.stack("kill9", "postgres")
            mm.wait_for(lambda: not c.ready(), 30)
            code, seconds = None, None
            mm.stack("start", "postgres")
            c.wait_ready()
            scene.add(1, start=NOW_WINDOW - PERIOD)
            scene.closed(start=NOW_WINDOW - PERIOD)
            mm.stack("stop", "postgres")
            code, seconds = c.term()
            assert code == 0 and seconds < 10
    finally:
        mm.stack("start", "postgres")


def test_sigterm_ends_in_time_with_requests_answered(world, scene):
    with world.service("controller", TICK_INTERVAL="60s") as c:
        scene.build()
        c.wait_ready()
        with psycopg2.connect(world.database_url) as db, db.cursor() as cursor:
            cursor.execute("LOCK TABLE projects")  # ticks hang in the database until this ends
            answers = []
            threads = [threading.Thread(target=lambda: answers.append(c.post("/", "").status_code)) for _ in range(5)]
            for t in threads:
                t.start()
            mm.wait_for(lambda: c.metric("modelmon_http_connections") >= 6)
            c.signal(signal.SIGTERM)
            mm.wait_for(lambda: c.events("drain"))
        for t in threads:
            t.join()
        assert c.child.wait(10) == 0
        assert len(answers) == 5 and set(answers) <= {202, 503}


def test_wrong_configuration_names_all_faults(world):
    c = world.service("controller", LATENESS="soon", CLOSE_BATCH="0", TICK_INTERVAL="10ms", DATABASE_CONNECT_TIMEOUT="x")
    c.start(serve=False)
    assert c.child.wait(10) == 2
    text = c.text()
    for name in ("LATENESS", "CLOSE_BATCH", "TICK_INTERVAL", "DATABASE_CONNECT_TIMEOUT"):
        assert name in text


def test_readme_has_every_option_and_metric(world):
    told, printed = mm.readme_options("controller")
    assert told == printed, "run: python3 tests/support/mm.py readme controller"
    with world.service("controller") as s:
        names = {line.split()[2] for line in s.get("/metrics").text.splitlines() if line.startswith("# HELP modelmon_controller_")}
    assert names and names <= mm.readme_names("controller")
