"""Datastore profiles, secrets and credentials of monitoring, on both databases: what is kept, what is answered, what is tried first."""
import base64
import contextlib
import glob
import json
import os
import sqlite3
import socket
import tempfile
import time
import urllib.parse

import psycopg2
import pytest
from api_server import Api, wait_for

KEY, OTHER_KEY = "11" * 32, "ab" * 32
PASSWORD = "s3cret-pw-of-a-profile"


@pytest.fixture(scope="module", params=["postgres", "sqlite"])
def api(request):
    with tempfile.TemporaryDirectory(prefix="mm-credentials-") as folder:
        env = {"DATABASE_URL": f"sqlite:///{folder}/db"} if request.param == "sqlite" else {}
        with Api(SECRETS_KEY=KEY, **env) as server:
            server.kind = request.param
            server.place = folder
            yield server


def v1(project, path=""):
    return f"/api/v1/projects/{project}{path}"


def part(**values):
    """A profile's part as MLRun's client makes it."""
    return json.dumps({k: base64.b64encode(str(v).encode()).decode() for k, v in values.items()}).replace(" ", "")


def profile(name, kind, private=None, **public):
    return {"name": name, "type": kind, "object": part(type=kind, name=name, **public), "private": part(**(private or {})), "project": None}


def kafka(name="kafka-p", brokers=None, **more):
    return profile(name, "kafka_stream", {"sasl_user": None, "sasl_pass": None, "kwargs_private": None, **more},
                   brokers=brokers or os.environ["MM_TEST_KAFKA"], topics=[], group="serving", initial_offset="earliest", partitions=None,
                   kwargs_public=None)


def server_of():
    return urllib.parse.urlparse(os.environ["MM_TEST_PG"])


def postgres(name="pg-p", port=None, user=None, database="postgres", host=None):
    at = server_of()
    return profile(name, "postgresql", {"password": PASSWORD}, user=user or at.username, host=host or at.hostname, port=port or at.port,
                   database=database)


def put(api, project, body):
    return api.put(v1(project, "/datastore-profiles"), dict(body, project=project))


def credentials(api, project, **query):
    return api.put(v1(project, "/model-monitoring/credentials?") + urllib.parse.urlencode(query), "")


def kept(api, table):
    """All of a table's cells, as one text."""
    if api.kind == "sqlite":
        with contextlib.closing(sqlite3.connect(f"{api.place}/db")) as db:
            return str(db.execute(f"SELECT * FROM {table}").fetchall())
    return str([[bytes(c) if isinstance(c, memoryview) else c for c in row] for row in api.sql(f"SELECT * FROM {table}")])


def closed_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_profiles_come_and_go_and_their_private_parts_are_never_seen_again(api):
    project = api.project()
    sent = dict(postgres(), project=project)
    answer = put(api, project, sent)
    assert answer.status == 200 and answer.json == dict(sent, private=None)
    assert api.get(v1(project, "/datastore-profiles/pg-p")).json == dict(sent, private=None)
    assert put(api, project, profile("a", "s3", {"secret_key": "x"}, bucket="b")).status == 200
    assert [p["name"] for p in api.get(v1(project, "/datastore-profiles")).json] == ["a", "pg-p"]
    assert api.get(v1(project, "/secret-keys?provider=kubernetes")).json == {
        "provider": "kubernetes", "secret_keys": [f"datastore-profiles.{project}.a", f"datastore-profiles.{project}.pg-p"]}
    for text in (PASSWORD, base64.b64encode(PASSWORD.encode()).decode()):
        assert text not in kept(api, "project_secrets") + kept(api, "datastore_profiles")
    assert api.delete(v1(project, "/datastore-profiles/a")).status == 204
    assert api.get(v1(project, "/datastore-profiles/a")).status == 404
    assert api.delete(v1(project, "/datastore-profiles/a")).status == 404
    assert api.get(v1(project, "/secret-keys")).json["secret_keys"] == [f"datastore-profiles.{project}.pg-p"]
    other = api.project()
    assert api.get(v1(other, "/datastore-profiles")).json == [] and api.get(v1(other, "/datastore-profiles/pg-p")).status == 404
    assert api.request("DELETE", v1(project)).status == 204, "a profile is nothing that holds a project"


def test_profiles_that_are_none(api):
    project = api.project()
    good = dict(kafka(), project=project)
    for field, value in (("name", ""), ("name", "A"), ("name", "a/b"), ("name", "x" * 200), ("name", 3), ("type", ""), ("type", None), ("object", "x"),
                         ("object", "[]"), ("object", '{"a":1}'), ("object", '{"a":"?"}'), ("private", "{"), ("private", 1),
                         ("object", part(name="other")), ("object", part(type="s3")), ("project", "another"), ("object", part(a="x" * 40000))):
        answer = api.put(v1(project, "/datastore-profiles"), dict(good, **{field: value}))
        assert answer.status == 400 and field in answer.detail, (field, value, answer.text)
    assert api.get(v1(project, "/datastore-profiles")).json == []
    assert api.put(v1("nowhere", "/datastore-profiles"), good).status == 404


def test_secrets_come_in_and_their_names_go_out(api):
    project = api.project()
    path = v1(project, "/secrets")
    answer = api.post(path, {"provider": "kubernetes", "secrets": {"SLACK_WEBHOOK": "hook-value", "b.c-d": "x" * 60000}})
    assert answer.status == 201 and answer.text == ""
    assert api.get(v1(project, "/secret-keys?provider=kubernetes")).json["secret_keys"] == ["SLACK_WEBHOOK", "b.c-d"]
    assert api.get(path + "?provider=kubernetes").status == 403 and "hook-value" not in kept(api, "project_secrets")
    for body in ({"provider": "vault", "secrets": {"A": "b"}}, {"secrets": {"A": 1}}, {"secrets": {"A": None}}, {"secrets": {"": "b"}},
                 {"secrets": {"a b": "c"}}, {"secrets": {"A": "x" * 70000}}, {"secrets": {"x" * 254: "b"}}, {"secrets": []},
                 {"secrets": {"mlrun.x": "b"}}, {"secrets": {f"datastore-profiles.{project}.p": "b"}},
                 {"secrets": {"GOOD": "x", "bad name": "y"}}, {"secrets": {f"S{i}": "x" for i in range(1001)}}):
        assert api.post(path, body).status == 400, body
    assert api.get(v1(project, "/secret-keys")).json["secret_keys"] == ["SLACK_WEBHOOK", "b.c-d"], "all or nothing"
    assert api.delete(path + "?provider=kubernetes&secret=SLACK_WEBHOOK&secret=never").status == 204
    assert api.get(v1(project, "/secret-keys")).json["secret_keys"] == ["b.c-d"]
    put(api, project, postgres())
    assert api.delete(path).status == 204
    assert api.get(v1(project, "/secret-keys")).json["secret_keys"] == [f"datastore-profiles.{project}.pg-p"]


def test_credentials_are_profiles_that_were_connected_to(api):
    project = api.project()
    assert put(api, project, kafka()).status == 200 and put(api, project, postgres()).status == 200
    for _ in range(2):
        answer = credentials(api, project, tsdb_profile_name="pg-p", stream_profile_name="kafka-p", replace_creds=False)
        assert answer.status == 200 and [answer.json[k]["name"] for k in ("stream_profile_name", "tsdb_profile_name")] == ["kafka-p", "pg-p"]
        assert "events and results are read from it" in answer.text and "modelmon's own database" in answer.text
    assert api.delete(v1(project, "/datastore-profiles/pg-p")).status == 409
    assert put(api, project, kafka("k2", [os.environ["MM_TEST_KAFKA"]])).status == 200
    answer = credentials(api, project, stream_profile_name="k2", tsdb_profile_name="pg-p", replace_creds=False)
    assert answer.status == 409 and "replace_creds" in answer.detail
    assert credentials(api, project, stream_profile_name="k2", replace_creds=True).status == 200
    assert "'k2', 'pg-p'" in kept(api, "monitoring_credentials")
    assert api.delete(v1(project, "/datastore-profiles/kafka-p")).status == 204
    assert credentials(api, project).status == 400
    assert credentials(api, project, stream_profile_name="never", replace_creds=True).status == 404
    assert credentials(api, project, stream_profile_name="pg-p", replace_creds=True).status == 400
    put(api, project, profile("v", "v3io", {"v3io_access_key": "x"}))
    for field, supported in (("stream_profile_name", "kafka_stream"), ("tsdb_profile_name", "postgresql")):
        answer = credentials(api, project, replace_creds=True, **{field: "v"})
        assert answer.status == 400 and field in answer.detail and "v3io" in answer.detail and supported in answer.detail
    assert "'k2', 'pg-p'" in kept(api, "monitoring_credentials")


def test_who_is_not_let_in_is_told_so_and_nothing_changes(api):
    project = api.project()
    put(api, project, kafka("dead", f"127.0.0.1:{closed_port()}"))
    put(api, project, kafka("sasl", sasl_user="u", sasl_pass=PASSWORD))  # a broker that has no SASL
    put(api, project, postgres("dead-pg", port=closed_port()))
    put(api, project, postgres("no-db", database="never_there"))
    for field, name in (("stream_profile_name", "dead"), ("stream_profile_name", "sasl"), ("tsdb_profile_name", "dead-pg"), ("tsdb_profile_name", "no-db")):
        began = time.monotonic()
        answer = credentials(api, project, **{field: name})
        assert answer.status == 400 and field in answer.detail and name in answer.detail, answer.text
        assert time.monotonic() - began < 12 and PASSWORD not in answer.text and "never_there" not in answer.text
    assert f"'{project}'" not in kept(api, "monitoring_credentials")
    log = open(api.log).read()
    assert log.count('"ev":"credentials_refused"') >= 4 and PASSWORD not in log
    # one that is in use is tried before it is replaced
    put(api, project, kafka())
    assert credentials(api, project, stream_profile_name="kafka-p").status == 200
    assert put(api, project, kafka("kafka-p", f"127.0.0.1:{closed_port()}")).status == 400
    assert os.environ["MM_TEST_KAFKA"] in base64.b64decode(json.loads(api.get(v1(project, "/datastore-profiles/kafka-p")).json["object"])["brokers"]).decode()
    assert put(api, project, kafka()).status == 200


def test_connection_strings_of_1_7(api):
    project, at = api.project(), server_of()

    def post(**query):
        return api.post(v1(project, "/model-monitoring/set-model-monitoring-credentials?") + urllib.parse.urlencode(query), "")

    url = f"postgresql://{at.username}:{urllib.parse.quote(PASSWORD + '@/')}@{at.hostname}:{at.port}/postgres"
    answer = post(stream_path=f"kafka://{os.environ['MM_TEST_KAFKA']}", tsdb_connection=url, endpoint_store_connection="sqlite:////tmp/x.db")
    assert answer.status == 200 and answer.json["stream_profile_name"]["name"] == "model-monitoring-stream", answer.text
    assert [p["name"] for p in api.get(v1(project, "/datastore-profiles")).json] == ["model-monitoring-stream", "model-monitoring-tsdb"]
    assert "'model-monitoring-stream', 'model-monitoring-tsdb'" in kept(api, "monitoring_credentials")
    assert post(endpoint_store_connection="sqlite:////tmp/x.db", replace_creds=True).status == 200
    assert "sqlite:////tmp/x.db" in kept(api, "monitoring_credentials") and not os.path.exists("/tmp/x.db")
    for field, value, supported in (("stream_path", "v3io:///x", "kafka://"), ("stream_path", "kafka://a:1?topic=x", "kafka://"), ("stream_path", "v3io", "kafka://"),
                                    ("tsdb_connection", "taosws://u:p@h:6041", "postgresql://"), ("tsdb_connection", "v3io", "sqlite:///"),
                                    ("endpoint_store_connection", "mysql+pymysql://u@h:3306/d", "postgresql://"), ("tsdb_connection", "postgresql://h", "postgresql://"),
                                    ("tsdb_connection", "postgresql://u@h:1/d?sslmode=x", "postgresql://")):
        answer = post(**{field: value}, replace_creds=True)
        assert answer.status == 400 and field in answer.detail and supported in answer.detail, (field, value, answer.text)
    answer = post(stream_path=f"kafka://127.0.0.1:{closed_port()}", replace_creds=True)
    assert answer.status == 400 and "stream_path" in answer.detail
    assert post().status == 400 and post(stream_path=f"kafka://{os.environ['MM_TEST_KAFKA']}", replace_creds="maybe").status == 400


@pytest.mark.parametrize("kind", ["postgres", "sqlite"])
def test_keys_are_rotated_and_lost(kind):
    with tempfile.TemporaryDirectory(prefix="mm-keys-") as folder:
        file = os.path.join(folder, "key")

        def start(text, key_in_file=True, **env):
            with open(file, "w") as f:
                f.write(text)
            os.chmod(file, 0o600)
            more = {"SECRETS_KEY_FILE": file} if key_in_file else {"SECRETS_KEY": text}
            api = Api(**more, DATABASE_URL=f"sqlite:///{folder}/db") if kind == "sqlite" else Api(database=env.get("database"), **more)
            api.kind, api.place = kind, folder
            return api

        first = start(KEY)
        first.drop = lambda: None
        with first as api:
            project = api.project()
            put(api, project, kafka("kafka-p", sasl_user="u", sasl_pass="p"))
            put(api, project, postgres())
            assert credentials(api, project, tsdb_profile_name="pg-p").status == 200
        lost = start(OTHER_KEY, database=first.database)
        lost.drop = lambda: None
        with lost as api:  # without its key a profile cannot be used, and says so
            answer = credentials(api, project, tsdb_profile_name="pg-p", replace_creds=True)
            assert answer.status == 400 and "SECRETS_KEY" in answer.detail
            assert api.post("/api/v1/secrets/reseal", "").status == 400
        both = start(OTHER_KEY + "\n" + KEY, database=first.database)
        both.drop = lambda: None
        with both as api:
            assert credentials(api, project, tsdb_profile_name="pg-p").status == 200
            done = api.post("/api/v1/secrets/reseal", "").json
            assert done["resealed"] == 2 and len(done["key"]) == 8
            assert api.post("/api/v1/secrets/reseal", "").json["resealed"] == 0
        with start(OTHER_KEY, key_in_file=False, database=first.database) as api:
            assert credentials(api, project, tsdb_profile_name="pg-p").status == 200


def test_without_a_key_no_secret_is_kept():
    with Api() as api:
        project = api.project()
        answer = api.post(v1(project, "/secrets"), {"secrets": {"A": "b"}})
        assert answer.status == 400 and "SECRETS_KEY" in answer.detail
        answer = put(api, project, postgres())
        assert answer.status == 400 and "SECRETS_KEY" in answer.detail
        assert put(api, project, kafka()).status == 200, "nothing in it has to be sealed"
        assert credentials(api, project, stream_profile_name="kafka-p").status == 200
        assert api.post("/api/v1/secrets/reseal", "").status == 400
