"""metrics and metrics-values in MLRun's forms, and what ours has besides; on both databases."""
import datetime
import math
import time
import urllib.parse

import numpy
import pytest
from api_server import SECOND, Api, Rows
from mlrun.common.schemas.model_monitoring import model_endpoints as forms

MINUTE = 60 * SECOND
HOUR = 3600 * SECOND


@pytest.fixture(scope="module", params=["postgres", "sqlite"])
def api(request):
    with Api(backend=request.param) as server:
        yield server


class Place:
    def __init__(self, api):
        self.api = api
        self.project = api.project(base_period="1m")
        self.uid = api.endpoint(self.project)["metadata"]["uid"]
        self.base = f"/api/v1/projects/{self.project}/model-endpoints/{self.uid}"
        self.rows = Rows(api, self.project, self.uid)

    def fqn(self, name, kind="result", app="histogram-data-drift"):
        return f"{self.project}.{app}.{kind}.{name}"

    def values(self, *names, **query):
        query = {k: iso(v) if k in ("start", "end") and isinstance(v, int) else v for k, v in query.items()}
        return self.api.get(f"{self.base}/metrics-values?" + urllib.parse.urlencode(dict(query, name=names), doseq=True))


@pytest.fixture
def place(api):
    return Place(api)


def iso(us):
    return datetime.datetime.fromtimestamp(us / SECOND, datetime.timezone.utc).isoformat()


def test_names(api, place):
    end = 1_700_000_000 * SECOND
    place.rows.result(end, 0.5, 1)
    place.rows.value(end, 0.4, "tvd_mean")
    place.rows.value(end, 0.6, "hellinger_mean")
    invocations = {"project": place.project, "app": "mlrun-infra", "type": "metric", "name": "invocations",
                   "full_name": f"{place.project}.mlrun-infra.metric.invocations", "kind": None}
    result = {"project": place.project, "app": "histogram-data-drift", "type": "result", "name": "general_drift",
              "full_name": place.fqn("general_drift"), "kind": 0}
    everything = api.get(f"{place.base}/metrics").json
    assert everything[0] == result and everything[-1] == invocations
    assert sorted(m["name"] for m in everything[1:-1]) == ["hellinger_mean", "tvd_mean"]
    assert api.get(f"{place.base}/metrics?type=results").json == [result]
    metrics = api.get(f"{place.base}/metrics?type=metrics").json
    assert [m["type"] for m in metrics] == ["metric"] * 3 and metrics[-1] == invocations
    for m in everything:  # as the client reads them
        assert forms.ModelEndpointMonitoringMetric.parse_obj(m).full_name == m["full_name"]
    assert api.get(f"{place.base}/metrics?type=drift").status == 400


def test_values(api, place):
    end = 1_700_000_040 * SECOND
    for i, (value, status) in enumerate([(0.1, 0), (0.55, 1), (0.8, 2)]):
        place.rows.result(end + i * MINUTE, value, status, extra='{"samples":5}')
        place.rows.value(end + i * MINUTE, value / 2, "tvd_mean")
    place.rows.result(end, 0.2, 0, name="prediction_drift")
    answer = place.values(place.fqn("general_drift"), place.fqn("tvd_mean", "metric"), place.fqn("nothing"),
                          place.fqn("kld_mean", "metric"), start=end - HOUR, end=end + HOUR).json
    assert answer[0] == {"full_name": place.fqn("general_drift"), "type": "result", "data": True, "result_kind": 0, "values": [
        [iso(end), 0.1, 0, '{"samples":5}'], [iso(end + MINUTE), 0.55, 1, '{"samples":5}'],
        [iso(end + 2 * MINUTE), 0.8, 2, '{"samples":5}']]}
    assert answer[1] == {"full_name": place.fqn("tvd_mean", "metric"), "type": "metric", "data": True,
                         "values": [[iso(end), 0.05], [iso(end + MINUTE), 0.275], [iso(end + 2 * MINUTE), 0.4]]}
    assert answer[2] == {"full_name": place.fqn("nothing"), "type": "result", "data": False}
    assert answer[3] == {"full_name": place.fqn("kld_mean", "metric"), "type": "metric", "data": False}
    read = forms.ModelEndpointMonitoringResultValues.parse_obj(answer[0])
    assert read.values[2].value == 0.8 and read.values[2].status == 2
    assert forms.ModelEndpointMonitoringMetricValues.parse_obj(answer[1]).values[0].timestamp.utcoffset() is not None
    forms.ModelEndpointMonitoringMetricNoData.parse_obj(answer[2])
    part = place.values(place.fqn("general_drift"), start=end + MINUTE, end=end + MINUTE + SECOND).json
    assert [v[1] for v in part[0]["values"]] == [0.55]


def test_the_last_day_unless_said(api, place):
    now = int(time.time()) * SECOND
    place.rows.result(now - HOUR, 0.3, 0)
    place.rows.result(now - 25 * HOUR, 0.9, 2)
    assert [v[1] for v in place.values(place.fqn("general_drift")).json[0]["values"]] == [0.3]
    both = place.values(place.fqn("general_drift"), start=now - 30 * HOUR).json[0]["values"]
    assert [v[1] for v in both] == [0.9, 0.3]
    before = place.values(place.fqn("general_drift"), end=now - 20 * HOUR).json[0]["values"]
    assert [v[1] for v in before] == [0.9]


def test_values_that_are_no_numbers(api, place):
    end = 1_700_000_000 * SECOND
    place.rows.result(end, float("nan"), -1)
    place.rows.result(end + MINUTE, float("inf"), 2)
    answer = place.values(place.fqn("general_drift"), start=end - HOUR, end=end + HOUR)
    assert [v[1:3] for v in answer.json[0]["values"]] == [[None, -1], [None, 2]]


def test_invocations_are_on_a_grid_of_ten_minutes(api, place):
    start = 1_700_000_000 * SECOND // (10 * MINUTE) * (10 * MINUTE)
    for minute, estimated in ((0, 3.0), (1, 4.5), (9, 1.0), (10, 2.0), (35, 8.0)):
        place.rows.slot(start + minute * MINUTE, estimated=estimated)
    name = place.fqn("invocations", "metric", "mlrun-infra")
    answer = place.values(name, start=start + 3 * MINUTE, end=start + HOUR).json
    assert answer == [{"full_name": name, "type": "metric", "data": True, "values": [
        [iso(start), 8.5], [iso(start + 10 * MINUTE), 2.0], [iso(start + 30 * MINUTE), 8.0]]}]
    forms.ModelEndpointMonitoringMetricValues.parse_obj(answer[0])
    assert place.values(name, start=start - HOUR, end=start - MINUTE * 10).json == \
        [{"full_name": name, "type": "metric", "data": False}]


@pytest.mark.parametrize("query, words", [
    ("", "name"), ("name=", "name"), ("name=x", "name"), ("name=a.b.c", "name"), ("name={p}.app.other.x", "name"),
    ("name=other.histogram-data-drift.result.general_drift", "does not belong to the project"),
    ("name={p}.a.result.b&start=2025-01-01T00:00:00", "start"), ("name={p}.a.result.b&end=2025-01-01", "end"),
    ("name={p}.a.result.b&start=2025-01-02T00:00:00Z&end=2025-01-01T00:00:00Z", "after end"),
    ("name={p}.a.result.b&start=yesterday", "start"), ("name={p}.a.result.b&start=2000-01-01T00:00:00Z", "400 days"),
    ("name={p}.a.result.b%27%3B--", "name"), ("&".join(["name={p}.a.result.b"] * 101), "at most 100")])
def test_queries_that_are_not_right(api, place, query, words):
    answer = api.get(f"{place.base}/metrics-values?" + query.replace("{p}", place.project))
    assert answer.status == 400 and words in answer.detail, answer.text


def test_an_endpoint_that_is_not_there(api, place):
    for rest in ("metrics", f"metrics-values?name={place.fqn('general_drift')}"):
        assert api.get(f"/api/v1/projects/{place.project}/model-endpoints/{'f' * 32}/{rest}").status == 404
        assert api.get(f"/api/v1/projects/{place.project}/model-endpoints/a%27b/{rest}").status == 400


# ---- besides MLRun's answer ----
def one(place, name="general_drift", kind="result", app="histogram-data-drift", **query):
    got, = place.values(place.fqn(name, kind, app), **query).json
    return got


@pytest.fixture
def series(place):
    """Forty values, the eighth of them no number; gives (end of the first, values)."""
    place.first = 1_700_000_040 * SECOND
    values = [math.sin(i) + i / 10 for i in range(40)]
    values[7] = float("nan")
    for i, v in enumerate(values):
        place.rows.result(place.first + i * MINUTE, v, i % 3, extra='{"potential":0.5,"detected":%s}' % (0.7 if i < 39 else 0.25))
    place.all = {"start": place.first - MINUTE, "end": place.first + HOUR}
    return values


def test_a_histogram_is_of_all_values_as_numpy_counts_them(place, series):
    finite = numpy.array([v for v in series if not math.isnan(v)])
    for bins in (1, 7, 20, 200, None):
        asked = {} if bins is None else {"bins": bins}
        got = one(place, **place.all, histogram=True, max_points=4, **asked)["histogram"]
        counts, edges = numpy.histogram(finite, bins=bins or 20)
        assert got["counts"] == counts.tolist() and got["edges"] == pytest.approx(edges.tolist(), abs=1e-12) and got["n"] == 39
    assert [got[k] for k in ("mean", "std", "min", "p50", "p95", "max")] == pytest.approx([
        finite.mean(), finite.std(ddof=1), finite.min(), numpy.percentile(finite, 50), numpy.percentile(finite, 95), finite.max()])
    auto = one(place, **place.all, histogram=True, bins="auto")["histogram"]
    assert auto["edges"] == pytest.approx(numpy.histogram_bin_edges(finite, bins="fd").tolist())
    some = one(place, start=place.first + 7 * MINUTE, end=place.first + 7 * MINUTE, histogram=True)
    assert some["histogram"] == {"n": 0} and some["values"][0][1] is None
    lone = one(place, start=place.first, end=place.first, histogram=True, bins=2)["histogram"]
    assert lone["edges"] == [-0.5, 0.0, 0.5] and lone["counts"] == [0, 1] and lone["std"] == 0


def test_fewer_points_keep_the_extremes(place, series):
    whole = one(place, **place.all)
    assert "points" not in whole and len(whole["values"]) == 40
    for most in (2, 3, 10, 39):
        got = one(place, **place.all, max_points=most)
        kept = got["values"]
        assert got["points"] == 40 and len(kept) <= most and all(v in whole["values"] for v in kept)
        assert [v[0] for v in kept] == sorted(v[0] for v in kept)
        assert max((v[2], v[1]) for v in kept) == max((v[2], v[1]) for v in whole["values"] if v[1] is not None)
    assert one(place, **place.all, max_points=40)["values"] == whole["values"]


def test_thresholds_are_those_of_the_newest_value(place, series):
    assert one(place, **place.all, thresholds=True)["thresholds"] == {"potential": 0.5, "detected": 0.25, "direction": "below"}
    before = one(place, start=place.first, end=place.first + MINUTE, thresholds=True)
    assert before["thresholds"] == {"potential": 0.5, "detected": 0.7, "direction": "above"}
    place.rows.value(place.first, 0.5, "tvd_mean")
    assert one(place, "tvd_mean", "metric", **place.all, thresholds=True)["thresholds"] is None
    assert one(place, "none", **place.all, thresholds=True) == {
        "full_name": place.fqn("none"), "type": "result", "data": False, "thresholds": None}


@pytest.mark.parametrize("compare, back", [("day", 24 * HOUR), ("week", 7 * 24 * HOUR), ("previous", HOUR)])
def test_values_of_an_earlier_time_beside(place, compare, back):
    end = 1_700_006_400 * SECOND
    place.rows.result(end, 0.8, 2)
    place.rows.result(end - back, 0.3, 0)
    place.rows.slot(end - back - 30 * MINUTE, estimated=5.0)
    asked = {"start": end - HOUR + 1 * SECOND, "end": end + SECOND, "compare": compare}
    got = one(place, **asked)
    shift = back if compare != "previous" else asked["end"] - asked["start"]
    assert [v[1] for v in got["values"]] == [0.8] and got["compare"]["end"] == iso(asked["end"] - shift)
    assert [v[:3] for v in got["compare"]["values"]] == [[iso(end - back), 0.3, 0]]
    calls = one(place, "invocations", "metric", "mlrun-infra", **asked)
    assert calls["data"] is False and calls["compare"]["values"] == [[iso((end - back - 30 * MINUTE) // (10 * MINUTE) * 10 * MINUTE), 5.0]]
    assert "compare" not in one(place, **dict(asked, compare="none"))


@pytest.mark.parametrize("query, words", [("thresholds=x", "thresholds"), ("histogram=2", "histogram"), ("bins=0", "bins"), ("bins=201", "bins"),
                                          ("max_points=1", "max_points"), ("max_points=x", "max_points"), ("compare=never", "compare")])
def test_extras_that_are_not_right(api, place, query, words):
    answer = api.get(f"{place.base}/metrics-values?name={place.project}.a.result.b&{query}")
    assert answer.status == 400 and words in answer.detail, answer.text
