"""What Grafana's JSON data source asks, in MLRun's forms; on both databases."""
import datetime
import time

import pytest
from api_server import SECOND, Api, Rows
from mlrun.common.schemas.model_monitoring import grafana

BASE = "/api/v1/grafana-proxy/model-endpoints"
MINUTE = 60 * SECOND


@pytest.fixture(scope="module", params=["postgres", "sqlite"])
def api(request):
    with Api(backend=request.param) as server:
        yield server


class Place:
    def __init__(self, api):
        self.api, self.project = api, api.project(base_period="1m")
        self.uid = api.endpoint(self.project, "m", spec={"model_class": "M", "feature_names": ["a", "b"]})["metadata"]["uid"]
        self.router = api.endpoint(self.project, "r", metadata={"endpoint_type": 2, "labels": {"team": "x"}},
                                   spec={"function_name": "other"})["metadata"]["uid"]
        self.rows = Rows(api, self.project, self.uid)

    def ask(self, what, path="query", **more):
        target = ";".join([f"target_endpoint={what}"] + [f"{k}={v}" for k, v in dict({"project": self.project}, **more).items()])
        body = {"target": target} if path == "search" else {"targets": [{"target": target}]}
        return self.api.post(f"{BASE}/{path}", body)

    def table(self, what, **more):
        got, = self.ask(what, **more).json
        read = grafana.GrafanaTable(**got)
        assert read.type == "table" and all(len(r) == len(read.columns) for r in read.rows)
        return [c.text for c in read.columns], read.rows


@pytest.fixture
def place(api):
    return Place(api)


def test_somebody_is_here(api):
    assert api.get(BASE).status == 200


def test_what_can_be_chosen(place):
    assert place.project in place.ask("list_projects", "search").json
    assert place.ask("list_endpoints", "search").json == [place.uid, place.router]
    place.rows.result(int(time.time()) * SECOND, 0.5, 1)
    assert place.ask("list_metrics", "search", endpoint_id=place.uid).json == ["general_drift", "invocations"]


def test_endpoints(place):
    now = int(time.time()) * SECOND // MINUTE * MINUTE
    place.rows.result(now, 0.8, 2)
    place.rows.slot(now - 2 * MINUTE, requests=4, rows=4, errors=3)
    columns, rows = place.table("list_endpoints")
    assert columns == [c.text for c in grafana.GrafanaModelEndpointsTable().columns]
    mine, router = [place.uid, "m", "serving", "m", "M", 3, 2, 100], [place.router, "r", "other", "r", "", 0, -1, 100]
    assert rows == [mine, router]
    assert place.table("list_endpoints", filter_router="true")[1] == [mine] == place.table("list_endpoints", function="serving")[1]
    assert place.table("list_endpoints", labels="team=x")[1] == [router] == place.table("list_endpoints", model="r")[1]
    assert place.table("list_endpoints", uids=f"{place.uid},{place.router}")[1] == rows
    assert place.table("list_endpoints", uids=place.uid.replace("a", "\\a"))[1] == [mine]


def test_features(place):
    assert place.table("individual_feature_analysis", endpoint_id=place.uid)[1] == []
    assert place.table("overall_feature_analysis", endpoint_id=place.uid)[1] == []
    place.api.put(f"/api/v1/projects/{place.project}/model-endpoints/{place.uid}/reference",
                  {"columns": {"a": [1, 2, 6], "b": ["x", "y", "y"]}})
    now = int(time.time()) * SECOND
    place.rows.statistic(now, "current_stats", {"a": {"count": 2, "min": 4, "mean": 5.5, "max": 7}})
    place.rows.statistic(now, "drift_measures", {"a": {"tvd": 0.25, "hellinger": 0.5, "kld": None}, "b": {"tvd": 0.5, "hellinger": 0.1, "kld": 2},
                                                 "tvd_mean": 0.375, "hellinger_mean": 0.3})
    columns, rows = place.table("individual_feature_analysis", endpoint_id=place.uid)
    assert columns == ["feature_name", "actual_min", "actual_mean", "actual_max", "expected_min", "expected_mean", "expected_max", "tvd",
                       "hellinger", "kld"]
    assert rows == [["a", 4, 5.5, 7, 1, 3, 6, 0.25, 0.5, None], ["b"] + [None] * 6 + [0.5, 0.1, 2]]
    columns, rows = place.table("overall_feature_analysis", endpoint_id=place.uid)
    assert columns == ["tvd_sum", "tvd_mean", "hellinger_sum", "hellinger_mean", "kld_sum", "kld_mean"]
    assert rows == [[0.75, 0.375, 0.6, 0.3, 2, None]]


def test_features_over_time(place):
    now = int(time.time()) * SECOND // MINUTE * MINUTE
    for i, stats in ((90, {"a": {"mean": 0}}), (3, {"a": {"mean": 1.5}, "b": {"count": 1}}), (2, {"b": {"mean": 7}}),
                     (1, {"a": {"mean": 2.5}, "b": {"mean": 8}, "c": {"count": 3}})):
        place.rows.statistic(now - i * MINUTE, "current_stats", stats)

    def series(**range_):
        body = {"targets": [{"target": f"target_endpoint=incoming_features;project={place.project};endpoint_id={place.uid}"}], **range_}
        answer = place.api.post(f"{BASE}/query", body)
        assert answer.status == 200, answer.text
        return {s["target"]: s["datapoints"] for s in answer.json}

    def ms(minutes):
        return (now - minutes * MINUTE) // 1000
    last_hour = {"a": [[1.5, ms(3)], [2.5, ms(1)]], "b": [[7, ms(2)], [8, ms(1)]]}
    assert series() == last_hour == series(rangeRaw={"from": "now-1h", "to": "now"})
    assert series(rangeRaw={"from": "now-2h", "to": "now"})["a"] == [[0, ms(90)], [1.5, ms(3)], [2.5, ms(1)]]
    iso = [datetime.datetime.fromtimestamp((now - m * MINUTE) / SECOND, datetime.timezone.utc).isoformat() for m in (5, 2)]
    assert series(range={"from": iso[0], "to": iso[1]}, rangeRaw={"from": "x"}) == {"b": [[7, ms(2)]]}
    assert series(range={"from": iso[1], "to": iso[0]}) == {}


@pytest.mark.parametrize("path, body, status, words", [
    ("search", {}, 400, "target"), ("search", {"target": "x"}, 400, "list_projects"), ("search", {"target": 1}, 400, "target"),
    ("search", {"target": "target_endpoint=list_endpoints"}, 400, "project="),
    ("search", {"target": "target_endpoint=list_endpoints;project=nobody"}, 404, "nobody"),
    ("search", {"target": "target_endpoint=list_endpoints;project=a'b"}, 400, "project"), ("query", {}, 400, "targets"),
    ("query", {"targets": []}, 400, "targets"), ("query", {"targets": [{}]}, 400, "targets[0].target"),
    ("query", {"targets": [{"target": "target_endpoint=list_endpoints;project=p"}] * 21}, 400, "targets"),
    ("query", {"targets": [{"target": "target_endpoint=none"}]}, 400, "incoming_features"),
    ("query", {"targets": [{"target": "target_endpoint=incoming_features;project=p"}], "range": {"from": "x"}}, 400, "range")])
def test_questions_that_are_not_right(api, path, body, status, words):
    answer = api.post(f"{BASE}/{path}", body)
    assert answer.status == status and words in answer.detail, answer.text
