"""MLRun's stored objects: artifacts, functions, runs, feature sets and vectors, tasks, and projects as a whole; on both databases."""
import json
import math
import os
import tempfile

import pytest
from api_server import Api, wait_for


@pytest.fixture(scope="module", params=["postgres", "sqlite"])
def api(request):
    with tempfile.TemporaryDirectory(prefix="mm-objects-") as folder:
        env = {"DATABASE_URL": f"sqlite:///{folder}/db"} if request.param == "sqlite" else {}
        with Api(**env) as server:
            yield server


@pytest.fixture
def project(api):
    return api.project()


def v1(project, path):
    return f"/api/v1/projects/{project}/{path}"


def v2(project, path):
    return f"/api/v2/projects/{project}/{path}"


def model(project, key="RF", **spec):
    return {"kind": "model", "metadata": {"key": key, "project": project, "labels": {"framework": "sklearn", "n": None}},
            "spec": dict({"model_file": "m.pkl", "feature_stats": {"a": {"mean": math.nan, "count": 3}}}, **spec),
            "status": {}}


def test_an_artifact_comes_back_as_it_was_sent(api, project):
    sent = model(project)
    made = api.put(v2(project, "artifacts/RF?tree=t1&tag=v1"), sent).json
    assert made["metadata"]["tag"] == "v1" and made["metadata"]["tree"] == "t1" and made["metadata"]["iter"] == 0
    assert len(made["metadata"]["uid"]) == 40 and made["metadata"]["updated"].endswith("+00:00")
    for query in ("?tag=v1", "?tag=latest", "", "?tree=t1&tag=latest&iter=0", f"?object-uid={made['metadata']['uid']}"):
        got = api.get(v2(project, "artifacts/RF" + query)).json
        assert got["metadata"]["uid"] == made["metadata"]["uid"], query
        assert math.isnan(got["spec"]["feature_stats"]["a"].pop("mean"))
        assert got["spec"] == {"model_file": "m.pkl", "feature_stats": {"a": {"count": 3}}} and got["kind"] == "model"
        assert got["metadata"]["labels"] == sent["metadata"]["labels"]
    assert api.get(v2(project, "artifacts/RF?tag=other")).status == 404
    assert api.get(v2(project, "artifacts/none")).detail == f"there is no artifact none:latest in project {project}"


def test_a_tag_moves_and_a_tree_still_finds_its_version(api, project):
    first = api.put(v2(project, "artifacts/RF?tree=t1&tag=v1"), model(project)).json["metadata"]
    same = api.put(v2(project, "artifacts/RF?tree=t1&tag=v1"), model(project)).json["metadata"]
    second = api.put(v2(project, "artifacts/RF?tree=t2&tag=v2"), model(project, model_file="n.pkl")).json["metadata"]
    assert same["uid"] == first["uid"] != second["uid"] and same["created"] == first["created"]

    def uid(query):
        return api.get(v2(project, "artifacts/RF?" + query)).json["metadata"]["uid"]
    assert uid("tag=latest") == uid("tag=v2") == second["uid"] and uid("tag=v1") == first["uid"]
    assert uid("tag=latest&tree=t1") == first["uid"]
    listed = api.get(v2(project, "artifacts?name=RF")).json["artifacts"]
    assert [(a["metadata"]["uid"], a["metadata"]["tag"]) for a in listed] == [(second["uid"], "latest"), (first["uid"], "v1")]
    assert api.get(v1(project, "artifact-tags")).json == {"project": project, "tags": ["latest", "v1", "v2"]}
    assert api.delete(v2(project, "artifacts/RF?tag=v2")).status == 204
    assert api.get(v2(project, "artifacts/RF")).status == 404 and uid("tag=v1") == first["uid"]


def test_lists_are_filtered(api, project):
    for key, kind, tree in (("model-a", "model", "t1"), ("data-a", "dataset", "t1"), ("plot", "plot", "t2")):
        body = dict(model(project, key), kind=kind)
        body["metadata"]["labels"] = {"of": kind}
        assert api.put(v2(project, f"artifacts/{key}?tree={tree}"), body).status == 200

    def keys(query):
        answer = api.get(v2(project, "artifacts?" + query))
        assert answer.status == 200, answer.text
        return sorted(a["metadata"]["key"] for a in answer.json["artifacts"])
    assert keys("") == ["data-a", "model-a", "plot"]
    assert keys("kind=model") == keys("category=model") == keys("label=of%3Dmodel") == ["model-a"]
    assert keys("category=other") == ["plot"] and keys("label=of") == ["data-a", "model-a", "plot"]
    assert keys("name=~-A") == ["data-a", "model-a"] and keys("name=%25") == [] and keys("name=~%25") == []
    assert keys("tree=t1&tag=*") == ["data-a", "model-a"] and keys("tag=none") == []
    assert keys("since=2020-01-01T00:00:00&until=2020-01-02T00:00:00") == [] and keys("since=2020-01-01T00:00:00") != []
    assert keys("iter=1") == []
    for bad in ("page=0", "page=x", "page-size=1001&page=1", "category=x", "since=now", "page-token=zz", "page-token=616", "producer_uri=x"):
        assert api.get(v2(project, "artifacts?" + bad)).status == 400, bad
    assert api.delete(v2(project, "artifacts?kind=plot")).status == 204 and keys("") == ["data-a", "model-a"]


def test_pages_follow_each_other_by_their_token(api, project):
    for i in range(7):
        api.put(v2(project, f"artifacts/k{i}"), model(project, f"k{i}"))
    api.put(v2(project, "artifacts/other"), dict(model(project, "other"), kind="dataset"))
    answer = api.get(v2(project, "artifacts?kind=model&page=1&page-size=3")).json
    found, pages = [], [answer["pagination"]]
    while True:
        found += [a["metadata"]["key"] for a in answer["artifacts"]]
        token = answer["pagination"]["page-token"]
        if token is None:
            break
        answer = api.get(v2(project, f"artifacts?page-token={token}")).json
        pages.append(answer["pagination"])
    assert found == [f"k{i}" for i in reversed(range(7))]
    assert [(p["page"], p["page-size"]) for p in pages] == [(1, 3), (2, 3), (3, 3)]


def test_functions(api, project):
    body = {"kind": "serving", "metadata": {"name": "serving", "project": project, "labels": {"mlrun__type": "app"}},
            "spec": {"image": "i", "graph": {"kind": "router"}}, "status": {"state": "ready"}}
    versioned = api.post(v1(project, "functions/serving?tag=v1&versioned=True"), body).json["hash_key"]
    got = api.get(v1(project, "functions/serving?tag=v1&hash_key=")).json["func"]
    assert got["metadata"]["hash"] == versioned and got["metadata"]["tag"] == "v1" and got["spec"] == body["spec"]
    body["status"]["state"] = "error"
    assert api.post(v1(project, "functions/serving?tag=&versioned=False"), body).json["hash_key"] == versioned
    body["spec"]["image"] = "j"
    assert api.post(v1(project, "functions/serving?tag=&versioned=False"), body).json["hash_key"] != versioned
    assert api.get(v1(project, "functions/serving?tag=&hash_key=")).json["func"]["spec"]["image"] == "j"
    assert api.get(v1(project, f"functions/serving?tag=&hash_key={versioned}")).json["func"]["spec"]["image"] == "i"

    def names(query):
        return [f["metadata"]["name"] for f in api.get(v1(project, "functions?" + query)).json["funcs"]]
    assert names("label=mlrun__type%3Dapp&page=1&page-size=200") == ["serving", "serving"]  # unversioned latest, and v1
    assert names("state=ready") == ["serving"] and names("kind=job") == [] and names("name=other") == []
    assert api.get(v1(project, "functions?page=1&page-size=200")).json["pagination"] == {
        "page": 1, "page-size": 200, "page-token": None}
    assert api.delete(v2(project, "functions/serving")).status == 204
    assert api.get(v1(project, "functions/serving?tag=&hash_key=")).status == 404
    assert api.get(v1(project, "functions/serving")).detail == f"there is no function serving:latest in project {project}"


def test_runs(api, project):
    def run(uid, name, state):
        body = {"kind": "run", "metadata": {"name": name, "uid": uid, "iteration": 0, "project": project, "labels": {"owner": "me"}},
                "status": {"state": state, "results": {"r": 1}}}
        return api.post(v1(project, f"runs/{uid}?iter=0"), body)
    assert run("u1", "train", "running").status == 200 and run("u2", "train", "completed").status == 200
    assert run("u1", "train", "completed").status == 200
    assert api.get(v1(project, "runs/u1?iter=0&format=full")).json["data"]["status"] == {"state": "completed", "results": {"r": 1}}
    assert api.patch(v1(project, "runs/u1?iter=0"), {"status.state": "error", "status.error": "why", "spec.a.b": [1]}).status == 200
    got = api.get(v1(project, "runs/u1")).json["data"]
    assert got["status"] == {"state": "error", "results": {"r": 1}, "error": "why"} and got["spec"] == {"a": {"b": [1]}}

    def uids(query):
        return sorted(r["metadata"]["uid"] for r in api.get(v1(project, "runs?" + query)).json["runs"])
    assert uids("") == ["u1", "u2"] and uids("state=error") == ["u1"] == uids("uid=u1") and uids("label=owner%3Dme") == ["u1", "u2"]
    assert uids("partition-by=project_and_name&rows-per-partition=1&partition-sort-by=updated&partition-order=desc") == ["u1"]
    assert uids("start_time_from=2020-01-01T00:00:00&iter=False") == ["u1", "u2"]
    assert uids("last_update_time_to=2020-01-01T00:00:00") == []
    assert api.patch(v1(project, "runs/none"), {"status.state": "x"}).status == 404
    assert api.delete(v1(project, "runs/u1?iter=0")).status == 204 and uids("") == ["u2"]
    assert api.delete(v1(project, "runs?state=completed&days_ago=1")).status == 204 and uids("") == []


@pytest.mark.parametrize("kind", ["feature-sets", "feature-vectors"])
def test_feature_sets_and_vectors(api, project, kind):
    body = {"kind": "FeatureSet", "metadata": {"name": "f", "labels": {"a": "b"}}, "spec": {"entities": [{"name": "id"}]}}
    assert api.post(v1(project, f"{kind}?versioned=True"), body).json["spec"] == body["spec"]
    assert api.post(v1(project, kind), body).status == 409
    body["spec"]["description"] = "next"
    second = api.put(v1(project, f"{kind}/f/references/latest?versioned=True"), body).json["metadata"]
    got = api.get(v1(project, f"{kind}/f/references/latest")).json
    assert got["spec"]["description"] == "next" and got["metadata"]["tag"] == "latest" and got["metadata"]["uid"] == second["uid"]
    assert api.get(v1(project, f"{kind}/f/references/{second['uid']}")).json["spec"]["description"] == "next"
    assert api.patch(v1(project, f"{kind}/f/references/latest"), {"spec": {"owner": "me"}}).status == 200
    assert api.get(v1(project, f"{kind}/f/references/latest")).json["spec"] == dict(body["spec"], owner="me")
    listed = api.get(v1(project, kind + "?tag=latest&label=a")).json[kind.replace("-", "_")]
    assert [f["metadata"]["name"] for f in listed] == ["f"]
    assert api.delete(v1(project, f"{kind}/f")).status == 204
    assert api.get(v1(project, f"{kind}/f/references/latest")).status == 404


@pytest.mark.parametrize("method, path, body, words", [
    ("PUT", "artifacts/RF", "", "a JSON object is wanted"), ("PUT", "artifacts/RF", "[1]", "an object is wanted"),
    ("PUT", "artifacts/RF", '{"metadata": {"key": "other"}}', "metadata.key: the path names RF"),
    ("PUT", "artifacts/RF", '{"metadata": {"project": "x"}}', "metadata.project: the path names"),
    ("PUT", "artifacts/RF", '{"metadata": {"key": 1}}', "metadata.key: a string is wanted"),
    ("PUT", "artifacts/RF?iter=-1", "{}", "iter: a whole number"), ("PUT", "artifacts/RF", '{"metadata": {"iter": -1}}', "iter"),
    ("PUT", "artifacts/RF?tag=" + "t" * 300, "{}", "tag: at most"), ("PUT", "artifacts/" + "k" * 300, "{}", "key: at most 255"),
    ("DELETE", "artifacts/RF?deletion_strategy=data-force", "", "metadata-only")])
def test_what_cannot_be_is_refused_with_words(api, project, method, path, body, words):
    answer = api.request(method, v2(project, path), body)
    assert answer.status == 400 and words in answer.detail.replace("a JSON object", "an object" if body else "a JSON object")
    assert api.get(v2(project, "artifacts")).json["artifacts"] == []


def test_another_projects_objects_are_not_seen(api, project):
    other = api.project()
    api.put(v2(project, "artifacts/RF"), model(project))
    assert api.get(v2(other, "artifacts/RF")).status == 404 and api.get(v2(other, "artifacts")).json["artifacts"] == []
    assert api.delete(v2(other, "artifacts/RF")).status == 204 and api.get(v2(project, "artifacts/RF")).status == 200
    assert api.put(v2("nobody", "artifacts/RF"), model("nobody")).status == 404


def test_projects_are_listed_made_patched_and_deleted(api):
    body = {"metadata": {"name": "made", "labels": {"team": "x"}}, "spec": {"owner": "ann", "artifacts": [1]}}
    api.delete("/api/v2/projects/made")
    made = api.post("/api/v1/projects?wait-for-completion=false", body)
    assert made.status == 201 and made.json["spec"]["owner"] == "ann"
    assert api.post("/api/v1/projects", body).status == 409
    assert "made" in api.get("/api/v1/projects?format=name_only").json["projects"]
    full = api.get("/api/v1/projects?label=team%3Dx").json["projects"]
    assert [p["metadata"]["name"] for p in full] == ["made"] and full[0]["spec"]["artifacts"] == [1]
    assert "artifacts" not in api.get("/api/v1/projects?name=made&format=minimal").json["projects"][0]["spec"]
    patch = {"spec": {"description": "d", "artifacts": [2], "monitoring": {"base_period": "5m"}}}
    assert api.patch("/api/v1/projects/made", patch).json["spec"]["artifacts"] == [2]
    added = api.request("PATCH", "/api/v1/projects/made", {"spec": {"artifacts": [3]}}, {"x-mlrun-patch-mode": "additive"}).json
    assert added["spec"]["artifacts"] == [2, 3] and added["spec"]["owner"] == "ann" and added["spec"]["monitoring"]["base_period"] == "5m"
    assert api.get("/api/v1/projects?format=x").status == 400 and api.patch("/api/v1/projects/none", {}).status == 404


def test_a_deleted_project_takes_everything_with_it(api):
    name = api.project("goes")
    uid = api.endpoint(name)["metadata"]["uid"]
    api.put(v2(name, "artifacts/RF"), model(name))
    answer = api.request("DELETE", f"/api/v2/projects/{name}", headers={"x-mlrun-deletion-strategy": "restrict"})
    assert answer.status == 409 and "model endpoints" in answer.detail
    assert api.request("DELETE", f"/api/v2/projects/{name}", headers={"x-mlrun-deletion-strategy": "all"}).status == 400
    assert api.get(f"/api/v1/projects/{name}").status == 200
    for _ in range(2):  # and again: it is deleted
        assert api.request("DELETE", f"/api/v2/projects/{name}", headers={"x-mlrun-deletion-strategy": "cascade"}).status == 204
    assert api.get(f"/api/v1/projects/{name}").status == 404
    api.project(name)
    assert api.get(v2(name, "artifacts")).json["artifacts"] == []
    assert api.get(v1(name, f"model-endpoints/m?endpoint-id={uid}")).status == 404
