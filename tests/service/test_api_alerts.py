"""Alerts, their templates and activations, and events, as clients store and list them; on both databases."""
import copy
import json

import mlrun.common.schemas as schemas
import pytest
from api_server import SECOND, Api

SECRET = "https://hooks.slack.com/services/T/B/very-secret"
KEY = "5" * 64


@pytest.fixture(scope="module", params=["postgres", "sqlite"])
def api(request):
    with Api(backend=request.param, SECRETS_KEY=KEY) as server:
        yield server


@pytest.fixture
def project(api):
    return api.project()


def v1(project, path=""):
    return f"/api/v1/projects/{project}{path}"


def alert(project, name="drift-alert", **changes):
    body = {"cooldown_period": "1h", "name": name, "severity": "high", "summary": "{{project}}/{{entity}} drifts.", "project": project,
            "reset_policy": "auto", "trigger": {"events": ["data-drift-detected"], "prometheus_alert": None},
            "notifications": [{"notification": {"kind": "slack", "name": "n1", "message": "m", "severity": "info", "when": ["completed"],
                                                "condition": "", "params": None, "status": None, "sent_time": None,
                                                "secret_params": {"webhook": SECRET}, "reason": None}, "cooldown_period": "5m"}],
            "criteria": {"count": 2, "period": "10m"},
            "entities": {"kind": "model-endpoint-result", "project": project, "ids": ["u.histogram-data-drift.result.general_drift"]}}
    return dict(body, **changes)


def put(api, project, body, query=""):
    return api.put(v1(project, f"/alerts/{body['name']}{query}"), body)


def test_an_alert_is_stored_shown_and_listed(api, project):
    body = alert(project)
    made = put(api, project, body)
    assert made.status == 200 and "very-secret" not in made.text
    reference = {"secret": "mlrun.alerts.drift-alert.n1"}
    assert made.json["notifications"][0]["notification"]["secret_params"] == reference
    shown = copy.deepcopy(body)
    shown["notifications"][0]["notification"]["secret_params"] = reference
    got = made.json
    assert got["state"] == "inactive" and got["count"] == 0 and got["created"] == got["updated"]
    assert {k: v for k, v in got.items() if k in body} == shown
    assert api.get(v1(project, "/alerts/drift-alert")).json == got
    put(api, project, alert(project, "second_alert--u_app_r", criteria=None, reset_policy=None, made_up=1))
    listed = api.get(v1(project, "/alerts")).json["alerts"]
    assert [a["name"] for a in listed] == ["drift-alert", "second_alert--u_app_r"]
    assert listed[1]["criteria"] == {"count": 1, "period": None} and listed[1]["reset_policy"] == "auto" and "made_up" not in listed[1]
    assert [a["name"] for a in api.get(v1(project, "/alerts?page-size=1&offset=1")).json["alerts"]] == ["second_alert--u_app_r"]
    old = api.request("GET", v1(project, "/alerts"), headers={"x-mlrun-client-version": "1.7.2"})
    assert old.json == listed
    assert api.get(v1(api.project(), "/alerts")).json == {"alerts": []}
    for path in ("/alerts/none", "/alerts/a'b"):
        assert api.get(v1(project, path)).status == 404 == api.post(v1(project, path + "/reset"), "").status
        assert api.delete(v1(project, path)).status == 204
    assert api.delete(v1(project, "/alerts/drift-alert")).status == 204
    assert api.get(v1(project, "/alerts/drift-alert")).status == 404


def secrets(api, project):
    return api.sql("SELECT s.name, s.sealed FROM project_secrets s JOIN projects p ON p.id = s.project_id WHERE p.name = %s", project)


def test_secret_parameters_are_sealed_and_stay_when_their_reference_is_stored(api, project):
    first = put(api, project, alert(project)).json
    (name, sealed), = secrets(api, project)
    assert name == "mlrun.alerts.drift-alert" and b"secret" not in bytes(sealed)
    assert SECRET not in str(api.sql("SELECT * FROM alerts")) and SECRET not in open(api.log).read()
    for _ in range(2):
        again = put(api, project, dict(first, severity="low")).json
        assert again["severity"] == "low" and again["notifications"] == first["notifications"]
        assert len(bytes(secrets(api, project)[0][1])) == len(bytes(sealed))  # the same text, sealed anew
    lost = copy.deepcopy(first)
    lost["notifications"][0]["notification"]["name"] = "n2"  # a reference to nothing: it is kept as what it says
    assert put(api, project, lost).status == 200 and len(bytes(secrets(api, project)[0][1])) != len(bytes(sealed))
    del lost["notifications"][0]["notification"]["secret_params"]
    assert put(api, project, lost).status == 200 and not secrets(api, project)
    put(api, project, alert(project))
    assert len(secrets(api, project)) == 1 and api.delete(v1(project, "/alerts/drift-alert")).status == 204
    assert not secrets(api, project)


def test_they_are_no_secrets_of_the_user(api, project):
    put(api, project, alert(project))
    assert api.post(v1(project, "/secrets"), {"provider": "kubernetes", "secrets": {"mine": "x"}}).status == 201
    assert api.get(v1(project, "/secret-keys?provider=kubernetes")).json["secret_keys"] == ["mine"]
    assert api.delete(v1(project, "/secrets?provider=kubernetes")).status == 204
    assert [name for name, _ in secrets(api, project)] == ["mlrun.alerts.drift-alert"]
    answer = api.post(v1(project, "/secrets"), {"provider": "kubernetes", "secrets": {"mlrun.alerts.drift-alert": "x"}})
    assert answer.status == 400


def test_without_a_key_no_secret_is_taken(tmp_path):
    with Api(backend="sqlite") as bare:
        project = bare.project()
        refused = put(bare, project, alert(project))
        assert refused.status == 400 and "SECRETS_KEY" in refused.detail and bare.get(v1(project, "/alerts")).json == {"alerts": []}
        open_one = alert(project)
        open_one["notifications"][0]["notification"].update(secret_params={}, params={"webhook": "http://x"})
        assert put(bare, project, open_one).status == 200


def activate(api, project, name, at_us, severity="high", entity="u.app.result.r", kind="data-drift-detected", reset=None,
             about="model-endpoint-result"):
    api.sql("INSERT INTO alert_activations (project_id, alert_id, name, severity, criteria, entity_kind, entity_id, event_kind, "
            "number_of_events, notifications, activation_us, reset_us) SELECT p.id, COALESCE((SELECT a.id FROM alerts a WHERE "
            "a.project_id = p.id AND a.name = %s), 0), %s, %s, %s, %s, %s, %s, 3, %s, %s, %s FROM projects p WHERE p.name = %s",
            name, name, severity, '{"count": 2, "period": null}', about, entity, kind,
            '[{"kind": "slack", "err": "", "summary": {"failed": 0, "succeeded": 1}}]', at_us, reset, project)


def state(api, project, name="drift-alert"):
    return api.get(v1(project, f"/alerts/{name}")).json["state"]


def test_what_changes_the_question_resets_the_alert(api, project):
    def stands(body, query=""):
        """Whether an active alert is still active once this was stored."""
        put(api, project, alert(project), "?force_reset=true")
        api.sql("UPDATE alerts SET active = true, count = 4 WHERE name = 'drift-alert'")
        activate(api, project, "drift-alert", 1_700_000_000 * SECOND)
        got = put(api, project, body, query).json
        open_ = api.sql("SELECT count(*) FROM alert_activations a JOIN projects p ON p.id = a.project_id "
                        "WHERE p.name = %s AND reset_us IS NULL", project)[0][0]
        assert got["count"] == 4 and (open_ == 1) is (got["state"] == "active")
        return open_ == 1
    assert stands(alert(project, severity="low", cooldown_period=None))
    assert not stands(alert(project), "?force_reset=true")
    assert not stands(alert(project, criteria={"count": 3, "period": "10m"}))
    assert not stands(alert(project, trigger={"events": ["data-drift-suspected"]}))
    assert not stands(alert(project, entities={"kind": "model-endpoint-result", "project": project, "ids": ["*"]}))
    api.sql("UPDATE alerts SET active = true WHERE name = 'drift-alert'")
    assert state(api, project) == "active" and api.post(v1(project, "/alerts/drift-alert/reset"), "").status == 200
    assert state(api, project) == "inactive"


def bad(**changes):
    return lambda p: dict(alert(p), **changes)


def notified(**changes):
    def make(p):
        body = alert(p)
        body["notifications"][0]["notification"].update(changes)
        return body
    return make


@pytest.mark.parametrize("body, field", [
    (bad(name="other"), "name"), (bad(project="other"), "project"), (bad(severity="huge"), "severity"), (bad(severity=None), "severity"),
    (bad(summary=None), "summary"), (bad(summary="x" * 5000), "summary"), (bad(reset_policy="never"), "reset_policy"),
    (bad(cooldown_period="soon"), "cooldown_period"), (bad(cooldown_period="5"), "cooldown_period"), (bad(trigger=None), "trigger"),
    (bad(trigger={"events": []}), "trigger"), (bad(trigger={"events": ["x"]}), "trigger.events[0]"),
    (bad(trigger={"events": ["failed"], "prometheus_alert": "up"}), "trigger"), (bad(criteria={"count": 0}), "criteria.count"),
    (bad(criteria={"count": 100}), "criteria.count"), (bad(criteria={"count": "x"}), "criteria.count"),
    (bad(criteria={"count": 1, "period": "x"}), "criteria.period"), (bad(notifications=[]), "notifications"),
    (bad(notifications=None), "notifications"), (bad(notifications=[1]), "notifications[0]"), (notified(kind="console"), "notification.kind"),
    (notified(name=""), "notification.name"), (notified(params="x"), "notification.params"), (notified(secret_params=[1]), "secret_params"),
    (bad(notifications=alert("p")["notifications"] * 2), "notifications[1].notification.name"),
    (bad(entities={"kind": "x", "project": "p", "ids": ["a"]}), "entities.kind"),
    (lambda p: alert(p, entities={"kind": "job", "project": "other", "ids": ["a"]}), "entities.project"),
    (lambda p: alert(p, entities={"kind": "job", "project": p, "ids": []}), "entities.ids"),
    (lambda p: alert(p, entities={"kind": "job", "project": p, "ids": ["a", "b"]}), "entities.ids"),
    (lambda p: alert(p, entities={"kind": "job", "project": p, "ids": [7]}), "entities.ids[0]")])
def test_alerts_that_are_not_right(api, body, field):
    project = api.project()
    body = body(project)
    answer = api.put(v1(project, "/alerts/drift-alert"), json.dumps(body))
    assert answer.status == 400 and field in answer.detail, answer.text
    assert api.get(v1(project, "/alerts")).json == {"alerts": []}


def test_names_of_alerts(api, project):
    for name in ("a%20b", "a.b", "a%27", "x" * 256):
        assert api.put(v1(project, f"/alerts/{name}"), alert(project)).status == 400


def test_templates_are_what_alerts_can_be_made_of(api, project):
    listed = api.get("/api/v1/alert-templates").json
    assert [(t["template_name"], t["severity"], t["trigger"]["events"]) for t in listed] == [
        ("JobFailed", "medium", ["failed"]), ("DataDriftDetected", "high", ["data-drift-detected"]),
        ("DataDriftSuspected", "medium", ["data-drift-suspected"])]
    for t in listed:
        assert schemas.AlertTemplate(**t).system_generated and api.get(f"/api/v1/alert-templates/{t['template_name']}").json == t
        made = alert(project, t["template_name"], **{k: t[k] for k in ("summary", "severity", "criteria", "trigger", "reset_policy")})
        assert put(api, project, made).status == 200
    assert api.get("/api/v1/alert-templates/None").status == 404


def test_activations_are_listed_by_page_and_filter(api, project):
    put(api, project, alert(project))
    day = 86400 * SECOND
    for i in range(5):
        activate(api, project, f"Alert-{i}", day * (20000 + i), severity=["low", "high"][i % 2], entity=f"Uid{i}.app.result.r",
                 reset=day * 20010 if i else None)
    activate(api, project, "job", day * 19000, about="job", kind="failed", entity="my-job", severity="medium")

    def names(query=""):
        return [a["name"] for a in api.get(v1(project, "/alert-activations" + query)).json["activations"]]
    assert names() == ["Alert-4", "Alert-3", "Alert-2", "Alert-1", "Alert-0", "job"]
    first = api.get(v1(project, "/alert-activations?page=1&page-size=4")).json
    assert [a["name"] for a in first["activations"]] == names()[:4] and first["pagination"]["page-token"]
    last = api.get(v1(project, f"/alert-activations?page-token={first['pagination']['page-token']}")).json
    assert [a["name"] for a in last["activations"]] == names()[4:] and last["pagination"]["page-token"] is None
    assert names("?name=Alert-3") == ["Alert-3"] and names("?name=~ALERT") == names()[:5] and names("?name=Alert") == []
    assert names("?entity=~uid2.") == ["Alert-2"] and names("?entity=my-job") == ["job"]
    assert names("?severity=low&severity=medium") == ["Alert-4", "Alert-2", "Alert-0", "job"]
    assert names("?entity-kind=job") == ["job"] == names("?event-kind=failed")
    assert names("?since=2024-10-06T00:00:00%2B00:00&until=2024-10-07T00:00:00%2B00:00") == ["Alert-3", "Alert-2"]
    for i, a in enumerate(api.get(v1(project, "/alert-activations")).json["activations"]):
        read = schemas.AlertActivation(**a)
        assert read.notifications[0].summary.succeeded == 1 and (read.reset_time is None) is (i > 3)
        assert api.get(v1(project, f"/alert-activations/{read.id}")).json == a
        assert api.get(v1(api.project(), f"/alert-activations/{read.id}")).status == 404
    for query in ("?since=2024-10-06", "?page=0", "?page=x", "?page-token=zz"):
        assert api.get(v1(project, "/alert-activations" + query)).status == 400
    assert api.get(v1(project, "/alert-activations/x")).status == 404


def event(project, kind="data-drift-detected", about="model-endpoint-result", **changes):
    return dict({"kind": kind, "timestamp": None, "entity": {"kind": about, "project": project, "ids": ["x"]}, "value_dict": {"a": 1}},
                **changes)


def test_events_are_kept(api, project):
    assert api.post(v1(project, "/events/data-drift-detected"), event(project)).status == 200
    when = event(project, "mm-app-failed", "model-monitoring-application", timestamp="2025-01-01 00:00:00.000000+00:00", value_dict=None)
    assert api.post(v1(project, "/events/mm-app-failed"), when).status == 200
    newest, first = api.get(v1(project, "/events")).json["events"]
    assert newest["timestamp"] == "2025-01-01T00:00:00+00:00" != newest["received"] and newest["value_dict"] == {}
    assert first["timestamp"] == first["received"] and first["value_dict"] == {"a": 1} and first["entity_id"] == "x"
    assert api.get(v1(project, "/events?kind=data-drift-detected")).json["events"] == [first]
    assert api.get(v1(project, "/events?limit=1")).json["events"] == [newest]
    for kind, body, field in (("none", event(project), "none"), ("failed", event(project), "kind"),
                              ("data-drift-detected", event(project, about="job"), "entity.kind"),
                              ("data-drift-detected", event("other"), "entity.project"), ("data-drift-detected", {}, "entity"),
                              ("data-drift-detected", event(project, timestamp="now"), "timestamp"),
                              ("data-drift-detected", event(project, value_dict=1), "value_dict"),
                              ("data-drift-detected", event(project, value_dict={"a": "x" * 70000}), "value_dict")):
        answer = api.post(v1(project, f"/events/{kind}"), body)
        assert answer.status == 400 and field in answer.detail, answer.text
    assert len(api.get(v1(project, "/events")).json["events"]) == 2


def test_of_events_the_newest_are_kept(api, project):
    api.post(v1(project, "/events/failed"), event(project, "failed", "job"))
    series = "generate_series(1, 10050)" if not api.file else \
        "(WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 10050) SELECT x FROM n)"
    api.sql("INSERT INTO alert_events (project_id, kind, entity_kind, entity_id, at_us, received_us) SELECT e.project_id, 'failed', "
            f"'job', 'y', 1, 1 FROM alert_events e JOIN projects p ON p.id = e.project_id, {series} s WHERE p.name = %s", project)
    api.post(v1(project, "/events/failed"), event(project, "failed", "job"))
    kept = api.get(v1(project, "/events?limit=10000")).json["events"]
    count = api.sql("SELECT count(*) FROM alert_events e JOIN projects p ON p.id = e.project_id WHERE p.name = %s", project)[0][0]
    assert len(kept) == 10000 == count and kept[0]["entity_id"] == "x" and kept[-1]["entity_id"] == "y"


def test_all_of_it_goes_with_its_project(api, project):
    put(api, project, alert(project))
    activate(api, project, "drift-alert", 1)
    api.post(v1(project, "/events/failed"), event(project, "failed", "job"))
    assert api.request("DELETE", v1(project), headers={"x-mlrun-deletion-strategy": "cascade"}).status == 204
    for table in ("alerts", "alert_activations", "alert_events", "project_secrets"):
        assert api.sql(f"SELECT count(*) FROM {table} t LEFT JOIN projects p ON p.id = t.project_id WHERE p.id IS NULL")[0][0] == 0
