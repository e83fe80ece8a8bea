"""Hostile text in every part of every route of the api, from its own table: refused or taken for the text that it is, nothing of another
project changes, nothing leaks, nothing ends."""
import json
import os
import re
import sqlite3
import subprocess
import urllib.parse

import pytest

import mm
import test_access as access

TEXTS = ["' OR '1'='1", "'; DROP TABLE projects; --", '" OR ""="', "1; DELETE FROM endpoints", "x') UNION ALL VALUES (1) --",
         "$1", "%' AND 1=0 --", "../../../../../../etc/passwd", "..\\..\\", "/etc/passwd", "file:///etc/passwd", "a\0b", "{{7*7}}", "$(id)", "`id`",
         "<script>alert(1)</script>", "\r\nX-Injected: 1", "%25%00", "_", "\\", "~%", "A" * 3000, "\u202e\ufeff", "-1", "1e999", "NaN", "99999999999999999999",
         "null", "[]", "True' --"]
BODIES = ["", "null", "1", '"text"', "[]", "{", "{}", '{"metadata": 1}', '{"metadata": {"name": ["a"]}}', '{"spec": "x", "status": []}', "[" * 20000,
          '{"a":' * 20000, '{"a": 1, "a": 2}', '{"metadata": {"name": "\\u0000"}}', '{"metadata": {"name": "\\ud800"}}', b"\xff\xfe{}", b"\x1f\x8b\x08",
          json.dumps({k: "'; DROP TABLE projects; --" for k in ("name", "metadata", "spec", "status", "kind", "project", "tag", "id", "pipeline", "topic")}),
          json.dumps({"metadata": {k: "../' OR 1=1 --" for k in ("name", "project", "uid", "tag", "tree", "key", "labels")}, "spec": {}, "status": {}}),
          json.dumps({"metadata": {"name": "n", "project": "bystander", "tag": "latest"}, "spec": {"owner": "me"}, "status": {}}),
          json.dumps({"columns": ["a"], "data": [[1e308 * 10], [None], ["x"], [[1]], [{}]]}).replace("Infinity", "1e999")]
LEAKS = re.compile(rb"syntax error|sqlite_|PG::|psql|relation \"|column \"|SELECT |INSERT |DELETE FROM endpoints WHERE|root:x:0|/usr/|\.c:\d+", re.I)


def table():
    """(method, pattern, names of what may stand in the query): as the program tells it."""
    printed = subprocess.run([os.path.join(mm.BIN, "api"), "--openapi"], stdout=subprocess.PIPE, check=True, timeout=20).stdout
    return [(method.upper(), pattern, [p["name"] for p in operation["parameters"] if p["in"] == "query"])
            for pattern, methods in json.loads(printed)["paths"].items() for method, operation in methods.items()]


def fill(pattern, which=None, text=""):
    parts = []
    for part in pattern.split("/"):
        name = part[1:-1] if part.startswith("{") else None
        value = text if name and name == which else {"project": "victim"}.get(name, "x") if name else None
        parts.append(urllib.parse.quote(value, safe="") if name else part)
    return "/".join(parts)


def requests_of(rows):
    for method, pattern, names in rows:
        body = "{}" if method in ("POST", "PUT", "PATCH") else None
        for text in TEXTS:
            for param in re.findall(r"{(\w+)}", pattern):
                yield method, fill(pattern, param, text), body
            for name in names:
                yield method, f"{fill(pattern)}?{name}={urllib.parse.quote(text, safe='')}", body
            yield method, f"{fill(pattern)}?{urllib.parse.quote(text, safe='')}=1", body
        if body:
            for hostile in BODIES:
                yield method, fill(pattern), hostile


@pytest.mark.parametrize("backend", ["postgresql", "sqlite"])
def test_hostile_text_everywhere(backend):
    with mm.World() as w:
        path = os.path.join(w.folder, "hostile.db")
        more = {"DATABASE_URL": f"sqlite:///{path}", "REDIS_URL": ""} if backend == "sqlite" else {}
        with w.service("api", **more) as api:
            api.wait_ready()
            client = access.Client(api.port)
            for name in ("victim", "bystander"):
                assert client.ask("PUT", f"/api/v1/projects/{name}", None, json.dumps({"metadata": {"name": name}}))[0] == 200
                assert client.ask("POST", f"/api/v1/projects/{name}/model-endpoints", None, json.dumps({
                    "metadata": {"name": "price", "project": name, "endpoint_type": 1},
                    "spec": {"model_name": "price", "function_name": "f", "feature_names": ["a"]}, "status": {}}))[0] in (200, 201)

            def rows(sql):
                if backend != "sqlite":
                    return [tuple(r.values()) for r in w.rows(sql)]
                with sqlite3.connect(path) as db:
                    return db.execute(sql).fetchall()

            def bystander():
                return [rows("SELECT name, document, base_period_us, updated_us FROM projects WHERE name = 'bystander'"),
                        rows("SELECT uid, name, document, change_seq FROM endpoints WHERE project_id = "
                             "(SELECT id FROM projects WHERE name = 'bystander')"),
                        rows("SELECT name FROM documents WHERE project_id = (SELECT id FROM projects WHERE name = 'bystander')")]
            before = bystander()
            assert all(before[:2])
            n = 0
            for method, target, body in requests_of(table()):
                if method == "DELETE" and target.split("?")[0] in ("/api/v1/projects/victim", "/api/v2/projects/victim"):
                    continue  # it would be gone for the rest
                status, headers, text = client.ask(method, target, None, body)
                what = f"{method} {target[:300]} {str(body)[:100]}: {status} {text[:300]!r}"
                assert status < 500, what
                assert "X-Injected" not in headers, what
                assert not LEAKS.search(text) or status == 200, what
                if "html" in headers.get("Content-Type", ""):
                    assert b"<script>alert" not in text, what
                n += 1
            assert n > 5000 and bystander() == before and api.child.poll() is None
            assert not [e for e in api.events("request_failed")], api.events("request_failed")[:3]


def test_a_body_of_ten_megabytes_is_too_long():
    with mm.World() as w, w.service("api") as api:
        api.wait_ready()
        client = access.Client(api.port)
        big = b'{"a": "' + b"x" * 10_000_000 + b'"}'
        for method, pattern, _ in table():
            if method in ("POST", "PUT", "PATCH"):
                status, _, text = client.ask(method, fill(pattern), None, big)
                assert status == 413, f"{method} {pattern}: {status} {text[:200]!r}"
