"""The five model-endpoints routes, in MLRun's forms."""
import concurrent.futures
import copy
import json
import os
import re
import urllib.parse

import pytest
from api_server import DAY, ROOT, SECOND, Api, Rows, record

UID = re.compile("[0-9a-f]{32}")


@pytest.fixture(scope="module")
def api():
    with Api() as server:
        yield server


@pytest.fixture
def project(api):
    return api.project(base_period="1m")


def path(project, rest="", **query):
    words = urllib.parse.urlencode({k.replace("_", "-"): v for k, v in query.items()}, doseq=True)
    return f"/api/v1/projects/{project}/model-endpoints{rest}" + (f"?{words}" if words else "")


def names(api, project, **query):
    answer = api.get(path(project, **query))
    assert answer.status == 200, answer.text
    return sorted(e["metadata"]["name"] for e in answer.json["endpoints"])


# --- the client's own requests, byte by byte ---
with open(os.path.join(ROOT, "tests/vectors/client_requests.json")) as vectors:
    CAPTURED = {call["call"]: call["requests"] for call in json.load(vectors)}


def replay(api, call):
    sent = CAPTURED[call][0]
    query = f"?{sent['raw_query']}" if sent["raw_query"] else ""
    body = None if sent["body"] is None else json.dumps(sent["body"])
    return api.request(sent["method"], sent["path"] + query, body, dict(sent["headers"], Accept="*/*"))


def test_replay_of_what_the_client_sends(api):
    api.put("/api/v1/projects/my-proj", "{}")
    made = replay(api, "create_model_endpoint")
    assert made.status == 201
    uid = made.json["metadata"]["uid"]
    assert UID.fullmatch(uid) and made.json["metadata"]["mode"] == 0
    captured = CAPTURED["get_model_endpoint"][0]["query"]["endpoint-id"][0]
    api.sql("UPDATE endpoints SET uid = %s WHERE uid = %s", captured, uid)  # the captured calls name this one
    listed = replay(api, "list_model_endpoints")
    assert listed.status == 200 and [e["metadata"]["uid"] for e in listed.json["endpoints"]] == [captured]
    assert replay(api, "list_model_endpoints_filters").json == {"endpoints": []}
    one = replay(api, "get_model_endpoint")
    assert one.status == 200 and one.json["spec"]["function_name"] == "serving"
    by_function = replay(api, "get_model_endpoint_fn")
    assert by_function.status == 200 and by_function.json["metadata"]["uid"] == captured
    patched = replay(api, "patch_model_endpoint")
    assert patched.status == 200 and patched.json == captured
    after = replay(api, "get_model_endpoint").json
    assert after["spec"]["feature_names"] == ["a"]
    assert after["status"]["first_request"] == "2025-01-01T00:00:00+00:00"
    assert after["status"]["monitoring_mode"] == "enabled"  # in the body, but not named
    metrics = replay(api, "get_model_endpoint_monitoring_metrics")
    assert metrics.json == [{"project": "my-proj", "app": "mlrun-infra", "type": "metric", "name": "invocations",
                             "full_name": "my-proj.mlrun-infra.metric.invocations", "kind": None}]
    assert replay(api, "get_or_create_project").json["metadata"]["name"] == "my-proj"
    deleted = replay(api, "delete_model_endpoint")
    assert deleted.status == 204 and deleted.body == b""
    assert replay(api, "get_model_endpoint").status == 404


# --- create ---
def test_a_record_has_every_field_of_mlruns(api, project):
    made = api.endpoint(project, spec={"model_tags": ["v1"], "children": ["c"], "model_path": "store://x",
                                       "feature_names": ["a (b)", "c d"], "label_names": ["y"]},
                        metadata={"labels": {"team": "x", "n": 3}}, status={"state": "ready", "sampling_percentage": 12.5})
    assert set(made) == {"kind", "metadata", "spec", "status"} and made["kind"] == "model-endpoint"
    assert set(made["metadata"]) == {"name", "project", "tag", "labels", "updated", "created", "uid", "endpoint_type", "mode"}
    assert set(made["spec"]) == {"model_class", "function_name", "function_tag", "model_path", "model_name", "model_tags",
                                 "feature_names", "label_names", "feature_stats", "function_uri", "model_uri", "children",
                                 "children_uids", "monitoring_feature_set_uri"}
    assert set(made["status"]) == {"state", "first_request", "monitoring_mode", "sampling_percentage", "last_request",
                                   "result_status", "avg_latency", "error_count", "current_stats", "current_stats_timestamp",
                                   "drift_measures", "drift_measures_timestamp"}
    assert made["metadata"]["labels"] == {"team": "x", "n": 3} and made["spec"]["model_tags"] == ["v1"]
    assert made["spec"]["feature_names"] == ["a (b)", "c d"] and made["spec"]["label_names"] == ["y"]
    assert made["status"]["state"] == "ready" and made["status"]["sampling_percentage"] == 12.5
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?\+00:00", made["metadata"]["created"])
    assert api.get(path(project, "/m", tsdb_metrics=False)).json == made
    schema = api.sql("SELECT s.document, s.named FROM endpoint_schemas s JOIN endpoints e ON e.id = s.endpoint_id "
                     "WHERE e.uid = %s", made["metadata"]["uid"])
    assert len(schema) == 1 and schema[0][1] is True
    assert [c["name"] for c in json.loads(schema[0][0])["features"]] == ["a_b", "c_d"]
    assert [c["name"] for c in json.loads(schema[0][0])["labels"]] == ["y"]


@pytest.mark.parametrize("kind, mode, stored", [(1, None, 0), (2, None, 0), (4, None, 2), (5, None, 0), (4, 1, 1), (1, 0, 0)])
def test_the_server_fills_in_the_mode(api, project, kind, mode, stored):
    made = api.endpoint(project, metadata={"endpoint_type": kind, "mode": mode})
    assert made["metadata"]["mode"] == stored and made["metadata"]["endpoint_type"] == kind
    assert names(api, project, mode=stored) == ["m"] and names(api, project, mode=[m for m in (0, 1, 2) if m != stored]) == []


def test_strategies(api, project):
    first = api.endpoint(project, spec={"model_class": "A", "feature_names": ["x"]})
    uid = first["metadata"]["uid"]
    api.sql("UPDATE endpoints SET first_request_us = 1000000 WHERE uid = %s", uid)
    second = api.endpoint(project, spec={"model_class": "B"})
    assert second["metadata"]["uid"] == uid and second["spec"]["model_class"] == "B"
    assert second["spec"]["feature_names"] == ["x"] and second["status"]["first_request"] == "1970-01-01T00:00:01+00:00"
    third = api.endpoint(project, strategy="archive")
    assert third["metadata"]["uid"] != uid
    assert len(names(api, project)) == 2 and len(names(api, project, latest_only=True)) == 1
    assert api.get(path(project, "/m", function_name="serving", function_tag="latest")).json["metadata"]["uid"] == \
        third["metadata"]["uid"]
    assert api.get(path(project, "/m", endpoint_id=uid)).json["metadata"]["uid"] == uid
    fourth = api.endpoint(project, strategy="overwrite")
    left = {e["metadata"]["uid"] for e in api.get(path(project)).json["endpoints"]}
    assert left == {uid, fourth["metadata"]["uid"]}
    for _ in range(8):
        api.endpoint(project, strategy="archive")
    assert len(names(api, project)) == 5  # five records a name
    assert api.endpoint(project, strategy="skip")["metadata"]["uid"] in \
        [e["metadata"]["uid"] for e in api.get(path(project, latest_only=True)).json["endpoints"]]
    other = api.endpoint(project, spec={"function_tag": "canary"})
    assert other["metadata"]["uid"] not in left and names(api, project, function_tag="canary") == ["m"]


def test_a_function_without_a_tag_is_latest(api, project):
    made = api.endpoint(project, spec={"function_name": "f", "function_tag": None})
    assert made["spec"]["function_tag"] == "latest"
    assert api.endpoint(project, spec={"function_name": "f", "function_tag": ""})["metadata"]["uid"] == made["metadata"]["uid"]


def test_a_given_uid_is_kept_and_is_nobody_elses(api, project):
    made = api.endpoint(project, "a", metadata={"uid": "My-uid_1"})
    assert made["metadata"]["uid"] == "My-uid_1"
    answer = api.post(path(project, creation_strategy="archive"), record(project, "b", metadata={"uid": "My-uid_1"}))
    assert answer.status == 409 and "My-uid_1" in answer.detail


@pytest.mark.parametrize("change, field", [
    ({"metadata": {"name": None}}, "metadata.name"), ({"metadata": {"name": ""}}, "metadata.name"),
    ({"metadata": {"name": 5}}, "metadata.name"), ({"metadata": {"name": "a/b"}}, "metadata.name"),
    ({"metadata": {"name": "x" * 256}}, "metadata.name"), ({"metadata": {"name": "a\nb"}}, "metadata.name"),
    ({"metadata": {"project": "other"}}, "metadata.project"), ({"metadata": {"uid": "a b"}}, "metadata.uid"),
    ({"metadata": {"uid": "x" * 65}}, "metadata.uid"), ({"metadata": {"endpoint_type": 6}}, "metadata.endpoint_type"),
    ({"metadata": {"endpoint_type": "1"}}, "metadata.endpoint_type"), ({"metadata": {"mode": 3}}, "metadata.mode"),
    ({"metadata": {"labels": ["a"]}}, "metadata.labels"), ({"metadata": {"labels": {"a": {}}}}, "metadata.labels.a"),
    ({"spec": {"feature_names": "a"}}, "spec.feature_names"), ({"spec": {"feature_names": ["a", 1]}}, "spec.feature_names[1]"),
    ({"spec": {"feature_names": ["a", ""]}}, "spec.feature_names[1]"), ({"spec": {"model_class": 1}}, "spec.model_class"),
    ({"spec": {"model_class": "x" * 5000}}, "spec.model_class"),
    ({"spec": {"feature_stats": {"a": {"count": 2, "hist": [[1, 1], [0, 1]]}}}}, "spec.feature_stats"),
    ({"spec": {"feature_stats": {"a": {"count": 2, "hist": [[-1, 1], [0, 1, 2]]}}}}, "spec.feature_stats"),
    ({"status": {"monitoring_mode": "on"}}, "status.monitoring_mode"),
    ({"status": {"sampling_percentage": 0}}, "status.sampling_percentage"),
    ({"status": {"sampling_percentage": 101}}, "status.sampling_percentage"),
    ({"status": {"first_request": "yesterday"}}, "status.first_request")])
def test_records_that_are_not_right(api, project, change, field):
    body = record(project)
    for part, values in change.items():
        body[part].update(values)
    answer = api.post(path(project), body)
    assert answer.status == 400 and field in answer.detail, answer.text
    assert names(api, project) == []


@pytest.mark.parametrize("left_out", [("status",), ("spec",), ("spec", "status")])
@pytest.mark.parametrize("null", [False, True])
def test_a_part_that_is_not_there_has_its_defaults(api, project, left_out, null):
    body = record(project)
    for part in left_out:
        body[part] = None
        if not null:
            del body[part]
    answer = api.post(path(project), body)
    assert answer.status == 201, answer.text
    made = api.get(path(project, "/m")).json
    if "status" in left_out:
        assert made["status"]["monitoring_mode"] == "enabled" and made["status"]["sampling_percentage"] == 100
    if "spec" in left_out:
        assert made["spec"]["feature_names"] == [] and made["spec"]["function_name"] in ("", None)


def test_disabled_is_kept(api, project):
    assert api.endpoint(project, status={"monitoring_mode": "disabled"})["status"]["monitoring_mode"] == "disabled"
    body = record(project, "other")
    del body["status"]["monitoring_mode"]
    assert api.post(path(project), body).json["status"]["monitoring_mode"] == "enabled"


def test_what_is_missing_is_named(api, project):
    for body, field in (({}, "metadata"), ({"metadata": {}}, "metadata.name"), ({"metadata": {"name": "m"}}, "metadata.project"),
                        ({"metadata": {"name": "m", "project": project}, "spec": 5}, "spec:"),
                        ({"metadata": {"name": "m", "project": project}, "status": "on"}, "status:")):
        answer = api.post(path(project), body)
        assert answer.status == 400 and answer.detail.startswith(field), answer.text


def test_a_patch_by_hand(api, project):
    api.endpoint(project)
    body = {"metadata": {"name": "m", "project": project}, "status": {"monitoring_mode": "disabled"}}
    assert api.patch(path(project, attribute_key="monitoring_mode"), body).status == 200
    assert api.get(path(project, "/m")).json["status"]["monitoring_mode"] == "disabled"
    del body["status"]
    answer = api.patch(path(project, attribute_key="monitoring_mode"), body)
    assert answer.status == 400 and answer.detail.startswith("status.monitoring_mode: attribute-key names it"), answer.text
    assert api.get(path(project, "/m")).json["status"]["monitoring_mode"] == "disabled"
    answer = api.patch(path(project), body)
    assert answer.status == 400 and "?attribute-key=" in answer.detail


def test_a_uid_where_the_name_belongs(api, project):
    uid = api.endpoint(project)["metadata"]["uid"]
    assert api.get(path(project, "/" + uid)).json == api.get(path(project, "/m")).json
    named = api.endpoint(project, uid)  # a name goes before a uid
    assert api.get(path(project, "/" + uid)).json["metadata"]["uid"] == named["metadata"]["uid"] != uid
    answer = api.get(path(project, "/nobody"))
    assert answer.status == 404 and "nobody" in answer.detail


@pytest.mark.parametrize("body", ["", "null", "[]", '"x"', "{", '{"kind": "function"}', "{}", '{"metadata": 5}', b"\xff\xfe",
                                  b"\0", "{" + '"a":{' * 100 + "}" * 101])
def test_bodies_that_are_no_records(api, project, body):
    for method in ("POST", "PATCH"):
        answer = api.request(method, path(project, attribute_key="labels"), body)
        assert answer.status == 400 and list(answer.json) == ["detail"], answer.text
    assert names(api, project) == []


def test_an_unknown_strategy(api, project):
    answer = api.post(path(project, creation_strategy="replace"), record(project))
    assert answer.status == 400 and "creation-strategy" in answer.detail


HOSTILE = ["'; DROP TABLE endpoints; --", '" OR 1=1', "...", "%2e%2e", "<script>alert(1)", "${jndi:x}", "a\\b", "日本語 ☃ 🎉",
           "a" * 255, "{{7*7}}", "x\u202ey", "%s%n", "a?b#c", "a+b c"]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_only_names(api, project, name):
    made = api.endpoint(project, name, metadata={"labels": {name: name}}, spec={"feature_names": [name], "model_class": name})
    uid = made["metadata"]["uid"]
    assert made["metadata"]["name"] == name and made["metadata"]["labels"] == {name: name}
    assert names(api, project, name=name) == [name] and names(api, project, label=f"{name}={name}") == \
        ([name] if "=" not in name else [])  # what is before the first = is the label's name
    quoted = urllib.parse.quote(name, safe="")
    one = api.get(path(project, f"/{quoted}", endpoint_id=uid))
    assert one.status == 200 and one.json["spec"]["model_class"] == name, one.text
    assert api.delete(path(project, f"/{quoted}", endpoint_id=uid)).status == 204
    assert names(api, project) == []
    assert api.sql("SELECT count(*) FROM projects")[0][0] > 0


@pytest.mark.parametrize("name", [".", ".."])
def test_a_name_that_no_path_can_hold_is_refused(api, project, name):
    answer = api.post(path(project), record(project, name))
    assert answer.status == 400 and "name" in answer.detail and "neither . nor .." in answer.detail, answer.text


# --- list ---
def test_filters(api, project):
    api.endpoint(project, "a", metadata={"labels": {"k": "v", "only": ""}}, spec={"model_name": "ma", "model_tags": ["t1"]})
    api.endpoint(project, "b", metadata={"labels": {"k": "w"}, "endpoint_type": 3}, spec={"function_name": "other"})
    c = api.endpoint(project, "c", metadata={"endpoint_type": 4})
    assert names(api, project) == ["a", "b", "c"]
    assert names(api, project, name=["a", "c"]) == ["a", "c"] and names(api, project, name="x") == []
    assert names(api, project, model_name="ma") == ["a"] and names(api, project, model_tag="t1") == ["a"]
    assert names(api, project, model_tag="t2") == []
    assert names(api, project, function_name="other") == ["b"] and names(api, project, function_tag="latest") == ["a", "b", "c"]
    assert names(api, project, label="k=v") == ["a"] and names(api, project, label="k") == ["a", "b"]
    assert names(api, project, label=["k", "k=w"]) == ["b"] and names(api, project, label="nope") == []
    assert names(api, project, top_level="True") == ["a", "c"] and names(api, project, top_level="False") == ["a", "b", "c"]
    assert names(api, project, mode=2) == ["c"] and names(api, project, mode=[0, 2]) == ["a", "b", "c"]
    assert names(api, project, uid=c["metadata"]["uid"]) == ["c"] and names(api, project, uid="f" * 32) == []
    assert names(api, project, start=c["metadata"]["created"]) == ["c"]
    assert names(api, project, end="2001-01-01T00:00:00+00:00") == []
    assert names(api, project, start="2001-01-01T00:00:00+00:00", end="2200-01-01T00:00:00Z", name="a", mode=0) == ["a"]


def test_pages(api, project):
    for i in range(5):
        api.endpoint(project, f"e{i}")
    seen, after = [], 0
    for _ in range(3):
        page = api.get(path(project, limit=2, cursor=after)).json
        seen += [e["metadata"]["name"] for e in page["endpoints"]]
        after = page.get("next")
    assert seen == [f"e{i}" for i in range(5)] and after is None


@pytest.mark.parametrize("query", ["top-level=maybe", "mode=7", "mode=real", "start=2025-01-01T00:00:00", "start=now",
                                   "start=2025-01-02T00:00:00Z&end=2025-01-01T00:00:00Z", "limit=0", "limit=10001",
                                   "limit=1e3", "cursor=-1", "metric=nope", "tsdb-metrics=2"])
def test_queries_that_are_not_right(api, project, query):
    answer = api.get(path(project) + "?" + query)
    assert answer.status == 400 and query.split("=")[0] in answer.detail, answer.text


def test_injection_in_filters_finds_nothing_and_breaks_nothing(api, project):
    api.endpoint(project, "a")
    for evil in HOSTILE + ["%", "_", "' OR ''='", "k=' OR 1=1 --", "a\\", "=", "==", "k='"]:
        for key in ("name", "label", "model-name", "model-tag", "function-name", "function-tag", "uid"):
            assert names(api, project, **{key: evil}) == [], (key, evil)
    assert names(api, project) == ["a"]


# --- get ---
def test_a_name_that_two_functions_have(api, project):
    api.endpoint(project, spec={"function_name": "f"})
    api.endpoint(project, spec={"function_name": "g"})
    assert api.get(path(project, "/m")).status == 400
    one = api.get(path(project, "/m", function_name="g", function_tag="latest")).json
    assert one["spec"]["function_name"] == "g"
    assert api.get(path(project, "/other", endpoint_id=one["metadata"]["uid"])).status == 404
    assert api.get(path(project, "/m", endpoint_id="f" * 32)).status == 404
    assert api.get(path(project, "/m", endpoint_id="a b")).status == 400
    old = api.get(f"/api/v1/projects/{project}/model-endpoints/m?endpoint_id={one['metadata']['uid']}&feature_analysis=True")
    assert old.json["metadata"]["uid"] == one["metadata"]["uid"]  # the older names of the same


def test_an_endpoint_of_another_project_is_not_there(api, project):
    mine = api.endpoint(project)["metadata"]["uid"]
    other = api.project()
    assert api.get(path(other, "/m", endpoint_id=mine)).status == 404
    assert api.get(path(other, f"/{mine}/metrics")).status == 404
    assert api.put(path(other, f"/{mine}/reference"), {"columns": {"a": [1]}}).status == 404
    assert api.delete(path(other, "/m", endpoint_id=mine)).status == 404
    assert api.patch(path(other, attribute_key="labels"), record(other, metadata={"uid": mine})).status == 404
    assert names(api, project) == ["m"] and names(api, other) == []


def test_operative_fields(api, project):
    import time
    uid = api.endpoint(project)["metadata"]["uid"]
    now = int(time.time()) * SECOND // (60 * SECOND) * 60 * SECOND
    rows = Rows(api, project, uid)
    rows.slot(now - 120 * SECOND, requests=3, rows=6, errors=1, latency_us=1000)
    rows.slot(now - 60 * SECOND, requests=1, rows=2, errors=2, latency_us=5000)
    rows.slot(now - 2 * DAY, requests=9, rows=9, errors=50, latency_us=900000)  # too old
    rows.result(now - 60 * SECOND, 0.6, 1)
    rows.result(now, 0.1, 0)
    rows.result(now - 2 * DAY, 0.9, 2)
    rows.seen(now - 3 * DAY, now - SECOND)
    for answer in (api.get(path(project, "/m")).json, api.get(path(project)).json["endpoints"][0]):
        status = answer["status"]
        assert status["error_count"] == 3 and status["avg_latency"] == 2000.0 and status["result_status"] == 1
        assert status["last_request"] and status["first_request"]
    for answer in (api.get(path(project, "/m", tsdb_metrics="False")).json,
                   api.get(path(project, tsdb_metrics="False")).json["endpoints"][0]):
        assert (answer["status"]["error_count"], answer["status"]["avg_latency"], answer["status"]["result_status"]) == \
            (0, None, -1)
    some = api.get(path(project, metric="error_count")).json["endpoints"][0]["status"]
    assert (some["error_count"], some["avg_latency"], some["result_status"]) == (3, None, -1)


def test_feature_analysis(api, project):
    stats = {"a": {"count": 4.0, "mean": 1.5, "hist": [[1, 1, 2], [0.0, 1.0, 2.0, 3.0]]}}
    made = api.endpoint(project, spec={"feature_stats": stats, "label_names": []})
    uid = made["metadata"]["uid"]
    assert made["spec"]["feature_stats"] == {} and made["spec"]["feature_names"] == ["a"]
    rows = Rows(api, project, uid)
    rows.statistic(1_700_000_000 * SECOND, "current_stats", {"a": {"count": 9}})
    rows.statistic(1_700_000_060 * SECOND, "current_stats", {"a": {"count": 10}})
    rows.statistic(1_700_000_060 * SECOND, "drift_measures", {"a": {"tvd": 0.5}, "tvd_mean": 0.5})
    one = api.get(path(project, "/m", feature_analysis="True")).json
    counts, edges = one["spec"]["feature_stats"]["a"]["hist"]
    assert counts == [0, 1, 1, 2, 0] and edges == [-1.7976931348623157e308, 0, 1, 2, 3, 1.7976931348623157e308]
    assert one["status"]["current_stats"] == {"a": {"count": 10}}
    assert one["status"]["current_stats_timestamp"] == "2023-11-14T22:14:20+00:00"
    assert one["status"]["drift_measures"] == {"a": {"tvd": 0.5}, "tvd_mean": 0.5}
    assert one["status"]["drift_measures_timestamp"] == "2023-11-14T22:14:20+00:00"
    assert api.get(path(project, f"/{uid}/reference")).json["source"] == "record"


# --- patch ---
def test_patch_changes_only_what_it_names(api, project):
    made = api.endpoint(project, spec={"model_class": "A"}, metadata={"labels": {"a": "1"}})
    body = copy.deepcopy(made)
    body["metadata"]["labels"] = {"b": "2"}
    body["spec"].update(model_class="B", feature_names=["x", "y"], children=["c"], function_tag=None, function_name=None)
    body["status"].update(monitoring_mode="disabled", sampling_percentage=5, first_request="2025-01-01T01:00:00+01:00")
    answer = api.patch(path(project, attribute_key=["labels", "feature_names", "children", "sampling_percentage"]), body)
    assert answer.status == 200 and answer.json == made["metadata"]["uid"]
    now = api.get(path(project, "/m")).json
    assert now["metadata"]["labels"] == {"b": "2"} and now["spec"]["model_class"] == "A"
    assert now["spec"]["feature_names"] == ["x", "y"] and now["spec"]["children"] == ["c"]
    assert now["status"]["monitoring_mode"] == "enabled" and now["status"]["sampling_percentage"] == 5
    assert now["status"]["first_request"] is None
    api.patch(path(project, attribute_key=["first_request", "last_request", "monitoring_mode", "model_class"]), body)
    now = api.get(path(project, "/m")).json
    assert now["status"]["first_request"] == "2025-01-01T00:00:00+00:00"
    assert now["status"]["monitoring_mode"] == "disabled" and now["spec"]["model_class"] == "B"


@pytest.mark.parametrize("key", ["uid", "name", "created", "feature_stats", "nope", "", "model_uri", "x" * 500])
def test_fields_that_cannot_be_changed(api, project, key):
    made = api.endpoint(project)
    answer = api.patch(path(project, attribute_key=["labels", key]), made)
    assert answer.status == 400 and "attribute-key" in answer.detail
    assert api.patch(path(project), made).status == 400
    assert api.get(path(project, "/m", tsdb_metrics=False)).json == made


def test_patch_of_what_is_not_there(api, project):
    assert api.patch(path(project, attribute_key="labels"), record(project, "none")).status == 404


# --- delete ---
def test_delete_by_name_takes_all_versions(api, project):
    for strategy in ("inplace", "archive", "archive"):
        api.endpoint(project, strategy=strategy)
    api.endpoint(project, "other")
    assert api.delete(path(project, "/m")).status == 204
    assert names(api, project) == ["other"]
    assert api.delete(path(project, "/m")).status == 404


def test_patches_at_once_lose_nothing(api, project):
    made = api.endpoint(project)
    fields = {"model_class": lambda i: f"C{i}", "children": lambda i: [f"c{i}"], "sampling_percentage": lambda i: i + 1.0,
              "labels": lambda i: {"n": str(i)}}
    parts = {"model_class": "spec", "children": "spec", "sampling_percentage": "status", "labels": "metadata"}

    def patch(field, i):
        body = copy.deepcopy(made)
        body[parts[field]][field] = fields[field](i)
        return api.patch(path(project, attribute_key=field), body).status
    with concurrent.futures.ThreadPoolExecutor(len(fields)) as pool:
        for i in range(12):
            assert set(pool.map(lambda field, i=i: patch(field, i), fields)) == {200}
            now = api.get(path(project, "/m")).json
            told = {field: now[parts[field]][field] for field in fields}
            assert told == {field: value(i) for field, value in fields.items()}


@pytest.mark.parametrize("strategy, left", [("overwrite", 1), ("inplace", 1), ("archive", 5), ("skip", 1)])
def test_creates_at_once(api, project, strategy, left):
    """Sixteen of one name at the same time: each is whole, and after all the others or before them."""
    stats = {name: {"count": 9, "mean": 1.5, "min": 1, "max": 2, "hist": [[4, 5], [1, 1.5, 2]]} for name in ("a", "b")}
    body = record(project, "m", spec={"feature_names": ["a", "b"], "label_names": ["y"], "feature_stats": stats})
    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        for _ in range(3):
            answers = list(threads.map(lambda _: api.post(path(project, creation_strategy=strategy), body), range(16)))
            assert [a.status for a in answers] == [201] * 16, [a.text for a in answers if a.status != 201]
            assert all(a.json["spec"]["feature_names"] == ["a", "b"] for a in answers)
    project_id = api.sql("SELECT id FROM projects WHERE name = %s", project)[0][0]
    assert api.sql("SELECT count(*) FROM endpoints WHERE project_id = %s", project_id) == [(left,)]
    assert len(api.get(path(project, latest_only=True)).json["endpoints"]) == 1
