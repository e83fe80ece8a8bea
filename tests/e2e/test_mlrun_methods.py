"""Each method of PyPI's client that has to do with monitoring is called and its answer read; one that a newer client has besides, and nobody
calls here, is a failure. On both databases."""
import datetime
import inspect
import os
import time
import urllib.parse
import uuid

import pytest

os.environ.setdefault("MLRUN_LOG_LEVEL", "ERROR")

import mlrun  # noqa: E402
import mlrun.alerts.alert as alerts  # noqa: E402
import mlrun.common.schemas as schemas  # noqa: E402
from api_server import SECOND, Api, Rows  # noqa: E402
from mlrun.datastore import datastore_profile as profiles  # noqa: E402
from mlrun.db.httpdb import HTTPRunDB  # noqa: E402

HOUR = 3600 * SECOND
DRIFT = "histogram-data-drift"
WORDS = ("alert", "monitoring", "endpoint", "drift", "metric", "datastore_profile", "generate_event", "background_task")
# Not of a server, or of another one's: "name": why.
ELSEWHERE = {
    "db.store_alert_notifications": "run notifications of MLRun's own jobs",
    "db.wait_for_background_task_to_reach_terminal_state": "reads get_project_background_task until it ends, as disable_model_monitoring does",
    "db.get_background_task": "tasks of no project: this server has none, see the test below",
    "db.update_alert_activation": "1.12.1's client has the name from the server's interface, and nothing in it",
    "project.create_model_monitoring_function": "makes an object in the client; set_model_monitoring_function and deploying it are in test_mlrun_tutorial",
    "project.set_model_monitoring_function": "the same",
}


@pytest.fixture(scope="module", params=["postgres", "sqlite"])
def api(request):
    with Api(backend=request.param, SECRETS_KEY="7" * 64) as server:
        yield server


class Place:
    """A project with two endpoints, of which the default app has said something."""

    def __init__(self, api):
        mlrun.mlconf.dbpath = f"http://127.0.0.1:{api.port}"
        self.db = mlrun.db.get_run_db(mlrun.mlconf.dbpath, force_reconnect=True)
        self.name = api.project(base_period="1m")
        self.project = mlrun.get_or_create_project(self.name, context=api.folder.name, save=False, allow_cross_project=True)
        self.uids = [api.endpoint(self.name, f"m{i}")["metadata"]["uid"] for i in range(2)]
        self.end = int(time.time()) * SECOND // HOUR * HOUR - HOUR
        for uid in self.uids:
            Rows(api, self.name, uid).result(self.end, 0.8, 2)
        at = urllib.parse.urlparse(os.environ["MM_TEST_PG"])
        self.stream = profiles.DatastoreProfileKafkaStream(name="kafka-p", brokers=[os.environ["MM_TEST_KAFKA"]], topics=[])
        self.tsdb = profiles.DatastoreProfilePostgreSQL(name="pg-p", host=at.hostname, port=at.port, user=at.username, password="x", database="postgres")

    def endpoint(self, name="new"):
        return schemas.ModelEndpoint(metadata=schemas.ModelEndpointMetadata(name=name, project=self.name, endpoint_type=1),
                                     spec=schemas.ModelEndpointSpec(function_name="serving", function_tag="latest"),
                                     status=schemas.ModelEndpointStatus(monitoring_mode="enabled"))

    def alert(self, name="drift-alert"):
        note = schemas.alert.AlertNotification(notification=schemas.Notification(kind="slack", name="n", message="m", severity="info", when=["completed"],
                                                                                 secret_params={"webhook": "https://hooks.slack.com/x"}))
        return alerts.AlertConfig(project=self.name, name=name, summary="s", severity="high", notifications=[note], reset_policy="manual",
                                  entities=schemas.alert.EventEntities(kind="model-endpoint-result", project=self.name, ids=["*"]),
                                  trigger=schemas.alert.AlertTrigger(events=["data-drift-detected"]))

    def with_alert(self):
        return self.project.store_alert_config(self.alert())

    def with_profile(self):
        self.project.register_datastore_profile(self.stream)
        self.project.register_datastore_profile(self.tsdb)

    def with_activation(self, api):
        made = self.with_alert()
        api.sql("INSERT INTO alert_activations (project_id, alert_id, name, severity, criteria, entity_kind, entity_id, event_kind, number_of_events, "
                "activation_us) SELECT p.id, a.id, a.name, 'high', '{}', 'model-endpoint-result', 'u.a.result.r', 'data-drift-detected', 1, %s "
                "FROM projects p JOIN alerts a ON a.project_id = p.id WHERE p.name = %s", self.end, self.name)
        return made


def settings(p):
    return p.db.api_call("GET", f"projects/{p.name}").json()["spec"]["monitoring"]


def gone(call):
    with pytest.raises(mlrun.errors.MLRunNotFoundError):
        call()
    return True


def metric_names(found):
    return [m.name for m in found]


def task(p):
    """Of a deletion, which makes one."""
    p.project.disable_model_monitoring()
    return p.db.list_project_background_tasks(p.name)


# name: (what is there before, the call, whether its answer or effect is right)
CALLS = {
    "db.get_project_background_task": (lambda p, _: task(p), lambda p: p.db.get_project_background_task(p.name, p.before[0].metadata.name),
                                       lambda p, got: got.status.state == "succeeded"),
    "db.list_project_background_tasks": (lambda p, _: task(p), lambda p: p.db.list_project_background_tasks(p.name), lambda p, got: len(got) == 1),
    "db.get_model_endpoint_monitoring_metrics": (None, lambda p: p.db.get_model_endpoint_monitoring_metrics(p.name, p.uids[0]),
                                                 lambda p, got: metric_names(got) == ["general_drift", "invocations"]),
    "db.get_metrics_by_multiple_endpoints": (None, lambda p: p.db.get_metrics_by_multiple_endpoints(p.name, p.uids, type="results"),
                                             lambda p, got: {u: metric_names(m) for u, m in got.items()} == {u: ["general_drift"] for u in p.uids}),
    "db.create_model_endpoint": (None, lambda p: p.db.create_model_endpoint(p.endpoint()), lambda p, got: uuid.UUID(got.metadata.uid)),
    "db.delete_model_endpoint": (None, lambda p: p.db.delete_model_endpoint("m0", p.name, endpoint_id=p.uids[0]),
                                 lambda p, got: [e.metadata.name for e in p.db.list_model_endpoints(p.name).endpoints] == ["m1"]),
    "db.list_model_endpoints": (None, lambda p: p.db.list_model_endpoints(p.name, tsdb_metrics=True),
                                lambda p, got: {(e.metadata.uid, e.status.result_status) for e in got.endpoints} == {(u, 2) for u in p.uids}),
    "db.get_model_endpoint": (None, lambda p: p.db.get_model_endpoint("m1", p.name, endpoint_id=p.uids[1], feature_analysis=True),
                              lambda p, got: got.metadata.uid == p.uids[1] and got.status.result_status == 2),
    "db.patch_model_endpoint": (None, lambda p: p.db.patch_model_endpoint("m0", p.name, {"labels": {"a": "b"}}, endpoint_id=p.uids[0]),
                                lambda p, got: p.db.get_model_endpoint("m0", p.name, endpoint_id=p.uids[0]).metadata.labels == {"a": "b"}),
    "db.enable_model_monitoring": (None, lambda p: p.db.enable_model_monitoring(p.name, base_period=20, deploy_histogram_data_drift_app=False),
                                   lambda p, got: settings(p) == {"base_period": "20m", "enabled": True, "default_app": False}),
    "db.update_model_monitoring_controller": (None, lambda p: p.db.update_model_monitoring_controller(p.name, base_period=30),
                                              lambda p, got: settings(p)["base_period"] == "30m"),
    "db.disable_model_monitoring": (None, lambda p: p.db.disable_model_monitoring(p.name), lambda p, got: got is True and not settings(p)["enabled"]),
    "db.delete_model_monitoring_function": (lambda p, _: p.db.api_call("PUT", f"projects/{p.name}/apps/mine", json={}),
                                            lambda p: p.db.delete_model_monitoring_function(p.name, ["mine"]), lambda p, got: got is True),
    "db.set_model_monitoring_credentials": (
        lambda p, _: p.with_profile(), lambda p: p.db.set_model_monitoring_credentials(
            p.name, {"tsdb_profile_name": "pg-p", "stream_profile_name": "kafka-p"}, False),
        lambda p, got: pytest.raises(mlrun.errors.MLRunConflictError, lambda: p.db.delete_datastore_profile("pg-p", p.name))),
    "db.delete_model_monitoring_metrics": (None, lambda p: p.db.delete_model_monitoring_metrics(p.name, DRIFT),
                                           lambda p, got: metric_names(p.db.get_model_endpoint_monitoring_metrics(p.name, p.uids[0])) == ["invocations"]),
    "db.get_model_monitoring_url": (None, lambda p: p.db.get_model_monitoring_url(p.name), lambda p, got: got.endswith("/" + p.name)),
    "db.get_monitoring_function_summaries": (None, lambda p: p.db.get_monitoring_function_summaries(p.name), lambda p, got: got[-1].name == DRIFT),
    "db.get_monitoring_function_summary": (None, lambda p: p.db.get_monitoring_function_summary(p.name, DRIFT),
                                           lambda p, got: got.stats["processed_model_endpoints"] == 2),
    "db.store_datastore_profile": (None, lambda p: p.project.register_datastore_profile(p.stream),  # it makes the two parts
                                   lambda p, got: p.db.get_datastore_profile("kafka-p", p.name) == p.stream),
    "db.get_datastore_profile": (lambda p, _: p.with_profile(), lambda p: p.db.get_datastore_profile("kafka-p", p.name), lambda p, got: got == p.stream),
    "db.list_datastore_profiles": (lambda p, _: p.with_profile(), lambda p: p.db.list_datastore_profiles(p.name),
                                   lambda p, got: [x.name for x in got] == ["kafka-p", "pg-p"]),
    "db.delete_datastore_profile": (lambda p, _: p.with_profile(), lambda p: p.db.delete_datastore_profile("kafka-p", p.name),
                                    lambda p, got: gone(lambda: p.db.get_datastore_profile("kafka-p", p.name))),
    "db.generate_event": (None, lambda p: p.db.generate_event("mm-app-failed", {"kind": "mm-app-failed", "value_dict": {"Error": "x"}, "entity": {
        "kind": "model-monitoring-application", "project": p.name, "ids": ["a"]}}, p.name),
        lambda p, got: p.db.api_call("GET", f"projects/{p.name}/events").json()["events"][0]["kind"] == "mm-app-failed"),
    "db.store_alert_config": (None, lambda p: p.db.store_alert_config("drift-alert", p.alert(), p.name), lambda p, got: got.name == "drift-alert"),
    "db.get_alert_config": (lambda p, _: p.with_alert(), lambda p: p.db.get_alert_config("drift-alert", p.name), lambda p, got: got.summary == "s"),
    "db.list_alerts_configs": (lambda p, _: p.with_alert(), lambda p: p.db.list_alerts_configs(p.name), lambda p, got: [a.name for a in got] == ["drift-alert"]),
    "db.delete_alert_config": (lambda p, _: p.with_alert(), lambda p: p.db.delete_alert_config("drift-alert", p.name),
                               lambda p, got: p.db.list_alerts_configs(p.name) == []),
    "db.reset_alert_config": (lambda p, api: p.with_activation(api), lambda p: p.db.reset_alert_config("drift-alert", p.name),
                              lambda p, got: all(a.reset_time for a in p.db.list_alert_activations(p.name))),
    "db.get_alert_template": (None, lambda p: p.db.get_alert_template("DataDriftDetected"), lambda p, got: got.severity == "high"),
    "db.list_alert_templates": (None, lambda p: p.db.list_alert_templates(), lambda p, got: len(got) == 3),
    "db.list_alert_activations": (lambda p, api: p.with_activation(api), lambda p: p.db.list_alert_activations(p.name), lambda p, got: len(got) == 1),
    "db.paginated_list_alert_activations": (lambda p, api: p.with_activation(api), lambda p: p.db.paginated_list_alert_activations(p.name, page=1, page_size=5),
                                            lambda p, got: len(got[0]) == 1 and got[1] is None),
    "db.get_alert_activation": (lambda p, api: p.with_activation(api), lambda p: p.db.get_alert_activation(p.name, p.db.list_alert_activations(p.name)[0].id),
                                lambda p, got: got.name == "drift-alert"),
    "db.get_drift_over_time": (None, lambda p: p.db.get_drift_over_time(p.name), lambda p, got: [v.count_detected for v in got.values] == [2]),
    "project.get_drift_over_time": (None, lambda p: p.project.get_drift_over_time(), lambda p, got: [v.count_detected for v in got.values] == [2]),
    "project.create_model_monitoring_alert_configs": (None, lambda p: p.project.create_model_monitoring_alert_configs(
        name="on", summary="s", endpoints=p.db.list_model_endpoints(p.name), result_names=["*.general_drift"], events=["data-drift-detected"],
        notifications=p.alert().notifications, severity="high", criteria=schemas.alert.AlertCriteria(count=1)), lambda p, got: len(got) == 2),
    "project.create_user_model_endpoint": (None, lambda p: p.project.create_user_model_endpoint("mine"), lambda p, got: "mine" in str(got)),
    "project.enable_model_monitoring": (None, lambda p: p.project.enable_model_monitoring(base_period=20), lambda p, got: settings(p)["enabled"]),
    "project.update_model_monitoring_controller": (None, lambda p: p.project.update_model_monitoring_controller(base_period=30),
                                                   lambda p, got: settings(p)["base_period"] == "30m"),
    "project.disable_model_monitoring": (None, lambda p: p.project.disable_model_monitoring(), lambda p, got: not settings(p)["enabled"]),
    "project.set_model_monitoring_lag_alert": (None, lambda p: p.project.set_model_monitoring_lag_alert(p.alert().notifications[0].notification),
                                               lambda p, got: [a.name for a in p.db.list_alerts_configs(p.name)] == ["monitoring-lag-detected"]),
    "project.delete_model_monitoring_lag_alert": (lambda p, _: p.project.set_model_monitoring_lag_alert(p.alert().notifications[0].notification),
                                                  lambda p: p.project.delete_model_monitoring_lag_alert(),
                                                  lambda p, got: p.db.list_alerts_configs(p.name) == []),
    "project.delete_model_monitoring_function": (lambda p, _: p.db.api_call("PUT", f"projects/{p.name}/apps/mine", json={}),
                                                 lambda p: p.project.delete_model_monitoring_function("mine"), lambda p, got: True),
    "project.set_model_monitoring_credentials": (
        lambda p, _: p.with_profile(), lambda p: p.project.set_model_monitoring_credentials(tsdb_profile_name="pg-p", stream_profile_name="kafka-p"),
        lambda p, got: pytest.raises(mlrun.errors.MLRunConflictError, lambda: p.db.delete_datastore_profile("pg-p", p.name))),
    "project.get_model_monitoring_url": (None, lambda p: p.project.get_model_monitoring_url(), lambda p, got: got.endswith("/" + p.name)),
    "project.list_model_endpoints": (None, lambda p: p.project.list_model_endpoints(), lambda p, got: len(got.endpoints) == 2),
    "project.list_model_monitoring_functions": (None, lambda p: p.project.list_model_monitoring_functions(), lambda p, got: got in (None, [])),
    "project.get_monitoring_function_summaries": (None, lambda p: p.project.get_monitoring_function_summaries(), lambda p, got: got[-1].name == DRIFT),
    "project.get_monitoring_function_summary": (None, lambda p: p.project.get_monitoring_function_summary(DRIFT), lambda p, got: got.name == DRIFT),
    "project.register_datastore_profile": (None, lambda p: p.project.register_datastore_profile(p.tsdb),
                                           lambda p, got: p.db.get_datastore_profile("pg-p", p.name).host == p.tsdb.host),
    "project.delete_datastore_profile": (lambda p, _: p.with_profile(), lambda p: p.project.delete_datastore_profile("kafka-p"),
                                         lambda p, got: gone(lambda: p.db.get_datastore_profile("kafka-p", p.name))),
    "project.get_datastore_profile": (lambda p, _: p.with_profile(), lambda p: p.project.get_datastore_profile("kafka-p"), lambda p, got: got == p.stream),
    "project.list_datastore_profiles": (lambda p, _: p.with_profile(), lambda p: p.project.list_datastore_profiles(), lambda p, got: len(got) == 2),
    "project.store_alert_config": (None, lambda p: p.project.store_alert_config(p.alert()), lambda p, got: got.name == "drift-alert"),
    "project.get_alert_config": (lambda p, _: p.with_alert(), lambda p: p.project.get_alert_config("drift-alert"), lambda p, got: got.summary == "s"),
    "project.list_alerts_configs": (lambda p, _: p.with_alert(), lambda p: p.project.list_alerts_configs(), lambda p, got: len(got) == 1),
    "project.delete_alert_config": (lambda p, _: p.with_alert(), lambda p: p.project.delete_alert_config(alert_name="drift-alert"),
                                    lambda p, got: p.project.list_alerts_configs() == []),
    "project.reset_alert_config": (lambda p, api: p.with_activation(api), lambda p: p.project.reset_alert_config(alert_name="drift-alert"),
                                   lambda p, got: all(a.reset_time for a in p.project.list_alert_activations())),
    "project.get_alert_template": (None, lambda p: p.project.get_alert_template("JobFailed"), lambda p, got: got.severity == "medium"),
    "project.list_alert_templates": (None, lambda p: p.project.list_alert_templates(), lambda p, got: len(got) == 3),
    "project.list_alert_activations": (lambda p, api: p.with_activation(api), lambda p: p.project.list_alert_activations(), lambda p, got: len(got) == 1),
    "project.paginated_list_alert_activations": (lambda p, api: p.with_activation(api), lambda p: p.project.paginated_list_alert_activations(page=1),
                                                 lambda p, got: len(got[0]) == 1),
}


def methods():
    for prefix, holder in (("db", HTTPRunDB), ("project", mlrun.projects.MlrunProject)):
        for name, _ in inspect.getmembers(holder, callable):
            if not name.startswith("_") and any(w in name for w in WORDS):
                yield f"{prefix}.{name}"


def test_each_method_of_the_client_is_here():
    assert mlrun.__version__ == "1.12.1"
    assert set(methods()) == set(CALLS) | set(ELSEWHERE)


@pytest.mark.parametrize("name", CALLS)
def test_the_method(api, name):
    before, call, right = CALLS[name]
    p = Place(api)
    p.before = before(p, api) if before else None
    got = call(p)
    assert right(p, got), (name, got)


def test_a_task_of_no_project_is_not_there(api):
    gone(lambda: Place(api).db.get_background_task("never"))
