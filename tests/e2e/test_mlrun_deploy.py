"""A model is logged, a function that serves it deployed, and MLRun's real serving code started with what the deployment says: its events
reach the topic and its drift comes out, all through PyPI's client. No uid is set by hand, no reference given, no column named."""
import json
import os
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
FEATURES, LABEL, PROJECT = ["len", "width", "depth"], "size", "tutorial"


@pytest.fixture(scope="module")
def sys_():
    with mm.World() as w, system.System(w) as s:
        yield s


@pytest.fixture(scope="module")
def project(sys_, tmp_path_factory):
    folder = tmp_path_factory.mktemp("context")
    mlrun.set_environment(api_path=f"http://127.0.0.1:{sys_.api.port}", artifact_path=str(folder))
    project = mlrun.get_or_create_project(PROJECT, context=str(folder), allow_cross_project=True)
    sys_.project(PROJECT, "5s")
    return project


def training(n=400):
    x = numpy.random.default_rng(1).normal([5.0, 3.0, 1.0], [1.0, 0.5, 0.2], size=(n, 3))
    return pandas.DataFrame(numpy.column_stack([x, x.mean(axis=1)]), columns=FEATURES + [LABEL])


@pytest.fixture(scope="module")
def deployed(sys_, project):
    model = project.log_model("Trained", body=b"weights", model_file="model.bin", training_set=training(), label_column=LABEL)
    assert [m.metadata.key for m in project.list_models()] == ["Trained"]
    script = os.path.join(mm.ROOT, "tests/support/mlrun_deployed.py")
    fn = project.set_function(script, name="serving", kind="serving", image="mlrun/mlrun", handler="handler")
    fn.set_topology("router")
    fn.add_model("my-model", model_path=model.uri, class_name="Regression")
    fn.set_tracking()
    assert project.deploy_function(fn).state == "ready"
    assert project.get_function("serving", sync=True, ignore_cache=True).status.state == "ready"
    return fn


def test_the_endpoint_is_there_with_the_models_reference_and_columns(deployed, project):
    found, = project.list_model_endpoints().endpoints
    assert (found.metadata.name, found.spec.function_name, found.spec.model_name) == ("my-model", "serving", "Trained")
    got = mlrun.get_run_db().get_model_endpoint(name="my-model", project=PROJECT, endpoint_id=found.metadata.uid,
                                                feature_analysis=True)
    assert got.spec.feature_names == FEATURES and got.spec.label_names == [LABEL]
    assert set(got.spec.feature_stats) == {*FEATURES, LABEL}
    assert deployed.spec.graph.routes["my-model"].class_args["model_endpoint_uid"] == found.metadata.uid


def test_its_server_sends_and_drift_is_found(deployed, project, sys_):
    tool = os.path.join(mm.BIN, "modelmon")
    spec = subprocess.run([tool, "serving-spec", f"{PROJECT}/serving", "--api-url", f"http://127.0.0.1:{sys_.api.port}",
                           "--brokers", sys_.w.brokers], capture_output=True, text=True, check=True, timeout=30).stdout
    uid = project.list_model_endpoints().endpoints[0].metadata.uid
    env = dict(os.environ, SERVING_SPEC_ENV=spec, MLRUN_DBPATH=f"http://127.0.0.1:{sys_.api.port}")
    child = subprocess.Popen([sys.executable, os.path.join(mm.ROOT, "tests/support/mlrun_deployed.py"), "my-model"], text=True,
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
