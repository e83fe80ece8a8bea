"""What PyPI's mlrun 1.12.1 client asks of a project's monitoring and of its alerts, method by method, on both databases."""
import datetime
import os
import time

import pytest

os.environ.setdefault("MLRUN_LOG_LEVEL", "ERROR")

import mlrun  # noqa: E402
import mlrun.alerts.alert as alerts  # noqa: E402
import mlrun.common.schemas as schemas  # noqa: E402
import mlrun.common.schemas.model_monitoring.constants as words  # noqa: E402
from api_server import SECOND, Api, Rows  # noqa: E402

MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
UTC = datetime.timezone.utc
KINDS = schemas.alert.EventKind


@pytest.fixture(scope="module", params=["postgres", "sqlite"])
def api(request):
    with Api(backend=request.param, SECRETS_KEY="7" * 64) as server:
        yield server


@pytest.fixture(scope="module")
def db(api):
    mlrun.mlconf.dbpath = f"http://127.0.0.1:{api.port}"
    client = mlrun.db.get_run_db(mlrun.mlconf.dbpath, force_reconnect=True)
    client.connect()
    return client


@pytest.fixture
def project(api, db):
    """A project of the client's, with two endpoints of which apps have said something."""
    name = api.project(base_period="1m")
    return mlrun.get_or_create_project(name, context=api.folder.name, save=False, allow_cross_project=True)


class Place:
    def __init__(self, api, project):
        self.uids = [api.endpoint(project.name, f"m{i}")["metadata"]["uid"] for i in range(2)]
        self.rows = [Rows(api, project.name, u) for u in self.uids]
        self.end = int(time.time()) * SECOND // HOUR * HOUR - HOUR
        for i, rows in enumerate(self.rows):
            rows.result(self.end, 0.8, 2 - i)
        self.rows[0].value(self.end, 0.5, "tvd_mean")


@pytest.fixture
def place(api, project):
    return Place(api, project)


def test_metrics_of_several_endpoints(db, project, place):
    got = db.get_metrics_by_multiple_endpoints(project.name, place.uids)
    assert {u: [m.name for m in ms] for u, ms in got.items()} == {
        place.uids[0]: ["general_drift", "tvd_mean", "invocations"], place.uids[1]: ["general_drift", "invocations"]}
    both = db.get_metrics_by_multiple_endpoints(project.name, place.uids, type="results",
                                                events_format=words.GetEventsFormat.INTERSECTION)
    assert [m.full_name for m in both["intersect_results"]] == [f"{project.name}.histogram-data-drift.result.general_drift"]
    with pytest.raises(mlrun.errors.MLRunNotFoundError):
        db.get_metrics_by_multiple_endpoints(project.name, "f" * 32)


def test_drift_over_time(db, project, place):
    at = datetime.datetime.fromtimestamp(place.end / SECOND, UTC)
    bins = db.get_drift_over_time(project.name, start=at - datetime.timedelta(hours=2), end=at + datetime.timedelta(hours=1)).values
    assert [(b.timestamp, b.count_suspected, b.count_detected) for b in bins] == [(at - datetime.timedelta(minutes=10), 1, 1)]
    assert db.get_drift_over_time(project.name).values == [(at - datetime.timedelta(hours=1), 1, 1)]
    assert db.get_drift_over_time(project.name, end=at - datetime.timedelta(hours=3)).values == []


def test_function_summaries(db, project, place):
    listed = project.get_monitoring_function_summaries(include_stats=True)
    assert [s.name for s in listed] == ["model-monitoring-stream", "model-monitoring-controller", "model-monitoring-writer",
                                        "histogram-data-drift"]
    drift = listed[-1]
    assert drift.type.value == "application" and drift.base_period == 1 and drift.stats["detected"] == 1
    assert [s.name for s in project.get_monitoring_function_summaries(names="histogram-data-drift", include_infra=False)] == [drift.name]
    one = project.get_monitoring_function_summary("histogram-data-drift", include_latest_metrics=True)
    assert [m.get("result_name") or m["metric_name"] for m in one.stats["metrics"]] == ["general_drift", "tvd_mean"]
    assert one.stats["processed_model_endpoints"] == 2
    with pytest.raises(mlrun.errors.MLRunNotFoundError):
        project.get_monitoring_function_summary("nobody")


def test_metrics_are_deleted(db, project, place):
    db.delete_model_monitoring_metrics(project.name, "histogram-data-drift", [place.uids[0]])
    left = db.get_metrics_by_multiple_endpoints(project.name, place.uids, type="results")
    assert [len(left[u]) for u in place.uids] == [0, 1]
    db.delete_model_monitoring_metrics(project.name, "histogram-data-drift")
    assert db.get_metrics_by_multiple_endpoints(project.name, place.uids, type="results") == {u: [] for u in place.uids}


def test_the_summary_of_a_project(db, project, place):
    got = db.get_project_summary(project.name)
    assert got.real_time_model_endpoint_count == 2 and got.running_model_monitoring_functions == 4 and got.updated.utcoffset() is not None


def test_where_events_are_posted(db, project):
    assert project.get_model_monitoring_url() == f"http://127.0.0.1:8080/{project.name}"


def test_monitoring_is_switched(db, project):
    def settings():
        return db.api_call("GET", f"projects/{project.name}").json()["spec"]["monitoring"]
    project.enable_model_monitoring(base_period=20, deploy_histogram_data_drift_app=False)
    assert settings() == {"base_period": "20m", "enabled": True, "default_app": False}
    project.update_model_monitoring_controller(base_period=30)
    assert settings()["base_period"] == "30m"
    project.enable_model_monitoring(base_period=20)
    project.disable_model_monitoring()
    assert settings() == {"base_period": "20m", "enabled": False, "default_app": False}
    with pytest.raises(mlrun.errors.MLRunNotFoundError, match="not enabled"):
        project.update_model_monitoring_controller(base_period=30)


# ---- alerts ----
def notification(name="n1", **params):
    return schemas.alert.AlertNotification(notification=schemas.Notification(
        kind="slack", name=name, message="drift", severity="warning", when=["completed"],
        secret_params=params or {"webhook": "https://hooks.slack.com/services/x"}))


def config(project, name="drift-alert", **changes):
    return alerts.AlertConfig(**dict({
        "project": project.name, "name": name, "summary": "{{project}} drifts", "severity": schemas.alert.AlertSeverity.HIGH,
        "entities": schemas.alert.EventEntities(kind="model-endpoint-result", project=project.name, ids=["*"]),
        "trigger": schemas.alert.AlertTrigger(events=[KINDS.DATA_DRIFT_DETECTED]),
        "criteria": schemas.alert.AlertCriteria(count=2, period="10m"), "notifications": [notification()],
        "reset_policy": schemas.alert.ResetPolicy.MANUAL}, **changes))


def test_an_alert_is_stored_read_changed_reset_and_deleted(db, project):
    made = project.store_alert_config(config(project))
    assert made.created.utcoffset() == datetime.timedelta(0)
    got = project.get_alert_config("drift-alert")
    assert got.to_dict() == made.to_dict() and got.trigger.events == [KINDS.DATA_DRIFT_DETECTED] and got.criteria.period == "10m"
    assert "hooks.slack.com" not in str(got.to_dict())
    got.severity = schemas.alert.AlertSeverity.LOW
    before, = project.list_alerts_configs()
    assert before.id and before.state == "inactive" and before.count == 0
    changed = project.store_alert_config(got)
    assert project.list_alerts_configs()[0].id == before.id and changed.severity == "low" and changed.notifications == got.notifications
    project.store_alert_config(config(project, "second"))
    assert [a.name for a in project.list_alerts_configs()] == ["drift-alert", "second"]
    assert [a.name for a in project.list_alerts_configs(limit=1, offset=1)] == ["second"]
    project.reset_alert_config(alert_name="drift-alert")
    project.delete_alert_config(alert_name="drift-alert")
    with pytest.raises(mlrun.errors.MLRunNotFoundError, match="there is no alert"):
        project.get_alert_config("drift-alert")
    with pytest.raises(mlrun.errors.MLRunBadRequestError, match="criteria.count"):
        project.store_alert_config(config(project, criteria=schemas.alert.AlertCriteria(count=100)))


def test_an_alert_is_made_of_a_template(db, project):
    listed = project.list_alert_templates()
    assert [t.template_name for t in listed] == ["JobFailed", "DataDriftDetected", "DataDriftSuspected"]
    assert project.get_alert_template("JobFailed") == listed[0]
    made = project.store_alert_config(alerts.AlertConfig(
        project=project.name, name="of-template", template="DataDriftDetected", notifications=[notification()],
        entities=schemas.alert.EventEntities(kind="model-endpoint-result", project=project.name, ids=["*"])))
    assert made.trigger.events == [KINDS.DATA_DRIFT_DETECTED] and made.severity == "high" and made.reset_policy == "auto"


def test_alerts_for_results_of_endpoints(db, project, place):
    made = project.create_model_monitoring_alert_configs(
        name="on-drift", summary="{{entity}} drifts", endpoints=db.list_model_endpoints(project.name), result_names=["*.general_drift"],
        events=[KINDS.DATA_DRIFT_DETECTED, KINDS.DATA_DRIFT_SUSPECTED], notifications=[notification()],
        severity=schemas.alert.AlertSeverity.HIGH, criteria=schemas.alert.AlertCriteria(count=1), reset_policy="auto")
    assert len(made) == 2
    for alert in made:
        assert project.store_alert_config(alert).entities.ids[0].split(".")[0] in place.uids
    assert {a.name for a in project.list_alerts_configs()} == {f"on-drift--{u}_histogram-data-drift_general_drift" for u in place.uids}


def test_the_alert_on_lag(db, project):
    project.set_model_monitoring_lag_alert(notification().notification, period="10m", count=3)
    got = project.get_alert_config("monitoring-lag-detected")
    assert got.entities.ids == ["*"] and got.criteria.count == 3 and got.trigger.events == [KINDS.MODEL_MONITORING_LAG_DETECTED]
    project.delete_model_monitoring_lag_alert()
    project.delete_model_monitoring_lag_alert()
    assert project.list_alerts_configs() == []


def test_events_are_told_and_activations_listed(api, db, project):
    db.generate_event("mm-app-failed", {"kind": "mm-app-failed", "value_dict": {"Error": "x"}, "entity": {
        "kind": "model-monitoring-application", "project": project.name, "ids": [f"{project.name}_app"]}}, project.name)
    assert db.api_call("GET", f"projects/{project.name}/events").json()["events"][0]["value_dict"] == {"Error": "x"}
    project.store_alert_config(config(project))
    made, = project.list_alerts_configs()
    for i in range(3):
        api.sql("INSERT INTO alert_activations (project_id, alert_id, name, severity, criteria, entity_kind, entity_id, event_kind, "
                "number_of_events, activation_us) SELECT id, %s, 'drift-alert', 'high', %s, 'model-endpoint-result', 'u.a.result.r', "
                "'data-drift-detected', 2, %s FROM projects WHERE name = %s", made.id, '{"count": 2, "period": null}',
                1_700_000_000 * SECOND + i, project.name)
    found = project.list_alert_activations(severity=["high"], entity_kind="model-endpoint-result", name="drift-alert",
                                           since=datetime.datetime(2023, 1, 1, tzinfo=UTC))
    assert len(found) == 3 and found[0].activation_time > found[1].activation_time and found[0].reset_time is None
    first, token = project.paginated_list_alert_activations(page_size=2, page=1)
    rest, end = project.paginated_list_alert_activations(page_token=token)
    assert [a.id for a in list(first) + list(rest)] == [a.id for a in found] and end is None
    assert db.get_alert_activation(project.name, found[0].id) == found[0]
    assert made.list_activations()[0].id == found[0].id
    project.reset_alert_config(alert_name="drift-alert")
    assert all(a.reset_time for a in project.list_alert_activations())
