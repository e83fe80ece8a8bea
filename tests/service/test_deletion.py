"""A deleted endpoint is gone at once; its rows and files go soon after, whatever is killed, and nothing of it comes back."""
import glob
import os

import pyarrow.parquet
import pytest

import mm
import serving

WHEN = 1_735_689_601_000_000  # 2025-01-01 00:00:01
TABLES = ("slots", "windows", "manifest", "results", "app_statistics", "dead_letters", "pending_windows")


@pytest.fixture
def world():
    with mm.World() as w:
        yield w


def send(w, uid, n, tag, day=0):
    w.produce(w.topic("p"), *[serving.event(uid, [[float(i)]], [0], WHEN + day * mm.DAY_US + i, f"{tag}{i}") for i in range(n)], key="k")


def files(w, uid):
    return sorted(os.path.relpath(f, w.lake) for f in
                  glob.glob(f"{w.lake}/p/model-endpoints/parquet/key={uid}/**/*.parquet", recursive=True))


def manifest(w, endpoint_id):
    return sorted(r["path"] for r in w.rows("SELECT path FROM manifest WHERE endpoint_id = %s", endpoint_id))


def left(w, endpoint_id):
    return {t: n for t in TABLES if (n := w.one(f"SELECT count(*) AS n FROM {t} WHERE endpoint_id = %s", endpoint_id)["n"])}


def id_of(w, uid):
    found = w.rows("SELECT id FROM endpoints WHERE uid = %s", uid)
    return found[0]["id"] if found else None


def delete(api, uid):
    import requests
    answer = requests.delete(api.url(f"/api/v1/projects/p/model-endpoints/m?endpoint-id={uid}"), timeout=30)
    assert answer.status_code == 204, answer.text


def ids_on_disk(w, uid):
    return sorted(rid for f in files(w, uid) for rid in
                  pyarrow.parquet.ParquetFile(os.path.join(w.lake, f)).read(["request_id"])["request_id"].to_pylist())


def test_rows_and_files_go_and_the_same_uid_starts_clean(world):
    w = world
    with w.service("stream", **serving.FAST) as stream, w.service("api") as api:
        w.migrated()
        stream.wait_ready(), api.wait_ready()
        w.project("p")
        serving.wait_topic(w, "p")
        for day in range(12):
            send(w, "a", 5, f"old{day}-", day)
        send(w, "b", 5, "b")
        serving.wait_handled(w, "p")
        old, other = id_of(w, "a"), id_of(w, "b")
        assert len(manifest(w, old)) == len(files(w, "a")) >= 12
        delete(api, "a")
        assert id_of(w, "a") is None and left(w, old), "no controller yet: the rows wait"
        probes = iter(range(1000))
        mm.wait_for(lambda: id_of(w, "a") or send(w, "a", 1, f"probe{next(probes)}-"), 20)  # the first second's go with the old one
        send(w, "a", 7, "new")
        serving.wait_handled(w, "p")
        new = id_of(w, "a")
        assert new != old
        for life in range(4):  # killed while it deletes
            with w.service("controller", DELETED_AGAIN="2s") as c:
                if life < 3:
                    mm.wait_for(lambda: w.rows("SELECT 1 FROM deleted_endpoints WHERE step > %s", min(life, 1)) or life == 0)
                    c.kill9()
                    continue
                mm.wait_for(lambda: not w.rows("SELECT 1 FROM deleted_endpoints"), 30)
                assert c.metric("modelmon_controller_chores_total", what="endpoints_cleared") == 1
        assert left(w, old) == {}
        assert files(w, "a") == manifest(w, new)
        ids = ids_on_disk(w, "a")
        assert [i for i in ids if not i.startswith("probe")] == [f"new{i}" for i in range(7)] and len(ids) == len(set(ids))
        assert not os.path.exists(f"{w.lake}/p/model-endpoints/parquet/key=a/year=2025/month=01/day=05"), "empty folders go"
        assert len(files(w, "b")) == len(manifest(w, other)) >= 1 and left(w, other)["slots"]


def test_what_a_sink_still_holds_goes_with_its_endpoint(world):
    """Rows in the memory of both sinks when their endpoint is deleted; one of them is at the database's lock."""
    w = world
    slow = dict(STATISTICS_INTERVAL="2s", LAKE_AGE="3s", LAKE_AGE_PER_FILE="0s")
    with w.service("stream", **slow) as stream, w.service("api") as api, w.service("controller", DELETED_AGAIN="1s"):
        w.migrated()
        stream.wait_ready(), api.wait_ready()
        w.project("p")
        serving.wait_topic(w, "p")
        send(w, "a", 20, "x")
        mm.wait_for(lambda: stream.metric("modelmon_stream_events_total", outcome="taken") == 40)
        old = id_of(w, "a")
        assert old and not left(w, old), "nothing is committed yet"
        delete(api, "a")
        serving.wait_handled(w, "p")
        assert stream.metric("modelmon_stream_deleted_rows_total", sink="statistics") == 20
        assert stream.metric("modelmon_stream_deleted_rows_total", sink="lake") == 20
        assert left(w, old) == {} and files(w, "a") == []
        mm.wait_for(lambda: not w.rows("SELECT 1 FROM deleted_endpoints"), 30)


def test_a_lake_that_is_away_keeps_its_files_until_it_is_back(world):
    w = world
    with w.service("stream", **serving.FAST) as stream, w.service("api") as api:
        w.migrated()
        stream.wait_ready(), api.wait_ready()
        w.project("p")
        serving.wait_topic(w, "p")
        send(w, "a", 5, "x")
        serving.wait_handled(w, "p")
        old = id_of(w, "a")
        delete(api, "a")
        stream.term()
        os.rename(w.lake, w.lake + ".away")
        os.mkdir(w.lake)  # where it is mounted otherwise
        with w.service("controller", DELETED_AGAIN="1s") as c:
            mm.wait_for(lambda: c.events("endpoint_files"), 30, "it says that the lake is away")
            assert left(w, old) == {}
            assert w.one("SELECT step FROM deleted_endpoints")["step"] == 1
            os.rmdir(w.lake)
            os.rename(w.lake + ".away", w.lake)
            assert files(w, "a")
            mm.wait_for(lambda: not w.rows("SELECT 1 FROM deleted_endpoints"), 60)
        assert files(w, "a") == []
