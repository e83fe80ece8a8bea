"""PUT and GET …/reference."""
import json
import math
import random

import numpy as np
import pytest
from api_server import Api


@pytest.fixture(scope="module")
def api():
    with Api() as server:
        yield server


@pytest.fixture
def where(api):
    project = api.project()
    uid = api.endpoint(project)["metadata"]["uid"]
    return f"/api/v1/projects/{project}/model-endpoints/{uid}/reference"


def put(api, where, body):
    answer = api.put(where, body)
    assert answer.status == 200, answer.text
    return answer.json


def test_rows(api, where):
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=500), rng.integers(0, 9, 500)
    rows = [[float(x), int(y), "u" if x > 0 else "v"] for x, y in zip(a, b)]
    answer = put(api, where, {"data": rows, "labels": ["b"], "columns": ["a", "b", "c"]})  # the members in any order
    assert answer == {"version": 1, "source": "api_rows", "features": 2, "labels": 1, "rows": 500}
    got = api.get(where).json
    assert got["version"] == 1 and got["source"] == "api_rows" and got["labels"] == ["b"]
    stats = got["feature_stats"]
    for name, column in (("a", a), ("b", b)):
        counts, edges = np.histogram(column, bins=20)
        assert stats[name]["hist"] == [counts.tolist(), edges.tolist()]
        assert math.isclose(stats[name]["mean"], column.mean(), rel_tol=1e-12) and stats[name]["count"] == 500
    assert stats["c"]["unique"] == 2 and stats["c"]["count"] == 500
    padded = api.get(where + "?padded=True").json["feature_stats"]["a"]["hist"]
    assert len(padded[0]) == 22 and len(padded[1]) == 23 and padded[1][0] == -1.7976931348623157e308


def test_columns_are_the_same_as_rows(api, where):
    put(api, where, {"columns": ["x", "y"], "data": [[1, "a"], [2.5, "b"], [None, None]]})
    first = api.get(where).json
    assert put(api, where, {"columns": {"x": [1, 2.5, None], "y": ["a", "b", None]}})["version"] == 1
    assert api.get(where).json == first


def test_history(api, where):
    assert api.get(where + "/versions").json == {"versions": []}
    put(api, where, {"columns": {"a": [1, 2]}})
    put(api, where, {"feature_stats": {"a": {"count": 2, "hist": [[1, 1], [1, 1.5, 2]]}}})
    versions = api.get(where + "/versions").json["versions"]
    assert [(v["version"], v["source"]) for v in versions] == [(1, "api_rows"), (2, "api_statistics")]
    assert versions[0]["created"] < versions[1]["created"] and versions == api.get(where).json["versions"]
    assert api.get(where.replace("/model-endpoints/", "/model-endpoints/0") + "/versions").status == 404


def test_versions(api, where):
    assert put(api, where, {"columns": {"a": [1, 2]}})["version"] == 1
    assert put(api, where, {"columns": {"a": [1, 3]}})["version"] == 2
    assert put(api, where, {"columns": {"a": [1, 3]}})["version"] == 2  # the same once more
    got = api.get(where).json
    assert got["version"] == 2 and sorted(v["version"] for v in got["versions"]) == [1, 2]
    assert api.get(where + "?version=1").json["feature_stats"]["a"]["max"] == 2
    assert api.get(where + "?version=3").status == 404
    for wrong in ("0", "-1", "x", "99999999999"):
        assert api.get(where + f"?version={wrong}").status == 400


def test_statistics(api, where):
    stats = {"f (x)": {"count": 6.0, "mean": 2.0, "std": 1.0, "min": 0.0, "max": 4.0, "hist": [[1, 2, 3], [0, 1, 2, 4]]},
             "text": {"count": 3, "unique": 2, "top": "a", "freq": 2}, "y": {"count": 2, "hist": [[1, 1], [0, 1, 2]]}}
    assert put(api, where, {"feature_stats": stats, "labels": ["y"]}) == \
        {"version": 1, "source": "api_statistics", "features": 2, "labels": 1}
    got = api.get(where).json["feature_stats"]
    assert got["f (x)"]["hist"] == stats["f (x)"]["hist"] and got["text"]["top"] == "a"
    big = 1.7976931348623157e308
    padded = {"f (x)": dict(stats["f (x)"], hist=[[0, 1, 2, 3, 0], [-big, 0, 1, 2, 4, big]])}
    assert put(api, where, {"feature_stats": padded})["version"] == 2


def test_values_that_are_not_finite_or_of_mixed_types(api, where):
    body = '{"columns": ["a", "b", "c", "d"], "data": [[NaN, true, "x", null], [1, false, "y", null], ' \
           '[Infinity, true, 3, null], [-Infinity, true, "x", null], [2, null, null, null]]}'
    assert put(api, where, body)["rows"] == 5
    stats = api.get(where).json["feature_stats"]
    assert set(stats) == {"a", "b", "c", "d"}
    assert sum(stats["a"]["hist"][0]) == 2 and sum(stats["b"]["hist"][0]) == 4


def test_its_names_become_the_schema_if_nothing_else_did(api):
    project = api.project()
    made = api.endpoint(project, "m")
    where = f"/api/v1/projects/{project}/model-endpoints/{made['metadata']['uid']}/reference"
    put(api, where, {"columns": ["a b", "y", "c"], "data": [[1, 2, 3]], "labels": ["y"]})
    spec = api.get(f"/api/v1/projects/{project}/model-endpoints/m").json["spec"]
    assert spec["feature_names"] == ["a_b", "c"] and spec["label_names"] == ["y"]
    named = api.endpoint(project, "n", spec={"feature_names": ["p", "q"]})
    where = f"/api/v1/projects/{project}/model-endpoints/{named['metadata']['uid']}/reference"
    put(api, where, {"columns": {"q": [1], "p": [2]}})
    assert api.get(f"/api/v1/projects/{project}/model-endpoints/n").json["spec"]["feature_names"] == ["p", "q"]


@pytest.mark.parametrize("body, words", [
    ({}, "either columns"), ({"columns": ["a"]}, "data"), ({"data": [[1]]}, "columns"), ({"columns": []}, "columns"),
    ({"columns": [], "data": []}, "columns"), ({"columns": ["a"], "data": []}, "data: there are no rows"),
    ({"columns": {}}, "columns"), ({"columns": {"a": []}}, "no rows"),
    ({"columns": ["a", "b"], "data": [[1, 2], [3]]}, "data[1]: 1 values, but there are 2 columns"),
    ({"columns": ["a", "b"], "data": [[1, 2], [3, 4, 5]]}, "data[1]: 3 values"),
    ({"columns": ["a", "b"], "data": [[1, 2], {"a": 1}]}, "data[1]"), ({"columns": ["a"], "data": "x"}, "data"),
    ({"columns": ["a", 5], "data": [[1, 2]]}, "columns[1]"), ({"columns": ["a", "a"], "data": [[1, 2]]}, "columns[1]"),
    ({"columns": ["a", ""], "data": [[1, 2]]}, "columns[1]"), ({"columns": {"a": [1, 2], "b": [1]}}, "columns.b: 1 values"),
    ({"columns": {"a": 5}}, "columns.a"), ({"columns": 5}, "columns"), ({"columns": {"a": [1]}, "data": [[1]]}, "data"),
    ({"columns": {"a": [1]}, "labels": ["b"]}, "labels[0]: there is no column b"),
    ({"columns": {"a": [1]}, "labels": "a"}, "labels"), ({"columns": {"a": [1]}, "labels": [1]}, "labels[0]"),
    ({"columns": {"a": [1]}, "feature_stats": {"a": {}}}, "either columns"), ({"rows": []}, "rows: unknown"),
    ({"feature_stats": {}}, "feature_stats"), ({"feature_stats": []}, "feature_stats"),
    ({"feature_stats": {"a": 5}}, "feature_stats"), ({"feature_stats": {"a": {"hist": [[1], [1]]}}}, "a"),
    ({"feature_stats": {"a": {"hist": [[1], [2, 1]]}}}, "a"), ({"feature_stats": {"a": {"hist": [["x"], [1, 2]]}}}, "a"),
    ('{"columns": {"a": [1,]}}', "columns.a"), ('{"columns": {"a": [1e999]}}', "columns.a"), ('{"columns": {"a": [1', "byte"),
    ("[]", ""), ("", ""), ("null", ""), (b'{"columns": {"\xff": [1]}}', ""), ('{"columns": {"a": [1], "a": [2]}}', "")])
def test_references_that_are_not_right(api, where, body, words):
    answer = api.put(where, body)
    assert answer.status == 400 and words in answer.detail, answer.text
    assert api.get(where).status == 404  # nothing was stored


def test_what_does_not_fit_the_endpoints_columns_is_said(api):
    project = api.project()
    uid = api.endpoint(project, "n", spec={"feature_names": ["age", "city"], "label_names": ["bought"]})["metadata"]["uid"]
    where = f"/api/v1/projects/{project}/model-endpoints/{uid}/reference"
    answer = put(api, where, {"columns": {"age": [1, 2], "town": ["a", "b"], "bought": [0, 1]}, "labels": ["bought"]})
    assert answer["version"] == 1 and len(answer["warnings"]) == 2
    assert answer["warnings"][0].startswith("column town is not") and answer["warnings"][0].endswith("age, city, bought")
    assert "column city is not in this reference" in answer["warnings"][1]
    assert answer["warnings"][1].endswith("age, town, bought")
    fits = put(api, where, {"columns": {"age": [1, 2], "city": ["a", "b"], "bought": [0, 1]}, "labels": ["bought"]})
    assert fits["version"] == 2 and "warnings" not in fits
    many = put(api, where, {"columns": {f"c{i}": [1] for i in range(100)}})
    assert len(many["warnings"]) == 20 and all(len(w) < 400 for w in many["warnings"])


@pytest.mark.parametrize("body, place", [
    ({"columns": ["a", "b"], "data": [[1, [2]]]}, "data[0][1]: "), ({"columns": ["a", "b"], "data": [[1, 2], [{"x": 1}, 2]]}, "data[1][0]: "),
    ({"columns": {"a": [1, 2, []]}}, "columns.a[2]: "), ({"columns": {"a": [{}]}}, "columns.a[0]: ")])
def test_a_cell_is_no_array_and_no_object(api, where, body, place):
    answer = api.put(where, body)
    assert answer.status == 400 and answer.detail.startswith(place) and "not an array or an object" in answer.detail, answer.text
    assert api.get(where).status == 404


def test_a_position_is_that_in_the_body(api, where):
    body = '{"labels": [], "data": [[1], [oops]], "columns": ["a"]}'
    answer = api.put(where, body)
    assert answer.status == 400 and f"byte {body.index('oops')}" in answer.detail, answer.text


def test_a_hundred_thousand_values(api, where):
    random.seed(5)
    columns = {f"c{i}": [random.random() for _ in range(5000)] for i in range(20)}
    assert put(api, where, {"columns": columns})["rows"] == 5000
    stats = api.get(where).json["feature_stats"]
    assert stats["c7"]["hist"] == [x.tolist() for x in np.histogram(columns["c7"], bins=20)]


def test_more_than_the_body_may_have(api, where):
    body = json.dumps({"columns": {"a": [0.123456789012345] * 600_000}})
    assert len(body) > 8 << 20
    try:
        answer = api.put(where, body)
        assert answer.status == 413
        assert answer.detail == "the body is longer than HTTP_BODY_MAX (8 MiB): raise it, send fewer rows, or feature_stats"
    except (BrokenPipeError, ConnectionResetError):
        pass
    assert api.get(where).status == 404


def test_hostile_names_of_columns(api, where):
    names = ["'; DROP TABLE endpoints; --", "<script>alert(1)</script>", "a/b", "日本", "x\u202ey", "%s%n", "a.b[0]", "\\"]
    put(api, where, {"columns": {name: [1, 2] for name in names}})
    assert list(api.get(where).json["feature_stats"]) == names
