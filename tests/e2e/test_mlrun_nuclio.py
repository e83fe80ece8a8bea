"""Functions deployed by MLRun's client are handed to Nuclio's dashboard: a stand-in for it says what it was told, and how it is going."""
import base64
import http.server
import json
import os
import threading

import pytest

os.environ.setdefault("MLRUN_LOG_LEVEL", "ERROR")

import mlrun  # noqa: E402
from api_server import Api, wait_for  # noqa: E402

SERVE = """
from mlrun.serving import V2ModelServer

class Regression(V2ModelServer):
    def load(self):
        pass

    def predict(self, body):
        return [0]
"""


class Nuclio:
    """Its dashboard's API as its documentation has it: projects and functions are made once, changed by PUT, built afterwards."""

    def __init__(self, states=("building", "waitingForResourceConfiguration", "ready")):
        self.calls, self.functions, self.projects, self.refuse, self.away = [], {}, set(), None, False
        self.states = list(states)
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self, status, body=None):
                data = json.dumps(body).encode() if body is not None else b""
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def take(self):
                text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                body = json.loads(text) if text else None
                fake.calls.append((self.command, self.path, dict(self.headers), body))
                self.answer(*(503, {"error": "away"}) if fake.away else fake.handle(self.command, self.path, body))

            do_GET = do_POST = do_PUT = take

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def handle(self, method, path, body):
        name = (body or {}).get("metadata", {}).get("name")
        if path == "/api/projects":
            known = name in self.projects
            self.projects.add(name)
            return (409, {"error": "there"}) if known else (201, {})
        if method == "GET":
            found = self.functions.get(path.rpartition("/")[2])
            return (200, self.shown(found)) if found else (404, {"error": "not found"})
        if self.refuse:
            return 400, {"error": self.refuse}
        known = name in self.functions
        if method == "POST" and known:
            return 409, {"error": "there"}
        assert method == "POST" or path == f"/api/functions/{name}"
        self.functions[name] = {"config": body, "asked": 0}
        return 202, None

    def shown(self, found):
        state = self.states[min(found["asked"], len(self.states) - 1)]
        found["asked"] += 1
        logs = [{"level": "info", "message": f"step {i}", "time": 1000.0 * i, "name": "deployer"} for i in range(1, found["asked"] + 1)]
        status = {"state": state, "logs": logs}
        if state == "ready":
            status.update(internalInvocationUrls=["nuclio-f.ns.svc:8080"], externalInvocationUrls=["10.0.0.1:31000", "f.example"],
                          containerImage="registry/f:1")
        return {**found["config"], "status": status}

    def made(self, method):
        return [c for c in self.calls if c[0] == method and c[1].startswith("/api/functions")]


@pytest.fixture
def nuclio():
    fake = Nuclio()
    yield fake
    fake.server.shutdown()
    fake.server.server_close()


@pytest.fixture
def api(nuclio):
    with Api(NUCLIO_URL=nuclio.url + "/", NUCLIO_NAMESPACE="mlrun", FUNCTION_BROKERS="kafka.svc:9092", FUNCTION_DBPATH="http://api.svc:8080") as server:
        mlrun.mlconf.dbpath = f"http://127.0.0.1:{server.port}"
        mlrun.mlconf.httpdb.logs.nuclio.pull_deploy_status_default_interval = 0  # between its questions
        yield server


@pytest.fixture
def project(api, tmp_path):
    (tmp_path / "serve.py").write_text(SERVE)
    made = mlrun.get_or_create_project(api.project(), context=str(tmp_path), allow_cross_project=True, save=False)
    mlrun.get_run_db().connect()
    return made


def serving(project, name="serving"):
    function = project.set_function("serve.py", name=name, kind="serving", image="mlrun/mlrun", handler="handler")
    function.set_topology("router")
    function.add_model("m", model_path="store://models/p/x", class_name="Regression")
    function.set_tracking()
    function.set_env("MY", "own")
    function.with_http(workers=3)
    return function


def env_of(config):
    return {e["name"]: e["value"] for e in config["spec"]["env"]}


def test_a_serving_function_is_handed_over_whole(nuclio, api, project):
    function = serving(project)
    assert project.deploy_function(function).function.status.state == "ready"
    (_, path, headers, config), = nuclio.made("POST")
    name = f"{project.name}-serving"
    assert path == "/api/functions" and nuclio.projects == {project.name}
    assert {k.lower(): v for k, v in headers.items()}["x-nuclio-project-name"] == project.name
    assert config["metadata"]["name"] == name and config["metadata"]["namespace"] == "mlrun"
    assert config["metadata"]["labels"]["nuclio.io/project-name"] == project.name and config["metadata"]["labels"]["mlrun/class"] == "serving"
    spec = config["spec"]
    assert spec["runtime"].startswith("python:") and spec["handler"].endswith(":handler")
    assert "class Regression" in base64.b64decode(spec["build"]["functionSourceCode"]).decode() and spec["build"]["baseImage"] == "mlrun/mlrun"
    assert spec["triggers"]["http"]["maxWorkers"] == 3 and spec["maxReplicas"] >= 1
    env = env_of(config)
    assert env["MY"] == "own" and env["MLRUN_DBPATH"] == "http://api.svc:8080" and env["MLRUN_DEFAULT_PROJECT"] == project.name
    told = json.loads(env["SERVING_SPEC_ENV"])
    endpoint, = mlrun.get_run_db().list_model_endpoints(project.name).endpoints
    assert told["graph"]["routes"]["m"]["class_args"]["model_endpoint_uid"] == endpoint.metadata.uid, "without it a model server sends nothing"
    assert told["parameters"]["log_stream"] == f"kafka://kafka.svc:9092?topic=monitoring_stream_test_{project.name}_v1"
    # what clients wait for
    assert function.status.nuclio_name == name and function.status.internal_invocation_urls == ["nuclio-f.ns.svc:8080"]
    assert function.status.external_invocation_urls == ["10.0.0.1:31000", "f.example"] and function.status.container_image == "registry/f:1"
    assert len([c for c in nuclio.calls if c[0] == "GET"]) == 3


def test_deployed_again_it_is_changed_and_a_tag_is_another(nuclio, api, project):
    project.deploy_function(serving(project))
    again = serving(project)
    again.set_env("MY", "other")
    project.deploy_function(again)
    (_, path, _, config), = nuclio.made("PUT")
    assert path == f"/api/functions/{project.name}-serving" and env_of(config)["MY"] == "other"
    tagged = serving(project)
    tagged.metadata.tag = "v2"
    tagged.deploy()
    assert set(nuclio.functions) == {f"{project.name}-serving", f"{project.name}-serving-v2"}


def test_log_lines_come_once(nuclio, api, project):
    project.deploy_function(serving(project))
    path = f"/api/v1/projects/{project.name}/nuclio/serving/deploy?last_log_timestamp="
    answer = api.get(path + "0")
    assert answer.text.splitlines() == ["step 1", "step 2", "step 3", "step 4"] and answer.headers["x-mlrun-last-timestamp"] == "4000"
    assert answer.headers["x-mlrun-function-status"] == "ready" and answer.headers["x-mlrun-address"] == "10.0.0.1:31000"
    assert api.get(path + "4000").text.splitlines() == ["step 5"] and api.get(path + "x").status == 400


def test_a_build_that_fails_is_told(nuclio, api, project):
    nuclio.states[:] = ["building", "error"]
    with pytest.raises(mlrun.runtimes.utils.RunError, match="deployment failed"):
        project.deploy_function(serving(project))


def test_what_nuclio_refuses_and_when_it_is_away(nuclio, api, project):
    body = {"function": {"kind": "remote", "metadata": {"name": "f", "project": project.name}, "spec": {"env": [{"name": "S", "value": "s3cret"}]}}}
    path = f"/api/v1/projects/{project.name}/nuclio/f/deploy"
    nuclio.refuse = "a name too long"
    answer = api.post(path, body)
    assert answer.status == 400 and "400" in answer.detail and "too long" not in answer.text
    wait_for(lambda: "a name too long" in open(api.log).read())
    nuclio.refuse, nuclio.away = None, True
    answer = api.post(path, body)
    assert answer.status == 503 and "NUCLIO_URL" in answer.detail
    assert api.get(f"/api/v1/projects/{project.name}/functions/f").json["func"]["status"]["state"] == "deploying"
    nuclio.away = False
    assert api.post(path, body).status == 200 and "SERVING_SPEC_ENV" not in env_of(nuclio.made("POST")[-1][3])
    nuclio.away = True
    assert api.get(path).status == 503, "clients ask again"
    nuclio.away = False
    nuclio.functions.clear()
    answer = api.get(path)
    assert answer.status == 200 and "is stored" in answer.text, "one from before Nuclio was there"
    assert "s3cret" not in open(api.log).read()
