"""A project's monitoring switched as MLRun's clients do, and the feature set that finds an endpoint's rows; on both databases."""
import tempfile

import pytest
from api_server import Api


@pytest.fixture(scope="module", params=["postgres", "sqlite"])
def api(request):
    with tempfile.TemporaryDirectory(prefix="mm-monitoring-") as folder:
        env = {"DATABASE_URL": f"sqlite:///{folder}/db"} if request.param == "sqlite" else {}
        with Api(**env) as server:
            yield server


def v1(project, path=""):
    return f"/api/v1/projects/{project}{path}"


def settings(api, project):
    return api.get(v1(project)).json["spec"]["monitoring"]


def apps(api, project):
    return {a["name"]: a["active"] for a in api.get(v1(project, "/apps")).json["apps"]}


def test_enable_and_disable_change_the_settings_that_the_services_see(api):
    project = api.project(enabled=False)
    api.patch(v1(project), {"spec": {"owner": "ann"}})
    on = "/model-monitoring/?base_period=5&deploy_histogram_data_drift_app=False&otlp_enabled=False"
    for _ in range(2):
        answer = api.put(v1(project, on), "")
        assert answer.status == 200 and answer.text == "null"
        assert settings(api, project) == {"base_period": "5m", "enabled": True, "default_app": False}
    assert apps(api, project) == {"histogram-data-drift": False}
    assert api.put(v1(project, "/model-monitoring/"), "").status == 200
    assert settings(api, project) == {"base_period": "5m", "enabled": True, "default_app": True}
    assert api.patch(v1(project, "/model-monitoring/controller?base_period=1&image=x"), "").text == "null"
    off = "/model-monitoring/?delete_resources=True&delete_stream_function=False&delete_histogram_data_drift_app=True&delete_user_applications=False"
    answer = api.delete(v1(project, off))
    task = answer.json["background_tasks"][0]["metadata"]["name"]
    assert answer.status == 202 and api.get(v1(project, f"/background-tasks/{task}")).json["status"]["state"] == "succeeded"
    assert settings(api, project) == {"base_period": "1m", "enabled": False, "default_app": False}
    assert api.get(v1(project)).json["spec"]["owner"] == "ann"
    assert api.patch(v1(project, "/model-monitoring/controller?base_period=1"), "").status == 404
    for bad in ("base_period=0", "base_period=1441", "base_period=7x", "deploy_histogram_data_drift_app=maybe"):
        assert api.put(v1(project, "/model-monitoring/?" + bad), "").status == 400
    assert settings(api, project)["enabled"] is False


def test_applications_end_one_or_all(api):
    project = api.project()
    for name in ("a", "b", "c"):
        api.put(v1(project, f"/apps/{name}"), {"active": True})
        api.post(v1(project, f"/functions/{name}"), {"kind": "serving"})
    assert api.delete(v1(project, "/model-monitoring/functions?function=a")).status == 202
    assert apps(api, project) == {"histogram-data-drift": True, "a": False, "b": True, "c": True}
    assert api.get(v1(project, "/functions/a")).status == 404 and api.get(v1(project, "/functions/b")).status == 200
    assert api.delete(v1(project, "/model-monitoring/functions")).status == 400
    off = "/model-monitoring/?delete_resources=False&delete_user_applications=True"
    assert api.delete(v1(project, off + "&user_application_list=b")).status == 202
    assert apps(api, project) == {"histogram-data-drift": True, "a": False, "b": False, "c": True} and settings(api, project)["enabled"]
    assert api.delete(v1(project, off)).status == 202 and apps(api, project)["c"] is False


def test_the_monitoring_feature_set_of_an_endpoint(api):
    project = api.project()
    made = api.endpoint(project, "m", spec={"feature_names": ["a", "b"], "label_names": ["y"]})
    uid = made["metadata"]["uid"]
    assert made["spec"]["monitoring_feature_set_uri"] == f"store://feature-sets/{project}/monitoring-serving-m:{uid}_"
    found = api.get(v1(project, f"/feature-sets/monitoring-serving-m/references/{uid}_")).json
    assert [f["name"] for f in found["spec"]["features"]] == ["a", "b", "y"] and found["spec"]["timestamp_key"] == "timestamp"
    target, = found["status"]["targets"]
    assert target["path"].endswith(f"/lake/{project}/model-endpoints/parquet/key={uid}") and target["partitioned"] is True
    for name, reference in (("monitoring-serving-x", f"{uid}_"), ("monitoring-serving-m", uid), ("monitoring-serving-m", "_"),
                            ("monitoring-serving-m", "none_")):
        assert api.get(v1(project, f"/feature-sets/{name}/references/{reference}")).status == 404
    own = api.endpoint(project, "own", spec={"monitoring_feature_set_uri": "store://x"})
    assert own["spec"]["monitoring_feature_set_uri"] == "store://x"
