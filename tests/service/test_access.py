"""Who may what: every route with every method and every kind of credential, in every service; tokens made, used and revoked."""
import base64
import concurrent.futures
import contextlib
import http.client
import json
import os
import subprocess
import time

import pytest
import requests

import mm
import test_modelmon_run as running

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
ADMIN = "an-admin-token-for-tests-" + "x" * 20
ENOUGH = {"ingest": {"ingest", "admin"}, "read": {"read", "write", "admin"}, "write": {"write", "admin"}, "admin": {"admin"}}
SERVICES = ["api", "stream", "controller", "writer", "histogram-drift-app", "operations-app", "llm-app"]


def tool(*args, **env):
    return subprocess.run([os.path.join(mm.BIN, "modelmon"), *map(str, args)], env={"PATH": os.environ["PATH"], "TERM": "dumb", **env},
                          timeout=60, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)


class Client:
    """One kept connection: thousands of requests."""

    def __init__(self, port):
        self.port, self.connection = port, None

    def ask(self, method, path, headers=None, body=None):
        for attempt in (1, 2):
            if self.connection is None:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            try:
                self.connection.request(method, path, body, headers or {})
                answer = self.connection.getresponse()
                text = answer.read()
                if answer.will_close:
                    self.connection.close()
                    self.connection = None
                return answer.status, answer.headers, text
            except (http.client.HTTPException, OSError):  # a kept connection may have ended meanwhile
                self.connection.close()
                self.connection = None
                if attempt == 2:
                    raise
        return None


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def make(client, name, scopes, projects, **more):
    status, headers, text = client.ask("POST", "/api/v1/tokens", bearer(ADMIN),
                                       json.dumps({"name": name, "scopes": scopes, "projects": projects, **more}))
    assert status == 201, text
    assert headers["Cache-Control"] == "no-store"
    return json.loads(text)["token"]


def credentials(client):
    """name → (headers, what it may, where: "" nothing, "*" all, else that project)."""
    known = {"none": ({}, set(), ""), "no token": ({"Authorization": "Bearer"}, set(), ""),
             "another scheme": ({"Authorization": f"Digest {ADMIN}"}, set(), ""), "garbage": (bearer("../../etc/passwd' OR 1=1 --"), set(), ""),
             "never made": (bearer("mm_" + "A" * 43), set(), "")}
    expired = make(client, "expired", ["admin"], ["*"], expires_in="100ms")
    revoked = make(client, "revoked", ["admin"], ["*"])
    assert client.ask("DELETE", "/api/v1/tokens/revoked", bearer(ADMIN))[0] == 204
    known["expired"], known["revoked"] = (bearer(expired), set(), ""), (bearer(revoked), set(), "")
    for scope in ENOUGH:
        for project in ("p", "other", "*"):
            known[f"{scope} of {project}"] = (bearer(make(client, f"{scope}-{project.replace('*', 'all')}", [scope], [project])), {scope}, project)
    known["basic"] = (basic("anybody", make(client, "basic", ["read"], ["p", "q"])), {"read"}, "p")
    known["cookie"] = ({"Cookie": "a=b; modelmon_token=" + make(client, "cookie", ["admin"], ["*"])}, "cookie", "*")
    session = "a=b; session=j:{\"sid\": \"%s\"}" % make(client, "session", ["admin"], ["*"])
    known["MLRun's client's cookie"] = ({"Cookie": session, "x-mlrun-client-version": "1.12.1"}, {"admin"}, "*")
    known["that cookie by itself"] = ({"Cookie": session}, set(), "")
    known["of the configuration"] = (bearer(ADMIN), {"admin"}, "*")
    gone = [known["expired"][0], known["revoked"][0]]
    mm.wait_for(lambda: all(client.ask("GET", "/api/v1/tokens", h)[0] == 401 for h in gone), 5, "what has ended is refused")
    return known


def routes(command):
    printed = subprocess.run([*command, "--routes"], stdout=subprocess.PIPE, check=True, timeout=20, env={"PATH": os.environ["PATH"]}).stdout
    return [line.split("\t") for line in printed.decode().splitlines()]


def path_of(pattern):
    parts = ["p" if part == "{project}" else "x" if part.startswith("{") else part for part in pattern.split("/")]
    return "/".join(parts)


def row_of(rows, method, path):
    """(whether the path has any row, the row): as the server finds it."""
    found = False
    for row in rows:
        pattern = row[1].split("/")
        here = path.split("/")
        if len(pattern) == len(here) and all((b if a.startswith("{") else a == b) for a, b in zip(pattern, here)):
            found = True
            if row[0] == method or (row[0], method) == ("GET", "HEAD"):
                return True, row
    return found, None


def expected(rows, method, path, may, where):
    """The status, or "in": past the check, whatever then comes of it."""
    _, row = row_of(rows, method, path)
    if row is None:
        return 204 if method == "OPTIONS" else 405
    scope, reach = row[2], row[3]
    if scope == "open":
        return "in"
    if may == "cookie":  # reads, where it would come by itself
        may = {"admin"} if method in ("GET", "HEAD") else set()
    if not may:
        return 303 if row[4] == "page" else 401
    allowed = may & ENOUGH[scope] and (where == "*" or reach == "some" or (reach == "project" and where == "p"))
    return "in" if allowed else 403


def check(rows, client, known, only=None):
    cells = 0
    for path in sorted({path_of(row[1]) for row in rows}):
        for method in METHODS:
            for name, (headers, may, where) in known.items():
                body = "{}" if method in ("POST", "PUT", "PATCH") else None
                status, answered, text = client.ask(method, path, headers, body)
                want = expected(rows, method, path, may, where)
                what = f"{method} {path} with {name}: {status} {text[:200]!r}, wanted {want}"
                if want == "in":
                    assert status not in (401, 403, 405) or (status == 403 and b"forbidden" in text and path.count("/") == 1), what
                else:
                    assert status == want, what
                if want == 303:
                    assert answered["Location"].startswith("/ui/login?"), what
                if status == 401:
                    assert answered["WWW-Authenticate"].startswith("Bearer"), what
                    assert path not in text.decode(), what
                cells += 1
    assert cells >= len(rows) * len(known)
    return cells


def test_the_matrix_in_one_process():
    with mm.World() as w, running.start(w, embedded=True, ACCESS="tokens", ACCESS_ADMIN_TOKEN=ADMIN, ACCESS_METRICS="true") as m:
        m.wait_ready(60)
        rows = [[r[0], r[1], "read", "all", ""] if r[1] == "/metrics" else r for r in routes(m.command)]
        client = Client(m.port)
        known = credentials(client)
        assert len(known) >= 16
        assert len(rows) > 80 and check(rows, client, known) > 8000
        assert m.child.poll() is None
        shown = tool("audit", "--limit", 1000, API_URL=m.url(""), API_TOKEN=ADMIN)  # on SQLite
        assert shown.returncode == 0 and "ACCESS_ADMIN_TOKEN" in shown.stdout and "/api/v1/tokens/revoked" in shown.stdout, shown.stderr


@pytest.mark.parametrize("binary", SERVICES)
def test_the_matrix_of_each_service(binary):
    with mm.World() as w, contextlib.ExitStack() as stack:
        access = {"ACCESS": "tokens", "ACCESS_ADMIN_TOKEN": ADMIN}
        api = stack.enter_context(w.service("api", **access)).wait_ready()
        service = api if binary == "api" else stack.enter_context(w.service(binary, **access)).wait_ready()
        known = credentials(Client(api.port))
        check(routes(service.command), Client(service.port), known)


def test_a_new_token_is_known_everywhere_at_once_and_a_revoked_one_soon_not():
    with mm.World() as w, contextlib.ExitStack() as stack:
        access = {"ACCESS": "tokens", "ACCESS_ADMIN_TOKEN": ADMIN}
        api, stream = [stack.enter_context(w.service(name, **access)).wait_ready() for name in ("api", "stream")]
        w.project("p")
        env = {"API_URL": api.url(""), "API_TOKEN": ADMIN}
        made = tool("token", "create", "serving", "--scope", "ingest", "--project", "p", "--expires-in", "90d", **env)
        assert made.returncode == 0, made.stderr
        token = made.stdout.strip()
        event = {"model": "m", "inputs": [[1.0]], "outputs": [[2.0]]}
        assert stream.post("/p", event, bearer(token)).status_code == 202
        assert stream.post("/", {**event, "project": "p"}, bearer(token)).status_code == 202
        other = stream.post("/", {**event, "project": "other"}, bearer(token))
        assert other.status_code == 403 and other.json()["field"] == "project", other.text
        assert stream.post("/", event, bearer(token)).status_code == 403  # it does not say where
        assert stream.post("/other", event, bearer(token)).status_code == 403
        listed = tool("token", "list", **env)
        assert listed.returncode == 0 and "serving" in listed.stdout and token not in listed.stdout
        began = time.monotonic()
        assert tool("token", "revoke", "serving", **env).returncode == 0
        mm.wait_for(lambda: stream.post("/p", event, bearer(token)).status_code == 401, 5, "a revoked token is refused")
        assert time.monotonic() - began < 5
        assert tool("token", "revoke", "serving", **env).returncode == 1
        again = tool("token", "create", "serving", "--scope", "ingest", "--project", "p", **env).stdout.strip()
        assert again != token and stream.post("/p", event, bearer(again)).status_code == 202  # the name is free again
        stored = w.rows("SELECT hash, revoked_us FROM access_tokens ORDER BY id")
        assert [bool(r["revoked_us"]) for r in stored] == [True, False]
        dump = json.dumps(w.rows("SELECT * FROM access_tokens")) + api.text() + stream.text()
        for secret in (token, again, ADMIN):
            assert secret not in dump and secret[3:] not in dump
        assert stream.metric("modelmon_access_total", outcome="admitted") >= 3
        refused = tool("token", "list", API_URL=api.url(""), API_TOKEN=again)
        assert refused.returncode == 1 and "may not" in refused.stderr, refused.stderr
        nobody = tool("endpoints", "p", API_URL=api.url(""))
        assert nobody.returncode == 1 and "API_TOKEN" in nobody.stderr


def test_a_caller_of_some_projects_sees_those_alone():
    with mm.World() as w, w.service("api", ACCESS="tokens", ACCESS_ADMIN_TOKEN=ADMIN) as api:
        api.wait_ready()
        for name in ("p", "q", "secret"):
            w.project(name)
        client = Client(api.port)
        token = bearer(make(client, "two", ["read"], ["p", "q"]))
        listed = json.loads(client.ask("GET", "/api/v1/projects?format=name_only", token)[2])
        assert listed == {"projects": ["p", "q"]}
        page = client.ask("GET", "/", token)[2]
        assert b"/ui/p/q" in page and b"secret" not in page
        there, not_there = client.ask("GET", "/api/v1/projects/secret", token), client.ask("GET", "/api/v1/projects/nothing", token)
        assert there[0] == not_there[0] == 403 and there[2] == not_there[2]
        owner = bearer(make(client, "owner", ["admin"], ["own"]))
        for name, status in [("own", 201), ("secret", 403), ("another", 403)]:
            assert client.ask("POST", "/api/v1/projects", owner, json.dumps({"metadata": {"name": name}}))[0] == status, name
        for resource, action, status in [("/projects/p/feature-sets/f", "read", 200), ("/projects/secret/feature-sets/f", "read", 403),
                                         ("/projects/p/feature-sets/f", "store", 403)]:
            assert client.ask("POST", "/api/v1/authorization/verifications", token,
                              json.dumps({"resource": resource, "action": action}))[0] == status, resource


@pytest.mark.parametrize("body,field", [
    ({}, "name"), ({"name": "a b", "scopes": ["read"], "projects": ["*"]}, "name"), ({"name": "a" * 64, "scopes": ["read"], "projects": ["*"]}, "name"),
    ({"name": "a", "projects": ["*"]}, "scopes"), ({"name": "a", "scopes": [], "projects": ["*"]}, "scopes"),
    ({"name": "a", "scopes": ["open"], "projects": ["*"]}, "scopes"), ({"name": "a", "scopes": ["read,admin"], "projects": ["*"]}, "scopes"),
    ({"name": "a", "scopes": ["read"]}, "projects"), ({"name": "a", "scopes": ["read"], "projects": []}, "projects"),
    ({"name": "a", "scopes": ["read"], "projects": ["*", "p"]}, "projects"), ({"name": "a", "scopes": ["read"], "projects": ["P!"]}, "projects"),
    ({"name": "a", "scopes": ["read"], "projects": ["*"], "expires_in": "soon"}, "expires_in"),
    ({"name": "a", "scopes": ["read"], "projects": ["*"], "expires_in": "-1s"}, "expires_in"),
    ({"name": "a", "scopes": ["read"], "projects": ["*"], "rate": -1}, "rate"), ({"name": 7, "scopes": ["read"], "projects": ["*"]}, "name")])
def test_a_token_that_cannot_be(body, field, api):
    status, _, text = Client(api.port).ask("POST", "/api/v1/tokens", bearer(ADMIN), json.dumps(body))
    assert status == 400 and field in json.loads(text)["detail"], text


@pytest.fixture(scope="module")
def api():
    with mm.World() as w, w.service("api", ACCESS="tokens", ACCESS_ADMIN_TOKEN=ADMIN) as service:
        yield service.wait_ready()


def test_two_tokens_of_one_name(api):
    client = Client(api.port)
    make(client, "twice", ["read"], ["*"])
    status, _, text = client.ask("POST", "/api/v1/tokens", bearer(ADMIN), json.dumps({"name": "twice", "scopes": ["read"], "projects": ["*"]}))
    assert status == 409 and "twice" in json.loads(text)["detail"], text


def test_without_the_database_tokens_that_are_known_go_on():
    with mm.World() as w, w.service("stream", ACCESS="tokens", ACCESS_ADMIN_TOKEN=ADMIN) as stream, \
            w.service("api", ACCESS="tokens", ACCESS_ADMIN_TOKEN=ADMIN) as api:
        stream.wait_ready()
        api.wait_ready()
        w.project("p")
        token = make(Client(api.port), "known", ["ingest"], ["*"])
        event = {"model": "m", "inputs": [[1.0]], "outputs": [[2.0]]}
        assert stream.post("/p", event, bearer(token)).status_code == 202
        mm.stack("kill9", "postgres")
        try:
            assert mm.wait_for(lambda: stream.post("/p", event, bearer(token)).status_code == 202, 5, "known")
            unknown = mm.wait_for(lambda: (lambda a: a.status_code == 503 and a.headers)(
                stream.post("/p", event, bearer("mm_" + "B" * 43))), 15, "an unknown token cannot be looked up")
            assert int(unknown["Retry-After"]) > 0
            assert stream.post("/p", event, bearer("nothing like one")).status_code == 401
        finally:
            mm.stack("start", "postgres")
        mm.wait_for(lambda: stream.post("/p", event, bearer("mm_" + "B" * 43)).status_code == 401, 20, "it can again")


@pytest.mark.parametrize("binary", ["api", "stream", "modelmon"])
def test_others_are_not_let_in_by_accident(binary, tmp_path):
    command = [os.path.join(mm.BIN, binary)] + (["run"] if binary == "modelmon" else [])
    env = {"PATH": os.environ["PATH"], "HTTP_ADDR": "0.0.0.0", "HTTP_PORT": "0", "DATA_DIR": str(tmp_path / "d"),
           "DATABASE_URL": f"sqlite:///{tmp_path}/x.db", "KAFKA_BROKERS": f"local:{tmp_path}/log"}
    done = subprocess.run(command, env=env, timeout=20, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 2 and "ACCESS=tokens" in done.stdout and "ACCESS=open" in done.stdout, done.stdout


@pytest.mark.parametrize("binary, more, told", [
    ("histogram-drift-app", {"DRIFT_POTENTIAL": "0.9", "DRIFT_DETECTED": "0.8", "DRIFT_METRICS": "foo"},
     ["DRIFT_POTENTIAL, DRIFT_DETECTED: 0 <", "DRIFT_METRICS: 'foo'"]),
    ("operations-app", {"ERRORS_DETECTED": "2", "SURGE_POTENTIAL": "0.5", "ARRIVAL_RATE": "-1"},
     ["ERRORS_POTENTIAL, ERRORS_DETECTED: 0 <", "SURGE_POTENTIAL, SURGE_DETECTED: 1 <", "ARRIVAL_RATE: "]),
    ("controller", {"REFERENCE_AUTO": "100", "LATENESS": "x"}, ["REFERENCE_AUTO, LAKE_DIR: ", "LATENESS: "]),
    ("modelmon", {"DRIFT_DETECTED": "0.4", "LLM_EMPTY_DETECTED": "2"},
     ["DRIFT_POTENTIAL, DRIFT_DETECTED: 0 <", "LLM_EMPTY_POTENTIAL, LLM_EMPTY_DETECTED: 0 <"]),
])
def test_no_fault_hides_another(binary, more, told, tmp_path):
    """Options that do not fit each other, those that are wrong by themselves, and who may ask: all at once."""
    command = [os.path.join(mm.BIN, binary)] + (["run"] if binary == "modelmon" else [])
    env = {"PATH": os.environ["PATH"], "HTTP_ADDR": "0.0.0.0", "HTTP_PORT": "abc", "DATA_DIR": str(tmp_path / "d"),
           "DATABASE_URL": f"sqlite:///{tmp_path}/x.db", "KAFKA_BROKERS": f"local:{tmp_path}/log", **more}
    done = subprocess.run(command, env=env, timeout=20, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    lines = done.stdout.splitlines()
    assert done.returncode == 2 and "wrong configuration" in lines[0]
    for words in ["HTTP_PORT: ", "ACCESS, HTTP_ADDR: others reach 0.0.0.0", *told]:
        assert sum(line.startswith(words) for line in lines) == 1, done.stdout
    assert len(lines) == 3 + len(told), done.stdout


def test_a_secret_that_is_too_short_is_none():
    done = subprocess.run([os.path.join(mm.BIN, "api")], env={"ACCESS": "tokens", "ACCESS_ADMIN_TOKEN": "short", "DATABASE_URL": "sqlite:////x"},
                          timeout=20, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 2 and "ACCESS_ADMIN_TOKEN" in done.stdout and "short" not in done.stdout, done.stdout


def test_generated_tokens_differ():
    tokens = {tool("token", "generate").stdout.strip() for _ in range(20)}
    assert len(tokens) == 20 and all(len(t) == 46 and t.startswith("mm_") for t in tokens)


def test_who_changed_what_is_kept():
    with mm.World() as w, w.service("api", ACCESS="tokens", ACCESS_ADMIN_TOKEN=ADMIN) as api:
        api.wait_ready()
        client = Client(api.port)
        env = {"API_URL": api.url(""), "API_TOKEN": ADMIN}
        token = make(client, "deployer", ["admin"], ["p"])
        one = bearer(token)
        assert client.ask("PUT", "/api/v1/projects/p?x=secret-in-a-query", one, json.dumps({"metadata": {"name": "p"}}))[0] == 200
        assert client.ask("PUT", "/api/v1/projects/p/apps/mine", one, "{}")[0] == 200
        for method, path, body, status in [("PATCH", "/api/v1/projects/p", "{", 400), ("DELETE", "/api/v1/projects/q", None, 403),
                                           ("GET", "/api/v1/projects/p", None, 200), ("POST", "/api/v1/tokens", "{}", 403),
                                           ("POST", "/api/v1/authorization/verifications", '{"resource": "/projects/p/x", "action": "read"}', 200)]:
            assert client.ask(method, path, one, body)[0] == status, path
        assert client.ask("DELETE", "/api/v1/projects/p", {**one, "x-mlrun-deletion-strategy": "cascade"})[0] == 204
        rows = json.loads(client.ask("GET", "/api/v1/audit", bearer(ADMIN))[2])["audit"]
        told = [(r["who"], r["action"], r["target"], r["project"], r["address"]) for r in rows]
        assert told == [("deployer", "DELETE /api/v1/projects/{project}", "/api/v1/projects/p", "p", "127.0.0.1"),
                        ("deployer", "PUT /api/v1/projects/{project}/apps/{app}", "/api/v1/projects/p/apps/mine", "p", "127.0.0.1"),
                        ("deployer", "PUT /api/v1/projects/{project}", "/api/v1/projects/p", "p", "127.0.0.1"),
                        ("ACCESS_ADMIN_TOKEN", "POST /api/v1/tokens", "/api/v1/tokens", "", "127.0.0.1")]
        dump = json.dumps(w.rows("SELECT * FROM audit_log"))
        assert token not in dump and ADMIN not in dump and "secret-in-a-query" not in dump
        shown = tool("audit", "--who", "deployer", "--project", "p", "--limit", "2", **env)
        assert shown.returncode == 0 and shown.stdout.count("\n") == 2 and "DELETE   /api/v1/projects/p\n" in shown.stdout, shown.stdout
        later = json.loads(client.ask("GET", f"/api/v1/audit?before={rows[1]['id']}&limit=1", bearer(ADMIN))[2])["audit"]
        assert [r["id"] for r in later] == [rows[2]["id"]]
        assert tool("audit", "--since", "2999-01-01T00:00:00Z", **env).stdout == ""
        refused = tool("audit", "--since", "yesterday", **env)
        assert refused.returncode == 1 and "since" in refused.stderr
        assert api.events("forbidden")[0]["token"] == "deployer"


def test_old_rows_of_the_audit_log_go():
    with mm.World() as w, w.service("controller", RETENTION_AUDIT="10d") as controller:
        controller.wait_ready()
        controller.term()
        for age in (1, 9, 11, 400):
            w.rows("INSERT INTO audit_log (at_us, who, address, action, target, project, status) VALUES (%s, '', '', %s, '', '', 200)",
                   mm.now_us() - age * mm.DAY_US, str(age))
        controller.start()
        mm.wait_for(lambda: [r["action"] for r in w.rows("SELECT action FROM audit_log ORDER BY id")] == ["1", "9"], 20, "old rows go")


def sign_in(session, api, token, **headers):
    return session.post(api.url("/ui/login"), data=f"next=/ui/p/p\r\ntoken={token}\r\n", allow_redirects=False, timeout=10,
                        headers={"Content-Type": "text/plain", "Sec-Fetch-Site": "same-origin", **headers})


def test_signing_in_to_the_pages(api):
    session = requests.Session()
    token = make(Client(api.port), "person", ["admin"], ["*"])
    assert session.put(api.url("/api/v1/projects/p"), data="{}", headers=bearer(ADMIN), timeout=10).status_code == 200
    sent = session.get(api.url("/ui/p/p"), timeout=10)
    assert sent.url.endswith("/ui/login?next=/ui/p/p") and 'value="/ui/p/p"' in sent.text and 'type="password"' in sent.text
    for wrong in ("", "a b", "a;b", "x" * 300):
        assert sign_in(session, api, wrong).status_code == 400
    for other in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "", "Origin": "https://elsewhere.example"}):
        refused = sign_in(session, api, token, **other)
        assert refused.status_code == 400 and "Set-Cookie" not in refused.headers
    done = sign_in(session, api, "mm_" + "C" * 43)
    assert done.status_code == 303
    back = session.get(api.url("/ui/p/p"), timeout=10)
    assert "unknown=1" in back.url and "not known here" in back.text
    done = sign_in(session, api, token)
    assert done.headers["Location"] == "/ui/p/p"
    for part in ("HttpOnly", "SameSite=Strict", "Path=/", "Max-Age="):
        assert part in done.headers["Set-Cookie"], part
    assert "Secure" not in done.headers["Set-Cookie"]
    assert "Secure" in sign_in(requests.Session(), api, token, **{"X-Forwarded-Proto": "https"}).headers["Set-Cookie"]
    home = session.get(api.url("/"), timeout=10)
    assert home.status_code == 200 and "Signed in as" in home.text and "person" in home.text and token not in home.text
    for method, path in [("PUT", "/api/v1/projects/p"), ("DELETE", "/api/v1/projects/p"), ("POST", "/api/v1/tokens")]:
        assert session.request(method, api.url(path), data="{}", timeout=10).status_code == 401, path  # a cookie changes nothing
    out = session.post(api.url("/ui/logout"), headers={"Sec-Fetch-Site": "same-origin"}, timeout=10)
    assert out.url.endswith("/ui/login") and not session.cookies.get("modelmon_token")
    for away in ("//elsewhere.example/", "https://elsewhere.example", "/ui/p/\r\nX: y", "/\\elsewhere", "javascript:alert(1)"):
        shown = session.get(api.url("/ui/login"), params={"next": away}, timeout=10)
        assert shown.status_code == 400 or 'value="/"' in shown.text, away
        assert session.post(api.url("/ui/login"), data=f"next={away}\ntoken={token}\n", allow_redirects=False, timeout=10,
                            headers={"Content-Type": "text/plain"}).headers["Location"] in ("/", "/ui/p/"), away


def hammer(client, token, seconds, path="/api/v1/projects?format=name_only"):
    """(how many were let in, the answers that were not)"""
    admitted, refused, end = 0, [], time.monotonic() + seconds
    while time.monotonic() < end:
        status, headers, text = client.ask("GET", path, bearer(token))
        admitted += status == 200
        if status != 200:
            refused.append((status, headers, text))
    return admitted, refused


@pytest.mark.parametrize("redis", [True, False])
def test_a_token_may_ask_so_often(redis):
    more = {} if redis else {"REDIS_URL": ""}
    with mm.World() as w, w.service("api", ACCESS="tokens", ACCESS_ADMIN_TOKEN=ADMIN, ACCESS_RATE=40, **more) as api:
        api.wait_ready()
        client = Client(api.port)
        few, default = make(client, "few", ["read"], ["*"], rate=5), make(client, "default", ["read"], ["*"])
        began = time.monotonic()
        admitted, refused = hammer(client, few, 2)
        took = time.monotonic() - began
        assert 5 <= admitted <= 5 + 5 * took + 1, admitted
        assert {status for status, _, _ in refused} == {429}
        assert 1 <= int(refused[0][1]["Retry-After"]) <= 2 and b"5 times a second" in refused[0][2]
        mm.wait_for(lambda: client.ask("GET", "/api/v1/projects", bearer(few))[0] == 200, 3, "its turn again")
        admitted, refused = hammer(client, default, 1)
        assert 40 <= admitted <= 40 + 40 * 1.5 and refused
        assert hammer(client, ADMIN, 1)[1] == []  # the first one has no limit
        assert api.metric("modelmon_access_total", outcome="limited") > 0


@pytest.mark.parametrize("redis_was_away", [False, True])
def test_processes_count_together(redis_was_away):
    with mm.World() as w, contextlib.ExitStack() as stack:
        access = {"ACCESS": "tokens", "ACCESS_ADMIN_TOKEN": ADMIN}
        first, second = [stack.enter_context(w.service("api", **access)).wait_ready() for _ in range(2)]
        token = make(Client(first.port), "shared", ["read"], ["*"], rate=50)
        if redis_was_away:
            mm.stack("kill9", "redis")
            try:
                for s in (first, second):
                    assert hammer(Client(s.port), token, 1)[0] > 0
            finally:
                mm.stack("start", "redis")
            for s in (first, second):
                mm.wait_for(lambda s=s: '"cache","state":"ok"' in s.get("/readyz").text, 20, "Redis again")
            mm.wait_for(lambda: hammer(Client(first.port), token, 0.2) and hammer(Client(second.port), token, 0.2) and
                        w.redis().keys("mm:rate:*"), 20, "they count there again")
        with concurrent.futures.ThreadPoolExecutor(2) as threads:
            both = list(threads.map(lambda s: hammer(Client(s.port), token, 4)[0], (first, second)))
        assert all(both), both
        assert 150 <= sum(both) <= 350, both  # 250 and what was let in before they heard of each other; apart they would be 500
        assert w.redis().keys("mm:rate:*")
