"""The default app as a black box: real statistics by the real stream service, a window event in, results out."""
import json
import pathlib
import time

import numpy
import pytest

import mm

APP = "histogram-data-drift"
PERIOD = 10 * mm.MINUTE_US
START = mm.now_us() // PERIOD * PERIOD - 2 * PERIOD
END = START + PERIOD
NAMES = ["a", "b"]


@pytest.fixture
def world():
    with mm.World() as w:
        yield w


def statistics(columns):
    """What a training set looks like, as MLRun has it but for the padding."""
    out = {}
    for name, x in columns.items():
        counts, edges = numpy.histogram(x, bins=20)
        out[name] = {"count": float(len(x)), "mean": float(x.mean()), "std": float(x.std(ddof=1)), "min": float(x.min()),
                     "max": float(x.max()), "hist": [counts.tolist(), edges.tolist()]}
    return out


def distances(train, sample):
    """TVD and Hellinger with all that is outside in two outer cells: an independent count."""
    _, edges = numpy.histogram(train, bins=20)
    wide = numpy.concatenate([[-numpy.inf], edges, [numpy.inf]])
    wide[-2] = numpy.nextafter(wide[-2], numpy.inf)  # the last bin holds its upper edge
    u = numpy.histogram(train, wide)[0] / len(train)
    t = numpy.histogram(sample, wide)[0] / len(sample)
    return abs(t - u).sum() / 2, numpy.sqrt(max(1 - numpy.sqrt(t * u).sum(), 0))


class Scene:
    def __init__(self, world, app, **stream_env):
        self.w, self.app = world, app
        self.stream_env = dict(STATISTICS_INTERVAL="100ms", LAKE_AGE="100ms", **stream_env)
        world.migrated()
        self.project = world.project("p")
        self.endpoint = world.endpoint(self.project)
        self.uid = self.endpoint["uid"]
        self.topic, self.out = world.topic("p", APP), world.topic("p", "model-monitoring-writer")
        mm.wait_for(lambda: world.rows("SELECT 1 FROM ledger WHERE topic = %s", self.topic), 30, "the topic is read")
        self.rng = numpy.random.default_rng(7)
        self.sent = 0

    def train(self, version=1):
        self.training = {name: self.rng.normal(size=2000) for name in NAMES}
        self.w.reference(self.project, self.endpoint["id"], statistics(self.training), version=version)

    def event(self, row, k):
        return {"model": "model", "model_class": "M", "microsec": 100, "when": mm.mlrun_time(START + 1 + k), "endpoint_id": self.uid,
                "labels": {}, "function_uri": "p/serving:latest", "resp": {"outputs": [0], "output_schema": ["y"]}, "error": None,
                "request": {"inputs": [row], "id": f"r{k}", "input_schema": NAMES}, "metrics": None, "sampling_percentage": 100,
                "effective_sample_count": 1}

    def serve(self, rows, stream=None, lake=False):
        """Through the stream service until they are in the slots (and in the lake)."""
        def post(s):
            s.wait_ready()
            first = self.sent
            self.sent += len(rows)
            body = "\n".join(json.dumps(self.event(list(map(float, r)), first + i)) for i, r in enumerate(rows))
            answer = mm.wait_for(lambda: s.post("/p", body), 20)
            assert answer.status_code == 202, answer.text
            mm.wait_for(lambda: self.w.one("SELECT COALESCE(sum(rows), 0) AS n FROM slots")["n"] == self.sent, 30, "rows in slots")
            if lake:
                mm.wait_for(lambda: self.w.one("SELECT COALESCE(sum(rows), 0) AS n FROM manifest")["n"] == self.sent, 30, "rows in the lake")
        if stream:
            post(stream)
        else:
            with self.w.service("stream", **self.stream_env) as s:
                post(s)

    def window(self, revision=1, reference=1, uid=None, **more):
        own = {"project": "p", "window_start_us": START, "window_end_us": END, "revision": revision}
        if reference:
            own["reference_version"] = reference
        return {"start_infer_time": mm.mlrun_time(START - 1), "end_infer_time": mm.mlrun_time(END - 1), "endpoint_id": uid or self.uid,
                "endpoint_name": "model", "endpoint_updated": "2025-01-01T00:00:00+00:00", "application_name": APP,
                "modelmon": own, **more}

    def send(self, *events):
        return self.w.produce(self.topic, *events, key=self.uid)

    def records(self):
        return [json.loads(r.value) for r in self.w.consume(self.out)]

    def answers(self, n):
        """The n window events' outputs, as {name: data}, in their order."""
        def check():
            outputs = [dict(json.loads(r["data"]), event=r) for r in self.records()]
            starts = [i for i, d in enumerate(outputs) if d.get("result_name") == "general_drift"]
            assert len(starts) == n, f"{len(starts)} answers"
            return [{d.get("result_name") or d.get("metric_name") or d.get("stats_name"): d for d in outputs[a:b]}
                    for a, b in zip(starts, starts[1:] + [len(outputs)])]
        return mm.wait_for(check, 30, f"{n} answers")


@pytest.fixture
def scene(world):
    with world.service("histogram-drift-app") as app:
        yield Scene(world, app)


def test_drift_is_what_numpy_says(world, scene):
    scene.train()
    rows = numpy.column_stack([scene.rng.normal(size=500), scene.rng.normal(loc=3, size=500)])
    scene.serve(rows)
    scene.send(scene.window())
    (answer,) = scene.answers(1)
    want = {name: distances(scene.training[name], rows[:, i]) for i, name in enumerate(NAMES)}
    means = numpy.mean([want[n] for n in NAMES], axis=0)
    assert answer["tvd_mean"]["metric_value"] == pytest.approx(means[0], abs=1e-9)
    assert answer["hellinger_mean"]["metric_value"] == pytest.approx(means[1], abs=1e-9)
    general = answer["general_drift"]
    assert general["result_value"] == pytest.approx(means.mean(), abs=1e-9)
    assert general["result_status"] == (2 if means.mean() >= 0.7 else 1 if means.mean() >= 0.5 else 0)
    extra = json.loads(general["result_extra_data"])
    assert extra["samples"] == 500 and extra["reference_version"] == 1 and extra["edges"] == "closed"
    for name in NAMES:
        assert extra["features"][name]["tvd"] == pytest.approx(want[name][0], abs=1e-9)
    assert list(answer) == ["general_drift", "hellinger_mean", "kld_mean", "tvd_mean", "current_stats", "drift_measures"]
    assert answer["current_stats"]["stats"]["a"]["count"] == 500
    measures = answer["drift_measures"]["stats"]
    assert measures["b"]["tvd"] == pytest.approx(want["b"][0], abs=1e-9)
    assert measures["tvd_mean"] == answer["tvd_mean"]["metric_value"]
    record = general["event"]
    assert record["application_name"] == APP and record["endpoint_id"] == scene.uid
    assert record["modelmon"]["window_start_us"] == START and record["modelmon"]["revision"] == 1


def test_a_repeat_gives_the_same_bytes(world, scene):
    scene.train()
    scene.serve(scene.rng.normal(size=(100, 2)))
    scene.send(scene.window())
    scene.answers(1)
    scene.send(scene.window())
    scene.answers(2)
    values = [r.value for r in world.consume(scene.out)]
    assert values[:len(values) // 2] == values[len(values) // 2:]


def test_a_flushed_cache_changes_no_result(world, scene):
    """What was cached is gone at any moment: the database answers, the numbers are the same, every key has an end."""
    scene.train()
    cache = world.redis()
    with world.service("stream", **scene.stream_env) as stream:
        scene.serve(scene.rng.normal(size=(60, 2)), stream)
        mm.wait_for(lambda: cache.keys("mm:reference:*"), 20, "the reference is cached")
        scene.send(scene.window())
        first = scene.answers(1)[0]
        assert scene.app.metric("modelmon_cache_reads_total", kind="reference", outcome="hit") == 1  # stream has put it there
        assert all(cache.ttl(k) > 0 for k in cache.keys("*"))
        cache.flushdb()
        scene.app.term()
        scene.app.start()  # with nothing in memory either
        scene.send(scene.window(revision=2))
        second = scene.answers(2)[1]
        assert scene.app.metric("modelmon_cache_reads_total", kind="reference", outcome="miss") == 1
        cache.flushdb()
        scene.serve(scene.rng.normal(size=(60, 2)), stream)  # it goes on counting against the same version
    for name in ("hellinger_mean", "kld_mean", "tvd_mean"):
        assert second[name]["metric_value"] == first[name]["metric_value"]
    assert {r["reference_version"] for r in world.rows("SELECT reference_version FROM slots")} == {1}


def test_the_record_of_a_window_comes_from_the_cache(world, scene):
    """Where the api, or another app, has put it; a flushed cache changes no result."""
    scene.train()
    scene.serve(scene.rng.normal(size=(60, 2)))
    path = f"/api/v1/projects/p/model-endpoints/{scene.uid}/metrics"
    with world.service("api") as api:
        api.wait_ready()
        sent = 0

        def window():
            nonlocal sent
            world.rows("UPDATE endpoints SET change_seq = nextval('change_seq')")  # what the app has in memory is old
            time.sleep(1.1)  # it looks each second
            assert api.get(path).status_code == 200
            sent += 1
            scene.send(scene.window(revision=sent))
            scene.answers(sent)
            return scene.app.metric("modelmon_cache_reads_total", kind="endpoint", outcome="hit")

        mm.wait_for(window, 60, "a record from the cache")
        world.redis().flushdb()
        window()
    values = {json.dumps({name: a[name]["metric_value"] for name in ("hellinger_mean", "kld_mean", "tvd_mean")}) for a in scene.answers(sent)}
    assert len(values) == 1


def test_no_reference_and_too_few_samples(world, scene):
    scene.serve(scene.rng.normal(size=(29, 2)))
    scene.send(scene.window(reference=None))
    (answer,) = scene.answers(1)
    assert answer["general_drift"]["result_status"] == -1
    assert json.loads(answer["general_drift"]["result_extra_data"])["reason"] == "no_reference"
    assert set(answer) == {"general_drift"}


def test_too_few_samples(world, scene):
    scene.train()
    scene.serve(scene.rng.normal(size=(29, 2)))
    scene.send(scene.window())
    (answer,) = scene.answers(1)
    assert answer["general_drift"]["result_status"] == -1
    assert json.loads(answer["general_drift"]["result_extra_data"])["reason"] == "insufficient_samples"
    scene.serve(scene.rng.normal(size=(1, 2)))
    scene.send(scene.window(revision=2))
    assert scene.answers(2)[1]["general_drift"]["result_status"] >= 0


def test_rows_from_before_the_reference_are_recounted_from_the_lake(world, scene):
    """The first reference comes in the middle of a window: all of the window counts against it."""
    with world.service("stream", **scene.stream_env) as stream:
        rows = scene.rng.normal(size=(200, 2))
        scene.serve(rows[:80], stream, lake=True)
        scene.train()
        mm.wait_for(lambda: world.rows("SELECT 1 FROM slots WHERE reference_version = 1") or one_more(scene, stream, rows), 30)
    n = scene.sent
    scene.send(scene.window())
    (answer,) = scene.answers(1)
    extra = json.loads(answer["general_drift"]["result_extra_data"])
    assert extra["samples"] == n and "rows_missing" not in extra
    assert {r["reference_version"] for r in world.rows("SELECT DISTINCT reference_version FROM slots")} == {0, 1}
    want = [distances(scene.training[name], rows[:n, i])[0] for i, name in enumerate(NAMES)]
    assert answer["tvd_mean"]["metric_value"] == pytest.approx(numpy.mean(want), abs=1e-9)
    assert scene.app.metric("modelmon_app_rows_missing_total") == 0


def of_two_references(world, scene):
    """A window that is counted from the lake. Gives its files."""
    with world.service("stream", **scene.stream_env) as stream:
        rows = scene.rng.normal(size=(200, 2))
        scene.serve(rows[:80], stream, lake=True)
        scene.train()
        mm.wait_for(lambda: world.rows("SELECT 1 FROM slots WHERE reference_version = 1") or one_more(scene, stream, rows), 30)
        mm.wait_for(lambda: world.one("SELECT COALESCE(sum(rows), 0) AS n FROM manifest")["n"] == scene.sent, 30)
    return [pathlib.Path(world.lake) / r["path"] for r in world.rows("SELECT path FROM manifest ORDER BY start_offset")]


def away(file, lake):
    lake.rename(lake.with_suffix(".away"))
    return lambda: lake.with_suffix(".away").rename(lake)


def not_mounted(file, lake):
    back = away(file, lake)
    lake.mkdir()
    return lambda: (lake.rmdir(), back())


def cannot_be_read(file, lake):
    """Opens, and then its bytes cannot be read: as with EIO."""
    file.rename(file.with_suffix(".away"))
    file.mkdir()
    return lambda: (file.rmdir(), file.with_suffix(".away").rename(file))


@pytest.mark.parametrize("fault", [away, not_mounted, cannot_be_read])
def test_a_lake_that_is_away_for_a_while_is_waited_for(world, scene, fault):
    files = of_two_references(world, scene)
    back = fault(files[0], pathlib.Path(world.lake))
    scene.send(scene.window())
    stalls = lambda: scene.app.metric("modelmon_pipeline_stalls_total")
    mm.wait_for(lambda: stalls() >= 3, 30, "it comes again and again")
    assert f"app:{APP}" in scene.app.get("/readyz").text and "degraded" in scene.app.get("/readyz").text
    assert not scene.records() and not world.rows("SELECT 1 FROM dead_letters")
    back()
    (answer,) = scene.answers(1)
    extra = json.loads(answer["general_drift"]["result_extra_data"])
    assert extra["samples"] == scene.sent and "rows_missing" not in extra
    assert not world.rows("SELECT 1 FROM dead_letters")


def test_rows_whose_file_is_gone_for_good_are_said_to_be_missing(world, scene):
    files = of_two_references(world, scene)
    lost = world.one("SELECT rows FROM manifest ORDER BY start_offset LIMIT 1")["rows"]
    files[0].unlink()
    scene.send(scene.window())
    (answer,) = scene.answers(1)
    extra = json.loads(answer["general_drift"]["result_extra_data"])
    assert extra["rows_missing"] == lost and extra["samples"] == scene.sent - lost
    assert scene.app.metric("modelmon_app_rows_missing_total") == lost
    assert not world.rows("SELECT 1 FROM dead_letters"), "nothing has failed"


def test_a_window_names_only_files_of_its_endpoint(world, scene):
    """Paths that the manifest does not have are no paths; a file that cannot be read costs its own windows alone."""
    with world.service("stream", **scene.stream_env) as stream:
        rows = scene.rng.normal(size=(200, 2))
        scene.serve(rows[:80], stream, lake=True)
        scene.train()
        mm.wait_for(lambda: world.rows("SELECT 1 FROM slots WHERE reference_version = 1") or one_more(scene, stream, rows), 30)
    n = scene.sent
    files = [r["path"] for r in world.rows("SELECT path FROM manifest ORDER BY start_offset")]
    scene.send(scene.window(), scene.window(revision=2))
    named = scene.window(revision=3)
    named["modelmon"]["files"] = ["/etc/passwd", "../" + files[0], *files, *files, "p/none.parquet"]
    scene.send(named)
    for answer in scene.answers(3):
        extra = json.loads(answer["general_drift"]["result_extra_data"])
        assert extra["samples"] == n and "rows_missing" not in extra
    lake = pathlib.Path(world.lake)
    whole = (lake / files[0]).read_bytes()
    (lake / files[0]).write_bytes(b"PAR1 no more PAR1")
    scene.send(scene.window(revision=4))
    (dead,) = mm.wait_for(lambda: world.rows("SELECT * FROM dead_letters"))
    assert dead["reason"] == "app_failed" and files[0][-40:] in dead["error"] or "cannot be read" in dead["error"]
    (lake / files[0]).write_bytes(whole)
    scene.send(scene.window(revision=5))
    scene.answers(4)


def one_more(scene, stream, rows):
    scene.serve(rows[scene.sent:scene.sent + 10], stream, lake=True)
    return False


def test_poison_among_good_ones(world, scene):
    scene.train()
    scene.serve(scene.rng.normal(size=(50, 2)))
    poison = [b"{", b"[]", json.dumps(scene.window(uid="0" * 32)).encode(), json.dumps(scene.window(application_name="other")).encode()]
    sent = scene.send(poison[0], scene.window(), poison[1], poison[2], scene.window(revision=2), poison[3])
    scene.answers(2)
    dead = mm.wait_for(lambda: len(world.rows("SELECT 1 FROM dead_letters")) == 4 and
                       world.rows("SELECT * FROM dead_letters ORDER BY \"offset\""))
    assert [bytes(d["payload"]) for d in dead] == poison
    assert {(d["partition"], d["offset"]) for d in dead} == {sent[i] for i in (0, 2, 3, 5)}
    assert dead[0]["reason"] == "malformed_json" and dead[2]["reason"] == "unknown_endpoint"
    assert {d["pipeline"] for d in dead} == {f"app:{APP}"}
    assert len(mm.wait_for(lambda: world.consume(scene.topic + ".dlt"))) == 4


def test_http_has_the_same_effect(world, scene):
    scene.train()
    scene.serve(scene.rng.normal(size=(50, 2)))
    scene.app.wait_ready()
    assert scene.app.post("/", scene.window()).status_code == 202
    (answer,) = scene.answers(1)
    assert json.loads(answer["general_drift"]["result_extra_data"])["samples"] == 50
    answer = scene.app.post("/p", dict(scene.window(), end_infer_time=7))
    assert answer.status_code == 400 and answer.json()["field"] == "end_infer_time"
    assert scene.app.post("/nobody", scene.window(modelmon={})).status_code == 404
    assert not world.rows("SELECT 1 FROM dead_letters")


def test_registers_itself_where_it_is_wanted(world, scene):
    mm.wait_for(lambda: world.rows("SELECT 1 FROM apps WHERE project_id = %s AND name = %s AND active AND NOT needs_rows",
                                   scene.project, APP))
    off = world.project("off", default_app=False)
    on = world.project("on")
    mm.wait_for(lambda: world.rows("SELECT 1 FROM apps WHERE project_id = %s", on))
    assert not world.rows("SELECT 1 FROM apps WHERE project_id = %s", off)
    world.rows("UPDATE apps SET active = false WHERE project_id = %s", on)  # as the writer notes an app it hears of first
    mm.wait_for(lambda: world.rows("SELECT 1 FROM apps WHERE project_id = %s AND active", on))


def test_folded_slots_give_the_same_numbers(world, scene):
    """Stream, controller and app together: the window closes by itself, its slots are folded, and it is computed once more."""
    scene.train()
    with world.service("stream", **scene.stream_env) as stream, world.service("controller", FOLD_AFTER="1s") as controller:
        for _ in range(4):
            scene.serve(scene.rng.normal(size=(30, 2)), stream)
        first = scene.answers(1)[0]
        slots = world.one("SELECT count(*) AS n, sum(rows) AS rows FROM slots")
        assert slots["n"] > 1 and slots["rows"] == 120
        mm.wait_for(lambda: world.one("SELECT count(*) AS n FROM slots")["n"] == 1, 40, "folded")
        folded = world.one("SELECT * FROM slots")
        assert folded["rows"] == folded["requests"] == 120 and folded["topic"] == "folded"
        assert controller.metric("modelmon_controller_chores_total", what="folded") >= 1
        scene.send(scene.window(revision=7))
        second = scene.answers(2)[1]
        for name in ("hellinger_mean", "kld_mean", "tvd_mean"):
            assert second[name]["metric_value"] == first[name]["metric_value"]
        assert json.loads(second["general_drift"]["result_extra_data"])["samples"] == 120
        scene.serve(scene.rng.normal(size=(30, 2)), stream)  # late: its slot row beside the folded one
        third = scene.answers(3)[2]
        assert third["general_drift"]["event"]["modelmon"]["revision"] == 2
        assert json.loads(third["general_drift"]["result_extra_data"])["samples"] == 150


def test_kill_9_loses_no_window(world, scene):
    scene.train()
    scene.serve(scene.rng.normal(size=(50, 2)))
    n = 60
    for k in range(3):
        scene.send(*[scene.window(revision=k * n // 3 + i + 1) for i in range(n // 3)])
        scene.app.kill9()
        scene.app.start()

    def revisions():
        return {r["modelmon"]["revision"] for r in scene.records() if r["event_kind"] == "result"} == set(range(1, n + 1))
    mm.wait_for(revisions, 60)
    by_revision = {}
    for r in world.consume(scene.out):
        by_revision.setdefault(json.loads(r.value)["modelmon"]["revision"], []).append(r.value)
    assert all(len(set(v)) == 6 for v in by_revision.values())  # a window sent twice is the same bytes twice


def test_database_down_at_start_waits_and_sigterm_ends(world):
    mm.stack("stop", "postgres")
    try:
        with world.service("histogram-drift-app") as app:
            mm.wait_for(lambda: app.get("/readyz").status_code == 503)
            assert app.get("/livez").status_code == 200
            mm.stack("start", "postgres")
            scene = Scene(world, app)
            scene.train()
            scene.serve(scene.rng.normal(size=(40, 2)))
            scene.send(scene.window())
            scene.answers(1)
            app.wait_ready()
            code, seconds = app.term()
            assert code == 0 and seconds < 10
    finally:
        mm.stack("start", "postgres")


@pytest.mark.parametrize("env, names", [
    ({"DRIFT_EDGES": "open", "MIN_SAMPLES": "-5", "APP_BATCH": "0"}, ["DRIFT_EDGES", "MIN_SAMPLES", "APP_BATCH"]),
    ({"DRIFT_POTENTIAL": "0.8"}, ["DRIFT_POTENTIAL", "DRIFT_DETECTED"]),
    ({"APP_NAME": "a b"}, ["APP_NAME"]),
])
def test_wrong_configuration_exits_2(world, env, names):
    app = world.service("histogram-drift-app", **env)
    app.start(serve=False)
    assert app.child.wait(10) == 2
    for name in names:
        assert name in app.text()


def test_readme_has_every_option_and_metric(world):
    told, printed = mm.readme_options("histogram-drift-app")
    assert told == printed, "run: python3 tests/support/mm.py readme histogram-drift-app"
    with world.service("histogram-drift-app") as s:
        names = {line.split()[2] for line in s.get("/metrics").text.splitlines() if line.startswith("# HELP modelmon_app_")}
    assert names and names <= mm.readme_names("histogram-drift-app")
