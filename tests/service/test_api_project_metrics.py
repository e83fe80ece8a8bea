"""What is asked of a whole project's monitoring: metrics of several endpoints, drift over time, function summaries, deletion; on both
databases."""
import datetime
import time
import urllib.parse

import pytest
from api_server import SECOND, Api, Rows
from mlrun.common.schemas.model_monitoring import functions

MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR


@pytest.fixture(scope="module", params=["postgres", "sqlite"])
def api(request):
    with Api(backend=request.param) as server:
        yield server


def iso(us):
    return datetime.datetime.fromtimestamp(us / SECOND, datetime.timezone.utc).isoformat()


class Place:
    def __init__(self, api, n=2, **monitoring):
        self.api = api
        self.project = api.project(**dict({"base_period": "1m"}, **monitoring))
        self.base = f"/api/v1/projects/{self.project}/model-monitoring"
        self.uids = [api.endpoint(self.project, f"m{i}")["metadata"]["uid"] for i in range(n)]

    def rows(self, i, app="histogram-data-drift"):
        return Rows(self.api, self.project, self.uids[i], app)

    def get(self, path, **query):
        return self.api.get(f"{self.base}/{path}?" + urllib.parse.urlencode(query, doseq=True))

    def name(self, name, app="histogram-data-drift", kind=None):
        type = "metric" if kind is None else "result"
        return {"project": self.project, "app": app, "type": type, "name": name, "full_name": f"{self.project}.{app}.{type}.{name}",
                "kind": kind}


@pytest.fixture
def place(api):
    return Place(api)


def test_metrics_of_several_endpoints(place):
    end = 1_700_000_000 * SECOND
    for i in (0, 1):
        place.rows(i).result(end, 0.5, 1)
    place.rows(0).value(end, 0.4, "tvd_mean")
    drift, tvd = place.name("general_drift", kind=0), place.name("tvd_mean")
    invocations = place.name("invocations", "mlrun-infra")
    first, second = place.uids
    ask = {"endpoint-id": place.uids}
    assert place.get("metrics", **ask).json == {first: [drift, tvd, invocations], second: [drift, invocations]}
    assert place.get("metrics", type="results", **ask).json == {first: [drift], second: [drift]}
    assert place.get("metrics", **{"endpoint-id": [first, first]}).text.count(f'"{first}":') == 1
    both = dict(ask, **{"events-format": "intersection"})
    assert place.get("metrics", **both).json == {"intersect_metrics": [invocations], "intersect_results": [drift]}
    assert place.get("metrics", type="results", **both).json == {"intersect_results": [drift]}
    assert place.get("metrics", **dict(both, **{"endpoint-id": first})).json["intersect_metrics"] == [tvd, invocations]
    for query, status, words in (({}, 400, "endpoint-id"), ({"endpoint-id": "f" * 32}, 404, "f" * 32),
                                 (dict(ask, type="x"), 400, "type"), (dict(ask, **{"events-format": "single"}), 400, "events-format"),
                                 ({"endpoint-id": "a'b"}, 400, "endpoint id")):
        answer = place.get("metrics", **query)
        assert answer.status == status and words in answer.detail, answer.text


def test_drift_over_time(place):
    start = 1_700_006_400 * SECOND // DAY * DAY
    for i, minute, status in ((0, 10, 1), (0, 11, 2), (0, 12, 1), (1, 13, 1), (1, 20, 1), (1, 21, 0), (0, 90, 2)):
        place.rows(i).result(start + minute * MINUTE, 0.5, status)
    place.rows(0).result(start + 14 * MINUTE, 0.9, 2, name="other")
    place.rows(0).result(start - MINUTE, 0.9, 2)

    def bins(a, b):
        return place.get("drift-over-time", start=iso(a).replace("T", " "), end=iso(b).replace("T", " ")).json["values"]
    # the window that ends at minute 10 is of the step before it
    assert bins(start + 5 * MINUTE, start + 6 * HOUR) == [
        [iso(start), 1, 0], [iso(start + 10 * MINUTE), 1, 1], [iso(start + 80 * MINUTE), 0, 1]]
    assert bins(start, start + 7 * HOUR) == [[iso(start), 1, 1], [iso(start + HOUR), 0, 1]]
    assert bins(start, start + 4 * DAY) == [[iso(start), 1, 1]]
    assert bins(start + HOUR, start + HOUR + 20 * MINUTE) == []
    for query in ({"start": "2025-01-01"}, {"start": iso(start), "end": iso(start - 1)}, {"end": "x"}):
        assert place.get("drift-over-time", **query).status == 400


def test_summaries(api, place):
    now = int(time.time()) * SECOND // MINUTE * MINUTE
    for i, status in ((0, 2), (0, 1), (1, 1)):
        place.rows(i).result(now - i * MINUTE - status * HOUR, 0.6, status)
    place.rows(1).value(now - MINUTE, 0.25, "tvd_mean")
    place.rows(0).result(now - 25 * HOUR, 0.9, 2)
    api.sql("INSERT INTO ledger (pipeline, topic, partition, project_id, next_offset, end_offset, updated_us) "
            "SELECT 'app:histogram-data-drift', 't-' || name, 0, id, 7, 10, %s FROM projects WHERE name = %s", now + HOUR,
            place.project)
    api.sql("INSERT INTO ledger (pipeline, topic, partition, project_id, next_offset, end_offset, updated_us, stopped) "
            "SELECT 'writer', 't-' || name, 1, id, 7, 7, %s, 'lost' FROM projects WHERE name = %s", now + HOUR, place.project)
    listed = place.get("function-summaries").json
    assert [(s["type"], s["name"], s["status"]) for s in listed] == [
        ("infra", "model-monitoring-stream", None), ("infra", "model-monitoring-controller", None),
        ("infra", "model-monitoring-writer", "unhealthy"), ("application", "histogram-data-drift", "ready")]
    assert all(functions.FunctionSummary(**s).base_period == 1 and s["stats"] == {} for s in listed)
    drift = place.get("function-summaries", **{"include-stats": True, "include-infra": False}).json
    assert [s["application_class"] for s in drift] == ["HistogramDataDriftApplication"]
    counts = {"detected": 1, "potential_detection": 2, "processed_model_endpoints": 2}
    assert drift[0]["stats"] == dict(counts, stream_stats={"committed": 7, "lag": 3})
    one = place.get("function-summaries/histogram-data-drift", **{"include-latest-metrics": True}).json
    assert one["stats"]["stream_stats"] == {"0": {"committed": 7, "lag": 3}} and counts.items() <= one["stats"].items()
    assert one["stats"]["metrics"] == [
        {"type": "result", "time": iso(now - HOUR), "value": 0.6, "result_name": "general_drift", "kind": 0, "status": 1},
        {"type": "metric", "time": iso(now - MINUTE), "value": 0.25, "metric_name": "tvd_mean"}]
    assert place.get("function-summaries/nobody").status == 404
    earlier = place.get("function-summaries/histogram-data-drift", start=iso(now - 30 * HOUR), end=iso(now - 24 * HOUR)).json
    assert earlier["stats"]["detected"] == 1 and "metrics" not in earlier["stats"]


def test_summaries_of_what_was_deployed_and_of_what_was_switched_off(api):
    place = Place(api, base_period="10s")
    api.post(f"/api/v1/projects/{place.project}/nuclio/my-app/deploy", {"function": {
        "kind": "serving", "metadata": {"name": "my-app", "labels": {"mlrun__type": "mlrun__model-monitoring-application", "team": "x"}},
        "spec": {"graph": {"steps": {"PushToMonitoringWriter": {"after": ["Mine"]}}}}}})
    api.put(f"/api/v1/projects/{place.project}/apps/own", {"active": True})
    listed = {s["name"]: s for s in place.get("function-summaries", **{"include-infra": "False"}).json}
    assert {n: s["application_class"] for n, s in listed.items()} == {
        "histogram-data-drift": "HistogramDataDriftApplication", "my-app": "Mine", "own": "own"}
    assert {s["base_period"] for s in listed.values()} == {None}

    def names(**query):
        return [s["name"] for s in place.get("function-summaries", **query).json]
    assert names(label="team=x") == ["my-app"] == names(label=["mlrun__type", "team"]) and names(label="team=y") == []
    assert names(name=["own", "model-monitoring-writer"]) == ["model-monitoring-writer", "own"]
    api.delete(f"/api/v1/projects/{place.project}/model-monitoring/?delete_histogram_data_drift_app=True")
    assert names() == ["model-monitoring-stream", "my-app", "own"]


def test_what_an_application_reported_is_deleted(api, place):
    other = Place(api)
    now = int(time.time()) * SECOND // MINUTE * MINUTE
    for p in (place, other):
        for i in (0, 1):
            for day in (0, 1, 9):
                p.rows(i).result(now - day * DAY, 0.5, 1)
                p.rows(i, "mine").result(now - day * DAY, 0.5, 1, name="r")
                p.rows(i, "mine").statistic(now - day * DAY, "current_stats", {"a": 1})

    def left(table, app):
        of = "metric_id IN (SELECT m.id FROM metrics m JOIN apps a ON a.id = m.app_id WHERE a.name = %s)" if table == "results" else \
            "app_id IN (SELECT id FROM apps WHERE name = %s)"
        found = api.sql(f"SELECT e.uid, count(*) FROM {table} r JOIN endpoints e ON e.id = r.endpoint_id WHERE {of} GROUP BY e.uid", app)
        return {u: n for u, n in found if u in place.uids + other.uids}

    def delete(**query):
        return api.delete(f"{place.base}/metrics?" + urllib.parse.urlencode(query, doseq=True)).status
    assert delete(**{"application-name": "mine", "endpoint-id": place.uids[0]}) == 204
    assert left("results", "mine") == {u: 3 for u in place.uids[1:] + other.uids} == left("app_statistics", "mine")
    assert delete(**{"application-name": "mine"}) == 204 == delete(**{"application-name": "mine"})
    assert left("results", "mine") == {u: 3 for u in other.uids} == left("app_statistics", "mine")
    assert left("results", "histogram-data-drift") == {u: 3 for u in place.uids + other.uids}
    assert delete(**{"application-name": "nobody"}) == 204 and delete() == 400 == delete(**{"application-name": "a'b"})
    assert delete(**{"application-name": "mine", "endpoint-id": other.uids[0]}) == 404
    assert left("results", "mine") == {u: 3 for u in other.uids}


def test_the_address_of_the_stream(api, place):
    assert place.get("stream-pod-http-url").json == f"http://127.0.0.1:8080/{place.project}" == place.get("model-monitoring-url").json
    assert api.get("/api/v1/projects/nobody/model-monitoring/stream-pod-http-url").status == 404
