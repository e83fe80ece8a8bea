"""What MLRun's 1.12.1 client sent, recorded, sent again to the byte: each request is answered as that client reads it, on both databases."""
import datetime
import json
import os
import time

import mlrun.common.schemas as schemas
import pytest
from api_server import ROOT, SECOND, Api, Rows
from mlrun.common.schemas.model_monitoring import functions
from mlrun.common.schemas.model_monitoring import model_endpoints as forms

PROJECT, UID = "my-proj", "2f9d6f3c7a5b4c1e8d0a1b2c3d4e5f60"
RESULT = {"project": PROJECT, "app": "histogram-data-drift", "type": "result", "name": "general_drift",
          "full_name": "my-proj.histogram-data-drift.result.general_drift", "kind": 0}
INVOCATIONS = {"project": PROJECT, "app": "mlrun-infra", "type": "metric", "name": "invocations",
               "full_name": "my-proj.mlrun-infra.metric.invocations", "kind": None}


def recorded():
    with open(os.path.join(ROOT, "tests/vectors/client_requests.json"), encoding="utf-8") as f:
        return {c["call"]: c["requests"] for c in json.load(f) if c["requests"]}


CALLS = recorded()


@pytest.fixture(scope="module", params=["postgres", "sqlite"])
def api(request):
    with Api(backend=request.param, SECRETS_KEY="6" * 64) as server:
        yield server


@pytest.fixture
def place(api):
    """What the recorded requests speak of."""
    api.request("DELETE", f"/api/v1/projects/{PROJECT}", headers={"x-mlrun-deletion-strategy": "cascade"})
    api.project(PROJECT, base_period="10m")
    api.endpoint(PROJECT, "my-model", metadata={"uid": UID})
    now = int(time.time()) * SECOND
    Rows(api, PROJECT, UID).result(now - 60 * SECOND, 0.8, 2)
    send(api, CALLS["store_alert_config"][0])
    api.put(f"/api/v1/projects/{PROJECT}/apps/app1", {"active": True})
    return api


def send(api, request, task=""):
    """The request line and the body as they were sent; the name of a task is the server's."""
    path = request["path"].replace("background-tasks/t1", "background-tasks/" + task)
    body = None if request["body"] is None else json.dumps(request["body"])
    return api.request(request["method"], path + ("?" + request["raw_query"] if request["raw_query"] else ""), body,
                       {k: v for k, v in request["headers"].items() if k != "User-Agent"})


def endpoint(answer):
    read = schemas.ModelEndpoint(**answer)
    assert read.metadata.uid == UID and read.metadata.name == "my-model" and read.metadata.mode == 0
    return read


def endpoints(answer):
    assert [e.metadata.uid for e in schemas.ModelEndpointList(**answer).endpoints] == [UID]


def null(answer):
    assert answer is None


def tasks(answer):
    task, = schemas.BackgroundTaskList(**answer).background_tasks
    assert task.metadata.project == PROJECT


def done(answer):
    assert schemas.BackgroundTask(**answer).status.state == "succeeded"


def drift(answer):
    assert forms.ModelEndpointDriftValues(**answer).values == []


def alert(answer):
    import mlrun.alerts.alert
    read = mlrun.alerts.alert.AlertConfig.from_dict(answer)
    sent = CALLS["store_alert_config"][0]["body"]
    assert read.name == sent["name"] and read.entities.ids == sent["entities"]["ids"] and read.created.utcoffset() is not None
    assert read.criteria.count == 2 and read.notifications[0].notification.name == "n1" and read.state == "inactive"


def alerts(answer):
    import mlrun.alerts.alert
    one, = answer["alerts"]
    alert(one)
    mlrun.alerts.alert.AlertConfig(**one)


def templates(answer):
    assert [schemas.AlertTemplate(**t).template_name for t in answer] == ["JobFailed", "DataDriftDetected", "DataDriftSuspected"]


def template(answer):
    assert schemas.AlertTemplate(**answer).trigger.events == ["failed"]


def activations(answer):
    assert answer == {"activations": [], "pagination": {"page": 1, "page-size": 200, "page-token": None}}


def project(answer):
    assert answer["metadata"]["name"] == PROJECT and answer["status"]["state"] == "online" and answer["spec"]["artifact_path"] == ""


def none_of(answer):
    assert answer == {"funcs": [], "pagination": {"page": 1, "page-size": 200, "page-token": None}}


def summaries(answer):
    read = [functions.FunctionSummary(**s) for s in answer]
    assert [s.type.value for s in read] == ["infra"] * 3 + ["application"] * 2 and all(s.stats == {} for s in read)


def summary(answer):
    assert functions.FunctionSummary(**answer).stats["detected"] == 1


def uid(answer):
    assert answer == UID


def created(answer):
    assert endpoint(answer).spec.function_name == "serving"


def names(answer):
    assert answer == [RESULT, INVOCATIONS]


def several(answer):
    assert answer == {UID: [RESULT, INVOCATIONS]}


def url(answer):
    assert answer == "http://127.0.0.1:8080/" + PROJECT


# A recorded call: what each of its requests is answered. None: no body is read.
ANSWERS = {
    "list_model_endpoints": [(200, endpoints)],
    "list_model_endpoints_filters": [(200, lambda a: schemas.ModelEndpointList(**a))],
    "get_model_endpoint": [(200, endpoint)],
    "get_model_endpoint_fn": [(200, endpoint)],
    "create_model_endpoint": [(201, created)],
    "patch_model_endpoint": [(200, uid)],
    "delete_model_endpoint": [(204, None)],
    "get_model_endpoint_monitoring_metrics": [(200, names)],
    "get_metrics_by_multiple_endpoints": [(200, several)],
    "enable_model_monitoring": [(200, null)],
    "update_controller": [(200, null)],
    "disable": [(202, tasks), (200, done)],
    "delete_function": [(202, tasks), (200, done)],
    "delete_metrics": [(204, None)],
    "stream_url": [(200, url)],
    "drift_over_time": [(200, drift)],
    "store_alert_config": [(200, alert)],
    "get_alert_config": [(200, alert)],
    "list_alerts_configs": [(200, alerts)],
    "reset_alert": [(200, None)],
    "delete_alert": [(204, None)],
    "templates": [(200, templates)],
    "template": [(200, template)],
    "activations": [(200, activations)],
    "generate_event": [(200, None)],
    "get_or_create_project": [(200, project)],
    "project.enable_model_monitoring": [(200, null), (200, project)],
    "project.list_model_monitoring_functions": [(200, none_of)],
    "project.list_model_endpoints": [(200, endpoints)],
    "project.get_model_monitoring_function_summaries": [(200, summaries)],
    "project.get_monitoring_function_summary": [(200, summary)],
    "project.create_model_monitoring_alert_configs": [(200, endpoints)],
}
# Their answers depend on servers that are connected to: test_api_credentials.py.
ELSEWHERE = {"set_credentials", "register_kafka_profile", "register_pg_profile", "project.set_model_monitoring_credentials"}


def test_every_recorded_call_is_here():
    assert set(CALLS) == set(ANSWERS) | ELSEWHERE
    assert all(len(CALLS[c]) == len(a) for c, a in ANSWERS.items())


@pytest.mark.parametrize("call", sorted(ANSWERS))
def test_a_recorded_call_is_answered(place, call):
    task = ""
    for request, (status, check) in zip(CALLS[call], ANSWERS[call]):
        answer = send(place, request, task)
        assert answer.status == status, f"{request['method']} {request['path']}: {answer.status} {answer.text}"
        if check:
            check(answer.json)
        if check is tasks:
            task = answer.json["background_tasks"][0]["metadata"]["name"]


def test_they_do_what_they_say(place):
    def settings():
        return place.get(f"/api/v1/projects/{PROJECT}").json["spec"]["monitoring"]

    def sent(call):
        assert send(place, CALLS[call][0]).status < 300, call
    sent("disable")
    assert settings() == {"base_period": "10m", "enabled": False, "default_app": False}
    sent("project.enable_model_monitoring")
    assert settings() == {"base_period": "2m", "enabled": True, "default_app": True}
    sent("update_controller")
    assert settings()["base_period"] == "5m"
    sent("patch_model_endpoint")
    got = endpoint(send(place, CALLS["get_model_endpoint"][0]).json)
    assert got.spec.feature_names == ["a"] and got.status.first_request == datetime.datetime(2025, 1, 1, tzinfo=datetime.timezone.utc)
    assert got.status.result_status == 2 and got.status.monitoring_mode == "enabled"
    sent("delete_function")
    apps = place.get(f"/api/v1/projects/{PROJECT}/apps").json["apps"]
    assert {a["name"]: a["active"] for a in apps} == {"app1": False, "histogram-data-drift": True}
    sent("generate_event")
    assert [e["entity_id"] for e in place.get(f"/api/v1/projects/{PROJECT}/events").json["events"]] == ["x"]
    sent("delete_alert")
    assert place.get(f"/api/v1/projects/{PROJECT}/alerts").json == {"alerts": []}
    sent("delete_model_endpoint")
    assert send(place, CALLS["get_model_endpoint"][0]).status == 404
