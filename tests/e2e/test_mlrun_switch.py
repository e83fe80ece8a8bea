"""What MLRun's client switches is what happens: topics are made, windows have the period that was said, the default app answers or not, a
project that is off makes nothing, and what came meanwhile is not lost."""
import os
import time

import kafka.admin
import mm
import numpy
import pytest
import serving
import system

os.environ.setdefault("MLRUN_LOG_LEVEL", "ERROR")
import mlrun  # noqa: E402

MINUTE = mm.MINUTE_US
PROJECT, ROWS = "switched", 60


@pytest.fixture(scope="module")
def sys_():
    topics = {"TOPIC_PARTITIONS": "3", "TOPIC_RETENTION": "2h"}
    with mm.World() as w, system.System(w, **topics) as s:
        yield s


@pytest.fixture(scope="module")
def project(sys_, tmp_path_factory):
    mlrun.mlconf.dbpath = f"http://127.0.0.1:{sys_.api.port}"
    mlrun.db.get_run_db(mlrun.mlconf.dbpath, force_reconnect=True)
    return mlrun.get_or_create_project(PROJECT, context=str(tmp_path_factory.mktemp("context")), allow_cross_project=True)


@pytest.fixture(scope="module")
def uid(sys_, project):
    made = sys_.endpoint(PROJECT, "m", ["a", "b"], ["y"])
    rows = numpy.random.default_rng(3).normal(size=(500, 3))
    sys_.reference(PROJECT, made, {"columns": ["a", "b", "y"], "data": rows.tolist(), "labels": ["y"]})
    return made


def events(uid, at_us):
    rng = numpy.random.default_rng(at_us % 1000)
    return [serving.event(uid, rng.normal(size=(1, 2)).tolist(), [0.5], at_us + i * 1000, project=PROJECT, model="m")
            for i in range(ROWS)]


def ago(minutes):
    """The beginning of an even minute, so long ago."""
    return (mm.now_us() // (2 * MINUTE) - minutes // 2) * 2 * MINUTE


def lengths(sys_, uid, start_us):
    return [w["window_end_us"] - w["window_start_us"] for w in sys_.windows(PROJECT, uid) if w["window_start_us"] == start_us]


def send(sys_, uid, at_us):
    """Its window is closed when this is over."""
    sys_.w.produce(sys_.w.topic(PROJECT), *events(uid, at_us))
    return mm.wait_for(lambda: lengths(sys_, uid, at_us), 60, "the window is closed")[0]


def settings(sys_, *names):
    """(partitions, retention) of topics that are there."""
    admin = sys_.w.admin()
    try:
        mm.wait_for(lambda: set(names) <= set(admin.list_topics()), 30, "the topics are there")
        partitions = {t["topic"]: len(t["partitions"]) for t in admin.describe_topics(list(names))}
        answers = admin.describe_configs([kafka.admin.ConfigResource("TOPIC", n) for n in names])
        kept = {r[3]: {e[0]: e[1] for e in r[4]}["retention.ms"] for a in answers for r in a.resources}
        return {(partitions[n], kept[n]) for n in names}
    finally:
        admin.close()


def test_the_topics_are_made_as_the_services_are_told(sys_, project):
    project.enable_model_monitoring(base_period=1, deploy_histogram_data_drift_app=False)
    assert settings(sys_, sys_.w.topic(PROJECT), sys_.w.topic(PROJECT, "model-monitoring-writer")) == {(3, "7200000")}


def test_windows_have_the_period_and_the_default_app_answers_or_not(sys_, project, uid):
    serving.wait_topic(sys_.w, PROJECT)
    without = ago(30)
    assert send(sys_, uid, without) == MINUTE
    project.enable_model_monitoring(base_period=2)
    mm.wait_for(lambda: sys_.w.rows("SELECT 1 FROM apps a JOIN projects p ON p.id = a.project_id WHERE p.name = %s AND a.name = %s "
                                    "AND a.active", PROJECT, system.APP))
    with_app = next(at for at in map(ago, range(28, 10, -2)) if send(sys_, uid, at) == 2 * MINUTE)  # within seconds
    mm.wait_for(lambda: with_app in sys_.results(PROJECT, uid), 30, "its result")
    assert settings(sys_, sys_.w.topic(PROJECT, system.APP)) == {(3, "7200000")}
    assert without not in sys_.results(PROJECT, uid)


def still(sys_):
    """The ledger of a topic that is read is written each second."""
    sql = "SELECT max(updated_us) AS at FROM ledger WHERE topic = %s"
    before = sys_.w.rows(sql, sys_.w.topic(PROJECT))
    time.sleep(2.5)
    return before == sys_.w.rows(sql, sys_.w.topic(PROJECT))


def test_what_is_off_makes_nothing_and_loses_nothing(sys_, project, uid):
    project.disable_model_monitoring()
    one = events(uid, ago(10))[0]
    mm.wait_for(lambda: sys_.stream.post(f"/{PROJECT}", one).status_code == 422, 10, "the stream has seen it")
    assert sys_.stream.post(f"/{PROJECT}", one).json()["code"] == "monitoring_off"
    mm.wait_for(lambda: still(sys_), 20, "nobody reads the topic any more")
    meanwhile = ago(8)
    handled = sys_.w.rows("SELECT sum(rows) AS n FROM slots")
    sys_.w.produce(sys_.w.topic(PROJECT), *events(uid, meanwhile))
    mm.stays(lambda: sys_.w.rows("SELECT sum(rows) AS n FROM slots") == handled and not lengths(sys_, uid, meanwhile), 3, "it is off")
    project.enable_model_monitoring(base_period=2)
    mm.wait_for(lambda: lengths(sys_, uid, meanwhile) == [2 * MINUTE], 60, "what waited in the topic has its window")
    mm.wait_for(lambda: meanwhile in sys_.results(PROJECT, uid), 30, "and its result")
    closed = {w["window_start_us"]: w["rows"] for w in sys_.windows(PROJECT, uid)}
    assert closed[meanwhile] == ROWS
