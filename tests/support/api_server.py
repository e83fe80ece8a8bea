"""The api binary for tests: on a database of its own, and rows for it that the other services would write."""
import http.client
import json
import math
import os
import signal
import sqlite3
import struct
import subprocess
import tempfile
import time
import uuid

import psycopg2

ROOT = os.environ.get("MM_ROOT") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.path.join(os.environ.get("MM_BIN") or os.path.join(ROOT, "build/bin"), "api")
SECOND = 1_000_000
DAY = 86_400 * SECOND
NAN_BYTES = b"NaN\xf8\x7f"  # what stands for it in SQLite


def wait_for(what, seconds=20):
    """Calls it until it gives something true; an assertion error is one more try."""
    end = time.monotonic() + seconds
    while True:
        try:
            got = what()
            if got:
                return got
            problem = AssertionError(f"still {got!r} after {seconds} s")
        except (AssertionError, OSError, http.client.HTTPException) as e:
            problem = e
        if time.monotonic() > end:
            raise problem
        time.sleep(0.05)


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        assert self.headers["Content-Type"].split(";")[0] in ("application/json", "application/problem+json")
        return json.loads(self.body)

    @property
    def detail(self):
        return self.json["detail"]


class Api:
    """with Api() as api: api.get("/api/v1/healthz").json. backend: postgres, or sqlite, a file of its own."""

    def __init__(self, database=None, wait=True, backend="postgres", **env):
        server, _, _ = os.environ["MM_TEST_PG"].rpartition("/")
        self.database = database or "mm_api_" + uuid.uuid4().hex[:12]
        self.server = server
        self.folder = tempfile.TemporaryDirectory(prefix="mm-api-")
        self.file = os.path.join(self.folder.name, "db") if backend == "sqlite" else None
        self.url = f"sqlite:///{self.file}" if self.file else f"{server}/{self.database}"
        self.port_file = os.path.join(self.folder.name, "port")
        self.log = os.path.join(self.folder.name, "log")
        self.env = dict(os.environ, HTTP_PORT="0", HTTP_PORT_FILE=self.port_file, SYSTEM_ID="test",
                        DATABASE_URL=self.url, REDIS_URL=f"redis://{os.environ['MM_TEST_REDIS']}",
                        LAKE_DIR=os.path.join(self.folder.name, "lake"))
        self.env.update({k: str(v) for k, v in env.items()})
        self.wait = wait
        self.child = None

    def __enter__(self):
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen([BIN], env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.port = int(wait_for(self._port))
        if self.wait:
            wait_for(lambda: self._alive() and self.get("/readyz").status == 200)
        return self

    def _alive(self):
        code = self.child.poll()
        if code is not None:
            raise RuntimeError(f"the api ended with {code}\n" + open(self.log).read())
        return True

    def _port(self):
        self._alive()
        with open(self.port_file) as f:
            return f.read().strip()

    def __exit__(self, *_):
        self.child.send_signal(signal.SIGTERM)
        try:
            code = self.child.wait(15)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            raise
        finally:
            self.drop()
        assert code == 0, f"exit code {code}\n" + open(self.log).read()
        self.folder.cleanup()

    def drop(self):
        if self.file:
            return
        db = psycopg2.connect(f"{self.server}/postgres")
        db.autocommit = True
        with db.cursor() as cursor:
            cursor.execute(f'DROP DATABASE IF EXISTS "{self.database}" WITH (FORCE)')
        db.close()

    # --- requests: bytes as given, no Content-Type, as MLRun's client does ---
    def request(self, method, path, body=None, headers=None):
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body.encode() if isinstance(body, str) else body, headers or {})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def get(self, path):
        return self.request("GET", path)

    def put(self, path, body):
        return self.request("PUT", path, body)

    def post(self, path, body):
        return self.request("POST", path, body)

    def patch(self, path, body):
        return self.request("PATCH", path, body)

    def delete(self, path):
        return self.request("DELETE", path)

    # --- what tests begin with ---
    def project(self, name=None, **monitoring):
        name = name or "p-" + uuid.uuid4().hex[:10]
        answer = self.put(f"/api/v1/projects/{name}", {"metadata": {"name": name}, "spec": {"monitoring": monitoring}})
        assert answer.status == 200, answer.text
        return name

    def endpoint(self, project, name="m", strategy="inplace", **parts):
        answer = self.post(f"/api/v1/projects/{project}/model-endpoints?creation-strategy={strategy}",
                           record(project, name, **parts))
        assert answer.status == 201, answer.text
        return answer.json

    def sql(self, statement, *values):
        if self.file:
            db = sqlite3.connect(self.file, timeout=20)
            try:
                values = [NAN_BYTES if isinstance(v, float) and math.isnan(v) else v for v in values]
                with db:
                    return db.execute(statement.replace("%s", "?"), values).fetchall()
            finally:
                db.close()
        db = psycopg2.connect(self.url)
        try:
            with db, db.cursor() as cursor:
                cursor.execute(statement, values)
                return cursor.fetchall() if cursor.description else None
        finally:
            db.close()


def record(project, name="m", **parts):
    """A body as the client makes it; parts: metadata=, spec=, status= with what differs."""
    body = {"kind": "model-endpoint",
            "metadata": {"name": name, "project": project, "labels": {}, "uid": None, "endpoint_type": 1, "mode": None},
            "spec": {"function_name": "serving", "function_tag": "latest", "model_name": name, "feature_names": [],
                     "label_names": [], "feature_stats": {}},
            "status": {"monitoring_mode": "enabled"}}
    for part, values in parts.items():
        body[part].update(values)
    return body


# --- rows as the stream and the writer leave them ---
def _uint(n):
    out = bytearray()
    while True:
        out.append(n & 127 | (128 if n > 127 else 0))
        n >>= 7
        if not n:
            return bytes(out)


def slot_body(requests, rows, errors, latency_us):
    """A slot of no columns (stats/slot.c, format 1), all its requests with the same latency."""
    key = math.ceil(math.log(latency_us) / math.log(1.01 / 0.99)) + 40000

    def double(v):
        return b"\0" + struct.pack("<d", v)

    body = b"\1" + _uint(requests) + _uint(rows) + _uint(errors) + double(float(rows)) + _uint(1) + _uint(key * 2) + \
        _uint(requests) + double(float(requests * latency_us))
    if requests > 1:
        body += double(float(latency_us)) * 2
    return body + _uint(0) + _uint(0)


class Rows:
    """Results and slots of one endpoint, straight into the tables."""

    def __init__(self, api, project, uid, app="histogram-data-drift"):
        self.api = api
        self.project_id, self.endpoint_id = api.sql(
            "SELECT p.id, e.id FROM projects p JOIN endpoints e ON e.project_id = p.id WHERE p.name = %s AND e.uid = %s",
            project, uid)[0]
        self.app_id = api.sql("INSERT INTO apps (project_id, name, created_us) VALUES (%s, %s, 1) "
                              "ON CONFLICT (project_id, name) DO UPDATE SET name = EXCLUDED.name RETURNING id",
                              self.project_id, app)[0][0]
        self.offset = 0

    def day(self, table, at_us):
        """The partition of that day, as the writer makes it."""
        day = at_us // DAY * DAY
        if not self.api.file:
            self.api.sql(f"CREATE TABLE IF NOT EXISTS {table}_p{time.strftime('%Y%m%d', time.gmtime(day // SECOND))} "
                         f"PARTITION OF {table} FOR VALUES FROM ({day}) TO ({day + DAY})")

    def metric(self, name, kind=None):
        found = self.api.sql("SELECT id FROM metrics WHERE app_id = %s AND name = %s AND type = %s", self.app_id, name,
                             0 if kind is not None else 1)
        return found[0][0] if found else self.api.sql(
            "INSERT INTO metrics (project_id, app_id, type, name, result_kind) VALUES (%s, %s, %s, %s, %s) RETURNING id",
            self.project_id, self.app_id, 0 if kind is not None else 1, name, kind)[0][0]

    def result(self, end_us, value, status, name="general_drift", kind=0, length_us=60 * SECOND, extra="{}", late_us=400000):
        self.day("results", end_us)
        self.api.sql("INSERT INTO results VALUES (%s, %s, %s, %s, %s, 0, 1, %s, %s, %s, '', %s)", self.project_id,
                     self.endpoint_id, self.metric(name, kind), end_us - length_us, end_us, value, status, extra,
                     end_us + late_us)

    def value(self, end_us, value, name, length_us=60 * SECOND):
        self.day("results", end_us)
        self.api.sql("INSERT INTO results VALUES (%s, %s, %s, %s, %s, 0, 1, %s, NULL, '', '', %s)", self.project_id,
                     self.endpoint_id, self.metric(name), end_us - length_us, end_us, value, end_us + SECOND)

    def statistic(self, end_us, name, body, length_us=60 * SECOND):
        self.day("app_statistics", end_us)
        self.api.sql("INSERT INTO app_statistics VALUES (%s, %s, %s, %s, %s, %s, 0, 1, %s, %s, %s)", self.project_id,
                     self.endpoint_id, self.app_id, name, end_us - length_us, end_us, json.dumps(body), end_us, end_us)

    def slot(self, start_us, requests=1, rows=1, errors=0, latency_us=1000, estimated=None):
        self.offset += 1
        self.day("slots", start_us)
        self.api.sql("INSERT INTO slots VALUES (%s, %s, %s, %s, 0, 1, 0, 't', 0, %s, %s, %s, %s, %s, 1, %s)", self.project_id,
                     self.endpoint_id, start_us, 60 * SECOND, self.offset, requests, rows, errors,
                     float(rows if estimated is None else estimated), slot_body(requests, rows, errors, latency_us))

    def seen(self, first_us, last_us):
        self.api.sql("UPDATE endpoints SET first_request_us = %s, last_request_us = %s WHERE id = %s", first_us, last_us,
                     self.endpoint_id)
