"""A model is logged, a function that serves it deployed, and MLRun's real serving code started with what the deployment says: its events
reach the topic and its drift comes out, all through PyPI's client. No uid is set by hand, no reference given, no column named."""
import json
import os
import re
import shutil
import subprocess
import sys

import numpy
import pandas
import pytest

import mm
import system

os.environ.setdefault("MLRUN_LOG_LEVEL", "ERROR")
import mlrun  # noqa: E402
from mlrun.common.schemas.model_monitoring import model_endpoints as forms  # noqa: E402

PERIOD_US = 5_000_000
SERVER = os.path.join(mm.ROOT, "tests/support/mlrun_deployed.py")
APP = """
import mlrun.common.schemas.model_monitoring.constants as words
from mlrun.model_monitoring.applications import ModelMonitoringApplicationBase, ModelMonitoringApplicationResult


class Rows(ModelMonitoringApplicationBase):
    def do_tracking(self, monitoring_context):
        return ModelMonitoringApplicationResult(name="rows", value=float(len(monitoring_context.sample_df)),
                                                kind=words.ResultKindApp.data_drift, status=words.ResultStatusApp.no_detection)
"""
FEATURES, LABEL, PROJECT = ["len", "width", "depth"], "size", "tutorial"


@pytest.fixture(scope="module")
def sys_():
    with mm.World() as w, system.System(w) as s:
        yield s


def readme(language):
    with open(os.path.join(mm.ROOT, "services/api/README.md"), encoding="utf-8") as f:
        section = f.read().split("## Use it from MLRun\n")[1]
    return re.search(rf"```{language}\n(.*?)```", section, re.S)[1]


def training(n=400):
    x = numpy.random.default_rng(1).normal([5.0, 3.0, 1.0], [1.0, 0.5, 0.2], size=(n, 3))
    return pandas.DataFrame(numpy.column_stack([x, x.mean(axis=1)]), columns=FEATURES + [LABEL])


@pytest.fixture(scope="module")
def names(sys_, tmp_path_factory):
    """What the README's lines leave behind, run as they stand."""
    folder = tmp_path_factory.mktemp("context")
    training().to_csv(folder / "train.csv", index=False)
    shutil.copy(SERVER, folder / "serve.py")
    mlrun.set_environment(api_path=f"http://127.0.0.1:{sys_.api.port}", artifact_path=str(folder))
    before, names = os.getcwd(), {}
    os.chdir(folder)
    try:
        exec(readme("python"), names)
    finally:
        os.chdir(before)
    sys_.project(PROJECT, "5s")  # a test has no minute
    return names


@pytest.fixture(scope="module")
def project(names):
    return names["project"]


@pytest.fixture(scope="module")
def deployed(names):
    return names["serving"]


def test_what_was_logged_and_deployed_is_listed(deployed, project):
    assert [m.metadata.key for m in project.list_models()] == ["Trained"]
    assert project.get_function("serving", sync=True, ignore_cache=True).status.state == "ready"
    assert PROJECT in mlrun.get_run_db().list_projects(format_="name_only")


def test_the_endpoint_is_there_with_the_models_reference_and_columns(deployed, project):
    found, = project.list_model_endpoints().endpoints
    assert (found.metadata.name, found.spec.function_name, found.spec.model_name) == ("my-model", "serving", "Trained")
    got = mlrun.get_run_db().get_model_endpoint(name="my-model", project=PROJECT, endpoint_id=found.metadata.uid,
                                                feature_analysis=True)
    assert got.spec.feature_names == FEATURES and got.spec.label_names == [LABEL]
    assert set(got.spec.feature_stats) == {*FEATURES, LABEL}
    assert deployed.spec.graph.routes["my-model"].class_args["model_endpoint_uid"] == found.metadata.uid


def test_its_server_sends_and_drift_is_found(deployed, project, sys_):
    api = f"http://127.0.0.1:{sys_.api.port}"
    env = dict(os.environ, MLRUN_DBPATH=api, API_URL=api, KAFKA_BROKERS=sys_.w.brokers, PATH=mm.BIN + ":" + os.environ["PATH"])
    env["SERVING_SPEC_ENV"] = subprocess.run(["bash", "-euc", readme("sh") + 'printf %s "$SERVING_SPEC_ENV"'], env=env, text=True,
                                             stdout=subprocess.PIPE, check=True, timeout=30).stdout
    uid = project.list_model_endpoints().endpoints[0].metadata.uid
    child = subprocess.Popen([sys.executable, SERVER, "my-model"], text=True,
                             env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    ready = child.stdout.readline()
    assert ready and json.loads(ready) == {"ready": True}, child.communicate()[1][-3000:]
    rng = numpy.random.default_rng(2)
    batches = [rng.normal([9.0, 5.5, 2.0], [1.0, 0.5, 0.2], size=(5, 3)).tolist() for _ in range(40)]
    system.wait_window(PERIOD_US, 3_000_000)
    out, _ = child.communicate("".join(json.dumps({"inputs": b}) + "\n" for b in batches), timeout=60)
    answers = [json.loads(line) for line in out.splitlines()]
    assert child.returncode == 0 and answers[-1] == {"flushed": 1} and len(answers) == 41
    records = sys_.w.consume(sys_.w.topic(PROJECT))
    assert len(records) == 40 and {r.key for r in records} == {uid.encode()}
    sys_.wait_results(PROJECT, uid, 200)
    answer = mlrun.get_run_db().api_call("GET", f"projects/{PROJECT}/model-endpoints/{uid}/metrics-values", params={
        "name": f"{PROJECT}.{system.APP}.result.general_drift"}).json()[0]
    values = forms.ModelEndpointMonitoringResultValues.parse_obj(answer).values
    assert max(v.value for v in values) > 0.8 and 2 in {v.status for v in values}
    listed, = project.list_model_endpoints(tsdb_metrics=True).endpoints
    assert listed.status.result_status == 2 and listed.status.last_request and listed.status.avg_latency > 0


def test_its_rows_are_read_through_the_monitoring_feature_set(deployed, project, sys_):
    import mlrun.feature_store as feature_store
    found, = project.list_model_endpoints().endpoints
    rows = feature_store.get_feature_set(found.spec.monitoring_feature_set_uri).to_dataframe()
    assert len(rows) == 200 and {*FEATURES, LABEL, "timestamp"} <= set(rows.reset_index().columns)
    assert numpy.allclose(rows[FEATURES].mean(axis=1), rows[LABEL])
    times = rows["timestamp"].sort_values()
    some = feature_store.get_feature_set(found.spec.monitoring_feature_set_uri).to_dataframe(
        start_time=times.iloc[49].to_pydatetime(), end_time=times.iloc[149].to_pydatetime(), time_column="timestamp",
        optimize_discovery=False)
    inside = (times > times.iloc[49]) & (times <= times.iloc[149])
    assert len(some) == inside.sum() > 0 and set(some["timestamp"]) == set(times[inside])


def test_an_application_is_evaluated(deployed, project, tmp_path):
    (tmp_path / "rows_app.py").write_text(APP)
    sys.path.insert(0, str(tmp_path))
    from rows_app import Rows
    run = Rows.evaluate(func_path=str(tmp_path / "rows_app.py"), run_local=True, sample_data=training(50), reference_data=training())
    assert run.state() == "completed" and run.status.results["return"]["result_value"] == 50.0
    assert [r["metadata"]["uid"] for r in project.list_runs()] == [run.metadata.uid]


def test_monitoring_is_disabled(deployed, project):
    project.disable_model_monitoring()
    assert mlrun.get_run_db().api_call("GET", f"projects/{PROJECT}").json()["spec"]["monitoring"]["enabled"] is False


def test_the_project_goes_with_all_of_it(deployed, project, sys_):
    db = mlrun.get_run_db()
    with pytest.raises(mlrun.errors.MLRunConflictError, match="model endpoints"):
        db.delete_project(PROJECT)
    db.delete_project(PROJECT, "cascade")
    assert PROJECT not in db.list_projects(format_="name_only")
    tables = [r["t"] for r in sys_.w.rows("SELECT table_name AS t FROM information_schema.columns WHERE column_name = 'endpoint_id' "
                                          "AND table_schema = 'public' AND table_name IN ('slots', 'windows', 'results')")]
    assert set(tables) == {"slots", "windows", "results"}
    mm.wait_for(lambda: not any(sys_.w.rows(f"SELECT 1 FROM {t} LIMIT 1") for t in tables), 30, "rows of the project are gone")
    assert not sys_.w.rows("SELECT 1 FROM documents")
