"""Projects, client-spec, healthz, what surrounds every route."""
import concurrent.futures
import http.client
import json
import os
import re
import signal
import subprocess

import mm
import psycopg2
import pytest
from api_server import BIN, ROOT, Api, wait_for


@pytest.fixture(scope="module")
def api():
    with Api() as server:
        yield server


def test_client_spec_has_what_a_client_needs(api):
    spec = api.get("/api/v1/client-spec").json
    assert spec["version"] == "1.12.1" and spec["system_id"] == "test" and spec["ce"] == {"mode": "full"}
    assert spec["artifact_path"].endswith("/lake/{{project}}") and spec["nuclio_version"] == "1.13.0"
    assert api.get("/api/v1/healthz").json == {"version": "1.12.1", "status": "ok"}


def test_an_unknown_project_is_404_with_a_detail(api):
    answer = api.get("/api/v1/projects/nobody")
    assert answer.status == 404 and answer.headers["Content-Type"] == "application/json"
    assert list(answer.json) == ["detail"] and "nobody" in answer.detail
    for path in ("model-endpoints", "model-endpoints/m", "model-endpoints/u/metrics", "model-endpoints/u/reference"):
        assert api.get(f"/api/v1/projects/nobody/{path}").status == 404


def test_put_makes_and_changes_a_project(api):
    body = {"kind": "project", "metadata": {"name": "first", "labels": {"team": "x"}},
            "spec": {"artifact_path": "/data/first", "owner": "ann", "monitoring": {"base_period": "10s"}}}
    made = api.put("/api/v1/projects/first", body).json
    assert made["spec"]["monitoring"] == {"base_period": "10s", "enabled": True, "default_app": True}
    assert made["spec"]["owner"] == "ann" and made["metadata"]["labels"] == {"team": "x"}
    assert made["spec"]["artifact_path"] == "/data/first" and made["status"] == {"state": "online"}
    api.put("/api/v1/projects/first", {"spec": {"monitoring": {"enabled": False, "default_app": False}}})
    now = api.get("/api/v1/projects/first").json
    assert now["spec"]["monitoring"] == {"base_period": "10s", "enabled": False, "default_app": False}
    assert now["metadata"]["created"] == made["metadata"]["created"]
    assert api.sql("SELECT base_period_us, monitoring, default_app FROM projects WHERE name = 'first'") == \
        [(10_000_000, False, False)]
    assert api.sql("SELECT a.name, a.active FROM apps a JOIN projects p ON p.id = a.project_id WHERE p.name = 'first'") == \
        [("histogram-data-drift", False)]


def test_settings_put_at_once_are_all_kept(api):
    settings = {"base_period": "10s", "enabled": False, "default_app": False}
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        for i in range(12):
            def put(item, i=i):
                return api.put(f"/api/v1/projects/at-once-{i}", {"spec": {"monitoring": dict([item])}}).status
            assert set(pool.map(put, settings.items())) == {200}
            assert api.get(f"/api/v1/projects/at-once-{i}").json["spec"]["monitoring"] == settings


def test_what_was_read_can_be_written_back(api):
    name = api.project(base_period="5m")
    before = api.get(f"/api/v1/projects/{name}").json
    assert api.put(f"/api/v1/projects/{name}", before).json == before


@pytest.mark.parametrize("given, shown, microseconds", [
    ("1s", "1s", 1_000_000), ("15s", "15s", 15_000_000), ("60s", "1m", 60_000_000), ("90m", "90m", 5_400_000_000),
    ("1h", "1h", 3_600_000_000), (10, "10m", 600_000_000), ("24h", "24h", 86_400_000_000)])
def test_base_periods(api, given, shown, microseconds):
    name = api.project(base_period=given)
    assert api.get(f"/api/v1/projects/{name}").json["spec"]["monitoring"]["base_period"] == shown
    assert api.sql("SELECT base_period_us FROM projects WHERE name = %s", name) == [(microseconds,)]


@pytest.mark.parametrize("given", ["7s", "500ms", "0s", "-1m", "90s", "25h", "10", "soon", "", 0, -5, 2.5, 1441, True, [],
                                   {}, "10s; DROP TABLE projects"])
def test_base_periods_that_do_not_fit(api, given):
    answer = api.put("/api/v1/projects/never", {"spec": {"monitoring": {"base_period": given}}})
    assert answer.status == 400 and answer.detail.startswith("spec.monitoring.base_period"), answer.text
    assert api.get("/api/v1/projects/never").status == 404


@pytest.mark.parametrize("given, said", [
    ("7s", "6s or 10s would do"), ("500ms", "from 1s to 24h"), ("90s", "1m or 2m would do"), ("31s", "30s or 1m would do"),
    ("1700ms", "1s or 2s would do"), (None, '"10s", "5m" or "1h", or a number of minutes'), (True, "a number of minutes")])
def test_a_wrong_base_period_is_told_what_would_do(api, given, said):
    answer = api.put("/api/v1/projects/never", {"spec": {"monitoring": {"base_period": given}}})
    assert answer.status == 400 and answer.detail.startswith("spec.monitoring.base_period: ") and said in answer.detail


@pytest.mark.parametrize("body, words", [
    ({"metadata": {"name": "other"}}, "metadata.name"), ({"spec": []}, "spec"), ({"metadata": {"name": 5}}, "metadata.name"),
    ({"spec": {"monitoring": {"enabled": "yes"}}}, "spec.monitoring.enabled"),
    ({"spec": {"monitoring": {"base_perod": "1m"}}}, "spec.monitoring.base_perod"),
    ([], "a JSON object"), ("{", "body"), ("", "body"), ('{"a": 1, "a": 2}', "body"), (b'{"a": "\xff"}', "body"),
    ("[" * 1000, "body")])
def test_projects_that_are_not_right(api, body, words):
    answer = api.put("/api/v1/projects/never", body)
    assert answer.status == 400 and words in answer.detail, answer.text


@pytest.mark.parametrize("name", ["UPPER", "a_b", "-a", "a-", "x" * 64, "a%20b", "a%27b", "%3Cscript%3E", "a%00b", "..", "a.b"])
def test_names_that_are_no_projects(api, name):
    for method, body in (("GET", None), ("PUT", "{}")):
        answer = api.request(method, f"/api/v1/projects/{name}", body)
        assert answer.status in (400, 404), (answer.status, answer.text)
        assert "detail" in answer.json
    assert api.sql("SELECT count(*) FROM projects WHERE name !~ '^[a-z0-9-]+$'") == [(0,)]


def test_methods_and_paths_that_are_not_there(api):
    name = api.project()
    answer = api.post(f"/api/v1/projects/{name}", "{}")
    assert answer.status == 405 and "GET" in answer.headers["Allow"] and "PUT" in answer.headers["Allow"]
    assert api.get("/api/v1/nothing").status == 404 and "detail" in api.get("/api/v1/nothing").json
    for method in ("PUT", "TRACE", "BREW"):
        assert api.request(method, f"/api/v1/projects/{name}/model-endpoints", "{}").status in (400, 405, 501)


def test_a_body_of_ten_megabytes_is_413(api):
    name = api.project()
    body = b'{"kind": "' + b"x" * 10_000_000 + b'"}'
    try:
        answer = api.post(f"/api/v1/projects/{name}/model-endpoints", body)
        assert answer.status == 413, answer.text
        assert "HTTP_BODY_MAX (8 MiB)" in answer.detail and "feature_stats" not in answer.detail
    except (BrokenPipeError, ConnectionResetError):
        pass  # it answered before we had sent it all, and closed
    assert api.get("/livez").status == 200


def test_it_is_bound_to_loopback(api):
    port = f":{api.port:04X}"
    with open("/proc/net/tcp") as f:
        bound = [line.split()[1] for line in f if line.split()[1].endswith(port) and line.split()[3] == "0A"]
    assert bound == ["0100007F" + port]


def test_the_route_table_of_the_readme_is_the_programs():
    text = subprocess.run([BIN, "--routes-markdown"], capture_output=True, text=True, check=True).stdout
    with open(os.path.join(ROOT, "services/api/README.md")) as f:
        shown = re.search(r"<!-- routes -->\n(.*?)<!-- /routes -->", f.read(), re.S)
    assert shown and shown.group(1) == text, "run: build/bin/api --routes-markdown"


def test_options_and_metrics_of_the_readme_are_the_programs(api):
    told, printed = mm.readme_options("api")
    assert told == printed, "run: tests/support/mm.py readme api"
    names = {name for name in re.findall(r"^# TYPE (modelmon_api_\w+)", api.get("/metrics").text, re.M)}
    assert names and names <= mm.readme_names("api")


def test_more_requests_than_connections_wait_and_then_are_refused():
    """One connection, held up by a lock: the next request waits its two seconds, then says so."""
    one = Api(API_POOL=1)
    one.env["DATABASE_URL"] += "?options=-c%20lock_timeout%3D20s"
    with one as api:
        name = api.project()
        lock = psycopg2.connect(api.url)
        lock.cursor().execute("LOCK TABLE projects")
        with concurrent.futures.ThreadPoolExecutor(2) as threads:
            answers = [threads.submit(api.get, f"/api/v1/projects/{name}")]
            wait_for(lambda: api.sql("SELECT count(*) FROM pg_locks WHERE NOT granted")[0][0])  # else one thread may take both
            answers.append(threads.submit(api.get, f"/api/v1/projects/{name}"))
            done = concurrent.futures.wait(answers, 20, concurrent.futures.FIRST_COMPLETED).done
            refused = [a.result() for a in done]
            assert [a.status for a in refused] == [503] and "API_POOL" in refused[0].detail
            lock.rollback()
            assert sorted(a.result().status for a in answers) == [200, 503]
        lock.close()
        assert 'modelmon_api_connection_waits_total{outcome="refused"} 1' in api.get("/metrics").text


def test_wrong_configuration_is_told_at_once_with_exit_2():
    env = dict(os.environ, DATABASE_URL="nonsense", API_POOL="0", HTTP_PORT="99999999", SYSTEM_ID="a b")
    done = subprocess.run([BIN], env=env, capture_output=True, text=True, timeout=20)
    assert done.returncode == 2
    assert "API_POOL" in done.stderr and "HTTP_PORT" in done.stderr


def test_without_a_database_it_waits_and_says_so():
    with Api(wait=False, DATABASE_URL="postgresql://postgres@127.0.0.1:1/x") as api:
        wait_for(lambda: "check DATABASE_URL" in api.get("/readyz").text or '"down"' in api.get("/readyz").text)
        ready = api.get("/readyz")
        assert ready.status == 503 and "database" in ready.text
        assert api.get("/livez").status == 200
        assert api.get("/api/v1/client-spec").status == 200  # needs none
        answer = api.get("/api/v1/projects/p")
        assert answer.status == 503 and int(answer.headers["Retry-After"]) > 0 and list(answer.json) == ["detail"]
        page = api.get("/")
        assert page.status == 503 and page.headers["Content-Type"].startswith("text/html") and page.headers["Retry-After"]


def test_a_database_that_goes_away_and_comes_back():
    """Its connections are cut and new ones refused: 503 until it is there again, then as before."""
    with Api() as api:
        name = api.project()
        admin = Api.__new__(Api)
        admin.file = None
        admin.url = f"{api.server}/postgres"
        admin.sql(f'ALTER DATABASE "{api.database}" ALLOW_CONNECTIONS false')
        admin.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", api.database)
        answer = wait_for(lambda: (a := api.get(f"/api/v1/projects/{name}")).status == 503 and a)
        assert int(answer.headers["Retry-After"]) > 0 and "detail" in answer.json
        wait_for(lambda: api.get("/readyz").status == 503)
        admin.sql(f'ALTER DATABASE "{api.database}" ALLOW_CONNECTIONS true')
        wait_for(lambda: api.get(f"/api/v1/projects/{name}").status == 200)
        wait_for(lambda: api.get("/readyz").status == 200)


def test_without_redis_everything_works():
    with Api(REDIS_URL="redis://127.0.0.1:1") as api:
        name = api.project()
        api.endpoint(name)
        ready = wait_for(lambda: (r := api.get("/readyz")).status == 200 and '"cache","state":"down"' in r.text and r)
        assert '"degraded"' in ready.text


def test_sigterm_in_the_middle_of_requests_is_a_clean_end():
    with Api() as api:
        name = api.project()
        connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=10)
        connection.request("GET", f"/api/v1/projects/{name}")
        assert connection.getresponse().status == 200
        api.child.send_signal(signal.SIGTERM)
        assert api.child.wait(15) == 0
        connection.close()
        assert all(json.loads(line) for line in open(api.log))


def test_many_at_once(api):
    """More requests than connections of the pool, reads and writes of the same things: each gets its own answer."""
    project = api.project()
    uids = [api.endpoint(project, f"e{i}")["metadata"]["uid"] for i in range(4)]
    base = f"/api/v1/projects/{project}/model-endpoints"

    def one(i):
        name, uid = f"e{i % 4}", uids[i % 4]
        if i % 3 == 0:
            body = api.get(f"{base}/{name}?endpoint-id={uid}").json
            body["metadata"]["labels"] = {"n": i}
            return api.patch(f"{base}?attribute-key=labels", body).json == uid
        if i % 3 == 1:
            return api.get(f"{base}/{name}?endpoint-id={uid}").json["metadata"]["uid"] == uid
        return name in api.get(f"/ui/p/{project}").text
    with concurrent.futures.ThreadPoolExecutor(24) as threads:
        assert all(threads.map(one, range(300)))
    assert len(api.get(base).json["endpoints"]) == 4


def test_what_is_wrong_inside_is_in_the_log_under_the_answers_id():
    with Api() as api:
        name = api.project()
        api.sql("ALTER TABLE endpoints RENAME TO away")
        for path in (f"/api/v1/projects/{name}/model-endpoints", f"/ui/p/{name}"):
            answer = api.get(path)
            assert answer.status == 500
            number = answer.headers["X-Request-Id"]
            assert re.fullmatch("[0-9a-f]{16}", number) and number in answer.text
            assert not re.search("postgres|relation|endpoints.* does not exist|42P01", answer.text.split("</style>")[-1], re.I), answer.text
            with open(api.log) as log:
                (line,) = [json.loads(line) for line in log if number in line]
            assert line["ev"] == "request_failed" and line["level"] == "error" and "42P01" in line["error"]
        api.sql("ALTER TABLE away RENAME TO endpoints")
        assert api.get(f"/api/v1/projects/{name}/model-endpoints").status == 200


@pytest.mark.parametrize("backend", ["postgres", "sqlite"])
def test_summaries_count_what_a_project_has(backend):
    from mlrun.common.schemas import ProjectSummary
    with Api(backend=backend) as server:
        name, other = server.project(), server.project()
        v1, v2 = f"/api/v1/projects/{name}", f"/api/v2/projects/{name}"
        for key, kind in (("m1", "model"), ("m1", "model"), ("m2", "model"), ("d", "dataset"), ("f", "")):
            made = server.put(f"{v2}/artifacts/{key}", {"kind": kind, "metadata": {"key": key, "tree": "t"}, "spec": {"n": kind}})
            assert made.status == 200, made.text
        for i, state in enumerate(("completed", "completed", "error", "running", "aborted")):
            server.post(f"{v1}/runs/r{i}", {"metadata": {"name": "x", "uid": f"r{i}"}, "status": {"state": state}})
        server.put(f"{v1}/feature-sets/s/references/latest", {"kind": "FeatureSet", "metadata": {"name": "s"}, "spec": {}})
        server.endpoint(name, "a")
        server.endpoint(name, "b", metadata={"endpoint_type": 4})
        server.sql("INSERT INTO alert_activations (project_id, alert_id, name, severity, criteria, entity_kind, entity_id, event_kind, "
                   "number_of_events, activation_us) SELECT id, 1, 'a', 'low', '{}', 'job', 'j', 'failed', 1, 1 FROM projects WHERE name = %s",
                   name)
        server.sql("INSERT INTO ledger (pipeline, topic, partition, project_id, stopped) SELECT 'writer', 't', 0, id, 'x' FROM projects "
                   "WHERE name = %s", name)
        got = ProjectSummary(**server.get(f"/api/v1/project-summaries/{name}").json)
        assert (got.models_count, got.datasets_count, got.files_count, got.feature_sets_count) == (2, 1, 1, 1)
        assert (got.runs_completed_recent_count, got.runs_failed_recent_count, got.runs_running_count) == (2, 2, 1)
        assert (got.real_time_model_endpoint_count, got.batch_model_endpoint_count) == (1, 1)
        assert (got.job_alerts_count, got.endpoint_alerts_count) == (1, 0)
        assert (got.running_model_monitoring_functions, got.failed_model_monitoring_functions) == (3, 1)
        listed = server.get("/api/v1/project-summaries").json["project_summaries"]
        assert [s["name"] for s in listed] == [name, other] and ProjectSummary(**listed[1]).models_count == 0
        assert [s["name"] for s in server.get(f"/api/v1/project-summaries?name={other}").json["project_summaries"]] == [other]
        assert server.get("/api/v1/project-summaries/nobody").status == 404
