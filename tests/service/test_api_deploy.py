"""Models and functions: what a logged model gives to endpoints, and endpoints that a deployment makes; on both databases."""
import tempfile

import pytest
from api_server import Api


@pytest.fixture(scope="module", params=["postgres", "sqlite"])
def api(request):
    with tempfile.TemporaryDirectory(prefix="mm-deploy-") as folder:
        env = {"DATABASE_URL": f"sqlite:///{folder}/db"} if request.param == "sqlite" else {}
        with Api(**env) as server:
            yield server


@pytest.fixture
def project(api):
    return api.project()


def v1(project, path):
    return f"/api/v1/projects/{project}/{path}"


def stats(**means):
    return {name: {"count": 4, "mean": mean, "std": 1, "min": 0, "max": 2 * mean, "hist": [[1, 2, 1], [0, 1, 2, 3]]}
            for name, mean in means.items()}


def log_model(api, project, key="RF", tree="t1", tag=None, feature_stats=None, **spec):
    body = {"kind": "model", "metadata": {"key": key, "project": project},
            "spec": dict({"inputs": [{"name": "len gth"}, {"name": "b"}], "outputs": [{"name": "y"}],
                          "feature_stats": feature_stats or stats(y=1, **{"len gth": 2, "b": 3})}, **spec)}
    answer = api.put(f"/api/v2/projects/{project}/artifacts/{key}?tree={tree}" + (f"&tag={tag}" if tag else ""), body)
    assert answer.status == 200, answer.text
    return answer.json["metadata"]["uid"]


def references(api, project, uid):
    return [(v["version"], v["source"]) for v in
            api.get(v1(project, f"model-endpoints/{uid}/reference/versions")).json["versions"]]


def means(api, project, uid):
    shown = api.get(v1(project, f"model-endpoints/{uid}/reference")).json["feature_stats"]
    return {name: s["mean"] for name, s in shown.items()}


# ---- a model is the reference of the endpoints that serve it ----
@pytest.mark.parametrize("first", ["model", "endpoint"])
def test_whichever_comes_first(api, project, first):
    def endpoint():
        return api.endpoint(project, spec={"model_uri": f"store://models/{project}/RF:v1"})["metadata"]["uid"]
    if first == "endpoint":
        uid = endpoint()
        other = api.endpoint(project, "other", spec={"model_uri": f"store://models/{project}/RF2"})["metadata"]["uid"]
        assert references(api, project, uid) == []
        log_model(api, project, tag="v1")
        assert references(api, project, other) == []
    else:
        log_model(api, project, tag="v1")
        uid = endpoint()
    assert references(api, project, uid) == [(1, "model_artifact")]
    assert means(api, project, uid) == {"y": 1, "len gth": 2, "b": 3}
    record = api.get(v1(project, f"model-endpoints/m?endpoint-id={uid}&feature-analysis=True")).json
    assert record["spec"]["feature_names"] == ["len_gth", "b"] and record["spec"]["label_names"] == ["y"]
    assert set(record["spec"]["feature_stats"]) == {"len gth", "b", "y"}
    assert api.get(v1(project, f"model-endpoints/{uid}/reference")).json["labels"] == ["y"]


def test_a_new_version_of_a_model_is_a_new_reference(api, project):
    old = log_model(api, project)
    latest = api.endpoint(project, "latest", spec={"model_uri": f"store://models/{project}/RF"})["metadata"]["uid"]
    pinned = [api.endpoint(project, f"p{i}", spec={"model_uri": f"store://models/{project}/RF#0{uri}"})["metadata"]["uid"]
              for i, uri in enumerate(("@t1", f"@t1^{old}", f"^{old}", ":v7"))]
    log_model(api, project)
    assert references(api, project, latest) == [(1, "model_artifact")], "the same version once more"
    log_model(api, project, tree="t2", feature_stats=stats(y=9, **{"len gth": 8, "b": 7}))
    assert references(api, project, latest) == [(1, "model_artifact"), (2, "model_artifact")]
    assert means(api, project, latest) == {"y": 9, "len gth": 8, "b": 7}
    assert [len(references(api, project, uid)) for uid in pinned] == [1, 1, 1, 0]


def test_what_a_person_gave_is_kept_until_the_model_changes(api, project):
    log_model(api, project)
    spec = {"model_uri": f"store://models/{project}/RF"}
    uid = api.endpoint(project, spec=spec)["metadata"]["uid"]
    api.put(v1(project, f"model-endpoints/{uid}/reference"), {"columns": {"len gth": [1, 2, 3], "b": [1, 2, 3]}})
    log_model(api, project)
    assert api.endpoint(project, spec=spec)["metadata"]["uid"] == uid
    assert [s for _, s in references(api, project, uid)] == ["model_artifact", "api_rows"]
    log_model(api, project, tree="t2")
    assert [s for _, s in references(api, project, uid)] == ["model_artifact", "api_rows", "model_artifact"]
    own = api.endpoint(project, "own", spec=dict(spec, feature_stats=stats(z=1)))["metadata"]["uid"]
    assert references(api, project, own) == [(1, "record")], "a record's own statistics come first"


def test_a_model_with_statistics_that_are_none_is_refused_whole(api, project):
    uid = api.endpoint(project, spec={"model_uri": f"store://models/{project}/RF"})["metadata"]["uid"]
    body = {"kind": "model", "spec": {"feature_stats": {"a": {"hist": [[1], [0]]}}}}
    answer = api.put(f"/api/v2/projects/{project}/artifacts/RF", body)
    assert answer.status == 400 and "spec.feature_stats" in answer.detail
    assert api.get(f"/api/v2/projects/{project}/artifacts/RF").status == 404 and references(api, project, uid) == []
    for spec in ({}, {"feature_stats": {}}, {"feature_stats": None}, {"inputs": [1, {"x": 2}], "outputs": "y"}):
        assert api.put(f"/api/v2/projects/{project}/artifacts/RF", {"kind": "model", "spec": spec}).status == 200
    assert references(api, project, uid) == []


# ---- deployment ----
def route(model_path="", strategy="inplace", **class_args):
    return {"kind": "task", "class_name": "M", "endpoint_type": 3, "model_endpoint_creation_strategy": strategy,
            "class_args": dict({"model_path": model_path, "outputs": None}, **class_args)}


def function(project, routes, name="serving", **spec):
    graph = {"kind": "router", "endpoint_type": 2, "model_endpoint_creation_strategy": "skip", "name": "router", "routes": routes}
    return {"function": {"kind": "serving", "metadata": {"name": name, "project": project, "tag": ""},
                         "spec": dict({"track_models": True, "parameters": {"sampling_percentage": 50}, "graph": graph}, **spec)}}


def deploy(api, project, body, name="serving"):
    answer = api.post(v1(project, f"nuclio/{name}/deploy"), body)
    assert answer.status == 200, answer.text
    return answer.json


def uids(answer):
    return {name: r["class_args"].get("model_endpoint_uid") for name, r in answer["data"]["spec"]["graph"]["routes"].items()}


def endpoints(api, project):
    return {e["metadata"]["name"]: e for e in api.get(v1(project, "model-endpoints")).json["endpoints"]}


def test_a_deployment_makes_a_record_for_each_model(api, project):
    log_model(api, project)
    uri = f"store://models/{project}/RF#0@t1"
    answer = deploy(api, project, function(project, {"a": route(uri), "b": route("/models/b", outputs=["z"]),
                                                     "not": route(strategy="skip")}))
    made, told = endpoints(api, project), uids(answer)
    assert set(made) == {"a", "b"} and told == {"a": made["a"]["metadata"]["uid"], "b": made["b"]["metadata"]["uid"], "not": None}
    a = made["a"]
    assert a["metadata"]["endpoint_type"] == 3 and a["metadata"]["mode"] == 0 and a["status"]["monitoring_mode"] == "enabled"
    assert a["status"]["sampling_percentage"] == 50
    assert {k: a["spec"][k] for k in ("function_name", "function_tag", "model_uri", "model_name", "model_class")} == {
        "function_name": "serving", "function_tag": "latest", "model_uri": uri, "model_name": "RF", "model_class": "M"}
    assert made["b"]["spec"]["model_uri"] == "" and made["b"]["spec"]["model_path"] == "/models/b"
    assert references(api, project, told["a"]) == [(1, "model_artifact")]
    task = answer["background_tasks"]["background_tasks"][0]
    assert answer["data"]["spec"]["model_endpoint_creation_task_name"] == task["metadata"]["name"]
    assert api.get(v1(project, f"background-tasks/{task['metadata']['name']}")).json["status"] == {"state": "succeeded"}
    assert answer["data"]["status"]["state"] == "ready"
    stored = api.get(v1(project, "functions/serving?tag=&hash_key=")).json["func"]
    assert stored["spec"] == answer["data"]["spec"]
    state = api.get(v1(project, "nuclio/serving/deploy?name=serving&tag=&last_log_timestamp=1&verbose=no"))
    assert state.status == 200 and state.headers["x-mlrun-function-status"] == "ready" and float(state.headers["x-mlrun-last-timestamp"])
    spec = api.get(v1(project, "nuclio/serving/serving-spec")).json
    assert spec["graph"] == stored["spec"]["graph"] and spec["model_endpoint_creation_task_name"] == task["metadata"]["name"]
    assert spec["version"] == "v2" and spec["project"] == project and "log_stream" not in spec["parameters"]
    there = api.get(v1(project, "nuclio/serving/serving-spec?brokers=k:9092")).json["parameters"]["log_stream"]
    assert there == f"kafka://k:9092?topic=monitoring_stream_test_{project}_v1"


def test_deployed_again_an_endpoint_is_the_same(api, project):
    body = function(project, {"a": route(), "kept": route(strategy="archive")})
    first = deploy(api, project, body)
    again = deploy(api, project, {"function": first["data"]})
    assert uids(again)["a"] == uids(first)["a"] and uids(again)["kept"] != uids(first)["kept"]
    copied = {"function": dict(first["data"], metadata={"name": "copy", "project": project})}
    copy = deploy(api, project, copied, "copy")
    assert uids(copy)["a"] not in (uids(first)["a"], None)
    by_hand = deploy(api, project, function(project, {"h": route(model_endpoint_uid="f" * 32)}, "hand"), "hand")
    assert uids(by_hand) == {"h": "f" * 32}


def test_a_graph_of_steps(api, project):
    body = function(project, {})
    data = {"m1": {"creation_strategy": "inplace", "model_class": "M1", "inputs": ["x"], "outputs": ["y"], "labels": {"k": "v"},
                   "model_path": None, "input_path": None, "result_path": None}, "m2": {"creation_strategy": "skip"}}
    body["function"]["spec"]["graph"] = {"kind": "flow", "steps": {
        "runner": {"kind": "model_runner", "class_args": {"monitoring_data": data}},
        "plain": {"kind": "task", "class_name": "str"},
        "model": dict(route(), endpoint_type=1),
        "router": {"kind": "router", "class_name": "VotingEnsemble", "endpoint_type": 2, "routes": {"v1": route(), "v2": route()},
                   "model_endpoint_creation_strategy": "inplace"}}}
    steps = deploy(api, project, body)["data"]["spec"]["graph"]["steps"]
    made = endpoints(api, project)
    assert set(made) == {"m1", "model", "v1", "v2", "router"}
    assert steps["runner"]["class_args"]["monitoring_data"]["m1"]["model_endpoint_uid"] == made["m1"]["metadata"]["uid"]
    assert steps["model"]["class_args"]["model_endpoint_uid"] == made["model"]["metadata"]["uid"]
    assert made["m1"]["spec"]["feature_names"] == ["x"] and made["m1"]["spec"]["label_names"] == ["y"]
    assert made["m1"]["metadata"]["labels"] == {"k": "v"} and made["m1"]["spec"]["model_class"] == "M1"
    router = made["router"]
    assert router["metadata"]["endpoint_type"] == 2 and router["spec"]["children"] == ["v1", "v2"]
    assert router["spec"]["children_uids"] == [made["v1"]["metadata"]["uid"], made["v2"]["metadata"]["uid"]]


def test_what_is_not_tracked_has_no_records(api, project):
    answer = deploy(api, project, function(project, {"a": route()}, track_models=False))
    assert uids(answer) == {"a": None} and endpoints(api, project) == {}
    assert answer["background_tasks"] == {"background_tasks": []}
    body = {"function": {"kind": "serving", "metadata": {"name": "my-app", "labels": {"mlrun__type": "mlrun__model-monitoring-application"}}}}
    deploy(api, project, body, "my-app")
    assert {"name": "my-app", "active": True, "needs_rows": True, "wants_empty": False} in api.get(v1(project, "apps")).json["apps"]


@pytest.mark.parametrize("change, words", [
    ({"routes": {"a": route(), "b/c": route()}}, "model b/c: "), ({"routes": {"a": dict(route(), endpoint_type=9)}}, "endpoint_type"),
    ({"steps": {"a": dict(route(), endpoint_type="x")}}, "endpoint_type")])
def test_a_function_that_cannot_be_deployed_leaves_nothing(api, project, change, words):
    body = function(project, {})
    body["function"]["spec"]["graph"].pop("routes")
    body["function"]["spec"]["graph"].update(change)
    answer = api.post(v1(project, "nuclio/serving/deploy"), body)
    assert answer.status == 400 and words in answer.detail
    assert endpoints(api, project) == {} and api.get(v1(project, "functions/serving")).status == 404
    assert api.get(v1(project, "nuclio/serving/deploy")).status == 404
    assert api.get(v1(project, "nuclio/serving/serving-spec")).detail == f"function serving:latest is not deployed in project {project}"


@pytest.mark.parametrize("body, words", [({}, "function"), ({"function": []}, "function"), ({"function": {"metadata": {"name": "x"}}}, "serving")])
def test_a_deployment_without_a_function_is_refused(api, project, body, words):
    answer = api.post(v1(project, "nuclio/serving/deploy"), body)
    assert answer.status == 400 and words in answer.detail
