"""Kills at every named place (common/base/crash.h) of a flush of the lake and of retention: the next life finishes, and readers see
each row once, and no file without its row in the manifest or the other way round."""
import contextlib
import datetime
import os
import re
import subprocess

import pyarrow.parquet
import pytest

import mm
import serving

CHAOS = os.path.join(mm.ROOT, "build/chaos/bin")
START = mm.now_us() // mm.HOUR_US * mm.HOUR_US - 5 * mm.HOUR_US
# Of a flush, in their order; with how many times they are passed in one.
FLUSH = ["flush_intend", "lake_file:1", "lake_file:2", "lake_file:4", "lake_folders", "lake_plan", "lake_sync", "lake_rename:1",
         "lake_rename:2", "lake_rename:4", "lake_clean", "lake_publish", "flush_prepare", "flush_lock", "lake_manifest", "flush_write",
         "flush_move", "flush_commit", "flush_done"]


@pytest.fixture(scope="module", autouse=True)
def programs():
    subprocess.run(["make", "-s", *(f"build/chaos/bin/{name}" for name in ("stream", "controller"))], cwd=mm.ROOT, check=True,
                   stdout=subprocess.DEVNULL)


@pytest.fixture
def world():
    with mm.World() as w:
        yield w


def of_chaos(world, name, **env):
    return mm.Service(name, world.env(**env), world.folder, [os.path.join(CHAOS, name)])


def test_places_of_a_flush_are_all_here():
    with open(os.path.join(mm.ROOT, "common/lake/writer.c"), encoding="utf-8") as f:
        places = set(re.findall(r"CRASH_POINT\((\w+)\)", f.read()))
    assert places <= {p.split(":")[0] for p in FLUSH}


def die(service, at):
    """Starts it so that it ends at the place."""
    service.env["MM_CRASH_AT"] = at if ":" in at else at + ":1"
    with contextlib.suppress(RuntimeError):  # it may end before it serves
        service.start()
    assert service.child.wait(30) == 137, at
    del service.env["MM_CRASH_AT"]


def on_disk(world):
    return {os.path.relpath(os.path.join(folder, n), world.lake) for folder, _, names in os.walk(os.path.join(world.lake, "p"))
            for n in names}


def send(world, topic, n):
    """One range: schemas that come within it, in three hours of three endpoints."""
    name = f"{n:02d}"
    rid = iter(f"{name}-{i}" for i in range(100))
    named = lambda uid, names, hours: serving.step_event(uid + name, [[1.0] * len(names)], [[0.0]], START + hours * mm.HOUR_US,
                                                         next(rid), names=names, output_names=["y"])
    events = [named("a", ["x", "y1"], 0), named("a", ["x", "y1"], 1), named("a", ["x", "y1", "z"], 0), named("b", ["x"], 0),
              named("b", ["x"], 2), named("a", ["x", "y1", "z"], 2), named("b", ["w", "x"], 2),
              serving.step_event("c" + name, [[1.0, 2.0]], [[0.0]], START, next(rid), names=["x", "y1"], output_names=["y"]),
              serving.step_event("c" + name, [[1.0, 2.0]], [[0.0]], START + mm.HOUR_US, next(rid))]
    world.produce(topic, *events)
    return {e["request"]["id"] for e in events}


def grow(world, n):
    """Between two lives a client adds a column."""
    world.rows("INSERT INTO endpoint_schemas (project_id, endpoint_id, version, named, document, created_us) SELECT e.project_id, e.id, "
               "max(s.version) + 1, true, '{\"features\":[{\"name\":\"x\",\"type\":\"number\"},{\"name\":\"y1\",\"type\":\"number\"},"
               "{\"name\":\"q\",\"type\":\"number\"}],\"labels\":[{\"name\":\"y\",\"type\":\"number\"}]}', 1 FROM endpoints e "
               "JOIN endpoint_schemas s ON s.endpoint_id = e.id WHERE e.uid = %s GROUP BY 1, 2", f"a{n:02d}")


def test_a_flush_that_is_killed_anywhere_leaves_each_row_once(world):
    """The ledger pins the range, and a record is read by the schema of its place in the log: a repeat has the names of the first try,
    also when a schema came in between."""
    s = of_chaos(world, "stream", **dict(serving.FAST, SINKS="lake", LAKE_AGE="400ms", TOPIC_PARTITIONS="1", CONSUMER_INSTANCE="one"))
    with s:
        world.migrated()
        world.project("p", base_period_us=mm.HOUR_US)
        topic = serving.wait_topic(world, "p")
        s.term()
        for n, place in enumerate(FLUSH):
            sent = send(world, topic, n)
            die(s, place)
            first = on_disk(world)
            grow(world, n)
            if n % 3 == 2:  # and once more, somewhere else
                with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
                    die(s, FLUSH[(n * 7) % 12])
                first |= on_disk(world)
                s.kill9()
            s.start()
            serving.wait_handled(world, "p", pipelines=("lake",))
            s.term()
            now, listed = on_disk(world), {r["path"] for r in world.rows("SELECT path FROM manifest")}
            assert now == listed, place
            assert first <= now, place
            rows = [r for p in now for r in pyarrow.parquet.ParquetFile(os.path.join(world.lake, p)).read(["request_id"])["request_id"].to_pylist()
                    if r.startswith(f"{n:02d}-")]
            assert sorted(rows) == sorted(sent), place


def old_lake(world, days):
    """Rows and files of days that are over for long, as they are after a run: {day: path}."""
    project = world.project("p", default_app=False)
    endpoint = world.endpoint(project)
    world.days(*days, mm.now_us())
    made = {}
    for us in days:
        t = datetime.datetime.fromtimestamp(us / 1e6, datetime.timezone.utc)
        for part in (0, 1):
            path = f"p/model-endpoints/parquet/key={endpoint['uid']}/{t:year=%Y/month=%m/day=%d/hour=%H}/f{part}.parquet"
            made.setdefault(us, []).append(path)
            os.makedirs(os.path.dirname(os.path.join(world.lake, path)), exist_ok=True)
            with open(os.path.join(world.lake, path), "wb") as f:
                f.write(b"rows")
            world.rows("INSERT INTO manifest (project_id, endpoint_id, hour_us, topic, partition, start_offset, end_offset, "
                       "schema_version, path, rows, bytes, min_us, max_us, sha256, created_us) VALUES "
                       "(%s, %s, %s, 't', %s, 1, 2, 1, %s, 1, 4, %s, %s, '', 1)",
                       project, endpoint["id"], us // mm.HOUR_US * mm.HOUR_US, part, path, us, us)
        world.rows("INSERT INTO slots (project_id, endpoint_id, slot_start_us, slot_us, schema_version, reference_version, topic, "
                   "partition, flush_offset, requests, rows, errors, estimated, format, body) VALUES "
                   "(%s, %s, %s, 60000000, 1, 0, 't', 0, 1, 1, 1, 0, 0, 1, '')", project, endpoint["id"], us)
    os.makedirs(os.path.join(world.lake, ".tmp"), exist_ok=True)
    return made


def age(world):
    """Nothing of it was touched of late: folders neither, that a killed run has just taken files from."""
    for folder, _, names in os.walk(world.lake, topdown=False):
        for path in [folder, *(os.path.join(folder, n) for n in names)]:
            os.utime(path, (1, 1))


def whole(world):
    """What a reader is told of is there: no row of the manifest is without its file."""
    for r in world.rows("SELECT path FROM manifest"):
        assert os.path.exists(os.path.join(world.lake, r["path"])), r["path"]


def tables(world, days):
    """Tables of these days that are left."""
    names = [datetime.datetime.fromtimestamp(d / 1e6, datetime.timezone.utc).strftime("%Y%m%d") for d in days]
    return [r["relname"] for r in world.rows("SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ "
                                             "'^(slots|manifest|windows|results|app_statistics)_p[0-9]*$'") if r["relname"][-8:] in names]


def test_retention_that_is_killed_anywhere_is_finished_by_the_next_run(world):
    """Slots, manifest, then files: a kill between any two leaves files without rows at most, which the next run takes."""
    now = mm.now_us()
    expired, kept = [now - n * mm.DAY_US for n in (9, 12, 300)], now - mm.DAY_US
    c = of_chaos(world, "controller", RETENTION_SLOTS="3d", RETENTION_RESULTS="3d", RETENTION_LAKE="3d", TICK_INTERVAL="100ms")
    with c:
        world.migrated()
        c.kill9()
        files = old_lake(world, [*expired, kept])
        kills = 0
        for place in ["retention_day:1", "retention_day:2", "retention_day:4", "retention_day:5", "retention_file:1", "retention_folder:1",
                      "retention_file:2", "retention_folder:1", "retention_folder:2"]:
            age(world)
            die(c, place)
            kills += 1
            whole(world)
        assert kills == 9 and not world.rows("SELECT 1 FROM manifest WHERE hour_us < %s", now - 3 * mm.DAY_US)
        age(world)
        c.start()
        left = lambda: [p for d in expired for p in files[d] if os.path.exists(os.path.join(world.lake, p))]
        mm.wait_for(lambda: not left() and not tables(world, expired), 30, "the next run finishes")
        mm.wait_for(lambda: not any(os.path.exists(os.path.dirname(os.path.join(world.lake, files[d][0]))) for d in expired), 10, "its folders")
        whole(world)
        assert on_disk(world) == set(files[kept]) and tables(world, [kept])
