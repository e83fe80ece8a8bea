"""The paths and forms of MLRun's clients before 1.8: records by uid, its fields at their old places, the old names of monitoring's paths."""
import hashlib
import json
import time
import urllib.parse

import pytest
from api_server import SECOND, Api, Rows

OLD = {"x-mlrun-client-version": "1.7.2"}


@pytest.fixture(scope="module", params=["postgres", "sqlite"])
def api(request):
    with Api(backend=request.param) as server:
        yield server


class Client:
    """As 1.7's sends: by uid, parameters under their old names."""

    def __init__(self, api):
        self.api, self.project = api, api.project()
        self.uid = hashlib.sha1(f"{self.project}_serving_latest_my-model_v1".encode()).hexdigest()
        self.base = f"/api/v1/projects/{self.project}"

    def call(self, method, path, body=None, **query):
        return self.api.request(method, f"{self.base}/{path}" + ("?" + urllib.parse.urlencode(query, doseq=True) if query else ""), body, OLD)

    def record(self, **spec):
        return {"kind": "model-endpoint", "metadata": {"project": self.project, "labels": {"a": "b"}, "uid": self.uid},
                "spec": dict({"function_uri": f"{self.project}/serving:latest", "model": "my-model:v1", "model_class": "M",
                              "model_uri": "", "feature_names": ["x", "y"], "label_names": ["z"], "stream_path": "",
                              "algorithm": None, "monitor_configuration": {}, "active": True, "monitoring_mode": "enabled"}, **spec),
                "status": {"feature_stats": {"x": {"count": 2, "hist": [[1, 1], [0, 1, 2]]}}, "endpoint_type": 1, "children": None,
                           "first_request": "", "last_request": None, "error_count": 0, "state": None}}


@pytest.fixture
def client(api):
    return Client(api)


def test_a_record_is_made_changed_and_deleted_by_its_uid(client, api):
    path = f"model-endpoints/{client.uid}"
    assert client.call("GET", path).status == 404
    for _ in range(2):
        made = client.call("POST", path, client.record())
        assert made.status == 201, made.text
    got = client.call("GET", path, start="now-1h", end="now", metric="latency_avg_1h", feature_analysis=True).json
    assert got["metadata"]["uid"] == client.uid[:32] and got["metadata"]["name"] == "my-model"
    assert got["spec"]["model"] == "my-model:v1" and got["spec"]["monitoring_mode"] == "enabled" and got["spec"]["active"] is True
    assert got["status"]["endpoint_type"] == 1 and set(got["status"]["feature_stats"]) == {"x"} and got["spec"]["label_names"] == ["z"]
    assert (got["spec"]["function_name"], got["spec"]["function_tag"]) == ("serving", "latest")
    listed = client.call("GET", "model-endpoints", model="my-model:v1", function="serving", start="now-1h", end="now").json["endpoints"]
    assert [e["spec"]["model"] for e in listed] == ["my-model:v1"]
    assert client.call("GET", "model-endpoints", function="other").json == {"endpoints": []}
    now = api.get(f"{client.base}/model-endpoints/my-model?endpoint-id={client.uid}").json
    assert "model" not in now["spec"] and now["metadata"]["uid"] == client.uid[:32]
    assert api.get(f"{client.base}/model-endpoints/{client.uid[:32]}").json == api.get(f"{client.base}/model-endpoints/my-model").json
    changed = client.call("PATCH", path, attributes=json.dumps({"monitoring_mode": "disabled", "feature_names": '["u", "v"]'}))
    assert changed.status == 200 and changed.json["spec"]["monitoring_mode"] == "disabled" and changed.json["spec"]["feature_names"] == ["u", "v"]
    assert client.call("DELETE", path).status == 204 and client.call("GET", path).status == 404 == client.call("DELETE", path).status


def test_drift_is_told_as_1_7_does(client, api):
    client.call("POST", f"model-endpoints/{client.uid}", client.record())
    Rows(api, client.project, client.uid[:32]).result(int(time.time()) * SECOND, 0.8, 2)
    assert client.call("GET", f"model-endpoints/{client.uid}").json["status"]["drift_status"] == "DRIFT_DETECTED"
    assert [m["name"] for m in client.call("GET", f"model-endpoints/{client.uid}/metrics").json] == ["general_drift", "invocations"]


@pytest.mark.parametrize("method, query, body, words", [
    ("POST", {}, {"metadata": {"uid": "other"}, "spec": {"model": "m"}}, "metadata.uid"), ("POST", {}, {}, "spec"), ("POST", {}, {"spec": {}}, "spec.model"),
    ("POST", {}, {"metadata": {"project": "other"}, "spec": {"model": "m"}}, "metadata.project"),
    ("POST", {}, {"spec": {"model": "m", "function_uri": ":"}}, "spec.function_uri"), ("POST", {}, {"spec": {"model": ""}}, "spec.model"),
    ("PATCH", {}, None, "attributes"), ("PATCH", {"attributes": "{}"}, None, "attributes"), ("PATCH", {"attributes": "[1]"}, None, "attributes"),
    ("PATCH", {"attributes": '{"drift_status": "NO_DRIFT"}'}, None, "drift_status"),
    ("PATCH", {"attributes": '{"monitoring_mode": "x"}'}, None, "monitoring_mode")])
def test_requests_that_are_not_right(client, method, query, body, words):
    client.call("POST", f"model-endpoints/{client.uid}", client.record())
    answer = client.call(method, f"model-endpoints/{client.uid}", body, **query)
    assert answer.status == 400 and words in answer.detail, answer.text
    for bad in ("a'b", "a%20b"):
        assert client.call("POST", f"model-endpoints/{bad}", client.record()).status == 400


def test_monitoring_is_switched_by_its_old_paths(client, api):
    def settings():
        return api.get(client.base).json["spec"]["monitoring"]
    assert client.call("POST", "model-monitoring/enable-model-monitoring", base_period=20, image="x", rebuild_images=False,
                       deploy_histogram_data_drift_app=False).status == 200
    assert settings() == {"base_period": "20m", "enabled": True, "default_app": False}
    assert client.call("POST", "model-monitoring/deploy-histogram-data-drift-app", image="x").status == 200
    assert client.call("PATCH", "model-monitoring/model-monitoring-controller", base_period=30).status == 200
    assert settings() == {"base_period": "30m", "enabled": True, "default_app": True}
    ended = client.call("DELETE", "model-monitoring/disable-model-monitoring", delete_resources=True, delete_stream_function=False)
    assert ended.status == 202 and settings()["enabled"] is False
    task = ended.json["background_tasks"][0]["metadata"]["name"]
    assert client.call("GET", f"background-tasks/{task}").json["status"]["state"] == "succeeded"
