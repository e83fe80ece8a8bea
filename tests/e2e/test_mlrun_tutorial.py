"""MLRun's tutorial of model monitoring by PyPI's client, unedited but for where the API is: on PostgreSQL and Kafka, and on `modelmon run` (SQLite
and a local log). Its server sends to Kafka in both, since MLRun's model servers can send to nothing else; the credentials' profile says to which."""
import json
import os
import shutil
import subprocess
import sys
import urllib.parse

import numpy
import pandas
import pytest

import mm
import system
from test_mlrun_deploy import APP

os.environ.setdefault("MLRUN_LOG_LEVEL", "ERROR")
import mlrun  # noqa: E402
import mlrun.alerts as alerts  # noqa: E402
import mlrun.common.schemas.alert as words  # noqa: E402
import mlrun.feature_store as feature_store  # noqa: E402
from mlrun.common.schemas.model_monitoring import model_endpoints as forms  # noqa: E402
from mlrun.datastore import datastore_profile as profiles  # noqa: E402

SERVER = os.path.join(mm.ROOT, "tests/support/mlrun_deployed.py")
CUSTOM = os.path.join(mm.ROOT, "tests/support/mlrun_custom.py")
FEATURES, LABEL, PROJECT, DRIFT = ["len", "width", "depth"], "size", "tutorial", "histogram-data-drift"


def training(n=400):
    x = numpy.random.default_rng(1).normal([5.0, 3.0, 1.0], [1.0, 0.5, 0.2], size=(n, 3))
    return pandas.DataFrame(numpy.column_stack([x, x.mean(axis=1)]), columns=FEATURES + [LABEL])


def embedded(w):
    """`modelmon run` over a folder, without a server."""
    env = w.env(DATA_DIR=os.path.join(w.folder, "data"), LATENESS="500ms", STATISTICS_INTERVAL="100ms", LAKE_AGE="200ms")
    for name in ("KAFKA_BROKERS", "DATABASE_URL", "REDIS_URL", "LAKE_DIR"):
        del env[name]
    return mm.Service("modelmon", env, w.folder, [os.path.join(mm.BIN, "modelmon"), "run"])


@pytest.fixture(scope="module", params=["servers", "embedded"])
def scene(request, tmp_path_factory):
    """An installation without any project, and the user's folder."""
    folder = tmp_path_factory.mktemp("context")
    with mm.World() as w:
        with embedded(w) if request.param == "embedded" else system.System(w, SECRETS_KEY="5a" * 32) as opened:
            api = opened if request.param == "embedded" else opened.api
            api.wait_ready(60)
            place = type("Scene", (), {"w": w, "folder": folder, "api": api.url(""), "embedded": request.param == "embedded"})
            shutil.copy(SERVER, folder / "serve.py")
            shutil.copy(CUSTOM, folder / "my_app.py")
            mlrun.mlconf.dbpath = place.api
            mlrun.db.get_run_db(place.api, force_reconnect=True)
            mlrun.datastore.store_manager._db = None  # of the installation before: a user's process has one
            mlrun.mlconf.artifact_path = str(folder)
            yield place


@pytest.fixture(scope="module")
def project(scene):
    """The tutorial's first part, in its order."""
    project = mlrun.get_or_create_project(PROJECT, context=str(scene.folder), allow_cross_project=True)
    at = urllib.parse.urlparse(os.environ["MM_TEST_PG"])
    stream = profiles.DatastoreProfileKafkaStream(name="kafka-p", brokers=scene.w.brokers, topics=[])
    tsdb = profiles.DatastoreProfilePostgreSQL(name="pg-p", host=at.hostname, port=at.port, user=at.username, password="p", database="postgres")
    for profile in (stream, tsdb):
        project.register_datastore_profile(profile)
    project.set_model_monitoring_credentials(tsdb_profile_name=tsdb.name, stream_profile_name=stream.name)
    project.enable_model_monitoring(base_period=1)
    model = project.log_model("RF", body=b"weights", model_file="model.bin", framework="sklearn", training_set=training(), label_column=LABEL)
    serving = project.set_function(str(scene.folder / "serve.py"), name="serving", kind="serving", image="mlrun/mlrun", handler="handler")
    serving.set_topology("router")
    serving.add_model("RF", model_path=model.uri, class_name="Regression")
    serving.set_tracking()
    project.deploy_function(serving)
    app = project.set_model_monitoring_function(func=str(scene.folder / "my_app.py"), application_class="RowsAndNames", name="my-app",
                                                image="mlrun/mlrun")
    project.deploy_function(app)
    return project


@pytest.fixture(scope="module")
def endpoint(project):
    found, = project.list_model_endpoints().endpoints
    return found


@pytest.fixture(scope="module")
def served(scene, project, endpoint):
    """Its server, started with what deployment made and told where Kafka is; requests unlike what it was trained on."""
    env = dict(os.environ, MLRUN_DBPATH=scene.api, API_URL=scene.api, PATH=mm.BIN + ":" + os.environ["PATH"])
    env["SERVING_SPEC_ENV"] = subprocess.run(["modelmon", "serving-spec", f"{PROJECT}/serving", "--brokers", scene.w.brokers], env=env, text=True,
                                             stdout=subprocess.PIPE, check=True, timeout=60).stdout
    if scene.embedded:
        topic = scene.w.topic(PROJECT)
        mm.wait_for(lambda: topic in scene.w.admin().list_topics(), 30, "the credentials' Kafka is read")
    rng = numpy.random.default_rng(2)
    batches = [rng.normal([9.0, 5.5, 2.0], [1.0, 0.5, 0.2], size=(5, 3)).tolist() for _ in range(40)]
    done = subprocess.run([sys.executable, SERVER, "RF"], input="".join(json.dumps({"inputs": b}) + "\n" for b in batches), env=env, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120, check=False)
    assert done.returncode == 0 and json.loads(done.stdout.splitlines()[-1]) == {"flushed": 1}, done.stderr[-3000:]
    return endpoint.metadata.uid


def values(uid, name="general_drift", app=DRIFT, kind="result"):
    answer = mlrun.get_run_db().api_call("GET", f"projects/{PROJECT}/model-endpoints/{uid}/metrics-values",
                                         params={"name": f"{PROJECT}.{app}.{kind}.{name}"}).json()[0]
    return answer["values"] if answer["data"] else []


def test_what_was_made_is_listed(project, endpoint):
    assert [m.metadata.key for m in project.list_models()] == ["RF"]
    assert (endpoint.metadata.name, endpoint.spec.function_name, endpoint.spec.model_name) == ("RF", "serving", "RF")
    assert [f.metadata.name for f in project.list_model_monitoring_functions()] == ["my-app"]
    assert {"my-app", DRIFT} <= {f.name for f in project.get_monitoring_function_summaries()}
    assert project.get_function("serving", sync=True, ignore_cache=True).status.state == "ready"
    project.save()
    assert PROJECT in mlrun.get_run_db().list_projects(format_="name_only")
    got = mlrun.get_run_db().get_model_endpoint(name="RF", project=PROJECT, endpoint_id=endpoint.metadata.uid, feature_analysis=True)
    assert got.spec.feature_names == FEATURES and set(got.spec.feature_stats) == {*FEATURES, LABEL}


def test_drift_is_found(served, project):
    mm.wait_for(lambda: max((v[2] for v in values(served)), default=0) == 2, 120, "drift is detected")
    assert forms.ModelEndpointMonitoringResultValues.parse_obj({"full_name": f"{PROJECT}.{DRIFT}.result.general_drift", "type": "result",
                                                                "result_kind": 0, "values": values(served), "data": True}).values[0].value > 0.8

    def listed():
        status = project.list_model_endpoints(tsdb_metrics=True).endpoints[0].status
        assert status.result_status == 2 and status.last_request and status.avg_latency > 0
        return True
    mm.wait_for(listed, 30, "the record says so")
    assert {"general_drift", "invocations"} <= {m.name for m in mlrun.get_run_db().get_model_endpoint_monitoring_metrics(PROJECT, served)}


def test_its_rows_are_read_as_features(served, endpoint, scene):
    """to_dataframe of the monitoring feature set, and offline features of a vector over it."""
    uri = endpoint.spec.monitoring_feature_set_uri
    mm.wait_for(lambda: len(feature_store.get_feature_set(uri).to_dataframe()) == 200, 60, "all rows are there")
    rows = feature_store.get_feature_set(uri).to_dataframe()
    assert {*FEATURES, LABEL, "timestamp"} <= set(rows.reset_index().columns) and numpy.allclose(rows[FEATURES].mean(axis=1), rows[LABEL])
    name = uri.removeprefix("store://feature-sets/")
    vector = feature_store.FeatureVector("of-monitoring", [f"{name}.{f}" for f in FEATURES])
    vector.metadata.project = PROJECT
    offline = vector.get_offline_features().to_dataframe()
    assert len(offline) == 200 and numpy.isclose(offline["len"].mean(), rows["len"].mean())


def test_an_application_is_evaluated(project, scene, monkeypatch):
    (scene.folder / "counting_app.py").write_text(APP)
    monkeypatch.syspath_prepend(str(scene.folder))
    monkeypatch.delitem(sys.modules, "counting_app", raising=False)
    from counting_app import Rows
    run = Rows.evaluate(func_path=str(scene.folder / "counting_app.py"), run_local=True, sample_data=training(50), reference_data=training())
    assert run.state() == "completed" and run.status.results["return"]["result_value"] == 50.0
    assert [r["metadata"]["uid"] for r in project.list_runs()] == [run.metadata.uid]


def test_alerts_are_stored_and_listed(served, project):
    hook = mlrun.common.schemas.Notification(kind="slack", name="n1", message="drift", severity="warning", when=["completed"],
                                             secret_params={"webhook": "https://hooks.slack.com/services/x"})
    made = project.create_model_monitoring_alert_configs(
        name="on-drift", summary="{{entity}} drifts", endpoints=project.list_model_endpoints(), result_names=[f"{DRIFT}.general_drift"],
        events=[words.EventKind.DATA_DRIFT_DETECTED], notifications=[words.AlertNotification(notification=hook)], severity=words.AlertSeverity.HIGH,
        criteria=words.AlertCriteria(count=1))
    stored, = [project.store_alert_config(a) for a in made]
    assert isinstance(stored, alerts.alert.AlertConfig)
    assert [a.name for a in project.list_alerts_configs()] == [stored.name] and list(project.list_alert_activations()) is not None


def test_the_end(project):
    project.disable_model_monitoring()
    db = mlrun.get_run_db()
    assert db.api_call("GET", f"projects/{PROJECT}").json()["spec"]["monitoring"]["enabled"] is False
    with pytest.raises(mlrun.errors.MLRunConflictError, match="model endpoints"):
        db.delete_project(PROJECT)
    db.delete_project(PROJECT, "cascade")
    assert PROJECT not in db.list_projects(format_="name_only")
